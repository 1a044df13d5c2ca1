#include "gateway/hls.h"

#include <event2/buffer.h>
#include <event2/http.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/gateway.h"
#include "gateway/media.h"
#include "gateway/reply.h"
#include "gateway/segments.h"
#include "io/clock.h"

/* What a request is for: a playlist, or, with `send`, a part. */
struct wish {
    char suffix[GW_HLS_SUFFIX];
    struct gw_hls_until until;
    uint64_t first;
    gw_hls_send_fn *send;
    void *ctx;
};

struct waiting {
    struct gw_hls *hls;
    struct evhttp_request *req; /* NULL: free */
    cv_handle swarm;
    struct wish wish;
    unsigned sweeps; /* since it waits */
};

struct stream {
    cv_handle swarm; /* 0: free */
    bool begun;      /* `at` is known */
    uint64_t at;     /* next octet to read */
    uint64_t length; /* UINT64_MAX: it goes on */
    uint64_t stuck;  /* as gw_media has it */
    unsigned sweeps;
    bool behind;     /* there is more to read than a turn allowed */
    uint64_t barren; /* octets read since the last segment, */
    uint64_t made;   /* and how many there were then */
    struct gw_ts ts;
    struct gw_segments segments;
};

struct gw_hls {
    struct io_host *host;
    struct io_timer *turn; /* goes on reading */
    struct stream *streams[GW_HLS_STREAMS];
    struct waiting waiting[GW_HLS_WAITING];
    uint8_t piece[GW_PIECE];
};

static struct stream *find(const struct gw_hls *h, cv_handle swarm) {
    for (size_t i = 0; i < GW_HLS_STREAMS; i++)
        if (h->streams[i] && h->streams[i]->swarm == swarm)
            return h->streams[i];
    return NULL;
}

static bool is_open(const struct gw_hls *h, cv_handle swarm) {
    uint8_t any;
    return node_read(io_host_node(h->host), swarm, 0, &any, 1) != CV_ERR_NOENT;
}

static struct stream *make(struct gw_hls *h, cv_handle swarm) {
    size_t free_at = 0;
    while (free_at < GW_HLS_STREAMS && h->streams[free_at])
        free_at++;
    struct stream *s = free_at < GW_HLS_STREAMS ? calloc(1, sizeof *s) : NULL;
    if (!s)
        return NULL;
    s->swarm = swarm;
    s->length = UINT64_MAX;
    h->streams[free_at] = s;
    return s;
}

/* ---- answers ---- */

static void on_close(struct evhttp_connection *conn, void *arg) {
    (void)conn;
    struct waiting *w = arg;
    struct evhttp_request *req = w->req;
    w->req = NULL;
    /* evhttp takes a request that is still answered off a connection that the
     * other side closed: it is ours then. */
    if (!evhttp_request_get_connection(req))
        evhttp_request_free(req);
}

static void send_playlist(const struct stream *s, struct evhttp_request *req,
                          const struct wish *w) {
    char *text = gw_segments_playlist(&s->segments, w->suffix, w->until.skip);
    if (!text) {
        gw_refuse(req, 503, "Service Unavailable");
        return;
    }
    gw_answer(req, "application/vnd.apple.mpegurl", text, strlen(text));
    free(text);
}

/* It is not watched over any more; its connection goes on. */
static struct evhttp_request *release(struct waiting *w) {
    struct evhttp_request *req = w->req;
    gw_unwatch(req);
    w->req = NULL;
    return req;
}

/* Nothing in it can be made a segment: it is something else, or has no pictures and no
 * sound that we know. What says so is sent several times a second. */
static bool is_hopeless(const struct stream *s) {
    bool over = s->segments.ended && !s->ts.have_tables && s->barren;
    return over || (!gw_segments_ready(&s->segments) &&
                    s->barren >= (s->ts.have_tables ? GW_HLS_PICTURE_MAX : GW_HLS_TABLES_MAX));
}

/* Whether there is an answer now. */
static bool is_due(const struct stream *s, const struct wish *w) {
    uint64_t end;
    if (is_hopeless(s))
        return true;
    if (w->send)
        return gw_segments_part(&s->segments, w->first, &end) != GW_PART_NEXT;
    const struct gw_segments *list = &s->segments;
    bool far = !w->until.any && w->until.segment > gw_segments_next(list) + GW_HLS_AHEAD;
    return gw_segments_ready(list) && !s->behind &&
           (far || w->until.any || gw_segments_has(list, w->until.segment, w->until.part));
}

/* What is due. */
static void answer(const struct stream *s, struct evhttp_request *req, const struct wish *w) {
    uint64_t end;
    if (is_hopeless(s))
        gw_refuse(req, 415, "The broadcast is no MPEG-TS with key frames or sound of a known kind");
    else if (w->send && gw_segments_part(&s->segments, w->first, &end) == GW_PART_WHOLE)
        w->send(w->ctx, req, s->swarm, w->first, end);
    else if (w->send)
        gw_refuse(req, 404, "Not Found");
    else if (w->until.any || gw_segments_has(&s->segments, w->until.segment, w->until.part))
        send_playlist(s, req, w);
    else
        gw_refuse(req, 400, "That segment is too far ahead");
}

static void answer_waiting(struct gw_hls *h, const struct stream *s) {
    for (size_t i = 0; i < GW_HLS_WAITING; i++) {
        struct waiting *w = &h->waiting[i];
        if (w->req && w->swarm == s->swarm && is_due(s, &w->wish))
            answer(s, release(w), &w->wish);
    }
}

static bool answer_or_wait(struct gw_hls *h, const struct stream *s, struct evhttp_request *req,
                           const struct wish *wish) {
    size_t i = 0;
    if (is_due(s, wish)) {
        answer(s, req, wish);
        return true;
    }
    while (i < GW_HLS_WAITING && h->waiting[i].req)
        i++;
    if (i == GW_HLS_WAITING)
        return false;
    h->waiting[i] = (struct waiting){.hls = h, .req = req, .swarm = s->swarm, .wish = *wish};
    gw_watch(req, on_close, &h->waiting[i]);
    return true;
}

/* What was to come next and does not: the broadcast stands still. */
static void give_up_waiting(struct gw_hls *h, const struct stream *s) {
    uint64_t patience = CV_SEC((uint64_t)GW_HLS_PATIENCE * s->segments.target) / GW_SWEEP + 2;
    for (size_t i = 0; i < GW_HLS_WAITING; i++) {
        struct waiting *w = &h->waiting[i];
        bool first = !w->wish.send && w->wish.until.any;
        if (w->req && w->swarm == s->swarm && !first && ++w->sweeps > patience)
            gw_refuse(release(w), 503, "The broadcast stands still");
    }
}

/* ---- reading ---- */

static void jump(struct stream *s, uint64_t to) {
    s->at = to;
    gw_ts_begin(&s->ts, to);
    gw_segments_hole(&s->segments);
}

static void feed(struct stream *s, const uint8_t *data, size_t len) {
    struct gw_ts_point p;
    gw_ts_feed(&s->ts, data, len);
    while (gw_ts_next(&s->ts, &p))
        gw_segments_add(&s->segments, &p);
    s->at += len;
    uint64_t made = s->segments.sequence + s->segments.count;
    s->barren = made == s->made ? s->barren + len : 0;
    s->made = made;
}

/* Where to read; false: nowhere yet. */
static bool place(struct gw_hls *h, struct stream *s) {
    struct node *n = io_host_node(h->host);
    uint64_t first, end, last;
    if (!node_live_span(n, s->swarm, &first, &end))
        return false;
    gw_segments_forget(&s->segments, first);
    if (s->begun && s->at < first)
        jump(s, first);
    if (!s->begun && node_range(n, s->swarm, first, &first, &last)) {
        s->begun = true;
        s->at = first;
        gw_ts_begin(&s->ts, first);
    }
    return s->begun;
}

/* Reads what is there, from the beginning of the window on: so much now, the rest when
 * others have had their turn. */
static void advance(struct gw_hls *h, struct stream *s) {
    ssize_t got = 0;
    uint64_t read = 0;
    while (read < GW_HLS_TURN && place(h, s) &&
           (got = node_read(io_host_node(h->host), s->swarm, s->at, h->piece, sizeof h->piece)) >
               0) {
        feed(s, h->piece, (size_t)got);
        read += (uint64_t)got;
    }
    s->behind = read >= GW_HLS_TURN;
    if (!s->behind)
        gw_segments_date(&s->segments, io_clock_wall_ms());
    if (s->behind) {
        cv_usec now = io_host_now(h->host).mono;
        io_timer_at(h->turn, now, now);
    }
    if (s->at >= s->length || (s->length != UINT64_MAX && !s->begun))
        gw_segments_end(&s->segments, s->length);
}

bool gw_hls_playlist(struct gw_hls *h, struct evhttp_request *req, cv_handle swarm, uint64_t length,
                     const char *suffix, const struct gw_hls_until *until) {
    struct stream *s = find(h, swarm);
    struct wish wish = {.until = *until};
    snprintf(wish.suffix, sizeof wish.suffix, "%s", suffix);
    if (!s)
        s = make(h, swarm);
    if (!s)
        return false;
    s->length = length;
    advance(h, s);
    return answer_or_wait(h, s, req, &wish);
}

bool gw_hls_part(struct gw_hls *h, struct evhttp_request *req, cv_handle swarm, uint64_t first,
                 gw_hls_send_fn *send, void *ctx) {
    struct stream *s = find(h, swarm);
    if (!s) {
        gw_refuse(req, 404, "Not Found");
        return true;
    }
    return answer_or_wait(h, s, req, &(struct wish){.first = first, .send = send, .ctx = ctx});
}

const uint8_t *gw_hls_tables(const struct gw_hls *h, cv_handle swarm) {
    const struct stream *s = find(h, swarm);
    return s && s->ts.have_tables ? s->ts.tables : NULL;
}

void gw_hls_ready(struct gw_hls *h, cv_handle swarm) {
    struct stream *s = find(h, swarm);
    if (!s)
        return;
    advance(h, s);
    answer_waiting(h, s);
}

void gw_hls_skip(struct gw_hls *h, cv_handle swarm, uint64_t to) {
    struct stream *s = find(h, swarm);
    if (s && s->begun && s->at < to)
        jump(s, to);
    gw_hls_ready(h, swarm);
}

void gw_hls_ended(struct gw_hls *h, cv_handle swarm, uint64_t length) {
    struct stream *s = find(h, swarm);
    if (s) {
        s->length = length;
        s->sweeps = 0; /* patience begins anew */
    }
    gw_hls_ready(h, swarm);
}

static void close_stream(struct gw_hls *h, size_t i) {
    for (size_t j = 0; j < GW_HLS_WAITING; j++)
        if (h->waiting[j].req && h->waiting[j].swarm == h->streams[i]->swarm)
            gw_refuse(release(&h->waiting[j]), 503, "Swarm is closing");
    free(h->streams[i]);
    h->streams[i] = NULL;
}

/* A hole that nothing fills is stepped over, as a player of the plain stream does. When
 * the broadcast is over and its end is what is missing, the playlist ends before that. */
static void step_over(struct gw_hls *h, struct stream *s) {
    uint64_t first, last;
    s->sweeps = s->stuck == s->at ? s->sweeps + 1 : 0;
    s->stuck = s->at;
    if (!s->begun || s->sweeps < GW_LIVE_PATIENCE)
        return;
    if (!node_range(io_host_node(h->host), s->swarm, s->at, &first, &last)) {
        if (s->at < s->length && s->length != UINT64_MAX && s->sweeps >= GW_HLS_END_PATIENCE) {
            gw_segments_end(&s->segments, s->at);
            s->at = s->length; /* what comes after all is not read */
        }
    } else if (first > s->at) {
        jump(s, first);
    }
}

bool gw_hls_sweep(struct gw_hls *h) {
    bool any = false;
    for (size_t i = 0; i < GW_HLS_STREAMS; i++) {
        struct stream *s = h->streams[i];
        if (!s)
            continue;
        if (!is_open(h, s->swarm)) {
            close_stream(h, i);
            continue;
        }
        any = true;
        step_over(h, s);
        gw_hls_ready(h, s->swarm);
        give_up_waiting(h, s);
    }
    return any;
}

static void on_turn(void *ctx) {
    struct gw_hls *h = ctx;
    for (size_t i = 0; i < GW_HLS_STREAMS; i++)
        if (h->streams[i] && h->streams[i]->behind)
            gw_hls_ready(h, h->streams[i]->swarm);
}

struct gw_hls *gw_hls_new(struct io_host *host) {
    struct gw_hls *h = calloc(1, sizeof *h);
    if (!h)
        return NULL;
    h->host = host;
    h->turn = io_timer_new(io_host_loop(host), on_turn, h);
    return h->turn ? h : gw_hls_free(h);
}

struct gw_hls *gw_hls_free(struct gw_hls *h) {
    if (!h)
        return NULL;
    for (size_t i = 0; i < GW_HLS_STREAMS; i++)
        if (h->streams[i])
            close_stream(h, i);
    io_timer_free(h->turn);
    free(h);
    return NULL;
}
