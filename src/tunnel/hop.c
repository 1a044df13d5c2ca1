#include "tunnel/hop.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/trace.h"
#include "crypto/hash.h"
#include "tunnel/core.h"

struct tun_hop *tun_hop_get(const struct tunnel *t, cv_handle hop) {
    return tun_handles_get(&t->hops, hop);
}

struct tun_sched_group *tun_hop_group(const struct tun_hop *h) {
    return h->prev.link->group; /* a class is the first link's business, in both directions */
}

void tun_hop_schedule(struct tunnel *t, struct tun_hop *h) {
    cv_usec at = cv_usec_min(h->heard_at + TUN_HOP_IDLE, h->turn_at);
    if (h->flight)
        at = cv_usec_min(at, h->create_at);
    if (h->joined)
        at = cv_usec_min(at, h->joined_at);
    if (h->memos)
        at = cv_usec_min(at, h->memos->at + TUN_MEMO_TIME);
    if (h->pace)
        at = cv_usec_min(at, tun_pacer_next(&h->pace->pacer));
    tun_timer_set(t, &h->timer, at);
}

/* ---- answers remembered ---- */

static void memo_free(struct tunnel *t, struct tun_memo *m) {
    t->memo_octets -= sizeof *m + m->len;
    free(m);
}

static void memo_drop_first(struct tunnel *t, struct tun_hop *h) {
    struct tun_memo *m = h->memos;
    h->memos = m->next;
    h->memo_count--;
    memo_free(t, m);
}

/* Oldest first. Beyond the caps nothing is remembered: a repeated question is
 * then simply done again. */
static void memo_add(struct tunnel *t, const struct cv_now *now, struct tun_hop *h,
                     uint32_t transaction, uint8_t command, const void *body, size_t len) {
    uint64_t max = ((uint64_t)TUN_MEMO_MIB << 20) / (t->cfg.workers > 1 ? t->cfg.workers : 1);
    if (t->memo_octets + sizeof(struct tun_memo) + len > max)
        return;
    struct tun_memo *m = malloc(sizeof *m + len);
    if (!m)
        return;
    *m = (struct tun_memo){
        .transaction = transaction, .len = (uint16_t)len, .command = command, .at = now->mono};
    if (len)
        memcpy(m->body, body, len);
    t->memo_octets += sizeof *m + len;
    if (h->memo_count >= TUN_MEMOS_MAX)
        memo_drop_first(t, h);
    struct tun_memo **end = &h->memos;
    while (*end)
        end = &(*end)->next;
    *end = m;
    h->memo_count++;
    tun_hop_schedule(t, h);
}

/* The question is answered: what stood for it goes. */
static void memo_settle(struct tunnel *t, struct tun_hop *h, uint32_t transaction) {
    for (struct tun_memo **at = &h->memos; *at; at = &(*at)->next) {
        struct tun_memo *m = *at;
        if (m->transaction != transaction || m->command)
            continue;
        *at = m->next;
        h->memo_count--;
        memo_free(t, m);
        return;
    }
}

/* True: this question was asked before; what it was answered is sent again. */
static bool memo_repeat(struct tunnel *t, const struct cv_now *now, struct tun_hop *h,
                        uint32_t transaction) {
    bool known = false;
    for (struct tun_memo *m = h->memos; m; m = m->next) {
        if (m->transaction != transaction)
            continue;
        known = true;
        if (m->command)
            (void)tun_hop_send(t, now, h, m->command, m->body, m->len);
    }
    return known;
}

static void memo_expire(struct tunnel *t, const struct cv_now *now, struct tun_hop *h) {
    while (h->memos && now->mono >= h->memos->at + TUN_MEMO_TIME)
        memo_drop_first(t, h);
}

/* ---- sending ---- */

/* All the cells that this direction may carry are carried: the circuit ends at its
 * next timeout. */
static void spend(struct tunnel *t, const struct cv_now *now, struct tun_hop *h) {
    h->spent = true;
    tun_timer_set(t, &h->timer, now->mono);
}

enum cv_err tun_hop_send(struct tunnel *t, const struct cv_now *now, struct tun_hop *h,
                         uint8_t command, const void *body, size_t len) {
    assert(len <= TUN_BACKWARD_MAX);
    struct tun_cell *c = tun_cell_take(t);
    if (!c)
        return CV_ERR_AGAIN;
    if (len)
        memcpy(tun_layer_data(c->octets), body, len);
    enum cv_err err = tun_layer_originate(&h->layer, &t->fast, c->octets, command, len, &c->layer);
    if (err) {
        spend(t, now, h);
        tun_sched_release(&t->sched, c);
        return err;
    }
    tun_put(t, &h->prev, c, now->mono);
    return CV_ERR_OK;
}

void tun_hop_asked(struct tunnel *t, const struct cv_now *now, struct tun_hop *h,
                   uint32_t transaction) {
    memo_add(t, now, h, transaction, 0, NULL, 0);
}

/* The OPEN is answered, or lost. Unless the node took it, what came behind it is nobody's. */
static void opening_done(struct tunnel *t, struct tun_hop *h, uint32_t transaction) {
    if (!h->opening || h->asks_open != transaction)
        return;
    h->opening = false;
    if (!h->open)
        tun_cross_done(t, h);
}

void tun_hop_unasked(struct tunnel *t, struct tun_hop *h, uint32_t transaction, bool extend) {
    if (!h)
        return;
    if (extend && h->extends)
        h->extends--;
    memo_settle(t, h, transaction);
    opening_done(t, h, transaction);
}

void tun_hop_answer(struct tunnel *t, const struct cv_now *now, struct tun_hop *h, uint8_t command,
                    const void *body, size_t len) {
    struct cv_rd r = cv_rd_init(body, len);
    uint32_t transaction = cv_rd_le32(&r);
    assert(!r.err);
    memo_settle(t, h, transaction);
    /* what the directory says is cheap to say again, and long */
    if (command != TUN_CMD_BUCKET && command != TUN_CMD_DESCRIPTORS)
        memo_add(t, now, h, transaction, command, body, len);
    (void)tun_hop_send(t, now, h, command, body, len); /* lost? it will be asked again */
}

void tun_hop_error(struct tunnel *t, const struct cv_now *now, struct tun_hop *h,
                   uint32_t transaction, uint8_t code, const void *data, size_t len) {
    uint8_t body[TUN_BACKWARD_MAX];
    struct cv_wr w = cv_wr_init(body, sizeof body);
    struct tun_error m = {.transaction = transaction, .code = code, .data = data, .len = len};
    tun_error_write(&w, &m);
    assert(!w.err);
    tun_hop_answer(t, now, h, TUN_CMD_ERROR, body, cv_wr_len(&w));
}

/* May an answer of the node's give it this role? It may have got another while the node
 * thought about this one. */
static bool may_become(const struct tun_hop *h, uint8_t command) {
    if (command == TUN_CMD_OPENED)
        return h->open || h->opening || tun_hop_is_free(h);
    return command != TUN_CMD_CONNECTED || h->exit || tun_hop_is_free(h);
}

enum cv_err tun_answer(struct tunnel *t, const struct cv_now *now, cv_handle hop,
                       uint32_t transaction, uint8_t command, const void *body, size_t len) {
    if (len + 4 > TUN_BACKWARD_MAX)
        return CV_ERR_INVAL;
    if (tun_is_elsewhere(t, hop)) {
        struct tun_message m = {.to = (uint8_t)tun_handle_worker(hop),
                                .kind = TUN_MESSAGE_ANSWER,
                                .may_be_lost = true,
                                .command = command,
                                .transaction = transaction,
                                .at = hop};
        if (!tun_tell(t, &m, body, len))
            tun_crossing_unasked(t, hop, transaction, false);
        return CV_ERR_OK;
    }
    struct tun_hop *h = tun_hop_get(t, hop);
    if (!h)
        return CV_ERR_NOENT;
    if (!may_become(h, command))
        return CV_ERR_DENIED;
    uint8_t all[TUN_BACKWARD_MAX];
    struct cv_wr w = cv_wr_init(all, sizeof all);
    cv_wr_le32(&w, transaction);
    cv_wr_bytes(&w, body, len);
    if (command == TUN_CMD_OPENED)
        h->open = true;
    if (command == TUN_CMD_OPENED || command == TUN_CMD_ERROR)
        opening_done(t, h, transaction);
    if (command == TUN_CMD_CONNECTED)
        h->exit = true;
    tun_hop_answer(t, now, h, command, all, cv_wr_len(&w));
    return CV_ERR_OK;
}

/* ---- life ---- */

static void extending_done(struct tun_hop *h) {
    free(h->flight);
    h->flight = NULL;
    h->extending = 0;
}

void tun_hop_free(struct tunnel *t, struct tun_hop *h) {
    if (h->asked) {
        struct tun_event ev = {.kind = TUN_EVENT_HOP_DOWN, .hop_down = {.hop = h->handle}};
        tun_event_to(t, TUN_USER_NODE, &ev);
    }
    extending_done(h);
    tun_cross_done(t, h);
    tun_hop_pace_done(t, h);
    while (h->memos)
        memo_drop_first(t, h);
    tun_leg_detach(t, &h->prev);
    tun_leg_detach(t, &h->next);
    tun_layer_done(&h->layer);
    cv_heap_remove(&t->timers, &h->timer.heap);
    tun_handles_del(&t->hops, h->handle);
    cv_wipe(h, sizeof *h);
    cv_slab_give(&t->hop_slab, h);
}

void tun_hop_destroy(struct tunnel *t, struct tun_hop *h, const struct tun_leg *from) {
    struct tun_hop *other = h->spliced;
    tun_hop_intro_done(t, h);
    tun_hop_rendezvous_done(t, h);
    if (from != &h->prev && h->prev.link)
        tun_link_send_destroy(t, h->prev.link, h->prev.id);
    if (from != &h->next && h->next.link)
        tun_link_send_destroy(t, h->next.link, h->next.id);
    tun_hop_free(t, h);
    if (other) {
        other->spliced = NULL;
        tun_hop_destroy(t, other, NULL);
    }
}

/* The circuit with the oldest cell among those of the link that holds most; what waits for
 * another worker counts as one. */
static struct tun_hop *victim(struct tunnel *t) {
    uint32_t cursor = 0, none = 0;
    struct tun_hop *h, *found = NULL;
    struct tun_link *l;
    const uint32_t *heaviest = &none;
    while ((l = tun_handles_next(&t->links, &cursor)) != NULL)
        if (l->queued > *heaviest)
            heaviest = &l->queued;
    for (unsigned i = 0; t->others && i < t->cfg.workers; i++)
        if (t->others->to[i].waiting > *heaviest)
            heaviest = &t->others->to[i].waiting;
    cv_usec oldest = CV_USEC_NEVER;
    cursor = 0;
    while ((h = tun_handles_next(&t->hops, &cursor)) != NULL) {
        const struct tun_leg *leg = h->prev.flow.load == heaviest   ? &h->prev
                                    : h->next.flow.load == heaviest ? &h->next
                                                                    : NULL;
        if (leg && leg->flow.head && leg->flow.head->queued_at < oldest) {
            oldest = leg->flow.head->queued_at;
            found = h;
        }
    }
    return found;
}

void tun_hop_make_room(struct tunnel *t, const struct cv_now *now) {
    t->memory_short = false;
    /* walking all circuits is not for every cell of a flood */
    if (t->killed_at && now->mono < t->killed_at + CV_MSEC(20))
        return;
    t->killed_at = now->mono ? now->mono : 1;
    struct tun_hop *h = victim(t);
    if (!h)
        return;
    CV_TRACE(TUNNEL, circuit_killed, now->mono, "hop=%llx", (unsigned long long)h->handle);
    t->count.circuits_killed++;
    tun_hop_destroy(t, h, NULL);
}

void tun_drain(struct tunnel *t, bool on) {
    t->draining = on;
    t->ending = t->ending && on;
    if (tun_is_face(t))
        tun_tell_all(t, &(struct tun_message){.kind = TUN_MESSAGE_DRAIN, .code = on}, NULL, 0);
}

/* Neighbours are told of each: one after the other, as they leave and no faster than a line may
 * carry, or most would be lost and their owners would wait for an answer. */
static bool may_end_one(struct tunnel *t, const struct cv_now *now) {
    return t->outbox.count + TUN_ENDINGS_SPARE <= TUN_OUTBOX_MAX &&
           cv_tokenbucket_take(&t->endings, now->mono, 1);
}

void tun_hops_ending(struct tunnel *t, const struct cv_now *now) {
    while (t->ending) {
        uint32_t next = t->ending_at;
        struct tun_hop *h = tun_handles_next(&t->hops, &next);
        if (h && now->mono >= h->heard_at + t->ending_idle) {
            if (!may_end_one(t, now)) {
                tun_timer_set(t, &t->ending_timer, now->mono + CV_MSEC(20));
                return;
            }
            tun_hop_destroy(t, h, NULL);
        }
        t->ending_at = next;
        t->ending = h != NULL;
    }
}

void tun_hops_end(struct tunnel *t, const struct cv_now *now, cv_usec idle) {
    t->ending_idle = t->ending ? cv_usec_min(t->ending_idle, idle) : idle;
    t->ending = true;
    t->ending_at = 0;
    tun_hops_ending(t, now);
    t->count.hops = t->hops.count;
    if (tun_is_face(t))
        tun_tell_all(t, &(struct tun_message){.kind = TUN_MESSAGE_HOPS_END, .number = idle}, NULL,
                     0);
}

/* ---- CREATE ---- */

static void send_created(struct tunnel *t, struct tun_hop *h) {
    tun_link_control(t, h->prev.link, TUN_LINKCMD_CREATED, h->prev.id, h->created,
                     sizeof h->created);
}

/* AES belongs to owners' first hops: who passes a circuit on asks for it by mistake. */
static bool has_suite(const struct tunnel *t, const struct cv_now *now, const struct tun_link *l,
                      uint8_t suite) {
    if (suite != TUN_SUITE_AES)
        return suite == TUN_SUITE_CHACHA;
    /* What a descriptor promised is kept until it is over, on a slower processor too:
     * owners take nothing less, and a second descriptor would be a lie. */
    bool offered = t->cfg.aes || tun_keyring_offers(t->keyring, now->wall, TUN_SUITES_AES);
    return offered && !l->ours && l->role != TUN_ROLE_RELAY;
}

/* Answers the handshake into a new hop, or says why not. */
static enum cv_err shake(struct tunnel *t, const struct cv_now *now, const struct tun_link *l,
                         const struct tun_create *m, struct tun_hop *h) {
    const struct cv_x25519_secret *keys[3 * TUN_ONION_KEYS];
    size_t n = tun_keyring_onion(t->keyring, now->wall, keys, sizeof keys / sizeof *keys);
    struct tun_handshake_in in;
    enum cv_err err = tun_handshake_consume_1(&in, m->flight, m->flight_len,
                                              t->identity_secret.public_key, keys, n);
    if (err)
        return err;
    struct tun_params params = {.suite = in.params.suite, .version = in.params.version};
    struct tun_layer_secret secret;
    if (!has_suite(t, now, l, in.params.suite) ||
        !tun_version_is_spoken(t->cfg.version, in.params.version))
        err = CV_ERR_VERSION;
    else
        err = tun_handshake_create_2(&in, h->created, &params, &t->rng, &secret);
    tun_handshake_in_done(&in);
    if (err)
        return err;
    tun_layer_init(&h->layer, &secret);
    memcpy(h->binding, secret.binding, sizeof h->binding);
    cv_wipe(&secret, sizeof secret);
    return CV_ERR_OK;
}

static enum cv_err create(struct tunnel *t, const struct cv_now *now, struct tun_link *l,
                          uint32_t id, const uint8_t *body, size_t len, const uint8_t digest[16]) {
    struct cv_rd r = cv_rd_init(body, len);
    struct tun_create m;
    enum cv_err err = tun_create_read(&r, &m);
    if (err)
        return err;
    if (m.params.ttl > TUN_TTL_MAX)
        return CV_ERR_MALFORMED;
    if (t->draining)
        return CV_ERR_LIMIT;
    if (!cv_tokenbucket_take(&l->creates, now->mono, 1) ||
        !tun_admit_create(t->admission, now->mono)) {
        t->count.rate_limited++;
        return CV_ERR_LIMIT;
    }
    if (l->circuits.count >= TUN_LINK_CIRCUITS_MAX || !tun_places_may_hop(t, l))
        return CV_ERR_LIMIT;
    struct tun_hop *h = cv_slab_take(&t->hop_slab);
    if (!h)
        return CV_ERR_NOMEM;
    err = shake(t, now, l, &m, h);
    /* nobody's circuit ends before this one is known to be good */
    if (!err && t->hops.count >= t->hops.max && !tun_places_take_hop(t, now, l))
        err = CV_ERR_LIMIT;
    if (!err)
        err = tun_handles_put(&t->hops, h, &h->handle);
    if (!err) {
        tun_flow_init(&h->prev.flow, l->group, &h->prev, TUN_FLOW_CELLS);
        tun_flow_init(&h->next.flow, l->group, &h->next, TUN_FLOW_CELLS);
        h->prev.kind = TUN_LEG_PREV;
        h->next.kind = TUN_LEG_NEXT;
        err = tun_leg_attach(t, &h->prev, l, id);
    }
    if (err) {
        tun_handles_del(&t->hops, h->handle);
        tun_layer_done(&h->layer);
        cv_wipe(h, sizeof *h);
        cv_slab_give(&t->hop_slab, h);
        return err;
    }
    memcpy(h->create_digest, digest, sizeof h->create_digest);
    h->timer.kind = TUN_TIMER_HOP;
    h->ttl = m.params.ttl;
    h->heard_at = h->counted_at = now->mono;
    h->turn_at = tun_layer_turn(&h->layer, &t->fast, now->mono);
    cv_tokenbucket_init(&h->lookups, TUN_ERRANDS_S, TUN_ERRANDS_BURST, now->mono);
    cv_tokenbucket_init(&h->introductions, TUN_ASKED_S, TUN_ASKED_BURST, now->mono);
    send_created(t, h);
    tun_hop_schedule(t, h);
    return CV_ERR_OK;
}

void tun_hop_on_create(struct tunnel *t, const struct cv_now *now, struct tun_link *l, uint32_t id,
                       const uint8_t *body, size_t len) {
    if (!tun_is_theirs(l, id))
        return; /* an id that we might choose ourselves */
    uint8_t digest[16];
    CV_BLAKE2B(digest, sizeof digest, t->map_key, sizeof t->map_key, {body, len});
    struct tun_leg *leg = tun_idtable_get(&l->circuits, id);
    if (leg) {
        struct tun_hop *h = leg->kind == TUN_LEG_PREV ? tun_leg_hop(leg) : NULL;
        if (h && !h->spoken && cv_equal(h->create_digest, digest, sizeof digest))
            send_created(t, h); /* ours was lost */
        return;
    }
    if (create(t, now, l, id, body, len, digest))
        tun_link_send_destroy(t, l, id);
}

/* ---- EXTEND ---- */

static void send_create(struct tunnel *t, struct tun_hop *h) {
    uint8_t body[TUN_CONTROL_MAX];
    struct cv_wr w = cv_wr_init(body, sizeof body);
    struct tun_create m = {
        .params = {.ttl = (uint8_t)(h->ttl - 1)}, .flight = h->flight, .flight_len = h->flight_len};
    tun_create_write(&w, &m);
    assert(!w.err);
    tun_link_control(t, h->next.link, TUN_LINKCMD_CREATE, h->next.id, body, cv_wr_len(&w));
}

static void begin_create(struct tunnel *t, const struct cv_now *now, struct tun_hop *h) {
    h->create_tries = 1;
    h->create_began = now->mono;
    h->create_wait = TUN_RETRY_FIRST;
    h->create_at = now->mono + h->create_wait;
    send_create(t, h);
}

/* Not back where the circuit came from, not to ourselves. */
static bool is_allowed(const struct tunnel *t, const struct tun_hop *h,
                       const struct tun_relay_ref *to) {
    const struct tun_link *l = h->prev.link;
    if (cv_equal(to->identity, t->identity_secret.public_key, CV_KEY))
        return false;
    if (l->role == TUN_ROLE_RELAY && cv_equal(to->identity, l->identity, CV_KEY))
        return false;
    return !cv_addr_equal(&to->addr[0], &l->addr) && !cv_addr_equal(&to->addr[1], &l->addr);
}

/* Looks for the relay that is meant, by our own verified copy of its descriptor. */
static void find(struct tunnel *t, const struct cv_now *now, struct tun_hop *h,
                 const struct tun_extend *m) {
    const struct tun_user_ops *ops = t->ops[TUN_USER_CLIENT];
    struct tun_relay_ref to;
    const uint8_t *descriptor = NULL;
    size_t len = 0;
    enum cv_err err = CV_ERR_NOENT;
    if (ops && ops->find_relay)
        err =
            ops->find_relay(t->user[TUN_USER_CLIENT], m->identity, m->day, &to, &descriptor, &len);
    tun_hop_found(t, now, h, m, err ? NULL : &to, descriptor, len);
}

static void extend(struct tunnel *t, const struct cv_now *now, struct tun_hop *h,
                   const struct tun_inner *in) {
    struct cv_rd r = cv_rd_init(in->data, in->len);
    struct tun_extend m;
    if (tun_extend_read(&r, &m)) {
        struct cv_rd first = cv_rd_init(in->data, in->len);
        tun_hop_error(t, now, h, cv_rd_le32(&first), TUN_ERROR_MALFORMED, NULL, 0);
        return;
    }
    if (h->flight && h->extending == m.transaction)
        return; /* under way; what there was no room to remember is the same all the same */
    if (h->ttl == 0 || h->extends >= TUN_EXTENDS_MAX) {
        t->count.extends_refused++;
        tun_hop_error(t, now, h, m.transaction, TUN_ERROR_LIMIT, NULL, 0);
        return;
    }
    if (!tun_hop_is_free(h) || t->draining) {
        tun_hop_error(t, now, h, m.transaction, t->draining ? TUN_ERROR_BUSY : TUN_ERROR_REFUSED,
                      NULL, 0);
        return;
    }
    h->extends++;
    if (tun_is_face(t)) {
        find(t, now, h, &m);
        return;
    }
    struct tun_message ask = {.kind = TUN_MESSAGE_FIND, .other = h->handle};
    if (tun_tell_question(t, &ask, in->data, in->len))
        tun_hop_asked(t, now, h, m.transaction);
    else
        h->extends--; /* it is repeated */
}

void tun_hop_found(struct tunnel *t, const struct cv_now *now, struct tun_hop *h,
                   const struct tun_extend *m, const struct tun_relay_ref *to,
                   const uint8_t *descriptor, size_t len) {
    if (!to) {
        tun_hop_error(t, now, h, m->transaction, TUN_ERROR_NOENT, NULL, 0);
        return;
    }
    if (!cv_equal(to->d, m->digest, sizeof to->d)) {
        /* both signed for one day: the owner now holds the proof */
        tun_hop_error(t, now, h, m->transaction, TUN_ERROR_DIFFERS, descriptor, len);
        return;
    }
    struct tun_link *l;
    /* asked of the face, it may have got another role meanwhile */
    if (!is_allowed(t, h, to) || !tun_hop_is_free(h)) {
        tun_hop_error(t, now, h, m->transaction, TUN_ERROR_REFUSED, NULL, 0);
        return;
    }
    if (tun_link_open(t, now, to, &l) || tun_leg_attach_new(t, &h->next, l)) {
        tun_hop_error(t, now, h, m->transaction, TUN_ERROR_UNREACHABLE, NULL, 0);
        return;
    }
    h->flight = malloc(m->flight_len ? m->flight_len : 1);
    if (!h->flight) {
        tun_leg_detach(t, &h->next);
        tun_hop_error(t, now, h, m->transaction, TUN_ERROR_BUSY, NULL, 0);
        return;
    }
    memcpy(h->flight, m->flight, m->flight_len);
    h->flight_len = (uint16_t)m->flight_len;
    h->extending = m->transaction;
    if (tun_is_face(t)) /* else it was, when the face was asked */
        tun_hop_asked(t, now, h, m->transaction);
    h->create_tries = 0;
    h->create_at = now->mono + CV_SEC(10); /* of waiting for the link */
    if (tun_link_is_up(l))
        begin_create(t, now, h);
    tun_hop_schedule(t, h);
}

void tun_hop_on_created(struct tunnel *t, const struct cv_now *now, struct tun_hop *h,
                        const uint8_t *body, size_t len) {
    if (!h->flight || !h->create_tries || len > TUN_EXTEND_FLIGHT_MAX)
        return;
    uint8_t all[4 + TUN_EXTEND_FLIGHT_MAX];
    struct cv_wr w = cv_wr_init(all, sizeof all);
    cv_wr_le32(&w, h->extending);
    cv_wr_bytes(&w, body, len); /* only the owner can tell whether it is the right one */
    h->extended = true;
    extending_done(h);
    tun_hop_answer(t, now, h, TUN_CMD_EXTENDED, all, cv_wr_len(&w));
    tun_hop_schedule(t, h);
}

void tun_hop_next_down(struct tunnel *t, const struct cv_now *now, struct tun_hop *h) {
    if (h->pace) { /* somebody behind us must not be seen in front of us */
        tun_hop_pace_alone(t, now, h);
        return;
    }
    if (!h->flight) {
        tun_hop_destroy(t, h, &h->next);
        return;
    }
    uint32_t transaction = h->extending;
    extending_done(h);
    tun_leg_detach(t, &h->next);
    tun_hop_error(t, now, h, transaction, TUN_ERROR_UNREACHABLE, NULL, 0);
    tun_hop_schedule(t, h);
}

/* A neighbour from which nothing came in all that time has lost the link. */
static void give_up_next(struct tunnel *t, const struct cv_now *now, struct tun_hop *h) {
    struct tun_link *l = h->next.link;
    if (h->create_tries && l->heard_at <= h->create_began) {
        tun_link_fail(t, now, l, CV_ERR_TIMEDOUT); /* tells this circuit too */
        return;
    }
    tun_link_send_destroy(t, l, h->next.id);
    tun_hop_next_down(t, now, h);
}

static void create_due(struct tunnel *t, const struct cv_now *now, struct tun_hop *h) {
    if (!h->create_tries && tun_link_is_up(h->next.link)) {
        begin_create(t, now, h);
        return;
    }
    if (now->mono < h->create_at)
        return;
    if (!h->create_tries || h->create_tries >= TUN_TRIES) {
        give_up_next(t, now, h);
        return;
    }
    h->create_tries++;
    h->create_wait *= 2;
    h->create_at = now->mono + h->create_wait;
    send_create(t, h);
}

void tun_hop_on_timeout(struct tunnel *t, const struct cv_now *now, struct tun_hop *h) {
    if (h->spent || now->mono >= h->heard_at + TUN_HOP_IDLE) {
        tun_hop_destroy(t, h, NULL);
        return;
    }
    if (now->mono >= h->turn_at)
        h->turn_at = tun_layer_turn(&h->layer, &t->fast, now->mono);
    if (now->mono >= h->counted_at + TUN_PLACE_COUNTED) {
        h->counted_at = now->mono;
        h->cells = 0;
    }
    if (h->pace && !tun_hop_pace_due(t, now, h))
        return;
    cv_handle handle = h->handle;
    if (h->flight)
        create_due(t, now, h);
    if (!tun_hop_get(t, handle))
        return;
    if (h->joined && now->mono >= h->joined_at)
        tun_hop_joined_again(t, now, h);
    memo_expire(t, now, h);
    tun_hop_schedule(t, h);
}

/* ---- cells ---- */

/* False: it is lost on the way. */
static bool request(struct tunnel *t, struct tun_hop *h, enum tun_user user, uint8_t command,
                    uint32_t transaction, struct cv_rd *r) {
    struct tun_event ev = {.kind = TUN_EVENT_REQUEST,
                           .request = {.hop = h->handle,
                                       .from = h->prev.link->addr,
                                       .transaction = transaction,
                                       .command = command,
                                       .body = r->p,
                                       .len = cv_rd_left(r)}};
    return tun_event_to(t, user, &ev);
}

/* False: it was not asked; unless that is said, its owner repeats it. */
static bool ask_node(struct tunnel *t, const struct cv_now *now, struct tun_hop *h, uint8_t command,
                     uint32_t transaction, struct cv_rd *r) {
    /* The others make us ask the DHT, or calculate; of CONNECTs the node counts more than that. */
    if (!tun_is_face(t) && !tun_crossing_has_room(t, 0, TUN_MESSAGE_REQUEST))
        return false;
    bool costly = command != TUN_CMD_OPEN && command != TUN_CMD_CONNECT;
    if (costly && !t->cfg.hurry && !cv_tokenbucket_take(&h->lookups, now->mono, TUN_ERRAND_COST)) {
        tun_hop_error(t, now, h, transaction, TUN_ERROR_LIMIT, NULL, 0);
        return false;
    }
    memo_add(t, now, h, transaction, 0, NULL, 0);
    if (!request(t, h, TUN_USER_NODE, command, transaction, r)) {
        memo_settle(t, h, transaction);
        return false;
    }
    h->asked = true;
    return true;
}

static void open_swarm(struct tunnel *t, const struct cv_now *now, struct tun_hop *h,
                       uint32_t transaction, struct cv_rd *r) {
    bool again = h->opening && h->asks_open == transaction;
    if (!tun_hop_is_free(h) && !h->open && !again) {
        tun_hop_error(t, now, h, transaction, TUN_ERROR_REFUSED, NULL, 0);
        return;
    }
    if (!ask_node(t, now, h, TUN_CMD_OPEN, transaction, r) || h->open)
        return;
    h->opening = true;
    h->asks_open = transaction;
}

static void pong(struct tunnel *t, const struct cv_now *now, struct tun_hop *h,
                 uint32_t transaction) {
    uint8_t body[4];
    struct cv_wr w = cv_wr_init(body, sizeof body);
    cv_wr_le32(&w, transaction);
    (void)tun_hop_send(t, now, h, TUN_CMD_PONG, body, sizeof body);
}

static void on_request(struct tunnel *t, const struct cv_now *now, struct tun_hop *h,
                       const struct tun_inner *in) {
    struct cv_rd r = cv_rd_init(in->data, in->len);
    uint32_t transaction = cv_rd_le32(&r);
    if (r.err) {
        tun_hop_error(t, now, h, 0, TUN_ERROR_MALFORMED, NULL, 0);
        return;
    }
    if (memo_repeat(t, now, h, transaction))
        return;
    switch (in->command) {
    case TUN_CMD_EXTEND:
        extend(t, now, h, in);
        break;
    case TUN_CMD_PING:
        pong(t, now, h, transaction);
        break;
    case TUN_CMD_BUCKET:
    case TUN_CMD_DESCRIPTORS:
        if (t->ops[TUN_USER_CLIENT] || !tun_is_face(t))
            (void)request(t, h, TUN_USER_CLIENT, in->command, transaction, &r);
        else
            tun_hop_error(t, now, h, transaction, TUN_ERROR_BUSY, NULL, 0);
        break;
    case TUN_CMD_OPEN:
        open_swarm(t, now, h, transaction, &r);
        break;
    case TUN_CMD_CONNECT:
        if ((t->cfg.relay_flags & TUN_RELAY_EXIT) && (tun_hop_is_free(h) || h->exit))
            (void)ask_node(t, now, h, in->command, transaction, &r);
        else
            tun_hop_error(t, now, h, transaction, TUN_ERROR_REFUSED, NULL, 0);
        break;
    case TUN_CMD_LOOKUP:
    case TUN_CMD_PUT:
    case TUN_CMD_TOKEN_REQUEST:
        (void)ask_node(t, now, h, in->command, transaction, &r);
        break;
    case TUN_CMD_ESTABLISH_INTRO:
        tun_hop_establish_intro(t, now, h, in);
        break;
    case TUN_CMD_INTRODUCE:
        tun_hop_introduce(t, now, h, in);
        break;
    case TUN_CMD_ESTABLISH_RENDEZVOUS:
        tun_hop_establish_rendezvous(t, now, h, in);
        break;
    case TUN_CMD_JOIN:
        tun_hop_join(t, now, h, in);
        break;
    case TUN_CMD_PACE:
        tun_hop_pace(t, now, h, in);
        break;
    default:
        t->count.unknown_commands++;
        tun_hop_error(t, now, h, transaction, TUN_ERROR_UNKNOWN_COMMAND, NULL, 0);
        break;
    }
}

void tun_hop_for_node(struct tunnel *t, struct tun_hop *h, const struct tun_inner *in) {
    struct cv_rd r = cv_rd_init(in->data, in->len);
    struct tun_exit m = {.data = in->data, .len = in->len};
    if (in->command == TUN_CMD_EXIT && (tun_exit_read(&r, &m) || m.flow == 0))
        return;
    struct tun_event ev = {.kind = TUN_EVENT_HOP_DATAGRAM,
                           .hop_datagram = {.from = cv_endpoint_circuit(h->handle, m.flow),
                                            .buf = m.data,
                                            .len = m.len}};
    tun_event_to(t, TUN_USER_NODE, &ev);
}

static void on_cell_for_node(struct tunnel *t, const struct cv_now *now, struct tun_hop *h,
                             const struct tun_inner *in) {
    if (tun_is_face(t))
        tun_hop_for_node(t, h, in);
    else
        tun_cross(t, now, h, in);
}

/* A cell that ends here. */
static void on_command(struct tunnel *t, const struct cv_now *now, struct tun_hop *h,
                       const struct tun_inner *in) {
    if (in->command == TUN_CMD_PADDING)
        return;
    if (in->command == TUN_CMD_EXIT && h->exit) {
        on_cell_for_node(t, now, h, in);
        return;
    }
    if (in->command != TUN_CMD_DATAGRAM) {
        on_request(t, now, h, in);
        return;
    }
    if (h->spliced || h->spliced_away) {
        tun_hop_spliced_datagram(t, now, h, in);
    } else if (h->open || h->opening) {
        on_cell_for_node(t, now, h, in);
    }
}

void tun_hop_on_forward(struct tunnel *t, const struct cv_now *now, struct tun_hop *h,
                        const uint8_t *cell) {
    struct tun_cell *c = tun_cell_take(t);
    if (!c)
        return;
    struct tun_inner in;
    if (tun_layer_forward(&h->layer, now->mono, cell, c->octets, &in)) {
        t->count.bad_cell++;
        tun_sched_release(&t->sched, c);
        return;
    }
    h->heard_at = now->mono;
    if (h->cells < UINT8_MAX)
        h->cells++;
    h->spoken = true;
    if (h->paced)
        tun_pacer_heard(&h->pace->pacer);
    if (h->layer.forward.old_until && h->layer.forward.old_until < h->turn_at) {
        /* the owner began an epoch */
        h->turn_at = tun_layer_wipe_at(&h->layer);
        tun_hop_schedule(t, h);
    }
    if (in.command) {
        on_command(t, now, h, &in);
        tun_sched_release(&t->sched, c);
    } else if (h->extended) {
        t->count.relayed_cells++;
        c->layer = 0;
        tun_put(t, &h->next, c, now->mono);
    } else {
        t->count.bad_cell++;
        tun_sched_release(&t->sched, c);
    }
}

void tun_hop_on_backward(struct tunnel *t, const struct cv_now *now, struct tun_hop *h,
                         const uint8_t *cell, uint32_t layer) {
    struct tun_cell *c = h->extended ? tun_cell_take(t) : NULL;
    if (!c)
        return;
    memcpy(c->octets, cell, TUN_CELL);
    if (tun_layer_transit(&h->layer, &t->fast, c->octets, layer, &c->layer)) {
        spend(t, now, h);
        tun_sched_release(&t->sched, c);
        return;
    }
    t->count.relayed_cells++;
    tun_put(t, &h->prev, c, now->mono);
}
