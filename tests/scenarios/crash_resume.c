/*
 * A viewer is killed again and again; each time, what was not committed is lost
 * or torn. It resumes from what the disk holds, completes, and never has a
 * wrong octet among what it calls verified. Committed chunks are not fetched
 * again. In between the store says AGAIN and fails now and then.
 */
#include <stdio.h>

#include "scenarios/scenario.h"
#include "scenarios/swarm.h"

enum { SEEDER, VIEWER };

static void restart(struct sim *s, void *ctx) {
    const struct swarm_peer *p = ctx;
    sim_restart(s, p->node);
}

static void crash(struct sim *s, void *ctx) {
    struct swarm_peer *p = ctx;
    const struct cv_rng *rng = sim_rng(s);
    struct ppsp_stats st;
    if (!p->engine || ppsp_stats(p->engine, p->swarm, &st) || st.complete)
        return;
    sim_crash(s, p->node);
    sim_at(s, sim_now(s) + cv_rng_between(rng, 1000, CV_SEC(2)), restart, p);
}

static bool check(struct swarm_world *w, struct scenario_result *ret) {
    struct swarm_peer *viewer = w->peers[VIEWER];
    const struct cv_rng *rng = sim_rng(w->sim);
    unsigned crashes = 0;
    while (!swarm_all_complete(w)) {
        cv_usec next = sim_now(w->sim) + cv_rng_between(rng, CV_MSEC(50), CV_SEC(6));
        SCENARIO_CHECK(next < CV_SEC(900), "not complete after 900 s and %u crashes", crashes);
        if (sim_run_while_not(w->sim, swarm_all_complete, w, next))
            break;
        SCENARIO_CHECK(swarm_stores_match(w), "wrong octets called verified");
        if (crashes < 12 && sim_is_up(w->sim, viewer->node)) {
            crash(w->sim, viewer);
            crashes++;
            SCENARIO_CHECK(swarm_stores_match(w), "wrong octets called verified after a crash");
        }
    }
    SCENARIO_CHECK(swarm_stores_match(w), "wrong octets in the end");
    const struct sim_store_counters *c = sim_store_counters(viewer->store);
    snprintf(ret->note, sizeof ret->note, "%u crashes, %llu chunks lost, %llu torn", crashes,
             (unsigned long long)c->chunks_lost, (unsigned long long)c->chunks_torn);
    SCENARIO_CHECK(c->chunks_twice == 0, "verified chunks were written again");
    return true;
}

bool scenario_crash_resume(const struct scenario_args *args, struct scenario_result *ret) {
    struct swarm_world *w = swarm_world_new(args->seed, 2000000 + args->seed % 5000);
    swarm_peer_new(w, SWARM_SEEDER);
    swarm_peer_new(w, SWARM_VIEWER);
    struct swarm_peer *viewer = w->peers[VIEWER];
    viewer->retry_store = true;
    viewer->again_ppm = 5000;
    viewer->error_ppm = 500;
    sim_store_faults(viewer->store, viewer->again_ppm, viewer->error_ppm);
    sim_path_default(w->sim,
                     &(struct sim_path){
                         .delay = CV_MSEC(10), .rate = 1000000, .queue = 60000, .loss_ppm = 2000});
    swarm_connect(viewer, w->peers[SEEDER]);
    bool ok = check(w, ret);
    scenario_measure(ret, w->sim, w->peers_count);
    swarm_world_free(w);
    return ok;
}
