/*
 * A pipe of limited rate with a drop-tail queue before it, as arithmetic: when
 * does this datagram leave, and is there room for it to wait? Nothing is
 * allocated and nothing ticks. Exact: fractions of a microsecond are carried
 * from one datagram to the next.
 */
#ifndef CULVERT_TESTS_SIM_PIPE_H
#define CULVERT_TESTS_SIM_PIPE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/time.h"

struct sim_pipe {
    uint64_t rate;  /* bits of UDP payload a second; 0: no limit, no queue */
    uint64_t queue; /* octets that may be inside, the one being sent included; 0: no limit */
    cv_usec busy;   /* the last one has left at busy + carry / rate */
    uint64_t carry; /* in 1 / rate microseconds */
};

/* Octets inside at `now`, rounded up. */
uint64_t sim_pipe_backlog(const struct sim_pipe *p, cv_usec now);

/* Sends `len` octets at `now`, which must not go backwards. *ret is when the
 * last of them is out (rounded up); false when there was no room. */
bool sim_pipe_send(struct sim_pipe *p, cv_usec now, uint64_t len, cv_usec *ret);

#endif
