/*
 * Who gets between a viewer and what he watches: clients with the guards, second
 * layers and paths of src/tunnel among a thousand relays of which some belong to
 * one attacker, for thirty days in which relays come, go and are out for hours.
 *
 * A path is compromised when its first and its last hop are the attacker's: he may
 * then compare what enters with what leaves. Counted are such paths, clients that
 * had one, clients that ever had a hostile first hop, and beside each what the
 * formula says that assumes independent draws:
 *
 *     hostile first hop       1 - (1 - f)^d   d: first hops that a client used
 *     path compromised        f x w           w: the hostile share of weights
 *     client had one          sum over its first hops j of Binomial(d, f) x
 *                             (1 - (1 - j/d x w)^K), K paths
 *
 * The attacker's relays are never out, never leave and name no family. They stand
 * in networks of their own, each a /16, and are as fast as honest ones, so that a
 * tenth of the relays is a tenth of the capacity; or all in one /16; or they claim
 * the world, vouch for each other and slander the rest; or they are few and faster
 * than can be measured. What a relay carries is reported by nine others drawn at
 * random, as probes would have measured it.
 * Whoever names the last hop himself (a hidden swarm of the attacker's) needs the
 * first hop only: that is the row of hostile first hops.
 *
 * Descriptors are signed, opened and confirmed by two as in the real directory,
 * which all clients here share: what they know is not what this is about.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/hash.h"
#include "crypto/rng_seeded.h"
#include "scenarios/scenario.h"
#include "tunnel/capacity.h"
#include "tunnel/guard.h"
#include "tunnel/path.h"

enum {
    RELAYS = 1000, /* unless --nodes says otherwise */
    RELAYS_MAX = 2000,
    CLIENTS_MAX = 500, /* and never more than relays */
    DAYS = 30,         /* unless --minutes says otherwise */
    TURNS = 4,         /* a day, one path a turn */
    LEAVES = 100,      /* one honest relay in so many leaves for good each day */
    OUT = 30,          /* and one in so many is out at any time */
    FIRSTS_MAX = 32,   /* first hops that one client used */
    SWARM = 0x1f,      /* flags: a relay that does everything */
    DAY_0 = 20600,     /* since 1970 */
    HONEST_MAX = 4000, /* KiB/s; relays carry 100 to so much */
};

struct relay {
    struct cv_ed25519_secret identity;
    struct tun_descriptor what;
    bool hostile, out;
    uint32_t capacity;     /* KiB/s */
    struct tun_relay *now; /* its entry of the day */
};

struct client {
    struct tun_guards guards;
    uint8_t first[FIRSTS_MAX][CV_KEY]; /* those that carried a path */
    unsigned firsts, hostile_firsts;
    unsigned paths, compromised;
};

/* What the attacker has, in parts of a hundred of all honest and hostile relays. */
struct attack {
    const char *name;
    unsigned hundredths; /* of `relays`, or with `extra` on top of them */
    bool extra, one_network, lies, fast;
};

static const struct attack attacks[] = {
    {.name = "10 % of the capacity", .hundredths = 10},
    {.name = "20 % of the capacity", .hundredths = 20},
    {.name = "10 more /16s for 100", .hundredths = 10, .extra = true},
    {.name = "10 % in one /16", .hundredths = 10, .one_network = true},
    {.name = "10 %, who lie", .hundredths = 10, .lies = true},
    {.name = "2 %, very fast", .hundredths = 2, .fast = true},
};
#define ATTACKS (sizeof attacks / sizeof *attacks)

struct population {
    struct cv_rng_seeded dice;
    struct cv_rng rng;
    struct tun_directory *dir;
    struct relay relay[RELAYS_MAX];
    unsigned n, hostile;
    const struct attack *attack;
    uint32_t made; /* addresses given out */
    struct client client[CLIENTS_MAX];
    unsigned clients;
    struct cv_now now;
    uint64_t broken; /* paths against a rule; there must be none */
    double share;    /* of all weights, that hostile relays have */
    uint64_t digest;
};

static const uint8_t network[TUN_NETWORK_ID] = "guards";

/* ---- relays ---- */

/* A new relay at place i. Honest ones share networks now and then: 5,000 /16s. */
static void relay_new(struct population *p, unsigned i, bool hostile) {
    struct relay *r = &p->relay[i];
    uint8_t seed[CV_KEY];
    memset(r, 0, sizeof *r);
    cv_rng_fill(&p->rng, seed, sizeof seed);
    cv_ed25519_from_seed(&r->identity, seed);
    r->hostile = hostile;
    uint32_t number = ++p->made;
    uint32_t net = hostile ? 0x6000 + (p->attack->one_network ? 0 : number)
                           : 0x2000 + (uint32_t)cv_rng_below(&p->rng, 5000);
    r->what = (struct tun_descriptor){.flags = SWARM, .suites = 1, .addrs = 1};
    r->what.addr[0] = (struct cv_addr){
        .family = 4,
        .port = 4000,
        .ip = {(uint8_t)(net >> 8), (uint8_t)net, (uint8_t)(number >> 8), (uint8_t)number}};
    if (!hostile && number % 4 == 0) { /* a quarter has IPv6 too */
        uint32_t prefix = 0x26000000 + (uint32_t)cv_rng_below(&p->rng, 5000);
        r->what.addr[r->what.addrs++] = (struct cv_addr){
            .family = 6,
            .port = 4000,
            .ip = {(uint8_t)(prefix >> 24), (uint8_t)(prefix >> 16), (uint8_t)(prefix >> 8),
                   (uint8_t)prefix, [14] = (uint8_t)(number >> 8), [15] = (uint8_t)number}};
    }
    r->capacity = hostile && p->attack->fast ? TUN_CAPACITY_MAX
                                             : (uint32_t)cv_rng_between(&p->rng, 100, HONEST_MAX);
    r->what.bandwidth = hostile && p->attack->lies ? UINT32_MAX : r->capacity;
    memcpy(r->what.network_id, network, TUN_NETWORK_ID);
}

static void claim(struct population *p, const struct relay *of, const struct relay *by) {
    (void)tun_directory_claim(p->dir, p->now.wall, of->now->desc.identity, of->now->desc.day,
                              of->now->desc.digest, by->now->desc.identity, NULL, 0);
}

/* Nine others say what they measured; liars what suits them. */
static void measure(struct population *p, struct relay *of) {
    for (unsigned i = 0; i < 4 * TUN_REPORTS_MAX && of->now->reports < TUN_REPORTS_MAX; i++) {
        const struct relay *by = &p->relay[cv_rng_below(&p->rng, p->n)];
        bool lies = by->hostile && p->attack->lies;
        uint32_t kib = lies ? (of->hostile ? UINT32_MAX : 1) : of->capacity;
        tun_directory_report(p->dir, of->now->desc.day, of->now->desc.identity,
                             tun_capacity_code(kib), by->now->desc.identity);
    }
}

/* Everybody's descriptor of the day, confirmed by whichever two will do. */
static bool publish(struct population *p, uint32_t day) {
    for (unsigned i = 0; i < p->n; i++) {
        struct relay *r = &p->relay[i];
        uint8_t raw[TUN_DESCRIPTOR_MAX];
        r->what.day = day;
        ssize_t len = tun_descriptor_sign(&r->what, &r->identity, raw, sizeof raw);
        if (len < 0 ||
            tun_directory_add(p->dir, p->now.wall, raw, (size_t)len, &r->now, NULL) != CV_ERR_OK)
            return false;
    }
    for (unsigned i = 0; i < p->n; i++)
        for (unsigned k = 0; k < p->n && !p->relay[i].now->confirmed; k++)
            claim(p, &p->relay[i], &p->relay[(i + 1 + k * 7) % p->n]);
    for (unsigned i = 0; i < p->n; i++)
        if (p->relay[i].now->reports == 0)
            measure(p, &p->relay[i]);
    return tun_directory_count(p->dir, day, TUN_DIRECTORY_CONFIRMED) == p->n;
}

static void leave_and_come(struct population *p) {
    for (unsigned i = 0; i < p->n; i++)
        if (!p->relay[i].hostile && cv_rng_below(&p->rng, LEAVES) == 0)
            relay_new(p, i, false);
}

static void go_out(struct population *p) {
    for (unsigned i = 0; i < p->n; i++)
        p->relay[i].out = !p->relay[i].hostile && cv_rng_below(&p->rng, OUT) == 0;
}

static struct relay *find(struct population *p, const uint8_t identity[CV_KEY]) {
    struct tun_relay *r = tun_directory_find_now(p->dir, identity, p->now.wall);
    for (unsigned i = 0; r && i < p->n; i++)
        if (p->relay[i].now == r)
            return &p->relay[i];
    return NULL; /* left */
}

/* ---- clients: what client.c and contact.c do, without the datagrams ---- */

static bool is_there(struct population *p, const uint8_t identity[CV_KEY]) {
    const struct relay *r = find(p, identity);
    return r && !r->out;
}

static void hear(struct population *p, struct tun_guard *g) {
    if (!g->set)
        return;
    g->up = is_there(p, g->identity);
    if (g->up)
        tun_guard_heard(g);
    else
        tun_guard_silent(g, p->now.wall);
}

static void add_contact(struct population *p, struct tun_guard_contact *ret, size_t *n,
                        const struct tun_guard *g) {
    const struct relay *r = g->set && g->up ? find(p, g->identity) : NULL;
    if (r)
        ret[(*n)++] = (struct tun_guard_contact){.relay = r->now, .addr = g->addr};
}

/* Addresses from the DHT, in any order, until the sample is full. */
static void sample(struct population *p, struct client *c) {
    for (unsigned tries = 0; tries < 200 && tun_guards_sampled(&c->guards) < TUN_CONTACTS_WANTED;
         tries++) {
        const struct relay *r = &p->relay[cv_rng_below(&p->rng, p->n)];
        bool changed = false;
        if (!r->out)
            (void)tun_guards_sample(&c->guards, r->now, &r->what.addr[0], p->dir, p->now.wall,
                                    &p->rng, &changed);
    }
}

static void keep_guards(struct population *p, struct client *c) {
    struct tun_guard_contact contacts[TUN_GUARD_FIRSTS + TUN_CONTACTS_WANTED];
    size_t n = 0;
    for (unsigned i = 0; i < TUN_GUARD_FIRSTS; i++)
        hear(p, &c->guards.first[i]);
    for (unsigned i = 0; i < TUN_CONTACTS_WANTED; i++)
        hear(p, &c->guards.contact[i]);
    (void)tun_guards_retire(&c->guards, p->dir, true, p->now.wall);
    sample(p, c);
    for (unsigned i = 0; i < TUN_CONTACTS_WANTED; i++) {
        hear(p, &c->guards.contact[i]);
        add_contact(p, contacts, &n, &c->guards.contact[i]);
    }
    (void)tun_guards_choose_first(&c->guards, contacts, n, p->n, p->dir, p->now.wall, &p->rng);
    (void)tun_guards_choose_second(&c->guards, p->dir, p->now.wall, &p->rng);
    for (unsigned i = 0; i < TUN_GUARD_FIRSTS; i++)
        hear(p, &c->guards.first[i]);
}

static void used(struct population *p, struct client *c, const struct tun_relay *first) {
    for (unsigned i = 0; i < c->firsts; i++)
        if (memcmp(c->first[i], first->desc.identity, CV_KEY) == 0)
            return;
    if (c->firsts == FIRSTS_MAX)
        return;
    memcpy(c->first[c->firsts++], first->desc.identity, CV_KEY);
    const struct relay *r = find(p, first->desc.identity);
    c->hostile_firsts += r && r->hostile;
}

/* The rules once more, in words of its own: 0 when all hold. */
static unsigned rules_broken(struct population *p, const struct client *c,
                             const struct tun_path *path, const struct tun_relay *named) {
    unsigned broken = !tun_guards_is_first(&c->guards, path->hop[0]->desc.identity) ||
                      !tun_guards_is_second(&c->guards, path->hop[1]->desc.identity);
    for (unsigned i = 0; i < path->n; i++) {
        broken += named && path->hop[i] == named && i + 1 != path->n;
        /* Where others are shown who stands, guards stand as often as anybody. */
        bool shown = i > 1 && (path->n == 4 || path->purpose == TUN_PURPOSE_MEET);
        broken += i > 0 && !shown && named != path->hop[i] &&
                  tun_guards_is_first(&c->guards, path->hop[i]->desc.identity);
        for (unsigned k = 0; k < i; k++)
            broken += tun_relay_conflict(&path->hop[i]->desc, &path->hop[k]->desc);
    }
    return broken + !tun_path_ok(path, &c->guards, p->n);
}

/* A path of one kind; every fourth to a relay that somebody else named, which is
 * any: those are not counted as compromised, only held to the rules. */
static void one_path(struct population *p, struct client *c, unsigned turn) {
    static const enum tun_purpose kinds[] = {TUN_PURPOSE_GENERAL, TUN_PURPOSE_MEET,
                                             TUN_PURPOSE_PUBLISH, TUN_PURPOSE_INTRODUCE};
    struct tun_path_request req = {.purpose = kinds[turn % 4]};
    struct tun_path path;
    if (turn % 4 == 3)
        req.named = p->relay[cv_rng_below(&p->rng, p->n)].now;
    if (tun_path_choose(&path, p->dir, &c->guards, &req, &p->now, &p->rng) != CV_ERR_OK)
        return;
    p->broken += rules_broken(p, c, &path, req.named);
    used(p, c, path.hop[0]);
    if (req.named)
        return;
    const struct relay *first = find(p, path.hop[0]->desc.identity);
    const struct relay *last = find(p, path.hop[path.n - 1]->desc.identity);
    bool bad = first && last && first->hostile && last->hostile;
    c->paths++;
    c->compromised += bad;
    p->digest = p->digest * 0x100000001b3 + (bad ? 2 : 1) + path.hop[path.n - 1]->desc.identity[0];
}

/* The hostile share of all weights, nobody above a twentieth of them: the cap by
 * halving, not as path.c finds it. */
static double hostile_share(const struct population *p) {
    double lo = 0, hi = 1e10, all = 0, bad = 0;
    for (unsigned round = 0; round < 100; round++) {
        double cap = (lo + hi) / 2;
        all = bad = 0;
        for (unsigned i = 0; i < p->n; i++) {
            double w = tun_relay_weight(p->relay[i].now) + 1.0;
            w = p->n < TUN_WEIGHTS_FROM ? 1 : w < cap ? w : cap;
            all += w;
            bad += p->relay[i].hostile ? w : 0;
        }
        if (cap > all / 20)
            hi = cap;
        else
            lo = cap;
    }
    return bad / all;
}

static bool live(struct population *p, unsigned days) {
    p->now = (struct cv_now){.mono = CV_SEC(1), .wall = (int64_t)DAY_0 * 86400 + 4 * 3600};
    for (unsigned d = 0; d < days; d++) {
        if (d > 0)
            leave_and_come(p);
        if (!publish(p, DAY_0 + d))
            return false;
        for (unsigned turn = 0; turn < TURNS; turn++) {
            go_out(p);
            for (unsigned i = 0; i < p->clients; i++) {
                keep_guards(p, &p->client[i]);
                one_path(p, &p->client[i], turn + d);
            }
            p->now.mono += CV_SEC(86400 / TURNS);
            p->now.wall += 86400 / TURNS;
        }
        p->share += hostile_share(p) / days;
        tun_directory_expire(p->dir, p->now.wall);
    }
    return true;
}

/* ---- what came of it, and the formula ---- */

/* Something counted, what the formula expects, and how far chance takes it. */
struct figure {
    double seen, expected, deviation;
};

struct outcome {
    double f, w, d; /* see above; d: mean */
    unsigned paths, compromised;
    struct figure first, path, client; /* parts of one */
};

static double choose(unsigned n, unsigned k, double f) {
    double c = 1;
    for (unsigned i = 0; i < k; i++)
        c = c * (n - i) / (i + 1);
    return c * pow(f, k) * pow(1 - f, n - k);
}

/* Had a compromised path: j of its d first hops are hostile, and K paths began at
 * each of them alike. */
static double had_one(unsigned d, unsigned k, double f, double w) {
    double sum = 0;
    for (unsigned j = 1; j <= d; j++)
        sum += choose(d, j, f) * (1 - pow(1 - w * j / d, k));
    return sum;
}

static void add(struct figure *f, bool seen, double expected) {
    f->seen += seen;
    f->expected += expected;
    f->deviation += expected * (1 - expected); /* its square, so far */
}

static void mean(struct figure *f, unsigned n) {
    f->seen /= n;
    f->expected /= n;
    f->deviation = sqrt(f->deviation) / n;
}

static void conclude(const struct population *p, struct outcome *o) {
    *o = (struct outcome){.f = (double)p->hostile / p->n, .w = p->share};
    for (unsigned i = 0; i < p->clients; i++) {
        const struct client *c = &p->client[i];
        o->paths += c->paths;
        o->compromised += c->compromised;
        o->d += (double)c->firsts / p->clients;
        add(&o->first, c->hostile_firsts > 0, 1 - pow(1 - o->f, c->firsts));
        add(&o->client, c->compromised > 0, had_one(c->firsts, c->paths, o->f, o->w));
    }
    mean(&o->first, p->clients);
    mean(&o->client, p->clients);
    double k = (double)o->paths / p->clients;
    o->path.seen = (double)o->compromised / o->paths;
    o->path.expected = o->f * o->w;
    /* A client's two guards stay: its paths are no independent draws. */
    o->path.deviation =
        sqrt((o->w * o->w * o->f * (1 - o->f) / 2 + o->f * o->w * (1 - o->w) / k) / p->clients);
    if (p->attack->one_network) /* two hops of one /16 are in no path */
        o->path.expected = o->client.expected = 0;
}

static bool agrees(const struct figure *f) {
    return fabs(f->seen - f->expected) <= 4 * f->deviation;
}

/* ---- all of it ---- */

static bool run(struct population *p, const struct attack *a, unsigned relays, unsigned days,
                uint64_t seed) {
    memset(p, 0, sizeof *p);
    cv_rng_seeded_init(&p->dice, seed);
    p->rng = cv_rng_seeded(&p->dice);
    p->attack = a;
    p->dir = tun_directory_new(network, &p->rng);
    if (!p->dir)
        return false;
    p->hostile = relays * a->hundredths / 100;
    p->n = relays + (a->extra ? p->hostile : 0);
    p->clients = relays < CLIENTS_MAX ? relays : CLIENTS_MAX;
    for (unsigned i = 0; i < p->n; i++)
        relay_new(p, i, i < p->hostile);
    bool ok = live(p, days);
    tun_directory_free(p->dir);
    return ok;
}

static void print(struct scenario_result *ret, const char *name, const struct outcome *o) {
    size_t at = strlen(ret->text), json = strlen(ret->json);
    snprintf(ret->text + at, sizeof ret->text - at,
             "%-22s %5.1f %6.1f %5.2f   %5.1f %5.1f (%4.1f)   %6.3f %6.3f   %5.1f %5.1f\n", name,
             100 * o->f, 100 * o->w, o->d, 100 * o->first.seen, 100 * o->first.expected,
             100 * (1 - pow(1 - o->f, 2)), 100 * o->path.seen, 100 * o->path.expected,
             100 * o->client.seen, 100 * o->client.expected);
    snprintf(ret->json + json, sizeof ret->json - json,
             "%s{\"case\": \"%s\", \"f\": %.4f, \"w\": %.4f, \"first_hops\": %.3f, "
             "\"paths\": %u, \"compromised\": %u, \"path_formula\": %.6f, "
             "\"client_first\": %.4f, \"client_first_formula\": %.4f, "
             "\"client_path\": %.4f, \"client_path_formula\": %.4f}",
             json ? ", " : "[", name, o->f, o->w, o->d, o->paths, o->compromised, o->path.expected,
             o->first.seen, o->first.expected, o->client.seen, o->client.expected);
}

static bool one_attack(struct population *p, const struct attack *a, unsigned relays, unsigned days,
                       uint64_t seed, struct scenario_result *ret) {
    struct outcome o;
    SCENARIO_CHECK(run(p, a, relays, days, seed), "%s: a directory that confirms nobody", a->name);
    conclude(p, &o);
    print(ret, a->name, &o);
    ret->digest = ret->digest * 31 + p->digest;
    SCENARIO_CHECK(p->broken == 0, "%s: %llu broken rules", a->name, (unsigned long long)p->broken);
    SCENARIO_CHECK(o.paths >= p->clients * days * TURNS / 2, "%s: only %u paths", a->name, o.paths);
    if (a->one_network) {
        SCENARIO_CHECK(o.compromised == 0, "%u paths had two hops in one /16", o.compromised);
        return true;
    }
    SCENARIO_CHECK(agrees(&o.first), "%s: hostile first hops %.4f, formula %.4f +- %.4f", a->name,
                   o.first.seen, o.first.expected, o.first.deviation);
    SCENARIO_CHECK(agrees(&o.path), "%s: paths %.5f, formula %.5f +- %.5f", a->name, o.path.seen,
                   o.path.expected, o.path.deviation);
    SCENARIO_CHECK(agrees(&o.client), "%s: clients %.4f, formula %.4f +- %.4f", a->name,
                   o.client.seen, o.client.expected, o.client.deviation);
    return true;
}

bool scenario_guards(const struct scenario_args *args, struct scenario_result *ret) {
    unsigned relays = args->nodes ? args->nodes : RELAYS;
    unsigned days = args->minutes ? (args->minutes + 1439) / 1440 : DAYS;
    struct attack wanted = {.name = "as asked", .hundredths = args->hostile};
    struct population *p = malloc(sizeof *p);
    cv_crypto_init();
    bool ok = p && relays >= 20 && relays <= RELAYS_MAX / 2;
    if (!ok)
        scenario_failed(__FILE__, __LINE__, "20 to %u relays", RELAYS_MAX / 2);
    snprintf(ret->text, sizeof ret->text,
             "in %% (formula second)      f      w     d   hostile first hop   path compromised"
             "   client had one\n");
    if (args->hostile)
        ok = ok && one_attack(p, &wanted, relays, days, args->seed, ret);
    for (size_t i = 0; i < ATTACKS && !args->hostile; i++)
        ok = ok && one_attack(p, &attacks[i], relays, days, args->seed, ret);
    if (ret->json[0])
        snprintf(ret->json + strlen(ret->json), sizeof ret->json - strlen(ret->json), "]");
    /* The same seed once more is the same run, path by path. */
    if (ok) {
        uint64_t before = p->digest;
        const struct attack *last = args->hostile ? &wanted : &attacks[ATTACKS - 1];
        ok = run(p, last, relays, days, args->seed) && p->digest == before;
        if (!ok)
            scenario_failed(__FILE__, __LINE__, "another run of the same seed");
    }
    ret->node_usec = (uint64_t)days * 86400 * 1000000 * relays;
    free(p);
    return ok;
}
