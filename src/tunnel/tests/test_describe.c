#include "tunnel/describe.h"

#include <string.h>

#include "crypto/hash.h"
#include "crypto/rng_seeded.h"
#include "support/suite.h"
#include "tape.h"

CV_SUITE(tunnel_describe, .init = cv_crypto_init);

struct world {
    uint32_t at;
    struct cv_rng rng;
    struct tun_describe_net net;
    struct tun_describe ask;
    uint8_t question[TUN_DATAGRAM], answer[TUN_DATAGRAM];
    uint8_t descriptor[TUN_DESCRIPTOR_MAX], got[TUN_DESCRIPTOR_MAX];
    size_t len, got_len;
};

static void begin(struct world *w) {
    uint8_t network[TUN_NETWORK_ID];
    memset(w, 0, sizeof *w);
    w->rng = tape_rng(&w->at);
    octets(network, 7, sizeof network);
    tun_describe_net_init(&w->net, network);
    w->len = cv_test_vector(TUNNEL_VECTORS, "descriptor", "descriptor", 0, w->descriptor,
                            sizeof w->descriptor);
    tun_describe_ask(&w->ask, &w->net, &w->rng, w->question);
    cr_assert(tun_describe_is_question(&w->net, w->question));
    cr_assert_eq(
        tun_describe_answer(&w->net, w->question, w->descriptor, w->len, &w->rng, w->answer),
        CV_ERR_OK);
}

static enum cv_err consume(struct world *w) {
    return tun_describe_consume(&w->ask, &w->net, w->answer, w->got, &w->got_len);
}

Test(tunnel_describe, vectors) {
    struct world w;
    begin(&w);
    expect_vector("describe", "question", w.question, sizeof w.question);
    expect_vector("describe", "answer", w.answer, sizeof w.answer);
    cr_assert_eq(consume(&w), CV_ERR_OK);
    cr_assert_eq(w.got_len, w.len);
    cr_assert_arr_eq(w.got, w.descriptor, w.len);
    tun_describe_done(&w.ask);
}

Test(tunnel_describe, every_octet) {
    struct world w;
    begin(&w);
    w.got_len = 77;
    for (unsigned at = 0; at < TUN_DATAGRAM; at++) {
        w.question[at] ^= 1;
        cr_assert_eq(tun_describe_is_question(&w.net, w.question), at >= 128, "octet %u", at);
        w.question[at] ^= 1;
        w.answer[at] ^= 1;
        cr_assert_eq(consume(&w), CV_ERR_AUTH, "octet %u", at);
        w.answer[at] ^= 1;
    }
    cr_assert_eq(w.got_len, 77);
    cr_assert_eq(consume(&w), CV_ERR_OK);
}

Test(tunnel_describe, answers_to_somebody_else) {
    struct world w;
    struct tun_describe other;
    struct tun_describe_net net;
    uint8_t q[TUN_DATAGRAM], network[TUN_NETWORK_ID] = {1};
    begin(&w);
    tun_describe_ask(&other, &w.net, &w.rng, q);
    cr_assert_not(tun_describe_is_answer(&other, w.answer));
    tun_describe_net_init(&net, network);
    cr_assert_not(tun_describe_is_question(&net, w.question), "another network");
    cr_assert_not(tun_describe_is_question(&w.net, w.answer), "an answer is no question");
    tun_describe_done(&other);
    tun_describe_done(&w.ask);
}

/* Octets 4..35 hold a point; no bit of it, nor any other, stands still. */
Test(tunnel_describe, nothing_on_the_wire_is_constant) {
    enum { N = 400 };
    static uint16_t ones[2][TUN_DATAGRAM * 8];
    struct cv_rng_seeded seeded;
    struct world w;
    begin(&w);
    cv_rng_seeded_init(&seeded, 3);
    w.rng = cv_rng_seeded(&seeded);
    for (unsigned i = 0; i < N; i++) {
        tun_describe_ask(&w.ask, &w.net, &w.rng, w.question);
        tun_describe_answer(&w.net, w.question, w.descriptor, w.len, &w.rng, w.answer);
        for (unsigned bit = 0; bit < TUN_DATAGRAM * 8; bit++) {
            ones[0][bit] = (uint16_t)(ones[0][bit] + (w.question[bit / 8] >> bit % 8 & 1));
            ones[1][bit] = (uint16_t)(ones[1][bit] + (w.answer[bit / 8] >> bit % 8 & 1));
        }
    }
    for (unsigned k = 0; k < 2; k++)
        for (unsigned bit = 0; bit < TUN_DATAGRAM * 8; bit++)
            cr_assert(ones[k][bit] > N / 2 - 65 && ones[k][bit] < N / 2 + 65, "%u: bit %u: %u", k,
                      bit, ones[k][bit]);
}
