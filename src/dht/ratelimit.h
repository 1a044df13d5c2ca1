/*
 * Limits per source: queries a second of one host (IPv4 address, /64), and
 * octets of long replies for one network (/24, /64). A source over its limit is
 * ignored, nothing else happens to it: addresses can be forged, so nobody may
 * be punished for what seems to come from him. The table is a cache: when it
 * is full, the source longest unheard of is forgotten.
 */
#ifndef CULVERT_DHT_RATELIMIT_H
#define CULVERT_DHT_RATELIMIT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/endpoint.h"
#include "base/err.h"
#include "base/rng.h"
#include "base/time.h"
#include "crypto/siphash.h"
#include "dht/limits.h"

struct dht_source;

struct dht_ratelimit {
    uint8_t hash_key[CV_SIPHASH_KEY];
    struct dht_source *slots; /* a power of two of them; grows up to DHT_SOURCES */
    uint32_t slot_count, used;
};

/* CV_ERR_NOMEM. */
enum cv_err dht_ratelimit_init(struct dht_ratelimit *r, const struct cv_rng *rng);
void dht_ratelimit_done(struct dht_ratelimit *r);

/* One query from here: answer it? */
bool dht_ratelimit_query(struct dht_ratelimit *r, cv_usec now, const struct cv_addr *from);

/* `octets` of reply beyond what everybody gets: pay them? `proven` (a valid
 * token seen, so that the address is not forged) has
 * 16 times the budget. */
bool dht_ratelimit_budget(struct dht_ratelimit *r, cv_usec now, const struct cv_addr *from,
                          bool proven, unsigned octets);

/* A valid token came from this host: its address is real. */
void dht_ratelimit_prove(struct dht_ratelimit *r, cv_usec now, const struct cv_addr *from);
/* ... within the last 10 minutes. */
bool dht_ratelimit_proven(struct dht_ratelimit *r, cv_usec now, const struct cv_addr *from);

#endif
