/*
 * Neighbours in version (version.h): an engine that is one version ahead of ours is the
 * same engine and says so. What the two say to each other, and that nobody on the way
 * makes two that are ahead speak as if they were not.
 */
#include "crypto/hash.h"
#include "support/suite.h"
#include "tunnel/link.h"
#include "tunnel/tests/village.h"

CV_SUITE(tun_versions);

static const struct sim_path near = {.delay = CV_MSEC(1)};

/* A circuit of one hop between nodes of these versions, and what is spoken. */
Test(tun_versions, circuits_between_versions) {
    for (uint8_t relay = 1; relay <= 3; relay++)
        for (uint8_t owner = 1; owner <= 4; owner++) {
            struct world *w = world_new(&(struct sim_config){.seed = 1});
            sim_path_default(w->sim, &near);
            static const unsigned to[] = {0};
            world_relay(w, &(struct tun_config){.gate = true, .version = relay});
            world_client(w, &(struct tun_config){.gate = true, .version = owner});
            uint8_t spoken = tun_version_between(owner, relay);
            struct tun_circuit_plan plan = {.purpose = TUN_PURPOSE_GENERAL, .hops = 1};
            struct tun_relay_ref *ref = &plan.hop[0];
            size_t len;
            const uint8_t *raw = tun_own_descriptor(w->node[0].t, world_now(w, 0).wall, &len);
            cr_assert_not_null(raw);
            cr_expect_eq(raw[0], relay, "its descriptor says which it speaks");
            struct tun_descriptor d;
            /* Too far ahead of what this was built as: not even read. */
            enum cv_err err = tun_descriptor_open(raw, len, w->node[0].cfg.network_id, &d);
            cr_assert_eq(err, tun_version_between(TUN_VERSION, relay) ? CV_ERR_OK : CV_ERR_VERSION);
            if (err) {
                world_free(w);
                continue;
            }
            world_ref(w, 0, ref);
            cr_expect_eq(ref->version, relay);
            cv_handle c = world_circuit(w, 1, to, 1);
            cr_expect_eq(c != 0, spoken != 0, "owner %u, relay %u", owner, relay);
            if (spoken) {
                const struct tun_link *l = world_link(w, 1);
                cr_assert_not_null(l);
                cr_expect_eq(l->peer->version, spoken, "owner %u, relay %u", owner, relay);
            }
            world_free(w);
        }
}

/* What an owner may ask a relay of version 2 for, in the sealed parameters. */
Test(tun_versions, a_relay_takes_its_version_and_the_one_before) {
    static const unsigned to[] = {0};
    for (uint8_t asked = 0; asked <= 4; asked++) {
        struct world *w = world_new(&(struct sim_config){.seed = 2});
        sim_path_default(w->sim, &near);
        world_relay(w, &(struct tun_config){.gate = true, .version = 2});
        world_client(w, &(struct tun_config){.gate = true, .version = 2});
        cr_assert_neq(world_circuit(w, 1, to, 1), 0);
        struct tun_relay_ref ref;
        struct tun_handshake hs;
        uint8_t flight[TUN_FLIGHT1], body[TUN_CONTROL_MAX];
        const struct tun_params params = {.suite = TUN_SUITE_CHACHA, .version = asked};
        world_ref(w, 0, &ref);
        cr_assert_eq(tun_handshake_create_1(&hs, flight, ref.identity, ref.onion_key, &params,
                                            sim_rng(w->sim)),
                     CV_ERR_OK);
        tun_handshake_done(&hs);
        struct cv_wr wr = cv_wr_init(body, sizeof body);
        tun_create_write(&wr, &(struct tun_create){.params = {.ttl = 5},
                                                   .flight = flight,
                                                   .flight_len = sizeof flight});
        cr_assert_eq(tun_link_control(w->node[1].t, world_link(w, 1), TUN_LINKCMD_CREATE,
                                      TUN_CIRCUIT_INITIATOR | 5, body, cv_wr_len(&wr)),
                     CV_ERR_OK);
        sim_touch(w->sim, 1);
        world_run(w, CV_MSEC(100));
        bool taken = asked == 1 || asked == 2;
        cr_expect_eq(tun_counters(w->node[0].t)->hops, taken ? 2 : 1, "asked for %u", asked);
        world_free(w);
    }
}

/* ---- a network in which both live ---- */

static struct village *mixed(uint64_t seed, unsigned relays) {
    struct village *v = village_new(&(struct sim_config){.seed = seed}, 0);
    sim_path_default(v->w->sim, &near);
    for (unsigned i = 0; i < relays; i++) {
        v->version = (uint8_t)(1 + i % 2);
        village_relay(v);
    }
    world_run(v->w, CV_SEC(5));
    return v;
}

/* Relays of both, a viewer of one and a seeder of the other: they find each other. */
Test(tun_versions, both_live_in_one_network) {
    for (uint8_t viewers = 1; viewers <= 2; viewers++) {
        struct village *v = mixed(viewers, 8);
        v->version = viewers;
        unsigned viewer = village_client(v);
        v->version = 3 - viewers;
        unsigned seeder = village_client(v);
        world_run(v->w, CV_SEC(5));
        village_share(v, seeder, "both versions", false);
        world_run(v->w, CV_SEC(10));
        cv_handle h = village_view(v, viewer, "both versions");
        cr_expect(village_meet(v, viewer, h, 1, CV_SEC(60)), "viewer of version %u", viewers);
        village_free(v);
    }
}

/* ---- somebody on the way ---- */

struct rewriter {
    struct tun_linkhs_peer peer;
    unsigned flights;
    bool on;
};

/* Says of each first flight that it is one of version 1. */
static enum sim_verdict rewrite(void *ctx, const struct sim_datagram *d) {
    struct rewriter *r = ctx;
    if (!r->on || d->to_node != 0 || d->len != TUN_DATAGRAM ||
        tun_linkhs_is_flight_1(&r->peer, d->buf) != 2)
        return SIM_PASS;
    CV_BLAKE2B(d->buf, 16, r->peer.mac_key_before, 32, {d->buf + 16, 112});
    r->flights++;
    return SIM_PASS;
}

Test(tun_versions, nobody_on_the_way_makes_two_speak_less) {
    static const unsigned to[] = {0};
    static struct rewriter r;
    struct world *w = world_new(&(struct sim_config){.seed = 3});
    r = (struct rewriter){.on = true};
    sim_path_default(w->sim, &near);
    world_relay(w, &(struct tun_config){.gate = true, .version = 2});
    world_client(w, &(struct tun_config){.gate = true, .version = 2});
    struct tun_relay_ref ref;
    world_ref(w, 0, &ref);
    tun_linkhs_peer_init(&r.peer, ref.link_key, w->node[0].cfg.network_id);
    tun_linkhs_peer_speaks(&r.peer, 2);
    sim_hook(w->sim, rewrite, &r);
    cr_expect_eq(world_circuit(w, 1, to, 1), 0);
    cr_expect_gt(r.flights, 1, "it was tried again, and again in version 2");
    cr_expect_eq(tun_counters(w->node[0].t)->handshakes_in, 0);
    cr_expect_gt(tun_counters(w->node[0].t)->bad_handshake, 0);
    r.on = false;
    cr_expect_neq(world_circuit(w, 1, to, 1), 0);
    cr_expect_eq(world_link(w, 1)->peer->version, 2);
    world_free(w);
}
