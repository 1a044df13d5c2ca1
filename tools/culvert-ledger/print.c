#include "culvert-ledger/print.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/text.h"

/* Of output that is not in its place yet. */
static char *beside;

/* What SQLite keeps beside it belongs to it: changes of a node that runs. */
static void refuse_ledger(const struct ledger_file *f, const char *path) {
    static const char *const ends[] = {"", "-wal", "-shm", "-journal"};
    char real[PATH_MAX], part[PATH_MAX + 16];
    struct stat to, from;
    if (stat(path, &to) != 0 || !realpath(f->path, real))
        return;
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        snprintf(part, sizeof part, "%s%s", real, ends[i]);
        if (stat(part, &from) == 0 && to.st_dev == from.st_dev && to.st_ino == from.st_ino)
            ledger_die(LEDGER_USAGE, "%s: is the ledger itself; name another file with --output",
                       path);
    }
}

/* With the rights of the file it will replace, `was`, or those of a new one. */
static bool take_rights(int fd, const struct stat *was) {
    struct stat st;
    if (!was) {
        mode_t mask = umask(0);
        umask(mask);
        return fchmod(fd, 0666 & ~mask) == 0;
    }
    if (fstat(fd, &st) != 0 ||
        (st.st_gid != was->st_gid && fchown(fd, (uid_t)-1, was->st_gid) != 0))
        return false;
    return fchmod(fd, was->st_mode & 0777) == 0;
}

/* A file in the same folder that will take the place of `path`; -1: that is a pipe or a
 * device, has several names or another owner, or its folder takes no new file. */
static int open_beside(const char *path) {
    struct stat was;
    bool there = lstat(path, &was) == 0;
    if (there && (!S_ISREG(was.st_mode) || was.st_nlink != 1 || was.st_uid != geteuid() ||
                  access(path, W_OK) != 0))
        return -1;
    if (asprintf(&beside, "%s.XXXXXX", path) < 0)
        ledger_die(LEDGER_NO_FILE, "%s: out of memory", path);
    int fd = mkostemp(beside, O_CLOEXEC);
    if (fd >= 0 && take_rights(fd, there ? &was : NULL)) {
        ledger_making(beside);
        return fd;
    }
    if (fd >= 0) {
        unlink(beside);
        close(fd);
    }
    free(beside);
    beside = NULL;
    return -1;
}

FILE *ledger_output_open(const struct ledger_file *f, const char *path) {
    if (!path)
        return stdout;
    refuse_ledger(f, path);
    int fd = open_beside(path);
    FILE *file = fd < 0 ? fopen(path, "w") : fdopen(fd, "w");
    if (!file)
        ledger_die(LEDGER_NO_FILE, "%s: cannot be written (%s)", path, strerrorname_np(errno));
    return file;
}

void ledger_output_done(FILE *to, const char *path) {
    if (!path)
        return;
    bool whole = !ferror(to) && fflush(to) == 0 && (!beside || fsync(fileno(to)) == 0);
    if (fclose(to) != 0 || !whole || (beside && rename(beside, path) != 0))
        ledger_die(LEDGER_NO_FILE, "%s: cannot be written whole; is the disk full?", path);
    ledger_made();
    free(beside);
    beside = NULL;
}

void ledger_print_json(json_t *value) {
    json_dumpf(value, stdout, JSON_INDENT(2));
    putchar('\n');
    json_decref(value);
}

json_t *ledger_json_id(const struct ledger_file *f, const uint8_t key[CV_KEY]) {
    char hex[2 * CV_KEY + 1];
    return json_string(ledger_id(f, key, hex));
}

json_t *ledger_json_hex(const uint8_t *data, size_t len) {
    char hex[2 * REP_RECORD + 1];
    return len <= REP_RECORD ? json_string(cv_hex(data, len, hex)) : NULL;
}

json_t *ledger_json_octets(uint64_t n) {
    return json_integer(n < INT64_MAX ? (json_int_t)n : INT64_MAX);
}

const char *ledger_size(uint64_t n, char out[16]) {
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double v = (double)n;
    unsigned i = 0;
    while (v >= 1024 && i < 6) {
        v /= 1024;
        i++;
    }
    snprintf(out, 16, i ? "%.1f %s" : "%.0f %s", v, units[i]);
    return out;
}

const char *ledger_short(const struct ledger_file *f, const uint8_t key[CV_KEY], char out[256]) {
    char hex[2 * CV_KEY + 1];
    const char *name = ledger_id(f, key, hex);
    snprintf(out, 256, "%.*s", name == hex ? LEDGER_SHORT : 255, name);
    return ledger_one_line(out);
}
