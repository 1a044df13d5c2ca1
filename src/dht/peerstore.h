/*
 * Peers announced by others: for each key a set of distinct IP addresses (BEP
 * 33), v4 and v6 apart. Everything is capped: keys, peers of a key, and live
 * announcements of one network (/24, /64), so that one host cannot fill the
 * store. When the keys are full the least useful one goes: few peers, far from
 * our own id.
 */
#ifndef CULVERT_DHT_PEERSTORE_H
#define CULVERT_DHT_PEERSTORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/endpoint.h"
#include "base/err.h"
#include "base/map.h"
#include "base/rng.h"
#include "base/time.h"
#include "crypto/siphash.h"
#include "dht/limits.h"
#include "dht/nodeid.h"
#include "dht/quota.h"

struct dht_peer {
    uint8_t ip[16];
    uint32_t at_s; /* announced, seconds of the engine's clock */
    uint16_t port;
    uint8_t family, seed;
};

struct dht_swarm {
    struct dht_id key;
    struct dht_peer *v;
    uint16_t count, cap;
};

struct dht_peerstore {
    struct cv_map *swarms;
    uint8_t hash_key[CV_SIPHASH_KEY];
    struct dht_quota quota;
    unsigned peers;
};

/* CV_ERR_NOMEM. */
enum cv_err dht_peerstore_init(struct dht_peerstore *s, const struct cv_rng *rng);
void dht_peerstore_done(struct dht_peerstore *s);

/* Could a new address announce itself under this key? (Else: no token.) */
bool dht_peerstore_accepts(const struct dht_peerstore *s, const struct dht_id *key);

/* Adds or refreshes. `own` is our id, for the choice whom to drop.
 * CV_ERR_LIMIT (quota, key full, or all keys more useful), CV_ERR_NOMEM. */
enum cv_err dht_peerstore_add(struct dht_peerstore *s, cv_usec now, const struct dht_id *own,
                              const struct dht_id *key, const struct cv_addr *addr, bool seed);

/* Random sample of at most `cap` live peers of the family; without seeds as
 * far as possible when `noseed`. */
size_t dht_peerstore_sample(struct dht_peerstore *s, cv_usec now, const struct cv_rng *rng,
                            const struct dht_id *key, uint8_t family, bool noseed,
                            struct cv_addr *ret, size_t cap);

/* BEP 33 filters of all live peers; false when the key is not there. */
#define DHT_FILTER 256
bool dht_peerstore_filters(struct dht_peerstore *s, cv_usec now, const struct dht_id *key,
                           uint8_t ret_seeds[DHT_FILTER], uint8_t ret_peers[DHT_FILTER]);
void dht_filter_add(uint8_t filter[DHT_FILTER], const struct cv_addr *addr);
/* Estimate of how many addresses were added to the filter, or its union. */
double dht_filter_count(const uint8_t filter[DHT_FILTER]);

/* BEP 51: random keys. */
size_t dht_peerstore_keys(const struct dht_peerstore *s, const struct cv_rng *rng,
                          struct dht_id *ret, size_t cap);

/* Drops what has expired. */
void dht_peerstore_expire(struct dht_peerstore *s, cv_usec now);

size_t dht_peerstore_count(const struct dht_peerstore *s);

#endif
