/*
 * What a state folder keeps and what its node has open, as people name it: ls and show
 * say it, rm ends and frees it.
 */
#ifndef CULVERT_CLI_CONTENTS_H
#define CULVERT_CLI_CONTENTS_H

#include <stdbool.h>

#include "cli/progress.h"
#include "cli/session.h"
#include "io/contents.h"
#include "node/uri.h"

enum { CLI_SWARM_ID = 8 }; /* octets of a swarm id by which it is named, as in /api/swarms */

struct cli_content {
    char name[NODE_URI_NAME_MAX + 1]; /* printable; of its link, its file or its folder */
    char swarm[2 * CLI_SWARM_ID + 1]; /* hex; "" when its id was not noted */
    uint64_t length;                  /* octets; 0: not known */
};

/* By what is noted beside it. */
void cli_content_of(const struct io_content *c, struct cli_content *ret);
void cli_content_of_swarm(const struct node_uri *uri, struct cli_content *ret);

/*
 * Whether somebody means it who says `wanted`: its name, its culvert: link, at least
 * four digits with which its swarm id begins, or its folder's name (NULL: it has none).
 */
bool cli_content_is(const struct cli_content *c, const char *folder, const char *wanted);

/*
 * Ends what goes on with `wanted` in the session (NULL: no node runs), and with `purge`
 * frees what `state` keeps of it; files of the user's stay. Says event "removed", or
 * why not. The exit status.
 */
int cli_content_remove(struct io_state *state, struct cli_session *c, const char *wanted,
                       bool purge, struct cli_progress *progress);

/* rm with these settings, which are checked: the above, or cli_recordings_remove(). */
int cli_content_rm(struct io_state *state, struct cli_session *c, const struct cli_settings *s,
                   struct cli_progress *progress);

#endif
