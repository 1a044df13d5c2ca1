#include "gateway/stream.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/http.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

#include "gateway/gateway.h"

struct gw_stream {
    struct evhttp_request *req;
    struct evbuffer *line;
    void (*fn)(void *ctx);
    void *ctx;
};

static void stream_free(struct gw_stream *s) {
    evbuffer_free(s->line);
    free(s);
}

static void on_close(struct evhttp_connection *conn, void *arg) {
    (void)conn;
    struct gw_stream *s = arg;
    struct evhttp_request *req = s->req;
    if (s->fn)
        s->fn(s->ctx);
    stream_free(s);
    /* evhttp takes a request that is still answered off a connection that the
     * other side closed: it is ours then. */
    if (!evhttp_request_get_connection(req))
        evhttp_request_free(req);
}

struct gw_stream *gw_stream_new(struct evhttp_request *req) {
    struct gw_stream *s = calloc(1, sizeof *s);
    struct evbuffer *line = s ? evbuffer_new() : NULL;
    if (!line) {
        free(s);
        return NULL;
    }
    *s = (struct gw_stream){.req = req, .line = line};
    struct evhttp_connection *conn = evhttp_request_get_connection(req);
    evhttp_connection_set_closecb(conn, on_close, s);
    bufferevent_set_timeouts(evhttp_connection_get_bufferevent(conn), NULL,
                             &(struct timeval){.tv_sec = GW_READER_SECONDS});
    evhttp_add_header(evhttp_request_get_output_headers(req), "Content-Type",
                      "application/x-ndjson");
    evhttp_send_reply_start(req, 200, "OK");
    return s;
}

void gw_stream_line(struct gw_stream *s, const json_t *o) {
    struct evhttp_connection *conn = evhttp_request_get_connection(s->req);
    struct bufferevent *bev = evhttp_connection_get_bufferevent(conn);
    const char *event = json_string_value(json_object_get(o, "event"));
    bool again = event && (!strcmp(event, "progress") || !strcmp(event, "hashing"));
    if (evbuffer_get_length(bufferevent_get_output(bev)) >
        (size_t)(again ? GW_STREAM_BACKLOG : GW_WANTED_MAX))
        return;
    char *text = json_dumps(o, JSON_COMPACT);
    if (text && evbuffer_add_printf(s->line, "%s\n", text) > 0)
        evhttp_send_reply_chunk(s->req, s->line);
    free(text);
}

void gw_stream_on_close(struct gw_stream *s, void (*fn)(void *ctx), void *ctx) {
    s->fn = fn;
    s->ctx = ctx;
}

void gw_stream_end(struct gw_stream *s) {
    if (!s)
        return;
    struct evhttp_request *req = s->req;
    struct evhttp_connection *conn = evhttp_request_get_connection(req);
    evhttp_connection_set_closecb(conn, NULL, NULL);
    evhttp_connection_set_timeout(conn, GW_TIMEOUT_SECONDS);
    stream_free(s);
    evhttp_send_reply_end(req);
}
