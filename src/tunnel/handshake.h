/*
 * Circuit handshake (tunnel.md section 4): one hop, two flights, ntor-v3-like.
 *
 *     x, X   client's ephemeral         b, B   relay's onion key
 *     y, Y   relay's ephemeral          ID     relay's identity
 *
 *     flight 1 = X 32 | key id 8 | tag 16 | parameters 64, enciphered
 *     flight 2 = Y 32 | confirmation 32 | tag 16 | parameters 64, enciphered
 *
 *     K1  = BLAKE2b-256(xB | ID | B | X | "culvert hop v1 parameters")
 *     PRK = BLAKE2b-512(xY | xB | ID | B | X | Y | "culvert hop v1")
 *
 * key id = first octets of B: tells the relay which of its onion keys is meant.
 * Keys come by label from the first half of PRK; the confirmation over both
 * flights, BLAKE2b-256(key second half, "confirm" | flight 1 | flight 2 without
 * the confirmation), from the second.
 *
 * The client knows B from the descriptor whose digest it confirmed, always the
 * newest onion key by its clock. Small-order points are refused. Wipe every
 * struct with its _done in every outcome.
 */
#ifndef CULVERT_TUNNEL_HANDSHAKE_H
#define CULVERT_TUNNEL_HANDSHAKE_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/rng.h"
#include "crypto/keys.h"
#include "tunnel/layer.h"
#include "tunnel/limits.h"
#include "tunnel/params.h"

enum {
    TUN_FLIGHT1 = 32 + 8 + TUN_TAG + TUN_PARAMS_MAX,  /* 120 */
    TUN_FLIGHT2 = 32 + 32 + TUN_TAG + TUN_PARAMS_MAX, /* 144 */
};

/* Client, between the flights. */
struct tun_handshake {
    struct cv_x25519_secret x_secret;
    uint8_t xb_secret[32];
    uint8_t identity[CV_KEY];
    uint8_t onion_key[CV_KEY];
    struct tun_params params; /* asked for */
    uint8_t flight1[TUN_FLIGHT1];
};

/* Writes flight 1. CV_ERR_AUTH: the onion key is a point of small order. */
enum cv_err tun_handshake_create_1(struct tun_handshake *hs, uint8_t flight1[TUN_FLIGHT1],
                                   const uint8_t identity[CV_KEY], const uint8_t onion_key[CV_KEY],
                                   const struct tun_params *params, const struct cv_rng *rng);

/* CV_ERR_AUTH: not an answer of the relay we meant to this flight 1; hs may
 * still receive the real one. CV_ERR_VERSION: it is one, but not with the suite
 * and version that were asked for: a hop is never taken with less. */
enum cv_err tun_handshake_consume_2(const struct tun_handshake *hs, const uint8_t *flight2,
                                    size_t len, struct tun_params *ret_params,
                                    struct tun_layer_secret *ret);
void tun_handshake_done(struct tun_handshake *hs);

/* Relay, between parameters and answer: the caller refuses (ttl, suite, limits)
 * after the first scalar multiplication and before the second. */
struct tun_handshake_in {
    struct tun_params params;
    uint8_t xb_secret[32];
    uint8_t identity[CV_KEY];
    uint8_t onion_key[CV_KEY];
    uint8_t flight1[TUN_FLIGHT1];
};

/*
 * `keys`: the onion secrets acceptable now (descriptor.h). CV_ERR_NOENT: none of
 * them is meant; CV_ERR_AUTH: forged; CV_ERR_TRUNCATED / CV_ERR_MALFORMED. Longer
 * flights are of a later version: what follows our part is ignored.
 */
enum cv_err tun_handshake_consume_1(struct tun_handshake_in *in, const uint8_t *flight1, size_t len,
                                    const uint8_t identity[CV_KEY],
                                    const struct cv_x25519_secret *const *keys, size_t n_keys);

enum cv_err tun_handshake_create_2(const struct tun_handshake_in *in, uint8_t flight2[TUN_FLIGHT2],
                                   const struct tun_params *params, const struct cv_rng *rng,
                                   struct tun_layer_secret *ret);
void tun_handshake_in_done(struct tun_handshake_in *in);

#endif
