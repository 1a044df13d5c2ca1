/*
 * What happened, in order: a ring of events, each with room for one datagram
 * beside it. Grows to a cap; beyond it only DATAGRAMs are lost.
 */
#ifndef CULVERT_TUNNEL_EVENTS_H
#define CULVERT_TUNNEL_EVENTS_H

#include "tunnel/tunnel.h"

struct tun_event_slot;

struct tun_events {
    struct tun_event_slot *v;
    uint32_t head, count, cap; /* cap is a power of two */
};

void tun_events_init(struct tun_events *q);
void tun_events_done(struct tun_events *q);

/* Copies `ev` and, for what fits a datagram, what it points to. `user`: for
 * whoever takes it. False: full. */
bool tun_events_push(struct tun_events *q, unsigned user, const struct tun_event *ev);

/* The oldest; its pointers stay valid until the next push. */
bool tun_events_take(struct tun_events *q, unsigned *ret_user, struct tun_event *ret);

/* Where an event's borrowed octets are named, when they are no longer than a
 * datagram; NULL when it has none. */
const uint8_t **tun_event_payload(struct tun_event *ev, size_t *ret_len);

#endif
