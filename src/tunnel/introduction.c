/*
 * Introduction point: holds authentication keys and the circuits behind them,
 * nothing else. It is told neither the swarm nor under which key the contact
 * was published.
 */
#include <string.h>

#include "tunnel/core.h"

/* The face: another worker's circuit behind this key, or none. */
static void point_moves(struct tunnel *t, const uint8_t key[CV_KEY], cv_handle to) {
    const struct tun_place *p = t->others ? tun_place_find(t->others->points, key) : NULL;
    if (!p)
        return;
    struct tun_message m = {.to = (uint8_t)tun_handle_worker(p->handle),
                            .kind = TUN_MESSAGE_POINT_MOVED,
                            .at = p->handle};
    if (p->handle != to)
        tun_tell(t, &m, key, CV_KEY);
    tun_place_del(t->others->points, key);
}

/* False: there is no room to say that it is there. */
static bool tell_point(struct tunnel *t, const struct tun_hop *h, bool is) {
    struct tun_message m = {
        .kind = TUN_MESSAGE_POINT, .counted = is, .other = h->handle, .code = is};
    return tun_tell(t, &m, h->intro_key, sizeof h->intro_key);
}

void tun_hop_on_point(struct tunnel *t, const struct tun_message *m) {
    const uint8_t *key = m->octets;
    const struct tun_place *p = tun_place_find(t->others->points, key);
    if (!m->code) {
        if (p && p->handle == m->other)
            tun_place_del(t->others->points, key);
        return;
    }
    struct tun_hop *ours = cv_map_get(t->intros, key);
    if (ours)
        tun_hop_intro_done(t, ours);
    point_moves(t, key, m->other);
    (void)tun_place_put(t->others->points, key, m->other); /* no room: nobody finds it */
}

void tun_hop_on_point_moved(struct tunnel *t, const struct tun_message *m) {
    struct tun_hop *h = tun_hop_get(t, m->at);
    if (h && h->is_intro && cv_equal(h->intro_key, m->octets, CV_KEY))
        tun_hop_intro_done(t, h);
}

void tun_hop_intro_done(struct tunnel *t, struct tun_hop *h) {
    if (!h->is_intro)
        return;
    cv_map_del(t->intros, h->intro_key);
    h->is_intro = false;
    /* It asks as others do from now on; empty, or keys that move to and fro would fill it. */
    cv_tokenbucket_init(&h->introductions, TUN_ASKED_S, TUN_ASKED_BURST,
                        h->introductions.filled_at);
    h->introductions.level = 0;
    if (!tun_is_face(t))
        (void)tell_point(t, h, false);
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
    if (!tun_is_face(t) && !tell_point(t, h, true)) {
        cv_map_del(t->intros, m.auth_key);
        tun_hop_error(t, now, h, m.transaction, TUN_ERROR_BUSY, NULL, 0);
        return;
    }
    h->is_intro = true;
    cv_tokenbucket_init(&h->introductions, TUN_INTRODUCTIONS_S, TUN_INTRODUCTIONS_BURST, now->mono);
    if (tun_is_face(t))
        point_moves(t, m.auth_key, h->handle);
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

static void acknowledge(struct tunnel *t, const struct cv_now *now, struct tun_hop *h,
                        uint32_t transaction, uint8_t status) {
    struct tun_introduce_ack ack = {.transaction = transaction, .status = status};
    uint8_t body[8];
    struct cv_wr w = cv_wr_init(body, sizeof body);
    tun_introduce_ack_write(&w, &ack);
    tun_hop_answer(t, now, h, TUN_CMD_INTRODUCE_ACK, body, cv_wr_len(&w));
}

/* A key that none of our circuits holds: the face knows whose does. */
static enum tun_asked ask_others(struct tunnel *t, const struct tun_introduce *m, cv_handle asker,
                                 const uint8_t *body, size_t len) {
    if (!t->others || cv_map_get(t->intros, m->auth_key))
        return TUN_ASKED_NOBODY;
    struct tun_message ask = {.kind = TUN_MESSAGE_INTRODUCE, .other = asker};
    if (tun_is_face(t)) {
        const struct tun_place *p = tun_place_find(t->others->points, m->auth_key);
        if (!p)
            return TUN_ASKED_NOBODY;
        ask.to = (uint8_t)tun_handle_worker(p->handle);
        ask.at = p->handle;
    }
    return tun_tell_question(t, &ask, body, len) ? TUN_ASKED_SOMEBODY : TUN_ASKED_LOST;
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
    if (h->is_intro) { /* its bucket is for what is passed on to it */
        acknowledge(t, now, h, m.transaction, TUN_ERROR_REFUSED);
        return;
    }
    /* No circuit has a point for itself. */
    if (!cv_tokenbucket_take(&h->introductions, now->mono, 1)) {
        acknowledge(t, now, h, m.transaction, TUN_ERROR_BUSY);
        return;
    }
    enum tun_asked asked = ask_others(t, &m, h->handle, in->data, in->len);
    if (asked == TUN_ASKED_SOMEBODY)
        tun_hop_asked(t, now, h, m.transaction);
    else if (asked == TUN_ASKED_NOBODY)
        acknowledge(t, now, h, m.transaction, pass_on(t, now, &m));
}

static void tell_introduced(struct tunnel *t, const struct cv_now *now, cv_handle asker,
                            uint32_t transaction, uint8_t status) {
    struct tun_message m = {.to = (uint8_t)tun_handle_worker(asker),
                            .kind = TUN_MESSAGE_INTRODUCED,
                            .at = asker,
                            .transaction = transaction,
                            .code = status};
    if (m.to == t->cfg.worker)
        tun_hop_on_introduced(t, now, &m);
    else
        tun_tell(t, &m, NULL, 0);
}

void tun_hop_on_introduce(struct tunnel *t, const struct cv_now *now, const struct tun_message *m) {
    struct cv_rd r = cv_rd_init(m->octets, m->len);
    struct tun_introduce in;
    if (tun_introduce_read(&r, &in))
        return;
    enum tun_asked asked = TUN_ASKED_NOBODY;
    if (tun_is_face(t))
        asked = ask_others(t, &in, m->other, m->octets, m->len);
    if (asked == TUN_ASKED_NOBODY)
        tell_introduced(t, now, m->other, in.transaction, pass_on(t, now, &in));
    else if (asked == TUN_ASKED_LOST)
        tun_crossing_unasked(t, m->other, in.transaction, false);
}

void tun_hop_on_introduced(struct tunnel *t, const struct cv_now *now,
                           const struct tun_message *m) {
    struct tun_hop *h = tun_hop_get(t, m->at);
    if (h)
        acknowledge(t, now, h, m->transaction, m->code);
}
