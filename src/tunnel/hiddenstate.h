/*
 * The state of hidden swarms, shared by the files that are hidden.h: hidden.c
 * (swarms, roads, datagrams), search.c (a viewer reads slots), meet.c (a viewer
 * meets seeders), replace.c (another way for one that lags), seeder.c (introduction points
 * and visitors), publish.c (a seeder writes slots), pointer.c (a slot for something else),
 * named.c (contacts that peers name).
 * Nobody else includes this.
 *
 * A *road* is a circuit of ours with its purpose. Events only set what they
 * mean in a road or a part; then the owner's work function looks at everything
 * and takes the next steps. So there is one place for each decision, and an
 * event that comes twice or late changes nothing.
 */
#ifndef CULVERT_TUNNEL_HIDDENSTATE_H
#define CULVERT_TUNNEL_HIDDENSTATE_H

#include "base/tokenbucket.h"
#include "tunnel/client.h"
#include "tunnel/e2e.h"
#include "tunnel/effort.h"
#include "tunnel/engine.h"
#include "tunnel/handles.h"
#include "tunnel/hidden.h"
#include "tunnel/idtable.h"
#include "tunnel/intake.h"
#include "tunnel/lag.h"
#include "tunnel/relaycmd.h"
#include "tunnel/slot.h"
#include "tunnel/stamp.h"

struct tun_hidden;

/* How long an introduction waits for its answer: what a viewer waits at least, and when
 * work is asked, so that there is an answer to be had in between. */
#define TUN_INTRO_WAIT       CV_SEC(2)
#define TUN_STAMP_WAIT       CV_SEC(12)
#define TUN_STAMP_WAIT_HURRY CV_SEC(4)

/* ---- roads ---- */

enum tun_road_kind {
    TUN_ROAD_NONE = 0,
    TUN_ROAD_SEARCH,
    TUN_ROAD_RENDEZVOUS,
    TUN_ROAD_INTRODUCE,
    TUN_ROAD_POINT,
    TUN_ROAD_PUBLISH,
    TUN_ROAD_JOIN,
};

struct tun_road {
    enum tun_road_kind kind; /* NONE: no circuit */
    bool ready;
    bool keeps; /* a constant rate, and its second hop has agreed */
    cv_handle circuit;
    struct tun_hidden *owner;
    void *part; /* what it belongs to: struct tun_search, tun_meet ... */
    cv_usec opened_at, expires_at;
    struct tun_e2e *e2e; /* joined: seals and opens datagrams */
    uint64_t heard;      /* datagrams from the other end, empty ones included */
    uint64_t told;       /* the same without these */
    cv_usec told_at;     /* the last of these */
};

/* ---- viewer ---- */

struct tun_search_key {
    uint32_t period;
    uint8_t slot;
};

/* One circuit that fetches slots. */
struct tun_search {
    struct tun_road road;
    bool active;
    uint8_t tries;
    uint8_t lookups; /* 1 or 2 LOOKUPs, of up to four keys each */
    uint8_t sent;    /* so many of these were asked */
    uint32_t transaction[2];
    uint8_t keys[2];
    struct tun_search_key key[2][TUN_LOOKUP_KEYS_MAX];
    uint8_t missing;      /* results still to come */
    uint8_t last[CV_KEY]; /* where it ends, or ended in this round */
    cv_usec asked_at, until;
};

/* A contact, and how it went. */
struct tun_known {
    struct tun_contact contact;
    uint32_t period;
    int64_t seq;     /* when its seeder said it last; copied: no later; named: or 0, not known */
    uint8_t slot;    /* that says so; UINT8_MAX: none does */
    bool copied;     /* into it, by another seeder */
    bool outdated;   /* its seeder said something else later: tried last, and no worse than that */
    cv_handle namer; /* circuit of the peer that named it; 0: it stood in a slot */
    uint8_t fails;
    uint8_t strange; /* so often its point said that it knows nobody by that key */
    cv_usec not_before;
};

/* It led nowhere, and will not. A point that a seeder lost never gets the same key again, and
 * nobody but the point itself can say that it does not know it. What is over by our clock may
 * not be by its seeder's, and has a few tries. */
static inline bool tun_known_given_up(const struct tun_known *k, int64_t wall) {
    bool over = (int64_t)k->contact.expiry <= wall;
    return k->strange >= TUN_STRANGE_MAX || (over && k->fails >= TUN_OVER_FAILS);
}

static inline unsigned tun_known_rank(const struct tun_known *k, int64_t wall) {
    return k->fails + (k->outdated ? TUN_KNOWN_OUTDATED : 0) +
           (tun_known_given_up(k, wall) ? TUN_KNOWN_GIVEN_UP : 0);
}

enum tun_meet_state {
    TUN_MEET_IDLE = 0,
    TUN_MEET_BUILDING, /* both circuits; rendezvous established; introduced */
    TUN_MEET_WAITING,  /* for the seeder to come */
    TUN_MEET_UP,
};

struct tun_meet {
    enum tun_meet_state state;
    struct tun_road rp, ip;
    struct tun_contact contact;
    uint32_t period;
    bool named;     /* by a peer: whom it meets is further company, and no more */
    uint8_t misled; /* contacts that this peer named and that failed */
    struct tun_meeting where;
    struct cv_noise noise;
    struct tun_e2e e2e;
    bool written; /* the introduction, for this contact and cookie: */
    uint8_t flight[TUN_E2E_FLIGHT1];
    struct tun_stamp_search stamp;
    uint8_t busy;            /* how often the point had too much to pass on */
    cv_usec again_at;        /* when it is asked again */
    bool asked, established; /* ESTABLISH_RENDEZVOUS sent, answered */
    bool introduced;         /* INTRODUCE sent, */
    bool was_outdated;       /* by a contact that its seeder had not said last */
    bool came;               /* e2e holds keys, */
    bool pacing;             /* but the rate that it takes over is not agreed on yet */
    bool leaving;            /* up, but its circuit ends soon: not counted */
    bool lags;               /* up, but another takes its place: not counted */
    struct tun_lag lag;
    uint8_t tries;
    uint8_t stuck; /* circuits to this introduction point that were not built */
    uint8_t used[TUN_MEETING_TRIES][CV_KEY]; /* rendezvous points that did not work */
    cv_usec begun_at, until, retry_at;
    cv_usec look_at;                       /* when it is next seen whether the seeder is there */
    uint64_t seen_in, seen_told, seen_out; /* datagrams and cells, when it was last seen */
    bool talk;                             /* datagrams came then */
    cv_usec quiet_at;                      /* first asked without an answer; 0: not */
};

/* A way that lags, and another that takes its place (replace.c). */
struct tun_replace {
    cv_usec at, wait;       /* the next one, no sooner; and how long that was put off */
    cv_usec begun_at;       /* one lags since then */
    unsigned needs;         /* so many others were counted on before it */
    cv_usec there_at;       /* since when there are as many again; 0: not yet */
    unsigned looks;         /* at all ways together, since then */
    uint64_t before, after; /* in one of TUN_LAG_LOOK: by all of them then, by what stays since */
};

struct tun_viewer {
    struct tun_search search[2];
    uint32_t rounds; /* of searching: few slots, then one half of all, then the other */
    bool searching;
    cv_usec round_ended_at, search_pause;
    cv_usec others_pause; /* with somebody met, before looking for others */
    bool starves;         /* the node's reader waited since the last round */
    cv_usec lost_at;      /* when the last peer that was up went; 0: none did */
    struct tun_known known[TUN_KNOWN_CONTACTS_MAX + TUN_NAMED_CONTACTS_MAX];
    unsigned knowns; /* and named ones among them: */
    unsigned named;
    bool missed; /* somebody did not come, and nobody did since */
    struct tun_meet meet[TUN_MEETINGS_MAX];
    struct tun_replace replace;
};

/* ---- seeder ---- */

enum tun_point_state {
    TUN_POINT_IDLE = 0,
    TUN_POINT_BUILDING,
    TUN_POINT_ESTABLISHING,
    TUN_POINT_UP,
    TUN_POINT_LEAVING, /* up, but another takes its place */
};

struct tun_point {
    enum tun_point_state state;
    struct tun_road road;
    uint8_t ip[CV_KEY];
    uint8_t d[TUN_DIGEST];
    struct cv_ed25519_secret auth_secret;
    uint32_t expiry;                     /* Unix seconds */
    struct cv_tokenbucket introductions; /* what it may pass on, twice over */
    cv_usec until;
    cv_usec ping_at, ping_until;
    uint32_t ping; /* transaction of a PING under way; 0: none */
};

/* Of the two ways. */
enum tun_copy_state {
    TUN_COPY_IDLE = 0, /* nothing to do, written, or given up */
    TUN_COPY_BUILDING,
    TUN_COPY_READING,
    TUN_COPY_READ, /* waits for the other to have read */
    TUN_COPY_WRITING,
    TUN_COPY_REFUSED, /* something newer is there, says the last hop */
};

/* One slot is read and written through two circuits that end apart. */
struct tun_copy {
    enum tun_copy_state state;
    struct tun_road road;
    uint8_t last[CV_KEY]; /* where it ends, or ended */
    bool written;
    uint8_t tries;
    cv_usec asked_at, until, retry_at;
};

/* One slot being written. */
struct tun_publication {
    struct tun_copy copy[2];
    uint32_t period;
    uint8_t slot;
    bool written;   /* holds our contacts, in `period` */
    uint8_t effort; /* that is asked in `item` */
    uint8_t again;
    bool found, ready;    /* `old` holds something, `item` what is to be put */
    struct tun_item old;  /* the newest that either way has read */
    struct tun_item item; /* the same for both */
};

enum tun_join_state { TUN_JOIN_IDLE = 0, TUN_JOIN_BUILDING, TUN_JOIN_JOINING, TUN_JOIN_UP };

/* One visitor. */
struct tun_join {
    enum tun_join_state state;
    struct tun_road road;
    struct tun_meeting where;
    uint8_t tries;
    uint8_t flight[TUN_E2E_FLIGHT2];
    struct tun_e2e e2e;
    cv_usec until;
    cv_usec look_at;            /* up: when it is next seen whether the visitor is there */
    uint64_t seen_in, seen_out; /* datagrams and cells, when it was last seen */
    bool talk;                  /* datagrams came then */
    cv_usec quiet_until;        /* its relays are being asked whether they are there */
    struct tun_contact said[TUN_SAID_CONTACTS]; /* where the visitor can itself be visited */
    uint32_t said_period;
    uint8_t saids;
};

/* Keys under which visitors of a period are received. */
struct tun_service {
    bool set;
    struct tun_period_secret keys;
    struct cv_x25519_secret service_secret;
};

#define TUN_POINTS       (2 * TUN_INTRO_POINTS) /* in use and leaving */
#define TUN_PUBLICATIONS 3

struct tun_seeder {
    bool viewer;
    struct tun_point point[TUN_POINTS];
    cv_usec point_at, point_pause;
    struct tun_service now, before; /* this period's and the last one's */
    cv_usec before_until;
    struct tun_publication publication[TUN_PUBLICATIONS];
    bool changed; /* contacts differ from what the slots say */
    bool lost;    /* none of those in the slots leads to us any more */
    cv_usec publish_at, settle_at;
    cv_usec begun_at;      /* when slots were begun to be written last */
    struct tun_join *join; /* joins_max of them */
    unsigned joins_max;
    struct cv_tokenbucket introductions;
    struct tun_effort effort;
    struct tun_intake intake;
};

/* ---- pointers ---- */

struct tun_pointer {
    bool writes, active;
    uint8_t octets[TUN_POINTER]; /* what it writes */
    struct tun_publication publication;
    unsigned turns; /* how often it was begun: which period is next */
    bool found;     /* since it was begun */
    bool missed;    /* under the keys of one period; the other's are being looked at */
    cv_usec due, pause;
};

/* ---- swarms ---- */

struct tun_hiddens;

struct tun_run_on {
    cv_handle circuit;
    cv_usec until;
};

struct tun_hidden {
    struct tun_hiddens *all;
    cv_handle handle;
    struct tun_swarm_secret swarm_secret;
    struct tun_hidden_info info;
    uint8_t pace;           /* Mbit/s that each joined road keeps; 0: none */
    cv_usec refused_at;     /* when a relay last would not keep it; 0: never */
    struct tun_third third; /* who shares or points: hops before whoever is called or named to us */
    struct tun_run_on runs_on[TUN_PACED_JOINS_MAX]; /* roads that are over and keep it */
    struct tun_viewer *viewer;                      /* one of the three */
    struct tun_seeder *seeder;
    struct tun_pointer *pointer;
};

struct tun_hiddens {
    struct tunnel *t;
    struct cv_now now; /* of the step under way */
    bool hurry;
    uint8_t network_id[TUN_NETWORK_ID];
    struct tun_handles swarms;
    struct tun_idtable roads; /* index of the circuit's handle -> road */
    cv_usec back_at;          /* tun_client_back_at() when it was last looked at */
    cv_usec stamp_at;         /* when stamps are next searched for, of all swarms together */
    cv_usec next;
};

static inline void tun_hidden_by(struct tun_hidden *h, cv_usec at) {
    h->all->next = cv_usec_min(h->all->next, at);
}

static inline cv_usec tun_hidden_now(const struct tun_hidden *h) {
    return h->all->now.mono;
}

static inline const struct cv_rng *tun_hidden_rng(const struct tun_hidden *h) {
    return tun_rng(h->all->t);
}

static inline cv_usec tun_hidden_pause(const struct tun_hidden *h, cv_usec normal,
                                       cv_usec in_a_hurry) {
    return h->all->hurry ? in_a_hurry : normal;
}

/* hidden.c: roads. Open: a circuit along a path for `req`; it may be ready at
 * once. Errors as tun_client_open(). */
enum cv_err tun_road_open(struct tun_hidden *h, struct tun_road *r, enum tun_road_kind kind,
                          void *part, const struct tun_path_request *req);
void tun_road_close(struct tun_road *r); /* no-op without a circuit */
/* The same, but a road that keeps a rate goes on doing so, unless TUN_PACED_JOINS_MAX of the
 * swarm's do already. */
void tun_road_run_on(struct tun_road *r);
unsigned tun_hidden_running_on(const struct tun_hidden *h); /* how many do */
/* Of those that run on the one that would end first ends now; false: none does. */
bool tun_hidden_end_one(struct tun_hidden *h);
/* Closed because whoever is next on it does not answer. True: it was the last
 * hop that did not. */
bool tun_road_give_up(struct tun_road *r);
/* A request on it takes long: true when the way to whom it was sent is cut,
 * which takes some looking. Call it again and again. */
bool tun_road_dead(struct tun_road *r, cv_usec asked_at);
/* Closed because it fell silent after it was built: found out who. */
void tun_road_suspect(struct tun_road *r);
/* Adds the relays it goes along, built or not, named last hops included. */
void tun_road_relays(const struct tun_road *r, struct tun_path_apart *ret);
/* Of the relay it ends at; untouched without a circuit. */
void tun_road_last(const struct tun_road *r, uint8_t ret[CV_KEY]);
/* An empty datagram to the other end of a joined road. Seeders answer with one. */
void tun_road_hello(struct tun_road *r);
bool tun_road_stuck(const struct tun_road *r); /* takes too long to build */
/* `body`: written with its transaction in front (bodies.h). */
enum cv_err tun_road_request(struct tun_road *r, uint8_t command, const void *body, size_t len,
                             uint32_t *ret_transaction);
void tun_hidden_peer_up(struct tun_hidden *h, struct tun_road *r);
void tun_hidden_peer_down(struct tun_hidden *h, const struct tun_road *r);
void tun_hidden_set_state(struct tun_hidden *h, enum tun_hidden_state state);
/* Is this contact of a seeder of the same node? */
bool tun_hidden_is_ours(const struct tun_hidden *h, const struct tun_contact *c);
/* The periods in which this swarm's slots may be written now: that of our clock
 * and, near a turn, its neighbour. At most two; 0 while the clock is unknown. */
unsigned tun_hidden_periods(const struct tun_hidden *h, uint32_t ret[2]);

struct tun_road *tun_hidden_road(const struct tun_hiddens *all, const struct cv_endpoint *peer);

/* search.c */
void tun_search_work(struct tun_hidden *h);
/* A peer named it; `seq` 0: of somebody else. False: not wanted. */
bool tun_search_named(struct tun_hidden *h, const struct tun_contact *c, uint32_t period,
                      int64_t seq, cv_handle namer);

void tun_search_on_reply(struct tun_hidden *h, struct tun_search *s, const struct tun_event *ev);
void tun_search_done(struct tun_hidden *h);
unsigned tun_search_current(struct tun_hidden *h); /* contacts that may be tried */

/* meet.c */
void tun_meet_work(struct tun_hidden *h);
void tun_meet_on_reply(struct tun_hidden *h, struct tun_meet *m, struct tun_road *r,
                       const struct tun_event *ev);
void tun_meet_on_down(struct tun_hidden *h, struct tun_meet *m);
void tun_meet_on_introduction_down(struct tun_hidden *h, struct tun_meet *m, uint32_t built);
void tun_meet_done(struct tun_hidden *h);
void tun_meet_drop(struct tun_hidden *h, struct tun_meet *m); /* without event */
/* How many ways a swarm is to have, beside those with whom peers named. */
unsigned tun_meet_wanted(const struct tun_hidden *h);
/* Up, counted, and not a guess of a peer's. */
bool tun_meet_steady(const struct tun_hidden *h, const struct tun_meet *m);
/* After an outage of our own network: contacts that failed in it are as good as any. */
void tun_meet_anew(struct tun_hidden *h);
/* Ends one that is up, with its event. */
void tun_meet_let_go(struct tun_hidden *h, struct tun_meet *m);
/* Constant rates of a viewer, ordered or running on. */
unsigned tun_meet_rates(const struct tun_hidden *h);

/* replace.c */
void tun_replace_look(struct tun_hidden *h, const struct tun_brought *ways, unsigned count);

/* seeder.c */
void tun_seeder_init(struct tun_hidden *h, bool viewer);
void tun_seeder_work(struct tun_hidden *h);
void tun_seeder_on_reply(struct tun_hidden *h, struct tun_road *r, const struct tun_event *ev);
void tun_seeder_on_down(struct tun_hidden *h, struct tun_road *r);
void tun_seeder_anew(struct tun_hidden *h); /* as tun_meet_anew() */
void tun_seeder_done(struct tun_hidden *h);
void tun_seeder_drop(struct tun_hidden *h, struct tun_join *j);
/* Contacts of the introduction points that are up, for a period's slots. */
unsigned tun_seeder_contacts(const struct tun_hidden *h, struct tun_contact *ret, unsigned cap);

/* publish.c */
void tun_publish_work(struct tun_hidden *h);
void tun_publish_on_reply(struct tun_hidden *h, struct tun_publication *p, const struct tun_road *r,
                          const struct tun_event *ev);
void tun_publish_done(struct tun_hidden *h);
/* One slot, also of pointer.c: is read, and written if there is something to write. */
void tun_publication_begin(struct tun_publication *p, cv_usec at);
void tun_publication_step(struct tun_hidden *h, struct tun_publication *p);
void tun_publication_idle(struct tun_publication *p);

/* pointer.c */
void tun_pointer_work(struct tun_hidden *h);
void tun_pointer_failed(struct tun_hidden *h);
void tun_pointer_found(struct tun_hidden *h, const struct tun_item *item);
void tun_pointer_done(struct tun_hidden *h);

#endif
