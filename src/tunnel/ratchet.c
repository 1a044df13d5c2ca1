#include "tunnel/ratchet.h"

#include <assert.h>
#include <string.h>

#include "crypto/aead.h"
#include "crypto/hash.h"
#include "crypto/keys.h"

enum { WIRE_MASK = INT32_MAX };
static_assert(WIRE_MASK == (1u << TUN_SEQUENCE_BITS) - 1, "31 bits");

/* K(e + 1) = BLAKE2b-256(key K(e), "ratchet"). In place is fine. */
static void step(struct tun_keys_secret *to, const struct tun_keys_secret *from) {
    for (unsigned i = 0; i < TUN_KEYS; i++)
        CV_BLAKE2B(to->key[i], sizeof to->key[i], from->key[i], sizeof from->key[i],
                   {"ratchet", 7});
}

/* ---- sender ---- */

void tun_ratchet_tx_init(struct tun_ratchet_tx *t, uint32_t start,
                         const struct tun_keys_secret *keys) {
    memset(t, 0, sizeof *t);
    t->start = start & WIRE_MASK;
    t->secret = *keys;
}

static void enter(struct tun_ratchet_tx *t, uint64_t n) {
    for (; t->epoch < n >> TUN_EPOCH_BITS; t->epoch++)
        step(&t->secret, &t->secret);
}

enum cv_err tun_ratchet_next(struct tun_ratchet_tx *t, uint8_t dice, uint32_t *ret_wire) {
    uint64_t n = t->n + 1 + ((dice & 15) == 0);
    if (n > TUN_SEQUENCE_CAP)
        return CV_ERR_LIMIT;
    enter(t, n);
    t->n = n;
    *ret_wire = (uint32_t)(t->start + n) & WIRE_MASK;
    return CV_ERR_OK;
}

void tun_ratchet_jump(struct tun_ratchet_tx *t) {
    uint64_t first = (uint64_t)t->epoch << TUN_EPOCH_BITS;
    uint64_t next = first + (UINT64_C(1) << TUN_EPOCH_BITS);
    if (t->n < first || t->n == 0 || next > TUN_SEQUENCE_CAP)
        return; /* nothing was sent under these keys, or next() will say so */
    t->n = next - 1;
    enter(t, next);
    cv_aead_forget();
}

cv_usec tun_ratchet_turn(struct tun_ratchet_tx *t, const struct cv_rng *rng, cv_usec now) {
    if (t->jump_at != 0 && now < t->jump_at)
        return t->jump_at;
    if (t->jump_at != 0)
        tun_ratchet_jump(t);
    cv_usec wait = cv_rng_between(rng, CV_MSEC(TUN_EPOCH_MS_MIN), CV_MSEC(TUN_EPOCH_MS_MAX));
    t->jump_at = cv_usec_add(now, wait);
    return t->jump_at;
}

/* ---- receiver ---- */

void tun_ratchet_rx_init(struct tun_ratchet_rx *r, uint32_t start,
                         const struct tun_keys_secret *keys) {
    memset(r, 0, sizeof *r);
    r->start = start & WIRE_MASK;
    r->secret = *keys;
}

static bool has_old(const struct tun_ratchet_rx *r, cv_usec now) {
    return r->old_until != 0 && now < r->old_until;
}

enum cv_err tun_ratchet_pick(const struct tun_ratchet_rx *r, cv_usec now, uint32_t wire,
                             struct tun_ratchet_pick *ret) {
    uint64_t n;
    if (!tun_number_rebuild(r->window.top, (wire - r->start) & WIRE_MASK, TUN_SEQUENCE_BITS, &n))
        return CV_ERR_STALE;
    if (n > TUN_SEQUENCE_CAP)
        return CV_ERR_STALE;

    uint64_t epoch = n >> TUN_EPOCH_BITS;
    enum cv_err err = CV_ERR_OK;
    if (epoch == r->epoch) {
        err = tun_window_check(&r->window, n);
        ret->keys = &r->secret;
    } else if (epoch > r->epoch && epoch - r->epoch <= TUN_EPOCHS_AHEAD) {
        ret->next = r->secret;
        for (uint64_t e = r->epoch; e < epoch; e++)
            step(&ret->next, &ret->next);
        ret->keys = &ret->next;
    } else if (epoch == r->old_epoch && has_old(r, now)) {
        err = tun_window_check(&r->old_window, n);
        ret->keys = &r->old_secret;
    } else {
        err = CV_ERR_STALE;
    }
    ret->n = n;
    return err;
}

void tun_ratchet_commit(struct tun_ratchet_rx *r, cv_usec now, struct tun_ratchet_pick *p) {
    if (p->keys == &r->secret) {
        tun_window_set(&r->window, p->n);
    } else if (p->keys == &r->old_secret) {
        tun_window_set(&r->old_window, p->n);
    } else {
        assert(p->keys == &p->next);
        r->old_secret = r->secret;
        r->old_window = r->window;
        r->old_epoch = r->epoch;
        r->old_until = cv_usec_add(now, CV_MSEC(TUN_OLD_EPOCH_MS));
        r->secret = p->next;
        r->epoch = (uint32_t)(p->n >> TUN_EPOCH_BITS);
        memset(&r->window, 0, sizeof r->window);
        tun_window_set(&r->window, p->n);
        tun_ratchet_drop(p);
    }
}

void tun_ratchet_drop(struct tun_ratchet_pick *p) {
    if (p->keys == &p->next)
        cv_wipe(&p->next, sizeof p->next);
}

void tun_ratchet_expire(struct tun_ratchet_rx *r, cv_usec now) {
    if (r->old_until != 0 && now >= r->old_until) {
        cv_wipe(&r->old_secret, sizeof r->old_secret);
        cv_aead_forget();
        r->old_until = 0;
    }
}
