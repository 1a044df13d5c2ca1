/*
 * Circuit ids of one link: u32 to pointer, open addressing, so that a cell
 * finds its circuit with one probe into one small array. The neighbour chooses
 * half of the ids, so the place in the array depends on a secret of ours.
 */
#ifndef CULVERT_TUNNEL_IDTABLE_H
#define CULVERT_TUNNEL_IDTABLE_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct tun_idtable_entry {
    void *value; /* NULL: free */
    uint32_t id;
};

struct tun_idtable {
    struct tun_idtable_entry *v; /* cap entries, a power of two; NULL while empty */
    uint32_t count, cap, max;
    uint64_t secret; /* odd */
};

/* At most `max` entries; `secret` is random. Allocates on the first put. */
void tun_idtable_init(struct tun_idtable *t, uint32_t max, uint64_t secret);
void tun_idtable_done(struct tun_idtable *t); /* values are not touched */

/* CV_ERR_EXIST, CV_ERR_LIMIT, CV_ERR_NOMEM: nothing changed. value not NULL. */
enum cv_err tun_idtable_put(struct tun_idtable *t, uint32_t id, void *value);
void *tun_idtable_del(struct tun_idtable *t, uint32_t id); /* the value, or NULL */

static inline uint32_t tun_idtable_place(const struct tun_idtable *t, uint32_t id) {
    return (uint32_t)(((uint64_t)id + 1) * t->secret >> 32) & (t->cap - 1);
}

/* Value, or NULL. */
static inline void *tun_idtable_get(const struct tun_idtable *t, uint32_t id) {
    if (!t->cap)
        return NULL;
    for (uint32_t i = tun_idtable_place(t, id);; i = (i + 1) & (t->cap - 1)) {
        if (!t->v[i].value || t->v[i].id == id)
            return t->v[i].value;
    }
}

/* It will be asked for this one soon: the memory where that begins, and the next place, where
 * most others end. */
static inline void tun_idtable_near(const struct tun_idtable *t, uint32_t id) {
    if (!t->cap)
        return;
    const struct tun_idtable_entry *at = &t->v[tun_idtable_place(t, id)];
    __builtin_prefetch(at);
    __builtin_prefetch(at + 1);
}

/* Any entry, or NULL when empty: for tearing down. */
void *tun_idtable_any(const struct tun_idtable *t, uint32_t *ret_id);

#endif
