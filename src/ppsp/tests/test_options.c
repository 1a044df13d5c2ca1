/* Protocol options: the RFC's own examples, tables, order, what must be refused. */
#include "support/suite.h"

#include "ppsp/options.h"
#include "ppsp/ppsp.h"
#include "support/vectors.h"

CV_SUITE(ppsp_options);

#define VECTORS CV_VECTORS "/ppsp.hex"

static enum cv_err read_hex(const char *hex, struct ppsp_options *ret) {
    static uint8_t buf[512];
    struct cv_rd r = cv_rd_init(buf, cv_test_unhex(hex, buf, sizeof buf));
    enum cv_err err = ppsp_options_read(&r, ret);
    if (!err)
        cr_expect_eq(cv_rd_left(&r), 0, "octets left behind the end option");
    return err;
}

Test(ppsp_options, R3_1_3_example_of_section_8_16) {
    uint8_t buf[256], out[256];
    size_t len = cv_test_vector(VECTORS, "RFC 7574 section 8.16", "handshake", 0, buf, sizeof buf);
    struct cv_rd r = cv_rd_init(buf, len);
    cr_expect_eq(cv_rd_be32(&r), 0);
    cr_expect_eq(cv_rd_u8(&r), 0);
    cr_expect_eq(cv_rd_be32(&r), 1);
    struct ppsp_options o;
    cr_assert_eq(ppsp_options_read(&r, &o), CV_ERR_OK);
    cr_expect_eq(cv_rd_left(&r), 0);
    cr_expect(o.version == 1 && o.min_version == 1);
    cr_expect_eq(o.swarm_id_len, 32);
    cr_expect(o.swarm_id[0] == 0x47 && o.swarm_id[1] == 0xa0 && o.swarm_id[31] == 0x3b);
    cr_expect_eq(o.integrity, PPSP_INTEGRITY_MERKLE);
    cr_expect_eq(o.hash, CV_SHA256);
    cr_expect_eq(o.addressing, PPSP_ADDRESSING_CHUNK32);
    cr_expect_eq(o.chunk_size, 1024);
    struct cv_wr w = cv_wr_init(out, sizeof out);
    ppsp_options_write(&w, &o);
    cr_assert_eq(cv_wr_done(&w), (ssize_t)len - 9);
    cr_expect_arr_eq(out, buf + 9, len - 9);
}

Test(ppsp_options, answer_of_section_8_16) {
    uint8_t buf[256];
    size_t len = cv_test_vector(VECTORS, "RFC 7574 section 8.16", "answer", 0, buf, sizeof buf);
    struct cv_rd r = cv_rd_init(buf + 9, len - 9);
    struct ppsp_options o;
    cr_assert_eq(ppsp_options_read(&r, &o), CV_ERR_OK);
    cr_expect(!ppsp_options_has(&o, PPSP_OPT_SWARM_ID));
    cr_expect(!ppsp_options_has(&o, PPSP_OPT_MIN_VERSION));
    cr_expect_eq(cv_rd_left(&r), 9, "HAVE follows");
}

/* Section 7.10: everything but ACK and PEX is 11011001 11110000. */
Test(ppsp_options, R7_10_bitmap_example) {
    struct ppsp_options o;
    uint8_t in[16] = {PPSP_OPT_VERSION, 1};
    size_t len = 2 + cv_test_vector(CV_VECTORS "/ppsp.hex", "RFC 7574 section 7.10", "option", 0,
                                    in + 2, sizeof in - 3);
    in[len++] = PPSP_OPT_END;
    struct cv_rd r = cv_rd_init(in, len);
    cr_assert_eq(ppsp_options_read(&r, &o), CV_ERR_OK);
    for (unsigned t = 0; t < 16; t++) {
        bool has = t <= 11 && t != 2 && t != 5 && t != 6;
        cr_expect_eq(o.messages >> t & 1, has, "type %u", t);
    }
    uint8_t out[16];
    struct cv_wr w = cv_wr_init(out, sizeof out);
    ppsp_options_write(&w, &o);
    cr_assert_eq(cv_wr_done(&w), 7);
    cr_expect_arr_eq(out, in, 7);
}

/* clang-format off */
static const struct {
    const char *name, *hex;
    enum cv_err want;
    uint32_t present;
} rows[] = {
    { "nothing but the end (R7.1)",        "ff",                                 CV_ERR_OK, 0 },
    { "version only",                      "00 01 ff",                           CV_ERR_OK, 1 },
    { "empty swarm id",                    "00 01 02 0000 ff",                   CV_ERR_OK, 5 },
    { "signature algorithm",               "00 01 05 0d ff",                     CV_ERR_OK, 0x21 },
    { "discard window 32",                 "06 02 07 ffffffff ff",               CV_ERR_OK, 0xc0 },
    { "discard window 64",                 "06 04 07 ffffffffffffffff ff",       CV_ERR_OK, 0xc0 },
    { "empty bitmap",                      "08 00 ff",                           CV_ERR_OK, 0x100 },
    { "bitmap longer than we know",        "08 04 f8f00001 ff",                  CV_ERR_OK, 0x100 },
    { "variable chunk size (R7.11.2)",     "09 ffffffff ff",                     CV_ERR_OK, 0x200 },
    { "no end (R7.1)",                     "00 01",                              CV_ERR_TRUNCATED, 0 },
    { "empty",                             "",                                   CV_ERR_TRUNCATED, 0 },
    { "swarm id longer than the datagram", "02 ffff 00 ff",                      CV_ERR_TRUNCATED, 0 },
    { "bitmap cut",                        "08 05 d9 ff",                        CV_ERR_TRUNCATED, 0 },
    { "chunk size cut",                    "09 0000",                            CV_ERR_TRUNCATED, 0 },
    { "not sorted (R7.0)",                 "01 01 00 01 ff",                     CV_ERR_MALFORMED, 0 },
    { "chunk size before addressing",      "09 00000400 06 02 ff",               CV_ERR_MALFORMED, 0 },
    { "twice the same (R7.4)",             "02 0001 aa 02 0001 aa ff",           CV_ERR_MALFORMED, 0 },
    { "window before addressing (R7.9.2)", "07 ffffffff ff",                     CV_ERR_MALFORMED, 0 },
    { "unknown option 10, seen in the wild", "0a 00112233445566778899aabbccddeeff ff", CV_ERR_UNKNOWN, 0 },
    { "unknown option 254",                "fe ff",                              CV_ERR_UNKNOWN, 0 },
};
/* clang-format on */

Test(ppsp_options, table) {
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct ppsp_options o = {.present = 0xdead};
        enum cv_err err = read_hex(rows[i].hex, &o);
        cr_expect_eq(err, rows[i].want, "%s: %s", rows[i].name, cv_strerror(err));
        cr_expect_eq(o.present, err ? 0xdead : rows[i].present, "%s", rows[i].name);
    }
}
