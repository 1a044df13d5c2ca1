#include "cli/tally.h"

#include <limits.h>
#include <string.h>

#include "support/suite.h"

CV_SUITE(cli_tally);

enum { OCTOBER = 1790812800, NOVEMBER = 1793491200, DECEMBER = 1796083200, Y2036 = 2082758400 };

/* A clock that goes from one month to another, and what is used in each before it goes on. */
/* clang-format off */
static const struct {
    const char *name;
    struct {
        int64_t to;
        uint64_t used, want; /* when the clock comes there */
        bool back;
    } step[5];
} rows[] = {
    {"month after month", {{NOVEMBER, 5, 0, false}, {DECEMBER, 6, 0, false}, {Y2036, 1, 0, false}}},
    {"the same one", {{NOVEMBER, 5, 0, false}, {NOVEMBER, 1, 5, false}, {NOVEMBER, 0, 6, false}}},
    {"a clock far ahead that is set", {{Y2036, 7, 0, false}, {NOVEMBER, 1, 7, true},
                                       {DECEMBER, 0, 0, false}}},
    {"ahead for a while", {{NOVEMBER, 390, 0, false}, {Y2036, 10, 0, false},
                           {NOVEMBER, 1, 400, true}, {DECEMBER, 0, 0, false}}},
    {"in the next month for a while, which comes then",
     {{NOVEMBER, 390, 0, false}, {DECEMBER, 10, 0, false}, {NOVEMBER, 1, 400, true},
      {DECEMBER, 5, 10, false}, {NOVEMBER, 0, 416, true}}},
    {"not set yet when the machine starts", {{NOVEMBER, 300, 0, false}, {0, 1, 300, true},
                                             {NOVEMBER, 2, 301, false}, {DECEMBER, 0, 0, false}}},
    {"nor when it starts again",
     {{NOVEMBER, 300, 0, false}, {0, 1, 300, true}, {NOVEMBER, 2, 301, false},
      {0, 4, 303, true}, {NOVEMBER, 0, 307, false}}},
    {"not set yet when a month begins", {{NOVEMBER, 300, 0, false}, {0, 1, 300, true},
                                         {DECEMBER, 0, 1, false}}},
    {"not set yet when it is counted first", {{0, 400, 0, false}, {NOVEMBER, 2, 400, false},
                                              {DECEMBER, 0, 0, false}}},
    {"nor in a week that began before", {{-3 * 86400, 400, 0, false}, {NOVEMBER, 0, 400, false}}},
    {"a month behind", {{NOVEMBER, 300, 0, false}, {OCTOBER, 1, 300, true},
                        {NOVEMBER, 0, 300, false}}},
};
/* clang-format on */

Test(cli_tally, follows_the_clock_and_forgets_nothing) {
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct cli_tally t = {.began = rows[i].step[0].to};
        for (size_t j = 0; j < 5 && (j == 0 || rows[i].step[j].to || rows[i].step[j].want); j++) {
            bool back = cli_tally_turn(&t, rows[i].step[j].to);
            cr_expect_eq(back, rows[i].step[j].back, "%s, %zu", rows[i].name, j);
            cr_expect_eq(t.began, rows[i].step[j].to, "%s, %zu", rows[i].name, j);
            cr_expect_eq(t.used, rows[i].step[j].want, "%s, %zu: %llu", rows[i].name, j,
                         (unsigned long long)t.used);
            t.used += rows[i].step[j].used;
        }
    }
}

Test(cli_tally, is_read_as_it_was_written) {
    struct cli_tally t = {NOVEMBER, 300, Y2036, UINT64_MAX}, got;
    const struct cli_tally untouched = {1, 2, 3, 4};
    uint8_t buf[CLI_TALLY_OCTETS + 1];
    memset(buf, 0, sizeof buf);
    cli_tally_write(&t, buf);
    cr_assert_eq(cli_tally_read(buf, CLI_TALLY_OCTETS, &got), CV_ERR_OK);
    cr_expect_arr_eq(&got, &t, sizeof t);
    for (size_t len = 0; len <= sizeof buf; len++) {
        got = untouched;
        if (len == CLI_TALLY_OCTETS)
            continue;
        cr_expect_eq(cli_tally_read(buf, len, &got), CV_ERR_CORRUPT, "%zu", len);
        cr_expect_arr_eq(&got, &untouched, sizeof got);
    }
    for (size_t bit = 0; bit < CLI_TALLY_OCTETS * CHAR_BIT; bit++) {
        got = untouched;
        buf[bit / CHAR_BIT] ^= (uint8_t)(1U << bit % CHAR_BIT);
        cr_expect_eq(cli_tally_read(buf, CLI_TALLY_OCTETS, &got), CV_ERR_CORRUPT, "%zu", bit);
        cr_expect_arr_eq(&got, &untouched, sizeof got);
        buf[bit / CHAR_BIT] ^= (uint8_t)(1U << bit % CHAR_BIT);
    }
    /* Beyond what a calendar has. */
    for (int i = 0; i < 4; i++) {
        int64_t bad = i % 2 ? INT64_C(0x7f) << 56 : INT64_MIN;
        struct cli_tally beyond = {i < 2 ? bad : NOVEMBER, 300, i < 2 ? NOVEMBER : bad, 5};
        uint8_t written[CLI_TALLY_OCTETS];
        cli_tally_write(&beyond, written);
        cr_expect_eq(cli_tally_read(written, sizeof written, &got), CV_ERR_CORRUPT, "%d", i);
    }
    /* A clock that is not set yet stands at 0, in a week, or month, that began before. */
    const int64_t before[] = {-3 * 86400, -31 * 86400};
    for (size_t i = 0; i < 2; i++) {
        struct cli_tally early = {before[i], 300, NOVEMBER, 300},
                         set = {NOVEMBER, 300, before[i], 5};
        uint8_t written[CLI_TALLY_OCTETS];
        cli_tally_write(&early, written);
        cr_expect_eq(cli_tally_read(written, sizeof written, &got), CV_ERR_OK);
        cr_expect_arr_eq(&got, &early, sizeof got);
        cli_tally_write(&set, written);
        cr_expect_eq(cli_tally_read(written, sizeof written, &got), CV_ERR_OK);
        cr_expect_arr_eq(&got, &set, sizeof got);
    }
    /* As earlier versions wrote it. */
    buf[0] = 2;
    cr_assert_eq(cli_tally_read(buf, 33, &got), CV_ERR_OK);
    cr_expect_arr_eq(&got, &t, sizeof t);
    cr_expect_eq(cli_tally_read(buf, 32, &got), CV_ERR_CORRUPT);
    buf[0] = 1;
    cr_assert_eq(cli_tally_read(buf, 17, &got), CV_ERR_OK);
    cr_expect_eq(got.began, NOVEMBER);
    cr_expect_eq(got.used, 300);
    cr_expect_eq(got.left_began, 0);
    cr_expect_eq(got.left_used, 0);
    buf[0] = 4;
    cr_expect_eq(cli_tally_read(buf, CLI_TALLY_OCTETS, &got), CV_ERR_CORRUPT);
}
