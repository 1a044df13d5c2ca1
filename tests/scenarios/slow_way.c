/*
 * A relay of one of a viewer's two ways becomes slow: it carries a tenth of what the way
 * brought. By seed it is the rendezvous point, the viewer's second relay, or the second or
 * third of the seeder. The way is replaced: until another is there the old one stays, it is
 * never done twice within twenty seconds, and in the end no way is slow.
 *
 * And nobody is replaced for what is no relay's fault (slow_seeder): a seeder with a slow
 * line, one who gives little, one of two seeders who gives a tenth of what the other does,
 * and a viewer whose own line is full.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/trace.h"
#include "scenarios/scenario.h"
#include "scenarios/world.h"

enum { RELAYS = 20, RATE = 200000, FILM = 40 << 20, AT_ONCE = 8, WARM = 15, PART = 10 };

/* What a viewer's trace says. */
struct told {
    struct sim *sim;
    unsigned lag, replaced, in_vain;
    cv_usec lag_at[AT_ONCE];
};

static void __attribute__((format(printf, 5, 6)))
on_trace(void *ctx, enum cv_layer layer, const char *event, cv_usec now, const char *fmt, ...) {
    struct told *t = ctx;
    (void)now, (void)fmt; /* each node's clock has its own beginning */
    if (layer != CV_LAYER_TUNNEL)
        return;
    if (strcmp(event, "way_lags") == 0 && t->lag < AT_ONCE)
        t->lag_at[t->lag++] = sim_now(t->sim);
    if (strcmp(event, "way_let_go") == 0) {
        va_list args;
        va_start(args, fmt);
        (void)va_arg(args, unsigned); /* the swarm */
        bool lags = va_arg(args, int);
        va_end(args);
        t->replaced += lags;
        t->in_vain += !lags;
    }
}

static unsigned ways(const struct world_node *n) {
    struct node_peer_status p;
    unsigned count = 0;
    while (node_peer_status(n->node, n->swarm, count, &p))
        count++;
    return count;
}

static uint64_t received(const struct world_node *n) {
    struct node_swarm_status st;
    return node_swarm_status(n->node, 0, &st) ? st.received : 0;
}

static double seconds(cv_usec t) {
    return (double)t / 1e6;
}

static bool two_ways(void *ctx) {
    return ways(ctx) == 2;
}

/* Relay `hop` of a way of `of` that stands in no other way, in neither half; NULL: each
 * stands in both. */
static struct world_node *of_one_way(const struct world_node *of, const struct world_node *viewer,
                                     const struct world_node *seeder, unsigned hop) {
    struct node_peer_status p;
    for (size_t i = 0; node_peer_status(of->node, of->swarm, i, &p); i++) {
        struct world_node *r = p.hops > hop ? world_by_pseudonym(of->world, p.path[hop]) : NULL;
        if (r && world_ways_of(viewer, seeder, r) == 1)
            return r;
    }
    return NULL;
}

/* Of what anybody sends, octets a second in each direction. */
static void carries(const struct world_node *relay, uint64_t octets_s) {
    sim_access(relay->world->sim, relay->number,
               &(struct sim_access){.rate_up = octets_s * 8,
                                    .rate_down = octets_s * 8,
                                    .queue_up = octets_s / 4,
                                    .queue_down = octets_s / 4});
}

static bool slow_way(struct world *w, const struct scenario_args *args,
                     struct scenario_result *ret) {
    static const struct {
        const char *name;
        bool seeders;
        unsigned hop;
    } slow[] = {{"the rendezvous point", false, 2},
                {"the viewer's second relay", false, 1},
                {"the seeder's second relay", true, 1},
                {"the seeder's third relay", true, 2}};
    const unsigned kind = args->seed % 4;
    struct sim *s = w->sim;
    struct told told = {.sim = s};
    world_relays(w, RELAYS);
    struct world_node *seeder = world_node_new(w, &(struct world_node_config){0});
    struct world_node *viewer = world_node_new(w, &(struct world_node_config){0});
    const struct world_film *film = world_film_new(w, FILM);
    world_links(w, CV_MSEC(5), CV_MSEC(25), 0);

    SCENARIO_CHECK(sim_run_while_not(s, world_relays_ready, w, CV_SEC(60)), "relays not ready");
    for (unsigned i = 0; i < w->nodes_count; i++) /* each guard brings so much, and so each way */
        if (w->nodes[i]->cfg.relay)
            sim_path(s, w->nodes[i]->number, viewer->number,
                     &(struct sim_path){
                         .delay = CV_MSEC(15), .rate = (uint64_t)RATE * 8, .queue = RATE / 2});
    world_open(seeder, film, WORLD_SEEDER, 0, false);
    SCENARIO_CHECK(sim_run_while_not(s, world_shared, w, CV_SEC(120)), "not shared");
    world_open(viewer, film, WORLD_VIEWER, 0, true);
    SCENARIO_CHECK(sim_run_while_not(s, two_ways, viewer, sim_now(s) + CV_SEC(60)), "no two ways");
    cv_trace_sink = (struct cv_trace_sink){.fn = on_trace, .ctx = &told};
    sim_run(s, sim_now(s) + CV_SEC(WARM));
    SCENARIO_CHECK(told.lag == 0, "a way lags before any relay is slow");

    struct world_node *r =
        of_one_way(slow[kind].seeders ? seeder : viewer, viewer, seeder, slow[kind].hop);
    if (!r) /* the viewer's own halves share none below twelve relays, and rarely above */
        r = of_one_way(viewer, viewer, seeder, 2);
    SCENARIO_CHECK(r, "every relay stands in both ways");
    cv_usec slow_at = sim_now(s), gone_at = 0;
    for (unsigned part = 2; part <= PART; part += 2) { /* at once would look like its end */
        carries(r, RATE / part);
        sim_run(s, sim_now(s) + CV_SEC(1));
    }
    unsigned least = 2, through = 0; /* seconds in which a way led through it */
    uint64_t before = 0;
    for (unsigned i = 0; i < 240 && (i < 90 || !gone_at || sim_now(s) < gone_at + CV_SEC(20));
         i++) {
        sim_run(s, sim_now(s) + CV_SEC(1));
        unsigned now = ways(viewer);
        if (told.lag + told.replaced > 0) /* before it is found it may seem to be cut off */
            least = now < least ? now : least;
        if (world_ways_of(viewer, seeder, r) > 0) {
            gone_at = 0;
            through++;
        } else if (!gone_at)
            gone_at = sim_now(s);
        if (args->verbose)
            printf("%4u s: %u ways, %u through it, %llu octets/s, %u replaced\n", i, now,
                   world_ways_of(viewer, seeder, r),
                   (unsigned long long)(received(viewer) - before), told.replaced);
        before = received(viewer);
    }
    cv_trace_sink = (struct cv_trace_sink){.fn = NULL};
    cv_usec apart = CV_SEC(3600);
    for (unsigned i = 1; i < told.lag; i++)
        apart = cv_usec_min(apart, told.lag_at[i] - told.lag_at[i - 1]);
    snprintf(
        ret->note, sizeof ret->note,
        "%s: found after %.0f s, in no way after %.0f s, %u replaced, never fewer than %u ways",
        slow[kind].name, told.lag ? seconds(told.lag_at[0] - slow_at) : 0,
        gone_at ? seconds(gone_at - slow_at) : 0, told.replaced, least);
    SCENARIO_CHECK(gone_at, "%s", ret->note);
    /* What is silent for seconds, while the relay's queue overflows, is cut off at once, also
     * when a new way leads through it again. */
    SCENARIO_CHECK(told.replaced > 0 || through < 60, "%s", ret->note);
    SCENARIO_CHECK(apart >= CV_SEC(20), "twice within %.0f s", seconds(apart));
    SCENARIO_CHECK(least == 2, "%s", ret->note);
    SCENARIO_CHECK(world_stores_match(w), "wrong octets");
    return true;
}

bool scenario_slow_way(const struct scenario_args *args, struct scenario_result *ret) {
    struct world *w = world_new(args->seed);
    bool ok = slow_way(w, args, ret);
    cv_trace_sink = (struct cv_trace_sink){.fn = NULL};
    scenario_measure(ret, w->sim, w->nodes_count);
    world_free(w);
    return ok;
}

/* ---- nobody's relay ---- */

enum kind { SLOW_LINE, GIVES_LITTLE, OF_TWO, SLOW_VIEWER };

static void line(struct world *w, const struct world_node *n, bool up, uint64_t octets_s) {
    struct sim_access a = {0};
    if (up)
        a = (struct sim_access){.rate_up = octets_s * 8, .queue_up = octets_s / 2};
    else
        a = (struct sim_access){.rate_down = octets_s * 8, .queue_down = octets_s / 2};
    sim_access(w->sim, n->number, &a);
}

static bool slow_seeder(struct world *w, const struct scenario_args *args,
                        struct scenario_result *ret) {
    static const char *const names[] = {"a slow line", "gives little", "one of two",
                                        "the viewer's line"};
    const enum kind kind = (enum kind)(args->seed % 4);
    struct sim *s = w->sim;
    struct told told = {.sim = s};
    world_relays(w, RELAYS);
    struct world_node *seeder = world_node_new(w, &(struct world_node_config){0});
    struct world_node *other =
        kind == OF_TWO ? world_node_new(w, &(struct world_node_config){0}) : NULL;
    struct world_node *viewer = world_node_new(w, &(struct world_node_config){0});
    const struct world_film *film = world_film_new(w, FILM);
    world_links(w, CV_MSEC(5), CV_MSEC(25), 0);

    SCENARIO_CHECK(sim_run_while_not(s, world_relays_ready, w, CV_SEC(60)), "relays not ready");
    world_open(seeder, film, WORLD_SEEDER,
               kind == GIVES_LITTLE ? RATE / 2
               : kind == OF_TWO     ? RATE / 5
                                    : 0,
               false);
    if (other)
        world_open(other, film, WORLD_SEEDER, RATE * 3 / 2, false);
    if (kind == SLOW_LINE)
        line(w, seeder, true, RATE);
    if (kind == SLOW_VIEWER)
        line(w, viewer, false, RATE);
    SCENARIO_CHECK(sim_run_while_not(s, world_shared, w, CV_SEC(120)), "not shared");
    cv_trace_sink = (struct cv_trace_sink){.fn = on_trace, .ctx = &told};
    world_open(viewer, film, WORLD_VIEWER, 0, true);
    SCENARIO_CHECK(sim_run_while_not(s, two_ways, viewer, sim_now(s) + CV_SEC(60)), "no two ways");
    uint64_t before = received(viewer);
    cv_usec began = sim_now(s);
    for (unsigned i = 0; i < 100; i++) {
        struct node_peer_status p;
        sim_run(s, sim_now(s) + CV_SEC(1));
        for (size_t k = 0; args->verbose && node_peer_status(viewer->node, viewer->swarm, k, &p);
             k++)
            printf("%4u s: way %zu received %llu\n", i, k, (unsigned long long)p.received);
    }
    double rate = (double)(received(viewer) - before) / seconds(sim_now(s) - began);
    snprintf(ret->note, sizeof ret->note, "%s: %.0f octets/s, %u ways lag, %u replaced, %u in vain",
             names[kind], rate, told.lag, told.replaced, told.in_vain);
    SCENARIO_CHECK(rate > RATE / 4.0 && (other || !viewer->complete), "%s", ret->note);
    SCENARIO_CHECK(told.replaced == 0, "%s", ret->note);
    SCENARIO_CHECK(world_stores_match(w), "wrong octets");
    return true;
}

bool scenario_slow_seeder(const struct scenario_args *args, struct scenario_result *ret) {
    struct world *w = world_new(args->seed);
    bool ok = slow_seeder(w, args, ret);
    cv_trace_sink = (struct cv_trace_sink){.fn = NULL};
    scenario_measure(ret, w->sim, w->nodes_count);
    world_free(w);
    return ok;
}
