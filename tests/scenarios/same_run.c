/* A world of whole nodes with a crash and a restart in it, run twice from one
 * seed: the same digest. It is printed, so that compilers can be compared. */
#include <stdio.h>

#include "scenarios/scenario.h"
#include "scenarios/world.h"

static uint64_t run(const struct scenario_args *args, struct scenario_result *ret, bool *ret_ok) {
    struct world *w = world_new(args->seed);
    struct sim *s = w->sim;
    world_relays(w, 7);
    struct world_node *seeder = world_node_new(w, &(struct world_node_config){0});
    struct world_node *viewer = world_node_new(w, &(struct world_node_config){0});
    const struct world_film *film = world_film_new(w, 300000);
    world_links(w, CV_MSEC(5), CV_MSEC(30), 5000);
    bool ok = sim_run_while_not(s, world_relays_ready, w, CV_SEC(60));
    world_open(seeder, film, WORLD_SEEDER, 0, false);
    world_open(viewer, film, WORLD_VIEWER, 0, true);
    sim_run(s, sim_now(s) + CV_SEC(8));
    sim_crash(s, viewer->number);
    sim_crash(s, w->nodes[0]->number);
    sim_run(s, sim_now(s) + CV_SEC(2));
    sim_restart(s, viewer->number);
    sim_restart(s, w->nodes[0]->number);
    ok = ok && sim_run_while_not(s, world_all_complete, w, sim_now(s) + CV_SEC(120));
    *ret_ok = ok && world_stores_match(w);
    scenario_measure(ret, s, w->nodes_count);
    world_free(w);
    return ret->digest;
}

bool scenario_same_run(const struct scenario_args *args, struct scenario_result *ret) {
    bool ok1, ok2;
    uint64_t first = run(args, ret, &ok1), second = run(args, ret, &ok2);
    snprintf(ret->note, sizeof ret->note, "digest %016llx", (unsigned long long)second);
    SCENARIO_CHECK(first == second, "%016llx, then %016llx", (unsigned long long)first,
                   (unsigned long long)second);
    SCENARIO_CHECK(ok1 && ok2, "not complete");
    return true;
}
