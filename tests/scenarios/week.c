/*
 * The week turns: at Thursday 00:00 UTC the epoch of the ledgers, at 03:00 that of the priority
 * tokens. What relays carried for each other is settled, and who has settled asks its guards for
 * tokens, which most refuse, as scores are small. Afterwards nobody is called more often, nor
 * sends more, than before.
 *
 * Even seeds are among strangers; odd ones in a network in a hurry, where refusals are asked
 * about again soon.
 */
#include <stdio.h>

#include "node/state.h"
#include "scenarios/scenario.h"
#include "scenarios/world.h"

enum {
    RELAYS = 10,
    FILM = 15 * 1000 * 1000,
    MINIMUM = 1000 * 1000, /* octets, for which pairs of relays settle */
    BEFORE = 3600,         /* seconds, of which the last */
    SPAN = 900             /* are what is compared */
};

#define WEEK INT64_C(604800)

struct rate {
    double called, sent; /* a node-minute */
};

static void run_to(struct world *w, int64_t wall) {
    struct sim *s = w->sim;
    int64_t left = wall - sim_node_now(s, w->nodes[0]->number).wall;
    if (left > 0)
        sim_run(s, sim_now(s) + CV_SEC((uint64_t)left));
}

static struct rate look(struct world *w, int64_t from) {
    run_to(w, from);
    struct sim_counters was = *sim_counters(w->sim);
    run_to(w, from + SPAN);
    const struct sim_counters *is = sim_counters(w->sim);
    double minutes = (double)w->nodes_count * SPAN / 60;
    return (struct rate){.called = (double)(is->timeouts - was.timeouts) / minutes,
                         .sent = (double)(is->sent - was.sent) / minutes};
}

static unsigned settled(const struct world *w) {
    unsigned n = 0;
    for (unsigned i = 0; i < RELAYS; i++) {
        struct rep_stats st;
        rep_ledger_stats(w->nodes[i]->node->ledger, &st);
        n += st.released_given + st.released_taken > 0;
    }
    return n;
}

static bool check(struct world *w, bool strangers, struct scenario_result *ret) {
    struct sim *s = w->sim;
    int64_t now = sim_node_now(s, 0).wall;
    int64_t turn = (now / WEEK + 1) * WEEK;
    const struct world_node_config relay = {
        .relay = true, .strangers = strangers, .clock_off = turn - BEFORE - now};
    struct world_node_config client = relay;
    client.relay = false;
    for (unsigned i = 0; i < RELAYS; i++) {
        struct world_node *n = world_node_new(w, &relay);
        sim_crash(s, n->number);
        n->cfg.epoch_minimum = MINIMUM;
        sim_restart(s, n->number);
    }
    struct world_node *seeder = world_node_new(w, &client), *viewer = world_node_new(w, &client);
    const struct world_film *film = world_film_new(w, FILM);
    world_links(w, CV_MSEC(5), CV_MSEC(25), 0);
    SCENARIO_CHECK(sim_run_while_not(s, world_relays_ready, w, CV_SEC(900)), "relays not ready");
    world_open(seeder, film, WORLD_SEEDER, 0, false);
    SCENARIO_CHECK(sim_run_while_not(s, world_shared, w, CV_SEC(1200)), "not shared");
    world_open(viewer, film, WORLD_VIEWER, 0, false);

    struct rate before = look(w, turn - SPAN);
    struct rate epoch = look(w, turn + 3 * 3600 - 2 * SPAN);
    struct rate tokens = look(w, turn + 3 * 3600 + SPAN);
    snprintf(ret->note, sizeof ret->note,
             "%s: a node-minute has %.0f calls, %.0f datagrams; in the new epoch %.0f, %.0f, in "
             "the new week %.0f, %.0f; %u relays settled",
             strangers ? "strangers" : "in a hurry", before.called, before.sent, epoch.called,
             epoch.sent, tokens.called, tokens.sent, settled(w));
    SCENARIO_CHECK(settled(w) >= 2, "%s", ret->note);
    SCENARIO_CHECK(epoch.called < before.called * 1.2 && epoch.sent < before.sent * 1.2, "%s",
                   ret->note);
    SCENARIO_CHECK(tokens.called < before.called * 1.2 && tokens.sent < before.sent * 1.2, "%s",
                   ret->note);
    return true;
}

bool scenario_week(const struct scenario_args *args, struct scenario_result *ret) {
    struct world *w = world_new(args->seed);
    bool ok = check(w, args->seed % 2 == 0, ret);
    scenario_measure(ret, w->sim, w->nodes_count);
    world_free(w);
    return ok;
}
