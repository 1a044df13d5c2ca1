#include <errno.h>
#include <stdalign.h>
#include <string.h>

#include "io/udp_priv.h"

struct control {
    alignas(struct cmsghdr) char octets[CMSG_SPACE(sizeof(int))];
};

/* Size of the datagrams that the kernel joined in this message; 0: it is one. */
static size_t joined_size(struct msghdr *m) {
    for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c))
        if (c->cmsg_level == SOL_UDP && c->cmsg_type == UDP_GRO) {
            int size;
            memcpy(&size, CMSG_DATA(c), sizeof size);
            return size > 0 ? (size_t)size : 0;
        }
    return 0;
}

/* Appends the datagrams of one message; returns the new count. */
static size_t split(struct io_udp *u, size_t count, const struct cv_addr *from, uint8_t *data,
                    size_t len, size_t size) {
    size_t most = count + IO_RECV_SPLIT_MAX;
    if (size == 0 || size > len)
        size = len;
    else if (size < len)
        u->stats.messages_joined++;
    do {
        size_t n = len < size ? len : size; /* the last may be shorter */
        u->datagrams[count++] = (struct io_datagram){*from, data, (uint16_t)n};
        data += n;
        len -= n;
    } while (len > 0 && count < most);
    if (len > 0)
        u->stats.damaged_in++;
    return count;
}

size_t io_udp_receive(struct io_udp *u, struct io_datagram **ret) {
    struct mmsghdr msgs[IO_RECV_MESSAGES];
    struct iovec iovs[IO_RECV_MESSAGES];
    union io_sockaddr names[IO_RECV_MESSAGES];
    struct control controls[IO_RECV_MESSAGES];

    for (size_t i = 0; i < IO_RECV_MESSAGES; i++) {
        iovs[i] = (struct iovec){u->arena + i * IO_RECV_OCTETS, IO_RECV_OCTETS};
        msgs[i] = (struct mmsghdr){.msg_hdr = {.msg_name = &names[i],
                                               .msg_namelen = sizeof names[i],
                                               .msg_iov = &iovs[i],
                                               .msg_iovlen = 1,
                                               .msg_control = &controls[i],
                                               .msg_controllen = sizeof controls[i]}};
    }
    int n;
    do {
        n = recvmmsg(u->fd, msgs, IO_RECV_MESSAGES, MSG_DONTWAIT, NULL);
    } while (n < 0 && errno == EINTR);
    u->stats.calls_in++;

    size_t count = 0;
    for (int i = 0; i < n; i++) {
        struct msghdr *m = &msgs[i].msg_hdr;
        struct cv_addr from = io_sockaddr_to(&names[i]);
        if (m->msg_flags & MSG_TRUNC || from.family == 0 || from.port == 0) {
            u->stats.damaged_in++;
            continue;
        }
        count = split(u, count, &from, iovs[i].iov_base, msgs[i].msg_len, joined_size(m));
        u->stats.octets_in += msgs[i].msg_len;
    }
    u->stats.datagrams_in += count;
    *ret = u->datagrams;
    return count;
}
