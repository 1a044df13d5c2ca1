#include "tunnel/rxindex.h"

#include <string.h>

#include "crypto/hash.h"
#include "crypto/rng_seeded.h"
#include "support/suite.h"

CV_SUITE(tunnel_rxindex);

enum { SLOTS = 1024 };

/* The naive table: a list of what was given out. */
struct naive {
    uint32_t index[SLOTS];
    void *value[SLOTS];
    size_t n;
};

Test(tunnel_rxindex, same_as_naive) {
    static struct naive want;
    static char values[64];
    struct cv_rng_seeded seeded;
    for (uint64_t seed = 0; seed < 5; seed++) {
        cv_rng_seeded_init(&seeded, seed);
        struct cv_rng rng = cv_rng_seeded(&seeded);
        struct tun_rxindex *x = tun_rxindex_new(SLOTS, 1, 2, &rng);
        uint32_t gone = 0;
        want.n = 0;
        for (unsigned step = 0; step < 20000; step++) {
            void *value = &values[cv_rng_below(&rng, sizeof values)];
            uint32_t index;
            bool grow = cv_rng_below(&rng, 100) < (step / 3000 % 2 ? 20 : 80);
            if (grow) {
                enum cv_err err = tun_rxindex_take(x, value, &index);
                cr_assert_eq(err, want.n == SLOTS - SLOTS / 256 ? CV_ERR_LIMIT : CV_ERR_OK);
                if (err)
                    continue;
                cr_assert_neq(index & 0xff, 'd');
                cr_assert_eq(index >> 30, 1, "worker");
                for (size_t i = 0; i < want.n; i++)
                    cr_assert_neq(want.index[i], index, "given out twice");
                want.index[want.n] = index;
                want.value[want.n++] = value;
            } else if (want.n) {
                size_t i = cv_rng_below(&rng, want.n);
                gone = want.index[i];
                if (cv_rng_below(&rng, 4) == 0) {
                    tun_rxindex_move(x, gone, value);
                    want.value[i] = value;
                } else {
                    tun_rxindex_drop(x, gone);
                    tun_rxindex_drop(x, gone);
                    want.index[i] = want.index[--want.n];
                    want.value[i] = want.value[want.n];
                    cr_assert_null(tun_rxindex_find(x, gone));
                }
            }
            cr_assert_eq(tun_rxindex_count(x), want.n);
            if (step % 64 == 0)
                for (size_t i = 0; i < want.n; i++)
                    cr_assert_eq(tun_rxindex_find(x, want.index[i]), want.value[i]);
        }
        cr_assert_null(tun_rxindex_free(x));
    }
    cr_assert_null(tun_rxindex_free(NULL));
}

Test(tunnel_rxindex, an_old_index_never_finds_the_successor) {
    struct cv_rng_seeded seeded;
    cv_rng_seeded_init(&seeded, 9);
    struct cv_rng rng = cv_rng_seeded(&seeded);
    struct tun_rxindex *x = tun_rxindex_new(256, 0, 0, &rng);
    uint32_t first, index;
    char a;
    cr_assert_eq(tun_rxindex_take(x, &a, &first), CV_ERR_OK);
    tun_rxindex_drop(x, first);
    for (unsigned i = 0; i < 255 * 4; i++) { /* every slot several times */
        cr_assert_eq(tun_rxindex_take(x, &a, &index), CV_ERR_OK);
        cr_assert_null(tun_rxindex_find(x, first));
        tun_rxindex_drop(x, index);
    }
    tun_rxindex_free(x);
}

Test(tunnel_rxindex, another_workers_index_is_unknown) {
    struct cv_rng_seeded seeded;
    cv_rng_seeded_init(&seeded, 9);
    struct cv_rng rng = cv_rng_seeded(&seeded);
    struct tun_rxindex *x = tun_rxindex_new(256, 3, 3, &rng);
    uint32_t index;
    char a;
    cr_assert_eq(tun_rxindex_take(x, &a, &index), CV_ERR_OK);
    cr_assert_eq(index >> 29, 3);
    cr_assert_eq(tun_rxindex_find(x, index), &a);
    for (unsigned w = 0; w < 8; w++)
        if (w != 3)
            cr_assert_null(tun_rxindex_find(x, (index & 0x1fffffff) | w << 29));
    tun_rxindex_free(x);
}
