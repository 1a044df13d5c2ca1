#include "crypto/aead.h"

#include <sodium.h>
#include <string.h>

#include "crypto/aes_priv.h"
#include "crypto/stream.h"

/*
 * The construction of RFC 8439 2.8: block 0 of the stream is Poly1305's key, the
 * text is enciphered from block 1 on. One pass of the stream over a copy gives
 * both, and the copy is what lets open() verify before it writes.
 */
enum { BLOCK = 64 };

struct work {
    uint8_t octets[BLOCK + CV_AEAD_COPIED + BLOCK]; /* block 0, with the key | text | zeros */
};

static void stream(struct work *w, const uint8_t *from, size_t len,
                   const uint8_t nonce[CV_AEAD_NONCE], const uint8_t key[CV_AEAD_KEY]) {
    size_t whole = (len + BLOCK - 1) / BLOCK * BLOCK;
    memset(w->octets, 0, BLOCK);
    if (len) /* else `from` may be NULL */
        memcpy(w->octets + BLOCK, from, len);
    memset(w->octets + BLOCK + len, 0, whole - len);
    cv_stream_xor(w->octets, BLOCK + whole, 0, nonce, key);
}

static void put_le64(uint8_t to[8], uint64_t v) {
    for (unsigned i = 0; i < 8; i++, v >>= 8)
        to[i] = (uint8_t)v;
}

static void make_tag(uint8_t tag[CV_AEAD_TAG], const uint8_t *c, size_t len, const void *ad,
                     size_t ad_len, const uint8_t key[32]) {
    static const uint8_t zeros[16];
    uint8_t lengths[16];
    crypto_onetimeauth_poly1305_state st;
    crypto_onetimeauth_poly1305_init(&st, key);
    if (ad_len) {
        crypto_onetimeauth_poly1305_update(&st, ad, ad_len);
        crypto_onetimeauth_poly1305_update(&st, zeros, (0 - ad_len) & 15);
    }
    crypto_onetimeauth_poly1305_update(&st, c, len);
    crypto_onetimeauth_poly1305_update(&st, zeros, (0 - len) & 15);
    put_le64(lengths, ad_len);
    put_le64(lengths + 8, len);
    crypto_onetimeauth_poly1305_update(&st, lengths, sizeof lengths);
    crypto_onetimeauth_poly1305_final(&st, tag);
}

void cv_aead_seal(uint8_t *c, uint8_t tag[CV_AEAD_TAG], const uint8_t *m, size_t len,
                  const void *ad, size_t ad_len, const uint8_t nonce[CV_AEAD_NONCE],
                  const uint8_t key[CV_AEAD_KEY]) {
    if (len > CV_AEAD_COPIED) {
        crypto_aead_chacha20poly1305_ietf_encrypt_detached(c, tag, NULL, m, len, ad, ad_len, NULL,
                                                           nonce, key);
        return;
    }
    struct work w;
    stream(&w, m, len, nonce, key);
    if (len)
        memcpy(c, w.octets + BLOCK, len);
    make_tag(tag, c, len, ad, ad_len, w.octets);
    sodium_memzero(w.octets, BLOCK);
}

bool cv_aead_open(uint8_t *m, const uint8_t *c, size_t len, const uint8_t tag[CV_AEAD_TAG],
                  const void *ad, size_t ad_len, const uint8_t nonce[CV_AEAD_NONCE],
                  const uint8_t key[CV_AEAD_KEY]) {
    if (len > CV_AEAD_COPIED) {
        /* libsodium wipes the output of a failed open, which in place destroys
         * the ciphertext. Given no output it only verifies. */
        if (crypto_aead_chacha20poly1305_ietf_decrypt_detached(NULL, NULL, c, len, tag, ad, ad_len,
                                                               nonce, key) != 0)
            return false;
        crypto_stream_chacha20_ietf_xor_ic(m, c, len, nonce, 1, key);
        return true;
    }
    struct work w;
    uint8_t want[CV_AEAD_TAG];
    stream(&w, c, len, nonce, key);
    make_tag(want, c, len, ad, ad_len, w.octets);
    bool ok = crypto_verify_16(want, tag) == 0;
    if (ok && len)
        memcpy(m, w.octets + BLOCK, len);
    sodium_memzero(w.octets, BLOCK + len); /* the key, and what a forger made us decipher */
    return ok;
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
    cv_stream_xor(data, len, 0, nonce, key);
}

void cv_chacha20_xor_at(uint8_t *data, size_t len, uint32_t block,
                        const uint8_t nonce[CV_AEAD_NONCE], const uint8_t key[CV_AEAD_KEY]) {
    cv_stream_xor(data, len, block, nonce, key);
}

void cv_hchacha20(uint8_t out[32], const uint8_t in[16], const uint8_t key[CV_AEAD_KEY]) {
    crypto_core_hchacha20(out, in, key, NULL);
}

void cv_aead_forget(void) {
    cv_stream_forget();
    cv_aes_forget();
}
