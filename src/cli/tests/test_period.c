#include "cli/period.h"

#include "support/suite.h"

CV_SUITE(cli_period);

/* clang-format off */
static const struct {
    const char *name; /* what `at` is */
    enum cli_period period;
    int64_t at, begin, end;
} rows[] = {
    {"1970-01-01 00:00:00", CLI_PERIOD_DAY,   0,          0,          86400},
    {"Thu 1970-01-01 00:00", CLI_PERIOD_WEEK, 0,          -259200,    345600},
    {"a day's last second", CLI_PERIOD_DAY,   86399,      0,          86400},
    {"its next",            CLI_PERIOD_DAY,   86400,      86400,      172800},
    {"Mon 2026-11-23 00:00", CLI_PERIOD_WEEK, 1795392000, 1795392000, 1795996800},
    {"Thu 2026-11-26 02:00", CLI_PERIOD_WEEK, 1795658400, 1795392000, 1795996800},
    {"Sun 2026-11-29 23:59", CLI_PERIOD_WEEK, 1795996799, 1795392000, 1795996800},
    {"Mon 2026-11-30 00:00", CLI_PERIOD_WEEK, 1795996800, 1795996800, 1796601600},
    {"2026-11-26",          CLI_PERIOD_MONTH, 1795658400, 1793491200, 1796083200},
    {"2026-12-31 23:59:59", CLI_PERIOD_MONTH, 1798761599, 1796083200, 1798761600},
    {"2027-01-01",          CLI_PERIOD_MONTH, 1798761600, 1798761600, 1801440000},
    {"2028-02-29 12:00",    CLI_PERIOD_MONTH, 1835438400, 1832976000, 1835481600},
};
/* clang-format on */

Test(cli_period, table) {
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        cr_expect_eq(cli_period_begin(rows[i].period, rows[i].at), rows[i].begin, "%s",
                     rows[i].name);
        cr_expect_eq(cli_period_end(rows[i].period, rows[i].at), rows[i].end, "%s", rows[i].name);
    }
}

Test(cli_period, names) {
    enum cli_period got = CLI_PERIOD_DAY;
    for (enum cli_period p = CLI_PERIOD_DAY; p < CLI_PERIODS; p++) {
        cr_expect(cli_period_of(cli_period_name(p), &got));
        cr_expect_eq(got, p);
    }
    cr_expect_not(cli_period_of("year", &got));
    cr_expect_not(cli_period_of("", &got));
}
