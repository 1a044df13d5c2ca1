#include "io/cache.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "io/contents.h"
#include "io/store_priv.h"

struct content {
    char name[IO_NAME_MAX];
    uint64_t octets;
    int64_t watched; /* ns */
    bool open;
};

struct contents {
    int top; /* the state folder */
    struct content *all;
    size_t used, cap;
    enum cv_err err;
};

uint64_t io_cache_limit(const struct io_state *state) {
    struct statvfs fs;
    uint64_t tenth = UINT64_MAX;
    if (fstatvfs(io_state_fd(state), &fs) == 0)
        tenth = (uint64_t)fs.f_blocks * fs.f_frsize / 10;
    return tenth < IO_CACHE_OCTETS ? tenth : IO_CACHE_OCTETS;
}

static int open_have(int folder) {
    return openat(folder, "have", O_RDWR | O_NOFOLLOW | O_CLOEXEC);
}

static bool is_open(int top, const char *name) {
    int folder = openat(top, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    int have = folder < 0 ? -1 : open_have(folder);
    bool open = have >= 0 && flock(have, LOCK_EX | LOCK_NB) != 0;
    if (have >= 0)
        close(have);
    if (folder >= 0)
        close(folder);
    return open;
}

static enum cv_err add(struct contents *list, const struct io_content *found) {
    if (list->used == list->cap) {
        size_t cap = list->cap ? 2 * list->cap : 64;
        struct content *all = realloc(list->all, cap * sizeof *all);
        if (!all)
            return CV_ERR_NOMEM;
        list->all = all;
        list->cap = cap;
    }
    struct content *c = &list->all[list->used++];
    *c = (struct content){
        .octets = found->disk, .watched = found->used, .open = is_open(list->top, found->folder)};
    memcpy(c->name, found->folder, sizeof c->name);
    return CV_ERR_OK;
}

static bool on_content(void *ctx, const struct io_content *found) {
    struct contents *list = ctx;
    list->err = found->kind == IO_CONTENT_CACHED ? add(list, found) : CV_ERR_OK;
    return !list->err;
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
    struct contents list = {.top = io_state_fd(state)};
    struct io_cache_use use = {.octets = 0};
    enum cv_err err = io_contents_each(state, on_content, &list, why);
    err = err ? err : list.err;
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
