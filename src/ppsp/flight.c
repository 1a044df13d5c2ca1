#include "ppsp/flight.h"

#include <assert.h>
#include <stdlib.h>

#include "ppsp/limits.h"

void ppsp_flight_done(struct ppsp_flight *f) {
    free(f->v);
    *f = (struct ppsp_flight){0};
}

void ppsp_flight_rest(struct ppsp_flight *f) {
    if (!ppsp_flight_empty(f))
        return;
    free(f->v);
    f->v = NULL;
    f->cap = 0;
    f->head = f->tail;
}

static enum cv_err grow(struct ppsp_flight *f) {
    if (f->cap == PPSP_FLIGHT_RUNS)
        return CV_ERR_LIMIT;
    uint32_t cap = f->cap ? f->cap * 2 : 16;
    struct ppsp_run *v = calloc(cap, sizeof *v);
    if (!v)
        return CV_ERR_NOMEM;
    for (uint64_t i = f->head; i < f->tail; i++)
        v[i & (cap - 1)] = *ppsp_flight_at(f, i);
    free(f->v);
    f->v = v;
    f->cap = cap;
    return CV_ERR_OK;
}

static void trim(struct ppsp_flight *f) {
    while (f->head < f->tail && ppsp_flight_at(f, f->head)->mask == 0)
        f->head++;
}

static uint64_t low_bits(uint64_t n) {
    return n >= 64 ? UINT64_MAX : ((uint64_t)1 << n) - 1;
}

enum cv_err ppsp_flight_push(struct ppsp_flight *f, uint64_t first, uint64_t mask, cv_usec at,
                             bool again) {
    assert(mask);
    if (f->tail - f->head == f->cap) {
        enum cv_err err = grow(f);
        if (err)
            return err;
    }
    *ppsp_flight_at(f, f->tail++) =
        (struct ppsp_run){.first = first, .mask = mask, .at = at, .again = again};
    f->chunks += (uint64_t)__builtin_popcountll(mask);
    return CV_ERR_OK;
}

uint64_t ppsp_run_part(const struct ppsp_run *r, uint64_t first, uint64_t last) {
    if (last < r->first || first > r->first + 63)
        return 0;
    uint64_t bits = UINT64_MAX;
    if (first > r->first)
        bits &= UINT64_MAX << (first - r->first);
    if (last < r->first + 63)
        bits &= low_bits(last - r->first + 1);
    return bits & r->mask;
}

struct ppsp_taken ppsp_flight_take(struct ppsp_flight *f, uint64_t first, uint64_t last,
                                   bool once) {
    struct ppsp_taken taken = {0};
    for (uint64_t i = f->head; i < f->tail; i++) {
        struct ppsp_run *r = ppsp_flight_at(f, i);
        uint64_t bits = ppsp_run_part(r, first, last);
        if (!bits)
            continue;
        r->mask &= ~bits;
        taken.chunks += (uint32_t)__builtin_popcountll(bits);
        taken.newest = i;
        taken.at = r->at;
        taken.again = r->again;
        if (once)
            break;
    }
    f->chunks -= taken.chunks;
    trim(f);
    return taken;
}

bool ppsp_flight_any(const struct ppsp_flight *f, uint64_t first, uint64_t last) {
    for (uint64_t i = f->head; i < f->tail; i++)
        if (ppsp_run_part(ppsp_flight_at(f, i), first, last))
            return true;
    return false;
}

bool ppsp_flight_has(const struct ppsp_flight *f, uint64_t chunk) {
    return ppsp_flight_any(f, chunk, chunk);
}

uint64_t ppsp_flight_clear(struct ppsp_flight *f, uint64_t i, uint64_t mask) {
    assert(i >= f->head && i < f->tail);
    struct ppsp_run *r = ppsp_flight_at(f, i);
    mask &= r->mask;
    r->mask &= ~mask;
    f->chunks -= (uint64_t)__builtin_popcountll(mask);
    trim(f);
    return mask;
}
