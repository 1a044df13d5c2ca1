/* The id table against a naive list, by random operations. */
#include "base/rng.h"
#include "crypto/rng_seeded.h"
#include "support/suite.h"
#include "tunnel/idtable.h"

CV_SUITE(tun_idtable);

struct naive {
    uint32_t id[300];
    void *value[300];
    uint32_t count;
};

static void *naive_get(const struct naive *n, uint32_t id) {
    for (uint32_t i = 0; i < n->count; i++)
        if (n->id[i] == id)
            return n->value[i];
    return NULL;
}

static void naive_del(struct naive *n, uint32_t id) {
    for (uint32_t i = 0; i < n->count; i++) {
        if (n->id[i] != id)
            continue;
        n->count--;
        n->id[i] = n->id[n->count];
        n->value[i] = n->value[n->count];
        return;
    }
}

Test(tun_idtable, random_operations_match_a_naive_list) {
    static char values[512];
    struct cv_rng_seeded seed;
    cv_rng_seeded_init(&seed, 1);
    struct cv_rng rng = cv_rng_seeded(&seed);
    for (unsigned round = 0; round < 20; round++) {
        struct tun_idtable t;
        struct naive n = {.count = 0};
        tun_idtable_init(&t, 256, cv_rng_u64(&rng));
        for (unsigned step = 0; step < 5000; step++) {
            uint32_t id = (uint32_t)cv_rng_below(&rng, 400) * (round % 2 ? 1 : 0x01000001);
            if (cv_rng_below(&rng, 5) < 3) {
                void *value = &values[cv_rng_below(&rng, 512)];
                enum cv_err want = naive_get(&n, id) ? CV_ERR_EXIST
                                   : n.count == 256  ? CV_ERR_LIMIT
                                                     : CV_ERR_OK;
                cr_assert_eq(tun_idtable_put(&t, id, value), want);
                if (want == CV_ERR_OK) {
                    n.id[n.count] = id;
                    n.value[n.count++] = value;
                }
            } else {
                cr_assert_eq(tun_idtable_del(&t, id), naive_get(&n, id));
                naive_del(&n, id);
            }
            uint32_t probe = (uint32_t)cv_rng_below(&rng, 400) * (round % 2 ? 1 : 0x01000001);
            cr_assert_eq(tun_idtable_get(&t, probe), naive_get(&n, probe));
            cr_assert_eq(t.count, n.count);
        }
        uint32_t id;
        void *value;
        while ((value = tun_idtable_any(&t, &id)) != NULL) {
            cr_assert_eq(naive_get(&n, id), value);
            cr_assert_eq(tun_idtable_del(&t, id), value);
            naive_del(&n, id);
        }
        cr_assert_eq(n.count, 0);
        tun_idtable_done(&t);
    }
}
