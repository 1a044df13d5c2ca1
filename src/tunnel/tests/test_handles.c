/* Handles against a naive list, by random operations: a dead one never finds
 * its successor, nor one of another table. */
#include "crypto/rng_seeded.h"
#include "support/suite.h"
#include "tunnel/handles.h"

CV_SUITE(tun_handles);

Test(tun_handles, random_operations_match_a_naive_list) {
    static char values[64];
    struct cv_rng_seeded seed;
    cv_rng_seeded_init(&seed, 1);
    struct cv_rng rng = cv_rng_seeded(&seed);
    struct tun_handles h, other;
    tun_handles_init(&h, 50, 2, 0);
    tun_handles_init(&other, 50, 3, 0);
    cv_handle live[50], dead[5000], foreign;
    void *held[50];
    unsigned count = 0, gone = 0;
    cr_assert_eq(tun_handles_put(&other, values, &foreign), CV_ERR_OK);
    for (unsigned step = 0; step < 5000; step++) {
        if (cv_rng_below(&rng, 2)) {
            void *value = &values[cv_rng_below(&rng, 64)];
            cv_handle handle = 0;
            enum cv_err err = tun_handles_put(&h, value, &handle);
            cr_assert_eq(err, count == 50 ? CV_ERR_LIMIT : CV_ERR_OK);
            if (err == CV_ERR_OK) {
                live[count] = handle;
                held[count++] = value;
            }
        } else if (count) {
            unsigned i = (unsigned)cv_rng_below(&rng, count);
            tun_handles_del(&h, live[i]);
            tun_handles_del(&h, live[i]); /* twice is harmless */
            dead[gone++] = live[i];
            live[i] = live[--count];
            held[i] = held[count];
        }
        cr_assert_eq(h.count, count);
        for (unsigned i = 0; i < count; i++)
            cr_assert_eq(tun_handles_get(&h, live[i]), held[i]);
        if (gone)
            cr_assert_null(tun_handles_get(&h, dead[cv_rng_below(&rng, gone)]));
    }
    cr_expect_null(tun_handles_get(&h, 0));
    cr_expect_null(tun_handles_get(&h, foreign));
    cr_expect_not_null(tun_handles_get(&other, foreign));
    unsigned walked = 0;
    uint32_t cursor = 0;
    while (tun_handles_next(&h, &cursor))
        walked++;
    cr_expect_eq(walked, count);
    tun_handles_done(&h);
    tun_handles_done(&other);
}
