/* Events as JSON lines: whole whatever the values, cut by whole fields. */
#include "support/suite.h"

#include <stdio.h>

#include "io/trace_sink.h"
#include "support/folder.h"

CV_SUITE(io_trace_sink);

/* clang-format off */
static const struct {
    const char *fields, *want;
} rows[] = {
    {"",                    ""},
    {"n=3",                 ",\"n\":3"},
    {"n=-3 m=0 x=1.25",     ",\"n\":-3,\"m\":0,\"x\":1.25"},
    {"id=0000002a",         ",\"id\":\"0000002a\""},
    {"id=00000012",         ",\"id\":\"00000012\""},
    {"a=1. b=.5 c=- d=1e5", ",\"a\":\"1.\",\"b\":\".5\",\"c\":\"-\",\"d\":\"1e5\""},
    {"s=a\"b\\c",           ",\"s\":\"a\\\"b\\\\c\""},
    {"s=\x01\xff",          ",\"s\":\"\\u0001\\u00ff\""},
    {"e= n=1",              ",\"e\":\"\",\"n\":1"},
    {"no_value   n=1",      ",\"n\":1"},
    {"n=123456789012345678901", ",\"n\":\"123456789012345678901\""},
};
/* clang-format on */

Test(io_trace_sink, line_table) {
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char line[256], want[256];
        size_t n = io_trace_line(line, sizeof line, CV_LAYER_PPSP, "open", 7, rows[i].fields);
        snprintf(want, sizeof want, "{\"t\":7,\"layer\":\"ppsp\",\"event\":\"open\"%s}\n",
                 rows[i].want);
        cr_expect_str_eq(line, want);
        cr_expect_eq(n, strlen(want));
    }
}

Test(io_trace_sink, too_long_is_cut_by_fields) {
    const char *fields =
        "a=11111111111111111111111111111111 b=\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\" c=3";
    for (size_t cap = 128; cap < 256; cap++) {
        char line[256];
        memset(line, 'x', sizeof line);
        size_t n = io_trace_line(line, cap, CV_LAYER_LEDGER, "event_name", UINT64_MAX, fields);
        cr_assert_lt(n, cap);
        cr_assert_eq(line[n], '\0');
        cr_assert_eq(line[n - 1], '\n');
        cr_assert_eq(line[n - 2], '}');
        cr_assert_neq(line[n - 3], ',');
    }
}

Test(io_trace_sink, events_reach_the_file) {
    char top[256], path[300], got[300];
    struct io_why why = {""};
    folder_make(top);
    snprintf(path, sizeof path, "%s/trace", top);
    cr_assert_eq(io_trace_open(path, &why), CV_ERR_OK, "%s", why.text);
    CV_TRACE(DHT, query, 5, "id=%08x n=%u", 0x2au, 9u);
    CV_TRACE(IO, end, 6, "n=%d", 1);
    io_trace_close();
    CV_TRACE(IO, unseen, 7, "n=%d", 1);
    io_trace_close();

    FILE *f = fopen(path, "r");
    cr_assert_not_null(f);
    size_t n = fread(got, 1, sizeof got - 1, f);
    got[n] = '\0';
    fclose(f);
    cr_expect_str_eq(got,
                     "{\"t\":5,\"layer\":\"dht\",\"event\":\"query\",\"id\":\"0000002a\",\"n\":9}\n"
                     "{\"t\":6,\"layer\":\"io\",\"event\":\"end\",\"n\":1}\n");

    snprintf(path, sizeof path, "%s/no/such/folder", top);
    cr_expect_eq(io_trace_open(path, &why), CV_ERR_NOENT);
    folder_remove(top);
}
