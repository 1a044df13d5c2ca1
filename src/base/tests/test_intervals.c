/* The interval set against 64 bits, also at both ends of its range. */
#include "base/intervals.h"

#include "support/model.h"
#include "support/suite.h"

CV_SUITE(intervals);

enum { BITS = 64 };

static bool bit(uint64_t model, uint64_t i) {
    return model >> i & 1;
}

/* Bits of the model stand for base .. base + 63. */
static void check(const struct cv_intervals *s, uint64_t model, uint64_t base) {
    size_t runs = 0;
    for (uint64_t i = 0; i < BITS; i++) {
        cr_assert_eq(cv_intervals_has(s, base + i), bit(model, i));
        runs += bit(model, i) && (i == 0 || !bit(model, i - 1));
    }
    cr_assert_eq(cv_intervals_count(s), runs);
    cr_assert_eq(cv_intervals_total(s), (uint64_t)__builtin_popcountll(model));
    for (size_t i = 0; i < runs; i++) {
        struct cv_interval it = cv_intervals_at(s, i);
        cr_assert_leq(it.first, it.last);
        if (i)
            cr_assert_gt(it.first - 1, cv_intervals_at(s, i - 1).last, "adjacent");
    }
}

static void check_queries(const struct cv_intervals *s, uint64_t model, uint64_t base,
                          const struct cv_rng *rng) {
    uint64_t from = cv_rng_below(rng, BITS), to = cv_rng_between(rng, from, BITS - 1);
    bool all = true;
    for (uint64_t i = from; i <= to; i++)
        all = all && bit(model, i);
    cr_assert_eq(cv_intervals_covers(s, base + from, base + to), all);

    uint64_t gap = from;
    while (gap < BITS && bit(model, gap))
        gap++;
    struct cv_interval it = {1, 2};
    bool found = cv_intervals_gap(s, base + from, &it);
    if (gap == BITS && base + (BITS - 1) == UINT64_MAX) {
        cr_assert_not(found);
        cr_assert(it.first == 1 && it.last == 2, "result touched");
        return;
    }
    cr_assert(found);
    cr_assert_eq(it.first, base + gap);
    while (gap < BITS && !bit(model, gap))
        gap++;
    cr_assert_eq(it.last, gap == BITS ? UINT64_MAX : base + gap - 1);
}

static void random_operations(uint64_t seed, uint64_t base, size_t max) {
    uint64_t state = seed;
    struct cv_rng rng = model_rng(&state);
    struct cv_intervals s;
    uint64_t model = 0;
    cv_intervals_init(&s, max);
    for (int step = 0; step < 1000; step++) {
        uint64_t first = cv_rng_below(&rng, BITS), last = first + cv_rng_below(&rng, 8);
        last = last < BITS ? last : BITS - 1;
        uint64_t mask = (last - first == 63 ? ~0ull : (1ull << (last - first + 1)) - 1) << first;
        bool add = cv_rng_below(&rng, 2);
        uint64_t next = add ? model | mask : model & ~mask;
        enum cv_err err = add ? cv_intervals_add(&s, base + first, base + last)
                              : cv_intervals_remove(&s, base + first, base + last);
        size_t runs = (size_t)__builtin_popcountll(next & ~(next << 1));
        cr_assert_eq(err, runs > max ? CV_ERR_LIMIT : CV_ERR_OK);
        if (!err)
            model = next;
        check(&s, model, base);
        check_queries(&s, model, base, &rng);
        if (cv_rng_below(&rng, 200) == 0) {
            cv_intervals_clear(&s);
            model = 0;
        }
    }
    cv_intervals_done(&s);
}

Test(intervals, same_as_a_bitmap) {
    for (uint64_t seed = 0; seed < 20; seed++) {
        random_operations(seed, 0, BITS);
        random_operations(seed, UINT64_MAX - 63, BITS);
        random_operations(seed, 1000, 3);
        random_operations(seed, 1000, 1);
    }
}

Test(intervals, whole_range) {
    struct cv_intervals s;
    struct cv_interval it;
    cv_intervals_init(&s, 2);
    cr_expect_not(cv_intervals_has(&s, 0));
    cr_expect(cv_intervals_gap(&s, 5, &it) && it.first == 5 && it.last == UINT64_MAX);
    cr_expect_eq(cv_intervals_add(&s, 0, UINT64_MAX), CV_ERR_OK);
    cr_expect_eq(cv_intervals_total(&s), UINT64_MAX, "saturates");
    cr_expect_not(cv_intervals_gap(&s, 0, &it));
    cr_expect_eq(cv_intervals_remove(&s, 7, 7), CV_ERR_OK);
    cr_expect_eq(cv_intervals_remove(&s, 9, 9), CV_ERR_LIMIT);
    cr_expect(cv_intervals_has(&s, 9));
    cr_expect(cv_intervals_find(&s, 8, &it) && it.first == 8 && it.last == UINT64_MAX);
    cv_intervals_done(&s);
}
