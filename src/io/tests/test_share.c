/* Sharing a file: its root against a naive tree, what is remembered, what is
 * noticed, and the lines for files that cannot be shared. */
#include "support/suite.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "crypto/rng_seeded.h"
#include "io/store_file.h"
#include "support/folder.h"

CV_SUITE(io_share, .init = cv_crypto_init, .timeout = 600);

enum { CHUNK = 1024 };

struct shared {
    char top[256], path[300];
    struct io_state *state;
    struct io_share_config cfg;
    unsigned calls;
};

static bool count_calls(void *ctx, uint64_t done, uint64_t octets) {
    struct shared *f = ctx;
    cr_assert_leq(done, octets);
    f->calls++;
    return true;
}

static uint8_t *write_file(const char *path, size_t octets, uint64_t seed) {
    struct cv_rng_seeded state;
    cv_rng_seeded_init(&state, seed);
    struct cv_rng dice = cv_rng_seeded(&state);
    uint8_t *data = malloc(octets + 1);
    cv_rng_fill(&dice, data, octets);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    cr_assert_geq(fd, 0);
    cr_assert_eq(write(fd, data, octets), (ssize_t)octets);
    close(fd);
    return data;
}

static void init(struct shared *f) {
    char folder[300];
    memset(f, 0, sizeof *f);
    folder_make(f->top);
    snprintf(f->path, sizeof f->path, "%s/film.mp4", f->top);
    snprintf(folder, sizeof folder, "%s/state", f->top);
    f->cfg = (struct io_share_config){.path = f->path,
                                      .chunk_size = CHUNK,
                                      .alg = CV_SHA256,
                                      .threads = 2,
                                      .progress = count_calls,
                                      .ctx = f};
    cr_assert_eq(io_state_open(folder, &f->state, NULL), CV_ERR_OK);
}

static void done(struct shared *f) {
    io_state_close(f->state);
    folder_remove(f->top);
}

/* RFC 7574 section 5.1 in its plainest form: padded to a power of two. */
static void naive_root(const uint8_t *data, size_t octets, uint8_t root[32]) {
    static const uint8_t zeros[32];
    size_t chunks = (octets + CHUNK - 1) / CHUNK, width = 1;
    while (width < chunks)
        width *= 2;
    uint8_t *nodes = calloc(width, 32);
    for (size_t i = 0; i < chunks; i++)
        cv_sha(CV_SHA256, nodes + 32 * i, data + i * CHUNK,
               octets - i * CHUNK < CHUNK ? octets - i * CHUNK : CHUNK);
    for (; width > 1; width /= 2)
        for (size_t i = 0; i < width / 2; i++) {
            const uint8_t *l = nodes + 64 * i, *r = l + 32;
            uint8_t parent[32] = {0};
            if (memcmp(l, zeros, 32) != 0 || memcmp(r, zeros, 32) != 0)
                cv_sha2(CV_SHA256, parent, l, 32, r, 32);
            memcpy(nodes + 32 * i, parent, 32);
        }
    memcpy(root, nodes, 32);
    free(nodes);
}

Test(io_share, root_is_that_of_a_naive_tree) {
    static const size_t sizes[] = {1,        1023,      1024,          1025,
                                   7 * 1024, 16 * 1024, 17 * 1024 + 3, 3333333};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct shared f;
        struct io_store *s;
        struct io_why why = {""};
        uint8_t root[CV_SHA_MAX], want[32];
        init(&f);
        uint8_t *data = write_file(f.path, sizes[i], i);
        cr_assert_eq(io_store_share(f.state, &f.cfg, &s, root, &why), CV_ERR_OK, "%s", why.text);
        naive_root(data, sizes[i], want);
        cr_expect_arr_eq(root, want, 32, "%zu octets", sizes[i]);
        io_store_close(s);
        free(data);
        done(&f);
    }
}

Test(io_share, serves_the_file_and_its_tree) {
    struct shared f;
    struct io_store *s;
    struct ppsp_store_size size;
    uint8_t root[CV_SHA_MAX], buf[64 * CHUNK], leaf[32], want[32];
    uint64_t words[2];
    size_t len, octets = 99 * CHUNK + 7;
    init(&f);
    uint8_t *data = write_file(f.path, octets, 1);
    cr_assert_eq(chmod(f.path, 0400), 0);
    cr_assert_eq(io_store_share(f.state, &f.cfg, &s, root, NULL), CV_ERR_OK);

    cr_expect_eq(io_store_ops.size(s, &size), CV_ERR_OK);
    cr_expect_eq(size.chunks, 100);
    cr_expect_eq(size.octets, octets);
    cr_expect_eq(io_store_stats(s).verified, 100);
    words[0] = words[1] = 0;
    cr_expect_eq(io_store_ops.have_load(s, words, 2), CV_ERR_OK);
    cr_expect_eq(words[0], UINT64_MAX);
    cr_expect_eq(words[1], (UINT64_C(1) << 36) - 1);
    cr_expect_eq(io_store_ops.read_chunks(s, 60, 40, buf, sizeof buf, &len), CV_ERR_OK);
    cr_expect_eq(len, 39 * CHUNK + 7);
    cr_expect_arr_eq(buf, data + 60 * CHUNK, len);
    cr_expect_eq(io_store_ops.tree_get(s, 2 * 5, 1, leaf), CV_ERR_OK);
    cv_sha(CV_SHA256, want, data + 5 * CHUNK, CHUNK);
    cr_expect_arr_eq(leaf, want, 32);
    cr_expect_eq(io_store_ops.tree_get(s, 127, 1, leaf), CV_ERR_OK);
    cr_expect_arr_eq(leaf, root, 32, "the root of 128 leaves is bin 127");
    cr_expect_eq(io_store_ops.commit(s), CV_ERR_OK);
    io_store_close(s);
    free(data);
    done(&f);
}

Test(io_share, is_hashed_once_and_again_when_it_changed) {
    struct shared f;
    struct io_store *s;
    uint8_t first[CV_SHA_MAX], again[CV_SHA_MAX];
    init(&f);
    free(write_file(f.path, 5 << 20, 1));
    cr_assert_eq(io_store_share(f.state, &f.cfg, &s, first, NULL), CV_ERR_OK);
    io_store_close(s);
    cr_expect_gt(f.calls, 0);

    f.calls = 0;
    cr_assert_eq(io_store_share(f.state, &f.cfg, &s, again, NULL), CV_ERR_OK);
    io_store_close(s);
    cr_expect_eq(f.calls, 0, "hashed again without a reason");
    cr_expect_arr_eq(first, again, 32);

    free(write_file(f.path, 5 << 20, 2));
    struct timespec later[2] = {{.tv_nsec = UTIME_NOW}, {.tv_sec = 2000000000}};
    cr_assert_eq(utimensat(AT_FDCWD, f.path, later, 0), 0);
    cr_assert_eq(io_store_share(f.state, &f.cfg, &s, again, NULL), CV_ERR_OK);
    io_store_close(s);
    cr_expect_gt(f.calls, 0);
    cr_expect_neq(memcmp(first, again, 32), 0);
    done(&f);
}

static bool grow(void *ctx, uint64_t done_octets, uint64_t octets) {
    struct shared *f = ctx;
    (void)done_octets, (void)octets;
    int fd = open(f->path, O_WRONLY | O_APPEND);
    cr_assert_eq(write(fd, "x", 1), 1);
    close(fd);
    return true;
}

static bool stop(void *ctx, uint64_t done_octets, uint64_t octets) {
    (void)ctx, (void)done_octets, (void)octets;
    return false;
}

Test(io_share, half_a_tree_is_never_believed) {
    struct shared f;
    struct io_store *s = NULL;
    struct io_why why;
    uint8_t root[CV_SHA_MAX];
    char want[400];
    init(&f);
    free(write_file(f.path, 5 << 20, 1));
    f.cfg.progress = grow;
    cr_expect_eq(io_store_share(f.state, &f.cfg, &s, root, &why), CV_ERR_DIFFERS);
    snprintf(want, sizeof want, "%s: changed while it was read; try again", f.path);
    cr_expect_str_eq(why.text, want);
    f.cfg.progress = stop;
    cr_expect_eq(io_store_share(f.state, &f.cfg, &s, root, &why), CV_ERR_CLOSED);
    cr_expect_null(s);
    f.cfg.progress = count_calls;
    cr_assert_eq(io_store_share(f.state, &f.cfg, &s, root, &why), CV_ERR_OK);
    cr_expect_gt(f.calls, 0);
    io_store_close(s);
    done(&f);
}

/* Somebody else who shares the same file while it is hashed. */
static bool share_again(void *ctx, uint64_t octets_done, uint64_t octets) {
    struct shared *f = ctx;
    struct io_share_config cfg = f->cfg;
    struct io_store *s = NULL;
    struct io_why why = {""};
    uint8_t root[CV_SHA_MAX];
    cfg.progress = NULL;
    (void)octets_done;
    (void)octets;
    cr_expect_eq(io_store_share(f->state, &cfg, &s, root, &why), CV_ERR_EXIST, "call %u", f->calls);
    cr_expect(strstr(why.text, ": is in use by this node already") != NULL, "%s", why.text);
    io_store_close(s);
    f->calls++;
    return true;
}

Test(io_share, two_hashings_of_one_file_exclude_each_other) {
    enum { OCTETS = 9 << 20 };
    struct shared f;
    struct io_store *s = NULL, *reader = NULL;
    struct io_why why = {""};
    uint8_t root[CV_SHA_MAX], want[32], other[CV_SHA_MAX];
    init(&f);
    uint8_t *data = write_file(f.path, OCTETS, 3);
    naive_root(data, OCTETS, want);
    f.cfg.progress = share_again;
    cr_assert_eq(io_store_share(f.state, &f.cfg, &s, root, &why), CV_ERR_OK, "%s", why.text);
    cr_expect_gt(f.calls, 0);
    cr_expect_arr_eq(root, want, 32);
    /* Once it is hashed there may be several who read .. */
    f.cfg.progress = NULL;
    cr_assert_eq(io_store_share(f.state, &f.cfg, &reader, other, &why), CV_ERR_OK, "%s", why.text);
    cr_expect_arr_eq(other, want, 32);
    /* .. and while they do, a file that changed is not hashed over their heads. */
    free(write_file(f.path, OCTETS / 2, 4));
    struct io_store *late = NULL;
    cr_expect_eq(io_store_share(f.state, &f.cfg, &late, other, &why), CV_ERR_EXIST);
    io_store_close(s);
    io_store_close(reader);
    cr_expect_eq(io_store_share(f.state, &f.cfg, &late, other, &why), CV_ERR_OK, "%s", why.text);
    io_store_close(late);
    free(data);
    done(&f);
}

Test(io_share, what_cannot_be_shared) {
    struct shared f;
    struct io_store *s = NULL;
    struct io_why why;
    uint8_t root[CV_SHA_MAX] = {7};
    char want[400];
    init(&f);
    cr_expect_eq(io_store_share(f.state, &f.cfg, &s, root, &why), CV_ERR_NOENT);
    snprintf(want, sizeof want, "%s: No such file or directory", f.path);
    cr_expect_str_eq(why.text, want);

    free(write_file(f.path, 0, 1));
    cr_expect_eq(io_store_share(f.state, &f.cfg, &s, root, &why), CV_ERR_MALFORMED);
    snprintf(want, sizeof want, "%s: is empty; there is nothing to share", f.path);
    cr_expect_str_eq(why.text, want);

    f.cfg.path = "/dev/null";
    cr_expect_eq(io_store_share(f.state, &f.cfg, &s, root, &why), CV_ERR_MALFORMED);
    snprintf(want, sizeof want,
             "/dev/null: is neither a file nor a folder; nothing else can be shared");
    cr_expect_str_eq(why.text, want);
    cr_expect_null(s);
    cr_expect_eq(root[0], 7);
    done(&f);
}
