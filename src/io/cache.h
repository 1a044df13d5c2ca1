/*
 * The cache: contents that `play` left in the state folder. When they take more
 * than a limit, those go that were not watched for the longest time. Never
 *
 *   - what is open (its store's lock is held): it is being played or fetched;
 *   - what was pinned (io_store_config.pinned), lies at a path of the user's or
 *     is a shared file: these are not in the cache and not counted;
 *   - what cannot be understood: damaged, or written by a newer culvert.
 *
 * When a content was watched is the time of its `have`: opening and closing a
 * store that was not pinned sets it, and so does every commit.
 *
 * Removing is harmless at any moment of it: `data` goes first, `have` last, and a
 * store without its data forgets its marks when it is opened (store_file.h).
 */
#ifndef CULVERT_IO_CACHE_H
#define CULVERT_IO_CACHE_H

#include <stdint.h>

#include "io/limits.h"
#include "io/state.h"

struct io_cache_use {
    uint64_t octets; /* on the disk, of all contents in the cache */
    uint64_t open;   /* of them, of those that are open */
    uint32_t contents;
};

struct io_cache_evicted {
    char name[IO_NAME_MAX]; /* of its folder */
    uint64_t octets;
    int64_t watched; /* Unix seconds */
};

/* The smaller of IO_CACHE_OCTETS and a tenth of the file system of the folder. */
uint64_t io_cache_limit(const struct io_state *state);

/*
 * Removes until at most `limit` octets are left, or nothing more may be removed;
 * UINT64_MAX only looks. `evicted` is called after each removal; it may be NULL.
 * *ret is what is left. Reads the whole folder: not for every octet.
 */
enum cv_err io_cache_trim(struct io_state *state, uint64_t limit,
                          void (*evicted)(void *ctx, const struct io_cache_evicted *e), void *ctx,
                          struct io_cache_use *ret, struct io_why *why);

#endif
