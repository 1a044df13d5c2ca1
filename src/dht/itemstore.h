/*
 * BEP 44 items stored for others, and what makes an item valid. The store is
 * capped, also per network; when full the item farthest from our own id goes.
 * Values are kept and verified as the octets that arrived, never re-encoded.
 */
#ifndef CULVERT_DHT_ITEMSTORE_H
#define CULVERT_DHT_ITEMSTORE_H

#include <stddef.h>
#include <stdint.h>

#include "base/endpoint.h"
#include "base/err.h"
#include "base/map.h"
#include "base/rng.h"
#include "base/time.h"
#include "crypto/siphash.h"
#include "dht/dht.h"
#include "dht/krpc.h"
#include "dht/quota.h"

struct dht_stored {
    struct dht_id target;
    struct cv_addr source; /* network that the quota is charged to */
    cv_usec expires;
    bool mutable_item;
    uint8_t k[DHT_KEY];
    uint8_t sig[DHT_SIGNATURE];
    int64_t seq;
    uint16_t v_len;
    uint8_t v[]; /* raw bencoding */
};

struct dht_itemstore {
    struct cv_map *items;
    uint8_t hash_key[CV_SIPHASH_KEY];
    struct dht_quota quota;
};

/* CV_ERR_NOMEM. */
enum cv_err dht_itemstore_init(struct dht_itemstore *s, const struct cv_rng *rng);
void dht_itemstore_done(struct dht_itemstore *s);

/* NULL when there is none (or it expired). */
const struct dht_stored *dht_itemstore_get(const struct dht_itemstore *s, cv_usec now,
                                           const struct dht_id *target);

/*
 * Stores an item that has passed dht_item_check(). `cas` may be NULL. Returns 0
 * or what the sender is to be told: DHT_CODE_CAS, DHT_CODE_SEQ (older; or the
 * same seq with other content), DHT_CODE_SERVER (full). The same item again
 * only restarts its clock, whatever `cas` says: a repeated datagram is no conflict.
 */
int dht_itemstore_put(struct dht_itemstore *s, cv_usec now, const struct dht_id *own,
                      const struct cv_addr *from, const struct dht_item *item, const int64_t *cas);

void dht_itemstore_expire(struct dht_itemstore *s, cv_usec now);
size_t dht_itemstore_count(const struct dht_itemstore *s);

/* Reads k, salt, seq, sig and v of a message into *ret without verifying a
 * signature. Returns 0 or the code to answer: 203 malformed, 205, 207. A
 * message with any of k, sig, seq, salt or cas must be a complete mutable one. */
int dht_item_from_msg(const struct dht_msg *m, struct dht_item *ret);

#endif
