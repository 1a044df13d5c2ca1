#include "culvert-ledger/ways.h"

#include <stdlib.h>

static int most_walks(const void *a, const void *b) {
    const struct ledger_way *x = a, *y = b;
    if (x->walks != y->walks)
        return x->walks < y->walks ? 1 : -1;
    if (x->in + x->out != y->in + y->out)
        return x->in + x->out < y->in + y->out ? 1 : -1;
    return (x->via > y->via) - (x->via < y->via);
}

static uint64_t smaller(uint64_t a, uint64_t b) {
    return a < b ? a : b;
}

struct rep_inout ledger_between(struct rep_graph *g, uint32_t of, uint32_t to) {
    uint32_t n;
    uint64_t total;
    const struct rep_half *row = rep_graph_row(g, of, &n, &total);
    for (uint32_t i = 0; i < n; i++)
        if (row[i].to == to)
            return (struct rep_inout){.in = rep_graph_octets(g, &row[i], REP_TOOK),
                                      .out = rep_graph_octets(g, &row[i], REP_GAVE)};
    return (struct rep_inout){0};
}

struct ledger_way *ledger_ways_room(struct ledger_file *f, const struct ledger_graph *g) {
    struct ledger_way *room = calloc((size_t)g->n + 1, sizeof *room);
    if (!room)
        ledger_die(LEDGER_NO_FILE, "%s: out of memory", f->path);
    return room;
}

uint32_t ledger_ways(struct ledger_graph *g, const struct rep_walks *w, uint32_t ego,
                     uint32_t target, struct ledger_way *ret) {
    uint32_t n, kept = 0, *via = calloc((size_t)g->n + 1, sizeof *via);
    uint64_t total;
    if (!via)
        return 0;
    if (rep_walks_hits(w, target))
        rep_walks_via(w, target, via);
    const struct rep_half *row = rep_graph_row(g->g, ego, &n, &total);
    for (uint32_t i = 0; i < n; i++) {
        uint32_t k = row[i].to;
        struct ledger_way way = {.via = k, .walks = via[k]};
        uint64_t from_k = rep_graph_octets(g->g, &row[i], REP_TOOK);
        uint64_t to_k = rep_graph_octets(g->g, &row[i], REP_GAVE);
        struct rep_inout far = k == target ? (struct rep_inout){.in = from_k, .out = to_k}
                                           : ledger_between(g->g, k, target);
        way.in = smaller(from_k, far.in);
        way.out = smaller(to_k, far.out);
        if (way.walks || way.in || way.out)
            ret[kept++] = way;
    }
    free(via);
    qsort(ret, kept, sizeof *ret, most_walks);
    return kept;
}
