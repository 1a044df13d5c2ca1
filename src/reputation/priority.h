/*
 * Priority by tokens, the ledger's part (token.h has the octets): earned in
 * public as a relay, spent in private as a viewer. Both sides are calls on the
 * ledger of ledger.h, with its rules of use.
 *
 *     guard     rep_ledger_issue()    a batch, to an identity with a score
 *               rep_ledger_redeem()   a token, on a nameless link: an hour in class 0
 *     relay     rep_ledger_token_ask(), _answer(), _spend()
 *
 * Weeks are those of the descriptor in use (crypto/tokenkey.h); a week begins at
 * 03:00 UTC. A token of week w is shown in week w + 1: then everybody who ever
 * will has asked for its batch, and when somebody asked says nothing about whose
 * token it is. Nobody asks in the last six hours of a week, so that no token is
 * younger than that. Private networks may use tokens at once (rep_config).
 */
#ifndef CULVERT_REPUTATION_PRIORITY_H
#define CULVERT_REPUTATION_PRIORITY_H

#include "reputation/ledger.h"
#include "reputation/token.h"

/* ---- a guard ---- */

/*
 * Answers a request for a batch. OK: send *ret. The first request of an identity
 * in a week is remembered for good: the same again gets the same tokens, another
 * is LIMIT, as are more identities than REP_TOKEN_BATCHES. DENIED: no or too
 * small a score (at least a quarter of the mean neighbour's). STALE: not this
 * week. AGAIN: too many requests just now. AUTH, MALFORMED, TRUNCATED; or the
 * ledger has failed (its error).
 */
enum cv_err rep_ledger_issue(struct rep_ledger *l, struct cv_now now, const uint8_t *body,
                             size_t len, uint8_t ret[REP_TOKEN_REPLY]);

/*
 * A link shows a token: class 0 for REP_TOKEN_TIME more. `link_hash` is that of
 * the link's first handshake. EXIST: spent before, the class stays as it is (OK
 * when it was spent on this very link: it repeats). DENIED: a link that named
 * somebody. AUTH: no token of this week or the last. AGAIN: too many tries.
 * NOENT: unknown link; or the ledger has failed. What was OK is spent also after
 * a crash.
 */
enum cv_err rep_ledger_redeem(struct rep_ledger *l, struct cv_now now, cv_handle link,
                              const uint8_t shown[REP_TOKEN_SHOWN],
                              const uint8_t link_hash[REP_LINK_HASH]);

/* ---- a relay, of its guards ---- */

/*
 * Is it time to ask `issuer` for a batch of `week`, under the key that its
 * confirmed descriptor names? OK: send *ret on a circuit that ends there, and
 * pass the answer on. AGAIN: not now. EXIST: this week's are there. DIFFERS: it
 * named another key before, for the same week: its tokens are thrown away and it is
 * not asked any more, until that week's are forgotten. LIMIT: too many issuers. Also
 * to be called when there are tokens, so that a change is noticed. Call it every minute or so.
 */
enum cv_err rep_ledger_token_ask(struct rep_ledger *l, struct cv_now now,
                                 const uint8_t issuer[CV_KEY], const uint8_t key[CV_VOPRF_ELEMENT],
                                 uint32_t week, uint8_t ret[REP_TOKEN_REQUEST]);

/* The answer; NULL: refused, or none came. OK: tokens are there. */
enum cv_err rep_ledger_token_answer(struct rep_ledger *l, struct cv_now now,
                                    const uint8_t issuer[CV_KEY], uint32_t week,
                                    const uint8_t *reply, size_t len);

/* Takes a token of `issuer` for good, to be shown on a link to it. NOENT: none
 * that may be shown now. */
enum cv_err rep_ledger_token_spend(struct rep_ledger *l, struct cv_now now,
                                   const uint8_t issuer[CV_KEY],
                                   const uint8_t link_hash[REP_LINK_HASH],
                                   uint8_t ret[REP_TOKEN_SHOWN]);

/* How many tokens are left, of all issuers. */
unsigned rep_ledger_tokens_left(const struct rep_ledger *l);

#endif
