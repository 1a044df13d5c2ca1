/*
 * Films that last longer than a circuit may: one seen through a swarm exit, one that a relay
 * shares openly. Every circuit that carries them is given up within the hour that it drew at
 * most (40 to 60 minutes), another is there before, and no player waits.
 */
#include <stdio.h>
#include <string.h>

#include "node/node.h"
#include "scenarios/scenario.h"
#include "scenarios/world.h"

enum {
    RELAYS = 8,
    EXITS = 3,
    VIEWERS = 2,
    RATE = 8000,   /* octets a second that are watched */
    GIVEN = 10000, /* and that come: nothing is there long before it is watched */
    MINUTES = 68,
    USED = 64,
    PEERS = 16,
};

#define LONGEST CV_SEC(3600) /* that a circuit is used */
#define LOOK    CV_SEC(1)

/* The circuits over which a viewer has had peers. */
struct used {
    struct world_node *viewer;
    unsigned n;
    struct {
        cv_handle circuit;
        cv_usec first, last;
    } v[USED];
};

static bool look(struct used *u, cv_usec now) {
    struct node_peer_status peer;
    for (size_t i = 0; i < PEERS && node_peer_status(u->viewer->node, u->viewer->swarm, i, &peer);
         i++) {
        unsigned k = 0;
        while (k < u->n && u->v[k].circuit != peer.endpoint.handle)
            k++;
        if (k == USED)
            return false;
        if (k == u->n) {
            u->v[u->n].circuit = peer.endpoint.handle;
            u->v[u->n++].first = now;
        }
        u->v[k].last = now;
    }
    return true;
}

static bool check(struct world *w, struct scenario_result *ret) {
    static struct world_reader reader[VIEWERS];
    struct used used[VIEWERS] = {{.n = 0}};
    struct sim *s = w->sim;
    for (unsigned i = 0; i < RELAYS; i++)
        world_node_new(w, &(struct world_node_config){.relay = true, .exit = i < EXITS});
    for (unsigned i = 0; i < VIEWERS; i++)
        used[i].viewer = world_node_new(w, &(struct world_node_config){0});
    struct world_node *seeder = world_node_new(w, &(struct world_node_config){.direct = true});
    struct world_node *sharer = w->nodes[RELAYS - 1];
    const struct world_film *direct = world_film_new(w, (uint64_t)RATE * 60 * MINUTES);
    const struct world_film *open = world_film_new(w, (uint64_t)RATE * 60 * MINUTES);
    world_links(w, CV_MSEC(10), CV_MSEC(40), 2000);
    SCENARIO_CHECK(sim_run_while_not(s, world_relays_ready, w, CV_SEC(60)), "relays not ready");
    SCENARIO_CHECK(sim_run_while_not(s, world_clients_ready, w, CV_SEC(120)), "no circuits");
    world_open_with(seeder, direct, WORLD_SEEDER,
                    &(struct node_swarm_config){.mode = NODE_SWARM_DIRECT, .upload_limit = GIVEN});
    struct node_swarm_config openly = {.mode = NODE_SWARM_OPEN, .upload_limit = GIVEN};
    memcpy(openly.at, sharer->cfg.identity_secret.public_key, sizeof openly.at);
    world_open_with(sharer, open, WORLD_SEEDER, &openly);
    sim_run(s, sim_now(s) + CV_SEC(5));
    world_open_with(used[0].viewer, direct, WORLD_VIEWER,
                    &(struct node_swarm_config){.mode = NODE_SWARM_EXIT});
    world_open_at(used[1].viewer, open, WORLD_VIEWER, sharer, false);
    for (unsigned i = 0; i < VIEWERS; i++)
        world_read(&reader[i], used[i].viewer, RATE, 20 * RATE);

    cv_usec end = cv_usec_add(sim_now(s), CV_SEC(60 * MINUTES));
    while (sim_now(s) < end) {
        sim_run(s, sim_now(s) + LOOK);
        for (unsigned i = 0; i < VIEWERS; i++)
            SCENARIO_CHECK(look(&used[i], sim_now(s)), "more than %u circuits", USED);
    }
    cv_usec longest[VIEWERS] = {0};
    for (unsigned i = 0; i < VIEWERS; i++)
        for (unsigned k = 0; k < used[i].n; k++)
            if (used[i].v[k].last - used[i].v[k].first > longest[i])
                longest[i] = used[i].v[k].last - used[i].v[k].first;
    snprintf(ret->note, sizeof ret->note,
             "exit: %u circuits, %.1f min at most, %u waits, %llu s ahead; openly: %u, %.1f min, "
             "%u, %llu s",
             used[0].n, (double)longest[0] / 60e6, reader[0].waits,
             (unsigned long long)reader[0].least / RATE, used[1].n, (double)longest[1] / 60e6,
             reader[1].waits, (unsigned long long)reader[1].least / RATE);
    for (unsigned i = 0; i < VIEWERS; i++) {
        SCENARIO_CHECK(reader[i].begun_at && reader[i].at > (uint64_t)RATE * 60 * (MINUTES - 2),
                       "viewer %u did not watch it: %s", i, ret->note);
        SCENARIO_CHECK(used[i].n >= 2 && longest[i] <= LONGEST, "viewer %u: %s", i, ret->note);
        SCENARIO_CHECK(reader[i].waits == 0 && !reader[i].wrong, "viewer %u: %s", i, ret->note);
    }
    return true;
}

bool scenario_circuit_ends(const struct scenario_args *args, struct scenario_result *ret) {
    struct world *w = world_new(args->seed);
    bool ok = check(w, ret);
    scenario_measure(ret, w->sim, w->nodes_count);
    world_free(w);
    return ok;
}
