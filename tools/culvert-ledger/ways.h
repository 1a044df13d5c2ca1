/* What makes a relay's walk score: which neighbours of ego lead to it, and what could have
 * flowed through them. */
#ifndef CULVERT_TOOLS_CULVERT_LEDGER_WAYS_H
#define CULVERT_TOOLS_CULVERT_LEDGER_WAYS_H

#include "culvert-ledger/score.h"
#include "reputation/rank_walk.h"

struct ledger_way {
    uint32_t via, walks;
    uint64_t in, out; /* octets that could have flowed through it, two hops */
};

/* Octets that `to` gave `of` (in) and took from it (out). */
struct rep_inout ledger_between(struct rep_graph *g, uint32_t of, uint32_t to);

/* Room for the ways of any relay of the graph; free() it. */
struct ledger_way *ledger_ways_room(struct ledger_file *f, const struct ledger_graph *g);

/* For each neighbour of ego that leads to `target`: walks that began there and came by, and
 * the flow it passes on; most walks first. Returns how many. */
uint32_t ledger_ways(struct ledger_graph *g, const struct rep_walks *w, uint32_t ego,
                     uint32_t target, struct ledger_way *ret);

#endif
