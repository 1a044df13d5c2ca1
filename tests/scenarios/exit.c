/*
 * A direct swarm on the Internet, and viewers who see it through a swarm exit: the
 * seeder is found in the DHT by the exit, and every octet of the film comes. Every
 * datagram is looked at: the seeder speaks to exits only (and the DHT), nobody but an
 * exit's own sockets speaks to it, and no content key leaves a viewer.
 *
 * And somebody who has a circuit that ends at an exit, and nothing good in mind:
 * three calls each to who does not want them, and no octet to anybody else.
 */
#include <stdio.h>
#include <string.h>

#include "node/state.h"
#include "ppsp/message.h"
#include "ppsp/options.h"
#include "scenarios/scenario.h"
#include "scenarios/world.h"
#include "tunnel/client.h"
#include "tunnel/relaycmd.h"

enum { VIEWERS = 3, EXITS = 2, RELAYS = 7 };

struct watch {
    struct world *w;
    struct world_node *seeder, *viewer[VIEWERS];
    uint64_t met;     /* datagrams between a viewer and the seeder */
    uint64_t keys;    /* of the content, in datagrams of viewers */
    uint64_t foreign; /* from an exit's sockets to anybody but the seeder's socket */
    uint64_t through; /* from them to that */
};

static bool contains(const uint8_t *buf, size_t len, const uint8_t *key, size_t key_len) {
    for (size_t i = 0; i + key_len <= len; i++)
        if (memcmp(buf + i, key, key_len) == 0)
            return true;
    return false;
}

static const struct world_node *by_number(const struct world *w, unsigned number) {
    for (unsigned i = 0; i < w->nodes_count; i++)
        if (w->nodes[i]->number == number)
            return w->nodes[i];
    return NULL;
}

static enum sim_verdict look(void *ctx, const struct sim_datagram *d) {
    struct watch *h = ctx;
    const struct world_node *from = by_number(h->w, d->from_node);
    for (unsigned i = 0; i < VIEWERS && h->seeder; i++) {
        unsigned v = h->viewer[i]->number, s = h->seeder->number;
        h->met += (d->from_node == v && d->to_node == s) || (d->from_node == s && d->to_node == v);
        h->keys += d->from_node == v && contains(d->buf, d->len, h->w->films[0]->uri.swarm_id, 20);
    }
    if (from && from->cfg.exit && d->from->port >= 7000 + NODE_SOCKET_EXIT) {
        bool to_seeder = h->seeder && cv_addr_equal(d->to, &h->seeder->addr[NODE_SOCKET_DIRECT]);
        h->foreign += !to_seeder;
        h->through += to_seeder;
    }
    return SIM_PASS;
}

static uint64_t sum(const struct world *w, size_t offset) {
    uint64_t all = 0;
    for (unsigned i = 0; i < w->nodes_count; i++) {
        const struct exit_counters *c =
            w->nodes[i]->node ? node_exit_counters(w->nodes[i]->node) : NULL;
        if (c)
            all += *(const uint64_t *)(const void *)((const char *)c + offset);
    }
    return all;
}
#define SUM(w, name) sum(w, offsetof(struct exit_counters, name))

static bool check(struct world *w, const struct scenario_args *args, struct scenario_result *ret) {
    struct sim *s = w->sim;
    struct watch h = {.w = w};
    for (unsigned i = 0; i < RELAYS; i++)
        world_node_new(w, &(struct world_node_config){.relay = true, .exit = i < EXITS});
    for (unsigned i = 0; i < VIEWERS; i++)
        h.viewer[i] = world_node_new(w, &(struct world_node_config){0});
    h.seeder = world_node_new(w, &(struct world_node_config){.direct = true});
    const struct world_film *film = world_film_new(w, 500000 + args->seed % 5000);
    world_links(w, CV_MSEC(5), CV_MSEC(30), 5000);
    sim_hook(s, look, &h);

    SCENARIO_CHECK(sim_run_while_not(s, world_relays_ready, w, CV_SEC(60)), "relays not ready");
    world_open_with(h.seeder, film, WORLD_SEEDER,
                    &(struct node_swarm_config){.mode = NODE_SWARM_DIRECT, .fetch_all = true});
    sim_run(s, sim_now(s) + CV_SEC(5));
    for (unsigned i = 0; i < VIEWERS; i++)
        world_open_with(h.viewer[i], film, WORLD_VIEWER,
                        &(struct node_swarm_config){.mode = NODE_SWARM_EXIT, .fetch_all = true});
    cv_usec opened = sim_now(s);
    SCENARIO_CHECK(sim_run_while_not(s, world_all_complete, w, opened + CV_SEC(120)),
                   "not everybody has it");
    snprintf(ret->note, sizeof ret->note, "%u viewers have it after %.1f s, %llu calls", VIEWERS,
             (double)(sim_now(s) - opened) / 1e6, (unsigned long long)SUM(w, calls));
    SCENARIO_CHECK(world_stores_match(w), "wrong octets");
    SCENARIO_CHECK(h.through > 0 && h.met == 0 && h.keys == 0 && h.foreign == 0,
                   "%llu through, %llu met, %llu keys, %llu elsewhere",
                   (unsigned long long)h.through, (unsigned long long)h.met,
                   (unsigned long long)h.keys, (unsigned long long)h.foreign);
    SCENARIO_CHECK(SUM(w, drop_form) + SUM(w, drop_size) == 0, "what is right was dropped");
    return true;
}

bool scenario_exit(const struct scenario_args *args, struct scenario_result *ret) {
    struct world *w = world_new(args->seed);
    bool ok = check(w, args, ret);
    scenario_measure(ret, w->sim, w->nodes_count);
    world_free(w);
    return ok;
}

/* ---- the same exit in the hands of somebody hostile ---- */

/* What the sockets of exits sent, and where to. */
struct wire {
    struct world *w;
    struct cv_addr victim[2];
    uint64_t calls[2], others; /* to them, and to anybody else */
    uint64_t not_calls;        /* what is no handshake, or long */
    uint64_t octets, cells;    /* that left by them; that came to exits */
};

static enum sim_verdict count(void *ctx, const struct sim_datagram *d) {
    struct wire *wire = ctx;
    const struct world_node *from = by_number(wire->w, d->from_node);
    const struct world_node *to = by_number(wire->w, d->to_node);
    wire->cells += to && to->cfg.exit && d->len == TUN_DATAGRAM;
    if (!from || !from->cfg.exit || d->from->port < 7000 + NODE_SOCKET_EXIT)
        return SIM_PASS;
    unsigned i = cv_addr_equal(d->to, &wire->victim[0])   ? 0
                 : cv_addr_equal(d->to, &wire->victim[1]) ? 1
                                                          : 2;
    if (i < 2)
        wire->calls[i]++;
    wire->others += i == 2;
    wire->not_calls += d->len > NODE_EXIT_CALL_MAX || d->len < 9 || d->buf[4] != PPSP_MSG_HANDSHAKE;
    wire->octets += d->len;
    return SIM_PASS;
}

static void say(struct world_node *n, cv_handle circuit, uint16_t flow, const uint8_t *buf,
                size_t len) {
    struct cv_now now = sim_node_now(n->world->sim, n->number);
    struct cv_endpoint ep = cv_endpoint_circuit(circuit, flow);
    uint8_t cell[1200] = {0};
    memcpy(cell + 1, buf, len);
    (void)tun_send(n->node->client, &now, &ep, cell, 1 + len);
    sim_touch(n->world->sim, n->number);
    sim_run(n->world->sim, sim_now(n->world->sim) + CV_MSEC(20));
}

static size_t call_of(uint32_t channel, uint8_t *buf, size_t cap) {
    struct cv_wr w = cv_wr_init(buf, cap);
    struct ppsp_options o = {.present = 1u << PPSP_OPT_VERSION | 1u << PPSP_OPT_SWARM_ID,
                             .version = 1,
                             .swarm_id = (const uint8_t *)"12345678901234567890",
                             .swarm_id_len = 20};
    cv_wr_be32(&w, 0);
    ppsp_handshake_begin(&w, channel);
    ppsp_options_write(&w, &o);
    return cv_wr_len(&w);
}

/* A flow to there, and everything that may come of it. */
static void abuse(struct world_node *n, cv_handle circuit, uint16_t flow,
                  const struct cv_addr *to) {
    struct sim *s = n->world->sim;
    struct cv_now now = sim_node_now(s, n->number);
    uint8_t buf[1118];
    struct cv_wr w = cv_wr_init(buf, sizeof buf);
    struct tun_connect m = {.flow = flow, .addr = *to};
    uint32_t transaction;
    tun_connect_write(&w, &m);
    (void)tun_request(n->node->client, &now, circuit, TUN_CMD_CONNECT, buf + 4, cv_wr_len(&w) - 4,
                      &transaction);
    sim_touch(s, n->number);
    sim_run(s, sim_now(s) + CV_SEC(1));
    static const char query[] = "d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t2:aa1:y1:qe";
    say(n, circuit, flow, (const uint8_t *)query, sizeof query - 1);
    memset(buf, 0, sizeof buf);
    say(n, circuit, flow, buf, sizeof buf);
    cv_rng_fill(sim_rng(s), buf, sizeof buf);
    say(n, circuit, flow, buf, sizeof buf);
    for (uint32_t i = 0; i < 30; i++)
        say(n, circuit, flow, buf, call_of(1 + i % 3, buf, sizeof buf));
}

static bool is_ready(void *ctx) {
    const struct world_node *n = ctx;
    return n->client_ready;
}

static bool abused(struct world *w, struct scenario_result *ret) {
    struct sim *s = w->sim;
    struct wire wire = {.w = w};
    for (unsigned i = 0; i < RELAYS; i++)
        world_node_new(w, &(struct world_node_config){.relay = true, .exit = i == 0});
    struct world_node *hostile = world_node_new(w, &(struct world_node_config){0});
    struct world_node *victim = world_node_new(w, &(struct world_node_config){.direct = true});
    struct world_node *relay = w->nodes[3];
    world_links(w, CV_MSEC(5), CV_MSEC(10), 0);
    wire.victim[0] = victim->addr[NODE_SOCKET_DIRECT];
    wire.victim[1] = relay->addr[NODE_SOCKET_MAIN];
    sim_hook(s, count, &wire);
    SCENARIO_CHECK(sim_run_while_not(s, world_relays_ready, w, CV_SEC(60)), "relays not ready");
    SCENARIO_CHECK(sim_run_while_not(s, is_ready, hostile, CV_SEC(120)), "no circuits");

    cv_handle circuit = 0;
    for (unsigned i = 0; i < 100 && !circuit; i++) {
        struct cv_now now = sim_node_now(s, hostile->number);
        if (tun_circuit_open(hostile->node->client, &now, TUN_PURPOSE_EXIT, NULL, &circuit))
            circuit = 0;
        sim_touch(s, hostile->number);
        sim_run(s, sim_now(s) + CV_SEC(1));
    }
    SCENARIO_CHECK(circuit, "no way to the exit");

    struct cv_addr own = w->nodes[0]->addr[NODE_SOCKET_MAIN], beside = own,
                   service = wire.victim[0];
    beside.ip[3] ^= 1;
    service.port = 53;
    const struct cv_addr to[] = {
        wire.victim[0],
        wire.victim[1],
        own,
        beside,
        service,
        {.family = 4, .ip = {127, 0, 0, 1}, .port = 7000},
        {.family = 4, .ip = {10, 0, 0, 1}, .port = 7000},
        {.family = 4, .ip = {224, 0, 0, 1}, .port = 7000},
        {.family = 6, .ip = {[15] = 1}, .port = 7000},
        {.family = 6, .ip = {[10] = 0xff, 0xff, 127, 0, 0, 1}, .port = 7000},
    };
    for (size_t i = 0; i < sizeof to / sizeof *to; i++)
        abuse(hostile, circuit, (uint16_t)(i + 1), &to[i]);
    snprintf(ret->note, sizeof ret->note, "%llu and %llu calls left, of 60",
             (unsigned long long)wire.calls[0], (unsigned long long)wire.calls[1]);
    SCENARIO_CHECK(wire.calls[0] == NODE_EXIT_ADDRESS_CALLS &&
                       wire.calls[1] == NODE_EXIT_ADDRESS_CALLS,
                   "%llu and %llu calls", (unsigned long long)wire.calls[0],
                   (unsigned long long)wire.calls[1]);
    SCENARIO_CHECK(wire.others == 0, "%llu elsewhere", (unsigned long long)wire.others);
    SCENARIO_CHECK(wire.not_calls == 0, "%llu that are no calls",
                   (unsigned long long)wire.not_calls);
    SCENARIO_CHECK(wire.octets <= wire.cells * TUN_DATAGRAM, "more left than came");
    return true;
}

bool scenario_exit_abused(const struct scenario_args *args, struct scenario_result *ret) {
    struct world *w = world_new(args->seed);
    bool ok = abused(w, ret);
    scenario_measure(ret, w->sim, w->nodes_count);
    world_free(w);
    return ok;
}
