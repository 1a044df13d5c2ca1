/* What pruning removes and what it must not touch: rows and what they weigh, what proves
 * them, what is ours; and that a node whose relays give for ever keeps a file of one size. */
#include "support/suite.h"

#include "crypto/rng_seeded.h"
#include "reputation/chain.h"
#include "reputation/ledger_internal.h"
#include "reputation/store_memory.h"
#include "reputation/tests/people.h"
#include "reputation/tests/world.h"

CV_SUITE(rep_prune, .timeout = 600);

enum { PEOPLE = 4, ME = 0, EPOCHS = 60, BEFORE = 40, HISTORY = PEOPLE * PEOPLE * EPOCHS };

static struct cv_ed25519_secret people[PEOPLE];

/* A store with a transaction that runs. */
struct held {
    struct rep_store_memory *memory;
    const struct rep_store *s;
};

static struct held hold(void) {
    struct held h = {.memory = rep_store_memory_new()};
    h.s = rep_store_memory_ops(h.memory);
    cr_assert_eq(h.s->begin(h.s->ctx, 0), CV_ERR_OK);
    return h;
}

static enum cv_err add(const struct held *h, const struct rep_record *r) {
    struct rep_chain_result res;
    return rep_chain_add(h->s, test_network, r, true, 0, &res);
}

static bool has(const struct held *h, const struct rep_record *r) {
    struct rep_record at;
    return h->s->block_get(h->s->ctx, r->owner, r->seq, &at) == CV_ERR_OK;
}

static struct rep_edge edge(const struct held *h, unsigned giver, unsigned taker) {
    struct rep_edge e = {.octets = 0};
    (void)h->s->edge_get(h->s->ctx, people[giver].public_key, people[taker].public_key, &e);
    return e;
}

static uint64_t count(const struct held *h) {
    uint64_t n;
    cr_assert_eq(h->s->block_count(h->s->ctx, &n), CV_ERR_OK);
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

/* Each pair releases in most epochs, whoever begins; one proposal in ten has no answer. Every
 * other one is answered an epoch later, when others have released meanwhile. */
static unsigned write_history(const struct cv_rng *rng, struct rep_record out[HISTORY]) {
    static struct rep_record last[PEOPLE];
    bool has_last[PEOPLE] = {false};
    uint64_t sum[PEOPLE][PEOPLE] = {{0}};
    unsigned n = 0;
    for (unsigned i = 0; i < PEOPLE; i++)
        person(i, &people[i]);
    for (unsigned e = 1; e <= EPOCHS; e++)
        for (unsigned i = 0; i < PEOPLE; i++)
            for (unsigned j = 0; j < i; j++) {
                bool swap = cv_rng_below(rng, 2), silent = cv_rng_below(rng, 10) == 0;
                unsigned a = swap ? j : i, b = swap ? i : j;
                if (cv_rng_below(rng, 4) == 0)
                    continue;
                sum[a][b] += 1000 + cv_rng_below(rng, 100000);
                sum[b][a] += cv_rng_below(rng, 100000);
                struct rep_record p = proposal(&people[a], &people[b],
                                               has_last[a] ? &last[a] : NULL, sum[a][b], sum[b][a]);
                p.epoch = e;
                rep_record_sign(&p, &people[a], test_network);
                last[a] = out[n++] = p;
                has_last[a] = true;
                if (silent)
                    continue;
                struct rep_record g =
                    agreement(&people[b], &p, has_last[b] ? &last[b] : NULL, sum[b][a], sum[a][b]);
                last[b] = out[n++] = g;
                has_last[b] = true;
            }
    return n;
}

static bool is_ours(const struct rep_record *r) {
    return memcmp(r->owner, people[ME].public_key, CV_KEY) == 0 ||
           memcmp(r->peer, people[ME].public_key, CV_KEY) == 0;
}

/* A few half-blocks a step; some steps are undone by a crash, and then all begins again. */
static uint64_t prune(struct held *h, const struct cv_rng *rng, unsigned crashes) {
    struct rep_prune p = {.before = BEFORE};
    uint64_t had = count(h);
    memcpy(p.me, people[ME].public_key, CV_KEY);
    cr_assert_eq(h->s->commit(h->s->ctx), CV_ERR_OK);
    while (!p.done) {
        cr_assert_eq(h->s->begin(h->s->ctx, 0), CV_ERR_OK);
        cr_assert_eq(rep_prune_step(h->s, &p, 7), CV_ERR_OK);
        if (crashes && cv_rng_below(rng, 4) == 0) {
            h->s->rollback(h->s->ctx);
            p = (struct rep_prune){.before = BEFORE};
            memcpy(p.me, people[ME].public_key, CV_KEY);
            crashes--;
        } else {
            cr_assert_eq(h->s->commit(h->s->ctx), CV_ERR_OK);
        }
    }
    cr_assert_eq(h->s->begin(h->s->ctx, 0), CV_ERR_OK);
    return had - count(h);
}

static void expect_same_rows(const struct held *h, struct rep_edge want[PEOPLE][PEOPLE],
                             bool weights, const char *when, uint64_t seed) {
    for (unsigned i = 0; i < PEOPLE; i++)
        for (unsigned j = 0; j < PEOPLE; j++) {
            struct rep_edge e = edge(h, i, j);
            cr_expect_eq(e.octets, want[i][j].octets, "seed %lu, %s: %u to %u", (unsigned long)seed,
                         when, i, j);
            cr_expect(!weights || e.recent == want[i][j].recent, "seed %lu, %s: weight %u to %u",
                      (unsigned long)seed, when, i, j);
        }
}

Test(rep_prune, rows_stay_and_stay_provable_and_what_comes_back_changes_nothing) {
    static struct rep_record v[HISTORY];
    for (uint64_t seed = 1; seed <= 12; seed++) {
        struct cv_rng_seeded dice;
        cv_rng_seeded_init(&dice, seed);
        struct cv_rng rng = cv_rng_seeded(&dice);
        struct rep_edge rows[PEOPLE][PEOPLE];
        unsigned n = write_history(&rng, v), old = 0;
        struct held h = hold(), rest = hold();
        for (unsigned i = 0; i < n; i++)
            cr_assert_eq(add(&h, &v[i]), CV_ERR_OK);
        for (unsigned i = 0; i < PEOPLE; i++)
            for (unsigned j = 0; j < PEOPLE; j++)
                rows[i][j] = edge(&h, i, j);
        uint64_t removed = prune(&h, &rng, (unsigned)seed % 3);
        expect_same_rows(&h, rows, true, "pruned", seed);
        for (unsigned i = 0; i < n; i++) {
            struct rep_record above;
            old += !is_ours(&v[i]) && v[i].epoch < BEFORE;
            if (has(&h, &v[i])) {
                cr_assert_eq(add(&rest, &v[i]), CV_ERR_OK);
                continue;
            }
            cr_expect(!is_ours(&v[i]) && v[i].epoch < BEFORE, "seed %lu: %u gone",
                      (unsigned long)seed, i);
            cr_expect_eq(rep_prune_behind(h.s, v[i].owner, v[i].seq, BEFORE, &above), CV_ERR_OK,
                         "a hole that does not look like one of pruning");
        }
        cr_expect_gt(removed * 10, old * 8, "seed %lu: %lu of %u", (unsigned long)seed,
                     (unsigned long)removed, old);
        expect_same_rows(&rest, rows, false, "of what is left", seed);
        shuffle(&rng, v, n);
        for (unsigned i = 0; i < n; i++) {
            enum cv_err err = add(&h, &v[i]);
            cr_expect(err == CV_ERR_OK || err == CV_ERR_EXIST);
        }
        expect_same_rows(&h, rows, true, "back", seed);
        cr_expect_eq(prune(&h, &rng, 0), removed);
        cr_expect_eq(prune(&h, &rng, 0), 0, "once is enough");
        rep_store_memory_free(h.memory);
        rep_store_memory_free(rest.memory);
    }
}

/* A ledger that was pruned before hears of a pair for the first time, the newest first. */
Test(rep_prune, a_ledger_that_was_pruned_counts_old_octets_as_old) {
    static struct rep_record v[2 * EPOCHS];
    struct cv_rng_seeded dice;
    cv_rng_seeded_init(&dice, 3);
    struct cv_rng rng = cv_rng_seeded(&dice);
    for (unsigned i = 0; i < PEOPLE; i++)
        person(i, &people[i]);
    for (unsigned order = 0; order < 20; order++) {
        struct held plain = hold(), h = hold();
        unsigned n = 0;
        for (unsigned e = 1; e <= EPOCHS; e++) {
            uint64_t sum = (uint64_t)e << 30;
            v[n] = proposal(&people[1], &people[2], n ? &v[n - 2] : NULL, sum, sum);
            v[n].epoch = e;
            rep_record_sign(&v[n], &people[1], test_network);
            v[n + 1] = agreement(&people[2], &v[n], n ? &v[n - 1] : NULL, sum, sum);
            n += 2;
        }
        for (unsigned i = 0; i < n; i++)
            cr_assert_eq(add(&plain, &v[i]), CV_ERR_OK);
        cr_assert_eq(h.s->prune_put(h.s->ctx, BEFORE), CV_ERR_OK);
        if (order)
            shuffle(&rng, v, n);
        for (unsigned i = 0; i < n; i++)
            cr_assert_eq(add(&h, &v[order ? i : n - 1 - i]), CV_ERR_OK);
        /* At worst all that is older than what was pruned counts as of then. */
        uint64_t right = edge(&plain, 1, 2).recent, recent = edge(&h, 1, 2).recent;
        uint64_t most = right + rep_chain_decay((uint64_t)(BEFORE - 1) << 30, BEFORE - 1, EPOCHS);
        cr_expect_eq(edge(&h, 1, 2).octets, (uint64_t)EPOCHS << 30);
        cr_expect(recent + 100 >= right && recent <= most + 100,
                  "order %u: %lu, between %lu and %lu", order, (unsigned long)recent,
                  (unsigned long)right, (unsigned long)most);
        rep_store_memory_free(plain.memory);
        rep_store_memory_free(h.memory);
    }
}

/* ---- in a node ---- */

enum { LENGTH = 1400, DAY = 86400, DAYS = 3 };

static struct world w;

static uint64_t blocks(unsigned i) {
    uint64_t n;
    const struct rep_store *s = w.node[i].store;
    cr_assert_eq(s->block_count(s->ctx, &n), CV_ERR_OK);
    return n;
}

static uint64_t gave(unsigned i, unsigned giver, unsigned taker) {
    struct rep_edge e = {.octets = 0};
    const struct rep_store *s = w.node[i].store;
    (void)s->edge_get(s->ctx, world_key(&w, giver), world_key(&w, taker), &e);
    return e.octets;
}

/* Two carry for each other; whoever has links to both hears of it. */
static void carry_for(unsigned epochs) {
    for (unsigned i = 0; i < epochs; i++) {
        world_carry(&w, 1, 2, 50000);
        world_carry(&w, 2, 1, 50000);
        world_run(&w, w.now.mono + CV_SEC(LENGTH));
    }
}

Test(rep_prune, a_relay_that_hears_of_others_for_days_keeps_what_it_needs) {
    world_init(&w, 4, 21, LENGTH, 1000);
    world_join(&w, 0, 1);
    world_join(&w, 0, 2);
    world_join(&w, 1, 2);
    world_carry(&w, 0, 1, 50000); /* once: so that those two are near */
    uint64_t day[DAYS];
    for (unsigned i = 0; i < DAYS; i++) {
        carry_for(DAY / LENGTH + 1);
        day[i] = blocks(0);
    }
    cr_expect_gt(gave(0, 1, 2), 0);
    cr_expect_gt(blocks(1), 350, "its own stay: %lu", (unsigned long)blocks(1));
    /* A day of new ones, those of the last epochs, and the newest of what is older. */
    for (unsigned i = 1; i < DAYS; i++)
        cr_expect_lt(day[i], 2 * (DAY / LENGTH + REP_PRUNE_EPOCHS + 8), "day %u: %lu", i,
                     (unsigned long)day[i]);
    cr_expect_eq(w.node[0].ledger->gossip.blocks, blocks(0));

    /* After a restart its neighbours do not bring again what it had. */
    uint64_t before = blocks(0), row = gave(0, 1, 2);
    world_crash(&w, 0);
    world_join(&w, 0, 1);
    world_join(&w, 0, 2);
    world_run(&w, w.now.mono + CV_SEC(4 * LENGTH));
    cr_expect_leq(blocks(0), before + 8, "%lu, had %lu", (unsigned long)blocks(0),
                  (unsigned long)before);
    cr_expect_geq(gave(0, 1, 2), row);

    /* Whoever hears of the two from it alone learns of the row, and of what comes. */
    world_join(&w, 0, 3);
    world_run(&w, w.now.mono + CV_SEC(4 * LENGTH));
    cr_expect_eq(gave(3, 1, 2), gave(0, 1, 2));
    carry_for(3);
    world_run(&w, w.now.mono + CV_SEC(LENGTH));
    cr_expect_eq(gave(3, 1, 2), gave(0, 1, 2));
    cr_expect_gt(gave(3, 1, 2), row);
    world_done(&w);
}

/* A calendar that was wrong removes nothing. */
Test(rep_prune, nothing_is_removed_while_the_calendar_is_in_doubt) {
    world_init(&w, 3, 22, LENGTH, 1000);
    world_join(&w, 0, 1);
    world_join(&w, 0, 2);
    world_join(&w, 1, 2);
    uint64_t had = 0;
    for (unsigned i = 0; i < DAYS * DAY / LENGTH; i++) {
        rep_ledger_clock_off(w.node[0].ledger, w.now);
        carry_for(1);
        cr_expect_geq(blocks(0), had);
        had = blocks(0);
    }
    cr_expect_gt(had, 300);
    world_done(&w);
}
