#include <stdlib.h>

#include "gateway/segments.h"
#include "support/suite.h"

CV_SUITE(gw_segments);

enum { SECOND = GW_TS_CLOCK, FRAME = SECOND / 25, OCTETS = 2000 };

/* So many pictures of OCTETS each, every `group`-th a key frame. */
static void pictures(struct gw_segments *s, uint64_t *at, uint64_t *time, size_t n, size_t group) {
    for (size_t i = 0; i < n; i++) {
        gw_segments_add(s, &(struct gw_ts_point){.at = *at, .time = *time, .key = i % group == 0});
        *at += OCTETS;
        *time = (*time + FRAME) % GW_TS_WRAP;
    }
}

static void expect_text(const struct gw_segments *s, const char *want) {
    char *text = gw_segments_playlist(s, "?k=1");
    cr_expect_str_eq(text, want);
    free(text);
}

Test(gw_segments, a_second_each_cut_at_key_frames) {
    static struct gw_segments s;
    uint64_t at = 0, time = GW_TS_WRAP - SECOND; /* time turns over meanwhile */
    cr_expect_not(gw_segments_ready(&s));
    pictures(&s, &at, &time, 75, 25);
    cr_expect_not(gw_segments_ready(&s), "players want three");
    pictures(&s, &at, &time, 1, 25);
    cr_expect(gw_segments_ready(&s));
    expect_text(&s, "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:1\n"
                    "#EXT-X-MEDIA-SEQUENCE:0\n#EXT-X-DISCONTINUITY-SEQUENCE:0\n"
                    "#EXTINF:1.000,\n0-50000.ts?k=1\n#EXTINF:1.000,\n50000-100000.ts?k=1\n"
                    "#EXTINF:1.000,\n100000-150000.ts?k=1\n");
    gw_segments_end(&s, at);
    expect_text(&s, "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:1\n"
                    "#EXT-X-MEDIA-SEQUENCE:0\n#EXT-X-DISCONTINUITY-SEQUENCE:0\n"
                    "#EXTINF:1.000,\n0-50000.ts?k=1\n#EXTINF:1.000,\n50000-100000.ts?k=1\n"
                    "#EXTINF:1.000,\n100000-150000.ts?k=1\n#EXTINF:0.040,\n"
                    "150000-152000.ts?k=1\n#EXT-X-ENDLIST\n");
}

Test(gw_segments, frequent_key_frames_are_gathered_and_rare_ones_promised) {
    static struct gw_segments often, rare;
    uint64_t at = 0, time = 7;
    pictures(&often, &at, &time, 101, 5);
    cr_expect_eq(often.count, 4);
    cr_expect_eq(often.target, 1);
    at = 0;
    pictures(&rare, &at, &time, 301, 100);
    cr_expect_eq(rare.count, 3);
    cr_expect_eq(rare.target, 4);
    /* What was promised holds when there are no key frames at all any more. */
    pictures(&rare, &at, &time, 1000, 2000);
    cr_expect_eq(rare.target, 4);
    for (size_t i = 0; i < rare.count; i++)
        cr_expect_leq((rare.list[i].time + SECOND / 2) / SECOND, 4);
    cr_expect_geq(rare.count, 10);
}

Test(gw_segments, pictures_shown_before_their_key_frame_change_nothing) {
    static struct gw_segments s;
    uint64_t time = 10 * SECOND;
    for (uint64_t i = 0; i < 100; i++) {
        /* Two of three are shown earlier than they are sent, also before a key frame. */
        bool key = i % 25 == 0;
        uint64_t shown = time + i * FRAME - (key ? 0 : i % 3 * 2 * FRAME);
        gw_segments_add(&s, &(struct gw_ts_point){i * OCTETS, shown, key});
    }
    cr_expect_eq(s.count, 3);
    gw_segments_end(&s, 100 * OCTETS);
    cr_expect_eq(s.count, 4);
    for (size_t i = 0; i < s.count; i++)
        cr_expect_not(s.list[i].gap, "segment %zu", i);
    cr_expect_eq(s.list[3].time, (24 + 3) * FRAME); /* those shown are three apart there */
}

Test(gw_segments, holes_and_encoders_that_begin_anew_are_gaps) {
    static struct gw_segments s;
    uint64_t at = 0, time = 0;
    pictures(&s, &at, &time, 60, 25);
    gw_segments_hole(&s); /* the third is given up */
    at += 99 * OCTETS;
    pictures(&s, &at, &time, 30, 25);
    cr_expect_eq(s.count, 3);
    cr_expect(s.list[2].gap);
    time = 1000 * SECOND;
    pictures(&s, &at, &time, 26, 25);
    cr_expect_eq(s.count, 5);
    cr_expect_not(s.list[3].gap);
    cr_expect(s.list[4].gap);
    cr_expect_eq(s.list[3].end, s.list[4].first);
    time = 998 * SECOND;
    pictures(&s, &at, &time, 26, 25);
    cr_expect_eq(s.count, 7); /* one of a single picture, too */
    cr_expect(s.list[6].gap);
    /* Those that go are counted, and so are their gaps. */
    gw_segments_forget(&s, s.list[3].first);
    cr_expect_eq(s.sequence, 3);
    cr_expect_eq(s.gaps, 1);
    cr_expect_eq(s.count, 4);
    gw_segments_forget(&s, at);
    cr_expect_eq(s.count, 0);
    cr_expect_eq(s.gaps, 3);
    cr_expect_not(s.open);
}

Test(gw_segments, the_oldest_go_first) {
    static struct gw_segments s;
    uint64_t at = 0, time = 0;
    pictures(&s, &at, &time, 25 * (GW_SEGMENTS_MAX + 10) + 1, 25);
    cr_expect_eq(s.count, GW_SEGMENTS_MAX);
    cr_expect_eq(s.sequence, 10);
    cr_expect_eq(s.list[s.oldest].first, 10 * 25 * OCTETS);
}

Test(gw_segments, names) {
    static const struct {
        const char *name;
        bool ok;
    } rows[] = {
        {"0-188.ts", true},
        {"18446744073709551614-18446744073709551615.ts", true},
        {"18446744073709551615-18446744073709551616.ts", false},
        {"0-0.ts", false},
        {"5-4.ts", false},
        {"-4.ts", false},
        {"4-.ts", false},
        {"+1-4.ts", false},
        {"1-4.ts/", false},
        {"1-4", false},
        {"", false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint64_t first = 42, end = 42;
        cr_expect_eq(gw_segment_parse(rows[i].name, &first, &end), rows[i].ok, "%s", rows[i].name);
        cr_expect(rows[i].ok || (first == 42 && end == 42), "%s", rows[i].name);
    }
}
