/* A temporary folder for one test, and its removal. */
#ifndef CULVERT_TESTS_SUPPORT_FOLDER_H
#define CULVERT_TESTS_SUPPORT_FOLDER_H

#include <criterion/criterion.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static inline int folder_remove_one(const char *path, const struct stat *st, int flag,
                                    struct FTW *at) {
    (void)st, (void)flag, (void)at;
    return remove(path);
}

static inline void folder_remove(const char *path) {
    nftw(path, folder_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* Made below TMPDIR; the caller removes it. */
static inline void folder_make(char path[256]) {
    const char *top = getenv("TMPDIR");
    snprintf(path, 256, "%s/culvert-test-XXXXXX", top ? top : "/tmp");
    cr_assert_not_null(mkdtemp(path));
}

#endif
