/* struct cv_addr to what the kernel calls an address, and back. */
#ifndef CULVERT_IO_SOCKADDR_H
#define CULVERT_IO_SOCKADDR_H

#include <netinet/in.h>
#include <sys/socket.h>

#include "base/endpoint.h"

union io_sockaddr {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

/* Fills *ret and returns its length; 0 for an address without a family. */
socklen_t io_sockaddr_from(const struct cv_addr *a, union io_sockaddr *ret);

/* An address of another family than IPv4 and IPv6 becomes "none". */
struct cv_addr io_sockaddr_to(const union io_sockaddr *sa);

#endif
