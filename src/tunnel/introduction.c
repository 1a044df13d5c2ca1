/*
 * Introduction point: holds authentication keys and the circuits behind them,
 * nothing else. It is told neither the swarm nor under which key the contact
 * was published.
 */
#include <string.h>

#include "tunnel/core.h"

void tun_hop_intro_done(struct tunnel *t, struct tun_hop *h) {
    if (h->is_intro)
        cv_map_del(t->intros, h->intro_key);
    h->is_intro = false;
}

void tun_hop_establish_intro(struct tunnel *t, const struct cv_now *now, struct tun_hop *h,
                             const struct tun_inner *in) {
    struct cv_rd r = cv_rd_init(in->data, in->len);
    struct tun_establish_intro m;
    if (tun_establish_intro_read(&r, &m)) {
        struct cv_rd first = cv_rd_init(in->data, in->len);
        tun_hop_error(t, now, h, cv_rd_le32(&first), TUN_ERROR_MALFORMED, NULL, 0);
        return;
    }
    bool role =
        (t->cfg.relay_flags & TUN_RELAY_INTRO) && tun_hop_is_free(h) && h->intro_tries < TUN_TRIES;
    h->intro_tries = (uint8_t)(h->intro_tries + role); /* each costs us a signature check */
    if (!role || !tun_establish_intro_verify(&m, h->binding)) {
        tun_hop_error(t, now, h, m.transaction, TUN_ERROR_REFUSED, NULL, 0);
        return;
    }
    /* the holder of the key moved to another circuit: the newer one counts */
    struct tun_hop *before = cv_map_get(t->intros, m.auth_key);
    if (before)
        tun_hop_intro_done(t, before);
    if (cv_map_put(t->intros, m.auth_key, h)) {
        tun_hop_error(t, now, h, m.transaction, TUN_ERROR_BUSY, NULL, 0);
        return;
    }
    memcpy(h->intro_key, m.auth_key, sizeof h->intro_key);
    h->is_intro = true;
    uint8_t body[4];
    struct cv_wr w = cv_wr_init(body, sizeof body);
    cv_wr_le32(&w, m.transaction);
    tun_hop_answer(t, now, h, TUN_CMD_INTRO_ESTABLISHED, body, sizeof body);
}

static uint8_t pass_on(struct tunnel *t, const struct cv_now *now, const struct tun_introduce *m) {
    struct tun_hop *to = cv_map_get(t->intros, m->auth_key);
    if (!to)
        return TUN_ERROR_NOENT;
    if (!cv_tokenbucket_take(&to->introductions, now->mono, 1))
        return TUN_ERROR_BUSY;
    uint8_t body[TUN_BACKWARD_MAX];
    struct cv_wr w = cv_wr_init(body, sizeof body);
    tun_introduction_write(&w, m);
    if (w.err)
        return TUN_ERROR_MALFORMED;
    return tun_hop_send(t, now, to, TUN_CMD_INTRODUCTION, body, cv_wr_len(&w)) ? TUN_ERROR_BUSY : 0;
}

void tun_hop_introduce(struct tunnel *t, const struct cv_now *now, struct tun_hop *h,
                       const struct tun_inner *in) {
    struct cv_rd r = cv_rd_init(in->data, in->len);
    struct tun_introduce m;
    if (tun_introduce_read(&r, &m)) {
        struct cv_rd first = cv_rd_init(in->data, in->len);
        tun_hop_error(t, now, h, cv_rd_le32(&first), TUN_ERROR_MALFORMED, NULL, 0);
        return;
    }
    struct tun_introduce_ack ack = {.transaction = m.transaction, .status = pass_on(t, now, &m)};
    uint8_t body[8];
    struct cv_wr w = cv_wr_init(body, sizeof body);
    tun_introduce_ack_write(&w, &ack);
    tun_hop_answer(t, now, h, TUN_CMD_INTRODUCE_ACK, body, cv_wr_len(&w));
}
