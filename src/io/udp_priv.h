/* The inside of a UDP socket, shared by udp.c, udp_receive.c and udp_send.c. */
#ifndef CULVERT_IO_UDP_PRIV_H
#define CULVERT_IO_UDP_PRIV_H

#include <netinet/udp.h>
#include <sys/socket.h>

#include "io/limits.h"
#include "io/sockaddr.h"
#include "io/udp.h"

/* Of kernel 4.18 and 5.0; older headers lack them. */
#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif

struct io_udp {
    int fd;
    struct cv_addr addr;
    unsigned refusals; /* of segmentation, in a row */
    struct io_udp_stats stats;
    uint8_t *arena; /* IO_RECV_MESSAGES * IO_RECV_OCTETS */
    struct io_datagram datagrams[IO_RECV_MESSAGES * IO_RECV_SPLIT_MAX];
};

#endif
