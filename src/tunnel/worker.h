/*
 * Several engines that are one relay: workers, each with a socket of its own on
 * the relay's port and a thread that calls nobody but it. The first, worker 0, is
 * the relay's face: it alone has a directory, signs the day's descriptor and is what
 * the node talks to; handles and events of the others pass through it. What one engine
 * has to tell another is a message. Like datagrams, messages are arguments and results:
 *
 *     while ((m = tun_poll_message(t)) != NULL)    after each call, with the events
 *         carry m to worker m->to
 *     tun_on_message(other, now, m)                there, in the order of its sender
 *     tun_on_lost(t, m)                            it cannot be carried
 *
 * Messages between two workers must arrive in order. A carrier refuses those that
 * may_be_lost when 2 * TUN_MESSAGES_MAX wait for a worker, and those that are counted when
 * twice as many do; those of an engine it gives back with tun_on_lost(), datagrams that are
 * none of the tunnel's it throws away, as a network does. All others it must carry. They have
 * no limit of their own because what they are about has one: mostly they say that a
 * circuit, a link or a question is answered or is no more, and of counted messages a worker
 * tells another no more than that has room for (crossing.c).
 *
 * Which worker a datagram belongs to is said by the worker's number in its receiver
 * index (rxindex.h). One that arrives at the wrong worker becomes a message: a socket
 * filter saves work and decides nothing. First flights of link handshakes belong to the
 * worker that answers for the network they come from, so that renewals meet the link
 * that they renew and limits of a network are counted in one place.
 */
#ifndef CULVERT_TUNNEL_WORKER_H
#define CULVERT_TUNNEL_WORKER_H

#include "tunnel/tunnel.h"

/* Private to the module but for `next`, `to`, `may_be_lost` and `counted`. */
struct tun_message {
    struct tun_message *next; /* for whoever has it */
    uint8_t to, from;
    bool may_be_lost;
    bool counted; /* takes room until the other took it */
    uint8_t kind; /* enum tun_message_kind, messages.h */
    uint8_t command, code;
    uint32_t transaction;
    cv_handle at, other; /* what it is about at the receiver, and elsewhere */
    uint64_t number;
    cv_usec since; /* what a circuit carries: waits from then on */
    struct cv_addr addr;
    size_t len;
    uint8_t octets[];
};

/* What this engine has to tell another; the caller's to carry or to free. NULL: nothing. */
struct tun_message *tun_poll_message(struct tunnel *t);
/* Takes `m` over. An entry point like tun_on_datagram(). */
void tun_on_message(struct tunnel *t, const struct cv_now *now, struct tun_message *m);
/* What `t` told and nobody can carry: a question counts as not asked, room is given back.
 * Takes `m` over; like any call it may have more to tell. */
void tun_on_lost(struct tunnel *t, struct tun_message *m);
/* NULL is allowed; wipes what may be secret. */
void tun_message_free(struct tun_message *m);

/* A datagram of the relay's port that is not of the tunnel, as a message to worker 0,
 * whose caller looks with tun_message_datagram() before it calls tun_on_message(). NULL:
 * no memory, or longer than TUN_FOREIGN_MAX. */
struct tun_message *tun_message_foreign(unsigned from_worker, const struct cv_addr *from,
                                        const void *buf, size_t len);
/* True when `m` is such a one; borrowed until it is freed. */
bool tun_message_datagram(const struct tun_message *m, const struct cv_addr **ret_from,
                          const uint8_t **ret_buf, size_t *ret_len);

/* Of `workers`, the one that a datagram with these first octets belongs to. What a socket
 * filter computes: ((fourth octet) >> 2) % workers, and 0 for what begins like a DHT message. */
unsigned tun_worker_of(const uint8_t first[4], unsigned workers);

#endif
