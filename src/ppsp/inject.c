/* The source of a live swarm: chunks are gathered until a munro is full, hashed,
 * signed, and given to the same store and the same news as any peer's. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "ppsp/engine.h"

/* Segments that may wait for the store before more is refused. */
enum { BUSY = PPSP_STAGE_SEGMENTS / 2 };

static uint32_t width_of(const struct ppsp_live *l) {
    return l->sign_all ? 1 : l->config.munro_chunks;
}

enum cv_err ppsp_inject_open(struct ppsp_swarm *s) {
    struct ppsp_live *l = s->live;
    uint32_t width = width_of(l);
    if (l->config.next_chunk % width != 0 || l->config.next_chunk >= PPSP_CHUNKS_MAX / 2)
        return CV_ERR_INVAL;
    l->chunks = calloc(width, s->config.chunk_size);
    l->nodes = calloc(2 * (size_t)width, s->hash_len);
    enum cv_err err = l->chunks && l->nodes ? ppsp_munros_begin(&l->munros, width, l->config.window)
                                            : CV_ERR_NOMEM;
    if (err)
        return err;
    l->next = l->config.next_chunk;
    l->whole = l->next == 0;
    l->tuned = true;
    l->cursor = l->first = s->chunks = l->next;
    ppsp_crown_init(&l->crown, s->config.hash, width);
    return CV_ERR_OK;
}

/* ---- the subtree of what was gathered ----------------------------------------------- */

static uint8_t *node(const struct ppsp_swarm *s, ppsp_bin bin) {
    return s->live->nodes + (bin - 2 * s->live->next) * s->hash_len;
}

/* Chunk i of the munro has come: its leaf, and every node that it completes. */
static void hash_up(struct ppsp_swarm *s, uint32_t i, const uint8_t *leaf) {
    ppsp_bin bin = ppsp_bin_leaf(s->live->next + i);
    memcpy(node(s, bin), leaf, s->hash_len);
    for (; i & 1; i >>= 1) {
        ppsp_bin parent = ppsp_bin_parent(bin);
        ppsp_tree_combine(&s->tree, node(s, ppsp_bin_left(parent)), node(s, bin), node(s, parent));
        bin = parent;
    }
}

/* ---- sealing -------------------------------------------------------------------------- */

static enum cv_err sign(struct ppsp_swarm *s, struct cv_now now, const uint8_t *what, size_t len,
                        uint64_t *ret_ntp, uint8_t *sig) {
    struct ppsp_live *l = s->live;
    struct ppsp_range range = {l->next, l->next + width_of(l) - 1};
    *ret_ntp = ppsp_ntp(now.wall);
    size_t n =
        ppsp_munro_text(&s->spec, &range, *ret_ntp, what, len, s->p->scratch, s->p->scratch_size);
    if (!n || l->config.sign(l->config.sign_ctx, s->p->scratch, n, sig) != l->munros.sig_len)
        return CV_ERR_DENIED;
    return CV_ERR_OK;
}

/* All nodes below the munro, so that any chunk can be given with its hashes. */
static enum cv_err keep_nodes(struct ppsp_swarm *s, ppsp_bin top) {
    struct ppsp_live *l = s->live;
    for (ppsp_bin bin = 2 * l->next; bin < 2 * (l->next + width_of(l)) - 1; bin++) {
        enum cv_err err = ppsp_bin_first(bin) < l->next + l->waiting && bin != top
                              ? ppsp_tree_put(&s->tree, bin, node(s, bin))
                              : CV_ERR_OK;
        if (err)
            return err;
    }
    return CV_ERR_OK;
}

static enum cv_err keep_chunks(struct ppsp_swarm *s, cv_usec now) {
    struct ppsp_live *l = s->live;
    for (uint32_t i = 0; i < l->waiting; i++) {
        size_t len = i + 1 < l->waiting ? s->config.chunk_size : l->last_len;
        enum cv_err err =
            ppsp_stage_add(s, now, l->next + i, l->chunks + (size_t)i * s->config.chunk_size, len);
        if (err)
            return err;
    }
    return CV_ERR_OK;
}

/* Nothing is told to anybody before this is done (section 6.1.2.3). */
static enum cv_err seal(struct ppsp_swarm *s, struct cv_now now) {
    struct ppsp_live *l = s->live;
    ppsp_bin top = ppsp_bin_at(l->munros.level, l->next >> l->munros.level);
    uint8_t sig[CV_DNSSEC_SIGNATURE_MAX];
    uint64_t ntp;
    enum cv_err err = l->sign_all ? sign(s, now, l->chunks, l->last_len, &ntp, sig)
                                  : sign(s, now, node(s, top), s->hash_len, &ntp, sig);
    if (err)
        return err;
    (void)ppsp_munros_put(&l->munros, top, ntp, now.mono, node(s, top), sig);
    l->newest_ntp = ntp;
    if (!l->sign_all && l->waiting)
        ppsp_crown_add(&l->crown, node(s, top));
    ppsp_live_edge(s, now.mono, l->next + l->waiting);
    err = l->sign_all ? CV_ERR_OK : keep_nodes(s, top);
    if (!err)
        err = keep_chunks(s, now.mono);
    l->next += width_of(l);
    l->waiting = 0;
    memset(l->nodes, 0, 2 * (size_t)width_of(l) * s->hash_len);
    return err;
}

static struct ppsp_live *injector(const struct ppsp *p, cv_handle swarm, struct ppsp_swarm **ret) {
    *ret = ppsp_swarm_find(p, swarm);
    return *ret && (*ret)->live && (*ret)->live->config.sign ? (*ret)->live : NULL;
}

enum cv_err ppsp_inject(struct ppsp *p, struct cv_now now, cv_handle swarm, const uint8_t *chunk,
                        size_t len) {
    struct ppsp_swarm *s;
    struct ppsp_live *l = injector(p, swarm, &s);
    if (!l)
        return CV_ERR_NOENT;
    if (l->sealed || len == 0 || len > s->config.chunk_size ||
        (l->waiting && l->last_len < s->config.chunk_size))
        return CV_ERR_INVAL;
    if (s->paused || s->segment_count >= BUSY)
        return s->paused ? CV_ERR_FULL : CV_ERR_AGAIN;
    if (l->waiting == width_of(l)) { /* could not be signed: again, before there is more */
        enum cv_err err = seal(s, now);
        return err ? err : CV_ERR_AGAIN;
    }
    uint8_t leaf[CV_SHA_MAX];
    memcpy(l->chunks + (size_t)l->waiting * s->config.chunk_size, chunk, len);
    l->last_len = len;
    if (!l->sign_all) {
        cv_sha(s->config.hash, leaf, chunk, len);
        hash_up(s, l->waiting, leaf);
    }
    if (++l->waiting < width_of(l))
        return CV_ERR_OK;
    return seal(s, now);
}

/* ---- the end ---------------------------------------------------------------------------- */

/* The root hash that static content of these chunks has: small trees end below a
 * munro, the others at the crown. */
static void find_root(struct ppsp_swarm *s, uint64_t chunks) {
    struct ppsp_live *l = s->live;
    if (chunks > width_of(l))
        l->whole = ppsp_crown_root(&l->crown, l->root);
    else
        memcpy(l->root, node(s, ppsp_bin_root(chunks)), s->hash_len);
}

enum cv_err ppsp_inject_end(struct ppsp *p, struct cv_now now, cv_handle swarm) {
    static const uint8_t padding[CV_SHA_MAX];
    struct ppsp_swarm *s;
    struct ppsp_live *l = injector(p, swarm, &s);
    if (!l)
        return CV_ERR_NOENT;
    if (l->sealed)
        return CV_ERR_OK;
    if (s->paused || s->segment_count >= BUSY)
        return s->paused ? CV_ERR_FULL : CV_ERR_AGAIN;
    uint64_t chunks = l->next + l->waiting;
    l->sealed = true;
    if (l->sign_all || chunks == 0) {
        l->whole = false;
        ppsp_live_end(s, chunks);
        return CV_ERR_OK;
    }
    for (uint32_t i = l->waiting; i < width_of(l); i++)
        hash_up(s, i, padding);
    bool small = l->whole && chunks <= width_of(l) && l->waiting;
    if (small)
        find_root(s, chunks);
    else if (l->whole && l->waiting == 0 && chunks <= width_of(l))
        l->whole = ppsp_crown_root(&l->crown, l->root); /* exactly one munro */
    ppsp_tree_end(&s->tree, chunks);
    enum cv_err err = seal(s, now);
    if (l->whole && chunks > width_of(l))
        find_root(s, chunks);
    ppsp_live_end(s, chunks);
    return err;
}

bool ppsp_live_root(const struct ppsp *p, cv_handle swarm, uint8_t ret[CV_SHA_MAX]) {
    struct ppsp_swarm *s;
    const struct ppsp_live *l = injector(p, swarm, &s);
    if (!l || !l->sealed || !l->whole)
        return false;
    memcpy(ret, l->root, s->hash_len);
    return true;
}

uint64_t ppsp_inject_next(const struct ppsp *p, cv_handle swarm) {
    struct ppsp_swarm *s;
    const struct ppsp_live *l = injector(p, swarm, &s);
    return l ? l->next : 0;
}
