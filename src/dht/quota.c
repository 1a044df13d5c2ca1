#include "dht/quota.h"

#include <assert.h>
#include <stdlib.h>

#define COUNTERS 16384

void dht_quota_init(struct dht_quota *q, const struct cv_rng *rng, uint16_t max) {
    *q = (struct dht_quota){.max = max};
    cv_rng_fill(rng, q->hash_key, sizeof q->hash_key);
}

void dht_quota_done(struct dht_quota *q) {
    free(q->counts);
    q->counts = NULL;
}

static uint16_t *counter(const struct dht_quota *q, const struct cv_addr *addr) {
    struct cv_addr net = cv_addr_network(addr, 24, 64);
    return &q->counts[cv_siphash(q->hash_key, &net, sizeof net) % COUNTERS];
}

bool dht_quota_take(struct dht_quota *q, const struct cv_addr *addr) {
    if (!q->counts)
        q->counts = calloc(COUNTERS, sizeof *q->counts);
    if (!q->counts)
        return false;
    uint16_t *c = counter(q, addr);
    if (*c >= q->max)
        return false;
    (*c)++;
    return true;
}

void dht_quota_give(struct dht_quota *q, const struct cv_addr *addr) {
    uint16_t *c = counter(q, addr);
    assert(*c > 0);
    (*c)--;
}
