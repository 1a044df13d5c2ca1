/*
 * The whole peer, still without I/O: owns one engine of each kind and moves
 * plain values between them. Runs unchanged under libevent (io/host.h), in the
 * simulator and under the fuzzer.
 *
 *     node_on_datagram(now, socket, from, ...)  a datagram arrived
 *     node_on_timeout(now)                      the deadline passed
 *     node_poll_transmit(now, socket, batch)    datagrams to send; until empty
 *     node_poll_event(event)                    what happened; until false
 *     node_next_timeout()                       when to come back
 *
 * After any call that takes `now`, drain poll_event and poll_transmit of every
 * socket, then re-read next_timeout. `now.mono` never goes backwards. Not
 * thread-safe; never blocks, never calls back.
 *
 * Privacy is a property of this module: a hidden swarm's datagrams are given to
 * circuits only (asserted), a content key is never given to the node's own DHT
 * socket (asserted; only direct swarms announce), and a swarm is hidden, direct
 * or open for good.
 */
#ifndef CULVERT_NODE_NODE_H
#define CULVERT_NODE_NODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/batch.h"
#include "base/endpoint.h"
#include "base/err.h"
#include "base/rng.h"
#include "base/time.h"
#include "crypto/keys.h"
#include "node/exitfilter.h"
#include "node/limits.h"
#include "node/recordings.h"
#include "node/uri.h"
#include "ppsp/ppsp.h"
#include "ppsp/store.h"
#include "reputation/store.h"

struct node;

/* The UDP sockets of a node. MAIN: the DHT and, on a relay, links from others.
 * OWN: our own circuits, on another port, so that what we do is not seen on the
 * relay's port. DIRECT: plain PPSPP, only with direct swarms. EXIT and those behind it,
 * NODE_EXITS in all: what a swarm exit says to peers of direct swarms for others. */
enum node_socket {
    NODE_SOCKET_MAIN,
    NODE_SOCKET_OWN,
    NODE_SOCKET_DIRECT,
    NODE_SOCKET_EXIT,
    NODE_SOCKETS = NODE_SOCKET_EXIT + NODE_EXITS
};

/* What must be kept across restarts besides identity, ledger and content:
 * opaque octets, given back in node_config.saved. */
enum node_saved {
    NODE_SAVED_DHT,        /* routing table, id, external address */
    NODE_SAVED_GUARDS,     /* guards and second-layer guards: secret (0600) */
    NODE_SAVED_UPSTREAM,   /* what our line was seen to carry */
    NODE_SAVED_DESCRIPTOR, /* the day's descriptor with its onion secrets (0600) */
    NODE_SAVED_OWN,        /* our own account: private (0600) */
    NODE_SAVED_KINDS
};

struct node_blob {
    const uint8_t *data; /* NULL: nothing saved */
    size_t len;
};

struct node_config {
    uint8_t network_id[8];
    bool loopback;        /* MAIN listens on loopback: speak to loopback only */
    bool private_network; /* [network] private = yes: other address classes too */
    uint8_t main_family;  /* 4 or 6: what MAIN is bound to; 0: both */
    uint8_t own_family;   /* the same of OWN */
    bool elsewhere;       /* OWN has each address of MAIN: relays are tried from there (REACH) */
    bool direct;          /* there is a socket DIRECT */
    uint16_t direct_port; /* what it is bound to; 0: complete swarms are not announced */

    struct cv_ed25519_secret identity_secret;

    bool relay; /* carry others' circuits */
    bool exit;  /* and PPSPP of theirs to peers of direct swarms */
    /* Public addresses of MAIN, one of each of its families, with the same port; relays only. */
    struct cv_addr relay_addrs[2];
    size_t relay_addrs_count;
    /* Other addresses of this machine, for an exit: the first NODE_EXIT_OWN_MAX - 2 of their
     * networks are never called, nor are those of relay_addrs. Read while the node is made. */
    const struct cv_addr *machine_addrs;
    size_t machine_addrs_count;
    uint32_t relay_bandwidth_kib; /* advertised, KiB/s; 0 = no statement */
    uint64_t relay_octets_s;      /* all that MAIN sends for others, a second; 0 = no limit */
    uint8_t relay_workers;        /* engines that carry others together; 0 or 1: one (below) */

    struct cv_addr bootstrap[16]; /* DHT contacts */
    size_t bootstrap_count;

    uint32_t epoch_seconds;               /* ledger release period */
    uint64_t epoch_minimum;               /* octets below which an epoch releases nothing */
    const struct rep_store *ledger_store; /* borrowed; NULL: no ledger */
    bool own_elsewhere;  /* relay: own circuits leave from an address that its descriptor does not
                          * name. Then it asks for no tokens: to its guards, who see both, that
                          * would say whose the other address is. */
    bool aes;            /* cv_aes_is_fast(): AES with first hops that have it */
    bool gate_off;       /* every link in one class (comparison runs) */
    bool no_share;       /* viewers do not become seeders */
    bool spare_upstream; /* swarms without a limit of their own leave a part of our line free, once
                          * it was seen full (ppsp/upstream.h); not with `loopback` */
    bool ledbat_plus;    /* ppsp_config.ledbat_plus */
    bool quick_start;    /* a fresh network: publish and confirm without waiting */

    struct node_blob saved[NODE_SAVED_KINDS]; /* read during node_new only */
};

/* Network id of a network's name: BLAKE2b-64. */
void node_network_id(const char *name, uint8_t ret[8]);

/* Copies *cfg; borrows rng and the ledger store. CV_ERR_NOMEM, CV_ERR_DENIED (a
 * ledger epoch or minimum below its default on the network "culvert"), or the
 * ledger store's error. A damaged saved blob is not used: what it held is
 * learned anew. */
enum cv_err node_new(const struct node_config *cfg, const struct cv_rng *rng, struct cv_now now,
                     struct node **ret);
struct node *node_free(struct node *n);

/* Will be given to node_on_datagram() after NODE_EXPECT - 1 others, or not: see tun_expect(). */
enum { NODE_EXPECT = 2 };
void node_expect(struct node *n, enum node_socket socket, const uint8_t *buf, size_t len);
void node_on_datagram(struct node *n, struct cv_now now, enum node_socket socket,
                      const struct cv_addr *from, const uint8_t *buf, size_t len);
void node_on_timeout(struct node *n, struct cv_now now);
void node_poll_transmit(struct node *n, struct cv_now now, enum node_socket socket,
                        struct cv_batch *batch);
cv_usec node_next_timeout(const struct node *n);

/* What a SAVE event asked for is on disk and synced. For DESCRIPTOR nothing
 * signed is shown to anybody before. */
void node_saved(struct node *n, struct cv_now now, enum node_saved which);
/* Before node_new: can this be used? Guards, who are not drawn anew without a word, and our own
 * account, which begins anew, with a row that says so (what else was saved is learned anew when
 * it is damaged). VERSION: another version of culvert wrote it. CORRUPT. */
enum cv_err node_saved_check(enum node_saved which, const struct node_blob *blob);

/* After node_new: what was saved is damaged and is learned anew; of DESCRIPTOR: this relay signs
 * nothing for the days that may have been in it, and is silent until they are over. */
bool node_saved_is_lost(const struct node *n, enum node_saved which);

/* ---- several workers (tunnel/worker.h) ---- */

/* The node's own relay engine is worker 0 of cfg.relay_workers. The caller makes the others,
 * `worker` 1 and up, after node_new() and before anything is called; owns them, gives each
 * the datagrams of a socket of its own on MAIN's port, and frees them (tun_free()). `rng` is
 * borrowed for their lives. NULL: out of memory. */
struct tunnel *node_worker_new(const struct node *n, struct cv_now now, unsigned worker,
                               const struct cv_rng *rng);
/* What the node tells one of them; the caller's to carry. After every call into the node,
 * with its events. NULL: nothing. */
struct tun_message *node_poll_message(struct node *n);
/* ... and what of it nobody can carry; takes it over. */
void node_on_lost(struct node *n, struct tun_message *m);
/* What one of them tells the node, which takes it over. */
void node_on_message(struct node *n, struct cv_now now, struct tun_message *m);

/* Before an orderly end: SAVE events for what changes all the time follow. */
void node_save(struct node *n);

/* A relay that is about to end, or has carried what it may: it takes on no circuit,
 * announces itself no more, and ends circuits on which nothing goes on; and back. */
void node_drain(struct node *n, struct cv_now now, bool on);
/* Ends all circuits of others: some at once, the others while the node goes on, so that their
 * owners can be told. */
void node_drop_circuits(struct node *n, struct cv_now now);
/* How long that takes, about, with so many of them and engines that carry. 0: all end at once. */
cv_usec node_drop_takes(uint32_t circuits, uint32_t workers);

/* ---- swarms ---- */

/* How a swarm reaches its peers. OPEN: a relay shares it under its own name and
 * everybody comes to it by a circuit that ends there. Its viewers stay unknown
 * to it; that it has the content is no secret, and it learns what is asked for.
 * EXIT: a direct swarm, watched through a swarm exit; its peers see the exit's address,
 * the exit sees the swarm and not who watches. */
enum node_swarm_mode {
    NODE_SWARM_HIDDEN,
    NODE_SWARM_DIRECT,
    NODE_SWARM_OPEN,
    NODE_SWARM_EXIT,
    NODE_SWARM_MODES
};

/* What it takes to open a swarm; the URI's content plus where the octets live. */
struct node_swarm_config {
    struct node_uri uri;                /* copied */
    const struct ppsp_store_ops *store; /* borrowed until node_swarm_close */
    void *store_ctx;
    enum node_swarm_mode mode;
    uint8_t at[CV_KEY]; /* OPEN: the relay that shares it; not read when complete */
    bool complete;      /* everything is in the store: we share it */
    bool fetch_all;     /* get: fetch without being asked for ranges */
    bool no_share;      /* do not become a seeder of it */
    bool unprotected;   /* DIRECT only: integrity method 0 is meant (ppsp.h) */
    /* DIRECT only, where uri.authority names one: its private key, if we are it (outlives
     * the swarm), and what it says of us, if anything (read during the call). */
    const struct cv_dnssec_secret *authority_key;
    const uint8_t *certificate;
    size_t certificate_len;
    /* Octets a second. 0: with all others that say so, what node_config.spare_upstream leaves
     * of our line; the source of a live swarm, which cannot wait, and a constant rate have no
     * limit then. PPSP_UNLIMITED: none. */
    uint64_t upload_limit;
    uint64_t download_limit; /* octets of content a second; 0: none */
    /* HIDDEN only: 2, 4, 8 or 16 Mbit/s that its circuits carry from the first to the last
     * moment and 5 to 20 minutes longer, whatever is watched; 0: none (tunnel/hidden.h). */
    uint8_t constant_rate;
    /* A live swarm (uri.kind): window, latency, and of a source, which is `complete`
     * from the first moment, the rest. Not OPEN. */
    struct ppsp_live_config live;
};

/* What a viewer of a live swarm waits for, before it skips what is missing. */
#define NODE_LIVE_LATENCY CV_SEC(4)

/* CV_ERR_EXIST when the swarm is open (the modes exclude each other for good),
 * CV_ERR_DIFFERS when the URI belongs to another network, CV_ERR_INVAL when the
 * mode is not possible here (DIRECT without its socket, OPEN and complete on
 * what is no relay, OPEN and live, EXIT and complete, no integrity protection but not meant so, a
 * constant rate that does not exist or not HIDDEN),
 * CV_ERR_LIMIT, CV_ERR_NOMEM, or the store's error. */
enum cv_err node_swarm_open(struct node *n, struct cv_now now, const struct node_swarm_config *cfg,
                            cv_handle *ret_swarm);
void node_swarm_close(struct node *n, struct cv_now now, cv_handle swarm);

/* Direct swarms, also through an exit: a peer given by hand. */
enum cv_err node_swarm_peer(struct node *n, struct cv_now now, cv_handle swarm,
                            const struct cv_addr *addr);

/* The source of a live swarm: as ppsp_inject(), ppsp_inject_end(),
 * ppsp_inject_next() and ppsp_live_root(). */
enum cv_err node_inject(struct node *n, struct cv_now now, cv_handle swarm, const uint8_t *chunk,
                        size_t len);
enum cv_err node_inject_end(struct node *n, struct cv_now now, cv_handle swarm);
uint64_t node_inject_next(const struct node *n, cv_handle swarm);
bool node_live_root(const struct node *n, cv_handle swarm, uint8_t ret[CV_SHA_MAX]);

/*
 * Recordings of a channel (recordings.h). While this swarm is open its channel's pointer
 * says `recordings`, which node_recordings_write() made; again for others. The swarm is the
 * channel's own, of its source, or that of a recording. INVAL: `channel` is none, did not
 * sign that, or this node watches it; NOENT, NOMEM.
 */
enum cv_err node_point(struct node *n, struct cv_now now, cv_handle swarm,
                       const struct node_uri *channel,
                       const uint8_t recordings[NODE_RECORDINGS_OCTETS]);
/* It stands in the DHT. */
bool node_pointed(const struct node *n, cv_handle swarm);

/* Of a channel that we watch, what its pointer said last; NULL: nothing was found yet.
 * Event RECORDINGS says that it changed. Of a swarm along with which we write one, what we
 * write. Until the next call into the node. */
const struct node_recordings *node_recordings(const struct node *n, cv_handle swarm);
/* Whose they are, and whether it is us who writes them; NULL: of no channel. Likewise. */
const struct node_uri *node_recordings_of(const struct node *n, cv_handle swarm, bool *ret_writes);

/* A viewer of a live swarm: what is kept of it lies in octets [first, end), not
 * all of it verified. False: nothing came yet, or not live. */
bool node_live_span(const struct node *n, cv_handle swarm, uint64_t *ret_first, uint64_t *ret_end);

/* Octets first..last (inclusive) are wanted from `now` on at `rate` octets a
 * second (0: all at once). *ret_want names the wish; overlapping wishes share
 * fetches. Drop it with node_unwant as soon as nobody waits any more. */
enum cv_err node_want(struct node *n, struct cv_now now, cv_handle swarm, uint64_t first,
                      uint64_t last, uint64_t rate, uint64_t *ret_want);
void node_unwant(struct node *n, struct cv_now now, cv_handle swarm, uint64_t want);

/* A reader of it waits for octets that are not there yet: who watches a hidden swarm from few
 * seeders looks for others soon. Cheap; may be said as often as it is so. */
void node_starves(struct node *n, struct cv_now now, cv_handle swarm);

/* The store has room, or is ready, again after a STORE_ERROR. */
void node_swarm_ready(struct node *n, struct cv_now now, cv_handle swarm);

/* How many octets from `offset` on are verified and can be read now. */
uint64_t node_available(struct node *n, cv_handle swarm, uint64_t offset);

/* The first verified part at or behind `offset`, in octets, both inclusive;
 * false when there is none. */
bool node_range(struct node *n, cv_handle swarm, uint64_t offset, uint64_t *ret_first,
                uint64_t *ret_last);

/* Likewise the first part that was asked for, or is being checked, and is not verified. */
bool node_requested(struct node *n, cv_handle swarm, uint64_t offset, uint64_t *ret_first,
                    uint64_t *ret_last);

/* Reads verified octets. The number read (>= 1), CV_ERR_AGAIN when the octet at
 * `offset` is not verified yet, or a store error. */
ssize_t node_read(struct node *n, cv_handle swarm, uint64_t offset, uint8_t *buf, size_t len);

/* ---- what happened ---- */

enum node_event_kind {
    NODE_EVENT_DHT_READY,
    NODE_EVENT_NO_BOOTSTRAP,   /* nobody answered; u.count were tried */
    NODE_EVENT_RELAY_READY,    /* relay: descriptor made and announced */
    NODE_EVENT_CLIENT_READY,   /* guards chosen, a circuit can be built */
    NODE_EVENT_TOO_FEW_RELAYS, /* u.count are missing */
    NODE_EVENT_CLOCK_OFF,      /* u.seconds: our clock against the relays' median; 0: they
                                * agree again */
    NODE_EVENT_SHARED,         /* hidden share: contacts are published */
    NODE_EVENT_NOBODY,         /* nobody who shares it answered; tried again */
    NODE_EVENT_NO_EXIT,        /* no relay that we know is a swarm exit; tried again */
    NODE_EVENT_PEER_UP,        /* u.peer */
    NODE_EVENT_PEER_DOWN,      /* u.peer */
    NODE_EVENT_CHUNKS_READY,   /* u.range, in octets */
    NODE_EVENT_COMPLETE,
    NODE_EVENT_LENGTH_DIFFERS, /* u.count octets it is; the link's l= is wrong */
    NODE_EVENT_LEDGER_FAILED,  /* u.err: nothing more is signed or kept until a restart */
    NODE_EVENT_STORE_ERROR,    /* u.err: FULL pauses, fetching resumes when there is room */
    NODE_EVENT_ASKED,          /* u.asked: a direct peer calls a swarm that is not open; open it
                                  now and it is answered. May be made up, may come again */
    NODE_EVENT_LIVE_TUNED,     /* watching begins at octet u.range.first */
    NODE_EVENT_LIVE_DROPPED,   /* u.range, in octets, will not come any more */
    NODE_EVENT_LIVE_ENDED,     /* the broadcast has u.count octets and no more */
    NODE_EVENT_RECORDINGS,     /* of a channel that we watch: node_recordings() */
    NODE_EVENT_SAVE, /* u.save: write it down (fsync before anything else for DESCRIPTOR) */
};

struct node_event {
    enum node_event_kind kind;
    cv_handle swarm; /* of swarm events */
    union {
        uint64_t count;
        int64_t seconds;
        enum cv_err err;
        struct {
            uint8_t swarm_id[NODE_URI_SWARM_ID_MAX];
            size_t len;
        } asked;
        struct {
            uint64_t first, last;
        } range;
        struct {
            struct cv_endpoint endpoint;
        } peer;
        struct {
            enum node_saved which;
            const uint8_t *data; /* valid until the next call into the node */
            size_t len;
        } save;
    } u;
};

bool node_poll_event(struct node *n, struct node_event *ret);

/* ---- what there is to see (status, peers, path) ---- */

/* A relay that our own circuits' datagrams go to, and so one that knows our
 * address: a guard, or a contact of the beginning. */
struct node_first_hop {
    uint8_t identity[CV_KEY];
    struct cv_addr addr;
    bool up; /* false: the link is down, but was there earlier in this run */
};
/* i-th; false when there are no more. */
bool node_first_hop(const struct node *n, size_t i, struct node_first_hop *ret);

struct node_status {
    uint32_t dht_good, dht_nodes;
    uint32_t relays_known;
    uint32_t guards_poor;    /* first hops that let less through than the others: soon replaced */
    struct {                 /* relays, for each address; family 0: none */
        struct cv_addr addr; /* other relays that had us tried there from outside, and it worked; */
        uint32_t by, not_by; /* the same, and it did not: they tell nobody of us */
    } reach[2];
    uint32_t relays_missing; /* short of what every kind of path needs */
    uint32_t guards;         /* with a link */
    uint32_t circuits, hops_carried, links;
    bool draining;
    uint32_t workers;       /* engines that carry; 0: we do not relay */
    uint64_t cells_relayed; /* RELAY cells passed on for others */
    uint64_t dropped;       /* datagrams that were nobody's */
    uint64_t circuit_full;  /* messages of swarms that found their circuit full: lost */
    uint64_t paths_refused; /* ours, that broke a rule of paths: a fault in us, nothing was built */
    uint64_t liars;         /* relays that signed two descriptors for one day: proofs seen */
    uint64_t ledger_pending, ledger_given, ledger_taken;
    uint32_t ledger_rows;
    struct cv_addr external; /* how DHT nodes see MAIN; family 0: not known */
    bool external_same_port; /* all of them see one port: no NAT, or one that keeps it */
    /* Octets of our own circuits: in all, as far as it is not forgotten, and the midnight of the
     * day since when we stand so, 0: not known; of a relay since the start. */
    uint64_t own_given, own_taken;
    int64_t own_since;
    /* Octets a second that our line was seen to carry, and that swarms without a limit of
     * their own share of it; 0: it was never seen full, nothing is limited. */
    uint64_t upstream, upstream_limit;
    bool upstream_lifted; /* to see whether it carries more now */
    /* Where we stand with a guard that counts as we do. A relay's own links are
     * nameless: NEW, or TOKEN while an hour runs. */
    enum node_standing {
        NODE_STANDS_TOKEN,
        NODE_STANDS_GIVER,
        NODE_STANDS_NEW,
        NODE_STANDS_DEBT
    } stands;
    uint32_t tokens; /* of priority, left */
    /* No relay: `stands` is what our first hops' accounts of us come to. */
    bool own_account;
    /* OK; of a relay whose ledger signs and keeps nothing more: why. DIFFERS: the folder is an
     * old copy of what its key signed elsewhere. */
    enum cv_err ledger_failed;
    /* Constant rates of own circuits: how many, Mbit/s of all in each direction, how many
     * run on after the end of what they were for, and for how many seconds more. */
    uint32_t rate_circuits, rate_mbit, rate_running_on, rate_seconds;
};
void node_status(const struct node *n, struct node_status *ret);

/* Why the class of our own account changed: the i-th row, the newest first; false when there
 * are no more, and of a relay, whose rows are its ledger's. */
bool node_own_row(const struct node *n, size_t i, struct rep_why *ret);

/* What a swarm exit let through and what not; NULL: we are none. */
const struct exit_counters *node_exit_counters(const struct node *n);

/* What the peer protocol counted for all swarms of a kind: why datagrams were dropped, and
 * who was silent. NULL: there is no engine for that kind. */
const struct ppsp_counters *node_ppsp_counters(const struct node *n, enum node_swarm_mode mode);

/* Work stamps of a hidden swarm (tunnel/stamp.h), efforts in bits. */
struct node_stamps {
    uint32_t asked;    /* of whoever wants to visit us, now; 0: nothing */
    uint32_t came;     /* introductions, */
    uint32_t refused;  /* so many of them by a limit, */
    uint32_t below;    /* of these because they showed too little work */
    uint32_t given;    /* introductions of ours that we worked for, */
    uint32_t given_of; /* the last of them so much */
};

struct node_swarm_status {
    cv_handle swarm;
    struct node_uri uri;
    enum node_swarm_mode mode;
    bool sharing;
    uint64_t have, length; /* octets verified; of a broadcast UINT64_MAX until it ends */
    uint64_t received, sent;
    uint64_t rate_down, rate_up; /* octets a second */
    uint32_t peers;
    uint8_t constant_rate; /* Mbit/s, 0: none */
    uint32_t rate_refused; /* relays that would not keep it */
    struct node_stamps stamps;
};
/* i-th swarm; false when there are no more. */
bool node_swarm_status(const struct node *n, size_t i, struct node_swarm_status *ret);

enum { NODE_PATH_MAX = 8, NODE_PSEUDONYM = 8 };

struct node_peer_status {
    struct cv_endpoint endpoint;
    uint64_t received, sent, rate_down, rate_up;
    cv_usec rtt;
    uint64_t have;         /* chunks the peer has announced */
    uint32_t rank;         /* of its claim to be served, by the ledger; 0: nothing is known of it */
    bool choked;           /* it has to wait until others were served */
    bool hidden;           /* reached by a circuit, not at an address */
    uint8_t constant_rate; /* Mbit/s that the circuit to it keeps; 0: none */
    /* Our hops, first to last; the first four octets of each identity in hex. Hidden without
     * any: a visitor of what we share under our relay's name, whose circuit ends here. */
    uint8_t hops;
    char path[NODE_PATH_MAX][NODE_PSEUDONYM + 1];
};
/* i-th peer of a swarm; false when there are no more. */
bool node_peer_status(const struct node *n, cv_handle swarm, size_t i,
                      struct node_peer_status *ret);

#endif
