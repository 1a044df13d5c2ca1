/* The chunk store with faults: it must be right before it may find others wrong. */
#include "sim/chunkstore.h"

#include "crypto/hash.h"
#include "crypto/rng_seeded.h"
#include "support/suite.h"

CV_SUITE(chunkstore, .init = cv_crypto_init);

enum { CHUNK = 1024, HASH = 32, CHUNKS = 100, OCTETS = CHUNKS * CHUNK - 100 };

static struct cv_rng_seeded dice;
static struct cv_rng rng;
static uint8_t content[CHUNKS * CHUNK];
static const struct ppsp_store_ops *ops = &sim_store_ops;

static struct sim_store *make(uint64_t seed) {
    cv_rng_seeded_init(&dice, seed);
    rng = cv_rng_seeded(&dice);
    cv_rng_fill(&rng, content, sizeof content);
    struct sim_store *st = sim_store_new(CHUNK, HASH, OCTETS, &rng);
    struct ppsp_store_size size = {.chunks = CHUNKS, .octets = OCTETS};
    cr_assert_eq(ops->set_size(st, &size), CV_ERR_OK);
    return st;
}

static enum cv_err put(struct sim_store *st, uint64_t first, uint32_t count) {
    size_t at = first * CHUNK, len = count * CHUNK;
    len = len < OCTETS - at ? len : OCTETS - at;
    return ops->write_chunks(st, first, count, content + at, len);
}

Test(chunkstore, writes_reads_and_reloads) {
    struct sim_store *st = make(1);
    uint8_t buf[64 * CHUNK];
    uint64_t have[2] = {0};
    size_t len = 0;
    struct ppsp_store_size size;
    cr_expect_eq(put(st, 0, 3), CV_ERR_OK);
    cr_expect_eq(put(st, 98, 2), CV_ERR_OK);
    cr_expect_eq(ops->read_chunks(st, 98, 2, buf, sizeof buf, &len), CV_ERR_OK);
    cr_expect_eq(len, 2 * CHUNK - 100, "the last chunk is short");
    cr_expect_arr_eq(buf, content + 98 * CHUNK, len);
    cr_expect_eq(ops->have_load(st, have, 2), CV_ERR_OK);
    cr_expect_eq(have[0], 7);
    cr_expect_eq(have[1], UINT64_C(3) << (98 - 64));
    cr_expect_eq(ops->size(st, &size), CV_ERR_OK);
    cr_expect(size.chunks == CHUNKS && size.octets == OCTETS);
    cr_expect(sim_store_matches(st, content, OCTETS));
    content[1] ^= 1;
    cr_expect_not(sim_store_matches(st, content, OCTETS));
    cr_expect(sim_store_has(st, 2) && !sim_store_has(st, 3));
    sim_store_free(st);
}

Test(chunkstore, tree_of_unknown_hashes_is_zero) {
    struct sim_store *st = make(1);
    uint8_t some[3 * HASH], got[5 * HASH], zero[HASH] = {0};
    memset(some, 7, sizeof some);
    cr_expect_eq(ops->tree_put(st, 10, 3, some), CV_ERR_OK);
    memset(got, 9, sizeof got);
    cr_expect_eq(ops->tree_get(st, 9, 5, got), CV_ERR_OK);
    cr_expect_arr_eq(got, zero, HASH);
    cr_expect_arr_eq(got + HASH, some, 3 * HASH);
    cr_expect_arr_eq(got + 4 * HASH, zero, HASH);
    cr_expect_eq(ops->tree_get(st, 254, 5, got), CV_ERR_OK, "over the end");
    cr_expect_eq(ops->tree_get(st, 1 << 30, 5, got), CV_ERR_OK, "far beyond");
    cr_expect_arr_eq(got + 4 * HASH, zero, HASH);
    sim_store_free(st);
}

/* What was committed is there; what was not is old, new or half of each, and
 * the bitmap never says that it is there. */
Test(chunkstore, crash_keeps_what_was_committed) {
    unsigned written = 0, torn = 0, lost = 0;
    for (uint64_t seed = 0; seed < 20; seed++) {
        struct sim_store *st = make(seed);
        cr_assert_eq(put(st, 0, 10), CV_ERR_OK);
        cr_assert_eq(ops->commit(st), CV_ERR_OK);
        cr_assert_eq(put(st, 20, 10), CV_ERR_OK);
        sim_store_crash(st);
        for (uint64_t i = 0; i < CHUNKS; i++)
            cr_expect_eq(sim_store_has(st, i), i < 10);
        cr_expect(sim_store_matches(st, content, OCTETS));
        for (uint64_t i = 20; i < 30; i++) {
            const uint8_t *now = sim_store_content(st) + i * CHUNK;
            bool head = memcmp(now, content + i * CHUNK, CHUNK / 2) == 0;
            bool tail = memcmp(now + CHUNK / 2, content + i * CHUNK + CHUNK / 2, CHUNK / 2) == 0;
            written += head && tail;
            torn += head != tail;
            lost += !head && !tail;
        }
        cr_assert_eq(put(st, 20, 10), CV_ERR_OK, "it goes on");
        cr_assert_eq(ops->commit(st), CV_ERR_OK);
        sim_store_crash(st);
        cr_expect(sim_store_has(st, 29));
        cr_expect(sim_store_matches(st, content, OCTETS));
        sim_store_free(st);
    }
    cr_expect(written > 40 && torn > 40 && lost > 40, "%u %u %u", written, torn, lost);
}

Test(chunkstore, faults) {
    struct sim_store *st = make(1);
    uint8_t buf[CHUNK];
    size_t len = 77;
    cr_assert_eq(put(st, 0, 1), CV_ERR_OK);
    sim_store_fail(st, SIM_STORE_READ, CV_ERR_AGAIN, 2);
    cr_expect_eq(ops->read_chunks(st, 0, 1, buf, CHUNK, &len), CV_ERR_AGAIN);
    cr_expect_eq(ops->read_chunks(st, 0, 1, buf, CHUNK, &len), CV_ERR_AGAIN);
    cr_expect_eq(len, 77, "untouched");
    cr_expect_eq(ops->read_chunks(st, 0, 1, buf, CHUNK, &len), CV_ERR_OK);
    sim_store_fail(st, SIM_STORE_WRITE, CV_ERR_STORE, 1);
    cr_expect_eq(put(st, 5, 1), CV_ERR_STORE);
    cr_expect_not(sim_store_has(st, 5));
    sim_store_fail(st, SIM_STORE_COMMIT, CV_ERR_STORE, 1);
    cr_expect_eq(ops->commit(st), CV_ERR_STORE);
    sim_store_crash(st);
    cr_expect_not(sim_store_has(st, 0), "a failed commit made nothing durable");

    struct ppsp_store_size size = {.chunks = CHUNKS, .octets = OCTETS};
    cr_expect_eq(ops->set_size(st, &size), CV_ERR_OK);
    sim_store_space(st, 3);
    cr_expect_eq(put(st, 0, 2), CV_ERR_OK);
    cr_expect_eq(put(st, 2, 2), CV_ERR_FULL);
    cr_expect_not(sim_store_has(st, 2), "all or nothing");
    sim_store_space(st, UINT64_MAX);
    cr_expect_eq(put(st, 2, 2), CV_ERR_OK);

    sim_store_faults(st, 100000, 50000);
    unsigned again = 0, store = 0;
    for (int i = 0; i < 10000; i++) {
        enum cv_err err = ops->read_chunks(st, 0, 1, buf, CHUNK, &len);
        again += err == CV_ERR_AGAIN;
        store += err == CV_ERR_STORE;
    }
    cr_expect(again > 880 && again < 1120, "%u", again);
    cr_expect(store > 410 && store < 590, "%u", store);
    sim_store_free(st);
}
