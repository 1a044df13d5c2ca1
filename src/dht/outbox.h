/*
 * Datagrams waiting for poll_transmit(), packed one behind the other; bounded.
 * Memory grows with what waits and is given back after a burst.
 */
#ifndef CULVERT_DHT_OUTBOX_H
#define CULVERT_DHT_OUTBOX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/endpoint.h"

struct dht_outbox {
    uint8_t *buf;
    size_t cap, head, tail; /* octets; head..tail wait */
};

void dht_outbox_done(struct dht_outbox *o);

/* false when it is full (or memory is short): the datagram is lost. */
bool dht_outbox_push(struct dht_outbox *o, const struct cv_addr *to, const void *data, size_t len);

/* The oldest, or NULL; valid until the next call. */
const uint8_t *dht_outbox_peek(const struct dht_outbox *o, struct cv_addr *ret_to, size_t *ret_len);
void dht_outbox_pop(struct dht_outbox *o);

#endif
