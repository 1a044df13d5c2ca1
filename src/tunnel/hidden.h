/*
 * Hidden swarms: viewer and seeder meet without learning each other's address
 * (docs/protocol/tunnel.md, hidden swarms).
 *
 * A viewer has the swarm's slots fetched by the last hops of two circuits,
 * checks and opens what they bring, waits at rendezvous points and asks
 * seeders there through their introduction points. A seeder keeps three
 * introduction points, writes its contacts into three slots through the last
 * hops of circuits, and comes to the rendezvous it is asked to. What both then
 * have is an endpoint for PPSPP: events PEER_UP and PEER_DOWN, tun_send() and
 * DATAGRAM in between, at most TUN_MTU_RENDEZVOUS octets each.
 *
 * One node may view and share the same swarm at once; it never meets itself.
 * Attached to a struct tunnel as TUN_USER_HIDDEN; no calls of its own for time
 * or datagrams.
 */
#ifndef CULVERT_TUNNEL_HIDDEN_H
#define CULVERT_TUNNEL_HIDDEN_H

#include "tunnel/circuit.h"
#include "tunnel/slot.h"
#include "tunnel/tunnel.h"

/* ---- for the node ---- */

enum tun_hidden_state {
    TUN_HIDDEN_WAITING = 0,  /* for relays and circuits */
    TUN_HIDDEN_SEARCHING,    /* viewer: slots are being fetched */
    TUN_HIDDEN_NOBODY,       /* viewer: nobody answered; tried again by itself */
    TUN_HIDDEN_MEETING,      /* viewer: seeders were asked to come */
    TUN_HIDDEN_MET,          /* viewer: at least one peer is up */
    TUN_HIDDEN_ESTABLISHING, /* seeder: introduction points are being set up */
    TUN_HIDDEN_PUBLISHING,   /* seeder: no slot is written yet */
    TUN_HIDDEN_SHARED,       /* seeder: at least one slot is written */
};

/* Copies everything. `secret`: 32 octets or NULL. LIMIT, NOMEM. Each change of
 * state is an event HIDDEN_STATE with the handle. */
enum cv_err tun_hidden_view(struct tunnel *t, const struct cv_now *now, const void *swarm_id,
                            size_t len, const uint8_t *secret, cv_handle *ret);
/* `viewer`: the node watches this swarm as well, and keeps most of what it has
 * for that (8 visitors at a time instead of 64). */
enum cv_err tun_hidden_share(struct tunnel *t, const struct cv_now *now, const void *swarm_id,
                             size_t len, const uint8_t *secret, bool viewer, cv_handle *ret);

/* Constant rate: this swarm's joined circuits carry `mbit` (2, 4, 8, 16) Mbit/s in each
 * direction, whatever is said: half of it each circuit, of which a viewer has two and a
 * seeder one for each visitor (to TUN_PACED_JOINS_MAX of these). When the swarm is
 * closed, or one of them is over, they run on for 5 to 20 minutes (eight at most; a
 * seeder's count among its eight). Right after view or share; INVAL: no such
 * rate, or too late; NOENT. */
enum cv_err tun_hidden_pace(struct tunnel *t, cv_handle hidden, unsigned mbit);

/*
 * A pointer: TUN_POINTER octets that whoever knows the swarm finds, also when nobody shares
 * it. Either this node writes one (`pointer`, copied; again every half hour to hour and when
 * the period turns), in the state SHARED once it stands there, or it reads what others
 * write (NULL): events POINTER, the first of which is the newest that the DHT knew, soon
 * again while there is none, later every ten minutes. Nobody is met for it. Everybody who
 * knows the swarm can write there: what the octets say has to be signed by itself. LIMIT,
 * NOMEM; ended by tun_hidden_close().
 */
enum cv_err tun_hidden_point(struct tunnel *t, const struct cv_now *now, const void *swarm_id,
                             size_t len, const uint8_t *secret, const uint8_t *pointer,
                             cv_handle *ret);

/* Ends it, without PEER_DOWN. Does nothing for a dead handle. */
void tun_hidden_close(struct tunnel *t, const struct cv_now *now, cv_handle hidden);

/* The node found a peer to be dead or useless: its circuit is closed without
 * event and, if we view, somebody else is met. */
void tun_hidden_drop(struct tunnel *t, const struct cv_now *now, const struct cv_endpoint *peer);

/* A reader of the swarm waits for octets that its peers have not brought: a viewer that has
 * room for another seeder looks for one within a minute of the last time. Cheap, may be said
 * again and again; does nothing for a dead handle or a seeder's. */
void tun_hidden_starves(struct tunnel *t, const struct cv_now *now, cv_handle hidden);

/*
 * What came by the ways of a swarm that is viewed, every TUN_LAG_LOOK. Of ways to one seeder
 * one that brings less than half of what the others do for TUN_LAG_LOOKS in a row, while
 * all of them are asked for as much as they take, is replaced (docs/decisions/0039). Does
 * nothing where a constant rate is kept, nor for a dead handle or a seeder's.
 */
struct tun_brought {
    struct cv_endpoint peer;
    uint64_t octets;     /* of content, since the way came up */
    cv_usec asked_since; /* for as much as it takes; CV_USEC_NEVER: it is not now */
};
void tun_hidden_brought(struct tunnel *t, const struct cv_now *now, cv_handle hidden,
                        const struct tun_brought *ways, unsigned count);

/* ---- contacts between peers (message 14 of docs/protocol/ppsp-profile.md) ---- */

/*
 * Who visits says where it can itself be visited, if it shares: its own contacts and
 * nothing else. Who is visited says its own, those of seeders that it visits, and what its
 * visitors said of themselves; only of peers from whom something came in the last minute.
 */
struct tun_named {
    uint32_t period;
    uint8_t contact[TUN_CONTACT];
};
/* What this peer may be told: how many of `ret`, at most TUN_TELL_CONTACTS. */
unsigned tun_hidden_tell(struct tunnel *t, const struct cv_now *now, const struct cv_endpoint *peer,
                         struct tun_named ret[TUN_TELL_CONTACTS]);
/* What this peer said. Anything: what cannot be is counted, what can is tried, beside
 * what the slots say and never instead of it. */
void tun_hidden_told(struct tunnel *t, const struct cv_now *now, const struct cv_endpoint *peer,
                     uint32_t period, const uint8_t *contact, size_t len);

struct tun_hidden_info {
    enum tun_hidden_state state;
    bool seeder;
    uint32_t contacts;        /* viewer: that are current */
    uint32_t named, misnamed; /* of these, named by peers; and what peers named in vain */
    uint32_t peers;           /* up */
    uint32_t replaced;        /* viewer: ways that lagged and were let go */
    uint32_t points;          /* seeder: introduction points up */
    uint32_t slots;           /* seeder: slots written in this period */
    cv_usec opened_at, first_peer_at, published_at; /* 0: not yet */
    uint32_t introductions, refused;                /* seeder: asked to come; dropped by a limit */
    uint32_t effort; /* seeder: asked of who wants to be met; viewer: that of the last .. */
    uint32_t stamps; /* .. of so many introductions that it worked for */
    uint32_t below, replayed; /* dropped: showed less; came before */
    uint32_t paces_refused;   /* relays that would not keep the constant rate */
};
/* CV_ERR_NOENT for a dead handle. */
enum cv_err tun_hidden_info(const struct tunnel *t, cv_handle hidden, struct tun_hidden_info *ret);

/* ---- inside the module ---- */

/* Plugs it into an engine that has a client; the engine frees it. NOMEM. */
enum cv_err tun_hidden_attach(struct tunnel *t, const struct cv_now *now);

#endif
