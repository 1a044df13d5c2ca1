/*
 * An answer of the local interface that goes on: one JSON object a line until
 * either side ends it. A reader that is slow loses lines rather than making
 * them pile up here.
 */
#ifndef CULVERT_GATEWAY_STREAM_H
#define CULVERT_GATEWAY_STREAM_H

#include <jansson.h>

struct evhttp_request;
struct gw_stream;

enum { GW_STREAM_BACKLOG = 256 << 10 }; /* octets that may wait for the reader */

/* Starts the answer (200). NULL when out of memory: nothing was sent. */
struct gw_stream *gw_stream_new(struct evhttp_request *req);

/* Borrows `o`. */
void gw_stream_line(struct gw_stream *s, const json_t *o);

/* Called once when the reader goes away; the stream is gone then. */
void gw_stream_on_close(struct gw_stream *s, void (*fn)(void *ctx), void *ctx);

/* Ends and frees it without calling on_close. NULL is allowed. */
void gw_stream_end(struct gw_stream *s);

#endif
