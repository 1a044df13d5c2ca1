/* All nodes of the hash tree over some content, and how they reach a store. */
#ifndef CULVERT_IO_TESTS_TREE_MODEL_H
#define CULVERT_IO_TESTS_TREE_MODEL_H

#include <stdlib.h>
#include <string.h>

#include "io/tests/store_fixture.h"
#include "ppsp/build.h"

enum { H = 32 };

/* All nodes over content, by bin number. */
struct model {
    uint8_t *nodes;
    uint64_t bins; /* of the tree */
    uint8_t root[H];
};

static inline enum cv_err model_put(void *ctx, uint64_t bin, uint32_t count,
                                    const uint8_t *hashes) {
    struct model *m = ctx;
    cr_assert_leq(bin + count, m->bins);
    memcpy(m->nodes + bin * H, hashes, count * H);
    return CV_ERR_OK;
}

static inline struct model model_of(const uint8_t *data, size_t octets) {
    uint64_t chunks = (octets + CHUNK - 1) / CHUNK;
    struct model m = {.bins = 2 * ppsp_bin_last(ppsp_bin_root(chunks)) + 1};
    struct ppsp_store_ops ops = {.tree_put = model_put};
    struct ppsp_build b;
    m.nodes = calloc(m.bins, H);
    ppsp_build_init(&b, CV_SHA256, &ops, &m);
    for (size_t at = 0; at < octets; at += CHUNK) {
        uint8_t leaf[H];
        ppsp_build_leaf(CV_SHA256, data + at, octets - at < CHUNK ? octets - at : CHUNK, leaf);
        ppsp_build_add(&b, leaf);
    }
    cr_assert_eq(ppsp_build_end(&b, m.root), CV_ERR_OK);
    memcpy(m.nodes + ppsp_bin_root(chunks) * H, m.root, H);
    return m;
}

static inline uint32_t model_span(const struct model *m, uint64_t group) {
    return m->bins - group * 32 < 31 ? (uint32_t)(m->bins - group * 32) : 31;
}

/* As the engine does before it writes chunks: the group's page and the way up. */
static inline void model_give(const struct model *m, struct io_store *s, uint64_t group) {
    cr_assert_eq(
        io_store_ops.tree_put(s, group * 32, model_span(m, group), m->nodes + group * 32 * H),
        CV_ERR_OK);
    for (ppsp_bin b = ppsp_bin_parent(group * 32 + 15); b < m->bins; b = ppsp_bin_parent(b))
        cr_assert_eq(io_store_ops.tree_put(s, b, 1, m->nodes + b * H), CV_ERR_OK);
}

/* The store knows the group's page and its way up. */
static inline void model_compare(const struct model *m, struct io_store *s, uint64_t group) {
    uint8_t got[31 * H];
    uint32_t n = model_span(m, group);
    cr_assert_eq(io_store_ops.tree_get(s, group * 32, n, got), CV_ERR_OK, "%s", io_store_why(s));
    cr_assert_arr_eq(got, m->nodes + group * 32 * H, n * H, "group %lu", (unsigned long)group);
    for (ppsp_bin b = ppsp_bin_parent(group * 32 + 15); b < m->bins; b = ppsp_bin_parent(b)) {
        cr_assert_eq(io_store_ops.tree_get(s, b, 1, got), CV_ERR_OK);
        cr_assert_arr_eq(got, m->nodes + b * H, H, "bin %lu", (unsigned long)b);
    }
}

#endif
