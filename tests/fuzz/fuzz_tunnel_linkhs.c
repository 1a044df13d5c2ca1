/*
 * Link handshake, cookies and the descriptor exchange (tunnel/linkhs.h,
 * tunnel/cookie.h, tunnel/describe.h). Input: one octet that chooses the
 * datagram, one that says whether it is forged from nothing or patched, then
 *     forged   the datagram, padded with zeros
 *     patched  (offset u16, xor u8)... on the true one
 * Property: only the true datagrams are accepted, except for changes that no one
 * reads (random octets, bit 255 of a point); what is refused changes nothing.
 */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "crypto/hash.h"
#include "crypto/rng_seeded.h"
#include "tunnel/describe.h"
#include "tunnel/linkhs.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { FLIGHT1, FLIGHT2, COOKIE, QUESTION, ANSWER, KINDS };

static struct cv_rng_seeded seeded;
static struct cv_rng rng;
static struct cv_x25519_secret link_secret;
static struct tun_linkhs_peer peer;
static struct tun_cookie_jar jar;
static struct tun_linkhs initiator;
static struct tun_describe_net net;
static struct tun_describe ask;
static uint8_t datagram[KINDS][TUN_DATAGRAM];
static const uint8_t descriptor[300] = {1, 2, 3};
static const struct cv_addr from = {.ip = {192, 0, 2, 7}, .port = 4242, .family = 4};

static void begin(void) {
    uint8_t seed[CV_KEY] = {9}, network[TUN_NETWORK_ID] = {3};
    struct tun_linkhs responder;
    cv_crypto_init();
    cv_rng_seeded_init(&seeded, 2);
    rng = cv_rng_seeded(&seeded);
    cv_x25519_from_seed(&link_secret, seed);
    tun_linkhs_peer_init(&peer, link_secret.public_key, network);
    tun_cookie_jar_init(&jar, &rng, 0);
    tun_linkhs_create_1(&initiator, &peer, 0x01020304, NULL, &rng, datagram[FLIGHT1]);
    assert(tun_linkhs_consume_1(&responder, &peer, &link_secret, &rng, datagram[FLIGHT1]) ==
           CV_ERR_OK);
    tun_linkhs_create_2(&responder, 5, &rng, datagram[FLIGHT2]);
    tun_linkhs_create_cookie(&peer, &jar, &from, datagram[FLIGHT1], &rng, datagram[COOKIE]);
    tun_describe_net_init(&net, network);
    tun_describe_ask(&ask, &net, &rng, datagram[QUESTION]);
    tun_describe_answer(&net, datagram[QUESTION], descriptor, sizeof descriptor, &rng,
                        datagram[ANSWER]);
}

static bool accept(unsigned kind, const uint8_t *d) {
    struct tun_linkhs hs = initiator;
    uint8_t got[TUN_DESCRIPTOR_MAX], reply[TUN_DATAGRAM];
    size_t len = 0;
    bool ok;
    switch (kind) {
    case FLIGHT1:
        if (!tun_linkhs_is_flight_1(&peer, d))
            return false;
        assert(!tun_linkhs_has_cookie(&peer, &jar, &from, d));
        tun_linkhs_create_cookie(&peer, &jar, &from, d, &rng, reply);
        return tun_linkhs_consume_1(&hs, &peer, &link_secret, &rng, d) == CV_ERR_OK;
    case FLIGHT2:
        ok = tun_linkhs_consume_2(&hs, d) == CV_ERR_OK;
        assert(ok || memcmp(&hs, &initiator, sizeof hs) == 0);
        return ok;
    case COOKIE:
        return tun_linkhs_consume_cookie(&hs, &peer, d, got) == CV_ERR_OK;
    case QUESTION:
        return tun_describe_is_question(&net, d) &&
               tun_describe_answer(&net, d, descriptor, sizeof descriptor, &rng, reply) ==
                   CV_ERR_OK;
    default:
        ok = tun_describe_consume(&ask, &net, d, got, &len) == CV_ERR_OK;
        assert(ok == (len == sizeof descriptor));
        return ok;
    }
}

/* Is everything that anybody reads as it was sent? */
static bool is_true(unsigned kind, const uint8_t *d) {
    uint8_t copy[TUN_DATAGRAM];
    memcpy(copy, d, sizeof copy);
    const uint8_t *want = datagram[kind];
    if (kind == FLIGHT2 || kind == COOKIE) /* the index found the handshake */
        memcpy(copy, want, 4);
    if (kind == FLIGHT2)
        copy[35] = (uint8_t)((copy[35] & 0x7f) | (want[35] & 0x80));
    if (kind == QUESTION)
        memcpy(copy + 128, want + 128, sizeof copy - 128);
    return memcmp(copy, want, sizeof copy) == 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static bool begun;
    uint8_t d[TUN_DATAGRAM] = {0};
    if (!begun)
        begin();
    begun = true;
    if (size < 2)
        return 0;
    unsigned kind = data[0] % KINDS;
    if (data[1] & 1) {
        memcpy(d, datagram[kind], sizeof d);
        for (const uint8_t *p = data + 2; p + 3 <= data + size; p += 3)
            d[(p[0] | p[1] << 8) % TUN_DATAGRAM] ^= p[2];
    } else {
        memcpy(d, data + 2, size - 2 < sizeof d ? size - 2 : sizeof d);
    }
    assert(accept(kind, d) == is_true(kind, d));
    return 0;
}
