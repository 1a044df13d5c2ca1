/*
 * Who has IPv4 only and who has IPv6 only meet in one swarm, through relays that have both.
 * Among these stand some of one family: circuits lead through them, and none is asked for a
 * neighbour that it cannot have. A relay of which one address is behind a filter is told of by
 * nobody who can tell.
 */
#include <stdio.h>

#include "scenarios/scenario.h"
#include "scenarios/world.h"

enum { BOTH = 8, SINGLE = 2, FILM = 1 << 20 };

struct wire {
    struct cv_addr closed; /* nobody gets through to it; family 0: none is */
    uint64_t four, six;    /* datagrams */
};

static enum sim_verdict pass(void *ctx, const struct sim_datagram *d) {
    struct wire *wire = ctx;
    wire->four += d->to->family == 4;
    wire->six += d->to->family == 6;
    return wire->closed.family && cv_addr_equal(d->to, &wire->closed) ? SIM_DROP : SIM_PASS;
}

static struct world_node *add(struct world *w, bool relay, uint8_t family) {
    return world_node_new(w, &(struct world_node_config){.relay = relay, .family = family});
}

static bool check_relays(const struct world *w) {
    for (unsigned i = 0; i < w->nodes_count; i++) {
        struct node_status st;
        const struct world_node *n = w->nodes[i];
        if (!n->cfg.relay)
            continue;
        node_status(n->node, &st);
        for (size_t k = 0; k < n->cfg.relay_addrs_count; k++)
            SCENARIO_CHECK(st.reach[k].by > 0 && st.reach[k].not_by == 0,
                           "relay %u, address %zu: %u got through, %u did not", i, k,
                           st.reach[k].by, st.reach[k].not_by);
    }
    return true;
}

/* Of every peer: nobody stands beside whom it cannot speak to, in any way that is used. */
static bool can_link(const struct world_node *a, const struct world_node *b) {
    return !a->cfg.main_family || !b->cfg.main_family || a->cfg.main_family == b->cfg.main_family;
}

static bool check_ways(const struct world *w, const struct world_node *n) {
    struct node_peer_status p;
    for (size_t i = 0; node_peer_status(n->node, n->swarm, i, &p); i++) {
        const struct world_node *before = n;
        for (unsigned k = 0; k < p.hops; k++) {
            const struct world_node *hop = world_by_pseudonym(w, p.path[k]);
            SCENARIO_CHECK(hop && can_link(before, hop), "a way of node %u at hop %u", n->number,
                           k);
            before = hop;
        }
    }
    return true;
}

static bool check(struct world *w, struct wire *wire, struct scenario_result *ret) {
    struct sim *s = w->sim;
    for (unsigned i = 0; i < BOTH; i++)
        add(w, true, 0);
    for (unsigned i = 0; i < SINGLE; i++) {
        add(w, true, 4);
        add(w, true, 6);
    }
    sim_path_default(s, &(struct sim_path){.delay = CV_MSEC(10)});
    sim_hook(s, pass, wire);
    SCENARIO_CHECK(sim_run_while_not(s, world_relays_ready, w, CV_SEC(60)), "relays not ready");
    sim_run(s, sim_now(s) + CV_SEC(30));
    if (!check_relays(w))
        return false;

    const struct world_film *film = world_film_new(w, FILM);
    struct world_node *seeder = add(w, false, 4);
    world_open(seeder, film, WORLD_SEEDER, 0, false);
    SCENARIO_CHECK(sim_run_while_not(s, world_shared, w, sim_now(s) + CV_SEC(120)), "not shared");
    struct world_node *viewer[] = {add(w, false, 6), add(w, false, 4), add(w, false, 0)};
    cv_usec begun = sim_now(s);
    for (size_t i = 0; i < sizeof viewer / sizeof *viewer; i++) {
        world_open(viewer[i], film, WORLD_VIEWER, 0, true);
        SCENARIO_CHECK(sim_run_while_not(s, world_all_complete, w, sim_now(s) + CV_SEC(120)),
                       "viewer %zu is not complete", i);
        if (!check_ways(w, viewer[i]) || !check_ways(w, seeder))
            return false;
    }
    SCENARIO_CHECK(world_stores_match(w), "wrong octets");
    SCENARIO_CHECK(wire->four > 0 && wire->six > 0, "one family alone carried everything");
    uint64_t refused = 0;
    for (unsigned i = 0; i < w->nodes_count; i++) {
        struct node_status st;
        node_status(w->nodes[i]->node, &st);
        refused += st.paths_refused;
    }
    SCENARIO_CHECK(refused == 0, "%lu paths broke a rule", refused);
    snprintf(ret->note, sizeof ret->note,
             "three films in %.1f s; datagrams of IPv4 %lu, of IPv6 %lu",
             (double)(sim_now(s) - begun) / 1e6, wire->four, wire->six);

    struct world_node *half = add(w, true, 0);
    wire->closed = half->addr_too[NODE_SOCKET_MAIN];
    sim_run(s, sim_now(s) + CV_SEC(120));
    struct node_status st;
    node_status(half->node, &st);
    SCENARIO_CHECK(st.reach[0].by > 0, "nobody reached its IPv4 address");
    SCENARIO_CHECK(st.reach[1].by == 0 && st.reach[1].not_by > 0,
                   "of its IPv6 address, where nobody gets through, %u say yes and %u no",
                   st.reach[1].by, st.reach[1].not_by);
    return true;
}

bool scenario_dual_stack(const struct scenario_args *args, struct scenario_result *ret) {
    struct wire wire = {.four = 0};
    struct world *w = world_new_mixed(args->seed);
    bool ok = check(w, &wire, ret);
    scenario_measure(ret, w->sim, w->nodes_count);
    world_free(w);
    return ok;
}
