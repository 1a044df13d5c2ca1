#include "crypto/rng_seeded.h"

#include <sodium.h>
#include <string.h>

static void little_endian(uint8_t out[8], uint64_t v) {
    for (int i = 0; i < 8; i++)
        out[i] = (uint8_t)(v >> (8 * i));
}

void cv_rng_seeded_init(struct cv_rng_seeded *s, uint64_t seed) {
    memset(s, 0, sizeof *s);
    little_endian(s->key, seed);
    memcpy(s->key + 8, "culvert dice", 12);
}

static void refill(struct cv_rng_seeded *s) {
    uint8_t nonce[crypto_stream_chacha20_ietf_NONCEBYTES] = {0};
    little_endian(nonce, s->block++);
    crypto_stream_chacha20_ietf(s->buf, sizeof s->buf, nonce, s->key);
    s->left = sizeof s->buf;
}

static void fill(void *ctx, void *buf, size_t len) {
    struct cv_rng_seeded *s = ctx;
    uint8_t *out = buf;
    while (len > 0) {
        if (s->left == 0)
            refill(s);
        size_t n = len < s->left ? len : s->left;
        memcpy(out, s->buf + sizeof s->buf - s->left, n);
        s->left -= (uint32_t)n;
        out += n;
        len -= n;
    }
}

struct cv_rng cv_rng_seeded(struct cv_rng_seeded *s) {
    return (struct cv_rng){.fill = fill, .ctx = s};
}
