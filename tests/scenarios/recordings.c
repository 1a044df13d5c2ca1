/*
 * A channel broadcast something, kept it, and is gone. Somebody else shares the film and
 * says what the channel signed; a viewer who has nothing but the channel's link finds it
 * there and fetches it. A vandal who knows the link writes his own list over it, signed
 * with his own key: nobody is told of that, and the true list comes back. No datagram of
 * the two carries the channel's key, and none but a relay's goes to the DHT about it.
 */
#include <stdio.h>
#include <string.h>

#include "crypto/dnssec.h"
#include "node/state.h"
#include "scenarios/scenario.h"
#include "scenarios/world.h"
#include "sim/ringstore.h"
#include "tunnel/hidden.h"

enum { CHUNKS = 300, WINDOW = 1024, RELAYS = 8 };

struct watch {
    struct world *w;
    const struct world_node *ends[3];
    const struct node_uri *channel;
    uint64_t keys;   /* of the channel, in anybody's datagrams */
    uint64_t stored; /* puts and gets of items by one of the ends itself */
};

static enum sim_verdict look(void *ctx, const struct sim_datagram *d) {
    struct watch *h = ctx;
    h->keys += world_contains(d, h->channel->swarm_id + 1, CV_KEY);
    for (unsigned i = 0; i < 3; i++)
        h->stored += h->ends[i] && d->from_node == h->ends[i]->number && world_asks_item(d);
    return SIM_PASS;
}

static bool pointed(void *ctx) {
    const struct world_node *n = ctx;
    return node_pointed(n->node, n->swarm);
}

static bool told(void *ctx) {
    const struct world_node *n = ctx;
    return n->recordings > 0;
}

static struct node_uri channel_of(const struct cv_dnssec_secret *key, const struct node_uri *film) {
    struct node_uri u = {.kind = NODE_URI_LIVE,
                         .integrity = PPSP_INTEGRITY_UNIFIED,
                         .hash = CV_SHA256,
                         .addressing = PPSP_ADDRESSING_CHUNK32,
                         .chunk_size = WORLD_CHUNK};
    memcpy(u.network_id, film->network_id, sizeof u.network_id);
    u.swarm_id[0] = (uint8_t)cv_dnssec_alg(key);
    u.swarm_id_len = 1 + cv_dnssec_public_of(key, u.swarm_id + 1);
    return u;
}

static bool sign(uint8_t octets[NODE_RECORDINGS_OCTETS], const struct node_uri *film,
                 int64_t issued, const struct node_uri *channel,
                 const struct cv_dnssec_secret *key) {
    struct node_recordings list = {.issued = issued};
    node_recordings_add(&list, film, issued);
    return node_recordings_write(octets, &list, channel, key) == 1;
}

static bool watched(struct world *w, const struct cv_dnssec_secret *key,
                    const struct cv_dnssec_secret *other, struct sim_ring *ring,
                    struct scenario_result *ret) {
    struct sim *s = w->sim;
    uint8_t octets[NODE_RECORDINGS_OCTETS];
    world_relays(w, RELAYS);
    struct world_node *sharer = world_node_new(w, &(struct world_node_config){0});
    struct world_node *vandal = world_node_new(w, &(struct world_node_config){0});
    struct world_node *viewer = world_node_new(w, &(struct world_node_config){0});
    const struct world_film *film = world_film_new(w, CHUNKS * WORLD_CHUNK + 17);
    struct node_uri channel = channel_of(key, &film->uri);
    struct watch h = {.w = w, .ends = {sharer, vandal, viewer}, .channel = &channel};
    world_links(w, CV_MSEC(5), CV_MSEC(30), 5000);
    sim_hook(s, look, &h);

    SCENARIO_CHECK(sim_run_while_not(s, world_relays_ready, w, CV_SEC(60)), "relays not ready");
    world_open(sharer, film, WORLD_SEEDER, 0, false);
    SCENARIO_CHECK(sim_run_while_not(s, world_shared, w, CV_SEC(120)), "not shared");
    struct cv_now now = sim_node_now(s, sharer->number);
    SCENARIO_CHECK(sign(octets, &film->uri, now.wall, &channel, key), "not signed");
    SCENARIO_CHECK(node_point(sharer->node, now, sharer->swarm, &channel, octets) == CV_ERR_OK,
                   "not taken");
    sim_touch(s, sharer->number);
    SCENARIO_CHECK(sim_run_while_not(s, pointed, sharer, sim_now(s) + CV_SEC(60)), "not said");

    /* Somebody else's list, and a later one: not what this channel signed. */
    now = sim_node_now(s, vandal->number);
    cv_handle vandals;
    SCENARIO_CHECK(sign(octets, &film->uri, now.wall + 100, &channel, other), "not signed");
    SCENARIO_CHECK(tun_hidden_point(vandal->node->client, &now, channel.swarm_id,
                                    channel.swarm_id_len, NULL, octets, &vandals) == CV_ERR_OK,
                   "not taken");
    sim_touch(s, vandal->number);
    sim_run(s, sim_now(s) + CV_SEC(20));

    now = sim_node_now(s, viewer->number);
    cv_usec opened = sim_now(s);
    struct node_swarm_config cfg = {
        .uri = channel,
        .store = &sim_ring_ops,
        .store_ctx = ring,
        .fetch_all = true,
        .live = {.window = WINDOW, .latency = NODE_LIVE_LATENCY},
    };
    SCENARIO_CHECK(node_swarm_open(viewer->node, now, &cfg, &viewer->swarm) == CV_ERR_OK,
                   "the channel is not watched");
    sim_touch(s, viewer->number);
    sim_run(s, sim_now(s) + CV_SEC(30));
    SCENARIO_CHECK(!told(viewer) && viewer->node->counters.pointers_refused > 0,
                   "somebody else's list was %s", told(viewer) ? "believed" : "not found");
    now = sim_node_now(s, vandal->number);
    tun_hidden_close(vandal->node->client, &now, vandals);
    /* It is written again within the hour, and when there is news: sooner. */
    now = sim_node_now(s, sharer->number);
    SCENARIO_CHECK(sign(octets, &film->uri, now.wall, &channel, key) &&
                       node_point(sharer->node, now, sharer->swarm, &channel, octets) == CV_ERR_OK,
                   "not taken");
    sim_touch(s, sharer->number);
    SCENARIO_CHECK(sim_run_while_not(s, told, viewer, sim_now(s) + CV_SEC(60)),
                   "it was not written again");
    const struct node_recordings *r = node_recordings(viewer->node, viewer->swarm);
    SCENARIO_CHECK(r && r->count == 1 && r->v[0].length == film->octets, "not that list");
    struct node_uri uri;
    node_recording_uri(&r->v[0], &channel, &uri);
    SCENARIO_CHECK(uri.swarm_id_len == film->uri.swarm_id_len &&
                       memcmp(uri.swarm_id, film->uri.swarm_id, uri.swarm_id_len) == 0 &&
                       uri.chunk_size == film->uri.chunk_size &&
                       uri.addressing == film->uri.addressing &&
                       uri.integrity == film->uri.integrity,
                   "not that film");
    node_swarm_close(viewer->node, sim_node_now(s, viewer->number), viewer->swarm);
    cv_usec found = sim_now(s);
    world_open(viewer, film, WORLD_VIEWER, 0, true);
    SCENARIO_CHECK(sim_run_while_not(s, world_all_complete, w, found + CV_SEC(120)),
                   "it did not come");
    SCENARIO_CHECK(world_stores_match(w), "wrong octets");
    SCENARIO_CHECK(h.keys == 0 && h.stored == 0,
                   "%llu datagrams with the channel's key, %llu of the DHT by an end",
                   (unsigned long long)h.keys, (unsigned long long)h.stored);
    snprintf(ret->note, sizeof ret->note, "written over: found %.0f s after the link was opened",
             (double)(found - opened) / 1e6);
    return true;
}

bool scenario_recordings(const struct scenario_args *args, struct scenario_result *ret) {
    struct world *w = world_new(args->seed);
    struct cv_dnssec_secret *key = NULL, *other = NULL;
    struct sim_ring *ring = sim_ring_new(WORLD_CHUNK, WORLD_HASH, WINDOW);
    bool ok = cv_dnssec_secret_from_seed((uint8_t[CV_KEY]){1}, &key) == CV_ERR_OK &&
              cv_dnssec_secret_from_seed((uint8_t[CV_KEY]){2}, &other) == CV_ERR_OK &&
              watched(w, key, other, ring, ret);
    scenario_measure(ret, w->sim, w->nodes_count);
    world_free(w);
    sim_ring_free(ring);
    cv_dnssec_secret_free(key);
    cv_dnssec_secret_free(other);
    return ok;
}
