/*
 * The half-block's codec. Goals: 232 octets as docs/protocol/ledger.md draws
 * them; whatever is not exactly what its owner signed is refused.
 */
#include "support/suite.h"

#include "crypto/rng_seeded.h"
#include "reputation/tests/people.h"
#include "support/hex.h"

CV_SUITE(rep_record);

/* Offsets of the fields. */
enum {
    AT_VERSION = 0,
    AT_TYPE = 1,
    AT_OWNER = 2,
    AT_SEQ = 34,
    AT_PEER = 42,
    AT_PEER_SEQ = 74,
    AT_PEER_HASH = 82,
    AT_PREV = 114,
    AT_GIVEN = 146,
    AT_TAKEN = 154,
    AT_EPOCH = 162,
    AT_FLAGS = 166,
    AT_SIG = 168,
};

static void good(uint8_t buf[REP_RECORD]) {
    struct cv_ed25519_secret a, b;
    person(0, &a);
    person(1, &b);
    struct rep_record first = proposal(&a, &b, NULL, 1 << 26, 1 << 27);
    struct rep_record second = proposal(&a, &b, &first, 1 << 28, 1 << 29);
    rep_record_write(&second, buf);
}

static void set(uint8_t *buf, size_t at, const char *hex) {
    cv_test_unhex(hex, buf + at, REP_RECORD - at);
}

/* clang-format off */
static const struct {
    const char *name;
    size_t at;
    const char *hex; /* written at `at` of a good proposal with seq 2 */
    enum cv_err want;
} reads[] = {
    { "as signed",                  0,            "01",               CV_ERR_OK },
    { "version 0",                  AT_VERSION,   "00",               CV_ERR_VERSION },
    { "version 2",                  AT_VERSION,   "02",               CV_ERR_VERSION },
    { "type 0",                     AT_TYPE,      "00",               CV_ERR_MALFORMED },
    { "type 3",                     AT_TYPE,      "03",               CV_ERR_MALFORMED },
    { "an agreement with nothing",  AT_TYPE,      "02",               CV_ERR_MALFORMED },
    { "seq 0",                      AT_SEQ,       "0000000000000000", CV_ERR_MALFORMED },
    { "seq 1 with a prev",          AT_SEQ,       "0100000000000000", CV_ERR_MALFORMED },
    { "seq 3",                      AT_SEQ,       "0300000000000000", CV_ERR_OK },
    { "seq 2^63 - 2",               AT_SEQ,       "feffffffffffff7f", CV_ERR_OK },
    { "seq of a succession",        AT_SEQ,       "ffffffffffffff7f", CV_ERR_MALFORMED },
    { "seq 2^63",                   AT_SEQ,       "0000000000000080", CV_ERR_MALFORMED },
    { "a proposal with peer seq",   AT_PEER_SEQ,  "0100000000000000", CV_ERR_MALFORMED },
    { "a proposal with peer hash",  AT_PEER_HASH, "01",               CV_ERR_MALFORMED },
    { "no prev though seq 2",       AT_PREV,      "0000000000000000000000000000000000000000000000000000000000000000", CV_ERR_MALFORMED },
    { "given 0",                    AT_GIVEN,     "0000000000000000", CV_ERR_OK },
    { "given, largest",             AT_GIVEN,     "ffffffffffffff3f", CV_ERR_OK },
    { "given, one too large",       AT_GIVEN,     "0000000000000040", CV_ERR_MALFORMED },
    { "taken, one too large",       AT_TAKEN,     "0000000000000040", CV_ERR_MALFORMED },
    { "taken 2^64 - 1",             AT_TAKEN,     "ffffffffffffffff", CV_ERR_MALFORMED },
    { "any epoch",                  AT_EPOCH,     "ffffffff",         CV_ERR_OK },
    { "a flag",                     AT_FLAGS,     "0100",             CV_ERR_MALFORMED },
    { "the highest flag",           AT_FLAGS,     "0080",             CV_ERR_MALFORMED },
};
/* clang-format on */

Test(rep_record, read_table) {
    for (size_t i = 0; i < sizeof reads / sizeof *reads; i++) {
        uint8_t buf[REP_RECORD], back[REP_RECORD];
        struct rep_record got = {.seq = 0xdead};
        good(buf);
        set(buf, reads[i].at, reads[i].hex);
        enum cv_err err = rep_record_read(buf, &got);
        cr_expect_eq(err, reads[i].want, "%s: got '%s'", reads[i].name, cv_strerror(err));
        if (err) {
            cr_expect_eq(got.seq, 0xdead, "%s: result clobbered on failure", reads[i].name);
            continue;
        }
        rep_record_write(&got, back);
        cr_expect_arr_eq(back, buf, sizeof back, "%s: write is not the inverse", reads[i].name);
    }
}

Test(rep_record, owner_and_peer_differ) {
    uint8_t buf[REP_RECORD];
    struct rep_record r;
    good(buf);
    memcpy(buf + AT_PEER, buf + AT_OWNER, CV_KEY);
    cr_expect_eq(rep_record_read(buf, &r), CV_ERR_MALFORMED);
}

/* Every octet where the documentation says it is. */
Test(rep_record, layout) {
    struct cv_ed25519_secret a, b;
    uint8_t buf[REP_RECORD], hash[REP_HASH];
    person(0, &a);
    person(1, &b);
    struct rep_record p = proposal(&b, &a, NULL, 5, 6);
    struct rep_record first = proposal(&a, &b, NULL, 1, 1);
    struct rep_record r = agreement(&a, &p, &first, 0x0102030405060708, 0x1112131415161718);
    rep_record_write(&r, buf);
    cr_expect_eq(buf[AT_VERSION], 1);
    cr_expect_eq(buf[AT_TYPE], 2);
    cr_expect_arr_eq(buf + AT_OWNER, a.public_key, CV_KEY);
    cr_expect_arr_eq(buf + AT_SEQ, "\2\0\0\0\0\0\0\0", 8);
    cr_expect_arr_eq(buf + AT_PEER, b.public_key, CV_KEY);
    cr_expect_arr_eq(buf + AT_PEER_SEQ, "\1\0\0\0\0\0\0\0", 8);
    cr_expect_arr_eq(buf + AT_PEER_HASH, p.hash, REP_HASH);
    cr_expect_arr_eq(buf + AT_PREV, first.hash, REP_HASH);
    cr_expect_arr_eq(buf + AT_GIVEN, "\x08\x07\x06\x05\x04\x03\x02\x01", 8);
    cr_expect_arr_eq(buf + AT_TAKEN, "\x18\x17\x16\x15\x14\x13\x12\x11", 8);
    cr_expect_arr_eq(buf + AT_EPOCH, "\xf0\x0a\0\0", 4);
    cr_expect_arr_eq(buf + AT_FLAGS, "\0\0", 2);
    CV_BLAKE2B(hash, REP_HASH, NULL, 0, {buf, REP_RECORD});
    cr_expect_arr_eq(r.hash, hash, REP_HASH);

    /* The signature is over label, network id and the first 168 octets. */
    uint8_t msg[REP_NETWORK_ID + REP_RECORD_SIGNED];
    memcpy(msg, test_network, REP_NETWORK_ID);
    memcpy(msg + REP_NETWORK_ID, buf, REP_RECORD_SIGNED);
    cr_expect(cv_ed25519_verify(buf + AT_SIG, a.public_key, "culvert record 1", msg, sizeof msg));
}

Test(rep_record, every_flipped_bit_is_refused) {
    uint8_t buf[REP_RECORD];
    struct rep_record r;
    good(buf);
    cr_assert_eq(rep_record_read(buf, &r), CV_ERR_OK);
    cr_assert(rep_record_verify(&r, test_network));
    for (unsigned bit = 0; bit < 8 * REP_RECORD; bit++) {
        buf[bit / 8] ^= (uint8_t)(1 << bit % 8);
        bool taken = rep_record_read(buf, &r) == CV_ERR_OK && rep_record_verify(&r, test_network);
        cr_expect(!taken, "bit %u of octet %u", bit % 8, bit / 8);
        buf[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    cr_expect_eq(rep_record_read(buf, &r), CV_ERR_OK);
    cr_expect(rep_record_verify(&r, test_network));
}

Test(rep_record, another_network_does_not_verify) {
    uint8_t buf[REP_RECORD], other[REP_NETWORK_ID] = "testnet2";
    struct rep_record r;
    good(buf);
    cr_assert_eq(rep_record_read(buf, &r), CV_ERR_OK);
    cr_expect(!rep_record_verify(&r, other));
}

/* 0 accepted bad of many mutated records. */
Test(rep_record, random_mutations_are_refused) {
    struct cv_rng_seeded dice;
    cv_rng_seeded_init(&dice, 3);
    struct cv_rng rng = cv_rng_seeded(&dice);
    uint8_t original[REP_RECORD];
    good(original);
    unsigned accepted = 0;
    for (unsigned i = 0; i < 20000; i++) {
        uint8_t buf[REP_RECORD];
        struct rep_record r;
        memcpy(buf, original, sizeof buf);
        for (uint64_t n = 1 + cv_rng_below(&rng, 8); n > 0; n--)
            buf[cv_rng_below(&rng, REP_RECORD)] = (uint8_t)cv_rng_u32(&rng);
        if (memcmp(buf, original, sizeof buf) == 0)
            continue;
        accepted += rep_record_read(buf, &r) == CV_ERR_OK && rep_record_verify(&r, test_network);
    }
    cr_expect_eq(accepted, 0);
}
