/*
 * Chunks under way to or from one peer, in the order in which they were sent
 * or asked for: a ring of runs of up to 64 consecutive chunks. Answers come
 * nearly in that order, so looking from the oldest end finds them at once.
 */
#ifndef CULVERT_PPSP_FLIGHT_H
#define CULVERT_PPSP_FLIGHT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/time.h"

struct ppsp_run {
    uint64_t first;    /* chunk of bit 0 */
    uint64_t mask;     /* bit i: chunk first + i is still under way */
    cv_usec at;        /* when it was sent or asked for */
    uint64_t passed;   /* of the mask: what was asked for later was answered, .. */
    cv_usec passed_at; /* .. which was first seen then */
    bool again;        /* some of it had been under way before: says nothing about RTT */
};

struct ppsp_flight {
    struct ppsp_run *v; /* NULL until used; `cap` is a power of two */
    uint32_t cap;
    uint64_t head, tail; /* of the runs; index & (cap - 1) */
    uint64_t chunks;     /* under way */
};

void ppsp_flight_done(struct ppsp_flight *f); /* a zeroed one is empty */

/* Gives an empty one's memory back; what is pushed later goes on with its indexes. */
void ppsp_flight_rest(struct ppsp_flight *f);

static inline bool ppsp_flight_empty(const struct ppsp_flight *f) {
    return f->chunks == 0;
}

/* Runs from head to tail - 1; their masks may be 0, except the oldest's. */
static inline struct ppsp_run *ppsp_flight_at(const struct ppsp_flight *f, uint64_t i) {
    return &f->v[i & (f->cap - 1)];
}

/* Adds the chunks of `mask` behind the others. `mask` is not 0. CV_ERR_LIMIT (no more than
 * PPSP_FLIGHT_RUNS), CV_ERR_NOMEM. */
enum cv_err ppsp_flight_push(struct ppsp_flight *f, uint64_t first, uint64_t mask, cv_usec at,
                             bool again);

/* The mask of `count` (1..64) chunks. */
static inline uint64_t ppsp_run_mask(uint32_t count) {
    return UINT64_MAX >> (64 - count);
}

struct ppsp_taken {
    uint32_t chunks; /* that were under way and are not any more */
    uint64_t newest; /* index of the youngest run that had one */
    cv_usec at;      /* its time, and whether that says something about RTT */
    bool again;
};

/* Takes the chunks first..last out, oldest run first when chunks are in
 * several. With `once`, stops after the first run that had one. */
struct ppsp_taken ppsp_flight_take(struct ppsp_flight *f, uint64_t first, uint64_t last, bool once);

bool ppsp_flight_has(const struct ppsp_flight *f, uint64_t chunk);
/* Some of the chunks first..last are under way. */
bool ppsp_flight_any(const struct ppsp_flight *f, uint64_t first, uint64_t last);

/* Bits of the run that stand for chunks first..last and are under way. */
uint64_t ppsp_run_part(const struct ppsp_run *r, uint64_t first, uint64_t last);

/* Takes the chunks of `mask` out of run i; returns those that were in it. */
uint64_t ppsp_flight_clear(struct ppsp_flight *f, uint64_t i, uint64_t mask);

#endif
