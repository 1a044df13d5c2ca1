/*
 * Stateless cookies (tunnel.md section 4, after WireGuard): proof that whoever
 * asks receives at the address it asks from. cookie = BLAKE2b-128(key = secret,
 * address); the secret is replaced every 120 s and its predecessor accepted for
 * as long again. Nothing is kept per address.
 */
#ifndef CULVERT_TUNNEL_COOKIE_H
#define CULVERT_TUNNEL_COOKIE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/endpoint.h"
#include "base/rng.h"
#include "base/time.h"
#include "tunnel/limits.h"

struct tun_cookie_jar {
    uint8_t secret[2][32]; /* [0] makes cookies, both check them */
    cv_usec rotated;
};

void tun_cookie_jar_init(struct tun_cookie_jar *j, const struct cv_rng *rng, cv_usec now);
void tun_cookie_jar_done(struct tun_cookie_jar *j);

/* Rotates when it is time; cheap otherwise. Call before the two below. */
void tun_cookie_jar_tick(struct tun_cookie_jar *j, const struct cv_rng *rng, cv_usec now);

void tun_cookie_make(const struct tun_cookie_jar *j, const struct cv_addr *addr,
                     uint8_t ret[TUN_COOKIE]);

/* Was `mac` made over data with a cookie that we gave to `addr`? */
bool tun_cookie_check(const struct tun_cookie_jar *j, const struct cv_addr *addr,
                      const uint8_t mac[TUN_COOKIE], const void *data, size_t len);

/* What the holder of a cookie sends. */
void tun_cookie_mac(uint8_t ret[TUN_COOKIE], const uint8_t cookie[TUN_COOKIE], const void *data,
                    size_t len);

#endif
