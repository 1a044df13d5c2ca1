#include "ppsp/chunkset.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "ppsp/limits.h"

#define ALL UINT64_MAX

void ppsp_chunkset_init(struct ppsp_chunkset *s) {
    *s = (struct ppsp_chunkset){.limit = UINT64_MAX};
    cv_intervals_init(&s->sparse, PPSP_SPARSE_MAX);
}

void ppsp_chunkset_init_peer(struct ppsp_chunkset *s) {
    ppsp_chunkset_init(s);
    s->of_peer = true;
}

void ppsp_chunkset_done(struct ppsp_chunkset *s) {
    bool of_peer = s->of_peer;
    cv_intervals_done(&s->sparse);
    free(s->words);
    free(s->full);
    free(s->some);
    ppsp_chunkset_init(s);
    s->of_peer = of_peer;
}

void ppsp_chunkset_unbound(struct ppsp_chunkset *s) {
    assert(s->count == 0 && !s->words);
    cv_intervals_done(&s->sparse);
    cv_intervals_init(&s->sparse, PPSP_LIVE_INTERVALS);
}

/* ---- bitmap -------------------------------------------------------------- */

static uint64_t word_count(uint64_t limit) {
    return limit / 64 + (limit % 64 != 0);
}

/* Bits of word w that stand for chunks below the limit. */
static uint64_t valid_bits(const struct ppsp_chunkset *s, uint64_t w) {
    uint64_t left = s->limit - w * 64;
    return left >= 64 ? ALL : ((uint64_t)1 << left) - 1;
}

static void set_bit(uint64_t *bits, uint64_t i, bool on) {
    uint64_t bit = (uint64_t)1 << (i & 63);
    bits[i >> 6] = on ? bits[i >> 6] | bit : bits[i >> 6] & ~bit;
}

static void store_word(struct ppsp_chunkset *s, uint64_t w, uint64_t value) {
    uint64_t old = s->words[w];
    if (old == value)
        return;
    s->count += (uint64_t)__builtin_popcountll(value);
    s->count -= (uint64_t)__builtin_popcountll(old);
    s->words[w] = value;
    set_bit(s->full, w, value == valid_bits(s, w));
    set_bit(s->some, w, value != 0);
}

static void fill(struct ppsp_chunkset *s, uint64_t first, uint64_t last, bool on) {
    for (uint64_t w = first / 64; w <= last / 64; w++) {
        uint64_t mask = ALL;
        if (w == first / 64)
            mask &= ALL << (first & 63);
        if (w == last / 64)
            mask &= ALL >> (63 - (last & 63));
        store_word(s, w, on ? s->words[w] | mask : s->words[w] & ~mask);
    }
}

static enum cv_err to_bitmap(struct ppsp_chunkset *s) {
    if (s->limit == UINT64_MAX || s->sparse.max == PPSP_PEER_INTERVALS)
        return CV_ERR_LIMIT;
    uint64_t words = word_count(s->limit), sums = word_count(words);
    uint64_t *w = calloc(words, sizeof *w), *f = calloc(sums, sizeof *f),
             *o = calloc(sums, sizeof *o);
    if (!w || !f || !o) {
        free(w);
        free(f);
        free(o);
        return CV_ERR_NOMEM;
    }
    s->words = w;
    s->full = f;
    s->some = o;
    s->count = 0;
    for (size_t i = 0; i < cv_intervals_count(&s->sparse); i++) {
        struct cv_interval it = cv_intervals_at(&s->sparse, i);
        fill(s, it.first, it.last, true);
    }
    cv_intervals_clear(&s->sparse);
    return CV_ERR_OK;
}

/* Index at or after i of the first set bit of ~flip ^ bits; `end` if none. */
static uint64_t scan(const uint64_t *bits, uint64_t flip, uint64_t i, uint64_t end) {
    if (i >= end)
        return end;
    uint64_t w = i >> 6, value = (bits[w] ^ flip) & (ALL << (i & 63));
    uint64_t words = word_count(end);
    while (!value && ++w < words)
        value = bits[w] ^ flip;
    if (!value)
        return end;
    i = w * 64 + (uint64_t)__builtin_ctzll(value);
    return i < end ? i : end;
}

/* Index at or before i of the last clear bit, or UINT64_MAX. */
static uint64_t scan_back_clear(const uint64_t *bits, uint64_t i) {
    uint64_t w = i >> 6, value = ~bits[w] & (ALL >> (63 - (i & 63)));
    while (!value && w > 0)
        value = ~bits[--w];
    return value ? w * 64 + 63 - (uint64_t)__builtin_clzll(value) : UINT64_MAX;
}

static uint64_t bitmap_next(const struct ppsp_chunkset *s, uint64_t from) {
    if (from >= s->limit)
        return PPSP_CHUNK_NONE;
    uint64_t value = s->words[from >> 6] & (ALL << (from & 63));
    if (value)
        return (from & ~(uint64_t)63) + (uint64_t)__builtin_ctzll(value);
    uint64_t words = word_count(s->limit), w = scan(s->some, 0, (from >> 6) + 1, words);
    return w == words ? PPSP_CHUNK_NONE : w * 64 + (uint64_t)__builtin_ctzll(s->words[w]);
}

static uint64_t bitmap_gap(const struct ppsp_chunkset *s, uint64_t from) {
    if (from >= s->limit)
        return from;
    uint64_t value = ~s->words[from >> 6] & (ALL << (from & 63));
    uint64_t w = from >> 6, words = word_count(s->limit);
    if (!value) {
        w = scan(s->full, ALL, w + 1, words);
        if (w == words)
            return s->limit;
        value = ~s->words[w];
    }
    uint64_t i = w * 64 + (uint64_t)__builtin_ctzll(value);
    return i < s->limit ? i : s->limit;
}

static uint64_t bitmap_start(const struct ppsp_chunkset *s, uint64_t chunk) {
    uint64_t w = chunk >> 6, value = ~s->words[w] & (ALL >> (63 - (chunk & 63)));
    if (!value) {
        if (w == 0)
            return 0;
        w = scan_back_clear(s->full, w - 1);
        if (w == UINT64_MAX)
            return 0;
        value = ~s->words[w];
    }
    return w * 64 + 64 - (uint64_t)__builtin_clzll(value);
}

/* ---- both ---------------------------------------------------------------- */

void ppsp_chunkset_bound(struct ppsp_chunkset *s, uint64_t limit) {
    assert(limit > 0);
    assert(s->limit == UINT64_MAX || s->limit == limit);
    if (s->limit == limit)
        return;
    s->limit = limit;
    if (s->of_peer && word_count(limit) > PPSP_PEER_SET_OCTETS / sizeof *s->words)
        s->sparse.max = PPSP_PEER_INTERVALS;
    /* Cutting the end never makes the set longer: cannot fail. */
    (void)cv_intervals_remove(&s->sparse, limit, UINT64_MAX);
    s->count = cv_intervals_total(&s->sparse);
}

static enum cv_err change(struct ppsp_chunkset *s, uint64_t first, uint64_t last, bool add) {
    assert(first <= last);
    if (first >= s->limit)
        return CV_ERR_OK;
    if (last >= s->limit)
        last = s->limit - 1;
    if (!s->words) {
        enum cv_err err = add ? cv_intervals_add(&s->sparse, first, last)
                              : cv_intervals_remove(&s->sparse, first, last);
        if (err != CV_ERR_LIMIT) {
            s->count = cv_intervals_total(&s->sparse);
            return err;
        }
        err = to_bitmap(s);
        if (err)
            return err;
    }
    fill(s, first, last, add);
    return CV_ERR_OK;
}

enum cv_err ppsp_chunkset_add(struct ppsp_chunkset *s, uint64_t first, uint64_t last) {
    return change(s, first, last, true);
}

enum cv_err ppsp_chunkset_remove(struct ppsp_chunkset *s, uint64_t first, uint64_t last) {
    return change(s, first, last, false);
}

/* Few intervals stay intervals: a seeder's set costs nothing. */
enum cv_err ppsp_chunkset_load(struct ppsp_chunkset *s, const uint64_t *words) {
    assert(s->limit != UINT64_MAX && s->count == 0);
    uint64_t first = scan(words, 0, 0, s->limit);
    while (first < s->limit) {
        uint64_t end = scan(words, ALL, first, s->limit);
        enum cv_err err = ppsp_chunkset_add(s, first, end - 1);
        if (err)
            return err;
        first = scan(words, 0, end, s->limit);
    }
    return CV_ERR_OK;
}

bool ppsp_chunkset_has(const struct ppsp_chunkset *s, uint64_t chunk) {
    if (s->words)
        return chunk < s->limit && (s->words[chunk >> 6] >> (chunk & 63) & 1);
    return cv_intervals_has(&s->sparse, chunk);
}

uint64_t ppsp_chunkset_next(const struct ppsp_chunkset *s, uint64_t from) {
    if (s->words)
        return bitmap_next(s, from);
    struct cv_interval gap;
    if (cv_intervals_has(&s->sparse, from))
        return from;
    (void)cv_intervals_gap(&s->sparse, from, &gap);
    return gap.last == UINT64_MAX ? PPSP_CHUNK_NONE : gap.last + 1;
}

uint64_t ppsp_chunkset_gap(const struct ppsp_chunkset *s, uint64_t from) {
    struct cv_interval it;
    if (s->words)
        return bitmap_gap(s, from);
    if (!cv_intervals_find(&s->sparse, from, &it))
        return from;
    return it.last == UINT64_MAX ? UINT64_MAX : it.last + 1;
}

bool ppsp_chunkset_covers(const struct ppsp_chunkset *s, uint64_t first, uint64_t last) {
    assert(first <= last);
    return ppsp_chunkset_gap(s, first) > last;
}

bool ppsp_chunkset_any(const struct ppsp_chunkset *s, uint64_t first, uint64_t last) {
    assert(first <= last);
    return ppsp_chunkset_next(s, first) <= last;
}

struct cv_interval ppsp_chunkset_around(const struct ppsp_chunkset *s, uint64_t chunk) {
    struct cv_interval it = {chunk, chunk};
    assert(ppsp_chunkset_has(s, chunk));
    if (s->words)
        return (struct cv_interval){bitmap_start(s, chunk), bitmap_gap(s, chunk) - 1};
    (void)cv_intervals_find(&s->sparse, chunk, &it);
    return it;
}
