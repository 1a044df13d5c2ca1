#include "io/udp.h"

#include <assert.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/sock_diag.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io/udp_priv.h"

#ifndef IPV6_AUTOFLOWLABEL
#define IPV6_AUTOFLOWLABEL 70
#endif

static void set(int fd, int level, int option, int value) {
    /* What a kernel does not know it does not do either: nothing to undo. */
    (void)setsockopt(fd, level, option, &value, sizeof value);
}

static void look_constant(int fd, uint8_t family) {
    if (family == 4) {
        set(fd, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO);
        set(fd, IPPROTO_IP, IP_TTL, IO_TTL);
        set(fd, IPPROTO_IP, IP_TOS, 0);
        return;
    }
    set(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
    set(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_DO);
    set(fd, IPPROTO_IPV6, IPV6_UNICAST_HOPS, IO_TTL);
    set(fd, IPPROTO_IPV6, IPV6_TCLASS, 0);
    set(fd, IPPROTO_IPV6, IPV6_AUTOFLOWLABEL, 0);
}

/* Beyond the system's maximum when we may, else up to it. */
static uint32_t buffer(int fd, int force, int option, uint32_t octets) {
    int value = (int)octets, got = 0;
    socklen_t len = sizeof got;
    if (octets && setsockopt(fd, SOL_SOCKET, force, &value, sizeof value) != 0)
        set(fd, SOL_SOCKET, option, value);
    getsockopt(fd, SOL_SOCKET, option, &got, &len);
    return (uint32_t)got;
}

static void batching(struct io_udp *u, const struct io_udp_config *cfg) {
    int value = 0;
    socklen_t len = sizeof value;
    u->stats.gso = !cfg->no_gso && getsockopt(u->fd, SOL_UDP, UDP_SEGMENT, &value, &len) == 0;
    value = 1;
    u->stats.gro = !cfg->no_gro && setsockopt(u->fd, SOL_UDP, UDP_GRO, &value, sizeof value) == 0;
}

static enum cv_err refused(struct io_why *why, const struct cv_addr *addr, int error) {
    char text[CV_ADDR_TEXT];
    cv_addr_text(addr, text);
    switch (error) {
    case EADDRINUSE:
        io_why_set(why, "%s: another program uses this UDP port; stop it or choose another port",
                   text);
        return CV_ERR_EXIST;
    case EACCES:
    case EPERM:
        io_why_set(why, "%s: not permitted to use this UDP port; choose one above 1023", text);
        return CV_ERR_DENIED;
    case EADDRNOTAVAIL:
    case EAFNOSUPPORT:
        io_why_set(why, "%s: not an address of this machine; 'ip address' lists those", text);
        return CV_ERR_UNREACHABLE;
    default:
        return io_why_errno(why, text, error);
    }
}

enum cv_err io_udp_open(const struct io_udp_config *cfg, struct io_udp **ret, struct io_why *why) {
    union io_sockaddr sa;
    socklen_t len = io_sockaddr_from(&cfg->addr, &sa);
    assert(len > 0);

    struct io_udp *u = calloc(1, sizeof *u);
    if (!u)
        return CV_ERR_NOMEM;
    u->arena = malloc((size_t)IO_RECV_MESSAGES * IO_RECV_OCTETS);
    u->fd = socket(sa.any.sa_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (!u->arena || u->fd < 0) {
        enum cv_err err = u->arena ? refused(why, &cfg->addr, errno) : CV_ERR_NOMEM;
        io_udp_close(u);
        return err;
    }
    look_constant(u->fd, cfg->addr.family);
    u->stats.buffer_in = buffer(u->fd, SO_RCVBUFFORCE, SO_RCVBUF, cfg->buffer);
    u->stats.buffer_out = buffer(u->fd, SO_SNDBUFFORCE, SO_SNDBUF, cfg->buffer);
    batching(u, cfg);
    if (cfg->beside)
        set(u->fd, SOL_SOCKET, SO_REUSEPORT, 1);
    if (bind(u->fd, &sa.any, len) != 0) {
        enum cv_err err = refused(why, &cfg->addr, errno);
        io_udp_close(u);
        return err;
    }
    len = sizeof sa;
    getsockname(u->fd, &sa.any, &len);
    u->addr = io_sockaddr_to(&sa);
    *ret = u;
    return CV_ERR_OK;
}

/* Bound before it is shared: whoever has the port already, a relay of the same user
 * too, is found out as ever. */
enum cv_err io_udp_share(struct io_udp *u) {
    int one = 1;
    return setsockopt(u->fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one) ? CV_ERR_DENIED
                                                                         : CV_ERR_OK;
}

enum cv_err io_udp_steer(struct io_udp *u, unsigned sockets) {
    struct sock_filter steps[] = {
        /* what has no fourth octet comes to the first */
        {BPF_LD | BPF_B | BPF_ABS, 0, 0, 0},
        {BPF_JMP | BPF_JEQ | BPF_K, 4, 0, 'd'},
        {BPF_LD | BPF_B | BPF_ABS, 0, 0, 3},
        {BPF_ALU | BPF_RSH | BPF_K, 0, 0, IO_SHARE_SHIFT},
        {BPF_ALU | BPF_MOD | BPF_K, 0, 0, sockets},
        {BPF_RET | BPF_A, 0, 0, 0},
        {BPF_RET | BPF_K, 0, 0, 0},
    };
    struct sock_fprog program = {.len = sizeof steps / sizeof *steps, .filter = steps};
    if (setsockopt(u->fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &program, sizeof program) != 0)
        return CV_ERR_DENIED;
    return CV_ERR_OK;
}

struct io_udp *io_udp_close(struct io_udp *u) {
    if (!u)
        return NULL;
    if (u->fd >= 0)
        close(u->fd);
    free(u->arena);
    free(u);
    return NULL;
}

int io_udp_fd(const struct io_udp *u) {
    return u->fd;
}

struct cv_addr io_udp_addr(const struct io_udp *u) {
    return u->addr;
}

struct io_udp_stats io_udp_stats(struct io_udp *u) {
    uint32_t info[SK_MEMINFO_VARS] = {0};
    socklen_t len = sizeof info;
    if (getsockopt(u->fd, SOL_SOCKET, SO_MEMINFO, info, &len) == 0)
        u->stats.dropped_in = info[SK_MEMINFO_DROPS];
    return u->stats;
}
