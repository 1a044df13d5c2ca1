/* Remembered leaves: what was put last is found, nothing else is made up. */
#include "io/store_leaves.h"

#include <stdlib.h>
#include <string.h>

#include "io/limits.h"
#include "support/suite.h"

CV_SUITE(io_store_leaves);

enum { OCTETS = 16 * 32, SLOTS = IO_LEAVES_OCTETS / OCTETS };

static void put(struct io_leaves *l, uint64_t groups, uint64_t group, uint8_t fill) {
    uint8_t leaves[OCTETS];
    memset(leaves, fill, sizeof leaves);
    io_leaves_put(l, groups, OCTETS, group, leaves);
}

static bool holds(const struct io_leaves *l, uint64_t group, uint8_t fill) {
    const uint8_t *got = io_leaves_get(l, group);
    bool same = got != NULL;
    for (size_t i = 0; same && i < OCTETS; i++)
        same = got[i] == fill;
    return same;
}

Test(io_store_leaves, small_content_is_remembered_whole_and_forgotten_at_once) {
    struct io_leaves l = {0};
    cr_expect_null(io_leaves_get(&l, 0));
    for (uint64_t g = 0; g < 100; g++)
        put(&l, 100, g, (uint8_t)g);
    cr_expect_eq(l.slots, 100, "no more memory than there is content");
    for (uint64_t g = 0; g < 100; g++)
        cr_expect(holds(&l, g, (uint8_t)g), "group %lu", (unsigned long)g);
    put(&l, 100, 7, 200);
    cr_expect(holds(&l, 7, 200), "the newest counts");
    io_leaves_drop(&l);
    cr_expect_null(io_leaves_get(&l, 7));
    io_leaves_drop(&l);
}

Test(io_store_leaves, of_large_content_what_was_used_last_within_the_limit) {
    struct io_leaves l = {0};
    const uint64_t groups = (uint64_t)1 << 40;
    for (uint64_t g = 0; g < 2 * SLOTS; g++)
        put(&l, groups, g, (uint8_t)(g * 7));
    cr_expect_eq(l.slots, SLOTS);
    for (uint64_t g = 0; g < 2 * SLOTS; g++)
        cr_assert_eq(holds(&l, g, (uint8_t)(g * 7)), g >= SLOTS, "group %lu", (unsigned long)g);
    put(&l, groups, groups - 1, 1);
    cr_expect(holds(&l, groups - 1, 1));
    cr_expect_null(io_leaves_get(&l, groups - 2));
    io_leaves_drop(&l);
}
