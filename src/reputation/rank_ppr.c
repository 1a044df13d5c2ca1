#include "reputation/rank_ppr.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static uint64_t row_total(const struct rep_graph *g, const struct rep_half *row, uint32_t n,
                          enum rep_way way) {
    uint64_t sum = 0;
    for (uint32_t j = 0; j < n; j++)
        sum += rep_graph_weight(g, &row[j], way);
    return sum;
}

/* to = (1 - alpha) ego + alpha P' from. What has nowhere to go returns to ego. */
static void step(struct rep_graph *g, uint32_t ego, enum rep_way way, double alpha,
                 const double *from, double *to) {
    uint32_t count = rep_graph_count(g);
    memset(to, 0, count * sizeof *to);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t n;
        uint64_t total, below = 0;
        if (from[i] == 0)
            continue;
        const struct rep_half *row = rep_graph_row(g, i, &n, &total);
        if (way != REP_BOTH)
            total = row_total(g, row, n, way);
        if (total == 0) {
            to[ego] += alpha * from[i];
            continue;
        }
        double share = alpha * from[i] / (double)total;
        for (uint32_t j = 0; j < n; j++) {
            uint64_t w = way == REP_BOTH ? row[j].sum - below : rep_graph_weight(g, &row[j], way);
            to[row[j].to] += share * (double)w;
            below = row[j].sum;
        }
    }
    to[ego] += 1 - alpha;
}

enum cv_err rep_rank_ppr(struct rep_graph *g, uint32_t ego, enum rep_way way, double alpha,
                         double tolerance, double *ret) {
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
        step(g, ego, way, alpha, ret, next);
        change = 0;
        for (uint32_t j = 0; j < count; j++)
            change += next[j] > ret[j] ? next[j] - ret[j] : ret[j] - next[j];
        memcpy(ret, next, count * sizeof *ret);
    }
    free(next);
    return CV_ERR_OK;
}

enum cv_err rep_rank_ppr_difference(struct rep_graph *g, uint32_t ego, double alpha,
                                    double tolerance, double *ret) {
    uint32_t count = rep_graph_count(g);
    double *takers = calloc(count, sizeof *takers);
    enum cv_err err =
        takers ? rep_rank_ppr(g, ego, REP_GAVE, alpha, tolerance, takers) : CV_ERR_NOMEM;
    if (!err)
        err = rep_rank_ppr(g, ego, REP_TOOK, alpha, tolerance, ret);
    for (uint32_t i = 0; !err && i < count; i++)
        ret[i] -= takers[i];
    free(takers);
    return err;
}
