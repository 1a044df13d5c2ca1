/*
 * The hash tree of content that is being shared (RFC 7574 section 5.1), from a
 * stream of hashes. Pure and in constant memory: whoever reads the file hashes
 * its chunks (in any thread) and adds them in order, either one by one,
 *
 *   ppsp_build_init(&b, CV_SHA256, ops, ctx);
 *   for each chunk: ppsp_build_add(&b, leaf)
 *   ppsp_build_end(&b, root)
 *
 * which gives all nodes to the store's tree_put, or by whole groups of 16
 * chunks whose roots ppsp_build_group() made, with ppsp_build_add_group() in
 * place of ppsp_build_add(): then only nodes from a group's root on are put,
 * 1/16 of the tree, and the store makes the others from the content.
 */
#ifndef CULVERT_PPSP_BUILD_H
#define CULVERT_PPSP_BUILD_H

#include "crypto/hash.h"
#include "ppsp/bin.h"
#include "ppsp/store.h"

#define PPSP_BUILD_RUN   31 /* nodes of a group */
#define PPSP_BUILD_GROUP 16 /* chunks of a group */

struct ppsp_build {
    enum cv_sha alg;
    size_t hash_len;
    const struct ppsp_store_ops *store;
    void *store_ctx;
    uint64_t leaves, groups;
    uint8_t stack[64][CV_SHA_MAX]; /* [l]: filled node, l levels above a group's root, that
                                      waits for its sibling */
    uint8_t group[PPSP_BUILD_GROUP * CV_SHA_MAX]; /* leaves of the group that is being filled */
};

/* Borrows `store` and `ctx`; only tree_put is used. Nothing to free. */
void ppsp_build_init(struct ppsp_build *b, enum cv_sha alg, const struct ppsp_store_ops *store,
                     void *ctx);

/* Adds the next leaf (hash of one chunk). Errors are those of tree_put; the
 * build cannot go on then. */
enum cv_err ppsp_build_add(struct ppsp_build *b, const uint8_t *leaf);

/* Adds the root of the next group; only the last group may have less than 16
 * chunks. Not to be mixed with ppsp_build_add(). */
enum cv_err ppsp_build_add_group(struct ppsp_build *b, const uint8_t *root);

/* Writes what is left and the nodes over padding; `ret_root` has room for
 * cv_sha_len(alg) octets. CV_ERR_INVAL: nothing was added (empty content has
 * no tree). */
enum cv_err ppsp_build_end(struct ppsp_build *b, uint8_t *ret_root);

/*
 * All nodes over the `count` (1..16) leaves of one group, the rest of which is
 * padding: `nodes` has room for 31 hashes, in the order of their bins. That of
 * the group's root is the 16th; of content that has no other group, the root
 * hash is number ppsp_bin_root(count).
 */
void ppsp_build_group(enum cv_sha alg, const uint8_t *leaves, unsigned count, uint8_t *nodes);

static inline void ppsp_build_leaf(enum cv_sha alg, const void *chunk, size_t len, uint8_t *ret) {
    cv_sha(alg, ret, chunk, len);
}

#endif
