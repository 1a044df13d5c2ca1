/*
 * Subtitles beside a video: a .srt file of a folder, asked for as .vtt, is converted when
 * all of it is there (subtitle.h). The request waits for that, and its octets are wanted
 * meanwhile.
 */
#ifndef CULVERT_GATEWAY_CAPTIONS_H
#define CULVERT_GATEWAY_CAPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "io/host.h"

struct evhttp_request;
struct gw_captions;

enum { GW_CAPTIONS_WAITING = 8 };

/* Borrows the host. NULL: out of memory. */
struct gw_captions *gw_captions_new(struct io_host *host);
struct gw_captions *gw_captions_free(struct gw_captions *c);

/* Answers, now or later, with octets [at, at + length) of the swarm, converted; headers that
 * all answers have are set. False: too many wait, or it is too long; nothing was answered. */
bool gw_captions_serve(struct gw_captions *c, struct evhttp_request *req, cv_handle swarm,
                       uint64_t at, uint64_t length);

/* Octets of `swarm` became readable. */
void gw_captions_ready(struct gw_captions *c, cv_handle swarm);
/* Ends those whose swarm is gone. True while somebody waits. */
bool gw_captions_sweep(struct gw_captions *c);

#endif
