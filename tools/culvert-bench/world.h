/*
 * A small overlay of real programs, one process a node: a DHT node, six relays,
 * whoever shares, and viewers, each with an address and a folder of its own and
 * one DHT contact.
 */
#ifndef CULVERT_TOOLS_CULVERT_BENCH_WORLD_H
#define CULVERT_TOOLS_CULVERT_BENCH_WORLD_H

#include "base/endpoint.h"
#include "culvert-bench/bench.h"

#define WORLD_NETWORK "bench" /* name of the network that all of them are in */

enum { WORLD_RELAYS = 6, WORLD_NODES_MAX = 16, WORLD_RUNS_MAX = 64, WORLD_STREAMS_MAX = 8 };

struct world {
    struct spawn *p[WORLD_NODES_MAX]; /* all but viewers; the DHT node first */
    size_t count;
    int numbers; /* of addresses given away */
    char bootstrap[32], buffer[16];
    struct spawn *viewer[WORLD_STREAMS_MAX]; /* those of a run */
    char viewer_state[WORLD_STREAMS_MAX][300];

    double start_ms[WORLD_RUNS_MAX], first_ms[WORLD_RUNS_MAX]; /* sorted by world_view() */
    unsigned streams;                                          /* viewers of the first run */
    double seconds, cpu_s;                                     /* of it, all processes */
    int hops;                                                  /* of the viewer's circuit */
    char sha256[65];
    json_t *counts; /* datagrams, system calls and cells of all nodes since their start */
};

/* Starts the DHT node and the relays; the last relay shares `open` (NULL: it
 * does not). Wait for their events "relay_ready". */
void world_begin(struct world *w, const struct bench_options *o, const char *open);

/* One more node that stays: `verb` with the arguments `more` (NULL-terminated). */
struct spawn *world_start(struct world *w, const char *verb, const char *name, const char *more[]);

/* `runs` times viewers with the arguments `more`, `pause_s` seconds between them.
 * First `streams` at once, each of which fetches the whole file, which must equal
 * `file`; then one at a time, for the medians. */
void world_view(struct world *w, const struct bench_options *o, const char *file,
                const char *more[], unsigned pause_s);

/* Where relay `i`, from 0, which is ready, is spoken to. */
void world_relay_address(const struct world *w, unsigned i, struct cv_addr *ret);

/* `runs`, as many as there is room for. */
unsigned world_runs(const struct bench_options *o);

/* Stops everybody; the figures as the bench prints them. `hops`: of the whole path. */
json_t *world_end(struct world *w, const struct bench_options *o, int hops);

#endif
