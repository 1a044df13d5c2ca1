#include "crypto/aes.h"

#include <assert.h>
#include <openssl/evp.h>
#include <sodium.h>
#include <string.h>

#include "crypto/aes_priv.h"

enum { GCM, CTR, CIPHERS };

static EVP_CIPHER *fetched[CIPHERS]; /* set once, then only read */
static _Thread_local EVP_CIPHER_CTX *contexts[CIPHERS];

void cv_aes_init(void) {
    if (fetched[GCM])
        return;
    fetched[CTR] = EVP_CIPHER_fetch(NULL, "AES-256-CTR", NULL);
    fetched[GCM] = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
    assert(fetched[GCM] && fetched[CTR] && "libcrypto offers no AES");
}

void cv_aes_thread_done(void) {
    for (int i = 0; i < CIPHERS; i++) {
        EVP_CIPHER_CTX_free(contexts[i]); /* wipes */
        contexts[i] = NULL;
    }
}

bool cv_aes_is_fast(void) {
    return crypto_aead_aes256gcm_is_available() == 1;
}

static EVP_CIPHER_CTX *begin(int which, const uint8_t key[32], const uint8_t *iv, int seal) {
    EVP_CIPHER_CTX **ctx = &contexts[which];
    bool ok = true;
    if (!*ctx) {
        *ctx = EVP_CIPHER_CTX_new();
        ok = *ctx && EVP_CipherInit_ex2(*ctx, fetched[which], NULL, NULL, seal, NULL) == 1;
    }
    ok = ok && EVP_CipherInit_ex2(*ctx, NULL, key, iv, seal, NULL) == 1;
    /* out of memory in the middle of a cell: there is nothing safe to go on with */
    assert(ok && "libcrypto gives no AES context");
    (void)ok;
    return *ctx;
}

static void update(EVP_CIPHER_CTX *ctx, uint8_t *to, const uint8_t *from, size_t len) {
    int n = 0;
    int ok = len == 0 || EVP_CipherUpdate(ctx, to, &n, from, (int)len);
    assert(ok && (size_t)n == len);
    (void)ok;
}

void cv_gcm_seal(uint8_t *c, uint8_t tag[CV_AEAD_TAG], const uint8_t *m, size_t len,
                 const uint8_t nonce[CV_AEAD_NONCE], const uint8_t key[CV_AEAD_KEY]) {
    assert(len <= CV_AES_MAX);
    uint8_t last[16];
    int n = 0;
    EVP_CIPHER_CTX *ctx = begin(GCM, key, nonce, 1);
    update(ctx, c, m, len);
    int ok = EVP_CipherFinal_ex(ctx, last, &n) == 1 &&
             EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, CV_AEAD_TAG, tag) == 1;
    assert(ok && n == 0);
    (void)ok;
}

bool cv_gcm_open(uint8_t *m, const uint8_t *c, size_t len, const uint8_t tag[CV_AEAD_TAG],
                 const uint8_t nonce[CV_AEAD_NONCE], const uint8_t key[CV_AEAD_KEY]) {
    assert(len <= CV_AES_MAX);
    uint8_t plain[CV_AES_MAX], want[CV_AEAD_TAG], last[16];
    int n = 0;
    memcpy(want, tag, sizeof want); /* the call below wants it writable */
    EVP_CIPHER_CTX *ctx = begin(GCM, key, nonce, 0);
    /* into a copy: what a forger made us decipher is shown to nobody */
    update(ctx, plain, c, len);
    bool ok = EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, CV_AEAD_TAG, want) == 1 &&
              EVP_CipherFinal_ex(ctx, last, &n) == 1;
    if (ok && len)
        memcpy(m, plain, len);
    sodium_memzero(plain, len);
    return ok;
}

void cv_aes_xor(uint8_t *data, size_t len, const uint8_t nonce[CV_AEAD_NONCE],
                const uint8_t key[CV_AEAD_KEY]) {
    uint8_t iv[16] = {0};
    memcpy(iv, nonce, CV_AEAD_NONCE);
    update(begin(CTR, key, iv, 1), data, data, len);
}

void cv_aes_forget(void) {
    static const uint8_t nothing[32], iv[16];
    for (int i = 0; i < CIPHERS; i++)
        if (contexts[i])
            (void)begin(i, nothing, iv, 1);
}
