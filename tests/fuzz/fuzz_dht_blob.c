/*
 * The saved table. First octet: which sides the node has. The checksum is put
 * right, so that what lies behind it is reached. Property: no crash, nothing is
 * taken from a blob that is refused, and a node that took one saves one that it
 * takes again.
 */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "crypto/hash.h"
#include "crypto/rng_seeded.h"
#include "dht/dht.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static uint8_t blob[DHT_SAVE_MAX], saved[DHT_SAVE_MAX];
    if (size < 1 || size - 1 > sizeof blob - 16)
        return 0;
    cv_crypto_init();
    struct cv_rng_seeded seeded;
    cv_rng_seeded_init(&seeded, 1);
    struct cv_rng rng = cv_rng_seeded(&seeded);
    struct dht_config cfg = {.scope = (enum dht_scope)(data[0] % 3),
                             .ipv4 = !(data[0] & 4),
                             .ipv6 = (data[0] & 8) || (data[0] & 4)};
    struct cv_now now = {.mono = CV_SEC(1)};
    struct dht *d = dht_new(&cfg, &rng, now);
    struct dht_status before, after;
    assert(d);

    size_t len = size - 1;
    memcpy(blob, data + 1, len);
    (void)dht_restore(d, now, blob, len); /* as it is: the sum is hardly ever right */
    CV_BLAKE2B(blob + len, 16, NULL, 0, {blob, len});
    dht_status(d, &before);
    enum cv_err err = dht_restore(d, now, blob, len + 16);
    dht_status(d, &after);
    if (err)
        assert(memcmp(&before, &after, sizeof before) == 0);

    size_t n = dht_save(d, saved, sizeof saved);
    assert(n > 0 && n <= sizeof saved);
    assert(dht_restore(d, now, saved, n) == CV_ERR_OK);
    for (unsigned i = 0; i < 50; i++) {
        now.mono += CV_MSEC(500);
        dht_on_timeout(d, now);
        assert(dht_next_timeout(d) > now.mono);
    }
    dht_free(d);
    return 0;
}
