/*
 * Dice as an argument. In production fill() is the system's random source
 * (crypto/rng_system.h); in the simulator, tests and fuzzers a seeded
 * generator (crypto/rng_seeded.h), so that every failure replays.
 */
#ifndef CULVERT_BASE_RNG_H
#define CULVERT_BASE_RNG_H

#include <stddef.h>
#include <stdint.h>

/* Borrowed by whoever is given one; must outlive the borrower. */
struct cv_rng {
    void (*fill)(void *ctx, void *buf, size_t len); /* never fails */
    void *ctx;
};

static inline void cv_rng_fill(const struct cv_rng *rng, void *buf, size_t len) {
    rng->fill(rng->ctx, buf, len);
}

static inline uint32_t cv_rng_u32(const struct cv_rng *rng) {
    uint32_t v;
    rng->fill(rng->ctx, &v, sizeof v);
    return v;
}

static inline uint64_t cv_rng_u64(const struct cv_rng *rng) {
    uint64_t v;
    rng->fill(rng->ctx, &v, sizeof v);
    return v;
}

/* Uniform in [0, n); 0 when n is 0. Rejection sampling: no modulo bias. */
uint64_t cv_rng_below(const struct cv_rng *rng, uint64_t n);

/* Uniform in [lo, hi], both inclusive; lo <= hi. */
uint64_t cv_rng_between(const struct cv_rng *rng, uint64_t lo, uint64_t hi);

#endif
