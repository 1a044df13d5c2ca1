#include "scenarios/dht_world.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "dht/krpc.h"
#include "dht/limits.h"

enum { CONTACTS = 3, NAMED = 8, FLOOD_EVERY_MS = 1000 };

/* Each number another /24 of 31/8 .. 80/8, spread so that BEP 42 sees them all
 * over the place. */
static struct cv_addr address(unsigned i) {
    unsigned x = (unsigned)((uint64_t)i * 1000003 % (50 * 65536));
    return (struct cv_addr){.ip = {(uint8_t)(31 + x / 65536), (uint8_t)(x >> 8), (uint8_t)x,
                                   (uint8_t)(1 + i * 7919 % 250)},
                            .port = 6881,
                            .family = 4};
}

/* ---- what hostile nodes say ---- */

static void inject(struct dht_world_node *n, const struct cv_addr *to, const struct dht_msg *m) {
    uint8_t buf[DHT_DATAGRAM_MAX];
    struct cv_wr w = cv_wr_init(buf, sizeof buf);
    dht_msg_write(&w, m);
    assert(!w.err);
    (void)sim_inject(n->world->sim, &n->addr, to, buf, cv_wr_len(&w));
}

static void write_node(struct cv_wr *w, const struct dht_id *id, const struct cv_addr *addr) {
    cv_wr_bytes(w, id->b, DHT_ID);
    dht_compact_write(w, addr);
}

/* The place of `id` in the sorted list of liars. */
static unsigned place_of(const struct dht_world *w, const struct dht_id *id) {
    unsigned low = 0, high = w->hostile_sorted_count;
    while (low < high) {
        unsigned mid = (low + high) / 2;
        if (memcmp(w->nodes[w->hostile_sorted[mid]].id.b, id->b, DHT_ID) < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

/* Liars around the target: those with the longest common beginning stand
 * beside it in order. */
static void name_friends(const struct dht_world *w, const struct dht_id *target,
                         struct cv_wr *out) {
    unsigned n = w->hostile_sorted_count, at = place_of(w, target), low = at, high = at;
    for (unsigned named = 0; named < NAMED && named < n; named++) {
        const struct dht_world_node *below = low > 0 ? &w->nodes[w->hostile_sorted[low - 1]] : NULL;
        const struct dht_world_node *above = high < n ? &w->nodes[w->hostile_sorted[high]] : NULL;
        bool take_below = below && (!above || dht_id_closer(target, &below->id, &above->id) < 0);
        const struct dht_world_node *v = take_below ? below : above;
        low -= take_below;
        high += !take_below;
        write_node(out, &v->id, &v->addr);
    }
}

/* Nobody's addresses, and honest ones under ids that are not theirs. */
static void name_nobody(struct dht_world *w, const struct dht_id *target, struct cv_wr *out) {
    const struct cv_rng *rng = sim_rng(w->sim);
    for (unsigned i = 0; i < NAMED; i++) {
        struct dht_id id = dht_id_random_at(target, 30 + i, rng);
        struct cv_addr addr = i % 2 ? address((unsigned)cv_rng_below(rng, w->count))
                                    : address(2000000 + (unsigned)cv_rng_below(rng, 1000000));
        write_node(out, &id, &addr);
    }
}

static void lie(struct dht_world_node *n, const struct cv_addr *from, const struct dht_msg *q) {
    struct dht_span at = q->target.p ? q->target : q->info_hash;
    struct dht_id id = n->id, target = n->id;
    uint8_t nodes[NAMED * 26];
    struct cv_wr w = cv_wr_init(nodes, sizeof nodes);
    if (at.p)
        memcpy(target.b, at.p, DHT_ID);
    if (n->role == DHT_POISONER) {
        id = dht_id_random_at(&target, 40, sim_rng(n->world->sim));
        name_nobody(n->world, &target, &w);
    } else {
        name_friends(n->world, &target, &w);
    }
    struct dht_msg m = {.kind = DHT_ANSWER,
                        .t = q->t,
                        .id = {id.b, DHT_ID},
                        .token = {(const uint8_t *)"hostile", 7},
                        .nodes = {nodes, cv_wr_len(&w)}};
    inject(n, from, &m);
}

/* ---- flooding ---- */

static void flood_one(struct dht_world_node *n) {
    struct dht_world *w = n->world;
    const struct cv_rng *rng = sim_rng(w->sim);
    const struct dht_world_node *to = &w->nodes[cv_rng_below(rng, w->count)];
    n->flood_key = dht_id_random(rng);
    struct dht_msg m = {.kind = DHT_QUERY,
                        .method = DHT_METHOD_GET_PEERS,
                        .t = {(const uint8_t *)"fl", 2},
                        .id = {n->id.b, DHT_ID},
                        .info_hash = {n->flood_key.b, DHT_ID}};
    inject(n, &to->addr, &m);
}

/* An answer to a query that the engine did not send: "fl" asked for a token,
 * "fa" announced with it. */
static bool flood_answer(struct dht_world_node *n, const struct cv_addr *from,
                         const struct dht_msg *m) {
    if (m->t.n != 2 || m->t.p[0] != 'f')
        return false;
    bool announced = m->t.p[1] == 'a';
    if (announced || !m->token.p) {
        /* No token: the key is full. */
        bool yes = announced && m->kind == DHT_ANSWER;
        n->accepted += yes;
        n->refused += !yes;
        return true;
    }
    struct dht_msg a = {.kind = DHT_QUERY,
                        .method = DHT_METHOD_ANNOUNCE,
                        .t = {(const uint8_t *)"fa", 2},
                        .id = {n->id.b, DHT_ID},
                        .info_hash = {n->flood_key.b, DHT_ID},
                        .port = {1, true},
                        .token = m->token};
    inject(n, from, &a);
    return true;
}

static void flood(struct sim *s, void *ctx) {
    struct dht_world *w = ctx;
    for (unsigned i = 0; i < w->count; i++)
        if (w->nodes[i].role == DHT_FLOODER)
            flood_one(&w->nodes[i]);
    sim_at(s, sim_now(s) + CV_MSEC(FLOOD_EVERY_MS), flood, w);
}

/* ---- nodes ---- */

static void on_datagram(void *ctx, struct cv_now now, unsigned socket, const struct cv_addr *to,
                        const struct cv_addr *from, const uint8_t *buf, size_t len) {
    struct dht_world_node *n = ctx;
    struct dht_msg m;
    (void)socket;
    (void)to;
    if (n->role != DHT_HONEST && dht_msg_read(buf, len, &m) == CV_ERR_OK && !m.fault) {
        if (n->role == DHT_FLOODER && m.kind != DHT_QUERY && flood_answer(n, from, &m))
            return;
        if (n->role != DHT_FLOODER && m.kind == DHT_QUERY) {
            lie(n, from, &m);
            return;
        }
    }
    (void)dht_on_datagram(n->d, now, from, buf, len);
}

static void on_timeout(void *ctx, struct cv_now now) {
    struct dht_world_node *n = ctx;
    dht_on_timeout(n->d, now);
}

static bool poll_transmit(void *ctx, struct cv_now now, unsigned socket, struct cv_batch *batch) {
    struct dht_world_node *n = ctx;
    (void)socket;
    dht_poll_transmit(n->d, now, batch);
    return batch->slots_used > 0;
}

static bool poll_events(void *ctx, struct cv_now now) {
    struct dht_world_node *n = ctx;
    struct dht_event ev;
    bool any = false;
    (void)now;
    while (dht_poll_event(n->d, &ev)) {
        uint64_t words[3] = {ev.kind, ev.op, (uint64_t)ev.done.stored};
        sim_event(n->world->sim, n->number, words, sizeof words);
        any = true;
        for (unsigned i = 0; ev.op && i < DHT_WORLD_OPS; i++) {
            struct dht_task task = n->tasks[i];
            if (task.op != ev.op)
                continue;
            if (ev.kind == DHT_EVENT_DONE && task.find)
                n->tasks[i].op = 0;
            n->world->fn(n->world, n, &task, &ev);
        }
    }
    return any;
}

static cv_usec next_timeout(void *ctx) {
    const struct dht_world_node *n = ctx;
    return dht_next_timeout(n->d);
}

static void on_crash(void *ctx) {
    struct dht_world_node *n = ctx;
    n->d = dht_free(n->d);
    memset(n->tasks, 0, sizeof n->tasks);
}

/* Comes (back) with nothing but a few contacts that are up. */
static void on_restart(void *ctx, struct cv_now now) {
    struct dht_world_node *n = ctx;
    struct dht_world *w = n->world;
    struct dht_config cfg = {
        .scope = DHT_SCOPE_PUBLIC, .ipv4 = true, .external4 = n->addr, .id = n->id};
    n->d = dht_new(&cfg, sim_node_rng(w->sim, n->number), now);
    assert(n->d);
    for (unsigned i = 0, tries = 0; i < CONTACTS && tries < 50; tries++) {
        const struct dht_world_node *c = &w->nodes[cv_rng_below(sim_rng(w->sim), w->count)];
        if (c->d && c != n)
            i += dht_bootstrap_add(n->d, now, &c->addr) == CV_ERR_OK;
    }
}

static const struct sim_node_ops ops = {
    .on_datagram = on_datagram,
    .on_timeout = on_timeout,
    .poll_transmit = poll_transmit,
    .poll_events = poll_events,
    .next_timeout = next_timeout,
    .crash = on_crash,
    .restart = on_restart,
};

/* ---- the world ---- */

static void *alloc(size_t n, size_t size) {
    void *p = calloc(n ? n : 1, size);
    assert(p);
    return p;
}

/* An address and an id at most `bits` bits away from the key, which BEP 42
 * allows: what somebody with many addresses finds by trying. */
static void sit_beside(struct dht_world *w, struct dht_world_node *n, const struct dht_id *key,
                       unsigned bits) {
    const struct cv_rng *rng = sim_rng(w->sim);
    do {
        n->addr = address(1000000 + (unsigned)cv_rng_below(rng, 1000000));
        n->id = dht_id_for_address(&n->addr, rng);
    } while (dht_id_common_bits(&n->id, key) < bits);
    /* BEP 42 binds 21 bits and the last three. */
    uint8_t last = n->id.b[DHT_ID - 1];
    n->id.b[2] = (uint8_t)((n->id.b[2] & 0xf8) | (key->b[2] & 7));
    memcpy(n->id.b + 3, key->b + 3, DHT_ID - 3);
    n->id.b[DHT_ID - 1] = last;
    n->id.b[DHT_ID - 2] ^= (uint8_t)n->number;
    assert(dht_id_fits_address(&n->id, &n->addr));
}

static enum dht_role role_of(const struct dht_world *w, unsigned i) {
    static const enum dht_role others[] = {DHT_LIAR, DHT_LIAR, DHT_POISONER, DHT_FLOODER};
    if (i >= w->hostile)
        return DHT_HONEST;
    return i < w->key_count * DHT_WORLD_ECLIPSERS ? DHT_ECLIPSER : others[i % 4];
}

/* Enough bits for the eclipsers to be the closest there are. */
static unsigned bits_beside(unsigned nodes) {
    unsigned bits = 0;
    while (1u << bits < nodes)
        bits++;
    return bits < 18 ? bits + 2 : 20;
}

static void make_node(struct dht_world *w, unsigned i) {
    struct dht_world_node *n = &w->nodes[i];
    const struct cv_rng *rng = sim_rng(w->sim);
    n->world = w;
    n->role = role_of(w, i);
    n->addr = address(i);
    n->number = i;
    unsigned number = sim_add(w->sim, &ops, n);
    assert(number == i);
    (void)number;
    if (n->role != DHT_HONEST)
        n->id = dht_id_for_address(&n->addr, rng);
    do { /* the address beside a key may be taken */
        if (n->role == DHT_ECLIPSER)
            sit_beside(w, n, &w->keys[i / DHT_WORLD_ECLIPSERS], bits_beside(w->count));
    } while (sim_bind(w->sim, i, 0, &n->addr) != CV_ERR_OK);
    sim_crash(w->sim, i);
}

static int by_id(const void *a, const void *b, void *ctx) {
    const struct dht_world *w = ctx;
    const unsigned *x = a, *y = b;
    return memcmp(w->nodes[*x].id.b, w->nodes[*y].id.b, DHT_ID);
}

static void sort_hostile(struct dht_world *w) {
    w->hostile_sorted = alloc(w->hostile, sizeof *w->hostile_sorted);
    for (unsigned i = 0; i < w->hostile; i++)
        if (w->nodes[i].role == DHT_LIAR || w->nodes[i].role == DHT_ECLIPSER)
            w->hostile_sorted[w->hostile_sorted_count++] = i;
    qsort_r(w->hostile_sorted, w->hostile_sorted_count, sizeof *w->hostile_sorted, by_id, w);
}

/* One arrival: who it is was drawn beforehand. */
struct arrival {
    struct dht_world *w;
    unsigned number;
};

static void arrive(struct sim *s, void *ctx) {
    struct arrival *a = ctx;
    sim_restart(s, a->number);
    free(a);
}

struct dht_world *dht_world_new(const struct dht_world_config *cfg, cv_usec joined) {
    struct dht_world *w = alloc(1, sizeof *w);
    w->sim = sim_new(&(struct sim_config){.seed = cfg->seed});
    w->fn = cfg->fn;
    w->ctx = cfg->ctx;
    w->count = cfg->nodes;
    w->hostile = cfg->nodes * cfg->hostile_percent / 100;
    w->key_count = w->hostile / 4 / DHT_WORLD_ECLIPSERS;
    w->key_count = w->key_count < DHT_WORLD_KEYS ? w->key_count : DHT_WORLD_KEYS;
    for (unsigned i = 0; i < w->key_count; i++)
        w->keys[i] = dht_id_random(sim_rng(w->sim));
    sim_path_default(w->sim, &(struct sim_path){
                                 .delay = CV_MSEC(20), .jitter = CV_MSEC(100), .loss_ppm = 10000});
    w->nodes = alloc(w->count, sizeof *w->nodes);
    for (unsigned i = 0; i < w->count; i++)
        make_node(w, i);
    sort_hostile(w);
    for (unsigned i = 0; i < w->count; i++) {
        struct arrival *a = alloc(1, sizeof *a);
        *a = (struct arrival){w, i};
        /* The first honest ones are there before anybody else. */
        bool first = i >= w->count - 8;
        sim_at(w->sim, first ? 1 : CV_SEC(1) + cv_rng_below(sim_rng(w->sim), joined), arrive, a);
    }
    if (w->hostile)
        sim_at(w->sim, joined, flood, w);
    return w;
}

void dht_world_free(struct dht_world *w) {
    for (unsigned i = 0; i < w->count; i++)
        w->nodes[i].d = dht_free(w->nodes[i].d);
    sim_free(w->sim);
    free(w->hostile_sorted);
    free(w->nodes);
    free(w);
}

struct dht_world_node *dht_world_pick(struct dht_world *w) {
    for (;;) {
        struct dht_world_node *n = &w->nodes[cv_rng_below(sim_rng(w->sim), w->count)];
        if (n->d && n->role == DHT_HONEST)
            return n;
    }
}

static void churn_one(struct sim *s, void *ctx) {
    struct dht_world *w = ctx;
    struct dht_world_node *n = dht_world_pick(w);
    sim_crash(s, n->number);
    sim_restart(s, n->number);
    sim_at(s, sim_now(s) + w->churn / 2 + cv_rng_below(sim_rng(s), w->churn), churn_one, w);
}

void dht_world_churn(struct dht_world *w) {
    w->churn = CV_SEC(600) / ((w->count - w->hostile) / 10);
    sim_at(w->sim, sim_now(w->sim) + w->churn, churn_one, w);
}

bool dht_world_task(struct dht_world_node *n, dht_op op, unsigned trial, bool find) {
    for (unsigned i = 0; i < DHT_WORLD_OPS; i++)
        if (!n->tasks[i].op) {
            n->tasks[i] = (struct dht_task){.op = op, .trial = trial, .find = find};
            sim_touch(n->world->sim, n->number);
            return true;
        }
    return false;
}
