/* Swarms, roads and datagrams of hidden.h; see hiddenstate.h. */
#include "tunnel/hidden.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/trace.h"
#include "tunnel/hiddenstate.h"
#include "tunnel/pacer.h"

/* ---- roads ---- */

static uint32_t road_id(cv_handle circuit) {
    return (uint32_t)circuit;
}

static struct tun_road *road_get(const struct tun_hiddens *all, cv_handle circuit) {
    struct tun_road *r = tun_idtable_get(&all->roads, road_id(circuit));
    return r && r->circuit == circuit ? r : NULL;
}

/* The circuit is built. One that has to keep a rate is used when that is agreed on:
 * what is said before would be seen. Where a viewer's rate is there already, by other ways, one
 * more begins when somebody came to it and it takes the place of another (meet.c): what meeting
 * takes, and that it fails, is then no step on our line. */
static void road_built(struct tun_road *r, const struct tun_circuit_info *info) {
    struct tun_hiddens *all = r->owner->all;
    bool paced = r->owner->pace && (r->kind == TUN_ROAD_RENDEZVOUS || r->kind == TUN_ROAD_JOIN);
    bool later = r->kind == TUN_ROAD_RENDEZVOUS && tun_meet_rates(r->owner) >= TUN_PACED_CIRCUITS;
    r->keeps = info->pace != 0;
    if (!paced || r->keeps || later)
        r->ready = true;
    else /* READY comes again, or DOWN; else it is stuck and given up */
        (void)tun_circuit_pace(all->t, &all->now, r->circuit, r->owner->pace);
}

struct tun_road *tun_hidden_road(const struct tun_hiddens *all, const struct cv_endpoint *peer) {
    struct tun_road *r = peer->kind == CV_ENDPOINT_CIRCUIT ? road_get(all, peer->handle) : NULL;
    return r && r->e2e ? r : NULL;
}

enum cv_err tun_road_open(struct tun_hidden *h, struct tun_road *r, enum tun_road_kind kind,
                          void *part, const struct tun_path_request *req) {
    struct tun_hiddens *all = h->all;
    cv_handle circuit;
    assert(r->kind == TUN_ROAD_NONE);
    enum cv_err err = tun_client_open(all->t, &all->now, req, TUN_USER_HIDDEN, &circuit);
    if (err)
        return err;
    /* A handle's index is used again only when its circuit is gone, and then
     * its DOWN has been heard. */
    err = tun_idtable_put(&all->roads, road_id(circuit), r);
    if (err) {
        tun_circuit_close(all->t, &all->now, circuit);
        return err;
    }
    struct tun_circuit_info info;
    bool known = tun_circuit_info(all->t, circuit, &info) == CV_ERR_OK;
    *r = (struct tun_road){.kind = kind,
                           .circuit = circuit,
                           .owner = h,
                           .part = part,
                           .opened_at = all->now.mono,
                           .expires_at = known ? info.expires_at : CV_USEC_NEVER};
    if (known && info.ready)
        road_built(r, &info);
    tun_hidden_by(h, all->now.mono);
    return CV_ERR_OK;
}

/* The circuit is gone; only the road is left to be cleared. */
static void road_clear(struct tun_road *r) {
    tun_idtable_del(&r->owner->all->roads, road_id(r->circuit));
    *r = (struct tun_road){.kind = TUN_ROAD_NONE};
}

void tun_road_close(struct tun_road *r) {
    if (r->kind == TUN_ROAD_NONE)
        return;
    struct tun_hiddens *all = r->owner->all;
    if (all->t) {
        tun_circuit_close(all->t, &all->now, r->circuit);
        /* Nobody's fault: as if all hops had answered. */
        tun_client_failed(all->t, &all->now, r->circuit, TUN_HOPS_MAX);
    }
    road_clear(r);
}

/* Its second relay may have gone, too. */
static bool runs_on(const struct tun_hidden *h, const struct tun_run_on *r) {
    struct tun_circuit_info info;
    return r->until > tun_hidden_now(h) &&
           tun_circuit_info(h->all->t, r->circuit, &info) == CV_ERR_OK;
}

unsigned tun_hidden_running_on(const struct tun_hidden *h) {
    unsigned n = 0;
    for (unsigned i = 0; i < TUN_PACED_JOINS_MAX; i++)
        n += runs_on(h, &h->runs_on[i]);
    return n;
}

/* The swarm's circuit runs on, or is gone; one that is too many ends. */
static void note_running_on(struct tun_hidden *h, cv_handle circuit) {
    struct tun_circuit_info info;
    if (tun_circuit_info(h->all->t, circuit, &info))
        return;
    for (unsigned i = 0; i < TUN_PACED_JOINS_MAX; i++)
        if (!runs_on(h, &h->runs_on[i])) {
            h->runs_on[i] = (struct tun_run_on){.circuit = circuit, .until = info.runs_on_until};
            return;
        }
    tun_circuit_close(h->all->t, &h->all->now, circuit);
}

bool tun_hidden_end_one(struct tun_hidden *h) {
    struct tun_run_on *first = NULL;
    for (unsigned i = 0; i < TUN_PACED_JOINS_MAX; i++) {
        struct tun_run_on *r = &h->runs_on[i];
        if (runs_on(h, r) && (!first || r->until < first->until))
            first = r;
    }
    if (!first)
        return false;
    tun_circuit_close(h->all->t, &h->all->now, first->circuit);
    *first = (struct tun_run_on){.until = 0};
    return true;
}

void tun_road_run_on(struct tun_road *r) {
    struct tun_hiddens *all = r->kind ? r->owner->all : NULL;
    if (!all || !all->t || !r->keeps || tun_hidden_running_on(r->owner) == TUN_PACED_JOINS_MAX) {
        tun_road_close(r);
        return;
    }
    uint32_t seconds =
        (uint32_t)cv_rng_between(tun_rng(all->t), TUN_RUN_ON_MIN_S, TUN_RUN_ON_MAX_S);
    if (tun_circuit_run_on(all->t, &all->now, r->circuit, seconds)) {
        tun_road_close(r);
        return;
    }
    note_running_on(r->owner, r->circuit);
    tun_client_failed(all->t, &all->now, r->circuit, TUN_HOPS_MAX); /* nobody's fault */
    road_clear(r);
}

bool tun_road_give_up(struct tun_road *r) {
    if (r->kind == TUN_ROAD_NONE)
        return false;
    struct tun_hiddens *all = r->owner->all;
    struct tun_circuit_info info = {.built = TUN_HOPS_MAX};
    (void)tun_circuit_info(all->t, r->circuit, &info);
    tun_client_failed(all->t, &all->now, r->circuit, info.built);
    tun_circuit_close(all->t, &all->now, r->circuit);
    road_clear(r);
    return info.built + 1 == info.hops;
}

bool tun_road_dead(struct tun_road *r, cv_usec asked_at) {
    struct tun_hiddens *all = r->owner->all;
    if (tun_client_is_dead(all->t, r->circuit))
        return true;
    cv_usec probe = cv_usec_add(asked_at, tun_client_patience(all->t));
    if (all->now.mono < probe) {
        tun_hidden_by(r->owner, probe);
        return false;
    }
    tun_client_probe(all->t, &all->now, r->circuit);
    tun_hidden_by(r->owner, cv_usec_add(all->now.mono, tun_client_patience(all->t) + CV_MSEC(1)));
    return false;
}

void tun_road_suspect(struct tun_road *r) {
    if (r->kind == TUN_ROAD_NONE)
        return;
    struct tun_hiddens *all = r->owner->all;
    tun_client_suspect(all->t, &all->now, r->circuit);
    road_clear(r);
}

bool tun_road_stuck(const struct tun_road *r) {
    if (r->kind == TUN_ROAD_NONE || r->ready)
        return false;
    cv_usec end = cv_usec_add(r->opened_at, tun_client_patience(r->owner->all->t));
    tun_hidden_by(r->owner, end);
    return r->owner->all->now.mono >= end;
}

enum cv_err tun_road_request(struct tun_road *r, uint8_t command, const void *body, size_t len,
                             uint32_t *ret_transaction) {
    struct tun_hiddens *all = r->owner->all;
    return tun_request(all->t, &all->now, r->circuit, command, body, len, ret_transaction);
}

void tun_road_relays(const struct tun_road *r, struct tun_path_apart *ret) {
    struct tun_circuit_info info;
    if (!r->kind || tun_circuit_info(r->owner->all->t, r->circuit, &info))
        return;
    for (unsigned i = 0; i < info.hops; i++)
        tun_path_apart_add(ret, i, tun_circuit_hop(r->owner->all->t, r->circuit, i)->identity);
}

void tun_road_last(const struct tun_road *r, uint8_t ret[CV_KEY]) {
    struct tun_circuit_info info;
    if (r->kind && tun_circuit_info(r->owner->all->t, r->circuit, &info) == CV_ERR_OK)
        memcpy(ret, tun_circuit_hop(r->owner->all->t, r->circuit, info.hops - 1)->identity, CV_KEY);
}

void tun_road_hello(struct tun_road *r) {
    struct tun_hiddens *all = r->owner->all;
    uint8_t hello[TUN_E2E_OVERHEAD];
    if (tun_e2e_seal(r->e2e, hello, (const uint8_t *)"", 0) == CV_ERR_OK)
        (void)tun_circuit_send(all->t, &all->now, r->circuit, TUN_CMD_DATAGRAM, hello,
                               sizeof hello);
}

/* ---- what the node is told ---- */

void tun_hidden_peer_up(struct tun_hidden *h, struct tun_road *r) {
    struct tun_event ev = {.kind = TUN_EVENT_PEER_UP};
    ev.peer_up.hidden = h->handle;
    ev.peer_up.endpoint = cv_endpoint_circuit(r->circuit, 0);
    ev.peer_up.mtu = TUN_MTU_RENDEZVOUS;
    h->info.peers++;
    if (h->info.first_peer_at == 0)
        h->info.first_peer_at = tun_hidden_now(h);
    tun_event_push(h->all->t, &ev);
    CV_TRACE(TUNNEL, hidden_peer_up, tun_hidden_now(h), "hidden=%u", (unsigned)h->handle);
}

void tun_hidden_peer_down(struct tun_hidden *h, const struct tun_road *r) {
    struct tun_event ev = {.kind = TUN_EVENT_PEER_DOWN};
    ev.peer_down.hidden = h->handle;
    ev.peer_down.endpoint = cv_endpoint_circuit(r->circuit, 0);
    assert(h->info.peers > 0);
    h->info.peers--;
    if (h->viewer && h->info.peers == 0)
        h->viewer->lost_at = tun_hidden_now(h);
    tun_event_push(h->all->t, &ev);
    CV_TRACE(TUNNEL, hidden_peer_down, tun_hidden_now(h), "hidden=%u", (unsigned)h->handle);
}

void tun_hidden_set_state(struct tun_hidden *h, enum tun_hidden_state state) {
    if (h->info.state == state)
        return;
    h->info.state = state;
    struct tun_event ev = {.kind = TUN_EVENT_HIDDEN_STATE};
    ev.hidden_state.hidden = h->handle;
    ev.hidden_state.state = state;
    tun_event_push(h->all->t, &ev);
}

/* ---- swarms ---- */

bool tun_hidden_is_ours(const struct tun_hidden *h, const struct tun_contact *c) {
    uint32_t cursor = 0;
    const struct tun_hidden *other;
    while ((other = tun_handles_next(&h->all->swarms, &cursor))) {
        const struct tun_seeder *s = other->seeder;
        if (!s)
            continue;
        if (s->now.set && memcmp(s->now.service_secret.public_key, c->service, CV_KEY) == 0)
            return true;
        if (s->before.set && memcmp(s->before.service_secret.public_key, c->service, CV_KEY) == 0)
            return true;
    }
    return false;
}

unsigned tun_hidden_periods(const struct tun_hidden *h, uint32_t ret[2]) {
    int64_t wall = h->all->now.wall;
    if (wall <= TUN_PERIOD_S)
        return 0;
    uint32_t p = tun_swarm_period(&h->swarm_secret, wall);
    int64_t age = wall - tun_swarm_period_begins(&h->swarm_secret, p);
    ret[0] = p;
    if (age < TUN_TURN_S && p > 0)
        ret[1] = p - 1;
    else if (age >= TUN_PERIOD_S - TUN_TURN_S)
        ret[1] = p + 1;
    else
        return 1;
    return 2;
}

static void hidden_free(struct tun_hidden *h) {
    if (h->viewer) {
        tun_search_done(h);
        tun_meet_done(h);
        cv_wipe(h->viewer, sizeof *h->viewer);
        free(h->viewer);
    }
    if (h->seeder) {
        tun_publish_done(h);
        tun_seeder_done(h);
        cv_wipe(h->seeder, sizeof *h->seeder);
        free(h->seeder);
    }
    if (h->pointer) {
        tun_pointer_done(h);
        free(h->pointer);
    }
    tun_handles_del(&h->all->swarms, h->handle);
    cv_wipe(h, sizeof *h);
    free(h);
}

/* The swarm whose viewer or seeder is still to be made. */
static enum cv_err hidden_new(struct tun_hiddens *all, const void *id, size_t len,
                              const uint8_t *secret, struct tun_hidden **ret) {
    if (len == 0 || len > TUN_SWARM_ID_MAX)
        return CV_ERR_INVAL;
    struct tun_hidden *h = calloc(1, sizeof *h);
    if (!h)
        return CV_ERR_NOMEM;
    h->all = all;
    enum cv_err err = tun_handles_put(&all->swarms, h, &h->handle);
    if (err) {
        free(h);
        return err;
    }
    tun_swarm_derive(&h->swarm_secret, all->network_id, id, len, secret);
    h->info.opened_at = all->now.mono;
    all->next = all->now.mono;
    *ret = h;
    return CV_ERR_OK;
}

/* What viewing, sharing and pointing begin with. */
static enum cv_err hidden_begin(struct tunnel *t, const struct cv_now *now, const void *swarm_id,
                                size_t len, const uint8_t *secret, struct tun_hidden **ret) {
    struct tun_hiddens *all = tun_attached(t, TUN_USER_HIDDEN);
    if (!all)
        return CV_ERR_INVAL;
    all->now = *now;
    return hidden_new(all, swarm_id, len, secret, ret);
}

static bool has_thirds(const struct tun_hidden *h) {
    return h->seeder || (h->pointer && h->pointer->writes);
}

/* A swarm has one set of third hops, whether we share it, write its pointer, or both, and
 * also when a pointer is begun anew to say something else: two sets are twice as many relays
 * that see our second layer. */
static void thirds_begin(struct tun_hidden *h) {
    uint32_t cursor = 0;
    const struct tun_hidden *other;
    while ((other = tun_handles_next(&h->all->swarms, &cursor)))
        if (other != h && has_thirds(other) &&
            memcmp(other->swarm_secret.s, h->swarm_secret.s, sizeof h->swarm_secret.s) == 0) {
            h->third = other->third;
            return;
        }
    tun_third_init(&h->third, tun_hidden_rng(h));
}

enum cv_err tun_hidden_view(struct tunnel *t, const struct cv_now *now, const void *swarm_id,
                            size_t len, const uint8_t *secret, cv_handle *ret) {
    struct tun_hidden *h;
    enum cv_err err = hidden_begin(t, now, swarm_id, len, secret, &h);
    if (err)
        return err;
    h->viewer = calloc(1, sizeof *h->viewer);
    if (!h->viewer) {
        hidden_free(h);
        return CV_ERR_NOMEM;
    }
    *ret = h->handle;
    return CV_ERR_OK;
}

enum cv_err tun_hidden_share(struct tunnel *t, const struct cv_now *now, const void *swarm_id,
                             size_t len, const uint8_t *secret, bool viewer, cv_handle *ret) {
    struct tun_hidden *h;
    enum cv_err err = hidden_begin(t, now, swarm_id, len, secret, &h);
    if (err)
        return err;
    unsigned joins = viewer ? TUN_VIEWER_JOINS_MAX : TUN_SHARE_JOINS_MAX;
    h->seeder = calloc(1, sizeof *h->seeder);
    if (h->seeder)
        h->seeder->join = calloc(joins, sizeof *h->seeder->join);
    if (!h->seeder || !h->seeder->join) {
        free(h->seeder);
        h->seeder = NULL;
        hidden_free(h);
        return CV_ERR_NOMEM;
    }
    h->seeder->joins_max = joins;
    h->info.seeder = true;
    thirds_begin(h);
    tun_seeder_init(h, viewer);
    *ret = h->handle;
    return CV_ERR_OK;
}

enum cv_err tun_hidden_point(struct tunnel *t, const struct cv_now *now, const void *swarm_id,
                             size_t len, const uint8_t *secret, const uint8_t *pointer,
                             cv_handle *ret) {
    struct tun_hidden *h;
    enum cv_err err = hidden_begin(t, now, swarm_id, len, secret, &h);
    if (err)
        return err;
    h->pointer = calloc(1, sizeof *h->pointer);
    if (!h->pointer) {
        hidden_free(h);
        return CV_ERR_NOMEM;
    }
    h->pointer->writes = pointer != NULL;
    if (pointer) {
        memcpy(h->pointer->octets, pointer, TUN_POINTER);
        thirds_begin(h);
    }
    *ret = h->handle;
    return CV_ERR_OK;
}

enum cv_err tun_hidden_pace(struct tunnel *t, cv_handle hidden, unsigned mbit) {
    struct tun_hiddens *all = tun_attached(t, TUN_USER_HIDDEN);
    struct tun_hidden *h = all ? tun_handles_get(&all->swarms, hidden) : NULL;
    if (!h)
        return CV_ERR_NOENT;
    unsigned each = mbit / TUN_PACED_CIRCUITS;
    if (each * TUN_PACED_CIRCUITS != mbit || !tun_pacer_is_rate(each) || mbit > TUN_PACE_MAX ||
        h->pace || h->info.peers)
        return CV_ERR_INVAL;
    h->pace = (uint8_t)each;
    if (h->seeder && h->seeder->joins_max > TUN_PACED_JOINS_MAX)
        h->seeder->joins_max = TUN_PACED_JOINS_MAX;
    return CV_ERR_OK;
}

void tun_hidden_close(struct tunnel *t, const struct cv_now *now, cv_handle hidden) {
    struct tun_hiddens *all = tun_attached(t, TUN_USER_HIDDEN);
    struct tun_hidden *h = all ? tun_handles_get(&all->swarms, hidden) : NULL;
    if (!h)
        return;
    all->now = *now;
    hidden_free(h);
}

void tun_hidden_drop(struct tunnel *t, const struct cv_now *now, const struct cv_endpoint *peer) {
    struct tun_hiddens *all = tun_attached(t, TUN_USER_HIDDEN);
    struct tun_road *r = all ? tun_hidden_road(all, peer) : NULL;
    if (!r)
        return;
    all->now = *now;
    struct tun_hidden *h = r->owner;
    h->info.peers--;
    if (r->kind == TUN_ROAD_RENDEZVOUS)
        tun_meet_drop(h, r->part);
    else
        tun_seeder_drop(h, r->part);
    tun_hidden_by(h, now->mono);
}

void tun_hidden_starves(struct tunnel *t, const struct cv_now *now, cv_handle hidden) {
    struct tun_hiddens *all = tun_attached(t, TUN_USER_HIDDEN);
    struct tun_hidden *h = all ? tun_handles_get(&all->swarms, hidden) : NULL;
    /* Whoever keeps a constant rate shows nobody that a reader waits. */
    if (!h || !h->viewer || h->viewer->starves || h->pace)
        return;
    all->now = *now;
    h->viewer->starves = true;
    tun_hidden_by(h, now->mono); /* the next round may be due earlier now */
}

void tun_hidden_brought(struct tunnel *t, const struct cv_now *now, cv_handle hidden,
                        const struct tun_brought *ways, unsigned count) {
    struct tun_hiddens *all = tun_attached(t, TUN_USER_HIDDEN);
    struct tun_hidden *h = all ? tun_handles_get(&all->swarms, hidden) : NULL;
    /* Two ways with a constant rate bring what that lets them; and a third would be seen. */
    if (!h || !h->viewer || h->pace)
        return;
    all->now = *now;
    tun_replace_look(h, ways, count);
}

enum cv_err tun_hidden_info(const struct tunnel *t, cv_handle hidden, struct tun_hidden_info *ret) {
    struct tun_hiddens *all = tun_attached(t, TUN_USER_HIDDEN);
    struct tun_hidden *h = all ? tun_handles_get(&all->swarms, hidden) : NULL;
    if (!h)
        return CV_ERR_NOENT;
    *ret = h->info;
    return CV_ERR_OK;
}

/* ---- datagrams ---- */

static enum cv_err send_datagram(void *ctx, struct tunnel *t, const struct cv_now *now,
                                 const struct cv_endpoint *to, const void *buf, size_t len) {
    struct tun_hiddens *all = ctx;
    struct tun_road *r = road_get(all, to->handle);
    if (!r || !r->e2e)
        return CV_ERR_NOENT;
    if (len > TUN_MTU_RENDEZVOUS)
        return CV_ERR_INVAL;
    uint8_t cell[TUN_MTU_FORWARD];
    enum cv_err err = tun_e2e_seal(r->e2e, cell, buf, len);
    if (err)
        return err;
    return tun_circuit_send(t, now, r->circuit, TUN_CMD_DATAGRAM, cell, len + TUN_E2E_OVERHEAD);
}

static void on_datagram(struct tun_hiddens *all, const struct tun_event *in) {
    struct tun_road *r = road_get(all, in->datagram.from.handle);
    uint8_t plain[TUN_DATAGRAM];
    if (!r || !r->e2e || in->datagram.len > sizeof plain)
        return;
    ssize_t n = tun_e2e_open(r->e2e, plain, in->datagram.buf, in->datagram.len);
    r->heard += n >= 0;
    if (n > 0) {
        r->told++;
        r->told_at = all->now.mono;
    }
    if (n == 0 && r->kind == TUN_ROAD_JOIN)
        tun_road_hello(r); /* a viewer asks whether we are there */
    if (n <= 0)
        return;
    struct tun_event ev = {.kind = TUN_EVENT_DATAGRAM};
    ev.datagram.from = in->datagram.from;
    ev.datagram.buf = plain;
    ev.datagram.len = (size_t)n;
    tun_event_push(all->t, &ev);
}

/* ---- the engine's calls ---- */

static void hidden_work(struct tun_hidden *h) {
    if (h->viewer) {
        tun_search_work(h);
        tun_meet_work(h);
    } else if (h->seeder) {
        tun_seeder_work(h);
        tun_publish_work(h);
    } else if (h->pointer) {
        tun_pointer_work(h);
    }
}

static void work(struct tun_hiddens *all) {
    /* A step may make the next one due at once; a few rounds settle it, and
     * whatever would not settle waits for the next timeout. */
    for (unsigned round = 0; round < 4; round++) {
        uint32_t cursor = 0;
        struct tun_hidden *h;
        all->next = CV_USEC_NEVER;
        while ((h = tun_handles_next(&all->swarms, &cursor)))
            hidden_work(h);
        if (all->next > all->now.mono)
            return;
    }
    all->next = cv_usec_add(all->now.mono, CV_MSEC(1));
}

static void on_ready(struct tun_hiddens *all, cv_handle circuit) {
    struct tun_road *r = road_get(all, circuit);
    struct tun_circuit_info info;
    if (tun_circuit_info(all->t, circuit, &info))
        return;
    if (!info.pace)
        tun_client_built(all->t, &all->now, circuit);
    if (r)
        road_built(r, &info);
}

static void on_down(struct tun_hiddens *all, const struct tun_event *ev) {
    struct tun_road *r = road_get(all, ev->circuit_down.circuit);
    tun_client_failed(all->t, &all->now, ev->circuit_down.circuit, ev->circuit_down.hops);
    if (!r)
        return;
    struct tun_hidden *h = r->owner;
    struct tun_road was = *r;
    if (h->pace && ev->circuit_down.err == CV_ERR_LIMIT) {
        h->refused_at = all->now.mono;
        h->info.paces_refused++;
    }
    if (was.e2e)
        tun_hidden_peer_down(h, &was);
    if (was.kind == TUN_ROAD_RENDEZVOUS && ((const struct tun_meet *)was.part)->pacing)
        tun_circuit_close(all->t, &all->now, was.circuit); /* nobody agreed on its rate */
    else
        note_running_on(h, was.circuit); /* whoever was behind its second relay is gone */
    road_clear(r);
    if (was.kind == TUN_ROAD_RENDEZVOUS && was.e2e)
        tun_meet_on_down(h, was.part);
    if (was.kind == TUN_ROAD_INTRODUCE)
        tun_meet_on_introduction_down(h, was.part, ev->circuit_down.hops);
    if (h->seeder)
        tun_seeder_on_down(h, &was);
}

static void on_reply(struct tun_hiddens *all, const struct tun_event *ev) {
    struct tun_road *r = road_get(all, ev->reply.circuit);
    if (!r)
        return;
    if (ev->reply.command == TUN_CMD_PONG)
        tun_client_on_pong(all->t, &all->now, ev);
    switch (r->kind) {
    case TUN_ROAD_SEARCH:
        tun_search_on_reply(r->owner, r->part, ev);
        break;
    case TUN_ROAD_RENDEZVOUS:
    case TUN_ROAD_INTRODUCE:
        tun_meet_on_reply(r->owner, r->part, r, ev);
        break;
    case TUN_ROAD_POINT:
    case TUN_ROAD_JOIN:
        tun_seeder_on_reply(r->owner, r, ev);
        break;
    case TUN_ROAD_PUBLISH:
        tun_publish_on_reply(r->owner, r->part, r, ev);
        break;
    case TUN_ROAD_NONE:
        break;
    }
}

/* Our own network is there again: whom it kept us from is tried at once. */
static void look_back(struct tun_hiddens *all) {
    cv_usec at = tun_client_back_at(all->t);
    uint32_t cursor = 0;
    struct tun_hidden *h;
    if (at == all->back_at)
        return;
    all->back_at = at;
    while ((h = tun_handles_next(&all->swarms, &cursor)) != NULL) {
        if (h->viewer)
            tun_meet_anew(h);
        if (h->seeder)
            tun_seeder_anew(h);
    }
    all->next = all->now.mono;
}

static void on_event(void *ctx, struct tunnel *t, const struct cv_now *now,
                     const struct tun_event *ev) {
    struct tun_hiddens *all = ctx;
    (void)t;
    all->now = *now;
    if (ev->kind == TUN_EVENT_DATAGRAM) {
        on_datagram(all, ev); /* moves nothing else */
        return;
    }
    if (ev->kind == TUN_EVENT_CIRCUIT_READY)
        on_ready(all, ev->circuit_ready.circuit);
    else if (ev->kind == TUN_EVENT_CIRCUIT_DOWN)
        on_down(all, ev);
    else if (ev->kind == TUN_EVENT_REPLY)
        on_reply(all, ev);
    else
        return;
    work(all);
}

static void on_timeout(void *ctx, struct tunnel *t, const struct cv_now *now) {
    struct tun_hiddens *all = ctx;
    (void)t;
    all->now = *now;
    look_back(all);
    if (all->next <= now->mono)
        work(all);
}

static cv_usec next_timeout(const void *ctx) {
    const struct tun_hiddens *all = ctx;
    return all->next;
}

static void hiddens_free(void *ctx) {
    struct tun_hiddens *all = ctx;
    uint32_t cursor = 0;
    struct tun_hidden *h;
    all->t = NULL; /* the engine is going: circuits are its business */
    while ((h = tun_handles_next(&all->swarms, &cursor)))
        hidden_free(h);
    tun_handles_done(&all->swarms);
    tun_idtable_done(&all->roads);
    free(all);
}

static const struct tun_user_ops ops = {
    .on_event = on_event,
    .send = send_datagram,
    .on_timeout = on_timeout,
    .next_timeout = next_timeout,
    .free = hiddens_free,
};

enum cv_err tun_hidden_attach(struct tunnel *t, const struct cv_now *now) {
    const struct tun_config *cfg = tun_config(t);
    struct tun_hiddens *all = calloc(1, sizeof *all);
    if (!all)
        return CV_ERR_NOMEM;
    all->t = t;
    all->now = *now;
    all->hurry = cfg->hurry;
    memcpy(all->network_id, cfg->network_id, TUN_NETWORK_ID);
    tun_handles_init(&all->swarms, TUN_HIDDEN_MAX, 1, /* worker= */ 0);
    tun_idtable_init(&all->roads, TUN_CIRCUITS_MAX, cv_rng_u64(tun_rng(t)) | 1);
    all->next = CV_USEC_NEVER;
    tun_attach(t, TUN_USER_HIDDEN, &ops, all);
    return CV_ERR_OK;
}
