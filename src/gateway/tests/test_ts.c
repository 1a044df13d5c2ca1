#include "gateway/tests/ts_maker.h"
#include "gateway/ts.h"
#include "support/suite.h"

CV_SUITE(gw_ts);

enum { H264 = 0x1b, HEVC = 0x24, AAC = 0x0f, MPEG2 = 0x02, PRIVATE = 0x06, POINTS = 32 };

static const uint8_t delimiter_set[] = {0, 0, 0, 1, 9, 0xf0, 0, 0, 0, 1, 0x67, 0x42};
static const uint8_t idr[] = {0, 0, 1, 0x65}, slice[] = {0, 0, 1, 0x41};
static const uint8_t hevc_parameters[] = {0, 0, 1, 0x40, 1}, hevc_slice[] = {0, 0, 1, 0x02, 1};

static size_t points_of(struct gw_ts *t, const struct ts_maker *m, size_t piece,
                        struct gw_ts_point ret[POINTS]) {
    size_t n = 0;
    for (size_t i = 0; i < m->len; i += piece) {
        gw_ts_feed(t, m->data + i, m->len - i < piece ? m->len - i : piece);
        while (n < POINTS && gw_ts_next(t, &ret[n]))
            n++;
    }
    return n;
}

Test(gw_ts, pictures_and_what_begins_one) {
    static const struct {
        const char *name;
        uint8_t type, second;
        uint16_t pid;
        bool random;
        const uint8_t *code;
        size_t len;
        bool key;
    } rows[] = {
        {"random access", H264, AAC, TS_VIDEO, true, slice, sizeof slice, true},
        {"a slice", H264, AAC, TS_VIDEO, false, slice, sizeof slice, false},
        {"an IDR slice", H264, 0, TS_VIDEO, false, idr, sizeof idr, true},
        {"parameters behind a delimiter", H264, 0, TS_VIDEO, false, delimiter_set,
         sizeof delimiter_set, true},
        {"HEVC", HEVC, 0, TS_VIDEO, false, hevc_slice, sizeof hevc_slice, false},
        {"HEVC parameters", HEVC, 0, TS_VIDEO, false, hevc_parameters, sizeof hevc_parameters,
         true},
        {"MPEG-2 has no such codes", MPEG2, 0, TS_VIDEO, false, idr, sizeof idr, false},
        {"nothing but sound", PRIVATE, AAC, TS_AUDIO, false, NULL, 0, true},
        {"video behind something", AAC, H264, TS_AUDIO, false, slice, sizeof slice, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct ts_maker m = {.len = 0};
        struct gw_ts t = {.at = 0};
        struct gw_ts_point p[POINTS];
        ts_picture(&m, rows[i].pid, 1, true, idr, sizeof idr); /* before the tables: nothing */
        ts_association(&m);
        ts_map(&m, rows[i].type, rows[i].second);
        ts_more(&m, rows[i].pid);
        ts_picture(&m, rows[i].pid, GW_TS_WRAP - 2, rows[i].random, rows[i].code, rows[i].len);
        ts_more(&m, rows[i].pid);
        gw_ts_begin(&t, 1000);
        cr_assert_eq(points_of(&t, &m, m.len, p), 1, "%s", rows[i].name);
        cr_expect_eq(p[0].at, 1000 + 4 * GW_TS_PACKET, "%s", rows[i].name);
        cr_expect_eq(p[0].time, GW_TS_WRAP - 2, "%s", rows[i].name);
        cr_expect_eq(p[0].key, rows[i].key, "%s", rows[i].name);
        cr_assert(t.have_tables);
        cr_expect_arr_eq(t.tables, m.data + GW_TS_PACKET, GW_TS_TABLES, "%s", rows[i].name);
    }
}

Test(gw_ts, pieces_of_every_size_say_the_same) {
    static struct ts_maker m;
    m.len = 0;
    ts_association(&m);
    ts_map(&m, H264, AAC);
    for (uint64_t i = 0; i < 20; i++) {
        ts_picture(&m, TS_VIDEO, i * 3600, i % 5 == 0, slice, sizeof slice);
        ts_more(&m, TS_VIDEO);
        ts_picture(&m, TS_AUDIO, i * 3600, false, NULL, 0);
    }
    for (size_t piece = 1; piece <= 400; piece++) {
        struct gw_ts t = {.at = 0};
        struct gw_ts_point p[POINTS];
        cr_assert_eq(points_of(&t, &m, piece, p), 20, "pieces of %zu", piece);
        for (size_t i = 0; i < 20; i++) {
            cr_assert_eq(p[i].at, (2 + 3 * i) * GW_TS_PACKET);
            cr_assert_eq(p[i].time, i * 3600);
            cr_assert_eq(p[i].key, i % 5 == 0);
        }
    }
}

Test(gw_ts, packets_are_found_behind_something_else) {
    static struct ts_maker m;
    uint8_t noise[700];
    m.len = 0;
    ts_association(&m);
    ts_map(&m, H264, 0);
    ts_picture(&m, TS_VIDEO, 90000, true, slice, sizeof slice);
    ts_more(&m, TS_VIDEO);
    for (size_t n = 0; n < sizeof noise; n += 13) {
        struct gw_ts t = {.at = 0};
        struct gw_ts_point p;
        for (size_t i = 0; i < n; i++)
            noise[i] = i % 7 == 3 ? 0x47 : (uint8_t)i | 0x80;
        gw_ts_feed(&t, noise, n);
        cr_assert_not(gw_ts_next(&t, &p));
        gw_ts_feed(&t, m.data, m.len);
        cr_assert(gw_ts_next(&t, &p), "behind %zu octets", n);
        cr_assert_eq(p.at, n + 2 * GW_TS_PACKET);
    }
}

Test(gw_ts, what_lies_is_skipped) {
    /* The octet that is changed in the map (or association), and what no longer fits. */
    static const struct {
        const char *name;
        size_t packet, octet;
        uint8_t value;
    } rows[] = {
        {"association that is too long", 0, 9, 0xff},
        {"association not in force", 0, 12, 0xc0},
        {"another table", 0, 7, 0x42},
        {"map that is too long", 1, 9, 0xff},
        {"map with a long program", 1, 18, 0xff},
        {"a map of nothing we know", 1, 19, 0x06},
        {"a broken packet", 1, 1, 0xc1},
        {"no payload", 1, 3, 0x20},
        {"adaptation without an end", 1, 4, 0xff},
        {"picture without its code", 2, 8, 7},
        {"picture without a time", 2, 13, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        static struct ts_maker m;
        struct gw_ts t = {.at = 0};
        struct gw_ts_point p[POINTS];
        m.len = 0;
        ts_association(&m);
        ts_map(&m, H264, 0);
        ts_picture(&m, TS_VIDEO, 90000, true, slice, sizeof slice);
        ts_more(&m, TS_VIDEO);
        m.data[rows[i].packet * GW_TS_PACKET + rows[i].octet] = rows[i].value;
        cr_expect_eq(points_of(&t, &m, m.len, p), 0, "%s", rows[i].name);
    }
}
