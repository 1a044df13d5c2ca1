/*
 * Relay descriptors (tunnel/descriptor.h). Input: one octet that chooses, then
 *     even  a descriptor as it comes
 *     odd   its body: put under our network and identity and signed, as a
 *           hostile relay can sign any nonsense
 * Property: what is accepted and has no later fields is written again octet for
 * octet; what is refused leaves the result untouched.
 */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "crypto/hash.h"
#include "tunnel/descriptor.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { NETWORK = 1, IDENTITY = NETWORK + TUN_NETWORK_ID };

static const uint8_t network[TUN_NETWORK_ID] = {3};

static void check(const struct cv_ed25519_secret *identity, const uint8_t *buf, size_t len) {
    static struct tun_descriptor d, before;
    uint8_t again[TUN_DESCRIPTOR_MAX], digest[TUN_DIGEST];
    memset(&d, 0xdd, sizeof d);
    before = d;
    if (tun_descriptor_open(buf, len, network, &d) != CV_ERR_OK) {
        assert(memcmp(&d, &before, sizeof d) == 0);
        return;
    }
    tun_descriptor_digest(buf, len, digest);
    assert(memcmp(d.digest, digest, sizeof digest) == 0);
    assert(d.addrs >= 1 && d.addrs <= TUN_ADDRS_MAX);
    assert(d.families <= TUN_FAMILY_MAX && d.exit_ports <= TUN_EXIT_PORTS_MAX);
    for (unsigned i = 0; i < d.addrs; i++)
        assert(tun_descriptor_has_addr(&d, &d.addr[i]));
    for (unsigned level = 0; level <= 8; level += 4)
        assert(tun_relay_bucket(d.identity, d.day, level) < 1u << level);
    assert(!tun_descriptor_is_proof(buf, len, buf, len, network));
    if (memcmp(d.identity, identity->public_key, CV_KEY) != 0)
        return;
    ssize_t n = tun_descriptor_sign(&d, identity, again, sizeof again);
    assert(n > 0 && (size_t)n <= len);
    assert(memcmp(again, buf, (size_t)n - CV_SIGNATURE) == 0);
    assert((size_t)n != len || memcmp(again, buf, len) == 0);
}

/* The calendar at any moment of any signed day: never contradicts itself. */
static void calendar(const uint8_t *data, size_t size) {
    if (size < 8)
        return;
    uint32_t day = (uint32_t)(data[0] | data[1] << 8 | data[2] << 16);
    int64_t wall = (int64_t)day * 86400 - 20000 + (data[3] | data[4] << 8) * 3;
    unsigned newest = tun_onion_key_newest(day, wall);
    uint8_t id[TUN_NETWORK_ID], key[20];
    assert(newest < TUN_ONION_KEYS);
    if (wall > 0 && tun_descriptor_day(wall) == day) {
        assert(tun_descriptor_is_current(day, wall));
        assert(tun_onion_key_accepted(day, newest, wall));
    }
    for (unsigned i = 0; i < TUN_ONION_KEYS; i++)
        if (tun_onion_key_accepted(day, i, wall))
            assert(tun_descriptor_is_current(day, wall));
    tun_network_id("any", id);
    tun_relay_dht_key(id, day, 8, data[5], key);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct cv_ed25519_secret identity;
    uint8_t buf[TUN_DESCRIPTOR_MAX + 100], seed[CV_KEY] = {5};
    if (size < 1 || size - 1 > sizeof buf - CV_SIGNATURE)
        return 0;
    cv_crypto_init();
    cv_ed25519_from_seed(&identity, seed);
    size_t len = size - 1;
    memcpy(buf, data + 1, len);
    calendar(buf, len);
    if (data[0] & 1) {
        if (len >= IDENTITY + CV_KEY) {
            memcpy(buf + NETWORK, network, sizeof network);
            memcpy(buf + IDENTITY, identity.public_key, CV_KEY);
        }
        cv_ed25519_sign(buf + len, &identity, "culvert descriptor 1", buf, len);
        len += CV_SIGNATURE;
    }
    check(&identity, buf, len);
    return 0;
}
