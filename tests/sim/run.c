/* The loop: the heap of what comes next, and serving nodes at each instant. */
#include <assert.h>
#include <endian.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/hash.h"
#include "crypto/siphash.h"
#include "sim/digest.h"
#include "sim/internal.h"

enum { DATAGRAM_DEFAULT = 1472 };
#define WALL_DEFAULT INT64_C(1767614400) /* 2026-01-05 12:00 UTC, a Monday */

_Noreturn void sim_fail(const struct sim *s, const char *why, unsigned node) {
    fprintf(stderr, "simulation: %s (node %u, at %llu us, seed=%llu)\n", why, node,
            (unsigned long long)s->now, (unsigned long long)s->cfg.seed);
    abort();
}

void *sim_alloc(size_t size) {
    void *p = calloc(1, size);
    if (!p) {
        fprintf(stderr, "simulation: out of memory\n");
        abort();
    }
    return p;
}

struct sim_node *sim_node_at(const struct sim *s, unsigned node) {
    assert(node < s->nodes_count);
    return s->nodes[node];
}

/* ---- making ---- */

struct sim *sim_new(const struct sim_config *cfg) {
    cv_crypto_init();
    struct sim *s = sim_alloc(sizeof *s);
    s->cfg = *cfg;
    if (!s->cfg.wall)
        s->cfg.wall = WALL_DEFAULT;
    if (!s->cfg.datagram_max)
        s->cfg.datagram_max = DATAGRAM_DEFAULT;
    cv_heap_init(&s->heap, UINT32_MAX);
    s->dirty_tail = &s->dirty;
    cv_rng_seeded_init(&s->dice, cfg->seed);
    s->rng = cv_rng_seeded(&s->dice);
    cv_rng_fill(&s->rng, s->map_key, sizeof s->map_key);
    s->bindings = cv_map_new(sizeof(struct cv_addr), SIM_MAP_MAX, cv_siphash_map, s->map_key);
    s->ways = cv_map_new(2 * sizeof(uint32_t), SIM_MAP_MAX, cv_siphash_map, s->map_key);
    if (!s->bindings || !s->ways)
        sim_fail(s, "out of memory", 0);
    uint16_t stride = (uint16_t)(s->cfg.headroom + s->cfg.datagram_max);
    s->arena = sim_alloc((size_t)SIM_BATCH_SLOTS * stride);
    s->batch =
        cv_batch_init(s->arena, SIM_BATCH_SLOTS, stride, s->cfg.headroom, s->runs, SIM_BATCH_RUNS);
    return s;
}

static void free_values(struct cv_map *m) {
    void *cursor = NULL, *value;
    while ((value = cv_map_next(m, &cursor, NULL)))
        free(value);
    cv_map_free(m);
}

struct sim *sim_free(struct sim *s) {
    if (!s)
        return NULL;
    struct cv_timer *t;
    while ((t = cv_heap_pop(&s->heap, CV_USEC_NEVER - 1))) {
        struct sim_item *item = CV_CONTAINER_OF(t, struct sim_item, timer);
        if (item->kind == SIM_KIND_ACTION)
            free(item);
    }
    cv_heap_done(&s->heap);
    free_values(s->bindings);
    free_values(s->ways);
    for (unsigned i = 0; i < s->nodes_count; i++) {
        free(s->nodes[i]->sockets);
        free(s->nodes[i]);
    }
    free(s->nodes);
    for (size_t i = 0; i < s->slabs_count; i++)
        free(s->slabs[i]);
    free(s->slabs);
    free(s->arena);
    free(s);
    return NULL;
}

unsigned sim_add(struct sim *s, const struct sim_node_ops *ops, void *ctx) {
    if (s->nodes_count == s->nodes_cap) {
        s->nodes_cap = s->nodes_cap ? 2 * s->nodes_cap : 16;
        s->nodes = reallocarray(s->nodes, s->nodes_cap, sizeof(struct sim_node *));
        if (!s->nodes)
            sim_fail(s, "out of memory", s->nodes_count);
    }
    struct sim_node *n = sim_alloc(sizeof *n);
    n->item.kind = SIM_KIND_NODE;
    n->number = s->nodes_count;
    n->ops = ops;
    n->ctx = ctx;
    n->up = true;
    /* Never 0, and no two alike: clocks of different nodes mean nothing to each other. */
    n->clock = CV_SEC(1000) + n->number * UINT64_C(7777777777);
    uint64_t seed;
    cv_rng_seeded_init(&n->dice, s->cfg.seed ^ (n->number + 1) * UINT64_C(0x9e3779b97f4a7c15));
    n->rng = cv_rng_seeded(&n->dice);
    cv_rng_fill(&n->rng, &seed, sizeof seed); /* apart from the network's stream of another seed */
    cv_rng_seeded_init(&n->dice, seed);
    s->nodes[s->nodes_count++] = n;
    sim_mark(s, n);
    return n->number;
}

enum cv_err sim_bind(struct sim *s, unsigned node, unsigned socket, const struct cv_addr *addr) {
    struct sim_node *n = sim_node_at(s, node);
    assert(addr->family && addr->port);
    if (cv_map_get(s->bindings, addr))
        return CV_ERR_EXIST;
    if (socket >= n->sockets_count) {
        n->sockets = reallocarray(n->sockets, socket + 1, sizeof *n->sockets);
        if (!n->sockets)
            sim_fail(s, "out of memory", node);
        memset(n->sockets + n->sockets_count, 0,
               (socket + 1 - n->sockets_count) * sizeof *n->sockets);
        n->sockets_count = socket + 1;
    }
    struct cv_addr *slot = NULL;
    for (int i = SIM_ADDRS_PER_SOCKET - 1; i >= 0; i--) {
        assert(n->sockets[socket].addrs[i].family != addr->family);
        if (n->sockets[socket].addrs[i].family == 0)
            slot = &n->sockets[socket].addrs[i];
    }
    assert(slot);
    struct sim_binding *b = sim_alloc(sizeof *b);
    b->node = n;
    b->socket = socket;
    if (cv_map_put(s->bindings, addr, b) != CV_ERR_OK)
        sim_fail(s, "out of memory", node);
    *slot = *addr;
    return CV_ERR_OK;
}

enum cv_err sim_move(struct sim *s, unsigned node, unsigned socket, const struct cv_addr *addr) {
    struct sim_socket *at = &sim_node_at(s, node)->sockets[socket];
    for (int i = 0; i < SIM_ADDRS_PER_SOCKET; i++) {
        if (at->addrs[i].family != addr->family)
            continue;
        if (cv_map_get(s->bindings, addr))
            return CV_ERR_EXIST;
        free(cv_map_del(s->bindings, &at->addrs[i]));
        at->addrs[i] = (struct cv_addr){.family = 0};
        s->nodes[node]->moved = true;
        break;
    }
    return sim_bind(s, node, socket, addr);
}

struct cv_addr sim_addr(unsigned i, uint16_t port) {
    /* 50 first octets that are public throughout, 4 second octets, then the rest. */
    unsigned net = i % 200, host = i / 200;
    return (struct cv_addr){
        .ip = {(uint8_t)(31 + net % 50), (uint8_t)(17 + net / 50 * 50), (uint8_t)host, 1},
        .port = port,
        .family = 4};
}

struct cv_addr sim_addr6(unsigned i, uint16_t port) {
    return (struct cv_addr){
        .ip = {0x2a, (uint8_t)(16 + i / 256), 0, (uint8_t)i, [15] = 1}, .port = port, .family = 6};
}

/* ---- clocks, dice, counters ---- */

cv_usec sim_now(const struct sim *s) {
    return s->now;
}

struct cv_now sim_node_now(const struct sim *s, unsigned node) {
    const struct sim_node *n = sim_node_at(s, node);
    int64_t wall = s->cfg.wall + (int64_t)(s->now / 1000000) + n->skew;
    return (struct cv_now){.mono = s->now + n->clock,
                           .wall = n->skew == SIM_WALL_UNKNOWN ? 0 : wall};
}

void sim_wall_skew(struct sim *s, unsigned node, int64_t seconds) {
    sim_node_at(s, node)->skew = seconds;
}

const struct cv_rng *sim_rng(struct sim *s) {
    return &s->rng;
}

const struct cv_rng *sim_node_rng(struct sim *s, unsigned node) {
    return &sim_node_at(s, node)->rng;
}

const struct sim_counters *sim_counters(const struct sim *s) {
    return &s->counters;
}

const struct sim_node_counters *sim_node_counters(const struct sim *s, unsigned node) {
    return &sim_node_at(s, node)->counters;
}

/* ---- digest ---- */

void sim_digest_words(struct sim *s, const uint64_t *words, size_t n) {
    uint64_t all[12];
    assert(n <= sizeof all / sizeof *all);
    for (size_t i = 0; i < n; i++)
        all[i] = htole64(words[i]);
    s->digest = sim_hash(s->digest, all, n * sizeof *all);
}

uint64_t sim_digest(const struct sim *s) {
    return s->digest;
}

void sim_event(struct sim *s, unsigned node, const void *data, size_t len) {
    uint64_t words[4] = {s->now, node, len, sim_hash(0, data, len)};
    sim_digest_words(s, words, 4);
    s->counters.events++;
}

/* ---- serving ---- */

void sim_mark(struct sim *s, struct sim_node *n) {
    if (n->dirty)
        return;
    n->dirty = true;
    n->next_dirty = NULL;
    *s->dirty_tail = n;
    s->dirty_tail = &n->next_dirty;
}

void sim_touch(struct sim *s, unsigned node) {
    sim_mark(s, sim_node_at(s, node));
}

static void send_batch(struct sim *s, struct sim_node *n, unsigned socket) {
    struct cv_batch *b = &s->batch;
    for (uint32_t r = 0; r < b->runs_used; r++) {
        const struct cv_run *run = &b->runs[r];
        if (run->to.kind != CV_ENDPOINT_UDP)
            sim_fail(s, "a datagram to something that is no UDP address", n->number);
        for (uint16_t i = 0; i < run->count; i++)
            sim_network_send(s, n, socket, &run->to.addr, cv_batch_at(b, run, i), run->size);
    }
}

static void drain_sockets(struct sim *s, struct sim_node *n, struct cv_now now) {
    for (unsigned socket = 0; socket < n->sockets_count; socket++) {
        unsigned rounds = 0;
        bool more;
        do {
            cv_batch_clear(&s->batch);
            more = n->ops->poll_transmit(n->ctx, now, socket, &s->batch);
            send_batch(s, n, socket);
            if (++rounds > SIM_DRAIN_MAX)
                sim_fail(s, "a node never stops sending", n->number);
        } while (more);
    }
}

static void serve(struct sim *s, struct sim_node *n) {
    struct cv_now now = sim_node_now(s, n->number);
    unsigned rounds = 0;
    do {
        drain_sockets(s, n, now);
        if (++rounds > SIM_DRAIN_MAX)
            sim_fail(s, "a node's events never end", n->number);
    } while (n->ops->poll_events && n->ops->poll_events(n->ctx, now));

    cv_usec next = n->ops->next_timeout(n->ctx);
    cv_usec at = next == CV_USEC_NEVER ? next : next > now.mono ? next - n->clock : s->now;
    if (at == n->item.timer.at && cv_timer_queued(&n->item.timer))
        return;
    if (cv_heap_set(&s->heap, &n->item.timer, at) != CV_ERR_OK)
        sim_fail(s, "out of memory", n->number);
}

static void serve_dirty(struct sim *s) {
    struct sim_node *n;
    while ((n = s->dirty)) {
        s->dirty = n->next_dirty;
        if (!s->dirty)
            s->dirty_tail = &s->dirty;
        n->dirty = false;
        if (n->up && !n->asleep)
            serve(s, n);
    }
}

void sim_crash(struct sim *s, unsigned node) {
    struct sim_node *n = sim_node_at(s, node);
    if (!n->up)
        return;
    n->up = n->asleep = false;
    cv_heap_remove(&s->heap, &n->item.timer);
    n->ops->crash(n->ctx);
    sim_event(s, node, "crash", 5);
}

void sim_restart(struct sim *s, unsigned node) {
    struct sim_node *n = sim_node_at(s, node);
    if (n->up)
        return;
    n->up = true;
    sim_event(s, node, "restart", 7);
    n->ops->restart(n->ctx, sim_node_now(s, node));
    sim_mark(s, n);
}

void sim_sleep(struct sim *s, unsigned node) {
    struct sim_node *n = sim_node_at(s, node);
    if (!n->up || n->asleep)
        return;
    n->asleep = true;
    cv_heap_remove(&s->heap, &n->item.timer);
    sim_event(s, node, "sleep", 5);
}

void sim_wake(struct sim *s, unsigned node) {
    struct sim_node *n = sim_node_at(s, node);
    if (!n->asleep)
        return;
    n->asleep = false;
    sim_event(s, node, "wake", 4);
    sim_mark(s, n);
}

bool sim_is_up(const struct sim *s, unsigned node) {
    const struct sim_node *n = sim_node_at(s, node);
    return n->up && !n->asleep;
}

/* ---- the loop ---- */

void sim_at(struct sim *s, cv_usec at, sim_action_fn *fn, void *ctx) {
    struct sim_action *a = sim_alloc(sizeof *a);
    a->item.kind = SIM_KIND_ACTION;
    a->fn = fn;
    a->ctx = ctx;
    if (cv_heap_set(&s->heap, &a->item.timer, at > s->now ? at : s->now) != CV_ERR_OK)
        sim_fail(s, "out of memory", 0);
}

static void timeout(struct sim *s, struct sim_node *n) {
    if (n->spin_at != s->now)
        n->spins = 0;
    n->spin_at = s->now;
    if (++n->spins > SIM_SPINS_MAX)
        sim_fail(s, "next_timeout() stays in the past", n->number);
    n->counters.timeouts++;
    s->counters.timeouts++;
    n->ops->on_timeout(n->ctx, sim_node_now(s, n->number));
    sim_mark(s, n);
}

static void dispatch(struct sim *s, struct sim_item *item) {
    switch (item->kind) {
    case SIM_KIND_NODE:
        timeout(s, (struct sim_node *)item);
        return;
    case SIM_KIND_ARRIVE:
        sim_network_arrive(s, (struct sim_packet *)item);
        return;
    case SIM_KIND_DELIVER:
        sim_network_deliver(s, (struct sim_packet *)item);
        return;
    case SIM_KIND_ACTION: {
        struct sim_action a = *(struct sim_action *)item;
        free(item);
        a.fn(s, a.ctx);
        return;
    }
    }
}

/* Everything of the instant s->now: all that has come first, then the nodes,
 * until nothing is left for now. */
static void instant(struct sim *s) {
    unsigned rounds = 0;
    s->counters.steps++;
    do {
        struct cv_timer *t;
        while ((t = cv_heap_pop(&s->heap, s->now)))
            dispatch(s, CV_CONTAINER_OF(t, struct sim_item, timer));
        serve_dirty(s);
        if (++rounds > 2 * SIM_SPINS_MAX)
            sim_fail(s, "time stands still", UINT_MAX);
    } while (cv_heap_next(&s->heap) <= s->now);
}

static bool run(struct sim *s, sim_done_fn *done, void *ctx, cv_usec until) {
    serve_dirty(s); /* what was touched from outside */
    for (;;) {
        if (done && done(ctx))
            return true;
        cv_usec next = cv_heap_next(&s->heap);
        if (next > until)
            break;
        s->now = next > s->now ? next : s->now;
        instant(s);
    }
    s->now = until > s->now ? until : s->now;
    return false;
}

void sim_run(struct sim *s, cv_usec until) {
    assert(until != CV_USEC_NEVER);
    run(s, NULL, NULL, until);
}

bool sim_run_while_not(struct sim *s, sim_done_fn *done, void *ctx, cv_usec until) {
    assert(until != CV_USEC_NEVER);
    return run(s, done, ctx, until);
}
