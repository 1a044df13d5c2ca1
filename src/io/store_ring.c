#include "io/store_ring.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io/file.h"
#include "io/limits.h"

/* What the engine may still have beyond its window (ppsp.h). */
enum { SLACK = 1024 };

struct io_ring {
    int fd;
    uint32_t chunk_size;
    size_t hash_len;
    uint64_t slots;
    struct ppsp_store_size size; /* once the broadcast has ended */
    const char *where;
    struct io_why why;
};

enum cv_err io_ring_open(struct io_state *state, uint32_t chunk_size, size_t hash_len,
                         uint64_t window, struct io_ring **ret, struct io_why *why) {
    uint64_t slots = 1;
    if (window > IO_RING_OCTETS_MAX / chunk_size) {
        io_why_set(why, "a window of %llu chunks is too long for a store; %llu are possible",
                   (unsigned long long)window,
                   (unsigned long long)(IO_RING_OCTETS_MAX / chunk_size));
        return CV_ERR_LIMIT;
    }
    while (slots < window + SLACK)
        slots *= 2;
    struct io_ring *r = calloc(1, sizeof *r);
    if (!r) {
        io_why_set(why, "out of memory");
        return CV_ERR_NOMEM;
    }
    *r = (struct io_ring){.chunk_size = chunk_size,
                          .hash_len = hash_len,
                          .slots = slots,
                          .where = io_state_path(state)};
    r->fd = openat(io_state_fd(state), ".", O_RDWR | O_TMPFILE | O_CLOEXEC, 0600);
    if (r->fd < 0) {
        enum cv_err err = io_why_errno(why, r->where, errno);
        free(r);
        return err;
    }
    /* All of it at once: a broadcast is no time to find the disk full. */
    int error = posix_fallocate(r->fd, 0, (off_t)(slots * (chunk_size + 2 * hash_len)));
    if (error == ENOSPC || error == EDQUOT) {
        enum cv_err err = io_why_errno(why, r->where, error);
        io_ring_close(r);
        return err;
    }
    *ret = r;
    return CV_ERR_OK;
}

struct io_ring *io_ring_close(struct io_ring *r) {
    if (r)
        close(r->fd);
    free(r);
    return NULL;
}

const char *io_ring_why(const struct io_ring *r) {
    return r->why.text;
}

static enum cv_err failed(struct io_ring *r) {
    enum cv_err err = io_why_errno(&r->why, r->where, errno);
    return err == CV_ERR_FULL ? CV_ERR_FULL : CV_ERR_STORE;
}

/* `count` consecutive things of `size` octets from number `first` on, in two
 * pieces where the ring ends. */
static enum cv_err put(struct io_ring *r, uint64_t base, uint64_t places, size_t size,
                       uint64_t first, const uint8_t *data, size_t len) {
    uint64_t at = first % places;
    size_t head = (places - at) * size < len ? (size_t)((places - at) * size) : len;
    if (io_file_pwrite(r->fd, data, head, base + at * size) ||
        (len > head && io_file_pwrite(r->fd, data + head, len - head, base)))
        return failed(r);
    return CV_ERR_OK;
}

/* What was never written reads as zeros. */
static enum cv_err get(struct io_ring *r, uint64_t base, uint64_t places, size_t size,
                       uint64_t first, uint8_t *data, size_t len) {
    uint64_t at = first % places;
    size_t head = (places - at) * size < len ? (size_t)((places - at) * size) : len;
    memset(data, 0, len);
    if (io_file_pread(r->fd, data, head, base + at * size) < 0 ||
        (len > head && io_file_pread(r->fd, data + head, len - head, base) < 0))
        return failed(r);
    return CV_ERR_OK;
}

static enum cv_err ring_size(void *ctx, struct ppsp_store_size *ret) {
    *ret = ((struct io_ring *)ctx)->size;
    return CV_ERR_OK;
}

static enum cv_err ring_set_size(void *ctx, const struct ppsp_store_size *size) {
    ((struct io_ring *)ctx)->size = *size;
    return CV_ERR_OK;
}

static enum cv_err ring_have_load(void *ctx, uint64_t *words, size_t count) {
    (void)ctx, (void)words, (void)count;
    return CV_ERR_OK;
}

static enum cv_err ring_read(void *ctx, uint64_t first, uint32_t count, uint8_t *buf, size_t cap,
                             size_t *ret_len) {
    struct io_ring *r = ctx;
    uint64_t from = first * r->chunk_size, len = (uint64_t)count * r->chunk_size;
    if (r->size.octets && from + len > r->size.octets)
        len = r->size.octets > from ? r->size.octets - from : 0;
    if (len == 0 || len > cap)
        return CV_ERR_STORE;
    enum cv_err err = get(r, 0, r->slots, r->chunk_size, first, buf, (size_t)len);
    if (!err)
        *ret_len = (size_t)len;
    return err;
}

static enum cv_err ring_write(void *ctx, uint64_t first, uint32_t count, const uint8_t *data,
                              size_t len) {
    struct io_ring *r = ctx;
    (void)count;
    return put(r, 0, r->slots, r->chunk_size, first, data, len);
}

static enum cv_err ring_tree_get(void *ctx, uint64_t bin, uint32_t count, uint8_t *hashes) {
    struct io_ring *r = ctx;
    return get(r, r->slots * r->chunk_size, 2 * r->slots, r->hash_len, bin, hashes,
               count * r->hash_len);
}

static enum cv_err ring_tree_put(void *ctx, uint64_t bin, uint32_t count, const uint8_t *hashes) {
    struct io_ring *r = ctx;
    return put(r, r->slots * r->chunk_size, 2 * r->slots, r->hash_len, bin, hashes,
               count * r->hash_len);
}

static enum cv_err ring_commit(void *ctx) {
    (void)ctx;
    return CV_ERR_OK;
}

const struct ppsp_store_ops io_ring_ops = {
    .size = ring_size,
    .set_size = ring_set_size,
    .have_load = ring_have_load,
    .read_chunks = ring_read,
    .write_chunks = ring_write,
    .tree_get = ring_tree_get,
    .tree_put = ring_tree_put,
    .commit = ring_commit,
};
