/*
 * The client's own state, shared by the files that are the client: client.c
 * (what it is for, in order), contact.c (addresses and descriptors), sync.c
 * (what relays there are, asked and answered), ahead.c (circuits). Nobody else
 * includes this.
 */
#ifndef CULVERT_TUNNEL_CLIENTSTATE_H
#define CULVERT_TUNNEL_CLIENTSTATE_H

#include "base/tokenbucket.h"
#include "tunnel/calendar.h"
#include "tunnel/client.h"
#include "tunnel/describe.h"
#include "tunnel/directory.h"
#include "tunnel/engine.h"
#include "tunnel/guard.h"
#include "tunnel/questions.h"
#include "tunnel/refusal.h"
#include "tunnel/relaycmd.h"

/* An address that is or will be asked for its descriptor. */
struct tun_address {
    struct cv_addr addr;
    bool guard; /* of a first hop of ours: asked until it answers */
    bool named; /* the descriptor of `whose` says that it lives here; nobody else does */
    bool asked; /* `question` is under way */
    uint8_t tries;
    cv_usec at;      /* when to ask (again), or to forget it */
    cv_usec sent_at; /* the last question */
    uint8_t whose[CV_KEY];
    struct tun_describe question;
};

enum tun_sync_phase {
    TUN_SYNC_IDLE = 0,
    TUN_SYNC_OPENING,  /* over a circuit that is not ready */
    TUN_SYNC_BUCKET,   /* paging through (identity, D) */
    TUN_SYNC_FETCH,    /* asking for descriptors that are missing */
    TUN_SYNC_MEASURED, /* paging through what the other side measured */
};

/* One conversation with one relay about all relays of one day. */
struct tun_sync {
    enum tun_sync_phase phase;
    uint32_t day;
    uint8_t level; /* of the bucket that is asked for; clients: the one of level 0 */
    uint16_t bucket, from;
    uint16_t asked; /* questions for names in this round */
    uint8_t source[CV_KEY];
    uint8_t path[TUN_HOPS_MAX][CV_KEY]; /* relays it passes; none for a link */
    uint8_t path_n;
    cv_handle circuit; /* 0: a link of ours */

    uint32_t transaction; /* of the question under way */
    cv_usec at, wait;     /* when to repeat it (links), or to give up (circuits) */
    uint8_t tries;
    uint8_t command; /* the question, for repeating */
    uint16_t body_len;
    uint8_t body[TUN_FORWARD_MAX];
    uint8_t shown;     /* of the two descriptors that are a proof of ours */
    uint8_t expected;  /* descriptors still to come for this question, */
    bool some;         /* and one came */
    uint8_t fruitless; /* questions for descriptors in a row that brought none, */
    uint8_t partly;    /* and that did not bring all */
    bool elsewhere;    /* circuits: the next one ends at another, who may show what is missing */
    bool paused;       /* paging goes on once descriptors of what was named are here, */
    bool gained;       /* and one is */
    cv_usec until;     /* whatever it still has to say */

    bool complete; /* once went through to its end */
    uint32_t rounds;
    cv_usec next_at; /* when to begin again */
    cv_usec pause;
};

/* A relay that we speak to from our own address. */
struct tun_neighbour {
    bool set, up;
    uint8_t identity[CV_KEY];
    cv_handle link; /* while up */
    struct cv_addr addr;
    cv_usec since, retry_at, retry_wait;
    cv_usec silent_since; /* of its link, when last looked at; 0: it is not */
    uint8_t asks;         /* in this silence: first where it is, then at its other address */
    cv_usec ask_at;
    struct tun_sync sync;
};

/* A circuit that went through tun_client_open(), while its user has it. */
struct tun_lane {
    cv_handle circuit;
    bool ahead; /* built before anybody wants it */
    enum tun_purpose purpose;
    uint8_t n;
    uint8_t hop[TUN_HOPS_MAX][CV_KEY];
    uint32_t day[TUN_HOPS_MAX];
    cv_usec opened_at, ready_at;
    bool suspect;      /* asked who of its hops is alive, until */
    bool suspect_kept; /* its user has it still */
    bool dead;         /* and it was found dead */
    bool counted;      /* its guard was judged by it (guard.h) */
    bool doubted;      /* whoever had not answered by doubt_at is avoided already */
    cv_usec doubt_at, suspect_until;
    uint32_t ping[TUN_HOPS_MAX]; /* transactions; 0: answered */
};

/* A relay's look at what another one carries (probe.c). */
struct tun_probe {
    cv_handle circuit; /* 0: none now */
    bool built;        /* trains go over it */
    uint8_t whom[CV_KEY];
    cv_usec at; /* when to begin the next, or to give this one up */
    unsigned trains, answered;
    uint32_t ping[TUN_PROBE_TRAIN]; /* transactions; 0: answered */
    cv_usec first;                  /* answer of this train */
    uint32_t rate[TUN_PROBE_TRAINS];
};

/* REACH (reach.c). What we, a relay, ask the relays that we have links with: */
struct tun_reach_ask {
    bool set;
    uint8_t kind;   /* REACHED or SILENT, as it said last; 0: nothing yet */
    cv_handle link; /* 0: gone */
    uint8_t identity[CV_KEY];
    uint8_t token[8];
    struct cv_addr addr; /* of ours; a row for each */
    uint32_t day;
    uint8_t tries;
    cv_usec at, wait, rest;
};

/* what we try because another relay asked us to, or on our own account: */
struct tun_reach_try {
    bool set, unsent;
    uint8_t kind;   /* 0: no answer yet */
    cv_handle link; /* of who asked; 0: we ourselves */
    uint8_t token[8];
    struct cv_addr from; /* of that link */
    struct cv_addr addr;
    cv_usec at; /* until when it is waited for, or remembered */
    struct tun_describe question;
};

/* and what we have tried by others, because a newcomer asked us. */
struct tun_reach_job {
    enum { TUN_REACH_WAITING = 1, TUN_REACH_ASKING, TUN_REACH_RESTING } phase; /* 0: free */
    uint8_t identity[CV_KEY]; /* of the newcomer, */
    cv_handle link;           /* who is told, */
    uint8_t token[8];
    struct cv_addr from; /* of that link */
    struct cv_addr addr; /* which of its addresses it is about */
    uint8_t witnesses;   /* asked so far; the last of them is the one under way, */
    bool own;            /* but then we try it ourselves, when nobody else is left */
    uint8_t witness[TUN_REACH_WITNESSES][CV_KEY];
    uint8_t verdict[TUN_REACH_WITNESSES]; /* 0: none */
    uint8_t own_verdict;
    bool link_up; /* with the witness, when last looked at */
    uint8_t try_token[8];
    uint8_t tries;
    cv_usec at, say_at;
};

struct tun_reach_state {
    struct tun_reach_ask ask[TUN_REACH_ASKS];
    unsigned ask_next;
    struct tun_reach_try attempt[TUN_REACH_TRIES];
    struct tun_reach_job job[TUN_REACH_JOBS];
    struct tun_questions questions; /* of tries, apart from our own */
};

struct tun_client {
    struct tunnel *t;
    struct cv_now now; /* of the step under way */
    bool relay, hurry;
    struct tun_describe_net net;
    struct tun_questions questions;
    struct tun_directory *dir;
    struct tun_guards guards;
    struct tun_refusals refusals;
    bool guards_saved;  /* this run began with guards or contacts of an earlier one */
    bool guards_change; /* SAVE is due */

    struct tun_address address[TUN_ADDRESSES_MAX];
    struct tun_neighbour neighbour[TUN_CONTACTS_MAX];
    cv_usec attached_at, first_link_at, guards_at;
    int64_t cut_at;    /* Unix seconds: client, when the last link that was not silent was lost; 0:
                          there is one, or none yet */
    cv_usec cut_since; /* the same */
    cv_usec hush_at;   /* client: when nobody had said anything for a while; 0: they do */
    cv_usec back_at;   /* client: when there was one again; 0: never */

    struct tun_probe probe;
    struct tun_reach_state reach;
    size_t measure_from; /* relays there must be, before capacities are of use */

    struct tun_sync far; /* over a circuit */
    cv_usec far_at, far_pause;
    cv_usec wished_until; /* somebody waits for a relay that is not to be used yet */

    struct tun_lane lane[TUN_CIRCUITS_MAX];
    uint32_t lanes;
    cv_usec ahead_at, ahead_pause, ready_at;
    cv_usec wanted_at;  /* when the node or a hidden swarm last asked for a circuit */
    cv_usec build_time; /* smoothed, of circuits built ahead; 0: none yet */

    cv_usec need_at, need_pause;
    uint32_t need_known;

    struct tun_calendar calendar;
    cv_usec calendar_told_at; /* 0: not yet, or it agrees again */

    cv_usec expire_at, own_at;
    uint32_t day;                  /* whose descriptors are in use; 0: not looked at yet */
    cv_usec anew_until;            /* whom nobody names is not gone yet; NEVER: nobody is named */
    struct cv_tokenbucket answers; /* cells of descriptors for others, a second, by circuits, */
    struct cv_tokenbucket told;    /* and as many by links: relays learn of each other so */
    struct cv_tokenbucket shown;   /* descriptors of askers that we look at, a second */
    uint8_t blob[2][TUN_GUARDS_BLOB_MAX];
    uint8_t blob_next;
    uint8_t proof[2][TUN_DESCRIPTOR_MAX]; /* the last one */
    size_t proof_len[2];
    uint8_t proof_liar[CV_KEY];
    unsigned proof_left; /* relays that a client still shows it to */

    cv_usec next;
};

static inline const struct cv_rng *tun_client_rng(const struct tun_client *c) {
    return tun_rng(c->t);
}

/* Client: fewer relays of the day are confirmed than every kind of path needs. */
bool tun_client_is_short(const struct tun_client *c);

/* A pause, shorter in a hurry. */
static inline cv_usec tun_client_pause(const struct tun_client *c, cv_usec normal,
                                       cv_usec in_a_hurry) {
    return c->hurry ? in_a_hurry : normal;
}

/* A relay that is named is not known, or not confirmed: for some seconds others
 * are asked without growing pauses. */
void tun_sync_wish(struct tun_client *c);
/* A relay is asked over a circuit within seconds, not minutes. */
void tun_sync_soon(struct tun_client *c);

static inline bool tun_due(cv_usec at, cv_usec now) {
    return at <= now;
}

static inline void tun_client_by(struct tun_client *c, cv_usec at) {
    c->next = cv_usec_min(c->next, at);
}

/* client.c */
/* A signed descriptor came from somewhere; *ret may be NULL. */
enum cv_err tun_client_learn(struct tun_client *c, const void *raw, size_t len,
                             struct tun_relay **ret);
/* A relay answered us at `from`, an address of its own, with the descriptor of `day`. */
void tun_client_day(struct tun_client *c, const struct cv_addr *from, uint32_t day);

/* contact.c */
enum cv_err tun_contact_add(struct tun_client *c, const struct cv_addr *addr, bool guard);
/* Those of its addresses at which it has not answered are asked, one at a time. */
void tun_contact_reach(struct tun_client *c, struct tun_relay *r);
/* False: there is no room to ask it now. */
bool tun_contact_reach_at(struct tun_client *c, const uint8_t whose[CV_KEY],
                          const struct cv_addr *addr);
/* A first hop or contact of an earlier run, where it answered last; a moment later, or when we
 * have no sockets of that family, at its other address. */
void tun_contact_guard(struct tun_client *c, const struct tun_guard *g);
bool tun_contact_on_raw(struct tun_client *c, const struct cv_addr *from, const uint8_t *buf);
void tun_contact_work(struct tun_client *c);
void tun_contact_on_link(struct tun_client *c, const struct tun_event *ev);
/* Client: when a neighbour is to be looked at that has said nothing for a while; NEVER: none is. */
cv_usec tun_contact_silent_at(const struct tun_client *c);
void tun_contact_done(struct tun_client *c); /* wipes questions under way */
struct tun_neighbour *tun_contact_neighbour(struct tun_client *c, const uint8_t identity[CV_KEY]);
void tun_contact_neighbour_add(struct tun_client *c, const struct tun_relay *r,
                               const struct cv_addr *addr);
/* The link to a neighbour when it is up, else NULL. */
struct tun_link *tun_contact_link(struct tun_client *c, const struct tun_neighbour *n);
unsigned tun_contact_linked(const struct tun_client *c);

/* sync.c */
void tun_sync_begin(struct tun_client *c, struct tun_sync *s, uint32_t day,
                    const uint8_t source[CV_KEY]);
void tun_sync_work(struct tun_client *c);
/* Answers to our questions and others' questions, over links ... */
void tun_sync_on_link(struct tun_client *c, const struct tun_event *ev);
/* ... and over circuits. */
void tun_sync_on_reply(struct tun_client *c, const struct tun_event *ev);
void tun_sync_on_request(struct tun_client *c, const struct tun_event *ev);
void tun_sync_on_circuit(struct tun_client *c, const struct tun_event *ev);

/* probe.c */
void tun_probe_work(struct tun_client *c);
/* True: it was about the probe's circuit. */
bool tun_probe_on_event(struct tun_client *c, const struct tun_event *ev);

/* reach.c */
/* A relay that has just begun knows nobody who could try others for it, and tells of
 * whom it reached: a network that begins would wait for itself. */
bool tun_reach_is_young(const struct tun_client *c);
void tun_reach_work(struct tun_client *c);
/* A relay's link is up, whoever made it. */
void tun_reach_on_link(struct tun_client *c, const struct tun_event *ev);
void tun_reach_on_message(struct tun_client *c, const struct tun_event *ev);
/* True: the answer to a try. */
bool tun_reach_on_raw(struct tun_client *c, const struct cv_addr *from, const uint8_t *buf);
/* A question that leaves by another port, if there is one. */
bool tun_reach_elsewhere(struct tun_client *c, struct cv_addr *to, uint8_t buf[TUN_DATAGRAM]);
/* Relays that said last that others reached us at our i-th address, and that they did not. */
void tun_reach_status(const struct tun_client *c, unsigned i, uint32_t *ret_reached,
                      uint32_t *ret_silent);
void tun_reach_done(struct tun_client *c); /* wipes questions under way */

/* ahead.c */
void tun_ahead_work(struct tun_client *c);
void tun_ahead_on_circuit(struct tun_client *c, const struct tun_event *ev);
void tun_ahead_on_reply(struct tun_client *c, const struct tun_event *ev);
/* `by` did not extend to `meant`, because it holds this descriptor of that day. */
void tun_ahead_on_differs(struct tun_client *c, const struct tun_relay_ref *meant,
                          const struct tun_relay_ref *by, const uint8_t *raw, size_t len);
struct tun_lane *tun_ahead_lane(struct tun_client *c, cv_handle circuit);
void tun_ahead_forget(struct tun_client *c, struct tun_lane *lane);
uint32_t tun_ahead_ready(const struct tun_client *c);

#endif
