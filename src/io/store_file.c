#include "io/store_file.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/text.h"
#include "io/file.h"
#include "io/store_priv.h"

/* 16 octets of the identifier are enough to be unique, and short to read. */
#define NAME_ID 16
typedef char store_name[sizeof IO_STORE_PREFIX + 2 * NAME_ID];

const char *const io_store_files[IO_STORE_FILES] = {"data", "tree", "leaves", "about", "have"};

static void name_of(const uint8_t id[IO_STORE_ID], store_name ret) {
    memcpy(ret, IO_STORE_PREFIX, sizeof IO_STORE_PREFIX);
    cv_hex(id, NAME_ID, ret + strlen(ret));
}

static int open_inside(const struct io_store *s, const char *name) {
    return openat(s->folder, name, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
}

/* A node may be asked twice for the same thing; only readers may share a store. */
enum cv_err io_store_busy(const struct io_store *s, struct io_why *why) {
    io_why_set(why, "%s: is in use by this node already", s->where);
    return CV_ERR_EXIST;
}

enum cv_err io_store_begin(struct io_state *state, const char *name, struct io_store **ret,
                           struct io_why *why) {
    struct io_store *s = calloc(1, sizeof *s);
    if (!s)
        return CV_ERR_NOMEM;
    s->folder = s->data = s->tree = s->leaves = s->have = -1;
    pthread_mutex_init(&s->flusher.mutex, NULL);
    pthread_cond_init(&s->flusher.changed, NULL);
    snprintf(s->where, sizeof s->where, "%.3900s/%s", io_state_path(state), name);

    enum cv_err err = io_state_folder(state, name, &s->folder, why);
    if (err == CV_ERR_OK) {
        s->tree = open_inside(s, "tree");
        s->have = open_inside(s, "have");
        if (s->tree < 0 || s->have < 0)
            err = io_why_errno(why, s->where, errno);
        else if (flock(s->have, LOCK_SH | LOCK_NB) != 0)
            err = io_store_busy(s, why);
    }
    if (err != CV_ERR_OK) {
        io_store_close(s);
        return err;
    }
    *ret = s;
    return CV_ERR_OK;
}

enum cv_err io_store_load_header(struct io_store *s, struct io_why *why) {
    uint8_t pages[2][IO_PAGE];
    ssize_t n = io_file_pread(s->have, pages, sizeof pages, 0);
    if (n < 0)
        return io_why_errno(why, s->where, errno);
    if (n == 0)
        return CV_ERR_NOENT;
    memset((uint8_t *)pages + n, 0, sizeof pages - (size_t)n);

    enum cv_err best = CV_ERR_CORRUPT;
    for (unsigned i = 0; i < 2; i++) {
        struct io_store_header h;
        enum cv_err err = io_page_read_header(pages[i], i, &h);
        if (err == CV_ERR_OK && (best != CV_ERR_OK || h.sequence > s->header.sequence)) {
            s->header = h;
            best = CV_ERR_OK;
        } else if (err == CV_ERR_VERSION && best != CV_ERR_OK)
            best = err;
    }
    if (best == CV_ERR_VERSION)
        io_why_set(why,
                   "%s/have: written by another version of culvert; use that one, or remove %s",
                   s->where, s->where);
    else if (best != CV_ERR_OK)
        io_why_set(why, "%s/have: damaged; remove %s to fetch the content anew", s->where,
                   s->where);
    s->hash_len = best == CV_ERR_OK ? cv_sha_len((enum cv_sha)s->header.alg) : 0;
    return best;
}

enum cv_err io_store_put_header(struct io_store *s) {
    uint8_t page[IO_PAGE];
    s->header.sequence++;
    unsigned number = io_page_write_header(page, &s->header);
    if (io_file_pwrite(s->have, page, sizeof page, (uint64_t)number * IO_PAGE) == 0)
        return CV_ERR_OK;
    enum cv_err err = io_why_errno(&s->why, s->where, errno);
    return err == CV_ERR_FULL ? err : CV_ERR_STORE;
}

enum cv_err io_store_grow(struct io_store *s, uint64_t chunks) {
    size_t words = (size_t)((chunks + 63) / 64);
    if (words <= s->word_count)
        return CV_ERR_OK;
    uint64_t pages = io_page_count(chunks);
    uint64_t *grown = calloc(words, sizeof *grown);
    uint8_t *dirty = calloc((size_t)(pages + 7) / 8, 1);
    if (!grown || !dirty) {
        free(grown);
        free(dirty);
        return CV_ERR_NOMEM;
    }
    if (s->words)
        memcpy(grown, s->words, s->word_count * sizeof *grown);
    free(s->words);
    free(s->dirty);
    s->words = grown;
    s->dirty = dirty;
    s->word_count = words;
    return CV_ERR_OK;
}

enum cv_err io_store_open_leaves(struct io_store *s, struct io_why *why) {
    if (s->leaves < 0)
        s->leaves = open_inside(s, "leaves");
    return s->leaves < 0 ? io_why_errno(why, s->where, errno) : CV_ERR_OK;
}

/* What the marks are about: the file at a path (in the header's root, which only
 * shared files need otherwise), or zeros: `data` in the store's folder. */
static bool place_of(const char *path, uint8_t ret[CV_SHA_MAX]) {
    char *real = path ? realpath(path, NULL) : NULL;
    memset(ret, 0, CV_SHA_MAX);
    if (real)
        CV_BLAKE2B(ret, 32, NULL, 0, {"culvert place", 13}, {real, strlen(real)});
    bool known = !path || real;
    free(real);
    return known;
}

static bool is_place(const struct io_store *s, const char *path) {
    uint8_t place[CV_SHA_MAX];
    return place_of(path, place) && memcmp(place, s->header.root, CV_SHA_MAX) == 0;
}

bool io_store_evictable(const struct io_store_header *h) {
    static const uint8_t here[CV_SHA_MAX];
    return !h->shared && !h->pinned && memcmp(h->root, here, sizeof here) == 0;
}

/* For the cache, which goes by the time of `have`; not worth an error. */
static void note_watched(const struct io_store *s) {
    if (!s->header.shared && !s->header.pinned)
        (void)futimens(s->have, NULL);
}

/* Marks of chunks that the file is too short to hold are forgotten. The hashes within
 * a complete group are not stored: such a group is forgotten as a whole. */
static void forget_behind(struct io_store *s, uint64_t file_octets) {
    uint64_t whole = file_octets / s->header.chunk_size;
    if (s->header.octets && file_octets >= s->header.octets)
        whole = s->header.chunks;
    else if (!s->header.octets && whole + 1 == s->header.chunks &&
             file_octets % s->header.chunk_size)
        whole++; /* the last chunk may be short, and no other */
    if (whole < s->header.chunks && io_tree_complete(s, whole / IO_GROUP_CHUNKS))
        whole -= whole % IO_GROUP_CHUNKS;
    for (uint64_t word = whole / 64; word < s->word_count; word++) {
        uint64_t keep = word == whole / 64 ? (UINT64_C(1) << whole % 64) - 1 : 0;
        uint64_t gone = s->words[word] & ~keep, page = word * 64 / IO_PAGE_CHUNKS;
        if (!gone)
            continue;
        s->words[word] &= keep;
        s->dirty[page >> 3] = (uint8_t)(s->dirty[page >> 3] | 1u << (page & 7));
        s->chunks_lost += (unsigned)__builtin_popcountll(gone);
    }
}

/* What was forgotten is durably so before the file grows again. */
static enum cv_err write_forgotten(struct io_store *s, struct io_why *why) {
    for (uint64_t i = 0; s->chunks_lost && i < io_page_count(s->header.chunks); i++) {
        uint8_t page[IO_PAGE];
        if (!(s->dirty[i >> 3] >> (i & 7) & 1))
            continue;
        io_page_write_bits(page, s->header.id, i, s->words, s->header.chunks);
        if (io_file_pwrite(s->have, page, sizeof page, (IO_PAGE_FIRST + i) * IO_PAGE) != 0)
            return io_why_errno(why, s->where, errno);
        s->dirty[i >> 3] = (uint8_t)(s->dirty[i >> 3] & ~(1u << (i & 7)));
    }
    if (s->chunks_lost && fdatasync(s->have) != 0)
        return io_why_errno(why, s->where, errno);
    return CV_ERR_OK;
}

static enum cv_err settle(struct io_store *s, const char *path, bool pinned, struct io_why *why) {
    place_of(path, s->header.root);
    s->header.pinned = pinned;
    enum cv_err err = io_store_put_header(s);
    if (err != CV_ERR_OK)
        io_why_set(why, "%s", s->why.text);
    else if (fdatasync(s->have) != 0)
        err = io_why_errno(why, s->where, errno);
    return err;
}

static enum cv_err load_bits(struct io_store *s, const char *path, bool pinned,
                             struct io_why *why) {
    struct stat st;
    enum cv_err err = io_store_grow(s, s->header.chunks);
    if (err != CV_ERR_OK) {
        io_why_set(why, "%s", s->why.text);
        return err;
    }
    for (uint64_t i = 0; i < io_page_count(s->header.chunks); i++) {
        uint8_t page[IO_PAGE] = {0};
        ssize_t n = io_file_pread(s->have, page, sizeof page, (IO_PAGE_FIRST + i) * IO_PAGE);
        if (n < 0)
            return io_why_errno(why, s->where, errno);
        if (n == 0)
            break; /* nothing was marked behind */
        if (io_page_read_bits(page, s->header.id, i, s->words, s->header.chunks) != CV_ERR_OK)
            s->pages_damaged++;
    }
    if (fstat(s->data, &st) != 0)
        return io_why_errno(why, s->data_where, errno);
    bool same = is_place(s, path) || s->moved;
    forget_behind(s, same ? (uint64_t)st.st_size : 0);
    err = write_forgotten(s, why);
    if (err == CV_ERR_OK && (!is_place(s, path) || s->header.pinned != pinned))
        err = settle(s, path, pinned, why);
    if (err != CV_ERR_OK)
        return err;
    if (path) /* what the cache had of it is not kept a second time */
        (void)unlinkat(s->folder, "data", 0);
    for (size_t i = 0; i < s->word_count; i++)
        s->verified += (unsigned)__builtin_popcountll(s->words[i]);
    return CV_ERR_OK;
}

/*
 * Content that the cache has gets its name at `path` as well (a hard link, where
 * both lie in one file system), so that `get` of what was played fetches nothing
 * twice. Also true when an earlier run came so far and was killed.
 */
static bool take_from_cache(struct io_store *s, const char *path) {
    struct stat here, there;
    if (!is_place(s, NULL) || fstatat(s->folder, "data", &here, AT_SYMLINK_NOFOLLOW) != 0 ||
        !S_ISREG(here.st_mode))
        return false;
    if (linkat(s->folder, "data", AT_FDCWD, path, 0) != 0 && errno != EEXIST)
        return false;
    if (lstat(path, &there) != 0 || here.st_dev != there.st_dev || here.st_ino != there.st_ino)
        return false;
    s->data = open(path, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
    s->moved = s->data >= 0;
    return s->moved;
}

/* The content's file: ours to make when the store is new. */
static enum cv_err open_data(struct io_store *s, const char *path, bool fresh, struct io_why *why) {
    if (path)
        snprintf(s->data_where, sizeof s->data_where, "%s", path);
    else
        snprintf(s->data_where, sizeof s->data_where, "%.4000s/data", s->where);
    int flags = O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC;
    if (path && !fresh && take_from_cache(s, path))
        return CV_ERR_OK;
    if (path)
        s->data = open(path, flags | O_EXCL, 0644);
    else
        s->data = open_inside(s, "data");
    if (s->data < 0 && errno == EEXIST && path && !fresh) {
        if (is_place(s, path))
            s->data = open(path, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
        else
            errno = EEXIST;
    }
    if (s->data >= 0)
        return CV_ERR_OK;
    if (errno == EEXIST) {
        io_why_set(why, "%s: exists already; choose another name or move it away", path);
        return CV_ERR_EXIST;
    }
    return io_why_errno(why, s->data_where, errno);
}

static bool same_content(const struct io_store_header *h, const struct io_store_config *cfg) {
    return memcmp(h->id, cfg->id, IO_STORE_ID) == 0 && h->chunk_size == cfg->chunk_size &&
           h->alg == (uint32_t)cfg->alg && !h->shared;
}

static enum cv_err resume(struct io_store *s, const struct io_store_config *cfg,
                          struct io_why *why) {
    if (flock(s->have, LOCK_EX | LOCK_NB) != 0)
        return io_store_busy(s, why);
    enum cv_err err = io_store_load_header(s, why);
    bool fresh = err == CV_ERR_NOENT;
    if (!fresh && err != CV_ERR_OK)
        return err;
    if (!fresh && !same_content(&s->header, cfg)) {
        io_why_set(why, "%s: holds other content; remove it", s->where);
        return CV_ERR_DIFFERS;
    }
    err = open_data(s, cfg->data_path, fresh, why);
    if (err != CV_ERR_OK)
        return err;
    err = io_store_open_leaves(s, why);
    if (err != CV_ERR_OK)
        return err;
    if (!fresh)
        return load_bits(s, cfg->data_path, cfg->pinned || s->header.pinned, why);
    s->header = (struct io_store_header){
        .chunk_size = cfg->chunk_size, .alg = (uint32_t)cfg->alg, .pinned = cfg->pinned};
    memcpy(s->header.id, cfg->id, IO_STORE_ID);
    s->hash_len = cv_sha_len(cfg->alg);
    place_of(cfg->data_path, s->header.root);
    err = io_store_put_header(s);
    if (err != CV_ERR_OK)
        io_why_set(why, "%s", s->why.text);
    /* Once a store: later headers have this one to fall back to. */
    else if (fdatasync(s->have) != 0 || fsync(s->folder) != 0)
        err = io_why_errno(why, s->where, errno);
    return err;
}

enum cv_err io_store_open(struct io_state *state, const struct io_store_config *cfg,
                          struct io_store **ret, struct io_why *why) {
    struct io_store *s;
    store_name name;
    assert(cv_sha_len(cfg->alg) > 0);
    name_of(cfg->id, name);
    enum cv_err err = io_store_begin(state, name, &s, why);
    if (err != CV_ERR_OK)
        return err;
    err = resume(s, cfg, why);
    if (err != CV_ERR_OK) {
        io_store_close(s);
        return err;
    }
    note_watched(s);
    *ret = s;
    return CV_ERR_OK;
}

/* Complete content needs none: they are made from it. */
static void drop_leaves(const struct io_store *s) {
    if (!s->header.shared && !io_tree_whole(s) && s->header.chunks &&
        s->verified == s->header.chunks)
        (void)ftruncate(s->leaves, 0);
}

struct io_store *io_store_close(struct io_store *s) {
    if (!s)
        return NULL;
    if (s->data >= 0)
        io_store_flush(s);
    io_store_stop(s);
    if (s->leaves >= 0 && !s->flusher.error)
        drop_leaves(s);
    if (s->leaves >= 0)
        note_watched(s);
    int fds[] = {s->data, s->tree, s->leaves, s->have, s->folder};
    for (size_t i = 0; i < sizeof fds / sizeof *fds; i++)
        if (fds[i] >= 0)
            close(fds[i]);
    pthread_mutex_destroy(&s->flusher.mutex);
    pthread_cond_destroy(&s->flusher.changed);
    free(s->flusher.queue.all);
    io_tree_drop(s);
    io_folder_view_free(s->view);
    free(s->words);
    free(s->dirty);
    free(s);
    return NULL;
}

struct io_store_stats io_store_stats(struct io_store *s) {
    struct io_store_stats stats = {
        .chunks = s->header.chunks,
        .octets = s->header.octets,
        .verified = s->header.shared ? s->header.chunks : s->verified,
        .pages_damaged = s->pages_damaged,
        .chunks_lost = s->chunks_lost,
    };
    pthread_mutex_lock(&s->flusher.mutex);
    stats.uncommitted = s->flusher.octets;
    stats.commits = s->flusher.commits;
    pthread_mutex_unlock(&s->flusher.mutex);
    return stats;
}

const char *io_store_why(const struct io_store *s) {
    return s->why.text;
}

bool io_store_room(const struct io_store *s, uint64_t octets) {
    struct statvfs fs;
    return fstatvfs(s->data, &fs) == 0 && (uint64_t)fs.f_bavail * fs.f_frsize > octets;
}

enum cv_err io_store_unlink(struct io_state *state, const char *name, int folder,
                            struct io_why *why) {
    char where[IO_PATH_MAX];
    snprintf(where, sizeof where, "%.3900s/%.100s", io_state_path(state), name);
    for (size_t i = 0; i < IO_STORE_FILES; i++)
        if (unlinkat(folder, io_store_files[i], 0) != 0 && errno != ENOENT)
            return io_why_errno(why, where, errno);
    if (unlinkat(io_state_fd(state), name, AT_REMOVEDIR) != 0)
        return io_why_errno(why, where, errno);
    return CV_ERR_OK;
}

enum cv_err io_store_remove(struct io_state *state, const uint8_t id[IO_STORE_ID],
                            struct io_why *why) {
    store_name name;
    int folder;
    name_of(id, name);
    enum cv_err err = io_state_folder(state, name, &folder, why);
    if (err != CV_ERR_OK)
        return err;
    err = io_store_unlink(state, name, folder, why);
    close(folder);
    return err;
}
