#include "reputation/rank_maxflow.h"

#include <string.h>

enum cv_err rep_rank_maxflow(struct rep_graph *g, uint32_t ego, unsigned hops,
                             struct rep_inout *ret) {
    uint32_t count = rep_graph_count(g);
    struct rep_flow *f = rep_flow_new(g);
    enum cv_err err = f ? CV_ERR_OK : CV_ERR_NOMEM;
    memset(ret, 0, count * sizeof *ret);
    for (uint32_t i = 0; !err && i < count; i++) {
        if (i == ego)
            continue;
        err = rep_flow_max(f, i, ego, hops, NULL, &ret[i].in);
        if (!err)
            err = rep_flow_max(f, ego, i, hops, NULL, &ret[i].out);
    }
    rep_flow_free(f);
    return err;
}
