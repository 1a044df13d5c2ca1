/*
 * Chunks so large that the whole hash tree is small beside them: it is kept, read
 * instead of made, and made after all where it was lost.
 */
#include "support/suite.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "crypto/rng_seeded.h"

#define FIXTURE_CHUNK 8192
#include "io/tests/store_fixture.h"
#include "io/tests/tree_model.h"

CV_SUITE(io_store_whole_tree, .init = cv_crypto_init, .timeout = 600);

enum { CHUNKS = 200, GROUPS = (CHUNKS + 15) / 16, OCTETS = CHUNKS * CHUNK - 9 };

static uint8_t *random_octets(size_t octets) {
    struct cv_rng_seeded state;
    cv_rng_seeded_init(&state, 1);
    struct cv_rng dice = cv_rng_seeded(&state);
    uint8_t *data = malloc(octets);
    cv_rng_fill(&dice, data, octets);
    return data;
}

/* What somebody else does to a file, which does not show in its time. */
static void spoil(const char *path, off_t at, const void *octets, size_t len) {
    struct stat st;
    int fd = open(path, O_WRONLY);
    cr_assert_geq(fd, 0, "%s", path);
    cr_assert_eq(fstat(fd, &st), 0);
    cr_assert_eq(pwrite(fd, octets, len, at), (ssize_t)len);
    cr_assert_eq(futimens(fd, (struct timespec[2]){st.st_mtim, st.st_mtim}), 0);
    close(fd);
}

/* The path of a file of the store, the only one, whose folder begins with `prefix`. */
static void file_of(char ret[700], const char *top, const char *prefix, const char *name) {
    DIR *dir = opendir(top);
    struct dirent *e;
    cr_assert(dir != NULL, "%s", top);
    while ((e = readdir(dir)) && strncmp(e->d_name, prefix, strlen(prefix)) != 0)
        ;
    cr_assert(e != NULL, "%s", prefix);
    snprintf(ret, 700, "%.200s/%s/%s", top, e->d_name, name);
    closedir(dir);
}

static off_t size_of(const char *path) {
    struct stat st;
    cr_assert_eq(stat(path, &st), 0, "%s", path);
    return st.st_size;
}

/* ---- a file that is shared ------------------------------------------------------------ */

struct sharing {
    char top[256], path[300];
    struct io_state *state;
    struct io_store *store;
    uint8_t root[CV_SHA_MAX];
};

static void share_open(struct sharing *f, uint32_t chunk_size, enum cv_sha alg) {
    struct io_share_config cfg = {.path = f->path, .chunk_size = chunk_size, .alg = alg};
    struct io_why why = {""};
    char state[300];
    snprintf(state, sizeof state, "%s/state", f->top);
    cr_assert_eq(io_state_open(state, &f->state, &why), CV_ERR_OK, "%s", why.text);
    cr_assert_eq(io_store_share(f->state, &cfg, &f->store, f->root, &why), CV_ERR_OK, "%s",
                 why.text);
}

static void share_close(struct sharing *f) {
    f->store = io_store_close(f->store);
    f->state = io_state_close(f->state);
}

static void share_begin(struct sharing *f, const uint8_t *data, size_t octets) {
    memset(f, 0, sizeof *f);
    folder_make(f->top);
    snprintf(f->path, sizeof f->path, "%s/film", f->top);
    int fd = open(f->path, O_WRONLY | O_CREAT, 0600);
    cr_assert_eq(write(fd, data, octets), (ssize_t)octets);
    close(fd);
}

static void share_end(struct sharing *f) {
    share_close(f);
    folder_remove(f->top);
}

static void compare_all(const struct model *m, struct io_store *s, uint64_t chunks) {
    for (uint64_t g = 0; g * 16 < chunks; g++)
        model_compare(m, s, g);
}

Test(io_store_whole_tree, of_a_shared_file_is_read_and_not_made) {
    struct sharing f;
    uint8_t *data = random_octets(OCTETS), nodes[31 * H];
    struct model m = model_of(data, OCTETS);
    share_begin(&f, data, OCTETS);
    share_open(&f, CHUNK, CV_SHA256);
    cr_expect_arr_eq(f.root, m.root, H);
    compare_all(&m, f.store, CHUNKS);
    share_close(&f);
    share_open(&f, CHUNK, CV_SHA256); /* known by now: hashed no more */
    spoil(f.path, 3 * CHUNK, "changed", 7);
    cr_expect_eq(io_store_ops.tree_get(f.store, 0, 31, nodes), CV_ERR_OK, "nothing was hashed");
    cr_expect_arr_eq(nodes, m.nodes, 31 * H);
    free(m.nodes);
    free(data);
    share_end(&f);
}

Test(io_store_whole_tree, that_was_lost_is_made_from_the_content) {
    static const uint8_t zeros[32 * H];
    char leaves[700], state[300];
    struct sharing f;
    uint8_t *data = random_octets(OCTETS), nodes[31 * H];
    struct model m = model_of(data, OCTETS);
    share_begin(&f, data, OCTETS);
    share_open(&f, CHUNK, CV_SHA256);
    share_close(&f);
    snprintf(state, sizeof state, "%s/state", f.top);
    file_of(leaves, state, "shared-", "leaves");
    cr_assert_geq(size_of(leaves), (off_t)((GROUPS - 1) * 32 * H));
    spoil(leaves, 2 * 32 * H + 5 * H, zeros, H); /* one node of one group, .. */
    spoil(leaves, 4 * 32 * H, zeros, sizeof zeros);
    cr_assert_eq(truncate(leaves, 9 * 32 * H + 40), 0); /* .. and groups at the end */
    share_open(&f, CHUNK, CV_SHA256);
    compare_all(&m, f.store, CHUNKS);
    share_close(&f);
    share_open(&f, CHUNK, CV_SHA256);        /* what was made is remembered until then */
    spoil(f.path, 40 * CHUNK, "changed", 7); /* group 2 */
    cr_expect_eq(io_store_ops.tree_get(f.store, 2 * 32, 31, nodes), CV_ERR_CORRUPT);
    free(m.nodes);
    free(data);
    share_end(&f);
}

Test(io_store_whole_tree, is_kept_where_it_takes_a_hundredth_at_most) {
    static const struct {
        uint32_t chunk_size;
        enum cv_sha alg;
        size_t octets;
        bool whole;
    } rows[] = {
        {1024, CV_SHA256, OCTETS, false},
        {6399, CV_SHA256, OCTETS, false},
        {6400, CV_SHA256, OCTETS, true},
        {8192, CV_SHA512, OCTETS, false},
        {4096, CV_SHA1, OCTETS, true},
        {8192, CV_SHA256, 16 * 8192, false}, /* one group: nothing to gain */
        {8192, CV_SHA256, 16 * 8192 + 1, true},
    };
    uint8_t *data = random_octets(OCTETS);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct sharing f;
        char leaves[700], state[300];
        struct stat st = {0};
        share_begin(&f, data, rows[i].octets);
        share_open(&f, rows[i].chunk_size, rows[i].alg);
        snprintf(state, sizeof state, "%s/state", f.top);
        file_of(leaves, state, "shared-", "leaves");
        bool there = stat(leaves, &st) == 0 && st.st_size > 0;
        cr_expect_eq(there, rows[i].whole, "row %zu", i);
        cr_expect_leq(st.st_size, (off_t)(rows[i].octets / 100 + 1024), "row %zu", i);
        share_end(&f);
    }
    free(data);
}

/* ---- content that arrives --------------------------------------------------------------- */

Test(io_store_whole_tree, of_content_that_arrived_stays) {
    struct store_fixture f;
    char leaves[700], content[700];
    uint8_t *data = random_octets(OCTETS), nodes[31 * H];
    struct model m = model_of(data, OCTETS);
    fixture_init(&f);
    fixture_open(&f);
    fixture_size(&f, CHUNKS, OCTETS);
    for (uint64_t i = 0; i < CHUNKS; i += 8) {
        size_t at = i * CHUNK, len = OCTETS - at < 8 * CHUNK ? OCTETS - at : 8 * CHUNK;
        model_give(&m, f.store, i / 16);
        cr_assert_eq(io_store_ops.write_chunks(f.store, i, 8, data + at, len), CV_ERR_OK);
        if (i % 24 == 0)
            cr_assert_eq(io_store_flush(f.store), CV_ERR_OK);
    }
    compare_all(&m, f.store, CHUNKS);
    fixture_close(&f);
    fixture_open(&f);
    compare_all(&m, f.store, CHUNKS);
    file_of(leaves, f.top, "content-", "leaves");
    file_of(content, f.top, "content-", "data");
    cr_expect_geq(size_of(leaves), (off_t)((GROUPS - 1) * 32 * H));
    spoil(content, 0, "changed", 7);
    cr_expect_eq(io_store_ops.tree_get(f.store, 0, 31, nodes), CV_ERR_OK, "nothing was hashed");
    spoil(content, 0, data, 7);
    cr_assert_eq(truncate(leaves, 0), 0); /* as an older version left it */
    compare_all(&m, f.store, CHUNKS);
    fixture_done(&f);
    free(m.nodes);
    free(data);
}
