/*
 * A network of DHT engines in one process, in virtual time: every node has an
 * address of its own, datagrams take a delay and may get lost. Same seed, same
 * run. Node i of a loopback network is 127.(10+i).0.1:4000 up to 245 nodes,
 * like the demo; otherwise addresses are public-looking, /16s apart.
 */
#ifndef CULVERT_DHT_TESTS_SWITCH_H
#define CULVERT_DHT_TESTS_SWITCH_H

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/hash.h"
#include "crypto/keys.h"
#include "crypto/rng_seeded.h"
#include "dht/dht.h"
#include "dht/limits.h"

#define SWITCH_NODES  1024
#define SWITCH_EVENTS 4096

struct switch_datagram {
    cv_usec at;
    uint64_t order;
    struct cv_addr from, to;
    uint16_t len;
    uint8_t *data;
};

struct switch_event {
    enum dht_event_kind kind;
    dht_op op;
    cv_usec at;
    struct dht_done done;
    struct cv_addr external;
    unsigned tried;
    size_t n; /* nodes, peers, samples */
    struct cv_addr peers[DHT_PEERS_FOUND_MAX];
    struct dht_node nodes[16];
    struct dht_item item;
};

struct switch_node {
    struct dht *d;
    struct cv_addr addr;
    struct switch_event *log; /* stb-style growing array */
    unsigned log_count, log_cap;
    struct cv_rng_seeded dice;
    struct cv_rng rng;
};

struct net {
    struct cv_now now;
    struct cv_rng_seeded dice;
    struct cv_rng rng;
    cv_usec delay_min, delay_max;
    unsigned loss_permille;
    struct switch_node v[SWITCH_NODES];
    unsigned count;
    struct switch_datagram *queue; /* binary heap */
    unsigned queued, queue_cap;
    uint64_t order, sent;
    /* May see, change or swallow (return false) what passes. */
    bool (*filter)(struct net *n, struct switch_datagram *dg);
    void *filter_ctx;
};

static inline struct cv_addr switch_v4(unsigned a, unsigned b, unsigned c, unsigned d,
                                       unsigned port) {
    struct cv_addr addr;
    memset(&addr, 0, sizeof addr);
    addr.family = 4;
    addr.ip[0] = (uint8_t)a;
    addr.ip[1] = (uint8_t)b;
    addr.ip[2] = (uint8_t)c;
    addr.ip[3] = (uint8_t)d;
    addr.port = (uint16_t)port;
    return addr;
}

static inline struct cv_addr switch_loopback(unsigned i) {
    assert(i < 240);
    return switch_v4(127, 10 + i, 0, 1, 4000);
}

/* 11.0/8 .. 60/8: public, distinct /16 for each. */
static inline struct cv_addr switch_public(unsigned i) {
    return switch_v4(11 + i / 200, 1 + i % 200, 7, 9, 6881);
}

static inline struct cv_addr switch_v6(unsigned i) {
    struct cv_addr addr;
    memset(&addr, 0, sizeof addr);
    addr.family = 6;
    addr.ip[0] = 0x2a;
    addr.ip[1] = 0x01;
    addr.ip[2] = (uint8_t)(i >> 8);
    addr.ip[3] = (uint8_t)i;
    addr.ip[15] = 1;
    addr.port = 6881;
    return addr;
}

static inline struct net *net_new(uint64_t seed) {
    struct net *n = calloc(1, sizeof *n);
    assert(n);
    cv_crypto_init();
    cv_rng_seeded_init(&n->dice, seed);
    n->rng = cv_rng_seeded(&n->dice);
    n->now = (struct cv_now){.mono = CV_SEC(1), .wall = 1700000000};
    n->delay_min = n->delay_max = CV_MSEC(1);
    return n;
}

static inline void net_free(struct net *n) {
    for (unsigned i = 0; i < n->count; i++) {
        dht_free(n->v[i].d);
        free(n->v[i].log);
    }
    for (unsigned i = 0; i < n->queued; i++)
        free(n->queue[i].data);
    free(n->queue);
    free(n);
}

static inline struct switch_node *net_add(struct net *n, const struct dht_config *cfg,
                                          const struct cv_addr *addr) {
    assert(n->count < SWITCH_NODES);
    struct switch_node *v = &n->v[n->count++];
    v->addr = *addr;
    cv_rng_seeded_init(&v->dice, cv_rng_u64(&n->rng));
    v->rng = cv_rng_seeded(&v->dice);
    v->d = dht_new(cfg, &v->rng, n->now);
    assert(v->d);
    return v;
}

/* --- queue of datagrams under way --- */

static inline bool dg_before(const struct switch_datagram *a, const struct switch_datagram *b) {
    return a->at != b->at ? a->at < b->at : a->order < b->order;
}

static inline void net_push(struct net *n, struct switch_datagram dg) {
    if (n->queued == n->queue_cap) {
        n->queue_cap = n->queue_cap ? n->queue_cap * 2 : 256;
        n->queue = realloc(n->queue, n->queue_cap * sizeof *n->queue);
        assert(n->queue);
    }
    unsigned i = n->queued++;
    for (; i > 0 && dg_before(&dg, &n->queue[(i - 1) / 2]); i = (i - 1) / 2)
        n->queue[i] = n->queue[(i - 1) / 2];
    n->queue[i] = dg;
}

static inline struct switch_datagram net_pop(struct net *n) {
    struct switch_datagram top = n->queue[0], last = n->queue[--n->queued];
    unsigned i = 0;
    for (;;) {
        unsigned c = 2 * i + 1;
        if (c >= n->queued)
            break;
        if (c + 1 < n->queued && dg_before(&n->queue[c + 1], &n->queue[c]))
            c++;
        if (!dg_before(&n->queue[c], &last))
            break;
        n->queue[i] = n->queue[c];
        i = c;
    }
    if (n->queued)
        n->queue[i] = last;
    return top;
}

/* Sends octets as if from `from`, which need not be a node. */
static inline void net_send(struct net *n, const struct cv_addr *from, const struct cv_addr *to,
                            const void *data, size_t len) {
    n->sent++;
    if (n->loss_permille && cv_rng_below(&n->rng, 1000) < n->loss_permille)
        return;
    struct switch_datagram dg = {
        .at = n->now.mono + n->delay_min + cv_rng_below(&n->rng, n->delay_max - n->delay_min + 1),
        .order = n->order++,
        .from = *from,
        .to = *to,
        .len = (uint16_t)len,
        .data = malloc(len),
    };
    memcpy(dg.data, data, len);
    if (n->filter && !n->filter(n, &dg)) {
        free(dg.data);
        return;
    }
    net_push(n, dg);
}

static inline void net_log(struct net *n, struct switch_node *v, const struct dht_event *e) {
    if (v->log_count == v->log_cap) {
        v->log_cap = v->log_cap ? v->log_cap * 2 : 4;
        v->log = realloc(v->log, v->log_cap * sizeof *v->log);
        assert(v->log);
    }
    struct switch_event *l = &v->log[v->log_count++];
    memset(l, 0, sizeof *l);
    l->kind = e->kind;
    l->op = e->op;
    l->at = n->now.mono;
    switch (e->kind) {
    case DHT_EVENT_READY:
        break;
    case DHT_EVENT_NO_BOOTSTRAP:
        l->tried = e->tried;
        break;
    case DHT_EVENT_EXTERNAL_ADDRESS:
        l->external = e->external;
        break;
    case DHT_EVENT_NODES:
        l->n = e->nodes.n;
        memcpy(l->nodes, e->nodes.v, (e->nodes.n < 16 ? e->nodes.n : 16) * sizeof *l->nodes);
        break;
    case DHT_EVENT_PEERS:
        l->n = e->peers.n;
        memcpy(l->peers, e->peers.v, e->peers.n * sizeof *l->peers);
        break;
    case DHT_EVENT_ITEM:
        l->item = *e->item;
        break;
    case DHT_EVENT_SAMPLES:
        l->n = e->samples.n;
        break;
    case DHT_EVENT_DONE:
        l->done = e->done;
        break;
    }
}

/* Takes out of a node whatever it has to say. */
static inline void net_drain(struct net *n, struct switch_node *v) {
    static uint8_t arena[64 * DHT_DATAGRAM_MAX];
    static struct cv_run runs[64];
    struct cv_batch b = cv_batch_init(arena, 64, DHT_DATAGRAM_MAX, 0, runs, 64);
    if (!v->d)
        return;
    do {
        cv_batch_clear(&b);
        dht_poll_transmit(v->d, n->now, &b);
        for (uint32_t i = 0; i < b.runs_used; i++)
            for (uint16_t j = 0; j < runs[i].count; j++)
                net_send(n, &v->addr, &runs[i].to.addr, cv_batch_at(&b, &runs[i], j), runs[i].size);
    } while (b.slots_used);
    struct dht_event e;
    while (dht_poll_event(v->d, &e))
        net_log(n, v, &e);
}

static inline struct switch_node *net_at(struct net *n, const struct cv_addr *addr) {
    for (unsigned i = 0; i < n->count; i++)
        if (cv_addr_equal(&n->v[i].addr, addr))
            return &n->v[i];
    return NULL;
}

static inline cv_usec net_next(const struct net *n) {
    cv_usec next = n->queued ? n->queue[0].at : CV_USEC_NEVER;
    for (unsigned i = 0; i < n->count; i++)
        if (n->v[i].d)
            next = cv_usec_min(next, dht_next_timeout(n->v[i].d));
    return next;
}

/* Runs until `t`; stops early when `until` says so. */
static inline bool net_run_until(struct net *n, cv_usec t, bool (*until)(struct net *, void *),
                                 void *ctx) {
    for (unsigned i = 0; i < n->count; i++)
        net_drain(n, &n->v[i]);
    for (;;) {
        if (until && until(n, ctx))
            return true;
        cv_usec next = net_next(n);
        if (next > t)
            break;
        if (next > n->now.mono)
            n->now.mono = next;
        while (n->queued && n->queue[0].at <= n->now.mono) {
            struct switch_datagram dg = net_pop(n);
            struct switch_node *to = net_at(n, &dg.to);
            if (to && to->d) {
                (void)dht_on_datagram(to->d, n->now, &dg.from, dg.data, dg.len);
                net_drain(n, to);
            }
            free(dg.data);
        }
        for (unsigned i = 0; i < n->count; i++)
            if (n->v[i].d && dht_next_timeout(n->v[i].d) <= n->now.mono) {
                dht_on_timeout(n->v[i].d, n->now);
                assert(dht_next_timeout(n->v[i].d) > n->now.mono);
                net_drain(n, &n->v[i]);
            }
    }
    n->now.mono = t;
    return false;
}

static inline void net_run(struct net *n, cv_usec d) {
    net_run_until(n, n->now.mono + d, NULL, NULL);
}

static inline const struct switch_event *net_event(const struct switch_node *v,
                                                   enum dht_event_kind kind, dht_op op) {
    for (unsigned i = 0; i < v->log_count; i++)
        if (v->log[i].kind == kind && v->log[i].op == op)
            return &v->log[i];
    return NULL;
}

/* Runs until the operation is over (at most `d`); its DONE, or NULL. */
struct switch_wait {
    struct switch_node *v;
    dht_op op;
};
static inline bool switch_is_done(struct net *n, void *ctx) {
    (void)n;
    struct switch_wait *w = ctx;
    return net_event(w->v, DHT_EVENT_DONE, w->op);
}
static inline const struct switch_event *net_wait(struct net *n, struct switch_node *v, dht_op op,
                                                  cv_usec d) {
    struct switch_wait w = {v, op};
    net_run_until(n, n->now.mono + d, switch_is_done, &w);
    return net_event(v, DHT_EVENT_DONE, op);
}

/* All peers an operation reported. */
static inline bool net_found(const struct switch_node *v, dht_op op, const struct cv_addr *peer) {
    for (unsigned i = 0; i < v->log_count; i++)
        for (size_t j = 0;
             v->log[i].kind == DHT_EVENT_PEERS && v->log[i].op == op && j < v->log[i].n; j++)
            if (cv_addr_equal(&v->log[i].peers[j], peer))
                return true;
    return false;
}

/* A network of `count` nodes that know node 0 only, all started at once. */
static inline struct net *net_of(uint64_t seed, unsigned count, bool loopback) {
    struct net *n = net_new(seed);
    for (unsigned i = 0; i < count; i++) {
        struct cv_addr addr = loopback ? switch_loopback(i) : switch_public(i);
        struct dht_config cfg = {.ipv4 = true,
                                 .scope = loopback ? DHT_SCOPE_LOOPBACK : DHT_SCOPE_PUBLIC};
        if (!loopback)
            cfg.external4 = addr;
        struct switch_node *v = net_add(n, &cfg, &addr);
        if (i)
            assert(dht_bootstrap_add(v->d, n->now, &n->v[0].addr) == CV_ERR_OK);
    }
    return n;
}

#endif
