/*
 * Direct swarms are found in the DHT (docs/protocol/dht.md): whoever has all of one, and
 * shares it openly from his own address, says so there under the first octets of its
 * id. The only key of a content that a socket of the node itself carries, and the
 * address that it tells of hides from nobody.
 */
#include <string.h>

#include "node/state.h"

static struct dht_id direct_key(const struct node_swarm *s) {
    struct dht_id key;
    memcpy(key.b, s->cfg.uri.swarm_id, sizeof key.b);
    return key;
}

void node_directly_announce(struct node *n, struct cv_now now, struct node_swarm *s) {
    if (s->cfg.mode != NODE_SWARM_DIRECT || !s->cfg.complete || s->cfg.unprotected ||
        !n->cfg.direct_port || s->cfg.uri.swarm_id_len < sizeof(struct dht_id))
        return;
    struct dht_id key = direct_key(s);
    if (dht_announce(n->dht, now, &key, n->cfg.direct_port, false, &s->announce) != CV_ERR_OK ||
        dht_keep(n->dht, s->announce) != CV_ERR_OK)
        s->announce = 0;
}

void node_directly_end(struct node *n, struct cv_now now, struct node_swarm *s) {
    if (s->announce)
        dht_cancel(n->dht, now, s->announce);
    s->announce = 0;
}
