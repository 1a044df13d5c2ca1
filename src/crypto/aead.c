#include "crypto/aead.h"

#include <sodium.h>

void cv_aead_seal(uint8_t *c, uint8_t tag[CV_AEAD_TAG], const uint8_t *m, size_t len,
                  const void *ad, size_t ad_len, const uint8_t nonce[CV_AEAD_NONCE],
                  const uint8_t key[CV_AEAD_KEY]) {
    crypto_aead_chacha20poly1305_ietf_encrypt_detached(c, tag, NULL, m, len, ad, ad_len, NULL,
                                                       nonce, key);
}

/* libsodium wipes the output of a failed open, which in place destroys the
 * ciphertext. Given no output it only verifies; decryption is then the stream
 * from block 1 on (RFC 8439 2.8), at the cost of one more key set-up. */
bool cv_aead_open(uint8_t *m, const uint8_t *c, size_t len, const uint8_t tag[CV_AEAD_TAG],
                  const void *ad, size_t ad_len, const uint8_t nonce[CV_AEAD_NONCE],
                  const uint8_t key[CV_AEAD_KEY]) {
    if (crypto_aead_chacha20poly1305_ietf_decrypt_detached(NULL, NULL, c, len, tag, ad, ad_len,
                                                           nonce, key) != 0)
        return false;
    crypto_stream_chacha20_ietf_xor_ic(m, c, len, nonce, 1, key);
    return true;
}

void cv_xaead_seal(uint8_t *c, uint8_t tag[CV_AEAD_TAG], const uint8_t *m, size_t len,
                   const void *ad, size_t ad_len, const uint8_t nonce[CV_XAEAD_NONCE],
                   const uint8_t key[CV_AEAD_KEY]) {
    crypto_aead_xchacha20poly1305_ietf_encrypt_detached(c, tag, NULL, m, len, ad, ad_len, NULL,
                                                        nonce, key);
}

bool cv_xaead_open(uint8_t *m, const uint8_t *c, size_t len, const uint8_t tag[CV_AEAD_TAG],
                   const void *ad, size_t ad_len, const uint8_t nonce[CV_XAEAD_NONCE],
                   const uint8_t key[CV_AEAD_KEY]) {
    if (crypto_aead_xchacha20poly1305_ietf_decrypt_detached(NULL, NULL, c, len, tag, ad, ad_len,
                                                            nonce, key) != 0)
        return false;
    crypto_stream_xchacha20_xor_ic(m, c, len, nonce, 1, key);
    return true;
}

void cv_chacha20_xor(uint8_t *data, size_t len, const uint8_t nonce[CV_AEAD_NONCE],
                     const uint8_t key[CV_AEAD_KEY]) {
    crypto_stream_chacha20_ietf_xor(data, data, len, nonce, key);
}

void cv_chacha20_xor_at(uint8_t *data, size_t len, uint32_t block,
                        const uint8_t nonce[CV_AEAD_NONCE], const uint8_t key[CV_AEAD_KEY]) {
    crypto_stream_chacha20_ietf_xor_ic(data, data, len, nonce, block, key);
}

void cv_hchacha20(uint8_t out[32], const uint8_t in[16], const uint8_t key[CV_AEAD_KEY]) {
    crypto_core_hchacha20(out, in, key, NULL);
}
