#include "reputation/graph.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/map.h"
#include "crypto/siphash.h"
#include "reputation/chain.h"

/* 8 TiB: 2^20 neighbours of this weight still add up within 64 bits. */
#define WEIGHT_MAX (UINT64_C(1) << 43)

enum {
    PAIRS_MAX = 1 << 29, /* what fits beside the three marks of rep_half.pair */
    TAIL_INSERTED = 8,   /* so many new halves are moved into place one by one */
};

struct node {
    uint8_t key[CV_KEY];
    struct rep_half *v; /* the first `sorted` by `to`, then appended ones */
    uint32_t n, cap, sorted;
    bool fresh; /* sums and marks are those of this epoch and these pairs */
    bool excluded;
    uint32_t heir, before; /* index + 1; 0: none */
    uint64_t changed;
};

struct rep_graph {
    struct cv_map *by_key; /* to index + 1 */
    struct node *nodes;
    uint32_t count, cap, epoch;
    struct rep_pair *pairs;
    uint32_t pair_n, pair_cap;
    uint32_t *table; /* of pair index + 1, open addressing, by both ends */
    uint32_t table_size;
    uint64_t version, all_changed;
    uint8_t hash_key[CV_SIPHASH_KEY];
};

struct rep_graph *rep_graph_new(uint32_t nodes_max, const uint8_t *hash_key) {
    struct rep_graph *g = calloc(1, sizeof *g);
    if (!g)
        return NULL;
    memcpy(g->hash_key, hash_key, sizeof g->hash_key);
    g->by_key = cv_map_new(CV_KEY, nodes_max, cv_siphash_map, g->hash_key);
    return g->by_key ? g : rep_graph_free(g);
}

struct rep_graph *rep_graph_free(struct rep_graph *g) {
    if (!g)
        return NULL;
    for (uint32_t i = 0; i < g->count; i++)
        free(g->nodes[i].v);
    free(g->nodes);
    free(g->pairs);
    free(g->table);
    cv_map_free(g->by_key);
    free(g);
    return NULL;
}

/* ---- nodes ---- */

uint32_t rep_graph_count(const struct rep_graph *g) {
    return g->count;
}

const uint8_t *rep_graph_key(const struct rep_graph *g, uint32_t i) {
    assert(i < g->count);
    return g->nodes[i].key;
}

uint32_t rep_graph_find(const struct rep_graph *g, const uint8_t key[CV_KEY]) {
    uintptr_t place = (uintptr_t)cv_map_get(g->by_key, key);
    return place ? (uint32_t)(place - 1) : REP_NO_NODE;
}

enum cv_err rep_graph_node(struct rep_graph *g, const uint8_t key[CV_KEY], uint32_t *ret) {
    uint32_t i = rep_graph_find(g, key);
    if (i != REP_NO_NODE) {
        *ret = i;
        return CV_ERR_OK;
    }
    if (g->count == g->cap) {
        uint32_t cap = g->cap ? g->cap * 2 : 64;
        struct node *more = realloc(g->nodes, cap * sizeof *more);
        if (!more)
            return CV_ERR_NOMEM;
        g->nodes = more;
        g->cap = cap;
    }
    enum cv_err err = cv_map_put(g->by_key, key, (void *)((uintptr_t)g->count + 1));
    if (err)
        return err;
    memset(&g->nodes[g->count], 0, sizeof *g->nodes);
    memcpy(g->nodes[g->count].key, key, CV_KEY);
    *ret = g->count++;
    return CV_ERR_OK;
}

/* ---- pairs ---- */

/* Where the pair of low and high is in the table, or would be. */
static uint32_t slot_of(const struct rep_graph *g, uint32_t low, uint32_t high) {
    uint32_t ends[2] = {low, high};
    uint32_t at = (uint32_t)cv_siphash(g->hash_key, ends, sizeof ends) & (g->table_size - 1);
    while (g->table[at]) {
        const struct rep_pair *p = &g->pairs[g->table[at] - 1];
        if (p->end[0] == low && p->end[1] == high)
            break;
        at = (at + 1) & (g->table_size - 1);
    }
    return at;
}

/* Room for one more pair: at most half of the table is ever used. */
static enum cv_err grow_pairs(struct rep_graph *g) {
    if (g->pair_n < g->pair_cap)
        return CV_ERR_OK;
    if (g->pair_n >= PAIRS_MAX)
        return CV_ERR_LIMIT;
    uint32_t cap = g->pair_cap ? g->pair_cap * 2 : 64;
    struct rep_pair *more = realloc(g->pairs, cap * sizeof *more);
    if (!more)
        return CV_ERR_NOMEM;
    g->pairs = more;
    uint32_t *table = calloc((size_t)cap * 2, sizeof *table);
    if (!table)
        return CV_ERR_NOMEM;
    free(g->table);
    g->table = table;
    g->table_size = cap * 2;
    g->pair_cap = cap;
    for (uint32_t i = 0; i < g->pair_n; i++)
        g->table[slot_of(g, g->pairs[i].end[0], g->pairs[i].end[1])] = i + 1;
    return CV_ERR_OK;
}

static bool room(struct node *node) {
    if (node->n < node->cap)
        return true;
    uint32_t cap = node->cap ? node->cap * 2 : 4;
    struct rep_half *more = realloc(node->v, cap * sizeof *more);
    if (!more)
        return false;
    node->v = more;
    node->cap = cap;
    return true;
}

static void append(struct node *node, uint32_t to, uint32_t pair, uint32_t side) {
    node->v[node->n++] = (struct rep_half){.to = to, .pair = pair << 3 | side};
}

/* Finds the pair of two nodes or adds it, low end first. */
static enum cv_err pair_get(struct rep_graph *g, uint32_t low, uint32_t high,
                            struct rep_pair **ret) {
    enum cv_err err = grow_pairs(g);
    if (err)
        return err;
    uint32_t at = slot_of(g, low, high);
    if (!g->table[at]) {
        if (!room(&g->nodes[low]) || !room(&g->nodes[high]))
            return CV_ERR_NOMEM;
        append(&g->nodes[low], high, g->pair_n, 0);
        append(&g->nodes[high], low, g->pair_n, 1);
        memset(&g->pairs[g->pair_n], 0, sizeof *g->pairs);
        g->pairs[g->pair_n].end[0] = low;
        g->pairs[g->pair_n].end[1] = high;
        g->table[at] = ++g->pair_n;
    }
    *ret = &g->pairs[g->table[at] - 1];
    return CV_ERR_OK;
}

static void touch(struct rep_graph *g, uint32_t i) {
    g->nodes[i].fresh = false;
    g->nodes[i].changed = g->version;
}

enum cv_err rep_graph_link(struct rep_graph *g, uint32_t giver, uint32_t taker,
                           const struct rep_edge *e) {
    struct rep_pair *p;
    assert(giver < g->count && taker < g->count);
    if (giver == taker)
        return CV_ERR_INVAL;
    enum cv_err err = pair_get(g, giver < taker ? giver : taker, giver < taker ? taker : giver, &p);
    if (err)
        return err;
    unsigned way = p->end[0] != giver;
    p->octets[way] = e->octets;
    p->recent[way] = e->recent;
    p->epoch[way] = e->epoch;
    g->version++;
    touch(g, giver);
    touch(g, taker);
    return CV_ERR_OK;
}

enum cv_err rep_graph_set(struct rep_graph *g, const struct rep_edge *e) {
    uint32_t giver, taker;
    enum cv_err err = rep_graph_node(g, e->giver, &giver);
    if (!err)
        err = rep_graph_node(g, e->taker, &taker);
    return err ? err : rep_graph_link(g, giver, taker, e);
}

enum cv_err rep_graph_load(struct rep_graph *g, const struct rep_edge *e, size_t n) {
    enum cv_err err = CV_ERR_OK;
    for (size_t i = 0; !err && i < n; i++) {
        err = rep_graph_set(g, &e[i]);
        err = err == CV_ERR_LIMIT ? CV_ERR_OK : err;
    }
    return err;
}

/* ---- what changes many rows ---- */

enum cv_err rep_graph_exclude(struct rep_graph *g, const uint8_t key[CV_KEY]) {
    uint32_t i;
    enum cv_err err = rep_graph_node(g, key, &i);
    if (err)
        return err;
    g->version++;
    touch(g, rep_graph_now(g, i)); /* it loses these rows */
    /* Whoever it stood for goes with it. */
    for (uint32_t k = i; k != REP_NO_NODE; k = rep_graph_before(g, k)) {
        touch(g, k);
        for (uint32_t j = 0; j < g->nodes[k].n; j++)
            touch(g, g->nodes[k].v[j].to);
    }
    g->nodes[i].excluded = true;
    return CV_ERR_OK;
}

uint32_t rep_graph_now(const struct rep_graph *g, uint32_t i) {
    assert(i < g->count);
    while (g->nodes[i].heir && !g->nodes[i].excluded)
        i = g->nodes[i].heir - 1;
    return i;
}

uint32_t rep_graph_before(const struct rep_graph *g, uint32_t i) {
    assert(i < g->count);
    uint32_t before = g->nodes[i].before;
    return before && !g->nodes[before - 1].excluded ? before - 1 : REP_NO_NODE;
}

/* All keys in a row that node i is one of, whether any is excluded or not. */
static uint32_t in_a_row(const struct rep_graph *g, uint32_t i, uint32_t *ret_first) {
    uint32_t n = 1;
    while (g->nodes[i].before)
        i = g->nodes[i].before - 1;
    *ret_first = i;
    for (; g->nodes[i].heir; n++)
        i = g->nodes[i].heir - 1;
    return n;
}

enum cv_err rep_graph_succeed(struct rep_graph *g, const uint8_t old[CV_KEY],
                              const uint8_t heir[CV_KEY]) {
    uint32_t a, b, first, first_of_heir;
    enum cv_err err = rep_graph_node(g, old, &a);
    if (!err)
        err = rep_graph_node(g, heir, &b);
    if (err)
        return err;
    if (g->nodes[a].heir || g->nodes[b].before)
        return CV_ERR_EXIST;
    uint32_t n = in_a_row(g, a, &first) + in_a_row(g, b, &first_of_heir);
    if (first == first_of_heir)
        return CV_ERR_INVAL;
    if (n > REP_HEIRS)
        return CV_ERR_LIMIT;
    g->nodes[a].heir = b + 1;
    g->nodes[b].before = a + 1;
    g->version++;
    for (uint32_t i = first;; i = g->nodes[i].heir - 1) {
        touch(g, i);
        if (!g->nodes[i].heir)
            break;
    }
    return CV_ERR_OK;
}

bool rep_graph_excluded(const struct rep_graph *g, uint32_t i) {
    assert(i < g->count);
    return g->nodes[i].excluded;
}

bool rep_graph_has_rows(const struct rep_graph *g, const uint8_t key[CV_KEY]) {
    uint32_t i = rep_graph_find(g, key);
    if (i == REP_NO_NODE)
        return false;
    (void)in_a_row(g, i, &i);
    while (g->nodes[i].n == 0 && g->nodes[i].heir)
        i = g->nodes[i].heir - 1;
    return g->nodes[i].n > 0;
}

void rep_graph_epoch(struct rep_graph *g, uint32_t epoch) {
    if (g->epoch == epoch)
        return;
    g->epoch = epoch;
    g->all_changed = ++g->version;
    for (uint32_t i = 0; i < g->count; i++)
        g->nodes[i].fresh = false;
}

uint64_t rep_graph_version(const struct rep_graph *g) {
    return g->version;
}

uint64_t rep_graph_changed(const struct rep_graph *g, uint32_t i) {
    assert(i < g->count);
    uint64_t changed = g->nodes[i].changed;
    for (uint32_t k = rep_graph_before(g, i); k != REP_NO_NODE; k = rep_graph_before(g, k))
        changed = g->nodes[k].changed > changed ? g->nodes[k].changed : changed;
    return changed > g->all_changed ? changed : g->all_changed;
}

/* ---- rows ---- */

static uint64_t pair_weight(const struct rep_graph *g, const struct rep_half *h, enum rep_way way) {
    const struct rep_pair *p = &g->pairs[h->pair >> 3];
    uint32_t low = rep_graph_now(g, p->end[0]), high = rep_graph_now(g, p->end[1]);
    if (g->nodes[low].excluded || g->nodes[high].excluded || low == high)
        return 0;
    unsigned side = h->pair & 1;
    uint64_t sum = 0; /* of two numbers <= REP_AMOUNT_MAX */
    if (way != REP_TOOK)
        sum += rep_chain_decay(p->recent[side], p->epoch[side], g->epoch);
    if (way != REP_GAVE)
        sum += rep_chain_decay(p->recent[!side], p->epoch[!side], g->epoch);
    return sum < WEIGHT_MAX ? sum : WEIGHT_MAX;
}

uint64_t rep_graph_weight(const struct rep_graph *g, const struct rep_half *h, enum rep_way way) {
    return pair_weight(g, h, way);
}

uint64_t rep_graph_octets(const struct rep_graph *g, const struct rep_half *h, enum rep_way way) {
    assert(way != REP_BOTH);
    unsigned side = h->pair & 1;
    return g->pairs[h->pair >> 3].octets[way == REP_GAVE ? side : !side];
}

static int by_to(const void *a, const void *b) {
    const struct rep_half *x = a, *y = b;
    return (x->to > y->to) - (x->to < y->to);
}

/* What was appended moves to its place: the order of a row is that of its
 * nodes, however it came about. */
static void sort(struct node *node) {
    if (node->n - node->sorted > TAIL_INSERTED)
        qsort(node->v, node->n, sizeof *node->v, by_to);
    else
        for (uint32_t i = node->sorted; i < node->n; i++) {
            struct rep_half h = node->v[i];
            uint32_t lo = 0, hi = i;
            while (lo < hi) {
                uint32_t mid = lo + (hi - lo) / 2;
                if (node->v[mid].to < h.to)
                    lo = mid + 1;
                else
                    hi = mid;
            }
            memmove(&node->v[lo + 1], &node->v[lo], (i - lo) * sizeof h);
            node->v[lo] = h;
        }
    node->sorted = node->n;
}

const struct rep_half *rep_graph_row(struct rep_graph *g, uint32_t i, uint32_t *ret_n,
                                     uint64_t *ret_total) {
    assert(i < g->count);
    struct node *node = &g->nodes[i];
    if (!node->fresh) {
        sort(node);
        uint64_t sum = 0;
        for (uint32_t j = 0; j < node->n; j++) {
            struct rep_half *h = &node->v[j];
            const struct rep_pair *p = &g->pairs[h->pair >> 3];
            unsigned side = h->pair & 1;
            h->pair = (h->pair & ~6u) | (p->octets[side] ? 2 : 0) | (p->octets[!side] ? 4 : 0);
            sum += pair_weight(g, h, REP_BOTH);
            h->sum = sum;
        }
        node->fresh = true;
    }
    *ret_n = node->n;
    *ret_total = node->n ? node->v[node->n - 1].sum : 0;
    return node->v;
}
