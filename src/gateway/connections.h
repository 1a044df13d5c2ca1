/*
 * Connections to the gateway: there are so many at most, and each says what it wants soon.
 * The HTTP server's own limit is between two octets, so that somebody who sends one a second
 * would stay for good; here all of a request has to be there GW_TIMEOUT_SECONDS after the
 * connection, or after the last answer. While an answer is under way nothing is asked of it.
 */
#ifndef CULVERT_GATEWAY_CONNECTIONS_H
#define CULVERT_GATEWAY_CONNECTIONS_H

#include <stdint.h>

#include "io/loop.h"

struct evhttp;
struct evhttp_request;
struct gw_connections;

/* For one more the one that has waited longest without a request is closed; when all are
 * being answered, the new one. */
enum { GW_CONNECTIONS_MAX = 256 };

/* Watches over connections to `http` that come to a TCP port of this machine from now on;
 * borrows both, and is freed after `http`. NULL: out of memory. */
struct gw_connections *gw_connections_new(struct io_loop *loop, struct evhttp *http);
struct gw_connections *gw_connections_free(struct gw_connections *c);

/* A whole request has come; its answer may take as long as it takes. */
void gw_connections_asked(struct gw_connections *c, struct evhttp_request *req);

#endif
