#include "tunnel/events.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "tunnel/slot.h"

struct tun_event_slot {
    unsigned user;
    struct tun_event ev;
    uint8_t octets[TUN_DATAGRAM];
};

void tun_events_init(struct tun_events *q) {
    *q = (struct tun_events){0};
}

void tun_events_done(struct tun_events *q) {
    free(q->v);
    tun_events_init(q);
}

static bool grow(struct tun_events *q) {
    uint32_t cap = q->cap ? q->cap * 2 : 16;
    struct tun_event_slot *v = malloc(cap * sizeof *v);
    if (!v)
        return false;
    for (uint32_t i = 0; i < q->count; i++)
        v[i] = q->v[(q->head + i) & (q->cap - 1)];
    free(q->v);
    q->v = v;
    q->cap = cap;
    q->head = 0;
    return true;
}

static struct tun_event_slot *tail(struct tun_events *q, uint32_t max) {
    if (q->count >= max || (q->count == q->cap && !grow(q)))
        return NULL;
    return &q->v[(q->head + q->count) & (q->cap - 1)];
}

const uint8_t **tun_event_payload(struct tun_event *ev, size_t *ret_len) {
    switch (ev->kind) {
    case TUN_EVENT_DATAGRAM:
        *ret_len = ev->datagram.len;
        return &ev->datagram.buf;
    case TUN_EVENT_HOP_DATAGRAM:
        *ret_len = ev->hop_datagram.len;
        return &ev->hop_datagram.buf;
    case TUN_EVENT_REPLY:
        *ret_len = ev->reply.len;
        return &ev->reply.body;
    case TUN_EVENT_REQUEST:
        *ret_len = ev->request.len;
        return &ev->request.body;
    case TUN_EVENT_LINK_MESSAGE:
        *ret_len = ev->link_message.len;
        return &ev->link_message.body;
    case TUN_EVENT_POINTER:
        *ret_len = TUN_POINTER;
        return &ev->pointer.octets;
    case TUN_EVENT_NONE:
    case TUN_EVENT_CIRCUIT_READY:
    case TUN_EVENT_CIRCUIT_DOWN:
    case TUN_EVENT_HOP_DOWN:
    case TUN_EVENT_LINK_UP:
    case TUN_EVENT_LINK_DOWN:
    case TUN_EVENT_LINK_CARRIED:
    case TUN_EVENT_PEER_UP:
    case TUN_EVENT_PEER_DOWN:
    case TUN_EVENT_HIDDEN_STATE:
    case TUN_EVENT_SAVE:
    case TUN_EVENT_NEED_CONTACTS:
    case TUN_EVENT_PROOF:
    case TUN_EVENT_CLOCK_OFF:
        break;
    }
    return NULL;
}

bool tun_events_push(struct tun_events *q, unsigned user, const struct tun_event *ev) {
    bool may_be_lost = ev->kind == TUN_EVENT_DATAGRAM || ev->kind == TUN_EVENT_HOP_DATAGRAM;
    struct tun_event_slot *s = tail(q, may_be_lost ? TUN_EVENTS_MAX : 2 * TUN_EVENTS_MAX);
    if (!s)
        return false;
    s->user = user;
    s->ev = *ev;
    size_t len;
    const uint8_t **at = tun_event_payload(&s->ev, &len);
    if (at) {
        assert(len <= sizeof s->octets);
        if (len)
            memcpy(s->octets, *at, len);
        *at = NULL; /* named when it is taken: the ring may move */
    }
    q->count++;
    return true;
}

bool tun_events_take(struct tun_events *q, unsigned *ret_user, struct tun_event *ret) {
    if (!q->count)
        return false;
    struct tun_event_slot *s = &q->v[q->head];
    *ret = s->ev;
    *ret_user = s->user;
    size_t len;
    const uint8_t **at = tun_event_payload(ret, &len);
    if (at)
        *at = s->octets;
    q->head = (q->head + 1) & (q->cap - 1);
    q->count--;
    return true;
}
