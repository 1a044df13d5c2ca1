/*
 * culvert-ledger simulate-sybil: what an attacker in this very graph would gain
 * by fake identities behind it, as a measure and an ego see it. Nothing is
 * written; the fakes live in a copy of the graph in memory.
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/hash.h"
#include "culvert-ledger/print.h"
#include "culvert-ledger/show.h"

#define LOTS (UINT64_C(10) << 40) /* octets that fakes say they gave each other: 10 TiB */

/* Every fake of a clique has signed with every other: two million pairs, and 500 MB. */
enum { CLIQUE_MAX = 2000, COMPARED_MAX = 2000 };

static const char *const shapes[] = {"star", "cycle", "clique"};
enum shape { STAR, CYCLE, CLIQUE, SHAPES };

struct attack {
    struct ledger_file *f;
    const struct ledger_request *q;
    struct ledger_graph before, after;
    uint32_t ego, attacker, fakes, epoch;
    enum shape shape;
};

static uint32_t fake_node(struct attack *a, uint32_t i) {
    uint8_t key[CV_KEY];
    uint32_t node;
    CV_BLAKE2B(key, sizeof key, NULL, 0, {"culvert-ledger simulate-sybil", 29}, {&i, sizeof i});
    if (rep_graph_node(a->after.g, key, &node) != CV_ERR_OK)
        ledger_die(LEDGER_NO_FILE, "%s: out of memory", a->f->path);
    return node;
}

static void both_ways(struct attack *a, uint32_t x, uint32_t y) {
    struct rep_edge e = {.octets = LOTS, .recent = LOTS, .epoch = a->epoch};
    if (x == y)
        return;
    if (rep_graph_link(a->after.g, x, y, &e) != CV_ERR_OK ||
        rep_graph_link(a->after.g, y, x, &e) != CV_ERR_OK)
        ledger_die(LEDGER_NO_FILE, "%s: out of memory", a->f->path);
}

static void add_fakes(struct attack *a) {
    uint32_t last = a->attacker, *fakes = calloc(a->fakes, sizeof *fakes);
    if (!fakes)
        ledger_die(LEDGER_NO_FILE, "%s: out of memory", a->f->path);
    for (uint32_t i = 0; i < a->fakes; i++) {
        uint32_t me = fakes[i] = fake_node(a, i);
        both_ways(a, a->shape == CYCLE ? last : a->attacker, me);
        for (uint32_t j = 0; a->shape == CLIQUE && j < i; j++)
            both_ways(a, me, fakes[j]);
        last = me;
    }
    free(fakes);
    if (a->shape == CYCLE)
        both_ways(a, last, a->attacker);
    struct ledger_relay *more =
        realloc(a->after.relay, ((size_t)rep_graph_count(a->after.g) + 1) * sizeof *more);
    if (!more)
        ledger_die(LEDGER_NO_FILE, "%s: out of memory", a->f->path);
    a->after.relay = more;
    memset(more + a->after.n, 0, (rep_graph_count(a->after.g) - a->after.n) * sizeof *more);
    for (uint32_t i = a->after.n; i < rep_graph_count(a->after.g); i++)
        memcpy(more[i].key, rep_graph_key(a->after.g, i), CV_KEY);
    a->after.n = rep_graph_count(a->after.g);
}

/* Of pairs of honest relays that were apart, those that changed places. */
static double turned(const struct attack *a) {
    uint64_t pairs = 0, turns = 0;
    uint32_t *order = ledger_order(a->f, &a->before);
    uint32_t n = a->before.n < COMPARED_MAX ? a->before.n : COMPARED_MAX;
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t j = i + 1; j < n; j++) {
            uint32_t x = order[i], y = order[j];
            if (x == a->attacker || y == a->attacker || x == a->ego || y == a->ego ||
                a->before.relay[x].score <= a->before.relay[y].score)
                continue;
            pairs++;
            turns += a->after.relay[x].score < a->after.relay[y].score;
        }
    free(order);
    return pairs ? (double)turns / (double)pairs : 0;
}

/* JSON has no infinity: what came from nothing has no ratio. */
static json_t *ratio(double after, double before) {
    return before != 0 ? json_real(after / before) : json_null();
}

static void tell(const struct attack *a) {
    const struct ledger_relay *r = a->after.relay;
    double before = a->before.relay[a->attacker].score, after = r[a->attacker].score;
    double total = after, best = 0;
    for (uint32_t i = a->before.n; i < a->after.n; i++) {
        total += r[i].score;
        best = r[i].score > best ? r[i].score : best;
    }
    double changed = turned(a);
    if (a->q->json) {
        json_t *o = json_object();
        json_object_set_new(o, "attacker", ledger_json_id(a->f, r[a->attacker].key));
        json_object_set_new(o, "ego", ledger_json_id(a->f, r[a->ego].key));
        json_object_set_new(o, "metric", json_string(ledger_metric_names[a->q->scoring.metric]));
        json_object_set_new(o, "shape", json_string(shapes[a->shape]));
        json_object_set_new(o, "fakes", json_integer(a->fakes));
        json_object_set_new(o, "before", json_real(before));
        json_object_set_new(o, "after", json_real(after));
        json_object_set_new(o, "gain", ratio(after, before));
        json_object_set_new(o, "total", json_real(total));
        json_object_set_new(o, "total_gain", ratio(total, before));
        json_object_set_new(o, "best_fake", json_real(best));
        json_object_set_new(o, "honest_turned", json_real(changed));
        ledger_print_json(o);
        return;
    }
    char id[256];
    printf("%s with a %s of %u fakes, by %s: %.6g -> %.6g",
           ledger_short(a->f, r[a->attacker].key, id), shapes[a->shape], a->fakes,
           ledger_metric_names[a->q->scoring.metric], before, after);
    if (before != 0)
        printf(" (x %.3f), all of them together x %.3f", after / before, total / before);
    printf("\nbest fake %.6g; %.2f %% of pairs of others changed places\n", best, 100 * changed);
}

void ledger_sybil(struct ledger_file *f, const struct ledger_request *q) {
    struct attack a = {.f = f, .q = q, .fakes = q->fakes, .shape = SHAPES};
    uint8_t key[CV_KEY];
    for (unsigned i = 0; i < SHAPES; i++)
        if (strcmp(q->shape ? q->shape : shapes[STAR], shapes[i]) == 0)
            a.shape = (enum shape)i;
    if (a.shape == SHAPES)
        ledger_die(LEDGER_USAGE, "--shape %s: give star, cycle or clique", q->shape);
    if (a.shape == CLIQUE && a.fakes > CLIQUE_MAX)
        ledger_die(LEDGER_USAGE, "--fakes %u: a clique has %d at most, as each signs with each",
                   a.fakes, CLIQUE_MAX);
    ledger_graph_load(f, &a.before);
    ledger_graph_load(f, &a.after);
    a.epoch = (uint32_t)ledger_number(f, "SELECT max(epoch) FROM edge");
    a.ego = ledger_ego(f, &a.before, q->ego);
    if (q->relay[0]) {
        ledger_relay_key(f, q->relay[0], key);
        a.attacker = rep_graph_find(a.before.g, key);
    } else {
        a.attacker = ledger_busiest(&a.before, a.ego);
    }
    if (a.attacker == REP_NO_NODE)
        ledger_die(LEDGER_NOT_THERE, "%s: there is no other relay in it; import some", f->path);
    if (a.attacker == a.ego)
        ledger_die(LEDGER_USAGE, "%s: cannot attack itself; name another --ego", q->relay[0]);
    add_fakes(&a);
    ledger_score(f, &a.before, a.ego, &q->scoring);
    ledger_score(f, &a.after, a.ego, &q->scoring);
    tell(&a);
    ledger_graph_done(&a.before);
    ledger_graph_done(&a.after);
}
