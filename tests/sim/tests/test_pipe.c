/* Rate and queue arithmetic. */
#include "sim/pipe.h"

#include "support/model.h"
#include "support/suite.h"

CV_SUITE(pipe);

Test(pipe, exact_times) {
    /* 1 Mbit/s: an octet takes 8 us */
    struct sim_pipe p = {.rate = 1000000};
    cv_usec at;
    cr_assert(sim_pipe_send(&p, 100, 125, &at));
    cr_expect_eq(at, 1100);
    cr_assert(sim_pipe_send(&p, 100, 125, &at));
    cr_expect_eq(at, 2100, "behind the first");
    cr_expect_eq(sim_pipe_backlog(&p, 100), 250);
    cr_expect_eq(sim_pipe_backlog(&p, 1100), 125);
    cr_expect_eq(sim_pipe_backlog(&p, 1101), 125, "rounded up");
    cr_expect_eq(sim_pipe_backlog(&p, 2100), 0);
    cr_assert(sim_pipe_send(&p, 5000, 1, &at));
    cr_expect_eq(at, 5008, "idle in between");
}

Test(pipe, fractions_are_carried) {
    /* 3 bit/s: an octet takes 2 666 666 2/3 us; three take exactly 8 s. */
    struct sim_pipe p = {.rate = 3};
    cv_usec at;
    static const cv_usec want[] = {2666667, 5333334, 8000000, 10666667};
    for (int i = 0; i < 4; i++) {
        cr_assert(sim_pipe_send(&p, 0, 1, &at));
        cr_expect_eq(at, want[i]);
    }
}

Test(pipe, drop_tail) {
    struct sim_pipe p = {.rate = 8000000, .queue = 3000}; /* an octet takes 1 us */
    cv_usec at;
    cr_expect(sim_pipe_send(&p, 0, 1500, &at));
    cr_expect(sim_pipe_send(&p, 0, 1500, &at));
    cr_expect_not(sim_pipe_send(&p, 0, 1, &at), "full");
    cr_expect_eq(at, 3000, "untouched");
    cr_expect_not(sim_pipe_send(&p, 9, 10, &at));
    cr_expect(sim_pipe_send(&p, 10, 10, &at), "10 octets have left");
    cr_expect_eq(at, 3010);
    cr_expect_not(sim_pipe_send(&p, 5000, 3001, &at), "larger than the queue");
}

Test(pipe, no_rate_is_no_limit) {
    struct sim_pipe p = {.queue = 1};
    cv_usec at;
    cr_expect(sim_pipe_send(&p, 77, 1 << 30, &at));
    cr_expect_eq(at, 77);
    cr_expect_eq(sim_pipe_backlog(&p, 0), 0);
}

/* Over any stretch in which it is busy, a pipe carries exactly its rate. */
Test(pipe, conserves) {
    for (uint64_t seed = 0; seed < 200; seed++) {
        uint64_t state = seed;
        struct cv_rng rng = model_rng(&state);
        struct sim_pipe p = {.rate = cv_rng_between(&rng, 1, 1000000000)};
        uint64_t octets = 0;
        cv_usec at = 0;
        for (int i = 0; i < 1000; i++) {
            uint64_t len = cv_rng_between(&rng, 1, 1500);
            cr_assert(sim_pipe_send(&p, 0, len, &at));
            octets += len;
            cr_assert_eq(at, (octets * 8000000 + p.rate - 1) / p.rate);
            cr_assert_eq(sim_pipe_backlog(&p, 0), octets);
        }
    }
}
