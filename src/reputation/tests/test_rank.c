/*
 * Ranking. Goals: walks are what they claim (first-visit probabilities), agree
 * with exact values on small graphs, replay under a seed, and give nothing for
 * fake identities. Method: a naive solver of the same probabilities; random
 * graphs; an attacker with stars, cycles and cliques of Sybils behind it.
 */
#include "support/suite.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "crypto/rng_seeded.h"
#include "reputation/rank_ppr.h"
#include "reputation/rank_walk.h"

CV_SUITE(rep_rank);

enum { SMALL = 12, WALKS = 100000 };
static const uint8_t hash_key[16] = {9};

static void key(unsigned who, uint8_t ret[CV_KEY]) {
    memset(ret, 0, CV_KEY);
    ret[0] = (uint8_t)who;
    ret[1] = (uint8_t)(who >> 8);
    ret[2] = 1;
}

static struct rep_edge edge_of(unsigned a, unsigned b, uint64_t octets, uint32_t epoch) {
    struct rep_edge e;
    memset(&e, 0, sizeof e);
    key(a, e.giver);
    key(b, e.taker);
    e.octets = e.recent = octets;
    e.epoch = epoch;
    return e;
}

static void set(struct rep_graph *g, unsigned a, unsigned b, uint64_t octets) {
    struct rep_edge e = edge_of(a, b, octets, 0);
    cr_assert_eq(rep_graph_set(g, &e), CV_ERR_OK);
}

static uint32_t node(struct rep_graph *g, unsigned who) {
    uint8_t k[CV_KEY];
    uint32_t i;
    key(who, k);
    cr_assert_eq(rep_graph_node(g, k, &i), CV_ERR_OK);
    return i;
}

static void walk(struct rep_graph *g, unsigned ego, uint64_t seed, uint32_t *hits) {
    struct rep_walk_config cfg = {.walks = WALKS, .alpha_permille = 850, .seed = seed};
    cr_assert_eq(rep_rank_walk(g, node(g, ego), &cfg, hits), CV_ERR_OK);
}

/* A random connected graph of SMALL relays, its weights kept beside it. */
static struct rep_graph *random_graph(const struct cv_rng *rng, double w[SMALL][SMALL]) {
    struct rep_graph *g = rep_graph_new(1000, hash_key);
    for (unsigned i = 0; i < SMALL; i++)
        for (unsigned j = 0; j < SMALL; j++)
            w[i][j] = 0;
    for (unsigned i = 0; i < SMALL; i++)
        node(g, i);
    for (unsigned i = 1; i < SMALL; i++)
        for (unsigned n = 0; n < 2; n++) {
            unsigned j = (unsigned)cv_rng_below(rng, i);
            uint64_t out = 1 + cv_rng_below(rng, 1 << 20), in = cv_rng_below(rng, 1 << 20);
            set(g, i, j, out);
            set(g, j, i, in);
            w[i][j] = w[j][i] = (double)(out + in);
        }
    return g;
}

/* Probability that a walk from ego comes by t at all: t swallows the walk. */
static double first_visit(double w[SMALL][SMALL], unsigned ego, unsigned t) {
    double h[SMALL] = {0};
    for (unsigned round = 0; round < 500; round++) {
        double next[SMALL];
        for (unsigned i = 0; i < SMALL; i++) {
            double sum = 0, total = 0;
            for (unsigned j = 0; j < SMALL; j++) {
                total += w[i][j];
                sum += w[i][j] * (j == t ? 1 : h[j]);
            }
            next[i] = total > 0 ? 0.85 * sum / total : 0;
        }
        memcpy(h, next, sizeof h);
    }
    return h[ego];
}

/* Personalised PageRank by the textbook: one entry at a time. */
static double naive_ppr(double w[SMALL][SMALL], unsigned ego, unsigned t) {
    double p[SMALL] = {0};
    p[ego] = 1;
    for (unsigned round = 0; round < 500; round++) {
        double next[SMALL] = {0};
        for (unsigned i = 0; i < SMALL; i++) {
            double total = 0;
            for (unsigned j = 0; j < SMALL; j++)
                total += w[i][j];
            for (unsigned j = 0; j < SMALL; j++)
                next[j] += 0.85 * p[i] * w[i][j] / total;
        }
        next[ego] += 0.15;
        memcpy(p, next, sizeof p);
    }
    return p[t];
}

Test(rep_rank, walks_and_pagerank_agree_with_naive_solutions) {
    for (uint64_t seed = 1; seed <= 5; seed++) {
        struct cv_rng_seeded dice;
        double w[SMALL][SMALL], ppr[SMALL];
        uint32_t hits[SMALL];
        cv_rng_seeded_init(&dice, seed);
        struct cv_rng rng = cv_rng_seeded(&dice);
        struct rep_graph *g = random_graph(&rng, w);
        walk(g, 0, seed, hits);
        cr_assert_eq(rep_rank_ppr(g, node(g, 0), REP_BOTH, 0.85, 1e-12, ppr), CV_ERR_OK);
        double sum = 0;
        for (unsigned t = 0; t < SMALL; t++) {
            uint32_t i = node(g, t);
            sum += ppr[i];
            cr_expect_float_eq(ppr[i], naive_ppr(w, 0, t), 1e-9, "seed %lu, %u",
                               (unsigned long)seed, t);
            if (t == 0)
                continue;
            double share = (double)hits[i] / WALKS, want = first_visit(w, 0, t);
            double deviation = sqrt(want * (1 - want) / WALKS);
            cr_expect(fabs(share - want) < 5 * deviation, "seed %lu, %u: %f, exact %f",
                      (unsigned long)seed, t, share, want);
        }
        cr_expect_float_eq(sum, 1, 1e-9);
        cr_expect_eq(hits[node(g, 0)], 0);
        rep_graph_free(g);
    }
}

Test(rep_rank, exact_walks_agree_with_the_naive_solution) {
    for (uint64_t seed = 1; seed <= 5; seed++) {
        struct cv_rng_seeded dice;
        double w[SMALL][SMALL], chance[SMALL];
        cv_rng_seeded_init(&dice, seed);
        struct cv_rng rng = cv_rng_seeded(&dice);
        struct rep_graph *g = random_graph(&rng, w);
        cr_assert_eq(rep_rank_walk_exact(g, node(g, 3), 0.85, 1e-13, chance), CV_ERR_OK);
        for (unsigned t = 0; t < SMALL; t++)
            cr_expect_float_eq(chance[node(g, t)], t == 3 ? 1 : first_visit(w, 3, t), 1e-9,
                               "seed %lu, %u", (unsigned long)seed, t);
        rep_graph_free(g);
    }
}

/* By matrix: to those that took (w[i][j]: i gave j) or, transposed, that gave.
 * Who has nowhere to go returns to ego. */
static double naive_one_way(double w[SMALL][SMALL], bool givers, unsigned ego, unsigned t) {
    double p[SMALL] = {0};
    p[ego] = 1;
    for (unsigned round = 0; round < 500; round++) {
        double next[SMALL] = {0};
        for (unsigned i = 0; i < SMALL; i++) {
            double total = 0;
            for (unsigned j = 0; j < SMALL; j++)
                total += givers ? w[j][i] : w[i][j];
            if (total == 0)
                next[ego] += 0.85 * p[i];
            for (unsigned j = 0; total > 0 && j < SMALL; j++)
                next[j] += 0.85 * p[i] * (givers ? w[j][i] : w[i][j]) / total;
        }
        next[ego] += 0.15;
        memcpy(p, next, sizeof p);
    }
    return p[t];
}

Test(rep_rank, pagerank_one_way_and_its_difference) {
    for (uint64_t seed = 1; seed <= 5; seed++) {
        struct cv_rng_seeded dice;
        double w[SMALL][SMALL] = {{0}}, took[SMALL], gave[SMALL], difference[SMALL], sum = 0;
        cv_rng_seeded_init(&dice, seed);
        struct cv_rng rng = cv_rng_seeded(&dice);
        struct rep_graph *g = rep_graph_new(1000, hash_key);
        for (unsigned i = 0; i < SMALL; i++)
            node(g, i);
        for (unsigned n = 0; n < 2 * SMALL; n++) {
            unsigned a = (unsigned)cv_rng_below(&rng, SMALL);
            unsigned b = (unsigned)cv_rng_below(&rng, SMALL);
            uint64_t octets = 1 + cv_rng_below(&rng, 1 << 30);
            if (a == b || a == 5)
                continue; /* 5 gives nothing: a dead end of one walk */
            set(g, a, b, octets);
            w[a][b] = (double)octets;
        }
        cr_assert_eq(rep_rank_ppr(g, 0, REP_TOOK, 0.85, 1e-13, took), CV_ERR_OK);
        cr_assert_eq(rep_rank_ppr(g, 0, REP_GAVE, 0.85, 1e-13, gave), CV_ERR_OK);
        cr_assert_eq(rep_rank_ppr_difference(g, 0, 0.85, 1e-13, difference), CV_ERR_OK);
        for (unsigned t = 0; t < SMALL; t++) {
            cr_expect_float_eq(took[t], naive_one_way(w, true, 0, t), 1e-9);
            cr_expect_float_eq(gave[t], naive_one_way(w, false, 0, t), 1e-9);
            cr_expect_float_eq(difference[t], took[t] - gave[t], 1e-12);
            sum += difference[t];
        }
        cr_expect_float_eq(sum, 0, 1e-9);
        rep_graph_free(g);
    }
}

/* Whatever happens to the graph, walks that are kept up to date are those that
 * are walked anew; and few are walked again after one row. */
Test(rep_rank, kept_walks_are_the_same_as_new_ones) {
    enum { MANY = 300 };
    struct cv_rng_seeded dice;
    cv_rng_seeded_init(&dice, 6);
    struct cv_rng rng = cv_rng_seeded(&dice);
    struct rep_graph *g = rep_graph_new(1000, hash_key);
    struct rep_walk_config cfg = {.walks = 3000, .alpha_permille = 850, .seed = 8};
    struct rep_walks *kept = rep_walks_new(&cfg);
    static uint32_t hits[1000];
    uint64_t repaired = 0, rows = 0;
    for (unsigned i = 1; i < MANY; i++)
        set(g, i, (unsigned)cv_rng_below(&rng, i), 1 + cv_rng_below(&rng, 1 << 20));
    for (unsigned step = 0; step < 200; step++) {
        unsigned a = (unsigned)cv_rng_below(&rng, MANY + step / 10);
        unsigned b = (unsigned)cv_rng_below(&rng, MANY + step / 10);
        uint8_t k[CV_KEY];
        if (step % 50 == 20) {
            key(a, k);
            cr_assert_eq(rep_graph_exclude(g, k), CV_ERR_OK);
        } else if (step % 50 == 30) {
            rep_graph_epoch(g, step);
        } else if (step % 50 != 40 && a != b) {
            struct rep_edge e = edge_of(a, b, 1 + cv_rng_below(&rng, 1 << 20), step);
            cr_assert_eq(rep_graph_set(g, &e), CV_ERR_OK);
            rows++;
        }
        uint32_t ego = step < 150 ? 0 : 9 + step % 2;
        cr_assert_eq(rep_walks_update(kept, g, ego), CV_ERR_OK);
        if (step % 50 < 20 && step % 150)
            repaired += rep_walks_repaired(kept);
        cr_assert_eq(rep_rank_walk(g, ego, &cfg, hits), CV_ERR_OK);
        for (uint32_t i = 0; i < rep_graph_count(g); i++)
            cr_assert_eq(rep_walks_hits(kept, i), hits[i], "step %u, node %u", step, i);
        cr_assert_eq(rep_walks_hits(kept, ego), 0);
        cr_assert_eq(rep_walks_update(kept, g, ego), CV_ERR_OK);
        cr_assert_eq(rep_walks_repaired(kept), 0, "nothing changed meanwhile");
    }
    cr_expect_gt(rows, 100);
    cr_expect_lt(repaired, 80 * 3000 / 4, "%lu walks for 80 rows", (unsigned long)repaired);
    rep_walks_free(kept);
    rep_graph_free(g);
}

/* Ego, two ways out, and everything behind the second one. */
Test(rep_rank, which_way_walks_came) {
    struct rep_graph *g = rep_graph_new(1000, hash_key);
    struct rep_walk_config cfg = {.walks = 1000, .alpha_permille = 850, .seed = 1};
    struct rep_walks *w = rep_walks_new(&cfg);
    uint32_t via[4] = {0};
    set(g, 0, 1, 1000);
    set(g, 0, 2, 1000);
    set(g, 2, 3, 1000);
    cr_assert_eq(rep_walks_update(w, g, node(g, 0)), CV_ERR_OK);
    rep_walks_via(w, node(g, 3), via);
    cr_expect_eq(via[0] + via[3], 0);
    cr_expect_gt(via[2], via[1], "others turned round at the first");
    cr_expect_gt(via[1], 0);
    cr_expect_eq(via[1] + via[2], rep_walks_hits(w, node(g, 3)));
    rep_walks_free(w);
    rep_graph_free(g);
}

/* The chances are those of a graph without rows between rivals. */
Test(rep_rank, rows_between_rivals_do_not_count) {
    for (uint64_t seed = 1; seed <= 5; seed++) {
        static const unsigned who[] = {2, 5, 9};
        struct cv_rng_seeded dice;
        double w[SMALL][SMALL];
        uint32_t rivals[3];
        cv_rng_seeded_init(&dice, seed);
        struct cv_rng rng = cv_rng_seeded(&dice);
        struct rep_graph *g = random_graph(&rng, w);
        struct rep_walk_config cfg = {.walks = WALKS, .alpha_permille = 850, .seed = seed};
        struct rep_walks *walks = rep_walks_new(&cfg);
        for (unsigned i = 0; i < 3; i++) {
            rivals[i] = node(g, who[i]);
            set(g, who[i], who[(i + 1) % 3], UINT64_C(1) << 21); /* praise in a circle */
            for (unsigned j = 0; j < 3; j++)
                w[who[i]][who[j]] = 0;
        }
        cr_assert_eq(rep_walks_rivals(walks, rivals, 3), CV_ERR_OK);
        cr_assert_eq(rep_walks_update(walks, g, node(g, 0)), CV_ERR_OK);
        for (unsigned t = 1; t < SMALL; t++) {
            double share = (double)rep_walks_hits(walks, node(g, t)) / WALKS;
            double want = first_visit(w, 0, t), deviation = sqrt(want * (1 - want) / WALKS);
            cr_expect(fabs(share - want) < 5 * deviation + 1e-9, "seed %lu, %u: %f, exact %f",
                      (unsigned long)seed, t, share, want);
        }
        rep_walks_free(walks);
        rep_graph_free(g);
    }
}

/* Whatever rivals say about each other, nobody's hits move by one. */
Test(rep_rank, no_report_about_a_rival_moves_anything) {
    struct cv_rng_seeded dice;
    double w[SMALL][SMALL];
    uint32_t before[SMALL], rivals[3];
    cv_rng_seeded_init(&dice, 9);
    struct cv_rng rng = cv_rng_seeded(&dice);
    struct rep_graph *g = random_graph(&rng, w);
    struct rep_walk_config cfg = {.walks = 5000, .alpha_permille = 850, .seed = 1};
    struct rep_walks *kept = rep_walks_new(&cfg);
    for (unsigned i = 0; i < 3; i++)
        rivals[i] = node(g, 3 + i);
    for (unsigned i = 0; i < 3; i++) /* whoever is not known yet changes the order of a row */
        set(g, 3 + i, 3 + (i + 1) % 3, 1);
    cr_assert_eq(rep_walks_rivals(kept, rivals, 3), CV_ERR_OK);
    cr_assert_eq(rep_walks_update(kept, g, node(g, 0)), CV_ERR_OK);
    for (unsigned t = 0; t < SMALL; t++)
        before[t] = rep_walks_hits(kept, node(g, t));
    for (unsigned step = 0; step < 20; step++) {
        unsigned a = 3 + step % 3, b = 3 + (step + 1 + step / 3 % 2) % 3;
        set(g, a, b, cv_rng_below(&rng, UINT64_C(1) << 40));
        cr_assert_eq(rep_walks_update(kept, g, node(g, 0)), CV_ERR_OK);
        for (unsigned t = 0; t < SMALL; t++)
            cr_assert_eq(rep_walks_hits(kept, node(g, t)), before[t], "step %u, %u", step, t);
    }
    /* Rows with others do count, and the set may change. */
    set(g, 3, 1, UINT64_C(1) << 41);
    for (unsigned round = 0; round < 4; round++) {
        static const struct {
            unsigned who[3], n;
        } sets[] = {{{3, 4, 5}, 3}, {{0}, 0}, {{3, 4}, 2}, {{4, 5}, 2}};
        for (unsigned i = 0; i < sets[round].n; i++)
            rivals[i] = node(g, sets[round].who[i]);
        struct rep_walks *anew = rep_walks_new(&cfg);
        cr_assert_eq(rep_walks_rivals(kept, rivals, sets[round].n), CV_ERR_OK);
        cr_assert_eq(rep_walks_rivals(anew, rivals, sets[round].n), CV_ERR_OK);
        cr_assert_eq(rep_walks_update(kept, g, node(g, 0)), CV_ERR_OK);
        cr_assert_eq(rep_walks_update(anew, g, node(g, 0)), CV_ERR_OK);
        bool moved = false;
        for (unsigned t = 0; t < SMALL; t++) {
            moved |= rep_walks_hits(kept, node(g, t)) != before[t];
            cr_assert_eq(rep_walks_hits(kept, node(g, t)), rep_walks_hits(anew, node(g, t)));
        }
        cr_assert(moved);
        rep_walks_free(anew);
    }
    rep_walks_free(kept);
    rep_graph_free(g);
}

Test(rep_rank, same_seed_same_hits) {
    struct cv_rng_seeded dice;
    double w[SMALL][SMALL];
    uint32_t a[SMALL], b[SMALL];
    cv_rng_seeded_init(&dice, 3);
    struct cv_rng rng = cv_rng_seeded(&dice);
    struct rep_graph *g = random_graph(&rng, w);
    walk(g, 0, 42, a);
    walk(g, 0, 42, b);
    cr_expect_arr_eq(a, b, sizeof a);
    walk(g, 0, 43, b);
    cr_expect_arr_neq(a, b, sizeof a);
    rep_graph_free(g);
}

/* Order of insertion and bulk loading change nothing. */
Test(rep_rank, loading_is_the_same_as_setting) {
    struct cv_rng_seeded dice;
    struct rep_edge e[200];
    uint32_t a[40], b[40];
    cv_rng_seeded_init(&dice, 4);
    struct cv_rng rng = cv_rng_seeded(&dice);
    struct rep_graph *one = rep_graph_new(1000, hash_key), *bulk = rep_graph_new(1000, hash_key);
    for (unsigned i = 0; i < 40; i++) {
        node(one, i);
        node(bulk, i);
    }
    unsigned n = 0;
    while (n < 200) {
        unsigned x = (unsigned)cv_rng_below(&rng, 40), y = (unsigned)cv_rng_below(&rng, 40);
        bool known = x == y;
        struct rep_edge new = edge_of(x, y, 1 + cv_rng_below(&rng, 1000), 0);
        for (unsigned i = 0; i < n; i++)
            known |= memcmp(&e[i], &new, 2 * CV_KEY) == 0;
        if (known)
            continue;
        e[n++] = new;
        cr_assert_eq(rep_graph_set(one, &new), CV_ERR_OK);
    }
    cr_assert_eq(rep_graph_load(bulk, e, n), CV_ERR_OK);
    walk(one, 0, 1, a);
    walk(bulk, 0, 1, b);
    cr_expect_arr_eq(a, b, sizeof a);
    rep_graph_free(one);
    rep_graph_free(bulk);
}

Test(rep_rank, old_epochs_weigh_less) {
    struct rep_graph *g = rep_graph_new(1000, hash_key);
    uint32_t hits[3];
    struct rep_edge old = edge_of(1, 0, 4000, 10), new = edge_of(2, 0, 1000, 18);
    node(g, 0);
    cr_assert_eq(rep_graph_set(g, &old), CV_ERR_OK);
    cr_assert_eq(rep_graph_set(g, &new), CV_ERR_OK);
    rep_graph_epoch(g, 18);
    walk(g, 0, 1, hits);
    double ratio = (double)hits[node(g, 1)] / hits[node(g, 2)];
    cr_expect(ratio > 0.97 && ratio < 1.03, "4,000 eight epochs ago weigh as 1,000 now: %f", ratio);
    rep_graph_free(g);
}

Test(rep_rank, no_walk_goes_to_a_forger) {
    struct rep_graph *g = rep_graph_new(1000, hash_key);
    uint32_t hits[4];
    uint8_t forger[CV_KEY];
    set(g, 0, 1, 1000);
    set(g, 1, 2, 1000);
    set(g, 0, 3, 1000);
    key(1, forger);
    cr_assert_eq(rep_graph_exclude(g, forger), CV_ERR_OK);
    walk(g, 0, 1, hits);
    cr_expect_eq(hits[node(g, 1)], 0);
    cr_expect_eq(hits[node(g, 2)], 0, "nor behind it");
    cr_expect_gt(hits[node(g, 3)], 0);
    rep_graph_free(g);
}

/* ---- Sybils ---- */

enum { HONEST = 60, FAKES_MAX = 1000 };
enum shape { STAR, CYCLE, CLIQUE };
static const char *const shapes[] = {"star", "cycle", "clique"};

/* Early relays of honest_graph() are its hubs. What changes places among honest
 * relays are those that only the attacker vouched for. */
static const struct {
    const char *name;
    unsigned who;
    double swapped_max;
} attackers[] = {
    {"a hub", 7, 0.02},
    {"in the middle", 25, 0.01},
    {"at the rim", 45, 0.01},
};

static struct rep_graph *honest_graph(uint64_t seed) {
    struct cv_rng_seeded dice;
    cv_rng_seeded_init(&dice, seed);
    struct cv_rng rng = cv_rng_seeded(&dice);
    struct rep_graph *g = rep_graph_new(HONEST + FAKES_MAX + 1, hash_key);
    for (unsigned i = 0; i < HONEST; i++)
        node(g, i);
    for (unsigned i = 1; i < HONEST; i++)
        for (unsigned n = 0; n < 4; n++)
            set(g, i, (unsigned)cv_rng_below(&rng, i), 1 + cv_rng_below(&rng, 1 << 30));
    return g;
}

/* Fakes behind the attacker, with 10 TB of work they signed among themselves. */
static void add_fakes(struct rep_graph *g, unsigned attacker, unsigned fakes, enum shape shape) {
    const uint64_t lots = UINT64_C(10000000000000);
    for (unsigned i = 0; i < fakes; i++) {
        unsigned me = HONEST + i;
        if (shape == STAR || i == 0 || shape == CLIQUE)
            set(g, attacker, me, lots);
        if (shape == CYCLE)
            set(g, me, i + 1 < fakes ? me + 1 : attacker, lots);
        for (unsigned j = 0; shape == CLIQUE && j < i; j++)
            set(g, me, HONEST + j, lots);
    }
}

/* Pairs of honest relays that changed places, of all that were clearly apart. */
static double swapped(const uint32_t *before, const uint32_t *after, unsigned attacker) {
    unsigned pairs = 0, turned = 0;
    for (unsigned i = 1; i < HONEST; i++)
        for (unsigned j = 1; j < i; j++) {
            double a = before[i], b = before[j];
            if (i == attacker || j == attacker || fabs(a - b) < 6 * sqrt(a + b))
                continue;
            pairs++;
            turned += (before[i] > before[j]) != (after[i] > after[j]);
        }
    return pairs ? (double)turned / pairs : 0;
}

static void attack(uint64_t seed, size_t row, enum shape shape, unsigned fakes) {
    static uint32_t before[HONEST + FAKES_MAX], after[HONEST + FAKES_MAX];
    unsigned attacker = attackers[row].who;
    char name[96];
    snprintf(name, sizeof name, "seed %u, %s, %s of %u", (unsigned)seed, attackers[row].name,
             shapes[shape], fakes);
    struct rep_graph *g = honest_graph(seed);
    walk(g, 0, seed, before);
    add_fakes(g, attacker, fakes, shape);
    walk(g, 0, seed + 100, after);
    uint64_t with_fakes = after[attacker];
    for (unsigned i = 0; i < fakes; i++)
        with_fakes += after[node(g, HONEST + i)];
    cr_expect(after[attacker] <= 1.05 * before[attacker], "%s: %u hits after %u", name,
              after[attacker], before[attacker]);
    cr_expect((double)with_fakes <= 1.05 / 0.15 * before[attacker], "%s: %lu hits in all, after %u",
              name, (unsigned long)with_fakes, before[attacker]);
    double moved = swapped(before, after, attacker);
    cr_expect(moved < attackers[row].swapped_max, "%s: %f of honest pairs turned", name, moved);
    rep_graph_free(g);
}

Test(rep_rank, fake_identities_gain_nothing, .timeout = 600) {
    for (uint64_t seed = 1; seed <= 2; seed++)
        for (size_t row = 0; row < sizeof attackers / sizeof *attackers; row++)
            for (int shape = STAR; shape <= CLIQUE; shape++)
                for (unsigned fakes = 1; fakes <= FAKES_MAX; fakes *= 10)
                    attack(seed, row, (enum shape)shape, fakes);
}
