/* Operations that ask one node and nobody else: ping, ask and sample. */
#include <stdlib.h>
#include <string.h>

#include "dht/op.h"

static enum cv_err start_single(struct dht *d, struct cv_now now, enum dht_op_kind kind,
                                const struct cv_addr *addr, const struct dht_id *target,
                                dht_op *ret) {
    struct dht_operation *op;
    const struct dht_side *s = dht_side_of(d, addr->family);
    if (!dht_in_scope(d, addr) || !s->enabled)
        return CV_ERR_INVAL;
    enum cv_err err = dht_op_new(d, kind, target, &op);
    if (err)
        return err;
    op->phase = DHT_PHASE_SINGLE;
    op->single = *addr;
    op->side = addr->family == 6;
    struct dht_query q = {.side = op->side,
                          .kind = DHT_QUERY_SINGLE,
                          .tries_left = DHT_TRIES,
                          .addr = *addr,
                          .op = op->handle};
    if (!dht_query_send(d, now.mono, &q)) {
        dht_op_free(d, op);
        return CV_ERR_LIMIT;
    }
    op->done.queried = 1;
    *ret = op->handle;
    return CV_ERR_OK;
}

enum cv_err dht_ping(struct dht *d, struct cv_now now, const struct cv_addr *addr, dht_op *ret) {
    return start_single(d, now, DHT_OP_PING, addr, &(struct dht_id){0}, ret);
}

enum cv_err dht_ask(struct dht *d, struct cv_now now, const struct cv_addr *addr,
                    const struct dht_id *target, dht_op *ret) {
    return start_single(d, now, DHT_OP_ASK, addr, target, ret);
}

enum cv_err dht_sample(struct dht *d, struct cv_now now, const struct cv_addr *addr,
                       const struct dht_id *target, dht_op *ret) {
    return start_single(d, now, DHT_OP_SAMPLE, addr, target, ret);
}

/* The node itself, and whom it names of its own family. */
static void take_nodes(struct dht *d, struct dht_operation *op, const struct dht_query *q,
                       const struct dht_msg *m) {
    const struct dht_side *s = &d->sides[q->side];
    struct dht_span list = q->side ? m->nodes6 : m->nodes;
    size_t each = DHT_ID + dht_compact_len(s->family);
    size_t n = op->kind == DHT_OP_ASK ? list.n / each : 0;
    n = n < DHT_NODES_IN_REPLY ? n : DHT_NODES_IN_REPLY;
    op->nodes = calloc(1 + n, sizeof *op->nodes);
    if (!op->nodes)
        return;
    memcpy(op->nodes->id.b, m->id.p, DHT_ID);
    op->nodes->addr = q->addr;
    op->node_count = 1;
    for (size_t i = 0; i < n; i++)
        op->node_count += dht_op_read_node(d, s, list.p + i * each, &op->nodes[op->node_count]);
    op->nodes_due = true;
}

void dht_op_single_answer(struct dht *d, cv_usec now, struct dht_operation *op,
                          const struct dht_query *q, const struct dht_msg *m) {
    op->done.answered = 1;
    if (op->kind != DHT_OP_SAMPLE) {
        take_nodes(d, op, q, m);
        dht_op_finish(d, now, op, CV_ERR_OK);
        return;
    }
    if (!m->samples.p) { /* answered as find_node: it does not know BEP 51 */
        dht_op_finish(d, now, op, CV_ERR_UNKNOWN);
        return;
    }
    size_t n = m->samples.n / DHT_ID;
    op->samples = n ? malloc(n * sizeof *op->samples) : NULL;
    if (op->samples) {
        memcpy(op->samples, m->samples.p, n * DHT_ID);
        op->sample_count = (unsigned)n;
    }
    op->sample_total = m->num.has && m->num.v > 0 ? (uint32_t)m->num.v : 0;
    op->sample_interval = m->interval.has && m->interval.v > 0 ? (uint32_t)m->interval.v : 0;
    op->samples_due = true;
    dht_op_finish(d, now, op, CV_ERR_OK);
}
