#include "support/suite.h"

#include <string.h>

#include "crypto/rng_seeded.h"
#include "dht/bencode.h"
#include "dht/limits.h"

CV_SUITE(dht_bencode);

/* clang-format off */
static const struct {
    const char *name, *text;
    ssize_t want; /* length or error */
    bool canonical;
} checks[] = {
    { "empty string",          "0:",                     2,                true },
    { "string",                "4:spam",                 6,                true },
    { "string with rest",      "4:spamX",                6,                true },
    { "string cut",            "4:spa",                  CV_ERR_TRUNCATED, false },
    { "length cut",            "4",                      CV_ERR_TRUNCATED, false },
    { "length with zero",      "04:spam",                CV_ERR_MALFORMED, false },
    { "length of 20 digits",   "99999999999999999999:x", CV_ERR_MALFORMED, false },
    { "length beyond 32 bits", "4294967296:x",           CV_ERR_MALFORMED, false },
    { "length at 32 bits",     "4294967295:x",           CV_ERR_TRUNCATED, false },
    { "negative length",       "-1:x",                   CV_ERR_MALFORMED, false },
    { "zero",                  "i0e",                    3,                true },
    { "number",                "i-42e",                  5,                true },
    { "largest",               "i9223372036854775807e",  21,               true },
    { "too large",             "i9223372036854775808e",  CV_ERR_MALFORMED, false },
    { "smallest",              "i-9223372036854775808e", 22,               true },
    { "too small",             "i-9223372036854775809e", CV_ERR_MALFORMED, false },
    { "minus zero",            "i-0e",                   CV_ERR_MALFORMED, false },
    { "leading zero",          "i03e",                   CV_ERR_MALFORMED, false },
    { "no digits",             "ie",                     CV_ERR_MALFORMED, false },
    { "only a sign",           "i-e",                    CV_ERR_MALFORMED, false },
    { "plus",                  "i+1e",                   CV_ERR_MALFORMED, false },
    { "number cut",            "i12",                    CV_ERR_TRUNCATED, false },
    { "empty list",            "le",                     2,                true },
    { "list",                  "l4:spami7ee",            11,               true },
    { "list cut",              "l4:spam",                CV_ERR_TRUNCATED, false },
    { "empty dictionary",      "de",                     2,                true },
    { "dictionary",            "d1:ai1e1:bi2ee",         14,               true },
    { "prefix sorts first",    "d1:ai1e2:aai2ee",        15,               true },
    { "keys not sorted",       "d1:bi1e1:ai2ee",         14,               false },
    { "key twice",             "d1:ai1e1:ai2ee",         14,               false },
    { "not sorted, deep",      "ld1:bi1e1:ai2eee",       16,               false },
    { "key without value",     "d1:ae",                  CV_ERR_MALFORMED, false },
    { "key is a number",       "di1ei2ee",               CV_ERR_MALFORMED, false },
    { "key is a list",         "dlei2ee",                CV_ERR_MALFORMED, false },
    { "end only",              "e",                      CV_ERR_MALFORMED, false },
    { "nothing",               "",                       CV_ERR_TRUNCATED, false },
    { "unknown letter",        "x",                      CV_ERR_MALFORMED, false },
    { "space",                 " 1:a",                   CV_ERR_MALFORMED, false },
};
/* clang-format on */

Test(dht_bencode, check_table) {
    for (size_t i = 0; i < sizeof checks / sizeof *checks; i++) {
        bool canonical = false;
        ssize_t got =
            dht_ben_check((const uint8_t *)checks[i].text, strlen(checks[i].text), &canonical);
        cr_expect_eq(got, checks[i].want, "%s: %zd", checks[i].name, got);
        if (got > 0)
            cr_expect_eq(canonical, checks[i].canonical, "%s", checks[i].name);
    }
}

Test(dht_bencode, every_prefix_is_cut_short) {
    static const char text[] = "d1:ad2:id3:xyze1:bli1ei-2e0:e1:ci5ee";
    bool canonical;
    for (size_t n = 0; n < sizeof text - 1; n++)
        cr_expect_eq(dht_ben_check((const uint8_t *)text, n, &canonical), CV_ERR_TRUNCATED);
    cr_expect_eq(dht_ben_check((const uint8_t *)text, sizeof text - 1, &canonical),
                 (ssize_t)sizeof text - 1);
}

Test(dht_bencode, depth_is_limited) {
    uint8_t deep[2 * (DHT_BEN_DEPTH_MAX + 1)];
    bool canonical;
    size_t n = DHT_BEN_DEPTH_MAX;
    memset(deep, 'l', n);
    memset(deep + n, 'e', n);
    cr_expect_eq(dht_ben_check(deep, 2 * n, &canonical), (ssize_t)(2 * n));
    memset(deep, 'l', n + 1);
    memset(deep + n + 1, 'e', n + 1);
    cr_expect_eq(dht_ben_check(deep, 2 * n + 2, &canonical), CV_ERR_LIMIT);
}

Test(dht_bencode, walking) {
    static const char text[] = "d1:a4:spam1:bli1e3:twoe1:cd1:xi9eee";
    struct dht_span all = {(const uint8_t *)text, sizeof text - 1}, key, value, s;
    struct dht_ben_iter it = dht_ben_dict(all);
    int64_t v;
    cr_assert(dht_ben_next_pair(&it, &key, &value));
    cr_expect(key.n == 1 && key.p[0] == 'a');
    cr_expect_eq(dht_ben_type(value), 's');
    cr_assert(dht_ben_string(value, &s));
    cr_expect(s.n == 4 && memcmp(s.p, "spam", 4) == 0);
    cr_expect_not(dht_ben_int(value, &v));

    cr_assert(dht_ben_next_pair(&it, &key, &value));
    struct dht_ben_iter list = dht_ben_list(value);
    cr_assert(dht_ben_next(&list, &s));
    cr_assert(dht_ben_int(s, &v));
    cr_expect_eq(v, 1);
    cr_assert(dht_ben_next(&list, &s));
    cr_expect_eq(dht_ben_type(s), 's');
    cr_expect_not(dht_ben_next(&list, &s));
    cr_expect_not(dht_ben_next(&(struct dht_ben_iter){.rest = {NULL, 0}}, &s));

    cr_assert(dht_ben_next_pair(&it, &key, &value));
    cr_expect_eq(dht_ben_type(value), 'd');
    cr_expect_not(dht_ben_next_pair(&it, &key, &value));
    struct dht_ben_iter none = dht_ben_list(all);
    cr_expect_not(dht_ben_next(&none, &s), "a dictionary is no list");
}

Test(dht_bencode, numbers_write_and_read) {
    static const int64_t numbers[] = {0, 1, -1, 9, 10, -10, 1234567890123, INT64_MAX, INT64_MIN};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        uint8_t buf[32];
        struct cv_wr w = cv_wr_init(buf, sizeof buf);
        dht_ben_write_int(&w, numbers[i]);
        ssize_t n = cv_wr_done(&w);
        bool canonical;
        int64_t got = 0;
        cr_expect_eq(dht_ben_check(buf, (size_t)n, &canonical), n);
        cr_expect(dht_ben_int((struct dht_span){buf, (size_t)n}, &got));
        cr_expect_eq(got, numbers[i]);
        for (size_t cap = 0; cap < (size_t)n; cap++) {
            struct cv_wr small = cv_wr_init(buf, cap);
            dht_ben_write_int(&small, numbers[i]);
            cr_expect_eq(cv_wr_done(&small), CV_ERR_NOBUFS);
        }
    }
}

/* Random damage to a valid message never gets out of bounds (ASan watches), and
 * what is accepted can be walked to its end. */
Test(dht_bencode, damaged_input_is_walked_safely) {
    static const char good[] = "d1:ad2:id20:abcdefghij01234567894:wantl2:n42:n6ee1:q4:ping1:t2:aa"
                               "1:y1:qe";
    struct cv_rng_seeded seeded;
    cv_rng_seeded_init(&seeded, 1);
    struct cv_rng rng = cv_rng_seeded(&seeded);
    for (unsigned round = 0; round < 50000; round++) {
        uint8_t buf[sizeof good - 1];
        memcpy(buf, good, sizeof buf);
        for (unsigned k = 0; k < 1 + round % 4; k++)
            buf[cv_rng_below(&rng, sizeof buf)] = (uint8_t)cv_rng_below(&rng, 128);
        bool canonical;
        ssize_t n = dht_ben_check(buf, sizeof buf, &canonical);
        struct dht_ben_iter it = dht_ben_dict((struct dht_span){buf, sizeof buf});
        struct dht_span key, value;
        size_t sum = 2;
        while (dht_ben_next_pair(&it, &key, &value))
            sum += value.n;
        if (n == sizeof buf)
            cr_assert_leq(sum, sizeof buf);
    }
}
