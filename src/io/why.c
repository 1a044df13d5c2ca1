#include "io/why.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void io_why_set(struct io_why *why, const char *fmt, ...) {
    if (!why)
        return;
    va_list args;
    va_start(args, fmt);
    vsnprintf(why->text, sizeof why->text, fmt, args);
    va_end(args);
}

static enum cv_err code_of(int error) {
    switch (error) {
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
        return CV_ERR_FULL;
    case EACCES:
    case EPERM:
    case EROFS:
    case ELOOP: /* O_NOFOLLOW met a link */
        return CV_ERR_DENIED;
    case ENOENT:
    case ENOTDIR:
        return CV_ERR_NOENT;
    case EEXIST:
        return CV_ERR_EXIST;
    case EMFILE:
    case ENFILE:
        return CV_ERR_LIMIT;
    case ENOMEM:
        return CV_ERR_NOMEM;
    default:
        return CV_ERR_STORE;
    }
}

enum cv_err io_why_errno(struct io_why *why, const char *path, int error) {
    char words[128];
    if (error == ELOOP)
        io_why_set(why, "%s: is a symbolic link; culvert does not follow links here", path);
    else
        io_why_set(why, "%s: %s", path, strerror_r(error, words, sizeof words));
    return code_of(error);
}
