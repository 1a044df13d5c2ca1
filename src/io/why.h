/*
 * Why something of the outside world failed, as the one line a person sees:
 * what, where, what to do about it. Filled by io functions beside their error;
 * always a whole line without a newline. A NULL why is allowed everywhere.
 */
#ifndef CULVERT_IO_WHY_H
#define CULVERT_IO_WHY_H

#include "base/err.h"

struct io_why {
    char text[512];
};

/* printf into why->text, cut at its size. */
void io_why_set(struct io_why *why, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* "<path>: <words of errno>", and the code that fits errno: FULL, DENIED,
 * NOENT, EXIST, LIMIT or STORE. */
enum cv_err io_why_errno(struct io_why *why, const char *path, int error);

#endif
