/*
 * One iterative look-up in one address family: whom to ask next, and when it is
 * over. Knows candidates and their states, nothing of messages or time.
 *
 * Candidates are sorted by distance. It asks the closest ones, DHT_ALPHA at a
 * time; a slow one (stalled) frees its place but may still answer; over when
 * the K closest that are left have answered. Only one node of a /24 (/64) is
 * asked, unless that one fails. Nodes whose id does not fit their address (BEP
 * 42) are asked but do not count as "closest answered" while others are left.
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
    bool contact; /* bootstrap contact of yet unknown id: asked before all others */
    bool fits;    /* BEP 42 */
    bool has_seq; /* answered a get with a mutable item or its seq */
    bool stored;  /* confirmed a store */
    uint8_t token_len;
    uint8_t token[DHT_TOKEN_MAX];
    int64_t seq;
};

struct dht_lookup {
    struct dht_id target;
    unsigned count, asked, answered; /* candidates held; queries begun; answers */
    struct dht_candidate v[DHT_CANDIDATES];
};

void dht_lookup_init(struct dht_lookup *l, const struct dht_id *target);

/* `id` NULL: a bootstrap contact. false: known already, or too far away. */
bool dht_lookup_add(struct dht_lookup *l, const struct dht_id *id, const struct cv_addr *addr);

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

struct dht_candidate *dht_lookup_find(struct dht_lookup *l, const struct cv_addr *addr);

bool dht_lookup_over(const struct dht_lookup *l);

/* Up to `cap` answered candidates: the closest whose ids fit, then (only when
 * those do not suffice) the closest of the others. */
size_t dht_lookup_closest(struct dht_lookup *l, bool with_token, struct dht_candidate **ret,
                          size_t cap);

#endif
