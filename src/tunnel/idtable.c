#include "tunnel/idtable.h"

#include <assert.h>
#include <stdlib.h>

void tun_idtable_init(struct tun_idtable *t, uint32_t max, uint64_t secret) {
    *t = (struct tun_idtable){.max = max, .secret = secret | 1};
}

void tun_idtable_done(struct tun_idtable *t) {
    free(t->v);
    t->v = NULL;
    t->count = t->cap = 0;
}

static void insert(struct tun_idtable *t, uint32_t id, void *value) {
    uint32_t i = tun_idtable_place(t, id);
    while (t->v[i].value)
        i = (i + 1) & (t->cap - 1);
    t->v[i] = (struct tun_idtable_entry){.value = value, .id = id};
}

/* At most half full: a probe that misses ends soon. */
static enum cv_err grow(struct tun_idtable *t) {
    struct tun_idtable old = *t;
    uint32_t cap = old.cap ? old.cap * 2 : 8;
    struct tun_idtable_entry *v = calloc(cap, sizeof *v);
    if (!v)
        return CV_ERR_NOMEM;
    t->v = v;
    t->cap = cap;
    for (uint32_t i = 0; i < old.cap; i++)
        if (old.v[i].value)
            insert(t, old.v[i].id, old.v[i].value);
    free(old.v);
    return CV_ERR_OK;
}

enum cv_err tun_idtable_put(struct tun_idtable *t, uint32_t id, void *value) {
    assert(value);
    if (tun_idtable_get(t, id))
        return CV_ERR_EXIST;
    if (t->count >= t->max)
        return CV_ERR_LIMIT;
    if ((t->count + 1) * 2 > t->cap) {
        enum cv_err err = grow(t);
        if (err)
            return err;
    }
    insert(t, id, value);
    t->count++;
    return CV_ERR_OK;
}

/* Moves later entries of the same run forward instead of leaving a tombstone. */
static void close_gap(struct tun_idtable *t, uint32_t gap) {
    uint32_t mask = t->cap - 1;
    for (uint32_t i = (gap + 1) & mask; t->v[i].value; i = (i + 1) & mask) {
        uint32_t home = tun_idtable_place(t, t->v[i].id);
        if (((i - home) & mask) < ((i - gap) & mask))
            continue;
        t->v[gap] = t->v[i];
        gap = i;
    }
    t->v[gap].value = NULL;
}

void *tun_idtable_del(struct tun_idtable *t, uint32_t id) {
    if (!t->cap)
        return NULL;
    uint32_t mask = t->cap - 1, i = tun_idtable_place(t, id);
    while (t->v[i].value && t->v[i].id != id)
        i = (i + 1) & mask;
    void *value = t->v[i].value;
    if (!value)
        return NULL;
    close_gap(t, i);
    t->count--;
    return value;
}

void *tun_idtable_any(const struct tun_idtable *t, uint32_t *ret_id) {
    for (uint32_t i = 0; i < t->cap; i++) {
        if (t->v[i].value) {
            *ret_id = t->v[i].id;
            return t->v[i].value;
        }
    }
    return NULL;
}
