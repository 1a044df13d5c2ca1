/*
 * Circuits of one to four hops through the relays of a world (world.h) over links that are there
 * already: how long each takes to be built, a question to its last hop and back, and the
 * first chunk of a film that its last hop shares openly; then all that is left of the film
 * through one. Their owner is in this process: the tunnel's and the peer protocol's engines as
 * every node has them, a socket, the system's clock. Nothing that a viewer does before (joining
 * the DHT, descriptors, guards, links) is in it, nor are guards and the rules of paths.
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
    double mb_per_s;                 /* of the film, from OPEN to its last chunk in the store */
};

/*
 * CIRCUITS_A_RUN circuits of o->hops hops for each of `runs`, one at a time. `uri` is a film that
 * the last relay of the world shares openly. All relays are ready. The bench dies when a relay
 * does not answer, as many circuits failed as were wanted, or the film does not come whole.
 */
void circuits_measure(const struct world *w, const struct bench_options *o, unsigned runs,
                      const char *uri, struct circuits_figures *ret);

#endif
