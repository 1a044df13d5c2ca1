/* A folder of a test's own, gone at its end. */
#ifndef CULVERT_REPUTATION_TESTS_SCRATCH_H
#define CULVERT_REPUTATION_TESTS_SCRATCH_H

#include <assert.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct scratch {
    char folder[48];
    char path[128]; /* of the file named last */
};

static inline struct scratch scratch_init(void) {
    struct scratch s = {.folder = "/tmp/culvert-test-XXXXXX"};
    if (!mkdtemp(s.folder))
        abort();
    return s;
}

static inline const char *scratch_path(struct scratch *s, const char *name) {
    snprintf(s->path, sizeof s->path, "%s/%s", s->folder, name);
    return s->path;
}

static inline void scratch_done(struct scratch *s) {
    DIR *d = opendir(s->folder);
    const struct dirent *e;
    assert(d != NULL);
    while ((e = readdir(d)))
        if (e->d_name[0] != '.' && unlinkat(dirfd(d), e->d_name, 0) != 0)
            unlinkat(dirfd(d), e->d_name, AT_REMOVEDIR);
    closedir(d);
    rmdir(s->folder);
}

#endif
