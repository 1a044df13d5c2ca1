#include "dht/table.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* --- helpers ------------------------------------------------------------ */

static unsigned bucket_index(const struct dht_table *t, const struct dht_id *id) {
    unsigned bits = dht_id_common_bits(&t->own, id);
    return bits < t->bucket_count ? bits : t->bucket_count - 1;
}

static bool same_network(const struct cv_addr *a, const struct cv_addr *b) {
    return cv_addr_common_bits(a, b) >= (a->family == 4 ? 24u : 64u);
}

bool dht_entry_good(const struct dht_entry *e, cv_usec now) {
    if (dht_entry_bad(e))
        return false;
    return cv_usec_since(now, e->replied) < DHT_GOOD_FOR ||
           (e->asked_us && cv_usec_since(now, e->asked_us) < DHT_GOOD_FOR);
}

static void check(const struct dht_table *t) {
    assert(t->bucket_count > 0);
    assert(t->bucket_count <= DHT_TABLE_BUCKETS);
}

static struct dht_bucket *bucket_new(cv_usec now) {
    struct dht_bucket *b = calloc(1, sizeof *b);
    if (b)
        b->changed = now;
    return b;
}

enum cv_err dht_table_init(struct dht_table *t, const struct dht_id *own, cv_usec now) {
    struct dht_bucket *b = bucket_new(now);
    if (!b)
        return CV_ERR_NOMEM;
    *t = (struct dht_table){.own = *own, .bucket_count = 1, .buckets = {b}};
    return CV_ERR_OK;
}

void dht_table_done(struct dht_table *t) {
    for (unsigned i = 0; i < t->bucket_count; i++)
        free(t->buckets[i]);
    *t = (struct dht_table){0};
}

/* Where an address is. */
struct place {
    struct dht_bucket *bucket;
    unsigned index;
    bool spare;
};

static struct dht_entry *at(const struct place *p) {
    return p->spare ? &p->bucket->spares[p->index] : &p->bucket->entries[p->index];
}

static bool find_ip(const struct dht_table *t, const struct cv_addr *addr, bool with_port,
                    struct place *ret) {
    for (unsigned i = 0; i < t->bucket_count; i++) {
        struct dht_bucket *b = t->buckets[i];
        for (unsigned j = 0; j < (unsigned)b->count + b->spare_count; j++) {
            struct place p = {b, j < b->count ? j : j - b->count, j >= b->count};
            const struct cv_addr *have = &at(&p)->addr;
            if (with_port ? cv_addr_equal(have, addr) : cv_addr_same_ip(have, addr)) {
                *ret = p;
                return true;
            }
        }
    }
    return false;
}

static bool find_id(const struct dht_table *t, const struct dht_id *id, struct place *ret) {
    struct dht_bucket *b = t->buckets[bucket_index(t, id)];
    for (unsigned j = 0; j < (unsigned)b->count + b->spare_count; j++) {
        struct place p = {b, j < b->count ? j : j - b->count, j >= b->count};
        if (dht_id_equal(&at(&p)->id, id)) {
            *ret = p;
            return true;
        }
    }
    return false;
}

struct dht_entry *dht_table_find(struct dht_table *t, const struct cv_addr *addr) {
    struct place p;
    return find_ip(t, addr, true, &p) ? at(&p) : NULL;
}

static void take_out(const struct place *p) {
    struct dht_entry *v = p->spare ? p->bucket->spares : p->bucket->entries;
    uint8_t *n = p->spare ? &p->bucket->spare_count : &p->bucket->count;
    memmove(&v[p->index], &v[p->index + 1], (*n - p->index - 1u) * sizeof *v);
    (*n)--;
}

/* Somebody in the bucket shares the network of `addr`. */
static bool network_taken(const struct dht_bucket *b, const struct cv_addr *addr) {
    for (unsigned i = 0; i < b->count; i++)
        if (same_network(&b->entries[i].addr, addr))
            return true;
    return false;
}

/* Fills free places of the bucket from its replacements, newest first. */
static void promote(struct dht_bucket *b) {
    for (unsigned i = b->spare_count; i-- > 0 && b->count < DHT_K;) {
        struct place p = {b, i, true};
        if (network_taken(b, &b->spares[i].addr))
            continue;
        b->entries[b->count++] = b->spares[i];
        take_out(&p);
    }
}

/* --- entering ----------------------------------------------------------- */

/* Splits the last bucket; entries that share more bits move to the new one. */
static enum cv_err split(struct dht_table *t) {
    struct dht_bucket *old = t->buckets[t->bucket_count - 1], *new = bucket_new(old->changed);
    if (!new)
        return CV_ERR_NOMEM;
    unsigned bits = t->bucket_count; /* shared by all that move */
    for (unsigned i = old->count; i-- > 0;) {
        struct place p = {old, i, false};
        if (dht_id_common_bits(&t->own, &old->entries[i].id) >= bits) {
            new->entries[new->count++] = old->entries[i];
            take_out(&p);
        }
    }
    for (unsigned i = 0; i < old->spare_count;) {
        struct place p = {old, i, true};
        if (dht_id_common_bits(&t->own, &old->spares[i].id) >= bits) {
            new->spares[new->spare_count++] = old->spares[i];
            take_out(&p);
        } else {
            i++;
        }
    }
    t->buckets[t->bucket_count++] = new;
    promote(old);
    promote(new);
    return CV_ERR_OK;
}

/* Whom a newcomer may push out of a full bucket: a bad one; or, when the
 * newcomer's id fits its address, one whose does not. -1: nobody. */
static int victim(const struct dht_bucket *b, bool fits) {
    for (unsigned i = 0; i < b->count; i++)
        if (dht_entry_bad(&b->entries[i]))
            return (int)i;
    for (unsigned i = b->count; fits && i-- > 0;)
        if (!b->entries[i].fits)
            return (int)i;
    return -1;
}

static void wait_as_spare(struct dht_bucket *b, const struct dht_entry *e) {
    if (b->spare_count == DHT_REPLACEMENTS)
        take_out(&(struct place){b, 0, true});
    b->spares[b->spare_count++] = *e;
}

static enum cv_err enter(struct dht_table *t, cv_usec now, const struct dht_entry *e) {
    for (;;) {
        unsigned i = bucket_index(t, &e->id);
        struct dht_bucket *b = t->buckets[i];
        bool full = b->count == DHT_K;
        bool may_split = i == t->bucket_count - 1 && t->bucket_count < DHT_TABLE_BUCKETS;
        if (network_taken(b, &e->addr) && !(full && may_split))
            return CV_ERR_LIMIT;
        if (!full) {
            b->entries[b->count++] = *e;
            b->changed = now;
            return CV_ERR_OK;
        }
        int out = network_taken(b, &e->addr) ? -1 : victim(b, e->fits && !may_split);
        if (out >= 0) {
            take_out(&(struct place){b, (unsigned)out, false});
            continue;
        }
        if (!may_split) {
            wait_as_spare(b, e);
            return CV_ERR_AGAIN;
        }
        enum cv_err err = split(t);
        if (err)
            return err;
    }
}

enum cv_err dht_table_answered(struct dht_table *t, cv_usec now, const struct dht_id *id,
                               const struct cv_addr *addr, unsigned rtt_ms) {
    check(t);
    if (dht_id_equal(id, &t->own))
        return CV_ERR_INVAL;

    struct place p;
    struct dht_entry fresh = {.id = *id,
                              .addr = *addr,
                              .replied = now,
                              .rtt_ms = (uint16_t)(rtt_ms < UINT16_MAX ? rtt_ms : UINT16_MAX),
                              .fits = dht_id_fits_address(id, addr)};
    if (find_ip(t, addr, false, &p)) {
        struct dht_entry *e = at(&p);
        bool same_port = e->addr.port == addr->port, same_id = dht_id_equal(&e->id, id);
        if (same_port && same_id) {
            e->replied = now;
            e->rtt_ms = fresh.rtt_ms;
            e->fails = 0;
            p.bucket->changed = now;
            return p.spare ? CV_ERR_AGAIN : CV_ERR_OK;
        }
        if (!same_port && !dht_entry_bad(e))
            return CV_ERR_LIMIT; /* one node per IP: who was first stays */
        take_out(&p);
        promote(p.bucket);
        if (same_port)
            return CV_ERR_DIFFERS;
    }
    if (find_id(t, id, &p)) {
        /* Somebody else holds this id: it must be dead before it can move. */
        if (!dht_entry_bad(at(&p)))
            return CV_ERR_LIMIT;
        take_out(&p);
        promote(p.bucket);
    }
    return enter(t, now, &fresh);
}

bool dht_table_wants(const struct dht_table *t, cv_usec now, const struct dht_id *id,
                     const struct cv_addr *addr) {
    check(t);
    (void)now;
    struct place p;
    if (dht_id_equal(id, &t->own) || find_ip(t, addr, false, &p) || find_id(t, id, &p))
        return false;
    unsigned i = bucket_index(t, id);
    const struct dht_bucket *b = t->buckets[i];
    bool may_split = i == t->bucket_count - 1 && t->bucket_count < DHT_TABLE_BUCKETS;
    if (b->count == DHT_K && may_split)
        return true;
    if (network_taken(b, addr))
        return false;
    return b->count < DHT_K || b->spare_count < DHT_REPLACEMENTS ||
           victim(b, dht_id_fits_address(id, addr)) >= 0;
}

/* --- what happens to entries -------------------------------------------- */

struct dht_entry *dht_table_asked_us(struct dht_table *t, cv_usec now, const struct dht_id *id,
                                     const struct cv_addr *addr) {
    check(t);
    struct place p;
    if (!find_id(t, id, &p) || !cv_addr_equal(&at(&p)->addr, addr))
        return NULL;
    at(&p)->asked_us = now;
    return at(&p);
}

void dht_table_failed(struct dht_table *t, cv_usec now, const struct cv_addr *addr) {
    check(t);
    (void)now;
    struct place p;
    if (!find_ip(t, addr, true, &p))
        return;
    struct dht_entry *e = at(&p);
    if (e->fails < UINT8_MAX)
        e->fails++;
    if (p.spare ? e->fails > 0 : dht_entry_bad(e) && p.bucket->spare_count > 0) {
        take_out(&p);
        promote(p.bucket);
    }
}

void dht_table_evict(struct dht_table *t, cv_usec now, const struct cv_addr *addr) {
    check(t);
    struct place p;
    if (!find_ip(t, addr, true, &p))
        return;
    take_out(&p);
    promote(p.bucket);
    p.bucket->changed = now;
}

/* --- looking up --------------------------------------------------------- */

struct pick {
    uint64_t distance; /* its first 64 bits: enough to decide almost always */
    const struct dht_entry *entry;
};

static uint64_t head(const struct dht_id *id) {
    uint64_t v;
    memcpy(&v, id->b, sizeof v);
    return __builtin_bswap64(v);
}

static bool closer(const struct dht_id *target, const struct pick *a, const struct pick *b) {
    if (a->distance != b->distance)
        return a->distance < b->distance;
    return dht_id_closer(target, &a->entry->id, &b->entry->id) < 0;
}

/* Inserts into the sorted list of the best `cap`. */
static size_t keep_best(struct pick *best, size_t n, size_t cap, const struct dht_id *target,
                        struct pick p) {
    size_t i = n < cap ? n : cap - 1;
    if (n == cap && !closer(target, &p, &best[cap - 1]))
        return n;
    for (; i > 0 && closer(target, &p, &best[i - 1]); i--)
        best[i] = best[i - 1];
    best[i] = p;
    return n < cap ? n + 1 : n;
}

static bool picked(const struct dht_entry *e, cv_usec now, enum dht_pick pick, bool second) {
    switch (pick) {
    case DHT_PICK_HAND_OUT:
        return second ? e->fails == 0 && !dht_entry_good(e, now) : dht_entry_good(e, now);
    case DHT_PICK_ASK:
        return !second && !dht_entry_bad(e);
    case DHT_PICK_ALL:
        return !second;
    }
    return false;
}

size_t dht_table_closest(const struct dht_table *t, cv_usec now, const struct dht_id *target,
                         enum dht_pick pick, const struct dht_entry **ret, size_t cap) {
    check(t);
    assert(cap <= DHT_PICK_MAX);
    struct pick best[DHT_PICK_MAX];
    uint64_t want = head(target);
    size_t got = 0;
    /* Second round: questionable ones, only for places that are left. */
    for (int round = 0; round < 2 && got < cap; round++) {
        size_t n = 0;
        for (unsigned i = 0; i < t->bucket_count; i++) {
            const struct dht_bucket *b = t->buckets[i];
            for (unsigned j = 0; j < b->count; j++) {
                const struct dht_entry *e = &b->entries[j];
                struct pick p = {head(&e->id) ^ want, e};
                if (n == cap - got && p.distance > best[n - 1].distance)
                    continue;
                if (picked(e, now, pick, round == 1))
                    n = keep_best(best, n, cap - got, target, p);
            }
        }
        for (size_t i = 0; i < n; i++)
            ret[got++] = best[i].entry;
    }
    return got;
}

static void drop_dead(struct dht_table *t, cv_usec now) {
    for (unsigned i = 0; i < t->bucket_count; i++) {
        struct dht_bucket *b = t->buckets[i];
        for (unsigned j = b->count; j-- > 0;) {
            const struct dht_entry *e = &b->entries[j];
            if (dht_entry_bad(e) && cv_usec_since(now, e->replied) > DHT_GOOD_FOR)
                take_out(&(struct place){b, j, false});
        }
        promote(b);
    }
}

struct dht_entry *dht_table_questionable(struct dht_table *t, cv_usec now) {
    check(t);
    /* When nobody is alive the fault is more likely ours: keep them to return to. */
    if (dht_table_count_good(t, now) > 0)
        drop_dead(t, now);
    struct dht_entry *oldest = NULL;
    for (unsigned i = 0; i < t->bucket_count; i++)
        for (unsigned j = 0; j < t->buckets[i]->count; j++) {
            struct dht_entry *e = &t->buckets[i]->entries[j];
            bool silent = cv_usec_since(now, e->replied) > DHT_GOOD_FOR;
            if (!silent || (e->pinged && cv_usec_since(now, e->pinged) < CV_SEC(60)))
                continue;
            if (!oldest || e->replied < oldest->replied)
                oldest = e;
        }
    return oldest;
}

int dht_table_stale(const struct dht_table *t, cv_usec now) {
    check(t);
    for (unsigned i = 0; i < t->bucket_count; i++)
        if (cv_usec_since(now, t->buckets[i]->changed) >= DHT_REFRESH_AFTER)
            return (int)i;
    return -1;
}

int dht_table_fresh(const struct dht_table *t) {
    check(t);
    for (unsigned i = 0; i < t->bucket_count; i++)
        if (!t->buckets[i]->refreshed)
            return (int)i;
    return -1;
}

void dht_table_refreshed(struct dht_table *t, cv_usec now, unsigned bucket) {
    assert(bucket < t->bucket_count);
    t->buckets[bucket]->changed = now;
    t->buckets[bucket]->refreshed = true;
}

unsigned dht_table_count(const struct dht_table *t) {
    unsigned n = 0;
    for (unsigned i = 0; i < t->bucket_count; i++)
        n += t->buckets[i]->count;
    return n;
}

unsigned dht_table_count_good(const struct dht_table *t, cv_usec now) {
    unsigned n = 0;
    for (unsigned i = 0; i < t->bucket_count; i++)
        for (unsigned j = 0; j < t->buckets[i]->count; j++)
            n += dht_entry_good(&t->buckets[i]->entries[j], now);
    return n;
}
