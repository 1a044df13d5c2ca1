/*
 * Hidden swarms end to end, in a village of six relays (tests/village.h): real
 * engines, real cryptography, virtual time.
 */
#include "support/suite.h"
#include "tunnel/tests/village.h"

CV_SUITE(tun_hidden);

static const struct sim_path near = {.delay = CV_MSEC(1)};

static struct village *six(uint64_t seed) {
    struct village *v = village_new(&(struct sim_config){.seed = seed}, 6);
    sim_path_default(v->w->sim, &near);
    world_run(v->w, CV_SEC(3));
    return v;
}

static unsigned heard(struct village *v, unsigned node, const void *buf, size_t len) {
    struct world_event *e;
    unsigned n = 0;
    for (unsigned i = 0; (e = world_find(v->w, node, TUN_EVENT_DATAGRAM, i)) != NULL; i++)
        n += e->ev.datagram.len == len && memcmp(e->octets, buf, len) == 0;
    return n;
}

Test(tun_hidden, viewer_and_seeder_meet_with_six_relays) {
    for (uint64_t seed = 1; seed <= 5; seed++) {
        struct village *v = six(seed);
        unsigned seeder = village_client(v);
        cv_handle share = village_share(v, seeder, "film", false);
        world_run(v->w, CV_SEC(2));
        struct tun_hidden_info info;
        cr_assert_eq(tun_hidden_info(v->w->node[seeder].t, share, &info), CV_ERR_OK);
        cr_expect_eq(info.state, TUN_HIDDEN_SHARED, "seed %lu: state %u, %u points", seed,
                     info.state, info.points);

        unsigned viewer = village_client(v);
        cv_usec began = sim_now(v->w->sim);
        cv_handle view = village_view(v, viewer, "film");
        cr_assert(village_meet(v, viewer, view, 1, CV_SEC(10)), "seed %lu: nobody met", seed);
        cr_expect_leq(sim_now(v->w->sim) - began, CV_SEC(2), "seed %lu: %lu us to the first peer",
                      seed, sim_now(v->w->sim) - began);
        cr_assert(village_meet(v, viewer, view, 2, CV_SEC(10)), "seed %lu: no second way", seed);
        world_run(v->w, CV_MSEC(100));
        cr_assert_geq(village_up(v, seeder, share), 2);

        cr_assert_eq(village_say(v, viewer, view, 0, "hello", 5), CV_ERR_OK);
        uint8_t full[TUN_MTU_RENDEZVOUS];
        memset(full, 7, sizeof full);
        cr_assert_eq(village_say(v, seeder, share, 0, full, sizeof full), CV_ERR_OK);
        world_run(v->w, CV_SEC(1));
        cr_expect_eq(heard(v, seeder, "hello", 5), 1);
        cr_expect_eq(heard(v, viewer, full, sizeof full), 1);
        village_free(v);
    }
}

static struct tun_client_status status(struct village *v, unsigned node) {
    struct tun_client_status s;
    struct cv_now now = world_now(v->w, node);
    tun_client_status(v->w->node[node].t, &now, &s);
    return s;
}

/* A seeder that is ready for visitors. */
static unsigned seeded(struct village *v, cv_handle *ret_share) {
    unsigned seeder = village_client(v);
    *ret_share = village_share(v, seeder, "film", false);
    world_run(v->w, CV_SEC(2));
    return seeder;
}

Test(tun_hidden, from_an_empty_folder_to_the_first_peer_in_two_seconds) {
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct village *v = six(seed);
        cv_handle share;
        unsigned seeder = seeded(v, &share);
        (void)seeder;
        cv_usec began = sim_now(v->w->sim);
        unsigned viewer = village_client(v);
        cv_handle view = village_view(v, viewer, "film");
        bool ok = village_meet(v, viewer, view, 1, CV_SEC(10));
        cv_usec took = sim_now(v->w->sim) - began;
        struct tun_client_status s = status(v, viewer);
        cr_expect(ok && took <= CV_SEC(2),
                  "seed %lu: %lu us; known %u confirmed %u guards %u/%u L %u ahead %u", seed, took,
                  s.known, s.confirmed, s.guards_up, s.guards, s.seconds, s.ahead);
        village_free(v);
    }
}

Test(tun_hidden, whichever_relay_dies_the_viewer_meets_again) {
    for (unsigned victim = 0; victim < 6; victim++) {
        struct village *v = six(40 + victim);
        cv_handle share;
        unsigned seeder = seeded(v, &share);
        unsigned viewer = village_client(v);
        cv_handle view = village_view(v, viewer, "film");
        cr_assert(village_meet(v, viewer, view, 2, CV_SEC(10)));
        sim_crash(v->w->sim, victim);
        cv_usec lonely = 0;
        for (unsigned i = 0; i < 1200; i++) {
            for (unsigned k = 0; k < 4; k++)
                (void)village_say(v, viewer, view, k, "more", 4);
            world_run(v->w, CV_MSEC(100));
            lonely += village_up(v, viewer, view) ? 0 : CV_MSEC(100);
        }
        cr_expect_geq(village_up(v, viewer, view), 2, "relay %u: %u peers two minutes later",
                      victim, village_up(v, viewer, view));
        cr_expect_leq(lonely, CV_SEC(20), "relay %u: alone for %lu us", victim, lonely);
        (void)seeder;
        (void)share;
        village_free(v);
    }
}
