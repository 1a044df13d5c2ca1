/*
 * The graph of agreed rows. Goal: rows, weights, marks and versions are right
 * after any history. Method: random sets, exclusions, epochs and looks beside a
 * matrix of what was set last.
 */
#include "support/suite.h"

#include <string.h>

#include "crypto/rng_seeded.h"
#include "reputation/chain.h"
#include "reputation/graph.h"

CV_SUITE(rep_graph);

enum { N = 40, STEPS = 4000 };
static const uint8_t hash_key[16] = {5};

struct model {
    struct rep_edge e[N][N]; /* octets 0: never set */
    bool excluded[N];
    uint32_t epoch;
};

static void key(unsigned who, uint8_t ret[CV_KEY]) {
    memset(ret, 0, CV_KEY);
    ret[0] = (uint8_t)(who + 1);
}

static uint64_t weigh(const struct model *m, unsigned a, unsigned b) {
    const struct rep_edge *ab = &m->e[a][b], *ba = &m->e[b][a];
    if (m->excluded[a] || m->excluded[b])
        return 0;
    uint64_t sum = rep_chain_decay(ab->recent, ab->epoch, m->epoch) +
                   rep_chain_decay(ba->recent, ba->epoch, m->epoch);
    return sum < UINT64_C(1) << 43 ? sum : UINT64_C(1) << 43;
}

static void check_row(struct rep_graph *g, const struct model *m, unsigned a) {
    uint32_t n, at = 0;
    uint64_t total, sum = 0;
    const struct rep_half *row = rep_graph_row(g, a, &n, &total);
    for (unsigned b = 0; b < N; b++) {
        if (!m->e[a][b].octets && !m->e[b][a].octets)
            continue;
        cr_assert_lt(at, n, "%u and %u are a pair", a, b);
        cr_assert_eq(row[at].to, b, "in order of nodes");
        sum += weigh(m, a, b);
        cr_assert_eq(row[at].sum, sum);
        cr_assert_eq(rep_graph_weight(g, &row[at], REP_BOTH), weigh(m, a, b));
        cr_assert_eq(rep_graph_octets(g, &row[at], REP_GAVE), m->e[a][b].octets);
        cr_assert_eq(rep_graph_octets(g, &row[at], REP_TOOK), m->e[b][a].octets);
        cr_assert_eq(rep_half_has(&row[at], REP_GAVE), m->e[a][b].octets != 0);
        cr_assert_eq(rep_half_has(&row[at], REP_TOOK), m->e[b][a].octets != 0);
        at++;
    }
    cr_assert_eq(at, n, "and nobody else is in the row of %u", a);
    cr_assert_eq(total, sum);
}

static void set(struct rep_graph *g, struct model *m, const struct cv_rng *rng, unsigned a,
                unsigned b) {
    struct rep_edge e;
    memset(&e, 0, sizeof e);
    key(a, e.giver);
    key(b, e.taker);
    e.octets = 1 + cv_rng_below(rng, UINT64_C(1) << 45);
    e.recent = cv_rng_below(rng, e.octets);
    e.epoch = (uint32_t)cv_rng_below(rng, 30);
    cr_assert_eq(rep_graph_set(g, &e), CV_ERR_OK);
    m->e[a][b] = e;
}

Test(rep_graph, as_a_matrix_after_any_history) {
    static struct model m;
    static uint64_t seen[N]; /* version when the row was last looked at */
    static bool touched[N];
    struct cv_rng_seeded dice;
    cv_rng_seeded_init(&dice, 11);
    struct cv_rng rng = cv_rng_seeded(&dice);
    struct rep_graph *g = rep_graph_new(N, hash_key);
    for (unsigned i = 0; i < N; i++) {
        uint8_t k[CV_KEY];
        uint32_t at;
        key(i, k);
        cr_assert_eq(rep_graph_find(g, k), REP_NO_NODE);
        cr_assert_eq(rep_graph_node(g, k, &at), CV_ERR_OK);
        cr_assert_eq(rep_graph_find(g, k), at);
        cr_assert_arr_eq(rep_graph_key(g, at), k, CV_KEY);
    }
    for (unsigned step = 0; step < STEPS; step++) {
        unsigned a = (unsigned)cv_rng_below(&rng, N), b = (unsigned)cv_rng_below(&rng, N);
        unsigned what = (unsigned)cv_rng_below(&rng, 400);
        if (what == 0) {
            m.epoch = (uint32_t)cv_rng_below(&rng, 40);
            rep_graph_epoch(g, m.epoch);
            for (unsigned i = 0; i < N; i++)
                touched[i] = true;
        } else if (what == 1 && step > STEPS / 2) {
            uint8_t k[CV_KEY];
            key(a, k);
            m.excluded[a] = true;
            cr_assert_eq(rep_graph_exclude(g, k), CV_ERR_OK);
            cr_assert(rep_graph_excluded(g, a));
            for (unsigned i = 0; i < N; i++)
                touched[i] |= i == a || m.e[a][i].octets || m.e[i][a].octets;
        } else if (what < 100) {
            if (touched[a])
                cr_assert_gt(rep_graph_changed(g, a), seen[a], "a change is told");
            check_row(g, &m, a);
            seen[a] = rep_graph_version(g);
            touched[a] = false;
        } else if (a != b) {
            set(g, &m, &rng, a, b);
            touched[a] = touched[b] = true;
        }
    }
    for (unsigned i = 0; i < N; i++)
        check_row(g, &m, i);
    rep_graph_free(g);
}

Test(rep_graph, what_it_refuses) {
    struct rep_graph *g = rep_graph_new(2, hash_key);
    struct rep_edge e;
    uint8_t k[CV_KEY];
    uint32_t at = 77;
    memset(&e, 0, sizeof e);
    key(1, e.giver);
    key(1, e.taker);
    cr_expect_eq(rep_graph_set(g, &e), CV_ERR_INVAL, "with itself");
    key(2, e.taker);
    cr_expect_eq(rep_graph_set(g, &e), CV_ERR_OK);
    key(3, k);
    cr_expect_eq(rep_graph_node(g, k, &at), CV_ERR_LIMIT);
    cr_expect_eq(at, 77);
    key(3, e.taker);
    cr_expect_eq(rep_graph_set(g, &e), CV_ERR_LIMIT);
    cr_expect_eq(rep_graph_load(g, &e, 1), CV_ERR_OK, "a ledger with too many is opened, too");
    cr_expect_eq(rep_graph_count(g), 2);
    rep_graph_free(g);
}
