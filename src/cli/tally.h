/*
 * What was used of a data cap in one period, and how it goes on in another (quota.h).
 *
 * A clock can be far off, at a machine's start or later, so that what was written down
 * belongs to a period after the one that the clock names. Which of the two is wrong nobody
 * knows, and nothing that was used may be forgotten: what was counted is taken along into
 * the earlier period, and what was left is remembered, so that it is not begun anew when
 * the clock comes back. One such excursion at a time. What was counted before the clock was
 * set, which stands at 0 until then, belongs to the period that it names first.
 */
#ifndef CULVERT_CLI_TALLY_H
#define CULVERT_CLI_TALLY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct cli_tally {
    int64_t began; /* of the period that is counted; Unix seconds */
    uint64_t used; /* octets in it */
    int64_t left_began;
    uint64_t left_used; /* of the one that was counted before */
};

/* The period that began at `began` is counted from now on. True: it is an earlier one, and
 * what was used until now counts in it. */
bool cli_tally_turn(struct cli_tally *t, int64_t began);

/* "3 u8 | began u64 | used u64 | the one before: began u64 | used u64 | BLAKE2b-64 of all
 * before", little-endian. Those of version 2, without the sum, and 1, also without the one
 * before, are read too. */
enum { CLI_TALLY_OCTETS = 1 + 4 * 8 + 8 };

void cli_tally_write(const struct cli_tally *t, uint8_t ret[CLI_TALLY_OCTETS]);
/* CV_ERR_CORRUPT: it is none; *ret is untouched then. */
enum cv_err cli_tally_read(const uint8_t *buf, size_t len, struct cli_tally *ret);

#endif
