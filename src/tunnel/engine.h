/*
 * What the parts of the engine share, and how the parts above it (client,
 * hidden, directory) are plugged in. Private to src/tunnel; nothing outside
 * includes it.
 *
 * A user is a part of this module that owns circuits. It is told of their
 * events at the end of the entry point in which they happened, with the `now`
 * of that step, never from the middle of the engine's work: it may open, close
 * and use circuits freely. It passes on what the node should see with
 * tun_event_push().
 */
#ifndef CULVERT_TUNNEL_ENGINE_H
#define CULVERT_TUNNEL_ENGINE_H

#include "tunnel/circuit.h"
#include "tunnel/hop.h"
#include "tunnel/link.h"
#include "tunnel/relayref.h"
#include "tunnel/tunnel.h"

/* Any function may be NULL. */
struct tun_user_ops {
    /* CIRCUIT_*, DATAGRAM, REPLY of this user's circuits. The client gets
     * besides: CIRCUIT_* of the node's circuits, LINK_UP and LINK_DOWN of links we
     * initiated or relays did (copies, the node gets them as well; of another worker's, if this
     * is one of several, LINK_UP alone), REQUEST (BUCKET,
     * DESCRIPTORS) and LINK_MESSAGE (DESCRIPTORS, REACH). Borrowed pointers live
     * during the call. */
    void (*on_event)(void *ctx, struct tunnel *t, const struct cv_now *now,
                     const struct tun_event *ev);
    /* 1232 octets that are neither of a link nor a link handshake: a DESCRIBE
     * or its answer, or junk. True when it was taken. Client only. */
    bool (*on_raw)(void *ctx, struct tunnel *t, const struct cv_now *now,
                   const struct cv_addr *from, const uint8_t *buf);
    /* tun_send() to a circuit of this user, whatever it does to the datagram.
     * NULL: a DATAGRAM to the last hop as it is. */
    enum cv_err (*send)(void *ctx, struct tunnel *t, const struct cv_now *now,
                        const struct cv_endpoint *to, const void *buf, size_t len);
    void (*on_timeout)(void *ctx, struct tunnel *t, const struct cv_now *now);
    cv_usec (*next_timeout)(const void *ctx);
    /* Relay: the verified descriptor of this relay and day, for EXTEND. NOENT
     * when unknown, or when it did not answer us at its address. *ret_descriptor (borrowed, may be
     * NULL) is what ERROR(differs) sends back. Client's ops only. */
    enum cv_err (*find_relay)(void *ctx, const uint8_t identity[CV_KEY], uint32_t day,
                              struct tun_relay_ref *ret, const uint8_t **ret_descriptor,
                              size_t *ret_len);
    /* A circuit of any user: `by` refused to extend to `meant` and showed what it
     * holds for that relay and day, not verified. Client's ops only. */
    void (*on_differs)(void *ctx, const struct cv_now *now, const struct tun_relay_ref *meant,
                       const struct tun_relay_ref *by, const uint8_t *descriptor, size_t len);
    void (*free)(void *ctx);
};

/* An engine without users, for tests of the engine itself; tun_new() attaches
 * client and hidden. */
struct tunnel *tun_bare_new(const struct tun_config *cfg, const struct cv_rng *rng,
                            const struct cv_now *now);

/* Plugs a user in; `ops` is borrowed for good, `ctx` handed over (ops->free). */
void tun_attach(struct tunnel *t, enum tun_user user, const struct tun_user_ops *ops, void *ctx);
void *tun_attached(const struct tunnel *t, enum tun_user user); /* ctx or NULL */

/* For tun_poll_event(). What `ev` points to is copied when it is at most
 * TUN_DATAGRAM octets (datagram, reply, request ...), else (save, proof) it
 * must stay valid until the event was taken. False: the queue is full and the
 * event was dropped; only DATAGRAMs may be lost that way. */
bool tun_event_push(struct tunnel *t, const struct tun_event *ev);

/* A raw datagram of TUN_DATAGRAM octets to an address, ahead of all cells; at
 * most TUN_RAW_MAX wait. False: full. */
bool tun_raw_send(struct tunnel *t, const struct cv_addr *to, const uint8_t buf[TUN_DATAGRAM]);

/* What the engine was made with; the identity is a copy that lives as long as it. */
const struct tun_config *tun_config(const struct tunnel *t);
const struct cv_rng *tun_rng(const struct tunnel *t);
/* A path that broke a rule was not built. */
void tun_count_path_refused(struct tunnel *t);

/* Relay: the signed descriptor of ours that everybody uses now; NULL when there
 * is none to show. Borrowed until the next tun_on_timeout(). */
const uint8_t *tun_own_descriptor(const struct tunnel *t, int64_t wall, size_t *ret_len);
/* The one that they use next, from 21:00 on; else NULL. */
const uint8_t *tun_next_descriptor(const struct tunnel *t, int64_t wall, size_t *ret_len);

/* May we talk to this address? Family, address class, not ourselves. */
bool tun_address_ok(const struct tunnel *t, const struct cv_addr *a);

#endif
