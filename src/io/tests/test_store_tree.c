/*
 * The tree of a store against all nodes of a tree in memory: of a file that is
 * shared, and of content that arrives in any order; what becomes of content
 * that somebody changes.
 */
#include "support/suite.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "crypto/rng_seeded.h"
#include "io/tests/store_fixture.h"
#include "io/tests/tree_model.h"

CV_SUITE(io_store_tree, .init = cv_crypto_init, .timeout = 600);

static uint8_t *random_octets(size_t octets, uint64_t seed) {
    struct cv_rng_seeded state;
    cv_rng_seeded_init(&state, seed);
    struct cv_rng dice = cv_rng_seeded(&state);
    uint8_t *data = malloc(octets);
    cv_rng_fill(&dice, data, octets);
    return data;
}

/* ---- shared files ------------------------------------------------------------------ */

struct sharing {
    char top[256], path[300], state_path[300];
    struct io_state *state;
    struct io_store *store;
    uint8_t root[CV_SHA_MAX];
};

static void share_begin(struct sharing *f) {
    memset(f, 0, sizeof *f);
    folder_make(f->top);
    snprintf(f->path, sizeof f->path, "%s/film", f->top);
    snprintf(f->state_path, sizeof f->state_path, "%s/state", f->top);
    cr_assert_eq(io_state_open(f->state_path, &f->state, NULL), CV_ERR_OK);
}

static void share_file(struct sharing *f) {
    struct io_share_config cfg = {.path = f->path, .chunk_size = CHUNK, .alg = CV_SHA256};
    struct io_why why = {""};
    cr_assert_eq(io_store_share(f->state, &cfg, &f->store, f->root, &why), CV_ERR_OK, "%s",
                 why.text);
}

static void share_end(struct sharing *f) {
    io_store_close(f->store);
    io_state_close(f->state);
    folder_remove(f->top);
}

static void write_at(const char *path, off_t offset, const void *data, size_t len) {
    int fd = open(path, O_WRONLY | O_CREAT, 0600);
    cr_assert_geq(fd, 0);
    cr_assert_eq(pwrite(fd, data, len, offset), (ssize_t)len);
    close(fd);
}

Test(io_store_tree, of_a_shared_file_is_the_whole_tree) {
    static const size_t sizes[] = {1,           1024,         1025,
                                   9 * CHUNK,   16 * CHUNK,   17 * CHUNK,
                                   333 * CHUNK, 2048 * CHUNK, 5000 * CHUNK + 1};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct sharing f;
        uint8_t *data = random_octets(sizes[i], i);
        struct model m = model_of(data, sizes[i]);
        share_begin(&f);
        write_at(f.path, 0, data, sizes[i]);
        share_file(&f);
        cr_expect_arr_eq(f.root, m.root, H, "%zu octets", sizes[i]);
        for (uint64_t bin = 0; bin < m.bins; bin += 32) {
            uint8_t got[31 * H];
            uint32_t n = m.bins - bin < 31 ? (uint32_t)(m.bins - bin) : 31;
            cr_assert_eq(io_store_ops.tree_get(f.store, bin, n, got), CV_ERR_OK);
            cr_expect_arr_eq(got, m.nodes + bin * H, n * H, "%zu octets, bin %lu", sizes[i],
                             (unsigned long)bin);
            if (bin + 31 >= m.bins)
                continue;
            cr_assert_eq(io_store_ops.tree_get(f.store, bin + 31, 1, got), CV_ERR_OK);
            cr_expect_arr_eq(got, m.nodes + (bin + 31) * H, H, "%zu octets, bin %lu", sizes[i],
                             (unsigned long)bin + 31);
        }
        free(m.nodes);
        free(data);
        share_end(&f);
    }
}

Test(io_store_tree, sees_that_a_shared_file_was_changed) {
    static const struct {
        const char *how;
        bool hide, cut;
        uint64_t chunk;
        enum cv_err read, tree;
        const char *says;
    } rows[] = {
        {"not at all", false, false, 90, CV_ERR_OK, CV_ERR_OK, NULL},
        {"written to", false, false, 90, CV_ERR_CORRUPT, CV_ERR_CORRUPT,
         "changed while it was shared; share it again"},
        {"written to, and its time set back", true, false, 90, CV_ERR_OK, CV_ERR_CORRUPT,
         "was changed by somebody else; share it again"},
        {"cut short", true, true, 90, CV_ERR_CORRUPT, CV_ERR_CORRUPT,
         "shorter than it was; share it again"},
        {"cut short behind what is read", false, true, 1, CV_ERR_CORRUPT, CV_ERR_CORRUPT,
         "shorter than it was; share it again"},
    };
    enum { OCTETS = 100 * CHUNK };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct sharing f;
        struct stat st;
        uint8_t *data = random_octets(OCTETS, i), got[CHUNK], nodes[31 * H];
        size_t len;
        share_begin(&f);
        write_at(f.path, 0, data, OCTETS);
        struct timespec past[2] = {{.tv_sec = 1000000000}, {.tv_sec = 1000000000}};
        cr_assert_eq(utimensat(AT_FDCWD, f.path, past, 0), 0);
        share_file(&f);
        cr_assert_eq(stat(f.path, &st), 0);
        if (i > 0)
            write_at(f.path, 90 * CHUNK, "changed", 7);
        if (rows[i].cut)
            cr_assert_eq(truncate(f.path, 90 * CHUNK), 0);
        if (rows[i].hide)
            cr_assert_eq(
                utimensat(AT_FDCWD, f.path, (struct timespec[2]){st.st_mtim, st.st_mtim}, 0), 0);
        cr_expect_eq(io_store_ops.read_chunks(f.store, rows[i].chunk, 1, got, sizeof got, &len),
                     rows[i].read, "%s", rows[i].how);
        cr_expect_eq(io_store_ops.tree_get(f.store, 32 * 5, 31, nodes), rows[i].tree, "%s",
                     rows[i].how);
        if (rows[i].says)
            cr_expect(strstr(io_store_why(f.store), rows[i].says) != NULL, "%s: '%s'", rows[i].how,
                      io_store_why(f.store));
        free(data);
        share_end(&f);
    }
}

/* Hashed once for all who ask; a group that nobody asked for is hashed when somebody does. */
Test(io_store_tree, of_a_shared_file_is_hashed_once) {
    enum { OCTETS = 100 * CHUNK };
    struct sharing f;
    struct stat st;
    uint8_t *data = random_octets(OCTETS, 1), first[31 * H], again[31 * H];
    share_begin(&f);
    write_at(f.path, 0, data, OCTETS);
    share_file(&f);
    cr_assert_eq(io_store_ops.tree_get(f.store, 32 * 5, 31, first), CV_ERR_OK);
    cr_assert_eq(stat(f.path, &st), 0);
    write_at(f.path, 70 * CHUNK, "changed", 7);
    write_at(f.path, 90 * CHUNK, "changed", 7);
    cr_assert_eq(utimensat(AT_FDCWD, f.path, (struct timespec[2]){st.st_mtim, st.st_mtim}, 0), 0);
    cr_expect_eq(io_store_ops.tree_get(f.store, 32 * 5, 31, again), CV_ERR_OK);
    cr_expect_arr_eq(first, again, sizeof first);
    cr_expect_eq(io_store_ops.tree_get(f.store, 32 * 4, 31, again), CV_ERR_CORRUPT);
    free(data);
    share_end(&f);
}

/* ---- content that arrives ----------------------------------------------------------- */

struct arriving {
    struct store_fixture f;
    struct model m;
    uint8_t *data;
    uint64_t chunks;
    size_t octets;
    bool *given; /* groups whose page was put, with chunks or without */
};

/* As the engine does: the group's page and the way up, then the chunks. */
static void give(struct arriving *a, uint64_t group) {
    model_give(&a->m, a->f.store, group);
    a->given[group] = true;
}

static void arrive(struct arriving *a, uint64_t first, uint32_t count) {
    uint64_t last = first + count - 1;
    for (uint64_t g = first / 16; g <= last / 16; g++)
        give(a, g);
    size_t at = (size_t)first * CHUNK, len = (size_t)count * CHUNK;
    len = len > a->octets - at ? a->octets - at : len;
    enum cv_err err = io_store_ops.write_chunks(a->f.store, first, count, a->data + at, len);
    cr_assert_eq(err, CV_ERR_OK);
}

/* Every node that was put, also of groups without a chunk (peaks are such). */
static void compare(struct arriving *a) {
    for (uint64_t g = 0; g * 16 < a->chunks; g++)
        if (a->given[g])
            model_compare(&a->m, a->f.store, g);
}

static void arriving_run(size_t octets, uint64_t seed, unsigned steps, uint32_t most) {
    struct arriving a = {.octets = octets, .chunks = (octets + CHUNK - 1) / CHUNK};
    struct cv_rng_seeded state;
    char path[600];
    struct stat st;
    cv_rng_seeded_init(&state, seed);
    struct cv_rng dice = cv_rng_seeded(&state);
    a.data = random_octets(octets, seed);
    a.m = model_of(a.data, octets);
    a.given = calloc(a.chunks / 16 + 1, sizeof *a.given);
    fixture_init(&a.f);
    fixture_open(&a.f);
    fixture_size(&a.f, a.chunks, octets);
    for (unsigned i = 0; i < steps; i++) {
        uint64_t first = cv_rng_below(&dice, a.chunks);
        uint64_t count = cv_rng_between(&dice, 1, most);
        count = count > a.chunks - first ? a.chunks - first : count;
        arrive(&a, first, (uint32_t)count);
        give(&a, cv_rng_below(&dice, (a.chunks + 15) / 16));
        if (cv_rng_below(&dice, 8) == 0)
            cr_assert_eq(io_store_flush(a.f.store), CV_ERR_OK);
        if (cv_rng_below(&dice, 16) == 0) {
            fixture_close(&a.f);
            fixture_open(&a.f);
            compare(&a);
        }
    }
    compare(&a);
    for (uint64_t i = 0; i < a.chunks; i += 64) {
        arrive(&a, i, (uint32_t)(a.chunks - i < 64 ? a.chunks - i : 64));
        if (i % 1024 == 0)
            cr_assert_eq(io_store_flush(a.f.store), CV_ERR_OK);
    }
    fixture_close(&a.f);
    fixture_open(&a.f);
    compare(&a);
    snprintf(path, sizeof path, "%s/content-abababababababababababababababab/leaves", a.f.top);
    cr_assert_eq(stat(path, &st), 0);
    cr_expect_eq(st.st_size, 0, "complete content keeps no leaves");
    fixture_done(&a.f);
    free(a.m.nodes);
    free(a.data);
    free(a.given);
}

Test(io_store_tree, of_arriving_content_knows_what_was_put) {
    arriving_run(3 * CHUNK, 1, 3, 1);
    arriving_run(16 * CHUNK, 2, 4, 5);
    arriving_run(40 * CHUNK + 5, 3, 30, 3);
    arriving_run(4000 * CHUNK, 4, 150, 40);
    arriving_run(9001 * CHUNK + 9, 5, 300, 2);
}

/* What has just arrived, or was asked for before, is not hashed again; a new process
 * hashes once. */
Test(io_store_tree, sees_that_what_was_fetched_was_changed) {
    struct arriving a = {.octets = 64 * CHUNK, .chunks = 64};
    uint8_t nodes[31 * H];
    char path[600];
    a.data = random_octets(a.octets, 1);
    a.m = model_of(a.data, a.octets);
    a.given = calloc(a.chunks / 16 + 1, sizeof *a.given);
    fixture_init(&a.f);
    fixture_open(&a.f);
    fixture_size(&a.f, a.chunks, a.octets);
    arrive(&a, 0, 64);
    snprintf(path, sizeof path, "%s/content-abababababababababababababababab/data", a.f.top);
    write_at(path, 20 * CHUNK, "changed", 7);
    model_compare(&a.m, a.f.store, 1);
    cr_assert_eq(io_store_flush(a.f.store), CV_ERR_OK);
    model_compare(&a.m, a.f.store, 1);
    fixture_close(&a.f);
    fixture_open(&a.f);
    cr_expect_eq(io_store_ops.tree_get(a.f.store, 0, 31, nodes), CV_ERR_OK);
    cr_expect_eq(io_store_ops.tree_get(a.f.store, 32, 31, nodes), CV_ERR_CORRUPT);
    cr_expect(strstr(io_store_why(a.f.store), "was changed by somebody else; fetch it again"));
    fixture_done(&a.f);
    free(a.m.nodes);
    free(a.data);
    free(a.given);
}
