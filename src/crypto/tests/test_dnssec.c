/* The RFCs' examples, verified and signed again; forms; what is no key is refused. */
#include "crypto/dnssec.h"

#include "crypto/dnssec_generate.h"
#include "crypto/hash.h"
#include "support/suite.h"
#include "support/vectors.h"

CV_SUITE(crypto_dnssec, .init = cv_crypto_init);

#define FILE_OF_VECTORS CV_VECTORS "/dnssec.txt"

static const enum cv_dnssec_alg all[] = {CV_DNSSEC_RSASHA1, CV_DNSSEC_RSASHA256,
                                         CV_DNSSEC_ECDSAP256SHA256, CV_DNSSEC_ECDSAP384SHA384,
                                         CV_DNSSEC_ED25519};
enum { ALL = sizeof all / sizeof *all };

static const struct {
    enum cv_dnssec_alg alg;
    const char *section;
    unsigned nth;
    bool pem, repeats; /* a private key is there; signing gives the same octets */
    size_t public_len, signature_len;
} examples[] = {
    {CV_DNSSEC_RSASHA1, "RSASHA1", 0, false, false, 68, 64},
    {CV_DNSSEC_RSASHA256, "RSASHA256", 0, false, false, 68, 64},
    {CV_DNSSEC_ECDSAP256SHA256, "ECDSAP256SHA256", 0, true, false, 64, 64},
    {CV_DNSSEC_ECDSAP384SHA384, "ECDSAP384SHA384", 0, true, false, 96, 96},
    {CV_DNSSEC_ED25519, "ED25519", 0, true, true, 32, 64},
    {CV_DNSSEC_ED25519, "ED25519", 1, true, true, 32, 64},
};

Test(crypto_dnssec, R7_7_2_examples_of_the_rfcs_verify_and_changed_ones_do_not) {
    for (size_t i = 0; i < sizeof examples / sizeof *examples; i++) {
        uint8_t msg[512], key[600], sig[600];
        const char *s = examples[i].section;
        unsigned n = examples[i].nth;
        size_t msg_len = cv_test_vector(FILE_OF_VECTORS, s, "message", n, msg, sizeof msg);
        size_t key_len = cv_test_vector(FILE_OF_VECTORS, s, "public", n, key, sizeof key);
        size_t sig_len = cv_test_vector(FILE_OF_VECTORS, s, "signature", n, sig, sizeof sig);
        cr_assert_eq(key_len, examples[i].public_len, "%s", s);
        cr_assert_eq(sig_len, examples[i].signature_len, "%s", s);
        cr_expect_eq(cv_dnssec_signature_len(examples[i].alg, key, key_len), sig_len, "%s", s);
        struct cv_dnssec_public *k = NULL;
        cr_assert_eq(cv_dnssec_public_new(examples[i].alg, key, key_len, &k), CV_ERR_OK, "%s", s);
        cr_expect(cv_dnssec_verify(k, msg, msg_len, sig, sig_len), "%s", s);
        cr_expect_not(cv_dnssec_verify(k, msg, msg_len, sig, sig_len - 1), "%s", s);
        cr_expect_not(cv_dnssec_verify(k, msg, msg_len - 1, sig, sig_len), "%s", s);
        for (size_t at = 0; at < sig_len; at += 7) {
            sig[at] ^= 0x20;
            cr_expect_not(cv_dnssec_verify(k, msg, msg_len, sig, sig_len), "%s %zu", s, at);
            sig[at] ^= 0x20;
        }
        memset(sig, 0, sig_len);
        cr_expect_not(cv_dnssec_verify(k, msg, msg_len, sig, sig_len), "%s zeros", s);
        cv_dnssec_public_free(k);
    }
}

Test(crypto_dnssec, R7_7_2_private_keys_of_the_rfcs_sign) {
    for (size_t i = 0; i < sizeof examples / sizeof *examples; i++) {
        if (!examples[i].pem)
            continue;
        uint8_t msg[512], key[600], want[600], pem[2048], got_key[CV_DNSSEC_PUBLIC_MAX],
            sig[CV_DNSSEC_SIGNATURE_MAX];
        const char *s = examples[i].section;
        unsigned n = examples[i].nth;
        size_t msg_len = cv_test_vector(FILE_OF_VECTORS, s, "message", n, msg, sizeof msg);
        size_t key_len = cv_test_vector(FILE_OF_VECTORS, s, "public", n, key, sizeof key);
        size_t pem_len = cv_test_vector(FILE_OF_VECTORS, s, "pem", n, pem, sizeof pem);
        (void)cv_test_vector(FILE_OF_VECTORS, s, "signature", n, want, sizeof want);
        struct cv_dnssec_secret *k = NULL;
        struct cv_dnssec_public *p = NULL;
        cr_assert_eq(cv_dnssec_secret_from_pem(examples[i].alg, (char *)pem, pem_len, &k),
                     CV_ERR_OK, "%s", s);
        cr_expect_eq(cv_dnssec_public_of(k, got_key), key_len, "%s", s);
        cr_expect_arr_eq(got_key, key, key_len, "%s", s);
        cr_assert_eq(cv_dnssec_public_new(examples[i].alg, key, key_len, &p), CV_ERR_OK);
        size_t sig_len = cv_dnssec_sign(k, msg, msg_len, sig);
        cr_expect_eq(sig_len, examples[i].signature_len);
        cr_expect(cv_dnssec_verify(p, msg, msg_len, sig, sig_len), "%s", s);
        if (examples[i].repeats)
            cr_expect_arr_eq(sig, want, sig_len);
        cv_dnssec_public_free(p);
        cv_dnssec_secret_free(k);
    }
}

Test(crypto_dnssec, new_keys_sign_survive_their_pem_and_fit_no_other_algorithm) {
    static char pem[CV_DNSSEC_PEM_MAX], again[CV_DNSSEC_PEM_MAX];
    for (size_t i = 0; i < ALL; i++) {
        struct cv_dnssec_secret *k = NULL, *read = NULL;
        struct cv_dnssec_public *p = NULL;
        uint8_t key[CV_DNSSEC_PUBLIC_MAX], sig[CV_DNSSEC_SIGNATURE_MAX];
        cr_assert_eq(cv_dnssec_generate(all[i], &k), CV_ERR_OK);
        cr_expect_eq(cv_dnssec_alg(k), all[i]);
        cr_assert_eq(cv_dnssec_secret_to_pem(k, pem, sizeof pem), CV_ERR_OK);
        cr_expect_eq(cv_dnssec_secret_to_pem(k, again, 20), CV_ERR_NOBUFS);
        cr_assert_eq(cv_dnssec_secret_from_pem(all[i], pem, strlen(pem), &read), CV_ERR_OK);
        cr_assert_eq(cv_dnssec_secret_to_pem(read, again, sizeof again), CV_ERR_OK);
        cr_expect_str_eq(again, pem);
        size_t key_len = cv_dnssec_public_of(k, key);
        size_t sig_len = cv_dnssec_sign(read, "abc", 3, sig);
        cr_expect_eq(cv_dnssec_signature_len(all[i], key, key_len), sig_len);
        cr_assert_eq(cv_dnssec_public_new(all[i], key, key_len, &p), CV_ERR_OK);
        cr_expect(cv_dnssec_verify(p, "abc", 3, sig, sig_len));
        cr_expect_not(cv_dnssec_verify(p, "abd", 3, sig, sig_len));
        for (size_t o = 0; o < ALL; o++) {
            struct cv_dnssec_secret *other = NULL;
            bool rsa = all[i] <= CV_DNSSEC_RSASHA256 && all[o] <= CV_DNSSEC_RSASHA256;
            enum cv_err want = o == i || rsa ? CV_ERR_OK : CV_ERR_DIFFERS;
            cr_expect_eq(cv_dnssec_secret_from_pem(all[o], pem, strlen(pem), &other), want);
            cv_dnssec_secret_free(other);
        }
        cv_dnssec_public_free(p);
        cv_dnssec_secret_free(read);
        cv_dnssec_secret_free(k);
    }
}

/* A modulus of n octets behind an exponent of e octets, lengths as told. */
static size_t rsa_key(uint8_t *key, bool three, unsigned e, unsigned n) {
    size_t at = 0;
    if (three) {
        key[at++] = 0;
        key[at++] = (uint8_t)(e >> 8);
    }
    key[at++] = (uint8_t)e;
    memset(key + at, 0xc1, e + n);
    return at + e + n;
}

Test(crypto_dnssec, what_has_not_the_form_of_a_key_is_refused) {
    static uint8_t key[2048];
    static const struct {
        bool three;
        unsigned e, n;
        size_t want; /* 0: refused */
    } rsa[] = {
        {false, 3, 512, 512}, {false, 3, 513, 0},  {false, 3, 63, 0}, {false, 8, 64, 64},
        {false, 9, 128, 0},   {true, 300, 256, 0}, {true, 3, 128, 0}, {false, 0, 128, 0},
    };
    struct cv_dnssec_public *k = NULL;
    for (size_t i = 0; i < sizeof rsa / sizeof *rsa; i++) {
        size_t len = rsa_key(key, rsa[i].three, rsa[i].e, rsa[i].n);
        cr_expect_eq(cv_dnssec_signature_len(CV_DNSSEC_RSASHA256, key, len), rsa[i].want, "%zu", i);
        if (!rsa[i].want)
            cr_expect_eq(cv_dnssec_public_new(CV_DNSSEC_RSASHA1, key, len, &k), CV_ERR_MALFORMED);
    }
    size_t len = rsa_key(key, false, 3, 128);
    key[4] = 0; /* leading zero of the modulus */
    cr_expect_eq(cv_dnssec_signature_len(CV_DNSSEC_RSASHA1, key, len), 0);
    for (size_t short_len = 0; short_len < 4; short_len++)
        cr_expect_eq(cv_dnssec_signature_len(CV_DNSSEC_RSASHA1, key, short_len), 0);
    memset(key, 0x11, sizeof key); /* no point of either curve */
    cr_expect_eq(cv_dnssec_public_new(CV_DNSSEC_ECDSAP256SHA256, key, 64, &k), CV_ERR_MALFORMED);
    cr_expect_eq(cv_dnssec_public_new(CV_DNSSEC_ECDSAP384SHA384, key, 96, &k), CV_ERR_MALFORMED);
    cr_expect_eq(cv_dnssec_public_new(CV_DNSSEC_ECDSAP256SHA256, key, 96, &k), CV_ERR_MALFORMED);
    cr_expect_eq(cv_dnssec_public_new(CV_DNSSEC_ED25519, key, 31, &k), CV_ERR_MALFORMED);
    cr_expect_eq(cv_dnssec_public_new((enum cv_dnssec_alg)16, key, 57, &k), CV_ERR_UNKNOWN);
    cr_expect_eq(cv_dnssec_signature_len((enum cv_dnssec_alg)16, key, 57), 0);
    struct cv_dnssec_secret *s = NULL;
    cr_expect_eq(cv_dnssec_secret_from_pem(CV_DNSSEC_ED25519, "no key", 6, &s), CV_ERR_MALFORMED);
    cr_expect_eq(cv_dnssec_secret_from_pem((enum cv_dnssec_alg)16, "no key", 6, &s),
                 CV_ERR_UNKNOWN);
    cr_expect_eq(cv_dnssec_generate((enum cv_dnssec_alg)16, &s), CV_ERR_UNKNOWN);
    cr_expect_null(s);
}
