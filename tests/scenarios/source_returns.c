/*
 * The only source of a hidden film ends at a moment of the seed's choice, killed or with
 * a goodbye, and comes back with its state after a while, once or several times. The
 * viewer, who is not touched, has the film to its last octet soon after the last return.
 */
#include <stdio.h>

#include "scenarios/scenario.h"
#include "scenarios/world.h"

enum { RELAYS = 8, FILM = 3000 * 1000, RATE = 150 * 1000, RESTARTS = 3 };

/* What a viewer may need after a return: to notice, to find the new introduction points
 * in the slots, and to get what is left. */
#define SOON CV_SEC(60)

static bool complete(void *ctx) {
    const struct world_node *viewer = ctx;
    return viewer->complete;
}

static void end(struct world_node *seeder, bool goodbye) {
    struct sim *s = seeder->world->sim;
    if (goodbye) {
        node_swarm_close(seeder->node, sim_node_now(s, seeder->number), seeder->swarm);
        sim_touch(s, seeder->number);
        sim_run(s, sim_now(s) + CV_MSEC(50));
    }
    sim_crash(s, seeder->number);
}

static bool check(struct world *w, const struct scenario_args *args, struct scenario_result *ret) {
    struct sim *s = w->sim;
    const struct cv_rng *rng = sim_rng(s);
    world_relays(w, args->nodes ? args->nodes : RELAYS);
    struct world_node *seeder = world_node_new(w, &(struct world_node_config){0});
    struct world_node *viewer = world_node_new(w, &(struct world_node_config){0});
    const struct world_film *film = world_film_new(w, FILM);
    world_links(w, CV_MSEC(5), CV_MSEC(25), 0);
    SCENARIO_CHECK(sim_run_while_not(s, world_relays_ready, w, CV_SEC(60)), "relays not ready");
    world_open(seeder, film, WORLD_SEEDER, RATE, false);
    SCENARIO_CHECK(sim_run_while_not(s, world_shared, w, CV_SEC(120)), "not shared");
    world_open(viewer, film, WORLD_VIEWER, 0, true);

    unsigned restarts = 1 + (unsigned)cv_rng_below(rng, RESTARTS);
    cv_usec away = 0, returned = 0;
    for (unsigned i = 0; i < restarts; i++) {
        /* From the viewer's first steps on; the next one may come while it still looks. */
        sim_run_while_not(s, complete, viewer, sim_now(s) + cv_rng_below(rng, CV_SEC(15)));
        if (viewer->complete)
            break;
        end(seeder, cv_rng_below(rng, 2));
        /* Most are back at once; some stay away for longer than anybody waits. */
        cv_usec longest = cv_rng_below(rng, 4) ? CV_SEC(5) : CV_SEC(90);
        away = cv_rng_between(rng, CV_MSEC(20), longest);
        sim_run(s, sim_now(s) + away);
        sim_restart(s, seeder->number);
        returned = sim_now(s);
    }
    cv_usec needed = CV_SEC(FILM / RATE);
    bool got = sim_run_while_not(s, complete, viewer, sim_now(s) + SOON + needed);
    snprintf(ret->note, sizeof ret->note,
             "%u restarts, the last after %.1f s away, %s %.1f s later", restarts,
             (double)away / 1e6, got ? "complete" : "still not complete",
             (double)(sim_now(s) - returned) / 1e6);
    SCENARIO_CHECK(got, "%s", ret->note);
    SCENARIO_CHECK(world_stores_match(w), "wrong octets");
    return true;
}

bool scenario_source_returns(const struct scenario_args *args, struct scenario_result *ret) {
    struct world *w = world_new(args->seed);
    bool ok = check(w, args, ret);
    scenario_measure(ret, w->sim, w->nodes_count);
    world_free(w);
    return ok;
}
