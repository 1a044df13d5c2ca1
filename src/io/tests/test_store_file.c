/*
 * The file store against a model in memory; what a full disk, a failing flush
 * and damaged files do to it. pwrite and fdatasync are wrapped by the linker
 * so that faults can be played.
 */
#include "support/suite.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "crypto/rng_seeded.h"
#include "io/limits.h"
#include "io/tests/store_fixture.h"

CV_SUITE(io_store_file, .timeout = 600);

ssize_t __real_pwrite64(int fd, const void *data, size_t len, off_t offset);
ssize_t __wrap_pwrite64(int fd, const void *data, size_t len, off_t offset);
int __real_fdatasync(int fd);
int __wrap_fdatasync(int fd);

static atomic_int pwrite_error, fdatasync_error, writes_until_error;

ssize_t __wrap_pwrite64(int fd, const void *data, size_t len, off_t offset) {
    if (pwrite_error && writes_until_error-- <= 0) {
        /* A disk that fills up takes a part first. */
        if (len > 1000 && __real_pwrite64(fd, data, 500, offset) != 500)
            return -1;
        errno = pwrite_error;
        return -1;
    }
    return __real_pwrite64(fd, data, len, offset);
}

int __wrap_fdatasync(int fd) {
    if (fdatasync_error) {
        errno = fdatasync_error;
        return -1;
    }
    return __real_fdatasync(fd);
}

enum { CHUNKS = 9000, OCTETS = (CHUNKS - 1) * CHUNK + 17 };

Test(io_store_file, begins_empty_and_remembers_its_size) {
    struct store_fixture f;
    struct ppsp_store_size size;
    fixture_init(&f);
    fixture_open(&f);
    cr_expect_eq(io_store_ops.size(f.store, &size), CV_ERR_OK);
    cr_expect_eq(size.chunks, 0);
    fixture_size(&f, CHUNKS, 0);
    fixture_close(&f);

    fixture_open(&f);
    cr_expect_eq(io_store_ops.size(f.store, &size), CV_ERR_OK);
    cr_expect_eq(size.chunks, CHUNKS);
    cr_expect_eq(size.octets, 0);
    fixture_size(&f, CHUNKS, OCTETS);
    fixture_close(&f);

    fixture_open(&f);
    cr_expect_eq(io_store_ops.size(f.store, &size), CV_ERR_OK);
    cr_expect_eq(size.octets, OCTETS);
    fixture_done(&f);
}

static void compare(struct store_fixture *f, const bool *have) {
    uint64_t words[CHUNKS / 64 + 1] = {0};
    cr_assert_eq(io_store_ops.have_load(f->store, words, CHUNKS / 64 + 1), CV_ERR_OK);
    for (uint64_t i = 0; i < CHUNKS; i++) {
        cr_assert_eq(has_bit(words, i), have[i], "chunk %lu", (unsigned long)i);
        if (have[i])
            cr_assert(content_right(f->store, i, OCTETS), "chunk %lu", (unsigned long)i);
    }
}

Test(io_store_file, agrees_with_a_model_over_random_operations) {
    for (uint64_t seed = 0; seed < 5; seed++) {
        struct store_fixture f;
        struct cv_rng_seeded state;
        static bool have[CHUNKS];
        cv_rng_seeded_init(&state, seed);
        struct cv_rng dice = cv_rng_seeded(&state);
        memset(have, 0, sizeof have);
        fixture_init(&f);
        fixture_open(&f);
        fixture_size(&f, CHUNKS, OCTETS);
        for (int step = 0; step < 400; step++) {
            uint64_t first = cv_rng_below(&dice, CHUNKS);
            uint32_t count = (uint32_t)cv_rng_between(&dice, 1, BATCH_CHUNKS);
            if (first + count > CHUNKS)
                count = (uint32_t)(CHUNKS - first);
            enum cv_err err = content_write(f.store, first, count, OCTETS);
            if (err == CV_ERR_AGAIN) {
                cr_assert_eq(io_store_flush(f.store), CV_ERR_OK);
                continue;
            }
            cr_assert_eq(err, CV_ERR_OK);
            for (uint32_t i = 0; i < count; i++)
                have[first + i] = true;
            if (cv_rng_below(&dice, 10) == 0)
                cr_assert_eq(io_store_ops.commit(f.store), CV_ERR_OK);
            if (cv_rng_below(&dice, 100) == 0) {
                fixture_close(&f);
                fixture_open(&f);
                compare(&f, have);
            }
        }
        compare(&f, have);
        cr_expect_eq(io_store_stats(f.store).pages_damaged, 0);
        fixture_done(&f);
    }
}

Test(io_store_file, reads_runs_and_says_when_the_buffer_is_small) {
    struct store_fixture f;
    uint8_t buf[4 * CHUNK];
    size_t len = 7;
    fixture_init(&f);
    fixture_open(&f);
    fixture_size(&f, 4, 3 * CHUNK + 100);
    cr_assert_eq(content_write(f.store, 0, 4, 3 * CHUNK + 100), CV_ERR_OK);
    cr_expect_eq(io_store_ops.read_chunks(f.store, 0, 4, buf, 3 * CHUNK + 99, &len), CV_ERR_NOBUFS);
    cr_expect_eq(len, 7);
    cr_expect_eq(io_store_ops.read_chunks(f.store, 0, 4, buf, sizeof buf, &len), CV_ERR_OK);
    cr_expect_eq(len, 3 * CHUNK + 100);
    cr_expect_eq(io_store_ops.read_chunks(f.store, 1, 2, buf, sizeof buf, &len), CV_ERR_OK);
    cr_expect_eq(len, 2 * CHUNK);
    fixture_done(&f);
}

Test(io_store_file, hashes_come_back_and_unknown_ones_are_zeros) {
    struct store_fixture f;
    uint8_t in[31 * 32], out[31 * 32], zeros[31 * 32] = {0};
    fixture_init(&f);
    fixture_open(&f);
    for (size_t i = 0; i < sizeof in; i++)
        in[i] = (uint8_t)(i + 1);
    cr_expect_eq(io_store_ops.tree_get(f.store, 1000, 31, out), CV_ERR_OK);
    cr_expect_arr_eq(out, zeros, sizeof out);
    cr_expect_eq(io_store_ops.tree_put(f.store, 64, 31, in), CV_ERR_OK);
    fixture_close(&f);
    fixture_open(&f);
    cr_expect_eq(io_store_ops.tree_get(f.store, 64, 31, out), CV_ERR_OK);
    cr_expect_arr_eq(out, in, sizeof out);
    cr_expect_eq(io_store_ops.tree_get(f.store, 94, 2, out), CV_ERR_OK);
    cr_expect_arr_eq(out, in + 30 * 32, 32);
    cr_expect_arr_eq(out + 32, zeros, 32);
    cr_expect_eq(io_store_ops.tree_get(f.store, 0, 31, out), CV_ERR_OK);
    cr_expect_arr_eq(out, zeros, sizeof out);
    fixture_done(&f);
}

Test(io_store_file, a_full_disk_refuses_and_loses_nothing) {
    struct store_fixture f;
    fixture_init(&f);
    fixture_open(&f);
    fixture_size(&f, CHUNKS, OCTETS);
    cr_assert_eq(content_write(f.store, 0, 64, OCTETS), CV_ERR_OK);

    pwrite_error = ENOSPC;
    cr_expect_eq(content_write(f.store, 64, 64, OCTETS), CV_ERR_FULL);
    cr_expect_eq(io_store_stats(f.store).verified, 64);
    cr_expect(strstr(io_store_why(f.store), "No space left on device") != NULL);
    cr_expect(content_right(f.store, 63, OCTETS));
    pwrite_error = 0;

    cr_expect_eq(content_write(f.store, 64, 64, OCTETS), CV_ERR_OK);
    cr_expect_eq(io_store_flush(f.store), CV_ERR_OK);
    cr_expect_eq(io_store_stats(f.store).uncommitted, 0);
    cr_expect(io_store_room(f.store, 1));
    cr_expect_not(io_store_room(f.store, UINT64_MAX / 2));
    fixture_close(&f);
    fixture_open(&f);
    cr_expect_eq(io_store_stats(f.store).verified, 128);
    fixture_done(&f);
}

Test(io_store_file, a_failed_flush_ends_writing_and_marks_nothing) {
    struct store_fixture f;
    fixture_init(&f);
    fixture_open(&f);
    fixture_size(&f, CHUNKS, OCTETS);
    cr_assert_eq(content_write(f.store, 0, 10, OCTETS), CV_ERR_OK);
    cr_assert_eq(io_store_flush(f.store), CV_ERR_OK);
    cr_assert_eq(content_write(f.store, 10, 10, OCTETS), CV_ERR_OK);

    fdatasync_error = EIO;
    cr_expect_eq(io_store_flush(f.store), CV_ERR_STORE);
    fdatasync_error = 0; /* asking again would be told a lie */
    cr_expect_eq(content_write(f.store, 20, 10, OCTETS), CV_ERR_STORE);
    cr_expect_eq(io_store_ops.commit(f.store), CV_ERR_STORE);
    cr_expect_eq(io_store_flush(f.store), CV_ERR_STORE);
    cr_expect(content_right(f.store, 5, OCTETS), "what is there is still served");
    fixture_close(&f);

    fixture_open(&f);
    cr_expect_eq(io_store_stats(f.store).verified, 10);
    fixture_done(&f);
}

static void count_flush(void *ctx) {
    atomic_int *count = ctx;
    (*count)++;
}

Test(io_store_file, tells_when_it_flushed) {
    struct store_fixture f;
    atomic_int count = 0;
    fixture_init(&f);
    fixture_open(&f);
    io_store_notify(f.store, count_flush, &count);
    fixture_size(&f, CHUNKS, OCTETS);
    cr_assert_eq(content_write(f.store, 0, 1, OCTETS), CV_ERR_OK);
    cr_expect_eq(count, 0);
    f.store = io_store_close(f.store);
    cr_expect_eq(count, 1);
    fixture_done(&f);
}

Test(io_store_file, writes_wait_for_the_disk_and_go_on) {
    struct store_fixture f;
    enum { MANY = 40 << 10 };
    unsigned again = 0;
    fixture_init(&f);
    fixture_open(&f);
    fixture_size(&f, MANY, 0);
    for (uint64_t i = 0; i < MANY;) {
        enum cv_err err = content_write(f.store, i, 64, 0);
        if (err == CV_ERR_AGAIN) {
            again++;
            cr_assert_eq(io_store_flush(f.store), CV_ERR_OK);
            continue;
        }
        cr_assert_eq(err, CV_ERR_OK);
        cr_assert_leq(io_store_stats(f.store).uncommitted, IO_STORE_UNCOMMITTED_MAX);
        i += 64;
    }
    cr_expect_geq(io_store_stats(f.store).commits, 1);
    fixture_done(&f);
}

static void overwrite(const struct store_fixture *f, const char *name, off_t at, const char *text) {
    char path[600];
    snprintf(path, sizeof path, "%s/content-abababababababababababababababab/%s", f->top, name);
    int fd = open(path, O_WRONLY);
    cr_assert_geq(fd, 0);
    if (text)
        cr_assert_eq(pwrite(fd, text, strlen(text), at), (ssize_t)strlen(text));
    else
        cr_assert_eq(ftruncate(fd, at), 0);
    close(fd);
}

static void filled(struct store_fixture *f) {
    fixture_init(f);
    fixture_open(f);
    fixture_size(f, CHUNKS, OCTETS);
    for (uint64_t i = 0; i < CHUNKS; i += 64)
        cr_assert_eq(
            content_write(f->store, i, CHUNKS - i < 64 ? (uint32_t)(CHUNKS - i) : 64, OCTETS),
            CV_ERR_OK);
    fixture_close(f);
}

Test(io_store_file, a_damaged_bitmap_page_costs_its_chunks_only) {
    struct store_fixture f;
    filled(&f);
    overwrite(&f, "have", 3 * IO_PAGE + 5, "damage");
    fixture_open(&f);
    cr_expect_eq(io_store_stats(f.store).pages_damaged, 1);
    cr_expect_eq(io_store_stats(f.store).verified, CHUNKS - IO_PAGE_CHUNKS);
    fixture_done(&f);
}

/* The last chunk may be short while the content's length is not known; no other may. */
Test(io_store_file, half_a_chunk_is_kept_at_the_end_of_the_content_only) {
    static const struct {
        off_t cut;
        unsigned kept;
    } rows[] = {{2 * CHUNK - 48, 1}, {5 * CHUNK + 1, 5}, {20 * CHUNK - 1, 14}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct store_fixture f;
        fixture_init(&f);
        fixture_open(&f);
        fixture_size(&f, 20, 0);
        cr_assert_eq(content_write(f.store, 0, 10, 0), CV_ERR_OK);
        cr_assert_eq(content_write(f.store, 16, 4, 0), CV_ERR_OK);
        fixture_close(&f);
        overwrite(&f, "data", rows[i].cut, NULL);
        fixture_open(&f);
        cr_expect_eq(io_store_stats(f.store).verified, rows[i].kept, "cut to %lld octets",
                     (long long)rows[i].cut);
        fixture_done(&f);
    }
}

Test(io_store_file, marks_behind_the_end_of_a_cut_file_are_forgotten) {
    struct store_fixture f;
    filled(&f);
    overwrite(&f, "data", 100 * CHUNK + 5, NULL);
    fixture_open(&f);
    /* The hashes of chunks 96 to 99 could be made of their whole group only. */
    cr_expect_eq(io_store_stats(f.store).verified, 96);
    cr_expect_eq(io_store_stats(f.store).chunks_lost, CHUNKS - 96);
    cr_expect(content_right(f.store, 95, OCTETS));
    fixture_done(&f);
}

/* It was found cut, and then kill -9 came before anything was written: when the file has
 * its old length again (the hole reads as zeros), what was forgotten stays forgotten. */
Test(io_store_file, what_was_forgotten_stays_so_after_kill_dash_nine) {
    struct store_fixture f;
    filled(&f);
    overwrite(&f, "data", 100 * CHUNK + 5, NULL);
    pid_t child = fork();
    cr_assert_geq(child, 0);
    if (child == 0) {
        struct io_why why;
        struct io_store *store;
        struct io_state *state;
        if (io_state_open(f.top, &state, &why) || io_store_open(state, &f.cfg, &store, &why))
            _exit(1);
        kill(getpid(), SIGKILL);
    }
    int status;
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert(WIFSIGNALED(status));
    overwrite(&f, "data", OCTETS, NULL);
    fixture_open(&f);
    cr_expect_eq(io_store_stats(f.store).verified, 96);
    cr_expect_eq(io_store_stats(f.store).chunks_lost, 0, "they were forgotten before");
    uint64_t *words = calloc((CHUNKS + 63) / 64, sizeof *words);
    cr_assert_eq(io_store_ops.have_load(f.store, words, (CHUNKS + 63) / 64), CV_ERR_OK);
    for (uint64_t i = 0; i < CHUNKS; i++)
        cr_assert_eq(has_bit(words, i), i < 96, "chunk %lu", (unsigned long)i);
    free(words);
    fixture_done(&f);
}

Test(io_store_file, a_file_cut_while_it_is_read_is_an_error_not_a_crash) {
    struct store_fixture f;
    uint8_t buf[CHUNK];
    size_t len;
    filled(&f);
    fixture_open(&f);
    overwrite(&f, "data", 0, NULL);
    cr_expect_eq(io_store_ops.read_chunks(f.store, 5, 1, buf, sizeof buf, &len), CV_ERR_CORRUPT);
    cr_expect(strstr(io_store_why(f.store), "shorter than it was") != NULL);
    fixture_done(&f);
}

Test(io_store_file, one_of_two_headers_is_enough) {
    struct store_fixture f;
    struct ppsp_store_size size;
    filled(&f); /* sequence 1: new, 2: size known; 2 lies in slot 0 */
    overwrite(&f, "have", 20, "damage");
    fixture_open(&f);
    cr_expect_eq(io_store_ops.size(f.store, &size), CV_ERR_OK);
    cr_expect_eq(size.chunks, 0, "the older header did not know the size");
    fixture_done(&f);
}

static void refused(struct store_fixture *f, enum cv_err want, const char *line) {
    struct io_why why = {""};
    struct io_store *none = NULL;
    cr_expect_eq(io_store_open(f->state, &f->cfg, &none, &why), want);
    cr_expect_null(none);
    cr_expect_str_eq(why.text, line);
}

Test(io_store_file, refusals_say_what_to_do) {
    struct store_fixture f;
    char where[300], want[700];
    filled(&f);
    cr_assert_eq(io_state_open(f.top, &f.state, NULL), CV_ERR_OK);
    snprintf(where, sizeof where, "%.200s/content-abababababababababababababababab", f.top);

    f.cfg.chunk_size = 2 * CHUNK;
    snprintf(want, sizeof want, "%s: holds other content; remove it", where);
    refused(&f, CV_ERR_DIFFERS, want);
    f.cfg.chunk_size = CHUNK;

    overwrite(&f, "have", 20, "damage");
    overwrite(&f, "have", IO_PAGE + 20, "damage");
    snprintf(want, sizeof want, "%s/have: damaged; remove %s to fetch the content anew", where,
             where);
    refused(&f, CV_ERR_CORRUPT, want);

    cr_expect_eq(io_store_remove(f.state, f.cfg.id, NULL), CV_ERR_OK);
    cr_assert_eq(io_store_open(f.state, &f.cfg, &f.store, NULL), CV_ERR_OK);
    fixture_done(&f);
}

Test(io_store_file, never_overwrites_a_file_it_did_not_make) {
    struct store_fixture f;
    struct io_why why;
    struct io_store *none = NULL;
    char path[300], want[400];
    fixture_init(&f);
    snprintf(path, sizeof path, "%s/film.mp4", f.top);
    f.cfg.data_path = path;
    close(open(path, O_WRONLY | O_CREAT, 0600));
    cr_assert_eq(io_state_open(f.top, &f.state, NULL), CV_ERR_OK);
    cr_expect_eq(io_store_open(f.state, &f.cfg, &none, &why), CV_ERR_EXIST);
    snprintf(want, sizeof want, "%s: exists already; choose another name or move it away", path);
    cr_expect_str_eq(why.text, want);

    unlink(path);
    cr_assert_eq(io_store_open(f.state, &f.cfg, &f.store, &why), CV_ERR_OK, "%s", why.text);
    fixture_size(&f, 10, 0);
    cr_assert_eq(content_write(f.store, 0, 10, 0), CV_ERR_OK);
    f.store = io_store_close(f.store);
    cr_assert_eq(io_store_open(f.state, &f.cfg, &f.store, &why), CV_ERR_OK, "resumes its own");
    cr_expect_eq(io_store_stats(f.store).verified, 10);
    fixture_done(&f);
}
