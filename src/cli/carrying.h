/*
 * What leaves a relay by its port at the moment, for `culvert status`: octets a second,
 * averaged over the last ten seconds.
 */
#ifndef CULVERT_CLI_CARRYING_H
#define CULVERT_CLI_CARRYING_H

#include <jansson.h>
#include <stdint.h>

#include "base/time.h"

enum { CLI_CARRYING_SECONDS = 10 };

struct cli_carrying {
    struct {
        cv_usec at;
        uint64_t out;                 /* octets since the start */
    } seen[CLI_CARRYING_SECONDS + 1]; /* oldest first */
    unsigned n;
};

struct cli_session;

/* Once a second. */
void cli_carrying_tick(struct cli_session *c, cv_usec now);

/* {"rate": octets a second, "limit": what --bandwidth says, 0 without}; the caller's. */
json_t *cli_carrying_status(const struct cli_session *c);

#endif
