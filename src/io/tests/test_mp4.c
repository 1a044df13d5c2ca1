#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "io/mp4.h"
#include "support/suite.h"

CV_SUITE(io_mp4);

/* Boxes, one behind the other or inside of each other. */
struct maker {
    uint8_t data[1024];
    size_t len, open[8], depth;
};

static void put(struct maker *m, const void *data, size_t len) {
    memcpy(m->data + m->len, data, len);
    m->len += len;
}

static void put_32(struct maker *m, uint32_t v) {
    put(m, (uint8_t[]){(uint8_t)(v >> 24), (uint8_t)(v >> 16), (uint8_t)(v >> 8), (uint8_t)v}, 4);
}

static void begin(struct maker *m, const char *type) {
    m->open[m->depth++] = m->len;
    put_32(m, 0);
    put(m, type, 4);
}

static void end(struct maker *m) {
    size_t at = m->open[--m->depth], len = m->len;
    m->len = at;
    put_32(m, (uint32_t)(len - at));
    m->len = len;
}

/* An index of two tracks with places in 32 and 64 bits. */
static void index_of(struct maker *m, uint32_t a, uint32_t b, uint32_t c) {
    static const char *const around[] = {"trak", "mdia", "minf", "stbl"};
    begin(m, "moov");
    begin(m, "mvhd");
    put(m, "stco", 4); /* no box: only text */
    end(m);
    for (size_t track = 0; track < 2; track++) {
        for (size_t i = 0; i < 4; i++)
            begin(m, around[i]);
        begin(m, track ? "co64" : "stco");
        put_32(m, 0);
        put_32(m, track ? 1 : 2);
        if (track)
            put_32(m, 0);
        put_32(m, track ? c : a);
        if (!track)
            put_32(m, b);
        end(m);
        for (size_t i = 0; i < 4; i++)
            end(m);
    }
    end(m);
}

Test(io_mp4, places_behind_are_moved) {
    struct maker m = {.len = 0}, want = {.len = 0};
    index_of(&m, 10, 1000, 2000);
    index_of(&want, 10, 1300, 2300);
    cr_assert_eq(io_mp4_shift(m.data, m.len, 100, 300), CV_ERR_OK);
    cr_expect_arr_eq(m.data, want.data, want.len);
}

Test(io_mp4, how_long_it_is) {
    static const uint8_t narrow[] = {0, 0, 0, 0, 1, 2,   3, 4, 5,    6,
                                     7, 8, 0, 0, 3, 232, 0, 0, 0x9c, 0x40},
                         wide[] = {1, 0, 0, 0, 1, 2, 3, 4,   5, 6, 7, 8, 9, 8, 7,    6,
                                   5, 4, 3, 2, 0, 0, 3, 232, 0, 0, 0, 0, 0, 0, 0x9c, 0x40};
    static const struct {
        const uint8_t *body;
        size_t len;
    } rows[] = {{narrow, sizeof narrow}, {wide, sizeof wide}};
    for (size_t i = 0; i < 2; i++) {
        struct maker m = {.len = 0};
        begin(&m, "ftyp");
        put(&m, "isom", 4);
        end(&m);
        begin(&m, "moov");
        begin(&m, "mvhd");
        put(&m, rows[i].body, rows[i].len);
        end(&m);
        end(&m);
        size_t whole = m.len;
        begin(&m, "mdat");
        put_32(&m, 0);
        end(&m);
        cr_expect_float_eq(io_mp4_seconds(m.data, m.len), 40.0, 1e-9);
        cr_expect_float_eq(io_mp4_seconds(m.data, whole), 40.0, 1e-9);
        for (size_t len = 0; len < whole; len++) { /* too little of it; exactly, for sanitizers */
            uint8_t *copy = malloc(len + !len);
            memcpy(copy, m.data, len);
            cr_expect_eq(io_mp4_seconds(copy, len), 0.0, "%zu of %zu", len, whole);
            free(copy);
        }
        uint8_t *version = m.data + whole - rows[i].len;
        *version = 2;
        cr_expect_eq(io_mp4_seconds(m.data, m.len), 0.0);
    }
}

Test(io_mp4, what_does_not_fit) {
    struct maker good = {.len = 0};
    index_of(&good, 10, 1000, UINT32_MAX);
    static const struct {
        const char *name, *find;
        int offset; /* of the octet behind `find` */
        uint8_t value;
        enum cv_err want;
    } rows[] = {
        {"a count beyond the box", "stco", 8 + 3, 0xff, CV_ERR_MALFORMED},
        {"a box beyond its parent", "trak", -5, 0xff, CV_ERR_MALFORMED},
        {"a box shorter than its head", "mdia", -5, 7, CV_ERR_MALFORMED},
        {"32 bits are too few", "stco", 8 + 8, 0xff, CV_ERR_LIMIT},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct maker m = good;
        uint8_t *at = memmem(m.data + 30, m.len - 30, rows[i].find, 4);
        cr_assert_not_null(at, "%s", rows[i].name);
        if (rows[i].want == CV_ERR_LIMIT)
            memset(at + 12, 0xff, 4);
        else
            at[rows[i].offset < 0 ? 4 + rows[i].offset : rows[i].offset] = rows[i].value;
        cr_expect_eq(io_mp4_shift(m.data, m.len, 100, 300), rows[i].want, "%s", rows[i].name);
    }
    uint8_t packed[] = {0, 0, 0, 16, 'm', 'o', 'o', 'v', 0, 0, 0, 8, 'c', 'm', 'o', 'v'};
    cr_expect_eq(io_mp4_shift(packed, sizeof packed, 0, 1), CV_ERR_MALFORMED);
}

static void write_file(const char *path, const struct maker *m) {
    FILE *f = fopen(path, "w");
    cr_assert(f && fwrite(m->data, m->len, 1, f) == 1 && fclose(f) == 0);
}

Test(io_mp4, a_copy_with_its_index_in_front) {
    char folder[] = "/tmp/culvert-mp4-XXXXXX", from[64], to[64];
    cr_assert_not_null(mkdtemp(folder));
    snprintf(from, sizeof from, "%s/a.mp4", folder);
    snprintf(to, sizeof to, "%s/b.mp4", folder);
    struct maker m = {.len = 0}, want = {.len = 0};
    struct io_why why = {.text = ""};
    begin(&m, "ftyp");
    put(&m, "isomisom", 8);
    end(&m);
    want = m;
    size_t front = m.len;
    begin(&m, "mdat");
    put(&m, "pictures", 8);
    end(&m);
    index_of(&m, 24, 28, 24);
    size_t index_len = m.len - front - 16;
    begin(&m, "free");
    end(&m);
    write_file(from, &m);
    cr_expect_eq(io_mp4_where(from), IO_MP4_END);
    atomic_bool stop = true;
    cr_expect_eq(io_mp4_faststart(from, to, &stop, &why), CV_ERR_CLOSED);
    cr_expect_eq(access(to, F_OK), -1, "what was stopped is not there");
    stop = false;
    cr_assert_eq(io_mp4_faststart(from, to, &stop, &why), CV_ERR_OK, "%s", why.text);
    cr_expect_eq(io_mp4_where(to), IO_MP4_FRONT);
    uint32_t by = (uint32_t)index_len;
    index_of(&want, 24 + by, 28 + by, 24 + by);
    put(&want, m.data + front, 16);
    put(&want, m.data + m.len - 8, 8);
    uint8_t got[1024];
    FILE *f = fopen(to, "r");
    cr_assert_not_null(f);
    cr_expect_eq(fread(got, 1, sizeof got, f), want.len);
    fclose(f);
    cr_expect_arr_eq(got, want.data, want.len);
    /* Nothing is written over, and what has its index in front is no matter of ours. */
    cr_expect_eq(io_mp4_faststart(from, to, &stop, &why), CV_ERR_EXIST);
    cr_expect_eq(io_mp4_faststart(to, from, &stop, &why), CV_ERR_MALFORMED);
    cr_expect_eq(io_mp4_where(folder), IO_MP4_NONE);
    m.len = 12;
    write_file(from, &m);
    cr_expect_eq(io_mp4_where(from), IO_MP4_NONE);
    unlink(from);
    unlink(to);
    cr_expect_eq(rmdir(folder), 0, "nothing else is left");
}

Test(io_mp4, no_copy_without_room) {
    char folder[] = "/tmp/culvert-mp4-XXXXXX", from[64], to[64];
    cr_assert_not_null(mkdtemp(folder));
    snprintf(from, sizeof from, "%s/a.mp4", folder);
    snprintf(to, sizeof to, "%s/b.mp4", folder);
    struct statvfs fs;
    cr_assert_eq(statvfs(folder, &fs), 0);
    uint64_t hole = (uint64_t)fs.f_bavail * fs.f_frsize + IO_MP4_SPARE;
    struct maker m = {.len = 0}, index = {.len = 0};
    struct io_why why = {.text = ""};
    begin(&m, "ftyp");
    put(&m, "isomisom", 8);
    end(&m);
    put(&m, "\0\0\0\1mdat", 8);
    for (int shift = 56; shift >= 0; shift -= 8)
        put(&m, &(uint8_t){(uint8_t)((hole + 16) >> shift)}, 1);
    index_of(&index, 32, 36, 32);
    FILE *f = fopen(from, "w");
    cr_assert_not_null(f);
    bool large = fwrite(m.data, m.len, 1, f) == 1 && fseeko(f, (off_t)hole, SEEK_CUR) == 0 &&
                 fwrite(index.data, index.len, 1, f) == 1;
    large = fclose(f) == 0 && large; /* else the file system has none so large */
    atomic_bool stop = true;         /* should it begin all the same */
    if (large) {
        cr_expect_eq(io_mp4_where(from), IO_MP4_END);
        cr_expect_eq(io_mp4_faststart(from, to, &stop, &why), CV_ERR_FULL, "%s", why.text);
    }
    unlink(from);
    cr_expect_eq(rmdir(folder), 0, "nothing else is left");
}
