/*
 * Service: one saturated relay with clients who always want more. Limits of the gate
 * are scaled down so that half an hour is long.
 */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/rng_seeded.h"
#include "reputation/ledger.h"
#include "reputation/store_memory.h"
#include "scenarios/economy.h"
#include "tunnel/scheduler.h"

enum {
    CELL = 1232,
    CELLS_S = 400,
    STEP_MS = 20,
    GROUPS = 256,
    HOLDERS = 4,
    FAKES = 1000,
    FAKE_NETWORKS = 10,
    LATE = 5, /* newcomers beside the fakes */
    CLIENTS_MAX = 100 + HOLDERS + FAKES + LATE,
    MINUTE = 60,
    WINDOW = 10, /* seconds of which a rate is made */
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

/* clang-format off */
static const struct population {
    unsigned contributors, riders, washers, newcomers;
} populations[] = {
    { 20, 20,  5, 5 },
    { 24,  1,  1, 1 },
    {  3, 30, 10, 5 },
};
/* clang-format on */

struct service {
    double contributor, rider, washer; /* cells a second, medians, once all is settled */
    double newcomer, fair;             /* in their first minute */
    double holder, holder_flooded;
    double alone;
};

/* Newcomers of all populations, by the seconds it took until each had its part. */
struct times {
    double of[64];
    unsigned n;
};

/*
 * Looks for a minute at all who joined as `kind` from client `first` on. Each one's time is the
 * end of the first WINDOW seconds from which on, to the minute's end, it had ECONOMY_NEWCOMER of
 * `fair` cells a second in every WINDOW seconds; ECONOMY_NEVER when it had not in the last ones.
 */
static void watch(struct relay *r, unsigned first, enum kind kind, double fair, struct times *ret) {
    static uint64_t got[MINUTE + 1][CLIENTS_MAX];
    for (unsigned s = 0; s <= MINUTE; s++) {
        if (s)
            run(r, 1);
        for (unsigned i = first; i < r->n; i++)
            got[s][i] = r->client[i].cells;
    }
    for (unsigned i = first; i < r->n; i++) {
        unsigned end = MINUTE + 1;
        if (r->client[i].kind != kind)
            continue;
        while (end > WINDOW && (double)(got[end - 1][i] - got[end - 1 - WINDOW][i]) >=
                                   ECONOMY_NEWCOMER * fair * WINDOW)
            end--;
        if (ret->n == sizeof ret->of / sizeof *ret->of)
            abort();
        ret->of[ret->n++] = end > MINUTE ? ECONOMY_NEVER : end;
    }
}

static void measure(uint64_t seed, const struct population *p, FILE *csv, struct service *ret,
                    struct times *times) {
    struct relay r;
    unsigned first;
    relay_init(&r, seed);
    join(&r, RIDER, 1);
    run(&r, 30);
    ret->alone = (double)r.client[0].window / 30 / CELLS_S;
    join(&r, CONTRIBUTOR, p->contributors);
    join(&r, RIDER, p->riders - 1);
    join(&r, WASHER, p->washers);
    run(&r, 900);
    begin_window(&r);
    run(&r, 300);
    ret->contributor = median(&r, CONTRIBUTOR, 300);
    ret->rider = median(&r, RIDER, 300);
    ret->washer = median(&r, WASHER, 300);
    first = r.n;
    join(&r, NEWCOMER, p->newcomers);
    begin_window(&r);
    ret->fair = (double)CELLS_S / r.n;
    watch(&r, first, NEWCOMER, ret->fair, times);
    ret->newcomer = median(&r, NEWCOMER, MINUTE);
    join(&r, HOLDER, HOLDERS);
    run(&r, 30);
    begin_window(&r);
    run(&r, 60);
    ret->holder = median(&r, HOLDER, 60);
    join(&r, FAKE, FAKES);
    run(&r, 30);
    begin_window(&r);
    run(&r, 60);
    ret->holder_flooded = median(&r, HOLDER, 60);
    /* Beside a crowd of names a fair share is one of networks, not of names. */
    double networks = r.n - FAKES + FAKE_NETWORKS + LATE;
    first = r.n;
    join(&r, NEWCOMER, LATE);
    watch(&r, first, NEWCOMER, CELLS_S / networks, times);
    for (unsigned i = 0; csv && i < r.n; i++)
        fprintf(csv, "client,%s,%u,%u,%u,%llu,,,,\n", kinds[r.client[i].kind], i,
                r.client[i].gate_class, r.client[i].keys, (unsigned long long)r.client[i].cells);
    if (csv)
        fprintf(csv, "speeds,%u,%u,%u,%u,%.3f,%.3f,%.3f,%.3f,%.3f\n", p->contributors, p->riders,
                p->washers, p->newcomers, ret->contributor, ret->rider, ret->washer, ret->newcomer,
                ret->holder);
    relay_done(&r);
}

static double larger(double a, double b) {
    return a > b ? a : b;
}

static int by_time(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Of all times, the one that a part of them is not above: nearest rank. */
static double quantile(struct times *t, double part) {
    qsort(t->of, t->n, sizeof *t->of, by_time);
    size_t rank = (size_t)(part * t->n + 0.999999);
    return t->of[rank ? rank - 1 : 0];
}

void economy_service(uint64_t seed, FILE *csv, struct economy_service *ret) {
    struct times times = {.n = 0};
    *ret = (struct economy_service){.newcomer = 1e9, .flooded = 1e9, .alone = 1};
    for (size_t i = 0; i < sizeof populations / sizeof *populations; i++) {
        struct service s;
        measure(seed, &populations[i], csv, &s, &times);
        if (i == 0)
            ret->contributor = s.contributor;
        ret->rider = larger(ret->rider, s.rider / s.contributor);
        ret->washer = larger(ret->washer, s.washer / s.contributor);
        ret->newcomer = -larger(-ret->newcomer, -s.newcomer / s.fair);
        ret->flooded = -larger(-ret->flooded, -s.holder_flooded / s.holder);
        ret->alone = -larger(-ret->alone, -s.alone);
    }
    ret->newcomer_median = quantile(&times, 0.5);
    ret->newcomer_late = quantile(&times, 0.95);
}
