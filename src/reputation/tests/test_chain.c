/*
 * The rules of a chain. Goals: honest half-blocks are accepted in any order;
 * agreed amounts are the smaller claims and never fall; contradictions are
 * proven with 2 x 232 octets and nobody is accused by a forgery. Method:
 * tables of cases, then random histories against a model that knows no index:
 * it compares every half-block with every other.
 */
#include "support/suite.h"

#include "crypto/rng_seeded.h"
#include "reputation/chain.h"
#include "reputation/forkproof.h"
#include "reputation/store_memory.h"
#include "reputation/tests/people.h"

CV_SUITE(rep_chain);

enum { PEOPLE = 4, WALL = 1700000000 };

static struct cv_ed25519_secret people[PEOPLE];
static struct rep_store_memory *memory;
static const struct rep_store *store;

static void begin(void) {
    for (unsigned i = 0; i < PEOPLE; i++)
        person(i, &people[i]);
    memory = rep_store_memory_new();
    store = rep_store_memory_ops(memory);
    cr_assert_eq(store->begin(store->ctx, WALL), CV_ERR_OK);
}

static void end(void) {
    memory = rep_store_memory_free(memory);
}

static enum cv_err add(const struct rep_record *r, struct rep_chain_result *ret) {
    return rep_chain_add(store, test_network, r, false, WALL, ret);
}

static uint64_t edge(unsigned giver, unsigned taker) {
    struct rep_edge e;
    if (store->edge_get(store->ctx, people[giver].public_key, people[taker].public_key, &e))
        return 0;
    return e.octets;
}

Test(rep_chain, the_smaller_claim_is_agreed) {
    struct rep_chain_result res;
    begin();
    struct rep_record p = proposal(&people[0], &people[1], NULL, 1000, 50);
    struct rep_record g = agreement(&people[1], &p, NULL, 70, 900);
    cr_expect_eq(add(&p, &res), CV_ERR_OK);
    cr_expect(!res.agreed && !res.gap && !res.forked);
    cr_expect_eq(edge(0, 1), 0, "one half counts nothing");
    cr_expect_eq(add(&g, &res), CV_ERR_OK);
    cr_expect(res.agreed);
    cr_expect_eq(edge(0, 1), 900);
    cr_expect_eq(edge(1, 0), 50);
    cr_expect_eq(add(&p, &res), CV_ERR_EXIST);
    cr_expect_eq(add(&g, &res), CV_ERR_EXIST);
    end();
}

Test(rep_chain, the_halves_may_come_in_either_order) {
    struct rep_chain_result res;
    begin();
    struct rep_record p = proposal(&people[0], &people[1], NULL, 1000, 50);
    struct rep_record g = agreement(&people[1], &p, NULL, 70, 900);
    cr_expect_eq(add(&g, &res), CV_ERR_OK);
    cr_expect(!res.agreed);
    cr_expect_eq(add(&p, &res), CV_ERR_OK);
    cr_expect(res.agreed);
    cr_expect_eq(edge(0, 1), 900);
    cr_expect_eq(edge(1, 0), 50);
    end();
}

/* An agreement that names another hash than the proposal's is not its half. */
Test(rep_chain, halves_must_point_at_each_other) {
    struct rep_chain_result res;
    begin();
    struct rep_record p = proposal(&people[0], &people[1], NULL, 1000, 50);
    struct rep_record fake = proposal(&people[0], &people[1], NULL, 1000, 60);
    struct rep_record to_fake = agreement(&people[1], &fake, NULL, 70, 900);
    struct rep_record by_other = agreement(&people[2], &p, NULL, 70, 900);
    cr_expect_eq(add(&p, &res), CV_ERR_OK);
    cr_expect_eq(add(&to_fake, &res), CV_ERR_OK);
    cr_expect(!res.agreed);
    cr_expect_eq(add(&by_other, &res), CV_ERR_OK);
    cr_expect(!res.agreed);
    cr_expect_eq(edge(0, 1), 0);
    end();
}

/* An old signed half-block from a third party must not roll a row back. */
Test(rep_chain, an_older_agreement_never_lowers_a_row) {
    struct rep_chain_result res;
    begin();
    struct rep_record p1 = proposal(&people[0], &people[1], NULL, 100, 10);
    struct rep_record p2 = proposal(&people[0], &people[1], &p1, 200, 20);
    struct rep_record g1 = agreement(&people[1], &p1, NULL, 10, 100);
    struct rep_record g2 = agreement(&people[1], &p2, &g1, 20, 200);
    cr_expect_eq(add(&g2, &res), CV_ERR_OK);
    cr_expect(res.gap);
    cr_expect_eq(add(&p2, &res), CV_ERR_OK);
    cr_expect_eq(edge(0, 1), 200);
    cr_expect_eq(add(&g1, &res), CV_ERR_OK);
    cr_expect_eq(add(&p1, &res), CV_ERR_OK);
    cr_expect(res.agreed);
    cr_expect_eq(edge(0, 1), 200);
    cr_expect_eq(edge(1, 0), 20);
    end();
}

static void expect_proof(const struct rep_chain_result *res, unsigned who) {
    uint8_t owner[CV_KEY];
    struct rep_fork kept;
    int64_t until;
    cr_assert(res->forked);
    cr_expect_eq(rep_forkproof_check(&res->fork, test_network, owner), CV_ERR_OK);
    cr_expect_arr_eq(owner, people[who].public_key, CV_KEY);
    cr_assert_eq(store->fork_get(store->ctx, owner, &kept), CV_ERR_OK);
    cr_expect_arr_eq(&kept, &res->fork, sizeof kept);
    cr_assert_eq(store->ban_get(store->ctx, owner, &until), CV_ERR_OK);
    cr_expect_eq(until, WALL + REP_BAN_DAYS * 86400);
}

Test(rep_chain, two_versions_of_one_seq_are_proven) {
    struct rep_chain_result res;
    begin();
    struct rep_record a = proposal(&people[0], &people[1], NULL, 100, 0);
    struct rep_record b = proposal(&people[0], &people[2], NULL, 100, 0);
    struct rep_record c = proposal(&people[0], &people[1], &a, 200, 0);
    cr_expect_eq(add(&a, &res), CV_ERR_OK);
    cr_expect_eq(add(&b, &res), CV_ERR_DIFFERS);
    expect_proof(&res, 0);
    cr_expect_eq(add(&c, &res), CV_ERR_DENIED, "a forger's half-blocks are not taken any more");
    cr_expect_eq(add(&a, &res), CV_ERR_EXIST);
    end();
}

Test(rep_chain, a_falling_claim_is_proven_wherever_it_arrives) {
    for (unsigned order = 0; order < 2; order++) {
        struct rep_chain_result res;
        begin();
        struct rep_record a = proposal(&people[0], &people[1], NULL, 100, 10);
        struct rep_record b = proposal(&people[0], &people[2], &a, 5, 5);
        struct rep_record c = proposal(&people[0], &people[1], &b, 200, 9);
        cr_expect_eq(add(order ? &c : &a, &res), CV_ERR_OK);
        cr_expect_eq(add(order ? &a : &c, &res), CV_ERR_DIFFERS);
        expect_proof(&res, 0);
        end();
    }
}

Test(rep_chain, a_forged_contradiction_accuses_nobody) {
    struct rep_chain_result res;
    struct rep_fork f;
    begin();
    struct rep_record a = proposal(&people[0], &people[1], NULL, 100, 0);
    struct rep_record b = proposal(&people[0], &people[2], NULL, 100, 0);
    cr_expect_eq(add(&a, &res), CV_ERR_OK);
    b.sig[3] ^= 1;
    cr_expect_eq(add(&b, &res), CV_ERR_AUTH);
    cr_expect(!res.forked);
    cr_expect_eq(store->fork_get(store->ctx, people[0].public_key, &f), CV_ERR_NOENT);
    end();
}

/* Links by hash, whichever of the two comes first. */
Test(rep_chain, a_wrong_prev_is_refused_but_proves_nothing) {
    for (unsigned order = 0; order < 2; order++) {
        struct rep_chain_result res;
        begin();
        struct rep_record a = proposal(&people[0], &people[1], NULL, 100, 0);
        struct rep_record other = proposal(&people[0], &people[1], NULL, 101, 0);
        struct rep_record b = proposal(&people[0], &people[1], &other, 200, 0);
        cr_expect_eq(add(order ? &b : &a, &res), CV_ERR_OK);
        cr_expect_eq(add(order ? &a : &b, &res), CV_ERR_DIFFERS);
        cr_expect(!res.forked);
        end();
    }
}

Test(rep_chain, proofs_from_elsewhere) {
    struct rep_fork f, bad;
    begin();
    struct rep_record a = proposal(&people[0], &people[1], NULL, 100, 0);
    struct rep_record b = proposal(&people[0], &people[2], NULL, 100, 0);
    struct rep_record c = proposal(&people[0], &people[1], &a, 100, 0);
    struct rep_record d = proposal(&people[1], &people[2], NULL, 100, 0);
    uint8_t octets[4][REP_RECORD];
    rep_record_write(&a, octets[0]);
    rep_record_write(&b, octets[1]);
    rep_record_write(&c, octets[2]);
    rep_record_write(&d, octets[3]);
    static const struct {
        const char *name;
        unsigned a, b;
        enum cv_err want;
    } rows[] = {
        {"the same twice", 0, 0, CV_ERR_INVAL},      {"one after the other", 0, 2, CV_ERR_INVAL},
        {"two owners", 0, 3, CV_ERR_INVAL},          {"a fork", 1, 0, CV_ERR_OK},
        {"the same fork again", 0, 1, CV_ERR_EXIST},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        memcpy(f.a, octets[rows[i].a], REP_RECORD);
        memcpy(f.b, octets[rows[i].b], REP_RECORD);
        bad = f;
        bad.b[REP_RECORD - 1] ^= 1;
        cr_expect_neq(rep_chain_add_fork(store, test_network, &bad, WALL), CV_ERR_OK, "%s",
                      rows[i].name);
        cr_expect_eq(rep_chain_add_fork(store, test_network, &f, WALL), rows[i].want, "%s",
                     rows[i].name);
    }
    end();
}

/* ---- random histories against a model ---- */

enum { HISTORY = 60 };

struct model {
    struct rep_record known[HISTORY * 2];
    unsigned n;
    bool forger[PEOPLE];
};

static unsigned who(const uint8_t key[CV_KEY]) {
    unsigned i = 0;
    while (memcmp(people[i].public_key, key, CV_KEY) != 0)
        i++;
    return i;
}

/* What rep_chain_add() must say, found by comparing with everything. */
static enum cv_err model_add(struct model *m, const struct rep_record *r, bool *ret_forked) {
    *ret_forked = false;
    for (unsigned i = 0; i < m->n; i++)
        if (memcmp(m->known[i].hash, r->hash, REP_HASH) == 0)
            return CV_ERR_EXIST;
    if (m->forger[who(r->owner)])
        return CV_ERR_DENIED;
    if (!rep_record_verify(r, test_network))
        return CV_ERR_AUTH;
    bool misfit = false;
    for (unsigned i = 0; i < m->n; i++) {
        const struct rep_record *k = &m->known[i];
        if (memcmp(k->owner, r->owner, CV_KEY) != 0)
            continue;
        bool pair = memcmp(k->peer, r->peer, CV_KEY) == 0;
        bool falls = k->seq < r->seq ? r->given < k->given || r->taken < k->taken
                                     : k->given < r->given || k->taken < r->taken;
        if (k->seq == r->seq || (pair && falls))
            *ret_forked = true;
        if (k->seq + 1 == r->seq && memcmp(r->prev, k->hash, REP_HASH) != 0)
            misfit = true;
        if (r->seq + 1 == k->seq && memcmp(k->prev, r->hash, REP_HASH) != 0)
            misfit = true;
    }
    if (*ret_forked)
        m->forger[who(r->owner)] = true;
    if (*ret_forked || misfit)
        return CV_ERR_DIFFERS;
    m->known[m->n++] = *r;
    return CV_ERR_OK;
}

static uint64_t model_edge(const struct model *m, unsigned giver, unsigned taker) {
    uint64_t most = 0;
    for (unsigned i = 0; i < m->n; i++)
        for (unsigned j = 0; j < m->n; j++) {
            const struct rep_record *p = &m->known[i], *g = &m->known[j];
            if (p->type != REP_PROPOSAL || g->type != REP_AGREEMENT || g->peer_seq != p->seq ||
                memcmp(g->peer_hash, p->hash, REP_HASH) != 0 ||
                memcmp(g->owner, p->peer, CV_KEY) != 0)
                continue;
            uint64_t given = p->given < g->taken ? p->given : g->taken;
            uint64_t taken = p->taken < g->given ? p->taken : g->given;
            if (who(p->owner) == giver && who(g->owner) == taker && given > most)
                most = given;
            if (who(p->owner) == taker && who(g->owner) == giver && taken > most)
                most = taken;
        }
    return most;
}

/* Chains that people write, mostly honestly; `liar` sometimes does not. */
static unsigned write_history(const struct cv_rng *rng, bool liars, struct rep_record *out) {
    struct rep_record last[PEOPLE], open[PEOPLE];
    bool has[PEOPLE] = {0}, has_open[PEOPLE] = {0};
    uint64_t given[PEOPLE][PEOPLE] = {0}, taken[PEOPLE][PEOPLE] = {0};
    unsigned n = 0;
    while (n < HISTORY) {
        unsigned a = (unsigned)cv_rng_below(rng, PEOPLE);
        unsigned b = (a + 1 + (unsigned)cv_rng_below(rng, PEOPLE - 1)) % PEOPLE;
        const struct rep_record *prev = has[a] ? &last[a] : NULL;
        struct rep_record r;
        bool answers = has_open[b] && memcmp(open[b].peer, people[a].public_key, CV_KEY) == 0;
        given[a][b] += cv_rng_below(rng, 3) << 20;
        taken[a][b] += cv_rng_below(rng, 3) << 20;
        uint64_t g = given[a][b], t = taken[a][b];
        if (liars && cv_rng_below(rng, 12) == 0 && g)
            g--; /* a claim that may fall */
        if (answers)
            r = agreement(&people[a], &open[b], prev, g, t);
        else
            r = proposal(&people[a], &people[b], prev, g, t);
        if (liars && cv_rng_below(rng, 10) == 0)
            r.sig[0] ^= 1;
        out[n++] = r;
        has_open[b] = answers ? false : has_open[b];
        if (!answers) {
            open[a] = r;
            has_open[a] = true;
        }
        if (liars && cv_rng_below(rng, 12) == 0)
            continue; /* the next half-block takes the same seq: a fork */
        last[a] = r;
        has[a] = true;
    }
    return n;
}

static void shuffle(const struct cv_rng *rng, struct rep_record *v, unsigned n) {
    for (unsigned i = n; i > 1; i--) {
        unsigned j = (unsigned)cv_rng_below(rng, i);
        struct rep_record t = v[i - 1];
        v[i - 1] = v[j];
        v[j] = t;
    }
}

static void compare_edges(const struct model *m, uint64_t seed) {
    uint64_t credit = 0;
    for (unsigned i = 0; i < PEOPLE; i++)
        for (unsigned j = 0; j < PEOPLE; j++) {
            if (i == j)
                continue;
            cr_expect_eq(edge(i, j), model_edge(m, i, j), "seed %lu: %u to %u: %lu, model %lu",
                         (unsigned long)seed, i, j, (unsigned long)edge(i, j),
                         (unsigned long)model_edge(m, i, j));
            credit += edge(i, j);
        }
    struct rep_edge *all;
    size_t n;
    cr_assert_eq(store->edge_load(store->ctx, &all, &n), CV_ERR_OK);
    for (size_t i = 0; i < n; i++)
        credit -= all[i].octets;
    free(all);
    cr_expect_eq(credit, 0, "credit and debit are the same rows");
}

static void play(uint64_t seed, bool liars) {
    struct cv_rng_seeded dice;
    static struct rep_record history[HISTORY];
    static struct model m;
    cv_rng_seeded_init(&dice, seed);
    struct cv_rng rng = cv_rng_seeded(&dice);
    memset(&m, 0, sizeof m);
    begin();
    unsigned n = write_history(&rng, liars, history);
    shuffle(&rng, history, n);
    for (unsigned i = 0; i < n + 10; i++) {
        const struct rep_record *r = &history[i < n ? i : (unsigned)cv_rng_below(&rng, n)];
        struct rep_chain_result res;
        bool forked;
        enum cv_err want = model_add(&m, r, &forked), err = add(r, &res);
        cr_expect_eq(err, want, "seed %lu step %u: '%s', model says '%s'", (unsigned long)seed, i,
                     cv_strerror(err), cv_strerror(want));
        cr_expect_eq(res.forked, forked, "seed %lu step %u", (unsigned long)seed, i);
        if (!liars)
            cr_expect(err == CV_ERR_OK || err == CV_ERR_EXIST, "honest, refused: seed %lu",
                      (unsigned long)seed);
    }
    compare_edges(&m, seed);
    end();
}

Test(rep_chain, honest_histories_are_accepted_in_any_order) {
    for (uint64_t seed = 1; seed <= 40; seed++)
        play(seed, false);
}

Test(rep_chain, liars_are_judged_as_the_model_does) {
    for (uint64_t seed = 1; seed <= 60; seed++)
        play(1000 + seed, true);
}

/* Two that release for twenty epochs, in turns, with somebody else between. */
static unsigned write_releases(struct rep_record out[3 * 20]) {
    struct rep_record last[3];
    bool has[3] = {false};
    unsigned n = 0;
    for (unsigned e = 0; e < 20; e++) {
        unsigned a = e % 3 == 0, b = !a;
        uint64_t sum = (uint64_t)(e + 1) << 30;
        struct rep_record p = proposal(&people[a], &people[b], has[a] ? &last[a] : NULL, sum, sum);
        p.epoch = 100 + e;
        rep_record_sign(&p, &people[a], test_network);
        struct rep_record g = agreement(&people[b], &p, has[b] ? &last[b] : NULL, sum, sum);
        g.epoch = 100 + e;
        rep_record_sign(&g, &people[b], test_network);
        struct rep_record o = proposal(&people[b], &people[2], &g, sum, 5);
        out[n++] = p;
        out[n++] = g;
        out[n++] = o; /* nobody answers */
        last[a] = p;
        last[b] = o;
        has[a] = has[b] = true;
    }
    return n;
}

/* What a row weighs does not depend on what of it was heard of first, but for what is
 * lost by rounding. */
Test(rep_chain, old_octets_stay_old_in_any_order) {
    struct rep_record v[60];
    struct rep_edge in_order = {.octets = 0};
    struct cv_rng_seeded dice;
    cv_rng_seeded_init(&dice, 5);
    struct cv_rng rng = cv_rng_seeded(&dice);
    for (unsigned round = 0; round < 40; round++) {
        struct rep_chain_result res;
        struct rep_edge e;
        begin();
        unsigned n = write_releases(v);
        if (round == 1) /* the newest first */
            for (unsigned i = 0; i < n / 2; i++) {
                struct rep_record t = v[i];
                v[i] = v[n - 1 - i];
                v[n - 1 - i] = t;
            }
        if (round > 1)
            shuffle(&rng, v, n);
        for (unsigned i = 0; i < n; i++)
            cr_assert_eq(add(&v[i], &res), CV_ERR_OK, "round %u, %u", round, i);
        for (unsigned way = 0; way < 2; way++) {
            cr_assert_eq(
                store->edge_get(store->ctx, people[way].public_key, people[!way].public_key, &e),
                CV_ERR_OK);
            if (round == 0)
                in_order = e;
            cr_expect_eq(e.octets, UINT64_C(20) << 30);
            cr_expect_eq(e.epoch, 119);
            uint64_t off = e.recent > in_order.recent ? e.recent - in_order.recent
                                                      : in_order.recent - e.recent;
            cr_expect_leq(off, 100, "round %u: %lu, in order %lu", round, (unsigned long)e.recent,
                          (unsigned long)in_order.recent);
        }
        end();
    }
}

/* The second of three agreements comes last, with proposals that nobody answered around it, or
 * with the first one unknown to a ledger that was pruned. */
Test(rep_chain, a_late_agreement_never_makes_more_recent_nor_takes_what_was_old) {
    enum { K = 1 << 20, OPEN = 8 };
    static const struct {
        const char *name;
        unsigned open_below, open_above; /* proposals that nobody answered */
        bool first, damaged;
        uint32_t pruned;
        uint64_t want;
        uint32_t all; /* pruned when also the newest went */
    } rows[] = {
        /* What was agreed as of epochs 100, 108 and 116, as it counts in 116. */
        {"nothing between", 0, 0, true, false, 0, K / 16 + K / 4 + K, 0},
        {"7 without an answer", 7, 7, true, false, 0, K / 16 + K / 4 + K, 0},
        {"8 of them above", 0, OPEN, true, false, 0, K / 16 + K / 4 + K, 0},
        {"8 of them below", OPEN, 0, true, false, 0, K / 16 + K + K, 0},
        {"8 of them on both sides", OPEN, OPEN, true, false, 0, K / 16 + K + K, 0},
        {"less is recent than was counted", 0, 0, true, true, 0, 10, 0},
        /* Pruned, and all of these are new to it: 2 K as of 108. */
        {"pruned long before", 0, 0, false, false, 50, K / 2 + K, 0},
        {"pruned up to the newest", 0, 0, false, false, 116, K / 2 + K, 0},
        /* It was here, and is back: the sum was counted with the first as of 100. */
        {"pruned since", 0, 0, true, false, 117, K / 16 + K + K, 0},
        {"pruned since, 8 of them above", 0, OPEN, true, false, 117, K / 16 + K + K, 0},
        {"pruned since by what left none", 0, 0, false, false, 109, UINT64_C(3) * K, 109},
        {"by what left none, and this is younger", 0, 0, false, false, 109, K / 2 + K, 108},
        {"pruned in the future", 0, 0, true, false, 500, K / 16 + K / 4 + K, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct rep_record p[3], g[3], open[2 * OPEN], last;
        struct rep_chain_result res;
        struct rep_edge e;
        unsigned n = 0;
        begin();
        for (unsigned j = 0; j < 3; j++) {
            p[j] = proposal(&people[0], &people[1], j ? &last : NULL, (j + 1) * K, 0);
            p[j].epoch = 100 + 8 * j;
            rep_record_sign(&p[j], &people[0], test_network);
            g[j] = agreement(&people[1], &p[j], j ? &g[j - 1] : NULL, 0, (j + 1) * K);
            last = p[j];
            for (unsigned k = j == 2 ? 0 : j ? rows[i].open_above : rows[i].open_below; k > 0; k--)
                last = open[n++] = proposal(&people[0], &people[1], &last, last.given, last.taken);
        }
        cr_assert_eq(store->prune_put(store->ctx, rows[i].pruned), CV_ERR_OK);
        rep_store_memory_pruned_all(memory, rows[i].all);
        for (unsigned j = rows[i].first ? 0 : 2; j < 3; j += 2) {
            cr_expect_eq(add(&p[j], &res), CV_ERR_OK);
            cr_expect_eq(add(&g[j], &res), CV_ERR_OK);
        }
        for (unsigned j = 0; j < n; j++)
            cr_expect_eq(add(&open[j], &res), CV_ERR_OK);
        cr_assert_eq(store->edge_get(store->ctx, people[0].public_key, people[1].public_key, &e),
                     CV_ERR_OK);
        e.recent = rows[i].damaged ? 10 : e.recent;
        store->edge_put(store->ctx, &e);
        cr_expect_eq(add(&p[1], &res), CV_ERR_OK);
        cr_expect_eq(add(&g[1], &res), CV_ERR_OK);
        cr_assert_eq(store->edge_get(store->ctx, e.giver, e.taker, &e), CV_ERR_OK);
        cr_expect_eq(e.recent, rows[i].want, "%s: %lu, not %lu", rows[i].name,
                     (unsigned long)e.recent, (unsigned long)rows[i].want);
        end();
    }
}

Test(rep_chain, decay_halves_every_four_epochs) {
    static const struct {
        uint64_t octets;
        uint32_t from, to;
        uint64_t want;
    } rows[] = {
        {1000, 5, 5, 1000},       {1000, 9, 5, 1000}, {1000, 5, 9, 500},
        {1000, 5, 13, 250},       {1000, 0, 1, 840},  {1000, 0, 2, 707},
        {1000, 0, 3, 594},        {0, 0, 1, 0},       {REP_AMOUNT_MAX, 0, 4, REP_AMOUNT_MAX / 2},
        {1000, 0, UINT32_MAX, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        cr_expect_eq(rep_chain_decay(rows[i].octets, rows[i].from, rows[i].to), rows[i].want,
                     "row %zu", i);
}
