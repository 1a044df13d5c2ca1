#include "gateway/reply.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/http.h>
#include <event2/keyvalq_struct.h>
#include <stdio.h>

#include "gateway/gateway.h"

void gw_set(struct evhttp_request *req, const char *key, const char *value) {
    evhttp_add_header(evhttp_request_get_output_headers(req), key, value);
}

void gw_set_protected(struct evhttp_request *req) {
    gw_set(req, "X-Content-Type-Options", "nosniff");
    gw_set(req, "Cross-Origin-Resource-Policy", "same-origin");
    gw_set(req, "Referrer-Policy", "no-referrer");
}

void gw_set_common(struct evhttp_request *req) {
    gw_set(req, "Cache-Control", "private, no-store"); /* what was watched leaves no trace */
    gw_set_protected(req);
}

void gw_refuse(struct evhttp_request *req, int code, const char *reason) {
    evhttp_clear_headers(evhttp_request_get_output_headers(req));
    gw_set_common(req);
    gw_set(req, "Content-Type", "text/plain; charset=utf-8");
    gw_set(req, "Connection", "close");
    if (evhttp_request_get_command(req) != EVHTTP_REQ_HEAD)
        evbuffer_add_printf(evhttp_request_get_output_buffer(req), "%d %s\n", code, reason);
    evhttp_send_reply(req, code, reason, NULL);
}

/* Not evhttp_send_error(): that would drop the headers that are set. */
void gw_refuse_json(struct evhttp_request *req, int code, const char *reason) {
    evbuffer_add_printf(evhttp_request_get_output_buffer(req), "{\"error\":\"%s\"}\n", reason);
    gw_set(req, "Content-Type", "application/json");
    evhttp_send_reply(req, code, reason, NULL);
}

void gw_answer(struct evhttp_request *req, const char *type, const char *text, size_t len) {
    gw_set(req, "Content-Type", type);
    if (evhttp_request_get_command(req) == EVHTTP_REQ_HEAD) {
        char octets[24];
        snprintf(octets, sizeof octets, "%zu", len);
        gw_set(req, "Content-Length", octets);
    } else {
        evbuffer_add(evhttp_request_get_output_buffer(req), text, len);
    }
    evhttp_send_reply(req, 200, "OK", NULL);
}

void gw_watch(struct evhttp_request *req, void (*closed)(struct evhttp_connection *conn, void *ctx),
              void *ctx) {
    struct evhttp_connection *conn = evhttp_request_get_connection(req);
    struct bufferevent *bev = evhttp_connection_get_bufferevent(conn);
    bufferevent_data_cb on_read, on_written;
    bufferevent_event_cb on_event;
    void *theirs;
    evhttp_connection_set_closecb(conn, closed, ctx);
    bufferevent_set_timeouts(bev, NULL, NULL);
    /* evhttp stops reading between a request and its answer, and then hears of no end.
     * What is read meanwhile is a further request: it stays where it is. */
    bufferevent_getcb(bev, &on_read, &on_written, &on_event, &theirs);
    bufferevent_setcb(bev, NULL, on_written, on_event, theirs);
    bufferevent_enable(bev, EV_READ);
}

void gw_unwatch(struct evhttp_request *req) {
    struct evhttp_connection *conn = evhttp_request_get_connection(req);
    evhttp_connection_set_closecb(conn, NULL, NULL);
    evhttp_connection_set_timeout(conn, GW_TIMEOUT_SECONDS);
}
