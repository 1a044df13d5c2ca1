/* Runs: datagrams of one size to one endpoint, in order, join; nothing else does. */
#include "base/batch.h"

#include "support/suite.h"

CV_SUITE(batch);

enum { SLOTS = 200, STRIDE = 64, HEADROOM = 16 };

static uint8_t arena[SLOTS * STRIDE];
static struct cv_run runs[SLOTS];

static struct cv_endpoint to(unsigned i) {
    return cv_endpoint_link(i + 1);
}

static bool add(struct cv_batch *b, unsigned endpoint, uint16_t size, uint8_t mark) {
    uint8_t *at = cv_batch_slot(b);
    if (!at)
        return false;
    cr_assert_eq(at, cv_batch_slot(b), "asking again changes nothing");
    memset(at, mark, size);
    struct cv_endpoint ep = to(endpoint);
    cv_batch_commit(b, &ep, size);
    return true;
}

Test(batch, joins_equal_neighbours_only) {
    static const struct {
        unsigned to;
        uint16_t size;
        uint32_t runs; /* after it */
    } steps[] = {{0, 40, 1}, {0, 40, 1}, {0, 39, 2}, {0, 40, 3},
                 {1, 40, 4}, {1, 40, 4}, {0, 40, 5}, {0, 40, 5}};
    struct cv_batch b = cv_batch_init(arena, SLOTS, STRIDE, HEADROOM, runs, SLOTS);
    cr_assert_eq(cv_batch_room(&b), STRIDE - HEADROOM);
    for (unsigned i = 0; i < sizeof steps / sizeof *steps; i++) {
        cr_assert(add(&b, steps[i].to, steps[i].size, (uint8_t)i));
        cr_expect_eq(b.runs_used, steps[i].runs, "step %u", i);
    }

    uint8_t mark = 0;
    for (uint32_t r = 0; r < b.runs_used; r++)
        for (uint16_t i = 0; i < b.runs[r].count; i++, mark++) {
            const uint8_t *at = cv_batch_at(&b, &b.runs[r], i);
            cr_expect_eq(at[0], mark);
            cr_expect_eq(at[b.runs[r].size - 1], mark);
            struct cv_endpoint ep = to(steps[mark].to);
            cr_expect(cv_endpoint_equal(&b.runs[r].to, &ep));
        }
    cr_expect_eq(mark, 8, "every datagram is in a run once, in order");
}

Test(batch, run_ends_at_the_segmentation_limit) {
    struct cv_batch b = cv_batch_init(arena, SLOTS, STRIDE, HEADROOM, runs, SLOTS);
    for (unsigned i = 0; i < 2 * CV_RUN_MAX + 1; i++)
        add(&b, 0, 10, 0);
    cr_expect_eq(b.runs_used, 3);
    cr_expect_eq(runs[0].count, CV_RUN_MAX);
    cr_expect_eq(runs[1].first, CV_RUN_MAX);
    cr_expect_eq(runs[2].count, 1);
}

Test(batch, full_by_slots_or_by_runs) {
    struct cv_batch b = cv_batch_init(arena, 3, STRIDE, 0, runs, SLOTS);
    cr_expect_eq(cv_batch_room(&b), STRIDE);
    for (int i = 0; i < 3; i++)
        cr_expect(add(&b, 0, STRIDE, 1));
    cr_expect_null(cv_batch_slot(&b));
    cv_batch_clear(&b);
    cr_expect_eq(cv_batch_slot(&b), arena);

    b = cv_batch_init(arena, SLOTS, STRIDE, 0, runs, 2);
    cr_expect(add(&b, 0, 1, 0));
    cr_expect(add(&b, 1, 1, 0));
    cr_expect_null(cv_batch_slot(&b));
}
