/*
 * Flows and the rankings made of them. Goal: exact values. Method: small random
 * graphs kept as matrices beside the real one; references are Ford-Fulkerson on
 * the matrix, rows off every chain of the allowed length erased by all-pairs
 * distances, relays with a capacity split in two.
 */
#include "support/suite.h"

#include <math.h>
#include <string.h>

#include "crypto/rng_seeded.h"
#include "reputation/flow.h"
#include "reputation/rank_bartercast.h"
#include "reputation/rank_flow2.h"
#include "reputation/rank_maxflow.h"
#include "reputation/rank_netflow.h"

CV_SUITE(rep_flow);

enum { N = 11, SPLIT = 2 * N, SEEDS = 30, FAR = 1000 };
static const uint8_t hash_key[16] = {3};

/* m[a][b]: what a gave b. */
struct matrix {
    uint64_t m[N][N];
};

static void key(unsigned who, uint8_t ret[CV_KEY]) {
    memset(ret, 0, CV_KEY);
    ret[0] = (uint8_t)(who + 1);
}

static void give(struct rep_graph *g, struct matrix *w, unsigned a, unsigned b, uint64_t octets) {
    struct rep_edge e;
    memset(&e, 0, sizeof e);
    key(a, e.giver);
    key(b, e.taker);
    e.octets = octets;
    e.recent = octets / 2; /* flows must not look at it */
    cr_assert_eq(rep_graph_set(g, &e), CV_ERR_OK);
    w->m[a][b] = octets;
}

static struct rep_graph *nodes(struct matrix *w) {
    struct rep_graph *g = rep_graph_new(N, hash_key);
    memset(w, 0, sizeof *w);
    for (unsigned i = 0; i < N; i++) {
        uint8_t k[CV_KEY];
        uint32_t at;
        key(i, k);
        cr_assert_eq(rep_graph_node(g, k, &at), CV_ERR_OK);
        cr_assert_eq(at, i);
    }
    return g;
}

/* Sparse enough for long ways, small amounts so that ties and full arcs occur. */
static struct rep_graph *random_graph(uint64_t seed, struct matrix *w) {
    struct cv_rng_seeded dice;
    cv_rng_seeded_init(&dice, seed);
    struct cv_rng rng = cv_rng_seeded(&dice);
    struct rep_graph *g = nodes(w);
    uint64_t most = seed % 3 == 0 ? 4 : UINT64_C(1) << 40;
    for (unsigned i = 0; i < 2 * N; i++) {
        unsigned a = (unsigned)cv_rng_below(&rng, N), b = (unsigned)cv_rng_below(&rng, N);
        if (a != b)
            give(g, w, a, b, 1 + cv_rng_below(&rng, most));
    }
    return g;
}

/* ---- references ---- */

/* Rows that are on a chain of at most `hops`; 0: all. */
static struct matrix within(const struct matrix *w, unsigned s, unsigned t, unsigned hops) {
    unsigned d[N][N];
    struct matrix ret = *w;
    if (hops == 0)
        return ret;
    for (unsigned i = 0; i < N; i++)
        for (unsigned j = 0; j < N; j++)
            d[i][j] = i == j ? 0 : w->m[i][j] ? 1 : FAR;
    for (unsigned k = 0; k < N; k++)
        for (unsigned i = 0; i < N; i++)
            for (unsigned j = 0; j < N; j++)
                if (d[i][k] + d[k][j] < d[i][j])
                    d[i][j] = d[i][k] + d[k][j];
    for (unsigned i = 0; i < N; i++)
        for (unsigned j = 0; j < N; j++)
            if (d[s][i] + 1 + d[j][t] > hops)
                ret.m[i][j] = 0;
    return ret;
}

static uint64_t augment(uint64_t r[SPLIT][SPLIT], bool seen[SPLIT], unsigned at, unsigned t,
                        uint64_t most) {
    if (at == t)
        return most;
    seen[at] = true;
    for (unsigned i = 0; i < SPLIT; i++) {
        if (seen[i] || r[at][i] == 0)
            continue;
        uint64_t got = augment(r, seen, i, t, most < r[at][i] ? most : r[at][i]);
        if (got) {
            r[at][i] -= got;
            r[i][at] += got;
            return got;
        }
    }
    return 0;
}

/* Every relay is two: i in, N + i out. */
static uint64_t naive_flow(const struct matrix *w, unsigned s, unsigned t, unsigned hops,
                           const uint64_t *cap) {
    static uint64_t r[SPLIT][SPLIT];
    struct matrix near = within(w, s, t, hops);
    uint64_t sum = 0, got;
    memset(r, 0, sizeof r);
    for (unsigned i = 0; i < N; i++) {
        r[i][N + i] = cap ? cap[i] : UINT64_MAX / 4;
        for (unsigned j = 0; j < N; j++)
            r[N + i][j] = near.m[i][j];
    }
    do {
        bool seen[SPLIT] = {false};
        got = augment(r, seen, s, t, UINT64_MAX / 4);
        sum += got;
    } while (got);
    return sum;
}

/* ---- tests ---- */

Test(rep_flow, exact_for_every_pair_bound_and_capacity) {
    static const unsigned bounds[] = {REP_FLOW_UNLIMITED, 1, 2, 3, 4, 5, 6, N};
    unsigned differ = 0;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct matrix w;
        struct rep_graph *g = random_graph(seed, &w);
        struct rep_flow *f = rep_flow_new(g);
        uint64_t cap[N], got, all;
        for (unsigned i = 0; i < N; i++)
            cap[i] = w.m[i][(i + 3) % N] + w.m[(i + 5) % N][i] / 2 + i % 3;
        for (unsigned s = 0; s < N; s++)
            for (unsigned t = 0; t < N; t++) {
                if (s == t) {
                    cr_assert_eq(rep_flow_max(f, s, t, 0, NULL, &got), CV_ERR_INVAL);
                    continue;
                }
                cr_assert_eq(rep_flow_max(f, s, t, 0, NULL, &all), CV_ERR_OK);
                for (size_t b = 0; b < sizeof bounds / sizeof *bounds; b++) {
                    cr_assert_eq(rep_flow_max(f, s, t, bounds[b], NULL, &got), CV_ERR_OK);
                    cr_expect_eq(got, naive_flow(&w, s, t, bounds[b], NULL),
                                 "seed %u, %u to %u, %u hops", (unsigned)seed, s, t, bounds[b]);
                    differ += got != all;
                    cr_assert_eq(rep_flow_max(f, s, t, bounds[b], cap, &got), CV_ERR_OK);
                    cr_expect_eq(got, naive_flow(&w, s, t, bounds[b], cap),
                                 "seed %u, %u to %u, %u hops, capacities", (unsigned)seed, s, t,
                                 bounds[b]);
                }
            }
        rep_flow_free(f);
        rep_graph_free(g);
    }
    cr_expect_gt(differ, 1000, "bounds matter in these graphs");
}

/* The shortest way is taken first and has to be given back. */
Test(rep_flow, takes_back_what_blocks) {
    struct matrix w;
    struct rep_graph *g = nodes(&w);
    uint64_t got;
    give(g, &w, 0, 1, 10);
    give(g, &w, 1, 2, 10);
    give(g, &w, 2, 3, 10); /* 0 1 2 3 is the short way */
    give(g, &w, 0, 4, 10);
    give(g, &w, 4, 5, 10);
    give(g, &w, 5, 2, 10);
    give(g, &w, 1, 6, 10);
    give(g, &w, 6, 7, 10);
    give(g, &w, 7, 3, 10);
    struct rep_flow *f = rep_flow_new(g);
    cr_assert_eq(rep_flow_max(f, 0, 3, 0, NULL, &got), CV_ERR_OK);
    cr_expect_eq(got, 20);
    cr_assert_eq(rep_flow_max(f, 0, 3, 3, NULL, &got), CV_ERR_OK);
    cr_expect_eq(got, 10);
    cr_assert_eq(rep_flow_max(f, 3, 0, 0, NULL, &got), CV_ERR_OK);
    cr_expect_eq(got, 0);
    rep_flow_free(f);
    rep_graph_free(g);
}

/* As large as counters go: sums do not wrap. */
Test(rep_flow, the_largest_amounts) {
    struct matrix w;
    struct rep_graph *g = nodes(&w);
    struct rep_inout two[N];
    uint64_t got;
    for (unsigned i = 2; i < N; i++) {
        give(g, &w, 0, i, REP_AMOUNT_MAX);
        give(g, &w, i, 1, REP_AMOUNT_MAX);
    }
    struct rep_flow *f = rep_flow_new(g);
    cr_assert_eq(rep_flow_max(f, 0, 1, 0, NULL, &got), CV_ERR_OK);
    cr_expect_eq(got, UINT64_MAX, "nine times 2^62 is more than fits");
    rep_flow_free(f);
    rep_rank_flow2(g, 1, two);
    cr_expect_eq(two[0].in, UINT64_MAX);
    cr_expect_eq(two[2].in, REP_AMOUNT_MAX);
    rep_graph_free(g);
}

Test(rep_flow, nothing_flows_through_a_forger) {
    struct matrix w;
    struct rep_graph *g = nodes(&w);
    struct rep_inout two[N], all[N];
    uint64_t net[N];
    uint8_t forger[CV_KEY];
    give(g, &w, 1, 0, 100);
    give(g, &w, 2, 1, 100);
    give(g, &w, 3, 0, 7);
    key(1, forger);
    cr_assert_eq(rep_graph_exclude(g, forger), CV_ERR_OK);
    rep_rank_flow2(g, 0, two);
    cr_assert_eq(rep_rank_maxflow(g, 0, 0, all), CV_ERR_OK);
    cr_assert_eq(rep_rank_netflow(g, 0, REP_NETFLOW_HOPS, net), CV_ERR_OK);
    for (unsigned i = 1; i < N; i++) {
        cr_expect_eq(two[i].in, i == 3 ? 7 : 0, "%u", i);
        cr_expect_eq(all[i].in, i == 3 ? 7 : 0, "%u", i);
        cr_expect_eq(net[i], i == 3 ? 7 : 0, "%u", i);
    }
    rep_graph_free(g);
}

static void check_rankings(uint64_t seed, unsigned ego) {
    struct matrix w;
    struct rep_graph *g = random_graph(seed, &w);
    struct rep_inout two[N], all[N], six[N];
    uint64_t net[N], owed[N];
    double barter[N];
    rep_rank_flow2(g, ego, two);
    cr_assert_eq(rep_rank_maxflow(g, ego, 0, all), CV_ERR_OK);
    cr_assert_eq(rep_rank_maxflow(g, ego, 3, six), CV_ERR_OK);
    cr_assert_eq(rep_rank_netflow(g, ego, 3, net), CV_ERR_OK);
    cr_assert_eq(rep_rank_bartercast(g, ego, barter), CV_ERR_OK);
    for (unsigned i = 0; i < N; i++) {
        uint64_t in = i == ego ? 0 : naive_flow(&w, i, ego, 3, NULL);
        uint64_t out = i == ego ? 0 : naive_flow(&w, ego, i, 3, NULL);
        cr_expect_eq(six[i].in, in);
        cr_expect_eq(six[i].out, out);
        owed[i] = in > out ? in - out : 0;
    }
    for (unsigned i = 0; i < N; i++) {
        if (i == ego) {
            cr_expect_eq(two[i].in | two[i].out | all[i].in | all[i].out | net[i], 0);
            cr_expect_eq(barter[i], 0);
            continue;
        }
        cr_expect_eq(two[i].in, naive_flow(&w, i, ego, 2, NULL), "seed %u, %u", (unsigned)seed, i);
        cr_expect_eq(two[i].out, naive_flow(&w, ego, i, 2, NULL), "seed %u, %u", (unsigned)seed, i);
        cr_expect_eq(all[i].in, naive_flow(&w, i, ego, 0, NULL));
        cr_expect_eq(all[i].out, naive_flow(&w, ego, i, 0, NULL));
        cr_expect_eq(net[i], naive_flow(&w, i, ego, 3, owed), "seed %u, netflow of %u",
                     (unsigned)seed, i);
        cr_expect_leq(net[i], owed[i]);
        double kb = ((double)two[i].in - (double)two[i].out) / 1024;
        cr_expect_float_eq(barter[i], 2 / M_PI * atan(kb / 30000), 1e-12);
    }
    rep_graph_free(g);
}

Test(rep_flow, rankings_agree_with_naive_ones) {
    for (uint64_t seed = 1; seed <= SEEDS; seed++)
        check_rankings(seed, (unsigned)seed % N);
}

Test(rep_flow, thirty_megabytes_are_worth_a_half) {
    struct matrix w;
    struct rep_graph *g = nodes(&w);
    double score[N];
    give(g, &w, 1, 0, 30000 * 1024);
    give(g, &w, 0, 2, 30000 * 1024);
    cr_assert_eq(rep_rank_bartercast(g, 0, score), CV_ERR_OK);
    cr_expect_float_eq(score[1], 0.5, 1e-12);
    cr_expect_float_eq(score[2], -0.5, 1e-12);
    rep_graph_free(g);
}

/* What max flow alone does not do: each fake behind an attacker inherits all
 * of its flow, whereas what they can pass on under NetFlow is what it is owed. */
Test(rep_flow, fakes_share_what_their_master_is_owed) {
    struct matrix w;
    struct rep_graph *g = nodes(&w);
    struct rep_inout all[N];
    uint64_t net[N];
    give(g, &w, 1, 0, 100);
    give(g, &w, 0, 1, 60); /* the attacker is owed 40 */
    for (unsigned i = 2; i < N; i++)
        give(g, &w, i, 1, 1000000);
    cr_assert_eq(rep_rank_maxflow(g, 0, 0, all), CV_ERR_OK);
    cr_assert_eq(rep_rank_netflow(g, 0, REP_NETFLOW_HOPS, net), CV_ERR_OK);
    for (unsigned i = 1; i < N; i++) {
        cr_expect_eq(all[i].in, 100);
        cr_expect_eq(net[i], 40, "%u", i);
    }
    rep_graph_free(g);
}
