/* Numbers and names as people read them on a terminal. */
#ifndef CULVERT_CLI_HUMAN_H
#define CULVERT_CLI_HUMAN_H

#include <stddef.h>
#include <stdio.h>

enum { CLI_HUMAN_MAX = 24 };

/* "3.2 MB": units of a thousand, as players and networks count. Returns `out`. */
char *cli_human(double octets, char out[CLI_HUMAN_MAX]);

/* "3.2 MiB": units of 1024. Returns `out`. */
char *cli_human_binary(double octets, char out[CLI_HUMAN_MAX]);

/* "7 s", "4:51", "1:04:51", "3 d": how long something takes. Returns `out`. */
char *cli_human_period(double seconds, char out[CLI_HUMAN_MAX]);

/* Columns of the terminal behind `f`; 0: it is none. */
size_t cli_human_columns(FILE *f);

/* Writes printable UTF-8 text in exactly `columns`, filled with spaces, or cut with an
 * ellipsis. */
void cli_human_cell(FILE *out, const char *text, size_t columns);

#endif
