#include "crypto/keys.h"

#include <assert.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

void cv_x25519_from_seed(struct cv_x25519_secret *ret, const uint8_t seed[CV_KEY]) {
    memmove(ret->scalar, seed, CV_KEY);
    crypto_scalarmult_curve25519_base(ret->public_key, ret->scalar);
}

bool cv_x25519(uint8_t out[CV_KEY], const uint8_t scalar[CV_KEY], const uint8_t point[CV_KEY]) {
    if (crypto_scalarmult_curve25519(out, scalar, point) == 0)
        return true;
    sodium_memzero(out, CV_KEY);
    return false;
}

void cv_ed25519_from_seed(struct cv_ed25519_secret *ret, const uint8_t seed[CV_KEY]) {
    uint8_t sk[crypto_sign_ed25519_SECRETKEYBYTES];
    memmove(ret->seed, seed, CV_KEY);
    crypto_sign_ed25519_seed_keypair(ret->public_key, sk, ret->seed);
    sodium_memzero(sk, sizeof sk);
}

/* libsodium's form of a secret key: seed | public key. */
static void full_secret(uint8_t sk[crypto_sign_ed25519_SECRETKEYBYTES],
                        const struct cv_ed25519_secret *key) {
    memcpy(sk, key->seed, CV_KEY);
    memcpy(sk + CV_KEY, key->public_key, CV_KEY);
}

/* label | msg in one piece, which Ed25519 needs because it reads the message
 * twice. Everything culvert signs fits into the caller's buffer; the heap is
 * for the rest. `*heap` is to be freed. NULL: out of memory. */
enum { JOINED_MAX = 2048 };
static const uint8_t *joined(const char *label, const void *msg, size_t len, size_t *ret_len,
                             uint8_t buf[JOINED_MAX], uint8_t **heap) {
    size_t label_len = strlen(label);
    *heap = NULL;
    *ret_len = label_len + len;
    if (label_len == 0 && len > 0)
        return msg;
    if (*ret_len > JOINED_MAX && !(*heap = malloc(*ret_len)))
        return NULL;
    uint8_t *all = *heap ? *heap : buf;
    memcpy(all, label, label_len);
    if (len)
        memcpy(all + label_len, msg, len);
    return all;
}

void cv_ed25519_sign(uint8_t sig[CV_SIGNATURE], const struct cv_ed25519_secret *key,
                     const char *label, const void *msg, size_t len) {
    uint8_t buf[JOINED_MAX], sk[crypto_sign_ed25519_SECRETKEYBYTES], *heap;
    size_t all_len;
    const uint8_t *all = joined(label, msg, len, &all_len, buf, &heap);
    assert(all && "no memory to sign with");
    full_secret(sk, key);
    crypto_sign_ed25519_detached(sig, NULL, all, all_len, sk);
    sodium_memzero(sk, sizeof sk);
    free(heap);
}

bool cv_ed25519_verify(const uint8_t sig[CV_SIGNATURE], const uint8_t public_key[CV_KEY],
                       const char *label, const void *msg, size_t len) {
    uint8_t buf[JOINED_MAX], *heap;
    size_t all_len;
    const uint8_t *all = joined(label, msg, len, &all_len, buf, &heap);
    bool valid = all && crypto_sign_ed25519_verify_detached(sig, all, all_len, public_key) == 0;
    free(heap);
    return valid;
}

bool cv_ed25519_shared(uint8_t out[CV_KEY], const struct cv_ed25519_secret *mine,
                       const uint8_t theirs[CV_KEY]) {
    uint8_t sk[crypto_sign_ed25519_SECRETKEYBYTES], scalar[CV_KEY], point[CV_KEY];
    if (crypto_sign_ed25519_pk_to_curve25519(point, theirs) != 0) {
        sodium_memzero(out, CV_KEY);
        return false;
    }
    full_secret(sk, mine);
    crypto_sign_ed25519_sk_to_curve25519(scalar, sk);
    bool ok = cv_x25519(out, scalar, point);
    sodium_memzero(sk, sizeof sk);
    sodium_memzero(scalar, sizeof scalar);
    return ok;
}

void cv_wipe(void *data, size_t len) {
    sodium_memzero(data, len);
}

bool cv_equal(const void *a, const void *b, size_t len) {
    return sodium_memcmp(a, b, len) == 0;
}
