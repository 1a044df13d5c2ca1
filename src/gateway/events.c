#include "gateway/events.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/http.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

#include "gateway/gateway.h"

struct listener {
    struct gw_events *events;
    struct evhttp_request *req; /* NULL: free */
    bool behind;                /* has not got the newest state */
    unsigned quiet;             /* seconds since something was sent */
};

struct gw_events {
    struct io_host *host;
    gw_state_fn *state;
    void *ctx;
    struct io_timer *tick; /* runs while somebody listens */
    char *last;            /* the newest state, as text */
    struct evbuffer *out;
    struct listener listeners[GW_LISTENERS_MAX];
};

static struct bufferevent *bev_of(const struct listener *l) {
    return evhttp_connection_get_bufferevent(evhttp_request_get_connection(l->req));
}

static void on_close(struct evhttp_connection *conn, void *arg) {
    (void)conn;
    struct listener *l = arg;
    struct evhttp_request *req = l->req;
    l->req = NULL;
    /* evhttp takes a request that is still answered off a connection that the
     * other side closed: it is ours then. */
    if (!evhttp_request_get_connection(req))
        evhttp_request_free(req);
}

static void send_text(struct listener *l, const char *state) {
    if (evbuffer_get_length(bufferevent_get_output(bev_of(l))) > GW_LISTENER_BACKLOG)
        return;
    if (l->behind && state) {
        evbuffer_add_printf(l->events->out, "event: state\ndata: %s\n\n", state);
        l->behind = false;
    } else if (++l->quiet >= GW_EVENTS_QUIET) {
        evbuffer_add_printf(l->events->out, ":\n\n");
    } else {
        return;
    }
    l->quiet = 0;
    evhttp_send_reply_chunk(l->req, l->events->out);
}

/* The newest state as text, `last`; true when it is another than before. */
static bool look(struct gw_events *e) {
    json_t *o = e->state(e->ctx);
    char *text = o ? json_dumps(o, JSON_COMPACT) : NULL;
    json_decref(o);
    if (!text || (e->last && strcmp(text, e->last) == 0)) {
        free(text);
        return false;
    }
    free(e->last);
    e->last = text;
    return true;
}

static void on_tick(void *ctx) {
    struct gw_events *e = ctx;
    bool any = false;
    for (size_t i = 0; i < GW_LISTENERS_MAX; i++)
        any |= e->listeners[i].req != NULL;
    if (!any)
        return;
    bool changed = look(e);
    for (size_t i = 0; i < GW_LISTENERS_MAX; i++) {
        struct listener *l = &e->listeners[i];
        l->behind |= changed;
        if (l->req)
            send_text(l, e->last);
    }
    cv_usec now = io_host_now(e->host).mono;
    io_timer_at(e->tick, now, cv_usec_add(now, CV_SEC(1)));
}

bool gw_events_listen(struct gw_events *e, struct evhttp_request *req) {
    struct listener *l = NULL;
    for (size_t i = 0; i < GW_LISTENERS_MAX && !l; i++)
        if (!e->listeners[i].req)
            l = &e->listeners[i];
    if (!l)
        return false;
    *l = (struct listener){.events = e, .req = req, .behind = true};
    struct evhttp_connection *conn = evhttp_request_get_connection(req);
    evhttp_connection_set_closecb(conn, on_close, l);
    bufferevent_set_timeouts(evhttp_connection_get_bufferevent(conn), NULL,
                             &(struct timeval){.tv_sec = GW_READER_SECONDS});
    evhttp_add_header(evhttp_request_get_output_headers(req), "Content-Type", "text/event-stream");
    evhttp_send_reply_start(req, 200, "OK");
    on_tick(e);
    return true;
}

struct gw_events *gw_events_new(struct io_host *host, gw_state_fn *state, void *ctx) {
    struct gw_events *e = calloc(1, sizeof *e);
    if (!e)
        return NULL;
    *e = (struct gw_events){.host = host, .state = state, .ctx = ctx};
    e->out = evbuffer_new();
    e->tick = io_timer_new(io_host_loop(host), on_tick, e);
    return e->out && e->tick ? e : gw_events_free(e);
}

struct gw_events *gw_events_free(struct gw_events *e) {
    if (!e)
        return NULL;
    for (size_t i = 0; i < GW_LISTENERS_MAX; i++) {
        struct listener *l = &e->listeners[i];
        if (!l->req)
            continue;
        struct evhttp_connection *conn = evhttp_request_get_connection(l->req);
        evhttp_connection_set_closecb(conn, NULL, NULL);
        evhttp_connection_free(conn);
    }
    io_timer_free(e->tick);
    if (e->out)
        evbuffer_free(e->out);
    free(e->last);
    free(e);
    return NULL;
}
