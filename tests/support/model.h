/* Seeded dice for tests that compare with a model. Tests of base cannot use
 * crypto's generator (that would be an arrow upwards): SplitMix64 is enough. */
#ifndef CULVERT_TESTS_SUPPORT_MODEL_H
#define CULVERT_TESTS_SUPPORT_MODEL_H

#include <string.h>

#include "base/rng.h"

static inline void model_fill(void *ctx, void *buf, size_t len) {
    uint64_t *state = ctx;
    for (uint8_t *out = buf; len > 0;) {
        uint64_t v = *state += 0x9e3779b97f4a7c15;
        v = (v ^ v >> 30) * 0xbf58476d1ce4e5b9;
        v = (v ^ v >> 27) * 0x94d049bb133111eb;
        v ^= v >> 31;
        size_t n = len < 8 ? len : 8;
        memcpy(out, &v, n);
        out += n;
        len -= n;
    }
}

/* `state` holds the seed and must outlive the dice. */
static inline struct cv_rng model_rng(uint64_t *state) {
    return (struct cv_rng){.fill = model_fill, .ctx = state};
}

#endif
