/*
 * What an engine may know about time: what it is told. Only io/, gateway/,
 * cli/ and tools/ read a clock. One `struct cv_now` is the time of one step,
 * for everything that happens in that step.
 */
#ifndef CULVERT_BASE_TIME_H
#define CULVERT_BASE_TIME_H

#include <stdint.h>

/* Microseconds on a monotonic clock of unspecified origin. */
typedef uint64_t cv_usec;

#define CV_USEC_NEVER UINT64_MAX
#define CV_MSEC(n)    ((cv_usec)(n)*1000)
#define CV_SEC(n)     ((cv_usec)(n)*1000000)

/*
 * mono: every deadline. Never goes backwards.
 * wall: Unix seconds, 0 = unknown; only for calendar things (days, periods,
 *       validity). It may jump either way; a jump never moves a deadline.
 */
struct cv_now {
    cv_usec mono;
    int64_t wall;
};

/* Saturates: a deadline that would overflow is CV_USEC_NEVER. */
static inline cv_usec cv_usec_add(cv_usec t, cv_usec d) {
    return t > CV_USEC_NEVER - d ? CV_USEC_NEVER : t + d;
}

/* Time since `t`, 0 when `t` lies in the future. */
static inline cv_usec cv_usec_since(cv_usec now, cv_usec t) {
    return now > t ? now - t : 0;
}

static inline cv_usec cv_usec_min(cv_usec a, cv_usec b) {
    return a < b ? a : b;
}

/* UTC day number (days since 1970-01-01); 0 when the wall clock is unknown. */
static inline uint32_t cv_day(int64_t wall) {
    return wall > 0 ? (uint32_t)(wall / 86400) : 0;
}

#endif
