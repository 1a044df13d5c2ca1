/*
 * Priority tokens, as octets and arithmetic: a relay with a score asks a guard
 * for a batch of blinded ones under its identity, and later shows single ones on
 * a link that names nobody (RFC 9497, crypto/voprf.h). The guard cannot tell in
 * which batch a token was made. Integers little-endian.
 *
 *     request  identity 32 | week u32 | 16 x blinded 32 | signature 64 over
 *              "culvert token request 1" | network id 8 | issuer 32 | the octets before
 *     reply    16 x evaluated 32 | proof 64 over all of them
 *     shown    t 32 | BLAKE2b-128(key F(t), hash of the link's handshake 64)
 *
 * A batch is always REP_TOKENS: how many somebody has says nothing of its score.
 * The key of the proof is that of the issuer's confirmed descriptor, the same for
 * everybody: with a key of one's own for each asker the issuer would recognise
 * them. t and blinds of a batch come from one seed, kept until nobody takes them any more.
 *
 * Weeks are the wall clock's, which may be wrong for a while after a start. What
 * belongs to a week that is over, spent marks, issued batches and tokens of one's own,
 * is deleted only when the clock has gone on for an hour without a leap: a clock that
 * was ahead and is put right within the hour makes nobody spend, or be given, twice.
 */
#ifndef CULVERT_REPUTATION_TOKEN_H
#define CULVERT_REPUTATION_TOKEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/rng.h"
#include "crypto/keys.h"
#include "crypto/voprf.h"
#include "reputation/limits.h"

enum {
    REP_TOKEN = 32,
    REP_TOKEN_MAC = 16,
    REP_TOKEN_SHOWN = REP_TOKEN + REP_TOKEN_MAC,
    REP_TOKEN_REQUEST = CV_KEY + 4 + REP_TOKENS * CV_VOPRF_ELEMENT + CV_SIGNATURE,
    REP_TOKEN_REPLY = REP_TOKENS * CV_VOPRF_ELEMENT + CV_VOPRF_PROOF,
    REP_LINK_HASH = 64,
};

/* A batch of one's own: asked for (left 0), or had. Secret. */
struct rep_purse {
    uint8_t issuer[CV_KEY];
    uint32_t week;
    uint32_t left;                 /* bit i: token i was issued and not spent */
    uint8_t had;                   /* 1: `output` holds what was issued */
    uint8_t seed[32];              /* of t and blinds */
    uint8_t key[CV_VOPRF_ELEMENT]; /* of the issuer, as its descriptor says */
    int64_t from;                  /* Unix seconds: not to be shown before */
    uint8_t output[REP_TOKENS][CV_VOPRF_OUTPUT];
};

/* What an issuer reads. */
struct rep_token_request {
    uint8_t identity[CV_KEY];
    uint32_t week;
    uint8_t blinded[REP_TOKENS][CV_VOPRF_ELEMENT];
};

/* ---- whoever has a score ---- */

void rep_token_request_write(const struct rep_purse *p, const struct cv_ed25519_secret *identity,
                             const uint8_t network_id[REP_NETWORK_ID],
                             uint8_t ret[REP_TOKEN_REQUEST]);

/* Checks the proof and makes the tokens: p->output, left, had. AUTH: not proven,
 * *p untouched. TRUNCATED, MALFORMED: the length. 3 ms. */
enum cv_err rep_token_take(struct rep_purse *p, const uint8_t *reply, size_t len);

/* Token i (bit i of p->left), for the link of this handshake. */
void rep_token_show(const struct rep_purse *p, unsigned i, const uint8_t link_hash[REP_LINK_HASH],
                    uint8_t ret[REP_TOKEN_SHOWN]);

/* ---- the issuer ---- */

/* TRUNCATED, MALFORMED: the length. The signature is not looked at. */
enum cv_err rep_token_request_read(const uint8_t *buf, size_t len, struct rep_token_request *ret);

/* Was all of `buf` (REP_TOKEN_REQUEST octets) signed for `issuer`? */
bool rep_token_request_verify(const uint8_t buf[REP_TOKEN_REQUEST], const uint8_t issuer[CV_KEY],
                              const uint8_t network_id[REP_NETWORK_ID]);

/* MALFORMED: an element that is none. 3 ms. */
enum cv_err rep_token_reply_write(const struct rep_token_request *m,
                                  const struct cv_voprf_secret *key, const struct cv_rng *rng,
                                  uint8_t ret[REP_TOKEN_REPLY]);

/* Is it a token of this key, shown on the link of this handshake? 100 us. */
bool rep_token_is(const struct cv_voprf_secret *key, const uint8_t shown[REP_TOKEN_SHOWN],
                  const uint8_t link_hash[REP_LINK_HASH]);

#endif
