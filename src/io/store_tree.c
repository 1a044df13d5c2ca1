#include "io/store_tree.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io/file.h"
#include "io/store_priv.h"
#include "ppsp/build.h"

enum {
    GROUP_LEVEL = 4,
    GROUP = 1 << GROUP_LEVEL, /* chunks */
    NODES = 2 * GROUP - 1,
    ROOT = GROUP - 1,       /* the group's root among its nodes */
    BLOCK_HASHES = 128,     /* a block of `tree` in memory */
    HASHED_AT_ONCE = 65536, /* octets read to make leaves of; a chunk at least */
};

static_assert(NODES == PPSP_BUILD_RUN, "a group is a group");

static const uint8_t zeros[CV_SHA_MAX];

static enum cv_err failed(struct io_store *s, const char *path) {
    enum cv_err err = io_why_errno(&s->why, path, errno);
    return err == CV_ERR_FULL ? CV_ERR_FULL : CV_ERR_STORE;
}

void io_tree_drop(struct io_store *s) {
    free(s->tree_memory.blocks);
    free(s->tree_memory.pages);
    s->tree_memory.blocks = NULL;
    s->tree_memory.pages = NULL;
    io_leaves_drop(&s->tree_memory.made);
}

/* ---- from a group's root upwards ------------------------------------------------ */

static size_t block_octets(const struct io_store *s) {
    return BLOCK_HASHES * s->hash_len;
}

static uint8_t *block_data(struct io_store *s, unsigned i) {
    return (uint8_t *)(s->tree_memory.blocks + IO_TREE_BLOCKS) + i * block_octets(s);
}

static enum cv_err write_block(struct io_store *s, unsigned i) {
    struct io_tree_slot *b = &s->tree_memory.blocks[i];
    if (!b->dirty)
        return CV_ERR_OK;
    if (io_file_pwrite(s->tree, block_data(s, i), block_octets(s),
                       (b->name - 1) * block_octets(s)) != 0)
        return failed(s, s->where);
    b->dirty = false;
    return CV_ERR_OK;
}

/* The slot that was not used for the longest time. */
static unsigned oldest(const struct io_tree_slot *slots, unsigned count) {
    unsigned best = 0;
    for (unsigned i = 1; i < count; i++)
        if (slots[i].used < slots[best].used)
            best = i;
    return best;
}

/* The block that holds a hash by its number in the file. */
static enum cv_err block_for(struct io_store *s, uint64_t number, uint8_t **ret,
                             struct io_tree_slot **ret_slot) {
    struct io_tree_memory *m = &s->tree_memory;
    uint64_t name = number / BLOCK_HASHES + 1;
    unsigned i;
    if (!m->blocks)
        m->blocks = calloc(1, IO_TREE_BLOCKS * (sizeof *m->blocks + block_octets(s)));
    if (!m->blocks)
        return CV_ERR_NOMEM;
    for (i = 0; i < IO_TREE_BLOCKS && m->blocks[i].name != name; i++)
        ;
    if (i == IO_TREE_BLOCKS) {
        i = oldest(m->blocks, IO_TREE_BLOCKS);
        enum cv_err err = write_block(s, i);
        if (err)
            return err;
        m->blocks[i].name = 0;
        ssize_t n =
            io_file_pread(s->tree, block_data(s, i), block_octets(s), (name - 1) * block_octets(s));
        if (n < 0)
            return failed(s, s->where);
        memset(block_data(s, i) + n, 0, block_octets(s) - (size_t)n);
        m->blocks[i].name = name;
    }
    m->blocks[i].used = ++m->clock;
    *ret = block_data(s, i) + number % BLOCK_HASHES * s->hash_len;
    *ret_slot = &m->blocks[i];
    return CV_ERR_OK;
}

static enum cv_err upper_get(struct io_store *s, uint64_t bin, uint8_t *hash) {
    uint8_t *at;
    struct io_tree_slot *slot;
    enum cv_err err = block_for(s, bin >> GROUP_LEVEL, &at, &slot);
    if (!err)
        memcpy(hash, at, s->hash_len);
    return err;
}

static enum cv_err upper_put(struct io_store *s, uint64_t bin, const uint8_t *hash) {
    uint8_t *at;
    struct io_tree_slot *slot;
    if (memcmp(hash, zeros, s->hash_len) == 0) /* not known, and was not before */
        return CV_ERR_OK;
    enum cv_err err = block_for(s, bin >> GROUP_LEVEL, &at, &slot);
    if (err || memcmp(at, hash, s->hash_len) == 0)
        return err;
    memcpy(at, hash, s->hash_len);
    slot->dirty = true;
    return CV_ERR_OK;
}

/* ---- below a group's root --------------------------------------------------------- */

static uint8_t *page_data(struct io_store *s, unsigned i) {
    return (uint8_t *)(s->tree_memory.pages + IO_TREE_PAGES) + i * NODES * s->hash_len;
}

static uint64_t chunks_of(const struct io_store *s, uint64_t group) {
    uint64_t first = group * GROUP;
    if (first >= s->header.chunks)
        return 0;
    uint64_t left = s->header.chunks - first;
    return left < GROUP ? left : GROUP;
}

bool io_tree_complete(const struct io_store *s, uint64_t group) {
    uint64_t all = (UINT64_C(1) << chunks_of(s, group)) - 1, first = group * GROUP;
    if (all == 0 || s->header.shared)
        return all != 0;
    return first / 64 < s->word_count && (s->words[first / 64] >> first % 64 & all) == all;
}

bool io_tree_whole(const struct io_store *s) {
    return s->header.chunks > GROUP && 2 * s->hash_len * IO_TREE_SHARE <= s->header.chunk_size;
}

/* No node over a chunk is missing. */
static bool all_known(const struct io_store *s, uint64_t group, const uint8_t *nodes) {
    uint64_t count = chunks_of(s, group);
    for (uint64_t bin = 0; bin < NODES; bin++)
        if (ppsp_bin_first(bin) < count &&
            memcmp(nodes + bin * s->hash_len, zeros, s->hash_len) == 0)
            return false;
    return true;
}

/* So that nobody has to make them. */
static void remember(struct io_store *s, uint64_t group, const uint8_t *leaves) {
    uint64_t groups = (s->header.chunks + GROUP - 1) / GROUP;
    io_leaves_put(&s->tree_memory.made, groups, GROUP * s->hash_len, group, leaves);
}

static void remember_page(struct io_store *s, uint64_t group, const uint8_t *nodes) {
    uint8_t leaves[GROUP * CV_SHA_MAX];
    if (!all_known(s, group, nodes))
        return;
    for (unsigned i = 0; i < GROUP; i++)
        memcpy(leaves + i * s->hash_len, nodes + 2 * i * s->hash_len, s->hash_len);
    remember(s, group, leaves);
}

static enum cv_err write_page(struct io_store *s, unsigned i) {
    struct io_tree_slot *p = &s->tree_memory.pages[i];
    if (!p->dirty)
        return CV_ERR_OK;
    uint64_t group = p->name - 1;
    bool stored = io_tree_whole(s) || !io_tree_complete(s, group);
    if (!stored)
        remember_page(s, group, page_data(s, i));
    if (stored && io_file_pwrite(s->leaves, page_data(s, i), NODES * s->hash_len,
                                 group * 2 * GROUP * s->hash_len) != 0)
        return failed(s, s->where);
    p->dirty = false;
    return CV_ERR_OK;
}

static unsigned page_find(const struct io_store *s, uint64_t group) {
    const struct io_tree_slot *pages = s->tree_memory.pages;
    unsigned i = 0;
    while (pages && i < IO_TREE_PAGES && pages[i].name != group + 1)
        i++;
    return pages ? i : IO_TREE_PAGES;
}

static enum cv_err page_put(struct io_store *s, uint64_t group, const uint8_t *hashes,
                            uint32_t count) {
    struct io_tree_memory *m = &s->tree_memory;
    if (!m->pages)
        m->pages = calloc(1, IO_TREE_PAGES * (sizeof *m->pages + NODES * s->hash_len));
    if (!m->pages)
        return CV_ERR_NOMEM;
    unsigned i = page_find(s, group);
    if (i == IO_TREE_PAGES) {
        i = oldest(m->pages, IO_TREE_PAGES);
        enum cv_err err = write_page(s, i);
        if (err)
            return err;
        memset(page_data(s, i), 0, NODES * s->hash_len);
        m->pages[i].name = group + 1;
    }
    memcpy(page_data(s, i), hashes, count * s->hash_len);
    m->pages[i].dirty = true;
    m->pages[i].used = ++m->clock;
    return CV_ERR_OK;
}

/* Hashes the chunks of a complete group anew. */
static enum cv_err make_leaves(struct io_store *s, uint64_t group, uint8_t *leaves) {
    uint64_t chunk = group * GROUP, end = chunk + chunks_of(s, group);
    size_t size = s->header.chunk_size, at_once = HASHED_AT_ONCE / size ? HASHED_AT_ONCE / size : 1;
    at_once = at_once > GROUP ? GROUP : at_once;
    uint8_t *data = malloc(at_once * size);
    enum cv_err err = data ? CV_ERR_OK : CV_ERR_NOMEM;
    while (!err && chunk < end) {
        size_t n = end - chunk < at_once ? (size_t)(end - chunk) : at_once, len = 0;
        err = io_store_ops.read_chunks(s, chunk, (uint32_t)n, data, at_once * size, &len);
        for (size_t at = 0; !err && at < len; at += size, leaves += s->hash_len)
            ppsp_build_leaf((enum cv_sha)s->header.alg, data + at,
                            len - at < size ? len - at : size, leaves);
        chunk += n;
    }
    free(data);
    return err;
}

/* The leaves of a complete group, if they need not be made; valid until the next call. */
static const uint8_t *remembered(struct io_store *s, uint64_t group) {
    unsigned i = page_find(s, group);
    if (i < IO_TREE_PAGES && !io_tree_whole(s))
        remember_page(s, group, page_data(s, i));
    return io_leaves_get(&s->tree_memory.made, group);
}

/* The nodes over leaves, if they lead to the stored root. */
static bool nodes_over(const struct io_store *s, uint64_t group, const uint8_t *leaves,
                       const uint8_t *root, uint8_t *nodes) {
    unsigned count = (unsigned)chunks_of(s, group);
    ppsp_build_group((enum cv_sha)s->header.alg, leaves, count, nodes);
    bool alone = s->header.chunks <= GROUP; /* then a group's root may lie above the tree's */
    const uint8_t *made = nodes + (alone ? ppsp_bin_root(count) : ROOT) * s->hash_len;
    /* The root hash of small content is known to whoever fetches it, not to us. */
    bool known = memcmp(root, zeros, s->hash_len) != 0;
    return known ? memcmp(root, made, s->hash_len) == 0 : alone;
}

/* The nodes of a complete group, checked against the stored root. */
static enum cv_err make_nodes(struct io_store *s, uint64_t group, const uint8_t *root,
                              uint8_t *nodes) {
    uint8_t fresh[GROUP * CV_SHA_MAX] = {0};
    const uint8_t *leaves = remembered(s, group);
    if (leaves && nodes_over(s, group, leaves, root, nodes))
        return CV_ERR_OK;
    enum cv_err err = make_leaves(s, group, fresh);
    if (err)
        return err;
    if (nodes_over(s, group, fresh, root, nodes)) {
        remember(s, group, fresh);
        return CV_ERR_OK;
    }
    io_why_set(&s->why, "%s: was changed by somebody else; %s", s->data_where,
               s->header.shared ? "share it again" : "fetch it again");
    return CV_ERR_CORRUPT;
}

/* What was put of a group's nodes. */
static enum cv_err stored_nodes(struct io_store *s, uint64_t group, uint8_t *nodes) {
    unsigned i = page_find(s, group);
    if (i < IO_TREE_PAGES) {
        memcpy(nodes, page_data(s, i), NODES * s->hash_len);
    } else if (s->leaves >= 0) { /* also without any chunk: the last group may hold peaks */
        ssize_t n =
            io_file_pread(s->leaves, nodes, NODES * s->hash_len, group * 2 * GROUP * s->hash_len);
        if (n < 0)
            return failed(s, s->where);
        memset(nodes + n, 0, NODES * s->hash_len - (size_t)n);
    } else { /* shared, and behind the end */
        memset(nodes, 0, NODES * s->hash_len);
    }
    return CV_ERR_OK;
}

static enum cv_err nodes_of(struct io_store *s, uint64_t group, uint8_t *nodes) {
    uint8_t root[CV_SHA_MAX];
    bool complete = io_tree_complete(s, group), whole = io_tree_whole(s);
    enum cv_err err = upper_get(s, group * 2 * GROUP + ROOT, root);
    if (!err && (whole || !complete)) {
        err = stored_nodes(s, group, nodes);
        memcpy(nodes + ROOT * s->hash_len, root, s->hash_len);
    }
    /* Where the whole tree is kept, it may have been lost: then it is made as well. */
    if (!err && complete && !(whole && all_known(s, group, nodes)))
        err = make_nodes(s, group, root, nodes);
    return err;
}

/* ---- both ------------------------------------------------------------------------- */

static bool is_upper(uint64_t bin) {
    return (bin & (GROUP - 1)) == GROUP - 1;
}

enum cv_err io_tree_get(struct io_store *s, uint64_t bin, uint32_t count, uint8_t *hashes) {
    uint8_t nodes[NODES * CV_SHA_MAX];
    uint64_t loaded = UINT64_MAX;
    for (uint32_t i = 0; i < count; i++, bin++, hashes += s->hash_len) {
        uint64_t group = bin / (2 * GROUP);
        enum cv_err err = CV_ERR_OK;
        if (is_upper(bin) && (loaded != group || bin % (2 * GROUP) != ROOT)) {
            err = upper_get(s, bin, hashes);
        } else {
            if (loaded != group)
                err = nodes_of(s, group, nodes);
            loaded = group;
            if (!err)
                memcpy(hashes, nodes + bin % (2 * GROUP) * s->hash_len, s->hash_len);
        }
        if (err)
            return err;
    }
    return CV_ERR_OK;
}

enum cv_err io_tree_put(struct io_store *s, uint64_t bin, uint32_t count, const uint8_t *hashes) {
    assert(bin + count <= 2 * IO_STORE_CHUNKS_MAX);
    if (count == 1 && is_upper(bin))
        return upper_put(s, bin, hashes);
    /* The engine writes what lies below a group's root as the group's page. */
    assert(bin % (2 * GROUP) == 0 && count <= NODES);
    if (count > ROOT) {
        enum cv_err err = upper_put(s, bin + ROOT, hashes + ROOT * s->hash_len);
        if (err)
            return err;
    }
    return page_put(s, bin / (2 * GROUP), hashes, count);
}

enum cv_err io_tree_keep(struct io_store *s, uint64_t group, const uint8_t *nodes) {
    return io_tree_whole(s) ? page_put(s, group, nodes, NODES) : CV_ERR_OK;
}

enum cv_err io_tree_write(struct io_store *s) {
    enum cv_err err = CV_ERR_OK;
    for (unsigned i = 0; !err && s->tree_memory.blocks && i < IO_TREE_BLOCKS; i++)
        err = write_block(s, i);
    for (unsigned i = 0; !err && s->tree_memory.pages && i < IO_TREE_PAGES; i++)
        err = write_page(s, i);
    return err;
}
