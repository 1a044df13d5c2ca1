/*
 * A node of the Mainline DHT: BEP 5 with BEP 32 (IPv6), 33 (scrape), 42 (node
 * ids), 43 (read-only), 44 (items) and 51 (samples). This is a state machine,
 * not a socket:
 *
 *     on_datagram(now, from, ...)   a datagram arrived; forged ones change counters
 *     on_timeout(now)               the deadline passed; early or repeated calls are harmless
 *     poll_transmit(now, batch)     take datagrams to send; until nothing was added
 *     poll_event(event)             what happened; until false
 *     next_timeout()                when to call on_timeout(), CV_USEC_NEVER if idle
 *
 * After any other call, drain poll_transmit() and poll_event(), then re-read
 * next_timeout(). Time never goes backwards. Not thread-safe; nothing blocks or
 * calls back.
 *
 * One engine serves one IPv4 and/or one IPv6 socket ("sides"): separate tables
 * and ids, one operation runs on both. A host with several addresses of a family
 * runs several engines (BEP 45). The caller sends each datagram from the socket
 * of its destination's family.
 */
#ifndef CULVERT_DHT_DHT_H
#define CULVERT_DHT_DHT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/batch.h"
#include "base/endpoint.h"
#include "base/err.h"
#include "base/rng.h"
#include "base/time.h"
#include "dht/nodeid.h"

/* Largest datagram ever sent. All but puts and answers that carry a stored
 * value stay within 1024 (BEP 32). A batch with less room drops (and counts)
 * what does not fit; 1232 is enough for everything culvert itself stores. */
#define DHT_DATAGRAM_MAX 1400

#define DHT_KEY       32
#define DHT_SIGNATURE 64
#define DHT_SALT_MAX  64
#define DHT_VALUE_MAX 1000 /* octets of the bencoded value (BEP 44) */

/* Whom a node speaks to, hands out and stores. Everybody else is ignored. */
enum dht_scope {
    DHT_SCOPE_PUBLIC,   /* globally routable unicast only */
    DHT_SCOPE_PRIVATE,  /* any unicast but loopback */
    DHT_SCOPE_LOOPBACK, /* 127/8 and ::1 only */
};

struct dht_config {
    enum dht_scope scope;
    bool ipv4, ipv6; /* sides to run; at least one */
    bool read_only;  /* BEP 43: answers nothing, enters nobody's table */

    /* Own id, both sides; all zero = drawn (and by BEP 42 once the external
     * address is known, in scope PUBLIC). */
    struct dht_id id;

    /* Own external address where the caller knows it (a public address it
     * listens on), family 0 otherwise. */
    struct cv_addr external4, external6;

    cv_usec bootstrap_timeout; /* until DHT_EVENT_NO_BOOTSTRAP; 0 = 8 s */
};

struct dht;

/* Copies *cfg; borrows *rng. Starts to bootstrap at the first call that carries
 * a time later than or equal to `now` once there is somebody to ask. NULL only
 * when out of memory. */
struct dht *dht_new(const struct dht_config *cfg, const struct cv_rng *rng, struct cv_now now);

/* NULL is allowed; always returns NULL. Operations are forgotten. */
struct dht *dht_free(struct dht *d);

/* --- engine ------------------------------------------------------------- */

/* Consumes one datagram. `buf` is only read during the call. A negative result
 * says why it was dropped (counted already); nothing needs to be done. */
enum cv_err dht_on_datagram(struct dht *d, struct cv_now now, const struct cv_addr *from,
                            const uint8_t *buf, size_t len);
void dht_on_timeout(struct dht *d, struct cv_now now);

/* Appends datagrams while the batch has room. */
void dht_poll_transmit(struct dht *d, struct cv_now now, struct cv_batch *batch);
cv_usec dht_next_timeout(const struct dht *d);

/* --- bootstrap ---------------------------------------------------------- */

/* Somebody to ask first; may be called at any time, at most 64 are kept. Never
 * enters the table by this alone. CV_ERR_DENIED: outside the scope;
 * CV_ERR_LIMIT. */
enum cv_err dht_bootstrap_add(struct dht *d, struct cv_now now, const struct cv_addr *addr);

/* --- operations --------------------------------------------------------- */

/*
 * Each start function gives a handle (never 0). Events carry it; the last one
 * of an operation is DHT_EVENT_DONE, after which the handle is stale. An
 * operation started before the node is READY waits for that (at most until
 * NO_BOOTSTRAP, when it ends with CV_ERR_UNREACHABLE).
 *
 * Common errors, handle untouched: CV_ERR_LIMIT (too many at once; try later),
 * CV_ERR_NOMEM, CV_ERR_INVAL (argument out of range).
 */
typedef uint64_t dht_op;

/* The nodes closest to `target`: DHT_EVENT_NODES, then DONE. */
enum cv_err dht_find_node(struct dht *d, struct cv_now now, const struct dht_id *target,
                          dht_op *ret);

/* Peers announced under `target`: DHT_EVENT_PEERS as they come (each address
 * once, at most DHT_PEERS_FOUND_MAX), then DONE. */
enum cv_err dht_find_peers(struct dht *d, struct cv_now now, const struct dht_id *target,
                           dht_op *ret);

/* The same, asking for BEP 33 filters: DONE carries swarm size estimates. */
enum cv_err dht_scrape(struct dht *d, struct cv_now now, const struct dht_id *target, dht_op *ret);

/* Announces this host under `target` at the nodes closest to it. `port` is
 * what peers shall use; with `implied_port` receivers take the datagram's
 * source port instead (port may then be 0, otherwise CV_ERR_INVAL). Also
 * reports the peers met on the way. Expires after 30 to 45 minutes; repeating
 * is the caller's business. */
enum cv_err dht_announce(struct dht *d, struct cv_now now, const struct dht_id *target,
                         uint16_t port, bool implied_port, dht_op *ret);

/* A BEP 44 item: immutable (mutable_item false: only v counts) or mutable. */
struct dht_item {
    bool mutable_item;
    uint8_t k[DHT_KEY];
    uint8_t sig[DHT_SIGNATURE];
    int64_t seq; /* >= 0 */
    uint8_t salt[DHT_SALT_MAX];
    uint8_t salt_len;
    uint16_t v_len;
    uint8_t v[DHT_VALUE_MAX]; /* bencoded */
};

/* Where an item lives: SHA-1 of v, or of k | salt. */
struct dht_id dht_item_target(const struct dht_item *item);
struct dht_id dht_key_target(const uint8_t k[DHT_KEY], const void *salt, size_t salt_len);

/* What the signature of a mutable item covers (no label in front):
 * ["4:salt" len ":" salt] "3:seqi" seq "e1:v" v. Octets written to `out`, at
 * most DHT_SIGNED_MAX, or CV_ERR_INVAL. */
#define DHT_SIGNED_MAX (DHT_VALUE_MAX + DHT_SALT_MAX + 48)
ssize_t dht_item_signed(const struct dht_item *item, uint8_t out[DHT_SIGNED_MAX]);

/* Well-formed (canonical v, sizes) and, when mutable, correctly signed:
 * CV_ERR_OK, CV_ERR_MALFORMED, CV_ERR_AUTH, CV_ERR_LIMIT (v or salt too big). */
enum cv_err dht_item_check(const struct dht_item *item);

/* Wraps plain octets as a bencoded string into item->v. CV_ERR_LIMIT when it
 * gets longer than DHT_VALUE_MAX (996 octets of plain text fit). */
enum cv_err dht_item_set_bytes(struct dht_item *item, const void *data, size_t len);
/* The octets of an item whose value is a string: pointer into item->v, or NULL. */
const uint8_t *dht_item_bytes(const struct dht_item *item, size_t *ret_len);

/* BEP 46: makes item->v say that peers are to be sought under `info_hash`. */
void dht_item_set_pointer(struct dht_item *item, const struct dht_id *info_hash);
/* Where an item points to; false when its value is no pointer. Keys besides "ih"
 * are ignored. The item must have passed dht_item_check(), as events' items have. */
bool dht_item_pointer(const struct dht_item *item, struct dht_id *ret);

/* Immutable item under `target`: at most one DHT_EVENT_ITEM, then DONE. */
enum cv_err dht_get_immutable(struct dht *d, struct cv_now now, const struct dht_id *target,
                              dht_op *ret);

/* Mutable item: DHT_EVENT_ITEM for the first valid one and for each with a
 * higher seq after it, then DONE. Items with seq <= above are not reported
 * (-1: any). Every reported item has been verified. */
enum cv_err dht_get_mutable(struct dht *d, struct cv_now now, const uint8_t k[DHT_KEY],
                            const void *salt, size_t salt_len, int64_t above, dht_op *ret);

/* Stores a complete item, signed by whoever; copies *item. `cas` may be NULL:
 * the seq it is meant to replace. Errors of dht_item_check() besides the common
 * ones. DONE says how many stored it and who refused why. */
enum cv_err dht_put(struct dht *d, struct cv_now now, const struct dht_item *item,
                    const int64_t *cas, dht_op *ret);

/* Is somebody there? DONE with DHT_EVENT_NODES before it when it answered,
 * else CV_ERR_TIMEDOUT. Does not wait for READY. */
enum cv_err dht_ping(struct dht *d, struct cv_now now, const struct cv_addr *addr, dht_op *ret);

/* find_node to one node: DHT_EVENT_NODES with itself first and then whom it
 * names (not checked in any way), then DONE; CV_ERR_TIMEDOUT. For crawlers. */
enum cv_err dht_ask(struct dht *d, struct cv_now now, const struct cv_addr *addr,
                    const struct dht_id *target, dht_op *ret);

/* BEP 51: keys that one node stores peers for: DHT_EVENT_SAMPLES, then DONE. */
enum cv_err dht_sample(struct dht *d, struct cv_now now, const struct cv_addr *addr,
                       const struct dht_id *target, dht_op *ret);

/*
 * Keeps what an announcement or a put stores alive: the operation is repeated,
 * announcements every 24 to 30 minutes, items every 45 to 60, sooner (a minute,
 * doubling) when nobody stored. The times are random, and at most
 * DHT_KEEP_AT_ONCE of all kept ones are under way, so that many that were
 * started together do not stay together. Each round ends with a DONE under the
 * same handle; dht_cancel() ends it. CV_ERR_INVAL: `op` is no such operation.
 */
enum cv_err dht_keep(struct dht *d, dht_op op);

/* Ends it without further events. Stale handles are ignored. */
void dht_cancel(struct dht *d, struct cv_now now, dht_op op);

/* --- events ------------------------------------------------------------- */

#define DHT_PEERS_FOUND_MAX 256 /* addresses one look-up reports */

struct dht_node {
    struct dht_id id;
    struct cv_addr addr;
};

enum dht_event_kind {
    DHT_EVENT_READY,            /* the first bootstrap is done; once */
    DHT_EVENT_NO_BOOTSTRAP,     /* nobody answered in time; once; attempts go on */
    DHT_EVENT_EXTERNAL_ADDRESS, /* others agree on our address, or on a new one */
    DHT_EVENT_NODES,
    DHT_EVENT_PEERS,
    DHT_EVENT_ITEM,
    DHT_EVENT_SAMPLES,
    DHT_EVENT_DONE,
};

struct dht_done {
    enum cv_err err;        /* OK: at least one node answered (for stores: stored, here included);
                               DENIED: all refused; UNREACHABLE: nobody to ask;
                               TIMEDOUT: nobody answered; NOENT: get without a result */
    unsigned queried;       /* nodes asked */
    unsigned answered;      /* of these, answered */
    unsigned stored;        /* nodes that confirmed storing */
    unsigned refused;       /* nodes that answered a store with an error; of these: */
    unsigned refused_token; /* 203: bad token, or what they take for a malformed query */
    unsigned refused_value; /* 205: the value is too big for them */
    unsigned refused_sig;   /* 206 */
    unsigned refused_salt;  /* 207: the salt is too big for them */
    unsigned refused_cas;   /* 301: re-read, try again */
    unsigned refused_seq;   /* 302: something newer is stored */
    unsigned refused_other; /* any other code: 201, 202 (full), 204 (does not know puts) ... */
    unsigned steps;         /* from us to the farthest-fetched of the closest nodes */
    unsigned scrape_seeds;  /* dht_scrape(): estimates, 0 when unknown */
    unsigned scrape_peers;
};

/* Pointers are valid until the next call of any dht_ function on this engine. */
struct dht_event {
    enum dht_event_kind kind;
    dht_op op; /* 0 for READY, NO_BOOTSTRAP, EXTERNAL_ADDRESS */
    union {
        unsigned tried;          /* NO_BOOTSTRAP: addresses asked; 0 = there was none */
        struct cv_addr external; /* port: as seen from outside */
        struct {
            const struct dht_node *v;
            size_t n;
        } nodes;
        struct {
            const struct cv_addr *v;
            size_t n;
        } peers;
        const struct dht_item *item;
        struct {
            const struct dht_id *v;
            size_t n;
            uint32_t total;      /* keys that node holds */
            uint32_t interval_s; /* ask again after */
        } samples;
        struct dht_done done;
    };
};

/* true and *ret filled, or false when nothing happened since. */
bool dht_poll_event(struct dht *d, struct dht_event *ret);

/* --- persistence -------------------------------------------------------- */

/* Own ids, external addresses and the nodes of the table as one blob with a
 * checksum. Returns the length needed; writes only when `cap` suffices. Save it
 * when stopping and every few minutes. */
#define DHT_SAVE_MAX 65536
size_t dht_save(const struct dht *d, uint8_t *buf, size_t cap);

/* Takes over a saved blob; directly after dht_new(). Saved nodes are asked
 * before they enter the table. CV_ERR_CORRUPT or CV_ERR_VERSION: nothing
 * changed, go on without. */
enum cv_err dht_restore(struct dht *d, struct cv_now now, const uint8_t *buf, size_t len);

/* --- status ------------------------------------------------------------- */

struct dht_side_status {
    bool enabled;
    struct dht_id id;
    struct cv_addr external; /* family 0 = unknown */
    bool same_port;          /* all who see it at that address see the same port */
    unsigned nodes_good, nodes_total, buckets;
};

struct dht_status {
    bool ready;
    struct dht_side_status ipv4, ipv6;
    unsigned operations;           /* running */
    unsigned hashes, peers, items; /* stored for others */
    uint64_t datagrams_in, datagrams_out, octets_in, octets_out;
    uint64_t queries_in, answers_in, errors_in;
    uint64_t dropped_malformed, dropped_scope, dropped_rate, dropped_unasked, dropped_room;
    uint64_t timeouts;
};

void dht_status(const struct dht *d, struct dht_status *ret);

/* Table entries that are not bad, for tools; returns how many were written. */
struct dht_table_row {
    struct dht_node node;
    bool good;
    unsigned bucket; /* leading bits shared with the own id */
    unsigned rtt_ms; /* 0 = unknown */
    cv_usec replied; /* time of the last answer */
};
size_t dht_table_rows(const struct dht *d, struct dht_table_row *rows, size_t cap);

#endif
