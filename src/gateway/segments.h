/*
 * The segments of a broadcast that are there (HTTP Live Streaming, RFC 8216), and the
 * playlist that names them. A segment is cut at the first key frame a second behind its
 * beginning, or at any picture when it would get longer than the playlist has promised,
 * and never lasts longer than GW_SEGMENT_MOST, whatever its time stamps say.
 *
 * While a segment grows, its parts are named already (Low-Latency HLS, RFC 8216bis): some
 * pictures each, a third of a second together, and the place of the one that comes next.
 *
 * When its pictures were to be seen is said, too (EXT-X-PROGRAM-DATE-TIME): by the clock
 * of this machine, as they came when they were first looked at, so that players that hang
 * on one playlist can agree. A stream that comes with less delay later is ahead of it.
 *
 * A segment is named by its octets in the stream, so that nothing but this list knows
 * of it and it can be asked for as long as the octets are there; a part by its first
 * octet, because its end is not known when it is first named. Pure; constant memory.
 */
#ifndef CULVERT_GATEWAY_SEGMENTS_H
#define CULVERT_GATEWAY_SEGMENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gateway/ts.h"

enum {
    GW_SEGMENTS_MAX = 1024, /* in a playlist; the oldest go first */
    GW_SEGMENTS_BEGIN = 3,  /* so many until there is a playlist: players start so far behind */
    GW_SEGMENT_LEAST = GW_TS_CLOCK * 9 / 10, /* "a second", as encoders count it */
    GW_SEGMENT_MOST = GW_TS_CLOCK * 10,      /* without any key frame */

    GW_PART_TIME = GW_TS_CLOCK * 34 / 100, /* unless pictures are further apart */
    GW_PARTS_SEGMENT = 64,                 /* of a segment; the last one takes the rest */
    GW_SKIP_TARGETS = 6, /* target durations from the end on that a delta update always has */

    GW_PARTS_SEGMENTS = 3, /* so many whole segments, the newest, are named in parts, too */
    GW_PARTS_MAX = (GW_PARTS_SEGMENTS + 1) * GW_PARTS_SEGMENT,
};

struct gw_segment {
    uint64_t first, end; /* octets of the stream: [first, end) */
    uint32_t time;       /* in GW_TS_CLOCK */
    bool gap;            /* nothing joins it to the one before */
    int64_t date;        /* Unix milliseconds when it begins; 0: not known */
};

struct gw_part {
    uint64_t first, end;
    uint64_t segment; /* its number in the playlist */
    uint32_t time;
    bool key; /* begins with a key frame */
};

struct gw_segments {
    struct gw_segment list[GW_SEGMENTS_MAX]; /* a ring */
    size_t oldest, count;
    uint64_t sequence, gaps;  /* of the oldest; gaps that are gone */
    uint32_t target;          /* seconds; 0: not promised yet */
    bool open, open_gap, gap; /* of the one that grows; of the next one */
    uint64_t first;
    int64_t date;                       /* of the one that grows, as above */
    uint64_t begun;                     /* time of its first picture */
    int64_t newest;                     /* of its last picture, behind that */
    int64_t between;                    /* of the last two */
    struct gw_part parts[GW_PARTS_MAX]; /* a ring */
    size_t oldest_part, parts_count;
    uint32_t part_target; /* in GW_TS_CLOCK; 0: not promised yet */
    size_t open_parts;    /* of the segment that grows, named already */
    uint64_t part_first;  /* of the part that grows: its first octet, */
    int64_t part_begun;   /* its time behind the segment's beginning, */
    bool part_key;        /* and how it begins */
    bool ended;
};

/* The next picture of the stream, in order. */
void gw_segments_add(struct gw_segments *s, const struct gw_ts_point *p);

/* All that has come until now (Unix milliseconds; 0: not known) was added: what has no date
 * yet gets one. A date that was given stays. */
void gw_segments_date(struct gw_segments *s, int64_t wall);

/* Octets are missing: of what grows only the parts that were named stay, and the next
 * key frame begins anew. */
void gw_segments_hole(struct gw_segments *s);

/* Octets before `first` are not there any more. */
void gw_segments_forget(struct gw_segments *s, uint64_t first);

/* The stream has ended before octet `end`. */
void gw_segments_end(struct gw_segments *s, uint64_t end);

/* There is enough for a playlist. */
bool gw_segments_ready(const struct gw_segments *s);

/* The number of the segment that grows, or of the next one. */
uint64_t gw_segments_next(const struct gw_segments *s);

/* The playlist names that part of segment `number`, all of it (part -1), or something
 * behind it; or it has ended. */
bool gw_segments_has(const struct gw_segments *s, uint64_t number, int64_t part);

enum gw_part_is {
    GW_PART_UNKNOWN, /* it never was, or it is too old */
    GW_PART_NEXT,    /* it grows */
    GW_PART_WHOLE,
};

/* The part that begins at octet `first`; *ret_end is set when it is whole. */
enum gw_part_is gw_segments_part(const struct gw_segments *s, uint64_t first, uint64_t *ret_end);

/* The playlist; every name in it ends with `suffix`. `skip`: whoever has an earlier one,
 * not older than half of GW_SKIP_TARGETS, is not told of the oldest segments again (a delta
 * update). free() it. NULL: out of memory. */
char *gw_segments_playlist(const struct gw_segments *s, const char *suffix, bool skip);

/* Reads the name of a segment, or of a part. */
bool gw_segment_parse(const char *name, uint64_t *ret_first, uint64_t *ret_end);
bool gw_part_parse(const char *name, uint64_t *ret_first);

#endif
