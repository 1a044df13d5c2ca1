/*
 * Where the ledger keeps its rows: a function table, so that the engine runs
 * over SQLite (store_sqlite.h) and over memory (store_memory.h) alike.
 *
 * Calls are synchronous. Writes happen inside a transaction that the ledger
 * opens with begin() and keeps open for its group commit; reads see its own
 * uncommitted writes. What commit() said OK to survives kill -9 and power
 * cuts; what was not committed is gone as a whole. The ledger lets no signed
 * octet leave before the commit that holds it.
 *
 * Errors: CV_ERR_NOENT (nothing found), CV_ERR_EXIST (block_put of a known
 * place), CV_ERR_STORE, CV_ERR_FULL, CV_ERR_CORRUPT, CV_ERR_NOMEM. After any
 * of the last four the ledger rolls back, signs nothing more and says so in an
 * event: a file that failed an fsync is not asked again. `ret` pointers are
 * untouched on failure. One store belongs to one ledger and one thread.
 */
#ifndef CULVERT_REPUTATION_STORE_H
#define CULVERT_REPUTATION_STORE_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "reputation/record.h"
#include "reputation/token.h"
#include "reputation/why.h"

enum rep_seek {
    REP_SEEK_BELOW, /* the highest with seq < the one given */
    REP_SEEK_FROM,  /* the lowest with seq >= the one given */
};

/* Octets counted with a relay in one epoch and not yet released. */
struct rep_pending {
    uint8_t peer[CV_KEY];
    uint32_t epoch;
    uint64_t given, taken; /* exact octets, ours to the peer and the peer's to us */
    int64_t release_at;    /* Unix seconds; 0 while the epoch runs */
    uint64_t proposal;     /* seq of our signed proposal for it; 0: none yet */
};

/* What a guard knows about a client. Private: no function sends or exports it. */
struct rep_account {
    uint8_t client[CV_KEY];
    uint64_t given;     /* octets the client sent us */
    uint64_t taken;     /* octets we sent the client */
    int64_t last_seen;  /* Unix seconds */
    int64_t debt_since; /* Unix seconds; 0: not in debt */
    uint64_t judged;    /* `taken` when it was judged last (gate.h). Not stored: as of now then */
    uint8_t gate_class; /* enum rep_class */
};

/* What two relays agree that one gave the other. */
struct rep_edge {
    uint8_t giver[CV_KEY], taker[CV_KEY];
    uint64_t octets; /* in all: the smaller of the two cumulative claims */
    uint64_t recent; /* halved every REP_HALF_LIFE_EPOCHS, as of `epoch` */
    uint32_t epoch;  /* of the newest release */
};

struct rep_fork {
    uint8_t a[REP_RECORD], b[REP_RECORD]; /* see forkproof.h */
};

struct rep_store {
    void *ctx; /* first argument of all */

    /* `wall`: Unix seconds, for columns that tell when a peer was first seen. */
    enum cv_err (*begin)(void *ctx, int64_t wall);
    enum cv_err (*commit)(void *ctx); /* durable when OK */
    void (*rollback)(void *ctx);      /* allowed without begin() */

    /* Half-blocks. Only chain.c puts them, after all of its checks. */
    enum cv_err (*block_put)(void *ctx, const struct rep_record *r);
    enum cv_err (*block_get)(void *ctx, const uint8_t owner[CV_KEY], uint64_t seq,
                             struct rep_record *ret);
    /* peer NULL: any. Finds the ends of a chain and neighbours within a pair. */
    enum cv_err (*block_seek)(void *ctx, const uint8_t owner[CV_KEY], const uint8_t *peer,
                              uint64_t seq, enum rep_seek how, struct rep_record *ret);
    /* The peer's agreement that names this proposal by seq and hash. */
    enum cv_err (*block_answer)(void *ctx, const struct rep_record *proposal,
                                struct rep_record *ret);

    enum cv_err (*block_count)(void *ctx, uint64_t *ret);
    /* The next key in order, with all that have half-blocks and maybe some that have none, so
     * that a call looks at one of them; after NULL: the first. */
    enum cv_err (*owner_next)(void *ctx, const uint8_t *after, uint8_t ret[CV_KEY]);
    /* Only prune.c removes any. NOENT: it was not there. */
    enum cv_err (*block_del)(void *ctx, const uint8_t owner[CV_KEY], uint64_t seq);
    /* Half-blocks of epochs before this one may have been here and be gone (prune.h), and
     * what they said be counted; 0: none. It never falls. *ret_all: of epochs before that one
     * any may be gone, also the newest of a pair: what files of version 5 were pruned of. */
    enum cv_err (*pruned_before)(void *ctx, uint32_t *ret, uint32_t *ret_all);
    enum cv_err (*prune_put)(void *ctx, uint32_t before);
    /* Up to this one nothing of a chain is missing but what was pruned here (prune.h); 0: not
     * known. That half-block itself is there. */
    enum cv_err (*whole_get)(void *ctx, const uint8_t owner[CV_KEY], uint64_t *ret);
    enum cv_err (*whole_put)(void *ctx, const uint8_t owner[CV_KEY], uint64_t seq);
    /* All successions, by owner; free() the array. */
    enum cv_err (*heir_load)(void *ctx, struct rep_record **ret, size_t *ret_n);

    enum cv_err (*edge_put)(void *ctx, const struct rep_edge *e); /* inserts or replaces */
    enum cv_err (*edge_get)(void *ctx, const uint8_t giver[CV_KEY], const uint8_t taker[CV_KEY],
                            struct rep_edge *ret);
    /* The highest epoch of a row, or one that was until a rollback; 0: there are none. */
    enum cv_err (*edge_newest)(void *ctx, uint32_t *ret);
    /* All rows in one array; free() it. *ret_n may be 0 with *ret NULL. */
    enum cv_err (*edge_load)(void *ctx, struct rep_edge **ret, size_t *ret_n);

    enum cv_err (*pending_put)(void *ctx, const struct rep_pending *p); /* inserts or replaces */
    enum cv_err (*pending_del)(void *ctx, const uint8_t peer[CV_KEY], uint32_t epoch);
    /* All rows by peer and epoch, oldest epoch first; free() the array. */
    enum cv_err (*pending_load)(void *ctx, struct rep_pending **ret, size_t *ret_n);

    enum cv_err (*account_put)(void *ctx, const struct rep_account *a); /* inserts or replaces */
    enum cv_err (*account_get)(void *ctx, const uint8_t client[CV_KEY], struct rep_account *ret);
    /* last_seen < before: deleted; after `today`: as of today, or a clock that ran ahead would keep
     * it for as long. A debt_since of before yesterday becomes its day. What was deleted is soon
     * nowhere in the file, nor beside it. */
    enum cv_err (*account_expire)(void *ctx, int64_t before, int64_t today);

    /* Proofs are kept for good; a second one about the same place is ignored. */
    enum cv_err (*fork_put)(void *ctx, const uint8_t owner[CV_KEY], uint64_t seq,
                            const struct rep_fork *f);
    enum cv_err (*fork_get)(void *ctx, const uint8_t owner[CV_KEY], struct rep_fork *ret);
    /* Owners with a proof, CV_KEY octets each; free() the array. */
    enum cv_err (*fork_load)(void *ctx, uint8_t **ret, size_t *ret_n);
    enum cv_err (*ban_put)(void *ctx, const uint8_t peer[CV_KEY], int64_t until);
    enum cv_err (*ban_get)(void *ctx, const uint8_t peer[CV_KEY], int64_t *ret_until);

    /* Tokens (priority.h). Issued to an identity in a week: the hash of what it
     * asked for. issued_put of a known one is EXIST. One to the owner itself, who asks
     * for none, says that it was elsewhere in that week (rep_backup_restore). */
    enum cv_err (*issued_put)(void *ctx, uint32_t week, const uint8_t identity[CV_KEY],
                              const uint8_t request[REP_HASH]);
    enum cv_err (*issued_get)(void *ctx, uint32_t week, const uint8_t identity[CV_KEY],
                              uint8_t ret_request[REP_HASH]);
    enum cv_err (*issued_count)(void *ctx, uint32_t week, uint64_t *ret);
    /* Spent: EXIST when it was before. */
    enum cv_err (*spent_put)(void *ctx, uint32_t week, const uint8_t token[REP_TOKEN]);
    enum cv_err (*purse_put)(void *ctx, const struct rep_purse *p); /* inserts or replaces */
    /* All of them; wipe and free() the array. */
    enum cv_err (*purse_load)(void *ctx, struct rep_purse **ret, size_t *ret_n);
    /* Everything of weeks before this one. */
    enum cv_err (*token_prune)(void *ctx, uint32_t week);

    /* Why something changed (why.h): appended; of each kind the newest REP_WHY_KEPT stay
     * and up to REP_WHY_SLACK older ones, and nothing before a day, nor after today. Newest
     * first; free() the array. */
    enum cv_err (*why_put)(void *ctx, const struct rep_why *w);
    enum cv_err (*why_expire)(void *ctx, int64_t before, int64_t today);
    enum cv_err (*why_load)(void *ctx, struct rep_why **ret, size_t *ret_n);

    /* The score the ranking last gave a neighbour, for whoever inspects the file. */
    enum cv_err (*score_put)(void *ctx, const uint8_t ego[CV_KEY], const uint8_t peer[CV_KEY],
                             double share, uint64_t generation);
};

/* Of a file that has a function for each, of the same name. */
#define REP_STORE_OF(context)                                                                      \
    ((struct rep_store){.ctx = (context),                                                          \
                        .begin = begin,                                                            \
                        .commit = commit,                                                          \
                        .rollback = rollback,                                                      \
                        .block_put = block_put,                                                    \
                        .block_get = block_get,                                                    \
                        .block_seek = block_seek,                                                  \
                        .block_answer = block_answer,                                              \
                        .block_count = block_count,                                                \
                        .owner_next = owner_next,                                                  \
                        .block_del = block_del,                                                    \
                        .pruned_before = pruned_before,                                            \
                        .prune_put = prune_put,                                                    \
                        .whole_get = whole_get,                                                    \
                        .whole_put = whole_put,                                                    \
                        .heir_load = heir_load,                                                    \
                        .edge_put = edge_put,                                                      \
                        .edge_get = edge_get,                                                      \
                        .edge_newest = edge_newest,                                                \
                        .edge_load = edge_load,                                                    \
                        .pending_put = pending_put,                                                \
                        .pending_del = pending_del,                                                \
                        .pending_load = pending_load,                                              \
                        .account_put = account_put,                                                \
                        .account_get = account_get,                                                \
                        .account_expire = account_expire,                                          \
                        .fork_put = fork_put,                                                      \
                        .fork_get = fork_get,                                                      \
                        .fork_load = fork_load,                                                    \
                        .ban_put = ban_put,                                                        \
                        .ban_get = ban_get,                                                        \
                        .score_put = score_put,                                                    \
                        .why_put = why_put,                                                        \
                        .why_expire = why_expire,                                                  \
                        .why_load = why_load,                                                      \
                        .issued_put = issued_put,                                                  \
                        .issued_get = issued_get,                                                  \
                        .issued_count = issued_count,                                              \
                        .spent_put = spent_put,                                                    \
                        .purse_put = purse_put,                                                    \
                        .purse_load = purse_load,                                                  \
                        .token_prune = token_prune})

#endif
