#include "crypto/stream.h"

#include <assert.h>
#include <openssl/evp.h>
#include <sodium.h>
#include <stdbool.h>
#include <string.h>

enum {
    BLOCK = 64,
    /* Shorter than this, setting libcrypto's context up costs more than it gains. */
    LONG = 256,
    /* What its widest code takes at once. Given more in one call than a multiple
     * of this, it does the rest block by block. */
    STEP = 1024,
};

static EVP_CIPHER *fetched; /* set once, then only read */
static _Thread_local EVP_CIPHER_CTX *context;

void cv_stream_init(void) {
    if (!fetched)
        fetched = EVP_CIPHER_fetch(NULL, "ChaCha20", NULL); /* NULL: libsodium alone */
}

void cv_stream_thread_done(void) {
    EVP_CIPHER_CTX_free(context); /* wipes */
    context = NULL;
}

static bool begin(uint32_t block, const uint8_t nonce[12], const uint8_t key[32]) {
    if (!context) {
        context = fetched ? EVP_CIPHER_CTX_new() : NULL;
        if (context && !EVP_EncryptInit_ex2(context, fetched, NULL, NULL, NULL))
            cv_stream_thread_done();
        if (!context)
            return false;
    }
    uint8_t iv[16]; /* counter u32 little-endian | nonce */
    for (unsigned i = 0; i < 4; i++, block >>= 8)
        iv[i] = (uint8_t)block;
    memcpy(iv + 4, nonce, 12);
    return EVP_EncryptInit_ex2(context, NULL, key, iv, NULL) == 1;
}

static void update(uint8_t *data, size_t len) {
    int n = 0;
    int ok = len == 0 || EVP_EncryptUpdate(context, data, &n, data, (int)len);
    assert(ok && (size_t)n == len);
    (void)ok;
}

void cv_stream_xor(uint8_t *data, size_t len, uint32_t block, const uint8_t nonce[12],
                   const uint8_t key[32]) {
    if (len < LONG || !begin(block, nonce, key)) {
        crypto_stream_chacha20_ietf_xor_ic(data, data, len, nonce, block, key);
        return;
    }
    for (; len >= STEP; data += STEP, len -= STEP)
        update(data, STEP);
    size_t whole = len - len % BLOCK;
    update(data, whole);
    if (len > whole) { /* a block that is not whole takes a slow way */
        uint8_t last[BLOCK] = {0};
        memcpy(last, data + whole, len - whole);
        update(last, sizeof last);
        memcpy(data + whole, last, len - whole);
    }
}

void cv_stream_forget(void) {
    static const uint8_t nothing[32];
    if (context)
        (void)begin(0, nothing, nothing);
}
