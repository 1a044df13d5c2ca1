/*
 * What a circuit costs without the network: a client and three relays in one
 * process hand each other batches. Prints microseconds of processor time for
 * each datagram of TUN_MTU_BACKWARD (or _FORWARD) octets over all four engines
 * together, and the same as CPU-seconds per GB. Not a test.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "crypto/hash.h"
#include "crypto/rng_seeded.h"
#include "tunnel/core.h"

enum { ENGINES = 4, SLOTS = 256 };

struct party {
    struct tunnel *t;
    struct cv_addr addr;
    struct cv_ed25519_secret identity_secret;
    struct cv_rng_seeded seed;
    struct cv_rng rng;
    uint64_t got;
    cv_handle open;
};

static struct party party[ENGINES];
static struct cv_now now = {.mono = 1000000, .wall = 1790000000};

static void ref(unsigned i, struct tun_relay_ref *ret) {
    size_t len;
    const uint8_t *raw = tun_own_descriptor(party[i].t, now.wall, &len);
    struct tun_descriptor d;
    if (!raw || tun_descriptor_open(raw, len, (const uint8_t *)"benchnet", &d))
        abort();
    tun_descriptor_ref(&d, now.wall, ret);
}

static enum cv_err find_relay(void *ctx, const uint8_t identity[CV_KEY], uint32_t day,
                              struct tun_relay_ref *ret, const uint8_t **ret_descriptor,
                              size_t *ret_len) {
    (void)ctx;
    (void)day;
    (void)ret_descriptor;
    (void)ret_len;
    for (unsigned i = 0; i < ENGINES - 1; i++) {
        if (memcmp(party[i].identity_secret.public_key, identity, CV_KEY) == 0) {
            ref(i, ret);
            return CV_ERR_OK;
        }
    }
    return CV_ERR_NOENT;
}

static const struct tun_user_ops ops = {.find_relay = find_relay};

static void add(unsigned i, bool relay) {
    struct party *p = &party[i];
    p->addr = (struct cv_addr){.ip = {127, (uint8_t)(10 + i), 0, 1}, .port = 4000, .family = 4};
    uint8_t seed[CV_KEY] = {(uint8_t)i};
    cv_ed25519_from_seed(&p->identity_secret, seed);
    cv_rng_seeded_init(&p->seed, i);
    p->rng = cv_rng_seeded(&p->seed);
    struct tun_config cfg = {.relay = relay,
                             .address_class = TUN_ADDRESS_LOOPBACK,
                             .identity = relay ? &p->identity_secret : NULL,
                             .gate = true};
    memcpy(cfg.network_id, "benchnet", 8);
    if (relay)
        cfg.addr[0] = p->addr;
    p->t = tun_bare_new(&cfg, &p->rng, &now);
    if (relay)
        tun_attach(p->t, TUN_USER_CLIENT, &ops, p);
}

static void events(unsigned i) {
    struct party *p = &party[i];
    struct tun_event ev;
    while (tun_poll_event(p->t, &ev)) {
        if (ev.kind == TUN_EVENT_SAVE)
            tun_saved(p->t, &now, ev.save.which);
        if (ev.kind == TUN_EVENT_REQUEST) {
            p->open = ev.request.hop;
            tun_answer(p->t, &now, ev.request.hop, ev.request.transaction, TUN_CMD_OPENED, NULL, 0);
        }
        if (ev.kind == TUN_EVENT_DATAGRAM || ev.kind == TUN_EVENT_HOP_DATAGRAM)
            p->got++;
    }
}

static struct party *at(const struct cv_addr *a) {
    for (unsigned i = 0; i < ENGINES; i++)
        if (cv_addr_equal(a, &party[i].addr))
            return &party[i];
    return NULL;
}

/* Everything that waits, once around. */
static bool turn(void) {
    static uint8_t arena[SLOTS * TUN_DATAGRAM];
    static struct cv_run runs[SLOTS];
    bool any = false;
    for (unsigned i = 0; i < ENGINES; i++) {
        struct cv_batch b = cv_batch_init(arena, SLOTS, TUN_DATAGRAM, 0, runs, SLOTS);
        bool more = true;
        while (more) {
            cv_batch_clear(&b);
            more = tun_poll_transmit(party[i].t, &now, &b);
            for (uint32_t r = 0; r < b.runs_used; r++) {
                struct party *to = at(&b.runs[r].to.addr);
                for (uint16_t k = 0; to && k < b.runs[r].count; k++)
                    tun_on_datagram(to->t, &now, &party[i].addr, cv_batch_at(&b, &b.runs[r], k),
                                    TUN_DATAGRAM);
                any = true;
            }
        }
        events(i);
    }
    return any;
}

static void settle(void) {
    for (unsigned i = 0; i < 50; i++) {
        while (turn()) {}
        now.mono += 1000;
        for (unsigned k = 0; k < ENGINES; k++)
            tun_on_timeout(party[k].t, &now);
    }
}

static double cpu(void) {
    struct timespec ts;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void measure(const char *what, unsigned from, cv_handle handle, unsigned to, size_t len,
                    uint64_t total) {
    static uint8_t buf[TUN_DATAGRAM];
    struct cv_endpoint ep = cv_endpoint_circuit(handle, 0);
    party[to].got = 0;
    double began = cpu();
    for (uint64_t sent = 0; sent < total;) {
        while (sent < total && tun_send(party[from].t, &now, &ep, buf, len) == CV_ERR_OK)
            sent++;
        while (turn()) {}
        now.mono += 100;
        for (unsigned k = 0; k < ENGINES; k++)
            tun_on_timeout(party[k].t, &now);
    }
    double took = cpu() - began;
    printf("%-9s %8lu of %lu datagrams of %zu octets: %6.2f us each, %5.2f CPU-s/GB\n", what,
           (unsigned long)party[to].got, (unsigned long)total, len, took / (double)total * 1e6,
           took / ((double)party[to].got * (double)len) * 1e9);
}

int main(int argc, char **argv) {
    uint64_t total = argc > 1 ? strtoull(argv[1], NULL, 10) : 200000;
    cv_crypto_init();
    for (unsigned i = 0; i < ENGINES - 1; i++)
        add(i, true);
    add(ENGINES - 1, false);
    for (unsigned i = 0; i < ENGINES; i++)
        events(i);
    struct tun_circuit_plan plan = {.hops = 3};
    for (unsigned i = 0; i < 3; i++)
        ref(i, &plan.hop[i]);
    cv_handle c;
    uint32_t transaction;
    if (tun_circuit_build(party[3].t, &now, &plan, &c))
        return 1;
    settle();
    if (tun_request(party[3].t, &now, c, TUN_CMD_OPEN, "\x01\0a", 3, &transaction))
        return 1;
    settle();
    measure("forward", 3, c, 2, TUN_MTU_FORWARD, total);
    measure("backward", 2, party[2].open, 3, TUN_MTU_BACKWARD, total);
    for (unsigned i = 0; i < ENGINES; i++)
        tun_free(party[i].t);
    return 0;
}
