/*
 * What leaves before any circuit's cell: handshake flights and other raw
 * datagrams, and control commands, which are sealed only when they leave so
 * that link sequences follow the order of the wire. A bounded ring.
 */
#ifndef CULVERT_TUNNEL_OUTBOX_H
#define CULVERT_TUNNEL_OUTBOX_H

#include <stdbool.h>
#include <stdint.h>

#include "base/endpoint.h"
#include "tunnel/limits.h"

struct tun_outgoing {
    struct cv_addr to; /* raw: where; control: family 0 = the link's address */
    cv_handle link;    /* 0: raw */
    uint32_t circuit;
    uint16_t len;                 /* control: of the body */
    uint8_t command;              /* control */
    bool next_epoch;              /* control: under the keys of the session being made */
    uint8_t octets[TUN_DATAGRAM]; /* raw: the datagram; control: the body */
};

struct tun_outbox {
    struct tun_outgoing *v;
    uint32_t head, count, cap; /* cap is a power of two */
};

void tun_outbox_init(struct tun_outbox *o);
void tun_outbox_done(struct tun_outbox *o);

/* The item to fill in, already counted; NULL when full. Not zeroed. */
struct tun_outgoing *tun_outbox_add(struct tun_outbox *o);

/* The oldest, or NULL; gone with tun_outbox_drop(). */
struct tun_outgoing *tun_outbox_first(struct tun_outbox *o);
void tun_outbox_drop(struct tun_outbox *o);

#endif
