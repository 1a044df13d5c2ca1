/* The bodies of LEDGER link commands. */
#include "support/suite.h"

#include "reputation/message.h"
#include "support/hex.h"

CV_SUITE(rep_message);

/* clang-format off */
static const struct {
    const char *name, *hex;
    size_t more; /* zero octets after it */
    enum cv_err want;
    struct rep_message m;
} reads[] = {
    { "counters",                "01 00 07000000 0100000000000000 0200000000000000", 0, CV_ERR_OK,
      { .kind = REP_MESSAGE_COUNTERS, .epoch = 7, .given = 1, .taken = 2 } },
    { "counters, tell yours",    "01 01 ffffffff 0000000000000000 ffffffffffffff3f", 0, CV_ERR_OK,
      { .kind = REP_MESSAGE_COUNTERS, .flags = 1, .epoch = UINT32_MAX, .taken = REP_AMOUNT_MAX } },
    { "counters, unknown flag",  "01 02 07000000 0100000000000000 0200000000000000", 0, CV_ERR_MALFORMED, { 0 } },
    { "counters, too large",     "01 00 07000000 0000000000000040 0200000000000000", 0, CV_ERR_MALFORMED, { 0 } },
    { "counters, short",         "01 00 07000000 0100000000000000 02000000000000",   0, CV_ERR_TRUNCATED, { 0 } },
    { "counters, long",          "01 00 07000000 0100000000000000 0200000000000000", 1, CV_ERR_MALFORMED, { 0 } },
    { "no records",              "02 00",    0,       CV_ERR_OK, { .kind = REP_MESSAGE_RECORDS } },
    { "five records",            "02 05",    5 * 232, CV_ERR_OK, { .kind = REP_MESSAGE_RECORDS, .count = 5 } },
    { "six records",             "02 06",    6 * 232, CV_ERR_MALFORMED, { 0 } },
    { "a record one octet short","02 01",    231,     CV_ERR_TRUNCATED, { 0 } },
    { "a record one octet long", "02 01",    233,     CV_ERR_MALFORMED, { 0 } },
    { "ask",                     "03 00 0101010101010101010101010101010101010101010101010101010101010101 0900000000000000", 0, CV_ERR_OK,
      { .kind = REP_MESSAGE_ASK, .from = 9 } },
    { "ask from 0",              "03 00 0101010101010101010101010101010101010101010101010101010101010101 0000000000000000", 0, CV_ERR_MALFORMED, { 0 } },
    { "ask from 2^63",           "03 00 0101010101010101010101010101010101010101010101010101010101010101 0000000000000080", 0, CV_ERR_MALFORMED, { 0 } },
    { "ask, second octet set",   "03 01 0101010101010101010101010101010101010101010101010101010101010101 0900000000000000", 0, CV_ERR_MALFORMED, { 0 } },
    { "fork",                    "04 03",    2 * 232, CV_ERR_OK, { .kind = REP_MESSAGE_FORK, .ttl = 3 } },
    { "fork, ttl 4",             "04 04",    2 * 232, CV_ERR_MALFORMED, { 0 } },
    { "fork, long",              "04 00",    465,     CV_ERR_MALFORMED, { 0 } },
    { "digest",                  "05 01 0101010101010101010101010101010101010101010101010101010101010101 0900000000000000 0102030405060708", 0, CV_ERR_OK,
      { .kind = REP_MESSAGE_DIGEST, .count = 1 } },
    { "answer of two",           "06 02",    2 * 48,  CV_ERR_OK, { .kind = REP_MESSAGE_DIGEST_ANSWER, .count = 2 } },
    { "digest of nothing",       "05 00",    0,       CV_ERR_MALFORMED, { 0 } },
    { "digest of 25",            "05 19",    25 * 48, CV_ERR_MALFORMED, { 0 } },
    { "digest, long",            "05 01",    49,      CV_ERR_MALFORMED, { 0 } },
    { "digest, too far",         "05 01 0101010101010101010101010101010101010101010101010101010101010101 ffffffffffffff7f 0102030405060708", 0, CV_ERR_MALFORMED, { 0 } },
    { "digest, head of nothing", "05 01 0101010101010101010101010101010101010101010101010101010101010101 0000000000000000 0102030405060708", 0, CV_ERR_MALFORMED, { 0 } },
    { "unknown kind",            "07 00", 0, CV_ERR_UNKNOWN,   { 0 } },
    { "kind 0",                  "00 00", 0, CV_ERR_UNKNOWN,   { 0 } },
    { "one octet",               "01",    0, CV_ERR_TRUNCATED, { 0 } },
    { "empty",                   "",      0, CV_ERR_TRUNCATED, { 0 } },
};
/* clang-format on */

Test(rep_message, read_table) {
    for (size_t i = 0; i < sizeof reads / sizeof *reads; i++) {
        uint8_t buf[2048] = {0}, back[REP_MESSAGE_MAX];
        struct rep_message got = {.from = 0xdead};
        size_t len = cv_test_unhex(reads[i].hex, buf, sizeof buf) + reads[i].more;
        enum cv_err err = rep_message_read(buf, len, &got);
        cr_expect_eq(err, reads[i].want, "%s: got '%s'", reads[i].name, cv_strerror(err));
        if (err) {
            cr_expect_eq(got.from, 0xdead, "%s: result clobbered on failure", reads[i].name);
            continue;
        }
        cr_expect_eq(got.kind, reads[i].m.kind, "%s", reads[i].name);
        cr_expect_eq(got.flags, reads[i].m.flags, "%s", reads[i].name);
        cr_expect_eq(got.epoch, reads[i].m.epoch, "%s", reads[i].name);
        cr_expect_eq(got.given, reads[i].m.given, "%s", reads[i].name);
        cr_expect_eq(got.taken, reads[i].m.taken, "%s", reads[i].name);
        cr_expect_eq(got.count, reads[i].m.count, "%s", reads[i].name);
        cr_expect_eq(got.from, reads[i].m.from, "%s", reads[i].name);
        cr_assert_eq(rep_message_write(&got, back, sizeof back), (ssize_t)len, "%s", reads[i].name);
        cr_expect_arr_eq(back, buf, len, "%s: write is not the inverse", reads[i].name);
        for (size_t cap = 0; cap < len; cap++) {
            cr_expect_eq(rep_message_write(&got, back, cap), CV_ERR_NOBUFS, "%s in %zu",
                         reads[i].name, cap);
            cr_expect_neq(rep_message_read(buf, cap, &got), CV_ERR_OK, "%s cut to %zu",
                          reads[i].name, cap);
        }
    }
}
