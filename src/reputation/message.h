/*
 * The body of a LEDGER link command, at most REP_MESSAGE_MAX octets, integers
 * little-endian. Between two relays only. No trailing octets.
 *
 *     1 COUNTERS  1 | flags u8 | epoch u32 | given u64 | taken u64
 *                 exact octets of that epoch between the two, as the sender
 *                 counted them; bit 0 of flags: I am about to propose, tell yours
 *     2 BLOCKS    2 | count u8 (0..5) | count x 232
 *     3 ASK       3 | 0 | owner 32 | from u64
 *                 your chain or mine, from this seq on; answered by BLOCKS
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
};

enum { REP_COUNTERS_TELL = 1 }; /* flag */

struct rep_message {
    enum rep_message_kind kind;
    uint8_t flags;          /* COUNTERS */
    uint32_t epoch;         /* COUNTERS */
    uint64_t given, taken;  /* COUNTERS: by whoever sent it */
    uint8_t owner[CV_KEY];  /* ASK */
    uint64_t from;          /* ASK: 1.. */
    uint8_t count;          /* BLOCKS */
    const uint8_t *records; /* BLOCKS: borrowed from the body */
};

/* CV_ERR_TRUNCATED, CV_ERR_MALFORMED, CV_ERR_UNKNOWN; *ret untouched then. */
enum cv_err rep_message_read(const uint8_t *body, size_t len, struct rep_message *ret);

/* Octets written, or CV_ERR_NOBUFS. */
ssize_t rep_message_write(const struct rep_message *m, uint8_t *buf, size_t cap);

#endif
