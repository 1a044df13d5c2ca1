/*
 * Tracepoints: machine-readable events of the engines. CV_TRACE(layer, event,
 * now, "key=%u key=%s", ...) costs one load and one branch when nobody
 * listens. The sink turns key=value pairs into JSON fields. Secrets and
 * payloads are never arguments; swarm and peer identifiers go through
 * cv_id_short() so that a trace can be shared.
 */
#ifndef CULVERT_BASE_TRACE_H
#define CULVERT_BASE_TRACE_H

#include <stddef.h>
#include <stdint.h>

#include "base/time.h"

enum cv_layer {
    CV_LAYER_IO,
    CV_LAYER_NODE,
    CV_LAYER_TUNNEL,
    CV_LAYER_PPSP,
    CV_LAYER_DHT,
    CV_LAYER_LEDGER,
};

typedef void cv_trace_fn(void *ctx, enum cv_layer layer, const char *event, cv_usec now,
                         const char *fmt, ...) __attribute__((format(printf, 5, 6)));

/* The only mutable global below node/. NULL: off. Set before threads start. */
extern struct cv_trace_sink {
    cv_trace_fn *fn;
    void *ctx;
} cv_trace_sink;

#define CV_TRACE(layer, event, now, ...)                                                           \
    do {                                                                                           \
        if (__builtin_expect(cv_trace_sink.fn != NULL, 0))                                         \
            cv_trace_sink.fn(cv_trace_sink.ctx, CV_LAYER_##layer, #event, (now), __VA_ARGS__);     \
    } while (0)

/* First four octets: enough to follow one object in a trace, too few to name it. */
uint32_t cv_id_short(const void *id, size_t len);

#endif
