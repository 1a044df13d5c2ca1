#include "crypto/kdf.h"

#include <assert.h>
#include <sodium.h>
#include <string.h>

enum { BLOCK = 128 }; /* of BLAKE2b */

/* HMAC (RFC 2104) over two strings in a row. */
static void hmac(uint8_t out[CV_HMAC_LEN], const void *key, size_t key_len, const void *a,
                 size_t a_len, const void *b, size_t b_len) {
    uint8_t pad[BLOCK] = {0}, inner[CV_HMAC_LEN];
    crypto_generichash_blake2b_state st;

    if (key_len > BLOCK)
        crypto_generichash_blake2b(pad, CV_HMAC_LEN, key, key_len, NULL, 0);
    else if (key_len)
        memcpy(pad, key, key_len);
    for (int i = 0; i < BLOCK; i++)
        pad[i] ^= 0x36;
    crypto_generichash_blake2b_init(&st, NULL, 0, CV_HMAC_LEN);
    crypto_generichash_blake2b_update(&st, pad, BLOCK);
    if (a_len)
        crypto_generichash_blake2b_update(&st, a, a_len);
    if (b_len)
        crypto_generichash_blake2b_update(&st, b, b_len);
    crypto_generichash_blake2b_final(&st, inner, sizeof inner);

    for (int i = 0; i < BLOCK; i++)
        pad[i] ^= 0x36 ^ 0x5c;
    crypto_generichash_blake2b_init(&st, NULL, 0, CV_HMAC_LEN);
    crypto_generichash_blake2b_update(&st, pad, BLOCK);
    crypto_generichash_blake2b_update(&st, inner, sizeof inner);
    crypto_generichash_blake2b_final(&st, out, CV_HMAC_LEN);

    sodium_memzero(pad, sizeof pad);
    sodium_memzero(inner, sizeof inner);
    sodium_memzero(&st, sizeof st);
}

void cv_hmac_blake2b(uint8_t out[CV_HMAC_LEN], const void *key, size_t key_len, const void *data,
                     size_t len) {
    hmac(out, key, key_len, data, len, NULL, 0);
}

void cv_noise_hkdf(uint8_t out[][CV_HMAC_LEN], size_t n, const uint8_t ck[CV_HMAC_LEN],
                   const void *ikm, size_t ikm_len) {
    assert(n >= 1 && n <= 3);
    uint8_t temp[CV_HMAC_LEN];
    hmac(temp, ck, CV_HMAC_LEN, ikm, ikm_len, NULL, 0);
    for (size_t i = 0; i < n; i++) {
        uint8_t number = (uint8_t)(i + 1);
        hmac(out[i], temp, sizeof temp, i ? out[i - 1] : NULL, i ? CV_HMAC_LEN : 0, &number, 1);
    }
    sodium_memzero(temp, sizeof temp);
}
