#include "base/batch.h"

#include <assert.h>

struct cv_batch cv_batch_init(uint8_t *arena, uint32_t slots_max, uint16_t stride,
                              uint16_t headroom, struct cv_run *runs, uint32_t runs_max) {
    assert(headroom < stride);
    return (struct cv_batch){
        .arena = arena,
        .runs = runs,
        .slots_max = slots_max,
        .runs_max = runs_max,
        .stride = stride,
        .headroom = headroom,
    };
}

void cv_batch_commit(struct cv_batch *b, const struct cv_endpoint *to, uint16_t size) {
    assert(b->slots_used < b->slots_max && b->runs_used < b->runs_max);
    assert(size > 0 && size <= cv_batch_room(b));

    struct cv_run *last = b->runs_used ? &b->runs[b->runs_used - 1] : NULL;
    if (last && last->size == size && last->count < CV_RUN_MAX && cv_endpoint_equal(&last->to, to))
        last->count++;
    else
        b->runs[b->runs_used++] =
            (struct cv_run){.to = *to, .first = b->slots_used, .size = size, .count = 1};
    b->slots_used++;
}
