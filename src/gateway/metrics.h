/*
 * The node's counters as OpenMetrics text, for monitoring. Sums over the whole node and
 * nothing else: no name, address, identity, swarm or peer is in it, and no label has a
 * value that does not stand in the source.
 */
#ifndef CULVERT_GATEWAY_METRICS_H
#define CULVERT_GATEWAY_METRICS_H

#include <stdint.h>

#include "io/host.h"

#define GW_METRICS_TYPE "application/openmetrics-text; version=1.0.0; charset=utf-8"

/* `sent`: octets that players got. free() it; NULL: out of memory. */
char *gw_metrics(struct io_host *host, uint64_t sent);

#endif
