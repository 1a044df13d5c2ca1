/* The keyed map against an array, with a good and with the worst possible hash. */
#include "base/map.h"

#include "support/model.h"
#include "support/suite.h"

CV_SUITE(map);

enum { KEYS = 200 };

static uint64_t good_hash(const void *ctx, const void *key, size_t len) {
    uint64_t v = *(const uint64_t *)ctx;
    for (size_t i = 0; i < len; i++)
        v = (v ^ ((const uint8_t *)key)[i]) * 0x100000001b3;
    return v ^ v >> 29;
}

static uint64_t worst_hash(const void *ctx, const void *key, size_t len) {
    (void)ctx, (void)key, (void)len;
    return 42; /* everything collides: still right, only slow */
}

struct slot {
    int value;
    bool in;
    uint64_t order;
};

static void check_walk(const struct cv_map *m, const struct slot *slots) {
    void *cursor = NULL, *value;
    const void *key;
    uint64_t last = 0;
    size_t n = 0;
    while ((value = cv_map_next(m, &cursor, &key))) {
        uint32_t i;
        memcpy(&i, key, sizeof i);
        cr_assert_lt(i, (uint32_t)KEYS);
        cr_assert(slots[i].in && value == &slots[i].value);
        cr_assert(n == 0 || slots[i].order > last, "insertion order");
        last = slots[i].order;
        n++;
    }
    cr_assert_null(cv_map_next(m, &cursor, NULL), "stays at the end");
    cr_assert_eq(n, cv_map_count(m));
}

static void random_operations(uint64_t seed, cv_map_hash_fn *hash, size_t max) {
    uint64_t state = seed, hash_key = seed + 1;
    struct cv_rng rng = model_rng(&state);
    struct slot slots[KEYS] = {0};
    size_t count = 0;
    struct cv_map *m = cv_map_new(sizeof(uint32_t), max, hash, &hash_key);
    for (uint64_t step = 0; step < 3000; step++) {
        uint32_t i = (uint32_t)cv_rng_below(&rng, KEYS);
        struct slot *s = &slots[i];
        cr_assert_eq(cv_map_get(m, &i), s->in ? &s->value : NULL);
        if (cv_rng_below(&rng, 5) < 3) {
            enum cv_err want = s->in ? CV_ERR_EXIST : count == max ? CV_ERR_LIMIT : CV_ERR_OK;
            cr_assert_eq(cv_map_put(m, &i, &s->value), want);
            if (!want) {
                s->in = true;
                s->order = step;
                count++;
            }
        } else {
            cr_assert_eq(cv_map_del(m, &i), s->in ? &s->value : NULL);
            count -= s->in;
            s->in = false;
        }
        cr_assert_eq(cv_map_count(m), count);
        if (step % 100 == 0)
            check_walk(m, slots);
    }
    cr_expect_null(cv_map_free(m));
}

Test(map, same_as_an_array) {
    for (uint64_t seed = 0; seed < 10; seed++) {
        random_operations(seed, good_hash, KEYS);
        random_operations(seed, good_hash, 20);
        random_operations(seed, worst_hash, KEYS);
    }
}

Test(map, entry_just_returned_may_be_deleted) {
    uint64_t hash_key = 3;
    int value;
    struct cv_map *m = cv_map_new(2, 1000, good_hash, &hash_key);
    for (uint16_t i = 0; i < 500; i++)
        cr_assert_eq(cv_map_put(m, &i, &value), CV_ERR_OK);
    void *cursor = NULL;
    const void *key;
    size_t seen = 0;
    while (cv_map_next(m, &cursor, &key)) {
        uint16_t i;
        memcpy(&i, key, sizeof i);
        cr_expect_eq(i, seen++);
        if (i % 3 != 1)
            cv_map_del(m, &i);
    }
    cr_expect_eq(seen, 500);
    cr_expect_eq(cv_map_count(m), 167);
    cv_map_free(m);
    cr_expect_null(cv_map_free(NULL));
}

Test(map, keys_of_every_length_are_copied) {
    uint64_t hash_key = 3;
    int value;
    for (size_t len = 1; len <= 255; len++) {
        struct cv_map *m = cv_map_new(len, 2, good_hash, &hash_key);
        uint8_t key[255];
        memset(key, (int)len, len);
        cr_assert_eq(cv_map_put(m, key, &value), CV_ERR_OK);
        key[len - 1] ^= 1;
        cr_expect_null(cv_map_get(m, key));
        key[len - 1] ^= 1;
        cr_expect_eq(cv_map_get(m, key), &value);
        cv_map_free(m);
    }
}
