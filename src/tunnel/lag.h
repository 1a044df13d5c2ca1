/*
 * Does a way lag: bring less than half of what the others to the same seeder do on average,
 * while all of them are asked for as much as they take? Each way is looked at every
 * TUN_LAG_LOOK. What a look counts is what came since the one before, of ways that were
 * asked all that time; a way lags after TUN_LAG_LOOKS in a row that say so. One that was
 * asked for less, or of which there was no look in time, begins anew.
 *
 * Values only: no memory of its own, no time but what it is told.
 */
#ifndef CULVERT_TUNNEL_LAG_H
#define CULVERT_TUNNEL_LAG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/time.h"

/* Of one way. Zeroed: it came up just now. */
struct tun_lag {
    bool seen;
    cv_usec at;       /* the last look, */
    uint64_t octets;  /* what had come by then, since the way came up, */
    bool asked;       /* and it was asked for as much as it takes */
    bool counts;      /* also all the time since the look before, in which .. */
    uint64_t brought; /* .. so many octets came */
    uint8_t looks;    /* in a row that say that it lags */
};

/* `octets`: of content, since the way came up. `asked_since`: since when it has been asked for
 * as much as it takes; CV_USEC_NEVER: it is not now. */
void tun_lag_look(struct tun_lag *l, cv_usec now, uint64_t octets, cv_usec asked_since);

/* After all were looked at: `others` octets came by the `count` others whose look counts. */
void tun_lag_judge(struct tun_lag *l, uint64_t others, unsigned count);

bool tun_lag_is(const struct tun_lag *l);

#endif
