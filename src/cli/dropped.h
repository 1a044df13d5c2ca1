/*
 * The shared folder of a node: files that were dropped on its page are in the state
 * folder's `dropped` and shared, hidden, as long as the node runs, until somebody removes
 * them there. They stay over restarts.
 */
#ifndef CULVERT_CLI_DROPPED_H
#define CULVERT_CLI_DROPPED_H

#include "cli/session.h"

struct cli_dropped;

/* Begins to take files from the page, and to share those that are there. On failure *why
 * has one line. Borrows the session. */
enum cv_err cli_dropped_open(struct cli_session *c, struct cli_dropped **ret, struct io_why *why);
/* Before the session's node. NULL is allowed; returns NULL. */
struct cli_dropped *cli_dropped_close(struct cli_dropped *d);

/* Once a second. */
void cli_dropped_tick(struct cli_dropped *d, cv_usec now);

#endif
