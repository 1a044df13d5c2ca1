#include "io/hostaddr.h"

#include <ifaddrs.h>
#include <stdbool.h>
#include <string.h>

#include "io/sockaddr.h"

static bool address_of(const struct ifaddrs *i, struct cv_addr *ret) {
    union io_sockaddr sa;
    if (!i->ifa_addr)
        return false;
    if (i->ifa_addr->sa_family == AF_INET)
        memcpy(&sa, i->ifa_addr, sizeof sa.v4);
    else if (i->ifa_addr->sa_family == AF_INET6)
        memcpy(&sa, i->ifa_addr, sizeof sa.v6);
    else
        return false;
    *ret = io_sockaddr_to(&sa);
    return !cv_addr_is_loopback(ret);
}

size_t io_hostaddr_all(struct cv_addr *out, size_t max) {
    struct ifaddrs *all;
    size_t n = 0;
    if (getifaddrs(&all) != 0)
        return 0;
    for (int turn = 0; turn < 2; turn++)
        for (const struct ifaddrs *i = all; i && n < max; i = i->ifa_next) {
            struct cv_addr a;
            if (address_of(i, &a) && cv_addr_is_public(&a) == (turn == 0))
                out[n++] = a;
        }
    freeifaddrs(all);
    return n;
}
