/*
 * What a relay that passes cells on reads of its memory, for a simulator of caches
 * (scripts/bench/lines): one engine whose links and circuits are written into it, as
 * handshakes would take an hour there, and cells that come as tools/culvert-bench/relay.c
 * sends them, each of another circuit than the last. counted() is what a relay does with
 * a batch of them. All circuits have the same keys, so that one cell fits each.
 * Usage: bench_tunnel_lines CIRCUITS forward|backward. Not a test.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/hash.h"
#include "crypto/rng_seeded.h"
#include "tunnel/core.h"
#include "tunnel/hop.h"

enum {
    SIDES = 2,         /* links to clients, links to relays */
    LINKS = 16,        /* of each */
    SLOTS = 256,       /* cells of a batch */
    CELLS = 8192,      /* in all */
    CIRCUITS_MIN = 10, /* each has fewer than KINDS of them then */
    KINDS = 1024,
};

static struct {
    struct cv_now now;
    struct cv_rng rng;
    struct tunnel *t;
    struct tun_link *link[SIDES][LINKS];
    uint64_t sequence[SIDES][LINKS]; /* of what they sent */
    /* of each circuit, so that the bench does not touch it: */
    uint32_t *id[SIDES];
    unsigned *used; /* cells */
    unsigned circuits;
    uint8_t cell[KINDS][TUN_CELL];
    /* a batch */
    struct cv_addr from[SLOTS];
    uint8_t datagram[SLOTS][TUN_DATAGRAM];
    struct cv_run run[SLOTS];
    uint8_t arena[SLOTS * TUN_DATAGRAM];
} all = {.now = {.mono = CV_SEC(1), .wall = 1790000000}};

static void must(bool ok) {
    if (!ok)
        abort();
}

static void engine(void) {
    static struct cv_ed25519_secret identity;
    static struct cv_rng_seeded seed;
    const uint8_t octets[CV_KEY] = {1};
    cv_ed25519_from_seed(&identity, octets);
    cv_rng_seeded_init(&seed, 1);
    all.rng = cv_rng_seeded(&seed);
    struct tun_config cfg = {.relay = true,
                             .gate = true,
                             .identity = &identity,
                             .hops_max = all.circuits,
                             .addr = {{.ip = {20, 0, 0, 1}, .port = 4000, .family = 4}}};
    all.t = tun_bare_new(&cfg, &all.rng, &all.now);
    must(all.t);
}

static struct tun_link *link_new(bool ours, unsigned i) {
    struct cv_addr addr = {
        .ip = {20, (uint8_t)(1 + i + (ours ? LINKS : 0)), 0, 1}, .port = 4000, .family = 4};
    struct tun_link *l = tun_link_alloc(all.t, &all.now, &addr, ours);
    must(l);
    l->state = TUN_STATE_OPEN;
    l->role = ours ? TUN_ROLE_RELAY : TUN_ROLE_NAMELESS;
    l->now.live = true;
    l->now.remote_index = cv_rng_u32(&all.rng);
    cv_rng_fill(&all.rng, &l->now.rx_secret, sizeof l->now.rx_secret);
    cv_rng_fill(&all.rng, &l->now.tx_secret, sizeof l->now.tx_secret);
    must(tun_rxindex_take(all.t->rx, l, &l->now.local_index) == CV_ERR_OK);
    tun_link_regroup(all.t, l);
    return l;
}

/* The link of circuit `i` on that side. */
static unsigned place(unsigned side, unsigned i) {
    return (side ? i + i / LINKS : i) % LINKS;
}

/* As hop.c makes one. Its window stands anywhere. */
static void hop_new(unsigned i, const struct tun_layer_secret *shared) {
    struct tunnel *t = all.t;
    struct tun_link *l = all.link[0][place(0, i)], *next = all.link[1][place(1, i)];
    struct tun_layer_secret secret = *shared;
    uint32_t top = (uint32_t)cv_rng_below(&all.rng, 1 << (TUN_EPOCH_BITS - 1));
    secret.forward_start = (shared->forward_start - top) & INT32_MAX;
    struct tun_hop *h = cv_slab_take(&t->hop_slab);
    must(h && tun_handles_put(&t->hops, h, &h->handle) == CV_ERR_OK);
    tun_layer_init(&h->layer, &secret);
    h->layer.forward.window.top = top;
    tun_flow_init(&h->prev.flow, l->group, &h->prev, TUN_FLOW_CELLS);
    tun_flow_init(&h->next.flow, l->group, &h->next, TUN_FLOW_CELLS);
    h->prev.kind = TUN_LEG_PREV;
    h->next.kind = TUN_LEG_NEXT;
    while (tun_leg_attach(t, &h->prev, l, cv_rng_u32(&all.rng) | TUN_CIRCUIT_INITIATOR)) {}
    must(tun_leg_attach_new(t, &h->next, next) == CV_ERR_OK);
    h->timer.kind = TUN_TIMER_HOP;
    h->spoken = h->extended = true;
    h->heard_at = all.now.mono;
    h->turn_at = tun_layer_turn(&h->layer, &t->fast, all.now.mono);
    tun_hop_schedule(t, h);
    all.id[0][i] = h->prev.id;
    all.id[1][i] = h->next.id;
}

static void circuits(void) {
    struct tun_layer_secret secret[2];
    for (unsigned i = 0; i < 2; i++)
        tun_layer_secret_derive(&secret[i], (const uint8_t[32]){(uint8_t)i}, TUN_SUITE_CHACHA);
    for (unsigned side = 0; side < SIDES; side++)
        must((all.id[side] = calloc(all.circuits, sizeof *all.id[side])) != NULL);
    all.used = calloc(all.circuits, sizeof *all.used);
    must(all.used);
    for (unsigned i = 0; i < all.circuits; i++)
        hop_new(i, &secret[0]);
    static struct tun_onion owner;
    tun_onion_init(&owner);
    for (unsigned i = 0; i < 2; i++)
        tun_onion_add(&owner, &secret[i]);
    for (unsigned i = 0; i < KINDS; i++) {
        uint8_t room[TUN_WRAP_ROOM] = {0};
        must(tun_onion_wrap(&owner, &all.rng, room, 1, TUN_CMD_DATAGRAM, TUN_MTU_FORWARD) ==
             CV_ERR_OK);
        memcpy(all.cell[i], room, TUN_CELL);
    }
}

static void fill(unsigned side) {
    for (unsigned i = 0; i < SLOTS; i++) {
        unsigned c = (unsigned)cv_rng_below(&all.rng, all.circuits);
        struct tun_link *l = all.link[side][place(side, c)];
        must(all.used[c] < KINDS);
        memcpy(all.datagram[i] + TUN_HEADER, all.cell[all.used[c]++], TUN_CELL);
        all.from[i] = l->addr;
        struct tun_header h = {.sequence = ++all.sequence[side][place(side, c)],
                               .index = l->now.local_index,
                               .circuit = all.id[side][c],
                               .layer = side ? i : 0,
                               .command = TUN_LINKCMD_RELAY};
        tun_cell_seal(all.datagram[i], &h, &l->now.rx_secret);
    }
}

static __attribute__((noinline)) unsigned counted(void) {
    struct cv_batch b = cv_batch_init(all.arena, SLOTS, TUN_DATAGRAM, 0, all.run, SLOTS);
    for (unsigned i = 0; i < SLOTS; i++) {
        if (i + TUN_EXPECT < SLOTS)
            tun_expect(all.t, all.datagram[i + TUN_EXPECT], TUN_DATAGRAM);
        (void)tun_on_datagram(all.t, &all.now, &all.from[i], all.datagram[i], TUN_DATAGRAM);
    }
    (void)tun_poll_transmit(all.t, &all.now, &b);
    return b.runs_used;
}

int main(int argc, char **argv) {
    must(argc == 3);
    all.circuits = (unsigned)strtoul(argv[1], NULL, 10);
    must(all.circuits >= CIRCUITS_MIN);
    cv_crypto_init();
    engine();
    for (unsigned i = 0; i < LINKS; i++)
        for (unsigned side = 0; side < SIDES; side++)
            all.link[side][i] = link_new(side != 0, i);
    circuits();
    struct tun_event ev;
    while (tun_poll_event(all.t, &ev))
        if (ev.kind == TUN_EVENT_SAVE)
            tun_saved(all.t, &all.now, ev.save.which);
    for (unsigned sent = 0; sent < CELLS; sent += SLOTS) {
        fill(strcmp(argv[2], "backward") == 0);
        (void)counted();
        all.now.mono += 100;
    }
    must(tun_counters(all.t)->relayed_cells == CELLS && tun_counters(all.t)->queued_cells == 0);
    printf("%d cells, %zu octets a circuit\n", CELLS, sizeof(struct tun_hop));
    tun_free(all.t);
    for (unsigned side = 0; side < SIDES; side++)
        free(all.id[side]);
    free(all.used);
    return 0;
}
