/*
 * The body of a LEDGER link command, at most REP_MESSAGE_MAX octets, integers
 * little-endian. Between two relays only. No trailing octets.
 *
 *     1 COUNTERS  1 | flags u8 | epoch u32 | given u64 | taken u64
 *                 exact octets of that epoch between the two, as the sender
 *                 counted them; bit 0 of flags: I am about to propose, tell yours
 *     2 BLOCKS    2 | count u8 (0..5) | count x 232
 *     3 ASK       3 | 0 | owner 32 | from u64
 *                 a chain, from this seq on; answered by BLOCKS
 *     4 FORK      4 | ttl u8 (0..3) | 2 x 232
 *                 a proof (forkproof.h), passed on while ttl is above 0
 *     5 DIGEST    5 | count u8 (1..24) | count x (owner 32 | upto u64 | head 8)
 *                 so far I know these chains; head: first octets of the hash of
 *                 half-block `upto`, zeros when that is 0
 *     6 ANSWER    6 | the same: what I know further or otherwise, and some more
 */
#ifndef CULVERT_REPUTATION_MESSAGE_H
#define CULVERT_REPUTATION_MESSAGE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "reputation/limits.h"
#include "reputation/record.h"

enum rep_message_kind {
    REP_MESSAGE_COUNTERS = 1,
    REP_MESSAGE_RECORDS = 2,
    REP_MESSAGE_ASK = 3,
    REP_MESSAGE_FORK = 4,
    REP_MESSAGE_DIGEST = 5,
    REP_MESSAGE_DIGEST_ANSWER = 6,
};

enum { REP_COUNTERS_TELL = 1 }; /* flag */

struct rep_digest {
    uint8_t owner[CV_KEY];
    uint64_t upto; /* all half-blocks 1..upto are known; <= INT64_MAX - 1 */
    uint8_t head[REP_DIGEST_HASH];
};

struct rep_message {
    enum rep_message_kind kind;
    uint8_t flags;          /* COUNTERS */
    uint32_t epoch;         /* COUNTERS */
    uint64_t given, taken;  /* COUNTERS: by whoever sent it */
    uint8_t owner[CV_KEY];  /* ASK */
    uint64_t from;          /* ASK: 1.. */
    uint8_t ttl;            /* FORK */
    uint8_t count;          /* BLOCKS, DIGEST, ANSWER */
    const uint8_t *records; /* BLOCKS, FORK (two): borrowed from the body */
    struct rep_digest digest[REP_DIGESTS_PER_MESSAGE];
};

/* CV_ERR_TRUNCATED, CV_ERR_MALFORMED, CV_ERR_UNKNOWN; *ret untouched then. */
enum cv_err rep_message_read(const uint8_t *body, size_t len, struct rep_message *ret);

/* Octets written, or CV_ERR_NOBUFS. */
ssize_t rep_message_write(const struct rep_message *m, uint8_t *buf, size_t cap);

#endif
