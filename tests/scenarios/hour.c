/* The world that the simulator's speed is measured in: 100 nodes, 10 of them
 * relays, 2 films of 1 Mbit/s (--nodes N: idle, that many, no films). */
#include <stdio.h>

#include "scenarios/scenario.h"
#include "scenarios/world.h"

bool scenario_hour(const struct scenario_args *args, struct scenario_result *ret) {
    struct world_figures f;
    unsigned nodes = args->nodes > 10 ? args->nodes : 100;
    world_hour(args->seed, nodes, 10, args->nodes ? 0 : 2, args->minutes > 1 ? args->minutes : 5,
               &f);
    ret->digest = f.digest;
    ret->node_usec = (cv_usec)(f.node_hours * 3.6e9);
    snprintf(ret->note, sizeof ret->note, "%llu datagrams, %llu timeouts, %llu waits",
             (unsigned long long)f.datagrams, (unsigned long long)f.timeouts,
             (unsigned long long)f.waits);
    SCENARIO_CHECK(f.played, "not played to the end");
    return true;
}
