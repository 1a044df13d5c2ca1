/*
 * The seeder says goodbye to a viewer in the middle of a film, although the way
 * between them still stands: the viewer meets it again and gets the rest.
 */
#include <stdio.h>

#include "node/state.h"
#include "scenarios/scenario.h"
#include "scenarios/world.h"

enum { CHUNKS = 2000, PEERS = 8 };

static bool has_some(void *ctx) {
    const struct world *w = ctx;
    const struct node *n = w->nodes[w->nodes_count - 1]->node;
    struct ppsp_stats st;
    for (size_t i = 0; i < NODE_SWARMS_MAX; i++)
        if (n->swarms[i].used && !ppsp_stats(n->hidden, n->swarms[i].ppsp, &st))
            return st.chunks_have > CHUNKS / 10;
    return false;
}

static unsigned say_goodbye(struct world_node *seeder, struct cv_now now) {
    struct node *n = seeder->node;
    struct ppsp_peer_stats peers[PEERS];
    unsigned told = 0;
    for (size_t i = 0; i < NODE_SWARMS_MAX; i++) {
        if (!n->swarms[i].used)
            continue;
        size_t count = ppsp_peers(n->hidden, n->swarms[i].ppsp, peers, PEERS);
        for (size_t j = 0; j < count && j < PEERS; j++, told++)
            ppsp_peer_remove(n->hidden, now, &peers[j].endpoint, /* goodbye= */ true);
    }
    return told;
}

static bool check(struct world *w, struct scenario_result *ret) {
    struct sim *s = w->sim;
    world_relays(w, 8);
    struct world_node *seeder = world_node_new(w, &(struct world_node_config){0});
    struct world_node *viewer = world_node_new(w, &(struct world_node_config){0});
    const struct world_film *film = world_film_new(w, CHUNKS * 1024);
    world_links(w, CV_MSEC(10), CV_MSEC(20), 0);
    SCENARIO_CHECK(sim_run_while_not(s, world_relays_ready, w, CV_SEC(60)), "relays not ready");
    world_open(seeder, film, WORLD_SEEDER, 0, false);
    SCENARIO_CHECK(sim_run_while_not(s, world_shared, w, CV_SEC(120)), "not shared");
    world_open(viewer, film, WORLD_VIEWER, 0, true);
    SCENARIO_CHECK(sim_run_while_not(s, has_some, w, sim_now(s) + CV_SEC(60)), "nothing came");
    SCENARIO_CHECK(!viewer->complete, "it is over already");
    unsigned told = say_goodbye(seeder, sim_node_now(s, seeder->number));
    sim_touch(s, seeder->number);
    SCENARIO_CHECK(told > 0, "nobody to say goodbye to");
    cv_usec left = sim_now(s);
    SCENARIO_CHECK(sim_run_while_not(s, world_all_complete, w, left + CV_SEC(90)),
                   "it did not come back");
    snprintf(ret->note, sizeof ret->note, "%u ways ended, complete %.1f s later", told,
             (double)(sim_now(s) - left) / 1e6);
    SCENARIO_CHECK(world_stores_match(w), "wrong octets");
    return true;
}

bool scenario_comes_back(const struct scenario_args *args, struct scenario_result *ret) {
    struct world *w = world_new(args->seed);
    bool ok = check(w, ret);
    scenario_measure(ret, w->sim, w->nodes_count);
    world_free(w);
    return ok;
}
