/*
 * Who watches both ends: what a viewer receives from its guards, and what a seeder
 * gives to its own, counted in tenths of a second. Every viewer has a seeder and
 * habits of its own: plays, pauses, seeks. The observer holds every viewer's counts
 * against every seeder's and says who belongs together; how often that is right is
 * the AUC, and what is found while one pair in a hundred is accused wrongly. Whole
 * nodes, the same datagrams as on a wire, in virtual time; no other traffic, no
 * jitter of a real network: the best that this observer can do.
 *
 * Twice with the same seed: as it is, and with a constant rate. In the middle, when
 * everybody has begun and nobody has ended, and with the beginnings: a seeder's
 * circuit begins when its visitor comes, and no padding hides that.
 */
#include <math.h>
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
    LAGS = 10, /* tenths of a second that the way may take */
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

/* ---- what the observer makes of it ---- */

static double pearson(const uint16_t *a, const uint16_t *b, unsigned n) {
    double sa = 0, sb = 0, saa = 0, sbb = 0, sab = 0;
    for (unsigned i = 0; i < n; i++) {
        sa += a[i];
        sb += b[i];
        saa += (double)a[i] * a[i];
        sbb += (double)b[i] * b[i];
        sab += (double)a[i] * b[i];
    }
    double va = saa - sa * sa / n, vb = sbb - sb * sb / n;
    return va > 0 && vb > 0 ? (sab - sa * sb / n) / sqrt(va * vb) : 0;
}

/* The best over the delays that the way may have: what is given is received later. */
static double alike(const struct flow *viewer, const struct flow *seeder, unsigned first,
                    unsigned n) {
    double best = -1;
    for (unsigned lag = 0; lag < LAGS; lag++) {
        double r = pearson(viewer->entry + first + lag, seeder->exit + first, n - LAGS);
        best = r > best ? r : best;
    }
    return best;
}

struct verdict {
    double auc, found; /* found: of the pairs, while 1 % of the others are accused */
};

static int by_size(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? 1 : x > y ? -1 : 0;
}

static void judge(const struct eye *e, unsigned first, unsigned bins, struct verdict *ret) {
    static double pairs[FLOWS_MAX], others[FLOWS_MAX * FLOWS_MAX];
    unsigned n = 0;
    for (unsigned i = 0; i < e->flows; i++)
        for (unsigned j = 0; j < e->flows; j++) {
            double r = alike(&e->flow[i], &e->flow[j], first, bins);
            if (i == j)
                pairs[i] = r;
            else
                others[n++] = r;
        }
    qsort(others, n, sizeof *others, by_size);
    double line = others[n / 100]; /* whoever is above it is accused */
    *ret = (struct verdict){0};
    for (unsigned i = 0; i < e->flows; i++) {
        ret->found += pairs[i] > line;
        for (unsigned j = 0; j < n; j++)
            ret->auc += pairs[i] > others[j] ? 1 : pairs[i] == others[j] ? 0.5 : 0;
    }
    ret->auc /= (double)e->flows * n;
    ret->found /= e->flows;
}

/* ---- one world ---- */

struct seen {
    struct verdict middle, whole;
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
    judge(e, BEFORE * 10, seconds * 10, &ret->middle);
    judge(e, 0, (BEFORE + seconds) * 10, &ret->whole);
    (void)args;
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
    double overhead = open.octets ? (double)paced.octets / (double)open.octets : 0;
    snprintf(ret->note, sizeof ret->note,
             "%u flows, AUC %.3f, with the rate %.3f; with the beginnings %.3f and %.3f; x%.1f "
             "octets",
             flows, open.middle.auc, paced.middle.auc, open.whole.auc, paced.whole.auc, overhead);
    snprintf(ret->json, sizeof ret->json,
             "{\"flows\": %u, \"seconds\": %u, \"mbit\": %d, "
             "\"plain\": {\"auc\": %.4f, \"found\": %.4f, \"auc_from_the_beginning\": %.4f, "
             "\"found_from_the_beginning\": %.4f, \"octets\": %llu}, "
             "\"constant\": {\"auc\": %.4f, \"found\": %.4f, \"auc_from_the_beginning\": %.4f, "
             "\"found_from_the_beginning\": %.4f, \"octets\": %llu}, \"overhead\": %.3f}",
             flows, seconds, RATE, open.middle.auc, open.middle.found, open.whole.auc,
             open.whole.found, (unsigned long long)open.octets, paced.middle.auc,
             paced.middle.found, paced.whole.auc, paced.whole.found,
             (unsigned long long)paced.octets, overhead);
    SCENARIO_CHECK(open.met == flows && paced.met == flows, "met: %u and %u of %u", open.met,
                   paced.met, flows);
    SCENARIO_CHECK(open.watched > 0 && paced.watched > open.watched / 2, "nothing was watched: %s",
                   ret->note);
    SCENARIO_CHECK(open.middle.auc > 0.9, "the observer is blind: %s", ret->note);
    SCENARIO_CHECK(paced.middle.auc < open.middle.auc, "it hides nothing: %s", ret->note);
    return true;
}
