/*
 * A verifiable oblivious pseudorandom function, RFC 9497 mode 1 (VOPRF) with
 * ristretto255-SHA512, unchanged. What priority tokens are made of: a server
 * that holds a key k computes F(k, input) for a client without learning input,
 * and proves that it used the k whose public key everybody knows. When the
 * client shows (input, F(k, input)) later, the server can check it and cannot
 * tell in which of its evaluations it was made.
 *
 *     client                                    server
 *     cv_voprf_blind(input)      -- blinded -->
 *                                <- evaluated,  cv_voprf_evaluate(blinded), one
 *                                   proof       proof for all of a batch
 *     cv_voprf_check(proof): use nothing of the batch when it says false
 *     cv_voprf_finalize()
 *     ... later:                 -- input,
 *                                   output -->  cv_voprf_output(), compare with cv_equal()
 *
 * Dice are arguments: scalars come from 64 random octets each, by
 * cv_voprf_scalar(), fresh for every blind and every proof. Elements and
 * scalars are 32 octets as ristretto255 encodes them; every element that comes
 * from outside is checked.
 */
#ifndef CULVERT_CRYPTO_VOPRF_H
#define CULVERT_CRYPTO_VOPRF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum {
    CV_VOPRF_ELEMENT = 32,
    CV_VOPRF_SCALAR = 32,
    CV_VOPRF_PROOF = 64,
    CV_VOPRF_OUTPUT = 64,
    CV_VOPRF_INPUT_MAX = 1024, /* the RFC allows 65,535 */
    CV_VOPRF_INFO_MAX = 255,
    CV_VOPRF_BATCH_MAX = 64, /* elements under one proof */
};

struct cv_voprf_secret {
    uint8_t scalar[CV_VOPRF_SCALAR];
    uint8_t public_key[CV_VOPRF_ELEMENT];
};

/* DeriveKeyPair: the same seed and info, the same key. CV_ERR_INVAL: info too long. */
enum cv_err cv_voprf_derive(struct cv_voprf_secret *ret, const uint8_t seed[32], const void *info,
                            size_t len);

/* A scalar uniform to 2^-256 out of 64 random octets. */
void cv_voprf_scalar(uint8_t ret[CV_VOPRF_SCALAR], const uint8_t dice[64]);

/* CV_ERR_INVAL: input too long, or a blind of zero. */
enum cv_err cv_voprf_blind(uint8_t ret[CV_VOPRF_ELEMENT], const void *input, size_t len,
                           const uint8_t blind[CV_VOPRF_SCALAR]);

/*
 * Evaluates n blinded elements (1..CV_VOPRF_BATCH_MAX) and proves it. `r`: a
 * scalar of its own for this proof, never used again: two proofs with one r
 * give the key away. CV_ERR_MALFORMED: an element that is none (nothing is
 * evaluated then). CV_ERR_INVAL: n.
 */
enum cv_err cv_voprf_evaluate(const struct cv_voprf_secret *key,
                              const uint8_t (*blinded)[CV_VOPRF_ELEMENT], size_t n,
                              const uint8_t r[CV_VOPRF_SCALAR],
                              uint8_t (*ret_evaluated)[CV_VOPRF_ELEMENT],
                              uint8_t ret_proof[CV_VOPRF_PROOF]);

/* Were all of these evaluated with the key of `public_key`? */
bool cv_voprf_check(const uint8_t public_key[CV_VOPRF_ELEMENT],
                    const uint8_t (*blinded)[CV_VOPRF_ELEMENT],
                    const uint8_t (*evaluated)[CV_VOPRF_ELEMENT], size_t n,
                    const uint8_t proof[CV_VOPRF_PROOF]);

/* F(k, input) from the checked evaluation of its blinded element.
 * CV_ERR_MALFORMED: no element; CV_ERR_INVAL: as in blind. */
enum cv_err cv_voprf_finalize(uint8_t ret[CV_VOPRF_OUTPUT], const void *input, size_t len,
                              const uint8_t blind[CV_VOPRF_SCALAR],
                              const uint8_t evaluated[CV_VOPRF_ELEMENT]);

/* F(k, input) by whoever holds the key. CV_ERR_INVAL: input too long. */
enum cv_err cv_voprf_output(uint8_t ret[CV_VOPRF_OUTPUT], const struct cv_voprf_secret *key,
                            const void *input, size_t len);

#endif
