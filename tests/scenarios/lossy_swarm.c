/*
 * A lossy swarm completes. One seeder and three viewers that all know each
 * other; every path loses 1 to 5 %, reorders, duplicates and jitters, drawn
 * from the seed. Every viewer must have everything, octet for octet, within
 * five simulated minutes.
 */
#include <stdio.h>

#include "scenarios/scenario.h"
#include "scenarios/swarm.h"

static void bad_network(struct swarm_world *w) {
    const struct cv_rng *rng = sim_rng(w->sim);
    for (unsigned a = 0; a < w->peers_count; a++)
        for (unsigned b = 0; b < w->peers_count; b++) {
            if (a == b)
                continue;
            struct sim_path path = {
                .delay = cv_rng_between(rng, CV_MSEC(2), CV_MSEC(120)),
                .jitter = cv_rng_between(rng, 0, CV_MSEC(20)),
                .rate = cv_rng_between(rng, 1000000, 50000000),
                .loss_ppm = (uint32_t)cv_rng_between(rng, 10000, 50000),
                .duplicate_ppm = (uint32_t)cv_rng_between(rng, 0, 20000),
                .reorder_ppm = (uint32_t)cv_rng_between(rng, 0, 50000),
                .reorder = cv_rng_between(rng, 0, CV_MSEC(100)),
            };
            path.queue = path.rate / 8 * cv_rng_between(rng, 50, 500) / 1000;
            sim_path(w->sim, a, b, &path);
        }
}

static bool check(struct swarm_world *w, struct scenario_result *ret) {
    bool complete = sim_run_while_not(w->sim, swarm_all_complete, w, CV_SEC(300));
    for (unsigned i = 0; i < w->peers_count && !complete; i++) {
        struct ppsp_stats st = {0};
        (void)ppsp_stats(w->peers[i]->engine, w->peers[i]->swarm, &st);
        fprintf(stderr, "peer %u has %llu of %llu chunks\n", i, (unsigned long long)st.chunks_have,
                (unsigned long long)st.chunks);
    }
    SCENARIO_CHECK(complete, "not complete after 300 s");
    SCENARIO_CHECK(swarm_stores_match(w), "wrong octets in a store");
    snprintf(ret->note, sizeof ret->note, "last one complete after %.1f s",
             (double)sim_now(w->sim) / 1e6);
    return true;
}

bool scenario_lossy_swarm(const struct scenario_args *args, struct scenario_result *ret) {
    /* about 1 MiB; the last chunk is short, alone in its group, or whole */
    struct swarm_world *w = swarm_world_new(args->seed, (1 << 20) - 40 + args->seed % 97);
    unsigned viewers = args->nodes > 1 ? args->nodes - 1 : 3;
    swarm_peer_new(w, SWARM_SEEDER);
    for (unsigned i = 0; i < viewers; i++)
        swarm_peer_new(w, SWARM_VIEWER);
    bad_network(w);
    for (unsigned a = 1; a < w->peers_count; a++)
        for (unsigned b = 0; b < a; b++)
            swarm_connect(w->peers[a], w->peers[b]);
    bool ok = check(w, ret);
    scenario_measure(ret, w->sim, w->peers_count);
    swarm_world_free(w);
    return ok;
}
