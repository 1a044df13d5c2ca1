/*
 * The leaf hashes of a file's chunks, by all processors, through bounded
 * memory: threads read and hash blocks ahead, the caller's thread gets the
 * hashes in order.
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
    uint64_t octets; /* to hash, > 0; a shorter file is DIFFERS */
    uint32_t chunk_size;
    enum cv_sha alg;
    unsigned threads; /* 0: one a processor */
    /* `count` hashes in a row, of the chunks first, first + 1, ...; an error
     * ends the job with it. */
    enum cv_err (*leaves)(void *ctx, uint64_t first, const uint8_t *hashes, size_t count);
    void *ctx;
};

/* OK, what leaves() answered, DIFFERS, STORE, NOMEM, LIMIT (no threads). */
enum cv_err io_hash_file(const struct io_hash_job *job, struct io_why *why);

#endif
