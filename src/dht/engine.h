/*
 * Inside of the engine: what dht.h keeps opaque, and what its parts call from
 * each other. rpc.c sends queries and knows what is unanswered; serve.c answers
 * queries of others; op.c runs operations; upkeep.c bootstraps and keeps the
 * tables alive; blob.c saves and restores; dht.c is the outer face.
 */
#ifndef CULVERT_DHT_ENGINE_H
#define CULVERT_DHT_ENGINE_H

#include <sys/queue.h>

#include "base/heap.h"
#include "base/tokenbucket.h"
#include "dht/dht.h"
#include "dht/itemstore.h"
#include "dht/krpc.h"
#include "dht/limits.h"
#include "dht/lookup.h"
#include "dht/outbox.h"
#include "dht/peerstore.h"
#include "dht/ratelimit.h"
#include "dht/table.h"
#include "dht/token.h"

/* --- queries of ours ---------------------------------------------------- */

enum dht_query_kind {
    DHT_QUERY_CHECK,  /* is somebody there under this id? */
    DHT_QUERY_LOOKUP, /* a step of a look-up */
    DHT_QUERY_SWEEP,  /* of one for a neighbouring target */
    DHT_QUERY_STORE,  /* announce_peer or put */
    DHT_QUERY_SINGLE, /* dht_ping(), dht_sample() */
};

/* Lives from sending until the answer or DHT_QUERY_LIVES. Late answers count. */
struct dht_query {
    struct cv_timer timer;
    uint32_t tid;
    bool in_use;
    bool given_up; /* the short timeout passed */
    uint8_t side, kind, tries_left;
    bool has_id; /* `id` is expected */
    struct dht_id id;
    struct cv_addr addr;
    dht_op op; /* 0 for CHECK */
    cv_usec sent;
};

/* --- operations --------------------------------------------------------- */

enum dht_op_kind {
    DHT_OP_FIND_NODE,
    DHT_OP_FIND_PEERS,
    DHT_OP_SCRAPE,
    DHT_OP_ANNOUNCE,
    DHT_OP_GET,
    DHT_OP_PUT,
    DHT_OP_PING,
    DHT_OP_ASK,
    DHT_OP_SAMPLE,
    DHT_OP_HOME,    /* upkeep's: around the own id */
    DHT_OP_REFRESH, /* upkeep's: a bucket without news */
};

enum dht_op_phase {
    DHT_PHASE_WAITING, /* for READY */
    DHT_PHASE_LOOKUP,
    DHT_PHASE_STORE,
    DHT_PHASE_SINGLE,
    DHT_PHASE_RESTING, /* kept: until the next round */
    DHT_PHASE_OVER,    /* only events are left to be taken */
};

struct dht_operation {
    dht_op handle;
    uint8_t kind, phase;
    bool internal; /* upkeep's own: no events */
    bool queued;   /* in dht.dirty */
    uint8_t side;  /* internal and single ones: the side it is about */
    struct dht_id target;
    struct cv_addr single;
    struct dht_lookup *lookup[2]; /* NULL: side not used */
    struct dht_lookup *sweep[2];  /* under way; NULL: none */
    uint8_t sweeps[2];            /* begun */
    unsigned stores_waiting;

    bool kept; /* begins again at `again` */
    cv_usec again;
    unsigned failures; /* rounds in a row that nobody stored */

    uint16_t port; /* announce */
    bool implied_port;
    struct dht_item *item; /* put: what to store; get: k and salt, then the best found */
    bool has_item;         /* get: found */
    bool has_cas;
    int64_t cas;
    int64_t above; /* get: only higher seqs count */

    /* Results not yet taken */
    struct cv_addr *peers;
    unsigned peer_count, peer_cap, peers_taken;
    struct dht_node *nodes;
    unsigned node_count;
    struct dht_id *samples;
    unsigned sample_count;
    uint32_t sample_total, sample_interval;
    bool nodes_due, item_due, samples_due, done_due;
    uint8_t (*filters)[DHT_FILTER]; /* scrape: seeds, peers; unions */
    struct dht_done done;

    TAILQ_ENTRY(dht_operation) dirty;
};

/* --- one address family ------------------------------------------------- */

struct dht_vote {
    struct cv_addr voter, claimed; /* voter: its /16 or /32 */
};

struct dht_side {
    bool enabled;
    uint8_t family;
    struct dht_table table; /* holds the own id */
    struct cv_addr external;
    struct dht_vote votes[16];
    unsigned vote_count, vote_next;

    cv_usec rtt_mean, rtt_dev; /* 0: nothing measured */
    double sizes[DHT_SIZES];   /* of the network, as the last look-ups saw it; a ring */
    unsigned size_count, size_next;
    double home_size; /* as the last look-up around the own id saw it */

    /* Bootstrap and home look-ups */
    dht_op self_op; /* running, 0 = none */
    cv_usec self_at, self_gap;
    unsigned rounds;   /* that somebody answered */
    bool answered_any; /* ever */
    dht_op refresh_op;
    cv_usec refresh_at; /* the next bucket that was never looked up */

    struct dht_node *saved; /* restored, to be asked */
    unsigned saved_count, saved_next, saved_rounds;
    cv_usec saved_at;
};

struct dht {
    struct dht_config cfg;
    const struct cv_rng *rng;
    cv_usec now;              /* of the last call, to see that time does not go backwards */
    struct dht_side sides[2]; /* IPv4, IPv6 */

    struct dht_tokens tokens;
    struct dht_peerstore peers;
    struct dht_itemstore items;
    struct dht_ratelimit limiter;
    struct dht_outbox outbox;

    struct cv_heap timers; /* of queries */
    struct dht_query **queries;
    uint16_t *free_slots;
    unsigned query_cap, free_count;

    struct dht_operation *ops[DHT_OPS];
    unsigned op_count;
    uint64_t op_next; /* generation */
    TAILQ_HEAD(dht_dirty_list, dht_operation) dirty;
    cv_usec keep_at; /* the next round of a kept one may begin */

    struct cv_addr contacts[DHT_BOOTSTRAP_CONTACTS];
    unsigned contact_count, contact_next;
    cv_usec no_bootstrap_at;
    bool ready, ready_due, gave_up, gave_up_due, external_due[2];

    cv_usec upkeep_at, expire_at;
    struct cv_tokenbucket pings; /* of overheard queriers */
    struct {
        struct cv_addr addr;
        cv_usec at;
    } overheard[64]; /* pinged lately */
    unsigned overheard_next;
    struct {
        struct cv_addr addr;
        cv_usec at;
        unsigned times;
    } liars[DHT_LIARS];
    unsigned liar_next;

    struct dht_status count; /* only the counters */
};

static inline struct dht_side *dht_side_of(struct dht *d, uint8_t family) {
    return &d->sides[family == 6];
}

/* --- dht.c -------------------------------------------------------------- */

/* Speaks the node to this address at all? */
bool dht_in_scope(const struct dht *d, const struct cv_addr *addr);
/* Writes and queues a message. */
void dht_send(struct dht *d, const struct cv_addr *to, const struct dht_msg *m);
/* v of our messages. */
struct dht_span dht_client(void);

/* --- rpc.c -------------------------------------------------------------- */

/* Sends a query (its message depends on kind and operation). false: too many
 * are unanswered. */
bool dht_query_send(struct dht *d, cv_usec now, const struct dht_query *like);
/* Answers and errors: finds the query they belong to and what follows. */
enum cv_err dht_query_answered(struct dht *d, cv_usec now, const struct cv_addr *from,
                               const struct dht_msg *m);
void dht_query_timeouts(struct dht *d, cv_usec now);
void dht_queries_done(struct dht *d);

/* --- serve.c ------------------------------------------------------------ */

void dht_serve(struct dht *d, cv_usec now, const struct cv_addr *from, const struct dht_msg *m,
               size_t query_len);

/* --- op.c and its parts (op.h) ------------------------------------------ */

struct dht_operation *dht_op_get(const struct dht *d, dht_op handle);
/* Starts a look-up of upkeep's own; 0 when there is no place. */
dht_op dht_op_internal(struct dht *d, cv_usec now, enum dht_op_kind kind, uint8_t side,
                       const struct dht_id *target);
/* Fills in method and arguments. */
void dht_op_compose(struct dht *d, const struct dht_operation *op, const struct dht_query *q,
                    struct dht_msg *m);
void dht_op_answer(struct dht *d, cv_usec now, const struct dht_query *q, const struct dht_msg *m);
void dht_op_error(struct dht *d, cv_usec now, const struct dht_query *q, const struct dht_msg *m);
void dht_op_stalled(struct dht *d, cv_usec now, const struct dht_query *q);
void dht_op_failed(struct dht *d, cv_usec now, const struct dht_query *q);
/* READY, or nobody there: those that waited go on. */
void dht_ops_start_waiting(struct dht *d, cv_usec now);
/* Begins the rounds of kept operations that are due. */
void dht_ops_keep(struct dht *d, cv_usec now);
/* Event of the first operation that has one. */
bool dht_ops_event(struct dht *d, struct dht_event *ret);
void dht_ops_done(struct dht *d);

/* --- upkeep.c ----------------------------------------------------------- */

void dht_upkeep_init(struct dht *d, cv_usec now);
void dht_upkeep(struct dht *d, cv_usec now);
cv_usec dht_upkeep_next(const struct dht *d);
/* A self look-up of ours is over. */
void dht_upkeep_op_over(struct dht *d, cv_usec now, const struct dht_operation *op);
/* Somebody asked us something, or was named to us: enters the table once it has
 * answered a ping, when there is a place for it. */
void dht_upkeep_overheard(struct dht *d, cv_usec now, const struct dht_id *id,
                          const struct cv_addr *addr);
/* Who to begin a look-up with. */
void dht_upkeep_seed(struct dht *d, cv_usec now, unsigned side, struct dht_lookup *l,
                     bool bootstrap);
/* An answer: enters its sender into the table, counts its opinion of our address. */
void dht_upkeep_answered(struct dht *d, cv_usec now, const struct dht_query *q,
                         const struct dht_msg *m);
void dht_upkeep_wake(struct dht *d, cv_usec now, unsigned side);
/* Nodes in the network of this side: median and upper quartile of what the last
 * look-ups of various targets saw, so that who crowds around one target does not
 * move it; while there are few, also what is seen around the own id. */
struct dht_size dht_upkeep_size(const struct dht *d, unsigned side);
void dht_upkeep_measured(struct dht *d, unsigned side, double size, bool home);

#endif
