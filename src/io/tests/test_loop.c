/* Timers, descriptors, wake-ups and signals against the real clock; waits are
 * lower bounds only, so that a busy machine fails nothing. */
#include "support/suite.h"

#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "io/clock.h"
#include "io/loop.h"

CV_SUITE(io_loop, .timeout = 600);

static time_t suspended; /* seconds that the machine was, as far as anybody here is told */

int clock_gettime(clockid_t clock, struct timespec *ret) {
    int err = (int)syscall(SYS_clock_gettime, clock, ret);
    if (clock == CLOCK_BOOTTIME)
        ret->tv_sec += suspended;
    return err;
}

struct seen {
    struct io_loop *loop;
    struct io_timer *timer;
    int fired;
    unsigned ready;
    cv_usec at;
};

static void on_fire(void *ctx) {
    struct seen *s = ctx;
    s->fired++;
    s->at = io_clock_now().mono;
    io_loop_stop(s->loop);
}

static void on_ready(void *ctx, unsigned ready) {
    struct seen *s = ctx;
    s->ready |= ready;
    on_fire(ctx);
}

Test(io_loop, clock_moves_forward_and_knows_the_year) {
    struct cv_now a = io_clock_now(), b = io_clock_now();
    cr_expect_geq(b.mono, a.mono);
    cr_expect_gt(a.mono, 0);
    cr_expect_gt(a.wall, IO_CLOCK_EARLIEST);
}

Test(io_loop, timer_fires_once_not_before_its_deadline) {
    struct seen s = {.loop = io_loop_new()};
    s.timer = io_timer_new(s.loop, on_fire, &s);
    cv_usec now = io_clock_now().mono, deadline = now + CV_MSEC(20);
    io_timer_at(s.timer, now, now + CV_SEC(3600));
    io_timer_at(s.timer, now, deadline); /* replaces */
    io_loop_run(s.loop);
    cr_expect_eq(s.fired, 1);
    cr_expect_geq(s.at + 1000, deadline);
    io_loop_turn(s.loop, false);
    cr_expect_eq(s.fired, 1);

    io_timer_at(s.timer, now, now); /* in the past: at once */
    io_loop_run(s.loop);
    cr_expect_eq(s.fired, 2);

    io_timer_at(s.timer, now, now);
    io_timer_at(s.timer, now, CV_USEC_NEVER);
    io_loop_turn(s.loop, false);
    cr_expect_eq(s.fired, 2);
    io_timer_free(s.timer);
    io_loop_free(s.loop);
}

/* What the system waits for stands still meanwhile. */
Test(io_loop, a_machine_that_slept_is_not_late_for_long) {
    struct seen s = {.loop = io_loop_new()};
    s.timer = io_timer_new(s.loop, on_fire, &s);
    cv_usec now = io_clock_now().mono;
    io_timer_at(s.timer, now, now + CV_SEC(8 * 3600));
    io_loop_turn(s.loop, false);
    cr_expect_eq(s.fired, 0);
    suspended += 8 * 3600;
    cr_expect_geq(io_clock_now().mono, now + CV_SEC(8 * 3600), "time went on");
    io_loop_run(s.loop);
    cr_expect_eq(s.fired, 1);
    cr_expect_geq(s.at, now + CV_SEC(8 * 3600));
    io_timer_free(s.timer);
    io_loop_free(s.loop);
}

static void free_itself(void *ctx) {
    struct seen *s = ctx;
    s->timer = io_timer_free(s->timer);
    on_fire(ctx);
}

Test(io_loop, a_timer_may_free_itself) {
    struct seen s = {.loop = io_loop_new()};
    s.timer = io_timer_new(s.loop, free_itself, &s);
    io_timer_at(s.timer, 1, 1);
    io_loop_run(s.loop);
    cr_expect_eq(s.fired, 1);
    io_loop_free(s.loop);
}

Test(io_loop, watches_for_what_was_asked) {
    struct seen s = {.loop = io_loop_new()};
    int pair[2];
    cr_assert_eq(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, pair), 0);
    struct io_watch *w = io_watch_new(s.loop, pair[0], on_ready, &s);
    io_loop_turn(s.loop, false);
    cr_expect_eq(s.fired, 0);

    io_watch_set(w, IO_READABLE | IO_WRITABLE);
    io_loop_turn(s.loop, false);
    cr_expect_eq(s.ready, IO_WRITABLE);

    s.ready = 0;
    io_watch_set(w, IO_READABLE);
    cr_assert_eq(write(pair[1], "x", 1), 1);
    io_loop_turn(s.loop, false);
    cr_expect_eq(s.ready, IO_READABLE);

    io_watch_set(w, 0);
    s.fired = 0;
    io_loop_turn(s.loop, false);
    cr_expect_eq(s.fired, 0);
    io_watch_free(w);
    close(pair[0]);
    close(pair[1]);
    io_loop_free(s.loop);
}

static void *wake(void *arg) {
    io_wake_up(arg);
    io_wake_up(arg);
    return NULL;
}

Test(io_loop, another_thread_wakes_it) {
    struct seen s = {.loop = io_loop_new()};
    struct io_wake *w = io_wake_new(s.loop, on_fire, &s);
    pthread_t thread;
    cr_assert_eq(pthread_create(&thread, NULL, wake, w), 0);
    io_loop_run(s.loop);
    cr_expect_geq(s.fired, 1);
    pthread_join(thread, NULL);
    io_wake_free(w);
    io_loop_free(s.loop);
}

Test(io_loop, signals_arrive_in_the_loop) {
    struct seen s = {.loop = io_loop_new()};
    cr_assert_eq(io_loop_on_signal(s.loop, SIGUSR1, on_fire, &s), CV_ERR_OK);
    raise(SIGUSR1);
    cr_expect_eq(s.fired, 0);
    io_loop_run(s.loop);
    cr_expect_eq(s.fired, 1);
    for (int i = 1; i < 8; i++)
        cr_assert_eq(io_loop_on_signal(s.loop, SIGUSR2, on_fire, &s), CV_ERR_OK);
    cr_expect_eq(io_loop_on_signal(s.loop, SIGUSR2, on_fire, &s), CV_ERR_LIMIT);
    io_loop_free(s.loop);
}
