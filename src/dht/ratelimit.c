#include "dht/ratelimit.h"

#include <stdlib.h>
#include <string.h>

#include "base/tokenbucket.h"

#define SLOTS_FIRST  16
#define PROBES       8
#define PROVEN_FOR   CV_SEC(600)
#define PROVEN_TIMES 16

/* A host (full address) and a network use slots of their own; `kind` keeps them
 * apart where their addresses look alike (/64 of IPv6). */
enum kind { KIND_NONE, KIND_HOST, KIND_NETWORK, KIND_NETWORK_PROVEN };

struct dht_source {
    struct cv_addr addr; /* port 0, addr.zero = kind */
    cv_usec heard, proven_until;
    struct cv_tokenbucket bucket;
};

enum cv_err dht_ratelimit_init(struct dht_ratelimit *r, const struct cv_rng *rng) {
    *r = (struct dht_ratelimit){.slot_count = SLOTS_FIRST};
    cv_rng_fill(rng, r->hash_key, sizeof r->hash_key);
    r->slots = calloc(r->slot_count, sizeof *r->slots);
    return r->slots ? CV_ERR_OK : CV_ERR_NOMEM;
}

void dht_ratelimit_done(struct dht_ratelimit *r) {
    free(r->slots);
    r->slots = NULL;
}

/* Its slot, or the free or oldest one where it would go. */
static struct dht_source *probe(const struct dht_ratelimit *r, const struct cv_addr *key) {
    uint64_t h = cv_siphash(r->hash_key, key, sizeof *key);
    struct dht_source *best = NULL;
    for (uint32_t i = 0; i < PROBES; i++) {
        struct dht_source *s = &r->slots[(h + i) & (r->slot_count - 1)];
        if (s->addr.zero && cv_addr_equal(&s->addr, key))
            return s;
        if (!best || (best->addr.zero && (!s->addr.zero || s->heard < best->heard)))
            best = s;
    }
    return best;
}

static void grow(struct dht_ratelimit *r) {
    struct dht_ratelimit wide = *r;
    wide.slot_count = r->slot_count * 2;
    wide.slots = calloc(wide.slot_count, sizeof *wide.slots);
    if (!wide.slots)
        return; /* stays small and forgets sooner */
    wide.used = 0;
    for (uint32_t i = 0; i < r->slot_count; i++) {
        if (!r->slots[i].addr.zero)
            continue;
        struct dht_source *to = probe(&wide, &r->slots[i].addr);
        wide.used += !to->addr.zero;
        *to = r->slots[i];
    }
    free(r->slots);
    *r = wide;
}

static struct dht_source *source(struct dht_ratelimit *r, cv_usec now, const struct cv_addr *from,
                                 enum kind kind) {
    static const struct {
        uint64_t rate, burst;
    } limits[] = {
        [KIND_HOST] = {DHT_SOURCE_RATE, DHT_SOURCE_BURST},
        [KIND_NETWORK] = {DHT_BUDGET_RATE, DHT_BUDGET_BURST},
        [KIND_NETWORK_PROVEN] = {(uint64_t)DHT_BUDGET_RATE * PROVEN_TIMES,
                                 (uint64_t)DHT_BUDGET_BURST * PROVEN_TIMES},
    };
    struct cv_addr key = cv_addr_network(from, kind == KIND_HOST ? 32 : 24, 64);
    key.zero = (uint8_t)kind;
    struct dht_source *s = probe(r, &key);
    if (!cv_addr_equal(&s->addr, &key)) {
        if (!s->addr.zero && ++r->used * 2 > r->slot_count && r->slot_count < DHT_SOURCES) {
            grow(r);
            s = probe(r, &key);
        }
        *s = (struct dht_source){.addr = key};
        cv_tokenbucket_init(&s->bucket, limits[kind].rate, limits[kind].burst, now);
    }
    s->heard = now;
    return s;
}

bool dht_ratelimit_query(struct dht_ratelimit *r, cv_usec now, const struct cv_addr *from) {
    return cv_tokenbucket_take(&source(r, now, from, KIND_HOST)->bucket, now, 1);
}

bool dht_ratelimit_budget(struct dht_ratelimit *r, cv_usec now, const struct cv_addr *from,
                          bool proven, unsigned octets) {
    enum kind kind = proven ? KIND_NETWORK_PROVEN : KIND_NETWORK;
    return cv_tokenbucket_take(&source(r, now, from, kind)->bucket, now, octets);
}

void dht_ratelimit_prove(struct dht_ratelimit *r, cv_usec now, const struct cv_addr *from) {
    source(r, now, from, KIND_HOST)->proven_until = cv_usec_add(now, PROVEN_FOR);
}

bool dht_ratelimit_proven(struct dht_ratelimit *r, cv_usec now, const struct cv_addr *from) {
    return source(r, now, from, KIND_HOST)->proven_until > now;
}
