/*
 * Progress for people and for programs: on a terminal one line that is redrawn,
 * otherwise (or with --json) one JSON object a line and second.
 */
#ifndef CULVERT_CLI_PROGRESS_H
#define CULVERT_CLI_PROGRESS_H

#include <stdbool.h>
#include <stdio.h>

#include "io/host.h"

struct cli_progress {
    FILE *out;
    bool terminal, json, quiet;
    bool drawn; /* a line stands there that the next output must end */
};

/* A terminal gets a line on standard error, everything else JSON on standard
 * output. */
struct cli_progress cli_progress_init(bool json, bool quiet);

/* One tick: how the swarm stands. */
void cli_progress_swarm(struct cli_progress *p, struct node *n, cv_handle swarm);

/* Something happened: a sentence for people, or {"event": name, ...fields}.
 * `fields` is a jansson object (its reference is taken) or NULL. */
struct json_t;
void cli_progress_event(struct cli_progress *p, const char *name, const char *sentence,
                        struct json_t *fields);

/* Ends a line that stands there. */
void cli_progress_done(struct cli_progress *p);

#endif
