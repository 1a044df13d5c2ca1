/*
 * Key epochs in running circuits, suites, and the caps behind them: what the
 * ratchet promises (test_ratchet.c) has to happen by itself, at every hop, while
 * a network loses and reorders.
 */
#include "crypto/rng_seeded.h"
#include "support/suite.h"
#include "tunnel/tests/world.h"

CV_SUITE(tun_epochs);

enum { HOPS = 3, CLIENT = 4, CELLS = 3000, EVERY_MS = 200 };

static const unsigned chain[] = {0, 1, 2, 3};

static struct world *five(uint64_t seed, bool aes) {
    return world_five(&(struct sim_config){.seed = seed}, &(struct sim_path){.delay = CV_MSEC(20)},
                      &(struct tun_config){.gate = true, .aes = aes});
}

/* The numbers that came back. */
struct far {
    bool seen[CELLS];
    unsigned twice;
};

/* The client: which numbers came back. */
static void note(struct world_node *n, const struct cv_now *now, const struct tun_event *ev) {
    (void)now;
    if (ev->kind != TUN_EVENT_DATAGRAM)
        return;
    struct far *f = n->ctx;
    unsigned i = ev->datagram.buf[0] | (unsigned)ev->datagram.buf[1] << 8;
    cr_assert_lt(i, CELLS);
    f->twice += f->seen[i];
    f->seen[i] = true;
}

static struct tun_circuit *owner_of(struct world *w, cv_handle c) {
    struct tun_circuit *owner = tun_handles_get(&w->node[CLIENT].t->circuits, c);
    cr_assert_not_null(owner);
    return owner;
}

static void send_number(struct world *w, cv_handle c, unsigned i) {
    uint8_t body[2] = {(uint8_t)i, (uint8_t)(i >> 8)};
    cr_assert_eq(world_send(w, CLIENT, c, body, 2), CV_ERR_OK);
}

/* No key of an epoch that ended more than 5 s ago is in memory anywhere. */
static void nothing_old_is_held(const struct tun_ratchet_rx *rx, cv_usec now, const char *where) {
    static const struct tun_keys_secret none;
    if (rx->old_until && now < rx->old_until)
        return;
    cr_expect_arr_eq(&rx->old_secret, &none, sizeof none, "%s keeps keys of epoch %u", where,
                     rx->old_epoch);
}

static void nothing_old_anywhere(struct world *w, cv_handle c) {
    for (unsigned i = 0; i < HOPS; i++) {
        nothing_old_is_held(&world_hop(w, i)->layer.forward, world_now(w, i).mono, "relay");
        nothing_old_is_held(&owner_of(w, c)->onion.hop[i].backward, world_now(w, CLIENT).mono,
                            "owner");
    }
}

static void opened(struct world *w, cv_handle c, struct far *f) {
    w->node[HOPS - 1].on_event = world_echo;
    w->node[CLIENT].on_event = note;
    w->node[CLIENT].ctx = f;
    uint32_t transaction = world_request(w, CLIENT, c, TUN_CMD_OPEN, "\x01\0a", 3);
    world_run(w, CV_SEC(2));
    cr_assert_not_null(world_reply(w, CLIENT, transaction));
}

/* Ten minutes, in which every direction of every hop leaves its epoch three to ten
 * times and every link its keys five times, with loss, reordering and duplicates.
 * What the network loses is sent again; of what it delivers, nothing may be lost. */
static void transfer(uint64_t seed, bool aes) {
    struct world *w = five(seed, aes);
    static struct far f;
    f = (struct far){.twice = 0};
    cv_handle c = world_circuit(w, CLIENT, chain, HOPS);
    cr_assert_neq(c, 0);
    opened(w, c, &f);
    struct tun_layer_secret first;
    memcpy(first.forward_key, owner_of(w, c)->onion.hop[1].forward.secret.key[0], 32);
    sim_path_default(w->sim, &(struct sim_path){.delay = CV_MSEC(20),
                                                .jitter = CV_MSEC(20),
                                                .loss_ppm = 10000,
                                                .duplicate_ppm = 10000,
                                                .reorder_ppm = 50000,
                                                .reorder = CV_MSEC(900)});
    for (unsigned i = 0; i < CELLS; i++) {
        send_number(w, c, i);
        world_run(w, CV_MSEC(EVERY_MS));
        if (i % 100 == 0)
            nothing_old_anywhere(w, c);
    }
    cr_expect_eq(f.twice, 0, "a duplicate got through; seed %lu", seed);
    for (unsigned round = 0; round < 20; round++) {
        world_run(w, CV_SEC(2));
        for (unsigned i = 0; i < CELLS; i++) {
            if (f.seen[i])
                continue;
            send_number(w, c, i);
            world_run(w, CV_MSEC(10));
        }
    }
    for (unsigned i = 0; i < CELLS; i++)
        cr_expect(f.seen[i], "seed %lu: %u never came", seed, i);
    cr_expect_eq(tun_counters(w->node[CLIENT].t)->bad_backward, 0, "seed %lu", seed);
    for (unsigned i = 0; i < HOPS; i++) {
        cr_expect_eq(tun_counters(w->node[i].t)->bad_cell, 0, "seed %lu relay %u", seed, i);
        const struct tun_onion_hop *o = &owner_of(w, c)->onion.hop[i];
        const struct tun_layer *l = &world_hop(w, i)->layer;
        cr_expect(o->forward.epoch >= 3 && o->forward.epoch <= 12, "hop %u forward: %u epochs", i,
                  o->forward.epoch);
        cr_expect(l->backward.epoch >= 3 && l->backward.epoch <= 12, "hop %u backward: %u epochs",
                  i, l->backward.epoch);
        cr_expect_eq(o->suite, aes && i == 0 ? TUN_SUITE_AES : TUN_SUITE_CHACHA, "hop %u", i);
        cr_expect_eq(l->forward_suite, o->suite);
        cr_expect_eq(l->backward_suite, o->suite);
    }
    cr_expect(memcmp(first.forward_key, owner_of(w, c)->onion.hop[1].forward.secret.key[0], 32));
    cr_expect_geq(tun_counters(w->node[0].t)->handshakes_in, 4, "links took new keys meanwhile");
    world_run(w, CV_SEC(10));
    nothing_old_anywhere(w, c);
    world_free(w);
}

Test(tun_epochs, a_transfer_over_many_loses_nothing) {
    for (uint64_t seed = 1; seed <= 3; seed++)
        transfer(seed, false);
}

Test(tun_epochs, the_same_with_aes_at_the_first_hop) {
    transfer(4, true);
}

/* Each direction of each hop draws its own times: what turned together everywhere
 * would be a mark. */
Test(tun_epochs, no_two_directions_turn_together) {
    struct world *w = five(5, false);
    struct far f = {.twice = 0};
    cv_handle c = world_circuit(w, CLIENT, chain, HOPS);
    opened(w, c, &f);
    cv_usec at[2 * HOPS] = {0};
    uint32_t epoch[2 * HOPS] = {0};
    unsigned turns = 0, together = 0;
    for (unsigned i = 0; i < 2400; i++) {
        if (i % 10 == 0)
            send_number(w, c, i);
        world_run(w, CV_MSEC(500));
        for (unsigned k = 0; k < 2 * HOPS; k++) {
            uint32_t e = k < HOPS ? owner_of(w, c)->onion.hop[k].forward.epoch
                                  : world_hop(w, k - HOPS)->layer.backward.epoch;
            if (e == epoch[k])
                continue;
            cr_expect_eq(e, epoch[k] + 1);
            epoch[k] = e;
            cv_usec now = sim_now(w->sim);
            if (at[k]) { /* the cell that makes an epoch one that was used comes later */
                cr_expect_geq(now - at[k], CV_SEC(59));
                cr_expect_leq(now - at[k], CV_SEC(181));
            }
            for (unsigned j = 0; j < 2 * HOPS; j++)
                together += j != k && at[j] == now;
            at[k] = now;
            turns++;
        }
    }
    /* 1200 s, 120 s each in the mean; two of six within one half second: 1 in 50 */
    cr_expect(turns >= 40 && turns <= 80, "%u", turns);
    cr_expect_leq(together, 10, "%u of %u", together, turns);
    world_free(w);
}

/* Hours without a cell but PINGs, and then one. */
Test(tun_epochs, an_idle_circuit_does_not_run_away_from_its_owner) {
    struct world *w = five(6, false);
    struct far f = {.twice = 0};
    cv_handle c = world_circuit(w, CLIENT, chain, HOPS);
    opened(w, c, &f);
    world_run(w, CV_SEC(2000));
    struct tun_circuit_info info;
    cr_assert_eq(tun_circuit_info(w->node[CLIENT].t, c, &info), CV_ERR_OK);
    cr_expect_eq(tun_counters(w->node[CLIENT].t)->bad_backward, 0);
    for (unsigned i = 0; i < HOPS; i++)
        cr_expect_eq(tun_counters(w->node[i].t)->bad_cell, 0, "relay %u", i);
    send_number(w, c, 1);
    world_run(w, CV_SEC(1));
    cr_expect(f.seen[1]);
    world_free(w);
}

/* ---- caps ---- */

static void exhaust(struct tun_ratchet_tx *tx) {
    tx->n = TUN_SEQUENCE_CAP - 1;
    tx->epoch = (TUN_SEQUENCE_CAP - 1) >> TUN_EPOCH_BITS;
}

Test(tun_epochs, a_circuit_ends_with_its_numbers) {
    for (unsigned side = 0; side < 2; side++) {
        struct world *w = five(7 + side, false);
        struct far f = {.twice = 0};
        cv_handle c = world_circuit(w, CLIENT, chain, HOPS);
        opened(w, c, &f);
        exhaust(side ? &world_hop(w, 1)->layer.backward : &owner_of(w, c)->onion.hop[1].forward);
        for (unsigned i = 0; i < 4 && !world_count(w, CLIENT, TUN_EVENT_CIRCUIT_DOWN); i++) {
            (void)world_send(w, CLIENT, c, "\0\0", 2);
            world_run(w, CV_SEC(1));
        }
        struct world_event *down = world_find(w, CLIENT, TUN_EVENT_CIRCUIT_DOWN, 0);
        cr_assert_not_null(down);
        cr_expect_eq(down->ev.circuit_down.err, side ? CV_ERR_CLOSED : CV_ERR_LIMIT);
        for (unsigned i = 0; i < HOPS; i++)
            cr_expect_eq(tun_counters(w->node[i].t)->hops, 0, "relay %u", i);
        world_free(w);
    }
}

/* Somebody on the wire lets cells through and no handshake. */
static enum sim_verdict no_renewal(void *ctx, const struct sim_datagram *d) {
    struct world *w = ctx;
    uint32_t cursor = 0;
    const struct tun_link *l = tun_handles_next(&w->node[CLIENT].t->links, &cursor);
    bool known = l && tun_cell_index(d->buf) == l->now.remote_index;
    return d->from_node == CLIENT && !known ? SIM_DROP : SIM_PASS;
}

Test(tun_epochs, a_link_that_cannot_be_renewed_ends_in_time_and_with_its_numbers) {
    for (unsigned by_count = 0; by_count < 2; by_count++) {
        struct world *w = five(9, false);
        struct far f = {.twice = 0};
        cv_handle c = world_circuit(w, CLIENT, chain, HOPS);
        opened(w, c, &f);
        sim_hook(w->sim, no_renewal, w);
        cv_usec began = sim_now(w->sim);
        if (by_count)
            world_link(w, CLIENT)->now.sent = TUN_REJECT_CELLS - 20;
        for (unsigned i = 0; i < 400 && !world_count(w, CLIENT, TUN_EVENT_LINK_DOWN); i++) {
            (void)world_send(w, CLIENT, c, "\0\0", 2);
            world_run(w, CV_SEC(1));
            uint32_t cursor = 0;
            const struct tun_link *l = tun_handles_next(&w->node[CLIENT].t->links, &cursor);
            cr_expect(!l || l->now.sent <= TUN_REJECT_CELLS);
        }
        cr_assert_eq(world_count(w, CLIENT, TUN_EVENT_LINK_DOWN), 1);
        cv_usec took = sim_now(w->sim) - began;
        cr_expect_leq(took, by_count ? CV_SEC(21) : TUN_REJECT_AFTER + CV_SEC(2), "%lu s",
                      took / CV_SEC(1));
        sim_hook(w->sim, NULL, NULL);
        world_free(w);
    }
}

Test(tun_epochs, nothing_is_taken_beyond_a_links_numbers) {
    struct world *w = five(10, false);
    struct far f = {.twice = 0};
    cv_handle c = world_circuit(w, CLIENT, chain, HOPS);
    opened(w, c, &f);
    /* a sender that does not stop by itself */
    struct tun_session *s = &world_link(w, CLIENT)->now;
    const uint64_t sequence[] = {TUN_REJECT_CELLS, TUN_REJECT_CELLS + 1};
    for (unsigned i = 0; i < 2; i++) {
        uint8_t buf[TUN_DATAGRAM] = {0};
        struct tun_header h = {
            .sequence = sequence[i], .index = s->remote_index, .command = TUN_LINKCMD_KEEPALIVE};
        tun_cell_seal_control(buf, &h, &s->tx_secret, 0);
        struct cv_now now = world_now(w, 0);
        cr_expect_eq(tun_on_datagram(w->node[0].t, &now, &w->node[CLIENT].addr, buf, sizeof buf),
                     i ? CV_ERR_STALE : CV_ERR_OK);
    }
    world_free(w);
}

/* ---- suites ---- */

static struct world_event *outcome(struct world *w, const struct tun_circuit_plan *plan) {
    struct cv_now now = world_now(w, CLIENT);
    cv_handle c;
    cr_assert_eq(tun_circuit_build(w->node[CLIENT].t, &now, plan, &c), CV_ERR_OK);
    sim_touch(w->sim, CLIENT);
    world_run(w, CV_SEC(5));
    struct world_event *down = world_find(w, CLIENT, TUN_EVENT_CIRCUIT_DOWN, 0);
    return down ? down : world_find(w, CLIENT, TUN_EVENT_CIRCUIT_READY, 0);
}

/* Who has AES, and which suite the first hop then speaks. */
/* clang-format off */
static const struct {
    const char *name;
    bool owner, relay;
    uint8_t want;
} machines[] = {
    { "nobody",         false, false, TUN_SUITE_CHACHA },
    { "the owner",      true,  false, TUN_SUITE_CHACHA },
    { "the first hop",  false, true,  TUN_SUITE_CHACHA },
    { "both",           true,  true,  TUN_SUITE_AES },
};
/* clang-format on */

Test(tun_epochs, suites_by_who_has_aes) {
    for (size_t i = 0; i < sizeof machines / sizeof *machines; i++) {
        struct world *w = world_new(&(struct sim_config){.seed = i});
        for (unsigned k = 0; k < 4; k++)
            world_relay(w, &(struct tun_config){.gate = true, .aes = machines[i].relay});
        world_client(w, &(struct tun_config){.gate = true, .aes = machines[i].owner});
        cv_handle c = world_circuit(w, CLIENT, chain, HOPS);
        cr_assert_neq(c, 0, "%s", machines[i].name);
        for (unsigned k = 0; k < HOPS; k++)
            cr_expect_eq(owner_of(w, c)->onion.hop[k].suite,
                         k ? TUN_SUITE_CHACHA : machines[i].want, "%s, hop %u", machines[i].name,
                         k);
        world_free(w);
    }
}

/* An owner that believes a relay has AES when it has not gets no circuit: nobody
 * answers a question for suite 2 with suite 1. */
Test(tun_epochs, a_suite_that_is_not_there_is_refused_not_replaced) {
    struct world *w = world_new(&(struct sim_config){.seed = 1});
    for (unsigned k = 0; k < 4; k++)
        world_relay(w, NULL);
    world_client(w, &(struct tun_config){.gate = true, .aes = true});
    struct tun_circuit_plan plan = {.hops = 1};
    world_ref(w, 0, &plan.hop[0]);
    plan.hop[0].suites |= TUN_SUITES_AES;
    struct world_event *e = outcome(w, &plan);
    cr_assert_not_null(e);
    cr_expect_eq(e->ev.kind, TUN_EVENT_CIRCUIT_DOWN);
    cr_expect_eq(e->ev.circuit_down.err, CV_ERR_CLOSED);
    cr_expect_eq(tun_counters(w->node[0].t)->hops, 0);
    world_free(w);
}

/* The relay was moved to a machine without AES, with the descriptor of the day that
 * offers it: it keeps its word. What it signs from then on offers it no more. */
Test(tun_epochs, a_suite_that_was_promised_is_kept_for_the_day) {
    struct world *w = five(12, true);
    w->node[0].t->cfg.aes = false;
    cv_handle c = world_circuit(w, CLIENT, chain, 2);
    cr_assert_neq(c, 0);
    cr_expect_eq(owner_of(w, c)->onion.hop[0].suite, TUN_SUITE_AES);
    cr_expect_eq(tun_counters(w->node[0].t)->hops, 1);
    world_free(w);
}

/* Asked for over a link between relays, it is an error whoever has it. */
Test(tun_epochs, suite_2_goes_no_further_than_the_first_hop) {
    struct world *w = five(11, true);
    cv_handle c = world_circuit(w, CLIENT, chain, 1);
    cr_assert_neq(c, 0);
    struct tun_relay_ref to;
    world_ref(w, 1, &to);
    struct tun_handshake hs;
    uint8_t flight[TUN_FLIGHT1], body[512];
    const struct tun_params params = {.suite = TUN_SUITE_AES, .version = TUN_VERSION};
    cr_assert_eq(
        tun_handshake_create_1(&hs, flight, to.identity, to.onion_key, &params, sim_rng(w->sim)),
        CV_ERR_OK);
    struct tun_extend m = {.day = to.day, .flight = flight, .flight_len = sizeof flight};
    memcpy(m.identity, to.identity, sizeof m.identity);
    memcpy(m.digest, to.d, sizeof m.digest);
    /* the link between the two is up and named before */
    cr_assert_neq(world_circuit(w, CLIENT, chain, 2), 0);
    world_run(w, CV_SEC(5));
    struct cv_wr wr = cv_wr_init(body, sizeof body);
    tun_extend_write(&wr, &m);
    uint32_t transaction =
        world_request(w, CLIENT, c, TUN_CMD_EXTEND, body + 4, cv_wr_len(&wr) - 4);
    world_run(w, CV_SEC(5));
    struct world_event *e = world_reply(w, CLIENT, transaction);
    cr_assert_not_null(e);
    cr_expect_eq(e->ev.reply.code, TUN_ERROR_UNREACHABLE);
    cr_expect_eq(tun_counters(w->node[1].t)->hops, 1, "that of the other circuit");
    tun_handshake_done(&hs);
    world_free(w);
}
