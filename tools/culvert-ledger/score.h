/* The graph of a ledger file, and what each measure says about its relays. */
#ifndef CULVERT_TOOLS_CULVERT_LEDGER_SCORE_H
#define CULVERT_TOOLS_CULVERT_LEDGER_SCORE_H

#include "culvert-ledger/file.h"
#include "reputation/graph.h"
#include "reputation/rank_flow2.h"

enum { LEDGER_WALKS = 100000, LEDGER_SEED = 1 };

/* X(name, command line): the measures, their default first. */
#define LEDGER_METRICS(X)                                                                          \
    X(WALK, "walk")                                                                                \
    X(PPR, "ppr")                                                                                  \
    X(PPR_DIFFERENCE, "ppr-difference")                                                            \
    X(NETFLOW, "netflow")                                                                          \
    X(FLOW2, "flow2")                                                                              \
    X(MAXFLOW, "maxflow")                                                                          \
    X(BARTERCAST, "bartercast")

enum ledger_metric {
#define X(name, text) LEDGER_##name,
    LEDGER_METRICS(X)
#undef X
        LEDGER_METRIC_COUNT
};

extern const char *const ledger_metric_names[LEDGER_METRIC_COUNT];

struct ledger_relay {
    uint8_t key[CV_KEY];
    uint64_t given, taken; /* agreed, with everybody */
    int64_t banned;        /* until when */
    double score;
    struct rep_inout flow; /* FLOW2, MAXFLOW: the score is in - out; NETFLOW: in; others: 0 */
};

/* Stops at 2^64 - 1: what many relays gave each may be more. */
static inline uint64_t ledger_plus(uint64_t a, uint64_t b) {
    uint64_t sum;
    return __builtin_add_overflow(a, b, &sum) ? UINT64_MAX : sum;
}

struct ledger_graph {
    struct rep_graph *g;
    struct ledger_relay *relay; /* by node */
    uint32_t n;
    uint32_t self; /* the relay whose ledger it is; REP_NO_NODE: it has no row here */
};

/* Every relay of the file is a node. Exits on damage. */
void ledger_graph_load(struct ledger_file *f, struct ledger_graph *ret);
void ledger_graph_done(struct ledger_graph *g);

/* The relay that gave and took most, of all but `but`; REP_NO_NODE: there is none. */
uint32_t ledger_busiest(const struct ledger_graph *g, uint32_t but);

/* Whose view: the relay named, else whose ledger it is, else the relay with the
 * most octets given and taken. Exits when there is none at all. */
uint32_t ledger_ego(struct ledger_file *f, const struct ledger_graph *g, const char *name);

struct ledger_scoring {
    enum ledger_metric metric;
    unsigned hops; /* NETFLOW, MAXFLOW; 0: any number */
    bool exact;    /* WALK: chances instead of samples */
    uint64_t seed; /* WALK */
};

/* Fills the scores. Exits when memory is short. */
void ledger_score(struct ledger_file *f, struct ledger_graph *g, uint32_t ego,
                  const struct ledger_scoring *how);

/* Nodes from best to worst, ties by key; free() it. */
uint32_t *ledger_order(struct ledger_file *f, const struct ledger_graph *g);

#endif
