/*
 * Who watches both ends: what a viewer receives from its guards, and what a seeder
 * gives to its own, counted in tenths of a second. Every viewer has a seeder and
 * habits of its own: plays, pauses, seeks. Whole nodes, the same datagrams as on a
 * wire, in virtual time; no other traffic, no jitter of a real network: the best
 * that an observer of both ends can have.
 *
 * Twice with the same seed: as it is, and with a constant rate. This file plays that
 * and writes the counts down (--csv): mode, whose line, flow, then a count a bin. Who
 * belongs together by them, and how well a constant rate must hide it, is for
 * scripts/bench/correlation, which judges real programs in the same way.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "scenarios/scenario.h"
#include "scenarios/world.h"

enum {
    RELAYS = 16,
    FLOWS = 40,
    FLOWS_MAX = WORLD_FILMS_MAX,
    BITRATE = 62500, /* octets a second: half of a Mbit/s */
    RATE = 2,        /* Mbit/s of the constant rate */
    SECONDS = 60,    /* that are looked at, unless --minutes says more */
    BEFORE = 20,     /* and those of the beginning */
    BINS_MAX = 10 * (BEFORE + 60 * 60),
};

struct flow {
    struct world_node *viewer, *seeder;
    cv_usec began;
    uint64_t at, want; /* in octets; the wish under way */
    bool wanting, playing;
    cv_usec until;          /* it does something else */
    uint16_t *entry, *exit; /* datagrams in each bin */
};

struct eye {
    struct world *w;
    unsigned flows;
    cv_usec from;
    struct flow flow[FLOWS_MAX];
    struct flow *of[WORLD_NODES_MAX + 1]; /* by number in the simulation */
    uint64_t octets;                      /* on the viewers' lines, both ways */
};

static enum sim_verdict see(void *ctx, const struct sim_datagram *d) {
    struct eye *e = ctx;
    if (d->to_node > WORLD_NODES_MAX || d->at < e->from || d->len != 1232)
        return SIM_PASS;
    struct flow *from = e->of[d->from_node], *to = e->of[d->to_node];
    uint64_t bin = (d->at - e->from) / CV_MSEC(100);
    if (bin >= BINS_MAX)
        return SIM_PASS;
    if (to && to->viewer->number == d->to_node)
        to->entry[bin]++;
    if (from && from->seeder->number == d->from_node)
        from->exit[bin]++;
    if ((to && to->viewer->number == d->to_node) || (from && from->viewer->number == d->from_node))
        e->octets += d->len;
    return SIM_PASS;
}

/* ---- a viewer's habits ---- */

#define STEP CV_MSEC(500)

static void stop_wanting(struct flow *f, struct cv_now now) {
    if (f->wanting)
        node_unwant(f->viewer->node, now, f->viewer->swarm, f->want);
    f->wanting = false;
}

static void turn(struct flow *f, cv_usec now, const struct cv_rng *rng) {
    f->playing = !f->playing || cv_rng_below(rng, 2); /* or seeks */
    if (f->playing)
        f->at = cv_rng_below(rng, f->viewer->film->octets * 3 / 4);
    f->until = now + (f->playing ? cv_rng_between(rng, CV_SEC(3), CV_SEC(12))
                                 : cv_rng_between(rng, CV_SEC(2), CV_SEC(6)));
}

static void habit(struct sim *s, void *ctx) {
    struct flow *f = ctx;
    const struct cv_rng *rng = sim_node_rng(s, f->viewer->number);
    struct cv_now now = sim_node_now(s, f->viewer->number);
    if (f->until <= now.mono)
        turn(f, now.mono, rng);
    stop_wanting(f, now);
    uint64_t end = f->viewer->film->octets;
    if (f->playing && f->at < end) { /* a player's buffer of two seconds */
        uint64_t last = f->at + 2 * BITRATE < end ? f->at + 2 * BITRATE : end;
        f->wanting = node_want(f->viewer->node, now, f->viewer->swarm, f->at, last - 1, BITRATE,
                               &f->want) == CV_ERR_OK;
        f->at += BITRATE / 2;
    }
    sim_touch(s, f->viewer->number);
    sim_at(s, sim_now(s) + STEP, habit, f);
}

static void comes(struct sim *s, void *ctx) {
    struct flow *f = ctx;
    world_open_with(f->viewer, f->seeder->film, WORLD_VIEWER, &f->viewer->swarm_cfg);
    habit(s, f);
}

/* ---- what the observer gets ---- */

static void write_counts(FILE *csv, const char *mode, const char *line, unsigned flow,
                         const uint16_t *counts, unsigned bins) {
    fprintf(csv, "%s,%s,%u", mode, line, flow);
    for (unsigned i = 0; i < bins; i++)
        fprintf(csv, ",%u", counts[i]);
    fputc('\n', csv);
}

static void write_down(const struct eye *e, FILE *csv, const char *mode, unsigned bins) {
    for (unsigned i = 0; i < e->flows; i++) {
        write_counts(csv, mode, "viewer", i, e->flow[i].entry, bins);
        write_counts(csv, mode, "seeder", i, e->flow[i].exit, bins);
    }
}

/* ---- one world ---- */

struct seen {
    uint64_t octets, watched;
    unsigned met;
};

static bool watch(struct eye *e, const struct scenario_args *args, unsigned seconds, uint8_t rate,
                  struct seen *ret) {
    struct world *w = e->w;
    struct sim *s = w->sim;
    world_relays(w, RELAYS);
    for (unsigned i = 0; i < e->flows; i++) {
        struct flow *f = &e->flow[i];
        f->viewer = world_node_new(w, &(struct world_node_config){0});
        f->seeder = world_node_new(w, &(struct world_node_config){0});
        f->viewer->swarm_cfg = (struct node_swarm_config){.constant_rate = rate, .no_share = true};
        e->of[f->viewer->number] = e->of[f->seeder->number] = f;
        f->entry = calloc(BINS_MAX, sizeof *f->entry);
        f->exit = calloc(BINS_MAX, sizeof *f->exit);
        if (!f->entry || !f->exit)
            return false;
    }
    world_links(w, CV_MSEC(5), CV_MSEC(25), 0);
    SCENARIO_CHECK(sim_run_while_not(s, world_relays_ready, w, CV_SEC(60)), "relays not ready");
    for (unsigned i = 0; i < e->flows; i++)
        world_open_with(e->flow[i].seeder, world_film_new(w, (uint64_t)BITRATE * 40), WORLD_SEEDER,
                        &(struct node_swarm_config){.constant_rate = rate});
    SCENARIO_CHECK(sim_run_while_not(s, world_shared, w, CV_SEC(120)), "not shared");
    e->from = sim_now(s);
    sim_hook(s, see, e);
    for (unsigned i = 0; i < e->flows; i++)
        sim_at(s, e->from + cv_rng_below(sim_rng(s), CV_SEC(BEFORE / 2)), comes, &e->flow[i]);
    sim_run(s, e->from + CV_SEC(BEFORE));
    uint64_t before = e->octets;
    sim_run(s, e->from + CV_SEC(BEFORE + seconds));
    ret->octets = e->octets - before;
    for (unsigned i = 0; i < e->flows; i++) {
        struct node_swarm_status st;
        ret->met += e->flow[i].viewer->peers_up > 0;
        if (node_swarm_status(e->flow[i].viewer->node, 0, &st))
            ret->watched += st.received;
    }
    if (args->csv)
        write_down(e, args->csv, rate ? "constant" : "plain", (BEFORE + seconds) * 10);
    return true;
}

static bool look(const struct scenario_args *args, unsigned flows, unsigned seconds, uint8_t rate,
                 struct seen *ret, struct scenario_result *result) {
    struct eye *e = calloc(1, sizeof *e);
    if (!e)
        return false;
    *ret = (struct seen){.met = 0};
    e->flows = flows;
    e->w = world_new(args->seed);
    bool ok = watch(e, args, seconds, rate, ret);
    scenario_measure(result, e->w->sim, e->w->nodes_count);
    world_free(e->w);
    for (unsigned i = 0; i < flows; i++) {
        free(e->flow[i].entry);
        free(e->flow[i].exit);
    }
    free(e);
    return ok;
}

bool scenario_correlation(const struct scenario_args *args, struct scenario_result *ret) {
    unsigned flows = args->nodes ? args->nodes : FLOWS;
    unsigned seconds = args->minutes ? 60 * args->minutes : SECONDS;
    struct seen open, paced;
    SCENARIO_CHECK(flows >= 2 && flows <= FLOWS_MAX, "--nodes: 2 to %d flows", FLOWS_MAX);
    SCENARIO_CHECK(seconds <= 3600, "--minutes: at most 60");
    if (!look(args, flows, seconds, 0, &open, ret) ||
        !look(args, flows, seconds, RATE, &paced, ret))
        return false;
    snprintf(ret->note, sizeof ret->note,
             "%u flows, %.1f and with the rate %.1f MB on viewers' lines", flows,
             (double)open.octets / 1e6, (double)paced.octets / 1e6);
    snprintf(ret->json, sizeof ret->json,
             "{\"flows\": %u, \"seconds\": %u, \"before\": %d, \"mbit\": %d, "
             "\"plain\": {\"octets\": %llu}, \"constant\": {\"octets\": %llu}}",
             flows, seconds, BEFORE, RATE, (unsigned long long)open.octets,
             (unsigned long long)paced.octets);
    SCENARIO_CHECK(open.met == flows && paced.met == flows, "met: %u and %u of %u", open.met,
                   paced.met, flows);
    SCENARIO_CHECK(open.watched > 0 && paced.watched > open.watched / 2, "nothing was watched: %s",
                   ret->note);
    return true;
}
