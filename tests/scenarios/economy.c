/*
 * Whether the ledger's economy pays whom it should, through the ledger, its
 * ranking, its gate and the tunnel's scheduler as they are.
 *
 * Standing: a network of relays with rows, and one of them with fakes behind it (a
 * star, a cycle, a clique of 1 to 1,000, junk pushed to a sink of its own, two
 * relays that vouch for each other, a proven forger): what its score, that of all
 * its fakes together, and the order of the others become.
 *
 * Service: one saturated relay with clients who always want more: contributors,
 * free-riders, whitewashers who take a new key whenever they are in debt,
 * newcomers, holders of tokens, and a thousand fake newcomers behind ten networks.
 * Limits of the gate are scaled down so that half an hour is long.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/hash.h"
#include "crypto/rng_seeded.h"
#include "reputation/ledger.h"
#include "reputation/rank_walk.h"
#include "reputation/store_memory.h"
#include "scenarios/scenario.h"
#include "tunnel/scheduler.h"

/* ---- standing ---- */

enum { RELAYS = 120, FAKES_MAX = 1000, EGO = 0, HUB = 1, WALKS = 40000 };

#define FAKE_OCTETS (UINT64_C(10) << 40)

enum shape { STAR, CYCLE, CLIQUE, SHAPES };
static const char *const shapes[SHAPES] = {"star", "cycle", "clique"};

struct row {
    unsigned a, b;
    uint64_t octets;
};

struct honest {
    struct row rows[RELAYS * 8];
    unsigned n;
};

struct standing {
    uint32_t hits[RELAYS + FAKES_MAX];
    uint32_t count;
};

static void name(unsigned who, uint8_t ret[CV_KEY]) {
    memset(ret, 0, CV_KEY);
    ret[0] = (uint8_t)who;
    ret[1] = (uint8_t)(who >> 8);
    ret[31] = 1;
}

/* Few relays carry much, and have many neighbours. */
static void make_honest(struct honest *h, const struct cv_rng *rng) {
    h->n = 0;
    for (unsigned i = 1; i < RELAYS; i++)
        for (unsigned k = 0; k < 5; k++) {
            unsigned b = (unsigned)cv_rng_below(rng, 1 + cv_rng_below(rng, i));
            uint64_t octets = UINT64_C(1) << cv_rng_between(rng, 28, 36);
            h->rows[h->n++] = (struct row){i, b, octets};
        }
}

static void put(struct rep_graph *g, unsigned a, unsigned b, uint64_t octets) {
    struct rep_edge e = {.octets = octets, .recent = octets};
    for (unsigned way = 0; way < 2 && a != b; way++) {
        name(way ? b : a, e.giver);
        name(way ? a : b, e.taker);
        enum cv_err err = rep_graph_set(g, &e);
        if (err)
            abort();
    }
}

static void put_fakes(struct rep_graph *g, unsigned attacker, enum shape shape, unsigned n) {
    for (unsigned i = 0; i < n; i++) {
        unsigned fake = RELAYS + i, next = RELAYS + (i + 1) % n;
        if (shape == STAR || i == 0)
            put(g, attacker, fake, FAKE_OCTETS);
        if (shape == CYCLE && i + 1 == n)
            put(g, fake, attacker, FAKE_OCTETS);
        else if (shape != STAR)
            put(g, fake, next, FAKE_OCTETS);
        for (unsigned k = 2; shape == CLIQUE && k <= 16 && k < n; k++) /* enough of a clique */
            put(g, fake, RELAYS + (i + k) % n, FAKE_OCTETS);
    }
}

static struct rep_graph *make_graph(const struct honest *h) {
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

static void rank(struct rep_graph *g, struct standing *ret) {
    struct rep_walk_config cfg = {.walks = WALKS, .alpha_permille = REP_ALPHA_PERMILLE, .seed = 1};
    ret->count = rep_graph_count(g);
    if (rep_rank_walk(g, EGO, &cfg, ret->hits))
        abort();
    rep_graph_free(g);
}

/* Honest pairs that change their order, of those that differ by more than chance
 * (a tenth of the better one). */
static double disorder(const struct standing *a, const struct standing *b, unsigned but) {
    unsigned pairs = 0, turned = 0;
    for (unsigned i = 1; i < RELAYS; i++)
        for (unsigned j = 1; j < i; j++) {
            double x = a->hits[i], y = a->hits[j], most = x > y ? x : y;
            if (i == but || j == but || most < 100 || (x > y ? x - y : y - x) < most / 10)
                continue;
            pairs++;
            turned += (x > y) != (b->hits[i] > b->hits[j]);
        }
    return pairs ? (double)turned / pairs : 0;
}

/* At worst. `order_hub`: behind the relay with the most neighbours, where fakes
 * catch so many walks that what only it vouches for gets fewer. */
struct attack {
    double own, all, order, order_hub;
    unsigned batches; /* of tokens, for attacker and fakes */
};

static void try_attack(const struct honest *h, const struct standing *before, unsigned attacker,
                       enum shape shape, unsigned n, FILE *csv, struct attack *worst) {
    static struct standing after;
    struct rep_graph *g = make_graph(h);
    put_fakes(g, attacker, shape, n);
    rank(g, &after);
    uint64_t sum = after.hits[attacker], mean = 0, scored = 0;
    for (unsigned i = 1; i < RELAYS; i++) {
        mean += before->hits[i];
        scored += before->hits[i] > 0;
    }
    mean /= scored ? scored : 1;
    unsigned batches = 1;
    for (unsigned i = RELAYS; i < after.count; i++) {
        sum += after.hits[i];
        batches += after.hits[i] >= mean / REP_TOKEN_HITS_PART;
    }
    double base = before->hits[attacker];
    double own = after.hits[attacker] / base, all = (double)sum / base;
    double order = disorder(before, &after, attacker);
    if (csv)
        fprintf(csv, "attack,%s,%u,%u,%u,%.4f,%.4f,%.5f,%u\n", shapes[shape], n, attacker,
                before->hits[attacker], own, all, order, batches);
    double *of = attacker == HUB ? &worst->order_hub : &worst->order;
    worst->own = own > worst->own ? own : worst->own;
    worst->all = all > worst->all ? all : worst->all;
    *of = order > *of ? order : *of;
    worst->batches = batches > worst->batches ? batches : worst->batches;
}

/* ---- service ---- */

enum {
    CELL = 1232,
    CELLS_S = 400,
    STEP_MS = 20,
    GROUPS = 256,
    CONTRIBUTORS = 20,
    RIDERS = 20,
    WASHERS = 5,
    NEWCOMERS = 5,
    HOLDERS = 4,
    FAKES = 1000,
    FAKE_NETWORKS = 10,
    CLIENTS_MAX = CONTRIBUTORS + RIDERS + WASHERS + NEWCOMERS + HOLDERS + FAKES,
};

enum kind { CONTRIBUTOR, RIDER, WASHER, NEWCOMER, HOLDER, FAKE, KINDS };
static const char *const kinds[KINDS] = {"contributor", "free-rider",   "whitewasher",
                                         "newcomer",    "token holder", "fake newcomer"};

struct client {
    enum kind kind;
    struct cv_addr addr;
    struct tun_flow flow;
    unsigned gate_class, keys;
    bool up;
    uint64_t cells, window; /* got in all, and since the figures began */
};

struct network {
    struct cv_addr network;
    unsigned gate_class;
    bool used;
    struct tun_sched_group group;
};

struct relay {
    struct tun_sched sched;
    struct rep_ledger *ledger;
    struct rep_store_memory *memory;
    struct network networks[GROUPS];
    struct client *client;
    unsigned n;
    struct cv_now now;
    struct cv_rng_seeded dice;
    struct cv_rng rng;
    uint64_t idle, sent;
};

/* Clients of one /24 in one class count as one, as in the tunnel's links. */
static struct tun_sched_group *group_of(struct relay *r, const struct client *c) {
    struct cv_addr network = cv_addr_network(&c->addr, 24, 56);
    for (unsigned i = 0; i < GROUPS; i++) {
        struct network *w = &r->networks[i];
        if (!w->used) {
            *w = (struct network){.network = network, .gate_class = c->gate_class, .used = true};
            tun_sched_group_init(&w->group, c->gate_class, TUN_NETWORK_WEIGHT);
        }
        if (cv_addr_equal(&w->network, &network) && w->gate_class == c->gate_class)
            return &w->group;
    }
    abort();
}

static void drain(struct relay *r) {
    struct rep_event e;
    while (rep_ledger_poll_event(r->ledger, &e)) {
        if (e.kind != REP_EVENT_CLASS)
            continue;
        struct client *c = &r->client[e.link - 1];
        c->gate_class = e.gate_class;
        tun_flow_move(&r->sched, &c->flow, group_of(r, c));
    }
}

static void link_up(struct relay *r, unsigned i) {
    struct client *c = &r->client[i];
    uint8_t key[CV_KEY] = {(uint8_t)i, (uint8_t)(i >> 8), (uint8_t)c->keys++, 7};
    bool nameless = c->kind == FAKE || c->kind == HOLDER;
    c->gate_class = REP_CLASS_NEW;
    rep_ledger_link_up(r->ledger, r->now, i + 1, nameless ? REP_ROLE_NAMELESS : REP_ROLE_CLIENT,
                       key, &c->addr);
    c->up = true;
    drain(r);
}

static void join(struct relay *r, enum kind kind, unsigned count) {
    for (unsigned k = 0; k < count; k++) {
        unsigned i = r->n++;
        struct client *c = &r->client[i];
        unsigned network = kind == FAKE ? 200 + k % FAKE_NETWORKS : i;
        c->kind = kind;
        c->addr =
            (struct cv_addr){.ip = {10, (uint8_t)network, (uint8_t)kind, (uint8_t)(k / 10 + 1)},
                             .port = (uint16_t)(k + 1),
                             .family = 4};
        c->gate_class = REP_CLASS_NEW;
        tun_flow_init(&c->flow, group_of(r, c), c, TUN_FLOW_CELLS);
        link_up(r, i);
        if (kind == HOLDER)
            rep_ledger_grant(r->ledger, r->now, i + 1, r->now.mono + CV_SEC(7200));
        drain(r);
    }
}

/* Everybody has something waiting, always. */
static void keep_full(struct relay *r) {
    for (unsigned i = 0; i < r->n; i++)
        while (r->client[i].up && r->client[i].flow.count < 12) {
            struct tun_cell *cell = tun_sched_take(&r->sched);
            if (!cell)
                abort();
            tun_sched_put(&r->sched, &r->client[i].flow, cell, r->now.mono);
        }
}

static void serve(struct relay *r, unsigned cells) {
    uint64_t got[CLIENTS_MAX] = {0};
    for (unsigned k = 0; k < cells; k++) {
        struct tun_flow *flow;
        struct tun_cell *cell = tun_sched_next(&r->sched, r->now.mono, &flow);
        if (!cell) {
            r->idle++;
            continue;
        }
        tun_sched_release(&r->sched, cell);
        struct client *c = flow->owner;
        got[c - r->client]++;
        r->sent++;
    }
    for (unsigned i = 0; i < r->n; i++) {
        struct client *c = &r->client[i];
        c->cells += got[i];
        c->window += got[i];
        if (!got[i])
            continue;
        uint64_t gives = c->kind == CONTRIBUTOR ? got[i] + 1 : got[i] / 64;
        rep_ledger_carried(r->ledger, r->now, i + 1, got[i] * CELL, gives * CELL);
        drain(r);
        if (c->kind == WASHER && c->gate_class == REP_CLASS_DEBT) {
            rep_ledger_link_down(r->ledger, r->now, i + 1);
            link_up(r, i); /* somebody new */
            tun_flow_move(&r->sched, &c->flow, group_of(r, c));
        }
    }
}

static void run(struct relay *r, unsigned seconds) {
    for (unsigned k = 0; k < seconds * (1000 / STEP_MS); k++) {
        cv_usec before = r->now.mono / 1000000;
        r->now.mono += CV_MSEC(STEP_MS);
        r->now.wall += (int64_t)(r->now.mono / 1000000 - before);
        keep_full(r);
        serve(r, CELLS_S * STEP_MS / 1000);
        if (rep_ledger_next_timeout(r->ledger) <= r->now.mono)
            rep_ledger_on_timeout(r->ledger, r->now);
        drain(r);
    }
}

static int by_number(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* Cells a second of the median client of a kind since the last call of begin(). */
static double median(const struct relay *r, enum kind kind, unsigned seconds) {
    uint64_t v[CLIENTS_MAX];
    unsigned n = 0;
    for (unsigned i = 0; i < r->n; i++)
        if (r->client[i].kind == kind)
            v[n++] = r->client[i].window;
    qsort(v, n, sizeof *v, by_number);
    size_t median = n / 2;
    return n ? (double)v[median] / seconds : 0;
}

static void begin_window(struct relay *r) {
    for (unsigned i = 0; i < r->n; i++)
        r->client[i].window = 0;
}

static void relay_init(struct relay *r, uint64_t seed) {
    struct rep_config cfg;
    uint8_t key[CV_KEY] = {1};
    memset(r, 0, sizeof *r);
    r->client = calloc(CLIENTS_MAX, sizeof *r->client);
    r->memory = rep_store_memory_new();
    cv_rng_seeded_init(&r->dice, seed);
    r->rng = cv_rng_seeded(&r->dice);
    r->now = (struct cv_now){.mono = CV_SEC(1), .wall = 1800000000};
    rep_config_init(&cfg);
    cv_ed25519_from_seed(&cfg.identity_secret, key);
    cfg.gate.new_octets = 32 << 10;
    cfg.gate.debt_octets = 512 << 10;
    cfg.gate.debt_seconds = 120;
    if (!r->client || !r->memory || tun_sched_init(&r->sched, UINT64_C(64) << 20) ||
        rep_ledger_new(&cfg, rep_store_memory_ops(r->memory), &r->rng, r->now, &r->ledger))
        abort();
    tun_sched_pace(&r->sched, (uint64_t)CELLS_S * CELL);
}

static void relay_done(struct relay *r) {
    for (unsigned i = 0; i < r->n; i++)
        tun_flow_clear(&r->sched, &r->client[i].flow);
    tun_sched_done(&r->sched);
    rep_ledger_free(r->ledger);
    rep_store_memory_free(r->memory);
    free(r->client);
}

struct service {
    double contributor, rider, washer; /* cells a second, medians, once all is settled */
    double newcomer, fair;             /* in their first minute */
    double holder, holder_flooded;
    double alone; /* what a free-rider gets of an idle relay, of all there is */
};

static void measure(uint64_t seed, FILE *csv, struct service *ret) {
    struct relay r;
    relay_init(&r, seed);
    join(&r, RIDER, 1);
    run(&r, 60);
    ret->alone = (double)r.client[0].window / 60 / CELLS_S;
    join(&r, CONTRIBUTOR, CONTRIBUTORS);
    join(&r, RIDER, RIDERS - 1);
    join(&r, WASHER, WASHERS);
    run(&r, 1200);
    begin_window(&r);
    run(&r, 300);
    ret->contributor = median(&r, CONTRIBUTOR, 300);
    ret->rider = median(&r, RIDER, 300);
    ret->washer = median(&r, WASHER, 300);
    join(&r, NEWCOMER, NEWCOMERS);
    begin_window(&r);
    run(&r, 60);
    ret->newcomer = median(&r, NEWCOMER, 60);
    ret->fair = (double)CELLS_S / r.n;
    join(&r, HOLDER, HOLDERS);
    run(&r, 30);
    begin_window(&r);
    run(&r, 120);
    ret->holder = median(&r, HOLDER, 120);
    join(&r, FAKE, FAKES);
    run(&r, 30);
    begin_window(&r);
    run(&r, 120);
    ret->holder_flooded = median(&r, HOLDER, 120);
    for (unsigned i = 0; csv && i < r.n; i++)
        fprintf(csv, "client,%s,%u,%u,%u,%llu,,,\n", kinds[r.client[i].kind], i,
                r.client[i].gate_class, r.client[i].keys, (unsigned long long)r.client[i].cells);
    relay_done(&r);
}

/* ---- all of it ---- */

/* Two relays with rows of their own that vouch for each other. */
static double collusion(const struct honest *h, const struct standing *before, unsigned a,
                        unsigned b) {
    static struct standing after;
    struct rep_graph *g = make_graph(h);
    put(g, a, b, FAKE_OCTETS);
    rank(g, &after);
    return (double)(after.hits[a] + after.hits[b]) / (before->hits[a] + before->hits[b]);
}

static uint32_t forger(const struct honest *h, unsigned who) {
    static struct standing after;
    struct rep_graph *g = make_graph(h);
    uint8_t key[CV_KEY];
    name(who, key);
    if (rep_graph_exclude(g, key))
        abort();
    rank(g, &after);
    return after.hits[who];
}

bool scenario_economy(const struct scenario_args *args, struct scenario_result *ret) {
    static const unsigned sizes[] = {1, 10, 100, 1000};
    static struct honest h;
    static struct standing before;
    struct attack worst = {0}, by_size[4] = {{0}};
    struct service s;
    struct cv_rng_seeded dice;
    cv_crypto_init();
    if (args->csv) /* a client: number, class, keys used, cells */
        fputs("what,kind,number,of,before,own,all,order_changed,token_batches\n", args->csv);
    cv_rng_seeded_init(&dice, args->seed);
    struct cv_rng rng = cv_rng_seeded(&dice);
    make_honest(&h, &rng);
    rank(make_graph(&h), &before);
    unsigned attackers[3] = {HUB, RELAYS / 4, RELAYS / 2};
    for (unsigned i = 0; i < 3; i++)
        for (unsigned k = 0; k < 4; k++)
            for (enum shape shape = STAR; shape < SHAPES; shape++)
                if (before.hits[attackers[i]] >= 400) {
                    try_attack(&h, &before, attackers[i], shape, sizes[k], args->csv, &by_size[k]);
                }
    for (unsigned k = 0; k < 4; k++) {
        worst.own = by_size[k].own > worst.own ? by_size[k].own : worst.own;
        worst.all = by_size[k].all > worst.all ? by_size[k].all : worst.all;
        worst.order = by_size[k].order > worst.order ? by_size[k].order : worst.order;
        if (by_size[k].order_hub > worst.order_hub)
            worst.order_hub = by_size[k].order_hub;
        worst.batches = by_size[k].batches > worst.batches ? by_size[k].batches : worst.batches;
    }
    double together = collusion(&h, &before, 2, 3);
    measure(args->seed, args->csv, &s);

    snprintf(ret->note, sizeof ret->note,
             "fakes: own x%.3f, all x%.2f, order %.4f, hub %.4f; riders %.2f, washers %.2f of "
             "contributors; newcomers %.2f of fair; flood %.3f",
             worst.own, worst.all, worst.order, worst.order_hub, s.rider / s.contributor,
             s.washer / s.contributor, s.newcomer / s.fair, s.holder_flooded / s.holder);
    snprintf(ret->json, sizeof ret->json,
             "{\"own_x\": %.4f, \"all_x\": %.4f, \"all_x_1\": %.4f, \"all_x_1000\": %.4f, "
             "\"order_changed\": %.5f, \"order_changed_hub\": %.5f, \"token_batches\": %u, "
             "\"collusion_x\": %.4f, "
             "\"contributor_cells_s\": %.3f, \"rider_part\": %.4f, \"washer_part\": %.4f, "
             "\"newcomer_part_of_fair\": %.4f, \"class_0_under_flood\": %.4f, \"idle_part\": %.4f}",
             worst.own, worst.all, by_size[0].all, by_size[3].all, worst.order, worst.order_hub,
             worst.batches, together, s.contributor, s.rider / s.contributor,
             s.washer / s.contributor, s.newcomer / s.fair, s.holder_flooded / s.holder, s.alone);
    ret->digest = (uint64_t)(worst.all * 1e6) ^ (uint64_t)(s.contributor * 1e9);
    SCENARIO_CHECK(worst.own > 0 && worst.own <= 1.05, "%s", ret->note);
    SCENARIO_CHECK(worst.all <= 6.7, "%s", ret->note);
    SCENARIO_CHECK(worst.order < 0.01, "%s", ret->note);
    SCENARIO_CHECK(forger(&h, HUB) == 0, "a forger has a score");
    SCENARIO_CHECK(s.rider <= s.contributor / 3, "%s", ret->note);
    SCENARIO_CHECK(s.newcomer >= 0.15 * s.fair, "%s", ret->note);
    SCENARIO_CHECK(s.holder_flooded >= 0.95 * s.holder, "%s", ret->note);
    SCENARIO_CHECK(s.alone > 0.99, "an idle relay gave %.3f of what it has", s.alone);
    return true;
}
