/* A ring of chunks and hashes against a plain table of what was written last. */
#include "io/store_ring.h"

#include <stdlib.h>
#include <string.h>

#include "crypto/rng_seeded.h"
#include "io/limits.h"
#include "support/folder.h"
#include "support/suite.h"

CV_SUITE(store_ring);

enum { CHUNK = 512, HASH = 20, SLOTS = 2048, N = 6000 };

static uint8_t octet(uint64_t i, unsigned k) {
    return (uint8_t)(i * 7 + k + (i >> 8));
}

Test(store_ring, the_newest_chunks_are_there_across_the_end_of_the_ring) {
    char path[256];
    folder_make(path);
    struct io_state *state = NULL;
    struct io_ring *r = NULL;
    struct io_why why;
    static uint8_t buf[64 * CHUNK], got[64 * CHUNK];
    cr_assert_eq(io_state_open(path, &state, &why), CV_ERR_OK, "%s", why.text);
    cr_assert_eq(io_ring_open(state, CHUNK, HASH, 1024, &r, &why), CV_ERR_OK, "%s", why.text);
    struct cv_rng_seeded dice;
    cv_rng_seeded_init(&dice, 1);
    struct cv_rng rng = cv_rng_seeded(&dice);
    for (uint64_t at = 0; at < N;) {
        uint32_t count = (uint32_t)(1 + cv_rng_below(&rng, 64));
        for (uint32_t i = 0; i < count * CHUNK; i++)
            buf[i] = octet(at + i / CHUNK, i % CHUNK);
        cr_assert_eq(io_ring_ops.write_chunks(r, at, count, buf, count * CHUNK), CV_ERR_OK);
        for (uint32_t i = 0; i < count; i++) {
            uint8_t hash[HASH];
            memset(hash, octet(at + i, 1), HASH);
            cr_assert_eq(io_ring_ops.tree_put(r, 2 * (at + i), 1, hash), CV_ERR_OK);
        }
        at += count;
        uint64_t oldest = at > 1024 ? at - 1024 : 0;
        uint64_t first = oldest + cv_rng_below(&rng, at - oldest);
        uint32_t n = at - first < 64 ? (uint32_t)(at - first) : 64;
        size_t len = 0;
        cr_assert_eq(io_ring_ops.read_chunks(r, first, n, got, sizeof got, &len), CV_ERR_OK);
        cr_assert_eq(len, n * CHUNK);
        for (uint32_t i = 0; i < len; i++)
            cr_assert_eq(got[i], octet(first + i / CHUNK, i % CHUNK));
        uint8_t hashes[31 * HASH];
        cr_assert_eq(io_ring_ops.tree_get(r, 2 * first, 1, hashes), CV_ERR_OK);
        cr_assert_eq(hashes[HASH - 1], octet(first, 1));
    }
    /* a run of bins over the end */
    uint8_t hashes[31 * HASH], again[31 * HASH];
    memset(hashes, 0x5a, sizeof hashes);
    cr_assert_eq(io_ring_ops.tree_put(r, 2 * SLOTS - 10, 31, hashes), CV_ERR_OK);
    cr_assert_eq(io_ring_ops.tree_get(r, 2 * SLOTS - 10, 31, again), CV_ERR_OK);
    cr_expect_arr_eq(again, hashes, sizeof hashes);
    cr_assert_eq(io_ring_ops.tree_get(r, 0, 1, again), CV_ERR_OK);
    cr_expect_eq(again[0], 0x5a);
    io_ring_close(r);
    io_state_close(state);
    folder_remove(path);
}

Test(store_ring, the_last_chunk_is_as_long_as_it_was_said_to_be) {
    char path[256];
    folder_make(path);
    struct io_state *state = NULL;
    struct io_ring *r = NULL;
    struct io_why why;
    uint8_t buf[2 * CHUNK] = {1, 2, 3};
    size_t len = 0;
    cr_assert_eq(io_state_open(path, &state, &why), CV_ERR_OK, "%s", why.text);
    cr_assert_eq(io_ring_open(state, CHUNK, HASH, 1024, &r, &why), CV_ERR_OK);
    struct ppsp_store_size size = {.chunks = 5, .octets = 4 * CHUNK + 100};
    cr_assert_eq(io_ring_ops.set_size(r, &size), CV_ERR_OK);
    cr_assert_eq(io_ring_ops.write_chunks(r, 3, 2, buf, CHUNK + 100), CV_ERR_OK);
    cr_assert_eq(io_ring_ops.read_chunks(r, 3, 2, buf, sizeof buf, &len), CV_ERR_OK);
    cr_expect_eq(len, CHUNK + 100);
    cr_expect_eq(io_ring_ops.read_chunks(r, 5, 1, buf, sizeof buf, &len), CV_ERR_STORE);
    cr_expect_eq(io_ring_ops.read_chunks(r, 3, 2, buf, CHUNK, &len), CV_ERR_STORE);
    io_ring_close(r);
    cr_expect_eq(io_ring_open(state, CHUNK, HASH, UINT64_MAX, &r, &why), CV_ERR_LIMIT);
    io_state_close(state);
    folder_remove(path);
}

/* What a person, or a link, may ask for has an end. */
Test(store_ring, a_window_that_is_too_long_is_refused) {
    static const uint64_t windows[] = {IO_RING_OCTETS_MAX / CHUNK + 1, UINT64_MAX / 2, UINT64_MAX};
    char path[256];
    folder_make(path);
    struct io_state *state = NULL;
    struct io_ring *r = NULL;
    struct io_why why;
    cr_assert_eq(io_state_open(path, &state, &why), CV_ERR_OK, "%s", why.text);
    for (unsigned i = 0; i < 3; i++) {
        cr_expect_eq(io_ring_open(state, CHUNK, HASH, windows[i], &r, &why), CV_ERR_LIMIT);
        cr_expect_not_null(strstr(why.text, "too long"));
        cr_expect_null(r);
    }
    io_state_close(state);
    folder_remove(path);
}
