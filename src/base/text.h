/*
 * Octets as text: hexadecimal, and base32 (RFC 4648, lower case, no padding)
 * as culvert: URIs use it.
 */
#ifndef CULVERT_BASE_TEXT_H
#define CULVERT_BASE_TEXT_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

/* Writes 2 * len digits and a NUL; `out` holds 2 * len + 1. Returns `out`. */
char *cv_hex(const void *data, size_t len, char *out);

/* Exactly `len` octets from exactly 2 * len digits (either case), then NUL. */
enum cv_err cv_unhex(const char *text, void *ret, size_t len);

#define CV_BASE32_LEN(n) (((n)*8 + 4) / 5)
/* Writes CV_BASE32_LEN(len) characters and a NUL. Returns `out`. */
char *cv_base32(const void *data, size_t len, char *out);

/* Octets written, CV_ERR_MALFORMED (foreign character, impossible length, or
 * leftover bits not zero) or CV_ERR_NOBUFS. `text` has `n` characters. */
ssize_t cv_unbase32(const char *text, size_t n, void *ret, size_t cap);

#endif
