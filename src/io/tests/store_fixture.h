/* A store in a temporary state folder, with content that follows from the
 * number of its chunks. */
#ifndef CULVERT_IO_TESTS_STORE_FIXTURE_H
#define CULVERT_IO_TESTS_STORE_FIXTURE_H

#include <string.h>

#include "io/store_file.h"
#include "support/folder.h"

#ifndef FIXTURE_CHUNK /* a test may have larger ones */
#define FIXTURE_CHUNK 1024
#endif

enum { CHUNK = FIXTURE_CHUNK, BATCH_CHUNKS = 64 };

struct store_fixture {
    char top[256];
    struct io_state *state;
    struct io_store *store;
    struct io_store_config cfg;
};

static inline void fixture_open(struct store_fixture *f) {
    struct io_why why = {""};
    cr_assert_eq(io_state_open(f->top, &f->state, &why), CV_ERR_OK, "%s", why.text);
    cr_assert_eq(io_store_open(f->state, &f->cfg, &f->store, &why), CV_ERR_OK, "%s", why.text);
}

static inline void fixture_init(struct store_fixture *f) {
    memset(f, 0, sizeof *f);
    folder_make(f->top);
    f->cfg = (struct io_store_config){.chunk_size = CHUNK, .alg = CV_SHA256};
    memset(f->cfg.id, 0xab, sizeof f->cfg.id);
}

static inline void fixture_close(struct store_fixture *f) {
    f->store = io_store_close(f->store);
    f->state = io_state_close(f->state);
}

static inline void fixture_done(struct store_fixture *f) {
    fixture_close(f);
    folder_remove(f->top);
}

static inline void fixture_size(struct store_fixture *f, uint64_t chunks, uint64_t octets) {
    struct ppsp_store_size size = {.chunks = chunks, .octets = octets};
    cr_assert_eq(io_store_ops.set_size(f->store, &size), CV_ERR_OK);
}

/* Octet `at` of chunk `i`: differs between neighbours, never all zeros. */
static inline void content_fill(uint8_t *out, uint64_t first, size_t len) {
    for (size_t i = 0; i < len; i++)
        out[i] = (uint8_t)(1 + (first + i / CHUNK) * 7 + i % CHUNK * 13);
}

static inline enum cv_err content_write(struct io_store *s, uint64_t first, uint32_t count,
                                        uint64_t octets) {
    static uint8_t buf[BATCH_CHUNKS * CHUNK];
    size_t len = (size_t)count * CHUNK;
    if (octets && first * CHUNK + len > octets)
        len = (size_t)(octets - first * CHUNK);
    content_fill(buf, first, len);
    return io_store_ops.write_chunks(s, first, count, buf, len);
}

/* Whether chunk `i` reads back as it was written. */
static inline bool content_right(struct io_store *s, uint64_t i, uint64_t octets) {
    uint8_t got[CHUNK], want[CHUNK];
    size_t len = 0, expected = CHUNK;
    if (octets && (i + 1) * CHUNK > octets)
        expected = (size_t)(octets - i * CHUNK);
    content_fill(want, i, expected);
    return io_store_ops.read_chunks(s, i, 1, got, sizeof got, &len) == CV_ERR_OK &&
           len == expected && memcmp(got, want, len) == 0;
}

static inline bool has_bit(const uint64_t *words, uint64_t i) {
    return words[i >> 6] >> (i & 63) & 1;
}

#endif
