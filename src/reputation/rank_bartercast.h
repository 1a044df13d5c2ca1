/*
 * BarterCast's reputation (Meulpolder and others, 2009), for comparison:
 * atan(net flow to ego within two hops, in KB / 30,000) over a right angle, so
 * -1..1, and 0.5 for 30 MB net.
 */
#ifndef CULVERT_REPUTATION_RANK_BARTERCAST_H
#define CULVERT_REPUTATION_RANK_BARTERCAST_H

#include "reputation/graph.h"

/* ret[i], i < rep_graph_count(); ego's is 0. CV_ERR_NOMEM. */
enum cv_err rep_rank_bartercast(struct rep_graph *g, uint32_t ego, double *ret);

#endif
