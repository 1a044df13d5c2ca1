/*
 * Personalised PageRank over the same graph, exact to a tolerance: to check
 * the walks against, and `culvert-ledger peers --metric ppr`. It counts every
 * visit, so an attacker gains up to 1 / (1 - alpha) by walking in circles
 * behind itself; the gate therefore never uses it.
 */
#ifndef CULVERT_REPUTATION_RANK_PPR_H
#define CULVERT_REPUTATION_RANK_PPR_H

#include "reputation/graph.h"

/* ret[i], i < rep_graph_count(): probability of being at i; sums up to 1 with
 * ego's. `tolerance`: of the sum of changes. CV_ERR_NOMEM. */
enum cv_err rep_rank_ppr(struct rep_graph *g, uint32_t ego, double alpha, double tolerance,
                         double *ret);

#endif
