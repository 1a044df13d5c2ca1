/*
 * DHT and tunnel: relays are found and announced under keys of the day
 * (docs/protocol/dht.md), and what others' circuits ask of the DHT is done.
 *
 * The node's own DHT socket carries table upkeep and relay keys only. Content
 * keys are asked for by last hops, that is: here, for somebody else.
 */
#include <string.h>

#include "crypto/hash.h"
#include "node/state.h"
#include "tunnel/client.h"
#include "tunnel/relaycmd.h"

/* Days of relays overlap: until 03:00 UTC everybody uses yesterday's. */
enum { DAY_TURNS_AT = 3 * 3600, DAY_SIGNED_FROM = 21 * 3600 };

static uint32_t relay_day(int64_t wall) {
    return cv_day(wall - DAY_TURNS_AT);
}

/* BLAKE2b-160("culvert relay" | network id | day u32 | level u8 | bucket u16). */
static struct dht_id relay_key(const struct node *n, uint32_t day, uint8_t level, uint16_t bucket) {
    uint8_t tail[7];
    struct dht_id key;
    struct cv_wr w = cv_wr_init(tail, sizeof tail);
    cv_wr_le32(&w, day);
    cv_wr_u8(&w, level);
    cv_wr_le16(&w, bucket);
    CV_BLAKE2B(key.b, sizeof key.b, NULL, 0, {"culvert relay", 13},
               {n->cfg.network_id, sizeof n->cfg.network_id}, {tail, sizeof tail});
    return key;
}

/* First `level` bits of BLAKE2b(identity | day). */
static uint16_t own_bucket(const struct node *n, uint32_t day, uint8_t level) {
    uint8_t d[4], h[32];
    struct cv_wr w = cv_wr_init(d, sizeof d);
    cv_wr_le32(&w, day);
    CV_BLAKE2B(h, sizeof h, NULL, 0, {n->cfg.identity_secret.public_key, CV_KEY}, {d, sizeof d});
    return (uint16_t)(level ? h[0] >> (8 - level) : 0);
}

/* ---- finding relays ---- */

static bool wants_lookup(const struct node *n) {
    return n->dht_ready && !n->relay_lookup && (n->contacts_wanted[0] || n->contacts_wanted[1]);
}

static uint64_t jittered(struct node *n, cv_usec period) {
    return period * 3 / 4 + cv_rng_below(n->rng, period / 2);
}

void node_discovery_need(struct node *n, struct cv_now now, bool relay, uint32_t wanted) {
    /* It says so every minute; after a silence there were enough, and are not any more. */
    if (!n->contacts_wanted[relay] ||
        cv_usec_since(now.mono, n->contacts_wanted_at[relay]) >= NODE_WANTED_AGAIN) {
        n->relay_lookup_wait = NODE_LOOKUP_WAIT_FIRST;
        if (n->dht_ready)
            n->relay_lookup_at = cv_usec_min(n->relay_lookup_at, now.mono);
    }
    n->contacts_wanted[relay] = wanted ? wanted : 1;
    n->contacts_wanted_at[relay] = now.mono;
    if (!n->relay_lookup && n->dht_ready &&
        (n->relay_lookup_at == CV_USEC_NEVER || n->relay_lookup_at < now.mono))
        n->relay_lookup_at = now.mono;
}

/* 1, -1, 2, -2, ... up to the reach of a clock that somebody set wrong by hand. */
enum { OTHER_DAYS = 2 * 31 };

static int other_day(unsigned i) {
    int days = (int)(i / 2) + 1;
    return i % 2 ? -days : days;
}

static bool seeks_other_days(const struct node *n) {
    return n->other_days < OTHER_DAYS && !n->client_ready &&
           n->relays_known <= (n->relay != NULL) && /* a relay finds itself */
           wants_lookup(n);
}

/* No relay is announced under today's key: perhaps it is not today. Whoever is
 * found under another day's says so himself (tunnel/calendar.h). */
static void start_other_day(struct node *n, struct cv_now now) {
    uint32_t day = relay_day(now.wall) + (uint32_t)other_day(n->other_days++);
    struct dht_id key = relay_key(n, day, 0, 0);
    if (dht_find_peers(n->dht, now, &key, &n->relay_lookup) != CV_ERR_OK)
        n->relay_lookup = 0;
    n->other_days_at = cv_usec_add(now.mono, CV_MSEC(100));
}

/* As at the first start: as soon as may be, under whatever day it is. */
static void begin_anew(struct node *n, struct cv_now now) {
    n->relay_lookup_wait = NODE_LOOKUP_WAIT_FIRST;
    n->relay_lookup_at = now.mono;
    n->other_days = 0;
    n->other_days_at = cv_usec_add(now.mono, NODE_OTHER_DAYS_AFTER);
    if (n->relay)
        n->announce_at = now.mono;
}

/* Under the keys of a day that was wrong nobody looks, and what somebody announced who slept has
 * lapsed, or soon will have: neither waits for the times that were planned before. */
static void watch_clocks(struct node *n, struct cv_now now) {
    struct cv_now before = n->clocks;
    n->clocks = now;
    cv_usec passed = cv_usec_since(now.mono, before.mono);
    int64_t wall = before.wall + (int64_t)(passed / CV_SEC(1)); /* as it would have been */
    bool set = now.wall - wall >= NODE_CLOCK_SET || wall - now.wall >= NODE_CLOCK_SET;
    bool other_day = set && relay_day(now.wall) != relay_day(wall);
    if (n->dht_ready && ((other_day && now.wall > 0) || passed >= NODE_SLEPT))
        begin_anew(n, now);
}

static void start_relay_lookup(struct node *n, struct cv_now now) {
    struct dht_id key = relay_key(n, relay_day(now.wall), 0, 0);
    if (dht_find_peers(n->dht, now, &key, &n->relay_lookup) != CV_ERR_OK)
        n->relay_lookup = 0;
    /* Waits double while too few relays are there: a new network fills in
     * seconds, an old one in hours. */
    n->relay_lookup_at = cv_usec_add(now.mono, jittered(n, n->relay_lookup_wait));
    n->relay_lookup_wait = cv_usec_min(n->relay_lookup_wait * 2, NODE_LOOKUP_WAIT_MAX);
}

static void contact(struct node *n, struct cv_now now, const struct cv_addr *addr) {
    if (n->contacts_wanted[0])
        tun_contact(n->client, &now, addr);
    if (n->contacts_wanted[1] && n->relay)
        tun_contact(n->relay, &now, addr);
}

/* ---- announcing ourselves ---- */

static void start_announce(struct node *n, struct cv_now now, size_t slot, uint32_t day,
                           uint8_t level) {
    /* Where 300 are known already nobody needs one more; the finest level always does. */
    bool full = n->announce_met[slot] >= NODE_LEVEL_FULL && level < 8;
    struct dht_id key = relay_key(n, day, level, own_bucket(n, day, level));
    n->announce_met[slot] = 0;
    if (full) /* look again next time */
        return;
    if (dht_announce(n->dht, now, &key, n->cfg.relay_addrs[0].port, false,
                     &n->announce_ops[slot]) != CV_ERR_OK)
        n->announce_ops[slot] = 0;
}

static void announce(struct node *n, struct cv_now now) {
    static const uint8_t levels[] = {0, 4, 8};
    uint32_t day = relay_day(now.wall);
    for (size_t i = 0; i < 3; i++) {
        start_announce(n, now, i, day, levels[i]);
        if (now.wall % 86400 >= DAY_SIGNED_FROM || now.wall % 86400 < DAY_TURNS_AT)
            start_announce(n, now, 3 + i, day + 1, levels[i]);
    }
    n->announce_at = cv_usec_add(now.mono, jittered(n, NODE_ANNOUNCE_EVERY));
}

/* ---- work for others' circuits ---- */

static struct node_errand *errand_find(struct node *n, dht_op op) {
    for (size_t i = 0; i < NODE_ERRANDS_MAX; i++)
        if (n->errands[i].op == op)
            return &n->errands[i];
    return NULL;
}

static void answer(struct node *n, struct cv_now now, const struct node_errand *e, uint8_t command,
                   const struct cv_wr *w) {
    if (!w->err && cv_wr_len(w) >= 4) /* the writers begin with the transaction */
        tun_answer(n->relay, &now, e->hop, e->transaction, command, w->start + 4, cv_wr_len(w) - 4);
}

static void answer_item(struct node *n, struct cv_now now, struct node_errand *e,
                        const struct dht_item *item) {
    uint8_t buf[TUN_MTU_FORWARD + 64];
    struct cv_wr w = cv_wr_init(buf, sizeof buf);
    struct tun_result r = {.transaction = e->transaction,
                           .kind = TUN_LOOKUP_ITEMS,
                           .key = e->index,
                           .found = item != NULL};
    if (item) {
        r.seq = (uint64_t)item->seq;
        memcpy(r.signature, item->sig, sizeof r.signature);
        r.value = item->v;
        r.value_len = item->v_len;
    }
    tun_result_write(&w, &r);
    answer(n, now, e, TUN_CMD_RESULT, &w);
}

static void answer_peers(struct node *n, struct cv_now now, struct node_errand *e) {
    uint8_t buf[TUN_MTU_BACKWARD];
    struct tun_result r;
    struct cv_wr w = cv_wr_init(buf, sizeof buf);
    r = (struct tun_result){.transaction = e->transaction, .kind = TUN_LOOKUP_PEERS};
    r.peers = e->peer_count;
    memcpy(r.peer, e->peer, sizeof r.peer);
    tun_result_write(&w, &r);
    answer(n, now, e, TUN_CMD_RESULT, &w);
}

/* Only those that we would speak to: the others are of no use to who asks us. */
static void note_peers(struct node *n, struct node_errand *e, const struct dht_event *ev) {
    for (size_t i = 0; i < ev->peers.n && e->peer_count < TUN_PEERS_MAX; i++)
        if (node_exit_may_call(n, &ev->peers.v[i]))
            e->peer[e->peer_count++] = ev->peers.v[i];
}

static void answer_error(struct node *n, struct cv_now now, const struct tun_event *ev,
                         enum tun_cmd_error code) {
    uint8_t body = (uint8_t)code;
    tun_answer(n->relay, &now, ev->request.hop, ev->request.transaction, TUN_CMD_ERROR, &body, 1);
}

/* Whose share it is: nodes of one machine or of one house are neighbours, too. */
static struct cv_addr errand_network(const struct cv_addr *from) {
    return cv_addr_is_public(from) ? cv_addr_network(from, 16, 32) : *from;
}

/* New circuits cost little: what comes over the links of one network has a part of what the
 * others leave, so that nobody takes it all; and one look-up at the least, while there is room. */
static bool errand_fits(const struct node *n, cv_handle hop, const struct cv_addr *network) {
    size_t of_hop = 0, of_network = 0, others = 0;
    for (size_t i = 0; i < NODE_ERRANDS_MAX; i++) {
        const struct node_errand *e = &n->errands[i];
        bool near = e->op && cv_addr_equal(&e->network, network);
        of_hop += e->op && e->hop == hop;
        of_network += near;
        others += e->op && !near;
    }
    size_t part = (NODE_ERRANDS_MAX - others) / NODE_ERRANDS_NETWORK;
    return of_hop < NODE_ERRANDS_HOP &&
           of_network < (part > TUN_LOOKUP_KEYS_MAX ? part : TUN_LOOKUP_KEYS_MAX);
}

/* A slot to be filled, or NULL when there is too much work already. */
static struct node_errand *errand_new(struct node *n, const struct tun_event *ev, uint8_t index,
                                      bool put) {
    struct cv_addr network = errand_network(&ev->request.from);
    struct node_errand *e = errand_fits(n, ev->request.hop, &network) ? errand_find(n, 0) : NULL;
    if (e)
        *e = (struct node_errand){.hop = ev->request.hop,
                                  .network = network,
                                  .transaction = ev->request.transaction,
                                  .index = index,
                                  .put = put};
    return e;
}

/* Peers of a direct swarm: what a swarm exit is asked for, and nobody else. */
static void do_peers(struct node *n, struct cv_now now, const struct tun_event *ev,
                     const struct tun_lookup *m) {
    struct dht_id asked;
    if (!n->exit) {
        answer_error(n, now, ev, TUN_ERROR_REFUSED);
        return;
    }
    memcpy(asked.b, m->keys, sizeof asked.b);
    struct node_errand *e = errand_new(n, ev, 0, false);
    if (!e || dht_find_peers(n->dht, now, &asked, &e->op) != CV_ERR_OK) {
        if (e)
            e->op = 0;
        answer_error(n, now, ev, TUN_ERROR_BUSY);
        return;
    }
    e->peers = true;
}

static void do_lookup(struct node *n, struct cv_now now, const struct tun_event *ev,
                      struct cv_rd *r) {
    struct tun_lookup m;
    if (tun_lookup_read(r, &m) != CV_ERR_OK) {
        answer_error(n, now, ev, TUN_ERROR_MALFORMED);
        return;
    }
    if (m.kind == TUN_LOOKUP_PEERS) {
        do_peers(n, now, ev, &m);
        return;
    }
    for (uint8_t i = 0; i < m.n; i++) {
        struct node_errand *e = errand_new(n, ev, i, false);
        if (!e || dht_get_mutable(n->dht, now, m.keys + (size_t)i * CV_KEY, NULL, 0, -1, &e->op) !=
                      CV_ERR_OK) {
            if (e)
                e->op = 0;
            answer_error(n, now, ev, TUN_ERROR_BUSY);
            return;
        }
    }
}

static void do_put(struct node *n, struct cv_now now, const struct tun_event *ev, struct cv_rd *r) {
    struct tun_put m;
    if (tun_put_read(r, &m) != CV_ERR_OK || m.value_len > DHT_VALUE_MAX || m.seq > INT64_MAX ||
        m.cas > INT64_MAX) {
        answer_error(n, now, ev, TUN_ERROR_MALFORMED);
        return;
    }
    struct dht_item item = {.mutable_item = true, .seq = (int64_t)m.seq};
    memcpy(item.k, m.public_key, sizeof item.k);
    memcpy(item.sig, m.signature, sizeof item.sig);
    memcpy(item.v, m.value, m.value_len);
    item.v_len = (uint16_t)m.value_len;
    int64_t cas = (int64_t)m.cas;
    struct node_errand *e = errand_new(n, ev, 0, true);
    enum cv_err err =
        e ? dht_put(n->dht, now, &item, m.has_cas ? &cas : NULL, &e->op) : CV_ERR_LIMIT;
    if (err) {
        if (e)
            e->op = 0;
        answer_error(n, now, ev, err == CV_ERR_LIMIT ? TUN_ERROR_BUSY : TUN_ERROR_REFUSED);
    }
}

void node_discovery_on_request(struct node *n, struct cv_now now, const struct tun_event *ev) {
    uint8_t buf[TUN_DATAGRAM];
    struct cv_wr w = cv_wr_init(buf, sizeof buf);
    cv_wr_le32(&w, ev->request.transaction);
    cv_wr_bytes(&w, ev->request.body, ev->request.len);
    struct cv_rd r = cv_rd_init(buf, cv_wr_len(&w));
    if (ev->request.command == TUN_CMD_LOOKUP)
        do_lookup(n, now, ev, &r);
    else if (ev->request.command == TUN_CMD_PUT)
        do_put(n, now, ev, &r);
    else
        answer_error(n, now, ev, TUN_ERROR_REFUSED);
}

void node_discovery_on_hop_down(struct node *n, struct cv_now now, cv_handle hop) {
    for (size_t i = 0; i < NODE_ERRANDS_MAX; i++) {
        struct node_errand *e = &n->errands[i];
        if (e->op && e->hop == hop) {
            /* A put goes on: what a seeder wrote down shall be there. */
            if (!e->put) {
                dht_cancel(n->dht, now, e->op);
                e->op = 0;
            }
        }
    }
}

static void errand_done(struct node *n, struct cv_now now, struct node_errand *e,
                        const struct dht_done *done) {
    if (e->put) {
        uint8_t buf[64];
        struct cv_wr w = cv_wr_init(buf, sizeof buf);
        struct tun_put_done m = {
            .transaction = e->transaction,
            .stored = (uint8_t)(done->stored > 255 ? 255 : done->stored),
            .error = done->stored        ? 0
                     : done->refused_cas ? 301
                     : done->refused_seq ? 302
                     : done->refused_sig ? 206
                                         : 201,
        };
        tun_put_done_write(&w, &m);
        answer(n, now, e, TUN_CMD_PUT_DONE, &w);
    } else if (e->peers) {
        answer_peers(n, now, e);
    } else {
        answer_item(n, now, e, e->found ? &e->item : NULL);
    }
    e->op = 0;
}

/* ---- events of the DHT ---- */

static void on_done(struct node *n, struct cv_now now, const struct dht_event *ev) {
    if (ev->op == n->relay_lookup) {
        n->relay_lookup = 0;
        return;
    }
    for (size_t i = 0; i < NODE_ANNOUNCES_MAX; i++) {
        if (n->announce_ops[i] == ev->op) {
            n->announce_ops[i] = 0;
            if (ev->done.stored && !n->relay_ready) {
                n->relay_ready = true;
                node_event_push(n, &(struct node_event){.kind = NODE_EVENT_RELAY_READY});
            } else if (!ev->done.stored) {
                n->announce_at = cv_usec_min(
                    n->announce_at, cv_usec_add(now.mono, jittered(n, NODE_ANNOUNCE_RETRY)));
            }
            return;
        }
    }
    struct node_errand *e = errand_find(n, ev->op);
    if (e)
        errand_done(n, now, e, &ev->done);
}

void node_discovery_on_dht(struct node *n, struct cv_now now, const struct dht_event *ev) {
    struct node_errand *e;
    switch (ev->kind) {
    case DHT_EVENT_READY:
        n->dht_ready = true;
        begin_anew(n, now);
        node_event_push(n, &(struct node_event){.kind = NODE_EVENT_DHT_READY});
        break;
    case DHT_EVENT_NO_BOOTSTRAP:
        node_event_push(
            n, &(struct node_event){.kind = NODE_EVENT_NO_BOOTSTRAP, .u.count = ev->tried});
        break;
    case DHT_EVENT_PEERS:
        if ((e = errand_find(n, ev->op)) != NULL && e->peers)
            note_peers(n, e, ev);
        if (ev->op == n->relay_lookup) {
            for (size_t i = 0; i < ev->peers.n; i++)
                contact(n, now, &ev->peers.v[i]);
        }
        for (size_t i = 0; i < NODE_ANNOUNCES_MAX; i++)
            if (n->announce_ops[i] == ev->op)
                n->announce_met[i] += (uint32_t)ev->peers.n;
        break;
    case DHT_EVENT_ITEM: {
        e = errand_find(n, ev->op);
        if (e && !e->put && !e->peers) {
            e->found = true;
            e->item = *ev->item; /* the newest: each one reported has a higher seq */
        }
        break;
    }
    case DHT_EVENT_DONE:
        on_done(n, now, ev);
        break;
    case DHT_EVENT_EXTERNAL_ADDRESS:
    case DHT_EVENT_NODES:
    case DHT_EVENT_SAMPLES:
        break;
    }
}

/* ---- time ---- */

void node_discovery_save(struct node *n) {
    uint8_t buf[DHT_SAVE_MAX];
    size_t len = dht_save(n->dht, buf, sizeof buf);
    if (len && len <= sizeof buf)
        node_event_save(n, NODE_SAVED_DHT, buf, len);
}

/* Tells once when circuits can be built, or when too few relays are known for
 * a while. */
static void watch_client(struct node *n, struct cv_now now) {
    struct tun_client_status s;
    if (n->client_ready)
        return;
    tun_client_status(n->client, &now, &s);
    n->relays_known = s.known;
    if (s.ready) {
        n->client_ready = true;
        node_event_push(n, &(struct node_event){.kind = NODE_EVENT_CLIENT_READY});
        node_swarm_retry(n, now);
    } else if (s.missing && now.mono >= n->too_few_at) {
        n->too_few_at = CV_USEC_NEVER;
        node_event_push(
            n, &(struct node_event){.kind = NODE_EVENT_TOO_FEW_RELAYS, .u.count = s.missing});
    }
}

void node_discovery_on_timeout(struct node *n, struct cv_now now) {
    watch_clocks(n, now);
    watch_client(n, now);
    if (wants_lookup(n) && now.mono >= n->relay_lookup_at)
        start_relay_lookup(n, now);
    else if (seeks_other_days(n) && now.mono >= n->other_days_at)
        start_other_day(n, now);
    if (n->dht_ready && n->relay && !n->draining && now.mono >= n->announce_at)
        announce(n, now);
    if (now.mono >= n->dht_save_at) {
        n->dht_save_at = cv_usec_add(now.mono, NODE_DHT_SAVE_EVERY);
        node_save(n);
    }
}

cv_usec node_discovery_next(const struct node *n) {
    cv_usec at = n->dht_save_at;
    if (wants_lookup(n))
        at = cv_usec_min(at, n->relay_lookup_at);
    if (seeks_other_days(n))
        at = cv_usec_min(at, n->other_days_at);
    if (n->dht_ready && n->relay && !n->draining)
        at = cv_usec_min(at, n->announce_at);
    return at;
}
