/*
 * What crosses from one worker to another (worker.h). The other reads it when it has time:
 * so it is told so much and no more until it says that it took some, as a sender is told
 * by a window. Counted is what strangers can cause; the rest must arrive and is bounded by
 * what there is (worker.h). What a circuit carries waits here for room, as it would for a
 * link: in a queue of its own, whose cap, delay and memory are those of any other, and in
 * turn with others.
 */
#include <assert.h>
#include <string.h>

#include "tunnel/core.h"
#include "tunnel/layerbits.h"

/* Eighths of the room. A question takes the last of it when cells have taken the rest,
 * and cells when datagrams have, that come to the wrong worker by accident or by design. */
static uint32_t share(uint8_t kind) {
    switch ((int)kind) {
    case TUN_MESSAGE_DATAGRAM:
    case TUN_MESSAGE_FLIGHT:
    case TUN_MESSAGE_STRANGER:
        return 6;
    case TUN_MESSAGE_JOINED:
    case TUN_MESSAGE_SEND:
    case TUN_MESSAGE_EVENT:
        return 7;
    default: /* questions, also those that are events */
        return 8;
    }
}

/* Of what was taken, one part in so many is told at a time. */
#define TAKEN_PARTS 16

/* The node stops sending to circuits of others when what it sent fills one part in so many
 * of a worker's room: what it has in its hand by then finds room. Strangers' datagrams do
 * not stop it. */
#define BUSY_PARTS 4

/* Eighths up to which what waits is served: above them others find room, who do not wait
 * but ask again. */
#define SERVED 5

void tun_crossings_init(struct tunnel *t) {
    t->others->room = TUN_MESSAGES_MAX / (t->cfg.workers - 1U);
    for (unsigned i = 0; i < t->cfg.workers; i++)
        TAILQ_INIT(&t->others->to[i].circuits);
}

static bool has_room(const struct tunnel *t, const struct tun_crossing *x, uint32_t eighths) {
    return x->untaken * 8 < t->others->room * eighths;
}

bool tun_crossing_has_room(const struct tunnel *t, unsigned worker, uint8_t kind) {
    return has_room(t, &t->others->to[worker], share(kind));
}

bool tun_has_room(const struct tunnel *t) {
    for (unsigned i = 0; t->others && i < t->cfg.workers; i++)
        if (t->others->to[i].untaken_sends * BUSY_PARTS >= t->others->room)
            return false;
    return true;
}

/* What could not be told, or waits though there is room, has its turn at the next entry
 * point, which comes within a second: not now, or a carrier that has no room is asked again
 * and again. */
static void later(struct tunnel *t) {
    t->others->behind = true;
    tun_tick_soon(t, t->last);
}

static void tell_taken(struct tunnel *t, unsigned worker) {
    struct tun_crossing *x = &t->others->to[worker];
    struct tun_message said = {.to = (uint8_t)worker,
                               .kind = TUN_MESSAGE_TAKEN,
                               .number = x->taken,
                               .transaction = x->taken_sends};
    if (x->taken * TAKEN_PARTS < t->others->room)
        return;
    if (tun_tell(t, &said, NULL, 0))
        x->taken = x->taken_sends = 0;
    else
        later(t);
}

void tun_crossing_took(struct tunnel *t, const struct tun_message *m) {
    t->others->to[m->from].taken += m->counted;
    t->others->to[m->from].taken_sends += m->kind == TUN_MESSAGE_SEND;
    tell_taken(t, m->from);
}

/* ---- what waits ---- */

/* The worker of the circuit it is joined to, or the face, whose the node is. */
static unsigned goes_to(const struct tun_hop *h) {
    return h->spliced_away ? tun_handle_worker(h->spliced_away) : 0;
}

static void go(struct tunnel *t, struct tun_hop *h, const struct tun_inner *in, cv_usec since) {
    if (h->spliced_away)
        tun_hop_cross(t, h, in, since);
    else
        tun_hop_for_node(t, h, in);
}

/* Its queue is empty, and again what it was: a link's, if it gets one. */
static void leave(struct tunnel *t, struct tun_hop *h) {
    TAILQ_REMOVE(&h->crossing->circuits, h, crossing_entry);
    h->crossing = NULL;
    tun_flow_count(&h->next.flow, NULL);
    tun_flow_let_go(&t->sched, &h->next.flow);
}

static void enter(struct tunnel *t, struct tun_hop *h, struct tun_crossing *x) {
    tun_flow_hold(&t->sched, &h->next.flow); /* nothing of it is the scheduler's */
    tun_flow_count(&h->next.flow, &x->waiting);
    TAILQ_INSERT_TAIL(&x->circuits, h, crossing_entry);
    h->crossing = x;
}

static void wait_for_room(struct tunnel *t, const struct cv_now *now, struct tun_hop *h,
                          const struct tun_inner *in) {
    struct tun_crossing *x = &t->others->to[goes_to(h)];
    struct tun_cell *c = tun_cell_take(t);
    if (!c)
        return;
    struct cv_wr w = cv_wr_init(c->octets, sizeof c->octets);
    cv_wr_u8(&w, in->command);
    cv_wr_le16(&w, in->len);
    cv_wr_bytes(&w, in->data, in->len);
    if (!h->crossing)
        enter(t, h, x);
    tun_sched_put(&t->sched, &h->next.flow, c, now->mono);
    if (x->waiting > t->link_cells_max)
        t->memory_short = true;
}

void tun_cross(struct tunnel *t, const struct cv_now *now, struct tun_hop *h,
               const struct tun_inner *in) {
    /* not past those who wait, or they would never be served */
    if (TAILQ_EMPTY(&t->others->to[goes_to(h)].circuits) &&
        tun_crossing_has_room(t, goes_to(h), TUN_MESSAGE_JOINED))
        go(t, h, in, now->mono);
    else
        wait_for_room(t, now, h, in);
}

void tun_cross_done(struct tunnel *t, struct tun_hop *h) {
    if (!h->crossing)
        return;
    tun_flow_clear(&t->sched, &h->next.flow);
    leave(t, h);
}

/* One cell of one circuit. */
static void serve(struct tunnel *t, const struct cv_now *now, struct tun_hop *h) {
    struct tun_crossing *x = h->crossing;
    struct tun_cell *c = tun_flow_take(&t->sched, &h->next.flow, now->mono);
    struct tun_inner in;
    if (c && tun_inner_parse(c->octets, TUN_FORWARD_MAX, &in) == CV_ERR_OK)
        go(t, h, &in, c->queued_at);
    if (c)
        tun_sched_release(&t->sched, c);
    if (!h->next.flow.head) {
        leave(t, h);
        return;
    }
    TAILQ_REMOVE(&x->circuits, h, crossing_entry);
    TAILQ_INSERT_TAIL(&x->circuits, h, crossing_entry);
}

static void serve_all(struct tunnel *t, const struct cv_now *now, unsigned worker) {
    struct tun_crossing *x = &t->others->to[worker];
    struct tun_hop *h;
    while ((h = TAILQ_FIRST(&x->circuits)) != NULL && has_room(t, x, SERVED))
        serve(t, now, h);
}

void tun_crossing_on_taken(struct tunnel *t, const struct cv_now *now,
                           const struct tun_message *m) {
    struct tun_crossing *x = &t->others->to[m->from];
    x->untaken -= m->number < x->untaken ? (uint32_t)m->number : x->untaken;
    x->untaken_sends -= m->transaction < x->untaken_sends ? m->transaction : x->untaken_sends;
    serve_all(t, now, m->from);
}

void tun_crossings_finish(struct tunnel *t, const struct cv_now *now) {
    if (!t->others->behind)
        return;
    t->others->behind = false;
    for (unsigned i = 0; i < t->cfg.workers; i++) {
        tell_taken(t, i);
        serve_all(t, now, i);
    }
}

/* ---- what could not be carried ---- */

void tun_crossing_unasked(struct tunnel *t, cv_handle hop, uint32_t transaction, bool extend) {
    struct tun_message said = {.to = (uint8_t)tun_handle_worker(hop),
                               .kind = TUN_MESSAGE_UNASKED,
                               .at = hop,
                               .transaction = transaction,
                               .code = extend};
    if (tun_is_elsewhere(t, hop))
        tun_tell(t, &said, NULL, 0);
    else
        tun_hop_unasked(t, tun_hop_get(t, hop), transaction, extend);
}

static void question_lost(struct tunnel *t, const struct tun_message *m) {
    struct cv_rd r = cv_rd_init(m->octets, m->len);
    tun_crossing_unasked(t, m->other, cv_rd_le32(&r), m->kind == TUN_MESSAGE_FIND);
}

/* It was said to be there, and others will not find it: its owner begins elsewhere. */
static void place_lost(struct tunnel *t, const struct tun_message *m) {
    struct tun_hop *h = m->code ? tun_hop_get(t, m->other) : NULL;
    if (h && !h->spliced && !h->spliced_away && (h->is_intro || h->is_rendezvous))
        tun_hop_destroy(t, h, NULL);
}

static void request_lost(struct tunnel *t, const struct tun_message *m) {
    struct tun_event ev;
    memcpy(&ev, m->octets, sizeof ev);
    tun_hop_unasked(t, tun_hop_get(t, ev.request.hop), ev.request.transaction, false);
}

void tun_on_lost(struct tunnel *t, struct tun_message *m) {
    struct tun_crossing *x = &t->others->to[m->to];
    assert(m->from == t->cfg.worker);
    x->untaken -= m->counted && x->untaken;
    x->untaken_sends -= m->kind == TUN_MESSAGE_SEND && x->untaken_sends;
    t->count.dropped_event++;
    later(t); /* somebody may have waited for the room that it gives back */
    switch ((int)m->kind) {
    case TUN_MESSAGE_TAKEN:
        x->taken += (uint32_t)m->number;
        x->taken_sends += m->transaction;
        break;
    case TUN_MESSAGE_REQUEST:
        request_lost(t, m);
        break;
    case TUN_MESSAGE_FIND:
    case TUN_MESSAGE_JOIN:
    case TUN_MESSAGE_INTRODUCE:
    case TUN_MESSAGE_MEET:
        question_lost(t, m);
        break;
    case TUN_MESSAGE_ANSWER:
        tun_crossing_unasked(t, m->at, m->transaction, false);
        break;
    case TUN_MESSAGE_COOKIE:
    case TUN_MESSAGE_POINT:
        place_lost(t, m);
        break;
    default: /* repeated by whoever sends it, or past help */
        break;
    }
    tun_message_free(m);
}
