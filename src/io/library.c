#include "io/library.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/map.h"
#include "crypto/siphash.h"
#include "io/limits.h"

struct entry {
    struct io_library_file file; /* first: io_library_next() goes by it */
    struct entry *next;
    char path[];
};

struct io_library {
    struct io_state *state;
    struct cv_map *by_root;
    struct entry *all;
    size_t count;
    uint8_t key[CV_SIPHASH_KEY];
};

struct io_library *io_library_new(struct io_state *state, const struct cv_rng *rng) {
    struct io_library *l = calloc(1, sizeof *l);
    if (!l)
        return NULL;
    l->state = state;
    cv_rng_fill(rng, l->key, sizeof l->key);
    l->by_root = cv_map_new(CV_SHA_MAX, IO_LIBRARY_FILES, cv_siphash_map, l->key);
    return l->by_root ? l : io_library_free(l);
}

struct io_library *io_library_free(struct io_library *l) {
    if (!l)
        return NULL;
    for (struct entry *e = l->all, *next; e; e = next) {
        next = e->next;
        free(e);
    }
    cv_map_free(l->by_root);
    free(l);
    return NULL;
}

static enum cv_err remember(struct io_library *l, const struct io_share_config *cfg,
                            const uint8_t *root, uint64_t octets,
                            const struct io_library_file **ret) {
    size_t len = strlen(cfg->path) + 1;
    struct entry *e = calloc(1, sizeof *e + len);
    if (!e)
        return CV_ERR_NOMEM;
    memcpy(e->path, cfg->path, len);
    e->file = (struct io_library_file){.path = e->path,
                                       .root_len = cv_sha_len(cfg->alg),
                                       .octets = octets,
                                       .chunk_size = cfg->chunk_size,
                                       .alg = cfg->alg};
    memcpy(e->file.root, root, e->file.root_len);
    enum cv_err err = cv_map_put(l->by_root, e->file.root, e);
    if (err) {
        free(e);
        return err;
    }
    e->next = l->all;
    l->all = e;
    l->count++;
    *ret = &e->file;
    return CV_ERR_OK;
}

enum cv_err io_library_add(struct io_library *l, const struct io_share_config *cfg,
                           const struct io_library_file **ret, struct io_why *why) {
    uint8_t root[CV_SHA_MAX] = {0};
    struct io_store *s;
    if (l->count == IO_LIBRARY_FILES) {
        io_why_set(why, "%s: %d files are shared already, more is not possible", cfg->path,
                   IO_LIBRARY_FILES);
        return CV_ERR_LIMIT;
    }
    enum cv_err err = io_store_share(l->state, cfg, &s, root, why);
    if (err != CV_ERR_OK)
        return err;
    uint64_t octets = io_store_stats(s).octets;
    io_store_close(s);
    const struct entry *same = cv_map_get(l->by_root, root);
    if (same) {
        *ret = &same->file;
        io_why_set(why, "%s: the same as %s", cfg->path, same->path);
        return CV_ERR_EXIST;
    }
    return remember(l, cfg, root, octets, ret);
}

const struct io_library_file *io_library_find(const struct io_library *l, const uint8_t *id,
                                              size_t len) {
    uint8_t root[CV_SHA_MAX] = {0};
    if (len > sizeof root)
        return NULL;
    memcpy(root, id, len);
    const struct entry *e = cv_map_get(l->by_root, root);
    return e && e->file.root_len == len ? &e->file : NULL;
}

enum cv_err io_library_open(struct io_library *l, const struct io_library_file *file,
                            struct io_store **ret, struct io_why *why) {
    struct io_share_config cfg = {
        .path = file->path, .chunk_size = file->chunk_size, .alg = file->alg, .only_known = true};
    uint8_t root[CV_SHA_MAX];
    struct io_store *s;
    enum cv_err err = io_store_share(l->state, &cfg, &s, root, why);
    if (err != CV_ERR_OK)
        return err;
    if (memcmp(root, file->root, file->root_len) != 0) { /* shared anew meanwhile */
        io_store_close(s);
        io_why_set(why, "%s: changed since it was shared; share it again", file->path);
        return CV_ERR_DIFFERS;
    }
    *ret = s;
    return CV_ERR_OK;
}

const struct io_library_file *io_library_next(const struct io_library *l,
                                              const struct io_library_file *file) {
    const struct entry *e = file ? (const struct entry *)(const void *)file : NULL;
    const struct entry *next = e ? e->next : l->all;
    return next ? &next->file : NULL;
}

void io_library_remove(struct io_library *l, const struct io_library_file *file) {
    struct entry *e = cv_map_del(l->by_root, file->root), **at = &l->all;
    assert(e && &e->file == file);
    while (*at != e)
        at = &(*at)->next;
    *at = e->next;
    l->count--;
    free(e);
}

size_t io_library_count(const struct io_library *l) {
    return l->count;
}
