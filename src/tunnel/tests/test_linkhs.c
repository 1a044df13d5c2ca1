#include "tunnel/linkhs.h"

#include <string.h>

#include "crypto/aead.h"
#include "crypto/hash.h"
#include "crypto/rng_seeded.h"
#include "support/suite.h"
#include "tape.h"

CV_SUITE(tunnel_linkhs, .init = cv_crypto_init);

enum { INITIATOR = 0x01020304, RESPONDER = 0x0a0b0c0d };
static const struct cv_addr addr = {.ip = {192, 0, 2, 7}, .port = 4242, .family = 4};

struct world {
    uint32_t at;
    struct cv_rng rng;
    struct cv_x25519_secret secret;
    struct tun_linkhs_peer peer;
    struct tun_linkhs i, r;
    uint8_t f1[TUN_DATAGRAM], f2[TUN_DATAGRAM];
};

static void begin(struct world *w) {
    uint8_t seed[32], network[TUN_NETWORK_ID];
    memset(w, 0, sizeof *w);
    w->rng = tape_rng(&w->at);
    octets(seed, 150, sizeof seed);
    octets(network, 7, sizeof network);
    cv_x25519_from_seed(&w->secret, seed);
    tun_linkhs_peer_init(&w->peer, w->secret.public_key, network);
    cr_assert_eq(tun_linkhs_create_1(&w->i, &w->peer, INITIATOR, NULL, &w->rng, w->f1), CV_ERR_OK);
}

static enum cv_err consume_1(struct world *w, const uint8_t *f1) {
    return tun_linkhs_consume_1(&w->r, &w->peer, &w->secret, &w->rng, f1);
}

static void answer(struct world *w) {
    cr_assert(tun_linkhs_is_flight_1(&w->peer, w->f1));
    cr_assert_eq(consume_1(w, w->f1), CV_ERR_OK);
    cr_assert_eq(w->r.remote_index, INITIATOR);
    cr_assert_eq(tun_linkhs_create_2(&w->r, RESPONDER, &w->rng, w->f2), CV_ERR_OK);
}

static void end(struct world *w) {
    tun_linkhs_done(&w->i);
    tun_linkhs_done(&w->r);
}

/* Flight 1 by somebody who speaks another version, written out here. */
static void flight_of_version(struct world *w, uint8_t version, uint8_t out[TUN_DATAGRAM]) {
    enum { NOISE = 36, PAYLOAD = TUN_DATAGRAM - NOISE - CV_NOISE_OVERHEAD, MASKED = 36 };
    uint8_t prologue[21], payload[PAYLOAD] = {4, 3, 2, 1};
    struct cv_noise n;
    memcpy(prologue, "culvert link", 12);
    prologue[12] = version;
    octets(prologue + 13, 7, TUN_NETWORK_ID);
    cv_noise_init_initiator(&n, CV_NOISE_NK, prologue, sizeof prologue, w->peer.link_key, NULL,
                            &w->rng);
    memcpy(out + 32, payload, 4);
    cr_assert_eq(cv_noise_create_1(&n, out + NOISE, payload, sizeof payload), CV_ERR_OK);
    cv_noise_done(&n);
    octets(out + 16, version, 16); /* no cookie: dice */
    cv_chacha20_xor(out + 32, MASKED, out + 16, w->peer.mask_key);
    CV_BLAKE2B(out, 16, w->peer.mac_key, 32, {out + 16, 112});
}

/* The version stands in the prologue: who speaks another is not understood, and nobody
 * in between can make two that speak more speak less. */
Test(tunnel_linkhs, version_is_in_the_handshake) {
    struct world w;
    begin(&w);
    for (unsigned version = 0; version < 256; version += version < 3 ? 1 : 61) {
        uint8_t f1[TUN_DATAGRAM];
        flight_of_version(&w, (uint8_t)version, f1);
        cr_assert(tun_linkhs_is_flight_1(&w.peer, f1));
        enum cv_err err = consume_1(&w, f1);
        cr_expect_eq(err, version == TUN_VERSION ? CV_ERR_OK : CV_ERR_AUTH, "version %u: %s",
                     version, cv_strerror(err));
    }
    end(&w);
}

/* An initiator of one version calls a responder of another: they speak the lower of
 * the two, or do not understand each other. */
Test(tunnel_linkhs, neighbours_in_version_speak_the_lower_one) {
    for (uint8_t theirs = 1; theirs <= 4; theirs++)
        for (uint8_t ours = 1; ours <= 4; ours++) {
            struct world w;
            begin(&w);
            tun_linkhs_done(&w.i);
            uint8_t spoken = tun_version_between(ours, theirs);
            uint8_t want = ours == theirs       ? ours
                           : ours + 1 == theirs ? ours
                           : theirs + 1 == ours ? theirs
                                                : 0;
            cr_assert_eq(spoken, want, "%u and %u: %u", ours, theirs, spoken);
            cr_expect_eq(tun_version_is_spoken(theirs, spoken), want > 0);
            tun_linkhs_peer_speaks(&w.peer, spoken ? spoken : ours);
            cr_assert_eq(tun_linkhs_create_1(&w.i, &w.peer, INITIATOR, NULL, &w.rng, w.f1),
                         CV_ERR_OK);
            tun_linkhs_peer_speaks(&w.peer, theirs);
            cr_expect_eq(tun_linkhs_is_flight_1(&w.peer, w.f1), want, "%u to %u", ours, theirs);
            cr_expect_eq(consume_1(&w, w.f1), want ? CV_ERR_OK : CV_ERR_AUTH, "%u to %u", ours,
                         theirs);
            if (want) {
                cr_expect_eq(w.r.version, want);
                cr_assert_eq(tun_linkhs_create_2(&w.r, RESPONDER, &w.rng, w.f2), CV_ERR_OK);
                cr_expect_eq(tun_linkhs_consume_2(&w.i, w.f2), CV_ERR_OK);
                cr_expect_eq(w.i.version, want);
            }
            end(&w);
        }
}

/* Everybody knows the keys of mac1: somebody on the way says of a flight of version 2
 * that it is one of version 1, and the other way round. */
Test(tunnel_linkhs, nobody_on_the_way_makes_it_a_lower_version) {
    for (uint8_t spoken = 1; spoken <= 2; spoken++) {
        struct world w;
        begin(&w);
        tun_linkhs_done(&w.i);
        tun_linkhs_peer_speaks(&w.peer, spoken);
        cr_assert_eq(tun_linkhs_create_1(&w.i, &w.peer, INITIATOR, NULL, &w.rng, w.f1), CV_ERR_OK);
        tun_linkhs_peer_speaks(&w.peer, 2);
        cr_assert_eq(tun_linkhs_is_flight_1(&w.peer, w.f1), spoken);
        const uint8_t *other = spoken == 2 ? w.peer.mac_key_before : w.peer.mac_key;
        CV_BLAKE2B(w.f1, 16, other, 32, {w.f1 + 16, 112});
        cr_assert_eq(tun_linkhs_is_flight_1(&w.peer, w.f1), 3 - spoken);
        cr_expect_eq(consume_1(&w, w.f1), CV_ERR_AUTH, "version %u", spoken);
        end(&w);
    }
}

static void join(uint8_t out[80], const struct tun_link_secret *k) {
    memcpy(out, k->mac_key, 16);
    memcpy(out + 16, k->header_key, 32);
    memcpy(out + 48, k->control_key, 32);
}

Test(tunnel_linkhs, vectors) {
    struct world w;
    struct tun_link_secret tx[2], rx[2];
    uint8_t hash[2][CV_NOISE_HASH], keys[80];
    begin(&w);
    expect_vector("linkhs", "flight1", w.f1, sizeof w.f1);
    answer(&w);
    expect_vector("linkhs", "flight2", w.f2, sizeof w.f2);
    cr_assert_eq(tun_linkhs_consume_2(&w.i, w.f2), CV_ERR_OK);
    cr_assert_eq(w.i.remote_index, RESPONDER);
    tun_linkhs_finish(&w.i, &tx[0], &rx[0], hash[0]);
    tun_linkhs_finish(&w.r, &tx[1], &rx[1], hash[1]);
    expect_vector("linkhs", "hash", hash[0], sizeof hash[0]);
    cr_assert_arr_eq(hash[0], hash[1], sizeof hash[0]);
    join(keys, &tx[0]);
    expect_vector("linkhs", "forth", keys, sizeof keys);
    join(keys, &rx[0]);
    expect_vector("linkhs", "back", keys, sizeof keys);
    cr_assert_arr_eq(&tx[0], &rx[1], sizeof tx[0]);
    cr_assert_arr_eq(&rx[0], &tx[1], sizeof tx[0]);
    end(&w);
}

Test(tunnel_linkhs, vector_of_a_later_version) {
    struct world w;
    begin(&w);
    tun_linkhs_done(&w.i);
    w.at = 0;
    tun_linkhs_peer_speaks(&w.peer, 2);
    cr_assert_eq(tun_linkhs_create_1(&w.i, &w.peer, INITIATOR, NULL, &w.rng, w.f1), CV_ERR_OK);
    expect_vector("linkhs", "version2", w.f1, sizeof w.f1);
    end(&w);
}

Test(tunnel_linkhs, cookie_vectors) {
    struct world w;
    struct tun_cookie_jar jar;
    uint8_t reply[TUN_DATAGRAM], cookie[TUN_COOKIE], again[TUN_DATAGRAM];
    begin(&w);
    w.at = 0;
    tun_cookie_jar_init(&jar, &w.rng, 0);
    cr_assert_not(tun_linkhs_has_cookie(&w.peer, &jar, &addr, w.f1));
    tun_linkhs_create_cookie(&w.peer, &jar, &addr, w.f1, &w.rng, reply);
    expect_vector("linkhs", "cookie", reply, sizeof reply);
    cr_assert_eq(tun_cell_index(reply), INITIATOR);
    cr_assert_eq(tun_linkhs_consume_cookie(&w.i, &w.peer, reply, cookie), CV_ERR_OK);

    w.at = 0;
    tun_linkhs_create_1(&w.i, &w.peer, INITIATOR, cookie, &w.rng, again);
    expect_vector("linkhs", "again", again, sizeof again);
    cr_assert(tun_linkhs_is_flight_1(&w.peer, again));
    cr_assert(tun_linkhs_has_cookie(&w.peer, &jar, &addr, again));
    cr_assert_eq(consume_1(&w, again), CV_ERR_OK);
    tun_linkhs_done(&w.r);

    struct cv_addr other = addr;
    other.port++;
    cr_assert_not(tun_linkhs_has_cookie(&w.peer, &jar, &other, again), "another address");
    end(&w);
}

Test(tunnel_linkhs, every_octet_of_flight_1) {
    struct world w;
    begin(&w);
    unsigned passed_mac = 0;
    for (unsigned at = 0; at < TUN_DATAGRAM; at++) {
        for (unsigned bit = 0; bit < (at < 128 ? 8 : 1); bit++) {
            w.f1[at] ^= (uint8_t)(1u << bit);
            bool mac = tun_linkhs_is_flight_1(&w.peer, w.f1);
            cr_assert(!mac || at >= 128, "octet %u is not covered by mac1", at);
            passed_mac += mac;
            if (mac)
                cr_assert_eq(consume_1(&w, w.f1), CV_ERR_AUTH, "octet %u", at);
            w.f1[at] ^= (uint8_t)(1u << bit);
        }
    }
    cr_assert_eq(passed_mac, TUN_DATAGRAM - 128);
    cr_assert_eq(consume_1(&w, w.f1), CV_ERR_OK);
    end(&w);
}

/* Whoever knows the link key can put a true mac1 on a changed flight. */
Test(tunnel_linkhs, index_in_front_is_the_one_inside) {
    struct world w;
    begin(&w);
    for (unsigned at = 32; at < 36; at++) {
        w.f1[at] ^= 1;
        CV_BLAKE2B(w.f1, 16, w.peer.mac_key, 32, {w.f1 + 16, 112});
        cr_assert(tun_linkhs_is_flight_1(&w.peer, w.f1));
        cr_assert_eq(consume_1(&w, w.f1), CV_ERR_AUTH);
        w.f1[at] ^= 1;
    }
    end(&w);
}

Test(tunnel_linkhs, every_octet_of_flight_2) {
    struct world w;
    begin(&w);
    answer(&w);
    for (unsigned at = 4; at < TUN_DATAGRAM; at++) {
        struct tun_linkhs before = w.i;
        uint8_t flip = at == 35 ? 0x40 : 0x80; /* bit 255 of the point is dice */
        w.f2[at] ^= flip;
        cr_assert_eq(tun_linkhs_consume_2(&w.i, w.f2), CV_ERR_AUTH, "octet %u", at);
        cr_assert_arr_eq(&w.i, &before, sizeof before, "octet %u changed state", at);
        w.f2[at] ^= flip;
    }
    cr_assert_eq(tun_linkhs_consume_2(&w.i, w.f2), CV_ERR_OK);
    end(&w);
}

Test(tunnel_linkhs, every_octet_of_a_cookie) {
    struct world w;
    struct tun_cookie_jar jar;
    uint8_t reply[TUN_DATAGRAM], cookie[TUN_COOKIE] = {0};
    static const uint8_t zero[TUN_COOKIE];
    begin(&w);
    tun_cookie_jar_init(&jar, &w.rng, 0);
    tun_linkhs_create_cookie(&w.peer, &jar, &addr, w.f1, &w.rng, reply);
    for (unsigned at = 4; at < TUN_DATAGRAM; at++) {
        reply[at] ^= 1;
        cr_assert_eq(tun_linkhs_consume_cookie(&w.i, &w.peer, reply, cookie), CV_ERR_AUTH);
        cr_assert_arr_eq(cookie, zero, sizeof zero);
        reply[at] ^= 1;
    }
    struct tun_linkhs other = w.i;
    other.mac1[0] ^= 1;
    cr_assert_eq(tun_linkhs_consume_cookie(&other, &w.peer, reply, cookie), CV_ERR_AUTH,
                 "an answer to another flight");
    end(&w);
}

Test(tunnel_linkhs, not_for_me) {
    struct world w, v;
    uint8_t seed[32], network[TUN_NETWORK_ID];
    begin(&w);
    begin(&v);
    octets(seed, 151, sizeof seed);
    octets(network, 7, sizeof network);
    cv_x25519_from_seed(&v.secret, seed);
    tun_linkhs_peer_init(&v.peer, v.secret.public_key, network);
    cr_assert_not(tun_linkhs_is_flight_1(&v.peer, w.f1), "another link key");
    network[0]++;
    tun_linkhs_peer_init(&v.peer, w.secret.public_key, network);
    cr_assert_not(tun_linkhs_is_flight_1(&v.peer, w.f1), "another network");
    cr_assert_eq(tun_linkhs_consume_1(&v.r, &v.peer, &w.secret, &v.rng, w.f1), CV_ERR_AUTH);
    end(&w);
    end(&v);
}

/* All 1232 octets of both flights and of a cookie look like dice, also to
 * somebody who knows no key. */
Test(tunnel_linkhs, nothing_on_the_wire_is_constant) {
    enum { N = 600 };
    static uint16_t ones[3][TUN_DATAGRAM * 8];
    struct cv_rng_seeded seeded;
    struct tun_cookie_jar jar;
    struct world w;
    begin(&w);
    cv_rng_seeded_init(&seeded, 5);
    w.rng = cv_rng_seeded(&seeded);
    tun_cookie_jar_init(&jar, &w.rng, 0);
    uint8_t d[3][TUN_DATAGRAM];
    for (unsigned i = 0; i < N; i++) {
        uint32_t index = cv_rng_u32(&w.rng);
        tun_linkhs_create_1(&w.i, &w.peer, index, NULL, &w.rng, d[0]);
        consume_1(&w, d[0]);
        tun_linkhs_create_2(&w.r, 1, &w.rng, d[1]);
        tun_linkhs_create_cookie(&w.peer, &jar, &addr, d[0], &w.rng, d[2]);
        for (unsigned k = 0; k < 3; k++)
            for (unsigned bit = 0; bit < TUN_DATAGRAM * 8; bit++)
                ones[k][bit] = (uint16_t)(ones[k][bit] + (d[k][bit / 8] >> bit % 8 & 1));
    }
    for (unsigned k = 0; k < 3; k++)
        for (unsigned bit = 0; bit < TUN_DATAGRAM * 8; bit++)
            cr_assert(ones[k][bit] > N / 2 - 75 && ones[k][bit] < N / 2 + 75,
                      "datagram %u bit %u: %u of %u", k, bit, ones[k][bit], N);
    end(&w);
}
