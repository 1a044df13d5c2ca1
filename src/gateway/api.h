/*
 * The local interface of a running node: JSON over HTTP on a unix socket in the
 * runtime folder, which only its owner can open. The other commands are its
 * clients; the page is one through the gateway, which asks for a token.
 *
 *     GET /api/status   counters of the node
 *     GET /api/swarms   every open swarm with its player link
 *     GET /api/peers    every peer of every swarm: endpoint or pseudonyms, rates
 *     GET /api/path     the hops of every circuit that a swarm uses
 *     GET /api/page     {"page": the link that opens the page}
 *     POST /api/tickets {"page": the same, good once and for a minute}
 *     POST /api/token   {"token": what Authorization: Bearer wants}, for Authorization:
 *                       Ticket (ticket.h)
 *     GET /api/qr?text=LINK  {"rows": ["1011...", ...]}: a QR code, 1 for dark, without
 *                       its border
 *     GET /api/events   all of status, swarms and peers, again when it changed, at
 *                       most once a second: Server-Sent Events (events.h)
 *     GET /metrics      counters for monitoring, OpenMetrics (metrics.h)
 *     GET /api/ledger   of a relay: why something in its ledger changed, and what it agrees
 *                       on with other relays; of others why our own account's class changed
 *     GET /api/drops    files that were dropped on the page (drop.h)
 *     POST /api/drops?id=ID&name=NAME&length=OCTETS&at=OCTETS   a piece of one; answers
 *                       how much of it is there
 *     DELETE /api/drops?id=ID   removes one
 *     POST /api/camera?session=SESSION&number=N   a piece of a recording for the command
 *                       that broadcasts the page's camera (feed.h)
 *     DELETE /api/camera?session=SESSION   the end of that recording
 *     POST /api/tasks   {"verb": "share", "get", "play" or "live", "argument": FILE or URI,
 *                       "folder": where relative names stand, "options": {NAME: TEXT
 *                       or [TEXT...]}}, paths absolute: does it as long as the
 *                       connection stays, and answers with what the command prints,
 *                       one JSON object a line, and {"event": "end", "status": N}
 */
#ifndef CULVERT_GATEWAY_API_H
#define CULVERT_GATEWAY_API_H

#include <jansson.h>
#include <stdbool.h>

#include "base/err.h"
#include "gateway/drop.h"
#include "gateway/gateway.h"
#include "gateway/stream.h"
#include "io/host.h"

struct gw_api;

/*
 * Listens on `path` (made 0600; a dead node's socket is replaced, a living one's
 * is EXIST). Borrows host and gateway (NULL: no links in the answers). On failure
 * *why holds one line.
 */
enum cv_err gw_api_new(struct io_host *host, struct gateway *gateway, const char *path,
                       struct gw_api **ret, struct io_why *why);
struct gw_api *gw_api_free(struct gw_api *a);

/* Something is wanted: do it and say how it goes on `stream`, which is the
 * callee's when it returns true. Borrows `wanted`, an object. */
typedef bool gw_wanted_fn(void *ctx, json_t *wanted, struct gw_stream *stream);
void gw_api_on_wanted(struct gw_api *a, gw_wanted_fn *fn, void *ctx);

/* Adds to the answer of /api/status what others than the node know. */
void gw_api_on_status(struct gw_api *a, void (*add)(void *ctx, json_t *status), void *ctx);

/* Files are taken from the page into `all` (borrowed; NULL: none are): `whole` is called
 * when one is there, `gone` before one is removed. */
struct gw_api_drops {
    struct gw_drops *all;
    void (*whole)(void *ctx, const struct gw_drop *drop);
    void (*gone)(void *ctx, const struct gw_drop *drop);
    void *ctx;
};
void gw_api_on_drops(struct gw_api *a, const struct gw_api_drops *drops);

/* What the page's camera records goes into `fd`, which becomes ours, until the end. False:
 * out of memory, or it goes somewhere already; the descriptor is closed. */
bool gw_api_feed(struct gw_api *a, int fd);
void gw_api_feed_end(struct gw_api *a);

/* What /api/ledger answers; `rows` gives a new reference, NULL when it cannot. */
void gw_api_on_ledger(struct gw_api *a, json_t *(*rows)(void *ctx), void *ctx);

/* The answers themselves, also for --json summaries. New references. */
json_t *gw_api_status(struct io_host *host);
json_t *gw_api_swarms(struct io_host *host, const struct gateway *gateway);
json_t *gw_api_peers(struct io_host *host);
/* [{name, uri, length, ended}...], the newest first. */
json_t *gw_api_recordings(const struct node_recordings *r, const struct node_uri *channel);
json_t *gw_api_path(struct io_host *host);

#endif
