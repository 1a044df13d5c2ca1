/* Membership certificates: another library's are read, ours verify, nothing else does. */
#include "crypto/certificate.h"

#include <string.h>

#include "crypto/dnssec_generate.h"
#include "crypto/hash.h"
#include "support/suite.h"
#include "support/vectors.h"

CV_SUITE(crypto_certificate, .init = cv_crypto_init);

#define FILE_OF_VECTORS CV_VECTORS "/certificate.txt"
#define URI             "file://192.0.2.0:6778/e5a12c7ad2d8fab33c699d1e198d66f79fa610c3"

static struct cv_dnssec_public *issuer(void) {
    uint8_t key[CV_KEY];
    struct cv_dnssec_public *k = NULL;
    cv_test_vector(FILE_OF_VECTORS, "issuer", "public", 0, key, sizeof key);
    cr_assert_eq(cv_dnssec_public_new(CV_DNSSEC_ED25519, key, sizeof key, &k), CV_ERR_OK);
    return k;
}

Test(crypto_certificate, R8_13_2_another_librarys_are_read_and_verify) {
    static const struct {
        const char *label, *uri;
        int64_t begin;
    } rows[] = {
        {"v4", URI, 1767225600},
        {"v6", "file://[2001:db8::1]:6778/e5a12c7ad2d8fab33c699d1e198d66f79fa610c3", 1767225600},
        {"2060", URI, 2840140800}, /* as GeneralizedTime */
        {"extensions", URI, 1767225600},
    };
    struct cv_dnssec_public *k = issuer();
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint8_t der[CV_CERTIFICATE_MAX];
        struct cv_certificate got;
        size_t len = cv_test_vector(FILE_OF_VECTORS, "good", rows[i].label, 0, der, sizeof der);
        cr_assert_eq(cv_certificate_read(der, len, &got), CV_ERR_OK, "%s", rows[i].label);
        cr_expect_str_eq(got.uri, rows[i].uri);
        cr_expect_eq(got.not_before, rows[i].begin, "%s", rows[i].label);
        cr_expect_eq(got.not_after, rows[i].begin + 86400, "%s", rows[i].label);
        cr_expect(cv_certificate_verify(der, len, k), "%s", rows[i].label);
        for (size_t at = 0; at < len; at += 5) {
            der[at] ^= 1;
            cr_expect_not(cv_certificate_verify(der, len, k), "%s, octet %zu", rows[i].label, at);
            der[at] ^= 1;
        }
        for (size_t cut = 0; cut < len; cut++)
            cr_expect_eq(cv_certificate_read(der, cut, &got), CV_ERR_MALFORMED);
    }
    cv_dnssec_public_free(k);
}

Test(crypto_certificate, R8_13_2_others_are_malformed_though_the_issuer_signed_them) {
    static const char *const labels[] = {"not-critical", "two-names",        "dns-name",
                                         "no-name",      "unknown-critical", "space",
                                         "long",         "trailing",         "version-2"};
    for (size_t i = 0; i < sizeof labels / sizeof *labels; i++) {
        uint8_t der[2048];
        struct cv_certificate got;
        size_t len = cv_test_vector(FILE_OF_VECTORS, "bad", labels[i], 0, der, sizeof der);
        cr_expect_eq(cv_certificate_read(der, len, &got), CV_ERR_MALFORMED, "%s", labels[i]);
    }
    uint8_t long_one[CV_CERTIFICATE_MAX + 1] = {0x30};
    struct cv_certificate got;
    cr_expect_eq(cv_certificate_read(long_one, sizeof long_one, &got), CV_ERR_LIMIT);
}

static const enum cv_dnssec_alg issuers[] = {CV_DNSSEC_RSASHA256, CV_DNSSEC_ECDSAP256SHA256,
                                             CV_DNSSEC_ECDSAP384SHA384, CV_DNSSEC_ED25519};

static struct cv_dnssec_public *public_of(const struct cv_dnssec_secret *secret) {
    uint8_t key[CV_DNSSEC_PUBLIC_MAX];
    struct cv_dnssec_public *k = NULL;
    size_t len = cv_dnssec_public_of(secret, key);
    cr_assert_eq(cv_dnssec_public_new(cv_dnssec_alg(secret), key, len, &k), CV_ERR_OK);
    return k;
}

Test(crypto_certificate, ours_say_what_they_were_made_for_and_verify_with_that_key_only) {
    struct cv_dnssec_public *other = issuer();
    for (size_t i = 0; i < sizeof issuers / sizeof *issuers; i++) {
        struct cv_dnssec_secret *secret = NULL;
        cr_assert_eq(cv_dnssec_generate(issuers[i], &secret), CV_ERR_OK);
        struct cv_dnssec_public *k = public_of(secret);
        struct cv_certificate what = {
            .uri = URI, .not_before = 1767225600, .not_after = 1767229200};
        struct cv_certificate got;
        uint8_t der[CV_CERTIFICATE_MAX];
        size_t len = 0;
        cr_assert_eq(cv_certificate_issue(secret, &what, UINT64_MAX, der, &len), CV_ERR_OK);
        cr_assert_eq(cv_certificate_read(der, len, &got), CV_ERR_OK);
        cr_expect_str_eq(got.uri, URI);
        cr_expect_eq(got.not_before, 1767225600);
        cr_expect_eq(got.not_after, 1767229200);
        cr_expect(cv_certificate_verify(der, len, k), "algorithm %d", issuers[i]);
        cr_expect_not(cv_certificate_verify(der, len, other));
        cv_dnssec_public_free(k);
        cv_dnssec_secret_free(secret);
    }
    cv_dnssec_public_free(other);
}

/* A key of RSASHA256 may not be used with a weaker digest. */
Test(crypto_certificate, rsasha1_issues_nothing_and_its_signature_does_not_count) {
    struct cv_dnssec_secret *secret = NULL;
    struct cv_certificate what = {.uri = URI, .not_before = 0, .not_after = 1};
    uint8_t der[CV_CERTIFICATE_MAX];
    size_t len = 0;
    cr_expect_not(cv_certificate_issuer_ok(CV_DNSSEC_RSASHA1));
    cr_assert_eq(cv_dnssec_generate(CV_DNSSEC_RSASHA1, &secret), CV_ERR_OK);
    cr_expect_eq(cv_certificate_issue(secret, &what, 1, der, &len), CV_ERR_INVAL);
    cv_dnssec_secret_free(secret);
    for (size_t i = 0; i < sizeof issuers / sizeof *issuers; i++)
        cr_expect(cv_certificate_issuer_ok(issuers[i]));
}

Test(crypto_certificate, what_would_be_too_long_is_not_made) {
    uint8_t seed[CV_KEY] = {1}, der[CV_CERTIFICATE_MAX];
    struct cv_dnssec_secret *secret = NULL;
    struct cv_certificate what = {.not_before = 0, .not_after = 1}, got;
    size_t len = 0;
    cr_assert_eq(cv_dnssec_secret_from_seed(seed, &secret), CV_ERR_OK);
    memset(what.uri, 'a', CV_CERTIFICATE_URI_MAX);
    cr_assert_eq(cv_certificate_issue(secret, &what, 1, der, &len), CV_ERR_OK);
    cr_expect_eq(cv_certificate_read(der, len, &got), CV_ERR_OK, "the longest URI fits");
    cv_dnssec_secret_free(secret);
    cr_assert_eq(cv_dnssec_generate(CV_DNSSEC_RSASHA256, &secret), CV_ERR_OK);
    cr_expect_eq(cv_certificate_issue(secret, &what, 1, der, &len), CV_ERR_NOBUFS);
    cv_dnssec_secret_free(secret);
}
