/* Hexadecimal and base32 (RFC 4648 section 10, lower case without padding);
 * and the small things of base that have no file of their own here: error
 * texts, short ids, days, dice. */
#include "base/text.h"

#include "base/err.h"
#include "base/time.h"
#include "base/trace.h"
#include "support/model.h"
#include "support/suite.h"

CV_SUITE(text);

Test(text, hex) {
    uint8_t all[256], back[256];
    char out[513];
    for (int i = 0; i < 256; i++)
        all[i] = (uint8_t)i;
    for (size_t n = 0; n <= 256; n++) {
        cv_hex(all, n, out);
        cr_assert_eq(strlen(out), 2 * n);
        cr_assert_eq(cv_unhex(out, back, n), CV_ERR_OK);
        cr_assert_arr_eq(back, all, n);
    }
    static const struct {
        const char *text;
        size_t len;
        enum cv_err err;
    } rows[] = {{"00fF", 2, CV_ERR_OK},
                {"00f", 2, CV_ERR_MALFORMED},
                {"00ff0", 2, CV_ERR_MALFORMED},
                {"00fg", 2, CV_ERR_MALFORMED},
                {"", 0, CV_ERR_OK},
                {"0", 0, CV_ERR_MALFORMED},
                {"00 ff", 2, CV_ERR_MALFORMED},
                {"", 2, CV_ERR_MALFORMED}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint8_t ret[4] = {9, 9, 9, 9};
        cr_expect_eq(cv_unhex(rows[i].text, ret, rows[i].len), rows[i].err, "%s", rows[i].text);
        cr_expect(!rows[i].err || (ret[0] == 9 && ret[1] == 9), "%s: touched", rows[i].text);
    }
}

Test(text, base32_of_the_rfc) {
    static const char *const rows[][2] = {{"", ""},
                                          {"f", "my"},
                                          {"fo", "mzxq"},
                                          {"foo", "mzxw6"},
                                          {"foob", "mzxw6yq"},
                                          {"fooba", "mzxw6ytb"},
                                          {"foobar", "mzxw6ytboi"}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char out[32];
        uint8_t back[8] = {0};
        size_t n = strlen(rows[i][0]);
        cr_expect_str_eq(cv_base32(rows[i][0], n, out), rows[i][1]);
        cr_expect_eq(strlen(out), CV_BASE32_LEN(n));
        cr_expect_eq(cv_unbase32(out, strlen(out), back, n), (ssize_t)n);
        cr_expect_arr_eq(back, rows[i][0], n);
        if (n)
            cr_expect_eq(cv_unbase32(out, strlen(out), back, n - 1), CV_ERR_NOBUFS);
    }
}

Test(text, base32_refuses) {
    static const char *const rows[] = {"m",  "mzx",  "mzxw6y",            /* impossible lengths */
                                       "mz", "mzxr", "mzxw7",  "mzxw6yr", /* leftover bits */
                                       "MY", "m1",   "m8",     "m=",      "m ", "my======"};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint8_t ret[8] = {9};
        cr_expect_eq(cv_unbase32(rows[i], strlen(rows[i]), ret, 8), CV_ERR_MALFORMED, "%s",
                     rows[i]);
        cr_expect_eq(ret[0], 9);
    }
}

/* Each octet string has one text and each accepted text one octet string. */
Test(text, base32_is_one_to_one) {
    uint64_t state = 1;
    struct cv_rng rng = model_rng(&state);
    for (int step = 0; step < 2000; step++) {
        char text[16], again[32];
        uint8_t octets[16];
        size_t n = cv_rng_below(&rng, sizeof text);
        for (size_t i = 0; i < n; i++)
            text[i] = "aqei72bcz"[cv_rng_below(&rng, 9)];
        ssize_t len = cv_unbase32(text, n, octets, sizeof octets);
        if (len < 0)
            continue;
        cv_base32(octets, (size_t)len, again);
        cr_assert_eq(strlen(again), n);
        cr_assert_arr_eq(again, text, n);
    }
}

Test(text, every_error_has_a_text) {
#define X(name, value, text) cr_expect_str_eq(cv_strerror(CV_ERR_##name), text);
    CV_ERR_TABLE(X)
#undef X
    cr_expect_str_eq(cv_strerror((enum cv_err) - 999), "unknown error");
}

Test(text, short_ids_and_days) {
    cr_expect_eq(cv_id_short("\x01\x02\x03\x04\x05", 5), 0x01020304);
    cr_expect_eq(cv_id_short("\x01\x02", 2), 0x01020000);
    cr_expect_eq(cv_day(0), 0);
    cr_expect_eq(cv_day(-5), 0);
    cr_expect_eq(cv_day(86399), 0);
    cr_expect_eq(cv_day(86400), 1);
    cr_expect_eq(cv_usec_add(CV_USEC_NEVER - 5, 6), CV_USEC_NEVER);
    cr_expect_eq(cv_usec_add(5, 6), 11);
    cr_expect_eq(cv_usec_since(5, 6), 0);
    cr_expect_eq(CV_SEC(2), 2000 * CV_MSEC(1));
}

Test(text, dice_are_fair_and_in_range) {
    uint64_t state = 1;
    struct cv_rng rng = model_rng(&state);
    unsigned seen[6] = {0};
    for (int i = 0; i < 60000; i++)
        seen[cv_rng_below(&rng, 6)]++;
    for (int i = 0; i < 6; i++)
        cr_expect(seen[i] > 9600 && seen[i] < 10400, "%d: %u", i, seen[i]); /* 4 sigma: 365 */
    cr_expect_eq(cv_rng_below(&rng, 0), 0);
    cr_expect_eq(cv_rng_below(&rng, 1), 0);
    cr_expect_eq(cv_rng_between(&rng, 9, 9), 9);
    for (int i = 0; i < 1000; i++) {
        uint64_t v = cv_rng_between(&rng, UINT64_MAX - 2, UINT64_MAX);
        cr_expect_geq(v, UINT64_MAX - 2);
    }
    cv_rng_between(&rng, 0, UINT64_MAX);
}
