/*
 * Rendezvous point: a viewer leaves a cookie, a seeder names it, and their two
 * circuits become one. What one side says is peeled here and said anew on the
 * other: no number, no layer and no header crosses.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "tunnel/core.h"

void tun_hop_rendezvous_done(struct tunnel *t, struct tun_hop *h) {
    if (h->is_rendezvous && cv_map_get(t->cookies, h->cookie) == h)
        cv_map_del(t->cookies, h->cookie);
    h->is_rendezvous = false;
    free(h->joined);
    h->joined = NULL;
    if (h->spliced)
        h->spliced->spliced = NULL;
    h->spliced = NULL;
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
    if (!viewer || viewer->spliced || m.flight_len + 4 > TUN_BACKWARD_MAX) {
        tun_hop_error(t, now, h, m.transaction, TUN_ERROR_NOENT, NULL, 0);
        return;
    }
    if (tell_viewer(t, now, viewer, &m)) {
        tun_hop_error(t, now, h, m.transaction, TUN_ERROR_BUSY, NULL, 0);
        return;
    }
    cv_map_del(t->cookies, viewer->cookie); /* one use */
    viewer->spliced = h;
    h->spliced = viewer;
    uint8_t body[4];
    struct cv_wr w = cv_wr_init(body, sizeof body);
    cv_wr_le32(&w, m.transaction);
    tun_hop_answer(t, now, h, TUN_CMD_JOINED, body, sizeof body);
}

void tun_hop_spliced_datagram(struct tunnel *t, const struct cv_now *now, struct tun_hop *h,
                              const struct tun_inner *in) {
    if (h->joined) { /* it heard */
        free(h->joined);
        h->joined = NULL;
    }
    t->count.relayed_cells++;
    (void)tun_hop_send(t, now, h->spliced, TUN_CMD_DATAGRAM, in->data, in->len);
}
