/*
 * Handles: index and generation of an object, so that a handle to something
 * that is gone never finds its successor in the same place.
 */
#ifndef CULVERT_TUNNEL_HANDLES_H
#define CULVERT_TUNNEL_HANDLES_H

#include <stddef.h>
#include <stdint.h>

#include "base/endpoint.h"
#include "base/err.h"

struct tun_handle_slot {
    void *value; /* NULL: free */
    uint32_t generation;
    uint32_t next_free; /* index + 1 */
};

struct tun_handles {
    struct tun_handle_slot *v;
    uint32_t count, cap, max;
    uint32_t free; /* index + 1 of the first free slot; 0: none */
    uint32_t kind; /* in the top two bits of every handle */
    uint32_t mark; /* in the top octet of every index: the worker, in place */
};

#define TUN_HANDLE_WORKER_SHIFT 24

/* kind 1..3: a handle of one table is never taken for one of another; neither are
 * handles of two workers. max < 2^24. */
void tun_handles_init(struct tun_handles *h, uint32_t max, unsigned kind, unsigned worker);
void tun_handles_done(struct tun_handles *h); /* values are not touched */

/* CV_ERR_LIMIT, CV_ERR_NOMEM. `value` is not NULL. */
enum cv_err tun_handles_put(struct tun_handles *h, void *value, cv_handle *ret);
void tun_handles_del(struct tun_handles *h, cv_handle handle); /* no-op when dead */

/* NULL when the handle is dead. */
static inline void *tun_handles_get(const struct tun_handles *h, cv_handle handle) {
    uint32_t i = (uint32_t)handle ^ h->mark;
    if (i >= h->cap || h->v[i].generation != handle >> 32)
        return NULL;
    return h->v[i].value;
}

/* Whose it is. */
static inline unsigned tun_handle_worker(cv_handle handle) {
    return (uint32_t)handle >> TUN_HANDLE_WORKER_SHIFT;
}

/* Walks all values: *cursor begins at 0; NULL at the end. Any may be deleted
 * on the way. */
static inline void *tun_handles_next(const struct tun_handles *h, uint32_t *cursor) {
    while (*cursor < h->cap) {
        void *value = h->v[(*cursor)++].value;
        if (value)
            return value;
    }
    return NULL;
}

#endif
