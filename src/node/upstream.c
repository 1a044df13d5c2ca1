/*
 * What our line carries, and what swarms may use of it, is one for all engines of
 * swarms (ppsp/upstream.h). A node on loopback has no line.
 */
#include <assert.h>

#include "node/state.h"
#include "tunnel/limits.h"

static_assert((int)PPSP_UPSTREAM_WAYS_OF_ONE >= (int)TUN_MEETINGS_MAX,
              "all may be with one seeder");

struct ppsp_upstream *node_upstream(struct node *n) {
    return n->cfg.spare_upstream && !n->cfg.loopback ? &n->upstream : NULL;
}

void node_upstream_begin(struct node *n, struct cv_now now) {
    const struct node_blob *saved = &n->cfg.saved[NODE_SAVED_UPSTREAM];
    ppsp_upstream_init(&n->upstream, now);
    if (saved->data && node_upstream(n))
        n->lost[NODE_SAVED_UPSTREAM] =
            !ppsp_upstream_restore(&n->upstream, saved->data, saved->len);
}

void node_upstream_save(struct node *n) {
    uint8_t buf[PPSP_UPSTREAM_SAVED];
    size_t len = ppsp_upstream_save(&n->upstream, buf);
    if (len)
        node_event_save(n, NODE_SAVED_UPSTREAM, buf, len);
}

uint64_t node_upstream_limit(const struct node_swarm_config *cfg) {
    bool source = cfg->uri.kind == NODE_URI_LIVE && cfg->complete;
    if (cfg->upload_limit)
        return cfg->upload_limit;
    return source || cfg->constant_rate ? PPSP_UNLIMITED : 0;
}
