#include "reputation/release.h"

#include <assert.h>
#include <string.h>

#include "base/cursor.h"
#include "crypto/hash.h"
#include "reputation/wide.h"

enum cv_err rep_release_secret(uint8_t ret[CV_KEY], const struct cv_ed25519_secret *mine,
                               const uint8_t theirs[CV_KEY],
                               const uint8_t network_id[REP_NETWORK_ID]) {
    uint8_t shared_secret[CV_KEY];
    if (!cv_ed25519_shared(shared_secret, mine, theirs))
        return CV_ERR_AUTH;

    const uint8_t *low = mine->public_key, *high = theirs;
    if (memcmp(low, high, CV_KEY) > 0) {
        low = theirs;
        high = mine->public_key;
    }
    CV_BLAKE2B(ret, CV_KEY, NULL, 0, {shared_secret, CV_KEY}, {"culvert pair", 12},
               {network_id, REP_NETWORK_ID}, {low, CV_KEY}, {high, CV_KEY});
    cv_wipe(shared_secret, sizeof shared_secret);
    return CV_ERR_OK;
}

uint64_t rep_release_dither(const uint8_t secret[CV_KEY], uint32_t epoch) {
    uint8_t in[4], out[32];
    struct cv_wr w = cv_wr_init(in, sizeof in);
    cv_wr_le32(&w, epoch);
    CV_BLAKE2B(out, sizeof out, secret, CV_KEY, {"dither", 6}, {in, sizeof in});
    struct cv_rd r = cv_rd_init(out, 8);
    uint64_t u = cv_rd_le64(&r);
    cv_wipe(out, sizeof out);
    return u;
}

/* The fraction of log2 x, in units of 2^-64: by squaring, a bit a step. libm's
 * log2 differs between machines, and both ends of a pair must round alike. */
static uint64_t log2_fraction(uint64_t x) {
    uint64_t m = x << __builtin_clzll(x); /* 1 <= m / 2^63 < 2 */
    uint64_t frac = 0;
    for (unsigned bit = 0; bit < 64; bit++) {
        rep_u128 square = (rep_u128)m * m; /* 2^126 <= square < 2^128 */
        frac <<= 1;
        if (square >> 127) {
            frac |= 1;
            m = (uint64_t)(square >> 64);
        } else {
            m = (uint64_t)(square >> 63);
        }
    }
    return frac;
}

uint64_t rep_release_amount(uint64_t w, uint64_t u, uint64_t minimum) {
    if (w == 0 || w < minimum)
        return 0;
    unsigned power = 63 - (unsigned)__builtin_clzll(w);
    uint64_t sum;
    if (__builtin_add_overflow(log2_fraction(w), u, &sum))
        power++;
    return UINT64_C(1) << (power < 62 ? power : 62);
}

int64_t rep_release_time(const struct cv_rng *rng, uint32_t epoch, uint32_t epoch_seconds) {
    int64_t end = ((int64_t)epoch + 1) * epoch_seconds;
    return end + (int64_t)cv_rng_below(rng, epoch_seconds / REP_RELEASE_PART);
}
