#include "gateway/segments.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

static uint32_t seconds(int64_t time) {
    return (uint32_t)((time + GW_TS_CLOCK / 2) / GW_TS_CLOCK); /* as players round it */
}

static void close_at(struct gw_segments *s, uint64_t end, int64_t time) {
    s->open = false;
    if (time <= 0 || end <= s->first)
        return;
    if (s->count == GW_SEGMENTS_MAX)
        drop_oldest(s);
    s->list[(s->oldest + s->count++) % GW_SEGMENTS_MAX] = (struct gw_segment){
        .first = s->first, .end = end, .time = (uint32_t)time, .gap = s->open_gap};
    /* What was promised is kept, unless pictures are further apart than that. */
    if (s->target && seconds(time) > s->target)
        s->target = seconds(time);
    if (s->target || s->count < GW_SEGMENTS_BEGIN)
        return;
    uint32_t longest = 1;
    for (size_t i = 0; i < s->count; i++) {
        uint32_t t = seconds(s->list[(s->oldest + i) % GW_SEGMENTS_MAX].time);
        longest = t > longest ? t : longest;
    }
    s->target = longest;
}

static void begin(struct gw_segments *s, const struct gw_ts_point *p) {
    s->open = true;
    s->open_gap = s->gap;
    s->gap = false;
    s->first = p->at;
    s->begun = p->time;
    s->newest = 0; /* pictures go on to be as far apart as they were */
}

/* The next one of the same length would be more than was promised. */
static bool full(const struct gw_segments *s, int64_t time) {
    int64_t most = s->target ? (int64_t)s->target * GW_TS_CLOCK + GW_TS_CLOCK / 2 : GW_SEGMENT_MOST;
    return time + s->between >= most;
}

void gw_segments_add(struct gw_segments *s, const struct gw_ts_point *p) {
    int64_t time = s->open ? behind(p->time, s->begun) : 0;
    /* An encoder that began anew, or pictures that nobody sent. */
    bool jump = s->open && (time - s->newest > GW_SEGMENT_MOST || s->newest - time > GW_TS_CLOCK);
    if (jump) {
        close_at(s, p->at, s->newest + s->between);
        s->gap = true;
    } else if (s->open && ((p->key && time >= GW_SEGMENT_LEAST) || full(s, time))) {
        close_at(s, p->at, time);
        begin(s, p);
        return;
    }
    if (!s->open && p->key)
        begin(s, p);
    else if (s->open && time > s->newest) { /* pictures are not sent in the order of time */
        s->between = time - s->newest;
        s->newest = time;
    }
}

void gw_segments_hole(struct gw_segments *s) {
    s->open = false;
    s->gap = true;
}

void gw_segments_forget(struct gw_segments *s, uint64_t first) {
    while (s->count && s->list[s->oldest].first < first)
        drop_oldest(s);
    if (s->open && s->first < first)
        gw_segments_hole(s);
}

void gw_segments_end(struct gw_segments *s, uint64_t end) {
    if (s->open)
        close_at(s, end, s->newest + s->between);
    s->open = false;
    s->ended = true;
}

bool gw_segments_ready(const struct gw_segments *s) {
    return s->target || s->ended;
}

char *gw_segments_playlist(const struct gw_segments *s, const char *suffix) {
    uint32_t target = s->target ? s->target : GW_SEGMENT_MOST / GW_TS_CLOCK;
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    if (!out)
        return NULL;
    fprintf(out,
            "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:%" PRIu32
            "\n#EXT-X-MEDIA-SEQUENCE:%" PRIu64 "\n#EXT-X-DISCONTINUITY-SEQUENCE:%" PRIu64 "\n",
            target, s->sequence, s->gaps);
    for (size_t i = 0; i < s->count; i++) {
        const struct gw_segment *g = &s->list[(s->oldest + i) % GW_SEGMENTS_MAX];
        fprintf(out, "%s#EXTINF:%.3f,\n%" PRIu64 "-%" PRIu64 ".ts%s\n",
                g->gap ? "#EXT-X-DISCONTINUITY\n" : "", (double)g->time / GW_TS_CLOCK, g->first,
                g->end, suffix);
    }
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
