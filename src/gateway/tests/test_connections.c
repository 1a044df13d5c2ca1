#include "gateway/connections.h"

#include <arpa/inet.h>
#include <event2/http.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <unistd.h>

#include "support/suite.h"

CV_SUITE(gw_connections);

struct fixture {
    struct io_loop *loop;
    struct evhttp *http;
    struct gw_connections *all;
    struct sockaddr_in at;
    struct evhttp_request *held[GW_CONNECTIONS_MAX]; /* asked, not answered */
    size_t held_count;
};

static void on_request(struct evhttp_request *req, void *arg) {
    struct fixture *f = arg;
    gw_connections_asked(f->all, req);
    f->held[f->held_count++] = req;
}

static void set_up(struct fixture *f) {
    *f = (struct fixture){.loop = io_loop_new()};
    cr_assert_not_null(f->loop);
    f->http = evhttp_new(io_loop_base(f->loop));
    cr_assert_not_null(f->http);
    f->all = gw_connections_new(f->loop, f->http);
    cr_assert_not_null(f->all);
    evhttp_set_gencb(f->http, on_request, f);
    struct evhttp_bound_socket *bound = evhttp_bind_socket_with_handle(f->http, "127.0.0.1", 0);
    cr_assert_not_null(bound);
    socklen_t len = sizeof f->at;
    cr_assert_eq(getsockname(evhttp_bound_socket_get_fd(bound), (struct sockaddr *)&f->at, &len),
                 0);
}

static void tear_down(struct fixture *f, const int *fds, size_t count) {
    for (size_t i = 0; i < f->held_count; i++)
        evhttp_send_error(f->held[i], 503, NULL);
    for (size_t i = 0; i < count; i++)
        close(fds[i]);
    evhttp_free(f->http);
    gw_connections_free(f->all);
    io_loop_free(f->loop);
}

static void turn(struct fixture *f) {
    for (unsigned i = 0; i < 4; i++) {
        io_loop_turn(f->loop, false);
        usleep(500);
    }
}

/* However long the system takes to bring what was sent: `held` requests have come. */
static void turn_until_held(struct fixture *f, size_t held) {
    for (unsigned i = 0; i < 10000 && f->held_count < held; i++)
        turn(f);
    cr_assert_eq(f->held_count, held);
}

static int connect_one(struct fixture *f, bool ask) {
    static const char get[] = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(connect(fd, (const struct sockaddr *)&f->at, sizeof f->at), 0);
    if (ask)
        cr_assert_eq(write(fd, get, sizeof get - 1), (ssize_t)sizeof get - 1);
    turn(f);
    return fd;
}

static bool is_closed(int fd) {
    char c;
    return recv(fd, &c, 1, MSG_DONTWAIT) == 0;
}

static bool becomes_closed(struct fixture *f, int fd) {
    for (unsigned i = 0; i < 10000 && !is_closed(fd); i++)
        turn(f);
    return is_closed(fd);
}

Test(gw_connections, one_more_takes_the_place_of_the_one_that_waited_longest) {
    struct fixture f;
    int fds[GW_CONNECTIONS_MAX + 2];
    set_up(&f);
    for (size_t i = 0; i < GW_CONNECTIONS_MAX; i++)
        fds[i] = connect_one(&f, i == 0); /* the oldest is busy */
    turn_until_held(&f, 1);
    for (size_t i = GW_CONNECTIONS_MAX; i < GW_CONNECTIONS_MAX + 2; i++)
        fds[i] = connect_one(&f, true);
    turn_until_held(&f, 3); /* the new ones are heard */
    for (size_t i = 1; i <= 2; i++)
        cr_expect(becomes_closed(&f, fds[i]), "connection %zu", i);
    for (size_t i = 0; i < GW_CONNECTIONS_MAX + 2; i++)
        cr_expect_eq(is_closed(fds[i]), i == 1 || i == 2, "connection %zu", i);
    tear_down(&f, fds, GW_CONNECTIONS_MAX + 2);
}

Test(gw_connections, when_all_are_busy_the_new_one_is_refused) {
    struct fixture f;
    int fds[GW_CONNECTIONS_MAX + 1];
    set_up(&f);
    for (size_t i = 0; i < GW_CONNECTIONS_MAX; i++)
        fds[i] = connect_one(&f, true);
    turn_until_held(&f, GW_CONNECTIONS_MAX);
    fds[GW_CONNECTIONS_MAX] = connect_one(&f, false);
    cr_expect(becomes_closed(&f, fds[GW_CONNECTIONS_MAX]));
    for (size_t i = 0; i < GW_CONNECTIONS_MAX + 1; i++)
        cr_expect_eq(is_closed(fds[i]), i == GW_CONNECTIONS_MAX, "connection %zu", i);
    tear_down(&f, fds, GW_CONNECTIONS_MAX + 1);
}
