/*
 * The segments of a broadcast that are there (HTTP Live Streaming, RFC 8216), and the
 * playlist that names them. A segment is cut at the first key frame a second behind its
 * beginning, or at any picture when it would get longer than the playlist has promised.
 *
 * A segment is named by its octets in the stream, so that nothing but this list knows
 * of it and it can be asked for as long as the octets are there. Pure; constant memory.
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
};

struct gw_segment {
    uint64_t first, end; /* octets of the stream: [first, end) */
    uint32_t time;       /* in GW_TS_CLOCK */
    bool gap;            /* nothing joins it to the one before */
};

struct gw_segments {
    struct gw_segment list[GW_SEGMENTS_MAX]; /* a ring */
    size_t oldest, count;
    uint64_t sequence, gaps;  /* of the oldest; gaps that are gone */
    uint32_t target;          /* seconds; 0: not promised yet */
    bool open, open_gap, gap; /* of the one that grows; of the next one */
    uint64_t first;
    uint64_t begun;  /* time of its first picture */
    int64_t newest;  /* of its last picture, behind that */
    int64_t between; /* of the last two */
    bool ended;
};

/* The next picture of the stream, in order. */
void gw_segments_add(struct gw_segments *s, const struct gw_ts_point *p);

/* Octets are missing: what grows is given up, and the next picture begins anew. */
void gw_segments_hole(struct gw_segments *s);

/* Octets before `first` are not there any more. */
void gw_segments_forget(struct gw_segments *s, uint64_t first);

/* The stream has ended before octet `end`. */
void gw_segments_end(struct gw_segments *s, uint64_t end);

/* There is enough for a playlist. */
bool gw_segments_ready(const struct gw_segments *s);

/* The playlist; every name in it ends with `suffix`. free() it. NULL: out of memory. */
char *gw_segments_playlist(const struct gw_segments *s, const char *suffix);

/* Reads the name of a segment. */
bool gw_segment_parse(const char *name, uint64_t *ret_first, uint64_t *ret_end);

#endif
