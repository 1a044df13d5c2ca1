/*
 * The DHT in the large: nodes announce themselves and store items, others look
 * for them minutes later, while a tenth of all nodes goes and comes every ten
 * minutes, one datagram in a hundred is lost, and so many of a hundred nodes are
 * hostile (dht_world.h). Nearly everything is found, in few steps, and no store
 * grows past its limits.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dht/limits.h"
#include "scenarios/dht_world.h"

enum { TRIALS_MIN = 150, TRIALS_MAX = 2000, FIND_AFTER_MAX_S = 20 * 60 };

/* Something stored by one node and looked for by another. */
struct trial {
    bool item, eclipsed; /* else announced; under a key that is besieged */
    bool stored, void_, over, found;
    struct dht_id key;
    struct dht_item value;
    struct cv_addr announcer;
    unsigned stores, steps, queried;
};

struct run {
    struct dht_world *w;
    struct trial *trials;
    unsigned count;
    cv_usec end; /* of the last search */
};

/* One trial's next deed at a time. */
struct deed {
    struct run *r;
    unsigned trial;
};

static void deed_at(struct run *r, cv_usec at, sim_action_fn *fn, unsigned trial) {
    struct deed *d = malloc(sizeof *d);
    if (!d)
        abort();
    *d = (struct deed){r, trial};
    sim_at(r->w->sim, at, fn, d);
}

static void find(struct sim *s, void *ctx) {
    struct deed d = *(struct deed *)ctx;
    struct trial *t = &d.r->trials[d.trial];
    struct dht_world_node *n = dht_world_pick(d.r->w);
    struct cv_now now = sim_node_now(s, n->number);
    dht_op op;
    free(ctx);
    if (cv_addr_equal(&n->addr, &t->announcer)) {
        deed_at(d.r, sim_now(s) + 1, find, d.trial);
        return;
    }
    enum cv_err err = t->item ? dht_get_immutable(n->d, now, &t->key, &op)
                              : dht_find_peers(n->d, now, &t->key, &op);
    if (err || !dht_world_task(n, op, d.trial, true))
        abort();
    /* The node may go before it is done: look whether it has, a minute later. */
    t->over = false;
}

static void store(struct sim *s, void *ctx) {
    struct deed d = *(struct deed *)ctx;
    struct trial *t = &d.r->trials[d.trial];
    struct dht_world_node *n = dht_world_pick(d.r->w);
    struct cv_now now = sim_node_now(s, n->number);
    dht_op op;
    free(ctx);
    t->announcer = n->addr;
    enum cv_err err = t->item ? dht_put(n->d, now, &t->value, NULL, &op)
                              : dht_announce(n->d, now, &t->key, 0, true, &op);
    if (err || dht_keep(n->d, op))
        abort();
    if (!dht_world_task(n, op, d.trial, false)) {
        dht_cancel(n->d, now, op);
        t->void_ = true;
    }
}

static void on_event(struct dht_world *w, struct dht_world_node *n, const struct dht_task *task,
                     const struct dht_event *ev) {
    struct run *r = w->ctx;
    struct trial *t = &r->trials[task->trial];
    (void)n;
    if (!task->find) {
        if (ev->kind != DHT_EVENT_DONE || t->stored)
            return; /* later rounds of what is kept */
        t->stored = true;
        t->stores = ev->done.stored;
        cv_usec left = r->end - sim_now(w->sim);
        cv_usec most = left < CV_SEC(FIND_AFTER_MAX_S) ? left : CV_SEC(FIND_AFTER_MAX_S);
        deed_at(r, sim_now(w->sim) + 1 + cv_rng_below(sim_rng(w->sim), most), find, task->trial);
        return;
    }
    if (ev->kind == DHT_EVENT_ITEM)
        t->found |= ev->item->v_len == t->value.v_len &&
                    memcmp(ev->item->v, t->value.v, t->value.v_len) == 0;
    for (size_t i = 0; ev->kind == DHT_EVENT_PEERS && i < ev->peers.n; i++)
        t->found |= cv_addr_equal(&ev->peers.v[i], &t->announcer);
    if (ev->kind == DHT_EVENT_DONE) {
        t->over = true;
        t->steps = ev->done.steps;
        t->queried = ev->done.queried;
    }
}

static void make_trial(struct run *r, unsigned i) {
    struct trial *t = &r->trials[i];
    const struct cv_rng *rng = sim_rng(r->w->sim);
    t->item = i % 4 == 3;
    t->key = dht_id_random(rng);
    if (t->item) {
        uint8_t text[100];
        cv_rng_fill(rng, text, sizeof text);
        (void)dht_item_set_bytes(&t->value, text, sizeof text);
        t->key = dht_item_target(&t->value);
    } else if (r->w->key_count && i % 10 == 0) {
        t->eclipsed = true;
        t->key = r->w->keys[i / 10 % r->w->key_count];
    }
}

/* ---- what came of it ---- */

struct sums {
    unsigned tried, found, items_tried, items_found, eclipsed_tried, eclipsed_found;
    double steps, queries, stores; /* medians */
    double octets_per_s;           /* sent by an honest node */
    double hostile_in_tables;      /* percent of entries */
    unsigned most_hashes, most_items;
    double flood_accepted; /* percent */
};

static int by_value(const void *a, const void *b) {
    const unsigned *x = a, *y = b;
    return *x < *y ? -1 : *x > *y;
}

static double median(unsigned *v, unsigned n) {
    qsort(v, n, sizeof *v, by_value);
    unsigned half = n / 2;
    return n == 0 ? 0 : n % 2 ? v[half] : (v[half - 1] + v[half]) / 2.0;
}

static void sum_trials(const struct run *r, struct sums *s) {
    unsigned *steps = calloc(3 * r->count, sizeof *steps);
    unsigned *queries = steps + r->count, *stores = queries + r->count, n = 0;
    if (!steps)
        abort();
    for (unsigned i = 0; i < r->count; i++) {
        const struct trial *t = &r->trials[i];
        if (!t->stored || !t->over)
            continue; /* the node went in between: nobody is to blame */
        s->tried += !t->item;
        s->found += !t->item && t->found;
        s->items_tried += t->item;
        s->items_found += t->item && t->found;
        s->eclipsed_tried += t->eclipsed;
        s->eclipsed_found += t->eclipsed && t->found;
        stores[n] = t->stores;
        queries[n] = t->queried;
        steps[n++] = t->steps;
    }
    s->steps = median(steps, n);
    s->queries = median(queries, n);
    s->stores = median(stores, n);
    free(steps);
}

static bool is_hostile(const struct dht_world *w, const struct cv_addr *addr) {
    for (unsigned i = 0; i < w->hostile; i++)
        if (cv_addr_equal(&w->nodes[i].addr, addr))
            return true;
    return false;
}

static void sum_nodes(const struct dht_world *w, struct sums *s) {
    uint64_t entries = 0, hostile = 0, accepted = 0, refused = 0, octets = 0;
    for (unsigned i = 0; i < w->count; i++) {
        const struct dht_world_node *n = &w->nodes[i];
        struct dht_status st;
        accepted += n->accepted;
        refused += n->refused;
        if (!n->d || n->role != DHT_HONEST)
            continue;
        octets += sim_node_counters(w->sim, i)->octets_sent;
        dht_status(n->d, &st);
        s->most_hashes = st.hashes > s->most_hashes ? st.hashes : s->most_hashes;
        s->most_items = st.items > s->most_items ? st.items : s->most_items;
        if (i % 20)
            continue; /* a sample of the tables */
        struct dht_table_row rows[512];
        size_t rc = dht_table_rows(n->d, rows, 512);
        entries += rc;
        for (size_t j = 0; j < rc; j++)
            hostile += is_hostile(w, &rows[j].node.addr);
    }
    s->octets_per_s = (double)octets / (w->count - w->hostile) / ((double)sim_now(w->sim) / 1e6);
    s->hostile_in_tables = entries ? 100.0 * (double)hostile / (double)entries : 0;
    s->flood_accepted =
        accepted + refused ? 100.0 * (double)accepted / (double)(accepted + refused) : 0;
}

static double percent(unsigned part, unsigned whole) {
    return whole ? 100.0 * part / whole : 100;
}

static bool judge(const struct sums *s, unsigned nodes, unsigned hostile) {
    double wanted = hostile ? 99 : 99.5, steps = log2(nodes) / 2 + 3;
    SCENARIO_CHECK(s->tried >= 50, "only %u announcements", s->tried);
    SCENARIO_CHECK(percent(s->found, s->tried) >= wanted, "%u of %u announcements found", s->found,
                   s->tried);
    SCENARIO_CHECK(percent(s->items_found, s->items_tried) >= wanted, "%u of %u items found",
                   s->items_found, s->items_tried);
    SCENARIO_CHECK(s->steps <= steps, "%.1f steps, %.1f allowed", s->steps, steps);
    SCENARIO_CHECK(s->most_hashes <= DHT_HASHES && s->most_items <= DHT_ITEMS, "%u, %u",
                   s->most_hashes, s->most_items);
    return true;
}

static bool run(const struct scenario_args *args, unsigned hostile, struct scenario_result *ret) {
    unsigned nodes = args->nodes ? args->nodes : 400, minutes = args->minutes ? args->minutes : 10;
    cv_usec joined = CV_SEC(60) + nodes * CV_MSEC(50), begin = joined + CV_SEC(120);
    struct run r = {.count = nodes / 5};
    r.count = r.count < TRIALS_MIN ? TRIALS_MIN : r.count < TRIALS_MAX ? r.count : TRIALS_MAX;
    r.w = dht_world_new(&(struct dht_world_config){.seed = args->seed,
                                                   .nodes = nodes,
                                                   .hostile_percent = hostile,
                                                   .fn = on_event,
                                                   .ctx = &r},
                        joined);
    r.trials = calloc(r.count, sizeof *r.trials);
    if (!r.trials)
        abort();
    sim_run(r.w->sim, joined);
    dht_world_churn(r.w);
    r.end = begin + CV_SEC(60) * minutes;
    for (unsigned i = 0; i < r.count; i++) {
        make_trial(&r, i);
        /* The last store leaves a third of the time for its search. */
        deed_at(&r, begin + cv_rng_below(sim_rng(r.w->sim), (r.end - begin) * 2 / 3), store, i);
    }
    sim_run(r.w->sim, r.end + CV_SEC(30));
    struct sums s = {0};
    sum_trials(&r, &s);
    sum_nodes(r.w, &s);
    snprintf(
        ret->json, sizeof ret->json,
        "{\"nodes\":%u,\"hostile_percent\":%u,\"minutes\":%u,\"announced\":%u,\"retrieved\":%u,"
        "\"retrieved_percent\":%.2f,\"items\":%u,\"items_retrieved\":%u,\"besieged\":%u,"
        "\"besieged_retrieved\":%u,\"steps_median\":%.1f,\"steps_wanted\":%.1f,"
        "\"queries_median\":%.1f,\"stores_median\":%.1f,\"octets_per_node_s\":%.0f,"
        "\"hostile_in_tables_percent\":%.1f,\"most_hashes\":%u,\"most_items\":%u,"
        "\"flood_accepted_percent\":%.1f,\"datagrams\":%llu}",
        nodes, hostile, minutes, s.tried, s.found, percent(s.found, s.tried), s.items_tried,
        s.items_found, s.eclipsed_tried, s.eclipsed_found, s.steps, log2(nodes) / 2 + 3, s.queries,
        s.stores, s.octets_per_s, s.hostile_in_tables, s.most_hashes, s.most_items,
        s.flood_accepted, (unsigned long long)sim_counters(r.w->sim)->sent);
    snprintf(ret->note, sizeof ret->note,
             "%u of %u announcements, %u of %u items found in %.1f steps, %.0f queries", s.found,
             s.tried, s.items_found, s.items_tried, s.steps, s.queries);
    scenario_measure(ret, r.w->sim, nodes);
    bool ok = judge(&s, nodes, hostile);
    dht_world_free(r.w);
    free(r.trials);
    return ok;
}

bool scenario_dht(const struct scenario_args *args, struct scenario_result *ret) {
    return run(args, args->hostile, ret);
}

bool scenario_dht_hostile(const struct scenario_args *args, struct scenario_result *ret) {
    return run(args, args->hostile ? args->hostile : 20, ret);
}
