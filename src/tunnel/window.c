#include "tunnel/window.h"

#include <assert.h>
#include <string.h>

enum { WORDS = TUN_WINDOW / 64 };
static_assert((TUN_WINDOW & (TUN_WINDOW - 1)) == 0, "a place in the ring is a mask");

enum cv_err tun_window_check(const struct tun_window *w, uint64_t n) {
    if (n > w->top)
        return CV_ERR_OK;
    if (w->top - n >= TUN_WINDOW)
        return CV_ERR_STALE;
    uint64_t word = n / 64 == w->top / 64 ? w->last : w->bits[n / 64 % WORDS];
    return word >> (n % 64) & 1 ? CV_ERR_REPLAY : CV_ERR_OK;
}

/* The top goes to a later word: the one of before joins the ring, where it takes the place of
 * one that lies below the window; those between were never seen. */
static void enter(struct tun_window *w, uint64_t from, uint64_t to) {
    w->bits[from % WORDS] = w->last;
    w->last = 0;
    if (to - from > WORDS) {
        memset(w->bits, 0, sizeof w->bits);
        return;
    }
    for (uint64_t i = from + 1; i < to; i++)
        w->bits[i % WORDS] = 0;
}

void tun_window_set(struct tun_window *w, uint64_t n) {
    assert(tun_window_check(w, n) == CV_ERR_OK);
    if (n / 64 > w->top / 64)
        enter(w, w->top / 64, n / 64);
    if (n > w->top)
        w->top = n;
    uint64_t *word = n / 64 == w->top / 64 ? &w->last : &w->bits[n / 64 % WORDS];
    *word |= UINT64_C(1) << (n % 64);
}

bool tun_number_rebuild(uint64_t top, uint64_t wire, unsigned bits, uint64_t *ret) {
    assert(bits >= 1);
    assert(bits <= 63);
    uint64_t span = UINT64_C(1) << bits;
    uint64_t ahead = (wire - top) & (span - 1);

    if (ahead < span / 2) {
        if (top > UINT64_MAX - ahead)
            return false;
        *ret = top + ahead;
        return true;
    }
    uint64_t behind = span - ahead;
    if (top < behind)
        return false;
    *ret = top - behind;
    return true;
}
