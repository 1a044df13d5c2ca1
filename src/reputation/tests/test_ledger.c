/*
 * The ledger among others. Goals: an epoch's octets become one row at both
 * ends, the same there, whatever the links do; nothing signed is lost, doubled
 * or forked over crashes; who forges is banned; newcomers start at once.
 * Method: real ledgers over memory stores in virtual time, many seeds.
 */
#include "support/suite.h"

#include <stdio.h>

#include "reputation/chain.h"
#include "reputation/release.h"
#include "reputation/tests/world.h"

CV_SUITE(rep_ledger);

enum { EPOCH = 700 };

/* Of so many octets both ways together. */
static uint64_t expected(const struct world *w, unsigned a, unsigned b, uint64_t octets,
                         uint32_t epoch) {
    uint8_t secret[CV_KEY];
    rep_release_secret(secret, &w->node[a].cfg.identity_secret, world_key(w, b),
                       w->node[a].cfg.network_id);
    return rep_release_amount(octets / 2, rep_release_dither(secret, epoch),
                              w->node[a].cfg.minimum_octets);
}

/* Both ends hold the same row, and it does not say who gave more. */
static void expect_row(struct world *w, unsigned a, unsigned b, uint64_t each, const char *name) {
    struct rep_row at_a, at_b;
    cr_assert(world_row(w, a, b, &at_a) && world_row(w, b, a, &at_b), "%s: no row", name);
    cr_expect_eq(at_a.released_given, each, "%s: %lu not %lu", name,
                 (unsigned long)at_a.released_given, (unsigned long)each);
    cr_expect_eq(at_a.released_taken, each, "%s", name);
    cr_expect_eq(at_b.released_given, each, "%s", name);
    cr_expect_eq(at_b.released_taken, each, "%s", name);
}

/* The newest claims of both ends about each other are the same: neither has
 * raised its own for what the other did not. */
static void expect_same_claims(const struct world *w, unsigned a, unsigned b) {
    struct rep_record at_a, at_b;
    const struct rep_store *s = w->node[a].store, *t = w->node[b].store;
    cr_assert_eq(
        s->block_seek(s->ctx, world_key(w, a), world_key(w, b), INT64_MAX, REP_SEEK_BELOW, &at_a),
        CV_ERR_OK);
    cr_assert_eq(
        t->block_seek(t->ctx, world_key(w, b), world_key(w, a), INT64_MAX, REP_SEEK_BELOW, &at_b),
        CV_ERR_OK);
    cr_expect_eq(at_a.given, at_b.taken, "%lu, %lu", (unsigned long)at_a.given,
                 (unsigned long)at_b.taken);
    cr_expect_eq(at_a.taken, at_b.given, "%lu, %lu", (unsigned long)at_a.taken,
                 (unsigned long)at_b.given);
}

static uint64_t signed_by(const struct world *w, unsigned i) {
    struct rep_record head;
    const struct rep_store *s = w->node[i].store;
    if (s->block_seek(s->ctx, world_key(w, i), NULL, INT64_MAX, REP_SEEK_BELOW, &head))
        return 0;
    return head.seq;
}

/* When the next epoch has begun and a seventh of it is over. */
static cv_usec after_release(const struct world *w) {
    int64_t next = (w->now.wall / EPOCH + 1) * EPOCH;
    return w->now.mono + CV_SEC((uint64_t)(next - w->now.wall + EPOCH / 7 + 5));
}

Test(rep_ledger, an_epoch_becomes_a_row_at_both_ends) {
    struct world w;
    world_init(&w, 2, 1, EPOCH, 1000);
    world_join(&w, 0, 1);
    uint32_t epoch = rep_release_epoch(w.now.wall, EPOCH);
    for (unsigned i = 0; i < 100; i++) {
        world_run(&w, w.now.mono + CV_MSEC(50));
        world_carry(&w, 0, 1, 1232 * 40);
        world_carry(&w, 1, 0, 1232 * 3);
    }
    struct rep_row row;
    cr_assert(world_row(&w, 0, 1, &row));
    cr_expect_eq(row.pending_given, 1232 * 40 * 100);
    cr_expect_eq(row.pending_taken, 1232 * 3 * 100);
    cr_expect_eq(row.released_given, 0, "nothing is public before its epoch ended");

    world_run(&w, after_release(&w));
    expect_row(&w, 0, 1, expected(&w, 0, 1, 1232 * 4300, epoch), "row");
    cr_expect(world_row(&w, 0, 1, &row));
    cr_expect_eq(row.pending_given, 0);
    cr_expect_eq(signed_by(&w, 0), 1, "one half-block a release");
    cr_expect_eq(signed_by(&w, 1), 1);
    world_done(&w);
}

Test(rep_ledger, several_epochs_add_up) {
    struct world w;
    uint64_t each = 0;
    world_init(&w, 2, 2, EPOCH, 1000);
    world_join(&w, 0, 1);
    for (unsigned i = 1; i <= 4; i++) {
        uint32_t epoch = rep_release_epoch(w.now.wall, EPOCH);
        world_carry(&w, 0, 1, 1232 * 10 * i);
        world_carry(&w, 1, 0, 1232 * i * i);
        each += expected(&w, 0, 1, 1232 * (10 * i + i * i), epoch);
        world_run(&w, after_release(&w));
        expect_row(&w, 0, 1, each, "several epochs");
    }
    cr_expect_eq(signed_by(&w, 0) + signed_by(&w, 1), 8);
    world_done(&w);
}

Test(rep_ledger, less_than_the_minimum_leaves_no_row) {
    struct world w;
    world_init(&w, 2, 3, EPOCH, 100000);
    world_join(&w, 0, 1);
    world_carry(&w, 0, 1, 99999);
    world_carry(&w, 1, 0, 100000);
    world_run(&w, after_release(&w));
    expect_row(&w, 0, 1, 0, "below");
    cr_expect_eq(signed_by(&w, 0), 0);
    world_carry(&w, 0, 1, 100000);
    world_carry(&w, 1, 0, 100000);
    world_run(&w, after_release(&w));
    struct rep_row row;
    cr_assert(world_row(&w, 0, 1, &row));
    cr_expect_geq(row.released_given, 65536);
    world_done(&w);
}

/* One end lost half of the octets: the smaller count is what becomes public,
 * and where it is below the minimum, nothing. */
Test(rep_ledger, the_smaller_count_is_released) {
    struct world w;
    world_init(&w, 2, 4, EPOCH, 1000);
    world_join(&w, 0, 1);
    uint32_t epoch = rep_release_epoch(w.now.wall, EPOCH);
    rep_ledger_carried(w.node[0].ledger, w.now, world_link(1), 1 << 20, 5000);
    rep_ledger_carried(w.node[1].ledger, w.now, world_link(0), 999, 1 << 18);
    world_run(&w, after_release(&w));
    expect_row(&w, 0, 1, expected(&w, 0, 1, (1 << 18) + 999, epoch), "smaller");
    expect_same_claims(&w, 0, 1);

    /* Again, with the smaller count at the other end. */
    uint64_t before_that = expected(&w, 0, 1, (1 << 18) + 999, epoch);
    epoch = rep_release_epoch(w.now.wall, EPOCH);
    rep_ledger_carried(w.node[0].ledger, w.now, world_link(1), 1 << 18, 5000);
    rep_ledger_carried(w.node[1].ledger, w.now, world_link(0), 1 << 20, 1 << 20);
    world_run(&w, after_release(&w));
    expect_row(&w, 0, 1, before_that + expected(&w, 0, 1, (1 << 18) + 5000, epoch), "smaller");
    expect_same_claims(&w, 0, 1);

    rep_ledger_carried(w.node[0].ledger, w.now, world_link(1), 1 << 20, 0);
    uint64_t before = signed_by(&w, 0);
    world_run(&w, after_release(&w));
    cr_expect_eq(signed_by(&w, 0), before, "the other end counted nothing");
    struct rep_row row;
    cr_assert(world_row(&w, 0, 1, &row));
    cr_expect_eq(row.pending_given, 0, "and the count is given up");
    world_done(&w);
}

/* ---- crossing ---- */

/* What culvert-ledger privacy-check takes for granted: one half-block of an epoch and pair,
 * whose claims rise by a power of two. Only the higher key's owner may have two, when its
 * proposal crossed another; then the agreement raises nothing. */
static void expect_little_told(const struct world *w, unsigned i, uint64_t seq) {
    const struct rep_store *s = w->node[i].store;
    struct rep_record r, before, last;
    memset(&last, 0, sizeof last);
    cr_assert_eq(s->block_get(s->ctx, world_key(w, i), seq, &r), CV_ERR_OK);
    for (uint64_t k = 1; k < seq; k++) {
        cr_assert_eq(s->block_get(s->ctx, world_key(w, i), k, &before), CV_ERR_OK);
        if (memcmp(before.peer, r.peer, CV_KEY) != 0)
            continue;
        last = before;
        if (before.epoch != r.epoch)
            continue;
        cr_expect(memcmp(r.owner, r.peer, CV_KEY) > 0, "two of one epoch");
        cr_expect(before.type == REP_PROPOSAL && r.type == REP_AGREEMENT, "two of one kind");
        cr_expect_eq(r.given, before.given);
    }
    cr_expect_leq(__builtin_popcountll(r.given - last.given), 1);
    cr_expect_leq(__builtin_popcountll(r.taken - last.taken), 1);
}

/* Every COUNTERS crosses: the delay is longer than the window of releases. */
Test(rep_ledger, crossing_counters_make_one_proposal_by_the_lower_key) {
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct world w;
        world_init(&w, 2, seed, EPOCH, 1000);
        world_join(&w, 0, 1);
        world_run(&w, w.now.mono + CV_SEC(300)); /* past asking for half-blocks */
        w.delay_min = w.delay_max = CV_SEC(110);
        uint32_t epoch = rep_release_epoch(w.now.wall, EPOCH);
        world_carry(&w, 0, 1, 1 << 20);
        world_run(&w, w.now.mono + CV_SEC(2 * EPOCH));
        expect_row(&w, 0, 1, expected(&w, 0, 1, 1 << 20, epoch), "crossing");
        unsigned low = memcmp(world_key(&w, 0), world_key(&w, 1), CV_KEY) < 0 ? 0 : 1;
        struct rep_stats s;
        rep_ledger_stats(w.node[low].ledger, &s);
        cr_expect_eq(s.proposals, 1, "seed %lu", (unsigned long)seed);
        rep_ledger_stats(w.node[!low].ledger, &s);
        cr_expect_eq(s.proposals, 0, "seed %lu", (unsigned long)seed);
        world_done(&w);
    }
}

/* Runs node i's deadlines until it sends something; false after `limit`. */
static bool next_send(struct world *w, unsigned i, cv_usec limit, struct rep_event *ret) {
    struct rep_ledger *l = w->node[i].ledger;
    for (;;) {
        while (rep_ledger_poll_event(l, ret))
            if (ret->kind == REP_EVENT_SEND)
                return true;
        cv_usec at = rep_ledger_next_timeout(l);
        if (at > limit)
            return false;
        world_set_time(w, at > w->now.mono ? at : w->now.mono);
        rep_ledger_on_timeout(l, w->now);
    }
}

static bool next_of_kind(struct world *w, unsigned i, uint8_t kind, struct rep_event *ret) {
    cv_usec limit = w->now.mono + CV_SEC(2 * EPOCH);
    while (next_send(w, i, limit, ret))
        if (ret->send.body[0] == kind)
            return true;
    return false;
}

static enum cv_err hand(struct world *w, unsigned from, unsigned to, const struct rep_event *e) {
    return rep_ledger_on_message(w->node[to].ledger, w->now, world_link(from), e->send.body,
                                 e->send.len);
}

/* After losses both may have signed: a copy of COUNTERS that comes late lets
 * the lower key propose although the higher one has. */
Test(rep_ledger, crossing_proposals_end_with_the_lower_keys) {
    struct world w;
    struct rep_event tell, counters, high_proposal, low_proposal, answer, dropped;
    world_init(&w, 2, 5, EPOCH, 1000);
    w.loss_permille = 1000; /* messages are handed over below */
    world_join(&w, 0, 1);
    uint32_t epoch = rep_release_epoch(w.now.wall, EPOCH);
    world_carry(&w, 0, 1, 1 << 20);
    world_carry(&w, 1, 0, 1 << 19);
    unsigned low = memcmp(world_key(&w, 0), world_key(&w, 1), CV_KEY) < 0 ? 0 : 1, high = !low;

    world_set_time(&w, w.now.mono + CV_SEC(EPOCH));
    rep_ledger_on_timeout(w.node[low].ledger, w.now); /* closes its row */
    cr_assert(next_of_kind(&w, high, 1, &tell));
    cr_assert_eq(hand(&w, high, low, &tell), CV_ERR_OK);
    cr_assert(next_of_kind(&w, low, 1, &counters));
    cr_assert_eq(hand(&w, low, high, &counters), CV_ERR_OK);
    cr_assert(next_of_kind(&w, high, 2, &high_proposal)); /* lost */
    cr_assert(next_of_kind(&w, low, 1, &dropped));        /* it waited, now it asks; lost */
    cr_assert_eq(dropped.send.body[1], 1);
    cr_assert_eq(hand(&w, high, low, &tell), CV_ERR_OK); /* the late copy */
    cr_assert(next_of_kind(&w, low, 2, &low_proposal));

    cr_assert_eq(hand(&w, high, low, &high_proposal), CV_ERR_OK);
    cr_assert(next_of_kind(&w, low, 2, &dropped));
    cr_expect_eq(dropped.send.len, low_proposal.send.len);
    cr_expect_arr_eq(dropped.send.body, low_proposal.send.body, low_proposal.send.len,
                     "the lower key insists on its own");
    cr_assert_eq(hand(&w, low, high, &low_proposal), CV_ERR_OK);
    cr_assert(next_of_kind(&w, high, 2, &answer));
    cr_assert_eq(hand(&w, high, low, &answer), CV_ERR_OK);
    expect_row(&w, 0, 1, expected(&w, 0, 1, (1 << 20) + (1 << 19), epoch), "crossing proposals");
    cr_expect_eq(signed_by(&w, low), 1);
    cr_expect_eq(signed_by(&w, high), 2, "its own proposal stays in its chain, unanswered");
    expect_little_told(&w, high, 2);
    expect_same_claims(&w, low, high);
    struct rep_row row;
    cr_assert(world_row(&w, high, low, &row));
    cr_expect_eq(row.pending_given, 0);
    world_done(&w);
}

/* ---- bad links ---- */

enum { LOSSY = 3, STEPS = 120 };

struct tally {
    uint64_t sent[LOSSY][LOSSY], got[LOSSY][LOSSY]; /* of the running epoch */
    uint64_t want[LOSSY][LOSSY];                    /* of the pair, a < b */
    uint32_t epoch;
};

static uint64_t arrived(const struct tally *t, unsigned a, unsigned b) {
    return t->sent[a][b] < t->got[a][b] ? t->sent[a][b] : t->got[a][b];
}

static void settle_tally(struct world *w, struct tally *t) {
    uint32_t epoch = rep_release_epoch(w->now.wall, EPOCH);
    if (epoch == t->epoch)
        return;
    for (unsigned a = 0; a < LOSSY; a++)
        for (unsigned b = a + 1; b < LOSSY; b++)
            t->want[a][b] += expected(w, a, b, arrived(t, a, b) + arrived(t, b, a), t->epoch);
    memset(t->sent, 0, sizeof t->sent);
    memset(t->got, 0, sizeof t->got);
    t->epoch = epoch;
}

/* Octets leave a; of what leaves, a part arrives, now or a step later. */
static void lossy_traffic(struct world *w, struct tally *t, uint64_t late[LOSSY][LOSSY]) {
    for (unsigned a = 0; a < LOSSY; a++)
        for (unsigned b = 0; b < LOSSY; b++) {
            if (a == b || !w->node[a].up[b] || !w->node[b].up[a])
                continue;
            uint64_t cells = cv_rng_below(&w->rng, 40);
            uint64_t lost = cells ? cv_rng_below(&w->rng, cells) / 4 : 0;
            uint64_t in_flight = (cells - lost) / 3, now = cells - lost - in_flight;
            uint64_t arriving = 1232 * (now + late[a][b]);
            rep_ledger_carried(w->node[a].ledger, w->now, world_link(b), 1232 * cells, 0);
            rep_ledger_carried(w->node[b].ledger, w->now, world_link(a), 0, arriving);
            world_drain(w, a);
            world_drain(w, b);
            t->sent[a][b] += 1232 * cells;
            t->got[a][b] += arriving;
            late[a][b] = in_flight;
        }
}

static void join_all(struct world *w) {
    for (unsigned a = 0; a < w->n; a++)
        for (unsigned b = 0; b < w->n; b++)
            if (a != b && !w->node[a].up[b])
                world_up(w, a, b);
}

static void expect_sound(struct world *w, uint64_t seed) {
    for (unsigned i = 0; i < w->n; i++) {
        struct rep_stats s;
        rep_ledger_stats(w->node[i].ledger, &s);
        cr_expect_eq(s.forks, 0, "seed %lu", (unsigned long)seed);
        cr_expect_eq(w->node[i].failed, CV_ERR_OK, "seed %lu: %s", (unsigned long)seed,
                     cv_strerror(w->node[i].failed));
        const struct rep_store *store = w->node[i].store;
        struct rep_record r, last;
        for (uint64_t seq = 1; seq <= signed_by(w, i); seq++) {
            cr_assert_eq(store->block_get(store->ctx, world_key(w, i), seq, &r), CV_ERR_OK);
            if (seq > 1)
                cr_expect_arr_eq(r.prev, last.hash, REP_HASH);
            last = r;
            expect_little_told(w, i, seq);
        }
    }
}

Test(rep_ledger, lost_doubled_and_late_messages_change_no_row) {
    for (uint64_t seed = 1; seed <= 12; seed++) {
        struct world w;
        struct tally t = {0};
        uint64_t late[LOSSY][LOSSY] = {0};
        world_init(&w, LOSSY, seed, EPOCH, 1000);
        w.loss_permille = 300;
        w.dup_permille = 200;
        w.delay_min = CV_MSEC(5);
        w.delay_max = CV_MSEC(1500);
        join_all(&w);
        t.epoch = rep_release_epoch(w.now.wall, EPOCH);
        for (unsigned step = 0; step < STEPS; step++) {
            settle_tally(&w, &t);
            lossy_traffic(&w, &t, late);
            world_run(&w, w.now.mono + CV_SEC(1 + cv_rng_below(&w.rng, 2 * 3 * EPOCH / STEPS)));
        }
        world_run(&w, w.now.mono + CV_SEC(3 * EPOCH));
        settle_tally(&w, &t);
        char name[32];
        snprintf(name, sizeof name, "seed %lu", (unsigned long)seed);
        for (unsigned a = 0; a < LOSSY; a++)
            for (unsigned b = a + 1; b < LOSSY; b++)
                expect_row(&w, a, b, t.want[a][b], name);
        expect_sound(&w, seed);
        world_done(&w);
    }
}

/* Crashes at any moment: counts of the last 100 ms may be lost, nothing that
 * was signed is, no chain forks, and both ends of a row still agree. */
Test(rep_ledger, crashes_neither_fork_nor_lose_what_was_signed) {
    unsigned crashes = 0;
    for (uint64_t seed = 1; seed <= 12; seed++) {
        struct world w;
        struct tally t = {0};
        uint64_t late[LOSSY][LOSSY] = {0}, longest[LOSSY] = {0};
        world_init(&w, LOSSY, 100 + seed, EPOCH, 1000);
        w.loss_permille = 200;
        w.delay_min = CV_MSEC(5);
        w.delay_max = CV_MSEC(400);
        join_all(&w);
        for (unsigned step = 0; step < 4 * STEPS; step++) {
            lossy_traffic(&w, &t, late);
            world_run(&w, w.now.mono + CV_MSEC(1 + cv_rng_below(&w.rng, 12000)));
            for (unsigned i = 0; i < LOSSY; i++) {
                cr_expect_geq(signed_by(&w, i), longest[i], "seed %lu", (unsigned long)seed);
                longest[i] = signed_by(&w, i);
            }
            if (cv_rng_below(&w.rng, 20) == 0) {
                world_crash(&w, (unsigned)cv_rng_below(&w.rng, LOSSY));
                crashes++;
                world_run(&w, w.now.mono + CV_MSEC(cv_rng_below(&w.rng, 3000)));
                join_all(&w);
                for (unsigned i = 0; i < LOSSY; i++) /* uncommitted half-blocks are gone */
                    longest[i] = signed_by(&w, i);
            }
        }
        w.loss_permille = 0;
        join_all(&w);
        world_run(&w, w.now.mono + CV_SEC(4 * EPOCH));
        for (unsigned a = 0; a < LOSSY; a++)
            for (unsigned b = a + 1; b < LOSSY; b++) {
                struct rep_row at_a, at_b;
                cr_assert(world_row(&w, a, b, &at_a) && world_row(&w, b, a, &at_b));
                cr_expect_eq(at_a.released_given, at_b.released_taken, "seed %lu",
                             (unsigned long)seed);
                cr_expect_eq(at_a.released_taken, at_b.released_given, "seed %lu",
                             (unsigned long)seed);
                cr_expect_gt(at_a.released_given, 0);
                cr_expect_eq(at_a.pending_given + at_b.pending_given, 0, "seed %lu",
                             (unsigned long)seed);
            }
        expect_sound(&w, seed);
        world_done(&w);
    }
    cr_expect_gt(crashes, 50);
}

Test(rep_ledger, same_seed_same_run) {
    uint64_t digest[2] = {0};
    for (unsigned run = 0; run < 2; run++) {
        struct world w;
        struct tally t = {0};
        uint64_t late[LOSSY][LOSSY] = {0};
        world_init(&w, LOSSY, 9, EPOCH, 1000);
        w.loss_permille = 100;
        w.delay_max = CV_MSEC(800);
        join_all(&w);
        for (unsigned step = 0; step < STEPS; step++) {
            lossy_traffic(&w, &t, late);
            world_run(&w, w.now.mono + CV_SEC(20));
        }
        for (unsigned i = 0; i < LOSSY; i++) {
            struct rep_record head;
            const struct rep_store *s = w.node[i].store;
            cr_assert_eq(
                s->block_seek(s->ctx, world_key(&w, i), NULL, INT64_MAX, REP_SEEK_BELOW, &head),
                CV_ERR_OK);
            for (unsigned j = 0; j < 8; j++)
                digest[run] = digest[run] * 31 + head.hash[j];
            digest[run] = digest[run] * 31 + w.node[i].sends;
        }
        world_done(&w);
    }
    cr_expect_eq(digest[0], digest[1]);
}

/* A neighbour that cannot be reached for months: the newest eight epochs are
 * kept, and are released one after the other when it is back. */
Test(rep_ledger, at_most_eight_epochs_wait) {
    struct world w;
    struct rep_row row;
    uint64_t want = 0;
    world_init(&w, 2, 29, EPOCH, 1000);
    w.loss_permille = 1000;
    world_join(&w, 0, 1);
    for (unsigned i = 0; i < 12; i++) {
        uint32_t epoch = rep_release_epoch(w.now.wall, EPOCH);
        world_carry(&w, 0, 1, 100000);
        if (i >= 12 - REP_RELEASE_EPOCHS_KEPT)
            want += expected(&w, 0, 1, 100000, epoch);
        world_run(&w, w.now.mono + CV_SEC(EPOCH));
    }
    cr_assert(world_row(&w, 0, 1, &row));
    cr_expect_eq(row.pending_given, 100000 * REP_RELEASE_EPOCHS_KEPT);
    w.loss_permille = 0;
    world_run(&w, w.now.mono + CV_SEC(2 * EPOCH));
    expect_row(&w, 0, 1, want, "eight epochs");
    expect_same_claims(&w, 0, 1);
    cr_assert(world_row(&w, 0, 1, &row));
    cr_expect_eq(row.pending_given, 0);
    world_done(&w);
}

/* ---- durability ---- */

/* What is signed leaves only after the commit that holds it. */
Test(rep_ledger, nothing_signed_leaves_before_its_commit) {
    struct world w;
    struct rep_event e;
    struct rep_stats s;
    world_init(&w, 2, 11, EPOCH, 1000);
    w.loss_permille = 1000;
    world_join(&w, 0, 1);
    world_carry(&w, 0, 1, 1 << 20);
    world_set_time(&w, w.now.mono + CV_SEC(EPOCH));
    rep_ledger_on_timeout(w.node[1].ledger, w.now);
    cr_assert(next_of_kind(&w, 0, 1, &e));
    cr_assert_eq(hand(&w, 0, 1, &e), CV_ERR_OK);
    cr_assert(next_of_kind(&w, 1, 1, &e));
    cr_assert_eq(hand(&w, 1, 0, &e), CV_ERR_OK);
    rep_ledger_stats(w.node[0].ledger, &s);
    cr_assert_eq(s.proposals, 1);
    while (rep_ledger_poll_event(w.node[0].ledger, &e))
        cr_expect(e.kind != REP_EVENT_SEND || e.send.body[0] != 2, "it left uncommitted");
    world_set_time(&w, rep_ledger_next_timeout(w.node[0].ledger));
    rep_ledger_on_timeout(w.node[0].ledger, w.now);
    bool left = false;
    while (rep_ledger_poll_event(w.node[0].ledger, &e))
        left |= e.kind == REP_EVENT_SEND && e.send.body[0] == 2;
    cr_expect(left);
    world_done(&w);
}

/* Until node 1 has told its counts and node 0 has signed; *ret is the last event. */
static void until_signed(struct world *w, struct rep_event *ret) {
    struct rep_stats s;
    w->loss_permille = 1000; /* messages are handed over by the test */
    world_join(w, 0, 1);
    world_carry(w, 0, 1, 1 << 20);
    world_set_time(w, w->now.mono + CV_SEC(EPOCH));
    rep_ledger_on_timeout(w->node[1].ledger, w->now);
    cr_assert(next_of_kind(w, 0, 1, ret));
    cr_assert_eq(hand(w, 0, 1, ret), CV_ERR_OK);
    cr_assert(next_of_kind(w, 1, 1, ret));
    cr_assert_eq(hand(w, 1, 0, ret), CV_ERR_OK);
    rep_ledger_stats(w->node[0].ledger, &s);
    cr_assert_eq(s.proposals, 1);
}

/* Signed and committed, then a crash before the answer: the same half-block is
 * shown again, and no other is signed for that epoch. */
Test(rep_ledger, a_proposal_survives_a_crash) {
    struct world w;
    struct rep_event first, again;
    world_init(&w, 2, 27, EPOCH, 1000);
    until_signed(&w, &first);
    cr_assert(next_of_kind(&w, 0, 2, &first));
    world_crash(&w, 0);
    world_join(&w, 0, 1);
    cr_assert(next_of_kind(&w, 0, 2, &again));
    cr_expect_eq(again.send.len, first.send.len);
    cr_expect_arr_eq(again.send.body, first.send.body, first.send.len);
    cr_expect_eq(signed_by(&w, 0), 1);
    world_done(&w);
}

Test(rep_ledger, what_could_not_be_committed_never_leaves) {
    struct world w;
    struct rep_event e;
    world_init(&w, 2, 28, EPOCH, 1000);
    until_signed(&w, &e);
    rep_store_memory_fail(w.node[0].memory, 1, CV_ERR_STORE);
    cr_expect(!next_of_kind(&w, 0, 2, &e));
    cr_expect_eq(signed_by(&w, 0), 0);
    world_done(&w);
}

Test(rep_ledger, a_failed_commit_stops_signing_but_not_serving) {
    struct world w;
    struct rep_stats before, after;
    world_init(&w, 2, 12, EPOCH, 1000);
    world_join(&w, 0, 1);
    world_run(&w, w.now.mono + CV_SEC(1));
    rep_store_memory_fail(w.node[0].memory, 1, CV_ERR_FULL);
    world_carry(&w, 0, 1, 1 << 20);
    world_run(&w, w.now.mono + CV_SEC(1));
    cr_expect_eq(w.node[0].failed, CV_ERR_FULL);
    rep_ledger_stats(w.node[0].ledger, &before);
    world_run(&w, after_release(&w));
    world_carry(&w, 0, 1, 1 << 20);
    rep_ledger_stats(w.node[0].ledger, &after);
    cr_expect_eq(after.proposals + after.agreements, 0);
    cr_expect_eq(after.commits, before.commits);
    cr_expect_eq(rep_ledger_flush(w.node[0].ledger, w.now), CV_ERR_FULL);
    cr_expect_geq(rep_ledger_weight(w.node[0].ledger, world_link(1)), REP_WEIGHT_MIN);
    cr_expect_eq(signed_by(&w, 1), 0);
    world_done(&w);
}

/* Counts are committed within 100 ms, or at once after 1,000 rows. */
Test(rep_ledger, group_commit) {
    struct world w;
    struct rep_stats s;
    world_init(&w, 2, 13, EPOCH, 1000);
    world_join(&w, 0, 1);
    world_run(&w, w.now.mono + CV_SEC(60));
    rep_ledger_stats(w.node[0].ledger, &s);
    uint64_t commits = s.commits;
    world_carry(&w, 0, 1, 1232);
    cr_expect_eq(rep_ledger_next_timeout(w.node[0].ledger), w.now.mono + CV_MSEC(100));
    for (unsigned i = 0; i < 99; i++) {
        world_run(&w, w.now.mono + CV_MSEC(1));
        world_carry(&w, 0, 1, 1232);
    }
    rep_ledger_stats(w.node[0].ledger, &s);
    cr_expect_eq(s.commits, commits, "one commit for all of 100 ms");
    world_run(&w, w.now.mono + CV_MSEC(1));
    rep_ledger_stats(w.node[0].ledger, &s);
    cr_expect_eq(s.commits, commits + 1);
    world_crash(&w, 0);
    struct rep_row row;
    cr_assert(world_row(&w, 0, 1, &row));
    cr_expect_eq(row.pending_given, 123200);
    world_done(&w);
}

Test(rep_ledger, a_thousand_rows_are_committed_at_once) {
    struct world w;
    struct rep_stats s;
    world_init(&w, 1, 14, EPOCH, 1000);
    struct cv_addr addr = {.ip = {127, 10, 0, 1}, .port = 1, .family = 4};
    for (unsigned i = 0; i < REP_COMMIT_RECORDS; i++) {
        uint8_t key[CV_KEY] = {1, (uint8_t)i, (uint8_t)(i >> 8)};
        cr_assert_eq(
            rep_ledger_link_up(w.node[0].ledger, w.now, 5000 + i, REP_ROLE_RELAY, key, &addr),
            CV_ERR_OK);
    }
    world_run(&w, w.now.mono + CV_SEC(1));
    rep_ledger_stats(w.node[0].ledger, &s);
    uint64_t commits = s.commits;
    for (unsigned i = 0; i < REP_COMMIT_RECORDS; i++)
        rep_ledger_carried(w.node[0].ledger, w.now, 5000 + i, 1232, 0);
    rep_ledger_stats(w.node[0].ledger, &s);
    cr_expect_eq(s.commits, commits + 1);
    cr_expect_eq(s.pending_given, 1232 * REP_COMMIT_RECORDS);
    world_done(&w);
}

/* ---- forgers, old copies ---- */

static void sign_and_hand(struct world *w, unsigned from, unsigned to, struct rep_record *r) {
    uint8_t body[2 + REP_RECORD] = {2, 1};
    rep_record_sign(r, &w->node[from].cfg.identity_secret, w->node[from].cfg.network_id);
    rep_record_write(r, body + 2);
    w->node[to].last_err =
        rep_ledger_on_message(w->node[to].ledger, w->now, world_link(from), body, sizeof body);
    world_drain(w, to);
}

static struct rep_record claim(const struct world *w, unsigned about, uint64_t given) {
    struct rep_record r;
    memset(&r, 0, sizeof r);
    r.version = REP_RECORD_VERSION;
    r.type = REP_PROPOSAL;
    r.seq = 1;
    memcpy(r.peer, world_key(w, about), CV_KEY);
    r.given = given;
    r.epoch = rep_release_epoch(w->now.wall, EPOCH);
    return r;
}

Test(rep_ledger, a_forger_is_banned_for_thirty_days) {
    struct world w;
    struct rep_stats s;
    world_init(&w, 2, 15, 86400, 1000);
    world_join(&w, 0, 1);
    struct rep_record a = claim(&w, 0, 100), b = claim(&w, 0, 200);
    a.epoch = b.epoch = rep_release_epoch(w.now.wall, 86400);
    sign_and_hand(&w, 1, 0, &a);
    cr_expect_eq(w.node[0].last_err, CV_ERR_OK);
    cr_expect_eq(w.node[0].banned[1], 0);
    sign_and_hand(&w, 1, 0, &b);
    cr_expect_eq(w.node[0].last_err, CV_ERR_DIFFERS);
    cr_expect_eq(w.node[0].banned[1], 1);
    rep_ledger_stats(w.node[0].ledger, &s);
    cr_expect_eq(s.forks, 1);
    world_down(&w, 0, 1);
    world_up(&w, 0, 1);
    cr_expect(!w.node[0].up[1], "its links are refused");
    world_run(&w, w.now.mono + CV_SEC(1));
    world_crash(&w, 0);
    world_up(&w, 0, 1);
    cr_expect(!w.node[0].up[1], "also after a restart");
    world_run(&w, w.now.mono + CV_SEC(86400 * 30));
    world_up(&w, 0, 1);
    cr_expect(w.node[0].up[1], "after thirty days it may come again");
    sign_and_hand(&w, 1, 0, &a);
    b.seq = 2;
    memcpy(b.prev, a.hash, REP_HASH);
    b.given = 300;
    sign_and_hand(&w, 1, 0, &b);
    cr_expect_eq(w.node[0].last_err, CV_ERR_DENIED, "but nothing it signs counts any more");
    world_done(&w);
}

/* A state folder restored from an old copy: a neighbour shows our own newer
 * half-block, and we stop before we fork ourselves. */
Test(rep_ledger, an_old_copy_of_the_state_stops_signing) {
    struct world w;
    world_init(&w, 2, 16, EPOCH, 1000);
    world_join(&w, 0, 1);
    world_carry(&w, 0, 1, 1 << 20);
    world_run(&w, after_release(&w));
    cr_assert_eq(signed_by(&w, 0), 1);
    world_down(&w, 1, 0);
    w.node[0].ledger = rep_ledger_free(w.node[0].ledger);
    w.node[0].memory = rep_store_memory_free(w.node[0].memory);
    w.node[0].memory = rep_store_memory_new();
    w.node[0].store = rep_store_memory_ops(w.node[0].memory);
    world_boot(&w, 0);
    world_join(&w, 0, 1);
    world_carry(&w, 0, 1, 1 << 20);
    world_run(&w, w.now.mono + CV_SEC(60));
    cr_expect_eq(w.node[0].failed, CV_ERR_DIFFERS);
    world_run(&w, after_release(&w));
    cr_expect_eq(signed_by(&w, 0), 0);
    struct rep_stats s;
    rep_ledger_stats(w.node[1].ledger, &s);
    cr_expect_eq(s.forks, 0);
    world_done(&w);
}

/* ---- what neighbours may do ---- */

Test(rep_ledger, a_neighbour_cannot_push_what_nobody_asked_for) {
    struct world w;
    struct rep_stats s;
    world_init(&w, 3, 17, EPOCH, 1000);
    w.loss_permille = 1000;
    world_join(&w, 0, 1);
    struct rep_record about_other = claim(&w, 2, 100);
    sign_and_hand(&w, 1, 0, &about_other);
    cr_expect_eq(w.node[0].last_err, CV_ERR_DENIED);
    struct rep_record future = claim(&w, 0, 100);
    future.epoch += 2;
    sign_and_hand(&w, 1, 0, &future);
    cr_expect_eq(w.node[0].last_err, CV_ERR_STALE);
    struct rep_record r = claim(&w, 0, 1);
    unsigned taken = 0;
    for (unsigned i = 0; i < 3 * REP_RECORDS_PER_EPOCH; i++) {
        sign_and_hand(&w, 1, 0, &r);
        taken += w.node[0].last_err == CV_ERR_OK;
        memcpy(r.prev, r.hash, REP_HASH);
        r.seq++;
    }
    cr_expect_eq(taken, REP_RECORDS_PER_EPOCH);
    cr_expect_eq(w.node[0].last_err, CV_ERR_LIMIT);
    rep_ledger_stats(w.node[0].ledger, &s);
    cr_expect_eq(s.agreements, 0, "nothing was counted: nothing is countersigned");
    world_done(&w);
}

/* Whatever a neighbour proposes, our own chain rises by powers of two of at least what the
 * minimum is rounded to: else it could have us sign octets as they were counted. */
Test(rep_ledger, no_proposal_makes_an_odd_or_small_agreement) {
    static const uint64_t proposed[] = {987654321, (1 << 20) - 1, 1001, 999, 511, 1};
    static const uint64_t want[] = {1 << 29, 1 << 19, 512, 512, 0, 0};
    for (size_t i = 0; i < sizeof proposed / sizeof *proposed; i++) {
        struct world w;
        struct rep_record answer;
        world_init(&w, 2, 18 + i, EPOCH, i == 2 ? 512 : 1000);
        w.loss_permille = 1000;
        world_join(&w, 0, 1);
        struct rep_record r = claim(&w, 0, 1);
        r.given = r.taken = proposed[i];
        world_carry(&w, 0, 1, UINT64_C(4) << 30);
        world_run(&w, w.now.mono + CV_SEC(EPOCH));
        sign_and_hand(&w, 1, 0, &r);
        cr_assert_eq(w.node[0].last_err, CV_ERR_OK);
        const struct rep_store *s = w.node[0].store;
        cr_assert_eq(s->block_answer(s->ctx, &r, &answer), CV_ERR_OK, "of %lu",
                     (unsigned long)proposed[i]);
        cr_expect_eq(answer.given, want[i], "%lu of %lu", (unsigned long)answer.given,
                     (unsigned long)proposed[i]);
        cr_expect_eq(answer.taken, want[i]);
        world_done(&w);
    }
}

/* A minimum that is no power of two: who proposes it rounded down is agreed with. */
Test(rep_ledger, a_minimum_rounded_down_is_agreed_to) {
    struct world w;
    uint64_t each = 0;
    bool least = false;
    world_init(&w, 2, 2, EPOCH, 1400);
    world_join(&w, 0, 1);
    for (unsigned i = 1; i <= 8; i++) {
        uint32_t epoch = rep_release_epoch(w.now.wall, EPOCH);
        world_carry(&w, 0, 1, 1400);
        world_carry(&w, 1, 0, 1400);
        uint64_t amount = expected(&w, 0, 1, 2800, epoch);
        least |= amount == 1024;
        each += amount;
        world_run(&w, after_release(&w));
        expect_row(&w, 0, 1, each, "of the minimum");
        expect_same_claims(&w, 0, 1);
    }
    cr_expect(least);
    world_done(&w);
}

Test(rep_ledger, rows_of_neighbours_are_learnt) {
    struct world w;
    struct rep_edge e;
    world_init(&w, 3, 18, EPOCH, 1000);
    world_join(&w, 0, 1);
    world_join(&w, 1, 2);
    for (unsigned i = 0; i < 4; i++) {
        world_carry(&w, 1, 2, 1 << 20);
        world_run(&w, after_release(&w));
    }
    world_run(&w, w.now.mono + CV_SEC(2 * EPOCH));
    const struct rep_store *a = w.node[0].store, *b = w.node[1].store;
    struct rep_edge at_b;
    cr_assert_eq(a->edge_get(a->ctx, world_key(&w, 1), world_key(&w, 2), &e), CV_ERR_OK);
    cr_assert_eq(b->edge_get(b->ctx, world_key(&w, 1), world_key(&w, 2), &at_b), CV_ERR_OK);
    cr_expect_eq(e.octets, at_b.octets);
    world_done(&w);
}

/* Messages that are not for us change nothing. */
Test(rep_ledger, refused_messages) {
    struct world w;
    struct cv_addr addr = {.ip = {127, 20, 0, 1}, .port = 1, .family = 4};
    uint8_t client[CV_KEY] = {7}, ask[42] = {3};
    world_init(&w, 2, 19, EPOCH, 1000);
    world_join(&w, 0, 1);
    struct rep_ledger *l = w.node[0].ledger;
    cr_assert_eq(rep_ledger_link_up(l, w.now, 7, REP_ROLE_CLIENT, client, &addr), CV_ERR_OK);
    cr_assert_eq(rep_ledger_link_up(l, w.now, 8, REP_ROLE_NAMELESS, NULL, &addr), CV_ERR_OK);
    ask[34] = 1;
    cr_expect_eq(rep_ledger_on_message(l, w.now, 7, ask, sizeof ask), CV_ERR_DENIED);
    cr_expect_eq(rep_ledger_on_message(l, w.now, 8, ask, sizeof ask), CV_ERR_DENIED);
    cr_expect_eq(rep_ledger_on_message(l, w.now, 9, ask, sizeof ask), CV_ERR_NOENT);
    memcpy(ask + 2, world_key(&w, 0), CV_KEY);
    unsigned answered = 0;
    for (unsigned i = 0; i < 2 * REP_ASK_MESSAGES_PER_MINUTE; i++)
        answered += rep_ledger_on_message(l, w.now, world_link(1), ask, sizeof ask) == CV_ERR_OK;
    cr_expect_eq(answered, REP_ASK_MESSAGES_PER_MINUTE);
    cr_expect_eq(rep_ledger_link_up(l, w.now, 7, REP_ROLE_CLIENT, client, &addr), CV_ERR_EXIST);
    cr_expect_eq(rep_ledger_link_up(l, w.now, 10, REP_ROLE_RELAY, world_key(&w, 0), &addr),
                 CV_ERR_INVAL, "our own key");
    world_done(&w);
}

/* ---- clocks ---- */

Test(rep_ledger, octets_are_held_until_the_clock_is_known) {
    struct world w;
    struct rep_row row;
    world_init(&w, 2, 20, EPOCH, 1000);
    struct cv_now unknown = {.mono = w.now.mono};
    struct rep_ledger *l;
    cr_assert_eq(rep_ledger_new(&w.node[0].cfg, w.node[0].store, &w.node[0].rng, unknown, &l),
                 CV_ERR_OK);
    rep_ledger_free(w.node[0].ledger);
    w.node[0].ledger = l;
    struct cv_addr addr = {.ip = {127, 10, 1, 1}, .port = 1, .family = 4};
    cr_assert_eq(
        rep_ledger_link_up(l, unknown, world_link(1), REP_ROLE_RELAY, world_key(&w, 1), &addr),
        CV_ERR_OK);
    rep_ledger_carried(l, unknown, world_link(1), 1000, 2000);
    cr_assert(world_row(&w, 0, 1, &row));
    cr_expect_eq(row.pending_given, 1000);
    cr_expect_eq(row.epoch, 0);
    rep_ledger_carried(l, w.now, world_link(1), 1, 2);
    cr_assert(world_row(&w, 0, 1, &row));
    cr_expect_eq(row.pending_given, 1001);
    cr_expect_eq(row.pending_taken, 2002);
    cr_expect_eq(row.epoch, rep_release_epoch(w.now.wall, EPOCH));
    world_done(&w);
}

/* A clock that was years ahead for a while delays nothing. */
Test(rep_ledger, a_clock_that_was_wrong_delays_no_release) {
    struct world w;
    world_init(&w, 2, 21, EPOCH, 1000);
    world_join(&w, 0, 1);
    uint32_t epoch = rep_release_epoch(w.now.wall, EPOCH);
    struct cv_now wrong = {.mono = w.now.mono, .wall = w.now.wall + 86400 * 3650};
    struct cv_addr addr = {.ip = {127, 40, 0, 1}, .port = 1, .family = 4};
    cr_assert_eq(rep_ledger_link_up(w.node[0].ledger, wrong, 77, REP_ROLE_NAMELESS, NULL, &addr),
                 CV_ERR_OK); /* looks at the calendar */
    rep_ledger_carried(w.node[0].ledger, wrong, world_link(1), 1 << 20, 0);
    rep_ledger_carried(w.node[1].ledger, w.now, world_link(0), 0, 1 << 20);
    world_run(&w, after_release(&w));
    world_run(&w, after_release(&w));
    struct rep_row row;
    cr_assert(world_row(&w, 0, 1, &row));
    cr_expect_eq(row.pending_given, 0);
    cr_expect_eq(row.released_given, expected(&w, 0, 1, 1 << 20, epoch));
    world_done(&w);
}

/* Both have released an epoch when their clocks are set back into it. */
Test(rep_ledger, clocks_that_are_set_back_release_no_epoch_twice) {
    struct world w;
    world_init(&w, 2, 37, EPOCH, 1000);
    world_join(&w, 0, 1);
    uint32_t epoch = rep_release_epoch(w.now.wall, EPOCH);
    world_carry(&w, 0, 1, 1 << 20);
    world_run(&w, after_release(&w));
    for (unsigned i = 0; i < 2; i++)
        cr_assert_eq(signed_by(&w, i), 1);
    w.wall_start -= EPOCH;
    world_set_time(&w, w.now.mono);
    world_down(&w, 0, 1);
    world_down(&w, 1, 0);
    world_join(&w, 0, 1); /* both look at the calendar */
    cr_assert_eq(rep_release_epoch(w.now.wall, EPOCH), epoch);
    world_carry(&w, 0, 1, 1 << 21);
    world_run(&w, w.now.mono + CV_SEC(4 * EPOCH));
    for (unsigned i = 0; i < 2; i++) {
        const struct rep_store *s = w.node[i].store;
        for (uint64_t seq = 1; seq <= 2; seq++) {
            struct rep_record r;
            cr_assert_eq(s->block_get(s->ctx, world_key(&w, i), seq, &r), CV_ERR_OK);
            cr_expect_eq(r.epoch, epoch + seq - 1, "half-block %u of %u", (unsigned)seq, i);
        }
        cr_expect_eq(signed_by(&w, i), 2);
    }
    expect_row(&w, 0, 1,
               expected(&w, 0, 1, 1 << 20, epoch) + expected(&w, 0, 1, 1 << 21, epoch + 1),
               "set back");
    world_done(&w);
}

/* ---- clients ---- */

static enum rep_class class_of(struct world *w, cv_handle link) {
    struct rep_event e;
    while (rep_ledger_poll_event(w->node[0].ledger, &e))
        if (e.kind == REP_EVENT_CLASS && e.link == link)
            cr_expect_eq(e.gate_class, rep_ledger_class(w->node[0].ledger, link));
    return rep_ledger_class(w->node[0].ledger, link);
}

/* Machines whose clock is set by the network, later than the node starts; or was far ahead when
 * the row was closed. */
Test(rep_ledger, what_waited_over_a_start_without_a_clock_is_released) {
    for (unsigned ahead = 0; ahead < 2; ahead++) {
        struct world w;
        world_init(&w, 2, 31 + ahead, EPOCH, 1000);
        world_join(&w, 0, 1);
        uint32_t epoch = rep_release_epoch(w.now.wall, EPOCH);
        world_carry(&w, 0, 1, 1 << 20);
        world_down(&w, 1, 0);
        world_down(&w, 0, 1);
        world_run(&w, after_release(&w)); /* both have closed it */
        struct cv_now start = {.mono = w.now.mono, .wall = ahead ? w.now.wall : 0};
        for (unsigned i = 0; i < 2; i++) {
            struct world_node *n = &w.node[i];
            const struct rep_store *s = n->store;
            struct rep_pending *p;
            size_t rows;
            rep_ledger_flush(n->ledger, w.now);
            rep_ledger_free(n->ledger);
            cr_assert_eq(s->pending_load(s->ctx, &p, &rows), CV_ERR_OK);
            cr_assert_eq(rows, 1);
            p->release_at += ahead * INT64_C(86400) * 3650;
            cr_assert_eq(s->begin(s->ctx, 1), CV_ERR_OK);
            cr_assert_eq(s->pending_put(s->ctx, p), CV_ERR_OK);
            cr_assert_eq(s->commit(s->ctx), CV_ERR_OK);
            free(p);
            cr_assert_eq(rep_ledger_new(&n->cfg, s, &n->rng, start, &n->ledger), CV_ERR_OK);
        }
        world_join(&w, 0, 1);
        world_run(&w, w.now.mono + CV_SEC(2 * EPOCH));
        expect_row(&w, 0, 1, expected(&w, 0, 1, 1 << 20, epoch), ahead ? "ahead" : "unknown");
        world_done(&w);
    }
}

/* Whole epochs ended by a clock that was wrong. */
Test(rep_ledger, rows_closed_by_a_clock_that_was_ahead_hold_nothing_up) {
    struct world w;
    struct rep_row row;
    world_init(&w, 2, 33, EPOCH, 1000);
    world_join(&w, 0, 1);
    struct cv_now wrong = {.mono = w.now.mono, .wall = w.now.wall + INT64_C(86400) * 3650};
    for (unsigned i = 0; i < 3; i++) {
        rep_ledger_carried(w.node[0].ledger, wrong, world_link(1), 1 << 20, 0);
        wrong.wall += EPOCH;
    }
    uint32_t epoch = rep_release_epoch(w.now.wall, EPOCH);
    rep_ledger_carried(w.node[0].ledger, w.now, world_link(1), 1 << 20, 0);
    rep_ledger_carried(w.node[1].ledger, w.now, world_link(0), 0, 4 << 20);
    world_run(&w, after_release(&w));
    world_run(&w, after_release(&w));
    expect_row(&w, 0, 1, expected(&w, 0, 1, 4 << 20, epoch), "all of it is of now");
    cr_assert(world_row(&w, 0, 1, &row));
    cr_expect_eq(row.pending_given, 0);
    world_done(&w);
}

/* Of a client's times the disk has days; of a debt, too, once the hour is over. */
Test(rep_ledger, what_is_kept_of_a_debt_is_its_day) {
    struct world w;
    struct rep_account a;
    struct cv_addr addr = {.ip = {127, 30, 0, 1}, .port = 1, .family = 4};
    uint8_t taker[CV_KEY] = {2}, gone[CV_KEY] = {3};
    world_init(&w, 1, 34, EPOCH, 1000);
    const struct rep_store *s = w.node[0].store;
    struct rep_ledger *l = w.node[0].ledger;
    int64_t began = w.now.wall, day = began - began % 86400;
    cr_assert_eq(rep_ledger_link_up(l, w.now, 1, REP_ROLE_CLIENT, taker, &addr), CV_ERR_OK);
    cr_assert_eq(rep_ledger_link_up(l, w.now, 2, REP_ROLE_CLIENT, gone, &addr), CV_ERR_OK);
    rep_ledger_carried(l, w.now, 1, 80 << 20, 0);
    rep_ledger_carried(l, w.now, 2, 80 << 20, 0);
    world_run(&w, w.now.mono + CV_SEC(3600));
    rep_ledger_carried(l, w.now, 1, 1232, 0);
    rep_ledger_flush(l, w.now);
    cr_assert_eq(s->account_get(s->ctx, taker, &a), CV_ERR_OK);
    cr_expect_eq(a.gate_class, REP_CLASS_DEBT);
    cr_expect_eq(a.debt_since, day);
    cr_assert_eq(s->account_get(s->ctx, gone, &a), CV_ERR_OK);
    cr_expect_eq(a.debt_since, began, "an hour is still to be measured");
    rep_ledger_link_down(l, w.now, 2);
    world_crash(&w, 0);
    l = w.node[0].ledger;
    cr_assert_eq(rep_ledger_link_up(l, w.now, 1, REP_ROLE_CLIENT, taker, &addr), CV_ERR_OK);
    rep_ledger_carried(l, w.now, 1, 1232, 0);
    cr_expect_eq(class_of(&w, 1), REP_CLASS_DEBT, "a restart forgives nothing");
    world_run(&w, w.now.mono + CV_SEC(86400 * 4));
    cr_assert_eq(s->account_get(s->ctx, gone, &a), CV_ERR_OK);
    cr_expect_eq(a.debt_since, day);
    world_done(&w);
}

/* A guard's clock ran years ahead when the client was here. */
Test(rep_ledger, an_account_of_the_future_is_forgotten_after_thirty_days) {
    struct world w;
    struct rep_account a = {.given = 9 << 20, .gate_class = REP_CLASS_GIVER};
    world_init(&w, 1, 35, EPOCH, 1000);
    const struct rep_store *s = w.node[0].store;
    a.last_seen = w.now.wall - w.now.wall % 86400 + INT64_C(86400) * 3650;
    rep_ledger_flush(w.node[0].ledger, w.now);
    cr_assert_eq(s->begin(s->ctx, 1), CV_ERR_OK);
    cr_assert_eq(s->account_put(s->ctx, &a), CV_ERR_OK);
    cr_assert_eq(s->commit(s->ctx), CV_ERR_OK);
    world_run(&w, w.now.mono + CV_SEC(86400 * (REP_ACCOUNT_DAYS - 1)));
    cr_expect_eq(s->account_get(s->ctx, a.client, &a), CV_ERR_OK);
    world_run(&w, w.now.mono + CV_SEC(86400 * 4));
    cr_expect_eq(s->account_get(s->ctx, a.client, &a), CV_ERR_NOENT);
    world_done(&w);
}

/* Of a client that comes back later than that nothing is known, though nobody has swept yet. */
Test(rep_ledger, whoever_comes_back_after_thirty_days_is_new) {
    struct world w;
    struct cv_addr addr = {.ip = {127, 30, 0, 1}, .port = 1, .family = 4};
    world_init(&w, 1, 36, EPOCH, 1000);
    const struct rep_store *s = w.node[0].store;
    struct rep_ledger *l = w.node[0].ledger;
    int64_t day = w.now.wall - w.now.wall % 86400;
    rep_ledger_flush(l, w.now);
    cr_assert_eq(s->begin(s->ctx, 1), CV_ERR_OK);
    for (unsigned i = 0; i < 2; i++) {
        struct rep_account a = {
            .client = {(uint8_t)(2 + i)}, .given = 9 << 20, .gate_class = REP_CLASS_GIVER};
        a.last_seen = day - INT64_C(86400) * (REP_ACCOUNT_DAYS - 1 + i);
        cr_assert_eq(s->account_put(s->ctx, &a), CV_ERR_OK);
    }
    cr_assert_eq(s->commit(s->ctx), CV_ERR_OK);
    for (uint8_t i = 0; i < 2; i++) {
        uint8_t client[CV_KEY] = {(uint8_t)(2 + i)};
        cr_assert_eq(rep_ledger_link_up(l, w.now, 1, REP_ROLE_CLIENT, client, &addr), CV_ERR_OK);
        cr_expect_eq(class_of(&w, 1), i ? REP_CLASS_NEW : REP_CLASS_GIVER, "%u", i);
        rep_ledger_link_down(l, w.now, 1);
    }

    /* A clock that leaps deletes nothing. */
    struct cv_now wrong = {.mono = w.now.mono, .wall = w.now.wall + INT64_C(86400) * 3650};
    uint8_t client[CV_KEY] = {2};
    cr_assert_eq(rep_ledger_link_up(l, wrong, 1, REP_ROLE_CLIENT, client, &addr), CV_ERR_OK);
    cr_expect_eq(class_of(&w, 1), REP_CLASS_GIVER);
    rep_ledger_link_down(l, wrong, 1);
    world_done(&w);
}

Test(rep_ledger, clients_have_classes_and_no_rows) {
    struct world w;
    struct rep_stats s;
    struct rep_row row;
    struct cv_addr addr = {.ip = {127, 30, 0, 1}, .port = 1, .family = 4};
    uint8_t giver[CV_KEY] = {1}, taker[CV_KEY] = {2};
    world_init(&w, 1, 22, EPOCH, 1000);
    struct rep_ledger *l = w.node[0].ledger;
    cr_assert_eq(rep_ledger_link_up(l, w.now, 1, REP_ROLE_CLIENT, giver, &addr), CV_ERR_OK);
    cr_assert_eq(rep_ledger_link_up(l, w.now, 2, REP_ROLE_CLIENT, taker, &addr), CV_ERR_OK);
    cr_assert_eq(rep_ledger_link_up(l, w.now, 3, REP_ROLE_NAMELESS, NULL, &addr), CV_ERR_OK);
    cr_expect_eq(class_of(&w, 1), REP_CLASS_NEW, "newcomers start at once");
    cr_expect_eq(class_of(&w, 2), REP_CLASS_NEW);
    cr_expect_eq(class_of(&w, 3), REP_CLASS_NEW);
    for (unsigned i = 0; i < 100; i++) {
        world_run(&w, w.now.mono + CV_SEC(60));
        rep_ledger_carried(l, w.now, 1, 1 << 20, 2 << 20);
        rep_ledger_carried(l, w.now, 2, 4 << 20, 1 << 10);
        rep_ledger_carried(l, w.now, 3, 4 << 20, 0);
    }
    cr_expect_eq(class_of(&w, 1), REP_CLASS_GIVER);
    cr_expect_eq(class_of(&w, 2), REP_CLASS_DEBT);
    cr_expect_eq(class_of(&w, 3), REP_CLASS_NEW, "nothing is known of it");
    rep_ledger_stats(l, &s);
    cr_expect_eq(s.client_given, 100 * ((UINT64_C(2) << 20) + (1 << 10)));
    cr_expect_eq(s.given + s.taken + s.pending_given, 0, "no public count");
    void *cursor = NULL;
    cr_expect(!rep_ledger_row(l, &cursor, &row), "no client has a row");

    rep_ledger_grant(l, w.now, 2, w.now.mono + CV_SEC(3600));
    cr_expect_eq(class_of(&w, 2), REP_CLASS_TOKEN, "a token goes before debt");
    world_run(&w, w.now.mono + CV_SEC(3600));
    cr_expect_eq(class_of(&w, 2), REP_CLASS_DEBT, "for its hour");

    rep_ledger_flush(l, w.now);
    world_crash(&w, 0);
    l = w.node[0].ledger;
    cr_assert_eq(rep_ledger_link_up(l, w.now, 9, REP_ROLE_CLIENT, taker, &addr), CV_ERR_OK);
    cr_expect_eq(class_of(&w, 9), REP_CLASS_DEBT, "remembered over a restart");
    rep_ledger_link_down(l, w.now, 9);
    world_run(&w, w.now.mono + CV_SEC(86400 * (REP_ACCOUNT_DAYS + 2)));
    cr_assert_eq(rep_ledger_link_up(l, w.now, 9, REP_ROLE_CLIENT, taker, &addr), CV_ERR_OK);
    cr_expect_eq(class_of(&w, 9), REP_CLASS_NEW, "and forgotten after thirty days");
    world_done(&w);
}

Test(rep_ledger, one_network_cannot_open_any_number_of_accounts) {
    struct world w;
    world_init(&w, 1, 23, EPOCH, 1000);
    struct rep_ledger *l = w.node[0].ledger;
    for (unsigned i = 0; i < 2 * REP_ACCOUNTS_PER_NETWORK; i++) {
        struct cv_addr addr = {.ip = {127, 30, 0, (uint8_t)i}, .port = (uint16_t)i, .family = 4};
        uint8_t key[CV_KEY] = {1, (uint8_t)i, (uint8_t)(i >> 8)};
        cr_assert_eq(rep_ledger_link_up(l, w.now, 100 + i, REP_ROLE_CLIENT, key, &addr), CV_ERR_OK);
        rep_ledger_carried(l, w.now, 100 + i, 1000, 1 << 21);
    }
    world_run(&w, w.now.mono + CV_SEC(1));
    for (unsigned i = 0; i < 2 * REP_ACCOUNTS_PER_NETWORK; i++)
        cr_expect_eq(rep_ledger_class(l, 100 + i),
                     i < REP_ACCOUNTS_PER_NETWORK ? REP_CLASS_GIVER : REP_CLASS_NEW);
    for (unsigned i = 0; i < 2 * REP_ACCOUNTS_PER_NETWORK; i++)
        rep_ledger_link_down(l, w.now, 100 + i);
    struct cv_addr addr = {.ip = {127, 30, 0, 9}, .port = 1, .family = 4};
    uint8_t key[CV_KEY] = {9};
    cr_assert_eq(rep_ledger_link_up(l, w.now, 5, REP_ROLE_CLIENT, key, &addr), CV_ERR_OK);
    rep_ledger_carried(l, w.now, 5, 1000, 1 << 21);
    cr_expect_eq(rep_ledger_class(l, 5), REP_CLASS_GIVER, "places come free again");
    world_done(&w);
}

/* ---- weights ---- */

Test(rep_ledger, weight_follows_what_a_neighbour_carried) {
    struct world w;
    world_init(&w, 4, 24, EPOCH, 1000);
    world_join(&w, 0, 1);
    world_join(&w, 0, 2);
    world_join(&w, 0, 3);
    world_run(&w, w.now.mono + CV_SEC(2));
    for (unsigned i = 1; i <= 3; i++)
        cr_expect_eq(w.node[0].weight[i], REP_WEIGHT_MIN, "unknown ones start alike");
    world_carry(&w, 0, 1, 10 << 20);
    world_carry(&w, 0, 2, 1 << 20);
    world_run(&w, after_release(&w));
    cr_expect_gt(w.node[0].weight[1], w.node[0].weight[2]);
    cr_expect_gt(w.node[0].weight[1], REP_WEIGHT_MEAN);
    cr_expect_eq(w.node[0].weight[3], REP_WEIGHT_MIN);
    cr_expect_eq(rep_ledger_weight(w.node[0].ledger, world_link(1)), w.node[0].weight[1]);
    world_done(&w);
}

/* ---- configuration ---- */

Test(rep_ledger, the_worlds_network_has_the_worlds_settings) {
    struct world w;
    world_init(&w, 1, 25, EPOCH, 1000);
    uint8_t culvert[REP_NETWORK_ID];
    rep_ledger_flush(w.node[0].ledger, w.now);
    CV_BLAKE2B(culvert, sizeof culvert, NULL, 0, {"culvert", 7});
    static const struct {
        const char *name;
        bool world;
        uint32_t epoch;
        uint64_t minimum;
        enum cv_err want;
        bool tokens_at_once;
    } rows[] = {
        {"defaults", true, REP_EPOCH_SECONDS, REP_MINIMUM_OCTETS, CV_ERR_OK, false},
        {"slower and coarser", true, 2 * REP_EPOCH_SECONDS, 2 * REP_MINIMUM_OCTETS, CV_ERR_OK,
         false},
        {"a shorter epoch", true, REP_EPOCH_SECONDS - 1, REP_MINIMUM_OCTETS, CV_ERR_DENIED, false},
        {"a smaller minimum", true, REP_EPOCH_SECONDS, REP_MINIMUM_OCTETS - 1, CV_ERR_DENIED,
         false},
        {"tokens that do not wait", true, REP_EPOCH_SECONDS, REP_MINIMUM_OCTETS, CV_ERR_DENIED,
         true},
        {"seconds elsewhere", false, 10, 1024, CV_ERR_OK, false},
        {"tokens that do not wait elsewhere", false, 10, 1024, CV_ERR_OK, true},
        {"no epoch", false, 0, 1024, CV_ERR_INVAL, false},
        {"no minimum", false, 10, 0, CV_ERR_INVAL, false},
        {"two years", false, 2 * REP_EPOCH_SECONDS_MAX, 1024, CV_ERR_INVAL, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct rep_config cfg = w.node[0].cfg;
        struct rep_ledger *l = NULL;
        if (rows[i].world)
            memcpy(cfg.network_id, culvert, sizeof culvert);
        cfg.epoch_seconds = rows[i].epoch;
        cfg.minimum_octets = rows[i].minimum;
        cfg.tokens_at_once = rows[i].tokens_at_once;
        enum cv_err err = rep_ledger_new(&cfg, w.node[0].store, &w.node[0].rng, w.now, &l);
        cr_expect_eq(err, rows[i].want, "%s: '%s'", rows[i].name, cv_strerror(err));
        cr_expect_eq(l != NULL, err == CV_ERR_OK, "%s", rows[i].name);
        rep_ledger_free(l);
    }
    world_done(&w);
}

/* Epochs of seconds and kilobytes, as the demo runs them. */
Test(rep_ledger, a_demo_releases_within_seconds) {
    struct world w;
    world_init(&w, 2, 26, 5, 1024);
    world_join(&w, 0, 1);
    for (unsigned i = 0; i < 40; i++) {
        world_carry(&w, 0, 1, 1232 * 100);
        world_run(&w, w.now.mono + CV_MSEC(500));
    }
    struct rep_row row;
    cr_assert(world_row(&w, 0, 1, &row));
    cr_expect_gt(row.released_given, UINT64_C(1232) * 100 * 10);
    cr_expect_lt(row.pending_given, UINT64_C(1232) * 100 * 20);
    world_done(&w);
}
