/*
 * Routing table of one address family (BEP 5): buckets of 8 by the number of
 * leading bits shared with the own id, of which only the one that holds the own
 * id splits. Only nodes that answered a query of ours get in, so that nothing
 * unverified is ever handed out; one entry per IP address in the table, one per
 * /24 (/64) in a bucket. Nodes that find their bucket full wait as replacements.
 *
 * good:         answered within 15 minutes, or ever answered and asked us within 15
 * questionable: silent for longer
 * bad:          left 3 queries in a row unanswered; never handed out, replaced first
 */
#ifndef CULVERT_DHT_TABLE_H
#define CULVERT_DHT_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/endpoint.h"
#include "base/err.h"
#include "base/time.h"
#include "dht/limits.h"
#include "dht/nodeid.h"

struct dht_entry {
    struct dht_id id;
    struct cv_addr addr;
    cv_usec replied;  /* last answer */
    cv_usec asked_us; /* last query from it, 0 = none */
    cv_usec pinged;   /* last check of ours, 0 = none */
    uint16_t rtt_ms;
    uint8_t fails; /* unanswered queries in a row */
    bool fits;     /* BEP 42 allows the id at this address */
};

struct dht_bucket {
    cv_usec changed; /* last answer or change inside */
    bool refreshed;  /* looked up once */
    uint8_t count, spare_count;
    struct dht_entry entries[DHT_K];
    struct dht_entry spares[DHT_REPLACEMENTS]; /* oldest first */
};

struct dht_table {
    struct dht_id own;
    unsigned bucket_count;
    struct dht_bucket *buckets[DHT_TABLE_BUCKETS]; /* the last holds the own id */
};

/* CV_ERR_NOMEM. */
enum cv_err dht_table_init(struct dht_table *t, const struct dht_id *own, cv_usec now);
void dht_table_done(struct dht_table *t);

/*
 * The node answered a query of ours, from the address that was asked.
 *
 * CV_ERR_OK      it is in the table (new or refreshed)
 * CV_ERR_AGAIN   it waits as a replacement
 * CV_ERR_LIMIT   no place: bucket, IP or network is taken by better ones
 * CV_ERR_DIFFERS the address is known under another id: that entry is gone
 *                now, and this one has not been entered
 * CV_ERR_INVAL   it is ourselves
 * CV_ERR_NOMEM
 */
enum cv_err dht_table_answered(struct dht_table *t, cv_usec now, const struct dht_id *id,
                               const struct cv_addr *addr, unsigned rtt_ms);

/* It asked us something: keeps a known node good; unknown ones are not entered. */
struct dht_entry *dht_table_asked_us(struct dht_table *t, cv_usec now, const struct dht_id *id,
                                     const struct cv_addr *addr);

/* It left a query unanswered. A bad one is replaced when somebody waits. */
void dht_table_failed(struct dht_table *t, cv_usec now, const struct cv_addr *addr);

/* Takes it out, whatever it is. */
void dht_table_evict(struct dht_table *t, cv_usec now, const struct cv_addr *addr);

/* Would a node with this id and address be entered if it answered? */
bool dht_table_wants(const struct dht_table *t, cv_usec now, const struct dht_id *id,
                     const struct cv_addr *addr);

/* Known under this address, replacements included; NULL otherwise. */
struct dht_entry *dht_table_find(struct dht_table *t, const struct cv_addr *addr);

bool dht_entry_good(const struct dht_entry *e, cv_usec now);
static inline bool dht_entry_bad(const struct dht_entry *e) {
    return e->fails >= DHT_BAD_AFTER;
}

enum dht_pick {
    DHT_PICK_HAND_OUT, /* good; filled up with questionable ones that never failed */
    DHT_PICK_ASK,      /* all that are not bad */
    DHT_PICK_ALL,      /* bad ones too: when there is nobody else */
};

/* Up to `cap` (<= DHT_PICK_MAX) entries closest to target, closest first;
 * pointers are valid until the table changes. */
#define DHT_PICK_MAX 64
size_t dht_table_closest(const struct dht_table *t, cv_usec now, const struct dht_id *target,
                         enum dht_pick pick, const struct dht_entry **ret, size_t cap);

/* The questionable entry that waited longest for a check (not pinged for a
 * minute), or NULL. Also drops bad ones that were silent for long, when others
 * are alive. */
struct dht_entry *dht_table_questionable(struct dht_table *t, cv_usec now);

/* Index of a bucket without change for 15 minutes; of one that was never looked
 * up; -1: none. */
int dht_table_stale(const struct dht_table *t, cv_usec now);
int dht_table_fresh(const struct dht_table *t);
/* It is being looked up, which counts as a change. */
void dht_table_refreshed(struct dht_table *t, cv_usec now, unsigned bucket);

unsigned dht_table_count(const struct dht_table *t);
unsigned dht_table_count_good(const struct dht_table *t, cv_usec now);

#endif
