#include "tunnel/dice.h"

#include <string.h>

#include "crypto/aead.h"
#include "crypto/keys.h"

static void refill(struct tun_dice *d) {
    static const uint8_t nonce[CV_AEAD_NONCE] = {0};
    uint8_t next[sizeof d->key + sizeof d->pool];
    memset(next, 0, sizeof next);
    cv_chacha20_xor(next, sizeof next, nonce, d->key);
    memcpy(d->key, next, sizeof d->key);
    memcpy(d->pool, next + sizeof d->key, sizeof d->pool);
    d->left = sizeof d->pool;
    cv_wipe(next, sizeof next);
}

static void fill(void *ctx, void *buf, size_t len) {
    struct tun_dice *d = ctx;
    uint8_t *to = buf;
    while (len > 0) {
        if (d->left == 0)
            refill(d);
        size_t n = len < d->left ? len : d->left;
        uint8_t *from = d->pool + sizeof d->pool - d->left;
        memcpy(to, from, n);
        memset(from, 0, n);
        d->left -= n;
        to += n;
        len -= n;
    }
}

void tun_dice_init(struct tun_dice *d, const struct cv_rng *seed) {
    memset(d, 0, sizeof *d);
    cv_rng_fill(seed, d->key, sizeof d->key);
}

void tun_dice_done(struct tun_dice *d) {
    cv_wipe(d, sizeof *d);
}

struct cv_rng tun_dice_rng(struct tun_dice *d) {
    return (struct cv_rng){.fill = fill, .ctx = d};
}
