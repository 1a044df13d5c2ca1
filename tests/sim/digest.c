#include "sim/digest.h"

#include <endian.h>
#include <string.h>

/* Four words at a time, each in a lane of its own, so that the processor need
 * not wait for one multiplication before the next. Odd numbers without a pattern. */
enum { LANES = 4, WORD = 8, BLOCK = LANES * WORD };
static const uint64_t odd[LANES] = {
    UINT64_C(0x9e3779b97f4a7c15),
    UINT64_C(0xc2b2ae3d27d4eb4f),
    UINT64_C(0x165667b19e3779f9),
    UINT64_C(0xd6e8feb86659fd93),
};

/* Twice, with a shift between: a multiplication only ever moves bits up, and with
 * one alone the tests find two small changes that do the same. */
static uint64_t mix(uint64_t lane, uint64_t word, uint64_t by) {
    uint64_t v = (lane ^ word) * by;
    v = (v ^ v >> 32) * by;
    return v ^ v >> 29;
}

static void block(uint64_t lane[LANES], const uint8_t *at) {
    uint64_t word[LANES];
    memcpy(word, at, BLOCK);
    for (unsigned i = 0; i < LANES; i++)
        lane[i] = mix(lane[i], le64toh(word[i]), odd[i]);
}

uint64_t sim_hash(uint64_t seed, const void *data, size_t len) {
    const uint8_t *at = data;
    uint64_t lane[LANES];
    for (unsigned i = 0; i < LANES; i++)
        lane[i] = seed + odd[i];
    for (size_t left = len; left > 0;) {
        uint8_t last[BLOCK] = {0};
        size_t n = left < BLOCK ? left : BLOCK;
        if (n < BLOCK)
            memcpy(last, at, n);
        block(lane, n < BLOCK ? last : at);
        at += n;
        left -= n;
    }
    uint64_t h = seed ^ len;
    for (unsigned i = 0; i < LANES; i++)
        h = mix(h, lane[i], odd[i]);
    return mix(h, 0, odd[0]);
}
