#include "ppsp/chunkspec.h"

#include <assert.h>

#include "ppsp/bin.h"

size_t ppsp_spec_len(enum ppsp_addressing method) {
    switch (method) {
    case PPSP_ADDRESSING_BIN32:
        return 4;
    case PPSP_ADDRESSING_CHUNK32:
    case PPSP_ADDRESSING_BIN64:
        return 8;
    case PPSP_ADDRESSING_BYTE64:
    case PPSP_ADDRESSING_CHUNK64:
        return 16;
    default:
        return 0;
    }
}

uint64_t ppsp_spec_chunks_max(const struct ppsp_chunkspec *s) {
    if (s->method == PPSP_ADDRESSING_BIN32)
        return (uint64_t)1 << 31;
    if (s->method == PPSP_ADDRESSING_CHUNK32)
        return (uint64_t)1 << 32;
    return PPSP_CHUNKS_MAX;
}

/* ---- reading ---------------------------------------------------------------- */

static enum cv_err read_bin(struct cv_rd *r, size_t len, struct ppsp_range *ret) {
    uint64_t bin = cv_rd_be(r, len), none = UINT64_MAX >> (64 - 8 * len);
    if (r->err)
        return r->err;
    if (bin == none)
        return CV_ERR_NOENT;
    *ret = (struct ppsp_range){ppsp_bin_first(bin), ppsp_bin_last(bin)};
    return CV_ERR_OK;
}

static enum cv_err to_chunks(const struct ppsp_chunkspec *s, struct ppsp_range *range) {
    uint64_t size = s->chunk_size;
    assert(size > 0);
    bool whole = range->last % size == size - 1;
    if (range->first % size != 0 || (!whole && s->octets && range->last != s->octets - 1))
        return CV_ERR_MALFORMED;
    range->first /= size;
    range->last /= size;
    return CV_ERR_OK;
}

enum cv_err ppsp_spec_read(struct cv_rd *r, const struct ppsp_chunkspec *s,
                           struct ppsp_range *ret) {
    size_t len = ppsp_spec_len(s->method);
    assert(len > 0);
    if (!ppsp_spec_joins(s))
        return read_bin(r, len, ret);
    struct ppsp_range range = {.first = cv_rd_be(r, len / 2)};
    range.last = cv_rd_be(r, len / 2);
    if (r->err)
        return r->err;
    if (range.first > range.last)
        return CV_ERR_MALFORMED;
    if (s->method == PPSP_ADDRESSING_BYTE64) {
        enum cv_err err = to_chunks(s, &range);
        if (err)
            return err;
    }
    *ret = range;
    return CV_ERR_OK;
}

/* ---- parts ------------------------------------------------------------------- */

struct ppsp_range ppsp_spec_head(const struct ppsp_chunkspec *s, const struct ppsp_range *range) {
    if (ppsp_spec_joins(s))
        return *range;
    unsigned level = range->first ? (unsigned)__builtin_ctzll(range->first) : 63;
    while (((uint64_t)1 << level) - 1 > range->last - range->first)
        level--;
    return (struct ppsp_range){range->first, range->first + (((uint64_t)1 << level) - 1)};
}

struct ppsp_range ppsp_spec_around(const struct ppsp_chunkspec *s, const struct ppsp_range *range,
                                   uint64_t chunk) {
    assert(range->first <= chunk && chunk <= range->last);
    if (ppsp_spec_joins(s))
        return *range;
    ppsp_bin bin = ppsp_bin_leaf(chunk);
    while (ppsp_bin_level(bin) < 62) {
        ppsp_bin up = ppsp_bin_parent(bin);
        if (ppsp_bin_first(up) < range->first || ppsp_bin_last(up) > range->last)
            break;
        bin = up;
    }
    return (struct ppsp_range){ppsp_bin_first(bin), ppsp_bin_last(bin)};
}

/* ---- writing ------------------------------------------------------------------ */

static void write_pair(struct cv_wr *w, size_t len, uint64_t first, uint64_t last) {
    assert(first <= last);
    assert(len == 16 || last <= UINT32_MAX);
    cv_wr_be(w, first, len / 2);
    cv_wr_be(w, last, len / 2);
}

static void write_bin(struct cv_wr *w, size_t len, const struct ppsp_range *range) {
    ppsp_bin bin = ppsp_bin_of_range(range->first, range->last);
    assert(bin != PPSP_BIN_NONE && (len == 8 || bin < UINT32_MAX));
    cv_wr_be(w, bin, len);
}

/* Last octet of a chunk; of all that can be named, if it lies beyond. */
static uint64_t end_of(const struct ppsp_chunkspec *s, uint64_t chunk) {
    uint64_t begin = chunk * s->chunk_size, rest = s->chunk_size - 1;
    return begin > UINT64_MAX - rest ? UINT64_MAX : begin + rest;
}

void ppsp_spec_write_node(struct cv_wr *w, const struct ppsp_chunkspec *s,
                          const struct ppsp_range *leaves) {
    size_t len = ppsp_spec_len(s->method);
    if (!ppsp_spec_joins(s))
        write_bin(w, len, leaves);
    else if (s->method == PPSP_ADDRESSING_BYTE64)
        write_pair(w, len, leaves->first * s->chunk_size, end_of(s, leaves->last));
    else
        write_pair(w, len, leaves->first, leaves->last);
}

void ppsp_spec_write(struct cv_wr *w, const struct ppsp_chunkspec *s,
                     const struct ppsp_range *range) {
    if (s->method != PPSP_ADDRESSING_BYTE64) {
        ppsp_spec_write_node(w, s, range);
        return;
    }
    uint64_t last = end_of(s, range->last);
    if (range->last * s->chunk_size < s->octets && last >= s->octets)
        last = s->octets - 1; /* the last chunk; what lies beyond it stays what it was */
    write_pair(w, 16, range->first * s->chunk_size, last);
}
