/*
 * Signatures of live streams (RFC 7574 sections 6.1 and 8.9): keys and
 * signatures have the forms of DNSSEC, without Base64.
 *
 *   algorithm             public key            signature       from
 *   5  RSASHA1            exponent length,      of the modulus' RFC 3110
 *   8  RSASHA256          exponent, modulus     length          RFC 5702
 *   13 ECDSAP256SHA256    X | Y, 64 octets      r | s, 64       RFC 6605
 *   14 ECDSAP384SHA384    X | Y, 96 octets      r | s, 96       RFC 6605
 *   15 ED25519            32 octets             64              RFC 8080
 *
 * Ed25519 comes from libsodium, the rest from libcrypto. Ed25519 and RSA
 * signatures depend on key and message alone; ECDSA ones differ each time,
 * because libcrypto throws dice of its own: a simulated run that shall repeat
 * to the octet signs with Ed25519. New keys of the other kinds need such dice
 * too and are made by crypto/dnssec_generate.h, outside of all engines.
 */
#ifndef CULVERT_CRYPTO_DNSSEC_H
#define CULVERT_CRYPTO_DNSSEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "crypto/keys.h"

/* Values are the registry's, as in protocol option 5 (RFC 7574 section 7.7). */
enum cv_dnssec_alg {
    CV_DNSSEC_RSASHA1 = 5,
    CV_DNSSEC_RSASHA256 = 8,
    CV_DNSSEC_ECDSAP256SHA256 = 13,
    CV_DNSSEC_ECDSAP384SHA384 = 14,
    CV_DNSSEC_ED25519 = 15,
};

enum {
    CV_DNSSEC_MODULUS_MIN = 64, /* octets: the examples of RFC 5702 have so many */
    CV_DNSSEC_MODULUS_MAX = 512,
    CV_DNSSEC_EXPONENT_MAX = 8, /* octets; libcrypto takes no more with large moduli */
    CV_DNSSEC_PUBLIC_MAX = 1 + CV_DNSSEC_EXPONENT_MAX + CV_DNSSEC_MODULUS_MAX,
    CV_DNSSEC_SIGNATURE_MAX = CV_DNSSEC_MODULUS_MAX,
    CV_DNSSEC_PEM_MAX = 8192,
};

/* Octets of a signature that this key makes. 0: unknown algorithm, or the key
 * has not the algorithm's form. Cheap; for whoever reads a message. */
size_t cv_dnssec_signature_len(enum cv_dnssec_alg alg, const uint8_t *public_key, size_t len);

/* ---- verifying ---- */

struct cv_dnssec_public;

/* Takes a public key in the form above. CV_ERR_UNKNOWN: algorithm not known;
 * CV_ERR_MALFORMED: no key of that form, or no point of the curve; CV_ERR_NOMEM.
 * To be given back with cv_dnssec_public_free(). */
enum cv_err cv_dnssec_public_new(enum cv_dnssec_alg alg, const uint8_t *public_key, size_t len,
                                 struct cv_dnssec_public **ret);
struct cv_dnssec_public *cv_dnssec_public_free(struct cv_dnssec_public *k); /* NULL is allowed */

/* False also when the length is not that of the key's signatures. */
bool cv_dnssec_verify(const struct cv_dnssec_public *k, const void *msg, size_t len,
                      const uint8_t *signature, size_t signature_len);

/* ---- signing ---- */

struct cv_dnssec_secret;

/* Ed25519, from a seed that the caller drew. CV_ERR_NOMEM. */
enum cv_err cv_dnssec_secret_from_seed(const uint8_t seed[CV_KEY], struct cv_dnssec_secret **ret);

/* A private key in PEM (PKCS #8, no password), as `openssl genpkey` writes it.
 * CV_ERR_MALFORMED: not that; CV_ERR_DIFFERS: a key of another kind than `alg`
 * needs, or RSA of less than 1024 or more than 4096 bits; CV_ERR_UNKNOWN:
 * algorithm not known; CV_ERR_NOMEM. */
enum cv_err cv_dnssec_secret_from_pem(enum cv_dnssec_alg alg, const char *pem, size_t len,
                                      struct cv_dnssec_secret **ret);

/* Writes that PEM, with a NUL. CV_ERR_NOBUFS, CV_ERR_NOMEM. The caller wipes it. */
enum cv_err cv_dnssec_secret_to_pem(const struct cv_dnssec_secret *k, char *ret, size_t cap);

/* Wipes. NULL is allowed; returns NULL. */
struct cv_dnssec_secret *cv_dnssec_secret_free(struct cv_dnssec_secret *k);

enum cv_dnssec_alg cv_dnssec_alg(const struct cv_dnssec_secret *k);

/* Its public key; returns the length (<= CV_DNSSEC_PUBLIC_MAX). */
size_t cv_dnssec_public_of(const struct cv_dnssec_secret *k, uint8_t ret[CV_DNSSEC_PUBLIC_MAX]);

/* Returns the length, 0 when libcrypto refuses (out of memory). */
size_t cv_dnssec_sign(const struct cv_dnssec_secret *k, const void *msg, size_t len,
                      uint8_t ret[CV_DNSSEC_SIGNATURE_MAX]);

#endif
