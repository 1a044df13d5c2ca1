#include "tunnel/ratchet.h"

#include <string.h>

#include "crypto/rng_seeded.h"
#include "tunnel/tests/rows.h"

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

/* ---- every state and every number ---- */

#define E(n)  ((uint32_t)(n) << TUN_EPOCH_BITS)
#define GRACE CV_MSEC(TUN_OLD_EPOCH_MS)

enum {
    SEEN,     /* the highest number there was, */
    NEXT,     /* the one behind it, */
    LATE,     /* one before it that did not come, */
    LONG_AGO, /* and one that is too far behind; all of this epoch */
    NEXT_EPOCH,
    AHEAD_4,
    AHEAD_5,
    BEFORE,      /* the epoch that was left: a number that did not come, */
    BEFORE_SEEN, /* and one that did */
    BEFORE_THAT,
    BELOW, /* the first number */
    ABOVE, /* the last */
    NUMBERS,
};

/* t taken  n taken, and it is in the next epoch  l and in one further ahead  o taken, by the keys
 * that were left  r a replay  . stale  - there is no such number
 *
 * Columns: seen, next, late, long ago; next epoch, four, five; before, seen, before that; below,
 * above. */
/* clang-format off */
static const struct {
    const char *name;
    uint32_t path[5]; /* numbers that came */
    unsigned n, epoch, before;
    cv_usec passed; /* since the last of them */
    const char *answers;
} receivers[] = {
    { "nothing came",        { 0 }, 0, 0, 0, 0, "-t--" "nl." "---" ".." },
    { "in the first",        { 1, 5000, 9000 }, 3, 0, 0, 0, "rtt." "nl." "---" ".." },
    { "in the next",         { 1, E(1) + 20, E(2) + 5000, E(2) + 9000 }, 4, 2, 1, 0, "rtt." "nl." "or." ".." },
    { "a moment before",     { 1, E(1) + 20, E(2) + 5000, E(2) + 9000 }, 4, 2, 1, GRACE - 1, "rtt." "nl." "or." ".." },
    { "the keys are gone",   { 1, E(1) + 20, E(2) + 5000, E(2) + 9000 }, 4, 2, 1, GRACE, "rtt." "nl." "..." ".." },
    { "four further",        { 20, E(4) + 5000, E(4) + 9000 }, 3, 4, 0, 0, "rtt." "nl." "or-" ".." },
    { "in the last",         { E(1021) + 20, E(1023) + 5000, E(1023) + 9000 }, 3, 1023, 1021, 0, "rtt." "---" "or." ".." },
};
/* clang-format on */

static bool number(size_t row, unsigned m, uint32_t *ret) {
    uint32_t epoch = receivers[row].epoch, before = receivers[row].before;
    uint32_t top = receivers[row].n ? receivers[row].path[receivers[row].n - 1] : 0;
    bool has_before = epoch > before;
    switch (m) {
    case SEEN:
        *ret = top;
        return top != 0;
    case NEXT:
        *ret = top + 1;
        return true;
    case LATE:
        *ret = top - 1;
        return top != 0;
    case LONG_AGO:
        *ret = top - 8999;
        return top != 0;
    case NEXT_EPOCH:
    case AHEAD_4:
    case AHEAD_5:
        *ret = E(epoch + (m == NEXT_EPOCH ? 1 : m == AHEAD_4 ? 4 : 5)) + 1;
        return *ret < TUN_SEQUENCE_CAP;
    case BEFORE:
    case BEFORE_SEEN:
        *ret = E(before) + (m == BEFORE ? 21 : 20);
        return has_before;
    case BEFORE_THAT:
        *ret = E(before) - 3;
        return has_before && before > 0;
    case BELOW:
        *ret = INT32_MAX;
        return true;
    default:
        *ret = TUN_SEQUENCE_CAP + 1;
        return true;
    }
}

static void receive(struct tun_ratchet_rx *rx, cv_usec now, uint32_t n) {
    struct tun_ratchet_pick p;
    cr_assert_eq(tun_ratchet_pick(rx, now, n, &p), CV_ERR_OK, "%u", n);
    tun_ratchet_commit(rx, now, &p);
}

static char picked(size_t row, unsigned m) {
    struct tun_ratchet_rx rx;
    struct tun_ratchet_pick p;
    uint32_t n;
    cv_usec now = CV_SEC(5);
    tun_ratchet_rx_init(&rx, 0, &keys);
    for (uint32_t e = 4; e < receivers[row].path[0] >> TUN_EPOCH_BITS; e += 4)
        receive(&rx, now, E(e) + 1);
    for (unsigned i = 0; i < receivers[row].n; i++)
        receive(&rx, now, receivers[row].path[i]);
    now += receivers[row].passed;
    if (!number(row, m, &n))
        return '-';
    uint32_t epoch = rx.epoch;
    enum cv_err err = tun_ratchet_pick(&rx, now, n, &p);
    if (err)
        return err == CV_ERR_REPLAY ? 'r' : err == CV_ERR_STALE ? '.' : '!';
    bool old = p.keys == &rx.old_secret;
    tun_ratchet_commit(&rx, now, &p);
    if (tun_ratchet_pick(&rx, now, n, &p) != CV_ERR_REPLAY)
        return '!';
    return old ? 'o' : rx.epoch == epoch ? 't' : rx.epoch == epoch + 1 ? 'n' : 'l';
}

Test(tunnel_ratchet, of_receivers) {
    for (size_t i = 0; i < sizeof receivers / sizeof *receivers; i++) {
        char got[NUMBERS + 1] = {0};
        for (unsigned m = 0; m < NUMBERS; m++)
            got[m] = picked(i, m);
        expect_row("receiver", receivers[i].name, got, receivers[i].answers);
    }
}

enum { NUMBER, JUMP, TURN_FIRST, TURN_EARLY, TURN_DUE, ACTS };

/* . nothing  k a number of this epoch  e the first of the next, on the way  j what was is wiped:
 * the next number will be the first of the next  x there is none any more
 *
 * Columns: a number; a jump; turns: the first, an early one, one that is due. */
/* clang-format off */
static const struct {
    const char *name;
    uint64_t n;
    unsigned epoch; /* whose keys it has */
    const char *answers;
} senders[] = {
    { "nothing sent",          0,                    0,    "k" "." "..." },
    { "in use",                E(3) + 5,             3,    "k" "j" "..j" },
    { "jumped",                E(3) - 1,             3,    "k" "." "..." },
    { "at its end",            E(3) - 1,             2,    "e" "j" "..j" },
    { "in the last epoch",     E(1023) + 5,          1023, "k" "j" "..j" },
    { "at the last number",    TUN_SEQUENCE_CAP - 1, 1023, "e" "j" "..j" },
    { "behind it",             TUN_SEQUENCE_CAP,     1024, "x" "." "..." },
};
/* clang-format on */

static char sent(size_t row, unsigned m) {
    struct cv_rng_seeded seeded;
    cv_rng_seeded_init(&seeded, 1);
    struct cv_rng rng = cv_rng_seeded(&seeded);
    struct tun_ratchet_tx tx;
    const cv_usec now = CV_SEC(1000);
    uint32_t wire = 77, epoch = senders[row].epoch;
    tun_ratchet_tx_init(&tx, 0, &keys);
    tx.n = senders[row].n;
    tx.epoch = epoch;
    tx.jump_at = m == TURN_FIRST ? 0 : m == TURN_DUE ? now : now + 1;
    if (m == NUMBER) {
        enum cv_err err = tun_ratchet_next(&tx, 1, &wire);
        bool none = err == CV_ERR_LIMIT && wire == 77 && tx.n == senders[row].n;
        return err ? none ? 'x' : '!' : wire != tx.n ? '!' : tx.epoch > epoch ? 'e' : 'k';
    }
    if (m == JUMP) {
        tun_ratchet_jump(&tx);
    } else {
        cv_usec at = tun_ratchet_turn(&tx, &rng, now);
        bool drawn = at >= now + CV_MSEC(TUN_EPOCH_MS_MIN) && at <= now + CV_MSEC(TUN_EPOCH_MS_MAX);
        if (at != tx.jump_at || (m == TURN_EARLY ? at != now + 1 : !drawn))
            return '!';
    }
    if (tx.epoch == epoch)
        return tx.n == senders[row].n && memcmp(&tx.secret, &keys, sizeof keys) == 0 ? '.' : '!';
    bool wiped = memcmp(&tx.secret, &keys, sizeof keys) != 0;
    return tx.epoch == epoch + 1 && tx.n == E(epoch + 1) - 1 && wiped ? 'j' : '!';
}

Test(tunnel_ratchet, of_senders) {
    for (size_t i = 0; i < sizeof senders / sizeof *senders; i++) {
        char got[ACTS + 1] = {0};
        for (unsigned m = 0; m < ACTS; m++)
            got[m] = sent(i, m);
        expect_row("sender", senders[i].name, got, senders[i].answers);
    }
}
