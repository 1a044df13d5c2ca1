#include "reputation/rank_netflow.h"

#include <stdlib.h>

#include "reputation/rank_maxflow.h"

enum cv_err rep_rank_netflow(struct rep_graph *g, uint32_t ego, unsigned hops, uint64_t *ret) {
    uint32_t count = rep_graph_count(g);
    struct rep_inout *flows = calloc(count, sizeof *flows);
    uint64_t *owed = calloc(count, sizeof *owed);
    struct rep_flow *f = rep_flow_new(g);
    enum cv_err err = flows && owed && f ? CV_ERR_OK : CV_ERR_NOMEM;
    if (!err)
        err = rep_rank_maxflow(g, ego, hops, flows);
    for (uint32_t i = 0; !err && i < count; i++)
        owed[i] = flows[i].in > flows[i].out ? flows[i].in - flows[i].out : 0;
    for (uint32_t i = 0; !err && i < count; i++) {
        ret[i] = 0;
        if (owed[i])
            err = rep_flow_max(f, i, ego, hops, owed, &ret[i]);
    }
    rep_flow_free(f);
    free(owed);
    free(flows);
    return err;
}
