/*
 * How much of a store one network (/24 of IPv4, /64 of IPv6) holds. Counted in
 * a table of hashed counters: networks that collide share one, which is rare
 * below the caps and errs on the safe side. Memory is fixed and taken at the
 * first use.
 */
#ifndef CULVERT_DHT_QUOTA_H
#define CULVERT_DHT_QUOTA_H

#include <stdbool.h>
#include <stdint.h>

#include "base/endpoint.h"
#include "base/rng.h"
#include "crypto/siphash.h"

struct dht_quota {
    uint8_t hash_key[CV_SIPHASH_KEY];
    uint16_t *counts; /* NULL until first used */
    uint16_t max;
};

void dht_quota_init(struct dht_quota *q, const struct cv_rng *rng, uint16_t max);
void dht_quota_done(struct dht_quota *q);

/* Takes one; false when the network has its share (or memory is short). */
bool dht_quota_take(struct dht_quota *q, const struct cv_addr *addr);
/* Gives one back that was taken. */
void dht_quota_give(struct dht_quota *q, const struct cv_addr *addr);

#endif
