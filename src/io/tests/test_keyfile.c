/* A key file is made once, for us alone, and refused when it is not so. */
#include "io/keyfile.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "support/folder.h"
#include "support/suite.h"

CV_SUITE(keyfile);

/* What was on disk by when: files and folders in the order in which they were synchronised. */
static struct {
    ino_t inode[8];
    unsigned n, refuse; /* the one that fails, from 1 on */
} synced;

int __real_fsync(int fd);
int __wrap_fsync(int fd);
int __wrap_fsync(int fd) {
    struct stat st;
    cr_assert_eq(fstat(fd, &st), 0);
    cr_assert_lt(synced.n, 8);
    synced.inode[synced.n++] = st.st_ino;
    if (synced.n == synced.refuse) {
        errno = EIO;
        return -1;
    }
    return __real_fsync(fd);
}

static ino_t inode(const char *path) {
    struct stat st;
    cr_assert_eq(stat(path, &st), 0);
    return st.st_ino;
}

Test(keyfile, made_once_for_us_alone_and_refused_otherwise) {
    char folder[256], path[300], link_path[300], got[64];
    struct io_why why;
    struct stat st;
    folder_make(folder);
    snprintf(path, sizeof path, "%s/key.pem", folder);
    snprintf(link_path, sizeof link_path, "%s/link.pem", folder);
    cr_expect_eq(io_keyfile_read(path, got, sizeof got, &why), CV_ERR_NOENT);
    cr_assert_eq(io_keyfile_create(path, "secret\n", &why), CV_ERR_OK);
    cr_expect_eq(io_keyfile_create(path, "other\n", &why), CV_ERR_EXIST);
    cr_assert_eq(stat(path, &st), 0);
    cr_expect_eq(st.st_mode & 0777, 0600);
    cr_assert_eq(io_keyfile_read(path, got, sizeof got, &why), CV_ERR_OK);
    cr_expect_str_eq(got, "secret\n");
    cr_expect_eq(io_keyfile_read(path, got, 7, &why), CV_ERR_LIMIT);
    cr_assert_eq(symlink(path, link_path), 0);
    cr_expect_neq(io_keyfile_read(link_path, got, sizeof got, &why), CV_ERR_OK);
    cr_assert_eq(chmod(path, 0640), 0);
    cr_expect_eq(io_keyfile_read(path, got, sizeof got, &why), CV_ERR_DENIED);
    cr_expect(strstr(why.text, "chmod 600"), "%s", why.text);
    cr_expect_eq(io_keyfile_read(folder, got, sizeof got, &why), CV_ERR_DENIED);
    folder_remove(folder);
}

/* A power cut takes a name whose folder was not synchronised. */
Test(keyfile, is_on_disk_with_its_name) {
    char top[256], far[300], below[300], whole[300];
    struct io_why why;
    folder_make(top);
    cr_assert_eq(chdir(top), 0);
    snprintf(far, sizeof far, "%s/far", top);
    snprintf(below, sizeof below, "%s/far/key", top);
    snprintf(whole, sizeof whole, "%s/key", top);
    cr_assert_eq(mkdir(far, 0700), 0);
    const struct {
        const char *path, *folder;
    } rows[] = {{below, far}, {whole, top}, {"key", "."}, {"far/key", "far"}};
    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
        const char *path = rows[i].path;
        for (unsigned refuse = 0; refuse < 3; refuse++) { /* none, the file, the folder */
            (void)unlink(path);
            memset(&synced, 0, sizeof synced);
            synced.refuse = refuse;
            enum cv_err err = io_keyfile_save(path, "octets", 6, &why);
            cr_expect_eq(err == CV_ERR_OK, refuse == 0, "%s, %u", path, refuse);
            cr_expect_eq(access(path, F_OK) == 0, refuse == 0, "%s, %u", path, refuse);
            if (refuse)
                continue;
            cr_assert_eq(synced.n, 2, "%s", path);
            cr_expect_eq(synced.inode[0], inode(path), "%s", path);
            cr_expect_eq(synced.inode[1], inode(rows[i].folder), "%s", path);
        }
    }
    folder_remove(top);
}
