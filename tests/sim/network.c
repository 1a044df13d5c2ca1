/* The fate of a datagram: which way it takes, when it arrives, what drops it. */
#include <assert.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "sim/digest.h"
#include "sim/internal.h"

/* ---- packets: taken from slabs, never given back before the end ---- */

static struct sim_packet *packet_new(struct sim *s) {
    if (!s->free_packets) {
        size_t align = _Alignof(struct sim_packet);
        size_t size = (sizeof(struct sim_packet) + s->cfg.datagram_max + align - 1) / align * align;
        uint8_t *slab = sim_alloc(size * SIM_POOL_SLAB);
        s->slabs = reallocarray(s->slabs, s->slabs_count + 1, sizeof *s->slabs);
        if (!s->slabs)
            sim_fail(s, "out of memory", 0);
        s->slabs[s->slabs_count++] = slab;
        for (size_t i = 0; i < SIM_POOL_SLAB; i++) {
            struct sim_packet *p = (struct sim_packet *)(void *)(slab + i * size);
            p->next_free = s->free_packets;
            s->free_packets = p;
        }
    }
    struct sim_packet *p = s->free_packets;
    s->free_packets = p->next_free;
    s->counters.in_flight++;
    return p;
}

static void packet_free(struct sim *s, struct sim_packet *p) {
    p->next_free = s->free_packets;
    s->free_packets = p;
    s->counters.in_flight--;
}

/* ---- the ways between nodes ---- */

static struct sim_way *way_of(struct sim *s, unsigned from, unsigned to) {
    struct sim_hint *hint = &sim_node_at(s, from)->hint[to % SIM_HINTS];
    if (hint->way && hint->to == to)
        return hint->way;
    uint32_t key[2] = {from, to};
    struct sim_way *w = cv_map_get(s->ways, key);
    if (!w) {
        w = sim_alloc(sizeof *w);
        if (cv_map_put(s->ways, key, w) != CV_ERR_OK)
            sim_fail(s, "out of memory", from);
    }
    *hint = (struct sim_hint){.to = to, .way = w};
    return w;
}

static const struct sim_path *path_of(const struct sim *s, struct sim_way *w) {
    const struct sim_path *path = w->own ? &w->path : &s->path_default;
    w->pipe.rate = path->rate;
    w->pipe.queue = path->queue;
    return path;
}

void sim_path_default(struct sim *s, const struct sim_path *path) {
    s->path_default = *path;
}

void sim_path(struct sim *s, unsigned from, unsigned to, const struct sim_path *path) {
    struct sim_way *w = way_of(s, sim_node_at(s, from)->number, sim_node_at(s, to)->number);
    w->own = true;
    w->path = *path;
}

void sim_link(struct sim *s, unsigned a, unsigned b, const struct sim_path *both_ways) {
    sim_path(s, a, b, both_ways);
    sim_path(s, b, a, both_ways);
}

void sim_access(struct sim *s, unsigned node, const struct sim_access *access) {
    struct sim_node *n = sim_node_at(s, node);
    n->pipe_up.rate = access->rate_up;
    n->pipe_up.queue = access->queue_up;
    n->pipe_down.rate = access->rate_down;
    n->pipe_down.queue = access->queue_down;
}

void sim_loss_mask(struct sim *s, unsigned from, unsigned to, uint64_t mask) {
    struct sim_way *w = way_of(s, from, to);
    w->mask = mask;
    w->mask_at = 0;
}

void sim_clog(struct sim *s, unsigned from, unsigned to, cv_usec until) {
    way_of(s, from, to)->clogged = until;
}

void sim_partition(struct sim *s, unsigned node, unsigned group) {
    sim_node_at(s, node)->group = group;
}

void sim_heal(struct sim *s) {
    for (unsigned i = 0; i < s->nodes_count; i++)
        s->nodes[i]->group = 0;
}

static cv_usec pipe_wait(const struct sim_pipe *p, cv_usec now) {
    return p->rate && p->busy > now ? p->busy - now : 0;
}

cv_usec sim_path_wait(struct sim *s, unsigned from, unsigned to) {
    return pipe_wait(&way_of(s, from, to)->pipe, s->now);
}

cv_usec sim_access_wait(const struct sim *s, unsigned node) {
    return pipe_wait(&sim_node_at(s, node)->pipe_up, s->now);
}

void sim_hook(struct sim *s, sim_hook_fn *fn, void *ctx) {
    s->hook = fn;
    s->hook_ctx = ctx;
}

/* ---- sending ---- */

static bool rolled(struct sim *s, uint32_t ppm) {
    return ppm && cv_rng_below(&s->rng, 1000000) < ppm;
}

static cv_usec up_to(struct sim *s, cv_usec max) {
    return max ? cv_rng_between(&s->rng, 0, max) : 0;
}

static void digest_datagram(struct sim *s, const struct sim_packet *p, uint64_t fate) {
    uint64_t words[10] = {s->now, fate, p->len, sim_hash(0, p->data, p->len)};
    memcpy(words + 4, &p->from, sizeof p->from);
    memcpy(words + 7, &p->to, sizeof p->to);
    static_assert(sizeof p->from <= 3 * sizeof *words, "an address fits");
    sim_digest_words(s, words, 10);
}

static void schedule(struct sim *s, struct sim_packet *p, enum sim_kind kind, cv_usec at) {
    p->item.kind = kind;
    if (cv_heap_set(&s->heap, &p->item.timer, at) != CV_ERR_OK)
        sim_fail(s, "out of memory", p->to_node);
}

/* Copies a packet that arrives once more. */
static void duplicate(struct sim *s, const struct sim_packet *p, cv_usec at) {
    struct sim_packet *copy = packet_new(s);
    copy->from_node = p->from_node;
    copy->to_node = p->to_node;
    copy->from = p->from;
    copy->to = p->to;
    copy->socket = p->socket;
    copy->len = p->len;
    memcpy(copy->data, p->data, p->len);
    s->counters.duplicated++;
    schedule(s, copy, SIM_KIND_ARRIVE, at);
}

/* The counter of what drops the packet, or NULL and *ret_at when it arrives. */
static uint64_t *travel(struct sim *s, struct sim_node *from, const struct sim_node *to,
                        struct sim_packet *p, cv_usec *ret_at) {
    struct sim_counters *c = &s->counters;
    struct sim_way *w = way_of(s, from->number, to->number);
    const struct sim_path *path = path_of(s, w);
    cv_usec t;
    if (path->mtu && p->len > path->mtu)
        return &c->drop_mtu;
    if (!sim_pipe_send(&from->pipe_up, s->now, p->len, &t))
        return &c->drop_queue_up;
    if (from->group != to->group || path->cut)
        return &c->drop_partition;
    if (!sim_pipe_send(&w->pipe, t, p->len, &t))
        return &c->drop_queue_path;
    bool masked = w->mask >> (w->mask_at++ & 63) & 1;
    if (masked)
        return &c->drop_mask;
    if (rolled(s, path->loss_ppm))
        return &c->drop_loss;

    t += path->delay + up_to(s, path->jitter);
    t = t > w->clogged ? t : w->clogged;
    if (rolled(s, path->reorder_ppm)) {
        t += up_to(s, path->reorder);
    } else {
        t = t > w->last_arrival ? t : w->last_arrival;
        w->last_arrival = t;
    }
    *ret_at = t;
    if (rolled(s, path->duplicate_ppm))
        duplicate(s, p, t + up_to(s, path->reorder));
    return NULL;
}

static const struct cv_addr *source_of(const struct sim_node *n, unsigned socket, uint8_t family) {
    for (int i = 0; i < SIM_ADDRS_PER_SOCKET; i++)
        if (n->sockets[socket].addrs[i].family == family)
            return &n->sockets[socket].addrs[i];
    return NULL;
}

void sim_network_send(struct sim *s, struct sim_node *from, unsigned socket,
                      const struct cv_addr *to, uint8_t *buf, uint16_t len) {
    struct sim_counters *c = &s->counters;
    const struct sim_binding *b = cv_map_get(s->bindings, to);
    const struct cv_addr *source = source_of(from, socket, to->family);
    c->sent++;
    c->octets_sent += len;
    from->counters.sent++;
    from->counters.octets_sent += len;
    if (s->hook) {
        struct sim_datagram d = {.at = s->now,
                                 .from_node = from->number,
                                 .to_node = b ? b->node->number : UINT_MAX,
                                 .from = source,
                                 .to = to,
                                 .buf = buf,
                                 .len = len};
        if (s->hook(s->hook_ctx, &d) == SIM_DROP) {
            c->drop_hook++;
            return;
        }
    }
    struct sim_packet *p = packet_new(s);
    memset(&p->from, 0, sizeof p->from);
    if (source)
        p->from = *source;
    p->to = *to;
    p->len = len;
    p->from_node = from->number;
    memcpy(p->data, buf, len);

    cv_usec at = 0;
    uint64_t *drop = &c->drop_address;
    if (b && source) {
        p->to_node = b->node->number;
        p->socket = b->socket;
        drop = travel(s, from, b->node, p, &at);
    }
    digest_datagram(s, p, at);
    if (!drop) {
        schedule(s, p, SIM_KIND_ARRIVE, at);
        return;
    }
    ++*drop;
    packet_free(s, p);
}

enum cv_err sim_inject(struct sim *s, const struct cv_addr *from, const struct cv_addr *to,
                       const uint8_t *buf, size_t len) {
    assert(len <= s->cfg.datagram_max);
    const struct sim_binding *b = cv_map_get(s->bindings, to);
    if (!b)
        return CV_ERR_UNREACHABLE;
    struct sim_packet *p = packet_new(s);
    p->from_node = UINT_MAX;
    p->to_node = b->node->number;
    p->socket = b->socket;
    p->from = *from;
    p->to = *to;
    p->len = (uint16_t)len;
    memcpy(p->data, buf, len);
    s->counters.injected++;
    digest_datagram(s, p, s->now);
    schedule(s, p, SIM_KIND_ARRIVE, s->now);
    return CV_ERR_OK;
}

/* ---- arriving ---- */

static bool at_door(struct sim *s, struct sim_packet *p, uint64_t **ret_drop) {
    struct sim_node *to = s->nodes[p->to_node];
    if (!to->up || to->asleep)
        *ret_drop = &s->counters.drop_down;
    else if (to->moved && !cv_map_get(s->bindings, &p->to))
        *ret_drop = &s->counters.drop_address;
    else if (p->from_node != UINT_MAX && s->nodes[p->from_node]->group != to->group)
        *ret_drop = &s->counters.drop_partition;
    else
        return true;
    return false;
}

void sim_network_arrive(struct sim *s, struct sim_packet *p) {
    struct sim_node *to = s->nodes[p->to_node];
    uint64_t *drop = NULL;
    cv_usec at;
    if (!at_door(s, p, &drop)) {
        ++*drop;
        packet_free(s, p);
    } else if (!sim_pipe_send(&to->pipe_down, s->now, p->len, &at)) {
        s->counters.drop_queue_down++;
        packet_free(s, p);
    } else if (at > s->now) {
        schedule(s, p, SIM_KIND_DELIVER, at);
    } else {
        sim_network_deliver(s, p);
    }
}

void sim_network_deliver(struct sim *s, struct sim_packet *p) {
    struct sim_node *to = s->nodes[p->to_node];
    uint64_t *drop = NULL;
    if (!at_door(s, p, &drop)) {
        ++*drop;
        packet_free(s, p);
        return;
    }
    uint64_t words[4] = {s->now, p->to_node, p->from_node, p->len};
    sim_digest_words(s, words, 4);
    s->counters.delivered++;
    s->counters.octets_delivered += p->len;
    to->counters.received++;
    to->counters.octets_received += p->len;
    to->ops->on_datagram(to->ctx, sim_node_now(s, to->number), p->socket, &p->to, &p->from, p->data,
                         p->len);
    sim_mark(s, to);
    packet_free(s, p);
}
