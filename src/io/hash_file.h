/*
 * The hash tree of a file up to the roots of groups of 16 chunks, by all
 * processors, through bounded memory: threads read and hash blocks ahead, the
 * caller's thread gets the roots in order (for ppsp_build_add_group()).
 */
#ifndef CULVERT_IO_HASH_FILE_H
#define CULVERT_IO_HASH_FILE_H

#include <stddef.h>
#include <stdint.h>

#include "crypto/hash.h"
#include "io/why.h"

struct io_hash_job {
    int fd; /* borrowed; only pread */
    const char *path;
    uint64_t octets;     /* to hash, > 0; a shorter file is DIFFERS */
    uint32_t chunk_size; /* at most IO_CHUNK_MAX */
    enum cv_sha alg;
    unsigned threads; /* 0: one a processor */
    /* `count` roots in a row, of the groups first, first + 1, ...; an error ends
     * the job with it. Of a file that has but one group: the root of its tree. */
    enum cv_err (*groups)(void *ctx, uint64_t first, const uint8_t *roots, size_t count);
    void *ctx;
};

/* OK, what groups() answered, DIFFERS, STORE, NOMEM, LIMIT (no threads). */
enum cv_err io_hash_file(const struct io_hash_job *job, struct io_why *why);

#endif
