#include "tunnel/tests/village.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "tunnel/bodies.h"
#include "tunnel/hiddenstate.h"
#include "tunnel/relaycmd.h"
#include "tunnel/tests/lasthop.h"

/* ---- the table ---- */

static struct tun_item *find(struct village *v, const uint8_t *key) {
    for (unsigned i = 0; i < v->items; i++) {
        if (memcmp(v->item[i].key, key, CV_KEY) == 0)
            return &v->item[i];
    }
    return NULL;
}

const struct tun_item *village_item(const struct village *v, const uint8_t *key) {
    return find((struct village *)(uintptr_t)v, key);
}

static void write_down(struct village *v, const uint8_t *key, unsigned relay, bool put,
                       bool stored) {
    if (v->logged == VILLAGE_LOG)
        return;
    struct village_asked *a = &v->log[v->logged++];
    *a = (struct village_asked){.relay = relay, .put = put, .stored = stored};
    memcpy(a->key, key, CV_KEY);
}

unsigned village_relays_stored(const struct village *v, const uint8_t *key) {
    bool seen[WORLD_NODES] = {false};
    unsigned n = 0;
    for (unsigned i = 0; i < v->logged; i++) {
        const struct village_asked *a = &v->log[i];
        if (!a->stored || seen[a->relay] || memcmp(a->key, key, CV_KEY) != 0)
            continue;
        seen[a->relay] = true;
        n++;
    }
    return n;
}

bool village_asked_twice(const struct village *v, const uint8_t *key) {
    unsigned n = 0, before = 0;
    for (unsigned i = 0; i < v->logged; i++) {
        const struct village_asked *a = &v->log[i];
        if (a->put || memcmp(a->key, key, CV_KEY) != 0)
            continue;
        if (n++ % 2 == 1 && before == a->relay)
            return false;
        before = a->relay;
    }
    return n >= 2;
}

/* What this relay says is there. */
static const struct tun_item *said(struct village *v, unsigned relay, const uint8_t *key) {
    if (v->forgets || v->manner[relay] == VILLAGE_CENSOR)
        return NULL;
    return v->manner[relay] == VILLAGE_STALE ? &v->stale : find(v, key);
}

static void lookup(struct village *v, struct world_node *n, const struct cv_now *now,
                   const struct tun_event *ev, struct cv_rd *rd) {
    struct tun_lookup q;
    if (tun_lookup_read(rd, &q) || q.kind != TUN_LOOKUP_ITEMS)
        return;
    v->lookups++;
    v->asked = n->id;
    bool silent = v->manner[n->id] == VILLAGE_SILENT;
    for (unsigned i = 0; i < (v->stingy ? 1 : q.n); i++) {
        write_down(v, q.keys + i * CV_KEY, n->id, false, false);
        const struct tun_item *item = said(v, n->id, q.keys + i * CV_KEY);
        if (!silent)
            lasthop_result(n->t, now, ev, i, item);
    }
}

/* Stores it as a node of the DHT would: what it says of it. */
static struct tun_put_done table_put(struct village *v, const struct tun_put *q,
                                     const struct tun_item *fresh) {
    struct tun_put_done done = {.stored = 8};
    struct tun_item *item = find(v, fresh->key);
    bool same = item && item->seq == fresh->seq && memcmp(item, fresh, sizeof *item) == 0;
    if (v->forgets)
        done.stored = 0;
    else if (item && !same && q->has_cas && (int64_t)q->cas != item->seq)
        done.error = 301;
    else if (item && !same && fresh->seq <= item->seq)
        done.error = 302;
    if (done.error)
        done.stored = 0;
    v->refused += done.error != 0;
    if (done.stored && !item)
        item = &v->item[v->items++];
    assert(v->items <= VILLAGE_ITEMS);
    if (done.stored)
        *item = *fresh;
    return done;
}

static void put(struct village *v, struct world_node *n, const struct cv_now *now,
                const struct tun_event *ev, struct cv_rd *rd) {
    struct tun_put q;
    if (tun_put_read(rd, &q))
        return;
    v->puts++;
    const struct tun_item fresh = lasthop_item(&q);
    struct tun_put_done done = {.stored = 8};
    if (v->manner[n->id] == VILLAGE_SILENT)
        return;
    if (v->manner[n->id] == VILLAGE_REFUSE)
        done = (struct tun_put_done){.error = 301};
    else if (v->manner[n->id] == VILLAGE_HONEST)
        done = table_put(v, &q, &fresh);
    write_down(v, q.public_key, n->id, true, done.stored > 0 && v->manner[n->id] == VILLAGE_HONEST);
    lasthop_put_done(n->t, now, ev, &done);
}

/* ---- nodes ---- */

static void peer_up(struct village *v, const struct world_node *n, const struct tun_event *ev) {
    assert(v->peers < VILLAGE_PEERS);
    v->peer[v->peers++] = (struct village_peer){.node = n->id,
                                                .hidden = ev->peer_up.hidden,
                                                .endpoint = ev->peer_up.endpoint,
                                                .at = sim_now(v->w->sim),
                                                .up = true};
}

static void peer_down(struct village *v, const struct world_node *n, const struct tun_event *ev) {
    for (unsigned i = 0; i < v->peers; i++) {
        struct village_peer *p = &v->peer[i];
        if (p->up && p->node == n->id && cv_endpoint_equal(&p->endpoint, &ev->peer_down.endpoint)) {
            p->up = false;
            return;
        }
    }
    assert(false && "PEER_DOWN of a peer that was not up");
}

static void on_event(struct world_node *n, const struct cv_now *now, const struct tun_event *ev) {
    struct village *v = n->ctx;
    if (ev->kind == TUN_EVENT_NEED_CONTACTS) {
        for (unsigned i = 0; i < v->w->nodes; i++) {
            if (!v->w->node[i].cfg.relay || !sim_is_up(v->w->sim, i))
                continue;
            (void)tun_contact(n->t, now, &v->w->node[i].addr);
            (void)tun_contact(n->t, now, &v->w->node[i].addr_too);
        }
    } else if (ev->kind == TUN_EVENT_REQUEST) {
        struct tun_body b;
        struct cv_rd rd =
            tun_body_rd(&b, ev->request.transaction, ev->request.body, ev->request.len);
        if (ev->request.command == TUN_CMD_LOOKUP)
            lookup(v, n, now, ev, &rd);
        else if (ev->request.command == TUN_CMD_PUT)
            put(v, n, now, ev, &rd);
    } else if (ev->kind == TUN_EVENT_SAVE && ev->save.which == TUN_BLOB_GUARDS) {
        memcpy(v->guards[n->id], ev->save.blob, ev->save.len);
        v->guards_len[n->id] = ev->save.len;
    } else if (ev->kind == TUN_EVENT_PEER_UP) {
        peer_up(v, n, ev);
    } else if (ev->kind == TUN_EVENT_PEER_DOWN) {
        peer_down(v, n, ev);
    }
}

static unsigned settle(struct village *v, unsigned node) {
    struct world_node *n = &v->w->node[node];
    n->on_event = on_event;
    n->ctx = v;
    n->keep_datagrams = true;
    return node;
}

struct village *village_new(const struct sim_config *cfg, unsigned relays) {
    struct village *v = calloc(1, sizeof *v);
    assert(v);
    v->w = world_new(cfg);
    v->w->whole = true;
    for (unsigned i = 0; i < relays; i++)
        village_relay(v);
    return v;
}

unsigned village_relay(struct village *v) {
    return settle(v, world_relay(v->w, &(struct tun_config){.gate = true,
                                                            .hurry = true,
                                                            .version = v->version,
                                                            .measure_from = v->measure_from}));
}

void village_free(struct village *v) {
    world_free(v->w);
    free(v);
}

unsigned village_client(struct village *v) {
    return village_client_with(v, NULL, 0);
}

unsigned village_client_with(struct village *v, const void *guards, size_t len) {
    struct tun_config cfg = {.hurry = true, .version = v->version, .measure_from = v->measure_from};
    cfg.blob[TUN_BLOB_GUARDS] = guards;
    cfg.blob_len[TUN_BLOB_GUARDS] = len;
    return settle(v, world_client(v->w, &cfg));
}

cv_handle village_view(struct village *v, unsigned node, const char *swarm) {
    struct cv_now now = world_now(v->w, node);
    cv_handle h;
    enum cv_err err = tun_hidden_view(v->w->node[node].t, &now, swarm, strlen(swarm), NULL, &h);
    assert(err == CV_ERR_OK);
    sim_touch(v->w->sim, node);
    return h;
}

cv_handle village_share(struct village *v, unsigned node, const char *swarm, bool viewer) {
    struct cv_now now = world_now(v->w, node);
    cv_handle h;
    enum cv_err err =
        tun_hidden_share(v->w->node[node].t, &now, swarm, strlen(swarm), NULL, viewer, &h);
    assert(err == CV_ERR_OK);
    sim_touch(v->w->sim, node);
    return h;
}

struct tun_hidden *village_hidden(const struct village *v, unsigned node, cv_handle hidden) {
    const struct tun_hiddens *all = tun_attached(v->w->node[node].t, TUN_USER_HIDDEN);
    return tun_handles_get(&all->swarms, hidden);
}

unsigned village_up(const struct village *v, unsigned node, cv_handle hidden) {
    unsigned n = 0;
    for (unsigned i = 0; i < v->peers; i++)
        n += v->peer[i].up && v->peer[i].node == node && v->peer[i].hidden == hidden;
    return n;
}

struct waiting {
    const struct village *v;
    unsigned node, peers;
    cv_handle hidden;
};

static bool met(void *ctx) {
    const struct waiting *w = ctx;
    return village_up(w->v, w->node, w->hidden) >= w->peers;
}

bool village_meet(struct village *v, unsigned node, cv_handle hidden, unsigned peers,
                  cv_usec within) {
    struct waiting w = {.v = v, .node = node, .peers = peers, .hidden = hidden};
    return sim_run_while_not(v->w->sim, met, &w, sim_now(v->w->sim) + within);
}

enum cv_err village_say(struct village *v, unsigned node, cv_handle hidden, unsigned i,
                        const void *buf, size_t len) {
    for (unsigned k = 0; k < v->peers; k++) {
        const struct village_peer *p = &v->peer[k];
        if (!p->up || p->node != node || p->hidden != hidden || i-- > 0)
            continue;
        struct cv_now now = world_now(v->w, node);
        enum cv_err err = tun_send(v->w->node[node].t, &now, &p->endpoint, buf, len);
        sim_touch(v->w->sim, node);
        return err;
    }
    return CV_ERR_NOENT;
}
