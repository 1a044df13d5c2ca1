#include "base/heap.h"

#include <assert.h>
#include <stdlib.h>

void cv_heap_init(struct cv_heap *h, uint32_t max) {
    *h = (struct cv_heap){.max = max};
}

void cv_heap_done(struct cv_heap *h) {
    for (uint32_t i = 0; i < h->count; i++)
        h->items[i]->place = 0;
    free(h->items);
    *h = (struct cv_heap){.max = h->max};
}

static bool before(const struct cv_timer *a, const struct cv_timer *b) {
    return a->at != b->at ? a->at < b->at : a->order < b->order;
}

static void put(struct cv_heap *h, uint32_t i, struct cv_timer *t) {
    h->items[i] = t;
    t->place = i + 1;
}

/* Both move a hole at `i` until `t` fits into it. */
static void sift_up(struct cv_heap *h, uint32_t i, struct cv_timer *t) {
    while (i > 0 && before(t, h->items[(i - 1) / 2])) {
        put(h, i, h->items[(i - 1) / 2]);
        i = (i - 1) / 2;
    }
    put(h, i, t);
}

static void sift_down(struct cv_heap *h, uint32_t i, struct cv_timer *t) {
    for (;;) {
        uint64_t child = 2 * (uint64_t)i + 1;
        if (child >= h->count)
            break;
        if (child + 1 < h->count && before(h->items[child + 1], h->items[child]))
            child++;
        if (!before(h->items[child], t))
            break;
        put(h, i, h->items[child]);
        i = (uint32_t)child;
    }
    put(h, i, t);
}

static void place(struct cv_heap *h, uint32_t i, struct cv_timer *t) {
    if (i > 0 && before(t, h->items[(i - 1) / 2]))
        sift_up(h, i, t);
    else
        sift_down(h, i, t);
}

static enum cv_err grow(struct cv_heap *h) {
    if (h->count == h->max)
        return CV_ERR_LIMIT;
    if (h->count < h->cap)
        return CV_ERR_OK;
    uint32_t cap = h->cap ? h->cap : 8;
    while (cap <= h->count)
        cap = cap > UINT32_MAX / 2 ? UINT32_MAX : cap * 2;
    cap = cap > h->max ? h->max : cap;
    struct cv_timer **items = reallocarray(h->items, cap, sizeof(struct cv_timer *));
    if (!items)
        return CV_ERR_NOMEM;
    h->items = items;
    h->cap = cap;
    return CV_ERR_OK;
}

enum cv_err cv_heap_set(struct cv_heap *h, struct cv_timer *t, cv_usec at) {
    if (at == CV_USEC_NEVER) {
        cv_heap_remove(h, t);
        return CV_ERR_OK;
    }
    if (!t->place) {
        enum cv_err err = grow(h);
        if (err)
            return err;
        t->place = ++h->count;
    }
    assert(t->place <= h->count);
    t->at = at;
    t->order = h->order++;
    place(h, t->place - 1, t);
    return CV_ERR_OK;
}

void cv_heap_remove(struct cv_heap *h, struct cv_timer *t) {
    if (!t->place)
        return;
    assert(t->place <= h->count && h->items[t->place - 1] == t);
    uint32_t hole = t->place - 1;
    struct cv_timer *last = h->items[--h->count];
    t->place = 0;
    if (last != t)
        place(h, hole, last);
}

struct cv_timer *cv_heap_pop(struct cv_heap *h, cv_usec now) {
    if (!h->count || h->items[0]->at > now)
        return NULL;
    struct cv_timer *t = h->items[0];
    cv_heap_remove(h, t);
    return t;
}
