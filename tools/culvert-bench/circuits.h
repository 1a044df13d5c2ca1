/*
 * Circuits of three hops through the relays of a world (world.h) over links that are there
 * already: how long each takes to be built, a question to its last hop and back, and the
 * first chunk of a film that its last hop shares openly. Their owner is in this process: the
 * tunnel's and the peer protocol's engines as every node has them, a socket, the system's
 * clock. Nothing that a viewer does before (joining the DHT, descriptors, guards, links) is in it.
 */
#ifndef CULVERT_TOOLS_CULVERT_BENCH_CIRCUITS_H
#define CULVERT_TOOLS_CULVERT_BENCH_CIRCUITS_H

#include "culvert-bench/world.h"

enum { CIRCUITS_A_RUN = 20, CIRCUITS_MAX = CIRCUITS_A_RUN * WORLD_RUNS_MAX };

/* Milliseconds, each list sorted. */
struct circuits_figures {
    unsigned count;
    double build_ms[CIRCUITS_MAX];   /* CREATE to the last hop's EXTENDED */
    double rtt_ms[CIRCUITS_MAX];     /* PING to the last hop and PONG, once it is built */
    double first_ms[CIRCUITS_MAX];   /* OPEN to the first verified chunk */
    double first_rtts[CIRCUITS_MAX]; /* the same in round trips of the same circuit */
};

/*
 * CIRCUITS_A_RUN circuits for each of `runs`, one at a time. `uri` is a film that the last
 * relay of the world shares openly. All relays are ready. The bench dies when a relay does not
 * answer, or as many circuits failed as were wanted.
 */
void circuits_measure(const struct world *w, const struct bench_options *o, unsigned runs,
                      const char *uri, struct circuits_figures *ret);

#endif
