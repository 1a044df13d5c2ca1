#include "crypto/siphash.h"

#include <sodium.h>

uint64_t cv_siphash(const uint8_t key[CV_SIPHASH_KEY], const void *data, size_t len) {
    uint8_t out[crypto_shorthash_siphash24_BYTES];
    crypto_shorthash_siphash24(out, data, len, key);
    uint64_t v = 0;
    for (int i = 7; i >= 0; i--)
        v = v << 8 | out[i];
    return v;
}

uint64_t cv_siphash_map(const void *ctx, const void *key, size_t len) {
    return cv_siphash(ctx, key, len);
}
