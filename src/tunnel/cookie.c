#include "tunnel/cookie.h"

#include "crypto/hash.h"
#include "crypto/keys.h"

void tun_cookie_jar_init(struct tun_cookie_jar *j, const struct cv_rng *rng, cv_usec now) {
    cv_rng_fill(rng, j->secret, sizeof j->secret);
    j->rotated = now;
}

void tun_cookie_jar_done(struct tun_cookie_jar *j) {
    cv_wipe(j, sizeof *j);
}

void tun_cookie_jar_tick(struct tun_cookie_jar *j, const struct cv_rng *rng, cv_usec now) {
    cv_usec age = cv_usec_since(now, j->rotated);
    if (age < CV_MSEC(TUN_COOKIE_MS))
        return;
    /* After a long sleep the last secret is as stale as the one before it. */
    if (age < CV_MSEC(TUN_COOKIE_MS) * 2)
        for (size_t i = 0; i < sizeof j->secret[0]; i++)
            j->secret[1][i] = j->secret[0][i];
    else
        cv_rng_fill(rng, j->secret[1], sizeof j->secret[1]);
    cv_rng_fill(rng, j->secret[0], sizeof j->secret[0]);
    j->rotated = now;
}

static void make(const uint8_t secret[32], const struct cv_addr *addr, uint8_t ret[TUN_COOKIE]) {
    uint8_t port[2] = {(uint8_t)addr->port, (uint8_t)(addr->port >> 8)};
    CV_BLAKE2B(ret, TUN_COOKIE, secret, 32, {"culvert cookie", 14}, {&addr->family, 1},
               {addr->ip, sizeof addr->ip}, {port, sizeof port});
}

void tun_cookie_make(const struct tun_cookie_jar *j, const struct cv_addr *addr,
                     uint8_t ret[TUN_COOKIE]) {
    make(j->secret[0], addr, ret);
}

void tun_cookie_mac(uint8_t ret[TUN_COOKIE], const uint8_t cookie[TUN_COOKIE], const void *data,
                    size_t len) {
    CV_BLAKE2B(ret, TUN_COOKIE, cookie, TUN_COOKIE, {data, len});
}

bool tun_cookie_check(const struct tun_cookie_jar *j, const struct cv_addr *addr,
                      const uint8_t mac[TUN_COOKIE], const void *data, size_t len) {
    bool ok = false;
    for (unsigned i = 0; i < 2 && !ok; i++) {
        uint8_t cookie[TUN_COOKIE], want[TUN_COOKIE];
        make(j->secret[i], addr, cookie);
        tun_cookie_mac(want, cookie, data, len);
        ok = cv_equal(want, mac, sizeof want);
    }
    return ok;
}
