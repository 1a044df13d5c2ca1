#include "io/clock.h"

#include <time.h>

struct cv_now io_clock_now(void) {
    struct timespec mono, wall;
    clock_gettime(CLOCK_MONOTONIC, &mono);
    clock_gettime(CLOCK_REALTIME, &wall);
    return (struct cv_now){
        .mono = (cv_usec)mono.tv_sec * 1000000 + (cv_usec)mono.tv_nsec / 1000 + 1,
        .wall = wall.tv_sec < IO_CLOCK_EARLIEST ? 0 : wall.tv_sec,
    };
}
