/*
 * A relay behind a filter that lets in answers only, to whoever was called, address and
 * port: relays that it called reach it, viewers do not. It is told of to nobody, and knows
 * why; when the port is opened it is told of. With relays that have no other port than the
 * one it called (the planted fault) it would be told of at once.
 */
#include <stdio.h>

#include "scenarios/scenario.h"
#include "scenarios/world.h"

enum { RELAYS = 8, CALLED_MAX = 1024 };

struct filter {
    bool on;
    struct cv_addr inner, called[CALLED_MAX];
    unsigned count, kept_out;
};

static bool was_called(const struct filter *f, const struct cv_addr *who) {
    for (unsigned i = 0; i < f->count; i++) {
        if (cv_addr_equal(&f->called[i], who))
            return true;
    }
    return false;
}

static enum sim_verdict pass(void *ctx, const struct sim_datagram *d) {
    struct filter *f = ctx;
    if (cv_addr_equal(d->from, &f->inner) && f->count < CALLED_MAX && !was_called(f, d->to))
        f->called[f->count++] = *d->to;
    if (!f->on || !cv_addr_equal(d->to, &f->inner) || was_called(f, d->from))
        return SIM_PASS;
    f->kept_out++;
    return SIM_DROP;
}

static unsigned known_to_a_viewer(struct world *w) {
    struct world_node *viewer = world_node_new(w, &(struct world_node_config){0});
    struct node_status st;
    sim_run(w->sim, sim_now(w->sim) + CV_SEC(20));
    node_status(viewer->node, &st);
    return st.relays_known;
}

static bool check(struct world *w, struct filter *f, bool one_port, struct scenario_result *ret) {
    for (unsigned i = 0; i < RELAYS; i++)
        world_node_new(w, &(struct world_node_config){.relay = true, .one_port = one_port});
    sim_path_default(w->sim, &(struct sim_path){.delay = CV_MSEC(5)});
    SCENARIO_CHECK(sim_run_while_not(w->sim, world_relays_ready, w, CV_SEC(60)),
                   "relays not ready");
    sim_run(w->sim, sim_now(w->sim) + CV_SEC(10));
    SCENARIO_CHECK(known_to_a_viewer(w) == RELAYS, "the first eight are not told of");

    sim_hook(w->sim, pass, f);
    struct world_node *inner =
        world_node_new(w, &(struct world_node_config){.relay = true, .one_port = one_port});
    f->inner = inner->addr[NODE_SOCKET_MAIN];
    f->on = true;
    sim_run(w->sim, sim_now(w->sim) + CV_SEC(60));
    struct node_status st;
    node_status(inner->node, &st);
    unsigned known = known_to_a_viewer(w);
    snprintf(ret->note, sizeof ret->note,
             "behind the filter: %u of %u known, %u relays said that it is not there; %u kept out",
             known, RELAYS + 1, st.reach[0].not_by, f->kept_out);
    if (one_port) {
        SCENARIO_CHECK(known == RELAYS + 1, "the planted fault is not noticed");
        return true;
    }
    SCENARIO_CHECK(f->kept_out > 0, "the filter kept nothing out");
    SCENARIO_CHECK(known == RELAYS, "a viewer knows %u relays", known);
    SCENARIO_CHECK(st.reach[0].not_by > 0 && st.reach[0].by == 0, "it was told: %u yes, %u no",
                   st.reach[0].by, st.reach[0].not_by);

    f->on = false;
    sim_run(w->sim, sim_now(w->sim) + CV_SEC(180));
    node_status(inner->node, &st);
    SCENARIO_CHECK(st.reach[0].by > 0, "open, and %u say no", st.reach[0].not_by);
    SCENARIO_CHECK(known_to_a_viewer(w) == RELAYS + 1, "it is not told of when its port is open");
    return true;
}

bool scenario_reach(const struct scenario_args *args, struct scenario_result *ret) {
    bool ok = true;
    for (unsigned one_port = 0; one_port < 2 && ok; one_port++) {
        static struct filter f;
        struct scenario_result of = {0};
        f = (struct filter){.on = false};
        struct world *w = world_new(args->seed);
        ok = check(w, &f, one_port, &of);
        scenario_measure(&of, w->sim, w->nodes_count);
        if (!ok || !one_port)
            *ret = of;
        world_free(w);
    }
    return ok;
}
