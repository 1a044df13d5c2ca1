/*
 * Circuit handshake (tunnel/handshake.h, tunnel/params.h). Input: one octet that
 * chooses, then
 *     0  a flight 1 as it comes      1  a flight 2 as it comes
 *     2  (offset u8, xor u8)... on a true flight 1
 *     3  the same on a true flight 2
 *     4  parameters as a hostile owner would seal them
 * Property: only the true flights are accepted, both sides then hold the same
 * keys, and what is refused leaves every result untouched.
 */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "crypto/hash.h"
#include "crypto/rng_seeded.h"
#include "tunnel/handshake.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct tun_handshake client;
static struct cv_x25519_secret onion_secret;
static struct tun_layer_secret relay_keys;
static uint8_t identity[CV_KEY], flight1[TUN_FLIGHT1], flight2[TUN_FLIGHT2];
static struct cv_rng_seeded seeded;

static enum cv_err relay(const uint8_t *f1, size_t len, struct tun_handshake_in *in) {
    static const struct cv_x25519_secret *const keys[] = {&onion_secret};
    return tun_handshake_consume_1(in, f1, len, identity, keys, 1);
}

static void begin(void) {
    static const struct tun_params params = {.suite = 1, .version = 1};
    struct tun_handshake_in in;
    uint8_t seed[CV_KEY] = {9};
    cv_crypto_init();
    cv_rng_seeded_init(&seeded, 2);
    struct cv_rng rng = cv_rng_seeded(&seeded);
    cv_x25519_from_seed(&onion_secret, seed);
    assert(tun_handshake_create_1(&client, flight1, identity, onion_secret.public_key, &params,
                                  &rng) == CV_ERR_OK);
    assert(relay(flight1, sizeof flight1, &in) == CV_ERR_OK);
    assert(tun_handshake_create_2(&in, flight2, &params, &rng, &relay_keys) == CV_ERR_OK);
}

static bool try_1(const uint8_t *f1, size_t len) {
    struct tun_handshake_in in, before;
    memset(&in, 0xdd, sizeof in);
    before = in;
    bool ok = relay(f1, len, &in) == CV_ERR_OK;
    assert(ok || memcmp(&in, &before, sizeof in) == 0);
    return ok;
}

static bool try_2(const uint8_t *f2, size_t len) {
    struct tun_layer_secret keys, before;
    struct tun_params params = {.ttl = 0xdd};
    memset(&keys, 0xdd, sizeof keys);
    before = keys;
    bool ok = tun_handshake_consume_2(&client, f2, len, &params, &keys) == CV_ERR_OK;
    assert(ok || (params.ttl == 0xdd && memcmp(&keys, &before, sizeof keys) == 0));
    assert(!ok || memcmp(&keys, &relay_keys, sizeof keys) == 0);
    return ok;
}

static void patch(const uint8_t *data, size_t size, const uint8_t *true_flight, size_t len,
                  bool (*try)(const uint8_t *, size_t)) {
    uint8_t flight[TUN_FLIGHT2];
    memcpy(flight, true_flight, len);
    for (; size >= 2; data += 2, size -= 2)
        flight[data[0] % len] ^= data[1];
    assert(try(flight, len) == (memcmp(flight, true_flight, len) == 0));
}

static void parameters(const uint8_t *data, size_t size) {
    struct tun_params p = {.ttl = 0xdd}, again;
    uint8_t buf[16];
    struct cv_rd r = cv_rd_init(data, size);
    if (tun_params_read(&r, &p) != CV_ERR_OK) {
        assert(p.ttl == 0xdd);
        return;
    }
    struct cv_wr w = cv_wr_init(buf, sizeof buf);
    tun_params_write(&w, &p);
    assert(w.err == CV_ERR_OK);
    r = cv_rd_init(buf, cv_wr_len(&w));
    assert(tun_params_read(&r, &again) == CV_ERR_OK);
    assert(memcmp(&p, &again, sizeof p) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static bool begun;
    if (!begun)
        begin();
    begun = true;
    if (size < 1)
        return 0;
    const uint8_t *rest = data + 1;
    size_t len = size - 1;
    switch (data[0]) {
    case 0:
        assert(!try_1(rest, len) || (len == TUN_FLIGHT1 && !memcmp(rest, flight1, len)));
        break;
    case 1:
        assert(!try_2(rest, len) || (len == TUN_FLIGHT2 && !memcmp(rest, flight2, len)));
        break;
    case 2:
        patch(rest, len, flight1, TUN_FLIGHT1, try_1);
        break;
    case 3:
        patch(rest, len, flight2, TUN_FLIGHT2, try_2);
        break;
    default:
        parameters(rest, len);
        break;
    }
    return 0;
}
