/*
 * Parameters of circuit handshakes: type u8 | length u8 | value. Unknown types
 * are ignored, so that version N speaks with N - 1; a known type twice, or of
 * the wrong length, is malformed. Type 0 is padding: the rest is zeros.
 *
 *     1 ttl u8      how many hops may still follow; in CREATE, written by
 *                   whoever sends it, never inside the onion
 *     2 suite u8    1 = ChaCha20-Poly1305, 2 = AES-256-GCM (suite.h); end to end
 *     3 version u8  end to end
 */
#ifndef CULVERT_TUNNEL_PARAMS_H
#define CULVERT_TUNNEL_PARAMS_H

#include <stddef.h>
#include <stdint.h>

#include "base/cursor.h"
#include "tunnel/version.h"

enum { TUN_SUITE_CHACHA = 1, TUN_SUITE_AES = 2 };

/* The same as bits of a descriptor's `suites`. */
enum { TUN_SUITES_CHACHA = 1, TUN_SUITES_AES = 2 };

/* 0 = absent, for each. */
struct tun_params {
    uint8_t ttl, suite, version;
};

/* Reads to the end of `r`. *ret untouched on failure. */
enum cv_err tun_params_read(struct cv_rd *r, struct tun_params *ret);

/* Writes what is not 0. */
void tun_params_write(struct cv_wr *w, const struct tun_params *p);

#endif
