/*
 * The bandwidth ledger of one node, as an engine without I/O. The node tells it
 * which links are up, who proved to be at the other end, and how many octets of
 * RELAY cells went each way; it answers with LEDGER messages to send, a class
 * for every client's link and a weight for every relay's.
 * (docs/protocol/ledger.md; the design's reasons are in record.h, gate.h, chain.h.)
 *
 *     link_up, link_down    a link of the tunnel came or went
 *     carried               octets since the last call, per link; call per batch
 *     on_message            the body of a LEDGER link command
 *     on_timeout            the deadline passed; safe to call early or twice
 *     poll_event            what to do; call until it says false
 *     next_timeout          when to call on_timeout; may have changed after any
 *                           of the calls above
 *
 * After any of the first four drain poll_event(), then re-read next_timeout().
 * `now.mono` never goes backwards. `now.wall` selects epochs; while it is 0
 * (unknown) octets are held back, and nothing is released. Single-threaded, no
 * calls back. The store is called synchronously: a commit can take a disk's
 * fsync, at most every 100 ms.
 *
 * What leaves this engine: exact counters to the one neighbour they are about,
 * signed half-blocks about pairs of relays to neighbours that are relays.
 * Accounts of clients never leave it.
 */
#ifndef CULVERT_REPUTATION_LEDGER_H
#define CULVERT_REPUTATION_LEDGER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/endpoint.h"
#include "base/err.h"
#include "base/rng.h"
#include "base/time.h"
#include "crypto/keys.h"
#include "reputation/gate.h"
#include "reputation/limits.h"
#include "reputation/store.h"

struct rep_ledger;

/* What the other end of a link proved to be (the link's AUTH). Links that carry
 * circuits of our own are not reported at all: no account may name them. */
enum rep_role {
    REP_ROLE_NAMELESS, /* proved nothing */
    REP_ROLE_CLIENT,   /* by a client key made for us: private account */
    REP_ROLE_RELAY,    /* by its relay identity, and we by ours: public rows */
};

struct rep_config {
    struct cv_ed25519_secret identity_secret; /* our relay identity; copied, wiped in _free */
    uint8_t network_id[REP_NETWORK_ID];       /* BLAKE2b, 8 octets, of the network's name */
    uint32_t epoch_seconds;                   /* REP_EPOCH_SECONDS unless a private network */
    uint64_t minimum_octets;                  /* REP_MINIMUM_OCTETS; less in an epoch counts 0 */
    uint64_t seed;                            /* of the ranking's walks */
    bool tokens_at_once; /* private networks: asked for and shown without the waits of priority.h */
    struct rep_gate_config gate;
};

/* Everything but identity_secret, network_id and seed set to its default. */
void rep_config_init(struct rep_config *ret);

/* Is it the network "culvert", whose settings are everybody's? */
bool rep_is_world(const uint8_t network_id[REP_NETWORK_ID]);

enum rep_event_kind {
    REP_EVENT_SEND,   /* send `body` as a LEDGER command on `link` */
    REP_EVENT_CLASS,  /* the link's class is now `gate_class` */
    REP_EVENT_WEIGHT, /* the link's weight among relays is now `weight` */
    REP_EVENT_BANNED, /* the relay at the other end forged: close the link */
    REP_EVENT_FAILED, /* the ledger signs and stores nothing any more: `err`. STORE, FULL,
                         CORRUPT: the file; DIFFERS: a half-block of ours that we do not know
                         was shown to us, so this state folder is an old copy. Classes and
                         weights go on from memory. Tell the operator. */
};

struct rep_event {
    enum rep_event_kind kind;
    cv_handle link; /* SEND, CLASS, WEIGHT, BANNED */
    union {
        struct {
            uint16_t len;
            uint8_t body[REP_MESSAGE_MAX];
        } send;
        enum rep_class gate_class;
        uint32_t weight; /* REP_WEIGHT_MIN..REP_WEIGHT_MAX; REP_WEIGHT_MEAN is the mean */
        enum cv_err err;
    };
};

/*
 * Copies *cfg; borrows *store and *rng, which must outlive the ledger. Loads
 * pending counts and the graph, so that nothing is forgotten over a restart.
 * CV_ERR_INVAL: an epoch or limit out of range. CV_ERR_DENIED: on the network
 * "culvert" epoch and minimum may not be below their defaults (smaller ones
 * would tell who was where), and tokens wait. CV_ERR_NOMEM, and the store's errors.
 */
enum cv_err rep_ledger_new(const struct rep_config *cfg, const struct rep_store *store,
                           const struct cv_rng *rng, struct cv_now now, struct rep_ledger **ret);

/* What is not committed is rolled back: call rep_ledger_flush() first unless
 * a crash is being played. NULL is allowed; always returns NULL. */
struct rep_ledger *rep_ledger_free(struct rep_ledger *l);

/*
 * `public_key` is read for CLIENT and RELAY (may be NULL for NAMELESS); `addr`
 * is where the other end is, for limits per network. A peer may have several
 * links. The first class or weight follows as an event. CV_ERR_DENIED: a
 * proven forger within its ban, close the link. CV_ERR_EXIST: the handle is up
 * already. CV_ERR_INVAL: the key is ours. CV_ERR_LIMIT, CV_ERR_NOMEM: not
 * counted; serve it as new.
 */
enum cv_err rep_ledger_link_up(struct rep_ledger *l, struct cv_now now, cv_handle link,
                               enum rep_role role, const uint8_t *public_key,
                               const struct cv_addr *addr);

/* Unknown handles are ignored, here and below. Report the last octets first. */
void rep_ledger_link_down(struct rep_ledger *l, struct cv_now now, cv_handle link);

/* `out`: octets of RELAY cells we sent since the last call, 1232 a cell; `in`:
 * received, tag and window passed. Padding and control are not counted. */
void rep_ledger_carried(struct rep_ledger *l, struct cv_now now, cv_handle link, uint64_t out,
                        uint64_t in);

/* What is refused changes nothing but a counter; the code says why (MALFORMED,
 * TRUNCATED, UNKNOWN, VERSION, AUTH, DIFFERS, DENIED, LIMIT, STALE, NOENT).
 * Nothing to do for the caller. */
enum cv_err rep_ledger_on_message(struct rep_ledger *l, struct cv_now now, cv_handle link,
                                  const uint8_t *body, size_t len);

/* Other relays say that our calendar is days off. Until none has said so for a day,
 * nothing is deleted for its age. */
void rep_ledger_clock_off(struct rep_ledger *l, struct cv_now now);

void rep_ledger_on_timeout(struct rep_ledger *l, struct cv_now now);
cv_usec rep_ledger_next_timeout(const struct rep_ledger *l);
bool rep_ledger_poll_event(struct rep_ledger *l, struct rep_event *ret);

/* The link redeemed a priority token: class 0 until `until` (monotonic). */
void rep_ledger_grant(struct rep_ledger *l, struct cv_now now, cv_handle link, cv_usec until);

/* Writes everything counted so far. Call before an orderly end. */
enum cv_err rep_ledger_flush(struct rep_ledger *l, struct cv_now now);

/* From a cache, no matter how large the ledger is. Unknown handle: REP_CLASS_NEW. */
enum rep_class rep_ledger_class(const struct rep_ledger *l, cv_handle link);
uint32_t rep_ledger_weight(const struct rep_ledger *l, cv_handle link);

/* ---- for display ---- */

struct rep_stats {
    uint64_t links, links_relay, links_client;
    uint64_t given, taken;                   /* octets counted with relays since the start */
    uint64_t client_given, client_taken;     /* octets counted with clients since the start */
    uint64_t pending_given, pending_taken;   /* counted, not released, all epochs */
    uint64_t released_given, released_taken; /* agreed by both ends, all pairs */
    uint64_t proposals, agreements;          /* half-blocks we signed since the start */
    uint64_t blocks_taken, blocks_refused;   /* half-blocks of others since the start */
    uint64_t messages_refused, forks, commits;
    uint64_t relays_ranked;                  /* relays with a score */
    uint64_t tokens_issued, tokens_redeemed; /* as a guard since the start; batches, tokens */
    uint64_t tokens_refused;                 /* shown to us, and not or no longer worth anything */
    uint64_t tokens_left;                    /* of our own */
};

void rep_ledger_stats(const struct rep_ledger *l, struct rep_stats *ret);

/* One relay we share a row with. */
struct rep_row {
    uint8_t peer[CV_KEY];
    bool up;                                 /* has a link now */
    uint32_t epoch;                          /* running one */
    uint64_t pending_given, pending_taken;   /* all unreleased epochs */
    uint64_t released_given, released_taken; /* agreed by both */
    double score;                            /* of the ranking, 0..1: see rank_walk.h */
};

/* *cursor is NULL to begin; false at the end. No other call on the ledger between. */
bool rep_ledger_row(const struct rep_ledger *l, void **cursor, struct rep_row *ret);

#endif
