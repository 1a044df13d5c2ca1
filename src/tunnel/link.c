#include "tunnel/link.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/trace.h"
#include "crypto/hash.h"
#include "tunnel/core.h"

/* ---- life ---- */

struct tun_link *tun_link_get(const struct tunnel *t, cv_handle link) {
    return tun_handles_get(&t->links, link);
}

bool tun_link_is_up(const struct tun_link *l) {
    return l->state == TUN_STATE_OPEN;
}

cv_handle tun_link_handle(const struct tun_link *l) {
    return l->handle;
}

struct cv_addr tun_link_addr(const struct tun_link *l) {
    return l->addr;
}

cv_usec tun_link_heard_at(const struct tun_link *l) {
    return l->heard_at;
}

cv_usec tun_link_waits_since(const struct tun_link *l) {
    return l->waiting_at;
}

void tun_link_hurry(struct tunnel *t, const struct cv_now *now, struct tun_link *l) {
    if (l->state != TUN_STATE_MAKING || !l->making)
        return;
    l->making->tries = 0;
    l->making->wait = TUN_RETRY_FIRST / 2; /* doubled when it is due */
    l->making->at = now->mono;
    tun_link_schedule(t, l);
}

void tun_link_ask(struct tunnel *t, struct tun_link *l) {
    uint8_t body[8];
    cv_rng_fill(&t->fast, body, sizeof body);
    tun_link_control(t, l, TUN_LINKCMD_PATH_CHALLENGE, 0, body, sizeof body);
}

bool tun_link_is_moving(const struct tun_link *l) {
    return l->new_addr.family != 0;
}

const uint8_t *tun_link_relay(const struct tun_link *l) {
    return l->state == TUN_STATE_OPEN && l->role == TUN_ROLE_RELAY ? l->identity : NULL;
}

bool tun_link_view(const struct tunnel *t, cv_handle link, struct tun_link_view *ret) {
    const struct tun_link *l = tun_link_get(t, link);
    const struct tun_far_link *far = tun_link_far(t, link);
    if (l)
        *ret = (struct tun_link_view){.relay = tun_link_relay(l),
                                      .addr = l->addr,
                                      .up = tun_link_is_up(l),
                                      .moving = tun_link_is_moving(l)};
    else if (far)
        *ret = (struct tun_link_view){.relay = far->role == TUN_ROLE_RELAY ? far->identity : NULL,
                                      .addr = far->addr,
                                      .up = true,
                                      .moving = far->moving};
    return l || far;
}

static void netgroup_release(struct tunnel *t, struct tun_netgroup *g) {
    if (!g || --g->refs)
        return;
    cv_map_del(t->netgroups, &g->key);
    free(g);
}

static struct tun_netgroup *netgroup_hold(struct tunnel *t, const struct tun_netgroup *key,
                                          unsigned weight) {
    struct tun_netgroup *g = cv_map_get(t->netgroups, &key->key);
    if (!g) {
        g = calloc(1, sizeof *g);
        if (!g)
            return NULL;
        g->key = key->key;
        TAILQ_INIT(&g->halves);
        tun_sched_group_init(&g->group, key->key.class, weight);
        if (cv_map_put(t->netgroups, &g->key, g)) {
            free(g);
            return NULL;
        }
    }
    if (g->group.weight != weight)
        tun_sched_group_set(&t->sched, &g->group, key->key.class, weight);
    g->refs++;
    return g;
}

/* Clients of a household or two count as one. */
static struct tun_netgroup client_key(const struct tunnel *t, const struct cv_addr *addr,
                                      unsigned class) {
    return (struct tun_netgroup){.key = {.network = cv_addr_network(addr, 24, 56),
                                         .class = t->cfg.gate ? class : TUN_CLASS_NEW}};
}

static struct tun_netgroup *hold_clients(struct tunnel *t, const struct tun_link *l) {
    struct tun_netgroup key = client_key(t, &l->addr, l->class);
    return netgroup_hold(t, &key, TUN_NETWORK_WEIGHT);
}

const struct tun_netgroup *tun_netgroup_of(const struct tunnel *t, const struct cv_addr *addr) {
    struct tun_netgroup key = client_key(t, addr, TUN_CLASS_NEW);
    return cv_map_get(t->netgroups, &key.key);
}

/* A relay that the ledger knows something of. */
static bool stands(const struct tun_link *l) {
    return l->weight > TUN_WEIGHT_UNKNOWN;
}

/*
 * Anybody can say that it is a relay, under any number of names, and have us call them all by
 * circuits that lead there. Until the ledger knows something of one, it has what its network
 * has: of relays those that never follow each other in a path (tun_relay_conflict), as who
 * hosts at one place has hundreds of /24s and /56s. One with standing has that once, by
 * however many links it comes.
 */
static struct tun_netgroup *hold_relay(struct tunnel *t, const struct tun_link *l) {
    struct tun_netgroup key = {.key = {.class = TUN_SCHED_RELAYS}};
    if (stands(l))
        memcpy(key.key.identity, l->identity, CV_KEY);
    else
        key.key.network = cv_addr_network(&l->addr, 16, 32);
    return netgroup_hold(t, &key, stands(l) ? l->weight : (unsigned)TUN_WEIGHT_UNKNOWN);
}

/* Moves what the hops of this link have waiting into its group, and counts them where it is
 * counted now. */
static void regroup_legs(struct tunnel *t, struct tun_link *l, struct tun_netgroup *counted) {
    for (uint32_t i = 0; i < l->circuits.cap; i++) {
        struct tun_leg *leg = l->circuits.v[i].value;
        if (!leg || leg->kind != TUN_LEG_PREV)
            continue;
        struct tun_hop *h = tun_leg_hop(leg);
        tun_flow_move(&t->sched, &h->prev.flow, l->group);
        tun_flow_move(&t->sched, &h->next.flow, l->group);
        if (l->counted == counted)
            continue;
        tun_places_hop_leaves(t, h, counted);
        tun_places_hop_enters(t, h, l->counted);
    }
}

/* Where it is counted: among those that wait for a first cell, or with a place. */
static void count_places(struct tunnel *t, struct tun_link *l, bool there) {
    if (l->state == TUN_STATE_ANSWERED)
        tun_half_count(t, l, there);
    else if (there)
        tun_places_link_enters(t, l);
    else
        tun_places_link_leaves(t, l);
}

void tun_link_regroup(struct tunnel *t, struct tun_link *l) {
    struct tun_netgroup *served = l->netgroup, *counted = l->counted;
    count_places(t, l, false);
    l->netgroup = l->counted = NULL;
    if (!t->cfg.relay) {
        l->group = &t->own_group;
    } else {
        bool relay = l->ours || l->role == TUN_ROLE_RELAY;
        l->netgroup = relay ? hold_relay(t, l) : hold_clients(t, l);
        l->counted = relay && stands(l) ? hold_relay(t, l) : hold_clients(t, l);
        l->group = l->netgroup ? &l->netgroup->group : &l->alone;
    }
    count_places(t, l, true);
    regroup_legs(t, l, counted);
    netgroup_release(t, served);
    netgroup_release(t, counted);
}

struct tun_link *tun_link_alloc(struct tunnel *t, const struct cv_now *now,
                                const struct cv_addr *addr, bool ours) {
    if (ours && t->links.count >= t->cfg.links_max + t->halves)
        return NULL;
    struct tun_link *l = calloc(1, sizeof *l);
    if (!l)
        return NULL;
    if (tun_handles_put(&t->links, l, &l->handle)) {
        free(l);
        return NULL;
    }
    l->timer.kind = TUN_TIMER_LINK;
    l->addr = *addr;
    l->ours = ours;
    l->class = TUN_CLASS_NEW;
    l->weight = TUN_WEIGHT_UNKNOWN;
    l->heard_at = l->sent_at = now->mono;
    l->rekey_at = l->give_up_at = l->auth_at = CV_USEC_NEVER;
    tun_sched_group_init(&l->alone, TUN_SCHED_RELAYS, l->weight);
    tun_idtable_init(&l->circuits, TUN_LINK_CIRCUITS_MAX, cv_rng_u64(&t->fast));
    cv_tokenbucket_init(&l->creates, TUN_CREATES_S, TUN_CREATES_BURST, now->mono);
    cv_tokenbucket_init(&l->destroys, TUN_DESTROYS_S, TUN_DESTROYS_BURST, now->mono);
    tun_link_regroup(t, l);
    return l;
}

static void forget_name(struct tunnel *t, struct tun_link *l) {
    if (l->named)
        cv_map_del(t->links_by_identity, l->identity);
    l->named = false;
}

void tun_link_free(struct tunnel *t, struct tun_link *l) {
    assert(l->circuits.count == 0 && l->queued == 0);
    tun_expect_end(t, l);
    forget_name(t, l);
    tun_worker_moved(t, l, true);
    if (l->dirty)
        TAILQ_REMOVE(&t->dirty, l, dirty_entry);
    tun_session_drop(t, &l->now);
    tun_session_drop(t, &l->next);
    tun_session_drop(t, &l->old);
    if (l->making) {
        tun_rxindex_drop(t->rx, l->making->hs.local_index);
        tun_linkhs_done(&l->making->hs);
        free(l->making);
    }
    if (l->stale_index)
        tun_rxindex_drop(t->rx, l->stale_index);
    for (unsigned i = 0; i < l->spares_local; i++)
        tun_rxindex_drop(t->rx, l->spare_local[i]);
    free(l->peer);
    count_places(t, l, false);
    netgroup_release(t, l->netgroup);
    netgroup_release(t, l->counted);
    tun_idtable_done(&l->circuits);
    cv_heap_remove(&t->timers, &l->timer.heap);
    tun_handles_del(&t->links, l->handle);
    cv_wipe(l, sizeof *l);
    free(l);
}

static void leg_down(struct tunnel *t, const struct cv_now *now, struct tun_leg *leg,
                     enum cv_err err) {
    switch ((enum tun_leg_kind)leg->kind) {
    case TUN_LEG_OWN:
        tun_circuit_fail(t, now, tun_leg_circuit(leg), err);
        break;
    case TUN_LEG_PREV:
        tun_hop_destroy(t, tun_leg_hop(leg), leg);
        break;
    case TUN_LEG_NEXT:
        tun_hop_next_down(t, now, tun_leg_hop(leg));
        break;
    }
}

void tun_link_fail(struct tunnel *t, const struct cv_now *now, struct tun_link *l,
                   enum cv_err err) {
    CV_TRACE(TUNNEL, link_down, now->mono, "link=%llx err=%d", (unsigned long long)l->handle, err);
    bool was_open = l->state == TUN_STATE_OPEN;
    uint32_t id;
    struct tun_leg *leg;
    while ((leg = tun_idtable_any(&l->circuits, &id)) != NULL) {
        uint32_t left = l->circuits.count;
        leg_down(t, now, leg, err);
        assert(l->circuits.count < left);
    }
    if (was_open || l->ours) {
        struct tun_event ev = {.kind = TUN_EVENT_LINK_DOWN,
                               .link_down = {.link = l->handle, .err = err}};
        if (l->dirty)
            tun_link_report(t);
        if (l->ours)
            tun_event_to(t, TUN_USER_CLIENT, &ev);
        tun_event_to(t, TUN_USER_NODE, &ev);
    }
    tun_link_free(t, l);
}

/* Of what it has at most two; how many. */
static unsigned pick_addresses(const struct tunnel *t, const struct tun_relay_ref *to,
                               struct cv_addr ret[2]) {
    unsigned n = 0;
    for (unsigned i = 0; i < 2; i++) {
        if (tun_address_ok(t, &to->addr[i]))
            ret[n++] = to->addr[i];
    }
    return n;
}

uint8_t tun_ref_version(const struct tunnel *t, const struct tun_relay_ref *to) {
    return tun_version_between(t->cfg.version, to->version ? to->version : TUN_VERSION);
}

static void name_link(struct tunnel *t, struct tun_link *l, const uint8_t identity[CV_KEY]) {
    memcpy(l->identity, identity, CV_KEY);
    l->named = cv_map_put(t->links_by_identity, l->identity, l) == CV_ERR_OK;
}

enum cv_err tun_link_open(struct tunnel *t, const struct cv_now *now,
                          const struct tun_relay_ref *to, struct tun_link **ret) {
    struct tun_link *l = cv_map_get(t->links_by_identity, to->identity);
    if (l) {
        *ret = l;
        return CV_ERR_OK;
    }
    struct cv_addr addr[2] = {{.family = 0}};
    if (!pick_addresses(t, to, addr))
        return CV_ERR_DENIED;
    uint8_t version = tun_ref_version(t, to);
    if (version == 0)
        return CV_ERR_VERSION;
    l = tun_link_alloc(t, now, &addr[0], true);
    if (!l)
        return CV_ERR_LIMIT;
    l->addr_too = addr[1];
    l->role = TUN_ROLE_RELAY;
    l->state = TUN_STATE_MAKING;
    l->peer = malloc(sizeof *l->peer);
    enum cv_err err = l->peer ? CV_ERR_OK : CV_ERR_NOMEM;
    if (!err) {
        tun_linkhs_peer_init(l->peer, to->link_key, t->cfg.network_id);
        tun_linkhs_peer_speaks(l->peer, version);
        err = tun_epoch_begin(t, now, l);
    }
    if (err) {
        tun_link_free(t, l);
        return err;
    }
    name_link(t, l, to->identity);
    tun_link_schedule(t, l);
    *ret = l;
    return CV_ERR_OK;
}

static void tell_up(struct tunnel *t, const struct tun_link *l) {
    struct tun_event ev = {
        .kind = TUN_EVENT_LINK_UP,
        .link_up = {.link = l->handle, .role = l->role, .addr = l->addr, .ours = l->ours}};
    memcpy(ev.link_up.identity, l->identity, CV_KEY);
    if (l->ours || l->role == TUN_ROLE_RELAY)
        tun_event_to(t, TUN_USER_CLIENT, &ev);
    tun_event_to(t, TUN_USER_NODE, &ev);
}

void tun_link_opened(struct tunnel *t, const struct cv_now *now, struct tun_link *l) {
    assert(l->state == TUN_STATE_OPEN);
    CV_TRACE(TUNNEL, link_up, now->mono, "link=%llx ours=%d", (unsigned long long)l->handle,
             l->ours);
    tell_up(t, l);
    /* circuits that waited go on at once, from their own timers */
    for (uint32_t i = 0; i < l->circuits.cap; i++) {
        struct tun_leg *leg = l->circuits.v[i].value;
        if (!leg)
            continue;
        if (leg->kind == TUN_LEG_OWN)
            tun_timer_set(t, &tun_leg_circuit(leg)->timer, now->mono);
        else if (leg->kind == TUN_LEG_NEXT)
            tun_timer_set(t, &tun_leg_hop(leg)->timer, now->mono);
    }
}

/* ---- legs ---- */

enum cv_err tun_leg_attach(struct tunnel *t, struct tun_leg *leg, struct tun_link *l, uint32_t id) {
    assert(!leg->link);
    assert((leg->kind == TUN_LEG_PREV) == tun_is_theirs(l, id));
    enum cv_err err = tun_idtable_put(&l->circuits, id, leg);
    if (err)
        return err;
    leg->link = l;
    leg->id = id;
    tun_flow_count(&leg->flow, &l->queued);
    if (leg->kind == TUN_LEG_PREV)
        tun_places_hop_enters(t, tun_leg_hop(leg), l->counted);
    return CV_ERR_OK;
}

enum cv_err tun_leg_attach_new(struct tunnel *t, struct tun_leg *leg, struct tun_link *l) {
    for (unsigned tries = 0; tries < 8; tries++) {
        uint32_t id = cv_rng_u32(&t->fast) & ~TUN_CIRCUIT_INITIATOR;
        if (l->ours)
            id |= TUN_CIRCUIT_INITIATOR;
        enum cv_err err = tun_leg_attach(t, leg, l, id);
        if (err != CV_ERR_EXIST)
            return err;
    }
    return CV_ERR_LIMIT;
}

void tun_leg_detach(struct tunnel *t, struct tun_leg *leg) {
    tun_flow_clear(&t->sched, &leg->flow);
    if (!leg->link)
        return;
    tun_flow_count(&leg->flow, NULL);
    if (leg->kind == TUN_LEG_PREV)
        tun_places_hop_leaves(t, tun_leg_hop(leg), leg->link->counted);
    tun_idtable_del(&leg->link->circuits, leg->id);
    leg->link = NULL;
}

/* ---- sending ---- */

enum cv_err tun_link_control_to(struct tunnel *t, struct tun_link *l, uint8_t command,
                                uint32_t circuit, const void *body, size_t len,
                                const struct cv_addr *to, bool next_epoch) {
    assert(len <= TUN_CONTROL_MAX);
    struct tun_outgoing *o = tun_outbox_add(&t->outbox);
    if (!o)
        return CV_ERR_LIMIT;
    o->to = to ? *to : (struct cv_addr){0};
    o->link = l->handle;
    o->circuit = circuit;
    o->len = (uint16_t)len;
    o->command = command;
    o->next_epoch = next_epoch;
    if (len)
        memcpy(o->octets, body, len);
    return CV_ERR_OK;
}

enum cv_err tun_link_control(struct tunnel *t, struct tun_link *l, uint8_t command,
                             uint32_t circuit, const void *body, size_t len) {
    if (l->state != TUN_STATE_OPEN)
        return CV_ERR_AGAIN;
    return tun_link_control_to(t, l, command, circuit, body, len, NULL, false);
}

void tun_link_send_destroy(struct tunnel *t, struct tun_link *l, uint32_t circuit) {
    tun_link_control(t, l, TUN_LINKCMD_DESTROY, circuit, NULL, 0);
}

void tun_link_give_spares(struct tunnel *t, struct tun_link *l) {
    struct tun_new_index m = {.n = 0};
    while (l->spares_local < TUN_SPARES) {
        uint32_t index;
        if (tun_rxindex_take(t->rx, l, &index))
            break;
        l->spare_local[l->spares_local++] = index;
        m.index[m.n++] = index;
    }
    if (!m.n)
        return;
    uint8_t body[1 + 4 * TUN_SPARE_INDEXES_MAX];
    struct cv_wr w = cv_wr_init(body, sizeof body);
    tun_new_index_write(&w, &m);
    tun_link_control(t, l, TUN_LINKCMD_NEW_INDEX, 0, body, cv_wr_len(&w));
}

/* Once a link: it is said three times, and a signature costs more than all else. */
static void sign_auth(struct tunnel *t, struct tun_link *l) {
    struct cv_ed25519_secret account_secret;
    const struct cv_ed25519_secret *key = &t->identity_secret;
    enum tun_role role = TUN_ROLE_RELAY;
    if (!t->cfg.relay) {
        /* one account a guard: guards cannot compare whom they serve */
        uint8_t seed[CV_KEY];
        CV_BLAKE2B(seed, sizeof seed, t->identity_secret.seed, CV_KEY, {"guard account", 13},
                   {l->identity, CV_KEY});
        cv_ed25519_from_seed(&account_secret, seed);
        cv_wipe(seed, sizeof seed);
        key = &account_secret;
        role = TUN_ROLE_CLIENT;
    }
    struct tun_auth m;
    tun_auth_sign(&m, role, key, l->first_hash);
    struct cv_wr w = cv_wr_init(l->auth, sizeof l->auth);
    tun_auth_write(&w, &m);
    assert(!w.err && cv_wr_len(&w) == sizeof l->auth);
    l->auth_signed = true;
    cv_wipe(&account_secret, sizeof account_secret);
}

static void send_auth(struct tunnel *t, struct tun_link *l) {
    if (!l->auth_signed)
        sign_auth(t, l);
    tun_link_control(t, l, TUN_LINKCMD_AUTH, 0, l->auth, sizeof l->auth);
}

/* ---- timers ---- */

void tun_link_schedule(struct tunnel *t, struct tun_link *l) {
    cv_usec at = cv_usec_min(l->give_up_at, l->rekey_at);
    if (l->making)
        at = cv_usec_min(at, l->making->at);
    if (l->state == TUN_STATE_OPEN) {
        at = cv_usec_min(at, l->auth_at);
        at = cv_usec_min(at, l->sent_at + TUN_KEEPALIVE);
        at = cv_usec_min(at, l->heard_at + TUN_LINK_SILENCE);
        if (l->unanswered_at)
            at = cv_usec_min(at, l->unanswered_at + TUN_PASSIVE);
        if (l->waiting_at)
            at = cv_usec_min(at, cv_usec_min(l->probe_at, l->waiting_at + TUN_LINK_WAIT));
        if (l->old.live)
            at = cv_usec_min(at, l->old_until);
    }
    tun_timer_set(t, &l->timer, at);
}

static bool is_dead(const struct tun_link *l, cv_usec now) {
    if (now >= l->give_up_at)
        return true;
    if (l->state != TUN_STATE_OPEN)
        return false;
    return now >= l->heard_at + TUN_LINK_SILENCE ||
           (l->waiting_at && now >= l->waiting_at + TUN_LINK_WAIT);
}

void tun_link_on_timeout(struct tunnel *t, const struct cv_now *now, struct tun_link *l) {
    if (is_dead(l, now->mono)) {
        tun_link_fail(t, now, l, CV_ERR_TIMEDOUT);
        return;
    }
    if (l->old.live && now->mono >= l->old_until)
        tun_session_drop(t, &l->old);
    if (l->ours) {
        cv_handle handle = l->handle;
        tun_epoch_on_timeout(t, now, l);
        if (!tun_link_get(t, handle))
            return;
    }
    if (l->state == TUN_STATE_OPEN) {
        if (l->auth_tries && now->mono >= l->auth_at) {
            /* not acknowledged: said three times, and on until they said anything: who waits for
             * a place is not heard */
            send_auth(t, l);
            if (l->auth_tries > 1 || l->now.window.last)
                l->auth_tries--;
            l->auth_at = l->auth_tries ? now->mono + CV_SEC(2) : CV_USEC_NEVER;
        }
        bool quiet = now->mono >= l->sent_at + TUN_KEEPALIVE;
        bool owed = l->unanswered_at && now->mono >= l->unanswered_at + TUN_PASSIVE;
        if (quiet || owed) {
            tun_link_control(t, l, TUN_LINKCMD_KEEPALIVE, 0, NULL, 0);
            l->sent_at = now->mono; /* or will be, as soon as the socket takes it */
            l->unanswered_at = 0;
        }
        if (l->waiting_at && now->mono >= l->probe_at) {
            tun_link_ask(t, l); /* their keep-alive may have been lost */
            l->probe_at = now->mono + TUN_LINK_PROBE_AGAIN;
        }
    }
    tun_link_schedule(t, l);
}

/* ---- receiving ---- */

static struct tun_session *open_header(struct tun_link *l, uint32_t index, const uint8_t *buf,
                                       struct tun_header *ret) {
    struct tun_session *order[3] = {&l->now, &l->next, &l->old};
    if (l->next.live && index == l->next.local_index) {
        order[0] = &l->next;
        order[1] = &l->now;
    } else if (l->old.live && index == l->old.local_index) {
        order[0] = &l->old;
        order[2] = &l->now;
    }
    for (unsigned i = 0; i < 3; i++)
        if (order[i]->live && tun_cell_open(buf, &order[i]->rx_secret, ret))
            return order[i];
    return NULL;
}

/* One of the indexes we handed out in advance is in use now. */
static void spare_used(struct tunnel *t, struct tun_link *l, uint32_t index) {
    for (unsigned i = 0; i < l->spares_local; i++) {
        if (l->spare_local[i] != index)
            continue;
        l->spare_local[i] = l->spare_local[--l->spares_local];
        if (l->stale_index)
            tun_rxindex_drop(t->rx, l->stale_index);
        l->stale_index = l->now.local_index; /* what is still on its way */
        l->now.local_index = index;
        tun_link_give_spares(t, l);
        return;
    }
}

static void challenge(struct tunnel *t, const struct cv_now *now, struct tun_link *l,
                      const struct cv_addr *from) {
    bool same = cv_addr_equal(from, &l->new_addr);
    if (l->challenged_at && now->mono < l->challenged_at + (same ? CV_MSEC(250) : CV_SEC(1)))
        return;
    if (!tun_address_ok(t, from))
        return;
    if (!same)
        cv_rng_fill(&t->rng, l->challenge, sizeof l->challenge);
    l->new_addr = *from;
    l->challenged_at = now->mono;
    tun_link_control_to(t, l, TUN_LINKCMD_PATH_CHALLENGE, 0, l->challenge, sizeof l->challenge,
                        from, false);
}

void tun_link_try(struct tunnel *t, const struct cv_now *now, struct tun_link *l,
                  const struct cv_addr *addr) {
    challenge(t, now, l, addr);
}

static void use_spare(struct tun_link *l) {
    if (l->spares_remote)
        l->now.remote_index = l->spare_remote[--l->spares_remote];
}

static void on_path_response(struct tunnel *t, const struct cv_now *now, struct tun_link *l,
                             const struct cv_addr *from, const uint8_t *body, size_t len) {
    if (len != sizeof l->challenge || !l->challenged_at || !cv_addr_equal(from, &l->new_addr) ||
        !cv_equal(body, l->challenge, sizeof l->challenge))
        return;
    CV_TRACE(TUNNEL, link_moved, now->mono, "link=%llx", (unsigned long long)l->handle);
    l->addr = *from;
    l->challenged_at = 0;
    memset(&l->new_addr, 0, sizeof l->new_addr);
    use_spare(l); /* who watched both addresses shall not see one index at both */
    tun_worker_moved(t, l, false);
    if (l->netgroup)
        tun_link_regroup(t, l);
    if (l->ours) /* who answered a question of ours there sends to our old address until then */
        tun_link_control(t, l, TUN_LINKCMD_KEEPALIVE, 0, NULL, 0);
}

void tun_on_rebind(struct tunnel *t, const struct cv_now *now) {
    (void)now;
    uint32_t cursor = 0;
    struct tun_link *l;
    while ((l = tun_handles_next(&t->links, &cursor)) != NULL) {
        if (l->state != TUN_STATE_OPEN)
            continue;
        use_spare(l);
        tun_link_control(t, l, TUN_LINKCMD_KEEPALIVE, 0, NULL, 0);
    }
}

static void on_auth(struct tunnel *t, struct tun_link *l, const uint8_t *body, size_t len) {
    if (l->ours || l->role != TUN_ROLE_NAMELESS || !t->cfg.relay)
        return;
    if (l->auth_tries >= TUN_TRIES)
        return; /* each costs us a signature check */
    l->auth_tries++;
    struct cv_rd r = cv_rd_init(body, len);
    struct tun_auth m;
    if (tun_auth_read(&r, &m) || (m.role != TUN_ROLE_RELAY && m.role != TUN_ROLE_CLIENT) ||
        !tun_auth_verify(&m, l->first_hash)) {
        t->count.bad_control++;
        return;
    }
    l->role = m.role;
    if (m.role == TUN_ROLE_RELAY)
        name_link(t, l, m.identity);
    else
        memcpy(l->identity, m.identity, CV_KEY);
    tun_link_regroup(t, l);
    tell_up(t, l);
}

static void on_new_index(struct tunnel *t, struct tun_link *l, const uint8_t *body, size_t len) {
    struct cv_rd r = cv_rd_init(body, len);
    struct tun_new_index m;
    if (tun_new_index_read(&r, &m)) {
        t->count.bad_control++;
        return;
    }
    for (unsigned i = 0; i < m.n && l->spares_remote < TUN_SPARES; i++)
        l->spare_remote[l->spares_remote++] = m.index[i];
}

static void on_created(struct tunnel *t, const struct cv_now *now, struct tun_link *l, uint32_t id,
                       const uint8_t *body, size_t len) {
    struct tun_leg *leg = tun_idtable_get(&l->circuits, id);
    if (leg && leg->kind == TUN_LEG_OWN)
        tun_circuit_on_created(t, now, tun_leg_circuit(leg), body, len);
    else if (leg && leg->kind == TUN_LEG_NEXT)
        tun_hop_on_created(t, now, tun_leg_hop(leg), body, len);
}

static void message(struct tunnel *t, struct tun_link *l, enum tun_user user, uint8_t command,
                    const uint8_t *body, size_t len) {
    struct tun_event ev = {
        .kind = TUN_EVENT_LINK_MESSAGE,
        .link_message = {.link = l->handle, .command = command, .body = body, .len = len}};
    tun_event_to(t, user, &ev);
}

static void on_control(struct tunnel *t, const struct cv_now *now, struct tun_link *l,
                       const struct tun_header *h, const struct cv_addr *from, const uint8_t *body,
                       size_t len) {
    struct tun_leg *leg;
    switch (h->command) {
    case TUN_LINKCMD_CREATE:
        if (t->cfg.relay)
            tun_hop_on_create(t, now, l, h->circuit, body, len);
        break;
    case TUN_LINKCMD_CREATED:
        on_created(t, now, l, h->circuit, body, len);
        break;
    case TUN_LINKCMD_DESTROY:
        leg = tun_idtable_get(&l->circuits, h->circuit);
        if (leg)
            leg_down(t, now, leg, CV_ERR_CLOSED);
        break;
    case TUN_LINKCMD_PADDING:
    case TUN_LINKCMD_KEEPALIVE:
        break;
    case TUN_LINKCMD_AUTH:
        on_auth(t, l, body, len);
        break;
    case TUN_LINKCMD_NEW_INDEX:
        on_new_index(t, l, body, len);
        break;
    case TUN_LINKCMD_PATH_CHALLENGE:
        if (len == sizeof l->challenge)
            tun_link_control_to(t, l, TUN_LINKCMD_PATH_RESPONSE, 0, body, len, from, false);
        break;
    case TUN_LINKCMD_PATH_RESPONSE:
        on_path_response(t, now, l, from, body, len);
        break;
    case TUN_LINKCMD_LEDGER:
    case TUN_LINKCMD_TOKEN:
        message(t, l, TUN_USER_NODE, h->command, body, len);
        break;
    case TUN_LINKCMD_DESCRIPTORS:
    case TUN_LINKCMD_REACH:
        message(t, l, TUN_USER_CLIENT, h->command, body, len);
        break;
    case TUN_LINKCMD_CONTINUE: /* repeated: our answer was lost */
        tun_link_control(t, l, TUN_LINKCMD_KEEPALIVE, 0, NULL, 0);
        break;
    default:
        t->count.unknown_commands++;
        break;
    }
}

/* Too many cells under one key: next epoch. */
static void renew_soon(struct tunnel *t, const struct cv_now *now, struct tun_link *l) {
    /* the whole interval is over early, or a try failed a moment ago */
    bool waiting = l->rekey_at > now->mono + CV_SEC(5);
    if (!l->ours || l->making || !waiting)
        return;
    l->rekey_at = now->mono;
    tun_link_schedule(t, l);
}

static void mark_dirty(struct tunnel *t, const struct cv_now *now, struct tun_link *l) {
    if (l->dirty)
        return;
    l->dirty = true;
    TAILQ_INSERT_TAIL(&t->dirty, l, dirty_entry);
    tun_tick_soon(t, now->mono);
}

void tun_link_sent_relay(struct tunnel *t, const struct cv_now *now, struct tun_link *l) {
    l->out_octets += TUN_DATAGRAM;
    mark_dirty(t, now, l);
    if (l->now.sent >= TUN_REKEY_CELLS)
        renew_soon(t, now, l);
    if (l->now.sent >= TUN_REJECT_CELLS) { /* whoever keeps it from being renewed ends it */
        l->give_up_at = now->mono;
        tun_link_schedule(t, l);
    }
}

static enum cv_err on_relay(struct tunnel *t, const struct cv_now *now, struct tun_link *l,
                            const struct tun_header *h, const uint8_t *cell) {
    l->in_octets += TUN_DATAGRAM;
    mark_dirty(t, now, l);
    struct tun_leg *leg = tun_idtable_get(&l->circuits, h->circuit);
    if (!leg) {
        t->count.unknown_circuit++;
        if (cv_tokenbucket_take(&l->destroys, now->mono, 1))
            tun_link_send_destroy(t, l, h->circuit);
        return CV_ERR_NOENT;
    }
    if (tun_is_theirs(l, h->circuit))
        tun_hop_on_forward(t, now, CV_CONTAINER_OF(leg, struct tun_hop, prev), cell);
    else if (leg->kind == TUN_LEG_NEXT)
        tun_hop_on_backward(t, now, tun_leg_hop(leg), cell, h->layer);
    else
        tun_circuit_on_cell(t, now, tun_leg_circuit(leg), cell, h->layer);
    return CV_ERR_OK;
}

/* The initiator uses the new keys: the old ones end soon. */
static void epoch_settled(struct tunnel *t, const struct cv_now *now, struct tun_link *l) {
    l->old_until = now->mono + TUN_OLD_SESSION;
    tun_link_schedule(t, l);
}

/* Something authentic arrived: who hears, may have moved, may be confirmed. */
static void heard(struct tunnel *t, const struct cv_now *now, struct tun_link *l,
                  struct tun_session *s, const struct tun_header *h, uint32_t index,
                  const struct cv_addr *from) {
    bool newest = h->sequence == s->window.top;
    bool data = h->command != TUN_LINKCMD_KEEPALIVE && h->command != TUN_LINKCMD_PADDING;
    bool current = s == &l->now || s == &l->next; /* or in a moment */
    l->heard_at = now->mono;
    l->waiting_at = 0;
    if (data && !l->unanswered_at) {
        l->unanswered_at = now->mono ? now->mono : 1;
        if (l->timer.heap.at > now->mono + TUN_PASSIVE)
            tun_timer_set(t, &l->timer, now->mono + TUN_PASSIVE);
    }
    if (s == &l->next)
        tun_epoch_confirm(t, now, l);
    else if (index != s->local_index && s == &l->now)
        spare_used(t, l, index);
    if (s == &l->now && l->old_until == CV_USEC_NEVER && h->command != TUN_LINKCMD_CONTINUE)
        epoch_settled(t, now, l);
    if (data && current && h->command != TUN_LINKCMD_CONTINUE)
        tun_epoch_used(t, now->mono, l);
    /* A challenge is answered to where it came from, which may be a victim's address that
     * somebody on the way put there: one datagram for one, so ours waits for the next. */
    bool answered = h->command == TUN_LINKCMD_PATH_CHALLENGE;
    bool here = cv_addr_equal(from, &l->addr);
    if (newest && !here && !answered)
        challenge(t, now, l, from);
    else if (newest && here && tun_link_is_moving(l)) /* somebody on the way was there */
        l->new_addr = (struct cv_addr){.family = 0};
    if (l->now.window.top >= TUN_REKEY_CELLS)
        renew_soon(t, now, l);
}

/* It needs a place from now on. False: there is none, and it is gone; or it has to wait, and what
 * came is lost: those from its own address are asked whether they still need theirs. */
static bool open_half(struct tunnel *t, const struct cv_now *now, struct tun_link *l) {
    if (tun_places_are_taken(t) && !tun_places_take_link(t, now, l)) {
        if (!tun_places_ask(t, now, l)) {
            tun_link_fail(t, now, l, CV_ERR_LIMIT);
        } else if (!l->asked_at) { /* once: until it is known who answers, and it speaks again */
            l->asked_at = now->mono ? now->mono : 1;
            l->give_up_at = now->mono + TUN_PLACE_WAIT;
            tun_link_schedule(t, l);
        }
        return false;
    }
    tun_half_count(t, l, false);
    l->state = TUN_STATE_OPEN;
    tun_places_link_enters(t, l);
    tun_epoch_fresh(t, now, l);
    l->heard_at = l->sent_at = now->mono;
    tun_worker_moved(t, l, false);
    tun_link_opened(t, now, l);
    tun_link_give_spares(t, l);
    tun_link_schedule(t, l);
    return true;
}

static enum cv_err on_sealed(struct tunnel *t, const struct cv_now *now, struct tun_link *l,
                             struct tun_session *s, const struct tun_header *h, uint32_t index,
                             const struct cv_addr *from, const uint8_t *buf) {
    uint8_t copy[TUN_DATAGRAM];
    memcpy(copy, buf, sizeof copy);
    ssize_t len = tun_cell_open_control(copy, h, &s->rx_secret);
    if (len < 0) {
        t->count.bad_control++;
        return (enum cv_err)len;
    }
    const uint8_t *body = tun_cell_control_body(copy);
    tun_window_set(&s->window, h->sequence);
    if (l->state == TUN_STATE_ANSWERED) {
        struct tun_link *into;
        if (h->command == TUN_LINKCMD_CONTINUE) {
            /* a proof that fails leaves a link that nobody will use */
            (void)tun_epoch_continue(t, now, l, body, (size_t)len, &into);
            return CV_ERR_OK;
        }
        if (!open_half(t, now, l))
            return CV_ERR_LIMIT;
    }
    heard(t, now, l, s, h, index, from);
    on_control(t, now, l, h, from, body, (size_t)len);
    return CV_ERR_OK;
}

enum cv_err tun_link_on_datagram(struct tunnel *t, const struct cv_now *now, struct tun_link *l,
                                 uint32_t index, const struct cv_addr *from, const uint8_t *buf) {
    if (l->making && !l->making->answered && index == l->making->hs.local_index)
        return tun_epoch_on_answer(t, now, l, buf);
    struct tun_header h;
    struct tun_session *s =
        tun_expected(t, l, index, buf, &h) ? &l->now : open_header(l, index, buf, &h);
    if (!s) {
        t->count.bad_tag++;
        return CV_ERR_AUTH;
    }
    enum cv_err err =
        h.sequence > TUN_REJECT_CELLS ? CV_ERR_STALE : tun_window_check(&s->window, h.sequence);
    if (err) {
        t->count.bad_window++;
        return err;
    }
    if (h.command != TUN_LINKCMD_RELAY)
        return on_sealed(t, now, l, s, &h, index, from, buf);
    tun_window_set(&s->window, h.sequence);
    if (l->state == TUN_STATE_ANSWERED && !open_half(t, now, l))
        return CV_ERR_LIMIT;
    heard(t, now, l, s, &h, index, from);
    return on_relay(t, now, l, &h, buf + TUN_HEADER);
}

/* ---- the node's view ---- */

enum cv_err tun_link_send(struct tunnel *t, const struct cv_now *now, cv_handle link,
                          uint8_t command, const void *body, size_t len) {
    (void)now;
    if (len > TUN_CONTROL_MAX || command == TUN_LINKCMD_RELAY)
        return CV_ERR_INVAL;
    if (tun_is_elsewhere(t, link)) {
        tun_tell_owner(t, link, TUN_MESSAGE_LINK_SEND, command, 0, body, len);
        return CV_ERR_OK;
    }
    struct tun_link *l = tun_link_get(t, link);
    if (!l)
        return CV_ERR_NOENT;
    if (command == TUN_LINKCMD_TOKEN && (l->auth_tries || l->auth_signed))
        return CV_ERR_DENIED; /* tokens are nobody's: not beside a name */
    return tun_link_control(t, l, command, 0, body, len);
}

void tun_link_class(struct tunnel *t, cv_handle link, unsigned class) {
    assert(class < TUN_SCHED_RELAYS);
    if (tun_is_elsewhere(t, link))
        tun_tell_owner(t, link, TUN_MESSAGE_LINK_CLASS, 0, class, NULL, 0);
    struct tun_link *l = tun_link_get(t, link);
    if (!l || l->class == class)
        return;
    l->class = (uint8_t) class;
    tun_link_regroup(t, l);
}

void tun_link_weight(struct tunnel *t, cv_handle link, unsigned weight) {
    if (tun_is_elsewhere(t, link))
        tun_tell_owner(t, link, TUN_MESSAGE_LINK_WEIGHT, 0, weight, NULL, 0);
    struct tun_link *l = tun_link_get(t, link);
    if (!l)
        return;
    l->weight = (uint16_t)(weight < 1 ? 1 : weight > 100 ? 100 : weight);
    if (l->ours || l->role == TUN_ROLE_RELAY)
        tun_link_regroup(t, l);
}

void tun_link_end(struct tunnel *t, const struct cv_now *now, cv_handle link) {
    if (tun_is_elsewhere(t, link))
        tun_tell_owner(t, link, TUN_MESSAGE_LINK_END, 0, 0, NULL, 0);
    struct tun_link *l = tun_link_get(t, link);
    if (l)
        tun_link_fail(t, now, l, CV_ERR_DENIED);
}

enum cv_err tun_link_hash(const struct tunnel *t, cv_handle link, uint8_t ret[64]) {
    const struct tun_link *l = tun_link_get(t, link);
    const struct tun_far_link *far = tun_link_far(t, link);
    if (!far && (!l || l->state != TUN_STATE_OPEN))
        return CV_ERR_NOENT;
    memcpy(ret, far ? far->hash : l->first_hash, 64);
    return CV_ERR_OK;
}

void tun_link_report(struct tunnel *t) {
    struct tun_link *l;
    while ((l = TAILQ_FIRST(&t->dirty)) != NULL) {
        TAILQ_REMOVE(&t->dirty, l, dirty_entry);
        l->dirty = false;
        struct tun_event ev = {.kind = TUN_EVENT_LINK_CARRIED,
                               .link_carried = {.link = l->handle,
                                                .out_octets = l->out_octets,
                                                .in_octets = l->in_octets}};
        l->out_octets = l->in_octets = 0;
        tun_event_to(t, TUN_USER_NODE, &ev);
    }
}
