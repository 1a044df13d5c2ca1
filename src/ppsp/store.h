/*
 * Where a swarm keeps its chunks and its hash tree: a table of functions that
 * the owner of a swarm passes in. ppsp never opens a file; io has the file
 * version, tests the memory version with faults.
 *
 * Every call is synchronous and happens inside an engine call. Results come
 * back through pointers and are untouched on failure. Any call may answer
 *
 *   CV_ERR_AGAIN    not now; the engine tries again after
 *                   ppsp_swarm_ready(), or by itself after 20 ms
 *   CV_ERR_FULL     (writes) no space; the swarm stops fetching, says so once
 *                   with PPSP_EVENT_STORE_ERROR, goes on serving, and resumes
 *                   after ppsp_swarm_ready()
 *   CV_ERR_STORE    I/O error: PPSP_EVENT_STORE_ERROR; treated like FULL
 *   CV_ERR_CORRUPT  what is stored cannot be right; like STORE
 *
 * CORRUPT to a read ends serving: PPSP_EVENT_STORE_ERROR, and nothing is given to
 * peers until the swarm is closed and opened again. After other errors it is read
 * again later.
 *
 * Chunks are numbered from 0. All chunks but the last have the swarm's chunk
 * size. Only verified chunks are ever written.
 *
 * The hash tree is addressed by bin number (RFC 7574 section 4.2): the leaf of
 * chunk i is bin 2i, inner nodes lie between their children, so the nodes of
 * the subtree over an aligned group of 2^k chunks are 2^(k+1)-1 consecutive
 * bins and a flat file indexed by bin number holds the tree. The engine asks
 * for and writes such runs, from a multiple of 32 on, and single bins from level 4
 * on: one call per 16 chunks. A hash of zeros means "not known" (a sparse file
 * answers that by itself). Only verified hashes are ever written; a store may
 * keep levels 0 to 3 of complete groups or make them from the chunks.
 */
#ifndef CULVERT_PPSP_STORE_H
#define CULVERT_PPSP_STORE_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* What a store knows about the content when it is opened. */
struct ppsp_store_size {
    uint64_t chunks; /* 0: not known yet, nothing is stored */
    uint64_t octets; /* 0: last chunk's length not known yet */
};

/* `ctx` is the store_ctx of the swarm. All pointers are borrowed for the
 * duration of the call. No member may be NULL. */
struct ppsp_store_ops {
    /* Content size; asked once, when the swarm is opened. */
    enum cv_err (*size)(void *ctx, struct ppsp_store_size *ret);

    /*
     * The size became known (octets may still be 0) or exact. Called at most
     * a few times, before the first write that relies on it.
     */
    enum cv_err (*set_size)(void *ctx, const struct ppsp_store_size *size);

    /*
     * Copies the durable or in-memory "verified" bitmap: bit i & 63 of word
     * i >> 6 is chunk i. `words` has room for every chunk (count words) and
     * is zeroed. Asked once, right after size() said how many chunks there are.
     */
    enum cv_err (*have_load)(void *ctx, uint64_t *words, size_t count);

    /*
     * Reads `count` (1..64) consecutive chunks into `buf`. *ret_len is the
     * octets read: count * chunk size, or less when the last chunk of the
     * content is among them. Only asked for chunks that were written or that
     * have_load() reported.
     */
    enum cv_err (*read_chunks)(void *ctx, uint64_t first, uint32_t count, uint8_t *buf, size_t cap,
                               size_t *ret_len);

    /*
     * Writes `count` (1..64) consecutive verified chunks, `len` octets in
     * all (all but the content's last chunk are whole), and marks them
     * verified in the bitmap that commit() makes durable. All or nothing.
     */
    enum cv_err (*write_chunks)(void *ctx, uint64_t first, uint32_t count, const uint8_t *data,
                                size_t len);

    /* Reads the hashes of `count` (1..31) consecutive bins, each hash_len
     * octets; unknown ones (also: beyond what is stored) as zeros. */
    enum cv_err (*tree_get)(void *ctx, uint64_t bin, uint32_t count, uint8_t *hashes);

    /* Writes the hashes of `count` (1..31) consecutive bins. Some may be
     * zeros: those were not known before either. */
    enum cv_err (*tree_put)(void *ctx, uint64_t bin, uint32_t count, const uint8_t *hashes);

    /*
     * Makes what was written durable: first chunks and tree, then the bitmap.
     * May do so in the background and answer OK at once. Called after every
     * PPSP_COMMIT_OCTETS written, two seconds after the first uncommitted
     * write, when the content is complete, and when the swarm is closed.
     */
    enum cv_err (*commit)(void *ctx);
};

#endif
