/* The timer heap against an unsorted array. */
#include "base/heap.h"

#include "support/model.h"
#include "support/suite.h"

CV_SUITE(heap);

enum { TIMERS = 60 };

struct item {
    struct cv_timer timer;
    cv_usec at;
    uint64_t order; /* model: when it was set */
    bool queued;
};

static struct item *model_earliest(struct item *items) {
    struct item *best = NULL;
    for (int i = 0; i < TIMERS; i++) {
        struct item *it = &items[i];
        if (it->queued &&
            (!best || it->at < best->at || (it->at == best->at && it->order < best->order)))
            best = it;
    }
    return best;
}

Test(heap, same_as_a_list_scanned) {
    for (uint64_t seed = 0; seed < 50; seed++) {
        uint64_t state = seed;
        struct cv_rng rng = model_rng(&state);
        struct item items[TIMERS] = {0};
        struct cv_heap h;
        cv_heap_init(&h, TIMERS);
        for (uint64_t step = 0; step < 2000; step++) {
            struct item *it = &items[cv_rng_below(&rng, TIMERS)];
            switch (cv_rng_below(&rng, 4)) {
            case 0:
            case 1:
                /* few values, so that ties are common */
                it->at = cv_rng_below(&rng, 20);
                it->order = step;
                it->queued = true;
                cr_assert_eq(cv_heap_set(&h, &it->timer, it->at), CV_ERR_OK);
                break;
            case 2:
                it->queued = false;
                if (cv_rng_below(&rng, 2))
                    cv_heap_remove(&h, &it->timer);
                else
                    cr_assert_eq(cv_heap_set(&h, &it->timer, CV_USEC_NEVER), CV_ERR_OK);
                break;
            default: {
                struct item *want = model_earliest(items);
                cv_usec now = cv_rng_below(&rng, 20);
                struct cv_timer *got = cv_heap_pop(&h, now);
                if (!want || want->at > now) {
                    cr_assert_null(got, "seed %lu step %lu", seed, step);
                    break;
                }
                cr_assert_eq(got, &want->timer, "seed %lu step %lu", seed, step);
                want->queued = false;
            }
            }
            struct item *want = model_earliest(items);
            cr_assert_eq(cv_heap_next(&h), want ? want->at : CV_USEC_NEVER);
            cr_assert_eq(cv_heap_first(&h), want ? &want->timer : NULL);
            cr_assert_eq(cv_timer_queued(&it->timer), it->queued);
        }
        cv_heap_done(&h);
        for (int i = 0; i < TIMERS; i++)
            cr_expect_not(cv_timer_queued(&items[i].timer));
    }
}

Test(heap, limit_leaves_everything_as_it_was) {
    struct cv_heap h;
    struct cv_timer a = {0}, b = {0}, c = {0};
    cv_heap_init(&h, 2);
    cr_expect_eq(cv_heap_set(&h, &a, 5), CV_ERR_OK);
    cr_expect_eq(cv_heap_set(&h, &b, 4), CV_ERR_OK);
    cr_expect_eq(cv_heap_set(&h, &c, 1), CV_ERR_LIMIT);
    cr_expect_not(cv_timer_queued(&c));
    cr_expect_eq(cv_heap_next(&h), 4);
    cr_expect_eq(cv_heap_set(&h, &a, 3), CV_ERR_OK, "rescheduling cannot fail");
    cr_expect_null(cv_heap_pop(&h, 2));
    cr_expect_eq(cv_heap_pop(&h, 3), &a);
    cr_expect_eq(cv_heap_set(&h, &c, 1), CV_ERR_OK);
    cv_heap_done(&h);
}
