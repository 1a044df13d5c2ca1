/* What dnssec.c shares with the makers of keys and of certificates; for nobody else. */
#ifndef CULVERT_CRYPTO_DNSSEC_PRIV_H
#define CULVERT_CRYPTO_DNSSEC_PRIV_H

#include <openssl/evp.h>

#include "crypto/dnssec.h"

/* Takes over `pkey`, also on failure. Errors as of cv_dnssec_secret_from_pem(). */
enum cv_err cv_dnssec_secret_adopt(enum cv_dnssec_alg alg, EVP_PKEY *pkey,
                                   struct cv_dnssec_secret **ret);

enum cv_dnssec_alg cv_dnssec_public_alg(const struct cv_dnssec_public *k);

/* The keys as libcrypto has them; to be given back with EVP_PKEY_free(). NULL: out of
 * memory. */
EVP_PKEY *cv_dnssec_public_pkey(const struct cv_dnssec_public *k);
EVP_PKEY *cv_dnssec_secret_pkey(const struct cv_dnssec_secret *k);

#endif
