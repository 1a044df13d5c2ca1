#include "tunnel/cell.h"

#include <string.h>

#include "crypto/rng_seeded.h"
#include "support/suite.h"
#include "tape.h"
#include "tunnel/linkcmd.h"

CV_SUITE(tunnel_cell);

static void keys(struct tun_link_secret *k) {
    uint8_t direction[64];
    octets(direction, 1, sizeof direction);
    tun_link_secret_derive(k, direction);
}

static const struct tun_header relay = {.sequence = 0xa1b2c3d4e5f6,
                                        .index = 0x11223344,
                                        .circuit = 0x80000007,
                                        .layer = 0x7abbccdd,
                                        .command = TUN_LINKCMD_RELAY};
static const struct tun_header create = {
    .sequence = 9, .index = 0x55667788, .circuit = 0x80000007, .command = TUN_LINKCMD_CREATE};

static void relay_cell(uint8_t d[TUN_DATAGRAM]) {
    for (unsigned i = 0; i < TUN_CELL; i++)
        d[TUN_HEADER + i] = (uint8_t)(i % 251);
}

static bool same(const struct tun_header *a, const struct tun_header *b) {
    return a->sequence == b->sequence && a->index == b->index && a->circuit == b->circuit &&
           a->layer == b->layer && a->command == b->command;
}

Test(tunnel_cell, vectors) {
    struct tun_link_secret k;
    uint8_t d[TUN_DATAGRAM];
    keys(&k);
    expect_vector("link", "mac", k.mac_key, sizeof k.mac_key);
    expect_vector("link", "header", k.header_key, sizeof k.header_key);
    expect_vector("link", "control", k.control_key, sizeof k.control_key);
    relay_cell(d);
    tun_cell_seal(d, &relay, &k);
    expect_vector("link", "relay", d, sizeof d);
    octets(tun_cell_control_body(d), 40, 123);
    tun_cell_seal_control(d, &create, &k, 123);
    expect_vector("link", "create", d, sizeof d);
}

Test(tunnel_cell, open_gives_back_and_changes_nothing) {
    struct tun_link_secret k;
    struct tun_header got;
    uint8_t d[TUN_DATAGRAM], before[TUN_DATAGRAM];
    keys(&k);
    relay_cell(d);
    tun_cell_seal(d, &relay, &k);
    memcpy(before, d, sizeof d);
    cr_assert(tun_cell_open(d, &k, &got));
    cr_assert(same(&got, &relay));
    cr_assert_eq(tun_cell_index(d), relay.index);
    cr_assert_arr_eq(d, before, sizeof d);
}

Test(tunnel_cell, every_bit_that_is_covered) {
    struct tun_link_secret k;
    uint8_t d[TUN_DATAGRAM];
    keys(&k);
    relay_cell(d);
    tun_cell_seal(d, &relay, &k);
    for (unsigned bit = 0; bit < (TUN_HEADER + 16) * 8; bit++) {
        struct tun_header got = {.command = 99};
        d[bit / 8] ^= (uint8_t)(1u << bit % 8);
        cr_assert_not(tun_cell_open(d, &k, &got), "bit %u", bit);
        cr_assert_eq(got.command, 99, "result clobbered");
        d[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    k.mac_key[0] ^= 1;
    struct tun_header got;
    cr_assert_not(tun_cell_open(d, &k, &got), "another key");
}

Test(tunnel_cell, control_every_octet) {
    struct tun_link_secret k;
    struct tun_header h;
    uint8_t d[TUN_DATAGRAM], before[TUN_DATAGRAM];
    keys(&k);
    octets(tun_cell_control_body(d), 40, 123);
    tun_cell_seal_control(d, &create, &k, 123);
    cr_assert(tun_cell_open(d, &k, &h));
    for (unsigned at = TUN_HEADER; at < TUN_DATAGRAM; at++) {
        d[at] ^= 0x10;
        memcpy(before, d, sizeof d);
        cr_assert_eq(tun_cell_open_control(d, &h, &k), CV_ERR_AUTH, "octet %u", at);
        cr_assert_arr_eq(d, before, sizeof d, "octet %u: a forged cell was changed", at);
        d[at] ^= 0x10;
    }
    /* The header it was sealed under, and no other. */
    struct tun_header other[5] = {h, h, h, h, h};
    other[0].sequence++;
    other[1].circuit ^= 1;
    other[2].command ^= 1;
    other[3].layer ^= 1;
    other[4].index ^= 1;
    for (unsigned i = 0; i < 5; i++)
        cr_assert_eq(tun_cell_open_control(d, &other[i], &k), CV_ERR_AUTH, "header %u", i);
    uint8_t body[123];
    octets(body, 40, sizeof body);
    cr_assert_eq(tun_cell_open_control(d, &h, &k), 123);
    cr_assert_arr_eq(tun_cell_control_body(d), body, sizeof body);
}

Test(tunnel_cell, control_of_every_length) {
    struct tun_link_secret k;
    struct tun_header h;
    uint8_t d[TUN_DATAGRAM];
    keys(&k);
    for (size_t len = 0; len <= TUN_CONTROL_MAX; len++) {
        memset(tun_cell_control_body(d), 0xee, len);
        tun_cell_seal_control(d, &create, &k, len);
        cr_assert(tun_cell_open(d, &k, &h));
        cr_assert_eq(tun_cell_open_control(d, &h, &k), (ssize_t)len);
    }
}

/*
 * The owner of a circuit chooses the first octets of a cell that a relay will
 * send on. When the mask depends on nothing else, it sends the same octets
 * again and reads the victim's header from the difference of the two.
 */
Test(tunnel_cell, chosen_cell_does_not_repeat_a_mask) {
    struct tun_link_secret k;
    uint8_t victim[TUN_DATAGRAM], mine[TUN_DATAGRAM];
    unsigned read = 0;
    keys(&k);
    for (unsigned i = 0; i < 2000; i++) {
        struct tun_header v = relay, m = relay;
        v.sequence = i * 2;
        v.circuit = 0xdecafbad + i;
        m.sequence = i * 2 + 1;
        m.circuit = 1;
        relay_cell(victim);
        victim[TUN_HEADER] = (uint8_t)i;
        memcpy(mine, victim, sizeof mine);
        tun_cell_seal(victim, &v, &k);
        tun_cell_seal(mine, &m, &k);
        uint8_t guess[4];
        for (unsigned j = 0; j < 4; j++)
            guess[j] = victim[10 + j] ^ mine[10 + j] ^ (uint8_t)(m.circuit >> (8 * j));
        uint32_t circuit = guess[0] | guess[1] << 8 | guess[2] << 16 | (uint32_t)guess[3] << 24;
        read += circuit == v.circuit;
    }
    cr_assert_eq(read, 0);
}

/* No octet of a datagram stands still, whatever is in it. The four octets of
 * the receiver index do, until the receiver gives another. */
Test(tunnel_cell, nothing_on_the_wire_is_constant) {
    struct tun_link_secret k;
    static uint8_t seen[TUN_DATAGRAM][256];
    uint8_t d[TUN_DATAGRAM];
    keys(&k);
    enum { N = 2000 };
    for (unsigned i = 0; i < N; i++) {
        struct tun_header h = create;
        h.sequence = i;
        h.command = TUN_LINKCMD_KEEPALIVE;
        tun_cell_seal_control(d, &h, &k, 0);
        for (unsigned at = 4; at < TUN_DATAGRAM; at++)
            seen[at][d[at]] = 1;
    }
    for (unsigned at = 4; at < TUN_DATAGRAM; at++) {
        unsigned values = 0;
        for (unsigned v = 0; v < 256; v++)
            values += seen[at][v];
        cr_assert_gt(values, 240, "octet %u takes %u values", at, values);
    }
}
