#include "scenarios/world.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "crypto/hash.h"
#include "crypto/rng_seeded.h"
#include "dht/dht.h"
#include "ppsp/build.h"
#include "ppsp/ppsp.h"

#define NETWORK "simulated"

static void *alloc(size_t size) {
    void *p = calloc(1, size ? size : 1);
    assert(p && "out of memory");
    return p;
}

/* ---- the DHT node that everybody begins with ---- */

struct world_boot {
    struct sim *sim;
    unsigned number;
    struct cv_addr addr[2]; /* of each family; [0] alone where there is one */
    struct dht *dht;
    struct dht_item item; /* found last; k zeros: none */
};

static void boot_on_datagram(void *ctx, struct cv_now now, unsigned socket,
                             const struct cv_addr *to, const struct cv_addr *from,
                             const uint8_t *buf, size_t len) {
    struct world_boot *b = ctx;
    (void)socket, (void)to;
    (void)dht_on_datagram(b->dht, now, from, buf, len);
}

static void boot_on_timeout(void *ctx, struct cv_now now) {
    struct world_boot *b = ctx;
    dht_on_timeout(b->dht, now);
}

static bool boot_poll_transmit(void *ctx, struct cv_now now, unsigned socket,
                               struct cv_batch *batch) {
    struct world_boot *b = ctx;
    (void)socket;
    dht_poll_transmit(b->dht, now, batch);
    return batch->slots_used > 0;
}

static bool boot_poll_events(void *ctx, struct cv_now now) {
    struct world_boot *b = ctx;
    struct dht_event ev;
    bool any = false;
    (void)now;
    while (dht_poll_event(b->dht, &ev)) {
        if (ev.kind == DHT_EVENT_ITEM)
            b->item = *ev.item;
        any = true;
    }
    return any;
}

static cv_usec boot_next_timeout(void *ctx) {
    struct world_boot *b = ctx;
    return dht_next_timeout(b->dht);
}

static const struct sim_node_ops boot_ops = {
    .on_datagram = boot_on_datagram,
    .on_timeout = boot_on_timeout,
    .poll_transmit = boot_poll_transmit,
    .poll_events = boot_poll_events,
    .next_timeout = boot_next_timeout,
};

static void bind_to(struct sim *sim, unsigned number, unsigned socket, const struct cv_addr *addr) {
    enum cv_err err = sim_bind(sim, number, socket, addr);
    assert(err == CV_ERR_OK);
    (void)err;
}

static struct world_boot *boot_new(struct sim *sim, bool six, bool mixed) {
    struct world_boot *b = alloc(sizeof *b);
    b->sim = sim;
    b->number = sim_add(sim, &boot_ops, b);
    b->addr[0] = six ? sim_addr6(b->number, 6881) : sim_addr(b->number, 6881);
    bind_to(sim, b->number, 0, &b->addr[0]);
    struct dht_config cfg = {.scope = DHT_SCOPE_PUBLIC, .ipv4 = !six, .ipv6 = six || mixed};
    *(six ? &cfg.external6 : &cfg.external4) = b->addr[0];
    if (mixed) {
        cfg.external6 = b->addr[1] = sim_addr6(b->number, 6881);
        bind_to(sim, b->number, 0, &b->addr[1]);
    }
    b->dht = dht_new(&cfg, sim_node_rng(sim, b->number), sim_node_now(sim, b->number));
    assert(b->dht);
    return b;
}

/* ---- a node, as the simulator sees it ---- */

static unsigned workers(const struct world_node *n) {
    return n->cfg.relay_workers > 1 ? n->cfg.relay_workers : 1;
}

static struct tun_message *poll_message(struct world_node *n, unsigned worker) {
    return worker ? tun_poll_message(n->workers[worker]) : node_poll_message(n->node);
}

static void deliver(struct world_node *n, struct cv_now now, struct tun_message *m) {
    if (m->to)
        tun_on_message(n->workers[m->to], &now, m);
    else
        node_on_message(n->node, now, m);
}

static void carry(struct world_node *n, struct cv_now now, struct tun_message *m) {
    if (m->counted && n->messages_lose && n->messages_counted++ % n->messages_lose == 0) {
        if (m->from)
            tun_on_lost(n->workers[m->from], m);
        else
            node_on_lost(n->node, m);
    } else if (m->to && m->to == n->worker_stalled) {
        m->next = NULL;
        *(n->waits ? n->waits_end : &n->waits) = m;
        n->waits_end = &m->next;
        n->messages_waited++;
    } else {
        deliver(n, now, m);
    }
}

/* Until none of a relay's workers has anything to tell. */
static void exchange(struct world_node *n, struct cv_now now) {
    unsigned count = workers(n);
    for (unsigned i = 0, quiet = 0; count > 1 && quiet < count; i = (i + 1) % count, quiet++) {
        struct tun_message *m;
        while ((m = poll_message(n, i)) != NULL) {
            quiet = 0;
            carry(n, now, m);
        }
    }
}

static bool has_time(const struct world_node *n, unsigned worker) {
    return worker == 0 || worker != n->worker_stalled;
}

void world_worker_resume(struct world_node *n) {
    struct cv_now now = sim_node_now(n->world->sim, n->number);
    struct tun_message *m;
    n->worker_stalled = 0;
    while ((m = n->waits) != NULL) {
        n->waits = m->next;
        deliver(n, now, m);
    }
    exchange(n, now);
    sim_touch(n->world->sim, n->number);
}

static void on_datagram(void *ctx, struct cv_now now, unsigned socket, const struct cv_addr *to,
                        const struct cv_addr *from, const uint8_t *buf, size_t len) {
    struct world_node *n = ctx;
    (void)to;
    unsigned count = workers(n);
    unsigned worker = 0; /* what the filter in the kernel does */
    if (count > 1 && socket == NODE_SOCKET_MAIN && len >= 4)
        worker = tun_worker_of(buf, count);
    if (!has_time(n, worker))
        return;
    if (worker && tun_is_ours(n->workers[worker], buf, len))
        (void)tun_on_datagram(n->workers[worker], &now, from, buf, len);
    else
        node_on_datagram(n->node, now, (enum node_socket)socket, from, buf, len);
    exchange(n, now);
}

static void on_timeout(void *ctx, struct cv_now now) {
    struct world_node *n = ctx;
    node_on_timeout(n->node, now);
    for (unsigned i = 1; i < workers(n); i++)
        if (has_time(n, i))
            tun_on_timeout(n->workers[i], &now);
    exchange(n, now);
}

static bool poll_transmit(void *ctx, struct cv_now now, unsigned socket, struct cv_batch *batch) {
    struct world_node *n = ctx;
    node_poll_transmit(n->node, now, (enum node_socket)socket, batch);
    for (unsigned i = 1; socket == NODE_SOCKET_MAIN && i < workers(n); i++)
        if (has_time(n, i))
            (void)tun_poll_transmit(n->workers[i], &now, batch);
    exchange(n, now);
    return batch->slots_used > 0;
}

static cv_usec next_timeout(void *ctx) {
    struct world_node *n = ctx;
    cv_usec at = node_next_timeout(n->node);
    for (unsigned i = 1; i < workers(n); i++)
        if (has_time(n, i))
            at = cv_usec_min(at, tun_next_timeout(n->workers[i]));
    return at;
}

static void save(struct world_node *n, struct cv_now now, const struct node_event *ev) {
    struct world_file *f = &n->files[ev->u.save.which];
    enum node_saved which = ev->u.save.which;
    free(f->data);
    f->data = alloc(ev->u.save.len);
    memcpy(f->data, ev->u.save.data, ev->u.save.len);
    f->len = ev->u.save.len;
    node_saved(n->node, now, which);
}

static void note(struct world_node *n, struct cv_now now, const struct node_event *ev) {
    switch (ev->kind) {
    case NODE_EVENT_DHT_READY:
        n->dht_ready = true;
        break;
    case NODE_EVENT_RELAY_READY:
        n->relay_ready = true;
        break;
    case NODE_EVENT_CLIENT_READY:
        n->client_ready = true;
        break;
    case NODE_EVENT_TOO_FEW_RELAYS:
        n->too_few++;
        break;
    case NODE_EVENT_SHARED:
        n->shared = true;
        break;
    case NODE_EVENT_NOBODY:
    case NODE_EVENT_NO_EXIT:
        n->nobody++;
        break;
    case NODE_EVENT_PEER_UP:
        n->peers_up++;
        break;
    case NODE_EVENT_PEER_DOWN:
        n->peers_down++;
        break;
    case NODE_EVENT_COMPLETE:
        n->complete = true;
        break;
    case NODE_EVENT_LEDGER_FAILED:
        n->ledger_failed = true;
        break;
    case NODE_EVENT_STORE_ERROR:
        n->store_errors++;
        break;
    case NODE_EVENT_SAVE:
        save(n, now, ev);
        break;
    case NODE_EVENT_ASKED:
    case NODE_EVENT_NO_BOOTSTRAP:
    case NODE_EVENT_CLOCK_OFF:
    case NODE_EVENT_CHUNKS_READY:
    case NODE_EVENT_LENGTH_DIFFERS:
    case NODE_EVENT_LIVE_TUNED:
    case NODE_EVENT_LIVE_DROPPED:
    case NODE_EVENT_LIVE_ENDED:
        break;
    case NODE_EVENT_RECORDINGS:
        n->recordings++;
        break;
    }
}

static bool poll_events(void *ctx, struct cv_now now) {
    struct world_node *n = ctx;
    struct node_event ev;
    bool any = false;
    while (node_poll_event(n->node, &ev)) {
        uint64_t words[2] = {ev.kind, ev.kind == NODE_EVENT_SAVE           ? ev.u.save.which
                                      : ev.kind == NODE_EVENT_CHUNKS_READY ? ev.u.range.first
                                                                           : 0};
        sim_event(n->world->sim, n->number, words, sizeof words);
        note(n, now, &ev);
        any = true;
    }
    exchange(n, now);
    return any;
}

static void open_swarm(struct world_node *n, struct cv_now now) {
    enum cv_err err = node_swarm_open(n->node, now, &n->swarm_cfg, &n->swarm);
    assert(err == CV_ERR_OK);
    (void)err;
}

static void start(struct world_node *n, struct cv_now now) {
    for (size_t i = 0; i < NODE_SAVED_KINDS; i++)
        n->cfg.saved[i] = (struct node_blob){n->files[i].data, n->files[i].len};
    n->dht_ready = n->relay_ready = n->client_ready = n->shared = n->complete = false;
    n->peers_up = n->peers_down = 0;
    enum cv_err err = node_new(&n->cfg, sim_node_rng(n->world->sim, n->number), now, &n->node);
    assert(err == CV_ERR_OK);
    (void)err;
    for (unsigned i = 1; i < workers(n); i++) {
        n->workers[i] = node_worker_new(n->node, now, i, sim_node_rng(n->world->sim, n->number));
        assert(n->workers[i]);
    }
    if (n->film)
        open_swarm(n, now);
}

static void stop(struct world_node *n) {
    struct tun_message *m;
    while ((m = n->waits) != NULL) {
        n->waits = m->next;
        tun_message_free(m);
    }
    n->worker_stalled = 0;
    for (unsigned i = 1; i < workers(n); i++)
        n->workers[i] = tun_free(n->workers[i]);
    n->node = node_free(n->node);
}

/* What freeing the node writes must not count: no goodbye to the disk. */
static void on_crash(void *ctx) {
    static const enum sim_store_call writes[] = {SIM_STORE_COMMIT, SIM_STORE_WRITE, SIM_STORE_TREE};
    struct world_node *n = ctx;
    if (n->store) {
        sim_store_crash(n->store);
        for (size_t i = 0; i < 3; i++)
            sim_store_fail(n->store, writes[i], CV_ERR_STORE, 1000);
    }
    if (n->ledger)
        rep_store_memory_fail(n->ledger, 1, CV_ERR_STORE);
    stop(n);
    for (size_t i = 0; n->store && i < 3; i++)
        sim_store_fail(n->store, writes[i], CV_ERR_OK, 0);
    if (n->ledger) {
        const struct rep_store *ops = rep_store_memory_ops(n->ledger);
        ops->rollback(ops->ctx);
        rep_store_memory_fail(n->ledger, 0, CV_ERR_OK);
    }
}

static void on_restart(void *ctx, struct cv_now now) {
    start(ctx, now);
}

static const struct sim_node_ops ops = {
    .on_datagram = on_datagram,
    .on_timeout = on_timeout,
    .poll_transmit = poll_transmit,
    .poll_events = poll_events,
    .next_timeout = next_timeout,
    .crash = on_crash,
    .restart = on_restart,
};

/* ---- the world ---- */

static struct world *world_begin(uint64_t seed, bool six, bool mixed) {
    struct world *w = alloc(sizeof *w);
    w->sim = sim_new(&(struct sim_config){.seed = seed});
    w->six = six;
    w->mixed = mixed;
    w->boot = boot_new(w->sim, six, mixed);
    return w;
}

struct world *world_new(uint64_t seed) {
    return world_begin(seed, /* six= */ false, /* mixed= */ false);
}

struct world *world_new_six(uint64_t seed) {
    return world_begin(seed, /* six= */ true, /* mixed= */ false);
}

struct world *world_new_mixed(uint64_t seed) {
    return world_begin(seed, /* six= */ false, /* mixed= */ true);
}

static void node_forget(struct world_node *n) {
    stop(n);
    for (size_t i = 0; i < NODE_SAVED_KINDS; i++)
        free(n->files[i].data);
    sim_store_free(n->store);
    rep_store_memory_free(n->ledger);
    free(n);
}

struct world *world_free(struct world *w) {
    if (!w)
        return NULL;
    for (unsigned i = 0; i < w->nodes_count; i++)
        node_forget(w->nodes[i]);
    for (unsigned i = 0; i < w->films_count; i++) {
        sim_store_free(w->films[i]->tree);
        free(w->films[i]->content);
        free(w->films[i]);
    }
    dht_free(w->boot->dht);
    free(w->boot);
    sim_free(w->sim);
    free(w);
    return NULL;
}

struct world_node *world_node_new(struct world *w, const struct world_node_config *cfg) {
    assert(w->nodes_count < WORLD_NODES_MAX);
    struct world_node *n = alloc(sizeof *n);
    uint8_t seed[CV_KEY], family = w->mixed ? cfg->family : w->six ? 6 : 4;
    n->world = w;
    n->number = sim_add(w->sim, &ops, n);
    sim_wall_skew(w->sim, n->number, cfg->clock_off);
    for (unsigned i = 0; i < (cfg->exit ? NODE_SOCKETS : NODE_SOCKET_EXIT); i++) {
        if (i == NODE_SOCKET_DIRECT && !cfg->direct)
            continue;
        uint16_t port = (uint16_t)(7000 + i);
        n->addr[i] = family == 6 ? sim_addr6(n->number, port) : sim_addr(n->number, port);
        bind_to(w->sim, n->number, i, &n->addr[i]);
        if (family == 0) {
            n->addr_too[i] = sim_addr6(n->number, port);
            bind_to(w->sim, n->number, i, &n->addr_too[i]);
        }
    }
    n->cfg = (struct node_config){.main_family = family,
                                  .own_family = family,
                                  .elsewhere = !cfg->one_port,
                                  .relay = cfg->relay,
                                  .exit = cfg->exit,
                                  .direct = cfg->direct,
                                  .direct_port = cfg->direct ? 7000 + NODE_SOCKET_DIRECT : 0,
                                  .relay_octets_s = cfg->relay_octets_s,
                                  .relay_workers = cfg->workers,
                                  .bootstrap = {w->boot->addr[0], w->boot->addr[1]},
                                  .bootstrap_count = w->mixed ? 2 : 1,
                                  .gate_off = cfg->gate_off,
                                  .spare_upstream = cfg->spare_upstream,
                                  .quick_start = !cfg->strangers};
    node_network_id(NETWORK, n->cfg.network_id);
    cv_rng_fill(sim_node_rng(w->sim, n->number), seed, sizeof seed);
    cv_ed25519_from_seed(&n->cfg.identity_secret, seed);
    if (cfg->relay) {
        n->cfg.relay_addrs[0] = n->addr[NODE_SOCKET_MAIN];
        n->cfg.relay_addrs[1] = n->addr_too[NODE_SOCKET_MAIN];
        n->cfg.relay_addrs_count = family ? 1 : 2;
        n->ledger = rep_store_memory_new();
        assert(n->ledger);
        n->cfg.ledger_store = rep_store_memory_ops(n->ledger);
    }
    w->nodes[w->nodes_count++] = n;
    start(n, sim_node_now(w->sim, n->number));
    return n;
}

void world_relays(struct world *w, unsigned count) {
    for (unsigned i = 0; i < count; i++)
        world_node_new(w, &(struct world_node_config){.relay = true});
}

void world_links(struct world *w, cv_usec delay_min, cv_usec delay_max, uint32_t loss_ppm) {
    for (unsigned b = 0; b <= w->nodes_count; b++) /* number 0 is the DHT node */
        for (unsigned a = 0; a < b; a++)
            sim_link(
                w->sim, a, b,
                &(struct sim_path){.delay = cv_rng_between(sim_rng(w->sim), delay_min, delay_max),
                                   .loss_ppm = loss_ppm});
}

/* ---- films ---- */

static void build_tree(const struct world_film *f, struct sim_store *store, uint8_t *ret_root) {
    struct ppsp_build b;
    uint8_t leaf[WORLD_HASH];
    enum cv_err err = CV_ERR_OK;
    ppsp_build_init(&b, CV_SHA256, &sim_store_ops, store);
    for (uint64_t at = 0; at < f->octets && !err; at += WORLD_CHUNK) {
        uint64_t len = f->octets - at < WORLD_CHUNK ? f->octets - at : WORLD_CHUNK;
        ppsp_build_leaf(CV_SHA256, f->content + at, len, leaf);
        err = ppsp_build_add(&b, leaf);
    }
    if (!err)
        err = ppsp_build_end(&b, ret_root);
    assert(err == CV_ERR_OK);
}

struct world_film *world_film_new(struct world *w, uint64_t octets) {
    assert(w->films_count < WORLD_FILMS_MAX);
    struct world_film *f = alloc(sizeof *f);
    f->octets = octets;
    f->content = alloc(octets);
    cv_rng_fill(sim_rng(w->sim), f->content, octets);
    f->tree = sim_store_new(WORLD_CHUNK, WORLD_HASH, octets, sim_rng(w->sim));
    f->uri = (struct node_uri){.kind = NODE_URI_VOD,
                               .integrity = PPSP_INTEGRITY_MERKLE,
                               .hash = CV_SHA256,
                               .addressing = PPSP_ADDRESSING_CHUNK32,
                               .chunk_size = WORLD_CHUNK,
                               .swarm_id_len = WORLD_HASH,
                               .name = "film",
                               .length = octets};
    node_network_id(NETWORK, f->uri.network_id);
    build_tree(f, f->tree, f->uri.swarm_id);
    w->films[w->films_count++] = f;
    return f;
}

static void open_film(struct world_node *n, const struct world_film *f, enum world_role role,
                      const struct node_swarm_config *cfg) {
    struct sim *s = n->world->sim;
    assert(!n->film && n->node);
    n->film = f;
    n->store = sim_store_new(WORLD_CHUNK, WORLD_HASH, f->octets, sim_node_rng(s, n->number));
    if (role == WORLD_SEEDER) {
        uint8_t root[WORLD_HASH];
        sim_store_fill(n->store, f->content, f->octets);
        build_tree(f, n->store, root);
        sim_store_ops.commit(n->store);
    }
    n->swarm_cfg = *cfg;
    n->swarm_cfg.uri = f->uri;
    n->swarm_cfg.store = &sim_store_ops;
    n->swarm_cfg.store_ctx = n->store;
    n->swarm_cfg.complete = role == WORLD_SEEDER;
    open_swarm(n, sim_node_now(s, n->number));
    sim_touch(s, n->number);
}

void world_open(struct world_node *n, const struct world_film *f, enum world_role role,
                uint64_t upload_limit, bool fetch_all) {
    open_film(n, f, role,
              &(struct node_swarm_config){.fetch_all = fetch_all, .upload_limit = upload_limit});
}

void world_open_with(struct world_node *n, const struct world_film *f, enum world_role role,
                     const struct node_swarm_config *cfg) {
    struct node_swarm_config copy = *cfg; /* it may be the node's own */
    open_film(n, f, role, &copy);
}

void world_open_at(struct world_node *n, const struct world_film *f, enum world_role role,
                   const struct world_node *at, bool fetch_all) {
    struct node_swarm_config cfg = {.mode = NODE_SWARM_OPEN, .fetch_all = fetch_all};
    memcpy(cfg.at, at->cfg.identity_secret.public_key, sizeof cfg.at);
    open_film(n, f, role, &cfg);
}

/* ---- who is who ---- */

struct world_node *world_by_pseudonym(const struct world *w, const char *pseudonym) {
    for (unsigned i = 0; i < w->nodes_count; i++) {
        char hex[NODE_PSEUDONYM + 1];
        cv_hex(w->nodes[i]->cfg.identity_secret.public_key, NODE_PSEUDONYM / 2, hex);
        if (w->nodes[i]->cfg.relay && strcmp(hex, pseudonym) == 0)
            return w->nodes[i];
    }
    return NULL;
}

static bool stands_in(const struct node_peer_status *p, const char *relay) {
    for (unsigned i = 0; i < p->hops; i++)
        if (strcmp(p->path[i], relay) == 0)
            return true;
    return false;
}

unsigned world_ways_of(const struct world_node *viewer, const struct world_node *seeder,
                       const struct world_node *relay) {
    struct node_peer_status v, o;
    char name[NODE_PSEUDONYM + 1];
    unsigned count = 0;
    cv_hex(relay->cfg.identity_secret.public_key, NODE_PSEUDONYM / 2, name);
    for (size_t i = 0; node_peer_status(viewer->node, viewer->swarm, i, &v); i++) {
        bool there = stands_in(&v, name);
        for (size_t k = 0; node_peer_status(seeder->node, seeder->swarm, k, &o); k++)
            there |= v.hops && o.hops && strcmp(v.path[v.hops - 1], o.path[o.hops - 1]) == 0 &&
                     stands_in(&o, name);
        count += there;
    }
    return count;
}

void world_account_key(const struct world_node *client, const struct world_node *relay,
                       uint8_t ret[CV_KEY]) {
    struct cv_ed25519_secret account_secret;
    uint8_t seed[CV_KEY];
    CV_BLAKE2B(seed, sizeof seed, client->cfg.identity_secret.seed, CV_KEY, {"guard account", 13},
               {relay->cfg.identity_secret.public_key, CV_KEY});
    cv_ed25519_from_seed(&account_secret, seed);
    memcpy(ret, account_secret.public_key, CV_KEY);
}

bool world_contains(const struct sim_datagram *d, const void *what, size_t n) {
    for (size_t i = 0; i + n <= d->len; i++)
        if (memcmp(d->buf + i, what, n) == 0)
            return true;
    return false;
}

bool world_asks_item(const struct sim_datagram *d) {
    return d->buf[0] == 'd' &&
           (world_contains(d, "1:q3:get", 8) || world_contains(d, "1:q3:put", 8));
}

/* ---- readers ---- */

#define TICK CV_MSEC(100)

static bool take(struct world_reader *r, uint64_t len) {
    uint8_t buf[4096];
    while (len) {
        ssize_t got = node_read(r->node->node, r->node->swarm, r->at, buf,
                                len < sizeof buf ? len : sizeof buf);
        if (got <= 0)
            return false;
        r->wrong |= memcmp(buf, r->node->film->content + r->at, (size_t)got) != 0;
        r->at += (uint64_t)got;
        len -= (uint64_t)got;
    }
    return true;
}

static void tick(struct sim *s, void *ctx) {
    struct world_reader *r = ctx;
    struct world_node *n = r->node;
    uint64_t left = n->film->octets - r->at;
    if (!left)
        return;
    sim_at(s, sim_now(s) + TICK, tick, r);
    if (!n->node || !sim_is_up(s, n->number))
        return;
    uint64_t ahead = node_available(n->node, n->swarm, r->at);
    uint64_t step = r->rate / 10 < left ? r->rate / 10 : left;
    if (!r->begun_at) {
        if (ahead < (r->buffer < left ? r->buffer : left))
            return;
        r->begun_at = sim_now(s);
        r->least = ahead;
    }
    r->least = ahead < r->least && ahead < left ? ahead : r->least;
    if (ahead < step || !take(r, step)) {
        r->waits += !r->waiting;
        r->waited += TICK;
        r->waiting = true;
        node_starves(n->node, sim_node_now(s, n->number), n->swarm);
        sim_touch(s, n->number);
    } else {
        r->waiting = false;
    }
}

void world_read(struct world_reader *r, struct world_node *n, uint64_t rate, uint64_t buffer) {
    struct sim *s = n->world->sim;
    uint64_t want;
    *r = (struct world_reader){.node = n, .rate = rate, .buffer = buffer};
    enum cv_err err = node_want(n->node, sim_node_now(s, n->number), n->swarm, 0,
                                n->film->octets - 1, rate, &want);
    assert(err == CV_ERR_OK);
    (void)err;
    sim_touch(s, n->number);
    sim_at(s, sim_now(s) + TICK, tick, r);
}

/* ---- things to wait for ---- */

bool world_relays_ready(void *ctx) {
    const struct world *w = ctx;
    for (unsigned i = 0; i < w->nodes_count; i++)
        if (w->nodes[i]->cfg.relay && w->nodes[i]->node && !w->nodes[i]->relay_ready)
            return false;
    return true;
}

bool world_clients_ready(void *ctx) {
    const struct world *w = ctx;
    for (unsigned i = 0; i < w->nodes_count; i++)
        if (w->nodes[i]->node && !w->nodes[i]->client_ready)
            return false;
    return true;
}

bool world_shared(void *ctx) {
    const struct world *w = ctx;
    for (unsigned i = 0; i < w->nodes_count; i++) {
        const struct world_node *n = w->nodes[i];
        if (n->node && n->film && n->swarm_cfg.complete && !n->shared)
            return false;
    }
    return true;
}

bool world_all_complete(void *ctx) {
    const struct world *w = ctx;
    for (unsigned i = 0; i < w->nodes_count; i++) {
        const struct world_node *n = w->nodes[i];
        struct node_swarm_status st;
        if (!n->node || !n->film || n->swarm_cfg.complete || n->complete)
            continue;
        /* complete already when it was opened, after a restart: nobody says so */
        if (!node_swarm_status(n->node, 0, &st) || st.have < st.length)
            return false;
    }
    return true;
}

bool world_stores_match(const struct world *w) {
    for (unsigned i = 0; i < w->nodes_count; i++) {
        const struct world_node *n = w->nodes[i];
        if (n->film && !sim_store_matches(n->store, n->film->content, n->film->octets))
            return false;
    }
    return true;
}

/* ---- the world that the simulator's speed is measured in ---- */

void world_hour(uint64_t seed, unsigned nodes, unsigned relays, unsigned streams, unsigned minutes,
                struct world_figures *ret) {
    enum { RATE = 125000 };
    static struct world_reader readers[WORLD_FILMS_MAX];
    struct world *w = world_new(seed);
    cv_usec end = CV_SEC(60) * minutes;
    assert(streams <= WORLD_FILMS_MAX && nodes >= relays + 2 * streams && minutes > 1);
    world_relays(w, relays);
    for (unsigned i = relays; i < nodes; i++)
        world_node_new(w, &(struct world_node_config){0});
    world_links(w, CV_MSEC(5), CV_MSEC(30), 0);
    sim_run(w->sim, CV_SEC(10));
    for (unsigned i = 0; i < streams; i++) {
        const struct world_film *f = world_film_new(w, RATE * 60 * (uint64_t)(minutes - 1));
        world_open(w->nodes[relays + 2 * i], f, WORLD_SEEDER, 0, false);
        world_open(w->nodes[relays + 2 * i + 1], f, WORLD_VIEWER, 0, false);
        world_read(&readers[i], w->nodes[relays + 2 * i + 1], RATE, 5 * RATE);
    }
    sim_run(w->sim, end);
    *ret = (struct world_figures){.nodes = nodes,
                                  .node_hours = (double)nodes * minutes / 60,
                                  .datagrams = sim_counters(w->sim)->sent,
                                  .timeouts = sim_counters(w->sim)->timeouts,
                                  .digest = sim_digest(w->sim),
                                  .played = true};
    for (unsigned i = 0; i < streams; i++) {
        ret->waits += readers[i].waits;
        ret->played &= !readers[i].wrong && readers[i].at == readers[i].node->film->octets;
    }
    world_free(w);
}

/* ---- the DHT, as anybody could use it ---- */

void world_dht_put(struct world *w, const struct dht_item *item) {
    struct world_boot *b = w->boot;
    dht_op op;
    enum cv_err err = dht_put(b->dht, sim_node_now(w->sim, b->number), item, NULL, &op);
    assert(err == CV_ERR_OK);
    (void)err;
    sim_touch(w->sim, b->number);
}

bool world_dht_get(struct world *w, const uint8_t key[CV_KEY], struct dht_item *ret) {
    struct world_boot *b = w->boot;
    dht_op op;
    memset(&b->item, 0, sizeof b->item);
    enum cv_err err =
        dht_get_mutable(b->dht, sim_node_now(w->sim, b->number), key, NULL, 0, -1, &op);
    assert(err == CV_ERR_OK);
    (void)err;
    sim_touch(w->sim, b->number);
    sim_run(w->sim, sim_now(w->sim) + CV_SEC(20));
    *ret = b->item;
    return memcmp(ret->k, key, CV_KEY) == 0;
}
