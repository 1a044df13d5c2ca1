/* The files of a folder that was fetched get their names, in a thread: it takes as
 * long as writing them. */
#ifndef CULVERT_CLI_UNPACK_H
#define CULVERT_CLI_UNPACK_H

#include <stdbool.h>

#include "io/folder_unpack.h"
#include "io/loop.h"

struct cli_unpack;

struct cli_unpack_config {
    struct io_loop *loop;
    struct io_store *store; /* borrowed, as all of them; complete */
    const struct io_folder *folder;
    const char *path; /* copied */
    /* It has ended with this, in the loop; `why` has one line if not OK. */
    void (*done)(void *ctx, enum cv_err err, const char *why);
    void *ctx;
};

/* Begins it. NULL: out of memory. */
struct cli_unpack *cli_unpack_new(const struct cli_unpack_config *cfg);

/* Begins again after FULL, if there is room where the folder shall be. */
bool cli_unpack_again(struct cli_unpack *u);

/* Stops it, waiting for its thread; NULL is allowed. */
void cli_unpack_free(struct cli_unpack *u);

#endif
