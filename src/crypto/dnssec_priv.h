/* What dnssec.c shares with the makers of keys; for nobody else. */
#ifndef CULVERT_CRYPTO_DNSSEC_PRIV_H
#define CULVERT_CRYPTO_DNSSEC_PRIV_H

#include <openssl/evp.h>

#include "crypto/dnssec.h"

/* Takes over `pkey`, also on failure. Errors as of cv_dnssec_secret_from_pem(). */
enum cv_err cv_dnssec_secret_adopt(enum cv_dnssec_alg alg, EVP_PKEY *pkey,
                                   struct cv_dnssec_secret **ret);

#endif
