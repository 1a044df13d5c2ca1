/* What pruning removes and what it must not touch: rows and what they weigh, what proves
 * them, what is ours; and that a node whose relays give for ever keeps a file of one size. */
#include "support/suite.h"

#include "crypto/rng_seeded.h"
#include "reputation/chain.h"
#include "reputation/ledger_internal.h"
#include "reputation/store_memory.h"
#include "reputation/store_sqlite.h"
#include "reputation/tests/people.h"
#include "reputation/tests/world.h"

CV_SUITE(rep_prune, .timeout = 600);

enum { PEOPLE = 4, ME = 0, EPOCHS = 60, BEFORE = 40, HISTORY = PEOPLE * PEOPLE * EPOCHS };

static struct cv_ed25519_secret people[PEOPLE];

/* A store with a transaction that runs. */
struct held {
    struct rep_store_memory *memory;
    struct rep_store_sqlite *file; /* NULL: in memory */
    const struct rep_store *s;
};

static struct held hold(void) {
    struct held h = {.memory = rep_store_memory_new()};
    h.s = rep_store_memory_ops(h.memory);
    cr_assert_eq(h.s->begin(h.s->ctx, 0), CV_ERR_OK);
    return h;
}

/* The same over SQLite. */
static struct held hold_file(void) {
    struct held h = {.memory = NULL};
    char why[256] = "";
    cr_assert_eq(rep_store_sqlite_open(":memory:", test_network, people[ME].public_key,
                                       REP_SQLITE_NORMAL, &h.file, why, sizeof why),
                 CV_ERR_OK, "%s", why);
    h.s = rep_store_sqlite_ops(h.file);
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
        struct held h = seed % 3 ? hold() : hold_file(), rest = hold();
        for (unsigned i = 0; i < n; i++)
            cr_assert_eq(add(&h, &v[i]), CV_ERR_OK);
        for (unsigned i = 0; i < PEOPLE; i++)
            for (unsigned j = 0; j < PEOPLE; j++)
                rows[i][j] = edge(&h, i, j);
        uint64_t removed = prune(&h, &rng, (unsigned)seed % 3);
        expect_same_rows(&h, rows, true, "pruned", seed);
        for (unsigned i = 0; i < n; i++) {
            uint64_t whole;
            old += !is_ours(&v[i]) && v[i].epoch < BEFORE;
            if (has(&h, &v[i])) {
                cr_assert_eq(add(&rest, &v[i]), CV_ERR_OK);
                continue;
            }
            cr_expect(!is_ours(&v[i]) && v[i].epoch < BEFORE, "seed %lu: %u gone",
                      (unsigned long)seed, i);
            cr_assert_eq(h.s->whole_get(h.s->ctx, v[i].owner, &whole), CV_ERR_OK);
            cr_expect_geq(whole, v[i].seq, "a hole that is not known as one of pruning");
        }
        for (unsigned i = 0; i < PEOPLE; i++) { /* a digest names it */
            struct rep_record at;
            uint64_t whole;
            cr_assert_eq(h.s->whole_get(h.s->ctx, people[i].public_key, &whole), CV_ERR_OK);
            cr_expect_eq(h.s->block_get(h.s->ctx, people[i].public_key, whole, &at), CV_ERR_OK);
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
        rep_store_sqlite_close(h.file);
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

/* One chain of EPOCHS places with one other, an epoch each; `with` says which are added. */
static struct held one_chain(struct rep_record own[EPOCHS + 1], bool (*with)(unsigned seq)) {
    struct held h = hold();
    struct rep_record other[EPOCHS + 1];
    for (unsigned i = 0; i < PEOPLE; i++)
        person(i, &people[i]);
    for (unsigned i = 1; i <= EPOCHS; i++) {
        uint64_t sum = (uint64_t)i * 1000;
        own[i] = proposal(&people[1], &people[2], i > 1 ? &own[i - 1] : NULL, sum, sum);
        own[i].epoch = i;
        rep_record_sign(&own[i], &people[1], test_network);
        other[i] = agreement(&people[2], &own[i], i > 1 ? &other[i - 1] : NULL, sum, sum);
        if (with(i)) {
            cr_assert_eq(add(&h, &own[i]), CV_ERR_OK);
            cr_assert_eq(add(&h, &other[i]), CV_ERR_OK);
        }
    }
    return h;
}

static bool but_7(unsigned seq) {
    return seq != 7;
}

/* What is behind a hole goes, too; what ends the part that is whole stays: it is what others
 * are told of. */
Test(rep_prune, a_hole_that_nobody_filled_stays_one) {
    static struct rep_record own[EPOCHS + 1];
    struct held h = one_chain(own, but_7);
    struct cv_rng none = {0};
    uint64_t whole;
    prune(&h, &none, 0);
    cr_assert_eq(h.s->whole_get(h.s->ctx, people[1].public_key, &whole), CV_ERR_OK);
    cr_expect_eq(whole, 6);
    for (unsigned i = 1; i <= EPOCHS; i++)
        cr_expect_eq(has(&h, &own[i]), i == 6 || i >= BEFORE - 1, "%u", i);
    cr_assert_eq(add(&h, &own[7]), CV_ERR_OK, "it may still come");
    rep_store_memory_free(h.memory);
}

/* A later place makes superfluous what it was agreed to be, not what its owner says it is. */
Test(rep_prune, what_claims_more_than_was_agreed_stays) {
    static const struct {
        const char *what;
        uint64_t given, taken; /* of the first, to which nobody answered */
        bool gone;
    } rows[] = {
        {"as much", 100, 100, true},
        {"gives more", 101, 100, false},
        {"takes more", 100, 101, false},
    };
    for (unsigned i = 0; i < PEOPLE; i++)
        person(i, &people[i]);
    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct held h = hold();
        struct cv_rng none = {0};
        struct rep_record r[3], g;
        for (unsigned k = 0; k < 3; k++) { /* the second claims 200 and is believed 100 */
            r[k] = proposal(&people[1], &people[2], k ? &r[k - 1] : NULL, k ? 200 : rows[i].given,
                            k ? 200 : rows[i].taken);
            r[k].epoch = BEFORE - 5 + k;
            rep_record_sign(&r[k], &people[1], test_network);
            cr_assert_eq(add(&h, &r[k]), CV_ERR_OK);
        }
        g = agreement(&people[2], &r[1], NULL, 100, 100);
        cr_assert_eq(add(&h, &g), CV_ERR_OK);
        prune(&h, &none, 0);
        cr_expect_eq(has(&h, &r[0]), !rows[i].gone, "%s", rows[i].what);
        cr_expect(has(&h, &r[1]) && has(&h, &r[2]), "%s", rows[i].what);
        rep_store_memory_free(h.memory);
    }
}

static bool some(unsigned seq) {
    return seq <= 2 || seq == 5 || seq == 9 || seq == 10 || seq == BEFORE + 1;
}

Test(rep_prune, an_answer_leads_behind_holes_as_far_as_it_may) {
    static const struct {
        const char *what;
        uint64_t upto;
        unsigned n, seq[3], owner;
        uint64_t at;
    } rows[] = {
        {"all that is there", EPOCHS, 3, {5, 9, 10}, 1, 10},
        {"what follows without a hole need not be in it", EPOCHS, 3, {5, 9, 11}, 1, 10},
        {"not further than the neighbour says it is whole", 8, 3, {5, 9, 10}, 1, 5},
        {"nor to what is not here", EPOCHS, 3, {3, 4, 6}, 1, 2},
        {"but over it", EPOCHS, 2, {3, 5}, 1, 5},
        {"nor where it is too young to be pruned", EPOCHS, 1, {BEFORE + 1}, 1, 2},
        {"of no other chain", EPOCHS, 3, {5, 9, 10}, 2, 0},
    };
    static struct rep_record own[EPOCHS + 1];
    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct held h = one_chain(own, some);
        struct rep_record answer[3];
        uint64_t at = 0, whole;
        for (unsigned k = 0; k < rows[i].n; k++)
            answer[k] = own[rows[i].seq[k]];
        const uint8_t *owner = people[rows[i].owner].public_key;
        cr_assert_eq(rep_prune_answered(h.s, owner, rows[i].upto, BEFORE, answer, rows[i].n, &at),
                     CV_ERR_OK);
        cr_assert_eq(h.s->whole_get(h.s->ctx, owner, &whole), CV_ERR_OK);
        cr_expect_eq(whole, 0, "that is for nobody to tell");
        cr_expect_eq(at, rows[i].at, "%s: %lu", rows[i].what, (unsigned long)at);
        rep_store_memory_free(h.memory);
    }
}

/* ---- in a node ---- */

enum { LENGTH = 1400, DAY = 86400, DAYS = 2 };

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
    cr_expect_gt(blocks(1), 230, "its own stay: %lu", (unsigned long)blocks(1));
    /* A day of new ones, those of the last epochs, and the newest of what is older. */
    for (unsigned i = 1; i < DAYS; i++)
        cr_expect_lt(day[i], 2 * (DAY / LENGTH + REP_PRUNE_EPOCHS + 8), "day %u: %lu", i,
                     (unsigned long)day[i]);
    cr_expect_eq(w.node[0].ledger->gossip.blocks, blocks(0));

    /* After a restart its neighbours do not bring again what it had. */
    uint64_t before = blocks(0), row = gave(0, 1, 2);
    world_crash(&w, 3); /* it looks at what it could prune an hour after it starts */
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
    for (unsigned i = 0; i < 2 * DAY / LENGTH; i++) {
        rep_ledger_clock_off(w.node[0].ledger, w.now);
        carry_for(1);
        cr_expect_geq(blocks(0), had);
        had = blocks(0);
    }
    cr_expect_gt(had, 200);
    world_done(&w);
}

/* ---- holes, and what comes for them ---- */

enum { US = 0, TELLER = 1, OWNER = 2, FAR = 3, STRANGER = 4, CHAIN = 24 };

static const struct cv_ed25519_secret *secret(unsigned i) {
    return &w.node[i].cfg.identity_secret;
}

static uint32_t epoch_now(void) {
    return (uint32_t)(w.now.wall / LENGTH);
}

/* Of strangers, far away: nothing is pruned that is not long before some row. */
static void row_of_today(const struct rep_store *s) {
    struct rep_edge e = {.giver = {1}, .taker = {2}, .octets = 1, .epoch = epoch_now()};
    cr_assert_eq(s->edge_put(s->ctx, &e), CV_ERR_OK);
}

/* Relays that are not started; what they know is put into their stores first. */
static void world_of_files(uint64_t seed, uint32_t pruned) {
    world_init(&w, 5, seed, LENGTH, 1000);
    for (unsigned i = 0; i < w.n; i++) {
        w.node[i].ledger = rep_ledger_free(w.node[i].ledger);
        cr_assert_eq(w.node[i].store->begin(w.node[i].store->ctx, 0), CV_ERR_OK);
    }
    row_of_today(w.node[US].store);
    cr_assert_eq(w.node[US].store->prune_put(w.node[US].store->ctx, pruned), CV_ERR_OK);
}

/* `i` knows of a row of its own with `other`, so that it tells of that one's chain. */
static void near_to(unsigned i, unsigned other) {
    struct rep_edge e = {.octets = 1 << 20, .recent = 1 << 20, .epoch = epoch_now()};
    memcpy(e.giver, world_key(&w, i), CV_KEY);
    memcpy(e.taker, world_key(&w, other), CV_KEY);
    cr_assert_eq(w.node[i].store->edge_put(w.node[i].store->ctx, &e), CV_ERR_OK);
}

static void world_start(void) {
    for (unsigned i = 0; i < w.n; i++) {
        cr_assert_eq(w.node[i].store->commit(w.node[i].store->ctx), CV_ERR_OK);
        world_boot(&w, i);
    }
}

static void knows(unsigned i, const struct rep_record *r) {
    struct rep_chain_result res;
    cr_assert_eq(rep_chain_add(w.node[i].store, test_network, r, true, 0, &res), CV_ERR_OK);
}

/* The chain of OWNER, long ago: an epoch a place, with FAR in its first half, with TELLER
 * always at odd ones and in the second half. */
static void old_chain(struct rep_record own[CHAIN], struct rep_record other[CHAIN]) {
    const struct rep_record *last[4] = {NULL};
    uint64_t sum[4] = {0};
    for (unsigned i = 0; i < CHAIN; i++) {
        unsigned who = i % 2 && i < CHAIN / 2 ? FAR : TELLER;
        sum[who] += 100000;
        own[i] = proposal(secret(OWNER), secret(who), i ? &own[i - 1] : NULL, sum[who], sum[who]);
        own[i].epoch = epoch_now() - REP_PRUNE_EPOCHS - CHAIN - 8 + i;
        rep_record_sign(&own[i], secret(OWNER), test_network);
        other[i] = agreement(secret(who), &own[i], last[who], sum[who], sum[who]);
        last[who] = &other[i];
    }
}

/* Half-blocks of an owner come one by one beside those of others, before anybody was asked for
 * its chain. They are old, but what is missing between them was never pruned. */
Test(rep_prune, half_blocks_heard_beside_others_do_not_hide_the_rest) {
    struct rep_record own[CHAIN], other[CHAIN];
    world_of_files(31, 0);
    uint32_t pruned = epoch_now() - REP_PRUNE_EPOCHS;
    cr_assert_eq(w.node[US].store->prune_put(w.node[US].store->ctx, pruned), CV_ERR_OK);
    old_chain(own, other);
    for (unsigned i = 0; i < CHAIN; i++) {
        knows(TELLER, &own[i]);
        knows(TELLER, &other[i]);
    }
    world_start();
    world_join(&w, US, TELLER);
    world_run(&w, w.now.mono + CV_SEC(1200));
    cr_expect_eq(gave(US, OWNER, TELLER), (uint64_t)(CHAIN * 3 / 4) * 100000);
    cr_expect_eq(gave(US, OWNER, FAR), (uint64_t)(CHAIN / 4) * 100000, "hidden by a hole");
    world_done(&w);
}

/* Whoever told us had pruned: then we ask behind the holes, and behind what is of no use any
 * more and is not taken. */
Test(rep_prune, what_a_neighbour_pruned_is_passed_when_it_was_asked) {
    struct rep_record own[CHAIN], other[CHAIN];
    world_of_files(32, 0);
    const struct rep_store *told = w.node[TELLER].store, *us = w.node[US].store;
    cr_assert_eq(us->prune_put(us->ctx, epoch_now() - REP_PRUNE_EPOCHS), CV_ERR_OK);
    old_chain(own, other);
    for (unsigned i = 0; i < CHAIN; i++) {
        if (i == 0 || i > 4)
            knows(TELLER, &own[i]);
        knows(TELLER, &other[i]);
        if (i == 1 || i == CHAIN - 2) /* superfluous makes what is below */
            knows(US, &own[i]);
        if (i == CHAIN - 2)
            knows(US, &other[i]);
    }
    cr_assert_eq(told->whole_put(told->ctx, world_key(&w, OWNER), CHAIN - 1), CV_ERR_OK);
    world_start();
    world_join(&w, US, TELLER);
    world_run(&w, w.now.mono + CV_SEC(1200));
    uint64_t whole;
    cr_assert_eq(us->whole_get(us->ctx, world_key(&w, OWNER), &whole), CV_ERR_OK);
    cr_expect_leq(whole, 4, "%lu", (unsigned long)whole);
    cr_expect_eq(gave(US, OWNER, FAR), (uint64_t)(CHAIN / 4) * 100000);
    cr_expect_eq(gave(US, OWNER, TELLER), (uint64_t)(CHAIN * 3 / 4) * 100000);
    world_done(&w);
}

/* Whoever keeps back what is old, as if it had been pruned, keeps nobody else from telling it:
 * the owner itself is still asked for it. */
Test(rep_prune, a_hole_is_one_of_whom_left_it) {
    static const unsigned others[] = {OWNER, STRANGER};
    for (unsigned row = 0; row < sizeof others / sizeof *others; row++) {
        struct rep_record own[CHAIN], other[CHAIN];
        world_of_files(51 + row, 0);
        const struct rep_store *told = w.node[TELLER].store, *us = w.node[US].store;
        cr_assert_eq(us->prune_put(us->ctx, epoch_now() - REP_PRUNE_EPOCHS), CV_ERR_OK);
        old_chain(own, other);
        for (unsigned i = 0; i < CHAIN; i++) {
            if (i % 2 == 0 || i >= CHAIN / 2) { /* nothing with FAR */
                knows(TELLER, &own[i]);
                knows(TELLER, &other[i]);
            }
            knows(others[row], &own[i]);
            knows(others[row], &other[i]);
        }
        cr_assert_eq(told->whole_put(told->ctx, world_key(&w, OWNER), CHAIN), CV_ERR_OK);
        near_to(STRANGER, OWNER);
        world_start();
        world_join(&w, US, TELLER);
        world_run(&w, w.now.mono + CV_SEC(1200));
        cr_expect_eq(gave(US, OWNER, TELLER), (uint64_t)(CHAIN * 3 / 4) * 100000);
        cr_expect_eq(gave(US, OWNER, FAR), 0);
        world_join(&w, US, others[row]);
        world_run(&w, w.now.mono + CV_SEC(1200));
        cr_expect_eq(gave(US, OWNER, FAR), (uint64_t)(CHAIN / 4) * 100000, "%u", others[row]);
        world_done(&w);
    }
}

static enum cv_err says(unsigned who, const struct rep_message *m) {
    uint8_t body[REP_MESSAGE_MAX];
    ssize_t len = rep_message_write(m, body, sizeof body);
    cr_assert_gt(len, 0);
    return rep_ledger_on_message(w.node[US].ledger, w.now, world_link(who), body, (size_t)len);
}

static enum cv_err shows(unsigned who, const struct rep_record *const r[], unsigned n) {
    uint8_t octets[REP_RECORDS_PER_MESSAGE * REP_RECORD];
    struct rep_message m = {.kind = REP_MESSAGE_RECORDS, .count = (uint8_t)n, .records = octets};
    for (unsigned i = 0; i < n; i++)
        rep_record_write(r[i], octets + i * REP_RECORD);
    return says(who, &m);
}

static struct rep_peer *neighbour(unsigned who) {
    return cv_map_get(w.node[US].ledger->peers, world_key(&w, who));
}

static struct rep_peer *teller(void) {
    return neighbour(TELLER);
}

/* An answer of TELLER about its own chain, n times the same. */
static enum cv_err answers(const struct rep_record *r, unsigned n) {
    const struct rep_record *all[REP_RECORDS_PER_MESSAGE] = {r, r, r, r, r};
    struct rep_peer *p = teller();
    p->asked = true;
    p->ask_from = 3;
    memcpy(p->asked_owner, p->key, CV_KEY);
    return shows(TELLER, all, n);
}

static uint64_t forks(void) {
    struct rep_stats st;
    rep_ledger_stats(w.node[US].ledger, &st);
    return st.forks;
}

/* Five places of TELLER's chain with OWNER, long ago, of which we keep the second and the last
 * two. */
static void five_places(struct rep_record own[6]) {
    struct rep_record other[6];
    const struct rep_store *us = w.node[US].store;
    cr_assert_eq(us->prune_put(us->ctx, epoch_now() - REP_PRUNE_EPOCHS), CV_ERR_OK);
    memset(own, 0, 6 * sizeof *own);
    for (unsigned i = 1; i <= 5; i++) {
        uint64_t sum = (uint64_t)100 * i;
        own[i] = proposal(secret(TELLER), secret(OWNER), i > 1 ? &own[i - 1] : NULL, sum, sum);
        own[i].epoch = epoch_now() - REP_PRUNE_EPOCHS - 10 + i;
        rep_record_sign(&own[i], secret(TELLER), test_network);
        other[i] = agreement(secret(OWNER), &own[i], i > 1 ? &other[i - 1] : NULL, sum, sum);
        if (i == 2 || i > 3) {
            knows(US, &own[i]);
            knows(US, &other[i]);
        }
    }
}

/* TELLER shows another version of its third place, which a later one would make superfluous. */
Test(rep_prune, what_contradicts_what_is_kept_is_a_proof_however_old) {
    static const struct {
        const char *what;
        unsigned seq, prev; /* prev: place of `own` that it names */
        uint64_t given;
        bool forged;
        enum cv_err err;
        uint64_t forks;
    } rows[] = {
        {"as it was", 3, 2, 300, false, CV_ERR_OK, 0},
        {"claims less than one below", 3, 2, 150, false, CV_ERR_DIFFERS, 1},
        {"the same, not signed", 3, 2, 150, true, CV_ERR_AUTH, 0},
        {"does not go on from the one below", 3, 1, 300, false, CV_ERR_DIFFERS, 0},
        {"another one of its own place", 4, 2, 350, false, CV_ERR_DIFFERS, 1},
    };
    for (unsigned row = 0; row < sizeof rows / sizeof *rows; row++) {
        struct rep_record own[6];
        world_of_files(33 + row, 0);
        five_places(own);
        world_start();
        world_join(&w, US, TELLER);
        struct rep_record r = proposal(secret(TELLER), secret(OWNER), &own[rows[row].prev],
                                       rows[row].given, rows[row].given);
        r.seq = rows[row].seq;
        r.epoch = own[3].epoch;
        rep_record_sign(&r, secret(TELLER), test_network);
        if (rows[row].seq == 3 && rows[row].given == 300 && rows[row].prev == 2)
            cr_assert_arr_eq(r.hash, own[3].hash, REP_HASH);
        r.sig[0] ^= rows[row].forged;
        uint64_t had = blocks(US);
        cr_expect_eq(answers(&r, 1), rows[row].err, "%s", rows[row].what);
        cr_expect_eq(forks(), rows[row].forks, "%s: %lu", rows[row].what, (unsigned long)forks());
        cr_expect_eq(blocks(US), had, "%s", rows[row].what);
        cr_expect_eq(teller()->ask_from, rows[row].err ? 3 : 4, "%s: asked from %lu on",
                     rows[row].what, (unsigned long)teller()->ask_from);
        world_done(&w);
    }
}

/* `who` tells how far it knows the chain of OWNER, and is asked for it. */
static uint64_t asked_from(unsigned who, uint64_t upto, const struct rep_record *head) {
    struct rep_message m = {.kind = REP_MESSAGE_DIGEST, .count = 1};
    memcpy(m.digest[0].owner, world_key(&w, OWNER), CV_KEY);
    memcpy(m.digest[0].head, head->hash, REP_DIGEST_HASH);
    m.digest[0].upto = upto;
    cr_assert_eq(says(who, &m), CV_ERR_OK);
    cr_assert_eq(neighbour(who)->wants.n, 1);
    cr_assert(neighbour(who)->wants.asked);
    return neighbour(who)->wants.list[0].from;
}

/* An answer, and that there is no more. */
static void answers_of_owner(unsigned who, const struct rep_record *a, const struct rep_record *b) {
    cr_assert_eq(shows(who, (const struct rep_record *[]){a, b}, 2), CV_ERR_OK);
    cr_assert_eq(shows(who, NULL, 0), CV_ERR_OK);
    cr_assert_eq(neighbour(who)->wants.n, 0);
}

/* Half-blocks that we did not take, since their owner was too far away, or that we did not ask
 * for leave holes, too. Those are asked for; only who was asked for all of it, and was believed
 * all that he showed, has left them out himself. */
Test(rep_prune, holes_that_we_left_ourselves_are_asked_for) {
    struct rep_record own[7], other[7];
    const struct rep_record *last = NULL;
    world_of_files(61, 0);
    /* OWNER gives to FAR, of whom nobody knows anything, and to STRANGER, who is two rows away. */
    for (unsigned i = 1; i <= 6; i++) {
        unsigned who = i == 2 || i >= 5 ? STRANGER : FAR;
        uint64_t sum = (uint64_t)1000 * i;
        own[i] = proposal(secret(OWNER), secret(who), i > 1 ? &own[i - 1] : NULL, sum, sum);
        own[i].epoch = epoch_now() - REP_PRUNE_EPOCHS - 10 + i;
        rep_record_sign(&own[i], secret(OWNER), test_network);
        other[i] = agreement(secret(who), &own[i], who == STRANGER ? last : NULL, sum, sum);
        last = who == STRANGER ? &other[i] : last;
    }
    near_to(US, TELLER);
    struct rep_edge e = {.octets = 1 << 20, .recent = 1 << 20, .epoch = epoch_now()};
    memcpy(e.giver, world_key(&w, TELLER), CV_KEY);
    memcpy(e.taker, world_key(&w, STRANGER), CV_KEY);
    cr_assert_eq(w.node[US].store->edge_put(w.node[US].store->ctx, &e), CV_ERR_OK);
    world_start();
    world_up(&w, US, TELLER);

    cr_assert_eq(asked_from(TELLER, 6, &own[6]), 1);
    cr_assert_eq(shows(TELLER, (const struct rep_record *[]){&own[1], &own[2], &other[2]}, 3),
                 CV_ERR_OK);
    cr_assert_eq(gave(US, OWNER, STRANGER), 2000);
    cr_assert_eq(gave(US, OWNER, FAR), 0, "too far away");
    rep_gossip_due(w.node[US].ledger, w.now); /* it looks around: OWNER is three rows away */
    cr_assert_eq(teller()->wants.list[0].from, 3);
    answers_of_owner(TELLER, &own[5], &own[5]);
    cr_expect_eq(asked_from(TELLER, 6, &own[6]), 1, "not for what we did not take");

    /* The first, third and fourth are not in this answer, and now that says something. */
    answers_of_owner(TELLER, &own[2], &own[5]);
    cr_expect_eq(asked_from(TELLER, 6, &own[6]), 6);

    /* Somebody else is asked for the fifth only, which he seems to know otherwise. */
    world_up(&w, US, STRANGER);
    cr_assert_eq(asked_from(STRANGER, 5, &own[6]), 5);
    answers_of_owner(STRANGER, &own[5], &own[6]);
    cr_expect_eq(asked_from(STRANGER, 7, &own[6]), 1, "nor for what we did not ask for");
    world_done(&w);
}

/* ---- limits of a pass ---- */

static struct rep_store counted_store;
static const struct rep_store *under;
static unsigned looks;

static enum cv_err counted_get(void *ctx, const uint8_t owner[CV_KEY], uint64_t seq,
                               struct rep_record *ret) {
    looks++;
    return under->block_get(ctx, owner, seq, ret);
}

static enum cv_err counted_seek(void *ctx, const uint8_t owner[CV_KEY], const uint8_t *peer,
                                uint64_t seq, enum rep_seek how, struct rep_record *ret) {
    looks++;
    return under->block_seek(ctx, owner, peer, seq, how, ret);
}

static enum cv_err counted_owner(void *ctx, const uint8_t *after, uint8_t ret[CV_KEY]) {
    looks++;
    return under->owner_next(ctx, after, ret);
}

static void count_looks(const struct rep_store *s) {
    under = s;
    counted_store = *s;
    counted_store.block_get = counted_get;
    counted_store.block_seek = counted_seek;
    counted_store.owner_next = counted_owner;
}

/* What nobody signed buys no looks into the store, and what somebody did not many: beyond them
 * it is taken like everything else, and nothing behind it is hidden. */
Test(rep_prune, looks_for_what_is_superfluous_are_not_to_be_had_for_nothing) {
    struct rep_record own[6];
    world_of_files(43, 0);
    five_places(own);
    count_looks(w.node[US].store);
    w.node[US].store = &counted_store;
    world_start();
    world_join(&w, US, TELLER);
    struct rep_ledger *l = w.node[US].ledger;
    struct rep_record forged = own[3];
    forged.sig[0] ^= 1;
    uint64_t had = blocks(US), refused = l->stats.blocks_refused;
    const struct rep_record *both[] = {&forged, &own[3]};

    cr_assert_eq(answers(&own[3], 1), CV_ERR_OK);
    cr_expect_eq(teller()->ask_from, 4);
    teller()->asked = true;
    teller()->ask_from = 3;
    looks = 0;
    cr_expect_eq(shows(TELLER, both, 2), CV_ERR_AUTH, "the whole of it");
    cr_expect_leq(looks, 1, "is it known: %u", looks);
    cr_expect_eq(l->stats.blocks_refused, refused + 1);
    cr_expect_eq(teller()->ask_from, 3);

    static_assert((REP_LOOKS_PER_EPOCH - 2) % 2 == 0, "two are over, two at a time follow");
    /* as if they were minutes apart */
    cv_tokenbucket_init(&TAILQ_FIRST(&teller()->links)->messages, 1, REP_LOOKS_PER_EPOCH,
                        w.now.mono);
    for (unsigned i = 2; i < REP_LOOKS_PER_EPOCH; i += 2)
        cr_assert_eq(answers(&own[3], 2), CV_ERR_OK);
    cr_expect_eq(blocks(US), had);
    cr_expect_eq(answers(&forged, 1), CV_ERR_AUTH);
    cr_expect_eq(blocks(US), had);
    cr_expect_eq(answers(&own[3], 1), CV_ERR_OK);
    cr_expect_eq(blocks(US), had + 1, "taken");
    cr_expect_eq(answers(&own[3], 1), CV_ERR_OK, "and known");
    cr_expect_eq(blocks(US), had + 1);
    world_done(&w);
}

/* A step looks at as much as it was told, in a chain that was never looked at and over
 * relays that have none alike. */
Test(rep_prune, a_step_is_no_longer_than_it_may_be) {
    static struct rep_record v[HISTORY];
    struct cv_rng_seeded dice;
    cv_rng_seeded_init(&dice, 5);
    struct cv_rng rng = cv_rng_seeded(&dice);
    unsigned n = write_history(&rng, v);
    struct held h = hold();
    for (unsigned i = 0; i < n; i++)
        cr_assert_eq(add(&h, &v[i]), CV_ERR_OK);
    count_looks(h.s);
    struct rep_prune p = {.before = BEFORE};
    memcpy(p.me, people[ME].public_key, CV_KEY);
    unsigned steps = 0;
    for (; !p.done; steps++) {
        looks = 0;
        cr_assert_eq(rep_prune_step(&counted_store, &p, 4), CV_ERR_OK);
        /* Each may look for what makes both halves superfluous at eight places above. */
        cr_expect_leq(looks, 4 * 2 * (8 + 5), "step %u: %u", steps, looks);
    }
    cr_expect_geq(steps, n / 4);
    rep_store_memory_free(h.memory);
}

/* Where a pass takes longer than an epoch, it is not begun again and again. */
Test(rep_prune, a_pass_ends_before_the_next_begins) {
    world_init(&w, 1, 41, LENGTH, 1000);
    struct rep_ledger *l = w.node[0].ledger;
    l->prune = (struct rep_prune){.before = 7, .begun = true, .done = true};
    rep_prune_begin(l, w.now);
    cr_expect_eq(l->prune.before, 7, "no row is so young, whatever the clock says");
    l->prune.done = false;
    cr_assert_eq(l->store->begin(l->store->ctx, 0), CV_ERR_OK);
    row_of_today(l->store);
    cr_assert_eq(l->store->commit(l->store->ctx), CV_ERR_OK);
    rep_prune_begin(l, w.now);
    cr_expect_eq(l->prune.before, 7);
    l->prune.done = true;
    rep_prune_begin(l, w.now);
    cr_expect_eq(l->prune.before, epoch_now() - REP_PRUNE_EPOCHS);
    rep_ledger_clock_off(l, w.now);
    rep_prune_due(l, w.now);
    cr_expect(!l->prune.begun, "the calendar is in doubt");
    cr_expect_eq(l->prune_at, l->doubted);
    world_done(&w);
}

/* A file that says that the future was pruned is believed up to now. */
Test(rep_prune, nothing_was_pruned_in_the_future) {
    world_of_files(42, UINT32_MAX);
    world_start();
    cr_expect_eq(rep_prune_before(w.node[US].ledger), epoch_now() - REP_PRUNE_EPOCHS);
    world_done(&w);
}
