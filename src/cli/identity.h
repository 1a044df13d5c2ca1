/*
 * What a state folder says about its identity besides the key itself: whether it was
 * moved elsewhere, and whether a change of it was interrupted.
 *
 *     identity       the seed
 *     identity-new   the seed of a successor that is not in its place yet
 *     moving         `identity export --move` began: what stands in FILE, or is to
 *     moved          it does: this copy signs nothing more, and makes no other file
 *     moves          how often the identity was moved, as far as known here
 */
#ifndef CULVERT_CLI_IDENTITY_H
#define CULVERT_CLI_IDENTITY_H

#include "io/state.h"

#define CLI_IDENTITY_FILE   "identity"
#define CLI_IDENTITY_NEW    "identity-new"
#define CLI_IDENTITY_MOVING "moving"
#define CLI_IDENTITY_MOVED  "moved"
#define CLI_IDENTITY_MOVES  "moves"

/* May a node run on it? DENIED, and one line that says what to do. */
enum cv_err cli_identity_whole(struct io_state *state, struct io_why *why);

#endif
