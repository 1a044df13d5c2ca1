#include "dht/itemstore.h"

#include <stdlib.h>
#include <string.h>

#include "crypto/hash.h"
#include "crypto/keys.h"
#include "dht/limits.h"

/* --- items -------------------------------------------------------------- */

struct dht_id dht_key_target(const uint8_t k[DHT_KEY], const void *salt, size_t salt_len) {
    struct dht_id id = {{0}};
    cv_sha2(CV_SHA1, id.b, k, DHT_KEY, salt, salt_len);
    return id;
}

struct dht_id dht_item_target(const struct dht_item *item) {
    struct dht_id id = {{0}};
    if (item->mutable_item)
        return dht_key_target(item->k, item->salt, item->salt_len);
    cv_sha(CV_SHA1, id.b, item->v, item->v_len);
    return id;
}

ssize_t dht_item_signed(const struct dht_item *item, uint8_t out[DHT_SIGNED_MAX]) {
    if (item->seq < 0 || item->salt_len > DHT_SALT_MAX || item->v_len > DHT_VALUE_MAX)
        return CV_ERR_INVAL;
    struct cv_wr w = cv_wr_init(out, DHT_SIGNED_MAX);
    if (item->salt_len) {
        dht_ben_write_raw(&w, "4:salt");
        dht_ben_write_string(&w, item->salt, item->salt_len);
    }
    dht_ben_write_raw(&w, "3:seq");
    dht_ben_write_int(&w, item->seq);
    dht_ben_write_raw(&w, "1:v");
    cv_wr_bytes(&w, item->v, item->v_len);
    return cv_wr_done(&w);
}

enum cv_err dht_item_check(const struct dht_item *item) {
    if (item->v_len > DHT_VALUE_MAX || item->salt_len > DHT_SALT_MAX)
        return CV_ERR_LIMIT;
    bool canonical;
    ssize_t n = dht_ben_check(item->v, item->v_len, &canonical);
    if (n != item->v_len || !canonical)
        return CV_ERR_MALFORMED;
    if (!item->mutable_item)
        return CV_ERR_OK;

    uint8_t msg[DHT_SIGNED_MAX];
    ssize_t len = dht_item_signed(item, msg);
    if (len < 0)
        return CV_ERR_MALFORMED;
    return cv_ed25519_verify(item->sig, item->k, "", msg, (size_t)len) ? CV_ERR_OK : CV_ERR_AUTH;
}

enum cv_err dht_item_set_bytes(struct dht_item *item, const void *data, size_t len) {
    uint8_t v[DHT_VALUE_MAX];
    struct cv_wr w = cv_wr_init(v, sizeof v);
    dht_ben_write_string(&w, data, len);
    if (w.err)
        return CV_ERR_LIMIT;
    memcpy(item->v, v, cv_wr_len(&w));
    item->v_len = (uint16_t)cv_wr_len(&w);
    return CV_ERR_OK;
}

const uint8_t *dht_item_bytes(const struct dht_item *item, size_t *ret_len) {
    struct dht_span s;
    if (!dht_ben_string((struct dht_span){item->v, item->v_len}, &s))
        return NULL;
    *ret_len = s.n;
    return s.p;
}

void dht_item_set_pointer(struct dht_item *item, const struct dht_id *info_hash) {
    struct cv_wr w = cv_wr_init(item->v, sizeof item->v);
    dht_ben_write_raw(&w, "d2:ih");
    dht_ben_write_string(&w, info_hash->b, DHT_ID);
    dht_ben_write_raw(&w, "e");
    item->v_len = (uint16_t)cv_wr_len(&w);
}

bool dht_item_pointer(const struct dht_item *item, struct dht_id *ret) {
    struct dht_ben_iter it = dht_ben_dict((struct dht_span){item->v, item->v_len});
    struct dht_span key, raw, hash;
    while (dht_ben_next_pair(&it, &key, &raw)) {
        if (key.n != 2 || memcmp(key.p, "ih", 2) != 0)
            continue;
        if (!dht_ben_string(raw, &hash) || hash.n != DHT_ID)
            return false;
        memcpy(ret->b, hash.p, DHT_ID);
        return true;
    }
    return false;
}

int dht_item_from_msg(const struct dht_msg *m, struct dht_item *ret) {
    bool is_mutable = m->k.p || m->sig.p || m->seq.has || m->salt.p || m->cas.has;
    if (!m->value.p)
        return DHT_CODE_PROTOCOL;
    if (is_mutable && (!m->k.p || !m->sig.p || !m->seq.has || m->seq.v < 0))
        return DHT_CODE_PROTOCOL;
    if (m->value.n > DHT_VALUE_MAX)
        return DHT_CODE_VALUE_BIG;
    if (m->salt.n > DHT_SALT_MAX)
        return DHT_CODE_SALT_BIG;

    ret->mutable_item = is_mutable;
    ret->salt_len = (uint8_t)m->salt.n;
    ret->v_len = (uint16_t)m->value.n;
    memcpy(ret->v, m->value.p, m->value.n);
    if (!is_mutable)
        return 0;
    ret->seq = m->seq.v;
    memcpy(ret->k, m->k.p, DHT_KEY);
    memcpy(ret->sig, m->sig.p, DHT_SIGNATURE);
    if (m->salt.n)
        memcpy(ret->salt, m->salt.p, m->salt.n);
    return 0;
}

/* --- store -------------------------------------------------------------- */

enum cv_err dht_itemstore_init(struct dht_itemstore *s, const struct cv_rng *rng) {
    *s = (struct dht_itemstore){0};
    cv_rng_fill(rng, s->hash_key, sizeof s->hash_key);
    dht_quota_init(&s->quota, rng, DHT_ITEMS_PER_SOURCE);
    s->items = cv_map_new(DHT_ID, DHT_ITEMS, cv_siphash_map, s->hash_key);
    return s->items ? CV_ERR_OK : CV_ERR_NOMEM;
}

/* Charges the newcomer's network, in exchange for the item it replaces. */
static bool charge(struct dht_itemstore *s, const struct dht_stored *old,
                   const struct cv_addr *from) {
    if (old)
        dht_quota_give(&s->quota, &old->source);
    if (dht_quota_take(&s->quota, from))
        return true;
    if (old)
        (void)dht_quota_take(&s->quota, &old->source); /* just given: cannot fail */
    return false;
}

static void take_out(struct dht_itemstore *s, struct dht_stored *e) {
    cv_map_del(s->items, &e->target);
    free(e);
}

static void drop(struct dht_itemstore *s, struct dht_stored *e) {
    dht_quota_give(&s->quota, &e->source);
    take_out(s, e);
}

void dht_itemstore_done(struct dht_itemstore *s) {
    void *cursor = NULL;
    struct dht_stored *e;
    while (s->items && (e = cv_map_next(s->items, &cursor, NULL)))
        drop(s, e);
    s->items = cv_map_free(s->items);
    dht_quota_done(&s->quota);
}

void dht_itemstore_expire(struct dht_itemstore *s, cv_usec now) {
    void *cursor = NULL;
    struct dht_stored *e;
    while ((e = cv_map_next(s->items, &cursor, NULL)))
        if (e->expires <= now)
            drop(s, e);
}

const struct dht_stored *dht_itemstore_get(const struct dht_itemstore *s, cv_usec now,
                                           const struct dht_id *target) {
    const struct dht_stored *e = cv_map_get(s->items, target);
    return e && e->expires > now ? e : NULL;
}

static bool same(const struct dht_stored *e, const struct dht_item *item) {
    return e->seq == item->seq && e->v_len == item->v_len &&
           memcmp(e->v, item->v, item->v_len) == 0;
}

/* Room for one more: the farthest goes, unless the newcomer is farther still. */
static bool make_room(struct dht_itemstore *s, const struct dht_id *own,
                      const struct dht_id *target) {
    if (cv_map_count(s->items) < DHT_ITEMS)
        return true;
    struct dht_stored *far = NULL, *e;
    const struct dht_id *far_id = target;
    void *cursor = NULL;
    while ((e = cv_map_next(s->items, &cursor, NULL)))
        if (dht_id_closer(own, &e->target, far_id) > 0) {
            far = e;
            far_id = &e->target;
        }
    if (far)
        drop(s, far);
    return far;
}

static struct dht_stored *stored_new(cv_usec now, const struct dht_id *target,
                                     const struct cv_addr *from, const struct dht_item *item) {
    struct dht_stored *e = calloc(1, sizeof *e + item->v_len);
    if (!e)
        return NULL;
    e->target = *target;
    e->source = *from;
    e->expires = cv_usec_add(now, DHT_ITEM_EXPIRES);
    e->mutable_item = item->mutable_item;
    e->v_len = item->v_len;
    memcpy(e->v, item->v, item->v_len);
    if (item->mutable_item) {
        e->seq = item->seq;
        memcpy(e->k, item->k, sizeof e->k);
        memcpy(e->sig, item->sig, sizeof e->sig);
    }
    return e;
}

int dht_itemstore_put(struct dht_itemstore *s, cv_usec now, const struct dht_id *own,
                      const struct cv_addr *from, const struct dht_item *item, const int64_t *cas) {
    struct dht_id target = dht_item_target(item);
    struct dht_stored *old = cv_map_get(s->items, &target);
    if (old && old->expires <= now) {
        drop(s, old);
        old = NULL;
    }
    if (old && (!item->mutable_item || same(old, item))) {
        old->expires = cv_usec_add(now, DHT_ITEM_EXPIRES);
        return 0;
    }
    if (old && cas && *cas != old->seq)
        return DHT_CODE_CAS;
    if (old && item->seq <= old->seq)
        return DHT_CODE_SEQ;

    struct dht_stored *e = stored_new(now, &target, from, item);
    if (!e)
        return DHT_CODE_SERVER;
    if (!charge(s, old, from)) {
        free(e);
        return DHT_CODE_SERVER;
    }
    if (old)
        take_out(s, old);
    if (!make_room(s, own, &target) || cv_map_put(s->items, &target, e)) {
        dht_quota_give(&s->quota, from);
        free(e);
        return DHT_CODE_SERVER;
    }
    return 0;
}

size_t dht_itemstore_count(const struct dht_itemstore *s) {
    return cv_map_count(s->items);
}
