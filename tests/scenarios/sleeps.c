/*
 * A laptop is closed in the middle of a film, for half a minute, ten minutes or a night: the
 * viewer's or the seeder's. Its network is gone a little before and back a little after. Or the
 * line alone is away; or it comes back with another address. Then the film goes on, with the
 * same guards, and somebody new finds the seeder.
 */
#include <stdio.h>
#include <string.h>

#include "node/state.h"
#include "scenarios/scenario.h"
#include "scenarios/world.h"
#include "tunnel/client.h"

enum {
    RELAYS = 10,
    BITRATE = 125000,
    BUFFER = 5 * BITRATE,
    FILM_SECONDS = 120,
    OTHER_ADDRESS = 150
};

/* From the network's return until the player has octets again that it had not before. */
#define VIEWER_BACK CV_SEC(8)
/* The same where the seeder slept: its introduction points are new, and what viewers know of
 * it is old. */
#define SEEDER_BACK CV_SEC(30)

static const struct nap {
    const char *name;
    cv_usec lasts;
    bool awake; /* its line alone is away */
    bool moves;
} naps[] = {
    {"sleeps for half a minute", CV_SEC(30), false, false},
    {"sleeps for ten minutes", CV_SEC(600), false, false},
    {"is cut off for twenty seconds", CV_SEC(20), true, false},
    {"is cut off for five minutes", CV_SEC(300), true, false},
    {"gets another address", 0, true, true},
    {"sleeps for a night", CV_SEC(8 * 3600), false, false},
};
enum { NAPS = sizeof naps / sizeof *naps };

struct guards {
    uint8_t identity[TUN_GUARD_FIRSTS][CV_KEY];
    unsigned n;
};

static void guards_of(const struct world_node *n, struct guards *ret) {
    struct cv_now now = sim_node_now(n->world->sim, n->number);
    struct tun_client_guard g;
    ret->n = 0;
    while (ret->n < TUN_GUARD_FIRSTS && tun_client_guard(n->node->client, &now, ret->n, &g))
        memcpy(ret->identity[ret->n++], g.identity, CV_KEY);
}

/* How many of these are none of `now`. */
static unsigned lost(const struct guards *before, const struct guards *now) {
    unsigned count = 0;
    for (unsigned i = 0; i < before->n; i++) {
        bool there = false;
        for (unsigned k = 0; k < now->n; k++)
            there |= memcmp(before->identity[i], now->identity[k], CV_KEY) == 0;
        count += !there;
    }
    return count;
}

static uint64_t have(const struct world_node *n) {
    struct node_swarm_status st;
    return node_swarm_status(n->node, 0, &st) ? st.have : 0;
}

struct more {
    const struct world_node *viewer;
    uint64_t than;
};

static bool more(void *ctx) {
    const struct more *m = ctx;
    return have(m->viewer) > m->than;
}

static bool begun(void *ctx) {
    const struct world_reader *r = ctx;
    return r->begun_at > 0;
}

static bool check(struct world *w, const struct scenario_args *args, struct scenario_result *ret) {
    struct sim *s = w->sim;
    const struct cv_rng *rng = sim_rng(s);
    const struct nap *nap = &naps[(args->seed - 1) / 2 % NAPS];
    bool seeders = args->seed % 2 == 0;
    struct world_reader reader, second;
    world_relays(w, args->nodes ? args->nodes : RELAYS);
    struct world_node *seeder = world_node_new(w, &(struct world_node_config){0});
    struct world_node *viewer = world_node_new(w, &(struct world_node_config){0});
    struct world_node *late = world_node_new(w, &(struct world_node_config){0});
    const struct world_film *film = world_film_new(w, (uint64_t)BITRATE * FILM_SECONDS);
    world_links(w, CV_MSEC(5), CV_MSEC(25), 0);
    SCENARIO_CHECK(sim_run_while_not(s, world_relays_ready, w, CV_SEC(60)), "relays not ready");
    world_open(seeder, film, WORLD_SEEDER, BITRATE * 3 / 2, false);
    SCENARIO_CHECK(sim_run_while_not(s, world_shared, w, CV_SEC(120)), "not shared");
    world_open(viewer, film, WORLD_VIEWER, 0, false);
    world_read(&reader, viewer, BITRATE, BUFFER);
    SCENARIO_CHECK(sim_run_while_not(s, begun, &reader, sim_now(s) + CV_SEC(60)), "never began");
    sim_run(s, sim_now(s) + CV_SEC(5) + cv_rng_below(rng, CV_SEC(10)));

    struct world_node *sleeper = seeders ? seeder : viewer;
    struct guards before, after;
    guards_of(sleeper, &before);
    sim_partition(s, sleeper->number, 1);
    sim_run(s, sim_now(s) + cv_rng_below(rng, CV_SEC(3)));
    if (!nap->awake)
        sim_sleep(s, sleeper->number);
    sim_run(s, sim_now(s) + nap->lasts);
    sim_wake(s, sleeper->number);
    sim_run(s, sim_now(s) + cv_rng_below(rng, CV_SEC(3)));
    struct cv_addr other = sim_addr(OTHER_ADDRESS, 40000);
    SCENARIO_CHECK(!nap->moves || !sim_move(s, sleeper->number, NODE_SOCKET_OWN, &other), "taken");
    sim_partition(s, sleeper->number, 0);

    cv_usec back = sim_now(s);
    uint64_t timeouts = sim_node_counters(s, sleeper->number)->timeouts;
    uint64_t sent = sim_node_counters(s, sleeper->number)->octets_sent;
    struct more m = {.viewer = viewer, .than = have(viewer)};
    cv_usec most = seeders ? SEEDER_BACK : VIEWER_BACK;
    bool goes_on = sim_run_while_not(s, more, &m, back + CV_SEC(600));
    cv_usec took = sim_now(s) - back;
    if (sim_now(s) < back + CV_SEC(10))
        sim_run(s, back + CV_SEC(10));
    timeouts = sim_node_counters(s, sleeper->number)->timeouts - timeouts;
    sent = sim_node_counters(s, sleeper->number)->octets_sent - sent;

    cv_usec asked = sim_now(s);
    world_open(late, film, WORLD_VIEWER, 0, false);
    world_read(&second, late, BITRATE, BUFFER / 5);
    bool found = sim_run_while_not(s, begun, &second, asked + CV_SEC(600));
    cv_usec found_after = sim_now(s) - asked;
    guards_of(sleeper, &after);
    snprintf(ret->note, sizeof ret->note,
             "the %s %s: goes on %.1f s after, a new viewer after %.1f s; %u of %u guards "
             "lost; %llu timeouts, %llu KB sent",
             seeders ? "seeder" : "viewer", nap->name, (double)took / 1e6,
             (double)found_after / 1e6, lost(&before, &after), before.n,
             (unsigned long long)timeouts, (unsigned long long)sent / 1000);
    SCENARIO_CHECK(goes_on && took <= most, "%s", ret->note);
    SCENARIO_CHECK(found && found_after <= SEEDER_BACK, "%s", ret->note);
    SCENARIO_CHECK(lost(&before, &after) == 0, "%s", ret->note);
    SCENARIO_CHECK(!reader.wrong && !second.wrong, "wrong octets read");
    return true;
}

bool scenario_sleeps(const struct scenario_args *args, struct scenario_result *ret) {
    struct world *w = world_new(args->seed);
    bool ok = check(w, args, ret);
    scenario_measure(ret, w->sim, w->nodes_count);
    world_free(w);
    return ok;
}
