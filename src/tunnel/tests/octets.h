/* What the tests of hidden swarms share with tests/vectors/hidden.py. */
#ifndef CULVERT_TUNNEL_TESTS_OCTETS_H
#define CULVERT_TUNNEL_TESTS_OCTETS_H

#include "base/rng.h"
#include "support/suite.h"
#include "support/vectors.h"

#define HIDDEN_VECTORS CV_VECTORS "/hidden.txt"
#define HIDDEN_PERIOD  20601

static const uint8_t hidden_network[8] = "culvert!";

/* first, first + 1, ... */
static inline void octets(uint8_t *to, unsigned first, size_t n) {
    for (size_t i = 0; i < n; i++)
        to[i] = (uint8_t)(first + i);
}

/* Dice that give first, first + 1, ... once. */
static inline void octets_fill(void *ctx, void *buf, size_t len) {
    octets(buf, *(const unsigned *)ctx, len);
}
static inline struct cv_rng octets_rng(unsigned *first) {
    return (struct cv_rng){.fill = octets_fill, .ctx = first};
}

static inline void expect_hidden(const char *section, const char *label, const void *got,
                                 size_t len) {
    uint8_t want[2048];
    cr_assert_eq(cv_test_vector(HIDDEN_VECTORS, section, label, 0, want, sizeof want), len,
                 "%s %s: length", section, label);
    cr_expect_arr_eq(got, want, len, "%s %s differs", section, label);
}

#endif
