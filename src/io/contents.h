/*
 * What a state folder keeps, content by content: what was played (the cache), what was
 * or is being fetched into files of the user's, and the hash trees of what was shared.
 *
 * Looking needs no lock and changes nothing, so it may be done beside the node that
 * holds the folder: what is written meanwhile counts or does not. Removing is for
 * whoever holds it.
 */
#ifndef CULVERT_IO_CONTENTS_H
#define CULVERT_IO_CONTENTS_H

#include <stdbool.h>
#include <stdint.h>

#include "io/limits.h"
#include "io/state.h"
#include "io/store_file.h"
#include "io/store_page.h"

enum io_content_kind {
    IO_CONTENT_CACHED,  /* in the state folder; goes when room is needed (cache.h) */
    IO_CONTENT_PINNED,  /* in the state folder; stays */
    IO_CONTENT_FILE,    /* fetched into a file of the user's */
    IO_CONTENT_SHARED,  /* a file or folder of the user's, and its hash tree */
    IO_CONTENT_DAMAGED, /* cannot be understood, or a newer culvert wrote it */
};

struct io_content {
    char folder[IO_NAME_MAX]; /* its name in the state folder */
    enum io_content_kind kind;
    uint64_t octets;                /* of the content; 0: not known */
    uint64_t chunks;                /* 0: not known */
    uint64_t disk;                  /* octets it takes in the state folder */
    int64_t used;                   /* ns since 1970: the last change of its marks */
    char link[IO_CONTENT_LINK_MAX]; /* as io_store_describe() was told; "" */
    char path[IO_PATH_MAX];         /* of the user's file; "" */
    struct io_store_header header;  /* zeros when it is damaged, or nothing was marked yet */
};

/*
 * Notes beside a store what people call it: its link, and the file of the user's where
 * it lies (NULL: in the state folder). For showing only: nothing is ever opened or
 * removed by it, and failing to write it is no error.
 */
void io_store_describe(struct io_store *s, const char *link, const char *path);

/* Calls `fn` for each, in no order, until it returns false. *ret_content is valid in
 * the call only. Errors of state.h when the folder cannot be read. */
enum cv_err io_contents_each(struct io_state *state,
                             bool (*fn)(void *ctx, const struct io_content *content), void *ctx,
                             struct io_why *why);

/* Chunks that are marked as verified; reads its bitmap. */
uint64_t io_content_verified(struct io_state *state, const struct io_content *c);

/*
 * Removes what the state folder has of it; files of the user's are not touched. The
 * caller holds the folder and has closed, or is about to close, its swarms: a store
 * that is open goes on with files that nobody will find again.
 */
enum cv_err io_content_remove(struct io_state *state, const char *folder, struct io_why *why);

#endif
