/*
 * The ledger's file of a relay: opened, and, when whoever had it last closed it,
 * checked by a thread while it is in use already.
 */
#ifndef CULVERT_CLI_LEDGER_H
#define CULVERT_CLI_LEDGER_H

#include "cli/session.h"

struct cli_ledger;

/* Opens ledger.db of the session's state folder into *ret; or an error, one line in *why. */
enum cv_err cli_ledger_open(struct cli_session *c, const uint8_t identity[CV_KEY],
                            struct cli_ledger **ret, struct io_why *why);
/* Waits for the thread. After the node. NULL is allowed; always returns NULL. */
struct cli_ledger *cli_ledger_close(struct cli_ledger *l);

/* {"rows": why something changed, newest first, "relays": what we and each of them agree
 * on}, as far as a page shows them; a new reference. NULL: it cannot be read. */
json_t *cli_ledger_json(struct cli_ledger *l);
/* The same of a node that is no relay: why the class of our own account changed. */
json_t *cli_ledger_own_json(const struct node *n);

const struct rep_store *cli_ledger_store(struct cli_ledger *l);

#endif
