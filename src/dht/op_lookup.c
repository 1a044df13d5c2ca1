/* The first phase of an operation: the look-up on both sides, and what its
 * answers hold: nodes, peers, filters, items. */
#include <stdlib.h>
#include <string.h>

#include "dht/op.h"

/* --- results ------------------------------------------------------------ */

static void add_peer(struct dht *d, struct dht_operation *op, const struct cv_addr *addr) {
    if (addr->port == 0 || !dht_in_scope(d, addr))
        return;
    for (unsigned i = 0; i < op->peer_count; i++)
        if (cv_addr_equal(&op->peers[i], addr))
            return;
    if (op->peer_count == op->peer_cap) {
        unsigned cap = op->peer_cap ? op->peer_cap * 2 : 16;
        struct cv_addr *v = cap <= DHT_PEERS_FOUND_MAX ? realloc(op->peers, cap * sizeof *v) : NULL;
        if (!v)
            return;
        op->peers = v;
        op->peer_cap = cap;
    }
    op->peers[op->peer_count++] = *addr;
    dht_op_mark_dirty(d, op);
}

static void add_values(struct dht *d, struct dht_operation *op, struct dht_span values) {
    struct dht_ben_iter it = dht_ben_list(values);
    struct dht_span raw, s;
    struct cv_addr addr;
    while (dht_ben_next(&it, &raw))
        if (dht_ben_string(raw, &s) && dht_compact_read(s, &addr))
            add_peer(d, op, &addr);
}

static void add_filters(struct dht_operation *op, const struct dht_msg *m) {
    if (!m->filter_seeds.p || !m->filter_peers.p)
        return;
    if (!op->filters)
        op->filters = calloc(2, sizeof *op->filters);
    for (unsigned i = 0; op->filters && i < DHT_FILTER; i++) {
        op->filters[0][i] |= m->filter_seeds.p[i];
        op->filters[1][i] |= m->filter_peers.p[i];
    }
}

/* An item that passed its checks, when it is better than what is known. */
static void add_item(struct dht *d, struct dht_operation *op, const struct dht_item *item) {
    *op->item = *item;
    op->has_item = true;
    op->item_due = true;
    dht_op_mark_dirty(d, op);
}

/* `item` is raw from a message: does it belong to the target, is it news, is it
 * genuine? The dear check comes last. */
static void offer_item(struct dht *d, struct dht_operation *op, struct dht_item *item) {
    if (item->mutable_item != op->item->mutable_item)
        return;
    if (item->mutable_item) {
        /* The salt is not in the answer: it is the one we asked with. */
        item->salt_len = op->item->salt_len;
        memcpy(item->salt, op->item->salt, sizeof item->salt);
        int64_t than = op->has_item ? op->item->seq : op->above;
        if (item->seq <= than)
            return;
    } else if (op->has_item) {
        return;
    }
    struct dht_id target = dht_item_target(item);
    if (dht_id_equal(&target, &op->target) && dht_item_check(item) == CV_ERR_OK)
        add_item(d, op, item);
}

static void add_value(struct dht *d, struct dht_operation *op, const struct dht_msg *m) {
    struct dht_item item = {0};
    struct dht_msg plain = *m;
    plain.salt = (struct dht_span){0};
    plain.cas.has = false;
    if (m->value.p && dht_item_from_msg(&plain, &item) == 0)
        offer_item(d, op, &item);
}

/* What this node itself stores for others is as good as anybody's. */
static void look_at_home(struct dht *d, cv_usec now, struct dht_operation *op) {
    if (d->cfg.read_only)
        return;
    if (op->kind == DHT_OP_FIND_PEERS || op->kind == DHT_OP_SCRAPE) {
        for (unsigned i = 0; i < 2; i++) {
            struct cv_addr v[DHT_VALUES_IN_REPLY];
            size_t n = d->sides[i].enabled
                           ? dht_peerstore_sample(&d->peers, now, d->rng, &op->target,
                                                  d->sides[i].family, false, v, DHT_VALUES_IN_REPLY)
                           : 0;
            for (size_t j = 0; j < n; j++)
                add_peer(d, op, &v[j]);
        }
    }
    const struct dht_stored *e =
        op->kind == DHT_OP_GET ? dht_itemstore_get(&d->items, now, &op->target) : NULL;
    if (!e || e->v_len > DHT_VALUE_MAX)
        return;
    struct dht_item item = {.mutable_item = e->mutable_item, .seq = e->seq, .v_len = e->v_len};
    memcpy(item.k, e->k, sizeof item.k);
    memcpy(item.sig, e->sig, sizeof item.sig);
    memcpy(item.v, e->v, e->v_len);
    offer_item(d, op, &item);
}

/* --- the end ------------------------------------------------------------ */

static bool is_store(const struct dht_operation *op) {
    return op->kind == DHT_OP_ANNOUNCE || op->kind == DHT_OP_PUT;
}

/* How far it was, and how large the network seems from here. */
static void measure(struct dht *d, struct dht_operation *op) {
    for (unsigned i = 0; i < 2; i++)
        if (op->lookup[i]) {
            unsigned steps = dht_lookup_steps(op->lookup[i]);
            op->done.steps = steps > op->done.steps ? steps : op->done.steps;
            dht_upkeep_measured(d, i, dht_lookup_size(op->lookup[i]), op->kind == DHT_OP_HOME);
        }
}

static void report_nodes(struct dht *d, struct dht_operation *op) {
    op->nodes = calloc(2 * DHT_K, sizeof *op->nodes);
    for (unsigned i = 0; op->nodes && i < 2; i++) {
        struct dht_candidate *c[DHT_K];
        size_t n = op->lookup[i] ? dht_lookup_closest(op->lookup[i], false, c, DHT_K) : 0;
        for (size_t j = 0; j < n; j++)
            op->nodes[op->node_count++] = (struct dht_node){c[j]->id, c[j]->addr};
    }
    op->nodes_due = op->node_count > 0;
    dht_op_mark_dirty(d, op);
}

static void finish_lookups(struct dht *d, cv_usec now, struct dht_operation *op) {
    enum cv_err err = op->done.answered  ? CV_ERR_OK
                      : op->done.queried ? CV_ERR_TIMEDOUT
                                         : CV_ERR_UNREACHABLE;
    if (op->kind == DHT_OP_FIND_NODE)
        report_nodes(d, op);
    if (op->kind == DHT_OP_GET)
        err = op->has_item ? CV_ERR_OK : err == CV_ERR_OK ? CV_ERR_NOENT : err;
    if ((op->kind == DHT_OP_FIND_PEERS || op->kind == DHT_OP_SCRAPE) && op->peer_count)
        err = CV_ERR_OK;
    if (op->filters) {
        op->done.scrape_seeds = (unsigned)(dht_filter_count(op->filters[0]) + 0.5);
        op->done.scrape_peers = (unsigned)(dht_filter_count(op->filters[1]) + 0.5);
    }
    dht_op_finish(d, now, op, err);
}

/* --- whom to ask -------------------------------------------------------- */

/* Asks whoever is next in one look-up. */
static void ask(struct dht *d, cv_usec now, struct dht_operation *op, unsigned side,
                struct dht_lookup *l, enum dht_query_kind kind) {
    struct dht_candidate *c;
    while ((c = dht_lookup_next(l))) {
        struct dht_query q = {.side = (uint8_t)side,
                              .kind = (uint8_t)kind,
                              .tries_left = DHT_TRIES - 1,
                              .has_id = !c->contact,
                              .id = c->id,
                              .addr = c->addr,
                              .op = op->handle};
        op->done.queried++;
        if (!dht_query_send(d, now, &q))
            dht_lookup_failed(l, &q.addr);
    }
}

/* The target is crowded: looks up another one around it. How far around: where
 * K nodes are expected; the sweeps take its half, a quarter, an eighth. */
static bool begin_sweep(struct dht *d, cv_usec now, struct dht_operation *op, unsigned side) {
    struct dht_lookup *l = op->lookup[side];
    struct dht_id crowd;
    if (op->sweeps[side] == DHT_SWEEPS || op->internal || !dht_lookup_crowded(l, &crowd))
        return false;
    struct dht_lookup *sweep = malloc(sizeof *sweep);
    if (!sweep)
        return false;
    unsigned bits = op->sweeps[side]++;
    double n = DHT_K;
    while (n * 2 <= l->size.high && bits < 64) {
        n *= 2;
        bits++;
    }
    struct dht_id target = dht_id_random_at(&op->target, bits, d->rng);
    dht_lookup_init(sweep, &target, l->size);
    dht_lookup_shun(sweep, &crowd);
    dht_upkeep_seed(d, now, side, sweep, false);
    op->sweep[side] = sweep;
    return true;
}

/* Those found are asked for the target itself. */
static void end_sweep(struct dht_operation *op, unsigned side) {
    struct dht_candidate *c[DHT_K];
    size_t n = dht_lookup_closest(op->sweep[side], false, c, DHT_K);
    for (size_t i = 0; i < n; i++) {
        struct dht_namer by = {DHT_PATH_SWEEP, c[i]->step};
        if (!c[i]->fits)
            break; /* the crowd itself */
        dht_lookup_add(op->lookup[side], by, &c[i]->id, &c[i]->addr);
    }
    free(op->sweep[side]);
    op->sweep[side] = NULL;
}

/* true: this side has nothing more to ask. */
static bool advance_side(struct dht *d, cv_usec now, struct dht_operation *op, unsigned side) {
    struct dht_lookup *l = op->lookup[side];
    if (!l)
        return true;
    for (;;) {
        if (op->sweep[side]) {
            ask(d, now, op, side, op->sweep[side], DHT_QUERY_SWEEP);
            if (!dht_lookup_over(op->sweep[side]))
                return false;
            end_sweep(op, side);
        }
        ask(d, now, op, side, l, DHT_QUERY_LOOKUP);
        if (!dht_lookup_over(l))
            return false;
        if (!begin_sweep(d, now, op, side))
            return true;
    }
}

void dht_op_lookup_advance(struct dht *d, cv_usec now, struct dht_operation *op) {
    bool over = true;
    for (unsigned i = 0; i < 2; i++)
        over &= advance_side(d, now, op, i);
    if (op->kind == DHT_OP_GET && op->has_item && !op->item->mutable_item)
        over = true; /* nothing can be better than the one and only */
    if (!over)
        return;
    measure(d, op);
    if (is_store(op))
        dht_op_store_begin(d, now, op);
    else
        finish_lookups(d, now, op);
}

void dht_op_lookup_begin(struct dht *d, cv_usec now, struct dht_operation *op) {
    op->phase = DHT_PHASE_LOOKUP;
    look_at_home(d, now, op);
    for (unsigned i = 0; i < 2; i++) {
        if (!d->sides[i].enabled || (op->internal && op->side != i))
            continue;
        op->lookup[i] = malloc(sizeof *op->lookup[i]);
        if (!op->lookup[i])
            continue;
        dht_lookup_init(op->lookup[i], &op->target, dht_upkeep_size(d, i));
        dht_upkeep_seed(d, now, i, op->lookup[i], op->kind == DHT_OP_HOME);
    }
    dht_op_lookup_advance(d, now, op);
}

void dht_op_lookup_compose(struct dht *d, const struct dht_operation *op, const struct dht_query *q,
                           struct dht_msg *m) {
    static const uint8_t both[] = "l2:n42:n6e";
    if (q->kind == DHT_QUERY_SWEEP) {
        m->method = DHT_METHOD_FIND_NODE;
        m->target = (struct dht_span){op->sweep[q->side]->target.b, DHT_ID};
        return;
    }
    struct dht_span target = {op->target.b, DHT_ID};
    switch ((enum dht_op_kind)op->kind) {
    case DHT_OP_FIND_PEERS:
    case DHT_OP_SCRAPE:
    case DHT_OP_ANNOUNCE:
        m->method = DHT_METHOD_GET_PEERS;
        m->info_hash = target;
        if (op->kind == DHT_OP_SCRAPE)
            m->scrape = (struct dht_int){.v = 1, .has = true};
        return;
    case DHT_OP_GET:
    case DHT_OP_PUT:
        m->method = DHT_METHOD_GET;
        m->target = target;
        if (op->kind == DHT_OP_GET && op->above >= 0)
            m->seq = (struct dht_int){.v = op->above, .has = true};
        return;
    case DHT_OP_FIND_NODE:
    case DHT_OP_HOME:
    case DHT_OP_REFRESH:
    case DHT_OP_PING:
    case DHT_OP_ASK:
    case DHT_OP_SAMPLE:
        break;
    }
    m->method = DHT_METHOD_FIND_NODE;
    m->target = target;
    /* Dual stack: while bootstrapping each network may introduce us to the other. */
    if (op->kind == DHT_OP_HOME && d->sides[0].enabled && d->sides[1].enabled)
        m->want = (struct dht_span){both, sizeof both - 1};
}

/* --- answers ------------------------------------------------------------ */

bool dht_op_read_node(const struct dht *d, const struct dht_side *s, const uint8_t *at,
                      struct dht_node *ret) {
    struct dht_span compact = {at + DHT_ID, dht_compact_len(s->family)};
    memcpy(ret->id.b, at, DHT_ID);
    return dht_compact_read(compact, &ret->addr) && dht_in_scope(d, &ret->addr) &&
           !dht_id_equal(&ret->id, &s->table.own) && !cv_addr_equal(&ret->addr, &s->external);
}

/* Nodes of an answer become candidates of this look-up. Those of the other
 * family (asked for while bootstrapping) may be the way into that network. */
static void add_nodes(struct dht *d, cv_usec now, struct dht_operation *op, struct dht_lookup *l,
                      unsigned asked_side, struct dht_namer by, unsigned side,
                      struct dht_span nodes) {
    const struct dht_side *s = &d->sides[side];
    size_t each = DHT_ID + dht_compact_len(s->family), n = nodes.n / each;
    if (!s->enabled)
        return;
    for (size_t i = 0; i < n && i < DHT_NODES_IN_REPLY; i++) {
        struct dht_node v;
        if (!dht_op_read_node(d, s, nodes.p + i * each, &v))
            continue;
        if (side == asked_side)
            dht_lookup_add(l, by, &v.id, &v.addr);
        else if (op->kind == DHT_OP_HOME)
            dht_upkeep_overheard(d, now, &v.id, &v.addr);
    }
}

static void add_results(struct dht *d, struct dht_operation *op, struct dht_candidate *c,
                        const struct dht_msg *m) {
    if (m->token.p && m->token.n <= DHT_TOKEN_MAX) {
        memcpy(c->token, m->token.p, m->token.n);
        c->token_len = (uint8_t)m->token.n;
    }
    c->has_seq = m->seq.has;
    c->seq = m->seq.v;
    if (op->kind == DHT_OP_GET)
        add_value(d, op, m);
    else if (!op->internal && op->kind != DHT_OP_PUT)
        add_values(d, op, m->values);
    if (op->kind == DHT_OP_SCRAPE)
        add_filters(op, m);
}

struct dht_lookup *dht_op_lookup_of(const struct dht_operation *op, const struct dht_query *q) {
    return q->kind == DHT_QUERY_SWEEP ? op->sweep[q->side] : op->lookup[q->side];
}

void dht_op_lookup_answer(struct dht *d, cv_usec now, struct dht_operation *op,
                          const struct dht_query *q, const struct dht_msg *m) {
    struct dht_lookup *l = dht_op_lookup_of(op, q);
    struct dht_id id;
    memcpy(id.b, m->id.p, sizeof id.b);
    struct dht_candidate *c = l ? dht_lookup_answered(l, &q->addr, &id) : NULL;
    if (c) {
        op->done.answered++;
        struct dht_namer by = dht_lookup_namer(l, c);
        if (q->kind == DHT_QUERY_LOOKUP)
            add_results(d, op, c, m);
        if (by.path != DHT_PATH_SWEEP) {
            add_nodes(d, now, op, l, q->side, by, 0, m->nodes);
            add_nodes(d, now, op, l, q->side, by, 1, m->nodes6);
        }
    }
    dht_op_lookup_advance(d, now, op);
}
