/*
 * The Peer-to-Peer Streaming Peer Protocol (RFC 7574) over any endpoint: one
 * engine, many swarms, one table of channels. A state machine, not a socket:
 *
 *   ppsp_on_datagram(p, now, from, ..)  a datagram arrived from an endpoint;
 *                                       a forged one changes a counter only
 *   ppsp_on_timeout(p, now)             safe to call early or twice
 *   ppsp_poll_transmit(p, now, batch)   fills the batch with runs of
 *                                       datagrams; true: call again after
 *                                       sending and clearing the batch
 *   ppsp_poll_event(p, &event)          true: *event is filled; call until
 *                                       false
 *   ppsp_next_timeout(p)                when to call ppsp_on_timeout();
 *                                       CV_USEC_NEVER when there is no need
 *
 * Feed every datagram of a received batch first, then drain poll_transmit()
 * (it also writes what was received to the store), then events, then read
 * next_timeout(), which may change after any call. Spurious calls are no-ops.
 * `now.mono` must never go backwards. Single-threaded; nothing here calls back
 * except into the store (ppsp/store.h), and no store function may call ppsp.
 *
 * Supported: Merkle-tree protected static content (method 1) with any of the
 * five hash functions, unprotected static content where that is asked for, live streams (methods 2
 * and 3) with any of the five signature algorithms, the five ways to name chunks, fixed chunk
 * sizes. docs/protocol/ppsp-profile.md tells the rest and every deviation.
 */
#ifndef CULVERT_PPSP_PPSP_H
#define CULVERT_PPSP_PPSP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/batch.h"
#include "base/endpoint.h"
#include "base/err.h"
#include "base/rng.h"
#include "base/time.h"
#include "crypto/dnssec.h"
#include "crypto/hash.h"
#include "ppsp/store.h"
#include "ppsp/upstream.h"

struct ppsp;

/* ---- engine ------------------------------------------------------------- */

struct ppsp_config {
    uint32_t swarms_max;   /* open swarms */
    uint32_t channels_max; /* channels of all swarms, handshaking ones included */
    uint32_t peers_max;    /* channels of one swarm */
    uint16_t mtu;          /* UDP payload towards peers that call us (open swarms) */
    bool tell_asked;       /* PPSP_EVENT_ASKED: for who shares more than is open at once */
    /* LEDBAT with the remedies of LEDBAT++ (ledbat.h) on every channel: flows that
     * come late share fairly and the queue stays nearly empty, for up to a tenth of
     * the rate of a line with a long queue that one has to himself. */
    bool ledbat_plus;
    /* What all that several engines give passes, and what limits swarms without a limit of
     * their own; borrowed, may be NULL: nothing does. */
    struct ppsp_upstream *upstream;
};

extern const struct ppsp_config ppsp_defaults;

/* Copies *config (NULL: ppsp_defaults); borrows *rng, which must outlive the
 * engine. cv_crypto_init() must have been called. NULL: out of memory. */
struct ppsp *ppsp_new(const struct ppsp_config *config, const struct cv_rng *rng);

/* Closes every swarm without saying goodbye. NULL is allowed; returns NULL. */
struct ppsp *ppsp_free(struct ppsp *p);

/* ---- swarms ------------------------------------------------------------- */

/* Values are those of protocol option 3 (RFC 7574 section 7.5). */
enum ppsp_integrity {
    PPSP_INTEGRITY_NONE = 0, /* refused unless `unprotected` */
    PPSP_INTEGRITY_MERKLE = 1,
    PPSP_INTEGRITY_SIGN_ALL = 2, /* live, a signature a chunk: in benign networks only */
    PPSP_INTEGRITY_UNIFIED = 3,  /* live, Unified Merkle Tree */
};

/* Values are those of protocol option 6 (section 7.8). */
enum ppsp_addressing {
    PPSP_ADDRESSING_BIN32 = 0,
    PPSP_ADDRESSING_BYTE64 = 1,
    PPSP_ADDRESSING_CHUNK32 = 2, /* the default */
    PPSP_ADDRESSING_BIN64 = 3,
    PPSP_ADDRESSING_CHUNK64 = 4,
};

/* A root hash; of a live swarm the number of the signature algorithm and the
 * public key behind it. */
#define PPSP_ID_MAX (1 + CV_DNSSEC_PUBLIC_MAX)

/* Signs for a live swarm: the signature in its form (crypto/dnssec.h) into `ret`,
 * its length returned; 0: cannot. Called inside ppsp_inject() only. */
typedef size_t ppsp_sign_fn(void *ctx, const uint8_t *msg, size_t len,
                            uint8_t ret[CV_DNSSEC_SIGNATURE_MAX]);

#define PPSP_UNLIMITED  UINT64_MAX
#define PPSP_WINDOW_ALL UINT64_MAX
enum { PPSP_LIVE_WINDOW_MIN = 1024 }; /* chunks */

struct ppsp_live_config {
    /* Chunks kept behind the edge, at least PPSP_LIVE_WINDOW_MIN; PPSP_WINDOW_ALL: all.
     * The store has room for 1024 more and forgets older ones by itself. */
    uint64_t window;
    cv_usec latency; /* a viewer who misses what is older drops to the edge */

    /* The injector's. */
    ppsp_sign_fn *sign; /* NULL: a viewer */
    void *sign_ctx;
    uint32_t munro_chunks; /* under one signature: a power of two, 2..1024 */
    uint64_t next_chunk;   /* where the numbering goes on after a restart: behind every
                              number ever used, and a multiple of munro_chunks */
};

/* Who says who takes part in a swarm (membership.h). */
struct ppsp_authority {
    const uint8_t *id; /* algorithm and public key, in the form of a live swarm's id */
    size_t id_len;
    const struct cv_dnssec_secret *key; /* of who is it, and makes certificates for those
                                           that it speaks with; must outlive the swarm. NULL */
    const uint8_t *certificate;         /* in DER: what it says of ourselves */
    size_t certificate_len;             /* 0: nothing */
};

struct ppsp_swarm_config {
    /* Metadata; must be the same at every peer and come from a trusted place. */
    uint8_t id[PPSP_ID_MAX];
    size_t id_len; /* static content: cv_sha_len(hash) */
    enum ppsp_integrity integrity;
    enum cv_sha hash;
    enum ppsp_addressing addressing;
    uint32_t chunk_size; /* 512..65000 octets, usually 1024 */
    uint64_t length;     /* of the content if known, else 0 */

    const struct ppsp_store_ops *store; /* borrowed */
    void *store_ctx;                    /* borrowed; must outlive the swarm */

    /* Octets of content a second; 0: none, and then the measured line's holds (upstream.h);
     * PPSP_UNLIMITED: not that either. */
    uint64_t upload_limit, download_limit;
    /* Queues on its ways say nothing of our line: they carry a constant rate, or are one. */
    bool unmeasured;
    bool serve; /* give chunks to others */
    bool open;  /* accept handshakes from any UDP endpoint */
    bool pex;   /* tell UDP peers of each other, and call whom they
                   name; they learn addresses: never hidden swarms */
    /* Peers on circuits are told of further ones, and asked, by contacts that the owner
     * has and understands (ppsp_peer_tell(), PPSP_EVENT_CONTACT). Not with pex. */
    bool contacts;
    /* With pex, where not everybody is benign: borrowed during the call. Peers are then
     * named by certificates and no other way. NULL: by plain addresses. */
    const struct ppsp_authority *authority;
    /* Allows integrity method 0: nothing that comes is checked, whoever gives it decides
     * what the content is. For experiments between machines of one owner: UDP peers
     * without a public address only. The id is a root hash all the same (erratum 4724), nobody
     * compares with it; `length`, or a store that has all, must say how long the content is. */
    bool unprotected;
    bool fetch_all; /* fetch everything; else only what is wanted */

    /* Integrity methods 2 and 3: borrowed during the call. Then `length` and wants
     * mean nothing: a viewer fetches from the newest munro on, in order. */
    const struct ppsp_live_config *live;
};

/*
 * Opens a swarm and loads what its store has. *ret names it from now on.
 * CV_ERR_INVAL: metadata not supported, or authority, its key and our certificate do not
 * belong together; CV_ERR_EXIST: a swarm with that id is open; CV_ERR_LIMIT; CV_ERR_NOMEM;
 * CV_ERR_CORRUPT: the store holds a tree of something else (discard it and try again); or an error
 * of the store.
 */
enum cv_err ppsp_swarm_open(struct ppsp *p, struct cv_now now,
                            const struct ppsp_swarm_config *config, cv_handle *ret);

/* Commits the store, queues a closing handshake to every peer (drain
 * poll_transmit() afterwards) and forgets the swarm, its peers and its
 * events. The store is not used after this returns. Unknown handle: no-op. */
void ppsp_swarm_close(struct ppsp *p, struct cv_now now, cv_handle swarm);

/* The store is ready again after CV_ERR_AGAIN, or has space again. */
void ppsp_swarm_ready(struct ppsp *p, struct cv_now now, cv_handle swarm);

/* Changes what can change in a running swarm. Unknown handle: no-op. */
void ppsp_swarm_limits(struct ppsp *p, struct cv_now now, cv_handle swarm, uint64_t upload_limit,
                       uint64_t download_limit);
void ppsp_swarm_fetch_all(struct ppsp *p, struct cv_now now, cv_handle swarm, bool fetch_all);

/* So many peers are served by rank, and one more for four by lot; the rest is choked
 * (reciprocity.h). 0, the default: everybody is served. Unknown handle: no-op. */
void ppsp_swarm_slots(struct ppsp *p, struct cv_now now, cv_handle swarm, uint32_t slots);

/* ---- being the source of a live swarm ------------------------------------------- */

/*
 * The next octets of the broadcast: a whole chunk, or less if it is the last of
 * all. When a munro is full it is signed and told to the peers. CV_ERR_AGAIN: the
 * store is busy, the same again later; CV_ERR_FULL; CV_ERR_INVAL: no length for a
 * chunk, or something follows a short one; CV_ERR_DENIED: nothing was signed, and
 * the munro's last chunk has to be given again; CV_ERR_NOENT: no swarm of which we
 * are the source.
 */
enum cv_err ppsp_inject(struct ppsp *p, struct cv_now now, cv_handle swarm, const uint8_t *chunk,
                        size_t len);

/* Nothing follows: the last munro is filled with padding, which tells everybody
 * where the end is. Errors as above. */
enum cv_err ppsp_inject_end(struct ppsp *p, struct cv_now now, cv_handle swarm);

/* First chunk that is not signed: where a source that stops here continues. */
uint64_t ppsp_inject_next(const struct ppsp *p, cv_handle swarm);

/* The root hash under which the broadcast is static content. False: it has not
 * ended, or we did not inject it from chunk 0 on. */
bool ppsp_live_root(const struct ppsp *p, cv_handle swarm, uint8_t ret[CV_SHA_MAX]);

/* ---- what to fetch ------------------------------------------------------ */

typedef uint32_t ppsp_want_id; /* 0 is none */

/*
 * A reader wants the octets first..last (inclusive; clipped to the content)
 * in order: `first` is due at `due`, the following octets at `rate` octets a
 * second from then (0: as soon as possible). Missing chunks of all wants are
 * requested by deadline; wants that overlap share fetches. When a new want
 * brings an earlier deadline, less urgent outstanding requests are cancelled.
 * A want ends with ppsp_unwant() only; it costs nothing once satisfied. With it go, in that
 * call, its deadlines, and exactly those outstanding requests that no other want covers: they
 * are cancelled with the next datagrams, when others wait for what nobody was asked for yet,
 * or when nothing is fetched that nobody wants.
 * CV_ERR_NOENT: unknown swarm; CV_ERR_INVAL: first > last, or a live swarm;
 * CV_ERR_LIMIT.
 */
enum cv_err ppsp_want(struct ppsp *p, struct cv_now now, cv_handle swarm, uint64_t first,
                      uint64_t last, cv_usec due, uint64_t rate, ppsp_want_id *ret);
void ppsp_unwant(struct ppsp *p, struct cv_now now, cv_handle swarm, ppsp_want_id want);

/* ---- peers -------------------------------------------------------------- */

/* Octets of a datagram between peers over UDP: ppsp_config.mtu, or what one
 * chunk of this swarm needs. 0: unknown swarm. */
uint16_t ppsp_swarm_mtu(const struct ppsp *p, cv_handle swarm);

struct ppsp_peer_props {
    uint16_t mtu;  /* octets one datagram to this endpoint may have */
    bool hidden;   /* must not learn our clock (circuits) */
    bool initiate; /* call it now; else only let it call us */
};

/*
 * Makes an endpoint a peer of a swarm. With `initiate` a handshake goes out at
 * once; without, that endpoint may open one channel for that swarm and for
 * no other (anything else it asks for gets silence). CV_ERR_EXIST: it is one
 * already; CV_ERR_DENIED: it was dropped for sending bad data not long ago;
 * or it must not be met, because nothing protects the content;
 * CV_ERR_INVAL: mtu too small for a chunk of this swarm and its hash;
 * CV_ERR_NOENT: unknown swarm; CV_ERR_LIMIT; CV_ERR_NOMEM.
 */
enum cv_err ppsp_peer_add(struct ppsp *p, struct cv_now now, cv_handle swarm,
                          const struct cv_endpoint *endpoint, const struct ppsp_peer_props *props);

/* Forgets the endpoint in every swarm: closing handshake if `goodbye` (the
 * endpoint still works), no event. */
void ppsp_peer_remove(struct ppsp *p, struct cv_now now, const struct cv_endpoint *endpoint,
                      bool goodbye);

/* A way to a peer that has no address, as its owner writes it. */
enum { PPSP_CONTACT_MAX = 128, PPSP_CONTACTS = 8 };
struct ppsp_contact {
    uint32_t period;
    uint16_t len; /* of octets; 1..PPSP_CONTACT_MAX */
    uint8_t octets[PPSP_CONTACT_MAX];
};

/* Answers PPSP_EVENT_CONTACTS_WANTED: whom this peer may know; n <= PPSP_CONTACTS.
 * An answer that waits is replaced. Unknown peer or swarm, or one that does not
 * understand contacts: no-op. CV_ERR_NOMEM. */
enum cv_err ppsp_peer_tell(struct ppsp *p, struct cv_now now, cv_handle swarm,
                           const struct cv_endpoint *endpoint, const struct ppsp_contact *contacts,
                           unsigned n);

/* What a peer's claim on a slot is worth: whatever the caller knows of it; 0 at first.
 * Counts when slots are given the next time. Unknown peer or swarm: no-op. */
void ppsp_peer_rank(struct ppsp *p, struct cv_now now, cv_handle swarm,
                    const struct cv_endpoint *endpoint, uint32_t rank);

/* ---- the engine contract ------------------------------------------------ */

/* `buf` is only read during the call. The result tells what became of the
 * datagram and needs no action: everything is counted in ppsp_counters. */
enum cv_err ppsp_on_datagram(struct ppsp *p, struct cv_now now, const struct cv_endpoint *from,
                             const uint8_t *buf, size_t len);
void ppsp_on_timeout(struct ppsp *p, struct cv_now now);
bool ppsp_poll_transmit(struct ppsp *p, struct cv_now now, struct cv_batch *batch);
cv_usec ppsp_next_timeout(const struct ppsp *p);

enum ppsp_event_type {
    PPSP_EVENT_CHUNKS_READY,    /* first..last are verified and in the store */
    PPSP_EVENT_SIZE_KNOWN,      /* octets is exact. err is CV_ERR_DIFFERS when
                                   the configured length was another */
    PPSP_EVENT_COMPLETE,        /* every chunk is verified and in the store */
    PPSP_EVENT_PEER_UP,         /* handshake complete */
    PPSP_EVENT_PEER_DOWN,       /* a peer is forgotten; err tells why: TIMEDOUT, CLOSED
                                   (it said goodbye), MALFORMED (nonsense), DIFFERS (not
                                    our swarm's metadata), AUTH (bad data), DENIED (it acknowledged what
                                    was never sent). AGAIN: it is not forgotten, but the two
                                    begin anew, as it called once more, or is called because it
                                    was silent: PEER_UP follows, or PEER_DOWN */
    PPSP_EVENT_ASKED,           /* with config.tell_asked: somebody called a swarm that is
                                    not open: `id`. Open it now, and the caller's next
                                    attempt, a moment later, is answered */
    PPSP_EVENT_CONTACTS_WANTED, /* with config.contacts: `endpoint` asks, at most once a
                                 minute: ppsp_peer_tell() */
    PPSP_EVENT_CONTACT,         /* `endpoint` says, when it was asked, whom else there is:
                                   `period`, and `id` of `id_len` octets. May be nonsense */
    PPSP_EVENT_STORE_ERROR,     /* fetching or serving stopped, err tells why; see store.h */
    PPSP_EVENT_LIVE_TUNED,      /* watching begins at chunk `first` */
    PPSP_EVENT_LIVE_DROPPED,    /* first..last will not come any more: on from the edge */
    PPSP_EVENT_LIVE_ENDED,      /* the broadcast has `last` chunks and no more */
};

struct ppsp_event {
    enum ppsp_event_type type;
    enum cv_err err;
    cv_handle swarm;
    uint64_t first, last;        /* CHUNKS_READY, LIVE_: below 2^48, so that times the chunk
                                    size they are octets of 64 bits */
    uint64_t edge;               /* CHUNKS_READY, LIVE_: chunks of the content so far */
    uint64_t octets;             /* SIZE_KNOWN */
    struct cv_endpoint endpoint; /* PEER_UP, PEER_DOWN, CONTACT, .._WANTED, ASKED (unproven) */
    uint8_t id[PPSP_ID_MAX];     /* ASKED, CONTACT */
    size_t id_len;
    uint32_t period; /* CONTACT */
};

/* Of an owner who does not drain them, SIZE_KNOWN, COMPLETE, STORE_ERROR, LIVE_TUNED
 * and LIVE_ENDED wait for ever, the others in a ring that loses what does not fit. */
bool ppsp_poll_event(struct ppsp *p, struct ppsp_event *ret);

/* ---- looking in --------------------------------------------------------- */

struct ppsp_stats {
    uint64_t chunks;      /* of the content; 0: not known yet */
    uint64_t chunks_have; /* verified and stored */
    uint64_t octets;      /* of the content; 0: not known exactly yet */
    uint32_t chunk_size;
    uint32_t peers;              /* with an open channel */
    uint32_t slots;              /* ppsp_swarm_slots() */
    uint64_t up, down;           /* octets of content sent, and received and verified */
    uint64_t up_rate, down_rate; /* the same in octets a second, over the last second */
    uint64_t wasted;             /* octets of content received in vain (duplicates, unverifiable) */
    bool complete, paused;       /* paused: the store refused a write */
};

/* CV_ERR_NOENT: unknown swarm. */
enum cv_err ppsp_stats(const struct ppsp *p, cv_handle swarm, struct ppsp_stats *ret);

/* All of chunks first..last are verified and stored. */
bool ppsp_has(const struct ppsp *p, cv_handle swarm, uint64_t first, uint64_t last);

/* The first missing chunk at or after `from`; the chunk count when there is
 * none, UINT64_MAX when the count is not known. */
uint64_t ppsp_first_missing(const struct ppsp *p, cv_handle swarm, uint64_t from);

/* The first verified chunk at or after `from`; UINT64_MAX when there is none. */
uint64_t ppsp_first_verified(const struct ppsp *p, cv_handle swarm, uint64_t from);

/* The first interval of chunks at or after `from` that were asked for, or came and are not
 * verified yet; false when there is none. */
bool ppsp_requested(const struct ppsp *p, cv_handle swarm, uint64_t from, uint64_t *ret_first,
                    uint64_t *ret_last);

enum ppsp_peer_state {
    PPSP_PEER_PERMITTED,   /* may call us */
    PPSP_PEER_HANDSHAKING, /* we called */
    PPSP_PEER_OPEN,
};

struct ppsp_peer_stats {
    struct cv_endpoint endpoint;
    enum ppsp_peer_state state;
    bool chokes_us;    /* it told us not to ask */
    bool choked;       /* we told it */
    uint64_t up, down; /* octets of content */
    uint64_t up_rate, down_rate;
    cv_usec rtt;           /* 0: not measured */
    uint64_t cwnd;         /* octets we may have in flight */
    cv_usec queuing_delay; /* LEDBAT's current estimate */
    uint64_t chunks_have;  /* that it said it has */
    uint32_t rank;         /* ppsp_peer_rank() */
    uint32_t requests;     /* chunks we asked it for and wait for */
    cv_usec asked_since;   /* for as much as it takes; CV_USEC_NEVER: it is not now, or there is
                              a limit of our own */
    uint32_t stalls;       /* times it did not serve */
};

/* Fills at most `cap` rows; returns how many there are. 0: unknown swarm. */
size_t ppsp_peers(const struct ppsp *p, cv_handle swarm, struct ppsp_peer_stats *ret, size_t cap);

/* X(name): one counter each, since creation. Every dropped input has one. */
#define PPSP_COUNTERS(X)                                                                           \
    X(datagrams_in)                                                                                \
    X(datagrams_out)                                                                               \
    X(keepalives_in)                                                                               \
    X(drop_short)             /* fewer than 4 octets */                                            \
    X(drop_channel)           /* no such channel */                                                \
    X(drop_endpoint)          /* channel exists, but for another endpoint */                       \
    X(drop_handshake_bad)     /* not a handshake to channel 0, or options malformed */             \
    X(drop_handshake_swarm)   /* swarm not open or not for this endpoint */                        \
    X(drop_handshake_differs) /* our swarm, other metadata or version */                           \
    X(drop_handshake_banned)  /* endpoint sent bad data before */                                  \
    X(drop_handshake_full)    /* no room for another peer */                                       \
    X(drop_handshake_again)   /* handshake inside an open channel */                               \
    X(drop_unproven)          /* message before the handshake was complete */                      \
    X(drop_message_bad)       /* malformed message; rest of datagram discarded */                  \
    X(drop_message_unknown)   /* unknown type; rest of datagram discarded */                       \
    X(drop_integrity)         /* hash not usable: not a node, known already, no room */            \
    X(drop_integrity_bad)     /* hash proven wrong */                                              \
    X(drop_munro)             /* signature not usable: hash missing, width, known already */       \
    X(drop_munro_old)         /* signed too long before the newest */                              \
    X(drop_munro_bad)         /* wrong signature: peer dropped */                                  \
    X(live_dropped)           /* chunks given up to catch up with the edge */                      \
    X(drop_data_unasked)      /* chunk not asked for */                                            \
    X(drop_data_duplicate)    /* chunk is there already */                                         \
    X(drop_data_unverifiable) /* hashes are missing */                                             \
    X(drop_data_bad)          /* wrong hash: peer dropped */                                       \
    X(drop_data_store)        /* store could not take it */                                        \
    X(drop_request_full)      /* queue of this peer is full */                                     \
    X(drop_request_choked)    /* peer is choked, or has everything */                              \
    X(drop_request_empty)     /* chunks we do not have or that do not exist */                     \
    X(drop_cancel_unknown)    /* cancel of what was not asked for */                               \
    X(drop_have_bad)          /* range outside the content, or no room to remember */              \
    X(drop_ack_unknown)       /* ack of what was not sent */                                       \
    X(drop_ack_false)         /* ack of a chunk that was withheld: taken for a loss */             \
    X(drop_choke)             /* stray UNCHOKE */                                                  \
    X(drop_pex)               /* peer addresses: not asked for, not usable, or asked too often */  \
    X(drop_pex_certificate)   /* a defective one: the rest of that answer is discarded */          \
    X(drop_contact)           /* a contact: not asked for, or not one */                           \
    X(requests_expired)       /* chunks asked for again */                                         \
    X(channels_anew)          /* a silent peer was called anew */                                  \
    X(peers_dropped_bad)      /* for bad data */                                                   \
    X(events_lost)            /* owner did not drain */

struct ppsp_counters {
#define X(name) uint64_t name;
    PPSP_COUNTERS(X)
#undef X
};

/* Valid until the engine is freed. */
const struct ppsp_counters *ppsp_counters(const struct ppsp *p);

#endif
