#include "io/contents.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/file.h"
#include "io/store_priv.h"

#define ABOUT "about" /* one line with the link, then the path to the end */
enum { ABOUT_MAX = IO_CONTENT_LINK_MAX + IO_PATH_MAX };

void io_store_describe(struct io_store *s, const char *link, const char *path) {
    char text[ABOUT_MAX + 1], before[ABOUT_MAX + 1];
    char *real = path ? realpath(path, NULL) : NULL;
    int len = snprintf(text, sizeof text, "%.*s\n%s", IO_CONTENT_LINK_MAX - 1, link,
                       real ? real : (path ? path : ""));
    free(real);
    int fd = openat(s->folder, ABOUT, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0 || len < 0 || len >= (int)sizeof text) {
        if (fd >= 0)
            close(fd);
        return;
    }
    ssize_t n = io_file_pread(fd, before, sizeof before, 0);
    bool same = n == len && memcmp(before, text, (size_t)n) == 0;
    if (!same && ftruncate(fd, 0) == 0)
        (void)io_file_pwrite(fd, text, (size_t)len, 0);
    close(fd);
}

/* What does not fit we did not write. */
static void take(char *out, size_t cap, const char *text) {
    size_t len = strlen(text);
    if (len < cap)
        memcpy(out, text, len + 1);
}

static void read_about(int folder, struct io_content *c) {
    char text[ABOUT_MAX + 1];
    int fd = openat(folder, ABOUT, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    ssize_t n = fd < 0 ? -1 : io_file_pread(fd, text, ABOUT_MAX, 0);
    if (fd >= 0)
        close(fd);
    text[n > 0 ? n : 0] = '\0';
    char *end = strchr(text, '\n');
    if (!end)
        return; /* cut short while it was written */
    *end = '\0';
    take(c->link, sizeof c->link, text);
    take(c->path, sizeof c->path, end + 1);
}

static int open_have(int folder) {
    return openat(folder, "have", O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
}

/* Nothing was marked (it is new, or all but removed): the cache's. */
static enum io_content_kind read_header(int have, struct io_store_header *ret) {
    uint8_t pages[2][IO_PAGE] = {{0}};
    struct io_store_header h;
    ssize_t n = have < 0 ? 0 : io_file_pread(have, pages, sizeof pages, 0);
    if (n <= 0)
        return n == 0 ? IO_CONTENT_CACHED : IO_CONTENT_DAMAGED;
    bool known = false;
    for (unsigned i = 0; i < 2; i++) {
        if (io_page_read_header(pages[i], i, &h) != CV_ERR_OK ||
            (known && h.sequence < ret->sequence))
            continue;
        known = true;
        *ret = h;
    }
    if (!known)
        return IO_CONTENT_DAMAGED;
    return ret->shared               ? IO_CONTENT_SHARED
           : io_store_evictable(ret) ? IO_CONTENT_CACHED
           : ret->pinned             ? IO_CONTENT_PINNED
                                     : IO_CONTENT_FILE;
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

/* False: it is no folder of a content. */
static bool look_at(int top, const char *name, struct io_content *c) {
    struct stat st;
    memset(c, 0, sizeof *c);
    take(c->folder, sizeof c->folder, name);
    int folder = openat(top, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (folder < 0)
        return false;
    int have = open_have(folder);
    c->kind = have < 0 && errno != ENOENT ? IO_CONTENT_DAMAGED : read_header(have, &c->header);
    if (have >= 0 && fstat(have, &st) == 0)
        c->used = (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
    c->octets = c->header.octets;
    c->chunks = c->header.chunks;
    c->disk = octets_in(folder);
    read_about(folder, c);
    if (have >= 0)
        close(have);
    close(folder);
    return true;
}

static bool is_content(const char *name) {
    return (strncmp(name, IO_STORE_PREFIX, strlen(IO_STORE_PREFIX)) == 0 ||
            strncmp(name, IO_SHARE_PREFIX, strlen(IO_SHARE_PREFIX)) == 0) &&
           strlen(name) < IO_NAME_MAX;
}

enum cv_err io_contents_each(struct io_state *state,
                             bool (*fn)(void *ctx, const struct io_content *content), void *ctx,
                             struct io_why *why) {
    int fd = openat(io_state_fd(state), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    struct io_content *c = calloc(1, sizeof *c);
    enum cv_err err = !d  ? io_why_errno(why, io_state_path(state), errno)
                      : c ? CV_ERR_OK
                          : CV_ERR_NOMEM;
    if (!d && fd >= 0)
        close(fd);
    bool more = true;
    for (struct dirent *e; !err && more && (e = readdir(d));)
        if (is_content(e->d_name) && look_at(fd, e->d_name, c))
            more = fn(ctx, c);
    if (d)
        closedir(d);
    free(c);
    return err;
}

uint64_t io_content_verified(struct io_state *state, const struct io_content *c) {
    size_t words_count = (size_t)((c->chunks + 63) / 64);
    uint64_t verified = 0;
    if (c->header.shared)
        return c->chunks;
    uint64_t *words = words_count ? calloc(words_count, sizeof *words) : NULL;
    int folder =
        openat(io_state_fd(state), c->folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    int have = folder < 0 ? -1 : open_have(folder);
    for (uint64_t i = 0; words && have >= 0 && i < io_page_count(c->chunks); i++) {
        uint8_t page[IO_PAGE] = {0};
        if (io_file_pread(have, page, sizeof page, (IO_PAGE_FIRST + i) * IO_PAGE) <= 0)
            break; /* nothing was marked behind */
        (void)io_page_read_bits(page, c->header.id, i, words, c->chunks); /* damaged: not there */
    }
    for (size_t i = 0; words && i < words_count; i++)
        verified += (unsigned)__builtin_popcountll(words[i]);
    if (have >= 0)
        close(have);
    if (folder >= 0)
        close(folder);
    free(words);
    return verified;
}

enum cv_err io_content_remove(struct io_state *state, const char *name, struct io_why *why) {
    int folder = openat(io_state_fd(state), name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (folder < 0)
        return io_why_errno(why, name, errno);
    enum cv_err err = io_store_unlink(state, name, folder, why);
    close(folder);
    return err;
}
