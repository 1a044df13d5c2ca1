/* What kind of swarm the options describe: hash function, chunk size, how
 * chunks are named. */
#ifndef CULVERT_CLI_KIND_H
#define CULVERT_CLI_KIND_H

#include <stdbool.h>

#include "cli/options.h"
#include "io/why.h"
#include "node/node.h"
#include "node/uri.h"

/* --integrity none. */
bool cli_kind_unprotected(const struct cli_settings *s);

/* How whoever fetches reaches the peers: at their addresses (--direct), at a relay that
 * shares it under its own name (--at), through a swarm exit when it is a direct swarm
 * (the link says so, or peers are named, or the root hash alone), else hidden. */
enum node_swarm_mode cli_kind_mode(const struct cli_settings *s, const struct node_uri *uri);

/* A link of unprotected content is followed only when that is asked for. */
int cli_kind_of_link(const struct cli_settings *s, const struct node_uri *uri, struct io_why *why);

/* For `kind`, which stands there, fills integrity, hash, addressing, chunk size and the length of
 * the swarm ID. CLI_OK, or CLI_USAGE with one clear line in *why. */
int cli_kind_read(const struct cli_settings *s, struct node_uri *uri, struct io_why *why);

/* The argument is a root hash in hex, not a link. */
bool cli_kind_is_hash(const char *argument);

/* A swarm named by its root hash alone; everything else is what the options
 * say, its length is not known (0), its name is the hash. Results as above. */
int cli_kind_of_hash(const struct cli_settings *s, const uint8_t network_id[8],
                     struct node_uri *uri, struct io_why *why);

#endif
