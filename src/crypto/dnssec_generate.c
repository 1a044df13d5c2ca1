#include "crypto/dnssec_generate.h"

#include <openssl/ec.h>
#include <openssl/rsa.h>

#include "crypto/dnssec_priv.h"

enum { RSA_BITS = 2048 };

enum cv_err cv_dnssec_generate(enum cv_dnssec_alg alg, struct cv_dnssec_secret **ret) {
    EVP_PKEY *pkey = NULL;
    switch (alg) {
    case CV_DNSSEC_RSASHA1:
    case CV_DNSSEC_RSASHA256:
        pkey = EVP_RSA_gen(RSA_BITS);
        break;
    case CV_DNSSEC_ECDSAP256SHA256:
        pkey = EVP_EC_gen("prime256v1");
        break;
    case CV_DNSSEC_ECDSAP384SHA384:
        pkey = EVP_EC_gen("secp384r1");
        break;
    case CV_DNSSEC_ED25519:
        pkey = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
        break;
    default:
        return CV_ERR_UNKNOWN;
    }
    return pkey ? cv_dnssec_secret_adopt(alg, pkey, ret) : CV_ERR_NOMEM;
}
