#include "io/loop.h"

#include <assert.h>
#include <event2/event.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "io/clock.h"

#define SIGNALS_MAX 8
/* The system's waits stand still while the machine is suspended and our deadlines do not: nobody
 * waits for one much longer than this after it woke. */
#define WAIT_MAX CV_SEC(5)

struct on_signal {
    struct event *event;
    io_loop_fn *fn;
    void *ctx;
};

struct io_loop {
    struct event_base *base;
    struct on_signal signals[SIGNALS_MAX];
    unsigned signals_used;
};

struct io_timer {
    struct event *event;
    io_loop_fn *fn;
    void *ctx;
    cv_usec deadline; /* CV_USEC_NEVER: not set */
};

struct io_watch {
    struct event *read, *write;
    io_ready_fn *fn;
    void *ctx;
    unsigned wanted;
};

struct io_wake {
    struct io_watch *watch;
    io_loop_fn *fn;
    void *ctx;
    int fd;
};

static struct event_base *precise_base(void) {
    struct event_config *config = event_config_new();
    if (!config)
        return NULL;
    /* Pacing needs timers finer than a coarse clock's tick. */
    event_config_set_flag(config, EVENT_BASE_FLAG_PRECISE_TIMER);
    event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK);
    struct event_base *base = event_base_new_with_config(config);
    event_config_free(config);
    return base;
}

struct io_loop *io_loop_new(void) {
    struct io_loop *l = calloc(1, sizeof *l);
    if (!l)
        return NULL;
    l->base = precise_base();
    return l->base ? l : io_loop_free(l);
}

struct io_loop *io_loop_free(struct io_loop *l) {
    if (!l)
        return NULL;
    for (unsigned i = 0; i < l->signals_used; i++)
        event_free(l->signals[i].event);
    if (l->base)
        event_base_free(l->base);
    free(l);
    return NULL;
}

struct event_base *io_loop_base(struct io_loop *l) {
    return l->base;
}

void io_loop_run(struct io_loop *l) {
    event_base_loop(l->base, EVLOOP_NO_EXIT_ON_EMPTY);
}

void io_loop_turn(struct io_loop *l, bool wait) {
    event_base_loop(l->base, wait ? EVLOOP_ONCE : EVLOOP_NONBLOCK);
}

void io_loop_stop(struct io_loop *l) {
    event_base_loopbreak(l->base);
}

static void timer_wait(struct io_timer *t, cv_usec now) {
    cv_usec wait = cv_usec_min(cv_usec_since(t->deadline, now), WAIT_MAX);
    struct timeval tv = {.tv_sec = (time_t)(wait / 1000000),
                         .tv_usec = (suseconds_t)(wait % 1000000)};
    event_add(t->event, &tv);
}

static void timer_fired(evutil_socket_t fd, short what, void *arg) {
    struct io_timer *t = arg;
    (void)fd;
    (void)what;
    cv_usec now = io_clock_now().mono;
    if (now < t->deadline) {
        timer_wait(t, now);
        return;
    }
    t->deadline = CV_USEC_NEVER; /* before the call: it may set the next one or free t */
    t->fn(t->ctx);
}

struct io_timer *io_timer_new(struct io_loop *l, io_loop_fn *fn, void *ctx) {
    struct io_timer *t = calloc(1, sizeof *t);
    if (!t)
        return NULL;
    *t = (struct io_timer){.fn = fn, .ctx = ctx, .deadline = CV_USEC_NEVER};
    t->event = evtimer_new(l->base, timer_fired, t);
    return t->event ? t : io_timer_free(t);
}

struct io_timer *io_timer_free(struct io_timer *t) {
    if (!t)
        return NULL;
    if (t->event)
        event_free(t->event);
    free(t);
    return NULL;
}

void io_timer_at(struct io_timer *t, cv_usec now, cv_usec deadline) {
    if (deadline == t->deadline)
        return;
    t->deadline = deadline;
    if (deadline == CV_USEC_NEVER) {
        event_del(t->event);
        return;
    }
    timer_wait(t, now);
}

static void watch_ready(evutil_socket_t fd, short what, void *arg) {
    struct io_watch *w = arg;
    (void)fd;
    w->fn(w->ctx, what & EV_READ ? IO_READABLE : IO_WRITABLE);
}

struct io_watch *io_watch_new(struct io_loop *l, int fd, io_ready_fn *fn, void *ctx) {
    struct io_watch *w = calloc(1, sizeof *w);
    if (!w)
        return NULL;
    w->fn = fn;
    w->ctx = ctx;
    w->read = event_new(l->base, fd, EV_READ | EV_PERSIST, watch_ready, w);
    w->write = event_new(l->base, fd, EV_WRITE | EV_PERSIST, watch_ready, w);
    if (!w->read || !w->write)
        return io_watch_free(w);
    io_watch_set(w, IO_READABLE);
    return w;
}

struct io_watch *io_watch_free(struct io_watch *w) {
    if (!w)
        return NULL;
    if (w->read)
        event_free(w->read);
    if (w->write)
        event_free(w->write);
    free(w);
    return NULL;
}

static void set_one(struct event *event, unsigned was, unsigned is) {
    if (was == is)
        return;
    if (is)
        event_add(event, NULL);
    else
        event_del(event);
}

void io_watch_set(struct io_watch *w, unsigned ready) {
    set_one(w->read, w->wanted & IO_READABLE, ready & IO_READABLE);
    set_one(w->write, w->wanted & IO_WRITABLE, ready & IO_WRITABLE);
    w->wanted = ready;
}

static void woken(void *ctx, unsigned ready) {
    struct io_wake *w = ctx;
    uint64_t count;
    (void)ready;
    if (read(w->fd, &count, sizeof count) == sizeof count)
        w->fn(w->ctx);
}

struct io_wake *io_wake_new(struct io_loop *l, io_loop_fn *fn, void *ctx) {
    struct io_wake *w = calloc(1, sizeof *w);
    if (!w)
        return NULL;
    *w = (struct io_wake){.fn = fn, .ctx = ctx};
    w->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (w->fd >= 0)
        w->watch = io_watch_new(l, w->fd, woken, w);
    return w->watch ? w : io_wake_free(w);
}

struct io_wake *io_wake_free(struct io_wake *w) {
    if (!w)
        return NULL;
    io_watch_free(w->watch);
    if (w->fd >= 0)
        close(w->fd);
    free(w);
    return NULL;
}

void io_wake_up(struct io_wake *w) {
    uint64_t one = 1;
    /* Full (2^64 - 2 wake-ups pending) is as good as written. */
    ssize_t n = write(w->fd, &one, sizeof one);
    (void)n;
}

static void signalled(evutil_socket_t fd, short what, void *arg) {
    struct on_signal *s = arg;
    (void)fd;
    (void)what;
    s->fn(s->ctx);
}

enum cv_err io_loop_on_signal(struct io_loop *l, int signum, io_loop_fn *fn, void *ctx) {
    if (l->signals_used == SIGNALS_MAX)
        return CV_ERR_LIMIT;
    struct on_signal *s = &l->signals[l->signals_used];
    *s = (struct on_signal){.fn = fn, .ctx = ctx};
    s->event = evsignal_new(l->base, signum, signalled, s);
    if (!s->event)
        return CV_ERR_NOMEM;
    l->signals_used++;
    event_add(s->event, NULL);
    return CV_ERR_OK;
}
