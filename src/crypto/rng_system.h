/*
 * The system's random source. A library of its own (crypto_system): engines
 * are given dice and never link it.
 */
#ifndef CULVERT_CRYPTO_RNG_SYSTEM_H
#define CULVERT_CRYPTO_RNG_SYSTEM_H

#include "base/rng.h"

/* Valid for the life of the program; usable from any thread. */
const struct cv_rng *cv_rng_system(void);

#endif
