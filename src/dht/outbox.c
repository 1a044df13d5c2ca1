#include "dht/outbox.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "dht/limits.h"

#define CAP_FIRST 2048
#define CAP_KEEP  16384 /* kept between bursts */

struct head {
    struct cv_addr to;
    uint32_t len;
};

void dht_outbox_done(struct dht_outbox *o) {
    free(o->buf);
    *o = (struct dht_outbox){0};
}

static bool reserve(struct dht_outbox *o, size_t need) {
    if (o->cap - o->tail >= need)
        return true;
    if (o->head > 0) {
        memmove(o->buf, o->buf + o->head, o->tail - o->head);
        o->tail -= o->head;
        o->head = 0;
    }
    size_t cap = o->cap ? o->cap : CAP_FIRST;
    while (cap - o->tail < need)
        cap *= 2;
    if (cap == o->cap)
        return true;
    uint8_t *buf = cap <= DHT_OUTBOX_MAX ? realloc(o->buf, cap) : NULL;
    if (!buf)
        return false;
    o->buf = buf;
    o->cap = cap;
    return true;
}

bool dht_outbox_push(struct dht_outbox *o, const struct cv_addr *to, const void *data, size_t len) {
    struct head h = {.to = *to, .len = (uint32_t)len};
    if (!reserve(o, sizeof h + len))
        return false;
    memcpy(o->buf + o->tail, &h, sizeof h);
    memcpy(o->buf + o->tail + sizeof h, data, len);
    o->tail += sizeof h + len;
    return true;
}

const uint8_t *dht_outbox_peek(const struct dht_outbox *o, struct cv_addr *ret_to,
                               size_t *ret_len) {
    if (o->head == o->tail)
        return NULL;
    struct head h;
    memcpy(&h, o->buf + o->head, sizeof h);
    *ret_to = h.to;
    *ret_len = h.len;
    return o->buf + o->head + sizeof h;
}

void dht_outbox_pop(struct dht_outbox *o) {
    struct head h;
    assert(o->head < o->tail);
    memcpy(&h, o->buf + o->head, sizeof h);
    o->head += sizeof h + h.len;
    if (o->head < o->tail)
        return;
    o->head = o->tail = 0;
    if (o->cap > CAP_KEEP)
        dht_outbox_done(o);
}
