/*
 * A relay that is told to end (SIGTERM) lets circuits end first: it takes on nobody
 * new, gives up circuits on which nothing goes on, and waits for the others for a
 * while (--drain). Told again, it ends at once.
 */
#ifndef CULVERT_CLI_DRAIN_H
#define CULVERT_CLI_DRAIN_H

#include <stdbool.h>

struct cli_session;

/* True: the session goes on for a while, and ends by itself. False: end it now. */
bool cli_drain_begin(struct cli_session *c);
void cli_drain_tick(struct cli_session *c);

#endif
