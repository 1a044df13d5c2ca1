/*
 * A relay dies in the middle of a film. The source gives 1.2 times the bitrate, the
 * viewer's player has a buffer of five seconds, and never waits. Which relay is the
 * seed's choice: one of the viewer's half of the way (guard, second layer, rendezvous
 * point), one of the seeder's half (guard, second layer, middle), or the introduction
 * point through which they met last.
 *
 * The viewer's halves of its ways share no relay, with eight as with twenty. What neither
 * end can know is whether a relay of its own half is in the other's half of the other
 * way; with eight (relay_dies_8) it is as often as not, and then all is lost at once:
 * five seconds are what there is to notice it, to meet again by others and to be up
 * to speed.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/trace.h"
#include "scenarios/scenario.h"
#include "scenarios/world.h"
#include "tunnel/limits.h"

enum {
    RELAYS = 20,
    FEW = 8,
    TWO_APART = 12,
    BITRATE = 125000,
    BUFFER = 5 * BITRATE,
    FILM_SECONDS = 60
};

static const struct victim {
    const char *name;
    bool seeders; /* of the seeder's half */
    int hop;      /* -1: the introduction point */
} victims[] = {
    {"the viewer's guard", false, 0},       {"the viewer's second relay", false, 1},
    {"the rendezvous point", false, 2},     {"the seeder's guard", true, 0},
    {"the seeder's second relay", true, 1}, {"the seeder's third relay", true, 2},
    {"the introduction point", false, -1},
};
enum { VICTIMS = sizeof victims / sizeof *victims };

/* Relay `hop` of the way of `n` that carried most. */
static struct world_node *on_way(const struct world_node *n, unsigned hop) {
    struct node_peer_status best = {0}, p;
    for (size_t i = 0; node_peer_status(n->node, n->swarm, i, &p); i++)
        if (p.hops > hop && p.received + p.sent >= best.received + best.sent)
            best = p;
    return best.hops ? world_by_pseudonym(n->world, best.path[hop]) : NULL;
}

/* Ways of the viewer's half, and relays that stand in more than one of them. */
static unsigned ways(const struct world_node *n, unsigned *ret_shared) {
    struct node_peer_status p[TUN_MEETINGS_MAX];
    unsigned count = 0;
    *ret_shared = 0;
    while (count < TUN_MEETINGS_MAX && node_peer_status(n->node, n->swarm, count, &p[count]))
        count++;
    for (unsigned i = 1; i < count; i++)
        for (unsigned k = 0; k < i; k++)
            for (unsigned a = 0; a < p[i].hops; a++)
                for (unsigned b = 0; b < p[k].hops; b++)
                    *ret_shared += strcmp(p[i].path[a], p[k].path[b]) == 0;
    return count;
}

/* Nobody but a seeder's trace says which introduction point it was. */
static void __attribute__((format(printf, 5, 6)))
on_trace(void *ctx, enum cv_layer layer, const char *event, cv_usec now, const char *fmt, ...) {
    char *point = ctx;
    va_list args;
    (void)now;
    if (layer != CV_LAYER_TUNNEL || strcmp(event, "introduced") != 0)
        return;
    va_start(args, fmt);
    (void)va_arg(args, unsigned); /* the swarm */
    snprintf(point, NODE_PSEUDONYM + 1, "%08x", va_arg(args, uint32_t));
    va_end(args);
}

static void show(const struct world_node *n, const char *when) {
    struct node_peer_status p;
    printf("%7.2f s %s\n", (double)sim_now(n->world->sim) / 1e6, when);
    for (size_t i = 0; node_peer_status(n->node, n->swarm, i, &p); i++) {
        printf("    peer received=%llu rate=%llu rtt=%.0f ms hops:", (unsigned long long)p.received,
               (unsigned long long)p.rate_down, (double)p.rtt / 1e3);
        for (unsigned k = 0; k < p.hops; k++)
            printf(" %s", p.path[k]);
        printf("\n");
    }
}

static bool begun(void *ctx) {
    const struct world_reader *r = ctx;
    return r->begun_at > 0;
}

static bool check(struct world *w, const struct scenario_args *args, unsigned relays,
                  struct scenario_result *ret) {
    struct sim *s = w->sim;
    const struct victim *v = &victims[args->seed % VICTIMS];
    char point[NODE_PSEUDONYM + 1] = "";
    struct world_reader reader;
    world_relays(w, relays);
    struct world_node *seeder = world_node_new(w, &(struct world_node_config){0});
    struct world_node *viewer = world_node_new(w, &(struct world_node_config){0});
    const struct world_film *film = world_film_new(w, (uint64_t)BITRATE * FILM_SECONDS);
    world_links(w, CV_MSEC(5), CV_MSEC(25), 0);

    SCENARIO_CHECK(sim_run_while_not(s, world_relays_ready, w, CV_SEC(60)), "relays not ready");
    world_open(seeder, film, WORLD_SEEDER, BITRATE * 6 / 5, false);
    SCENARIO_CHECK(sim_run_while_not(s, world_shared, w, CV_SEC(120)), "not shared");
    cv_trace_sink = (struct cv_trace_sink){.fn = on_trace, .ctx = point};
    world_open(viewer, film, WORLD_VIEWER, 0, false);
    cv_usec opened = sim_now(s);
    world_read(&reader, viewer, BITRATE, BUFFER);
    bool has_begun = sim_run_while_not(s, begun, &reader, opened + CV_SEC(60));
    cv_trace_sink = (struct cv_trace_sink){.fn = NULL};
    SCENARIO_CHECK(has_begun, "never began");
    cv_usec began = sim_now(s);
    sim_run(s, began + CV_SEC(5) + cv_rng_below(sim_rng(s), CV_SEC(10)));

    struct world_node *dies = v->hop < 0 ? world_by_pseudonym(w, point)
                                         : on_way(v->seeders ? seeder : viewer, (unsigned)v->hop);
    SCENARIO_CHECK(dies, "%s is nowhere", v->name);
    cv_usec killed = sim_now(s);
    uint64_t ahead = node_available(viewer->node, viewer->swarm, reader.at);
    reader.least = ahead;
    unsigned shared, count = ways(viewer, &shared), lost = world_ways_of(viewer, seeder, dies);
    if (args->verbose) {
        show(viewer, "before, the viewer's halves");
        show(seeder, "before, the seeder's halves");
    }
    sim_crash(s, dies->number);
    for (unsigned i = 0; i < 12; i++) {
        sim_run(s, sim_now(s) + CV_SEC(1));
        if (args->verbose) {
            printf("    ahead %.2f s, waited %.1f s; ",
                   (double)node_available(viewer->node, viewer->swarm, reader.at) / BITRATE,
                   (double)reader.waited / 1e6);
            show(viewer, "after");
        }
    }
    sim_run(s, began + CV_SEC(FILM_SECONDS) + CV_SEC(20));
    snprintf(ret->note, sizeof ret->note,
             "%s: began after %.1f s, killed at %.1f s with %.1f s ahead, least %.1f s, %u "
             "waits of %.1f s, %u of %u ways ended, %u relays in common",
             v->name, (double)(began - opened) / 1e6, (double)(killed - began) / 1e6,
             (double)ahead / BITRATE, (double)reader.least / BITRATE, reader.waits,
             (double)reader.waited / 1e6, lost, count, shared);
    snprintf(ret->json, sizeof ret->json,
             "{\"victim\": \"%s\", \"waits\": %u, \"waited_s\": %.2f, \"ahead_s\": %.2f, "
             "\"least_s\": %.2f, \"ways\": %u, \"ended\": %u, \"shared\": %u}",
             v->name, reader.waits, (double)reader.waited / 1e6, (double)ahead / BITRATE,
             (double)reader.least / BITRATE, count, lost, shared);
    /* Among more, who is shown in a way is drawn without regard to the other (decision 0088). */
    SCENARIO_CHECK(shared == 0 || relays >= TWO_APART, "%s", ret->note);
    SCENARIO_CHECK(!reader.wrong, "wrong octets read");
    SCENARIO_CHECK(reader.waits == 0, "%s", ret->note);
    SCENARIO_CHECK(reader.at == film->octets, "read %llu of %llu octets",
                   (unsigned long long)reader.at, (unsigned long long)film->octets);
    return true;
}

static bool run(const struct scenario_args *args, unsigned relays, struct scenario_result *ret) {
    struct world *w = world_new(args->seed);
    bool ok = check(w, args, relays, ret);
    scenario_measure(ret, w->sim, w->nodes_count);
    world_free(w);
    return ok;
}

bool scenario_relay_dies(const struct scenario_args *args, struct scenario_result *ret) {
    return run(args, args->nodes ? args->nodes : RELAYS, ret);
}

bool scenario_relay_dies_8(const struct scenario_args *args, struct scenario_result *ret) {
    return run(args, FEW, ret);
}
