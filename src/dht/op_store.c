/* The second phase of an announcement or a put: everybody who gave a token is
 * asked to store, and says yes or why not. */
#include <assert.h>

#include "dht/op.h"

static void finish_stores(struct dht *d, cv_usec now, struct dht_operation *op) {
    dht_op_finish(d, now, op,
                  op->done.stored    ? CV_ERR_OK
                  : op->done.refused ? CV_ERR_DENIED
                  : op->done.queried ? CV_ERR_TIMEDOUT
                                     : CV_ERR_UNREACHABLE);
}

static void count_refusal(struct dht_done *done, int64_t code) {
    unsigned *of = code == DHT_CODE_PROTOCOL    ? &done->refused_token
                   : code == DHT_CODE_VALUE_BIG ? &done->refused_value
                   : code == DHT_CODE_SIGNATURE ? &done->refused_sig
                   : code == DHT_CODE_SALT_BIG  ? &done->refused_salt
                   : code == DHT_CODE_CAS       ? &done->refused_cas
                   : code == DHT_CODE_SEQ       ? &done->refused_seq
                                                : &done->refused_other;
    done->refused++;
    (*of)++;
}

/* Are we ourselves among the nodes closest to the key? Then an item belongs
 * here, too. */
static void store_at_home(struct dht *d, cv_usec now, struct dht_operation *op) {
    if (op->kind != DHT_OP_PUT || d->cfg.read_only)
        return;
    for (unsigned i = 0; i < 2; i++) {
        struct dht_candidate *c[DHT_K];
        const struct dht_side *s = &d->sides[i];
        if (!s->enabled || !op->lookup[i])
            continue;
        size_t n = dht_lookup_closest(op->lookup[i], true, c, DHT_K);
        if (n == DHT_K && dht_id_closer(&op->target, &s->table.own, &c[n - 1]->id) > 0)
            continue;
        struct cv_addr me = s->external.family ? s->external : (struct cv_addr){.family = 4};
        int code = dht_itemstore_put(&d->items, now, &s->table.own, &me, op->item,
                                     op->has_cas ? &op->cas : NULL);
        op->done.stored += code == 0;
        if (code)
            count_refusal(&op->done, code);
        return;
    }
}

void dht_op_store_begin(struct dht *d, cv_usec now, struct dht_operation *op) {
    op->phase = DHT_PHASE_STORE;
    store_at_home(d, now, op);
    for (unsigned i = 0; i < 2; i++) {
        struct dht_candidate *c[DHT_STORES_MAX];
        size_t n = op->lookup[i] ? dht_lookup_stores(op->lookup[i], c) : 0;
        for (size_t j = 0; j < n; j++) {
            struct dht_query q = {.side = (uint8_t)i,
                                  .kind = DHT_QUERY_STORE,
                                  .tries_left = DHT_TRIES - 1,
                                  .has_id = true,
                                  .id = c[j]->id,
                                  .addr = c[j]->addr,
                                  .op = op->handle};
            op->stores_waiting += dht_query_send(d, now, &q);
        }
    }
    if (op->stores_waiting == 0)
        finish_stores(d, now, op);
}

void dht_op_store_compose(const struct dht_operation *op, const struct dht_query *q,
                          struct dht_msg *m) {
    struct dht_candidate *c = dht_lookup_find(op->lookup[q->side], &q->addr);
    if (!c)
        return;
    m->token = (struct dht_span){c->token, c->token_len};
    if (op->kind == DHT_OP_ANNOUNCE) {
        m->method = DHT_METHOD_ANNOUNCE;
        m->info_hash = (struct dht_span){op->target.b, DHT_ID};
        m->port = (struct dht_int){.v = op->port, .has = true};
        if (op->implied_port)
            m->implied_port = (struct dht_int){.v = 1, .has = true};
        return;
    }
    const struct dht_item *item = op->item;
    m->method = DHT_METHOD_PUT;
    m->value = (struct dht_span){item->v, item->v_len};
    if (!item->mutable_item)
        return;
    m->k = (struct dht_span){item->k, sizeof item->k};
    m->sig = (struct dht_span){item->sig, sizeof item->sig};
    m->seq = (struct dht_int){.v = item->seq, .has = true};
    if (item->salt_len)
        m->salt = (struct dht_span){item->salt, item->salt_len};
    if (op->has_cas && c->has_seq) /* BEP 44: not to nodes that hold nothing */
        m->cas = (struct dht_int){.v = op->cas, .has = true};
}

static void store_over(struct dht *d, cv_usec now, struct dht_operation *op) {
    assert(op->stores_waiting > 0);
    if (--op->stores_waiting == 0)
        finish_stores(d, now, op);
}

/* A candidate's store is settled once, however often it was sent. */
static bool settle(struct dht_operation *op, const struct dht_query *q) {
    struct dht_candidate *c = dht_lookup_find(op->lookup[q->side], &q->addr);
    if (!c || c->stored)
        return false;
    c->stored = true;
    return true;
}

void dht_op_store_answer(struct dht *d, cv_usec now, struct dht_operation *op,
                         const struct dht_query *q) {
    if (!settle(op, q))
        return;
    op->done.stored++;
    store_over(d, now, op);
}

void dht_op_store_error(struct dht *d, cv_usec now, struct dht_operation *op,
                        const struct dht_query *q, int64_t code) {
    if (!settle(op, q))
        return;
    count_refusal(&op->done, code);
    store_over(d, now, op);
}

void dht_op_store_failed(struct dht *d, cv_usec now, struct dht_operation *op,
                         const struct dht_query *q) {
    if (settle(op, q))
        store_over(d, now, op);
}
