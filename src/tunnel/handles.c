#include "tunnel/handles.h"

#include <assert.h>
#include <stdlib.h>

#define KIND_SHIFT 30 /* of the generation */

void tun_handles_init(struct tun_handles *h, uint32_t max, unsigned kind, unsigned worker) {
    assert(kind >= 1);
    assert(kind <= 3);
    assert(max < UINT32_C(1) << TUN_HANDLE_WORKER_SHIFT);
    *h = (struct tun_handles){.max = max,
                              .kind = (uint32_t)kind << KIND_SHIFT,
                              .mark = (uint32_t)worker << TUN_HANDLE_WORKER_SHIFT};
}

static uint32_t next_generation(const struct tun_handles *h, uint32_t generation) {
    uint32_t mask = (UINT32_C(1) << KIND_SHIFT) - 1;
    uint32_t next = (generation + 1) & mask;
    return (next ? next : 1) | h->kind;
}

void tun_handles_done(struct tun_handles *h) {
    free(h->v);
    h->v = NULL;
    h->cap = h->count = h->free = 0;
}

static enum cv_err grow(struct tun_handles *h) {
    uint32_t cap = h->cap ? h->cap * 2 : 16;
    struct tun_handle_slot *v = realloc(h->v, cap * sizeof *v);
    if (!v)
        return CV_ERR_NOMEM;
    h->v = v;
    for (uint32_t i = cap; i-- > h->cap;) {
        v[i] = (struct tun_handle_slot){.generation = h->kind | 1, .next_free = h->free};
        h->free = i + 1;
    }
    h->cap = cap;
    return CV_ERR_OK;
}

enum cv_err tun_handles_put(struct tun_handles *h, void *value, cv_handle *ret) {
    assert(value);
    if (h->count >= h->max)
        return CV_ERR_LIMIT;
    if (!h->free) {
        enum cv_err err = grow(h);
        if (err)
            return err;
    }
    uint32_t i = h->free - 1;
    h->free = h->v[i].next_free;
    h->v[i].value = value;
    h->count++;
    *ret = (cv_handle)h->v[i].generation << 32 | h->mark | i;
    return CV_ERR_OK;
}

void tun_handles_del(struct tun_handles *h, cv_handle handle) {
    if (!tun_handles_get(h, handle))
        return;
    uint32_t i = (uint32_t)handle ^ h->mark;
    struct tun_handle_slot *s = &h->v[i];
    s->value = NULL;
    s->generation = next_generation(h, s->generation);
    s->next_free = h->free;
    h->free = i + 1;
    h->count--;
}
