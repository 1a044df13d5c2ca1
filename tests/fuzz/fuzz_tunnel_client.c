/*
 * A viewer and a hidden seeder, whole engines, on seven relays of which every one is
 * hostile when the input says so: it says any command with any body back along any
 * circuit that passes it, lies about what the DHT holds, falls silent, tears circuits
 * down; and as peer, somebody who knows the swarm writes slots, asks the seeder to come,
 * answers in a seeder's place and speaks once it is joined. The input is a script: how
 * far viewer and seeder are when it begins, then one step after another.
 *
 * Property: no crash, no assertion, no leak; once served, an engine's next deadline lies
 * in the future; every circuit of a hidden swarm is somebody's and ends with the swarm;
 * PEER_UP and PEER_DOWN come in turns and agree with the peers that are counted; nobody
 * is up at a viewer who did not prove a service key; what a peer is said to have sent
 * was sealed by one; no path breaks a rule.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/hash.h"
#include "crypto/rng_seeded.h"
#include "fuzz/network.h"
#include "tunnel/bodies.h"
#include "tunnel/core.h"
#include "tunnel/directory.h"
#include "tunnel/hiddenstate.h"
#include "tunnel/tests/lasthop.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
    RELAYS = 7,
    VIEWER = RELAYS,
    SEEDER,
    PARTIES,
    SWARMS = 6,
    PEERS = 64,
    ITEMS = 24,
    EVILS = 4,
    STEPS = 60,
    SERVED = 6000, /* times that all engines are served, in one input */
    QUEUE_OCTETS = 512 * 1024,
};

#define NETWORK ((const uint8_t *)"fuzz-net")
static const char film[] = "film", genuine[] = "sealed", *const other_film = "other";

/* What a relay does as the last hop of look-ups and puts. */
enum manner { HONEST, SILENT, NOTHING, REFUSES, LIES, MANNERS };

struct party {
    struct tunnel *t;
    struct cv_addr addr;
    struct cv_ed25519_secret identity_secret;
    struct cv_rng_seeded seed;
    struct cv_rng rng;
    enum manner manner;
    /* a relay's descriptor, opened once a day */
    uint8_t raw[TUN_DESCRIPTOR_MAX];
    struct tun_descriptor desc;
};

/* Somebody up, as the node was told. */
struct peer {
    unsigned party;
    cv_handle hidden;
    struct cv_endpoint endpoint;
};

struct world {
    struct party party[PARTIES];
    struct network net;
    struct cv_rng_seeded seed;
    struct cv_rng rng;
    struct tun_swarm_secret swarm;
    struct swarm {
        unsigned party;
        cv_handle handle;
    } swarms[SWARMS];
    struct peer peer[PEERS];
    unsigned peers;
    unsigned proofs, ups; /* times that a service key was used, peers that came up at viewers */
    struct tun_item item[ITEMS];
    unsigned items;
    struct cv_x25519_secret evil_service;
    struct cv_ed25519_secret evil_auth;
    struct evil { /* a joined road whose other end is hostile */
        unsigned party;
        cv_handle circuit;
        struct tun_e2e e2e;
    } evil[EVILS];
    struct cv_noise asked; /* of an introduction of ours */
    bool has_asked;
};

/* ---- relays ---- */

static const struct tun_descriptor *descriptor(struct world *w, unsigned i, size_t *ret_len) {
    struct party *p = &w->party[i];
    const uint8_t *raw = tun_own_descriptor(p->t, w->net.now.wall, ret_len);
    if (!raw)
        return NULL;
    if (memcmp(raw, p->raw, *ret_len) != 0) {
        memcpy(p->raw, raw, *ret_len);
        enum cv_err err = tun_descriptor_open(p->raw, *ret_len, NETWORK, &p->desc);
        assert(!err);
    }
    return &p->desc;
}

static enum cv_err find_relay(void *ctx, const uint8_t identity[CV_KEY], uint32_t day,
                              struct tun_relay_ref *ret, const uint8_t **ret_descriptor,
                              size_t *ret_len) {
    struct world *w = ctx;
    size_t len;
    for (unsigned i = 0; i < RELAYS; i++) {
        const struct tun_descriptor *d = descriptor(w, i, &len);
        if (!d || memcmp(d->identity, identity, CV_KEY) != 0 || d->day != day)
            continue;
        tun_descriptor_ref(d, w->net.now.wall, ret);
        if (ret_descriptor) {
            *ret_descriptor = w->party[i].raw;
            *ret_len = len;
        }
        return CV_ERR_OK;
    }
    return CV_ERR_NOENT;
}

static const struct tun_user_ops ops = {.find_relay = find_relay};

static int relay_of(const struct world *w, const uint8_t identity[CV_KEY]) {
    for (unsigned i = 0; i < RELAYS; i++)
        if (memcmp(w->party[i].identity_secret.public_key, identity, CV_KEY) == 0)
            return (int)i;
    return -1;
}

/* What everybody would have told a client of the relays that there are. */
static void tell_relays(struct world *w, unsigned party) {
    struct tun_directory *dir = tun_client_directory(w->party[party].t);
    size_t len;
    for (unsigned i = 0; i < RELAYS; i++)
        if (descriptor(w, i, &len))
            (void)tun_client_show(w->party[party].t, &w->net.now, w->party[i].raw, len);
    for (unsigned i = 0; i < RELAYS; i++) {
        const struct tun_descriptor *d = descriptor(w, i, &len);
        for (unsigned by = 0; d && by < RELAYS; by++)
            (void)tun_directory_claim(dir, w->net.now.wall, d->identity, d->day, d->digest,
                                      w->party[by].identity_secret.public_key, NULL, 0);
    }
}

/* ---- the DHT, as the last hops of circuits say it is ---- */

static struct tun_item *item_find(struct world *w, const uint8_t *key) {
    for (unsigned i = 0; i < w->items; i++)
        if (memcmp(w->item[i].key, key, CV_KEY) == 0)
            return &w->item[i];
    return NULL;
}

static void item_put(struct world *w, const struct tun_item *fresh) {
    struct tun_item *at = item_find(w, fresh->key);
    if (!at && w->items < ITEMS)
        at = &w->item[w->items++];
    if (at)
        *at = *fresh;
}

static void on_lookup(struct world *w, struct party *p, const struct tun_event *ev,
                      struct cv_rd *rd) {
    struct tun_lookup q;
    if (tun_lookup_read(rd, &q) || q.kind != TUN_LOOKUP_ITEMS || p->manner == SILENT)
        return;
    for (unsigned i = 0; i < q.n; i++) {
        const struct tun_item *item = item_find(w, q.keys + i * CV_KEY);
        if (p->manner == NOTHING || p->manner == REFUSES)
            item = NULL;
        else if (p->manner == LIES && w->items)
            item = &w->item[i % w->items];
        lasthop_result(p->t, &w->net.now, ev, i, item);
    }
}

static void on_put(struct world *w, struct party *p, const struct tun_event *ev, struct cv_rd *rd) {
    struct tun_put q;
    if (tun_put_read(rd, &q) || p->manner == SILENT)
        return;
    const struct tun_item fresh = lasthop_item(&q);
    struct tun_put_done done = {.stored = p->manner != NOTHING ? 8 : 0};
    const struct tun_item *old = item_find(w, fresh.key);
    if (p->manner == REFUSES || (p->manner == HONEST && old && fresh.seq <= old->seq))
        done = (struct tun_put_done){.error = 302};
    else if (p->manner == HONEST)
        item_put(w, &fresh);
    lasthop_put_done(p->t, &w->net.now, ev, &done);
}

/* ---- what the nodes are told ---- */

static bool is_viewers(const struct world *w, unsigned party, cv_handle hidden) {
    struct tun_hidden_info info;
    return tun_hidden_info(w->party[party].t, hidden, &info) == CV_ERR_OK && !info.seeder;
}

static void peer_gone(struct world *w, unsigned i) {
    w->peer[i] = w->peer[--w->peers];
}

static int peer_find(const struct world *w, unsigned party, const struct cv_endpoint *endpoint) {
    for (unsigned i = 0; i < w->peers; i++)
        if (w->peer[i].party == party && cv_endpoint_equal(&w->peer[i].endpoint, endpoint))
            return (int)i;
    return -1;
}

static void peer_up(struct world *w, unsigned i, const struct tun_event *ev) {
    assert(peer_find(w, i, &ev->peer_up.endpoint) < 0);
    assert(w->peers < PEERS);
    w->peer[w->peers++] =
        (struct peer){.party = i, .hidden = ev->peer_up.hidden, .endpoint = ev->peer_up.endpoint};
    w->ups += is_viewers(w, i, ev->peer_up.hidden);
}

static void events(void *ctx, unsigned i) {
    struct world *w = ctx;
    struct party *p = &w->party[i];
    struct tun_event ev;
    while (tun_poll_event(p->t, &ev)) {
        if (ev.kind == TUN_EVENT_SAVE) {
            tun_saved(p->t, &w->net.now, ev.save.which);
        } else if (ev.kind == TUN_EVENT_REQUEST) {
            struct tun_body b;
            struct cv_rd rd =
                tun_body_rd(&b, ev.request.transaction, ev.request.body, ev.request.len);
            if (ev.request.command == TUN_CMD_LOOKUP)
                on_lookup(w, p, &ev, &rd);
            else if (ev.request.command == TUN_CMD_PUT)
                on_put(w, p, &ev, &rd);
        } else if (ev.kind == TUN_EVENT_PEER_UP) {
            peer_up(w, i, &ev);
        } else if (ev.kind == TUN_EVENT_PEER_DOWN) {
            int at = peer_find(w, i, &ev.peer_down.endpoint);
            assert(at >= 0);
            peer_gone(w, (unsigned)at);
        } else if (ev.kind == TUN_EVENT_DATAGRAM) {
            assert(ev.datagram.len == sizeof genuine);
            assert(memcmp(ev.datagram.buf, genuine, sizeof genuine) == 0);
        } else if (ev.kind == TUN_EVENT_NEED_CONTACTS && i >= RELAYS) {
            for (unsigned r = 0; r < RELAYS; r++)
                (void)tun_contact(p->t, &w->net.now, &w->party[r].addr);
        }
    }
}

/* ---- circuits of the two clients, and the relays along them ---- */

static struct tun_circuit *circuit(struct world *w, unsigned party, unsigned which) {
    struct tunnel *t = w->party[party].t;
    uint32_t cursor = 0;
    struct tun_circuit *c;
    unsigned n = tun_counters(t)->circuits;
    which = n ? which % n : 0;
    while ((c = tun_handles_next(&t->circuits, &cursor)))
        if (which-- == 0)
            return c;
    return NULL;
}

/* Hop `index` of a circuit, at its relay; NULL: it has not answered, or is gone. */
static struct tun_hop *hop_of(struct world *w, unsigned party, cv_handle c, unsigned index,
                              struct party **ret) {
    struct tunnel *t = w->party[party].t;
    uint8_t binding[32];
    if (tun_circuit_binding(t, c, index, binding))
        return NULL;
    int r = relay_of(w, tun_circuit_hop(t, c, index)->identity);
    if (r < 0)
        return NULL;
    *ret = &w->party[r];
    uint32_t cursor = 0;
    struct tun_hop *h;
    while ((h = tun_handles_next(&(*ret)->t->hops, &cursor)))
        if (memcmp(h->binding, binding, sizeof binding) == 0)
            return h;
    return NULL;
}

/* The relay at that place says so, in the owner's name for it. */
static void say(struct world *w, unsigned party, cv_handle c, unsigned index, uint8_t command,
                const void *body, size_t len) {
    struct party *r;
    struct tun_hop *h = hop_of(w, party, c, index, &r);
    if (h && len <= TUN_BACKWARD_MAX)
        (void)tun_hop_send(r->t, &w->net.now, h, command, body, len);
}

static void say_last(struct world *w, unsigned party, cv_handle c, uint8_t command,
                     const struct tun_body *b) {
    struct tun_circuit_info info;
    if (tun_circuit_info(w->party[party].t, c, &info) == CV_ERR_OK && info.built)
        say(w, party, c, info.built - 1, command, b->buf, cv_wr_len(&b->w));
}

static struct tun_hidden *swarm_at(struct world *w, unsigned which) {
    const struct swarm *s = &w->swarms[which % SWARMS];
    struct tun_hiddens *all = tun_attached(w->party[s->party].t, TUN_USER_HIDDEN);
    return s->handle && all ? tun_handles_get(&all->swarms, s->handle) : NULL;
}

/* A question of this party's under way; of any kind when `command` is 0. */
static struct tun_asking *question(struct world *w, unsigned party, uint8_t command,
                                   struct tun_circuit **ret) {
    uint32_t cursor = 0;
    struct tun_asking *a;
    while ((*ret = tun_handles_next(&w->party[party].t->circuits, &cursor)))
        TAILQ_FOREACH(a, &(*ret)->askings, entry)
    if (!a->answered && (command == 0 || a->command == command))
        return a;
    return NULL;
}

/* ---- contacts and slots of somebody who knows the swarm ---- */

static const struct tun_seeder *real_seeder(struct world *w) {
    for (unsigned i = 0; i < SWARMS; i++) {
        const struct tun_hidden *h = swarm_at(w, i);
        if (h && h->seeder && h->seeder->now.set)
            return h->seeder;
    }
    return NULL;
}

static void contact(struct world *w, struct cv_rd *r, struct tun_contact *ret) {
    uint8_t what = cv_rd_u8(r), more = cv_rd_u8(r);
    const struct tun_seeder *s = real_seeder(w);
    size_t len;
    const struct tun_descriptor *d = descriptor(w, what % RELAYS, &len);
    memset(ret, 0, sizeof *ret);
    memcpy(ret->ip, w->party[what % RELAYS].identity_secret.public_key, CV_KEY);
    if (d && !(what & 64))
        memcpy(ret->d, d->digest, sizeof ret->d);
    memcpy(ret->auth, w->evil_auth.public_key, CV_KEY);
    memcpy(ret->service, w->evil_service.public_key, CV_KEY);
    if (s && more & 1)
        memcpy(ret->service, s->now.service_secret.public_key, CV_KEY);
    if (s && more & 2) {
        memcpy(ret->ip, s->point[more >> 6].ip, CV_KEY);
        memcpy(ret->d, s->point[more >> 6].d, sizeof ret->d);
        memcpy(ret->auth, s->point[more >> 6].auth_secret.public_key, CV_KEY);
    }
    if (more & 4)
        ret->service[what & 31] ^= more;
    if (what & 128)
        memset(ret->service, 0, sizeof ret->service); /* no key */
    ret->effort = more & 8 ? more >> 4 : 0;
    ret->expiry = (uint32_t)(w->net.now.wall + (more & 16 ? 100 : 3000) - (more & 32 ? 3100 : 0));
}

static void slot(struct world *w, struct cv_rd *r) {
    uint8_t j = cv_rd_u8(r), how = cv_rd_u8(r);
    struct tun_period_secret keys;
    struct cv_ed25519_secret key;
    struct tun_slot s = {.count = (uint8_t)(how % (TUN_SLOT_CONTACTS + 1))};
    struct tun_item item = {.seq = how & 16 ? 1 : w->net.now.wall};
    uint32_t period = tun_swarm_period(&w->swarm, w->net.now.wall) - (how >> 7);
    tun_period_derive(&keys, &w->swarm, period);
    tun_slot_key(&key, &w->swarm, period, j % (TUN_SLOT_POINTER + 1));
    for (unsigned i = 0; i < s.count; i++)
        contact(w, r, &s.contact[i]);
    tun_slot_seal(item.value, &s, &keys, &w->rng);
    if (how & 32)
        item.value[j * 3] ^= how; /* sealed under nothing */
    if (how & 64)
        item.seq = INT64_MAX - j;
    tun_item_sign(&item, &key);
    if (j & 32)
        item.sig[j % CV_SIGNATURE] ^= 1;
    if (j & 64 && w->items) {
        item.seq ^= w->item[j % w->items].seq;
        memcpy(item.key, w->item[j % w->items].key, CV_KEY);
    }
    item_put(w, &item);
}

/* ---- a hostile peer ---- */

static struct evil *evil_new(struct world *w, unsigned party, cv_handle c) {
    struct evil *e = &w->evil[w->proofs++ % EVILS];
    tun_e2e_done(&e->e2e);
    *e = (struct evil){.party = party, .circuit = c};
    return e;
}

/* In a seeder's place: whoever wrote the contact holds its service key. */
static void come(struct world *w, const struct tun_hidden *h, struct tun_meet *m, uint8_t twist) {
    struct tun_e2e_context ctx;
    struct tun_period_secret keys;
    struct tun_meeting where;
    struct cv_noise noise;
    memcpy(ctx.network_id, NETWORK, sizeof ctx.network_id);
    memcpy(ctx.ip, m->contact.ip, CV_KEY);
    memcpy(ctx.auth, m->contact.auth, CV_KEY);
    tun_period_derive(&keys, &h->swarm_secret, m->period);
    if (!m->written || !m->rp.kind ||
        tun_e2e_consume_1(&noise, &where, m->flight, sizeof m->flight, &ctx, &keys,
                          &w->evil_service, &w->rng))
        return;
    uint8_t flight[TUN_E2E_FLIGHT2];
    struct evil *e = evil_new(w, VIEWER, m->rp.circuit);
    if (tun_e2e_create_2(&noise, flight, &e->e2e))
        return;
    if (twist & 1) {
        flight[twist % sizeof flight] ^= twist;
        w->proofs--; /* this proves nothing */
    }
    struct tun_body b;
    tun_body_init(&b);
    tun_bytes_write(&b.w, &(struct tun_bytes){.data = flight, .len = sizeof flight});
    say_last(w, VIEWER, m->rp.circuit, TUN_CMD_JOINED, &b);
}

/* As a viewer: the seeder is asked to a rendezvous that may not wait for it. */
static void introduce(struct world *w, struct tun_hidden *h, struct cv_rd *r) {
    uint8_t which = cv_rd_u8(r), where = cv_rd_u8(r), twist = cv_rd_u8(r);
    const struct tun_point *p = &h->seeder->point[which % TUN_POINTS];
    const struct tun_service *s = which & 64 ? &h->seeder->before : &h->seeder->now;
    struct tun_e2e_context ctx;
    struct tun_meeting meeting = {.cookie = {twist}};
    size_t len;
    const struct tun_descriptor *d = descriptor(w, where % RELAYS, &len);
    uint8_t flight[TUN_E2E_FLIGHT1];
    if (!p->road.kind || !s->set || !d)
        return;
    memcpy(ctx.network_id, NETWORK, sizeof ctx.network_id);
    memcpy(ctx.ip, p->ip, CV_KEY);
    memcpy(ctx.auth, p->auth_secret.public_key, CV_KEY);
    memcpy(meeting.rp, d->identity, CV_KEY);
    memcpy(meeting.d, d->digest, sizeof meeting.d);
    meeting.d[0] ^= where >> 7;
    cv_noise_done(&w->asked);
    w->has_asked = tun_e2e_create_1(&w->asked, flight, &ctx, &s->keys, s->service_secret.public_key,
                                    &meeting, &w->rng) == CV_ERR_OK;
    if (twist & 1)
        flight[twist % sizeof flight] ^= twist;
    struct tun_stamp_search stamp;
    tun_stamp_begin(&stamp, which >> 3 & 7, s->service_secret.public_key, s->keys.period, flight,
                    sizeof flight, &w->rng);
    (void)tun_stamp_try(&stamp, 1000);
    struct tun_introduce m = {.flight = flight, .flight_len = sizeof flight};
    memcpy(m.auth_key, p->auth_secret.public_key, CV_KEY);
    memcpy(m.stamp, tun_stamp_get(&stamp), sizeof m.stamp);
    struct tun_body b;
    tun_body_init(&b);
    tun_introduction_write(&b.w, &m);
    for (unsigned i = 0; i <= (where >> 3 & 15); i++)
        say_last(w, SEEDER, p->road.circuit, TUN_CMD_INTRODUCTION, &b);
}

/* The rendezvous says that the other end was there, and is that other end. */
static void joined(struct world *w, struct tun_hidden *h, uint8_t which) {
    struct tun_circuit *c;
    struct tun_asking *a = question(w, SEEDER, TUN_CMD_JOIN, &c);
    struct tun_join *j = &h->seeder->join[which % h->seeder->joins_max];
    for (unsigned i = 0; a && i < h->seeder->joins_max; i++)
        if (h->seeder->join[i].road.kind && h->seeder->join[i].road.circuit == c->handle)
            j = &h->seeder->join[i];
    struct tun_body b;
    tun_body_init(&b);
    cv_wr_le32(&b.w, a ? a->transaction : which);
    struct tun_e2e e2e;
    if (w->has_asked && j->road.kind &&
        tun_e2e_consume_2(&w->asked, j->flight, sizeof j->flight, &e2e) == CV_ERR_OK) {
        evil_new(w, SEEDER, j->road.circuit)->e2e = e2e;
        w->has_asked = false;
    }
    if (j->road.kind)
        say_last(w, SEEDER, j->road.circuit, TUN_CMD_JOINED, &b);
}

/* What is joined speaks; sealed, or as anybody on the way could. */
static void speak(struct world *w, uint8_t which, uint8_t how) {
    struct evil *e = &w->evil[which % EVILS];
    struct tun_body b;
    uint8_t cell[sizeof genuine + TUN_E2E_OVERHEAD];
    size_t len = how & 1 ? 0 : sizeof genuine;
    if (!e->circuit || tun_e2e_seal(&e->e2e, cell, (const uint8_t *)genuine, len))
        return;
    if (how & 2)
        cell[how % sizeof cell] ^= how;
    tun_body_init(&b);
    cv_wr_bytes(&b.w, cell, len + TUN_E2E_OVERHEAD);
    for (unsigned i = 0; i <= (how >> 6); i++)
        say_last(w, e->party, e->circuit, TUN_CMD_DATAGRAM, &b);
}

static void hostile_peer(struct world *w, struct cv_rd *r) {
    uint8_t what = cv_rd_u8(r), which = cv_rd_u8(r), twist = cv_rd_u8(r);
    struct tun_hidden *h = swarm_at(w, which);
    switch (what % 4) {
    case 0:
        for (unsigned i = 0; h && h->viewer && i < TUN_MEETINGS_MAX; i++)
            if (twist >> i & 1)
                come(w, h, &h->viewer->meet[i], twist & 16 ? twist : 0);
        break;
    case 1:
        if (h && h->seeder)
            introduce(w, h, r);
        break;
    case 2:
        if (h && h->seeder)
            joined(w, h, twist);
        break;
    default:
        speak(w, which, twist);
        break;
    }
}

/* ---- hostile relays ---- */

/* Anything, as the answer to what is asked or to nothing. */
static void answer(struct world *w, struct cv_rd *r) {
    static const uint8_t of[] = {0,
                                 TUN_CMD_LOOKUP,
                                 TUN_CMD_PUT,
                                 TUN_CMD_ESTABLISH_INTRO,
                                 TUN_CMD_INTRODUCE,
                                 TUN_CMD_ESTABLISH_RENDEZVOUS,
                                 TUN_CMD_JOIN,
                                 TUN_CMD_EXTEND,
                                 TUN_CMD_PING,
                                 TUN_CMD_PACE};
    uint8_t who = cv_rd_u8(r), command = cv_rd_u8(r), len = cv_rd_u8(r);
    const uint8_t *raw = cv_rd_bytes(r, len % 64);
    unsigned party = who & 1 ? SEEDER : VIEWER, index;
    struct tun_circuit *c;
    struct tun_asking *a = NULL;
    if (!raw)
        return;
    for (unsigned i = 0; i < 60 && !a; i++) { /* until it is asked, or for long enough */
        a = question(w, party, of[(who >> 1 & 15) % sizeof of], &c);
        if (!a && !network_turn(&w->net))
            w->net.now.mono += CV_MSEC(5);
        network_serve(&w->net);
    }
    struct tun_body b;
    tun_body_init(&b);
    index = a ? a->hop : who >> 5 & 3;
    c = a ? c : circuit(w, party, who >> 5);
    if (len & 64)
        cv_wr_le32(&b.w, a ? a->transaction : 0);
    cv_wr_bytes(&b.w, raw, len % 64);
    if (c)
        say(w, party, c->handle, len & 128 ? index ^ 1 : index, 1 + command % 33, b.buf,
            cv_wr_len(&b.w));
}

/* On the link itself. */
static void link_command(struct world *w, struct cv_rd *r) {
    uint8_t who = cv_rd_u8(r), command = cv_rd_u8(r), len = cv_rd_u8(r);
    const uint8_t *raw = cv_rd_bytes(r, len % 128);
    struct tunnel *t = w->party[who % RELAYS].t;
    unsigned party = who & 128 ? SEEDER : VIEWER;
    struct tun_circuit *c = circuit(w, party, len >> 7 ? command : who);
    uint32_t cursor = 0;
    struct tun_link *l;
    if (!raw || command % 16 == TUN_LINKCMD_RELAY)
        return;
    while ((l = tun_handles_next(&t->links, &cursor)))
        if (cv_addr_equal(&l->addr, &w->party[party].addr))
            (void)tun_link_control(t, l, command % 16, c ? c->leg.id : 0, raw, len % 128);
}

static void hostile_relay(struct world *w, uint8_t what, uint8_t which) {
    unsigned party = what & 128 ? SEEDER : VIEWER;
    struct tun_circuit *c = circuit(w, party, which);
    struct party *r = &w->party[which % RELAYS];
    struct tun_hop *h = c ? hop_of(w, party, c->handle, what >> 3 & 3, &r) : NULL;
    switch (what % 8) {
    case 0:
        w->net.end[r - w->party].deaf = true;
        break;
    case 1:
        for (unsigned i = 0; i < RELAYS; i++)
            w->net.end[i].deaf = false;
        break;
    case 2:
        w->party[which % RELAYS].manner = (enum manner)((what >> 3) % MANNERS);
        break;
    case 3:
        for (unsigned i = 0; i < RELAYS; i++)
            w->party[i].manner = (enum manner)((what >> 3) % MANNERS);
        break;
    case 4:
        if (h)
            tun_hop_destroy(r->t, h, NULL);
        break;
    case 5: /* no role any more, or all of them */
        w->party[which % RELAYS].t->cfg.relay_flags ^=
            what & 8 ? TUN_RELAY_INTRO : TUN_RELAY_RENDEZVOUS;
        break;
    case 6:
        tun_hops_end(w->party[which % RELAYS].t, &w->net.now, 0);
        break;
    default:
        tun_drain(w->party[which % RELAYS].t, what & 8);
        break;
    }
}

/* ---- what the nodes do ---- */

static void forget(struct world *w, const struct swarm *s) {
    for (unsigned i = 0; i < w->peers;)
        if (w->peer[i].party == s->party && w->peer[i].hidden == s->handle)
            peer_gone(w, i);
        else
            i++;
}

static void swarm_close(struct world *w, struct swarm *s) {
    struct tun_hidden_info info;
    if (!s->handle || tun_hidden_info(w->party[s->party].t, s->handle, &info))
        return;
    w->proofs += info.introductions;
    tun_hidden_close(w->party[s->party].t, &w->net.now, s->handle);
    assert(tun_hidden_info(w->party[s->party].t, s->handle, &info) == CV_ERR_NOENT);
    forget(w, s);
    s->handle = 0;
}

enum { VIEWS, SHARES, SHARES_TOO, WRITES, READS };

static void swarm_open(struct world *w, unsigned at, unsigned party, uint8_t kind,
                       const char *what) {
    static const uint8_t pointer[TUN_POINTER] = "pointer";
    struct swarm *s = &w->swarms[at % SWARMS];
    struct tunnel *t = w->party[party].t;
    swarm_close(w, s);
    *s = (struct swarm){.party = party};
    enum cv_err err = CV_ERR_OK;
    if (kind == VIEWS)
        err = tun_hidden_view(t, &w->net.now, what, strlen(what), NULL, &s->handle);
    else if (kind == SHARES || kind == SHARES_TOO)
        err = tun_hidden_share(t, &w->net.now, what, strlen(what), NULL, kind == SHARES_TOO,
                               &s->handle);
    else
        err = tun_hidden_point(t, &w->net.now, what, strlen(what), NULL,
                               kind == WRITES ? pointer : NULL, &s->handle);
    assert(!err);
}

static void names(struct world *w, const struct peer *p, struct cv_rd *r) {
    uint8_t how = cv_rd_u8(r), octets[TUN_CONTACT];
    struct tun_named told[TUN_TELL_CONTACTS];
    struct tun_contact c;
    contact(w, r, &c);
    tun_contact_write(octets, &c);
    unsigned n = tun_hidden_tell(w->party[p->party].t, &w->net.now, &p->endpoint, told);
    assert(n <= TUN_TELL_CONTACTS);
    tun_hidden_told(w->party[p->party].t, &w->net.now, &p->endpoint,
                    tun_swarm_period(&w->swarm, w->net.now.wall) - (how & 1), octets,
                    sizeof octets - (how >> 7));
}

/* By each of its ways as much as its place in the list says. */
static void brings(struct world *w, const struct swarm *s) {
    struct tun_brought ways[sizeof w->peer / sizeof *w->peer];
    unsigned count = 0;
    for (unsigned i = 0; i < w->peers; i++)
        if (w->peer[i].party == s->party && w->peer[i].hidden == s->handle)
            ways[count++] = (struct tun_brought){.peer = w->peer[i].endpoint,
                                                 .octets = w->net.now.mono * (i + 1)};
    tun_hidden_brought(w->party[s->party ? s->party : VIEWER].t, &w->net.now, s->handle, ways,
                       count);
}

static void node(struct world *w, struct cv_rd *r) {
    uint8_t what = cv_rd_u8(r), which = cv_rd_u8(r);
    struct swarm *s = &w->swarms[which % SWARMS];
    struct tunnel *t = w->party[s->party ? s->party : VIEWER].t;
    const struct peer *p = w->peers ? &w->peer[which % w->peers] : NULL;
    cv_handle c;
    switch (what % 10) {
    case 0:
        swarm_open(w, which, which & 8 ? SEEDER : VIEWER, (which >> 4) % 5,
                   which & 128 ? other_film : film);
        break;
    case 1:
        swarm_close(w, s);
        break;
    case 2:
        (void)tun_hidden_pace(t, s->handle, what & 16 ? 3 : 2);
        break;
    case 3:
        tun_hidden_starves(t, &w->net.now, s->handle);
        brings(w, s);
        break;
    case 4:
        if (p) {
            unsigned party = p->party;
            struct cv_endpoint endpoint = p->endpoint;
            peer_gone(w, (unsigned)(p - w->peer));
            tun_hidden_drop(w->party[party].t, &w->net.now, &endpoint);
        }
        break;
    case 5:
        if (p)
            names(w, p, r);
        break;
    case 6:
        for (unsigned i = 0; p && i <= which >> 4; i++)
            (void)tun_send(w->party[p->party].t, &w->net.now, &p->endpoint, genuine,
                           sizeof genuine);
        break;
    case 7:
        (void)tun_circuit_open(w->party[which & 1 ? SEEDER : VIEWER].t, &w->net.now,
                               (enum tun_purpose)((which >> 1) % TUN_PURPOSE_COUNT),
                               which & 16 ? w->party[which >> 5].identity_secret.public_key : NULL,
                               &c);
        break;
    case 8:
        tun_on_rebind(t, &w->net.now);
        break;
    default:
        tell_relays(w, which & 1 ? SEEDER : VIEWER);
        break;
    }
}

/* A relay signs once more for its day, and is a liar to whoever sees both. */
static void liar(struct world *w, uint8_t which, uint8_t to) {
    struct party *p = &w->party[which % RELAYS];
    size_t len;
    const struct tun_descriptor *d = descriptor(w, which % RELAYS, &len);
    if (!d)
        return;
    struct tun_descriptor twice = *d;
    uint8_t raw[TUN_DESCRIPTOR_MAX];
    twice.bandwidth++;
    ssize_t n = tun_descriptor_sign(&twice, &p->identity_secret, raw, sizeof raw);
    if (n > 0)
        (void)tun_client_show(w->party[to & 1 ? SEEDER : VIEWER].t, &w->net.now, raw, (size_t)n);
}

/* ---- the properties ---- */

static bool owned(const struct world *w, unsigned party, cv_handle c) {
    const struct tun_hiddens *all = tun_attached(w->party[party].t, TUN_USER_HIDDEN);
    uint32_t cursor = 0;
    struct tun_hidden *h;
    const struct tun_road *r = tun_idtable_get(&all->roads, (uint32_t)c);
    if (r && r->circuit == c) {
        assert(r->kind != TUN_ROAD_NONE);
        assert(tun_handles_get(&all->swarms, r->owner->handle) == r->owner);
        return true;
    }
    while ((h = tun_handles_next(&all->swarms, &cursor)))
        for (unsigned i = 0; i < TUN_PACED_JOINS_MAX; i++)
            if (h->runs_on[i].circuit == c)
                return true;
    return false;
}

static void check(void *ctx) {
    const struct world *w = ctx;
    unsigned proofs = w->proofs;
    for (unsigned i = RELAYS; i < PARTIES; i++) {
        struct tunnel *t = w->party[i].t;
        const struct tun_hiddens *all = tun_attached(t, TUN_USER_HIDDEN);
        uint32_t cursor = 0, up = 0, counted = 0;
        struct tun_hidden *h;
        struct tun_circuit *c;
        while ((c = tun_handles_next(&t->circuits, &cursor)))
            assert(c->plan.user != TUN_USER_HIDDEN || c->running_on || owned(w, i, c->handle));
        cursor = 0;
        while ((h = tun_handles_next(&all->swarms, &cursor))) {
            counted += h->info.peers;
            proofs += h->info.introductions; /* each is answered once, or not at all */
            if (h->viewer)
                assert(h->viewer->named <= h->viewer->knowns &&
                       h->viewer->knowns <= sizeof h->viewer->known / sizeof *h->viewer->known);
            if (h->seeder)
                assert(h->seeder->intake.count <= TUN_INTRO_QUEUE);
        }
        for (unsigned k = 0; k < w->peers; k++)
            up += w->peer[k].party == i;
        assert(up == counted);
        assert(tun_counters(t)->paths_refused == 0);
    }
    assert(w->ups <= proofs);
}

/* ---- the script ---- */

static bool is_ready(const void *ctx) {
    const struct world *w = ctx;
    struct tun_client_status status;
    for (unsigned i = RELAYS; i < PARTIES; i++) {
        tun_client_status(w->party[i].t, &w->net.now, &status);
        if (!status.ready)
            return false;
    }
    return true;
}

static bool is_shared(const void *ctx) {
    const struct world *w = ctx;
    struct tun_hidden_info info;
    return tun_hidden_info(w->party[SEEDER].t, w->swarms[0].handle, &info) == CV_ERR_OK &&
           info.slots > 0;
}

static bool is_met(const void *ctx) {
    const struct world *w = ctx;
    return w->ups > 0;
}

static void add(struct world *w, unsigned i) {
    struct party *p = &w->party[i];
    bool relay = i < RELAYS;
    uint8_t seed[CV_KEY] = {(uint8_t)(i + 1)};
    p->addr = (struct cv_addr){.ip = {127, (uint8_t)(10 + i), 0, 1}, .port = 4000, .family = 4};
    cv_ed25519_from_seed(&p->identity_secret, seed);
    cv_rng_seeded_init(&p->seed, i);
    p->rng = cv_rng_seeded(&p->seed);
    struct tun_config cfg = {.relay = relay,
                             .relay_flags = TUN_RELAY_RELAY | TUN_RELAY_INTRO |
                                            TUN_RELAY_RENDEZVOUS | TUN_RELAY_DHT,
                             .address_class = TUN_ADDRESS_LOOPBACK,
                             .hurry = true,
                             .identity = relay ? &p->identity_secret : NULL,
                             .links_max = 32,
                             .hops_max = 256,
                             .circuits_max = 64,
                             .queue_octets_max = QUEUE_OCTETS};
    memcpy(cfg.network_id, NETWORK, sizeof cfg.network_id);
    if (relay)
        cfg.addr[0] = p->addr;
    p->t = (relay ? tun_bare_new : tun_new)(&cfg, &p->rng, &w->net.now);
    assert(p->t);
    if (relay)
        tun_attach(p->t, TUN_USER_CLIENT, &ops, w);
    network_add(&w->net, p->t, &p->addr, NULL);
}

/* So far all are honest. */
static void begin(struct world *w, uint8_t how) {
    if (how % 4 > 0) {
        network_run(&w->net, CV_SEC(2), NULL);
        tell_relays(w, VIEWER);
        tell_relays(w, SEEDER);
        network_run(&w->net, CV_SEC(10), is_ready);
    }
    if (how % 4 > 1) {
        swarm_open(w, 0, SEEDER, how & 4 ? SHARES_TOO : SHARES, film);
        if (how & 8)
            (void)tun_hidden_pace(w->party[SEEDER].t, w->swarms[0].handle, 2);
        network_run(&w->net, CV_SEC(10), is_shared);
    }
    if (how % 4 > 2) {
        swarm_open(w, 1, VIEWER, VIEWS, film);
        if (how & 16)
            (void)tun_hidden_pace(w->party[VIEWER].t, w->swarms[1].handle, 2);
        if (how & 32)
            network_run(&w->net, CV_SEC(10), is_met);
    }
}

static void step(void *ctx, struct cv_rd *r) {
    struct world *w = ctx;
    uint8_t op = cv_rd_u8(r), a, b;
    switch (op % 12) {
    case 0:
        node(w, r);
        break;
    case 1:
        answer(w, r);
        break;
    case 2:
        slot(w, r);
        break;
    case 3:
        hostile_peer(w, r);
        break;
    case 4:
        a = cv_rd_u8(r), b = cv_rd_u8(r);
        hostile_relay(w, a, b);
        break;
    case 5:
        link_command(w, r);
        break;
    case 6:
        a = cv_rd_u8(r);
        for (unsigned i = 0; i <= a % 16 && network_turn(&w->net); i++)
            network_serve(&w->net);
        break;
    case 7:
        network_run_some(&w->net, r);
        break;
    case 8:
        network_sleep(&w->net, r);
        break;
    case 9:
        network_lose(&w->net, r);
        break;
    case 10:
        a = cv_rd_u8(r), b = cv_rd_u8(r);
        w->net.flip = a;
        w->net.flip_at = (uint16_t)(b * 5);
        break;
    default:
        a = cv_rd_u8(r), b = cv_rd_u8(r);
        liar(w, a, b);
        break;
    }
    network_serve(&w->net);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct world world;
    struct world *w = &world;
    cv_crypto_init();
    memset(w, 0, sizeof *w);
    network_begin(&w->net, SERVED, w, events);
    cv_rng_seeded_init(&w->seed, 99);
    w->rng = cv_rng_seeded(&w->seed);
    tun_swarm_derive(&w->swarm, NETWORK, film, strlen(film), NULL);
    cv_x25519_from_seed(&w->evil_service, (const uint8_t[CV_KEY]){43});
    cv_ed25519_from_seed(&w->evil_auth, (const uint8_t[CV_KEY]){42});
    for (unsigned i = 0; i < PARTIES; i++)
        add(w, i);
    struct cv_rd r = cv_rd_init(data, size);
    begin(w, size ? cv_rd_u8(&r) : 0);
    network_script(&w->net, &r, STEPS, step, check);
    for (unsigned i = 0; i < SWARMS; i++)
        swarm_close(w, &w->swarms[i]);
    check(w);
    network_end(&w->net);
    return 0;
}
