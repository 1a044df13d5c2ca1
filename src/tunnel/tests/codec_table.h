/*
 * Tables for codecs: octets in, error out; what is accepted must write back as
 * it was; a cut anywhere is either refused or writes back as the cut; nothing is
 * written into the result on failure, nor beyond a buffer that is too small.
 */
#ifndef CULVERT_TUNNEL_TESTS_CODEC_TABLE_H
#define CULVERT_TUNNEL_TESTS_CODEC_TABLE_H

#include <string.h>

#include "base/cursor.h"
#include "support/suite.h"
#include "tape.h"

/* Reads; on success writes into `out`, whose length becomes *ret_len. */
typedef enum cv_err codec_fn(const uint8_t *buf, size_t len, uint8_t *out, size_t cap,
                             ssize_t *ret_len);

struct codec_row {
    const char *name;
    codec_fn *codec;
    const char *hex;
    enum cv_err want;
};

#define CODEC(noun) CODEC_OF(noun, noun)
#define CODEC_OF(noun, type)                                                                       \
    static enum cv_err codec_##noun(const uint8_t *buf, size_t len, uint8_t *out, size_t cap,      \
                                    ssize_t *ret_len) {                                            \
        static struct tun_##type m, before;                                                        \
        memset(&m, 0xdd, sizeof m);                                                                \
        before = m;                                                                                \
        struct cv_rd r = cv_rd_init(buf, len);                                                     \
        enum cv_err err = tun_##noun##_read(&r, &m);                                               \
        if (err)                                                                                   \
            cr_assert_arr_eq(&m, &before, sizeof m, #noun ": result clobbered");                   \
        if (err)                                                                                   \
            return err;                                                                            \
        struct cv_wr w = cv_wr_init(out, cap);                                                     \
        tun_##noun##_write(&w, &m);                                                                \
        *ret_len = cv_wr_done(&w);                                                                 \
        return CV_ERR_OK;                                                                          \
    }

static void codec_row(const struct codec_row *row) {
    uint8_t buf[1300], out[1300], *exact;
    size_t len = cv_test_unhex(row->hex, buf, sizeof buf);
    ssize_t got = 0;
    enum cv_err err = row->codec(buf, len, out, sizeof out, &got);
    cr_assert_eq(err, row->want, "%s: %s", row->name, cv_strerror(err));
    if (err)
        return;
    cr_assert_eq(got, (ssize_t)len, "%s: writes %zd octets", row->name, got);
    cr_assert_arr_eq(out, buf, len, "%s: writes something else", row->name);
    for (size_t cut = 0; cut < len; cut++) {
        exact = malloc(cut ? cut : 1); /* a sanitizer sees what reads beyond the end */
        memcpy(exact, buf, cut);
        if (row->codec(exact, cut, out, sizeof out, &got) == CV_ERR_OK) {
            cr_assert_eq(got, (ssize_t)cut, "%s cut at %zu", row->name, cut);
            cr_assert_arr_eq(out, buf, cut, "%s cut at %zu", row->name, cut);
        }
        free(exact);
        cr_assert_eq(row->codec(buf, len, out, cut, &got), CV_ERR_OK);
        cr_assert_eq(got, CV_ERR_NOBUFS, "%s into %zu octets", row->name, cut);
    }
}

static void codec_table(const struct codec_row *rows, size_t n) {
    for (size_t i = 0; i < n; i++)
        codec_row(&rows[i]);
}

#endif
