/* Sharing a file of the user's: hashed once, remembered while it is unchanged. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/text.h"
#include "io/hash_file.h"
#include "io/store_priv.h"
#include "ppsp/build.h"

static int64_t mtime_ns(const struct stat *st) {
    return (int64_t)st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec;
}

/* A file, or a folder. */
static enum cv_err open_source(const char *path, int *ret, struct stat *ret_st,
                               struct io_why *why) {
    struct stat st = {0};
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0 || fstat(fd, &st) != 0) {
        enum cv_err err = io_why_errno(why, path, errno);
        if (fd >= 0)
            close(fd);
        return err;
    }
    if (!S_ISDIR(st.st_mode) && (!S_ISREG(st.st_mode) || st.st_size == 0)) {
        io_why_set(why, "%s: %s", path,
                   S_ISREG(st.st_mode)
                       ? "is empty; there is nothing to share"
                       : "is neither a file nor a folder; nothing else can be shared");
        close(fd);
        return CV_ERR_MALFORMED;
    }
    *ret = fd;
    *ret_st = st;
    return CV_ERR_OK;
}

/* One folder for a path, chunk size and hash: sharing again finds it. */
static enum cv_err identify(const struct io_share_config *cfg, uint8_t id[IO_STORE_ID],
                            struct io_why *why) {
    char *real = realpath(cfg->path, NULL);
    if (!real)
        return io_why_errno(why, cfg->path, errno);
    uint32_t parameters[2] = {cfg->chunk_size, (uint32_t)cfg->alg};
    CV_BLAKE2B(id, IO_STORE_ID, NULL, 0, {"culvert share", 13}, {parameters, sizeof parameters},
               {real, strlen(real)});
    free(real);
    return CV_ERR_OK;
}

struct building {
    const struct io_share_config *cfg;
    struct ppsp_build build;
    struct io_store *store;
    uint64_t octets;
};

static enum cv_err add_group(struct building *b, uint64_t group, const uint8_t *nodes) {
    uint64_t chunks = b->store->header.chunks;
    bool alone = chunks <= PPSP_BUILD_GROUP; /* its root is the tree's */
    ppsp_bin root = alone ? ppsp_bin_root(chunks) : PPSP_BUILD_GROUP - 1;
    enum cv_err err = io_tree_keep(b->store, group, nodes);
    return err ? err : ppsp_build_add_group(&b->build, nodes + root * b->store->hash_len);
}

static enum cv_err add_groups(void *ctx, uint64_t first, const uint8_t *nodes, size_t count) {
    struct building *b = ctx;
    for (size_t i = 0; i < count; i++) {
        enum cv_err err = add_group(b, first + i, nodes + i * PPSP_BUILD_RUN * b->store->hash_len);
        if (err != CV_ERR_OK)
            return err;
    }
    uint64_t done = (first + count) * PPSP_BUILD_GROUP * b->cfg->chunk_size;
    if (b->cfg->progress &&
        !b->cfg->progress(b->cfg->ctx, done < b->octets ? done : b->octets, b->octets))
        return CV_ERR_CLOSED;
    return CV_ERR_OK;
}

static enum cv_err hash_all(struct io_store *s, const struct io_share_config *cfg,
                            struct io_why *why) {
    struct building *b = calloc(1, sizeof *b);
    if (!b)
        return CV_ERR_NOMEM;
    *b = (struct building){.cfg = cfg, .store = s, .octets = s->header.octets};
    ppsp_build_init(&b->build, cfg->alg, &io_store_ops, s);
    struct io_hash_job job = {.fd = s->data,
                              .folder = s->view,
                              .path = cfg->path,
                              .octets = s->header.octets,
                              .chunk_size = cfg->chunk_size,
                              .alg = cfg->alg,
                              .threads = cfg->threads,
                              .groups = add_groups,
                              .ctx = b};
    enum cv_err err = io_hash_file(&job, why);
    if (err == CV_ERR_OK)
        err = ppsp_build_end(&b->build, s->header.root);
    if (err == CV_ERR_OK)
        err = io_tree_write(s);
    if ((err == CV_ERR_FULL || err == CV_ERR_STORE) && s->why.text[0])
        io_why_set(why, "%s", s->why.text);
    free(b);
    return err;
}

/* Size and time of what is shared, as the header keeps them. */
static bool current(const struct io_store *s, uint64_t *ret_octets, int64_t *ret_time) {
    struct stat st;
    if (s->view) {
        *ret_octets = io_folder_view_octets(s->view);
        *ret_time = (int64_t)io_folder_view_digest(s->view);
        return true;
    }
    if (fstat(s->data, &st) != 0)
        return false;
    *ret_octets = (uint64_t)st.st_size;
    *ret_time = mtime_ns(&st);
    return true;
}

bool io_store_unchanged(const struct io_store *s) {
    uint64_t octets;
    int64_t time;
    return current(s, &octets, &time) && s->header.file_octets == octets &&
           s->header.file_mtime_ns == time;
}

bool io_store_shortened(const struct io_store *s) {
    uint64_t octets;
    int64_t time;
    return current(s, &octets, &time) && octets < s->header.file_octets;
}

/* The folder is looked at again, so that a file that came meanwhile counts, too. */
static bool still_the_same(struct io_store *s, const struct io_share_config *cfg) {
    struct io_folder_view *again = NULL;
    if (s->view) {
        int fd = open(cfg->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0 || io_folder_look(fd, cfg->path, cfg->chunk_size, &again, NULL) != CV_ERR_OK)
            return false;
        io_folder_view_free(s->view);
        s->view = again;
    }
    return io_store_unchanged(s);
}

/* Hashes, then writes the header, so that only a whole tree is ever believed. */
static enum cv_err make(struct io_store *s, const struct io_share_config *cfg,
                        const uint8_t id[IO_STORE_ID], struct io_why *why) {
    uint64_t octets = 0, sequence = s->header.sequence;
    int64_t time = 0;
    if (!current(s, &octets, &time))
        return io_why_errno(why, cfg->path, errno);
    uint64_t chunks = (octets + cfg->chunk_size - 1) / cfg->chunk_size;
    if (chunks > IO_STORE_CHUNKS_MAX) {
        io_why_set(why, "%s: too large; choose larger chunks", cfg->path);
        return CV_ERR_LIMIT;
    }
    s->header = (struct io_store_header){.sequence = sequence,
                                         .chunks = chunks,
                                         .octets = octets,
                                         .chunk_size = cfg->chunk_size,
                                         .alg = (uint32_t)cfg->alg,
                                         .shared = true,
                                         .file_octets = octets,
                                         .file_mtime_ns = time};
    memcpy(s->header.id, id, IO_STORE_ID);
    s->hash_len = cv_sha_len(cfg->alg);

    if (flock(s->have, LOCK_EX | LOCK_NB) != 0)
        return io_store_busy(s, why);
    io_tree_drop(s);
    enum cv_err err = io_tree_whole(s) ? io_store_open_leaves(s, why) : CV_ERR_OK;
    if (err != CV_ERR_OK)
        return err;
    if (ftruncate(s->have, 0) != 0 || ftruncate(s->tree, 0) != 0 ||
        (s->leaves >= 0 && ftruncate(s->leaves, 0) != 0))
        return io_why_errno(why, s->where, errno);
    err = hash_all(s, cfg, why);
    if (err == CV_ERR_OK && !still_the_same(s, cfg)) {
        io_why_set(why, "%s: changed while it was read; try again", cfg->path);
        err = CV_ERR_DIFFERS;
    }
    if (err != CV_ERR_OK)
        return err;
    if (fdatasync(s->tree) != 0 || (s->leaves >= 0 && fdatasync(s->leaves) != 0))
        return io_why_errno(why, s->where, errno);
    err = io_store_put_header(s);
    if (err != CV_ERR_OK)
        io_why_set(why, "%s", s->why.text);
    (void)flock(s->have, LOCK_SH | LOCK_NB);
    return err;
}

static enum cv_err refuse(const struct io_share_config *cfg, struct io_why *why) {
    io_why_set(why, "%s: changed since it was shared; share it again", cfg->path);
    return CV_ERR_DIFFERS;
}

bool io_store_is_folder(const struct io_store *s) {
    return s->view != NULL;
}

enum cv_err io_store_share(struct io_state *state, const struct io_share_config *cfg,
                           struct io_store **ret, uint8_t *ret_root, struct io_why *why) {
    uint8_t id[IO_STORE_ID];
    char name[8 + 32 + 1] = IO_SHARE_PREFIX;
    struct io_store *s;
    struct io_folder_view *view = NULL;
    struct stat st = {0};
    int fd = -1;
    enum cv_err err = open_source(cfg->path, &fd, &st, why);
    if (err == CV_ERR_OK && S_ISDIR(st.st_mode)) {
        err = io_folder_look(fd, cfg->path, cfg->chunk_size, &view, why);
        fd = -1; /* is the view's */
    }
    if (err == CV_ERR_OK)
        err = identify(cfg, id, why);
    if (err == CV_ERR_OK) {
        cv_hex(id, 16, name + 8);
        err = io_store_begin(state, name, &s, why);
    }
    if (err != CV_ERR_OK) {
        io_folder_view_free(view);
        if (fd >= 0)
            close(fd);
        return err;
    }
    snprintf(s->data_where, sizeof s->data_where, "%s", cfg->path);
    s->view = view;
    s->data = fd;
    /* Whatever is wrong with what was remembered: hashing again heals it. */
    if (io_store_load_header(s, NULL) != CV_ERR_OK || !s->header.shared || !io_store_unchanged(s))
        err = cfg->only_known ? refuse(cfg, why) : make(s, cfg, id, why);
    else if (io_tree_whole(s))
        err = io_store_open_leaves(s, why);
    if (err != CV_ERR_OK) {
        io_store_close(s);
        return err;
    }
    memcpy(ret_root, s->header.root, s->hash_len);
    *ret = s;
    return CV_ERR_OK;
}
