/*
 * The loopback HTTP gateway: a plain link per file that any player opens, the
 * page, and the local interface for it.
 *
 *     http://127.0.0.1:PORT/s/ID/NAME?k=TOKEN     a file
 *     http://127.0.0.1:PORT/s/ID/NAME/PATH?k=TOKEN     a file of a folder (folder.h);
 *                                                 of FILE.srt also FILE.vtt (captions.h)
 *     http://127.0.0.1:PORT/s/ID/NAME/hls.m3u8?k=TOKEN a broadcast in segments (hls.h)
 *     http://127.0.0.1:PORT/                      the page (page.h)
 *     http://127.0.0.1:PORT/#t=TOKEN              the page, with every right: what is
 *                                                 behind # stays in the browser
 *     http://127.0.0.1:PORT/#k=TICKET             the same once; either with &watch=LINK: and
 *                                                 that film plays
 *     http://127.0.0.1:PORT/#watch=LINK           fills in the link and gives no right
 *     http://127.0.0.1:PORT/api/..., /metrics     the interface (api.h)
 *
 * ID names the swarm, TOKEN lets whoever has the link read this file and do
 * nothing else (players cannot set headers). Both are stable across restarts as
 * long as `secret` is. Answers 200, 206, 304, 401, 403, 404, 416 and 421 (guard.h says which when);
 * a body waits for chunks that are not there yet. One event loop with everything else; a slow
 * reader costs one 64 KiB piece.
 */
#ifndef CULVERT_GATEWAY_GATEWAY_H
#define CULVERT_GATEWAY_GATEWAY_H

#include <stddef.h>
#include <stdint.h>

#include "base/endpoint.h"
#include "base/err.h"
#include "io/host.h"

struct evhttp_request;
struct gateway;

enum {
    GW_SECRET = 32,
    GW_LINK_MAX = 1024,
    GW_HEADERS_MAX = 8192, /* octets of a request's head */
    /* Octets of a request's body: of a piece of a file, or a wish. All of it is read before it
     * is looked at, and no more than GW_AHEAD_MAX is read at once. */
    GW_BODY_MAX = 65536,
    GW_WANTED_MAX = 8 << 20, /* octets of a wish: it may name thousands of files */
    GW_AHEAD_MAX = 65536,    /* octets of further requests, sent before the answer */
    GW_BACKLOG = 128,        /* connections that wait to be accepted */
    GW_TIMEOUT_SECONDS = 10, /* for the head of a request */
    GW_READER_SECONDS = 60,  /* for a reader of events or of a task to take what waits */
    GW_RESPONSES_MAX = 64,   /* bodies under way */
};

/* Between looks at players that wait. */
#define GW_SWEEP CV_SEC(2)

struct gateway_config {
    struct cv_addr listen;     /* loopback only; port 0 = any */
    uint8_t secret[GW_SECRET]; /* makes the files' tokens */
    uint8_t token[16];         /* of the interface: anew at every start */
};

/* Borrows the host. On failure *why holds one clear line. */
enum cv_err gateway_new(struct io_host *host, const struct gateway_config *cfg,
                        struct gateway **ret, struct io_why *why);
struct gateway *gateway_free(struct gateway *g);

/* Gets requests for /api/... and /metrics after the gateway's own checks
 * (guard.h). NULL: there is no such thing. Borrows ctx. */
typedef void gw_api_fn(void *ctx, struct evhttp_request *req, const char *path);
void gateway_on_api(struct gateway *g, gw_api_fn *fn, void *ctx);

/* The link that opens the page with every right; returns `out`. Who has it can do
 * what the owner can. */
const char *gateway_page(const struct gateway *g, char out[GW_LINK_MAX]);
/* The same for a browser that somebody starts with it: good once, and for a minute
 * (ticket.h). &watch=LINK behind it opens that film at once. */
const char *gateway_page_once(struct gateway *g, char out[GW_LINK_MAX]);
/* The token for the ticket that an Authorization header holds; NULL: that is none. */
const char *gateway_take_ticket(struct gateway *g, const char *authorization);
/* The right alone, for programs: Authorization: Bearer TOKEN. Lives as long as g. */
const char *gateway_token(const struct gateway *g);

uint16_t gateway_port(const struct gateway *g);

/* The link of an open swarm's file, or of a folder's playlist; returns `out`. */
const char *gateway_link(const struct gateway *g, const struct node_uri *uri,
                         char out[GW_LINK_MAX]);

/* The link of a broadcast's playlist for players of segments; returns `out`. */
const char *gateway_hls(const struct gateway *g, const struct node_uri *uri, char out[GW_LINK_MAX]);

/* How far the player that is furthest in a film has read it, in octets of its swarm;
 * false: none reads. */
bool gateway_reads(const struct gateway *g, cv_handle swarm, uint64_t *ret_at);

/* Octets sent to players since the start. */
uint64_t gateway_sent(const struct gateway *g);

#endif
