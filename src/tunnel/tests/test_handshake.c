#include "tunnel/handshake.h"

#include <string.h>

#include "crypto/hash.h"
#include "crypto/rng_seeded.h"
#include "support/suite.h"
#include "tape.h"

CV_SUITE(tunnel_handshake, .init = cv_crypto_init);

static const struct tun_params params = {.suite = TUN_SUITE_CHACHA, .version = TUN_VERSION};

struct world {
    uint32_t at;
    struct cv_rng rng;
    uint8_t identity[CV_KEY];
    struct cv_x25519_secret b_secret, other_secret;
    const struct cv_x25519_secret *keys[2];
    struct tun_handshake client;
    struct tun_handshake_in relay;
    uint8_t f1[TUN_FLIGHT1], f2[TUN_FLIGHT2];
    struct tun_layer_secret mine, theirs;
    struct tun_params got;
};

static void begin(struct world *w) {
    uint8_t seed[32];
    memset(w, 0, sizeof *w);
    w->rng = tape_rng(&w->at);
    octets(w->identity, 90, sizeof w->identity);
    octets(seed, 200, sizeof seed);
    cv_x25519_from_seed(&w->b_secret, seed);
    octets(seed, 201, sizeof seed);
    cv_x25519_from_seed(&w->other_secret, seed);
    w->keys[0] = &w->other_secret;
    w->keys[1] = &w->b_secret;
    cr_assert_eq(tun_handshake_create_1(&w->client, w->f1, w->identity, w->b_secret.public_key,
                                        &params, &w->rng),
                 CV_ERR_OK);
}

static enum cv_err consume_1(struct world *w, const uint8_t *f1, size_t len) {
    return tun_handshake_consume_1(&w->relay, f1, len, w->identity, w->keys, 2);
}

static void answer(struct world *w) {
    cr_assert_eq(consume_1(w, w->f1, sizeof w->f1), CV_ERR_OK);
    cr_assert_eq(tun_handshake_create_2(&w->relay, w->f2, &params, &w->rng, &w->theirs), CV_ERR_OK);
}

static void end(struct world *w) {
    tun_handshake_done(&w->client);
    tun_handshake_in_done(&w->relay);
}

Test(tunnel_handshake, vectors) {
    struct world w;
    begin(&w);
    expect_vector("handshake", "flight1", w.f1, sizeof w.f1);
    answer(&w);
    expect_vector("handshake", "flight2", w.f2, sizeof w.f2);
    cr_assert_eq(tun_handshake_consume_2(&w.client, w.f2, sizeof w.f2, &w.got, &w.mine), CV_ERR_OK);
    expect_vector("handshake", "forward_key", w.mine.forward_key, 32);
    cr_assert_arr_eq(&w.mine, &w.theirs, sizeof w.mine);
    cr_assert_eq(w.got.suite, TUN_SUITE_CHACHA);
    cr_assert_eq(w.relay.params.version, TUN_VERSION);
    end(&w);
}

Test(tunnel_handshake, every_bit_of_flight_1) {
    struct world w;
    begin(&w);
    struct tun_handshake_in before = w.relay;
    for (unsigned bit = 0; bit < sizeof w.f1 * 8; bit++) {
        if (bit == 255)
            continue; /* X25519 ignores it, the hashes do not: it fails too, see below */
        w.f1[bit / 8] ^= (uint8_t)(1u << bit % 8);
        cr_assert_neq(consume_1(&w, w.f1, sizeof w.f1), CV_ERR_OK, "bit %u", bit);
        cr_assert_arr_eq(&w.relay, &before, sizeof before, "bit %u changed state", bit);
        w.f1[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    w.f1[31] ^= 0x80;
    cr_assert_eq(consume_1(&w, w.f1, sizeof w.f1), CV_ERR_AUTH);
    end(&w);
}

Test(tunnel_handshake, every_bit_of_flight_2) {
    struct world w;
    begin(&w);
    answer(&w);
    for (unsigned bit = 0; bit < sizeof w.f2 * 8; bit++) {
        w.f2[bit / 8] ^= (uint8_t)(1u << bit % 8);
        w.got = (struct tun_params){9, 9, 9};
        cr_assert_eq(tun_handshake_consume_2(&w.client, w.f2, sizeof w.f2, &w.got, &w.mine),
                     CV_ERR_AUTH, "bit %u", bit);
        cr_assert_eq(w.got.suite, 9, "result clobbered");
        w.f2[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    cr_assert_eq(tun_handshake_consume_2(&w.client, w.f2, sizeof w.f2, &w.got, &w.mine), CV_ERR_OK,
                 "a forged flight must not spoil the wait for the real one");
    end(&w);
}

/* A relay that holds the onion key answers with what was not asked for. */
Test(tunnel_handshake, never_less_than_was_asked_for) {
    static const struct tun_params answers[] = {
        {.suite = TUN_SUITE_CHACHA, .version = TUN_VERSION},  /* asked: AES */
        {.suite = TUN_SUITE_AES, .version = TUN_VERSION + 1}, /* a version that we lack */
        {.suite = TUN_SUITE_AES, .version = TUN_VERSION},     /* this */
    };
    static const struct tun_params asked = {.suite = TUN_SUITE_AES, .version = TUN_VERSION};
    for (unsigned i = 0; i < 3; i++) {
        struct world w;
        begin(&w);
        tun_handshake_done(&w.client);
        cr_assert_eq(tun_handshake_create_1(&w.client, w.f1, w.identity, w.b_secret.public_key,
                                            &asked, &w.rng),
                     CV_ERR_OK);
        cr_assert_eq(consume_1(&w, w.f1, sizeof w.f1), CV_ERR_OK);
        cr_assert_eq(w.relay.params.suite, TUN_SUITE_AES);
        cr_assert_eq(tun_handshake_create_2(&w.relay, w.f2, &answers[i], &w.rng, &w.theirs),
                     CV_ERR_OK);
        w.got = (struct tun_params){9, 9, 9};
        enum cv_err err = tun_handshake_consume_2(&w.client, w.f2, sizeof w.f2, &w.got, &w.mine);
        cr_expect_eq(err, i < 2 ? CV_ERR_VERSION : CV_ERR_OK, "%u: %s", i, cv_strerror(err));
        cr_expect_eq(w.got.suite, i < 2 ? 9 : TUN_SUITE_AES);
        end(&w);
    }
}

Test(tunnel_handshake, only_the_relay_that_was_meant) {
    struct world w;
    begin(&w);
    w.keys[1] = &w.other_secret;
    cr_assert_eq(consume_1(&w, w.f1, sizeof w.f1), CV_ERR_NOENT, "another onion key");
    w.keys[1] = &w.b_secret;
    w.identity[0] ^= 1;
    cr_assert_eq(consume_1(&w, w.f1, sizeof w.f1), CV_ERR_AUTH, "another identity");
    w.identity[0] ^= 1;

    /* Flight 2 of another circuit of the same relay. */
    answer(&w);
    struct tun_handshake again;
    uint8_t f1[TUN_FLIGHT1];
    tun_handshake_create_1(&again, f1, w.identity, w.b_secret.public_key, &params, &w.rng);
    cr_assert_eq(tun_handshake_consume_2(&again, w.f2, sizeof w.f2, &w.got, &w.mine), CV_ERR_AUTH);
    tun_handshake_done(&again);
    end(&w);
}

Test(tunnel_handshake, wrong_lengths) {
    struct world w;
    uint8_t longer[TUN_FLIGHT2 + 1] = {0};
    begin(&w);
    for (size_t len = 0; len < TUN_FLIGHT1; len++)
        cr_assert_eq(consume_1(&w, w.f1, len), CV_ERR_TRUNCATED);
    memcpy(longer, w.f1, TUN_FLIGHT1);
    cr_assert_eq(consume_1(&w, longer, TUN_FLIGHT1 + 1), CV_ERR_MALFORMED);
    answer(&w);
    memcpy(longer, w.f2, TUN_FLIGHT2);
    for (size_t len = 0; len < TUN_FLIGHT2; len++)
        cr_assert_eq(tun_handshake_consume_2(&w.client, w.f2, len, &w.got, &w.mine),
                     CV_ERR_TRUNCATED);
    cr_assert_eq(tun_handshake_consume_2(&w.client, longer, sizeof longer, &w.got, &w.mine),
                 CV_ERR_MALFORMED);
    end(&w);
}

/* Points of small order give a shared secret that everybody knows. */
Test(tunnel_handshake, small_order_is_refused) {
    static const uint8_t points[][CV_KEY] = {
        {0},
        {1},
        {0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3,
         0xfa, 0xf1, 0x9f, 0xc4, 0x6a, 0xda, 0x09, 0x8d, 0xeb, 0x9c, 0x32,
         0xb1, 0xfd, 0x86, 0x62, 0x05, 0x16, 0x5f, 0x49, 0xb8, 0x00},
    };
    struct world w;
    begin(&w);
    answer(&w);
    for (size_t i = 0; i < sizeof points / sizeof *points; i++) {
        struct tun_handshake hs;
        uint8_t f1[TUN_FLIGHT1], f2[TUN_FLIGHT2];
        cr_expect_eq(tun_handshake_create_1(&hs, f1, w.identity, points[i], &params, &w.rng),
                     CV_ERR_AUTH);
        memcpy(f1, w.f1, sizeof f1);
        memcpy(f1, points[i], CV_KEY);
        cr_expect_eq(consume_1(&w, f1, sizeof f1), CV_ERR_AUTH);
        memcpy(f2, w.f2, sizeof f2);
        memcpy(f2, points[i], CV_KEY);
        cr_expect_eq(tun_handshake_consume_2(&w.client, f2, sizeof f2, &w.got, &w.mine),
                     CV_ERR_AUTH);
        tun_handshake_done(&hs);
    }
    end(&w);
}
