/* The inside of a store, shared by store_file.c, store_ops.c, store_commit.c,
 * store_tree.c and share.c. */
#ifndef CULVERT_IO_STORE_PRIV_H
#define CULVERT_IO_STORE_PRIV_H

#include <pthread.h>

#include "io/folder_view.h"
#include "io/limits.h"
#include "io/store_file.h"
#include "io/store_leaves.h"
#include "io/store_tree.h"

struct io_store_page {
    uint64_t number; /* in the file */
    uint8_t octets[IO_PAGE];
};

/* Pages that wait to be written, no number twice. */
struct io_store_pages {
    struct io_store_page *all;
    size_t used, cap;
};

/* What the caller's thread and the flushing thread share, under `mutex`. */
struct io_store_flusher {
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    bool running, stop, busy;
    struct io_store_pages queue;
    uint64_t queued_octets; /* content whose bits are in the queue */
    uint64_t octets;        /* content written and not yet durably marked */
    uint64_t commits;
    void (*notify)(void *ctx); /* set before the thread starts */
    void *notify_ctx;
    int error; /* errno of the first failed flush; sticky */
};

/* A block or page of the hash tree in memory; its hashes lie behind the slots. */
struct io_tree_slot {
    uint64_t name; /* its number, + 1; 0: empty */
    uint64_t used; /* when, by the clock below */
    bool dirty;
};

struct io_tree_memory {
    struct io_tree_slot *blocks; /* of `tree`: IO_TREE_BLOCKS, or NULL */
    struct io_tree_slot *pages;  /* of groups that were written: IO_TREE_PAGES, or NULL */
    uint64_t clock;
    struct io_leaves made; /* of complete groups whose lower nodes are not stored */
};

struct io_store {
    char where[IO_PATH_MAX]; /* its folder, for messages */
    char data_where[IO_PATH_MAX];
    int folder, data, tree, leaves, have; /* -1: none */
    struct io_folder_view *view; /* shared: the content is this folder; NULL: it is `data` */
    size_t hash_len;
    struct io_store_header header;
    uint64_t *words; /* verified chunks; word_count of them */
    size_t word_count;
    uint64_t verified, pages_damaged, chunks_lost;
    uint8_t *dirty;        /* one bit a bitmap page that has bits the queue has not */
    uint64_t fresh_octets; /* written since the last commit() */
    struct io_tree_memory tree_memory;
    bool changed; /* shared: the file is not the one that was hashed */
    bool moved;   /* the content came from the cache when it was opened */
    struct io_why why;
    struct io_store_flusher flusher;
};

/* The files of a store, in the order in which they may be removed: without its
 * `data` a store forgets its marks, whatever else is left of it. */
enum { IO_STORE_FILES = 5 };
extern const char *const io_store_files[IO_STORE_FILES];
/* Of the names of their folders: what was fetched, and what is shared. */
#define IO_STORE_PREFIX "content-"
#define IO_SHARE_PREFIX "shared--"

/* Removes the folder `name`, open as `folder`, with its files. */
enum cv_err io_store_unlink(struct io_state *state, const char *name, int folder,
                            struct io_why *why);

/* Nobody pinned it, and its content lies in its folder. */
bool io_store_evictable(const struct io_store_header *h);

/* Makes room in the bitmap for `chunks`. NOMEM. */
enum cv_err io_store_grow(struct io_store *s, uint64_t chunks);

/* Writes the header, its other slot, without flushing. */
enum cv_err io_store_put_header(struct io_store *s);

/* Opens folder, tree and have; `name` as in io_state_folder(). */
enum cv_err io_store_begin(struct io_state *state, const char *name, struct io_store **ret,
                           struct io_why *why);

/* Opens `leaves`, once: stores of files that are shared usually need none. */
enum cv_err io_store_open_leaves(struct io_store *s, struct io_why *why);

/* EXIST: this process has it open for writing, or we want to and others have it. */
enum cv_err io_store_busy(const struct io_store *s, struct io_why *why);

/* Reads the header. NOENT: there is none yet. */
enum cv_err io_store_load_header(struct io_store *s, struct io_why *why);

/* Whether the file is still the one that was hashed, as far as its size and time tell;
 * of a folder: as it was when it was looked at. */
bool io_store_unchanged(const struct io_store *s);

/* Whether it has fewer octets than were hashed. */
bool io_store_shortened(const struct io_store *s);

/* Queues what is fresh; a store operation, see ppsp/store.h. */
enum cv_err io_store_commit(struct io_store *s);

/* Ends the flushing thread after it has done all it was given. */
void io_store_stop(struct io_store *s);

#endif
