/* What gateway.c and serve.c share: the gateway itself, its links, and answers. */
#ifndef CULVERT_GATEWAY_GATEWAY_PRIV_H
#define CULVERT_GATEWAY_GATEWAY_PRIV_H

#include "gateway/captions.h"
#include "gateway/connections.h"
#include "gateway/folder.h"
#include "gateway/gateway.h"
#include "gateway/guard.h"
#include "gateway/hls.h"
#include "gateway/media.h"
#include "gateway/reply.h"
#include "gateway/ticket.h"

struct evhttp;

enum { GW_ID_TEXT = 2 * 8 + 1, GW_MEDIA_TOKEN_TEXT = 2 * 16 + 1 };

struct gateway {
    struct io_host *host;
    struct gateway_config cfg;
    struct evhttp *http;
    struct gw_connections *connections;
    struct gw_media *media[GW_RESPONSES_MAX];
    size_t media_count;
    struct gw_hls *hls;
    struct gw_captions *captions;
    struct gw_folder folder;
    uint64_t sent;
    uint16_t port;
    struct gw_self self;
    struct gw_tickets tickets;
    gw_api_fn *api;
    void *api_ctx;
    struct io_timer *sweep;
    bool sweeps; /* the timer is set */
};

/* Of a link: what names the swarm, what lets read it, and all before its token. */
void gw_id_text(const struct node_uri *uri, char out[GW_ID_TEXT]);
void gw_token_text(const struct gateway *g, const struct node_uri *uri,
                   char out[GW_MEDIA_TOKEN_TEXT]);
void gw_base_text(const struct gateway *g, const struct node_uri *uri, char out[GW_LINK_MAX]);

/* A GET or HEAD of what stands behind /s/. */
void gw_serve(struct gateway *g, struct evhttp_request *req, const char *path);

/* Who waits is looked at from now on, while there is somebody. */
void gw_sweep_soon(struct gateway *g);

#endif
