/*
 * Where a broadcast comes from, on the command's side. An encoder that pushes to a
 * URL is received by ffmpeg, which we start and supervise and which gives MPEG-TS to
 * a pipe of ours; the node reads that pipe, or our standard input, by its name under
 * /proc, so that it may as well be a node in another process of the same user.
 *
 *     udp://IP:PORT            MPEG-TS in datagrams
 *     tcp://IP:PORT            MPEG-TS over a connection
 *     rtmp://IP:PORT[/PATH]    what OBS and phones speak; any stream key
 *     camera:                  what the page's camera records (feeder.h): the node puts it
 *                              into another pipe of ours, whose name it is told
 *
 * IP is a loopback address: nobody but this machine can push. An encoder that leaves
 * may come back: the pipe stays open, and time in the stream goes on as on the clock.
 * tcp:// and rtmp:// take one encoder at a time, which has to leave after a silence of
 * some seconds; at udp:// what two send is mixed. Every user of this machine can push.
 */
#ifndef CULVERT_CLI_INGEST_H
#define CULVERT_CLI_INGEST_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/endpoint.h"
#include "base/time.h"
#include "cli/options.h"
#include "io/why.h"

enum { CLI_INGEST_TEXT = 256 };

struct cli_ingest {
    char url[CLI_INGEST_TEXT]; /* "": nothing to start */
    char name[32];             /* of what the node reads, under /proc */
    int read, write;           /* the pipe; -1: none */
    char feed[32];             /* camera: what the node writes to, under /proc, */
    int feed_read, feed_write; /* and that pipe; -1: none */
    pid_t pid;                 /* of ffmpeg; 0: it does not run */
    cv_usec begun, started;    /* the first one, this one */
    unsigned runs;             /* so many were started before */
    struct cv_addr at;         /* of the URL */
    bool listened;             /* one of them could */
    unsigned busy;             /* so many could not, before that */
    cv_usec pause, next;       /* after a failure: how long, until when */
};

/* One that was not opened. */
#define CLI_INGEST_NONE                                                                            \
    (struct cli_ingest) {                                                                          \
        .read = -1, .write = -1, .feed_read = -1, .feed_write = -1                                 \
    }

enum cli_ingest_news {
    CLI_INGEST_NOTHING,
    CLI_INGEST_WAITS,  /* an encoder can come, now or again */
    CLI_INGEST_UNREAD, /* what came could not be read; ffmpeg said why */
    CLI_INGEST_BUSY,   /* another program has taken the port meanwhile */
};

/* Whether the argument is one of these URLs, by its scheme. */
bool cli_ingest_is_url(const char *argument);

/*
 * Makes s->argument what a node can open, and s->name what the link calls it. A
 * URL's port is tried first, so that a wrong one is told of at once. CLI_OK, or the
 * exit status with one line in *why. Close in both cases; `g` must outlive `s`.
 */
int cli_ingest_open(struct cli_ingest *g, struct cli_settings *s, struct io_why *why);

/* Once a second: starts ffmpeg, again when it has ended; after a failure, a little later
 * each time. What comes ends nothing, however wrong. False: that is hopeless, *why has
 * one line. */
bool cli_ingest_look(struct cli_ingest *g, enum cli_ingest_news *news, struct io_why *why);

/* Ends ffmpeg. */
void cli_ingest_close(struct cli_ingest *g);

#endif
