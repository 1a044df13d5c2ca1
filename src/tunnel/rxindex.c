#include "tunnel/rxindex.h"

#include <assert.h>
#include <stdbool.h>
#include <stdlib.h>

/* With this octet DHT messages begin. */
enum { RESERVED = 'd' };

struct slot {
    void *value; /* NULL = free */
    uint32_t generation;
};

struct tun_rxindex {
    struct cv_rng rng;
    uint32_t mask;            /* of the slot bits */
    uint32_t generation_step; /* lowest generation bit */
    uint32_t generation_mask;
    uint32_t worker; /* in place */
    uint32_t worker_mask;
    uint32_t n_free;
    size_t count;
    uint16_t *free; /* n_free slots that can be given out */
    struct slot *slot;
};

static bool is_usable(uint32_t slot) {
    return (slot & 0xff) != RESERVED;
}

struct tun_rxindex *tun_rxindex_new(size_t slots, unsigned worker, unsigned worker_bits,
                                    const struct cv_rng *rng) {
    assert(slots >= 256);
    assert(slots <= TUN_RXINDEX_SLOTS_MAX);
    assert((slots & (slots - 1)) == 0);
    assert(worker_bits <= TUN_WORKER_BITS_MAX);
    assert(worker < 1u << worker_bits);

    struct tun_rxindex *x = calloc(1, sizeof *x);
    if (!x)
        return NULL;
    x->slot = calloc(slots, sizeof *x->slot);
    x->free = calloc(slots, sizeof *x->free);
    if (!x->slot || !x->free)
        return tun_rxindex_free(x);
    x->rng = *rng;
    x->mask = (uint32_t)slots - 1;
    x->generation_step = (uint32_t)slots;
    x->worker = worker_bits ? worker << (32 - worker_bits) : 0;
    x->worker_mask = worker_bits ? ~UINT32_C(0) << (32 - worker_bits) : 0;
    x->generation_mask = ~(x->mask | x->worker_mask);
    for (uint32_t i = 0; i < slots; i++) {
        x->slot[i].generation = cv_rng_u32(rng) & x->generation_mask;
        if (is_usable(i))
            x->free[x->n_free++] = (uint16_t)i;
    }
    return x;
}

struct tun_rxindex *tun_rxindex_free(struct tun_rxindex *x) {
    if (x) {
        free(x->slot);
        free(x->free);
    }
    free(x);
    return NULL;
}

enum cv_err tun_rxindex_take(struct tun_rxindex *x, void *value, uint32_t *ret_index) {
    assert(value);
    if (x->n_free == 0)
        return CV_ERR_LIMIT;
    uint32_t at = (uint32_t)cv_rng_below(&x->rng, x->n_free);
    uint32_t i = x->free[at];
    x->free[at] = x->free[--x->n_free];
    struct slot *s = &x->slot[i];
    assert(!s->value);
    s->generation = (s->generation + x->generation_step) & x->generation_mask;
    s->value = value;
    x->count++;
    *ret_index = x->worker | s->generation | i;
    return CV_ERR_OK;
}

static struct slot *in_use(const struct tun_rxindex *x, uint32_t index) {
    struct slot *s = &x->slot[index & x->mask];
    bool same =
        (index & x->worker_mask) == x->worker && (index & x->generation_mask) == s->generation;
    return same && s->value ? s : NULL;
}

void *tun_rxindex_find(const struct tun_rxindex *x, uint32_t index) {
    struct slot *s = in_use(x, index);
    return s ? s->value : NULL;
}

void tun_rxindex_move(struct tun_rxindex *x, uint32_t index, void *value) {
    struct slot *s = in_use(x, index);
    assert(s);
    assert(value);
    s->value = value;
}

void tun_rxindex_drop(struct tun_rxindex *x, uint32_t index) {
    struct slot *s = in_use(x, index);
    if (!s)
        return;
    s->value = NULL;
    x->free[x->n_free++] = (uint16_t)(index & x->mask);
    x->count--;
}

size_t tun_rxindex_count(const struct tun_rxindex *x) {
    return x->count;
}
