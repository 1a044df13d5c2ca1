/*
 * Tickets: the right to the interface, once and soon. Whoever starts a browser gives it a
 * link as an argument, which every user of the machine can read while the browser starts,
 * and which stays in its history; so what stands there is worth nothing once the page has
 * taken its token for it. Pure.
 */
#ifndef CULVERT_GATEWAY_TICKET_H
#define CULVERT_GATEWAY_TICKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/time.h"
#include "gateway/guard.h"

enum { GW_TICKETS_MAX = 8 }; /* waiting; the oldest goes for one more */

#define GW_TICKET_LIFE CV_SEC(60) /* a browser may have to be started first */

struct gw_tickets {
    uint64_t made;
    struct {
        char text[GW_TOKEN_TEXT]; /* 128 bits in hex; "": none */
        cv_usec until;
    } v[GW_TICKETS_MAX];
};

/* A new one, made of the key: a secret of 16 octets or more that nobody else is given.
 * Valid until the next call. */
const char *gw_ticket_new(struct gw_tickets *t, const void *key, size_t key_len, cv_usec now);

/* True once for each that was made and is not too old. NULL is none. */
bool gw_ticket_take(struct gw_tickets *t, const char *text, cv_usec now);

#endif
