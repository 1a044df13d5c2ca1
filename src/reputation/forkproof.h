/*
 * A fork proof: two half-blocks signed by one identity that cannot both be
 * honest. It needs nothing but itself to be checked, 2 x 232 octets, and is
 * kept for good. Three kinds:
 *   - the same seq, different hashes: two versions of one chain, or two successors
 *     of one key;
 *   - the same peer, a higher seq, and a cumulative counter that fell;
 *   - a succession, and a half-block of an epoch for which the key was closed.
 */
#ifndef CULVERT_REPUTATION_FORKPROOF_H
#define CULVERT_REPUTATION_FORKPROOF_H

#include <stdbool.h>

#include "reputation/store.h"

/* Do `a` and `b` contradict each other? Signatures are not looked at. */
bool rep_forkproof_contradict(const struct rep_record *a, const struct rep_record *b);

/* CV_ERR_OK: proven, *ret_owner is the forger. CV_ERR_AUTH: a signature is
 * not its; CV_ERR_INVAL: the two go together; or the codes of rep_record_read(). */
enum cv_err rep_forkproof_check(const struct rep_fork *f, const uint8_t network_id[REP_NETWORK_ID],
                                uint8_t ret_owner[CV_KEY]);

#endif
