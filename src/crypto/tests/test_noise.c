/*
 * Noise NK and NKpsk0. The flights, hash and transport keys are compared with a
 * second implementation (tests/vectors/noise.py); then: whatever one bit of a
 * flight does, the receiver is as before and still accepts the true one.
 */
#include "crypto/noise.h"

#include "crypto/aead.h"
#include "crypto/hash.h"
#include "crypto/rng_seeded.h"
#include "support/suite.h"
#include "support/vectors.h"

CV_SUITE(noise, .init = cv_crypto_init);

static const char path[] = CV_VECTORS "/noise.txt";
static const uint8_t psk[] = "This is my Austrian perspective!";

/* Dice that give the vector's ephemeral key. */
static void fill_from_hex(void *ctx, void *buf, size_t len) {
    cr_assert_eq(cv_test_unhex(ctx, buf, len), 32);
}

static struct cv_rng dice(char *hex) {
    return (struct cv_rng){.fill = fill_from_hex, .ctx = hex};
}

static char init_ephemeral[] = "893e28b9dc6ca8d611ab664754b8ceb7bac5117349a4439a6b0569da977c464a";
static char resp_ephemeral[] = "bbdb4cdbd309f1a1f2e1456967fe288cadd6f712d65dc7b7793d5e63da6b375b";
static const char resp_static[] =
    "4a3acbfdb163dec651dfa3194dece676d437029c62a408b4c5ea9114246e4893";

struct pair {
    struct cv_noise i, r;
    struct cv_x25519_secret s;
};

static void begin(struct pair *p, enum cv_noise_pattern pattern, const uint8_t *psk_i,
                  const uint8_t *psk_r, const char *prologue_r) {
    uint8_t seed[32];
    struct cv_rng ri = dice(init_ephemeral), rr = dice(resp_ephemeral);
    cv_test_unhex(resp_static, seed, 32);
    cv_x25519_from_seed(&p->s, seed);
    cv_noise_init_initiator(&p->i, pattern, "John Galt", 9, p->s.public_key, psk_i, &ri);
    cv_noise_init_responder(&p->r, pattern, prologue_r, strlen(prologue_r), &p->s, psk_r, &rr);
}

static void check_transport(const char *name, const char *label, const uint8_t key[64],
                            const char *text) {
    uint8_t want[64], c[64], nonce[12] = {0};
    size_t n = strlen(text);
    cr_assert_eq(cv_test_vector(path, name, label, 0, want, sizeof want), n + 16);
    cv_aead_seal(c, c + n, (const uint8_t *)text, n, NULL, 0, nonce, key);
    cr_expect_arr_eq(c, want, n + 16);
}

static void check_vector(enum cv_noise_pattern pattern, const char *name, const uint8_t *key) {
    struct pair p;
    uint8_t want[128], f1[64], f2[63], out[16], a[2][64], b[2][64];
    begin(&p, pattern, key, key, "John Galt");

    cr_assert_eq(cv_noise_create_1(&p.i, f1, "Ludwig von Mises", 16), CV_ERR_OK);
    cr_assert_eq(cv_test_vector(path, name, "flight1", 0, want, sizeof want), sizeof f1);
    cr_expect_arr_eq(f1, want, sizeof f1);
    cr_assert_eq(cv_noise_consume_1(&p.r, &p.s, f1, sizeof f1, out), CV_ERR_OK);
    cr_expect_arr_eq(out, "Ludwig von Mises", 16);

    cr_assert_eq(cv_noise_create_2(&p.r, f2, "Murray Rothbard", 15), CV_ERR_OK);
    cr_assert_eq(cv_test_vector(path, name, "flight2", 0, want, sizeof want), sizeof f2);
    cr_expect_arr_eq(f2, want, sizeof f2);
    cr_assert_eq(cv_noise_consume_2(&p.i, f2, sizeof f2, out), CV_ERR_OK);
    cr_expect_arr_eq(out, "Murray Rothbard", 15);

    cv_test_vector(path, name, "hash", 0, want, sizeof want);
    cr_expect_arr_eq(p.i.h, want, 64);
    cr_expect_arr_eq(p.r.h, want, 64);
    cv_noise_split(&p.i, a[0], a[1]);
    cv_noise_split(&p.r, b[0], b[1]);
    cr_expect_arr_eq(a, b, sizeof a);
    cv_test_vector(path, name, "initiator_to_responder", 0, want, sizeof want);
    cr_expect_arr_eq(a[0], want, 64);
    cv_test_vector(path, name, "responder_to_initiator", 0, want, sizeof want);
    cr_expect_arr_eq(a[1], want, 64);
    check_transport(name, "transport1", a[0], "F. A. Hayek");
    check_transport(name, "transport2", a[1], "Carl Menger");

    static const struct cv_noise wiped;
    cv_noise_done(&p.i);
    cr_expect_arr_eq(&p.i, &wiped, sizeof wiped);
}

Test(noise, vectors) {
    check_vector(CV_NOISE_NK, "Noise_NK_", NULL);
    check_vector(CV_NOISE_NKPSK0, "Noise_NKpsk0_", psk);
}

/* Every single-bit change (also of bit 255, which X25519 ignores but the hash
 * does not) and every shortening of either flight. */
static void check_forgeries(enum cv_noise_pattern pattern, const uint8_t *key) {
    enum { PAYLOAD = 7, FLIGHT = PAYLOAD + CV_NOISE_OVERHEAD };
    struct pair p;
    struct cv_noise before;
    uint8_t f[FLIGHT], out[PAYLOAD], untouched[PAYLOAD];
    memset(untouched, 0xee, PAYLOAD);
    begin(&p, pattern, key, key, "John Galt");
    cr_assert_eq(cv_noise_create_1(&p.i, f, "payload", PAYLOAD), CV_ERR_OK);
    memcpy(&before, &p.r, sizeof before);
    memset(out, 0xee, PAYLOAD);
    for (unsigned bit = 0; bit < 8 * FLIGHT; bit++) {
        f[bit / 8] ^= (uint8_t)(1 << bit % 8);
        cr_assert_eq(cv_noise_consume_1(&p.r, &p.s, f, FLIGHT, out), CV_ERR_AUTH, "bit %u", bit);
        f[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    for (size_t n = 0; n < FLIGHT; n++)
        cr_assert_eq(cv_noise_consume_1(&p.r, &p.s, f, n, out),
                     n < CV_NOISE_OVERHEAD ? CV_ERR_TRUNCATED : CV_ERR_AUTH);
    cr_expect_arr_eq(&before, &p.r, sizeof before, "a forgery changes nothing");
    cr_expect_arr_eq(out, untouched, PAYLOAD);
    cr_assert_eq(cv_noise_consume_1(&p.r, &p.s, f, FLIGHT, out), CV_ERR_OK);

    cr_assert_eq(cv_noise_create_2(&p.r, f, "payload", PAYLOAD), CV_ERR_OK);
    memcpy(&before, &p.i, sizeof before);
    memset(out, 0xee, PAYLOAD);
    for (unsigned bit = 0; bit < 8 * FLIGHT; bit++) {
        f[bit / 8] ^= (uint8_t)(1 << bit % 8);
        cr_assert_eq(cv_noise_consume_2(&p.i, f, FLIGHT, out), CV_ERR_AUTH, "bit %u", bit);
        f[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    for (size_t n = 0; n < FLIGHT; n++)
        cr_assert_neq(cv_noise_consume_2(&p.i, f, n, out), CV_ERR_OK);
    cr_expect_arr_eq(&before, &p.i, sizeof before);
    cr_expect_arr_eq(out, untouched, PAYLOAD);
    cr_assert_eq(cv_noise_consume_2(&p.i, f, FLIGHT, out), CV_ERR_OK);
}

Test(noise, forgeries_change_nothing) {
    check_forgeries(CV_NOISE_NK, NULL);
    check_forgeries(CV_NOISE_NKPSK0, psk);
}

Test(noise, both_must_agree_on_everything) {
    static const uint8_t other_psk[32] = {1};
    struct pair p;
    uint8_t f[CV_NOISE_OVERHEAD];
    begin(&p, CV_NOISE_NKPSK0, psk, other_psk, "John Galt");
    cv_noise_create_1(&p.i, f, NULL, 0);
    cr_expect_eq(cv_noise_consume_1(&p.r, &p.s, f, sizeof f, NULL), CV_ERR_AUTH);
    begin(&p, CV_NOISE_NK, NULL, NULL, "John Gault");
    cv_noise_create_1(&p.i, f, NULL, 0);
    cr_expect_eq(cv_noise_consume_1(&p.r, &p.s, f, sizeof f, NULL), CV_ERR_AUTH);
}

Test(noise, small_order_points) {
    static const uint8_t zero[32];
    struct pair p;
    uint8_t f[CV_NOISE_OVERHEAD] = {0};
    struct cv_rng rng = dice(init_ephemeral);
    begin(&p, CV_NOISE_NK, NULL, NULL, "John Galt");
    cr_expect_eq(cv_noise_consume_1(&p.r, &p.s, f, sizeof f, NULL), CV_ERR_AUTH);
    cv_noise_init_initiator(&p.i, CV_NOISE_NK, NULL, 0, zero, NULL, &rng);
    cr_expect_eq(cv_noise_create_1(&p.i, f, NULL, 0), CV_ERR_AUTH);
}
