/*
 * Real sockets on loopback. sendmmsg() is wrapped by the linker, so that what
 * a kernel may answer (full, refused, half done) can be played by a script.
 */
#include "support/suite.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>

#include "crypto/rng_seeded.h"
#include "io/udp.h"

CV_SUITE(io_udp);

int __real_sendmmsg(int fd, struct mmsghdr *msgs, unsigned n, int flags);
int __wrap_sendmmsg(int fd, struct mmsghdr *msgs, unsigned n, int flags);

/* What the wrapped call answers; NULL: what the kernel says. */
static int (*script)(int fd, struct mmsghdr *msgs, unsigned n, int flags);

int __wrap_sendmmsg(int fd, struct mmsghdr *msgs, unsigned n, int flags) {
    return script ? script(fd, msgs, n, flags) : __real_sendmmsg(fd, msgs, n, flags);
}

enum { STRIDE = 1536, HEADROOM = 64, SLOTS = 256 };

static uint8_t arena[SLOTS * STRIDE];
static struct cv_run runs[SLOTS];

static struct cv_batch empty(void) {
    return cv_batch_init(arena, SLOTS, STRIDE, HEADROOM, runs, SLOTS);
}

static struct io_udp *open_at(const char *text, bool plain) {
    struct io_udp_config cfg = {.buffer = 4 << 20, .no_gso = plain, .no_gro = plain};
    struct io_udp *u = NULL;
    struct io_why why = {""};
    cr_assert_eq(cv_addr_parse(text, &cfg.addr), CV_ERR_OK);
    cr_assert_eq(io_udp_open(&cfg, &u, &why), CV_ERR_OK, "%s", why.text);
    return u;
}

/* Appends datagrams whose octets all follow from their number. */
static void add(struct cv_batch *b, const struct io_udp *to, uint32_t *number, unsigned count,
                uint16_t size) {
    struct cv_addr addr = io_udp_addr(to);
    struct cv_endpoint ep = cv_endpoint_udp(&addr);
    for (unsigned i = 0; i < count; i++) {
        uint8_t *at = cv_batch_slot(b);
        cr_assert_not_null(at);
        memset(at, (int)(*number & 0xff), size);
        memcpy(at, number, size < 4 ? size : 4);
        (*number)++;
        cv_batch_commit(b, &ep, size);
    }
}

/* Waits for `want` datagrams and takes what else is there, checked to be the
 * datagrams first, first+1, ...; all at least 4 octets. Returns how many. */
static unsigned take(struct io_udp *u, uint32_t first, uint32_t want, struct cv_addr *from) {
    struct io_datagram *got;
    unsigned count = 0;
    struct pollfd p = {io_udp_fd(u), POLLIN, 0};
    while (poll(&p, 1, count < want ? 60000 : 0) > 0) {
        size_t n = io_udp_receive(u, &got);
        for (size_t i = 0; i < n; i++, count++) {
            uint32_t number;
            memcpy(&number, got[i].data, 4);
            cr_assert_eq(number, first + count);
            for (uint16_t k = 4; k < got[i].len; k++)
                cr_assert_eq(got[i].data[k], number & 0xff);
            if (from)
                *from = got[i].from;
        }
    }
    return count;
}

static void round_trip(const char *address, bool plain) {
    struct io_udp *a = open_at(address, plain), *b = open_at(address, plain);
    struct cv_batch batch = empty();
    struct cv_addr from, a_addr = io_udp_addr(a);
    uint32_t number = 0;

    add(&batch, b, &number, 53, 1232);
    add(&batch, b, &number, 1, 100);
    add(&batch, b, &number, 70, 1100); /* two runs */
    cr_expect_eq(io_udp_send(a, &batch), CV_ERR_OK);
    cr_expect_eq(batch.runs_used, 0);
    cr_expect_eq(batch.slots_used, 0);
    cr_expect_eq(take(b, 0, number, &from), number);
    cr_expect(cv_addr_equal(&from, &a_addr));

    struct io_udp_stats sent = io_udp_stats(a), got = io_udp_stats(b);
    cr_expect_eq(sent.datagrams_out, number);
    cr_expect_eq(sent.octets_out, 53 * 1232 + 100 + 70 * 1100);
    cr_expect_eq(got.datagrams_in, number);
    cr_expect_eq(got.octets_in, sent.octets_out);
    cr_expect_eq(got.dropped_in, 0);
    cr_expect_eq(got.damaged_in, 0);
    if (plain) {
        cr_expect_eq(sent.runs_segmented, 0);
        cr_expect_eq(got.messages_joined, 0);
    }
    io_udp_close(a);
    io_udp_close(b);
}

Test(io_udp, carries_runs_v4) {
    round_trip("127.0.0.1:0", false);
}

Test(io_udp, carries_runs_v6) {
    round_trip("[::1]:0", false);
}

Test(io_udp, carries_runs_without_segmentation) {
    round_trip("127.0.0.1:0", true);
}

Test(io_udp, segmentation_makes_one_call_and_one_message) {
    struct io_udp *a = open_at("127.0.0.1:0", false), *b = open_at("127.0.0.1:0", false);
    struct cv_batch batch = empty();
    uint32_t number = 0;
    if (!io_udp_stats(a).gso || !io_udp_stats(b).gro)
        cr_skip("this kernel neither segments nor joins");

    add(&batch, b, &number, 53, 1232);
    cr_expect_eq(io_udp_send(a, &batch), CV_ERR_OK);
    cr_expect_eq(take(b, 0, 53, NULL), 53);
    cr_expect_eq(io_udp_stats(a).calls_out, 1);
    cr_expect_eq(io_udp_stats(a).runs_segmented, 1);
    cr_expect_eq(io_udp_stats(a).runs_refused, 0);
    cr_expect_geq(io_udp_stats(b).messages_joined, 1);
    cr_expect_leq(io_udp_stats(b).calls_in, 2);
    io_udp_close(a);
    io_udp_close(b);
}

Test(io_udp, a_run_longer_than_one_message_is_split) {
    struct io_udp *a = open_at("127.0.0.1:0", false), *b = open_at("127.0.0.1:0", false);
    struct cv_batch batch = empty();
    uint32_t number = 0;
    add(&batch, b, &number, 53, 1472); /* 78,016 octets */
    cr_expect_eq(io_udp_send(a, &batch), CV_ERR_OK);
    cr_expect_eq(take(b, 0, 53, NULL), 53);
    io_udp_close(a);
    io_udp_close(b);
}

static int refuse_segments_with;

static int refuse_segments(int fd, struct mmsghdr *msgs, unsigned n, int flags) {
    for (unsigned i = 0; i < n; i++)
        if (msgs[i].msg_hdr.msg_iovlen > 1) {
            if (i > 0)
                return __real_sendmmsg(fd, msgs, i, flags);
            errno = refuse_segments_with;
            return -1;
        }
    return __real_sendmmsg(fd, msgs, n, flags);
}

Test(io_udp, refused_segmentation_falls_back) {
    static const int errors[] = {EIO, EINVAL, ENOPROTOOPT, EOPNOTSUPP};
    for (size_t e = 0; e < sizeof errors / sizeof *errors; e++) {
        struct io_udp *a = open_at("127.0.0.1:0", false), *b = open_at("127.0.0.1:0", false);
        if (!io_udp_stats(a).gso)
            cr_skip("this kernel does not segment");
        uint32_t number = 0;
        refuse_segments_with = errors[e];
        script = refuse_segments;
        for (int i = 0; i < 20; i++) {
            struct cv_batch batch = empty();
            uint32_t before = number;
            add(&batch, b, &number, 3, 200);
            add(&batch, b, &number, 1, 300);
            add(&batch, b, &number, 20, 1232);
            cr_assert_eq(io_udp_send(a, &batch), CV_ERR_OK);
            cr_assert_eq(take(b, before, 24, NULL), 24);
        }
        script = NULL;
        cr_expect_not(io_udp_stats(a).gso, "still tries after error %d", errors[e]);
        cr_expect_eq(io_udp_stats(a).runs_refused, 8);
        cr_expect_eq(io_udp_stats(a).dropped_out, 0);
        io_udp_close(a);
        io_udp_close(b);
    }
}

static struct cv_rng_seeded dice_state;
static struct cv_rng dice;

/* Sends some, or nothing because it is full, interrupted, or because segments
 * are refused; never loses anything. */
static int moody(int fd, struct mmsghdr *msgs, unsigned n, int flags) {
    static const int errors[] = {EAGAIN, EINTR, EIO};
    if (cv_rng_below(&dice, 3) == 0) {
        int error = errors[cv_rng_below(&dice, 3)];
        if (error != EIO || msgs[0].msg_hdr.msg_iovlen > 1) {
            errno = error;
            return -1;
        }
    }
    return __real_sendmmsg(fd, msgs, 1 + (unsigned)cv_rng_below(&dice, n), flags);
}

Test(io_udp, nothing_is_lost_or_reordered_whatever_the_kernel_answers) {
    for (uint64_t seed = 0; seed < 40; seed++) {
        struct io_udp *a = open_at("127.0.0.1:0", false), *b = open_at("127.0.0.1:0", false);
        cv_rng_seeded_init(&dice_state, seed);
        dice = cv_rng_seeded(&dice_state);
        script = moody;
        uint32_t number = 0;
        for (int round = 0; round < 10; round++) {
            struct cv_batch batch = empty();
            uint32_t before = number;
            while (batch.slots_used < 200 && batch.runs_used < 60)
                add(&batch, b, &number, 1 + (unsigned)cv_rng_below(&dice, 53),
                    (uint16_t)cv_rng_between(&dice, 4, STRIDE - HEADROOM));
            int full = 0;
            while (io_udp_send(a, &batch) == CV_ERR_AGAIN)
                cr_assert_lt(++full, 10000);
            cr_assert_eq(batch.runs_used, 0);
            cr_assert_eq(take(b, before, number - before, NULL), number - before, "seed=%lu",
                         (unsigned long)seed);
        }
        script = NULL;
        cr_expect_eq(io_udp_stats(a).datagrams_out, number);
        cr_expect_eq(io_udp_stats(a).dropped_out, 0);
        io_udp_close(a);
        io_udp_close(b);
    }
}

static int always_full(int fd, struct mmsghdr *msgs, unsigned n, int flags) {
    (void)fd, (void)msgs, (void)n, (void)flags;
    errno = EAGAIN;
    return -1;
}

Test(io_udp, a_full_socket_keeps_the_batch) {
    struct io_udp *a = open_at("127.0.0.1:0", false), *b = open_at("127.0.0.1:0", false);
    struct cv_batch batch = empty();
    uint32_t number = 0;
    add(&batch, b, &number, 7, 500);
    script = always_full;
    cr_expect_eq(io_udp_send(a, &batch), CV_ERR_AGAIN);
    cr_expect_eq(batch.runs_used, 1);
    cr_expect_eq(batch.runs[0].count, 7);
    script = NULL;
    cr_expect_eq(io_udp_send(a, &batch), CV_ERR_OK);
    cr_expect_eq(take(b, 0, 7, NULL), 7);
    io_udp_close(a);
    io_udp_close(b);
}

Test(io_udp, what_cannot_be_sent_does_not_stop_the_rest) {
    struct io_udp *a = open_at("127.0.0.1:0", false), *b = open_at("127.0.0.1:0", false);
    struct io_udp *six = open_at("[::1]:0", false);
    struct cv_batch batch = empty();
    uint32_t number = 0;
    add(&batch, b, &number, 2, 100);
    uint32_t lost = number;
    add(&batch, six, &lost, 5, 100); /* another family than the socket's */
    add(&batch, b, &number, 2, 100);
    cr_expect_eq(io_udp_send(a, &batch), CV_ERR_OK);
    cr_expect_eq(take(b, 0, 4, NULL), 4);
    cr_expect_eq(io_udp_stats(a).dropped_out, 5);
    io_udp_close(a);
    io_udp_close(b);
    io_udp_close(six);
}

Test(io_udp, refuses_to_bind_with_a_line_that_helps) {
    struct io_udp *a = open_at("127.0.0.1:0", false), *none = NULL;
    struct io_why why;
    char taken[CV_ADDR_TEXT], want[200];
    struct io_udp_config cfg = {.addr = io_udp_addr(a)};

    cr_expect_eq(io_udp_open(&cfg, &none, &why), CV_ERR_EXIST);
    snprintf(want, sizeof want,
             "%s: another program uses this UDP port; stop it or choose another port",
             cv_addr_text(&cfg.addr, taken));
    cr_expect_str_eq(why.text, want);

    cr_assert_eq(cv_addr_parse("192.0.2.1:9", &cfg.addr), CV_ERR_OK);
    cr_expect_eq(io_udp_open(&cfg, &none, &why), CV_ERR_UNREACHABLE);
    cr_expect_str_eq(why.text,
                     "192.0.2.1:9: not an address of this machine; 'ip address' lists those");
    cr_expect_null(none);
    io_udp_close(a);
}

static int option(const struct io_udp *u, int level, int name) {
    int value = -1;
    socklen_t len = sizeof value;
    cr_assert_eq(getsockopt(io_udp_fd(u), level, name, &value, &len), 0);
    return value;
}

/* Workers' sockets: as many as there are on one port, each with what its number says. */
Test(io_udp, sockets_that_share_a_port_get_what_is_theirs) {
    enum { SOCKETS = 3, COUNT = 1000 };
    static const char *const addresses[] = {"127.0.0.1:0", "[::1]:0"};
    for (unsigned v = 0; v < 2; v++) {
        struct io_udp *u[SOCKETS] = {open_at(addresses[v], true)}, *from;
        struct io_udp_config cfg = {.addr = io_udp_addr(u[0]), .buffer = 4 << 20};
        struct io_why why = {""};
        cr_assert_eq(io_udp_share(u[0]), CV_ERR_OK);
        cfg.beside = true;
        for (unsigned i = 1; i < SOCKETS; i++)
            cr_assert_eq(io_udp_open(&cfg, &u[i], &why), CV_ERR_OK, "%s", why.text);
        cr_assert_eq(io_udp_steer(u[0], SOCKETS), CV_ERR_OK);
        /* whoever asks for it alone is refused, as ever */
        struct io_udp *other = NULL;
        cfg.beside = false;
        cr_expect_eq(io_udp_open(&cfg, &other, &why), CV_ERR_EXIST);

        unsigned want[SOCKETS] = {0}, got[SOCKETS] = {0};
        for (unsigned i = 0; i < COUNT; i++) {
            uint8_t d[1232] = {(uint8_t)(i % 7 ? i : 'd'), 1, 2, (uint8_t)(i * 37)};
            size_t len = i % 11 ? sizeof d : i % 4; /* some have no fourth octet */
            unsigned whose = len < 4 || d[0] == 'd' ? 0 : (d[3] >> 2) % SOCKETS;
            struct cv_batch batch = empty();
            if (i % 10 == 0)
                from = open_at(addresses[v], true); /* the filter looks at nothing else */
            uint8_t *at = cv_batch_slot(&batch);
            memcpy(at, d, len ? len : 1);
            struct cv_endpoint ep = cv_endpoint_udp(&cfg.addr);
            cv_batch_commit(&batch, &ep, (uint16_t)(len ? len : 1));
            cr_assert_eq(io_udp_send(from, &batch), CV_ERR_OK);
            want[whose]++;
            if (i % 10 == 9 || i == COUNT - 1)
                io_udp_close(from);
            struct pollfd p = {io_udp_fd(u[whose]), POLLIN, 0};
            struct io_datagram *in;
            cr_assert_eq(poll(&p, 1, 10000), 1, "datagram %u is not at socket %u", i, whose);
            got[whose] += (unsigned)io_udp_receive(u[whose], &in);
        }
        for (unsigned i = 0; i < SOCKETS; i++) {
            cr_expect_eq(got[i], want[i]);
            cr_expect_gt(got[i], 100);
            io_udp_close(u[i]);
        }
    }
}

Test(io_udp, looks_the_same_on_every_wire) {
    struct io_udp *four = open_at("127.0.0.1:0", false), *six = open_at("[::1]:0", false);
    cr_expect_eq(option(four, IPPROTO_IP, IP_MTU_DISCOVER), IP_PMTUDISC_DO);
    cr_expect_eq(option(four, IPPROTO_IP, IP_TTL), 64);
    cr_expect_eq(option(four, IPPROTO_IP, IP_TOS), 0);
    cr_expect_eq(option(six, IPPROTO_IPV6, IPV6_MTU_DISCOVER), IPV6_PMTUDISC_DO);
    cr_expect_eq(option(six, IPPROTO_IPV6, IPV6_UNICAST_HOPS), 64);
    cr_expect_eq(option(six, IPPROTO_IPV6, IPV6_TCLASS), 0);
    cr_expect_eq(option(six, IPPROTO_IPV6, 70 /* IPV6_AUTOFLOWLABEL */), 0);
    cr_expect_geq(io_udp_stats(four).buffer_in, 200000);
    io_udp_close(four);
    io_udp_close(six);
}
