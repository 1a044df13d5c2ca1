/*
 * What a viewer and a hidden seeder speak through a rendezvous that joins
 * their circuits (docs/protocol/tunnel.md, end-to-end layer): Noise NKpsk0 to
 * the service key of a contact with the swarm's key of the period as psk, so
 * that nobody outside the swarm can even open an introduction; then datagrams
 *
 *     masked number 4 | tag 16 | ciphertext
 *
 * The number is masked with SipHash(mask key, tag), so that a rendezvous sees
 * nothing that counts. All integers little-endian. Secrets inside every
 * struct: wipe with tun_e2e_done().
 */
#ifndef CULVERT_TUNNEL_E2E_H
#define CULVERT_TUNNEL_E2E_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/rng.h"
#include "crypto/aead.h"
#include "crypto/keys.h"
#include "crypto/noise.h"
#include "tunnel/slot.h"
#include "tunnel/window.h"

/* What an introduction asks the seeder to come to. */
struct tun_meeting {
    uint8_t rp[CV_KEY];                    /* identity of the rendezvous point */
    uint8_t d[16];                         /* of its descriptor */
    uint8_t cookie[TUN_RENDEZVOUS_COOKIE]; /* names the meeting there */
};

#define TUN_MEETING     (CV_KEY + 16 + TUN_RENDEZVOUS_COOKIE)
#define TUN_E2E_FLIGHT1 (TUN_MEETING + CV_NOISE_OVERHEAD)
#define TUN_E2E_FLIGHT2 CV_NOISE_OVERHEAD

/* What both sides must agree on before the first flight: the prologue. */
struct tun_e2e_context {
    uint8_t network_id[8];
    uint8_t ip[CV_KEY];   /* introduction point */
    uint8_t auth[CV_KEY]; /* authentication key of the contact */
};

struct tun_e2e_direction_secret {
    uint8_t key[CV_AEAD_KEY];
    uint8_t mask[16];
    uint8_t salt[8];
    uint32_t start; /* 31 bits: wire number of the first datagram */
};

/* An end of a finished handshake. */
struct tun_e2e {
    struct tun_e2e_direction_secret tx_secret, rx_secret;
    uint64_t sent; /* number of the next datagram of ours */
    struct tun_window window;
};

/* Viewer: the first flight. *n carries over to tun_e2e_consume_2(). AUTH: the
 * service key is no key. */
enum cv_err tun_e2e_create_1(struct cv_noise *n, uint8_t out[TUN_E2E_FLIGHT1],
                             const struct tun_e2e_context *ctx,
                             const struct tun_period_secret *keys, const uint8_t service[CV_KEY],
                             const struct tun_meeting *meeting, const struct cv_rng *rng);
/* Seeder: AUTH: not by somebody who knows the swarm in this period, or for
 * another contact; *n and *ret untouched then. */
enum cv_err tun_e2e_consume_1(struct cv_noise *n, struct tun_meeting *ret, const uint8_t *flight,
                              size_t len, const struct tun_e2e_context *ctx,
                              const struct tun_period_secret *keys,
                              const struct cv_x25519_secret *service, const struct cv_rng *rng);
/* Seeder: the answer, and the finished end. */
enum cv_err tun_e2e_create_2(struct cv_noise *n, uint8_t out[TUN_E2E_FLIGHT2], struct tun_e2e *ret);
/* Viewer: AUTH: not by the holder of the service key; nothing changed. */
enum cv_err tun_e2e_consume_2(struct cv_noise *n, const uint8_t *flight, size_t len,
                              struct tun_e2e *ret);

/* Writes len + TUN_E2E_OVERHEAD octets; `out` may be buf - TUN_E2E_OVERHEAD or apart.
 * CLOSED: 2^30 datagrams were sent and the keys are spent: meet anew. */
enum cv_err tun_e2e_seal(struct tun_e2e *e, uint8_t *out, const uint8_t *buf, size_t len);
/* Opens to `out` (which may be buf + TUN_E2E_OVERHEAD): octets, or AUTH, REPLAY,
 * STALE, TRUNCATED, and nothing changed. */
ssize_t tun_e2e_open(struct tun_e2e *e, uint8_t *out, const uint8_t *buf, size_t len);

void tun_e2e_done(struct tun_e2e *e);

#endif
