/*
 * Where a broadcast comes from, on the command's side. An encoder that pushes to a
 * URL is received by ffmpeg, which we start and supervise and which gives MPEG-TS to
 * a pipe of ours; the node reads that pipe, or our standard input, by its name under
 * /proc, so that it may as well be a node in another process of the same user.
 *
 *     udp://IP:PORT            MPEG-TS in datagrams
 *     tcp://IP:PORT            MPEG-TS over a connection
 *     rtmp://IP:PORT[/PATH]    what OBS and phones speak; any stream key
 *
 * IP is a loopback address: nobody but this machine can push. An encoder that leaves
 * may come back: the pipe stays open, and time in the stream goes on as on the clock.
 * tcp:// and rtmp:// take one encoder at a time; at udp:// what two send is mixed. Every
 * user of this machine can push.
 */
#ifndef CULVERT_CLI_INGEST_H
#define CULVERT_CLI_INGEST_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/time.h"
#include "cli/options.h"
#include "io/why.h"

enum { CLI_INGEST_TEXT = 256 };

struct cli_ingest {
    char url[CLI_INGEST_TEXT]; /* "": nothing to start */
    char name[32];             /* of what the node reads, under /proc */
    int read, write;           /* the pipe; -1: none */
    pid_t pid;                 /* of ffmpeg; 0: it does not run */
    cv_usec begun, started;    /* the first one, this one */
    unsigned runs;             /* so many were started before */
    bool lasted;               /* one of them ran for a while */
    unsigned early;            /* so many ended early before that */
};

/* Whether the argument is one of these URLs, by its scheme. */
bool cli_ingest_is_url(const char *argument);

/*
 * Makes s->argument what a node can open, and s->name what the link calls it. A
 * URL's port is tried first, so that a wrong one is told of at once. CLI_OK, or the
 * exit status with one line in *why. Close in both cases; `g` must outlive `s`.
 */
int cli_ingest_open(struct cli_ingest *g, struct cli_settings *s, struct io_why *why);

/* Once a second: starts ffmpeg, again when it has ended. `again` is set when an encoder
 * can come, now or again. False: that is hopeless, *why has one line. */
bool cli_ingest_look(struct cli_ingest *g, bool *again, struct io_why *why);

/* Ends ffmpeg. */
void cli_ingest_close(struct cli_ingest *g);

#endif
