/*
 * What a simulated node costs: whole nodes with their real cryptography in the
 * simulator's virtual network, idle first, then with two of them streaming a
 * hidden film at 1 Mbit/s over three hops and three. CPU time is this process's.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "culvert-bench/bench.h"
#include "node/node.h"
#include "ppsp/build.h"
#include "ppsp/ppsp.h"
#include "reputation/store_memory.h"
#include "sim/chunkstore.h"
#include "sim/sim.h"

enum {
    NODES = 100,
    RELAYS = 10, /* the first ones; node 0 is what everybody bootstraps from */
    SEEDER = RELAYS,
    VIEWERS = 2, /* behind the seeder */
    CHUNK = 1024,
    RATE = 125000, /* octets a second: 1 Mbit/s */
    PORT = 7000,
    WARM_UP = 60, /* seconds for everybody to find relays and build circuits */
    MEET = 60,    /* seconds for the first octets of the film to come, at most */
    AHEAD = 10,   /* seconds of the film that a player keeps in front of it */
};

struct peer {
    struct sim *sim;
    struct node *node;
    unsigned number;
    struct rep_store_memory *ledger;
    struct sim_store *store;
    cv_handle swarm;
    uint64_t want, at; /* the wish of this second, and the octet that is shown next */
    bool client_ready, shared;
};

struct world {
    struct sim *sim;
    struct peer peers[NODES];
    struct node_uri uri;
    uint8_t *film;
    uint64_t stalls; /* seconds of the film that were not there when they were due */
};

/* ---- a node, as the simulator sees it ---- */

static void on_datagram(void *ctx, struct cv_now now, unsigned socket, const struct cv_addr *to,
                        const struct cv_addr *from, const uint8_t *buf, size_t len) {
    struct peer *p = ctx;
    (void)to;
    node_on_datagram(p->node, now, (enum node_socket)socket, from, buf, len);
}

static void on_timeout(void *ctx, struct cv_now now) {
    node_on_timeout(((struct peer *)ctx)->node, now);
}

static bool poll_transmit(void *ctx, struct cv_now now, unsigned socket, struct cv_batch *batch) {
    struct peer *p = ctx;
    node_poll_transmit(p->node, now, (enum node_socket)socket, batch);
    return batch->runs_used > 0;
}

static bool poll_events(void *ctx, struct cv_now now) {
    struct peer *p = ctx;
    struct node_event ev;
    bool any = false;
    while (node_poll_event(p->node, &ev)) {
        any = true;
        if (ev.kind == NODE_EVENT_SAVE)
            node_saved(p->node, now, ev.u.save.which);
        p->client_ready |= ev.kind == NODE_EVENT_CLIENT_READY;
        p->shared |= ev.kind == NODE_EVENT_SHARED;
    }
    return any;
}

static cv_usec next_timeout(void *ctx) {
    return node_next_timeout(((struct peer *)ctx)->node);
}

static const struct sim_node_ops ops = {
    .on_datagram = on_datagram,
    .on_timeout = on_timeout,
    .poll_transmit = poll_transmit,
    .poll_events = poll_events,
    .next_timeout = next_timeout,
};

/* ---- the world ---- */

static void must(enum cv_err err, const char *what) {
    if (err)
        bench_die("%s: %s", what, cv_strerror(err));
}

static void start(struct world *w, unsigned i) {
    struct peer *p = &w->peers[i];
    p->sim = w->sim;
    p->number = sim_add(w->sim, &ops, p);
    struct cv_addr main = sim_addr(i, PORT), own = sim_addr(i, PORT + 1);
    must(sim_bind(w->sim, p->number, NODE_SOCKET_MAIN, &main), "address");
    must(sim_bind(w->sim, p->number, NODE_SOCKET_OWN, &own), "address");

    struct node_config cfg = {.main_family = 4, .relay = i < RELAYS, .quick_start = true};
    uint8_t seed[CV_KEY];
    cv_rng_fill(sim_node_rng(w->sim, p->number), seed, sizeof seed);
    cv_ed25519_from_seed(&cfg.identity_secret, seed);
    node_network_id("bench", cfg.network_id);
    if (cfg.relay) {
        cfg.relay_addrs[cfg.relay_addrs_count++] = main;
        p->ledger = rep_store_memory_new();
        cfg.ledger_store = rep_store_memory_ops(p->ledger);
    }
    if (i > 0)
        cfg.bootstrap[cfg.bootstrap_count++] = sim_addr(0, PORT);
    must(node_new(&cfg, sim_node_rng(w->sim, p->number), sim_node_now(w->sim, p->number), &p->node),
         "node");
}

static void make_film(struct world *w, unsigned seconds) {
    struct sim_store *store;
    struct ppsp_build b;
    uint8_t leaf[CV_SHA_MAX];
    struct node_uri *u = &w->uri;
    u->length = (uint64_t)seconds * RATE;
    u->integrity = PPSP_INTEGRITY_MERKLE;
    u->hash = CV_SHA256;
    u->addressing = PPSP_ADDRESSING_CHUNK32;
    u->chunk_size = CHUNK;
    u->swarm_id_len = cv_sha_len(CV_SHA256);
    node_network_id("bench", u->network_id);
    w->film = malloc(u->length);
    if (!w->film)
        bench_die("out of memory");
    cv_rng_fill(sim_rng(w->sim), w->film, u->length);
    store = sim_store_new(CHUNK, u->swarm_id_len, u->length, sim_rng(w->sim));
    sim_store_fill(store, w->film, u->length);
    ppsp_build_init(&b, CV_SHA256, &sim_store_ops, store);
    for (uint64_t at = 0; at < u->length; at += CHUNK) {
        ppsp_build_leaf(CV_SHA256, w->film + at, u->length - at < CHUNK ? u->length - at : CHUNK,
                        leaf);
        must(ppsp_build_add(&b, leaf), "tree");
    }
    must(ppsp_build_end(&b, u->swarm_id), "tree");
    w->peers[SEEDER].store = store;
}

static void open_swarm(struct world *w, struct peer *p, bool complete) {
    if (!p->store)
        p->store = sim_store_new(CHUNK, w->uri.swarm_id_len, w->uri.length,
                                 sim_node_rng(w->sim, p->number));
    struct node_swarm_config cfg = {
        .uri = w->uri, .store = &sim_store_ops, .store_ctx = p->store, .complete = complete};
    must(node_swarm_open(p->node, sim_node_now(w->sim, p->number), &cfg, &p->swarm), "swarm");
    sim_touch(w->sim, p->number);
}

/* A player: a second of the film is shown each second when it is there, and
 * what it will show soon is wished for. */
static void next_second(struct world *w, struct peer *p) {
    struct cv_now now = sim_node_now(w->sim, p->number);
    uint64_t want;
    if (p->want && node_available(p->node, p->swarm, p->at) >= RATE)
        p->at += RATE;
    else
        w->stalls++;
    if (p->at + (uint64_t)AHEAD * RATE > w->uri.length)
        bench_die("sim: the film is too short");
    must(node_want(p->node, now, p->swarm, p->at, p->at + (uint64_t)AHEAD * RATE - 1, RATE, &want),
         "wish");
    node_unwant(p->node, now, p->swarm, p->want);
    p->want = want;
    sim_touch(w->sim, p->number);
}

static void stream(struct world *w, unsigned seconds) {
    for (unsigned i = 0; i < seconds; i++) {
        for (unsigned v = 1; v <= VIEWERS; v++)
            next_second(w, &w->peers[SEEDER + v]);
        sim_run(w->sim, cv_usec_add(sim_now(w->sim), CV_SEC(1)));
    }
}

/* ---- measuring ---- */

static double cpu(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double node_hours_per_minute(unsigned seconds, double cpu_s) {
    return (double)NODES * seconds / 3600 / (cpu_s / 60);
}

static void wait_for(struct world *w, const bool *what, unsigned seconds, const char *name) {
    for (unsigned i = 0; i < seconds && !*what; i++)
        sim_run(w->sim, cv_usec_add(sim_now(w->sim), CV_SEC(1)));
    if (!*what)
        bench_die("sim: no '%s' in %u seconds", name, seconds);
}

static bool all_began(const struct world *w) {
    bool all = true;
    for (unsigned v = 1; v <= VIEWERS; v++)
        all &= w->peers[SEEDER + v].at > 0;
    return all;
}

/* The seeder is met and the first second of the film is there, at every viewer.
 * Returns the seconds that took. */
static unsigned meet(struct world *w, unsigned seconds) {
    unsigned took = 0;
    make_film(w, seconds + MEET + AHEAD);
    open_swarm(w, &w->peers[SEEDER], true);
    wait_for(w, &w->peers[SEEDER].shared, MEET, "shared");
    for (unsigned v = 1; v <= VIEWERS; v++)
        open_swarm(w, &w->peers[SEEDER + v], false);
    for (; took < MEET && !all_began(w); took++)
        stream(w, 1);
    if (!all_began(w))
        bench_die("sim: a viewer has nothing after %d seconds", MEET);
    w->stalls = 0;
    return took;
}

static void check(const struct world *w) {
    for (unsigned v = 1; v <= VIEWERS; v++) {
        const struct peer *p = &w->peers[SEEDER + v];
        if (!sim_store_matches(p->store, w->film, w->uri.length))
            bench_die("sim: what came is not what was shared");
    }
}

static void end(struct world *w) {
    for (unsigned i = 0; i < NODES; i++) {
        node_free(w->peers[i].node);
        rep_store_memory_free(w->peers[i].ledger);
        sim_store_free(w->peers[i].store);
    }
    sim_free(w->sim);
    free(w->film);
}

json_t *bench_sim(const struct bench_options *o) {
    static struct world w;
    unsigned seconds = o->minutes * 60, ready = 0;
    w.sim = sim_new(&(struct sim_config){.seed = 1});
    sim_path_default(w.sim, &(struct sim_path){.delay = CV_MSEC(30), .jitter = CV_MSEC(5)});
    double began = cpu();
    for (unsigned i = 0; i < NODES; i++)
        start(&w, i);
    sim_run(w.sim, CV_SEC(WARM_UP));
    for (unsigned i = 0; i < NODES; i++)
        ready += w.peers[i].client_ready;
    double warm = cpu() - began;

    uint64_t datagrams = sim_counters(w.sim)->sent;
    began = cpu();
    sim_run(w.sim, cv_usec_add(sim_now(w.sim), CV_SEC(seconds)));
    double idle = cpu() - began;
    uint64_t idle_datagrams = sim_counters(w.sim)->sent - datagrams;

    unsigned met = meet(&w, seconds);
    datagrams = sim_counters(w.sim)->sent;
    began = cpu();
    stream(&w, seconds);
    double busy = cpu() - began;
    uint64_t busy_datagrams = sim_counters(w.sim)->sent - datagrams;
    check(&w);
    uint64_t digest = sim_digest(w.sim), streamed = 0;
    for (unsigned v = 1; v <= VIEWERS; v++)
        streamed += w.peers[SEEDER + v].at;
    end(&w);
    char text[17];
    snprintf(text, sizeof text, "%016llx", (unsigned long long)digest);
    return json_pack(
        "{s:f, s:f, s:i, s:i, s:i, s:i, s:i, s:i, s:f, s:f, s:f, s:I, s:I, s:I, s:I, s:s}",
        "node_hours_per_cpu_minute", node_hours_per_minute(seconds, busy),
        "node_hours_per_cpu_minute_idle", node_hours_per_minute(seconds, idle), "nodes", (int)NODES,
        "relays", (int)RELAYS, "streaming", (int)VIEWERS, "ready", (int)ready, "seconds_to_meet",
        (int)met, "minutes", (int)o->minutes, "cpu_s_start", warm, "cpu_s_idle", idle,
        "cpu_s_streaming", busy, "datagrams_idle", (json_int_t)idle_datagrams,
        "datagrams_streaming", (json_int_t)busy_datagrams, "octets_streamed", (json_int_t)streamed,
        "stalls", (json_int_t)w.stalls, "digest", text);
}
