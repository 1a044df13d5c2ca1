/*
 * The half-block: what one relay says it gave to and took from another, in
 * all, up to an epoch. 232 octets, all integers little-endian:
 *
 *     ver u8 | type u8 | owner 32 | seq u64 | peer 32 | peer_seq u64 |
 *     peer_hash 32 | prev 32 | given u64 | taken u64 | epoch u32 | flags u16 |
 *     signature 64 over "culvert record 1" | network id 8 | the 168 octets before
 *
 * hash = BLAKE2b-256 of all 232. docs/protocol/ledger.md draws it.
 *
 * A succession is the last half-block of a chain: the owner's key is closed and
 * another takes its place, after the state folder was restored from a copy that
 * may be older than the chain. In it peer is the new key, epoch the first one of
 * which the old key signs nothing, and peer_hash and prev hold the new key's
 * signature over "culvert succession 1" | network id | owner | peer | epoch, so
 * that both have signed it. Its seq is REP_SEQ_LAST: a second successor of the
 * same key is a second half-block with the same number, which is a fork.
 */
#ifndef CULVERT_REPUTATION_RECORD_H
#define CULVERT_REPUTATION_RECORD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "crypto/keys.h"
#include "reputation/limits.h"

enum { REP_RECORD_VERSION = 1 };

#define REP_SEQ_LAST ((uint64_t)INT64_MAX) /* of a succession and of nothing else */

enum rep_record_type {
    REP_PROPOSAL = 1,   /* peer_seq 0, peer_hash zero */
    REP_AGREEMENT = 2,  /* answers the peer's half-block (peer_seq, peer_hash) */
    REP_SUCCESSION = 3, /* the peer's key takes the owner's place */
};

struct rep_record {
    uint8_t owner[CV_KEY];       /* Ed25519 identity of who speaks and signs */
    uint8_t peer[CV_KEY];        /* of whom it speaks */
    uint8_t peer_hash[REP_HASH]; /* of the half-block answered */
    uint8_t prev[REP_HASH];      /* of the owner's half-block seq - 1; zero when seq is 1 */
    uint8_t sig[CV_SIGNATURE];
    uint8_t hash[REP_HASH]; /* not sent: derived by read() and sign() */
    uint64_t seq;           /* 1, 2, 3 ... over all of the owner's half-blocks */
    uint64_t peer_seq;
    uint64_t given; /* octets owner sent peer, in all; <= REP_AMOUNT_MAX */
    uint64_t taken; /* octets peer sent owner, in all; <= REP_AMOUNT_MAX */
    uint32_t epoch; /* the one this release counts: Unix time / epoch length */
    uint16_t flags; /* 0 in version 1 */
    uint8_t type;   /* enum rep_record_type */
    uint8_t version;
};

/*
 * Octets to record, and its hash. Checks everything that can be told from the
 * record alone except the signature: CV_ERR_VERSION, CV_ERR_MALFORMED (a type
 * or flag that is not defined, owner = peer, seq 0, a prev that does not fit
 * seq, a proposal that answers, an agreement that does not, an amount too
 * large). *ret untouched on failure.
 */
enum cv_err rep_record_read(const uint8_t buf[REP_RECORD], struct rep_record *ret);

/* The inverse. */
void rep_record_write(const struct rep_record *r, uint8_t buf[REP_RECORD]);

/* Sets owner, sig and hash; all else must be set. The record must be one that
 * rep_record_read() would accept. */
void rep_record_sign(struct rep_record *r, const struct cv_ed25519_secret *identity,
                     const uint8_t network_id[REP_NETWORK_ID]);

/* Closes the key `old` from `epoch` on in favour of `heir`: all of *ret. The keys differ. */
void rep_record_succeed(const struct cv_ed25519_secret *old, const struct cv_ed25519_secret *heir,
                        const uint8_t network_id[REP_NETWORK_ID], uint32_t epoch,
                        struct rep_record *ret);

/* 44 us: the dearest step of taking a record in, so it comes after all others. */
/* (A succession has two signatures.) */
bool rep_record_verify(const struct rep_record *r, const uint8_t network_id[REP_NETWORK_ID]);

#endif
