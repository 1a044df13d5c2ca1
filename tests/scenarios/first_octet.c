/*
 * A viewer of a film that the last hop of its circuit shares openly, every link 20 ms long:
 * from the moment when the circuit is built until the first chunk is verified two round trips
 * of the path pass, and nothing more. One is the call and its answer, one the request and the
 * chunk.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/trace.h"
#include "scenarios/scenario.h"
#include "scenarios/world.h"

enum { FILM = 1 << 20, HOPS = 3, CIRCUITS = 256 };

#define LINK CV_MSEC(20)
#define TRIP (2 * HOPS * LINK)

/* When circuits of whoever said so were built. */
struct built {
    unsigned count;
    struct {
        cv_handle circuit;
        cv_usec at;
    } v[CIRCUITS];
};

static void note(void *ctx, enum cv_layer layer, const char *event, cv_usec now, const char *fmt,
                 ...) __attribute__((format(printf, 5, 6)));

static void note(void *ctx, enum cv_layer layer, const char *event, cv_usec now, const char *fmt,
                 ...) {
    struct built *b = ctx;
    if (layer != CV_LAYER_TUNNEL || strcmp(event, "circuit_ready") != 0 || b->count == CIRCUITS)
        return;
    va_list args;
    va_start(args, fmt);
    b->v[b->count].circuit = (cv_handle)va_arg(args, unsigned long long);
    va_end(args);
    b->v[b->count++].at = now;
}

static bool has_some(const struct world *w) {
    struct node_swarm_status st;
    const struct world_node *viewer = w->nodes[w->nodes_count - 1];
    return node_swarm_status(viewer->node, 0, &st) && st.have > 0;
}

static bool some(void *ctx) {
    return has_some(ctx);
}

static bool check(struct world *w, struct scenario_result *ret) {
    static struct built built;
    struct sim *s = w->sim;
    world_relays(w, 6);
    struct world_node *sharer = w->nodes[5];
    struct world_node *viewer = world_node_new(w, &(struct world_node_config){0});
    const struct world_film *film = world_film_new(w, FILM);
    world_links(w, LINK, LINK, 0);
    SCENARIO_CHECK(sim_run_while_not(s, world_relays_ready, w, CV_SEC(60)), "relays not ready");
    SCENARIO_CHECK(sim_run_while_not(s, world_clients_ready, w, CV_SEC(120)), "no circuits");
    sim_run(s, sim_now(s) + CV_SEC(5));
    world_open_at(sharer, film, WORLD_SEEDER, sharer, false);

    built.count = 0;
    cv_trace_sink = (struct cv_trace_sink){.fn = note, .ctx = &built};
    world_open_at(viewer, film, WORLD_VIEWER, sharer, true);
    cv_usec opened = sim_now(s);
    bool came = sim_run_while_not(s, some, w, sim_now(s) + CV_SEC(20));
    cv_trace_sink = (struct cv_trace_sink){.fn = NULL};
    SCENARIO_CHECK(came, "nothing came");
    struct node_peer_status peer;
    SCENARIO_CHECK(node_peer_status(viewer->node, viewer->swarm, 0, &peer), "nobody is there");
    SCENARIO_CHECK(peer.hops == HOPS, "%d hops", peer.hops);
    cv_usec from = opened; /* one that was built before waited for somebody */
    for (unsigned i = 0; i < built.count; i++)
        if (built.v[i].circuit == peer.endpoint.handle && built.v[i].at > from)
            from = built.v[i].at;
    cv_usec took = sim_now(s) - from;
    snprintf(ret->note, sizeof ret->note, "first chunk after %.2f round trips of the path",
             (double)took / (double)TRIP);
    SCENARIO_CHECK(took >= TRIP && took <= 2 * TRIP + CV_MSEC(5), "%s", ret->note);
    return true;
}

bool scenario_first_octet(const struct scenario_args *args, struct scenario_result *ret) {
    struct world *w = world_new(args->seed);
    bool ok = check(w, ret);
    scenario_measure(ret, w->sim, w->nodes_count);
    world_free(w);
    return ok;
}
