/* Rate limits by network: bursts, refill, and floods from many networks. */
#include "crypto/rng_seeded.h"
#include "support/suite.h"
#include "tunnel/admission.h"

CV_SUITE(tun_admission);

static struct cv_addr addr(uint8_t a, uint8_t b, uint8_t c, uint8_t d) {
    return (struct cv_addr){.ip = {a, b, c, d}, .port = 4000, .family = 4};
}

static struct tun_admission *fresh(void) {
    static struct tun_admission a;
    struct cv_rng_seeded seed;
    cv_rng_seeded_init(&seed, 5);
    struct cv_rng rng = cv_rng_seeded(&seed);
    tun_admission_init(&a, &rng, CV_SEC(1));
    return &a;
}

static unsigned burst(struct tun_admission *a, struct cv_addr from, cv_usec now) {
    unsigned n = 0;
    while (n < 10000 && tun_admit(a, TUN_ADMIT_CLAIMED, &from, now))
        n++;
    return n;
}

Test(tun_admission, a_network_has_a_burst_and_a_rate) {
    struct tun_admission *a = fresh();
    cr_expect_eq(burst(a, addr(1, 2, 3, 4), CV_SEC(1)), 50);
    cr_expect_eq(burst(a, addr(1, 2, 3, 200), CV_SEC(1)), 0, "the same /24");
    cr_expect_eq(burst(a, addr(1, 2, 4, 4), CV_SEC(1)), 50, "another /24");
    cr_expect_eq(burst(a, addr(1, 2, 3, 4), CV_SEC(2)), 10);
    cr_expect_eq(burst(a, addr(1, 2, 3, 4), CV_SEC(1000)), 50);
}

Test(tun_admission, load_shows_after_the_burst_of_everybody_and_passes) {
    struct tun_admission *a = fresh();
    unsigned n = 0;
    while (n < 10000 && !tun_admission_loaded(a, CV_SEC(1)))
        n++;
    cr_expect_eq(n, 200);
    cr_expect_not(tun_admission_loaded(a, CV_SEC(2)));
}

Test(tun_admission, describes_have_a_common_limit) {
    struct tun_admission *a = fresh();
    unsigned n = 0;
    for (unsigned i = 0; i < 5000; i++) {
        struct cv_addr from = addr((uint8_t)(1 + i / 200), (uint8_t)i, (uint8_t)(i / 7), 1);
        n += tun_admit(a, TUN_ADMIT_DESCRIBE, &from, CV_SEC(1));
    }
    cr_expect_eq(n, 1000);
}
