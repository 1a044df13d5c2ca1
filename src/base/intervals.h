/*
 * A set of unsigned 64-bit numbers held as sorted, disjoint, non-adjacent
 * intervals, both ends inclusive. One inline slot, heap only beyond it.
 */
#ifndef CULVERT_BASE_INTERVALS_H
#define CULVERT_BASE_INTERVALS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct cv_interval {
    uint64_t first, last; /* inclusive, first <= last */
};

struct cv_intervals {
    struct cv_interval *v; /* NULL: `inline_slot` */
    size_t count, cap, max;
    struct cv_interval inline_slot;
};

/* At most `max` separate intervals (>= 1). */
void cv_intervals_init(struct cv_intervals *s, size_t max);
void cv_intervals_done(struct cv_intervals *s);

/* CV_ERR_LIMIT or CV_ERR_NOMEM leave the set as it was. */
enum cv_err cv_intervals_add(struct cv_intervals *s, uint64_t first, uint64_t last);
enum cv_err cv_intervals_remove(struct cv_intervals *s, uint64_t first, uint64_t last);
void cv_intervals_clear(struct cv_intervals *s);

bool cv_intervals_has(const struct cv_intervals *s, uint64_t n);
/* All of first..last are in the set. */
bool cv_intervals_covers(const struct cv_intervals *s, uint64_t first, uint64_t last);
/* The interval that holds n; false when none does. */
bool cv_intervals_find(const struct cv_intervals *s, uint64_t n, struct cv_interval *ret);
/* First gap at or after `from`: ret->first..ret->last are all absent
 * (last may be UINT64_MAX). false when from..UINT64_MAX is all present. */
bool cv_intervals_gap(const struct cv_intervals *s, uint64_t from, struct cv_interval *ret);

static inline size_t cv_intervals_count(const struct cv_intervals *s) {
    return s->count;
}
/* i < count */
static inline struct cv_interval cv_intervals_at(const struct cv_intervals *s, size_t i) {
    return s->v ? s->v[i] : s->inline_slot;
}
/* How many numbers are in the set; saturates. */
uint64_t cv_intervals_total(const struct cv_intervals *s);

#endif
