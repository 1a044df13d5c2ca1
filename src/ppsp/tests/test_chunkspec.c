/* Chunk specifications: tables of octets, and every method against a naive reading. */
#include "support/suite.h"

#include <stdio.h>

#include "crypto/rng_seeded.h"
#include "ppsp/bin.h"
#include "ppsp/chunkspec.h"
#include "support/hex.h"

CV_SUITE(ppsp_chunkspec);

#define B32 PPSP_ADDRESSING_BIN32
#define B64 PPSP_ADDRESSING_BIN64
#define BY  PPSP_ADDRESSING_BYTE64
#define C32 PPSP_ADDRESSING_CHUNK32
#define C64 PPSP_ADDRESSING_CHUNK64

static const enum ppsp_addressing methods[] = {B32, BY, C32, B64, C64};
enum { METHODS = sizeof methods / sizeof *methods };

/* clang-format off */
static const struct {
    const char *name;
    enum ppsp_addressing method;
    uint64_t octets; /* of the content, in chunks of 1000 */
    const char *hex;
    enum cv_err want;
    struct ppsp_range range;
} specs[] = {
    { "one chunk",         C32, 0, "00000007 00000007",                 CV_ERR_OK, { 7, 7 } },
    { "whole u32 range",   C32, 0, "00000000 ffffffff",                 CV_ERR_OK, { 0, UINT32_MAX } },
    { "last chunk of all", C32, 0, "ffffffff ffffffff",                 CV_ERR_OK, { UINT32_MAX, UINT32_MAX } },
    { "backwards",         C32, 0, "00000008 00000007",                 CV_ERR_MALFORMED, { 0, 0 } },
    { "short",             C32, 0, "00000007 000000",                   CV_ERR_TRUNCATED, { 0, 0 } },
    { "nothing",           C32, 0, "",                                  CV_ERR_TRUNCATED, { 0, 0 } },
    { "64 bit",            C64, 0, "0000000100000000 ffffffffffffffff", CV_ERR_OK, { 1ull << 32, UINT64_MAX } },
    { "64 bit backwards",  C64, 0, "0000000100000000 00000000ffffffff", CV_ERR_MALFORMED, { 0, 0 } },
    { "64 bit short",      C64, 0, "0000000100000000 00000000ffffff",   CV_ERR_TRUNCATED, { 0, 0 } },
    /* RFC 7574 figure 2 and section 4.2 */
    { "leaf of chunk 1",   B32, 0, "00000002",                          CV_ERR_OK, { 1, 1 } },
    { "chunks 4 to 7",     B32, 0, "0000000b",                          CV_ERR_OK, { 4, 7 } },
    { "everything",        B32, 0, "7fffffff",                          CV_ERR_OK, { 0, INT32_MAX } },
    { "last leaf",         B32, 0, "fffffffe",                          CV_ERR_OK, { INT32_MAX, INT32_MAX } },
    { "no chunk",          B32, 0, "ffffffff",                          CV_ERR_NOENT, { 0, 0 } },
    { "bin cut",           B32, 0, "0000ff",                            CV_ERR_TRUNCATED, { 0, 0 } },
    { "chunks 4 to 7",     B64, 0, "000000000000000b",                  CV_ERR_OK, { 4, 7 } },
    { "high bin",          B64, 0, "00000000ffffffff",                  CV_ERR_OK, { 0, UINT32_MAX } },
    { "everything",        B64, 0, "7fffffffffffffff",                  CV_ERR_OK, { 0, INT64_MAX } },
    { "no chunk",          B64, 0, "ffffffffffffffff",                  CV_ERR_NOENT, { 0, 0 } },
    /* bytes */
    { "a chunk",           BY, 0,    "00000000000003e8 00000000000007cf", CV_ERR_OK, { 1, 1 } },
    { "two chunks",        BY, 0,    "0000000000000000 00000000000007cf", CV_ERR_OK, { 0, 1 } },
    { "whole content",     BY, 1500, "0000000000000000 00000000000005db", CV_ERR_OK, { 0, 1 } },
    { "end not known",     BY, 0,    "0000000000000000 00000000000005db", CV_ERR_OK, { 0, 1 } },
    { "ends in mid-chunk", BY, 1500, "0000000000000000 00000000000005da", CV_ERR_MALFORMED, { 0, 0 } },
    { "last chunk whole",  BY, 1500, "0000000000000000 00000000000007cf", CV_ERR_OK, { 0, 1 } },
    { "beyond the end",    BY, 1500, "0000000000000000 0000000000000bb7", CV_ERR_OK, { 0, 2 } },
    { "far beyond it",     BY, 1500, "00000000000003e8 00000002540be3ff", CV_ERR_OK, { 1, 9999999 } },
    { "behind the end",    BY, 1500, "00000000000007d0 0000000000000bb7", CV_ERR_OK, { 2, 2 } },
    { "begins inside one", BY, 0,    "0000000000000001 00000000000003e7", CV_ERR_MALFORMED, { 0, 0 } },
    { "all there is",      BY, 0,    "0000000000000000 ffffffffffffffff", CV_ERR_OK, { 0, UINT64_MAX / 1000 } },
    { "backwards",         BY, 0,    "0000000000000001 0000000000000000", CV_ERR_MALFORMED, { 0, 0 } },
};
/* clang-format on */

Test(ppsp_chunkspec, table) {
    for (size_t i = 0; i < sizeof specs / sizeof *specs; i++) {
        struct ppsp_chunkspec s = {specs[i].method, 1000, specs[i].octets};
        uint8_t buf[64], out[64];
        size_t len = cv_test_unhex(specs[i].hex, buf, sizeof buf);
        struct ppsp_range got = {0xdead, 0xdead};
        struct cv_rd r = cv_rd_init(buf, len);
        enum cv_err err = ppsp_spec_read(&r, &s, &got);
        cr_expect_eq(err, specs[i].want, "%s: %s", specs[i].name, cv_strerror(err));
        if (err) {
            cr_expect_eq(got.first, 0xdead, "%s: result clobbered", specs[i].name);
            continue;
        }
        cr_expect_eq(got.first, specs[i].range.first, "%s", specs[i].name);
        cr_expect_eq(got.last, specs[i].range.last, "%s", specs[i].name);
        struct ppsp_range again;
        struct cv_wr w = cv_wr_init(out, sizeof out);
        ppsp_spec_write(&w, &s, &got);
        cr_expect_eq(cv_wr_done(&w), (ssize_t)len);
        r = cv_rd_init(out, len);
        cr_assert_eq(ppsp_spec_read(&r, &s, &again), CV_ERR_OK, "%s: again", specs[i].name);
        cr_expect(again.first == got.first && again.last == got.last,
                  "%s: read again it is %lu..%lu", specs[i].name, again.first, again.last);
        /* In bytes, the last chunk ends with the content when we know where. */
        if (s.method != BY || (s.octets && got.last != s.octets / 1000))
            cr_expect_arr_eq(out, buf, len, "%s: written differently", specs[i].name);
    }
}

Test(ppsp_chunkspec, R4_1_1_R7_8_2_every_method_and_no_other) {
    static const size_t lens[] = {4, 16, 8, 8, 16};
    for (unsigned m = 0; m < 256; m++)
        cr_expect_eq(ppsp_spec_len((enum ppsp_addressing)m), m < METHODS ? lens[m] : 0, "%u", m);
}

Test(ppsp_chunkspec, R5_4_3_a_node_is_named_with_its_padding) {
    /* 7 chunks of 1000, the last of 1: node 13 is chunks 6..7, node 14 padding. */
    static const char *const want13[] = {"0000000d", "0000000000001770 0000000000001f3f",
                                         "00000006 00000007", "000000000000000d",
                                         "0000000000000006 0000000000000007"};
    for (unsigned m = 0; m < METHODS; m++) {
        struct ppsp_chunkspec s = {methods[m], 1000, 6001};
        uint8_t out[16], want[16];
        struct cv_wr w = cv_wr_init(out, sizeof out);
        ppsp_spec_write_node(&w, &s, &(struct ppsp_range){6, 7});
        size_t len = cv_test_unhex(want13[m], want, sizeof want);
        cr_assert_eq(cv_wr_done(&w), (ssize_t)len);
        cr_expect_arr_eq(out, want, len, "method %u", m);
    }
}

/* ---- against a naive version: chunk by chunk ----------------------------------- */

static bool naive_node(uint64_t first, uint64_t last) {
    for (uint64_t width = 1; width && width <= last - first + 1; width *= 2)
        if (width == last - first + 1)
            return first % width == 0;
    return false;
}

/* Whether one specification can name first..last. */
static bool naive_one(enum ppsp_addressing m, uint64_t first, uint64_t last) {
    return (m != B32 && m != B64) || naive_node(first, last);
}

Test(ppsp_chunkspec, parts_as_a_naive_search_finds_them) {
    for (unsigned m = 0; m < METHODS; m++) {
        struct ppsp_chunkspec s = {methods[m], 1000, 0};
        for (uint64_t a = 0; a < 20; a++)
            for (uint64_t b = a; b < 40; b++) {
                struct ppsp_range range = {a, b};
                uint64_t best = a;
                for (uint64_t z = a; z <= b; z++)
                    if (naive_one(methods[m], a, z))
                        best = z;
                struct ppsp_range head = ppsp_spec_head(&s, &range);
                cr_assert(head.first == a && head.last == best, "%u: %lu..%lu", m, a, b);
                for (uint64_t c = a; c <= b; c++) {
                    struct ppsp_range found = {c, c};
                    for (uint64_t y = a; y <= c; y++)
                        for (uint64_t z = c; z <= b; z++)
                            if (naive_one(methods[m], y, z) && z - y > found.last - found.first)
                                found = (struct ppsp_range){y, z};
                    struct ppsp_range around = ppsp_spec_around(&s, &range, c);
                    cr_assert(around.first == found.first && around.last == found.last,
                              "%u: %lu in %lu..%lu", m, c, a, b);
                }
            }
    }
}

/* Written part by part and read again, a range is what it was: up to 2^63. */
Test(ppsp_chunkspec, parts_make_the_whole) {
    struct cv_rng_seeded dice;
    cv_rng_seeded_init(&dice, 7);
    struct cv_rng rng = cv_rng_seeded(&dice);
    for (unsigned i = 0; i < 20000; i++) {
        struct ppsp_chunkspec s = {methods[i % METHODS], 1 + (uint32_t)cv_rng_below(&rng, 65000),
                                   0};
        uint64_t top = s.method == BY    ? UINT64_MAX / s.chunk_size - 1
                       : s.method == C64 ? UINT64_MAX
                       : s.method == B64 ? INT64_MAX
                                         : ppsp_spec_chunks_max(&s) - 1;
        uint64_t a = cv_rng_u64(&rng) >> cv_rng_below(&rng, 64);
        uint64_t b = a + (cv_rng_u64(&rng) >> cv_rng_below(&rng, 64));
        a = a > top ? top : a;
        b = b > top || b < a ? top : b;
        struct ppsp_range rest = {a, b};
        uint64_t next = a;
        for (unsigned parts = 0;; parts++) {
            struct ppsp_range part = ppsp_spec_head(&s, &rest), got;
            uint8_t buf[16];
            struct cv_wr w = cv_wr_init(buf, sizeof buf);
            ppsp_spec_write(&w, &s, &part);
            cr_assert_eq(cv_wr_done(&w), (ssize_t)ppsp_spec_len(s.method));
            struct cv_rd r = cv_rd_init(buf, cv_wr_len(&w));
            cr_assert_eq(ppsp_spec_read(&r, &s, &got), CV_ERR_OK);
            cr_assert(got.first == next && got.first == part.first && got.last == part.last);
            cr_assert_lt(parts, 128);
            if (got.last == b)
                break;
            next = rest.first = got.last + 1;
        }
    }
}
