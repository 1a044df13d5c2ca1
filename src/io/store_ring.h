/*
 * The store of a live swarm: a file that holds the newest chunks and their
 * hashes, and no more; what is older is overwritten. It has no name, lies in
 * the state folder's file system and is gone with the process: a viewer who
 * comes back tunes in anew.
 *
 *   chunk i   at (i mod slots) * chunk size; slots is a power of two
 *   bin b     behind all chunks, at (b mod 2 slots) * hash length
 *
 * A bitmap of what is there is not needed: the engine asks for nothing that it
 * did not write within its window (ppsp.h, struct ppsp_live_config).
 */
#ifndef CULVERT_IO_STORE_RING_H
#define CULVERT_IO_STORE_RING_H

#include <stdint.h>

#include "io/state.h"
#include "io/why.h"
#include "ppsp/store.h"

struct io_ring;

/* Pass with a struct io_ring * as its ctx. */
extern const struct ppsp_store_ops io_ring_ops;

/*
 * For a window of `window` chunks of `chunk_size` octets and hashes of
 * `hash_len`. LIMIT: larger than IO_RING_OCTETS_MAX; FULL: the disk has no room for
 * it, which is taken at once; or another error of the file system; *why says it in a
 * line.
 */
enum cv_err io_ring_open(struct io_state *state, uint32_t chunk_size, size_t hash_len,
                         uint64_t window, struct io_ring **ret, struct io_why *why);
struct io_ring *io_ring_close(struct io_ring *r); /* NULL is allowed */

/* Why the last call failed; "" when none has. */
const char *io_ring_why(const struct io_ring *r);

#endif
