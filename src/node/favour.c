/*
 * Whom a swarm serves first when its upload is limited: so many slots as make sense
 * of the limit, and the rank of whoever the node knows something of. That is little on
 * purpose. Peers behind circuits are nobody, their rank is 0 and what they give decides
 * (ppsp/reciprocity.h). A direct peer shows its address: when a relay that proved who
 * it is has a link with us from that address, its weight of the ledger, what it carried
 * for the network, is the rank.
 */
#include <string.h>

#include "node/state.h"
#include "reputation/limits.h"

static struct node_neighbour *neighbour(struct node *n, cv_handle link) {
    for (size_t i = 0; i < n->neighbours_count; i++)
        if (n->neighbours[i].link == link)
            return &n->neighbours[i];
    return NULL;
}

static bool same_host(const struct cv_addr *a, const struct cv_addr *b) {
    return a->family == b->family && memcmp(a->ip, b->ip, a->family == 4 ? 4 : 16) == 0;
}

uint32_t node_favour_slots(uint64_t upload_limit) {
    uint64_t slots = upload_limit / NODE_SLOT_OCTETS_S;
    if (upload_limit == 0 || upload_limit == PPSP_UNLIMITED)
        return 0;
    return slots < NODE_SLOTS_MIN   ? NODE_SLOTS_MIN
           : slots > NODE_SLOTS_MAX ? NODE_SLOTS_MAX
                                    : (uint32_t)slots;
}

static uint32_t rank_of(const struct node *n, const struct cv_endpoint *ep) {
    uint32_t best = 0;
    if (ep->kind != CV_ENDPOINT_UDP)
        return 0;
    for (size_t i = 0; i < n->neighbours_count; i++) {
        const struct node_neighbour *b = &n->neighbours[i];
        if (b->weight > REP_WEIGHT_MIN + best && same_host(&b->addr, &ep->addr))
            best = b->weight - REP_WEIGHT_MIN;
    }
    return best;
}

void node_favour_peer(struct node *n, struct cv_now now, const struct node_swarm *s,
                      const struct cv_endpoint *ep) {
    if (n->neighbours_count)
        ppsp_peer_rank(s->engine, now, s->ppsp, ep, rank_of(n, ep));
}

/* Something is known anew: of everybody, as several swarms may have the same peer. */
static void rank_all(struct node *n, struct cv_now now) {
    struct ppsp_peer_stats ps[NODE_RANKED_MAX];
    for (size_t i = 0; i < NODE_SWARMS_MAX; i++) {
        const struct node_swarm *s = &n->swarms[i];
        if (!s->used || s->cfg.mode != NODE_SWARM_DIRECT || !s->cfg.upload_limit)
            continue;
        size_t count = ppsp_peers(s->engine, s->ppsp, ps, NODE_RANKED_MAX);
        for (size_t k = 0; k < count && k < NODE_RANKED_MAX; k++)
            ppsp_peer_rank(s->engine, now, s->ppsp, &ps[k].endpoint, rank_of(n, &ps[k].endpoint));
    }
}

void node_favour_link_up(struct node *n, cv_handle link, const struct cv_addr *addr) {
    struct node_neighbour *b = neighbour(n, link);
    if (!b && n->neighbours_count == NODE_NEIGHBOURS_MAX)
        return; /* its peers count as unknown */
    if (!b)
        b = &n->neighbours[n->neighbours_count++];
    *b = (struct node_neighbour){.link = link, .addr = *addr, .weight = REP_WEIGHT_MIN};
}

void node_favour_weight(struct node *n, struct cv_now now, cv_handle link, uint32_t weight) {
    struct node_neighbour *b = neighbour(n, link);
    if (!b || b->weight == weight)
        return;
    b->weight = weight;
    rank_all(n, now);
}

void node_favour_link_down(struct node *n, struct cv_now now, cv_handle link) {
    struct node_neighbour *b = neighbour(n, link);
    if (!b)
        return;
    *b = n->neighbours[--n->neighbours_count];
    rank_all(n, now);
}
