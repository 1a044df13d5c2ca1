#include "node/node.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/hash.h"
#include "node/state.h"
#include "tunnel/client.h"
#include "tunnel/relaycmd.h"
#include "tunnel/worker.h"

void node_network_id(const char *name, uint8_t ret[8]) {
    CV_BLAKE2B(ret, 8, NULL, 0, {name, strlen(name)});
}

/* ---- events ---- */

/* What may be lost when nobody takes it: the next of its kind says as much. */
static bool may_be_lost(const struct node_event *ev) {
    return ev->kind == NODE_EVENT_PEER_UP || ev->kind == NODE_EVENT_PEER_DOWN ||
           ev->kind == NODE_EVENT_ASKED;
}

static struct node_event *waiting(struct node *n, enum node_event_kind kind, cv_handle swarm) {
    for (uint32_t i = n->events_count; i-- > 0;) {
        struct node_event *ev = &n->events[(n->events_first + i) % NODE_EVENTS_ALL];
        if (ev->kind == kind && ev->swarm == swarm && kind != NODE_EVENT_SAVE)
            return ev;
    }
    return NULL;
}

/* One of a kind and a swarm is enough when many wait, so that what must not be
 * lost always finds room (NODE_EVENTS_ALL). */
static bool merge(struct node *n, const struct node_event *ev) {
    struct node_event *old = waiting(n, ev->kind, ev->swarm);
    if (!old)
        return false;
    if (ev->kind == NODE_EVENT_CHUNKS_READY) {
        if (ev->u.range.first < old->u.range.first)
            old->u.range.first = ev->u.range.first;
        if (ev->u.range.last > old->u.range.last)
            old->u.range.last = ev->u.range.last;
    } else {
        old->u = ev->u;
    }
    n->counters.events_merged++;
    return true;
}

void node_event_push(struct node *n, const struct node_event *ev) {
    if (n->events_count >= NODE_EVENTS_MAX) {
        if (may_be_lost(ev) || n->events_count == NODE_EVENTS_ALL) {
            n->counters.events_lost++;
            return;
        }
        if (ev->kind != NODE_EVENT_SAVE && merge(n, ev))
            return;
    }
    n->events[(n->events_first + n->events_count++) % NODE_EVENTS_ALL] = *ev;
}

void node_event_save(struct node *n, enum node_saved which, const void *data, size_t len) {
    uint8_t *copy = malloc(len ? len : 1);
    if (!copy)
        return; /* the engine says it again with its next change */
    memcpy(copy, data, len);
    free(n->saved[which]);
    n->saved[which] = copy;
    for (uint32_t i = 0; i < n->events_count; i++) {
        struct node_event *ev = &n->events[(n->events_first + i) % NODE_EVENTS_ALL];
        if (ev->kind == NODE_EVENT_SAVE && ev->u.save.which == which) {
            ev->u.save.data = copy;
            ev->u.save.len = len;
            return;
        }
    }
    node_event_push(n, &(struct node_event){.kind = NODE_EVENT_SAVE,
                                            .u.save = {.which = which, .data = copy, .len = len}});
}

bool node_poll_event(struct node *n, struct node_event *ret) {
    if (!n->events_count)
        return false;
    *ret = n->events[n->events_first];
    n->events_first = (n->events_first + 1) % NODE_EVENTS_ALL;
    n->events_count--;
    return true;
}

/* ---- settling: values move between engines until nobody has any more ---- */

static void on_relay(struct node *n, struct cv_now now, const struct tun_event *ev) {
    switch ((int)ev->kind) {
    case TUN_EVENT_REQUEST:
        if (ev->request.command == TUN_CMD_OPEN)
            node_openly_on_request(n, now, ev);
        else if (ev->request.command == TUN_CMD_CONNECT)
            node_exit_on_connect(n, now, ev);
        else if (ev->request.command == TUN_CMD_TOKEN_REQUEST)
            node_priority_on_request(n, now, ev);
        else
            node_discovery_on_request(n, now, ev);
        break;
    case TUN_EVENT_HOP_DATAGRAM:
        if (ev->hop_datagram.from.flow)
            node_exit_on_cell(n, now, ev);
        else if (n->open)
            ppsp_on_datagram(n->open, now, &ev->hop_datagram.from, ev->hop_datagram.buf,
                             ev->hop_datagram.len);
        break;
    case TUN_EVENT_HOP_DOWN: {
        struct cv_endpoint ep = cv_endpoint_circuit(ev->hop_down.hop, 0);
        if (n->open)
            ppsp_peer_remove(n->open, now, &ep, /* goodbye= */ false);
        node_exit_on_hop_down(n, ev->hop_down.hop);
        node_discovery_on_hop_down(n, now, ev->hop_down.hop);
        break;
    }
    default:
        node_accounts_on_tunnel(n, now, ev);
        break;
    }
}

static bool settle_tunnel(struct node *n, struct cv_now now, struct tunnel *t) {
    struct tun_event ev;
    bool any = false;
    while (t && tun_poll_event(t, &ev)) {
        any = true;
        if (ev.kind == TUN_EVENT_SAVE) {
            node_event_save(
                n, ev.save.which == TUN_BLOB_KEYRING ? NODE_SAVED_DESCRIPTOR : NODE_SAVED_GUARDS,
                ev.save.blob, ev.save.len);
        } else if (ev.kind == TUN_EVENT_NEED_CONTACTS) {
            node_discovery_need(n, now, t == n->relay, ev.need_contacts.wanted);
        } else if (ev.kind == TUN_EVENT_CLOCK_OFF) {
            if (n->ledger && ev.clock_off.seconds != 0)
                rep_ledger_clock_off(n->ledger, now);
            node_event_push(n, &(struct node_event){.kind = NODE_EVENT_CLOCK_OFF,
                                                    .u.seconds = ev.clock_off.seconds});
        } else if (ev.kind == TUN_EVENT_PROOF) {
            n->counters.proofs++; /* the engine keeps it and passes it on */
        } else if (t == n->relay) {
            on_relay(n, now, &ev);
        } else {
            node_route_on_tunnel(n, now, &ev);
        }
    }
    return any;
}

static bool settle_ppsp(struct node *n, struct cv_now now, struct ppsp *p) {
    struct ppsp_event ev;
    bool any = false;
    while (p && ppsp_poll_event(p, &ev)) {
        any = true;
        node_swarm_on_ppsp(n, now, p, &ev);
    }
    return any;
}

static bool settle_dht(struct node *n, struct cv_now now) {
    struct dht_event ev;
    bool any = false;
    while (dht_poll_event(n->dht, &ev)) {
        any = true;
        node_discovery_on_dht(n, now, &ev);
    }
    return any;
}

void node_settle(struct node *n, struct cv_now now) {
    n->now = now;
    unsigned rounds = 0;
    bool any;
    do {
        any = settle_tunnel(n, now, n->relay);
        any |= settle_tunnel(n, now, n->client);
        any |= settle_ppsp(n, now, n->hidden);
        any |= settle_ppsp(n, now, n->direct);
        any |= settle_ppsp(n, now, n->open);
        any |= settle_dht(n, now);
        any |= node_accounts_settle(n, now);
    } while (any && ++rounds < NODE_SETTLE_ROUNDS);
    /* What others send must not stop us: the rest follows in the next step. */
    if (any) {
        n->unsettled = true;
        n->counters.settled_short++;
    }
}

/* ---- life ---- */

static enum tun_address_class tunnel_class(const struct node_config *cfg) {
    if (cfg->loopback)
        return TUN_ADDRESS_LOOPBACK;
    return cfg->private_network ? TUN_ADDRESS_PRIVATE : TUN_ADDRESS_PUBLIC;
}

static struct tun_config tunnel_config(const struct node *n, bool relay) {
    const struct node_config *cfg = &n->cfg;
    struct tun_config t = {
        .relay = relay,
        .elsewhere = relay && cfg->elsewhere,
        .relay_flags = (uint16_t)(TUN_RELAY_RELAY | TUN_RELAY_INTRO | TUN_RELAY_RENDEZVOUS |
                                  TUN_RELAY_DHT | (cfg->exit ? TUN_RELAY_EXIT : 0)),
        .address_class = (uint8_t)tunnel_class(cfg),
        .family = relay ? cfg->main_family : cfg->own_family,
        /* A relay's own links are nameless: it spends tokens on them, and has no
         * account that would tell whose they are (priority.c). */
        .identity = &cfg->identity_secret,
        .nameless = !relay && cfg->relay && cfg->ledger_store,
        .tokens = relay && cfg->ledger_store,
        .bandwidth_kib_s = cfg->relay_bandwidth_kib,
        .send_octets_s = relay ? cfg->relay_octets_s - node_exit_share(cfg) : 0,
        .aes = cfg->aes,
        .gate = !cfg->gate_off,
        .hurry = cfg->quick_start,
    };
    memcpy(t.network_id, cfg->network_id, sizeof t.network_id);
    for (size_t i = 0; relay && i < cfg->relay_addrs_count; i++)
        t.addr[i] = cfg->relay_addrs[i];
    if (relay && cfg->relay_workers > 1) {
        t.workers = cfg->relay_workers;
        memcpy(t.worker_key, n->worker_key, sizeof t.worker_key);
    }
    return t;
}

enum cv_err node_saved_check(enum node_saved which, const struct node_blob *blob) {
    struct node_own own;
    return which == NODE_SAVED_GUARDS ? tun_guards_blob_check(blob->data, blob->len)
           : which == NODE_SAVED_OWN  ? node_own_read(NULL, blob->data, blob->len, 0, &own)
                                      : CV_ERR_OK;
}

bool node_saved_is_lost(const struct node *n, enum node_saved which) {
    return which == NODE_SAVED_DESCRIPTOR ? n->relay && tun_keyring_was_lost(n->relay)
                                          : n->lost[which];
}

static struct tunnel *make_tunnel(struct node *n, const struct cv_now *now, bool relay) {
    const struct node_config *cfg = &n->cfg;
    struct tun_config t = tunnel_config(n, relay);
    enum tun_blob blob = relay ? TUN_BLOB_KEYRING : TUN_BLOB_GUARDS;
    const struct node_blob *saved = &cfg->saved[relay ? NODE_SAVED_DESCRIPTOR : NODE_SAVED_GUARDS];
    t.blob[blob] = saved->data;
    t.blob_len[blob] = saved->len;
    return tun_new(&t, n->rng, now);
}

static struct dht *make_dht(struct node *n, struct cv_now now) {
    const struct node_config *cfg = &n->cfg;
    struct dht_config d = {
        .scope = cfg->loopback          ? DHT_SCOPE_LOOPBACK
                 : cfg->private_network ? DHT_SCOPE_PRIVATE
                                        : DHT_SCOPE_PUBLIC,
        .ipv4 = cfg->main_family != 6,
        .ipv6 = cfg->main_family != 4,
        /* A node that does not relay answers nothing: it would be on the list
         * of everybody who looks (BEP 43). */
        .read_only = !cfg->relay,
    };
    for (size_t i = 0; i < cfg->relay_addrs_count; i++)
        *(cfg->relay_addrs[i].family == 6 ? &d.external6 : &d.external4) = cfg->relay_addrs[i];
    struct dht *dht = dht_new(&d, n->rng, now);
    if (dht && cfg->saved[NODE_SAVED_DHT].data)
        n->lost[NODE_SAVED_DHT] = dht_restore(dht, now, cfg->saved[NODE_SAVED_DHT].data,
                                              cfg->saved[NODE_SAVED_DHT].len) != CV_ERR_OK;
    for (size_t i = 0; dht && i < cfg->bootstrap_count; i++)
        dht_bootstrap_add(dht, now, &cfg->bootstrap[i]);
    return dht;
}

static enum cv_err make_ledger(struct node *n, struct cv_now now) {
    const struct node_config *cfg = &n->cfg;
    if (!cfg->ledger_store || !cfg->relay)
        return CV_ERR_OK;
    struct rep_config r;
    rep_config_init(&r);
    r.identity_secret = cfg->identity_secret;
    memcpy(r.network_id, cfg->network_id, sizeof r.network_id);
    if (cfg->epoch_seconds)
        r.epoch_seconds = cfg->epoch_seconds;
    if (cfg->epoch_minimum)
        r.minimum_octets = cfg->epoch_minimum;
    r.seed = cv_rng_u64(n->rng);
    r.tokens_at_once = cfg->quick_start && !rep_is_world(cfg->network_id);
    enum cv_err err = rep_ledger_new(&r, cfg->ledger_store, n->rng, now, &n->ledger);
    cv_wipe(&r.identity_secret, sizeof r.identity_secret);
    return err;
}

enum cv_err node_new(const struct node_config *cfg, const struct cv_rng *rng, struct cv_now now,
                     struct node **ret) {
    struct node *n = calloc(1, sizeof *n);
    uint8_t *arena = malloc((size_t)NODE_SCRATCH_SLOTS * NODE_SCRATCH_STRIDE);
    uint8_t *read_buf = malloc(NODE_READ_OCTETS);
    struct node_swarm *swarms = calloc(NODE_SWARMS_MAX, sizeof *swarms);
    if (!n || !arena || !read_buf || !swarms) {
        free(n);
        free(swarms);
        free(arena);
        free(read_buf);
        return CV_ERR_NOMEM;
    }
    n->read_buf = read_buf;
    n->swarms = swarms;
    n->cfg = *cfg;
    n->rng = rng;
    n->now = n->clocks = now;
    n->scratch = cv_batch_init(arena, NODE_SCRATCH_SLOTS, NODE_SCRATCH_STRIDE, 0, n->scratch_runs,
                               NODE_SCRATCH_RUNS);
    n->announce_at = n->relay_lookup_at = CV_USEC_NEVER;
    bool tokens = cfg->relay && cfg->ledger_store && !cfg->own_elsewhere;
    n->priority.at = tokens ? now.mono : CV_USEC_NEVER;
    n->too_few_at = cv_usec_add(now.mono, NODE_TOO_FEW_AFTER);
    n->swarm_retry_at = cv_usec_add(now.mono, NODE_SWARM_RETRY);
    n->dial_at = n->way_at = n->drain_at = CV_USEC_NEVER;
    n->dht_save_at = cv_usec_add(now.mono, NODE_DHT_SAVE_EVERY);

    if (cfg->relay_workers > 1)
        cv_rng_fill(rng, n->worker_key, sizeof n->worker_key);
    node_upstream_begin(n, now);
    node_accounts_begin(n, now);
    n->dht = make_dht(n, now);
    n->client = make_tunnel(n, &now, false);
    n->relay = cfg->relay ? make_tunnel(n, &now, true) : NULL;
    n->exit = cfg->relay && cfg->exit ? node_exit_new(cfg, rng, now) : NULL;
    n->hidden = node_swarm_engine(n, NODE_SWARM_HIDDEN);
    n->direct = cfg->direct ? node_swarm_engine(n, NODE_SWARM_DIRECT) : NULL;
    enum cv_err err = make_ledger(n, now);
    if (!err && (!n->dht || !n->client || !n->hidden || (cfg->relay && !n->relay) ||
                 (cfg->relay && cfg->exit && !n->exit) || (cfg->direct && !n->direct)))
        err = CV_ERR_NOMEM;
    memset(n->cfg.saved, 0, sizeof n->cfg.saved); /* borrowed for this call only */
    if (err) {
        node_free(n);
        return err;
    }
    node_settle(n, now);
    *ret = n;
    return CV_ERR_OK;
}

struct node *node_free(struct node *n) {
    if (!n)
        return NULL;
    if (n->ledger)
        rep_ledger_flush(n->ledger, n->now);
    rep_ledger_free(n->ledger);
    ppsp_free(n->hidden);
    ppsp_free(n->direct);
    ppsp_free(n->open);
    for (size_t i = 0; i < NODE_SWARMS_MAX; i++) {
        free(n->swarms[i].way);
        free(n->swarms[i].leaving);
        free(n->swarms[i].pointing);
    }
    tun_free(n->client);
    tun_free(n->relay);
    node_exit_free(n->exit);
    dht_free(n->dht);
    for (size_t i = 0; i < NODE_SAVED_KINDS; i++)
        free(n->saved[i]);
    free(n->scratch.arena);
    free(n->read_buf);
    free(n->swarms);
    cv_wipe(&n->cfg.identity_secret, sizeof n->cfg.identity_secret);
    free(n);
    return NULL;
}

void node_saved(struct node *n, struct cv_now now, enum node_saved which) {
    if (which == NODE_SAVED_DESCRIPTOR && n->relay)
        tun_saved(n->relay, &now, TUN_BLOB_KEYRING);
    n->unsettled = true;
}

void node_save(struct node *n) {
    node_discovery_save(n);
    node_upstream_save(n);
    node_accounts_save(n);
}

void node_drain(struct node *n, struct cv_now now, bool on) {
    if (!n->relay)
        return;
    n->draining = on;
    n->drain_at = on ? now.mono : CV_USEC_NEVER;
    tun_drain(n->relay, on);
    n->unsettled = true;
}

void node_drop_circuits(struct node *n, struct cv_now now) {
    if (n->relay)
        tun_hops_end(n->relay, &now, 0);
    node_settle(n, now);
}

cv_usec node_drop_takes(uint32_t circuits, uint32_t workers) {
    if (circuits <= TUN_ENDINGS_BURST)
        return 0;
    if (workers > 2) /* not each has the same part of them */
        return CV_SEC(2) * circuits / workers / TUN_ENDINGS_S;
    return CV_SEC(1) * circuits / TUN_ENDINGS_S;
}

/* ---- several workers ---- */

static_assert((int)NODE_WORKERS_MAX == (int)TUN_WORKERS_MAX, "as many as the tunnel takes");

struct tunnel *node_worker_new(const struct node *n, struct cv_now now, unsigned worker,
                               const struct cv_rng *rng) {
    struct tun_config t = tunnel_config(n, /* relay= */ true);
    t.worker = (uint8_t)worker;
    return tun_new(&t, rng, &now);
}

struct tun_message *node_poll_message(struct node *n) {
    return n->relay ? tun_poll_message(n->relay) : NULL;
}

void node_on_lost(struct node *n, struct tun_message *m) {
    tun_on_lost(n->relay, m);
}

void node_on_message(struct node *n, struct cv_now now, struct tun_message *m) {
    const struct cv_addr *from;
    const uint8_t *buf;
    size_t len;
    if (tun_message_datagram(m, &from, &buf, &len)) {
        node_on_datagram(n, now, NODE_SOCKET_MAIN, from, buf, len);
        tun_message_free(m);
    } else {
        tun_on_message(n->relay, &now, m);
    }
    n->unsettled = true;
}

/* ---- the engine's verbs ---- */

static_assert((int)NODE_EXPECT == (int)TUN_EXPECT, "as the tunnel says");

void node_expect(struct node *n, enum node_socket socket, const uint8_t *buf, size_t len) {
    if (n->relay && socket == NODE_SOCKET_MAIN)
        tun_expect(n->relay, buf, len);
}

void node_on_datagram(struct node *n, struct cv_now now, enum node_socket socket,
                      const struct cv_addr *from, const uint8_t *buf, size_t len) {
    switch ((int)socket) {
    case NODE_SOCKET_MAIN:
        if (node_demux_is_tunnel(n, buf, len))
            tun_on_datagram(n->relay, &now, from, buf, len);
        else if (len >= 2 && buf[0] == 'd' && buf[len - 1] == 'e')
            dht_on_datagram(n->dht, now, from, buf, len);
        else
            n->counters.nobodys++;
        break;
    case NODE_SOCKET_OWN:
        if (!n->relay || !tun_on_elsewhere(n->relay, &now, from, buf, len))
            tun_on_datagram(n->client, &now, from, buf, len);
        break;
    case NODE_SOCKET_DIRECT:
        if (n->direct) {
            struct cv_endpoint ep = cv_endpoint_udp(from);
            ppsp_on_datagram(n->direct, now, &ep, buf, len);
        }
        break;
    default: /* EXIT and those behind it */
        node_exit_on_datagram(n, now, (unsigned)(socket - NODE_SOCKET_EXIT), from, buf, len);
        break;
    }
    n->unsettled = true;
}

/* Every entry but on_datagram settles at once; datagrams come in batches, and
 * settling once a batch is what keeps the engines fast. */
static void settle_if_needed(struct node *n, struct cv_now now) {
    if (!n->unsettled)
        return;
    n->unsettled = false;
    node_settle(n, now);
}

void node_on_timeout(struct node *n, struct cv_now now) {
    dht_on_timeout(n->dht, now);
    tun_on_timeout(n->client, &now);
    if (n->relay)
        tun_on_timeout(n->relay, &now);
    ppsp_on_timeout(n->hidden, now);
    if (n->direct)
        ppsp_on_timeout(n->direct, now);
    if (n->open)
        ppsp_on_timeout(n->open, now);
    if (n->ledger)
        rep_ledger_on_timeout(n->ledger, now);
    node_discovery_on_timeout(n, now);
    if (now.mono >= n->swarm_retry_at) {
        n->swarm_retry_at = cv_usec_add(now.mono, NODE_SWARM_RETRY);
        node_swarm_retry(n, now);
        node_route_compare(n, now);
    }
    node_openly_on_timeout(n, now);
    node_way_on_timeout(n, now);
    node_exit_on_timeout(n, now);
    if (now.mono >= n->drain_at) {
        n->drain_at = cv_usec_add(now.mono, CV_SEC(1));
        tun_hops_end(n->relay, &now, NODE_DRAIN_IDLE);
    }
    node_priority_on_timeout(n, now);
    n->unsettled = false;
    node_settle(n, now);
}

/* Circuits are emptied before more is put into them: a burst that is longer than a
 * circuit's queue is no reason to lose its end; and other workers take what they were sent
 * before they are sent more. `from` may be NULL. */
static void transmit(struct node *n, struct cv_now now, struct ppsp *from, struct tunnel *t,
                     struct cv_batch *batch) {
    bool more = from != NULL;
    while (!tun_poll_transmit(t, &now, batch) && more && tun_has_room(t))
        more = node_route_pump_some(n, now, from);
}

/* What our relay asks others from another port than its own. */
static void elsewhere(struct node *n, struct cv_now now, struct cv_batch *batch) {
    uint8_t *slot;
    struct cv_addr to;
    while (n->relay && (slot = cv_batch_slot(batch)) != NULL &&
           tun_poll_elsewhere(n->relay, &now, &to, slot)) {
        struct cv_endpoint ep = cv_endpoint_udp(&to);
        cv_batch_commit(batch, &ep, TUN_DATAGRAM);
    }
}

void node_poll_transmit(struct node *n, struct cv_now now, enum node_socket socket,
                        struct cv_batch *batch) {
    settle_if_needed(n, now);
    switch ((int)socket) {
    case NODE_SOCKET_MAIN:
        dht_poll_transmit(n->dht, now, batch);
        if (n->relay)
            transmit(n, now, n->open, n->relay, batch);
        break;
    case NODE_SOCKET_OWN:
        elsewhere(n, now, batch);
        transmit(n, now, n->hidden, n->client, batch);
        break;
    case NODE_SOCKET_DIRECT:
        if (n->direct)
            ppsp_poll_transmit(n->direct, now, batch);
        break;
    default: /* EXIT and those behind it */
        node_exit_poll_transmit(n, (unsigned)(socket - NODE_SOCKET_EXIT), batch);
        break;
    }
    node_settle(n, now);
}

cv_usec node_next_timeout(const struct node *n) {
    if (n->unsettled) /* every socket is blocked, or settling was cut short */
        return n->now.mono;
    cv_usec at = dht_next_timeout(n->dht);
    at = cv_usec_min(at, tun_next_timeout(n->client));
    at = cv_usec_min(at, ppsp_next_timeout(n->hidden));
    if (n->relay)
        at = cv_usec_min(at, tun_next_timeout(n->relay));
    if (n->direct)
        at = cv_usec_min(at, ppsp_next_timeout(n->direct));
    if (n->open)
        at = cv_usec_min(at, ppsp_next_timeout(n->open));
    if (n->ledger)
        at = cv_usec_min(at, rep_ledger_next_timeout(n->ledger));
    at = cv_usec_min(at, n->swarm_retry_at);
    at = cv_usec_min(at, n->dial_at);
    at = cv_usec_min(at, n->way_at);
    at = cv_usec_min(at, node_exit_next(n));
    at = cv_usec_min(at, n->drain_at);
    at = cv_usec_min(at, n->priority.at);
    return cv_usec_min(at, node_discovery_next(n));
}
