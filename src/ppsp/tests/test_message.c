/* Every message: tables of octets, the whole result, and what must be refused. */
#include "support/suite.h"

#include "ppsp/message.h"
#include "support/hex.h"

CV_SUITE(ppsp_message);

#define C32 PPSP_ADDRESSING_CHUNK32
#define C64 PPSP_ADDRESSING_CHUNK64

/* clang-format off */
static const struct {
    const char *name;
    enum ppsp_addressing method;
    const char *hex;
    enum cv_err want;
    struct ppsp_range range;
} specs[] = {
    { "one chunk",         C32, "00000007 00000007",                 CV_ERR_OK, { 7, 7 } },
    { "whole u32 range",   C32, "00000000 ffffffff",                 CV_ERR_OK, { 0, UINT32_MAX } },
    { "last chunk of all", C32, "ffffffff ffffffff",                 CV_ERR_OK, { UINT32_MAX, UINT32_MAX } },
    { "backwards",         C32, "00000008 00000007",                 CV_ERR_MALFORMED, { 0, 0 } },
    { "short",             C32, "00000007 000000",                   CV_ERR_TRUNCATED, { 0, 0 } },
    { "nothing",           C32, "",                                  CV_ERR_TRUNCATED, { 0, 0 } },
    { "64 bit",            C64, "0000000100000000 ffffffffffffffff", CV_ERR_OK, { 1ull << 32, UINT64_MAX } },
    { "64 bit backwards",  C64, "0000000100000000 00000000ffffffff", CV_ERR_MALFORMED, { 0, 0 } },
    { "64 bit short",      C64, "0000000100000000 00000000ffffff",   CV_ERR_TRUNCATED, { 0, 0 } },
};
/* clang-format on */

Test(ppsp_message, chunk_specifications) {
    for (size_t i = 0; i < sizeof specs / sizeof *specs; i++) {
        uint8_t buf[64], out[64];
        size_t len = cv_test_unhex(specs[i].hex, buf, sizeof buf);
        struct ppsp_range got = {0xdead, 0xdead};
        struct cv_rd r = cv_rd_init(buf, len);
        enum cv_err err = ppsp_spec_read(&r, specs[i].method, &got);
        cr_expect_eq(err, specs[i].want, "%s: %s", specs[i].name, cv_strerror(err));
        if (err) {
            cr_expect_eq(got.first, 0xdead, "%s: result clobbered", specs[i].name);
            continue;
        }
        cr_expect_eq(got.first, specs[i].range.first, "%s", specs[i].name);
        cr_expect_eq(got.last, specs[i].range.last, "%s", specs[i].name);
        struct cv_wr w = cv_wr_init(out, sizeof out);
        ppsp_spec_write(&w, specs[i].method, &got);
        cr_expect_eq(cv_wr_done(&w), (ssize_t)len);
        cr_expect_arr_eq(out, buf, len, "%s: written differently", specs[i].name);
    }
}

Test(ppsp_message, addressing_methods_not_spoken) {
    cr_expect_eq(ppsp_spec_len(PPSP_ADDRESSING_BIN32), 0);
    cr_expect_eq(ppsp_spec_len(PPSP_ADDRESSING_BYTE64), 0);
    cr_expect_eq(ppsp_spec_len(PPSP_ADDRESSING_BIN64), 0);
    cr_expect_eq(ppsp_spec_len((enum ppsp_addressing)5), 0);
    cr_expect_eq(ppsp_spec_len((enum ppsp_addressing)255), 0);
}

/* RFC 7574 section 8.16: "Hello world!" in chunk 0. */
static const char data_hex[] = "01 00000000 00000000 0004e94180b7db44 48656c6c6f20776f726c6421";
static const char ack_hex[] = "02 00000000 00000000 0000000000000064"; /* of the same section */

Test(ppsp_message, R3_3_1_data_has_chunk_and_R8_6_2_timestamp) {
    uint8_t buf[64], out[64];
    size_t len = cv_test_unhex(data_hex, buf, sizeof buf);
    struct cv_rd r = cv_rd_init(buf + 1, len - 1);
    struct ppsp_data data;
    cr_assert_eq(ppsp_data_read(&r, C32, 1024, &data), CV_ERR_OK);
    cr_expect_eq(data.chunk, 0);
    cr_expect_eq(data.timestamp, 0x0004e94180b7db44);
    cr_expect_eq(data.len, 12);
    cr_expect_arr_eq(data.content, "Hello world!", 12);
    cr_expect_eq(cv_rd_left(&r), 0);
    struct cv_wr w = cv_wr_init(out, sizeof out);
    ppsp_data_write(&w, C32, &data);
    cr_assert_eq(cv_wr_done(&w), (ssize_t)len);
    cr_expect_arr_eq(out, buf, len);
}

/* clang-format off */
static const struct {
    const char *name, *hex;
    size_t chunk_size, want_len, want_left;
    enum cv_err want;
} datas[] = {
    { "whole chunk, more follows", "00000001 00000001 0000000000000001 aabbccdd 0a", 4, 4, 1, CV_ERR_OK },
    { "shorter than a chunk",      "00000001 00000001 0000000000000001 aabb",        4, 2, 0, CV_ERR_OK },
    { "no content",                "00000001 00000001 0000000000000001",             4, 0, 0, CV_ERR_TRUNCATED },
    { "two chunks in one",         "00000001 00000002 0000000000000001 aabbccdd",    4, 0, 0, CV_ERR_MALFORMED },
    { "timestamp cut",             "00000001 00000001 00000000000000",               4, 0, 0, CV_ERR_TRUNCATED },
};
/* clang-format on */

Test(ppsp_message, data_table) {
    for (size_t i = 0; i < sizeof datas / sizeof *datas; i++) {
        uint8_t buf[64];
        struct cv_rd r = cv_rd_init(buf, cv_test_unhex(datas[i].hex, buf, sizeof buf));
        struct ppsp_data data = {.chunk = 0xdead};
        enum cv_err err = ppsp_data_read(&r, C32, datas[i].chunk_size, &data);
        cr_expect_eq(err, datas[i].want, "%s: %s", datas[i].name, cv_strerror(err));
        if (err)
            cr_expect_eq(data.chunk, 0xdead, "%s: result clobbered", datas[i].name);
        else
            cr_expect(data.len == datas[i].want_len && cv_rd_left(&r) == datas[i].want_left, "%s",
                      datas[i].name);
    }
}

Test(ppsp_message, R3_4_2_and_R3_4_3_ack_has_chunks_and_delay) {
    uint8_t buf[64], out[64];
    size_t len = cv_test_unhex(ack_hex, buf, sizeof buf);
    struct cv_rd r = cv_rd_init(buf + 1, len - 1);
    struct ppsp_ack ack;
    cr_assert_eq(ppsp_ack_read(&r, C32, &ack), CV_ERR_OK);
    cr_expect(ack.chunks.first == 0 && ack.chunks.last == 0 && ack.delay == 100);
    struct cv_wr w = cv_wr_init(out, sizeof out);
    ppsp_ack_write(&w, C32, &ack);
    cr_assert_eq(cv_wr_done(&w), (ssize_t)len);
    cr_expect_arr_eq(out, buf, len);
}

Test(ppsp_message, R3_5_1_integrity_has_hash_and_node) {
    uint8_t buf[64], out[64];
    size_t len = cv_test_unhex("04 00000004 00000007 000102030405060708090a0b0c0d0e0f10111213", buf,
                               sizeof buf);
    struct cv_rd r = cv_rd_init(buf + 1, len - 1);
    struct ppsp_integrity_hash node;
    cr_assert_eq(ppsp_integrity_read(&r, C32, 20, &node), CV_ERR_OK);
    cr_expect(node.chunks.first == 4 && node.chunks.last == 7);
    cr_expect_eq(node.hash, buf + 9);
    struct cv_wr w = cv_wr_init(out, sizeof out);
    ppsp_integrity_write(&w, C32, 20, &node);
    cr_assert_eq(cv_wr_done(&w), (ssize_t)len);
    cr_expect_arr_eq(out, buf, len);
    cr_expect_eq(len, PPSP_INTEGRITY_LEN(C32, 20));
}

Test(ppsp_message, ranges_as_in_the_rfc) {
    static const struct {
        enum ppsp_message_type type;
        const char *hex;
    } rows[] = {
        {PPSP_MSG_HAVE, "03 00000002 00000005"},
        {PPSP_MSG_REQUEST, "08 00000002 00000005"},
        {PPSP_MSG_CANCEL, "09 00000002 00000005"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint8_t buf[16], out[16];
        size_t len = cv_test_unhex(rows[i].hex, buf, sizeof buf);
        struct cv_wr w = cv_wr_init(out, sizeof out);
        ppsp_range_write(&w, rows[i].type, C32, &(struct ppsp_range){2, 5});
        cr_expect_eq(cv_wr_done(&w), (ssize_t)len);
        cr_expect_arr_eq(out, buf, len);
    }
}

/* What is cut anywhere is refused, and writers never pass the end. */
Test(ppsp_message, every_shorter_buffer_is_refused) {
    uint8_t buf[64], out[64];
    struct ppsp_data data;
    struct ppsp_ack ack;
    struct ppsp_integrity_hash node;
    size_t len = cv_test_unhex(ack_hex, buf, sizeof buf);
    for (size_t cap = 0; cap < len - 1; cap++) {
        struct cv_rd r = cv_rd_init(buf + 1, cap);
        cr_expect_eq(ppsp_ack_read(&r, C32, &ack), CV_ERR_TRUNCATED, "ack %zu", cap);
        r = cv_rd_init(buf + 1, cap);
        cr_expect_eq(ppsp_integrity_read(&r, C32, 20, &node), CV_ERR_TRUNCATED, "hash %zu", cap);
        r = cv_rd_init(buf + 1, cap < 16 ? cap : 16);
        cr_expect_eq(ppsp_data_read(&r, C32, 4, &data), CV_ERR_TRUNCATED, "data %zu", cap);
    }
    for (size_t cap = 0; cap < len; cap++) {
        struct cv_wr w = cv_wr_init(out, cap);
        ppsp_ack_write(&w, C32, &(struct ppsp_ack){.chunks = {0, 0}});
        cr_expect_eq(cv_wr_done(&w), CV_ERR_NOBUFS);
    }
}

Test(ppsp_message, pex_is_read_over) {
    static const struct {
        enum ppsp_message_type type;
        size_t len;
    } rows[] = {{PPSP_MSG_PEX_REQ, 0},
                {PPSP_MSG_PEX_RESV4, 6},
                {PPSP_MSG_PEX_RESV6, 18},
                {PPSP_MSG_PEX_RESCERT, 2 + 3}};
    uint8_t buf[32] = {0, 3};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct cv_rd r = cv_rd_init(buf, rows[i].len);
        cr_expect_eq(ppsp_pex_skip(&r, rows[i].type), CV_ERR_OK, "type %d", rows[i].type);
        cr_expect_eq(cv_rd_left(&r), 0);
        if (rows[i].len == 0)
            continue;
        r = cv_rd_init(buf, rows[i].len - 1);
        cr_expect_eq(ppsp_pex_skip(&r, rows[i].type), CV_ERR_TRUNCATED, "type %d", rows[i].type);
    }
}
