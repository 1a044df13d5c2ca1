/*
 * The key with which a relay issues priority tokens in one week (voprf.h). It
 * comes from the relay's identity alone, so that the tunnel, which names it in
 * the daily descriptor, and the ledger, which issues by it, need nothing of each
 * other, and a restart changes nothing.
 */
#ifndef CULVERT_CRYPTO_TOKENKEY_H
#define CULVERT_CRYPTO_TOKENKEY_H

#include <stdint.h>

#include "crypto/keys.h"
#include "crypto/voprf.h"

/* Week of a UTC day number (cv_day()): days 7w .. 7w + 6. A descriptor names the
 * key of its day's week, and is in use from 03:00 on. */
static inline uint32_t cv_token_week(uint32_t day) {
    return day / 7;
}

/* `network_id`: 8 octets. Wipe *ret when done. 30 us. */
void cv_token_key(struct cv_voprf_secret *ret, const struct cv_ed25519_secret *identity,
                  const uint8_t network_id[8], uint32_t week);

#endif
