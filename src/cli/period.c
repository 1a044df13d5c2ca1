#include "cli/period.h"

#include <string.h>
#include <time.h>

enum { DAY = 86400 };

static const char *const names[CLI_PERIODS] = {
    [CLI_PERIOD_DAY] = "day", [CLI_PERIOD_WEEK] = "week", [CLI_PERIOD_MONTH] = "month"};

const char *cli_period_name(enum cli_period period) {
    return names[period];
}

bool cli_period_of(const char *name, enum cli_period *ret) {
    for (size_t i = 0; i < CLI_PERIODS; i++) {
        if (strcmp(name, names[i]) == 0) {
            *ret = (enum cli_period)i;
            return true;
        }
    }
    return false;
}

/* The first of the month, or of one later. */
static int64_t month(int64_t wall, int later) {
    time_t t = (time_t)wall;
    struct tm tm;
    gmtime_r(&t, &tm);
    struct tm first = {.tm_year = tm.tm_year, .tm_mon = tm.tm_mon + later, .tm_mday = 1};
    return (int64_t)timegm(&first);
}

int64_t cli_period_begin(enum cli_period period, int64_t wall) {
    int64_t day = wall / DAY;
    if (period == CLI_PERIOD_MONTH)
        return month(wall, 0);
    if (period == CLI_PERIOD_WEEK) /* 1970-01-01 was a Thursday */
        day -= (day + 3) % 7;
    return day * DAY;
}

int64_t cli_period_end(enum cli_period period, int64_t wall) {
    if (period == CLI_PERIOD_MONTH)
        return month(wall, 1);
    return cli_period_begin(period, wall) + (period == CLI_PERIOD_WEEK ? 7 : 1) * DAY;
}
