#include "culvert-ledger/hold.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "culvert-ledger/file.h"

__attribute__((noreturn)) static void errno_die(const char *path, const char *done) {
    char why[128];
    ledger_die(LEDGER_NO_FILE, "%s: cannot be %s: %s", path, done,
               strerror_r(errno, why, sizeof why));
}

/* Behind links, as a node's folder is the one that the file is really in. */
static void folder_of(const char *path, char out[PATH_MAX]) {
    char given[PATH_MAX];
    if (realpath(path, out)) {
        strrchr(out, '/')[0] = '\0';
        return;
    }
    if (errno != ENOENT || strlen(path) >= sizeof given)
        errno_die(path, "found");
    snprintf(given, sizeof given, "%s", path);
    char *name = strrchr(given, '/');
    if (name)
        name[name == given ? 1 : 0] = '\0';
    if (!realpath(name ? given : ".", out))
        errno_die(path, "found");
}

/* Of a node is a number or nothing, so is what ended in between. Whoever names a ledger elsewhere
 * may have another thing of that name beside it. */
static bool is_of_a_node(int fd) {
    char text[24];
    ssize_t n = pread(fd, text, sizeof text, 0);
    if (n < 0 || n == (ssize_t)sizeof text)
        return false;
    for (ssize_t i = 0; i < n; i++)
        if (text[i] != '\n' && (text[i] < '0' || text[i] > '9'))
            return false;
    return true;
}

void ledger_hold(const char *path, const char *instead) {
    char folder[PATH_MAX], lock[PATH_MAX + 8], pid[24] = "";
    folder_of(path, folder);
    /* SQLite would leave files behind, and not say what is wrong. */
    if ((access(path, F_OK) == 0 && access(path, W_OK) != 0) || access(folder, W_OK) != 0)
        errno_die(path, "written");
    snprintf(lock, sizeof lock, "%s/lock", folder);
    int fd = open(lock, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT)
        return;
    if (fd < 0)
        errno_die(lock, "opened");
    if (flock(fd, LOCK_EX | LOCK_NB) == 0) {
        if (!is_of_a_node(fd))
            return;
        int n = snprintf(pid, sizeof pid, "%ld\n", (long)getpid());
        if (ftruncate(fd, 0) != 0 || pwrite(fd, pid, (size_t)n, 0) != n)
            errno_die(lock, "written");
        return;
    }
    if (errno != EWOULDBLOCK)
        errno_die(lock, "locked");
    if (pread(fd, pid, sizeof pid - 1, 0) < 0)
        pid[0] = '\0';
    ledger_die(LEDGER_NO_FILE,
               "%s: in use by a running node (process %ld); stop it first, or let it be: %s", path,
               strtol(pid, NULL, 10), instead);
}
