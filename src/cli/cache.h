/* The limit of what `play` leaves in the state folder, kept by whoever holds it. */
#ifndef CULVERT_CLI_CACHE_H
#define CULVERT_CLI_CACHE_H

#include <jansson.h>
#include <stdbool.h>

#include "base/time.h"
#include "io/cache.h"

struct cli_session;

struct cli_cache {
    uint64_t limit; /* octets */
    bool said_over; /* that nothing more can go */
    cv_usec next;   /* when it is looked at again */
};

/* Brings the cache under the limit of the session's settings, and says what went;
 * when the session begins, and when a content is no longer played. */
void cli_cache_trim(struct cli_session *c);

/* Once a second; does so only while something is fetched, every few seconds. */
void cli_cache_tick(struct cli_session *c, cv_usec now);

/* {"used", "limit", "contents", "open"}; NULL when the folder cannot be read. */
json_t *cli_cache_status(struct cli_session *c);

#endif
