/*
 * Where chunks survive: the file version of ppsp/store.h.
 *
 * A folder of the state folder holds four files:
 *
 *   data   the content, sparse; or any path the user asked for; or, when a
 *          file is shared, that file itself, never written
 *   tree   hashes by bin number, and
 *   leaves the lowest of them while the content is not complete (store_tree.h)
 *   have   which chunks are verified (store_page.h)
 *
 * The order that makes kill -9 and power cuts harmless: chunks and hashes are
 * written first; data, tree and leaves are flushed (fdatasync); only then the bits
 * of `have` are written, and flushed. What `have` says is true without reading
 * the content again. A thread of the store does the flushing, so that the
 * event loop never waits for a disk; at most IO_STORE_UNCOMMITTED_MAX octets
 * are written ahead of it, then writes answer AGAIN.
 *
 * A failed flush or an I/O error ends writing for good: the kernel may have
 * dropped what it could not write, and asking again would be told a lie. A
 * full disk does not: the write is refused (FULL), nothing is marked, and it
 * may be tried again when there is room.
 *
 * Reads use pread, so that a file cut short by somebody else is an error and
 * not a signal.
 */
#ifndef CULVERT_IO_STORE_FILE_H
#define CULVERT_IO_STORE_FILE_H

#include <stdbool.h>
#include <stdint.h>

#include "crypto/hash.h"
#include "io/state.h"
#include "io/store_page.h"
#include "io/why.h"
#include "ppsp/store.h"

struct io_store;

/* Pass with a struct io_store * as its ctx. Not thread-safe: one thread calls. */
extern const struct ppsp_store_ops io_store_ops;

struct io_store_config {
    uint8_t id[IO_STORE_ID]; /* what the content is; names the folder */
    uint32_t chunk_size;
    enum cv_sha alg;
    const char *data_path; /* NULL: `data` in the store's folder */
    bool pinned;           /* never evicted (cache.h), from now on; said once it stays so */
};

/*
 * Opens a store for fetching: a new one, or what an earlier run left.
 *   EXIST    data_path is a file that this store did not make
 *   DIFFERS  the folder holds other content or another chunk size or hash
 *   CORRUPT  its `have` is no such file or damaged throughout
 *   VERSION  written by a newer culvert
 * or those of state.h; *why says it in a line. Damaged pages of the bitmap and
 * chunks behind the end of a file cut short are forgotten, not errors: they are
 * fetched anew (io_store_stats).
 */
enum cv_err io_store_open(struct io_state *state, const struct io_store_config *cfg,
                          struct io_store **ret, struct io_why *why);

/* Makes everything durable, waiting for it, and frees. */
struct io_store *io_store_close(struct io_store *s);

/* Waits until all that was committed is durable. OK, STORE or FULL. */
enum cv_err io_store_flush(struct io_store *s);

/*
 * Calls `fn` after every flush, FROM THE FLUSHING THREAD: let it do nothing but
 * io_wake_up(), and call ppsp_swarm_ready() from the loop, so that a write that
 * was told AGAIN is not tried later than it could be. Before the first write.
 */
void io_store_notify(struct io_store *s, void (*fn)(void *ctx), void *ctx);

struct io_store_stats {
    uint64_t chunks, octets; /* 0: not known */
    uint64_t verified;       /* chunks */
    uint64_t uncommitted;    /* octets written that kill -9 would cost */
    uint64_t commits;        /* flushes that were completed */
    uint64_t pages_damaged;  /* of the bitmap, when it was opened */
    uint64_t chunks_lost;    /* marked, but behind the end of the file */
};
struct io_store_stats io_store_stats(struct io_store *s);

/* Why the last call failed; "" when none has. Valid until the next call. */
const char *io_store_why(const struct io_store *s);

/* Whether the file system of the content has room for `octets` more: to be
 * asked now and then after FULL. */
bool io_store_room(const struct io_store *s, uint64_t octets);

/* Deletes the folder of `id` with its files (not a data_path elsewhere). */
enum cv_err io_store_remove(struct io_state *state, const uint8_t id[IO_STORE_ID],
                            struct io_why *why);

/* ---- sharing a file or folder of the user's (share.c) ---- */

struct io_share_config {
    const char *path;
    uint32_t chunk_size;
    enum cv_sha alg;
    unsigned threads; /* 0: one a processor */
    bool only_known;  /* never hash: DIFFERS when it was not hashed before, or changed */
    /* Called from the calling thread now and then; false stops (CLOSED). NULL: none. */
    bool (*progress)(void *ctx, uint64_t octets_done, uint64_t octets);
    void *ctx;
};

/*
 * Hashes the file or folder (or finds that it was hashed before and has not changed)
 * and opens it as a complete store; `ret_root` has room for the hash's length. The
 * file is streamed through a few MiB of memory and all processors.
 *   NOENT, DENIED  cannot be read; MALFORMED: empty, or neither file nor folder, or a
 *                  folder that holds what cannot be shared (folder_view.h)
 *   DIFFERS        it changed while it was read, or only_known and it is not
 */
enum cv_err io_store_share(struct io_state *state, const struct io_share_config *cfg,
                           struct io_store **ret, uint8_t *ret_root, struct io_why *why);

/* What is shared is a folder (folder_view.h). */
bool io_store_is_folder(const struct io_store *s);

#endif
