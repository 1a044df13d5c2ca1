#include "tunnel/onion.h"

#include <assert.h>
#include <string.h>

#include "crypto/aead.h"
#include "crypto/keys.h"
#include "tunnel/layerbits.h"
#include "tunnel/suite.h"

static_assert(TUN_TAIL == TUN_FILLER * (TUN_HOPS_MAX - 1), "the last hop's forced tail");
static_assert(TUN_FORWARD_PLAIN + TUN_FILLER == TUN_CELL, "a step keeps the size");

void tun_onion_init(struct tun_onion *o) {
    memset(o, 0, sizeof *o);
}

void tun_onion_done(struct tun_onion *o) {
    cv_wipe(o, sizeof *o);
    cv_aead_forget();
}

void tun_onion_add(struct tun_onion *o, const struct tun_layer_secret *secret) {
    assert(o->hops < TUN_HOPS_MAX);
    assert(o->hops == 0 || secret->suite == TUN_SUITE_CHACHA); /* xor_tail() knows no other */
    struct tun_onion_hop *h = &o->hop[o->hops++];
    struct tun_keys_secret keys;
    memset(&keys, 0, sizeof keys);
    memcpy(keys.key[TUN_KEY_ORIGIN], secret->forward_key, 32);
    tun_ratchet_tx_init(&h->forward, secret->forward_start, &keys);
    memcpy(keys.key[TUN_KEY_ORIGIN], secret->origin_key, 32);
    memcpy(keys.key[TUN_KEY_TRANSIT], secret->transit_key, 32);
    tun_ratchet_rx_init(&h->backward, secret->backward_start, &keys);
    memcpy(h->forward_mask_key, secret->forward_mask_key, sizeof h->forward_mask_key);
    memcpy(h->forward_filler_key, secret->forward_filler_key, sizeof h->forward_filler_key);
    memcpy(h->forward_salt, secret->forward_salt, sizeof h->forward_salt);
    memcpy(h->backward_salt, secret->backward_salt, sizeof h->backward_salt);
    h->suite = (uint8_t)secret->suite;
    cv_wipe(&keys, sizeof keys);
}

/* ---- key epochs ---- */

cv_usec tun_onion_wipe_at(const struct tun_onion *o) {
    cv_usec at = CV_USEC_NEVER;
    for (unsigned i = 0; i < o->hops; i++)
        if (o->hop[i].backward.old_until)
            at = cv_usec_min(at, o->hop[i].backward.old_until);
    return at;
}

cv_usec tun_onion_turn(struct tun_onion *o, const struct cv_rng *rng, cv_usec now) {
    cv_usec at = CV_USEC_NEVER;
    for (unsigned i = 0; i < o->hops; i++) {
        tun_ratchet_expire(&o->hop[i].backward, now);
        at = cv_usec_min(at, tun_ratchet_turn(&o->hop[i].forward, rng, now));
    }
    return cv_usec_min(at, tun_onion_wipe_at(o));
}

/* ---- forward ---- */

/* Takes a number of every hop up to `target`, or none at all. */
static enum cv_err take_numbers(struct tun_onion *o, unsigned target, const uint8_t *dice,
                                uint32_t number[TUN_HOPS_MAX]) {
    for (unsigned i = 0; i <= target; i++)
        if (o->hop[i].forward.n + 2 > TUN_SEQUENCE_CAP)
            return CV_ERR_LIMIT;
    for (unsigned i = 0; i <= target; i++) {
        enum cv_err err = tun_ratchet_next(&o->hop[i].forward, dice[i], &number[i]);
        assert(err == CV_ERR_OK);
    }
    number[target] |= TUN_FOR_YOU;
    return CV_ERR_OK;
}

/* XORs the last `len` octets of a plaintext with the keystream its AEAD will
 * use there: data begin at ChaCha20 block 1, and 1184 = 18 * 64 + 32. */
static void xor_tail(uint8_t *tail, size_t len, const uint8_t nonce[CV_AEAD_NONCE],
                     const uint8_t key[32]) {
    enum { LAST = TUN_FORWARD_PLAIN % 64, LAST_BLOCK = 1 + TUN_FORWARD_PLAIN / 64 };
    static_assert(LAST + 64 >= TUN_TAIL, "two blocks suffice");
    assert(len <= TUN_TAIL);
    uint8_t stream[LAST + 64] = {0};
    size_t n = len <= LAST ? LAST : sizeof stream;
    cv_chacha20_xor_at(stream, n, len <= LAST ? LAST_BLOCK : LAST_BLOCK - 1, nonce, key);
    for (size_t i = 0; i < len; i++)
        tail[i] ^= stream[n - len + i];
}

enum cv_err tun_onion_wrap(struct tun_onion *o, const struct cv_rng *rng,
                           uint8_t cell[TUN_WRAP_ROOM], unsigned target, uint8_t command,
                           size_t len) {
    assert(target < o->hops);
    assert(len <= TUN_FORWARD_MAX);
    assert(command != 0);
    uint8_t dice[TUN_TAIL + TUN_HOPS_MAX], nonce[TUN_HOPS_MAX][CV_AEAD_NONCE];
    uint32_t number[TUN_HOPS_MAX];
    cv_rng_fill(rng, dice, sizeof dice);
    enum cv_err err = take_numbers(o, target, dice + TUN_TAIL, number);
    if (err)
        return err;

    /* What the fillers of the hops before force each plaintext to end with. */
    uint8_t forced[TUN_TAIL];
    size_t forced_len = 0;
    for (unsigned i = 0; i <= target; i++) {
        const struct tun_onion_hop *h = &o->hop[i];
        tun_layer_nonce(nonce[i], h->forward_salt, number[i]);
        if (forced_len)
            xor_tail(forced, forced_len, nonce[i], h->forward.secret.key[TUN_KEY_ORIGIN]);
        if (i < target) {
            tun_filler(forced + forced_len, h->forward_filler_key, number[i]);
            forced_len += TUN_FILLER;
        }
    }

    uint8_t *plain = cell + (target + 1) * TUN_LAYER_HEAD;
    tun_inner_write(plain, command, len, TUN_FORWARD_PLAIN - TUN_TAIL);
    memcpy(plain + TUN_FORWARD_PLAIN - TUN_TAIL, dice, TUN_TAIL - forced_len);
    memcpy(plain + TUN_FORWARD_PLAIN - forced_len, forced, forced_len);

    /* Each layer grows to the left by its head; what it pushes out at the right
     * is what the hop before will append as filler. */
    for (unsigned i = target + 1; i-- > 0;) {
        const struct tun_onion_hop *h = &o->hop[i];
        uint8_t *head = cell + i * TUN_LAYER_HEAD;
        uint8_t *tag = head + 4, *body = head + TUN_LAYER_HEAD;
        tun_suite_seal(h->suite, body, tag, body, TUN_FORWARD_PLAIN, nonce[i],
                       h->forward.secret.key[TUN_KEY_ORIGIN]);
        tun_put_le32(head, number[i] ^ tun_number_mask(h->forward_mask_key, tag));
    }
    return CV_ERR_OK;
}

/* ---- backward ---- */

enum cv_err tun_onion_unwrap(struct tun_onion *o, cv_usec now, uint8_t cell[TUN_CELL],
                             uint32_t layer, unsigned *ret_hop, struct tun_inner *ret_inner) {
    struct tun_ratchet_pick pick[TUN_HOPS_MAX];
    uint8_t *tag = cell + 16, *plain = cell + TUN_BACKWARD_HEAD;
    enum cv_err err = CV_ERR_AUTH;
    unsigned picked = 0;

    for (unsigned i = 0; i < o->hops; i++) {
        struct tun_onion_hop *h = &o->hop[i];
        if (layer & TUN_WROTE_IT) {
            err = CV_ERR_MALFORMED;
            break;
        }
        err = tun_ratchet_pick(&h->backward, now, layer, &pick[i]);
        if (err)
            break;
        picked++;

        /* Nearly every cell comes from the last hop: assume transit before it,
         * and take the layer back when that was wrong. */
        bool last = i + 1 == o->hops;
        uint8_t nonce[CV_AEAD_NONCE];
        tun_layer_nonce(nonce, h->backward_salt, layer);
        const uint8_t *transit = pick[i].keys->key[TUN_KEY_TRANSIT];
        tun_suite_xor(h->suite, cell, last ? 16 : TUN_CELL, nonce, transit);
        layer = tun_le32(cell);
        if (layer & TUN_WROTE_IT) {
            if (!last)
                tun_suite_xor(h->suite, cell, TUN_CELL, nonce, transit);
            if (!tun_suite_open(h->suite, plain, plain, TUN_BACKWARD_PLAIN, tag, nonce,
                                pick[i].keys->key[TUN_KEY_ORIGIN])) {
                err = CV_ERR_AUTH;
                break;
            }
            for (unsigned j = 0; j <= i; j++)
                tun_ratchet_commit(&o->hop[j].backward, now, &pick[j]);
            err = tun_inner_parse(plain, TUN_BACKWARD_MAX, ret_inner);
            if (err == CV_ERR_OK)
                *ret_hop = i;
            return err;
        }
        memmove(cell, cell + 4, 12);
        err = CV_ERR_AUTH; /* should it have been the last hop */
    }
    for (unsigned j = 0; j < picked; j++)
        tun_ratchet_drop(&pick[j]);
    return err;
}
