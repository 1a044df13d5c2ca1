/* Bin numbers against the figures of RFC 7574 and against plain arithmetic. */
#include "support/suite.h"

#include "ppsp/bin.h"

CV_SUITE(ppsp_bin);

/* clang-format off */
static const struct { /* RFC 7574 figure 2 */
    ppsp_bin bin;
    unsigned level;
    uint64_t first, last;
    ppsp_bin parent, sibling;
} figure[] = {
    { 0,  0, 0, 0, 1,  2 }, { 2,  0, 1, 1, 1,  0 }, { 4,  0, 2, 2, 5,  6 }, { 14, 0, 7, 7, 13, 12 },
    { 1,  1, 0, 1, 3,  5 }, { 5,  1, 2, 3, 3,  1 }, { 9,  1, 4, 5, 11, 13 },
    { 3,  2, 0, 3, 7, 11 }, { 11, 2, 4, 7, 7,  3 }, { 7,  3, 0, 7, 15, 23 },
};
/* clang-format on */

Test(ppsp_bin, figure_2) {
    for (size_t i = 0; i < sizeof figure / sizeof *figure; i++) {
        ppsp_bin b = figure[i].bin;
        cr_expect_eq(ppsp_bin_level(b), figure[i].level, "bin %lu", (unsigned long)b);
        cr_expect_eq(ppsp_bin_first(b), figure[i].first, "bin %lu", (unsigned long)b);
        cr_expect_eq(ppsp_bin_last(b), figure[i].last, "bin %lu", (unsigned long)b);
        cr_expect_eq(ppsp_bin_parent(b), figure[i].parent, "bin %lu", (unsigned long)b);
        cr_expect_eq(ppsp_bin_sibling(b), figure[i].sibling, "bin %lu", (unsigned long)b);
        cr_expect_eq(ppsp_bin_of_range(figure[i].first, figure[i].last), b);
    }
}

/* parent = (left + right) / 2, and ranges halve, up to the greatest content */
Test(ppsp_bin, family) {
    for (unsigned level = 1; level < 48; level++)
        for (uint64_t index = 0; index < 5; index++) {
            ppsp_bin b = ppsp_bin_at(level, index << (47 - level) | (index & 1));
            ppsp_bin l = ppsp_bin_left(b), r = ppsp_bin_right(b);
            cr_expect_eq((l + r) / 2, b);
            cr_expect_eq(ppsp_bin_parent(l), b);
            cr_expect_eq(ppsp_bin_parent(r), b);
            cr_expect_eq(ppsp_bin_sibling(l), r);
            cr_expect(ppsp_bin_is_left(l));
            cr_expect(!ppsp_bin_is_left(r));
            cr_expect_eq(ppsp_bin_first(l), ppsp_bin_first(b));
            cr_expect_eq(ppsp_bin_last(l) + 1, ppsp_bin_first(r));
            cr_expect_eq(ppsp_bin_last(r), ppsp_bin_last(b));
        }
}

Test(ppsp_bin, ranges_that_are_no_node) {
    /* clang-format off */
    static const uint64_t rows[][2] = {
        { 1, 0 }, { 0, 2 }, { 1, 2 }, { 2, 5 }, { 4, 6 }, { 0, UINT32_MAX - 1 },
        { 0, UINT64_MAX }, { UINT64_MAX, UINT64_MAX },
        { PPSP_BIN_CHUNKS_MAX, PPSP_BIN_CHUNKS_MAX }, { 0, PPSP_BIN_CHUNKS_MAX },
        { UINT64_MAX - 1, 0 },
    };
    /* clang-format on */
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        cr_expect_eq(ppsp_bin_of_range(rows[i][0], rows[i][1]), PPSP_BIN_NONE, "row %zu", i);
}

Test(ppsp_bin, peaks_are_binary_digits) {
    ppsp_bin peaks[48];
    cr_assert_eq(ppsp_bin_peaks(7, peaks), 3); /* figure 4 */
    cr_expect_eq(peaks[0], 3);
    cr_expect_eq(peaks[1], 9);
    cr_expect_eq(peaks[2], 12);
    for (uint64_t n = 1; n < 3000; n++) {
        unsigned k = ppsp_bin_peaks(n, peaks);
        uint64_t next = 0;
        cr_expect_eq(k, (unsigned)__builtin_popcountll(n));
        for (unsigned i = 0; i < k; i++) {
            cr_expect_eq(ppsp_bin_first(peaks[i]), next);
            next = ppsp_bin_last(peaks[i]) + 1;
        }
        cr_expect_eq(next, n);
        cr_expect_geq(ppsp_bin_last(ppsp_bin_root(n)) + 1, n);
        cr_expect(n == 1 || (ppsp_bin_last(ppsp_bin_root(n)) + 1) / 2 < n);
    }
}

/* A naive tree: halves of halves, walked from the bin over 2^63 chunks down. */
struct naive {
    uint64_t bin, first, width;
};

static struct naive walk(uint64_t chunk, unsigned level) {
    struct naive n = {INT64_MAX, 0, (uint64_t)1 << 63};
    for (unsigned l = 63; l > level; l--) {
        n.width /= 2;
        bool right = chunk >= n.first + n.width;
        n.first += right ? n.width : 0;
        n.bin = right ? n.bin + n.width : n.bin - n.width;
    }
    return n;
}

Test(ppsp_bin, as_a_naive_tree_up_to_2_63) {
    uint64_t x = 88172645463325252u;
    for (unsigned i = 0; i < 20000; i++) {
        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
        uint64_t chunk = x >> 1 >> x % 63;
        unsigned level = (unsigned)(x >> 32) % 64;
        struct naive n = walk(chunk, level);
        cr_assert_eq(ppsp_bin_at(level, chunk >> (level < 63 ? level : 63)), n.bin, "%u", level);
        cr_assert_eq(ppsp_bin_level(n.bin), level);
        cr_assert_eq(ppsp_bin_first(n.bin), n.first);
        cr_assert_eq(ppsp_bin_last(n.bin), n.first + (n.width - 1));
        cr_assert_eq(ppsp_bin_of_range(n.first, n.first + (n.width - 1)), n.bin);
        if (level == 63)
            continue;
        struct naive up = walk(chunk, level + 1);
        cr_assert_eq(ppsp_bin_parent(n.bin), up.bin);
        cr_assert_eq(ppsp_bin_is_left(n.bin), n.first == up.first);
        cr_assert_eq(ppsp_bin_sibling(n.bin), 2 * up.bin - n.bin);
        cr_assert_eq(n.first == up.first ? ppsp_bin_left(up.bin) : ppsp_bin_right(up.bin), n.bin);
    }
}
