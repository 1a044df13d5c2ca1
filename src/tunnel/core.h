/*
 * The engine's own state, shared by the files that are the engine: tunnel.c,
 * link.c, epoch.c, circuit.c, hop.c, introduction.c, rendezvous.c, pace.c,
 * keyring.c, worker.c, crossing.c, expect.c.
 * Nobody else includes this; parts above the engine use engine.h.
 */
#ifndef CULVERT_TUNNEL_CORE_H
#define CULVERT_TUNNEL_CORE_H

#include "base/heap.h"
#include "base/map.h"
#include "base/slab.h"
#include "base/tokenbucket.h"
#include "tunnel/admission.h"
#include "tunnel/cell.h"
#include "tunnel/cookie.h"
#include "tunnel/describe.h"
#include "tunnel/dice.h"
#include "tunnel/engine.h"
#include "tunnel/events.h"
#include "tunnel/handles.h"
#include "tunnel/handshake.h"
#include "tunnel/idtable.h"
#include "tunnel/keyring.h"
#include "tunnel/layer.h"
#include "tunnel/linkcmd.h"
#include "tunnel/linkhs.h"
#include "tunnel/messages.h"
#include "tunnel/onion.h"
#include "tunnel/outbox.h"
#include "tunnel/pacer.h"
#include "tunnel/relaycmd.h"
#include "tunnel/rxindex.h"
#include "tunnel/scheduler.h"
#include "tunnel/tunnel.h"
#include "tunnel/window.h"

enum { TUN_LINE = 64 }; /* octets that a processor fetches together */

/* ---- timers ---- */

enum tun_timer_kind {
    TUN_TIMER_LINK,
    TUN_TIMER_CIRCUIT,
    TUN_TIMER_HOP,
    TUN_TIMER_ENGINE,
    TUN_TIMER_ENDING
};

struct tun_timer {
    struct cv_timer heap;
    uint8_t kind;
};

/* ---- legs: where circuits meet links ---- */

enum tun_leg_kind {
    TUN_LEG_OWN,  /* our circuit's first link (struct tun_circuit) */
    TUN_LEG_PREV, /* a hop's link towards the owner (struct tun_hop) */
    TUN_LEG_NEXT, /* a hop's link onwards */
};

/* One direction of sending and one entry in a link's table of circuits. */
struct tun_leg {
    struct tun_flow flow;  /* cells that wait for this link */
    struct tun_link *link; /* NULL: not attached */
    uint32_t id;
    uint8_t kind; /* enum tun_leg_kind */
};

/* ---- links ---- */

/* Keys and numbers between two handshakes. */
struct tun_session {
    struct tun_link_secret tx_secret, rx_secret;
    struct tun_window window;
    uint64_t sent; /* last link sequence used */
    uint32_t local_index, remote_index;
    bool live;
    bool used; /* something went over it that is not there for its own sake */
    uint8_t hash[CV_NOISE_HASH];
};

/* A handshake of ours under way, or its result that waits to be confirmed. */
struct tun_making {
    struct tun_linkhs hs;
    uint8_t cookie[TUN_COOKIE];
    cv_usec cookie_at; /* 0: none */
    cv_usec at;        /* next try */
    cv_usec wait;
    uint8_t tries;
    bool answered; /* flight 2 came; link->next holds the keys */
};

enum tun_link_state {
    TUN_STATE_MAKING = 1, /* ours: waits for flight 2 */
    TUN_STATE_ANSWERED,   /* theirs: waits for the first valid cell */
    TUN_STATE_OPEN,
};

TAILQ_HEAD(tun_link_list, tun_link);

/* A link, or a circuit, in a crowd. */
struct tun_placed {
    uint32_t at; /* index + 1; 0: in none */
};

/* Links or circuits of which any can be drawn (places.c). */
struct tun_crowd {
    struct tun_placed **v; /* NULL: nobody */
    uint32_t count, cap;
    struct cv_timer rank; /* among the crowds of other networks, the largest first */
};

/* Links that count as one: of clients of one /24 or /56 in one class, of relays without
 * standing of one /16 or /32, of one relay with standing. Places are counted so, too, but for
 * relays without standing: by them with clients of their /24 or /56. */
struct tun_netgroup {
    struct tun_sched_group group;
    struct {
        struct cv_addr network; /* family 0: not by network */
        uint32_t class;
        uint8_t identity[CV_KEY];
    } key;
    uint32_t refs; /* links that are served as this, and those that are counted as this: */
    struct tun_crowd guests; /* the latter, if others opened them, with a place of their own, */
    struct tun_crowd hops;   /* and circuits of others that came over them */
    uint32_t half_count;
    struct tun_link_list halves; /* so many: those that wait for a first cell, oldest first */
    struct cv_timer fullness;    /* in the heap of groups with such, the one with most first */
};

/* Whence links with a place come: a host of IPv4, a /64 of IPv6, by any port. */
struct tun_guest_addr {
    struct cv_addr host;
    struct tun_link_list links;
    cv_usec looked_at; /* when some were asked whether they are still there */
};

struct tun_link {
    cv_handle handle;
    struct tun_timer timer;
    uint8_t state; /* enum tun_link_state */
    bool ours;     /* we sent flight 1 */
    bool named;    /* in the table of links by identity */
    uint8_t role;  /* TUN_ROLE_* of the other side */
    uint8_t class;
    uint16_t weight;
    uint8_t auth_tries; /* ours: still to be sent; theirs: seen */
    bool auth_signed;   /* ours: `auth` holds what is sent */
    uint8_t auth[TUN_AUTH_OCTETS];
    struct cv_addr addr;
    struct cv_addr addr_too; /* ours, until it is open: another one of theirs; family 0: none */
    uint8_t identity[CV_KEY];
    uint8_t first_hash[CV_NOISE_HASH];

    struct tun_session now, next, old;
    cv_usec old_until;
    struct tun_making *making;    /* NULL: none under way */
    struct tun_linkhs_peer *peer; /* ours only */
    cv_usec rekey_at, give_up_at;

    struct tun_idtable circuits;   /* id -> struct tun_leg */
    struct tun_sched_group alone;  /* when there was no memory for a group */
    struct tun_netgroup *netgroup; /* with which it is served; NULL: no memory, or no relay */
    struct tun_sched_group *group; /* one of the two above, or that of all our own */
    struct tun_netgroup *counted;  /* where its places are counted; NULL as above */
    struct tun_placed placed;      /* there */
    struct tun_guest_addr *from;   /* where it is found; NULL: no place, or no memory */

    uint32_t spare_local[TUN_SPARES], spare_remote[TUN_SPARES];
    uint8_t spares_local, spares_remote;
    uint32_t stale_index; /* replaced by a spare; what is on its way still counts. 0: none */

    cv_usec heard_at, sent_at;
    cv_usec unanswered_at; /* first data heard since we sent anything; 0: none */
    cv_usec waiting_at;    /* first data sent since we heard anything; 0: none */
    cv_usec probe_at;      /* while waiting: something that must be answered */
    cv_usec auth_at;

    struct cv_addr new_addr; /* being challenged; family 0: none is */
    uint8_t challenge[8];
    cv_usec challenged_at;    /* 0: never, or it moved then */
    struct cv_addr told_addr; /* whose network another worker answers for; family 0: none */

    uint32_t queued;                /* cells waiting for it */
    uint64_t out_octets, in_octets; /* RELAY cells, not yet reported */
    bool dirty;
    TAILQ_ENTRY(tun_link) dirty_entry;
    TAILQ_ENTRY(tun_link) place_entry; /* in its group, while ANSWERED; then by whence it comes */
    struct cv_tokenbucket creates, destroys;
    cv_usec asked_at; /* whether it is still there, for who would have its place */
};

/* ---- circuits of ours ---- */

struct tun_asking {
    TAILQ_ENTRY(tun_asking) entry;
    cv_usec at, wait; /* next try; at NEVER: answered, kept to know late answers */
    cv_usec until;
    uint32_t transaction;
    uint16_t len;
    uint8_t command, hop, tries;
    bool internal; /* EXTEND of the circuit itself */
    bool answered;
    uint8_t body[]; /* with the transaction in front */
};

TAILQ_HEAD(tun_askings, tun_asking);

enum tun_circuit_state {
    TUN_CIRCUIT_LINKING,
    TUN_CIRCUIT_CREATING,
    TUN_CIRCUIT_EXTENDING,
    TUN_CIRCUIT_READY
};

struct tun_circuit {
    cv_handle handle;
    struct tun_leg leg;
    struct tun_timer timer;
    cv_usec tick_at, turn_at; /* turn: key epochs */
    struct tun_onion onion;
    struct tun_circuit_plan plan;
    uint8_t binding[TUN_HOPS_MAX][32];
    uint8_t state; /* enum tun_circuit_state */
    uint8_t ttl, pings, create_tries;
    bool spent;                      /* a hop has seen all the cells it may: no more */
    struct tun_handshake *handshake; /* with hop onion.hops */
    cv_usec create_at, create_wait;
    struct tun_askings askings;
    uint32_t asked, next_transaction;
    uint32_t building; /* transaction of our EXTEND under way */
    cv_usec opened_at, ready_at, expires_at, heard_at, sent_at;
    cv_usec unheard_at; /* first cell sent since we heard any; 0: none */
    uint64_t cells_out, cells_in;
    bool paced;             /* its first link carries a constant rate, both ways, */
    bool running_on;        /* and what that was for is over: nobody uses it */
    struct tun_pacer pacer; /* when paced */
};

/* ---- circuits of others ---- */

/* A circuit whose owner ordered a constant rate of us. */
struct tun_hop_pace {
    TAILQ_ENTRY(tun_hop_pace) entry;
    struct tun_hop *hop;
    struct tun_pacer pacer;
    bool ends; /* the owner has said when */
};

/* A question that was asked of us, or one cell of the answer to it. */
struct tun_memo {
    struct tun_memo *next;
    uint32_t transaction;
    uint16_t len;
    uint8_t command; /* of the answer; 0: asked, not answered yet */
    cv_usec at;
    uint8_t body[];
};

/*
 * With many of them a cell costs as many cache misses as it touches lines. A cell that goes
 * on touches four: forward those of `next` (the second ends with what the cell itself
 * changes) and two of the layer; backward the second of these, where next.kind is, those of
 * `prev`, and one of the layer. expect.c fetches them; what every cell needs may stand
 * nowhere else.
 */
struct tun_hop {
    _Alignas(TUN_LINE) struct tun_leg next;
    cv_usec heard_at;
    bool spoken;   /* a cell of the owner arrived: CREATED has */
    bool extended; /* the next hop answered */
    bool paced;    /* `pace` is not NULL */
    bool open;     /* DATAGRAMs go to the node: OPEN was answered, */
    bool opening;  /* or is being: what comes right behind it finds it answered */
    bool exit;     /* EXITs go to the node: CONNECT was answered */
    bool asked;    /* the node knows this hop */
    uint8_t cells; /* that came of the owner since `counted_at`, 255 at most */

    struct tun_leg prev;
    cv_usec turn_at;
    struct tun_hop_pace *pace; /* NULL: whatever comes goes */

    cv_handle handle;
    struct tun_memo *memos;
    uint32_t extending; /* transaction of the EXTEND under way, */
    uint32_t asks_open; /* and of the OPEN */
    struct tun_layer layer;

    struct tun_timer timer;
    struct tun_placed placed; /* where those of its first link are counted */
    cv_usec counted_at;       /* a minute ago, or some: `cells` begins anew */
    uint8_t binding[32];
    uint8_t created[TUN_FLIGHT2]; /* repeated when CREATE is */
    uint8_t create_digest[16];
    uint8_t ttl, extends;
    uint8_t memo_count;
    bool spent; /* backward: as many cells as one key chain may carry */

    /* CREATE of the next hop, under way */
    uint8_t *flight;
    uint16_t flight_len;
    uint8_t create_tries;
    cv_usec create_at, create_wait, create_began;

    /* introduction and rendezvous */
    bool is_intro, is_rendezvous;
    uint8_t intro_tries;
    uint8_t intro_key[CV_KEY];
    uint8_t cookie[TUN_RENDEZVOUS_COOKIE];
    uint32_t cookie_transaction;
    struct tun_hop *spliced;       /* the other circuit of a rendezvous, */
    cv_handle spliced_away;        /* or that of another worker; 0: none */
    struct tun_crossing *crossing; /* where cells of it wait to go, in `next`; NULL: none wait */
    TAILQ_ENTRY(tun_hop) crossing_entry;
    struct tun_memo *joined; /* JOINED, repeated until the viewer speaks */
    cv_usec joined_at, joined_wait;
    uint8_t joined_tries;
    struct cv_tokenbucket lookups, introductions; /* these: passed on to it, or asked by it */
};

#define TUN_HOP_BEGINS_LINE(member)                                                                \
    static_assert(offsetof(struct tun_hop, member) % TUN_LINE == 0, #member " begins a line")

static_assert(offsetof(struct tun_hop, prev) == 2 * TUN_LINE, "two lines for `next`");
static_assert(offsetof(struct tun_hop, next.kind) >= TUN_LINE, "in the second");
static_assert(offsetof(struct tun_hop, turn_at) <= 4 * TUN_LINE, "two lines for `prev`");
TUN_HOP_BEGINS_LINE(layer.backward.secret.key[TUN_KEY_TRANSIT]);
TUN_HOP_BEGINS_LINE(layer.forward_mask_key); /* ends that of the key before */
TUN_HOP_BEGINS_LINE(layer.forward.window);   /* ends that of the mask key */
TUN_HOP_BEGINS_LINE(layer.forward.window.last);
TUN_HOP_BEGINS_LINE(layer.forward.secret.key[TUN_KEY_ORIGIN + 1]); /* ends that of the word */

/* ---- other workers of the same relay ---- */

/* Something of another worker's that the face knows of. */
struct tun_place {
    cv_handle handle;
};

/* Links of other workers that came to one address: of a relay there may be several. */
struct tun_moved {
    cv_handle *links;
    uint32_t count;
};

/* A link of another worker's. */
struct tun_far_link {
    struct cv_addr addr;
    bool moving;
    uint8_t role; /* TUN_ROLE_* */
    uint8_t identity[CV_KEY];
    uint8_t hash[CV_NOISE_HASH]; /* of its first epoch */
};

/* What goes to one other worker (crossing.c). */
struct tun_crossing {
    uint32_t untaken; /* counted messages that it was told and has not said that it took */
    uint32_t taken;   /* by us, of its, since we said so */
    uint32_t untaken_sends, taken_sends; /* of these, what the node sends */
    uint32_t waiting;                    /* cells, until there is room, */
    TAILQ_HEAD(, tun_hop) circuits;      /* of these, in turn */
};

struct tun_others {
    struct tun_crossing to[TUN_WORKERS_MAX];
    uint32_t room;        /* counted messages that one of them takes */
    bool behind;          /* something could not be told, or waits though there is room */
    struct cv_map *moved; /* address -> struct tun_moved */
    struct cv_tokenbucket strangers;
    uint32_t told_links, told_hops;
    /* the face's */
    struct cv_map *points, *cookies; /* -> struct tun_place */
    struct cv_map *links;            /* handle -> struct tun_far_link */
    struct tun_counters count[TUN_WORKERS_MAX], sum;
};

/* ---- the engine ---- */

/* The header of a datagram that is to come, opened while another was worked on. A receiver
 * index has one key for good: this is true for the same octets from the same link. */
struct tun_expected {
    struct tun_link *link; /* NULL: nothing */
    struct tun_header header;
    uint8_t octets[TUN_HEADER + 16]; /* all that header and tag are made of */
};

struct tunnel {
    struct tun_config cfg;
    struct cv_ed25519_secret identity_secret;
    struct cv_rng rng; /* given */
    struct tun_dice dice;
    struct cv_rng fast; /* from it: no system call a cell */
    struct tun_counters count;
    uint8_t map_key[CV_SIPHASH_KEY];

    struct tun_handles links, circuits, hops;
    struct cv_slab hop_slab;
    struct tun_rxindex *rx;
    struct tun_expected expected[TUN_EXPECTED_MAX]; /* a ring */
    unsigned expected_last;
    struct cv_map *links_by_identity;
    struct cv_map *netgroups;
    struct tun_sched_group own_group;
    struct cv_map *intros;  /* authentication key -> hop */
    struct cv_map *cookies; /* rendezvous cookie -> hop */
    struct tun_link_list dirty;
    TAILQ_HEAD(, tun_hop_pace) paces;
    uint32_t halves;                   /* links that wait for a first cell, */
    struct cv_heap half_groups;        /* and the groups that have them */
    uint32_t guests;                   /* links that others opened and that have a place */
    struct cv_map *guest_addrs;        /* host -> struct tun_guest_addr */
    struct cv_heap by_guests, by_hops; /* crowds, the fullest first */
    uint64_t places_looked_at;         /* links and circuits, to find one that ends */
    uint64_t memo_octets;
    uint32_t link_cells_max; /* that may wait for one link */
    bool memory_short;       /* a cell was refused, or a link has too many: a circuit has to go */
    cv_usec killed_at;

    struct tun_sched sched;
    struct cv_tokenbucket shaper;
    bool shaped;
    cv_usec shaper_ready;
    struct tun_outbox outbox;
    struct tun_events events, inner; /* for the node; for the users inside */
    bool in_users;
    bool draining;       /* no circuit more */
    bool ending;         /* circuits of others end, one after the other: */
    cv_usec ending_idle; /* those whose owner was silent for so long, */
    uint32_t ending_at;  /* and how far that is in `hops` */
    struct cv_tokenbucket endings;
    struct tun_timer ending_timer;
    struct tun_admission *admission; /* relay only */
    struct tun_cookie_jar jar;
    struct tun_describe_net describe_net;
    struct tun_keyring *keyring; /* relay only */
    bool keyring_lost;           /* what was saved cannot be read */
    struct cv_heap timers;
    struct tun_timer tick;
    cv_usec last;

    const struct tun_user_ops *ops[TUN_USER_COUNT];
    void *user[TUN_USER_COUNT];

    struct tun_others *others; /* NULL: this engine is the whole relay */
    struct tun_message *told, **told_end;
    uint32_t told_count;
};

/* worker.c */
enum cv_err tun_others_new(struct tunnel *t, cv_usec now);
void tun_others_free(struct tunnel *t);
/* At the end of an entry point. */
void tun_others_finish(struct tunnel *t, const struct cv_now *now);
void tun_others_keyring(struct tunnel *t);
/* The worker that answers first flights from there. */
unsigned tun_worker_by_address(struct tunnel *t, const struct cv_addr *from);
/* The link has another address, or will have none. */
void tun_worker_moved(struct tunnel *t, struct tun_link *l, bool gone);
/* A datagram that this worker cannot use: the face may. True when it was handed over. */
bool tun_worker_stranger(struct tunnel *t, const struct cv_now *now, const struct cv_addr *from,
                         const uint8_t *buf);
void tun_worker_counters(struct tunnel *t);
/* What came from another worker and is no datagram. */
void tun_worker_on_message(struct tunnel *t, const struct cv_now *now, const struct tun_message *m);
/* An event of a worker other than the face goes there. */
bool tun_worker_event(struct tunnel *t, enum tun_user user, const struct tun_event *ev);
/* To the worker of `handle`, about it. */
void tun_tell_owner(struct tunnel *t, cv_handle handle, uint8_t kind, uint8_t command,
                    uint64_t number, const void *buf, size_t len);
/* The face: a link of another worker's; NULL: there is none. */
const struct tun_far_link *tun_link_far(const struct tunnel *t, cv_handle link);
/* Where another worker's is; NULL: nowhere. */
const struct tun_place *tun_place_find(struct cv_map *places, const void *key);
void tun_place_del(struct cv_map *places, const void *key);
/* Puts it, or another handle in its place; NULL: no room. */
struct tun_place *tun_place_put(struct cv_map *places, const void *key, cv_handle handle);

/* crossing.c: room at other workers, and what waits for it */
void tun_crossings_init(struct tunnel *t);
bool tun_crossing_has_room(const struct tunnel *t, unsigned worker, uint8_t kind);
void tun_crossing_took(struct tunnel *t, const struct tun_message *m);
void tun_crossing_on_taken(struct tunnel *t, const struct cv_now *now, const struct tun_message *m);
/* What a cell says goes to another worker: now, or when that has room. */
void tun_cross(struct tunnel *t, const struct cv_now *now, struct tun_hop *h,
               const struct tun_inner *in);
void tun_cross_done(struct tunnel *t, struct tun_hop *h);
void tun_crossings_finish(struct tunnel *t, const struct cv_now *now);
/* To the worker of `hop`, which may be this one: its question was lost. */
void tun_crossing_unasked(struct tunnel *t, cv_handle hop, uint32_t transaction, bool extend);

/* Is this the worker that the node talks to? */
static inline bool tun_is_face(const struct tunnel *t) {
    return t->cfg.worker == 0;
}

/* Does the handle belong to another worker of this relay? */
static inline bool tun_is_elsewhere(const struct tunnel *t, cv_handle h) {
    return t->others && h && tun_handle_worker(h) != t->cfg.worker &&
           tun_handle_worker(h) < t->cfg.workers;
}

/* tunnel.c */
void tun_timer_set(struct tunnel *t, struct tun_timer *timer, cv_usec at);
/* To a user inside, at the end of the entry point; to the node otherwise. False: it is lost. */
bool tun_event_to(struct tunnel *t, enum tun_user user, const struct tun_event *ev);
void tun_tick_soon(struct tunnel *t, cv_usec now); /* something is to be reported */

/* A cell of the pool; NULL when memory is short: the caller drops something. */
static inline struct tun_cell *tun_cell_take(struct tunnel *t) {
    struct tun_cell *c = tun_sched_take(&t->sched);
    if (!c)
        t->memory_short = true;
    return c;
}

/* expect.c */
/* True: the current session of the link sealed this, *ret is its header. */
bool tun_expected(const struct tunnel *t, const struct tun_link *l, uint32_t index,
                  const uint8_t *buf, struct tun_header *ret);
void tun_expect_end(struct tunnel *t, const struct tun_link *l); /* the link goes */

/* link.c */
void tun_link_on_timeout(struct tunnel *t, const struct cv_now *now, struct tun_link *l);
enum cv_err tun_link_on_datagram(struct tunnel *t, const struct cv_now *now, struct tun_link *l,
                                 uint32_t index, const struct cv_addr *from, const uint8_t *buf);
/* Ends a link and every circuit over it. */
void tun_link_fail(struct tunnel *t, const struct cv_now *now, struct tun_link *l, enum cv_err err);
void tun_link_free(struct tunnel *t, struct tun_link *l);
struct tun_link *tun_link_alloc(struct tunnel *t, const struct cv_now *now,
                                const struct cv_addr *addr, bool ours);
/* The link now carries: circuits that waited go on, the node is told. */
void tun_link_opened(struct tunnel *t, const struct cv_now *now, struct tun_link *l);
void tun_link_schedule(struct tunnel *t, struct tun_link *l);
void tun_link_regroup(struct tunnel *t, struct tun_link *l);
enum cv_err tun_link_control_to(struct tunnel *t, struct tun_link *l, uint8_t command,
                                uint32_t circuit, const void *body, size_t len,
                                const struct cv_addr *to, bool next_epoch);
/* A RELAY cell left: count it, and renew keys in time. */
void tun_link_sent_relay(struct tunnel *t, const struct cv_now *now, struct tun_link *l);
void tun_link_report(struct tunnel *t); /* LINK_CARRIED of what is dirty */
void tun_link_send_destroy(struct tunnel *t, struct tun_link *l, uint32_t circuit);
void tun_link_give_spares(struct tunnel *t, struct tun_link *l);

/* Clients of that network of whom nothing is known; NULL: none has a link. */
const struct tun_netgroup *tun_netgroup_of(const struct tunnel *t, const struct cv_addr *addr);

/* A fresh circuit id on this link for `leg`. */
enum cv_err tun_leg_attach_new(struct tunnel *t, struct tun_leg *leg, struct tun_link *l);
enum cv_err tun_leg_attach(struct tunnel *t, struct tun_leg *leg, struct tun_link *l, uint32_t id);
void tun_leg_detach(struct tunnel *t, struct tun_leg *leg); /* drops what waits */

/* places.c */
/* Counts a link where it is counted, if others opened it and it is more than a handshake, and a
 * circuit of others in `g`. Without memory, or NULL: it is not counted, and ends for nobody. */
void tun_places_link_enters(struct tunnel *t, struct tun_link *l);
void tun_places_link_leaves(struct tunnel *t, struct tun_link *l);
void tun_places_hop_enters(struct tunnel *t, struct tun_hop *h, struct tun_netgroup *g);
void tun_places_hop_leaves(struct tunnel *t, struct tun_hop *h, struct tun_netgroup *g);
/* Of links, for those that others open; some are kept for ours. */
bool tun_places_are_taken(const struct tunnel *t);
/* May a handshake from there lead to something? To new keys of a link, or to one with a place. */
bool tun_places_may_come(const struct tunnel *t, const struct cv_addr *from);
/* All are: a link, or circuit, of who has most ends for this one, or for one over this; before
 * them a link that came from where this one does and is no more. False: none does. Links may
 * end here that the caller had looked up. */
bool tun_places_take_link(struct tunnel *t, const struct cv_now *now, const struct tun_link *l);
bool tun_places_take_hop(struct tunnel *t, const struct cv_now *now, const struct tun_link *to);
/* Might one end for a circuit over this link, if any is needed? */
bool tun_places_may_hop(const struct tunnel *t, const struct tun_link *to);
/* Asks links from where this one comes whether they are still there. False: there are none, and
 * nothing to wait for. */
bool tun_places_ask(struct tunnel *t, const struct cv_now *now, const struct tun_link *l);
/* Has a link of others its place, and comes from there, port and all? One of the first
 * TUN_PLACES_SEEN from that host. */
bool tun_places_has(struct tunnel *t, const struct cv_addr *from);

/* halves.c */
/* The link, in its group, is one of those that wait for a first cell, or is none any more. */
void tun_half_count(struct tunnel *t, struct tun_link *l, bool there);
/* For one more of who proved his address, if places are few: another may end here that the
 * caller had looked up. False: there is no room. */
bool tun_half_make_room(struct tunnel *t, const struct cv_now *now, const struct cv_addr *from);

/* epoch.c: handshakes, first and later */
enum cv_err tun_epoch_begin(struct tunnel *t, const struct cv_now *now, struct tun_link *l);
void tun_epoch_on_timeout(struct tunnel *t, const struct cv_now *now, struct tun_link *l);
enum cv_err tun_epoch_on_answer(struct tunnel *t, const struct cv_now *now, struct tun_link *l,
                                const uint8_t *buf);
/* `ours`: whichever worker answers for that network, it is for this one. */
enum cv_err tun_epoch_on_flight_1(struct tunnel *t, const struct cv_now *now,
                                  const struct cv_addr *from, const uint8_t *buf, bool ours);
/* The session of a link begins: from here until it is used, its time is long. */
void tun_epoch_fresh(struct tunnel *t, const struct cv_now *now, struct tun_link *l);
/* It carries something: the time of its keys begins. */
void tun_epoch_used(struct tunnel *t, cv_usec now, struct tun_link *l);
/* The first valid cell in link->next. */
void tun_epoch_confirm(struct tunnel *t, const struct cv_now *now, struct tun_link *l);
/* CONTINUE arrived on `l`, in its session now. True: `l` is gone, its session
 * went to *ret_into. */
bool tun_epoch_continue(struct tunnel *t, const struct cv_now *now, struct tun_link *l,
                        const uint8_t *body, size_t len, struct tun_link **ret_into);
void tun_session_drop(struct tunnel *t, struct tun_session *s);

/* circuit.c */
void tun_circuit_on_timeout(struct tunnel *t, const struct cv_now *now, struct tun_circuit *c);
void tun_circuit_on_cell(struct tunnel *t, const struct cv_now *now, struct tun_circuit *c,
                         const uint8_t *cell, uint32_t layer);
void tun_circuit_on_created(struct tunnel *t, const struct cv_now *now, struct tun_circuit *c,
                            const uint8_t *body, size_t len);
void tun_circuit_fail(struct tunnel *t, const struct cv_now *now, struct tun_circuit *c,
                      enum cv_err err);
void tun_circuit_free(struct tunnel *t, struct tun_circuit *c);

/* hop.c */
void tun_hop_on_timeout(struct tunnel *t, const struct cv_now *now, struct tun_hop *h);
void tun_hop_on_create(struct tunnel *t, const struct cv_now *now, struct tun_link *l, uint32_t id,
                       const uint8_t *body, size_t len);
void tun_hop_on_forward(struct tunnel *t, const struct cv_now *now, struct tun_hop *h,
                        const uint8_t *cell);
void tun_hop_on_backward(struct tunnel *t, const struct cv_now *now, struct tun_hop *h,
                         const uint8_t *cell, uint32_t layer);
void tun_hop_on_created(struct tunnel *t, const struct cv_now *now, struct tun_hop *h,
                        const uint8_t *body, size_t len);
/* Tears down both sides; `from` is the leg that told us, NULL: neither. */
void tun_hop_destroy(struct tunnel *t, struct tun_hop *h, const struct tun_leg *from);
/* Frees without a word to anybody; after _intro_done and _rendezvous_done. */
void tun_hop_free(struct tunnel *t, struct tun_hop *h);
void tun_hops_ending(struct tunnel *t, const struct cv_now *now); /* goes on */
/* The link of the next leg failed or refused. */
void tun_hop_next_down(struct tunnel *t, const struct cv_now *now, struct tun_hop *h);
struct tun_sched_group *tun_hop_group(const struct tun_hop *h);
/* Kills the circuit with the oldest cell in the heaviest link. At the end of an
 * entry point only. */
void tun_hop_make_room(struct tunnel *t, const struct cv_now *now);
/* The question is under way: repeated, it is not asked again. */
void tun_hop_asked(struct tunnel *t, const struct cv_now *now, struct tun_hop *h,
                   uint32_t transaction);
/* ... or was lost on the way: repeated, it is. */
void tun_hop_unasked(struct tunnel *t, struct tun_hop *h, uint32_t transaction, bool extend);
/* EXTEND goes on: the face has looked for that relay (NULL: and knows none). */
void tun_hop_found(struct tunnel *t, const struct cv_now *now, struct tun_hop *h,
                   const struct tun_extend *m, const struct tun_relay_ref *to,
                   const uint8_t *descriptor, size_t len);
/* One answer cell, remembered for the transaction in front of `body`. */
void tun_hop_answer(struct tunnel *t, const struct cv_now *now, struct tun_hop *h, uint8_t command,
                    const void *body, size_t len);
void tun_hop_error(struct tunnel *t, const struct cv_now *now, struct tun_hop *h,
                   uint32_t transaction, uint8_t code, const void *data, size_t len);
void tun_hop_schedule(struct tunnel *t, struct tun_hop *h);
/* Tells the node what a cell of a circuit that is open, or an exit's, says. */
void tun_hop_for_node(struct tunnel *t, struct tun_hop *h, const struct tun_inner *in);

/* introduction.c, rendezvous.c: relay side */
void tun_hop_establish_intro(struct tunnel *t, const struct cv_now *now, struct tun_hop *h,
                             const struct tun_inner *in);
void tun_hop_introduce(struct tunnel *t, const struct cv_now *now, struct tun_hop *h,
                       const struct tun_inner *in);
void tun_hop_intro_done(struct tunnel *t, struct tun_hop *h);
void tun_hop_establish_rendezvous(struct tunnel *t, const struct cv_now *now, struct tun_hop *h,
                                  const struct tun_inner *in);
void tun_hop_join(struct tunnel *t, const struct cv_now *now, struct tun_hop *h,
                  const struct tun_inner *in);
void tun_hop_spliced_datagram(struct tunnel *t, const struct cv_now *now, struct tun_hop *h,
                              const struct tun_inner *in);
/* From and to other workers (messages.h). */
void tun_hop_on_point(struct tunnel *t, const struct tun_message *m);
void tun_hop_on_point_moved(struct tunnel *t, const struct tun_message *m);
void tun_hop_on_introduce(struct tunnel *t, const struct cv_now *now, const struct tun_message *m);
void tun_hop_on_introduced(struct tunnel *t, const struct cv_now *now, const struct tun_message *m);
void tun_hop_on_cookie(struct tunnel *t, const struct tun_message *m);
void tun_hop_on_join(struct tunnel *t, const struct cv_now *now, const struct tun_message *m);
void tun_hop_on_meet(struct tunnel *t, const struct cv_now *now, const struct tun_message *m);
void tun_hop_on_met(struct tunnel *t, const struct cv_now *now, const struct tun_message *m);
void tun_hop_cross(struct tunnel *t, struct tun_hop *h, const struct tun_inner *in, cv_usec since);
void tun_hop_on_joined(struct tunnel *t, const struct cv_now *now, const struct tun_message *m);
void tun_hop_on_parted(struct tunnel *t, const struct tun_message *m);
void tun_hop_joined_again(struct tunnel *t, const struct cv_now *now, struct tun_hop *h);
void tun_hop_rendezvous_done(struct tunnel *t, struct tun_hop *h);

/* pace.c: PACE, and the ticks of what it ordered. False: the circuit is gone. */
void tun_hop_pace(struct tunnel *t, const struct cv_now *now, struct tun_hop *h,
                  const struct tun_inner *in);
bool tun_hop_pace_due(struct tunnel *t, const struct cv_now *now, struct tun_hop *h);
void tun_hop_pace_done(struct tunnel *t, struct tun_hop *h);
/* Whoever stands behind a hop with a rate is gone: the rate stays until the owner says. */
void tun_hop_pace_alone(struct tunnel *t, const struct cv_now *now, struct tun_hop *h);

/* A circuit that ends here gets one role, for good: passed on, introduction,
 * rendezvous, joined to another, open to a swarm, a swarm exit's, or running on at
 * its rate. What it carried to another worker is gone before it gets one. */
static inline bool tun_hop_is_free(const struct tun_hop *h) {
    return !h->next.link && !h->is_intro && !h->is_rendezvous && !h->spliced && !h->open &&
           !h->opening && !h->exit && !h->pace && !h->spliced_away && !h->crossing;
}

static inline void tun_put(struct tunnel *t, struct tun_leg *leg, struct tun_cell *c, cv_usec now) {
    tun_sched_put(&t->sched, &leg->flow, c, now);
    if (leg->link && leg->link->queued > t->link_cells_max)
        t->memory_short = true;
}

/* Did the other side of the link begin the circuit that has this id there? Then it is the
 * previous leg of a hop; nobody has to look at it for that. */
static inline bool tun_is_theirs(const struct tun_link *l, uint32_t id) {
    return ((id & TUN_CIRCUIT_INITIATOR) != 0) != l->ours;
}

static inline struct tun_circuit *tun_leg_circuit(struct tun_leg *leg) {
    return CV_CONTAINER_OF(leg, struct tun_circuit, leg);
}

static inline struct tun_hop *tun_leg_hop(struct tun_leg *leg) {
    return leg->kind == TUN_LEG_PREV ? CV_CONTAINER_OF(leg, struct tun_hop, prev)
                                     : CV_CONTAINER_OF(leg, struct tun_hop, next);
}

#endif
