/*
 * The Merkle hash tree of one swarm (RFC 7574 section 5): which nodes are
 * known to be right, kept in the store by bin number with a few pages in
 * memory. A node enters only when a chain of hashes leads from it to a node
 * that was known before, in the end to the root hash: so every known node is
 * a right node.
 *
 * What a peer says about hashes waits in a ppsp_pending of its channel until
 * it can be proven; a contradiction therefore names the peer.
 */
#ifndef CULVERT_PPSP_MERKLE_H
#define CULVERT_PPSP_MERKLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "crypto/hash.h"
#include "ppsp/bin.h"
#include "ppsp/limits.h"
#include "ppsp/store.h"

struct ppsp_munros;
struct ppsp_page;

/* Some of the chunks first..last are held, so that peers were told about them. */
typedef bool ppsp_tree_holds_fn(const void *ctx, uint64_t first, uint64_t last);

struct ppsp_tree {
    enum cv_sha alg;
    size_t hash_len;
    const struct ppsp_store_ops *store; /* borrowed */
    void *store_ctx;
    ppsp_tree_holds_fn *holds;        /* NULL: every stored hash counts */
    const void *holds_ctx;            /* borrowed */
    const struct ppsp_munros *munros; /* live: what is known instead of a root; borrowed */
    uint8_t root[CV_SHA_MAX];
    uint64_t chunks;         /* 0: not known */
    bool proven;             /* the peaks were checked against the root */
    ppsp_bin root_bin;       /* valid when chunks is not 0 */
    struct ppsp_page *pages; /* PPSP_PAGES of them, or NULL while idle */
    size_t page_size;
    struct ppsp_page_left *left; /* what PPSP_PAGES others were, or NULL */
    unsigned left_next;
    uint64_t dirty[PPSP_PAGES / 64]; /* pages to be written */
};

static_assert(PPSP_PAGES % 64 == 0, "dirty is whole words");

void ppsp_tree_init(struct ppsp_tree *t, enum cv_sha alg, const uint8_t *root,
                    const struct ppsp_store_ops *store, void *store_ctx);
void ppsp_tree_done(struct ppsp_tree *t);

/*
 * Which stored hashes count. A crash leaves some of those that were never
 * committed: a node without its sibling, or worse. A node of the store is
 * therefore known only when a chunk under its parent is held, because then it
 * was committed with it, and because exactly then a peer that heard of that
 * chunk will not send the node again. What was proven since the tree was opened and gave
 * its slot to another page counts, too: its chunks are on their way.
 */
void ppsp_tree_trust(struct ppsp_tree *t, ppsp_tree_holds_fn *holds, const void *ctx);

/*
 * A live swarm's tree (section 6.1.2): known nodes lead to a signed munro, none
 * is above one, and there is no root. `chunks` is PPSP_CHUNKS_MAX - 1 until a node
 * is proven to be padding, or ppsp_tree_end(): then it is the number of chunks.
 */
void ppsp_tree_live(struct ppsp_tree *t, const struct ppsp_munros *munros);
void ppsp_tree_end(struct ppsp_tree *t, uint64_t chunks);

/* Forgets cached pages (what is dirty is lost: flush before). */
void ppsp_tree_idle(struct ppsp_tree *t);

/* How many chunks there are, from a trusted place or from proven peaks. */
void ppsp_tree_size(struct ppsp_tree *t, uint64_t chunks);

/*
 * *ret points at the known hash of a node until the next call; padding beyond
 * the last chunk is known to be zeros. CV_ERR_NOENT: not known; or an error of
 * the store.
 */
enum cv_err ppsp_tree_get(struct ppsp_tree *t, ppsp_bin bin, const uint8_t **ret);

/*
 * Is the known hash of a node really right? What came from the store is believed
 * unread; this hashes the way from the node up to what cannot be damaged, the root
 * or a munro. CV_ERR_NOENT: it is not, or a hash of the way is missing; or an error
 * of the store.
 */
enum cv_err ppsp_tree_sure(struct ppsp_tree *t, ppsp_bin bin);

/* Makes a proven hash known, also in the place of a damaged one. Errors: the store could not be
 * read, or had to be written and could not; the node is then not remembered. */
enum cv_err ppsp_tree_put(struct ppsp_tree *t, ppsp_bin bin, const uint8_t *hash);

/* Writes what is new. On error the rest stays to be written. */
enum cv_err ppsp_tree_flush(struct ppsp_tree *t);

/* H(left || right); zeros for two paddings (section 5.1). */
void ppsp_tree_combine(const struct ppsp_tree *t, const uint8_t *left, const uint8_t *right,
                       uint8_t *ret);

/*
 * Checks that stored peaks lead to the root hash: what a store must show
 * before its chunks count. CV_ERR_CORRUPT when not; else `proven` is set.
 */
enum cv_err ppsp_tree_prove_stored(struct ppsp_tree *t);

/* ---- what a peer claims --------------------------------------------------- */

struct ppsp_pending {
    uint32_t count, next; /* next: overwritten when full */
    uint32_t fresh;       /* claims since the last ppsp_pending_resolve() */
    ppsp_bin bins[PPSP_PENDING_HASHES];
    uint8_t hashes[PPSP_PENDING_HASHES][CV_SHA_MAX];
};

/* Peaks arrive before anything else, left to right (section 5.6). */
struct ppsp_peaks {
    unsigned count; /* of candidates that continue each other */
    bool broken;    /* something else came: the list is complete */
    ppsp_bin bins[48];
    uint8_t hashes[48][CV_SHA_MAX];
};

/* Gives the next node of an INTEGRITY run to the list of peaks. */
void ppsp_peaks_offer(struct ppsp_peaks *k, ppsp_bin bin, const uint8_t *hash, size_t hash_len);

/*
 * Checks the peaks against the root. *ret_chunks is how many chunks they
 * prove. With `keep`, the peaks and all nodes above them become known (the
 * tree's size must have been set to *ret_chunks). CV_ERR_AUTH: they do not
 * lead to the root, or there are none.
 */
enum cv_err ppsp_peaks_check(struct ppsp_tree *t, const struct ppsp_peaks *k, bool keep,
                             uint64_t *ret_chunks);

/* Remembers an unproven hash; when there is no room the oldest goes. */
void ppsp_pending_add(struct ppsp_pending *p, ppsp_bin bin, const uint8_t *hash, size_t hash_len);

/* What is claimed for a node, or NULL. `p` may be NULL. Valid until the next call. */
const uint8_t *ppsp_pending_get(const struct ppsp_pending *p, ppsp_bin bin);

/*
 * Proves as many of the fresh hashes as possible; proven ones become known and
 * leave. CV_ERR_AUTH: two of them contradict the tree, their sender is bad.
 * Errors of the store: try again later.
 */
enum cv_err ppsp_pending_resolve(struct ppsp_pending *p, struct ppsp_tree *t);

/*
 * Checks the hash of a chunk, with the help of `p` (may be NULL). CV_ERR_OK:
 * right, and all nodes on its way are known now. CV_ERR_NOENT: hashes are
 * missing. CV_ERR_AUTH: wrong. Or an error of the store.
 */
enum cv_err ppsp_tree_check(struct ppsp_tree *t, struct ppsp_pending *p, uint64_t chunk,
                            const uint8_t *hash);

#endif
