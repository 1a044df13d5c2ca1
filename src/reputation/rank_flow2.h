/*
 * Flow of at most two hops between ego and every other relay, as BarterCast
 * used it: directly, and through one relay in between. All of them in one look
 * at the rows of ego's neighbours; exact, since such ways share no row.
 */
#ifndef CULVERT_REPUTATION_RANK_FLOW2_H
#define CULVERT_REPUTATION_RANK_FLOW2_H

#include "reputation/graph.h"

/* Octets that could have flowed from a relay to ego, and from ego to it. */
struct rep_inout {
    uint64_t in, out;
};

/* ret[i], i < rep_graph_count(); ego's is 0. Sums beyond UINT64_MAX are that. */
void rep_rank_flow2(struct rep_graph *g, uint32_t ego, struct rep_inout *ret);

#endif
