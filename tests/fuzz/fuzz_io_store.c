/*
 * A store's files of arbitrary octets (io/store_page.h, io/store_file.h, io/store_tree.h).
 * Input: records of one octet of flags (1: give the page a right checksum, 2:
 * the bitmap page after the last one, else the next page; 64 and 128: no page of `have` but
 * what comes next in `tree`, or with both in `leaves`; 32: before that `data` is made longer,
 * by zeros, to 64 times so many octets) and up to 512 octets.
 * Property: opening answers with an error or a store; a store never claims a
 * chunk behind its end; a chunk written into it is there after reopening; what
 * is read of a header is written again as the same octets; whatever the tree holds, its nodes
 * are given or the content is called changed, and what is put over a group is got again.
 */
#include <assert.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "crypto/hash.h"
#include "io/file.h"
#include "io/store_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { PAGES_MAX = 12, CHUNK = 1024 };

static char top[64];
static const uint8_t id[IO_STORE_ID] = {0xab, 0xcd};
#define STORE "/content-abcd0000000000000000000000000000/"
#define HAVE  STORE "have"

/* No input cuts the power: flushing would only make the search slow. */
int fdatasync(int fd) {
    (void)fd;
    return 0;
}

int fsync(int fd) {
    (void)fd;
    return 0;
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *at) {
    (void)st, (void)flag, (void)at;
    return remove(path);
}

static void remove_all(void) {
    nftw(top, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static struct io_state *begin(void) {
    struct io_state *state = NULL;
    if (!top[0]) {
        cv_crypto_init();
        memcpy(top, "/tmp/culvert-fuzz-XXXXXX", sizeof "/tmp/culvert-fuzz-XXXXXX");
        if (!mkdtemp(top))
            abort();
        atexit(remove_all);
    }
    if (io_state_open(top, &state, NULL) != CV_ERR_OK)
        abort();
    return state;
}

static enum cv_err open_store(struct io_state *state, struct io_store **ret) {
    struct io_store_config cfg = {.chunk_size = CHUNK, .alg = CV_SHA256};
    struct io_why why;
    memcpy(cfg.id, id, sizeof id);
    return io_store_open(state, &cfg, ret, &why);
}

static void header_round_trip(const uint8_t *page, unsigned number) {
    uint8_t again[IO_PAGE];
    struct io_store_header h, h2;
    if (io_page_read_header(page, number, &h) != CV_ERR_OK)
        return;
    assert(io_page_write_header(again, &h) == number);
    assert(io_page_read_header(again, number, &h2) == CV_ERR_OK);
    assert(h2.chunks == h.chunks && h2.octets == h.octets && h2.sequence == h.sequence);
    assert(h.octets <= h.chunks * h.chunk_size);
}

/* Behind what it has already. */
static void append(const char *name, const uint8_t *data, size_t n) {
    char path[128];
    snprintf(path, sizeof path, "%s" STORE "%s", top, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND, 0600);
    if (fd < 0 || write(fd, data, n) != (ssize_t)n)
        abort();
    close(fd);
}

static void lengthen(off_t octets) {
    char path[128];
    snprintf(path, sizeof path, "%s" STORE "data", top);
    if (truncate(path, octets) != 0)
        abort();
}

/* The pages of an input as a file. */
static void write_have(const uint8_t *data, size_t size) {
    char path[128];
    snprintf(path, sizeof path, "%s" HAVE, top);
    int fd = open(path, O_WRONLY | O_TRUNC);
    if (fd < 0)
        abort();
    for (unsigned number = 0; size > 0 && number < PAGES_MAX; number++) {
        uint8_t page[IO_PAGE] = {0}, flags = *data;
        size_t n = size - 1 < IO_PAGE ? size - 1 : IO_PAGE;
        memcpy(page, data + 1, n);
        data += 1 + n;
        size -= 1 + n;
        if (flags & 32)
            lengthen((off_t)n * 64);
        if (flags & 64) {
            append(flags & 128 ? "leaves" : "tree", page, n);
            continue;
        }
        if (flags & 2 && number < IO_PAGE_FIRST)
            number = IO_PAGE_FIRST;
        if (flags & 1)
            io_page_sign(page, number < IO_PAGE_FIRST ? page + 48 : id, number);
        if (number < IO_PAGE_FIRST)
            header_round_trip(page, number);
        if (io_file_pwrite(fd, page, IO_PAGE, (uint64_t)number * IO_PAGE) != 0)
            abort();
    }
    close(fd);
}

/* Every node there can be, and one over the first group. */
static void use_tree(struct io_store *s, uint64_t chunks) {
    enum { RUN = 31, HASH = 32, OVER_FIRST = 15 };
    uint8_t nodes[RUN * HASH], put[HASH], got[HASH];
    for (uint64_t bin = 0; bin < 2 * chunks && bin < 1024; bin += RUN) {
        enum cv_err err = io_store_ops.tree_get(s, bin, RUN, nodes);
        assert(err == CV_ERR_OK || err == CV_ERR_CORRUPT);
    }
    memset(put, 0xc3, sizeof put);
    assert(io_store_ops.tree_put(s, OVER_FIRST, 1, put) == CV_ERR_OK);
    enum cv_err err = io_store_ops.tree_get(s, OVER_FIRST, 1, got);
    assert(err == CV_ERR_CORRUPT || memcmp(got, put, sizeof got) == 0);
    memset(nodes, 0x3c, sizeof nodes);
    for (uint64_t group = 0; group < 80 && 16 * group < chunks; group++) {
        assert(io_store_ops.tree_put(s, 32 * group, RUN, nodes) == CV_ERR_OK);
        err = io_store_ops.tree_get(s, 32 * group, 1, got);
        assert(err == CV_ERR_CORRUPT || err == CV_ERR_OK); /* of whole groups what is right */
    }
}

static void use(struct io_state *state, struct io_store *s) {
    uint8_t chunk[CHUNK], got[CHUNK];
    struct ppsp_store_size known;
    size_t len;
    assert(io_store_ops.size(s, &known) == CV_ERR_OK);
    assert(io_store_stats(s).verified <= known.chunks);
    if (known.chunks < 2 || known.chunks > 1 << 20)
        return;

    size_t words = (size_t)(known.chunks + 63) / 64;
    uint64_t *have = calloc(words, sizeof *have);
    assert(io_store_ops.have_load(s, have, words) == CV_ERR_OK);
    if (known.chunks % 64)
        assert(have[words - 1] >> known.chunks % 64 == 0);
    free(have);

    use_tree(s, known.chunks);
    memset(chunk, 0x5a, sizeof chunk);
    assert(io_store_ops.write_chunks(s, 0, 1, chunk, CHUNK) == CV_ERR_OK);
    io_store_close(s);
    assert(open_store(state, &s) == CV_ERR_OK);
    assert(io_store_stats(s).verified >= 1);
    assert(io_store_ops.read_chunks(s, 0, 1, got, CHUNK, &len) == CV_ERR_OK);
    assert(len == CHUNK && memcmp(got, chunk, CHUNK) == 0);
    io_store_close(s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct io_state *state = begin();
    struct io_store *s = NULL;
    io_store_remove(state, id, NULL);
    if (open_store(state, &s) != CV_ERR_OK)
        abort();
    s = io_store_close(s);
    write_have(data, size);
    if (open_store(state, &s) == CV_ERR_OK) {
        struct ppsp_store_size known;
        io_store_ops.size(s, &known);
        if (known.chunks < 2 || known.chunks > 1 << 20)
            io_store_close(s);
        else
            use(state, s);
    }
    io_state_close(state);
    return 0;
}
