/* Many shared files, of which only those are open that somebody asked for. */
#include "support/suite.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "crypto/rng_seeded.h"
#include "io/library.h"
#include "support/folder.h"

CV_SUITE(io_library, .init = cv_crypto_init, .timeout = 600);

/* No power is cut here, and a thousand flushes take their time. */
int __wrap_fdatasync(int fd);
int __wrap_fdatasync(int fd) {
    (void)fd;
    return 0;
}

int __wrap_fsync(int fd);
int __wrap_fsync(int fd) {
    (void)fd;
    return 0;
}

struct made {
    char top[256];
    struct io_state *state;
    struct io_library *lib;
    struct io_share_config cfg;
    char path[300];
};

static void make(struct made *m) {
    static struct cv_rng_seeded seeded;
    char folder[300];
    struct cv_rng rng;
    cv_rng_seeded_init(&seeded, 1);
    rng = cv_rng_seeded(&seeded);
    memset(m, 0, sizeof *m);
    folder_make(m->top);
    snprintf(folder, sizeof folder, "%s/state", m->top);
    cr_assert_eq(io_state_open(folder, &m->state, NULL), CV_ERR_OK);
    m->lib = io_library_new(m->state, &rng);
    m->cfg = (struct io_share_config){
        .path = m->path, .chunk_size = 1024, .alg = CV_SHA256, .threads = 1};
}

static void unmake(struct made *m) {
    io_library_free(m->lib);
    io_state_close(m->state);
    folder_remove(m->top);
}

/* A file whose content is its number. */
static void write_file(struct made *m, unsigned i, const char *more) {
    snprintf(m->path, sizeof m->path, "%s/%u", m->top, i);
    FILE *f = fopen(m->path, "w");
    fprintf(f, "%u%s", i, more);
    fclose(f);
}

static unsigned descriptors(void) {
    unsigned n = 0;
    DIR *d = opendir("/proc/self/fd");
    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

Test(io_library, a_thousand_files_cost_an_entry_each) {
    enum { FILES = 1000 };
    static uint8_t roots[FILES][32];
    struct made m;
    struct io_why why = {""};
    make(&m);
    unsigned before = descriptors();
    for (unsigned i = 0; i < FILES; i++) {
        const struct io_library_file *file;
        write_file(&m, i, "");
        cr_assert_eq(io_library_add(m.lib, &m.cfg, &file, &why), CV_ERR_OK, "%s", why.text);
        memcpy(roots[i], file->root, 32);
    }
    cr_expect_eq(io_library_count(m.lib), FILES);
    cr_expect_eq(descriptors(), before);
    for (unsigned i = 0; i < FILES; i += 97) {
        const struct io_library_file *file = io_library_find(m.lib, roots[i], 32);
        struct io_store *s;
        uint8_t got[1024];
        char want[16];
        size_t len;
        cr_assert_not_null(file);
        cr_assert_eq(io_library_open(m.lib, file, &s, &why), CV_ERR_OK, "%s", why.text);
        cr_assert_eq(io_store_ops.read_chunks(s, 0, 1, got, sizeof got, &len), CV_ERR_OK);
        snprintf(want, sizeof want, "%u", i);
        cr_expect_eq(len, strlen(want));
        cr_expect_arr_eq(got, want, len);
        io_store_close(s);
    }
    roots[0][0] ^= 1;
    cr_expect_null(io_library_find(m.lib, roots[0], 32));
    cr_expect_null(io_library_find(m.lib, roots[1], 31));
    unmake(&m);
}

Test(io_library, does_not_open_what_was_changed) {
    struct made m;
    struct io_why why = {""};
    const struct io_library_file *file, *same;
    struct io_store *s = NULL;
    make(&m);
    write_file(&m, 7, "");
    cr_assert_eq(io_library_add(m.lib, &m.cfg, &file, &why), CV_ERR_OK);
    cr_expect_eq(io_library_add(m.lib, &m.cfg, &same, &why), CV_ERR_EXIST);
    cr_expect_eq(same, file);

    write_file(&m, 7, " changed");
    cr_expect_eq(io_library_open(m.lib, file, &s, &why), CV_ERR_DIFFERS);
    cr_expect(strstr(why.text, "changed since it was shared; share it again") != NULL);
    struct io_share_config again = m.cfg; /* somebody shares the new content */
    uint8_t root[CV_SHA_MAX];
    cr_assert_eq(io_store_share(m.state, &again, &s, root, &why), CV_ERR_OK);
    io_store_close(s);
    cr_expect_eq(io_library_open(m.lib, file, &s, &why), CV_ERR_DIFFERS);
    cr_assert_eq(unlink(m.path), 0);
    cr_expect_eq(io_library_open(m.lib, file, &s, &why), CV_ERR_NOENT);
    unmake(&m);
}

Test(io_library, forgets_one_of_several) {
    struct made m;
    struct io_why why = {""};
    const struct io_library_file *files[5], *file = NULL;
    make(&m);
    for (unsigned i = 0; i < 5; i++) {
        write_file(&m, i, "");
        cr_assert_eq(io_library_add(m.lib, &m.cfg, &files[i], &why), CV_ERR_OK);
    }
    static const unsigned order[] = {2, 4, 0, 3, 1}; /* the middle, the newest, the oldest */
    for (unsigned gone = 0; gone < 5; gone++) {
        uint8_t root[CV_SHA_MAX];
        memcpy(root, files[order[gone]]->root, sizeof root);
        io_library_remove(m.lib, files[order[gone]]);
        cr_expect_null(io_library_find(m.lib, root, 32));
        unsigned left = 0;
        while ((file = io_library_next(m.lib, file)) != NULL) {
            cr_expect_eq(io_library_find(m.lib, file->root, 32), file);
            left++;
        }
        cr_expect_eq(left, 4 - gone);
        cr_expect_eq(io_library_count(m.lib), left);
    }
    unmake(&m);
}
