/*
 * What another relay carries, measured: every minute or two a relay builds a circuit
 * of three hops whose middle one is the relay that is looked at, sends the last one
 * three trains of PINGs, and looks how fast the PONGs come. The one in the middle
 * only passes cells on and is not told what they are; the two beside it change each
 * time. The slowest of all on the way decides, so that it is a lower bound, and the
 * median over what many relays saw is what counts (directory.h). See clientstate.h.
 */
#include <string.h>

#include "tunnel/capacity.h"
#include "tunnel/clientstate.h"

/* All three trains have to be back by then. */
#define PATIENCE CV_SEC(20)
/* Draws for each of the two beside it. */
#define BESIDE 3

static cv_usec now(const struct tun_client *c) {
    return c->now.mono;
}

static void rest(struct tun_client *c) {
    struct tun_probe *p = &c->probe;
    p->circuit = 0;
    p->at = cv_usec_add(
        now(c), CV_SEC(cv_rng_between(tun_client_rng(c), TUN_PROBE_S_MIN, TUN_PROBE_S_MAX)));
    tun_client_by(c, p->at);
}

static void give_up(struct tun_client *c) {
    tun_circuit_close(c->t, &c->now, c->probe.circuit);
    rest(c);
}

/* ---- beginning ---- */

/* One that fits beside those there are; NULL: none was found. */
static struct tun_relay *draw(struct tun_client *c, struct tun_relay *const *all, size_t n,
                              struct tun_relay *const *beside, unsigned besides) {
    for (unsigned tries = 0; tries < 16; tries++) {
        struct tun_relay *r = all[cv_rng_below(tun_client_rng(c), n)];
        bool fits = tun_address_ok(c->t, &r->reached_at); /* not so for ourselves */
        for (unsigned i = 0; i < besides; i++)
            fits &= !tun_relay_conflict(&beside[i]->desc, &r->desc);
        if (fits)
            return r;
    }
    return NULL;
}

/* Whom to look at, any; then those beside it, each the fastest of a few, because the
 * slowest on the way is what is seen. False: too few fit. */
static bool choose(struct tun_client *c, struct tun_relay *const *all, size_t n,
                   struct tun_relay *ret[3]) {
    for (unsigned have = 0; have < 3; have++) {
        ret[have] = draw(c, all, n, ret, have);
        for (unsigned more = 1; more < BESIDE && have > 0 && ret[have]; more++) {
            struct tun_relay *r = draw(c, all, n, ret, have);
            if (r && r->measured > ret[have]->measured)
                ret[have] = r;
        }
        if (!ret[have])
            return false;
    }
    return true;
}

static void begin(struct tun_client *c) {
    struct tun_probe *p = &c->probe;
    struct tun_relay *all[TUN_DIRECTORY_MAX / 2], *hop[3];
    size_t n = tun_directory_list(c->dir, tun_descriptor_day(c->now.wall), TUN_DIRECTORY_REACHED,
                                  all, sizeof all / sizeof *all);
    struct tun_circuit_plan plan = {
        .purpose = TUN_PURPOSE_GENERAL, .user = TUN_USER_CLIENT, .hops = 3};
    rest(c);
    if (n < c->measure_from || !choose(c, all, n, hop))
        return;
    static const unsigned place[3] = {1, 0, 2}; /* the first of them in the middle */
    for (unsigned i = 0; i < 3; i++)
        tun_relay_ref_fill(&plan.hop[place[i]], hop[i], c->now.wall);
    if (tun_circuit_build(c->t, &c->now, &plan, &p->circuit)) {
        p->circuit = 0;
        return;
    }
    memcpy(p->whom, hop[0]->desc.identity, CV_KEY);
    p->built = false;
    p->trains = 0;
    memset(p->ping, 0, sizeof p->ping); /* those of the last one are nobody's */
    p->at = cv_usec_add(now(c), PATIENCE);
    tun_client_by(c, p->at);
}

void tun_probe_work(struct tun_client *c) {
    struct tun_probe *p = &c->probe;
    if (!c->relay)
        return;
    if (!tun_due(p->at, now(c)))
        tun_client_by(c, p->at);
    else if (p->circuit)
        give_up(c);
    else if (p->at == 0)
        rest(c); /* we have only just begun */
    else
        begin(c);
}

/* ---- trains ---- */

static void send_train(struct tun_client *c) {
    struct tun_probe *p = &c->probe;
    p->answered = 0;
    for (unsigned i = 0; i < TUN_PROBE_TRAIN; i++) {
        if (tun_circuit_request(c->t, &c->now, p->circuit, 2, TUN_CMD_PING, NULL, 0, &p->ping[i])) {
            give_up(c);
            return;
        }
    }
}

/* The slowest on the way decides, so that more is believed sooner than less: who
 * stood beside it this time says little about the relay itself. */
static uint32_t smoothed(uint32_t old, uint32_t kib) {
    if (old == 0)
        return kib;
    return kib > old ? old + (kib - old + 1) / 2 : old - (old - kib) / 8;
}

static void conclude(struct tun_client *c) {
    struct tun_probe *p = &c->probe;
    struct tun_relay *r = tun_directory_find_now(c->dir, p->whom, c->now.wall);
    uint32_t kib = tun_capacity_median(p->rate, TUN_PROBE_TRAINS);
    if (kib == 0)
        kib = 1; /* measured, and next to nothing */
    if (r)
        r->measured = smoothed(r->measured, kib);
    give_up(c);
}

static void on_pong(struct tun_client *c, uint32_t transaction) {
    struct tun_probe *p = &c->probe;
    unsigned i = 0;
    while (i < TUN_PROBE_TRAIN && p->ping[i] != transaction)
        i++;
    if (i == TUN_PROBE_TRAIN || transaction == 0)
        return;
    p->ping[i] = 0;
    if (p->answered++ == 0)
        p->first = now(c);
    if (p->answered < TUN_PROBE_TRAIN)
        return;
    p->rate[p->trains++] = tun_capacity_of_train(TUN_PROBE_TRAIN, now(c) - p->first);
    if (p->trains == TUN_PROBE_TRAINS)
        conclude(c);
    else
        send_train(c);
}

bool tun_probe_on_event(struct tun_client *c, const struct tun_event *ev) {
    cv_handle mine = c->probe.circuit;
    if (!mine)
        return false;
    if (ev->kind == TUN_EVENT_CIRCUIT_READY && ev->circuit_ready.circuit == mine) {
        if (!c->probe.built) {
            c->probe.built = true;
            send_train(c);
        }
    } else if (ev->kind == TUN_EVENT_CIRCUIT_DOWN && ev->circuit_down.circuit == mine) {
        rest(c);
    } else if (ev->kind == TUN_EVENT_REPLY && ev->reply.circuit == mine) {
        if (!c->probe.built)
            return true; /* nothing was asked yet */
        if (ev->reply.err || ev->reply.command != TUN_CMD_PONG)
            give_up(c);
        else
            on_pong(c, ev->reply.transaction);
    } else {
        return false;
    }
    return true;
}
