/*
 * Two viewers at the same saturated relay: one whose private account there is a
 * giver's, one in debt. The contributor gets at least three times as much; with
 * the gate off, in the same seeds, as much.
 *
 * The saturated relay is the guard of both, because a class exists on the first
 * link only, and is made so by cutting them off from all other relays. The film
 * is shared openly by a relay, so that nothing of it passes the saturated relay
 * twice: a seeder who hides draws his own relays from the same few, and what he
 * sends through a second or third place of his path has no class there.
 */
#include <stdio.h>
#include <string.h>

#include "reputation/gate.h"
#include "scenarios/scenario.h"
#include "scenarios/world.h"

enum { RELAYS = 7, GUARDS = 2, LIMIT = 300000, FILM = 20 * 1000 * 1000, SECONDS = 20 };

/* What the relay's ledger says of the client; written while the relay is down. */
static void account(const struct world_node *relay, const struct world_node *client, bool giver) {
    const struct rep_store *ops = rep_store_memory_ops(relay->ledger);
    int64_t wall = sim_node_now(client->world->sim, client->number).wall;
    struct rep_account a = {.last_seen = wall};
    world_account_key(client, relay, a.client);
    if (giver) {
        a.given = UINT64_C(50) << 30;
        a.gate_class = REP_CLASS_GIVER;
    } else {
        a.taken = UINT64_C(50) << 30;
        a.debt_since = wall - 86400;
        a.gate_class = REP_CLASS_DEBT;
    }
    ops->begin(ops->ctx, wall);
    ops->account_put(ops->ctx, &a);
    ops->commit(ops->ctx);
}

static void cut_off(struct sim *s, const struct world_node *a, const struct world_node *b) {
    sim_link(s, a->number, b->number, &(struct sim_path){.cut = true});
}

static bool both_up(void *ctx) {
    struct world *w = ctx;
    return w->nodes[w->nodes_count - 1]->peers_up && w->nodes[w->nodes_count - 2]->peers_up;
}

static uint64_t received(const struct world_node *n) {
    struct node_swarm_status st;
    return node_swarm_status(n->node, 0, &st) ? st.received : 0;
}

static bool run(const struct scenario_args *args, struct scenario_result *ret, bool gate,
                double *ratio) {
    struct world *w = world_new(args->seed);
    struct sim *s = w->sim;
    for (unsigned i = 0; i < RELAYS; i++)
        world_node_new(w, &(struct world_node_config){
                              .relay = true, .gate_off = !gate, .relay_octets_s = i ? 0 : LIMIT});
    struct world_node *saturated = w->nodes[0], *sharer = w->nodes[RELAYS - 1];
    struct world_node *giver = world_node_new(w, &(struct world_node_config){0});
    struct world_node *debtor = world_node_new(w, &(struct world_node_config){0});
    const struct world_film *film = world_film_new(w, FILM);
    world_links(w, CV_MSEC(5), CV_MSEC(20), 0);
    for (unsigned i = GUARDS; i < RELAYS; i++) {
        cut_off(s, w->nodes[i], giver);
        cut_off(s, w->nodes[i], debtor);
    }
    sim_crash(s, saturated->number);
    account(saturated, giver, true);
    account(saturated, debtor, false);
    sim_restart(s, saturated->number);
    bool ok = sim_run_while_not(s, world_relays_ready, w, CV_SEC(120)) &&
              sim_run_while_not(s, world_clients_ready, w, CV_SEC(120));
    cut_off(s, w->nodes[1], giver); /* a client needs two guards to begin with */
    cut_off(s, w->nodes[1], debtor);
    world_open_at(sharer, film, WORLD_SEEDER, sharer, false);
    world_open_at(giver, film, WORLD_VIEWER, sharer, true);
    world_open_at(debtor, film, WORLD_VIEWER, sharer, true);
    ok = ok && sim_run_while_not(s, both_up, w, sim_now(s) + CV_SEC(60));
    sim_run(s, sim_now(s) + CV_SEC(10)); /* both have their pace */
    uint64_t a = received(giver), b = received(debtor);
    sim_run(s, sim_now(s) + CV_SEC(SECONDS));
    a = received(giver) - a;
    b = received(debtor) - b;
    *ratio = b ? (double)a / (double)b : 0;
    if (args->verbose)
        printf("    gate %s: ready %d, giver %.1f, debtor %.1f KB/s\n", gate ? "on" : "off", ok,
               (double)a / 1000 / SECONDS, (double)b / 1000 / SECONDS);
    scenario_measure(ret, s, w->nodes_count);
    world_free(w);
    return ok;
}

bool scenario_fair_relay(const struct scenario_args *args, struct scenario_result *ret) {
    double with, without;
    SCENARIO_CHECK(run(args, ret, false, &without), "gate off: no path");
    SCENARIO_CHECK(run(args, ret, true, &with), "gate on: no path");
    snprintf(ret->note, sizeof ret->note, "goodput %.2f : 1, gate off %.2f : 1", with, without);
    SCENARIO_CHECK(with >= 3, "%s", ret->note);
    SCENARIO_CHECK(without > 0.8 && without < 1.25, "%s", ret->note);
    return true;
}
