/* The verbs; each returns the program's exit status (exitcode.h). */
#ifndef CULVERT_CLI_VERBS_H
#define CULVERT_CLI_VERBS_H

#include <stdbool.h>

#include "cli/options.h"

int cli_node(const struct cli_settings *s, bool relay);
int cli_share(const struct cli_settings *s);
/* get, and play when `play` is set. */
int cli_get(const struct cli_settings *s, bool play);
/* status, peers, path: asks the node that runs on the state folder. */
int cli_show(const struct cli_settings *s, enum cli_verb what);

#endif
