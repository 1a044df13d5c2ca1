/*
 * Exact maximum flow between two relays over the graph of agreed rows: how
 * many octets could have come from one to the other through chains of relays
 * that gave to each other. Capacity of giver -> taker is all that it gave.
 *
 * With `hops` the flow is that of the subgraph of those rows that lie on some
 * chain of at most so many rows from source to sink; exact again, the formula
 * of BarterCast for 2 and the unrestricted flow when hops is large enough.
 * (Flow over paths of bounded length is another thing, hard to compute, and
 * depends on nothing but its order when it is computed greedily.)
 *
 * With `node_cap` at most that many octets pass through, leave or end in each
 * relay but the sink.
 *
 * Dinic's algorithm over a copy of the subgraph. Proven forgers take no part.
 */
#ifndef CULVERT_REPUTATION_FLOW_H
#define CULVERT_REPUTATION_FLOW_H

#include "reputation/graph.h"

enum { REP_FLOW_UNLIMITED = 0 };

struct rep_flow;

/* Room to work in, for a graph that does not change meanwhile; 20 octets a
 * node. Borrows `g`. NULL: out of memory. */
struct rep_flow *rep_flow_new(struct rep_graph *g);
struct rep_flow *rep_flow_free(struct rep_flow *f);

/* `node_cap`: by node, or NULL. A flow beyond UINT64_MAX is UINT64_MAX.
 * CV_ERR_INVAL: source and sink are the same. CV_ERR_NOMEM. */
enum cv_err rep_flow_max(struct rep_flow *f, uint32_t source, uint32_t sink, unsigned hops,
                         const uint64_t *node_cap, uint64_t *ret);

#endif
