#include "crypto/hash.h"

#include <assert.h>
#include <openssl/evp.h>
#include <sodium.h>
#include <stdlib.h>

#include "crypto/aes_priv.h"
#include "crypto/stream.h"

enum { ALGS = 5 };

static const struct {
    const char *name;
    size_t len;
} algs[ALGS] = {
    [CV_SHA1] = {"SHA1", 20},     [CV_SHA224] = {"SHA224", 28}, [CV_SHA256] = {"SHA256", 32},
    [CV_SHA384] = {"SHA384", 48}, [CV_SHA512] = {"SHA512", 64},
};

/* Looking an algorithm up by name costs more than hashing a chunk: once. Set
 * by cv_crypto_init and then only read. */
static EVP_MD *fetched[ALGS];

/* One context a thread and algorithm; see cv_crypto_thread_done. */
static _Thread_local EVP_MD_CTX *contexts[ALGS];

void cv_crypto_init(void) {
    if (fetched[0])
        return;
    int sodium = sodium_init();
    assert(sodium >= 0 && "libsodium does not start");
    (void)sodium;
    cv_stream_init();
    cv_aes_init();
    for (int i = ALGS - 1; i >= 0; i--) { /* [0] last: it says that all are there */
        fetched[i] = EVP_MD_fetch(NULL, algs[i].name, NULL);
        assert(fetched[i] && "libcrypto offers no SHA");
    }
}

void cv_crypto_thread_done(void) {
    cv_stream_thread_done();
    cv_aes_thread_done();
    for (int i = 0; i < ALGS; i++) {
        EVP_MD_CTX_free(contexts[i]);
        contexts[i] = NULL;
    }
}

void cv_blake2b_parts(void *out, size_t out_len, const void *key, size_t key_len,
                      const struct cv_part *parts, size_t n) {
    assert(out_len >= 1 && out_len <= CV_BLAKE2B_MAX && key_len <= CV_BLAKE2B_MAX);
    crypto_generichash_blake2b_state st;
    crypto_generichash_blake2b_init(&st, key_len ? key : NULL, key_len, out_len);
    for (size_t i = 0; i < n; i++)
        if (parts[i].len)
            crypto_generichash_blake2b_update(&st, parts[i].data, parts[i].len);
    crypto_generichash_blake2b_final(&st, out, out_len);
    if (key_len) /* the state of a keyed hash stands for the key */
        sodium_memzero(&st, sizeof st);
}

size_t cv_sha_len(enum cv_sha alg) {
    return (unsigned)alg < ALGS ? algs[alg].len : 0;
}

static void begin(EVP_MD_CTX *ctx, enum cv_sha alg) {
    int ok = EVP_DigestInit_ex2(ctx, fetched[alg], NULL);
    assert(ok);
    (void)ok;
}

static EVP_MD_CTX *context(enum cv_sha alg) {
    assert((unsigned)alg < ALGS && fetched[alg] && "cv_crypto_init() first");
    if (!contexts[alg]) {
        contexts[alg] = EVP_MD_CTX_new();
        assert(contexts[alg] && "no memory for a hash context");
    }
    begin(contexts[alg], alg);
    return contexts[alg];
}

void cv_sha(enum cv_sha alg, void *out, const void *data, size_t len) {
    EVP_MD_CTX *ctx = context(alg);
    EVP_DigestUpdate(ctx, data, len);
    EVP_DigestFinal_ex(ctx, out, NULL);
}

void cv_sha2(enum cv_sha alg, void *out, const void *a, size_t a_len, const void *b, size_t b_len) {
    EVP_MD_CTX *ctx = context(alg);
    EVP_DigestUpdate(ctx, a, a_len);
    EVP_DigestUpdate(ctx, b, b_len);
    EVP_DigestFinal_ex(ctx, out, NULL);
}

struct cv_sha_run {
    EVP_MD_CTX *ctx;
    enum cv_sha alg;
};

struct cv_sha_run *cv_sha_run_new(enum cv_sha alg) {
    assert((unsigned)alg < ALGS && fetched[alg] && "cv_crypto_init() first");
    struct cv_sha_run *r = calloc(1, sizeof *r);
    if (!r || !(r->ctx = EVP_MD_CTX_new())) {
        free(r);
        return NULL;
    }
    r->alg = alg;
    begin(r->ctx, alg);
    return r;
}

void cv_sha_run_add(struct cv_sha_run *r, const void *data, size_t len) {
    EVP_DigestUpdate(r->ctx, data, len);
}

void cv_sha_run_end(struct cv_sha_run *r, void *out) {
    EVP_DigestFinal_ex(r->ctx, out, NULL);
    begin(r->ctx, r->alg);
}

struct cv_sha_run *cv_sha_run_free(struct cv_sha_run *r) {
    if (r)
        EVP_MD_CTX_free(r->ctx);
    free(r);
    return NULL;
}
