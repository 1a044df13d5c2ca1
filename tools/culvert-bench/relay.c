/*
 * What a relay's cells and circuits cost: one engine in a process of its own
 * (relay_process.h), real cryptography, virtual time, no sockets. Around it, in
 * this process, clients' engines whose circuits go through it to other relays'
 * engines. Two such worlds, one with ten circuits and one with many, take turns,
 * so that whatever else the machine does meets both. What two workers do: relay_workers.h.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "culvert-bench/bench.h"
#include "culvert-bench/party.h"
#include "culvert-bench/relay_process.h"
#include "culvert-bench/relay_workers.h"

enum {
    CLIENTS = 16,
    NEXTS = PARTY_RELAYS_MAX,
    PARTIES = CLIENTS + NEXTS,
    FEW = 10,      /* circuits of the small world */
    BURST = 16,    /* cells of one circuit that arrive together: a third of a segmented send */
    CELLS = 20480, /* of a round, each way */
    ROUNDS_MAX = 64,
};

struct relay_world {
    struct cv_now now;
    struct relay_process relay;
    struct cv_addr relay_addr;
    struct party party[PARTIES]; /* clients, then relays behind */
    struct tun_relay_ref relay_ref;
    struct circuits circuits;
    struct cv_rng_seeded dice;
    struct cv_rng rng;
};

/* ---- the relay's neighbours ---- */

static void events(struct relay_world *w, struct party *p) {
    party_events(p, &w->now, &w->circuits);
}

static void start(struct relay_world *w, unsigned i) {
    struct party *p = &w->party[i];
    struct party_relays *known = &w->relay.post->next;
    struct tun_config cfg = {.relay = i >= CLIENTS,
                             .links_max = 16,
                             .circuits_max = w->circuits.wanted,
                             .hops_max = w->circuits.wanted};
    party_start(p, &cfg, i + 1, (uint8_t)(i + 1), &w->now);
    events(w, p);
    if (cfg.relay)
        party_own_ref(p, w->now.wall, &known->v[known->n++]);
}

static struct party *party_at(struct relay_world *w, const struct cv_addr *a) {
    return a->ip[1] >= 1 && a->ip[1] <= PARTIES ? &w->party[a->ip[1] - 1] : NULL;
}

/* ---- time ---- */

static void step(struct relay_world *w) {
    struct relay_post *post = w->relay.post;
    post->now = w->now;
    do {
        struct cv_batch b = {.arena = post->arena, .stride = TUN_DATAGRAM};
        relay_process_step(&w->relay);
        post->in = 0;
        for (unsigned r = 0; r < post->runs; r++) {
            struct party *to = party_at(w, &post->run[r].to.addr);
            for (uint16_t k = 0; to && k < post->run[r].count; k++)
                (void)tun_on_datagram(to->t, &w->now, &w->relay_addr,
                                      cv_batch_at(&b, &post->run[r], k), TUN_DATAGRAM);
            if (to)
                events(w, to);
        }
    } while (post->more);
}

static void hand_over(struct relay_world *w, const struct cv_addr *from, const uint8_t *datagram) {
    struct relay_post *post = w->relay.post;
    if (post->in == RELAY_SLOTS)
        step(w);
    post->from[post->in] = *from;
    memcpy(post->datagram[post->in++], datagram, TUN_DATAGRAM);
}

/* What waits at the neighbours goes to the relay: all of them speak to it alone. */
static bool collect(struct relay_world *w) {
    static uint8_t arena[RELAY_SLOTS * TUN_DATAGRAM];
    static struct cv_run runs[RELAY_SLOTS];
    bool any = false;
    for (unsigned i = 0; i < PARTIES; i++) {
        struct cv_batch b = cv_batch_init(arena, RELAY_SLOTS, TUN_DATAGRAM, 0, runs, RELAY_SLOTS);
        for (bool more = true; more;) {
            cv_batch_clear(&b);
            more = tun_poll_transmit(w->party[i].t, &w->now, &b);
            for (uint32_t r = 0; r < b.runs_used; r++)
                for (uint16_t k = 0; k < runs[r].count; k++)
                    hand_over(w, &w->party[i].addr, cv_batch_at(&b, &runs[r], k));
            any |= b.runs_used > 0;
        }
    }
    return any;
}

/* Until nobody has anything to say. */
static void settle(struct relay_world *w) {
    for (bool first = true; collect(w) || first; first = false)
        step(w);
}

static void pass(struct relay_world *w, cv_usec time) {
    w->now.mono += time;
    for (unsigned i = 0; i < PARTIES; i++) {
        if (tun_next_timeout(w->party[i].t) <= w->now.mono)
            tun_on_timeout(w->party[i].t, &w->now);
        events(w, &w->party[i]);
    }
    settle(w);
}

/* ---- circuits ---- */

static void build(struct relay_world *w, unsigned i) {
    struct ends *e = &w->circuits.v[i];
    unsigned next = (i + i / CLIENTS) % NEXTS;
    e->client = &w->party[i % CLIENTS];
    e->next = &w->party[CLIENTS + next];
    ends_build(e, &w->now, &w->relay_ref, &w->relay.post->next.v[next]);
}

/* Not faster than relays accept new circuits: 50 a second on one link. */
static void build_all(struct relay_world *w) {
    enum { AT_ONCE = 3, EVERY_MS = 4 };
    const struct circuits *c = &w->circuits;
    unsigned begun = 0, opened = 0;
    for (unsigned ms = 0; c->open < c->wanted && ms < 600000; ms += EVERY_MS) {
        for (unsigned k = 0; k < AT_ONCE && begun < c->wanted; k++)
            build(w, begun++);
        pass(w, CV_MSEC(EVERY_MS));
        /* in the order in which they were begun: they are ready in that order, or a
         * little later and are asked again */
        for (; opened < begun && ends_ready(&c->v[opened]); opened++)
            ends_open(c, opened, &w->now);
        settle(w);
        if (c->failed)
            bench_die("a circuit failed; %u of %u are ready", c->ready, c->wanted);
    }
    if (c->open < c->wanted)
        bench_die("%u of %u circuits in ten minutes", c->open, c->wanted);
}

static void world_start(struct relay_world *w, unsigned circuits) {
    w->now = (struct cv_now){.mono = CV_SEC(1), .wall = 1790000000};
    w->circuits = (struct circuits){.wanted = circuits, .v = calloc(circuits, sizeof(struct ends))};
    if (!w->circuits.v)
        bench_die("out of memory");
    cv_rng_seeded_init(&w->dice, 7);
    w->rng = cv_rng_seeded(&w->dice);
    w->relay_addr = party_address(0);
    relay_process_start(&w->relay, circuits, w->now);
    party_ref(w->relay.post->descriptor, w->relay.post->descriptor_len, w->now.wall, &w->relay_ref);
}

static void world_fill(struct relay_world *w) {
    for (unsigned i = 0; i < PARTIES; i++)
        start(w, i);
    build_all(w);
    /* Answers that relays remember for a while are not of a circuit at rest. */
    for (unsigned i = 0; i < 30; i++)
        pass(w, CV_SEC(1));
}

static void world_stop(struct relay_world *w) {
    for (unsigned i = 0; i < PARTIES; i++)
        tun_free(w->party[i].t);
    free(w->circuits.v);
    relay_process_end(&w->relay);
}

/* ---- measuring ---- */

/* CPU microseconds of the relay for each cell: `burst` of a circuit together, the
 * circuit drawn each time. */
static double round_us(struct relay_world *w, bool forward, unsigned burst) {
    const struct relay_post *post = w->relay.post;
    uint64_t arrived = w->circuits.arrived, relayed = post->relayed;
    double cpu_s = post->cpu_s;
    for (unsigned sent = 0; sent < CELLS;) {
        for (unsigned n = 0; n < RELAY_SLOTS; n += burst, sent += burst) {
            const struct ends *e = &w->circuits.v[cv_rng_below(&w->rng, w->circuits.wanted)];
            for (unsigned k = 0; k < burst; k++)
                ends_send(e, forward, &w->now);
            if (burst == 1 || n % 64 == 0)
                (void)collect(w);
        }
        pass(w, 100);
    }
    if (w->circuits.arrived - arrived < CELLS)
        bench_die("%u of %d cells arrived", (unsigned)(w->circuits.arrived - arrived), CELLS);
    return (post->cpu_s - cpu_s) * 1e6 / (double)(post->relayed - relayed);
}

/* Both ways together, in both worlds. */
struct figures {
    double forward[2], backward[2];
};

static void measure(struct relay_world *const w[2], unsigned burst, unsigned rounds,
                    struct figures *ret) {
    double us[2][2][ROUNDS_MAX];
    for (unsigned r = 0; r < rounds; r++)
        for (unsigned i = 0; i < 2; i++)
            for (unsigned back = 0; back < 2; back++)
                us[i][back][r] = round_us(w[i], !back, burst);
    for (unsigned i = 0; i < 2; i++) {
        ret->forward[i] = bench_median(us[i][0], rounds);
        ret->backward[i] = bench_median(us[i][1], rounds);
    }
}

static double mean_us(const struct figures *f, unsigned i) {
    return (f->forward[i] + f->backward[i]) / 2;
}

json_t *bench_relay(const struct bench_options *o) {
    static struct relay_world few, many;
    struct relay_world *const both[2] = {&few, &many};
    unsigned circuits = o->circuits > FEW ? o->circuits : FEW + 1;
    world_start(&few, FEW); /* both processes while this one is small */
    world_start(&many, circuits);
    world_fill(&few);
    world_fill(&many);
    double rss_few = relay_process_rss(&few.relay), rss = relay_process_rss(&many.relay);
    struct figures together, alone;
    unsigned rounds = o->runs < 1 ? 1 : o->runs > ROUNDS_MAX ? ROUNDS_MAX : o->runs;
    measure(both, BURST, rounds, &together);
    measure(both, 1, rounds, &alone);
    struct relay_workers_figures together_by_two;
    relay_workers_measure(rounds, &together_by_two);
    json_t *ret = json_pack(
        "{s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:i, s:i, s:i}",
        "cells_per_s_per_core", 1e6 / mean_us(&together, 1), "cells_per_s_per_core_few",
        1e6 / mean_us(&together, 0), "forward_us", together.forward[1], "backward_us",
        together.backward[1], "bytes_per_circuit", (rss - rss_few) / (circuits - FEW),
        "rss_mib_50k", rss / (1 << 20), "rss_mib_few", rss_few / (1 << 20), "cost_ratio_50k",
        mean_us(&together, 1) / mean_us(&together, 0), "cost_ratio_50k_scattered",
        mean_us(&alone, 1) / mean_us(&alone, 0), "two_worker_speedup", together_by_two.speedup,
        "two_worker_cpu_ratio", together_by_two.cpu_ratio, "two_process_speedup",
        together_by_two.process_speedup, "two_process_cpu_ratio", together_by_two.process_cpu_ratio,
        "circuits", (int)circuits, "few", (int)FEW, "burst", (int)BURST);
    world_stop(&few);
    world_stop(&many);
    return ret;
}
