/*
 * SipHash-2-4, 64 bit: hash maps keyed against flooding (base/map.h), link
 * header tags and number masks of the tunnel.
 */
#ifndef CULVERT_CRYPTO_SIPHASH_H
#define CULVERT_CRYPTO_SIPHASH_H

#include <stddef.h>
#include <stdint.h>

#define CV_SIPHASH_KEY 16

/* The 8 octets of the result as a little-endian integer. */
uint64_t cv_siphash(const uint8_t key[CV_SIPHASH_KEY], const void *data, size_t len);

/* Fits cv_map_hash_fn: ctx is a key of CV_SIPHASH_KEY octets. */
uint64_t cv_siphash_map(const void *ctx, const void *key, size_t len);

#endif
