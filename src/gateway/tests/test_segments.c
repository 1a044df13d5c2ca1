#include <stdlib.h>
#include <string.h>

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
    char *text = gw_segments_playlist(s, "?k=1", false);
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
    expect_text(
        &s, "#EXTM3U\n#EXT-X-VERSION:6\n#EXT-X-TARGETDURATION:1\n"
            "#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,CAN-SKIP-UNTIL=6.0,PART-HOLD-BACK=1.02000\n"
            "#EXT-X-PART-INF:PART-TARGET=0.34000\n"
            "#EXT-X-MEDIA-SEQUENCE:0\n#EXT-X-DISCONTINUITY-SEQUENCE:0\n"
            "#EXT-X-PART:DURATION=0.32000,URI=\"p0.ts?k=1\",INDEPENDENT=YES\n"
            "#EXT-X-PART:DURATION=0.32000,URI=\"p16000.ts?k=1\"\n"
            "#EXT-X-PART:DURATION=0.32000,URI=\"p32000.ts?k=1\"\n"
            "#EXT-X-PART:DURATION=0.04000,URI=\"p48000.ts?k=1\"\n"
            "#EXTINF:1.000,\n0-50000.ts?k=1\n"
            "#EXT-X-PART:DURATION=0.32000,URI=\"p50000.ts?k=1\",INDEPENDENT=YES\n"
            "#EXT-X-PART:DURATION=0.32000,URI=\"p66000.ts?k=1\"\n"
            "#EXT-X-PART:DURATION=0.32000,URI=\"p82000.ts?k=1\"\n"
            "#EXT-X-PART:DURATION=0.04000,URI=\"p98000.ts?k=1\"\n"
            "#EXTINF:1.000,\n50000-100000.ts?k=1\n"
            "#EXT-X-PART:DURATION=0.32000,URI=\"p100000.ts?k=1\",INDEPENDENT=YES\n"
            "#EXT-X-PART:DURATION=0.32000,URI=\"p116000.ts?k=1\"\n"
            "#EXT-X-PART:DURATION=0.32000,URI=\"p132000.ts?k=1\"\n"
            "#EXT-X-PART:DURATION=0.04000,URI=\"p148000.ts?k=1\"\n"
            "#EXTINF:1.000,\n100000-150000.ts?k=1\n"
            "#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"p150000.ts?k=1\"\n");
    gw_segments_end(&s, at);
    gw_segments_forget(&s, 150000);
    expect_text(
        &s, "#EXTM3U\n#EXT-X-VERSION:6\n#EXT-X-TARGETDURATION:1\n"
            "#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,CAN-SKIP-UNTIL=6.0,PART-HOLD-BACK=1.02000\n"
            "#EXT-X-PART-INF:PART-TARGET=0.34000\n"
            "#EXT-X-MEDIA-SEQUENCE:3\n#EXT-X-DISCONTINUITY-SEQUENCE:0\n"
            "#EXT-X-PART:DURATION=0.04000,URI=\"p150000.ts?k=1\",INDEPENDENT=YES\n"
            "#EXTINF:0.040,\n150000-152000.ts?k=1\n#EXT-X-ENDLIST\n");
}

/* Parts lie one behind the other, and make whole segments up. */
static void expect_parts(const struct gw_segments *s) {
    for (size_t i = 0; i < s->parts_count; i++) {
        const struct gw_part *p = &s->parts[(s->oldest_part + i) % GW_PARTS_MAX];
        uint64_t end = 0;
        cr_expect_eq(gw_segments_part(s, p->first, &end), GW_PART_WHOLE);
        cr_expect_eq(end, p->end);
        cr_expect(p->end > p->first && p->time > 0);
        cr_expect(!s->part_target || p->time <= s->part_target);
        if (p->segment >= gw_segments_next(s))
            continue;
        const struct gw_segment *g =
            &s->list[(s->oldest + (p->segment - s->sequence)) % GW_SEGMENTS_MAX];
        cr_expect(p->first >= g->first && p->end <= g->end);
    }
}

Test(gw_segments, parts_can_be_waited_for) {
    static struct gw_segments s;
    uint64_t at = 0, time = 0, end = 0;
    pictures(&s, &at, &time, 75 + 8, 25);
    cr_expect(gw_segments_has(&s, 2, -1) && gw_segments_has(&s, 2, 99));
    cr_expect_not(gw_segments_has(&s, 3, 0) || gw_segments_has(&s, 3, -1));
    cr_expect_eq(gw_segments_part(&s, 150000, &end), GW_PART_NEXT);
    pictures(&s, &at, &time, 1, 25);
    cr_expect(gw_segments_has(&s, 3, 0));
    cr_expect_not(gw_segments_has(&s, 3, 1) || gw_segments_has(&s, 3, -1));
    cr_expect_eq(gw_segments_part(&s, 150000, &end), GW_PART_WHOLE);
    cr_expect_eq(end, 166000);
    cr_expect_eq(gw_segments_part(&s, 166000, &end), GW_PART_NEXT);
    cr_expect_eq(gw_segments_part(&s, 166001, &end), GW_PART_UNKNOWN);
    expect_parts(&s);
    /* What was named stays when octets are missing; what was not is nobody's. */
    gw_segments_hole(&s);
    cr_expect(gw_segments_has(&s, 3, -1));
    cr_expect_eq(s.count, 4);
    cr_expect_eq(s.list[3].end, 166000);
    cr_expect_eq(gw_segments_part(&s, 166000, &end), GW_PART_UNKNOWN);
    gw_segments_hole(&s);
    cr_expect_eq(s.count, 4);
    gw_segments_end(&s, at);
    cr_expect(gw_segments_has(&s, 1000, 5));
}

Test(gw_segments, pictures_far_apart_are_parts_of_their_own) {
    static struct gw_segments s;
    for (uint64_t i = 0; i < 60; i++)
        gw_segments_add(&s, &(struct gw_ts_point){i * OCTETS, i * SECOND / 2, i % 4 == 0});
    cr_expect_eq(s.target, 2);
    cr_expect_eq(s.part_target, SECOND / 2);
    expect_parts(&s);
    cr_expect_eq(s.parts[s.oldest_part].end - s.parts[s.oldest_part].first, OCTETS);
}

Test(gw_segments, no_time_stamps_make_anything_grow) {
    static struct gw_segments s;
    /* Key frames once, then pictures whose times climb, leap, stand and fall. */
    static const int64_t steps[] = {SECOND,     SECOND * 99 / 10, 1,     0,      -SECOND / 2,
                                    SECOND / 3, SECOND * 9,       FRAME, -FRAME, SECOND / 2};
    uint64_t time = 0, at = 0;
    for (uint64_t i = 0; i < 50000; i++) {
        bool key = i < 100 ? i % 25 == 0 : i % 997 == 0;
        gw_segments_add(&s, &(struct gw_ts_point){at, time % GW_TS_WRAP, key});
        time += i < 100 ? (uint64_t)FRAME : (uint64_t)steps[(i * i / 7 + i) % 10];
        at += OCTETS;
        cr_assert_leq(s.target, GW_SEGMENT_MOST / GW_TS_CLOCK, "%llu", (unsigned long long)i);
        cr_assert_leq(s.part_target, GW_SEGMENT_MOST);
        cr_assert_leq(s.open_parts, GW_PARTS_SEGMENT);
    }
    cr_expect_gt(s.sequence + s.count, 1000);
    expect_parts(&s);
    for (size_t i = 0; i < s.count; i++)
        cr_expect_leq(s.list[(s.oldest + i) % GW_SEGMENTS_MAX].time, GW_SEGMENT_MOST + 1);
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
    /* Nor are they longer than is ever promised, or said not to join. */
    static struct gw_segments once;
    at = time = 0;
    pictures(&once, &at, &time, 2500, 5000);
    cr_expect_eq(once.target, 10);
    cr_expect_eq(once.count, 10);
    for (size_t i = 0; i < once.count; i++)
        cr_expect(once.list[i].time <= GW_SEGMENT_MOST && !once.list[i].gap);
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
    gw_segments_hole(&s); /* of the third its first part stays */
    at += 99 * OCTETS;
    pictures(&s, &at, &time, 30, 25);
    cr_expect_eq(s.count, 4);
    cr_expect_eq(s.list[2].time, 8 * FRAME);
    cr_expect(!s.list[2].gap && s.list[3].gap);
    time = 1000 * SECOND;
    pictures(&s, &at, &time, 26, 25);
    cr_expect_eq(s.count, 6);
    cr_expect_not(s.list[4].gap);
    cr_expect(s.list[5].gap);
    cr_expect_eq(s.list[4].end, s.list[5].first);
    time = 998 * SECOND;
    pictures(&s, &at, &time, 26, 25);
    cr_expect_eq(s.count, 8); /* one of a single picture, too */
    cr_expect(s.list[7].gap);
    /* Those that go are counted, and so are their gaps. */
    gw_segments_forget(&s, s.list[4].first);
    cr_expect_eq(s.sequence, 4);
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
    static const char *const no_parts[] = {
        "p.ts", "p-1.ts", "p1", "1.ts", "p1.ts?", "pp1.ts", "p18446744073709551616.ts", ""};
    uint64_t first = 42;
    for (size_t i = 0; i < sizeof no_parts / sizeof *no_parts; i++)
        cr_expect_not(gw_part_parse(no_parts[i], &first), "%s", no_parts[i]);
    cr_expect_eq(first, 42);
    cr_expect(gw_part_parse("p188.ts", &first) && first == 188);
}

/* ---- dates ---- */

static const struct gw_segment *segment(const struct gw_segments *s, size_t i) {
    return &s->list[(s->oldest + i) % GW_SEGMENTS_MAX];
}

Test(gw_segments, say_when_they_were_seen) {
    static struct gw_segments s;
    uint64_t at = 0, time = 7 * SECOND;
    pictures(&s, &at, &time, 90, 25); /* three and 0.6 s, all at once: the last picture is now */
    gw_segments_date(&s, 0);
    cr_expect_eq(segment(&s, 0)->date, 0, "an unknown clock dates nothing");
    gw_segments_date(&s, 1780000003600);
    for (size_t i = 0; i < 3; i++)
        cr_expect_eq(segment(&s, i)->date, 1780000000000 + 1000 * (int64_t)i, "%zu", i);
    cr_expect_eq(s.date, 1780000003000);

    /* What joins goes on from there, whenever it comes; what was said stays. */
    pictures(&s, &at, &time, 35, 50);
    gw_segments_date(&s, 1780000020000);
    gw_segments_date(&s, 1990000000000);
    cr_expect_eq(segment(&s, 0)->date, 1780000000000);
    cr_expect_eq(segment(&s, 3)->date, 1780000003000);

    /* Behind a hole it is as late as it is, ... */
    gw_segments_hole(&s);
    pictures(&s, &at, &time, 26, 25);
    gw_segments_date(&s, 1780000030040);
    cr_expect(segment(&s, s.count - 1)->gap);
    cr_expect_eq(segment(&s, s.count - 1)->date, 1780000029000);
    /* ... and never before what was seen before, also when a clock was set back. */
    gw_segments_hole(&s);
    pictures(&s, &at, &time, 26, 25);
    gw_segments_date(&s, 1700000000000);
    cr_expect_eq(segment(&s, s.count - 1)->date, 1780000030000);
    for (size_t i = 1; i < s.count; i++)
        cr_expect_geq(segment(&s, i)->date,
                      segment(&s, i - 1)->date + segment(&s, i - 1)->time / 90, "%zu", i);
    char *text = gw_segments_playlist(&s, "", false), *one = strstr(text, "DATE-TIME:");
    cr_expect_eq(strncmp(one, "DATE-TIME:2026-05-28T20:26:40.000Z\n", 35), 0, "%.40s", one);
    unsigned dates = 0;
    for (; one; one = strstr(one + 1, "DATE-TIME:"))
        dates++;
    cr_expect_eq(dates, 3, "the first, and behind each hole: %u", dates);
    free(text);
}

Test(gw_segments, who_has_a_list_is_told_the_rest) {
    static struct gw_segments s;
    uint64_t at = 0, time = 0;
    pictures(&s, &at, &time, 6 * 25 + 1, 25);
    gw_segments_date(&s, 1780000000000);
    char *all = gw_segments_playlist(&s, "", false), *rest = gw_segments_playlist(&s, "", true);
    cr_expect_str_eq(all, rest, "nothing is old enough");
    free(all);
    free(rest);
    pictures(&s, &at, &time, 12, 25);
    pictures(&s, &at, &time, 12, 25);
    pictures(&s, &at, &time, 50, 25);
    all = gw_segments_playlist(&s, "", false);
    rest = gw_segments_playlist(&s, "", true);
    char *skip = strstr(rest, "#EXT-X-SKIP:SKIPPED-SEGMENTS=");
    cr_assert_not_null(skip);
    cr_expect(strstr(rest, "#EXT-X-VERSION:9\n"));
    size_t skipped = strtoul(skip + 29, NULL, 10), octets = 0;
    cr_expect_gt(skipped, 0);
    for (size_t i = skipped; i < s.count; i++)
        octets += segment(&s, i)->time;
    cr_expect_geq(octets + (size_t)s.part_begun, (size_t)GW_SKIP_TARGETS * s.target * GW_TS_CLOCK);
    octets -= segment(&s, skipped)->time;
    cr_expect_lt(octets + (size_t)s.part_begun, (size_t)GW_SKIP_TARGETS * s.target * GW_TS_CLOCK);
    /* From its first segment on it is the end of the whole. */
    char *from = strstr(strstr(rest, "PROGRAM-DATE"), "\n") + 1;
    cr_expect_str_eq(from, all + strlen(all) - strlen(from));
    free(all);
    free(rest);
    gw_segments_end(&s, at);
    rest = gw_segments_playlist(&s, "", true);
    cr_expect_null(strstr(rest, "SKIP:"), "a list that ends is told whole");
    free(rest);
}
