/*
 * What one gave, took, and where that leaves one, in two lines for people. Of `own` and
 * `ledger` in what GET /api/status answers (docs/openapi.json); all that is missing there
 * counts as 0. And why it changed, of `rows` in what GET /api/ledger answers.
 */
#ifndef CULVERT_CLI_STANDING_H
#define CULVERT_CLI_STANDING_H

#include <jansson.h>
#include <stdio.h>

/* Borrows both; NULL is allowed, and then there is no second line. */
void cli_standing_print(FILE *out, const json_t *own, const json_t *ledger);

/* Borrows both; `rows` NULL: they cannot be had. */
void cli_standing_why(FILE *out, const json_t *own, const json_t *rows);

#endif
