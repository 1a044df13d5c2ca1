/*
 * Circuits over the simulated network: telescoping, datagrams both ways,
 * requests that are repeated in new cells, and what goes wrong on the way.
 */
#include "crypto/rng_seeded.h"
#include "support/suite.h"
#include "tunnel/tests/world.h"

CV_SUITE(tun_circuit);

static const unsigned chain[] = {0, 1, 2, 3};

Test(tun_circuit, every_length_is_built_in_one_round_trip_a_hop) {
    for (unsigned hops = 1; hops <= 4; hops++) {
        struct world *w = world_five(&(struct sim_config){.seed = hops},
                                     &(struct sim_path){.delay = CV_MSEC(10)}, NULL);
        cv_handle c = world_circuit(w, 4, chain, hops);
        cr_assert_neq(c, 0, "%u hops", hops);
        struct world_event *e = world_find(w, 4, TUN_EVENT_CIRCUIT_READY, 0);
        cr_assert_not_null(e);
        cr_expect_eq(e->ev.circuit_ready.hops, hops);
        /* each hop: its link's handshake, then CREATE or EXTEND over i hops */
        cv_usec rtt = CV_MSEC(20), want = 0;
        for (unsigned i = 1; i <= hops; i++)
            want += rtt + rtt * i;
        cr_expect_leq(e->ev.circuit_ready.took, want + CV_MSEC(2), "%u hops took %lu us", hops,
                      e->ev.circuit_ready.took);
        uint8_t path[4][CV_KEY];
        cr_expect_eq(tun_circuit_path(w->node[4].t, c, path, 4), hops);
        cr_expect_arr_eq(path[hops - 1], w->node[hops - 1].identity_secret.public_key, CV_KEY);
        /* only the first relay ever saw the client */
        for (unsigned i = 1; i < 4; i++) {
            struct world_event *up;
            for (unsigned k = 0; (up = world_find(w, i, TUN_EVENT_LINK_UP, k)); k++)
                cr_expect(!cv_addr_equal(&up->ev.link_up.addr, &w->node[4].addr));
        }
        world_free(w);
    }
}

/* What a relay, or who counts how long circuits last, could tell owners apart by: how many hops are
 * left at the first, and for how long one is used. */
Test(tun_circuit, its_owner_draws_its_ttl_and_its_lifetime) {
    enum { CIRCUITS = 128 };
    struct world *w =
        world_five(&(struct sim_config){.seed = 5}, &(struct sim_path){.delay = CV_MSEC(1)}, NULL);
    unsigned ttl[TUN_TTL_MAX + 1] = {0}, tenth[10] = {0};
    for (unsigned i = 0; i < CIRCUITS; i++) {
        cv_handle h = world_open(w, 4, chain, 3);
        const struct tun_circuit *c = tun_handles_get(&w->node[4].t->circuits, h);
        cr_assert_not_null(c);
        cr_assert(c->ttl >= TUN_TTL_MIN && c->ttl <= TUN_TTL_MAX, "ttl %u", c->ttl);
        ttl[c->ttl]++;
        cv_usec lasts = c->expires_at - c->opened_at;
        cr_assert(lasts >= CV_SEC(2400) && lasts < CV_SEC(3600), "%lu us", lasts);
        tenth[(lasts - CV_SEC(2400)) / CV_SEC(120)]++;
        struct tun_circuit_info info;
        cr_assert_eq(tun_circuit_info(w->node[4].t, h, &info), CV_ERR_OK);
        cr_expect_eq(info.expires_at, c->expires_at);
    }
    for (unsigned i = TUN_TTL_MIN; i <= TUN_TTL_MAX; i++)
        cr_expect_geq(ttl[i], CIRCUITS / 8, "ttl %u: %u of %u", i, ttl[i], CIRCUITS);
    for (unsigned i = 0; i < 10; i++)
        cr_expect_geq(tenth[i], 2, "from minute %u on: %u", 40 + 2 * i, tenth[i]);
    world_free(w);
}

Test(tun_circuit, datagrams_of_every_size_come_back_unchanged) {
    struct world *w =
        world_five(&(struct sim_config){.seed = 1}, &(struct sim_path){.delay = CV_MSEC(5)}, NULL);
    w->node[2].on_event = world_echo;
    w->node[4].keep_datagrams = true;
    cv_handle c = world_circuit(w, 4, chain, 3);
    cr_assert_neq(c, 0);
    world_request(w, 4, c, TUN_CMD_OPEN, "\x04\0abcd", 6);
    world_run(w, CV_SEC(1));
    uint8_t buf[TUN_MTU_FORWARD + 1];
    for (size_t i = 0; i < sizeof buf; i++)
        buf[i] = (uint8_t)(i * 7);
    unsigned n = 0;
    for (size_t len = 0; len <= TUN_MTU_FORWARD; len += 59, n++) {
        cr_assert_eq(world_send(w, 4, c, buf, len), CV_ERR_OK);
        world_run(w, CV_MSEC(1));
    }
    cr_expect_eq(world_send(w, 4, c, buf, TUN_MTU_FORWARD + 1), CV_ERR_INVAL);
    world_run(w, CV_SEC(1));
    cr_assert_eq(world_count(w, 4, TUN_EVENT_DATAGRAM), n);
    for (unsigned i = 0; i < n; i++) {
        struct world_event *e = world_find(w, 4, TUN_EVENT_DATAGRAM, i);
        cr_assert_eq(e->ev.datagram.len, i * 59);
        cr_expect_arr_eq(e->ev.datagram.buf, buf, e->ev.datagram.len);
        cr_expect_eq(e->ev.datagram.from.handle, c);
    }
    world_free(w);
}

Test(tun_circuit, is_ready_or_down_whatever_the_network_does) {
    unsigned built = 0;
    for (uint64_t seed = 0; seed < 60; seed++) {
        struct world *w = world_five(&(struct sim_config){.seed = seed},
                                     &(struct sim_path){.delay = CV_MSEC(20),
                                                        .jitter = CV_MSEC(30),
                                                        .loss_ppm = 150000,
                                                        .duplicate_ppm = 50000,
                                                        .reorder_ppm = 50000,
                                                        .reorder = CV_MSEC(80)},
                                     NULL);
        world_open(w, 4, chain, 3);
        world_run(w, CV_SEC(40));
        unsigned up = world_count(w, 4, TUN_EVENT_CIRCUIT_READY);
        unsigned down = world_count(w, 4, TUN_EVENT_CIRCUIT_DOWN);
        cr_assert(up + down >= 1, "stuck; seed %lu", seed);
        built += up;
        world_free(w);
    }
    cr_expect_gt(built, 50, "built %u of 60", built);
}

Test(tun_circuit, same_seed_same_run) {
    uint64_t digest[2];
    for (unsigned i = 0; i < 2; i++) {
        struct world *w = world_five(
            &(struct sim_config){.seed = 7},
            &(struct sim_path){.delay = CV_MSEC(20), .jitter = CV_MSEC(9), .loss_ppm = 50000},
            NULL);
        world_open(w, 4, chain, 3);
        world_run(w, CV_SEC(30));
        digest[i] = sim_digest(w->sim);
        world_free(w);
    }
    cr_expect_eq(digest[0], digest[1]);
}

Test(tun_circuit, lost_requests_are_repeated_and_done_once) {
    unsigned asked = 0, answered = 0;
    for (uint64_t seed = 0; seed < 30; seed++) {
        struct world *w = world_five(&(struct sim_config){.seed = seed},
                                     &(struct sim_path){.delay = CV_MSEC(10)}, NULL);
        w->node[2].on_event = world_echo;
        cv_handle c = world_circuit(w, 4, chain, 3);
        cr_assert_neq(c, 0);
        sim_path_default(w->sim, &(struct sim_path){.delay = CV_MSEC(10), .loss_ppm = 80000});
        uint32_t transaction = world_request(w, 4, c, TUN_CMD_OPEN, "\x04\0abcd", 6);
        world_run(w, CV_SEC(12));
        cr_expect_leq(world_count(w, 2, TUN_EVENT_REQUEST), 1, "done twice; seed %lu", seed);
        asked++;
        struct world_event *e = world_reply(w, 4, transaction);
        answered += e && e->ev.reply.err == CV_ERR_OK && e->ev.reply.command == TUN_CMD_OPENED;
        world_free(w);
    }
    /* six crossings at 8 %: one try succeeds in 61 %, none of five in 1 % */
    cr_expect_geq(answered, asked - 2, "%u of %u", answered, asked);
}

Test(tun_circuit, a_silent_node_is_reported_after_five_tries) {
    struct world *w =
        world_five(&(struct sim_config){.seed = 3}, &(struct sim_path){.delay = CV_MSEC(10)}, NULL);
    cv_handle c = world_circuit(w, 4, chain, 3);
    cr_assert_neq(c, 0);
    uint32_t transaction = world_request(w, 4, c, TUN_CMD_LOOKUP, "x", 1);
    cv_usec began = sim_now(w->sim);
    world_run(w, CV_SEC(20));
    cr_expect_eq(world_count(w, 2, TUN_EVENT_REQUEST), 1);
    struct world_event *e = world_reply(w, 4, transaction);
    cr_assert_not_null(e);
    cr_expect_eq(e->ev.reply.err, CV_ERR_TIMEDOUT);
    cr_expect_eq(e->at - began, CV_MSEC(250 + 500 + 1000 + 2000 + 4000));
    struct tun_circuit_info info;
    cr_expect_eq(tun_circuit_info(w->node[4].t, c, &info), CV_ERR_OK, "the circuit lives");
    world_free(w);
}

Test(tun_circuit, an_unknown_command_is_an_error_and_the_circuit_lives) {
    struct world *w =
        world_five(&(struct sim_config){.seed = 3}, &(struct sim_path){.delay = CV_MSEC(10)}, NULL);
    cv_handle c = world_circuit(w, 4, chain, 3);
    uint32_t transaction = world_request(w, 4, c, 200, "abc", 3);
    world_run(w, CV_SEC(1));
    struct world_event *e = world_reply(w, 4, transaction);
    cr_assert_not_null(e);
    cr_expect_eq(e->ev.reply.err, CV_ERR_DENIED);
    cr_expect_eq(e->ev.reply.code, TUN_ERROR_UNKNOWN_COMMAND);
    transaction = world_request(w, 4, c, TUN_CMD_PING, NULL, 0);
    world_run(w, CV_SEC(1));
    e = world_reply(w, 4, transaction);
    cr_assert_not_null(e);
    cr_expect_eq(e->ev.reply.command, TUN_CMD_PONG);
    world_free(w);
}

Test(tun_circuit, another_descriptor_ends_the_circuit_and_brings_the_proof) {
    struct world *w =
        world_five(&(struct sim_config){.seed = 3}, &(struct sim_path){.delay = CV_MSEC(10)}, NULL);
    struct tun_circuit_plan plan = {.hops = 3};
    for (unsigned i = 0; i < 3; i++)
        world_ref(w, i, &plan.hop[i]);
    plan.hop[2].d[0] ^= 1;
    struct cv_now now = world_now(w, 4);
    cv_handle c;
    cr_assert_eq(tun_circuit_build(w->node[4].t, &now, &plan, &c), CV_ERR_OK);
    sim_touch(w->sim, 4);
    world_run(w, CV_SEC(5));
    struct world_event *down = world_find(w, 4, TUN_EVENT_CIRCUIT_DOWN, 0);
    cr_assert_not_null(down);
    cr_expect_eq(down->ev.circuit_down.err, CV_ERR_DIFFERS);
    cr_expect_eq(down->ev.circuit_down.hops, 2);
    struct world_event *e = world_find(w, 4, TUN_EVENT_REPLY, 0);
    cr_assert_not_null(e);
    cr_expect_eq(e->ev.reply.code, TUN_ERROR_DIFFERS);
    struct tun_descriptor d;
    cr_expect_eq(
        tun_descriptor_open(e->ev.reply.body, e->ev.reply.len, w->node[2].cfg.network_id, &d),
        CV_ERR_OK);
    cr_expect_arr_eq(d.identity, w->node[2].identity_secret.public_key, CV_KEY);
    world_free(w);
}

Test(tun_circuit, closing_frees_every_hop) {
    struct world *w =
        world_five(&(struct sim_config){.seed = 3}, &(struct sim_path){.delay = CV_MSEC(10)}, NULL);
    cv_handle c = world_circuit(w, 4, chain, 4);
    for (unsigned i = 0; i < 4; i++)
        cr_expect_eq(tun_counters(w->node[i].t)->hops, 1);
    struct cv_now now = world_now(w, 4);
    tun_circuit_close(w->node[4].t, &now, c);
    sim_touch(w->sim, 4);
    world_run(w, CV_SEC(1));
    for (unsigned i = 0; i < 4; i++)
        cr_expect_eq(tun_counters(w->node[i].t)->hops, 0, "relay %u", i);
    cr_expect_eq(world_count(w, 4, TUN_EVENT_CIRCUIT_DOWN), 0);
    world_free(w);
}

Test(tun_circuit, a_middle_relay_that_dies_takes_its_circuits_along) {
    struct world *w =
        world_five(&(struct sim_config){.seed = 3}, &(struct sim_path){.delay = CV_MSEC(10)}, NULL);
    cv_handle c = world_circuit(w, 4, chain, 3);
    sim_crash(w->sim, 1);
    cr_expect_eq(world_send(w, 4, c, "hello", 5), CV_ERR_OK);
    cv_usec began = sim_now(w->sim);
    world_run(w, CV_SEC(10));
    struct world_event *down = world_find(w, 4, TUN_EVENT_CIRCUIT_DOWN, 0);
    cr_assert_not_null(down);
    cr_expect_eq(down->ev.circuit_down.err, CV_ERR_TIMEDOUT);
    cr_expect_leq(down->at - began, CV_SEC(6));
    cr_expect_eq(world_count(w, 4, TUN_EVENT_LINK_DOWN), 0, "the guard is well");
    world_free(w);
}

Test(tun_circuit, a_guard_that_dies_takes_the_link_along) {
    struct world *w =
        world_five(&(struct sim_config){.seed = 3}, &(struct sim_path){.delay = CV_MSEC(10)}, NULL);
    cv_handle c = world_circuit(w, 4, chain, 3);
    sim_crash(w->sim, 0);
    cr_expect_eq(world_send(w, 4, c, "hello", 5), CV_ERR_OK);
    world_run(w, CV_SEC(10));
    cr_expect_eq(world_count(w, 4, TUN_EVENT_CIRCUIT_DOWN), 1);
    cr_expect_eq(world_count(w, 4, TUN_EVENT_LINK_DOWN), 1);
    /* its neighbours notice too, and forget the circuit */
    world_run(w, CV_SEC(200));
    cr_expect_eq(tun_counters(w->node[1].t)->hops, 0);
    cr_expect_eq(tun_counters(w->node[2].t)->hops, 0);
    world_free(w);
}

Test(tun_circuit, an_idle_circuit_is_kept_by_its_owner_and_else_forgotten) {
    struct world *w =
        world_five(&(struct sim_config){.seed = 3}, &(struct sim_path){.delay = CV_MSEC(10)}, NULL);
    cv_handle c = world_circuit(w, 4, chain, 3);
    world_run(w, CV_SEC(1200));
    struct tun_circuit_info info;
    cr_assert_eq(tun_circuit_info(w->node[4].t, c, &info), CV_ERR_OK);
    for (unsigned i = 0; i < 3; i++)
        cr_expect_eq(tun_counters(w->node[i].t)->hops, 1, "relay %u", i);
    cr_expect_leq(info.cells_out, 40, "an idle circuit sent %lu cells", info.cells_out);
    sim_crash(w->sim, 4);
    world_run(w, CV_SEC(400));
    for (unsigned i = 0; i < 3; i++)
        cr_expect_eq(tun_counters(w->node[i].t)->hops, 0, "relay %u", i);
    world_free(w);
}

Test(tun_circuit, one_built_ahead_gets_a_hop_more) {
    struct world *w =
        world_five(&(struct sim_config){.seed = 3}, &(struct sim_path){.delay = CV_MSEC(10)}, NULL);
    cv_handle c = world_circuit(w, 4, chain, 3);
    struct tun_relay_ref last;
    world_ref(w, 3, &last);
    struct cv_now now = world_now(w, 4);
    cr_assert_eq(tun_circuit_extend(w->node[4].t, &now, c, &last), CV_ERR_OK);
    sim_touch(w->sim, 4);
    world_run(w, CV_SEC(1));
    struct world_event *e = world_find(w, 4, TUN_EVENT_CIRCUIT_READY, 1);
    cr_assert_not_null(e);
    cr_expect_eq(e->ev.circuit_ready.hops, 4);
    now = world_now(w, 4);
    cr_expect_eq(tun_circuit_extend(w->node[4].t, &now, c, &last), CV_ERR_LIMIT);
    world_free(w);
}

/* Flips one bit of every fifth datagram of links that carry a circuit. */
struct vandal {
    struct cv_rng_seeded seed;
    bool on;
};

static enum sim_verdict vandalise(void *ctx, const struct sim_datagram *d) {
    struct vandal *v = ctx;
    struct cv_rng rng = cv_rng_seeded(&v->seed);
    if (!v->on || cv_rng_below(&rng, 5))
        return SIM_PASS;
    uint64_t bit = cv_rng_below(&rng, d->len * 8);
    d->buf[bit / 8] ^= (uint8_t)(1 << (bit % 8));
    return SIM_PASS;
}

Test(tun_circuit, flipped_bits_cost_cells_and_nothing_else) {
    struct world *w =
        world_five(&(struct sim_config){.seed = 9}, &(struct sim_path){.delay = CV_MSEC(2)}, NULL);
    w->node[2].on_event = world_echo;
    cv_handle c = world_circuit(w, 4, chain, 3);
    world_request(w, 4, c, TUN_CMD_OPEN, "\x04\0abcd", 6);
    world_run(w, CV_SEC(1));
    struct vandal v = {.on = true};
    cv_rng_seeded_init(&v.seed, 1);
    sim_hook(w->sim, vandalise, &v);
    for (unsigned i = 0; i < 500; i++) {
        cr_assert_eq(world_send(w, 4, c, "0123456789", 10), CV_ERR_OK);
        world_run(w, CV_MSEC(10));
    }
    struct tun_circuit_info info;
    cr_expect_eq(tun_circuit_info(w->node[4].t, c, &info), CV_ERR_OK, "killed by bits");
    /* six crossings, one in five hit: 26 % come back */
    cr_expect_gt(w->node[4].datagrams, 70, "%lu", w->node[4].datagrams);
    cr_expect_lt(w->node[4].datagrams, 250, "%lu", w->node[4].datagrams);
    v.on = false;
    w->node[4].datagrams = 0;
    for (unsigned i = 0; i < 50; i++) {
        world_send(w, 4, c, "0123456789", 10);
        world_run(w, CV_MSEC(10));
    }
    world_run(w, CV_SEC(1));
    cr_expect_eq(w->node[4].datagrams, 50, "%lu", w->node[4].datagrams);
    world_free(w);
}

/* Keeps every datagram and plays it again, later. */
struct recorder {
    struct cv_addr from[4000], to[4000];
    uint8_t datagram[4000][TUN_DATAGRAM];
    unsigned n;
};

static enum sim_verdict record(void *ctx, const struct sim_datagram *d) {
    struct recorder *r = ctx;
    if (r->n < 4000 && d->len == TUN_DATAGRAM) {
        r->from[r->n] = *d->from;
        r->to[r->n] = *d->to;
        memcpy(r->datagram[r->n++], d->buf, d->len);
    }
    return SIM_PASS;
}

Test(tun_circuit, replayed_datagrams_change_counters_only) {
    struct world *w =
        world_five(&(struct sim_config){.seed = 9}, &(struct sim_path){.delay = CV_MSEC(2)}, NULL);
    struct recorder *r = calloc(1, sizeof *r);
    cr_assert_not_null(r);
    w->node[2].on_event = world_echo;
    sim_hook(w->sim, record, r);
    cv_handle c = world_circuit(w, 4, chain, 3);
    world_request(w, 4, c, TUN_CMD_OPEN, "\x04\0abcd", 6);
    world_run(w, CV_SEC(1));
    for (unsigned i = 0; i < 100; i++) {
        world_send(w, 4, c, "0123456789", 10);
        world_run(w, CV_MSEC(1));
    }
    world_run(w, CV_SEC(1));
    sim_hook(w->sim, NULL, NULL);
    cr_assert_eq(w->node[4].datagrams, 100);
    uint64_t before = w->node[2].datagrams;
    for (unsigned i = 0; i < r->n; i++) {
        sim_inject(w->sim, &r->from[i], &r->to[i], r->datagram[i], TUN_DATAGRAM);
        world_run(w, CV_MSEC(1));
    }
    cr_expect_eq(w->node[4].datagrams, 100, "%lu", w->node[4].datagrams);
    cr_expect_eq(w->node[2].datagrams, before);
    world_run(w, CV_SEC(60));
    for (unsigned i = 0; i < 3; i++)
        cr_expect_eq(tun_counters(w->node[i].t)->hops, 1, "relay %u", i);
    world_send(w, 4, c, "0123456789", 10);
    world_run(w, CV_SEC(1));
    cr_expect_eq(w->node[4].datagrams, 101);
    free(r);
    world_free(w);
}

Test(tun_circuit, a_full_queue_says_again) {
    struct world *w =
        world_five(&(struct sim_config){.seed = 9}, &(struct sim_path){.delay = CV_MSEC(2)}, NULL);
    cv_handle c = world_circuit(w, 4, chain, 3);
    struct cv_now now = world_now(w, 4);
    struct cv_endpoint to = cv_endpoint_circuit(c, 0);
    unsigned n = 0;
    while (n < 100000 && tun_send(w->node[4].t, &now, &to, "x", 1) == CV_ERR_OK)
        n++;
    cr_expect_eq(n, TUN_OWN_CELLS);
    sim_touch(w->sim, 4);
    world_run(w, CV_MSEC(100));
    cr_expect_eq(world_send(w, 4, c, "x", 1), CV_ERR_OK);
    world_free(w);
}
