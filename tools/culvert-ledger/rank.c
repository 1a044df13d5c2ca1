/* peers, rank, why: relays by score, and what makes a score. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "culvert-ledger/print.h"
#include "culvert-ledger/show.h"
#include "culvert-ledger/ways.h"

/* ---- peers ---- */

static json_t *json_peer(const struct ledger_file *f, const struct ledger_relay *r, bool self) {
    json_t *o = json_object();
    json_object_set_new(o, "id", ledger_json_id(f, r->key));
    json_object_set_new(o, "score", json_real(r->score));
    json_object_set_new(o, "given", ledger_json_octets(r->given));
    json_object_set_new(o, "taken", ledger_json_octets(r->taken));
    json_object_set_new(o, "banned_until", json_integer(r->banned));
    json_object_set_new(o, "self", json_boolean(self));
    return o;
}

void ledger_peers(struct ledger_file *f, const struct ledger_request *q) {
    struct ledger_graph g;
    ledger_graph_load(f, &g);
    if (g.n)
        ledger_score(f, &g, ledger_ego(f, &g, q->ego), &q->scoring);
    uint32_t *order = ledger_order(f, &g), n = q->top && q->top < g.n ? q->top : g.n;
    json_t *all = json_array();
    if (!q->json)
        printf("%-*s  %9s  %10s  %10s\n", LEDGER_SHORT, "relay", "score", "given", "taken");
    for (uint32_t i = 0; i < n; i++) {
        const struct ledger_relay *r = &g.relay[order[i]];
        char id[256], given[16], taken[16];
        if (q->json)
            json_array_append_new(all, json_peer(f, r, order[i] == g.self));
        else
            printf("%-*s  %9.6g  %10s  %10s%s%s\n", LEDGER_SHORT, ledger_short(f, r->key, id),
                   r->score, ledger_size(r->given, given), ledger_size(r->taken, taken),
                   order[i] == g.self ? "  self" : "", r->banned ? "  banned" : "");
    }
    if (q->json)
        ledger_print_json(all);
    else
        json_decref(all);
    free(order);
    ledger_graph_done(&g);
}

/* ---- rank ---- */

static bool has_flows(const struct ledger_request *q) {
    return q->scoring.metric == LEDGER_FLOW2 || q->scoring.metric == LEDGER_MAXFLOW;
}

static json_t *json_rank(const struct ledger_file *f, const struct ledger_relay *r, bool flows) {
    json_t *o = json_object();
    json_object_set_new(o, "id", ledger_json_id(f, r->key));
    if (flows) {
        json_object_set_new(o, "in", ledger_json_octets(r->flow.in));
        json_object_set_new(o, "out", ledger_json_octets(r->flow.out));
    } else {
        json_object_set_new(o, "score", json_real(r->score));
    }
    return o;
}

static void print_rank(const struct ledger_file *f, const struct ledger_relay *r, bool flows) {
    char id[256];
    ledger_short(f, r->key, id);
    if (flows)
        printf("%-*s  in %" PRIu64 "  out %" PRIu64 "\n", LEDGER_SHORT, id, r->flow.in,
               r->flow.out);
    else
        printf("%-*s  %.9g\n", LEDGER_SHORT, id, r->score);
}

void ledger_rank(struct ledger_file *f, const struct ledger_request *q) {
    struct ledger_graph g;
    ledger_graph_load(f, &g);
    uint32_t ego = ledger_ego(f, &g, q->ego), shown = 0;
    ledger_score(f, &g, ego, &q->scoring);
    uint32_t *order = ledger_order(f, &g);
    json_t *all = json_array();
    for (uint32_t i = 0; i < g.n && (q->top == 0 || shown < q->top); i++) {
        const struct ledger_relay *r = &g.relay[order[i]];
        if (order[i] == ego)
            continue; /* it is asked about all others */
        shown++;
        if (q->json)
            json_array_append_new(all, json_rank(f, r, has_flows(q)));
        else
            print_rank(f, r, has_flows(q));
    }
    if (q->json)
        ledger_print_json(all);
    else
        json_decref(all);
    free(order);
    ledger_graph_done(&g);
}

/* ---- why ---- */

static void print_ways(const struct ledger_file *f, const struct ledger_graph *g,
                       const struct ledger_way *way, uint32_t n, uint32_t hits) {
    char id[256], in[16], out[16];
    for (uint32_t i = 0; i < n; i++)
        printf("  via %-*s  %5.1f %% of these walks; could have passed on %s to ego, %s back\n",
               LEDGER_SHORT, ledger_short(f, g->relay[way[i].via].key, id),
               hits ? 100.0 * way[i].walks / hits : 0, ledger_size(way[i].in, in),
               ledger_size(way[i].out, out));
}

static json_t *json_ways(const struct ledger_file *f, const struct ledger_graph *g,
                         const struct ledger_way *way, uint32_t n) {
    json_t *all = json_array();
    for (uint32_t i = 0; i < n; i++) {
        json_t *o = json_object();
        json_object_set_new(o, "via", ledger_json_id(f, g->relay[way[i].via].key));
        json_object_set_new(o, "walks", json_integer(way[i].walks));
        json_object_set_new(o, "in", ledger_json_octets(way[i].in));
        json_object_set_new(o, "out", ledger_json_octets(way[i].out));
        json_array_append_new(all, o);
    }
    return all;
}

static void tell_why(struct ledger_file *f, struct ledger_graph *g, uint32_t ego, uint32_t target,
                     const struct rep_walks *w, bool json) {
    struct ledger_way *way = ledger_ways_room(f, g);
    uint32_t n = ledger_ways(g, w, ego, target, way), hits = rep_walks_hits(w, target);
    struct rep_inout direct = ledger_between(g->g, ego, target);
    bool forger = rep_graph_excluded(g->g, target);
    double score = (double)hits / LEDGER_WALKS;
    if (json) {
        json_t *o = json_object();
        json_object_set_new(o, "id", ledger_json_id(f, g->relay[target].key));
        json_object_set_new(o, "ego", ledger_json_id(f, g->relay[ego].key));
        json_object_set_new(o, "score", json_real(score));
        json_object_set_new(o, "walks", json_integer(LEDGER_WALKS));
        json_object_set_new(o, "hits", json_integer(hits));
        json_object_set_new(o, "forger", json_boolean(forger));
        json_object_set_new(o, "gave_ego", ledger_json_octets(direct.in));
        json_object_set_new(o, "took_from_ego", ledger_json_octets(direct.out));
        json_object_set_new(o, "ways", json_ways(f, g, way, n));
        ledger_print_json(o);
    } else {
        char id[256], of[256], in[16], out[16];
        printf("%s as %s sees it: score %.6f, %u of %u walks came by\n",
               ledger_short(f, g->relay[target].key, id), ledger_short(f, g->relay[ego].key, of),
               score, hits, (unsigned)LEDGER_WALKS);
        if (forger)
            printf("it is a proven forger: nothing leads there (culvert-ledger forks)\n");
        printf("directly: gave %s, took %s\n", ledger_size(direct.in, in),
               ledger_size(direct.out, out));
        print_ways(f, g, way, n, hits);
    }
    free(way);
}

void ledger_why(struct ledger_file *f, const struct ledger_request *q) {
    struct ledger_graph g;
    uint8_t key[CV_KEY];
    ledger_graph_load(f, &g);
    uint32_t ego = ledger_ego(f, &g, q->ego);
    ledger_relay_key(f, q->relay[0], key);
    struct rep_walk_config cfg = {
        .walks = LEDGER_WALKS, .alpha_permille = REP_ALPHA_PERMILLE, .seed = q->scoring.seed};
    struct rep_walks *w = rep_walks_new(&cfg);
    if (!w || rep_walks_update(w, g.g, ego))
        ledger_die(LEDGER_NO_FILE, "%s: out of memory", f->path);
    tell_why(f, &g, ego, rep_graph_find(g.g, key), w, q->json);
    rep_walks_free(w);
    ledger_graph_done(&g);
}
