/*
 * One iterative look-up in one address family: whom to ask next, and when it is
 * over. Knows candidates and their states, nothing of messages or time.
 *
 * Candidates are sorted by distance. It goes along DHT_PATHS disjoint paths
 * (S/Kademlia): those it begins with are dealt out among them, whom a node names
 * belongs to the path on which that node was asked, and nobody is asked twice,
 * so that a liar spoils the paths he stands on and no other. A path asks its
 * closest ones; a slow one (stalled) frees its place but may still answer; a
 * path is over when the K closest it knows that are left have answered, on
 * whatever path, and the look-up when all paths are. A path whose K closest
 * leave gaps that a network of the known size does not have goes on with what
 * else it knows: somebody keeps the others from it.
 *
 * Only one node of a /24 (/64) is asked, unless that one fails. Nodes whose id
 * does not fit their address (BEP 42) are asked but do not count as "closest
 * answered" while others are left.
 *
 * When some of the K closest crowd together more than a network of that size
 * allows, as identities made for one target do, everybody honest names them and
 * nobody else. dht_lookup_crowded() tells; the caller then finds out who else lives
 * around by look-ups of neighbouring targets, and adds those on the path
 * DHT_PATH_SWEEP, on which all are asked and whose answers lead nowhere.
 */
#ifndef CULVERT_DHT_LOOKUP_H
#define CULVERT_DHT_LOOKUP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/endpoint.h"
#include "dht/limits.h"
#include "dht/nodeid.h"

enum dht_candidate_state {
    DHT_CANDIDATE_NEW,
    DHT_CANDIDATE_ASKED,
    DHT_CANDIDATE_STALLED, /* slower than usual; asked once more */
    DHT_CANDIDATE_ANSWERED,
    DHT_CANDIDATE_FAILED, /* silent, or a liar */
};

struct dht_candidate {
    struct dht_id id; /* meaningless while `contact` */
    struct cv_addr addr;
    uint8_t state;
    bool contact;  /* bootstrap contact of yet unknown id: asked before all others */
    bool fits;     /* BEP 42 */
    bool has_seq;  /* answered a get with a mutable item or its seq */
    bool stored;   /* confirmed a store */
    uint8_t owner; /* path whose place it takes */
    uint8_t paths; /* bit p: path p knows it */
    uint8_t path;  /* on which it was asked */
    uint8_t step;  /* 1: we began with it; else one more than who named it */
    float share;   /* of all ids, that are closer */
    uint8_t token_len;
    uint8_t token[DHT_TOKEN_MAX];
    int64_t seq;
};

/* Nodes in a network, estimated low and high; 0: unknown. Who crowds around
 * targets can raise an estimate, who hides others lower it: the test for crowds
 * uses the low one and the test for gaps the high one, so that being wrong costs
 * queries and not results. */
struct dht_size {
    double low, high;
};

struct dht_lookup {
    struct dht_id target;
    struct dht_size size;            /* of the network */
    struct dht_id shunned;           /* a crowd: ids closer to this than shun_share of */
    double shun_share;               /* all ids do not count; 0: none */
    unsigned count, asked, answered; /* candidates held; queries begun; answers */
    unsigned starts, dealt;          /* begun with; dealt out among the paths */
    unsigned asked_on[DHT_PATHS + 1];
    struct dht_candidate v[DHT_CANDIDATES];
};

/* `size` may be unknown: then there is no test for crowds and gaps. */
void dht_lookup_init(struct dht_lookup *l, const struct dht_id *target, struct dht_size size);

/* Directly after dht_lookup_init(): this one is a sweep, and those who crowd
 * around this id count as little as ids that do not fit. */
void dht_lookup_shun(struct dht_lookup *l, const struct dht_id *crowd);

/* Whom to begin with, closest first. `id` NULL: a bootstrap contact. false:
 * known already, or too far away. */
bool dht_lookup_start(struct dht_lookup *l, const struct dht_id *id, const struct cv_addr *addr);

/* Who named a node: taken from the candidate that answered, before the look-up
 * changes. */
enum { DHT_PATH_SWEEP = DHT_PATHS, DHT_PATH_DEAL };
struct dht_namer {
    uint8_t path, step; /* DHT_PATH_DEAL: deal them out among the paths */
};
struct dht_namer dht_lookup_namer(const struct dht_lookup *l, const struct dht_candidate *c);
bool dht_lookup_add(struct dht_lookup *l, struct dht_namer by, const struct dht_id *id,
                    const struct cv_addr *addr);

/* Whom to ask now; it counts as asked from here on. NULL: nobody at present.
 * Pointers to candidates are valid until the look-up changes. */
struct dht_candidate *dht_lookup_next(struct dht_lookup *l);

void dht_lookup_stalled(struct dht_lookup *l, const struct cv_addr *addr);
void dht_lookup_failed(struct dht_lookup *l, const struct cv_addr *addr);

/* The candidate, with its state ANSWERED; NULL when this answer must be
 * ignored: not asked, answered already, or not the id we asked for (then it
 * has failed). */
struct dht_candidate *dht_lookup_answered(struct dht_lookup *l, const struct cv_addr *addr,
                                          const struct dht_id *id);

/* Who was asked at this address, or else is known there. */
struct dht_candidate *dht_lookup_find(struct dht_lookup *l, const struct cv_addr *addr);

bool dht_lookup_over(const struct dht_lookup *l);

/* Up to `cap` answered candidates: the closest whose ids fit, then (only when
 * those do not suffice) the closest of the others. */
size_t dht_lookup_closest(struct dht_lookup *l, bool with_token, struct dht_candidate **ret,
                          size_t cap);

/* Where to store: the K closest that gave a token, of every path the K/2
 * closest, so that one honest path suffices, and all that a sweep brought. At most DHT_STORES_MAX.
 */
size_t dht_lookup_stores(struct dht_lookup *l, struct dht_candidate *ret[DHT_STORES_MAX]);

/* Among the K closest several stand together as nodes do not by chance; around
 * *ret_crowd. */
bool dht_lookup_crowded(struct dht_lookup *l, struct dht_id *ret_crowd);

/* How many nodes a network has whose K-th closest to the target this look-up
 * found; 0 when it found fewer. */
double dht_lookup_size(const struct dht_lookup *l);

/* Steps from ourselves to the farthest-fetched of the K closest. */
unsigned dht_lookup_steps(struct dht_lookup *l);

#endif
