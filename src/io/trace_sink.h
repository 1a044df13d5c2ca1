/*
 * CV_TRACE as newline-delimited JSON: one object a line,
 *     {"t":1234567,"layer":"ppsp","event":"channel_open","id":"0000002a","n":3}
 * `t` is microseconds of the monotonic clock. Values that are JSON numbers are
 * written as numbers, all others as strings. Lines are buffered by stdio and
 * written when the buffer is full and at the end.
 */
#ifndef CULVERT_IO_TRACE_SINK_H
#define CULVERT_IO_TRACE_SINK_H

#include <stddef.h>

#include "base/trace.h"
#include "io/why.h"

/* Opens `path` ("-": standard error), 0600, and makes it the sink of all
 * traces. One at a time; before threads start. */
enum cv_err io_trace_open(const char *path, struct io_why *why);
/* Ends tracing; nothing happens without one. */
void io_trace_close(void);

/* The line for one event into `out` (NUL-terminated, with its newline); its
 * length. `fields` is "key=value key=value ...". Cut fields when `cap` (at
 * least 128) is too small: the line is always whole JSON. */
size_t io_trace_line(char *out, size_t cap, enum cv_layer layer, const char *event, cv_usec now,
                     const char *fields);

#endif
