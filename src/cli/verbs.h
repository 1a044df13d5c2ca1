/* The verbs; each returns the program's exit status (exitcode.h). */
#ifndef CULVERT_CLI_VERBS_H
#define CULVERT_CLI_VERBS_H

#include "cli/options.h"
#include "io/why.h"
#include "node/uri.h"

/* node, relay: run until told to stop. */
int cli_node(const struct cli_settings *s);
/* share, get, play: in the node that runs on the state folder, else in one of
 * our own; live, and get of a live stream into a pipe: always in one of our own. */
int cli_run(const struct cli_settings *s);
/* What a link says. */
int cli_link(const struct cli_settings *s);
int cli_doctor(const struct cli_settings *s);
int cli_top(const struct cli_settings *s);
/* ls, show: what the state folder keeps and its node has open. */
int cli_ls(const struct cli_settings *s);
int cli_rm(const struct cli_settings *s);
int cli_completion(const struct cli_settings *s);
/* The key of the node in a file and back, or a new one in its place. */
int cli_identity(const struct cli_settings *s);
/* status, peers, path: asks the node that runs on the state folder. */
int cli_show(const struct cli_settings *s);

/* Whether get and play can do what is asked for, as far as that shows without a
 * node; the link into *ret. A root hash is taken to be of `network_id`. CLI_OK,
 * or the exit status with one line in *why. */
int cli_link_check(const struct cli_settings *s, const uint8_t network_id[8], struct node_uri *ret,
                   struct io_why *why);

/* get or play of a live swarm's link. */
bool cli_link_is_live(const struct cli_settings *s);

#endif
