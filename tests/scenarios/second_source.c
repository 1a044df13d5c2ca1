/*
 * A film whose only seeder gives a third of what it needs. A second one comes when the
 * viewer has been watching for twenty seconds. Somebody who has enough would hear of it
 * within five minutes; this one, whose reader waits, has met it long before, and has the
 * film sooner than the first seeder alone could bring it. Nobody but relays, for circuits
 * that asked, looks anything up in the DHT meanwhile.
 */
#include <stdio.h>

#include "scenarios/scenario.h"
#include "scenarios/world.h"

enum { FILM = 4000 * 1000, RATE = 60 * 1000, SLOW = 20 * 1000, ALONE = 20, SOON = 120 };

struct asked {
    const struct world_node *ends[3];
    uint64_t items; /* of the DHT, by one of the ends itself */
};

static enum sim_verdict look(void *ctx, const struct sim_datagram *d) {
    struct asked *a = ctx;
    for (unsigned i = 0; i < 3; i++)
        a->items += d->from_node == a->ends[i]->number && world_asks_item(d);
    return SIM_PASS;
}

static bool client_ready(void *ctx) {
    return ((const struct world_node *)ctx)->client_ready;
}

static bool met(void *ctx) {
    return ((const struct world_node *)ctx)->peers_up > 0;
}

static bool complete(void *ctx) {
    return ((const struct world_node *)ctx)->complete;
}

/* The film comes from it, too. */
static bool gives(void *ctx) {
    const struct world_node *n = ctx;
    struct node_swarm_status st;
    return node_swarm_status(n->node, 0, &st) && st.sent >= 100 * WORLD_CHUNK;
}

static double seconds(cv_usec t) {
    return (double)t / 1e6;
}

static bool check(struct world *w, struct scenario_result *ret) {
    struct sim *s = w->sim;
    world_relays(w, 8);
    struct world_node *slow = world_node_new(w, &(struct world_node_config){0});
    struct world_node *second = world_node_new(w, &(struct world_node_config){0});
    /* with the waits of a network that is not new */
    struct world_node *viewer = world_node_new(w, &(struct world_node_config){.strangers = true});
    const struct world_film *film = world_film_new(w, FILM);
    static struct world_reader reader;
    struct asked asked = {.ends = {slow, second, viewer}};
    world_links(w, CV_MSEC(5), CV_MSEC(30), 1000);

    SCENARIO_CHECK(sim_run_while_not(s, world_relays_ready, w, CV_SEC(60)), "relays not ready");
    world_open(slow, film, WORLD_SEEDER, SLOW, false);
    SCENARIO_CHECK(sim_run_while_not(s, world_shared, w, CV_SEC(120)), "not shared");
    SCENARIO_CHECK(sim_run_while_not(s, client_ready, viewer, sim_now(s) + CV_SEC(120)),
                   "no relays for the viewer");
    sim_hook(s, look, &asked);
    world_open(viewer, film, WORLD_VIEWER, 0, false);
    world_read(&reader, viewer, RATE, 5 * RATE);
    SCENARIO_CHECK(sim_run_while_not(s, met, viewer, sim_now(s) + CV_SEC(60)), "nobody is met");
    sim_run(s, sim_now(s) + CV_SEC(ALONE));

    cv_usec came = sim_now(s);
    world_open(second, film, WORLD_SEEDER, 0, false);
    SCENARIO_CHECK(sim_run_while_not(s, gives, second, came + CV_SEC(SOON)),
                   "the second seeder is not used after %u s", SOON);
    cv_usec used = sim_now(s);
    cv_usec alone = CV_SEC((FILM - node_available(viewer->node, viewer->swarm, 0)) / SLOW);
    SCENARIO_CHECK(sim_run_while_not(s, complete, viewer, used + alone / 2), "no sooner by two");
    snprintf(ret->note, sizeof ret->note, "used %.0f s after it came, all there %.0f s later",
             seconds(used - came), seconds(sim_now(s) - used));
    SCENARIO_CHECK(asked.items == 0, "%llu items are asked for by an end itself",
                   (unsigned long long)asked.items);
    SCENARIO_CHECK(world_stores_match(w), "wrong octets");
    return true;
}

bool scenario_second_source(const struct scenario_args *args, struct scenario_result *ret) {
    struct world *w = world_new(args->seed);
    bool ok = check(w, ret);
    scenario_measure(ret, w->sim, w->nodes_count);
    world_free(w);
    return ok;
}
