/*
 * An MP4 file as a stranger wrote it (io/mp4.h). Input: the file.
 *
 * Property: whatever is said to have its index at the end is either refused or copied to
 * a file of the same length with the index in front, of which the rest is the same; and
 * moving places leaves the form of an index as it was. Any head says how long it is, or not.
 */
#include <assert.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io/mp4.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char folder[] = "/tmp/culvert-fuzz-mp4-XXXXXX";

static void remove_folder(void) {
    rmdir(folder);
}

static void check_copy(const char *path, const uint8_t *data, size_t size) {
    uint8_t *copy = malloc(size);
    FILE *f = fopen(path, "r");
    if (!copy || !f)
        abort();
    assert(fread(copy, 1, size, f) == size && fgetc(f) == EOF);
    fclose(f);
    assert(io_mp4_where(path) == IO_MP4_FRONT);
    uint32_t first =
        (uint32_t)data[0] << 24 | (uint32_t)data[1] << 16 | (uint32_t)data[2] << 8 | data[3];
    assert(first < 8 || memcmp(copy, data, first < size ? first : size) == 0);
    free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static bool made;
    static const atomic_bool stop;
    char from[64], to[64];
    struct io_why why = {.text = ""};
    uint8_t *moov = malloc(size + 1);
    if (!made && (!mkdtemp(folder) || atexit(remove_folder) != 0))
        abort();
    made = true;
    if (!moov)
        abort();
    memcpy(moov, data, size);
    if (io_mp4_shift(moov, size, 1000, 77) == CV_ERR_OK)
        assert(io_mp4_shift(moov, size, UINT64_MAX, 0) == CV_ERR_OK);
    assert(io_mp4_seconds(data, size) >= 0);
    free(moov);
    snprintf(from, sizeof from, "%s/a", folder);
    snprintf(to, sizeof to, "%s/b", folder);
    FILE *f = fopen(from, "w");
    if (!f || (size && fwrite(data, size, 1, f) != 1) || fclose(f) != 0)
        abort();
    enum io_mp4_index where = io_mp4_where(from);
    enum cv_err err = io_mp4_faststart(from, to, &stop, &why);
    assert(err == CV_ERR_OK ? where == IO_MP4_END : why.text[0] != 0);
    if (err == CV_ERR_OK)
        check_copy(to, data, size);
    unlink(from);
    unlink(to);
    return 0;
}
