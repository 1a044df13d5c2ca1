#include "base/trace.h"

struct cv_trace_sink cv_trace_sink;

uint32_t cv_id_short(const void *id, size_t len) {
    const uint8_t *p = id;
    uint32_t v = 0;
    for (size_t i = 0; i < 4; i++)
        v = v << 8 | (i < len ? p[i] : 0);
    return v;
}
