/* Token bucket: exact over any partition of time. */
#include "base/tokenbucket.h"

#include "support/model.h"
#include "support/suite.h"

CV_SUITE(tokenbucket);

Test(tokenbucket, starts_full_and_refills_exactly) {
    struct cv_tokenbucket b;
    cv_tokenbucket_init(&b, 3, 10, 0);
    cr_expect(cv_tokenbucket_take(&b, 0, 10));
    cr_expect_not(cv_tokenbucket_take(&b, 0, 1));
    cr_expect_eq(cv_tokenbucket_ready(&b, 0, 1), 333334);
    cr_expect_not(cv_tokenbucket_take(&b, 333333, 1));
    cr_expect(cv_tokenbucket_take(&b, 333334, 1));
    cr_expect_eq(cv_tokenbucket_ready(&b, 333334, 1), 666667, "the fraction was kept");
    cr_expect(cv_tokenbucket_take(&b, CV_SEC(1), 2));
    cr_expect_eq(cv_tokenbucket_ready(&b, CV_SEC(1), 10), CV_SEC(1) + 3333334);
}

Test(tokenbucket, never_more_than_rate_and_never_less) {
    for (uint64_t seed = 0; seed < 50; seed++) {
        uint64_t state = seed;
        struct cv_rng rng = model_rng(&state);
        struct cv_tokenbucket b;
        uint64_t rate = cv_rng_between(&rng, 1, 5000000), taken = 0;
        cv_usec now = 1000, start = now;
        cv_tokenbucket_init(&b, rate, 100, now);
        cr_assert(cv_tokenbucket_take(&b, now, 100));
        for (int i = 0; i < 500; i++) {
            /* always exactly when it says; sometimes looking in between */
            uint64_t n = cv_rng_between(&rng, 1, 100);
            cv_usec at = cv_tokenbucket_ready(&b, now, n);
            if (at > now + 1)
                cr_assert_not(cv_tokenbucket_take(&b, cv_rng_between(&rng, now, at - 1), n));
            cr_assert(cv_tokenbucket_take(&b, at, n));
            taken += n;
            now = at;
            /* taken = ceil-exact: one microsecond less would not have sufficed */
            cr_assert_leq(taken * 1000000, (now - start) * rate);
        }
        cr_assert_gt(taken * 1000000 + 100 * 1000000, (now - start) * rate);
    }
}

Test(tokenbucket, corners) {
    struct cv_tokenbucket b;
    cv_tokenbucket_init(&b, 0, 5, 0);
    cr_expect(cv_tokenbucket_take(&b, 1, 5));
    cr_expect_not(cv_tokenbucket_take(&b, UINT64_MAX - 1, 1));
    cr_expect_eq(cv_tokenbucket_ready(&b, UINT64_MAX - 1, 1), CV_USEC_NEVER);

    cv_tokenbucket_init(&b, UINT64_MAX, 0, 0);
    cr_expect(cv_tokenbucket_take(&b, 0, UINT64_MAX), "no limit");
    cr_expect_eq(cv_tokenbucket_ready(&b, 7, UINT64_MAX), 7);

    cv_tokenbucket_init(&b, UINT64_MAX - 1, UINT64_MAX, 0);
    cr_expect(cv_tokenbucket_take(&b, UINT64_MAX - 1, UINT64_MAX), "no overflow");
    cr_expect_not(cv_tokenbucket_take(&b, 5, 1), "time going back gives nothing");
    cr_expect_eq(cv_tokenbucket_ready(&b, 0, 6) >= UINT64_MAX - 1, true);

    cv_tokenbucket_init(&b, 10, 5, 0);
    cr_expect_eq(cv_tokenbucket_ready(&b, 0, 6), CV_USEC_NEVER, "more than it ever holds");
    cr_expect_eq(cv_tokenbucket_ready(&b, 0, 0), 0);
}
