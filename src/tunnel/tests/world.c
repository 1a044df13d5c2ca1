#include "tunnel/tests/world.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/hash.h"

/* ---- what relays know of each other ---- */

static enum cv_err find_relay(void *ctx, const uint8_t identity[CV_KEY], uint32_t day,
                              struct tun_relay_ref *ret, const uint8_t **ret_descriptor,
                              size_t *ret_len) {
    struct world_node *self = ctx;
    struct world *w = self->world;
    (void)day;
    for (unsigned i = 0; i < w->nodes; i++) {
        struct world_node *n = &w->node[i];
        if (!n->cfg.relay || !n->t || !cv_equal(n->identity_secret.public_key, identity, CV_KEY))
            continue;
        world_ref(w, i, ret);
        *ret_descriptor = tun_own_descriptor(n->t, world_now(w, i).wall, ret_len);
        return CV_ERR_OK;
    }
    return CV_ERR_NOENT;
}

static const struct tun_user_ops user_ops = {.find_relay = find_relay};

void world_ref(struct world *w, unsigned relay, struct tun_relay_ref *ret) {
    struct world_node *n = &w->node[relay];
    int64_t wall = world_now(w, relay).wall;
    size_t len;
    const uint8_t *raw = tun_own_descriptor(n->t, wall, &len);
    assert(raw);
    struct tun_descriptor d;
    enum cv_err err = tun_descriptor_open(raw, len, n->cfg.network_id, &d);
    assert(err == CV_ERR_OK);
    tun_descriptor_ref(&d, wall, ret);
}

/* ---- the simulator's view of a node ---- */

static unsigned workers(const struct world_node *n) {
    return n->cfg.workers > 1 ? n->cfg.workers : 1;
}

static void carry(struct world_node *n, struct cv_now now, struct tun_message *m) {
    n->messages++;
    if (n->loses && n->loses(n, m)) {
        tun_on_lost(n->worker[m->from], m);
    } else if (m->to && (m->to == n->stalled || m->to == n->resuming)) {
        m->next = NULL;
        *n->waits_end = m;
        n->waits_end = &m->next;
    } else {
        tun_on_message(n->worker[m->to], &now, m);
    }
}

/* Until no worker has anything to tell. */
static void exchange(struct world_node *n, struct cv_now now) {
    for (unsigned i = 0, quiet = 0; quiet < workers(n); i = (i + 1) % workers(n), quiet++) {
        struct tun_message *m;
        while ((m = tun_poll_message(n->worker[i])) != NULL) {
            quiet = 0;
            carry(n, now, m);
        }
    }
}

static bool has_time(const struct world_node *n, unsigned worker) {
    return worker == 0 || worker != n->stalled;
}

void world_resume(struct world *w, unsigned node) {
    struct world_node *n = &w->node[node];
    struct tun_message *m;
    n->resuming = n->stalled;
    n->stalled = 0;
    while (n->waits) {
        struct cv_now now = world_now(w, node);
        for (unsigned i = 0; i < 64 && (m = n->waits) != NULL; i++) {
            n->waits = m->next;
            if (!n->waits)
                n->waits_end = &n->waits;
            tun_on_message(n->worker[m->to], &now, m);
        }
        exchange(n, now);
        sim_touch(w->sim, node);
        world_run(w, CV_MSEC(1));
    }
    n->resuming = 0;
}

static void on_datagram(void *ctx, struct cv_now now, unsigned socket, const struct cv_addr *to,
                        const struct cv_addr *from, const uint8_t *buf, size_t len) {
    struct world_node *n = ctx;
    unsigned count = workers(n), i = count > 1 ? tun_worker_of(buf, count) : 0;
    (void)socket;
    (void)to;
    if (n->scatters)
        i = n->scattered++ % count;
    tun_expect(n->worker[i], buf, len); /* changes nothing, in any test */
    if (has_time(n, i))
        (void)tun_on_datagram(n->worker[i], &now, from, buf, len);
    exchange(n, now);
}

static void on_timeout(void *ctx, struct cv_now now) {
    struct world_node *n = ctx;
    for (unsigned i = 0; i < workers(n); i++)
        if (has_time(n, i))
            tun_on_timeout(n->worker[i], &now);
    exchange(n, now);
}

static bool poll_transmit(void *ctx, struct cv_now now, unsigned socket, struct cv_batch *batch) {
    struct world_node *n = ctx;
    (void)socket;
    for (unsigned i = 0; i < workers(n); i++)
        if (has_time(n, i) && tun_poll_transmit(n->worker[i], &now, batch))
            return true;
    return false;
}

static void keep(struct world_node *n, const struct tun_event *ev, cv_usec at) {
    if (n->count == n->cap) {
        n->cap = n->cap ? 2 * n->cap : 64;
        n->events = realloc(n->events, n->cap * sizeof *n->events);
        assert(n->events);
    }
    struct world_event *e = &n->events[n->count++];
    e->ev = *ev;
    e->at = at;
    size_t len;
    const uint8_t **payload = tun_event_payload(&e->ev, &len);
    if (payload && len)
        memcpy(e->octets, *payload, len);
}

static bool poll_events(void *ctx, struct cv_now now) {
    struct world_node *n = ctx;
    struct tun_event ev;
    bool any = false;
    while (tun_poll_event(n->t, &ev)) {
        any = true;
        sim_event(n->world->sim, n->id, &ev.kind, sizeof ev.kind);
        if (ev.kind == TUN_EVENT_SAVE)
            tun_saved(n->t, &now, ev.save.which);
        if (n->on_event)
            n->on_event(n, &now, &ev);
        bool datagram = ev.kind == TUN_EVENT_DATAGRAM || ev.kind == TUN_EVENT_HOP_DATAGRAM;
        if (datagram) {
            n->datagrams++;
            n->octets += ev.datagram.len;
        }
        if (ev.kind == TUN_EVENT_LINK_CARRIED) {
            n->carried_out += ev.link_carried.out_octets;
            n->carried_in += ev.link_carried.in_octets;
        } else if (!datagram || n->keep_datagrams) {
            keep(n, &ev, sim_now(n->world->sim));
        }
    }
    exchange(n, now);
    return any;
}

static cv_usec next_timeout(void *ctx) {
    struct world_node *n = ctx;
    cv_usec at = CV_USEC_NEVER;
    for (unsigned i = 0; i < workers(n); i++)
        if (has_time(n, i))
            at = cv_usec_min(at, tun_next_timeout(n->worker[i]));
    return at;
}

static void crash(void *ctx) {
    struct world_node *n = ctx;
    struct tun_message *m;
    while ((m = n->waits) != NULL) {
        n->waits = m->next;
        tun_message_free(m);
    }
    for (unsigned i = 0; i < workers(n); i++)
        n->worker[i] = tun_free(n->worker[i]);
    n->t = NULL;
}

static const struct sim_node_ops node_ops = {.on_datagram = on_datagram,
                                             .on_timeout = on_timeout,
                                             .poll_transmit = poll_transmit,
                                             .poll_events = poll_events,
                                             .next_timeout = next_timeout,
                                             .crash = crash};

/* ---- worlds ---- */

struct world *world_new(const struct sim_config *cfg) {
    cv_crypto_init();
    struct world *w = calloc(1, sizeof *w);
    assert(w);
    w->sim = sim_new(cfg);
    return w;
}

void world_free(struct world *w) {
    for (unsigned i = 0; i < w->nodes; i++) {
        crash(&w->node[i]);
        free(w->node[i].events);
    }
    sim_free(w->sim);
    free(w);
}

struct cv_now world_now(const struct world *w, unsigned node) {
    return sim_node_now(w->sim, node);
}

void world_run(struct world *w, cv_usec for_so_long) {
    sim_run(w->sim, sim_now(w->sim) + for_so_long);
}

static unsigned add(struct world *w, const struct tun_config *cfg, bool relay) {
    assert(w->nodes < WORLD_NODES);
    struct world_node *n = &w->node[w->nodes];
    n->world = w;
    n->cfg = cfg ? *cfg : (struct tun_config){.gate = true};
    n->addr = w->one_machine ? sim_addr(0, (uint16_t)(4000 + w->nodes)) : sim_addr(w->nodes, 4000);
    if (w->mixed && !n->cfg.family)
        n->cfg.family = w->family;
    if (w->mixed && n->cfg.family == 6)
        n->addr = sim_addr6(w->nodes, 4000);
    n->id = sim_add(w->sim, &node_ops, n);
    assert(n->id == w->nodes);
    enum cv_err err = sim_bind(w->sim, n->id, 0, &n->addr);
    if (w->mixed && !n->cfg.family) {
        n->addr_too = sim_addr6(w->nodes, 4000);
        err = err ? err : sim_bind(w->sim, n->id, 0, &n->addr_too);
    }
    assert(err == CV_ERR_OK);
    memcpy(n->cfg.network_id, "testnet\0", 8);
    uint8_t seed[CV_KEY] = {1, (uint8_t)w->nodes};
    cv_ed25519_from_seed(&n->identity_secret, seed);
    if (relay) {
        const char *all = getenv("WORLD_WORKERS"); /* of every relay, in tests that do not say */
        if (all && !n->cfg.workers)
            n->cfg.workers = (uint8_t)strtoul(all, NULL, 10);
        n->cfg.relay = true;
        n->cfg.identity = &n->identity_secret;
        n->cfg.relay_flags |=
            TUN_RELAY_RELAY | TUN_RELAY_INTRO | TUN_RELAY_RENDEZVOUS | TUN_RELAY_DHT;
        n->cfg.addr[0] = n->addr;
        n->cfg.addr[1] = n->addr_too;
    }
    struct cv_now now = sim_node_now(w->sim, n->id);
    n->t = (w->whole ? tun_new : tun_bare_new)(&n->cfg, sim_node_rng(w->sim, n->id), &now);
    assert(n->t);
    n->worker[0] = n->t;
    n->waits_end = &n->waits;
    for (unsigned i = 1; i < workers(n); i++) {
        struct tun_config worker = n->cfg;
        worker.worker = (uint8_t)i;
        n->worker[i] = tun_new(&worker, sim_node_rng(w->sim, n->id), &now);
        assert(n->worker[i]);
    }
    if (relay && !w->whole)
        tun_attach(n->t, TUN_USER_CLIENT, &user_ops, n);
    w->nodes++;
    poll_events(n, now);
    return n->id;
}

unsigned world_relay(struct world *w, const struct tun_config *cfg) {
    return add(w, cfg, true);
}

unsigned world_client(struct world *w, const struct tun_config *cfg) {
    return add(w, cfg, false);
}

cv_handle world_open(struct world *w, unsigned node, const unsigned *relays, unsigned n) {
    struct tun_circuit_plan plan = {.purpose = TUN_PURPOSE_GENERAL, .hops = n};
    for (unsigned i = 0; i < n; i++)
        world_ref(w, relays[i], &plan.hop[i]);
    struct cv_now now = world_now(w, node);
    cv_handle c;
    if (tun_circuit_build(w->node[node].t, &now, &plan, &c))
        return 0;
    sim_touch(w->sim, node);
    return c;
}

struct waiting {
    struct world_node *n;
    cv_handle circuit;
};

static bool is_decided(void *ctx) {
    struct waiting *w = ctx;
    struct tun_circuit_info info;
    return tun_circuit_info(w->n->t, w->circuit, &info) || info.ready;
}

cv_handle world_circuit(struct world *w, unsigned node, const unsigned *relays, unsigned n) {
    cv_handle c = world_open(w, node, relays, n);
    struct waiting wait = {.n = &w->node[node], .circuit = c};
    struct tun_circuit_info info;
    if (!c || !sim_run_while_not(w->sim, is_decided, &wait, sim_now(w->sim) + CV_SEC(20)) ||
        tun_circuit_info(w->node[node].t, c, &info))
        return 0;
    return c;
}

struct world_event *world_find(struct world *w, unsigned node, enum tun_event_kind kind,
                               unsigned i) {
    struct world_node *n = &w->node[node];
    for (uint32_t k = 0; k < n->count; k++) {
        struct world_event *e = &n->events[k];
        if (e->ev.kind != kind || i-- > 0)
            continue;
        size_t len;
        const uint8_t **payload = tun_event_payload(&e->ev, &len);
        if (payload)
            *payload = e->octets;
        return e;
    }
    return NULL;
}

unsigned world_count(struct world *w, unsigned node, enum tun_event_kind kind) {
    unsigned n = 0;
    while (world_find(w, node, kind, n))
        n++;
    return n;
}

struct world_event *world_reply(struct world *w, unsigned node, uint32_t transaction) {
    struct world_event *e;
    for (unsigned i = 0; (e = world_find(w, node, TUN_EVENT_REPLY, i)) != NULL; i++)
        if (e->ev.reply.transaction == transaction)
            return e;
    return NULL;
}

enum cv_err world_send(struct world *w, unsigned node, cv_handle circuit, const void *buf,
                       size_t len) {
    struct cv_now now = world_now(w, node);
    struct cv_endpoint to = cv_endpoint_circuit(circuit, 0);
    enum cv_err err = tun_send(w->node[node].t, &now, &to, buf, len);
    sim_touch(w->sim, node);
    return err;
}

uint32_t world_request(struct world *w, unsigned node, cv_handle circuit, uint8_t command,
                       const void *body, size_t len) {
    struct cv_now now = world_now(w, node);
    uint32_t transaction;
    enum cv_err err = tun_request(w->node[node].t, &now, circuit, command, body, len, &transaction);
    assert(err == CV_ERR_OK);
    sim_touch(w->sim, node);
    return transaction;
}

struct world *world_five(const struct sim_config *cfg, const struct sim_path *path,
                         const struct tun_config *tun) {
    struct world *w = world_new(cfg);
    for (unsigned i = 0; i < 4; i++)
        world_relay(w, tun);
    world_client(w, tun);
    sim_path_default(w->sim, path);
    return w;
}

struct tun_link *world_link(struct world *w, unsigned node) {
    uint32_t cursor = 0;
    return tun_handles_next(&w->node[node].t->links, &cursor);
}

struct tun_hop *world_hop(struct world *w, unsigned relay) {
    uint32_t cursor = 0;
    return tun_handles_next(&w->node[relay].t->hops, &cursor);
}

void world_echo(struct world_node *n, const struct cv_now *now, const struct tun_event *ev) {
    if (ev->kind == TUN_EVENT_REQUEST && ev->request.command == TUN_CMD_OPEN)
        tun_answer(n->t, now, ev->request.hop, ev->request.transaction, TUN_CMD_OPENED, NULL, 0);
    if (ev->kind == TUN_EVENT_HOP_DATAGRAM) {
        uint8_t copy[TUN_DATAGRAM];
        memcpy(copy, ev->hop_datagram.buf, ev->hop_datagram.len);
        (void)tun_send(n->t, now, &ev->hop_datagram.from, copy, ev->hop_datagram.len);
    }
}
