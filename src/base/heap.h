/*
 * Timer heap: binary min-heap of deadlines, intrusive, so that nothing is
 * allocated per timer. Ties are broken by order of insertion, so that runs
 * replay. Not for sharing between threads.
 */
#ifndef CULVERT_BASE_HEAP_H
#define CULVERT_BASE_HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/time.h"

/* Embed one in whatever waits. Zeroed = not in a heap. */
struct cv_timer {
    cv_usec at;
    uint64_t order;
    uint32_t place; /* index + 1 while queued, 0 otherwise */
};

struct cv_heap {
    struct cv_timer **items;
    uint32_t count, cap, max;
    uint64_t order;
};

/* Holds at most `max` timers. Allocates as it grows. */
void cv_heap_init(struct cv_heap *h, uint32_t max);
void cv_heap_done(struct cv_heap *h); /* timers are simply forgotten */

/* (Re)schedules `t`; CV_USEC_NEVER removes it. CV_ERR_LIMIT, CV_ERR_NOMEM:
 * the timer is as it was. Rescheduling a queued timer cannot fail. */
enum cv_err cv_heap_set(struct cv_heap *h, struct cv_timer *t, cv_usec at);
void cv_heap_remove(struct cv_heap *h, struct cv_timer *t); /* no-op when not queued */

static inline bool cv_timer_queued(const struct cv_timer *t) {
    return t->place != 0;
}

/* Deadline of the earliest, CV_USEC_NEVER when empty. */
static inline cv_usec cv_heap_next(const struct cv_heap *h) {
    return h->count ? h->items[0]->at : CV_USEC_NEVER;
}

/* The earliest, which stays; NULL when empty. */
static inline struct cv_timer *cv_heap_first(const struct cv_heap *h) {
    return h->count ? h->items[0] : NULL;
}

/* Removes and returns the earliest when it is due (at <= now), else NULL. */
struct cv_timer *cv_heap_pop(struct cv_heap *h, cv_usec now);

#define CV_CONTAINER_OF(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

#endif
