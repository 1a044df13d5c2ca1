/*
 * Link handshake (tunnel.md section 4): Noise NK to the responder's link key of
 * the day, in two datagrams of 1232 octets without a constant octet.
 *
 * flight 1:   0..15   mac1 = BLAKE2b-128(mac key, octets 16..127)
 *            16..31   mac2 = MAC under a cookie, or random
 *            32..63   Noise ephemeral, masked, top bit random
 *            64..67   initiator's receiver index, masked
 *            68..1231 Noise payload: index u32 | zeros; tag
 * flight 2:   0..3    initiator's receiver index
 *             4..35   Noise ephemeral, masked, top bit random
 *            36..1231 Noise payload: index u32 of the responder | zeros; tag
 * cookie:     0..3    initiator's receiver index
 *             4..27   nonce
 *            28..1231 XChaCha20-Poly1305 of (cookie 16 | zeros), tag; ad = mac1
 *
 * Octets 32..67 of flight 1 are XORed with ChaCha20(mask key, mac2[0..11]);
 * mac2 is computed before masking over octets 32..127. The responder's order of
 * work: length, mac1, (under load) mac2 or a cookie, Noise. No answer is longer
 * than its question, and whoever does not know the link key gets none.
 *
 * Prologue: "culvert link" | version u8 | network id 8. The key of mac1 is another one
 * for each version, so that a responder knows by one short hash which is spoken, and
 * the prologue binds it: who puts another mac1 there gets a handshake that fails.
 */
#ifndef CULVERT_TUNNEL_LINKHS_H
#define CULVERT_TUNNEL_LINKHS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/endpoint.h"
#include "base/err.h"
#include "base/rng.h"
#include "crypto/keys.h"
#include "crypto/noise.h"
#include "tunnel/cell.h"
#include "tunnel/cookie.h"
#include "tunnel/limits.h"
#include "tunnel/version.h"

/* A responder as others see it; computed once for each link key. */
struct tun_linkhs_peer {
    uint8_t link_key[CV_KEY];
    uint8_t network_id[TUN_NETWORK_ID];
    uint8_t version;                         /* the highest that is spoken with it, and by it */
    uint8_t mac_key[32], mac_key_before[32]; /* of that version, and of the one before */
    uint8_t mask_key[32], cookie_key[32];
};

void tun_linkhs_peer_init(struct tun_linkhs_peer *p, const uint8_t link_key[CV_KEY],
                          const uint8_t network_id[TUN_NETWORK_ID]);
/* Speaks this version (> 0) instead of TUN_VERSION. */
void tun_linkhs_peer_speaks(struct tun_linkhs_peer *p, uint8_t version);

/* One handshake under way, either side. Wipe with tun_linkhs_done. */
struct tun_linkhs {
    struct cv_noise noise;
    uint8_t mac1[16];      /* of our flight 1: a cookie answers exactly that */
    uint32_t local_index;  /* who we are to the other side */
    uint32_t remote_index; /* known after consume_* */
    uint8_t version;       /* that is spoken */
};

/* Initiator. `cookie` is NULL or what tun_linkhs_consume_cookie gave us not
 * longer than 120 s ago. Repeating a lost flight: create a new one. */
enum cv_err tun_linkhs_create_1(struct tun_linkhs *hs, const struct tun_linkhs_peer *peer,
                                uint32_t local_index, const uint8_t *cookie,
                                const struct cv_rng *rng, uint8_t datagram[TUN_DATAGRAM]);

/* Responder: is this a flight 1 for `self`, in its version or the one before? Which, or
 * 0. No state, one short hash for each of them. */
uint8_t tun_linkhs_is_flight_1(const struct tun_linkhs_peer *self,
                               const uint8_t datagram[TUN_DATAGRAM]);

/* Responder under load: does it carry a cookie for the address it came from? */
bool tun_linkhs_has_cookie(const struct tun_linkhs_peer *self, const struct tun_cookie_jar *jar,
                           const struct cv_addr *from, const uint8_t datagram[TUN_DATAGRAM]);

/* ... if not: the answer to it. */
void tun_linkhs_create_cookie(const struct tun_linkhs_peer *self, const struct tun_cookie_jar *jar,
                              const struct cv_addr *from, const uint8_t flight1[TUN_DATAGRAM],
                              const struct cv_rng *rng, uint8_t datagram[TUN_DATAGRAM]);

/* Responder, after tun_linkhs_is_flight_1. CV_ERR_AUTH: forged. */
enum cv_err tun_linkhs_consume_1(struct tun_linkhs *hs, const struct tun_linkhs_peer *self,
                                 const struct cv_x25519_secret *link_secret,
                                 const struct cv_rng *rng, const uint8_t datagram[TUN_DATAGRAM]);

enum cv_err tun_linkhs_create_2(struct tun_linkhs *hs, uint32_t local_index,
                                const struct cv_rng *rng, uint8_t datagram[TUN_DATAGRAM]);

/* Initiator, for a datagram with our index. CV_ERR_AUTH: neither changes
 * anything; a forged one must not end the wait for the real one. */
enum cv_err tun_linkhs_consume_2(struct tun_linkhs *hs, const uint8_t datagram[TUN_DATAGRAM]);
enum cv_err tun_linkhs_consume_cookie(const struct tun_linkhs *hs,
                                      const struct tun_linkhs_peer *peer,
                                      const uint8_t datagram[TUN_DATAGRAM],
                                      uint8_t ret_cookie[TUN_COOKIE]);

/* After both flights: keys of both directions, seen from our side, and the
 * handshake hash (signed by AUTH, used by TOKEN). The responder must not use
 * `tx` before a cell opened with `rx`: only then is the address proved. */
void tun_linkhs_finish(const struct tun_linkhs *hs, struct tun_link_secret *ret_tx,
                       struct tun_link_secret *ret_rx, uint8_t ret_hash[CV_NOISE_HASH]);

void tun_linkhs_done(struct tun_linkhs *hs);

#endif
