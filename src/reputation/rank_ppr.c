#include "reputation/rank_ppr.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* to = (1 - alpha) ego + alpha P' from. What has nowhere to go returns to ego. */
static void step(struct rep_graph *g, uint32_t ego, double alpha, const double *from, double *to) {
    uint32_t count = rep_graph_count(g);
    memset(to, 0, count * sizeof *to);
    for (uint32_t i = 0; i < count; i++) {
        if (from[i] == 0)
            continue;
        uint32_t n;
        uint64_t total;
        const struct rep_half *row = rep_graph_row(g, i, &n, &total);
        if (total == 0) {
            to[ego] += alpha * from[i];
            continue;
        }
        uint64_t below = 0;
        for (uint32_t j = 0; j < n; j++) {
            to[row[j].to] += alpha * from[i] * (double)(row[j].sum - below) / (double)total;
            below = row[j].sum;
        }
    }
    to[ego] += 1 - alpha;
}

enum cv_err rep_rank_ppr(struct rep_graph *g, uint32_t ego, double alpha, double tolerance,
                         double *ret) {
    uint32_t count = rep_graph_count(g);
    assert(ego < count);
    assert(alpha >= 0 && alpha < 1);
    double *next = calloc(count, sizeof *next);
    if (!next)
        return CV_ERR_NOMEM;

    memset(ret, 0, count * sizeof *ret);
    ret[ego] = 1;
    double change = 1;
    /* The change shrinks by alpha a step; a thousand steps are past rounding. */
    for (unsigned i = 0; i < 1000 && change > tolerance; i++) {
        step(g, ego, alpha, ret, next);
        change = 0;
        for (uint32_t j = 0; j < count; j++)
            change += next[j] > ret[j] ? next[j] - ret[j] : ret[j] - next[j];
        memcpy(ret, next, count * sizeof *ret);
    }
    free(next);
    return CV_ERR_OK;
}
