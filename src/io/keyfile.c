#include "io/keyfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/file.h"
#include "io/limits.h"

static enum cv_err check(const char *path, int fd, struct io_why *why) {
    struct stat st;
    if (fstat(fd, &st) != 0)
        return io_why_errno(why, path, errno);
    if (!S_ISREG(st.st_mode)) {
        io_why_set(why, "%s: is not a plain file; a key is kept in one", path);
        return CV_ERR_DENIED;
    }
    if (st.st_mode & 077) {
        io_why_set(why, "%s: others may read this key; chmod 600 it", path);
        return CV_ERR_DENIED;
    }
    return CV_ERR_OK;
}

enum cv_err io_keyfile_read(const char *path, char *ret, size_t cap, struct io_why *why) {
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return io_why_errno(why, path, errno);
    enum cv_err err = check(path, fd, why);
    ssize_t len = err ? 0 : io_file_pread(fd, ret, cap, 0);
    if (len < 0)
        err = io_why_errno(why, path, errno);
    close(fd);
    if (!err && (size_t)len == cap) {
        io_why_set(why, "%s: is too long for a key", path);
        err = CV_ERR_LIMIT;
    }
    if (!err)
        ret[len] = 0;
    return err;
}

enum cv_err io_keyfile_load(const char *path, size_t cap, uint8_t **ret, size_t *ret_len,
                            struct io_why *why) {
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return io_why_errno(why, path, errno);
    struct stat st;
    uint8_t *buf = NULL;
    ssize_t len = 0;
    enum cv_err err = check(path, fd, why);
    if (!err && fstat(fd, &st) != 0)
        err = io_why_errno(why, path, errno);
    if (!err && (uint64_t)st.st_size > cap) {
        io_why_set(why, "%s: is too long to be one of ours", path);
        err = CV_ERR_LIMIT;
    }
    if (!err && !(buf = malloc((size_t)st.st_size + 1)))
        err = io_why_errno(why, path, ENOMEM);
    if (!err && (len = io_file_pread(fd, buf, (size_t)st.st_size, 0)) < 0)
        err = io_why_errno(why, path, errno);
    close(fd);
    if (err) {
        free(buf);
        return err;
    }
    *ret = buf;
    *ret_len = (size_t)len;
    return CV_ERR_OK;
}

/* A new name lasts when its folder is on disk, too. Where a folder cannot be synced, or not be
 * read, the file is all that can be done. */
static int sync_folder(const char *path) {
    char folder[IO_PATH_MAX];
    const char *slash = strrchr(path, '/');
    size_t len = slash ? (size_t)(slash - path) : 0;
    if (len >= sizeof folder) {
        errno = ENAMETOOLONG;
        return -1;
    }
    if (len == 0)
        len = 1; /* the root, or where we are */
    memcpy(folder, slash ? path : ".", len);
    folder[len] = '\0';
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return errno == EACCES ? 0 : -1;
    int failed = fsync(fd), error = errno;
    close(fd);
    errno = error;
    return failed && error != EINVAL && error != ENOTSUP ? -1 : 0;
}

enum cv_err io_keyfile_create(const char *path, const char *text, struct io_why *why) {
    return io_keyfile_save(path, text, strlen(text), why);
}

enum cv_err io_keyfile_save(const char *path, const void *data, size_t len, struct io_why *why) {
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return io_why_errno(why, path, errno);
    enum cv_err err = CV_ERR_OK;
    if (io_file_pwrite(fd, data, len, 0) || fsync(fd) != 0 || sync_folder(path) != 0) {
        err = io_why_errno(why, path, errno);
        (void)unlink(path);
    }
    close(fd);
    return err;
}
