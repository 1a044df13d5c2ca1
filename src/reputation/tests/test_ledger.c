/*
 * The ledger among others. Goals: an epoch's octets become one row at both
 * ends, the same there, whatever the links do; nothing signed is lost, doubled
 * or forked over crashes; who forges is banned; newcomers start at once.
 * Method: real ledgers over memory stores in virtual time, many seeds.
 */
#include "support/suite.h"

#include "reputation/chain.h"
#include "reputation/release.h"
#include "reputation/tests/world.h"

CV_SUITE(rep_ledger);

enum { EPOCH = 700 };

static uint64_t expected(const struct world *w, unsigned a, unsigned b, uint64_t octets,
                         uint32_t epoch) {
    uint8_t secret[CV_KEY];
    rep_release_secret(secret, &w->node[a].cfg.identity_secret, world_key(w, b),
                       w->node[a].cfg.network_id);
    return rep_release_amount(octets, rep_release_dither(secret, epoch),
                              w->node[a].cfg.minimum_octets);
}

/* Both ends hold the same row. */
static void expect_row(struct world *w, unsigned a, unsigned b, uint64_t a_gave, uint64_t b_gave,
                       const char *name) {
    struct rep_row at_a, at_b;
    cr_assert(world_row(w, a, b, &at_a) && world_row(w, b, a, &at_b), "%s: no row", name);
    cr_expect_eq(at_a.released_given, a_gave, "%s: %lu not %lu", name,
                 (unsigned long)at_a.released_given, (unsigned long)a_gave);
    cr_expect_eq(at_a.released_taken, b_gave, "%s", name);
    cr_expect_eq(at_b.released_given, b_gave, "%s", name);
    cr_expect_eq(at_b.released_taken, a_gave, "%s", name);
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
    expect_row(&w, 0, 1, expected(&w, 0, 1, 1232 * 4000, epoch),
               expected(&w, 0, 1, 1232 * 300, epoch), "row");
    cr_expect(world_row(&w, 0, 1, &row));
    cr_expect_eq(row.pending_given, 0);
    cr_expect_eq(signed_by(&w, 0), 1, "one half-block a release");
    cr_expect_eq(signed_by(&w, 1), 1);
    world_done(&w);
}
