/*
 * Noise handshakes with 25519, ChaChaPoly and BLAKE2b: the patterns NK (links)
 * and NKpsk0 (end-to-end layer of a rendezvous). Two flights:
 *
 *     NK:      <- s ... -> e, es  <- e, ee
 *     NKpsk0:  <- s ... -> psk, e, es  <- e, ee
 *
 * create/consume come in pairs; each works on a copy and commits at the end, so
 * that a forged flight changes nothing. After flight 2 both sides hold the same
 * handshake hash and, through cv_noise_split, the transport keys. Wipe with
 * cv_noise_done() in every outcome.
 */
#ifndef CULVERT_CRYPTO_NOISE_H
#define CULVERT_CRYPTO_NOISE_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/rng.h"
#include "crypto/keys.h"

#define CV_NOISE_HASH     64
#define CV_NOISE_OVERHEAD (32 + 16) /* ephemeral and tag, per flight */

enum cv_noise_pattern { CV_NOISE_NK, CV_NOISE_NKPSK0 };

struct cv_noise {
    uint8_t ck[CV_NOISE_HASH];
    uint8_t h[CV_NOISE_HASH];
    uint8_t k[32];
    uint64_t n; /* nonce of k; UINT64_MAX: no key yet */
    uint8_t psk[32];
    struct cv_x25519_secret e_secret;
    uint8_t re[CV_KEY]; /* remote ephemeral */
    uint8_t rs[CV_KEY]; /* responder's static public key */
    enum cv_noise_pattern pattern;
    uint8_t flights; /* 0, 1, 2 done */
    uint8_t initiator;
};

/* Initiator: knows the responder's static key. psk: 32 octets for NKpsk0, else NULL. */
void cv_noise_init_initiator(struct cv_noise *n, enum cv_noise_pattern pattern,
                             const void *prologue, size_t prologue_len, const uint8_t rs[CV_KEY],
                             const uint8_t *psk, const struct cv_rng *rng);
/* Responder: its own static key. Draws its ephemeral from rng. */
void cv_noise_init_responder(struct cv_noise *n, enum cv_noise_pattern pattern,
                             const void *prologue, size_t prologue_len,
                             const struct cv_x25519_secret *s, const uint8_t *psk,
                             const struct cv_rng *rng);

/* Flight 1: out holds len + CV_NOISE_OVERHEAD (ephemeral | ciphertext | tag).
 * CV_ERR_AUTH when a scalar multiplication fails. */
enum cv_err cv_noise_create_1(struct cv_noise *n, uint8_t *out, const void *payload, size_t len);
/* msg_len >= CV_NOISE_OVERHEAD; `ret` receives msg_len - CV_NOISE_OVERHEAD octets. */
enum cv_err cv_noise_consume_1(struct cv_noise *n, const struct cv_x25519_secret *s,
                               const uint8_t *msg, size_t msg_len, void *ret);
enum cv_err cv_noise_create_2(struct cv_noise *n, uint8_t *out, const void *payload, size_t len);
enum cv_err cv_noise_consume_2(struct cv_noise *n, const uint8_t *msg, size_t msg_len, void *ret);

/* After flight 2: the keys of both directions, full 64-octet HKDF outputs so
 * that several keys can be derived from each. */
void cv_noise_split(const struct cv_noise *n, uint8_t initiator_to_responder[64],
                    uint8_t responder_to_initiator[64]);

void cv_noise_done(struct cv_noise *n);

#endif
