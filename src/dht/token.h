/*
 * Write tokens (BEP 5): a MAC over the asker's IP address and the key it asked
 * for, so that a token shows that the asker really is at that address and can
 * be used for that key only. The secret changes every 5 minutes; tokens of the
 * current and the previous one are accepted.
 */
#ifndef CULVERT_DHT_TOKEN_H
#define CULVERT_DHT_TOKEN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/endpoint.h"
#include "base/rng.h"
#include "base/time.h"
#include "crypto/siphash.h"
#include "dht/bencode.h"
#include "dht/limits.h"
#include "dht/nodeid.h"

struct dht_tokens {
    uint8_t key_secret[2][CV_SIPHASH_KEY]; /* current, previous */
    cv_usec rotate_at;
    const struct cv_rng *rng;
};

/* Borrows rng. */
void dht_tokens_init(struct dht_tokens *t, const struct cv_rng *rng, cv_usec now);
void dht_tokens_done(struct dht_tokens *t);

void dht_token_make(struct dht_tokens *t, cv_usec now, const struct cv_addr *addr,
                    const struct dht_id *target, uint8_t ret[DHT_TOKEN_LEN]);

/* Constant time. The port does not matter (BEP 5). */
bool dht_token_valid(struct dht_tokens *t, cv_usec now, const struct cv_addr *addr,
                     const struct dht_id *target, struct dht_span token);

#endif
