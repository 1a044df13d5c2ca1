/*
 * The octets of a store's `have` file: pages of 512 octets, each ending in a
 * checksum over its number and content. A sector is written whole or not at
 * all, so a torn write costs one page, never the file.
 *
 *   pages 0 and 1   the header, written in turn: the valid one with the higher
 *                   sequence counts
 *   pages 2..       the verified bitmap, 3968 chunks a page; a page of zeros
 *                   (a hole in the file) is an empty one
 *
 * All integers are little-endian. Pure functions; no file is touched here.
 */
#ifndef CULVERT_IO_STORE_PAGE_H
#define CULVERT_IO_STORE_PAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "crypto/hash.h"

enum {
    IO_PAGE = 512,
    IO_PAGE_CHECK = 16,
    IO_PAGE_BODY = IO_PAGE - IO_PAGE_CHECK,
    IO_PAGE_CHUNKS = IO_PAGE_BODY * 8,
    IO_PAGE_FIRST = 2, /* of the bitmap */
    IO_STORE_ID = 32,
    IO_STORE_VERSION = 2, /* 1: a whole tree by bin number */
    IO_GROUP_CHUNKS = 16, /* see store_tree.h; a page has whole groups */
};

struct io_store_header {
    uint64_t sequence;
    uint64_t chunks, octets; /* as struct ppsp_store_size */
    uint32_t chunk_size;
    uint32_t alg; /* enum cv_sha */
    bool shared;  /* the whole content is a file of the user's */
    bool pinned;  /* never evicted from the cache */
    uint8_t id[IO_STORE_ID];
    uint64_t file_octets; /* shared: the file as it was when it was hashed */
    int64_t file_mtime_ns;
    uint8_t root[CV_SHA_MAX]; /* shared: what hashing it gave; zero-padded */
};

/* Writes the page that `sequence` selects (0 or 1); returns its number. */
unsigned io_page_write_header(uint8_t page[IO_PAGE], const struct io_store_header *h);

/* CORRUPT: not a header, or damaged; VERSION: written by another program;
 * *ret is untouched then. */
enum cv_err io_page_read_header(const uint8_t page[IO_PAGE], unsigned number,
                                struct io_store_header *ret);

/* Bitmap page `index` (0, 1, ...) of the chunks index*3968..: bit i & 63 of
 * words[i >> 6] is chunk i of `chunks`. */
void io_page_write_bits(uint8_t page[IO_PAGE], const uint8_t id[IO_STORE_ID], uint64_t index,
                        const uint64_t *words, uint64_t chunks);

/* Sets the bits of a page in `words`, none beyond `chunks`. CORRUPT, and
 * nothing set, when its checksum is wrong. */
enum cv_err io_page_read_bits(const uint8_t page[IO_PAGE], const uint8_t id[IO_STORE_ID],
                              uint64_t index, uint64_t *words, uint64_t chunks);

/* Gives a page the checksum of its number and content; for whoever makes pages
 * by hand (the functions above do it themselves). */
void io_page_sign(uint8_t page[IO_PAGE], const uint8_t id[IO_STORE_ID], uint64_t number);

static inline uint64_t io_page_count(uint64_t chunks) {
    return (chunks + IO_PAGE_CHUNKS - 1) / IO_PAGE_CHUNKS;
}

#endif
