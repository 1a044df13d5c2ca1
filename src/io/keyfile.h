/*
 * A private key in a file of its own, as other programs keep theirs: PEM, 0600.
 * Refused when others may read it, when it is a link, no plain file or too long.
 */
#ifndef CULVERT_IO_KEYFILE_H
#define CULVERT_IO_KEYFILE_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "io/why.h"

/* The text with a NUL; the caller wipes it. NOENT: there is no such file;
 * DENIED: see above; LIMIT: longer than cap - 1; or an error of the file
 * system; *why says it in a line. */
enum cv_err io_keyfile_read(const char *path, char *ret, size_t cap, struct io_why *why);

/* Writes a new file, durably: its octets and its name in the folder. EXIST: there is one already;
 * or an error of the file system. */
enum cv_err io_keyfile_create(const char *path, const char *text, struct io_why *why);

/* The same for octets that are no text and may be many: *ret is the caller's to wipe
 * and free(). */
enum cv_err io_keyfile_load(const char *path, size_t cap, uint8_t **ret, size_t *ret_len,
                            struct io_why *why);
enum cv_err io_keyfile_save(const char *path, const void *data, size_t len, struct io_why *why);

#endif
