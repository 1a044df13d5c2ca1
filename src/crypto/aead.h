/*
 * Authenticated encryption (libsodium, and libcrypto's ChaCha20 for long
 * inputs). Detached tags, so that formats place them where they like; in-place
 * operation (c == m) is allowed everywhere. open() returns false and leaves `m`
 * untouched when the tag does not match.
 */
#ifndef CULVERT_CRYPTO_AEAD_H
#define CULVERT_CRYPTO_AEAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CV_AEAD_KEY    32
#define CV_AEAD_NONCE  12
#define CV_AEAD_TAG    16
#define CV_XAEAD_NONCE 24

/* Up to this length, of every datagram of ours, cv_aead_* takes the fast way. */
#define CV_AEAD_COPIED 1472

/* ChaCha20-Poly1305 of RFC 8439. */
void cv_aead_seal(uint8_t *c, uint8_t tag[CV_AEAD_TAG], const uint8_t *m, size_t len,
                  const void *ad, size_t ad_len, const uint8_t nonce[CV_AEAD_NONCE],
                  const uint8_t key[CV_AEAD_KEY]);
bool cv_aead_open(uint8_t *m, const uint8_t *c, size_t len, const uint8_t tag[CV_AEAD_TAG],
                  const void *ad, size_t ad_len, const uint8_t nonce[CV_AEAD_NONCE],
                  const uint8_t key[CV_AEAD_KEY]);

/* XChaCha20-Poly1305, for random nonces. */
void cv_xaead_seal(uint8_t *c, uint8_t tag[CV_AEAD_TAG], const uint8_t *m, size_t len,
                   const void *ad, size_t ad_len, const uint8_t nonce[CV_XAEAD_NONCE],
                   const uint8_t key[CV_AEAD_KEY]);
bool cv_xaead_open(uint8_t *m, const uint8_t *c, size_t len, const uint8_t tag[CV_AEAD_TAG],
                   const void *ad, size_t ad_len, const uint8_t nonce[CV_XAEAD_NONCE],
                   const uint8_t key[CV_AEAD_KEY]);

/* data XOR= ChaCha20 (RFC 8439 counter 0). */
void cv_chacha20_xor(uint8_t *data, size_t len, const uint8_t nonce[CV_AEAD_NONCE],
                     const uint8_t key[CV_AEAD_KEY]);

/* The same from 64-octet block `block` of the stream on. The AEAD above uses
 * block 0 for its tag and enciphers from block 1 on. */
void cv_chacha20_xor_at(uint8_t *data, size_t len, uint32_t block,
                        const uint8_t nonce[CV_AEAD_NONCE], const uint8_t key[CV_AEAD_KEY]);

/* A thread's cipher contexts, also those of aes.h, keep the key they used last until
 * they use another one. To be called where keys end. */
void cv_aead_forget(void);

/* HChaCha20: 32 octets from a 16-octet input; a fast PRF for header masks. */
void cv_hchacha20(uint8_t out[32], const uint8_t in[16], const uint8_t key[CV_AEAD_KEY]);

#endif
