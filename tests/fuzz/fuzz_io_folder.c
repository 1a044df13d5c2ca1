/*
 * The index of a folder, as a stranger writes it: octets are chunk size u16, length
 * of the content u32 (big-endian), then an index without its head.
 *
 * Property: whatever is accepted names files that lie one behind the other within
 * the content, under paths that lead nowhere else and none of which is another's
 * folder; writing it again gives an index that is accepted and says the same.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "io/folder_index.h"
#include "io/limits.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct content {
    const uint8_t *octets;
    size_t len, there;
};

/* Not more than some octets at once, and nothing behind what is there. */
static ssize_t read_content(void *ctx, uint64_t offset, uint8_t *buf, size_t len) {
    const struct content *c = ctx;
    if (offset >= c->there)
        return CV_ERR_AGAIN;
    size_t n = c->there - (size_t)offset;
    n = n < len ? n : len;
    n = n < 700 ? n : 700;
    memcpy(buf, c->octets + offset, n);
    return (ssize_t)n;
}

static void check(struct io_folder *f, uint32_t chunk_size, size_t index_octets) {
    uint64_t at = index_octets;
    for (size_t i = 0; i < f->count; i++) {
        const struct io_folder_file *file = &f->files[i];
        assert(file->offset % chunk_size == 0);
        assert(file->offset >= at && file->offset - at < chunk_size);
        at = file->offset + file->octets;
        assert(file->path[0] != '/' && file->path[0] != '\0');
        assert(strstr(file->path, "//") == NULL);
        assert(strncmp(file->path, "../", 3) != 0 && strstr(file->path, "/../") == NULL);
        assert(io_folder_find(f, file->path) == file);
    }
    assert(at == f->octets && f->count <= IO_FOLDER_FILES);
    for (size_t i = 0; i < f->count && f->count < 50; i++)
        for (size_t j = 0; j < f->count; j++) {
            size_t n = strlen(f->files[i].path);
            assert(i == j || strncmp(f->files[i].path, f->files[j].path, n) != 0 ||
                   (f->files[j].path[n] != '/' && f->files[j].path[n] != '\0'));
        }
}

static void write_again(struct io_folder *f, uint32_t chunk_size) {
    uint8_t *index;
    size_t len;
    struct io_folder *again = NULL;
    if (io_folder_write(f, chunk_size, &index, &len) != CV_ERR_OK)
        return; /* sizes near the end of numbers */
    assert(io_folder_parse(index, len, chunk_size, f->octets, &again, NULL) == CV_ERR_OK);
    assert(again->count == f->count);
    for (size_t i = 0; i < f->count; i++)
        assert(strcmp(again->files[i].path, f->files[i].path) == 0);
    io_folder_free(again);
    free(index);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct io_folder *f = NULL;
    struct io_why why = {.text = ""};
    if (size < 6)
        return 0;
    uint32_t chunk_size = (uint32_t)(data[0] << 8 | data[1]) + 1;
    uint64_t octets =
        (uint64_t)data[2] << 24 | (uint64_t)data[3] << 16 | (uint64_t)data[4] << 8 | data[5];
    size_t len = size - 6;
    uint8_t *index = malloc(IO_FOLDER_HEAD + len);
    if (!index)
        abort();
    memcpy(index, "CVF1", 4);
    for (unsigned i = 0; i < 4; i++)
        index[4 + i] = (uint8_t)(len >> (24 - 8 * i));
    memcpy(index + IO_FOLDER_HEAD, data + 6, len);
    struct content c = {.octets = index, .len = len, .there = IO_FOLDER_HEAD + len};
    enum cv_err err = io_folder_load(read_content, &c, chunk_size, octets, &f, &why);
    assert(err == CV_ERR_OK || why.text[0]);
    if (err == CV_ERR_OK) {
        check(f, chunk_size, IO_FOLDER_HEAD + len);
        write_again(f, chunk_size);
        io_folder_free(f);
        c.there /= 2;
        assert(io_folder_load(read_content, &c, chunk_size, octets, &f, &why) == CV_ERR_AGAIN);
    }
    free(index);
    return 0;
}
