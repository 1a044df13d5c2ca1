/* Small things every file of ours needs: whole reads and writes, atomic
 * replacement. `what` is the path that appears in *why. */
#ifndef CULVERT_IO_FILE_H
#define CULVERT_IO_FILE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "io/why.h"

/* Octets read at `offset`, less than `len` only at the end of the file; -1 and
 * errno. Interrupted and short reads are continued. */
ssize_t io_file_pread(int fd, void *buf, size_t len, uint64_t offset);

/* All or -1 and errno; what was written before an error stays written. */
int io_file_pwrite(int fd, const void *data, size_t len, uint64_t offset);

/* Replaces `name` in `folder`: temporary file, fsync, rename, fsync of the
 * folder. 0600. */
enum cv_err io_file_replace(int folder, const char *name, const void *data, size_t len,
                            const char *what, struct io_why *why);

#endif
