/*
 * Personalised PageRank, exact to a tolerance: to check the walks against, and
 * for whoever audits. It counts every visit, so an attacker gains up to
 * 1 / (1 - alpha) by walking in circles behind itself; the gate therefore
 * never uses it.
 *
 * By throughput (REP_BOTH), or one way only: a walk to those that gave
 * (REP_TOOK: from a node to who it took from) finds whom ego's octets come
 * from, a walk to takers whom they go to. Their difference ranks givers above
 * takers. Weights are recent octets, as in the walks.
 */
#ifndef CULVERT_REPUTATION_RANK_PPR_H
#define CULVERT_REPUTATION_RANK_PPR_H

#include "reputation/graph.h"

/* ret[i], i < rep_graph_count(): probability of being at i; sums up to 1 with
 * ego's. What has nowhere to go returns to ego. `tolerance`: of the sum of
 * changes. CV_ERR_NOMEM. */
enum cv_err rep_rank_ppr(struct rep_graph *g, uint32_t ego, enum rep_way way, double alpha,
                         double tolerance, double *ret);

/* Walk to givers minus walk to takers: -1..1, sums up to 0. */
enum cv_err rep_rank_ppr_difference(struct rep_graph *g, uint32_t ego, double alpha,
                                    double tolerance, double *ret);

#endif
