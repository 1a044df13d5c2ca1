#include "gateway/segments.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Of two time stamps, which turn over. */
static int64_t behind(uint64_t time, uint64_t begun) {
    int64_t d = (int64_t)((time - begun) & (GW_TS_WRAP - 1));
    return d < (int64_t)(GW_TS_WRAP / 2) ? d : d - (int64_t)GW_TS_WRAP;
}

static void drop_oldest(struct gw_segments *s) {
    s->gaps += s->list[s->oldest].gap;
    s->oldest = (s->oldest + 1) % GW_SEGMENTS_MAX;
    s->count--;
    s->sequence++;
}

static struct gw_segment *segment_at(struct gw_segments *s, size_t i) {
    return &s->list[(s->oldest + i) % GW_SEGMENTS_MAX];
}

/* ---- dates ---- */

/* What has been shown when the next picture is, in the order of time. */
static int64_t shown(const struct gw_segments *s) {
    int64_t time = s->newest + s->between;
    return time < GW_SEGMENT_MOST ? time : GW_SEGMENT_MOST;
}

static int64_t milliseconds(int64_t time) {
    return time / (GW_TS_CLOCK / 1000);
}

/* Of segment `i`, or of the one that grows (count) as far as it has come. */
static int64_t length(struct gw_segments *s, size_t i) {
    return milliseconds(i == s->count ? shown(s) : segment_at(s, i)->time);
}

static int64_t *date_of(struct gw_segments *s, size_t i) {
    return i == s->count ? &s->date : &segment_at(s, i)->date;
}

static bool joins(struct gw_segments *s, size_t i) {
    return i > 0 && !(i == s->count ? s->open_gap : segment_at(s, i)->gap);
}

/* What was seen last was seen now, and everything before that before it. What joins a
 * segment that has a date goes on from there; a hole has no length that is known. */
void gw_segments_date(struct gw_segments *s, int64_t wall) {
    size_t n = s->count + s->open, i = n;
    int64_t left = 0, before = 1; /* of all that has no date; when the one before it ends */
    if (wall <= 0)
        return;
    while (i > 0 && !*date_of(s, i - 1))
        left += length(s, --i);
    if (i > 0)
        before = *date_of(s, i - 1) + length(s, i - 1);
    for (; i < n; i++) {
        bool goes_on = joins(s, i) || wall - left < before;
        *date_of(s, i) = goes_on ? before : wall - left;
        left -= length(s, i);
        before = *date_of(s, i) + length(s, i);
    }
}

static uint32_t seconds(int64_t time) {
    return (uint32_t)((time + GW_TS_CLOCK / 2) / GW_TS_CLOCK); /* as players round it */
}

uint64_t gw_segments_next(const struct gw_segments *s) {
    return s->sequence + s->count;
}

/* ---- parts ---- */

static const struct gw_part *part_at(const struct gw_segments *s, size_t i) {
    return &s->parts[(s->oldest_part + i) % GW_PARTS_MAX];
}

static void drop_part(struct gw_segments *s) {
    s->oldest_part = (s->oldest_part + 1) % GW_PARTS_MAX;
    s->parts_count--;
}

/* The part that grows is whole; the next one begins there. */
static void cut_part(struct gw_segments *s, uint64_t end, int64_t time, bool next_key) {
    if (s->parts_count == GW_PARTS_MAX)
        drop_part(s);
    uint32_t lasts = (uint32_t)(time - s->part_begun);
    s->parts[(s->oldest_part + s->parts_count++) % GW_PARTS_MAX] =
        (struct gw_part){.first = s->part_first,
                         .end = end,
                         .segment = gw_segments_next(s),
                         .time = lasts,
                         .key = s->part_key};
    if (s->part_target && lasts > s->part_target)
        s->part_target = lasts;
    s->open_parts++;
    s->part_first = end;
    s->part_begun = time;
    s->part_key = next_key;
}

/* A picture of the segment that grows: with it, its part would get too long. */
static void look_at_part(struct gw_segments *s, const struct gw_ts_point *p) {
    int64_t time = shown(s), lasts = time - s->part_begun;
    if (lasts > 0 && lasts + s->between > GW_PART_TIME && s->open_parts + 1 < GW_PARTS_SEGMENT)
        cut_part(s, p->at, time, p->key);
}

/* ---- segments ---- */

/* The most that was needed so far, once there is enough to tell by. */
static void promise(struct gw_segments *s) {
    if (s->target || s->count < GW_SEGMENTS_BEGIN)
        return;
    s->target = 1;
    for (size_t i = 0; i < s->count; i++) {
        uint32_t t = seconds(s->list[(s->oldest + i) % GW_SEGMENTS_MAX].time);
        s->target = t > s->target ? t : s->target;
    }
    s->part_target = GW_PART_TIME;
    for (size_t i = 0; i < s->parts_count; i++)
        s->part_target =
            part_at(s, i)->time > s->part_target ? part_at(s, i)->time : s->part_target;
}

static void close_at(struct gw_segments *s, uint64_t end, int64_t time) {
    s->open = false;
    time = time < GW_SEGMENT_MOST ? time : GW_SEGMENT_MOST;
    bool rest = end > s->part_first;
    if (s->open_parts && time < s->part_begun + rest)
        time = s->part_begun + rest;
    if (time <= 0 || end <= s->first)
        return;
    if (s->count == GW_SEGMENTS_MAX)
        drop_oldest(s);
    if (rest)
        cut_part(s, end, time, false);
    s->list[(s->oldest + s->count++) % GW_SEGMENTS_MAX] = (struct gw_segment){
        .first = s->first, .end = end, .time = (uint32_t)time, .gap = s->open_gap, .date = s->date};
    /* What was promised is kept, unless pictures are further apart than that. */
    if (s->target && seconds(time) > s->target)
        s->target = seconds(time);
    promise(s);
}

static void begin(struct gw_segments *s, const struct gw_ts_point *p) {
    s->open = true;
    s->open_gap = s->gap;
    s->gap = false;
    s->date = 0;
    s->first = s->part_first = p->at;
    s->begun = p->time;
    s->newest = 0; /* pictures go on to be as far apart as they were */
    s->open_parts = 0;
    s->part_begun = 0;
    s->part_key = p->key;
}

/* The next one of the same length would be more than was promised. */
static bool full(const struct gw_segments *s, int64_t time) {
    int64_t most = s->target ? (int64_t)s->target * GW_TS_CLOCK + GW_TS_CLOCK / 2 : GW_SEGMENT_MOST;
    return time + s->between >= (most < GW_SEGMENT_MOST ? most : GW_SEGMENT_MOST);
}

void gw_segments_add(struct gw_segments *s, const struct gw_ts_point *p) {
    int64_t time = s->open ? behind(p->time, s->begun) : 0;
    /* An encoder that began anew, or pictures that nobody sent. */
    bool jump = s->open && (time - s->newest > GW_SEGMENT_MOST || s->newest - time > GW_TS_CLOCK);
    if (jump) {
        close_at(s, p->at, shown(s));
        s->gap = true;
    } else if (s->open && ((p->key && time >= GW_SEGMENT_LEAST) || full(s, time))) {
        s->gap = time > GW_SEGMENT_MOST; /* more than we say that it lasts */
        close_at(s, p->at, time);
        begin(s, p);
        return;
    }
    if (!s->open && p->key) {
        begin(s, p);
    } else if (s->open) {
        if (!s->between && time > s->newest) /* the first two ever */
            s->between = time - s->newest;
        look_at_part(s, p);
        if (time > s->newest) { /* pictures are not sent in the order of time */
            s->between = time - s->newest;
            s->newest = time;
        }
    }
}

void gw_segments_hole(struct gw_segments *s) {
    if (s->open && s->open_parts)
        close_at(s, s->part_first, s->part_begun);
    s->open = false;
    s->gap = true;
}

void gw_segments_forget(struct gw_segments *s, uint64_t first) {
    if (s->open && s->first < first)
        gw_segments_hole(s);
    while (s->count && s->list[s->oldest].first < first)
        drop_oldest(s);
    while (s->parts_count && part_at(s, 0)->first < first)
        drop_part(s);
}

void gw_segments_end(struct gw_segments *s, uint64_t end) {
    if (s->open)
        close_at(s, end, shown(s));
    s->open = false;
    s->ended = true;
}

bool gw_segments_has(const struct gw_segments *s, uint64_t number, int64_t part) {
    uint64_t next = gw_segments_next(s);
    return s->ended || number < next ||
           (number == next && s->open && part >= 0 && (uint64_t)part < s->open_parts);
}

enum gw_part_is gw_segments_part(const struct gw_segments *s, uint64_t first, uint64_t *ret_end) {
    for (size_t i = s->parts_count; i-- > 0;) {
        if (part_at(s, i)->first == first) {
            *ret_end = part_at(s, i)->end;
            return GW_PART_WHOLE;
        }
    }
    return s->open && s->part_first == first ? GW_PART_NEXT : GW_PART_UNKNOWN;
}

bool gw_segments_ready(const struct gw_segments *s) {
    return s->target || s->ended;
}

/* ---- the playlist ---- */

static void write_date(FILE *out, int64_t date) {
    time_t second = (time_t)(date / 1000);
    struct tm tm;
    char text[32];
    if (date > 0 && gmtime_r(&second, &tm) && strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &tm))
        fprintf(out, "#EXT-X-PROGRAM-DATE-TIME:%s.%03dZ\n", text, (int)(date % 1000));
}

/* The parts of segment `number`, when all that were made are known; *i: where they are
 * looked for. */
static void write_parts(const struct gw_segments *s, FILE *out, uint64_t number, size_t *i,
                        const char *suffix) {
    while (*i < s->parts_count && part_at(s, *i)->segment < number)
        ++*i;
    for (; *i < s->parts_count && part_at(s, *i)->segment == number; ++*i) {
        const struct gw_part *p = part_at(s, *i);
        fprintf(out, "#EXT-X-PART:DURATION=%.5f,URI=\"p%" PRIu64 ".ts%s\"%s\n",
                (double)p->time / GW_TS_CLOCK, p->first, suffix, p->key ? ",INDEPENDENT=YES" : "");
    }
}

static void write_head(const struct gw_segments *s, FILE *out, bool delta) {
    uint32_t target = s->target ? s->target : GW_SEGMENT_MOST / GW_TS_CLOCK;
    fprintf(out, "#EXTM3U\n#EXT-X-VERSION:%d\n#EXT-X-TARGETDURATION:%" PRIu32 "\n", delta ? 9 : 6,
            target);
    if (s->part_target)
        fprintf(out,
                "#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,CAN-SKIP-UNTIL=%" PRIu32
                ".0,PART-HOLD-BACK=%.5f\n"
                "#EXT-X-PART-INF:PART-TARGET=%.5f\n",
                GW_SKIP_TARGETS * target, 3.0 * s->part_target / GW_TS_CLOCK,
                (double)s->part_target / GW_TS_CLOCK);
    fprintf(out, "#EXT-X-MEDIA-SEQUENCE:%" PRIu64 "\n#EXT-X-DISCONTINUITY-SEQUENCE:%" PRIu64 "\n",
            s->sequence, s->gaps);
}

/* What grows. */
static void write_open(const struct gw_segments *s, FILE *out, size_t *i, const char *suffix) {
    if (!s->open || !s->part_target)
        return;
    fputs(s->open_gap ? "#EXT-X-DISCONTINUITY\n" : "", out);
    if (s->open_gap)
        write_date(out, s->date);
    write_parts(s, out, gw_segments_next(s), i, suffix);
    fprintf(out, "#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"p%" PRIu64 ".ts%s\"\n", s->part_first,
            suffix);
}

/* How many of the oldest end so far before the end of the playlist that they need not be
 * said again. */
static size_t skipped(const struct gw_segments *s) {
    int64_t left = (int64_t)GW_SKIP_TARGETS * s->target * GW_TS_CLOCK;
    size_t n = s->count;
    if (!s->part_target || s->ended)
        return 0;
    left -= s->open ? s->part_begun : 0;
    for (; n > 0 && left > 0; n--)
        left -= s->list[(s->oldest + n - 1) % GW_SEGMENTS_MAX].time;
    return n;
}

char *gw_segments_playlist(const struct gw_segments *s, const char *suffix, bool skip) {
    char *text = NULL;
    size_t from = skip ? skipped(s) : 0;
    size_t len = 0, part = 0;
    FILE *out = open_memstream(&text, &len);
    if (!out)
        return NULL;
    write_head(s, out, from > 0);
    if (from > 0)
        fprintf(out, "#EXT-X-SKIP:SKIPPED-SEGMENTS=%zu\n", from);
    for (size_t i = from; i < s->count; i++) {
        const struct gw_segment *g = &s->list[(s->oldest + i) % GW_SEGMENTS_MAX];
        fputs(g->gap ? "#EXT-X-DISCONTINUITY\n" : "", out);
        if (g->gap || i == from) /* those that join it follow from its length */
            write_date(out, g->date);
        if (s->part_target && i + GW_PARTS_SEGMENTS >= s->count)
            write_parts(s, out, s->sequence + i, &part, suffix);
        fprintf(out, "#EXTINF:%.3f,\n%" PRIu64 "-%" PRIu64 ".ts%s\n", (double)g->time / GW_TS_CLOCK,
                g->first, g->end, suffix);
    }
    write_open(s, out, &part, suffix);
    if (s->ended)
        fprintf(out, "#EXT-X-ENDLIST\n");
    bool whole = !ferror(out);
    if (fclose(out) == 0 && whole)
        return text;
    free(text);
    return NULL;
}

/* Plain digits that fit. */
static bool number(const char **at, uint64_t *ret) {
    const char *start = *at;
    uint64_t v = 0;
    for (; **at >= '0' && **at <= '9'; ++*at)
        if (__builtin_mul_overflow(v, 10, &v) ||
            __builtin_add_overflow(v, (uint64_t)(**at - '0'), &v))
            return false;
    *ret = v;
    return *at != start;
}

bool gw_segment_parse(const char *name, uint64_t *ret_first, uint64_t *ret_end) {
    uint64_t first, end;
    if (!number(&name, &first) || *name++ != '-' || !number(&name, &end) ||
        strcmp(name, ".ts") != 0 || first >= end)
        return false;
    *ret_first = first;
    *ret_end = end;
    return true;
}

bool gw_part_parse(const char *name, uint64_t *ret_first) {
    uint64_t first;
    if (*name++ != 'p' || !number(&name, &first) || strcmp(name, ".ts") != 0)
        return false;
    *ret_first = first;
    return true;
}
