#include "reputation/rank_walk.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "reputation/wide.h"

/* splitmix64: good enough to walk by, and the same everywhere. */
static uint64_t next(uint64_t *state) {
    uint64_t z = *state += 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}

/* The neighbour whose share of the row holds `at` (< total). */
static uint32_t pick(const struct rep_half *row, uint32_t n, uint64_t at) {
    uint32_t lo = 0, hi = n - 1;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (row[mid].sum > at)
            hi = mid;
        else
            lo = mid + 1;
    }
    return row[lo].to;
}

enum cv_err rep_rank_walk(struct rep_graph *g, uint32_t ego, const struct rep_walk_config *cfg,
                          uint32_t *hits) {
    uint32_t count = rep_graph_count(g);
    assert(ego < count);
    assert(cfg->alpha_permille < 1000);
    uint32_t *seen = calloc(count, sizeof *seen); /* number of the last walk that came by */
    if (!seen)
        return CV_ERR_NOMEM;

    uint64_t state = cfg->seed;
    uint64_t go_on = ((uint64_t)cfg->alpha_permille << 32) / 1000;
    memset(hits, 0, count * sizeof *hits);
    for (uint32_t walk = 1; walk <= cfg->walks; walk++) {
        uint32_t at = ego;
        seen[ego] = walk;
        for (unsigned step = 0; step < REP_WALK_STEPS && next(&state) >> 32 < go_on; step++) {
            uint32_t n;
            uint64_t sum;
            const struct rep_half *row = rep_graph_row(g, at, &n, &sum);
            if (sum == 0)
                break;
            at = pick(row, n, (uint64_t)((rep_u128)next(&state) * sum >> 64));
            if (seen[at] != walk) {
                seen[at] = walk;
                hits[at]++;
            }
        }
    }
    free(seen);
    return CV_ERR_OK;
}
