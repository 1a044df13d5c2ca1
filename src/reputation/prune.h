/*
 * Half-blocks of others about others that later ones have made superfluous, since claims
 * are cumulative: how a ledger stays as large as the number of pairs that give, not as
 * the time for which they do (decision 0091).
 *
 * One of an epoch before `before` goes when its chain holds, above it, an agreed place
 * with the same peer that is of such an epoch too and claims at least as much, and when
 * the next half-block of its chain is of such an epoch as well. So stay: of each pair its
 * newest agreed place of all, which proves the row, and its newest before `before`, which
 * says what was given before it; the end of each chain; successions; and what we own or
 * is about us. Rows are not touched.
 *
 * A hole that pruning left is no hole that nobody filled: half-blocks are also heard of one by
 * one, beside those of others. So before anything is removed the store is told how far each
 * chain is there without a hole (`whole`), and that half-block stays, too. Whoever asks such
 * a chain's neighbours for what he lacks asks behind it. Where somebody who had pruned a
 * chain told it, he is asked behind the holes that he left, and nobody else is:
 * rep_prune_answered().
 *
 * What is gone cannot contradict a second version of itself any more; but such a version
 * raises nothing: its claims are at most those that stay, or contradict them.
 */
#ifndef CULVERT_REPUTATION_PRUNE_H
#define CULVERT_REPUTATION_PRUNE_H

#include <stdbool.h>

#include "reputation/store.h"

/* How far a pass over all chains is. Zero but for `before` and `me` to begin. */
struct rep_prune {
    uint32_t before;    /* epoch; the same for the whole pass */
    uint8_t me[CV_KEY]; /* whose ledger it is */
    uint8_t owner[CV_KEY];
    uint64_t seq;
    bool begun, told, done; /* told: how far chains are whole; then they are pruned */
    uint64_t removed;
};

/*
 * Looks at up to `most` half-blocks and removes those that are superfluous; the caller
 * has begun a transaction. Between two steps anything may be added. After done nothing is
 * left to do. A pass of which a part was rolled back goes on as if that part stayed, and
 * the next pass finds it. CV_ERR_OK or the store's errors.
 */
enum cv_err rep_prune_step(const struct rep_store *s, struct rep_prune *p, unsigned most);

/* Does the chain hold what makes `r`, of an epoch before `before`, superfluous? */
enum cv_err rep_prune_superfluous(const struct rep_store *s, const struct rep_record *r,
                                  uint32_t before, bool *ret);

/*
 * Somebody who says that he knows a chain as far as `upto` was asked for what comes after *at,
 * and answered with these, in order. Moves *at to where he has nothing more to tell: over what
 * is in the store, and over holes behind which he goes on with one of an epoch before `before`
 * that is in the store by now. Whether he pruned what is missing or keeps it back is not
 * known: it says nothing about anybody else's answers.
 */
enum cv_err rep_prune_answered(const struct rep_store *s, const uint8_t owner[CV_KEY],
                               uint64_t upto, uint32_t before, const struct rep_record *answer,
                               unsigned n, uint64_t *at);

#endif
