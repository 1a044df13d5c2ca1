/* Datagrams of peers that do not know of cells, in one cell or two. */
#include "node/exitpart.h"

#include <string.h>

#include "crypto/rng_seeded.h"
#include "support/suite.h"
#include "support/vectors.h"

CV_SUITE(node_exitpart);

static void fill(uint8_t *buf, size_t len) {
    for (size_t i = 0; i < len; i++)
        buf[i] = (uint8_t)(i * 7 + len);
}

Test(node_exitpart, every_length_comes_whole) {
    static struct exit_join j;
    struct exit_cell cells[2];
    uint8_t buf[NODE_EXIT_DATAGRAM_MAX];
    for (size_t len = 1; len <= sizeof buf; len++) {
        fill(buf, len);
        unsigned count = exit_part_write((uint8_t)len, buf, len, cells);
        cr_expect_eq(count, len < TUN_EXIT_BACKWARD ? 1u : 2u, "%zu octets", len);
        size_t got = 0;
        const uint8_t *at = exit_part_read(&j, cells[0].octets, cells[0].len, &got);
        if (count == 2) {
            cr_expect_null(at);
            at = exit_part_read(&j, cells[1].octets, cells[1].len, &got);
        }
        cr_assert_not_null(at, "%zu octets", len);
        cr_expect_eq(got, len);
        cr_expect_eq(memcmp(at, buf, len), 0, "%zu octets", len);
        for (unsigned i = 0; i < count; i++)
            cr_expect_leq(cells[i].len, TUN_EXIT_BACKWARD);
    }
}

Test(node_exitpart, halves_of_two_datagrams_are_none) {
    static struct exit_join j;
    struct exit_cell a[2], b[2];
    uint8_t buf[1400];
    size_t got;
    fill(buf, sizeof buf);
    cr_assert_eq(exit_part_write(1, buf, sizeof buf, a), 2);
    cr_assert_eq(exit_part_write(2, buf, sizeof buf, b), 2);
    cr_expect_null(exit_part_read(&j, a[1].octets, a[1].len, &got), "without its first");
    cr_expect_null(exit_part_read(&j, a[0].octets, a[0].len, &got));
    cr_expect_null(exit_part_read(&j, b[1].octets, b[1].len, &got), "of another");
    cr_expect_null(exit_part_read(&j, a[1].octets, a[1].len, &got), "which ended the wait");
    cr_expect_null(exit_part_read(&j, a[0].octets, a[0].len, &got));
    cr_expect_null(exit_part_read(&j, b[0].octets, b[0].len, &got));
    cr_expect_not_null(exit_part_read(&j, b[1].octets, b[1].len, &got));
    cr_expect_null(exit_part_read(&j, b[1].octets, b[1].len, &got), "twice");
}

/* tests/vectors/tunnel.hex, the same with the flow in front. */
Test(node_exitpart, halves_as_they_are_written_down) {
    struct exit_cell cells[2];
    uint8_t datagram[1400], flow[2] = {9, 0}, cell[2 + TUN_EXIT_BACKWARD];
    static const char *const names[] = {"first", "second"};
    for (size_t i = 0; i < sizeof datagram; i++)
        datagram[i] = (uint8_t)(90 + i);
    cr_assert_eq(exit_part_write(37, datagram, sizeof datagram, cells), 2);
    for (unsigned i = 0; i < 2; i++) {
        memcpy(cell, flow, 2);
        memcpy(cell + 2, cells[i].octets, cells[i].len);
        uint8_t want[sizeof cell];
        cr_assert_eq(
            cv_test_vector(CV_VECTORS "/tunnel.hex", "exit", names[i], 0, want, sizeof want),
            2 + cells[i].len);
        cr_expect_arr_eq(cell, want, 2 + cells[i].len, "%s half", names[i]);
    }
}

Test(node_exitpart, junk_is_nothing_or_short_enough) {
    struct cv_rng_seeded dice;
    cv_rng_seeded_init(&dice, 3);
    struct cv_rng rng = cv_rng_seeded(&dice);
    static struct exit_join j;
    uint8_t cell[TUN_EXIT_BACKWARD + 800];
    for (unsigned i = 0; i < 20000; i++) {
        size_t len = cv_rng_below(&rng, sizeof cell), got = 0;
        cv_rng_fill(&rng, cell, 8);
        if (exit_part_read(&j, cell, len, &got))
            cr_assert(got >= 1 && got <= NODE_EXIT_DATAGRAM_MAX);
    }
}
