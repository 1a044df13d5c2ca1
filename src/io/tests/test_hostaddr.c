/* The machine's own addresses: what the kernel's tables say, whatever machine it is. */
#include "io/hostaddr.h"

#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "io/sockaddr.h"
#include "support/suite.h"

CV_SUITE(io_hostaddr);

/* An address is of this machine when a socket can be bound to it. */
static bool can_bind(const struct cv_addr *a) {
    union io_sockaddr sa;
    socklen_t len = io_sockaddr_from(a, &sa);
    int fd = socket(sa.any.sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    bool ok = fd >= 0 && bind(fd, &sa.any, len) == 0;
    if (fd >= 0)
        close(fd);
    return ok;
}

Test(io_hostaddr, all_are_of_this_machine_and_none_is_loopback) {
    struct cv_addr a[64];
    size_t n = io_hostaddr_all(a, 64);
    bool others = false; /* a public one behind one that is not */
    for (size_t i = 0; i < n; i++) {
        char text[CV_ADDR_TEXT];
        bool link_local = a[i].family == 6 && a[i].ip[0] == 0xfe; /* wants its interface's number */
        cr_expect(!cv_addr_is_loopback(&a[i]));
        cr_expect_eq(a[i].port, 0);
        cr_expect(link_local || can_bind(&a[i]), "%s", cv_addr_text(&a[i], text));
        cr_expect(!(others && cv_addr_is_public(&a[i])), "public ones come first");
        others |= !cv_addr_is_public(&a[i]);
    }
}

Test(io_hostaddr, no_more_than_there_is_room_for) {
    struct cv_addr a[2];
    memset(a, 0x5a, sizeof a);
    struct cv_addr untouched = a[1];
    cr_expect_leq(io_hostaddr_all(a, 1), 1);
    cr_expect_arr_eq(&a[1], &untouched, sizeof untouched);
    cr_expect_eq(io_hostaddr_all(a, 0), 0);
}
