/*
 * Who gets how much of a relay that is full: its scheduler, as it is, with senders who
 * always have something and some who seldom do. Jain's index (1: all alike) over
 * networks of one class, whatever number of circuits each has; over the circuits of one
 * network; and over relays, each by what its weight entitles it to. The shares of the
 * classes, and how long a person who says little waits.
 *
 * Nobody here slows down when told to: with senders who do, less is dropped and as much
 * is fair. What cells may wait is CoDel's and the caps' business, as in a relay.
 */
#include <stdio.h>
#include <string.h>

#include "crypto/hash.h"
#include "crypto/rng_seeded.h"
#include "scenarios/scenario.h"
#include "tunnel/scheduler.h"

enum {
    NETWORKS = 8, /* of newcomers, with 1, 2, 4 .. 128 circuits */
    RELAYS = 8,   /* neighbours, of weights 10 to 45 */
    CLASSES = 4,  /* of the gate; each but the newcomers' has one greedy network */
    GROUPS = NETWORKS + RELAYS + CLASSES,
    CIRCUITS = 256 + RELAYS + CLASSES,
    CELLS_S = 20000, /* that the relay sends: 200 Mbit/s */
    WARM = 30,       /* seconds until everybody had a first turn */
    SECONDS = 40,
    QUIET_EVERY = 250, /* ms between two cells of the one who says little */
    QUEUE_MIB = 64,
};

struct sender {
    struct tun_flow flow;
    unsigned group;
    uint64_t sent;
};

struct place {
    struct tun_sched s;
    struct tun_sched_group group[GROUPS];
    struct sender sender[CIRCUITS + 1];
    unsigned senders;
    bool counts;
    uint64_t of_group[GROUPS];
    uint64_t of_class[TUN_SCHED_CLASSES];
    cv_usec worst; /* that a cell of the quiet one waited */
    unsigned heard;
};

static void add(struct place *p, unsigned group) {
    struct sender *f = &p->sender[p->senders++];
    f->group = group;
    tun_flow_init(&f->flow, &p->group[group], f, 512);
}

static void populate(struct place *p) {
    for (unsigned i = 0; i < NETWORKS; i++) {
        tun_sched_group_init(&p->group[i], TUN_CLASS_NEW, TUN_NETWORK_WEIGHT);
        for (unsigned k = 0; k < 1u << i; k++)
            add(p, i);
    }
    for (unsigned i = 0; i < RELAYS; i++) {
        tun_sched_group_init(&p->group[NETWORKS + i], TUN_SCHED_RELAYS, 10 + 5 * i);
        add(p, NETWORKS + i);
    }
    for (unsigned i = 0; i < CLASSES; i++) {
        tun_sched_group_init(&p->group[NETWORKS + RELAYS + i], i, TUN_NETWORK_WEIGHT);
        if (i != TUN_CLASS_NEW)
            add(p, NETWORKS + RELAYS + i);
    }
    /* in the network that has the most circuits: nobody is nearer to starving */
    add(p, NETWORKS - 1);
}

static bool put(struct place *p, struct sender *f, cv_usec now) {
    struct tun_cell *c = tun_sched_take(&p->s);
    if (c)
        tun_sched_put(&p->s, &f->flow, c, now);
    return c != NULL;
}

static void send_one(struct place *p, cv_usec now) {
    struct tun_flow *flow;
    struct tun_cell *c = tun_sched_next(&p->s, now, &flow);
    if (!c)
        return;
    struct sender *f = flow->owner;
    f->sent += p->counts;
    p->of_group[f->group] += p->counts;
    p->of_class[flow->group->class] += p->counts;
    if (p->counts && f == &p->sender[p->senders - 1]) {
        cv_usec waited = now - c->queued_at;
        p->worst = waited > p->worst ? waited : p->worst;
        p->heard++;
    }
    tun_sched_release(&p->s, c);
}

/* A circuit that has just begun, or was silent, goes before those that never are: so
 * everybody does once. Everybody always has 8 to 24 cells waiting; the last one says a word now and
 * then. */
static bool pass(struct place *p, const struct cv_rng *rng) {
    cv_usec quiet_at = 0;
    for (uint64_t n = 0; n < (uint64_t)CELLS_S * (WARM + SECONDS); n++) {
        cv_usec now = CV_SEC(1) + n * (CV_SEC(1) / CELLS_S);
        p->counts = n >= (uint64_t)CELLS_S * WARM;
        for (unsigned i = 0; i + 1 < p->senders; i++) {
            struct sender *f = &p->sender[i];
            unsigned want = f->flow.count < 8 ? 8 + (unsigned)cv_rng_below(rng, 17) : 0;
            while (f->flow.count < want)
                if (!put(p, f, now))
                    return false;
        }
        if (now >= quiet_at) {
            if (!put(p, &p->sender[p->senders - 1], now))
                return false;
            quiet_at = now + CV_MSEC(QUIET_EVERY) + cv_rng_below(rng, CV_MSEC(20));
        }
        send_one(p, now);
    }
    return true;
}

static double jain(const double *x, unsigned n) {
    double sum = 0, squares = 0;
    for (unsigned i = 0; i < n; i++) {
        sum += x[i];
        squares += x[i] * x[i];
    }
    return squares > 0 ? sum * sum / (n * squares) : 0;
}

struct fair {
    double networks, circuits, relays;
    double share[TUN_SCHED_CLASSES];
};

static void weigh(const struct place *p, struct fair *ret) {
    double x[CIRCUITS], all = 0;
    unsigned n = 0;
    for (unsigned i = 0; i < NETWORKS; i++)
        x[i] = (double)p->of_group[i];
    ret->networks = jain(x, NETWORKS);
    for (unsigned i = 0; i + 1 < p->senders; i++)
        if (p->sender[i].group == 3)
            x[n++] = (double)p->sender[i].sent;
    ret->circuits = jain(x, n);
    for (unsigned i = 0; i < RELAYS; i++)
        x[i] = (double)p->of_group[NETWORKS + i] / p->group[NETWORKS + i].weight;
    ret->relays = jain(x, RELAYS);
    for (unsigned i = 0; i < TUN_SCHED_CLASSES; i++)
        all += (double)p->of_class[i];
    for (unsigned i = 0; i < TUN_SCHED_CLASSES; i++)
        ret->share[i] = (double)p->of_class[i] / all;
}

static bool check(struct place *p, const struct scenario_args *args, struct scenario_result *ret) {
    struct cv_rng_seeded dice;
    struct fair f;
    cv_rng_seeded_init(&dice, args->seed);
    struct cv_rng rng = cv_rng_seeded(&dice);
    SCENARIO_CHECK(tun_sched_init(&p->s, (uint64_t)QUEUE_MIB << 20) == CV_ERR_OK, "no memory");
    tun_sched_pace(&p->s, (uint64_t)CELLS_S * TUN_DATAGRAM);
    populate(p);
    SCENARIO_CHECK(pass(p, &rng), "no room for cells");
    weigh(p, &f);
    snprintf(ret->note, sizeof ret->note,
             "Jain: networks %.4f, circuits %.4f, relays by weight %.4f; classes %.3f %.3f %.3f "
             "%.3f, relays %.3f; the quiet one waits %.1f ms at most",
             f.networks, f.circuits, f.relays, f.share[0], f.share[1], f.share[2], f.share[3],
             f.share[TUN_SCHED_RELAYS], (double)p->worst / 1000);
    snprintf(ret->json, sizeof ret->json,
             "{\"jain_networks\": %.5f, \"jain_circuits\": %.5f, \"jain_relays\": %.5f, "
             "\"class_0\": %.4f, \"class_1\": %.4f, \"class_2\": %.4f, \"class_3\": %.4f, "
             "\"relays\": %.4f, \"quiet_worst_ms\": %.2f}",
             f.networks, f.circuits, f.relays, f.share[0], f.share[1], f.share[2], f.share[3],
             f.share[TUN_SCHED_RELAYS], (double)p->worst / 1000);
    ret->digest = p->of_group[0] * 1000003 ^ p->of_group[NETWORKS] ^ p->worst;
    ret->node_usec = CV_SEC(SECONDS);
    SCENARIO_CHECK(f.networks > 0.999, "%s", ret->note);
    SCENARIO_CHECK(f.circuits > 0.98, "%s", ret->note);
    SCENARIO_CHECK(f.relays > 0.999, "%s", ret->note);
    /* The eight networks of class 2 and the one of class 3 share a quarter by heads, as
     * that one would else be served faster than they are; it counts for a fourth of one. */
    static const double want[TUN_SCHED_CLASSES] = {0.25,       0.125, 0.125 * 32 / 33,
                                                   0.125 / 33, 0.5,   0};
    for (unsigned i = 0; i < TUN_SCHED_CLASSES; i++)
        SCENARIO_CHECK(f.share[i] >= want[i] * 0.98 && f.share[i] <= want[i] * 1.02, "class %u: %s",
                       i, ret->note);
    /* its network gets an 80th of everything, in turns of 25 cells after those of seven others */
    SCENARIO_CHECK(p->heard >= SECONDS * 1000 / (QUIET_EVERY + 20) && p->worst < CV_MSEC(300), "%s",
                   ret->note);
    return true;
}

bool scenario_fairness(const struct scenario_args *args, struct scenario_result *ret) {
    static struct place p;
    cv_crypto_init();
    memset(&p, 0, sizeof p);
    bool ok = check(&p, args, ret);
    for (unsigned i = 0; i < p.senders; i++)
        tun_flow_clear(&p.s, &p.sender[i].flow);
    tun_sched_done(&p.s);
    return ok;
}
