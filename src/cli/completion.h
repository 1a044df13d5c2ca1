/* Completion of command lines for shells, written from the table of verbs and options. */
#ifndef CULVERT_CLI_COMPLETION_H
#define CULVERT_CLI_COMPLETION_H

#include <stdbool.h>
#include <stdio.h>

/* The script for "bash", "zsh" or "fish" to `out`; false: another shell. */
bool cli_completion_write(const char *shell, FILE *out);

#endif
