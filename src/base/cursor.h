/*
 * Bounds-checked cursors over octets. Both are sticky: the first overrun sets
 * `err`, later calls are no-ops that yield zero, and the codec checks once, at
 * the end. PPSPP and the DHT are big-endian (`_be`), tunnel and ledger formats
 * little-endian (`_le`).
 */
#ifndef CULVERT_BASE_CURSOR_H
#define CULVERT_BASE_CURSOR_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/types.h>

#include "base/err.h"

struct cv_rd {
    const uint8_t *p, *end;
    enum cv_err err;
};

struct cv_wr {
    uint8_t *start, *p, *end;
    enum cv_err err;
};

/* Reader over borrowed octets; `buf` may be NULL when len is 0. */
static inline struct cv_rd cv_rd_init(const void *buf, size_t len) {
    const uint8_t *p = buf;
    return (struct cv_rd){.p = p, .end = len ? p + len : p, .err = CV_ERR_OK};
}

static inline size_t cv_rd_left(const struct cv_rd *r) {
    return (size_t)(r->end - r->p);
}

/* Borrowed view of the next `n` octets, or NULL. Valid while the buffer is. */
static inline const uint8_t *cv_rd_bytes(struct cv_rd *r, size_t n) {
    if (r->err || cv_rd_left(r) < n) {
        r->err = r->err ? r->err : CV_ERR_TRUNCATED;
        return NULL;
    }
    const uint8_t *at = r->p;
    if (!at) /* nothing, of no buffer; the compiler wants to hear it */
        return NULL;
    r->p += n;
    return at;
}

/* Copies `n` octets; zeroes `ret` when they are not there. */
static inline void cv_rd_copy(struct cv_rd *r, void *ret, size_t n) {
    const uint8_t *b = cv_rd_bytes(r, n);
    if (b)
        memcpy(ret, b, n);
    else
        memset(ret, 0, n);
}

static inline uint64_t cv_rd_be(struct cv_rd *r, size_t n) {
    const uint8_t *b = cv_rd_bytes(r, n);
    uint64_t v = 0;
    for (size_t i = 0; b && i < n; i++)
        v = v << 8 | b[i];
    return v;
}

static inline uint64_t cv_rd_le(struct cv_rd *r, size_t n) {
    const uint8_t *b = cv_rd_bytes(r, n);
    uint64_t v = 0;
    for (size_t i = n; b && i-- > 0;)
        v = v << 8 | b[i];
    return v;
}

static inline uint8_t cv_rd_u8(struct cv_rd *r) {
    return (uint8_t)cv_rd_be(r, 1);
}
static inline uint16_t cv_rd_be16(struct cv_rd *r) {
    return (uint16_t)cv_rd_be(r, 2);
}
static inline uint32_t cv_rd_be32(struct cv_rd *r) {
    return (uint32_t)cv_rd_be(r, 4);
}
static inline uint64_t cv_rd_be64(struct cv_rd *r) {
    return cv_rd_be(r, 8);
}
static inline uint16_t cv_rd_le16(struct cv_rd *r) {
    return (uint16_t)cv_rd_le(r, 2);
}
static inline uint32_t cv_rd_le32(struct cv_rd *r) {
    return (uint32_t)cv_rd_le(r, 4);
}
static inline uint64_t cv_rd_le64(struct cv_rd *r) {
    return cv_rd_le(r, 8);
}

static inline struct cv_wr cv_wr_init(void *buf, size_t cap) {
    uint8_t *p = buf;
    return (struct cv_wr){.start = p, .p = p, .end = cap ? p + cap : p, .err = CV_ERR_OK};
}

static inline size_t cv_wr_room(const struct cv_wr *w) {
    return (size_t)(w->end - w->p);
}

/* Reserves `n` octets for the caller to fill, or NULL. */
static inline uint8_t *cv_wr_skip(struct cv_wr *w, size_t n) {
    if (w->err || cv_wr_room(w) < n) {
        w->err = w->err ? w->err : CV_ERR_NOBUFS;
        return NULL;
    }
    uint8_t *at = w->p;
    if (!at) /* room for nothing, over no buffer; the compiler wants to hear it */
        return NULL;
    w->p += n;
    return at;
}

static inline void cv_wr_bytes(struct cv_wr *w, const void *src, size_t n) {
    uint8_t *at = cv_wr_skip(w, n);
    if (at && n)
        memcpy(at, src, n);
}

static inline void cv_wr_zero(struct cv_wr *w, size_t n) {
    uint8_t *at = cv_wr_skip(w, n);
    if (at && n)
        memset(at, 0, n);
}

static inline void cv_wr_be(struct cv_wr *w, uint64_t v, size_t n) {
    uint8_t *at = cv_wr_skip(w, n);
    for (size_t i = n; at && i-- > 0; v >>= 8)
        at[i] = (uint8_t)v;
}

static inline void cv_wr_le(struct cv_wr *w, uint64_t v, size_t n) {
    uint8_t *at = cv_wr_skip(w, n);
    for (size_t i = 0; at && i < n; i++, v >>= 8)
        at[i] = (uint8_t)v;
}

static inline void cv_wr_u8(struct cv_wr *w, uint8_t v) {
    cv_wr_be(w, v, 1);
}
static inline void cv_wr_be16(struct cv_wr *w, uint16_t v) {
    cv_wr_be(w, v, 2);
}
static inline void cv_wr_be32(struct cv_wr *w, uint32_t v) {
    cv_wr_be(w, v, 4);
}
static inline void cv_wr_be64(struct cv_wr *w, uint64_t v) {
    cv_wr_be(w, v, 8);
}
static inline void cv_wr_le16(struct cv_wr *w, uint16_t v) {
    cv_wr_le(w, v, 2);
}
static inline void cv_wr_le32(struct cv_wr *w, uint32_t v) {
    cv_wr_le(w, v, 4);
}
static inline void cv_wr_le64(struct cv_wr *w, uint64_t v) {
    cv_wr_le(w, v, 8);
}

/* Octets written so far, whether or not an error stuck. */
static inline size_t cv_wr_len(const struct cv_wr *w) {
    return (size_t)(w->p - w->start);
}

/* Octets written, or the negative error. */
static inline ssize_t cv_wr_done(const struct cv_wr *w) {
    return w->err ? (ssize_t)w->err : w->p - w->start;
}

#endif
