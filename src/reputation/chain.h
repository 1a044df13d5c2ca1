/*
 * The rules of a chain, on the only path into the store: our own half-blocks,
 * a neighbour's, a third party's and an import's all go through rep_chain_add.
 *
 * An owner's half-blocks are numbered 1, 2, 3 ...; each names the hash of the
 * one before. Within a pair, neither cumulative counter ever falls. Half-blocks
 * may arrive in any order and with gaps (a neighbour shows us its own chain and
 * single half-blocks of others), so each is checked against what is known
 * below and above it: a set without contradictions is accepted whole, in any order.
 *
 * Two half-blocks are agreed when a proposal and the peer's agreement that
 * names it by seq and hash are both there. The agreed amount of each direction
 * is the smaller of the two cumulative claims.
 *
 * A succession closes a chain (record.h): it stands alone at its end, without a
 * half-block before it and whatever gap there is.
 */
#ifndef CULVERT_REPUTATION_CHAIN_H
#define CULVERT_REPUTATION_CHAIN_H

#include <stdbool.h>

#include "reputation/store.h"

/* What taking one half-block in led to. */
struct rep_chain_result {
    bool agreed;           /* it completed a pair of half-blocks: */
    struct rep_edge ab[2]; /* both directions as the store has them now */
    bool forked;           /* it contradicts a known half-block: */
    struct rep_fork fork;  /* the proof, stored; the owner is banned */
    bool gap;              /* owner's half-block seq - 1 is not known */
    bool succeeds;         /* it says who takes the owner's place */
};

/*
 * Checks and stores one half-block; the caller has begun a transaction and
 * read it with rep_record_read(). *ret is always set.
 *
 * CV_ERR_OK: new and stored. CV_ERR_EXIST: known already, nothing changed.
 * CV_ERR_AUTH: wrong signature. CV_ERR_DIFFERS: contradicts what is known; if
 * ret->forked that is proven and stored. CV_ERR_DENIED: the owner is a proven
 * forger. Or the store's errors. `wall`: for the ban. `verified`: the caller
 * has checked the signature already (a worker did, or it signed just now).
 */
enum cv_err rep_chain_add(const struct rep_store *s, const uint8_t network_id[REP_NETWORK_ID],
                          const struct rep_record *r, bool verified, int64_t wall,
                          struct rep_chain_result *ret);

/* Would rep_chain_add take it, or does it contradict what is known, or not go on from it? Nothing
 * is changed, and no signature looked at. `r` is not there yet; if another of its place is, or
 * a proof against its owner, then it does not fit. */
enum cv_err rep_chain_fits(const struct rep_store *s, const struct rep_record *r, bool *ret);

/* Keeps a proof that came from elsewhere: checks it, stores it, bans the owner.
 * CV_ERR_EXIST: that owner is proven already. */
enum cv_err rep_chain_add_fork(const struct rep_store *s, const uint8_t network_id[REP_NETWORK_ID],
                               const struct rep_fork *f, int64_t wall);

/* What pruned_before() says, as far as it can be true: nothing was pruned of a future, and a
 * number behind the newest row, but for what may wait for an answer, is one of a clock that
 * ran ahead: then what a node removes by itself, REP_PRUNE_EPOCHS behind that row. */
enum cv_err rep_chain_pruned(const struct rep_store *s, uint32_t *ret, uint32_t *ret_all);

/* The other half of `r`, when both point at each other; else NOENT. Not of a succession. */
enum cv_err rep_chain_other(const struct rep_store *s, const struct rep_record *r,
                            struct rep_record *ret);

/* What a pair agreed at one place of a chain, from its owner to the peer and back. */
struct rep_agreed {
    uint64_t up, down;
    uint32_t epoch; /* of the proposal */
};

/* What was agreed by `r` and its other half; NOENT: it has none. */
enum cv_err rep_chain_agreed(const struct rep_store *s, const struct rep_record *r,
                             struct rep_agreed *ret);

/* `octets` counted in `from` as they weigh in `to`: halved every
 * REP_HALF_LIFE_EPOCHS, integer arithmetic, the same on every machine. */
uint64_t rep_chain_decay(uint64_t octets, uint32_t from, uint32_t to);

/* The owner's next half-block: seq, prev and the counters of the last about
 * `peer`; the rest is zero. The caller raises the counters and signs. */
enum cv_err rep_chain_next(const struct rep_store *s, const uint8_t owner[CV_KEY],
                           const uint8_t peer[CV_KEY], struct rep_record *ret);

#endif
