#include "io/state.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "crypto/keys.h"
#include "io/file.h"
#include "io/limits.h"

struct io_state {
    char path[IO_PATH_MAX];
    int folder, lock;
};

#define LOCK_NAME "lock"

static void full_name(const struct io_state *s, const char *name, char out[IO_PATH_MAX]) {
    if (snprintf(out, IO_PATH_MAX, "%.3900s/%.*s", s->path, IO_NAME_MAX, name) < 0)
        out[0] = '\0';
}

static void check_name(const char *name) {
    assert(name[0] != '\0');
    assert(name[0] != '.');
    assert(strchr(name, '/') == NULL);
    assert(strlen(name) < IO_NAME_MAX);
}

/* What a person can do about a folder, or a file in it, that cannot be used. */
static enum cv_err unusable(struct io_why *why, const char *path, int error) {
    char words[128];
    enum cv_err err = io_why_errno(why, path, error);
    if (error == EACCES || error == EPERM)
        io_why_set(why,
                   "%s: %s; let it belong to the user that runs this (chown), or choose another "
                   "folder with --state DIR",
                   path, strerror_r(error, words, sizeof words));
    else if (err == CV_ERR_FULL)
        io_why_set(why, "%s: %s; make room", path, strerror_r(error, words, sizeof words));
    else if (error != ELOOP && error != ENOENT)
        io_why_set(why, "%s: %s; choose another folder with --state DIR", path,
                   strerror_r(error, words, sizeof words));
    return err;
}

/* mkdir -p, 0700 for what is created. */
static int make_folders(const char *path) {
    char part[IO_PATH_MAX];
    for (const char *slash = path; slash;) {
        slash = strchr(slash + 1, '/');
        size_t len = slash ? (size_t)(slash - path) : strlen(path);
        memcpy(part, path, len);
        part[len] = '\0';
        if (mkdir(part, 0700) != 0 && errno != EEXIST && !(slash && errno == EROFS))
            return -1;
    }
    return 0;
}

/* Ours alone? */
static enum cv_err check_private(int fd, const char *path, const char *mode, struct io_why *why) {
    struct stat st;
    if (fstat(fd, &st) != 0)
        return io_why_errno(why, path, errno);
    if (st.st_uid != geteuid()) {
        io_why_set(why, "%s: belongs to another user; choose a folder of your own with --state DIR",
                   path);
        return CV_ERR_DENIED;
    }
    if (st.st_mode & 077) {
        io_why_set(why, "%s: others may read it (mode %04o); run: chmod %s %s", path,
                   (unsigned)(st.st_mode & 07777), mode, path);
        return CV_ERR_DENIED;
    }
    return CV_ERR_OK;
}

static long pid_in(int lock) {
    char text[24] = "";
    ssize_t n = pread(lock, text, sizeof text - 1, 0);
    long pid = n > 0 ? strtol(text, NULL, 10) : 0;
    return pid > 0 && pid < INT_MAX ? pid : 0;
}

static enum cv_err lock_folder(struct io_state *s, struct io_why *why) {
    char path[IO_PATH_MAX];
    full_name(s, LOCK_NAME, path);
    s->lock = openat(s->folder, LOCK_NAME, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (s->lock < 0)
        return unusable(why, path, errno);
    if (flock(s->lock, LOCK_EX | LOCK_NB) != 0) {
        if (errno != EWOULDBLOCK)
            return unusable(why, path, errno);
        io_why_set(why,
                   "%s: in use by process %ld; stop it or choose another folder with --state DIR",
                   s->path, pid_in(s->lock));
        return CV_ERR_EXIST;
    }
    char pid[24];
    int n = snprintf(pid, sizeof pid, "%ld\n", (long)getpid());
    if (ftruncate(s->lock, 0) != 0 || io_file_pwrite(s->lock, pid, (size_t)n, 0) != 0)
        return unusable(why, path, errno);
    return CV_ERR_OK;
}

static enum cv_err open_folder(struct io_state *s, struct io_why *why) {
    s->folder = open(s->path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (s->folder < 0)
        return unusable(why, s->path, errno);
    return check_private(s->folder, s->path, "700", why);
}

static enum cv_err find_folder(struct io_state *s, const char *path, struct io_why *why) {
    enum cv_err err = CV_ERR_OK;
    if (!path)
        err = io_xdg_path(IO_XDG_STATE, s->path, sizeof s->path, why);
    else if (strlen(path) == 0 || strlen(path) > IO_PATH_MAX - IO_NAME_MAX - 2) {
        io_why_set(why, "the path of the state folder is %s", path[0] ? "too long" : "empty");
        err = CV_ERR_INVAL;
    } else
        memcpy(s->path, path, strlen(path) + 1);
    for (size_t n = strlen(s->path); n > 1 && s->path[n - 1] == '/'; n--)
        s->path[n - 1] = '\0';
    return err;
}

static enum cv_err open_state(const char *path, bool hold, struct io_state **ret,
                              struct io_why *why) {
    struct io_state *s = calloc(1, sizeof *s);
    if (!s)
        return CV_ERR_NOMEM;
    s->folder = s->lock = -1;
    enum cv_err err = find_folder(s, path, why);
    if (err == CV_ERR_OK && hold && make_folders(s->path) != 0)
        err = unusable(why, s->path, errno);
    if (err == CV_ERR_OK)
        err = open_folder(s, why);
    if (err == CV_ERR_OK && hold)
        err = lock_folder(s, why);
    if (err != CV_ERR_OK) {
        io_state_close(s);
        return err;
    }
    *ret = s;
    return CV_ERR_OK;
}

enum cv_err io_state_open(const char *path, struct io_state **ret, struct io_why *why) {
    return open_state(path, true, ret, why);
}

enum cv_err io_state_look(const char *path, struct io_state **ret, struct io_why *why) {
    return open_state(path, false, ret, why);
}

struct io_state *io_state_close(struct io_state *s) {
    if (!s)
        return NULL;
    if (s->lock >= 0)
        close(s->lock); /* the lock ends with its descriptor, also after kill -9 */
    if (s->folder >= 0)
        close(s->folder);
    free(s);
    return NULL;
}

pid_t io_state_holder(const char *path) {
    char lock[IO_PATH_MAX + 8];
    snprintf(lock, sizeof lock, "%s/" LOCK_NAME, path);
    int fd = open(lock, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return 0;
    long pid = 0;
    if (flock(fd, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK)
        pid = pid_in(fd);
    close(fd);
    return (pid_t)pid;
}

const char *io_state_path(const struct io_state *s) {
    return s->path;
}

int io_state_fd(const struct io_state *s) {
    return s->folder;
}

enum cv_err io_state_folder(struct io_state *s, const char *name, int *ret, struct io_why *why) {
    char path[IO_PATH_MAX];
    check_name(name);
    full_name(s, name, path);
    if (mkdirat(s->folder, name, 0700) != 0 && errno != EEXIST)
        return io_why_errno(why, path, errno);
    int fd = openat(s->folder, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return io_why_errno(why, path, errno);
    enum cv_err err = check_private(fd, path, "700", why);
    if (err != CV_ERR_OK) {
        close(fd);
        return err;
    }
    *ret = fd;
    return CV_ERR_OK;
}

/* Opens a plain file for reading. */
static enum cv_err open_file(struct io_state *s, const char *name, const char *path, int *ret,
                             struct io_why *why) {
    struct stat st;
    int fd = openat(s->folder, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return unusable(why, path, errno);
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        close(fd);
        io_why_set(why, "%s: not a plain file; move it away", path);
        return CV_ERR_DENIED;
    }
    *ret = fd;
    return CV_ERR_OK;
}

static enum cv_err read_all(int fd, const char *path, void *buf, size_t cap, size_t *ret_len,
                            struct io_why *why) {
    struct stat st;
    if (fstat(fd, &st) != 0)
        return io_why_errno(why, path, errno);
    if ((uint64_t)st.st_size > cap) {
        io_why_set(why, "%s: damaged: %lld octets where at most %zu can be; move it away", path,
                   (long long)st.st_size, cap);
        return CV_ERR_LIMIT;
    }
    ssize_t n = io_file_pread(fd, buf, cap, 0);
    if (n < 0)
        return io_why_errno(why, path, errno);
    *ret_len = (size_t)n;
    return CV_ERR_OK;
}

enum cv_err io_state_read(struct io_state *s, const char *name, void *buf, size_t cap,
                          size_t *ret_len, struct io_why *why) {
    char path[IO_PATH_MAX];
    int fd = -1;
    check_name(name);
    full_name(s, name, path);
    enum cv_err err = open_file(s, name, path, &fd, why);
    if (err != CV_ERR_OK)
        return err;
    err = read_all(fd, path, buf, cap, ret_len, why);
    close(fd);
    return err;
}

enum cv_err io_state_write(struct io_state *s, const char *name, const void *data, size_t len,
                           struct io_why *why) {
    char path[IO_PATH_MAX];
    check_name(name);
    full_name(s, name, path);
    enum cv_err err = io_file_replace(s->folder, name, data, len, path, why);
    return err == CV_ERR_FULL ? unusable(why, path, ENOSPC) : err;
}

enum cv_err io_state_remove(struct io_state *s, const char *name, struct io_why *why) {
    char path[IO_PATH_MAX];
    check_name(name);
    full_name(s, name, path);
    if (unlinkat(s->folder, name, 0) != 0)
        return errno == ENOENT ? CV_ERR_OK : io_why_errno(why, path, errno);
    if (fsync(s->folder) != 0)
        return io_why_errno(why, path, errno);
    return CV_ERR_OK;
}

static enum cv_err read_key(int fd, const char *path, void *key, size_t len, struct io_why *why) {
    uint8_t buf[CV_SIGNATURE + 1]; /* one more, to notice a longer file */
    size_t got;
    enum cv_err err = check_private(fd, path, "600", why);
    if (err == CV_ERR_OK)
        err = read_all(fd, path, buf, len + 1, &got, why);
    if (err == CV_ERR_LIMIT || (err == CV_ERR_OK && got != len)) {
        io_why_set(why,
                   "%s: damaged: a key has %zu octets; restore it from a backup, or move it "
                   "away to get a new one",
                   path, len);
        err = CV_ERR_CORRUPT;
    }
    if (err == CV_ERR_OK)
        memcpy(key, buf, len);
    cv_wipe(buf, sizeof buf);
    return err;
}

enum cv_err io_state_key(struct io_state *s, const char *name, const struct cv_rng *rng, void *key,
                         size_t len, struct io_why *why) {
    char path[IO_PATH_MAX];
    int fd = -1;
    check_name(name);
    assert(len <= CV_SIGNATURE);
    full_name(s, name, path);
    enum cv_err err = open_file(s, name, path, &fd, why);
    if (err == CV_ERR_OK) {
        err = read_key(fd, path, key, len, why);
        close(fd);
        return err;
    }
    if (err != CV_ERR_NOENT)
        return err;

    uint8_t fresh[CV_SIGNATURE];
    cv_rng_fill(rng, fresh, len);
    err = io_file_replace(s->folder, name, fresh, len, path, why);
    if (err == CV_ERR_OK)
        memcpy(key, fresh, len);
    cv_wipe(fresh, sizeof fresh);
    return err;
}
