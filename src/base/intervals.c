#include "base/intervals.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

void cv_intervals_init(struct cv_intervals *s, size_t max) {
    assert(max >= 1);
    *s = (struct cv_intervals){.cap = 1, .max = max};
}

void cv_intervals_done(struct cv_intervals *s) {
    free(s->v);
    cv_intervals_init(s, s->max);
}

void cv_intervals_clear(struct cv_intervals *s) {
    cv_intervals_done(s);
}

static struct cv_interval *items(struct cv_intervals *s) {
    return s->v ? s->v : &s->inline_slot;
}

/* Index of the first interval whose end is at or behind n; count if none. */
static size_t seek(const struct cv_intervals *s, uint64_t n) {
    size_t lo = 0, hi = s->count;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (cv_intervals_at(s, mid).last < n)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static enum cv_err grow(struct cv_intervals *s) {
    if (s->count == s->max)
        return CV_ERR_LIMIT;
    if (s->count < s->cap)
        return CV_ERR_OK;
    size_t cap = s->cap * 2 < 4 ? 4 : s->cap * 2;
    cap = cap > s->max ? s->max : cap;
    struct cv_interval *v = reallocarray(s->v, cap, sizeof *v);
    if (!v)
        return CV_ERR_NOMEM;
    if (!s->v)
        v[0] = s->inline_slot;
    s->v = v;
    s->cap = cap;
    return CV_ERR_OK;
}

/* Replaces items [from, to) by the n given ones (n <= 2). Fails only when that
 * makes the set longer. */
static enum cv_err splice(struct cv_intervals *s, size_t from, size_t to,
                          const struct cv_interval *with, size_t n) {
    if (n > to - from) {
        assert(n == to - from + 1);
        enum cv_err err = grow(s);
        if (err)
            return err;
    }
    struct cv_interval *v = items(s);
    memmove(v + from + n, v + to, (s->count - to) * sizeof *v);
    if (n)
        memcpy(v + from, with, n * sizeof *v);
    s->count = s->count - (to - from) + n;
    return CV_ERR_OK;
}

enum cv_err cv_intervals_add(struct cv_intervals *s, uint64_t first, uint64_t last) {
    assert(first <= last);
    /* Everything that overlaps or touches becomes one. */
    size_t from = seek(s, first ? first - 1 : 0), to = from;
    struct cv_interval sum = {first, last};
    for (; to < s->count; to++) {
        struct cv_interval i = cv_intervals_at(s, to);
        if (last != UINT64_MAX && i.first > last + 1)
            break;
        sum.first = i.first < sum.first ? i.first : sum.first;
        sum.last = i.last > sum.last ? i.last : sum.last;
    }
    return splice(s, from, to, &sum, 1);
}

enum cv_err cv_intervals_remove(struct cv_intervals *s, uint64_t first, uint64_t last) {
    assert(first <= last);
    size_t from = seek(s, first), to = from, n = 0;
    struct cv_interval rest[2];
    for (; to < s->count; to++) {
        struct cv_interval i = cv_intervals_at(s, to);
        if (i.first > last)
            break;
        if (i.first < first)
            rest[n++] = (struct cv_interval){i.first, first - 1};
        if (i.last > last)
            rest[n++] = (struct cv_interval){last + 1, i.last};
    }
    return splice(s, from, to, rest, n);
}

bool cv_intervals_find(const struct cv_intervals *s, uint64_t n, struct cv_interval *ret) {
    size_t i = seek(s, n);
    if (i == s->count || cv_intervals_at(s, i).first > n)
        return false;
    *ret = cv_intervals_at(s, i);
    return true;
}

bool cv_intervals_has(const struct cv_intervals *s, uint64_t n) {
    struct cv_interval i;
    return cv_intervals_find(s, n, &i);
}

bool cv_intervals_covers(const struct cv_intervals *s, uint64_t first, uint64_t last) {
    struct cv_interval i;
    assert(first <= last);
    return cv_intervals_find(s, first, &i) && i.last >= last;
}

bool cv_intervals_gap(const struct cv_intervals *s, uint64_t from, struct cv_interval *ret) {
    size_t i = seek(s, from);
    if (i < s->count && cv_intervals_at(s, i).first <= from) {
        if (cv_intervals_at(s, i).last == UINT64_MAX)
            return false;
        from = cv_intervals_at(s, i).last + 1;
        i++;
    }
    ret->first = from;
    ret->last = i < s->count ? cv_intervals_at(s, i).first - 1 : UINT64_MAX;
    return true;
}

uint64_t cv_intervals_total(const struct cv_intervals *s) {
    uint64_t sum = 0;
    for (size_t i = 0; i < s->count; i++) {
        struct cv_interval it = cv_intervals_at(s, i);
        uint64_t n = it.last - it.first;
        if (n == UINT64_MAX || __builtin_add_overflow(sum, n + 1, &sum))
            return UINT64_MAX;
    }
    return sum;
}
