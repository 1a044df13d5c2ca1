#include "support/suite.h"

#include "crypto/rng_seeded.h"
#include "dht/ratelimit.h"

CV_SUITE(dht_ratelimit);

static struct cv_rng_seeded seeded;
static struct dht_ratelimit limiter;

static void setup(void) {
    cv_rng_seeded_init(&seeded, 1);
    struct cv_rng rng = cv_rng_seeded(&seeded);
    cr_assert_eq(dht_ratelimit_init(&limiter, &rng), CV_ERR_OK);
}

static void teardown(void) {
    dht_ratelimit_done(&limiter);
}

static struct cv_addr v4(uint8_t a, uint8_t b, uint8_t c, uint8_t d, uint16_t port) {
    return (struct cv_addr){.ip = {a, b, c, d}, .family = 4, .port = port};
}

static unsigned accepted(const struct cv_addr *from, cv_usec now, unsigned tries) {
    unsigned n = 0;
    for (unsigned i = 0; i < tries; i++)
        n += dht_ratelimit_query(&limiter, now, from);
    return n;
}

Test(dht_ratelimit, burst_then_rate, .init = setup, .fini = teardown) {
    struct cv_addr a = v4(11, 1, 1, 1, 1), other_port = v4(11, 1, 1, 1, 2), b = v4(11, 1, 1, 2, 1);
    cr_expect_eq(accepted(&a, 0, 500), DHT_SOURCE_BURST);
    cr_expect_eq(accepted(&other_port, 0, 10), 0, "another port is the same host");
    cr_expect_eq(accepted(&b, 0, 10), 10, "another host is not");
    cr_expect_eq(accepted(&a, CV_SEC(1), 500), DHT_SOURCE_RATE);
}

Test(dht_ratelimit, a_64_is_one_host, .init = setup, .fini = teardown) {
    struct cv_addr a = {.ip = {0x2a, 1, [15] = 1}, .family = 6, .port = 1}, b = a, c = a;
    b.ip[15] = 2;
    c.ip[7] = 1;
    cr_expect_eq(accepted(&a, 0, 500), DHT_SOURCE_BURST);
    cr_expect_eq(accepted(&b, 0, 10), 0);
    cr_expect_eq(accepted(&c, 0, 10), 10);
}

Test(dht_ratelimit, budget_is_per_network_and_larger_for_the_proven, .init = setup,
     .fini = teardown) {
    struct cv_addr a = v4(11, 1, 1, 1, 1), neighbour = v4(11, 1, 1, 200, 1),
                   far = v4(11, 1, 2, 1, 1);
    cr_expect(dht_ratelimit_budget(&limiter, 0, &a, false, DHT_BUDGET_BURST));
    cr_expect_not(dht_ratelimit_budget(&limiter, 0, &neighbour, false, 1));
    cr_expect(dht_ratelimit_budget(&limiter, 0, &far, false, 1));
    cr_expect(dht_ratelimit_budget(&limiter, 0, &neighbour, true, DHT_BUDGET_BURST));
    cr_expect_not(dht_ratelimit_budget(&limiter, CV_SEC(1), &a, false, DHT_BUDGET_RATE + 1));
    cr_expect(dht_ratelimit_budget(&limiter, CV_SEC(1), &a, false, DHT_BUDGET_RATE));
}

Test(dht_ratelimit, proof_lasts_ten_minutes, .init = setup, .fini = teardown) {
    struct cv_addr a = v4(11, 1, 1, 1, 1);
    cr_expect_not(dht_ratelimit_proven(&limiter, 0, &a));
    dht_ratelimit_prove(&limiter, 0, &a);
    cr_expect(dht_ratelimit_proven(&limiter, CV_SEC(599), &a));
    cr_expect_not(dht_ratelimit_proven(&limiter, CV_SEC(600), &a));
}

Test(dht_ratelimit, memory_is_bounded_whoever_asks, .init = setup, .fini = teardown) {
    struct cv_rng rng = cv_rng_seeded(&seeded);
    for (unsigned i = 0; i < 100000; i++) {
        struct cv_addr a = v4(0, 0, 0, 0, 1);
        cv_rng_fill(&rng, a.ip, 4);
        cr_assert(dht_ratelimit_query(&limiter, i, &a));
    }
    cr_expect_leq(limiter.slot_count, DHT_SOURCES);
}
