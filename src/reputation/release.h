/*
 * What becomes public of an epoch's octets, and when. Half of what passed between
 * two relays, as given and as taken alike (decision 0086). Amounts rounded to
 * powers of two with a dither that both relays of a pair share and nobody else
 * knows: the rows add up to the truth, a single one says little. Pure
 * functions on integers, the same on every machine and compiler.
 */
#ifndef CULVERT_REPUTATION_RELEASE_H
#define CULVERT_REPUTATION_RELEASE_H

#include <stdint.h>

#include "base/err.h"
#include "base/rng.h"
#include "base/time.h"
#include "crypto/keys.h"
#include "reputation/limits.h"

/*
 * BLAKE2b-256(X25519 of both identities | "culvert pair" | network id | lower
 * key | higher key). CV_ERR_AUTH: `theirs` is no good point.
 */
enum cv_err rep_release_secret(uint8_t ret[CV_KEY], const struct cv_ed25519_secret *mine,
                               const uint8_t theirs[CV_KEY],
                               const uint8_t network_id[REP_NETWORK_ID]);

/* u of an epoch as a fraction of 2^64: the first 8 octets, little-endian, of
 * BLAKE2b-256(key = pair secret, "dither" | epoch u32). */
uint64_t rep_release_dither(const uint8_t secret[CV_KEY], uint32_t epoch);

/* 2^floor(log2 w + u/2^64); 0 when w < minimum or w is 0; at most 2^62. */
uint64_t rep_release_amount(uint64_t w, uint64_t u, uint64_t minimum);

/* Unix second at which epoch `epoch` is released: uniform in the first seventh
 * of the epoch after it. */
int64_t rep_release_time(const struct cv_rng *rng, uint32_t epoch, uint32_t epoch_seconds);

/* The epoch a moment belongs to; 0 while the clock is unknown. */
static inline uint32_t rep_release_epoch(int64_t wall, uint32_t epoch_seconds) {
    return wall > 0 ? (uint32_t)(wall / epoch_seconds) : 0;
}

#endif
