/*
 * What a browser's camera records, on its way to the command that makes a broadcast of
 * it: pieces of a recording, numbered by the page, into a pipe of that command.
 *
 *     frame  length u32, little-endian | kind u8 (enum gw_feed_kind) | 3 zeros | octets
 *
 * The pieces of a recording come in order and each once: one that comes again is taken
 * for answered, one that is missing makes the page begin another recording. A piece is
 * answered when the pipe has all of it, so that nothing piles up here and the page sees
 * how fast the command is. One recording at a time.
 */
#ifndef CULVERT_GATEWAY_FEED_H
#define CULVERT_GATEWAY_FEED_H

#include <stdbool.h>
#include <stdint.h>

#include "io/loop.h"

struct evhttp_request;
struct gw_feed;

enum gw_feed_kind {
    GW_FEED_GOES_ON = 0,
    GW_FEED_BEGINS = 1, /* the first piece of a recording */
    GW_FEED_ENDS = 2,   /* no octets: the recording is over */
};

enum {
    GW_FEED_HEAD = 8,
    GW_FEED_SESSION = 32,     /* digits of hex: the page draws them for each recording */
    GW_FEED_PIECE = 64 << 10, /* octets of a piece, at most */
};

/* Without a piece for so long, another recording may begin. */
#define GW_FEED_QUIET CV_SEC(5)

/* Takes `fd`, the end of a pipe that is written to and does not block. NULL: out of
 * memory; the descriptor is closed. */
struct gw_feed *gw_feed_new(struct io_loop *loop, int fd);
/* Who waits is refused (503). NULL is allowed; returns NULL. */
struct gw_feed *gw_feed_free(struct gw_feed *f);

/* A recording is under way. */
bool gw_feed_runs(const struct gw_feed *f, cv_usec now);

/* Answers {"number": N} to a piece, the request's body, now or when it is in the pipe; or
 * 400 what cannot be one, 409 pieces are missing or another page records, 503 the command
 * is gone or takes nothing. */
void gw_feed_piece(struct gw_feed *f, cv_usec now, struct evhttp_request *req, const char *session,
                   uint64_t number);

/* That recording is over; answers the same way. */
void gw_feed_end(struct gw_feed *f, struct evhttp_request *req, const char *session);

#endif
