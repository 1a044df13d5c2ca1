/*
 * Relays with one, two and three workers each, one of them restarted in between: a film
 * goes over the hidden path between them, though messages of their workers get lost and some
 * of these have no time for a while; and in the end every two relays hold the same count of
 * what they gave each other, whichever workers' links it went over.
 */
#include <stdio.h>
#include <string.h>

#include "node/state.h"
#include "reputation/ledger.h"
#include "scenarios/scenario.h"
#include "scenarios/world.h"

enum {
    RELAYS = 9,
    FILM = 2 << 20,
    LOSE = 100, /* one message in so many, of those that may be */
};

/* What `a` counts as given to and taken from `b`, octets. */
static void row(const struct world_node *a, const struct world_node *b, uint64_t *ret_given,
                uint64_t *ret_taken) {
    void *cursor = NULL;
    struct rep_row r;
    *ret_given = *ret_taken = 0;
    while (rep_ledger_row(a->node->ledger, &cursor, &r))
        if (memcmp(r.peer, b->cfg.identity_secret.public_key, CV_KEY) == 0) {
            *ret_given = r.pending_given;
            *ret_taken = r.pending_taken;
        }
}

/* Pairs with something between them, or 0 when two do not agree. */
static unsigned agreed(const struct world *w, uint64_t *ret_octets) {
    unsigned pairs = 0;
    *ret_octets = 0;
    for (unsigned i = 0; i < RELAYS; i++)
        for (unsigned k = 0; k < i; k++) {
            uint64_t given, taken, back, got;
            row(w->nodes[i], w->nodes[k], &given, &taken);
            row(w->nodes[k], w->nodes[i], &back, &got);
            if (given != got || taken != back)
                return 0;
            pairs += given + taken > 0;
            *ret_octets += given + taken;
        }
    return pairs;
}

/* Workers other than the first that carry a circuit now. */
static unsigned busy(const struct world *w) {
    unsigned n = 0;
    for (unsigned i = 0; i < RELAYS; i++)
        for (unsigned k = 1; k < w->nodes[i]->cfg.relay_workers; k++)
            n += tun_counters(w->nodes[i]->workers[k])->hops > 0;
    return n;
}

struct cast {
    struct world_node *viewer;
    const struct world_film *film;
};

/* Relays of one to three workers are there, and a film is shared. */
static bool begin(struct world *w, uint32_t loss_ppm, struct cast *cast) {
    struct sim *s = w->sim;
    for (unsigned i = 0; i < RELAYS; i++)
        world_node_new(w,
                       &(struct world_node_config){.relay = true, .workers = (uint8_t)(1 + i % 3)});
    struct world_node *seeder = world_node_new(w, &(struct world_node_config){0});
    cast->viewer = world_node_new(w, &(struct world_node_config){0});
    cast->film = world_film_new(w, FILM);
    world_links(w, CV_MSEC(5), CV_MSEC(20), loss_ppm);
    SCENARIO_CHECK(sim_run_while_not(s, world_relays_ready, w, CV_SEC(60)), "relays not ready");
    world_open(seeder, cast->film, WORLD_SEEDER, 0, false);
    SCENARIO_CHECK(sim_run_while_not(s, world_shared, w, CV_SEC(120)), "not shared");
    return true;
}

static bool check(struct world *w, struct scenario_result *ret) {
    struct sim *s = w->sim;
    struct cast c;
    if (!begin(w, 1000, &c))
        return false;
    for (unsigned i = 0; i < RELAYS; i++)
        w->nodes[i]->messages_lose = LOSE;
    cv_usec shared = sim_now(s);
    world_open(c.viewer, c.film, WORLD_VIEWER, 0, true);
    sim_run(s, shared + CV_MSEC(700));
    sim_crash(s, w->nodes[2]->number); /* three workers; mid-film, if it is in the way */
    for (unsigned i = 3; i < RELAYS; i++)
        w->nodes[i]->worker_stalled = w->nodes[i]->cfg.relay_workers > 1;
    sim_run(s, sim_now(s) + CV_SEC(2));
    sim_restart(s, w->nodes[2]->number);
    for (unsigned i = 3; i < RELAYS; i++)
        if (w->nodes[i]->worker_stalled)
            world_worker_resume(w->nodes[i]);
    unsigned carrying = busy(w);
    SCENARIO_CHECK(sim_run_while_not(s, world_all_complete, w, shared + CV_SEC(120)),
                   "not complete");
    cv_usec got = sim_now(s);
    SCENARIO_CHECK(world_stores_match(w), "wrong octets");
    SCENARIO_CHECK(carrying > 3, "%u workers beside the first carry something", carrying);
    unsigned lost = 0, waited = 0;
    for (unsigned i = 0; i < RELAYS; i++) {
        lost += (w->nodes[i]->messages_counted + LOSE - 1) / LOSE;
        waited += w->nodes[i]->messages_waited;
    }
    SCENARIO_CHECK(lost > 0, "no message was lost: nothing is tested");
    snprintf(ret->note, sizeof ret->note,
             "got in %.2f s, %u workers beside the first carry, %u messages lost, %u waited",
             (double)(got - shared) / 1e6, carrying, lost, waited);
    return true;
}

/* Without a crash and without loss nothing is in doubt. */
static bool count(struct world *w, struct scenario_result *ret) {
    struct sim *s = w->sim;
    struct cast c;
    if (!begin(w, 0, &c))
        return false;
    world_open(c.viewer, c.film, WORLD_VIEWER, 0, true);
    SCENARIO_CHECK(sim_run_while_not(s, world_all_complete, w, sim_now(s) + CV_SEC(120)),
                   "not complete");
    uint64_t octets;
    unsigned pairs = 0;
    for (unsigned tries = 0; tries < 50 && !pairs; tries++) {
        sim_run(s, sim_now(s) + CV_MSEC(300)); /* what is on its way, or not told yet */
        pairs = agreed(w, &octets);
    }
    SCENARIO_CHECK(pairs >= 3, "%u pairs of relays agree", pairs);
    SCENARIO_CHECK(octets > 3 * (uint64_t)FILM, "%lu octets counted", octets);
    size_t used = strlen(ret->note);
    snprintf(ret->note + used, sizeof ret->note - used, "; %u pairs agree on %.1f MB", pairs,
             (double)octets / 1e6);
    return true;
}

bool scenario_workers(const struct scenario_args *args, struct scenario_result *ret) {
    bool ok = true;
    for (unsigned part = 0; part < 2 && ok; part++) {
        struct world *w = world_new(args->seed);
        ok = part ? count(w, ret) : check(w, ret);
        scenario_measure(ret, w->sim, w->nodes_count);
        world_free(w);
    }
    return ok;
}
