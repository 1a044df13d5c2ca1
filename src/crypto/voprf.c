#include "crypto/voprf.h"

#include <assert.h>
#include <sodium.h>
#include <string.h>

#define CONTEXT "OPRFV1-\x01-ristretto255-SHA512"
enum { CONTEXT_LEN = sizeof CONTEXT - 1, DST_MAX = 80, SHA512_BLOCK = 128, HASH = 64 };

typedef crypto_hash_sha512_state sha512;

static void add(sha512 *h, const void *data, size_t len) {
    if (len)
        crypto_hash_sha512_update(h, data, len);
}

/* I2OSP(len, 2) | data */
static void add_sized(sha512 *h, const void *data, size_t len) {
    const uint8_t size[2] = {(uint8_t)(len >> 8), (uint8_t)len};
    add(h, size, 2);
    add(h, data, len);
}

/* ---- hashing to scalars and elements (RFC 9380, expand_message_xmd) ---- */

/* A message of several parts goes in between; `dst` is label | context. */
struct expand {
    sha512 h;
    uint8_t dst[DST_MAX + 1]; /* with its length behind */
    size_t dst_len;
};

static void expand_begin(struct expand *x, const char *label) {
    static const uint8_t zero[SHA512_BLOCK];
    size_t label_len = strlen(label);
    assert(label_len + CONTEXT_LEN <= DST_MAX);
    memcpy(x->dst, label, label_len);
    memcpy(x->dst + label_len, CONTEXT, CONTEXT_LEN);
    x->dst_len = label_len + CONTEXT_LEN;
    x->dst[x->dst_len] = (uint8_t)x->dst_len;
    crypto_hash_sha512_init(&x->h);
    add(&x->h, zero, sizeof zero);
}

/* 64 octets: one block of SHA-512 is all that is needed. */
static void expand_end(struct expand *x, uint8_t ret[HASH]) {
    static const uint8_t tail[3] = {0, HASH, 0}, one[1] = {1};
    uint8_t first[HASH];
    add(&x->h, tail, sizeof tail);
    add(&x->h, x->dst, x->dst_len + 1);
    crypto_hash_sha512_final(&x->h, first);
    crypto_hash_sha512_init(&x->h);
    add(&x->h, first, sizeof first);
    add(&x->h, one, 1);
    add(&x->h, x->dst, x->dst_len + 1);
    crypto_hash_sha512_final(&x->h, ret);
}

static void scalar_of(struct expand *x, uint8_t ret[CV_VOPRF_SCALAR]) {
    uint8_t wide[HASH];
    expand_end(x, wide);
    crypto_core_ristretto255_scalar_reduce(ret, wide);
    sodium_memzero(wide, sizeof wide);
}

static void element_of(const void *input, size_t len, uint8_t ret[CV_VOPRF_ELEMENT]) {
    struct expand x;
    uint8_t wide[HASH];
    expand_begin(&x, "HashToGroup-");
    add(&x.h, input, len);
    expand_end(&x, wide);
    crypto_core_ristretto255_from_hash(ret, wide);
    sodium_memzero(wide, sizeof wide);
}

/* ---- elements and scalars ---- */

static const uint8_t identity[CV_VOPRF_ELEMENT]; /* encodes as zeros */

static bool is_element(const uint8_t e[CV_VOPRF_ELEMENT]) {
    return crypto_core_ristretto255_is_valid_point(e) &&
           sodium_memcmp(e, identity, sizeof identity) != 0;
}

/* Below the order: reducing changes nothing. Zero is none here. */
static bool is_scalar(const uint8_t s[CV_VOPRF_SCALAR]) {
    uint8_t wide[HASH] = {0}, reduced[CV_VOPRF_SCALAR];
    memcpy(wide, s, CV_VOPRF_SCALAR);
    crypto_core_ristretto255_scalar_reduce(reduced, wide);
    bool same = sodium_memcmp(reduced, s, CV_VOPRF_SCALAR) == 0;
    sodium_memzero(wide, sizeof wide);
    sodium_memzero(reduced, sizeof reduced);
    return same && !sodium_is_zero(s, CV_VOPRF_SCALAR);
}

/* libsodium calls a product that is the identity an error; here it is a value. */
static void times(uint8_t ret[CV_VOPRF_ELEMENT], const uint8_t s[CV_VOPRF_SCALAR],
                  const uint8_t e[CV_VOPRF_ELEMENT]) {
    uint8_t product[CV_VOPRF_ELEMENT];
    if (crypto_scalarmult_ristretto255(product, s, e) != 0)
        memset(product, 0, sizeof product);
    memcpy(ret, product, sizeof product);
}

static void times_base(uint8_t ret[CV_VOPRF_ELEMENT], const uint8_t s[CV_VOPRF_SCALAR]) {
    if (crypto_scalarmult_ristretto255_base(ret, s) != 0)
        memset(ret, 0, CV_VOPRF_ELEMENT);
}

void cv_voprf_scalar(uint8_t ret[CV_VOPRF_SCALAR], const uint8_t dice[64]) {
    crypto_core_ristretto255_scalar_reduce(ret, dice);
}

enum cv_err cv_voprf_derive(struct cv_voprf_secret *ret, const uint8_t seed[32], const void *info,
                            size_t len) {
    if (len > CV_VOPRF_INFO_MAX)
        return CV_ERR_INVAL;
    /* Zero comes out once in 2^252 tries; the RFC allows 256. */
    for (unsigned counter = 0; counter < 256; counter++) {
        struct expand x;
        uint8_t octet = (uint8_t)counter;
        expand_begin(&x, "DeriveKeyPair");
        add(&x.h, seed, 32);
        add_sized(&x.h, info, len);
        add(&x.h, &octet, 1);
        scalar_of(&x, ret->scalar);
        if (!sodium_is_zero(ret->scalar, CV_VOPRF_SCALAR))
            break;
    }
    times_base(ret->public_key, ret->scalar);
    return CV_ERR_OK;
}

/* ---- proofs that two logarithms are the same, for a batch at once ---- */

/* M and, unless `k` gives it as k M, Z: sums of all elements, each times a
 * factor that hangs on all of them. */
static void composites(const uint8_t public_key[CV_VOPRF_ELEMENT],
                       const uint8_t (*c)[CV_VOPRF_ELEMENT], const uint8_t (*d)[CV_VOPRF_ELEMENT],
                       size_t n, const uint8_t *k, uint8_t m[CV_VOPRF_ELEMENT],
                       uint8_t z[CV_VOPRF_ELEMENT]) {
    static const char seed_dst[] = "Seed-" CONTEXT;
    uint8_t seed[HASH], factor[CV_VOPRF_SCALAR], part[CV_VOPRF_ELEMENT];
    sha512 h;
    crypto_hash_sha512_init(&h);
    add_sized(&h, public_key, CV_VOPRF_ELEMENT);
    add_sized(&h, seed_dst, sizeof seed_dst - 1);
    crypto_hash_sha512_final(&h, seed);
    memset(m, 0, CV_VOPRF_ELEMENT);
    memset(z, 0, CV_VOPRF_ELEMENT);
    for (size_t i = 0; i < n; i++) {
        struct expand x;
        const uint8_t place[2] = {(uint8_t)(i >> 8), (uint8_t)i};
        expand_begin(&x, "HashToScalar-");
        add_sized(&x.h, seed, sizeof seed);
        add(&x.h, place, 2);
        add_sized(&x.h, c[i], CV_VOPRF_ELEMENT);
        add_sized(&x.h, d[i], CV_VOPRF_ELEMENT);
        add(&x.h, "Composite", 9);
        scalar_of(&x, factor);
        times(part, factor, c[i]);
        crypto_core_ristretto255_add(m, m, part);
        if (!k) {
            times(part, factor, d[i]);
            crypto_core_ristretto255_add(z, z, part);
        }
    }
    if (k)
        times(z, k, m);
}

static void challenge(const uint8_t public_key[CV_VOPRF_ELEMENT], const uint8_t m[CV_VOPRF_ELEMENT],
                      const uint8_t z[CV_VOPRF_ELEMENT], const uint8_t t2[CV_VOPRF_ELEMENT],
                      const uint8_t t3[CV_VOPRF_ELEMENT], uint8_t ret[CV_VOPRF_SCALAR]) {
    struct expand x;
    expand_begin(&x, "HashToScalar-");
    add_sized(&x.h, public_key, CV_VOPRF_ELEMENT);
    add_sized(&x.h, m, CV_VOPRF_ELEMENT);
    add_sized(&x.h, z, CV_VOPRF_ELEMENT);
    add_sized(&x.h, t2, CV_VOPRF_ELEMENT);
    add_sized(&x.h, t3, CV_VOPRF_ELEMENT);
    add(&x.h, "Challenge", 9);
    scalar_of(&x, ret);
}

static void prove(const struct cv_voprf_secret *key, const uint8_t (*blinded)[CV_VOPRF_ELEMENT],
                  const uint8_t (*evaluated)[CV_VOPRF_ELEMENT], size_t n,
                  const uint8_t r[CV_VOPRF_SCALAR], uint8_t ret[CV_VOPRF_PROOF]) {
    uint8_t m[CV_VOPRF_ELEMENT], z[CV_VOPRF_ELEMENT], t2[CV_VOPRF_ELEMENT], t3[CV_VOPRF_ELEMENT];
    uint8_t ck[CV_VOPRF_SCALAR];
    composites(key->public_key, blinded, evaluated, n, key->scalar, m, z);
    times_base(t2, r);
    times(t3, r, m);
    challenge(key->public_key, m, z, t2, t3, ret);
    crypto_core_ristretto255_scalar_mul(ck, ret, key->scalar);
    crypto_core_ristretto255_scalar_sub(ret + CV_VOPRF_SCALAR, r, ck);
    sodium_memzero(ck, sizeof ck);
}

bool cv_voprf_check(const uint8_t public_key[CV_VOPRF_ELEMENT],
                    const uint8_t (*blinded)[CV_VOPRF_ELEMENT],
                    const uint8_t (*evaluated)[CV_VOPRF_ELEMENT], size_t n,
                    const uint8_t proof[CV_VOPRF_PROOF]) {
    const uint8_t *c = proof, *s = proof + CV_VOPRF_SCALAR;
    uint8_t m[CV_VOPRF_ELEMENT], z[CV_VOPRF_ELEMENT], t2[CV_VOPRF_ELEMENT], t3[CV_VOPRF_ELEMENT];
    uint8_t part[CV_VOPRF_ELEMENT], want[CV_VOPRF_SCALAR];
    if (n == 0 || n > CV_VOPRF_BATCH_MAX || !is_element(public_key) || !is_scalar(c) ||
        !is_scalar(s))
        return false;
    for (size_t i = 0; i < n; i++)
        if (!is_element(blinded[i]) || !is_element(evaluated[i]))
            return false;
    composites(public_key, blinded, evaluated, n, NULL, m, z);
    times_base(t2, s);
    times(part, c, public_key);
    crypto_core_ristretto255_add(t2, t2, part);
    times(t3, s, m);
    times(part, c, z);
    crypto_core_ristretto255_add(t3, t3, part);
    challenge(public_key, m, z, t2, t3, want);
    return sodium_memcmp(want, c, CV_VOPRF_SCALAR) == 0;
}

/* ---- the function ---- */

enum cv_err cv_voprf_blind(uint8_t ret[CV_VOPRF_ELEMENT], const void *input, size_t len,
                           const uint8_t blind[CV_VOPRF_SCALAR]) {
    uint8_t element[CV_VOPRF_ELEMENT];
    if (len > CV_VOPRF_INPUT_MAX || !is_scalar(blind))
        return CV_ERR_INVAL;
    element_of(input, len, element);
    times(ret, blind, element);
    return CV_ERR_OK;
}

enum cv_err cv_voprf_evaluate(const struct cv_voprf_secret *key,
                              const uint8_t (*blinded)[CV_VOPRF_ELEMENT], size_t n,
                              const uint8_t r[CV_VOPRF_SCALAR],
                              uint8_t (*ret_evaluated)[CV_VOPRF_ELEMENT],
                              uint8_t ret_proof[CV_VOPRF_PROOF]) {
    if (n == 0 || n > CV_VOPRF_BATCH_MAX || !is_scalar(r))
        return CV_ERR_INVAL;
    for (size_t i = 0; i < n; i++)
        if (!is_element(blinded[i]))
            return CV_ERR_MALFORMED;
    for (size_t i = 0; i < n; i++)
        times(ret_evaluated[i], key->scalar, blinded[i]);
    prove(key, blinded, (const uint8_t(*)[CV_VOPRF_ELEMENT])ret_evaluated, n, r, ret_proof);
    return CV_ERR_OK;
}

static void output(const void *input, size_t len, const uint8_t element[CV_VOPRF_ELEMENT],
                   uint8_t ret[CV_VOPRF_OUTPUT]) {
    sha512 h;
    crypto_hash_sha512_init(&h);
    add_sized(&h, input, len);
    add_sized(&h, element, CV_VOPRF_ELEMENT);
    add(&h, "Finalize", 8);
    crypto_hash_sha512_final(&h, ret);
}

enum cv_err cv_voprf_finalize(uint8_t ret[CV_VOPRF_OUTPUT], const void *input, size_t len,
                              const uint8_t blind[CV_VOPRF_SCALAR],
                              const uint8_t evaluated[CV_VOPRF_ELEMENT]) {
    uint8_t inverse[CV_VOPRF_SCALAR], element[CV_VOPRF_ELEMENT];
    if (len > CV_VOPRF_INPUT_MAX || !is_scalar(blind))
        return CV_ERR_INVAL;
    if (!is_element(evaluated))
        return CV_ERR_MALFORMED;
    if (crypto_core_ristretto255_scalar_invert(inverse, blind) != 0)
        return CV_ERR_INVAL;
    times(element, inverse, evaluated);
    output(input, len, element, ret);
    sodium_memzero(inverse, sizeof inverse);
    sodium_memzero(element, sizeof element);
    return CV_ERR_OK;
}

enum cv_err cv_voprf_output(uint8_t ret[CV_VOPRF_OUTPUT], const struct cv_voprf_secret *key,
                            const void *input, size_t len) {
    uint8_t element[CV_VOPRF_ELEMENT];
    if (len > CV_VOPRF_INPUT_MAX)
        return CV_ERR_INVAL;
    element_of(input, len, element);
    times(element, key->scalar, element);
    output(input, len, element, ret);
    sodium_memzero(element, sizeof element);
    return CV_ERR_OK;
}
