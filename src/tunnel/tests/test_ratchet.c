#include "tunnel/ratchet.h"

#include <string.h>

#include "crypto/rng_seeded.h"
#include "support/suite.h"

CV_SUITE(tunnel_ratchet);

static const struct tun_keys_secret keys = {.key = {{1}, {2}}};

/* A sender that counts, loses, jumps and delays; the receiver must always find
 * the sender's keys for a fresh number, and never accept one twice. */
Test(tunnel_ratchet, receiver_follows_sender) {
    struct cv_rng_seeded seeded;
    for (uint64_t seed = 0; seed < 10; seed++) {
        struct tun_ratchet_tx tx;
        struct tun_ratchet_rx rx;
        cv_rng_seeded_init(&seeded, seed);
        struct cv_rng rng = cv_rng_seeded(&seeded);
        uint32_t start = cv_rng_u32(&rng);
        tun_ratchet_tx_init(&tx, start, &keys);
        tun_ratchet_rx_init(&rx, start, &keys);
        cv_usec now = CV_SEC(1);
        for (unsigned i = 0; i < 5000; i++) {
            struct tun_ratchet_pick p;
            uint32_t wire;
            now += cv_rng_below(&rng, CV_MSEC(50));
            if (cv_rng_below(&rng, 200) == 0)
                tun_ratchet_jump(&tx);
            cr_assert_eq(tun_ratchet_next(&tx, (uint8_t)cv_rng_u32(&rng), &wire), CV_ERR_OK);
            cr_assert_leq(wire, INT32_MAX);
            if (cv_rng_below(&rng, 5) == 0)
                continue; /* lost */
            struct tun_ratchet_rx before = rx;
            cr_assert_eq(tun_ratchet_pick(&rx, now, wire, &p), CV_ERR_OK, "seed %lu cell %u", seed,
                         i);
            cr_assert_eq(p.n, tx.n);
            cr_assert_arr_eq(p.keys, &tx.secret, sizeof tx.secret);
            cr_assert_arr_eq(&rx, &before, sizeof rx, "a look changed it");
            tun_ratchet_commit(&rx, now, &p);
            cr_assert_eq(tun_ratchet_pick(&rx, now, wire, &p), CV_ERR_REPLAY);
        }
        cr_assert_eq(rx.epoch, tx.epoch);
        cr_assert_gt(rx.epoch, 5);
    }
}

Test(tunnel_ratchet, both_keys_turn_and_the_old_cannot_be_had) {
    struct tun_ratchet_tx tx;
    uint32_t wire;
    tun_ratchet_tx_init(&tx, 0, &keys);
    cr_assert_eq(tun_ratchet_next(&tx, 1, &wire), CV_ERR_OK);
    cr_assert_arr_eq(&tx.secret, &keys, sizeof keys);
    tun_ratchet_jump(&tx);
    for (unsigned k = 0; k < TUN_KEYS; k++)
        cr_assert(memcmp(tx.secret.key[k], keys.key[k], 32) != 0);
    cr_assert_eq(tun_ratchet_next(&tx, 1, &wire), CV_ERR_OK);
    cr_assert_eq(wire, 1u << TUN_EPOCH_BITS);
}

/* A day of silence: the receiver looks four epochs ahead and no further. */
Test(tunnel_ratchet, a_sender_that_says_nothing_stays_where_it_is) {
    struct cv_rng_seeded seeded;
    cv_rng_seeded_init(&seeded, 1);
    struct cv_rng rng = cv_rng_seeded(&seeded);
    struct tun_ratchet_tx tx;
    struct tun_ratchet_rx rx;
    struct tun_ratchet_pick p;
    uint32_t wire;
    tun_ratchet_tx_init(&tx, 7, &keys);
    tun_ratchet_rx_init(&rx, 7, &keys);
    cv_usec now = CV_SEC(1), at = tun_ratchet_turn(&tx, &rng, now);
    for (unsigned cell = 0; cell < 3; cell++) {
        for (unsigned i = 0; i < 700; i++) {
            cr_assert_geq(at - now, CV_SEC(60));
            cr_assert_leq(at - now, CV_SEC(180));
            cr_assert_eq(tun_ratchet_turn(&tx, &rng, at - 1), at, "too early");
            now = at;
            at = tun_ratchet_turn(&tx, &rng, now);
        }
        cr_expect_eq(tx.epoch, cell, "one for each that was used");
        cr_assert_eq(tun_ratchet_next(&tx, 1, &wire), CV_ERR_OK);
        cr_assert_eq(tun_ratchet_pick(&rx, now, wire, &p), CV_ERR_OK, "cell %u", cell);
        tun_ratchet_commit(&rx, now, &p);
        cr_expect_arr_eq(&rx.secret, &tx.secret, sizeof tx.secret);
    }
}

Test(tunnel_ratchet, dice_move_by_one_or_two) {
    struct tun_ratchet_tx tx;
    uint32_t wire;
    tun_ratchet_tx_init(&tx, 5, &keys);
    tun_ratchet_next(&tx, 0x01, &wire);
    cr_assert_eq(wire, 6);
    tun_ratchet_next(&tx, 0xf0, &wire);
    cr_assert_eq(wire, 8);
}

Test(tunnel_ratchet, end_of_numbers) {
    struct tun_ratchet_tx tx;
    uint32_t wire = 77;
    tun_ratchet_tx_init(&tx, 0, &keys);
    tx.n = TUN_SEQUENCE_CAP - 1;
    tx.epoch = (uint32_t)(tx.n >> TUN_EPOCH_BITS);
    cr_assert_eq(tun_ratchet_next(&tx, 0, &wire), CV_ERR_LIMIT);
    cr_assert_eq(wire, 77);
    cr_assert_eq(tun_ratchet_next(&tx, 1, &wire), CV_ERR_OK);
    cr_assert_eq(tun_ratchet_next(&tx, 1, &wire), CV_ERR_LIMIT);
    tun_ratchet_jump(&tx);
    cr_assert_eq(tun_ratchet_next(&tx, 1, &wire), CV_ERR_LIMIT);
}

/* Numbers, relative to a receiver in epoch 3 (with epoch 2 held until 10 s). */
/* clang-format off */
#define E(n) ((uint32_t)(n) << TUN_EPOCH_BITS)
static const struct {
    const char *name;
    cv_usec now;
    uint32_t wire;
    enum cv_err want;
} picks[] = {
    { "seen",                 CV_SEC(6),  E(3) + 10,           CV_ERR_REPLAY },
    { "this epoch",           CV_SEC(6),  E(3) + 11,           CV_ERR_OK },
    { "before, same epoch",   CV_SEC(6),  E(3) + 9,            CV_ERR_OK },
    { "next epoch",           CV_SEC(6),  E(4) + 500,          CV_ERR_OK },
    { "four ahead",           CV_SEC(6),  E(7) + 1,            CV_ERR_OK },
    { "five ahead",           CV_SEC(6),  E(8),                CV_ERR_STALE },
    { "last epoch",           CV_SEC(6),  E(2) + 21,           CV_ERR_OK },
    { "last epoch, seen",     CV_SEC(6),  E(2) + 20,           CV_ERR_REPLAY },
    { "last epoch, too late", CV_SEC(10), E(2) + 21,           CV_ERR_STALE },
    { "long gone",            CV_SEC(6),  E(1) + 3,            CV_ERR_STALE },
    { "below the first",      CV_SEC(6),  INT32_MAX,           CV_ERR_STALE },
    { "above the cap",        CV_SEC(6),  TUN_SEQUENCE_CAP + 1, CV_ERR_STALE },
};
/* clang-format on */

Test(tunnel_ratchet, pick_table) {
    struct tun_ratchet_rx rx;
    struct tun_ratchet_pick p;
    static const uint32_t path[] = {1, E(1), E(2) + 20, E(3) + 10};
    tun_ratchet_rx_init(&rx, 0, &keys);
    for (unsigned i = 0; i < 4; i++) {
        cr_assert_eq(tun_ratchet_pick(&rx, CV_SEC(5), path[i], &p), CV_ERR_OK);
        tun_ratchet_commit(&rx, CV_SEC(5), &p);
    }
    for (size_t i = 0; i < sizeof picks / sizeof *picks; i++) {
        enum cv_err err = tun_ratchet_pick(&rx, picks[i].now, picks[i].wire, &p);
        cr_expect_eq(err, picks[i].want, "%s: %s", picks[i].name, cv_strerror(err));
    }
}
