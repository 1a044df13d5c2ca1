/*
 * What the files of this module share: the node's own memory. Private to
 * src/node.
 *
 *     node.c       life, entry points, the event queue
 *     demux.c      which engine a datagram of MAIN is for
 *     swarm.c      open swarms, wishes, reading; what there is to see of them
 *     route.c      chunks <-> circuits: the one place where the two engines meet
 *     directly.c   direct swarms of ours -> DHT
 *     exit.c       a swarm exit: circuits that end here <-> peers of direct swarms
 *     exitway.c    direct swarms that we see through one
 *     openly.c     swarms that a relay shares under its own name: both ends
 *     pointing.c   recordings of channels, in their pointers
 *     discovery.c  DHT <-> tunnel: relays found and announced, look-ups done for others
 *     upstream.c   what our line carries, and what swarms leave of it
 *     accounts.c   tunnel <-> ledger: octets of links in, classes of links out; our own account
 *     priority.c   tunnel <-> ledger: tokens, as a guard and of our own
 */
#ifndef CULVERT_NODE_STATE_H
#define CULVERT_NODE_STATE_H

#include "base/batch.h"
#include "base/heap.h"
#include "dht/dht.h"
#include "node/limits.h"
#include "node/node.h"
#include "node/own.h"
#include "ppsp/ppsp.h"
#include "reputation/priority.h"
#include "tunnel/tunnel.h"

struct node_swarm {
    bool used;
    uint32_t generation;
    struct node_swarm_config cfg;
    struct ppsp *engine;     /* hidden, direct or open; never changes */
    cv_handle ppsp;          /* the swarm there */
    cv_handle view, share;   /* hidden swarms: the tunnel's side, 0 = not (yet) */
    cv_handle circuit, left; /* open swarms, viewer: to the relay, and the one before it; 0 */
    cv_usec circuit_ends, left_ends; /* 0: not known */
    struct node_way *way, *leaving;  /* through an exit, and the one before it; NULL: other modes */
    struct node_pointing *pointing;  /* a channel and its recordings; NULL: of others */
    uint32_t transaction;            /* of the OPEN that was asked there, 0 = none */
    dht_op announce;                 /* direct swarms that we have: kept in the DHT; 0 = not */
    uint64_t edge;                   /* live swarms, viewer: one behind the newest verified chunk */
    bool complete;                   /* everything is verified */
    bool worth_sharing;              /* enough is there to be a seeder too */
    bool shared;                     /* SHARED was said */
};

/* A look-up or put that the node's DHT does for somebody else's circuit. */
struct node_errand {
    dht_op op; /* 0: free */
    cv_handle hop;
    struct cv_addr network; /* of the hop before */
    uint32_t transaction;
    uint8_t index; /* which of the asked keys */
    bool found, put;
    bool peers;           /* asked for peers of a direct swarm */
    struct dht_item item; /* newest found so far */
    struct cv_addr peer[TUN_PEERS_MAX];
    uint8_t peer_count;
};

/* A relay that proved who it is, while it has a link with ours. */
struct node_neighbour {
    cv_handle link;
    struct cv_addr addr;
    uint32_t weight; /* REP_WEIGHT_.. */
};

/* Tokens: one guard is asked at a time, one token shown at a time. */
struct node_priority {
    cv_usec at; /* when to look again; NEVER: no ledger */
    uint8_t issuer[CV_KEY];
    uint32_t week, transaction;
    cv_handle circuit; /* to the issuer; 0: nobody is asked */
    uint8_t request[REP_TOKEN_REQUEST];
    struct node_shown {
        cv_handle link;    /* 0: none, or it is gone */
        cv_usec until;     /* the hour is over; its place is free */
        cv_usec repeat_at; /* not acknowledged: said three times */
        uint8_t tries;
        uint8_t shown[REP_TOKEN_SHOWN];
    } shown[NODE_PRIORITY_LINKS];
};

struct node {
    struct node_config cfg;
    const struct cv_rng *rng;
    struct cv_now now; /* of the newest call; for statistics and days only */

    bool lost[NODE_SAVED_KINDS]; /* of what was saved: cannot be read */
    bool unsettled;              /* datagrams came since the last node_settle() */
    struct dht *dht;
    struct tunnel *client;     /* on OWN */
    struct tunnel *relay;      /* on MAIN; NULL: we carry nobody */
    uint8_t worker_key[16];    /* of `relay` and its fellow workers */
    struct node_exit *exit;    /* on the EXIT sockets; NULL: we are none */
    bool draining;             /* nobody new is taken on (node_drain) */
    cv_usec drain_at;          /* while it drains: when to look for circuits that do nothing */
    struct ppsp *hidden;       /* peers are circuits of `client` */
    struct ppsp *direct;       /* peers are UDP addresses; NULL: no socket for it */
    struct ppsp *open;         /* peers are circuits that end at `relay`; NULL: nothing shared so */
    struct rep_ledger *ledger; /* NULL: none */
    struct ppsp_upstream upstream; /* of hidden, direct and open together */

    struct node_swarm *swarms; /* NODE_SWARMS_MAX */
    cv_usec swarm_retry_at;
    cv_usec way_at;  /* when exitway.c has something to do */
    cv_usec dial_at; /* when viewers of open swarms without a circuit try again */

    struct node_first_hop first_hops[NODE_FIRST_HOPS_MAX];
    cv_handle first_links[NODE_FIRST_HOPS_MAX];
    size_t first_hops_count;

    struct node_priority priority;

    struct node_neighbour neighbours[NODE_NEIGHBOURS_MAX];
    size_t neighbours_count;

    /* What our own circuits gave to first hops and took; of a relay, of which nobody keeps an
     * account, since the start. */
    struct node_own own;
    bool own_kept; /* there is something to save, or was */
    uint64_t nameless_given, nameless_taken;
    enum cv_err ledger_failed; /* OK: it goes on */

    /* discovery */
    struct cv_now clocks; /* when time was last looked at */
    bool dht_ready, relay_ready, client_ready;
    cv_usec too_few_at;          /* when to say so */
    uint32_t contacts_wanted[2]; /* client, relay; 0: never */
    cv_usec contacts_wanted_at[2];
    dht_op relay_lookup;     /* running look-up of relays */
    cv_usec relay_lookup_at; /* when the next may start */
    cv_usec relay_lookup_wait;
    cv_usec other_days_at; /* when the next look-up under another day's key may start */
    uint8_t other_days;    /* how many were tried */
    uint32_t relays_known; /* with a descriptor of today, when last looked at */
    cv_usec announce_at;
    dht_op announce_ops[NODE_ANNOUNCES_MAX];
    uint32_t announce_met[NODE_ANNOUNCES_MAX]; /* relays met under that key last time */
    struct node_errand errands[NODE_ERRANDS_MAX];

    /* what happened and was not taken yet; a ring */
    struct node_event events[NODE_EVENTS_ALL];
    uint32_t events_first, events_count;
    uint8_t *saved[NODE_SAVED_KINDS]; /* copies behind SAVE events */
    cv_usec dht_save_at;

    uint8_t *read_buf; /* NODE_READ_OCTETS */

    /* scratch for what ppsp sends into circuits */
    struct cv_batch scratch;
    struct cv_run scratch_runs[NODE_SCRATCH_RUNS];

    struct {
        uint64_t nobodys, circuit_full, events_lost, events_merged, settled_short, proofs,
            pointers_refused;
    } counters;
};

/* node.c */
void node_event_push(struct node *n, const struct node_event *ev);
/* Copies `data`; the newest of its kind replaces one that was not taken yet. */
void node_event_save(struct node *n, enum node_saved which, const void *data, size_t len);
/* Takes all events of all engines until none has any. */
void node_settle(struct node *n, struct cv_now now);

/* demux.c: true when MAIN's datagram is the tunnel's, false when the DHT's. */
bool node_demux_is_tunnel(const struct node *n, const uint8_t *buf, size_t len);

/* swarm.c */
struct ppsp *node_swarm_engine(struct node *n, enum node_swarm_mode mode);
struct node_swarm *node_swarm_get(const struct node *n, cv_handle swarm);
cv_handle node_swarm_handle(const struct node *n, const struct node_swarm *s);
struct node_swarm *node_swarm_by_hidden(struct node *n, cv_handle hidden);
void node_swarm_on_ppsp(struct node *n, struct cv_now now, struct ppsp *engine,
                        const struct ppsp_event *ev);
/* Views and shares that could not begin for want of room are tried again. */
void node_swarm_retry(struct node *n, struct cv_now now);

/* upstream.c */
void node_upstream_begin(struct node *n, struct cv_now now);
void node_upstream_save(struct node *n);
/* NULL: nothing is measured. */
struct ppsp_upstream *node_upstream(struct node *n);
/* What ppsp is told of a swarm's limit. */
uint64_t node_upstream_limit(const struct node_swarm_config *cfg);

/* favour.c: whom to serve first */
uint32_t node_favour_slots(uint64_t upload_limit);
void node_favour_peer(struct node *n, struct cv_now now, const struct node_swarm *s,
                      const struct cv_endpoint *ep);
void node_favour_link_up(struct node *n, cv_handle link, const struct cv_addr *addr);
void node_favour_weight(struct node *n, struct cv_now now, cv_handle link, uint32_t weight);
void node_favour_link_down(struct node *n, struct cv_now now, cv_handle link);

/* route.c */
void node_route_on_tunnel(struct node *n, struct cv_now now, const struct tun_event *ev);
/* Moves what the engine `from` (hidden, or open) wants to send into circuits: as much
 * as a circuit's queue has room for, true: there may be more; or all of it, and what
 * finds its circuit full is lost. */
bool node_route_pump_some(struct node *n, struct cv_now now, struct ppsp *from);
void node_route_pump(struct node *n, struct cv_now now, struct ppsp *from);
/* Every NODE_SWARM_RETRY: what the ways of the hidden swarms that we view bring. */
void node_route_compare(struct node *n, struct cv_now now);

/* exit.c: relay */
/* Of what may leave for others in a second, so much is the exit's; 0: there is no limit. */
uint64_t node_exit_share(const struct node_config *cfg);
struct node_exit *node_exit_new(const struct node_config *cfg, const struct cv_rng *rng,
                                struct cv_now now);
struct node_exit *node_exit_free(struct node_exit *x);
bool node_exit_may_call(const struct node *n, const struct cv_addr *to);
void node_exit_on_connect(struct node *n, struct cv_now now, const struct tun_event *ev);
void node_exit_on_cell(struct node *n, struct cv_now now, const struct tun_event *ev);
void node_exit_on_hop_down(struct node *n, cv_handle hop);
void node_exit_on_datagram(struct node *n, struct cv_now now, unsigned port,
                           const struct cv_addr *from, const uint8_t *buf, size_t len);
void node_exit_poll_transmit(struct node *n, unsigned port, struct cv_batch *batch);
void node_exit_on_timeout(struct node *n, struct cv_now now);
cv_usec node_exit_next(const struct node *n);

/* exitway.c: viewer */
struct node_way *node_way_new(void);
void node_way_close(struct node *n, struct cv_now now, struct node_swarm *s);
void node_way_dial(struct node *n, struct cv_now now, struct node_swarm *s);
enum cv_err node_way_peer(struct node *n, struct cv_now now, struct node_swarm *s,
                          const struct cv_addr *addr);
/* The ppsp engine forgot it. */
void node_way_peer_down(struct node *n, struct cv_now now, struct node_swarm *s,
                        const struct cv_endpoint *ep);
void node_way_on_circuit(struct node *n, struct cv_now now, const struct tun_event *ev);
void node_way_on_cell(struct node *n, struct cv_now now, const struct tun_event *ev);
enum cv_err node_way_send(struct node *n, struct cv_now now, const struct cv_endpoint *to,
                          const uint8_t *buf, size_t len);
void node_way_on_timeout(struct node *n, struct cv_now now);

/* directly.c */
void node_directly_announce(struct node *n, struct cv_now now, struct node_swarm *s);
void node_directly_end(struct node *n, struct cv_now now, struct node_swarm *s);
/* A peer of a hidden swarm is told whom else there is. */
void node_route_contacts(struct node *n, struct cv_now now, const struct node_swarm *s,
                         const struct cv_endpoint *peer);

/* openly.c: viewer */
void node_openly_dial(struct node *n, struct cv_now now, struct node_swarm *s);
void node_openly_close(struct node *n, struct cv_now now, struct node_swarm *s);
/* The ppsp engine forgot it. */
void node_openly_peer_down(struct node *n, struct cv_now now, struct node_swarm *s,
                           const struct cv_endpoint *ep);
void node_openly_on_circuit(struct node *n, struct cv_now now, const struct tun_event *ev);
void node_openly_on_timeout(struct node *n, struct cv_now now);
/* openly.c: relay */
void node_openly_on_request(struct node *n, struct cv_now now, const struct tun_event *ev);

/* pointing.c */
void node_pointing_meet(struct node *n, struct cv_now now, struct node_swarm *s);
void node_pointing_end(struct node *n, struct cv_now now, struct node_swarm *s);
void node_pointing_on_pointer(struct node *n, const struct tun_event *ev);

/* discovery.c */
void node_discovery_on_dht(struct node *n, struct cv_now now, const struct dht_event *ev);
void node_discovery_need(struct node *n, struct cv_now now, bool relay, uint32_t wanted);
void node_discovery_on_request(struct node *n, struct cv_now now, const struct tun_event *ev);
void node_discovery_on_hop_down(struct node *n, struct cv_now now, cv_handle hop);
void node_discovery_on_timeout(struct node *n, struct cv_now now);
void node_discovery_save(struct node *n);
cv_usec node_discovery_next(const struct node *n);

/* accounts.c: our own account, by octets of our own circuits on their first links; it is
 * saved when its class changes, and with all else */
void node_accounts_begin(struct node *n, struct cv_now now);
void node_accounts_own(struct node *n, struct cv_now now, uint64_t gave, uint64_t took);
void node_accounts_save(struct node *n);
/* .. events of the relay engine's links, events of the ledger */
void node_accounts_on_tunnel(struct node *n, struct cv_now now, const struct tun_event *ev);
bool node_accounts_settle(struct node *n, struct cv_now now);

/* priority.c: as a guard ... */
void node_priority_on_request(struct node *n, struct cv_now now, const struct tun_event *ev);
void node_priority_on_token(struct node *n, struct cv_now now, const struct tun_event *ev);
/* ... and of our own */
void node_priority_on_circuit(struct node *n, struct cv_now now, const struct tun_event *ev);
void node_priority_on_link_down(struct node *n, cv_handle link);
void node_priority_on_timeout(struct node *n, struct cv_now now);
/* Does an hour run on one of our first links? */
bool node_priority_runs(const struct node *n);

#endif
