/*
 * Sixty relays find each other with one DHT node to begin with; everybody comes
 * to know every relay, and a film goes over the hidden path.
 */
#include <stdio.h>

#include "scenarios/scenario.h"
#include "scenarios/world.h"

enum { RELAYS = 60, FILM = 400 * 1000 };

static bool all_known(void *ctx) {
    const struct world *w = ctx;
    unsigned relays = 0;
    for (unsigned i = 0; i < w->nodes_count; i++)
        relays += w->nodes[i]->cfg.relay;
    for (unsigned i = 0; i < w->nodes_count; i++) {
        struct node_status st;
        node_status(w->nodes[i]->node, &st);
        if (st.relays_known + w->nodes[i]->cfg.relay < relays)
            return false;
    }
    return true;
}

static unsigned fewest(const struct world *w) {
    unsigned least = UINT32_MAX;
    for (unsigned i = 0; i < w->nodes_count; i++) {
        struct node_status st;
        node_status(w->nodes[i]->node, &st);
        least = st.relays_known < least ? st.relays_known : least;
    }
    return least;
}

static bool all_known_soon(struct world *w, cv_usec until) {
    while (sim_now(w->sim) < until) { /* asking after each instant would cost more than all else */
        if (all_known(w))
            return true;
        sim_run(w->sim, sim_now(w->sim) + CV_SEC(1));
    }
    return false;
}

static bool check(struct world *w, const struct scenario_args *args, struct scenario_result *ret) {
    struct sim *s = w->sim;
    world_relays(w, args->nodes ? args->nodes : RELAYS);
    struct world_node *seeder = world_node_new(w, &(struct world_node_config){0});
    struct world_node *viewer = world_node_new(w, &(struct world_node_config){0});
    const struct world_film *film = world_film_new(w, FILM);
    world_links(w, CV_MSEC(10), CV_MSEC(40), 0);

    SCENARIO_CHECK(sim_run_while_not(s, world_relays_ready, w, CV_SEC(60)), "relays not ready");
    cv_usec ready = sim_now(s);
    world_open(seeder, film, WORLD_SEEDER, 0, false);
    SCENARIO_CHECK(sim_run_while_not(s, world_shared, w, CV_SEC(120)), "not shared");
    cv_usec shared = sim_now(s);
    world_open(viewer, film, WORLD_VIEWER, 0, true);
    SCENARIO_CHECK(sim_run_while_not(s, world_all_complete, w, shared + CV_SEC(60)),
                   "the viewer does not get it");
    cv_usec got = sim_now(s);
    SCENARIO_CHECK(world_stores_match(w), "wrong octets");
    bool known = all_known_soon(w, CV_SEC(300));
    snprintf(ret->note, sizeof ret->note,
             "ready after %.1f s, shared after %.1f s, got in %.1f s, all known after %.0f s",
             (double)ready / 1e6, (double)shared / 1e6, (double)(got - shared) / 1e6,
             (double)sim_now(s) / 1e6);
    SCENARIO_CHECK(known, "somebody knows %u relays", fewest(w));
    return true;
}

static bool run(struct world *w, const struct scenario_args *args, struct scenario_result *ret) {
    bool ok = check(w, args, ret);
    scenario_measure(ret, w->sim, w->nodes_count);
    world_free(w);
    return ok;
}

bool scenario_village(const struct scenario_args *args, struct scenario_result *ret) {
    return run(world_new(args->seed), args, ret);
}

bool scenario_village_six(const struct scenario_args *args, struct scenario_result *ret) {
    return run(world_new_six(args->seed), args, ret);
}
