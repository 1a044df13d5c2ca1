/*
 * What the ledger tells an adversary about who watches and who seeds. Two weeks of a
 * network of home nodes, two of five of them relays, with known circuits
 * (circuits.h), through the real ledgers: every relay counts what passes its links,
 * settles and releases it. The adversary runs a few of the relays, seeds a film of its
 * own, and pulls 5 GB in six hours from some hidden seeders, in a random half of the
 * hours.
 *
 * This file plays the world and writes down what the adversary gets (--csv), and,
 * in rows of their own that only the judge reads, who it was. The adversary itself is
 * scripts/privacy-adversary, which runs this. It is given every half-block at the moment
 * at which it is signed, which is more than gossip could ever bring.
 *
 * Beside the ledger's rows stand those of one as others had it, that settles every
 * circuit when it closes, each end with the next: what the same script must find
 * everything in.
 *
 * A week lasts a minute of the ledgers' time; octets are as they are.
 */
#include <stdlib.h>
#include <string.h>

#include "reputation/message.h"
#include "scenarios/circuits.h"
#include "scenarios/ledgers.h"
#include "scenarios/scenario.h"

enum {
    WEEK_S = 21,
    WEEK_H = 168,
    HOURS = 2 * WEEK_H,
    STREAM_H = 2,
    CHAIN_MAX = 10,
    TARGETS_MAX = 4,
    SEQ_MAX = 4096,
    ACK_PART = 30, /* what goes back, of what comes */
    PULLS = 4,     /* circuits of an hour's pull */
    MEETINGS = 40, /* rendezvous points of one stream of the adversary's film */
    POINTS = 3,    /* introduction points, and slots, of an hour */
    CLIENT_LINK = 100000,
};

#define GB             UINT64_C(1000000000)
#define STREAM_OCTETS  (27 * GB / 10) /* two hours at 3 Mbit/s */
#define PULL_OCTETS    (5 * GB / 6)   /* an hour */
#define RELEASE_OCTETS (UINT64_C(64) << 20)

struct privacy {
    struct ledgers *ledgers;
    struct circuits circuits;
    struct cv_rng *rng;
    FILE *csv; /* NULL: nobody looks */
    unsigned nodes, relays, spies, seeders, targets;
    uint64_t pulled; /* octets an hour */
    unsigned seeder[CIRCUITS_NODES_MAX], target[TARGETS_MAX];
    unsigned hour;
    cv_usec begun;
    unsigned streams, blocks, strangers; /* strangers: named in a row, and no relay */
    /* of every half-block seen, and what each relay had said of each other before */
    uint8_t (*seen)[SEQ_MAX / 8];
    struct claim {
        uint64_t given, taken;
    } * claim;
    bool (*linked)[CIRCUITS_NODES_MAX]; /* client links that are up, by guard */
};

/* ---- what the adversary gets ---- */

static unsigned relay_number(const struct privacy *p, const uint8_t key[CV_KEY]) {
    unsigned r = 0;
    while (r < p->relays && memcmp(ledgers_key(p->ledgers, r), key, CV_KEY) != 0)
        r++;
    return r;
}

static double hours(const struct privacy *p) {
    return (double)(p->ledgers->now.mono - p->begun) / (double)CV_SEC(WEEK_S) * WEEK_H;
}

static void on_block(struct privacy *p, const struct rep_record *r) {
    unsigned owner = relay_number(p, r->owner), peer = relay_number(p, r->peer);
    if (owner == p->relays || peer == p->relays) {
        p->strangers++;
        return;
    }
    uint8_t *seen = &p->seen[owner][r->seq % SEQ_MAX / 8], bit = (uint8_t)(1 << r->seq % 8);
    struct claim *before = &p->claim[owner * p->relays + peer];
    if (r->seq >= SEQ_MAX || *seen & bit)
        return;
    *seen |= bit;
    p->blocks++;
    if (p->csv)
        fprintf(p->csv, "row,culvert,%.4f,%u,%u,%llu,%llu\n", hours(p), owner, peer,
                (unsigned long long)(r->given - before->given),
                (unsigned long long)(r->taken - before->taken));
    *before = (struct claim){r->given, r->taken};
}

static void on_send(void *ctx, unsigned from, const uint8_t *body, size_t len) {
    struct privacy *p = ctx;
    struct rep_message m;
    struct rep_record r;
    if (rep_message_read(body, len, &m) || m.kind != REP_MESSAGE_RECORDS)
        return;
    for (unsigned i = 0; i < m.count; i++)
        if (!rep_record_read(m.records + (size_t)i * REP_RECORD, &r) &&
            memcmp(r.owner, ledgers_key(p->ledgers, from), CV_KEY) == 0)
            on_block(p, &r);
}

/* What relay `chain[i]` of the adversary sees pass, and of which of its own streams or
 * pulls that is: it knows when and how much, so it knows it again, and how far it is to
 * the end that it made itself. */
static void capture(const struct privacy *p, const unsigned *chain, unsigned n, unsigned hour,
                    uint64_t octets, const char *of, unsigned number) {
    for (unsigned i = 1; i < n && p->csv; i++)
        if (chain[i] < p->spies)
            fprintf(p->csv, "capture,%u,%u,%u,%d,%llu,%s,%u,%u\n", hour, chain[i], chain[i - 1],
                    i + 1 < n ? (int)chain[i + 1] : -1, (unsigned long long)octets, of, number,
                    n - 1 - i);
}

/* A relay that the adversary is shown in the course of its dealings with somebody. */
static void shown(const struct privacy *p, const char *of, unsigned number, const char *as,
                  unsigned relay) {
    if (p->csv)
        fprintf(p->csv, "shown,%s,%u,%s,%u\n", of, number, as, relay);
}

/* The other ledger: all that one circuit carried, when it closes, link by link. */
static void settle_circuit(const struct privacy *p, const unsigned *chain, unsigned n,
                           double closed, uint64_t octets) {
    for (unsigned i = 0; i + 1 < n && p->csv; i++)
        fprintf(p->csv, "row,control,%.4f,%u,%u,%llu,%llu\n", closed, chain[i], chain[i + 1],
                (unsigned long long)octets, (unsigned long long)(octets / ACK_PART));
}

/* ---- what passes ---- */

static void carry_private(struct privacy *p, unsigned guard, unsigned client, uint64_t out,
                          uint64_t in) {
    struct rep_ledger *l = p->ledgers->node[guard].ledger;
    cv_handle link = CLIENT_LINK + client;
    if (!p->linked[guard][client]) {
        /* Whoever relays is nameless to its guards, others show a key for each. */
        uint8_t key[CV_KEY] = {1, (uint8_t)client, (uint8_t)(client >> 8), (uint8_t)guard};
        struct cv_addr addr = {
            .ip = {11, (uint8_t)(client >> 8), (uint8_t)client, 1}, .port = 1, .family = 4};
        bool nameless = client < p->relays;
        if (rep_ledger_link_up(l, p->ledgers->now, link,
                               nameless ? REP_ROLE_NAMELESS : REP_ROLE_CLIENT, key, &addr))
            abort();
        p->linked[guard][client] = true;
        if (p->csv && guard < p->spies) /* it sees whose first hop it is */
            fprintf(p->csv, "client,%u\n", client);
    }
    rep_ledger_carried(l, p->ledgers->now, link, out, in);
}

/* Octets from chain[0] to chain[n - 1]. The first is a client, and the last too
 * when `both`; else the last is a relay that takes them. */
static void pass(struct privacy *p, const unsigned *chain, unsigned n, bool both, uint64_t octets) {
    uint64_t back = octets / ACK_PART;
    carry_private(p, chain[1], chain[0], back, octets);
    for (unsigned i = 1; i + 1 < n; i++) {
        if (both && i + 2 == n) {
            carry_private(p, chain[i], chain[n - 1], octets, back);
            break;
        }
        ledgers_join(p->ledgers, chain[i], chain[i + 1]);
        ledgers_carry(p->ledgers, chain[i], chain[i + 1], octets);
        ledgers_carry(p->ledgers, chain[i + 1], chain[i], back);
    }
}

/* seeder - G - L - M - rendezvous, and on to the viewer when there is one */
static unsigned chain_from(struct privacy *p, unsigned seeder, int meet, unsigned ret[CHAIN_MAX]) {
    ret[0] = seeder;
    return 1 + circuits_path(&p->circuits, seeder, TUN_PURPOSE_JOIN, meet, ret + 1);
}

static void watch(struct privacy *p, unsigned viewer, unsigned seeder) {
    unsigned chain[CHAIN_MAX], way[TUN_HOPS_MAX];
    unsigned m = circuits_path(&p->circuits, viewer, TUN_PURPOSE_MEET, -1, way);
    if (!m || way[m - 1] == seeder || seeder == viewer)
        return;
    unsigned n = chain_from(p, seeder, (int)way[m - 1], chain);
    if (n == 1)
        return;
    for (unsigned i = m - 1; i > 0; i--)
        chain[n++] = way[i - 1];
    chain[n++] = viewer;
    uint64_t octets = STREAM_OCTETS / 2 + cv_rng_below(p->rng, STREAM_OCTETS);
    bool own = seeder == p->relays; /* the adversary's own film: it knows when */
    for (unsigned h = 0; h < STREAM_H; h++)
        capture(p, chain, n, p->hour + h, octets / STREAM_H, own ? "stream" : "", p->streams);
    pass(p, chain, n, true, octets);
    double closed = p->hour + STREAM_H + (double)cv_rng_below(p->rng, 1000) / 20000;
    settle_circuit(p, chain, n, closed, octets);
    if (p->csv && own) {
        fprintf(p->csv, "stream,%u,%.4f,%llu\n", p->streams, closed, (unsigned long long)octets);
        fprintf(p->csv, "truth,viewer,%u,%u\n", p->streams, viewer);
        shown(p, "stream", p->streams, "rendezvous", way[m - 1]);
        /* It ends the circuits, and is called to new rendezvous points, by ways on which
         * its relays know its stream again. */
        for (unsigned i = 1; i < MEETINGS; i++) {
            if (!(m = circuits_path(&p->circuits, viewer, TUN_PURPOSE_MEET, -1, way)))
                continue;
            shown(p, "stream", p->streams, "rendezvous", way[m - 1]);
            chain[0] = p->relays;
            for (n = 1; n <= m; n++)
                chain[n] = way[m - n];
            chain[n++] = viewer;
            capture(p, chain, n, p->hour, 0, "stream", p->streams);
        }
    }
    p->streams++;
}

/* One circuit's part of an hour. The rendezvous is a relay of the adversary's, which
 * sees who stands before it; every other time it is anybody's, so that its own may be
 * anywhere else. */
static void pull(struct privacy *p, unsigned target, unsigned turn) {
    unsigned chain[CHAIN_MAX], seeder = p->target[target];
    unsigned meet = (unsigned)cv_rng_below(p->rng, turn % 2 ? p->relays : p->spies);
    unsigned n = meet == seeder ? 1 : chain_from(p, seeder, (int)meet, chain);
    if (n == 1)
        return;
    uint64_t octets = p->pulled / PULLS;
    pass(p, chain, n, false, octets);
    capture(p, chain, n, p->hour, octets, "pull", target);
    settle_circuit(p, chain, n, p->hour + 1 + (double)cv_rng_below(p->rng, 1000) / 20000, octets);
    if (meet < p->spies)
        shown(p, "pull", target, "third", chain[n - 2]);
    if (p->csv)
        fprintf(p->csv, "pull,%u,%u,%llu\n", target, p->hour, (unsigned long long)octets);
}

/* Who has the link reads the seeder's contacts, which name where it waits. Those circuits
 * last 40 to 60 minutes. Who sits in the DHT beside the slots sees who writes them. */
static void look_up(struct privacy *p, unsigned target) {
    static const struct {
        enum tun_purpose purpose;
        const char *as;
    } what[] = {{TUN_PURPOSE_WAIT, "introduction"}, {TUN_PURPOSE_PUBLISH, "writer"}};
    unsigned way[TUN_HOPS_MAX];
    for (unsigned i = 0; i < POINTS; i++)
        for (unsigned k = 0; k < 2; k++) {
            unsigned n = circuits_path(&p->circuits, p->target[target], what[k].purpose, -1, way);
            if (n)
                shown(p, "pull", target, what[k].as, way[n - 1]);
        }
}

/* ---- the world ---- */

static unsigned some_seeder(const struct privacy *p) {
    double sum = 0;
    for (unsigned i = 0; i < p->seeders; i++)
        sum += 1.0 / (i + 1);
    double at = (double)cv_rng_below(p->rng, 1 << 20) / (1 << 20) * sum;
    for (unsigned i = 0; i + 1 < p->seeders; i++)
        if ((at -= 1.0 / (i + 1)) < 0)
            return p->seeder[i];
    return p->seeder[p->seeders - 1];
}

/* The adversary's relays and its film come first; everybody else may seed. */
static void choose_seeders(struct privacy *p) {
    bool taken[CIRCUITS_NODES_MAX] = {false};
    for (unsigned i = 0; i < p->spies; i++)
        taken[i] = true;
    taken[p->relays] = true;
    for (unsigned i = 0; i < p->seeders; i++) {
        unsigned n; /* every other one relays */
        do
            n = i % 2 ? (unsigned)cv_rng_between(p->rng, p->relays, p->nodes - 1)
                      : (unsigned)cv_rng_below(p->rng, p->relays);
        while (taken[n]);
        taken[n] = true;
        p->seeder[i] = n;
    }
    for (unsigned t = 0; t < p->targets; t++) /* the least watched */
        p->target[t] = p->seeder[p->seeders - 1 - t];
    unsigned at = (unsigned)cv_rng_below(p->rng, p->seeders - p->targets);
    p->seeder[at] = p->relays;
}

static void say_who(const struct privacy *p, uint64_t seed) {
    if (!p->csv)
        return;
    fprintf(p->csv, "world,%llu,%u,%u,%u\n", (unsigned long long)seed, p->nodes, p->relays, HOURS);
    for (unsigned r = 0; r < p->relays; r++)
        fprintf(p->csv, "relay,%u,%u,%d\n", r, p->circuits.bandwidth[r], r < p->spies);
    for (unsigned t = 0; t < p->targets; t++)
        fprintf(p->csv, "truth,seeder,%u,%u\n", t, p->target[t]);
    for (unsigned t = 0; t < p->targets; t++)
        for (unsigned r = 0; r < p->relays; r++)
            if (circuits_is_guard(&p->circuits, p->target[t], r))
                fprintf(p->csv, "truth,guard,%u,%u\n", t, r);
}

static bool begin(struct privacy *p, const struct scenario_args *args) {
    p->nodes = args->nodes ? args->nodes : 30;
    p->relays = p->nodes * 2 / 5;
    p->spies = 1 + p->relays / 50;
    p->seeders = p->nodes / 2; /* who has watched shares */
    p->targets = p->nodes >= 100 ? TARGETS_MAX : 2;
    p->pulled = PULL_OCTETS / 100 * (args->percent ? args->percent : 25);
    p->csv = args->csv;
    if (p->nodes < 30 || p->nodes > CIRCUITS_NODES_MAX)
        return false;
    p->ledgers = ledgers_new(p->relays, 0, args->seed, WEEK_S, RELEASE_OCTETS);
    p->rng = &p->ledgers->rng;
    p->seen = calloc(p->relays, sizeof *p->seen);
    p->claim = calloc((size_t)p->relays * p->relays, sizeof *p->claim);
    p->linked = calloc(p->relays, sizeof *p->linked);
    if (!p->seen || !p->claim || !p->linked)
        abort();
    p->ledgers->no_gossip = true;
    p->ledgers->on_send = on_send;
    p->ledgers->on_send_ctx = p;
    p->circuits.rng = p->rng;
    p->circuits.nodes = p->nodes;
    p->circuits.relays = p->relays;
    p->circuits.wall = INT64_C(20600) * 86400 + 6 * 3600;
    for (unsigned r = 0; r < p->relays; r++) {
        p->circuits.identity[r] = &p->ledgers->node[r].identity;
        p->circuits.bandwidth[r] = UINT32_C(1) << cv_rng_between(p->rng, 10, 14);
    }
    circuits_begin(&p->circuits);
    choose_seeders(p);
    say_who(p, args->seed);
    return true;
}

static void end(struct privacy *p) {
    if (p->ledgers) {
        circuits_end(&p->circuits);
        ledgers_free(p->ledgers);
    }
    free(p->seen);
    free(p->claim);
    free(p->linked);
}

/* Everybody watches something about once a day. */
static void play_hour(struct privacy *p) {
    for (unsigned v = 0; v < p->nodes; v++)
        if (v >= p->spies && v != p->relays && cv_rng_below(p->rng, 24) == 0)
            watch(p, v, some_seeder(p));
    for (unsigned t = 0; t < p->targets; t++)
        if (cv_rng_below(p->rng, 2))
            for (unsigned i = 0; i < PULLS; i++)
                pull(p, t, i);
    for (unsigned t = 0; t < p->targets; t++)
        look_up(p, t);
}

static void play(struct privacy *p) {
    struct ledgers *w = p->ledgers;
    int64_t left = WEEK_S - w->now.wall % WEEK_S; /* a week begins now */
    ledgers_run(w, w->now.mono + CV_SEC((uint64_t)left));
    p->begun = w->now.mono;
    int64_t wall = p->circuits.wall;
    for (p->hour = 0; p->hour < HOURS; p->hour++) {
        p->circuits.wall = wall + p->hour * INT64_C(3600);
        circuits_day(&p->circuits);
        ledgers_run(w, p->begun + CV_SEC(WEEK_S) * p->hour / WEEK_H);
        play_hour(p);
    }
    ledgers_run(w, p->begun + CV_SEC(WEEK_S) * 5 / 2);
}

static bool scenario(const struct scenario_args *args, bool apart, struct scenario_result *ret) {
    struct privacy *p = calloc(1, sizeof *p);
    if (!p)
        abort();
    p->circuits.apart = apart;
    bool fits = begin(p, args);
    if (fits)
        play(p);
    struct privacy sums = *p;
    if (fits)
        ret->digest = p->ledgers->octets ^ (uint64_t)p->blocks << 32;
    end(p);
    free(p);
    SCENARIO_CHECK(fits, "30 to %d nodes", CIRCUITS_NODES_MAX);
    snprintf(ret->note, sizeof ret->note, "%u nodes, %u streams, %u half-blocks", sums.nodes,
             sums.streams, sums.blocks);
    snprintf(ret->json, sizeof ret->json, "{\"nodes\": %u, \"streams\": %u, \"half_blocks\": %u}",
             sums.nodes, sums.streams, sums.blocks);
    SCENARIO_CHECK(sums.strangers == 0, "%u half-blocks name somebody who is no relay",
                   sums.strangers);
    SCENARIO_CHECK(sums.streams >= 200, "%s", ret->note);
    SCENARIO_CHECK(sums.nodes < 300 || sums.blocks >= 1000, "%s", ret->note);
    return true;
}

bool scenario_privacy(const struct scenario_args *args, struct scenario_result *ret) {
    return scenario(args, false, ret);
}

bool scenario_privacy_apart(const struct scenario_args *args, struct scenario_result *ret) {
    return scenario(args, true, ret);
}
