/*
 * A network in one process, in virtual time. Nodes are engines behind the
 * functions of struct sim_node_ops; the simulator owns the clock, the dice,
 * delay, loss, queues and crashes. Everything random comes from one seed: same
 * seed and same calls, same run, bit for bit, whatever the compiler;
 * sim_digest() says whether two runs were the same.
 *
 *     struct sim *s = sim_new(&(struct sim_config){.seed = 1});
 *     unsigned a = sim_add(s, &ops, engine_a), b = sim_add(s, &ops, engine_b);
 *     sim_bind(s, a, 0, &addr_a), sim_bind(s, b, 0, &addr_b);
 *     sim_link(s, a, b, &(struct sim_path){.delay = CV_MSEC(20), .loss_ppm = 10000});
 *     sim_run(s, CV_SEC(60));
 *
 * Times of this header count from the start of the simulation. Nodes see
 * another clock each: their `mono` begins somewhere else, so that an engine
 * that compares two nodes' clocks is found out. After a call from outside
 * into a node's engine, say so with sim_touch().
 *
 * Single-threaded. Nodes are numbered from 0 and never removed. Running out of
 * memory ends the program: there is nobody to tell.
 */
#ifndef CULVERT_TESTS_SIM_SIM_H
#define CULVERT_TESTS_SIM_SIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/batch.h"
#include "base/endpoint.h"
#include "base/err.h"
#include "base/rng.h"
#include "base/time.h"

struct sim;

/* ---- nodes ---- */

/* The engine contract, seen from outside. `ctx` is what was given to sim_add:
 * it outlives crashes and owns what a disk would keep. */
struct sim_node_ops {
    /* A datagram that came to `to`, an address of socket `socket`. */
    void (*on_datagram)(void *ctx, struct cv_now now, unsigned socket, const struct cv_addr *to,
                        const struct cv_addr *from, const uint8_t *buf, size_t len);
    void (*on_timeout)(void *ctx, struct cv_now now);
    /* Fills the (empty) batch with datagrams that leave through `socket`;
     * endpoints are UDP. Called until it says false; what the batch holds is
     * sent in either case. */
    bool (*poll_transmit)(void *ctx, struct cv_now now, unsigned socket, struct cv_batch *batch);
    /* Drains events and reacts; true when something happened that may have
     * made more datagrams. Tell sim_event() of each. May be NULL. */
    bool (*poll_events)(void *ctx, struct cv_now now);
    cv_usec (*next_timeout)(void *ctx);
    /* Loses everything but files; builds anew from them. Both may be NULL when
     * the node is never crashed. */
    void (*crash)(void *ctx);
    void (*restart)(void *ctx, struct cv_now now);
};

struct sim_config {
    uint64_t seed;
    int64_t wall;          /* Unix seconds at the start; 0: a Monday noon in 2026 */
    uint16_t datagram_max; /* octets a datagram may have; 0: 1472 */
    uint16_t headroom;     /* of the batches given to poll_transmit */
};

struct sim *sim_new(const struct sim_config *cfg);

/* NULL is allowed; returns NULL. Nodes are simply forgotten: free their
 * engines before or after. */
struct sim *sim_free(struct sim *s);

/* Adds a node; `ops` and `ctx` are borrowed. Its engine is served for the
 * first time when the simulation runs on. */
unsigned sim_add(struct sim *s, const struct sim_node_ops *ops, void *ctx);

/* Gives a socket (numbered from 0) of the node an address; a socket may have
 * one of each family. CV_ERR_EXIST: somebody has it. */
enum cv_err sim_bind(struct sim *s, unsigned node, unsigned socket, const struct cv_addr *addr);

/* The socket has this address in the place of the one of its family: what was sent to the old
 * one and is not there yet is lost, as is all that follows. CV_ERR_EXIST as above. */
enum cv_err sim_move(struct sim *s, unsigned node, unsigned socket, const struct cv_addr *addr);

/* A public IPv4 address of its own for each i < 50 000, no two in one /16 while
 * i < 200. */
struct cv_addr sim_addr(unsigned i, uint16_t port);
/* The same of IPv6, a /32 each. */
struct cv_addr sim_addr6(unsigned i, uint16_t port);

/* The node was called from outside the simulation: serve it. */
void sim_touch(struct sim *s, unsigned node);

/* Tells the digest of an event that a node reported. */
void sim_event(struct sim *s, unsigned node, const void *data, size_t len);

/* The node's engine is gone, as by kill -9 or power loss, then back. A node that
 * is down receives nothing. Crashing one that is down is a no-op, likewise
 * restarting one that is up. */
void sim_crash(struct sim *s, unsigned node);
void sim_restart(struct sim *s, unsigned node);
bool sim_is_up(const struct sim *s, unsigned node); /* and awake */

/* The machine is suspended: nothing is served and what comes is lost, until it wakes.
 * Both its clocks go on (io/clock.h). No-ops like those above; a node that is down cannot sleep. */
void sim_sleep(struct sim *s, unsigned node);
void sim_wake(struct sim *s, unsigned node);

/* The node's wall clock is wrong by so many seconds from now on;
 * SIM_WALL_UNKNOWN: it has none (wall = 0). */
#define SIM_WALL_UNKNOWN INT64_MIN
void sim_wall_skew(struct sim *s, unsigned node, int64_t seconds);

/* ---- the network ---- */

/* One direction between two nodes. Zeroed: instant and perfect. */
struct sim_path {
    cv_usec delay;
    cv_usec jitter; /* up to so much more for each datagram; order is kept */
    uint64_t rate;  /* bits of UDP payload a second; 0: no limit */
    uint64_t queue; /* octets that may wait for it (pipe.h); 0: no limit */
    uint32_t loss_ppm, duplicate_ppm, reorder_ppm;
    cv_usec reorder; /* a reordered (or duplicate) one comes up to so much later,
                        overtaken by others */
    uint16_t mtu;    /* larger datagrams are dropped; 0: no limit */
    bool cut;        /* nothing passes */
};

/* A node's way into the network, shared by all its traffic. Zeroed: no limits. */
struct sim_access {
    uint64_t rate_up, rate_down;   /* bits of UDP payload a second */
    uint64_t queue_up, queue_down; /* octets */
};

/* Pipes keep what is inside them when they are configured anew. */
void sim_path_default(struct sim *s, const struct sim_path *path);
void sim_path(struct sim *s, unsigned from, unsigned to, const struct sim_path *path);
void sim_link(struct sim *s, unsigned a, unsigned b, const struct sim_path *both_ways);
void sim_access(struct sim *s, unsigned node, const struct sim_access *access);

/* Bit i & 63 of the mask decides about datagram i from now on, in this one
 * direction: 1 is lost. 0 ends it. Works beside loss_ppm. */
void sim_loss_mask(struct sim *s, unsigned from, unsigned to, uint64_t mask);

/* Datagrams sent in this direction arrive no earlier than `until`. */
void sim_clog(struct sim *s, unsigned from, unsigned to, cv_usec until);

/* Nodes hear only nodes of their own group (all begin in group 0). What is in
 * flight over a border is lost. */
void sim_partition(struct sim *s, unsigned node, unsigned group);
void sim_heal(struct sim *s); /* everybody back to group 0 */

/* How long a datagram would wait now for the path's, or the node's upward, rate. */
cv_usec sim_path_wait(struct sim *s, unsigned from, unsigned to);
cv_usec sim_access_wait(const struct sim *s, unsigned node);

/* A datagram with any sender's address appears at `to`'s door: what a forger
 * who guesses addresses can do. CV_ERR_UNREACHABLE: nobody has that address. */
enum cv_err sim_inject(struct sim *s, const struct cv_addr *from, const struct cv_addr *to,
                       const uint8_t *buf, size_t len);

/* Looks at, changes or drops every datagram at the moment of sending: for
 * captures, checkers and an evil network. `buf` may be written. */
struct sim_datagram {
    cv_usec at;
    unsigned from_node, to_node; /* to_node UINT_MAX: nobody has that address */
    const struct cv_addr *from, *to;
    uint8_t *buf;
    size_t len;
};
enum sim_verdict { SIM_PASS, SIM_DROP };
typedef enum sim_verdict sim_hook_fn(void *ctx, const struct sim_datagram *d);
void sim_hook(struct sim *s, sim_hook_fn *fn, void *ctx); /* NULL: none */

/* ---- running ---- */

cv_usec sim_now(const struct sim *s);
struct cv_now sim_node_now(const struct sim *s, unsigned node);

/* The network's dice, and those of one node: each a stream of its own, so that
 * what one node asks does not disturb another. Valid until sim_free. */
const struct cv_rng *sim_rng(struct sim *s);
const struct cv_rng *sim_node_rng(struct sim *s, unsigned node);

/* Does something at a time (not before now). */
typedef void sim_action_fn(struct sim *s, void *ctx);
void sim_at(struct sim *s, cv_usec at, sim_action_fn *fn, void *ctx);

/* Everything up to and including `until`; the time is `until` afterwards. */
void sim_run(struct sim *s, cv_usec until);

/* Until done(ctx) says true, asked at the beginning and after every instant at
 * which something happened; false when `until` came first. */
typedef bool sim_done_fn(void *ctx);
bool sim_run_while_not(struct sim *s, sim_done_fn *done, void *ctx, cv_usec until);

/* Over every datagram's octets, endpoints, time and fate and every event, in order. */
uint64_t sim_digest(const struct sim *s);

/* ---- figures ---- */

/* X(name): datagrams. sent + duplicated + injected = delivered + all drop_ + in flight. */
#define SIM_COUNTERS(X)                                                                            \
    X(sent)                                                                                        \
    X(duplicated)                                                                                  \
    X(injected)                                                                                    \
    X(delivered)                                                                                   \
    X(drop_hook)                                                                                   \
    X(drop_address)   /* nobody has it, or no source of that family */                             \
    X(drop_partition) /* also: path cut */                                                         \
    X(drop_mtu)                                                                                    \
    X(drop_mask)                                                                                   \
    X(drop_loss)                                                                                   \
    X(drop_queue_up)                                                                               \
    X(drop_queue_path)                                                                             \
    X(drop_queue_down)                                                                             \
    X(drop_down) /* the node is */                                                                 \
    X(in_flight)

struct sim_counters {
#define X(name) uint64_t name;
    SIM_COUNTERS(X)
#undef X
    uint64_t octets_sent, octets_delivered;
    uint64_t timeouts, events, steps; /* steps: instants at which something happened */
};

const struct sim_counters *sim_counters(const struct sim *s);

struct sim_node_counters {
    uint64_t sent, received;               /* datagrams */
    uint64_t octets_sent, octets_received; /* of UDP payload */
    uint64_t timeouts;
};

const struct sim_node_counters *sim_node_counters(const struct sim *s, unsigned node);

#endif
