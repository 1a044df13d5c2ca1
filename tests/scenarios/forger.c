/*
 * A forger's data never reaches the store. Three attacks at once on two
 * viewers with an honest seeder:
 *   - a peer whose hash tree is right and whose every chunk is wrong;
 *   - somebody who sees and changes datagrams on the liar's paths;
 *   - somebody who guesses addresses and sends garbage and mutated copies of
 *     real datagrams in the seeder's name, with wrong channel numbers.
 * The viewers complete from the honest seeder, hold nothing but the content at
 * every instant, and drop the liar.
 */
#include <stdio.h>
#include <string.h>

#include "scenarios/scenario.h"
#include "scenarios/swarm.h"

enum { SEEDER, LIAR, VIEWER_1, VIEWER_2 };

struct evil {
    struct swarm_world *w;
    uint8_t seen[2048]; /* the last datagram of the seeder, without its channel */
    size_t seen_len;
    unsigned injected, changed;
};

static enum sim_verdict watch(void *ctx, const struct sim_datagram *d) {
    struct evil *e = ctx;
    const struct cv_rng *rng = sim_rng(e->w->sim);
    if (d->from_node == SEEDER && d->len <= sizeof e->seen) {
        memcpy(e->seen, d->buf, d->len);
        e->seen_len = d->len;
    }
    if (d->from_node == LIAR && d->len > 1000 && cv_rng_below(rng, 4) == 0) {
        d->buf[cv_rng_below(rng, d->len)] ^= (uint8_t)cv_rng_between(rng, 1, 255);
        e->changed++;
    }
    return SIM_PASS;
}

/* Every few milliseconds: a datagram in the seeder's name. */
static void inject(struct sim *s, void *ctx) {
    struct evil *e = ctx;
    const struct cv_rng *rng = sim_rng(s);
    uint8_t buf[1400];
    size_t len = cv_rng_between(rng, 1, sizeof buf);
    cv_rng_fill(rng, buf, len);
    if (e->seen_len > 4 && e->seen_len <= sizeof buf && cv_rng_below(rng, 2)) {
        len = e->seen_len;
        memcpy(buf + 4, e->seen + 4, len - 4);
        buf[cv_rng_between(rng, 4, len - 1)] ^= (uint8_t)cv_rng_between(rng, 1, 255);
    }
    if (cv_rng_below(rng, 4) == 0 && len >= 4)
        memset(buf, 0, 4); /* channel 0: pretends to open one */
    const struct swarm_peer *victim = e->w->peers[cv_rng_between(rng, VIEWER_1, VIEWER_2)];
    (void)sim_inject(s, &e->w->peers[SEEDER]->addr, &victim->addr, buf, len);
    e->injected++;
    sim_at(s, sim_now(s) + cv_rng_between(rng, 1000, 20000), inject, e);
}

static bool wrong_or_complete(void *ctx) {
    struct swarm_world *w = ctx;
    for (unsigned i = VIEWER_1; i <= VIEWER_2; i++)
        if (!sim_store_matches(w->peers[i]->store, w->content, w->octets))
            return true;
    for (unsigned i = VIEWER_1; i <= VIEWER_2; i++) {
        struct ppsp_stats st;
        if (ppsp_stats(w->peers[i]->engine, w->peers[i]->swarm, &st) || !st.complete)
            return false;
    }
    return true;
}

static bool check(struct evil *e, struct scenario_result *ret) {
    struct swarm_world *w = e->w;
    bool done = sim_run_while_not(w->sim, wrong_or_complete, w, CV_SEC(300));
    for (unsigned i = VIEWER_1; i <= VIEWER_2; i++) {
        SCENARIO_CHECK(sim_store_matches(w->peers[i]->store, w->content, w->octets),
                       "forged octets in the store of viewer %u", i);
        SCENARIO_CHECK(sim_store_counters(w->peers[i]->store)->chunks_twice == 0,
                       "viewer %u wrote a chunk twice", i);
    }
    SCENARIO_CHECK(done, "not complete after 300 s");
    uint64_t bad = 0, dropped = 0;
    for (unsigned i = VIEWER_1; i <= VIEWER_2; i++) {
        bad += ppsp_counters(w->peers[i]->engine)->drop_data_bad;
        dropped += ppsp_counters(w->peers[i]->engine)->peers_dropped_bad;
    }
    SCENARIO_CHECK(e->injected > 20, "the attack did not happen");
    SCENARIO_CHECK(bad > 0 && dropped > 0, "nobody noticed the liar");
    snprintf(ret->note, sizeof ret->note, "%u injected, %u changed, %llu bad chunks refused",
             e->injected, e->changed, (unsigned long long)bad);
    return true;
}

bool scenario_forger(const struct scenario_args *args, struct scenario_result *ret) {
    struct swarm_world *w = swarm_world_new(args->seed, 300000 + args->seed % 1000);
    struct evil e = {.w = w};
    swarm_peer_new(w, SWARM_SEEDER);
    swarm_peer_new(w, SWARM_LIAR);
    swarm_peer_new(w, SWARM_VIEWER);
    swarm_peer_new(w, SWARM_VIEWER);
    sim_path_default(w->sim, &(struct sim_path){.delay = CV_MSEC(20),
                                                .jitter = CV_MSEC(3),
                                                .rate = 4000000,
                                                .queue = 100000,
                                                .loss_ppm = 5000});
    sim_hook(w->sim, watch, &e);
    sim_at(w->sim, 1, inject, &e);
    for (unsigned v = VIEWER_1; v <= VIEWER_2; v++)
        for (unsigned to = 0; to < v; to++)
            swarm_connect(w->peers[v], w->peers[to]);
    bool ok = check(&e, ret);
    scenario_measure(ret, w->sim, w->peers_count);
    swarm_world_free(w);
    return ok;
}
