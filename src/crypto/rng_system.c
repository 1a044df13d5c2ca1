#include "crypto/rng_system.h"

#include <sodium.h>

static void fill(void *ctx, void *buf, size_t len) {
    (void)ctx;
    randombytes_buf(buf, len);
}

const struct cv_rng *cv_rng_system(void) {
    static const struct cv_rng rng = {.fill = fill};
    return &rng;
}
