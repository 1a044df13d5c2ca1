#include "io/store_page.h"

#include <assert.h>
#include <string.h>

#include "io/limits.h"

static const uint8_t magic[8] = {'C', 'V', 'S', 'T', 'O', 'R', 'E', '\n'};

/* Where the fields of a header lie. */
enum {
    AT_MAGIC = 0,
    AT_VERSION = 8,
    AT_CHUNK_SIZE = 12,
    AT_ALG = 16,
    AT_FLAGS = 20,
    AT_SEQUENCE = 24,
    AT_CHUNKS = 32,
    AT_OCTETS = 40,
    AT_ID = 48,
    AT_FILE_OCTETS = 80,
    AT_FILE_MTIME = 88,
    AT_ROOT = 96,
    FLAG_SHARED = 1,
    FLAG_PINNED = 2,
};

static_assert(AT_ROOT + CV_SHA_MAX <= IO_PAGE_BODY, "the header fits its page");
static_assert(IO_PAGE_CHUNKS % 64 == 0, "pages begin at whole words");
static_assert(IO_PAGE_CHUNKS % IO_GROUP_CHUNKS == 0, "the bits of a group are never torn");

static void put(uint8_t *at, uint64_t v, size_t n) {
    for (size_t i = 0; i < n; i++, v >>= 8)
        at[i] = (uint8_t)v;
}

static uint64_t get(const uint8_t *at, size_t n) {
    uint64_t v = 0;
    for (size_t i = n; i-- > 0;)
        v = v << 8 | at[i];
    return v;
}

/* The number is part of it: a page that was written elsewhere is damaged. */
static void checksum(uint8_t out[IO_PAGE_CHECK], const uint8_t *page, const uint8_t *id,
                     uint64_t number) {
    uint8_t n[8];
    put(n, number, sizeof n);
    CV_BLAKE2B(out, IO_PAGE_CHECK, NULL, 0, {"culvert store page", 18}, {n, sizeof n},
               {id, IO_STORE_ID}, {page, IO_PAGE_BODY});
}

static bool intact(const uint8_t *page, const uint8_t *id, uint64_t number) {
    uint8_t want[IO_PAGE_CHECK];
    checksum(want, page, id, number);
    return memcmp(want, page + IO_PAGE_BODY, IO_PAGE_CHECK) == 0;
}

void io_page_sign(uint8_t page[IO_PAGE], const uint8_t id[IO_STORE_ID], uint64_t number) {
    checksum(page + IO_PAGE_BODY, page, id, number);
}

unsigned io_page_write_header(uint8_t page[IO_PAGE], const struct io_store_header *h) {
    unsigned number = (unsigned)(h->sequence & 1);
    memset(page, 0, IO_PAGE);
    memcpy(page + AT_MAGIC, magic, sizeof magic);
    put(page + AT_VERSION, IO_STORE_VERSION, 4);
    put(page + AT_CHUNK_SIZE, h->chunk_size, 4);
    put(page + AT_ALG, h->alg, 4);
    put(page + AT_FLAGS, (h->shared ? FLAG_SHARED : 0u) | (h->pinned ? FLAG_PINNED : 0u), 4);
    put(page + AT_SEQUENCE, h->sequence, 8);
    put(page + AT_CHUNKS, h->chunks, 8);
    put(page + AT_OCTETS, h->octets, 8);
    memcpy(page + AT_ID, h->id, IO_STORE_ID);
    put(page + AT_FILE_OCTETS, h->file_octets, 8);
    put(page + AT_FILE_MTIME, (uint64_t)h->file_mtime_ns, 8);
    memcpy(page + AT_ROOT, h->root, CV_SHA_MAX);
    io_page_sign(page, h->id, number);
    return number;
}

static bool sensible(const struct io_store_header *h) {
    if (h->chunk_size == 0 || h->chunk_size > IO_CHUNK_MAX || cv_sha_len((enum cv_sha)h->alg) == 0)
        return false;
    if (h->chunks > IO_STORE_CHUNKS_MAX || h->octets > h->chunks * h->chunk_size)
        return false;
    if (h->octets > 0 && h->octets <= (h->chunks - 1) * h->chunk_size)
        return false;
    return !h->shared || (h->octets > 0 && h->octets == h->file_octets);
}

enum cv_err io_page_read_header(const uint8_t page[IO_PAGE], unsigned number,
                                struct io_store_header *ret) {
    struct io_store_header h = {.sequence = get(page + AT_SEQUENCE, 8),
                                .chunks = get(page + AT_CHUNKS, 8),
                                .octets = get(page + AT_OCTETS, 8),
                                .chunk_size = (uint32_t)get(page + AT_CHUNK_SIZE, 4),
                                .alg = (uint32_t)get(page + AT_ALG, 4),
                                .shared = get(page + AT_FLAGS, 4) & FLAG_SHARED,
                                .pinned = get(page + AT_FLAGS, 4) & FLAG_PINNED,
                                .file_octets = get(page + AT_FILE_OCTETS, 8),
                                .file_mtime_ns = (int64_t)get(page + AT_FILE_MTIME, 8)};
    memcpy(h.id, page + AT_ID, IO_STORE_ID);
    memcpy(h.root, page + AT_ROOT, CV_SHA_MAX);

    if (memcmp(page + AT_MAGIC, magic, sizeof magic) != 0 || !intact(page, h.id, number) ||
        (h.sequence & 1) != number)
        return CV_ERR_CORRUPT;
    if (get(page + AT_VERSION, 4) != IO_STORE_VERSION)
        return CV_ERR_VERSION;
    if (!sensible(&h))
        return CV_ERR_CORRUPT;
    *ret = h;
    return CV_ERR_OK;
}

/* Words of page `index` that exist when there are `chunks`; 0 behind the end. */
static size_t words_in(uint64_t index, uint64_t chunks) {
    uint64_t first = index * IO_PAGE_CHUNKS;
    uint64_t left = chunks > first ? chunks - first : 0;
    return (size_t)((left < IO_PAGE_CHUNKS ? left : IO_PAGE_CHUNKS) + 63) / 64;
}

void io_page_write_bits(uint8_t page[IO_PAGE], const uint8_t id[IO_STORE_ID], uint64_t index,
                        const uint64_t *words, uint64_t chunks) {
    const uint64_t *first = words + index * (IO_PAGE_CHUNKS / 64);
    size_t n = words_in(index, chunks);
    memset(page, 0, IO_PAGE);
    for (size_t i = 0; i < n; i++)
        put(page + 8 * i, first[i], 8);
    io_page_sign(page, id, IO_PAGE_FIRST + index);
}

enum cv_err io_page_read_bits(const uint8_t page[IO_PAGE], const uint8_t id[IO_STORE_ID],
                              uint64_t index, uint64_t *words, uint64_t chunks) {
    static const uint8_t hole[IO_PAGE];
    if (memcmp(page, hole, IO_PAGE) == 0)
        return CV_ERR_OK;
    if (!intact(page, id, IO_PAGE_FIRST + index))
        return CV_ERR_CORRUPT;
    uint64_t *first = words + index * (IO_PAGE_CHUNKS / 64);
    size_t n = words_in(index, chunks);
    for (size_t i = 0; i < n; i++)
        first[i] |= get(page + 8 * i, 8);
    uint64_t end = (index + 1) * IO_PAGE_CHUNKS;
    if (n > 0 && chunks < end && chunks % 64)
        first[n - 1] &= (UINT64_C(1) << chunks % 64) - 1;
    return CV_ERR_OK;
}
