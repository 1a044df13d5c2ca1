/*
 * NetFlow: maximum flow to ego through relays that may pass on no more than
 * they are owed. First every relay's net contribution to ego, its flow to ego
 * less the flow back, 0 if that is negative; then the flow to ego once more
 * with these as the relays' own capacities. What fake identities can pass on
 * in all is what the attacker in front of them is owed.
 */
#ifndef CULVERT_REPUTATION_RANK_NETFLOW_H
#define CULVERT_REPUTATION_RANK_NETFLOW_H

#include "reputation/graph.h"

enum { REP_NETFLOW_HOPS = 6 }; /* farther ways add next to nothing and cost much */

/* ret[i], i < rep_graph_count(): octets; ego's is 0. `hops` as in flow.h. CV_ERR_NOMEM. */
enum cv_err rep_rank_netflow(struct rep_graph *g, uint32_t ego, unsigned hops, uint64_t *ret);

#endif
