/* Every message: tables of octets, the whole result, and what must be refused. */
#include "support/suite.h"

#include <stdio.h>

#include "ppsp/message.h"
#include "support/hex.h"
#include "support/vectors.h"

CV_SUITE(ppsp_message);

static const struct ppsp_chunkspec c32 = {PPSP_ADDRESSING_CHUNK32, 1024, 0};

/* A datagram of the example of section 8.16, or what stands in 8.14. */
static size_t example(const char *section, const char *label, uint8_t *out, size_t cap) {
    return cv_test_vector(CV_VECTORS "/ppsp.hex", section, label, 0, out, cap);
}

/* The message behind its channel number; of the datagram with ACK only that, a HAVE follows. */
static size_t example_message(const char *label, uint8_t out[64]) {
    uint8_t all[64];
    size_t len = example("RFC 7574 section 8.16", label, all, sizeof all);
    cr_assert_gt(len, 4 + 17);
    len = strcmp(label, "ack") == 0 ? 17 : len - 4;
    memcpy(out, all + 4, len);
    return len;
}

Test(ppsp_message, datagrams_of_section_8_16_are_written_as_there) {
    static const struct ppsp_range zero = {0, 0};
    static const char *const labels[] = {"request", "data", "ack", "close", "keepalive"};
    for (size_t i = 0; i < sizeof labels / sizeof *labels; i++) {
        uint8_t want[64], out[64];
        struct cv_wr w = cv_wr_init(out, sizeof out);
        size_t len = example(i == 4 ? "RFC 7574 section 8.14" : "RFC 7574 section 8.16", labels[i],
                             want, sizeof want);
        cv_wr_be32(&w, i == 1 ? 1 : 8);
        if (i == 0) {
            ppsp_range_write(&w, PPSP_MSG_REQUEST, &c32, &zero);
            ppsp_bare_write(&w, PPSP_MSG_PEX_REQ);
        } else if (i == 1) {
            ppsp_data_write(
                &w, &c32,
                &(struct ppsp_data){0, 0x0004e94180b7db44, (const uint8_t *)"Hello world!", 12});
        } else if (i == 2) {
            ppsp_ack_write(&w, &c32, &(struct ppsp_ack){zero, 100});
            ppsp_range_write(&w, PPSP_MSG_HAVE, &c32, &zero);
        } else if (i == 3) {
            ppsp_handshake_close(&w);
        }
        cr_assert_eq(cv_wr_done(&w), (ssize_t)len, "%s", labels[i]);
        cr_expect_arr_eq(out, want, len, "%s", labels[i]);
    }
}

Test(ppsp_message, R3_3_1_data_has_chunk_and_R8_6_2_timestamp) {
    uint8_t buf[64], out[64];
    size_t len = example_message("data", buf);
    struct cv_rd r = cv_rd_init(buf + 1, len - 1);
    struct ppsp_data data;
    cr_assert_eq(ppsp_data_read(&r, &c32, &data), CV_ERR_OK);
    cr_expect_eq(data.chunk, 0);
    cr_expect_eq(data.timestamp, 0x0004e94180b7db44);
    cr_expect_eq(data.len, 12);
    cr_expect_arr_eq(data.content, "Hello world!", 12);
    cr_expect_eq(cv_rd_left(&r), 0);
    struct cv_wr w = cv_wr_init(out, sizeof out);
    ppsp_data_write(&w, &c32, &data);
    cr_assert_eq(cv_wr_done(&w), (ssize_t)len);
    cr_expect_arr_eq(out, buf, len);
}

/* clang-format off */
static const struct {
    const char *name, *hex;
    uint32_t chunk_size;
    size_t want_len, want_left;
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
        struct ppsp_chunkspec spec = {PPSP_ADDRESSING_CHUNK32, datas[i].chunk_size, 0};
        enum cv_err err = ppsp_data_read(&r, &spec, &data);
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
    size_t len = example_message("ack", buf);
    struct cv_rd r = cv_rd_init(buf + 1, len - 1);
    struct ppsp_ack ack;
    cr_assert_eq(ppsp_ack_read(&r, &c32, &ack), CV_ERR_OK);
    cr_expect(ack.chunks.first == 0 && ack.chunks.last == 0 && ack.delay == 100);
    struct cv_wr w = cv_wr_init(out, sizeof out);
    ppsp_ack_write(&w, &c32, &ack);
    cr_assert_eq(cv_wr_done(&w), (ssize_t)len);
    cr_expect_arr_eq(out, buf, len);
}

Test(ppsp_message, R3_5_1_integrity_has_hash_and_node) {
    uint8_t buf[64], out[64];
    size_t len = cv_test_unhex("04 00000004 00000007 000102030405060708090a0b0c0d0e0f10111213", buf,
                               sizeof buf);
    struct cv_rd r = cv_rd_init(buf + 1, len - 1);
    struct ppsp_integrity_hash node;
    cr_assert_eq(ppsp_integrity_read(&r, &c32, 20, &node), CV_ERR_OK);
    cr_expect(node.chunks.first == 4 && node.chunks.last == 7);
    cr_expect_eq(node.hash, buf + 9);
    struct cv_wr w = cv_wr_init(out, sizeof out);
    ppsp_integrity_write(&w, &c32, 20, &node);
    cr_assert_eq(cv_wr_done(&w), (ssize_t)len);
    cr_expect_arr_eq(out, buf, len);
    cr_expect_eq(len, PPSP_INTEGRITY_LEN(PPSP_ADDRESSING_CHUNK32, 20));
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
        ppsp_range_write(&w, rows[i].type, &c32, &(struct ppsp_range){2, 5});
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
    struct ppsp_chunkspec small = {PPSP_ADDRESSING_CHUNK32, 4, 0};
    size_t len = example_message("ack", buf);
    for (size_t cap = 0; cap < len - 1; cap++) {
        struct cv_rd r = cv_rd_init(buf + 1, cap);
        cr_expect_eq(ppsp_ack_read(&r, &c32, &ack), CV_ERR_TRUNCATED, "ack %zu", cap);
        r = cv_rd_init(buf + 1, cap);
        cr_expect_eq(ppsp_integrity_read(&r, &c32, 20, &node), CV_ERR_TRUNCATED, "hash %zu", cap);
        r = cv_rd_init(buf + 1, cap < 16 ? cap : 16);
        cr_expect_eq(ppsp_data_read(&r, &small, &data), CV_ERR_TRUNCATED, "data %zu", cap);
    }
    for (size_t cap = 0; cap < len; cap++) {
        struct cv_wr w = cv_wr_init(out, cap);
        ppsp_ack_write(&w, &c32, &(struct ppsp_ack){.chunks = {0, 0}});
        cr_expect_eq(cv_wr_done(&w), CV_ERR_NOBUFS);
    }
}

Test(ppsp_message, peer_addresses_of_both_families) {
    static const struct {
        enum ppsp_message_type type;
        const char *hex;
        struct cv_addr addr;
    } rows[] = {
        {PPSP_MSG_PEX_RESV4, "05 c0000201 1e61", {{192, 0, 2, 1}, 7777, 4, 0}},
        {PPSP_MSG_PEX_RESV6,
         "0c 20010db8000000000000000000000001 0050",
         {{0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}, 80, 6, 0}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint8_t buf[32], out[32];
        size_t len = cv_test_unhex(rows[i].hex, buf, sizeof buf);
        struct cv_rd r = cv_rd_init(buf + 1, len - 1);
        struct cv_addr got = {.family = 99};
        cr_assert_eq(ppsp_pex_read(&r, rows[i].type, &got), CV_ERR_OK);
        cr_expect(cv_addr_equal(&got, &rows[i].addr), "row %zu", i);
        cr_expect_eq(cv_rd_left(&r), 0);
        struct cv_wr w = cv_wr_init(out, sizeof out);
        ppsp_pex_write(&w, &got);
        cr_assert_eq(cv_wr_done(&w), (ssize_t)len);
        cr_expect_arr_eq(out, buf, len);
        got.family = 99;
        r = cv_rd_init(buf + 1, len - 2);
        cr_expect_eq(ppsp_pex_read(&r, rows[i].type, &got), CV_ERR_TRUNCATED);
        cr_expect_eq(got.family, 99, "result clobbered");
    }
}

Test(ppsp_message, peer_certificates) {
    uint8_t buf[16], out[16];
    size_t len = cv_test_unhex("0d 0003 308201", buf, sizeof buf);
    struct ppsp_pex_cert cert = {0};
    struct cv_rd r = cv_rd_init(buf + 1, len - 1);
    cr_assert_eq(ppsp_pex_cert_read(&r, &cert), CV_ERR_OK);
    cr_expect_eq(cert.len, 3);
    cr_expect_eq(cert.der, buf + 3);
    struct cv_wr w = cv_wr_init(out, sizeof out);
    ppsp_pex_cert_write(&w, &cert);
    cr_assert_eq(cv_wr_done(&w), (ssize_t)len);
    cr_expect_arr_eq(out, buf, len);
    r = cv_rd_init(buf + 1, len - 2);
    cr_expect_eq(ppsp_pex_cert_read(&r, &cert), CV_ERR_TRUNCATED);
}

Test(ppsp_message, bodies_of_nothing_and_the_closing_handshake) {
    uint8_t out[16];
    struct cv_wr w = cv_wr_init(out, sizeof out);
    ppsp_bare_write(&w, PPSP_MSG_PEX_REQ);
    ppsp_bare_write(&w, PPSP_MSG_CHOKE);
    ppsp_bare_write(&w, PPSP_MSG_UNCHOKE);
    ppsp_handshake_close(&w); /* as in section 8.16 */
    cr_assert_eq(cv_wr_done(&w), 9);
    cr_expect_arr_eq(out, ((uint8_t[]){6, 10, 11, 0, 0, 0, 0, 0, 0xff}), 9);
}

/* The same messages in every addressing method: chunks 4..7 of chunks of 4 octets. */
Test(ppsp_message, every_message_in_every_addressing_method) {
    static const struct {
        enum ppsp_addressing method;
        const char *spec, *leaf;
    } rows[] = {
        {PPSP_ADDRESSING_BIN32, "0000000b", "0000000c"},
        {PPSP_ADDRESSING_BYTE64, "0000000000000010 000000000000001f",
         "0000000000000018 000000000000001b"},
        {PPSP_ADDRESSING_CHUNK32, "00000004 00000007", "00000006 00000006"},
        {PPSP_ADDRESSING_BIN64, "000000000000000b", "000000000000000c"},
        {PPSP_ADDRESSING_CHUNK64, "0000000000000004 0000000000000007",
         "0000000000000006 0000000000000006"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct ppsp_chunkspec spec = {rows[i].method, 4, 0};
        struct ppsp_range four = {4, 7};
        uint8_t hash[20] = {9}, out[256], want[256];
        struct cv_wr w = cv_wr_init(out, sizeof out);
        cr_expect(ppsp_ranges_write(&w, PPSP_MSG_HAVE, &spec, &four, 0));
        ppsp_integrity_write(&w, &spec, 20, &(struct ppsp_integrity_hash){{4, 7}, hash});
        ppsp_ack_write(&w, &spec, &(struct ppsp_ack){{4, 7}, 5});
        ppsp_data_write(&w, &spec, &(struct ppsp_data){6, 1, (const uint8_t *)"abcd", 4});
        char hex[512];
        snprintf(hex, sizeof hex,
                 "03 %s 04 %s 0900000000000000000000000000000000000000 02 %s 0000000000000005 "
                 "01 %s 0000000000000001 61626364",
                 rows[i].spec, rows[i].spec, rows[i].spec, rows[i].leaf);
        size_t len = cv_test_unhex(hex, want, sizeof want);
        cr_assert_eq(cv_wr_done(&w), (ssize_t)len, "row %zu", i);
        cr_expect_arr_eq(out, want, len, "row %zu", i);
        struct cv_rd r = cv_rd_init(out, len);
        struct ppsp_range range;
        struct ppsp_integrity_hash node;
        struct ppsp_ack ack;
        struct ppsp_data data;
        cr_expect(cv_rd_u8(&r) == 3 && !ppsp_spec_read(&r, &spec, &range) && range.last == 7);
        cr_expect(cv_rd_u8(&r) == 4 && !ppsp_integrity_read(&r, &spec, 20, &node) &&
                  node.chunks.first == 4 && node.chunks.last == 7);
        cr_expect(cv_rd_u8(&r) == 2 && !ppsp_ack_read(&r, &spec, &ack) && ack.delay == 5);
        cr_expect(cv_rd_u8(&r) == 1 && !ppsp_data_read(&r, &spec, &data) && data.chunk == 6 &&
                  data.len == 4);
        cr_expect_eq(cv_rd_left(&r), 0);
    }
}

/* A byte range says itself how long a chunk is. */
Test(ppsp_message, data_of_a_byte_range) {
    /* clang-format off */
    static const struct {
        const char *name, *hex;
        enum cv_err want;
        size_t len;
    } cases[] = {
        { "short chunk, more follows", "0000000000000008 0000000000000009 0000000000000001 aabb0a", CV_ERR_OK, 2 },
        { "whole chunk",               "0000000000000008 000000000000000b 0000000000000001 aabbccdd", CV_ERR_OK, 4 },
        { "less than it says",         "0000000000000008 000000000000000b 0000000000000001 aabb", CV_ERR_TRUNCATED, 0 },
        { "more than a chunk",         "0000000000000008 000000000000000c 0000000000000001 aabbccddee", CV_ERR_MALFORMED, 0 },
        { "not where a chunk begins",  "0000000000000009 000000000000000b 0000000000000001 aabbcc", CV_ERR_MALFORMED, 0 },
        { "whole numbers' whole way",  "0000000000000000 ffffffffffffffff 0000000000000001 aabbcc", CV_ERR_MALFORMED, 0 },
        { "backwards",                 "0000000000000008 0000000000000007 0000000000000001 aa", CV_ERR_MALFORMED, 0 },
    };
    /* clang-format on */
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct ppsp_chunkspec spec = {PPSP_ADDRESSING_BYTE64, 4, 0};
        uint8_t buf[64];
        struct cv_rd r = cv_rd_init(buf, cv_test_unhex(cases[i].hex, buf, sizeof buf));
        struct ppsp_data data = {.chunk = 0xdead};
        cr_expect_eq(ppsp_data_read(&r, &spec, &data), cases[i].want, "%s", cases[i].name);
        if (cases[i].want)
            cr_expect_eq(data.chunk, 0xdead, "%s: result clobbered", cases[i].name);
        else
            cr_expect(data.chunk == 2 && data.len == cases[i].len, "%s", cases[i].name);
    }
}
