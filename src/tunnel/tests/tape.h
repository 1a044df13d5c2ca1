/* The dice of tests/vectors/tunnel.py: the octets 3, 10, 17, ... in a row. */
#ifndef CULVERT_TUNNEL_TESTS_TAPE_H
#define CULVERT_TUNNEL_TESTS_TAPE_H

#include "base/rng.h"
#include "support/suite.h"
#include "support/vectors.h"

#define TUNNEL_VECTORS CV_VECTORS "/tunnel.hex"

static inline void tape_fill(void *ctx, void *buf, size_t len) {
    uint32_t *at = ctx;
    uint8_t *to = buf;
    for (size_t i = 0; i < len; i++)
        to[i] = (uint8_t)(7 * (*at)++ + 3);
}

/* Borrows `at`, which is 0 at the beginning. */
static inline struct cv_rng tape_rng(uint32_t *at) {
    return (struct cv_rng){.fill = tape_fill, .ctx = at};
}

/* first, first + 1, ... */
static inline void octets(uint8_t *to, unsigned first, size_t n) {
    for (size_t i = 0; i < n; i++)
        to[i] = (uint8_t)(first + i);
}

/* `got` is exactly the vector of that name. */
static inline void expect_vector(const char *section, const char *label, const void *got,
                                 size_t len) {
    uint8_t want[2048];
    cr_assert_eq(cv_test_vector(TUNNEL_VECTORS, section, label, 0, want, sizeof want), len,
                 "%s %s: length", section, label);
    cr_expect_arr_eq(got, want, len, "%s %s differs", section, label);
}

#endif
