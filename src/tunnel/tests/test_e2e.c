/*
 * The end-to-end layer: equal to a second implementation (tests/vectors/
 * hidden.py); outsiders open nothing, replays and changes are dropped.
 */
#include "tunnel/e2e.h"

#include "crypto/hash.h"
#include "crypto/rng_seeded.h"
#include "tunnel/stamp.h"
#include "tunnel/tests/octets.h"

CV_SUITE(tun_e2e, .init = cv_crypto_init);

struct pair {
    struct tun_e2e_context ctx;
    struct tun_period_secret keys;
    struct cv_x25519_secret service;
    struct tun_meeting meeting;
    struct cv_noise viewer_noise, seeder_noise;
    struct tun_e2e viewer, seeder;
    uint8_t flight1[TUN_E2E_FLIGHT1], flight2[TUN_E2E_FLIGHT2];
};

static void begin(struct pair *p) {
    uint8_t id[32], seed[32];
    struct tun_swarm_secret s;
    memset(p, 0, sizeof *p);
    octets(id, 1, sizeof id);
    tun_swarm_derive(&s, hidden_network, id, sizeof id, NULL);
    tun_period_derive(&p->keys, &s, HIDDEN_PERIOD);
    octets(seed, 51, sizeof seed);
    cv_x25519_from_seed(&p->service, seed);
    memcpy(p->ctx.network_id, hidden_network, 8);
    octets(p->ctx.ip, 10, 32);
    octets(p->ctx.auth, 30, 32);
    octets(p->meeting.rp, 81, 32);
    octets(p->meeting.d, 91, 16);
    octets(p->meeting.cookie, 111, TUN_RENDEZVOUS_COOKIE);
    unsigned first = 61;
    struct cv_rng rng = octets_rng(&first);
    cr_assert_eq(tun_e2e_create_1(&p->viewer_noise, p->flight1, &p->ctx, &p->keys,
                                  p->service.public_key, &p->meeting, &rng),
                 CV_ERR_OK);
}

static enum cv_err consume(struct pair *p, const struct tun_e2e_context *ctx,
                           const struct tun_period_secret *keys, struct tun_meeting *ret) {
    unsigned first = 71;
    struct cv_rng rng = octets_rng(&first);
    return tun_e2e_consume_1(&p->seeder_noise, ret, p->flight1, sizeof p->flight1, ctx, keys,
                             &p->service, &rng);
}

static void join(struct pair *p) {
    struct tun_meeting got;
    begin(p);
    cr_assert_eq(consume(p, &p->ctx, &p->keys, &got), CV_ERR_OK);
    cr_expect_arr_eq(&got, &p->meeting, sizeof got);
    cr_assert_eq(tun_e2e_create_2(&p->seeder_noise, p->flight2, &p->seeder), CV_ERR_OK);
    cr_assert_eq(tun_e2e_consume_2(&p->viewer_noise, p->flight2, sizeof p->flight2, &p->viewer),
                 CV_ERR_OK);
}

static void expect_sealed(struct tun_e2e *e, const char *label, const char *text) {
    uint8_t out[64];
    cr_assert_eq(tun_e2e_seal(e, out, (const uint8_t *)text, strlen(text)), CV_ERR_OK);
    expect_hidden("e2e", label, out, strlen(text) + TUN_E2E_OVERHEAD);
}

Test(tun_e2e, flights_and_datagrams_are_those_of_the_second_implementation) {
    struct pair p;
    join(&p);
    expect_hidden("e2e", "flight1", p.flight1, sizeof p.flight1);
    expect_hidden("e2e", "flight2", p.flight2, sizeof p.flight2);
    expect_sealed(&p.viewer, "to_seeder0", "from the viewer 0");
    expect_sealed(&p.viewer, "to_seeder1", "from the viewer 1");
    expect_sealed(&p.seeder, "to_viewer0", "from the seeder 0");
    expect_sealed(&p.seeder, "to_viewer1", "from the seeder 1");
}

Test(tun_e2e, an_introduction_opens_only_for_its_swarm_period_point_and_key) {
    struct pair p;
    struct tun_meeting got = {.rp = {0xee}};
    begin(&p);
    struct tun_e2e_context ctx = p.ctx;
    struct tun_period_secret keys = p.keys;
    ctx.ip[0] ^= 1;
    cr_expect_eq(consume(&p, &ctx, &p.keys, &got), CV_ERR_AUTH, "another introduction point");
    ctx = p.ctx;
    ctx.auth[31] ^= 1;
    cr_expect_eq(consume(&p, &ctx, &p.keys, &got), CV_ERR_AUTH, "another contact");
    ctx = p.ctx;
    ctx.network_id[0] ^= 1;
    cr_expect_eq(consume(&p, &ctx, &p.keys, &got), CV_ERR_AUTH, "another network");
    keys.period++;
    cr_expect_eq(consume(&p, &p.ctx, &keys, &got), CV_ERR_AUTH, "another period");
    keys = p.keys;
    keys.psk[5] ^= 1;
    cr_expect_eq(consume(&p, &p.ctx, &keys, &got), CV_ERR_AUTH, "outside the swarm");
    for (size_t i = 0; i < sizeof p.flight1; i++) {
        p.flight1[i] ^= 0x40;
        cr_assert_neq(consume(&p, &p.ctx, &p.keys, &got), CV_ERR_OK, "octet %zu", i);
        p.flight1[i] ^= 0x40;
    }
    cr_expect_eq(got.rp[0], 0xee, "result clobbered on failure");
    cr_expect_eq(consume(&p, &p.ctx, &p.keys, &got), CV_ERR_OK, "and still the true one");
}

Test(tun_e2e, a_forged_second_flight_changes_nothing) {
    struct pair p;
    struct tun_meeting got;
    begin(&p);
    cr_assert_eq(consume(&p, &p.ctx, &p.keys, &got), CV_ERR_OK);
    cr_assert_eq(tun_e2e_create_2(&p.seeder_noise, p.flight2, &p.seeder), CV_ERR_OK);
    for (size_t i = 0; i < sizeof p.flight2; i++) {
        p.flight2[i] ^= 4;
        cr_assert_neq(tun_e2e_consume_2(&p.viewer_noise, p.flight2, sizeof p.flight2, &p.viewer),
                      CV_ERR_OK, "octet %zu", i);
        p.flight2[i] ^= 4;
    }
    cr_expect_eq(tun_e2e_consume_2(&p.viewer_noise, p.flight2, sizeof p.flight2, &p.viewer),
                 CV_ERR_OK);
}

Test(tun_e2e, datagrams_pass_once_in_any_order_and_unchanged_or_not_at_all) {
    struct pair p;
    join(&p);
    uint8_t sealed[50][TUN_E2E_MAX + TUN_E2E_OVERHEAD], text[TUN_E2E_MAX], out[TUN_E2E_MAX];
    memset(text, 'a', sizeof text);
    for (size_t i = 0; i < 50; i++) {
        text[0] = (uint8_t)i;
        cr_assert_eq(tun_e2e_seal(&p.viewer, sealed[i], text, i == 0 ? 0 : sizeof text), CV_ERR_OK);
    }
    for (size_t k = 50; k-- > 1;) {
        size_t i = (k * 5) % 49 + 1; /* each of 1..49 once */
        sealed[i][TUN_E2E_OVERHEAD + 3] ^= 1;
        cr_assert_eq(tun_e2e_open(&p.seeder, out, sealed[i], sizeof sealed[i]), CV_ERR_AUTH);
        sealed[i][TUN_E2E_OVERHEAD + 3] ^= 1;
        cr_assert_eq(tun_e2e_open(&p.seeder, out, sealed[i], sizeof sealed[i]),
                     (ssize_t)sizeof text, "datagram %zu", i);
        cr_expect_eq(out[0], i);
        cr_assert_eq(tun_e2e_open(&p.seeder, out, sealed[i], sizeof sealed[i]), CV_ERR_REPLAY);
    }
    cr_expect_eq(tun_e2e_open(&p.seeder, out, sealed[0], TUN_E2E_OVERHEAD), 0, "an empty one");
    cr_expect_eq(tun_e2e_open(&p.seeder, out, sealed[0], TUN_E2E_OVERHEAD - 1), CV_ERR_TRUNCATED);
    cr_expect_eq(tun_e2e_open(&p.viewer, out, sealed[1], sizeof sealed[1]), CV_ERR_AUTH,
                 "not back where it came from");
}

Test(tun_e2e, keys_end_after_two_to_the_thirty_datagrams) {
    struct pair p;
    uint8_t out[TUN_E2E_OVERHEAD];
    join(&p);
    p.viewer.sent = TUN_SEQUENCE_CAP - 1;
    cr_expect_eq(tun_e2e_seal(&p.viewer, out, out, 0), CV_ERR_OK);
    cr_expect_eq(tun_e2e_seal(&p.viewer, out, out, 0), CV_ERR_CLOSED);
}

Test(tun_e2e, stamps_show_their_effort) {
    struct pair p;
    uint8_t row[TUN_STAMP + 1];
    begin(&p);
    cr_assert_eq(cv_test_vector(HIDDEN_VECTORS, "stamp", "stamp", 0, row, sizeof row), sizeof row);
    cr_expect_eq(
        tun_stamp_effort(row, p.service.public_key, HIDDEN_PERIOD, p.flight1, sizeof p.flight1),
        row[TUN_STAMP]);
    cr_expect_neq(
        tun_stamp_effort(row, p.service.public_key, HIDDEN_PERIOD + 1, p.flight1, sizeof p.flight1),
        row[TUN_STAMP]);
}
