#include "sim/ringstore.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { SLACK = 1024 }; /* chunks beyond the window: ppsp.h */

struct sim_ring {
    uint32_t chunk_size, hash_len;
    uint64_t slots;   /* a power of two */
    uint64_t *number; /* of the chunk in each slot, + 1 */
    uint32_t *len;
    uint8_t *content, *tree;
};

static void *alloc(size_t n, size_t size) {
    void *p = calloc(n, size);
    assert(p && "out of memory");
    return p;
}

struct sim_ring *sim_ring_new(uint32_t chunk_size, uint32_t hash_len, uint64_t window) {
    struct sim_ring *r = alloc(1, sizeof *r);
    *r = (struct sim_ring){.chunk_size = chunk_size, .hash_len = hash_len, .slots = 1};
    while (r->slots < window + SLACK)
        r->slots *= 2;
    r->number = alloc(r->slots, sizeof *r->number);
    r->len = alloc(r->slots, sizeof *r->len);
    r->content = alloc(r->slots, chunk_size);
    r->tree = alloc(2 * r->slots, hash_len);
    return r;
}

struct sim_ring *sim_ring_free(struct sim_ring *r) {
    if (r) {
        free(r->number);
        free(r->len);
        free(r->content);
        free(r->tree);
    }
    free(r);
    return NULL;
}

const uint8_t *sim_ring_chunk(const struct sim_ring *r, uint64_t chunk, size_t *ret_len) {
    uint64_t at = chunk % r->slots;
    if (r->number[at] != chunk + 1)
        return NULL;
    *ret_len = r->len[at];
    return r->content + at * r->chunk_size;
}

static enum cv_err ring_size(void *ctx, struct ppsp_store_size *ret) {
    (void)ctx;
    *ret = (struct ppsp_store_size){0};
    return CV_ERR_OK;
}

static enum cv_err ring_set_size(void *ctx, const struct ppsp_store_size *size) {
    (void)ctx, (void)size;
    return CV_ERR_OK;
}

static enum cv_err ring_have_load(void *ctx, uint64_t *words, size_t count) {
    (void)ctx, (void)words, (void)count;
    return CV_ERR_OK;
}

static enum cv_err ring_read(void *ctx, uint64_t first, uint32_t count, uint8_t *buf, size_t cap,
                             size_t *ret_len) {
    struct sim_ring *r = ctx;
    size_t len = 0;
    for (uint64_t i = first; i < first + count; i++) {
        size_t n = 0;
        const uint8_t *chunk = sim_ring_chunk(r, i, &n);
        assert(chunk && len + n <= cap);
        memcpy(buf + len, chunk, n);
        len += n;
    }
    *ret_len = len;
    return CV_ERR_OK;
}

static enum cv_err ring_write(void *ctx, uint64_t first, uint32_t count, const uint8_t *data,
                              size_t len) {
    struct sim_ring *r = ctx;
    for (uint64_t i = first; i < first + count; i++) {
        uint64_t at = i % r->slots;
        assert(len > 0 && r->number[at] <= i + 1); /* never back */
        r->len[at] = len < r->chunk_size ? (uint32_t)len : r->chunk_size;
        r->number[at] = i + 1;
        memcpy(r->content + at * r->chunk_size, data, r->len[at]);
        data += r->len[at];
        len -= r->len[at];
    }
    assert(len == 0);
    return CV_ERR_OK;
}

/* Nodes below a munro keep their distance from its leftmost leaf, so the bins
 * wrap as the chunks do. */
static enum cv_err ring_tree_get(void *ctx, uint64_t bin, uint32_t count, uint8_t *hashes) {
    struct sim_ring *r = ctx;
    for (uint32_t i = 0; i < count; i++)
        memcpy(hashes + i * r->hash_len, r->tree + (bin + i) % (2 * r->slots) * r->hash_len,
               r->hash_len);
    return CV_ERR_OK;
}

static enum cv_err ring_tree_put(void *ctx, uint64_t bin, uint32_t count, const uint8_t *hashes) {
    struct sim_ring *r = ctx;
    for (uint32_t i = 0; i < count; i++)
        memcpy(r->tree + (bin + i) % (2 * r->slots) * r->hash_len, hashes + i * r->hash_len,
               r->hash_len);
    return CV_ERR_OK;
}

static enum cv_err ring_commit(void *ctx) {
    (void)ctx;
    return CV_ERR_OK;
}

const struct ppsp_store_ops sim_ring_ops = {
    .size = ring_size,
    .set_size = ring_set_size,
    .have_load = ring_have_load,
    .read_chunks = ring_read,
    .write_chunks = ring_write,
    .tree_get = ring_tree_get,
    .tree_put = ring_tree_put,
    .commit = ring_commit,
};
