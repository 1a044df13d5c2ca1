#include "crypto/dnssec.h"

#include <assert.h>
#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ecdsa.h>
#include <openssl/param_build.h>
#include <openssl/pem.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/dnssec_priv.h"

/* ---- algorithms ---------------------------------------------------------------- */

enum kind { RSA_KEY, EC_POINT_KEY, ED_KEY };

static const struct alg {
    enum cv_dnssec_alg number;
    enum kind kind;
    const char *digest, *group;
    size_t coordinate; /* octets of X, Y, r and s */
} algs[] = {
    {CV_DNSSEC_RSASHA1, RSA_KEY, "SHA1", NULL, 0},
    {CV_DNSSEC_RSASHA256, RSA_KEY, "SHA256", NULL, 0},
    {CV_DNSSEC_ECDSAP256SHA256, EC_POINT_KEY, "SHA256", "prime256v1", 32},
    {CV_DNSSEC_ECDSAP384SHA384, EC_POINT_KEY, "SHA384", "secp384r1", 48},
    {CV_DNSSEC_ED25519, ED_KEY, NULL, NULL, 0},
};

enum { COORDINATE_MAX = 48 };

static const struct alg *find(enum cv_dnssec_alg number) {
    for (size_t i = 0; i < sizeof algs / sizeof *algs; i++)
        if (algs[i].number == number)
            return &algs[i];
    return NULL;
}

/* RFC 3110 section 2: a length of one octet, or a zero and two; no leading zeros. */
struct rsa_parts {
    const uint8_t *exponent, *modulus;
    size_t exponent_len, modulus_len;
};

static bool rsa_parts(const uint8_t *key, size_t len, struct rsa_parts *ret) {
    if (len < 1)
        return false;
    size_t head = 1, exponent = key[0];
    if (exponent == 0) {
        if (len < 3)
            return false;
        head = 3;
        exponent = (size_t)key[1] << 8 | key[2];
        if (exponent < 256)
            return false;
    }
    if (exponent == 0 || exponent > CV_DNSSEC_EXPONENT_MAX || len < head + exponent)
        return false;
    *ret = (struct rsa_parts){key + head, key + head + exponent, exponent, len - head - exponent};
    return ret->modulus_len >= CV_DNSSEC_MODULUS_MIN && ret->modulus_len <= CV_DNSSEC_MODULUS_MAX &&
           ret->exponent[0] != 0 && ret->modulus[0] != 0;
}

size_t cv_dnssec_signature_len(enum cv_dnssec_alg number, const uint8_t *public_key, size_t len) {
    const struct alg *a = find(number);
    struct rsa_parts parts;
    if (!a)
        return 0;
    switch (a->kind) {
    case RSA_KEY:
        return rsa_parts(public_key, len, &parts) ? parts.modulus_len : 0;
    case EC_POINT_KEY:
        return len == 2 * a->coordinate ? 2 * a->coordinate : 0;
    case ED_KEY:
        return len == CV_KEY ? CV_SIGNATURE : 0;
    }
    return 0;
}

/* ---- verifying ------------------------------------------------------------------ */

struct cv_dnssec_public {
    const struct alg *alg;
    size_t signature_len;
    EVP_PKEY *pkey;     /* RSA, EC */
    uint8_t ed[CV_KEY]; /* Ed25519 */
};

static EVP_PKEY *from_params(const char *type, OSSL_PARAM_BLD *build) {
    OSSL_PARAM *params = OSSL_PARAM_BLD_to_param(build);
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
    EVP_PKEY *pkey = NULL;
    if (!params || !ctx || EVP_PKEY_fromdata_init(ctx) != 1 ||
        EVP_PKEY_fromdata(ctx, &pkey, EVP_PKEY_PUBLIC_KEY, params) != 1)
        pkey = NULL;
    EVP_PKEY_CTX_free(ctx);
    OSSL_PARAM_free(params);
    return pkey;
}

static EVP_PKEY *rsa_public(const uint8_t *key, size_t len) {
    struct rsa_parts parts;
    if (!rsa_parts(key, len, &parts))
        return NULL;
    OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
    BIGNUM *n = BN_bin2bn(parts.modulus, (int)parts.modulus_len, NULL);
    BIGNUM *e = BN_bin2bn(parts.exponent, (int)parts.exponent_len, NULL);
    EVP_PKEY *pkey = NULL;
    if (build && n && e && OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_N, n) == 1 &&
        OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_E, e) == 1)
        pkey = from_params("RSA", build);
    BN_free(n);
    BN_free(e);
    OSSL_PARAM_BLD_free(build);
    return pkey;
}

static EVP_PKEY *ec_public(const struct alg *a, const uint8_t *key) {
    uint8_t point[1 + 2 * COORDINATE_MAX] = {4}; /* uncompressed */
    memcpy(point + 1, key, 2 * a->coordinate);
    OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
    EVP_PKEY *pkey = NULL;
    if (build &&
        OSSL_PARAM_BLD_push_utf8_string(build, OSSL_PKEY_PARAM_GROUP_NAME, a->group, 0) == 1 &&
        OSSL_PARAM_BLD_push_octet_string(build, OSSL_PKEY_PARAM_PUB_KEY, point,
                                         1 + 2 * a->coordinate) == 1)
        pkey = from_params("EC", build);
    OSSL_PARAM_BLD_free(build);
    return pkey;
}

enum cv_err cv_dnssec_public_new(enum cv_dnssec_alg number, const uint8_t *public_key, size_t len,
                                 struct cv_dnssec_public **ret) {
    const struct alg *a = find(number);
    if (!a)
        return CV_ERR_UNKNOWN;
    size_t signature_len = cv_dnssec_signature_len(number, public_key, len);
    if (signature_len == 0)
        return CV_ERR_MALFORMED;
    struct cv_dnssec_public *k = calloc(1, sizeof *k);
    if (!k)
        return CV_ERR_NOMEM;
    k->alg = a;
    k->signature_len = signature_len;
    if (a->kind == ED_KEY)
        memcpy(k->ed, public_key, CV_KEY);
    else
        k->pkey = a->kind == RSA_KEY ? rsa_public(public_key, len) : ec_public(a, public_key);
    if (a->kind != ED_KEY && !k->pkey) {
        free(k);
        return CV_ERR_MALFORMED;
    }
    *ret = k;
    return CV_ERR_OK;
}

enum cv_dnssec_alg cv_dnssec_public_alg(const struct cv_dnssec_public *k) {
    return k->alg->number;
}

static EVP_PKEY *shared(EVP_PKEY *pkey) {
    return EVP_PKEY_up_ref(pkey) == 1 ? pkey : NULL;
}

EVP_PKEY *cv_dnssec_public_pkey(const struct cv_dnssec_public *k) {
    if (k->alg->kind == ED_KEY)
        return EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, k->ed, CV_KEY);
    return shared(k->pkey);
}

struct cv_dnssec_public *cv_dnssec_public_free(struct cv_dnssec_public *k) {
    if (k)
        EVP_PKEY_free(k->pkey);
    free(k);
    return NULL;
}

/* r | s in the DER form that libcrypto reads; returns the length, 0 on failure.
 * `der` is to be given back with OPENSSL_free(). */
static int der_of(const struct alg *a, const uint8_t *rs, unsigned char **der) {
    ECDSA_SIG *sig = ECDSA_SIG_new();
    BIGNUM *r = BN_bin2bn(rs, (int)a->coordinate, NULL);
    BIGNUM *s = BN_bin2bn(rs + a->coordinate, (int)a->coordinate, NULL);
    *der = NULL;
    if (!sig || !r || !s || ECDSA_SIG_set0(sig, r, s) != 1) {
        BN_free(r);
        BN_free(s);
        ECDSA_SIG_free(sig);
        return 0;
    }
    int len = i2d_ECDSA_SIG(sig, der);
    ECDSA_SIG_free(sig);
    return len > 0 ? len : 0;
}

static bool evp_verify(const struct cv_dnssec_public *k, const void *msg, size_t len,
                       const uint8_t *signature, size_t signature_len) {
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool valid =
        ctx && EVP_DigestVerifyInit_ex(ctx, NULL, k->alg->digest, NULL, NULL, k->pkey, NULL) == 1 &&
        EVP_DigestVerify(ctx, signature, signature_len, msg, len) == 1;
    EVP_MD_CTX_free(ctx);
    return valid;
}

bool cv_dnssec_verify(const struct cv_dnssec_public *k, const void *msg, size_t len,
                      const uint8_t *signature, size_t signature_len) {
    if (signature_len != k->signature_len)
        return false;
    if (k->alg->kind == ED_KEY)
        return cv_ed25519_verify(signature, k->ed, "", msg, len);
    if (k->alg->kind == RSA_KEY)
        return evp_verify(k, msg, len, signature, signature_len);
    unsigned char *der;
    int der_len = der_of(k->alg, signature, &der);
    bool valid = der_len && evp_verify(k, msg, len, der, (size_t)der_len);
    OPENSSL_free(der);
    return valid;
}

/* ---- signing -------------------------------------------------------------------- */

struct cv_dnssec_secret {
    const struct alg *alg;
    EVP_PKEY *pkey; /* RSA, EC */
    struct cv_ed25519_secret ed_secret;
};

enum cv_err cv_dnssec_secret_from_seed(const uint8_t seed[CV_KEY], struct cv_dnssec_secret **ret) {
    struct cv_dnssec_secret *k = calloc(1, sizeof *k);
    if (!k)
        return CV_ERR_NOMEM;
    k->alg = find(CV_DNSSEC_ED25519);
    cv_ed25519_from_seed(&k->ed_secret, seed);
    *ret = k;
    return CV_ERR_OK;
}

/* The key is what the algorithm needs. */
static bool fits(const struct alg *a, EVP_PKEY *pkey) {
    char group[32];
    size_t len;
    switch (a->kind) {
    case RSA_KEY:
        return EVP_PKEY_is_a(pkey, "RSA") && EVP_PKEY_get_bits(pkey) >= 1024 &&
               EVP_PKEY_get_bits(pkey) <= 8 * CV_DNSSEC_MODULUS_MAX;
    case EC_POINT_KEY:
        return EVP_PKEY_is_a(pkey, "EC") &&
               EVP_PKEY_get_group_name(pkey, group, sizeof group, &len) == 1 &&
               strcmp(group, a->group) == 0;
    case ED_KEY:
        return EVP_PKEY_is_a(pkey, "ED25519");
    }
    return false;
}

static enum cv_err adopt_seed(EVP_PKEY *pkey, struct cv_dnssec_secret **ret) {
    uint8_t seed[CV_KEY];
    size_t len = sizeof seed;
    enum cv_err err = EVP_PKEY_get_raw_private_key(pkey, seed, &len) == 1 && len == sizeof seed
                          ? cv_dnssec_secret_from_seed(seed, ret)
                          : CV_ERR_MALFORMED;
    cv_wipe(seed, sizeof seed);
    return err;
}

enum cv_err cv_dnssec_secret_adopt(enum cv_dnssec_alg number, EVP_PKEY *pkey,
                                   struct cv_dnssec_secret **ret) {
    const struct alg *a = find(number);
    if (!a || !fits(a, pkey)) {
        EVP_PKEY_free(pkey);
        return a ? CV_ERR_DIFFERS : CV_ERR_UNKNOWN;
    }
    if (a->kind == ED_KEY) {
        enum cv_err err = adopt_seed(pkey, ret);
        EVP_PKEY_free(pkey);
        return err;
    }
    struct cv_dnssec_secret *k = calloc(1, sizeof *k);
    if (!k) {
        EVP_PKEY_free(pkey);
        return CV_ERR_NOMEM;
    }
    k->alg = a;
    k->pkey = pkey;
    *ret = k;
    return CV_ERR_OK;
}

/* Nobody is asked for a password: an encrypted key is refused. */
static int no_password(char *buf, int size, int writing, void *ctx) {
    (void)buf, (void)size, (void)writing, (void)ctx;
    return -1;
}

enum cv_err cv_dnssec_secret_from_pem(enum cv_dnssec_alg number, const char *pem, size_t len,
                                      struct cv_dnssec_secret **ret) {
    if (!find(number))
        return CV_ERR_UNKNOWN;
    if (len > CV_DNSSEC_PEM_MAX)
        return CV_ERR_MALFORMED;
    BIO *bio = BIO_new_mem_buf(pem, (int)len);
    if (!bio)
        return CV_ERR_NOMEM;
    EVP_PKEY *pkey = PEM_read_bio_PrivateKey(bio, NULL, no_password, NULL);
    BIO_free(bio);
    return pkey ? cv_dnssec_secret_adopt(number, pkey, ret) : CV_ERR_MALFORMED;
}

EVP_PKEY *cv_dnssec_secret_pkey(const struct cv_dnssec_secret *k) {
    if (k->alg->kind == ED_KEY)
        return EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, k->ed_secret.seed, CV_KEY);
    return shared(k->pkey);
}

enum cv_err cv_dnssec_secret_to_pem(const struct cv_dnssec_secret *k, char *ret, size_t cap) {
    EVP_PKEY *pkey = cv_dnssec_secret_pkey(k);
    BIO *bio = BIO_new(BIO_s_secmem());
    enum cv_err err = CV_ERR_NOMEM;
    char *text;
    if (pkey && bio && PEM_write_bio_PKCS8PrivateKey(bio, pkey, NULL, NULL, 0, NULL, NULL) == 1) {
        long len = BIO_get_mem_data(bio, &text);
        err = len >= 0 && (size_t)len < cap ? CV_ERR_OK : CV_ERR_NOBUFS;
        if (!err) {
            memcpy(ret, text, (size_t)len);
            ret[len] = 0;
        }
    }
    BIO_free(bio);
    EVP_PKEY_free(pkey);
    return err;
}

struct cv_dnssec_secret *cv_dnssec_secret_free(struct cv_dnssec_secret *k) {
    if (k) {
        EVP_PKEY_free(k->pkey); /* libcrypto wipes it */
        cv_wipe(k, sizeof *k);
    }
    free(k);
    return NULL;
}

enum cv_dnssec_alg cv_dnssec_alg(const struct cv_dnssec_secret *k) {
    return k->alg->number;
}

static size_t rsa_public_of(EVP_PKEY *pkey, uint8_t *ret) {
    BIGNUM *n = NULL, *e = NULL;
    size_t len = 0;
    if (EVP_PKEY_get_bn_param(pkey, OSSL_PKEY_PARAM_RSA_N, &n) == 1 &&
        EVP_PKEY_get_bn_param(pkey, OSSL_PKEY_PARAM_RSA_E, &e) == 1 &&
        BN_num_bytes(e) <= CV_DNSSEC_EXPONENT_MAX && BN_num_bytes(n) <= CV_DNSSEC_MODULUS_MAX) {
        ret[0] = (uint8_t)BN_num_bytes(e);
        len = 1 + (size_t)BN_bn2bin(e, ret + 1);
        len += (size_t)BN_bn2bin(n, ret + len);
    }
    BN_free(n);
    BN_free(e);
    return len;
}

static size_t ec_public_of(const struct alg *a, EVP_PKEY *pkey, uint8_t *ret) {
    BIGNUM *x = NULL, *y = NULL;
    size_t len = 0;
    int width = (int)a->coordinate;
    if (EVP_PKEY_get_bn_param(pkey, OSSL_PKEY_PARAM_EC_PUB_X, &x) == 1 &&
        EVP_PKEY_get_bn_param(pkey, OSSL_PKEY_PARAM_EC_PUB_Y, &y) == 1 &&
        BN_bn2binpad(x, ret, width) == width && BN_bn2binpad(y, ret + width, width) == width)
        len = 2 * a->coordinate;
    BN_free(x);
    BN_free(y);
    return len;
}

size_t cv_dnssec_public_of(const struct cv_dnssec_secret *k, uint8_t ret[CV_DNSSEC_PUBLIC_MAX]) {
    if (k->alg->kind == RSA_KEY)
        return rsa_public_of(k->pkey, ret);
    if (k->alg->kind == EC_POINT_KEY)
        return ec_public_of(k->alg, k->pkey, ret);
    memcpy(ret, k->ed_secret.public_key, CV_KEY);
    return CV_KEY;
}

/* libcrypto's DER signature as r | s. */
static size_t rs_of(const struct alg *a, const uint8_t *der, size_t len, uint8_t *ret) {
    ECDSA_SIG *sig = d2i_ECDSA_SIG(NULL, &der, (long)len);
    int width = (int)a->coordinate;
    bool ok = sig && BN_bn2binpad(ECDSA_SIG_get0_r(sig), ret, width) == width &&
              BN_bn2binpad(ECDSA_SIG_get0_s(sig), ret + width, width) == width;
    ECDSA_SIG_free(sig);
    return ok ? 2 * a->coordinate : 0;
}

size_t cv_dnssec_sign(const struct cv_dnssec_secret *k, const void *msg, size_t len,
                      uint8_t ret[CV_DNSSEC_SIGNATURE_MAX]) {
    if (k->alg->kind == ED_KEY) {
        cv_ed25519_sign(ret, &k->ed_secret, "", msg, len);
        return CV_SIGNATURE;
    }
    uint8_t sig[CV_DNSSEC_SIGNATURE_MAX];
    size_t sig_len = sizeof sig;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool ok = ctx &&
              EVP_DigestSignInit_ex(ctx, NULL, k->alg->digest, NULL, NULL, k->pkey, NULL) == 1 &&
              EVP_DigestSign(ctx, sig, &sig_len, msg, len) == 1;
    EVP_MD_CTX_free(ctx);
    if (!ok)
        return 0;
    if (k->alg->kind == EC_POINT_KEY)
        return rs_of(k->alg, sig, sig_len, ret);
    memcpy(ret, sig, sig_len);
    return sig_len;
}
