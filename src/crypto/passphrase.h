/*
 * A key from what a person can remember: Argon2id (RFC 9106) as libsodium has it.
 * Slow and hungry on purpose, so that whoever finds the file must pay for each guess.
 */
#ifndef CULVERT_CRYPTO_PASSPHRASE_H
#define CULVERT_CRYPTO_PASSPHRASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CV_PASSPHRASE_SALT 16
#define CV_PASSPHRASE_KEY  32
#define CV_PASSPHRASE_MAX  1024 /* octets */

/* What it costs. The defaults take about a second and 256 MiB. */
struct cv_passphrase_cost {
    uint32_t passes;     /* over the memory: 1..16 */
    uint32_t memory_kib; /* 8..1,048,576 (1 GiB) */
};
#define CV_PASSPHRASE_COST ((struct cv_passphrase_cost){.passes = 3, .memory_kib = 256 * 1024})

/* Is it within the limits above? */
bool cv_passphrase_cost_ok(const struct cv_passphrase_cost *c);

/* False: the memory is not to be had, or the cost is out of its limits. */
bool cv_passphrase_key(uint8_t ret[CV_PASSPHRASE_KEY], const char *text, size_t len,
                       const uint8_t salt[CV_PASSPHRASE_SALT], const struct cv_passphrase_cost *c);

#endif
