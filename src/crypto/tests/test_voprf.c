/*
 * RFC 9497 VOPRF, ristretto255-SHA512: the three vectors of appendix A.1.2, every
 * octet of them; then batches with changed parts, which a proof must not cover.
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

/* Appendix A.1.2, under one key: what goes in, and every octet that comes out. */
/* clang-format off */
static const struct {
    const char *name;
    size_t n;
    struct {
        const char *input, *blind, *blinded, *evaluated, *output;
    } of[2];
    const char *r, *proof;
} vectors[] = {
    {"A.1.2.1", 1,
     {{"00",
       "64d37aed22a27f5191de1c1d69fadb899d8862b58eb4220029e036ec4c1f6706",
       "863f330cc1a1259ed5a5998a23acfd37fb4351a793a5b3c090b642ddc439b945",
       "aa8fa048764d5623868679402ff6108d2521884fa138cd7f9c7669a9a014267e",
       "b58cfbe118e0cb94d79b5fd6a6dafb98764dff49c14e1770b566e42402da1a7d"
       "a4d8527693914139caee5bd03903af43a491351d23b430948dd50cde10d32b3c"}},
     "222a5e897cf59db8145db8d16e597e8facb80ae7d4e26d9881aa6f61d645fc0e",
     "ddef93772692e535d1a53903db24367355cc2cc78de93b3be5a8ffcc6985dd06"
     "6d4346421d17bf5117a2a1ff0fcb2a759f58a539dfbe857a40bce4cf49ec600d"},
    {"A.1.2.2", 1,
     {{"5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a",
       "64d37aed22a27f5191de1c1d69fadb899d8862b58eb4220029e036ec4c1f6706",
       "cc0b2a350101881d8a4cba4c80241d74fb7dcbfde4a61fde2f91443c2bf9ef0c",
       "60a59a57208d48aca71e9e850d22674b611f752bed48b36f7a91b372bd7ad468",
       "8a9a2f3c7f085b65933594309041fc1898d42d0858e59f90814ae90571a6df60"
       "356f4610bf816f27afdd84f47719e480906d27ecd994985890e5f539e7ea74b6"}},
     "222a5e897cf59db8145db8d16e597e8facb80ae7d4e26d9881aa6f61d645fc0e",
     "401a0da6264f8cf45bb2f5264bc31e109155600babb3cd4e5af7d181a2c9dc0a"
     "67154fabf031fd936051dec80b0b6ae29c9503493dde7393b722eafdf5a50b02"},
    {"A.1.2.3", 2,
     {{"00",
       "64d37aed22a27f5191de1c1d69fadb899d8862b58eb4220029e036ec4c1f6706",
       "863f330cc1a1259ed5a5998a23acfd37fb4351a793a5b3c090b642ddc439b945",
       "aa8fa048764d5623868679402ff6108d2521884fa138cd7f9c7669a9a014267e",
       "b58cfbe118e0cb94d79b5fd6a6dafb98764dff49c14e1770b566e42402da1a7d"
       "a4d8527693914139caee5bd03903af43a491351d23b430948dd50cde10d32b3c"},
      {"5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a",
       "222a5e897cf59db8145db8d16e597e8facb80ae7d4e26d9881aa6f61d645fc0e",
       "90a0145ea9da29254c3a56be4fe185465ebb3bf2a1801f7124bbbadac751e654",
       "cc5ac221950a49ceaa73c8db41b82c20372a4c8d63e5dded2db920b7eee36a2a",
       "8a9a2f3c7f085b65933594309041fc1898d42d0858e59f90814ae90571a6df60"
       "356f4610bf816f27afdd84f47719e480906d27ecd994985890e5f539e7ea74b6"}},
     "419c4f4f5052c53c45f3da494d2b67b220d02118e0857cdbcf037f9ea84bbe0c",
     "cc203910175d786927eeb44ea847328047892ddf8590e723c37205cb74600b0a"
     "5ab5337c8eb4ceae0494c2cf89529dcf94572ed267473d567aeed6ab873dee08"},
};
/* clang-format on */

static void expect_octets(const char *name, const char *what, const uint8_t *got, const char *hex) {
    uint8_t want[64];
    size_t len = cv_test_unhex(hex, want, sizeof want);
    cr_expect_arr_eq(got, want, len, "%s: %s", name, what);
}

Test(voprf, rfc_9497_a_1_2) {
    struct cv_voprf_secret key = vector_key();
    for (size_t v = 0; v < sizeof vectors / sizeof *vectors; v++) {
        const char *name = vectors[v].name;
        const size_t n = vectors[v].n;
        uint8_t input[2][32], blind[2][32], blinded[2][32], evaluated[2][32], r[32], proof[64];
        size_t len[2];
        for (size_t i = 0; i < n; i++) {
            len[i] = cv_test_unhex(vectors[v].of[i].input, input[i], sizeof input[i]);
            cv_test_unhex(vectors[v].of[i].blind, blind[i], 32);
            cr_assert_eq(cv_voprf_blind(blinded[i], input[i], len[i], blind[i]), CV_ERR_OK);
            expect_octets(name, "blinded", blinded[i], vectors[v].of[i].blinded);
        }
        cv_test_unhex(vectors[v].r, r, 32);
        cr_assert_eq(cv_voprf_evaluate(&key, (const uint8_t(*)[32])blinded, n, r, evaluated, proof),
                     CV_ERR_OK);
        expect_octets(name, "proof", proof, vectors[v].proof);
        cr_expect(cv_voprf_check(key.public_key, (const uint8_t(*)[32])blinded,
                                 (const uint8_t(*)[32])evaluated, n, proof),
                  "%s", name);
        for (size_t i = 0; i < n; i++) {
            uint8_t out[64];
            expect_octets(name, "evaluated", evaluated[i], vectors[v].of[i].evaluated);
            cr_assert_eq(cv_voprf_finalize(out, input[i], len[i], blind[i], evaluated[i]),
                         CV_ERR_OK);
            expect_octets(name, "output", out, vectors[v].of[i].output);
            cr_assert_eq(cv_voprf_output(out, &key, input[i], len[i]), CV_ERR_OK);
            expect_octets(name, "output by the key's holder", out, vectors[v].of[i].output);
        }
    }
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
