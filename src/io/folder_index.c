#include "io/folder_index.h"

#include <assert.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "io/limits.h"

static const uint8_t magic[4] = {'C', 'V', 'F', '1'};

struct io_folder *io_folder_free(struct io_folder *f) {
    if (!f)
        return NULL;
    for (size_t i = 0; i < f->count; i++)
        free(f->files[i].path);
    free(f->files);
    free(f);
    return NULL;
}

/* ---- paths ---------------------------------------------------------------------- */

static const char *bad_part(const char *part, size_t len) {
    if (len == 0)
        return "has an empty part";
    if (len > IO_FOLDER_PART_MAX)
        return "has a part that is too long";
    if (part[0] == '.' && (len == 1 || (len == 2 && part[1] == '.')))
        return "leads elsewhere";
    return NULL;
}

const char *io_folder_bad_path(const char *path) {
    size_t depth = 0, len = strlen(path);
    if (len > IO_FOLDER_PATH_MAX)
        return "is too long";
    for (size_t i = 0; i < len; i++) {
        uint8_t c = (uint8_t)path[i], next = (uint8_t)path[i + 1];
        if (c < 0x20 || c == 0x7f || (c == 0xc2 && next >= 0x80 && next < 0xa0))
            return "has a control character";
    }
    json_t *text = json_string(path);
    json_decref(text);
    if (!text)
        return "is not UTF-8";
    if (strcmp(path, IO_FOLDER_PART) == 0)
        return "is a name that downloads use";
    for (const char *part = path;; part++) {
        size_t n = strcspn(part, "/");
        const char *bad = bad_part(part, n);
        if (bad)
            return bad;
        if (++depth > IO_FOLDER_DEPTH)
            return "is too deep";
        part += n;
        if (!*part)
            return NULL;
    }
}

/* As strcmp(), but '/' comes before everything else: what lies in a folder follows a
 * file of the folder's name directly. */
static int by_path(const void *a, const void *b) {
    const uint8_t *x = (const uint8_t *)(*(const struct io_folder_file *const *)a)->path;
    const uint8_t *y = (const uint8_t *)(*(const struct io_folder_file *const *)b)->path;
    while (*x && *x == *y) {
        x++;
        y++;
    }
    int cx = *x == '/' ? 1 : *x + (*x != 0), cy = *y == '/' ? 1 : *y + (*y != 0);
    return cx - cy;
}

/* No path twice, and none that runs through a file. */
static enum cv_err check_names(const struct io_folder *f, struct io_why *why) {
    const struct io_folder_file **sorted = calloc(f->count, sizeof *sorted);
    enum cv_err err = CV_ERR_OK;
    if (!sorted)
        return CV_ERR_NOMEM;
    for (size_t i = 0; i < f->count; i++)
        sorted[i] = &f->files[i];
    qsort(sorted, f->count, sizeof *sorted, by_path);
    for (size_t i = 1; i < f->count && !err; i++) {
        const char *one = sorted[i - 1]->path, *two = sorted[i]->path;
        size_t len = strlen(one);
        if (strncmp(one, two, len) == 0 && (two[len] == '\0' || two[len] == '/')) {
            io_why_set(why, "the folder's index: '%.200s' %s", one,
                       two[len] ? "is a file and a folder" : "is there twice");
            err = CV_ERR_MALFORMED;
        }
    }
    free(sorted);
    return err;
}

const struct io_folder_file *io_folder_find(const struct io_folder *f, const char *path) {
    for (size_t i = 0; i < f->count; i++)
        if (strcmp(f->files[i].path, path) == 0)
            return &f->files[i];
    return NULL;
}

/* ---- offsets -------------------------------------------------------------------- */

/* The first multiple of a chunk's size at or behind `at`; false: beyond any content. */
static bool align(uint64_t at, uint32_t chunk_size, uint64_t *ret) {
    uint64_t over = at % chunk_size, more = over ? chunk_size - over : 0;
    return !__builtin_add_overflow(at, more, ret) && *ret <= INT64_MAX;
}

static bool place(struct io_folder *f, uint64_t index_octets, uint32_t chunk_size) {
    uint64_t at = index_octets;
    for (size_t i = 0; i < f->count; i++) {
        if (!align(at, chunk_size, &f->files[i].offset) ||
            __builtin_add_overflow(f->files[i].offset, f->files[i].octets, &at) || at > INT64_MAX)
            return false;
    }
    f->octets = at;
    return true;
}

/* ---- writing -------------------------------------------------------------------- */

static char *text_of(const struct io_folder *f) {
    json_t *list = json_array();
    for (size_t i = 0; i < f->count; i++)
        json_array_append_new(list, json_pack("{s:s, s:I, s:I}", "path", f->files[i].path, "size",
                                              (json_int_t)f->files[i].octets, "offset",
                                              (json_int_t)f->files[i].offset));
    char *text = json_array_size(list) == f->count ? json_dumps(list, JSON_COMPACT) : NULL;
    json_decref(list);
    return text;
}

enum cv_err io_folder_write(struct io_folder *f, uint32_t chunk_size, uint8_t **ret,
                            size_t *ret_len) {
    uint64_t octets = 0, first = 0;
    char *text = NULL;
    assert(f->count > 0);
    if (f->count > IO_FOLDER_FILES)
        return CV_ERR_LIMIT;
    /* Later files have longer offsets, which make the index longer; it only grows. */
    do {
        free(text);
        if (!place(f, octets, chunk_size))
            return CV_ERR_LIMIT;
        first = f->files[0].offset;
        text = text_of(f);
        if (!text)
            return CV_ERR_NOMEM;
        octets = IO_FOLDER_HEAD + strlen(text);
    } while (!align(octets, chunk_size, &octets) || octets != first);

    size_t len = strlen(text);
    uint8_t *index = len + IO_FOLDER_HEAD <= IO_FOLDER_INDEX ? malloc(len + IO_FOLDER_HEAD) : NULL;
    if (!index) {
        free(text);
        return len + IO_FOLDER_HEAD <= IO_FOLDER_INDEX ? CV_ERR_NOMEM : CV_ERR_LIMIT;
    }
    memcpy(index, magic, sizeof magic);
    for (unsigned i = 0; i < 4; i++)
        index[4 + i] = (uint8_t)(len >> (24 - 8 * i));
    memcpy(index + IO_FOLDER_HEAD, text, len);
    free(text);
    *ret = index;
    *ret_len = len + IO_FOLDER_HEAD;
    return CV_ERR_OK;
}

/* ---- reading -------------------------------------------------------------------- */

size_t io_folder_index_octets(const uint8_t head[IO_FOLDER_HEAD]) {
    uint64_t len = 0;
    for (unsigned i = 4; i < IO_FOLDER_HEAD; i++)
        len = len << 8 | head[i];
    if (memcmp(head, magic, sizeof magic) != 0 || len < 2 || len > IO_FOLDER_INDEX - IO_FOLDER_HEAD)
        return 0;
    return (size_t)len + IO_FOLDER_HEAD;
}

/* Whether reading it as JSON costs memory in proportion to the files that may be in it. */
static bool is_modest(const char *text, size_t len) {
    size_t opened = 0, commas = 0;
    bool quoted = false;
    for (size_t i = 0; i < len; i++) {
        if (quoted && text[i] == '\\')
            i++;
        else if (text[i] == '"')
            quoted = !quoted;
        else if (!quoted)
            opened += text[i] == '{' || text[i] == '[', commas += text[i] == ',';
    }
    return opened <= IO_FOLDER_FILES + 1 && commas <= 8 * IO_FOLDER_FILES;
}

static enum cv_err malformed(struct io_why *why, const char *what) {
    io_why_set(why, "the folder's index: %s", what);
    return CV_ERR_MALFORMED;
}

static enum cv_err read_file(const json_t *o, struct io_folder_file *file, struct io_why *why) {
    const json_t *path = json_object_get(o, "path"), *size = json_object_get(o, "size"),
                 *offset = json_object_get(o, "offset");
    if (!json_is_string(path) || !json_is_integer(size) || !json_is_integer(offset) ||
        json_integer_value(size) < 0 || json_integer_value(offset) < 0)
        return malformed(why, "a file has no path, size or offset");
    const char *text = json_string_value(path), *bad = io_folder_bad_path(text);
    if (bad) {
        struct io_why shown = {.text = ""};
        io_why_set(&shown, "%.120s", text);
        for (char *p = shown.text; *p; p++)
            if ((uint8_t)*p < 0x20 || (uint8_t)*p >= 0x7f)
                *p = '?';
        io_why_set(why, "the folder's index: the path '%.120s' %s", shown.text, bad);
        return CV_ERR_MALFORMED;
    }
    file->octets = (uint64_t)json_integer_value(size);
    file->offset = (uint64_t)json_integer_value(offset);
    file->path = strdup(text);
    return file->path ? CV_ERR_OK : CV_ERR_NOMEM;
}

static enum cv_err check_offsets(struct io_folder *f, size_t index_octets, uint32_t chunk_size,
                                 uint64_t octets, struct io_why *why) {
    uint64_t *said = calloc(f->count, sizeof *said);
    enum cv_err err = CV_ERR_OK;
    if (!said)
        return CV_ERR_NOMEM;
    for (size_t i = 0; i < f->count; i++)
        said[i] = f->files[i].offset;
    if (!place(f, index_octets, chunk_size) || f->octets != octets)
        err = malformed(why, "its files are not as large as the content");
    for (size_t i = 0; i < f->count && !err; i++)
        if (said[i] != f->files[i].offset)
            err = malformed(why, "a file is not where it must be");
    free(said);
    return err;
}

static enum cv_err read_list(const json_t *list, struct io_folder *f, struct io_why *why) {
    size_t count = json_array_size(list);
    if (!json_is_array(list) || count == 0)
        return malformed(why, "is no list of files");
    if (count > IO_FOLDER_FILES)
        return malformed(why, "names too many files");
    f->files = calloc(count, sizeof *f->files);
    if (!f->files)
        return CV_ERR_NOMEM;
    for (size_t i = 0; i < count; i++) {
        enum cv_err err = read_file(json_array_get(list, i), &f->files[f->count], why);
        if (err)
            return err;
        f->count++;
    }
    return CV_ERR_OK;
}

enum cv_err io_folder_parse(const uint8_t *index, size_t len, uint32_t chunk_size, uint64_t octets,
                            struct io_folder **ret, struct io_why *why) {
    const char *text = (const char *)index + IO_FOLDER_HEAD;
    if (len < IO_FOLDER_HEAD || io_folder_index_octets(index) != len)
        return malformed(why, "is none, or too large");
    if (!is_modest(text, len - IO_FOLDER_HEAD))
        return malformed(why, "holds more than a list of files");
    json_t *list = json_loadb(text, len - IO_FOLDER_HEAD, JSON_REJECT_DUPLICATES, NULL);
    struct io_folder *f = list ? calloc(1, sizeof *f) : NULL;
    enum cv_err err = f      ? read_list(list, f, why)
                      : list ? CV_ERR_NOMEM
                             : malformed(why, "is not JSON");
    json_decref(list);
    if (!err)
        err = check_names(f, why);
    if (!err)
        err = check_offsets(f, len, chunk_size, octets, why);
    if (err)
        io_folder_free(f);
    else
        *ret = f;
    return err;
}

static ssize_t read_all(io_folder_read_fn *read, void *ctx, uint8_t *buf, size_t len) {
    for (size_t at = 0; at < len;) {
        ssize_t n = read(ctx, at, buf + at, len - at);
        if (n <= 0)
            return n < 0 ? n : CV_ERR_STORE;
        at += (size_t)n;
    }
    return (ssize_t)len;
}

enum cv_err io_folder_load(io_folder_read_fn *read, void *ctx, uint32_t chunk_size, uint64_t octets,
                           struct io_folder **ret, struct io_why *why) {
    uint8_t head[IO_FOLDER_HEAD];
    if (octets <= IO_FOLDER_HEAD)
        return malformed(why, "is none, or too large");
    ssize_t n = read_all(read, ctx, head, sizeof head);
    if (n < 0)
        return (enum cv_err)n;
    size_t len = io_folder_index_octets(head);
    if (len == 0 || len > octets)
        return malformed(why, "is none, or too large");
    uint8_t *index = malloc(len);
    if (!index)
        return CV_ERR_NOMEM;
    n = read_all(read, ctx, index, len);
    enum cv_err err =
        n < 0 ? (enum cv_err)n : io_folder_parse(index, len, chunk_size, octets, ret, why);
    free(index);
    return err;
}
