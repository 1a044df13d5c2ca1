/*
 * Token bucket: `rate` units a second, at most `burst` saved up. Exact: the
 * fraction of a unit that a refill leaves over is carried to the next.
 */
#ifndef CULVERT_BASE_TOKENBUCKET_H
#define CULVERT_BASE_TOKENBUCKET_H

#include <stdbool.h>
#include <stdint.h>

#include "base/time.h"

struct cv_tokenbucket {
    uint64_t rate;  /* units per second; UINT64_MAX = no limit */
    uint64_t burst; /* units */
    uint64_t level; /* units available now */
    uint64_t carry; /* millionths of a unit */
    cv_usec filled_at;
};

/* Starts full. */
void cv_tokenbucket_init(struct cv_tokenbucket *b, uint64_t rate, uint64_t burst, cv_usec now);

/* Takes n units, or none and returns false. */
bool cv_tokenbucket_take(struct cv_tokenbucket *b, cv_usec now, uint64_t n);

/* When n units will be there; CV_USEC_NEVER when n > burst or rate is 0. */
cv_usec cv_tokenbucket_ready(struct cv_tokenbucket *b, cv_usec now, uint64_t n);

#endif
