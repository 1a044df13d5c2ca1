/* Groups hashed by several threads against hashing one chunk after the other. */
#include "support/suite.h"

#include <fcntl.h>
#include <string.h>

#include "crypto/rng_seeded.h"
#include "io/hash_file.h"
#include "io/limits.h"
#include "ppsp/build.h"
#include "support/folder.h"

CV_SUITE(io_hash_file, .init = cv_crypto_init, .timeout = 600);

struct seen {
    uint64_t next;
    size_t hash_len;
    uint8_t *nodes;
    uint64_t stop_at;
};

static enum cv_err collect(void *ctx, uint64_t first, const uint8_t *nodes, size_t count) {
    struct seen *s = ctx;
    size_t of_group = PPSP_BUILD_RUN * s->hash_len;
    cr_assert_eq(first, s->next, "out of order");
    memcpy(s->nodes + first * of_group, nodes, count * of_group);
    s->next += count;
    return s->next > s->stop_at ? CV_ERR_FULL : CV_ERR_OK;
}

struct made {
    char top[256], path[300];
    int fd;
    uint8_t *data;
};

static void make(struct made *m, size_t octets) {
    struct cv_rng_seeded state;
    cv_rng_seeded_init(&state, octets);
    struct cv_rng dice = cv_rng_seeded(&state);
    folder_make(m->top);
    snprintf(m->path, sizeof m->path, "%s/file", m->top);
    m->data = malloc(octets);
    cv_rng_fill(&dice, m->data, octets);
    m->fd = open(m->path, O_RDWR | O_CREAT, 0600);
    cr_assert_eq(write(m->fd, m->data, octets), (ssize_t)octets);
}

static void unmake(struct made *m) {
    close(m->fd);
    free(m->data);
    folder_remove(m->top);
}

/* RFC 7574 section 5.1 in its plainest form, padded to `width` leaves at least. */
static void naive_root(enum cv_sha alg, const uint8_t *data, size_t octets, size_t chunk_size,
                       size_t width, uint8_t *root) {
    static const uint8_t zeros[CV_SHA_MAX];
    uint8_t nodes[16 * CV_SHA_MAX] = {0};
    size_t chunks = (octets + chunk_size - 1) / chunk_size, h = cv_sha_len(alg);
    while (width < chunks)
        width *= 2;
    for (size_t i = 0; i < chunks; i++)
        cv_sha(alg, nodes + h * i, data + i * chunk_size,
               octets - i * chunk_size < chunk_size ? octets - i * chunk_size : chunk_size);
    for (; width > 1; width /= 2)
        for (size_t i = 0; i < width / 2; i++) {
            const uint8_t *l = nodes + 2 * h * i, *r = l + h;
            uint8_t parent[CV_SHA_MAX] = {0};
            if (memcmp(l, zeros, h) != 0 || memcmp(r, zeros, h) != 0)
                cv_sha2(alg, parent, l, h, r, h);
            memcpy(nodes + h * i, parent, h);
        }
    memcpy(root, nodes, h);
}

Test(io_hash_file, equals_one_thread_and_one_chunk_at_a_time) {
    static const struct {
        size_t octets;
        uint32_t chunk_size;
        enum cv_sha alg;
        unsigned threads;
    } rows[] = {
        {1, 1024, CV_SHA256, 0},
        {1024, 1024, CV_SHA1, 1},
        {1025, 1024, CV_SHA256, 2},
        {IO_HASH_BLOCK, 1024, CV_SHA256, 2},
        {IO_HASH_BLOCK + 1, 1024, CV_SHA512, 3},
        {9 * IO_HASH_BLOCK + 700, 1024, CV_SHA256, 0},
        {9 * IO_HASH_BLOCK + 700, 1000, CV_SHA256, 16},
        {33 * IO_HASH_BLOCK, IO_CHUNK_MAX, CV_SHA256, 2},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct made m;
        make(&m, rows[i].octets);
        uint64_t size = 16 * (uint64_t)rows[i].chunk_size;
        uint64_t groups = (rows[i].octets + size - 1) / size;
        struct seen seen = {.hash_len = cv_sha_len(rows[i].alg), .stop_at = UINT64_MAX};
        seen.nodes = calloc(groups, PPSP_BUILD_RUN * seen.hash_len);
        struct io_hash_job job = {.fd = m.fd,
                                  .path = m.path,
                                  .octets = rows[i].octets,
                                  .chunk_size = rows[i].chunk_size,
                                  .alg = rows[i].alg,
                                  .threads = rows[i].threads,
                                  .groups = collect,
                                  .ctx = &seen};
        cr_assert_eq(io_hash_file(&job, NULL), CV_ERR_OK, "row %zu", i);
        cr_assert_eq(seen.next, groups, "row %zu", i);
        for (uint64_t g = 0; g < groups; g++) {
            uint8_t want[CV_SHA_MAX];
            size_t left = rows[i].octets - g * size;
            naive_root(rows[i].alg, m.data + g * size, left < size ? left : size,
                       rows[i].chunk_size, groups > 1 ? 16 : 1, want);
            ppsp_bin root =
                groups > 1 ? 15
                           : ppsp_bin_root((left + rows[i].chunk_size - 1) / rows[i].chunk_size);
            cr_assert_arr_eq(seen.nodes + (g * PPSP_BUILD_RUN + root) * seen.hash_len, want,
                             seen.hash_len, "row %zu", i);
        }
        free(seen.nodes);
        unmake(&m);
    }
}

Test(io_hash_file, ends_when_told_and_when_the_file_is_shorter) {
    struct made m;
    struct io_why why;
    char want[400];
    make(&m, 9 * IO_HASH_BLOCK);
    struct seen seen = {.hash_len = 32, .stop_at = 125};
    seen.nodes = calloc(20 * IO_HASH_BLOCK / 1024 / 16, PPSP_BUILD_RUN * 32);
    struct io_hash_job job = {.fd = m.fd,
                              .path = m.path,
                              .octets = 9 * IO_HASH_BLOCK,
                              .chunk_size = 1024,
                              .alg = CV_SHA256,
                              .groups = collect,
                              .ctx = &seen};
    cr_expect_eq(io_hash_file(&job, &why), CV_ERR_FULL);

    job.octets = 20 * IO_HASH_BLOCK;
    seen.next = 0;
    seen.stop_at = UINT64_MAX;
    cr_expect_eq(io_hash_file(&job, &why), CV_ERR_DIFFERS);
    snprintf(want, sizeof want, "%s: changed while it was read; try again", m.path);
    cr_expect_str_eq(why.text, want);
    free(seen.nodes);
    unmake(&m);
}
