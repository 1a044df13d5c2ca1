#include "tunnel/onion.h"
#include "tunnel/params.h"

#include <stdio.h>
#include <string.h>

#include "circuit_pair.h"
#include "crypto/hash.h"
#include "crypto/rng_seeded.h"
#include "support/suite.h"
#include "tape.h"
#include "tunnel/cell.h"

CV_SUITE(tunnel_onion, .init = cv_crypto_init);

enum { CMD = 1 };

static void fill_pattern(uint8_t *to, size_t len, unsigned seed) {
    for (size_t i = 0; i < len; i++)
        to[i] = (uint8_t)(seed + i * 7 + i / 256);
}

static bool is_pattern(const struct tun_inner *in, size_t len, unsigned seed) {
    uint8_t want[TUN_CELL];
    fill_pattern(want, len, seed);
    return in->command == CMD && in->len == len && memcmp(in->data, want, len) == 0;
}

/* Takes a cell through hops 0.. in place, each step 20 octets further on, and
 * says at which hop it ended: that of whoever it was for, or of the error. */
struct outcome {
    unsigned hop;
    enum cv_err err;
    struct tun_inner inner;
};

static struct outcome carry(struct circuit_pair *c, unsigned first, uint8_t *cell) {
    struct outcome o = {.hop = first};
    for (; o.hop < c->owner.hops; o.hop++, cell += TUN_LAYER_HEAD) {
        o.err = tun_layer_forward(&c->hop[o.hop], 0, cell, cell + TUN_LAYER_HEAD, &o.inner);
        if (o.err || o.inner.command)
            return o;
    }
    return o;
}

enum { STAGE = TUN_CELL + TUN_LAYER_HEAD * TUN_HOPS_MAX + TUN_WRAP_ROOM };

Test(tunnel_onion, forward_every_length_and_target) {
    static const size_t lens[] = {0, 1, 63, 64, 1023, 1045, TUN_FORWARD_MAX};
    struct circuit_pair c;
    uint8_t buf[STAGE];
    for (unsigned hops = 1; hops <= TUN_HOPS_MAX; hops++) {
        circuit_pair_init_suite(&c, hops, hops, hops % 2 ? TUN_SUITE_CHACHA : TUN_SUITE_AES);
        for (unsigned i = 0; i < 40; i++) {
            unsigned target = i % hops;
            size_t len = lens[i % 7];
            fill_pattern(tun_onion_data(buf, target), len, i);
            cr_assert_eq(tun_onion_wrap(&c.owner, &c.rng, buf, target, CMD, len), CV_ERR_OK);
            struct outcome o = carry(&c, 0, buf);
            cr_assert_eq(o.err, CV_ERR_OK, "hops %u target %u: %s", hops, target,
                         cv_strerror(o.err));
            cr_assert_eq(o.hop, target);
            cr_assert(is_pattern(&o.inner, len, i));
        }
    }
}

Test(tunnel_onion, forward_out_of_place_reads_only) {
    struct circuit_pair c;
    uint8_t buf[TUN_WRAP_ROOM], before[TUN_CELL], out[TUN_CELL];
    struct tun_inner inner;
    circuit_pair_init(&c, 3, 7);
    fill_pattern(tun_onion_data(buf, 2), 100, 1);
    tun_onion_wrap(&c.owner, &c.rng, buf, 2, CMD, 100);
    memcpy(before, buf, sizeof before);
    cr_assert_eq(tun_layer_forward(&c.hop[0], 0, buf, out, &inner), CV_ERR_OK);
    cr_assert_eq(inner.command, 0);
    cr_assert_arr_eq(buf, before, sizeof before);
}

Test(tunnel_onion, backward_from_every_hop) {
    static const size_t lens[] = {0, 1, 1024, TUN_BACKWARD_MAX};
    struct circuit_pair c;
    uint8_t cell[TUN_CELL];
    for (unsigned hops = 1; hops <= TUN_HOPS_MAX; hops++) {
        circuit_pair_init_suite(&c, hops, 100 + hops, hops % 2 ? TUN_SUITE_AES : TUN_SUITE_CHACHA);
        for (unsigned i = 0; i < 40; i++) {
            unsigned from = i % hops, who = 99;
            size_t len = lens[i % 4];
            uint32_t layer;
            struct tun_inner inner;
            fill_pattern(tun_layer_data(cell), len, i);
            cr_assert_eq(tun_layer_originate(&c.hop[from], &c.rng, cell, CMD, len, &layer),
                         CV_ERR_OK);
            for (unsigned h = from; h-- > 0;)
                cr_assert_eq(tun_layer_transit(&c.hop[h], &c.rng, cell, layer, &layer), CV_ERR_OK);
            enum cv_err err = tun_onion_unwrap(&c.owner, 0, cell, layer, &who, &inner);
            cr_assert_eq(err, CV_ERR_OK, "hops %u from %u: %s", hops, from, cv_strerror(err));
            cr_assert_eq(who, from);
            cr_assert(is_pattern(&inner, len, i));
        }
    }
}

/* ---- attacks ---- */

Test(tunnel_onion, any_changed_octet_dies_at_a_first_hop_with_aes_too) {
    struct circuit_pair c;
    circuit_pair_init_suite(&c, 2, 23, TUN_SUITE_AES);
    uint8_t buf[STAGE], bad[STAGE];
    for (unsigned at = 0; at < TUN_CELL; at++) {
        fill_pattern(tun_onion_data(buf, 1), 500, at);
        cr_assert_eq(tun_onion_wrap(&c.owner, &c.rng, buf, 1, CMD, 500), CV_ERR_OK);
        memcpy(bad, buf, TUN_CELL);
        bad[at] ^= (uint8_t)(1u << (at % 8));
        struct tun_layer before = c.hop[0];
        struct outcome o = carry(&c, 0, bad);
        cr_assert_eq(o.hop, 0);
        cr_assert_neq(o.err, CV_ERR_OK, "octet %u", at);
        cr_assert_arr_eq(&c.hop[0], &before, sizeof before, "octet %u changed state", at);
        cr_assert_eq(carry(&c, 0, buf).err, CV_ERR_OK);
    }
}

Test(tunnel_onion, any_changed_octet_dies_at_the_next_honest_hop) {
    struct circuit_pair c;
    circuit_pair_init(&c, 4, 11);
    uint8_t buf[STAGE], bad[STAGE];
    for (unsigned at = 0; at < TUN_CELL; at++) {
        /* Hop 0 is hostile: it peels its layer, then changes what it passes on. */
        unsigned target = 1 + at % 3;
        fill_pattern(tun_onion_data(buf, target), 500, at);
        cr_assert_eq(tun_onion_wrap(&c.owner, &c.rng, buf, target, CMD, 500), CV_ERR_OK);
        struct tun_inner inner;
        cr_assert_eq(tun_layer_forward(&c.hop[0], 0, buf, buf + TUN_LAYER_HEAD, &inner), CV_ERR_OK);
        memcpy(bad, buf + TUN_LAYER_HEAD, TUN_CELL);
        bad[at] ^= (uint8_t)(1u << (at % 8));
        struct tun_layer before = c.hop[1];
        struct outcome o = carry(&c, 1, bad);
        cr_assert_eq(o.hop, 1, "octet %u got past the next hop", at);
        cr_assert_neq(o.err, CV_ERR_OK);
        cr_assert_arr_eq(&c.hop[1], &before, sizeof before, "octet %u changed state", at);
        /* ... and the real one still arrives. */
        o = carry(&c, 1, buf + TUN_LAYER_HEAD);
        cr_assert_eq(o.err, CV_ERR_OK);
        cr_assert_eq(o.hop, target);
        cr_assert(is_pattern(&o.inner, 500, at));
    }
}

Test(tunnel_onion, replay_and_reorder) {
    struct circuit_pair c;
    circuit_pair_init(&c, 2, 12);
    enum { N = 30 };
    static uint8_t cell[N][STAGE];
    uint8_t copy[STAGE];
    for (unsigned i = 0; i < N; i++) {
        fill_pattern(tun_onion_data(cell[i], 1), 10, i);
        tun_onion_wrap(&c.owner, &c.rng, cell[i], 1, CMD, 10);
    }
    for (unsigned i = N; i-- > 0;) { /* last first */
        memcpy(copy, cell[i], sizeof copy);
        struct outcome o = carry(&c, 0, copy);
        cr_assert_eq(o.err, CV_ERR_OK);
        cr_assert(is_pattern(&o.inner, 10, i));
    }
    for (unsigned i = 0; i < N; i++) {
        memcpy(copy, cell[i], sizeof copy);
        struct outcome o = carry(&c, 0, copy);
        cr_assert_eq(o.err, CV_ERR_REPLAY);
        cr_assert_eq(o.hop, 0);
    }
}

Test(tunnel_onion, hostile_guard_replays_backward) {
    struct circuit_pair c;
    circuit_pair_init(&c, 3, 13);
    uint8_t cell[TUN_CELL], again[TUN_CELL];
    uint32_t layer, s;
    unsigned who;
    struct tun_inner inner;
    cr_assert_eq(tun_layer_originate(&c.hop[2], &c.rng, cell, CMD, 5, &layer), CV_ERR_OK);
    cr_assert_eq(tun_layer_transit(&c.hop[1], &c.rng, cell, layer, &layer), CV_ERR_OK);
    memcpy(again, cell, sizeof again);
    cr_assert_eq(tun_layer_transit(&c.hop[0], &c.rng, cell, layer, &s), CV_ERR_OK);
    cr_assert_eq(tun_onion_unwrap(&c.owner, 0, cell, s, &who, &inner), CV_ERR_OK);
    /* Under a number of its own that is new. */
    cr_assert_eq(tun_layer_transit(&c.hop[0], &c.rng, again, layer, &s), CV_ERR_OK);
    cr_assert_eq(tun_onion_unwrap(&c.owner, 0, again, s, &who, &inner), CV_ERR_REPLAY);
}

/* The last hop gives its neighbour one sealed cell twice, which passes it on under
 * two numbers: a watermark for whoever counts at the other end. */
Test(tunnel_onion, last_hop_says_it_twice) {
    struct circuit_pair c;
    circuit_pair_init(&c, 3, 22);
    uint8_t cell[2][TUN_CELL];
    uint32_t origin, layer;
    unsigned who;
    struct tun_inner inner;
    cr_assert_eq(tun_layer_originate(&c.hop[2], &c.rng, cell[0], CMD, 5, &origin), CV_ERR_OK);
    memcpy(cell[1], cell[0], TUN_CELL);
    for (unsigned i = 0; i < 2; i++) {
        layer = origin;
        for (unsigned h = 2; h-- > 0;)
            cr_assert_eq(tun_layer_transit(&c.hop[h], &c.rng, cell[i], layer, &layer), CV_ERR_OK);
        struct tun_onion before = c.owner;
        cr_expect_eq(tun_onion_unwrap(&c.owner, 0, cell[i], layer, &who, &inner),
                     i ? CV_ERR_REPLAY : CV_ERR_OK);
        cr_expect_eq(memcmp(&before, &c.owner, sizeof before) != 0, i == 0);
    }
}

Test(tunnel_onion, backward_changes_are_dropped_and_move_nothing) {
    struct circuit_pair c;
    circuit_pair_init(&c, 3, 14);
    uint8_t cell[TUN_CELL], bad[TUN_CELL];
    struct tun_inner inner;
    for (unsigned at = 0; at < TUN_CELL; at++) {
        uint32_t layer;
        unsigned who;
        cr_assert_eq(tun_layer_originate(&c.hop[2], &c.rng, cell, CMD, 700, &layer), CV_ERR_OK);
        cr_assert_eq(tun_layer_transit(&c.hop[1], &c.rng, cell, layer, &layer), CV_ERR_OK);
        cr_assert_eq(tun_layer_transit(&c.hop[0], &c.rng, cell, layer, &layer), CV_ERR_OK);
        memcpy(bad, cell, sizeof bad);
        bad[at] ^= (uint8_t)(1u << (at % 8));
        struct tun_onion before = c.owner;
        enum cv_err err = tun_onion_unwrap(&c.owner, 0, bad, layer, &who, &inner);
        if (at >= 8 && at < 16) { /* dice of the origin (octet 11: not its bit 7), read by nobody */
            cr_assert_eq(err, CV_ERR_OK, "octet %u", at);
            continue;
        }
        cr_assert_neq(err, CV_ERR_OK, "octet %u", at);
        cr_assert_arr_eq(&c.owner, &before, sizeof before, "octet %u moved the owner", at);
        cr_assert_eq(tun_onion_unwrap(&c.owner, 0, cell, layer, &who, &inner), CV_ERR_OK);
    }
}

Test(tunnel_onion, nobody_can_claim_or_disown_a_cell) {
    struct circuit_pair c;
    circuit_pair_init(&c, 3, 20);
    uint8_t cell[TUN_CELL];
    for (unsigned slot = 0; slot < 3; slot++) {
        uint32_t layer;
        unsigned who;
        struct tun_inner inner;
        tun_layer_originate(&c.hop[2], &c.rng, cell, CMD, 0, &layer);
        tun_layer_transit(&c.hop[1], &c.rng, cell, layer, &layer);
        tun_layer_transit(&c.hop[0], &c.rng, cell, layer, &layer);
        cell[slot * 4 + 3] ^= 0x80;
        struct tun_onion before = c.owner;
        cr_assert_eq(tun_onion_unwrap(&c.owner, 0, cell, layer, &who, &inner), CV_ERR_AUTH);
        cr_assert_arr_eq(&c.owner, &before, sizeof before);
    }
}

/* Bit 31 of a layer sequence says who wrote a cell; a neighbour must not be able
 * to send it through us. */
Test(tunnel_onion, bit_31_of_a_hostile_neighbour_is_cleared) {
    struct circuit_pair c;
    circuit_pair_init(&c, 3, 21);
    uint8_t cell[TUN_CELL];
    uint32_t layer;
    unsigned who;
    struct tun_inner inner;
    cr_assert_eq(tun_layer_originate(&c.hop[2], &c.rng, cell, CMD, 0, &layer), CV_ERR_OK);
    cr_assert_eq(tun_layer_transit(&c.hop[1], &c.rng, cell, layer | 0x80000000, &layer), CV_ERR_OK);
    cr_assert_eq(tun_layer_transit(&c.hop[0], &c.rng, cell, layer, &layer), CV_ERR_OK);
    cr_assert_eq(tun_onion_unwrap(&c.owner, 0, cell, layer, &who, &inner), CV_ERR_OK);
    cr_assert_eq(who, 2);
    cr_assert_eq(tun_onion_unwrap(&c.owner, 0, cell, layer | 0x80000000, &who, &inner),
                 CV_ERR_MALFORMED, "nor can the guard claim one for a hop before it");
}

Test(tunnel_onion, tail_tells_no_position) {
    /* Tails of plaintexts for the last hop are forced by fillers, those of the
     * first random: neither repeats, neither is zero. */
    struct circuit_pair c;
    uint8_t buf[STAGE], seen[64][TUN_TAIL];
    for (unsigned target = 0; target < TUN_HOPS_MAX; target++) {
        circuit_pair_init(&c, TUN_HOPS_MAX, 15);
        for (unsigned i = 0; i < 64; i++) {
            tun_onion_wrap(&c.owner, &c.rng, buf, target, CMD, 0);
            struct outcome o = carry(&c, 0, buf);
            cr_assert_eq(o.err, CV_ERR_OK);
            const uint8_t *plain = o.inner.data - TUN_INNER;
            memcpy(seen[i], plain + TUN_FORWARD_PLAIN - TUN_TAIL, TUN_TAIL);
        }
        for (unsigned at = 0; at < TUN_TAIL; at++) {
            unsigned same = 0;
            for (unsigned i = 1; i < 64; i++)
                same += seen[i][at] == seen[0][at];
            cr_assert_lt(same, 8, "target %u: tail octet %u stands still", target, at);
        }
    }
}

Test(tunnel_onion, numbers_wrap) {
    struct circuit_pair c;
    circuit_pair_init(&c, 3, 16);
    for (unsigned h = 0; h < 3; h++) { /* starts just below 2^31 on the wire */
        c.secret[h].forward_start = INT32_MAX - 5;
        c.secret[h].backward_start = INT32_MAX - 7;
        tun_layer_init(&c.hop[h], &c.secret[h]);
    }
    tun_onion_init(&c.owner);
    for (unsigned h = 0; h < 3; h++)
        tun_onion_add(&c.owner, &c.secret[h]);
    uint8_t buf[STAGE];
    for (unsigned i = 0; i < 50; i++) {
        uint32_t layer;
        unsigned who;
        struct tun_inner inner;
        fill_pattern(tun_onion_data(buf, 2), 9, i);
        tun_onion_wrap(&c.owner, &c.rng, buf, 2, CMD, 9);
        cr_assert_eq(carry(&c, 0, buf).err, CV_ERR_OK, "cell %u", i);
        tun_layer_originate(&c.hop[2], &c.rng, buf, CMD, 9, &layer);
        tun_layer_transit(&c.hop[1], &c.rng, buf, layer, &layer);
        tun_layer_transit(&c.hop[0], &c.rng, buf, layer, &layer);
        cr_assert_eq(tun_onion_unwrap(&c.owner, 0, buf, layer, &who, &inner), CV_ERR_OK);
    }
}

Test(tunnel_onion, used_up_direction_is_refused_whole) {
    struct circuit_pair c;
    circuit_pair_init(&c, 2, 17);
    uint8_t buf[STAGE];
    c.owner.hop[1].forward.n = TUN_SEQUENCE_CAP - 1;
    c.owner.hop[1].forward.epoch = (TUN_SEQUENCE_CAP - 1) >> TUN_EPOCH_BITS;
    uint64_t n = c.owner.hop[0].forward.n;
    cr_assert_eq(tun_onion_wrap(&c.owner, &c.rng, buf, 1, CMD, 0), CV_ERR_LIMIT);
    cr_assert_eq(c.owner.hop[0].forward.n, n, "no number may be taken");
    cr_assert_eq(tun_onion_wrap(&c.owner, &c.rng, buf, 0, CMD, 0), CV_ERR_OK);
}

/* ---- epochs ---- */

Test(tunnel_onion, epochs_turn_without_loss) {
    struct circuit_pair c;
    circuit_pair_init(&c, 3, 18);
    uint8_t buf[STAGE], late[STAGE];
    for (unsigned i = 0; i < 60; i++) {
        cv_usec now = CV_SEC(60) * (i + 1);
        uint32_t layer;
        unsigned who;
        struct tun_inner inner;
        /* A cell sent before the jump arrives after the one behind it. */
        fill_pattern(tun_onion_data(late, 2), 9, i);
        cr_assert_eq(tun_onion_wrap(&c.owner, &c.rng, late, 2, CMD, 9), CV_ERR_OK);
        tun_ratchet_jump(&c.owner.hop[i % 3].forward);
        fill_pattern(tun_onion_data(buf, 2), 9, i);
        cr_assert_eq(tun_onion_wrap(&c.owner, &c.rng, buf, 2, CMD, 9), CV_ERR_OK);
        for (uint8_t *cells[] = {buf, late}, **p = cells; p < cells + 2; p++) {
            uint8_t *cell = *p;
            for (unsigned h = 0; h < 3; h++, cell += TUN_LAYER_HEAD)
                cr_assert_eq(tun_layer_forward(&c.hop[h], now, cell, cell + TUN_LAYER_HEAD, &inner),
                             CV_ERR_OK, "round %u hop %u", i, h);
            cr_assert(is_pattern(&inner, 9, i));
        }
        tun_ratchet_jump(&c.hop[i % 3].backward);
        fill_pattern(tun_layer_data(buf), 8, i);
        cr_assert_eq(tun_layer_originate(&c.hop[2], &c.rng, buf, CMD, 8, &layer), CV_ERR_OK);
        tun_layer_transit(&c.hop[1], &c.rng, buf, layer, &layer);
        tun_layer_transit(&c.hop[0], &c.rng, buf, layer, &layer);
        cr_assert_eq(tun_onion_unwrap(&c.owner, now, buf, layer, &who, &inner), CV_ERR_OK);
        cr_assert(is_pattern(&inner, 8, i));
    }
    cr_assert_eq(c.hop[0].forward.epoch, 20);
    cr_assert_eq(c.owner.hop[2].backward.epoch, 20);
}

Test(tunnel_onion, old_epoch_closes_after_five_seconds) {
    struct circuit_pair c;
    circuit_pair_init(&c, 1, 19);
    uint8_t early[2][STAGE], buf[STAGE];
    struct tun_inner inner;
    for (unsigned i = 0; i < 2; i++)
        tun_onion_wrap(&c.owner, &c.rng, early[i], 0, CMD, 0);
    tun_ratchet_jump(&c.owner.hop[0].forward);
    tun_onion_wrap(&c.owner, &c.rng, buf, 0, CMD, 0);
    cv_usec now = CV_SEC(100);
    cr_assert_eq(tun_layer_forward(&c.hop[0], now, buf, buf + TUN_LAYER_HEAD, &inner), CV_ERR_OK);
    now += CV_MSEC(TUN_OLD_EPOCH_MS) - 1;
    cr_assert_eq(tun_layer_forward(&c.hop[0], now, early[0], buf, &inner), CV_ERR_OK);
    cr_assert_eq(tun_layer_forward(&c.hop[0], now, early[0], buf, &inner), CV_ERR_REPLAY);
    now += 1;
    cr_assert_eq(tun_layer_forward(&c.hop[0], now, early[1], buf, &inner), CV_ERR_STALE);
    tun_ratchet_expire(&c.hop[0].forward, now);
    static const struct tun_keys_secret zero;
    cr_assert_arr_eq(&c.hop[0].forward.old_secret, &zero, sizeof zero, "old keys are wiped");
}

/* ---- the second implementation ---- */

Test(tunnel_onion, vectors) {
    uint32_t at = 0;
    struct cv_rng rng = tape_rng(&at);
    struct tun_layer_secret secret;
    struct tun_onion owner;
    struct tun_layer hop[TUN_HOPS_MAX];
    uint8_t prk[32], buf[TUN_WRAP_ROOM];
    char label[] = "forward0", back[] = "backward0";
    tun_onion_init(&owner);
    for (unsigned i = 0; i < TUN_HOPS_MAX; i++) {
        octets(prk, 50 * i, sizeof prk);
        tun_layer_secret_derive(&secret, prk, TUN_SUITE_CHACHA);
        tun_layer_init(&hop[i], &secret);
        tun_onion_add(&owner, &secret);
    }
    for (unsigned i = 0; i < TUN_HOPS_MAX; i++) {
        octets(tun_onion_data(buf, i), i, 1000);
        cr_assert_eq(tun_onion_wrap(&owner, &rng, buf, i, CMD, 1000), CV_ERR_OK);
        label[7] = (char)('0' + i);
        expect_vector("onion", label, buf, TUN_CELL);
    }
    for (unsigned i = 0; i < TUN_HOPS_MAX; i++) {
        uint8_t got[4 + TUN_CELL];
        uint32_t s;
        octets(tun_layer_data(got + 4), i, 1100);
        cr_assert_eq(tun_layer_originate(&hop[i], &rng, got + 4, CMD, 1100, &s), CV_ERR_OK);
        for (unsigned h = i; h-- > 0;)
            cr_assert_eq(tun_layer_transit(&hop[h], &rng, got + 4, s, &s), CV_ERR_OK);
        for (unsigned j = 0; j < 4; j++)
            got[j] = (uint8_t)(s >> (8 * j));
        back[8] = (char)('0' + i);
        expect_vector("onion", back, got, sizeof got);
    }
}

/* One datagram, as link `j` of a path carries it; whole for the first link, a hash
 * for the others. */
static void expect_on_link(const char *name, unsigned j, const uint8_t cell[TUN_CELL],
                           uint32_t layer) {
    uint8_t direction[64], wire[TUN_DATAGRAM], digest[32];
    struct tun_link_secret key;
    char label[32];
    octets(direction, 11 * j + 1, sizeof direction);
    tun_link_secret_derive(&key, direction);
    memcpy(wire + TUN_HEADER, cell, TUN_CELL);
    struct tun_header h = {.index = 0x01020300 + j,
                           .sequence = 70 + j,
                           .circuit = 0x80000010 + j,
                           .command = 1,
                           .layer = layer};
    tun_cell_seal(wire, &h, &key);
    CV_BLAKE2B(digest, sizeof digest, NULL, 0, {wire, sizeof wire});
    snprintf(label, sizeof label, "%s%u", name, j);
    expect_vector("path", label, j ? digest : wire, j ? sizeof digest : sizeof wire);
}

/* Paths of one to four hops, both suites at the first, hop i in its epoch i. */
Test(tunnel_onion, path_vectors) {
    for (uint8_t suite = 1; suite <= 2; suite++)
        for (unsigned hops = 1; hops <= TUN_HOPS_MAX; hops++) {
            struct tun_onion owner;
            struct tun_layer hop[TUN_HOPS_MAX];
            uint32_t at = 0, s, who;
            struct cv_rng rng = tape_rng(&at);
            uint8_t buf[STAGE], *cell = buf;
            struct tun_inner inner;
            char name[32];
            tun_onion_init(&owner);
            for (unsigned i = 0; i < hops; i++) {
                struct tun_layer_secret secret;
                uint8_t prk[32];
                octets(prk, 50 * i + hops, sizeof prk);
                tun_layer_secret_derive(&secret, prk, i ? TUN_SUITE_CHACHA : suite);
                tun_layer_init(&hop[i], &secret);
                tun_onion_add(&owner, &secret);
                for (unsigned e = 0; e < i; e++) {
                    cr_assert_eq(tun_ratchet_next(&owner.hop[i].forward, 1, &s), CV_ERR_OK);
                    cr_assert_eq(tun_ratchet_next(&hop[i].backward, 1, &s), CV_ERR_OK);
                    tun_ratchet_jump(&owner.hop[i].forward);
                    tun_ratchet_jump(&hop[i].backward);
                }
            }
            octets(tun_onion_data(buf, hops - 1), hops, 1045);
            cr_assert_eq(tun_onion_wrap(&owner, &rng, buf, hops - 1, CMD, 1045), CV_ERR_OK);
            snprintf(name, sizeof name, "%u.%u.forward", suite, hops);
            for (unsigned j = 0; j < hops; j++, cell += TUN_LAYER_HEAD) {
                expect_on_link(name, j, cell, 0);
                cr_assert_eq(tun_layer_forward(&hop[j], 0, cell, cell + TUN_LAYER_HEAD, &inner),
                             CV_ERR_OK);
            }
            snprintf(name, sizeof name, "%u.%u.plain", suite, hops);
            expect_vector("path", name, cell, TUN_FORWARD_PLAIN);

            octets(tun_layer_data(buf), hops, 1100);
            cr_assert_eq(tun_layer_originate(&hop[hops - 1], &rng, buf, CMD, 1100, &s), CV_ERR_OK);
            snprintf(name, sizeof name, "%u.%u.backward", suite, hops);
            for (unsigned j = hops; j-- > 0;) {
                expect_on_link(name, j, buf, s);
                if (j)
                    cr_assert_eq(tun_layer_transit(&hop[j - 1], &rng, buf, s, &s), CV_ERR_OK);
            }
            cr_assert_eq(tun_onion_unwrap(&owner, 0, buf, s, &who, &inner), CV_ERR_OK);
            cr_expect_eq(who, hops - 1);
        }
}

Test(tunnel_onion, epoch_vectors) {
    struct tun_layer_secret secret;
    struct tun_onion o;
    struct tun_layer h;
    uint8_t prk[32], all[96];
    uint32_t wire;
    octets(prk, 0, sizeof prk);
    tun_layer_secret_derive(&secret, prk, TUN_SUITE_CHACHA);
    tun_onion_init(&o);
    tun_onion_add(&o, &secret);
    tun_layer_init(&h, &secret);
    for (unsigned e = 0; e < 4; e++) {
        char label[] = "epoch0";
        label[5] = (char)('0' + e);
        memcpy(all, o.hop[0].forward.secret.key[TUN_KEY_ORIGIN], 32);
        memcpy(all + 32, h.backward.secret.key[TUN_KEY_ORIGIN], 32);
        memcpy(all + 64, h.backward.secret.key[TUN_KEY_TRANSIT], 32);
        expect_vector("epochs", label, all, sizeof all);
        cr_assert_eq(tun_ratchet_next(&o.hop[0].forward, 1, &wire), CV_ERR_OK);
        cr_assert_eq(tun_ratchet_next(&h.backward, 1, &wire), CV_ERR_OK);
        tun_ratchet_jump(&o.hop[0].forward);
        tun_ratchet_jump(&h.backward);
    }
}

Test(tunnel_onion, key_vectors) {
    struct tun_layer_secret s;
    uint8_t prk[32], starts[8];
    octets(prk, 0, sizeof prk);
    tun_layer_secret_derive(&s, prk, TUN_SUITE_CHACHA);
    expect_vector("layer", "forward_key", s.forward_key, 32);
    expect_vector("layer", "mask", s.forward_mask_key, 16);
    expect_vector("layer", "filler", s.forward_filler_key, 32);
    expect_vector("layer", "forward_salt", s.forward_salt, 8);
    expect_vector("layer", "origin", s.origin_key, 32);
    expect_vector("layer", "transit", s.transit_key, 32);
    expect_vector("layer", "backward_salt", s.backward_salt, 8);
    expect_vector("layer", "binding", s.binding, 32);
    for (unsigned j = 0; j < 4; j++) {
        starts[j] = (uint8_t)(s.forward_start >> (8 * j));
        starts[4 + j] = (uint8_t)(s.backward_start >> (8 * j));
    }
    expect_vector("layer", "starts", starts, sizeof starts);

    struct tun_onion o;
    tun_onion_init(&o);
    tun_onion_add(&o, &s);
    uint32_t wire;
    cr_assert_eq(tun_ratchet_next(&o.hop[0].forward, 1, &wire), CV_ERR_OK);
    tun_ratchet_jump(&o.hop[0].forward);
    expect_vector("layer", "ratchet", o.hop[0].forward.secret.key[TUN_KEY_ORIGIN], 32);
}
