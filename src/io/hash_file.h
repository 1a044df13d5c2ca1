/*
 * The hash tree of a file up to the roots of groups of 16 chunks, by all
 * processors, through bounded memory: threads read and hash blocks ahead, the
 * caller's thread gets the groups in order (their roots are for
 * ppsp_build_add_group()).
 */
#ifndef CULVERT_IO_HASH_FILE_H
#define CULVERT_IO_HASH_FILE_H

#include <stddef.h>
#include <stdint.h>

#include "crypto/hash.h"
#include "io/folder_view.h"
#include "io/why.h"

struct io_hash_job {
    int fd;                              /* borrowed; only pread; of a folder: -1, and .. */
    const struct io_folder_view *folder; /* .. this; else NULL */
    const char *path;
    uint64_t octets;     /* to hash, > 0; a shorter file is DIFFERS */
    uint32_t chunk_size; /* at most IO_CHUNK_MAX */
    enum cv_sha alg;
    unsigned threads; /* 0: one a processor */
    /* `count` groups in a row: first, first + 1, ...; of each PPSP_BUILD_RUN hashes, as
     * ppsp_build_group() made them. An error ends the job with it. */
    enum cv_err (*groups)(void *ctx, uint64_t first, const uint8_t *nodes, size_t count);
    void *ctx;
};

/* OK, what groups() answered, DIFFERS, STORE, NOMEM, LIMIT (no threads). */
enum cv_err io_hash_file(const struct io_hash_job *job, struct io_why *why);

#endif
