/*
 * A seeder finds out what its line carries and leaves a fifth of it free, then that it became
 * twice as fast; and remembers over a restart. By seed: two viewers of a direct swarm, three
 * of a hidden one, each by several circuits, and a seeder who was told to use all there is.
 * And one hidden viewer, whose own line is slow: his ways are full, and nothing is measured.
 */
#include <stdio.h>

#include "scenarios/scenario.h"
#include "scenarios/world.h"

enum { RATE = 2000000, FILM = 14 << 20, RELAYS = 8, VIEWERS = 3 };
enum kind { DIRECT, HIDDEN, UNLIMITED, SLOW_VIEWER, KINDS };

struct scene {
    struct world *w;
    struct world_node *seeder, *viewer[VIEWERS];
    unsigned viewers;
    double part; /* of what goes on the wire is content */
};

static void line(const struct scene *c, uint64_t rate) {
    sim_access(c->w->sim, c->seeder->number,
               &(struct sim_access){.rate_up = rate, .queue_up = rate / 8 * 2 / 5});
}

static struct node_status status(const struct scene *c) {
    struct node_status st;
    node_status(c->seeder->node, &st);
    return st;
}

static double percent(const struct scene *c, uint64_t octets_s, uint64_t rate) {
    return (double)octets_s * 8 * 100 / c->part / (double)rate;
}

static uint64_t sent(const struct scene *c) {
    return sim_node_counters(c->w->sim, c->seeder->number)->octets_sent;
}

/* Percent of the line, over so long. */
static double used(const struct scene *c, uint64_t rate, cv_usec time) {
    uint64_t before = sent(c);
    sim_run(c->w->sim, sim_now(c->w->sim) + time);
    return (double)(sent(c) - before) * 8e8 / (double)time / (double)rate;
}

/* Until it was lifted and holds again. */
static bool held(const struct scene *c) {
    struct sim *s = c->w->sim;
    cv_usec end = sim_now(s) + CV_SEC(90);
    while (!status(c).upstream_lifted && sim_now(s) < end)
        sim_run(s, sim_now(s) + CV_MSEC(250));
    while (status(c).upstream_lifted && sim_now(s) < end)
        sim_run(s, sim_now(s) + CV_MSEC(250));
    sim_run(s, sim_now(s) + CV_SEC(2));
    return sim_now(s) < end;
}

static bool open_direct(struct scene *c, uint64_t limit) {
    struct node_swarm_config cfg = {.mode = NODE_SWARM_DIRECT, .upload_limit = limit};
    const struct world_film *film = world_film_new(c->w, FILM);
    c->viewers = 2;
    c->part = 0.94;
    c->seeder =
        world_node_new(c->w, &(struct world_node_config){.direct = true, .spare_upstream = true});
    for (unsigned i = 0; i < 2; i++)
        c->viewer[i] = world_node_new(c->w, &(struct world_node_config){.direct = true});
    world_links(c->w, CV_MSEC(15), CV_MSEC(25), 0);
    world_open_with(c->seeder, film, WORLD_SEEDER, &cfg);
    cfg =
        (struct node_swarm_config){.mode = NODE_SWARM_DIRECT, .fetch_all = true, .no_share = true};
    for (unsigned i = 0; i < 2; i++) {
        struct world_node *v = c->viewer[i];
        world_open_with(v, film, WORLD_VIEWER, &cfg);
        enum cv_err err = node_swarm_peer(v->node, sim_node_now(c->w->sim, v->number), v->swarm,
                                          &c->seeder->addr[NODE_SOCKET_DIRECT]);
        SCENARIO_CHECK(!err, "%s", cv_strerror(err));
        sim_touch(c->w->sim, v->number);
    }
    return true;
}

static bool open_hidden(struct scene *c, unsigned viewers) {
    struct sim *s = c->w->sim;
    const struct world_film *film = world_film_new(c->w, FILM);
    c->viewers = viewers;
    c->part = 0.80;
    world_relays(c->w, RELAYS);
    c->seeder = world_node_new(c->w, &(struct world_node_config){.spare_upstream = true});
    for (unsigned i = 0; i < viewers; i++)
        c->viewer[i] = world_node_new(c->w, &(struct world_node_config){0});
    world_links(c->w, CV_MSEC(5), CV_MSEC(15), 0);
    SCENARIO_CHECK(sim_run_while_not(s, world_relays_ready, c->w, CV_SEC(60)), "relays not ready");
    world_open(c->seeder, film, WORLD_SEEDER, 0, false);
    SCENARIO_CHECK(sim_run_while_not(s, world_shared, c->w, CV_SEC(120)), "not shared");
    for (unsigned i = 0; i < viewers; i++)
        world_open_with(c->viewer[i], film, WORLD_VIEWER,
                        &(struct node_swarm_config){.fetch_all = true, .no_share = true});
    return true;
}

/* What he gets shows nothing of the seeder's line, and he gets all that his carries. */
static bool check_slow(struct scene *c, struct scenario_result *ret) {
    struct sim *s = c->w->sim;
    if (!open_hidden(c, 1))
        return false;
    sim_access(s, c->viewer[0]->number,
               &(struct sim_access){.rate_down = RATE, .queue_down = RATE / 8 * 2 / 5});
    sim_run(s, sim_now(s) + CV_SEC(10));
    double all = used(c, RATE, CV_SEC(30));
    snprintf(ret->note, sizeof ret->note, "%.1f %% of the viewer's line used", all);
    SCENARIO_CHECK(status(c).upstream == 0, "measured %llu; %s",
                   (unsigned long long)status(c).upstream, ret->note);
    SCENARIO_CHECK(all >= 85, "%s", ret->note);
    return true;
}

static bool check(struct scene *c, uint64_t seed, struct scenario_result *ret) {
    struct sim *s = c->w->sim;
    enum kind kind = (enum kind)(seed % KINDS);
    if (kind == SLOW_VIEWER)
        return check_slow(c, ret);
    if (!(kind == HIDDEN ? open_hidden(c, VIEWERS)
                         : open_direct(c, kind == UNLIMITED ? PPSP_UNLIMITED : 0)))
        return false;
    line(c, RATE);
    sim_run(s, sim_now(s) + CV_SEC(25));
    double seen = percent(c, status(c).upstream, RATE);
    if (kind != UNLIMITED)
        SCENARIO_CHECK(held(c), "not lifted in time, measured %.1f %%", seen);
    double one = used(c, RATE, CV_SEC(15));

    node_save(c->seeder->node);
    sim_touch(s, c->seeder->number);
    sim_run(s, sim_now(s) + CV_MSEC(1));
    uint64_t before = status(c).upstream;
    sim_crash(s, c->seeder->number);
    sim_restart(s, c->seeder->number);
    uint64_t after = status(c).upstream;

    line(c, 2 * RATE);
    sim_run(s, sim_now(s) + CV_SEC(75));
    double twice = percent(c, status(c).upstream, 2 * RATE);
    snprintf(ret->note, sizeof ret->note,
             "measured %.1f %%, used %.1f %%; of a line twice as fast %.1f %%", seen, one, twice);
    SCENARIO_CHECK(seen >= 85 && seen <= 103, "%s", ret->note);
    if (kind == UNLIMITED)
        SCENARIO_CHECK(one >= 95, "%s", ret->note);
    else
        SCENARIO_CHECK(one >= 70 && one <= 84, "%s", ret->note);
    SCENARIO_CHECK(before && after == before, "%llu after a restart, %llu before",
                   (unsigned long long)after, (unsigned long long)before);
    SCENARIO_CHECK(twice >= 85 && twice <= 103, "%s", ret->note);
    return true;
}

bool scenario_upstream(const struct scenario_args *args, struct scenario_result *ret) {
    struct scene c = {.w = world_new(args->seed)};
    bool ok = check(&c, args->seed, ret);
    scenario_measure(ret, c.w->sim, c.w->nodes_count);
    world_free(c.w);
    return ok;
}
