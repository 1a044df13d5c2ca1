/*
 * A folder as one swarm: its content begins with an index (docs/protocol/folder.md)
 *
 *     "CVF1" | length u32, big-endian | JSON array of {"path", "size", "offset"}
 *
 * and the files follow in the index's order, each from the first chunk that begins
 * at or behind the end of what comes before it. Gaps are zeros.
 *
 * An index is what a stranger says: whoever reads one gets paths that lead out of
 * no folder, no path twice, none that runs through a file, and offsets that are
 * exactly those above. Nothing here touches a file.
 */
#ifndef CULVERT_IO_FOLDER_INDEX_H
#define CULVERT_IO_FOLDER_INDEX_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "io/why.h"

/* Where a download writes before a file gets its name; no path of an index. */
#define IO_FOLDER_PART ".culvert-part"

struct io_folder_file {
    char *path; /* relative, UTF-8, '/' between parts */
    uint64_t octets;
    uint64_t offset; /* in the content */
};

struct io_folder {
    struct io_folder_file *files;
    size_t count;
    uint64_t octets; /* of the whole content */
};

/* NULL is allowed; returns NULL. */
struct io_folder *io_folder_free(struct io_folder *f);

/* NULL: a path that an index may hold; else a static sentence about it. */
const char *io_folder_bad_path(const char *path);

/* The file of a path; NULL: none. */
const struct io_folder_file *io_folder_find(const struct io_folder *f, const char *path);

/*
 * Gives files that have paths and sizes their offsets, and f->octets; *ret, to be freed,
 * is the index. LIMIT: more files than IO_FOLDER_FILES, or an index larger than
 * IO_FOLDER_INDEX.
 */
enum cv_err io_folder_write(struct io_folder *f, uint32_t chunk_size, uint8_t **ret,
                            size_t *ret_len);

/* Octets of the index that begins with these; 0: none begins so, or it is too large. */
enum { IO_FOLDER_HEAD = 8 };
size_t io_folder_index_octets(const uint8_t head[IO_FOLDER_HEAD]);

/* Reads the index of a content of `octets`. MALFORMED with one line in *why, NOMEM. */
enum cv_err io_folder_parse(const uint8_t *index, size_t len, uint32_t chunk_size, uint64_t octets,
                            struct io_folder **ret, struct io_why *why);

/* Reads it from a content that may not be there yet. `read` answers as node_read();
 * what it answers besides octets is passed on (AGAIN: later). */
typedef ssize_t io_folder_read_fn(void *ctx, uint64_t offset, uint8_t *buf, size_t len);
enum cv_err io_folder_load(io_folder_read_fn *read, void *ctx, uint32_t chunk_size, uint64_t octets,
                           struct io_folder **ret, struct io_why *why);

#endif
