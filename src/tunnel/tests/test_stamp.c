/* Searching for stamps; that efforts are those of the second implementation: test_e2e.c. */
#include "tunnel/stamp.h"

#include "crypto/hash.h"
#include "crypto/rng_seeded.h"
#include "support/suite.h"

CV_SUITE(tun_stamp, .init = cv_crypto_init);

#define PERIOD 20601

static const uint8_t service[CV_KEY] = {1}, flight[116] = {2};

static void begin(struct tun_stamp_search *s, unsigned effort, uint64_t seed) {
    struct cv_rng_seeded dice;
    cv_rng_seeded_init(&dice, seed);
    const struct cv_rng rng = cv_rng_seeded(&dice);
    tun_stamp_begin(s, effort, service, PERIOD, flight, sizeof flight, &rng);
}

static unsigned shows(const struct tun_stamp_search *s) {
    return tun_stamp_effort(tun_stamp_get(s), service, PERIOD, flight, sizeof flight);
}

Test(tun_stamp, what_is_found_shows_what_was_wanted) {
    for (unsigned effort = 0; effort <= 12; effort++) {
        struct tun_stamp_search s;
        begin(&s, effort, effort);
        cr_expect_eq(s.found, effort == 0);
        while (!tun_stamp_try(&s, 100))
            cr_assert_lt(s.tries, (uint64_t)1 << 20, "effort %u", effort);
        cr_expect_geq(shows(&s), effort);
        cr_expect(effort > 0 || s.tries == 0);
    }
}

/* On average 2^e, as of anything that is no shortcut; and never more at a time than said. */
Test(tun_stamp, it_costs_two_to_the_effort_in_slices) {
    enum { EFFORT = 8, SEARCHES = 200, SLICE = 7 };
    uint64_t tries = 0;
    for (unsigned i = 0; i < SEARCHES; i++) {
        struct tun_stamp_search s;
        begin(&s, EFFORT, 100 + i);
        for (bool found = false; !found;) {
            uint64_t before = s.tries;
            found = tun_stamp_try(&s, SLICE);
            cr_assert(s.tries > before && s.tries - before <= SLICE);
            cr_assert(found || s.tries - before == SLICE);
        }
        tries += s.tries;
    }
    /* 256 each; three sigma of the sum of so many */
    cr_expect(tries > SEARCHES * 200 && tries < SEARCHES * 312, "%lu", tries / SEARCHES);
}

Test(tun_stamp, a_search_that_is_over_stays_over) {
    struct tun_stamp_search s;
    uint8_t stamp[TUN_STAMP];
    begin(&s, 6, 1);
    while (!tun_stamp_try(&s, 10))
        ;
    memcpy(stamp, tun_stamp_get(&s), sizeof stamp);
    uint64_t tries = s.tries;
    cr_expect(tun_stamp_try(&s, 10));
    cr_expect_eq(s.tries, tries);
    cr_expect_arr_eq(tun_stamp_get(&s), stamp, sizeof stamp);
}

/* It is good for one flight to one service in one period. */
Test(tun_stamp, it_is_good_for_nothing_else) {
    struct tun_stamp_search s;
    uint8_t other_service[CV_KEY] = {9}, other_flight[116] = {9};
    begin(&s, 12, 3);
    while (!tun_stamp_try(&s, 1000))
        ;
    const uint8_t *stamp = tun_stamp_get(&s);
    cr_expect_lt(tun_stamp_effort(stamp, other_service, PERIOD, flight, sizeof flight), 12);
    cr_expect_lt(tun_stamp_effort(stamp, service, PERIOD + 1, flight, sizeof flight), 12);
    cr_expect_lt(tun_stamp_effort(stamp, service, PERIOD, other_flight, sizeof flight), 12);
}
