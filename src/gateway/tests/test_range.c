#include "gateway/range.h"
#include "support/suite.h"

CV_SUITE(gw_range);

Test(gw_range, table) {
    static const struct {
        const char *header;
        enum gw_range want;
        uint64_t first, last;
    } rows[] = {
        {NULL, GW_RANGE_WHOLE, 0, 0},
        {"bytes=0-", GW_RANGE_PART, 0, 999},
        {"bytes=0-0", GW_RANGE_PART, 0, 0},
        {"bytes=10-19", GW_RANGE_PART, 10, 19},
        {"Bytes = 10-19", GW_RANGE_PART, 10, 19},
        {"bytes=990-2000", GW_RANGE_PART, 990, 999},
        {"bytes=999-", GW_RANGE_PART, 999, 999},
        {"bytes=1000-", GW_RANGE_UNSATISFIABLE, 0, 0},
        {"bytes=-1", GW_RANGE_PART, 999, 999},
        {"bytes=-1000", GW_RANGE_PART, 0, 999},
        {"bytes=-5000", GW_RANGE_PART, 0, 999},
        {"bytes=-0", GW_RANGE_UNSATISFIABLE, 0, 0},
        {"bytes=5-4", GW_RANGE_WHOLE, 0, 0},
        {"bytes=-", GW_RANGE_WHOLE, 0, 0},
        {"bytes=", GW_RANGE_WHOLE, 0, 0},
        {"bytes=a-b", GW_RANGE_WHOLE, 0, 0},
        {"bytes=0-1,5-6", GW_RANGE_WHOLE, 0, 0},
        {"chunks=0-1", GW_RANGE_WHOLE, 0, 0},
        {"bytes=0-99999999999999999999999", GW_RANGE_PART, 0, 999},
        {"bytes=99999999999999999999999-", GW_RANGE_UNSATISFIABLE, 0, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint64_t first = 0, last = 0;
        enum gw_range got = gw_range_parse(rows[i].header, 1000, &first, &last);
        cr_expect_eq(got, rows[i].want, "%s: kind %d", rows[i].header, got);
        cr_expect_eq(first, rows[i].first, "%s: first", rows[i].header);
        cr_expect_eq(last, rows[i].last, "%s: last", rows[i].header);
    }
}
