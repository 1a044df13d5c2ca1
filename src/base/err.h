/*
 * One error space for every culvert module.
 *
 * A function that can fail returns `enum cv_err` (0 = success) or, when it
 * also produces a length, an `ssize_t` that is >= 0 on success and a negated
 * code on failure. Results come back through pointers named `ret...`, which
 * are left untouched on failure. A peer's misbehaviour is an error code; our
 * own is an assert. Nothing below node/ logs an error it returns: whoever
 * decides what to do about it is the one who says so.
 */
#ifndef CULVERT_BASE_ERR_H
#define CULVERT_BASE_ERR_H

/* X(name, value, text). Values are stable: they appear in traces and tests. */
/* clang-format off */
#define CV_ERR_TABLE(X) \
    X(OK,           0, "success") \
    X(NOMEM,       -1, "out of memory") \
    X(AGAIN,       -2, "not ready yet") \
    X(NOBUFS,      -3, "destination buffer too small") \
    X(NOENT,       -4, "no such object") \
    X(EXIST,       -5, "object exists already") \
    X(INVAL,       -6, "argument out of range") \
    X(TRUNCATED,  -10, "data ends inside a field") \
    X(MALFORMED,  -11, "field value not allowed by the protocol") \
    X(UNKNOWN,    -12, "unknown message type") \
    X(VERSION,    -13, "version not supported") \
    X(DIFFERS,    -14, "contradicts what was said before") \
    X(AUTH,       -20, "authentication failed") \
    X(REPLAY,     -21, "replayed packet") \
    X(STALE,      -22, "older than what is known") \
    X(DENIED,     -23, "not permitted") \
    X(LIMIT,      -30, "configured limit reached") \
    X(TIMEDOUT,   -31, "peer did not answer in time") \
    X(CLOSED,     -32, "object already closed") \
    X(UNREACHABLE,-33, "no way to the destination") \
    X(STORE,      -40, "storage error") \
    X(FULL,       -41, "no space left on storage") \
    X(CORRUPT,    -42, "stored data is damaged")
/* clang-format on */

enum cv_err {
#define X(name, value, text) CV_ERR_##name = (value),
    CV_ERR_TABLE(X)
#undef X
};

/* Static string, never NULL, also for codes not in the table. */
const char *cv_strerror(enum cv_err err);

#endif
