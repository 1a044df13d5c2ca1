/* The addresses of this machine's interfaces. */
#ifndef CULVERT_IO_HOSTADDR_H
#define CULVERT_IO_HOSTADDR_H

#include <stddef.h>

#include "base/endpoint.h"

/*
 * Writes at most `max` addresses, port 0, without those of the loopback interface, public
 * ones first, and returns how many. As they are now: an interface that comes later is not
 * among them. 0: there is none, or the system does not say.
 */
size_t io_hostaddr_all(struct cv_addr *out, size_t max);

#endif
