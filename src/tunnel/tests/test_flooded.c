/*
 * A hidden seeder that is asked by more than it can answer, in a village of eight
 * relays: somebody who knows the swarm sends introductions that open, each to a
 * rendezvous that does not wait, as fast as the points pass them on. A viewer gets in all
 * the same, because it works for it and the flood does not; the same seeder that never
 * asks for work is the planted fault, and there the viewer stays outside.
 */
#include "crypto/rng_seeded.h"
#include "support/suite.h"
#include "tunnel/hiddenstate.h"
#include "tunnel/tests/village.h"

CV_SUITE(tun_flooded);

enum { RELAYS = 8, EVERY_MS = 125, GRIND = 8 };

struct scene {
    struct village *v;
    unsigned seeder, flooder;
    cv_handle share;
    struct tun_hidden *h; /* the seeder's */
    cv_handle circuit[TUN_INTRO_POINTS];
    struct tun_contact contact[TUN_INTRO_POINTS]; /* at which these end */
    struct cv_rng_seeded dice;
    uint32_t transaction;
};

static struct scene begin(uint64_t seed) {
    struct scene s = {.v = village_new(&(struct sim_config){.seed = seed}, RELAYS)};
    sim_path_default(s.v->w->sim, &(struct sim_path){.delay = CV_MSEC(5)});
    world_run(s.v->w, CV_SEC(3));
    s.seeder = village_client(s.v);
    s.share = village_share(s.v, s.seeder, "film", false);
    s.flooder = village_client(s.v);
    world_run(s.v->w, CV_SEC(5));
    s.h = village_hidden(s.v, s.seeder, s.share);
    cv_rng_seeded_init(&s.dice, seed);
    return s;
}

static struct tun_hidden_info info(const struct scene *s) {
    struct tun_hidden_info i;
    cr_assert_eq(tun_hidden_info(s->v->w->node[s->seeder].t, s->share, &i), CV_ERR_OK);
    return i;
}

/* ---- the flood ---- */

/* A circuit of the flooder's to each introduction point that there is. */
static void keep_circuits(struct scene *s) {
    struct tun_contact c[TUN_INTRO_POINTS];
    struct tunnel *t = s->v->w->node[s->flooder].t;
    unsigned n = tun_seeder_contacts(s->h, c, TUN_INTRO_POINTS);
    for (unsigned i = 0; i < n; i++) {
        struct tun_circuit_info have;
        bool there = tun_circuit_info(t, s->circuit[i], &have) == CV_ERR_OK;
        if (there && memcmp(s->contact[i].ip, c[i].ip, CV_KEY) == 0) {
            s->contact[i] = c[i];
            continue;
        }
        struct cv_now now = world_now(s->v->w, s->flooder);
        if (there)
            tun_circuit_close(t, &now, s->circuit[i]);
        s->contact[i] = c[i];
        if (tun_circuit_open(t, &now, TUN_PURPOSE_INTRODUCE, c[i].ip, &s->circuit[i]))
            s->circuit[i] = 0;
        sim_touch(s->v->w->sim, s->flooder);
    }
}

/* What a member of the swarm can write, for what the seeder is at a time: it opens, and costs
 * a circuit. */
static void write_flight_for(struct scene *s, const struct tun_contact *c,
                             const struct tun_period_secret *keys, uint8_t *flight) {
    const struct cv_rng rng = cv_rng_seeded(&s->dice);
    struct world *w = s->v->w;
    struct tun_meeting where;
    unsigned rp = (unsigned)cv_rng_below(&rng, RELAYS);
    memcpy(where.rp, w->node[rp].identity_secret.public_key, CV_KEY);
    struct tun_relay_ref ref;
    world_ref(w, rp, &ref);
    memcpy(where.d, ref.d, sizeof where.d);
    cv_rng_fill(&rng, where.cookie, sizeof where.cookie);
    struct tun_e2e_context ctx;
    memcpy(ctx.network_id, "testnet\0", 8);
    memcpy(ctx.ip, c->ip, CV_KEY);
    memcpy(ctx.auth, c->auth, CV_KEY);
    struct cv_noise noise;
    cr_assert_eq(tun_e2e_create_1(&noise, flight, &ctx, keys, c->service, &where, &rng), CV_ERR_OK);
    cv_noise_done(&noise);
}

static void write_flight(struct scene *s, const struct tun_contact *c, uint8_t *flight) {
    write_flight_for(s, c, &s->h->seeder->now.keys, flight);
}

static void send_introduction(struct scene *s, unsigned i, const uint8_t *flight,
                              const uint8_t *stamp) {
    struct tun_circuit_info have;
    struct tunnel *t = s->v->w->node[s->flooder].t;
    if (tun_circuit_info(t, s->circuit[i], &have) || !have.ready)
        return;
    struct tun_introduce msg = {
        .transaction = ++s->transaction, .flight = flight, .flight_len = TUN_E2E_FLIGHT1};
    memcpy(msg.auth_key, s->contact[i].auth, CV_KEY);
    memcpy(msg.stamp, stamp, sizeof msg.stamp);
    uint8_t body[TUN_MTU_FORWARD];
    struct cv_wr wr = cv_wr_init(body, sizeof body);
    tun_introduce_write(&wr, &msg);
    struct cv_now now = world_now(s->v->w, s->flooder);
    (void)tun_circuit_send(t, &now, s->circuit[i], TUN_CMD_INTRODUCE, body, cv_wr_len(&wr));
    sim_touch(s->v->w->sim, s->flooder);
}

/* Through each point, with so much work as to be before whoever does none. */
static void flood_once(struct scene *s) {
    const struct cv_rng rng = cv_rng_seeded(&s->dice);
    keep_circuits(s);
    for (unsigned i = 0; i < TUN_INTRO_POINTS; i++) {
        uint8_t flight[TUN_E2E_FLIGHT1];
        struct tun_stamp_search search;
        const struct tun_contact *c = &s->contact[i];
        if (!s->circuit[i])
            continue;
        write_flight(s, c, flight);
        tun_stamp_begin(&search, GRIND, c->service, s->h->seeder->now.keys.period, flight,
                        sizeof flight, &rng);
        while (!tun_stamp_try(&search, 1000))
            ;
        send_introduction(s, i, flight, tun_stamp_get(&search));
    }
}

static void flood(struct scene *s, cv_usec for_so_long) {
    for (cv_usec end = sim_now(s->v->w->sim) + for_so_long; sim_now(s->v->w->sim) < end;) {
        flood_once(s);
        world_run(s->v->w, CV_MSEC(EVERY_MS));
    }
}

/* How long a new viewer takes to be met while the flood goes on; `most`: not met. */
static cv_usec meets(struct scene *s, cv_usec most) {
    unsigned viewer = village_client(s->v);
    cv_handle view = village_view(s->v, viewer, "film");
    cv_usec began = sim_now(s->v->w->sim);
    while (sim_now(s->v->w->sim) - began < most && !village_up(s->v, viewer, view))
        flood(s, CV_MSEC(EVERY_MS));
    cv_usec took = sim_now(s->v->w->sim) - began;
    return village_up(s->v, viewer, view) && took < most ? took : most;
}

/* ---- a viewer gets in ---- */

Test(tun_flooded, a_viewer_gets_in_because_it_works_and_not_without) {
    enum { SEEDS = 3 };
    cv_usec with = 0, without = 0, most = CV_SEC(25);
    for (uint64_t seed = 1; seed <= SEEDS; seed++)
        for (unsigned planted = 0; planted < 2; planted++) {
            struct scene s = begin(seed);
            if (planted)
                s.h->seeder->effort.most = 0;
            flood(&s, CV_SEC(15));
            struct tun_hidden_info before = info(&s);
            cr_expect_eq(before.effort, planted ? 0 : TUN_EFFORT_FIRST, "seed %lu: %u", seed,
                         before.effort);
            cr_expect(planted || before.below > 20, "seed %lu: %u below", seed, before.below);
            cr_expect_gt(before.refused, 20, "seed %lu: no flood", seed);
            cv_usec took = meets(&s, most);
            cr_expect(planted || took <= CV_SEC(8), "seed %lu: after %lu us", seed, took);
            *(planted ? &without : &with) += took;
            village_free(s.v);
        }
    cr_expect_geq(without, SEEDS * most * 3 / 4, "%lu us without", without);
    cr_expect_leq(with * 4, without, "%lu us, %lu without", with, without);
}

/* A seeder that is found by few slots does not write them again and again for a flood; and
 * when it is over, it asks nothing. */
Test(tun_flooded, what_is_asked_goes_when_the_flood_does_and_is_written_rarely) {
    struct scene s = begin(11);
    unsigned puts = s.v->puts;
    flood(&s, CV_SEC(60));
    cr_expect_eq(info(&s).effort, TUN_EFFORT_FIRST);
    cr_expect_leq(s.v->puts - puts, 2 * 6, "%u puts", s.v->puts - puts);
    puts = s.v->puts;
    world_run(s.v->w, CV_SEC(TUN_EFFORT_CALM * 2 + 20));
    cr_expect_eq(info(&s).effort, 0);
    cr_expect_leq(s.v->puts - puts, 6, "%u puts", s.v->puts - puts);
    unsigned viewer = village_client(s.v);
    cv_handle view = village_view(s.v, viewer, "film");
    cr_expect(village_meet(s.v, viewer, view, 1, CV_SEC(5)));
    village_free(s.v);
}

/* For a second no point passes anything on: nobody's fault, and no contact is put aside. */
Test(tun_flooded, a_busy_point_is_asked_again_soon) {
    struct scene s = begin(12);
    for (unsigned i = 0; i < RELAYS; i++) {
        uint32_t cursor = 0;
        struct tun_hop *hop;
        while ((hop = tun_handles_next(&s.v->w->node[i].t->hops, &cursor)))
            if (hop->is_intro)
                cv_tokenbucket_init(&hop->introductions, 0, 0, world_now(s.v->w, i).mono);
    }
    unsigned viewer = village_client(s.v);
    cv_handle view = village_view(s.v, viewer, "film");
    cr_expect_not(village_meet(s.v, viewer, view, 1, CV_SEC(2)));
    for (unsigned i = 0; i < RELAYS; i++) {
        uint32_t cursor = 0;
        struct tun_hop *hop;
        while ((hop = tun_handles_next(&s.v->w->node[i].t->hops, &cursor)))
            if (hop->is_intro)
                cv_tokenbucket_init(&hop->introductions, 5, 20, world_now(s.v->w, i).mono);
    }
    cr_expect(village_meet(s.v, viewer, view, 1, CV_SEC(1)));
    cr_expect_eq(info(&s).replayed, 0);
    village_free(s.v);
}

/* ---- what is refused ---- */

/* Introductions that were opened and not known. */
static unsigned opened(const struct scene *s) {
    return s->h->seeder->intake.replays;
}

Test(tun_flooded, a_stamp_is_good_once) {
    struct scene s = begin(21);
    const struct cv_rng rng = cv_rng_seeded(&s.dice);
    uint8_t flight[TUN_E2E_FLIGHT1];
    struct tun_stamp_search search[2];
    s.h->seeder->effort.asked = s.h->seeder->effort.required = TUN_EFFORT_FIRST;
    keep_circuits(&s);
    world_run(s.v->w, CV_SEC(1));
    write_flight(&s, &s.contact[0], flight);
    for (unsigned k = 0; k < 2; k++) {
        tun_stamp_begin(&search[k], k ? TUN_EFFORT_FIRST : 1, s.contact[0].service,
                        s.h->seeder->now.keys.period, flight, sizeof flight, &rng);
        while (!tun_stamp_try(&search[k], 1000))
            ;
    }
    if (tun_stamp_effort(tun_stamp_get(&search[0]), s.contact[0].service,
                         s.h->seeder->now.keys.period, flight, sizeof flight) < TUN_EFFORT_FIRST) {
        send_introduction(&s, 0, flight, tun_stamp_get(&search[0]));
        world_run(s.v->w, CV_MSEC(100));
        cr_expect_eq(info(&s).below, 1);
        cr_expect_eq(opened(&s), 0);
    }
    for (unsigned k = 0; k < 3; k++) {
        send_introduction(&s, 0, flight, tun_stamp_get(&search[1]));
        world_run(s.v->w, CV_MSEC(100));
        cr_expect_eq(info(&s).replayed, k, "%u", info(&s).replayed);
        cr_expect_eq(opened(&s), 1);
    }
    /* with more work on it, it is the same one */
    tun_stamp_begin(&search[0], TUN_EFFORT_FIRST + 1, s.contact[0].service,
                    s.h->seeder->now.keys.period, flight, sizeof flight, &rng);
    while (!tun_stamp_try(&search[0], 1000))
        ;
    send_introduction(&s, 0, flight, tun_stamp_get(&search[0]));
    world_run(s.v->w, CV_MSEC(100));
    cr_expect_eq(info(&s).replayed, 3);
    cr_expect_eq(opened(&s), 1);
    village_free(s.v);
}

/* A point that is up. */
static struct tun_point *point_of(struct scene *s) {
    struct tun_point *p = s->h->seeder->point;
    while (p < s->h->seeder->point + TUN_POINTS && p->state != TUN_POINT_UP)
        p++;
    cr_assert_lt(p, s->h->seeder->point + TUN_POINTS);
    return p;
}

/* What the point passes on, without a network in between. */
static void pass_on(struct scene *s, struct tun_point *p, const uint8_t *stamp,
                    const uint8_t *flight) {
    uint8_t body[CV_KEY + TUN_STAMP + TUN_E2E_FLIGHT1];
    memcpy(body, p->auth_secret.public_key, CV_KEY);
    memcpy(body + CV_KEY, stamp, TUN_STAMP);
    memcpy(body + CV_KEY + TUN_STAMP, flight, TUN_E2E_FLIGHT1);
    tun_seeder_on_reply(s->h, &p->road,
                        &(struct tun_event){.kind = TUN_EVENT_REPLY,
                                            .reply = {.command = TUN_CMD_INTRODUCTION,
                                                      .circuit = p->road.circuit,
                                                      .body = body,
                                                      .len = sizeof body}});
}

/* A point that passes on more than any may: it is not even looked at. */
Test(tun_flooded, a_point_that_keeps_no_limit_is_held_to_twice_of_it) {
    struct scene s = begin(22);
    struct tun_point *p = point_of(&s);
    uint8_t flight[TUN_E2E_FLIGHT1] = {0};
    for (unsigned i = 0; i < 1000; i++) {
        flight[sizeof flight - 1] = (uint8_t)i;
        pass_on(&s, p, (const uint8_t[TUN_STAMP]){0}, flight);
    }
    cr_expect_eq(info(&s).introductions, 1000);
    cr_expect_eq(info(&s).refused, 1000 - 8 * TUN_INTRODUCTIONS_S, "%u", info(&s).refused);
    village_free(s.v);
}

/* In the hour after a turn both services are there. A stamp that shows more for the one than
 * anybody in the queue may stand on a flight that opens with the other, for which it shows
 * nothing: then there is no place for it. */
Test(tun_flooded, a_stamp_for_one_service_makes_no_room_for_what_opens_with_the_other) {
    enum { EFFORT = 8 };
    struct scene s = begin(23);
    const struct cv_rng rng = cv_rng_seeded(&s.dice);
    struct tun_seeder *seeder = s.h->seeder;
    cv_usec now = world_now(s.v->w, s.seeder).mono;
    struct tun_service *before = &seeder->before;
    before->set = true;
    seeder->before_until = now + CV_SEC(3600);
    tun_period_derive(&before->keys, &s.h->swarm_secret, seeder->now.keys.period - 1);
    cv_x25519_from_seed(&before->service_secret, (const uint8_t[CV_KEY]){23});

    cv_tokenbucket_init(&seeder->introductions, 0, 0, now); /* nobody is answered */
    for (unsigned i = 0; i < TUN_INTRO_QUEUE; i++)
        tun_intake_put(&seeder->intake,
                       &(struct tun_waiting){.effort = EFFORT, .until = now + CV_SEC(3600)});

    struct tun_point *p = point_of(&s);
    struct tun_contact c = {.effort = 0};
    memcpy(c.ip, p->ip, CV_KEY);
    memcpy(c.auth, p->auth_secret.public_key, CV_KEY);
    memcpy(c.service, before->service_secret.public_key, CV_KEY);
    uint8_t flight[TUN_E2E_FLIGHT1];
    struct tun_stamp_search search;
    do {
        write_flight_for(&s, &c, &before->keys, flight);
        tun_stamp_begin(&search, EFFORT + 1, seeder->now.service_secret.public_key,
                        seeder->now.keys.period, flight, sizeof flight, &rng);
        while (!tun_stamp_try(&search, 1000))
            ;
    } while (tun_stamp_effort(tun_stamp_get(&search), c.service, before->keys.period, flight,
                              sizeof flight) > EFFORT);
    unsigned lost = seeder->effort.lost, refused = info(&s).refused;
    pass_on(&s, p, tun_stamp_get(&search), flight);
    cr_expect_eq(seeder->intake.count, TUN_INTRO_QUEUE);
    cr_expect_eq(seeder->effort.lost, lost + 1);
    cr_expect_eq(info(&s).refused, refused + 1);
    cr_expect_eq(opened(&s), 0, "it may come again when there is room");

    (void)tun_intake_expire(&seeder->intake, now + CV_SEC(3601)); /* and then it is taken */
    pass_on(&s, p, tun_stamp_get(&search), flight);
    cr_expect_eq(seeder->intake.count, 1);
    cr_expect_eq(opened(&s), 1);
    village_free(s.v);
}

/* ---- a viewer's work ---- */

static uint64_t tries(const struct tun_hidden *h) {
    uint64_t n = 0;
    for (unsigned i = 0; i < TUN_MEETINGS_MAX; i++)
        n += h->viewer->meet[i].stamp.tries;
    return n;
}

/* Never more than one slice in a step, whoever it is for; and it is done in the end. */
Test(tun_flooded, a_viewer_works_a_little_at_a_time) {
    enum { EFFORT = 18 }; /* its two meetings work at the same time */
    struct scene s = begin(31);
    s.h->seeder->effort.asked = EFFORT;
    s.h->seeder->effort.calm = 0;
    s.h->seeder->changed = true;
    world_run(s.v->w, CV_SEC(5));
    cr_expect_eq(s.h->seeder->effort.required, EFFORT, "no slot says it");
    unsigned viewer = village_client(s.v);
    cv_handle view = village_view(s.v, viewer, "film");
    struct tun_hidden *h = village_hidden(s.v, viewer, view);
    uint64_t before = 0, sum = 0;
    unsigned slices = 0;
    for (unsigned ms = 0; ms < 8000 && !village_up(s.v, viewer, view); ms++) {
        world_run(s.v->w, CV_MSEC(1));
        uint64_t now = tries(h);
        if (now > before) {
            cr_expect_leq(now - before, TUN_STAMP_TRIES, "at once, after %u ms", ms);
            sum += now - before;
            slices++;
        }
        before = now;
    }
    cr_expect_geq(village_up(s.v, viewer, view), 1);
    cr_expect_geq(slices, 5, "%u slices", slices);
    cr_expect_geq(sum, 1000, "%lu tries", sum);
    cr_expect_eq(info(&s).below, 0);
    cr_expect(h->info.stamps > 0 && h->info.stamps <= info(&s).introductions,
              "%u stamps, %u introductions", h->info.stamps, info(&s).introductions);
    cr_expect_geq(h->info.effort, EFFORT);
    village_free(s.v);
}

/* Nobody is worked for who asks more than anybody may. */
Test(tun_flooded, a_contact_that_asks_too_much_is_not_believed) {
    struct scene s = begin(32);
    s.h->seeder->effort.asked = TUN_EFFORT_MAX + 1;
    s.h->seeder->changed = true;
    world_run(s.v->w, CV_SEC(3));
    unsigned viewer = village_client(s.v);
    cv_handle view = village_view(s.v, viewer, "film");
    cr_expect_not(village_meet(s.v, viewer, view, 1, CV_SEC(10)));
    cr_expect_eq(tries(village_hidden(s.v, viewer, view)), 0);
    struct tun_hidden_info i;
    cr_assert_eq(tun_hidden_info(s.v->w->node[viewer].t, view, &i), CV_ERR_OK);
    cr_expect_eq(i.contacts, 0);
    village_free(s.v);
}
