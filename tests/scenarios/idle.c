/*
 * Idle nodes cost next to nothing: viewers that have everything and only keep
 * their channels alive. The figure of interest is node-hours a CPU-minute.
 */
#include <stdio.h>

#include "scenarios/scenario.h"
#include "scenarios/swarm.h"

bool scenario_idle(const struct scenario_args *args, struct scenario_result *ret) {
    struct swarm_world *w = swarm_world_new(args->seed, 20000);
    unsigned nodes = args->nodes ? args->nodes : 50, minutes = args->minutes ? args->minutes : 30;
    nodes = nodes < SWARM_PEERS_MAX ? nodes : SWARM_PEERS_MAX;
    sim_path_default(w->sim, &(struct sim_path){.delay = CV_MSEC(30)});
    for (unsigned i = 0; i < nodes; i++)
        swarm_peer_new(w, i == 0 ? SWARM_SEEDER : SWARM_VIEWER);
    for (unsigned i = 1; i < nodes; i++)
        for (unsigned k = 1; k <= 8 && k <= i; k++) /* eight neighbours each */
            swarm_connect(w->peers[i], w->peers[i - k]);
    sim_run(w->sim, CV_SEC(60) * minutes);
    bool ok = swarm_all_complete(w);
    snprintf(ret->note, sizeof ret->note, "%.2f datagrams a node-minute",
             (double)sim_counters(w->sim)->sent / nodes / minutes);
    scenario_measure(ret, w->sim, nodes);
    swarm_world_free(w);
    SCENARIO_CHECK(ok, "not even complete");
    return true;
}
