#include "dht/peerstore.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/hash.h"

#define EXPIRES_S ((uint32_t)(DHT_PEER_EXPIRES / 1000000))

static uint32_t seconds(cv_usec now) {
    return (uint32_t)(now / 1000000);
}

static struct cv_addr address(const struct dht_peer *p) {
    struct cv_addr a;
    memset(&a, 0, sizeof a);
    memcpy(a.ip, p->ip, sizeof a.ip);
    a.family = p->family;
    a.port = p->port;
    return a;
}

enum cv_err dht_peerstore_init(struct dht_peerstore *s, const struct cv_rng *rng) {
    *s = (struct dht_peerstore){0};
    cv_rng_fill(rng, s->hash_key, sizeof s->hash_key);
    dht_quota_init(&s->quota, rng, DHT_PEERS_PER_SOURCE);
    s->swarms = cv_map_new(DHT_ID, DHT_HASHES, cv_siphash_map, s->hash_key);
    return s->swarms ? CV_ERR_OK : CV_ERR_NOMEM;
}

static void swarm_drop(struct dht_peerstore *s, struct dht_swarm *w) {
    for (unsigned i = 0; i < w->count; i++) {
        struct cv_addr a = address(&w->v[i]);
        dht_quota_give(&s->quota, &a);
    }
    s->peers -= w->count;
    cv_map_del(s->swarms, &w->key);
    free(w->v);
    free(w);
}

void dht_peerstore_done(struct dht_peerstore *s) {
    void *cursor = NULL;
    struct dht_swarm *w;
    while (s->swarms && (w = cv_map_next(s->swarms, &cursor, NULL)))
        swarm_drop(s, w);
    s->swarms = cv_map_free(s->swarms);
    dht_quota_done(&s->quota);
}

/* Takes out those who have not announced themselves for too long. */
static void swarm_expire(struct dht_peerstore *s, struct dht_swarm *w, cv_usec now) {
    unsigned kept = 0;
    for (unsigned i = 0; i < w->count; i++) {
        if (seconds(now) - w->v[i].at_s < EXPIRES_S) {
            w->v[kept++] = w->v[i];
            continue;
        }
        struct cv_addr a = address(&w->v[i]);
        dht_quota_give(&s->quota, &a);
        s->peers--;
    }
    w->count = (uint16_t)kept;
}

void dht_peerstore_expire(struct dht_peerstore *s, cv_usec now) {
    void *cursor = NULL;
    struct dht_swarm *w;
    while ((w = cv_map_next(s->swarms, &cursor, NULL))) {
        swarm_expire(s, w, now);
        if (w->count == 0)
            swarm_drop(s, w);
    }
}

/* --- adding ------------------------------------------------------------- */

bool dht_peerstore_accepts(const struct dht_peerstore *s, const struct dht_id *key) {
    const struct dht_swarm *w = cv_map_get(s->swarms, key);
    return !w || w->count < DHT_PEERS_PER_HASH;
}

/* The higher, the more worth keeping: five peers weigh as much as being twice
 * as close. */
static unsigned worth(const struct dht_id *own, const struct dht_id *key, unsigned peers) {
    return peers / 5 + dht_id_common_bits(own, key);
}

/* Makes room for one more key. */
static enum cv_err make_room(struct dht_peerstore *s, const struct dht_id *own,
                             const struct dht_id *key) {
    if (cv_map_count(s->swarms) < DHT_HASHES)
        return CV_ERR_OK;
    struct dht_swarm *least = NULL, *w;
    unsigned least_worth = worth(own, key, 1);
    void *cursor = NULL;
    while ((w = cv_map_next(s->swarms, &cursor, NULL)))
        if (worth(own, &w->key, w->count) < least_worth) {
            least = w;
            least_worth = worth(own, &w->key, w->count);
        }
    if (!least)
        return CV_ERR_LIMIT;
    swarm_drop(s, least);
    return CV_ERR_OK;
}

static struct dht_swarm *swarm_new(struct dht_peerstore *s, const struct dht_id *key) {
    struct dht_swarm *w = calloc(1, sizeof *w);
    if (!w)
        return NULL;
    w->key = *key;
    if (cv_map_put(s->swarms, key, w)) {
        free(w);
        return NULL;
    }
    return w;
}

static bool grow(struct dht_swarm *w) {
    if (w->count < w->cap)
        return true;
    unsigned cap = w->cap ? w->cap * 2u : 4u;
    cap = cap < DHT_PEERS_PER_HASH ? cap : DHT_PEERS_PER_HASH;
    struct dht_peer *v = realloc(w->v, cap * sizeof *v);
    if (!v)
        return false;
    w->v = v;
    w->cap = (uint16_t)cap;
    return true;
}

static struct dht_peer *find(struct dht_swarm *w, const struct cv_addr *addr) {
    for (unsigned i = 0; w && i < w->count; i++)
        if (w->v[i].family == addr->family && !memcmp(w->v[i].ip, addr->ip, sizeof addr->ip))
            return &w->v[i];
    return NULL;
}

enum cv_err dht_peerstore_add(struct dht_peerstore *s, cv_usec now, const struct dht_id *own,
                              const struct dht_id *key, const struct cv_addr *addr, bool seed) {
    struct dht_swarm *w = cv_map_get(s->swarms, key);
    struct dht_peer peer = {
        .at_s = seconds(now), .port = addr->port, .family = addr->family, .seed = seed};
    memcpy(peer.ip, addr->ip, sizeof peer.ip);

    struct dht_peer *known = find(w, addr);
    if (known) {
        *known = peer;
        return CV_ERR_OK;
    }
    if (w && w->count == DHT_PEERS_PER_HASH) {
        swarm_expire(s, w, now);
        if (w->count == DHT_PEERS_PER_HASH)
            return CV_ERR_LIMIT;
    }
    if (!dht_quota_take(&s->quota, addr))
        return CV_ERR_LIMIT;
    enum cv_err err = w ? CV_ERR_OK : make_room(s, own, key);
    if (!err && !w && !(w = swarm_new(s, key)))
        err = CV_ERR_NOMEM;
    if (!err && !grow(w)) {
        err = CV_ERR_NOMEM;
        if (w->count == 0)
            swarm_drop(s, w);
    }
    if (err) {
        dht_quota_give(&s->quota, addr);
        return err;
    }
    w->v[w->count++] = peer;
    s->peers++;
    return CV_ERR_OK;
}

/* --- asking ------------------------------------------------------------- */

size_t dht_peerstore_sample(struct dht_peerstore *s, cv_usec now, const struct cv_rng *rng,
                            const struct dht_id *key, uint8_t family, bool noseed,
                            struct cv_addr *ret, size_t cap) {
    struct dht_swarm *w = cv_map_get(s->swarms, key);
    if (!w)
        return 0;
    swarm_expire(s, w, now);
    /* Reservoir sampling, leechers before seeds when these are not wanted. */
    size_t n = 0;
    for (int round = 0; round < (noseed ? 2 : 1) && n < cap; round++) {
        size_t start = n, seen = 0;
        for (unsigned i = 0; i < w->count; i++) {
            const struct dht_peer *p = &w->v[i];
            if (p->family != family || (noseed && p->seed != (round == 1)))
                continue;
            size_t at = n < cap ? n : start + cv_rng_below(rng, seen + 1);
            if (at < cap)
                ret[at] = address(p);
            n += n < cap;
            seen++;
        }
    }
    return n;
}

void dht_filter_add(uint8_t filter[DHT_FILTER], const struct cv_addr *addr) {
    uint8_t hash[20];
    cv_sha(CV_SHA1, hash, addr->ip, addr->family == 4 ? 4 : 16);
    for (unsigned i = 0; i < 4; i += 2) {
        unsigned bit = (hash[i] | hash[i + 1] << 8) % (DHT_FILTER * 8);
        filter[bit / 8] |= (uint8_t)(1u << bit % 8);
    }
}

double dht_filter_count(const uint8_t filter[DHT_FILTER]) {
    const double m = DHT_FILTER * 8;
    unsigned zeros = 0;
    for (unsigned i = 0; i < DHT_FILTER; i++)
        zeros += 8u - (unsigned)__builtin_popcount(filter[i]);
    double c = zeros < m - 1 ? zeros : m - 1;
    if (c < 1)
        c = 1; /* saturated: the largest estimate it can give */
    return log(c / m) / (2 * log(1 - 1 / m));
}

bool dht_peerstore_filters(struct dht_peerstore *s, cv_usec now, const struct dht_id *key,
                           uint8_t ret_seeds[DHT_FILTER], uint8_t ret_peers[DHT_FILTER]) {
    struct dht_swarm *w = cv_map_get(s->swarms, key);
    if (!w)
        return false;
    swarm_expire(s, w, now);
    memset(ret_seeds, 0, DHT_FILTER);
    memset(ret_peers, 0, DHT_FILTER);
    for (unsigned i = 0; i < w->count; i++) {
        struct cv_addr a = address(&w->v[i]);
        dht_filter_add(w->v[i].seed ? ret_seeds : ret_peers, &a);
    }
    return true;
}

size_t dht_peerstore_keys(const struct dht_peerstore *s, const struct cv_rng *rng,
                          struct dht_id *ret, size_t cap) {
    size_t n = 0, seen = 0;
    void *cursor = NULL;
    const struct dht_swarm *w;
    while ((w = cv_map_next(s->swarms, &cursor, NULL))) {
        size_t at = n < cap ? n : cv_rng_below(rng, seen + 1);
        if (at < cap)
            ret[at] = w->key;
        n += n < cap;
        seen++;
    }
    return n;
}

size_t dht_peerstore_count(const struct dht_peerstore *s) {
    return cv_map_count(s->swarms);
}
