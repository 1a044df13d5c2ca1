/*
 * Worlds of tunnel engines in virtual time: relays and clients on the
 * simulator's network, without the parts above the engine (every relay knows
 * every other's descriptor then) or with them. Events are kept for the test to look at.
 */
#ifndef CULVERT_TUNNEL_TESTS_WORLD_H
#define CULVERT_TUNNEL_TESTS_WORLD_H

#include "sim/sim.h"
#include "tunnel/core.h"
#include "tunnel/worker.h"

#define WORLD_NODES 80

struct world_event {
    struct tun_event ev;
    cv_usec at;
    uint8_t octets[TUN_DATAGRAM];
};

struct world;

struct world_node {
    struct world *world;
    struct tunnel *t;
    struct tunnel *worker[TUN_WORKERS_MAX]; /* [0] is t; cfg.workers of them, if more than one */
    bool scatters;                          /* datagrams come to any worker, whosever they are */
    unsigned scattered;
    uint64_t messages; /* that its workers told each other */
    /* This worker (0: none) has no time: it takes, sends and answers nothing. What it is
     * told waits, what else comes is lost. */
    unsigned stalled;
    unsigned resuming; /* the same until it has read what waits */
    struct tun_message *waits, **waits_end;
    /* True: this one is lost on its way. NULL: none is. */
    bool (*loses)(struct world_node *n, const struct tun_message *m);
    struct tun_config cfg;
    struct cv_ed25519_secret identity_secret;
    struct cv_addr addr, addr_too; /* addr_too: of IPv6, of who has both families */
    unsigned id;
    struct world_event *events;
    uint32_t count, cap;
    uint64_t datagrams, octets; /* DATAGRAM and HOP_DATAGRAM events: counted, not kept */
    bool keep_datagrams;
    uint64_t carried_out, carried_in; /* sums of LINK_CARRIED, not kept */
    /* Called for every event, before it is kept; may use the engine. */
    void (*on_event)(struct world_node *n, const struct cv_now *now, const struct tun_event *ev);
    void *ctx;
};

struct world {
    struct sim *sim;
    bool whole;       /* with client and hidden swarms; set it before adding nodes */
    bool one_machine; /* all at one IP address; the same */
    bool mixed;       /* nodes have an address of IPv4 and one of IPv6, or with a `family` in */
    uint8_t family;   /* their configuration or, where that has none, here one of it; the same */
    struct world_node node[WORLD_NODES];
    unsigned nodes;
};

struct world *world_new(const struct sim_config *cfg);
void world_free(struct world *w);

/* `cfg`: NULL, or what differs from the defaults; identity and address are
 * filled in. Returns the node's number, which is also its number in the sim. */
unsigned world_relay(struct world *w, const struct tun_config *cfg);
unsigned world_client(struct world *w, const struct tun_config *cfg);

/* Relays 0 to 3 and client 4, all with `tun` (NULL: the defaults), all `path` apart. */
struct world *world_five(const struct sim_config *cfg, const struct sim_path *path,
                         const struct tun_config *tun);

struct cv_now world_now(const struct world *w, unsigned node);
void world_run(struct world *w, cv_usec for_so_long);
/* The stalled worker of a node has time again: it reads some, sends, and so on. */
void world_resume(struct world *w, unsigned node);

/* How to reach a relay. */
void world_ref(struct world *w, unsigned relay, struct tun_relay_ref *ret);

/* Starts a circuit of `node` through relays, in this order. */
cv_handle world_open(struct world *w, unsigned node, const unsigned *relays, unsigned n);
/* The same, run until it is ready; 0 when it did not become so in 20 s. */
cv_handle world_circuit(struct world *w, unsigned node, const unsigned *relays, unsigned n);

/* The i-th (from 0) event of a kind at a node; NULL when there are fewer. */
struct world_event *world_find(struct world *w, unsigned node, enum tun_event_kind kind,
                               unsigned i);
unsigned world_count(struct world *w, unsigned node, enum tun_event_kind kind);
/* The first REPLY to a transaction, NULL when there is none. */
struct world_event *world_reply(struct world *w, unsigned node, uint32_t transaction);

enum cv_err world_send(struct world *w, unsigned node, cv_handle circuit, const void *buf,
                       size_t len);
uint32_t world_request(struct world *w, unsigned node, cv_handle circuit, uint8_t command,
                       const void *body, size_t len);

/* What a node has first, in no order that means something; NULL: it has none. */
struct tun_link *world_link(struct world *w, unsigned node);
struct tun_hop *world_hop(struct world *w, unsigned relay);

/* An on_event: a relay that shares openly. Says OPENED, returns every datagram. */
void world_echo(struct world_node *n, const struct cv_now *now, const struct tun_event *ev);

#endif
