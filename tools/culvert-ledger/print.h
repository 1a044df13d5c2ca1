/* How culvert-ledger prints: tables for people, JSON for programs. */
#ifndef CULVERT_TOOLS_CULVERT_LEDGER_PRINT_H
#define CULVERT_TOOLS_CULVERT_LEDGER_PRINT_H

#include <jansson.h>
#include <stdio.h>

#include "culvert-ledger/file.h"

enum { LEDGER_SHORT = 12 }; /* characters of a relay in a table */

/* Where --output says, or standard output. A file has that name only when done() has all of it
 * there, and is as it was until then. Both exit with a line when that fails, and open() when
 * it is the ledger itself. */
FILE *ledger_output_open(const struct ledger_file *f, const char *path);
void ledger_output_done(FILE *to, const char *path);

/* Prints and releases it. */
void ledger_print_json(json_t *value);

json_t *ledger_json_id(const struct ledger_file *f, const uint8_t key[CV_KEY]);
json_t *ledger_json_hex(const uint8_t *data, size_t len);
/* Amounts beyond 2^63 - 1 are that. */
json_t *ledger_json_octets(uint64_t n);

/* "3.4 GiB"; exact octets are in the JSON. */
const char *ledger_size(uint64_t n, char out[16]);

/* The relay as a column of a table: the first digits of its key, or the
 * identifier as it is, made fit for a line. */
const char *ledger_short(const struct ledger_file *f, const uint8_t key[CV_KEY], char out[256]);

#endif
