#include "crypto/tokenkey.h"

#include <assert.h>

#include "crypto/hash.h"

void cv_token_key(struct cv_voprf_secret *ret, const struct cv_ed25519_secret *identity,
                  const uint8_t network_id[8], uint32_t week) {
    static const char label[] = "culvert token key";
    const uint8_t le[4] = {(uint8_t)week, (uint8_t)(week >> 8), (uint8_t)(week >> 16),
                           (uint8_t)(week >> 24)};
    uint8_t seed[32];
    CV_BLAKE2B(seed, sizeof seed, identity->seed, CV_KEY, {label, sizeof label - 1},
               {network_id, 8}, {le, sizeof le});
    enum cv_err err = cv_voprf_derive(ret, seed, label, sizeof label - 1);
    assert(err == CV_ERR_OK); /* only a long label is refused */
    (void)err;
    cv_wipe(seed, sizeof seed);
}
