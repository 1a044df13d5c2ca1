#include "io/cache.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "io/file.h"
#include "io/store_priv.h"

struct content {
    char name[IO_NAME_MAX];
    uint64_t octets;
    int64_t watched; /* ns */
    bool open;
};

struct contents {
    struct content *all;
    size_t used, cap;
};

uint64_t io_cache_limit(const struct io_state *state) {
    struct statvfs fs;
    uint64_t tenth = UINT64_MAX;
    if (fstatvfs(io_state_fd(state), &fs) == 0)
        tenth = (uint64_t)fs.f_blocks * fs.f_frsize / 10;
    return tenth < IO_CACHE_OCTETS ? tenth : IO_CACHE_OCTETS;
}

/* Nothing was marked (it is new, or all but removed), or it says that it is ours. */
static bool in_cache(int have) {
    uint8_t pages[2][IO_PAGE] = {{0}};
    struct io_store_header h, newest = {.sequence = 0};
    ssize_t n = have < 0 ? 0 : io_file_pread(have, pages, sizeof pages, 0);
    if (n <= 0)
        return n == 0;
    bool known = false;
    for (unsigned i = 0; i < 2; i++) {
        if (io_page_read_header(pages[i], i, &h) != CV_ERR_OK ||
            (known && h.sequence < newest.sequence))
            continue;
        known = true;
        newest = h;
    }
    return known && io_store_evictable(&newest);
}

static uint64_t octets_in(int folder) {
    uint64_t octets = 0;
    for (size_t i = 0; i < IO_STORE_FILES; i++) {
        struct stat st;
        if (fstatat(folder, io_store_files[i], &st, AT_SYMLINK_NOFOLLOW) == 0)
            octets += (uint64_t)st.st_blocks * 512;
    }
    return octets;
}

static int open_have(int folder) {
    return openat(folder, "have", O_RDWR | O_NOFOLLOW | O_CLOEXEC);
}

/* False: not of the cache. */
static bool look_at(int top, struct content *c) {
    struct stat st = {0};
    int folder = openat(top, c->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (folder < 0)
        return false;
    int have = open_have(folder);
    bool ours = (have >= 0 || errno == ENOENT) && in_cache(have);
    if (ours) {
        c->octets = octets_in(folder);
        c->open = have >= 0 && flock(have, LOCK_EX | LOCK_NB) != 0;
        if (have >= 0 && fstat(have, &st) == 0)
            c->watched = (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
    }
    if (have >= 0)
        close(have);
    close(folder);
    return ours;
}

static enum cv_err add(struct contents *list, const struct content *c) {
    if (list->used == list->cap) {
        size_t cap = list->cap ? 2 * list->cap : 64;
        struct content *all = realloc(list->all, cap * sizeof *all);
        if (!all)
            return CV_ERR_NOMEM;
        list->all = all;
        list->cap = cap;
    }
    list->all[list->used++] = *c;
    return CV_ERR_OK;
}

static enum cv_err find_all(struct io_state *state, struct contents *list, struct io_why *why) {
    int fd = openat(io_state_fd(state), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    enum cv_err err = CV_ERR_OK;
    if (!d) {
        err = io_why_errno(why, io_state_path(state), errno);
        if (fd >= 0)
            close(fd);
        return err;
    }
    for (struct dirent *e; !err && (e = readdir(d));) {
        struct content c = {.octets = 0};
        if (strncmp(e->d_name, IO_STORE_PREFIX, strlen(IO_STORE_PREFIX)) != 0 ||
            strlen(e->d_name) >= sizeof c.name)
            continue;
        snprintf(c.name, sizeof c.name, "%.*s", IO_NAME_MAX - 1, e->d_name);
        if (look_at(fd, &c))
            err = add(list, &c);
    }
    closedir(d);
    return err;
}

static int by_time(const void *a, const void *b) {
    const struct content *x = a, *y = b;
    return x->watched != y->watched ? (x->watched < y->watched ? -1 : 1) : strcmp(x->name, y->name);
}

/* Under its lock, so that nobody opens it meanwhile. False: it is still there. */
static bool evict(struct io_state *state, struct content *c) {
    int folder =
        openat(io_state_fd(state), c->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    int have = folder < 0 ? -1 : open_have(folder);
    bool gone = folder >= 0 && !(have >= 0 && flock(have, LOCK_EX | LOCK_NB) != 0) &&
                io_store_unlink(state, c->name, folder, NULL) == CV_ERR_OK;
    if (have >= 0)
        close(have);
    if (folder >= 0)
        close(folder);
    return gone;
}

enum cv_err io_cache_trim(struct io_state *state, uint64_t limit,
                          void (*evicted)(void *ctx, const struct io_cache_evicted *e), void *ctx,
                          struct io_cache_use *ret, struct io_why *why) {
    struct contents list = {NULL, 0, 0};
    struct io_cache_use use = {.octets = 0};
    enum cv_err err = find_all(state, &list, why);
    for (size_t i = 0; i < list.used; i++) {
        use.octets += list.all[i].octets;
        use.open += list.all[i].open ? list.all[i].octets : 0;
        use.contents++;
    }
    if (list.used)
        qsort(list.all, list.used, sizeof *list.all, by_time);
    for (size_t i = 0; !err && i < list.used && use.octets > limit; i++) {
        struct content *c = &list.all[i];
        if (c->open || !evict(state, c))
            continue;
        use.octets -= c->octets;
        use.contents--;
        struct io_cache_evicted e = {.octets = c->octets, .watched = c->watched / 1000000000};
        memcpy(e.name, c->name, sizeof e.name);
        if (evicted)
            evicted(ctx, &e);
    }
    free(list.all);
    if (!err)
        *ret = use;
    return err;
}
