/*
 * Exact maximum flow between ego and every other relay (flow.h). Two flows a
 * relay: for thousands of relays, on demand. As a gate it would be no good:
 * every fake identity behind an attacker inherits the attacker's whole flow.
 */
#ifndef CULVERT_REPUTATION_RANK_MAXFLOW_H
#define CULVERT_REPUTATION_RANK_MAXFLOW_H

#include "reputation/flow.h"
#include "reputation/rank_flow2.h"

/* ret[i], i < rep_graph_count(); ego's is 0. `hops` as in flow.h. CV_ERR_NOMEM. */
enum cv_err rep_rank_maxflow(struct rep_graph *g, uint32_t ego, unsigned hops,
                             struct rep_inout *ret);

#endif
