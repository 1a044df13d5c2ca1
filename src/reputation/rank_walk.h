/*
 * The ranking: unique-visit random walks from ego (in the manner of MeritRank).
 * A walk goes on with probability alpha, to a neighbour by weight; a node
 * scores one for each walk that comes by at all. Visiting once is what takes
 * the profit out of fake identities: what an attacker hangs behind itself is
 * walked after it was counted, and adds nothing to its own score.
 * Integers only: the same seed gives the same hits on every machine.
 */
#ifndef CULVERT_REPUTATION_RANK_WALK_H
#define CULVERT_REPUTATION_RANK_WALK_H

#include "reputation/graph.h"

struct rep_walk_config {
    uint32_t walks;
    uint32_t alpha_permille; /* 850 */
    uint64_t seed;
};

/* hits[i], i < rep_graph_count(): walks from `ego` that came by node i; ego's
 * own are 0. A node's score is hits / walks: the probability that a walk comes
 * by. (Not its share of all hits: fakes that hold walks captive lower the hits
 * of others, and would raise that share.) CV_ERR_NOMEM. */
enum cv_err rep_rank_walk(struct rep_graph *g, uint32_t ego, const struct rep_walk_config *cfg,
                          uint32_t *hits);

#endif
