/*
 * AES-256-GCM and the bare AES-256 counter stream (libcrypto), for machines whose
 * processor has instructions for both AES and GHASH: there it takes less than
 * ChaCha20-Poly1305, elsewhere far more (libcrypto then still computes it, in
 * constant time). Detached tags; in place (c == m) is allowed; open() returns
 * false and leaves `m` untouched when the tag does not match. At most
 * CV_AES_MAX octets at once: all ours are datagrams.
 */
#ifndef CULVERT_CRYPTO_AES_H
#define CULVERT_CRYPTO_AES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "crypto/aead.h"

#define CV_AES_MAX 1472

/* Everything here after cv_crypto_init(). Does this processor have the instructions? */
bool cv_aes_is_fast(void);

/* NIST SP 800-38D with a nonce of 96 bits; no additional data. */
void cv_gcm_seal(uint8_t *c, uint8_t tag[CV_AEAD_TAG], const uint8_t *m, size_t len,
                 const uint8_t nonce[CV_AEAD_NONCE], const uint8_t key[CV_AEAD_KEY]);
bool cv_gcm_open(uint8_t *m, const uint8_t *c, size_t len, const uint8_t tag[CV_AEAD_TAG],
                 const uint8_t nonce[CV_AEAD_NONCE], const uint8_t key[CV_AEAD_KEY]);

/* data XOR= AES-256 of nonce | 0, nonce | 1, ... (u32, big-endian). Never under a
 * key that cv_gcm_* uses: the streams overlap. */
void cv_aes_xor(uint8_t *data, size_t len, const uint8_t nonce[CV_AEAD_NONCE],
                const uint8_t key[CV_AEAD_KEY]);

#endif
