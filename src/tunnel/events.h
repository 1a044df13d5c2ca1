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

/* Copies `ev` and, for what fits a datagram, what it points to. False: full. */
bool tun_events_push(struct tun_events *q, const struct tun_event *ev);

/* Room for a DATAGRAM of up to TUN_DATAGRAM octets that is written in place:
 * the octets, or NULL when full. Fill them, then tun_events_commit(). */
uint8_t *tun_events_reserve(struct tun_events *q);
void tun_events_commit(struct tun_events *q, const struct tun_event *ev);

/* The oldest; its pointers stay valid until the next push. */
bool tun_events_take(struct tun_events *q, struct tun_event *ret);

#endif
