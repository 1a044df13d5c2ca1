#include "ppsp/build.h"

#include <assert.h>
#include <string.h>

#include "ppsp/limits.h"

static_assert(PPSP_BUILD_RUN == PPSP_PAGE_NODES, "a run is a page");
static_assert(PPSP_BUILD_GROUP == PPSP_GROUP_CHUNKS, "a group is a page's");

static const uint8_t zeros[CV_SHA_MAX];

void ppsp_build_group(enum cv_sha alg, const uint8_t *leaves, unsigned count, uint8_t *nodes) {
    size_t len = cv_sha_len(alg);
    assert(count >= 1 && count <= PPSP_BUILD_GROUP);
    memset(nodes, 0, PPSP_BUILD_RUN * len);
    for (unsigned i = 0; i < count; i++)
        memcpy(nodes + ppsp_bin_leaf(i) * len, leaves + i * len, len);
    for (unsigned level = 1; level <= PPSP_GROUP_LEVEL; level++)
        for (unsigned i = 0; i << level < count; i++) { /* two paddings make a padding */
            ppsp_bin bin = ppsp_bin_at(level, i);
            cv_sha2(alg, nodes + bin * len, nodes + ppsp_bin_left(bin) * len, len,
                    nodes + ppsp_bin_right(bin) * len, len);
        }
}

void ppsp_build_init(struct ppsp_build *b, enum cv_sha alg, const struct ppsp_store_ops *store,
                     void *ctx) {
    memset(b, 0, sizeof *b);
    b->alg = alg;
    b->hash_len = cv_sha_len(alg);
    b->store = store;
    b->store_ctx = ctx;
    assert(b->hash_len > 0);
}

static enum cv_err put(struct ppsp_build *b, unsigned above, uint64_t index, const uint8_t *hash) {
    return b->store->tree_put(b->store_ctx, ppsp_bin_at(PPSP_GROUP_LEVEL + above, index), 1, hash);
}

/* A group's root climbs while it completes left siblings. */
static enum cv_err climb(struct ppsp_build *b, const uint8_t *root) {
    uint64_t group = b->groups++;
    uint8_t h[CV_SHA_MAX];
    unsigned level = 0;
    enum cv_err err = CV_ERR_OK;
    memcpy(h, root, b->hash_len);
    for (; !err && group >> level & 1; level++) {
        cv_sha2(b->alg, h, b->stack[level], b->hash_len, h, b->hash_len);
        err = put(b, level + 1, group >> (level + 1), h);
    }
    memcpy(b->stack[level], h, b->hash_len);
    return err;
}

enum cv_err ppsp_build_add_group(struct ppsp_build *b, const uint8_t *root) {
    assert(b->leaves == 0 && b->groups + 1 < PPSP_CHUNKS_MAX / PPSP_GROUP_CHUNKS);
    enum cv_err err = put(b, 0, b->groups, root);
    return err ? err : climb(b, root);
}

/* The group that was filled leaf by leaf; `span` of its nodes exist. */
static enum cv_err end_group(struct ppsp_build *b, unsigned count, uint32_t span,
                             uint8_t nodes[PPSP_BUILD_RUN * CV_SHA_MAX]) {
    ppsp_build_group(b->alg, b->group, count, nodes);
    enum cv_err err =
        b->store->tree_put(b->store_ctx, b->groups * 2 * PPSP_GROUP_CHUNKS, span, nodes);
    return err ? err : climb(b, nodes + (PPSP_GROUP_CHUNKS - 1) * b->hash_len);
}

enum cv_err ppsp_build_add(struct ppsp_build *b, const uint8_t *leaf) {
    uint8_t nodes[PPSP_BUILD_RUN * CV_SHA_MAX];
    assert(b->leaves + 1 < PPSP_CHUNKS_MAX);
    memcpy(b->group + b->leaves % PPSP_GROUP_CHUNKS * b->hash_len, leaf, b->hash_len);
    if (++b->leaves % PPSP_GROUP_CHUNKS)
        return CV_ERR_OK;
    return end_group(b, PPSP_GROUP_CHUNKS, PPSP_BUILD_RUN, nodes);
}

/* What was added is less than a group, or less than a group is left over. */
static enum cv_err end_leaves(struct ppsp_build *b, uint8_t *ret_root) {
    unsigned rest = (unsigned)(b->leaves % PPSP_GROUP_CHUNKS);
    uint8_t nodes[PPSP_BUILD_RUN * CV_SHA_MAX];
    if (rest == 0)
        return CV_ERR_OK;
    ppsp_bin root = ppsp_bin_root(rest);
    bool alone = b->groups == 0; /* a small tree ends inside the group */
    enum cv_err err =
        end_group(b, rest, alone ? 2 * (uint32_t)ppsp_bin_last(root) + 1 : PPSP_BUILD_RUN, nodes);
    if (alone)
        memcpy(ret_root, nodes + root * b->hash_len, b->hash_len);
    return err;
}

enum cv_err ppsp_build_end(struct ppsp_build *b, uint8_t *ret_root) {
    uint8_t small[CV_SHA_MAX];
    bool alone = b->leaves && b->leaves < PPSP_GROUP_CHUNKS;
    enum cv_err err = end_leaves(b, small);
    uint64_t n = b->groups;
    if (err)
        return err;
    if (n == 0)
        return CV_ERR_INVAL;
    if (alone) {
        memcpy(ret_root, small, b->hash_len);
        return CV_ERR_OK;
    }
    unsigned top = ppsp_bin_level(ppsp_bin_root(n));
    uint8_t h[CV_SHA_MAX];   /* of the node that reaches beyond the last group, */
    bool incomplete = false; /* if there is one on this level */
    for (unsigned level = 0; level < top; level++) {
        bool filled = n >> level & 1; /* a filled node waits on this level */
        if (filled)
            cv_sha2(b->alg, h, b->stack[level], b->hash_len, incomplete ? h : zeros, b->hash_len);
        else if (incomplete)
            cv_sha2(b->alg, h, h, b->hash_len, zeros, b->hash_len);
        else
            continue;
        incomplete = true;
        err = put(b, level + 1, n >> (level + 1), h);
        if (err)
            return err;
    }
    memcpy(ret_root, incomplete ? h : b->stack[top], b->hash_len);
    return CV_ERR_OK;
}
