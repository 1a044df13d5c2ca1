/* The operations of ppsp/store.h over the files of a store. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "io/file.h"
#include "io/store_priv.h"

static enum cv_err failed(struct io_store *s, const char *path, int error) {
    enum cv_err err = io_why_errno(&s->why, path, error);
    return err == CV_ERR_FULL ? CV_ERR_FULL : CV_ERR_STORE;
}

static enum cv_err op_size(void *ctx, struct ppsp_store_size *ret) {
    struct io_store *s = ctx;
    *ret = (struct ppsp_store_size){.chunks = s->header.chunks, .octets = s->header.octets};
    return CV_ERR_OK;
}

/* Room for the whole bitmap is taken at once: a full disk must not stop a commit. */
static enum cv_err allocate(struct io_store *s, uint64_t chunks) {
    uint64_t pages = IO_PAGE_FIRST + io_page_count(chunks);
    int error = posix_fallocate(s->have, 0, (off_t)(pages * IO_PAGE));
    return error == ENOSPC || error == EDQUOT ? failed(s, s->where, error) : CV_ERR_OK;
}

static enum cv_err op_set_size(void *ctx, const struct ppsp_store_size *size) {
    struct io_store *s = ctx;
    assert(!s->header.shared);
    if (size->chunks == s->header.chunks && size->octets == s->header.octets)
        return CV_ERR_OK;
    /* Chunks may become known once; what was marked stays meaningful. */
    assert(s->header.chunks == 0 || size->chunks == s->header.chunks);
    if (size->chunks > IO_STORE_CHUNKS_MAX) {
        io_why_set(&s->why, "%s: content of %llu chunks is larger than a store can be", s->where,
                   (unsigned long long)size->chunks);
        return CV_ERR_STORE;
    }
    struct io_store_header before = s->header;
    s->header.chunks = size->chunks;
    s->header.octets = size->octets;
    enum cv_err err = io_store_grow(s, size->chunks);
    if (err == CV_ERR_OK)
        err = allocate(s, size->chunks);
    if (err == CV_ERR_OK)
        err = io_store_put_header(s);
    if (err != CV_ERR_OK)
        s->header = before;
    return err;
}

static enum cv_err op_have_load(void *ctx, uint64_t *words, size_t count) {
    struct io_store *s = ctx;
    assert(count * 64 >= s->header.chunks);
    if (s->header.shared) {
        memset(words, 0xff, (size_t)(s->header.chunks / 64) * 8);
        if (s->header.chunks % 64)
            words[s->header.chunks / 64] = (UINT64_C(1) << s->header.chunks % 64) - 1;
        return CV_ERR_OK;
    }
    if (s->words) /* a new one has none */
        memcpy(words, s->words, (count < s->word_count ? count : s->word_count) * sizeof *words);
    return CV_ERR_OK;
}

/* Octets of `count` chunks from `first`, as far as they are known. */
static uint64_t octets_of(const struct io_store *s, uint64_t first, uint32_t count) {
    uint64_t begin = first * s->header.chunk_size;
    uint64_t len = (uint64_t)count * s->header.chunk_size;
    if (s->header.octets && begin + len > s->header.octets)
        len = s->header.octets - begin;
    return len;
}

/* Asked after each read: a writer changes a file's time before its content. */
static enum cv_err still_shared(struct io_store *s) {
    if (s->header.shared && !s->view && !s->changed && !io_store_unchanged(s))
        s->changed = true;
    if (!s->changed)
        return CV_ERR_OK;
    io_why_set(&s->why, "%s: %s; share it again", s->data_where,
               io_store_shortened(s) ? "shorter than it was" : "changed while it was shared");
    return CV_ERR_CORRUPT;
}

static enum cv_err op_read_chunks(void *ctx, uint64_t first, uint32_t count, uint8_t *buf,
                                  size_t cap, size_t *ret_len) {
    struct io_store *s = ctx;
    assert(count > 0);
    assert(first + count <= s->header.chunks);
    uint64_t len = octets_of(s, first, count);
    if (len > cap)
        return CV_ERR_NOBUFS;
    uint64_t at = first * s->header.chunk_size;
    ssize_t n = s->view ? io_folder_view_read(s->view, buf, (size_t)len, at)
                        : io_file_pread(s->data, buf, (size_t)len, at);
    s->changed = s->changed || (n < 0 && s->view && errno == ESTALE);
    if (s->changed)
        return still_shared(s);
    if (n < 0)
        return failed(s, s->data_where, errno);
    bool last_of_unknown_length = s->header.octets == 0 && first + count == s->header.chunks;
    if ((uint64_t)n < len &&
        !(last_of_unknown_length && len - (uint64_t)n < s->header.chunk_size)) {
        io_why_set(&s->why, "%s: shorter than it was; %s", s->data_where,
                   s->header.shared ? "share it again" : "restore it, or remove the download");
        return CV_ERR_CORRUPT;
    }
    enum cv_err err = still_shared(s);
    if (err == CV_ERR_OK)
        *ret_len = (size_t)n;
    return err;
}

static void mark(struct io_store *s, uint64_t first, uint32_t count) {
    for (uint64_t i = first; i < first + count; i++) {
        uint64_t bit = UINT64_C(1) << (i & 63), page = i / IO_PAGE_CHUNKS;
        if (s->words[i >> 6] & bit)
            continue;
        s->words[i >> 6] |= bit;
        s->verified++;
        s->dirty[page >> 3] = (uint8_t)(s->dirty[page >> 3] | 1u << (page & 7));
    }
}

/* Room ahead of the flushing thread? Counts `len` as written when there is. */
static enum cv_err reserve(struct io_store *s, size_t len) {
    struct io_store_flusher *f = &s->flusher;
    pthread_mutex_lock(&f->mutex);
    int error = f->error;
    bool room = f->octets == 0 || f->octets + len <= IO_STORE_UNCOMMITTED_MAX;
    if (!error && room)
        f->octets += len;
    pthread_mutex_unlock(&f->mutex);
    if (error)
        return failed(s, s->where, error);
    return room ? CV_ERR_OK : CV_ERR_AGAIN;
}

static void unreserve(struct io_store *s, size_t len) {
    pthread_mutex_lock(&s->flusher.mutex);
    s->flusher.octets -= len;
    pthread_mutex_unlock(&s->flusher.mutex);
}

static enum cv_err op_write_chunks(void *ctx, uint64_t first, uint32_t count, const uint8_t *data,
                                   size_t len) {
    struct io_store *s = ctx;
    assert(!s->header.shared);
    assert(count > 0);
    assert(first + count <= s->header.chunks);
    assert(len <= (uint64_t)count * s->header.chunk_size);
    assert(len > (uint64_t)(count - 1) * s->header.chunk_size);
    assert(s->header.octets == 0 || len == octets_of(s, first, count));

    enum cv_err err = reserve(s, len);
    if (err == CV_ERR_AGAIN)
        io_store_commit(s); /* or it would never become less */
    if (err != CV_ERR_OK)
        return err;
    if (io_file_pwrite(s->data, data, len, first * s->header.chunk_size) != 0) {
        int error = errno;
        unreserve(s, len);
        return failed(s, s->data_where, error);
    }
    mark(s, first, count);
    s->fresh_octets += len;
    if (s->fresh_octets >= IO_STORE_COMMIT_AT)
        io_store_commit(s); /* its failure is the next call's */
    return CV_ERR_OK;
}

static enum cv_err op_tree_get(void *ctx, uint64_t bin, uint32_t count, uint8_t *hashes) {
    return io_tree_get(ctx, bin, count, hashes);
}

static enum cv_err op_tree_put(void *ctx, uint64_t bin, uint32_t count, const uint8_t *hashes) {
    return io_tree_put(ctx, bin, count, hashes);
}

static enum cv_err op_commit(void *ctx) {
    return io_store_commit(ctx);
}

const struct ppsp_store_ops io_store_ops = {
    .size = op_size,
    .set_size = op_set_size,
    .have_load = op_have_load,
    .read_chunks = op_read_chunks,
    .write_chunks = op_write_chunks,
    .tree_get = op_tree_get,
    .tree_put = op_tree_put,
    .commit = op_commit,
};
