/* Private keys in files that a person names: read, or made when they are not there. */
#ifndef CULVERT_CLI_KEY_H
#define CULVERT_CLI_KEY_H

#include "cli/session.h"
#include "crypto/dnssec.h"
#include "io/why.h"

/* The algorithm of a channel's key by its name, NULL: the default one; false: there is none. */
bool cli_key_algorithm(const char *name, enum cv_dnssec_alg *ret);

/* Where a channel's key of this algorithm is when nobody names a file. */
void cli_key_path(const struct io_state *state, enum cv_dnssec_alg alg, char out[CLI_PATH_MAX]);

/*
 * The key of `path`, which is one for `alg`; a new one is written there when there is no
 * such file. `option` names what to choose another algorithm or file with. On failure
 * *why holds one line. cv_dnssec_secret_free() it.
 */
enum cv_err cli_key_open(const char *path, enum cv_dnssec_alg alg, const char *option,
                         struct cv_dnssec_secret **ret, struct io_why *why);

/* The same for one that must be there: NOENT when it is not. */
enum cv_err cli_key_read(const char *path, enum cv_dnssec_alg alg, const char *option,
                         struct cv_dnssec_secret **ret, struct io_why *why);

#endif
