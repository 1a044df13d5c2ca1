#include "ppsp/build.h"

#include <assert.h>
#include <string.h>

#include "ppsp/bin.h"
#include "ppsp/limits.h"

static_assert(PPSP_BUILD_RUN == PPSP_PAGE_NODES, "a run is a page");

void ppsp_build_init(struct ppsp_build *b, enum cv_sha alg, const struct ppsp_store_ops *store,
                     void *ctx) {
    memset(b, 0, sizeof *b);
    b->alg = alg;
    b->hash_len = cv_sha_len(alg);
    b->store = store;
    b->store_ctx = ctx;
    assert(b->hash_len > 0);
}

/* First bin of the group that the chunk belongs to. */
static ppsp_bin run_start(uint64_t chunk) {
    return (chunk >> PPSP_GROUP_LEVEL) << (PPSP_GROUP_LEVEL + 1);
}

/* Low nodes gather in the run, high ones are written at once. */
static enum cv_err node(struct ppsp_build *b, ppsp_bin bin, const uint8_t *hash) {
    if (ppsp_bin_level(bin) > PPSP_GROUP_LEVEL)
        return b->store->tree_put(b->store_ctx, bin, 1, hash);
    memcpy(b->run + (bin - run_start(ppsp_bin_first(bin))) * b->hash_len, hash, b->hash_len);
    return CV_ERR_OK;
}

enum cv_err ppsp_build_add(struct ppsp_build *b, const uint8_t *leaf) {
    uint64_t chunk = b->leaves;
    assert(chunk + 1 < PPSP_CHUNKS_MAX);
    uint8_t h[CV_SHA_MAX];
    memcpy(h, leaf, b->hash_len);
    enum cv_err err = node(b, ppsp_bin_leaf(chunk), h);
    unsigned level = 0;
    for (; !err && chunk >> level & 1; level++) { /* we complete our left sibling */
        cv_sha2(b->alg, h, b->stack[level], b->hash_len, h, b->hash_len);
        err = node(b, ppsp_bin_at(level + 1, chunk >> (level + 1)), h);
    }
    memcpy(b->stack[level], h, b->hash_len);
    b->leaves++;
    if (!err && b->leaves % PPSP_GROUP_CHUNKS == 0) {
        err = b->store->tree_put(b->store_ctx, run_start(chunk), PPSP_BUILD_RUN, b->run);
        memset(b->run, 0, sizeof b->run);
    }
    return err;
}

enum cv_err ppsp_build_end(struct ppsp_build *b, uint8_t *ret_root) {
    static const uint8_t zeros[CV_SHA_MAX];
    uint64_t n = b->leaves;
    if (n == 0)
        return CV_ERR_INVAL;
    ppsp_bin root = ppsp_bin_root(n);
    unsigned top = ppsp_bin_level(root);
    uint8_t h[CV_SHA_MAX];   /* of the node that reaches beyond the last chunk, */
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
        enum cv_err err = node(b, ppsp_bin_at(level + 1, n >> (level + 1)), h);
        if (err)
            return err;
    }
    if (n % PPSP_GROUP_CHUNKS != 0) {
        ppsp_bin first = run_start(n - 1), end = 2 * ppsp_bin_last(root) + 1;
        uint32_t count = end - first < PPSP_BUILD_RUN ? (uint32_t)(end - first) : PPSP_BUILD_RUN;
        enum cv_err err = b->store->tree_put(b->store_ctx, first, count, b->run);
        if (err)
            return err;
    }
    memcpy(ret_root, incomplete ? h : b->stack[top], b->hash_len);
    return CV_ERR_OK;
}
