#include "io/folder_view.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "crypto/hash.h"
#include "io/file.h"
#include "io/limits.h"

/* What a file was when it was looked at. */
struct stamp {
    dev_t dev;
    ino_t ino;
    int64_t mtime_ns;
};

struct io_folder_view {
    int top;
    struct io_folder folder;
    struct stamp *stamps; /* one a file */
    size_t cap;
    uint8_t *index;
    size_t index_len;
    uint64_t digest;
    const char *where; /* while it is looked at: the path of the folder */
};

struct io_folder_view *io_folder_view_free(struct io_folder_view *v) {
    if (!v)
        return NULL;
    for (size_t i = 0; i < v->folder.count; i++)
        free(v->folder.files[i].path);
    free(v->folder.files);
    free(v->stamps);
    free(v->index);
    if (v->top >= 0)
        close(v->top);
    free(v);
    return NULL;
}

static int64_t mtime_ns(const struct stat *st) {
    return (int64_t)st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec;
}

/* ---- looking -------------------------------------------------------------------- */

enum { FULL_MAX = 700 };

/* For messages: the folder may be "/", and whoever named it may have ended it in slashes. */
static const char *full_path(const struct io_folder_view *v, const char *path, char out[FULL_MAX]) {
    size_t len = strlen(v->where);
    while (len && v->where[len - 1] == '/')
        len--;
    snprintf(out, FULL_MAX, "%.*s%s%.300s", (int)(len < 300 ? len : 300), v->where,
             *path || !len ? "/" : "", path);
    return out;
}

static enum cv_err refuse(const struct io_folder_view *v, const char *path, const char *what,
                          struct io_why *why) {
    char full[FULL_MAX];
    io_why_set(why, "%s: %s", full_path(v, path, full), what);
    return CV_ERR_MALFORMED;
}

static enum cv_err no_access(const struct io_folder_view *v, const char *path, int error,
                             struct io_why *why) {
    char full[FULL_MAX];
    return io_why_errno(why, full_path(v, path, full), error);
}

static bool grow(struct io_folder_view *v) {
    if (v->folder.count < v->cap)
        return true;
    size_t cap = v->cap ? 2 * v->cap : 64;
    struct io_folder_file *files = realloc(v->folder.files, cap * sizeof *files);
    if (files)
        v->folder.files = files;
    struct stamp *stamps = realloc(v->stamps, cap * sizeof *stamps);
    if (stamps)
        v->stamps = stamps;
    if (!files || !stamps)
        return false;
    v->cap = cap;
    return true;
}

static enum cv_err add_file(struct io_folder_view *v, int fd, const char *path,
                            struct io_why *why) {
    char full[FULL_MAX];
    struct stat st;
    if (fstat(fd, &st) != 0)
        return no_access(v, path, errno, why);
    if (!S_ISREG(st.st_mode))
        return refuse(v, path, "is no plain file; a shared folder holds files and folders only",
                      why);
    const char *bad = io_folder_bad_path(path);
    if (bad) {
        io_why_set(why, "%s: %s, so it cannot be shared; rename it", full_path(v, path, full), bad);
        return CV_ERR_MALFORMED;
    }
    if (v->folder.count == IO_FOLDER_FILES) {
        io_why_set(why, "%s: holds more than %d files; share its parts one by one",
                   full_path(v, "", full), IO_FOLDER_FILES);
        return CV_ERR_LIMIT;
    }
    char *name = grow(v) ? strdup(path) : NULL;
    if (!name)
        return CV_ERR_NOMEM;
    v->stamps[v->folder.count] =
        (struct stamp){.dev = st.st_dev, .ino = st.st_ino, .mtime_ns = mtime_ns(&st)};
    v->folder.files[v->folder.count++] =
        (struct io_folder_file){.path = name, .octets = (uint64_t)st.st_size};
    return CV_ERR_OK;
}

static enum cv_err look_into(struct io_folder_view *v, int fd, const char *path, unsigned depth,
                             struct io_why *why);

static enum cv_err look_at(struct io_folder_view *v, int folder, const char *name, const char *path,
                           unsigned depth, struct io_why *why) {
    struct stat st;
    if (fstatat(folder, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
        return no_access(v, path, errno, why);
    if (S_ISLNK(st.st_mode))
        return refuse(v, path, "is a link; a shared folder holds files and folders only", why);
    int fd = openat(folder, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0 && errno == ENXIO) /* a socket */
        return refuse(v, path, "is no plain file; a shared folder holds files and folders only",
                      why);
    if (fd < 0)
        return no_access(v, path, errno, why);
    if (S_ISDIR(st.st_mode)) {
        if (depth < IO_FOLDER_DEPTH)
            return look_into(v, fd, path, depth + 1, why);
        close(fd);
        return refuse(v, path, "is too deep to be shared", why);
    }
    enum cv_err err = add_file(v, fd, path, why);
    close(fd);
    return err;
}

/* Takes `fd`. */
static enum cv_err look_into(struct io_folder_view *v, int fd, const char *path, unsigned depth,
                             struct io_why *why) {
    DIR *d = fdopendir(fd);
    enum cv_err err = CV_ERR_OK;
    if (!d) {
        err = no_access(v, path, errno, why);
        close(fd);
        return err;
    }
    for (struct dirent *e; !err && (errno = 0, e = readdir(d));) {
        char inner[IO_PATH_MAX];
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        int n = snprintf(inner, sizeof inner, "%s%s%s", path, *path ? "/" : "", e->d_name);
        if (n >= (int)sizeof inner)
            err = refuse(v, path, "is too deep to be shared", why);
        else
            err = look_at(v, fd, e->d_name, inner, depth, why);
    }
    if (!err && errno)
        err = no_access(v, path, errno, why);
    closedir(d);
    return err;
}

struct row {
    struct io_folder_file file;
    struct stamp stamp;
};

static int by_path(const void *a, const void *b) {
    return strcmp(((const struct row *)a)->file.path, ((const struct row *)b)->file.path);
}

/* The order that a folder is read in is nobody's; the content's must always be one. */
static enum cv_err sort(struct io_folder_view *v) {
    struct row *rows = calloc(v->folder.count, sizeof *rows);
    if (!rows)
        return CV_ERR_NOMEM;
    for (size_t i = 0; i < v->folder.count; i++)
        rows[i] = (struct row){v->folder.files[i], v->stamps[i]};
    qsort(rows, v->folder.count, sizeof *rows, by_path);
    for (size_t i = 0; i < v->folder.count; i++) {
        v->folder.files[i] = rows[i].file;
        v->stamps[i] = rows[i].stamp;
    }
    free(rows);
    return CV_ERR_OK;
}

static void make_digest(struct io_folder_view *v) {
    uint8_t sum[32] = {0};
    for (size_t i = 0; i < v->folder.count; i++) {
        const struct io_folder_file *f = &v->folder.files[i];
        uint64_t numbers[2] = {f->octets, (uint64_t)v->stamps[i].mtime_ns};
        uint8_t next[32];
        CV_BLAKE2B(next, sizeof next, NULL, 0, {sum, sizeof sum}, {numbers, sizeof numbers},
                   {f->path, strlen(f->path)});
        memcpy(sum, next, sizeof sum);
    }
    memcpy(&v->digest, sum, sizeof v->digest);
}

enum cv_err io_folder_look(int fd, const char *path, uint32_t chunk_size,
                           struct io_folder_view **ret, struct io_why *why) {
    char full[FULL_MAX];
    struct io_folder_view *v = calloc(1, sizeof *v);
    if (!v) {
        close(fd);
        return CV_ERR_NOMEM;
    }
    v->top = fd;
    v->where = path;
    int inner = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    enum cv_err err = inner < 0 ? io_why_errno(why, path, errno) : look_into(v, inner, "", 0, why);
    if (!err && v->folder.count == 0) {
        io_why_set(why, "%s: holds no file; there is nothing to share", full_path(v, "", full));
        err = CV_ERR_MALFORMED;
    }
    if (!err)
        err = sort(v);
    if (!err) {
        err = io_folder_write(&v->folder, chunk_size, &v->index, &v->index_len);
        if (err == CV_ERR_LIMIT)
            io_why_set(why, "%s: its index is too large; share its parts one by one",
                       full_path(v, "", full));
    }
    if (err) {
        io_folder_view_free(v);
        return err;
    }
    make_digest(v);
    *ret = v;
    return CV_ERR_OK;
}

uint64_t io_folder_view_octets(const struct io_folder_view *v) {
    return v->folder.octets;
}

uint64_t io_folder_view_digest(const struct io_folder_view *v) {
    return v->digest;
}

/* ---- reading -------------------------------------------------------------------- */

/* The last file that begins at or before `at`; the count when none does. */
static size_t file_at(const struct io_folder_view *v, uint64_t at) {
    size_t low = 0, high = v->folder.count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (v->folder.files[middle].offset <= at)
            low = middle + 1;
        else
            high = middle;
    }
    return low ? low - 1 : v->folder.count;
}

/* Links on the way are of no use to anybody: another file has another number. */
static ssize_t read_file(const struct io_folder_view *v, size_t i, void *buf, size_t len,
                         uint64_t offset) {
    const struct io_folder_file *f = &v->folder.files[i];
    const struct stamp *was = &v->stamps[i];
    struct stat st;
    int fd = openat(v->top, f->path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        if (errno == ENOENT || errno == ENOTDIR || errno == ELOOP)
            errno = ESTALE;
        return -1;
    }
    /* After reading: a writer changes a file's time before its content. */
    ssize_t n = io_file_pread(fd, buf, len, offset);
    if (n >= 0 &&
        (fstat(fd, &st) != 0 || st.st_dev != was->dev || st.st_ino != was->ino ||
         (uint64_t)st.st_size != f->octets || mtime_ns(&st) != was->mtime_ns || (size_t)n < len)) {
        n = -1;
        errno = ESTALE;
    }
    int error = errno;
    close(fd);
    errno = error;
    return n;
}

ssize_t io_folder_view_read(const struct io_folder_view *v, void *buf, size_t len,
                            uint64_t offset) {
    size_t done = 0;
    while (done < len && offset + done < v->folder.octets) {
        uint64_t at = offset + done, begin = 0, end = v->index_len;
        size_t i = file_at(v, at), left = len - done, n;
        uint64_t next = v->folder.files[0].offset;
        if (i < v->folder.count) {
            begin = v->folder.files[i].offset;
            end = begin + v->folder.files[i].octets;
            next = i + 1 < v->folder.count ? v->folder.files[i + 1].offset : v->folder.octets;
        }
        uint8_t *to = (uint8_t *)buf + done;
        uint64_t piece = (at < end ? end : next) - at;
        n = piece < left ? (size_t)piece : left;
        if (at >= end)
            memset(to, 0, n);
        else if (i == v->folder.count)
            memcpy(to, v->index + at, n);
        else if (read_file(v, i, to, n, at - begin) < 0)
            return -1;
        done += n;
    }
    return (ssize_t)done;
}
