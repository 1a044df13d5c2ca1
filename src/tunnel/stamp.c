#include "tunnel/stamp.h"

#include <assert.h>
#include <string.h>

#include "base/cursor.h"
#include "crypto/hash.h"

#define AT (CV_KEY + 4) /* where the stamp stands in what is hashed */

static void hashed_write(uint8_t out[AT + TUN_STAMP + 32], const uint8_t stamp[TUN_STAMP],
                         const uint8_t service[CV_KEY], uint32_t period, const void *flight,
                         size_t len) {
    uint8_t inner[32];
    CV_BLAKE2B(inner, sizeof inner, NULL, 0, {flight, len});
    struct cv_wr w = cv_wr_init(out, AT + TUN_STAMP + 32);
    cv_wr_bytes(&w, service, CV_KEY);
    cv_wr_le32(&w, period);
    cv_wr_bytes(&w, stamp, TUN_STAMP);
    cv_wr_bytes(&w, inner, sizeof inner);
    assert(cv_wr_done(&w) == AT + TUN_STAMP + 32);
}

static unsigned effort_of(const uint8_t hashed[AT + TUN_STAMP + 32]) {
    uint8_t h[32];
    CV_BLAKE2B(h, sizeof h, NULL, 0, {hashed, AT + TUN_STAMP + 32});
    unsigned bits = 0;
    for (size_t i = 0; i < sizeof h; i++) {
        if (h[i] == 0) {
            bits += 8;
            continue;
        }
        bits += (unsigned)__builtin_clz(h[i]) - 24;
        break;
    }
    return bits > 255 ? 255 : bits;
}

unsigned tun_stamp_effort(const uint8_t stamp[TUN_STAMP], const uint8_t service[CV_KEY],
                          uint32_t period, const void *flight, size_t len) {
    uint8_t hashed[AT + TUN_STAMP + 32];
    hashed_write(hashed, stamp, service, period, flight, len);
    return effort_of(hashed);
}

void tun_stamp_begin(struct tun_stamp_search *s, unsigned effort, const uint8_t service[CV_KEY],
                     uint32_t period, const void *flight, size_t len, const struct cv_rng *rng) {
    uint8_t stamp[TUN_STAMP];
    assert(effort <= UINT8_MAX);
    cv_rng_fill(rng, stamp, sizeof stamp);
    *s = (struct tun_stamp_search){.effort = (uint8_t)effort, .found = effort == 0};
    hashed_write(s->hashed, stamp, service, period, flight, len);
}

bool tun_stamp_try(struct tun_stamp_search *s, unsigned tries) {
    for (; tries > 0 && !s->found; tries--) {
        s->tries++;
        s->found = effort_of(s->hashed) >= s->effort;
        for (unsigned i = 0; i < 8 && !s->found; i++) /* the next one: a counter of 8 octets */
            if (++s->hashed[AT + i])
                break;
    }
    return s->found;
}

const uint8_t *tun_stamp_get(const struct tun_stamp_search *s) {
    return s->hashed + AT;
}
