/* The clock: read once a step, handed to everything in it (base/time.h). */
#ifndef CULVERT_IO_CLOCK_H
#define CULVERT_IO_CLOCK_H

#include "base/time.h"

/* Monotonic microseconds (never 0) and Unix seconds. Never fails. Both go on while the machine
 * is suspended: circuits, links and introduction points end at the other end meanwhile, and who
 * does not know that waits for them for a minute after it wakes. */
struct cv_now io_clock_now(void);
/* Unix milliseconds, 0 as above: for what is shown to people and players. */
int64_t io_clock_wall_ms(void);

/*
 * A wall clock before 2024 is not believed and told as unknown (0): a machine
 * without battery starts in 1970, and records signed then would be worthless.
 */
#define IO_CLOCK_EARLIEST 1704067200

#endif
