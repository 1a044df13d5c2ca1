/*
 * What a swarm exit lets through: PPSPP (RFC 7574) between owners of circuits and
 * peers of direct swarms, known by state and not by a first octet.
 *
 * A flow is opened to one address. Its first datagram is a HANDSHAKE on channel 0
 * of at most EXIT_CALL_MAX octets and nothing else; the peer's answer is a HANDSHAKE
 * to the channel that was named there; from then on only datagrams on the two
 * channels of that exchange pass, each with a message of RFC 7574 in front. A flow
 * may call again (its peer forgot it): by the same rule. The peer sees a channel that
 * was drawn here in place of the owner's: nobody but it can answer, so nobody can
 * make an exit believe that somebody answered who did not.
 *
 * Never more leaves than comes out of a circuit: nothing is answered, repeated or
 * made here. Whoever does not answer is not called on: three calls a minute to one
 * address, EXIT_HOST_CALLS to one host, by all circuits together; a budget of calls
 * of each circuit and of all. So an exit finds nobody for a scanner and floods
 * nobody for anybody.
 *
 * Pure: the time and every datagram are arguments. Not thread-safe. Memory is taken
 * once. Lookups are keyed with dice of our own.
 */
#ifndef CULVERT_NODE_EXITFILTER_H
#define CULVERT_NODE_EXITFILTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/endpoint.h"
#include "base/err.h"
#include "base/rng.h"
#include "base/time.h"

struct exit_filter;

enum exit_scope { EXIT_SCOPE_PUBLIC, EXIT_SCOPE_LOOPBACK, EXIT_SCOPE_PRIVATE };

struct exit_config {
    enum exit_scope scope;
    uint8_t family;            /* 4 or 6: what the sockets are bound to; 0: any */
    unsigned ports;            /* sockets, 1..NODE_EXITS: so many flows go to one address at once */
    const struct cv_addr *own; /* addresses of ours: their networks are never called */
    size_t own_count;
    uint64_t octets_s; /* that leave in all, a second; 0: no limit */
};

struct exit_counters {
    uint64_t flows_opened, flows_refused;
    uint64_t out, out_octets, in, in_octets; /* passed */
    uint64_t calls;                          /* of them, handshakes that left */
    uint64_t drop_form, drop_channel;        /* no PPSPP; PPSPP of another exchange */
    uint64_t drop_calls;                     /* a call too many */
    uint64_t drop_rate, drop_size, drop_stranger;
    uint32_t flows; /* now */
};

/* The filter's own name of a flow: a circuit that ends here, and a number the owner chose. */
struct exit_name {
    cv_handle hop;
    uint16_t flow;
};

/* NULL: out of memory. `own` is copied. */
struct exit_filter *exit_filter_new(const struct exit_config *cfg, const struct cv_rng *rng,
                                    struct cv_now now);
struct exit_filter *exit_filter_free(struct exit_filter *f); /* NULL is allowed */

/* May an exit of ours speak to this address at all? The rule alone, without any budget. */
bool exit_filter_may_call(const struct exit_filter *f, const struct cv_addr *to);

/*
 * Opens a flow. DENIED: not an address that an exit speaks to; UNREACHABLE: of a
 * family that we have no socket of; LIMIT: too many of this circuit, or asked for
 * too fast; AGAIN: too many in all, or this address has a flow on each socket.
 * EXIST: the flow is open, to this same address (an answer got lost); to another
 * address it is DENIED.
 */
enum cv_err exit_filter_open(struct exit_filter *f, struct cv_now now, const struct exit_name *name,
                             const struct cv_addr *to);

/*
 * A datagram of the owner's. OK: it leaves by socket *ret_port for *ret_to, with
 * another channel in it when it is a call. NOENT: no such flow (any more); MALFORMED,
 * DENIED, LIMIT: dropped and counted.
 */
enum cv_err exit_filter_out(struct exit_filter *f, struct cv_now now, const struct exit_name *name,
                            uint8_t *buf, size_t len, unsigned *ret_port, struct cv_addr *ret_to);

/* A datagram that came to a socket. OK: it goes to *ret_name, with the channel that the
 * owner knows; else dropped and counted. */
enum cv_err exit_filter_in(struct exit_filter *f, struct cv_now now, unsigned port,
                           const struct cv_addr *from, uint8_t *buf, size_t len,
                           struct exit_name *ret_name);

/* What is not there is no error. */
void exit_filter_close(struct exit_filter *f, const struct exit_name *name);
void exit_filter_close_hop(struct exit_filter *f, cv_handle hop);

/* A flow whose time is over, closed now; call until false. */
bool exit_filter_expired(struct exit_filter *f, struct cv_now now, struct exit_name *ret);
/* When to ask; CV_USEC_NEVER without flows. */
cv_usec exit_filter_next(const struct exit_filter *f);

const struct exit_counters *exit_filter_counters(const struct exit_filter *f);

#endif
