/* The index of a folder: what is written reads back; what a stranger may write. */
#include "support/suite.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "crypto/rng_seeded.h"
#include "io/folder_index.h"
#include "io/limits.h"

CV_SUITE(io_folder_index, .timeout = 600);

enum { CHUNK = 1024 };

/* An index with this JSON; free() it. */
static uint8_t *index_of(const char *text, size_t len, size_t *ret_len) {
    uint8_t *index = malloc(IO_FOLDER_HEAD + len);
    memcpy(index, "CVF1", 4);
    for (unsigned i = 0; i < 4; i++)
        index[4 + i] = (uint8_t)(len >> (24 - 8 * i));
    memcpy(index + IO_FOLDER_HEAD, text, len);
    *ret_len = IO_FOLDER_HEAD + len;
    return index;
}

static enum cv_err parse(const char *text, uint64_t octets, struct io_folder **f,
                         struct io_why *why) {
    size_t len;
    uint8_t *index = index_of(text, strlen(text), &len);
    enum cv_err err = io_folder_parse(index, len, CHUNK, octets, f, why);
    free(index);
    return err;
}

Test(io_folder_index, what_strangers_may_write) {
#define FILE_AT(path, size, offset)                                                                \
    "{\"path\":\"" path "\",\"size\":" #size ",\"offset\":" #offset "}"
#define ONE(path) "[" FILE_AT(path, 10, 1024) "]"
    static const struct {
        const char *json;
        uint64_t octets;
        const char *why; /* NULL: it is right */
    } rows[] = {
        {ONE("a"), 1034, NULL},
        {ONE("a/b/..c/d e"), 1034, NULL},
        {ONE("\xc3\xa4/\xe5\x86\x99"), 1034, NULL},
        {"[" FILE_AT("b", 1025, 1024) "," FILE_AT("a", 0, 3072) "," FILE_AT("c", 1, 3072) "]", 3073,
         NULL},
        {"[{\"path\":\"a\",\"size\":10,\"offset\":1024,\"more\":[1]}]", 1034, NULL},
        {"[" FILE_AT("a", 1, 1024) "," FILE_AT("ab", 1, 2048) "," FILE_AT("a!", 1, 3072) "]", 3073,
         NULL},
        /* paths */
        {ONE(".."), 1034, "the folder's index: the path '..' leads elsewhere"},
        {ONE("../a"), 1034, "the folder's index: the path '../a' leads elsewhere"},
        {ONE("a/../../b"), 1034, "the folder's index: the path 'a/../../b' leads elsewhere"},
        {ONE("./a"), 1034, "the folder's index: the path './a' leads elsewhere"},
        {ONE("a/."), 1034, "the folder's index: the path 'a/.' leads elsewhere"},
        {ONE("/etc/passwd"), 1034, "the folder's index: the path '/etc/passwd' has an empty part"},
        {ONE("a//b"), 1034, "the folder's index: the path 'a//b' has an empty part"},
        {ONE("a/"), 1034, "the folder's index: the path 'a/' has an empty part"},
        {ONE(""), 1034, "the folder's index: the path '' has an empty part"},
        {ONE("a\\u0000b"), 1034, "the folder's index: is not JSON"},
        {ONE("a\\u001b[2J"), 1034, "the folder's index: the path 'a?[2J' has a control character"},
        {ONE("a\\u0085"), 1034, "the folder's index: the path 'a\?\?' has a control character"},
        {ONE("\xff\xfe"), 1034, "the folder's index: is not JSON"},
        {ONE(IO_FOLDER_PART), 1034,
         "the folder's index: the path '.culvert-part' is a name that downloads use"},
        {"[" FILE_AT("a", 1, 1024) "," FILE_AT("a", 1, 2048) "]", 2049,
         "the folder's index: 'a' is there twice"},
        {"[" FILE_AT("a/b", 1, 1024) "," FILE_AT("a!", 1, 2048) "," FILE_AT("a", 1, 3072) "]", 3073,
         "the folder's index: 'a' is a file and a folder"},
        /* offsets and sizes */
        {ONE("a"), 1033, "the folder's index: its files are not as large as the content"},
        {ONE("a"), 1035, "the folder's index: its files are not as large as the content"},
        {"[" FILE_AT("a", 10, 0) "]", 1034, "the folder's index: a file is not where it must be"},
        {"[" FILE_AT("a", 10, 2048) "]", 1034,
         "the folder's index: a file is not where it must be"},
        {"[" FILE_AT("a", 10, 1025) "]", 1034,
         "the folder's index: a file is not where it must be"},
        {"[" FILE_AT("a", 9000, 1024) "," FILE_AT("b", 1, 1024) "]", 10241,
         "the folder's index: a file is not where it must be"},
        {"[" FILE_AT("a", 9223372036854775807, 1024) "," FILE_AT("b", 9, 2048) "]", 1034,
         "the folder's index: its files are not as large as the content"},
        {"[" FILE_AT("a", 9223372036854775808, 1024) "]", 1034, "the folder's index: is not JSON"},
        {"[" FILE_AT("a", -10, 1024) "]", 1034,
         "the folder's index: a file has no path, size or offset"},
        {"[" FILE_AT("a", 1.5, 1024) "]", 1034,
         "the folder's index: a file has no path, size or offset"},
        /* shape */
        {"[]", 1034, "the folder's index: is no list of files"},
        {"{}", 1034, "the folder's index: is no list of files"},
        {"[[]]", 1034, "the folder's index: a file has no path, size or offset"},
        {"[{\"path\":\"a\",\"size\":1}]", 1034,
         "the folder's index: a file has no path, size or offset"},
        {"[{\"path\":\"a\",\"path\":\"b\",\"size\":1,\"offset\":1024}]", 1025,
         "the folder's index: is not JSON"},
        {"[" FILE_AT("a", 10, 1024) "]x", 1034, "the folder's index: is not JSON"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct io_why why = {""};
        struct io_folder *f = NULL;
        enum cv_err err = parse(rows[i].json, rows[i].octets, &f, &why);
        cr_expect_eq(err, rows[i].why ? CV_ERR_MALFORMED : CV_ERR_OK, "%s: %s", rows[i].json,
                     why.text);
        cr_expect_str_eq(why.text, rows[i].why ? rows[i].why : "", "%s", rows[i].json);
        io_folder_free(f);
    }
}

Test(io_folder_index, long_paths) {
    static const struct {
        size_t parts, part; /* how many, of how many octets */
        const char *bad;
    } rows[] = {
        {1, 255, NULL}, {1, 256, "has a part that is too long"},
        {4, 255, NULL}, {5, 255, "is too long"},
        {32, 1, NULL},  {33, 1, "is too deep"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char path[2000] = "";
        for (size_t j = 0, n = 0; j < rows[i].parts; j++) {
            if (j)
                path[n++] = '/';
            memset(path + n, 'x', rows[i].part);
            n += rows[i].part;
        }
        const char *bad = io_folder_bad_path(path);
        cr_expect(rows[i].bad ? bad && strcmp(bad, rows[i].bad) == 0 : !bad, "row %zu: %s", i, bad);
    }
}

/* Few octets of JSON that would be much memory are not even read as JSON. */
Test(io_folder_index, huge_counts) {
    static const struct {
        const char *repeated;
        size_t count;
        const char *why;
    } rows[] = {
        {"{},", IO_FOLDER_FILES, "the folder's index: a file has no path, size or offset"},
        {"{},", IO_FOLDER_FILES + 1, "the folder's index: holds more than a list of files"},
        {"[],", 1000000, "the folder's index: holds more than a list of files"},
        {"1,", 8 * IO_FOLDER_FILES + 2, "the folder's index: holds more than a list of files"},
        {"1,", IO_FOLDER_FILES + 1, "the folder's index: names too many files"},
        {"\"{{{{{{{{{{{{\",", IO_FOLDER_FILES / 2,
         "the folder's index: a file has no path, size or offset"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        size_t n = strlen(rows[i].repeated), len = rows[i].count * n + 1;
        char *text = malloc(len + 1);
        struct io_why why = {""};
        struct io_folder *f;
        text[0] = '[';
        for (size_t j = 0; j < rows[i].count; j++)
            memcpy(text + 1 + j * n, rows[i].repeated, n);
        text[len - 1] = ']'; /* instead of the last comma */
        text[len] = 0;
        cr_expect_eq(parse(text, 1 << 20, &f, &why), CV_ERR_MALFORMED);
        cr_expect_str_eq(why.text, rows[i].why, "row %zu", i);
        free(text);
    }
    static const struct {
        uint8_t head[IO_FOLDER_HEAD];
        size_t octets;
    } heads[] = {
        {{'C', 'V', 'F', '1', 0, 0, 0, 2}, 10},
        {{'C', 'V', 'F', '1', 0, 0, 0, 1}, 0},
        {{'C', 'V', 'F', '2', 0, 0, 0, 2}, 0},
        {{'C', 'V', 'F', '1', 0, 0x3f, 0xff, 0xf8}, IO_FOLDER_INDEX},
        {{'C', 'V', 'F', '1', 0, 0x3f, 0xff, 0xf9}, 0},
        {{'C', 'V', 'F', '1', 0xff, 0xff, 0xff, 0xff}, 0},
    };
    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++)
        cr_expect_eq(io_folder_index_octets(heads[i].head), heads[i].octets, "row %zu", i);
}

/* Random folders, written and read; each of their prefixes is an error. */
Test(io_folder_index, reads_back) {
    struct cv_rng_seeded state;
    cv_rng_seeded_init(&state, 5);
    struct cv_rng dice = cv_rng_seeded(&state);
    for (unsigned round = 0; round < 60; round++) {
        struct io_folder f = {.count = (size_t)cv_rng_between(&dice, 1, round % 10 ? 30 : 900)};
        f.files = calloc(f.count, sizeof *f.files);
        for (size_t i = 0; i < f.count; i++) {
            char path[64];
            snprintf(path, sizeof path, "%c/file \"%zu\"\xc3\xa4", (char)('a' + i % 3), i);
            f.files[i].path = strdup(path);
            f.files[i].octets = cv_rng_below(&dice, 3) ? cv_rng_below(&dice, 5000)
                                                       : cv_rng_below(&dice, 1ull << 40);
        }
        uint8_t *index;
        size_t len;
        uint32_t chunk = (uint32_t)cv_rng_between(&dice, 512, 5000);
        struct io_folder *got = NULL;
        struct io_why why = {""};
        cr_assert_eq(io_folder_write(&f, chunk, &index, &len), CV_ERR_OK);
        cr_assert_eq(io_folder_parse(index, len, chunk, f.octets, &got, &why), CV_ERR_OK, "%s",
                     why.text);
        cr_assert_eq(got->count, f.count);
        uint64_t at = len;
        for (size_t i = 0; i < f.count; i++) {
            const struct io_folder_file *a = &f.files[i], *b = &got->files[i];
            cr_assert_str_eq(a->path, b->path);
            cr_assert(a->octets == b->octets && a->offset == b->offset);
            cr_assert(b->offset % chunk == 0 && b->offset >= at && b->offset < at + chunk);
            cr_assert_eq(io_folder_find(got, a->path), b);
            at = b->offset + b->octets;
        }
        cr_assert_eq(got->octets, at);
        cr_assert_null(io_folder_find(got, "a"));
        io_folder_free(got);
        for (size_t cut = 0; cut < len; cut += 1 + cut / 50) {
            uint8_t *part = malloc(cut + 1);
            memcpy(part, index, cut);
            cr_assert_eq(io_folder_parse(part, cut, chunk, f.octets, &got, NULL), CV_ERR_MALFORMED);
            free(part);
        }
        free(index);
        for (size_t i = 0; i < f.count; i++)
            free(f.files[i].path);
        free(f.files);
    }
}
