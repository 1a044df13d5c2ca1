/* Operations: look-ups on both sides, then stores, then the report. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/hash.h"
#include "crypto/keys.h"
#include "dht/engine.h"

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

static enum cv_err op_new(struct dht *d, enum dht_op_kind kind, const struct dht_id *target,
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

static void op_free(struct dht *d, struct dht_operation *op) {
    if (op->queued)
        TAILQ_REMOVE(&d->dirty, op, dirty);
    d->ops[index_of(op->handle)] = NULL;
    d->op_count--;
    free(op->lookup[0]);
    free(op->lookup[1]);
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
            op_free(d, d->ops[i]);
}

void dht_cancel(struct dht *d, struct cv_now now, dht_op handle) {
    (void)now;
    struct dht_operation *op = dht_op_get(d, handle);
    if (op && !op->internal)
        op_free(d, op);
}

static void mark_dirty(struct dht *d, struct dht_operation *op) {
    if (op->internal || op->queued)
        return;
    TAILQ_INSERT_TAIL(&d->dirty, op, dirty);
    op->queued = true;
}

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
    mark_dirty(d, op);
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
    mark_dirty(d, op);
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

/* --- phases ------------------------------------------------------------- */

static void finish(struct dht *d, cv_usec now, struct dht_operation *op, enum cv_err err) {
    op->phase = DHT_PHASE_OVER;
    op->done.err = err;
    op->done_due = true;
    if (op->internal) {
        dht_upkeep_op_over(d, now, op);
        op_free(d, op);
        return;
    }
    mark_dirty(d, op);
}

static bool is_store(const struct dht_operation *op) {
    return op->kind == DHT_OP_ANNOUNCE || op->kind == DHT_OP_PUT;
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
    mark_dirty(d, op);
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
    finish(d, now, op, err);
}

static void finish_stores(struct dht *d, cv_usec now, struct dht_operation *op) {
    finish(d, now, op,
           op->done.stored    ? CV_ERR_OK
           : op->done.refused ? CV_ERR_DENIED
           : op->done.queried ? CV_ERR_TIMEDOUT
                              : CV_ERR_UNREACHABLE);
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
        op->done.refused += code != 0;
        op->done.refused_cas += code == DHT_CODE_CAS;
        op->done.refused_seq += code == DHT_CODE_SEQ;
        return;
    }
}

static void begin_stores(struct dht *d, cv_usec now, struct dht_operation *op) {
    op->phase = DHT_PHASE_STORE;
    store_at_home(d, now, op);
    for (unsigned i = 0; i < 2; i++) {
        struct dht_candidate *c[DHT_K];
        size_t n = op->lookup[i] ? dht_lookup_closest(op->lookup[i], true, c, DHT_K) : 0;
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

/* Asks whoever is next, on both sides; goes on when nobody is left. */
static void advance(struct dht *d, cv_usec now, struct dht_operation *op) {
    bool over = true;
    for (unsigned i = 0; i < 2; i++) {
        struct dht_lookup *l = op->lookup[i];
        struct dht_candidate *c;
        while (l && (c = dht_lookup_next(l))) {
            struct dht_query q = {.side = (uint8_t)i,
                                  .kind = DHT_QUERY_LOOKUP,
                                  .tries_left = DHT_TRIES - 1,
                                  .has_id = !c->contact,
                                  .id = c->id,
                                  .addr = c->addr,
                                  .op = op->handle};
            op->done.queried++;
            if (!dht_query_send(d, now, &q))
                dht_lookup_failed(l, &q.addr);
        }
        over &= !l || dht_lookup_over(l);
    }
    if (op->kind == DHT_OP_GET && op->has_item && !op->item->mutable_item)
        over = true; /* nothing can be better than the one and only */
    if (!over)
        return;
    if (is_store(op))
        begin_stores(d, now, op);
    else
        finish_lookups(d, now, op);
}

static void begin(struct dht *d, cv_usec now, struct dht_operation *op) {
    op->phase = DHT_PHASE_LOOKUP;
    look_at_home(d, now, op);
    for (unsigned i = 0; i < 2; i++) {
        if (!d->sides[i].enabled || (op->internal && op->side != i))
            continue;
        op->lookup[i] = malloc(sizeof *op->lookup[i]);
        if (!op->lookup[i])
            continue;
        dht_lookup_init(op->lookup[i], &op->target);
        dht_upkeep_seed(d, now, i, op->lookup[i], op->kind == DHT_OP_HOME);
    }
    advance(d, now, op);
}

void dht_ops_start_waiting(struct dht *d, cv_usec now) {
    for (unsigned i = 0; i < DHT_OPS; i++)
        if (d->ops[i] && d->ops[i]->phase == DHT_PHASE_WAITING)
            begin(d, now, d->ops[i]);
}

static void start(struct dht *d, cv_usec now, struct dht_operation *op, dht_op *ret) {
    *ret = op->handle;
    if (d->ready || d->gave_up)
        begin(d, now, op);
}

/* --- starting ----------------------------------------------------------- */

static enum cv_err start_simple(struct dht *d, struct cv_now now, enum dht_op_kind kind,
                                const struct dht_id *target, dht_op *ret) {
    struct dht_operation *op;
    enum cv_err err = op_new(d, kind, target, &op);
    if (!err)
        start(d, now.mono, op, ret);
    return err;
}

enum cv_err dht_find_node(struct dht *d, struct cv_now now, const struct dht_id *target,
                          dht_op *ret) {
    return start_simple(d, now, DHT_OP_FIND_NODE, target, ret);
}

enum cv_err dht_find_peers(struct dht *d, struct cv_now now, const struct dht_id *target,
                           dht_op *ret) {
    return start_simple(d, now, DHT_OP_FIND_PEERS, target, ret);
}

enum cv_err dht_scrape(struct dht *d, struct cv_now now, const struct dht_id *target, dht_op *ret) {
    return start_simple(d, now, DHT_OP_SCRAPE, target, ret);
}

enum cv_err dht_announce(struct dht *d, struct cv_now now, const struct dht_id *target,
                         uint16_t port, bool implied_port, dht_op *ret) {
    if (port == 0 && !implied_port)
        return CV_ERR_INVAL;
    struct dht_operation *op;
    enum cv_err err = op_new(d, DHT_OP_ANNOUNCE, target, &op);
    if (err)
        return err;
    op->port = port;
    op->implied_port = implied_port;
    start(d, now.mono, op, ret);
    return CV_ERR_OK;
}

/* `like`: what is wanted or to be stored; copied. */
static enum cv_err item_op(struct dht *d, enum dht_op_kind kind, const struct dht_id *target,
                           const struct dht_item *like, struct dht_operation **ret) {
    struct dht_operation *op;
    enum cv_err err = op_new(d, kind, target, &op);
    if (err)
        return err;
    op->item = malloc(sizeof *op->item);
    if (!op->item) {
        op_free(d, op);
        return CV_ERR_NOMEM;
    }
    *op->item = *like;
    *ret = op;
    return CV_ERR_OK;
}

enum cv_err dht_get_immutable(struct dht *d, struct cv_now now, const struct dht_id *target,
                              dht_op *ret) {
    struct dht_operation *op;
    struct dht_item like = {0};
    enum cv_err err = item_op(d, DHT_OP_GET, target, &like, &op);
    if (!err)
        start(d, now.mono, op, ret);
    return err;
}

enum cv_err dht_get_mutable(struct dht *d, struct cv_now now, const uint8_t k[DHT_KEY],
                            const void *salt, size_t salt_len, int64_t above, dht_op *ret) {
    if (salt_len > DHT_SALT_MAX || above < -1)
        return CV_ERR_INVAL;
    struct dht_operation *op;
    struct dht_item like = {.mutable_item = true, .salt_len = (uint8_t)salt_len};
    memcpy(like.k, k, DHT_KEY);
    if (salt_len)
        memcpy(like.salt, salt, salt_len);
    struct dht_id target = dht_item_target(&like);
    enum cv_err err = item_op(d, DHT_OP_GET, &target, &like, &op);
    if (err)
        return err;
    op->above = above;
    start(d, now.mono, op, ret);
    return CV_ERR_OK;
}

enum cv_err dht_put(struct dht *d, struct cv_now now, const struct dht_item *item,
                    const int64_t *cas, dht_op *ret) {
    enum cv_err err = dht_item_check(item);
    if (err)
        return err;
    struct dht_operation *op;
    struct dht_id target = dht_item_target(item);
    err = item_op(d, DHT_OP_PUT, &target, item, &op);
    if (err)
        return err;
    op->has_cas = cas && item->mutable_item;
    op->cas = cas ? *cas : 0;
    start(d, now.mono, op, ret);
    return CV_ERR_OK;
}

static enum cv_err start_single(struct dht *d, struct cv_now now, enum dht_op_kind kind,
                                const struct cv_addr *addr, const struct dht_id *target,
                                dht_op *ret) {
    struct dht_operation *op;
    const struct dht_side *s = dht_side_of(d, addr->family);
    if (!dht_in_scope(d, addr) || !s->enabled)
        return CV_ERR_INVAL;
    enum cv_err err = op_new(d, kind, target, &op);
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
        op_free(d, op);
        return CV_ERR_LIMIT;
    }
    op->done.queried = 1;
    *ret = op->handle;
    return CV_ERR_OK;
}

enum cv_err dht_ping(struct dht *d, struct cv_now now, const struct cv_addr *addr, dht_op *ret) {
    return start_single(d, now, DHT_OP_PING, addr, &(struct dht_id){0}, ret);
}

enum cv_err dht_sample(struct dht *d, struct cv_now now, const struct cv_addr *addr,
                       const struct dht_id *target, dht_op *ret) {
    return start_single(d, now, DHT_OP_SAMPLE, addr, target, ret);
}

dht_op dht_op_internal(struct dht *d, cv_usec now, enum dht_op_kind kind, uint8_t side,
                       const struct dht_id *target) {
    struct dht_operation *op;
    if (op_new(d, kind, target, &op))
        return 0;
    dht_op handle = op->handle;
    op->internal = true;
    op->side = side;
    begin(d, now, op); /* may be over at once */
    return dht_op_get(d, handle) ? handle : 0;
}

/* --- messages ----------------------------------------------------------- */

static void compose_store(const struct dht_operation *op, const struct dht_query *q,
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

static void compose_lookup(struct dht *d, const struct dht_operation *op, struct dht_msg *m) {
    static const uint8_t both[] = "l2:n42:n6e";
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
    case DHT_OP_SAMPLE:
        break;
    }
    m->method = DHT_METHOD_FIND_NODE;
    m->target = target;
    /* Dual stack: while bootstrapping each network may introduce us to the other. */
    if (op->kind == DHT_OP_HOME && d->sides[0].enabled && d->sides[1].enabled)
        m->want = (struct dht_span){both, sizeof both - 1};
}

void dht_op_compose(struct dht *d, const struct dht_operation *op, const struct dht_query *q,
                    struct dht_msg *m) {
    if (q->kind == DHT_QUERY_STORE) {
        compose_store(op, q, m);
    } else if (q->kind == DHT_QUERY_LOOKUP) {
        compose_lookup(d, op, m);
    } else if (op->kind == DHT_OP_SAMPLE) {
        m->method = DHT_METHOD_SAMPLE;
        m->target = (struct dht_span){op->target.b, DHT_ID};
    }
}

/* --- what comes back ---------------------------------------------------- */

/* One entry of "nodes" or "nodes6"; false when it is of no use. */
static bool read_node(const struct dht *d, const struct dht_side *s, const uint8_t *at,
                      struct dht_node *ret) {
    struct dht_span compact = {at + DHT_ID, dht_compact_len(s->family)};
    memcpy(ret->id.b, at, DHT_ID);
    return dht_compact_read(compact, &ret->addr) && dht_in_scope(d, &ret->addr) &&
           !dht_id_equal(&ret->id, &s->table.own) && !cv_addr_equal(&ret->addr, &s->external);
}

/* Nodes of an answer become candidates of this look-up. Those of the other
 * family (asked for while bootstrapping) may be the way into that network. */
static void add_nodes(struct dht *d, cv_usec now, struct dht_operation *op, unsigned asked_side,
                      unsigned side, struct dht_span nodes) {
    const struct dht_side *s = &d->sides[side];
    size_t each = DHT_ID + dht_compact_len(s->family), n = nodes.n / each;
    if (!s->enabled)
        return;
    for (size_t i = 0; i < n && i < DHT_NODES_IN_REPLY; i++) {
        struct dht_node v;
        if (!read_node(d, s, nodes.p + i * each, &v))
            continue;
        if (side == asked_side)
            dht_lookup_add(op->lookup[side], &v.id, &v.addr);
        else if (op->kind == DHT_OP_HOME)
            dht_upkeep_overheard(d, now, &v.id, &v.addr);
    }
}

static void lookup_answer(struct dht *d, cv_usec now, struct dht_operation *op,
                          const struct dht_query *q, const struct dht_msg *m) {
    struct dht_lookup *l = op->lookup[q->side];
    struct dht_id id;
    memcpy(id.b, m->id.p, sizeof id.b);
    struct dht_candidate *c = dht_lookup_answered(l, &q->addr, &id);
    if (c) {
        op->done.answered++;
        if (m->token.p && m->token.n <= DHT_TOKEN_MAX) {
            memcpy(c->token, m->token.p, m->token.n);
            c->token_len = (uint8_t)m->token.n;
        }
        c->has_seq = m->seq.has;
        c->seq = m->seq.v;
        add_nodes(d, now, op, q->side, 0, m->nodes);
        add_nodes(d, now, op, q->side, 1, m->nodes6);
        if (op->kind == DHT_OP_GET)
            add_value(d, op, m);
        else if (!op->internal && op->kind != DHT_OP_PUT)
            add_values(d, op, m->values);
        if (op->kind == DHT_OP_SCRAPE)
            add_filters(op, m);
    }
    advance(d, now, op);
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

static void single_answer(struct dht *d, cv_usec now, struct dht_operation *op,
                          const struct dht_query *q, const struct dht_msg *m) {
    op->done.answered = 1;
    if (op->kind == DHT_OP_PING) {
        op->nodes = calloc(1, sizeof *op->nodes);
        if (op->nodes) {
            memcpy(op->nodes->id.b, m->id.p, DHT_ID);
            op->nodes->addr = q->addr;
            op->node_count = 1;
            op->nodes_due = true;
        }
        finish(d, now, op, CV_ERR_OK);
        return;
    }
    if (!m->samples.p) { /* answered as find_node: it does not know BEP 51 */
        finish(d, now, op, CV_ERR_UNKNOWN);
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
    finish(d, now, op, CV_ERR_OK);
}

void dht_op_answer(struct dht *d, cv_usec now, const struct dht_query *q, const struct dht_msg *m) {
    struct dht_operation *op = dht_op_get(d, q->op);
    if (!op)
        return;
    if (q->kind == DHT_QUERY_LOOKUP && op->phase == DHT_PHASE_LOOKUP) {
        lookup_answer(d, now, op, q, m);
    } else if (q->kind == DHT_QUERY_STORE && op->phase == DHT_PHASE_STORE && settle(op, q)) {
        op->done.stored++;
        store_over(d, now, op);
    } else if (q->kind == DHT_QUERY_SINGLE && op->phase == DHT_PHASE_SINGLE) {
        single_answer(d, now, op, q, m);
    }
}

static void count_refusal(struct dht_done *done, int64_t code) {
    done->refused++;
    if (code == DHT_CODE_VALUE_BIG || code == DHT_CODE_SALT_BIG)
        done->refused_big++;
    else if (code == DHT_CODE_SIGNATURE)
        done->refused_sig++;
    else if (code == DHT_CODE_CAS)
        done->refused_cas++;
    else if (code == DHT_CODE_SEQ)
        done->refused_seq++;
    else
        done->refused_token++;
}

void dht_op_error(struct dht *d, cv_usec now, const struct dht_query *q, const struct dht_msg *m) {
    struct dht_operation *op = dht_op_get(d, q->op);
    if (!op)
        return;
    if (q->kind == DHT_QUERY_STORE && op->phase == DHT_PHASE_STORE && settle(op, q)) {
        count_refusal(&op->done, m->code);
        store_over(d, now, op);
    } else if (q->kind == DHT_QUERY_LOOKUP && op->phase == DHT_PHASE_LOOKUP) {
        dht_lookup_failed(op->lookup[q->side], &q->addr);
        advance(d, now, op);
    } else if (q->kind == DHT_QUERY_SINGLE && op->phase == DHT_PHASE_SINGLE) {
        op->done.answered = 1;
        finish(d, now, op, CV_ERR_UNKNOWN);
    }
}

void dht_op_stalled(struct dht *d, cv_usec now, const struct dht_query *q) {
    struct dht_operation *op = dht_op_get(d, q->op);
    if (op && q->kind == DHT_QUERY_LOOKUP && op->phase == DHT_PHASE_LOOKUP) {
        dht_lookup_stalled(op->lookup[q->side], &q->addr);
        advance(d, now, op);
    }
}

void dht_op_failed(struct dht *d, cv_usec now, const struct dht_query *q) {
    struct dht_operation *op = dht_op_get(d, q->op);
    if (!op)
        return;
    if (q->kind == DHT_QUERY_LOOKUP && op->phase == DHT_PHASE_LOOKUP) {
        dht_lookup_failed(op->lookup[q->side], &q->addr);
        advance(d, now, op);
    } else if (q->kind == DHT_QUERY_STORE && op->phase == DHT_PHASE_STORE && settle(op, q)) {
        store_over(d, now, op);
    } else if (q->kind == DHT_QUERY_SINGLE && op->phase == DHT_PHASE_SINGLE) {
        finish(d, now, op, CV_ERR_TIMEDOUT);
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
            if (ret->kind == DHT_EVENT_DONE)
                op_free(d, op);
            return true;
        }
        TAILQ_REMOVE(&d->dirty, op, dirty);
        op->queued = false;
    }
    return false;
}
