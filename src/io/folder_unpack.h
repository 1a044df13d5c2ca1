/*
 * The files of a folder's content, given their names again. Nothing is ever
 * overwritten: a file that is there already and is the same is kept, one that differs
 * is an error. So it may be killed and done again.
 */
#ifndef CULVERT_IO_FOLDER_UNPACK_H
#define CULVERT_IO_FOLDER_UNPACK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "io/folder_index.h"
#include "io/store_file.h"

struct io_folder_unpack {
    struct io_store *store; /* complete; it may be read from elsewhere meanwhile */
    const struct io_folder *folder;
    const char *path;      /* of the folder to be; made when it is not there */
    atomic_bool stop;      /* to be set from another thread: CLOSED */
    _Atomic uint64_t done; /* octets */
};

/* All of it, durably; from any thread. EXIST: something else is there; FULL, DENIED,
 * STORE, CLOSED. *why has one line. */
enum cv_err io_folder_unpack(struct io_folder_unpack *u, struct io_why *why);

#endif
