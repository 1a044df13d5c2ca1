/*
 * ChaCha20 (RFC 8439) by whichever library is faster for the length: libcrypto
 * has code for wide vectors but a price for each call, libsodium the reverse
 * (decision 0040). Private to this folder.
 */
#ifndef CULVERT_CRYPTO_STREAM_H
#define CULVERT_CRYPTO_STREAM_H

#include <stddef.h>
#include <stdint.h>

/* Called by cv_crypto_init(); before it, libsodium does everything. */
void cv_stream_init(void);
void cv_stream_thread_done(void);

/* data XOR= the stream from 64-octet block `block` on. */
void cv_stream_xor(uint8_t *data, size_t len, uint32_t block, const uint8_t nonce[12],
                   const uint8_t key[32]);

/* No key is left in this thread's context. */
void cv_stream_forget(void);

#endif
