#include "tunnel/window.h"

#include <assert.h>
#include <string.h>

enum { WORDS = TUN_WINDOW / 64 };
static_assert((TUN_WINDOW & (TUN_WINDOW - 1)) == 0, "n mod 2048 is a mask");

enum cv_err tun_window_check(const struct tun_window *w, uint64_t n) {
    if (n > w->top)
        return CV_ERR_OK;
    if (w->top - n >= TUN_WINDOW)
        return CV_ERR_STALE;
    return w->bits[n / 64 % WORDS] >> (n % 64) & 1 ? CV_ERR_REPLAY : CV_ERR_OK;
}

/* Forgets the numbers that (from, to] push out of the ring. */
static void forget(struct tun_window *w, uint64_t from, uint64_t to) {
    if (to - from >= TUN_WINDOW) {
        memset(w->bits, 0, sizeof w->bits);
        return;
    }
    uint64_t n = from + 1;
    while (n <= to) {
        if (n % 64 == 0 && to - n >= 63) {
            w->bits[n / 64 % WORDS] = 0;
            n += 64;
        } else {
            w->bits[n / 64 % WORDS] &= ~(UINT64_C(1) << (n % 64));
            n++;
        }
    }
}

void tun_window_set(struct tun_window *w, uint64_t n) {
    assert(tun_window_check(w, n) == CV_ERR_OK);
    if (n > w->top) {
        forget(w, w->top, n);
        w->top = n;
    }
    w->bits[n / 64 % WORDS] |= UINT64_C(1) << (n % 64);
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
