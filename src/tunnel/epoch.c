/*
 * Link handshakes: the first of a link, and those that renew its keys.
 *
 * A renewal is a whole new handshake, whose initiator is as anonymous as the
 * first time; so the first cell under the new keys is CONTINUE, which names the
 * link it continues and proves that its sender holds that link's keys. Until
 * then the responder keeps a link of its own for it. The initiator uses the new
 * keys once any cell came back under them.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/aead.h"
#include "crypto/hash.h"
#include "tunnel/core.h"

void tun_session_drop(struct tunnel *t, struct tun_session *s) {
    if (s->live)
        tun_rxindex_drop(t->rx, s->local_index);
    cv_wipe(s, sizeof *s);
    cv_aead_forget();
}

static void session_start(struct tun_session *s, const struct tun_linkhs *hs) {
    memset(s, 0, sizeof *s);
    tun_linkhs_finish(hs, &s->tx_secret, &s->rx_secret, s->hash);
    s->local_index = hs->local_index;
    s->remote_index = hs->remote_index;
    s->live = true;
}

/* Earlier by some seconds, so that links made together do not renew together. */
static cv_usec due(struct tunnel *t, cv_usec now, uint64_t ms) {
    return now + CV_MSEC(ms) - cv_rng_below(&t->fast, CV_SEC(10));
}

/* Keys that only said "I am here" protect nothing: a handshake would cost both
 * sides a hundred times what such a link does otherwise. */
void tun_epoch_fresh(struct tunnel *t, const struct cv_now *now, struct tun_link *l) {
    l->rekey_at = l->ours ? due(t, now->mono, TUN_REKEY_IDLE_MS) : CV_USEC_NEVER;
    l->give_up_at = now->mono + CV_MSEC(TUN_REKEY_IDLE_MS) + TUN_REJECT_AFTER;
}

void tun_epoch_used(struct tunnel *t, cv_usec now, struct tun_link *l) {
    if (l->now.used)
        return;
    l->now.used = true;
    l->give_up_at = cv_usec_min(l->give_up_at, now + TUN_REJECT_AFTER);
    if (l->ours && !l->making)
        l->rekey_at = cv_usec_min(l->rekey_at, due(t, now, TUN_REKEY_MS));
    tun_link_schedule(t, l);
}

/* ---- initiator ---- */

static void making_free(struct tunnel *t, struct tun_link *l, bool keep_index) {
    if (!l->making)
        return;
    if (!keep_index)
        tun_rxindex_drop(t->rx, l->making->hs.local_index);
    tun_linkhs_done(&l->making->hs);
    free(l->making);
    l->making = NULL;
}

static enum cv_err send_flight_1(struct tunnel *t, const struct cv_now *now, struct tun_link *l) {
    struct tun_making *m = l->making;
    uint32_t index = m->hs.local_index;
    bool cookie = m->cookie_at && cv_usec_since(now->mono, m->cookie_at) < CV_MSEC(TUN_COOKIE_MS);
    uint8_t flight[TUN_DATAGRAM];
    tun_linkhs_done(&m->hs);
    enum cv_err err =
        tun_linkhs_create_1(&m->hs, l->peer, index, cookie ? m->cookie : NULL, &t->rng, flight);
    m->hs.local_index = index;
    if (err)
        return err;
    tun_raw_send(t, &l->addr, flight);
    t->count.handshakes_out++;
    return CV_ERR_OK;
}

enum cv_err tun_epoch_begin(struct tunnel *t, const struct cv_now *now, struct tun_link *l) {
    assert(l->ours);
    assert(l->peer);
    assert(!l->making);
    struct tun_making *m = calloc(1, sizeof *m);
    if (!m)
        return CV_ERR_NOMEM;
    enum cv_err err = tun_rxindex_take(t->rx, l, &m->hs.local_index);
    if (err) {
        free(m);
        return err;
    }
    m->wait = TUN_RETRY_FIRST;
    m->at = cv_usec_add(now->mono, m->wait);
    m->tries = 1;
    l->making = m;
    l->rekey_at = CV_USEC_NEVER;
    err = send_flight_1(t, now, l);
    if (err)
        making_free(t, l, false);
    return err;
}

static void continue_mac(uint8_t ret[32], const struct tun_session *old,
                         const struct tun_session *new) {
    CV_BLAKE2B(ret, 32, old->hash, sizeof old->hash, {"culvert link continue", 21},
               {new->hash, sizeof new->hash});
}

/* CONTINUE: receiver index of the link being continued u32 | mac 32. */
static void send_continue(struct tunnel *t, struct tun_link *l) {
    uint8_t body[TUN_CONTINUE];
    struct cv_wr w = cv_wr_init(body, sizeof body);
    cv_wr_le32(&w, l->now.remote_index);
    continue_mac(cv_wr_skip(&w, 32), &l->now, &l->next);
    tun_link_control_to(t, l, TUN_LINKCMD_CONTINUE, 0, body, sizeof body, NULL, true);
}

static void introduce_ourselves(struct tunnel *t, const struct cv_now *now, struct tun_link *l) {
    l->auth_tries = t->cfg.identity && !t->cfg.nameless ? 3 : 0;
    l->auth_at = l->auth_tries ? now->mono : CV_USEC_NEVER;
    if (!l->auth_tries)
        tun_link_control(t, l, TUN_LINKCMD_KEEPALIVE, 0, NULL, 0);
    tun_link_give_spares(t, l);
}

static void first_epoch(struct tunnel *t, const struct cv_now *now, struct tun_link *l) {
    session_start(&l->now, &l->making->hs);
    memcpy(l->first_hash, l->now.hash, sizeof l->first_hash);
    making_free(t, l, true);
    l->state = TUN_STATE_OPEN;
    tun_epoch_fresh(t, now, l);
    l->heard_at = l->sent_at = now->mono;
    introduce_ourselves(t, now, l);
    tun_link_opened(t, now, l);
}

static void next_epoch(struct tunnel *t, const struct cv_now *now, struct tun_link *l) {
    struct tun_making *m = l->making;
    session_start(&l->next, &m->hs);
    m->answered = true;
    m->tries = 1;
    m->wait = TUN_RETRY_FIRST;
    m->at = cv_usec_add(now->mono, m->wait);
    send_continue(t, l);
}

enum cv_err tun_epoch_on_answer(struct tunnel *t, const struct cv_now *now, struct tun_link *l,
                                const uint8_t *buf) {
    struct tun_making *m = l->making;
    if (tun_linkhs_consume_2(&m->hs, buf) == CV_ERR_OK) {
        if (l->state == TUN_STATE_MAKING)
            first_epoch(t, now, l);
        else
            next_epoch(t, now, l);
        tun_link_schedule(t, l);
        return CV_ERR_OK;
    }
    uint8_t cookie[TUN_COOKIE];
    if (tun_linkhs_consume_cookie(&m->hs, l->peer, buf, cookie) == CV_ERR_OK) {
        bool first = m->cookie_at == 0;
        memcpy(m->cookie, cookie, sizeof cookie);
        m->cookie_at = now->mono ? now->mono : 1;
        /* at once, but only once: cookies must not set our pace */
        return first ? send_flight_1(t, now, l) : CV_ERR_OK;
    }
    t->count.bad_handshake++;
    return CV_ERR_AUTH;
}

void tun_epoch_confirm(struct tunnel *t, const struct cv_now *now, struct tun_link *l) {
    assert(l->next.live);
    tun_session_drop(t, &l->old);
    l->old = l->now;
    l->old_until = now->mono + TUN_OLD_SESSION;
    l->now = l->next;
    cv_wipe(&l->next, sizeof l->next);
    making_free(t, l, true);
    tun_epoch_fresh(t, now, l);
    tun_link_schedule(t, l);
}

static void give_up_renewal(struct tunnel *t, const struct cv_now *now, struct tun_link *l) {
    bool answered = l->making->answered;
    making_free(t, l, answered);
    if (answered)
        tun_session_drop(t, &l->next);
    l->rekey_at = now->mono + CV_SEC(5);
}

void tun_epoch_on_timeout(struct tunnel *t, const struct cv_now *now, struct tun_link *l) {
    struct tun_making *m = l->making;
    if (!m && now->mono >= l->rekey_at) {
        if (tun_epoch_begin(t, now, l))
            l->rekey_at = now->mono + CV_SEC(5);
        return;
    }
    if (!m || now->mono < m->at)
        return;
    if (m->tries >= TUN_TRIES) {
        if (l->state == TUN_STATE_MAKING)
            tun_link_fail(t, now, l, CV_ERR_TIMEDOUT);
        else
            give_up_renewal(t, now, l);
        return;
    }
    m->tries++;
    m->wait *= 2;
    m->at = cv_usec_add(now->mono, m->wait);
    if (!m->cookie_at && l->state == TUN_STATE_MAKING && l->addr_too.family) {
        /* turn by turn: one of the two may be cut off, as long as none gave a cookie, which
         * holds for that one alone */
        struct cv_addr silent = l->addr;
        l->addr = l->addr_too;
        l->addr_too = silent;
    }
    if (m->answered)
        send_continue(t, l);
    else
        (void)send_flight_1(t, now, l);
}

/* ---- responder ---- */

static const struct tun_keyring_day *meant_day(struct tunnel *t, const struct cv_now *now,
                                               const uint8_t *buf) {
    const struct tun_keyring_day *days[3];
    size_t n = tun_keyring_days(t->keyring, now->wall, days);
    for (size_t i = 0; i < n; i++)
        if (tun_linkhs_is_flight_1(&days[i]->peer, buf))
            return days[i];
    return NULL;
}

static enum cv_err answer(struct tunnel *t, const struct cv_now *now, const struct cv_addr *from,
                          struct tun_linkhs *hs) {
    if (!tun_places_may_come(t, from))
        return CV_ERR_LIMIT;
    if (!tun_half_make_room(t, now, from))
        return CV_ERR_LIMIT;
    struct tun_link *l = tun_link_alloc(t, now, from, false);
    if (!l)
        return CV_ERR_LIMIT;
    uint32_t index;
    enum cv_err err = tun_rxindex_take(t->rx, l, &index);
    uint8_t flight[TUN_DATAGRAM];
    if (!err) {
        err = tun_linkhs_create_2(hs, index, &t->rng, flight);
        if (err)
            tun_rxindex_drop(t->rx, index);
    }
    if (err) {
        tun_link_free(t, l);
        return err;
    }
    hs->local_index = index;
    session_start(&l->now, hs);
    memcpy(l->first_hash, l->now.hash, sizeof l->first_hash);
    l->state = TUN_STATE_ANSWERED;
    tun_places_link_leaves(t, l); /* it may come to nothing, or renew another */
    l->give_up_at = now->mono + TUN_HALF_OPEN_TIME;
    tun_half_count(t, l, true);
    tun_link_schedule(t, l);
    tun_raw_send(t, from, flight);
    return CV_ERR_OK;
}

/* Who has proved its address is rationed apart from those who only claim one:
 * else whoever forges a network's addresses would lock that network out. */
static enum cv_err admit(struct tunnel *t, const struct cv_now *now, const struct cv_addr *from,
                         const struct tun_linkhs_peer *self, const uint8_t *buf) {
    bool loaded = tun_admission_loaded(t->admission, now->mono) ||
                  t->halves > TUN_HALF_OPEN_MAX / 4 || tun_places_are_taken(t);
    if (!loaded && tun_admit(t->admission, TUN_ADMIT_CLAIMED, from, now->mono))
        return CV_ERR_OK;
    if (tun_linkhs_has_cookie(self, &t->jar, from, buf)) {
        if (tun_admit(t->admission, TUN_ADMIT_PROVED, from, now->mono))
            return CV_ERR_OK;
        t->count.rate_limited++;
        return CV_ERR_LIMIT;
    }
    uint8_t reply[TUN_DATAGRAM];
    tun_linkhs_create_cookie(self, &t->jar, from, buf, &t->fast, reply);
    tun_raw_send(t, from, reply);
    t->count.cookies_sent++;
    return CV_ERR_AGAIN;
}

enum cv_err tun_epoch_on_flight_1(struct tunnel *t, const struct cv_now *now,
                                  const struct cv_addr *from, const uint8_t *buf, bool ours) {
    const struct tun_keyring_day *day = meant_day(t, now, buf);
    if (!day)
        return CV_ERR_NOENT;
    if (!tun_address_ok(t, from))
        return CV_ERR_DENIED;
    unsigned worker = ours ? t->cfg.worker : tun_worker_by_address(t, from);
    if (worker != t->cfg.worker) {
        struct tun_message m = {
            .to = (uint8_t)worker, .kind = TUN_MESSAGE_FLIGHT, .counted = true, .addr = *from};
        m.code = cv_map_get(t->others->moved, from) != NULL; /* it knows no better */
        tun_tell(t, &m, buf, TUN_DATAGRAM);
        return CV_ERR_OK;
    }
    tun_cookie_jar_tick(&t->jar, &t->rng, now->mono);
    enum cv_err err = admit(t, now, from, &day->peer, buf);
    if (err)
        return err;
    struct tun_linkhs hs;
    memset(&hs, 0, sizeof hs);
    err = tun_linkhs_consume_1(&hs, &day->peer, &day->link_secret, &t->rng, buf);
    if (!err) {
        t->count.handshakes_in++;
        err = answer(t, now, from, &hs);
    } else {
        t->count.bad_handshake++;
    }
    tun_linkhs_done(&hs);
    return err;
}

/* The link that is continued, if the proof holds. */
static struct tun_link *continued(struct tunnel *t, const struct tun_link *l, const uint8_t *body,
                                  size_t len) {
    struct cv_rd r = cv_rd_init(body, len);
    uint32_t index = cv_rd_le32(&r);
    const uint8_t *mac = cv_rd_bytes(&r, 32);
    if (r.err)
        return NULL;
    struct tun_link *into = tun_rxindex_find(t->rx, index);
    if (!into || into == l || into->ours || into->state != TUN_STATE_OPEN)
        return NULL;
    uint8_t want[32];
    continue_mac(want, &into->now, &l->now);
    if (cv_equal(want, mac, sizeof want))
        return into;
    if (!into->old.live)
        return NULL;
    continue_mac(want, &into->old, &l->now);
    return cv_equal(want, mac, sizeof want) ? into : NULL;
}

bool tun_epoch_continue(struct tunnel *t, const struct cv_now *now, struct tun_link *l,
                        const uint8_t *body, size_t len, struct tun_link **ret_into) {
    if (l->state != TUN_STATE_ANSWERED)
        return false;
    struct tun_link *into = continued(t, l, body, len);
    if (!into)
        return false;
    tun_session_drop(t, &into->old);
    into->old = into->now;
    into->old_until = CV_USEC_NEVER; /* until the initiator uses the new keys */
    into->now = l->now;
    into->addr = l->addr; /* the handshake went there and back */
    tun_worker_moved(t, into, false);
    if (into->netgroup)
        tun_link_regroup(t, into);
    into->heard_at = now->mono;
    tun_epoch_fresh(t, now, into);
    tun_rxindex_move(t->rx, into->now.local_index, into);
    cv_wipe(&l->now, sizeof l->now);
    tun_link_free(t, l);
    tun_link_control(t, into, TUN_LINKCMD_KEEPALIVE, 0, NULL, 0);
    tun_link_schedule(t, into);
    *ret_into = into;
    return true;
}
