#include "tunnel/layer.h"

#include <assert.h>
#include <string.h>

#include "base/cursor.h"
#include "crypto/aead.h"
#include "crypto/hash.h"
#include "crypto/keys.h"
#include "tunnel/layerbits.h"
#include "tunnel/suite.h"

void tun_layer_secret_derive(struct tun_layer_secret *ret, const uint8_t prk[32], uint8_t suite) {
    assert(suite == TUN_SUITE_CHACHA || suite == TUN_SUITE_AES);
    uint32_t start[2];
    const struct {
        const char *label;
        void *to;
        size_t len;
    } keys[] = {
        {"forward key", ret->forward_key, sizeof ret->forward_key},
        {"forward mask", ret->forward_mask_key, sizeof ret->forward_mask_key},
        {"forward filler", ret->forward_filler_key, sizeof ret->forward_filler_key},
        {"forward salt", ret->forward_salt, sizeof ret->forward_salt},
        {"forward start", &start[0], sizeof start[0]},
        {"backward origin", ret->origin_key, sizeof ret->origin_key},
        {"backward transit", ret->transit_key, sizeof ret->transit_key},
        {"backward salt", ret->backward_salt, sizeof ret->backward_salt},
        {"backward start", &start[1], sizeof start[1]},
        {"binding", ret->binding, sizeof ret->binding},
    };
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        CV_BLAKE2B(keys[i].to, keys[i].len, prk, 32, {keys[i].label, strlen(keys[i].label)});
    ret->forward_start = tun_le32((const uint8_t *)&start[0]) & INT32_MAX;
    ret->backward_start = tun_le32((const uint8_t *)&start[1]) & INT32_MAX;
    ret->suite = suite;
}

void tun_layer_init(struct tun_layer *h, const struct tun_layer_secret *secret) {
    memset(h, 0, sizeof *h);
    struct tun_keys_secret keys;
    memset(&keys, 0, sizeof keys);
    memcpy(keys.key[TUN_KEY_ORIGIN], secret->forward_key, 32);
    tun_ratchet_rx_init(&h->forward, secret->forward_start, &keys);
    memcpy(keys.key[TUN_KEY_ORIGIN], secret->origin_key, 32);
    memcpy(keys.key[TUN_KEY_TRANSIT], secret->transit_key, 32);
    tun_ratchet_tx_init(&h->backward, secret->backward_start, &keys);
    memcpy(h->forward_mask_key, secret->forward_mask_key, sizeof h->forward_mask_key);
    memcpy(h->forward_filler_key, secret->forward_filler_key, sizeof h->forward_filler_key);
    memcpy(h->forward_salt, secret->forward_salt, sizeof h->forward_salt);
    memcpy(h->backward_salt, secret->backward_salt, sizeof h->backward_salt);
    h->backward_suite = h->forward_suite = (uint8_t)secret->suite;
    cv_wipe(&keys, sizeof keys);
}

void tun_layer_done(struct tun_layer *h) {
    cv_wipe(h, sizeof *h);
    cv_aead_forget();
}

cv_usec tun_layer_turn(struct tun_layer *h, const struct cv_rng *rng, cv_usec now) {
    tun_ratchet_expire(&h->forward, now);
    return cv_usec_min(tun_ratchet_turn(&h->backward, rng, now), tun_layer_wipe_at(h));
}

enum cv_err tun_layer_forward(struct tun_layer *h, cv_usec now, const uint8_t *cell, uint8_t *out,
                              struct tun_inner *ret_inner) {
    const uint8_t *tag = cell + 4, *body = cell + TUN_LAYER_HEAD;
    uint32_t number = tun_le32(cell) ^ tun_number_mask(h->forward_mask_key, tag);

    struct tun_ratchet_pick p;
    enum cv_err err = tun_ratchet_pick(&h->forward, now, number & ~TUN_FOR_YOU, &p);
    if (err)
        return err;
    uint8_t nonce[CV_AEAD_NONCE];
    tun_layer_nonce(nonce, h->forward_salt, number);
    if (!tun_suite_open(h->forward_suite, out, body, TUN_FORWARD_PLAIN, tag, nonce,
                        p.keys->key[TUN_KEY_ORIGIN])) {
        tun_ratchet_drop(&p);
        return CV_ERR_AUTH;
    }
    tun_ratchet_commit(&h->forward, now, &p);

    if (number & TUN_FOR_YOU)
        return tun_inner_parse(out, TUN_FORWARD_MAX, ret_inner);
    tun_filler(out + TUN_FORWARD_PLAIN, h->forward_filler_key, number);
    *ret_inner = (struct tun_inner){0};
    return CV_ERR_OK;
}

enum cv_err tun_layer_transit(struct tun_layer *h, const struct cv_rng *rng, uint8_t cell[TUN_CELL],
                              uint32_t layer, uint32_t *ret_layer) {
    uint8_t dice, nonce[CV_AEAD_NONCE];
    uint32_t s;
    cv_rng_fill(rng, &dice, sizeof dice);
    enum cv_err err = tun_ratchet_next(&h->backward, dice, &s);
    if (err)
        return err;

    memmove(cell + 4, cell, 12); /* the last slot falls out */
    tun_put_le32(cell, layer & ~TUN_WROTE_IT);
    tun_layer_nonce(nonce, h->backward_salt, s);
    tun_suite_xor(h->backward_suite, cell, TUN_CELL, nonce,
                  h->backward.secret.key[TUN_KEY_TRANSIT]);
    *ret_layer = s;
    return CV_ERR_OK;
}

enum cv_err tun_layer_originate(struct tun_layer *h, const struct cv_rng *rng,
                                uint8_t cell[TUN_CELL], uint8_t command, size_t len,
                                uint32_t *ret_layer) {
    assert(len <= TUN_BACKWARD_MAX);
    assert(command != 0);
    uint8_t dice[17], nonce[CV_AEAD_NONCE];
    uint32_t s;
    cv_rng_fill(rng, dice, sizeof dice);
    enum cv_err err = tun_ratchet_next(&h->backward, dice[16], &s);
    if (err)
        return err;

    tun_layer_nonce(nonce, h->backward_salt, s);
    memcpy(cell, dice, 16);
    cell[3] |= 0x80;
    tun_suite_xor(h->backward_suite, cell, 16, nonce, h->backward.secret.key[TUN_KEY_TRANSIT]);

    uint8_t *tag = cell + 16, *plain = cell + TUN_BACKWARD_HEAD;
    tun_inner_write(plain, command, len, TUN_BACKWARD_PLAIN);
    tun_suite_seal(h->backward_suite, plain, tag, plain, TUN_BACKWARD_PLAIN, nonce,
                   h->backward.secret.key[TUN_KEY_ORIGIN]);
    *ret_layer = s;
    return CV_ERR_OK;
}
