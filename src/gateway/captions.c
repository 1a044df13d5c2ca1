#include "gateway/captions.h"

#include <event2/buffer.h>
#include <event2/http.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/gateway.h"
#include "gateway/reply.h"
#include "gateway/subtitle.h"

struct waiting {
    struct gw_captions *all;
    struct evhttp_request *req; /* NULL: free */
    cv_handle swarm;
    uint64_t at, length, want;
};

struct gw_captions {
    struct io_host *host;
    struct waiting waiting[GW_CAPTIONS_WAITING];
};

struct gw_captions *gw_captions_new(struct io_host *host) {
    struct gw_captions *c = calloc(1, sizeof *c);
    if (c)
        c->host = host;
    return c;
}

static void drop_wish(struct waiting *w) {
    struct io_host *host = w->all->host;
    node_unwant(io_host_node(host), io_host_now(host), w->swarm, w->want);
    io_host_kick(host);
}

static void on_close(struct evhttp_connection *conn, void *arg) {
    (void)conn;
    struct waiting *w = arg;
    struct evhttp_request *req = w->req;
    drop_wish(w);
    w->req = NULL;
    /* evhttp takes a request that is still answered off a connection that the
     * other side closed: it is ours then. */
    if (!evhttp_request_get_connection(req))
        evhttp_request_free(req);
}

/* All of it; NULL: it is not there, or there is no memory. */
static uint8_t *read_all(struct node *n, cv_handle swarm, uint64_t at, uint64_t length) {
    if (node_available(n, swarm, at) < length)
        return NULL;
    uint8_t *data = malloc((size_t)length);
    for (uint64_t done = 0; data && done < length;) {
        ssize_t got = node_read(n, swarm, at + done, data + done, (size_t)(length - done));
        if (got <= 0) {
            free(data);
            return NULL;
        }
        done += (uint64_t)got;
    }
    return data;
}

static void answer(struct evhttp_request *req, const uint8_t *data, size_t len) {
    size_t n = 0;
    char *text = gw_subtitle_vtt(data, len, &n);
    if (!text) {
        gw_refuse(req, 503, "No subtitles can be made of it");
        return;
    }
    gw_answer(req, "text/vtt; charset=utf-8", text, n);
    free(text);
}

static struct evhttp_request *release(struct waiting *w) {
    struct evhttp_request *req = w->req;
    gw_unwatch(req);
    drop_wish(w);
    w->req = NULL;
    return req;
}

bool gw_captions_serve(struct gw_captions *c, struct evhttp_request *req, cv_handle swarm,
                       uint64_t at, uint64_t length) {
    struct node *n = io_host_node(c->host);
    size_t i = 0;
    if (!length || length > GW_SUBTITLE_MAX)
        return false;
    uint8_t *data = read_all(n, swarm, at, length);
    if (data) {
        answer(req, data, (size_t)length);
        free(data);
        return true;
    }
    while (i < GW_CAPTIONS_WAITING && c->waiting[i].req)
        i++;
    struct waiting w = {.all = c, .req = req, .swarm = swarm, .at = at, .length = length};
    if (i == GW_CAPTIONS_WAITING ||
        node_want(n, io_host_now(c->host), swarm, at, at + length - 1, 0, &w.want) != CV_ERR_OK)
        return false;
    io_host_kick(c->host);
    c->waiting[i] = w;
    gw_watch(req, on_close, &c->waiting[i]);
    return true;
}

void gw_captions_ready(struct gw_captions *c, cv_handle swarm) {
    for (size_t i = 0; i < GW_CAPTIONS_WAITING; i++) {
        struct waiting *w = &c->waiting[i];
        uint8_t *data = w->req && w->swarm == swarm
                            ? read_all(io_host_node(c->host), swarm, w->at, w->length)
                            : NULL;
        if (data)
            answer(release(w), data, (size_t)w->length);
        free(data);
    }
}

bool gw_captions_sweep(struct gw_captions *c) {
    bool any = false;
    for (size_t i = 0; i < GW_CAPTIONS_WAITING; i++) {
        struct waiting *w = &c->waiting[i];
        uint8_t first;
        if (w->req && node_read(io_host_node(c->host), w->swarm, 0, &first, 1) == CV_ERR_NOENT)
            gw_refuse(release(w), 503, "Swarm is closing");
        any |= w->req != NULL;
    }
    return any;
}

struct gw_captions *gw_captions_free(struct gw_captions *c) {
    if (!c)
        return NULL;
    for (size_t i = 0; i < GW_CAPTIONS_WAITING; i++)
        if (c->waiting[i].req)
            gw_refuse(release(&c->waiting[i]), 503, "The node is stopping");
    free(c);
    return NULL;
}
