/* The client's side of a node's control socket: HTTP/1.0, one request a connection. */
#ifndef CULVERT_CLI_ASK_H
#define CULVERT_CLI_ASK_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

#include "cli/options.h"

/* Connects to the node that listens at `path`; -1 when none does. Reading and
 * writing give up after 5 s without a single octet. */
int cli_ask_connect(const char *path);

/* Sends a request, a POST when there is a body, and reads up to the answer's
 * body; after a POST the file is not buffered, so that poll() tells the truth.
 * NULL when that was not understood; `fd` is taken in both cases. */
FILE *cli_ask(int fd, const char *resource, const json_t *body);

/* Asks the node at the other end of `fd`, which is taken, to do what these settings say: the
 * lines it says of that. NULL after one clear line on standard error; *ret_status is the
 * exit status then. */
FILE *cli_ask_task(int fd, const struct cli_settings *s, int *ret_status);

/* A GET's whole answer, or NULL. */
json_t *cli_ask_get(const char *path, const char *resource);

#endif
