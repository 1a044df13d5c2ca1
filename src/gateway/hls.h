/*
 * Broadcasts as HTTP Live Streaming, for players that cannot take an endless file:
 *
 *     .../s/ID/NAME/hls.m3u8?k=TOKEN         the playlist (segments.h)
 *     .../s/ID/NAME/FIRST-END.ts?k=TOKEN     a segment: the stream's tables, then its
 *                                            octets as they came
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
    GW_HLS_WAITING = 16, /* for their first playlist */
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

/* Answers a request for the playlist of a live swarm, now or later; headers that all
 * answers have are set. `length` is UINT64_MAX while it goes on; `suffix` ends every
 * name in it. False: too much is being watched already, nothing was answered. */
bool gw_hls_playlist(struct gw_hls *h, struct evhttp_request *req, cv_handle swarm, uint64_t length,
                     const char *suffix);

/* The tables of a stream whose playlist was asked for; NULL: none are known. */
const uint8_t *gw_hls_tables(const struct gw_hls *h, cv_handle swarm);

/* The same as gw_media's, in media.h. */
void gw_hls_ready(struct gw_hls *h, cv_handle swarm);
void gw_hls_skip(struct gw_hls *h, cv_handle swarm, uint64_t to);
void gw_hls_ended(struct gw_hls *h, cv_handle swarm, uint64_t length);
/* True while there is something to look after. */
bool gw_hls_sweep(struct gw_hls *h);

#endif
