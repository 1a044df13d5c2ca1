#include "io/sockaddr.h"

#include <arpa/inet.h>
#include <string.h>

socklen_t io_sockaddr_from(const struct cv_addr *a, union io_sockaddr *ret) {
    memset(ret, 0, sizeof *ret);
    switch (a->family) {
    case 4:
        ret->v4.sin_family = AF_INET;
        ret->v4.sin_port = htons(a->port);
        memcpy(&ret->v4.sin_addr, a->ip, 4);
        return sizeof ret->v4;
    case 6:
        ret->v6.sin6_family = AF_INET6;
        ret->v6.sin6_port = htons(a->port);
        memcpy(&ret->v6.sin6_addr, a->ip, 16);
        return sizeof ret->v6;
    default:
        return 0;
    }
}

struct cv_addr io_sockaddr_to(const union io_sockaddr *sa) {
    struct cv_addr a;
    memset(&a, 0, sizeof a);
    switch (sa->any.sa_family) {
    case AF_INET:
        a.family = 4;
        a.port = ntohs(sa->v4.sin_port);
        memcpy(a.ip, &sa->v4.sin_addr, 4);
        break;
    case AF_INET6:
        a.family = 6;
        a.port = ntohs(sa->v6.sin6_port);
        memcpy(a.ip, &sa->v6.sin6_addr, 16);
        break;
    default:
        break;
    }
    return a;
}
