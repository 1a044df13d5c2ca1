/*
 * New keys for live signatures. Of the library crypto_system, because
 * libcrypto throws the dice: engines are given keys and never make them.
 */
#ifndef CULVERT_CRYPTO_DNSSEC_GENERATE_H
#define CULVERT_CRYPTO_DNSSEC_GENERATE_H

#include "crypto/dnssec.h"

/* RSA keys have 2048 bits. CV_ERR_UNKNOWN: algorithm not known; CV_ERR_NOMEM.
 * To be given back with cv_dnssec_secret_free(). */
enum cv_err cv_dnssec_generate(enum cv_dnssec_alg alg, struct cv_dnssec_secret **ret);

#endif
