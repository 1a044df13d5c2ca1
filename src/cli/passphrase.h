/* A passphrase from a person, or from a file that only its owner can read. */
#ifndef CULVERT_CLI_PASSPHRASE_H
#define CULVERT_CLI_PASSPHRASE_H

#include <stdbool.h>
#include <stddef.h>

#include "crypto/passphrase.h"
#include "io/why.h"

enum { CLI_PASSPHRASE_MIN = 8 };

struct cli_passphrase {
    char text[CV_PASSPHRASE_MAX + 2]; /* with a NUL; wipe it */
    size_t len;
};

/*
 * The first line of `file`, or, when that is NULL, what is typed on the terminal, unseen;
 * twice the same when `is_new`. CV_ERR_INVAL: too short or too long, or not twice the
 * same; CV_ERR_NOENT: there is no terminal; or why the file cannot be used.
 */
enum cv_err cli_passphrase_get(const char *file, bool is_new, struct cli_passphrase *ret,
                               struct io_why *why);

#endif
