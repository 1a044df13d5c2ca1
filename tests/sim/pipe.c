#include "sim/pipe.h"

enum { BITS_USEC = 8 * 1000000 }; /* an octet's bits, times microseconds a second */

/* What is inside, in bits times microseconds a second. */
static uint64_t inside(const struct sim_pipe *p, cv_usec now) {
    return p->busy < now ? 0 : (p->busy - now) * p->rate + p->carry;
}

uint64_t sim_pipe_backlog(const struct sim_pipe *p, cv_usec now) {
    return p->rate ? (inside(p, now) + BITS_USEC - 1) / BITS_USEC : 0;
}

bool sim_pipe_send(struct sim_pipe *p, cv_usec now, uint64_t len, cv_usec *ret) {
    if (p->rate == 0) {
        *ret = now;
        return true;
    }
    if (p->queue && sim_pipe_backlog(p, now) + len > p->queue)
        return false;
    if (p->busy < now) {
        p->busy = now;
        p->carry = 0;
    }
    uint64_t work = len * BITS_USEC + p->carry;
    p->busy += work / p->rate;
    p->carry = work % p->rate;
    *ret = p->busy + (p->carry > 0);
    return true;
}
