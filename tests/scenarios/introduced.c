/*
 * Viewers whom no slot shows. Somebody who knows the swarm locks all of its slots for a day:
 * what stood in slot 0, the seeder's contacts, written far into the future, so that nobody
 * writes over it. A viewer can then hear of another only from a peer (message 14). The seeder
 * gives little, the first viewer has everything; the second hears of the first from the
 * seeder, and when it has met it, the seeder dies: the rest comes from the first. A third
 * viewer, who has but the slots, finds nobody.
 */
#include <stdio.h>
#include <string.h>

#include "scenarios/scenario.h"
#include "scenarios/world.h"
#include "tunnel/slot.h"

enum { UPLOAD = 6000, FILM = 1100000 };

/* False: slot 0 holds nothing. */
static bool lock_slots(struct world *w, const struct node_uri *u, unsigned node) {
    struct tun_swarm_secret swarm;
    struct cv_ed25519_secret key;
    struct dht_item shown, locked;
    int64_t wall = sim_node_now(w->sim, node).wall;
    tun_swarm_derive(&swarm, u->network_id, u->swarm_id, u->swarm_id_len, NULL);
    uint32_t period = tun_swarm_period(&swarm, wall);
    tun_slot_key(&key, &swarm, period, 0);
    if (!world_dht_get(w, key.public_key, &shown))
        return false;
    for (unsigned j = 0; j < TUN_SLOTS; j++) {
        uint8_t text[DHT_SIGNED_MAX];
        tun_slot_key(&key, &swarm, period, j);
        locked = shown;
        locked.seq = wall + 86400;
        memcpy(locked.k, key.public_key, CV_KEY);
        ssize_t n = dht_item_signed(&locked, text);
        cv_ed25519_sign(locked.sig, &key, "", text, (size_t)n);
        world_dht_put(w, &locked);
    }
    sim_run(w->sim, sim_now(w->sim) + CV_SEC(20));
    return true;
}

static double seconds(cv_usec t) {
    return (double)t / 1e6;
}

static bool complete(void *ctx) {
    return ((struct world_node *)ctx)->complete;
}

struct visits {
    const struct world_node *node;
    unsigned before;
};

static bool visited(void *ctx) {
    const struct visits *v = ctx;
    return v->node->peers_up > v->before;
}

static bool check(struct world *w, const struct scenario_args *args, struct scenario_result *ret) {
    struct sim *s = w->sim;
    world_relays(w, 6 + (unsigned)(args->seed % 3));
    struct world_node *node[4];
    for (unsigned i = 0; i < 4; i++)
        node[i] = world_node_new(w, &(struct world_node_config){0});
    struct world_node *seeder = node[0], *first = node[1], *second = node[2], *third = node[3];
    const struct world_film *film = world_film_new(w, FILM + args->seed % 5000);
    world_links(w, CV_MSEC(20), CV_MSEC(40), 0);

    SCENARIO_CHECK(sim_run_while_not(s, world_relays_ready, w, CV_SEC(60)), "relays not ready");
    world_open(seeder, film, WORLD_SEEDER, UPLOAD, false);
    SCENARIO_CHECK(sim_run_while_not(s, world_shared, w, CV_SEC(120)), "not shared");
    sim_run(s, sim_now(s) + CV_SEC(30)); /* all of its slots */
    SCENARIO_CHECK(lock_slots(w, &film->uri, seeder->number), "slot 0 is empty");

    world_open(first, film, WORLD_VIEWER, 0, true);
    SCENARIO_CHECK(sim_run_while_not(s, complete, first, sim_now(s) + CV_SEC(400)),
                   "first viewer not complete");
    sim_run(s, sim_now(s) + CV_SEC(62)); /* the seeder asks it every minute */

    cv_usec began = sim_now(s);
    world_open(second, film, WORLD_VIEWER, 0, true);
    struct visits visits = {.node = first, .before = first->peers_up};
    SCENARIO_CHECK(sim_run_while_not(s, visited, &visits, began + CV_SEC(100)),
                   "nobody came to the first viewer");
    cv_usec met = sim_now(s);
    SCENARIO_CHECK(!second->complete, "too soon to show anything");
    sim_crash(s, seeder->number);
    SCENARIO_CHECK(sim_run_while_not(s, complete, second, met + CV_SEC(120)),
                   "second viewer not complete");
    cv_usec got = sim_now(s);

    world_open(third, film, WORLD_VIEWER, 0, true);
    sim_run(s, got + CV_SEC(60));
    SCENARIO_CHECK(third->peers_up == 0, "a slot shows a viewer");
    snprintf(ret->note, sizeof ret->note, "introduced after %.1f s, the rest in %.1f s",
             seconds(met - began), seconds(got - met));
    SCENARIO_CHECK(world_stores_match(w), "wrong octets");
    return true;
}

bool scenario_introduced(const struct scenario_args *args, struct scenario_result *ret) {
    struct world *w = world_new(args->seed);
    bool ok = check(w, args, ret);
    scenario_measure(ret, w->sim, w->nodes_count);
    world_free(w);
    return ok;
}
