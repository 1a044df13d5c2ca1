/*
 * The hash tree against a naive one that holds every node, for all contents of
 * 1 to 70 chunks: building, peaks, proving in any order, and what a liar says.
 */
#include "support/suite.h"

#include "ppsp/merkle.h"
#include "rig.h"
#include "support/vectors.h"

CV_SUITE(ppsp_merkle);

enum { N = 70, NODES = 256, H = 32 };

static const uint8_t zeros[H];

/* Section 5.1, word for word. */
struct naive {
    uint64_t chunks, width;
    uint8_t node[NODES][H]; /* by bin */
};

static void leaf_of(uint64_t i, uint8_t out[H]) {
    uint8_t chunk[3] = {'c', (uint8_t)i, 7};
    cv_sha(CV_SHA256, out, chunk, sizeof chunk);
}

static void naive_init(struct naive *n, uint64_t chunks) {
    memset(n, 0, sizeof *n);
    n->chunks = chunks;
    for (n->width = 1; n->width < chunks; n->width *= 2)
        ;
    for (uint64_t i = 0; i < chunks; i++)
        leaf_of(i, n->node[2 * i]);
    for (uint64_t step = 1; step < n->width; step *= 2)
        for (uint64_t b = 2 * step - 1; b < 2 * n->width; b += 4 * step) {
            const uint8_t *l = n->node[b - step], *r = n->node[b + step];
            if (memcmp(l, zeros, H) != 0 || memcmp(r, zeros, H) != 0)
                cv_sha2(CV_SHA256, n->node[b], l, H, r, H);
        }
}

static const uint8_t *naive_root(const struct naive *n) {
    return n->node[n->width - 1];
}

static void store_init(struct rig_store *st) {
    rig_store_init(st, 1024, H, 1024 * N);
}

static struct ppsp_tree tree_of(const struct naive *n, struct rig_store *st, bool size_known) {
    struct ppsp_tree t;
    ppsp_tree_init(&t, CV_SHA256, naive_root(n), &rig_store_ops, st);
    if (size_known) {
        ppsp_tree_size(&t, n->chunks);
        t.proven = true;
    }
    return t;
}

Test(ppsp_merkle, R5_1_builds_the_tree_of_the_rfc) {
    cv_crypto_init();
    for (uint64_t chunks = 1; chunks <= N; chunks++) {
        struct naive n;
        struct rig_store st;
        struct ppsp_build b;
        uint8_t leaf[CV_SHA_MAX], root[CV_SHA_MAX];
        naive_init(&n, chunks);
        store_init(&st);
        ppsp_build_init(&b, CV_SHA256, &rig_store_ops, &st);
        for (uint64_t i = 0; i < chunks; i++) {
            leaf_of(i, leaf);
            cr_assert_eq(ppsp_build_add(&b, leaf), CV_ERR_OK);
        }
        cr_assert_eq(ppsp_build_end(&b, root), CV_ERR_OK);
        cr_expect_arr_eq(root, naive_root(&n), H, "%lu chunks: root", (unsigned long)chunks);
        for (uint64_t bin = 0; bin < 2 * n.width - 1; bin++)
            if (bin != n.width - 1) /* the root is known anyway */
                cr_expect_arr_eq(st.tree + bin * H, n.node[bin], H, "%lu chunks: bin %lu",
                                 (unsigned long)chunks, (unsigned long)bin);
        rig_store_done(&st);
    }
    cv_crypto_thread_done();
}

Test(ppsp_merkle, empty_content_has_no_tree) {
    struct ppsp_build b;
    uint8_t root[CV_SHA_MAX];
    ppsp_build_init(&b, CV_SHA256, &rig_store_ops, NULL);
    cr_expect_eq(ppsp_build_end(&b, root), CV_ERR_INVAL);
}

static void offer_peaks(struct ppsp_peaks *k, const struct naive *n) {
    ppsp_bin peaks[48];
    unsigned count = ppsp_bin_peaks(n->chunks, peaks);
    for (unsigned i = 0; i < count; i++)
        ppsp_peaks_offer(k, peaks[i], n->node[peaks[i]], H);
}

Test(ppsp_merkle, R5_6_3_peaks_prove_the_size) {
    cv_crypto_init();
    for (uint64_t chunks = 1; chunks <= N; chunks++) {
        struct naive n;
        struct rig_store st;
        struct ppsp_peaks k = {0};
        uint64_t got = 0;
        naive_init(&n, chunks);
        store_init(&st);
        struct ppsp_tree t = tree_of(&n, &st, false);
        offer_peaks(&k, &n);
        /* Uncles of chunk 0 follow the peaks: they are not peaks. */
        if (chunks > 1)
            ppsp_peaks_offer(&k, 2, n.node[2], H);
        cr_assert_eq(ppsp_peaks_check(&t, &k, false, &got), CV_ERR_OK, "%lu chunks",
                     (unsigned long)chunks);
        cr_expect_eq(got, chunks);
        ppsp_tree_size(&t, chunks);
        cr_assert_eq(ppsp_peaks_check(&t, &k, true, &got), CV_ERR_OK);
        for (unsigned i = 0; i < k.count; i++) {
            const uint8_t *h;
            cr_assert_eq(ppsp_tree_get(&t, k.bins[i], &h), CV_ERR_OK);
            cr_expect_arr_eq(h, n.node[k.bins[i]], H);
        }
        k.hashes[k.count - 1][5] ^= 1;
        cr_expect_eq(ppsp_peaks_check(&t, &k, false, &got), CV_ERR_AUTH, "a lie");
        ppsp_tree_done(&t);
        rig_store_done(&st);
    }
    cv_crypto_thread_done();
}

/* Table 1 of section 5.5: the only hashes that a reader in order needs. */
Test(ppsp_merkle, R5_2_1_table_1_of_the_rfc) {
    cv_crypto_init();
    struct naive n;
    struct rig_store st;
    naive_init(&n, 7);
    store_init(&st);
    struct ppsp_tree t = tree_of(&n, &st, true);
    struct ppsp_pending p = {0};
    for (unsigned i = 0; i < 7; i++) {
        uint8_t row[8]; /* chunk, nodes */
        size_t len = cv_test_vector(CV_VECTORS "/ppsp.hex", "RFC 7574 section 5.5, table 1",
                                    "chunk", i, row, sizeof row);
        cr_assert(len > 0 && row[0] == i);
        if (i == 4) /* hashes missing: 13 and 10 have not come yet */
            cr_expect_eq(ppsp_tree_check(&t, &p, 4, n.node[8]), CV_ERR_NOENT);
        for (size_t k = 1; k < len; k++)
            ppsp_pending_add(&p, row[k], n.node[row[k]], H);
        cr_assert_eq(ppsp_pending_resolve(&p, &t), CV_ERR_OK);
        cr_expect_eq(ppsp_tree_check(&t, &p, i, n.node[2 * i]), CV_ERR_OK, "chunk %u", i);
    }
    ppsp_tree_done(&t);
    rig_store_done(&st);
    cv_crypto_thread_done();
}

/* All siblings on the way of a random chunk, in random order of chunks: each is
 * verified, all nodes that become known are right, and a wrong chunk is not. */
static void any_order(uint64_t chunks, uint64_t seed) {
    struct cv_rng_seeded dice;
    cv_rng_seeded_init(&dice, seed);
    struct cv_rng rng = cv_rng_seeded(&dice);
    struct naive n;
    struct rig_store st;
    naive_init(&n, chunks);
    store_init(&st);
    struct ppsp_tree t = tree_of(&n, &st, true);
    struct ppsp_pending *p = calloc(1, sizeof *p);
    for (uint64_t i = 0; i < 2 * chunks; i++) {
        uint64_t chunk = cv_rng_below(&rng, chunks);
        ppsp_bin way[16];
        unsigned k = 0;
        for (ppsp_bin b = 2 * chunk; b != n.width - 1; b = ppsp_bin_parent(b))
            way[k++] = ppsp_bin_sibling(b);
        while (k) {
            ppsp_bin b = way[--k];
            ppsp_pending_add(p, b, n.node[b], H);
        }
        cr_assert_eq(ppsp_pending_resolve(p, &t), CV_ERR_OK);
        uint8_t wrong[H];
        memcpy(wrong, n.node[2 * chunk], H);
        wrong[i % H] ^= 0x40;
        cr_expect_eq(ppsp_tree_check(&t, p, chunk, wrong), CV_ERR_AUTH);
        cr_expect_eq(ppsp_tree_check(&t, p, chunk, n.node[2 * chunk]), CV_ERR_OK,
                     "%lu chunks, chunk %lu", (unsigned long)chunks, (unsigned long)chunk);
        if (i % 5 == 0) { /* pages are written and read again */
            cr_assert_eq(ppsp_tree_flush(&t), CV_ERR_OK);
            ppsp_tree_idle(&t);
        }
    }
    cr_assert_eq(ppsp_tree_flush(&t), CV_ERR_OK);
    for (uint64_t bin = 0; bin < 2 * n.width - 1; bin++)
        if (memcmp(st.tree + bin * H, zeros, H) != 0)
            cr_expect_arr_eq(st.tree + bin * H, n.node[bin], H, "a wrong node was stored");
    free(p);
    ppsp_tree_done(&t);
    rig_store_done(&st);
}

Test(ppsp_merkle, any_chunk_in_any_order) {
    cv_crypto_init();
    for (uint64_t chunks = 1; chunks <= N; chunks++)
        any_order(chunks, chunks);
    cv_crypto_thread_done();
}

Test(ppsp_merkle, contradictions_are_noticed) {
    cv_crypto_init();
    struct naive n;
    struct rig_store st;
    naive_init(&n, 64);
    store_init(&st);
    struct ppsp_tree t = tree_of(&n, &st, true);
    struct ppsp_pending *p = calloc(1, sizeof *p);
    uint8_t lie[H] = {1, 2, 3};
    ppsp_pending_add(p, 31, n.node[31], H);
    ppsp_pending_add(p, 95, lie, H);
    cr_expect_eq(ppsp_pending_resolve(p, &t), CV_ERR_AUTH);
    cr_expect_eq(ppsp_tree_check(&t, p, 3, n.node[6]), CV_ERR_NOENT, "nothing was learned");
    ppsp_tree_done(&t);
    rig_store_done(&st);
    free(p);
    cv_crypto_thread_done();
}

Test(ppsp_merkle, claims_that_lead_nowhere_are_bounded) {
    cv_crypto_init();
    struct naive n;
    struct rig_store st;
    naive_init(&n, 64);
    store_init(&st);
    struct ppsp_tree t = tree_of(&n, &st, true);
    struct ppsp_pending *p = calloc(1, sizeof *p);
    for (uint64_t i = 0; i < 1000; i++) {
        ppsp_pending_add(p, ppsp_bin_leaf(i % 64 & ~1ull), n.node[i % 64], H);
        ppsp_pending_add(p, ppsp_bin_at(20, i), n.node[1], H); /* outside the tree */
        if (i % 50 == 0)
            cr_expect_eq(ppsp_pending_resolve(p, &t), CV_ERR_OK);
        cr_assert_leq(p->count, PPSP_PENDING_HASHES);
    }
    ppsp_tree_done(&t);
    rig_store_done(&st);
    free(p);
    cv_crypto_thread_done();
}

Test(ppsp_merkle, a_store_with_another_tree_is_found_out) {
    cv_crypto_init();
    struct naive n;
    struct rig_store st;
    naive_init(&n, 20);
    store_init(&st);
    memcpy(st.tree, n.node, sizeof n.node);
    struct ppsp_tree t = tree_of(&n, &st, true);
    cr_expect_eq(ppsp_tree_prove_stored(&t), CV_ERR_OK);
    ppsp_tree_idle(&t);
    st.tree[35 * H] ^= 1; /* bin 35 is the second peak */
    cr_expect_eq(ppsp_tree_prove_stored(&t), CV_ERR_CORRUPT);
    ppsp_tree_done(&t);
    rig_store_done(&st);
    cv_crypto_thread_done();
}

/* A crash or a bad disk damaged one stored node: whoever sends what is right is not
 * taken for a liar, what he sends is proven past the damage and replaces it, and a lie
 * is still one. */
static void damaged(ppsp_bin bad) {
    struct naive n;
    struct rig_store st;
    naive_init(&n, 64);
    store_init(&st);
    memcpy(st.tree, n.node, sizeof n.node);
    struct ppsp_tree t = tree_of(&n, &st, true);
    struct ppsp_pending *p = calloc(1, sizeof *p);
    for (ppsp_bin b = 0; b < 127; b++) /* of the first 16 chunks only what leads to others */
        if (ppsp_bin_first(b) < 16 && ppsp_bin_level(b) < 4)
            memset(st.tree + b * H, 0, H);
    st.tree[bad * H + 7] ^= 1;
    for (ppsp_bin b = ppsp_bin_leaf(5); b != ppsp_bin_at(4, 0); b = ppsp_bin_parent(b))
        ppsp_pending_add(p, ppsp_bin_sibling(b), n.node[ppsp_bin_sibling(b)], H);
    uint8_t wrong[H];
    memcpy(wrong, n.node[10], H);
    wrong[3] ^= 1;
    cr_expect_eq(ppsp_tree_check(&t, p, 5, wrong), CV_ERR_NOENT, "who of both is not sure");
    cr_expect_eq(ppsp_tree_check(&t, p, 5, n.node[10]), CV_ERR_OK, "bin %lu", (unsigned long)bad);
    cr_expect_eq(ppsp_tree_check(&t, p, 5, wrong), CV_ERR_AUTH);
    cr_assert_eq(ppsp_tree_flush(&t), CV_ERR_OK);
    cr_expect_arr_eq(st.tree + bad * H, n.node[bad], H, "bin %lu", (unsigned long)bad);
    free(p);
    ppsp_tree_done(&t);
    rig_store_done(&st);
}

Test(ppsp_merkle, a_damaged_node_gives_way_to_what_is_proven) {
    cv_crypto_init();
    damaged(ppsp_bin_at(4, 0));
    cv_crypto_thread_done();
}

Test(ppsp_merkle, a_damaged_peak_gives_way_to_what_is_proven) {
    cv_crypto_init();
    struct naive n;
    struct rig_store st;
    struct ppsp_peaks k = {0};
    uint64_t got;
    naive_init(&n, 20);
    store_init(&st);
    memcpy(st.tree, n.node, sizeof n.node);
    st.tree[35 * H] ^= 1;
    struct ppsp_tree t = tree_of(&n, &st, true);
    t.proven = true;
    offer_peaks(&k, &n);
    cr_assert_eq(ppsp_peaks_check(&t, &k, true, &got), CV_ERR_OK);
    const uint8_t *h;
    cr_assert_eq(ppsp_tree_get(&t, 35, &h), CV_ERR_OK);
    cr_expect_arr_eq(h, n.node[35], H);
    cr_expect_eq(ppsp_tree_sure(&t, 35), CV_ERR_OK);
    ppsp_tree_done(&t);
    rig_store_done(&st);
    cv_crypto_thread_done();
}

/* Contents of more than a page tier: every level is found again. */
Test(ppsp_merkle, pages_of_all_tiers) {
    cv_crypto_init();
    struct rig_store st;
    rig_store_init(&st, 1024, H, 1024 * 2048);
    struct ppsp_tree t;
    uint8_t root[H] = {9};
    ppsp_tree_init(&t, CV_SHA256, root, &rig_store_ops, &st);
    ppsp_tree_size(&t, 2000);
    for (ppsp_bin b = 0; b < 4000; b++) {
        uint8_t h[H] = {1, (uint8_t)b, (uint8_t)(b >> 8)};
        if (b != t.root_bin && ppsp_bin_first(b) < 2000)
            cr_assert_eq(ppsp_tree_put(&t, b, h), CV_ERR_OK);
    }
    for (ppsp_bin b = 0; b < 4000; b++) {
        const uint8_t *h;
        if (b == t.root_bin || ppsp_bin_first(b) >= 2000)
            continue;
        cr_assert_eq(ppsp_tree_get(&t, b, &h), CV_ERR_OK, "bin %lu", (unsigned long)b);
        cr_assert(h[1] == (uint8_t)b && h[2] == (uint8_t)(b >> 8), "bin %lu", (unsigned long)b);
    }
    ppsp_tree_done(&t);
    rig_store_done(&st);
    cv_crypto_thread_done();
}

/* ---- what is proven ahead of its chunks ----------------------------------------- */

static bool holds_nothing(const void *ctx, uint64_t first, uint64_t last) {
    (void)ctx, (void)first, (void)last;
    return false;
}

/* All hashes of a group, as they come ahead of its chunks. */
static void prove_group(struct ppsp_tree *from, struct ppsp_tree *to, uint64_t group) {
    struct ppsp_pending *p = calloc(1, sizeof *p);
    const uint8_t *h;
    ppsp_bin way[64];
    unsigned n = 0;
    for (ppsp_bin b = ppsp_bin_at(4, group); b != from->root_bin; b = ppsp_bin_parent(b))
        way[n++] = ppsp_bin_sibling(b);
    while (n) {
        cr_assert_eq(ppsp_tree_get(from, way[--n], &h), CV_ERR_OK);
        ppsp_pending_add(p, way[n], h, H);
    }
    for (unsigned level = 4; level-- > 0;)
        for (uint64_t i = 0; i < 16u >> level; i++) {
            ppsp_bin b = ppsp_bin_at(level, (group << (4 - level)) + i);
            cr_assert_eq(ppsp_tree_get(from, b, &h), CV_ERR_OK);
            ppsp_pending_add(p, b, h, H);
        }
    cr_assert_eq(ppsp_pending_resolve(p, to), CV_ERR_OK);
    free(p);
}

/* A sender's tree of so many chunks, and one that learns from it. */
struct two {
    struct rig_store full, empty;
    struct ppsp_tree from, to;
};

static void two_init(struct two *w, size_t chunks, ppsp_tree_holds_fn *holds, const void *ctx) {
    enum { SIZE = 8 };
    uint8_t root[CV_SHA_MAX];
    uint8_t *content = calloc(chunks, SIZE);
    cr_assert_not_null(content);
    cv_crypto_init();
    for (size_t i = 0; i < chunks; i++)
        memcpy(content + i * SIZE, &i, SIZE);
    rig_store_init(&w->full, SIZE, H, chunks * SIZE);
    rig_store_fill(&w->full, CV_SHA256, content, chunks * SIZE, root);
    rig_store_init(&w->empty, SIZE, H, chunks * SIZE);
    free(content);
    ppsp_tree_init(&w->from, CV_SHA256, root, &rig_store_ops, &w->full);
    ppsp_tree_init(&w->to, CV_SHA256, root, &rig_store_ops, &w->empty);
    ppsp_tree_trust(&w->to, holds, ctx);
    ppsp_tree_size(&w->from, chunks);
    ppsp_tree_size(&w->to, chunks);
    w->from.proven = w->to.proven = true;
}

static void two_done(struct two *w) {
    ppsp_tree_done(&w->from);
    ppsp_tree_done(&w->to);
    rig_store_done(&w->full);
    rig_store_done(&w->empty);
}

/* Two peers send at once, from stretches whose pages share a slot. */
Test(ppsp_merkle, what_is_proven_outlives_its_page_until_the_chunks_come) {
    enum { MANY = 8192, APART = 48 };
    struct two w;
    struct ppsp_pending none = {0};
    uint8_t leaf[H];
    const uint8_t *h;
    two_init(&w, MANY, holds_nothing, NULL);
    prove_group(&w.from, &w.to, 0);
    prove_group(&w.from, &w.to, APART);
    for (uint64_t chunk = 0; chunk < 16; chunk++) {
        cr_assert_eq(ppsp_tree_get(&w.from, ppsp_bin_leaf(chunk), &h), CV_ERR_OK);
        memcpy(leaf, h, H);
        cr_expect_eq(ppsp_tree_check(&w.to, &none, chunk, leaf), CV_ERR_OK);
    }
    two_done(&w);
}

static bool holds_what_came(const void *ctx, uint64_t first, uint64_t last) {
    return *(const bool *)ctx && first < 16 && last < 64;
}

/* Proven ahead, forgotten since others were proven, and looked for in vain before the chunks
 * came: whoever sent it takes it for known from the first of them on. */
Test(ppsp_merkle, what_was_proven_counts_when_its_chunks_have_come) {
    enum { MANY = 65536 };
    struct two w;
    const uint8_t *h;
    bool came = false;
    two_init(&w, MANY, holds_what_came, &came);
    for (uint64_t group = 0; group < MANY / 16; group += 16)
        prove_group(&w.from, &w.to, group);
    cr_expect_eq(ppsp_tree_get(&w.to, ppsp_bin_at(4, 1), &h), CV_ERR_NOENT, "long forgotten");
    came = true;
    cr_expect_eq(ppsp_tree_get(&w.to, ppsp_bin_at(4, 1), &h), CV_ERR_OK);
    cr_expect_eq(ppsp_tree_get(&w.to, ppsp_bin_at(4, 17), &h), CV_ERR_NOENT, "none of it came");
    two_done(&w);
}
