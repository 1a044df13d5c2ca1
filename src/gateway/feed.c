#include "gateway/feed.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/http.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "gateway/reply.h"

struct gw_feed {
    int fd;
    struct io_watch *watch;
    char session[GW_FEED_SESSION + 1]; /* "": none */
    uint64_t next;                     /* number of the piece that comes next */
    cv_usec touched;
    struct evbuffer *out;         /* what the pipe had no room for yet */
    struct evhttp_request *waits; /* the request of that; NULL: it has gone */
    uint64_t number;              /* and its piece */
    bool broken;                  /* nobody reads any more */
};

static void say_number(struct evhttp_request *req, uint64_t number) {
    char text[64];
    int n = snprintf(text, sizeof text, "{\"number\":%" PRIu64 "}\n", number);
    gw_answer(req, "application/json", text, (size_t)n);
}

static void on_close(struct evhttp_connection *conn, void *arg) {
    struct gw_feed *f = arg;
    struct evhttp_request *req = f->waits;
    (void)conn;
    f->waits = NULL;
    if (!evhttp_request_get_connection(req)) /* see hls.c */
        evhttp_request_free(req);
}

static struct evhttp_request *release(struct gw_feed *f) {
    struct evhttp_request *req = f->waits;
    f->waits = NULL;
    if (req)
        gw_unwatch(req);
    return req;
}

/* As much as the pipe has room for. */
static void write_out(struct gw_feed *f) {
    while (evbuffer_get_length(f->out) && !f->broken) {
        int n = evbuffer_write(f->out, f->fd);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            break;
        f->broken = n <= 0;
    }
    bool rest = evbuffer_get_length(f->out) && !f->broken;
    io_watch_set(f->watch, rest ? IO_WRITABLE : 0);
    struct evhttp_request *req = rest ? NULL : release(f);
    if (req && f->broken)
        gw_refuse_json(req, 503, "The command that broadcasts the camera has ended");
    else if (req)
        say_number(req, f->number);
}

static void on_writable(void *ctx, unsigned ready) {
    (void)ready;
    write_out(ctx);
}

struct gw_feed *gw_feed_new(struct io_loop *loop, int fd) {
    struct gw_feed *f = calloc(1, sizeof *f);
    if (f) {
        *f = (struct gw_feed){.fd = fd, .out = evbuffer_new()};
        f->watch = io_watch_new(loop, fd, on_writable, f);
    }
    if (f && f->out && f->watch) {
        io_watch_set(f->watch, 0);
        return f;
    }
    if (f)
        return gw_feed_free(f);
    close(fd);
    return NULL;
}

struct gw_feed *gw_feed_free(struct gw_feed *f) {
    if (!f)
        return NULL;
    struct evhttp_request *req = release(f);
    if (req)
        gw_refuse_json(req, 503, "The command that broadcasts the camera has ended");
    io_watch_free(f->watch);
    if (f->out)
        evbuffer_free(f->out);
    close(f->fd);
    free(f);
    return NULL;
}

bool gw_feed_runs(const struct gw_feed *f, cv_usec now) {
    return f->session[0] && now <= cv_usec_add(f->touched, GW_FEED_QUIET);
}

static void add_head(struct gw_feed *f, size_t len, enum gw_feed_kind kind) {
    const uint8_t head[GW_FEED_HEAD] = {(uint8_t)len, (uint8_t)(len >> 8), (uint8_t)(len >> 16),
                                        (uint8_t)(len >> 24), (uint8_t)kind};
    evbuffer_add(f->out, head, sizeof head);
}

static bool is_session(const char *text) {
    return text && strlen(text) == GW_FEED_SESSION &&
           strspn(text, "0123456789abcdef") == GW_FEED_SESSION;
}

void gw_feed_piece(struct gw_feed *f, cv_usec now, struct evhttp_request *req, const char *session,
                   uint64_t number) {
    struct evbuffer *in = evhttp_request_get_input_buffer(req);
    size_t len = evbuffer_get_length(in);
    bool ours = is_session(session) && strcmp(f->session, session) == 0;
    if (!is_session(session) || !len || len > GW_FEED_PIECE) {
        gw_refuse_json(req, 400, "A piece needs a session of 32 digits, a number and octets");
    } else if (f->broken) {
        gw_refuse_json(req, 503, "The command that broadcasts the camera has ended");
    } else if (ours && number < f->next) {
        say_number(req, number);
    } else if (!ours && gw_feed_runs(f, now)) {
        gw_refuse_json(req, 409, "Another page records already");
    } else if (number != (ours ? f->next : 0)) {
        gw_refuse_json(req, 409, "Pieces are missing; begin another recording");
    } else if (f->waits || evbuffer_get_length(f->out)) {
        gw_refuse_json(req, 503, "The command has not taken the last piece yet");
    } else {
        add_head(f, len, ours ? GW_FEED_GOES_ON : GW_FEED_BEGINS);
        evbuffer_add_buffer(f->out, in);
        memcpy(f->session, session, sizeof f->session);
        f->next = number + 1;
        f->touched = now;
        f->number = number;
        f->waits = req;
        gw_watch(req, on_close, f);
        write_out(f);
    }
}

void gw_feed_end(struct gw_feed *f, struct evhttp_request *req, const char *session) {
    if (!is_session(session)) {
        gw_refuse_json(req, 400, "A recording has a session of 32 digits");
        return;
    }
    bool ours = strcmp(f->session, session) == 0;
    uint64_t next = ours ? f->next : 0;
    if (ours && !f->broken) {
        f->session[0] = 0;
        add_head(f, 0, GW_FEED_ENDS);
        write_out(f);
    }
    say_number(req, next);
}
