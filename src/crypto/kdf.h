/*
 * HMAC-BLAKE2b-512 and the HKDF that Noise builds on it (Noise specification,
 * section 4.3). A composition that libsodium does not offer.
 */
#ifndef CULVERT_CRYPTO_KDF_H
#define CULVERT_CRYPTO_KDF_H

#include <stddef.h>
#include <stdint.h>

#define CV_HMAC_LEN 64

void cv_hmac_blake2b(uint8_t out[CV_HMAC_LEN], const void *key, size_t key_len, const void *data,
                     size_t len);

/* Noise HKDF: n outputs (1..3) of 64 octets from a 64-octet chaining key. */
void cv_noise_hkdf(uint8_t out[][CV_HMAC_LEN], size_t n, const uint8_t ck[CV_HMAC_LEN],
                   const void *ikm, size_t ikm_len);

#endif
