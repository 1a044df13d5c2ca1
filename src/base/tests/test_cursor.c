/* Cursors: write then read is identity, and every short buffer is refused. */
#include "base/cursor.h"

#include "support/suite.h"

CV_SUITE(cursor);

Test(cursor, integers_of_every_width_in_both_orders) {
    uint8_t buf[64];
    for (size_t n = 1; n <= 8; n++) {
        uint64_t v = 0x0102030405060708u >> (8 * (8 - n));
        struct cv_wr w = cv_wr_init(buf, sizeof buf);
        cv_wr_be(&w, v, n);
        cv_wr_le(&w, v, n);
        cr_expect_eq(cv_wr_done(&w), (ssize_t)(2 * n));
        for (size_t i = 0; i < n; i++) {
            cr_expect_eq(buf[i], i + 1);
            cr_expect_eq(buf[n + i], n - i);
        }
        struct cv_rd r = cv_rd_init(buf, 2 * n);
        cr_expect_eq(cv_rd_be(&r, n), v);
        cr_expect_eq(cv_rd_le(&r, n), v);
        cr_expect_eq(cv_rd_left(&r), 0);
        cr_expect_eq(r.err, CV_ERR_OK);
    }
}

/* One of everything; 1 + 2 + 4 + 8 + 2 + 4 + 8 + 3 + 2 octets. */
enum { ALL = 34 };

static void write_all(struct cv_wr *w) {
    cv_wr_u8(w, 1);
    cv_wr_be16(w, 0x0203);
    cv_wr_be32(w, 0x04050607);
    cv_wr_be64(w, 0x08090a0b0c0d0e0f);
    cv_wr_le16(w, 0x1110);
    cv_wr_le32(w, 0x15141312);
    cv_wr_le64(w, 0x1d1c1b1a19181716);
    cv_wr_bytes(w, "xyz", 3);
    cv_wr_zero(w, 2);
}

Test(cursor, short_buffers) {
    uint8_t buf[ALL + 1];
    for (size_t cap = 0; cap <= ALL; cap++) {
        memset(buf, 0xee, sizeof buf);
        struct cv_wr w = cv_wr_init(buf, cap);
        write_all(&w);
        cr_expect_eq(cv_wr_done(&w), cap == ALL ? ALL : (ssize_t)CV_ERR_NOBUFS, "cap %zu", cap);
        cr_expect_eq(buf[cap], 0xee, "wrote behind %zu", cap);
        cr_expect_leq(cv_wr_len(&w), cap);
    }

    struct cv_wr w = cv_wr_init(buf, ALL);
    write_all(&w);
    for (size_t len = 0; len <= ALL; len++) {
        struct cv_rd r = cv_rd_init(buf, len);
        char xyz[4] = "???";
        bool all = len == ALL;
        cr_expect_eq(cv_rd_u8(&r), len >= 1);
        cr_expect_eq(cv_rd_be16(&r), len >= 3 ? 0x0203 : 0);
        cr_expect_eq(cv_rd_be32(&r), len >= 7 ? 0x04050607 : 0);
        cr_expect_eq(cv_rd_be64(&r), len >= 15 ? 0x08090a0b0c0d0e0f : 0);
        cr_expect_eq(cv_rd_le16(&r), len >= 17 ? 0x1110 : 0);
        cr_expect_eq(cv_rd_le32(&r), len >= 21 ? 0x15141312 : 0);
        cr_expect_eq(cv_rd_le64(&r), len >= 29 ? 0x1d1c1b1a19181716 : 0);
        cv_rd_copy(&r, xyz, 3);
        cr_expect_str_eq(xyz, len >= 32 ? "xyz" : "", "len %zu", len);
        cr_expect_eq(cv_rd_bytes(&r, 2), all ? buf + 32 : NULL);
        cr_expect_eq(r.err, all ? CV_ERR_OK : CV_ERR_TRUNCATED);
    }
}

Test(cursor, errors_stick) {
    uint8_t buf[4] = {1, 2, 3, 4};
    struct cv_rd r = cv_rd_init(buf, 4);
    cr_expect_eq(cv_rd_be64(&r), 0);
    cr_expect_eq(cv_rd_u8(&r), 0, "one octet is there, but an error stuck");
    cr_expect_eq(r.err, CV_ERR_TRUNCATED);

    struct cv_wr w = cv_wr_init(buf, 4);
    cv_wr_be64(&w, 1);
    cv_wr_u8(&w, 9);
    cr_expect_eq(buf[0], 1);
    cr_expect_eq(cv_wr_done(&w), CV_ERR_NOBUFS);

    r = cv_rd_init(NULL, 0);
    cr_expect_null(cv_rd_bytes(&r, 1));
    w = cv_wr_init(NULL, 0);
    cr_expect_null(cv_wr_skip(&w, 1));
}
