#include "support/suite.h"

#include <string.h>

#include "crypto/rng_seeded.h"
#include "dht/limits.h"
#include "dht/outbox.h"

CV_SUITE(dht_outbox);

static struct cv_addr addr(unsigned i) {
    return (struct cv_addr){.family = 4, .port = (uint16_t)(i + 1)};
}

/* First in, first out, with random lengths, against a plain counter. */
Test(dht_outbox, keeps_order_and_content) {
    struct dht_outbox o = {0};
    struct cv_rng_seeded seeded;
    cv_rng_seeded_init(&seeded, 5);
    struct cv_rng rng = cv_rng_seeded(&seeded);
    unsigned in = 0, out = 0;
    uint8_t buf[1400];
    for (unsigned step = 0; step < 20000; step++) {
        if (cv_rng_below(&rng, 2)) {
            size_t len = 1 + in % 1400;
            memset(buf, (int)(in % 251), len);
            struct cv_addr to = addr(in % 1000);
            cr_assert(dht_outbox_push(&o, &to, buf, len));
            in++;
            continue;
        }
        struct cv_addr to, want = addr(out % 1000);
        size_t len;
        const uint8_t *data = dht_outbox_peek(&o, &to, &len);
        cr_assert_eq(data != NULL, in > out);
        if (!data)
            continue;
        cr_assert_eq(len, 1 + out % 1400);
        cr_assert(cv_addr_equal(&to, &want));
        cr_assert_eq(data[0], out % 251);
        cr_assert_eq(data[len - 1], out % 251);
        dht_outbox_pop(&o);
        out++;
    }
    dht_outbox_done(&o);
}

Test(dht_outbox, is_bounded) {
    struct dht_outbox o = {0};
    uint8_t buf[1400] = {0};
    struct cv_addr to = addr(0);
    unsigned n = 0;
    while (dht_outbox_push(&o, &to, buf, sizeof buf))
        cr_assert_lt(++n, DHT_OUTBOX_MAX / 1400 + 1);
    cr_expect_leq(o.cap, DHT_OUTBOX_MAX);
    size_t len;
    while (dht_outbox_peek(&o, &to, &len)) {
        dht_outbox_pop(&o);
        n--;
    }
    cr_expect_eq(n, 0);
    cr_expect_eq(o.cap, 0, "memory of a burst is given back");
    cr_expect(dht_outbox_push(&o, &to, buf, sizeof buf));
    dht_outbox_done(&o);
}
