/* A file or folder that is shared: hashed or loaded, described by a link, open as a swarm. */
#ifndef CULVERT_CLI_OFFER_H
#define CULVERT_CLI_OFFER_H

#include <stdatomic.h>

#include "cli/authority.h"
#include "cli/session.h"
#include "node/node.h"

struct io_store;

struct cli_offer {
    struct cli_session *c;
    const struct cli_settings *s; /* of who shares */
    const char *path;
    const struct cli_authority *authority; /* borrowed; outlives the swarm. NULL: none */
    struct node_uri uri;
    char copy[CLI_PATH_MAX]; /* of a path that was rewritten (--faststart) */
    bool index_at_end;       /* players need its end before they begin */
    struct io_store *store;
    cv_handle swarm; /* 0: not open */
    /* Of hashing, to be read and set from another thread. */
    _Atomic uint64_t hashed, octets;
    atomic_bool stop;
};

/*
 * Hashes offer.path when that was not done before; takes as long as reading the
 * file. Touches nothing but the offer and the state folder, so it may run in a
 * thread of its own. On failure *why holds one line; INVAL: the options.
 */
enum cv_err cli_offer_hash(struct cli_offer *o, struct io_why *why);

/* What its link says besides the swarm ID and the kind, once its store is open;
 * cli_offer_hash() does that, too. */
void cli_offer_describe(struct cli_offer *o);

/* Then opens its swarm in the session's node. CLI_OK or the exit status, *why
 * holds one line. Close in both cases. */
int cli_offer_open(struct cli_offer *o, enum node_swarm_mode mode, struct io_why *why);

/* Event "shared" with its link; false: it has none that can be written. */
bool cli_offer_say(const struct cli_offer *o, struct cli_progress *progress);

/* Closes the swarm, then the store. */
void cli_offer_close(struct cli_offer *o);

#endif
