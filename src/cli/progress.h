/*
 * Progress for people and for programs: on a terminal one line that is redrawn,
 * otherwise (or with --json) one JSON object a line and second.
 *
 * What is said is a JSON object from the start, {"event": NAME, "say": SENTENCE,
 * ...}, so that it can be shown here or go to the command in another process
 * that asked for it; "say" is for people and is left out for programs.
 */
#ifndef CULVERT_CLI_PROGRESS_H
#define CULVERT_CLI_PROGRESS_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

#include "gateway/gateway.h"
#include "io/host.h"

/* Gets what is said; the reference of `o` is taken. */
typedef void cli_line_fn(void *ctx, json_t *o);

struct cli_progress {
    FILE *out;
    bool terminal, quiet;
    unsigned looks;    /* at the swarm, up to 2; then .. */
    uint64_t have;     /* .. octets at the last one */
    double pace;       /* .. and a second, lately */
    size_t told;       /* hops of the last way that people were told of, and 1; 0: of none */
    cli_line_fn *sink; /* NULL: shown here */
    void *ctx;
};

/* A terminal gets a line on standard error, everything else JSON on standard
 * output. */
struct cli_progress cli_progress_init(bool json, bool quiet);

/*
 * One tick: how the swarm stands (event "progress"). Octets: have, length (0: not known),
 * received, sent; a second: rate_down, rate_up; peers; hops (ours, of the nearest peer),
 * direct; `ahead` if it is not negative: seconds of the film that are there beyond what the
 * player has; while something is missing map (bar.h) and, when it gets on, eta in seconds.
 */
void cli_progress_swarm(struct cli_progress *p, struct node *n, cv_handle swarm, double ahead);

/* Something happened: a sentence for people, or {"event": name, ...fields}.
 * `fields` is a jansson object (its reference is taken) or NULL; `sentence` NULL: people have
 * been told already. */
void cli_progress_event(struct cli_progress *p, const char *name, const char *sentence,
                        json_t *fields);

/* A disk is full (event "disk_full"): why ("FILE: No space left on device"), and what pauses
 * until there is room ("fetching"). */
void cli_progress_full(struct cli_progress *p, const char *why, const char *what);

/* A direct swarm is to be fetched through an exit, and there is none (event "no_exit"). */
void cli_progress_no_exit(struct cli_progress *p);

/* A peer of the swarm came: by which hops. People are told when their number is another than
 * the last time. */
void cli_progress_peer(struct cli_progress *p, struct node *n, cv_handle swarm,
                       const struct cv_endpoint *endpoint);

/* The player link of a swarm (event "link"). */
void cli_progress_link(struct cli_progress *p, const struct gateway *gateway,
                       const struct node_uri *uri);

/* The link as a QR code on a terminal. */
void cli_progress_qr(FILE *out, const char *link);

/* Shows one object that was said, here or elsewhere. Takes the reference. */
void cli_progress_show(struct cli_progress *p, json_t *o);

/* A JSON string of any text: what is not UTF-8 in it becomes question marks. */
json_t *cli_json_text(const char *text);

/* Ends the line that stands on the terminal, whoever drew it: there is one. */
void cli_progress_done(struct cli_progress *p);

#endif
