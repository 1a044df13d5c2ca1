/*
 * A broadcast of 820 kbit/s to eleven viewers, whose source can send it about
 * twice: they have to give it on to each other. Paths lose 0.5 %. One viewer comes late and must
 * watch within two seconds; one has half the bandwidth and must drop to the edge instead of falling
 * behind; the source crashes once, loses its memory and goes on. Old datagrams of the source are
 * replayed and made-up ones thrown in all the time. What anybody has must be what was said, and
 * everybody but the slow one must have all of it.
 */
#include <assert.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/dnssec.h"
#include "ppsp/ppsp.h"
#include "scenarios/scenario.h"
#include "sim/ringstore.h"

enum {
    CHUNK = 1024,
    HASH = 32,
    RATE = 100, /* chunks a second */
    MUNRO = 32,
    WINDOW = 2048,
    VIEWERS = 11,
    SLOW = 10, /* these nodes */
    LATE = 11,
    LATE_AT = 15, /* seconds */
    CRASH_AT = 20,
    RESTART_AT = 22,
    END = 40,
    RESERVE = 4096, /* chunk numbers set aside ahead, as a source does on disk */
    REPLAYS = 64,
};

/* live_hour: an hour of 82 kbit/s to two viewers, one of whom hears nothing for a while. */
enum { HOUR = 3600, HOUR_RATE = 10, HOUR_MUNRO = 4, HOUR_VIEWERS = 2, DEAF_AT = 1800, DEAF = 20 };

/* What a broadcast is like. */
struct plan {
    unsigned viewers, rate, munro, end; /* chunks a second; chunks; seconds */
    uint64_t window;                    /* chunks */
    bool trouble;                       /* all that stands above, or a quiet time */
};

static const struct plan short_plan = {VIEWERS, RATE, MUNRO, END, WINDOW, true};
static const struct plan hour_plan = {HOUR_VIEWERS, HOUR_RATE, HOUR_MUNRO, HOUR, WINDOW / 2, false};

struct world;

struct node {
    struct world *world;
    unsigned index, sim;
    struct cv_addr addr;
    struct ppsp *engine; /* NULL: down */
    struct sim_ring *ring;
    cv_handle swarm;
    bool tuned, has_chunk;
    cv_usec joined, first_chunk;
    uint64_t tuned_at, dropped, worst; /* chunks; worst distance of cursor and edge */
    uint64_t cursor;
};

/* The distance of a viewer's cursor and the source, in chunks, at the worst. */
struct lag {
    uint64_t early, late;  /* minutes 2 to 12, the last ten */
    uint64_t after_outage; /* the minute that begins 10 s after it ended */
};

struct world {
    struct sim *sim;
    const struct plan *plan;
    struct lag lag[1 + VIEWERS];
    size_t memory[2]; /* octets, at ten minutes and at the end */
    struct cv_dnssec_secret *secret;
    struct ppsp_swarm_config config;
    struct node nodes[1 + VIEWERS];
    uint64_t reserved, said; /* numbers set aside; chunks said since the last start */
    uint64_t first_of_life[2], end_of_life[2]; /* of the source's two lives */
    uint8_t replay[REPLAYS][1500];
    size_t replay_len[REPLAYS];
    unsigned replay_to[REPLAYS], replay_count;
};

/* Chunk i of the broadcast: anybody can tell whether it is right. */
static void content(uint64_t i, uint8_t ret[CHUNK]) {
    for (unsigned k = 0; k < CHUNK; k += 8) {
        uint64_t v = (i + 1) * 0x9e3779b97f4a7c15 + k * 0xbf58476d1ce4e5b9;
        v ^= v >> 29;
        memcpy(ret + k, &v, 8);
    }
}

static size_t sign(void *ctx, const uint8_t *msg, size_t len,
                   uint8_t ret[CV_DNSSEC_SIGNATURE_MAX]) {
    struct world *w = ctx;
    return cv_dnssec_sign(w->secret, msg, len, ret);
}

/* ---- the engine, as the simulator sees it ---- */

static void on_datagram(void *ctx, struct cv_now now, unsigned socket, const struct cv_addr *to,
                        const struct cv_addr *from, const uint8_t *buf, size_t len) {
    struct node *n = ctx;
    struct cv_endpoint endpoint = cv_endpoint_udp(from);
    (void)socket, (void)to;
    (void)ppsp_on_datagram(n->engine, now, &endpoint, buf, len);
}

static void on_timeout(void *ctx, struct cv_now now) {
    ppsp_on_timeout(((struct node *)ctx)->engine, now);
}

static bool poll_transmit(void *ctx, struct cv_now now, unsigned socket, struct cv_batch *batch) {
    (void)socket;
    return ppsp_poll_transmit(((struct node *)ctx)->engine, now, batch);
}

static bool poll_events(void *ctx, struct cv_now now) {
    struct node *n = ctx;
    struct ppsp_event ev;
    bool any = false;
    (void)now;
    while (ppsp_poll_event(n->engine, &ev)) {
        uint64_t words[5] = {ev.type, (uint64_t)ev.err, ev.first, ev.last, ev.edge};
        sim_event(n->world->sim, n->sim, words, sizeof words);
        any = true;
        if (ev.type == PPSP_EVENT_LIVE_TUNED) {
            n->tuned = true;
            n->tuned_at = n->cursor = ev.first;
        } else if (ev.type == PPSP_EVENT_LIVE_DROPPED) {
            n->dropped += ev.last - ev.first + 1;
            n->cursor = ev.last + 1;
        } else if (ev.type == PPSP_EVENT_CHUNKS_READY && !n->has_chunk) {
            n->has_chunk = true;
            n->first_chunk = sim_now(n->world->sim);
        }
        if (ev.type == PPSP_EVENT_CHUNKS_READY && n->tuned) {
            uint64_t missing = ppsp_first_missing(n->engine, n->swarm, n->cursor);
            n->cursor = missing > n->cursor ? missing : n->cursor;
            uint64_t behind = ev.edge > n->cursor ? ev.edge - n->cursor : 0;
            n->worst = behind > n->worst ? behind : n->worst;
        }
    }
    return any;
}

static cv_usec next_timeout(void *ctx) {
    return ppsp_next_timeout(((struct node *)ctx)->engine);
}

static void start(struct node *n, struct cv_now now) {
    struct world *w = n->world;
    struct ppsp_live_config live = {.window = w->plan->window, .latency = CV_SEC(4)};
    struct ppsp_swarm_config config = w->config;
    n->engine = ppsp_new(NULL, sim_node_rng(w->sim, n->sim));
    assert(n->engine);
    n->ring = sim_ring_new(CHUNK, HASH, w->plan->window);
    if (n->index == 0) {
        live.sign = sign;
        live.sign_ctx = w;
        live.munro_chunks = w->plan->munro;
        live.next_chunk = w->reserved;
        unsigned life = w->reserved != 0;
        w->first_of_life[life] = w->end_of_life[life] = w->reserved;
        w->reserved += RESERVE;
        w->said = live.next_chunk;
    }
    config.live = &live;
    config.store_ctx = n->ring;
    enum cv_err err = ppsp_swarm_open(n->engine, now, &config, &n->swarm);
    assert(!err);
    /* Everybody calls those before; the source is called. */
    for (unsigned i = 0; i < n->index && !err; i++) {
        struct cv_endpoint ep = cv_endpoint_udp(&w->nodes[i].addr);
        err = ppsp_peer_add(n->engine, now, n->swarm, &ep,
                            &(struct ppsp_peer_props){.mtu = 1400, .initiate = true});
    }
    /* After a crash it calls those that it remembers, and they may call it. */
    for (unsigned i = 1; n->index == 0 && w->first_of_life[1] && i <= w->plan->viewers && !err;
         i++) {
        struct cv_endpoint ep = cv_endpoint_udp(&w->nodes[i].addr);
        err = ppsp_peer_add(n->engine, now, n->swarm, &ep,
                            &(struct ppsp_peer_props){.mtu = 1400, .initiate = true});
    }
    assert(!err);
    n->joined = sim_now(w->sim);
}

static void on_crash(void *ctx) {
    struct node *n = ctx;
    n->engine = ppsp_free(n->engine);
    n->ring = sim_ring_free(n->ring);
}

static const struct sim_node_ops ops = {
    .on_datagram = on_datagram,
    .on_timeout = on_timeout,
    .poll_transmit = poll_transmit,
    .poll_events = poll_events,
    .next_timeout = next_timeout,
    .crash = on_crash,
    .restart = NULL, /* set below: the same as the start */
};

/* ---- what happens ---- */

static void restart(void *ctx, struct cv_now now) {
    start(ctx, now);
}

static struct sim_node_ops node_ops;

/* So often something is said: as often as one chunk is due, at most 20 times a second. */
static unsigned says(const struct plan *p) {
    return p->rate < 20 ? p->rate : 20;
}

/* What is due of the broadcast. */
static void say(struct sim *s, void *ctx) {
    struct world *w = ctx;
    struct node *n = &w->nodes[0];
    uint8_t chunk[CHUNK];
    for (unsigned i = 0; n->engine && i < w->plan->rate / says(w->plan); i++, w->said++) {
        content(w->said, chunk);
        enum cv_err err = ppsp_inject(n->engine, sim_node_now(s, n->sim), n->swarm, chunk, CHUNK);
        assert(!err);
        (void)err;
        unsigned life = w->first_of_life[1] != 0;
        w->end_of_life[life] = ppsp_inject_next(n->engine, n->swarm);
    }
    sim_touch(s, n->sim);
    if (sim_now(s) < CV_SEC(w->plan->end))
        sim_at(s, sim_now(s) + CV_SEC(1) / says(w->plan), say, w);
}

static void crash(struct sim *s, void *ctx) {
    sim_crash(s, ((struct world *)ctx)->nodes[0].sim);
}

static void come_back(struct sim *s, void *ctx) {
    sim_restart(s, ((struct world *)ctx)->nodes[0].sim);
}

static void come_late(struct sim *s, void *ctx) {
    sim_restart(s, ((struct world *)ctx)->nodes[LATE].sim);
}

/* Remembers some of what the source says in its first seconds. */
static enum sim_verdict listen(void *ctx, const struct sim_datagram *d) {
    struct world *w = ctx;
    if (d->from_node == w->nodes[0].sim && d->to_node != UINT32_MAX && d->len > 60 &&
        d->len <= 1500 && w->replay_count < REPLAYS && d->at > CV_SEC(1)) {
        memcpy(w->replay[w->replay_count], d->buf, d->len);
        w->replay_len[w->replay_count] = d->len;
        w->replay_to[w->replay_count++] = d->to_node;
    }
    return SIM_PASS;
}

/* An old datagram of the source again, and one that was made up. */
static void disturb(struct sim *s, void *ctx) {
    struct world *w = ctx;
    const struct cv_rng *rng = sim_rng(s);
    uint8_t made_up[200];
    if (w->replay_count) {
        unsigned i = (unsigned)cv_rng_below(rng, w->replay_count);
        for (unsigned k = 1; k <= VIEWERS; k++)
            if (w->nodes[k].sim == w->replay_to[i])
                (void)sim_inject(s, &w->nodes[0].addr, &w->nodes[k].addr, w->replay[i],
                                 w->replay_len[i]);
    }
    cv_rng_fill(rng, made_up, sizeof made_up);
    made_up[4] = 7; /* SIGNED_INTEGRITY */
    (void)sim_inject(s, &w->nodes[0].addr, &w->nodes[1 + cv_rng_below(rng, VIEWERS)].addr, made_up,
                     sizeof made_up);
    if (sim_now(s) < CV_SEC(END))
        sim_at(s, sim_now(s) + CV_MSEC(100), disturb, w);
}

/* ---- the world ---- */

static void plan_trouble(struct world *w) {
    sim_hook(w->sim, listen, w);
    sim_crash(w->sim, w->nodes[LATE].sim);
    sim_at(w->sim, CV_SEC(2), disturb, w);
    sim_at(w->sim, CV_SEC(LATE_AT), come_late, w);
    sim_at(w->sim, CV_SEC(CRASH_AT), crash, w);
    sim_at(w->sim, CV_SEC(RESTART_AT), come_back, w);
}

static void build(struct world *w, uint64_t seed, const struct plan *plan) {
    w->plan = plan;
    uint8_t key[CV_KEY] = {0};
    memcpy(key, &seed, sizeof seed);
    enum cv_err err = cv_dnssec_secret_from_seed(key, &w->secret);
    assert(!err);
    (void)err;
    w->sim = sim_new(&(struct sim_config){.seed = seed});
    w->config = (struct ppsp_swarm_config){.integrity = PPSP_INTEGRITY_UNIFIED,
                                           .hash = CV_SHA256,
                                           .addressing = PPSP_ADDRESSING_CHUNK32,
                                           .chunk_size = CHUNK,
                                           .store = &sim_ring_ops,
                                           .serve = true,
                                           .open = true};
    w->config.id[0] = CV_DNSSEC_ED25519;
    w->config.id_len = 1 + cv_dnssec_public_of(w->secret, w->config.id + 1);
    node_ops = ops;
    node_ops.restart = restart;
    uint64_t stream = (uint64_t)plan->rate * CHUNK * 8;
    for (unsigned i = 0; i <= plan->viewers; i++) {
        struct node *n = &w->nodes[i];
        *n = (struct node){.world = w, .index = i};
        n->sim = sim_add(w->sim, &node_ops, n);
        n->addr = sim_addr(n->sim, 7000);
        err = sim_bind(w->sim, n->sim, 0, &n->addr);
        assert(!err);
        struct sim_access access = {.rate_up = 4 * stream,
                                    .rate_down =
                                        plan->trouble && i == SLOW ? stream / 2 : 10 * stream,
                                    .queue_up = 200000,
                                    .queue_down = 200000};
        if (i == 0) /* headers, hashes and all that included */
            access.rate_up = stream * 5 / 2;
        sim_access(w->sim, n->sim, &access);
    }
    const struct cv_rng *rng = sim_rng(w->sim);
    for (unsigned a = 0; a <= plan->viewers; a++)
        for (unsigned b = 0; b <= plan->viewers; b++)
            if (a != b)
                sim_path(w->sim, w->nodes[a].sim, w->nodes[b].sim,
                         &(struct sim_path){.delay = cv_rng_between(rng, CV_MSEC(5), CV_MSEC(50)),
                                            .jitter = CV_MSEC(2),
                                            .loss_ppm = 5000});
    if (plan->trouble)
        plan_trouble(w);
    for (unsigned i = 0; i <= plan->viewers; i++)
        if (!plan->trouble || i != LATE)
            start(&w->nodes[i], sim_node_now(w->sim, w->nodes[i].sim));
    sim_at(w->sim, CV_MSEC(500), say, w);
}

static bool said(const struct world *w, uint64_t chunk) {
    for (unsigned life = 0; life < 2; life++)
        if (chunk >= w->first_of_life[life] && chunk < w->end_of_life[life])
            return true;
    return false;
}

/* Numbers that were set aside and never used: everybody drops those. */
static uint64_t gap_of(const struct world *w) {
    return w->first_of_life[1] - w->end_of_life[0];
}

/* All that it holds is right, and all of ten seconds is there that it did not
 * say it dropped. */
static bool check_store(const struct world *w, const struct node *n, bool whole) {
    uint8_t want[CHUNK];
    uint64_t missing = 0, end = w->end_of_life[1] - 4 * RATE; /* younger ones may be under way */
    for (uint64_t i = 0; i < end; i++) {
        size_t len;
        const uint8_t *chunk = sim_ring_chunk(n->ring, i, &len);
        if (chunk) {
            content(i, want);
            SCENARIO_CHECK(said(w, i) && len == CHUNK && memcmp(chunk, want, CHUNK) == 0,
                           "viewer %u, chunk %llu", n->index, (unsigned long long)i);
        } else if (whole && said(w, i) && i + 10 * RATE >= end) {
            missing++;
        }
    }
    SCENARIO_CHECK(missing <= n->dropped - gap_of(w) || !whole, "viewer %u misses %llu", n->index,
                   (unsigned long long)missing);
    return true;
}

static bool check(struct world *w, struct scenario_result *ret) {
    struct ppsp_stats st = {0};
    uint64_t old = 0, unusable = 0, worst = 0;
    for (unsigned i = 1; i <= VIEWERS; i++) {
        struct node *n = &w->nodes[i];
        const struct ppsp_counters *c = ppsp_counters(n->engine);
        SCENARIO_CHECK(n->tuned && n->has_chunk, "viewer %u sees nothing", i);
        /* What was replayed and made up was counted, and cost nobody a channel. */
        SCENARIO_CHECK(c->drop_munro_bad == 0 && c->peers_dropped_bad == 0, "viewer %u", i);
        old += c->drop_munro_old;
        unusable += c->drop_munro;
        if (!check_store(w, n, i != SLOW))
            return false;
        uint64_t gap = gap_of(w);
        if (i == SLOW)
            SCENARIO_CHECK(n->dropped > gap, "the slow viewer dropped nothing");
        else
            SCENARIO_CHECK(n->dropped <= gap + 4 * RATE, "viewer %u dropped %llu", i,
                           (unsigned long long)n->dropped);
        (void)ppsp_stats(n->engine, n->swarm, &st);
        SCENARIO_CHECK(i == SLOW || st.chunks + 3 * MUNRO >= w->end_of_life[1],
                       "viewer %u is not at the edge", i);
        worst = i != SLOW && n->worst > worst ? n->worst : worst;
    }
    const struct node *late = &w->nodes[LATE];
    cv_usec waited = late->first_chunk - late->joined;
    SCENARIO_CHECK(waited <= CV_SEC(2), "the late viewer waited %llu us",
                   (unsigned long long)waited);
    SCENARIO_CHECK(unusable > 0, "nothing was replayed");
    (void)ppsp_stats(w->nodes[0].engine, w->nodes[0].swarm, &st);
    uint64_t from_source = st.up;
    /* of its second life; that of the first is forgotten */
    uint64_t stream = (w->end_of_life[1] - w->first_of_life[1]) * CHUNK;
    SCENARIO_CHECK(from_source < 3 * stream, "the source gave %llu for %llu",
                   (unsigned long long)from_source, (unsigned long long)stream);
    snprintf(ret->note, sizeof ret->note,
             "source gave the stream %.1f times to %d viewers; late one saw it after %.2f s; at "
             "most %.1f s behind; %llu "
             "old munros",
             (double)from_source / (double)stream, VIEWERS, (double)waited / 1e6,
             (double)worst / RATE, (unsigned long long)old);
    return true;
}

static bool run(uint64_t seed, const struct plan *plan, void (*more)(struct world *w),
                bool (*holds)(struct world *w, struct scenario_result *ret),
                struct scenario_result *ret) {
    struct world *w = calloc(1, sizeof *w);
    assert(w);
    build(w, seed, plan);
    if (more)
        more(w);
    sim_run(w->sim, CV_SEC(plan->end));
    bool ok = holds(w, ret);
    scenario_measure(ret, w->sim, 1 + plan->viewers);
    for (unsigned i = 0; i <= plan->viewers; i++) {
        ppsp_free(w->nodes[i].engine);
        sim_ring_free(w->nodes[i].ring);
    }
    sim_free(w->sim);
    cv_dnssec_secret_free(w->secret);
    free(w);
    return ok;
}

bool scenario_live(const struct scenario_args *args, struct scenario_result *ret) {
    return run(args->seed, &short_plan, NULL, check, ret);
}

/* ---- an hour: nobody falls behind little by little, and nothing grows ---- */

/* A sanitizer's allocator has its own count. */
size_t __sanitizer_get_current_allocated_bytes(void) __attribute__((weak));

static size_t memory(void) {
    return __sanitizer_get_current_allocated_bytes ? __sanitizer_get_current_allocated_bytes()
                                                   : mallinfo2().uordblks;
}

/* How far behind what was said each viewer is, five times a second. */
static void look(struct sim *s, void *ctx) {
    struct world *w = ctx;
    unsigned second = (unsigned)(sim_now(s) / CV_SEC(1));
    for (unsigned i = 1; i <= w->plan->viewers; i++) {
        const struct node *n = &w->nodes[i];
        struct lag *l = &w->lag[i];
        uint64_t behind = w->said > n->cursor ? w->said - n->cursor : 0;
        uint64_t *worst = second >= 120 && second < 720 ? &l->early
                          : second >= HOUR - 600        ? &l->late
                          : second >= DEAF_AT + DEAF + 10 && second < DEAF_AT + DEAF + 70
                              ? &l->after_outage
                              : NULL;
        if (worst && behind > *worst)
            *worst = behind;
    }
    if (second >= 600 && !w->memory[0])
        w->memory[0] = memory();
    if (sim_now(s) + CV_MSEC(200) < CV_SEC(HOUR))
        sim_at(s, sim_now(s) + CV_MSEC(200), look, w);
    else
        w->memory[1] = memory();
}

static void go_deaf(struct sim *s, void *ctx) {
    sim_partition(s, ((struct world *)ctx)->nodes[HOUR_VIEWERS].sim, 1);
}

static void hear_again(struct sim *s, void *ctx) {
    (void)ctx;
    sim_heal(s);
}

static void plan_hour(struct world *w) {
    sim_at(w->sim, CV_SEC(1), look, w);
    sim_at(w->sim, CV_SEC(DEAF_AT), go_deaf, w);
    sim_at(w->sim, CV_SEC(DEAF_AT + DEAF), hear_again, w);
}

static bool check_hour(struct world *w, struct scenario_result *ret) {
    uint64_t worst = 0;
    for (unsigned i = 1; i <= HOUR_VIEWERS; i++) {
        const struct lag *l = &w->lag[i];
        SCENARIO_CHECK(w->nodes[i].tuned && w->nodes[i].has_chunk, "viewer %u sees nothing", i);
        SCENARIO_CHECK(l->early > 0 && l->late > 0, "viewer %u was not looked at", i);
        SCENARIO_CHECK(l->late <= l->early + HOUR_RATE,
                       "viewer %u: %llu chunks behind, %llu at first", i,
                       (unsigned long long)l->late, (unsigned long long)l->early);
        SCENARIO_CHECK(l->after_outage <= l->early + HOUR_RATE,
                       "viewer %u is still %llu chunks behind after the outage", i,
                       (unsigned long long)l->after_outage);
        worst = l->late > worst ? l->late : worst;
    }
    SCENARIO_CHECK(w->memory[1] <= w->memory[0] + (256 << 10), "memory grew from %zu to %zu octets",
                   w->memory[0], w->memory[1]);
    snprintf(
        ret->note, sizeof ret->note,
        "after an hour at most %.1f s behind (%.1f s in its first minutes), memory %+lld octets "
        "since minute ten",
        (double)worst / HOUR_RATE,
        (double)(w->lag[1].early > w->lag[2].early ? w->lag[1].early : w->lag[2].early) / HOUR_RATE,
        (long long)w->memory[1] - (long long)w->memory[0]);
    return true;
}

bool scenario_live_hour(const struct scenario_args *args, struct scenario_result *ret) {
    return run(args->seed, &hour_plan, plan_hour, check_hour, ret);
}
