/*
 * The graph of agreed rows: relays, and between two of them what each gave the
 * other, newer epochs weighing more. Symmetric: given + taken, relayed
 * throughput; imbalance between relays is never scored, because their clients
 * have no rows. Weights are integers, so that walks replay on every machine.
 */
#ifndef CULVERT_REPUTATION_GRAPH_H
#define CULVERT_REPUTATION_GRAPH_H

#include <stdbool.h>
#include <stdint.h>

#include "reputation/store.h"

#define REP_NO_NODE UINT32_MAX

/* One end's view of an edge. */
struct rep_half {
    uint64_t out, in; /* recent octets given and taken, as of the epochs below */
    uint64_t sum;     /* weights of this and all halves before it in the row */
    uint32_t out_epoch, in_epoch;
    uint32_t to;
};

struct rep_graph;

/* `hash_key`: CV_SIPHASH_KEY octets, copied. NULL: out of memory. */
struct rep_graph *rep_graph_new(uint32_t nodes_max, const uint8_t *hash_key);
struct rep_graph *rep_graph_free(struct rep_graph *g);

uint32_t rep_graph_count(const struct rep_graph *g);
/* i < count */
const uint8_t *rep_graph_key(const struct rep_graph *g, uint32_t i);
/* REP_NO_NODE when unknown. */
uint32_t rep_graph_find(const struct rep_graph *g, const uint8_t key[CV_KEY]);
/* Finds or adds. CV_ERR_LIMIT, CV_ERR_NOMEM. */
enum cv_err rep_graph_node(struct rep_graph *g, const uint8_t key[CV_KEY], uint32_t *ret);

/* Sets one direction of an edge, as the store has it. */
enum cv_err rep_graph_set(struct rep_graph *g, const struct rep_edge *e);
/* The same for many, in O(n log n) in all. */
enum cv_err rep_graph_load(struct rep_graph *g, const struct rep_edge *e, size_t n);

/* A proven forger: no walk goes there any more. Unknown keys are added. */
enum cv_err rep_graph_exclude(struct rep_graph *g, const uint8_t key[CV_KEY]);

/* Weights from now on are as of `epoch`. */
void rep_graph_epoch(struct rep_graph *g, uint32_t epoch);

/* The row of node i, sums up to date; *ret_total is its last sum, 0 when
 * nothing leads on. Valid until the next change. */
const struct rep_half *rep_graph_row(struct rep_graph *g, uint32_t i, uint32_t *ret_n,
                                     uint64_t *ret_total);

#endif
