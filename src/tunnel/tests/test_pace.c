/*
 * Constant rate: when cells are due, what is on the wire between an owner and the
 * relay that keeps the rate, what that relay lets itself be made to do, and the end.
 */
#include "support/suite.h"
#include "tunnel/tests/world.h"

CV_SUITE(tun_pace);

/* ---- when ---- */

Test(tun_pace, only_five_rates_exist) {
    for (unsigned mbit = 0; mbit < 256; mbit++) {
        bool want = mbit == 1 || mbit == 2 || mbit == 4 || mbit == 8 || mbit == 16;
        cr_expect_eq(tun_pacer_is_rate(mbit), want, "%u", mbit);
    }
}

Test(tun_pace, a_second_of_ticks_is_the_rate) {
    for (unsigned mbit = 1; mbit <= TUN_PACE_MAX; mbit *= 2)
        for (int ppm = -TUN_PACE_PPM; ppm <= TUN_PACE_PPM; ppm += TUN_PACE_PPM) {
            struct tun_pacer p;
            uint64_t bits = 0;
            tun_pacer_init(&p, mbit, ppm, CV_SEC(5));
            for (cv_usec at = tun_pacer_next(&p); at <= CV_SEC(105); at = tun_pacer_next(&p)) {
                uint32_t n = tun_pacer_take(&p, at);
                cr_assert_eq(n, mbit);
                bits += (uint64_t)n * TUN_DATAGRAM * 8;
            }
            int64_t want = (int64_t)mbit * 100 * (1000000 - ppm);
            cr_expect(llabs((int64_t)bits - want) <= (int64_t)mbit * TUN_DATAGRAM * 8 * 2,
                      "%u Mbit/s, %d ppm: %lu bits", mbit, ppm, bits);
        }
}

/* clang-format off */
static const struct {
    const char *name;
    cv_usec late; /* after the last tick that was taken */
    uint32_t want;
    bool anew; /* the next tick is one from now */
} lates[] = {
    { "too early",        9855,                              0,                 false },
    { "in time",          9856,                              2,                 false },
    { "a tick late",      2 * 9856 + 5,                      4,                 false },
    { "as late as it may", TUN_PACE_LATE * 9856 + 9000,      2 * TUN_PACE_LATE, false },
    { "asleep",           CV_SEC(3600),                      2 * TUN_PACE_LATE, true  },
};
/* clang-format on */

Test(tun_pace, who_is_late_makes_up_for_some) {
    for (size_t i = 0; i < sizeof lates / sizeof *lates; i++) {
        struct tun_pacer p;
        tun_pacer_init(&p, 2, 0, 1000);
        cr_expect_eq(tun_pacer_take(&p, 1000 + lates[i].late), lates[i].want, "%s", lates[i].name);
        if (lates[i].anew)
            cr_expect_eq(tun_pacer_next(&p), 1000 + lates[i].late + TUN_PACE_TICK_US);
        cr_expect_eq(tun_pacer_take(&p, 1000 + lates[i].late), 0, "%s: twice", lates[i].name);
    }
}

Test(tun_pace, a_relay_spends_twice_what_it_hears_and_a_little_to_begin_with) {
    struct tun_pacer p;
    tun_pacer_init(&p, 4, 0, 0);
    uint32_t first = 4 * TUN_PACE_BEGIN;
    cr_expect_eq(tun_pacer_spend(&p, first + 100), first);
    cr_expect_eq(tun_pacer_spend(&p, 1), 0);
    for (unsigned i = 0; i < 10; i++)
        tun_pacer_heard(&p);
    cr_expect_eq(tun_pacer_spend(&p, 100), 20);
    for (unsigned i = 0; i < 100000; i++) /* nothing is saved up beyond that */
        tun_pacer_heard(&p);
    cr_expect_eq(tun_pacer_spend(&p, 1000000), 4 * TUN_PACE_SILENT);
}

/* ---- on the wire ---- */

enum { G, L, R, OWNER, NODES };

#define SLOT      CV_MSEC(50)
#define SLOTS_MAX 1024

struct scene {
    struct world *w;
    cv_handle circuit;
    cv_handle far; /* the last hop, at R, as its node sees it */
    cv_usec began; /* slots are counted from here */
    uint32_t seen[NODES][NODES][SLOTS_MAX];
    uint64_t total[NODES][NODES];
};

static enum sim_verdict count(void *ctx, const struct sim_datagram *d) {
    struct scene *s = ctx;
    uint64_t slot = (d->at - s->began) / SLOT;
    if (s->began && d->to_node < NODES && slot < SLOTS_MAX)
        s->seen[d->from_node][d->to_node][slot]++;
    if (d->to_node < NODES)
        s->total[d->from_node][d->to_node]++;
    return SIM_PASS;
}

static void begin_with(struct scene *s, uint64_t seed, const struct tun_config *l) {
    memset(s, 0, sizeof *s);
    s->w = world_new(&(struct sim_config){.seed = seed});
    world_relay(s->w, NULL);
    world_relay(s->w, l);
    world_relay(s->w, NULL);
    world_client(s->w, NULL);
    sim_path_default(s->w->sim, &(struct sim_path){.delay = CV_MSEC(7)});
    sim_hook(s->w->sim, count, s);
    s->circuit = world_circuit(s->w, OWNER, (const unsigned[]){G, L, R}, 3);
    cr_assert_neq(s->circuit, 0);
    /* its last hop is open to a swarm: whatever the node there sends goes back */
    uint32_t cursor = 0;
    struct tun_hop *h = tun_handles_next(&s->w->node[R].t->hops, &cursor);
    struct cv_now now = world_now(s->w, R);
    s->far = h->handle;
    h->asked = true;
    cr_assert_eq(tun_answer(s->w->node[R].t, &now, s->far, 6, TUN_CMD_OPENED, NULL, 0), CV_ERR_OK);
    sim_touch(s->w->sim, R);
    world_run(s->w, CV_SEC(1));
}

static void begin(struct scene *s, uint64_t seed) {
    begin_with(s, seed, NULL);
}

static enum cv_err pace(struct scene *s, unsigned mbit) {
    struct cv_now now = world_now(s->w, OWNER);
    enum cv_err err = tun_circuit_pace(s->w->node[OWNER].t, &now, s->circuit, mbit);
    sim_touch(s->w->sim, OWNER);
    return err;
}

static enum cv_err run_on(struct scene *s, uint32_t seconds) {
    struct cv_now now = world_now(s->w, OWNER);
    enum cv_err err = tun_circuit_run_on(s->w->node[OWNER].t, &now, s->circuit, seconds);
    sim_touch(s->w->sim, OWNER);
    return err;
}

static struct tun_hop *at(struct scene *s, unsigned relay) {
    uint32_t cursor = 0;
    return tun_handles_next(&s->w->node[relay].t->hops, &cursor);
}

static void back(struct scene *s, unsigned datagrams) {
    static const uint8_t data[1000] = {1};
    struct cv_now now = world_now(s->w, R);
    struct cv_endpoint to = cv_endpoint_circuit(s->far, 0);
    for (unsigned i = 0; i < datagrams; i++)
        (void)tun_send(s->w->node[R].t, &now, &to, data, sizeof data);
    sim_touch(s->w->sim, R);
}

static void forth(struct scene *s, unsigned datagrams) {
    static const uint8_t data[1000] = {2};
    for (unsigned i = 0; i < datagrams; i++)
        (void)world_send(s->w, OWNER, s->circuit, data, sizeof data);
}

/* What a film does in a step of 10 ms. */
enum content { NOTHING, PLAYS, PAUSES, SEEKS, TOO_MUCH, CONTENTS };
static const char *const content_names[CONTENTS] = {"nothing", "plays", "plays and pauses", "seeks",
                                                    "more than the rate"};

static void act(struct scene *s, enum content c, unsigned step) {
    bool plays = c == PLAYS || (c == PAUSES && step / 300 % 2 == 0);
    if (plays) {
        back(s, 1);
        if (step % 4 == 0)
            forth(s, 1);
    }
    if (c == SEEKS && step % 250 == 0) {
        forth(s, 12);
        back(s, 60);
    }
    if (c == TOO_MUCH) {
        forth(s, 5);
        back(s, 9);
    }
}

static void watch(struct scene *s, enum content c, cv_usec for_so_long) {
    for (unsigned step = 0; step < for_so_long / CV_MSEC(10); step++) {
        act(s, c, step);
        world_run(s->w, CV_MSEC(10));
    }
}

static bool same(const struct scene *a, const struct scene *b, unsigned from, unsigned to) {
    return memcmp(a->seen[from][to], b->seen[from][to], sizeof a->seen[from][to]) == 0;
}

/* One evening: the content ends, the rate does not yet. */
static void evening(struct scene *s, enum content c, unsigned mbit) {
    begin(s, 7);
    s->began = sim_now(s->w->sim);
    if (mbit)
        cr_assert_eq(pace(s, mbit), CV_ERR_OK);
    world_run(s->w, CV_MSEC(100)); /* nobody uses it before it is agreed on */
    watch(s, c, CV_SEC(30));
    if (mbit)
        cr_assert_eq(run_on(s, 10), CV_ERR_OK);
    world_run(s->w, CV_SEC(15));
    if (mbit)
        cr_expect_null(at(s, L), "%s: it did not end", content_names[c]);
}

Test(tun_pace, what_is_on_the_wire_does_not_depend_on_what_is_watched) {
    static struct scene none, some;
    for (unsigned mbit = 1; mbit <= 4; mbit *= 4) {
        evening(&none, NOTHING, mbit);
        for (enum content c = PLAYS; c < CONTENTS; c++) {
            evening(&some, c, mbit);
            cr_expect(same(&none, &some, OWNER, G), "%s: seen upwards", content_names[c]);
            cr_expect(same(&none, &some, G, OWNER), "%s: seen downwards", content_names[c]);
            cr_expect(same(&none, &some, G, L), "%s: seen behind the guard", content_names[c]);
            cr_expect(same(&none, &some, L, G), "%s: seen in front of it", content_names[c]);
            /* it was there, and got through */
            cr_expect_gt(some.total[R][L], none.total[R][L] + 200, "%s", content_names[c]);
            cr_expect_gt(some.w->node[OWNER].datagrams, 200, "%s", content_names[c]);
            cr_expect_gt(some.w->node[R].datagrams, 100, "%s", content_names[c]);
            world_free(some.w);
        }
        world_free(none.w);
    }
}

Test(tun_pace, without_it_everything_is_seen) {
    static struct scene none, some;
    evening(&none, NOTHING, 0);
    for (enum content c = PLAYS; c < CONTENTS; c++) {
        evening(&some, c, 0);
        cr_expect_not(same(&none, &some, OWNER, G), "%s", content_names[c]);
        cr_expect_not(same(&none, &some, G, OWNER), "%s", content_names[c]);
        world_free(some.w);
    }
    world_free(none.w);
}

Test(tun_pace, both_directions_carry_what_was_ordered) {
    static struct scene s;
    for (unsigned mbit = 1; mbit <= TUN_PACE_MAX; mbit *= 2) {
        begin(&s, mbit);
        cr_assert_eq(pace(&s, mbit), CV_ERR_OK);
        world_run(s.w, CV_SEC(1));
        static const unsigned ways[][2] = {{OWNER, G}, {G, L}, {L, G}, {G, OWNER}};
        uint64_t before[4];
        for (unsigned i = 0; i < 4; i++)
            before[i] = s.total[ways[i][0]][ways[i][1]];
        watch(&s, SEEKS, CV_SEC(10));
        for (unsigned i = 0; i < 4; i++) {
            uint64_t bits = (s.total[ways[i][0]][ways[i][1]] - before[i]) * TUN_DATAGRAM * 8;
            uint64_t want = mbit * 10000000ULL;
            cr_expect(bits > want * 99 / 100 && bits < want * 101 / 100, "%u Mbit/s: %lu bits",
                      mbit, bits);
        }
        world_free(s.w);
    }
}

/* ---- what it is not good for ---- */

/* clang-format off */
static const struct {
    const char *name;
    uint64_t octets_s; /* that L sends for others */
    unsigned asks[4];  /* circuits of one owner through one guard, in this order */
    unsigned granted;  /* so many of them */
    uint8_t workers;
} limits[] = {
    { "of half of 8 Mbit/s one link gets half", 1000000, { 1, 1, 1 },     2, 1 },
    { "too much at once",                       1000000, { 4 },           0, 1 },
    { "nothing is promised by the slowest",      200000, { 1 },           0, 1 },
    { "without a limit",                              0, { 16, 16, 16 },  3, 1 },
    { "without a limit, one engine of 16",             0, { 16, 16, 16 },  1, 16 },
};
/* clang-format on */

Test(tun_pace, a_relay_promises_no_more_than_it_has) {
    static struct scene s;
    for (size_t row = 0; row < sizeof limits / sizeof *limits; row++) {
        begin_with(&s, 3,
                   &(struct tun_config){.gate = true,
                                        .send_octets_s = limits[row].octets_s,
                                        .workers = limits[row].workers});
        unsigned granted = 0;
        for (unsigned i = 0; limits[row].asks[i]; i++) {
            s.circuit = world_circuit(s.w, OWNER, (const unsigned[]){G, L, R}, 3);
            cr_assert_neq(s.circuit, 0);
            cr_assert_eq(pace(&s, limits[row].asks[i]), CV_ERR_OK);
            world_run(s.w, CV_SEC(1));
            struct tun_circuit_info info;
            granted += tun_circuit_info(s.w->node[OWNER].t, s.circuit, &info) == CV_ERR_OK;
        }
        cr_expect_eq(granted, limits[row].granted, "%s: %u", limits[row].name, granted);
        world_free(s.w);
    }
}

Test(tun_pace, who_takes_much_more_than_he_gives_orders_nothing) {
    static struct scene s;
    begin(&s, 3);
    struct tun_hop *h = at(&s, L);
    h->prev.link->group->class = TUN_CLASS_DEBT;
    cr_assert_eq(pace(&s, 2), CV_ERR_OK);
    world_run(s.w, CV_SEC(1));
    struct tun_circuit_info info;
    cr_expect_eq(tun_circuit_info(s.w->node[OWNER].t, s.circuit, &info), CV_ERR_NOENT);
    cr_expect_eq(world_find(s.w, OWNER, TUN_EVENT_CIRCUIT_DOWN, 0)->ev.circuit_down.err,
                 CV_ERR_LIMIT);
    world_free(s.w);
}

Test(tun_pace, an_owner_who_falls_silent_is_sent_little_more) {
    static struct scene s;
    begin(&s, 3);
    cr_assert_eq(pace(&s, 8), CV_ERR_OK);
    world_run(s.w, CV_SEC(5));
    sim_path(s.w->sim, OWNER, G, &(struct sim_path){.cut = true});
    uint64_t before = s.total[L][G];
    for (unsigned i = 0; i < 2000; i++) { /* not for content either */
        back(&s, 8);
        world_run(s.w, CV_MSEC(10));
    }
    cr_expect_leq(s.total[L][G] - before, 8 * TUN_PACE_SILENT + 50, "%lu", s.total[L][G] - before);
    world_free(s.w);
}

/* A PACE as no owner of ours sends it: he says nothing else. */
static void order(struct scene *s, unsigned rate, uint32_t seconds) {
    uint8_t body[16];
    struct cv_wr w = cv_wr_init(body, sizeof body);
    tun_pace_write(&w, &(struct tun_pace){.rate = (uint8_t)rate, .seconds = seconds});
    uint32_t transaction;
    struct cv_now now = world_now(s->w, OWNER);
    cr_assert_eq(tun_circuit_request(s->w->node[OWNER].t, &now, s->circuit, 1, TUN_CMD_PACE,
                                     body + 4, cv_wr_len(&w) - 4, &transaction),
                 CV_ERR_OK);
    sim_touch(s->w->sim, OWNER);
}

Test(tun_pace, a_rate_that_is_ordered_again_and_again_brings_no_more_padding) {
    static struct scene s;
    begin(&s, 3);
    uint64_t before = s.total[L][G];
    for (unsigned i = 0; i < 4; i++) {
        order(&s, 16, 0);
        world_run(s.w, CV_MSEC(600));
        order(&s, 0, 0);
        world_run(s.w, CV_MSEC(600));
    }
    cr_expect_gt(s.w->node[L].t->count.paces_refused, 6);
    cr_expect_leq(s.total[L][G] - before, 16 * TUN_PACE_BEGIN + 100, "%lu", s.total[L][G] - before);
    world_free(s.w);
}

Test(tun_pace, a_new_circuit_brings_little_padding) {
    static struct scene s;
    begin(&s, 3);
    uint64_t in = s.total[G][L], out = s.total[L][G];
    for (unsigned i = 0; i < 5; i++) {
        s.circuit = world_circuit(s.w, OWNER, (const unsigned[]){G, L, R}, 3);
        cr_assert_neq(s.circuit, 0);
        order(&s, 16, 0);
        world_run(s.w, CV_MSEC(600));
    }
    in = s.total[G][L] - in;
    out = s.total[L][G] - out;
    cr_expect(out <= 40 * in, "%lu for %lu", out, in);
    world_free(s.w);
}

/* He begins at once, and is heard before his first answer is: what he is allowed grows. */
Test(tun_pace, a_long_way_does_not_starve_the_beginning) {
    static struct scene s;
    for (unsigned mbit = 1; mbit <= TUN_PACE_MAX; mbit *= 16) {
        begin(&s, 3);
        sim_path(s.w->sim, OWNER, G, &(struct sim_path){.delay = CV_MSEC(500)});
        sim_path(s.w->sim, G, OWNER, &(struct sim_path){.delay = CV_MSEC(500)});
        cr_assert_eq(pace(&s, mbit), CV_ERR_OK);
        world_run(s.w, CV_MSEC(520));
        cr_assert_not_null(at(&s, L)->pace);
        uint64_t before = s.total[L][G];
        world_run(s.w, CV_SEC(3));
        uint64_t bits = (s.total[L][G] - before) * TUN_DATAGRAM * 8, want = mbit * 3000000ULL;
        cr_expect(bits > want * 97 / 100 && bits < want * 103 / 100, "%u Mbit/s: %lu bits", mbit,
                  bits);
        world_free(s.w);
    }
}

/* What is promised to somebody who says nothing, or next to nothing, is free again. */
Test(tun_pace, silence_reserves_nothing) {
    static struct scene s;
    for (unsigned cells = 0; cells <= 3; cells += 3) {
        begin(&s, 3);
        order(&s, 16, 0);
        world_run(s.w, CV_SEC(1));
        cr_assert_not_null(at(&s, L)->pace);
        cv_handle first = at(&s, L)->handle;
        for (unsigned i = 0; i < 12; i++) {
            forth(&s, cells);
            world_run(s.w, CV_SEC(1));
        }
        cr_expect_null(tun_hop_get(s.w->node[L].t, first), "%u cells a second", cells);
        cr_expect(TAILQ_EMPTY(&s.w->node[L].t->paces));
        world_free(s.w);
    }
}

/* Somebody orders all that there is every five seconds, and says nothing more: whoever
 * comes in between has his rate. Who is only asked for nothing keeps his. */
Test(tun_pace, ordering_anew_and_falling_silent_reserves_nothing) {
    static struct scene s;
    begin_with(&s, 3, &(struct tun_config){.gate = true, .send_octets_s = 4000000});
    unsigned granted = 0, rounds = 4;
    for (unsigned i = 0; i < rounds; i++) {
        s.circuit = world_circuit(s.w, OWNER, (const unsigned[]){G, L, R}, 3);
        cr_assert_neq(s.circuit, 0);
        order(&s, 8, 0); /* half of 32 Mbit/s, and half of it over one link: all of it */
        world_run(s.w, CV_SEC(3));
        cr_assert_not(TAILQ_EMPTY(&s.w->node[L].t->paces), "round %u", i);
        s.circuit = world_circuit(s.w, OWNER, (const unsigned[]){G, L, R}, 3);
        cr_assert_neq(s.circuit, 0);
        cr_assert_eq(pace(&s, 4), CV_ERR_OK);
        world_run(s.w, CV_SEC(1));
        struct tun_circuit_info info;
        granted += tun_circuit_info(s.w->node[OWNER].t, s.circuit, &info) == CV_ERR_OK;
        struct cv_now now = world_now(s.w, OWNER);
        tun_circuit_close(s.w->node[OWNER].t, &now, s.circuit);
        world_run(s.w, CV_SEC(1));
    }
    cr_expect_eq(granted, rounds, "%u of %u", granted, rounds);
    world_free(s.w);
}

Test(tun_pace, a_pause_of_the_network_ends_no_rate) {
    static struct scene s;
    begin(&s, 3);
    cr_assert_eq(pace(&s, 4), CV_ERR_OK);
    world_run(s.w, CV_SEC(5));
    for (unsigned i = 0; i < 3; i++) {
        sim_path(s.w->sim, OWNER, G, &(struct sim_path){.cut = true});
        world_run(s.w, CV_SEC(4));
        sim_path(s.w->sim, OWNER, G, &(struct sim_path){.delay = CV_MSEC(7)});
        world_run(s.w, CV_SEC(8));
    }
    cr_assert_not_null(at(&s, L));
    cr_expect_not_null(at(&s, L)->pace);
    world_free(s.w);
}

Test(tun_pace, half_of_what_the_owner_sends_may_be_lost) {
    static struct scene s;
    begin(&s, 3);
    cr_assert_eq(pace(&s, 4), CV_ERR_OK);
    sim_path(s.w->sim, OWNER, G, &(struct sim_path){.delay = CV_MSEC(7), .loss_ppm = 400000});
    world_run(s.w, CV_SEC(5));
    uint64_t before = s.total[L][G];
    world_run(s.w, CV_SEC(10));
    uint64_t bits = (s.total[L][G] - before) * TUN_DATAGRAM * 8;
    cr_expect_gt(bits, 39000000, "%lu", bits);
    world_free(s.w);
}

Test(tun_pace, a_rate_is_ordered_once) {
    static struct scene s;
    begin(&s, 3);
    cr_expect_eq(pace(&s, 3), CV_ERR_INVAL);
    cr_expect_eq(run_on(&s, 10), CV_ERR_INVAL, "there is nothing to go on");
    cr_assert_eq(pace(&s, 2), CV_ERR_OK);
    cr_expect_eq(pace(&s, 2), CV_ERR_INVAL);
    cr_expect_eq(world_count(s.w, OWNER, TUN_EVENT_CIRCUIT_READY), 1);
    world_run(s.w, CV_SEC(1));
    cr_expect_eq(world_count(s.w, OWNER, TUN_EVENT_CIRCUIT_READY), 2, "agreed on");
    cr_expect_eq(run_on(&s, 0), CV_ERR_INVAL);
    cr_expect_eq(run_on(&s, TUN_PACE_RUN_ON_MAX_S + 1), CV_ERR_INVAL);
    cr_assert_eq(run_on(&s, 10), CV_ERR_OK);
    cr_expect_eq(run_on(&s, 10), CV_ERR_INVAL);
    world_free(s.w);
}

/* More content than the rate: it waits, and what waits too long is dropped. */
Test(tun_pace, what_is_too_much_does_not_wait_for_ever) {
    static struct scene s;
    begin(&s, 3);
    cr_assert_eq(pace(&s, 1), CV_ERR_OK);
    watch(&s, TOO_MUCH, CV_SEC(10));
    cr_expect_gt(s.w->node[L].t->sched.dropped_codel, 100);
    cr_expect_leq(at(&s, L)->prev.flow.count, TUN_FLOW_CELLS);
    cr_expect_gt(s.w->node[OWNER].datagrams, 900); /* of 1014 that fit */
    world_free(s.w);
}

/* ---- the end ---- */

/* clang-format off */
static const struct {
    const char *name;
    bool crash; /* else it says DESTROY */
} behinds[] = {
    { "a relay behind says that it is over", false },
    { "a relay behind falls silent",         true },
};
/* clang-format on */

/* Nobody behind the relay that keeps the rate decides when it ends. */
Test(tun_pace, who_stands_behind_ends_the_way_and_not_the_rate) {
    static struct scene s;
    for (size_t row = 0; row < sizeof behinds / sizeof *behinds; row++) {
        const char *name = behinds[row].name;
        begin(&s, 3);
        cr_assert_eq(pace(&s, 2), CV_ERR_OK);
        watch(&s, PLAYS, CV_SEC(3));
        static const unsigned ways[][2] = {{OWNER, G}, {G, L}, {L, G}, {G, OWNER}};
        uint64_t before[4];
        for (unsigned i = 0; i < 4; i++)
            before[i] = s.total[ways[i][0]][ways[i][1]];
        if (behinds[row].crash) {
            sim_crash(s.w->sim, R);
        } else {
            tun_hop_destroy(s.w->node[R].t, at(&s, R), NULL);
            sim_touch(s.w->sim, R);
        }
        for (unsigned i = 0; i < 600; i++) { /* he says something, as long as he may */
            forth(&s, 1);
            world_run(s.w, CV_MSEC(100));
        }
        for (unsigned i = 0; i < 4; i++) {
            uint64_t bits = (s.total[ways[i][0]][ways[i][1]] - before[i]) * TUN_DATAGRAM * 8;
            cr_expect(bits > 120000000ULL * 99 / 100 && bits < 120000000ULL * 101 / 100,
                      "%s: %lu bits from %u", name, bits, ways[i][0]);
        }
        cr_expect_eq(world_count(s.w, OWNER, TUN_EVENT_CIRCUIT_DOWN), 1, "%s: its user", name);
        struct cv_now now = world_now(s.w, OWNER);
        cr_expect_eq(tun_circuit_send(s.w->node[OWNER].t, &now, s.circuit, TUN_CMD_DATAGRAM, "", 0),
                     CV_ERR_NOENT, "%s", name);
        struct tun_circuit_info info = {0};
        cr_expect_eq(tun_circuit_info(s.w->node[OWNER].t, s.circuit, &info), CV_ERR_OK, "%s", name);
        cr_expect(info.runs_on_until > now.mono + CV_SEC(200) &&
                      info.runs_on_until < now.mono + CV_SEC(TUN_RUN_ON_MAX_S),
                  "%s", name);
        world_run(s.w, info.runs_on_until > now.mono ? info.runs_on_until - now.mono + CV_SEC(1)
                                                     : CV_SEC(1));
        cr_expect_null(at(&s, L), "%s: the owner said when", name);
        cr_expect_eq(tun_circuit_info(s.w->node[OWNER].t, s.circuit, &info), CV_ERR_NOENT);
        world_free(s.w);
    }
}

Test(tun_pace, it_runs_on_without_the_rest_of_the_way) {
    static struct scene s;
    begin(&s, 3);
    cr_assert_eq(pace(&s, 2), CV_ERR_OK);
    watch(&s, PLAYS, CV_SEC(3));
    struct cv_now now = world_now(s.w, OWNER);
    cr_assert_eq(run_on(&s, 100), CV_ERR_OK);
    cr_expect_eq(tun_circuit_send(s.w->node[OWNER].t, &now, s.circuit, TUN_CMD_DATAGRAM, "", 0),
                 CV_ERR_NOENT, "nobody uses it any more");
    world_run(s.w, CV_SEC(1));
    cr_expect_null(at(&s, R), "the way behind goes at once");
    cr_assert_not_null(at(&s, L));
    sim_crash(s.w->sim, R); /* and who was there is no matter */
    uint64_t up = s.total[OWNER][G], down = s.total[G][OWNER];
    world_run(s.w, CV_SEC(90));
    uint64_t cells = 90 * 2 * 1000000 / 8 / TUN_DATAGRAM;
    cr_expect(s.total[OWNER][G] - up + 2 >= cells && s.total[OWNER][G] - up <= cells + 2 + 9);
    cr_expect(s.total[G][OWNER] - down + 2 >= cells && s.total[G][OWNER] - down <= cells + 2 + 9);
    unsigned events = world_count(s.w, OWNER, TUN_EVENT_CIRCUIT_DOWN);
    cr_expect_eq(events, 0, "nobody is told");
    world_run(s.w, CV_SEC(15));
    up = s.total[OWNER][G];
    struct tun_circuit_info info;
    cr_expect_eq(tun_circuit_info(s.w->node[OWNER].t, s.circuit, &info), CV_ERR_NOENT);
    cr_expect_null(at(&s, L));
    cr_expect_null(at(&s, G));
    cr_expect_eq(s.w->node[L].t->sched.cells_queued, 0);
    world_run(s.w, CV_SEC(10));
    cr_expect_leq(s.total[OWNER][G] - up, 2, "the link lives, no more");
    world_free(s.w);
}
