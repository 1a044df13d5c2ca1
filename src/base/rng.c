#include "base/rng.h"

#include <assert.h>

uint64_t cv_rng_below(const struct cv_rng *rng, uint64_t n) {
    if (n < 2)
        return 0;
    /* The lowest 2^64 mod n values would make small results likelier. */
    uint64_t skip = (0 - n) % n, v;
    do
        v = cv_rng_u64(rng);
    while (v < skip);
    return v % n;
}

uint64_t cv_rng_between(const struct cv_rng *rng, uint64_t lo, uint64_t hi) {
    assert(lo <= hi);
    if (lo == 0 && hi == UINT64_MAX)
        return cv_rng_u64(rng);
    return lo + cv_rng_below(rng, hi - lo + 1);
}
