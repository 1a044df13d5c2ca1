/*
 * What every answer to a browser says: that it is kept out of caches, of other
 * pages and of guesses about its type. evhttp's own error page says none of it and
 * drops what was said before, so an error is answered here, too.
 */
#ifndef CULVERT_GATEWAY_REPLY_H
#define CULVERT_GATEWAY_REPLY_H

#include <stddef.h>

struct evhttp_connection;
struct evhttp_request;

/* One header of the answer; both texts are copied. */
void gw_set(struct evhttp_request *req, const char *key, const char *value);

/* Of every answer: no guesses, no use by other pages, no referrer. */
void gw_set_protected(struct evhttp_request *req);

/* The same of what is nobody's business but the caller's: content, state, errors. */
void gw_set_common(struct evhttp_request *req);

/* Ends the request with an error, a line of text and the end of the connection,
 * whatever headers were set before. `reason` is a constant of ours, never the
 * caller's words. */
void gw_refuse(struct evhttp_request *req, int code, const char *reason);

/* The same in the form of the local interface, {"error": "..."}; the connection goes on. */
void gw_refuse_json(struct evhttp_request *req, int code, const char *reason);

/* Ends the request with a text that is all there (copied); HEAD gets its length. */
void gw_answer(struct evhttp_request *req, const char *type, const char *text, size_t len);

/* A request waits for its answer, as long as it takes: `closed` is called with the
 * connection when the other side hangs up meanwhile. */
void gw_watch(struct evhttp_request *req, void (*closed)(struct evhttp_connection *conn, void *ctx),
              void *ctx);

/* Before a request that waited is answered: nobody is told of its connection's end
 * any more, and the common time limit holds again. */
void gw_unwatch(struct evhttp_request *req);

#endif
