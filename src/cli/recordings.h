/*
 * The recordings of a channel (node/recordings.h), on its owner's side a file of the state
 * folder, `recordings-` and the id of the channel: its link, and under it what was signed
 * last. So the channel goes on naming them when it broadcasts again, and whoever shares
 * one of them from this folder names them all, also without the channel's key.
 */
#ifndef CULVERT_CLI_RECORDINGS_H
#define CULVERT_CLI_RECORDINGS_H

#include <jansson.h>

#include "cli/session.h"
#include "crypto/dnssec.h"
#include "node/node.h"

enum { CLI_RECORDINGS_TEXT = 1 << 15 }; /* octets of a sentence about them */

/* One more of this channel: signs and keeps the list. The node says it from now on as long
 * as `swarm` is open. On failure *why holds one line. */
enum cv_err cli_recordings_add(struct cli_session *c, const struct node_uri *channel,
                               const struct cv_dnssec_secret *key, const struct node_uri *recorded,
                               cv_handle swarm, struct io_why *why);

/* What was kept of this channel is said along with `swarm`; how many, 0: there is nothing. */
unsigned cli_recordings_of_channel(struct cli_session *c, const struct node_uri *channel,
                                   cv_handle swarm);

/* The same for the channel that this swarm is a recording of, if it is one. */
unsigned cli_recordings_of_film(struct cli_session *c, const struct node_uri *recorded,
                                cv_handle swarm);

/*
 * Takes what `wanted` means (contents.h) out of the list of the channel that names it: signs
 * the list anew with the key of `key_file` (NULL: the one in `state`), keeps it, and has the
 * session (NULL: no node runs) say it instead of the old one. Says event "unlisted", or why
 * not. The exit status.
 */
int cli_recordings_remove(struct io_state *state, struct cli_session *c, const char *wanted,
                          const char *key_file, struct cli_progress *progress);

/* What a channel that is watched says: {"recordings": [{name, uri, length, ended}..]}, newest
 * first, and a sentence for people. Returns `text`. */
char *cli_recordings_say(const struct node_recordings *r, const struct node_uri *channel,
                         char text[CLI_RECORDINGS_TEXT], json_t **ret_fields);

#endif
