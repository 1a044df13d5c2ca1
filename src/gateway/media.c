#include "gateway/media.h"

#include <assert.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/http.h>
#include <stdlib.h>

struct gw_media {
    struct gw_media_config cfg;
    struct evbuffer *piece;
    uint64_t at;   /* next octet to send */
    uint64_t want; /* the wish at the node */
    bool wanted, waiting;
};

static void drop_wish(struct gw_media *m) {
    if (!m->wanted)
        return;
    m->wanted = false;
    node_unwant(io_host_node(m->cfg.host), io_host_now(m->cfg.host), m->cfg.swarm, m->want);
    io_host_kick(m->cfg.host);
}

/* The connection is already going away, or ends with this reply. */
static void finish(struct gw_media *m) {
    drop_wish(m);
    m->cfg.done(m->cfg.done_ctx, m);
    evbuffer_free(m->piece);
    free(m);
}

static void on_close(struct evhttp_connection *conn, void *arg) {
    (void)conn;
    struct gw_media *m = arg;
    struct evhttp_request *req = m->cfg.req;
    finish(m);
    /* evhttp takes a request that is still answered off a connection that the
     * other side closed: it is ours then. */
    if (!evhttp_request_get_connection(req))
        evhttp_request_free(req);
}

static void end_reply(struct gw_media *m) {
    struct evhttp_request *req = m->cfg.req;
    struct evhttp_connection *conn = evhttp_request_get_connection(req);
    evhttp_connection_set_closecb(conn, NULL, NULL);
    evhttp_connection_set_timeout(conn, m->cfg.idle_seconds);
    finish(m);
    evhttp_send_reply_end(req);
}

static void produce(struct gw_media *m);

static void on_flushed(struct evhttp_connection *conn, void *arg) {
    (void)conn;
    produce(arg);
}

/* One piece into the evbuffer; octets read, AGAIN, or an error. */
static ssize_t fill_piece(struct gw_media *m) {
    uint64_t left = m->cfg.last - m->at + 1;
    struct evbuffer_iovec v;
    if (evbuffer_reserve_space(m->piece, GW_PIECE, &v, 1) != 1)
        return CV_ERR_NOMEM;
    size_t n = left < GW_PIECE ? (size_t)left : GW_PIECE;
    ssize_t got = node_read(io_host_node(m->cfg.host), m->cfg.swarm, m->at, v.iov_base, n);
    v.iov_len = got > 0 ? (size_t)got : 0;
    evbuffer_commit_space(m->piece, &v, 1);
    return got;
}

static void produce(struct gw_media *m) {
    m->waiting = false;
    if (m->at > m->cfg.last) {
        end_reply(m);
        return;
    }
    ssize_t got = fill_piece(m);
    if (got == CV_ERR_AGAIN) {
        m->waiting = true;
        return;
    }
    if (got <= 0) {
        /* The length is already promised: a cut connection is the only honest
         * way left to say that the rest does not come. */
        gw_media_abort(m);
        return;
    }
    m->at += (uint64_t)got;
    *m->cfg.sent += (uint64_t)got;
    evhttp_send_reply_chunk_with_cb(m->cfg.req, m->piece, on_flushed, m);
}

struct gw_media *gw_media_start(const struct gw_media_config *cfg) {
    assert(cfg->first <= cfg->last);
    struct gw_media *m = calloc(1, sizeof *m);
    struct evbuffer *piece = m ? evbuffer_new() : NULL;
    if (!piece) {
        free(m);
        return NULL;
    }
    m->cfg = *cfg;
    m->piece = piece;
    m->at = cfg->first;
    if (node_want(io_host_node(cfg->host), io_host_now(cfg->host), cfg->swarm, cfg->first,
                  cfg->last, 0, &m->want) != CV_ERR_OK) {
        evbuffer_free(piece);
        free(m);
        return NULL;
    }
    m->wanted = true;
    io_host_kick(cfg->host);
    struct evhttp_connection *conn = evhttp_request_get_connection(cfg->req);
    evhttp_connection_set_closecb(conn, on_close, m);
    /* A body may wait long for its chunks, and a player may pause for hours. */
    bufferevent_set_timeouts(evhttp_connection_get_bufferevent(conn), NULL, NULL);
    evhttp_send_reply_start(cfg->req, cfg->status, cfg->status == 206 ? "Partial Content" : "OK");
    m->waiting = true;
    return m;
}

void gw_media_ready(struct gw_media *m, cv_handle swarm) {
    if (m->waiting && m->cfg.swarm == swarm)
        produce(m);
}

void gw_media_abort(struct gw_media *m) {
    struct evhttp_connection *conn = evhttp_request_get_connection(m->cfg.req);
    evhttp_connection_set_closecb(conn, NULL, NULL);
    finish(m);
    evhttp_connection_free(conn);
}
