/*
 * The end-to-end layer of a rendezvous (tunnel/e2e.h). Input: one octet that
 * chooses, then octets for it: an introduction's first flight as a stranger
 * sends it; its payload as a member writes it; a second flight; a script of
 * datagrams between two ends, given in any order, twice, changed or cut.
 * Property: a stranger opens nothing; what a member asks for arrives as it was
 * written; a datagram is delivered once and unchanged or not at all.
 */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "base/cursor.h"
#include "crypto/hash.h"
#include "crypto/rng_seeded.h"
#include "tunnel/e2e.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct ends {
    struct tun_e2e_context ctx;
    struct tun_period_secret keys;
    struct cv_x25519_secret service;
    struct cv_noise viewer_noise, seeder_noise;
    struct tun_e2e viewer, seeder;
    uint8_t flight1[TUN_E2E_FLIGHT1], flight2[TUN_E2E_FLIGHT2];
};

static void introduce(struct ends *e, const struct tun_meeting *where, const struct cv_rng *rng) {
    static const uint8_t seed[CV_KEY] = {5};
    struct tun_swarm_secret swarm;
    memset(e, 0, sizeof *e);
    tun_swarm_derive(&swarm, (const uint8_t *)"testnet", "film", 4, NULL);
    tun_period_derive(&e->keys, &swarm, 20601);
    cv_x25519_from_seed(&e->service, seed);
    assert(tun_e2e_create_1(&e->viewer_noise, e->flight1, &e->ctx, &e->keys, e->service.public_key,
                            where, rng) == CV_ERR_OK);
}

static enum cv_err hear(struct ends *e, const uint8_t *flight, size_t len, struct tun_meeting *ret,
                        const struct cv_rng *rng) {
    return tun_e2e_consume_1(&e->seeder_noise, ret, flight, len, &e->ctx, &e->keys, &e->service,
                             rng);
}

/* Up to 8 datagrams of the viewer; then what the script does with them. */
static void talk(struct ends *e, struct cv_rd *script) {
    uint8_t sent[8][32 + TUN_E2E_OVERHEAD], got[64];
    bool delivered[8] = {false};
    for (unsigned i = 0; i < 8; i++) {
        uint8_t text[32];
        memset(text, (int)i, sizeof text);
        assert(tun_e2e_seal(&e->viewer, sent[i], text, sizeof text) == CV_ERR_OK);
    }
    while (cv_rd_left(script) >= 2) {
        unsigned which = cv_rd_u8(script), how = cv_rd_u8(script), i = which % 8;
        uint8_t copy[sizeof sent[0]];
        size_t len = sizeof copy;
        memcpy(copy, sent[i], sizeof copy);
        bool changed = which & 8;
        if (changed)
            copy[how % sizeof copy] ^= (uint8_t)(1 << (which >> 5));
        if (which & 16)
            len = how % sizeof copy;
        ssize_t n = tun_e2e_open(&e->seeder, got, copy, len);
        if (n < 0)
            continue;
        assert(!changed);
        assert(len == sizeof copy);
        assert(n == 32);
        assert(got[0] == i && got[31] == i);
        assert(!delivered[i]);
        delivered[i] = true;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct cv_rng_seeded dice;
    struct ends e;
    struct tun_meeting where, got;
    cv_crypto_init();
    cv_rng_seeded_init(&dice, 1);
    struct cv_rng rng = cv_rng_seeded(&dice);
    if (size < 1)
        return 0;
    struct cv_rd script = cv_rd_init(data + 1, size - 1);
    memset(&where, 7, sizeof where);
    memset(&got, 0xee, sizeof got);
    if (data[0] % 4 == 1) {
        memcpy(&where, data + 1, size - 1 < sizeof where ? size - 1 : sizeof where);
    }
    introduce(&e, &where, &rng);
    if (data[0] % 4 == 0) {
        assert(hear(&e, data + 1, size - 1, &got, &rng) != CV_ERR_OK);
        assert(got.rp[0] == 0xee);
        return 0;
    }
    assert(hear(&e, e.flight1, sizeof e.flight1, &got, &rng) == CV_ERR_OK);
    assert(memcmp(&got, &where, sizeof got) == 0);
    assert(tun_e2e_create_2(&e.seeder_noise, e.flight2, &e.seeder) == CV_ERR_OK);
    if (data[0] % 4 == 2)
        assert(tun_e2e_consume_2(&e.viewer_noise, data + 1, size - 1, &e.viewer) != CV_ERR_OK);
    assert(tun_e2e_consume_2(&e.viewer_noise, e.flight2, sizeof e.flight2, &e.viewer) == CV_ERR_OK);
    talk(&e, &script);
    tun_e2e_done(&e.viewer);
    tun_e2e_done(&e.seeder);
    return 0;
}
