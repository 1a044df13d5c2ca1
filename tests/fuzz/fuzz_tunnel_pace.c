/*
 * A relay that keeps constant rates, as a script: owners straight at it and behind a
 * guard order rates of it, honestly or octet by octet, once and again, speak or fall
 * silent, run on and close; whoever stands behind it goes; its node changes classes.
 *
 * Property, after every step: no crash, no assertion, no leak; once served, an engine's
 * next deadline lies in the future; no more is promised than half of what the relay
 * sends, nor over one link than half of that; a rate is one of five, of a circuit that
 * was passed on; nobody is behind one that runs on, and it has an end; no owner is owed
 * more than his silence allows, nor has more saved up. What has ended is promised to
 * nobody.
 */
#include <assert.h>
#include <string.h>

#include "crypto/hash.h"
#include "crypto/rng_seeded.h"
#include "fuzz/network.h"
#include "tunnel/core.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
    RATE, /* the relay that keeps them */
    LAST,
    GUARD,
    OWNER,
    OWNERS = 2,
    PARTIES = OWNER + OWNERS,
    CIRCUITS = 6,
    MBIT = 12, /* that it sends */
    STEPS = 60,
    SERVED = 1500, /* times that all engines are served, in one input */
};

#define NETWORK ((const uint8_t *)"fuzz-net")

struct world {
    struct network net;
    struct tunnel *t[PARTIES];
    struct cv_addr addr[PARTIES];
    struct cv_ed25519_secret identity_secret[PARTIES];
    struct cv_rng_seeded seed[PARTIES];
    struct cv_rng rng[PARTIES];
    struct {
        unsigned owner;
        cv_handle handle;
    } circuit[CIRCUITS];
    cv_handle open; /* at the last relay */
};

static bool ref(const struct world *w, unsigned i, struct tun_relay_ref *ret) {
    return network_ref(w->t[i], w->net.now.wall, ret);
}

static enum cv_err find_relay(void *ctx, const uint8_t identity[CV_KEY], uint32_t day,
                              struct tun_relay_ref *ret, const uint8_t **ret_descriptor,
                              size_t *ret_len) {
    struct world *w = ctx;
    (void)day;
    for (unsigned i = 0; i < OWNER; i++)
        if (memcmp(w->identity_secret[i].public_key, identity, CV_KEY) == 0 && ref(w, i, ret)) {
            *ret_descriptor = tun_own_descriptor(w->t[i], w->net.now.wall, ret_len);
            return CV_ERR_OK;
        }
    return CV_ERR_NOENT;
}

static const struct tun_user_ops ops = {.find_relay = find_relay};

static void events(void *ctx, unsigned i) {
    struct world *w = ctx;
    struct tun_event ev;
    while (tun_poll_event(w->t[i], &ev)) {
        if (ev.kind == TUN_EVENT_SAVE)
            tun_saved(w->t[i], &w->net.now, ev.save.which);
        if (ev.kind == TUN_EVENT_REQUEST && ev.request.command == TUN_CMD_OPEN) {
            w->open = ev.request.hop;
            (void)tun_answer(w->t[i], &w->net.now, ev.request.hop, ev.request.transaction,
                             TUN_CMD_OPENED, NULL, 0);
        }
        for (unsigned k = 0; ev.kind == TUN_EVENT_CIRCUIT_DOWN && k < CIRCUITS; k++)
            if (w->circuit[k].owner == i && w->circuit[k].handle == ev.circuit_down.circuit)
                w->circuit[k].handle = 0;
    }
}

/* ---- the properties ---- */

static uint32_t promised(const struct world *w, const struct tun_link *over) {
    uint32_t cursor = 0, sum = 0;
    const struct tun_hop *h;
    while ((h = tun_handles_next(&w->t[RATE]->hops, &cursor)) != NULL)
        if (h->pace && (!over || h->prev.link == over))
            sum += h->pace->pacer.cells;
    return sum;
}

static void check_rate(const struct world *w, const struct tun_hop *h) {
    const struct tun_pacer *p = &h->pace->pacer;
    assert(p->cells == 1 || p->cells == 2 || p->cells == 4 || p->cells == 8 || p->cells == 16);
    assert(h->pace->hop == h && h->prev.flow.held);
    assert(p->balance <= p->cells * 128U);
    assert(p->owed < p->cells * (512U + 8));
    if (!h->extended) { /* nobody is behind it */
        assert(!h->next.link && !h->next.flow.head);
        assert(p->until != CV_USEC_NEVER && p->until <= w->net.now.mono + CV_SEC(1800));
    } else {
        assert(h->next.link && !h->pace->ends && p->until == CV_USEC_NEVER);
    }
}

static void check(void *ctx) {
    const struct world *w = ctx;
    const struct tunnel *t = w->t[RATE];
    uint32_t cursor = 0, paced = 0, listed = 0;
    const struct tun_hop *h;
    const struct tun_link *l;
    const struct tun_hop_pace *p;
    while ((h = tun_handles_next(&t->hops, &cursor)) != NULL) {
        paced += h->pace != NULL;
        if (h->pace)
            check_rate(w, h);
        else
            assert(!h->prev.flow.held);
    }
    TAILQ_FOREACH(p, &t->paces, entry)
    listed++;
    assert(paced == listed);
    assert(promised(w, NULL) <= MBIT / 2);
    cursor = 0;
    while ((l = tun_handles_next(&t->links, &cursor)) != NULL)
        assert(promised(w, l) <= MBIT / 2 / 2);
    assert(TAILQ_EMPTY(&w->t[LAST]->paces)); /* it passes nothing on */
}

/* ---- the script ---- */

static struct tun_circuit *circuit(struct world *w, uint8_t which) {
    which %= CIRCUITS;
    cv_handle c = w->circuit[which].handle;
    return c ? tun_handles_get(&w->t[w->circuit[which].owner]->circuits, c) : NULL;
}

/* Straight to the relay, or behind a guard as owners have it. */
static void open_circuit(struct world *w, uint8_t which, uint8_t how) {
    unsigned owner = OWNER + how % OWNERS, n = 0;
    struct tun_circuit_plan plan = {.hops = how & 4 ? 3 : 2};
    if (circuit(w, which))
        return;
    if ((plan.hops == 3 && !ref(w, GUARD, &plan.hop[n++])) || !ref(w, RATE, &plan.hop[n]) ||
        !ref(w, LAST, &plan.hop[n + 1]))
        return;
    if (how & 8)
        plan.hops--; /* it is the last itself */
    which %= CIRCUITS;
    w->circuit[which].owner = owner;
    if (tun_circuit_build(w->t[owner], &w->net.now, &plan, &w->circuit[which].handle))
        w->circuit[which].handle = 0;
}

/* PACE as the octets say, to any hop. */
static void order(struct world *w, struct cv_rd *r, struct tun_circuit *c, unsigned owner) {
    uint8_t what = cv_rd_u8(r), seconds = cv_rd_u8(r), body[16];
    struct cv_wr wr = cv_wr_init(body, sizeof body);
    struct tun_pace m = {.rate = (uint8_t)(what & 64 ? what : 1 << what % 3),
                         .seconds = seconds & 128 ? seconds & 127 : 0};
    if (what & 128)
        m.seconds *= 100;
    tun_pace_write(&wr, &m);
    size_t len = cv_wr_len(&wr) - 4 - (what & 32 ? 1 + seconds % 4 : 0);
    uint32_t id;
    if (c)
        (void)tun_circuit_request(w->t[owner], &w->net.now, c->handle,
                                  what >> 3 & 3 ? (what >> 3 & 3) - 1U : c->plan.hops - 2,
                                  TUN_CMD_PACE, body + 4, len, &id);
}

/* Whoever is behind the relay tears it down; or it is torn down at the relay itself. */
static void tear(struct world *w, uint8_t where, uint8_t which) {
    struct tunnel *t = w->t[where & 1 ? RATE : LAST];
    uint32_t cursor = 0;
    struct tun_hop *h, *found = NULL;
    while ((h = tun_handles_next(&t->hops, &cursor)) != NULL && !found)
        if (which-- % 4 == 0)
            found = h;
    if (found)
        tun_hop_destroy(t, found, NULL);
}

static void classes(struct world *w, uint8_t which, uint8_t class) {
    uint32_t cursor = 0;
    const struct tun_link *l;
    while ((l = tun_handles_next(&w->t[RATE]->links, &cursor)) != NULL)
        if (which-- % 4 == 0)
            tun_link_class(w->t[RATE], l->handle, class % 4);
}

static void speak(struct world *w, const struct tun_circuit *c, unsigned owner, uint8_t count) {
    struct cv_endpoint to = cv_endpoint_circuit(c->handle, 0),
                       back = cv_endpoint_circuit(w->open, 0);
    uint32_t id;
    if (count == 0)
        (void)tun_request(w->t[owner], &w->net.now, c->handle, TUN_CMD_OPEN, "\1\0x", 3, &id);
    for (unsigned i = 0; i < count; i++) {
        (void)tun_send(w->t[owner], &w->net.now, &to, "forth", 5);
        if (i % 2)
            (void)tun_send(w->t[LAST], &w->net.now, &back, "back", 4);
    }
}

static void step(void *ctx, struct cv_rd *r) {
    struct world *w = ctx;
    uint8_t op = cv_rd_u8(r), a = cv_rd_u8(r);
    struct tun_circuit *c = circuit(w, op >> 4);
    unsigned owner = w->circuit[(op >> 4) % CIRCUITS].owner;
    struct tunnel *t = w->t[owner];
    switch (op % 16) {
    case 0:
    case 1:
        open_circuit(w, op >> 4, a);
        break;
    case 2:
        if (c)
            tun_circuit_close(t, &w->net.now, c->handle);
        break;
    case 3:
        if (c)
            (void)tun_circuit_pace(t, &w->net.now, c->handle, a & 4 ? a : 1U << a % 3);
        break;
    case 4:
        if (c)
            (void)tun_circuit_run_on(t, &w->net.now, c->handle, a);
        break;
    case 5:
    case 6:
        order(w, r, c, owner);
        break;
    case 7:
    case 8:
        if (c)
            speak(w, c, owner, a);
        break;
    case 9:
        tear(w, op >> 4, a);
        break;
    case 10:
        classes(w, op >> 4, a);
        break;
    case 11:
        w->net.end[(op >> 4) % PARTIES].deaf = a & 1;
        break;
    case 12:
        w->net.drop = a;
        break;
    case 13: /* nobody was served for so long */
        w->net.now.mono += CV_SEC(a) * (op & 16 ? 10 : 1);
        break;
    default:
        network_run(&w->net, CV_MSEC(10) * (1 + a) * (op & 16 ? 4 : 1), NULL);
        break;
    }
    network_settle(&w->net);
}

static void add(struct world *w, unsigned i) {
    uint8_t seed[CV_KEY] = {(uint8_t)(i + 1)};
    w->addr[i] = (struct cv_addr){.ip = {127, (uint8_t)(10 + i), 0, 1}, .port = 4000, .family = 4};
    cv_ed25519_from_seed(&w->identity_secret[i], seed);
    cv_rng_seeded_init(&w->seed[i], i);
    w->rng[i] = cv_rng_seeded(&w->seed[i]);
    struct tun_config cfg = {.relay = i < OWNER,
                             .relay_flags = TUN_RELAY_RELAY,
                             .address_class = TUN_ADDRESS_LOOPBACK,
                             .gate = true,
                             .links_max = 16,
                             .hops_max = 16,
                             .circuits_max = CIRCUITS + 8,
                             .queue_octets_max = 512 * 1024,
                             .send_octets_s = i == RATE ? MBIT * 125000 : 0};
    memcpy(cfg.network_id, NETWORK, sizeof cfg.network_id);
    if (cfg.relay) {
        cfg.identity = &w->identity_secret[i];
        cfg.addr[0] = w->addr[i];
    }
    w->t[i] = tun_bare_new(&cfg, &w->rng[i], &w->net.now);
    assert(w->t[i]);
    if (cfg.relay)
        tun_attach(w->t[i], TUN_USER_CLIENT, &ops, w);
    network_add(&w->net, w->t[i], &w->addr[i], NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct world world;
    struct world *w = &world;
    cv_crypto_init();
    memset(w, 0, sizeof *w);
    network_begin(&w->net, SERVED, w, events);
    for (unsigned i = 0; i < PARTIES; i++)
        add(w, i);
    struct cv_rd r = cv_rd_init(data, size);
    network_script(&w->net, &r, STEPS, step, check);
    tun_hops_end(w->t[RATE], &w->net.now, 0);
    check(w);
    assert(TAILQ_EMPTY(&w->t[RATE]->paces) && w->t[RATE]->sched.cells_used == 0);
    network_end(&w->net);
    return 0;
}
