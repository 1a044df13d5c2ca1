/*
 * Bin numbers (RFC 7574 section 4.2): one integer for each node of a binary
 * tree over chunks. The leaf of chunk i is 2i; a node lies half-way between
 * its children; its level is the number of its trailing one bits. So the nodes
 * under a node are consecutive numbers.
 */
#ifndef CULVERT_PPSP_BIN_H
#define CULVERT_PPSP_BIN_H

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>

typedef uint64_t ppsp_bin;

#define PPSP_BIN_NONE UINT64_MAX
/* A bin may stand above so many chunks: 0x7fff..ff, all that 64 bits can name. */
#define PPSP_BIN_CHUNKS_MAX ((uint64_t)1 << 63)
/* Contents have fewer chunks than this: what chunk sets and trees are made for. */
#define PPSP_CHUNKS_MAX ((uint64_t)1 << 48)

static inline ppsp_bin ppsp_bin_at(unsigned level, uint64_t index) {
    assert(level < 64);
    return index << level << 1 | (((uint64_t)1 << level) - 1);
}

static inline ppsp_bin ppsp_bin_leaf(uint64_t chunk) {
    return chunk << 1;
}

static inline unsigned ppsp_bin_level(ppsp_bin b) {
    assert(b != PPSP_BIN_NONE);
    return (unsigned)__builtin_ctzll(~b);
}

/* Which node of its level, from the left. */
static inline uint64_t ppsp_bin_index(ppsp_bin b) {
    return b >> ppsp_bin_level(b) >> 1;
}

/* Not of the bin over all 2^63 chunks, which has none. */
static inline ppsp_bin ppsp_bin_parent(ppsp_bin b) {
    unsigned level = ppsp_bin_level(b);
    assert(level < 63);
    return (b | (uint64_t)1 << level) & ~((uint64_t)2 << level);
}

static inline ppsp_bin ppsp_bin_sibling(ppsp_bin b) {
    return b ^ ((uint64_t)2 << ppsp_bin_level(b));
}

static inline bool ppsp_bin_is_left(ppsp_bin b) {
    return !(b & ((uint64_t)2 << ppsp_bin_level(b)));
}

/* Children of a node that is not a leaf. */
static inline ppsp_bin ppsp_bin_left(ppsp_bin b) {
    assert(b & 1);
    return b - ((uint64_t)1 << (ppsp_bin_level(b) - 1));
}

static inline ppsp_bin ppsp_bin_right(ppsp_bin b) {
    assert(b & 1);
    return b + ((uint64_t)1 << (ppsp_bin_level(b) - 1));
}

static inline uint64_t ppsp_bin_first(ppsp_bin b) {
    return ppsp_bin_index(b) << ppsp_bin_level(b);
}

static inline uint64_t ppsp_bin_last(ppsp_bin b) {
    return ppsp_bin_first(b) + (((uint64_t)1 << ppsp_bin_level(b)) - 1);
}

/* The node above exactly the chunks first..last, or PPSP_BIN_NONE when there
 * is no such node. Any input is allowed: peers choose it. */
static inline ppsp_bin ppsp_bin_of_range(uint64_t first, uint64_t last) {
    if (first > last || last >= PPSP_BIN_CHUNKS_MAX)
        return PPSP_BIN_NONE;
    uint64_t width = last - first + 1;
    if (width & (width - 1) || first & (width - 1))
        return PPSP_BIN_NONE;
    return first + last;
}

/* Root of the tree over `chunks` > 0 chunks. */
static inline ppsp_bin ppsp_bin_root(uint64_t chunks) {
    assert(chunks > 0 && chunks <= PPSP_CHUNKS_MAX);
    unsigned level = chunks > 1 ? 64 - (unsigned)__builtin_clzll(chunks - 1) : 0;
    return ppsp_bin_at(level, 0);
}

/* Peaks (section 5.6.1) from left to right; returns how many (<= 48). */
static inline unsigned ppsp_bin_peaks(uint64_t chunks, ppsp_bin ret[48]) {
    unsigned n = 0;
    uint64_t first = 0;
    assert(chunks > 0 && chunks < PPSP_CHUNKS_MAX);
    for (unsigned level = 48; level-- > 0;)
        if (chunks >> level & 1) {
            ret[n++] = ppsp_bin_at(level, first >> level);
            first += (uint64_t)1 << level;
        }
    return n;
}

#endif
