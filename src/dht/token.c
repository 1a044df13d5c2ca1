#include "dht/token.h"

#include <assert.h>
#include <string.h>

#include "crypto/keys.h"

static_assert(DHT_TOKEN_LEN == sizeof(uint64_t), "a token is one SipHash");

static void draw(struct dht_tokens *t, unsigned i) {
    cv_rng_fill(t->rng, t->key_secret[i], CV_SIPHASH_KEY);
}

void dht_tokens_init(struct dht_tokens *t, const struct cv_rng *rng, cv_usec now) {
    *t = (struct dht_tokens){.rng = rng, .rotate_at = cv_usec_add(now, DHT_TOKEN_ROTATE)};
    draw(t, 0);
    draw(t, 1);
}

void dht_tokens_done(struct dht_tokens *t) {
    cv_wipe(t->key_secret, sizeof t->key_secret);
}

static void rotate(struct dht_tokens *t, cv_usec now) {
    if (now < t->rotate_at)
        return;
    /* After a long silence the previous secret is too old as well. */
    if (now >= cv_usec_add(t->rotate_at, DHT_TOKEN_ROTATE))
        draw(t, 0);
    memcpy(t->key_secret[1], t->key_secret[0], CV_SIPHASH_KEY);
    draw(t, 0);
    t->rotate_at = cv_usec_add(now, DHT_TOKEN_ROTATE);
}

static void mac(const uint8_t key[CV_SIPHASH_KEY], const struct cv_addr *addr,
                const struct dht_id *target, uint8_t ret[DHT_TOKEN_LEN]) {
    uint8_t in[1 + sizeof addr->ip + DHT_ID];
    in[0] = addr->family;
    memcpy(in + 1, addr->ip, sizeof addr->ip);
    memcpy(in + 1 + sizeof addr->ip, target->b, DHT_ID);
    uint64_t v = cv_siphash(key, in, sizeof in);
    memcpy(ret, &v, sizeof v);
}

void dht_token_make(struct dht_tokens *t, cv_usec now, const struct cv_addr *addr,
                    const struct dht_id *target, uint8_t ret[DHT_TOKEN_LEN]) {
    rotate(t, now);
    mac(t->key_secret[0], addr, target, ret);
}

bool dht_token_valid(struct dht_tokens *t, cv_usec now, const struct cv_addr *addr,
                     const struct dht_id *target, struct dht_span token) {
    rotate(t, now);
    if (token.n != DHT_TOKEN_LEN)
        return false;
    bool valid = false;
    for (unsigned i = 0; i < 2; i++) {
        uint8_t want[DHT_TOKEN_LEN];
        mac(t->key_secret[i], addr, target, want);
        valid |= cv_equal(want, token.p, sizeof want);
    }
    return valid;
}
