/*
 * X25519 and Ed25519 (libsodium). Keys are made from seeds that the caller
 * drew from its struct cv_rng, so that a simulated run replays to the octet.
 */
#ifndef CULVERT_CRYPTO_KEYS_H
#define CULVERT_CRYPTO_KEYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CV_KEY       32 /* every public key, secret scalar, seed and shared secret */
#define CV_SIGNATURE 64

/* `name` ends in _secret wherever one of these is kept: a review can grep. */
struct cv_x25519_secret {
    uint8_t scalar[CV_KEY];
    uint8_t public_key[CV_KEY];
};

struct cv_ed25519_secret {
    uint8_t seed[CV_KEY];
    uint8_t public_key[CV_KEY];
};

/* The seed itself is the scalar (clamped in use, RFC 7748). */
void cv_x25519_from_seed(struct cv_x25519_secret *ret, const uint8_t seed[CV_KEY]);

/* false, and out zeroed, for a point of small order. */
bool cv_x25519(uint8_t out[CV_KEY], const uint8_t scalar[CV_KEY], const uint8_t point[CV_KEY]);

void cv_ed25519_from_seed(struct cv_ed25519_secret *ret, const uint8_t seed[CV_KEY]);

/* Signs / verifies the concatenation label | message: no signature made for
 * one purpose is valid for another. `label` is a C string, its NUL is not
 * signed; "" where a foreign format (BEP 44, RFC 8080) has none. */
void cv_ed25519_sign(uint8_t sig[CV_SIGNATURE], const struct cv_ed25519_secret *key,
                     const char *label, const void *msg, size_t len);
bool cv_ed25519_verify(const uint8_t sig[CV_SIGNATURE], const uint8_t public_key[CV_KEY],
                       const char *label, const void *msg, size_t len);

/* X25519 shared secret of two Ed25519 identities; false for a bad point. */
bool cv_ed25519_shared(uint8_t out[CV_KEY], const struct cv_ed25519_secret *mine,
                       const uint8_t theirs[CV_KEY]);

/* Wipes; the compiler may not remove it. */
void cv_wipe(void *data, size_t len);

/* Constant-time equality. */
bool cv_equal(const void *a, const void *b, size_t len);

#endif
