/* A file that is shared: hashed or loaded, described by a link, open as a swarm. */
#ifndef CULVERT_CLI_OFFER_H
#define CULVERT_CLI_OFFER_H

#include "cli/session.h"
#include "node/node.h"

struct io_store;

struct cli_offer {
    struct node_uri uri;
    struct io_store *store;
    cv_handle swarm; /* 0: not open */
};

/* Hashes `path` when that was not done before, and opens its swarm in the
 * session's node. CLI_OK, or the exit status after one clear line on standard
 * error. Close in both cases. */
int cli_offer_open(struct cli_offer *o, struct cli_session *c, const char *path,
                   enum node_swarm_mode mode);

/* Two steps around cli_session_close(): the swarm belongs to its node, the store
 * must outlive it. */
void cli_offer_withdraw(struct cli_offer *o, struct cli_session *c);
void cli_offer_close(struct cli_offer *o);

#endif
