/*
 * The graph of agreed rows: relays, and between two of them what each gave the
 * other, in all and with newer epochs weighing more. Compact, since a ledger
 * may hold a million rows: 48 octets a pair and 16 for each of its two ends;
 * a new row is appended in O(1), and a relay's row is sorted and summed up
 * when somebody looks at it.
 *
 * Walks and PageRank go by weight, which is symmetric: given + taken, relayed
 * throughput. Imbalance between relays is never scored, because their clients
 * have no rows. Flows go by octets, from giver to taker. All are integers, so
 * that a ranking replays on every machine.
 */
#ifndef CULVERT_REPUTATION_GRAPH_H
#define CULVERT_REPUTATION_GRAPH_H

#include <stdbool.h>
#include <stdint.h>

#include "reputation/store.h"

#define REP_NO_NODE UINT32_MAX

/* Two relays. Index 0: what end[0] gave end[1]; index 1: the way back. */
struct rep_pair {
    uint64_t octets[2]; /* in all */
    uint64_t recent[2]; /* decayed, as of `epoch` */
    uint32_t epoch[2];
    uint32_t end[2];
};

/* One end's view of a pair, in that end's row. */
struct rep_half {
    uint64_t sum; /* weights of this and all halves before it in the row */
    uint32_t to;
    uint32_t pair; /* index << 3 | took << 2 | gave << 1 | which end this is */
};

enum rep_way {
    REP_GAVE, /* this end to `to` */
    REP_TOOK, /* `to` to this end */
    REP_BOTH, /* their sum; weights only */
};

struct rep_graph;

/* `hash_key`: CV_SIPHASH_KEY octets, copied. NULL: out of memory. */
struct rep_graph *rep_graph_new(uint32_t nodes_max, const uint8_t *hash_key);
struct rep_graph *rep_graph_free(struct rep_graph *g);

uint32_t rep_graph_count(const struct rep_graph *g);
/* i < count; valid until a node is added */
const uint8_t *rep_graph_key(const struct rep_graph *g, uint32_t i);
/* REP_NO_NODE when unknown. */
uint32_t rep_graph_find(const struct rep_graph *g, const uint8_t key[CV_KEY]);
/* Finds or adds. CV_ERR_LIMIT, CV_ERR_NOMEM. */
enum cv_err rep_graph_node(struct rep_graph *g, const uint8_t key[CV_KEY], uint32_t *ret);

/* Sets one direction of a pair, as the store has it. CV_ERR_INVAL: with itself. */
enum cv_err rep_graph_set(struct rep_graph *g, const struct rep_edge *e);
/* The same between nodes that are known; the keys of `e` are not read. */
enum cv_err rep_graph_link(struct rep_graph *g, uint32_t giver, uint32_t taker,
                           const struct rep_edge *e);
/* The same for many; those with a node too many are left out. */
enum cv_err rep_graph_load(struct rep_graph *g, const struct rep_edge *e, size_t n);

/* A proven forger: nothing leads there or through it any more. Unknown keys are added. */
enum cv_err rep_graph_exclude(struct rep_graph *g, const uint8_t key[CV_KEY]);
/*
 * `heir` takes the place of `old` (a succession): the rows of both count as one
 * relay's for whoever asks with the next two. What the two gave each other weighs
 * nothing from now on. An exclusion of `old` parts them again. Unknown keys are
 * added. CV_ERR_EXIST: one of them is part of another succession already;
 * CV_ERR_INVAL: `old` is among the heirs of `heir`; CV_ERR_LIMIT: REP_HEIRS.
 */
enum cv_err rep_graph_succeed(struct rep_graph *g, const uint8_t old[CV_KEY],
                              const uint8_t heir[CV_KEY]);
/* Who stands for node i now: its last heir, mostly itself. */
uint32_t rep_graph_now(const struct rep_graph *g, uint32_t i);
/* Whose place node i took, and whose rows are its own; REP_NO_NODE: nobody's. */
uint32_t rep_graph_before(const struct rep_graph *g, uint32_t i);

bool rep_graph_excluded(const struct rep_graph *g, uint32_t i);
/* Has the key a row, or one whose place it took, or that took its? */
bool rep_graph_has_rows(const struct rep_graph *g, const uint8_t key[CV_KEY]);

/* Weights from now on are as of `epoch`. */
void rep_graph_epoch(struct rep_graph *g, uint32_t epoch);

/* The row of node i by `to`, sums and marks up to date; *ret_total is its last
 * sum, 0 when nothing leads on. Valid until the next change. */
const struct rep_half *rep_graph_row(struct rep_graph *g, uint32_t i, uint32_t *ret_n,
                                     uint64_t *ret_total);

/* Of a half of a row: recent octets, capped so that a row adds up within 64
 * bits; 0 when either end is excluded. */
uint64_t rep_graph_weight(const struct rep_graph *g, const struct rep_half *h, enum rep_way way);
/* Of a half of a row: octets in all, GAVE or TOOK. */
uint64_t rep_graph_octets(const struct rep_graph *g, const struct rep_half *h, enum rep_way way);
/* The same, whether there are any, without leaving the row. */
static inline bool rep_half_has(const struct rep_half *h, enum rep_way way) {
    return h->pair & (way == REP_GAVE ? 2 : 4);
}

/* Counts every change. The rows of a node, and of those whose place it took, are as they
 * were while rep_graph_changed(g, i) is not above the version seen before. */
uint64_t rep_graph_version(const struct rep_graph *g);
uint64_t rep_graph_changed(const struct rep_graph *g, uint32_t i);

#endif
