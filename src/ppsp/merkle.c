#include "ppsp/merkle.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "ppsp/munro.h"

enum {
    LEVELS = PPSP_GROUP_LEVEL + 1, /* of one page */
    LEAF_PAGES = 48,               /* slots for pages of leaves; the rest for higher ones */
};

static const uint8_t zeros[CV_SHA_MAX];

/*
 * A page: the nodes of five levels under one node, in the order of their bins.
 * Tier 0 pages hold the leaves of 16 chunks up to their common root, tier 1
 * pages the five levels above those, and so on. Only tier 0 lies in one piece
 * in the store; higher nodes are read one by one, when asked for.
 */
struct ppsp_page {
    uint64_t name;                 /* tier and index, + 1; 0: empty slot */
    uint32_t loaded, known, dirty; /* bits by place in the page */
    uint8_t hash[];
};

/* What was known of a page that gave its slot to another: proven, though nothing
 * under it may be there yet, so the store alone would not count. */
struct ppsp_page_left {
    uint64_t name;
    uint32_t known;
};

struct place {
    unsigned tier;
    uint64_t index; /* of the page in its tier */
    unsigned at;    /* in the page */
};

static struct place place_of(ppsp_bin bin) {
    unsigned level = ppsp_bin_level(bin), tier = level / LEVELS, in = level % LEVELS;
    uint64_t index = ppsp_bin_index(bin);
    unsigned up = PPSP_GROUP_LEVEL - in;
    uint64_t low = index & (((uint64_t)1 << up) - 1);
    return (struct place){
        .tier = tier,
        .index = index >> up,
        .at = (unsigned)(low << (in + 1)) + (1u << in) - 1,
    };
}

/* The bin at a place: places are bins of a small tree. */
static ppsp_bin bin_of(unsigned tier, uint64_t index, unsigned at) {
    unsigned in = ppsp_bin_level(at);
    uint64_t low = ppsp_bin_index(at);
    return ppsp_bin_at(tier * LEVELS + in, index << (PPSP_GROUP_LEVEL - in) | low);
}

void ppsp_tree_init(struct ppsp_tree *t, enum cv_sha alg, const uint8_t *root,
                    const struct ppsp_store_ops *store, void *store_ctx) {
    *t = (struct ppsp_tree){
        .alg = alg, .hash_len = cv_sha_len(alg), .store = store, .store_ctx = store_ctx};
    assert(t->hash_len > 0);
    memcpy(t->root, root, t->hash_len);
    t->page_size = sizeof(struct ppsp_page) + PPSP_PAGE_NODES * t->hash_len;
    t->page_size = (t->page_size + 15) & ~(size_t)15;
}

void ppsp_tree_live(struct ppsp_tree *t, const struct ppsp_munros *munros) {
    t->munros = munros;
    t->chunks = PPSP_CHUNKS_MAX - 1;
    t->root_bin = ppsp_bin_root(t->chunks);
    t->proven = true; /* there are no peaks to wait for */
}

void ppsp_tree_end(struct ppsp_tree *t, uint64_t chunks) {
    assert(t->munros);
    if (chunks < t->chunks)
        t->chunks = chunks;
}

void ppsp_tree_idle(struct ppsp_tree *t) {
    free(t->pages);
    t->pages = NULL;
    free(t->left);
    t->left = NULL;
    memset(t->dirty, 0, sizeof t->dirty);
}

void ppsp_tree_done(struct ppsp_tree *t) {
    ppsp_tree_idle(t);
}

void ppsp_tree_size(struct ppsp_tree *t, uint64_t chunks) {
    assert(chunks > 0 && chunks < PPSP_CHUNKS_MAX);
    if (t->chunks != chunks)
        ppsp_tree_idle(t);
    t->chunks = chunks;
    t->root_bin = ppsp_bin_root(chunks);
}

void ppsp_tree_combine(const struct ppsp_tree *t, const uint8_t *left, const uint8_t *right,
                       uint8_t *ret) {
    if (memcmp(left, zeros, t->hash_len) == 0 && memcmp(right, zeros, t->hash_len) == 0)
        memset(ret, 0, t->hash_len);
    else
        cv_sha2(t->alg, ret, left, t->hash_len, right, t->hash_len);
}

/* ---- pages ---------------------------------------------------------------- */

static struct ppsp_page *slot(const struct ppsp_tree *t, unsigned i) {
    return (struct ppsp_page *)(void *)((uint8_t *)t->pages + i * t->page_size);
}

static uint8_t *hash_at(const struct ppsp_tree *t, struct ppsp_page *page, unsigned at) {
    return page->hash + at * t->hash_len;
}

/* How many bins of a tier 0 page exist: a small tree ends inside the page. */
static uint32_t page_span(const struct ppsp_tree *t, uint64_t index) {
    uint64_t first = index * (PPSP_PAGE_NODES + 1), end = ppsp_bin_last(t->root_bin) * 2 + 1;
    assert(first < end);
    return end - first < PPSP_PAGE_NODES ? (uint32_t)(end - first) : PPSP_PAGE_NODES;
}

static enum cv_err write_page(struct ppsp_tree *t, struct ppsp_page *page) {
    unsigned tier = (unsigned)((page->name - 1) >> 56);
    uint64_t index = (page->name - 1) & (((uint64_t)1 << 56) - 1);
    if (tier == 0) {
        enum cv_err err = t->store->tree_put(t->store_ctx, index * (PPSP_PAGE_NODES + 1),
                                             page_span(t, index), page->hash);
        if (!err)
            page->dirty = 0;
        return err;
    }
    while (page->dirty) {
        unsigned at = (unsigned)__builtin_ctz(page->dirty);
        enum cv_err err =
            t->store->tree_put(t->store_ctx, bin_of(tier, index, at), 1, hash_at(t, page, at));
        if (err)
            return err;
        page->dirty &= page->dirty - 1;
    }
    return CV_ERR_OK;
}

enum cv_err ppsp_tree_flush(struct ppsp_tree *t) {
    for (unsigned w = 0; w < PPSP_PAGES / 64; w++)
        while (t->dirty[w]) {
            unsigned i = w * 64 + (unsigned)__builtin_ctzll(t->dirty[w]);
            enum cv_err err = write_page(t, slot(t, i));
            if (err)
                return err;
            t->dirty[w] &= t->dirty[w] - 1;
        }
    return CV_ERR_OK;
}

void ppsp_tree_trust(struct ppsp_tree *t, ppsp_tree_holds_fn *holds, const void *ctx) {
    t->holds = holds;
    t->holds_ctx = ctx;
}

static bool counts(const struct ppsp_tree *t, ppsp_bin bin) {
    if (!t->holds || bin == t->root_bin || ppsp_bin_first(bin) >= t->chunks)
        return true;
    ppsp_bin parent = ppsp_bin_parent(bin);
    if (ppsp_bin_last(parent) < t->chunks || t->munros)
        return t->holds(t->holds_ctx, ppsp_bin_first(parent), ppsp_bin_last(parent));
    /* peaks and what is above them: known as soon as the size is */
    return t->proven || t->holds(t->holds_ctx, 0, t->chunks - 1);
}

static struct ppsp_page_left *left_find(const struct ppsp_tree *t, uint64_t name) {
    for (unsigned i = 0; t->left && i < PPSP_PAGES; i++)
        if (t->left[i].name == name)
            return &t->left[i];
    return NULL;
}

/* Without memory for it the hashes come again with their chunks. */
static void leave(struct ppsp_tree *t, const struct ppsp_page *page) {
    if (!page->known || t->munros)
        return;
    if (!t->left && !(t->left = calloc(PPSP_PAGES, sizeof *t->left)))
        return;
    struct ppsp_page_left *l = left_find(t, page->name);
    if (!l)
        l = &t->left[t->left_next++ % PPSP_PAGES];
    *l = (struct ppsp_page_left){.name = page->name, .known = page->known};
}

static bool was_known(const struct ppsp_tree *t, const struct ppsp_page *page, unsigned at) {
    const struct ppsp_page_left *l = left_find(t, page->name);
    return l && l->known >> at & 1;
}

/* A hash came from the store. One that does not count stays in its place: it will, when
 * a chunk that it was proven for has come, and nobody sends it again then. */
static void note_known(const struct ppsp_tree *t, struct ppsp_page *page, unsigned at,
                       ppsp_bin bin) {
    if (memcmp(hash_at(t, page, at), zeros, t->hash_len) != 0 &&
        (counts(t, bin) || was_known(t, page, at)))
        page->known |= (uint32_t)1 << at;
}

static enum cv_err load(struct ppsp_tree *t, struct ppsp_page *page, const struct place *at) {
    uint32_t bit = (uint32_t)1 << at->at;
    if (page->loaded & bit)
        return CV_ERR_OK;
    if (at->tier == 0) {
        uint32_t n = page_span(t, at->index);
        enum cv_err err =
            t->store->tree_get(t->store_ctx, at->index * (PPSP_PAGE_NODES + 1), n, page->hash);
        if (err)
            return err;
        for (unsigned i = 0; i < n; i++)
            note_known(t, page, i, bin_of(0, at->index, i));
        page->loaded = UINT32_MAX;
        return CV_ERR_OK;
    }
    enum cv_err err = t->store->tree_get(t->store_ctx, bin_of(at->tier, at->index, at->at), 1,
                                         hash_at(t, page, at->at));
    if (err)
        return err;
    note_known(t, page, at->at, bin_of(at->tier, at->index, at->at));
    page->loaded |= bit;
    return CV_ERR_OK;
}

/* The page that holds a place, read as far as that place. */
static enum cv_err page_for(struct ppsp_tree *t, const struct place *at, unsigned *ret) {
    if (!t->pages && !(t->pages = calloc(PPSP_PAGES, t->page_size)))
        return CV_ERR_NOMEM;
    unsigned i = at->tier == 0 ? (unsigned)(at->index % LEAF_PAGES)
                               : LEAF_PAGES + ((at->tier - 1) * 4 + (unsigned)(at->index & 3)) %
                                                  (PPSP_PAGES - LEAF_PAGES);
    struct ppsp_page *page = slot(t, i);
    uint64_t name = ((uint64_t)at->tier << 56 | at->index) + 1;
    if (page->name != name) {
        if (page->dirty) {
            enum cv_err err = write_page(t, page);
            if (err)
                return err;
            t->dirty[i / 64] &= ~((uint64_t)1 << (i & 63));
        }
        leave(t, page);
        memset(page, 0, t->page_size);
        page->name = name;
    }
    enum cv_err err = load(t, page, at);
    if (err)
        return err;
    *ret = i;
    return CV_ERR_OK;
}

static bool below_munro(const struct ppsp_tree *t, ppsp_bin bin) {
    return t->munros->width && ppsp_bin_level(bin) < t->munros->level;
}

enum cv_err ppsp_tree_get(struct ppsp_tree *t, ppsp_bin bin, const uint8_t **ret) {
    if (t->chunks == 0)
        return CV_ERR_NOENT;
    if (t->munros) {
        const struct ppsp_munro *m = ppsp_munros_get(t->munros, bin);
        if (m)
            *ret = m->hash;
        if (m || !below_munro(t, bin))
            return m ? CV_ERR_OK : CV_ERR_NOENT;
    } else if (bin == t->root_bin) {
        *ret = t->root;
        return CV_ERR_OK;
    }
    if (ppsp_bin_last(bin) > ppsp_bin_last(t->root_bin))
        return CV_ERR_NOENT; /* outside the tree */
    if (ppsp_bin_first(bin) >= t->chunks) {
        *ret = zeros;
        return CV_ERR_OK;
    }
    struct place at = place_of(bin);
    unsigned i;
    enum cv_err err = page_for(t, &at, &i);
    if (err)
        return err;
    struct ppsp_page *page = slot(t, i);
    if (!(page->known >> at.at & 1))
        note_known(t, page, at.at, bin);
    if (!(page->known >> at.at & 1))
        return CV_ERR_NOENT;
    *ret = hash_at(t, page, at.at);
    return CV_ERR_OK;
}

enum cv_err ppsp_tree_put(struct ppsp_tree *t, ppsp_bin bin, const uint8_t *hash) {
    assert(t->chunks > 0 && ppsp_bin_last(bin) <= ppsp_bin_last(t->root_bin));
    if (t->munros && memcmp(hash, zeros, t->hash_len) == 0)
        ppsp_tree_end(t, ppsp_bin_first(bin));
    if (ppsp_bin_first(bin) >= t->chunks)
        return CV_ERR_OK;
    struct place at = place_of(bin);
    unsigned i;
    enum cv_err err = page_for(t, &at, &i);
    if (err)
        return err;
    struct ppsp_page *page = slot(t, i);
    uint32_t bit = (uint32_t)1 << at.at;
    if (page->known & bit && memcmp(hash_at(t, page, at.at), hash, t->hash_len) == 0)
        return CV_ERR_OK; /* else the store was damaged: what is proven counts */
    memcpy(hash_at(t, page, at.at), hash, t->hash_len);
    page->known |= bit;
    page->dirty |= bit;
    t->dirty[i / 64] |= (uint64_t)1 << (i & 63);
    return CV_ERR_OK;
}

/* ---- claims --------------------------------------------------------------- */

void ppsp_pending_add(struct ppsp_pending *p, ppsp_bin bin, const uint8_t *hash, size_t hash_len) {
    uint32_t i;
    for (i = 0; i < p->count; i++)
        if (p->bins[i] == bin)
            break;
    if (i == PPSP_PENDING_HASHES) {
        i = p->next;
        p->next = (p->next + 1) % PPSP_PENDING_HASHES;
    } else if (i == p->count) {
        p->count++;
    }
    p->bins[i] = bin;
    memcpy(p->hashes[i], hash, hash_len);
    p->fresh++;
}

static const uint8_t *pending_find(const struct ppsp_pending *p, ppsp_bin bin) {
    for (uint32_t i = p ? p->count : 0; i-- > 0;)
        if (p->bins[i] == bin)
            return p->hashes[i];
    return NULL;
}

const uint8_t *ppsp_pending_get(const struct ppsp_pending *p, ppsp_bin bin) {
    return pending_find(p, bin);
}

static void pending_drop(struct ppsp_pending *p, ppsp_bin bin) {
    for (uint32_t i = p->count; i-- > 0;)
        if (p->bins[i] == bin) {
            uint32_t last = --p->count;
            p->bins[i] = p->bins[last];
            memcpy(p->hashes[i], p->hashes[last], sizeof p->hashes[i]);
            return;
        }
}

/* Nothing is above it that could prove it: it is sure by itself. */
static bool is_top(const struct ppsp_tree *t, ppsp_bin bin) {
    return t->munros ? !below_munro(t, bin) : bin == t->root_bin;
}

static void combine_up(const struct ppsp_tree *t, ppsp_bin bin, const uint8_t *hash,
                       const uint8_t *sibling, uint8_t *ret) {
    if (ppsp_bin_is_left(bin))
        ppsp_tree_combine(t, hash, sibling, ret);
    else
        ppsp_tree_combine(t, sibling, hash, ret);
}

enum cv_err ppsp_tree_sure(struct ppsp_tree *t, ppsp_bin bin) {
    uint8_t hash[CV_SHA_MAX];
    const uint8_t *known;
    enum cv_err err = ppsp_tree_get(t, bin, &known);
    if (err)
        return err;
    memcpy(hash, known, t->hash_len);
    for (; !is_top(t, bin); bin = ppsp_bin_parent(bin)) {
        err = ppsp_tree_get(t, ppsp_bin_sibling(bin), &known);
        if (err)
            return err;
        combine_up(t, bin, hash, known, hash);
        err = ppsp_tree_get(t, ppsp_bin_parent(bin), &known);
        if (err)
            return err;
        if (memcmp(hash, known, t->hash_len) != 0)
            return CV_ERR_NOENT;
    }
    return CV_ERR_OK;
}

/* Way from a node up to the first known one that it leads to. */
struct climb {
    unsigned steps;
    ppsp_bin bins[64];
    uint8_t hashes[64][CV_SHA_MAX]; /* one more than steps: that of the known node */
    uint8_t siblings[64][CV_SHA_MAX];
};

/*
 * Follows the hashes upwards. CV_ERR_NOENT when one is missing before a known
 * node is reached. Nothing is hashed before a known node is reached, so that
 * claims that lead nowhere cost nothing. A known node that does not fit may be
 * damaged (it came from the store): the way goes on to the next, and when it leads
 * nowhere, the claim is wrong only if the node is sure.
 */
static enum cv_err climb(struct ppsp_tree *t, const struct ppsp_pending *p, ppsp_bin bin,
                         const uint8_t *hash, struct climb *c) {
    const uint8_t *known, *sib;
    ppsp_bin wrong = PPSP_BIN_NONE;
    unsigned hashed = 0;
    c->steps = 0;
    memcpy(c->hashes[0], hash, t->hash_len);
    for (ppsp_bin b = bin;; b = ppsp_bin_parent(b)) {
        enum cv_err err = ppsp_tree_get(t, b, &known);
        if (err == CV_ERR_OK) {
            uint8_t want[CV_SHA_MAX];
            memcpy(want, known, t->hash_len);
            for (; hashed < c->steps; hashed++)
                combine_up(t, c->bins[hashed], c->hashes[hashed], c->siblings[hashed],
                           c->hashes[hashed + 1]);
            if (memcmp(c->hashes[c->steps], want, t->hash_len) == 0)
                return CV_ERR_OK;
            wrong = wrong == PPSP_BIN_NONE ? b : wrong;
        }
        if (err == CV_ERR_OK && is_top(t, b))
            break;
        if (err != CV_ERR_OK && err != CV_ERR_NOENT)
            return err;
        if (t->chunks == 0 || ppsp_bin_last(b) > ppsp_bin_last(t->root_bin) || is_top(t, b))
            return CV_ERR_NOENT;
        err = ppsp_tree_get(t, ppsp_bin_sibling(b), &sib);
        if (err == CV_ERR_NOENT) {
            sib = pending_find(p, ppsp_bin_sibling(b));
            err = sib ? CV_ERR_OK : CV_ERR_NOENT;
        }
        if (err == CV_ERR_NOENT && wrong != PPSP_BIN_NONE)
            break;
        if (err)
            return err;
        c->bins[c->steps] = b;
        memcpy(c->siblings[c->steps], sib, t->hash_len);
        c->steps++;
    }
    enum cv_err err = ppsp_tree_sure(t, wrong);
    return err ? err : CV_ERR_AUTH;
}

/* All of the way is right: from the top, so that a failure leaves no gap. */
static enum cv_err adopt(struct ppsp_tree *t, struct ppsp_pending *p, const struct climb *c) {
    for (unsigned i = c->steps; i-- > 0;) {
        enum cv_err err = ppsp_tree_put(t, c->bins[i], c->hashes[i]);
        if (!err)
            err = ppsp_tree_put(t, ppsp_bin_sibling(c->bins[i]), c->siblings[i]);
        if (err)
            return err;
        if (p) {
            pending_drop(p, c->bins[i]);
            pending_drop(p, ppsp_bin_sibling(c->bins[i]));
        }
    }
    return CV_ERR_OK;
}

static enum cv_err prove(struct ppsp_tree *t, struct ppsp_pending *p, ppsp_bin bin,
                         const uint8_t *hash) {
    struct climb c;
    enum cv_err err = climb(t, p, bin, hash, &c);
    return err ? err : adopt(t, p, &c);
}

enum cv_err ppsp_tree_check(struct ppsp_tree *t, struct ppsp_pending *p, uint64_t chunk,
                            const uint8_t *hash) {
    const uint8_t *known;
    enum cv_err err = ppsp_tree_get(t, ppsp_bin_leaf(chunk), &known);
    if (err == CV_ERR_OK && memcmp(known, hash, t->hash_len) == 0)
        return CV_ERR_OK;
    if (err != CV_ERR_OK && err != CV_ERR_NOENT)
        return err;
    return prove(t, p, ppsp_bin_leaf(chunk), hash);
}

/* Can the claim for `bin` be proven now, with that for its sibling? */
static enum cv_err resolve_one(struct ppsp_pending *p, struct ppsp_tree *t, ppsp_bin bin) {
    const uint8_t *hash = pending_find(p, bin);
    if (!hash)
        return CV_ERR_OK; /* proven with its sibling */
    uint8_t copy[CV_SHA_MAX];
    memcpy(copy, hash, t->hash_len);
    enum cv_err err = prove(t, p, bin, copy);
    if (err == CV_ERR_OK)
        pending_drop(p, bin); /* also when it was known without climbing */
    return err == CV_ERR_NOENT ? CV_ERR_OK : err;
}

enum cv_err ppsp_pending_resolve(struct ppsp_pending *p, struct ppsp_tree *t) {
    ppsp_bin fresh[PPSP_PENDING_HASHES];
    uint32_t n = p->fresh < p->count ? p->fresh : p->count;
    p->fresh = 0;
    if (p->count == PPSP_PENDING_HASHES)
        n = p->count;
    memcpy(fresh, p->bins + p->count - n, n * sizeof *fresh);
    for (uint32_t i = 0; i < n; i++) {
        enum cv_err err = resolve_one(p, t, fresh[i]);
        if (err)
            return err;
    }
    return CV_ERR_OK;
}

/* ---- peaks ---------------------------------------------------------------- */

void ppsp_peaks_offer(struct ppsp_peaks *k, ppsp_bin bin, const uint8_t *hash, size_t hash_len) {
    uint64_t expect = k->count ? ppsp_bin_last(k->bins[k->count - 1]) + 1 : 0;
    bool smaller = !k->count || ppsp_bin_level(bin) < ppsp_bin_level(k->bins[k->count - 1]);
    if (k->broken || k->count == 48 || ppsp_bin_first(bin) != expect || !smaller) {
        k->broken = true;
        return;
    }
    k->bins[k->count] = bin;
    memcpy(k->hashes[k->count], hash, hash_len);
    k->count++;
}

/* From the last peak up: a left child's sibling is padding, a right child's
 * sibling is the peak before it (section 5.6.1). */
enum cv_err ppsp_peaks_check(struct ppsp_tree *t, const struct ppsp_peaks *k, bool keep,
                             uint64_t *ret_chunks) {
    if (k->count == 0)
        return CV_ERR_AUTH;
    uint64_t chunks = ppsp_bin_last(k->bins[k->count - 1]) + 1;
    if (chunks >= PPSP_CHUNKS_MAX)
        return CV_ERR_AUTH;
    ppsp_bin top = ppsp_bin_root(chunks), bin = k->bins[k->count - 1];
    unsigned left = k->count - 1;
    uint8_t h[CV_SHA_MAX];
    memcpy(h, k->hashes[left], t->hash_len);
    while (bin != top) {
        if (keep) {
            enum cv_err err = ppsp_tree_put(t, bin, h);
            if (err)
                return err;
        }
        if (ppsp_bin_is_left(bin)) {
            ppsp_tree_combine(t, h, zeros, h);
        } else {
            assert(left > 0 && k->bins[left - 1] == ppsp_bin_sibling(bin));
            left--;
            ppsp_tree_combine(t, k->hashes[left], h, h);
            if (keep) {
                enum cv_err err = ppsp_tree_put(t, k->bins[left], k->hashes[left]);
                if (err)
                    return err;
            }
        }
        bin = ppsp_bin_parent(bin);
    }
    assert(left == 0);
    if (memcmp(h, t->root, t->hash_len) != 0)
        return CV_ERR_AUTH;
    *ret_chunks = chunks;
    return CV_ERR_OK;
}

enum cv_err ppsp_tree_prove_stored(struct ppsp_tree *t) {
    struct ppsp_peaks *k = calloc(1, sizeof *k);
    if (!k)
        return CV_ERR_NOMEM;
    uint64_t chunks = 0;
    enum cv_err err = CV_ERR_OK;
    ppsp_bin peaks[48];
    unsigned n = ppsp_bin_peaks(t->chunks, peaks);
    for (unsigned i = 0; i < n && !err; i++) {
        const uint8_t *h;
        err = ppsp_tree_get(t, peaks[i], &h);
        if (!err)
            ppsp_peaks_offer(k, peaks[i], h, t->hash_len);
    }
    if (err == CV_ERR_NOENT)
        err = CV_ERR_CORRUPT;
    if (!err)
        err = ppsp_peaks_check(t, k, false, &chunks) ? CV_ERR_CORRUPT : CV_ERR_OK;
    free(k);
    if (!err)
        t->proven = true;
    return err;
}
