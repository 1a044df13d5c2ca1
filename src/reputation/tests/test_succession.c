/*
 * Keys that take another's place. Goals: both keys sign; the standing goes over once
 * and only once; a second successor, or a half-block for a time when the key was
 * closed, is a fork; nobody gains by calling its fakes one; whoever missed it hears
 * of it, and an old copy of the key signs nothing more. Method: tables of half-blocks,
 * graphs against the same graph with both relays made one, ledgers in virtual time.
 */
#include "support/suite.h"

#include <math.h>
#include <stdlib.h>

#include "reputation/chain.h"
#include "reputation/forkproof.h"
#include "reputation/message.h"
#include "reputation/rank_walk.h"
#include "reputation/store_sqlite.h"
#include "reputation/tests/people.h"
#include "reputation/tests/world.h"
#include "support/hex.h"

CV_SUITE(rep_succession, .timeout = 600);

enum { WALL = 1700000000, AT = 2801, PEOPLE = 5 };

static struct cv_ed25519_secret people[PEOPLE];

static struct rep_record succession(unsigned old, unsigned heir, uint32_t epoch) {
    struct rep_record r;
    rep_record_succeed(&people[old], &people[heir], test_network, epoch, &r);
    return r;
}

static void meet(void) {
    for (unsigned i = 0; i < PEOPLE; i++)
        person(i, &people[i]);
}

/* ---- the half-block ---- */

Test(rep_succession, both_keys_sign) {
    uint8_t buf[REP_RECORD], again[REP_RECORD];
    struct rep_record r, read;
    meet();
    r = succession(0, 1, AT);
    rep_record_write(&r, buf);
    cr_assert_eq(rep_record_read(buf, &read), CV_ERR_OK);
    rep_record_write(&read, again);
    cr_expect_arr_eq(buf, again, sizeof buf);
    cr_expect_arr_eq(read.hash, r.hash, REP_HASH);
    cr_expect(rep_record_verify(&read, test_network));
    cr_expect(!rep_record_verify(&read, (const uint8_t *)"testnet2"));

    /* Any octet of either signature, the keys, the epoch. */
    static const struct {
        const char *what;
        unsigned from, to;
    } part[] = {{"owner", 2, 34},
                {"heir", 42, 74},
                {"heir's signature", 82, 146},
                {"epoch", 162, 166},
                {"owner's signature", 168, 232}};
    for (unsigned p = 0; p < sizeof part / sizeof *part; p++)
        for (unsigned at = part[p].from; at < part[p].to; at += 3) {
            buf[at] ^= 0x20;
            cr_expect(rep_record_read(buf, &read) || !rep_record_verify(&read, test_network),
                      "%s, octet %u", part[p].what, at);
            buf[at] ^= 0x20;
        }

    /* As tests of culvert-ledger write it in another language. */
    uint8_t vector[REP_RECORD];
    cv_test_unhex(
        "01038a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5cffffffffffffff7f"
        "8139770ea87d175f56a35466c34c7ecccb8d8a91b4ee37a25df60f5b8fc9b394000000000000000"
        "09b943a69d793eb9ab0bdc95f8bbe7b6eade2fed9bde4029aa06b6a57dad2df4269c4d5653e044f"
        "6d11eaea4c81a3172ea00456cc130fc3e203983e7ed375e50e000000000000000000000000000000"
        "00f10a00000000479ccf31ad498d4d8dbcdd2dd0eafb7cc55662bc543df92fd2c3517fffecb5b0dd"
        "cb5a13907b512d3851b84abcc4336c8fde7e5350b8e353023b72f2d8d62f02",
        vector, sizeof vector);
    cr_expect_arr_eq(buf, vector, sizeof vector);

    /* The old key alone cannot name an heir: it signs over what the other signed. */
    struct rep_record forged = succession(2, 1, AT);
    rep_record_sign(&forged, &people[0], test_network);
    cr_expect(!rep_record_verify(&forged, test_network));
}

Test(rep_succession, its_form_is_checked) {
    static const struct {
        const char *what;
        unsigned at;
        uint8_t was, becomes;
    } cases[] = {
        {"another type with the last number", 1, 3, 1},
        {"a number before the last", 34, 0xff, 0xfe},
        {"a number beyond", 41, 0x7f, 0x80},
        {"it answers something", 74, 0, 1},
        {"it gave", 146, 0, 1},
        {"it took", 154, 0, 1},
        {"flags", 166, 0, 1},
    };
    uint8_t buf[REP_RECORD];
    struct rep_record r, read;
    meet();
    r = succession(0, 1, AT);
    rep_record_write(&r, buf);
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        cr_assert_eq(buf[cases[i].at], cases[i].was, "%s", cases[i].what);
        buf[cases[i].at] = cases[i].becomes;
        cr_expect_eq(rep_record_read(buf, &read), CV_ERR_MALFORMED, "%s", cases[i].what);
        buf[cases[i].at] = cases[i].was;
    }
    /* And a half-block of another type never has the last number. */
    r = proposal(&people[0], &people[1], NULL, 1, 1);
    r.seq = REP_SEQ_LAST;
    memset(r.prev, 7, sizeof r.prev);
    rep_record_write(&r, buf);
    cr_expect_eq(rep_record_read(buf, &read), CV_ERR_MALFORMED);
}

/* ---- the chain, in both stores ---- */

struct chain {
    struct rep_store_memory *memory;
    struct rep_store_sqlite *file;
    const struct rep_store *s;
};

static void chain_open(struct chain *c, bool file) {
    char why[256];
    meet();
    memset(c, 0, sizeof *c);
    if (file) {
        cr_assert_eq(rep_store_sqlite_open(":memory:", test_network, people[4].public_key,
                                           REP_SQLITE_NORMAL, &c->file, why, sizeof why),
                     CV_ERR_OK);
        c->s = rep_store_sqlite_ops(c->file);
    } else {
        c->memory = rep_store_memory_new();
        c->s = rep_store_memory_ops(c->memory);
    }
    cr_assert_eq(c->s->begin(c->s->ctx, WALL), CV_ERR_OK);
}

static void chain_close(struct chain *c) {
    rep_store_sqlite_close(c->file);
    rep_store_memory_free(c->memory);
}

static enum cv_err add(struct chain *c, const struct rep_record *r, struct rep_chain_result *ret) {
    return rep_chain_add(c->s, test_network, r, false, WALL, ret);
}

static size_t heirs(struct chain *c, struct rep_record *ret) {
    struct rep_record *all = NULL;
    size_t n = 0;
    cr_assert_eq(c->s->heir_load(c->s->ctx, &all, &n), CV_ERR_OK);
    if (n)
        *ret = all[0];
    free(all);
    return n;
}

Test(rep_succession, it_stands_at_the_end_of_a_chain_with_gaps) {
    for (int file = 0; file < 2; file++) {
        struct chain c;
        struct rep_chain_result res;
        struct rep_record had, next;
        chain_open(&c, file);
        struct rep_record one = proposal(&people[0], &people[2], NULL, 10, 10);
        struct rep_record two = proposal(&people[0], &people[2], &one, 20, 20);
        struct rep_record with_heir = proposal(&people[0], &people[1], &two, 5, 5);
        struct rep_record end = succession(0, 1, AT);
        cr_expect_eq(heirs(&c, &had), 0);
        cr_expect_eq(add(&c, &two, &res), CV_ERR_OK);
        cr_expect(!res.succeeds);
        cr_expect_eq(add(&c, &end, &res), CV_ERR_OK);
        cr_expect(res.succeeds && !res.gap && !res.agreed && !res.forked);
        cr_expect_eq(add(&c, &end, &res), CV_ERR_EXIST);
        /* What was signed before may come later, also about the heir. */
        cr_expect_eq(add(&c, &one, &res), CV_ERR_OK);
        cr_expect_eq(add(&c, &with_heir, &res), CV_ERR_OK);
        cr_assert_eq(heirs(&c, &had), 1);
        cr_expect_arr_eq(had.hash, end.hash, REP_HASH);
        cr_expect_arr_eq(had.owner, end.owner, CV_KEY);
        /* The number of the next half-block is not beyond it. */
        cr_assert_eq(rep_chain_next(c.s, people[0].public_key, people[2].public_key, &next),
                     CV_ERR_OK);
        cr_expect_eq(next.seq, 4);
        chain_close(&c);
    }
}

Test(rep_succession, two_successors_are_a_fork) {
    for (int file = 0; file < 2; file++) {
        struct chain c;
        struct rep_chain_result res;
        uint8_t owner[CV_KEY];
        chain_open(&c, file);
        struct rep_record first = succession(0, 1, AT), second = succession(0, 2, AT + 3);
        cr_assert_eq(add(&c, &first, &res), CV_ERR_OK);
        struct rep_record forged = second;
        forged.sig[5] ^= 1;
        cr_expect_eq(add(&c, &forged, &res), CV_ERR_AUTH);
        cr_expect(!res.forked, "nobody is accused by a forgery");
        cr_assert_eq(add(&c, &second, &res), CV_ERR_DIFFERS);
        cr_expect(res.forked);
        cr_expect_eq(rep_forkproof_check(&res.fork, test_network, owner), CV_ERR_OK);
        cr_expect_arr_eq(owner, people[0].public_key, CV_KEY);
        cr_expect_eq(add(&c, &second, &res), CV_ERR_DENIED);
        chain_close(&c);
    }
}

Test(rep_succession, a_closed_key_signs_nothing_more) {
    for (int file = 0; file < 2; file++)
        for (int after = 0; after < 2; after++) {
            struct chain c;
            struct rep_chain_result res;
            uint8_t owner[CV_KEY];
            chain_open(&c, file);
            struct rep_record end = succession(0, 1, 2800);
            struct rep_record late = proposal(&people[0], &people[2], NULL, 10, 10); /* of 2800 */
            cr_assert_eq(add(&c, after ? &end : &late, &res), CV_ERR_OK);
            cr_assert_eq(add(&c, after ? &late : &end, &res), CV_ERR_DIFFERS);
            cr_expect(res.forked);
            cr_expect_eq(rep_forkproof_check(&res.fork, test_network, owner), CV_ERR_OK);
            chain_close(&c);
        }
    /* The proof of a good pair is none. */
    uint8_t owner[CV_KEY];
    struct rep_fork f;
    meet();
    struct rep_record end = succession(0, 1, 2801),
                      fine = proposal(&people[0], &people[2], NULL, 1, 1);
    rep_record_write(&end, f.a);
    rep_record_write(&fine, f.b);
    cr_expect_eq(rep_forkproof_check(&f, test_network, owner), CV_ERR_INVAL);
}

/* ---- the graph and the walks ---- */

enum { SMALL = 10, WALKS = 40000 };
static const uint8_t hash_key[16] = {9};

static void key(unsigned who, uint8_t ret[CV_KEY]) {
    memset(ret, 0, CV_KEY);
    ret[0] = (uint8_t)who;
    ret[1] = (uint8_t)(who >> 8);
    ret[2] = 1;
}

static uint32_t node(struct rep_graph *g, unsigned who) {
    uint8_t k[CV_KEY];
    uint32_t i;
    key(who, k);
    cr_assert_eq(rep_graph_node(g, k, &i), CV_ERR_OK);
    return i;
}

static void set(struct rep_graph *g, unsigned a, unsigned b, uint64_t octets) {
    struct rep_edge e = {.octets = octets, .recent = octets};
    key(a, e.giver);
    key(b, e.taker);
    cr_assert_eq(rep_graph_set(g, &e), CV_ERR_OK);
}

static enum cv_err succeed(struct rep_graph *g, unsigned old, unsigned heir) {
    uint8_t a[CV_KEY], b[CV_KEY];
    key(old, a);
    key(heir, b);
    return rep_graph_succeed(g, a, b);
}

static void exclude(struct rep_graph *g, unsigned who) {
    uint8_t k[CV_KEY];
    key(who, k);
    cr_assert_eq(rep_graph_exclude(g, k), CV_ERR_OK);
}

/* Random rows of SMALL relays into `g`; into `one` the same with every relay's last heir
 * in its place. A pair has one row at most, so that they add up in `one` only where two
 * keys of one relay had a row with the same third. */
static void twice(const struct cv_rng *rng, struct rep_graph *g, struct rep_graph *one,
                  const unsigned now[SMALL], uint64_t sum[SMALL][SMALL]) {
    for (unsigned i = 0; i < SMALL; i++) {
        node(g, i);
        node(one, i);
    }
    memset(sum, 0, SMALL * sizeof *sum);
    for (unsigned i = 1; i < SMALL; i++)
        for (unsigned k = 0; k < 3; k++) {
            unsigned j = (unsigned)cv_rng_below(rng, i);
            uint64_t octets = 1 + cv_rng_below(rng, 1 << 20);
            if (sum[i][j])
                continue;
            sum[i][j] = octets;
            set(g, i, j, octets);
        }
    uint64_t merged[SMALL][SMALL] = {{0}};
    for (unsigned i = 0; i < SMALL; i++)
        for (unsigned j = 0; j < SMALL; j++)
            if (now[i] != now[j])
                merged[now[i]][now[j]] += sum[i][j];
    for (unsigned i = 0; i < SMALL; i++)
        for (unsigned j = 0; j < SMALL; j++)
            if (merged[i][j])
                set(one, i, j, merged[i][j]);
}

Test(rep_succession, the_rows_of_all_keys_are_one_relays) {
    for (uint64_t seed = 1; seed <= 6; seed++) {
        /* 3 -> 7 -> 8, and ego itself: 2 -> 0. */
        static const unsigned now[SMALL] = {0, 1, 0, 8, 4, 5, 6, 8, 8, 9};
        uint64_t sum[SMALL][SMALL];
        double exact[SMALL], want[SMALL];
        struct cv_rng_seeded dice;
        cv_rng_seeded_init(&dice, seed);
        struct cv_rng rng = cv_rng_seeded(&dice);
        struct rep_graph *g = rep_graph_new(1000, hash_key), *one = rep_graph_new(1000, hash_key);
        twice(&rng, g, one, now, sum);
        struct rep_walk_config cfg = {.walks = WALKS, .alpha_permille = 850, .seed = seed};
        struct rep_walks *kept = rep_walks_new(&cfg);
        cr_assert_eq(rep_walks_update(kept, g, node(g, 0)), CV_ERR_OK);
        cr_assert_eq(succeed(g, 7, 8), CV_ERR_OK);
        cr_assert_eq(succeed(g, 3, 7), CV_ERR_OK);
        cr_assert_eq(rep_walks_update(kept, g, node(g, 0)), CV_ERR_OK);
        cr_assert_eq(succeed(g, 2, 0), CV_ERR_OK);
        cr_assert_eq(rep_walks_update(kept, g, node(g, 0)), CV_ERR_OK);

        cr_assert_eq(rep_rank_walk_exact(g, node(g, 0), 0.85, 1e-12, exact), CV_ERR_OK);
        cr_assert_eq(rep_rank_walk_exact(one, node(one, 0), 0.85, 1e-12, want), CV_ERR_OK);
        for (unsigned i = 0; i < SMALL; i++) {
            double share = (double)rep_walks_hits(kept, node(g, i)) / WALKS;
            if (now[i] == 0)
                continue;
            if (now[i] != i) {
                cr_expect_eq(rep_walks_hits(kept, node(g, i)), 0, "a closed key scores");
                continue;
            }
            double expected = want[node(one, i)];
            double deviation = sqrt(expected * (1 - expected) / WALKS);
            cr_expect(fabs(exact[node(g, i)] - expected) < 1e-9, "seed %u, %u: %f, one graph %f",
                      (unsigned)seed, i, exact[node(g, i)], expected);
            cr_expect(fabs(share - expected) < 5 * deviation + 1e-9, "seed %u, %u: %f, %f",
                      (unsigned)seed, i, share, expected);
        }
        rep_walks_free(kept);
        rep_graph_free(g);
        rep_graph_free(one);
    }
}

/* After any change the walks that were kept are those of walking all anew. */
Test(rep_succession, repaired_walks_are_those_walked_anew) {
    struct cv_rng_seeded dice;
    cv_rng_seeded_init(&dice, 17);
    struct cv_rng rng = cv_rng_seeded(&dice);
    for (unsigned run = 0; run < 10; run++) {
        struct rep_graph *g = rep_graph_new(1000, hash_key);
        struct rep_walk_config cfg = {.walks = 2000, .alpha_permille = 850, .seed = run};
        struct rep_walks *kept = rep_walks_new(&cfg);
        for (unsigned i = 0; i < SMALL; i++)
            node(g, i);
        for (unsigned step = 0; step < 40; step++) {
            unsigned a = (unsigned)cv_rng_below(&rng, SMALL),
                     b = (unsigned)cv_rng_below(&rng, SMALL);
            uint64_t what = cv_rng_below(&rng, 12);
            if (a == b)
                continue;
            if (what == 0 && a && b)
                (void)succeed(g, a, b);
            else if (what == 1 && a && step > 20)
                exclude(g, a);
            else
                set(g, a, b, cv_rng_below(&rng, 1 << 20));
            uint32_t rivals[2] = {node(g, 4), node(g, 8)};
            struct rep_walks *anew = rep_walks_new(&cfg);
            cr_assert_eq(rep_walks_rivals(kept, rivals, 2), CV_ERR_OK);
            cr_assert_eq(rep_walks_rivals(anew, rivals, 2), CV_ERR_OK);
            cr_assert_eq(rep_walks_update(kept, g, node(g, 0)), CV_ERR_OK);
            cr_assert_eq(rep_walks_update(anew, g, node(g, 0)), CV_ERR_OK);
            for (unsigned i = 0; i < SMALL; i++)
                cr_assert_eq(rep_walks_hits(kept, i), rep_walks_hits(anew, i), "run %u step %u: %u",
                             run, step, i);
            rep_walks_free(anew);
        }
        rep_walks_free(kept);
        rep_graph_free(g);
    }
}

Test(rep_succession, a_place_is_taken_once) {
    struct rep_graph *g = rep_graph_new(1000, hash_key);
    set(g, 0, 1, 1000);
    cr_assert_eq(succeed(g, 1, 2), CV_ERR_OK);
    cr_expect_eq(succeed(g, 1, 3), CV_ERR_EXIST, "two heirs");
    cr_expect_eq(succeed(g, 4, 2), CV_ERR_EXIST, "an heir of two");
    cr_expect_eq(succeed(g, 2, 1), CV_ERR_INVAL, "in a circle");
    cr_expect_eq(rep_graph_now(g, node(g, 1)), node(g, 2));
    cr_expect_eq(rep_graph_before(g, node(g, 2)), node(g, 1));
    unsigned last = 2;
    for (unsigned i = 3; i <= REP_HEIRS; i++, last++)
        cr_assert_eq(succeed(g, last, i), CV_ERR_OK, "%u", i);
    cr_expect_eq(succeed(g, last, last + 1), CV_ERR_LIMIT);
    /* What is proven about one of them takes with it what came before. */
    exclude(g, 2);
    cr_expect_eq(rep_graph_before(g, node(g, 3)), REP_NO_NODE);
    uint32_t n;
    uint64_t total;
    rep_graph_row(g, node(g, 0), &n, &total);
    cr_expect_eq(total, 0, "the row of its first key leads to a forger");
    rep_graph_free(g);
}

/* Fakes behind an attacker that all become one, or become the attacker. */
Test(rep_succession, nobody_gains_by_calling_fakes_one) {
    enum { FAKES = 12, ATTACKER = 5 };
    for (unsigned way = 0; way < 3; way++) {
        struct rep_graph *g = rep_graph_new(1000, hash_key);
        double plain[64], with[64];
        for (unsigned i = 1; i <= ATTACKER; i++)
            for (unsigned j = 0; j < i; j++)
                set(g, i, j, 1000 * i + j);
        cr_assert_eq(rep_rank_walk_exact(g, node(g, 0), 0.85, 1e-9, plain), CV_ERR_OK);
        for (unsigned i = 0; i < FAKES; i++) {
            set(g, 20 + i, ATTACKER, UINT64_C(1) << 42);
            set(g, 20 + i, 20 + (i + 1) % FAKES, UINT64_C(1) << 42);
        }
        unsigned last = ATTACKER;
        if (way == 0) /* the attacker's key is the oldest */
            for (unsigned i = 0; i < FAKES; i++, last = 20 + i - 1)
                cr_assert_eq(succeed(g, last, 20 + i), CV_ERR_OK);
        if (way == 1) { /* .. or the newest */
            for (unsigned i = 0; i + 1 < FAKES; i++)
                cr_assert_eq(succeed(g, 20 + i, 21 + i), CV_ERR_OK);
            cr_assert_eq(succeed(g, 20 + FAKES - 1, ATTACKER), CV_ERR_OK);
        }
        if (way == 2) { /* .. or stays by itself */
            for (unsigned i = 0; i + 1 < FAKES; i++)
                cr_assert_eq(succeed(g, 20 + i, 21 + i), CV_ERR_OK);
        }
        cr_assert_eq(rep_rank_walk_exact(g, node(g, 0), 0.85, 1e-9, with), CV_ERR_OK);
        double best = 0;
        for (uint32_t i = node(g, ATTACKER); i < rep_graph_count(g); i++)
            best = with[i] > best ? with[i] : best;
        cr_expect_leq(best, plain[node(g, ATTACKER)] * 1.05, "way %u: %f, was %f", way, best,
                      plain[node(g, ATTACKER)]);
        rep_graph_free(g);
    }
}

/* ---- ledgers ---- */

enum { EPOCH = 70, HEIR = 5 };
static struct world w;

/* 0 - 1 - 2 - 3, and 1 - 4; then 1 loses its folder, and HEIR goes on for it. */
static void begin(uint64_t seed) {
    world_init(&w, 6, seed, EPOCH, 1000);
    for (unsigned i = 0; i < 3; i++)
        world_join(&w, i, i + 1);
    world_join(&w, 1, 4);
    for (unsigned i = 0; i < 3; i++)
        world_carry(&w, i, i + 1, 50000);
    world_carry(&w, 1, 4, 50000);
    world_run(&w, w.now.mono + CV_SEC(4 * EPOCH));
}

static void take_place(unsigned old, unsigned heir) {
    struct world_node *n = &w.node[heir];
    struct rep_chain_result res;
    struct rep_record r;
    n->ledger = rep_ledger_free(n->ledger);
    rep_record_succeed(&w.node[old].cfg.identity_secret, &n->cfg.identity_secret, n->cfg.network_id,
                       (uint32_t)(w.now.wall / EPOCH), &r);
    cr_assert_eq(n->store->begin(n->store->ctx, w.now.wall), CV_ERR_OK);
    cr_assert_eq(rep_chain_add(n->store, n->cfg.network_id, &r, false, w.now.wall, &res),
                 CV_ERR_OK);
    cr_assert_eq(n->store->commit(n->store->ctx), CV_ERR_OK);
    world_boot(&w, heir);
}

static uint32_t hits(unsigned i, unsigned of) {
    struct rep_row row;
    return world_row(&w, i, of, &row) ? (uint32_t)lround(row.score * REP_WALKS) : 0;
}

static bool knows(unsigned i, unsigned old) {
    struct rep_record r;
    const struct rep_store *s = w.node[i].store;
    return s->block_get(s->ctx, world_key(&w, old), REP_SEQ_LAST, &r) == CV_ERR_OK;
}

Test(rep_succession, standing_goes_over) {
    begin(1);
    uint32_t before = hits(0, 1);
    cr_assert_gt(before, 1000);
    for (unsigned i = 0; i < 5; i++)
        if (i != 1 && w.node[i].up[1])
            world_down(&w, i, 1);
    w.node[1].ledger = rep_ledger_free(w.node[1].ledger);
    take_place(1, HEIR);
    world_join(&w, 0, HEIR);
    world_join(&w, 2, HEIR);
    world_run(&w, w.now.mono + CV_SEC(EPOCH));
    cr_expect(knows(0, 1) && knows(2, 1), "neighbours of the new key");
    cr_expect(knows(3, 1), "it was told on");
    cr_expect(!w.node[0].failed && !w.node[HEIR].failed);
    cr_expect_eq(hits(0, 1), 0, "the old key");
    cr_expect_geq(hits(0, HEIR), before * 9 / 10, "%u, was %u", hits(0, HEIR), before);
    cr_expect_gt(hits(HEIR, 0), 1000, "it sees by the rows of its old key");
    /* A restart changes nothing. */
    world_crash(&w, 0);
    world_join(&w, 0, HEIR);
    world_run(&w, w.now.mono + CV_SEC(5));
    cr_expect_geq(hits(0, HEIR), before * 9 / 10);
    /* Its own rows add up with the old ones, and nobody is accused. */
    world_carry(&w, 0, HEIR, 80000);
    world_run(&w, w.now.mono + CV_SEC(3 * EPOCH));
    struct rep_row row;
    struct rep_stats st;
    cr_assert(world_row(&w, 0, HEIR, &row));
    cr_expect_gt(row.released_given, 1000);
    rep_ledger_stats(w.node[0].ledger, &st);
    cr_expect_eq(st.forks, 0);
    world_done(&w);
}

Test(rep_succession, an_old_copy_of_the_key_stops) {
    begin(2);
    take_place(1, HEIR);
    world_join(&w, 0, HEIR);
    world_run(&w, w.now.mono + CV_SEC(EPOCH));
    cr_expect_eq(w.node[1].failed, CV_ERR_DIFFERS, "%s", cv_strerror(w.node[1].failed));
    world_done(&w);
}

Test(rep_succession, a_second_successor_takes_the_standing_from_both) {
    begin(3);
    take_place(1, HEIR);
    take_place(1, 4); /* whoever has the key may say so as well */
    world_down(&w, 1, 4);
    w.node[1].ledger = rep_ledger_free(w.node[1].ledger);
    world_join(&w, 0, HEIR);
    world_join(&w, 0, 2);
    world_join(&w, 3, 4);
    world_run(&w, w.now.mono + CV_SEC(2 * EPOCH));
    struct rep_stats st;
    for (unsigned i = 0; i < 4; i++) {
        if (i == 1)
            continue;
        rep_ledger_stats(w.node[i].ledger, &st);
        cr_expect_eq(st.forks, 1, "node %u", i);
    }
    cr_expect_eq(hits(0, HEIR), 0, "the first successor");
    cr_expect_eq(hits(0, 1), 0);
    world_done(&w);
}

static enum cv_err push(unsigned to, unsigned from, const struct rep_record *r) {
    uint8_t octets[REP_RECORD], body[REP_MESSAGE_MAX];
    struct rep_message m = {.kind = REP_MESSAGE_RECORDS, .count = 1, .records = octets};
    rep_record_write(r, octets);
    ssize_t len = rep_message_write(&m, body, sizeof body);
    enum cv_err err =
        rep_ledger_on_message(w.node[to].ledger, w.now, world_link(from), body, (size_t)len);
    world_drain(&w, to);
    return err;
}

Test(rep_succession, of_strangers_nothing_is_kept) {
    struct cv_ed25519_secret a, b;
    struct rep_record r, got;
    begin(4);
    person(70, &a);
    person(71, &b);
    rep_record_succeed(&a, &b, w.node[0].cfg.network_id, (uint32_t)(w.now.wall / EPOCH), &r);
    cr_expect_eq(push(0, 1, &r), CV_ERR_OK, "as if it were known");
    const struct rep_store *s = w.node[0].store;
    cr_expect_eq(s->block_get(s->ctx, a.public_key, REP_SEQ_LAST, &got), CV_ERR_NOENT);
    /* Of somebody with rows, but wrongly signed. */
    rep_record_succeed(&w.node[3].cfg.identity_secret, &b, w.node[0].cfg.network_id,
                       (uint32_t)(w.now.wall / EPOCH), &r);
    r.sig[0] ^= 1;
    cr_expect_eq(push(0, 1, &r), CV_ERR_AUTH);
    cr_expect(!knows(0, 3));
    world_done(&w);
}
