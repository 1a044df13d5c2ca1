/* What the runs' digest must notice: any bit, any length, any order, any seed. */
#include "sim/digest.h"

#include <stdlib.h>
#include <string.h>

#include "support/suite.h"

CV_SUITE(sim_digest);

static int compare(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static void expect_all_different(uint64_t *v, size_t n, const char *what) {
    qsort(v, n, sizeof *v, compare);
    for (size_t i = 1; i < n; i++)
        cr_assert_neq(v[i], v[i - 1], "%s: two alike", what);
}

Test(sim_digest, every_bit_and_every_length_counts) {
    enum { MOST = 100 };
    uint8_t data[MOST];
    static uint64_t v[MOST * 8 + 1];
    for (size_t i = 0; i < MOST; i++)
        data[i] = (uint8_t)(i * 7);
    for (size_t len = 0; len <= MOST; len++) {
        size_t n = 0;
        v[n++] = sim_hash(1, data, len);
        for (size_t bit = 0; bit < len * 8; bit++) {
            data[bit / 8] ^= (uint8_t)(1u << bit % 8);
            v[n++] = sim_hash(1, data, len);
            data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        }
        expect_all_different(v, n, "one bit");
    }
    memset(data, 0, sizeof data);
    for (size_t len = 0; len <= MOST; len++)
        v[len] = sim_hash(1, data, len);
    expect_all_different(v, MOST + 1, "zeros");
}

/* Octets that change places, within a word, between words and between lanes. */
Test(sim_digest, order_counts) {
    enum { N = 64 };
    uint8_t data[N];
    static uint64_t v[N * (N - 1) / 2 + 1];
    size_t n = 0;
    for (size_t i = 0; i < N; i++)
        data[i] = (uint8_t)i;
    v[n++] = sim_hash(1, data, N);
    for (size_t i = 0; i < N; i++) {
        for (size_t k = i + 1; k < N; k++) {
            data[i] = (uint8_t)k, data[k] = (uint8_t)i;
            v[n++] = sim_hash(1, data, N);
            data[i] = (uint8_t)i, data[k] = (uint8_t)k;
        }
    }
    expect_all_different(v, n, "two exchanged");
}

Test(sim_digest, seeds_chain) {
    enum { N = 5000 };
    static uint64_t v[N];
    uint64_t h = 0;
    for (unsigned i = 0; i < N; i++)
        v[i] = h = sim_hash(h, "the same step", 13);
    expect_all_different(v, N, "a chain");
}

/* Where it lies in memory does not count, and it is the same everywhere. */
Test(sim_digest, is_a_function_of_the_octets) {
    uint8_t data[200] = {0};
    for (size_t shift = 0; shift < 16; shift++) {
        for (size_t i = 0; i < 100; i++)
            data[shift + i] = (uint8_t)(i + 1);
        cr_expect_eq(sim_hash(5, data + shift, 100), UINT64_C(0xb64b57492f8d4e0a), "shift %zu: %lx",
                     shift, sim_hash(5, data + shift, 100));
    }
}
