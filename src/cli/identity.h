/*
 * What a state folder says about its identity besides the key itself: whether it was
 * moved elsewhere, and whether a change of it was interrupted.
 *
 *     identity       the seed
 *     identity-new   the seed of a successor that is not in its place yet
 *     moving         `identity export --move` began: its file may be there or not
 *     moved          it is: this copy signs nothing more, and makes no second file
 */
#ifndef CULVERT_CLI_IDENTITY_H
#define CULVERT_CLI_IDENTITY_H

#include "io/state.h"

#define CLI_IDENTITY_FILE   "identity"
#define CLI_IDENTITY_NEW    "identity-new"
#define CLI_IDENTITY_MOVING "moving"
#define CLI_IDENTITY_MOVED  "moved"

/* May a node run on it? DENIED, and one line that says what to do. */
enum cv_err cli_identity_whole(struct io_state *state, struct io_why *why);

#endif
