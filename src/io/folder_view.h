/*
 * A folder on the disk, seen as the one content that its swarm has: its index and
 * its files, in the order of their paths. No file is copied and none stays open.
 *
 * A folder that is shared holds plain files and folders only: a link would let
 * its owner give away what lies elsewhere, so it is refused and not followed.
 */
#ifndef CULVERT_IO_FOLDER_VIEW_H
#define CULVERT_IO_FOLDER_VIEW_H

#include <stdint.h>
#include <sys/types.h>

#include "io/folder_index.h"
#include "io/why.h"

struct io_folder_view;

/*
 * Looks at the folder `path`, open as `fd` (taken, also on failure).
 *   MALFORMED  no file in it, a link or something else that is no file, or a path
 *              that no index may hold; LIMIT: too many files; DENIED, NOENT, NOMEM
 */
enum cv_err io_folder_look(int fd, const char *path, uint32_t chunk_size,
                           struct io_folder_view **ret, struct io_why *why);
struct io_folder_view *io_folder_view_free(struct io_folder_view *v); /* NULL is allowed */

uint64_t io_folder_view_octets(const struct io_folder_view *v);

/* Changes with every path, size and time of change of its files. */
uint64_t io_folder_view_digest(const struct io_folder_view *v);

/* As io_file_pread(), of the content; from any thread. ESTALE: a file is not any
 * more what it was when the folder was looked at. */
ssize_t io_folder_view_read(const struct io_folder_view *v, void *buf, size_t len, uint64_t offset);

#endif
