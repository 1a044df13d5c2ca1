/* What ls sees and rm removes: each kind of content, beside the process that holds it,
 * and nothing of the user's. */
#include "support/suite.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/cache.h"
#include "io/contents.h"
#include "io/tests/store_fixture.h"

CV_SUITE(io_contents, .init = cv_crypto_init, .timeout = 600);

enum { CHUNKS = 200, OCTETS = CHUNKS * CHUNK - 100 };

struct seen {
    struct io_content all[8];
    size_t count;
};

static bool see(void *ctx, const struct io_content *c) {
    struct seen *s = ctx;
    cr_assert_lt(s->count, 8);
    s->all[s->count++] = *c;
    return true;
}

static const struct seen *look(struct io_state *state) {
    static struct seen s;
    struct io_why why = {""};
    s.count = 0;
    cr_assert_eq(io_contents_each(state, see, &s, &why), CV_ERR_OK, "%s", why.text);
    return &s;
}

static const struct io_content *only(struct io_state *state) {
    const struct seen *s = look(state);
    cr_assert_eq(s->count, 1);
    return &s->all[0];
}

/* `chunks` of a content, into the state folder or to a path. */
static void fetch(struct store_fixture *f, uint64_t chunks, const char *path, bool pinned) {
    struct io_why why = {""};
    f->cfg.data_path = path;
    f->cfg.pinned = pinned;
    cr_assert_eq(io_store_open(f->state, &f->cfg, &f->store, &why), CV_ERR_OK, "%s", why.text);
    fixture_size(f, CHUNKS, OCTETS);
    for (uint64_t i = 0; i < chunks; i += BATCH_CHUNKS)
        cr_assert_eq(content_write(
                         f->store, i,
                         (uint32_t)(chunks - i < BATCH_CHUNKS ? chunks - i : BATCH_CHUNKS), OCTETS),
                     CV_ERR_OK);
}

static void begin(struct store_fixture *f) {
    fixture_init(f);
    cr_assert_eq(io_state_open(f->top, &f->state, NULL), CV_ERR_OK);
}

Test(io_contents, each_kind_says_what_it_is) {
    struct store_fixture f;
    char path[400];
    static const struct {
        const char *name;
        bool elsewhere, pinned;
        enum io_content_kind kind;
    } rows[] = {{"cache", false, false, IO_CONTENT_CACHED},
                {"pinned", false, true, IO_CONTENT_PINNED},
                {"file", true, false, IO_CONTENT_FILE}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        begin(&f);
        snprintf(path, sizeof path, "%s/copy of a film", f.top);
        fetch(&f, 70, rows[i].elsewhere ? path : NULL, rows[i].pinned);
        io_store_describe(f.store, "culvert:?x=1", f.cfg.data_path);
        f.store = io_store_close(f.store);
        const struct io_content *c = only(f.state);
        cr_expect_eq(c->kind, rows[i].kind, "%s", rows[i].name);
        cr_expect_eq(c->octets, OCTETS);
        cr_expect_eq(c->chunks, CHUNKS);
        cr_expect_eq(io_content_verified(f.state, c), 70, "%s", rows[i].name);
        cr_expect_str_eq(c->link, "culvert:?x=1");
        cr_expect_str_eq(c->path, rows[i].elsewhere ? path : "");
        if (!rows[i].elsewhere)
            cr_expect_geq(c->disk, 70 * CHUNK);
        cr_expect_gt(c->used, 0);
        fixture_done(&f);
    }
}

Test(io_contents, what_is_shared_is_complete_and_stays_the_users) {
    struct store_fixture f;
    char path[400];
    uint8_t root[CV_SHA_MAX], octets[3000];
    struct io_why why = {""};
    struct stat st;
    begin(&f);
    snprintf(path, sizeof path, "%s/own", f.top);
    memset(octets, 9, sizeof octets);
    FILE *file = fopen(path, "w");
    fwrite(octets, 1, sizeof octets, file);
    fclose(file);
    struct io_share_config share = {.path = path, .chunk_size = CHUNK, .alg = CV_SHA256};
    cr_assert_eq(io_store_share(f.state, &share, &f.store, root, &why), CV_ERR_OK, "%s", why.text);
    io_store_describe(f.store, "culvert:?x=2", path);
    f.store = io_store_close(f.store);
    const struct io_content *c = only(f.state);
    cr_expect_eq(c->kind, IO_CONTENT_SHARED);
    cr_expect_eq(c->octets, sizeof octets);
    cr_expect_eq(io_content_verified(f.state, c), 3);
    cr_expect_arr_eq(c->header.root, root, 32);
    cr_expect_str_eq(c->path, path);
    cr_expect_eq(io_content_remove(f.state, c->folder, &why), CV_ERR_OK, "%s", why.text);
    cr_expect_eq(look(f.state)->count, 0);
    cr_expect_eq(stat(path, &st), 0);
    cr_expect_eq(st.st_size, (off_t)sizeof octets);
    fixture_done(&f);
}

Test(io_contents, removing_leaves_the_file_that_was_fetched) {
    struct store_fixture f;
    char path[400];
    struct io_why why = {""};
    struct stat st;
    begin(&f);
    snprintf(path, sizeof path, "%s/copy", f.top);
    fetch(&f, CHUNKS, path, false);
    f.store = io_store_close(f.store);
    cr_assert_eq(io_content_remove(f.state, only(f.state)->folder, &why), CV_ERR_OK, "%s",
                 why.text);
    cr_expect_eq(look(f.state)->count, 0);
    cr_expect_eq(stat(path, &st), 0);
    cr_expect_eq(st.st_size, OCTETS);
    cr_expect_eq(io_content_remove(f.state, "content-nothing", &why), CV_ERR_NOENT);
    fixture_done(&f);
}

Test(io_contents, a_new_store_has_no_marks_to_load) {
    struct store_fixture f;
    uint64_t words[2] = {5, 6};
    begin(&f);
    cr_assert_eq(io_store_open(f.state, &f.cfg, &f.store, NULL), CV_ERR_OK);
    cr_expect_eq(io_store_ops.have_load(f.store, words, 2), CV_ERR_OK);
    cr_expect(words[0] == 5 && words[1] == 6);
    fixture_done(&f);
}

/* rm while it is played: the store goes on, harmlessly, and a new one begins empty. */
Test(io_contents, a_store_whose_folder_went_away_harms_nothing) {
    struct store_fixture f;
    struct io_why why = {""};
    begin(&f);
    fetch(&f, 100, NULL, false);
    cr_assert_eq(io_content_remove(f.state, only(f.state)->folder, &why), CV_ERR_OK, "%s",
                 why.text);
    cr_expect(content_right(f.store, 50, OCTETS));
    cr_expect_eq(content_write(f.store, 100, 32, OCTETS), CV_ERR_OK);
    f.store = io_store_close(f.store);
    cr_expect_eq(look(f.state)->count, 0);
    fetch(&f, 0, NULL, false);
    cr_expect_eq(io_store_stats(f.store).verified, 0);
    fixture_done(&f);
}

Test(io_contents, looking_needs_no_lock_and_makes_nothing) {
    struct store_fixture f;
    char nowhere[300];
    struct stat st;
    struct io_why why = {""};
    struct io_state *beside = NULL;
    begin(&f);
    fetch(&f, 64, NULL, false);
    io_store_flush(f.store);
    cr_assert_eq(io_state_look(f.top, &beside, &why), CV_ERR_OK, "%s", why.text);
    cr_expect_eq(io_content_verified(beside, only(beside)), 64); /* while it is open */
    io_state_close(beside);
    snprintf(nowhere, sizeof nowhere, "%s/none", f.top);
    cr_expect_eq(io_state_look(nowhere, &beside, &why), CV_ERR_NOENT);
    cr_expect_eq(stat(nowhere, &st), -1);
    fixture_done(&f);
}

/* Notes are what a person reads; damaged ones are none, and go with the rest. */
Test(io_contents, damaged_notes_and_marks) {
    struct store_fixture f;
    char path[600];
    begin(&f);
    fetch(&f, 64, NULL, false);
    io_store_describe(f.store, "culvert:?x=a-long-link", "/films/one");
    io_store_describe(f.store, "culvert:?x=3", NULL);
    f.store = io_store_close(f.store);
    cr_expect_str_eq(only(f.state)->link, "culvert:?x=3");
    cr_expect_str_eq(only(f.state)->path, "");
    snprintf(path, sizeof path, "%s/%s/about", f.top, only(f.state)->folder);
    for (int length = 12; length >= 0; length--) { /* without its line end */
        cr_assert_eq(truncate(path, length), 0);
        cr_expect_str_eq(only(f.state)->link, "");
    }
    snprintf(path, sizeof path, "%s/%s/have", f.top, only(f.state)->folder);
    int fd = open(path, O_WRONLY);
    cr_assert_eq(pwrite(fd, "?", 1, 8), 1);
    cr_assert_eq(pwrite(fd, "?", 1, 520), 1);
    close(fd);
    const struct io_content *c = only(f.state);
    cr_expect_eq(c->kind, IO_CONTENT_DAMAGED);
    cr_expect_eq(io_content_verified(f.state, c), 0);
    cr_expect_eq(io_content_remove(f.state, c->folder, NULL), CV_ERR_OK);
    cr_expect_eq(look(f.state)->count, 0);
    fixture_done(&f);
}

Test(io_contents, the_cache_removes_notes_too) {
    struct store_fixture f;
    struct io_cache_use use;
    begin(&f);
    fetch(&f, 64, NULL, false);
    io_store_describe(f.store, "culvert:?x=4", NULL);
    f.store = io_store_close(f.store);
    cr_assert_eq(io_cache_trim(f.state, 0, NULL, NULL, &use, NULL), CV_ERR_OK);
    cr_expect_eq(use.contents, 0);
    cr_expect_eq(look(f.state)->count, 0);
    fixture_done(&f);
}
