/*
 * The hash tree of content that is being shared (RFC 7574 section 5.1),
 * from a stream of leaf hashes. Pure: whoever reads the file hashes its chunks
 * (in any thread: ppsp_build_leaf) and adds the leaves in order; finished
 * nodes go to the store's tree_put in runs of at most 31 bins, one call per 16
 * chunks, so memory is constant.
 *
 *   ppsp_build_init(&b, CV_SHA256, ops, ctx);
 *   for each chunk: ppsp_build_add(&b, leaf)
 *   ppsp_build_end(&b, root)
 */
#ifndef CULVERT_PPSP_BUILD_H
#define CULVERT_PPSP_BUILD_H

#include "crypto/hash.h"
#include "ppsp/store.h"

#define PPSP_BUILD_RUN 31

struct ppsp_build {
    enum cv_sha alg;
    size_t hash_len;
    const struct ppsp_store_ops *store;
    void *store_ctx;
    uint64_t leaves;
    uint8_t stack[64][CV_SHA_MAX]; /* [l]: filled node of level l that waits for its sibling */
    uint8_t run[PPSP_BUILD_RUN * CV_SHA_MAX]; /* nodes of the current group of 16 */
};

/* Borrows `store` and `ctx`; only tree_put is used. Nothing to free. */
void ppsp_build_init(struct ppsp_build *b, enum cv_sha alg, const struct ppsp_store_ops *store,
                     void *ctx);

/* Adds the next leaf (hash of one chunk). Errors are those of tree_put; the
 * build cannot go on then. */
enum cv_err ppsp_build_add(struct ppsp_build *b, const uint8_t *leaf);

/* Writes what is left and the nodes over padding; `ret_root` has room for
 * cv_sha_len(alg) octets. CV_ERR_INVAL: no leaf was added (empty content has
 * no tree). */
enum cv_err ppsp_build_end(struct ppsp_build *b, uint8_t *ret_root);

static inline void ppsp_build_leaf(enum cv_sha alg, const void *chunk, size_t len, uint8_t *ret) {
    cv_sha(alg, ret, chunk, len);
}

#endif
