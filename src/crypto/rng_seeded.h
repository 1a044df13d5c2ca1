/*
 * Seeded dice: a ChaCha20 stream. Same seed, same octets, on every machine and
 * compiler. For the simulator, tests and fuzzers, and wherever a deterministic
 * stream is wanted.
 */
#ifndef CULVERT_CRYPTO_RNG_SEEDED_H
#define CULVERT_CRYPTO_RNG_SEEDED_H

#include <stdint.h>

#include "base/rng.h"

struct cv_rng_seeded {
    uint8_t key[32];
    uint64_t block;
    uint8_t buf[512];
    uint32_t left;
};

void cv_rng_seeded_init(struct cv_rng_seeded *s, uint64_t seed);

/* Borrows `s`. */
struct cv_rng cv_rng_seeded(struct cv_rng_seeded *s);

#endif
