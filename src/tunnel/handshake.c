#include "tunnel/handshake.h"

#include <assert.h>
#include <string.h>

#include "crypto/aead.h"
#include "crypto/hash.h"

static const char label[] = "culvert hop v1";
static const char label_params[] = "culvert hop v1 parameters";
static const char label_confirm[] = "confirm";
static const char label_answer[] = "parameters";
#define LABEL(l)                                                                                   \
    { (l), sizeof(l) - 1 }

/* Each of the two AEAD keys is used once. */
static const uint8_t zero_nonce[CV_AEAD_NONCE] = {0};

enum { KEY_ID = 8, HEAD1 = CV_KEY + KEY_ID, CONFIRM = 32 };

/* K1 = BLAKE2b-256(xB | ID | B | X | label) */
static void params_key(uint8_t k1[32], const uint8_t xb[CV_KEY], const uint8_t identity[CV_KEY],
                       const uint8_t b[CV_KEY], const uint8_t x[CV_KEY]) {
    CV_BLAKE2B(k1, 32, NULL, 0, {xb, CV_KEY}, {identity, CV_KEY}, {b, CV_KEY}, {x, CV_KEY},
               LABEL(label_params));
}

/* PRK = BLAKE2b-512(xY | xB | ID | B | X | Y | label) */
static void extract(uint8_t prk[64], const uint8_t xy[CV_KEY], const uint8_t xb[CV_KEY],
                    const uint8_t identity[CV_KEY], const uint8_t b[CV_KEY],
                    const uint8_t x[CV_KEY], const uint8_t y[CV_KEY]) {
    CV_BLAKE2B(prk, 64, NULL, 0, {xy, CV_KEY}, {xb, CV_KEY}, {identity, CV_KEY}, {b, CV_KEY},
               {x, CV_KEY}, {y, CV_KEY}, LABEL(label));
}

static void confirm(uint8_t out[CONFIRM], const uint8_t prk[64], const uint8_t *flight1,
                    const uint8_t *flight2) {
    CV_BLAKE2B(out, CONFIRM, prk + 32, 32, LABEL(label_confirm), {flight1, TUN_FLIGHT1},
               {flight2, CV_KEY}, {flight2 + CV_KEY + CONFIRM, TUN_FLIGHT2 - CV_KEY - CONFIRM});
}

/* tag 16 | parameters, padded and enciphered */
static void seal_params(uint8_t *out, const struct tun_params *params, const void *ad,
                        size_t ad_len, const uint8_t key[32]) {
    uint8_t *plain = out + TUN_TAG;
    memset(plain, 0, TUN_PARAMS_MAX);
    struct cv_wr w = cv_wr_init(plain, TUN_PARAMS_MAX);
    tun_params_write(&w, params);
    assert(w.err == CV_ERR_OK);
    cv_aead_seal(plain, out, plain, TUN_PARAMS_MAX, ad, ad_len, zero_nonce, key);
}

static enum cv_err open_params(const uint8_t *in, struct tun_params *ret, const void *ad,
                               size_t ad_len, const uint8_t key[32]) {
    uint8_t plain[TUN_PARAMS_MAX];
    if (!cv_aead_open(plain, in + TUN_TAG, sizeof plain, in, ad, ad_len, zero_nonce, key))
        return CV_ERR_AUTH;
    struct cv_rd r = cv_rd_init(plain, sizeof plain);
    return tun_params_read(&r, ret);
}

static enum cv_err right_length(size_t len, size_t want) {
    if (len == want)
        return CV_ERR_OK;
    return len < want ? CV_ERR_TRUNCATED : CV_ERR_MALFORMED;
}

/* ---- client ---- */

enum cv_err tun_handshake_create_1(struct tun_handshake *hs, uint8_t flight1[TUN_FLIGHT1],
                                   const uint8_t identity[CV_KEY], const uint8_t onion_key[CV_KEY],
                                   const struct tun_params *params, const struct cv_rng *rng) {
    uint8_t seed[CV_KEY], k1[32];
    enum cv_err err = CV_ERR_AUTH;
    cv_rng_fill(rng, seed, sizeof seed);
    cv_x25519_from_seed(&hs->x_secret, seed);
    memcpy(hs->identity, identity, CV_KEY);
    memcpy(hs->onion_key, onion_key, CV_KEY);
    hs->params = *params;

    if (cv_x25519(hs->xb_secret, hs->x_secret.scalar, onion_key)) {
        params_key(k1, hs->xb_secret, identity, onion_key, hs->x_secret.public_key);
        memcpy(hs->flight1, hs->x_secret.public_key, CV_KEY);
        memcpy(hs->flight1 + CV_KEY, onion_key, KEY_ID);
        seal_params(hs->flight1 + HEAD1, params, hs->flight1, HEAD1, k1);
        memcpy(flight1, hs->flight1, TUN_FLIGHT1);
        err = CV_ERR_OK;
    }
    cv_wipe(seed, sizeof seed);
    cv_wipe(k1, sizeof k1);
    return err;
}

enum cv_err tun_handshake_consume_2(const struct tun_handshake *hs, const uint8_t *flight2,
                                    size_t len, struct tun_params *ret_params,
                                    struct tun_layer_secret *ret) {
    enum cv_err err = right_length(len, TUN_FLIGHT2);
    if (err)
        return err;
    const uint8_t *y = flight2;
    uint8_t xy[CV_KEY], prk[64], want[CONFIRM], key[32];
    struct tun_params params;

    err = CV_ERR_AUTH;
    if (!cv_x25519(xy, hs->x_secret.scalar, y))
        goto out;
    extract(prk, xy, hs->xb_secret, hs->identity, hs->onion_key, hs->x_secret.public_key, y);
    confirm(want, prk, hs->flight1, flight2);
    if (!cv_equal(want, flight2 + CV_KEY, CONFIRM))
        goto out;
    CV_BLAKE2B(key, sizeof key, prk, 32, LABEL(label_answer));
    err = open_params(flight2 + CV_KEY + CONFIRM, &params, y, CV_KEY, key);
    if (err)
        goto out;
    /* what was asked for, or nothing: no relay makes it less */
    if (params.suite != hs->params.suite || params.version != hs->params.version) {
        err = CV_ERR_VERSION;
        goto out;
    }
    tun_layer_secret_derive(ret, prk, params.suite);
    *ret_params = params;
out:
    cv_wipe(xy, sizeof xy);
    cv_wipe(prk, sizeof prk);
    cv_wipe(want, sizeof want);
    cv_wipe(key, sizeof key);
    return err;
}

void tun_handshake_done(struct tun_handshake *hs) {
    cv_wipe(hs, sizeof *hs);
}

/* ---- relay ---- */

enum cv_err tun_handshake_consume_1(struct tun_handshake_in *in, const uint8_t *flight1, size_t len,
                                    const uint8_t identity[CV_KEY],
                                    const struct cv_x25519_secret *const *keys, size_t n_keys) {
    enum cv_err err = right_length(len, TUN_FLIGHT1);
    if (err)
        return err;
    const uint8_t *x = flight1, *key_id = flight1 + CV_KEY;
    const struct cv_x25519_secret *b_secret = NULL;
    for (size_t i = 0; i < n_keys && !b_secret; i++)
        if (memcmp(keys[i]->public_key, key_id, KEY_ID) == 0)
            b_secret = keys[i];
    if (!b_secret)
        return CV_ERR_NOENT;

    uint8_t xb[CV_KEY], k1[32];
    struct tun_params params;
    err = CV_ERR_AUTH;
    if (!cv_x25519(xb, b_secret->scalar, x))
        goto out;
    params_key(k1, xb, identity, b_secret->public_key, x);
    err = open_params(flight1 + HEAD1, &params, flight1, HEAD1, k1);
    if (err)
        goto out;
    in->params = params;
    memcpy(in->xb_secret, xb, sizeof xb);
    memcpy(in->identity, identity, CV_KEY);
    memcpy(in->onion_key, b_secret->public_key, CV_KEY);
    memcpy(in->flight1, flight1, TUN_FLIGHT1);
out:
    cv_wipe(xb, sizeof xb);
    cv_wipe(k1, sizeof k1);
    return err;
}

enum cv_err tun_handshake_create_2(const struct tun_handshake_in *in, uint8_t flight2[TUN_FLIGHT2],
                                   const struct tun_params *params, const struct cv_rng *rng,
                                   struct tun_layer_secret *ret) {
    const uint8_t *x = in->flight1;
    uint8_t seed[CV_KEY], xy[CV_KEY], prk[64], key[32];
    struct cv_x25519_secret y_secret;
    enum cv_err err = CV_ERR_AUTH;
    cv_rng_fill(rng, seed, sizeof seed);
    cv_x25519_from_seed(&y_secret, seed);
    if (!cv_x25519(xy, y_secret.scalar, x))
        goto out;
    extract(prk, xy, in->xb_secret, in->identity, in->onion_key, x, y_secret.public_key);
    memcpy(flight2, y_secret.public_key, CV_KEY);
    CV_BLAKE2B(key, sizeof key, prk, 32, LABEL(label_answer));
    seal_params(flight2 + CV_KEY + CONFIRM, params, flight2, CV_KEY, key);
    confirm(flight2 + CV_KEY, prk, in->flight1, flight2);
    tun_layer_secret_derive(ret, prk, params->suite);
    err = CV_ERR_OK;
out:
    cv_wipe(seed, sizeof seed);
    cv_wipe(&y_secret, sizeof y_secret);
    cv_wipe(xy, sizeof xy);
    cv_wipe(prk, sizeof prk);
    cv_wipe(key, sizeof key);
    return err;
}

void tun_handshake_in_done(struct tun_handshake_in *in) {
    cv_wipe(in, sizeof *in);
}
