#include "io/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "io/limits.h"

ssize_t io_file_pread(int fd, void *buf, size_t len, uint64_t offset) {
    uint8_t *at = buf;
    size_t done = 0;
    while (done < len) {
        ssize_t n = pread(fd, at + done, len - done, (off_t)(offset + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        if (n == 0)
            break;
        done += (size_t)n;
    }
    return (ssize_t)done;
}

int io_file_pwrite(int fd, const void *data, size_t len, uint64_t offset) {
    const uint8_t *at = data;
    size_t done = 0;
    while (done < len) {
        ssize_t n = pwrite(fd, at + done, len - done, (off_t)(offset + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        if (n == 0) {
            errno = ENOSPC;
            return -1;
        }
        done += (size_t)n;
    }
    return 0;
}

static int write_new(int folder, const char *name, const void *data, size_t len) {
    int fd = openat(folder, name, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return -1;
    int failed = io_file_pwrite(fd, data, len, 0) || fsync(fd);
    int error = errno;
    if (close(fd) != 0 && !failed) {
        failed = 1;
        error = errno;
    }
    errno = error;
    return failed ? -1 : 0;
}

enum cv_err io_file_replace(int folder, const char *name, const void *data, size_t len,
                            const char *what, struct io_why *why) {
    char temporary[IO_NAME_MAX + 8];
    snprintf(temporary, sizeof temporary, ".%s.new", name);
    if (write_new(folder, temporary, data, len) == 0 &&
        renameat(folder, temporary, folder, name) == 0 && fsync(folder) == 0)
        return CV_ERR_OK;
    int error = errno;
    unlinkat(folder, temporary, 0);
    return io_why_errno(why, what, error);
}
