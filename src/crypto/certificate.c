#include "crypto/certificate.h"

#include <openssl/err.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <string.h>

#include "crypto/dnssec_priv.h"

/* The signature that a key of each algorithm makes. */
static const struct kind {
    enum cv_dnssec_alg alg;
    int signature;
    const char *digest;
} kinds[] = {
    {CV_DNSSEC_RSASHA256, NID_sha256WithRSAEncryption, "SHA256"},
    {CV_DNSSEC_ECDSAP256SHA256, NID_ecdsa_with_SHA256, "SHA256"},
    {CV_DNSSEC_ECDSAP384SHA384, NID_ecdsa_with_SHA384, "SHA384"},
    {CV_DNSSEC_ED25519, NID_ED25519, NULL},
};

static const struct kind *find(enum cv_dnssec_alg alg) {
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (kinds[i].alg == alg)
            return &kinds[i];
    return NULL;
}

bool cv_certificate_issuer_ok(enum cv_dnssec_alg alg) {
    return find(alg) != NULL;
}

/* ---- reading ------------------------------------------------------------------- */

/* NULL: it is none. libcrypto's errors are nobody's. */
static X509 *parse(const uint8_t *der, size_t len) {
    const uint8_t *end = der;
    if (len > CV_CERTIFICATE_MAX)
        return NULL;
    X509 *x = d2i_X509(NULL, &end, (long)len);
    if (x && end != der + len) {
        X509_free(x);
        x = NULL;
    }
    ERR_clear_error();
    return x;
}

/* RFC 5280 section 4.2: what is critical and not understood ends it. */
static bool understood(const X509 *x) {
    for (int i = 0; i < X509_get_ext_count(x); i++) {
        X509_EXTENSION *e = X509_get_ext(x, i);
        if (X509_EXTENSION_get_critical(e) && !X509_supported_extension(e))
            return false;
    }
    return true;
}

static bool copy_uri(const GENERAL_NAMES *names, char ret[CV_CERTIFICATE_URI_MAX + 1]) {
    if (sk_GENERAL_NAME_num(names) != 1)
        return false;
    const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, 0);
    if (name->type != GEN_URI)
        return false;
    int len = ASN1_STRING_length(name->d.uniformResourceIdentifier);
    const uint8_t *p = ASN1_STRING_get0_data(name->d.uniformResourceIdentifier);
    if (len < 1 || len > CV_CERTIFICATE_URI_MAX)
        return false;
    for (int i = 0; i < len; i++)
        if (p[i] <= 0x20 || p[i] > 0x7e)
            return false;
    memcpy(ret, p, (size_t)len);
    ret[len] = 0;
    return true;
}

static bool read_uri(const X509 *x, char ret[CV_CERTIFICATE_URI_MAX + 1]) {
    int critical = -1;
    GENERAL_NAMES *names = X509_get_ext_d2i(x, NID_subject_alt_name, &critical, NULL);
    bool good = names && critical == 1 && copy_uri(names, ret);
    GENERAL_NAMES_free(names);
    return good;
}

static bool read_time(const ASN1_TIME *t, int64_t *ret) {
    int days, seconds;
    ASN1_TIME *epoch = ASN1_TIME_set(NULL, 0);
    bool good = epoch && ASN1_TIME_diff(&days, &seconds, epoch, t) == 1;
    ASN1_TIME_free(epoch);
    if (good)
        *ret = (int64_t)days * 86400 + seconds;
    return good;
}

enum cv_err cv_certificate_read(const uint8_t *der, size_t len, struct cv_certificate *ret) {
    if (len > CV_CERTIFICATE_MAX)
        return CV_ERR_LIMIT;
    X509 *x = parse(der, len);
    bool good = x && X509_get_version(x) == X509_VERSION_3 && understood(x) &&
                read_uri(x, ret->uri) && read_time(X509_get0_notBefore(x), &ret->not_before) &&
                read_time(X509_get0_notAfter(x), &ret->not_after);
    X509_free(x);
    ERR_clear_error();
    return good ? CV_ERR_OK : CV_ERR_MALFORMED;
}

bool cv_certificate_verify(const uint8_t *der, size_t len, const struct cv_dnssec_public *issuer) {
    const struct kind *k = find(cv_dnssec_public_alg(issuer));
    X509 *x = k ? parse(der, len) : NULL;
    EVP_PKEY *key = x ? cv_dnssec_public_pkey(issuer) : NULL;
    bool good = key && X509_get_signature_nid(x) == k->signature && X509_verify(x, key) == 1;
    EVP_PKEY_free(key);
    X509_free(x);
    ERR_clear_error();
    return good;
}

/* ---- making -------------------------------------------------------------------- */

static bool put_uri(X509 *x, const char *uri) {
    GENERAL_NAMES *names = GENERAL_NAMES_new();
    GENERAL_NAME *name = GENERAL_NAME_new();
    ASN1_IA5STRING *text = ASN1_IA5STRING_new();
    bool good = names && name && text && ASN1_STRING_set(text, uri, (int)strlen(uri)) == 1;
    if (good) {
        GENERAL_NAME_set0_value(name, GEN_URI, text);
        text = NULL;
        good = sk_GENERAL_NAME_push(names, name) > 0;
        name = good ? NULL : name;
    }
    good = good && X509_add1_ext_i2d(x, NID_subject_alt_name, names, /* critical= */ 1,
                                     X509V3_ADD_DEFAULT) == 1;
    ASN1_IA5STRING_free(text);
    GENERAL_NAME_free(name);
    GENERAL_NAMES_free(names);
    return good;
}

/* RFC 5280 section 4.1.2.6: with a critical alternative name the subject may be empty. */
static bool fill(X509 *x, EVP_PKEY *key, const struct cv_certificate *what, uint64_t serial) {
    return X509_set_version(x, X509_VERSION_3) == 1 &&
           ASN1_INTEGER_set_uint64(X509_get_serialNumber(x), serial >> 1 | 1) == 1 &&
           X509_NAME_add_entry_by_NID(X509_get_issuer_name(x), NID_commonName, MBSTRING_ASC,
                                      (const unsigned char *)"PPSPP", -1, -1, 0) == 1 &&
           ASN1_TIME_set(X509_getm_notBefore(x), (time_t)what->not_before) &&
           ASN1_TIME_set(X509_getm_notAfter(x), (time_t)what->not_after) &&
           X509_set_pubkey(x, key) == 1 && put_uri(x, what->uri);
}

enum cv_err cv_certificate_issue(const struct cv_dnssec_secret *issuer,
                                 const struct cv_certificate *what, uint64_t serial,
                                 uint8_t ret[CV_CERTIFICATE_MAX], size_t *ret_len) {
    const struct kind *k = find(cv_dnssec_alg(issuer));
    if (!k)
        return CV_ERR_INVAL;
    enum cv_err err = CV_ERR_NOMEM;
    EVP_PKEY *key = cv_dnssec_secret_pkey(issuer);
    X509 *x = X509_new();
    const EVP_MD *digest = k->digest ? EVP_get_digestbyname(k->digest) : NULL;
    if (key && x && fill(x, key, what, serial) && X509_sign(x, key, digest) > 0) {
        int len = i2d_X509(x, NULL);
        uint8_t *p = ret;
        err = len < 0 ? CV_ERR_NOMEM : len > CV_CERTIFICATE_MAX ? CV_ERR_NOBUFS : CV_ERR_OK;
        if (!err)
            *ret_len = (size_t)i2d_X509(x, &p);
    }
    X509_free(x);
    EVP_PKEY_free(key);
    ERR_clear_error();
    return err;
}
