#include "reputation/rank_bartercast.h"

#include <math.h>
#include <stdlib.h>

#include "reputation/rank_flow2.h"

#define OCTETS_A_KB 1024.0
#define KB_OF_HALF  30000.0 /* net contribution that is worth 0.5 */

enum cv_err rep_rank_bartercast(struct rep_graph *g, uint32_t ego, double *ret) {
    uint32_t count = rep_graph_count(g);
    struct rep_inout *flows = calloc(count, sizeof *flows);
    if (!flows)
        return CV_ERR_NOMEM;
    rep_rank_flow2(g, ego, flows);
    for (uint32_t i = 0; i < count; i++) {
        double net = ((double)flows[i].in - (double)flows[i].out) / OCTETS_A_KB;
        ret[i] = atan(net / KB_OF_HALF) / M_PI_2;
    }
    free(flows);
    return CV_ERR_OK;
}
