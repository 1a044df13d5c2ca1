#include <event2/event.h>
#include <event2/http.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "gateway/feed.h"
#include "io/loop.h"
#include "support/suite.h"

CV_SUITE(gw_feed);

#define A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

static struct io_loop *loop;
static struct evhttp *http;
static struct gw_feed *feed;
static struct sockaddr_in at = {.sin_family = AF_INET};
static int ends[2];
static cv_usec now = 1;

/* /SESSION/NUMBER: a piece; DELETE: its end. */
static void on_request(struct evhttp_request *req, void *ctx) {
    (void)ctx;
    char session[64] = "";
    const char *text = evhttp_request_get_uri(req) + 1, *slash = strchr(text, '/');
    cr_assert(slash && slash - text < (long)sizeof session);
    memcpy(session, text, (size_t)(slash - text));
    uint64_t number = strtoull(slash + 1, NULL, 10);
    if (evhttp_request_get_command(req) == EVHTTP_REQ_DELETE)
        gw_feed_end(feed, req, session);
    else
        gw_feed_piece(feed, now, req, session, number);
}

static void open_all(void) {
    socklen_t len = sizeof at;
    sigaction(SIGPIPE, &(struct sigaction){.sa_handler = SIG_IGN}, NULL); /* as programs do */
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    loop = io_loop_new();
    http = evhttp_new(io_loop_base(loop));
    struct evhttp_bound_socket *b = evhttp_bind_socket_with_handle(http, "127.0.0.1", 0);
    cr_assert(b && getsockname(evhttp_bound_socket_get_fd(b), (struct sockaddr *)&at, &len) == 0);
    evhttp_set_gencb(http, on_request, NULL);
    cr_assert_eq(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
    feed = gw_feed_new(loop, ends[1]);
    cr_assert(feed);
}

static void close_all(void) {
    gw_feed_free(feed);
    evhttp_free(http);
    io_loop_free(loop);
    if (ends[0] >= 0)
        close(ends[0]);
}

static int ask(const char *method, const char *session, unsigned number, const void *data,
               size_t len) {
    char text[256];
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    cr_assert(connect(fd, (struct sockaddr *)&at, sizeof at) == 0);
    int n =
        snprintf(text, sizeof text, "%s /%s/%u HTTP/1.1\r\nHost: x\r\nContent-Length: %zu\r\n\r\n",
                 method, session, number, len);
    cr_assert(write(fd, text, (size_t)n) == n);
    for (size_t sent = 0; sent < len;) { /* the server is this thread: it must be let read */
        ssize_t put = send(fd, (const char *)data + sent, len - sent, MSG_DONTWAIT);
        sent += put > 0 ? (size_t)put : 0;
        io_loop_turn(loop, false);
    }
    return fd;
}

static void nothing(void *ctx) {
    (void)ctx;
}

/* The status of the answer; 0: none within some turns. */
static int status_of(int fd) {
    char text[1024];
    static const char version[] = "HTTP/1.1 ";
    struct io_timer *tick = io_timer_new(loop, nothing, NULL);
    ssize_t got = -1;
    for (size_t i = 0; i < 30 && got <= 0; i++) {
        io_timer_at(tick, 0, CV_MSEC(1));
        io_loop_turn(loop, true);
        got = recv(fd, text, sizeof text - 1, MSG_DONTWAIT);
    }
    io_timer_free(tick);
    text[got > 0 ? got : 0] = 0;
    bool whole = strncmp(text, version, sizeof version - 1) == 0;
    return whole ? (int)strtol(text + sizeof version - 1, NULL, 10) : 0;
}

static int piece(const char *session, unsigned number, const void *data, size_t len) {
    int fd = ask("POST", session, number, data, len), status = status_of(fd);
    close(fd);
    return status;
}

/* The next frame's kind; its octets are `data`. */
static void expect_frame(enum gw_feed_kind kind, const char *data) {
    uint8_t head[GW_FEED_HEAD];
    char text[64];
    cr_assert_eq(read(ends[0], head, sizeof head), (ssize_t)sizeof head);
    cr_expect_eq(head[4], kind);
    cr_assert_eq(head[0], strlen(data));
    if (head[0])
        cr_assert_eq(read(ends[0], text, head[0]), head[0]);
    cr_expect_eq(memcmp(text, data, head[0]), 0);
}

static void expect_nothing(void) {
    uint8_t any;
    cr_expect_eq(read(ends[0], &any, 1), -1);
}

Test(gw_feed, pieces_come_in_order_and_once) {
    open_all();
    cr_expect_not(gw_feed_runs(feed, now));
    cr_expect_eq(piece(A, 1, "b", 1), 409, "the first is missing");
    cr_expect_eq(piece(A, 0, "a", 1), 200);
    cr_expect(gw_feed_runs(feed, now));
    cr_expect_eq(piece(A, 0, "a", 1), 200, "again");
    cr_expect_eq(piece(A, 1, "bc", 2), 200);
    cr_expect_eq(piece(A, 3, "e", 1), 409, "one is missing");
    cr_expect_eq(piece(B, 0, "x", 1), 409, "another page");
    cr_expect_eq(piece(A, 2, "", 0), 400);
    cr_expect_eq(piece("a", 2, "d", 1), 400);
    cr_expect_eq(piece("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", 2, "d", 1), 400);
    expect_frame(GW_FEED_BEGINS, "a");
    expect_frame(GW_FEED_GOES_ON, "bc");
    expect_nothing();
    /* The page was reloaded, and the old recording is over after a silence. */
    now += GW_FEED_QUIET + 1;
    cr_expect_not(gw_feed_runs(feed, now));
    cr_expect_eq(piece(B, 0, "x", 1), 200);
    expect_frame(GW_FEED_BEGINS, "x");
    cr_expect_eq(piece(A, 2, "d", 1), 409);
    int fd = ask("DELETE", A, 0, "", 0);
    cr_expect_eq(status_of(fd), 200, "it was over");
    close(fd);
    cr_expect(gw_feed_runs(feed, now));
    fd = ask("DELETE", B, 0, "", 0);
    cr_expect_eq(status_of(fd), 200);
    close(fd);
    cr_expect_not(gw_feed_runs(feed, now));
    expect_frame(GW_FEED_ENDS, "");
    cr_expect_eq(piece(A, 0, "a", 1), 200, "at once");
    close_all();
}

Test(gw_feed, what_the_command_does_not_take_waits_and_does_not_pile_up) {
    static uint8_t much[GW_FEED_PIECE + 1];
    open_all();
    fcntl(ends[1], F_SETPIPE_SZ, 65536);
    cr_expect_eq(piece(A, 0, much, GW_FEED_PIECE + 1), 400);
    int fd = ask("POST", A, 0, much, GW_FEED_PIECE);
    cr_expect_eq(status_of(fd), 0, "the pipe has a quarter of it");
    cr_expect_eq(piece(A, 1, "b", 1), 503);
    cr_expect_eq(piece(A, 0, "a", 1), 200, "that is on its way");
    size_t got = 0;
    for (size_t i = 0; i < 100000 && got < GW_FEED_HEAD + GW_FEED_PIECE; i++) {
        ssize_t n = read(ends[0], much, sizeof much);
        got += n > 0 ? (size_t)n : 0;
        io_loop_turn(loop, false);
    }
    cr_expect_eq(got, GW_FEED_HEAD + GW_FEED_PIECE);
    cr_expect_eq(status_of(fd), 200);
    close(fd);
    cr_expect_eq(piece(A, 1, "b", 1), 200);
    expect_frame(GW_FEED_GOES_ON, "b");
    /* One whose page goes away is taken all the same, once. */
    fd = ask("POST", A, 2, much, GW_FEED_PIECE);
    cr_expect_eq(status_of(fd), 0);
    close(fd);
    cr_expect_eq(piece(A, 3, "d", 1), 503);
    /* And then nobody takes anything any more. */
    fd = ask("POST", A, 2, much, 1);
    cr_expect_eq(status_of(fd), 200);
    close(fd);
    close(ends[0]);
    ends[0] = -1;
    for (size_t i = 0; i < 10; i++)
        io_loop_turn(loop, false);
    cr_expect_eq(piece(A, 3, "d", 1), 503);
    close_all();
}

Test(gw_feed, who_waits_is_told_that_it_is_over) {
    static uint8_t much[GW_FEED_PIECE];
    open_all();
    int fd = ask("POST", A, 0, much, sizeof much);
    cr_expect_eq(status_of(fd), 0);
    feed = gw_feed_free(feed);
    cr_expect_eq(status_of(fd), 503);
    close(fd);
    close_all();
}
