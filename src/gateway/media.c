#include "gateway/media.h"

#include <assert.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/http.h>
#include <stdlib.h>

#include "gateway/gateway.h"

struct gw_media {
    struct gw_media_config cfg;
    struct evbuffer *piece;
    uint64_t at;   /* next octet to send */
    uint64_t want; /* the wish at the node */
    bool wanted, waiting;
    bool begun;      /* live: `at` is known */
    uint64_t stuck;  /* live: `at` when it was last swept, */
    unsigned sweeps; /* and so often since */
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

/* The newest part without holes, or the end of it. */
static void begin_live(struct gw_media *m) {
    struct node *n = io_host_node(m->cfg.host);
    uint64_t first, end, last = 0, from = 0;
    if (!node_live_span(n, m->cfg.swarm, &from, &end))
        return;
    while (node_range(n, m->cfg.swarm, from, &first, &last)) {
        m->at = last + 1 - first > GW_LIVE_BEHIND ? last + 1 - GW_LIVE_BEHIND : first;
        m->begun = true;
        from = last + 1;
    }
}

/* Where the next octet of a live stream is read; false: nowhere yet. */
static bool find_live(struct gw_media *m) {
    uint64_t first, end;
    if (!m->begun)
        begin_live(m);
    else if (node_live_span(io_host_node(m->cfg.host), m->cfg.swarm, &first, &end) && m->at < first)
        m->at = first; /* it was too slow, and the window has moved on */
    return m->begun;
}

/* MPEG-TS has packets of 188 octets that begin with 0x47; a demultiplexer that
 * gets them from the first octet on has less to guess. 0: it is something else. */
static size_t before_sync(const uint8_t *data, size_t len) {
    enum { PACKET = 188, SYNC = 0x47 };
    for (size_t i = 0; i < PACKET && i + 2 * PACKET < len; i++)
        if (data[i] == SYNC && data[i + PACKET] == SYNC && data[i + 2 * PACKET] == SYNC)
            return i;
    return 0;
}

/* One piece into the evbuffer; octets read, AGAIN, or an error. */
static ssize_t fill_piece(struct gw_media *m) {
    struct evbuffer_iovec v;
    bool first = m->cfg.live && !m->begun;
    if (m->cfg.live && !find_live(m)) {
        uint8_t any;
        return node_read(io_host_node(m->cfg.host), m->cfg.swarm, 0, &any, 1) == CV_ERR_NOENT
                   ? CV_ERR_NOENT
                   : CV_ERR_AGAIN;
    }
    uint64_t left = m->cfg.last - m->at + 1;
    if (evbuffer_reserve_space(m->piece, GW_PIECE, &v, 1) != 1)
        return CV_ERR_NOMEM;
    size_t n = left < GW_PIECE ? (size_t)left : GW_PIECE;
    ssize_t got = node_read(io_host_node(m->cfg.host), m->cfg.swarm, m->at, v.iov_base, n);
    v.iov_len = got > 0 ? (size_t)got : 0;
    size_t skip = first && got > 0 ? before_sync(v.iov_base, (size_t)got) : 0;
    evbuffer_commit_space(m->piece, &v, 1);
    evbuffer_drain(m->piece, skip);
    return got;
}

static void produce(struct gw_media *m) {
    m->waiting = false;
    if (m->at > m->cfg.last) { /* also of a live stream that has ended */
        end_reply(m);
        return;
    }
    ssize_t got = fill_piece(m);
    if (got == CV_ERR_AGAIN && !m->cfg.stored) {
        m->waiting = true;
        if (!m->cfg.live) /* who watches what is just happening always waits for more */
            node_starves(io_host_node(m->cfg.host), io_host_now(m->cfg.host), m->cfg.swarm);
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
    assert(cfg->live || cfg->first <= cfg->last);
    struct gw_media *m = calloc(1, sizeof *m);
    struct evbuffer *piece = m ? evbuffer_new() : NULL;
    if (!piece) {
        free(m);
        return NULL;
    }
    m->cfg = *cfg;
    m->piece = piece;
    m->at = cfg->first;
    m->cfg.last = cfg->live ? UINT64_MAX - 1 : cfg->last;
    bool asks = !cfg->live && !cfg->stored;
    if (asks && node_want(io_host_node(cfg->host), io_host_now(cfg->host), cfg->swarm, cfg->first,
                          cfg->last, 0, &m->want) != CV_ERR_OK) {
        evbuffer_free(piece);
        free(m);
        return NULL;
    }
    m->wanted = asks;
    io_host_kick(cfg->host);
    struct evhttp_connection *conn = evhttp_request_get_connection(cfg->req);
    evhttp_connection_set_closecb(conn, on_close, m);
    /* A body may wait long for its chunks, and a player may pause for hours. */
    bufferevent_set_timeouts(evhttp_connection_get_bufferevent(conn), NULL, NULL);
    evhttp_send_reply_start(cfg->req, cfg->status, cfg->status == 206 ? "Partial Content" : "OK");
    if (cfg->head) {
        evbuffer_add(m->piece, cfg->head, cfg->head_len);
        m->cfg.head = NULL;
    }
    m->waiting = true;
    return m;
}

void gw_media_ready(struct gw_media *m, cv_handle swarm) {
    if (m->waiting && m->cfg.swarm == swarm)
        produce(m);
}

bool gw_media_reads(const struct gw_media *m, cv_handle swarm, uint64_t *ret_at) {
    if (m->cfg.swarm != swarm || m->cfg.live || m->cfg.stored)
        return false;
    *ret_at = m->at;
    return true;
}

void gw_media_skip(struct gw_media *m, cv_handle swarm, uint64_t to) {
    if (!m->cfg.live || m->cfg.swarm != swarm)
        return;
    if (m->begun && m->at < to)
        m->at = to;
    gw_media_ready(m, swarm);
}

void gw_media_ended(struct gw_media *m, cv_handle swarm, uint64_t length) {
    if (!m->cfg.live || m->cfg.swarm != swarm)
        return;
    uint64_t first, end;
    m->cfg.last = length ? length - 1 : 0;
    if (!m->begun && !node_live_span(io_host_node(m->cfg.host), swarm, &first, &end)) {
        m->begun = true; /* it ended before anything came */
        m->at = m->cfg.last + 1;
    }
    gw_media_ready(m, swarm);
}

/* What the source of a broadcast said is told once, and may be lost on the way. */
static void step_over(struct gw_media *m) {
    uint64_t first, last;
    m->sweeps = m->stuck == m->at ? m->sweeps + 1 : 0;
    m->stuck = m->at;
    if (m->begun && m->sweeps >= GW_LIVE_PATIENCE &&
        node_range(io_host_node(m->cfg.host), m->cfg.swarm, m->at, &first, &last))
        m->at = first;
}

void gw_media_sweep(struct gw_media *m) {
    struct evhttp_connection *conn = evhttp_request_get_connection(m->cfg.req);
    struct evbuffer *in = bufferevent_get_input(evhttp_connection_get_bufferevent(conn));
    if (evbuffer_get_length(in) >= GW_AHEAD_MAX) {
        gw_media_abort(m);
        return;
    }
    if (m->cfg.live && m->waiting)
        step_over(m);
    gw_media_ready(m, m->cfg.swarm);
}

void gw_media_abort(struct gw_media *m) {
    struct evhttp_connection *conn = evhttp_request_get_connection(m->cfg.req);
    evhttp_connection_set_closecb(conn, NULL, NULL);
    finish(m);
    evhttp_connection_free(conn);
}
