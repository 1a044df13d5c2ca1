/*
 * A transport stream as a stranger broadcasts it, cut into the segments of a playlist
 * (gateway/ts.h, gateway/segments.h). Input: one octet that says in which pieces the
 * stream comes and where octets are missing, then the stream.
 *
 * Property: the same pictures in whatever pieces it comes; each begins at a sync octet,
 * behind the one before; segments lie one behind the other and say when they do not
 * join; none is longer than the playlist promises, which is never more than
 * GW_SEGMENT_MOST; each says when it was, none before the one before it; parts make whole segments
 * up; every name in the playlist reads as the octets of its segment, or as a part that is known.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/segments.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct run {
    struct gw_ts ts;
    struct gw_segments segments;
    struct gw_ts_point last;
    size_t points;
    uint64_t sum; /* over all points, to compare runs by */
};

static void take(struct run *r, const uint8_t *stream, size_t len) {
    struct gw_ts_point p;
    while (gw_ts_next(&r->ts, &p)) {
        assert(p.at < len && stream[p.at] == 0x47 && p.time < GW_TS_WRAP);
        assert(!r->points || p.at > r->last.at);
        r->last = p;
        r->points++;
        r->sum = r->sum * 31 + p.at * 7 + p.time * 2 + p.key;
        gw_segments_add(&r->segments, &p);
    }
}

static void read_stream(struct run *r, const uint8_t *stream, size_t len, size_t piece,
                        size_t hole) {
    for (size_t at = 0; at < len; at += piece) {
        if (hole && at / piece % hole == hole - 1) {
            gw_segments_hole(&r->segments);
            gw_ts_begin(&r->ts, at + piece);
            continue;
        }
        gw_ts_feed(&r->ts, stream + at, len - at < piece ? len - at : piece);
        take(r, stream, len);
        /* by a clock that runs, and is set back now and then */
        gw_segments_date(&r->segments, 1780000000000 + (int64_t)(at * (at % 5)));
    }
}

static void check_list(const struct gw_segments *s) {
    const struct gw_segment *before = NULL;
    for (size_t i = 0; i < s->count; i++) {
        const struct gw_segment *g = &s->list[(s->oldest + i) % GW_SEGMENTS_MAX];
        assert(g->first < g->end && g->time > 0);
        assert(g->date > 0 && (!before || g->date >= before->date));
        assert(!before || (g->first >= before->end && (g->gap || g->first == before->end)));
        assert(!s->target || (g->time + GW_TS_CLOCK / 2) / GW_TS_CLOCK <= s->target);
        before = g;
    }
}

static void check_parts(const struct gw_segments *s) {
    const struct gw_part *before = NULL;
    assert(s->target <= GW_SEGMENT_MOST / GW_TS_CLOCK && s->open_parts <= GW_PARTS_SEGMENT);
    for (size_t i = 0; i < s->parts_count; i++) {
        const struct gw_part *p = &s->parts[(s->oldest_part + i) % GW_PARTS_MAX];
        assert(p->first < p->end && p->time > 0 && p->segment <= gw_segments_next(s));
        assert(!s->part_target || p->time <= s->part_target);
        assert(!before || before->segment != p->segment || before->end == p->first);
        assert(!before || before->segment <= p->segment);
        before = p;
        if (p->segment < s->sequence || p->segment == gw_segments_next(s))
            continue;
        const struct gw_segment *g =
            &s->list[(s->oldest + (p->segment - s->sequence)) % GW_SEGMENTS_MAX];
        assert(p->first >= g->first && p->end <= g->end);
        bool last = i + 1 == s->parts_count ||
                    s->parts[(s->oldest_part + i + 1) % GW_PARTS_MAX].segment != p->segment;
        assert(!last || p->end == g->end);
    }
}

/* The part that a line of the playlist names. */
static void check_name(const struct gw_segments *s, char *line) {
    uint64_t first, end;
    char *name = strstr(line, "URI=\"");
    if (!name)
        return;
    name += 5;
    name[strcspn(name, "\"")] = 0;
    bool hint = strncmp(line, "#EXT-X-PRELOAD", 14) == 0;
    if (!gw_part_parse(name, &first))
        abort();
    assert(gw_segments_part(s, first, &end) == (hint ? GW_PART_NEXT : GW_PART_WHOLE));
}

static void check_playlist(const struct gw_segments *s, bool skip) {
    char *text = gw_segments_playlist(s, "", skip), *rest = text, *line;
    char *told = text ? strstr(text, "#EXT-X-SKIP:SKIPPED-SEGMENTS=") : NULL;
    size_t i = told ? strtoul(told + 29, NULL, 10) : 0;
    if (!text)
        abort();
    assert(!told || (skip && i > 0 && i < s->count && !s->ended));
    while ((line = strsep(&rest, "\n")) != NULL) {
        uint64_t first, end;
        if (line[0] == '#')
            check_name(s, line);
        if (line[0] == '#' || !line[0])
            continue;
        const struct gw_segment *g = &s->list[(s->oldest + i++) % GW_SEGMENTS_MAX];
        assert(gw_segment_parse(line, &first, &end) && first == g->first && end == g->end);
    }
    assert(i == s->count);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct run whole, pieces;
    if (size < 1)
        return 0;
    const uint8_t *stream = data + 1;
    size_t len = size - 1, piece = 1 + (data[0] & 0x3f) * 7, hole = data[0] >> 6;
    memset(&whole, 0, sizeof whole);
    memset(&pieces, 0, sizeof pieces);
    read_stream(&whole, stream, len, len ? len : 1, 0);
    read_stream(&pieces, stream, len, hole ? 1000 : piece, hole ? hole + 2 : 0);
    assert(hole || (whole.points == pieces.points && whole.sum == pieces.sum));
    check_list(&pieces.segments);
    check_parts(&pieces.segments);
    check_playlist(&pieces.segments, false);
    check_playlist(&pieces.segments, true);
    gw_segments_forget(&pieces.segments, len / 2);
    check_list(&pieces.segments);
    check_parts(&pieces.segments);
    gw_segments_end(&pieces.segments, len);
    gw_segments_date(&pieces.segments, 1780000000000);
    check_list(&pieces.segments);
    check_parts(&pieces.segments);
    check_playlist(&pieces.segments, true);
    assert(gw_segments_ready(&pieces.segments));
    return 0;
}
