#include "tunnel/tunnel.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "tunnel/core.h"

/* ---- life ---- */

static uint32_t or_default(uint32_t v, uint32_t def) {
    return v ? v : def;
}

static size_t index_slots(const struct tun_config *cfg) {
    /* a link has one index for each session and its spares */
    size_t want = (size_t)cfg->links_max * (TUN_SPARES + 4), slots = 256;
    while (slots < want && slots < TUN_RXINDEX_SLOTS_MAX)
        slots *= 2;
    return slots;
}

static enum cv_err new_keyring(struct tunnel *t) {
    struct tun_keyring_config cfg = {.identity = &t->identity_secret,
                                     .flags = t->cfg.relay_flags,
                                     .suites = TUN_SUITES_CHACHA,
                                     .version = t->cfg.version,
                                     .bandwidth = t->cfg.bandwidth_kib_s,
                                     .tokens = t->cfg.tokens};
    if (t->cfg.aes)
        cfg.suites |= TUN_SUITES_AES;
    memcpy(cfg.network_id, t->cfg.network_id, sizeof cfg.network_id);
    for (unsigned i = 0; i < 2; i++)
        if (t->cfg.addr[i].family)
            cfg.addr[cfg.addrs++] = t->cfg.addr[i];
    enum cv_err err; /* a damaged ring stays silent by itself */
    t->keyring = tun_keyring_new(&cfg, &t->rng, t->cfg.blob[TUN_BLOB_KEYRING],
                                 t->cfg.blob_len[TUN_BLOB_KEYRING], &err);
    t->keyring_lost = err != CV_ERR_OK;
    return t->keyring ? CV_ERR_OK : CV_ERR_NOMEM;
}

bool tun_keyring_was_lost(const struct tunnel *t) {
    return t->keyring_lost;
}

static void keyring_tick(struct tunnel *t, const struct cv_now *now) {
    /* the face alone signs, or a day would have two descriptors */
    if (!t->keyring || !tun_is_face(t) || !tun_keyring_tick(t->keyring, now))
        return;
    struct tun_event ev = {.kind = TUN_EVENT_SAVE, .save = {.which = TUN_BLOB_KEYRING}};
    ev.save.blob = tun_keyring_blob(t->keyring, &ev.save.len);
    tun_event_push(t, &ev);
}

static enum cv_err start(struct tunnel *t, const struct cv_now *now) {
    const struct tun_config *cfg = &t->cfg;
    /* a handshake may renew a link that is there: it has no place before that is known */
    uint32_t links = cfg->links_max + TUN_HALF_OPEN_MAX;
    tun_handles_init(&t->links, links, 1, cfg->worker);
    tun_handles_init(&t->circuits, cfg->circuits_max, 2, cfg->worker);
    tun_handles_init(&t->hops, cfg->hops_max, 3, cfg->worker);
    cv_slab_init(&t->hop_slab, sizeof(struct tun_hop));
    tun_outbox_init(&t->outbox);
    tun_events_init(&t->events);
    tun_events_init(&t->inner);
    t->told_end = &t->told;
    TAILQ_INIT(&t->dirty);
    TAILQ_INIT(&t->paces);
    tun_sched_group_init(&t->own_group, TUN_SCHED_OWN, TUN_NETWORK_WEIGHT);
    cv_rng_fill(&t->rng, t->map_key, sizeof t->map_key);
    cv_heap_init(&t->timers, links + cfg->circuits_max + cfg->hops_max + 2);
    cv_heap_init(&t->half_groups, TUN_HALF_OPEN_MAX);
    cv_heap_init(&t->by_guests, 2 * links);
    cv_heap_init(&t->by_hops, 2 * links);
    tun_cookie_jar_init(&t->jar, &t->rng, now->mono);
    tun_describe_net_init(&t->describe_net, cfg->network_id);
    enum cv_err err = tun_sched_init(&t->sched, cfg->queue_octets_max);
    if (err)
        return err;
    t->link_cells_max =
        (uint32_t)(cfg->queue_octets_max / TUN_QUEUE_LINK / sizeof(struct tun_cell));
    t->rx = tun_rxindex_new(index_slots(cfg), cfg->worker, TUN_WORKER_BITS_MAX, &t->rng);
    t->links_by_identity = cv_map_new(CV_KEY, cfg->links_max, cv_siphash_map, t->map_key);
    t->netgroups = cv_map_new(sizeof((struct tun_netgroup *)0)->key, 2 * (size_t)links,
                              cv_siphash_map, t->map_key);
    t->guest_addrs = cv_map_new(sizeof(struct cv_addr), links, cv_siphash_map, t->map_key);
    t->intros = cv_map_new(CV_KEY, cfg->hops_max, cv_siphash_map, t->map_key);
    t->cookies = cv_map_new(TUN_RENDEZVOUS_COOKIE, cfg->hops_max, cv_siphash_map, t->map_key);
    if (!t->rx || !t->links_by_identity || !t->netgroups || !t->guest_addrs || !t->intros ||
        !t->cookies)
        return CV_ERR_NOMEM;
    if (cfg->send_octets_s) {
        t->shaped = true;
        uint64_t burst = cfg->send_octets_s / 50; /* 20 ms */
        if (burst < 8 * TUN_DATAGRAM)
            burst = 8 * TUN_DATAGRAM;
        cv_tokenbucket_init(&t->shaper, cfg->send_octets_s, burst, now->mono);
        tun_sched_pace(&t->sched, cfg->send_octets_s);
    }
    t->shaper_ready = CV_USEC_NEVER;
    t->tick.kind = TUN_TIMER_ENGINE;
    t->ending_timer.kind = TUN_TIMER_ENDING;
    cv_tokenbucket_init(&t->endings, TUN_ENDINGS_S, TUN_ENDINGS_BURST, now->mono);
    if (!cfg->relay)
        return CV_ERR_OK;
    err = tun_others_new(t, now->mono);
    if (err)
        return err;
    t->admission = malloc(sizeof *t->admission);
    if (!t->admission)
        return CV_ERR_NOMEM;
    tun_admission_init(t->admission, &t->rng, now->mono);
    err = new_keyring(t);
    if (err)
        return err;
    tun_others_keyring(t);
    keyring_tick(t, now);
    tun_timer_set(t, &t->tick, now->mono + CV_SEC(60));
    return CV_ERR_OK;
}

struct tunnel *tun_bare_new(const struct tun_config *cfg, const struct cv_rng *rng,
                            const struct cv_now *now) {
    if (cfg->relay && !cfg->identity)
        return NULL;
    struct tunnel *t = calloc(1, sizeof *t);
    if (!t)
        return NULL;
    t->cfg = *cfg;
    t->cfg.links_max = or_default(cfg->links_max, cfg->relay ? TUN_LINKS_MAX : 64);
    t->cfg.hops_max = cfg->relay ? or_default(cfg->hops_max, TUN_HOPS_HELD_MAX) : 1;
    t->cfg.circuits_max = or_default(cfg->circuits_max, TUN_CIRCUITS_MAX);
    t->cfg.version = cfg->version ? cfg->version : TUN_VERSION;
    if (!cfg->queue_octets_max)
        t->cfg.queue_octets_max = (uint64_t)TUN_QUEUE_MIB << 20;
    if (cfg->workers > 1) { /* what they may hold and send is for all of them */
        t->cfg.queue_octets_max /= cfg->workers;
        t->cfg.send_octets_s = (cfg->send_octets_s + cfg->workers - 1) / cfg->workers;
    }
    if (cfg->identity) {
        t->identity_secret = *cfg->identity;
        t->cfg.identity = &t->identity_secret;
    }
    t->rng = *rng;
    t->last = now->mono;
    tun_dice_init(&t->dice, rng);
    t->fast = tun_dice_rng(&t->dice);
    if (start(t, now))
        return tun_free(t);
    memset(t->cfg.blob, 0, sizeof t->cfg.blob); /* not ours after this call */
    return t;
}

static void free_objects(struct tunnel *t) {
    uint32_t cursor = 0;
    void *o;
    while ((o = tun_handles_next(&t->circuits, &cursor)) != NULL)
        tun_circuit_free(t, o);
    cursor = 0;
    while ((o = tun_handles_next(&t->hops, &cursor)) != NULL) {
        ((struct tun_hop *)o)->asked = false; /* nobody is left to be told */
        tun_hop_intro_done(t, o);
        tun_hop_rendezvous_done(t, o);
        tun_hop_free(t, o);
    }
    cursor = 0;
    while ((o = tun_handles_next(&t->links, &cursor)) != NULL)
        tun_link_free(t, o);
}

struct tunnel *tun_free(struct tunnel *t) {
    if (!t)
        return NULL;
    for (unsigned i = TUN_USER_COUNT; i-- > 0;)
        if (t->ops[i] && t->ops[i]->free)
            t->ops[i]->free(t->user[i]);
    memset(t->ops, 0, sizeof t->ops);
    free_objects(t);
    tun_others_free(t);
    tun_handles_done(&t->circuits);
    tun_handles_done(&t->hops);
    cv_slab_done(&t->hop_slab);
    tun_handles_done(&t->links);
    tun_keyring_free(t->keyring);
    free(t->admission);
    cv_map_free(t->cookies);
    cv_map_free(t->intros);
    cv_map_free(t->guest_addrs);
    cv_map_free(t->netgroups);
    cv_map_free(t->links_by_identity);
    tun_rxindex_free(t->rx);
    tun_sched_done(&t->sched);
    tun_cookie_jar_done(&t->jar);
    cv_heap_done(&t->by_hops);
    cv_heap_done(&t->by_guests);
    cv_heap_done(&t->half_groups);
    cv_heap_done(&t->timers);
    tun_events_done(&t->inner);
    tun_events_done(&t->events);
    tun_outbox_done(&t->outbox);
    tun_dice_done(&t->dice);
    cv_wipe(t, sizeof *t);
    free(t);
    return NULL;
}

/* ---- small things shared ---- */

void tun_attach(struct tunnel *t, enum tun_user user, const struct tun_user_ops *ops, void *ctx) {
    assert(user != TUN_USER_NODE);
    assert(!t->ops[user]);
    t->ops[user] = ops;
    t->user[user] = ctx;
}

void *tun_attached(const struct tunnel *t, enum tun_user user) {
    return t->user[user];
}

const struct tun_config *tun_config(const struct tunnel *t) {
    return &t->cfg;
}

void tun_count_path_refused(struct tunnel *t) {
    t->count.paths_refused++;
}

const struct cv_rng *tun_rng(const struct tunnel *t) {
    return &t->rng;
}

const uint8_t *tun_own_descriptor(const struct tunnel *t, int64_t wall, size_t *ret_len) {
    const struct tun_keyring_day *day = t->keyring ? tun_keyring_current(t->keyring, wall) : NULL;
    if (!day)
        return NULL;
    *ret_len = day->descriptor_len;
    return day->descriptor;
}

const uint8_t *tun_next_descriptor(const struct tunnel *t, int64_t wall, size_t *ret_len) {
    uint32_t next = tun_descriptor_day(wall) + 1;
    const struct tun_keyring_day *day = t->keyring && tun_descriptor_is_current(next, wall)
                                            ? tun_keyring_find(t->keyring, next)
                                            : NULL;
    if (!day)
        return NULL;
    *ret_len = day->descriptor_len;
    return day->descriptor;
}

void tun_timer_set(struct tunnel *t, struct tun_timer *timer, cv_usec at) {
    /* cannot fail: the heap has room for one timer of each object, and memory
     * for it is taken when the object is made; if not, the object only lives
     * longer than it should */
    (void)cv_heap_set(&t->timers, &timer->heap, at);
}

void tun_tick_soon(struct tunnel *t, cv_usec now) {
    cv_usec at = now + CV_SEC(1);
    if (!cv_timer_queued(&t->tick.heap) || t->tick.heap.at > at)
        tun_timer_set(t, &t->tick, at);
}

static bool is_unicast(const struct cv_addr *a) {
    if (a->family == 4)
        return a->ip[0] != 0 && a->ip[0] < 224 && a->ip[0] != 127;
    static const uint8_t none[16];
    return a->ip[0] != 0xff && memcmp(a->ip, none, sizeof none) != 0 && !cv_addr_is_loopback(a);
}

bool tun_address_ok(const struct tunnel *t, const struct cv_addr *a) {
    if ((a->family != 4 && a->family != 6) || a->port == 0 ||
        (t->cfg.family && a->family != t->cfg.family))
        return false;
    for (unsigned i = 0; i < 2; i++)
        if (cv_addr_equal(a, &t->cfg.addr[i]))
            return false;
    switch ((enum tun_address_class)t->cfg.address_class) {
    case TUN_ADDRESS_PUBLIC:
        return cv_addr_is_public(a);
    case TUN_ADDRESS_LOOPBACK:
        return cv_addr_is_loopback(a);
    case TUN_ADDRESS_PRIVATE:
        return is_unicast(a);
    }
    return false;
}

bool tun_raw_send(struct tunnel *t, const struct cv_addr *to, const uint8_t buf[TUN_DATAGRAM]) {
    struct tun_outgoing *o = tun_outbox_add(&t->outbox);
    if (!o)
        return false;
    o->to = *to;
    o->link = 0;
    memcpy(o->octets, buf, TUN_DATAGRAM);
    return true;
}

/* ---- events ---- */

bool tun_event_push(struct tunnel *t, const struct tun_event *ev) {
    if (tun_events_push(&t->events, TUN_USER_NODE, ev))
        return true;
    t->count.dropped_event++;
    return false;
}

bool tun_event_to(struct tunnel *t, enum tun_user user, const struct tun_event *ev) {
    if (!tun_is_face(t))
        return tun_worker_event(t, user, ev);
    if (user == TUN_USER_NODE)
        return tun_event_push(t, ev);
    if (!t->ops[user] || !t->ops[user]->on_event || tun_events_push(&t->inner, user, ev))
        return true;
    t->count.dropped_event++;
    return false;
}

bool tun_poll_event(struct tunnel *t, struct tun_event *ret) {
    unsigned user;
    return tun_events_take(&t->events, &user, ret);
}

/* Users may cause further events while they are told of one: what they look
 * at lies outside the ring. */
static void tell_users(struct tunnel *t, const struct cv_now *now) {
    struct tun_event ev;
    unsigned user;
    uint8_t octets[TUN_DATAGRAM];
    while (tun_events_take(&t->inner, &user, &ev)) {
        size_t len;
        const uint8_t **at = tun_event_payload(&ev, &len);
        if (at && len)
            *at = memcpy(octets, *at, len);
        t->ops[user]->on_event(t->user[user], t, now, &ev);
    }
}

static void finish(struct tunnel *t, const struct cv_now *now) {
    if (t->memory_short)
        tun_hop_make_room(t, now);
    tell_users(t, now);
    t->count.links = t->links.count;
    t->count.hops = t->hops.count;
    t->count.circuits = t->circuits.count;
    t->count.queued_cells = t->sched.cells_queued;
    t->count.dropped_codel = t->sched.dropped_codel;
    t->count.dropped_cap = t->sched.dropped_cap;
    tun_others_finish(t, now);
}

/* ---- datagrams in ---- */

bool tun_is_ours(const struct tunnel *t, const void *buf, size_t len) {
    const uint8_t *b = buf;
    if (len != TUN_DATAGRAM)
        return false;
    return tun_rxindex_find(t->rx, tun_cell_index(b)) || b[0] != 'd' || b[len - 1] != 'e';
}

static enum cv_err on_describe(struct tunnel *t, const struct cv_now *now,
                               const struct cv_addr *from, const uint8_t *buf) {
    size_t len;
    const uint8_t *descriptor = tun_own_descriptor(t, now->wall, &len);
    if (!descriptor)
        return CV_ERR_NOENT;
    if (!tun_address_ok(t, from))
        return CV_ERR_DENIED;
    if (!tun_admit(t->admission, TUN_ADMIT_DESCRIBE, from, now->mono)) {
        t->count.rate_limited++;
        return CV_ERR_LIMIT;
    }
    uint8_t answer[TUN_DATAGRAM];
    enum cv_err err = tun_describe_answer(&t->describe_net, buf, descriptor, len, &t->fast, answer);
    if (!err)
        tun_raw_send(t, from, answer);
    return err;
}

/* Nobody we know: a first flight, a question, or junk. */
static enum cv_err on_stranger(struct tunnel *t, const struct cv_now *now,
                               const struct cv_addr *from, const uint8_t *buf) {
    if (t->cfg.relay) {
        enum cv_err err = tun_epoch_on_flight_1(t, now, from, buf, /* ours= */ false);
        if (err != CV_ERR_NOENT)
            return err;
        if (tun_describe_is_question(&t->describe_net, buf))
            return on_describe(t, now, from, buf);
    }
    const struct tun_user_ops *ops = t->ops[TUN_USER_CLIENT];
    if (ops && ops->on_raw && ops->on_raw(t->user[TUN_USER_CLIENT], t, now, from, buf))
        return CV_ERR_OK;
    if (tun_worker_stranger(t, now, from, buf))
        return CV_ERR_OK;
    t->count.bad_index++;
    return CV_ERR_UNKNOWN;
}

static void check(struct tunnel *t, const struct cv_now *now) {
    assert(now->mono >= t->last);
    t->last = now->mono;
}

static enum cv_err receive(struct tunnel *t, const struct cv_now *now, const struct cv_addr *from,
                           const uint8_t *buf, uint32_t index) {
    struct tun_link *l = tun_rxindex_find(t->rx, index);
    enum cv_err err = CV_ERR_AUTH;
    if (l)
        err = tun_link_on_datagram(t, now, l, index, from, buf);
    if (err == CV_ERR_AUTH) /* an index may be anybody's first four octets */
        err = on_stranger(t, now, from, buf);
    return err;
}

enum cv_err tun_on_datagram(struct tunnel *t, const struct cv_now *now, const struct cv_addr *from,
                            const void *buf, size_t len) {
    check(t, now);
    t->count.datagrams_in++;
    if (len != TUN_DATAGRAM) {
        t->count.bad_length++;
        return CV_ERR_MALFORMED;
    }
    uint32_t index = tun_cell_index(buf);
    /* no index begins like a DHT message: what does is nobody's, and no reason to tell others */
    unsigned worker = t->others ? tun_worker_of(buf, t->cfg.workers) : t->cfg.worker;
    enum cv_err err = CV_ERR_OK;
    if (worker == t->cfg.worker)
        err = receive(t, now, from, buf, index);
    else
        tun_tell(t,
                 &(struct tun_message){.to = (uint8_t)worker,
                                       .kind = TUN_MESSAGE_DATAGRAM,
                                       .counted = true,
                                       .addr = *from},
                 buf, len);
    finish(t, now);
    return err;
}

void tun_on_message(struct tunnel *t, const struct cv_now *now, struct tun_message *m) {
    check(t, now);
    assert(t->others && m->to == t->cfg.worker);
    tun_crossing_took(t, m);
    switch ((int)m->kind) {
    case TUN_MESSAGE_DATAGRAM:
        (void)receive(t, now, &m->addr, m->octets, tun_cell_index(m->octets));
        break;
    case TUN_MESSAGE_FLIGHT:
        (void)tun_epoch_on_flight_1(t, now, &m->addr, m->octets, m->code != 0);
        break;
    case TUN_MESSAGE_STRANGER:
        (void)on_stranger(t, now, &m->addr, m->octets);
        break;
    default:
        tun_worker_on_message(t, now, m);
        break;
    }
    tun_message_free(m);
    finish(t, now);
}

/* ---- time ---- */

static void engine_tick(struct tunnel *t, const struct cv_now *now) {
    tun_link_report(t);
    tun_worker_counters(t);
    keyring_tick(t, now);
    tun_sched_trim(&t->sched);
    if (t->cfg.relay)
        tun_timer_set(t, &t->tick, now->mono + CV_SEC(60));
}

static void timer_due(struct tunnel *t, const struct cv_now *now, struct tun_timer *timer) {
    switch ((enum tun_timer_kind)timer->kind) {
    case TUN_TIMER_LINK:
        tun_link_on_timeout(t, now, CV_CONTAINER_OF(timer, struct tun_link, timer));
        break;
    case TUN_TIMER_CIRCUIT:
        tun_circuit_on_timeout(t, now, CV_CONTAINER_OF(timer, struct tun_circuit, timer));
        break;
    case TUN_TIMER_HOP:
        tun_hop_on_timeout(t, now, CV_CONTAINER_OF(timer, struct tun_hop, timer));
        break;
    case TUN_TIMER_ENGINE:
        engine_tick(t, now);
        break;
    case TUN_TIMER_ENDING:
        tun_hops_ending(t, now);
        break;
    }
}

void tun_on_timeout(struct tunnel *t, const struct cv_now *now) {
    check(t, now);
    struct cv_timer *due;
    while ((due = cv_heap_pop(&t->timers, now->mono)) != NULL)
        timer_due(t, now, CV_CONTAINER_OF(due, struct tun_timer, heap));
    tell_users(t, now);
    for (unsigned i = 0; i < TUN_USER_COUNT; i++)
        if (t->ops[i] && t->ops[i]->on_timeout)
            t->ops[i]->on_timeout(t->user[i], t, now);
    finish(t, now);
}

cv_usec tun_next_timeout(const struct tunnel *t) {
    cv_usec at = cv_heap_next(&t->timers);
    for (unsigned i = 0; i < TUN_USER_COUNT; i++)
        if (t->ops[i] && t->ops[i]->next_timeout)
            at = cv_usec_min(at, t->ops[i]->next_timeout(t->user[i]));
    return t->sched.listed ? cv_usec_min(at, t->shaper_ready) : at;
}

/* ---- datagrams out ---- */

static void commit(struct tunnel *t, struct cv_batch *batch, const struct cv_addr *to) {
    struct cv_endpoint ep = cv_endpoint_udp(to);
    cv_batch_commit(batch, &ep, TUN_DATAGRAM);
    t->count.datagrams_out++;
}

static void note_sent(struct tunnel *t, struct tun_link *l, cv_usec now, bool data) {
    l->sent_at = now;
    l->unanswered_at = 0;
    if (data && l->ours) /* the responder waits until it hears: it cannot renew */
        tun_epoch_used(t, now, l);
    if (data && !l->waiting_at) {
        l->waiting_at = now ? now : 1;
        l->probe_at = now + TUN_LINK_PROBE;
        if (l->timer.heap.at > l->probe_at)
            tun_timer_set(t, &l->timer, l->probe_at);
    }
}

static void send_outgoing(struct tunnel *t, cv_usec now, const struct tun_outgoing *o,
                          struct cv_batch *batch, uint8_t *slot) {
    if (!o->link) {
        memcpy(slot, o->octets, TUN_DATAGRAM);
        commit(t, batch, &o->to);
        return;
    }
    struct tun_link *l = tun_link_get(t, o->link);
    struct tun_session *s = !l ? NULL : o->next_epoch ? &l->next : &l->now;
    if (!s || !s->live || s->sent >= TUN_REJECT_CELLS)
        return; /* it ended while this waited */
    if (o->len)
        memcpy(tun_cell_control_body(slot), o->octets, o->len);
    struct tun_header h = {.sequence = ++s->sent,
                           .index = s->remote_index,
                           .circuit = o->circuit,
                           .command = o->command};
    tun_cell_seal_control(slot, &h, &s->tx_secret, o->len);
    note_sent(t, l, now, o->command != TUN_LINKCMD_KEEPALIVE);
    commit(t, batch, o->to.family ? &o->to : &l->addr);
}

static void send_cell(struct tunnel *t, const struct cv_now *now, struct tun_flow *f,
                      struct tun_cell *c, struct cv_batch *batch, uint8_t *slot) {
    struct tun_leg *leg = f->owner;
    struct tun_link *l = leg->link;
    struct tun_session *s = &l->now;
    assert(s->live);
    if (s->sent >= TUN_REJECT_CELLS) { /* the link ends at its next timeout */
        tun_sched_release(&t->sched, c);
        return;
    }
    memcpy(slot + TUN_HEADER, c->octets, TUN_CELL);
    struct tun_header h = {.sequence = ++s->sent,
                           .index = s->remote_index,
                           .circuit = leg->id,
                           .layer = c->layer,
                           .command = TUN_LINKCMD_RELAY};
    tun_cell_seal(slot, &h, &s->tx_secret);
    tun_sched_release(&t->sched, c);
    note_sent(t, l, now->mono, true);
    tun_link_sent_relay(t, now, l);
    commit(t, batch, &l->addr);
}

bool tun_poll_transmit(struct tunnel *t, const struct cv_now *now, struct cv_batch *batch) {
    assert(cv_batch_room(batch) >= TUN_DATAGRAM);
    uint8_t *slot;
    struct tun_outgoing *o;
    while ((o = tun_outbox_first(&t->outbox)) != NULL) {
        slot = cv_batch_slot(batch);
        if (!slot)
            return true;
        send_outgoing(t, now->mono, o, batch, slot);
        tun_outbox_drop(&t->outbox);
    }
    while (t->sched.listed) {
        slot = cv_batch_slot(batch);
        if (!slot)
            return true;
        if (t->shaped && !cv_tokenbucket_take(&t->shaper, now->mono, TUN_DATAGRAM)) {
            /* some at a time: a wake-up for each datagram costs more than it gives */
            t->shaper_ready = cv_tokenbucket_ready(&t->shaper, now->mono, 4 * TUN_DATAGRAM);
            return false;
        }
        struct tun_flow *f;
        struct tun_cell *c = tun_sched_next(&t->sched, now->mono, &f);
        if (!c) {
            if (t->shaped)
                t->shaper.level += TUN_DATAGRAM; /* not used */
            break;
        }
        send_cell(t, now, f, c, batch, slot);
    }
    t->shaper_ready = CV_USEC_NEVER;
    t->count.queued_cells = t->sched.cells_queued;
    return false;
}

/* ---- the node's calls ---- */

/* Cells of the node's that may wait in a circuit of others. Behind another worker it is too
 * late for AGAIN: what was sent there was let go by its room (crossing.c). */
static uint32_t cells_max(const struct tunnel *t) {
    return tun_is_face(t) ? TUN_OWN_CELLS : TUN_FLOW_CELLS;
}

/* Of a swarm exit: at it, or to it. */
static enum cv_err send_flow(struct tunnel *t, const struct cv_now *now, struct tun_hop *h,
                             const struct cv_endpoint *to, const void *buf, size_t len) {
    uint8_t body[TUN_BACKWARD_MAX];
    struct cv_wr w = cv_wr_init(body, h ? TUN_BACKWARD_MAX : TUN_FORWARD_MAX);
    tun_exit_write(&w, &(struct tun_exit){.flow = to->flow, .data = buf, .len = len});
    if (w.err || (h && !h->exit))
        return CV_ERR_INVAL;
    if (!h)
        return tun_circuit_send(t, now, to->handle, TUN_CMD_EXIT, body, cv_wr_len(&w));
    if (h->prev.flow.count >= cells_max(t))
        return CV_ERR_AGAIN;
    return tun_hop_send(t, now, h, TUN_CMD_EXIT, body, cv_wr_len(&w));
}

enum cv_err tun_send(struct tunnel *t, const struct cv_now *now, const struct cv_endpoint *to,
                     const void *buf, size_t len) {
    if (to->kind != CV_ENDPOINT_CIRCUIT)
        return CV_ERR_INVAL;
    if (tun_is_elsewhere(t, to->handle)) {
        if (len > TUN_BACKWARD_MAX)
            return CV_ERR_INVAL;
        struct tun_message m = {.to = (uint8_t)tun_handle_worker(to->handle),
                                .kind = TUN_MESSAGE_SEND,
                                .counted = true,
                                .at = to->handle,
                                .number = to->flow,
                                .since = now->mono};
        return tun_tell(t, &m, buf, len) ? CV_ERR_OK : CV_ERR_AGAIN;
    }
    struct tun_hop *h = tun_hop_get(t, to->handle);
    if (to->flow)
        return send_flow(t, now, h, to, buf, len);
    if (h) {
        if (!h->open || len > TUN_BACKWARD_MAX)
            return CV_ERR_INVAL;
        if (h->prev.flow.count >= cells_max(t))
            return CV_ERR_AGAIN;
        return tun_hop_send(t, now, h, TUN_CMD_DATAGRAM, buf, len);
    }
    struct tun_circuit *c = tun_handles_get(&t->circuits, to->handle);
    if (!c)
        return CV_ERR_NOENT;
    const struct tun_user_ops *ops = t->ops[c->plan.user];
    if (ops && ops->send)
        return ops->send(t->user[c->plan.user], t, now, to, buf, len);
    return tun_circuit_send(t, now, to->handle, TUN_CMD_DATAGRAM, buf, len);
}

void tun_saved(struct tunnel *t, const struct cv_now *now, enum tun_blob which) {
    (void)now;
    if (which == TUN_BLOB_KEYRING && t->keyring) {
        tun_keyring_saved(t->keyring);
        tun_others_keyring(t);
    }
}
