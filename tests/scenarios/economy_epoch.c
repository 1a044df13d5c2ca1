/*
 * Service to an attacker and its fakes: what one honest relay carries for all of them in an
 * epoch, hour by hour, with everybody wanting more than there is. Links, their groups, classes
 * and weights are the tunnel's and the ledger's own, for rows that are in the ledger's store.
 */
#include <stdalign.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/rng_seeded.h"
#include "reputation/ledger_internal.h"
#include "reputation/store_memory.h"
#include "scenarios/economy.h"
#include "tunnel/core.h"

enum {
    HOURS = REP_EPOCH_SECONDS / 3600,
    CELLS_HOUR = 100, /* the relay is full: how fast it is does not count */
    GIVERS = 20,
    RIDERS = 20,
    NEWCOMERS = 5,
    LINKS = 8,     /* that an attacker opens under one name, instead of fakes */
    ATTACKER = 4,  /* one that is no hub */
    PROVIDERS = 2, /* /16s in which the attacker has addresses; in each .. */
    PLACES = 4,    /* .. /24s */
    NETWORKS = PROVIDERS * PLACES,
    EDGES_MAX = 2 * (5 * ECONOMY_RELAYS + ECONOMY_FAKES_MAX * (ECONOMY_FAKES_MAX + 1) / 2),
    USERS_MAX = 2 * (ECONOMY_RELAYS + ECONOMY_FAKES_MAX) + GIVERS + RIDERS + NEWCOMERS + LINKS,
};

#define WEEK_BEGIN (INT64_C(2977) * REP_EPOCH_SECONDS)

/* Who of the attacker's has links as a relay. All have links as viewers. */
enum stance { ALL, HALF, CROWD, VIEWERS, STANCES };
static const char *const stances[STANCES] = {"all relay here", "he and half of them relay here",
                                             "they relay here", "viewers only"};

struct user {
    struct tun_link *link;
    struct tun_hop hop; /* a circuit that comes by this link and never ends */
    bool his;
    unsigned relay; /* whose; 0: nobody's */
    uint64_t cells;
};

struct edge {
    struct rep_edge e;
    unsigned order;
};

struct relay {
    struct tunnel *tunnel;
    struct rep_ledger *ledger;
    struct rep_store_memory *memory;
    struct cv_ed25519_secret identity;
    struct cv_rng_seeded dice;
    struct cv_rng rng;
    struct cv_now now;
    struct edge *edge;
    unsigned edges_n;
    struct user *user;
    unsigned n;
    unsigned viewers[2][ECONOMY_RELAYS + ECONOMY_FAKES_MAX]; /* nameless links: others', his */
    unsigned viewers_n[2];
    unsigned batches[2];
};

static void key_of(const struct relay *r, unsigned who, uint8_t ret[CV_KEY]) {
    if (who == ECONOMY_EGO) {
        memcpy(ret, r->identity.public_key, CV_KEY);
        return;
    }
    memset(ret, 0, CV_KEY);
    ret[0] = (uint8_t)who;
    ret[1] = (uint8_t)(who >> 8);
    ret[31] = 1;
}

/* ---- the relay ---- */

static void put(void *ctx, unsigned a, unsigned b, uint64_t octets) {
    struct relay *r = ctx;
    for (unsigned way = 0; way < 2; way++) {
        if (r->edges_n == EDGES_MAX)
            abort();
        struct edge *e = &r->edge[r->edges_n];
        *e = (struct edge){.e = {.octets = octets, .recent = octets}, .order = r->edges_n++};
        e->e.epoch = (uint32_t)(r->now.wall / REP_EPOCH_SECONDS) - 1;
        key_of(r, way ? b : a, e->e.giver);
        key_of(r, way ? a : b, e->e.taker);
    }
}

static int by_key(const void *a, const void *b) {
    const struct edge *x = a, *y = b;
    int d = memcmp(x->e.giver, y->e.giver, CV_KEY);
    d = d ? d : memcmp(x->e.taker, y->e.taker, CV_KEY);
    return d ? d : (x->order > y->order) - (x->order < y->order);
}

/* In the order of the store's table, which moves everything behind what is put in between. */
static void store_edges(struct relay *r) {
    const struct rep_store *s = rep_store_memory_ops(r->memory);
    qsort(r->edge, r->edges_n, sizeof *r->edge, by_key);
    if (s->begin(s->ctx, r->now.wall))
        abort();
    for (unsigned i = 0; i < r->edges_n; i++)
        if (s->edge_put(s->ctx, &r->edge[i].e))
            abort();
    if (s->commit(s->ctx))
        abort();
}

static void relay_init(struct relay *r, uint64_t seed) {
    uint8_t key[CV_KEY] = {1};
    memset(r, 0, sizeof *r);
    cv_rng_seeded_init(&r->dice, seed);
    r->rng = cv_rng_seeded(&r->dice);
    r->now = (struct cv_now){.mono = CV_SEC(1), .wall = WEEK_BEGIN};
    cv_ed25519_from_seed(&r->identity, key);
    r->memory = rep_store_memory_new();
    r->user = aligned_alloc(alignof(struct user), USERS_MAX * sizeof *r->user); /* hops are */
    r->edge = calloc(EDGES_MAX, sizeof *r->edge);
    if (!r->memory || !r->user || !r->edge)
        abort();
    memset(r->user, 0, USERS_MAX * sizeof *r->user);
}

static void relay_start(struct relay *r) {
    struct tun_config tunnel = {.relay = true, .gate = true, .identity = &r->identity};
    struct rep_config ledger;
    const struct rep_store *s = rep_store_memory_ops(r->memory);
    rep_config_init(&ledger);
    ledger.identity_secret = r->identity;
    tunnel.addr[0] = (struct cv_addr){.ip = {40, 0, 0, 1}, .port = 1, .family = 4};
    r->tunnel = tun_bare_new(&tunnel, &r->rng, &r->now);
    store_edges(r);
    if (!r->tunnel || rep_ledger_new(&ledger, s, &r->rng, r->now, &r->ledger))
        abort();
    tun_sched_pace(&r->tunnel->sched, CELLS_HOUR); /* the shortest turns */
}

static void relay_done(struct relay *r) {
    for (unsigned i = 0; i < r->n; i++)
        tun_leg_detach(r->tunnel, &r->user[i].hop.prev);
    tun_free(r->tunnel);
    rep_ledger_free(r->ledger);
    rep_store_memory_free(r->memory);
    free(r->user);
    free(r->edge);
}

/* As the node does (node/accounts.c). */
static void drain(struct relay *r) {
    struct rep_event e;
    while (rep_ledger_poll_event(r->ledger, &e)) {
        if (e.kind == REP_EVENT_CLASS)
            tun_link_class(r->tunnel, e.link, e.gate_class);
        else if (e.kind == REP_EVENT_WEIGHT)
            tun_link_weight(r->tunnel, e.link, e.weight * TUN_WEIGHT_NEW / REP_WEIGHT_MEAN);
    }
}

static void pass(struct relay *r, unsigned seconds) {
    r->now.mono += CV_SEC(seconds);
    r->now.wall += seconds;
    r->ledger->gossip.at = CV_USEC_NEVER; /* nobody here would answer */
    rep_ledger_on_timeout(r->ledger, r->now);
    drain(r);
}

/* ---- who is there ---- */

/* A link with cells that wait. `ours`: a circuit of somebody's had led us there. */
static struct user *join(struct relay *r, uint8_t role, unsigned who, bool ours,
                         const struct cv_addr *addr) {
    static const enum rep_role roles[] = {[TUN_ROLE_NAMELESS] = REP_ROLE_NAMELESS,
                                          [TUN_ROLE_RELAY] = REP_ROLE_RELAY,
                                          [TUN_ROLE_CLIENT] = REP_ROLE_CLIENT};
    struct user *u = &r->user[r->n++];
    struct tun_link *l = tun_link_alloc(r->tunnel, &r->now, addr, ours);
    if (!l)
        abort();
    u->link = l;
    u->relay = who;
    l->role = role;
    key_of(r, who, l->identity);
    if (role == TUN_ROLE_CLIENT)
        l->identity[CV_KEY - 1] = 2;
    tun_link_regroup(r->tunnel, l);
    tun_flow_init(&u->hop.prev.flow, l->group, u, TUN_FLOW_CELLS);
    tun_flow_init(&u->hop.next.flow, l->group, u, TUN_FLOW_CELLS);
    u->hop.prev.kind = TUN_LEG_PREV;
    u->hop.prev.flow.patient = true;
    if (tun_leg_attach(r->tunnel, &u->hop.prev, l, ours ? 1 : TUN_CIRCUIT_INITIATOR | 1) ||
        rep_ledger_link_up(r->ledger, r->now, l->handle, roles[role], l->identity, addr))
        abort();
    drain(r);
    for (unsigned i = 0; i < 2; i++) {
        struct tun_cell *c = tun_sched_take(&r->tunnel->sched);
        if (!c)
            abort();
        tun_sched_put(&r->tunnel->sched, &u->hop.prev.flow, c, r->now.mono);
    }
    return u;
}

static struct cv_addr address(bool his, unsigned provider, unsigned place, unsigned host) {
    struct cv_addr a = {.ip = {his ? 20 : 30, (uint8_t)provider, (uint8_t)place, (uint8_t)host},
                        .port = (uint16_t)(1000 + host),
                        .family = 4};
    return a;
}

static struct cv_addr his_address(unsigned number) {
    return address(true, number % PROVIDERS, number / PROVIDERS % PLACES, number / NETWORKS);
}

static void view(struct relay *r, unsigned who, bool his, const struct cv_addr *addr) {
    r->viewers[his][r->viewers_n[his]++] = r->n;
    join(r, TUN_ROLE_NAMELESS, who, false, addr)->his = his;
}

/* Everybody honest but the attacker: relays that competed here before, their owners, clients. */
static void join_honest(struct relay *r, const struct economy_network *h, unsigned attacker) {
    bool rival[ECONOMY_RELAYS] = {0};
    for (unsigned k = 0; k < h->n; k++) {
        const struct economy_row *row = &h->rows[k];
        rival[row->a] |= row->b == ECONOMY_EGO;
        rival[row->b] |= row->a == ECONOMY_EGO;
    }
    for (unsigned i = 1; i < ECONOMY_RELAYS; i++) {
        struct cv_addr addr = address(false, i, 0, 1), home = address(false, i, 1, 1);
        if (!rival[i] || i == attacker)
            continue;
        join(r, TUN_ROLE_RELAY, i, false, &addr);
        view(r, i, false, &home);
    }
    for (unsigned i = 0; i < GIVERS + RIDERS + NEWCOMERS; i++) {
        struct cv_addr addr = address(false, 200, i, 1);
        if (i >= GIVERS + RIDERS) {
            join(r, TUN_ROLE_NAMELESS, 0, false, &addr);
            continue;
        }
        struct user *u = join(r, TUN_ROLE_CLIENT, 10000 + i, false, &addr);
        uint64_t much = 2 * rep_gate_defaults.debt_octets;
        rep_ledger_carried(r->ledger, r->now, u->link->handle, much, i < GIVERS ? much : 0);
    }
}

static void join_his(struct relay *r, unsigned attacker, unsigned fakes, enum stance stance,
                     unsigned links) {
    for (unsigned i = 0; i < links; i++) {
        struct cv_addr addr = his_address(i);
        join(r, TUN_ROLE_RELAY, attacker, false, &addr)->his = true;
    }
    for (unsigned i = stance == HALF; i < fakes && stance != VIEWERS; i += 1 + (stance == HALF)) {
        struct cv_addr addr = his_address(1 + i);
        join(r, TUN_ROLE_RELAY, ECONOMY_RELAYS + i, true, &addr)->his = true;
    }
    for (unsigned i = 0; i < (fakes > NETWORKS ? fakes : NETWORKS); i++) {
        struct cv_addr addr = his_address(i);
        view(r, 0, true, &addr);
    }
}

/* ---- tokens ---- */

static void count_batches(struct relay *r, unsigned attacker, unsigned fakes) {
    for (unsigned i = 1; i < ECONOMY_RELAYS + fakes; i++) {
        uint8_t key[CV_KEY];
        bool his = i == attacker || i >= ECONOMY_RELAYS, here = his;
        for (unsigned k = 0; k < r->viewers_n[0] && !here; k++)
            here = r->user[r->viewers[0][k]].relay == i;
        key_of(r, i, key);
        if (here && rep_token_earned(r->ledger, key))
            r->batches[his]++;
    }
}

/* All spend theirs evenly over the week: the best that can be done with tokens, as links that
 * have priority at the same time share what there is. */
static void spend(struct relay *r, unsigned hour) {
    for (unsigned his = 0; his < 2; his++) {
        unsigned all = r->batches[his] * REP_TOKENS;
        for (unsigned k = all * hour / HOURS; k < all * (hour + 1) / HOURS; k++) {
            const struct user *u = &r->user[r->viewers[his][k % r->viewers_n[his]]];
            rep_ledger_grant(r->ledger, r->now, u->link->handle, r->now.mono + CV_SEC(3600));
        }
    }
    drain(r);
}

/* ---- an epoch ---- */

static void serve(struct relay *r, unsigned cells) {
    for (unsigned k = 0; k < cells; k++) {
        struct tun_flow *flow;
        struct tun_cell *c = tun_sched_next(&r->tunnel->sched, r->now.mono, &flow);
        struct user *u = flow->owner;
        u->cells++;
        tun_sched_put(&r->tunnel->sched, flow, c, r->now.mono); /* and wants more */
    }
}

struct epoch {
    unsigned attacker, fakes, links;
    enum economy_shape shape;
    enum stance stance;
};

struct served {
    double part;              /* of what the relay carried, for attacker and fakes */
    unsigned batches, others; /* of tokens: his, and honest relays' */
};

static struct served play(const struct economy_network *h, uint64_t seed, const struct epoch *e) {
    static struct relay r;
    struct served ret = {0};
    uint64_t all = 0, his = 0;
    relay_init(&r, seed);
    for (unsigned k = 0; k < h->n; k++)
        put(&r, h->rows[k].a, h->rows[k].b, h->rows[k].octets);
    economy_fakes(e->attacker, e->shape, e->fakes, put, &r);
    relay_start(&r);
    join_honest(&r, h, e->attacker);
    join_his(&r, e->attacker, e->fakes, e->stance, e->links);
    pass(&r, 60); /* all are ranked */
    pass(&r, 2 * rep_gate_defaults.debt_seconds);
    for (unsigned i = 0; i < r.n; i++) /* a word of debtors: they are judged */
        rep_ledger_carried(r.ledger, r.now, r.user[i].link->handle, 1, 0);
    drain(&r);
    count_batches(&r, e->attacker, e->fakes);
    for (unsigned hour = 0; hour < HOURS; hour++) {
        spend(&r, hour);
        serve(&r, CELLS_HOUR);
        pass(&r, 3600);
    }
    for (unsigned i = 0; i < r.n; i++) {
        all += r.user[i].cells;
        his += r.user[i].his ? r.user[i].cells : 0;
    }
    ret.part = (double)his / (double)all;
    ret.batches = r.batches[1];
    ret.others = r.batches[0];
    relay_done(&r);
    return ret;
}

static double larger(double a, double b) {
    return a > b ? a : b;
}

static void attack(const struct economy_network *h, uint64_t seed, unsigned attacker, FILE *csv,
                   struct economy_epoch *ret) {
    struct served alone[2]; /* as a viewer, and as a relay, too */
    for (unsigned links = 0; links < 2; links++)
        alone[links] = play(h, seed, &(struct epoch){.attacker = attacker, .links = links});
    struct served many = play(h, seed, &(struct epoch){.attacker = attacker, .links = LINKS});
    ret->links = larger(ret->links, many.part / alone[1].part);
    if (csv)
        fprintf(csv, "served,links,%d,%u,%.5f,%.4f,,,,%u\n", LINKS, attacker, alone[1].part,
                many.part / alone[1].part, many.batches);
    for (unsigned size = 0; size < ECONOMY_SIZES; size++)
        for (enum economy_shape shape = ECONOMY_STAR; shape < ECONOMY_SHAPES; shape++)
            for (enum stance stance = ALL; stance < STANCES; stance++) {
                /* One fake has one shape, and rows between two with links here count nothing. */
                if (stance == HALF ? shape == ECONOMY_STAR || size == 0
                                   : shape != ECONOMY_STAR && (size == 0 || stance == ALL))
                    continue;
                struct served s = play(
                    h, seed,
                    &(struct epoch){attacker, economy_sizes[size], stance <= HALF, shape, stance});
                double part = alone[stance != VIEWERS].part;
                ret->served[size] = larger(ret->served[size], s.part / part);
                ret->batches = s.batches > ret->batches ? s.batches : ret->batches;
                if (csv)
                    fprintf(csv, "served,%s,%u,%u,%.5f,%.4f,,,%s,%u\n", economy_shapes[shape],
                            economy_sizes[size], attacker, part, s.part / part, stances[stance],
                            s.batches);
            }
    ret->honest_batches = alone[0].others;
}

void economy_epoch(uint64_t seed, FILE *csv, struct economy_epoch *ret) {
    struct economy_network h;
    *ret = (struct economy_epoch){0};
    economy_honest(seed, &h);
    attack(&h, seed, seed % 2 ? ECONOMY_HUB : ATTACKER, csv, ret);
}
