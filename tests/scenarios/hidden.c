/*
 * A film over the hidden path: one seeder, one viewer, six to eight relays, 1 %
 * loss on every link. Then the seeder dies and another viewer gets it from the
 * first.
 */
#include <stdio.h>

#include "scenarios/scenario.h"
#include "scenarios/world.h"

static double seconds(cv_usec t) {
    return (double)t / 1e6;
}

static bool check(struct world *w, const struct scenario_args *args, struct scenario_result *ret) {
    struct sim *s = w->sim;
    world_relays(w, 6 + (unsigned)(args->seed % 3));
    struct world_node *seeder = world_node_new(w, &(struct world_node_config){0});
    struct world_node *first = world_node_new(w, &(struct world_node_config){0});
    struct world_node *second = world_node_new(w, &(struct world_node_config){0});
    const struct world_film *film = world_film_new(w, 700000 + args->seed % 5000);
    world_links(w, CV_MSEC(20), CV_MSEC(40), 10000);

    SCENARIO_CHECK(sim_run_while_not(s, world_relays_ready, w, CV_SEC(60)), "relays not ready");
    world_open(seeder, film, WORLD_SEEDER, 0, false);
    SCENARIO_CHECK(sim_run_while_not(s, world_shared, w, CV_SEC(120)), "not shared");
    cv_usec shared = sim_now(s);
    world_open(first, film, WORLD_VIEWER, 0, true);
    SCENARIO_CHECK(sim_run_while_not(s, world_all_complete, w, shared + CV_SEC(120)),
                   "first viewer not complete");
    cv_usec got = sim_now(s);
    sim_run(s, sim_now(s) + CV_SEC(30)); /* it becomes a seeder */
    SCENARIO_CHECK(first->shared, "the first viewer does not share");
    sim_crash(s, seeder->number);
    cv_usec crashed = sim_now(s);
    world_open(second, film, WORLD_VIEWER, 0, true);
    SCENARIO_CHECK(sim_run_while_not(s, world_all_complete, w, crashed + CV_SEC(180)),
                   "second viewer not complete");
    snprintf(ret->note, sizeof ret->note, "shared after %.1f s, got in %.1f s, again in %.1f s",
             seconds(shared), seconds(got - shared), seconds(sim_now(s) - crashed));
    SCENARIO_CHECK(world_stores_match(w), "wrong octets");
    SCENARIO_CHECK(first->store_errors + second->store_errors == 0);
    return true;
}

bool scenario_hidden(const struct scenario_args *args, struct scenario_result *ret) {
    struct world *w = world_new(args->seed);
    bool ok = check(w, args, ret);
    scenario_measure(ret, w->sim, w->nodes_count);
    world_free(w);
    return ok;
}
