#include "tunnel/outbox.h"

#include <assert.h>
#include <stdlib.h>

void tun_outbox_init(struct tun_outbox *o) {
    *o = (struct tun_outbox){0};
}

void tun_outbox_done(struct tun_outbox *o) {
    free(o->v);
    tun_outbox_init(o);
}

static bool grow(struct tun_outbox *o) {
    uint32_t cap = o->cap ? o->cap * 2 : 8;
    if (cap > TUN_OUTBOX_MAX)
        return false;
    struct tun_outgoing *v = malloc(cap * sizeof *v);
    if (!v)
        return false;
    for (uint32_t i = 0; i < o->count; i++)
        v[i] = o->v[(o->head + i) & (o->cap - 1)];
    free(o->v);
    o->v = v;
    o->cap = cap;
    o->head = 0;
    return true;
}

struct tun_outgoing *tun_outbox_add(struct tun_outbox *o) {
    if (o->count == o->cap && !grow(o))
        return NULL;
    return &o->v[(o->head + o->count++) & (o->cap - 1)];
}

struct tun_outgoing *tun_outbox_first(struct tun_outbox *o) {
    return o->count ? &o->v[o->head] : NULL;
}

void tun_outbox_drop(struct tun_outbox *o) {
    assert(o->count > 0);
    o->head = (o->head + 1) & (o->cap - 1);
    o->count--;
}
