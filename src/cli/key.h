/* Private keys in files that a person names: read, or made when they are not there. */
#ifndef CULVERT_CLI_KEY_H
#define CULVERT_CLI_KEY_H

#include "crypto/dnssec.h"
#include "io/why.h"

/*
 * The key of `path`, which is one for `alg`; a new one is written there when there is no
 * such file. `option` names what to choose another algorithm or file with. On failure
 * *why holds one line. cv_dnssec_secret_free() it.
 */
enum cv_err cli_key_open(const char *path, enum cv_dnssec_alg alg, const char *option,
                         struct cv_dnssec_secret **ret, struct io_why *why);

#endif
