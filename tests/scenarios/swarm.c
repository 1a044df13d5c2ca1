#include "scenarios/swarm.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "ppsp/build.h"

/* ---- the engine, as the simulator sees it ---- */

static void on_datagram(void *ctx, struct cv_now now, unsigned socket, const struct cv_addr *to,
                        const struct cv_addr *from, const uint8_t *buf, size_t len) {
    struct swarm_peer *p = ctx;
    struct cv_endpoint endpoint = cv_endpoint_udp(from);
    (void)socket, (void)to;
    (void)ppsp_on_datagram(p->engine, now, &endpoint, buf, len);
}

static void on_timeout(void *ctx, struct cv_now now) {
    struct swarm_peer *p = ctx;
    ppsp_on_timeout(p->engine, now);
}

static bool poll_transmit(void *ctx, struct cv_now now, unsigned socket, struct cv_batch *batch) {
    struct swarm_peer *p = ctx;
    (void)socket;
    return ppsp_poll_transmit(p->engine, now, batch);
}

static bool poll_events(void *ctx, struct cv_now now) {
    struct swarm_peer *p = ctx;
    struct ppsp_event ev;
    bool any = false;
    while (ppsp_poll_event(p->engine, &ev)) {
        uint64_t words[5] = {ev.type, (uint64_t)ev.err, ev.first, ev.last, ev.octets};
        sim_event(p->world->sim, p->node, words, sizeof words);
        p->complete |= ev.type == PPSP_EVENT_COMPLETE;
        p->peers_up += ev.type == PPSP_EVENT_PEER_UP;
        p->peers_down += ev.type == PPSP_EVENT_PEER_DOWN;
        p->went_down_bad |= ev.type == PPSP_EVENT_PEER_DOWN && ev.err == CV_ERR_AUTH;
        p->store_errors += ev.type == PPSP_EVENT_STORE_ERROR;
        if (ev.type == PPSP_EVENT_STORE_ERROR && p->retry_store)
            ppsp_swarm_ready(p->engine, now, p->swarm);
        any = true;
    }
    return any;
}

static cv_usec next_timeout(void *ctx) {
    struct swarm_peer *p = ctx;
    return ppsp_next_timeout(p->engine);
}

static void call(struct swarm_peer *p, const struct swarm_peer *friend) {
    static const struct ppsp_peer_props props = {.mtu = 1400, .initiate = true};
    struct cv_endpoint endpoint = cv_endpoint_udp(&friend->addr);
    enum cv_err err =
        ppsp_peer_add(p->engine, sim_node_now(p->world->sim, p->node), p->swarm, &endpoint, &props);
    assert(err == CV_ERR_OK || err == CV_ERR_EXIST);
    (void)err;
}

static void start(struct swarm_peer *p, struct cv_now now) {
    struct swarm_world *w = p->world;
    struct ppsp_config config = ppsp_defaults;
    config.ledbat_plus = w->ledbat_plus;
    p->engine = ppsp_new(&config, sim_node_rng(w->sim, p->node));
    assert(p->engine);
    struct ppsp_swarm_config cfg = {.id_len = SWARM_HASH,
                                    .integrity = PPSP_INTEGRITY_MERKLE,
                                    .hash = CV_SHA256,
                                    .addressing = PPSP_ADDRESSING_CHUNK32,
                                    .chunk_size = SWARM_CHUNK,
                                    .length = w->octets,
                                    .store = &sim_store_ops,
                                    .store_ctx = p->store,
                                    .upload_limit = w->upload_limit,
                                    .serve = true,
                                    .open = true,
                                    .fetch_all = true};
    memcpy(cfg.id, w->root, SWARM_HASH);
    sim_store_faults(p->store, 0, 0); /* or opening fails, as it may */
    enum cv_err err = ppsp_swarm_open(p->engine, now, &cfg, &p->swarm);
    assert(err == CV_ERR_OK);
    (void)err;
    sim_store_faults(p->store, p->again_ppm, p->error_ppm);
    for (unsigned i = 0; i < p->friends_count; i++)
        call(p, p->friends[i]);
}

static void on_crash(void *ctx) {
    struct swarm_peer *p = ctx;
    /* What freeing the engine writes must not count: no goodbye to the disk. */
    sim_store_crash(p->store);
    sim_store_fail(p->store, SIM_STORE_COMMIT, CV_ERR_STORE, 1000);
    sim_store_fail(p->store, SIM_STORE_WRITE, CV_ERR_STORE, 1000);
    sim_store_fail(p->store, SIM_STORE_TREE, CV_ERR_STORE, 1000);
    p->engine = ppsp_free(p->engine);
    sim_store_fail(p->store, SIM_STORE_COMMIT, CV_ERR_OK, 0);
    sim_store_fail(p->store, SIM_STORE_WRITE, CV_ERR_OK, 0);
    sim_store_fail(p->store, SIM_STORE_TREE, CV_ERR_OK, 0);
}

static void on_restart(void *ctx, struct cv_now now) {
    start(ctx, now);
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

static void *alloc(size_t size) {
    void *p = calloc(1, size);
    assert(p && "out of memory");
    return p;
}

static void build_tree(struct swarm_world *w, struct sim_store *store, uint8_t *ret_root) {
    struct ppsp_build b;
    uint8_t leaf[SWARM_HASH];
    enum cv_err err = CV_ERR_OK;
    ppsp_build_init(&b, CV_SHA256, &sim_store_ops, store);
    for (uint64_t at = 0; at < w->octets && !err; at += SWARM_CHUNK) {
        uint64_t len = w->octets - at < SWARM_CHUNK ? w->octets - at : SWARM_CHUNK;
        ppsp_build_leaf(CV_SHA256, w->content + at, len, leaf);
        err = ppsp_build_add(&b, leaf);
    }
    if (!err)
        err = ppsp_build_end(&b, ret_root);
    assert(err == CV_ERR_OK);
}

struct swarm_world *swarm_world_new(uint64_t seed, uint64_t octets) {
    struct swarm_world *w = alloc(sizeof *w);
    struct cv_rng_seeded dice;
    w->sim = sim_new(&(struct sim_config){.seed = seed});
    w->octets = octets;
    w->content = alloc(octets);
    cv_rng_seeded_init(&dice, seed ^ 0xc0ffee);
    struct cv_rng rng = cv_rng_seeded(&dice);
    cv_rng_fill(&rng, w->content, octets);
    w->tree = sim_store_new(SWARM_CHUNK, SWARM_HASH, octets, sim_rng(w->sim));
    build_tree(w, w->tree, w->root);
    return w;
}

struct swarm_world *swarm_world_free(struct swarm_world *w) {
    if (!w)
        return NULL;
    for (unsigned i = 0; i < w->peers_count; i++) {
        ppsp_free(w->peers[i]->engine);
        sim_store_free(w->peers[i]->store);
        free(w->peers[i]);
    }
    sim_free(w->sim);
    sim_store_free(w->tree);
    free(w->content);
    free(w);
    return NULL;
}

/* The store of a seeder, or of one that claims to be. */
static void fill(struct swarm_peer *p, bool wrong) {
    struct swarm_world *w = p->world;
    uint8_t root[SWARM_HASH];
    uint8_t *content = alloc(w->octets);
    memcpy(content, w->content, w->octets);
    for (uint64_t at = 0; wrong && at < w->octets; at += SWARM_CHUNK)
        content[at] ^= 1;
    sim_store_fill(p->store, content, w->octets);
    free(content);
    build_tree(w, p->store, root);
    sim_store_ops.commit(p->store);
}

struct swarm_peer *swarm_peer_new(struct swarm_world *w, enum swarm_kind kind) {
    assert(w->peers_count < SWARM_PEERS_MAX);
    struct swarm_peer *p = alloc(sizeof *p);
    p->world = w;
    p->node = sim_add(w->sim, &ops, p);
    p->addr = sim_addr(p->node, 7000);
    enum cv_err err = sim_bind(w->sim, p->node, 0, &p->addr);
    assert(err == CV_ERR_OK);
    (void)err;
    p->store = sim_store_new(SWARM_CHUNK, SWARM_HASH, w->octets, sim_node_rng(w->sim, p->node));
    if (kind != SWARM_VIEWER)
        fill(p, kind == SWARM_LIAR);
    start(p, sim_node_now(w->sim, p->node));
    w->peers[w->peers_count++] = p;
    return p;
}

void swarm_connect(struct swarm_peer *from, struct swarm_peer *to) {
    assert(from->friends_count < SWARM_PEERS_MAX);
    from->friends[from->friends_count++] = to;
    if (from->engine)
        call(from, to);
    sim_touch(from->world->sim, from->node);
}

bool swarm_all_complete(void *ctx) {
    struct swarm_world *w = ctx;
    for (unsigned i = 0; i < w->peers_count; i++) {
        struct swarm_peer *p = w->peers[i];
        struct ppsp_stats st;
        if (!p->engine || ppsp_stats(p->engine, p->swarm, &st) != CV_ERR_OK || !st.complete)
            return false;
    }
    return true;
}

bool swarm_stores_match(const struct swarm_world *w) {
    for (unsigned i = 0; i < w->peers_count; i++)
        if (!sim_store_matches(w->peers[i]->store, w->content, w->octets))
            return false;
    return true;
}
