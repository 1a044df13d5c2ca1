/*
 * RFC 9497 VOPRF, ristretto255-SHA512: the vector of appendix A.1.2.1, every
 * octet of it; then batches with changed parts, which a proof must not cover.
 */
#include "crypto/voprf.h"

#include <stdio.h>

#include "crypto/hash.h"
#include "crypto/rng_seeded.h"
#include "support/hex.h"
#include "support/suite.h"

CV_SUITE(voprf, .init = cv_crypto_init);

enum { BATCH = 16 };

static struct cv_voprf_secret vector_key(void) {
    uint8_t seed[32], want[32];
    struct cv_voprf_secret key;
    memset(seed, 0xa3, sizeof seed);
    cr_assert_eq(cv_voprf_derive(&key, seed, "test key", 8), CV_ERR_OK);
    cv_test_unhex("e6f73f344b79b379f1a0dd37e07ff62e38d9f71345ce62ae3a9bc60b04ccd909", want, 32);
    cr_assert_arr_eq(key.scalar, want, 32);
    cv_test_unhex("c803e2cc6b05fc15064549b5920659ca4a77b2cca6f04f6b357009335476ad4e", want, 32);
    cr_assert_arr_eq(key.public_key, want, 32);
    return key;
}

Test(voprf, rfc_9497_a_1_2_1) {
    struct cv_voprf_secret key = vector_key();
    uint8_t blind[32], r[32], blinded[1][32], evaluated[1][32], proof[64], out[64], want[64];
    const uint8_t input[1] = {0};
    cv_test_unhex("64d37aed22a27f5191de1c1d69fadb899d8862b58eb4220029e036ec4c1f6706", blind, 32);
    cv_test_unhex("222a5e897cf59db8145db8d16e597e8facb80ae7d4e26d9881aa6f61d645fc0e", r, 32);
    cr_assert_eq(cv_voprf_blind(blinded[0], input, 1, blind), CV_ERR_OK);
    cv_test_unhex("863f330cc1a1259ed5a5998a23acfd37fb4351a793a5b3c090b642ddc439b945", want, 32);
    cr_expect_arr_eq(blinded[0], want, 32);
    cr_assert_eq(cv_voprf_evaluate(&key, (const uint8_t(*)[32])blinded, 1, r, evaluated, proof),
                 CV_ERR_OK);
    cv_test_unhex("aa8fa048764d5623868679402ff6108d2521884fa138cd7f9c7669a9a014267e", want, 32);
    cr_expect_arr_eq(evaluated[0], want, 32);
    cv_test_unhex("ddef93772692e535d1a53903db24367355cc2cc78de93b3be5a8ffcc6985dd06"
                  "6d4346421d17bf5117a2a1ff0fcb2a759f58a539dfbe857a40bce4cf49ec600d",
                  want, 64);
    cr_expect_arr_eq(proof, want, 64);
    cr_expect(cv_voprf_check(key.public_key, (const uint8_t(*)[32])blinded,
                             (const uint8_t(*)[32])evaluated, 1, proof));
    cr_assert_eq(cv_voprf_finalize(out, input, 1, blind, evaluated[0]), CV_ERR_OK);
    cv_test_unhex("b58cfbe118e0cb94d79b5fd6a6dafb98764dff49c14e1770b566e42402da1a7d"
                  "a4d8527693914139caee5bd03903af43a491351d23b430948dd50cde10d32b3c",
                  want, 64);
    cr_expect_arr_eq(out, want, 64);
    cr_assert_eq(cv_voprf_output(out, &key, input, 1), CV_ERR_OK);
    cr_expect_arr_eq(out, want, 64);
}

struct batch {
    uint8_t input[BATCH][32], blind[BATCH][32], blinded[BATCH][32], evaluated[BATCH][32];
    uint8_t proof[64], public_key[32];
    size_t n;
};

static void draw_scalar(const struct cv_rng *rng, uint8_t ret[32]) {
    uint8_t dice[64];
    cv_rng_fill(rng, dice, sizeof dice);
    cv_voprf_scalar(ret, dice);
}

static struct batch make_batch(const struct cv_rng *rng, const struct cv_voprf_secret *key,
                               size_t n) {
    struct batch b = {.n = n};
    uint8_t r[32];
    memcpy(b.public_key, key->public_key, 32);
    for (size_t i = 0; i < n; i++) {
        cv_rng_fill(rng, b.input[i], 32);
        draw_scalar(rng, b.blind[i]);
        cr_assert_eq(cv_voprf_blind(b.blinded[i], b.input[i], 32, b.blind[i]), CV_ERR_OK);
    }
    draw_scalar(rng, r);
    cr_assert_eq(
        cv_voprf_evaluate(key, (const uint8_t(*)[32])b.blinded, n, r, b.evaluated, b.proof),
        CV_ERR_OK);
    return b;
}

static bool check(const struct batch *b) {
    return cv_voprf_check(b->public_key, b->blinded, b->evaluated, b->n, b->proof);
}

Test(voprf, a_batch_of_any_size) {
    struct cv_rng_seeded dice;
    struct cv_voprf_secret key = vector_key();
    cv_rng_seeded_init(&dice, 1);
    struct cv_rng rng = cv_rng_seeded(&dice);
    for (size_t n = 1; n <= BATCH; n++) {
        struct batch b = make_batch(&rng, &key, n);
        cr_expect(check(&b), "%zu", n);
        for (size_t i = 0; i < n; i++) {
            uint8_t theirs[64], ours[64];
            cr_assert_eq(cv_voprf_finalize(theirs, b.input[i], 32, b.blind[i], b.evaluated[i]),
                         CV_ERR_OK);
            cr_assert_eq(cv_voprf_output(ours, &key, b.input[i], 32), CV_ERR_OK);
            cr_expect_arr_eq(theirs, ours, 64);
        }
    }
}

/* Blinding is the whole point: one input looks different every time. */
Test(voprf, nothing_of_the_input_is_seen) {
    struct cv_rng_seeded dice;
    uint8_t blind[32], one[32], two[32];
    cv_rng_seeded_init(&dice, 2);
    struct cv_rng rng = cv_rng_seeded(&dice);
    draw_scalar(&rng, blind);
    cr_assert_eq(cv_voprf_blind(one, "token", 5, blind), CV_ERR_OK);
    draw_scalar(&rng, blind);
    cr_assert_eq(cv_voprf_blind(two, "token", 5, blind), CV_ERR_OK);
    cr_expect_arr_neq(one, two, 32);
}

static void swap(uint8_t a[32], uint8_t b[32]) {
    uint8_t t[32];
    memcpy(t, a, 32);
    memcpy(a, b, 32);
    memcpy(b, t, 32);
}

static struct cv_voprf_secret other_key(void) {
    struct cv_voprf_secret key;
    uint8_t seed[32] = {9};
    cr_assert_eq(cv_voprf_derive(&key, seed, "", 0), CV_ERR_OK);
    return key;
}

/* The seventh of a batch by another key: how a server would mark somebody. */
static void marked(struct batch *b) {
    struct cv_voprf_secret other = other_key();
    uint8_t r[32] = {5}, proof[64], one[1][32];
    cr_assert_eq(cv_voprf_evaluate(&other, (const uint8_t(*)[32])b->blinded + 6, 1, r, one, proof),
                 CV_ERR_OK);
    memcpy(b->evaluated[6], one[0], 32);
}
static void all_by_another(struct batch *b) {
    struct cv_voprf_secret other = other_key();
    uint8_t r[32] = {5};
    cr_assert_eq(cv_voprf_evaluate(&other, (const uint8_t(*)[32])b->blinded, b->n, r, b->evaluated,
                                   b->proof),
                 CV_ERR_OK);
}
static void swapped_evaluated(struct batch *b) {
    swap(b->evaluated[2], b->evaluated[3]);
}
static void swapped_both(struct batch *b) {
    swap(b->evaluated[2], b->evaluated[3]);
    swap(b->blinded[2], b->blinded[3]);
}
static void challenge_bit(struct batch *b) {
    b->proof[3] ^= 1;
}
static void response_bit(struct batch *b) {
    b->proof[40] ^= 1;
}
/* The response plus the group's order: the same to every multiplication. */
static void not_canonical(struct batch *b) {
    uint8_t order[32];
    unsigned carry = 0;
    cv_test_unhex("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010", order, 32);
    for (unsigned i = 0; i < 32; i++) {
        carry += b->proof[32 + i] + order[i];
        b->proof[32 + i] = (uint8_t)carry;
        carry >>= 8;
    }
}
static void another_public_key(struct batch *b) {
    memcpy(b->public_key, other_key().public_key, 32);
}
static void identity_evaluated(struct batch *b) {
    memset(b->evaluated[0], 0, 32);
}
static void identity_public(struct batch *b) {
    memset(b->public_key, 0, 32);
}
static void no_element(struct batch *b) {
    memset(b->evaluated[1], 0xff, 32);
}
static void one_less(struct batch *b) {
    b->n--;
}
static void none(struct batch *b) {
    b->n = 0;
}

static const struct {
    const char *name;
    void (*harm)(struct batch *b);
} harms[] = {
    {"one by another key", marked},
    {"all by another key", all_by_another},
    {"evaluations swapped", swapped_evaluated},
    {"places swapped", swapped_both},
    {"a bit of the challenge", challenge_bit},
    {"a bit of the response", response_bit},
    {"a scalar above the order", not_canonical},
    {"another public key", another_public_key},
    {"the identity evaluated", identity_evaluated},
    {"the identity as key", identity_public},
    {"no element", no_element},
    {"one less", one_less},
    {"nothing", none},
};

Test(voprf, what_a_proof_does_not_cover) {
    struct cv_rng_seeded dice;
    struct cv_voprf_secret key = vector_key();
    cv_rng_seeded_init(&dice, 3);
    struct cv_rng rng = cv_rng_seeded(&dice);
    const struct batch good = make_batch(&rng, &key, BATCH);
    cr_assert(check(&good));
    for (size_t i = 0; i < sizeof harms / sizeof *harms; i++) {
        struct batch b = good;
        harms[i].harm(&b);
        cr_expect_not(check(&b), "%s", harms[i].name);
    }
}

Test(voprf, what_is_refused) {
    struct cv_voprf_secret key = vector_key();
    static const uint8_t zero[32], junk[1][32] = {{0xff}}, nothing[1][32];
    uint8_t long_input[CV_VOPRF_INPUT_MAX + 1] = {0}, out[64], e[1][32], proof[64], r[32] = {1};
    cr_expect_eq(cv_voprf_blind(e[0], long_input, sizeof long_input, r), CV_ERR_INVAL);
    cr_expect_eq(cv_voprf_blind(e[0], long_input, CV_VOPRF_INPUT_MAX, r), CV_ERR_OK);
    cr_expect_eq(cv_voprf_blind(e[0], "", 0, zero), CV_ERR_INVAL);
    cr_expect_eq(cv_voprf_output(out, &key, long_input, sizeof long_input), CV_ERR_INVAL);
    cr_expect_eq(cv_voprf_evaluate(&key, junk, 1, r, e, proof), CV_ERR_MALFORMED);
    cr_expect_eq(cv_voprf_evaluate(&key, nothing, 1, r, e, proof), CV_ERR_MALFORMED);
    cr_expect_eq(cv_voprf_evaluate(&key, junk, 0, r, e, proof), CV_ERR_INVAL);
    cr_expect_eq(cv_voprf_evaluate(&key, junk, CV_VOPRF_BATCH_MAX + 1, r, e, proof), CV_ERR_INVAL);
    cr_expect_eq(cv_voprf_finalize(out, "", 0, r, junk[0]), CV_ERR_MALFORMED);
    cr_expect_eq(cv_voprf_finalize(out, "", 0, zero, junk[0]), CV_ERR_INVAL);
    cr_expect_eq(cv_voprf_derive(&key, r, long_input, CV_VOPRF_INFO_MAX + 1), CV_ERR_INVAL);
}
