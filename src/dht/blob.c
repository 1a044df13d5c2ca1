/*
 * The saved state: what a restarted node needs to find its way back without
 * bootstrap contacts.
 *
 *     "CVD1" | per side: id 20, external (family u8, ip 16, port u16),
 *     count u16, count x (id 20, ip 4 or 16, port u16) | BLAKE2b-128 of all before
 */
#include <stdlib.h>
#include <string.h>

#include "crypto/hash.h"
#include "crypto/keys.h"
#include "dht/engine.h"

static const uint8_t magic[4] = {'C', 'V', 'D', '1'};
#define CHECKSUM 16

static void write_side(struct cv_wr *w, const struct dht_side *s, cv_usec now) {
    const struct dht_entry *e[DHT_SAVED_NODES];
    unsigned n = 0;
    for (unsigned b = s->table.bucket_count; b-- > 0;)
        for (unsigned j = 0; j < s->table.buckets[b]->count && n < DHT_SAVED_NODES; j++)
            if (!dht_entry_bad(&s->table.buckets[b]->entries[j]))
                e[n++] = &s->table.buckets[b]->entries[j];
    (void)now;
    cv_wr_bytes(w, s->table.own.b, DHT_ID);
    cv_wr_u8(w, s->external.family);
    cv_wr_bytes(w, s->external.ip, sizeof s->external.ip);
    cv_wr_be16(w, s->external.port);
    cv_wr_be16(w, (uint16_t)n);
    for (unsigned i = 0; i < n; i++) {
        cv_wr_bytes(w, e[i]->id.b, DHT_ID);
        dht_compact_write(w, &e[i]->addr);
    }
}

size_t dht_save(const struct dht *d, uint8_t *buf, size_t cap) {
    uint8_t *all = malloc(DHT_SAVE_MAX);
    if (!all)
        return 0;
    struct cv_wr w = cv_wr_init(all, DHT_SAVE_MAX);
    cv_wr_bytes(&w, magic, sizeof magic);
    write_side(&w, &d->sides[0], d->now);
    write_side(&w, &d->sides[1], d->now);
    size_t len = cv_wr_len(&w);
    uint8_t *sum = cv_wr_skip(&w, CHECKSUM);
    CV_BLAKE2B(sum, CHECKSUM, NULL, 0, {all, len});
    len += CHECKSUM;
    if (len <= cap)
        memcpy(buf, all, len);
    free(all);
    return len;
}

/* One side as it lies in the blob. */
struct saved_side {
    struct dht_id id;
    struct cv_addr external;
    unsigned count;
    const uint8_t *nodes;
};

static void read_side(struct cv_rd *r, uint8_t family, struct saved_side *ret) {
    memset(ret, 0, sizeof *ret);
    cv_rd_copy(r, ret->id.b, DHT_ID);
    ret->external.family = cv_rd_u8(r);
    cv_rd_copy(r, ret->external.ip, sizeof ret->external.ip);
    ret->external.port = cv_rd_be16(r);
    ret->count = cv_rd_be16(r);
    ret->nodes = cv_rd_bytes(r, ret->count * (DHT_ID + dht_compact_len(family)));
    if (ret->external.family != 0 && ret->external.family != family)
        r->err = CV_ERR_CORRUPT;
    if (ret->count > DHT_SAVED_NODES)
        r->err = CV_ERR_CORRUPT;
}

static enum cv_err load_side(struct dht *d, cv_usec now, unsigned i, const struct saved_side *v) {
    static const struct dht_id none;
    struct dht_side *s = &d->sides[i];
    if (!s->enabled)
        return CV_ERR_OK;
    /* An address the caller knows for sure wins over the saved one. */
    if (!s->external.family && v->external.family && dht_in_scope(d, &v->external))
        s->external = v->external;
    bool id_usable = dht_id_equal(&d->cfg.id, &none) && !dht_id_equal(&v->id, &none) &&
                     (d->cfg.scope != DHT_SCOPE_PUBLIC || !s->external.family ||
                      dht_id_fits_address(&v->id, &s->external));
    if (id_usable && dht_table_count(&s->table) == 0) {
        struct dht_table fresh;
        enum cv_err err = dht_table_init(&fresh, &v->id, now);
        if (err)
            return err;
        dht_table_done(&s->table);
        s->table = fresh;
    }
    struct dht_node *saved = v->count ? calloc(v->count, sizeof *saved) : NULL;
    unsigned n = 0;
    for (unsigned j = 0; saved && j < v->count; j++) {
        size_t compact = dht_compact_len(s->family);
        const uint8_t *at = v->nodes + j * (DHT_ID + compact);
        memcpy(saved[n].id.b, at, DHT_ID);
        n += dht_compact_read((struct dht_span){at + DHT_ID, compact}, &saved[n].addr) &&
             dht_in_scope(d, &saved[n].addr);
    }
    free(s->saved);
    s->saved = saved;
    s->saved_count = n;
    s->saved_next = s->saved_rounds = 0;
    if (n) {
        s->saved_at = now;
        dht_upkeep_wake(d, now, i);
    }
    return CV_ERR_OK;
}

enum cv_err dht_restore(struct dht *d, struct cv_now now, const uint8_t *buf, size_t len) {
    uint8_t sum[CHECKSUM];
    if (len < sizeof magic + CHECKSUM || len > DHT_SAVE_MAX)
        return CV_ERR_CORRUPT;
    if (memcmp(buf, magic, 3) == 0 && buf[3] != magic[3])
        return CV_ERR_VERSION;
    CV_BLAKE2B(sum, CHECKSUM, NULL, 0, {buf, len - CHECKSUM});
    if (memcmp(buf, magic, sizeof magic) != 0 || !cv_equal(sum, buf + len - CHECKSUM, CHECKSUM))
        return CV_ERR_CORRUPT;

    struct cv_rd r = cv_rd_init(buf + sizeof magic, len - sizeof magic - CHECKSUM);
    struct saved_side sides[2];
    read_side(&r, 4, &sides[0]);
    read_side(&r, 6, &sides[1]);
    if (r.err || cv_rd_left(&r) != 0)
        return CV_ERR_CORRUPT;
    enum cv_err err = load_side(d, now.mono, 0, &sides[0]);
    return err ? err : load_side(d, now.mono, 1, &sides[1]);
}
