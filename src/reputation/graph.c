#include "reputation/graph.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/map.h"
#include "crypto/siphash.h"
#include "reputation/chain.h"

/* 8 TiB: 2^20 neighbours of this weight still add up within 64 bits. */
#define WEIGHT_MAX (UINT64_C(1) << 43)

struct node {
    uint8_t key[CV_KEY];
    struct rep_half *v; /* by `to`, unless unsorted */
    uint32_t n, cap, index;
    bool unsorted; /* loaded in bulk: sort and merge before use */
    bool fresh;    /* sums are those of this epoch and these weights */
    bool excluded;
};

struct rep_graph {
    struct cv_map *by_key; /* to struct node */
    struct node **nodes;
    uint32_t count, cap, max, epoch;
    uint8_t hash_key[CV_SIPHASH_KEY];
};

struct rep_graph *rep_graph_new(uint32_t nodes_max, const uint8_t *hash_key) {
    struct rep_graph *g = calloc(1, sizeof *g);
    if (!g)
        return NULL;
    g->max = nodes_max;
    memcpy(g->hash_key, hash_key, sizeof g->hash_key);
    g->by_key = cv_map_new(CV_KEY, nodes_max, cv_siphash_map, g->hash_key);
    return g->by_key ? g : rep_graph_free(g);
}

struct rep_graph *rep_graph_free(struct rep_graph *g) {
    if (!g)
        return NULL;
    for (uint32_t i = 0; i < g->count; i++) {
        free(g->nodes[i]->v);
        free(g->nodes[i]);
    }
    free(g->nodes);
    cv_map_free(g->by_key);
    free(g);
    return NULL;
}

uint32_t rep_graph_count(const struct rep_graph *g) {
    return g->count;
}

const uint8_t *rep_graph_key(const struct rep_graph *g, uint32_t i) {
    assert(i < g->count);
    return g->nodes[i]->key;
}

uint32_t rep_graph_find(const struct rep_graph *g, const uint8_t key[CV_KEY]) {
    const struct node *node = cv_map_get(g->by_key, key);
    return node ? node->index : REP_NO_NODE;
}

static enum cv_err node_get(struct rep_graph *g, const uint8_t key[CV_KEY], struct node **ret) {
    struct node *node = cv_map_get(g->by_key, key);
    if (node) {
        *ret = node;
        return CV_ERR_OK;
    }
    if (g->count == g->cap) {
        uint32_t cap = g->cap ? g->cap * 2 : 64;
        struct node **more = realloc(g->nodes, cap * sizeof *more);
        if (!more)
            return CV_ERR_NOMEM;
        g->nodes = more;
        g->cap = cap;
    }
    node = calloc(1, sizeof *node);
    if (!node)
        return CV_ERR_NOMEM;
    memcpy(node->key, key, CV_KEY);
    enum cv_err err = cv_map_put(g->by_key, key, node);
    if (err) {
        free(node);
        return err;
    }
    node->index = g->count;
    g->nodes[g->count++] = node;
    *ret = node;
    return CV_ERR_OK;
}

enum cv_err rep_graph_node(struct rep_graph *g, const uint8_t key[CV_KEY], uint32_t *ret) {
    struct node *node;
    enum cv_err err = node_get(g, key, &node);
    if (!err)
        *ret = node->index;
    return err;
}

static int by_to(const void *a, const void *b) {
    const struct rep_half *x = a, *y = b;
    return (x->to > y->to) - (x->to < y->to);
}

/* After a bulk load a neighbour may be there twice, once a direction. */
static void sort(struct node *node) {
    if (!node->unsorted)
        return;
    qsort(node->v, node->n, sizeof *node->v, by_to);
    uint32_t n = 0;
    for (uint32_t i = 0; i < node->n; i++) {
        if (n && node->v[n - 1].to == node->v[i].to) {
            struct rep_half *h = &node->v[n - 1];
            if (node->v[i].out) {
                h->out = node->v[i].out;
                h->out_epoch = node->v[i].out_epoch;
            }
            if (node->v[i].in) {
                h->in = node->v[i].in;
                h->in_epoch = node->v[i].in_epoch;
            }
        } else {
            node->v[n++] = node->v[i];
        }
    }
    node->n = n;
    node->unsorted = false;
}

static struct rep_half *append(struct node *node) {
    if (node->n == node->cap) {
        uint32_t cap = node->cap ? node->cap * 2 : 4;
        struct rep_half *more = realloc(node->v, cap * sizeof *more);
        if (!more)
            return NULL;
        node->v = more;
        node->cap = cap;
    }
    node->fresh = false;
    struct rep_half *h = &node->v[node->n++];
    memset(h, 0, sizeof *h);
    return h;
}

/* The half of `node` that leads to `to`, added in its place when new. */
static struct rep_half *half(struct node *node, uint32_t to) {
    sort(node);
    uint32_t lo = 0, hi = node->n;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (node->v[mid].to < to)
            lo = mid + 1;
        else
            hi = mid;
    }
    node->fresh = false;
    if (lo < node->n && node->v[lo].to == to)
        return &node->v[lo];
    if (!append(node))
        return NULL;
    memmove(&node->v[lo + 1], &node->v[lo], (node->n - 1 - lo) * sizeof *node->v);
    memset(&node->v[lo], 0, sizeof *node->v);
    node->v[lo].to = to;
    return &node->v[lo];
}

static enum cv_err ends(struct rep_graph *g, const struct rep_edge *e, struct node **giver,
                        struct node **taker) {
    enum cv_err err = node_get(g, e->giver, giver);
    return err ? err : node_get(g, e->taker, taker);
}

enum cv_err rep_graph_set(struct rep_graph *g, const struct rep_edge *e) {
    struct node *giver, *taker;
    enum cv_err err = ends(g, e, &giver, &taker);
    if (err)
        return err;
    struct rep_half *out = half(giver, taker->index), *in = half(taker, giver->index);
    if (!out || !in)
        return CV_ERR_NOMEM; /* a half that weighs nothing may stay: harmless */
    out->out = in->in = e->recent;
    out->out_epoch = in->in_epoch = e->epoch;
    return CV_ERR_OK;
}

enum cv_err rep_graph_load(struct rep_graph *g, const struct rep_edge *e, size_t n) {
    for (size_t i = 0; i < n; i++) {
        struct node *giver, *taker;
        enum cv_err err = ends(g, &e[i], &giver, &taker);
        if (err)
            return err;
        struct rep_half *out = append(giver);
        giver->unsorted = true;
        if (!out)
            return CV_ERR_NOMEM;
        out->to = taker->index;
        out->out = e[i].recent;
        out->out_epoch = e[i].epoch;
        struct rep_half *in = append(taker);
        taker->unsorted = true;
        if (!in)
            return CV_ERR_NOMEM;
        in->to = giver->index;
        in->in = e[i].recent;
        in->in_epoch = e[i].epoch;
    }
    return CV_ERR_OK;
}

static void all_stale(struct rep_graph *g) {
    for (uint32_t i = 0; i < g->count; i++)
        g->nodes[i]->fresh = false;
}

enum cv_err rep_graph_exclude(struct rep_graph *g, const uint8_t key[CV_KEY]) {
    struct node *node;
    enum cv_err err = node_get(g, key, &node);
    if (err)
        return err;
    node->excluded = true;
    all_stale(g);
    return CV_ERR_OK;
}

void rep_graph_epoch(struct rep_graph *g, uint32_t epoch) {
    if (g->epoch == epoch)
        return;
    g->epoch = epoch;
    all_stale(g);
}

static uint64_t weight(const struct rep_graph *g, const struct rep_half *h) {
    uint64_t out = rep_chain_decay(h->out, h->out_epoch, g->epoch);
    uint64_t in = rep_chain_decay(h->in, h->in_epoch, g->epoch);
    uint64_t sum = out + in; /* both <= REP_AMOUNT_MAX */
    return sum < WEIGHT_MAX ? sum : WEIGHT_MAX;
}

const struct rep_half *rep_graph_row(struct rep_graph *g, uint32_t i, uint32_t *ret_n,
                                     uint64_t *ret_total) {
    assert(i < g->count);
    struct node *node = g->nodes[i];
    if (!node->fresh) {
        sort(node);
        uint64_t sum = 0;
        for (uint32_t j = 0; j < node->n; j++) {
            if (!node->excluded && !g->nodes[node->v[j].to]->excluded)
                sum += weight(g, &node->v[j]);
            node->v[j].sum = sum;
        }
        node->fresh = true;
    }
    *ret_n = node->n;
    *ret_total = node->n ? node->v[node->n - 1].sum : 0;
    return node->v;
}
