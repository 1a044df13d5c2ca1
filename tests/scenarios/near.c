/*
 * A film over the hidden path where all are a tenth of a millisecond apart and nothing
 * limits them: windows grow far beyond what a circuit's queue holds. A burst waits its
 * turn then; nobody loses what was never sent.
 */
#include <stdio.h>

#include "scenarios/scenario.h"
#include "scenarios/world.h"

enum { FILM = 6 << 20 };

static bool check(struct world *w, struct scenario_result *ret) {
    struct sim *s = w->sim;
    world_relays(w, 6);
    struct world_node *seeder = world_node_new(w, &(struct world_node_config){0});
    struct world_node *viewer = world_node_new(w, &(struct world_node_config){0});
    const struct world_film *film = world_film_new(w, FILM);
    world_links(w, 100, 200, 0);

    SCENARIO_CHECK(sim_run_while_not(s, world_relays_ready, w, CV_SEC(60)), "relays not ready");
    world_open(seeder, film, WORLD_SEEDER, 0, false);
    SCENARIO_CHECK(sim_run_while_not(s, world_shared, w, CV_SEC(120)), "not shared");
    cv_usec shared = sim_now(s);
    world_open(viewer, film, WORLD_VIEWER, 0, true);
    SCENARIO_CHECK(sim_run_while_not(s, world_all_complete, w, shared + CV_SEC(120)),
                   "not complete");
    struct node_status gave, got;
    node_status(seeder->node, &gave);
    node_status(viewer->node, &got);
    snprintf(ret->note, sizeof ret->note, "%.2f s, full circuits: %lu, %lu",
             (double)(sim_now(s) - shared) / 1e6, gave.circuit_full, got.circuit_full);
    SCENARIO_CHECK(world_stores_match(w), "wrong octets");
    SCENARIO_CHECK(gave.circuit_full + got.circuit_full == 0, "lost for want of room");
    return true;
}

bool scenario_near(const struct scenario_args *args, struct scenario_result *ret) {
    struct world *w = world_new(args->seed);
    bool ok = check(w, ret);
    scenario_measure(ret, w->sim, w->nodes_count);
    world_free(w);
    return ok;
}
