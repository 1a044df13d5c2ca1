/*
 * The event loop, thinly over libevent: timers at deadlines of the monotonic
 * clock, readiness of descriptors, signals. Callbacks run from io_loop_run()
 * only, one at a time; they may create and free timers and watches, their own
 * included. Single-threaded but for io_wake_up().
 */
#ifndef CULVERT_IO_LOOP_H
#define CULVERT_IO_LOOP_H

#include <stdbool.h>

#include "base/err.h"
#include "base/time.h"

struct event_base;
struct io_loop;
struct io_timer;
struct io_watch;
struct io_wake;

typedef void io_loop_fn(void *ctx);

/* NULL: out of memory or descriptors. */
struct io_loop *io_loop_new(void);
/* Everything made with it must be freed before. NULL is allowed, returns NULL. */
struct io_loop *io_loop_free(struct io_loop *l);

/* For libevent's own parts (evhttp). */
struct event_base *io_loop_base(struct io_loop *l);

/* Serves events until io_loop_stop(). */
void io_loop_run(struct io_loop *l);
/* Serves what is ready now, waiting for one event first when `wait`. */
void io_loop_turn(struct io_loop *l, bool wait);
/* io_loop_run() returns after the current callback. */
void io_loop_stop(struct io_loop *l);

/* `ctx` is borrowed by all of the following. */
struct io_timer *io_timer_new(struct io_loop *l, io_loop_fn *fn, void *ctx);
struct io_timer *io_timer_free(struct io_timer *t);
/* Fires once, at `deadline` or as soon as possible when it has passed; replaces
 * an earlier deadline. CV_USEC_NEVER: does not fire. Costs nothing when the
 * deadline is the one already set. */
void io_timer_at(struct io_timer *t, cv_usec now, cv_usec deadline);

enum io_ready {
    IO_READABLE = 1,
    IO_WRITABLE = 2,
};
typedef void io_ready_fn(void *ctx, unsigned ready);

/* Watches `fd` (borrowed) for readability; for writability when asked. */
struct io_watch *io_watch_new(struct io_loop *l, int fd, io_ready_fn *fn, void *ctx);
struct io_watch *io_watch_free(struct io_watch *w);
/* Readability and writability, wanted or not; costs nothing when unchanged. */
void io_watch_set(struct io_watch *w, unsigned ready);

/* Calls `fn` in the loop after io_wake_up() was called from any thread; several
 * calls may become one. */
struct io_wake *io_wake_new(struct io_loop *l, io_loop_fn *fn, void *ctx);
struct io_wake *io_wake_free(struct io_wake *w);
void io_wake_up(struct io_wake *w);

/* Calls `fn` on each SIGINT, SIGTERM, ...; until the loop is freed. At most 8. */
enum cv_err io_loop_on_signal(struct io_loop *l, int signum, io_loop_fn *fn, void *ctx);

#endif
