/* A socket with an end for each address family, on loopback. sendmmsg() is wrapped by the
 * linker, so that one end can be full while the other is not. */
#include "support/suite.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "io/socket.h"

CV_SUITE(io_socket);

int __real_sendmmsg(int fd, struct mmsghdr *msgs, unsigned n, int flags);
int __wrap_sendmmsg(int fd, struct mmsghdr *msgs, unsigned n, int flags);

static int full_fd = -1; /* what is sent here finds no room */

int __wrap_sendmmsg(int fd, struct mmsghdr *msgs, unsigned n, int flags) {
    if (fd != full_fd)
        return __real_sendmmsg(fd, msgs, n, flags);
    errno = EAGAIN;
    return -1;
}

enum { STRIDE = 1472, SLOTS = 64, SIZE = 100, OFTEN = 50 };

static uint8_t arena[SLOTS * STRIDE];
static struct cv_run runs[SLOTS];

struct place {
    struct io_socket *socket;
    unsigned calls, got[IO_SOCKET_ENDS];
    uint8_t first[IO_SOCKET_ENDS]; /* first octet of what came last at each end */
};

static void on_ready(void *ctx, struct io_udp *ready) {
    struct place *p = ctx;
    struct io_datagram *d;
    size_t n;
    p->calls++;
    while (ready && (n = io_udp_receive(ready, &d)) > 0) {
        unsigned end = ready == io_socket_end(p->socket, 1);
        p->got[end] += (unsigned)n;
        p->first[end] = d[n - 1].data[0];
    }
}

static struct cv_addr address(const char *text) {
    struct cv_addr a = {.family = 0};
    if (text)
        cr_assert_eq(cv_addr_parse(text, &a), CV_ERR_OK);
    return a;
}

static void place_open(struct io_loop *loop, struct place *p, const char *at, const char *too) {
    struct io_udp_config cfg = {.addr = address(at)};
    struct cv_addr second = address(too);
    struct io_why why = {""};
    *p = (struct place){.calls = 0};
    cr_assert_eq(io_socket_open(loop, &cfg, &second, on_ready, p, &p->socket, &why), CV_ERR_OK,
                 "%s", why.text);
}

static void add(struct cv_batch *b, const struct place *to, unsigned end, uint8_t first) {
    struct cv_addr addr = io_udp_addr(io_socket_end(to->socket, end));
    struct cv_endpoint ep = cv_endpoint_udp(&addr);
    uint8_t *at = cv_batch_slot(b);
    memset(at, 0, SIZE);
    at[0] = first;
    cv_batch_commit(b, &ep, SIZE);
}

/* What is on its way on loopback is there at once; some turns take all of it. */
static void serve(struct io_loop *loop) {
    for (int i = 0; i < OFTEN; i++)
        io_loop_turn(loop, false);
}

/* Runs of both families in turns, as an engine may leave them. */
static struct cv_batch mixed(const struct place *to) {
    struct cv_batch b = cv_batch_init(arena, SLOTS, STRIDE, 0, runs, SLOTS);
    for (uint8_t i = 0; i < 4; i++)
        for (unsigned end = 0; end < IO_SOCKET_ENDS; end++)
            add(&b, to, end, (uint8_t)(10 * end + i));
    return b;
}

Test(io_socket, each_family_leaves_by_its_end) {
    struct io_loop *loop = io_loop_new();
    struct place from, to;
    place_open(loop, &from, "127.0.0.1:0", "[::1]:0");
    place_open(loop, &to, "127.0.0.1:0", "[::1]:0");
    cr_expect_eq(io_udp_addr(io_socket_end(to.socket, 0)).port,
                 io_udp_addr(io_socket_end(to.socket, 1)).port, "one port for both");
    struct cv_batch b = mixed(&to);
    cr_expect_eq(b.runs_used, 8);
    cr_expect_eq(io_socket_send(from.socket, &b), CV_ERR_OK);
    cr_expect_eq(b.runs_used, 0);
    cr_expect_eq(b.slots_used, 0);
    serve(loop);
    for (unsigned end = 0; end < IO_SOCKET_ENDS; end++) {
        cr_expect_eq(to.got[end], 4, "end %u: %u", end, to.got[end]);
        cr_expect_eq(to.first[end], 10 * end + 3, "in order");
    }
    io_socket_close(from.socket);
    io_socket_close(to.socket);
    io_loop_free(loop);
}

/* A line of one family that is full holds nothing up of the other, and what waits is all there
 * when there is room again. */
Test(io_socket, a_full_end_keeps_its_own_and_says_when_there_is_room) {
    for (unsigned full = 0; full < IO_SOCKET_ENDS; full++) {
        struct io_loop *loop = io_loop_new();
        struct place from, to;
        place_open(loop, &from, "127.0.0.1:0", "[::1]:0");
        place_open(loop, &to, "127.0.0.1:0", "[::1]:0");
        struct cv_batch b = mixed(&to);
        full_fd = io_udp_fd(io_socket_end(from.socket, full));
        cr_expect_eq(io_socket_send(from.socket, &b), CV_ERR_AGAIN);
        cr_expect(io_socket_is_full(from.socket));
        cr_expect_eq(b.runs_used, 4);
        cr_expect_neq(b.slots_used, 0, "what waits must not be written over");
        for (uint32_t i = 0; i < b.runs_used; i++)
            cr_expect_eq(b.runs[i].to.addr.family, full ? 6 : 4);
        full_fd = -1;
        cr_expect_eq(from.calls, 0);
        serve(loop);
        cr_expect_eq(from.calls, 1, "told once: %u", from.calls);
        cr_expect_not(io_socket_is_full(from.socket));
        cr_expect_eq(to.got[!full], 4);
        cr_expect_eq(to.got[full], 0);
        cr_expect_eq(io_socket_send(from.socket, &b), CV_ERR_OK);
        serve(loop);
        cr_expect_eq(to.got[full], 4);
        cr_expect_eq(to.first[full], 10 * full + 3);
        io_socket_close(from.socket);
        io_socket_close(to.socket);
        io_loop_free(loop);
    }
}

Test(io_socket, one_end_is_a_socket_as_ever) {
    struct io_loop *loop = io_loop_new();
    struct place from, to;
    place_open(loop, &from, "[::1]:0", NULL);
    place_open(loop, &to, "[::1]:0", NULL);
    cr_expect_null(io_socket_end(to.socket, 1));
    struct cv_batch b = cv_batch_init(arena, SLOTS, STRIDE, 0, runs, SLOTS);
    add(&b, &to, 0, 7);
    cr_expect_eq(io_socket_send(from.socket, &b), CV_ERR_OK);
    serve(loop);
    cr_expect_eq(to.got[0], 1);
    cr_expect_eq(to.first[0], 7);
    io_socket_close(from.socket);
    io_socket_close(to.socket);
    io_loop_free(loop);
}

/* Nobody gets half of what was asked for. */
Test(io_socket, a_taken_port_of_one_family_is_found_out) {
    struct io_loop *loop = io_loop_new();
    struct place one;
    place_open(loop, &one, "[::1]:0", NULL);
    struct cv_addr taken = io_udp_addr(io_socket_end(one.socket, 0));
    struct io_udp_config cfg = {.addr = address("127.0.0.1:0")};
    struct io_socket *s = NULL;
    struct io_why why = {""};
    cr_expect_eq(io_socket_open(loop, &cfg, &taken, on_ready, &one, &s, &why), CV_ERR_EXIST);
    cr_expect_null(s);
    cr_expect_neq(why.text[0], 0);
    io_socket_close(one.socket);
    io_loop_free(loop);
}
