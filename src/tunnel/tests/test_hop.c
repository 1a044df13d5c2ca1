/*
 * What a relay does for others, and what it refuses: budgets of extension,
 * forbidden neighbours, memory of answers, floods.
 */
#include "crypto/rng_seeded.h"
#include "support/suite.h"
#include "tunnel/tests/world.h"

CV_SUITE(tun_hop);

static const unsigned chain[] = {0, 1, 2, 3};

static struct world *five(uint64_t seed) {
    struct world *w = world_new(&(struct sim_config){.seed = seed});
    for (unsigned i = 0; i < 4; i++)
        world_relay(w, NULL);
    world_client(w, NULL);
    sim_path_default(w->sim, &(struct sim_path){.delay = CV_MSEC(5)});
    return w;
}

/* A circuit whose first CREATE carries this ttl. */
static cv_handle open_with_ttl(struct world *w, const unsigned *relays, unsigned n, uint8_t ttl) {
    cv_handle handle = world_open(w, 4, relays, n);
    struct tun_circuit *c = tun_handles_get(&w->node[4].t->circuits, handle);
    cr_assert_not_null(c);
    c->ttl = ttl;
    return handle;
}

/* Wrapping a circuit in ever more layers is how a path grows without end: each
 * layer costs an EXTEND, and each EXTEND one of the ttl that came with CREATE,
 * which nobody can raise on the way. */
Test(tun_hop, a_path_ends_where_the_ttl_does) {
    for (uint8_t ttl = 0; ttl < 4; ttl++) {
        struct world *w = five(ttl + 1u);
        open_with_ttl(w, chain, 4, ttl);
        world_run(w, CV_SEC(5));
        struct world_event *down = world_find(w, 4, TUN_EVENT_CIRCUIT_DOWN, 0);
        if (ttl == 3) {
            cr_expect_null(down);
            cr_expect_eq(world_count(w, 4, TUN_EVENT_CIRCUIT_READY), 1);
        } else {
            cr_assert_not_null(down, "ttl %u", ttl);
            cr_expect_eq(down->ev.circuit_down.hops, ttl + 1u);
            cr_expect_eq(down->ev.circuit_down.err, CV_ERR_LIMIT);
            cr_expect_eq(tun_counters(w->node[ttl].t)->extends_refused, 1);
        }
        world_free(w);
    }
}

Test(tun_hop, a_ttl_that_no_owner_draws_is_refused) {
    struct world *w = five(1);
    open_with_ttl(w, chain, 1, TUN_TTL_MAX + 1);
    world_run(w, CV_SEC(5));
    struct world_event *down = world_find(w, 4, TUN_EVENT_CIRCUIT_DOWN, 0);
    cr_assert_not_null(down);
    cr_expect_eq(down->ev.circuit_down.err, CV_ERR_CLOSED);
    cr_expect_eq(tun_counters(w->node[0].t)->hops, 0);
    world_free(w);
}

static uint8_t extend_code(struct world *w, cv_handle c, const struct tun_relay_ref *to) {
    struct tun_extend m = {.day = to->day, .flight = (const uint8_t *)"junk", .flight_len = 4};
    memcpy(m.identity, to->identity, sizeof m.identity);
    memcpy(m.digest, to->d, sizeof m.digest);
    uint8_t body[512];
    struct cv_wr wr = cv_wr_init(body, sizeof body);
    tun_extend_write(&wr, &m);
    uint32_t transaction = world_request(w, 4, c, TUN_CMD_EXTEND, body + 4, cv_wr_len(&wr) - 4);
    world_run(w, CV_SEC(30));
    struct world_event *e = world_reply(w, 4, transaction);
    return e ? e->ev.reply.code : 0;
}

Test(tun_hop, extends_three_times_at_most_and_never_to_forbidden_places) {
    struct world *w = five(1);
    struct tun_relay_ref ref;
    cv_handle c = world_circuit(w, 4, chain, 2);

    world_ref(w, 2, &ref);
    ref.identity[0] ^= 1;
    cr_expect_eq(extend_code(w, c, &ref), TUN_ERROR_NOENT);
    world_ref(w, 1, &ref);
    cr_expect_eq(extend_code(w, c, &ref), TUN_ERROR_REFUSED, "itself");
    world_ref(w, 0, &ref);
    cr_expect_eq(extend_code(w, c, &ref), TUN_ERROR_REFUSED, "where it came from");
    world_ref(w, 2, &ref);
    cr_expect_eq(extend_code(w, c, &ref), TUN_ERROR_LIMIT, "a fourth time");

    /* a flight that the next hop does not take */
    c = world_circuit(w, 4, chain, 2);
    world_ref(w, 2, &ref);
    cr_expect_eq(extend_code(w, c, &ref), TUN_ERROR_UNREACHABLE);
    /* an extended one is not extended again */
    c = world_circuit(w, 4, chain, 3);
    struct cv_now now = world_now(w, 4);
    uint32_t transaction;
    cr_assert_eq(tun_circuit_request(w->node[4].t, &now, c, 1, TUN_CMD_EXTEND,
                                     (const uint8_t[60]){0}, 60, &transaction),
                 CV_ERR_OK);
    sim_touch(w->sim, 4);
    world_run(w, CV_SEC(1));
    struct world_event *e = world_reply(w, 4, transaction);
    cr_assert_not_null(e);
    cr_expect_eq(e->ev.reply.code, TUN_ERROR_REFUSED);
    world_free(w);
}

Test(tun_hop, an_unreachable_next_relay_is_reported) {
    struct world *w = five(1);
    struct tun_circuit_plan plan = {.hops = 3};
    for (unsigned i = 0; i < 3; i++)
        world_ref(w, i, &plan.hop[i]);
    sim_path(w->sim, 1, 2, &(struct sim_path){.cut = true});
    struct cv_now now = world_now(w, 4);
    cv_handle c;
    cr_assert_eq(tun_circuit_build(w->node[4].t, &now, &plan, &c), CV_ERR_OK);
    sim_touch(w->sim, 4);
    world_run(w, CV_SEC(30));
    struct world_event *down = world_find(w, 4, TUN_EVENT_CIRCUIT_DOWN, 0);
    cr_assert_not_null(down);
    cr_expect_eq(down->ev.circuit_down.hops, 2);
    for (unsigned i = 0; i < 3; i++)
        cr_expect_eq(tun_counters(w->node[i].t)->hops, 0, "relay %u", i);
    world_free(w);
}

/* Others may use up the room for what is remembered of questions: one that is under way and
 * comes again, because the next link takes its time, is not taken for another. */
Test(tun_hop, an_extend_that_is_repeated_is_the_same_though_nothing_is_remembered) {
    struct world *w = five(1);
    struct tun_circuit_plan plan = {.hops = 3};
    for (unsigned i = 0; i < 3; i++)
        world_ref(w, i, &plan.hop[i]);
    sim_path(w->sim, 1, 2, &(struct sim_path){.delay = CV_MSEC(200)});
    for (unsigned i = 0; i < 3; i++)
        w->node[i].t->memo_octets = (uint64_t)TUN_MEMO_MIB << 20;
    struct cv_now now = world_now(w, 4);
    cv_handle c;
    cr_assert_eq(tun_circuit_build(w->node[4].t, &now, &plan, &c), CV_ERR_OK);
    sim_touch(w->sim, 4);
    world_run(w, CV_SEC(10));
    cr_expect_not_null(world_find(w, 4, TUN_EVENT_CIRCUIT_READY, 0));
    cr_expect_null(world_find(w, 4, TUN_EVENT_CIRCUIT_DOWN, 0));
    for (unsigned i = 0; i < 3; i++)
        w->node[i].t->memo_octets -= (uint64_t)TUN_MEMO_MIB << 20;
    world_free(w);
}

/* ---- swarm exits ---- */

static struct world *with_exit(void) {
    struct world *w = world_new(&(struct sim_config){.seed = 1});
    for (unsigned i = 0; i < 4; i++)
        world_relay(w, i == 2 ? &(struct tun_config){.relay_flags = TUN_RELAY_EXIT} : NULL);
    world_client(w, NULL);
    sim_path_default(w->sim, &(struct sim_path){.delay = CV_MSEC(5)});
    return w;
}

/* flow 9, 45.1.2.3:7000 */
static const uint8_t to_peer[] = {9, 0, 4, 45, 1, 2, 3, 0x58, 0x1b};

static cv_handle hop_that_asked(struct world *w, unsigned relay) {
    struct world_event *e = world_find(w, relay, TUN_EVENT_REQUEST, 0);
    return e && e->ev.request.command == TUN_CMD_CONNECT ? e->ev.request.hop : 0;
}

static enum cv_err send_to(struct world *w, unsigned node, cv_handle handle, uint16_t flow,
                           const void *buf, size_t len) {
    struct cv_now now = world_now(w, node);
    struct cv_endpoint ep = cv_endpoint_circuit(handle, flow);
    enum cv_err err = tun_send(w->node[node].t, &now, &ep, buf, len);
    sim_touch(w->sim, node);
    world_run(w, CV_MSEC(100));
    return err;
}

Test(tun_hop, a_swarm_exit_carries_flows_of_a_circuit_once_it_said_so) {
    struct world *w = with_exit();
    w->node[2].keep_datagrams = w->node[4].keep_datagrams = true;
    cv_handle c = world_circuit(w, 4, chain, 3);
    cr_assert_eq(send_to(w, 4, c, 9, "early", 5), CV_ERR_OK, "nobody knows the flow yet");
    cr_expect_eq(world_count(w, 2, TUN_EVENT_HOP_DATAGRAM), 0);
    uint32_t transaction = world_request(w, 4, c, TUN_CMD_CONNECT, to_peer, sizeof to_peer);
    world_run(w, CV_MSEC(100));
    cv_handle hop = hop_that_asked(w, 2);
    cr_assert_neq(hop, 0);
    cr_expect_eq(send_to(w, 2, hop, 9, "no", 2), CV_ERR_INVAL, "not answered yet");
    struct cv_now now = world_now(w, 2);
    cr_assert_eq(tun_answer(w->node[2].t, &now, hop, transaction, TUN_CMD_CONNECTED, NULL, 0),
                 CV_ERR_OK);
    sim_touch(w->sim, 2);
    world_run(w, CV_MSEC(100));

    uint8_t buf[TUN_DATAGRAM] = {1, 2, 3};
    cr_expect_eq(send_to(w, 4, c, 9, buf, TUN_EXIT_FORWARD), CV_ERR_OK);
    cr_expect_eq(send_to(w, 4, c, 9, buf, TUN_EXIT_FORWARD + 1), CV_ERR_INVAL);
    struct world_event *e = world_find(w, 2, TUN_EVENT_HOP_DATAGRAM, 0);
    cr_assert_not_null(e);
    cr_expect_eq(e->ev.hop_datagram.from.flow, 9);
    cr_expect_eq(e->ev.hop_datagram.from.handle, hop);
    cr_expect_eq(e->ev.hop_datagram.len, TUN_EXIT_FORWARD);

    cr_expect_eq(send_to(w, 2, hop, 9, buf, TUN_EXIT_BACKWARD), CV_ERR_OK);
    cr_expect_eq(send_to(w, 2, hop, 9, buf, TUN_EXIT_BACKWARD + 1), CV_ERR_INVAL);
    cr_expect_eq(send_to(w, 2, hop, 9, NULL, 0), CV_ERR_OK, "the flow is over");
    e = world_find(w, 4, TUN_EVENT_DATAGRAM, 0);
    cr_assert_not_null(e);
    cr_expect_eq(e->ev.datagram.from.flow, 9);
    cr_expect_eq(e->ev.datagram.from.handle, c);
    cr_expect_eq(e->ev.datagram.len, TUN_EXIT_BACKWARD);
    e = world_find(w, 4, TUN_EVENT_DATAGRAM, 1);
    cr_assert_not_null(e);
    cr_expect_eq(e->ev.datagram.len, 0);

    /* one role: neither passed on nor a rendezvous any more */
    struct tun_relay_ref ref;
    world_ref(w, 3, &ref);
    cr_expect_eq(extend_code(w, c, &ref), TUN_ERROR_REFUSED);
    world_free(w);
}

Test(tun_hop, who_is_no_swarm_exit_says_so) {
    struct world *w = with_exit();
    cv_handle c = world_circuit(w, 4, (const unsigned[]){0, 1, 3}, 3);
    uint32_t transaction = world_request(w, 4, c, TUN_CMD_CONNECT, to_peer, sizeof to_peer);
    world_run(w, CV_MSEC(200));
    struct world_event *e = world_reply(w, 4, transaction);
    cr_assert_not_null(e);
    cr_expect_eq(e->ev.reply.code, TUN_ERROR_REFUSED);
    cr_expect_eq(world_count(w, 3, TUN_EVENT_REQUEST), 0);
    world_free(w);
}

/* The owner asks for both at once; the node's answer comes after the circuit went on. */
Test(tun_hop, a_circuit_that_went_on_is_no_exits) {
    struct world *w = with_exit();
    cv_handle c = world_circuit(w, 4, chain, 3);
    uint32_t transaction = world_request(w, 4, c, TUN_CMD_CONNECT, to_peer, sizeof to_peer);
    world_run(w, CV_MSEC(100));
    cv_handle hop = hop_that_asked(w, 2);
    struct tun_relay_ref ref;
    world_ref(w, 3, &ref);
    struct cv_now now = world_now(w, 4);
    cr_assert_eq(tun_circuit_extend(w->node[4].t, &now, c, &ref), CV_ERR_OK);
    sim_touch(w->sim, 4);
    world_run(w, CV_SEC(1));
    now = world_now(w, 2);
    cr_expect_eq(tun_answer(w->node[2].t, &now, hop, transaction, TUN_CMD_CONNECTED, NULL, 0),
                 CV_ERR_DENIED);
    cr_expect_eq(send_to(w, 2, hop, 9, "x", 1), CV_ERR_INVAL);
    world_free(w);
}

/* ---- a relay that is about to end ---- */

Test(tun_hop, who_drains_takes_nobody_on_and_keeps_what_goes_on) {
    struct world *w = five(1);
    cv_handle c = world_circuit(w, 4, chain, 3), idle = world_circuit(w, 4, chain, 3);
    tun_drain(w->node[2].t, true);
    cr_expect_eq(world_circuit(w, 4, chain, 3), 0, "a new one");
    cr_expect_eq(tun_counters(w->node[2].t)->hops, 2);
    struct tun_relay_ref ref;
    world_ref(w, 3, &ref);
    cr_expect_eq(extend_code(w, c, &ref), TUN_ERROR_BUSY, "one hop more");

    /* said something lately, or not */
    world_run(w, CV_SEC(5));
    cr_expect_eq(world_send(w, 4, c, "x", 1), CV_ERR_OK);
    world_run(w, CV_MSEC(100));
    struct cv_now now = world_now(w, 2);
    tun_hops_end(w->node[2].t, &now, CV_SEC(5));
    sim_touch(w->sim, 2);
    world_run(w, CV_MSEC(100));
    cr_expect_eq(tun_counters(w->node[2].t)->hops, 1);
    struct world_event *down = world_find(w, 4, TUN_EVENT_CIRCUIT_DOWN, 1);
    cr_assert_not_null(down);
    cr_expect_eq(down->ev.circuit_down.circuit, idle);
    tun_drain(w->node[2].t, false);
    cr_expect_neq(world_circuit(w, 4, chain, 3), 0, "again");
    now = world_now(w, 2);
    tun_hops_end(w->node[2].t, &now, 0);
    sim_touch(w->sim, 2);
    world_run(w, CV_MSEC(100));
    cr_expect_eq(tun_counters(w->node[2].t)->hops, 0);
    world_free(w);
}

/* More circuits than fit into what waits to leave, with two neighbours each: all are told, in a
 * while that is known, and what waits is bounded. */
Test(tun_hop, who_ends_tells_everybody) {
    enum { CIRCUITS = 1500, OWNERS = 4 };
    struct world *w = world_new(&(struct sim_config){.seed = 1});
    sim_path_default(w->sim, &(struct sim_path){.delay = CV_MSEC(1)});
    unsigned owner[OWNERS], far[OWNERS], relay = world_relay(w, NULL), opened = 0;
    for (unsigned i = 0; i < OWNERS; i++) {
        owner[i] = world_client(w, NULL);
        far[i] = world_relay(w, NULL);
    }
    struct tunnel *t = w->node[relay].t;
    while (t->hops.count < CIRCUITS) {
        for (unsigned i = 0; i < 40 * OWNERS && t->hops.count + i < CIRCUITS; i++)
            opened += world_open(w, owner[i % OWNERS], (const unsigned[]){relay, far[i % OWNERS]},
                                 2) != 0;
        world_run(w, CV_SEC(1));
    }
    cr_assert_eq(opened, CIRCUITS);
    struct cv_now now = world_now(w, relay);
    tun_drain(t, true);
    tun_hops_end(t, &now, 0);
    sim_touch(w->sim, relay);
    cr_expect_leq(t->outbox.cap, TUN_OUTBOX_MAX);
    cr_expect_geq(t->hops.count, CIRCUITS - TUN_ENDINGS_BURST);
    world_run(w, CV_MSEC(100));
    cr_expect_geq(t->hops.count, CIRCUITS - TUN_ENDINGS_BURST - TUN_ENDINGS_S / 10, "too fast");
    world_run(w, CV_SEC(1) * (CIRCUITS - TUN_ENDINGS_BURST) / TUN_ENDINGS_S);
    unsigned told = 0;
    for (unsigned i = 0; i < OWNERS; i++) {
        told += world_count(w, owner[i], TUN_EVENT_CIRCUIT_DOWN);
        cr_expect_eq(w->node[far[i]].t->hops.count, 0);
    }
    cr_expect_eq(told, CIRCUITS, "%u of them heard of it", told);
    cr_expect_eq(tun_counters(t)->hops, 0);
    world_free(w);
}

/* What began to end goes on when it need not. */
Test(tun_hop, who_need_not_end_keeps_what_is_left) {
    struct world *w = five(1);
    cv_handle c[3];
    for (unsigned i = 0; i < 3; i++)
        c[i] = world_circuit(w, 4, chain, 3);
    struct tunnel *t = w->node[2].t;
    struct cv_now now = world_now(w, 2);
    cv_tokenbucket_init(&t->endings, 1, 1, now.mono);
    tun_drain(t, true);
    tun_hops_end(t, &now, 0);
    tun_hops_end(t, &now, CV_SEC(100)); /* as while it drains: all the same */
    sim_touch(w->sim, 2);
    world_run(w, CV_MSEC(1500));
    cr_expect_eq(tun_counters(t)->hops, 1, "one at once, one in a second");
    tun_drain(t, false);
    world_run(w, CV_SEC(5));
    cr_expect_eq(tun_counters(t)->hops, 1);
    cr_expect_eq(world_send(w, 4, c[2], "x", 1), CV_ERR_OK);
    world_free(w);
}

/* Counts REQUESTs; answers nothing. */
Test(tun_hop, a_repeated_question_gets_the_remembered_answer) {
    struct world *w = five(1);
    cv_handle handle = world_circuit(w, 4, chain, 3);
    uint32_t transaction = world_request(w, 4, handle, TUN_CMD_OPEN, "\x01\0a", 3);
    world_run(w, CV_MSEC(100));
    struct world_event *e = world_find(w, 2, TUN_EVENT_REQUEST, 0);
    cr_assert_not_null(e);
    struct cv_now now = world_now(w, 2);
    cr_assert_eq(
        tun_answer(w->node[2].t, &now, e->ev.request.hop, transaction, TUN_CMD_RESULT, "one", 3),
        CV_ERR_OK);
    cr_assert_eq(
        tun_answer(w->node[2].t, &now, e->ev.request.hop, transaction, TUN_CMD_RESULT, "two", 3),
        CV_ERR_OK);
    /* both lost */
    sim_path(w->sim, 2, 1, &(struct sim_path){.cut = true});
    sim_touch(w->sim, 2);
    world_run(w, CV_MSEC(50));
    sim_path(w->sim, 2, 1, &(struct sim_path){.delay = CV_MSEC(5)});
    world_run(w, CV_SEC(2));
    cr_expect_eq(world_count(w, 2, TUN_EVENT_REQUEST), 1);
    cr_assert_eq(world_count(w, 4, TUN_EVENT_REPLY), 2);
    e = world_find(w, 4, TUN_EVENT_REPLY, 1);
    cr_expect_arr_eq(e->ev.reply.body, "two", 3);
    /* in time all of it is forgotten */
    world_run(w, CV_SEC(60));
    cr_expect_eq(w->node[2].t->memo_octets, 0);
    world_free(w);
}

static void has_a_rate(uint8_t command) {
    struct world *w = five(1);
    cv_handle c = world_circuit(w, 4, chain, 3);
    uint32_t transaction[4];
    for (unsigned i = 0; i < 4; i++)
        transaction[i] = world_request(w, 4, c, command, "x", 1);
    world_run(w, CV_MSEC(200));
    cr_expect_eq(world_count(w, 2, TUN_EVENT_REQUEST), 2);
    for (unsigned i = 2; i < 4; i++) {
        struct world_event *e = world_reply(w, 4, transaction[i]);
        cr_assert_not_null(e);
        cr_expect_eq(e->ev.reply.code, TUN_ERROR_LIMIT);
    }
    world_run(w, CV_SEC(10));
    world_request(w, 4, c, command, "x", 1);
    world_run(w, CV_MSEC(200));
    cr_expect_eq(world_count(w, 2, TUN_EVENT_REQUEST), 3);
    world_free(w);
}

Test(tun_hop, what_costs_has_a_rate) {
    has_a_rate(TUN_CMD_LOOKUP);
    has_a_rate(TUN_CMD_PUT);
    has_a_rate(TUN_CMD_TOKEN_REQUEST);
}

Test(tun_hop, cells_of_unknown_circuits_are_answered_with_destroy) {
    struct world *w = five(1);
    cv_handle c = world_circuit(w, 4, chain, 3);
    uint32_t cursor = 0;
    struct tun_hop *h = tun_handles_next(&w->node[1].t->hops, &cursor);
    tun_hop_free(w->node[1].t, h); /* as if it had restarted; nobody is told */
    cr_expect_eq(world_send(w, 4, c, "x", 1), CV_ERR_OK);
    world_run(w, CV_SEC(1));
    struct world_event *down = world_find(w, 4, TUN_EVENT_CIRCUIT_DOWN, 0);
    cr_assert_not_null(down);
    cr_expect_eq(down->ev.circuit_down.err, CV_ERR_CLOSED);
    cr_expect_eq(tun_counters(w->node[1].t)->unknown_circuit, 1);
    world_free(w);
}

Test(tun_hop, a_flood_of_creates_is_rationed) {
    struct world *w = five(1);
    unsigned ready = 0;
    for (unsigned i = 0; i < 800; i++)
        world_open(w, 4, chain, 1);
    world_run(w, CV_MSEC(100));
    ready = world_count(w, 4, TUN_EVENT_CIRCUIT_READY);
    cr_expect_geq(ready, 200);
    cr_expect_leq(ready, 210, "%u", ready);
    cr_expect_gt(tun_counters(w->node[0].t)->rate_limited, 500);
    world_free(w);
}

/* Who floods one link does not fill the memory of all. */
Test(tun_hop, a_link_that_is_flooded_takes_its_part_of_the_queues_and_no_more) {
    struct world *w = world_new(&(struct sim_config){.seed = 1});
    struct tun_config slow = {
        .gate = true, .queue_octets_max = 4 << 20, .send_octets_s = 200 * TUN_DATAGRAM};
    world_relay(w, &slow);
    for (unsigned i = 0; i < 2; i++)
        world_relay(w, NULL);
    unsigned flooder = world_client(w, NULL), other = world_client(w, NULL);
    cv_handle flood[8], quiet = world_circuit(w, other, (const unsigned[]){0, 2}, 2);
    for (unsigned i = 0; i < 8; i++)
        flood[i] = world_circuit(w, flooder, (const unsigned[]){0, 1}, 2);
    struct tunnel *t = w->node[0].t;
    uint32_t most = 0, part = (4 << 20) / TUN_QUEUE_LINK / sizeof(struct tun_cell);
    for (unsigned i = 0; i < 2000; i++) {
        for (unsigned k = 0; k < 8; k++)
            (void)world_send(w, flooder, flood[k], "x", 1);
        if (i % 100 == 0)
            cr_assert_eq(world_send(w, other, quiet, "y", 1), CV_ERR_OK);
        world_run(w, CV_MSEC(1));
        most = t->sched.cells_used > most ? t->sched.cells_used : most;
    }
    /* A circuit goes at most every 20 ms: until then what came with it stays. */
    cr_expect_gt(most, part);
    cr_expect_lt(most, part + 8 * 25, "%u cells, %u may wait for a link", most, part);
    cr_expect_geq(tun_counters(t)->circuits_killed, 1);
    struct tun_circuit_info info;
    cr_expect_eq(tun_circuit_info(w->node[other].t, quiet, &info), CV_ERR_OK);
    world_free(w);
}

/* Two circuits of one client push as fast as they are told nothing. */
Test(tun_hop, memory_of_queues_is_bounded_whatever_is_pushed) {
    struct world *w = world_new(&(struct sim_config){.seed = 1});
    struct tun_config tight = {
        .gate = true, .queue_octets_max = 1 << 20, .send_octets_s = 100 * TUN_DATAGRAM};
    world_relay(w, &tight);
    world_relay(w, NULL);
    world_client(w, NULL);
    cv_handle c[3];
    for (unsigned i = 0; i < 3; i++)
        c[i] = world_circuit(w, 2, (const unsigned[]){0, 1}, 2);
    for (unsigned i = 0; i < 2000; i++) {
        for (unsigned k = 0; k < 3; k++)
            (void)world_send(w, 2, c[k], "x", 1);
        world_run(w, CV_MSEC(1));
    }
    struct tunnel *t = w->node[0].t;
    cr_expect_leq((uint64_t)t->sched.blocks_used * 64 * sizeof(struct tun_cell), 1 << 20);
    cr_expect_geq(tun_counters(t)->circuits_killed, 1);
    cr_expect_leq(tun_counters(t)->circuits_killed, 3);
    world_run(w, CV_SEC(20));
    cr_expect_eq(t->sched.cells_used, 0);
    cr_expect_eq(t->sched.blocks_used, 0, "given back");
    world_free(w);
}

Test(tun_hop, a_circuit_at_rest_is_small) {
    /* and what a link's table and the timers keep of it */
    cr_expect_leq(sizeof(struct tun_hop) + 2 * 2 * sizeof(struct tun_idtable_entry) +
                      sizeof(void *) + sizeof(struct tun_handle_slot),
                  4096);
}

/* ---- OPEN ---- */

static void say_nothing(struct world_node *n, const struct cv_now *now,
                        const struct tun_event *ev) {
    (void)n, (void)now, (void)ev;
}

/* They may come in one batch, and the node hears of both after it. */
Test(tun_hop, what_comes_right_behind_an_open_is_the_nodes_until_it_says_no) {
    struct world *w = world_new(&(struct sim_config){.seed = 4});
    for (unsigned i = 0; i < 3; i++)
        world_relay(w, NULL);
    unsigned client = world_client(w, NULL);
    w->node[2].on_event = say_nothing;
    w->node[2].keep_datagrams = true;
    cv_handle c = world_circuit(w, client, chain, 3);
    cr_assert_neq(c, 0);
    cr_expect_eq(send_to(w, client, c, 0, "early", 5), CV_ERR_OK);
    cr_expect_eq(world_count(w, 2, TUN_EVENT_HOP_DATAGRAM), 0);

    (void)world_request(w, client, c, TUN_CMD_OPEN, "\x01\0a", 3);
    cr_expect_eq(send_to(w, client, c, 0, "hello", 5), CV_ERR_OK);
    struct world_event *asked = world_find(w, 2, TUN_EVENT_REQUEST, 0);
    cr_assert_not_null(asked);
    cr_assert_eq(world_count(w, 2, TUN_EVENT_HOP_DATAGRAM), 1);
    cr_expect_eq(world_find(w, 2, TUN_EVENT_HOP_DATAGRAM, 0)->ev.hop_datagram.from.handle,
                 asked->ev.request.hop);

    struct cv_now now = world_now(w, 2);
    cr_assert_eq(tun_answer(w->node[2].t, &now, asked->ev.request.hop,
                            asked->ev.request.transaction, TUN_CMD_ERROR,
                            (const uint8_t[]){TUN_ERROR_NOENT}, 1),
                 CV_ERR_OK);
    cr_expect_eq(send_to(w, client, c, 0, "late", 4), CV_ERR_OK);
    cr_expect_eq(world_count(w, 2, TUN_EVENT_HOP_DATAGRAM), 1);
    world_free(w);
}

/* ---- fairness at a saturated relay ---- */

struct source {
    struct cv_endpoint to;
    bool on;
};

static void start_source(struct world_node *n, const struct cv_now *now,
                         const struct tun_event *ev) {
    if (ev->kind != TUN_EVENT_REQUEST || ev->request.command != TUN_CMD_OPEN)
        return;
    struct source *s = n->ctx;
    s->to = cv_endpoint_circuit(ev->request.hop, 0);
    s->on = true;
    tun_answer(n->t, now, ev->request.hop, ev->request.transaction, TUN_CMD_OPENED, NULL, 0);
}

/* Two viewers draw from two sources through one guard that sends 1 MB/s.
 * Returns the octets that each got in ten seconds. */
static void saturate(bool gate, bool second, uint64_t ret[2]) {
    struct world *w = world_new(&(struct sim_config){.seed = 4});
    unsigned guard = world_relay(w, &(struct tun_config){.gate = gate, .send_octets_s = 1000000});
    unsigned far[2], viewer[2];
    struct source source[2] = {{.on = false}};
    for (unsigned i = 0; i < 2; i++) {
        far[i] = world_relay(w, NULL);
        w->node[far[i]].on_event = start_source;
        w->node[far[i]].ctx = &source[i];
    }
    for (unsigned i = 0; i < 2; i++) {
        viewer[i] = world_client(w, NULL);
        cv_handle c = world_circuit(w, viewer[i], (const unsigned[]){guard, far[i]}, 2);
        cr_assert_neq(c, 0);
        world_request(w, viewer[i], c, TUN_CMD_OPEN, "\x01\0a", 3);
        world_run(w, CV_SEC(1));
        /* contributor, free rider */
        struct world_event *up = world_find(w, guard, TUN_EVENT_LINK_UP, 0);
        for (unsigned k = 0; up; up = world_find(w, guard, TUN_EVENT_LINK_UP, ++k))
            if (cv_addr_equal(&up->ev.link_up.addr, &w->node[viewer[i]].addr))
                tun_link_class(w->node[guard].t, up->ev.link_up.link, i ? 3 : 1);
    }
    uint8_t buf[TUN_MTU_BACKWARD] = {0};
    uint64_t before[2] = {w->node[viewer[0]].octets, w->node[viewer[1]].octets};
    for (unsigned ms = 0; ms < 10000; ms++) {
        for (unsigned i = 0; i < (second ? 2u : 1u); i++) {
            struct cv_now now = world_now(w, far[i]);
            cr_assert(source[i].on);
            for (unsigned k = 0; k < 2; k++)
                (void)tun_send(w->node[far[i]].t, &now, &source[i].to, buf, sizeof buf);
            sim_touch(w->sim, far[i]);
        }
        world_run(w, CV_MSEC(1));
    }
    for (unsigned i = 0; i < 2; i++)
        ret[i] = w->node[viewer[i]].octets - before[i];
    world_free(w);
}

Test(tun_hop, contributors_get_more_from_a_saturated_relay) {
    uint64_t got[2];
    saturate(true, true, got);
    cr_expect_geq(got[0], 3 * got[1], "%lu to %lu", got[0], got[1]);
    cr_expect_gt(got[1], 500000, "nobody starves");
    cr_expect_gt(got[0] + got[1], 9000000, "%lu", got[0] + got[1]);
    cr_expect_lt(got[0] + got[1], 9700000, "no more than it may send: %lu", got[0] + got[1]);
    saturate(false, true, got);
    cr_expect(got[0] < got[1] * 11 / 10 && got[1] < got[0] * 11 / 10, "gate off: %lu to %lu",
              got[0], got[1]);
    saturate(true, false, got);
    cr_expect_gt(got[0], 9000000, "alone: %lu", got[0]);
}

/* ---- headers ---- */

/* A relay that writes into its headers what it wants, with its own keys. */
struct scribe {
    struct world *w;
    unsigned written, passed;
    bool copied;
};

/* The keys under which relay `from` seals for `to` now. */
static const struct tun_link_secret *sealed_by(struct world *w, unsigned from, unsigned to) {
    const struct tun_link *l =
        cv_map_get(w->node[from].t->links_by_identity, w->node[to].identity_secret.public_key);
    return l ? &l->now.tx_secret : NULL;
}

static enum sim_verdict scribble(void *ctx, const struct sim_datagram *d) {
    struct scribe *s = ctx;
    bool first = d->from_node == 0 && d->to_node == 1;
    bool second = d->from_node == 1 && d->to_node == 2;
    const struct tun_link_secret *key =
        first || second ? sealed_by(s->w, d->from_node, d->to_node) : NULL;
    struct tun_header h;
    if (!key || d->len != TUN_DATAGRAM || !tun_cell_open(d->buf, key, &h) ||
        h.command != TUN_LINKCMD_RELAY)
        return SIM_PASS;
    if (first) {
        h.layer = 0x5a5a5a5a; /* "this is the one", in the only field that is free forward */
        tun_cell_seal(d->buf, &h, key);
        s->written++;
    } else {
        s->copied |= h.layer != 0;
        s->passed++;
    }
    return SIM_PASS;
}

/* A mark in a header ends at the next honest relay. */
Test(tun_hop, nothing_of_a_header_is_copied_to_the_next) {
    struct world *w = five(1);
    cv_handle c = world_circuit(w, 4, chain, 3);
    struct scribe s = {.w = w};
    sim_hook(w->sim, scribble, &s);
    for (unsigned i = 0; i < 50; i++) {
        cr_assert_eq(world_send(w, 4, c, "0123456789", 10), CV_ERR_OK);
        world_run(w, CV_MSEC(10));
    }
    cr_expect_geq(s.written, 50);
    cr_expect_geq(s.passed, 50);
    cr_expect_not(s.copied);
    world_free(w);
}

/* Nothing at a relay holds circuits but its blocks, and these no more than there are. */
static void expect_in_blocks(const struct tunnel *t, uint32_t circuits, const char *when) {
    enum { BLOCK = 2 << 20 };
    uintptr_t block = 0;
    uint32_t cursor = 0;
    const struct tun_hop *h;
    cr_expect_eq(t->hops.count, circuits, "%s: %u circuits", when, t->hops.count);
    cr_expect_eq(t->hop_slab.used, circuits, "%s: %u in blocks", when, t->hop_slab.used);
    cr_expect_leq(t->hop_slab.blocks, 1, "%s", when); /* few circuits fit one */
    while ((h = tun_handles_next(&t->hops, &cursor)) != NULL) {
        cr_expect_eq((uintptr_t)h % 64, 0, "%s: not at the beginning of a line", when);
        cr_expect(!block || block == (uintptr_t)h / BLOCK, "%s: lies elsewhere", when);
        block = (uintptr_t)h / BLOCK;
    }
}

Test(tun_hop, circuits_of_others_lie_in_blocks_and_are_given_back) {
    enum { CIRCUITS = 30 };
    struct world *w = five(1);
    const struct tunnel *relay = w->node[0].t;
    struct tunnel *owner = w->node[4].t;
    cv_handle c[CIRCUITS];
    expect_in_blocks(relay, 0, "at the beginning");
    for (unsigned i = 0; i < CIRCUITS; i++) {
        c[i] = world_circuit(w, 4, chain, 1 + i % 2);
        cr_assert_neq(c[i], 0);
        expect_in_blocks(relay, i + 1, "one more");
    }
    struct tun_relay_ref wrong;
    world_ref(w, 0, &wrong);
    memcpy(wrong.onion_key, wrong.identity, sizeof wrong.onion_key); /* known when it has a place */
    struct tun_circuit_plan plan = {.purpose = TUN_PURPOSE_GENERAL, .hops = 1, .hop = {wrong}};
    struct cv_now now = world_now(w, 4);
    cv_handle bad;
    cr_assert_eq(tun_circuit_build(owner, &now, &plan, &bad), CV_ERR_OK);
    sim_touch(w->sim, 4);
    world_run(w, CV_SEC(10));
    cr_expect_gt(world_count(w, 4, TUN_EVENT_CIRCUIT_DOWN), 0);
    expect_in_blocks(relay, CIRCUITS, "one refused");
    now = world_now(w, 4);
    for (unsigned i = 0; i < CIRCUITS; i += 2)
        tun_circuit_close(owner, &now, c[i]);
    sim_touch(w->sim, 4);
    world_run(w, CV_SEC(1));
    expect_in_blocks(relay, CIRCUITS / 2, "half closed");
    now = world_now(w, 0);
    tun_link_fail(w->node[0].t, &now, world_link(w, 0), CV_ERR_CLOSED);
    sim_touch(w->sim, 0);
    expect_in_blocks(relay, 0, "their link lost");
    world_free(w);
}
