/* What sockets a process of ours has, as the kernel lists them (/proc). */
#ifndef CULVERT_CLI_SOCKETS_H
#define CULVERT_CLI_SOCKETS_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/endpoint.h"

enum { CLI_SOCKETS_MAX = 256 };

struct cli_socket {
    struct cv_addr local;
    bool udp; /* else TCP */
};

/* Internet sockets of the process, at most CLI_SOCKETS_MAX; -1: it may not be looked at. */
ssize_t cli_sockets_of(pid_t pid, struct cli_socket ret[CLI_SOCKETS_MAX]);

#endif
