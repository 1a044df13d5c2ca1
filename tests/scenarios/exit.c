/*
 * A direct swarm on the Internet, and viewers who see it through a swarm exit: the
 * seeder is found in the DHT by the exit, and every octet of the film comes. Every
 * datagram is looked at: the seeder speaks to exits only (and the DHT), nobody but an
 * exit's own sockets speaks to it, and no content key leaves a viewer.
 */
#include <stdio.h>
#include <string.h>

#include "scenarios/scenario.h"
#include "scenarios/world.h"

enum { VIEWERS = 3, EXITS = 2, RELAYS = 7 };

struct watch {
    struct world *w;
    struct world_node *seeder, *viewer[VIEWERS];
    uint64_t met;     /* datagrams between a viewer and the seeder */
    uint64_t keys;    /* of the content, in datagrams of viewers */
    uint64_t foreign; /* from an exit's sockets to anybody but the seeder's socket */
    uint64_t through; /* from them to that */
};

static bool contains(const uint8_t *buf, size_t len, const uint8_t *key, size_t key_len) {
    for (size_t i = 0; i + key_len <= len; i++)
        if (memcmp(buf + i, key, key_len) == 0)
            return true;
    return false;
}

static const struct world_node *node_at(const struct watch *h, unsigned number) {
    for (unsigned i = 0; i < h->w->nodes_count; i++)
        if (h->w->nodes[i]->number == number)
            return h->w->nodes[i];
    return NULL;
}

static enum sim_verdict look(void *ctx, const struct sim_datagram *d) {
    struct watch *h = ctx;
    const struct world_node *from = node_at(h, d->from_node);
    for (unsigned i = 0; i < VIEWERS && h->seeder; i++) {
        unsigned v = h->viewer[i]->number, s = h->seeder->number;
        h->met += (d->from_node == v && d->to_node == s) || (d->from_node == s && d->to_node == v);
        h->keys += d->from_node == v && contains(d->buf, d->len, h->w->films[0]->uri.swarm_id, 20);
    }
    if (from && from->cfg.exit && d->from->port >= 7000 + NODE_SOCKET_EXIT) {
        bool to_seeder = h->seeder && cv_addr_equal(d->to, &h->seeder->addr[NODE_SOCKET_DIRECT]);
        h->foreign += !to_seeder;
        h->through += to_seeder;
    }
    return SIM_PASS;
}

static uint64_t sum(const struct world *w, size_t offset) {
    uint64_t all = 0;
    for (unsigned i = 0; i < w->nodes_count; i++) {
        const struct exit_counters *c =
            w->nodes[i]->node ? node_exit_counters(w->nodes[i]->node) : NULL;
        if (c)
            all += *(const uint64_t *)(const void *)((const char *)c + offset);
    }
    return all;
}
#define SUM(w, name) sum(w, offsetof(struct exit_counters, name))

static bool check(struct world *w, const struct scenario_args *args, struct scenario_result *ret) {
    struct sim *s = w->sim;
    struct watch h = {.w = w};
    for (unsigned i = 0; i < RELAYS; i++)
        world_node_new(w, &(struct world_node_config){.relay = true, .exit = i < EXITS});
    for (unsigned i = 0; i < VIEWERS; i++)
        h.viewer[i] = world_node_new(w, &(struct world_node_config){0});
    h.seeder = world_node_new(w, &(struct world_node_config){.direct = true});
    const struct world_film *film = world_film_new(w, 500000 + args->seed % 5000);
    world_links(w, CV_MSEC(5), CV_MSEC(30), 5000);
    sim_hook(s, look, &h);

    SCENARIO_CHECK(sim_run_while_not(s, world_relays_ready, w, CV_SEC(60)), "relays not ready");
    world_open_as(h.seeder, film, WORLD_SEEDER, NODE_SWARM_DIRECT);
    sim_run(s, sim_now(s) + CV_SEC(5));
    for (unsigned i = 0; i < VIEWERS; i++)
        world_open_as(h.viewer[i], film, WORLD_VIEWER, NODE_SWARM_EXIT);
    cv_usec opened = sim_now(s);
    SCENARIO_CHECK(sim_run_while_not(s, world_all_complete, w, opened + CV_SEC(120)),
                   "not everybody has it");
    snprintf(ret->note, sizeof ret->note, "%u viewers have it after %.1f s, %llu calls", VIEWERS,
             (double)(sim_now(s) - opened) / 1e6, (unsigned long long)SUM(w, calls));
    SCENARIO_CHECK(world_stores_match(w), "wrong octets");
    SCENARIO_CHECK(h.through > 0 && h.met == 0 && h.keys == 0 && h.foreign == 0,
                   "%llu through, %llu met, %llu keys, %llu elsewhere",
                   (unsigned long long)h.through, (unsigned long long)h.met,
                   (unsigned long long)h.keys, (unsigned long long)h.foreign);
    SCENARIO_CHECK(SUM(w, drop_form) + SUM(w, drop_size) == 0, "what is right was dropped");
    return true;
}

bool scenario_exit(const struct scenario_args *args, struct scenario_result *ret) {
    struct world *w = world_new(args->seed);
    bool ok = check(w, args, ret);
    scenario_measure(ret, w->sim, w->nodes_count);
    world_free(w);
    return ok;
}
