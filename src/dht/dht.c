/* The outer face of the engine. */
#include "dht/dht.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "dht/engine.h"

struct dht_span dht_client(void) {
    static const uint8_t v[4] = {'C', 'V', 0, 1}; /* two letters, version (BEP 20) */
    return (struct dht_span){v, sizeof v};
}

/* --- life --------------------------------------------------------------- */

static enum cv_err side_init(struct dht *d, unsigned i, cv_usec now) {
    static const struct dht_id none;
    struct dht_side *s = &d->sides[i];
    s->family = i ? 6 : 4;
    s->enabled = i ? d->cfg.ipv6 : d->cfg.ipv4;
    if (!s->enabled)
        return CV_ERR_OK;
    s->external = i ? d->cfg.external6 : d->cfg.external4;
    struct dht_id id = d->cfg.id;
    if (dht_id_equal(&id, &none)) {
        bool bound = d->cfg.scope == DHT_SCOPE_PUBLIC && s->external.family;
        id = bound ? dht_id_for_address(&s->external, d->rng) : dht_id_random(d->rng);
    }
    return dht_table_init(&s->table, &id, now);
}

struct dht *dht_new(const struct dht_config *cfg, const struct cv_rng *rng, struct cv_now now) {
    assert(cfg->ipv4 || cfg->ipv6);
    struct dht *d = calloc(1, sizeof *d);
    if (!d)
        return NULL;
    d->cfg = *cfg;
    d->rng = rng;
    d->now = now.mono;
    TAILQ_INIT(&d->dirty);
    cv_heap_init(&d->timers, DHT_QUERIES);
    dht_tokens_init(&d->tokens, rng, now.mono);
    dht_upkeep_init(d, now.mono);
    if (side_init(d, 0, now.mono) || side_init(d, 1, now.mono) ||
        dht_peerstore_init(&d->peers, rng) || dht_itemstore_init(&d->items, rng) ||
        dht_ratelimit_init(&d->limiter, rng))
        return dht_free(d);
    return d;
}

struct dht *dht_free(struct dht *d) {
    if (!d)
        return NULL;
    dht_ops_done(d);
    dht_queries_done(d);
    dht_outbox_done(&d->outbox);
    dht_ratelimit_done(&d->limiter);
    dht_itemstore_done(&d->items);
    dht_peerstore_done(&d->peers);
    dht_tokens_done(&d->tokens);
    for (unsigned i = 0; i < 2; i++) {
        dht_table_done(&d->sides[i].table);
        free(d->sides[i].saved);
    }
    free(d);
    return NULL;
}

static void check(struct dht *d, struct cv_now now) {
    assert(now.mono >= d->now);
    d->now = now.mono;
}

/* --- datagrams ---------------------------------------------------------- */

static bool is_unicast(const struct cv_addr *a) {
    static const uint8_t zero[16];
    if (memcmp(a->ip, zero, sizeof zero) == 0)
        return false;
    return a->family == 4 ? a->ip[0] > 0 && a->ip[0] < 224 : a->ip[0] != 0xff;
}

bool dht_in_scope(const struct dht *d, const struct cv_addr *addr) {
    if (addr->port == 0 || (addr->family != 4 && addr->family != 6))
        return false;
    switch (d->cfg.scope) {
    case DHT_SCOPE_PUBLIC:
        return cv_addr_is_public(addr);
    case DHT_SCOPE_PRIVATE:
        return is_unicast(addr) && !cv_addr_is_loopback(addr);
    case DHT_SCOPE_LOOPBACK:
        return cv_addr_is_loopback(addr);
    }
    return false;
}

void dht_send(struct dht *d, const struct cv_addr *to, const struct dht_msg *m) {
    uint8_t buf[DHT_DATAGRAM_MAX];
    struct cv_wr w = cv_wr_init(buf, sizeof buf);
    dht_msg_write(&w, m);
    if (w.err || !dht_outbox_push(&d->outbox, to, buf, cv_wr_len(&w)))
        d->count.dropped_room++;
}

/* A query of ours that came back to us, or somebody who stole our id. */
static bool is_echo(const struct dht *d, uint8_t family, const struct dht_msg *m) {
    const struct dht_side *s = &d->sides[family == 6];
    return m->id.p && memcmp(m->id.p, s->table.own.b, DHT_ID) == 0;
}

static enum cv_err on_query(struct dht *d, cv_usec now, const struct cv_addr *from,
                            const struct dht_msg *m, size_t len) {
    d->count.queries_in++;
    if (d->cfg.read_only)
        return CV_ERR_OK;
    if (is_echo(d, from->family, m))
        return CV_ERR_DENIED;
    if (!dht_ratelimit_query(&d->limiter, now, from)) {
        d->count.dropped_rate++;
        return CV_ERR_LIMIT;
    }
    dht_serve(d, now, from, m, len);
    return CV_ERR_OK;
}

enum cv_err dht_on_datagram(struct dht *d, struct cv_now now, const struct cv_addr *from,
                            const uint8_t *buf, size_t len) {
    check(d, now);
    d->count.datagrams_in++;
    d->count.octets_in += len;
    if (!dht_in_scope(d, from) || !dht_side_of(d, from->family)->enabled) {
        d->count.dropped_scope++;
        return CV_ERR_DENIED;
    }
    struct dht_msg m;
    enum cv_err err = len < DHT_DATAGRAM_MIN ? CV_ERR_TRUNCATED : dht_msg_read(buf, len, &m);
    if (err) {
        d->count.dropped_malformed++;
        return err;
    }
    if (m.kind == DHT_QUERY)
        return on_query(d, now.mono, from, &m, len);
    return dht_query_answered(d, now.mono, from, &m);
}

void dht_on_timeout(struct dht *d, struct cv_now now) {
    check(d, now);
    dht_query_timeouts(d, now.mono);
    dht_upkeep(d, now.mono);
}

void dht_poll_transmit(struct dht *d, struct cv_now now, struct cv_batch *batch) {
    check(d, now);
    struct cv_addr to;
    size_t len;
    const uint8_t *data;
    while ((data = dht_outbox_peek(&d->outbox, &to, &len))) {
        if (len > cv_batch_room(batch)) {
            d->count.dropped_room++;
            dht_outbox_pop(&d->outbox);
            continue;
        }
        uint8_t *slot = cv_batch_slot(batch);
        if (!slot)
            return;
        memcpy(slot, data, len);
        struct cv_endpoint ep = cv_endpoint_udp(&to);
        cv_batch_commit(batch, &ep, (uint16_t)len);
        d->count.datagrams_out++;
        d->count.octets_out += len;
        dht_outbox_pop(&d->outbox);
    }
}

cv_usec dht_next_timeout(const struct dht *d) {
    return cv_usec_min(cv_heap_next(&d->timers), dht_upkeep_next(d));
}

/* --- events and status -------------------------------------------------- */

bool dht_poll_event(struct dht *d, struct dht_event *ret) {
    memset(ret, 0, sizeof *ret);
    if (d->gave_up_due) {
        d->gave_up_due = false;
        ret->kind = DHT_EVENT_NO_BOOTSTRAP;
        ret->tried = d->contact_count + d->sides[0].saved_count + d->sides[1].saved_count;
        return true;
    }
    for (unsigned i = 0; i < 2; i++)
        if (d->external_due[i]) {
            d->external_due[i] = false;
            ret->kind = DHT_EVENT_EXTERNAL_ADDRESS;
            ret->external = d->sides[i].external;
            return true;
        }
    if (d->ready_due) {
        d->ready_due = false;
        ret->kind = DHT_EVENT_READY;
        return true;
    }
    return dht_ops_event(d, ret);
}

static void side_status(const struct dht_side *s, cv_usec now, struct dht_side_status *ret) {
    ret->enabled = s->enabled;
    if (!s->enabled)
        return;
    ret->id = s->table.own;
    ret->external = s->external;
    ret->same_port = s->external.family != 0;
    for (unsigned i = 0; i < s->vote_count; i++)
        if (cv_addr_same_ip(&s->votes[i].claimed, &s->external))
            ret->same_port &= s->votes[i].claimed.port == s->external.port;
    ret->nodes_good = dht_table_count_good(&s->table, now);
    ret->nodes_total = dht_table_count(&s->table);
    ret->buckets = s->table.bucket_count;
}

void dht_status(const struct dht *d, struct dht_status *ret) {
    *ret = d->count;
    ret->ready = d->ready;
    side_status(&d->sides[0], d->now, &ret->ipv4);
    side_status(&d->sides[1], d->now, &ret->ipv6);
    for (unsigned i = 0; i < DHT_OPS; i++)
        ret->operations += d->ops[i] && !d->ops[i]->internal;
    ret->hashes = (unsigned)dht_peerstore_count(&d->peers);
    ret->peers = d->peers.peers;
    ret->items = (unsigned)dht_itemstore_count(&d->items);
}

size_t dht_table_rows(const struct dht *d, struct dht_table_row *rows, size_t cap) {
    size_t n = 0;
    for (unsigned i = 0; i < 2; i++) {
        const struct dht_table *t = &d->sides[i].table;
        for (unsigned b = 0; b < t->bucket_count; b++)
            for (unsigned j = 0; j < t->buckets[b]->count && n < cap; j++) {
                const struct dht_entry *e = &t->buckets[b]->entries[j];
                if (dht_entry_bad(e))
                    continue;
                rows[n++] = (struct dht_table_row){.node = {e->id, e->addr},
                                                   .good = dht_entry_good(e, d->now),
                                                   .bucket = dht_id_common_bits(&t->own, &e->id),
                                                   .rtt_ms = e->rtt_ms,
                                                   .replied = e->replied};
            }
    }
    return n;
}
