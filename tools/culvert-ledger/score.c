#include "culvert-ledger/score.h"

#include <stdlib.h>
#include <string.h>

#include "reputation/rank_bartercast.h"
#include "reputation/rank_maxflow.h"
#include "reputation/rank_netflow.h"
#include "reputation/rank_ppr.h"
#include "reputation/rank_walk.h"

#define ALPHA     (REP_ALPHA_PERMILLE / 1000.0)
#define TOLERANCE 1e-12

const char *const ledger_metric_names[LEDGER_METRIC_COUNT] = {
#define X(name, text) text,
    LEDGER_METRICS(X)
#undef X
};

static void check_memory(struct ledger_file *f, bool ok) {
    if (!ok)
        ledger_die(LEDGER_NO_FILE, "%s: out of memory", f->path);
}

/* ---- loading ---- */

/* Rows of `peer` by id, so that an agreed row costs two look-ups in an array. */
struct by_id {
    uint32_t *node; /* REP_NO_NODE: no such id */
    int64_t first, n;
};

/* In order of keys, so that the same ledger is ranked alike in every file. */
static struct by_id load_relays(struct ledger_file *f, struct ledger_graph *ret) {
    struct by_id ids = {.first = ledger_number(f, "SELECT min(id) FROM peer")};
    ids.n = ledger_number(f, "SELECT max(id) FROM peer") - ids.first + 1;
    uint32_t i, n = (uint32_t)ledger_number(f, "SELECT count(*) FROM peer");
    if (ids.n < 0 || ids.n > 16 * (int64_t)n + 1024)
        ledger_die(LEDGER_NOT_ONE, "%s: damaged (numbers of relays); restore a backup", f->path);
    ids.node = malloc(((size_t)ids.n + 1) * sizeof *ids.node);
    ret->relay = calloc((size_t)n + 1, sizeof *ret->relay);
    check_memory(f, ids.node && ret->relay);
    memset(ids.node, 0xff, (size_t)ids.n * sizeof *ids.node);
    sqlite3_stmt *st = ledger_query(f, "SELECT pk, banned, id FROM peer ORDER BY pk");
    while (ledger_step(f, st)) {
        if (sqlite3_column_bytes(st, 0) != CV_KEY)
            ledger_die(LEDGER_NOT_ONE, "%s: damaged (a relay's key); restore a backup", f->path);
        check_memory(f, rep_graph_node(ret->g, sqlite3_column_blob(st, 0), &i) == CV_ERR_OK);
        memcpy(ret->relay[i].key, sqlite3_column_blob(st, 0), CV_KEY);
        ret->relay[i].banned = sqlite3_column_int64(st, 1);
        ids.node[sqlite3_column_int64(st, 2) - ids.first] = i;
    }
    return ids;
}

static bool read_edge(sqlite3_stmt *st, const struct by_id *ids, uint32_t end[2],
                      struct rep_edge *ret) {
    for (int i = 0; i < 2; i++) {
        int64_t id = sqlite3_column_int64(st, i);
        if (id < ids->first || id - ids->first >= ids->n)
            return false;
        end[i] = ids->node[id - ids->first];
    }
    int64_t octets = sqlite3_column_int64(st, 2), recent = sqlite3_column_int64(st, 3);
    if (octets < 0 || recent < 0 || (uint64_t)octets > REP_AMOUNT_MAX ||
        (uint64_t)recent > REP_AMOUNT_MAX || end[0] == REP_NO_NODE || end[1] == REP_NO_NODE)
        return false;
    ret->octets = (uint64_t)octets;
    ret->recent = (uint64_t)recent;
    ret->epoch = (uint32_t)sqlite3_column_int64(st, 4);
    return end[0] != end[1];
}

static void load_rows(struct ledger_file *f, const struct by_id *ids, struct ledger_graph *ret) {
    sqlite3_stmt *st = ledger_query(f, "SELECT giver, taker, bytes, recent, epoch FROM edge");
    while (ledger_step(f, st)) {
        struct rep_edge e;
        uint32_t end[2];
        memset(&e, 0, sizeof e);
        if (!read_edge(st, ids, end, &e))
            ledger_die(LEDGER_NOT_ONE, "%s: damaged (an agreed row); restore a backup", f->path);
        check_memory(f, rep_graph_link(ret->g, end[0], end[1], &e) == CV_ERR_OK);
        uint64_t *given = &ret->relay[end[0]].given, *taken = &ret->relay[end[1]].taken;
        *given = ledger_plus(*given, e.octets);
        *taken = ledger_plus(*taken, e.octets);
    }
}

/* Several that say it of one key, or too many in a row, carry nothing over. */
static void load_successions(struct ledger_file *f, struct ledger_graph *ret) {
    sqlite3_stmt *st =
        ledger_query(f, "SELECT o.pk, p.pk FROM block b JOIN peer o ON o.id = b.owner "
                        "JOIN peer p ON p.id = b.peer WHERE b.type = 3 ORDER BY o.pk");
    while (ledger_step(f, st)) {
        uint8_t key[2][CV_KEY];
        for (int i = 0; i < 2; i++) {
            if (sqlite3_column_bytes(st, i) != CV_KEY)
                ledger_die(LEDGER_NOT_ONE, "%s: damaged (a relay's key); restore a backup",
                           f->path);
            memcpy(key[i], sqlite3_column_blob(st, i), CV_KEY);
        }
        check_memory(f, rep_graph_succeed(ret->g, key[0], key[1]) != CV_ERR_NOMEM);
    }
}

void ledger_graph_load(struct ledger_file *f, struct ledger_graph *ret) {
    static const uint8_t hash_key[16] = {1};
    memset(ret, 0, sizeof *ret);
    ret->g = rep_graph_new(UINT32_MAX - 1, hash_key);
    check_memory(f, ret->g != NULL);
    struct by_id ids = load_relays(f, ret);
    load_rows(f, &ids, ret);
    free(ids.node);
    sqlite3_stmt *st =
        ledger_query(f, "SELECT DISTINCT p.pk FROM fork f JOIN peer p ON p.id = f.owner");
    while (ledger_step(f, st)) {
        bool known = sqlite3_column_bytes(st, 0) == CV_KEY &&
                     rep_graph_find(ret->g, sqlite3_column_blob(st, 0)) != REP_NO_NODE;
        if (known)
            check_memory(f, rep_graph_exclude(ret->g, sqlite3_column_blob(st, 0)) == CV_ERR_OK);
    }
    load_successions(f, ret);
    rep_graph_epoch(ret->g, (uint32_t)ledger_number(f, "SELECT max(epoch) FROM edge"));
    ret->n = rep_graph_count(ret->g);
    ret->self = rep_graph_find(ret->g, f->identity);
}

void ledger_graph_done(struct ledger_graph *g) {
    rep_graph_free(g->g);
    free(g->relay);
}

static uint64_t carried(const struct ledger_relay *r) {
    return ledger_plus(r->given, r->taken);
}

uint32_t ledger_busiest(const struct ledger_graph *g, uint32_t but) {
    uint32_t best = REP_NO_NODE;
    for (uint32_t i = 0; i < g->n; i++)
        if (i != but && (best == REP_NO_NODE || carried(&g->relay[i]) > carried(&g->relay[best])))
            best = i;
    return best;
}

uint32_t ledger_ego(struct ledger_file *f, const struct ledger_graph *g, const char *name) {
    uint8_t key[CV_KEY];
    if (name) {
        ledger_relay_key(f, name, key);
        return rep_graph_find(g->g, key);
    }
    if (g->self != REP_NO_NODE)
        return g->self;
    if (g->n == 0)
        ledger_die(LEDGER_NOT_THERE, "%s: there are no relays in it; import some", f->path);
    return ledger_busiest(g, REP_NO_NODE);
}

/* ---- scores ---- */

static enum cv_err sample(struct ledger_graph *g, uint32_t ego, uint64_t seed) {
    struct rep_walk_config cfg = {
        .walks = LEDGER_WALKS, .alpha_permille = REP_ALPHA_PERMILLE, .seed = seed};
    struct rep_walks *w = rep_walks_new(&cfg);
    enum cv_err err = w ? rep_walks_update(w, g->g, ego) : CV_ERR_NOMEM;
    for (uint32_t i = 0; !err && i < g->n; i++)
        g->relay[i].score = (double)rep_walks_hits(w, i) / LEDGER_WALKS;
    rep_walks_free(w);
    return err;
}

static enum cv_err flows(struct ledger_graph *g, uint32_t ego, const struct ledger_scoring *how,
                         struct rep_inout *value) {
    enum cv_err err = CV_ERR_OK;
    if (how->metric == LEDGER_FLOW2)
        rep_rank_flow2(g->g, ego, value);
    else
        err = rep_rank_maxflow(g->g, ego, how->hops, value);
    for (uint32_t i = 0; !err && i < g->n; i++) {
        g->relay[i].flow = value[i];
        uint64_t in = value[i].in, out = value[i].out;
        g->relay[i].score = in < out ? -(double)(out - in) : (double)(in - out);
    }
    return err;
}

static enum cv_err numbers(struct ledger_graph *g, uint32_t ego, const struct ledger_scoring *how,
                           double *value) {
    switch (how->metric) {
    case LEDGER_WALK:
        return rep_rank_walk_exact(g->g, ego, ALPHA, TOLERANCE, value);
    case LEDGER_PPR:
        return rep_rank_ppr(g->g, ego, REP_BOTH, ALPHA, TOLERANCE, value);
    case LEDGER_PPR_DIFFERENCE:
        return rep_rank_ppr_difference(g->g, ego, ALPHA, TOLERANCE, value);
    case LEDGER_BARTERCAST:
        return rep_rank_bartercast(g->g, ego, value);
    case LEDGER_NETFLOW:
    case LEDGER_FLOW2:
    case LEDGER_MAXFLOW:
    case LEDGER_METRIC_COUNT:
        break;
    }
    return CV_ERR_INVAL;
}

static enum cv_err netflow(struct ledger_graph *g, uint32_t ego, unsigned hops, uint64_t *value) {
    enum cv_err err = rep_rank_netflow(g->g, ego, hops, value);
    for (uint32_t i = 0; !err && i < g->n; i++) {
        g->relay[i].flow.in = value[i];
        g->relay[i].score = (double)value[i];
    }
    return err;
}

void ledger_score(struct ledger_file *f, struct ledger_graph *g, uint32_t ego,
                  const struct ledger_scoring *how) {
    void *room = calloc((size_t)g->n + 1, sizeof(struct rep_inout));
    enum cv_err err;
    check_memory(f, room != NULL);
    if (how->metric == LEDGER_WALK && !how->exact) {
        err = sample(g, ego, how->seed);
    } else if (how->metric == LEDGER_FLOW2 || how->metric == LEDGER_MAXFLOW) {
        err = flows(g, ego, how, room);
    } else if (how->metric == LEDGER_NETFLOW) {
        err = netflow(g, ego, how->hops, room);
    } else {
        double *value = room;
        err = numbers(g, ego, how, value);
        for (uint32_t i = 0; !err && i < g->n; i++)
            g->relay[i].score = value[i];
    }
    free(room);
    check_memory(f, err == CV_ERR_OK);
}

static int best_first(const void *a, const void *b, void *relays) {
    const struct ledger_relay *x = (struct ledger_relay *)relays + *(const uint32_t *)a;
    const struct ledger_relay *y = (struct ledger_relay *)relays + *(const uint32_t *)b;
    if (x->score != y->score)
        return x->score < y->score ? 1 : -1;
    /* What a double has no room for: equal ones differ by little, whatever wraps around. */
    int64_t more = (int64_t)(x->flow.in - x->flow.out - (y->flow.in - y->flow.out));
    if (more != 0)
        return more < 0 ? 1 : -1;
    return memcmp(x->key, y->key, CV_KEY);
}

uint32_t *ledger_order(struct ledger_file *f, const struct ledger_graph *g) {
    uint32_t *order = malloc(((size_t)g->n + 1) * sizeof *order);
    check_memory(f, order != NULL);
    for (uint32_t i = 0; i < g->n; i++)
        order[i] = i;
    qsort_r(order, g->n, sizeof *order, best_first, g->relay);
    return order;
}
