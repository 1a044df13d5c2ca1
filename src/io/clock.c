#include "io/clock.h"

#include <time.h>

int64_t io_clock_wall_ms(void) {
    struct timespec wall;
    clock_gettime(CLOCK_REALTIME, &wall);
    return wall.tv_sec < IO_CLOCK_EARLIEST ? 0 : wall.tv_sec * 1000 + wall.tv_nsec / 1000000;
}

struct cv_now io_clock_now(void) {
    struct timespec mono, wall;
    clock_gettime(CLOCK_BOOTTIME, &mono);
    clock_gettime(CLOCK_REALTIME, &wall);
    return (struct cv_now){
        .mono = (cv_usec)mono.tv_sec * 1000000 + (cv_usec)mono.tv_nsec / 1000 + 1,
        .wall = wall.tv_sec < IO_CLOCK_EARLIEST ? 0 : wall.tv_sec,
    };
}
