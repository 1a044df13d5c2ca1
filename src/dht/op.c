/* Operations: their handles, their life, what they report. The phases stand in
 * op_start.c, op_lookup.c, op_store.c and op_single.c. */
#include "dht/op.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* --- life --------------------------------------------------------------- */

enum { INDEX_BITS = 10 };
static_assert(DHT_OPS <= 1 << INDEX_BITS, "an index fits its bits");

static unsigned index_of(dht_op handle) {
    return (unsigned)(handle & ((1u << INDEX_BITS) - 1));
}

struct dht_operation *dht_op_get(const struct dht *d, dht_op handle) {
    unsigned i = index_of(handle);
    struct dht_operation *op = i < DHT_OPS ? d->ops[i] : NULL;
    return op && op->handle == handle ? op : NULL;
}

enum cv_err dht_op_new(struct dht *d, enum dht_op_kind kind, const struct dht_id *target,
                       struct dht_operation **ret) {
    /* The first places are upkeep's: it needs two a side, whatever callers do. */
    unsigned i = kind == DHT_OP_HOME || kind == DHT_OP_REFRESH ? 0 : 4;
    while (i < DHT_OPS && d->ops[i])
        i++;
    if (i == DHT_OPS)
        return CV_ERR_LIMIT;
    struct dht_operation *op = calloc(1, sizeof *op);
    if (!op)
        return CV_ERR_NOMEM;
    op->handle = ++d->op_next << INDEX_BITS | i;
    op->kind = (uint8_t)kind;
    op->target = *target;
    op->above = -1;
    d->ops[i] = op;
    d->op_count++;
    *ret = op;
    return CV_ERR_OK;
}

void dht_op_free(struct dht *d, struct dht_operation *op) {
    if (op->queued)
        TAILQ_REMOVE(&d->dirty, op, dirty);
    d->ops[index_of(op->handle)] = NULL;
    d->op_count--;
    free(op->lookup[0]);
    free(op->lookup[1]);
    free(op->sweep[0]);
    free(op->sweep[1]);
    free(op->item);
    free(op->peers);
    free(op->nodes);
    free(op->samples);
    free(op->filters);
    free(op);
}

void dht_ops_done(struct dht *d) {
    for (unsigned i = 0; i < DHT_OPS; i++)
        if (d->ops[i])
            dht_op_free(d, d->ops[i]);
}

void dht_cancel(struct dht *d, struct cv_now now, dht_op handle) {
    (void)now;
    struct dht_operation *op = dht_op_get(d, handle);
    if (op && !op->internal)
        dht_op_free(d, op);
}

void dht_op_mark_dirty(struct dht *d, struct dht_operation *op) {
    if (op->internal || op->queued)
        return;
    TAILQ_INSERT_TAIL(&d->dirty, op, dirty);
    op->queued = true;
}

/* --- phases ------------------------------------------------------------- */

void dht_op_finish(struct dht *d, cv_usec now, struct dht_operation *op, enum cv_err err) {
    op->phase = DHT_PHASE_OVER;
    op->done.err = err;
    op->done_due = true;
    if (op->internal) {
        dht_upkeep_op_over(d, now, op);
        dht_op_free(d, op);
        return;
    }
    dht_op_mark_dirty(d, op);
}

void dht_ops_start_waiting(struct dht *d, cv_usec now) {
    for (unsigned i = 0; i < DHT_OPS; i++)
        if (d->ops[i] && d->ops[i]->phase == DHT_PHASE_WAITING)
            dht_op_lookup_begin(d, now, d->ops[i]);
}

void dht_op_start(struct dht *d, cv_usec now, struct dht_operation *op, dht_op *ret) {
    *ret = op->handle;
    if (d->ready || d->gave_up)
        dht_op_lookup_begin(d, now, op);
}

dht_op dht_op_internal(struct dht *d, cv_usec now, enum dht_op_kind kind, uint8_t side,
                       const struct dht_id *target) {
    struct dht_operation *op;
    if (dht_op_new(d, kind, target, &op))
        return 0;
    dht_op handle = op->handle;
    op->internal = true;
    op->side = side;
    dht_op_lookup_begin(d, now, op); /* may be over at once */
    return dht_op_get(d, handle) ? handle : 0;
}

void dht_op_compose(struct dht *d, const struct dht_operation *op, const struct dht_query *q,
                    struct dht_msg *m) {
    if (q->kind == DHT_QUERY_STORE) {
        dht_op_store_compose(op, q, m);
    } else if (q->kind == DHT_QUERY_LOOKUP || (q->kind == DHT_QUERY_SWEEP && op->sweep[q->side])) {
        dht_op_lookup_compose(d, op, q, m);
    } else if (op->kind == DHT_OP_SAMPLE || op->kind == DHT_OP_ASK) {
        m->method = op->kind == DHT_OP_ASK ? DHT_METHOD_FIND_NODE : DHT_METHOD_SAMPLE;
        m->target = (struct dht_span){op->target.b, DHT_ID};
    }
}

static bool is_lookup(const struct dht_query *q) {
    return q->kind == DHT_QUERY_LOOKUP || q->kind == DHT_QUERY_SWEEP;
}

/* The operation that a query belongs to, when it is still in the phase that
 * sent it. */
static struct dht_operation *waiting_for(struct dht *d, const struct dht_query *q) {
    static const uint8_t phases[] = {[DHT_QUERY_LOOKUP] = DHT_PHASE_LOOKUP,
                                     [DHT_QUERY_SWEEP] = DHT_PHASE_LOOKUP,
                                     [DHT_QUERY_STORE] = DHT_PHASE_STORE,
                                     [DHT_QUERY_SINGLE] = DHT_PHASE_SINGLE};
    struct dht_operation *op = dht_op_get(d, q->op);
    return op && q->kind != DHT_QUERY_CHECK && op->phase == phases[q->kind] ? op : NULL;
}

void dht_op_answer(struct dht *d, cv_usec now, const struct dht_query *q, const struct dht_msg *m) {
    struct dht_operation *op = waiting_for(d, q);
    if (!op)
        return;
    if (is_lookup(q))
        dht_op_lookup_answer(d, now, op, q, m);
    else if (q->kind == DHT_QUERY_STORE)
        dht_op_store_answer(d, now, op, q);
    else
        dht_op_single_answer(d, now, op, q, m);
}

static void lookup_failed(struct dht *d, cv_usec now, struct dht_operation *op,
                          const struct dht_query *q) {
    struct dht_lookup *l = dht_op_lookup_of(op, q);
    if (l)
        dht_lookup_failed(l, &q->addr);
    dht_op_lookup_advance(d, now, op);
}

void dht_op_error(struct dht *d, cv_usec now, const struct dht_query *q, const struct dht_msg *m) {
    struct dht_operation *op = waiting_for(d, q);
    if (!op)
        return;
    if (is_lookup(q)) {
        lookup_failed(d, now, op, q);
    } else if (q->kind == DHT_QUERY_STORE) {
        dht_op_store_error(d, now, op, q, m->code);
    } else {
        op->done.answered = 1;
        dht_op_finish(d, now, op, CV_ERR_UNKNOWN);
    }
}

void dht_op_stalled(struct dht *d, cv_usec now, const struct dht_query *q) {
    struct dht_operation *op = waiting_for(d, q);
    if (op && is_lookup(q)) {
        struct dht_lookup *l = dht_op_lookup_of(op, q);
        if (l)
            dht_lookup_stalled(l, &q->addr);
        dht_op_lookup_advance(d, now, op);
    }
}

void dht_op_failed(struct dht *d, cv_usec now, const struct dht_query *q) {
    struct dht_operation *op = waiting_for(d, q);
    if (!op)
        return;
    if (is_lookup(q))
        lookup_failed(d, now, op, q);
    else if (q->kind == DHT_QUERY_STORE)
        dht_op_store_failed(d, now, op, q);
    else
        dht_op_finish(d, now, op, CV_ERR_TIMEDOUT);
}

/* --- kept ones ------------------------------------------------------------ */

enum cv_err dht_keep(struct dht *d, dht_op handle) {
    struct dht_operation *op = dht_op_get(d, handle);
    if (!op || (op->kind != DHT_OP_ANNOUNCE && op->kind != DHT_OP_PUT))
        return CV_ERR_INVAL;
    op->kept = true;
    return CV_ERR_OK;
}

/* A round has been reported: forget its results, wait for the next. */
static void rest(struct dht *d, struct dht_operation *op) {
    cv_usec longest = op->kind == DHT_OP_PUT ? DHT_KEEP_ITEM : DHT_KEEP_PEER;
    cv_usec spread = longest / (op->kind == DHT_OP_PUT ? 4 : 5);
    if (op->done.stored) {
        op->failures = 0;
    } else {
        longest = cv_usec_min(longest, DHT_KEEP_RETRY << (op->failures < 5 ? op->failures : 5));
        spread = longest / 2;
        op->failures++;
    }
    for (unsigned i = 0; i < 2; i++) {
        free(op->lookup[i]);
        free(op->sweep[i]);
        op->lookup[i] = op->sweep[i] = NULL;
        op->sweeps[i] = 0;
    }
    free(op->peers);
    op->peers = NULL;
    op->peer_count = op->peer_cap = op->peers_taken = 0;
    op->done = (struct dht_done){0};
    op->phase = DHT_PHASE_RESTING;
    op->again = cv_usec_add(d->now, longest - cv_rng_below(d->rng, spread));
    d->keep_at = cv_usec_min(d->keep_at, op->again);
}

void dht_ops_keep(struct dht *d, cv_usec now) {
    unsigned under_way = 0;
    for (unsigned i = 0; i < DHT_OPS; i++)
        under_way += d->ops[i] && d->ops[i]->kept && d->ops[i]->phase != DHT_PHASE_RESTING;
    d->keep_at = CV_USEC_NEVER;
    for (unsigned i = 0; i < DHT_OPS; i++) {
        struct dht_operation *op = d->ops[i];
        if (!op || op->phase != DHT_PHASE_RESTING)
            continue;
        if (op->again <= now && under_way >= DHT_KEEP_AT_ONCE)
            op->again = cv_usec_add(now, CV_SEC(1) + cv_rng_below(d->rng, CV_SEC(1)));
        if (op->again > now) {
            d->keep_at = cv_usec_min(d->keep_at, op->again);
            continue;
        }
        under_way++;
        dht_op_lookup_begin(d, now, op);
    }
}

/* --- events ------------------------------------------------------------- */

static bool next_event(struct dht_operation *op, struct dht_event *ret) {
    ret->op = op->handle;
    if (op->peers_taken < op->peer_count) {
        ret->kind = DHT_EVENT_PEERS;
        ret->peers.v = op->peers + op->peers_taken;
        ret->peers.n = op->peer_count - op->peers_taken;
        op->peers_taken = op->peer_count;
    } else if (op->nodes_due) {
        ret->kind = DHT_EVENT_NODES;
        ret->nodes.v = op->nodes;
        ret->nodes.n = op->node_count;
        op->nodes_due = false;
    } else if (op->item_due) {
        ret->kind = DHT_EVENT_ITEM;
        ret->item = op->item;
        op->item_due = false;
    } else if (op->samples_due) {
        ret->kind = DHT_EVENT_SAMPLES;
        ret->samples.v = op->samples;
        ret->samples.n = op->sample_count;
        ret->samples.total = op->sample_total;
        ret->samples.interval_s = op->sample_interval;
        op->samples_due = false;
    } else if (op->done_due) {
        ret->kind = DHT_EVENT_DONE;
        ret->done = op->done;
        op->done_due = false;
    } else {
        return false;
    }
    return true;
}

bool dht_ops_event(struct dht *d, struct dht_event *ret) {
    struct dht_operation *op;
    while ((op = TAILQ_FIRST(&d->dirty))) {
        memset(ret, 0, sizeof *ret);
        if (next_event(op, ret)) {
            if (ret->kind == DHT_EVENT_DONE && op->kept)
                rest(d, op);
            else if (ret->kind == DHT_EVENT_DONE)
                dht_op_free(d, op);
            return true;
        }
        TAILQ_REMOVE(&d->dirty, op, dirty);
        op->queued = false;
    }
    return false;
}
