/*
 * Thousands of shared files without loading them: a library knows which file a
 * swarm id belongs to, and opens its store when somebody asks for it. A file
 * that nobody asks for costs an entry (about its path and 200 octets) and no
 * descriptor.
 */
#ifndef CULVERT_IO_LIBRARY_H
#define CULVERT_IO_LIBRARY_H

#include <stddef.h>
#include <stdint.h>

#include "base/rng.h"
#include "crypto/hash.h"
#include "io/store_file.h"

struct io_library;

struct io_library_file {
    const char *path;         /* both belong to the library */
    uint8_t root[CV_SHA_MAX]; /* the swarm id; zero-padded */
    size_t root_len;
    uint64_t octets;
    uint32_t chunk_size;
    enum cv_sha alg;
};

/* Borrows `state`; the rng keys the table. NULL: out of memory. */
struct io_library *io_library_new(struct io_state *state, const struct cv_rng *rng);
/* NULL is allowed; returns NULL. */
struct io_library *io_library_free(struct io_library *l);

/*
 * Hashes the file, if that was not done before, and remembers it. *ret is valid
 * until the library is freed. EXIST: the same content under another path; *ret
 * is that entry. LIMIT: IO_LIBRARY_FILES are there. Else as io_store_share().
 */
enum cv_err io_library_add(struct io_library *l, const struct io_share_config *cfg,
                           const struct io_library_file **ret, struct io_why *why);

/* NULL: not here. */
const struct io_library_file *io_library_find(const struct io_library *l, const uint8_t *id,
                                              size_t len);

/* Opens the store of a file, quickly: nothing is hashed. DIFFERS: it is not any
 * more what was added. Else as io_store_share(). */
enum cv_err io_library_open(struct io_library *l, const struct io_library_file *file,
                            struct io_store **ret, struct io_why *why);

/* The one after `file`, the first after NULL; NULL: there are no more. */
const struct io_library_file *io_library_next(const struct io_library *l,
                                              const struct io_library_file *file);

/* Forgets an entry, which is gone then; its file and what is known of it stay. */
void io_library_remove(struct io_library *l, const struct io_library_file *file);

size_t io_library_count(const struct io_library *l);

#endif
