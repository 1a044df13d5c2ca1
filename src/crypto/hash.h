/*
 * Hash functions: BLAKE2b for culvert's own formats (libsodium), the SHA
 * family for PPSPP and the DHT (libcrypto, which has SHA-NI code paths;
 * libsodium has not: 0.76 against 3.26 us for 1280 octets of SHA-256).
 */
#ifndef CULVERT_CRYPTO_HASH_H
#define CULVERT_CRYPTO_HASH_H

#include <stddef.h>
#include <stdint.h>

/* Must be called once before anything else of crypto/. Idempotent. Aborts with
 * a message when the libraries do not load: nothing can work without them. */
void cv_crypto_init(void);

/* Gives back the calling thread's hash and cipher contexts. A thread that hashed
 * or enciphered calls it last before it ends; the main thread need not. Both are
 * allowed again afterwards. */
void cv_crypto_thread_done(void);

#define CV_BLAKE2B_MAX 64

/* One octet string of a hash input. */
struct cv_part {
    const void *data;
    size_t len;
};

/* BLAKE2b of out_len (1..64) octets over the concatenation of n parts, keyed
 * when key_len (0..64) is not 0. */
void cv_blake2b_parts(void *out, size_t out_len, const void *key, size_t key_len,
                      const struct cv_part *parts, size_t n);

/* The same, written in place:
 *     CV_BLAKE2B(out, 32, NULL, 0, {"label", 5}, {buf, len}); */
#define CV_BLAKE2B(out, out_len, key, key_len, ...)                                                \
    cv_blake2b_parts((out), (out_len), (key), (key_len), (const struct cv_part[]){__VA_ARGS__},    \
                     sizeof((const struct cv_part[]){__VA_ARGS__}) / sizeof(struct cv_part))

/* Values are the Merkle Hash Function numbers of RFC 7574 section 7.6. */
enum cv_sha {
    CV_SHA1 = 0,
    CV_SHA224 = 1,
    CV_SHA256 = 2,
    CV_SHA384 = 3,
    CV_SHA512 = 4,
};

#define CV_SHA_MAX 64

/* 20, 28, 32, 48 or 64; 0 for an unknown value. */
size_t cv_sha_len(enum cv_sha alg);

/* Hash of one buffer; `out` holds cv_sha_len(alg). Reuses one context a
 * thread and algorithm; only the first call of a thread allocates. */
void cv_sha(enum cv_sha alg, void *out, const void *data, size_t len);

/* Hash of two buffers in a row (Merkle inner nodes). */
void cv_sha2(enum cv_sha alg, void *out, const void *a, size_t a_len, const void *b, size_t b_len);

/* Running hash, for files. Free with cv_sha_run_free(). NULL: out of memory. */
struct cv_sha_run;
struct cv_sha_run *cv_sha_run_new(enum cv_sha alg);
void cv_sha_run_add(struct cv_sha_run *r, const void *data, size_t len);
void cv_sha_run_end(struct cv_sha_run *r, void *out); /* and begins anew */
struct cv_sha_run *cv_sha_run_free(struct cv_sha_run *r);

#endif
