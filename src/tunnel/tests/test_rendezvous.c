/*
 * Introduction and rendezvous as the relays in the middle see them: two
 * circuits of two owners meet, datagrams pass both ways, and either end's
 * leaving ends both.
 */
#include "support/suite.h"
#include "tunnel/tests/world.h"

CV_SUITE(tun_rendezvous);

enum { RP = 6, VIEWER = 7, SEEDER = 8 };
static const unsigned viewer_path[] = {0, 1, RP};
static const unsigned seeder_path[] = {2, 3, 4, RP};
static const uint8_t cookie[20] = "twenty octets of it";

static struct world *nine(uint64_t seed, uint32_t loss_ppm) {
    struct world *w = world_new(&(struct sim_config){.seed = seed});
    for (unsigned i = 0; i < 7; i++)
        world_relay(w, NULL);
    world_client(w, NULL);
    world_client(w, NULL);
    sim_path_default(w->sim, &(struct sim_path){.delay = CV_MSEC(5), .loss_ppm = loss_ppm});
    return w;
}

static uint32_t join(struct world *w, cv_handle c, const char *flight) {
    struct tun_rendezvous m = {.flight = (const uint8_t *)flight, .flight_len = strlen(flight)};
    memcpy(m.cookie, cookie, sizeof cookie);
    uint8_t body[256];
    struct cv_wr wr = cv_wr_init(body, sizeof body);
    tun_rendezvous_write(&wr, &m);
    return world_request(w, SEEDER, c, TUN_CMD_JOIN, body + 4, cv_wr_len(&wr) - 4);
}

struct meeting {
    cv_handle viewer, seeder;
    uint32_t established;
};

static struct meeting meet(struct world *w) {
    struct meeting m = {.viewer = world_circuit(w, VIEWER, viewer_path, 3),
                        .seeder = world_circuit(w, SEEDER, seeder_path, 4)};
    cr_assert_neq(m.viewer, 0);
    cr_assert_neq(m.seeder, 0);
    m.established =
        world_request(w, VIEWER, m.viewer, TUN_CMD_ESTABLISH_RENDEZVOUS, cookie, sizeof cookie);
    world_run(w, CV_SEC(3));
    struct world_event *e = world_reply(w, VIEWER, m.established);
    cr_assert_not_null(e);
    cr_assert_eq(e->ev.reply.command, TUN_CMD_RENDEZVOUS_ESTABLISHED);
    return m;
}

static struct world_event *find_command(struct world *w, unsigned node, uint8_t command) {
    struct world_event *e;
    for (unsigned i = 0; (e = world_find(w, node, TUN_EVENT_REPLY, i)) != NULL; i++)
        if (e->ev.reply.command == command)
            return e;
    return NULL;
}

Test(tun_rendezvous, joins_two_circuits_for_datagrams_both_ways) {
    struct world *w = nine(1, 0);
    struct meeting m = meet(w);
    w->node[VIEWER].keep_datagrams = w->node[SEEDER].keep_datagrams = true;
    uint32_t joined = join(w, m.seeder, "second flight");
    world_run(w, CV_MSEC(200));
    struct world_event *e = world_reply(w, SEEDER, joined);
    cr_assert_not_null(e);
    cr_expect_eq(e->ev.reply.command, TUN_CMD_JOINED);
    cr_expect_eq(e->ev.reply.len, 0);
    e = find_command(w, VIEWER, TUN_CMD_JOINED);
    cr_assert_not_null(e);
    cr_expect_eq(e->ev.reply.transaction, m.established);
    cr_assert_eq(e->ev.reply.len, 13);
    cr_expect_arr_eq(e->ev.reply.body, "second flight", 13);

    uint8_t big[TUN_MTU_FORWARD];
    for (size_t i = 0; i < sizeof big; i++)
        big[i] = (uint8_t)(i * 3);
    for (unsigned i = 0; i < 20; i++) {
        cr_expect_eq(world_send(w, VIEWER, m.viewer, big, sizeof big - i), CV_ERR_OK);
        cr_expect_eq(world_send(w, SEEDER, m.seeder, big, i), CV_ERR_OK);
    }
    world_run(w, CV_MSEC(200));
    cr_assert_eq(world_count(w, VIEWER, TUN_EVENT_DATAGRAM), 20);
    cr_assert_eq(world_count(w, SEEDER, TUN_EVENT_DATAGRAM), 20);
    for (unsigned i = 0; i < 20; i++) {
        e = world_find(w, SEEDER, TUN_EVENT_DATAGRAM, i);
        cr_assert_eq(e->ev.datagram.len, sizeof big - i);
        cr_expect_arr_eq(e->ev.datagram.buf, big, e->ev.datagram.len);
        cr_expect_eq(world_find(w, VIEWER, TUN_EVENT_DATAGRAM, i)->ev.datagram.len, i);
    }
    /* told once it was heard, JOINED is not said again */
    unsigned before = world_count(w, VIEWER, TUN_EVENT_REPLY);
    world_run(w, CV_SEC(20));
    cr_expect_eq(world_count(w, VIEWER, TUN_EVENT_REPLY), before);
    world_free(w);
}

Test(tun_rendezvous, joined_reaches_the_viewer_on_a_lossy_network) {
    for (uint64_t seed = 0; seed < 20; seed++) {
        struct world *w = nine(seed, 0);
        struct meeting m = meet(w);
        sim_path_default(w->sim, &(struct sim_path){.delay = CV_MSEC(5), .loss_ppm = 100000});
        join(w, m.seeder, "second flight");
        world_run(w, CV_SEC(9));
        /* five repetitions of four crossings at 10 %: one in 200 worlds fails */
        cr_expect_not_null(find_command(w, VIEWER, TUN_CMD_JOINED), "seed %lu", seed);
        world_free(w);
    }
}

Test(tun_rendezvous, who_leaves_takes_the_other_along) {
    for (unsigned who = 0; who < 2; who++) {
        struct world *w = nine(1, 0);
        struct meeting m = meet(w);
        join(w, m.seeder, "x");
        world_run(w, CV_MSEC(200));
        unsigned node = who ? SEEDER : VIEWER, other = who ? VIEWER : SEEDER;
        struct cv_now now = world_now(w, node);
        tun_circuit_close(w->node[node].t, &now, who ? m.seeder : m.viewer);
        sim_touch(w->sim, node);
        world_run(w, CV_SEC(1));
        cr_expect_eq(world_count(w, other, TUN_EVENT_CIRCUIT_DOWN), 1);
        for (unsigned i = 0; i < 7; i++)
            cr_expect_eq(tun_counters(w->node[i].t)->hops, 0, "relay %u", i);
        world_free(w);
    }
}

Test(tun_rendezvous, a_cookie_is_good_once_and_unknown_ones_are_refused) {
    struct world *w = nine(1, 0);
    struct meeting m = meet(w);
    cv_handle second = world_circuit(w, SEEDER, (const unsigned[]){2, 3, 5, RP}, 4);
    join(w, m.seeder, "x");
    world_run(w, CV_SEC(1));
    uint32_t again = join(w, second, "y");
    world_run(w, CV_SEC(1));
    struct world_event *e = world_reply(w, SEEDER, again);
    cr_assert_not_null(e);
    cr_expect_eq(e->ev.reply.code, TUN_ERROR_NOENT);
    /* a joined circuit has its role for good */
    uint32_t more =
        world_request(w, VIEWER, m.viewer, TUN_CMD_ESTABLISH_RENDEZVOUS, cookie, sizeof cookie);
    world_run(w, CV_SEC(1));
    e = world_reply(w, VIEWER, more);
    cr_assert_not_null(e);
    cr_expect_eq(e->ev.reply.code, TUN_ERROR_REFUSED);
    world_free(w);
}

/* ---- introduction ---- */

static uint32_t establish(struct world *w, cv_handle c, const struct cv_ed25519_secret *auth,
                          unsigned hop) {
    struct tun_establish_intro m;
    uint8_t binding[32];
    cr_assert_eq(tun_circuit_binding(w->node[SEEDER].t, c, hop, binding), CV_ERR_OK);
    tun_establish_intro_sign(&m, auth, binding);
    uint8_t body[256];
    struct cv_wr wr = cv_wr_init(body, sizeof body);
    tun_establish_intro_write(&wr, &m);
    uint32_t transaction =
        world_request(w, SEEDER, c, TUN_CMD_ESTABLISH_INTRO, body + 4, cv_wr_len(&wr) - 4);
    world_run(w, CV_SEC(1));
    return transaction;
}

static uint32_t introduce(struct world *w, cv_handle c, const uint8_t auth_key[CV_KEY]) {
    struct tun_introduce m = {.flight = (const uint8_t *)"first flight", .flight_len = 12};
    memcpy(m.auth_key, auth_key, CV_KEY);
    uint8_t body[256];
    struct cv_wr wr = cv_wr_init(body, sizeof body);
    tun_introduce_write(&wr, &m);
    uint32_t transaction =
        world_request(w, VIEWER, c, TUN_CMD_INTRODUCE, body + 4, cv_wr_len(&wr) - 4);
    world_run(w, CV_SEC(1));
    return transaction;
}

static uint8_t ack_status(struct world *w, uint32_t transaction) {
    struct world_event *e = world_reply(w, VIEWER, transaction);
    cr_assert_not_null(e);
    cr_assert_eq(e->ev.reply.command, TUN_CMD_INTRODUCE_ACK);
    cr_assert_eq(e->ev.reply.len, 1);
    return e->ev.reply.body[0];
}

Test(tun_rendezvous, an_introduction_reaches_the_holder_of_the_key_only) {
    struct world *w = nine(1, 0);
    struct cv_ed25519_secret auth_secret, other_secret;
    cv_ed25519_from_seed(&auth_secret, (const uint8_t[CV_KEY]){1});
    cv_ed25519_from_seed(&other_secret, (const uint8_t[CV_KEY]){2});
    cv_handle seeder = world_circuit(w, SEEDER, seeder_path, 4);
    cv_handle viewer = world_circuit(w, VIEWER, (const unsigned[]){0, 1, 5, RP}, 4);

    cr_expect_eq(ack_status(w, introduce(w, viewer, auth_secret.public_key)), TUN_ERROR_NOENT);
    /* a signature for another hop of the circuit is worth nothing here */
    struct world_event *e = world_reply(w, SEEDER, establish(w, seeder, &auth_secret, 2));
    cr_assert_not_null(e);
    cr_expect_eq(e->ev.reply.code, TUN_ERROR_REFUSED);
    e = world_reply(w, SEEDER, establish(w, seeder, &auth_secret, 3));
    cr_assert_not_null(e);
    cr_expect_eq(e->ev.reply.command, TUN_CMD_INTRO_ESTABLISHED);

    cr_expect_eq(ack_status(w, introduce(w, viewer, other_secret.public_key)), TUN_ERROR_NOENT);
    cr_expect_null(find_command(w, SEEDER, TUN_CMD_INTRODUCTION));
    cr_expect_eq(ack_status(w, introduce(w, viewer, auth_secret.public_key)), 0);
    e = find_command(w, SEEDER, TUN_CMD_INTRODUCTION);
    cr_assert_not_null(e);
    cr_expect_eq(e->ev.reply.transaction, 0);
    struct cv_rd r = cv_rd_init(e->ev.reply.body, e->ev.reply.len);
    struct tun_introduce in;
    cr_assert_eq(tun_introduction_read(&r, &in), CV_ERR_OK);
    cr_expect_eq(in.flight_len, 12);
    cr_expect_arr_eq(in.flight, "first flight", 12);

    struct cv_now now = world_now(w, SEEDER);
    tun_circuit_close(w->node[SEEDER].t, &now, seeder);
    sim_touch(w->sim, SEEDER);
    world_run(w, CV_SEC(1));
    cr_expect_eq(ack_status(w, introduce(w, viewer, auth_secret.public_key)), TUN_ERROR_NOENT);
    world_free(w);
}

/* Eight at once of one circuit, twenty of all. */
Test(tun_rendezvous, introductions_to_one_seeder_have_a_rate) {
    struct world *w = nine(1, 0);
    struct cv_ed25519_secret auth_secret;
    cv_ed25519_from_seed(&auth_secret, (const uint8_t[CV_KEY]){1});
    cv_handle seeder = world_circuit(w, SEEDER, seeder_path, 4);
    cv_handle viewer[3];
    for (unsigned i = 0; i < 3; i++)
        viewer[i] = world_circuit(w, VIEWER, (const unsigned[]){0, 1, 5, RP}, 4);
    establish(w, seeder, &auth_secret, 3);
    struct tun_introduce m = {.flight = (const uint8_t *)"f", .flight_len = 1};
    memcpy(m.auth_key, auth_secret.public_key, CV_KEY);
    uint8_t body[256];
    struct cv_wr wr = cv_wr_init(body, sizeof body);
    tun_introduce_write(&wr, &m);
    for (unsigned i = 0; i < 30; i++)
        world_request(w, VIEWER, viewer[i / 10], TUN_CMD_INTRODUCE, body + 4, cv_wr_len(&wr) - 4);
    world_run(w, CV_MSEC(150));
    unsigned busy = 0, passed = 0, first = 0;
    struct world_event *e;
    for (unsigned i = 0; (e = world_find(w, VIEWER, TUN_EVENT_REPLY, i)) != NULL; i++) {
        busy += e->ev.reply.body[0] == TUN_ERROR_BUSY;
        passed += e->ev.reply.body[0] == 0;
        first += e->ev.reply.body[0] == 0 && e->ev.reply.circuit == viewer[0];
    }
    cr_expect_eq(first, 8);
    cr_expect_eq(passed, 20);
    cr_expect_eq(busy, 10);
    world_free(w);
}

/* A circuit with a point asks for nobody: its bucket is for what is passed on to it, and who
 * emptied it by asking would keep everybody out, or fill it by turning from one to the other. */
Test(tun_rendezvous, a_point_introduces_nobody) {
    struct world *w = nine(1, 0);
    struct cv_ed25519_secret auth_secret, other_secret;
    cv_ed25519_from_seed(&auth_secret, (const uint8_t[CV_KEY]){1});
    cv_ed25519_from_seed(&other_secret, (const uint8_t[CV_KEY]){2});
    cv_handle point = world_circuit(w, SEEDER, seeder_path, 4);
    cv_handle other = world_circuit(w, SEEDER, seeder_path, 4);
    cv_handle viewer[3];
    for (unsigned i = 0; i < 3; i++)
        viewer[i] = world_circuit(w, VIEWER, (const unsigned[]){0, 1, 5, RP}, 4);
    establish(w, point, &auth_secret, 3);
    establish(w, other, &other_secret, 3);

    struct tun_introduce m = {.flight = (const uint8_t *)"f", .flight_len = 1};
    uint8_t body[256];
    uint32_t asked[10];
    memcpy(m.auth_key, other_secret.public_key, CV_KEY);
    for (unsigned i = 0; i < 10; i++) {
        struct cv_wr wr = cv_wr_init(body, sizeof body);
        tun_introduce_write(&wr, &m);
        asked[i] = world_request(w, SEEDER, point, TUN_CMD_INTRODUCE, body + 4, cv_wr_len(&wr) - 4);
    }
    world_run(w, CV_MSEC(150));
    for (unsigned i = 0; i < 10; i++) {
        struct world_event *e = world_reply(w, SEEDER, asked[i]);
        cr_assert_not_null(e);
        cr_expect_eq(e->ev.reply.body[0], TUN_ERROR_REFUSED, "%u", e->ev.reply.body[0]);
    }
    cr_expect_null(find_command(w, SEEDER, TUN_CMD_INTRODUCTION));

    memcpy(m.auth_key, auth_secret.public_key, CV_KEY);
    for (unsigned i = 0; i < 24; i++) {
        struct cv_wr wr = cv_wr_init(body, sizeof body);
        tun_introduce_write(&wr, &m);
        world_request(w, VIEWER, viewer[i / 8], TUN_CMD_INTRODUCE, body + 4, cv_wr_len(&wr) - 4);
    }
    world_run(w, CV_MSEC(150));
    unsigned passed = 0;
    struct world_event *e;
    for (unsigned i = 0; (e = world_find(w, VIEWER, TUN_EVENT_REPLY, i)) != NULL; i++)
        passed += e->ev.reply.body[0] == 0;
    cr_expect_eq(passed, TUN_INTRODUCTIONS_BURST, "%u", passed);
    world_free(w);
}

/* Twenty at once are what may be passed on to a point. When its key moves on, the circuit that
 * it had asks as any other does. */
Test(tun_rendezvous, who_was_a_point_asks_no_more_than_others) {
    struct world *w = nine(1, 0);
    struct cv_ed25519_secret auth_secret;
    cv_ed25519_from_seed(&auth_secret, (const uint8_t[CV_KEY]){1});
    cv_handle old = world_circuit(w, SEEDER, seeder_path, 4);
    cv_handle new = world_circuit(w, SEEDER, seeder_path, 4);
    establish(w, old, &auth_secret, 3);
    struct tun_introduce m = {.flight = (const uint8_t *)"f", .flight_len = 1};
    memcpy(m.auth_key, auth_secret.public_key, CV_KEY);
    uint8_t body[256];
    uint32_t asked[20];
    establish(w, new, &auth_secret, 3);
    for (unsigned round = 0; round < 2; round++) {
        for (unsigned i = 0; i < 20; i++) {
            struct cv_wr wr = cv_wr_init(body, sizeof body);
            tun_introduce_write(&wr, &m);
            asked[i] =
                world_request(w, SEEDER, old, TUN_CMD_INTRODUCE, body + 4, cv_wr_len(&wr) - 4);
        }
        world_run(w, CV_MSEC(150));
        unsigned passed = 0;
        for (unsigned i = 0; i < 20; i++) {
            struct world_event *e = world_reply(w, SEEDER, asked[i]);
            cr_assert_not_null(e);
            passed += e->ev.reply.body[0] == 0;
        }
        cr_expect_leq(passed, round ? TUN_ASKED_BURST : TUN_ASKED_BURST - 1,
                      "round %u: %u; what was saved up for a point is gone", round, passed);
        cr_expect_geq(passed, round ? TUN_ASKED_BURST : 0, "round %u: %u", round, passed);
        world_run(w, CV_SEC(6));
    }
    world_free(w);
}
