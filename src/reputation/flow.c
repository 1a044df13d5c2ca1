#include "reputation/flow.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "reputation/wide.h"

#define FAR UINT32_MAX

struct rep_flow {
    struct rep_graph *g;
    uint32_t *from_source, *to_sink; /* hops, by node of the graph; FAR: not known to be near */
    uint32_t *local;                 /* place in `found` */
    uint32_t *found;                 /* nodes that a search met, in that order */
    uint32_t *queue;
    uint32_t found_n;
};

/* The copy that flows are found in. Arcs 2k and 2k + 1 are each other's way
 * back: what flows along one may flow back along the other. */
struct net {
    uint32_t *to, *first, *list; /* arcs of node v: list[first[v]..first[v + 1]) */
    uint64_t *left;              /* capacity that is left, by arc */
    uint32_t nodes, arcs, cap;
    uint32_t *level, *at, *queue, *path;
};

struct rep_flow *rep_flow_new(struct rep_graph *g) {
    struct rep_flow *f = calloc(1, sizeof *f);
    uint32_t n = rep_graph_count(g);
    if (!f)
        return NULL;
    f->g = g;
    f->from_source = malloc(5 * (size_t)n * sizeof *f->from_source + 1);
    if (!f->from_source)
        return rep_flow_free(f);
    f->to_sink = f->from_source + n;
    f->local = f->to_sink + n;
    f->found = f->local + n;
    f->queue = f->found + n;
    memset(f->from_source, 0xff, 2 * (size_t)n * sizeof *f->from_source);
    return f;
}

struct rep_flow *rep_flow_free(struct rep_flow *f) {
    if (!f)
        return NULL;
    free(f->from_source);
    free(f);
    return NULL;
}

/* ---- which nodes take part ---- */

static void meet(struct rep_flow *f, uint32_t *dist, uint32_t i, uint32_t d) {
    if (f->from_source[i] == FAR && f->to_sink[i] == FAR)
        f->found[f->found_n++] = i;
    dist[i] = d;
}

/*
 * Breadth-first from `start` along rows of the way `way`, setting `dist` up to
 * `near` hops; beyond that, up to `hops`, only into nodes that the search from
 * the other end has met near enough. A node within `hops` in all is near to one
 * end, so both searches together meet all of them and little else.
 */
static void search(struct rep_flow *f, uint32_t start, enum rep_way way, uint32_t *dist,
                   const uint32_t *other, uint32_t near, uint32_t hops) {
    uint32_t *queue = f->queue, head = 0, tail = 0;
    bool fresh = dist[start] == FAR;
    if (fresh) {
        meet(f, dist, start, 0);
        queue[tail++] = start;
    }
    for (uint32_t i = 0; !fresh && i < f->found_n; i++) /* goes on from the rim */
        if (dist[f->found[i]] == near)
            queue[tail++] = f->found[i];
    while (head < tail) {
        uint32_t at = queue[head++], n, d = dist[at] + 1;
        uint64_t total;
        if (d > hops)
            break;
        const struct rep_half *row = rep_graph_row(f->g, at, &n, &total);
        for (uint32_t j = 0; j < n; j++) {
            uint32_t to = row[j].to;
            if (dist[to] != FAR || !rep_half_has(&row[j], way) || rep_graph_excluded(f->g, to))
                continue;
            if (d > near && (other[to] == FAR || other[to] > hops - d))
                continue;
            meet(f, dist, to, d);
            queue[tail++] = to;
        }
    }
}

/* Sets both distances of every node that is on a chain of at most `hops`. */
static void look_around(struct rep_flow *f, uint32_t source, uint32_t sink, uint32_t hops) {
    uint32_t half = hops / 2;
    f->found_n = 0;
    search(f, source, REP_GAVE, f->from_source, f->to_sink, hops - half, hops - half);
    search(f, sink, REP_TOOK, f->to_sink, f->from_source, half, hops);
    search(f, source, REP_GAVE, f->from_source, f->to_sink, hops - half, hops);
}

static bool on_chain(const struct rep_flow *f, uint32_t a, uint32_t b, uint32_t hops) {
    return f->from_source[a] != FAR && f->to_sink[b] != FAR &&
           (uint64_t)f->from_source[a] + 1 + f->to_sink[b] <= hops;
}

static void forget(struct rep_flow *f) {
    for (uint32_t i = 0; i < f->found_n; i++)
        f->from_source[f->found[i]] = f->to_sink[f->found[i]] = FAR;
}

/* ---- the copy ---- */

static void net_done(struct net *n) {
    free(n->to);
    free(n->left);
    free(n->first);
    free(n->list);
    free(n->level);
}

static enum cv_err add(struct net *n, uint32_t a, uint32_t b, uint64_t forward, uint64_t back) {
    if (n->arcs == n->cap) {
        uint32_t cap = n->cap ? n->cap * 2 : 256;
        uint32_t *to = realloc(n->to, cap * sizeof *to);
        if (!to)
            return CV_ERR_NOMEM;
        n->to = to;
        uint64_t *left = realloc(n->left, cap * sizeof *left);
        if (!left)
            return CV_ERR_NOMEM;
        n->left = left;
        n->cap = cap;
    }
    n->to[n->arcs] = b;
    n->left[n->arcs++] = forward;
    n->to[n->arcs] = a;
    n->left[n->arcs++] = back;
    return CV_ERR_OK;
}

/* Lists of arcs by node, and room for the search. */
static enum cv_err arrange(struct net *n) {
    n->first = calloc((size_t)n->nodes + 1, sizeof *n->first);
    n->list = malloc(((size_t)n->arcs + 1) * sizeof *n->list);
    n->level = malloc(4 * (size_t)n->nodes * sizeof *n->level + 1);
    if (!n->first || !n->list || !n->level)
        return CV_ERR_NOMEM;
    n->at = n->level + n->nodes;
    n->queue = n->at + n->nodes;
    n->path = n->queue + n->nodes;
    for (uint32_t a = 0; a < n->arcs; a++)
        n->first[n->to[a ^ 1]]++;
    for (uint32_t v = 0, sum = 0; v <= n->nodes; v++) {
        sum += n->first[v];
        n->first[v] = sum;
    }
    for (uint32_t a = n->arcs; a-- > 0;)
        n->list[--n->first[n->to[a ^ 1]]] = a;
    return CV_ERR_OK;
}

/* One pair, from its lower end: what each end gave, as far as it is on a chain. */
static enum cv_err copy_pair(struct rep_flow *f, struct net *n, uint32_t u,
                             const struct rep_half *h, uint32_t hops, bool split) {
    uint32_t v = h->to;
    uint64_t there = on_chain(f, u, v, hops) ? rep_graph_octets(f->g, h, REP_GAVE) : 0;
    uint64_t back = on_chain(f, v, u, hops) ? rep_graph_octets(f->g, h, REP_TOOK) : 0;
    uint32_t a = f->local[u], b = f->local[v];
    if ((there | back) == 0)
        return CV_ERR_OK;
    if (!split)
        return add(n, a, b, there, back);
    enum cv_err err = there ? add(n, 2 * a + 1, 2 * b, there, 0) : CV_ERR_OK;
    return err || !back ? err : add(n, 2 * b + 1, 2 * a, back, 0);
}

/* Nodes with a capacity are two, in and out, with an arc between. */
static enum cv_err copy(struct rep_flow *f, uint32_t sink, uint32_t hops, const uint64_t *node_cap,
                        struct net *n) {
    enum cv_err err = CV_ERR_OK;
    n->nodes = node_cap ? 2 * f->found_n : f->found_n;
    for (uint32_t i = 0; i < f->found_n; i++)
        f->local[f->found[i]] = i;
    for (uint32_t i = 0; !err && i < f->found_n; i++) {
        uint32_t u = f->found[i], row_n;
        uint64_t total;
        if (node_cap)
            err = add(n, 2 * i, 2 * i + 1, u == sink ? UINT64_MAX : node_cap[u], 0);
        const struct rep_half *row = rep_graph_row(f->g, u, &row_n, &total);
        for (uint32_t j = 0; !err && j < row_n; j++)
            if ((row[j].pair & 1) == 0)
                err = copy_pair(f, n, u, &row[j], hops, node_cap != NULL);
    }
    return err ? err : arrange(n);
}

/* ---- Dinic ---- */

/* Levels by hops from the source over arcs with capacity left. */
static bool levels(struct net *n, uint32_t source, uint32_t sink) {
    uint32_t head = 0, tail = 0;
    memset(n->level, 0xff, n->nodes * sizeof *n->level);
    n->level[source] = 0;
    n->queue[tail++] = source;
    while (head < tail && n->level[sink] == FAR) {
        uint32_t v = n->queue[head++];
        for (uint32_t i = n->first[v]; i < n->first[v + 1]; i++) {
            uint32_t arc = n->list[i], to = n->to[arc];
            if (n->left[arc] && n->level[to] == FAR) {
                n->level[to] = n->level[v] + 1;
                n->queue[tail++] = to;
            }
        }
    }
    return n->level[sink] != FAR;
}

/* Sends what the found path can carry; returns where the search goes on: the
 * path up to its first arc that is full now. */
static uint32_t push(struct net *n, uint32_t depth, rep_u128 *flow) {
    uint64_t most = UINT64_MAX;
    uint32_t keep = depth;
    for (uint32_t i = 0; i < depth; i++)
        most = n->left[n->path[i]] < most ? n->left[n->path[i]] : most;
    for (uint32_t i = depth; i-- > 0;) {
        n->left[n->path[i]] -= most;
        n->left[n->path[i] ^ 1] += most;
        if (n->left[n->path[i]] == 0)
            keep = i;
    }
    *flow += most;
    return keep;
}

/* All shortest paths of these levels, depth first, each arc tried once. */
static void block(struct net *n, uint32_t source, uint32_t sink, rep_u128 *flow) {
    uint32_t depth = 0, v = source;
    memcpy(n->at, n->first, n->nodes * sizeof *n->at);
    for (;;) {
        if (v == sink) {
            depth = push(n, depth, flow);
            v = depth ? n->to[n->path[depth - 1]] : source;
        }
        uint32_t arc = FAR;
        for (; n->at[v] < n->first[v + 1]; n->at[v]++) {
            arc = n->list[n->at[v]];
            if (n->left[arc] && n->level[n->to[arc]] == n->level[v] + 1)
                break;
            arc = FAR;
        }
        if (arc != FAR) {
            n->path[depth++] = arc;
            v = n->to[arc];
        } else if (depth == 0) {
            return;
        } else { /* a dead end: nothing leads here any more */
            n->level[v] = FAR;
            v = n->to[n->path[--depth] ^ 1];
        }
    }
}

enum cv_err rep_flow_max(struct rep_flow *f, uint32_t source, uint32_t sink, unsigned hops,
                         const uint64_t *node_cap, uint64_t *ret) {
    uint32_t count = rep_graph_count(f->g), limit = hops == REP_FLOW_UNLIMITED ? FAR - 1 : hops;
    struct net n = {0};
    rep_u128 flow = 0;
    assert(source < count && sink < count);
    if (source == sink)
        return CV_ERR_INVAL;
    *ret = 0;
    if (rep_graph_excluded(f->g, source) || rep_graph_excluded(f->g, sink))
        return CV_ERR_OK;
    look_around(f, source, sink, limit);
    enum cv_err err = CV_ERR_OK;
    if (f->from_source[sink] != FAR) {
        err = copy(f, sink, limit, node_cap, &n);
        uint32_t s = f->local[source], t = f->local[sink];
        while (!err && levels(&n, node_cap ? 2 * s : s, node_cap ? 2 * t : t))
            block(&n, node_cap ? 2 * s : s, node_cap ? 2 * t : t, &flow);
    }
    net_done(&n);
    forget(f);
    if (!err)
        *ret = flow > UINT64_MAX ? UINT64_MAX : (uint64_t)flow;
    return err;
}
