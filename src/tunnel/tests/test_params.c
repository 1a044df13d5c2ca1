#include "tunnel/params.h"

#include "support/hex.h"
#include "support/suite.h"

CV_SUITE(tunnel_params);

/* clang-format off */
static const struct {
    const char *name, *hex;
    enum cv_err want;
    struct tun_params params;
} reads[] = {
    { "all",               "01 01 05  02 01 01  03 01 01", CV_ERR_OK,        { 5, 1, 1 } },
    { "none",              "",                             CV_ERR_OK,        { 0, 0, 0 } },
    { "any order, padded", "03 01 02  01 01 07  00 ff",    CV_ERR_OK,        { 7, 0, 2 } },
    { "unknown skipped",   "99 02 aabb  01 01 04",         CV_ERR_OK,        { 4, 0, 0 } },
    { "twice",             "01 01 05  01 01 06",           CV_ERR_MALFORMED, { 0 } },
    { "zero",              "01 01 00",                     CV_ERR_MALFORMED, { 0 } },
    { "two octets of ttl", "01 02 0500",                   CV_ERR_MALFORMED, { 0 } },
    { "no octet of suite", "02 00",                        CV_ERR_MALFORMED, { 0 } },
    { "cut in length",     "01",                           CV_ERR_TRUNCATED, { 0 } },
    { "cut in value",      "01 01",                        CV_ERR_TRUNCATED, { 0 } },
    { "length lies",       "99 ff 00",                     CV_ERR_TRUNCATED, { 0 } },
};
/* clang-format on */

Test(tunnel_params, read_table) {
    for (size_t i = 0; i < sizeof reads / sizeof *reads; i++) {
        uint8_t buf[64];
        struct tun_params got = {.ttl = 0xdd};
        struct cv_rd r = cv_rd_init(buf, cv_test_unhex(reads[i].hex, buf, sizeof buf));
        cr_expect_eq(tun_params_read(&r, &got), reads[i].want, "%s", reads[i].name);
        if (reads[i].want == CV_ERR_OK)
            cr_expect_arr_eq(&got, &reads[i].params, sizeof got, "%s", reads[i].name);
        else
            cr_expect_eq(got.ttl, 0xdd, "%s: result clobbered", reads[i].name);
    }
}
