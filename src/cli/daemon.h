/* The daemon's side of share, get and play: tasks that other processes ask for. */
#ifndef CULVERT_CLI_DAEMON_H
#define CULVERT_CLI_DAEMON_H

#include "cli/session.h"

/* Serves POST /api/tasks on the session's control socket until the session ends. */
void cli_daemon_serve(struct cli_session *c);

/* Ends what others asked for. */
void cli_daemon_close(struct cli_session *c);

#endif
