/*
 * The process that makes a broadcast of what the page's camera records. A node puts the
 * pieces of recordings into a pipe, in frames (gateway/feed.h); each recording goes
 * through an ffmpeg of its own, one after the other, which gives MPEG-TS to another pipe.
 * It only reads, writes and waits, so it may be forked from anything.
 */
#ifndef CULVERT_CLI_FEEDER_H
#define CULVERT_CLI_FEEDER_H

#include <stdnoreturn.h>

enum { CLI_NO_FFMPEG = 127 }; /* as a shell says it */

/* Until `in` ends, or ffmpeg is not there (exit status CLI_NO_FFMPEG). Descriptors but
 * those two and standard error are closed. */
noreturn void cli_feeder_run(int in, int out);

#endif
