/*
 * A store that holds nothing, for swarms of which only the beginning matters: what is
 * written is not kept, what is read is zero. Nothing is owned, nothing fails.
 */
#ifndef CULVERT_NODE_TESTS_EMPTY_STORE_H
#define CULVERT_NODE_TESTS_EMPTY_STORE_H

#include <string.h>

#include "ppsp/store.h"

static enum cv_err size(void *ctx, struct ppsp_store_size *ret) {
    (void)ctx;
    memset(ret, 0, sizeof *ret);
    return CV_ERR_OK;
}

static enum cv_err set_size(void *ctx, const struct ppsp_store_size *s) {
    (void)ctx;
    (void)s;
    return CV_ERR_OK;
}

static enum cv_err have_load(void *ctx, uint64_t *words, size_t count) {
    (void)ctx;
    memset(words, 0, count * sizeof *words);
    return CV_ERR_OK;
}

static enum cv_err tree_get(void *ctx, uint64_t bin, uint32_t count, uint8_t *hashes) {
    (void)ctx;
    (void)bin;
    memset(hashes, 0, count * 32);
    return CV_ERR_OK;
}

static enum cv_err tree_put(void *ctx, uint64_t bin, uint32_t count, const uint8_t *hashes) {
    (void)ctx;
    (void)bin;
    (void)count;
    (void)hashes;
    return CV_ERR_OK;
}

static enum cv_err commit(void *ctx) {
    (void)ctx;
    return CV_ERR_OK;
}

static const struct ppsp_store_ops empty_store = {.size = size,
                                                  .set_size = set_size,
                                                  .have_load = have_load,
                                                  .tree_get = tree_get,
                                                  .tree_put = tree_put,
                                                  .commit = commit};

#endif
