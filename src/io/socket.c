#include "io/socket.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* Runs of one batch that are put aside while those of one family leave. */
enum { RUNS_MAX = 256 };

struct end {
    struct io_socket *socket;
    struct io_udp *udp; /* NULL: none */
    struct io_watch *watch;
    bool full; /* until it is writable again */
};

struct io_socket {
    struct end end[IO_SOCKET_ENDS];
    io_socket_fn *fn;
    void *ctx;
};

static void on_ready(void *ctx, unsigned ready) {
    struct end *e = ctx;
    if (ready & IO_WRITABLE && e->full) {
        e->full = false;
        io_watch_set(e->watch, IO_READABLE);
    }
    e->socket->fn(e->socket->ctx, ready & IO_READABLE ? e->udp : NULL);
}

static enum cv_err open_end(struct io_socket *s, unsigned i, struct io_loop *loop,
                            const struct io_udp_config *cfg, struct io_why *why) {
    struct end *e = &s->end[i];
    enum cv_err err = io_udp_open(cfg, &e->udp, why);
    if (err)
        return err;
    e->socket = s;
    e->watch = io_watch_new(loop, io_udp_fd(e->udp), on_ready, e);
    if (e->watch)
        return CV_ERR_OK;
    io_why_set(why, "out of memory");
    return CV_ERR_NOMEM;
}

enum cv_err io_socket_open(struct io_loop *loop, const struct io_udp_config *cfg,
                           const struct cv_addr *too, io_socket_fn *fn, void *ctx,
                           struct io_socket **ret, struct io_why *why) {
    struct io_socket *s = calloc(1, sizeof *s);
    if (!s) {
        io_why_set(why, "out of memory");
        return CV_ERR_NOMEM;
    }
    s->fn = fn;
    s->ctx = ctx;
    enum cv_err err = open_end(s, 0, loop, cfg, why);
    if (!err && too->family) {
        assert(too->family != cfg->addr.family);
        struct io_udp_config second = *cfg;
        second.addr = *too;
        if (!second.addr.port)
            second.addr.port = io_udp_addr(s->end[0].udp).port;
        err = open_end(s, 1, loop, &second, why);
    }
    if (err) {
        io_socket_close(s);
        return err;
    }
    *ret = s;
    return CV_ERR_OK;
}

struct io_socket *io_socket_close(struct io_socket *s) {
    for (unsigned i = 0; s && i < IO_SOCKET_ENDS; i++) {
        io_watch_free(s->end[i].watch);
        io_udp_close(s->end[i].udp);
    }
    free(s);
    return NULL;
}

struct io_udp *io_socket_end(const struct io_socket *s, unsigned i) {
    return s ? s->end[i].udp : NULL;
}

bool io_socket_is_full(const struct io_socket *s) {
    return s->end[0].full || s->end[1].full;
}

static enum cv_err send_by(struct end *e, struct cv_batch *batch) {
    enum cv_err err = e->full ? CV_ERR_AGAIN : io_udp_send(e->udp, batch);
    if (err == CV_ERR_AGAIN && !e->full) {
        e->full = true;
        io_watch_set(e->watch, IO_READABLE | IO_WRITABLE);
    }
    return err;
}

/* Those of the second end's family come behind the others, which keep their order; so do they.
 * Returns how many are in front. */
static uint32_t sort(const struct io_socket *s, struct cv_batch *batch) {
    uint8_t family = io_udp_addr(s->end[1].udp).family;
    struct cv_run aside[RUNS_MAX];
    uint32_t front = 0, n = 0;
    assert(batch->runs_used <= RUNS_MAX);
    for (uint32_t i = 0; i < batch->runs_used; i++) {
        if (batch->runs[i].to.addr.family == family)
            aside[n++] = batch->runs[i];
        else
            batch->runs[front++] = batch->runs[i];
    }
    memcpy(batch->runs + front, aside, n * sizeof *aside);
    return front;
}

enum cv_err io_socket_send(struct io_socket *s, struct cv_batch *batch) {
    if (!s->end[1].udp)
        return send_by(&s->end[0], batch);
    uint32_t front = sort(s, batch);
    struct cv_batch first = *batch, second = *batch;
    first.runs_used = front;
    second.runs += front;
    second.runs_used -= front;
    enum cv_err err = CV_ERR_OK;
    if (first.runs_used)
        err = send_by(&s->end[0], &first);
    if (second.runs_used && send_by(&s->end[1], &second) == CV_ERR_AGAIN)
        err = CV_ERR_AGAIN;
    if (err == CV_ERR_OK) {
        cv_batch_clear(batch);
        return CV_ERR_OK;
    }
    memmove(batch->runs + first.runs_used, second.runs, second.runs_used * sizeof *batch->runs);
    batch->runs_used = first.runs_used + second.runs_used;
    return err;
}
