/* The cache: who goes, who never does, and what is left when it was killed meanwhile. */
#include "support/suite.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "io/cache.h"
#include "io/tests/store_fixture.h"

CV_SUITE(io_cache, .init = cv_crypto_init, .timeout = 600);

enum { CHUNKS = 256, OCTETS = CHUNKS * CHUNK };

static void use_id(struct store_fixture *f, uint8_t id) {
    memset(f->cfg.id, id, sizeof f->cfg.id);
}

static void folder_of(const struct store_fixture *f, uint8_t id, const char *file, char out[600]) {
    int n = snprintf(out, 600, "%s/content-", f->top);
    for (int i = 0; i < 16; i++)
        n += snprintf(out + n, 600 - (size_t)n, "%02x", id);
    snprintf(out + n, 600 - (size_t)n, "/%s", file);
}

static bool is_there(const struct store_fixture *f, uint8_t id, const char *file) {
    char path[600];
    struct stat st;
    folder_of(f, id, file, path);
    return lstat(path, &st) == 0;
}

static void set_watched(const struct store_fixture *f, uint8_t id, time_t when) {
    char path[600];
    struct timespec times[2] = {{.tv_sec = when}, {.tv_sec = when}};
    folder_of(f, id, "have", path);
    cr_assert_eq(utimensat(AT_FDCWD, path, times, 0), 0);
}

/* A complete content, watched `when`; the state stays open. */
static void watch(struct store_fixture *f, uint8_t id, time_t when) {
    struct io_why why = {""};
    use_id(f, id);
    cr_assert_eq(io_store_open(f->state, &f->cfg, &f->store, &why), CV_ERR_OK, "%s", why.text);
    if (io_store_stats(f->store).chunks == 0)
        fixture_size(f, CHUNKS, OCTETS);
    for (uint64_t i = 0; i < CHUNKS; i += BATCH_CHUNKS)
        cr_assert_eq(content_write(f->store, i, BATCH_CHUNKS, OCTETS), CV_ERR_OK);
    f->store = io_store_close(f->store);
    if (when)
        set_watched(f, id, when);
}

static void begin(struct store_fixture *f) {
    fixture_init(f);
    cr_assert_eq(io_state_open(f->top, &f->state, NULL), CV_ERR_OK);
}

struct gone {
    unsigned count;
    char first[8][16]; /* of the names: "content-ab" */
    int64_t watched[8];
};

static void note(void *ctx, const struct io_cache_evicted *e) {
    struct gone *g = ctx;
    cr_expect_geq(e->octets, OCTETS);
    snprintf(g->first[g->count], sizeof g->first[0], "%.10s", e->name);
    g->watched[g->count++] = e->watched;
}

static struct io_cache_use trim(struct store_fixture *f, uint64_t limit, struct gone *gone) {
    struct io_cache_use use = {.octets = 0};
    struct io_why why = {""};
    cr_assert_eq(io_cache_trim(f->state, limit, gone ? note : NULL, gone, &use, &why), CV_ERR_OK,
                 "%s", why.text);
    return use;
}

Test(io_cache, the_least_recently_watched_goes) {
    struct store_fixture f;
    struct gone gone = {.count = 0};
    begin(&f);
    watch(&f, 0xa1, 4000);
    watch(&f, 0xa2, 1000);
    watch(&f, 0xa3, 3000);
    watch(&f, 0xa4, 2000);
    struct io_cache_use before = trim(&f, UINT64_MAX, &gone);
    cr_expect_eq(before.contents, 4);
    cr_expect_geq(before.octets, 4 * OCTETS);
    cr_expect_eq(before.open, 0);
    cr_expect_eq(gone.count, 0);

    struct io_cache_use after = trim(&f, before.octets / 2, &gone);
    cr_expect_eq(gone.count, 2);
    cr_expect_str_eq(gone.first[0], "content-a2");
    cr_expect_str_eq(gone.first[1], "content-a4");
    cr_expect_eq(gone.watched[1], 2000);
    cr_expect_eq(after.contents, 2);
    cr_expect_leq(after.octets, before.octets / 2);
    cr_expect(is_there(&f, 0xa1, "data") && is_there(&f, 0xa3, "data"));
    cr_expect(!is_there(&f, 0xa2, "") && !is_there(&f, 0xa4, ""));

    /* Watched again, without a chunk that is new. */
    watch(&f, 0xa3, 0);
    trim(&f, OCTETS + OCTETS / 2, &gone);
    cr_expect(is_there(&f, 0xa3, "data"));
    cr_expect(!is_there(&f, 0xa1, ""));
    fixture_done(&f);
}

Test(io_cache, what_is_open_pinned_or_elsewhere_stays) {
    struct store_fixture f;
    char path[300], shared[300], got[CHUNK];
    struct io_why why = {""};
    struct io_store *other = NULL, *source = NULL;
    uint8_t root[CV_SHA_MAX];
    begin(&f);
    watch(&f, 0xb1, 1000); /* in the cache: it alone may go */
    f.cfg.pinned = true;
    watch(&f, 0xb2, 1000);
    f.cfg.pinned = false;
    watch(&f, 0xb2, 1000); /* pinned for good */
    snprintf(path, sizeof path, "%s/film", f.top);
    f.cfg.data_path = path;
    watch(&f, 0xb3, 1000);
    f.cfg.data_path = NULL;
    watch(&f, 0xb4, 1000);
    use_id(&f, 0xb4);
    cr_assert_eq(io_store_open(f.state, &f.cfg, &other, &why), CV_ERR_OK); /* is being played */
    set_watched(&f, 0xb4, 1);

    snprintf(shared, sizeof shared, "%s/shared", f.top);
    FILE *file = fopen(shared, "w");
    memset(got, 7, sizeof got);
    fwrite(got, 1, sizeof got, file);
    fclose(file);
    struct io_share_config share = {.path = shared, .chunk_size = CHUNK, .alg = CV_SHA256};
    cr_assert_eq(io_store_share(f.state, &share, &source, root, &why), CV_ERR_OK);
    io_store_close(source);

    struct gone gone = {.count = 0};
    struct io_cache_use use = trim(&f, 0, &gone);
    cr_expect_eq(gone.count, 1);
    cr_expect_str_eq(gone.first[0], "content-b1");
    cr_expect_eq(use.contents, 1);
    cr_expect_eq(use.open, use.octets);
    cr_expect_geq(use.octets, OCTETS);
    cr_expect(is_there(&f, 0xb2, "data") && is_there(&f, 0xb3, "have") &&
              is_there(&f, 0xb4, "data"));
    cr_expect(content_right(other, CHUNKS - 1, OCTETS));
    share.only_known = true;
    cr_expect_eq(io_store_share(f.state, &share, &source, root, &why), CV_ERR_OK, "%s", why.text);
    io_store_close(source);

    io_store_close(other); /* played to its end */
    use = trim(&f, 0, &gone);
    cr_expect_eq(gone.count, 2);
    cr_expect_eq(use.octets, 0);
    cr_expect(is_there(&f, 0xb2, "data"));
    fixture_done(&f);
}

Test(io_cache, what_cannot_be_understood_stays) {
    struct store_fixture f;
    char path[600];
    begin(&f);
    watch(&f, 0xc1, 1000);
    folder_of(&f, 0xc1, "have", path);
    int fd = open(path, O_WRONLY);
    cr_assert_eq(pwrite(fd, "?", 1, 8), 1);
    cr_assert_eq(pwrite(fd, "?", 1, 520), 1);
    close(fd);
    struct io_cache_use use = trim(&f, 0, NULL);
    cr_expect_eq(use.contents, 0);
    cr_expect(is_there(&f, 0xc1, "data"));
    fixture_done(&f);
}

/* Whatever files a removal that was cut short has left. */
Test(io_cache, any_rest_of_a_content_is_harmless) {
    static const char *const names[] = {"data", "tree", "leaves", "have"};
    for (unsigned left = 0; left < 16; left++) {
        for (int reopened = 0; reopened < 2; reopened++) {
            struct store_fixture f;
            char path[600];
            begin(&f);
            watch(&f, 0xd1, 1000);
            for (size_t i = 0; i < 4; i++)
                if (!(left >> i & 1)) {
                    folder_of(&f, 0xd1, names[i], path);
                    cr_assert_eq(unlink(path), 0);
                }
            if (reopened) {
                struct io_why why = {""};
                bool whole = left & 1 && left & 8;
                cr_assert_eq(io_store_open(f.state, &f.cfg, &f.store, &why), CV_ERR_OK, "%s",
                             why.text);
                cr_expect_eq(io_store_stats(f.store).verified, whole ? CHUNKS : 0, "left %x", left);
                f.store = io_store_close(f.store);
                watch(&f, 0xd1, 1000);
                cr_assert_eq(io_store_open(f.state, &f.cfg, &f.store, &why), CV_ERR_OK);
                cr_expect(content_right(f.store, 77, OCTETS));
                f.store = io_store_close(f.store);
            }
            struct io_cache_use use = trim(&f, 0, NULL);
            cr_expect_eq(use.octets, 0, "left %x: %lu", left, (unsigned long)use.octets);
            cr_expect(!is_there(&f, 0xd1, "data"), "left %x", left);
            fixture_done(&f);
        }
    }
}

Test(io_cache, kill_dash_nine_while_it_evicts) {
    enum { CONTENTS = 10 };
    struct store_fixture f;
    begin(&f);
    for (unsigned kill_after = 0; kill_after < 6; kill_after++) {
        for (unsigned i = 0; i < CONTENTS; i++)
            watch(&f, (uint8_t)(1 + i), 1000 + i);
        int ready[2];
        cr_assert_eq(pipe(ready), 0);
        pid_t child = fork();
        if (child == 0) {
            struct io_cache_use use;
            if (write(ready[1], "x", 1) == 1)
                io_cache_trim(f.state, 0, NULL, NULL, &use, NULL);
            pause();
        }
        char x;
        cr_assert_eq(read(ready[0], &x, 1), 1);
        usleep(150 * kill_after);
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
        close(ready[0]);
        close(ready[1]);
        for (unsigned i = 0; i < CONTENTS; i++) {
            uint64_t words[CHUNKS / 64] = {0};
            struct io_why why = {""};
            if (!is_there(&f, (uint8_t)(1 + i), ""))
                continue;
            use_id(&f, (uint8_t)(1 + i));
            cr_assert_eq(io_store_open(f.state, &f.cfg, &f.store, &why), CV_ERR_OK, "%s", why.text);
            cr_assert_eq(io_store_ops.have_load(f.store, words, CHUNKS / 64), CV_ERR_OK);
            for (uint64_t c = 0; c < CHUNKS; c++)
                cr_assert(!has_bit(words, c) || content_right(f.store, c, OCTETS));
            f.store = io_store_close(f.store);
        }
        cr_assert_eq(trim(&f, 0, NULL).contents, 0);
    }
    fixture_done(&f);
}

/* `get` of what `play` has: nothing is fetched twice, and it is out of the cache. */
Test(io_cache, what_is_got_leaves_the_cache_with_its_content) {
    for (int killed = 0; killed < 2; killed++) {
        struct store_fixture f;
        char path[300], here[600];
        struct io_why why = {""};
        begin(&f);
        watch(&f, 0xe1, 1000);
        snprintf(path, sizeof path, "%s/film", f.top);
        folder_of(&f, 0xe1, "data", here);
        if (killed) /* an earlier run, right after it gave the content its name */
            cr_assert_eq(link(here, path), 0);
        f.cfg.data_path = path;
        cr_assert_eq(io_store_open(f.state, &f.cfg, &f.store, &why), CV_ERR_OK, "%s", why.text);
        cr_expect_eq(io_store_stats(f.store).verified, CHUNKS);
        cr_expect(content_right(f.store, 200, OCTETS));
        f.store = io_store_close(f.store);
        cr_expect(!is_there(&f, 0xe1, "data"));
        cr_expect_eq(trim(&f, 0, NULL).contents, 0);
        cr_assert_eq(io_store_open(f.state, &f.cfg, &f.store, &why), CV_ERR_OK, "%s", why.text);
        cr_expect_eq(io_store_stats(f.store).verified, CHUNKS);
        fixture_done(&f);
    }
    /* A file of somebody else is not taken for it. */
    struct store_fixture f;
    char path[300];
    struct io_why why = {""};
    begin(&f);
    watch(&f, 0xe1, 1000);
    snprintf(path, sizeof path, "%s/film", f.top);
    close(open(path, O_CREAT | O_WRONLY, 0600));
    f.cfg.data_path = path;
    cr_expect_eq(io_store_open(f.state, &f.cfg, &f.store, &why), CV_ERR_EXIST);
    cr_expect(is_there(&f, 0xe1, "data"));
    fixture_done(&f);
}

Test(io_cache, the_limit_is_20_gib_or_a_tenth_of_the_disk) {
    struct store_fixture f;
    struct statvfs fs;
    begin(&f);
    cr_assert_eq(statvfs(f.top, &fs), 0);
    uint64_t tenth = (uint64_t)fs.f_blocks * fs.f_frsize / 10, most = UINT64_C(20) << 30;
    cr_expect_eq(io_cache_limit(f.state), tenth < most ? tenth : most);
    fixture_done(&f);
}
