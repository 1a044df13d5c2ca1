/*
 * Replay window: which of the last 2048 numbers of one direction were seen,
 * and how truncated wire numbers become 64-bit ones again. Two steps, because
 * nothing may move before the packet is authentic:
 *
 *     err = tun_window_check(w, n);   cheap; before the AEAD
 *     ... open the AEAD ...
 *     tun_window_set(w, n);           only when it opened
 */
#ifndef CULVERT_TUNNEL_WINDOW_H
#define CULVERT_TUNNEL_WINDOW_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "tunnel/limits.h"

/* Zeroed = nothing seen, top 0. Numbers n with the same n / 64 share a word. That of the top
 * stands apart, so that numbers that come in order touch nothing else. */
struct tun_window {
    uint64_t bits[TUN_WINDOW / 64]; /* ring: word n / 64 mod 32, of all words before `last` */
    uint64_t last;                  /* the word of the top */
    uint64_t top;                   /* highest number seen */
};

/* CV_ERR_OK: never seen. CV_ERR_REPLAY: seen. CV_ERR_STALE: 2048 or more below
 * the top. */
enum cv_err tun_window_check(const struct tun_window *w, uint64_t n);

/* `n` must be acceptable to tun_window_check. Moves the top when n is above. */
void tun_window_set(struct tun_window *w, uint64_t n);

/*
 * The 64-bit number that is nearest to `top` and whose low `bits` (1..63) bits
 * are `wire`. false when it would be negative: no honest sender sent that.
 */
bool tun_number_rebuild(uint64_t top, uint64_t wire, unsigned bits, uint64_t *ret);

#endif
