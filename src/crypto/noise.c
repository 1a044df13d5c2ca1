#include "crypto/noise.h"

#include <assert.h>
#include <string.h>

#include "crypto/aead.h"
#include "crypto/hash.h"
#include "crypto/kdf.h"

/* No key yet (Noise 5.1: k empty). */
#define NO_KEY UINT64_MAX

static void mix_hash(struct cv_noise *n, const void *data, size_t len) {
    CV_BLAKE2B(n->h, CV_NOISE_HASH, NULL, 0, {n->h, CV_NOISE_HASH}, {data, len});
}

static void mix_key(struct cv_noise *n, const uint8_t *ikm, size_t len) {
    uint8_t out[2][CV_HMAC_LEN];
    cv_noise_hkdf(out, 2, n->ck, ikm, len);
    memcpy(n->ck, out[0], CV_NOISE_HASH);
    memcpy(n->k, out[1], sizeof n->k);
    n->n = 0;
    cv_wipe(out, sizeof out);
}

static void mix_key_and_hash(struct cv_noise *n, const uint8_t *ikm, size_t len) {
    uint8_t out[3][CV_HMAC_LEN];
    cv_noise_hkdf(out, 3, n->ck, ikm, len);
    memcpy(n->ck, out[0], CV_NOISE_HASH);
    mix_hash(n, out[1], CV_HMAC_LEN);
    memcpy(n->k, out[2], sizeof n->k);
    n->n = 0;
    cv_wipe(out, sizeof out);
}

/* 32 zero bits, then the counter little-endian (Noise 12.3). */
static void nonce_of(uint8_t nonce[CV_AEAD_NONCE], uint64_t n) {
    memset(nonce, 0, CV_AEAD_NONCE);
    for (int i = 0; i < 8; i++)
        nonce[4 + i] = (uint8_t)(n >> (8 * i));
}

/* c receives len octets and the tag behind them. */
static void encrypt_and_hash(struct cv_noise *n, uint8_t *c, const uint8_t *m, size_t len) {
    uint8_t nonce[CV_AEAD_NONCE];
    assert(n->n != NO_KEY);
    nonce_of(nonce, n->n++);
    cv_aead_seal(c, c + len, m, len, n->h, CV_NOISE_HASH, nonce, n->k);
    mix_hash(n, c, len + CV_AEAD_TAG);
}

static bool decrypt_and_hash(struct cv_noise *n, uint8_t *m, const uint8_t *c, size_t len) {
    uint8_t nonce[CV_AEAD_NONCE], h[CV_NOISE_HASH];
    assert(n->n != NO_KEY);
    nonce_of(nonce, n->n++);
    memcpy(h, n->h, sizeof h);
    mix_hash(n, c, len + CV_AEAD_TAG); /* first: m may lie over c */
    return cv_aead_open(m, c, len, c + len, h, sizeof h, nonce, n->k);
}

/* Token "e" as both sides see it; patterns with a psk also mix it into the key
 * (Noise 9.2). */
static void mix_ephemeral(struct cv_noise *n, const uint8_t e[CV_KEY]) {
    mix_hash(n, e, CV_KEY);
    if (n->pattern == CV_NOISE_NKPSK0)
        mix_key(n, e, CV_KEY);
}

/* Tokens "es", "ee". */
static bool mix_dh(struct cv_noise *n, const uint8_t scalar[CV_KEY], const uint8_t point[CV_KEY]) {
    uint8_t shared[CV_KEY];
    bool ok = cv_x25519(shared, scalar, point);
    if (ok)
        mix_key(n, shared, sizeof shared);
    cv_wipe(shared, sizeof shared);
    return ok;
}

static void mix_psk(struct cv_noise *n) {
    if (n->pattern == CV_NOISE_NKPSK0)
        mix_key_and_hash(n, n->psk, sizeof n->psk);
}

static void init(struct cv_noise *n, enum cv_noise_pattern pattern, const void *prologue,
                 size_t prologue_len, const uint8_t rs[CV_KEY], const uint8_t *psk,
                 const struct cv_rng *rng) {
    static const char *const names[] = {
        [CV_NOISE_NK] = "Noise_NK_25519_ChaChaPoly_BLAKE2b",
        [CV_NOISE_NKPSK0] = "Noise_NKpsk0_25519_ChaChaPoly_BLAKE2b",
    };
    uint8_t seed[CV_KEY];
    assert((pattern == CV_NOISE_NKPSK0) == (psk != NULL));

    memset(n, 0, sizeof *n);
    n->pattern = pattern;
    n->n = NO_KEY;
    memcpy(n->h, names[pattern], strlen(names[pattern])); /* shorter than a hash: not hashed */
    memcpy(n->ck, n->h, CV_NOISE_HASH);
    mix_hash(n, prologue, prologue_len);
    memcpy(n->rs, rs, CV_KEY);
    mix_hash(n, n->rs, CV_KEY);
    if (psk)
        memcpy(n->psk, psk, sizeof n->psk);
    cv_rng_fill(rng, seed, sizeof seed);
    cv_x25519_from_seed(&n->e_secret, seed);
    cv_wipe(seed, sizeof seed);
}

void cv_noise_init_initiator(struct cv_noise *n, enum cv_noise_pattern pattern,
                             const void *prologue, size_t prologue_len, const uint8_t rs[CV_KEY],
                             const uint8_t *psk, const struct cv_rng *rng) {
    init(n, pattern, prologue, prologue_len, rs, psk, rng);
    n->initiator = 1;
}

void cv_noise_init_responder(struct cv_noise *n, enum cv_noise_pattern pattern,
                             const void *prologue, size_t prologue_len,
                             const struct cv_x25519_secret *s, const uint8_t *psk,
                             const struct cv_rng *rng) {
    init(n, pattern, prologue, prologue_len, s->public_key, psk, rng);
}

/* Every flight: work on a copy, commit it when all went well. */
static enum cv_err commit(struct cv_noise *n, struct cv_noise *copy, bool ok) {
    if (ok) {
        copy->flights++;
        *n = *copy;
    }
    cv_wipe(copy, sizeof *copy);
    return ok ? CV_ERR_OK : CV_ERR_AUTH;
}

enum cv_err cv_noise_create_1(struct cv_noise *n, uint8_t *out, const void *payload, size_t len) {
    assert(n->initiator && n->flights == 0);
    struct cv_noise t = *n;
    mix_psk(&t);
    mix_ephemeral(&t, t.e_secret.public_key);
    bool ok = mix_dh(&t, t.e_secret.scalar, t.rs);
    if (ok) {
        encrypt_and_hash(&t, out + CV_KEY, payload, len);
        memcpy(out, t.e_secret.public_key, CV_KEY);
    }
    return commit(n, &t, ok);
}

enum cv_err cv_noise_consume_1(struct cv_noise *n, const struct cv_x25519_secret *s,
                               const uint8_t *msg, size_t msg_len, void *ret) {
    assert(!n->initiator && n->flights == 0);
    if (msg_len < CV_NOISE_OVERHEAD)
        return CV_ERR_TRUNCATED;
    struct cv_noise t = *n;
    memcpy(t.re, msg, CV_KEY);
    mix_psk(&t);
    mix_ephemeral(&t, t.re);
    bool ok = mix_dh(&t, s->scalar, t.re) &&
              decrypt_and_hash(&t, ret, msg + CV_KEY, msg_len - CV_NOISE_OVERHEAD);
    return commit(n, &t, ok);
}

enum cv_err cv_noise_create_2(struct cv_noise *n, uint8_t *out, const void *payload, size_t len) {
    assert(!n->initiator && n->flights == 1);
    struct cv_noise t = *n;
    mix_ephemeral(&t, t.e_secret.public_key);
    bool ok = mix_dh(&t, t.e_secret.scalar, t.re);
    if (ok) {
        encrypt_and_hash(&t, out + CV_KEY, payload, len);
        memcpy(out, t.e_secret.public_key, CV_KEY);
    }
    return commit(n, &t, ok);
}

enum cv_err cv_noise_consume_2(struct cv_noise *n, const uint8_t *msg, size_t msg_len, void *ret) {
    assert(n->initiator && n->flights == 1);
    if (msg_len < CV_NOISE_OVERHEAD)
        return CV_ERR_TRUNCATED;
    struct cv_noise t = *n;
    memcpy(t.re, msg, CV_KEY);
    mix_ephemeral(&t, t.re);
    bool ok = mix_dh(&t, t.e_secret.scalar, t.re) &&
              decrypt_and_hash(&t, ret, msg + CV_KEY, msg_len - CV_NOISE_OVERHEAD);
    return commit(n, &t, ok);
}

void cv_noise_split(const struct cv_noise *n, uint8_t initiator_to_responder[64],
                    uint8_t responder_to_initiator[64]) {
    assert(n->flights == 2);
    uint8_t out[2][CV_HMAC_LEN];
    cv_noise_hkdf(out, 2, n->ck, NULL, 0);
    memcpy(initiator_to_responder, out[0], 64);
    memcpy(responder_to_initiator, out[1], 64);
    cv_wipe(out, sizeof out);
}

void cv_noise_done(struct cv_noise *n) {
    cv_wipe(n, sizeof *n);
}
