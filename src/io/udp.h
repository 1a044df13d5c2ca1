/*
 * A non-blocking UDP socket that is spoken to in batches. One receive call
 * takes what the kernel has coalesced (UDP_GRO, recvmmsg), one send call takes
 * many runs of equal-size datagrams (UDP_SEGMENT, sendmmsg): batching decides
 * the speed of the whole program.
 *
 * Everything a wire shows is constant: don't-fragment always set (IP_PMTUDISC_DO;
 * otherwise segmented datagrams would leave without it and single ones with it,
 * and batching would show), TTL, DSCP and flow label fixed.
 *
 * Where the kernel lacks segmentation or a device refuses it, the same runs
 * leave as single datagrams of one sendmmsg; nobody above notices.
 */
#ifndef CULVERT_IO_UDP_H
#define CULVERT_IO_UDP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/batch.h"
#include "base/endpoint.h"
#include "base/err.h"
#include "io/why.h"

struct io_udp;

struct io_udp_config {
    struct cv_addr addr; /* to bind to; port 0: any free one */
    uint32_t buffer;     /* octets asked for each socket buffer; 0: the system's default */
    bool no_gso, no_gro; /* do without: for tests and comparisons */
    bool beside; /* on the port of one that is open already: io_udp_share() was called on it */
};

struct io_udp_stats {
    uint64_t datagrams_in, octets_in, calls_in;
    uint64_t datagrams_out, octets_out, calls_out;
    uint64_t runs_segmented;        /* runs that left as one segmented message */
    uint64_t runs_refused;          /* segmentation refused; left as single datagrams */
    uint64_t messages_joined;       /* messages received that held several datagrams */
    uint64_t dropped_in;            /* by the kernel, receive buffer full */
    uint64_t dropped_out;           /* the kernel refused them: no route, too long, ... */
    uint64_t damaged_in;            /* cut short or without a usable sender */
    uint32_t buffer_in, buffer_out; /* as the kernel accounts them */
    bool gso, gro;                  /* in use */
};

/* A received datagram; `data` may be changed in place. */
struct io_datagram {
    struct cv_addr from;
    uint8_t *data;
    uint16_t len;
};

/*
 * EXIST: the port is taken. DENIED: not allowed to bind there. UNREACHABLE: the
 * address is not one of this machine. LIMIT, NOMEM. *why says it in a line.
 */
enum cv_err io_udp_open(const struct io_udp_config *cfg, struct io_udp **ret, struct io_why *why);
struct io_udp *io_udp_close(struct io_udp *u);

/*
 * From now on others that are opened `beside` it by this user have this one's port, too;
 * nobody else's may. DENIED: the kernel will not.
 */
enum cv_err io_udp_share(struct io_udp *u);
/*
 * All that share it are open: a datagram comes to the one with the number (fourth octet >>
 * IO_SHARE_SHIFT) % sockets, in the order in which they were opened, and to the first when it
 * begins with 'd'; a filter in the kernel sees to it. DENIED: it will not; then datagrams
 * come to any.
 */
enum cv_err io_udp_steer(struct io_udp *u, unsigned sockets);

/* For io_watch_new(); never close or read it. */
int io_udp_fd(const struct io_udp *u);
/* Where it is bound, with the port the system chose. */
struct cv_addr io_udp_addr(const struct io_udp *u);

/*
 * One system call. Returns how many datagrams *ret points at, 0 when none
 * waits. They stay valid until the next call. Call again until 0, but not for
 * ever: other sockets wait too.
 */
size_t io_udp_receive(struct io_udp *u, struct io_datagram **ret);

/*
 * Sends every run; all endpoints must be UDP (ours to get right). OK: the batch
 * is cleared; datagrams the kernel refused are counted, not reported, as if the
 * network had lost them. AGAIN: the socket is full; what is left stays in the
 * batch: wait for writability, then call with the same batch before anything
 * is added to it.
 */
enum cv_err io_udp_send(struct io_udp *u, struct cv_batch *batch);

/* Asks the kernel for its drop count: one system call. */
struct io_udp_stats io_udp_stats(struct io_udp *u);

#endif
