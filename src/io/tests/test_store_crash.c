/*
 * What a store is after kill -9 and after a power cut: every chunk that it
 * says is verified reads as it was written, the hashes that lead from it to the
 * root are there, and little has to be fetched anew.
 *
 * Power cuts are played: every write and flush is logged; a file after the cut
 * is what was flushed, and of the later writes any subset of their sectors.
 */
#include "support/suite.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "crypto/rng_seeded.h"
#include "io/limits.h"
#include "io/tests/store_fixture.h"
#include "io/tests/tree_model.h"
#include "ppsp/limits.h"
#include "ppsp/tests/rig.h"

CV_SUITE(io_store_crash, .init = cv_crypto_init, .timeout = 600);

ssize_t __real_pwrite64(int fd, const void *data, size_t len, off_t offset);
ssize_t __wrap_pwrite64(int fd, const void *data, size_t len, off_t offset);
int __real_fdatasync(int fd);
int __wrap_fdatasync(int fd);

enum { LOG_MAX = 20000, SECTOR = 512 };

struct entry {
    ino_t file;
    off_t offset;
    size_t len;
    bool flushed;
    uint8_t *data;
};

static struct {
    atomic_bool on, stuck; /* stuck: no flush ends any more */
    pthread_mutex_t mutex;
    struct entry entries[LOG_MAX];
    size_t used;
} log_ = {.mutex = PTHREAD_MUTEX_INITIALIZER};

static ino_t inode(int fd) {
    struct stat st;
    return fstat(fd, &st) == 0 ? st.st_ino : 0;
}

ssize_t __wrap_pwrite64(int fd, const void *data, size_t len, off_t offset) {
    if (log_.on) {
        pthread_mutex_lock(&log_.mutex);
        if (log_.used == LOG_MAX)
            abort();
        struct entry *e = &log_.entries[log_.used++];
        *e = (struct entry){.file = inode(fd), .offset = offset, .len = len, .data = malloc(len)};
        memcpy(e->data, data, len);
        pthread_mutex_unlock(&log_.mutex);
    }
    return __real_pwrite64(fd, data, len, offset);
}

int __wrap_fdatasync(int fd) {
    if (!log_.on)
        return __real_fdatasync(fd);
    /* What was written before the call is safe when it returns. */
    pthread_mutex_lock(&log_.mutex);
    size_t before = log_.used;
    pthread_mutex_unlock(&log_.mutex);
    while (log_.on && log_.stuck)
        usleep(100);
    ino_t file = inode(fd);
    pthread_mutex_lock(&log_.mutex);
    for (size_t i = 0; i < before && log_.on; i++)
        if (log_.entries[i].file == file)
            log_.entries[i].flushed = true;
    pthread_mutex_unlock(&log_.mutex);
    return 0;
}

/* From here on nothing reaches the log; the flushing thread may be anywhere in its work. */
static void stop_log(void) {
    pthread_mutex_lock(&log_.mutex);
    log_.on = log_.stuck = false;
    pthread_mutex_unlock(&log_.mutex);
}

static void forget_log(void) {
    for (size_t i = 0; i < log_.used; i++)
        free(log_.entries[i].data);
    log_.used = 0;
}

/* Replaces the content of a store's file by what a cut would have left. */
static void cut_file(const char *path, const struct cv_rng *dice) {
    int fd = open(path, O_RDWR);
    cr_assert_geq(fd, 0);
    struct stat st;
    cr_assert_eq(fstat(fd, &st), 0);
    cr_assert_eq(ftruncate(fd, 0), 0);
    for (size_t i = 0; i < log_.used; i++) {
        const struct entry *e = &log_.entries[i];
        if (e->file != st.st_ino)
            continue;
        for (size_t at = 0; at < e->len; at += SECTOR) {
            size_t n = e->len - at < SECTOR ? e->len - at : SECTOR;
            if (e->flushed || cv_rng_u32(dice) & 1)
                cr_assert_eq(__real_pwrite64(fd, e->data + at, n, e->offset + (off_t)at),
                             (ssize_t)n);
        }
    }
    close(fd);
}

static void cut_files(const struct store_fixture *f, const struct cv_rng *dice) {
    static const char *const names[] = {"data", "tree", "leaves", "have"};
    for (size_t i = 0; i < 4; i++) {
        char path[600];
        snprintf(path, sizeof path, "%s/content-abababababababababababababababab/%s", f->top,
                 names[i]);
        cut_file(path, dice);
    }
}

static uint64_t check_all(struct store_fixture *f, const struct model *m, uint64_t chunks) {
    uint64_t *words = calloc(chunks / 64 + 1, sizeof *words), count = 0;
    cr_assert_eq(io_store_ops.have_load(f->store, words, chunks / 64 + 1), CV_ERR_OK);
    for (uint64_t i = 0; i < chunks; i++)
        if (has_bit(words, i)) {
            cr_assert(content_right(f->store, i, 0), "chunk %lu is not what was written",
                      (unsigned long)i);
            if (m && (count == 0 || i % 16 == 0 || !has_bit(words, i - 1)))
                model_compare(m, f->store, i / 16);
            count++;
        }
    free(words);
    return count;
}

Test(io_store_crash, power_cuts) {
    enum { CHUNKS = 9000 };
    uint64_t survived = 0;
    uint8_t *content = malloc(CHUNKS * CHUNK);
    content_fill(content, 0, CHUNKS * CHUNK);
    struct model m = model_of(content, CHUNKS * CHUNK);
    for (uint64_t seed = 0; seed < 30; seed++) {
        struct store_fixture f;
        struct cv_rng_seeded state;
        cv_rng_seeded_init(&state, seed);
        struct cv_rng dice = cv_rng_seeded(&state);
        fixture_init(&f);
        log_.on = true;
        fixture_open(&f);
        fixture_size(&f, CHUNKS, 0);
        unsigned steps = (unsigned)cv_rng_between(&dice, 1, 60);
        for (unsigned i = 0; i < steps; i++) {
            uint64_t first = cv_rng_below(&dice, CHUNKS - 64);
            uint32_t count = (uint32_t)cv_rng_between(&dice, 1, 64);
            for (uint64_t g = first / 16; g <= (first + count - 1) / 16; g++)
                model_give(&m, f.store, g);
            cr_assert_eq(content_write(f.store, first, count, 0), CV_ERR_OK);
            if (cv_rng_below(&dice, 6) == 0)
                io_store_ops.commit(f.store);
            if (cv_rng_below(&dice, 12) == 0)
                io_store_flush(f.store);
        }
        stop_log();
        fixture_close(&f);
        cut_files(&f, &dice);
        struct io_why why;
        cr_assert_eq(io_state_open(f.top, &f.state, &why), CV_ERR_OK, "%s", why.text);
        enum cv_err err = io_store_open(f.state, &f.cfg, &f.store, &why);
        cr_assert_eq(err, CV_ERR_OK, "seed=%lu %s", (unsigned long)seed, why.text);
        if (io_store_stats(f.store).chunks == CHUNKS)
            survived += check_all(&f, &m, CHUNKS);
        fixture_done(&f);
        forget_log();
    }
    free(m.nodes);
    free(content);
    cr_expect_gt(survived, 5000, "the test must see marked chunks: %lu", (unsigned long)survived);
}

/* The child writes in order until it is killed; `written` tells how far. */
static void write_until_killed(struct store_fixture *f, _Atomic uint64_t *written,
                               uint64_t chunks) {
    fixture_open(f);
    fixture_size(f, chunks, 0);
    for (uint64_t i = io_store_stats(f->store).verified; i + 64 <= chunks; i += 64) {
        while (content_write(f->store, i, 64, 0) == CV_ERR_AGAIN)
            io_store_flush(f->store);
        *written = i + 64;
    }
    pause();
}

Test(io_store_crash, kill_dash_nine_costs_at_most_16_mib) {
    enum { CHUNKS = 200 << 10 }; /* 200 MiB: more than is written in the time */
    void *shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    _Atomic uint64_t *written = shared;
    struct cv_rng_seeded state;
    cv_rng_seeded_init(&state, 3);
    struct cv_rng dice = cv_rng_seeded(&state);
    struct store_fixture f;
    cr_assert_neq(shared, MAP_FAILED);
    fixture_init(&f);
    uint64_t before = 0;
    for (int kills = 0; kills < 12 && before + 64 < CHUNKS; kills++) {
        *written = before;
        pid_t child = fork();
        if (child == 0)
            write_until_killed(&f, written, CHUNKS);
        uint64_t target = before + cv_rng_between(&dice, 64, 24 << 10);
        while (*written < target && *written + 64 < CHUNKS)
            usleep(200);
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);

        fixture_open(&f);
        uint64_t have = check_all(&f, NULL, CHUNKS);
        cr_assert_geq((have + (IO_STORE_UNCOMMITTED_MAX + 64 * CHUNK) / CHUNK), *written,
                      "kill %d: %lu of %lu chunks", kills, (unsigned long)have,
                      (unsigned long)*written);
        before = have - have % 64;
        fixture_close(&f);
    }
    fixture_done(&f);
    munmap(shared, 4096);
}

/* ---- on the wire ---- */

enum { SEEDER, VIEWER, FETCHED = 40 << 20, LOST_MAX = 16 << 20 };
static_assert(IO_STORE_UNCOMMITTED_MAX + PPSP_STAGE_SEGMENTS * PPSP_STAGE_OCTETS <= LOST_MAX,
              "what a power cut costs");

static bool count_seeder(struct rig *r, unsigned from, unsigned to, uint8_t *data, size_t len) {
    (void)to, (void)data;
    if (from == SEEDER)
        *(uint64_t *)r->tap_ctx += len;
    return true;
}

/* The viewer's engine begins on what its store holds, and calls the seeder. */
static struct ppsp_stats begin_viewer(struct rig *r, struct store_fixture *f) {
    struct ppsp_swarm_config config = r->config;
    struct ppsp_stats st;
    config.store = &io_store_ops;
    config.store_ctx = f->store;
    r->engine[VIEWER] = ppsp_new(NULL, &r->rng[VIEWER]);
    cr_assert_eq(ppsp_swarm_open(r->engine[VIEWER], rig_now(r), &config, &r->swarm[VIEWER]),
                 CV_ERR_OK);
    cr_assert_eq(ppsp_stats(r->engine[VIEWER], r->swarm[VIEWER], &st), CV_ERR_OK);
    cr_assert_eq(rig_connect(r, VIEWER, SEEDER, true), CV_ERR_OK);
    return st;
}

static struct ppsp_stats run_until(struct rig *r, struct store_fixture *f, uint64_t octets) {
    struct ppsp_stats st;
    cv_usec end = r->now + CV_SEC(600);
    do {
        rig_step(r, end);
        cr_assert_eq(ppsp_stats(r->engine[VIEWER], r->swarm[VIEWER], &st), CV_ERR_OK);
        /* A second of the rig takes no time: the flushing thread shall not fall behind. */
        if (!log_.stuck && io_store_stats(f->store).uncommitted > IO_STORE_UNCOMMITTED_MAX / 2)
            (void)io_store_flush(f->store);
    } while (st.down < octets && !st.complete && r->now < end);
    return st;
}

static bool is_the_content(struct rig *r, struct store_fixture *f) {
    uint8_t buf[64 * CHUNK];
    size_t len;
    for (uint64_t i = 0; i < FETCHED / CHUNK; i += 64)
        if (io_store_ops.read_chunks(f->store, i, 64, buf, sizeof buf, &len) != CV_ERR_OK ||
            memcmp(buf, r->content + i * CHUNK, sizeof buf) != 0)
            return false;
    return true;
}

/* The disk stops flushing, writing goes on as far as it may, then the power goes. What came
 * from the seeder in all is the content, with headers and hashes, and at most 16 MiB: what
 * was written and not flushed, and what waited to be written. */
Test(io_store_crash, a_power_cut_costs_at_most_16_mib_on_the_wire) {
    for (uint64_t seed = 1; seed <= 2; seed++) {
        struct rig *r = rig_new(seed, FETCHED, CHUNK, CV_SHA256);
        struct store_fixture f;
        uint64_t wire = 0;
        const struct cv_rng *dice = &r->rng[RIG_ENGINES];
        r->tap = count_seeder;
        r->tap_ctx = &wire;
        fixture_init(&f);
        log_.on = true;
        fixture_open(&f);
        rig_add(r, /* seeder= */ true);
        r->engines = 2;
        (void)begin_viewer(r, &f);
        struct ppsp_stats st = run_until(r, &f, cv_rng_between(dice, 8 << 20, 12 << 20));
        cr_assert(!st.complete);
        log_.stuck = true;
        cv_usec end = r->now + CV_SEC(20);
        while (r->now < end)
            rig_step(r, end);
        cr_assert_eq(ppsp_stats(r->engine[VIEWER], r->swarm[VIEWER], &st), CV_ERR_OK);
        uint64_t dropped = ppsp_counters(r->engine[VIEWER])->drop_data_store * CHUNK;

        stop_log();
        r->engine[VIEWER] = ppsp_free(r->engine[VIEWER]);
        fixture_close(&f);
        cut_files(&f, dice);
        fixture_open(&f);
        st = begin_viewer(r, &f);
        uint64_t there = st.chunks_have * CHUNK, first_leg = wire;
        st = run_until(r, &f, UINT64_MAX);
        cr_assert(st.complete, "seed %lu", seed);
        /* What a stuck disk makes the viewer drop was for nothing without a power cut, too. */
        double overhead = (double)(wire - first_leg) / (double)st.down;
        double again = (double)wire / overhead - FETCHED - (double)dropped;
        cr_expect_lt(overhead, 1.15, "seed %lu: %f", seed, overhead);
        cr_expect_gt(there, 0, "seed %lu", seed);
        cr_expect_leq(again, LOST_MAX, "seed %lu: %.1f MiB", seed, again / (1 << 20));
        cr_expect_gt(again, 8 << 20, "seed %lu: the disk was not stuck", seed);
        cr_expect(is_the_content(r, &f));
        fixture_done(&f);
        forget_log();
        rig_free(r);
    }
}
