/*
 * Inside the engine: what its files share. Nothing here is for users of ppsp
 * (they include ppsp.h and store.h).
 *
 * Who owns what: struct ppsp owns swarms and channels; a channel belongs to
 * one swarm and dies with it. A channel stands for a peer in every state, also
 * one that was only permitted to call.
 */
#ifndef CULVERT_PPSP_ENGINE_H
#define CULVERT_PPSP_ENGINE_H

#include <sys/queue.h>

#include "base/heap.h"
#include "base/map.h"
#include "base/tokenbucket.h"
#include "base/trace.h"
#include "crypto/siphash.h"
#include "ppsp/chunkset.h"
#include "ppsp/flight.h"
#include "ppsp/ledbat.h"
#include "ppsp/limits.h"
#include "ppsp/live.h"
#include "ppsp/membership.h"
#include "ppsp/merkle.h"
#include "ppsp/message.h"
#include "ppsp/options.h"
#include "ppsp/ppsp.h"
#include "ppsp/reciprocity.h"

struct ppsp_channel;
struct ppsp_swarm;

/* Octets a second over about the last second. */
struct ppsp_rate {
    cv_usec from;
    uint64_t octets; /* since then */
    uint64_t per_s;
};

void ppsp_rate_add(struct ppsp_rate *r, cv_usec now, uint64_t octets);
uint64_t ppsp_rate_get(const struct ppsp_rate *r, cv_usec now);

/* One entry of the timer heap: a channel's or a swarm's. */
struct ppsp_timer {
    struct cv_timer t;
    bool of_swarm;
};

/* A handshake that was answered, but whose sender's address is not proven. */
struct ppsp_half_open {
    struct cv_endpoint endpoint;
    struct ppsp_swarm *swarm; /* NULL: free */
    uint32_t local, remote;
    uint16_t messages;
    uint64_t window; /* live: chunks it keeps */
    bool reply_due;
    cv_usec at;
};

struct ppsp_goodbye {
    struct cv_endpoint endpoint;
    uint32_t remote;
};

struct ppsp_ban {
    struct cv_endpoint endpoint;
    cv_usec until;
};

enum { PPSP_GOODBYES = 256 };

struct ppsp {
    struct ppsp_config config;
    const struct cv_rng *rng;
    uint8_t map_key[CV_SIPHASH_KEY];
    cv_usec last_now; /* to assert that time does not go back */
    int64_t wall;     /* of this step; 0: nobody knows */

    struct ppsp_swarm **swarms; /* swarms_max slots */
    uint32_t *generations;
    struct cv_map *by_id;    /* hash of the swarm id -> swarm */
    struct cv_map *by_local; /* local channel id -> channel */
    struct cv_map *by_peer;  /* endpoint and swarm handle -> channel */
    uint32_t channels;
    struct ppsp_channel *last; /* found last: the next datagram is probably for it */

    struct cv_heap timers;
    TAILQ_HEAD(ppsp_ready, ppsp_channel) ready; /* may have something to send */

    TAILQ_HEAD(ppsp_staged, ppsp_swarm) staged; /* have chunks to write */

    struct ppsp_half_open half_open[PPSP_HALF_OPEN];
    uint32_t half_open_due; /* replies to send */
    struct ppsp_ban bans[PPSP_BANS];
    uint32_t ban_next;
    struct ppsp_goodbye goodbyes[PPSP_GOODBYES];
    uint32_t goodbye_count;

    TAILQ_HEAD(ppsp_due, ppsp_swarm) due;  /* have something to tell that is told once */
    struct ppsp_event events[PPSP_EVENTS]; /* ring of the rest */
    uint32_t event_head, event_count;
    uint32_t asked_count;   /* PPSP_EVENT_ASKED among them */
    uint32_t contact_count; /* PPSP_EVENT_CONTACT and .._WANTED among them */

    struct ppsp_counters counters;
    struct ppsp_peaks peaks; /* of the datagram being read */
    uint8_t *scratch;        /* chunks on their way out of a store: PPSP_STAGE_OCTETS */
    size_t scratch_size;
};

#define PPSP_COUNT(p, name) ((p)->counters.name++)

/* ---- event.c ---------------------------------------------------------------- */

/* False: lost, too many wait. */
bool ppsp_event_push(struct ppsp *p, const struct ppsp_event *event);
/* COMPLETE, SIZE_KNOWN, STORE_ERROR, LIVE_TUNED, LIVE_ENDED: never lost; what they say
 * of the swarm is read when they are taken. */
void ppsp_event_once(struct ppsp_swarm *s, enum ppsp_event_type type, enum cv_err err);
/* The owner is not interested any more. */
void ppsp_event_forget(struct ppsp_swarm *s);

bool ppsp_banned(const struct ppsp *p, const struct cv_endpoint *ep, cv_usec now);

/* ---- swarm ---------------------------------------------------------------- */

/* What a reader waits for. Chunk numbers; clipped when the size is known. */
struct ppsp_want_entry {
    ppsp_want_id id; /* 0: free */
    uint64_t first, last;
    cv_usec due;
    uint64_t rate; /* octets a second; 0: at once */
};

enum { PPSP_NEWS = 64 };

struct ppsp_swarm {
    struct ppsp *p;
    cv_handle handle;
    struct ppsp_swarm_config config;
    struct ppsp_chunkspec spec; /* how messages name its chunks */
    size_t hash_len;
    struct ppsp_timer timer;
    TAILQ_HEAD(ppsp_channels, ppsp_channel) channels;
    uint32_t channel_count, open_count;

    struct ppsp_membership membership; /* authority NULL: plain addresses */
    struct ppsp_live *live;            /* NULL: static content */
    struct ppsp_tree tree;
    uint64_t chunks;  /* 0: unknown. Equals tree.chunks, but in live swarms: live.h */
    uint64_t octets;  /* 0: not known exactly */
    bool octets_sure; /* the last chunk was verified */
    bool size_differs_told, complete;

    struct ppsp_chunkset have;  /* verified and in the store */
    struct ppsp_chunkset taken; /* have, plus asked for, plus staged */
    cv_usec untake_at; /* what could not be taken out of it is looked for then; 0: nothing */

    /* Verified, on the way into the store: a ring, usually of one. */
    struct ppsp_segment *segments[PPSP_STAGE_SEGMENTS];
    uint32_t segment_head, segment_count;
    struct ppsp_segment *spare;        /* so that not every one is allocated */
    TAILQ_ENTRY(ppsp_swarm) in_staged; /* while segment_count is not 0 */
    uint32_t stage_max;                /* chunks of one segment */
    bool paused;                       /* the store has no room */
    cv_usec retry_at;                  /* the store said AGAIN; 0: no */
    bool unreadable;                   /* the store could not read, and that was said */
    uint64_t uncommitted;
    cv_usec commit_at;

    /* Ranges that became available; channels read the ring by number. */
    struct ppsp_range news[PPSP_NEWS];
    uint64_t news_count;
    cv_usec news_at; /* when channels shall be told; NEVER */

    struct ppsp_want_entry wants[PPSP_WANTS];
    ppsp_want_id last_want;

    uint32_t events_due; /* bits by type, of those told once */
    enum cv_err size_err, store_err;
    TAILQ_ENTRY(ppsp_swarm) in_due; /* while events_due is not 0 */

    uint32_t slots; /* 0: everybody is served */
    cv_usec slots_at, luck_at;

    struct cv_tokenbucket upload, download;
    struct ppsp_crowd circuits;
    uint64_t up, down, wasted;
    uint64_t legacy;   /* window of a hidden channel that ended, for who comes in its place, */
    cv_usec legacy_at; /* and when it was heard last */
    struct ppsp_rate up_rate, down_rate;
};

enum { PPSP_ID_KEY = 32 };
void ppsp_id_key(const uint8_t *id, size_t len, uint8_t ret[PPSP_ID_KEY]);

/* Gives an empty set the bounds of this swarm's chunks. */
void ppsp_swarm_chunkset(const struct ppsp_swarm *s, struct ppsp_chunkset *set);

/* Adds chunks to `have` or `taken`. A live set in too many pieces forgets its oldest
 * ones, and in live swarms what lies before the window is left out. CV_ERR_NOMEM. */
enum cv_err ppsp_swarm_mark(struct ppsp_swarm *s, cv_usec now, struct ppsp_chunkset *set,
                            uint64_t first, uint64_t last);

/* Unprotected content is nothing for the open Internet (erratum 4880), nor for circuits. */
bool ppsp_swarm_meets(const struct ppsp_swarm *s, const struct cv_endpoint *ep);

struct ppsp_swarm *ppsp_swarm_find(const struct ppsp *p, cv_handle handle);
void ppsp_swarm_on_timeout(struct ppsp_swarm *s, cv_usec now);
void ppsp_swarm_reschedule(struct ppsp_swarm *s);

/* The chunk count became proven. False when a trusted length contradicts it, or the
 * store has no room to note it: then the next peaks prove it again. */
bool ppsp_swarm_size_proven(struct ppsp_swarm *s, cv_usec now, uint64_t chunks);

/* The last chunk is verified, and so long. */
void ppsp_swarm_size_exact(struct ppsp_swarm *s, size_t len);

/* Length a chunk must have; 0 when that is not known (the last one). */
size_t ppsp_swarm_chunk_len(const struct ppsp_swarm *s, uint64_t chunk);

/* The store holds something else than what was verified: an event, and from now on
 * nothing is given to anybody. */
void ppsp_swarm_withdraw(struct ppsp_swarm *s, enum cv_err why);

/* The store could not read: an event for the first time. After how long to try again. */
cv_usec ppsp_swarm_unreadable(struct ppsp_swarm *s, enum cv_err why);

/* Lets every open channel look for something to send. */
void ppsp_swarm_wake(struct ppsp_swarm *s);

/* Is there anything this swarm would ask of anybody? */
bool ppsp_swarm_hungry(const struct ppsp_swarm *s);

/* ---- taken.c ---------------------------------------------------------------------- */

/* Nobody is asked for these chunks any more, nor do they wait for the store: they go from
 * `taken`. If that fails, which a set that becomes longer may do, they go later. */
void ppsp_swarm_untake(struct ppsp_swarm *s, uint64_t first, uint64_t last);
/* Later is now, when it is due. */
void ppsp_swarm_untake_again(struct ppsp_swarm *s, cv_usec now);

/* ---- stage.c: the way of verified chunks into the store ------------------------ */

struct ppsp_segment {
    uint64_t first; /* consecutive chunks */
    uint32_t count;
    size_t len;
    uint8_t data[];
};

/* Adds a verified chunk. CV_ERR_AGAIN: the store is busy and too much waits
 * already; CV_ERR_FULL, CV_ERR_NOMEM. */
enum cv_err ppsp_stage_add(struct ppsp_swarm *s, cv_usec now, uint64_t chunk,
                           const uint8_t *content, size_t len);
/* Some of the chunks first..last wait here. */
bool ppsp_stage_any(const struct ppsp_swarm *s, uint64_t first, uint64_t last);
/* Writes what waits, and new hashes, to the store. */
void ppsp_stage_flush(struct ppsp_swarm *s, cv_usec now);
/* Makes it durable when it is time to. */
void ppsp_stage_commit(struct ppsp_swarm *s, cv_usec now);
/* The store refused something: again soon, or fetching pauses, with an event. */
void ppsp_stage_failed(struct ppsp_swarm *s, cv_usec now, enum cv_err err);
/* Forgets what waits. */
void ppsp_stage_done(struct ppsp_swarm *s);

/* ---- channel -------------------------------------------------------------- */

enum ppsp_slot { PPSP_SLOT_NONE = 0, PPSP_SLOT_RANK, PPSP_SLOT_LOT };

/* A reader who leaves takes one CANCEL for each gap between the wants of others. Where more
 * wait than there is room for, on an endpoint that takes nothing, one stands for several. */
enum { PPSP_ACKS = 16, PPSP_CANCELS = 2 * PPSP_WANTS };

struct ppsp_ack_due {
    struct ppsp_range chunks;
    uint64_t delay;
};

struct ppsp_channel {
    TAILQ_ENTRY(ppsp_channel) of_swarm, in_ready;
    bool ready; /* is in the ready list */
    struct ppsp_timer timer;
    struct ppsp_swarm *swarm;
    struct cv_endpoint endpoint;
    uint16_t mtu;
    bool hidden;
    enum ppsp_peer_state state;
    uint32_t local, remote;
    uint16_t messages; /* types the peer supports */

    cv_usec heard_at, sent_at;
    uint32_t sent_unheard; /* datagrams since we heard something, .. */
    cv_usec third_at;      /* .. and when the third of them left */
    cv_usec retry_at, retry_wait, called_at;
    bool retried;
    bool confirm_due;      /* datagram 3: proves that we exist, even if empty */
    bool confirmed;        /* we heard the peer since: it need not be sent again */
    bool called_us;        /* it began the conversation */
    uint32_t anew;         /* times we called anew since it was heard */
    uint64_t clock_offset; /* of the clock we show this peer */
    int32_t clock_skew;    /* parts per million */
    cv_usec rtt;           /* least request-to-answer time, <= PPSP_RTT_MAX; 0: unknown */

    /* What the peer has. */
    struct ppsp_chunkset have;
    bool guess; /* it has not said yet: ask a little anyway */
    cv_usec guess_until;

    /* Giving. */
    struct ppsp_range queue[PPSP_REQUEST_RANGES]; /* what it asked for, in order */
    uint32_t queued;
    struct ppsp_flight sent;
    struct ppsp_ledbat cc;
    struct ppsp_way way;
    cv_usec send_at;               /* pacing: not before */
    cv_usec held_until;            /* its turn under an upload limit: not before */
    uint64_t saved;                /* octets taken of the limit, of which nothing was sent yet */
    uint64_t withheld;             /* asked for, not sent on purpose; NONE */
    uint8_t false_acks;            /* of those in a row that it acknowledged all the same */
    struct ppsp_flight gone;       /* sent, given up, not acknowledged since */
    uint64_t group_before;         /* group sent last: its way up was sent with it */
    uint64_t group_from, group_to; /* chunks of it whose hashes were sent */
    bool group_valid;
    uint64_t sent_passed; /* runs before it were overtaken */

    /* Reciprocity. */
    uint32_t rank;
    uint8_t slot;     /* enum ppsp_slot */
    cv_usec lot_at;   /* when it had one by lot, or came */
    bool choking;     /* it gets nothing now */
    cv_usec choke_at; /* when that, or the contrary, is to be said; NEVER: it was */
    cv_usec choke_told, choke_wait;
    uint64_t down_before; /* when slots were given last */

    /* Taking. */
    bool choked;
    struct ppsp_flight asked;
    struct ppsp_flight late; /* given up, but welcome if it comes after all */
    uint64_t asked_passed;   /* runs before it were overtaken */
    unsigned disorder;       /* how many came after all that were taken for lost; no more are
                                counted than matter */
    struct ppsp_pending *pending;
    struct ppsp_ack_due acks[PPSP_ACKS];
    uint32_t ack_count, ack_chunks;
    cv_usec ack_at;
    struct ppsp_range cancels[PPSP_CANCELS];
    uint32_t cancel_count;
    uint32_t window;    /* chunks to ask for at a time */
    cv_usec data_at;    /* when the last chunk came, or was asked for from nothing */
    cv_usec ask_at;     /* not before: demoted, or the download limit */
    uint32_t doubted;   /* chunks without their hashes since one was verified */
    cv_usec idle_until; /* nothing to ask it for was found; not before that or news */
    cv_usec idle_at;    /* when it was last not asked for all that it takes */
    uint32_t stalls, stalls_running;
    uint64_t block; /* rarest first: where it is reading; NONE */

    /* Live. */
    uint64_t their_window;             /* chunks it keeps behind the last it showed */
    uint64_t shown;                    /* that one, + 1 */
    uint64_t newest_heard;             /* newest munro that came from it: index + 1 */
    uint64_t newest_told;              /* our newest munro when it was sent last: index + 1 */
    struct ppsp_signature *signatures; /* Sign All; NULL until needed */

    /* Telling what we have. */
    uint64_t news_seen;
    uint64_t tell_from; /* next chunk of the complete overview; NONE: told */
    cv_usec tell_again_at, tell_wait;

    /* Peer exchange. */
    bool from_pex; /* another peer named it */
    struct ppsp_member member;
    bool pex_asked;                /* it waits for addresses */
    uint8_t pex_expected;          /* addresses it may still tell us */
    cv_usec pex_ask_at;            /* not before */
    cv_usec pex_answer_at;         /* likewise */
    struct ppsp_contact *contacts; /* to be told; NULL: none */
    uint8_t contact_count;

    uint64_t up, down;
    struct ppsp_rate up_rate, down_rate;
};

/* Key of by_peer. */
struct ppsp_peer_key {
    struct cv_endpoint endpoint;
    cv_handle swarm;
};
static_assert(sizeof(struct ppsp_peer_key) == sizeof(struct cv_endpoint) + 8, "no padding");

struct ppsp_channel *ppsp_channel_find(struct ppsp *p, const struct cv_endpoint *ep,
                                       const struct ppsp_swarm *s);
/* NULL: out of memory or limits. State PERMITTED. */
struct ppsp_channel *ppsp_channel_new(struct ppsp_swarm *s, cv_usec now,
                                      const struct cv_endpoint *ep, uint16_t mtu, bool hidden);
/* Forgets the peer altogether; says goodbye if asked. No event. */
void ppsp_channel_free(struct ppsp_channel *c, bool goodbye);
/* Ends the conversation with an event; the peer is forgotten. */
void ppsp_channel_down(struct ppsp_channel *c, cv_usec now, enum cv_err why, bool goodbye);
/* The handshake is complete. */
void ppsp_channel_up(struct ppsp_channel *c, cv_usec now, uint32_t local, uint32_t remote,
                     uint16_t messages);
void ppsp_channel_call(struct ppsp_channel *c, cv_usec now);
/* It answers nothing, though something was asked: perhaps it does not know this channel
 * (any more). Then it is called anew. */
bool ppsp_channel_silent(const struct ppsp_channel *c, cv_usec now);
void ppsp_channel_anew(struct ppsp_channel *c, cv_usec now);
uint32_t ppsp_local_id(struct ppsp *p);

/* It answered after so long. */
void ppsp_channel_rtt(struct ppsp_channel *c, cv_usec rtt);
/* Nothing was sent for a while: gives memory back that only a busy channel needs. */
void ppsp_channel_rest(struct ppsp_channel *c);
void ppsp_channel_wake(struct ppsp_channel *c);     /* has perhaps something to send */
void ppsp_channel_schedule(struct ppsp_channel *c); /* sets its timer */
void ppsp_channel_on_timeout(struct ppsp_channel *c, cv_usec now);
uint64_t ppsp_channel_clock(const struct ppsp_channel *c, cv_usec now);
bool ppsp_mtu_fits(const struct ppsp_swarm *s, uint16_t mtu);
/* Of peers that call us over UDP. */
uint16_t ppsp_mtu_udp(const struct ppsp_swarm *s);

/* ---- handshake.c ---------------------------------------------------------- */

enum cv_err ppsp_handshake_in(struct ppsp *p, cv_usec now, const struct cv_endpoint *from,
                              struct cv_rd *r);
/* HANDSHAKE as first message of a datagram to a channel. */
enum cv_err ppsp_handshake_answer(struct ppsp_channel *c, cv_usec now, struct cv_rd *r);
bool ppsp_handshake_replies(struct ppsp *p, cv_usec now, struct cv_batch *b);
bool ppsp_handshake_call(struct ppsp_channel *c, cv_usec now, struct cv_batch *b);
bool ppsp_goodbyes_out(struct ppsp *p, struct cv_batch *b);
/* Datagram 3: makes a half-open handshake a channel. NULL: there is none. */
struct ppsp_channel *ppsp_half_open_proven(struct ppsp *p, cv_usec now, uint32_t local,
                                           const struct cv_endpoint *from);
void ppsp_half_open_forget(struct ppsp *p, const struct ppsp_swarm *s);

/* ---- fetch.c: taking ------------------------------------------------------ */

enum cv_err ppsp_fetch_integrity(struct ppsp_channel *c, cv_usec now,
                                 const struct ppsp_integrity_hash *node);
/* The run of INTEGRITY messages ended (DATA follows, or nothing). */
enum cv_err ppsp_fetch_resolve(struct ppsp_channel *c, cv_usec now);
enum cv_err ppsp_fetch_data(struct ppsp_channel *c, cv_usec now, const struct ppsp_data *data);
enum cv_err ppsp_fetch_have(struct ppsp_channel *c, cv_usec now, const struct ppsp_range *range);
/* Gives up what does not come; sets ask_at. */
void ppsp_fetch_check(struct ppsp_channel *c, cv_usec now);
/* Nothing more is expected of this peer. */
void ppsp_fetch_release(struct ppsp_channel *c);
cv_usec ppsp_fetch_next(const struct ppsp_channel *c);
/* Gives up and cancels exactly what no want needs: in time that grows with the requests
 * under way and the wants, not with the content. */
void ppsp_fetch_refocus(struct ppsp_swarm *s);
/* None is lost: where there is no room for another, more of what the peer is asked for may be
 * given up with it. */
void ppsp_fetch_cancel(struct ppsp_channel *c, uint64_t first, uint64_t last);
/* Takes chunks of a run off the peer; others may be asked for them. */
void ppsp_fetch_give_up(struct ppsp_channel *c, uint64_t run, uint64_t mask);

/* ---- pex.c: peers that peers name ------------------------------------------- */

void ppsp_pex_request(struct ppsp_channel *c, cv_usec now);
void ppsp_pex_response(struct ppsp_channel *c, cv_usec now, const struct cv_addr *addr);
void ppsp_pex_certificate(struct ppsp_channel *c, cv_usec now, const struct ppsp_pex_cert *cert);
bool ppsp_pex_due(const struct ppsp_channel *c, cv_usec now);
cv_usec ppsp_pex_next(const struct ppsp_channel *c);
void ppsp_pex_put(struct ppsp_channel *c, cv_usec now, struct cv_wr *w, size_t spare);

/* ---- contacts.c: the same between peers that have no addresses ----------------- */

void ppsp_contacts_request(struct ppsp_channel *c, cv_usec now);
enum cv_err ppsp_contacts_in(struct ppsp_channel *c, struct cv_rd *r);
bool ppsp_contacts_due(const struct ppsp_channel *c, cv_usec now);
cv_usec ppsp_contacts_next(const struct ppsp_channel *c);
void ppsp_contacts_put(struct ppsp_channel *c, cv_usec now, struct cv_wr *w, size_t spare);
void ppsp_contacts_done(struct ppsp_channel *c);

/* ---- picker.c ------------------------------------------------------------- */

/* The next chunks to ask this peer for: at most `max` (<= 64) consecutive ones
 * that nobody was asked for. False: nothing. */
bool ppsp_pick(struct ppsp_channel *c, cv_usec now, uint32_t max, struct ppsp_range *ret);
/* Chunks of one stretch of rarest-first. */
uint64_t ppsp_block_size(const struct ppsp_swarm *s);
/* First stretch in first..last that nobody was asked for and the peer has, at
 * most `max` chunks of it. */
bool ppsp_pick_open(const struct ppsp_channel *c, uint64_t first, uint64_t last, uint32_t max,
                    struct ppsp_range *ret);
/* The same when everything is asked for: takes over from a slower peer. */
bool ppsp_pick_steal(struct ppsp_channel *c, cv_usec now, uint32_t max, struct ppsp_range *ret);

/* ---- serve.c: giving ------------------------------------------------------ */

enum cv_err ppsp_serve_request(struct ppsp_channel *c, cv_usec now, const struct ppsp_range *r);
void ppsp_serve_cancel(struct ppsp_channel *c, const struct ppsp_range *r, bool implicit);
enum cv_err ppsp_serve_ack(struct ppsp_channel *c, cv_usec now, const struct ppsp_ack *ack);
/* Declares lost what was overtaken for too long; congestion timeout. */
void ppsp_serve_check(struct ppsp_channel *c, cv_usec now);
cv_usec ppsp_serve_next(const struct ppsp_channel *c);

enum ppsp_out {
    PPSP_OUT_DONE, /* nothing more now */
    PPSP_OUT_MORE, /* others first, then more */
    PPSP_OUT_FULL, /* no room in the batch */
};
enum ppsp_out ppsp_serve_out(struct ppsp_channel *c, cv_usec now, struct cv_batch *b);

/* ---- control.c: everything small that leaves -------------------------------- */

enum ppsp_out ppsp_control_out(struct ppsp_channel *c, cv_usec now, struct cv_batch *b);
/* As in struct ppsp_peer_stats. */
cv_usec ppsp_channel_asked_since(const struct ppsp_channel *c, cv_usec now);
cv_usec ppsp_control_next(const struct ppsp_channel *c);
/* Counts a datagram to the peer. */
void ppsp_commit(struct ppsp_channel *c, cv_usec now, struct cv_batch *b, size_t size);

#endif
