/* A key file is made once, for us alone, and refused when it is not so. */
#include "io/keyfile.h"

#include <string.h>
#include <sys/stat.h>

#include "support/folder.h"
#include "support/suite.h"

CV_SUITE(keyfile);

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
