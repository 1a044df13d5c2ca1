/*
 * Standing: a network of relays with rows, and one of them with fakes behind it, junk
 * pushed to a sink of its own, two relays that vouch for each other, a proven forger.
 */
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/rng_seeded.h"
#include "reputation/ledger_internal.h"
#include "scenarios/economy.h"
#include "scenarios/ledgers.h"

enum {
    RELAYS = ECONOMY_RELAYS,
    FAKES_MAX = ECONOMY_FAKES_MAX,
    EGO = ECONOMY_EGO,
    HUB = ECONOMY_HUB,
    WALKS = 40000
};

#define FAKE_OCTETS (UINT64_C(10) << 40)

const char *const economy_shapes[ECONOMY_SHAPES] = {"star", "cycle", "clique"};
const unsigned economy_sizes[ECONOMY_SIZES] = {1, 10, 100, 1000};

struct standing {
    uint32_t hits[RELAYS + FAKES_MAX];
    uint32_t count;
};

struct market {
    struct economy_network honest;
    bool rival[RELAYS];            /* has a link with ego, and competes for what ego carries */
    double weight[RELAYS][RELAYS]; /* of rows, both ways */
    double word[RELAYS]; /* of attackers: how the order changes when what it says of others is not
                            counted */
    struct standing before;
};

static void name(unsigned who, uint8_t ret[CV_KEY]) {
    memset(ret, 0, CV_KEY);
    ret[0] = (uint8_t)who;
    ret[1] = (uint8_t)(who >> 8);
    ret[31] = 1;
}

void economy_honest(uint64_t seed, struct economy_network *ret) {
    struct cv_rng_seeded dice;
    cv_rng_seeded_init(&dice, seed);
    struct cv_rng rng = cv_rng_seeded(&dice);
    ret->n = 0;
    for (unsigned i = 1; i < RELAYS; i++)
        for (unsigned k = 0; k < 5; k++) {
            unsigned b = (unsigned)cv_rng_below(&rng, 1 + cv_rng_below(&rng, i));
            uint64_t octets = UINT64_C(1) << cv_rng_between(&rng, 28, 36);
            if (b != i)
                ret->rows[ret->n++] = (struct economy_row){i, b, octets};
        }
}

void economy_fakes(unsigned attacker, enum economy_shape shape, unsigned n, economy_put *put,
                   void *ctx) {
    for (unsigned i = 0; i < n; i++) {
        unsigned fake = RELAYS + i, next = RELAYS + (i + 1) % n;
        if (shape == ECONOMY_STAR || i == 0)
            put(ctx, attacker, fake, FAKE_OCTETS);
        if (shape == ECONOMY_CYCLE && i + 1 == n)
            put(ctx, fake, attacker, FAKE_OCTETS);
        else if (shape != ECONOMY_STAR && fake != next)
            put(ctx, fake, next, FAKE_OCTETS);
        for (unsigned j = i + 2; shape == ECONOMY_CLIQUE && j < n; j++)
            if (i > 0 || j + 1 < n) /* that pair is next to each other, round the corner */
                put(ctx, fake, RELAYS + j, FAKE_OCTETS);
    }
}

static void put(void *ctx, unsigned a, unsigned b, uint64_t octets) {
    struct rep_edge e = {.octets = octets, .recent = octets};
    struct rep_graph *g = ctx;
    for (unsigned way = 0; way < 2; way++) {
        name(way ? b : a, e.giver);
        name(way ? a : b, e.taker);
        enum cv_err err = rep_graph_set(g, &e);
        if (err)
            abort();
    }
}

static struct rep_graph *make_graph(const struct economy_network *h) {
    static const uint8_t hash_key[16] = {3};
    struct rep_graph *g = rep_graph_new(RELAYS + FAKES_MAX, hash_key);
    uint8_t key[CV_KEY];
    uint32_t i;
    if (!g)
        abort();
    for (unsigned who = 0; who < RELAYS; who++) {
        name(who, key);
        if (rep_graph_node(g, key, &i))
            abort();
    }
    for (unsigned k = 0; k < h->n; k++)
        put(g, h->rows[k].a, h->rows[k].b, h->rows[k].octets);
    return g;
}

/* As the ledger does (standing.c): competitors' rows with each other do not count. Relay i is
 * node[i] of the graph; NULL: i. */
static void walk(const struct market *m, struct rep_graph *g, const uint32_t *node,
                 struct standing *ret) {
    struct rep_walk_config cfg = {.walks = WALKS, .alpha_permille = REP_ALPHA_PERMILLE, .seed = 1};
    struct rep_walks *w = rep_walks_new(&cfg);
    uint32_t rivals[RELAYS], n = 0;
    for (unsigned i = 0; i < RELAYS; i++)
        if (m->rival[i])
            rivals[n++] = node ? node[i] : i;
    if (!w || rep_walks_rivals(w, rivals, n) || rep_walks_update(w, g, node ? node[EGO] : EGO))
        abort();
    ret->count = node ? RELAYS : rep_graph_count(g);
    for (uint32_t i = 0; i < ret->count; i++)
        ret->hits[i] = rep_walks_hits(w, node ? node[i] : i);
    rep_walks_free(w);
}

static void rank(const struct market *m, struct rep_graph *g, struct standing *ret) {
    walk(m, g, NULL, ret);
    rep_graph_free(g);
}

static double larger(double a, double b) {
    return a > b ? a : b;
}

/* Could so many walks more be chance? Three times what counts of walks scatter by, and
 * less than a tenth is no order either. */
static bool apart(double x, double y) {
    double d = x > y ? x - y : y - x;
    return d * d > 9 * (x + y) && d > larger(x, y) / 10;
}

/* Honest pairs that change their order, of those that have one: among competitors, or
 * of all. */
static double disorder(const struct market *m, const struct standing *after, unsigned but,
                       bool far) {
    unsigned pairs = 0, turned = 0;
    for (unsigned i = 1; i < RELAYS; i++)
        for (unsigned j = 1; j < i; j++) {
            double x = m->before.hits[i], y = m->before.hits[j];
            if (i == but || j == but || (!far && !(m->rival[i] && m->rival[j])))
                continue;
            if (!apart(x, y))
                continue;
            pairs++;
            turned += (x > y) != (after->hits[i] > after->hits[j]);
        }
    return pairs ? (double)turned / pairs : 0;
}

/* How many of attacker and fakes have the score that a guard wants for a batch: a part
 * of the mean neighbour's (issue.c). */
static unsigned batches(const struct market *m, const struct standing *after) {
    uint64_t sum = 0, scored = 0;
    unsigned n = 1;
    for (unsigned i = 1; i < RELAYS; i++)
        if (m->rival[i] && after->hits[i]) {
            sum += after->hits[i];
            scored++;
        }
    uint64_t least = scored ? sum / scored / REP_TOKEN_HITS_PART : 0;
    for (unsigned i = RELAYS; i < after->count; i++)
        n += after->hits[i] >= least;
    return n;
}

static void try_attack(const struct market *m, unsigned attacker, enum economy_shape shape,
                       unsigned size, FILE *csv, struct economy_standing *worst) {
    static struct standing after;
    unsigned n = economy_sizes[size];
    struct rep_graph *g = make_graph(&m->honest);
    economy_fakes(attacker, shape, n, put, g);
    rank(m, g, &after);
    uint64_t sum = after.hits[attacker];
    for (unsigned i = RELAYS; i < after.count; i++)
        sum += after.hits[i];
    double base = m->before.hits[attacker];
    double own = after.hits[attacker] / base, all = (double)sum / base;
    double order = disorder(m, &after, attacker, false);
    worst->order_beyond = larger(worst->order_beyond, order - m->word[attacker]);
    double far = disorder(m, &after, attacker, true);
    unsigned earned = batches(m, &after);
    if (csv)
        fprintf(csv, "attack,%s,%u,%u,%u,%.4f,%.4f,%.5f,%.5f,%u\n", economy_shapes[shape], n,
                attacker, m->before.hits[attacker], own, all, order, far, earned);
    worst->own = larger(worst->own, own);
    worst->all[size] = larger(worst->all[size], all);
    /* A walk that came to it goes on with .85 each step, whatever it meets: so many on average. */
    const double on = .85;
    double bound = 1 / (1 - on), spread = sqrt(on / base) / (1 - on);
    worst->all_off = larger(worst->all_off, (all - bound) / spread);
    if (attacker == HUB) {
        worst->order_hub = larger(worst->order_hub, order);
        worst->order_hub_far = larger(worst->order_hub_far, far);
    } else {
        worst->order = larger(worst->order, order);
    }
    worst->batches = earned > worst->batches ? earned : worst->batches;
}

/* Two relays with rows of their own that vouch for each other. */
static double collusion(const struct market *m, unsigned a, unsigned b) {
    static struct standing after;
    struct rep_graph *g = make_graph(&m->honest);
    put(g, a, b, FAKE_OCTETS);
    rank(m, g, &after);
    return (double)(after.hits[a] + after.hits[b]) / (m->before.hits[a] + m->before.hits[b]);
}

/*
 * Relay `a` sends junk through honest relays to a sink of its own, so that they owe it
 * thanks: what it gains, and what both names gain, of what it gains by carrying as many
 * octets for these relays.
 */
static void junk(const struct market *m, unsigned a, struct economy_standing *ret) {
    enum { THROUGH = 8 };
    static struct standing pushed, carried;
    uint64_t octets = UINT64_C(1) << 36;
    struct rep_graph *g = make_graph(&m->honest), *other = make_graph(&m->honest);
    for (unsigned i = 0; i < THROUGH; i++) {
        unsigned relay = RELAYS - 1 - i;
        put(g, a, relay, octets);
        put(g, relay, RELAYS, octets);
        put(other, a, relay, 2 * octets); /* in from half of them, out to the other */
    }
    rank(m, g, &pushed);
    rank(m, other, &carried);
    double before = m->before.hits[a], honest = carried.hits[a] - before;
    if (honest <= 0)
        abort();
    ret->junk_own = (pushed.hits[a] - before) / honest;
    ret->junk = (pushed.hits[a] + (double)pushed.hits[RELAYS] - before) / honest;
}

/* ---- a proven forger ---- */

/* Ego and two more have ledgers, the others only keys; those come last among ledgers. */
enum { WITNESSES = 2, PROOF_S = 300 };

static unsigned place(unsigned relay) {
    return (relay + RELAYS - 1) % RELAYS;
}

/* Signs its first half-block once more, for somebody else. */
static void show(struct ledgers *w, unsigned forger, unsigned to) {
    struct rep_record r = {.version = REP_RECORD_VERSION, .type = REP_PROPOSAL, .seq = 1};
    uint8_t octets[REP_RECORD], body[REP_MESSAGE_MAX];
    memcpy(r.peer, ledgers_key(w, to), CV_KEY);
    r.given = r.taken = UINT64_C(1) << 32;
    r.epoch = (uint32_t)(w->now.wall / REP_EPOCH_SECONDS);
    rep_record_sign(&r, &w->node[forger].identity, ledgers_network);
    rep_record_write(&r, octets);
    struct rep_message m = {.kind = REP_MESSAGE_RECORDS, .count = 1, .records = octets};
    ssize_t len = rep_message_write(&m, body, sizeof body);
    ledgers_send(w, forger, to, body, (size_t)len);
}

static bool proven(const struct ledgers *w, unsigned who) {
    struct rep_stats st;
    rep_ledger_stats(w->node[who].ledger, &st);
    return st.forks > 0;
}

static struct ledgers *forge(const struct market *m, uint64_t seed) {
    struct ledgers *w = ledgers_new(RELAYS, RELAYS - 1 - WITNESSES, seed, REP_EPOCH_SECONDS, 1000);
    unsigned ego = place(EGO), hub = place(HUB), first = place(RELAYS - 2),
             second = place(RELAYS - 1);
    for (unsigned k = 0; k < m->honest.n; k++) {
        const struct economy_row *r = &m->honest.rows[k];
        ledgers_row(w, place(r->a), place(r->b), r->octets);
        ledgers_row(w, place(r->b), place(r->a), r->octets);
    }
    ledgers_restart(w);
    ledgers_join(w, ego, hub);
    ledgers_join(w, ego, first);
    ledgers_join(w, ego, second);
    ledgers_join(w, hub, first);
    ledgers_join(w, hub, second);
    ledgers_run(w, w->now.mono + CV_SEC(5));
    show(w, hub, first);
    show(w, hub, second);
    return w;
}

/* The hub signs two half-blocks with one number, and shows one each to two that do not know each
 * other: as the ledger finds out and takes it for what it is, the order is not the same without
 * a single fake. */
static void expose(const struct market *m, uint64_t seed, struct economy_standing *ret) {
    static struct standing after;
    struct ledgers *w = forge(m, seed);
    struct rep_graph *g = w->node[place(EGO)].ledger->graph;
    uint32_t node[RELAYS];
    cv_usec from = w->now.mono;
    for (unsigned i = 0; i < RELAYS; i++)
        node[i] = rep_graph_find(g, ledgers_key(w, place(i)));
    walk(m, g, node, &after);
    ret->forger_before = after.hits[HUB];
    while (!proven(w, place(EGO)) && w->now.mono < from + CV_SEC(PROOF_S))
        ledgers_run(w, w->now.mono + CV_MSEC(250));
    ret->proof_s = (double)(w->now.mono - from) / 1e6;
    ledgers_run(w, w->now.mono + 2 * REP_RERANK_WAIT);
    walk(m, g, node, &after);
    ret->order_gone = disorder(m, &after, HUB, false);
    ret->order_gone_far = disorder(m, &after, HUB, true);
    ret->forger = after.hits[HUB];
    ret->forger += rep_walks_hits(w->node[place(EGO)].ledger->walks, node[HUB]);
    ledgers_free(w);
}

/* ---- what an attacker's word decides, without a fake and without walks ---- */

static void weigh(struct market *m) {
    for (unsigned k = 0; k < m->honest.n; k++) {
        const struct economy_row *r = &m->honest.rows[k];
        if (!(m->rival[r->a] && m->rival[r->b])) /* the last one stands */
            m->weight[r->a][r->b] = m->weight[r->b][r->a] = 2 * (double)r->octets;
    }
}

/* The chance that a walk from ego comes by `target`, and did not come by `but` before: as
 * walks go, from each relay by its rows, solved by iteration. */
static double chance(const struct market *m, unsigned target, unsigned but) {
    enum { ROUNDS = 64 }; /* 0.85^64 is less than a walk */
    double at[RELAYS] = {0}, total[RELAYS] = {0};
    for (unsigned v = 0; v < RELAYS; v++)
        for (unsigned u = 0; u < RELAYS; u++)
            total[v] += m->weight[v][u];
    at[target] = 1;
    for (unsigned round = 0; round < ROUNDS; round++)
        for (unsigned v = 0; v < RELAYS; v++) {
            double sum = 0;
            if (v == target || v == but || total[v] <= 0)
                continue;
            for (unsigned u = 0; u < RELAYS; u++)
                sum += m->weight[v][u] * at[u];
            at[v] = REP_ALPHA_PERMILLE / 1000.0 * sum / total[v];
        }
    return at[EGO];
}

/*
 * Whoever hangs enough behind itself keeps all walks that come to it, and all it did to
 * others is to say nothing of them any more: walks that came by them first are as they
 * were. So the order that is left without the attacker's word is the worst that
 * fakes can bring about, and it can be computed from the honest rows alone.
 */
static void word(struct market *m, unsigned who, struct economy_standing *ret) {
    static struct standing without;
    for (unsigned i = 1; i < RELAYS; i++) {
        if (!m->rival[i])
            continue;
        double was = chance(m, i, RELAYS) * WALKS, hits = m->before.hits[i];
        /* Five times what counts scatter by: the walks are what this computes. */
        if ((was - hits) * (was - hits) > 25 * (was + 1))
            ret->off = larger(ret->off, was > hits ? was - hits : hits - was);
        without.hits[i] = (uint32_t)(chance(m, i, who) * WALKS);
    }
    m->word[who] = disorder(m, &without, who, false);
    ret->order_word = larger(ret->order_word, m->word[who]);
}

static void find_rivals(struct market *m) {
    for (unsigned k = 0; k < m->honest.n; k++) {
        const struct economy_row *r = &m->honest.rows[k];
        if (r->a == EGO || r->b == EGO)
            m->rival[r->a == EGO ? r->b : r->a] = true;
    }
    m->rival[EGO] = false;
}

/* Two of these, from the best-known on. */
static void find_pair(const struct market *m, bool rivals, unsigned ret[2]) {
    unsigned n = 0;
    for (unsigned i = HUB + 1; i < RELAYS && n < 2; i++)
        if (m->rival[i] == rivals && m->before.hits[i] >= 100)
            ret[n++] = i;
    if (n < 2)
        abort();
}

void economy_standing(uint64_t seed, FILE *csv, struct economy_standing *ret) {
    static struct market m;
    unsigned pair[2];
    memset(&m, 0, sizeof m);
    *ret = (struct economy_standing){0};
    economy_honest(seed, &m.honest);
    find_rivals(&m);
    rank(&m, make_graph(&m.honest), &m.before);
    const unsigned attackers[] = {HUB, RELAYS / 4, RELAYS / 2};
    expose(&m, seed, ret);
    weigh(&m);
    for (size_t i = 0; i < sizeof attackers / sizeof *attackers; i++)
        if (m.before.hits[attackers[i]] >= 400)
            word(&m, attackers[i], ret);
    for (size_t i = 0; i < sizeof attackers / sizeof *attackers; i++)
        for (unsigned size = 0; size < ECONOMY_SIZES; size++)
            for (enum economy_shape shape = ECONOMY_STAR; shape < ECONOMY_SHAPES; shape++)
                if (m.before.hits[attackers[i]] >= 400)
                    try_attack(&m, attackers[i], shape, size, csv, ret);
    find_pair(&m, true, pair);
    ret->collusion = collusion(&m, pair[0], pair[1]);
    find_pair(&m, false, pair);
    ret->collusion_far = collusion(&m, pair[0], pair[1]);
    junk(&m, pair[0], ret);
}
