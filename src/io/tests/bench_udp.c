/*
 * Datagrams a second through one pair of sockets on loopback, in one thread:
 * 53 datagrams of 1232 octets are sent, then received, over and over; with
 * segmentation and joining, with sendmmsg and recvmmsg alone. Prints one JSON
 * object a line. Run it in a release build: meson test --benchmark -v bench_udp
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/clock.h"
#include "io/udp.h"

enum { COUNT = CV_RUN_MAX, SIZE = 1232, ROUNDS = 20000 };

static struct io_udp *open_one(bool plain) {
    struct io_udp_config cfg = {.buffer = 4 << 20, .no_gso = plain, .no_gro = plain};
    struct io_udp *u = NULL;
    struct io_why why;
    if (cv_addr_parse("127.0.0.1:0", &cfg.addr) != CV_ERR_OK ||
        io_udp_open(&cfg, &u, &why) != CV_ERR_OK) {
        fprintf(stderr, "bench_udp: %s\n", why.text);
        exit(1);
    }
    return u;
}

static void measure(const char *name, bool plain) {
    static uint8_t arena[COUNT * SIZE];
    struct cv_run runs[2]; /* a batch without a free run takes nothing more */
    struct io_udp *a = open_one(plain), *b = open_one(plain);
    struct cv_addr to = io_udp_addr(b);
    struct cv_endpoint ep = cv_endpoint_udp(&to);
    struct cv_batch batch = cv_batch_init(arena, COUNT, SIZE, 0, runs, 2);
    cv_usec sending = 0, receiving = 0;

    for (int round = 0; round < ROUNDS; round++) {
        struct io_datagram *got;
        while (cv_batch_slot(&batch))
            cv_batch_commit(&batch, &ep, SIZE);
        cv_usec t0 = io_clock_now().mono;
        while (io_udp_send(a, &batch) == CV_ERR_AGAIN) {}
        cv_usec t1 = io_clock_now().mono;
        while (io_udp_receive(b, &got) > 0) {}
        sending += t1 - t0;
        receiving += io_clock_now().mono - t1;
    }
    struct io_udp_stats out = io_udp_stats(a), in = io_udp_stats(b);
    printf(
        "{\"bench\":\"%s\",\"datagrams\":%llu,\"lost\":%llu,\"calls_out\":%llu,\"calls_in\":%llu,"
        "\"us_per_datagram_out\":%.3f,\"us_per_datagram_in\":%.3f,\"datagrams_per_s\":%.0f,"
        "\"buffer_in\":%u}\n",
        name, (unsigned long long)out.datagrams_out,
        (unsigned long long)(out.datagrams_out - in.datagrams_in),
        (unsigned long long)out.calls_out, (unsigned long long)in.calls_in,
        (double)sending / (double)out.datagrams_out, (double)receiving / (double)in.datagrams_in,
        (double)in.datagrams_in * 1e6 / (double)(sending + receiving), in.buffer_in);
    io_udp_close(a);
    io_udp_close(b);
}

int main(void) {
    measure("segmented", false);
    measure("mmsg", true);
    return 0;
}
