#include "reputation/rank_flow2.h"

#include <assert.h>
#include <string.h>

static void add(uint64_t *sum, uint64_t octets) {
    if (__builtin_add_overflow(*sum, octets, sum))
        *sum = UINT64_MAX;
}

static uint64_t smaller(uint64_t a, uint64_t b) {
    return a < b ? a : b;
}

void rep_rank_flow2(struct rep_graph *g, uint32_t ego, struct rep_inout *ret) {
    uint32_t near_n, far_n;
    uint64_t total;
    assert(ego < rep_graph_count(g));
    memset(ret, 0, rep_graph_count(g) * sizeof *ret);
    if (rep_graph_excluded(g, ego))
        return;
    const struct rep_half *near = rep_graph_row(g, ego, &near_n, &total);
    for (uint32_t i = 0; i < near_n; i++) {
        uint32_t via = near[i].to;
        if (rep_graph_excluded(g, via))
            continue;
        uint64_t from_via = rep_graph_octets(g, &near[i], REP_TOOK);
        uint64_t to_via = rep_graph_octets(g, &near[i], REP_GAVE);
        add(&ret[via].in, from_via);
        add(&ret[via].out, to_via);
        const struct rep_half *far = rep_graph_row(g, via, &far_n, &total);
        for (uint32_t j = 0; j < far_n; j++) {
            if (far[j].to == ego || rep_graph_excluded(g, far[j].to))
                continue;
            struct rep_inout *f = &ret[far[j].to];
            add(&f->in, smaller(rep_graph_octets(g, &far[j], REP_TOOK), from_via));
            add(&f->out, smaller(rep_graph_octets(g, &far[j], REP_GAVE), to_via));
        }
    }
}
