/*
 * Clocks that are wrong by up to ten minutes, around 03:00 UTC, when everybody goes over to
 * other descriptors, and around the second at which a film's slots turn. Somebody who comes
 * for the first time, from eleven minutes before to eleven after, has the first chunk as soon as
 * when nobody is across the turn.
 *
 * A seed is one world: the error of the seeders' clocks, those of the relays' (all the same, or
 * each another), and what turns. In each world viewers with all three errors come at all
 * moments, to a film that was there long before and, at 03:00, to one that is shared just then.
 * CELLS seeds are all there is; what follows is the same with other dice.
 */
#include <stdio.h>

#include "base/time.h"
#include "scenarios/scenario.h"
#include "scenarios/world.h"
#include "tunnel/limits.h"
#include "tunnel/slot.h"

enum {
    RELAYS = 8,
    FILM = 20000,
    BEFORE = 2100, /* seconds; relays that are ahead begin before the turn, too, */
    SETTLED = 600, /* and have told each other of the day to come */
    FRESH = 20,    /* how long before a newcomer something is shared "just then" */
    ERRORS = 3,    /* of one clock; relays may have each another */
    MOMENTS = 9,
    CELLS = 2 * ERRORS * (ERRORS + 1),
};

/* Where nobody is across it takes 2 s from an empty folder; half of that more is for the dice. */
#define SOON CV_SEC(3)

static const int64_t error_of[] = {-TUN_CLOCK_OFF_S, TUN_CLOCK_OFF_S, 0};
/* Seconds after the turn. At the first one nobody is across, whatever his clock. */
static const int64_t moment[MOMENTS] = {-1260, -660, -540, -300, -60, 60, 300, 540, 660};

struct run {
    struct world *w;
    int64_t base; /* what all clocks are ahead of the simulator's own */
    int64_t turn; /* of whatever turns, Unix seconds by right clocks */
    int64_t seeder_off;
    unsigned relays; /* which error; ERRORS: each another */
    unsigned came;
    cv_usec usual, longest; /* to the first chunk: where nobody is across, and after that */
};

static struct world_node *client(struct run *r, int64_t off) {
    return world_node_new(r->w, &(struct world_node_config){.clock_off = r->base + off});
}

static int64_t wall(const struct run *r) {
    return sim_node_now(r->w->sim, 0).wall + r->base;
}

static void run_until(struct run *r, int64_t at) {
    int64_t left = at - wall(r);
    if (left > 0)
        sim_run(r->w->sim, sim_now(r->w->sim) + CV_SEC((uint64_t)left));
}

/* The next time at which this film's slots turn. */
static int64_t film_turns(const struct run *r, const struct world_film *f) {
    struct tun_swarm_secret s;
    tun_swarm_derive(&s, f->uri.network_id, f->uri.swarm_id, f->uri.swarm_id_len, NULL);
    return tun_swarm_period_begins(&s, tun_swarm_period(&s, wall(r)) + 1);
}

static bool has_some(struct world_node *n) {
    struct node_swarm_status st;
    return node_swarm_status(n->node, 0, &st) && st.have > 0;
}

/* Whoever has something goes: the next one meets seeders alone. */
static bool newcomer(struct run *r, const struct world_film *f, int64_t off, int64_t at,
                     const char *film) {
    struct sim *s = r->w->sim;
    struct world_node *n = client(r, off);
    cv_usec began = sim_now(s);
    world_open(n, f, WORLD_VIEWER, 0, true);
    while (!has_some(n) && sim_now(s) - began < 2 * SOON)
        sim_run(s, sim_now(s) + CV_MSEC(50));
    bool came = has_some(n);
    cv_usec took = sim_now(s) - began;
    sim_crash(s, n->number);
    cv_usec *most = at == moment[0] ? &r->usual : &r->longest;
    *most = took > *most ? took : *most;
    r->came++;
    SCENARIO_CHECK(came && took <= SOON,
                   "%s film, seeder %+lld s, viewer %+lld s, %+lld s from the turn: %s %.2f s",
                   film, (long long)r->seeder_off, (long long)off, (long long)at,
                   came ? "first chunk after" : "nothing in", (double)took / 1e6);
    return true;
}

/* One of each error; not at once, as a seeder follows only so many introductions. */
static bool newcomers(struct run *r, const struct world_film *f, int64_t at, const char *film) {
    bool ok = true;
    for (unsigned i = 0; i < ERRORS; i++) {
        ok &= newcomer(r, f, error_of[i], at, film);
        sim_run(r->w->sim, sim_now(r->w->sim) + CV_SEC(5));
    }
    return ok;
}

static bool shared(struct run *r, const struct world_film *f, cv_usec within) {
    world_open(client(r, r->seeder_off), f, WORLD_SEEDER, 0, false);
    return sim_run_while_not(r->w->sim, world_shared, r->w, sim_now(r->w->sim) + within);
}

static bool check(struct run *r, bool of_day) {
    struct world *w = r->w;
    const struct world_film *old = world_film_new(w, FILM);
    r->turn = of_day ? ((int64_t)cv_day(wall(r)) + 1) * 86400 + 3 * 3600 : film_turns(r, old);
    r->base = r->turn - BEFORE - wall(r);
    for (unsigned i = 0; i < RELAYS; i++) {
        int64_t off = error_of[r->relays < ERRORS ? r->relays : i % ERRORS];
        world_node_new(w, &(struct world_node_config){.relay = true, .clock_off = r->base + off});
    }
    sim_path_default(w->sim, &(struct sim_path){.delay = CV_MSEC(15)});
    sim_run(w->sim, CV_SEC(SETTLED));
    SCENARIO_CHECK(shared(r, old, CV_SEC(60)), "not shared");
    bool ok = true;
    for (unsigned m = 0; m < MOMENTS; m++) {
        const struct world_film *fresh = of_day ? world_film_new(w, FILM) : NULL;
        run_until(r, r->turn + moment[m] - FRESH);
        if (fresh && !shared(r, fresh, CV_SEC(FRESH)))
            ok = scenario_failed(__FILE__, __LINE__, "not shared %+lld s from the turn",
                                 (long long)moment[m]);
        run_until(r, r->turn + moment[m]);
        ok &= newcomers(r, old, moment[m], "old");
        if (fresh)
            ok &= newcomers(r, fresh, moment[m], "fresh");
    }
    return ok;
}

bool scenario_clocks(const struct scenario_args *args, struct scenario_result *ret) {
    static const char *const relays[] = {"behind", "ahead", "right", "mixed"};
    uint64_t cell = (args->seed - 1) % CELLS;
    bool of_day = cell % 2 == 0;
    struct run r = {.w = world_new(args->seed),
                    .seeder_off = error_of[cell / 2 % ERRORS],
                    .relays = (unsigned)(cell / 2 / ERRORS)};
    bool ok = check(&r, of_day);
    snprintf(ret->note, sizeof ret->note,
             "%s, seeders %+lld s, relays %s: %u newcomers, %.2f s at most, usually %.2f s",
             of_day ? "03:00" : "slots", (long long)r.seeder_off, relays[r.relays], r.came,
             (double)r.longest / 1e6, (double)r.usual / 1e6);
    scenario_measure(ret, r.w->sim, r.w->nodes_count);
    world_free(r.w);
    return ok;
}
