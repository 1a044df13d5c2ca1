/*
 * A machine that has IPv4 and IPv6 loses one of them in the middle of a film, the viewer's or the
 * seeder's, while the other stays: nothing says so, datagrams of that family are lost. The film is
 * read on, with the same guards, and somebody new finds the seeder meanwhile.
 */
#include <stdio.h>
#include <string.h>

#include "node/state.h"
#include "scenarios/scenario.h"
#include "scenarios/world.h"
#include "tunnel/client.h"

enum { RELAYS = 10, BITRATE = 125000, BUFFER = 5 * BITRATE, FILM_SECONDS = 120 };

/* The worlds of the first two seeds stood still for half a minute before links moved. */
#define FIRST_WORLD 17

/* The reader stands still no longer: a buffer of five seconds hides most of it. */
#define READER_WAITS CV_SEC(8)
#define NEWCOMER     CV_SEC(30)

struct line {
    unsigned node;
    uint8_t lost;     /* the family that does not come through; 0: none */
    uint64_t dropped; /* datagrams */
};

static enum sim_verdict pass(void *ctx, const struct sim_datagram *d) {
    struct line *l = ctx;
    bool mine = d->from_node == l->node || d->to_node == l->node;
    if (!mine || d->to->family != l->lost)
        return SIM_PASS;
    l->dropped++;
    return SIM_DROP;
}

static bool begun(void *ctx) {
    const struct world_reader *r = ctx;
    return r->begun_at > 0;
}

static bool over(void *ctx) {
    const struct world_reader *r = ctx;
    return r->at == r->node->film->octets;
}

static unsigned guards_of(const struct world_node *n, uint8_t ret[TUN_GUARD_FIRSTS][CV_KEY]) {
    struct cv_now now = sim_node_now(n->world->sim, n->number);
    struct tun_client_guard g;
    unsigned count = 0;
    while (count < TUN_GUARD_FIRSTS && tun_client_guard(n->node->client, &now, count, &g))
        memcpy(ret[count++], g.identity, CV_KEY);
    return count;
}

static bool check(struct world *w, uint64_t seed, unsigned relays, struct line *line,
                  struct scenario_result *ret) {
    struct sim *s = w->sim;
    bool seeders = seed % 2 == 0;
    uint8_t family = (seed - 1) / 2 % 2 ? 4 : 6;
    struct world_reader reader, second;
    world_relays(w, relays ? relays : RELAYS);
    struct world_node *seeder = world_node_new(w, &(struct world_node_config){0});
    struct world_node *viewer = world_node_new(w, &(struct world_node_config){0});
    struct world_node *late = world_node_new(w, &(struct world_node_config){0});
    const struct world_film *film = world_film_new(w, (uint64_t)BITRATE * FILM_SECONDS);
    world_links(w, CV_MSEC(5), CV_MSEC(25), 0);
    sim_hook(s, pass, line);
    SCENARIO_CHECK(sim_run_while_not(s, world_relays_ready, w, CV_SEC(60)), "relays not ready");
    world_open(seeder, film, WORLD_SEEDER, BITRATE * 3 / 2, false);
    SCENARIO_CHECK(sim_run_while_not(s, world_shared, w, CV_SEC(120)), "not shared");
    world_open(viewer, film, WORLD_VIEWER, 0, false);
    world_read(&reader, viewer, BITRATE, BUFFER);
    SCENARIO_CHECK(sim_run_while_not(s, begun, &reader, sim_now(s) + CV_SEC(60)), "never began");
    sim_run(s, sim_now(s) + CV_SEC(5) + cv_rng_below(sim_rng(s), CV_SEC(10)));

    struct world_node *loses = seeders ? seeder : viewer;
    uint8_t before[TUN_GUARD_FIRSTS][CV_KEY], after[TUN_GUARD_FIRSTS][CV_KEY];
    unsigned n = guards_of(loses, before);
    line->node = loses->number;
    line->lost = family;
    bool read = sim_run_while_not(s, over, &reader, sim_now(s) + CV_SEC(2 * FILM_SECONDS));
    cv_usec asked = sim_now(s);
    world_open(late, film, WORLD_VIEWER, 0, false);
    world_read(&second, late, BITRATE, BUFFER / 5);
    bool found = sim_run_while_not(s, begun, &second, asked + CV_SEC(600));
    unsigned kept = guards_of(loses, after);
    snprintf(ret->note, sizeof ret->note,
             "the %s loses IPv%u: read to %.0f %%, waits for %.1f s, %.1f s ahead at least; a new "
             "viewer after %.1f s; %llu datagrams lost",
             seeders ? "seeder" : "viewer", family, 100 * (double)reader.at / (double)film->octets,
             (double)reader.waited / 1e6, (double)reader.least / BITRATE,
             (double)(sim_now(s) - asked) / 1e6, (unsigned long long)line->dropped);
    SCENARIO_CHECK(read && reader.waited <= READER_WAITS, "%s", ret->note);
    SCENARIO_CHECK(found && sim_now(s) - asked <= NEWCOMER, "%s", ret->note);
    SCENARIO_CHECK(kept == n && memcmp(before, after, n * CV_KEY) == 0, "other guards: %s",
                   ret->note);
    SCENARIO_CHECK(!reader.wrong && !second.wrong, "wrong octets read");
    return true;
}

bool scenario_one_family(const struct scenario_args *args, struct scenario_result *ret) {
    struct line line = {.lost = 0};
    uint64_t seed = args->seed + FIRST_WORLD;
    struct world *w = world_new_mixed(seed);
    bool ok = check(w, seed, args->nodes, &line, ret);
    scenario_measure(ret, w->sim, w->nodes_count);
    world_free(w);
    return ok;
}
