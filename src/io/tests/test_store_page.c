/* The pages of a store's `have` file: identity, and that no single changed
 * octet goes unnoticed. */
#include "support/suite.h"

#include <string.h>

#include "crypto/rng_seeded.h"
#include "io/store_page.h"

CV_SUITE(io_store_page);

static struct io_store_header example(void) {
    struct io_store_header h = {.sequence = 7,
                                .chunks = 10,
                                .octets = 9 * 1024 + 1,
                                .chunk_size = 1024,
                                .alg = CV_SHA256,
                                .shared = true,
                                .file_octets = 9 * 1024 + 1,
                                .file_mtime_ns = -5};
    memset(h.id, 3, sizeof h.id);
    memset(h.root, 9, 32);
    return h;
}

Test(io_store_page, header_is_read_as_it_was_written) {
    uint8_t page[IO_PAGE];
    struct io_store_header h = example(), got;
    memset(&got, 0, sizeof got);
    cr_expect_eq(io_page_write_header(page, &h), 1);
    cr_assert_eq(io_page_read_header(page, 1, &got), CV_ERR_OK);
    cr_expect_eq(got.sequence, h.sequence);
    cr_expect_eq(got.chunks, h.chunks);
    cr_expect_eq(got.octets, h.octets);
    cr_expect_eq(got.chunk_size, h.chunk_size);
    cr_expect_eq(got.alg, h.alg);
    cr_expect_eq(got.shared, h.shared);
    cr_expect_eq(got.file_octets, h.file_octets);
    cr_expect_eq(got.file_mtime_ns, h.file_mtime_ns);
    cr_expect_arr_eq(got.id, h.id, sizeof h.id);
    cr_expect_arr_eq(got.root, h.root, sizeof h.root);
}

Test(io_store_page, every_changed_octet_is_noticed) {
    uint8_t page[IO_PAGE], bits[IO_PAGE];
    struct io_store_header h = example(), got = {.sequence = 99};
    uint64_t words[2] = {0xff, 0}, back[2] = {0, 0};
    io_page_write_header(page, &h);
    io_page_write_bits(bits, h.id, 0, words, 100);
    for (size_t i = 0; i < IO_PAGE; i++) {
        page[i] ^= 0x10;
        cr_assert_neq(io_page_read_header(page, 1, &got), CV_ERR_OK, "octet %zu", i);
        page[i] ^= 0x10;
        bits[i] ^= 0x10;
        cr_assert_eq(io_page_read_bits(bits, h.id, 0, back, 100), CV_ERR_CORRUPT, "octet %zu", i);
        bits[i] ^= 0x10;
    }
    cr_expect_eq(got.sequence, 99);
    cr_expect_eq(back[0], 0);
    cr_expect_eq(io_page_read_header(page, 0, &got), CV_ERR_CORRUPT, "the other slot");
    cr_expect_eq(io_page_read_bits(bits, h.id, 1, back, 100), CV_ERR_CORRUPT, "another page");
    h.id[0] ^= 1;
    cr_expect_eq(io_page_read_bits(bits, h.id, 0, back, 100), CV_ERR_CORRUPT, "other content");
}

/* clang-format off */
static const struct {
    const char *name;
    uint64_t chunks, octets;
    uint32_t chunk_size, alg;
    bool shared;
    enum cv_err want;
} headers[] = {
    {"size not known",      0, 0,     1024, CV_SHA1,   false, CV_ERR_OK},
    {"length not known",    3, 0,     1024, CV_SHA512, false, CV_ERR_OK},
    {"one octet",           1, 1,     1024, CV_SHA256, false, CV_ERR_OK},
    {"full last chunk",     3, 3072,  1024, CV_SHA256, false, CV_ERR_OK},
    {"too many octets",     3, 3073,  1024, CV_SHA256, false, CV_ERR_CORRUPT},
    {"too few octets",      3, 2048,  1024, CV_SHA256, false, CV_ERR_CORRUPT},
    {"no chunk size",       3, 0,     0,    CV_SHA256, false, CV_ERR_CORRUPT},
    {"unknown hash",        3, 0,     1024, 77,        false, CV_ERR_CORRUPT},
    {"too many chunks",     UINT64_C(1) << 33, 0, 1024, CV_SHA256, false, CV_ERR_CORRUPT},
    {"shared, of no size",  3, 0,     1024, CV_SHA256, true,  CV_ERR_CORRUPT},
};
/* clang-format on */

Test(io_store_page, header_table) {
    for (size_t i = 0; i < sizeof headers / sizeof *headers; i++) {
        uint8_t page[IO_PAGE];
        struct io_store_header got;
        struct io_store_header h = {.chunks = headers[i].chunks,
                                    .octets = headers[i].octets,
                                    .chunk_size = headers[i].chunk_size,
                                    .alg = headers[i].alg,
                                    .shared = headers[i].shared,
                                    .file_octets = headers[i].octets};
        unsigned number = io_page_write_header(page, &h);
        cr_expect_eq(io_page_read_header(page, number, &got), headers[i].want, "%s",
                     headers[i].name);
    }
}

Test(io_store_page, random_bitmaps_come_back) {
    struct cv_rng_seeded state;
    cv_rng_seeded_init(&state, 11);
    struct cv_rng dice = cv_rng_seeded(&state);
    for (int round = 0; round < 300; round++) {
        uint64_t chunks = cv_rng_between(&dice, 1, 3 * IO_PAGE_CHUNKS);
        uint64_t words[3 * IO_PAGE_CHUNKS / 64 + 1] = {0}, back[3 * IO_PAGE_CHUNKS / 64 + 1] = {0};
        uint8_t id[IO_STORE_ID] = {1}, page[IO_PAGE];
        for (uint64_t i = 0; i < chunks; i++)
            words[i >> 6] |= (uint64_t)(cv_rng_u32(&dice) & 1) << (i & 63);
        for (uint64_t i = 0; i < io_page_count(chunks); i++) {
            io_page_write_bits(page, id, i, words, chunks);
            cr_assert_eq(io_page_read_bits(page, id, i, back, chunks), CV_ERR_OK);
        }
        cr_assert_arr_eq(words, back, sizeof words, "chunks=%lu", (unsigned long)chunks);
    }
}

Test(io_store_page, bits_behind_the_end_are_not_believed) {
    uint64_t words[2] = {UINT64_MAX, UINT64_MAX}, back[2] = {0, 0};
    uint8_t id[IO_STORE_ID] = {1}, page[IO_PAGE];
    io_page_write_bits(page, id, 0, words, 128);
    cr_assert_eq(io_page_read_bits(page, id, 0, back, 70), CV_ERR_OK);
    cr_expect_eq(back[0], UINT64_MAX);
    cr_expect_eq(back[1], 0x3f);
}
