/* The state folder in a temporary folder: what it creates, and each refusal
 * with the whole line a person would see. */
#include "support/suite.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "crypto/rng_seeded.h"
#include "io/state.h"

#include "support/folder.h"

CV_SUITE(io_state);

static unsigned folders_synced;

int __real_fsync(int fd);
int __wrap_fsync(int fd);
int __wrap_fsync(int fd) {
    struct stat st;
    cr_assert_eq(fstat(fd, &st), 0);
    folders_synced += S_ISDIR(st.st_mode);
    return __real_fsync(fd);
}

static struct io_state *open_state(const char *path) {
    struct io_state *s = NULL;
    struct io_why why = {""};
    cr_assert_eq(io_state_open(path, &s, &why), CV_ERR_OK, "%s", why.text);
    return s;
}

static void put(const char *top, const char *name, const char *text, mode_t mode) {
    char path[512];
    snprintf(path, sizeof path, "%s/%s", top, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    cr_assert_geq(fd, 0);
    cr_assert_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
    cr_assert_eq(chmod(path, mode), 0);
}

static unsigned mode_of(const char *top, const char *name) {
    char path[512];
    struct stat st;
    snprintf(path, sizeof path, "%s/%s", top, name);
    cr_assert_eq(lstat(path, &st), 0);
    return st.st_mode & 07777;
}

Test(io_state, creates_private_folders_and_files) {
    char top[256], deep[300];
    folder_make(top);
    snprintf(deep, sizeof deep, "%s/a/b/c/", top);
    umask(0);
    struct io_state *s = open_state(deep);
    cr_expect_eq(mode_of(top, "a"), 0700);
    cr_expect_eq(mode_of(top, "a/b/c"), 0700);
    cr_expect_eq(io_state_write(s, "table", "hello", 5, NULL), CV_ERR_OK);
    cr_expect_eq(mode_of(io_state_path(s), "table"), 0600);
    cr_expect_eq(mode_of(io_state_path(s), "lock"), 0600);
    int fd = -1;
    cr_expect_eq(io_state_folder(s, "swarms", &fd, NULL), CV_ERR_OK);
    cr_expect_geq(fd, 0);
    close(fd);
    cr_expect_eq(mode_of(io_state_path(s), "swarms"), 0700);
    io_state_close(s);
    folder_remove(top);
}

Test(io_state, reads_what_was_written_last) {
    char top[256], buf[16];
    size_t len = 99;
    folder_make(top);
    struct io_state *s = open_state(top);
    cr_expect_eq(io_state_read(s, "table", buf, sizeof buf, &len, NULL), CV_ERR_NOENT);
    cr_expect_eq(len, 99);
    cr_expect_eq(io_state_write(s, "table", "a longer text", 13, NULL), CV_ERR_OK);
    cr_expect_eq(io_state_write(s, "table", "short", 5, NULL), CV_ERR_OK);
    cr_expect_eq(io_state_read(s, "table", buf, 5, &len, NULL), CV_ERR_OK);
    cr_expect_eq(len, 5);
    cr_expect_arr_eq(buf, "short", 5);
    cr_expect_eq(io_state_read(s, "table", buf, 4, &len, NULL), CV_ERR_LIMIT);
    cr_expect_eq(folders_synced, 2, "each new name is on disk");
    cr_expect_eq(io_state_remove(s, "table", NULL), CV_ERR_OK);
    cr_expect_eq(folders_synced, 3, "and so is that it is gone");
    cr_expect_eq(io_state_remove(s, "table", NULL), CV_ERR_OK);
    cr_expect_eq(io_state_read(s, "table", buf, 5, &len, NULL), CV_ERR_NOENT);
    io_state_close(s);
    folder_remove(top);
}

Test(io_state, refuses_a_folder_that_others_may_read) {
    char top[256], want[600];
    struct io_state *s = NULL;
    struct io_why why;
    folder_make(top);
    cr_assert_eq(chmod(top, 0755), 0);
    cr_expect_eq(io_state_open(top, &s, &why), CV_ERR_DENIED);
    snprintf(want, sizeof want, "%s: others may read it (mode 0755); run: chmod 700 %s", top, top);
    cr_expect_str_eq(why.text, want);
    cr_expect_null(s);
    folder_remove(top);
}

Test(io_state, refuses_links_and_what_is_no_folder) {
    char top[256], link[300], file[300], want[600], buf[8];
    struct io_state *s = NULL;
    struct io_why why;
    size_t len;
    folder_make(top);
    snprintf(link, sizeof link, "%s-link", top);
    cr_assert_eq(symlink(top, link), 0);
    cr_expect_neq(io_state_open(link, &s, &why), CV_ERR_OK);
    unlink(link);

    put(top, "file", "x", 0600);
    snprintf(file, sizeof file, "%s/file", top);
    cr_expect_neq(io_state_open(file, &s, &why), CV_ERR_OK);

    s = open_state(top);
    snprintf(link, sizeof link, "%s/table", top);
    cr_assert_eq(symlink("file", link), 0);
    cr_expect_eq(io_state_read(s, "table", buf, sizeof buf, &len, &why), CV_ERR_DENIED);
    snprintf(want, sizeof want, "%s: is a symbolic link; culvert does not follow links here", link);
    cr_expect_str_eq(why.text, want);
    io_state_close(s);
    folder_remove(top);
}

Test(io_state, one_process_at_a_time) {
    char top[256], want[600];
    struct io_state *second = NULL;
    struct io_why why;
    folder_make(top);
    cr_expect_eq(io_state_holder(top), 0);
    struct io_state *s = open_state(top);
    cr_expect_eq(io_state_holder(top), getpid());
    cr_expect_eq(io_state_open(top, &second, &why), CV_ERR_EXIST);
    snprintf(want, sizeof want,
             "%s: in use by process %d; stop it or choose another folder with --state DIR", top,
             (int)getpid());
    cr_expect_str_eq(why.text, want);
    io_state_close(s);
    cr_expect_eq(io_state_holder(top), 0);
    io_state_close(open_state(top));
    folder_remove(top);
}

Test(io_state, the_lock_ends_with_a_killed_process) {
    char top[256];
    int ready[2];
    folder_make(top);
    cr_assert_eq(pipe(ready), 0);
    pid_t child = fork();
    if (child == 0) {
        struct io_state *s;
        if (io_state_open(top, &s, NULL) == CV_ERR_OK && write(ready[1], "x", 1) == 1)
            pause();
        _exit(1);
    }
    char x;
    cr_assert_eq(read(ready[0], &x, 1), 1);
    cr_expect_eq(io_state_holder(top), child);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    io_state_close(open_state(top));
    close(ready[0]);
    close(ready[1]);
    folder_remove(top);
}

Test(io_state, keys_are_made_once_and_kept_private) {
    char top[256], want[700];
    uint8_t first[32], again[32];
    struct io_why why;
    struct cv_rng_seeded state;
    cv_rng_seeded_init(&state, 5);
    struct cv_rng dice = cv_rng_seeded(&state);
    folder_make(top);
    struct io_state *s = open_state(top);

    cr_expect_eq(io_state_key(s, "identity.key", &dice, first, 32, &why), CV_ERR_OK);
    cr_expect_eq(mode_of(top, "identity.key"), 0600);
    cr_expect_eq(io_state_key(s, "identity.key", &dice, again, 32, &why), CV_ERR_OK);
    cr_expect_arr_eq(first, again, 32);

    put(top, "wide.key", "0123456789abcdef0123456789abcdef", 0640);
    memset(again, 7, sizeof again);
    cr_expect_eq(io_state_key(s, "wide.key", &dice, again, 32, &why), CV_ERR_DENIED);
    snprintf(want, sizeof want,
             "%s/wide.key: others may read it (mode 0640); run: chmod 600 %s/wide.key", top, top);
    cr_expect_str_eq(why.text, want);
    cr_expect_eq(again[0], 7);

    static const char *const lengths[] = {"", "short", "0123456789abcdef0123456789abcdef0"};
    for (size_t i = 0; i < 3; i++) {
        put(top, "cut.key", lengths[i], 0600);
        cr_expect_eq(io_state_key(s, "cut.key", &dice, again, 32, &why), CV_ERR_CORRUPT);
        snprintf(want, sizeof want,
                 "%s/cut.key: damaged: a key has 32 octets; restore it from a backup, or move it "
                 "away to get a new one",
                 top);
        cr_expect_str_eq(why.text, want);
        cr_expect_eq(again[0], 7);
    }
    io_state_close(s);
    folder_remove(top);
}

Test(io_state, xdg_folders) {
    static const struct {
        const char *state_home, *home, *want;
    } rows[] = {
        {"/var/x", "/h", "/var/x/culvert"},
        {NULL, "/h", "/h/.local/state/culvert"},
        {"relative", "/h", "/h/.local/state/culvert"},
        {NULL, NULL, NULL},
        {NULL, "relative", NULL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char got[100] = "untouched";
        struct io_why why;
        unsetenv("XDG_STATE_HOME");
        unsetenv("HOME");
        if (rows[i].state_home)
            setenv("XDG_STATE_HOME", rows[i].state_home, 1);
        if (rows[i].home)
            setenv("HOME", rows[i].home, 1);
        enum cv_err err = io_xdg_path(IO_XDG_STATE, got, sizeof got, &why);
        cr_expect_eq(err, rows[i].want ? CV_ERR_OK : CV_ERR_NOENT, "row %zu", i);
        cr_expect_str_eq(got, rows[i].want ? rows[i].want : "untouched", "row %zu", i);
        cr_expect_eq(io_xdg_path(IO_XDG_STATE, got, 5, &why) == CV_ERR_OK, false);
    }
}
