/*
 * Where relays stand: the ranking over agreed rows, and from it the weight of
 * each neighbour's link. Changes are gathered for a second, then walked once.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/trace.h"
#include "reputation/ledger_internal.h"
#include "reputation/rank_walk.h"

enum cv_err rep_standing_load(struct rep_ledger *l) {
    const uint8_t *me = l->identity_secret.public_key;
    struct rep_edge *edges = NULL;
    uint8_t *forgers = NULL;
    size_t n = 0, forger_n = 0;

    enum cv_err err = rep_graph_node(l->graph, me, &l->ego);
    if (!err)
        err = l->store->edge_load(l->store->ctx, &edges, &n);
    if (!err)
        err = rep_graph_load(l->graph, edges, n);
    for (size_t i = 0; !err && i < n; i++) {
        bool gave = memcmp(edges[i].giver, me, CV_KEY) == 0;
        struct rep_peer *p;
        if (!gave && memcmp(edges[i].taker, me, CV_KEY) != 0)
            continue;
        err = rep_ledger_peer(l, gave ? edges[i].taker : edges[i].giver, &p);
        if (!err)
            *(gave ? &p->released_given : &p->released_taken) = edges[i].octets;
    }
    free(edges);
    if (!err)
        err = l->store->fork_load(l->store->ctx, &forgers, &forger_n);
    for (size_t i = 0; !err && i < forger_n; i++) {
        const uint8_t *key = forgers + i * CV_KEY;
        err = rep_keys_add(&l->gossip.forgers[rep_names_standing(l, key)], key);
        if (!err)
            err = rep_graph_exclude(l->graph, key);
        err = err == CV_ERR_LIMIT ? CV_ERR_OK : err; /* unknown to the graph: nothing to exclude */
    }
    free(forgers);
    return err;
}

/* What says most to whoever asks why a score changed; later ones win. */
static int weight_of(unsigned cause) {
    static const uint8_t order[] = {0,
                                    REP_BECAUSE_NEIGHBOURS,
                                    REP_BECAUSE_START,
                                    REP_BECAUSE_EPOCH,
                                    REP_BECAUSE_ROWS,
                                    REP_BECAUSE_FORGER};
    for (int i = 0; i < (int)sizeof order; i++)
        if (order[i] == cause)
            return i;
    return 0;
}

void rep_standing_dirty(struct rep_ledger *l, struct cv_now now, enum rep_why_cause why) {
    if (weight_of(why) > weight_of(l->rerank_why))
        l->rerank_why = (uint8_t)why;
    if (l->rerank_at == CV_USEC_NEVER)
        l->rerank_at = cv_usec_add(now.mono, REP_RERANK_WAIT);
}

/* Mean of the hits of those neighbours that have any, and a row with us: else
 * whoever links to us with a crowd behind it could lower the mean at will. */
static uint64_t mean_hits(struct rep_ledger *l) {
    uint64_t sum = 0, n = 0;
    void *cursor = NULL;
    const struct rep_peer *p;
    while ((p = cv_map_next(l->peers, &cursor, NULL))) {
        if (!p->released_given && !p->released_taken)
            continue;
        sum += p->hits;
        n += p->hits != 0;
    }
    return n ? sum / n : 0;
}

static void weigh(struct rep_ledger *l, struct rep_link *k, uint64_t mean) {
    uint64_t w = REP_WEIGHT_MIN;
    if (mean)
        w = (uint64_t)k->peer->hits * REP_WEIGHT_MEAN / mean;
    w = w < REP_WEIGHT_MIN ? REP_WEIGHT_MIN : w > REP_WEIGHT_MAX ? REP_WEIGHT_MAX : w;
    if (k->weight == w)
        return;
    k->weight = (uint32_t)w;
    k->tell_weight = true;
    rep_ledger_changed(l, k);
}

void rep_standing_weigh(struct rep_ledger *l, struct rep_link *k) {
    weigh(l, k, l->hits_mean);
}

/* Keeps a neighbour's score for whoever inspects the file. */
static void keep_score(struct rep_ledger *l, struct cv_now now, const struct rep_peer *p) {
    if (!rep_ledger_begin(l, now))
        return;
    enum cv_err err = l->store->score_put(l->store->ctx, l->identity_secret.public_key, p->key,
                                          (double)p->hits / REP_WALKS, l->generation);
    if (err)
        rep_ledger_fail(l, err);
    else
        rep_ledger_touch(l, now, 1);
}

static void hand_out(struct rep_ledger *l, struct cv_now now) {
    void *cursor = NULL;
    struct rep_peer *p;
    while ((p = cv_map_next(l->peers, &cursor, NULL))) {
        uint32_t i = rep_graph_find(l->graph, p->key);
        uint32_t was = p->hits;
        p->hits = i == REP_NO_NODE ? 0 : rep_walks_hits(l->walks, i);
        if (p->hits == was)
            continue;
        keep_score(l, now, p);
        struct rep_why why = {.kind = REP_WHY_SCORE,
                              .cause = l->rerank_why,
                              .was = was,
                              .became = p->hits,
                              .given = p->released_given,
                              .taken = p->released_taken};
        memcpy(why.who, p->key, CV_KEY);
        rep_ledger_because(l, now, &why);
    }
    l->hits_mean = mean_hits(l);
    cursor = NULL;
    while ((p = cv_map_next(l->peers, &cursor, NULL))) {
        struct rep_link *k;
        TAILQ_FOREACH(k, &p->links, of_owner)
        weigh(l, k, l->hits_mean);
    }
}

/* Relays with links to us compete for the same scheduler. */
static enum cv_err set_rivals(struct rep_ledger *l) {
    uint32_t n = 0, *nodes = calloc(cv_map_count(l->peers) + 1, sizeof *nodes);
    void *cursor = NULL;
    const struct rep_peer *p;
    if (!nodes)
        return CV_ERR_NOMEM;
    while ((p = cv_map_next(l->peers, &cursor, NULL))) {
        uint32_t i = rep_graph_find(l->graph, p->key);
        if (i != REP_NO_NODE && !TAILQ_EMPTY(&p->links))
            nodes[n++] = i;
    }
    enum cv_err err = rep_walks_rivals(l->walks, nodes, n);
    free(nodes);
    return err;
}

void rep_standing_rank(struct rep_ledger *l, struct cv_now now) {
    l->rerank_at = CV_USEC_NEVER;
    if (set_rivals(l) || rep_walks_update(l->walks, l->graph, l->ego)) {
        rep_standing_dirty(l, now, l->rerank_why); /* out of memory: tried again */
        return;
    }
    uint32_t count = rep_graph_count(l->graph);
    l->generation++;
    l->stats.relays_ranked = 0;
    for (uint32_t i = 0; i < count; i++)
        l->stats.relays_ranked += rep_walks_hits(l->walks, i) != 0;
    hand_out(l, now);
    l->rerank_why = 0;
    CV_TRACE(LEDGER, ranked, now.mono, "relays=%llu generation=%llu walked=%u",
             (unsigned long long)l->stats.relays_ranked, (unsigned long long)l->generation,
             rep_walks_repaired(l->walks));
}
