/*
 * Upload and download limits on a line that carries far more: within 3 % of what
 * was asked for, over twenty seconds, for one viewer and for two.
 */
#include <stdio.h>

#include "scenarios/scenario.h"
#include "scenarios/swarm.h"

enum { SECONDS = 20, WARM_S = 3, TOLERANCE = 3 };

static const uint64_t limits[] = {64 * 1024, 300 * 1000, 1000 * 1000, 4 * 1000 * 1000};

static struct ppsp_stats stats(const struct swarm_peer *p) {
    struct ppsp_stats st = {0};
    (void)ppsp_stats(p->engine, p->swarm, &st);
    return st;
}

/* Percent of the limit, over the next seconds. */
static double measure(struct swarm_world *w, const struct swarm_peer *p, bool up, uint64_t limit) {
    sim_run(w->sim, sim_now(w->sim) + CV_SEC(WARM_S));
    uint64_t before = up ? stats(p).up : stats(p).down;
    sim_run(w->sim, sim_now(w->sim) + CV_SEC(SECONDS));
    uint64_t after = up ? stats(p).up : stats(p).down;
    return (double)(after - before) * 100 / ((double)limit * SECONDS);
}

static bool right(double percent) {
    return percent >= 100 - TOLERANCE && percent <= 100 + TOLERANCE;
}

static bool check(struct swarm_world *w, uint64_t seed, struct scenario_result *ret) {
    uint64_t limit = limits[seed % (sizeof limits / sizeof *limits)];
    unsigned viewers = 1 + (unsigned)(seed / 4 % 2);
    for (unsigned i = 0; i <= viewers; i++) {
        w->upload_limit = i == 0 ? limit : 0;
        swarm_peer_new(w, i == 0 ? SWARM_SEEDER : SWARM_VIEWER);
    }
    sim_path_default(w->sim, &(struct sim_path){.delay = CV_MSEC(15), .rate = 100000000});
    for (unsigned i = 1; i <= viewers; i++)
        swarm_connect(w->peers[i], w->peers[0]);
    double up = measure(w, w->peers[0], true, limit);

    struct swarm_peer *seeder = w->peers[0], *viewer = w->peers[1];
    ppsp_swarm_limits(seeder->engine, sim_node_now(w->sim, seeder->node), seeder->swarm, 0, 0);
    for (unsigned i = 1; i <= viewers; i++) {
        struct swarm_peer *p = w->peers[i];
        ppsp_swarm_limits(p->engine, sim_node_now(w->sim, p->node), p->swarm, 0, limit);
        sim_touch(w->sim, p->node);
    }
    sim_touch(w->sim, seeder->node);
    double down = measure(w, viewer, false, limit);
    snprintf(ret->note, sizeof ret->note, "%u viewers, %llu octets/s: up %.1f %%, down %.1f %%",
             viewers, (unsigned long long)limit, up, down);
    SCENARIO_CHECK(right(up), "%s", ret->note);
    SCENARIO_CHECK(right(down), "%s", ret->note);
    return true;
}

bool scenario_limits(const struct scenario_args *args, struct scenario_result *ret) {
    struct swarm_world *w = swarm_world_new(args->seed, 200 << 20);
    bool ok = check(w, args->seed, ret);
    scenario_measure(ret, w->sim, w->peers_count);
    swarm_world_free(w);
    return ok;
}
