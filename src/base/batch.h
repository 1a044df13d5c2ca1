/*
 * A batch of datagrams, shaped for UDP segmentation offload: runs of
 * equal-size datagrams to one endpoint leave in one system call. The memory is
 * the caller's; an engine's poll_transmit() fills what room there is.
 *
 *     uint8_t *at = cv_batch_slot(b);         room for one datagram, or NULL
 *     ... write at most cv_batch_room(b) octets at `at` ...
 *     cv_batch_commit(b, &endpoint, size);    joins the last run if it fits
 *
 * Slots lie `stride` octets apart; each leaves `headroom` octets free before
 * the datagram, so that a lower layer can put its header in front in place.
 */
#ifndef CULVERT_BASE_BATCH_H
#define CULVERT_BASE_BATCH_H

#include <stdint.h>

#include "base/endpoint.h"

/* 53 x 1232 octets is the most that one segmented send takes (54: EMSGSIZE). */
#define CV_RUN_MAX 53

struct cv_run {
    struct cv_endpoint to;
    uint32_t first; /* slot of the first datagram; the others follow */
    uint16_t size;  /* octets, of every datagram of the run */
    uint16_t count; /* 1..CV_RUN_MAX */
};

struct cv_batch {
    uint8_t *arena; /* slots_max * stride octets */
    struct cv_run *runs;
    uint32_t slots_max, slots_used;
    uint32_t runs_max, runs_used;
    uint16_t stride, headroom;
};

/* All memory is borrowed: `arena` holds slots_max * stride octets, `runs`
 * runs_max runs. headroom < stride. */
struct cv_batch cv_batch_init(uint8_t *arena, uint32_t slots_max, uint16_t stride,
                              uint16_t headroom, struct cv_run *runs, uint32_t runs_max);

static inline void cv_batch_clear(struct cv_batch *b) {
    b->slots_used = 0;
    b->runs_used = 0;
}

/* Octets one datagram may have. */
static inline uint16_t cv_batch_room(const struct cv_batch *b) {
    return (uint16_t)(b->stride - b->headroom);
}

/* Where to write the next datagram, or NULL when the batch is full. Asking
 * again without a commit gives the same place. */
static inline uint8_t *cv_batch_slot(struct cv_batch *b) {
    if (b->slots_used == b->slots_max || b->runs_used == b->runs_max)
        return NULL;
    return b->arena + (size_t)b->slots_used * b->stride + b->headroom;
}

/* Datagram `i` of a run. */
static inline uint8_t *cv_batch_at(const struct cv_batch *b, const struct cv_run *run, uint16_t i) {
    return b->arena + (size_t)(run->first + i) * b->stride + b->headroom;
}

/* Makes the slot last given a datagram of `size` octets to `to`. 0 < size <=
 * cv_batch_room(). Must follow a cv_batch_slot() that was not NULL. */
void cv_batch_commit(struct cv_batch *b, const struct cv_endpoint *to, uint16_t size);

#endif
