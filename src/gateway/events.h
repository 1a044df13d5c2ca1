/*
 * What changes, pushed: text/event-stream (Server-Sent Events). Once a second
 * every listener gets the whole state as one event "state" when it differs from
 * the one before, else now and then a comment that keeps the connection open. A
 * listener that does not read gets nothing new until it has: an event is a
 * whole state, so nothing is lost by leaving some out. For the same reason events
 * have no id and Last-Event-ID is not read: whoever comes, or comes back, gets
 * the whole state first.
 */
#ifndef CULVERT_GATEWAY_EVENTS_H
#define CULVERT_GATEWAY_EVENTS_H

#include <jansson.h>
#include <stdbool.h>

#include "io/host.h"

struct evhttp_request;
struct gw_events;

enum {
    GW_LISTENERS_MAX = 8,            /* pages open at once */
    GW_LISTENER_BACKLOG = 256 << 10, /* octets that may wait for one of them */
    GW_EVENTS_QUIET = 15,            /* seconds without change until a comment is sent */
};

/* The state to tell of; a new reference, NULL when out of memory. */
typedef json_t *gw_state_fn(void *ctx);

/* NULL when out of memory. Borrows the host and ctx. */
struct gw_events *gw_events_new(struct io_host *host, gw_state_fn *state, void *ctx);
struct gw_events *gw_events_free(struct gw_events *e);

/* The answer to `req` goes on until either side ends it. False: there are too
 * many, and nothing was answered. */
bool gw_events_listen(struct gw_events *e, struct evhttp_request *req);

#endif
