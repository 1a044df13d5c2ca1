#include "base/tokenbucket.h"

__extension__ typedef unsigned __int128 u128;

enum { MILLION = 1000000 };

void cv_tokenbucket_init(struct cv_tokenbucket *b, uint64_t rate, uint64_t burst, cv_usec now) {
    *b = (struct cv_tokenbucket){.rate = rate, .burst = burst, .level = burst, .filled_at = now};
}

static void fill(struct cv_tokenbucket *b, cv_usec now) {
    if (now <= b->filled_at)
        return;
    u128 grown = (u128)(now - b->filled_at) * b->rate + b->carry;
    b->filled_at = now;
    if (grown / MILLION >= b->burst - b->level) {
        b->level = b->burst;
        b->carry = 0; /* a full bucket spills the fraction too */
        return;
    }
    b->level += (uint64_t)(grown / MILLION);
    b->carry = (uint64_t)(grown % MILLION);
}

bool cv_tokenbucket_take(struct cv_tokenbucket *b, cv_usec now, uint64_t n) {
    if (b->rate == UINT64_MAX)
        return true;
    fill(b, now);
    if (b->level < n)
        return false;
    b->level -= n;
    return true;
}

cv_usec cv_tokenbucket_ready(struct cv_tokenbucket *b, cv_usec now, uint64_t n) {
    if (b->rate == UINT64_MAX)
        return now;
    fill(b, now);
    if (n <= b->level)
        return now;
    if (n > b->burst || b->rate == 0)
        return CV_USEC_NEVER;
    u128 missing = (u128)(n - b->level) * MILLION - b->carry;
    u128 wait = (missing + b->rate - 1) / b->rate;
    return wait > CV_USEC_NEVER - b->filled_at ? CV_USEC_NEVER : b->filled_at + (uint64_t)wait;
}
