/* Queries of ours: sending, matching answers, timeouts. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "dht/engine.h"

/* A transaction id is 22 random bits and the slot: with the address of the
 * sender, which must match too, that is what a forger has to guess. */
enum { SLOT_BITS = 10, TID = 4 };
static_assert(DHT_QUERIES <= 1 << SLOT_BITS, "a slot fits its bits");

static bool grow(struct dht *d) {
    unsigned cap = d->query_cap ? d->query_cap * 2 : 16;
    if (cap > DHT_QUERIES)
        return false;
    struct dht_query **q = realloc(d->queries, cap * sizeof(struct dht_query *));
    if (!q)
        return false;
    d->queries = q;
    uint16_t *f = realloc(d->free_slots, cap * sizeof *f);
    if (!f)
        return false;
    d->free_slots = f;
    for (unsigned i = d->query_cap; i < cap; i++) {
        d->queries[i] = calloc(1, sizeof **d->queries);
        if (!d->queries[i])
            return d->free_count > 0;
        d->free_slots[d->free_count++] = (uint16_t)i;
        d->query_cap = i + 1;
    }
    return true;
}

static void release(struct dht *d, struct dht_query *q) {
    cv_heap_remove(&d->timers, &q->timer);
    q->in_use = false;
    d->free_slots[d->free_count++] = (uint16_t)(q->tid & ((1u << SLOT_BITS) - 1));
}

/* Takes the slot of whoever was given up longest ago. */
static bool reclaim(struct dht *d) {
    struct dht_query *oldest = NULL;
    for (unsigned i = 0; i < d->query_cap; i++) {
        struct dht_query *q = d->queries[i];
        if (q->in_use && q->given_up && (!oldest || q->sent < oldest->sent))
            oldest = q;
    }
    if (oldest)
        release(d, oldest);
    return oldest;
}

static cv_usec short_timeout(const struct dht_side *s) {
    if (!s->rtt_mean)
        return DHT_SHORT_FIRST;
    cv_usec t = s->rtt_mean + 4 * s->rtt_dev;
    t = t > DHT_SHORT_MIN ? t : DHT_SHORT_MIN;
    return t < DHT_SHORT_MAX ? t : DHT_SHORT_MAX;
}

static void measure(struct dht_side *s, cv_usec rtt) {
    rtt = rtt ? rtt : 1;
    if (!s->rtt_mean) {
        s->rtt_mean = rtt;
        s->rtt_dev = rtt / 2;
        return;
    }
    cv_usec off = rtt > s->rtt_mean ? rtt - s->rtt_mean : s->rtt_mean - rtt;
    s->rtt_dev = (3 * s->rtt_dev + off) / 4;
    s->rtt_mean = (7 * s->rtt_mean + rtt) / 8;
    s->rtt_mean = s->rtt_mean ? s->rtt_mean : 1;
}

static void put_tid(uint8_t t[TID], uint32_t tid) {
    struct cv_wr w = cv_wr_init(t, TID);
    cv_wr_be32(&w, tid);
}

static void transmit(struct dht *d, const struct dht_query *q) {
    uint8_t t[TID];
    put_tid(t, q->tid);
    struct dht_side *s = &d->sides[q->side];
    struct dht_msg m = {.kind = DHT_QUERY,
                        .method = DHT_METHOD_PING,
                        .t = {t, sizeof t},
                        .client = dht_client(),
                        .read_only = d->cfg.read_only,
                        .id = {s->table.own.b, DHT_ID}};
    const struct dht_operation *op = q->op ? dht_op_get(d, q->op) : NULL;
    struct dht_id anything;
    if (op) {
        dht_op_compose(d, op, q, &m);
    } else if (q->kind == DHT_QUERY_CHECK) {
        /* Not a ping: those who take an id close to whatever is looked for are
         * caught here, before they are in the table. */
        anything = dht_id_random(d->rng);
        m.method = DHT_METHOD_FIND_NODE;
        m.target = (struct dht_span){anything.b, DHT_ID};
    }
    dht_send(d, &q->addr, &m);
}

bool dht_query_send(struct dht *d, cv_usec now, const struct dht_query *like) {
    if (d->free_count == 0 && !grow(d) && !reclaim(d))
        return false;
    unsigned slot = d->free_slots[d->free_count - 1];
    struct dht_query *q = d->queries[slot];
    assert(!q->in_use);
    struct dht_query fresh = *like;
    fresh.timer = (struct cv_timer){0};
    fresh.in_use = true;
    fresh.given_up = false;
    fresh.sent = now;
    fresh.tid = cv_rng_u32(d->rng) << SLOT_BITS | slot;
    *q = fresh;
    if (cv_heap_set(&d->timers, &q->timer, cv_usec_add(now, short_timeout(&d->sides[q->side])))) {
        q->in_use = false;
        return false;
    }
    d->free_count--;
    transmit(d, q);
    return true;
}

static struct dht_query *match(struct dht *d, const struct cv_addr *from, const struct dht_msg *m) {
    if (m->t.n != TID)
        return NULL;
    struct cv_rd r = cv_rd_init(m->t.p, m->t.n);
    uint32_t tid = cv_rd_be32(&r);
    unsigned slot = tid & ((1u << SLOT_BITS) - 1);
    if (slot >= d->query_cap)
        return NULL;
    struct dht_query *q = d->queries[slot];
    return q->in_use && q->tid == tid && cv_addr_equal(&q->addr, from) ? q : NULL;
}

enum cv_err dht_query_answered(struct dht *d, cv_usec now, const struct cv_addr *from,
                               const struct dht_msg *m) {
    struct dht_query *q = match(d, from, m);
    if (!q) {
        d->count.dropped_unasked++;
        return CV_ERR_NOENT;
    }
    if (m->fault) {
        /* The query stays open: it fails by silence, as if this had been lost. */
        d->count.dropped_malformed++;
        return CV_ERR_MALFORMED;
    }
    measure(&d->sides[q->side], cv_usec_since(now, q->sent));
    struct dht_query done = *q;
    release(d, q);
    if (m->kind == DHT_ANSWER) {
        d->count.answers_in++;
        dht_upkeep_answered(d, now, &done, m);
        if (done.op)
            dht_op_answer(d, now, &done, m);
    } else {
        d->count.errors_in++;
        if (done.op)
            dht_op_error(d, now, &done, m);
    }
    return CV_ERR_OK;
}

/* The short timeout passed. */
static void give_up(struct dht *d, cv_usec now, struct dht_query *q) {
    q->given_up = true;
    d->count.timeouts++;
    (void)cv_heap_set(&d->timers, &q->timer, cv_usec_add(q->sent, DHT_QUERY_LIVES));

    struct dht_query again = *q;
    if (q->tries_left > 0) {
        again.tries_left--;
        if (dht_query_send(d, now, &again)) {
            if (again.op)
                dht_op_stalled(d, now, &again);
            return;
        }
    }
    struct dht_side *s = &d->sides[again.side];
    const struct dht_entry *e = dht_table_find(&s->table, &again.addr);
    if (e && e->replied < again.sent)
        dht_table_failed(&s->table, now, &again.addr);
    if (again.op)
        dht_op_failed(d, now, &again);
}

void dht_query_timeouts(struct dht *d, cv_usec now) {
    struct cv_timer *t;
    while ((t = cv_heap_pop(&d->timers, now))) {
        struct dht_query *q = CV_CONTAINER_OF(t, struct dht_query, timer);
        if (q->given_up)
            release(d, q);
        else
            give_up(d, now, q);
    }
}

void dht_queries_done(struct dht *d) {
    cv_heap_done(&d->timers); /* it touches the queries it holds */
    for (unsigned i = 0; i < d->query_cap; i++)
        free(d->queries[i]);
    free(d->queries);
    free(d->free_slots);
}
