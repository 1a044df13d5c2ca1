/*
 * Rendezvous point: a viewer leaves a cookie, a seeder names it, and their two
 * circuits become one. What one side says is peeled here and said anew on the
 * other: no number, no layer and no header crosses.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "tunnel/core.h"

/* ---- to other workers ---- */

/* False: there is no room to say that it is there. */
static bool tell_cookie(struct tunnel *t, const struct tun_hop *h, bool is) {
    if (tun_is_face(t))
        return true;
    struct tun_message m = {
        .kind = TUN_MESSAGE_COOKIE, .counted = is, .other = h->handle, .code = is};
    return tun_tell(t, &m, h->cookie, sizeof h->cookie);
}

/* To the worker of the circuit `at`, which is another. */
static void tell(struct tunnel *t, uint8_t kind, cv_handle at, cv_handle other,
                 uint32_t transaction, uint8_t code) {
    struct tun_message m = {.to = (uint8_t)tun_handle_worker(at),
                            .kind = kind,
                            .at = at,
                            .other = other,
                            .transaction = transaction,
                            .code = code};
    tun_tell(t, &m, NULL, 0);
}

void tun_hop_on_cookie(struct tunnel *t, const struct tun_message *m) {
    const struct tun_place *p = tun_place_find(t->others->cookies, m->octets);
    if (!m->code && p && p->handle == m->other)
        tun_place_del(t->others->cookies, m->octets);
    if (m->code && !p && !cv_map_get(t->cookies, m->octets)) /* who came first has it */
        (void)tun_place_put(t->others->cookies, m->octets, m->other);
}

/* ---- at the viewer's side and the seeder's ---- */

void tun_hop_rendezvous_done(struct tunnel *t, struct tun_hop *h) {
    if (h->is_rendezvous && cv_map_get(t->cookies, h->cookie) == h) {
        cv_map_del(t->cookies, h->cookie);
        (void)tell_cookie(t, h, false);
    }
    h->is_rendezvous = false;
    free(h->joined);
    h->joined = NULL;
    if (h->spliced)
        h->spliced->spliced = NULL;
    h->spliced = NULL;
    tun_cross_done(t, h);
    if (h->spliced_away)
        tell(t, TUN_MESSAGE_PARTED, h->spliced_away, h->handle, 0, 0);
    h->spliced_away = 0;
}

static bool read_body(struct tunnel *t, const struct cv_now *now, struct tun_hop *h,
                      const struct tun_inner *in, struct tun_rendezvous *ret) {
    struct cv_rd r = cv_rd_init(in->data, in->len);
    if (tun_rendezvous_read(&r, ret) == CV_ERR_OK)
        return true;
    struct cv_rd first = cv_rd_init(in->data, in->len);
    tun_hop_error(t, now, h, cv_rd_le32(&first), TUN_ERROR_MALFORMED, NULL, 0);
    return false;
}

void tun_hop_establish_rendezvous(struct tunnel *t, const struct cv_now *now, struct tun_hop *h,
                                  const struct tun_inner *in) {
    struct tun_rendezvous m;
    if (!read_body(t, now, h, in, &m))
        return;
    if (!(t->cfg.relay_flags & TUN_RELAY_RENDEZVOUS) || !tun_hop_is_free(h)) {
        tun_hop_error(t, now, h, m.transaction, TUN_ERROR_REFUSED, NULL, 0);
        return;
    }
    if (cv_map_put(t->cookies, m.cookie, h)) {
        tun_hop_error(t, now, h, m.transaction, TUN_ERROR_BUSY, NULL, 0);
        return;
    }
    memcpy(h->cookie, m.cookie, sizeof h->cookie);
    if (!tell_cookie(t, h, true)) { /* a seeder at another worker would not find it */
        cv_map_del(t->cookies, m.cookie);
        tun_hop_error(t, now, h, m.transaction, TUN_ERROR_BUSY, NULL, 0);
        return;
    }
    h->cookie_transaction = m.transaction;
    h->is_rendezvous = true;
    uint8_t body[4];
    struct cv_wr w = cv_wr_init(body, sizeof body);
    cv_wr_le32(&w, m.transaction);
    tun_hop_answer(t, now, h, TUN_CMD_RENDEZVOUS_ESTABLISHED, body, sizeof body);
}

/* JOINED towards the viewer: its transaction | the seeder's flight. Repeated
 * until the viewer sends something through, because nobody asks for it. */
static enum cv_err tell_viewer(struct tunnel *t, const struct cv_now *now, struct tun_hop *viewer,
                               const struct tun_rendezvous *m) {
    size_t len = 4 + m->flight_len;
    struct tun_memo *joined = malloc(sizeof *joined + len);
    if (!joined)
        return CV_ERR_NOMEM;
    *joined = (struct tun_memo){.len = (uint16_t)len, .command = TUN_CMD_JOINED};
    struct cv_wr w = cv_wr_init(joined->body, len);
    cv_wr_le32(&w, viewer->cookie_transaction);
    cv_wr_bytes(&w, m->flight, m->flight_len);
    assert(!w.err);
    viewer->joined = joined;
    viewer->joined_tries = 1;
    viewer->joined_wait = TUN_RETRY_FIRST;
    viewer->joined_at = now->mono + viewer->joined_wait;
    (void)tun_hop_send(t, now, viewer, TUN_CMD_JOINED, joined->body, joined->len);
    tun_hop_schedule(t, viewer);
    return CV_ERR_OK;
}

void tun_hop_joined_again(struct tunnel *t, const struct cv_now *now, struct tun_hop *h) {
    if (h->joined_tries >= TUN_TRIES) {
        free(h->joined);
        h->joined = NULL;
        return;
    }
    h->joined_tries++;
    h->joined_wait *= 2;
    h->joined_at = now->mono + h->joined_wait;
    (void)tun_hop_send(t, now, h, TUN_CMD_JOINED, h->joined->body, h->joined->len);
}

static void joined(struct tunnel *t, const struct cv_now *now, struct tun_hop *h,
                   uint32_t transaction) {
    uint8_t body[4];
    struct cv_wr w = cv_wr_init(body, sizeof body);
    cv_wr_le32(&w, transaction);
    tun_hop_answer(t, now, h, TUN_CMD_JOINED, body, sizeof body);
}

/* The viewer's half of it. 0, or why not. */
static uint8_t meet(struct tunnel *t, const struct cv_now *now, struct tun_hop *viewer,
                    const struct tun_rendezvous *m) {
    if (!viewer || viewer->spliced || viewer->spliced_away || m->flight_len + 4 > TUN_BACKWARD_MAX)
        return TUN_ERROR_NOENT;
    if (tell_viewer(t, now, viewer, m))
        return TUN_ERROR_BUSY;
    cv_map_del(t->cookies, viewer->cookie); /* one use */
    (void)tell_cookie(t, viewer, false);
    return 0;
}

/* A cookie that none of our circuits left: the face knows whose did. */
static enum tun_asked join_elsewhere(struct tunnel *t, const struct tun_rendezvous *m,
                                     cv_handle seeder, const uint8_t *body, size_t len) {
    struct tun_message ask = {.kind = TUN_MESSAGE_JOIN, .other = seeder};
    if (tun_is_face(t)) {
        const struct tun_place *p = tun_place_find(t->others->cookies, m->cookie);
        if (!p)
            return TUN_ASKED_NOBODY;
        ask.kind = TUN_MESSAGE_MEET; /* who has the cookie says when it is spent */
        ask.at = p->handle;
        ask.to = (uint8_t)tun_handle_worker(p->handle);
    }
    return tun_tell_question(t, &ask, body, len) ? TUN_ASKED_SOMEBODY : TUN_ASKED_LOST;
}

void tun_hop_join(struct tunnel *t, const struct cv_now *now, struct tun_hop *h,
                  const struct tun_inner *in) {
    struct tun_rendezvous m;
    if (!read_body(t, now, h, in, &m))
        return;
    if (!tun_hop_is_free(h)) {
        tun_hop_error(t, now, h, m.transaction, TUN_ERROR_REFUSED, NULL, 0);
        return;
    }
    struct tun_hop *viewer = cv_map_get(t->cookies, m.cookie);
    enum tun_asked asked = TUN_ASKED_NOBODY;
    if (!viewer && t->others)
        asked = join_elsewhere(t, &m, h->handle, in->data, in->len);
    if (asked == TUN_ASKED_SOMEBODY)
        tun_hop_asked(t, now, h, m.transaction);
    if (asked != TUN_ASKED_NOBODY)
        return;
    uint8_t code = meet(t, now, viewer, &m);
    if (code) {
        tun_hop_error(t, now, h, m.transaction, code, NULL, 0);
        return;
    }
    viewer->spliced = h;
    h->spliced = viewer;
    joined(t, now, h, m.transaction);
}

/* The face: somebody else's circuit joins whose cookie is ours, or a third worker's. */
void tun_hop_on_join(struct tunnel *t, const struct cv_now *now, const struct tun_message *m) {
    struct cv_rd r = cv_rd_init(m->octets, m->len);
    struct tun_rendezvous j;
    if (tun_rendezvous_read(&r, &j))
        return;
    if (cv_map_get(t->cookies, j.cookie)) {
        tun_hop_on_meet(t, now, m);
        return;
    }
    switch (join_elsewhere(t, &j, m->other, m->octets, m->len)) {
    case TUN_ASKED_SOMEBODY:
        break;
    case TUN_ASKED_NOBODY:
        tell(t, TUN_MESSAGE_MET, m->other, 0, j.transaction, TUN_ERROR_NOENT);
        break;
    case TUN_ASKED_LOST:
        tun_crossing_unasked(t, m->other, j.transaction, false);
        break;
    }
}

void tun_hop_on_meet(struct tunnel *t, const struct cv_now *now, const struct tun_message *m) {
    struct cv_rd r = cv_rd_init(m->octets, m->len);
    struct tun_rendezvous j;
    if (tun_rendezvous_read(&r, &j))
        return;
    struct tun_hop *viewer = cv_map_get(t->cookies, j.cookie);
    if (!tun_is_elsewhere(t, m->other)) { /* ours asked for a cookie that is ours by now */
        struct tun_hop *h = tun_hop_get(t, m->other);
        if (h)
            tun_hop_error(t, now, h, j.transaction, TUN_ERROR_NOENT, NULL, 0);
        return;
    }
    uint8_t code = meet(t, now, viewer, &j);
    if (!code)
        viewer->spliced_away = m->other;
    tell(t, TUN_MESSAGE_MET, m->other, code ? 0 : viewer->handle, j.transaction, code);
}

void tun_hop_on_met(struct tunnel *t, const struct cv_now *now, const struct tun_message *m) {
    struct tun_hop *h = tun_hop_get(t, m->at);
    bool is_free = h && tun_hop_is_free(h);
    if (!m->code && is_free) {
        h->spliced_away = m->other;
        joined(t, now, h, m->transaction);
        return;
    }
    /* refused; or it took another role, or ended, while it waited */
    if (h)
        tun_hop_error(t, now, h, m->transaction, m->code ? m->code : TUN_ERROR_REFUSED, NULL, 0);
    if (!m->code)
        tell(t, TUN_MESSAGE_PARTED, m->other, m->at, 0, 0);
}

void tun_hop_on_joined(struct tunnel *t, const struct cv_now *now, const struct tun_message *m) {
    struct tun_hop *h = tun_hop_get(t, m->at);
    struct cv_now since = {.mono = cv_usec_min(m->since, now->mono), .wall = now->wall};
    if (h && h->spliced_away == m->other)
        (void)tun_hop_send(t, &since, h, TUN_CMD_DATAGRAM, m->octets, m->len);
}

void tun_hop_on_parted(struct tunnel *t, const struct tun_message *m) {
    struct tun_hop *h = tun_hop_get(t, m->at);
    if (!h || h->spliced_away != m->other)
        return;
    h->spliced_away = 0;
    tun_hop_destroy(t, h, NULL);
}

void tun_hop_spliced_datagram(struct tunnel *t, const struct cv_now *now, struct tun_hop *h,
                              const struct tun_inner *in) {
    if (h->joined) { /* it heard */
        free(h->joined);
        h->joined = NULL;
    }
    t->count.relayed_cells++;
    if (h->spliced) {
        (void)tun_hop_send(t, now, h->spliced, TUN_CMD_DATAGRAM, in->data, in->len);
        return;
    }
    tun_cross(t, now, h, in);
}

/* To the circuit of another worker that this one is joined to; `since` when it came. */
void tun_hop_cross(struct tunnel *t, struct tun_hop *h, const struct tun_inner *in, cv_usec since) {
    struct tun_message m = {.to = (uint8_t)tun_handle_worker(h->spliced_away),
                            .kind = TUN_MESSAGE_JOINED,
                            .counted = true,
                            .at = h->spliced_away,
                            .other = h->handle,
                            .since = since};
    tun_tell(t, &m, in->data, in->len);
}
