#include "tunnel/cookie.h"

#include "crypto/hash.h"
#include "crypto/rng_seeded.h"
#include "support/suite.h"

CV_SUITE(tunnel_cookie);

static const struct cv_addr addr = {.ip = {192, 0, 2, 7}, .port = 4242, .family = 4};

/* A cookie given at `given` is presented at `shown`; ticks happen only then. */
/* clang-format off */
static const struct {
    const char *name;
    cv_usec given, shown;
    bool want;
} times[] = {
    { "at once",                 CV_SEC(5),   CV_SEC(5),   true },
    { "after one rotation",      CV_SEC(119), CV_SEC(121), true },
    { "just under two",          CV_SEC(0),   CV_SEC(239), true },
    { "nobody came for so long", CV_SEC(0),   CV_SEC(240), false },
};
/* clang-format on */

static bool check(const struct tun_cookie_jar *j, const struct cv_addr *a,
                  const uint8_t cookie[TUN_COOKIE]) {
    uint8_t mac[TUN_COOKIE];
    tun_cookie_mac(mac, cookie, "data", 4);
    return tun_cookie_check(j, a, mac, "data", 4);
}

Test(tunnel_cookie, lifetime_table) {
    struct cv_rng_seeded seeded;
    cv_rng_seeded_init(&seeded, 1);
    struct cv_rng rng = cv_rng_seeded(&seeded);
    for (size_t i = 0; i < sizeof times / sizeof *times; i++) {
        struct tun_cookie_jar jar;
        uint8_t cookie[TUN_COOKIE];
        tun_cookie_jar_init(&jar, &rng, 0);
        tun_cookie_jar_tick(&jar, &rng, times[i].given);
        tun_cookie_make(&jar, &addr, cookie);
        tun_cookie_jar_tick(&jar, &rng, times[i].shown);
        cr_expect_eq(check(&jar, &addr, cookie), times[i].want, "%s", times[i].name);
        tun_cookie_jar_done(&jar);
    }
}

Test(tunnel_cookie, two_rotations_end_it) {
    struct cv_rng_seeded seeded;
    cv_rng_seeded_init(&seeded, 1);
    struct cv_rng rng = cv_rng_seeded(&seeded);
    struct tun_cookie_jar jar;
    uint8_t cookie[TUN_COOKIE];
    tun_cookie_jar_init(&jar, &rng, 0);
    tun_cookie_make(&jar, &addr, cookie);
    tun_cookie_jar_tick(&jar, &rng, CV_SEC(120));
    cr_expect(check(&jar, &addr, cookie));
    tun_cookie_jar_tick(&jar, &rng, CV_SEC(240));
    cr_expect_not(check(&jar, &addr, cookie));
}

Test(tunnel_cookie, bound_to_the_whole_address) {
    struct cv_rng_seeded seeded;
    cv_rng_seeded_init(&seeded, 1);
    struct cv_rng rng = cv_rng_seeded(&seeded);
    struct tun_cookie_jar jar;
    uint8_t cookie[TUN_COOKIE];
    tun_cookie_jar_init(&jar, &rng, 0);
    tun_cookie_make(&jar, &addr, cookie);
    struct cv_addr other[3] = {addr, addr, addr};
    other[0].port ^= 0x100;
    other[1].ip[3] ^= 1;
    other[2].family = 6;
    for (unsigned i = 0; i < 3; i++)
        cr_expect_not(check(&jar, &other[i], cookie), "%u", i);
}
