/*
 * A hop: one circuit of somebody else at this relay. Two legs, towards the
 * owner and onwards; onion state; the ttl budget (extend with ttl - 1, refuse
 * at 0, at most 3 EXTENDs); answers remembered by transaction, so that a
 * repeated question gets the same answer and is done once.
 *
 * Requests that the engine does not answer itself go to the attached user
 * (engine.h: BUCKET, DESCRIPTORS to the client's directory) or to the node
 * (LOOKUP, PUT, OPEN) as events REQUEST; both answer with tun_answer().
 * Inside the engine only; the node names hops by handle.
 */
#ifndef CULVERT_TUNNEL_HOP_H
#define CULVERT_TUNNEL_HOP_H

#include "tunnel/tunnel.h"

struct tun_hop;

/* NULL when the handle is dead. */
struct tun_hop *tun_hop_get(const struct tunnel *t, cv_handle hop);

/* A cell of this relay's own towards the owner, unrepeated. CV_ERR_AGAIN: queue full. */
enum cv_err tun_hop_send(struct tunnel *t, const struct cv_now *now, struct tun_hop *h,
                         uint8_t command, const void *body, size_t len);

#endif
