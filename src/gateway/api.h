/*
 * The local interface of a running node: JSON over HTTP on a unix socket in the
 * runtime folder, which only its owner can open. The commands status, peers and
 * path are its clients.
 *
 *     GET /api/status   counters of the node
 *     GET /api/swarms   every open swarm with its player link
 *     GET /api/peers    every peer of every swarm: endpoint or pseudonyms, rates
 *     GET /api/path     the hops of every circuit that a swarm uses
 */
#ifndef CULVERT_GATEWAY_API_H
#define CULVERT_GATEWAY_API_H

#include <jansson.h>

#include "base/err.h"
#include "gateway/gateway.h"
#include "io/host.h"

struct gw_api;

/*
 * Listens on `path` (made 0600; a dead node's socket is replaced). Borrows host
 * and gateway (NULL: no links in the answers). On failure *why holds one line.
 */
enum cv_err gw_api_new(struct io_host *host, struct gateway *gateway, const char *path,
                       struct gw_api **ret, struct io_why *why);
struct gw_api *gw_api_free(struct gw_api *a);

/* The answers themselves, also for --json summaries. New references. */
json_t *gw_api_status(struct io_host *host);
json_t *gw_api_swarms(struct io_host *host, const struct gateway *gateway);
json_t *gw_api_peers(struct io_host *host);
json_t *gw_api_path(struct io_host *host);

#endif
