/*
 * Broadcasts as HTTP Live Streaming, for players that cannot take an endless file:
 *
 *     .../s/ID/NAME/hls.m3u8?k=TOKEN         the playlist (segments.h)
 *         &_HLS_msn=N[&_HLS_part=N]          the same, once it names that segment or part
 *     .../s/ID/NAME/FIRST-END.ts?k=TOKEN     a segment: the stream's tables, then its
 *                                            octets as they came
 *     .../s/ID/NAME/pFIRST.ts?k=TOKEN        a part of one, once it is whole
 *
 * A stream is read through once from when its playlist is first asked for, and the
 * playlist holds what is in the swarm's window. The first answer waits until there is
 * something to play and what is there was read; what cannot be cut into segments is
 * refused (415). Constant memory a stream, and a bounded part of it read in a turn.
 */
#ifndef CULVERT_GATEWAY_HLS_H
#define CULVERT_GATEWAY_HLS_H

#include <stdbool.h>
#include <stdint.h>

#include "gateway/ts.h"
#include "io/host.h"

struct evhttp_request;
struct gw_hls;

enum {
    GW_HLS_STREAMS = 8,
    GW_HLS_WAITING = 32, /* requests: for a first playlist, for one that says more, for a part */
    GW_HLS_AHEAD = 1,    /* segments behind the one that grows that can be waited for */
    GW_HLS_PATIENCE = 3, /* target durations until what is waited for does not come */
    GW_HLS_SUFFIX = 64,
    GW_HLS_TURN = 4 << 20,         /* octets of a stream read in one turn of the loop */
    GW_HLS_TABLES_MAX = 4 << 20,   /* octets without tables: it is no MPEG-TS of ours */
    GW_HLS_PICTURE_MAX = 64 << 20, /* without a segment: more than ten seconds of any video */
    GW_HLS_END_PATIENCE = 15,      /* sweeps until lost last octets are given up */
};

#define GW_HLS_PLAYLIST "hls.m3u8"

/* Borrows the host. NULL: out of memory. */
struct gw_hls *gw_hls_new(struct io_host *host);
struct gw_hls *gw_hls_free(struct gw_hls *h);

/* What a playlist must name before it is sent. */
struct gw_hls_until {
    bool any; /* whatever it names: the rest means nothing */
    uint64_t segment;
    int64_t part; /* -1: all of the segment */
    bool skip;    /* a delta update is enough */
};

/* Answers a request for the playlist of a live swarm, now or later; headers that all
 * answers have are set. `length` is UINT64_MAX while it goes on; `suffix` ends every
 * name in it. What lies too far ahead is refused (400), what does not come in time, too
 * (503). False: too much is being watched already, nothing was answered. */
bool gw_hls_playlist(struct gw_hls *h, struct evhttp_request *req, cv_handle swarm, uint64_t length,
                     const char *suffix, const struct gw_hls_until *until);

/* Answers with octets [first, end) of the stream; they are there, or were not long ago. */
typedef void gw_hls_send_fn(void *ctx, struct evhttp_request *req, cv_handle swarm, uint64_t first,
                            uint64_t end);

/* Has the part that begins at octet `first` sent, now or once it is whole; or refuses it
 * as above, or with 404. False as above. */
bool gw_hls_part(struct gw_hls *h, struct evhttp_request *req, cv_handle swarm, uint64_t first,
                 gw_hls_send_fn *send, void *ctx);

/* The tables of a stream whose playlist was asked for; NULL: none are known. */
const uint8_t *gw_hls_tables(const struct gw_hls *h, cv_handle swarm);

/* The same as gw_media's, in media.h. */
void gw_hls_ready(struct gw_hls *h, cv_handle swarm);
void gw_hls_skip(struct gw_hls *h, cv_handle swarm, uint64_t to);
void gw_hls_ended(struct gw_hls *h, cv_handle swarm, uint64_t length);
/* True while there is something to look after. */
bool gw_hls_sweep(struct gw_hls *h);

#endif
