#include "io/folder_unpack.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/file.h"
#include "io/limits.h"
#include "io/store_priv.h"

enum { PIECE = 256 << 10 };

struct work {
    struct io_folder_unpack *u;
    int top;
    uint8_t *ours, *theirs; /* PIECE each */
    struct io_why *why;
};

static enum cv_err failed(struct work *w, const char *path, int error) {
    char full[1400];
    snprintf(full, sizeof full, "%.600s/%.700s", w->u->path, path);
    return io_why_errno(w->why, full, error);
}

static enum cv_err in_the_way(struct work *w, const char *path, const char *what) {
    io_why_set(w->why, "%.200s/%.200s: %s; move it away, or name another folder with -o",
               w->u->path, path, what);
    return CV_ERR_EXIST;
}

/* The folder that `path` lies in, made where it is not there; no link is followed. */
static enum cv_err open_folder_of(struct work *w, const char *path, int *ret) {
    int fd = openat(w->top, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (const char *part = path, *slash; fd >= 0 && (slash = strchr(part, '/'));
         part = slash + 1) {
        char name[IO_FOLDER_PART_MAX + 1];
        snprintf(name, sizeof name, "%.*s", (int)(slash - part), part);
        int inner = mkdirat(fd, name, 0777) == 0 || errno == EEXIST
                        ? openat(fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
                        : -1;
        int error = errno;
        close(fd);
        fd = inner;
        errno = error;
    }
    if (fd >= 0) {
        *ret = fd;
        return CV_ERR_OK;
    }
    if (errno == ELOOP || errno == ENOTDIR)
        return in_the_way(w, path, "something that is no folder is in the way");
    return failed(w, path, errno);
}

/* Reads `len` octets of the content; it is complete, so that less is an error. */
static enum cv_err read_content(struct work *w, uint64_t offset, size_t len) {
    ssize_t n = io_file_pread(w->u->store->data, w->ours, len, offset);
    if (n >= 0 && (size_t)n == len)
        return CV_ERR_OK;
    if (n < 0)
        return io_why_errno(w->why, w->u->store->data_where, errno);
    io_why_set(w->why, "%s: shorter than it was; fetch it again", w->u->store->data_where);
    return CV_ERR_CORRUPT;
}

static bool go_on(struct work *w, size_t octets) {
    atomic_fetch_add(&w->u->done, octets);
    return !atomic_load(&w->u->stop);
}

/* What is there is the file already, or in the way. */
static enum cv_err compare(struct work *w, const struct io_folder_file *f, int there) {
    struct stat st;
    if (fstat(there, &st) != 0)
        return failed(w, f->path, errno);
    bool same = S_ISREG(st.st_mode) && (uint64_t)st.st_size == f->octets;
    for (uint64_t at = 0; same && at < f->octets;) {
        size_t n = f->octets - at < PIECE ? (size_t)(f->octets - at) : PIECE;
        enum cv_err err = read_content(w, f->offset + at, n);
        if (err)
            return err;
        ssize_t got = io_file_pread(there, w->theirs, n, at);
        same = got == (ssize_t)n && memcmp(w->ours, w->theirs, n) == 0;
        at += n;
        if (!go_on(w, n))
            return CV_ERR_CLOSED;
    }
    return same ? CV_ERR_OK : in_the_way(w, f->path, "is there already and differs");
}

static enum cv_err write_part(struct work *w, const struct io_folder_file *f) {
    int fd =
        openat(w->top, IO_FOLDER_PART, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0666);
    if (fd < 0)
        return failed(w, IO_FOLDER_PART, errno);
    enum cv_err err = CV_ERR_OK;
    for (uint64_t at = 0; !err && at < f->octets;) {
        size_t n = f->octets - at < PIECE ? (size_t)(f->octets - at) : PIECE;
        err = read_content(w, f->offset + at, n);
        if (!err && io_file_pwrite(fd, w->ours, n, at) != 0)
            err = failed(w, f->path, errno);
        at += n;
        if (!err && !go_on(w, n))
            err = CV_ERR_CLOSED;
    }
    /* Its content before its name: a name that is there says that it is whole. */
    if (!err && fdatasync(fd) != 0)
        err = failed(w, f->path, errno);
    close(fd);
    return err;
}

static enum cv_err unpack_file(struct work *w, const struct io_folder_file *f) {
    const char *slash = strrchr(f->path, '/'), *name = slash ? slash + 1 : f->path;
    int folder = -1;
    enum cv_err err = open_folder_of(w, f->path, &folder);
    if (err)
        return err;
    int there = openat(folder, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    if (there >= 0) {
        err = compare(w, f, there);
        close(there);
    } else if (errno == ELOOP) {
        err = in_the_way(w, f->path, "is a link");
    } else if (errno != ENOENT) {
        err = failed(w, f->path, errno);
    } else {
        err = write_part(w, f);
        if (!err && renameat2(w->top, IO_FOLDER_PART, folder, name, RENAME_NOREPLACE) != 0)
            err = failed(w, f->path, errno);
    }
    close(folder);
    return err;
}

static enum cv_err unpack_all(struct work *w) {
    enum cv_err err = CV_ERR_OK;
    if (mkdir(w->u->path, 0777) != 0 && errno != EEXIST)
        return io_why_errno(w->why, w->u->path, errno);
    w->top = open(w->u->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (w->top < 0)
        return io_why_errno(w->why, w->u->path, errno);
    for (size_t i = 0; !err && i < w->u->folder->count; i++)
        err = unpack_file(w, &w->u->folder->files[i]);
    (void)unlinkat(w->top, IO_FOLDER_PART, 0);
    if (!err && syncfs(w->top) != 0)
        err = io_why_errno(w->why, w->u->path, errno);
    close(w->top);
    return err;
}

enum cv_err io_folder_unpack(struct io_folder_unpack *u, struct io_why *why) {
    struct work w = {.u = u, .top = -1, .ours = malloc(PIECE), .theirs = malloc(PIECE), .why = why};
    atomic_store(&u->done, 0);
    enum cv_err err = w.ours && w.theirs ? unpack_all(&w) : CV_ERR_NOMEM;
    free(w.ours);
    free(w.theirs);
    return err;
}
