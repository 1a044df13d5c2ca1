/*
 * A rig for tests of the engine: engines, each with a store in memory, and a
 * wire between them that the test can listen to and break. Time is virtual;
 * datagrams take `delay` and arrive in order. Everything comes from one seed.
 * For jitter, queues and crashes there is tests/sim.
 */
#ifndef CULVERT_PPSP_TESTS_RIG_H
#define CULVERT_PPSP_TESTS_RIG_H

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/rng_seeded.h"
#include "ppsp/bin.h"
#include "ppsp/build.h"
#include "ppsp/ppsp.h"

enum {
    RIG_ENGINES = 8,
    RIG_SLOTS = 256,
    RIG_STRIDE = 1500,
    RIG_EVENTS = 4096,
    RIG_MTU_LARGE = 8000
};

/* ---- store ---- */

struct rig_store {
    uint32_t chunk_size;
    size_t hash_len;
    uint64_t cap; /* chunks there is room for */
    bool live;    /* there is no size to be noted before the first write */
    struct ppsp_store_size size;
    uint8_t *content, *tree;
    uint64_t *have;
    enum cv_err read_err, write_err, tree_err, size_err; /* what the next calls answer */
    unsigned reads, writes, commits;
};

static inline enum cv_err rig_size(void *ctx, struct ppsp_store_size *ret) {
    *ret = ((struct rig_store *)ctx)->size;
    return CV_ERR_OK;
}

static inline enum cv_err rig_set_size(void *ctx, const struct ppsp_store_size *size) {
    struct rig_store *st = ctx;
    assert(size->chunks <= st->cap);
    if (st->size_err)
        return st->size_err;
    st->size = *size;
    return CV_ERR_OK;
}

static inline enum cv_err rig_have_load(void *ctx, uint64_t *words, size_t count) {
    memcpy(words, ((struct rig_store *)ctx)->have, count * sizeof *words);
    return CV_ERR_OK;
}

static inline enum cv_err rig_read(void *ctx, uint64_t first, uint32_t count, uint8_t *buf,
                                   size_t cap, size_t *ret_len) {
    struct rig_store *st = ctx;
    st->reads++;
    if (st->read_err)
        return st->read_err;
    uint64_t from = first * st->chunk_size, to = from + (uint64_t)count * st->chunk_size;
    if (st->size.octets && to > st->size.octets)
        to = st->size.octets;
    assert(count >= 1 && count <= 64 && to > from && to - from <= cap);
    for (uint64_t i = first; i < first + count; i++)
        assert(st->have[i >> 6] >> (i & 63) & 1);
    memcpy(buf, st->content + from, to - from);
    *ret_len = to - from;
    return CV_ERR_OK;
}

static inline enum cv_err rig_write(void *ctx, uint64_t first, uint32_t count, const uint8_t *data,
                                    size_t len) {
    struct rig_store *st = ctx;
    if (st->write_err)
        return st->write_err;
    st->writes++;
    assert(count >= 1 && count <= 64 && first + count <= (st->live ? st->cap : st->size.chunks));
    assert(len > (size_t)(count - 1) * st->chunk_size && len <= (size_t)count * st->chunk_size);
    memcpy(st->content + first * st->chunk_size, data, len);
    for (uint64_t i = first; i < first + count; i++)
        st->have[i >> 6] |= (uint64_t)1 << (i & 63);
    return CV_ERR_OK;
}

static inline enum cv_err rig_tree_get(void *ctx, uint64_t bin, uint32_t count, uint8_t *hashes) {
    struct rig_store *st = ctx;
    if (st->tree_err)
        return st->tree_err;
    assert(bin + count <= 2 * st->cap);
    memcpy(hashes, st->tree + bin * st->hash_len, count * st->hash_len);
    return CV_ERR_OK;
}

static inline enum cv_err rig_tree_put(void *ctx, uint64_t bin, uint32_t count,
                                       const uint8_t *hashes) {
    struct rig_store *st = ctx;
    if (st->tree_err)
        return st->tree_err;
    assert(bin + count <= 2 * st->cap);
    memcpy(st->tree + bin * st->hash_len, hashes, count * st->hash_len);
    return CV_ERR_OK;
}

static inline enum cv_err rig_commit(void *ctx) {
    ((struct rig_store *)ctx)->commits++;
    return CV_ERR_OK;
}

static const struct ppsp_store_ops rig_store_ops = {
    .size = rig_size,
    .set_size = rig_set_size,
    .have_load = rig_have_load,
    .read_chunks = rig_read,
    .write_chunks = rig_write,
    .tree_get = rig_tree_get,
    .tree_put = rig_tree_put,
    .commit = rig_commit,
};

static inline void rig_store_init(struct rig_store *st, uint32_t chunk_size, size_t hash_len,
                                  uint64_t octets) {
    uint64_t chunks = (octets + chunk_size - 1) / chunk_size;
    memset(st, 0, sizeof *st);
    for (st->cap = 64; st->cap < chunks; st->cap *= 2)
        ;
    st->chunk_size = chunk_size;
    st->hash_len = hash_len;
    st->content = calloc(st->cap, chunk_size);
    st->tree = calloc(2 * st->cap, hash_len);
    st->have = calloc(st->cap / 64, sizeof *st->have);
    assert(st->content && st->tree && st->have);
}

static inline void rig_store_done(struct rig_store *st) {
    free(st->content);
    free(st->tree);
    free(st->have);
}

/* Puts content there and builds its tree. */
static inline void rig_store_fill(struct rig_store *st, enum cv_sha alg, const uint8_t *content,
                                  uint64_t octets, uint8_t *ret_root) {
    struct ppsp_build b;
    uint8_t leaf[CV_SHA_MAX];
    memcpy(st->content, content, octets);
    st->size.octets = octets;
    st->size.chunks = (octets + st->chunk_size - 1) / st->chunk_size;
    ppsp_build_init(&b, alg, &rig_store_ops, st);
    for (uint64_t i = 0; i < st->size.chunks; i++) {
        uint64_t at = i * st->chunk_size, len = octets - at;
        ppsp_build_leaf(alg, content + at, len < st->chunk_size ? len : st->chunk_size, leaf);
        enum cv_err err = ppsp_build_add(&b, leaf);
        assert(!err);
        (void)err;
        st->have[i >> 6] |= (uint64_t)1 << (i & 63);
    }
    enum cv_err err = ppsp_build_end(&b, ret_root);
    assert(!err);
    (void)err;
}

/* ---- engines and wire ---- */

struct rig_datagram {
    struct rig_datagram *next;
    cv_usec at;
    unsigned from, to;
    size_t len;
    uint8_t data[];
};

struct rig;
/* Sees every datagram when it is sent; may change it (not its length); false
 * loses it. */
typedef bool rig_tap_fn(struct rig *rig, unsigned from, unsigned to, uint8_t *data, size_t len);

struct rig {
    cv_usec now, delay;
    struct cv_rng_seeded dice[RIG_ENGINES + 1];
    struct cv_rng rng[RIG_ENGINES + 1]; /* the last is the test's own */
    struct ppsp *engine[RIG_ENGINES];
    struct rig_store store[RIG_ENGINES];
    cv_handle swarm[RIG_ENGINES];
    unsigned engines;
    bool circuits;                           /* endpoints are circuits, not addresses */
    const struct ppsp_config *engine_config; /* of engines that are added; NULL: the usual one */
    struct rig_datagram *head, **tail;
    rig_tap_fn *tap;
    void *tap_ctx;
    uint64_t digest;
    uint64_t datagrams, octets;

    uint8_t root[CV_SHA_MAX];
    uint8_t *content;
    uint64_t octets_content;
    struct ppsp_swarm_config config;

    struct ppsp_event *events[RIG_ENGINES]; /* the first RIG_EVENTS of each */
    unsigned event_count[RIG_ENGINES];
    uint8_t *arena;
    struct cv_run runs[RIG_SLOTS];
    struct cv_batch batch;
};

static inline struct cv_now rig_now(const struct rig *r) {
    return (struct cv_now){.mono = r->now, .wall = 1790000000};
}

static inline struct cv_endpoint rig_endpoint(const struct rig *r, unsigned engine) {
    if (r->circuits)
        return cv_endpoint_circuit(((cv_handle)1 << 32) + engine, 7);
    struct cv_addr a = {.ip = {192, 0, 2, (uint8_t)(engine + 1)}, .port = 7777, .family = 4};
    return cv_endpoint_udp(&a);
}

/* Random content of so many octets, chunk size and hash function. */
static inline struct rig *rig_new(uint64_t seed, uint64_t octets, uint32_t chunk_size,
                                  enum cv_sha alg) {
    struct rig *r = calloc(1, sizeof *r);
    assert(r);
    cv_crypto_init();
    for (unsigned i = 0; i <= RIG_ENGINES; i++) {
        cv_rng_seeded_init(&r->dice[i], seed * 100 + i);
        r->rng[i] = cv_rng_seeded(&r->dice[i]);
    }
    r->now = CV_SEC(1000);
    r->delay = CV_MSEC(1);
    r->tail = &r->head;
    r->content = malloc(octets);
    r->octets_content = octets;
    uint16_t stride = chunk_size > RIG_MTU_LARGE ? UINT16_MAX : RIG_STRIDE;
    r->arena = malloc((size_t)RIG_SLOTS * stride);
    assert(r->content && r->arena);
    cv_rng_fill(&r->rng[RIG_ENGINES], r->content, octets);
    r->batch = cv_batch_init(r->arena, RIG_SLOTS, stride, 0, r->runs, RIG_SLOTS);
    struct rig_store st;
    rig_store_init(&st, chunk_size, cv_sha_len(alg), octets);
    rig_store_fill(&st, alg, r->content, octets, r->root);
    rig_store_done(&st);
    r->config = (struct ppsp_swarm_config){
        .id_len = cv_sha_len(alg),
        .integrity = PPSP_INTEGRITY_MERKLE,
        .hash = alg,
        .addressing = PPSP_ADDRESSING_CHUNK32,
        .chunk_size = chunk_size,
        .store = &rig_store_ops,
        .serve = true,
        .open = true,
        .fetch_all = true,
    };
    memcpy(r->config.id, r->root, cv_sha_len(alg));
    return r;
}

static inline void rig_free(struct rig *r) {
    for (unsigned i = 0; i < r->engines; i++) {
        ppsp_free(r->engine[i]);
        rig_store_done(&r->store[i]);
        free(r->events[i]);
    }
    while (r->head) {
        struct rig_datagram *d = r->head;
        r->head = d->next;
        free(d);
    }
    free(r->arena);
    free(r->content);
    free(r);
    cv_crypto_thread_done();
}

/* A new engine with the swarm open: a seeder, or one with nothing. Uses
 * r->config, which may be changed before. */
static inline unsigned rig_add(struct rig *r, bool seeder) {
    unsigned i = r->engines++;
    assert(i < RIG_ENGINES);
    r->engine[i] = ppsp_new(r->engine_config, &r->rng[i]);
    assert(r->engine[i]);
    rig_store_init(&r->store[i], r->config.chunk_size, cv_sha_len(r->config.hash),
                   r->octets_content);
    r->store[i].live = r->config.live != NULL;
    if (seeder) {
        uint8_t root[CV_SHA_MAX];
        rig_store_fill(&r->store[i], r->config.hash, r->content, r->octets_content, root);
    }
    struct ppsp_swarm_config config = r->config;
    config.store_ctx = &r->store[i];
    enum cv_err err = ppsp_swarm_open(r->engine[i], rig_now(r), &config, &r->swarm[i]);
    assert(!err);
    (void)err;
    return i;
}

/* What fits into a datagram between peers of the rig. */
static inline uint16_t rig_mtu(const struct rig *r) {
    if (r->circuits)
        return 1101;
    return r->config.chunk_size > RIG_MTU_LARGE ? UINT16_MAX
           : r->config.chunk_size > 1024        ? RIG_MTU_LARGE
                                                : 1400;
}

static inline enum cv_err rig_connect(struct rig *r, unsigned from, unsigned to, bool initiate) {
    struct cv_endpoint ep = rig_endpoint(r, to);
    struct ppsp_peer_props props = {.mtu = rig_mtu(r), .hidden = r->circuits, .initiate = initiate};
    return ppsp_peer_add(r->engine[from], rig_now(r), r->swarm[from], &ep, &props);
}

static inline void rig_send(struct rig *r, unsigned from, unsigned to, const uint8_t *data,
                            size_t len) {
    struct rig_datagram *d = malloc(sizeof *d + len);
    assert(d);
    memcpy(d->data, data, len);
    d->len = len;
    d->from = from;
    d->to = to;
    d->at = r->now + r->delay;
    d->next = NULL;
    r->datagrams++;
    r->octets += len;
    for (size_t i = 0; i < len; i++)
        r->digest = (r->digest ^ data[i]) * 0x100000001b3;
    r->digest = (r->digest ^ r->now ^ (uint64_t)from << 56) * 0x100000001b3;
    if (r->tap && !r->tap(r, from, to, d->data, len)) {
        free(d);
        return;
    }
    *r->tail = d;
    r->tail = &d->next;
}

static inline void rig_drain(struct rig *r, unsigned i) {
    bool more;
    do {
        cv_batch_clear(&r->batch);
        more = ppsp_poll_transmit(r->engine[i], rig_now(r), &r->batch);
        for (uint32_t k = 0; k < r->batch.runs_used; k++) {
            unsigned to = 0;
            while (to < RIG_ENGINES) {
                struct cv_endpoint ep = rig_endpoint(r, to);
                if (cv_endpoint_equal(&ep, &r->runs[k].to))
                    break;
                to++;
            }
            for (uint16_t n = 0; n < r->runs[k].count; n++)
                rig_send(r, i, to, cv_batch_at(&r->batch, &r->runs[k], n), r->runs[k].size);
        }
    } while (more);
    struct ppsp_event e;
    while (ppsp_poll_event(r->engine[i], &e)) {
        unsigned n = r->event_count[i];
        if (n == RIG_EVENTS)
            continue;
        if ((n & (n - 1)) == 0) { /* 0 or a power of two: full */
            r->events[i] = realloc(r->events[i], (n ? 2 * n : 1) * sizeof e);
            assert(r->events[i]);
        }
        r->events[i][r->event_count[i]++] = e;
    }
}

static inline void rig_deliver(struct rig *r) {
    while (r->head && r->head->at <= r->now) {
        struct rig_datagram *d = r->head;
        r->head = d->next;
        if (!r->head)
            r->tail = &r->head;
        struct cv_endpoint ep = rig_endpoint(r, d->from);
        if (d->to < r->engines && r->engine[d->to])
            (void)ppsp_on_datagram(r->engine[d->to], rig_now(r), &ep, d->data, d->len);
        free(d);
    }
}

/* Serves everybody at this instant, then goes on to the next at which
 * something happens, at most `until`. */
static inline void rig_step(struct rig *r, cv_usec until) {
    cv_usec next = until;
    rig_deliver(r);
    for (unsigned i = 0; i < r->engines; i++) {
        if (!r->engine[i])
            continue;
        ppsp_on_timeout(r->engine[i], rig_now(r));
        rig_drain(r, i);
        cv_usec at = ppsp_next_timeout(r->engine[i]);
        assert(at > r->now && "an engine that was served does not wait for the past");
        next = cv_usec_min(next, at);
    }
    if (r->head)
        next = cv_usec_min(next, r->head->at);
    r->now = next > r->now ? next : r->now;
}

static inline void rig_run(struct rig *r, cv_usec time) {
    cv_usec until = r->now + time;
    while (r->now < until)
        rig_step(r, until);
    rig_deliver(r);
}

static inline bool rig_complete(const struct rig *r, unsigned i) {
    struct ppsp_stats st;
    return !ppsp_stats(r->engine[i], r->swarm[i], &st) && st.complete;
}

/* Until engine i has everything, or `time` has passed: says which. */
static inline bool rig_run_complete(struct rig *r, unsigned i, cv_usec time) {
    cv_usec until = r->now + time;
    while (!rig_complete(r, i) && r->now < until)
        rig_step(r, until);
    return rig_complete(r, i);
}

static inline bool rig_equal(const struct rig *r, unsigned i) {
    return r->store[i].size.octets == r->octets_content &&
           memcmp(r->store[i].content, r->content, r->octets_content) == 0;
}

static inline unsigned rig_events(const struct rig *r, unsigned i, enum ppsp_event_type type) {
    unsigned n = 0;
    for (unsigned k = 0; k < r->event_count[i]; k++)
        n += r->events[i][k].type == type;
    return n;
}

#endif
