#include "sim/chunkstore.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "sim/internal.h"

enum {
    CALLS = SIM_STORE_COMMIT + 1,
    SECTOR = 512, /* what a disk writes wholly or not at all */
};

/* The same things twice: as read, and as on disk. */
struct image {
    uint8_t *content, *tree;
    uint64_t *have; /* bitmap */
    struct ppsp_store_size size;
};

struct sim_store {
    uint32_t chunk_size;
    size_t hash_len;
    uint64_t chunks_max, words;
    const struct cv_rng *rng;
    struct image seen, disk;
    uint64_t *dirty_chunks; /* bitmap of chunks not committed */
    uint64_t *dirty_bins;   /* likewise of bins */
    uint64_t held, space;   /* chunks verified, and at most */
    uint32_t again_ppm, error_ppm;
    struct {
        enum cv_err err;
        unsigned count;
    } planned[CALLS];
    struct sim_store_counters counters;
};

static bool bit(const uint64_t *map, uint64_t i) {
    return map[i >> 6] >> (i & 63) & 1;
}

static void set_bit(uint64_t *map, uint64_t i) {
    map[i >> 6] |= UINT64_C(1) << (i & 63);
}

static struct image image_new(const struct sim_store *st) {
    return (struct image){.content = sim_alloc(st->chunks_max * st->chunk_size),
                          .tree = sim_alloc(2 * st->chunks_max * st->hash_len),
                          .have = sim_alloc(st->words * sizeof(uint64_t))};
}

static void image_free(struct image *im) {
    free(im->content);
    free(im->tree);
    free(im->have);
}

struct sim_store *sim_store_new(uint32_t chunk_size, size_t hash_len, uint64_t octets_max,
                                const struct cv_rng *rng) {
    struct sim_store *st = sim_alloc(sizeof *st);
    uint64_t chunks = (octets_max + chunk_size - 1) / chunk_size;
    st->chunks_max = 1;
    while (st->chunks_max < chunks) /* a whole tree */
        st->chunks_max *= 2;
    st->chunk_size = chunk_size;
    st->hash_len = hash_len;
    st->words = (st->chunks_max + 63) / 64;
    st->rng = rng;
    st->space = UINT64_MAX;
    st->seen = image_new(st);
    st->disk = image_new(st);
    st->dirty_chunks = sim_alloc(st->words * sizeof(uint64_t));
    st->dirty_bins = sim_alloc(2 * st->words * sizeof(uint64_t));
    return st;
}

struct sim_store *sim_store_free(struct sim_store *st) {
    if (!st)
        return NULL;
    image_free(&st->seen);
    image_free(&st->disk);
    free(st->dirty_chunks);
    free(st->dirty_bins);
    free(st);
    return NULL;
}

/* ---- faults ---- */

void sim_store_fail(struct sim_store *st, enum sim_store_call call, enum cv_err err,
                    unsigned count) {
    st->planned[call].err = err;
    st->planned[call].count = count;
}

void sim_store_faults(struct sim_store *st, uint32_t again_ppm, uint32_t error_ppm) {
    st->again_ppm = again_ppm;
    st->error_ppm = error_ppm;
}

void sim_store_space(struct sim_store *st, uint64_t chunks) {
    st->space = chunks;
}

static enum cv_err fault(struct sim_store *st, enum sim_store_call call) {
    enum cv_err err = CV_ERR_OK;
    if (st->planned[call].count) {
        st->planned[call].count--;
        err = st->planned[call].err;
    } else if (st->again_ppm || st->error_ppm) {
        uint64_t roll = cv_rng_below(st->rng, 1000000);
        if (roll < st->again_ppm)
            err = CV_ERR_AGAIN;
        else if (roll - st->again_ppm < st->error_ppm)
            err = CV_ERR_STORE;
    }
    st->counters.faults += err != CV_ERR_OK;
    return err;
}

/* ---- the table ---- */

static enum cv_err get_size(void *ctx, struct ppsp_store_size *ret) {
    struct sim_store *st = ctx;
    *ret = st->seen.size;
    return CV_ERR_OK;
}

static enum cv_err set_size(void *ctx, const struct ppsp_store_size *size) {
    struct sim_store *st = ctx;
    if (size->chunks > st->chunks_max)
        return CV_ERR_FULL;
    st->seen.size = *size;
    return CV_ERR_OK;
}

static enum cv_err have_load(void *ctx, uint64_t *words, size_t count) {
    struct sim_store *st = ctx;
    memcpy(words, st->seen.have, (count < st->words ? count : st->words) * sizeof *words);
    return CV_ERR_OK;
}

/* Octets of `count` chunks from `first`. */
static size_t span(const struct sim_store *st, uint64_t first, uint32_t count) {
    uint64_t begin = first * st->chunk_size, end = begin + (uint64_t)count * st->chunk_size;
    uint64_t octets = st->seen.size.octets;
    return (size_t)((octets && end > octets ? octets : end) - begin);
}

static enum cv_err read_chunks(void *ctx, uint64_t first, uint32_t count, uint8_t *buf, size_t cap,
                               size_t *ret_len) {
    struct sim_store *st = ctx;
    st->counters.reads++;
    enum cv_err err = fault(st, SIM_STORE_READ);
    if (err)
        return err;
    assert(count >= 1 && count <= 64 && first + count <= st->chunks_max);
    for (uint32_t i = 0; i < count; i++)
        assert(bit(st->seen.have, first + i) && "reads a chunk that was never written");
    size_t len = span(st, first, count);
    assert(len <= cap);
    memcpy(buf, st->seen.content + first * st->chunk_size, len);
    *ret_len = len;
    return CV_ERR_OK;
}

static enum cv_err write_chunks(void *ctx, uint64_t first, uint32_t count, const uint8_t *data,
                                size_t len) {
    struct sim_store *st = ctx;
    st->counters.writes++;
    enum cv_err err = fault(st, SIM_STORE_WRITE);
    if (err)
        return err;
    assert(count >= 1 && count <= 64 && first + count <= st->chunks_max);
    assert(len > (uint64_t)(count - 1) * st->chunk_size && len <= (uint64_t)count * st->chunk_size);
    if (st->held + count > st->space) {
        st->counters.faults++;
        return CV_ERR_FULL;
    }
    memcpy(st->seen.content + first * st->chunk_size, data, len);
    for (uint64_t i = first; i < first + count; i++) {
        st->counters.chunks_twice += bit(st->seen.have, i);
        st->held += !bit(st->seen.have, i);
        set_bit(st->seen.have, i);
        set_bit(st->dirty_chunks, i);
    }
    st->counters.chunks_written += count;
    return CV_ERR_OK;
}

static enum cv_err tree_get(void *ctx, uint64_t bin, uint32_t count, uint8_t *hashes) {
    struct sim_store *st = ctx;
    enum cv_err err = fault(st, SIM_STORE_TREE);
    if (err)
        return err;
    assert(count >= 1 && count <= 31);
    uint64_t bins = 2 * st->chunks_max, there = bin >= bins ? 0 : bins - bin;
    there = there < count ? there : count;
    if (there)
        memcpy(hashes, st->seen.tree + bin * st->hash_len, there * st->hash_len);
    memset(hashes + there * st->hash_len, 0, (count - there) * st->hash_len);
    return CV_ERR_OK;
}

static enum cv_err tree_put(void *ctx, uint64_t bin, uint32_t count, const uint8_t *hashes) {
    struct sim_store *st = ctx;
    enum cv_err err = fault(st, SIM_STORE_TREE);
    if (err)
        return err;
    assert(count >= 1 && count <= 31);
    uint64_t bins = 2 * st->chunks_max;
    for (uint64_t i = bin; i < bin + count && i < bins; i++) {
        memcpy(st->seen.tree + i * st->hash_len, hashes + (i - bin) * st->hash_len, st->hash_len);
        set_bit(st->dirty_bins, i);
    }
    return CV_ERR_OK;
}

static enum cv_err commit(void *ctx) {
    struct sim_store *st = ctx;
    st->counters.commits++;
    enum cv_err err = fault(st, SIM_STORE_COMMIT);
    if (err)
        return err;
    for (uint64_t w = 0; w < st->words; w++)
        for (uint64_t left = st->dirty_chunks[w]; left; left &= left - 1) {
            uint64_t at = (w * 64 + (uint64_t)__builtin_ctzll(left)) * st->chunk_size;
            memcpy(st->disk.content + at, st->seen.content + at, st->chunk_size);
        }
    for (uint64_t w = 0; w < 2 * st->words; w++)
        for (uint64_t left = st->dirty_bins[w]; left; left &= left - 1) {
            uint64_t at = (w * 64 + (uint64_t)__builtin_ctzll(left)) * st->hash_len;
            memcpy(st->disk.tree + at, st->seen.tree + at, st->hash_len);
        }
    memset(st->dirty_chunks, 0, st->words * sizeof(uint64_t));
    memset(st->dirty_bins, 0, 2 * st->words * sizeof(uint64_t));
    memcpy(st->disk.have, st->seen.have, st->words * sizeof(uint64_t));
    st->disk.size = st->seen.size;
    return CV_ERR_OK;
}

const struct ppsp_store_ops sim_store_ops = {
    .size = get_size,
    .set_size = set_size,
    .have_load = have_load,
    .read_chunks = read_chunks,
    .write_chunks = write_chunks,
    .tree_get = tree_get,
    .tree_put = tree_put,
    .commit = commit,
};

/* ---- crash ---- */

/* Each sector of `len` uncommitted octets at `at` is on disk or is not. Returns
 * how many of *ret_all are. */
static unsigned fate(struct sim_store *st, uint8_t *disk, const uint8_t *seen, uint64_t at,
                     uint64_t len, unsigned *ret_all) {
    unsigned written = 0;
    *ret_all = 0;
    for (uint64_t sector = at / SECTOR; sector * SECTOR < at + len; sector++) {
        uint64_t begin = sector * SECTOR < at ? at : sector * SECTOR;
        uint64_t end = (sector + 1) * SECTOR < at + len ? (sector + 1) * SECTOR : at + len;
        bool lives = cv_rng_below(st->rng, 2);
        if (lives)
            memcpy(disk + begin, seen + begin, end - begin);
        written += lives;
        ++*ret_all;
    }
    return written;
}

void sim_store_crash(struct sim_store *st) {
    unsigned all;
    for (uint64_t i = 0; i < st->chunks_max; i++) {
        if (!bit(st->dirty_chunks, i))
            continue;
        unsigned written =
            fate(st, st->disk.content, st->seen.content, i * st->chunk_size, st->chunk_size, &all);
        st->counters.chunks_torn += written > 0 && written < all;
        st->counters.chunks_lost += written == 0;
    }
    /* Hashes share sectors: one that is not dirty is the same in both images. */
    uint64_t tree_len = 2 * st->chunks_max * st->hash_len;
    for (uint64_t at = 0; at < tree_len; at += SECTOR) {
        uint64_t len = tree_len - at < SECTOR ? tree_len - at : SECTOR;
        (void)fate(st, st->disk.tree, st->seen.tree, at, len, &all);
    }
    memset(st->dirty_chunks, 0, st->words * sizeof(uint64_t));
    memset(st->dirty_bins, 0, 2 * st->words * sizeof(uint64_t));
    memcpy(st->seen.content, st->disk.content, st->chunks_max * st->chunk_size);
    memcpy(st->seen.tree, st->disk.tree, 2 * st->chunks_max * st->hash_len);
    memcpy(st->seen.have, st->disk.have, st->words * sizeof(uint64_t));
    st->seen.size = st->disk.size;
    st->held = 0;
    for (uint64_t w = 0; w < st->words; w++)
        st->held += (uint64_t)__builtin_popcountll(st->seen.have[w]);
}

/* ---- looking in ---- */

void sim_store_fill(struct sim_store *st, const void *content, uint64_t octets) {
    uint64_t chunks = (octets + st->chunk_size - 1) / st->chunk_size;
    assert(chunks <= st->chunks_max);
    memcpy(st->seen.content, content, octets);
    memcpy(st->disk.content, content, octets);
    for (uint64_t i = 0; i < chunks; i++) {
        set_bit(st->seen.have, i);
        set_bit(st->disk.have, i);
    }
    st->held = chunks;
    st->seen.size = st->disk.size = (struct ppsp_store_size){.chunks = chunks, .octets = octets};
}

const uint8_t *sim_store_content(const struct sim_store *st) {
    return st->seen.content;
}

uint64_t sim_store_octets(const struct sim_store *st) {
    return st->seen.size.octets;
}

bool sim_store_has(const struct sim_store *st, uint64_t chunk) {
    return chunk < st->chunks_max && bit(st->seen.have, chunk);
}

bool sim_store_matches(const struct sim_store *st, const void *content, uint64_t octets) {
    for (uint64_t i = 0; i < st->chunks_max; i++) {
        if (!bit(st->seen.have, i))
            continue;
        uint64_t at = i * st->chunk_size, len = st->chunk_size;
        if (at >= octets)
            return false;
        len = len < octets - at ? len : octets - at;
        if (memcmp(st->seen.content + at, (const uint8_t *)content + at, len) != 0)
            return false;
    }
    return true;
}

const struct sim_store_counters *sim_store_counters(const struct sim_store *st) {
    return &st->counters;
}
