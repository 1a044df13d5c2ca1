/*
 * The state folder: everything a node remembers between runs. It is 0700 and
 * ours, files in it are 0600, links are not followed, and one process at a
 * time holds it (an exclusive lock; the file `lock` names the process).
 * Folders of others to read, keys with wider permissions, files larger than
 * asked for are refused with a line that says what to do.
 *
 * Writing a file is atomic: a crash leaves the old or the new content.
 *
 * Errors: DENIED permissions or a symbolic link; EXIST held by another process;
 * NOENT; LIMIT larger than the buffer; FULL; STORE. Each fills *why.
 */
#ifndef CULVERT_IO_STATE_H
#define CULVERT_IO_STATE_H

#include <stddef.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/rng.h"
#include "io/why.h"

enum io_xdg {
    IO_XDG_STATE,   /* $XDG_STATE_HOME/culvert or ~/.local/state/culvert */
    IO_XDG_CONFIG,  /* $XDG_CONFIG_HOME/culvert or ~/.config/culvert */
    IO_XDG_CACHE,   /* $XDG_CACHE_HOME/culvert or ~/.cache/culvert */
    IO_XDG_RUNTIME, /* $XDG_RUNTIME_DIR/culvert; NOENT when not set */
};
/* Absolute path into `out`; nothing is created. Relative values of the
 * variables are ignored, as the XDG specification asks. */
enum cv_err io_xdg_path(enum io_xdg which, char *out, size_t cap, struct io_why *why);

struct io_state;

/* Opens, creating it and the folders above it, and locks. `path` NULL: the XDG
 * state folder. */
enum cv_err io_state_open(const char *path, struct io_state **ret, struct io_why *why);
/* Opens what is there to look at it, beside whoever holds it: creates and locks nothing,
 * and nothing may be written by it. NOENT: there is none. */
enum cv_err io_state_look(const char *path, struct io_state **ret, struct io_why *why);
/* Unlocks. */
struct io_state *io_state_close(struct io_state *s);

/* Process that holds the folder at `path`; 0: nobody does, or it is not there. */
pid_t io_state_holder(const char *path);

/* Valid while open. The descriptor is for openat() and stays ours. */
const char *io_state_path(const struct io_state *s);
int io_state_fd(const struct io_state *s);

/* A folder inside, created 0700 when it is not there; *ret is a descriptor
 * that the caller closes. `name` as below. */
enum cv_err io_state_folder(struct io_state *s, const char *name, int *ret, struct io_why *why);

/*
 * Files directly in the folder; `name` has no slash and does not begin with a
 * dot. Read: all of it, *ret_len octets of at most `cap`. Write: replaces.
 * Remove: a missing file is fine.
 */
enum cv_err io_state_read(struct io_state *s, const char *name, void *buf, size_t cap,
                          size_t *ret_len, struct io_why *why);
enum cv_err io_state_write(struct io_state *s, const char *name, const void *data, size_t len,
                           struct io_why *why);
enum cv_err io_state_remove(struct io_state *s, const char *name, struct io_why *why);

/*
 * A secret of exactly `len` octets (at most 64): read, or drawn from `rng` and
 * written when there is none. DENIED when anybody else may read the file,
 * CORRUPT when it has another length. The caller wipes `key`.
 */
enum cv_err io_state_key(struct io_state *s, const char *name, const struct cv_rng *rng, void *key,
                         size_t len, struct io_why *why);

#endif
