/*
 * Hidden swarms end to end, in a village of six relays (tests/village.h): real
 * engines, real cryptography, virtual time.
 */
#include <limits.h>

#include "crypto/rng_seeded.h"
#include "support/suite.h"
#include "tunnel/clientstate.h"
#include "tunnel/hiddenstate.h"
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

/* Tries as the node does, until there is a circuit to the relay `named`. */
static cv_usec reach(struct village *v, unsigned node, const uint8_t named[CV_KEY]) {
    cv_usec began = sim_now(v->w->sim);
    for (;;) {
        struct cv_now now = world_now(v->w, node);
        cv_handle circuit;
        enum cv_err err =
            tun_circuit_open(v->w->node[node].t, &now, TUN_PURPOSE_GENERAL, named, &circuit);
        sim_touch(v->w->sim, node);
        if (err == CV_ERR_OK || sim_now(v->w->sim) - began > CV_SEC(20))
            return sim_now(v->w->sim) - began;
        world_run(v->w, CV_MSEC(50));
    }
}

/* The most that wait during a minute. */
static uint32_t most_ahead(struct village *v, unsigned node) {
    uint32_t most = 0;
    for (unsigned i = 0; i < 60; i++) {
        world_run(v->w, CV_SEC(1));
        most = status(v, node).ahead > most ? status(v, node).ahead : most;
    }
    return most;
}

Test(tun_hidden, whoever_stands_all_day_keeps_two_circuits_ahead) {
    struct village *v = village_new(&(struct sim_config){.seed = 3}, 9);
    unsigned client = village_client(v);
    world_run(v->w, CV_SEC(30));
    cr_expect_eq(status(v, client).ahead, TUN_AHEAD, "%u", status(v, client).ahead);
    world_run(v->w, CV_SEC(660)); /* all were replaced once */
    uint32_t most = most_ahead(v, client);
    cr_expect_eq(most, TUN_AHEAD_IDLE, "%u", most);
    /* and as many as ever once somebody wants one */
    (void)village_view(v, client, "nobody shares this");
    most = most_ahead(v, client);
    cr_expect_eq(most, TUN_AHEAD, "%u", most);
    village_free(v);
}

/* Relays that started a moment ago do not know each other yet, so nobody can
 * confirm the one that a viewer was told to ask: it must look again soon. */
Test(tun_hidden, a_named_relay_of_a_young_network_is_reached_in_two_seconds) {
    for (uint64_t seed = 1; seed <= 41; seed++) {
        struct village *v = six(seed);
        bool first = seed % 2; /* the viewer, or the relay */
        unsigned viewer = first ? village_client(v) : 0, late;
        cv_usec apart = CV_MSEC(20 * (seed % 41));
        world_run(v->w, first ? apart : 0);
        late = village_relay(v);
        world_run(v->w, first ? 0 : apart);
        if (!first)
            viewer = village_client(v);
        cv_usec took = reach(v, viewer, v->w->node[late].identity_secret.public_key);
        cr_expect_leq(took, CV_SEC(2), "seed %lu: %lu us", seed, took);
        village_free(v);
    }
}

Test(tun_hidden, whichever_relay_dies_the_viewer_meets_again) {
    for (unsigned victim = 0; victim < 12; victim++) {
        struct village *v = six(40 + victim);
        cv_handle share;
        unsigned seeder = seeded(v, &share);
        unsigned viewer = village_client(v);
        cv_handle view = village_view(v, viewer, "film");
        cr_assert(village_meet(v, viewer, view, 2, CV_SEC(10)));
        sim_crash(v->w->sim, victim % 6);
        cv_usec lonely = 0;
        for (unsigned i = 0; i < 1200; i++) {
            for (unsigned k = 0; k < 4; k++)
                (void)village_say(v, viewer, view, k, "more", 4);
            world_run(v->w, CV_MSEC(100));
            lonely += village_up(v, viewer, view) ? 0 : CV_MSEC(100);
        }
        cr_expect_geq(village_up(v, viewer, view), 2, "relay %u: %u peers two minutes later",
                      victim, village_up(v, viewer, view));
        cr_expect_leq(lonely, CV_SEC(5), "relay %u: alone for %lu us", victim, lonely);
        (void)seeder;
        (void)share;
        village_free(v);
    }
}

/* Of circuits of a purpose that go through a relay behind their guard. */
static unsigned through(struct village *v, unsigned node, enum tun_purpose purpose,
                        const uint8_t relay[CV_KEY]) {
    uint32_t cursor = 0;
    const struct tun_circuit *c;
    unsigned n = 0;
    while ((c = tun_handles_next(&v->w->node[node].t->circuits, &cursor)) != NULL)
        for (unsigned i = 1; c->plan.purpose == purpose && i < c->plan.hops; i++)
            n += memcmp(c->plan.hop[i].identity, relay, CV_KEY) == 0;
    return n;
}

/* A relay that carries both a visitor and an introduction. */
static unsigned in_both(struct village *v, unsigned seeder) {
    for (unsigned i = 0; i < 6; i++) {
        const uint8_t *id = v->w->node[i].identity_secret.public_key;
        if (through(v, seeder, TUN_PURPOSE_JOIN, id) && through(v, seeder, TUN_PURPOSE_WAIT, id))
            return i;
    }
    cr_assert_fail("no relay is in both");
    return 0;
}

/* Six relays, a seeder and a viewer who has two ways to it. */
static struct village *watched(uint64_t seed, unsigned *seeder, unsigned *viewer, cv_handle *view) {
    struct village *v = six(seed);
    cv_handle share;
    *seeder = seeded(v, &share);
    *viewer = village_client(v);
    *view = village_view(v, *viewer, "film");
    cr_assert(village_meet(v, *viewer, *view, 2, CV_SEC(10)));
    return v;
}

Test(tun_hidden, who_only_listened_leaves_a_dead_introduction_point_soon) {
    for (uint64_t seed = 80; seed < 88; seed++) {
        unsigned seeder, viewer;
        cv_handle view;
        struct village *v = watched(seed, &seeder, &viewer, &view);
        for (unsigned i = 0; i < 20; i++) { /* every way is talked on, by the viewer alone */
            for (unsigned k = 0; k < 2; k++)
                (void)village_say(v, viewer, view, k, "more", 4);
            world_run(v->w, CV_MSEC(100));
        }
        unsigned dies = in_both(v, seeder);
        sim_crash(v->w->sim, dies);
        cv_usec took = 0;
        while (took < CV_SEC(10) &&
               through(v, seeder, TUN_PURPOSE_WAIT, v->w->node[dies].identity_secret.public_key)) {
            world_run(v->w, CV_MSEC(100));
            took += CV_MSEC(100);
        }
        cr_expect_leq(took, CV_MSEC(2000), "seed %lu: %lu us", seed, took);
        village_free(v);
    }
}

/* When the meeting that is under way for longest was begun; NEVER: none is. */
static cv_usec begun_first(const struct tun_hidden *h) {
    cv_usec first = CV_USEC_NEVER;
    for (unsigned i = 0; i < TUN_MEETINGS_MAX; i++) {
        const struct tun_meet *m = &h->viewer->meet[i];
        if (m->state == TUN_MEET_BUILDING || m->state == TUN_MEET_WAITING)
            first = cv_usec_min(first, m->begun_at);
    }
    return first;
}

/* Others are being met already when the last way is found cut: that this takes long is noticed
 * after a second and a half all the same, not when their time is over. */
Test(tun_hidden, who_is_left_alone_looks_into_the_slots_while_others_are_met) {
    for (uint64_t seed = 86; seed < 90; seed++) {
        unsigned seeder, viewer;
        cv_handle view;
        struct village *v = watched(seed, &seeder, &viewer, &view);
        struct tun_hiddens *all = tun_attached(v->w->node[viewer].t, TUN_USER_HIDDEN);
        struct tun_hidden *h = tun_handles_get(&all->swarms, view);
        world_run(v->w, CV_SEC(1));
        sim_crash(v->w->sim, seeder);
        for (unsigned i = 0; i < 500 && village_up(v, viewer, view); i++) {
            for (unsigned k = 0; k < 2; k++)
                (void)village_say(v, viewer, view, k, "more", 4);
            world_run(v->w, CV_MSEC(10));
        }
        cv_usec now = world_now(v->w, viewer).mono, begun = begun_first(h);
        cr_assert_eq(village_up(v, viewer, view), 0);
        cr_assert(begun < now, "seed %lu: nobody is being met", seed);
        cr_expect_not(h->viewer->missed, "seed %lu: too late", seed);
        if (begun + CV_MSEC(1500) > now)
            world_run(v->w, begun + CV_MSEC(1500) - now);
        world_run(v->w, CV_MSEC(20));
        cr_expect(h->viewer->missed, "seed %lu: alone, and the slots are not read", seed);
        village_free(v);
    }
}

/* Points of a seeder that can be asked. */
static unsigned points(struct village *v, unsigned seeder, cv_handle share) {
    struct tun_hidden_info info;
    cr_assert_eq(tun_hidden_info(v->w->node[seeder].t, share, &info), CV_ERR_OK);
    return info.points;
}

/* One relay may be on the ways to all of them. */
Test(tun_hidden, who_loses_all_introduction_points_at_once_is_found_again_soon) {
    for (uint64_t seed = 90; seed < 94; seed++) {
        struct village *v = six(seed);
        cv_handle share;
        unsigned seeder = seeded(v, &share);
        world_run(v->w, CV_SEC(20));
        cr_assert_eq(points(v, seeder, share), TUN_INTRO_POINTS);
        struct tun_hidden *h = village_hidden(v, seeder, share);
        for (unsigned i = 0; i < TUN_POINTS; i++)
            tun_road_close(&h->seeder->point[i].road);
        tun_hidden_by(h, sim_now(v->w->sim)); /* it is told */
        sim_touch(v->w->sim, seeder);
        unsigned puts = v->puts, least = TUN_INTRO_POINTS;
        cv_usec up = 0, told = 0, took = 0;
        for (; took < CV_SEC(10) && !told; took += CV_MSEC(10)) {
            world_run(v->w, CV_MSEC(10));
            unsigned n = points(v, seeder, share);
            least = n < least ? n : least;
            if (!up && least == 0 && n == TUN_INTRO_POINTS)
                up = took;
            if (v->puts >= puts + 2)
                told = took;
        }
        cr_expect_eq(least, 0);
        cr_expect(up && up <= CV_MSEC(400), "seed %lu: points up after %lu us", seed, up);
        cr_expect(told && told <= CV_MSEC(700), "seed %lu: slots written after %lu us", seed, told);
        village_free(v);
    }
}

/* ---- who meets whom ---- */

Test(tun_hidden, the_second_viewer_gets_it_from_the_first_alone) {
    for (uint64_t seed = 60; seed < 63; seed++) {
        struct village *v = six(seed);
        cv_handle share;
        unsigned seeder = seeded(v, &share);
        unsigned first = village_client(v), second;
        cv_handle view = village_view(v, first, "film");
        cr_assert(village_meet(v, first, view, 2, CV_SEC(10)));
        cv_handle also = village_share(v, first, "film", true);
        world_run(v->w, CV_SEC(3));
        struct tun_hidden_info info;
        cr_assert_eq(tun_hidden_info(v->w->node[first].t, also, &info), CV_ERR_OK);
        cr_expect_eq(info.state, TUN_HIDDEN_SHARED);
        /* it reads its own contacts in the slots and does not call itself */
        cr_expect_eq(village_up(v, first, also), 0);

        sim_crash(v->w->sim, seeder);
        cv_usec began = sim_now(v->w->sim);
        second = village_client(v);
        cv_handle view2 = village_view(v, second, "film");
        cr_assert(village_meet(v, second, view2, 1, CV_SEC(30)), "seed %lu", seed);
        cr_expect_leq(sim_now(v->w->sim) - began, CV_SEC(10), "seed %lu: %lu us", seed,
                      sim_now(v->w->sim) - began);
        world_run(v->w, CV_SEC(1));
        cr_expect_geq(village_up(v, first, also), 1);
        cr_assert_eq(village_say(v, second, view2, 0, "more", 4), CV_ERR_OK);
        world_run(v->w, CV_SEC(1));
        cr_expect_eq(heard(v, first, "more", 4), 1);
        village_free(v);
    }
}

Test(tun_hidden, who_lacks_the_secret_meets_nobody) {
    struct village *v = six(70);
    unsigned seeder = village_client(v), viewer = village_client(v);
    struct cv_now now = world_now(v->w, seeder);
    uint8_t secret[32] = {1}, other[32] = {2};
    cv_handle share, view, stranger, right;
    cr_assert_eq(tun_hidden_share(v->w->node[seeder].t, &now, "film", 4, secret, false, &share),
                 CV_ERR_OK);
    sim_touch(v->w->sim, seeder);
    world_run(v->w, CV_SEC(2));
    now = world_now(v->w, viewer);
    struct tunnel *t = v->w->node[viewer].t;
    cr_assert_eq(tun_hidden_view(t, &now, "film", 4, NULL, &view), CV_ERR_OK);
    cr_assert_eq(tun_hidden_view(t, &now, "film", 4, other, &stranger), CV_ERR_OK);
    sim_touch(v->w->sim, viewer);
    cr_expect_not(village_meet(v, viewer, view, 1, CV_SEC(20)));
    struct tun_hidden_info info;
    cr_assert_eq(tun_hidden_info(t, view, &info), CV_ERR_OK);
    cr_expect_eq(info.state, TUN_HIDDEN_NOBODY);
    cr_expect_eq(village_up(v, viewer, stranger), 0);
    now = world_now(v->w, viewer);
    cr_assert_eq(tun_hidden_view(t, &now, "film", 4, secret, &right), CV_ERR_OK);
    sim_touch(v->w->sim, viewer);
    cr_expect(village_meet(v, viewer, right, 1, CV_SEC(5)));
    village_free(v);
}

Test(tun_hidden, a_viewer_that_comes_first_waits_for_the_seeder) {
    struct village *v = six(71);
    unsigned viewer = village_client(v);
    cv_handle view = village_view(v, viewer, "film"), share;
    world_run(v->w, CV_SEC(20));
    struct tun_hidden_info info;
    cr_assert_eq(tun_hidden_info(v->w->node[viewer].t, view, &info), CV_ERR_OK);
    cr_expect_eq(info.state, TUN_HIDDEN_NOBODY);
    (void)seeded(v, &share);
    cr_expect(village_meet(v, viewer, view, 1, CV_SEC(10)));
    village_free(v);
}

Test(tun_hidden, a_dropped_peer_is_replaced_and_a_closed_swarm_is_silent) {
    struct village *v = six(72);
    cv_handle share;
    unsigned seeder = seeded(v, &share), viewer = village_client(v);
    cv_handle view = village_view(v, viewer, "film");
    cr_assert(village_meet(v, viewer, view, 2, CV_SEC(10)));
    struct cv_now now = world_now(v->w, viewer);
    unsigned before = v->peers;
    tun_hidden_drop(v->w->node[viewer].t, &now, &v->peer[0].endpoint);
    v->peer[0].up = false;
    sim_touch(v->w->sim, viewer);
    world_run(v->w, CV_SEC(15));
    cr_expect_eq(village_up(v, viewer, view), 2);
    cr_expect_gt(v->peers, before);

    now = world_now(v->w, viewer);
    tun_hidden_close(v->w->node[viewer].t, &now, view);
    tun_hidden_close(v->w->node[viewer].t, &now, view); /* a dead handle */
    sim_touch(v->w->sim, viewer);
    before = v->peers;
    world_run(v->w, CV_SEC(30));
    cr_expect_eq(v->peers, before);
    cr_expect_eq(village_up(v, seeder, share), 0, "the seeder hears that they left");
    struct tun_hidden_info info;
    cr_expect_eq(tun_hidden_info(v->w->node[viewer].t, view, &info), CV_ERR_NOENT);
    village_free(v);
}

/* ---- bad networks ---- */

Test(tun_hidden, they_meet_on_a_lossy_slow_network) {
    for (uint64_t seed = 80; seed < 86; seed++) {
        struct village *v = village_new(&(struct sim_config){.seed = seed}, 8);
        sim_path_default(v->w->sim, &(struct sim_path){.delay = CV_MSEC(40),
                                                       .jitter = CV_MSEC(20),
                                                       .loss_ppm = 20000,
                                                       .duplicate_ppm = 10000,
                                                       .reorder_ppm = 20000,
                                                       .reorder = CV_MSEC(30)});
        world_run(v->w, CV_SEC(10));
        cv_handle share;
        (void)seeded(v, &share);
        world_run(v->w, CV_SEC(10));
        unsigned viewer = village_client(v);
        cv_handle view = village_view(v, viewer, "film");
        cr_expect(village_meet(v, viewer, view, 1, CV_SEC(30)), "seed %lu", seed);
        cr_expect(village_meet(v, viewer, view, 2, CV_SEC(30)), "seed %lu", seed);
        village_free(v);
    }
}

Test(tun_hidden, when_the_dht_forgets_it_is_asked_again) {
    struct village *v = six(90);
    v->forgets = true;
    cv_handle share;
    unsigned seeder = seeded(v, &share);
    struct tun_hidden_info info;
    cr_assert_eq(tun_hidden_info(v->w->node[seeder].t, share, &info), CV_ERR_OK);
    cr_expect_eq(info.state, TUN_HIDDEN_PUBLISHING);
    unsigned viewer = village_client(v);
    cv_handle view = village_view(v, viewer, "film");
    world_run(v->w, CV_SEC(10));
    v->forgets = false;
    /* the seeder tries again when its slots were not written */
    cr_expect(village_meet(v, viewer, view, 1, CV_SEC(60)));
    village_free(v);
}

/* ---- last hops that lie ---- */

static void slot_public(uint8_t ret[CV_KEY], uint32_t period, unsigned slot) {
    struct tun_swarm_secret s;
    struct cv_ed25519_secret key;
    tun_swarm_derive(&s, (const uint8_t *)"testnet\0", "film", 4, NULL);
    tun_slot_key(&key, &s, period, slot);
    memcpy(ret, key.public_key, CV_KEY);
}

static uint32_t period_now(struct village *v, unsigned node) {
    struct tun_swarm_secret s;
    tun_swarm_derive(&s, (const uint8_t *)"testnet\0", "film", 4, NULL);
    return tun_swarm_period(&s, world_now(v->w, node).wall);
}

/* Slots of a period that the table holds. */
static unsigned slots_of(struct village *v, uint32_t period) {
    unsigned n = 0;
    uint8_t key[CV_KEY];
    for (unsigned j = 0; j < TUN_SLOTS; j++) {
        slot_public(key, period, j);
        n += village_item(v, key) != NULL;
    }
    return n;
}

static unsigned slots_held(struct village *v, unsigned node) {
    return slots_of(v, period_now(v, node));
}

/* Seeders with a contact in slot 0, but for the seeder 7 of written(). */
static unsigned seeders_in_slot_0(struct village *v, unsigned node) {
    struct tun_swarm_secret s;
    struct tun_period_secret keys;
    struct tun_slot slot;
    uint8_t key[CV_KEY];
    tun_swarm_derive(&s, (const uint8_t *)"testnet\0", "film", 4, NULL);
    tun_period_derive(&keys, &s, period_now(v, node));
    slot_public(key, period_now(v, node), 0);
    const struct tun_item *item = village_item(v, key);
    if (!item || tun_slot_open(&slot, item->value, TUN_SLOT_VALUE, &keys) != CV_ERR_OK)
        return 0;
    unsigned n = 0;
    for (unsigned i = 0; i < slot.count; i++) {
        bool first = slot.contact[i].service[0] != 7 || slot.contact[i].service[1] != 7;
        for (unsigned k = 0; k < i; k++)
            first &= memcmp(slot.contact[k].service, slot.contact[i].service, CV_KEY) != 0;
        n += first;
    }
    return n;
}

/* The state of the only swarm that a node views. */
static const struct tun_viewer *hidden_viewer(struct village *v, unsigned node) {
    const struct tun_hiddens *all = tun_attached(v->w->node[node].t, TUN_USER_HIDDEN);
    uint32_t cursor = 0;
    const struct tun_hidden *h = tun_handles_next(&all->swarms, &cursor);
    return h->viewer;
}

static struct village *eight(uint64_t seed) {
    struct village *v = village_new(&(struct sim_config){.seed = seed}, 8);
    sim_path_default(v->w->sim, &near);
    world_run(v->w, CV_SEC(3));
    return v;
}

/* A slot's item. `said`: its contacts, a seeder and a point each, at points that are not there. */
static struct tun_item holds(uint32_t period, unsigned number, int64_t seq, const char *said,
                             uint32_t expiry) {
    struct tun_swarm_secret s;
    struct tun_period_secret keys;
    struct cv_ed25519_secret key;
    struct cv_rng_seeded dice;
    struct tun_slot slot = {.count = (uint8_t)(strlen(said) / 2)};
    struct tun_item item = {.seq = seq};
    cv_rng_seeded_init(&dice, (uint64_t)seq);
    const struct cv_rng rng = cv_rng_seeded(&dice);
    for (unsigned i = 0; i < slot.count; i++) {
        memset(slot.contact[i].ip, said[2 * i + 1] - '0', CV_KEY);
        memset(slot.contact[i].auth, said[2 * i + 1] - '0', CV_KEY);
        memset(slot.contact[i].service, said[2 * i] - '0', CV_KEY);
        slot.contact[i].expiry = expiry;
    }
    tun_swarm_derive(&s, (const uint8_t *)"testnet\0", "film", 4, NULL);
    tun_period_derive(&keys, &s, period);
    tun_slot_seal(item.value, &slot, &keys, &rng);
    tun_slot_key(&key, &s, period, number);
    tun_item_sign(&item, &key);
    return item;
}

/* Slot 0 with one contact of the seeder 7. */
static struct tun_item written(uint32_t period, int64_t seq, uint8_t point, uint32_t expiry) {
    return holds(period, 0, seq, (const char[]){'7', (char)('0' + point), 0}, expiry);
}

static unsigned fewest_stores(struct village *v, unsigned node) {
    unsigned least = WORLD_NODES;
    uint8_t key[CV_KEY];
    for (unsigned j = 0; j < TUN_SLOTS; j++) {
        slot_public(key, period_now(v, node), j);
        unsigned n = village_relays_stored(v, key);
        if (village_item(v, key) && n < least)
            least = n;
    }
    return least;
}

/* One of eight relays lies as a last hop: all three slots are written all the
 * same, a second seeder writes over nobody, a viewer meets somebody at once. */
static void one_lies(enum village_manner manner, unsigned bad, uint64_t seed) {
    struct village *v = eight(seed);
    v->manner[bad] = manner;
    unsigned seeder = village_client(v), other = village_client(v), viewer = village_client(v);
    int64_t wall = world_now(v->w, viewer).wall;
    v->stale = written(period_now(v, viewer), wall - 100, 1, (uint32_t)wall + 3600);
    (void)village_share(v, seeder, "film", false);
    world_run(v->w, CV_SEC(4));
    cr_expect_eq(slots_held(v, seeder), 3, "manner %u of relay %u: %u slots written", manner, bad,
                 slots_held(v, seeder));
    (void)village_share(v, other, "film", false);
    world_run(v->w, CV_SEC(4));
    cr_expect_eq(seeders_in_slot_0(v, seeder), 2, "manner %u of relay %u: %u seeders", manner, bad,
                 seeders_in_slot_0(v, seeder));
    cr_expect_eq(v->refused, 0, "manner %u of relay %u: %u puts refused", manner, bad, v->refused);
    cr_expect(manner != VILLAGE_REFUSE || fewest_stores(v, seeder) >= 2,
              "who refuses, relay %u, is believed", bad);
    cv_handle view = village_view(v, viewer, "film");
    cr_expect(village_meet(v, viewer, view, 1, CV_SEC(3)), "manner %u of relay %u", manner, bad);
    village_free(v);
}

Test(tun_hidden, no_last_hop_alone_hides_a_swarm) {
    static const enum village_manner manners[] = {VILLAGE_CENSOR, VILLAGE_SILENT, VILLAGE_STALE,
                                                  VILLAGE_REFUSE};
    for (unsigned m = 0; m < sizeof manners / sizeof *manners; m++) {
        for (unsigned bad = 0; bad < 8; bad += 2)
            one_lies(manners[m], bad, 500 + 8 * m + bad);
    }
}

/* Every key is asked for at two relays, and every slot is put through two. */
Test(tun_hidden, two_last_hops_are_asked_for_every_slot) {
    for (uint64_t seed = 540; seed < 548; seed++) {
        struct village *v = six(seed);
        cv_handle share;
        unsigned viewer = village_client(v);
        (void)village_view(v, viewer, "film");
        world_run(v->w, CV_SEC(4));
        uint8_t key[CV_KEY];
        for (unsigned j = 0; j < TUN_SLOTS; j++) {
            slot_public(key, period_now(v, viewer), j);
            cr_expect(village_asked_twice(v, key), "seed %lu: slot %u", seed, j);
        }
        v->logged = 0;
        (void)seeded(v, &share);
        unsigned slots = 0;
        for (unsigned j = 0; j < TUN_SLOTS; j++) {
            slot_public(key, period_now(v, viewer), j);
            if (!village_item(v, key))
                continue;
            slots++;
            cr_expect_geq(village_relays_stored(v, key), 2, "seed %lu: slot %u", seed, j);
        }
        cr_expect_eq(slots, 3);
        village_free(v);
    }
}

/* What was there before counts less than what is there, in whichever order the
 * two last hops answer. */
Test(tun_hidden, a_stale_item_loses_to_the_newer) {
    unsigned both = 0;
    for (uint64_t seed = 550; seed < 562; seed++) {
        struct village *v = eight(seed);
        unsigned viewer = village_client(v);
        int64_t wall = world_now(v->w, viewer).wall;
        for (unsigned i = 0; i < 4; i++)
            v->manner[2 * i + seed % 2] = VILLAGE_STALE;
        v->stale = written(period_now(v, viewer), wall - 100, 1, (uint32_t)wall + 3600);
        /* said by itself, or copied by another who came after it */
        v->item[v->items++] = holds(period_now(v, viewer), 0, wall - 50,
                                    seed % 4 < 2 ? "72" : "7283", (uint32_t)wall + 3600);
        (void)village_view(v, viewer, "film");
        world_run(v->w, CV_SEC(1));
        const struct tun_viewer *s = hidden_viewer(v, viewer);
        const struct tun_known *old = NULL, *new = NULL;
        for (unsigned i = 0; i < s->knowns; i++)
            if (s->known[i].contact.service[0] == 7)
                *(s->known[i].contact.ip[0] == 1 ? &old : &new) = &s->known[i];
        if (old && new) { /* else two of a kind were asked */
            both++;
            cr_expect(old->outdated, "seed %lu", seed);
            cr_expect_not(new->outdated, "seed %lu", seed);
        }
        /* and a seeder completes the newer one */
        (void)village_share(v, village_client(v), "film", false);
        world_run(v->w, CV_SEC(3));
        cr_expect_eq(v->refused, 0, "seed %lu: %u puts refused", seed, v->refused);
        village_free(v);
    }
    cr_expect_geq(both, 3);
}

/* Which points of the seeder 7 a viewer takes for outdated, of "12". */
static const char *outdated(const struct tun_viewer *s) {
    static const char *const names[] = {"", "1", "2", "12"};
    unsigned points = 0;
    for (unsigned i = 0; i < s->knowns; i++)
        if (s->known[i].contact.service[0] == 7 && s->known[i].outdated)
            points |= s->known[i].contact.ip[0] == 1 ? 1 : 2;
    return names[points];
}

/* A slot is the word of him who wrote it, and stands last in it. */
Test(tun_hidden, a_copy_outdates_nobody) {
    static const struct row {
        const char *name;
        const char *before; /* what slot 0 held when the viewer first looked, or NULL */
        const char *zero;
        int ago; /* so long after that in slot 1 */
        const char *one;
        const char *outdated;
    } rows[] = {
        {"said later elsewhere", NULL, "71", -10, "72", "1"},
        {"said before", NULL, "71", 10, "72", "2"},
        {"copied before, said later", NULL, "7183", -10, "72", "1"},
        {"copied later: how old it is nobody knows", NULL, "7183", 10, "72", ""},
        {"copied, and known for old", "71", "7183", 10, "72", "1"},
        {"said again by itself", "72", "7183", 10, "72", ""},
        {"no room for all that it said", NULL, "838485868771", 10, "7172", ""},
        {"nor in the same slot", "7172", "838485868771", 10, "83", ""},
        {"room for three", NULL, "838485717374", 10, "7172", "2"},
    };
    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct row *r = &rows[i];
        struct village *v = eight(563 + i);
        unsigned viewer = village_client(v);
        int64_t wall = world_now(v->w, viewer).wall;
        uint32_t period = period_now(v, viewer), end = (uint32_t)wall + 3600;
        if (r->before) {
            v->item[v->items++] = holds(period, 0, wall - 100, r->before, end);
            (void)village_view(v, viewer, "film");
            world_run(v->w, CV_SEC(4));
            cr_expect_str_eq(outdated(hidden_viewer(v, viewer)), "", "%s", r->name);
            v->items = 0;
        }
        v->item[v->items++] = holds(period, 0, wall - 50, r->zero, end);
        v->item[v->items++] = holds(period, 1, wall - 50 - r->ago, r->one, end);
        if (!r->before)
            (void)village_view(v, viewer, "film");
        world_run(v->w, CV_SEC(26)); /* a round every ten seconds, three for all slots */
        const char *got = outdated(hidden_viewer(v, viewer));
        cr_expect_str_eq(got, r->outdated, "%s: '%s'", r->name, got);
        village_free(v);
    }
}

/* ---- contacts that are taken for outdated ---- */

/* What a viewer knows is taken for outdated before it is introduced by it. Wrongly: its seeder
 * comes, and nobody gives up on it before. */
Test(tun_hidden, who_was_outdated_when_it_was_chosen_has_its_time) {
    for (uint64_t seed = 580; seed < 583; seed++) {
        struct village *v = six(seed);
        sim_path_default(v->w->sim, &(struct sim_path){.delay = CV_MSEC(20)});
        cv_handle share;
        (void)seeded(v, &share);
        world_run(v->w, CV_SEC(3));
        unsigned viewer = village_client(v), introduced = 0;
        cv_handle view = village_view(v, viewer, "film");
        struct tun_viewer *s = village_hidden(v, viewer, view)->viewer;
        for (unsigned i = 0; i < 5000 && !village_up(v, viewer, view); i++) {
            world_run(v->w, CV_MSEC(1));
            for (unsigned k = 0; k < s->knowns; k++)
                s->known[k].outdated = true;
            for (unsigned k = 0; k < TUN_MEETINGS_MAX; k++) {
                introduced += s->meet[k].introduced;
                cr_expect_eq(s->meet[k].tries, 0, "seed %lu: given up", seed);
            }
        }
        cr_expect_gt(introduced, 0, "seed %lu", seed);
        cr_expect_geq(village_up(v, viewer, view), 1, "seed %lu: nobody came", seed);
        village_free(v);
    }
}

/* It is tried last, but who is wrong about it has not lost it for minutes. */
Test(tun_hidden, what_is_outdated_rests_after_a_failure_as_all_do) {
    struct village *v = six(584);
    cv_handle share;
    (void)seeded(v, &share);
    unsigned viewer = village_client(v);
    cv_handle view = village_view(v, viewer, "film");
    cr_assert(village_meet(v, viewer, view, 2, CV_SEC(10)));
    struct tun_hidden *h = village_hidden(v, viewer, view);
    for (unsigned k = 0; k < h->viewer->knowns; k++)
        h->viewer->known[k].outdated = true;
    struct cv_now now = world_now(v->w, viewer);
    tun_hidden_drop(v->w->node[viewer].t, &now, &v->peer[0].endpoint);
    unsigned failed = 0;
    for (unsigned k = 0; k < h->viewer->knowns; k++)
        if (h->viewer->known[k].fails) {
            failed++;
            cr_expect_eq(h->viewer->known[k].not_before - now.mono, CV_SEC(10));
        }
    cr_expect_eq(failed, 1);
    village_free(v);
}

/* ---- contacts that lead nowhere ---- */

/* Its ways end, as if the node had found them useless. */
static void drop_peers(struct village *v, unsigned viewer) {
    struct cv_now now = world_now(v->w, viewer);
    for (unsigned i = 0; i < v->peers; i++) {
        if (!v->peer[i].up || v->peer[i].node != viewer)
            continue;
        tun_hidden_drop(v->w->node[viewer].t, &now, &v->peer[i].endpoint);
        v->peer[i].up = false;
    }
    sim_touch(v->w->sim, viewer);
}

static unsigned fails(const struct tun_viewer *s) {
    unsigned n = 0;
    for (unsigned k = 0; k < s->knowns; k++)
        n += s->known[k].fails;
    return n;
}

Test(tun_hidden, a_contact_that_its_point_does_not_know_is_tried_twice) {
    struct village *v = six(586);
    cv_handle share;
    unsigned seeder = seeded(v, &share);
    world_run(v->w, CV_SEC(3));
    sim_crash(v->w->sim, seeder);
    world_run(v->w, CV_SEC(120)); /* its points have lost it, too */
    unsigned viewer = village_client(v);
    cv_handle view = village_view(v, viewer, "film");
    struct tun_hidden *h = village_hidden(v, viewer, view);
    world_run(v->w, CV_SEC(600));
    cr_assert_eq(h->viewer->knowns, TUN_INTRO_POINTS);
    /* two meetings at once may be told the same */
    cr_expect_leq(fails(h->viewer), TUN_INTRO_POINTS * (TUN_STRANGE_MAX + 1), "%u tries",
                  fails(h->viewer));
    /* nor after an outage of our own, which says nothing of what was answered before */
    tun_meet_anew(h);
    world_run(v->w, CV_SEC(60));
    cr_expect_eq(fails(h->viewer), 0, "%u tries after an outage", fails(h->viewer));
    /* but when the seeder says it once more */
    struct tun_known *k = &h->viewer->known[0];
    struct tun_contact c = k->contact;
    cr_expect(tun_search_named(h, &c, k->period, k->seq + 1, /* namer= */ 7));
    world_run(v->w, CV_SEC(60));
    cr_expect(k->fails >= TUN_STRANGE_MAX && fails(h->viewer) <= TUN_STRANGE_MAX + 1,
              "%u tries of one", fails(h->viewer));
    village_free(v);
}

/* Whoever knows the swarm can copy contacts with nonsense in them. That the wrong point knows
 * nobody by that key says nothing of the right one. */
Test(tun_hidden, nobody_talks_a_viewer_out_of_a_seeder) {
    struct village *v = six(587);
    cv_handle share;
    (void)seeded(v, &share);
    unsigned viewer = village_client(v);
    cv_handle view = village_view(v, viewer, "film");
    cr_assert(village_meet(v, viewer, view, 2, CV_SEC(10)));
    struct tun_viewer *s = village_hidden(v, viewer, view)->viewer;
    unsigned right = s->knowns;
    cr_assert_eq(right, TUN_INTRO_POINTS);
    for (unsigned k = 0; k < right; k++) {
        struct tun_known *copy = &s->known[s->knowns++];
        *copy = s->known[k];
        memcpy(copy->contact.ip, s->known[(k + 1) % right].contact.ip, CV_KEY);
        memcpy(copy->contact.d, s->known[(k + 1) % right].contact.d, TUN_DIGEST);
    }
    for (unsigned i = 0; i < 6; i++) {
        drop_peers(v, viewer);
        world_run(v->w, CV_SEC(10));
        cr_expect_geq(village_up(v, viewer, view), 1, "after %u times", i);
    }
    cr_assert_eq(s->knowns, 2 * right);
    for (unsigned k = 0; k < s->knowns; k++)
        cr_expect_eq(s->known[k].strange, k < right ? 0 : TUN_STRANGE_MAX, "contact %u", k);
    village_free(v);
}

/* A seeder's clock may be behind ours. */
Test(tun_hidden, what_is_over_by_our_own_clock_has_three_tries) {
    struct village *v = six(588);
    cv_handle share;
    (void)seeded(v, &share);
    unsigned viewer = village_client(v);
    cv_handle view = village_view(v, viewer, "film");
    cr_assert(village_meet(v, viewer, view, 2, CV_SEC(10)));
    struct tun_hidden *h = village_hidden(v, viewer, view);
    struct tun_viewer *s = h->viewer;
    cr_assert_eq(s->knowns, TUN_INTRO_POINTS);
    v->forgets = true;
    for (unsigned tries = 0; tries <= TUN_OVER_FAILS; tries++) {
        drop_peers(v, viewer);
        for (unsigned k = 0; k < s->knowns; k++) {
            s->known[k].contact.expiry = (uint32_t)world_now(v->w, viewer).wall;
            s->known[k].fails = (uint8_t)(k == 0 ? tries : TUN_OVER_FAILS);
            s->known[k].not_before = world_now(v->w, viewer).mono;
        }
        world_run(v->w, CV_SEC(20));
        cr_expect_eq(village_up(v, viewer, view), tries < TUN_OVER_FAILS ? 2 : 0, "%u tries",
                     tries);
        for (unsigned i = 0; i < TUN_MEETINGS_MAX; i++)
            cr_expect(s->meet[i].state == TUN_MEET_IDLE ||
                          memcmp(&s->meet[i].contact, &s->known[0].contact,
                                 sizeof s->known[0].contact) == 0,
                      "%u tries: another is tried", tries);
    }
    village_free(v);
}

/* Whoever is lost reads eight slots in each round: three of them say too little. */
Test(tun_hidden, who_lost_its_last_way_reads_halves_of_all_slots) {
    struct village *v = six(585);
    cv_handle share;
    unsigned seeder = seeded(v, &share);
    unsigned viewer = village_client(v), rounds = 0;
    cv_handle view = village_view(v, viewer, "film");
    cr_assert(village_meet(v, viewer, view, 2, CV_SEC(10)));
    const struct tun_viewer *s = village_hidden(v, viewer, view)->viewer;
    world_run(v->w, CV_SEC(1));
    sim_crash(v->w->sim, seeder);
    for (unsigned i = 0; i < 100 && village_up(v, viewer, view); i++) {
        for (unsigned k = 0; k < 2; k++)
            (void)village_say(v, viewer, view, k, "more", 4);
        world_run(v->w, CV_MSEC(100));
    }
    cr_assert_eq(village_up(v, viewer, view), 0);
    for (unsigned i = 0, last = s->rounds; i < 9000; i++) {
        world_run(v->w, CV_MSEC(1));
        if (s->rounds == last)
            continue;
        last = s->rounds;
        rounds++;
        cr_expect_neq(s->search[0].lookups, 1, "round %u: few slots", last);
    }
    cr_expect_geq(rounds, 3, "%u rounds", rounds);
    village_free(v);
}

/* ---- looking for others ---- */

/* Rounds of searching of a viewer within so many seconds, during which its reader waits. */
static unsigned rounds(struct village *v, unsigned viewer, cv_handle view, unsigned seconds,
                       bool starves) {
    uint32_t before = hidden_viewer(v, viewer)->rounds;
    for (unsigned i = 0; i < seconds; i++) {
        struct cv_now now = world_now(v->w, viewer);
        if (starves)
            tun_hidden_starves(v->w->node[viewer].t, &now, view);
        sim_touch(v->w->sim, viewer);
        world_run(v->w, CV_SEC(1));
    }
    return hidden_viewer(v, viewer)->rounds - before;
}

/* Who is met through at least one meeting. */
static unsigned services_met(struct village *v, unsigned viewer) {
    const struct tun_viewer *s = hidden_viewer(v, viewer);
    unsigned n = 0;
    for (unsigned i = 0; i < TUN_MEETINGS_MAX; i++) {
        bool first = s->meet[i].state == TUN_MEET_UP;
        for (unsigned k = 0; k < i && first; k++)
            first = s->meet[k].state != TUN_MEET_UP ||
                    memcmp(s->meet[k].contact.service, s->meet[i].contact.service, CV_KEY) != 0;
        n += first;
    }
    return n;
}

Test(tun_hidden, who_met_one_seeder_looks_for_others_soon_then_rarely) {
    for (uint64_t seed = 120; seed < 122; seed++) {
        struct village *v = six(seed);
        cv_handle share;
        (void)seeded(v, &share);
        unsigned viewer = village_client(v);
        cv_handle view = village_view(v, viewer, "film");
        cr_assert(village_meet(v, viewer, view, 2, CV_SEC(10)));
        struct tun_hiddens *all = tun_attached(v->w->node[viewer].t, TUN_USER_HIDDEN);
        all->hurry = false;                                 /* in a network that is not new */
        unsigned soon = rounds(v, viewer, view, 75, false); /* 10, 20, 40 s */
        cr_expect(soon >= 2 && soon <= 3, "seed %lu: %u rounds", seed, soon);
        unsigned later = rounds(v, viewer, view, 1200, false); /* 80, 160, then every 300 s */
        cr_expect(later >= 4 && later <= 6, "seed %lu: %u rounds later", seed, later);
        unsigned starved = rounds(v, viewer, view, 600, true); /* every minute */
        cr_expect(starved >= 8 && starved <= 11, "seed %lu: %u rounds when it starves", seed,
                  starved);

        (void)village_share(v, village_client(v), "film", false);
        (void)rounds(v, viewer, view, 200, true); /* one of three rounds reads slot 0 for sure */
        cr_expect_eq(services_met(v, viewer), 2, "seed %lu: beside two ways to the first", seed);
        unsigned enough = rounds(v, viewer, view, 900, false);
        cr_expect_leq(enough, 4, "seed %lu: %u rounds with two", seed, enough);
        village_free(v);
    }
}

/* Somebody is met while the first round still waits for answers; the next one is not at once. */
Test(tun_hidden, a_first_round_that_ends_with_a_meeting_is_followed_by_a_pause) {
    for (uint64_t seed = 130; seed < 132; seed++) {
        struct village *v = six(seed);
        cv_handle share;
        (void)seeded(v, &share);
        unsigned viewer = village_client(v);
        v->stingy = true; /* slot 0 is answered, and no other */
        cv_handle view = village_view(v, viewer, "film");
        cr_assert(village_meet(v, viewer, view, 2, CV_SEC(8)), "seed %lu", seed);
        const struct tun_viewer *s = hidden_viewer(v, viewer);
        cr_expect(s->rounds == 1 && s->searching, "seed %lu: it is over", seed);
        world_run(v->w, CV_SEC(15));
        cr_expect_not(s->searching && s->rounds == 1, "seed %lu: it does not end", seed);
        v->stingy = false;
        unsigned n = rounds(v, viewer, view, 30, false); /* every 10 s, in a hurry */
        cr_expect(n >= 2 && n <= 4, "seed %lu: %u rounds", seed, n);
        village_free(v);
    }
}

/* ---- what is seen ---- */

/* The keys that were answered are not asked for again on the next circuit; they
 * are no slots any more. */
Test(tun_hidden, a_circuit_lost_after_some_answers_is_replaced_for_the_rest) {
    for (uint64_t seed = 95; seed < 99; seed++) {
        struct village *v = village_new(&(struct sim_config){.seed = seed}, 8);
        sim_path_default(v->w->sim, &near);
        world_run(v->w, CV_SEC(3));
        cv_handle share;
        (void)seeded(v, &share);
        unsigned viewer = village_client(v), before = v->lookups;
        v->stingy = true;
        cv_handle view = village_view(v, viewer, "film");
        for (unsigned i = 0; i < 500 && v->lookups == before; i++)
            world_run(v->w, CV_MSEC(10));
        cr_assert_gt(v->lookups, before, "seed %lu", seed);
        world_run(v->w, CV_MSEC(20)); /* the one answer arrives */
        sim_crash(v->w->sim, v->asked);
        v->stingy = false;
        cr_expect(village_meet(v, viewer, view, 1, CV_SEC(30)), "seed %lu", seed);
        world_run(v->w, CV_SEC(10)); /* until that circuit's end is noticed */
        village_free(v);
    }
}

static unsigned links_from(struct village *v, const struct cv_addr *addr, unsigned relays) {
    unsigned n = 0;
    for (unsigned i = 0; i < relays; i++) {
        struct world_event *e;
        bool seen = false;
        for (unsigned k = 0; (e = world_find(v->w, i, TUN_EVENT_LINK_UP, k)) != NULL; k++)
            seen |= cv_addr_equal(&e->ev.link_up.addr, addr);
        n += seen;
    }
    return n;
}

Test(tun_hidden, few_relays_ever_see_an_address_and_the_same_after_a_restart) {
    struct village *v = village_new(&(struct sim_config){.seed = 91}, 20);
    sim_path_default(v->w->sim, &near);
    world_run(v->w, CV_SEC(3));
    cv_handle share;
    (void)seeded(v, &share);
    unsigned viewer = village_client(v);
    cv_handle view = village_view(v, viewer, "film");
    cr_assert(village_meet(v, viewer, view, 2, CV_SEC(10)));
    world_run(v->w, CV_SEC(60));
    unsigned seen = links_from(v, &v->w->node[viewer].addr, 20);
    cr_expect(seen >= 2 && seen <= TUN_CONTACTS_WANTED, "%u of 20 relays had a link", seen);
    struct tun_client_status s = status(v, viewer);
    cr_expect_eq(s.guards, 3, "a spare from 8 relays on");
    cr_expect_eq(s.seconds, 4);
    cr_expect_eq(s.confirmed, 20, "%u known, %u confirmed", s.known, s.confirmed);
    cr_expect_eq(s.missing, 0);

    /* again, with what was saved, at another address */
    struct world_event *e;
    struct tun_guards guards;
    cr_assert_eq(tun_guards_load(&guards, v->guards[viewer], v->guards_len[viewer]), CV_ERR_OK);
    unsigned again = village_client_with(v, v->guards[viewer], v->guards_len[viewer]);
    view = village_view(v, again, "film");
    cr_expect(village_meet(v, again, view, 1, CV_SEC(10)));
    world_run(v->w, CV_SEC(60));
    for (unsigned i = 0; i < 20; i++) {
        unsigned n = 0;
        for (unsigned k = 0; (e = world_find(v->w, i, TUN_EVENT_LINK_UP, k)) != NULL; k++)
            n += cv_addr_equal(&e->ev.link_up.addr, &v->w->node[again].addr);
        if (n)
            cr_expect(tun_guards_is_first(&guards, v->w->node[i].identity_secret.public_key),
                      "relay %u is none of the guards", i);
    }
    village_free(v);
}

/* A day without a network of our own: nobody was silent but we. */
Test(tun_hidden, an_outage_of_our_own_costs_no_guard) {
    struct village *v = village_new(&(struct sim_config){.seed = 94}, 10);
    sim_path_default(v->w->sim, &near);
    world_run(v->w, CV_SEC(3));
    unsigned client = village_client(v);
    world_run(v->w, CV_SEC(20));
    struct tun_client *c = tun_attached(v->w->node[client].t, TUN_USER_CLIENT);
    struct tun_guards before = c->guards;
    struct tun_guard *dead = &c->guards.first[1];
    int64_t day = 86400;
    for (unsigned i = 0; i < 10; i++) {
        sim_path(v->w->sim, i, client, &(struct sim_path){.cut = true});
        sim_path(v->w->sim, client, i, &(struct sim_path){.cut = true});
    }
    world_run(v->w, CV_SEC(100));
    cr_assert_eq(status(v, client).contacts, 0);
    cr_assert_neq(dead->silent_since, 0);
    /* as if it had lasted a day and more; but one of them had been silent for half a day before */
    for (unsigned i = 0; i < TUN_GUARD_FIRSTS; i++)
        c->guards.first[i].silent_since -= day + 60;
    c->cut_at -= day + 60;
    dead->silent_since = c->cut_at - day / 2;
    world_run(v->w, CV_SEC(10));
    for (unsigned i = 0; i < 10; i++) {
        bool is_dead = memcmp(v->w->node[i].identity_secret.public_key, dead->identity, 32) == 0;
        sim_path(v->w->sim, i, client, &(struct sim_path){.delay = CV_MSEC(1), .cut = is_dead});
        sim_path(v->w->sim, client, i, &(struct sim_path){.delay = CV_MSEC(1), .cut = is_dead});
    }
    world_run(v->w, CV_SEC(60));
    cr_expect_geq(status(v, client).guards_up, 2);
    for (unsigned i = 0; i < TUN_GUARD_FIRSTS; i++)
        cr_expect_arr_eq(c->guards.first[i].identity, before.first[i].identity, CV_KEY, "%u", i);
    int64_t silent = world_now(v->w, client).wall - dead->silent_since;
    cr_expect(silent >= day / 2 && silent < day / 2 + 200, "silent for %ld s", (long)silent);
    village_free(v);
}

static void line(struct village *v, unsigned client, bool there) {
    for (unsigned i = 0; i < client; i++)
        sim_link(v->w->sim, i, client, &(struct sim_path){.delay = CV_MSEC(1), .cut = !there});
}

/* Whenever it comes back, however long it was away: nobody is called once a minute, nor waited
 * for until a call that began before has failed. */
Test(tun_hidden, after_an_outage_everybody_is_linked_in_seconds) {
    for (unsigned phase = 0; phase < 6; phase++) {
        struct village *v = village_new(&(struct sim_config){.seed = 300 + phase}, 10);
        sim_path_default(v->w->sim, &near);
        world_run(v->w, CV_SEC(3));
        unsigned client = village_client(v);
        world_run(v->w, CV_SEC(20));
        unsigned before = status(v, client).contacts;
        cr_assert_geq(before, 3);
        line(v, client, false);
        world_run(v->w, CV_SEC(300 + 2 * phase));
        cr_assert_eq(status(v, client).contacts, 0);
        line(v, client, true);
        world_run(v->w, CV_SEC(6));
        cr_expect_eq(status(v, client).contacts, before, "phase %u: %u of %u", phase,
                     (unsigned)status(v, client).contacts, before);
        village_free(v);
    }
}

/* The others have nothing to answer meanwhile, and do as soon as they have: our own network is
 * there, and nobody is forgiven what he did. */
Test(tun_hidden, a_first_hop_that_falls_silent_is_no_outage_of_ours) {
    unsigned asked = 0;
    for (unsigned phase = 0; phase < 12; phase++) {
        struct village *v = village_new(&(struct sim_config){.seed = 310 + phase}, 10);
        sim_path_default(v->w->sim, &near);
        world_run(v->w, CV_SEC(3));
        unsigned client = village_client(v), silent = 0;
        world_run(v->w, CV_SEC(20 + 5 * ((310 + phase) % 6)));
        struct tunnel *t = v->w->node[client].t;
        struct tun_client *c = tun_attached(t, TUN_USER_CLIENT);
        const uint8_t *first = c->guards.first[phase % 2].identity;
        while (memcmp(v->w->node[silent].identity_secret.public_key, first, CV_KEY) != 0)
            silent++;
        sim_link(v->w->sim, silent, client, &(struct sim_path){.cut = true});
        world_run(v->w, CV_SEC(2));
        struct cv_now now = world_now(v->w, client);
        unsigned lane = 0;
        while (lane < c->lanes && memcmp(c->lane[lane].hop[0], first, CV_KEY) != 0)
            lane++;
        if (lane < c->lanes)
            tun_circuit_close(t, &now, c->lane[lane].circuit);
        sim_touch(v->w->sim, client);
        for (unsigned i = 0; i < 200; i++) {
            world_run(v->w, CV_MSEC(500));
            now = world_now(v->w, client);
            c->next = now.mono; /* as if something had happened */
            tun_on_timeout(t, &now);
            sim_touch(v->w->sim, client);
            asked += c->hush_at != 0;
        }
        cr_expect_eq(tun_client_back_at(t), 0, "phase %u", phase);
        cr_expect_not(c->guards.first[phase % 2].up, "phase %u", phase);
        village_free(v);
    }
    cr_expect_gt(asked, 0, "the others were not silent in any");
}

/* After months everybody of the sample is gone, and its time is over. */
Test(tun_hidden, who_was_away_for_longer_than_guards_last_finds_others) {
    struct village *v = village_new(&(struct sim_config){.seed = 93}, 14);
    sim_path_default(v->w->sim, &near);
    world_run(v->w, CV_SEC(3));
    unsigned before = village_client(v), gone = 0;
    world_run(v->w, CV_SEC(20));
    cr_assert(status(v, before).ready);
    sim_crash(v->w->sim, before);
    struct tun_guards guards;
    cr_assert_eq(tun_guards_load(&guards, v->guards[before], v->guards_len[before]), CV_ERR_OK);
    for (unsigned i = 0; i < 14; i++) {
        if (!tun_guards_find_sampled(&guards, v->w->node[i].identity_secret.public_key))
            continue;
        sim_crash(v->w->sim, i);
        gone++;
    }
    cr_assert_eq(gone, 4);
    for (unsigned i = 0; i < 14; i++)
        sim_wall_skew(v->w->sim, i, 121 * 86400);
    world_run(v->w, CV_SEC(120));
    unsigned again = village_client_with(v, v->guards[before], v->guards_len[before]);
    sim_wall_skew(v->w->sim, again, 121 * 86400);
    world_run(v->w, CV_SEC(60));
    struct tun_client_status s = status(v, again);
    cr_expect(s.ready, "%u contacts, %u known, %u confirmed", s.contacts, s.known, s.confirmed);
    cr_expect_geq(s.guards_up, 2);
    village_free(v);
}

struct seen_by {
    unsigned by[2]; /* clients */
    bool node[WORLD_NODES];
};

static enum sim_verdict watch(void *ctx, const struct sim_datagram *d) {
    struct seen_by *s = ctx;
    if ((d->from_node == s->by[0] || d->from_node == s->by[1]) && d->to_node < WORLD_NODES)
        s->node[d->to_node] = true;
    return SIM_PASS;
}

/* Half of six relays die, twice over, and the client starts anew in between: it
 * stays with the few that knew its address already. */
Test(tun_hidden, dying_relays_make_no_others_see_an_address) {
    for (unsigned gone = 0; gone < 6; gone++) {
        struct village *v = six(200 + gone);
        unsigned client = village_client(v);
        struct seen_by seen = {.by = {client, client}};
        sim_hook(v->w->sim, watch, &seen);
        (void)village_view(v, client, "film");
        world_run(v->w, CV_SEC(5));
        cr_assert(status(v, client).ready);
        for (unsigned i = 0; i < 3; i++)
            sim_crash(v->w->sim, (gone + i) % 6);
        world_run(v->w, CV_SEC(120));
        seen.by[1] = village_client_with(v, v->guards[client], v->guards_len[client]);
        sim_crash(v->w->sim, client);
        (void)village_view(v, seen.by[1], "film");
        world_run(v->w, CV_SEC(120));
        unsigned n = 0;
        for (unsigned i = 0; i < 6; i++)
            n += seen.node[i];
        cr_expect_leq(n, TUN_CONTACTS_WANTED, "from %u on: %u of six relays", gone, n);
        village_free(v);
    }
}

Test(tun_hidden, a_clock_that_is_days_off_is_noticed) {
    struct village *v = six(92);
    unsigned viewer = village_client(v);
    bool right = false;
    sim_wall_skew(v->w->sim, viewer, -3 * 86400);
    world_run(v->w, CV_SEC(10));
    struct world_event *e = world_find(v->w, viewer, TUN_EVENT_CLOCK_OFF, 0);
    cr_assert_not_null(e);
    cr_expect_eq(e->ev.clock_off.seconds, 3 * 86400);
    sim_wall_skew(v->w->sim, viewer, 0);
    world_run(v->w, CV_SEC(120));
    for (unsigned i = 0; (e = world_find(v->w, viewer, TUN_EVENT_CLOCK_OFF, i)) != NULL; i++)
        right = e->ev.clock_off.seconds == 0;
    cr_expect(right, "it was set, and nobody says that it is right");
    village_free(v);
}

/* The relay that lies about the day is the first that a new client hears of. */
Test(tun_hidden, one_relay_of_another_day_talks_nobody_into_it) {
    for (uint64_t seed = 95; seed < 99; seed++) {
        struct village *v = village_new(&(struct sim_config){.seed = seed}, 1);
        sim_path_default(v->w->sim, &near);
        sim_wall_skew(v->w->sim, 0, seed % 2 ? 40 * 86400 : -2 * 86400);
        world_run(v->w, CV_SEC(65)); /* it signs a descriptor of its day */
        unsigned viewer = village_client(v);
        world_run(v->w, CV_SEC(5));
        for (unsigned i = 0; i < 6; i++)
            village_relay(v);
        world_run(v->w, CV_SEC(70));
        cr_expect(status(v, viewer).ready);
        for (unsigned i = 1; i < v->w->nodes; i++)
            cr_expect_null(world_find(v->w, i, TUN_EVENT_CLOCK_OFF, 0), "seed %lu, node %u", seed,
                           i);
        struct world_event *e = world_find(v->w, 0, TUN_EVENT_CLOCK_OFF, 0);
        cr_expect(e && (seed % 2 ? e->ev.clock_off.seconds == -40 * 86400
                                 : e->ev.clock_off.seconds == 2 * 86400),
                  "seed %lu: the relay itself was not told", seed);
        village_free(v);
    }
}

Test(tun_hidden, too_few_relays_are_an_error_with_a_number) {
    struct village *v = village_new(&(struct sim_config){.seed = 93}, 3);
    sim_path_default(v->w->sim, &near);
    world_run(v->w, CV_SEC(3));
    unsigned viewer = village_client(v);
    world_run(v->w, CV_SEC(10));
    struct tun_client_status s = status(v, viewer);
    cr_expect_eq(s.known, 3);
    cr_expect_geq(s.missing, 3);
    struct cv_now now = world_now(v->w, viewer);
    cv_handle c;
    enum cv_err err = tun_circuit_open(v->w->node[viewer].t, &now, TUN_PURPOSE_WAIT, NULL, &c);
    cr_expect(err == CV_ERR_AGAIN || err == CV_ERR_UNREACHABLE, "%s", cv_strerror(err));
    village_free(v);
}

Test(tun_hidden, same_seed_same_run) {
    uint64_t digest[2];
    for (unsigned i = 0; i < 2; i++) {
        struct village *v = six(94);
        cv_handle share;
        (void)seeded(v, &share);
        unsigned viewer = village_client(v);
        (void)village_view(v, viewer, "film");
        world_run(v->w, CV_SEC(5));
        sim_crash(v->w->sim, 2);
        world_run(v->w, CV_SEC(20));
        digest[i] = sim_digest(v->w->sim);
        village_free(v);
    }
    cr_expect_eq(digest[0], digest[1]);
}

Test(tun_hidden, a_period_turns_and_everybody_stays) {
    struct tun_swarm_secret s;
    tun_swarm_derive(&s, (const uint8_t *)"testnet\0", "film", 4, NULL);
    int64_t turn = tun_swarm_period_begins(&s, 20700) + 86400;
    struct village *v = village_new(&(struct sim_config){.seed = 95, .wall = turn - 60}, 6);
    sim_path_default(v->w->sim, &near);
    world_run(v->w, CV_SEC(10));
    cv_handle share;
    (void)seeded(v, &share);
    unsigned early = village_client(v);
    cv_handle view = village_view(v, early, "film");
    cr_assert(village_meet(v, early, view, 2, CV_SEC(10)), "before the turn");
    uint32_t before = period_now(v, early);
    cr_expect_eq(slots_of(v, before), 3);
    cr_expect_eq(slots_of(v, before + 1), 0);
    world_run(v->w, CV_SEC(90));
    cr_expect_eq(period_now(v, early), before + 1);
    cr_expect_eq(slots_of(v, before + 1), 3, "written under the keys of the new day");
    cr_expect_geq(village_up(v, early, view), 1, "those who met stay");
    unsigned late = village_client(v);
    view = village_view(v, late, "film");
    cr_expect(village_meet(v, late, view, 1, CV_SEC(10)), "after the turn");
    village_free(v);
}

/* The most ways at once in so long, all of which are talked on. */
static unsigned most_up(struct village *v, unsigned viewer, cv_handle view, cv_usec for_so_long) {
    unsigned most = 0;
    for (cv_usec t = 0; t < for_so_long; t += CV_SEC(1)) {
        for (unsigned k = 0; k < TUN_MEETINGS_MAX; k++)
            (void)village_say(v, viewer, view, k, "more", 4);
        world_run(v->w, CV_SEC(1));
        unsigned up = village_up(v, viewer, view);
        most = up > most ? up : most;
    }
    return most;
}

/* A minute before the keys change: a viewer with two ways to the only seeder. */
static struct village *before_a_turn(uint64_t seed, unsigned *viewer, cv_handle *view) {
    struct tun_swarm_secret s;
    tun_swarm_derive(&s, (const uint8_t *)"testnet\0", "film", 4, NULL);
    int64_t turn = tun_swarm_period_begins(&s, 20700) + 86400;
    struct village *v = village_new(&(struct sim_config){.seed = seed, .wall = turn - 60}, 6);
    sim_path_default(v->w->sim, &near);
    world_run(v->w, CV_SEC(10));
    cv_handle share;
    (void)seeded(v, &share);
    *viewer = village_client(v);
    *view = village_view(v, *viewer, "film");
    cr_assert(village_meet(v, *viewer, *view, 2, CV_SEC(10)));
    return v;
}

/* Under its key of the new period a seeder is nobody new. */
Test(tun_hidden, a_seeder_is_one_when_a_period_turns) {
    for (uint64_t seed = 96; seed < 100; seed++) {
        unsigned viewer;
        cv_handle view;
        struct village *v = before_a_turn(seed, &viewer, &view);
        unsigned most = most_up(v, viewer, view, CV_SEC(300));
        cr_expect_eq(most, 2, "seed %lu: %u ways to one seeder", seed, most);
        /* and the next way to it is under the other key: others are looked for as beside one */
        struct cv_now now = world_now(v->w, viewer);
        struct tun_hidden *h = village_hidden(v, viewer, view);
        for (unsigned i = v->peers; i-- > 0 && village_up(v, viewer, view) == 2;)
            if (v->peer[i].up && v->peer[i].node == viewer) {
                tun_hidden_drop(v->w->node[viewer].t, &now, &v->peer[i].endpoint);
                v->peer[i].up = false;
            }
        sim_touch(v->w->sim, viewer);
        cr_assert(village_meet(v, viewer, view, 2, CV_SEC(10)));
        cr_assert_eq(services_met(v, viewer), 2, "keys of the same seeder");
        h->all->hurry = false;
        h->viewer->others_pause = CV_SEC(10);
        unsigned soon = rounds(v, viewer, view, 75, false);
        cr_expect_geq(soon, 2, "seed %lu: %u rounds", seed, soon);
        h->all->hurry = true;
        village_free(v);
    }
}

/* Who comes after the turn is met, whichever of the new keys is tried first. */
Test(tun_hidden, two_seeders_are_two_when_a_period_turns) {
    for (uint64_t seed = 100; seed < 106; seed++) {
        unsigned viewer;
        cv_handle view;
        struct village *v = before_a_turn(seed, &viewer, &view);
        (void)most_up(v, viewer, view, CV_SEC(120));
        unsigned second = village_client(v);
        cv_handle share = village_share(v, second, "film", false);
        (void)most_up(v, viewer, view, CV_SEC(120));
        cr_expect_geq(village_up(v, second, share), 1, "seed %lu: the second is not met", seed);
        village_free(v);
    }
}

/* ---- constant rate ---- */

static void keep(struct village *v, unsigned node, cv_handle hidden, unsigned mbit) {
    cr_assert_eq(tun_hidden_pace(v->w->node[node].t, hidden, mbit), CV_ERR_OK);
}

/* Datagrams that a node sends and receives in so long. */
static uint64_t traffic(struct village *v, unsigned node, cv_usec for_so_long) {
    struct sim_node_counters before = *sim_node_counters(v->w->sim, node);
    world_run(v->w, for_so_long);
    const struct sim_node_counters *now = sim_node_counters(v->w->sim, node);
    return now->sent - before.sent + now->received - before.received;
}

Test(tun_hidden, a_constant_rate_is_kept_until_long_after_the_end) {
    for (uint64_t seed = 1; seed <= 3; seed++) {
        struct village *v = six(seed);
        cv_handle share;
        unsigned seeder = seeded(v, &share), viewer = village_client(v);
        keep(v, seeder, share, 8);
        cv_handle view = village_view(v, viewer, "film");
        cr_expect_eq(tun_hidden_pace(v->w->node[viewer].t, view, 3), CV_ERR_INVAL);
        cr_expect_eq(tun_hidden_pace(v->w->node[viewer].t, view, 32), CV_ERR_INVAL);
        keep(v, viewer, view, 4);
        cr_expect_eq(tun_hidden_pace(v->w->node[viewer].t, view, 4), CV_ERR_INVAL, "twice");
        cr_assert(village_meet(v, viewer, view, 2, CV_SEC(20)), "seed %lu", seed);
        world_run(v->w, CV_SEC(2));
        struct tun_rates rates;
        tun_rates(v->w->node[viewer].t, &rates);
        cr_expect(rates.circuits == 2 && rates.mbit == 4 && rates.running_on == 0,
                  "seed %lu: %u circuits, %u Mbit/s", seed, rates.circuits, rates.mbit);
        tun_rates(v->w->node[seeder].t, &rates);
        cr_expect(rates.circuits == 2 && rates.mbit == 8, "seed %lu: seeder", seed);
        uint64_t ten = 2 * 10 * 4 * 1000000 / 8 / TUN_DATAGRAM;
        uint64_t silent = traffic(v, viewer, CV_SEC(10));
        cr_expect(silent > ten * 99 / 100 && silent < ten * 105 / 100, "seed %lu: %lu of %lu", seed,
                  silent, ten);
        struct cv_now now = world_now(v->w, viewer);
        tun_hidden_close(v->w->node[viewer].t, &now, view);
        sim_touch(v->w->sim, viewer);
        tun_rates(v->w->node[viewer].t, &rates);
        cr_assert_eq(rates.running_on, 2, "seed %lu", seed);
        cr_expect(rates.until >= now.mono + CV_SEC(300) && rates.until <= now.mono + CV_SEC(1200));
        world_run(v->w, CV_SEC(20)); /* the seeder notices that nobody is there any more */
        uint64_t after = traffic(v, viewer, CV_SEC(10));
        cr_expect(after > ten * 99 / 100 && after < ten * 105 / 100, "seed %lu: then %lu of %lu",
                  seed, after, ten);
        village_free(v);
    }
}

/* The rate that visitors left behind is the seeder's still: it counts. */
Test(tun_hidden, a_seeder_keeps_the_rate_of_who_left_and_no_more_than_eight) {
    struct village *v = six(2);
    cv_handle share;
    unsigned seeder = seeded(v, &share);
    keep(v, seeder, share, 2);
    struct tun_rates rates;
    for (unsigned i = 0; i < 9; i++) {
        unsigned viewer = village_client(v);
        cv_handle view = village_view(v, viewer, "film");
        bool met = village_meet(v, viewer, view, 1, CV_SEC(15));
        cr_expect(met || i > 3, "visitor %u", i);
        struct cv_now now = world_now(v->w, viewer);
        tun_hidden_close(v->w->node[viewer].t, &now, view);
        sim_touch(v->w->sim, viewer);
        world_run(v->w, CV_SEC(5));
        tun_rates(v->w->node[seeder].t, &rates);
        cr_expect(rates.running_on > 0 && rates.circuits <= TUN_PACED_JOINS_MAX,
                  "visitor %u: %u run on of %u", i, rates.running_on, rates.circuits);
    }
    struct tun_hidden_info info;
    cr_assert_eq(tun_hidden_info(v->w->node[seeder].t, share, &info), CV_ERR_OK);
    cr_expect_gt(info.refused, 0);
    village_free(v);
}

/* A seeder that dies ends no viewer's rate, and one that does it often adds no end of it. */
Test(tun_hidden, a_viewer_keeps_the_rate_of_a_seeder_that_is_gone) {
    for (unsigned full = 0; full < 2; full++) {
        struct village *v = six(2);
        cv_handle share;
        unsigned seeder = seeded(v, &share), viewer = village_client(v);
        cv_handle view = village_view(v, viewer, "film");
        keep(v, viewer, view, 4);
        cr_assert(village_meet(v, viewer, view, 2, CV_SEC(20)));
        struct tun_hidden *h = village_hidden(v, viewer, view);
        cv_handle waits = 0; /* a circuit that lives on */
        struct cv_now now = world_now(v->w, viewer);
        cr_assert_eq(
            tun_circuit_open(v->w->node[viewer].t, &now, TUN_PURPOSE_GENERAL, NULL, &waits),
            CV_ERR_OK);
        for (unsigned i = 0; full && i < TUN_PACED_JOINS_MAX; i++)
            h->runs_on[i] = (struct tun_run_on){.circuit = waits, .until = CV_USEC_NEVER};
        now = world_now(v->w, seeder);
        tun_hidden_close(v->w->node[seeder].t, &now, share);
        sim_touch(v->w->sim, seeder);
        world_run(v->w, CV_SEC(20));
        struct tun_rates rates;
        tun_rates(v->w->node[viewer].t, &rates);
        cr_expect_eq(rates.running_on, full ? 0 : 2, "%u run on", rates.running_on);
        village_free(v);
    }
}

/* Whoever ends ways must not see steps on a viewer's line: a new way takes the old one's place. */
Test(tun_hidden, a_viewers_new_way_ends_the_rate_of_the_old_one) {
    struct village *v = six(2);
    cv_handle share;
    unsigned seeder = seeded(v, &share), viewer = village_client(v);
    cv_handle view = village_view(v, viewer, "film");
    keep(v, viewer, view, 4);
    cr_assert(village_meet(v, viewer, view, 2, CV_SEC(20)));
    uint64_t before = traffic(v, viewer, CV_SEC(10));
    struct cv_now now = world_now(v->w, seeder);
    tun_hidden_close(v->w->node[seeder].t, &now, share);
    sim_touch(v->w->sim, seeder);
    (void)seeded(v, &share);
    world_run(v->w, CV_SEC(5));
    cr_assert(village_meet(v, viewer, view, 2, CV_SEC(60)), "the other seeder");
    world_run(v->w, CV_SEC(2));
    struct tun_rates rates;
    tun_rates(v->w->node[viewer].t, &rates);
    cr_expect_eq(rates.running_on, 0, "%u run on", rates.running_on);
    cr_expect_eq(rates.circuits, 2, "%u keep a rate", rates.circuits);
    uint64_t after = traffic(v, viewer, CV_SEC(10));
    cr_expect(after > before * 9 / 10 && after < before * 11 / 10, "%lu, then %lu", before, after);
    village_free(v);
}

/* ---- one way for another, on a viewer's line ---- */

#define LOOK CV_MSEC(100)
#define STEP CV_MSEC(10)

/* Datagrams of one direction in each look. */
struct line {
    unsigned high, highs; /* looks in a row above 1.3 times the rate: now, at most */
    unsigned low, most, least;
};

/* Circuits that keep a rate, in steps. */
struct keepers {
    unsigned more, mores; /* steps in a row with more than two: now, at most */
    unsigned fewest;
};

static void look(struct line *l, uint64_t n, double rate) {
    l->high = (double)n > 1.3 * rate ? l->high + 1 : 0;
    l->highs = l->high > l->highs ? l->high : l->highs;
    l->low += (double)n < 0.8 * rate;
    l->most = n > l->most ? (unsigned)n : l->most;
    l->least = n < l->least ? (unsigned)n : l->least;
}

static void step(struct village *v, unsigned node, struct keepers *k) {
    struct tun_rates rates;
    world_run(v->w, STEP);
    tun_rates(v->w->node[node].t, &rates);
    k->more = rates.circuits > TUN_PACED_CIRCUITS ? k->more + 1 : 0;
    k->mores = k->more > k->mores ? k->more : k->mores;
    k->fewest = rates.circuits < k->fewest ? rates.circuits : k->fewest;
}

/* Both directions for so long, while a word is said now and then. */
static void watch_line(struct village *v, unsigned node, cv_handle view, cv_usec for_so_long,
                       unsigned mbit, struct line ret[2], struct keepers *ret_keepers) {
    const struct sim_node_counters *c = sim_node_counters(v->w->sim, node);
    double rate = (double)mbit * 1e6 / 8 / TUN_DATAGRAM * (double)LOOK / 1e6;
    for (unsigned i = 0; i < village_up(v, node, view); i++)
        (void)village_say(v, node, view, i, "word", 4);
    for (cv_usec t = 0; t < for_so_long; t += LOOK) {
        uint64_t out = c->sent, in = c->received;
        for (cv_usec at = 0; at < LOOK; at += STEP)
            step(v, node, ret_keepers);
        look(&ret[0], c->sent - out, rate);
        look(&ret[1], c->received - in, rate);
    }
}

/* What ends a way of a viewer. */
enum ending { ITS_TIME_IS_OVER, THE_SEEDER_LEFT, ITS_LAST_RELAY_DIED, ENDINGS };
static const char *const ending_names[ENDINGS] = {"its time is over", "the seeder left",
                                                  "its last relay died"};

static struct tun_viewer *viewer_of(struct village *v, unsigned node, cv_handle view) {
    return village_hidden(v, node, view)->viewer;
}

/* The number of a relay on a viewer's way, which is three hops long. */
static unsigned relay_of(struct village *v, unsigned node, const struct tun_road *r, unsigned hop) {
    const struct tun_relay_ref *ref = tun_circuit_hop(v->w->node[node].t, r->circuit, hop);
    for (unsigned i = 0; ref && i < 8; i++)
        if (memcmp(v->w->node[i].t->cfg.identity->public_key, ref->identity, CV_KEY) == 0)
            return i;
    cr_assert_fail("node %u: a way leads nowhere", node);
    return 0;
}

static void end_a_way(struct village *v, unsigned node, cv_handle view, unsigned seeder,
                      cv_handle share, enum ending ending) {
    struct tun_meet *m = viewer_of(v, node, view)->meet;
    while (m->state != TUN_MEET_UP)
        m++;
    if (ending == ITS_TIME_IS_OVER) {
        m->rp.expires_at = world_now(v->w, node).mono + CV_SEC(122);
    } else if (ending == ITS_LAST_RELAY_DIED) {
        sim_crash(v->w->sim, relay_of(v, node, &m->rp, 2));
    } else {
        (void)seeded(v, &(cv_handle){0});
        struct cv_now now = world_now(v->w, seeder);
        tun_hidden_close(v->w->node[seeder].t, &now, share);
        sim_touch(v->w->sim, seeder);
    }
}

/* Who ends a way of a viewer, or sees its time end, sees no step on the viewer's line: a new one
 * takes over the rate when somebody came to it. Where both are there it is for the round trip
 * to the second relay, 40 ms here, and a tick or two at either end. (What meeting takes is more
 * than the rate, for a moment.) */
Test(tun_hidden, a_viewers_line_shows_no_step_when_one_way_takes_over_from_another) {
    for (enum ending ending = 0; ending < ENDINGS; ending++) {
        const char *name = ending_names[ending];
        struct village *v = village_new(&(struct sim_config){.seed = 3}, 8);
        sim_path_default(v->w->sim, &(struct sim_path){.delay = CV_MSEC(10)});
        world_run(v->w, CV_SEC(3));
        cv_handle share;
        unsigned seeder = seeded(v, &share), viewer = village_client(v);
        world_run(v->w, CV_SEC(3));
        cv_handle view = village_view(v, viewer, "film");
        keep(v, viewer, view, 2);
        cr_assert(village_meet(v, viewer, view, 2, CV_SEC(20)), "%s", name);
        world_run(v->w, CV_SEC(5));
        unsigned before = v->peers;
        end_a_way(v, viewer, view, seeder, share, ending);
        struct line line[2] = {{.least = UINT_MAX}, {.least = UINT_MAX}};
        struct keepers keepers = {.fewest = UINT_MAX};
        struct tun_rates rates = {.circuits = 0};
        bool over = false;
        for (unsigned s = 0; s < 60 && !over; s++) {
            watch_line(v, viewer, view, CV_SEC(1), 2, line, &keepers);
            tun_rates(v->w->node[viewer].t, &rates);
            over = v->peers > before && village_up(v, viewer, view) == 2 && rates.circuits == 2 &&
                   rates.running_on == 0;
        }
        watch_line(v, viewer, view, CV_SEC(1), 2, line, &keepers);
        cr_expect(over, "%s: %u came, %u are up, %u rates, %u of them run on", name,
                  v->peers - before, village_up(v, viewer, view), rates.circuits, rates.running_on);
        cr_expect_eq(keepers.fewest, TUN_PACED_CIRCUITS, "%s: %u at times", name, keepers.fewest);
        unsigned ways = ending == THE_SEEDER_LEFT ? 2 : 1; /* both were his, and end apart */
        cr_expect_leq(keepers.mores, 8 * ways, "%s: more than two for %u ms", name,
                      10 * keepers.mores);
        for (unsigned i = 0; i < 2; i++) {
            const struct line *l = &line[i];
            const char *way = i ? "in" : "out";
            cr_expect_leq(l->highs, 6, "%s, %s: %u looks above the rate", name, way, l->highs);
            cr_expect_eq(l->low, 0, "%s, %s: %u in a look", name, way, l->least);
        }
        village_free(v);
    }
}

/* A viewer with two ways to a seeder, for whom the first has been silent for a while: another
 * is begun, somebody came to it, and it asks its second hop for the rate that it takes over. */
struct taking_over {
    struct village *v;
    unsigned viewer;
    cv_handle view;
    struct tun_hidden *h;
    struct tun_meet *silent, *other, *fresh; /* two that are up, and the new one */
};

static struct tun_meet *meet_in(const struct taking_over *s, enum tun_meet_state state,
                                const struct tun_meet *but) {
    for (unsigned i = 0; i < TUN_MEETINGS_MAX; i++) {
        struct tun_meet *m = &s->h->viewer->meet[i];
        if (m->state == state && m != but)
            return m;
    }
    return NULL;
}

static bool is_pacing(void *ctx) {
    struct taking_over *s = ctx;
    for (unsigned i = 0; i < TUN_MEETINGS_MAX; i++)
        if (s->h->viewer->meet[i].pacing)
            s->fresh = &s->h->viewer->meet[i];
    return s->fresh != NULL;
}

static struct taking_over taking_over(uint64_t seed, bool both) {
    struct taking_over s = {.v = village_new(&(struct sim_config){.seed = seed}, 8)};
    sim_path_default(s.v->w->sim, &(struct sim_path){.delay = CV_MSEC(10)});
    world_run(s.v->w, CV_SEC(3));
    (void)seeded(s.v, &(cv_handle){0});
    s.viewer = village_client(s.v);
    world_run(s.v->w, CV_SEC(3));
    s.view = village_view(s.v, s.viewer, "film");
    keep(s.v, s.viewer, s.view, 2);
    cr_assert(village_meet(s.v, s.viewer, s.view, 2, CV_SEC(20)), "seed %lu", seed);
    world_run(s.v->w, CV_SEC(1));
    s.h = village_hidden(s.v, s.viewer, s.view);
    s.silent = meet_in(&s, TUN_MEET_UP, NULL);
    s.other = meet_in(&s, TUN_MEET_UP, s.silent);
    cr_assert_not_null(s.other);
    cv_usec now = world_now(s.v->w, s.viewer).mono;
    s.silent->quiet_at = now - CV_SEC(1);
    s.silent->look_at = now + CV_SEC(60); /* until then it is what we say */
    if (both) {
        s.other->quiet_at = s.silent->quiet_at;
        s.other->look_at = s.silent->look_at;
    }
    cr_assert(sim_run_while_not(s.v->w->sim, is_pacing, &s, sim_now(s.v->w->sim) + CV_SEC(20)),
              "seed %lu: nobody takes over", seed);
    return s;
}

static struct tun_rates rates_of(const struct taking_over *s) {
    struct tun_rates r;
    tun_rates(s->v->w->node[s->viewer].t, &r);
    return r;
}

/* What it was begun for is over before it keeps a rate: then it never does. */
Test(tun_hidden, a_silent_way_that_speaks_again_keeps_its_rate_and_no_third_has_one) {
    struct taking_over s = taking_over(3, false);
    s.silent->quiet_at = 0;
    world_run(s.v->w, CV_SEC(1));
    cr_expect_eq(rates_of(&s).circuits, TUN_PACED_CIRCUITS, "%u", rates_of(&s).circuits);
    cr_expect_eq(rates_of(&s).running_on, 0);
    cr_expect_eq(s.silent->state, TUN_MEET_UP);
    cr_expect_eq(s.other->state, TUN_MEET_UP);
    cr_expect_eq(village_up(s.v, s.viewer, s.view), 2);
    village_free(s.v);
}

/* Its second hop says nothing about the rate: that is not the seeder's fault, who came. */
Test(tun_hidden, who_came_is_not_blamed_for_a_relay_that_keeps_no_rate) {
    struct taking_over s = taking_over(3, false);
    const struct tun_known *k = s.h->viewer->known;
    while (memcmp(&k->contact, &s.fresh->contact, sizeof k->contact) != 0)
        k++;
    unsigned fails = k->fails, tries = s.fresh->tries;
    s.fresh->until = world_now(s.v->w, s.viewer).mono; /* it took too long */
    s.h->all->next = 0;
    sim_touch(s.v->w->sim, s.viewer);
    world_run(s.v->w, CV_MSEC(2));
    cr_expect_eq(s.fresh->tries, tries + 1);
    cr_expect_not(s.fresh->pacing);
    cr_expect_eq(k->fails, fails, "%u failures, %u before", k->fails, fails);
    cr_expect_not(s.h->viewer->missed);
    cr_expect_eq(rates_of(&s).circuits, TUN_PACED_CIRCUITS);
    village_free(s.v);
}

/* Rates that a relay keeps. */
static unsigned paces(const struct taking_over *s, unsigned relay) {
    unsigned n = 0;
    const struct tun_hop_pace *p;
    TAILQ_FOREACH(p, &s->v->w->node[relay].t->paces, entry)
    n++;
    return n;
}

/* Answers of the second hop of a way are lost from now on, or come again. */
static void cut_answers(struct taking_over *s, const struct tun_meet *m, bool cut) {
    unsigned from = relay_of(s->v, s->viewer, &m->rp, 1), to = relay_of(s->v, s->viewer, &m->rp, 0);
    sim_path(s->v->w->sim, from, to, &(struct sim_path){.delay = CV_MSEC(10), .cut = cut});
}

/* Somebody behind its second hop ends it, and the answer is lost: what nobody agreed on does
 * not run on. */
Test(tun_hidden, a_way_that_ends_before_its_rate_is_agreed_on_leaves_none_behind) {
    struct taking_over s = taking_over(3, false);
    struct tunnel *last = s.v->w->node[relay_of(s.v, s.viewer, &s.fresh->rp, 2)].t;
    unsigned second = relay_of(s.v, s.viewer, &s.fresh->rp, 1), before = paces(&s, second);
    cut_answers(&s, s.fresh, true);
    while (s.fresh->pacing && paces(&s, second) == before)
        world_run(s.v->w, CV_MSEC(1));
    world_run(s.v->w, CV_MSEC(12)); /* it has answered at its next tick */
    cut_answers(&s, s.fresh, false);
    cr_assert(s.fresh->pacing && !s.fresh->rp.keeps);
    uint32_t cursor = 0, ended = 0;
    struct tun_hop *hop;
    while (!ended && (hop = tun_handles_next(&last->hops, &cursor)) != NULL)
        if (hop->spliced) {
            tun_hop_destroy(last, hop, NULL);
            ended++;
        }
    cr_assert_eq(ended, 1);
    sim_touch(s.v->w->sim, relay_of(s.v, s.viewer, &s.fresh->rp, 2));
    world_run(s.v->w, CV_MSEC(60));
    cr_expect_eq(rates_of(&s).running_on, 0);
    cr_expect_eq(rates_of(&s).circuits, TUN_PACED_CIRCUITS, "%u", rates_of(&s).circuits);
    cr_expect_eq(s.fresh->state, TUN_MEET_BUILDING, "by another rendezvous");
    village_free(s.v);
}

/* Ways whose second hop has agreed, and what runs on. */
static unsigned kept(const struct taking_over *s) {
    unsigned n = tun_hidden_running_on(s->h);
    for (unsigned i = 0; i < TUN_MEETINGS_MAX; i++)
        n += s->h->viewer->meet[i].rp.keeps;
    return n;
}

/* Both ways are silent, and to two others somebody came: when one has its rate, that of one is
 * too much. The rate that the second has only asked for may be refused. */
Test(tun_hidden, what_is_only_ordered_ends_no_rate_that_is_kept) {
    unsigned staged = 0;
    for (uint64_t seed = 1; seed <= 8 && staged < 1; seed++) {
        struct taking_over s = taking_over(seed, true);
        cut_answers(&s, s.fresh, true);
        unsigned least = UINT_MAX, agreed = 0;
        for (unsigned ms = 0; ms < 2000 && s.fresh->pacing; ms++) {
            world_run(s.v->w, CV_MSEC(1));
            least = kept(&s) < least ? kept(&s) : least;
            for (unsigned i = 0; i < TUN_MEETINGS_MAX && s.fresh->pacing; i++)
                agreed += s.h->viewer->meet[i].state == TUN_MEET_UP &&
                          &s.h->viewer->meet[i] != s.silent && &s.h->viewer->meet[i] != s.other;
        }
        staged += agreed > 0;
        cr_expect_geq(least, TUN_PACED_CIRCUITS, "seed %lu: %u", seed, least);
        village_free(s.v);
    }
    cr_expect_geq(staged, 1, "in none did another have its rate first");
}

/* A node that keeps a constant rate does not show that somebody waits in front of it. */
Test(tun_hidden, a_reader_that_waits_is_not_seen_where_the_rate_is_constant) {
    for (unsigned paced = 0; paced < 2; paced++) {
        struct village *v = six(133);
        (void)seeded(v, &(cv_handle){0});
        unsigned viewer = village_client(v);
        cv_handle view = village_view(v, viewer, "film");
        if (paced)
            keep(v, viewer, view, 2);
        cr_assert(village_meet(v, viewer, view, 2, CV_SEC(20)));
        world_run(v->w, CV_SEC(1));
        struct tun_hiddens *all = tun_attached(v->w->node[viewer].t, TUN_USER_HIDDEN);
        all->hurry = false;
        struct tun_viewer *s = viewer_of(v, viewer, view);
        cr_assert_not(s->searching);
        s->others_pause = CV_SEC(300);
        s->round_ended_at = world_now(v->w, viewer).mono - CV_SEC(70);
        unsigned n = rounds(v, viewer, view, 2, /* starves= */ true);
        cr_expect_eq(n, paced ? 0 : 1, "%s: %u rounds", paced ? "constant" : "as it comes", n);
        village_free(v);
    }
}

Test(tun_hidden, where_no_relay_keeps_the_rate_nobody_is_met_without_it) {
    struct village *v = six(4);
    cv_handle share;
    (void)seeded(v, &share);
    for (unsigned i = 0; i < 6; i++)
        v->w->node[i].t->cfg.send_octets_s = 1000; /* half of nothing is nothing */
    unsigned viewer = village_client(v);
    cv_handle view = village_view(v, viewer, "film");
    keep(v, viewer, view, 2);
    cr_expect_not(village_meet(v, viewer, view, 1, CV_SEC(30)));
    struct tun_hidden_info info;
    cr_assert_eq(tun_hidden_info(v->w->node[viewer].t, view, &info), CV_ERR_OK);
    cr_expect(info.paces_refused > 1 && info.paces_refused <= 64, "%u", info.paces_refused);
    village_free(v);
}

/* ---- 03:00 UTC, when everybody goes over to other descriptors ---- */

#define DAY_TURN ((int64_t)20700 * 86400 + 3 * 3600)

static void expect_day(struct village *v, unsigned node, unsigned relays, const char *who) {
    struct tun_client_status s = status(v, node);
    cr_expect_eq(s.confirmed, relays, "%s: %u of the new day are confirmed", who, s.confirmed);
    cr_expect_gt(s.ahead, 0, "%s: no circuit is ready", who);
}

/* Until the turn, and a moment. */
static void run_over_the_turn(struct village *v, unsigned node, cv_usec more) {
    int64_t left = DAY_TURN - world_now(v->w, node).wall;
    world_run(v->w, CV_SEC((uint64_t)left) + more);
}

/* Who has asked two relays about tomorrow by then has everything at once; these came a minute
 * before, and begin anew. */
Test(tun_hidden, a_day_turns_and_everybody_stays) {
    for (uint64_t seed = 1; seed <= 3; seed++) {
        struct village *v =
            village_new(&(struct sim_config){.seed = seed, .wall = DAY_TURN - 420}, 8);
        sim_path_default(v->w->sim, &near);
        world_run(v->w, CV_SEC(360));
        cv_handle share;
        unsigned seeder = seeded(v, &share), viewer = village_client(v), idle = village_client(v);
        cv_handle view = village_view(v, viewer, "film");
        cr_assert(village_meet(v, viewer, view, 2, CV_SEC(10)), "seed %lu: before", seed);

        run_over_the_turn(v, viewer, CV_SEC(40));
        expect_day(v, seeder, 8, "seeder");
        expect_day(v, viewer, 8, "viewer");
        expect_day(v, idle, 8, "idle");
        cr_expect_geq(village_up(v, viewer, view), 1, "seed %lu: those who met stay", seed);
        /* Contacts name the points by the D of the new day: who comes new, when no clock that is
         * wrong lives in the old one any more, knows no other. */
        world_run(v->w, CV_SEC(seed == 1 ? TUN_TURN_S : 90));
        unsigned late = village_client(v);
        view = village_view(v, late, "film");
        cr_expect(village_meet(v, late, view, 1, CV_SEC(10)), "seed %lu: after", seed);
        village_free(v);
    }
}

/* A viewer that comes, an introduction point and a rendezvous point each named by one of the two by
 * the D of another day than the other's: they meet as soon as at any time. The whole table, with
 * relays whose clocks are wrong, too: tests/scenarios/clocks.c. */
Test(tun_hidden, who_lives_in_another_day_is_met_as_soon) {
    static const struct row {
        const char *name;
        int64_t seeder, viewer; /* what their clocks are ahead */
    } rows[] = {{"a point of yesterday", -TUN_CLOCK_OFF_S, TUN_CLOCK_OFF_S},
                {"a rendezvous of yesterday", TUN_CLOCK_OFF_S, -TUN_CLOCK_OFF_S}};
    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct village *v =
            village_new(&(struct sim_config){.seed = 40 + i, .wall = DAY_TURN - 420}, 8);
        sim_path_default(v->w->sim, &near);
        world_run(v->w, CV_SEC(400));
        unsigned seeder = village_client(v);
        sim_wall_skew(v->w->sim, seeder, rows[i].seeder);
        cv_handle share = village_share(v, seeder, "film", false);
        world_run(v->w, CV_SEC(5));
        struct tun_hidden_info info;
        cr_assert_eq(tun_hidden_info(v->w->node[seeder].t, share, &info), CV_ERR_OK);
        cr_assert_eq(info.state, TUN_HIDDEN_SHARED, "%s", rows[i].name);
        unsigned viewer = village_client(v);
        sim_wall_skew(v->w->sim, viewer, rows[i].viewer);
        cv_usec began = sim_now(v->w->sim);
        cv_handle view = village_view(v, viewer, "film");
        cr_expect(village_meet(v, viewer, view, 1, CV_SEC(3)), "%s", rows[i].name);
        cr_expect_leq(sim_now(v->w->sim) - began, CV_SEC(2), "%s", rows[i].name);
        village_free(v);
    }
}

/* Where it answered yesterday, links go only until it answers somewhere else today. */
Test(tun_hidden, links_go_where_a_relay_answered_under_this_descriptor) {
    struct village *v = six(9);
    world_run(v->w, CV_SEC(10));
    struct tun_directory *dir = tun_client_directory(v->w->node[0].t);
    unsigned day = tun_descriptor_day(world_now(v->w, 0).wall);
    struct tun_relay *r = tun_directory_find(dir, v->w->node[1].t->cfg.identity->public_key, day);
    cr_assert(r && r->reached && cv_addr_equal(&r->reached_at, &v->w->node[1].addr));
    r->kept = r->reached;
    r->reached_at.port++;
    r->again_at = 0;
    for (unsigned i = 0; i < 120 && r->kept; i++)
        world_run(v->w, CV_SEC(1));
    cr_expect_not(r->kept, "it was asked again");
    cr_expect(cv_addr_equal(&r->reached_at, &v->w->node[1].addr));
    village_free(v);
}

/* Eight relays in the middle of a day, and a client that has learnt them. */
static struct village *settled(unsigned *ret_client) {
    struct village *v = village_new(&(struct sim_config){.seed = 7, .wall = DAY_TURN + 36000}, 8);
    sim_path_default(v->w->sim, &near);
    world_run(v->w, CV_SEC(10));
    *ret_client = village_client(v);
    world_run(v->w, CV_SEC(30));
    return v;
}

/* Nights of which nobody noticed anything: what was known is not even of yesterday. */
Test(tun_hidden, who_slept_over_the_turn_of_the_day_begins_anew) {
    unsigned client;
    struct village *v = settled(&client);
    expect_day(v, client, 8, "before");
    for (unsigned i = 0; i < v->w->nodes; i++)
        sim_wall_skew(v->w->sim, i, 68 * 3600);
    world_run(v->w, CV_SEC(150));
    expect_day(v, client, 8, "after");
    village_free(v);
}

/* A client alone slept: what relays say first must not give it another second layer. */
Test(tun_hidden, who_slept_has_the_second_layer_that_it_had) {
    unsigned client;
    struct village *v = settled(&client);
    const struct tun_guards *g = tun_client_guards(v->w->node[client].t);
    struct tun_guards before = *g;
    for (unsigned i = 0; i < 8; i++)
        sim_wall_skew(v->w->sim, i, 68 * 3600);
    world_run(v->w, CV_SEC(150));
    sim_wall_skew(v->w->sim, client, 68 * 3600);
    world_run(v->w, CV_SEC(200));
    expect_day(v, client, 8, "after");
    unsigned stay = 0;
    for (unsigned i = 0; i < TUN_SECOND_MAX; i++) {
        const struct tun_guard *l = &before.second[i];
        if (!l->set || l->until < world_now(v->w, client).wall)
            continue;
        stay++;
        cr_expect(tun_guards_is_second(g, l->identity), "L %u, of which nothing was known yet", i);
    }
    cr_expect_gt(stay, 0);
    village_free(v);
}

/* A guard and one L are confirmed, and nobody else: every circuit ends at that guard, whose word
 * on the others is there already. Neighbours knew nobody when they were asked. */
Test(tun_hidden, who_has_one_last_hop_alone_asks_its_neighbours_again) {
    unsigned client;
    struct village *v = settled(&client);
    const struct tun_guards *g = tun_client_guards(v->w->node[client].t);
    struct tun_relay *all[8];
    size_t n = tun_directory_list(tun_client_directory(v->w->node[client].t),
                                  tun_descriptor_day(world_now(v->w, client).wall),
                                  TUN_DIRECTORY_CONFIRMED, all, 8);
    cr_assert_eq(n, 8);
    for (size_t i = 0; i < n; i++) {
        if (memcmp(all[i]->desc.identity, g->first[0].identity, CV_KEY) == 0 ||
            memcmp(all[i]->desc.identity, g->second[0].identity, CV_KEY) == 0)
            continue;
        all[i]->confirmed = false;
        all[i]->claims = all[i]->claim_next = 0;
    }
    world_run(v->w, CV_SEC(120));
    expect_day(v, client, 8, "after");
    village_free(v);
}

/* From 21:00 on relays tell each other of tomorrow: at 03:00 everything is there, at relays at
 * once, and at who asked between. */
Test(tun_hidden, tomorrows_descriptors_are_there_before_they_are_used) {
    struct village *v =
        village_new(&(struct sim_config){.seed = 8, .wall = DAY_TURN - 5 * 3600 - 420}, 8);
    sim_path_default(v->w->sim, &near);
    world_run(v->w, CV_SEC(430)); /* 22:00 */
    unsigned day = tun_descriptor_day(world_now(v->w, 0).wall);
    for (unsigned i = 0; i < 8; i++) {
        struct tun_directory *dir = tun_client_directory(v->w->node[i].t);
        cr_expect_eq(tun_directory_count(dir, day + 1, TUN_DIRECTORY_PASSED), 8, "relay %u", i);
        const uint8_t *own = v->w->node[i].t->cfg.identity->public_key;
        const struct tun_relay *r = tun_directory_find(dir, own, day + 1);
        cr_expect(r && !r->reached_at.family, "relay %u would be its own neighbour", i);
    }
    unsigned client = village_client(v);
    struct tun_directory *dir = tun_client_directory(v->w->node[client].t);
    world_run(v->w, CV_SEC(30));
    cr_expect_eq(tun_directory_count(dir, day, TUN_DIRECTORY_CONFIRMED), 8);
    cr_expect_geq(tun_directory_count(dir, day + 1, TUN_DIRECTORY_KNOWN), 5, "all off the way");
    village_free(v);
}
