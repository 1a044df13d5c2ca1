/*
 * Nothing stands still. A viewer gets content from another viewer, who got it from a
 * seeder that is gone; whatever single thing the network or a machine does to the
 * conversation, at whichever datagram of it, the viewer has everything soon after.
 * Not a sample: every datagram of the conversation has its turn.
 */
#include "support/suite.h"

#include <stdio.h>

#include "raw.h"

CV_SUITE(ppsp_liveness);

enum { CHUNK = 1024, VIEWER = 2, SERVER = 1, SEEDER = 0 };

/* What happens at datagram `at` of the second conversation, counted from 0. */
enum mishap {
    NOTHING,
    LOST,          /* it and the `width` - 1 after it */
    LOST_ONE_WAY,  /* those of them that go in its direction */
    TWICE,         /* a second copy comes `width` datagrams later */
    LATE,          /* it comes after the `width` datagrams behind it */
    SILENCE,       /* nothing arrives for `time` */
    ONE_WAY,       /* nothing arrives in its direction for `time` */
    SERVER_SLEEPS, /* its process stands still for `time`; its socket keeps what comes */
    VIEWER_SLEEPS,
    SERVER_RESTARTS, /* its process is killed, and back after `time` with its files */
    VIEWER_RESTARTS,
};

struct fate {
    enum mishap what;
    uint64_t at, width;
    cv_usec time;
};

struct stage {
    struct rig *r;
    struct fate fate;
    uint64_t count; /* datagrams of the second conversation so far */
    bool second;    /* it began */
    cv_usec began;  /* of the mishap; 0: not yet */
    unsigned from;  /* of the datagram that it hit */
    struct rig_datagram *held;
    bool killed;
    struct raw *stranger; /* calls the server once a second; NULL: does not */
    cv_usec calls_at;
};

static bool happens(struct rig *r, unsigned from, unsigned to, uint8_t *data, size_t len) {
    struct stage *g = r->tap_ctx;
    const struct fate *f = &g->fate;
    if (!g->second || from + to != SERVER + VIEWER)
        return true;
    uint64_t i = g->count++;
    if (i == f->at) {
        g->began = r->now;
        g->from = from;
    }
    if (!g->began || f->what == NOTHING)
        return true;
    bool in_time = r->now < g->began + f->time;
    bool run = i >= f->at && i < f->at + f->width;
    switch (f->what) {
    case LOST:
        return !run;
    case LOST_ONE_WAY:
        return !run || from != g->from;
    case TWICE:
    case LATE:
        if (i == f->at) {
            g->held = malloc(sizeof *g->held + len);
            cr_assert(g->held);
            *g->held = (struct rig_datagram){.from = from, .to = to, .len = len};
            memcpy(g->held->data, data, len);
        }
        return f->what == TWICE || i != f->at;
    case SILENCE:
        return !in_time;
    case ONE_WAY:
        return !in_time || from != g->from;
    case NOTHING:
    case SERVER_SLEEPS:
    case VIEWER_SLEEPS:
    case SERVER_RESTARTS:
    case VIEWER_RESTARTS:
        break;
    }
    return true;
}

/* What was held back arrives when enough others have, or nobody says anything more. */
static void let_go(struct stage *g) {
    struct rig *r = g->r;
    struct rig_datagram *d = g->held;
    if (!d || (g->count <= g->fate.at + g->fate.width && r->now < g->began + CV_SEC(1)))
        return;
    g->held = NULL;
    d->at = r->now + 1;
    d->next = r->head;
    if (!r->head)
        r->tail = &d->next;
    r->head = d;
}

/* As rig_step(), but that one of them is asleep: its datagrams wait at its door. */
static void step_without(struct rig *r, unsigned who, cv_usec until, cv_usec wakes) {
    struct rig_datagram **at = &r->head, *waiting = NULL, **last = &waiting;
    while (*at) {
        struct rig_datagram *d = *at;
        if (d->to != who) {
            at = &d->next;
            continue;
        }
        *at = d->next;
        d->at = wakes;
        d->next = NULL;
        *last = d;
        last = &d->next;
    }
    r->tail = at;
    struct ppsp *asleep = r->engine[who];
    r->engine[who] = NULL;
    rig_step(r, until < wakes ? until : wakes);
    r->engine[who] = asleep;
    *r->tail = waiting;
    if (waiting)
        r->tail = last;
}

static void kill_it(struct stage *g, unsigned who) {
    struct rig *r = g->r;
    r->engine[who] = ppsp_free(r->engine[who]);
    g->killed = true;
}

static void bring_back(struct stage *g, unsigned who) {
    struct rig *r = g->r;
    struct ppsp_swarm_config config = r->config;
    config.store_ctx = &r->store[who];
    r->engine[who] = ppsp_new(NULL, &r->rng[who]);
    cr_assert(r->engine[who]);
    cr_assert_eq(ppsp_swarm_open(r->engine[who], rig_now(r), &config, &r->swarm[who]), CV_ERR_OK);
    unsigned other = SERVER + VIEWER - who;
    cr_assert_eq(rig_connect(r, who, other, who == VIEWER), CV_ERR_OK);
}

/* A table of half-open calls that others write into forgets by age. */
static void call_of_a_stranger(struct stage *g, bool server_sleeps) {
    struct rig *r = g->r;
    if (!g->stranger || r->now < g->calls_at)
        return;
    struct ppsp_options o = raw_options(g->stranger);
    if (r->engine[SERVER] && !server_sleeps)
        (void)raw_send_handshake(g->stranger, 0, ++g->stranger->ours, &o);
    g->calls_at = r->now + CV_SEC(1);
}

static void step(struct stage *g, cv_usec until) {
    struct rig *r = g->r;
    enum mishap what = g->fate.what;
    bool at_server = what == SERVER_SLEEPS || what == SERVER_RESTARTS;
    unsigned who = at_server ? SERVER : VIEWER;
    cv_usec over = g->began ? g->began + g->fate.time : CV_USEC_NEVER;
    bool restarts = what == SERVER_RESTARTS || what == VIEWER_RESTARTS;
    bool sleeps = (what == SERVER_SLEEPS || what == VIEWER_SLEEPS) && r->now < over && g->began;
    if (restarts && g->began && !g->killed)
        kill_it(g, who);
    if (restarts && r->now >= over && !r->engine[who])
        bring_back(g, who);
    if (restarts && r->now < over)
        until = until < over ? until : over;
    call_of_a_stranger(g, sleeps && who == SERVER);
    if (g->stranger)
        until = until < g->calls_at ? until : g->calls_at;
    if (sleeps)
        step_without(r, who, until, over);
    else
        rig_step(r, until);
}

static bool has_all(const struct rig *r) {
    return r->engine[VIEWER] && rig_complete(r, VIEWER);
}

/* Says after how long the viewer had everything; NEVER: not within `limit`. */
static cv_usec play(const struct fate *fate, bool circuits, bool strangers, cv_usec limit,
                    uint64_t *ret_count) {
    enum { CHUNKS = 37 };
    struct stage g = {.r = rig_new(7, CHUNKS * CHUNK - 100, CHUNK, CV_SHA256), .fate = *fate};
    struct rig *r = g.r;
    r->circuits = circuits;
    r->delay = circuits ? CV_MSEC(40) : CV_MSEC(10);
    r->tap = happens;
    r->tap_ctx = &g;
    rig_add(r, true);
    rig_add(r, false);
    cr_assert_eq(rig_connect(r, SEEDER, SERVER, false), CV_ERR_OK);
    cr_assert_eq(rig_connect(r, SERVER, SEEDER, true), CV_ERR_OK);
    cr_assert(rig_run_complete(r, SERVER, CV_SEC(10)));
    r->engine[SEEDER] = ppsp_free(r->engine[SEEDER]);
    rig_run(r, CV_SEC(1));
    rig_add(r, false);
    g.second = true;
    g.stranger = strangers ? raw_new(r, SERVER) : NULL;
    cr_assert_eq(rig_connect(r, SERVER, VIEWER, false), CV_ERR_OK);
    cr_assert_eq(rig_connect(r, VIEWER, SERVER, true), CV_ERR_OK);
    cv_usec begun = r->now, until = r->now + limit;
    while (!has_all(r) && r->now < until) {
        step(&g, until);
        let_go(&g);
    }
    bool complete = has_all(r);
    cv_usec took = r->now - begun;
    if (ret_count)
        *ret_count = g.count;
    cr_expect(!complete || rig_equal(r, VIEWER));
    free(g.held);
    free(g.stranger);
    rig_free(r);
    return complete ? took : CV_USEC_NEVER;
}

/* Every datagram of the conversation has its turn. */
static void everywhere(struct fate fate, bool circuits, bool strangers, cv_usec bound) {
    static const struct fate none = {.what = NOTHING};
    uint64_t count;
    cv_usec worst = 0;
    cr_assert_neq(play(&none, circuits, strangers, CV_SEC(10), &count), CV_USEC_NEVER);
    for (fate.at = 0; fate.at < count; fate.at++) {
        cv_usec took = play(&fate, circuits, strangers, CV_SEC(400), NULL);
        cr_expect_leq(took, bound, "mishap %d at %lu of %lu, %lu wide, %.1f s, circuits %d: %.2f s",
                      (int)fate.what, (unsigned long)fate.at, (unsigned long)count,
                      (unsigned long)fate.width, (double)fate.time / 1e6, circuits,
                      took == CV_USEC_NEVER ? -1.0 : (double)took / 1e6);
        worst = took > worst ? took : worst;
    }
    if (getenv("CV_LIVENESS"))
        fprintf(stderr, "mishap %d, circuits %d, %lu wide, %.1f s: %lu datagrams, worst %.2f s\n",
                (int)fate.what, circuits, (unsigned long)fate.width, (double)fate.time / 1e6,
                (unsigned long)count, (double)worst / 1e6);
}

/* What is lost is said again, after times that double: a row of losses takes long. */
Test(ppsp_liveness, any_datagram_is_lost) {
    static const uint64_t widths[] = {1, 2, 3, 5};
    static const cv_usec bounds[] = {CV_SEC(2), CV_SEC(2), CV_SEC(3), CV_SEC(9)};
    for (int c = 0; c < 2; c++)
        for (size_t i = 0; i < sizeof widths / sizeof *widths; i++) {
            everywhere((struct fate){.what = LOST, .width = widths[i]}, c, false, bounds[i]);
            everywhere((struct fate){.what = LOST_ONE_WAY, .width = widths[i]}, c, false,
                       bounds[i]);
        }
}

Test(ppsp_liveness, any_datagram_comes_twice_or_late) {
    static const uint64_t widths[] = {1, 4, 20};
    for (int c = 0; c < 2; c++)
        for (size_t i = 0; i < sizeof widths / sizeof *widths; i++) {
            everywhere((struct fate){.what = TWICE, .width = widths[i]}, c, false, CV_SEC(2));
            everywhere((struct fate){.what = LATE, .width = widths[i]}, c, false, CV_SEC(2));
        }
}

static void at_any_time(enum mishap what) {
    static const cv_usec times[] = {CV_SEC(1), CV_SEC(9), CV_SEC(15), CV_SEC(40)};
    for (int c = 0; c < 2; c++)
        for (size_t i = 0; i < sizeof times / sizeof *times; i++)
            everywhere((struct fate){.what = what, .time = times[i]}, c, /* strangers= */ true,
                       2 * times[i] + CV_SEC(13));
}

Test(ppsp_liveness, silence_at_any_time) {
    at_any_time(SILENCE);
}

Test(ppsp_liveness, silence_one_way_at_any_time) {
    at_any_time(ONE_WAY);
}

Test(ppsp_liveness, the_server_sleeps_at_any_time) {
    at_any_time(SERVER_SLEEPS);
}

Test(ppsp_liveness, the_viewer_sleeps_at_any_time) {
    at_any_time(VIEWER_SLEEPS);
}

Test(ppsp_liveness, the_server_restarts_at_any_time) {
    at_any_time(SERVER_RESTARTS);
}

Test(ppsp_liveness, the_viewer_restarts_at_any_time) {
    at_any_time(VIEWER_RESTARTS);
}
