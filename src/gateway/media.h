/*
 * One answer of the gateway: octets first..last of one swarm, sent as they are
 * verified. Produces at most one piece a flush, because evhttp queues without
 * bound; wishes for chunks are dropped in the same tick in which the player
 * goes away. Of a live swarm: from shortly behind the newest on, without end;
 * what is missed or forgotten meanwhile is left out.
 */
#ifndef CULVERT_GATEWAY_MEDIA_H
#define CULVERT_GATEWAY_MEDIA_H

#include <stdbool.h>
#include <stdint.h>

#include "io/host.h"

struct evhttp_request;
struct gw_media;

enum {
    GW_PIECE = 65536,
    GW_LIVE_PATIENCE = 3,       /* sweeps until a hole in a live stream is left out */
    GW_LIVE_BEHIND = 256 << 10, /* octets of a live stream that a player gets at once */
};

/* Tells the owner that `m` has ended (and is freed right after). */
typedef void gw_media_done_fn(void *ctx, struct gw_media *m);

struct gw_media_config {
    struct io_host *host;
    struct evhttp_request *req;
    cv_handle swarm;
    bool live;           /* first and last mean nothing */
    bool stored;         /* all of it is there: nothing is asked for or waited for */
    const uint8_t *head; /* octets that go ahead of it; copied. NULL: none */
    size_t head_len;
    uint64_t first, last; /* inclusive */
    int idle_seconds;     /* the connection's time limit again after this reply */
    int status;           /* 200 or 206; headers are already set on req */
    uint64_t *sent;       /* counts octets given to the connection */
    gw_media_done_fn *done;
    void *done_ctx;
};

/* Sends the head of the reply; the body begins with the first gw_media_ready().
 * NULL when out of memory or the swarm is gone (no reply sent). */
struct gw_media *gw_media_start(const struct gw_media_config *cfg);

/* Octets of `swarm` became readable: goes on if it waits. */
void gw_media_ready(struct gw_media *m, cv_handle swarm);

/* Whether it sends octets of `swarm` that may still have to come; the next one. */
bool gw_media_reads(const struct gw_media *m, cv_handle swarm, uint64_t *ret_at);

/* Now and then: ends a reply whose swarm is gone, or whose player sends without
 * reading (it may have hung up: we would not notice); brings a live stream over
 * a hole that nothing fills. */
void gw_media_sweep(struct gw_media *m);

/* Octets before `to` of a live swarm do not come any more. */
void gw_media_skip(struct gw_media *m, cv_handle swarm, uint64_t to);

/* A live swarm has `length` octets and no more. */
void gw_media_ended(struct gw_media *m, cv_handle swarm, uint64_t length);

/* Ends the reply early (the gateway closes): drops the connection. */
void gw_media_abort(struct gw_media *m);

#endif
