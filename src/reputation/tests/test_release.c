/* What becomes public: rounding, dither, time. */
#include "support/suite.h"

#include "crypto/rng_seeded.h"
#include "reputation/release.h"
#include "reputation/tests/people.h"

CV_SUITE(rep_release);

#define MIB  UINT64_C(1048576)
#define HALF (UINT64_C(1) << 63)

Test(rep_release, amounts) {
    /* clang-format off */
    static const struct {
        const char *name;
        uint64_t w, u, minimum, want;
    } rows[] = {
        { "nothing",                  0,               UINT64_MAX, 1,        0 },
        { "below the minimum",        64 * MIB - 1,    UINT64_MAX, 64 * MIB, 0 },
        { "at the minimum",           64 * MIB,        0,          64 * MIB, 64 * MIB },
        { "a power never rises",      64 * MIB,        UINT64_MAX, 64 * MIB, 64 * MIB },
        { "one octet",                1,               HALF,       1,        1 },
        { "3: log2 is 1.585, low u",  3,               UINT64_C(0x6a00000000000000), 1, 2 },
        { "3: log2 is 1.585, u .415", 3,               UINT64_C(0x6a40000000000000), 1, 4 },
        { "99 MiB, u 0",              99 * MIB,        0,          64 * MIB, 64 * MIB },
        { "99 MiB, u near 1",         99 * MIB,        UINT64_MAX, 64 * MIB, 128 * MIB },
        { "largest",                  REP_AMOUNT_MAX,  UINT64_MAX, 1,        UINT64_C(1) << 62 },
    };
    /* clang-format on */
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint64_t got = rep_release_amount(rows[i].w, rows[i].u, rows[i].minimum);
        cr_expect_eq(got, rows[i].want, "%s: %lu", rows[i].name, (unsigned long)got);
    }
}

/* Over many epochs the rows come close to what was carried: 2^k(1 + f) for
 * 2^(k + f), at most 8.6 % too much, never too little. */
Test(rep_release, amounts_add_up) {
    struct cv_ed25519_secret a, b;
    uint8_t secret[CV_KEY];
    person(0, &a);
    person(1, &b);
    cr_assert_eq(rep_release_secret(secret, &a, b.public_key, test_network), CV_ERR_OK);
    static const uint64_t counts[] = {64 * MIB, 65 * MIB, 90 * MIB, 100 * MIB, 127 * MIB};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        double sum = 0;
        for (uint32_t epoch = 0; epoch < 4000; epoch++)
            sum += (double)rep_release_amount(counts[i], rep_release_dither(secret, epoch), MIB);
        double ratio = sum / 4000 / (double)counts[i];
        cr_expect(ratio > 0.97 && ratio < 1.12, "%lu MiB: %f", (unsigned long)(counts[i] / MIB),
                  ratio);
    }
}

/* Monotone in w: both ends may round their own count and take the smaller. */
Test(rep_release, a_smaller_count_never_rounds_higher) {
    struct cv_rng_seeded dice;
    cv_rng_seeded_init(&dice, 4);
    struct cv_rng rng = cv_rng_seeded(&dice);
    for (unsigned i = 0; i < 20000; i++) {
        uint64_t w = cv_rng_u64(&rng) >> (2 + cv_rng_below(&rng, 60)), u = cv_rng_u64(&rng);
        uint64_t x = w ? cv_rng_below(&rng, w) : 0;
        cr_assert_leq(rep_release_amount(x, u, 1), rep_release_amount(w, u, 1));
    }
}

Test(rep_release, both_ends_share_the_dither_and_nobody_else_does) {
    struct cv_ed25519_secret a, b, c;
    uint8_t ab[CV_KEY], ba[CV_KEY], ac[CV_KEY], other[CV_KEY];
    person(0, &a);
    person(1, &b);
    person(2, &c);
    cr_assert_eq(rep_release_secret(ab, &a, b.public_key, test_network), CV_ERR_OK);
    cr_assert_eq(rep_release_secret(ba, &b, a.public_key, test_network), CV_ERR_OK);
    cr_assert_eq(rep_release_secret(ac, &a, c.public_key, test_network), CV_ERR_OK);
    cr_assert_eq(rep_release_secret(other, &a, b.public_key, (const uint8_t *)"testnet2"),
                 CV_ERR_OK);
    cr_expect_arr_eq(ab, ba, CV_KEY);
    cr_expect_arr_neq(ab, ac, CV_KEY);
    cr_expect_arr_neq(ab, other, CV_KEY);
    cr_expect_eq(rep_release_dither(ab, 7), rep_release_dither(ba, 7));
    cr_expect_neq(rep_release_dither(ab, 7), rep_release_dither(ab, 8));
    static const uint8_t bad_point[CV_KEY] = {0};
    cr_expect_eq(rep_release_secret(ab, &a, bad_point, test_network), CV_ERR_AUTH);
}

Test(rep_release, time_is_in_the_first_seventh_of_the_next_epoch) {
    struct cv_rng_seeded dice;
    cv_rng_seeded_init(&dice, 5);
    struct cv_rng rng = cv_rng_seeded(&dice);
    int64_t least = INT64_MAX, most = 0;
    for (unsigned i = 0; i < 2000; i++) {
        int64_t at = rep_release_time(&rng, 2810, REP_EPOCH_SECONDS);
        least = at < least ? at : least;
        most = at > most ? at : most;
    }
    int64_t begins = INT64_C(2811) * REP_EPOCH_SECONDS;
    cr_expect_geq(least, begins);
    cr_expect_lt(least, begins + 3600);
    cr_expect_lt(most, begins + 86400);
    cr_expect_gt(most, begins + 86400 - 3600);
    cr_expect_eq(rep_release_epoch(begins, REP_EPOCH_SECONDS), 2811);
    cr_expect_eq(rep_release_epoch(begins - 1, REP_EPOCH_SECONDS), 2810);
    cr_expect_eq(rep_release_epoch(0, REP_EPOCH_SECONDS), 0);
}
