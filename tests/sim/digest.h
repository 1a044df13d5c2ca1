/*
 * A hash that tells runs apart, over every octet that was sent: fast, because
 * with SipHash it was a tenth of a simulation. No secret is kept by it and
 * nobody looks for collisions, so it need not be cryptographic. Whatever single
 * word of 8 octets differs, the result differs: each step is a bijection.
 */
#ifndef CULVERT_TESTS_SIM_DIGEST_H
#define CULVERT_TESTS_SIM_DIGEST_H

#include <stddef.h>
#include <stdint.h>

/* The same on every machine. `seed` separates uses, or chains. */
uint64_t sim_hash(uint64_t seed, const void *data, size_t len);

#endif
