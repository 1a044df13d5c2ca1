/*
 * One engine of several that are one relay (worker.h): what goes to the others,
 * what comes from them, and what the face knows of them.
 */
#include "tunnel/worker.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "tunnel/core.h"

/* ---- messages ---- */

static struct tun_message *message_new(const struct tun_message *m, const void *buf, size_t len) {
    struct tun_message *copy = malloc(sizeof *copy + len);
    if (!copy)
        return NULL;
    *copy = *m;
    copy->next = NULL;
    copy->len = len;
    if (len)
        memcpy(copy->octets, buf, len);
    return copy;
}

void tun_message_free(struct tun_message *m) {
    if (m && m->kind == TUN_MESSAGE_KEYRING)
        cv_wipe(m->octets, m->len);
    free(m);
}

bool tun_tell(struct tunnel *t, const struct tun_message *m, const void *buf, size_t len) {
    assert(m->to != t->cfg.worker);
    bool full = (m->may_be_lost && t->told_count >= 2 * TUN_MESSAGES_MAX) ||
                (m->counted && !tun_crossing_has_room(t, m->to, m->kind));
    struct tun_message *copy = full ? NULL : message_new(m, buf, len);
    if (!copy) {
        t->count.dropped_event++;
        return false;
    }
    copy->from = t->cfg.worker;
    t->others->to[m->to].untaken += m->counted;
    t->others->to[m->to].untaken_sends += m->kind == TUN_MESSAGE_SEND;
    *t->told_end = copy;
    t->told_end = &copy->next;
    t->told_count++;
    return true;
}

bool tun_tell_question(struct tunnel *t, struct tun_message *m, const void *buf, size_t len) {
    m->counted = true;
    return tun_tell(t, m, buf, len);
}

void tun_tell_all(struct tunnel *t, const struct tun_message *m, const void *buf, size_t len) {
    struct tun_message one = *m;
    for (one.to = 0; t->others && one.to < t->cfg.workers; one.to++)
        if (one.to != t->cfg.worker)
            tun_tell(t, &one, buf, len);
}

void tun_tell_owner(struct tunnel *t, cv_handle handle, uint8_t kind, uint8_t command,
                    uint64_t number, const void *buf, size_t len) {
    struct tun_message m = {.to = (uint8_t)tun_handle_worker(handle),
                            .kind = kind,
                            .may_be_lost = kind == TUN_MESSAGE_LINK_SEND,
                            .command = command,
                            .at = handle,
                            .number = number};
    tun_tell(t, &m, buf, len);
}

struct tun_message *tun_poll_message(struct tunnel *t) {
    struct tun_message *m = t->told;
    if (!m)
        return NULL;
    t->told = m->next;
    if (!t->told)
        t->told_end = &t->told;
    m->next = NULL;
    t->told_count--;
    return m;
}

struct tun_message *tun_message_foreign(unsigned from_worker, const struct cv_addr *from,
                                        const void *buf, size_t len) {
    struct tun_message m = {.kind = TUN_MESSAGE_FOREIGN,
                            .may_be_lost = true,
                            .from = (uint8_t)from_worker,
                            .addr = *from};
    return len <= TUN_FOREIGN_MAX ? message_new(&m, buf, len) : NULL;
}

bool tun_message_datagram(const struct tun_message *m, const struct cv_addr **ret_from,
                          const uint8_t **ret_buf, size_t *ret_len) {
    if (m->kind != TUN_MESSAGE_FOREIGN)
        return false;
    *ret_from = &m->addr;
    *ret_buf = m->octets;
    *ret_len = m->len;
    return true;
}

/* ---- places ---- */

const struct tun_place *tun_place_find(struct cv_map *places, const void *key) {
    return cv_map_get(places, key);
}

void tun_place_del(struct cv_map *places, const void *key) {
    free(cv_map_del(places, key));
}

struct tun_place *tun_place_put(struct cv_map *places, const void *key, cv_handle handle) {
    struct tun_place *p = cv_map_get(places, key);
    if (!p) {
        p = calloc(1, sizeof *p);
        if (p && cv_map_put(places, key, p)) {
            free(p);
            p = NULL;
        }
    }
    if (p)
        p->handle = handle;
    return p;
}

static void moved_free(struct tun_moved *m) {
    if (m)
        free(m->links);
    free(m);
}

static struct cv_map *all_moved_free(struct cv_map *moved) {
    void *cursor = NULL, *m;
    const void *key;
    while (moved && (m = cv_map_next(moved, &cursor, &key)) != NULL)
        moved_free(m);
    return cv_map_free(moved);
}

static struct cv_map *places_free(struct cv_map *places) {
    void *cursor = NULL, *p;
    const void *key;
    while (places && (p = cv_map_next(places, &cursor, &key)) != NULL)
        free(p);
    return cv_map_free(places);
}

/* ---- life ---- */

enum cv_err tun_others_new(struct tunnel *t, cv_usec now) {
    const struct tun_config *cfg = &t->cfg;
    if (cfg->workers <= 1)
        return CV_ERR_OK;
    assert(cfg->workers <= TUN_WORKERS_MAX && cfg->worker < cfg->workers);
    struct tun_others *o = calloc(1, sizeof *o);
    t->others = o;
    if (!o)
        return CV_ERR_NOMEM;
    tun_crossings_init(t);
    cv_tokenbucket_init(&o->strangers, TUN_STRANGERS_S, 2 * (uint64_t)TUN_STRANGERS_S, now);
    size_t links = (size_t)cfg->links_max * cfg->workers,
           hops = (size_t)cfg->hops_max * cfg->workers;
    o->moved = cv_map_new(sizeof(struct cv_addr), links, cv_siphash_map, t->map_key);
    if (!tun_is_face(t))
        return o->moved ? CV_ERR_OK : CV_ERR_NOMEM;
    o->points = cv_map_new(CV_KEY, hops, cv_siphash_map, t->map_key);
    o->cookies = cv_map_new(TUN_RENDEZVOUS_COOKIE, hops, cv_siphash_map, t->map_key);
    o->links = cv_map_new(sizeof(cv_handle), links, cv_siphash_map, t->map_key);
    return o->moved && o->points && o->cookies && o->links ? CV_ERR_OK : CV_ERR_NOMEM;
}

void tun_others_free(struct tunnel *t) {
    struct tun_message *m;
    while (t->told_end && (m = tun_poll_message(t)) != NULL)
        tun_message_free(m);
    if (!t->others)
        return;
    all_moved_free(t->others->moved);
    places_free(t->others->points);
    places_free(t->others->cookies);
    places_free(t->others->links);
    free(t->others);
    t->others = NULL;
}

/* ---- whose it is ---- */

unsigned tun_worker_of(const uint8_t first[4], unsigned workers) {
    return first[0] == 'd' ? 0 : (unsigned)(first[3] >> 2) % workers;
}

static_assert(TUN_WORKER_BITS_MAX == 6, "the top bits of the fourth octet");

/* Of a whole network: its members share limits and a place among the others. */
static unsigned home(const struct tunnel *t, const struct cv_addr *a) {
    struct cv_addr network = cv_addr_network(a, 24, 56);
    return (unsigned)(cv_siphash(t->cfg.worker_key, &network, sizeof network) % t->cfg.workers);
}

/* A handshake does not say which link it renews. Of a relay there are several from one address,
 * mostly at one worker; if not, each has its turn, long enough for a try with a cookie. */
static unsigned one_of(struct tunnel *t, const struct cv_addr *from, const struct tun_moved *m) {
    uint32_t workers = tun_places_has(t, from) ? UINT32_C(1) << t->cfg.worker : 0;
    for (uint32_t i = 0; i < m->count; i++)
        workers |= UINT32_C(1) << tun_handle_worker(m->links[i]);
    unsigned n = (unsigned)(t->last / TUN_MOVED_TURN % (unsigned)__builtin_popcount(workers));
    unsigned worker = 0;
    while (!(workers >> worker & 1) || n--)
        worker++;
    return worker;
}

unsigned tun_worker_by_address(struct tunnel *t, const struct cv_addr *from) {
    if (!t->others)
        return t->cfg.worker;
    unsigned worker = home(t, from);
    const struct tun_moved *m = worker == t->cfg.worker ? cv_map_get(t->others->moved, from) : NULL;
    return m ? one_of(t, from, m) : worker;
}

static bool tell_address(struct tunnel *t, const struct tun_link *l, bool is) {
    struct tun_message m = {.to = (uint8_t)home(t, &l->told_addr),
                            .kind = TUN_MESSAGE_ADDRESS,
                            .counted = is,
                            .code = is,
                            .other = l->handle,
                            .addr = l->told_addr};
    return tun_tell(t, &m, NULL, 0);
}

void tun_worker_moved(struct tunnel *t, struct tun_link *l, bool gone) {
    if (!t->others || l->ours)
        return;
    bool away = !gone && home(t, &l->addr) != t->cfg.worker;
    if (l->told_addr.family && away && cv_addr_equal(&l->told_addr, &l->addr))
        return;
    if (l->told_addr.family)
        (void)tell_address(t, l, false);
    l->told_addr = away ? l->addr : (struct cv_addr){0};
    if (away && !tell_address(t, l, true))
        l->told_addr = (struct cv_addr){0}; /* no room: at its next renewal */
}

/* Without memory it is not found there. */
static void moved_to(struct tunnel *t, const struct cv_addr *addr, cv_handle link) {
    struct tun_moved *m = cv_map_get(t->others->moved, addr);
    if (!m) {
        m = calloc(1, sizeof *m);
        if (m && cv_map_put(t->others->moved, addr, m)) {
            free(m);
            m = NULL;
        }
    }
    cv_handle *links = m ? reallocarray(m->links, m->count + 1, sizeof *links) : NULL;
    if (links) {
        m->links = links;
        m->links[m->count++] = link;
    } else if (m && !m->count) {
        moved_free(cv_map_del(t->others->moved, addr));
    }
}

static void moved_away(struct tunnel *t, const struct cv_addr *addr, cv_handle link) {
    struct tun_moved *m = cv_map_get(t->others->moved, addr);
    for (uint32_t i = 0; m && i < m->count; i++) {
        if (m->links[i] != link)
            continue;
        m->links[i] = m->links[--m->count];
        if (!m->count)
            moved_free(cv_map_del(t->others->moved, addr));
        return;
    }
}

static void on_address(struct tunnel *t, const struct tun_message *m) {
    moved_away(t, &m->addr, m->other); /* whatever was said before, it is there once */
    if (m->code)
        moved_to(t, &m->addr, m->other);
}

bool tun_worker_stranger(struct tunnel *t, const struct cv_now *now, const struct cv_addr *from,
                         const uint8_t *buf) {
    if (tun_is_face(t) || !cv_tokenbucket_take(&t->others->strangers, now->mono, 1))
        return false;
    struct tun_message m = {.kind = TUN_MESSAGE_STRANGER, .counted = true, .addr = *from};
    tun_tell(t, &m, buf, TUN_DATAGRAM);
    return true;
}

/* ---- the face's knowledge of the others ---- */

void tun_others_keyring(struct tunnel *t) {
    if (!t->others || !tun_is_face(t))
        return;
    uint8_t blob[TUN_KEYRING_MAX];
    size_t len = tun_keyring_copy(t->keyring, blob);
    tun_tell_all(t, &(struct tun_message){.kind = TUN_MESSAGE_KEYRING}, blob, len);
    cv_wipe(blob, sizeof blob);
}

static void on_keyring(struct tunnel *t, const struct tun_message *m) {
    struct tun_keyring_config cfg = {.identity = &t->identity_secret, .version = t->cfg.version};
    memcpy(cfg.network_id, t->cfg.network_id, sizeof cfg.network_id);
    enum cv_err err;
    struct tun_keyring *k = tun_keyring_new(&cfg, &t->rng, m->octets, m->len, &err);
    if (!k)
        return; /* the days that are there serve on; it comes again with the next */
    tun_keyring_free(t->keyring);
    t->keyring = k;
}

/* What strangers say, and say again when it is lost. */
static bool is_said(const struct tun_event *ev) {
    return ev->kind == TUN_EVENT_HOP_DATAGRAM || ev->kind == TUN_EVENT_LINK_MESSAGE ||
           ev->kind == TUN_EVENT_REQUEST;
}

bool tun_worker_event(struct tunnel *t, enum tun_user user, const struct tun_event *ev) {
    /* which links are down, the face's client asks when it needs one */
    if (user == TUN_USER_CLIENT && !is_said(ev) && ev->kind != TUN_EVENT_LINK_UP)
        return true;
    uint8_t all[sizeof *ev + TUN_DATAGRAM];
    struct tun_event copy = *ev;
    const uint8_t *more = NULL;
    size_t len = 0;
    const uint8_t **at = tun_event_payload(&copy, &len);
    if (at) {
        more = *at;
        *at = NULL;
    } else if (ev->kind == TUN_EVENT_LINK_UP) {
        const struct tun_link *l = tun_link_get(t, ev->link_up.link);
        more = l->first_hash;
        len = sizeof l->first_hash;
    }
    assert(len <= TUN_DATAGRAM);
    memcpy(all, &copy, sizeof copy);
    if (len)
        memcpy(all + sizeof copy, more, len);
    bool asks = ev->kind == TUN_EVENT_REQUEST;
    struct tun_message m = {.kind = asks ? TUN_MESSAGE_REQUEST : TUN_MESSAGE_EVENT,
                            .number = user,
                            .counted = is_said(ev)};
    if (ev->kind == TUN_EVENT_LINK_MESSAGE) {
        const struct tun_link *l = tun_link_get(t, ev->link_message.link);
        m.addr = l->addr;
        m.code = tun_link_is_moving(l);
    }
    return tun_tell(t, &m, all, sizeof copy + len);
}

const struct tun_far_link *tun_link_far(const struct tunnel *t, cv_handle link) {
    return t->others && tun_is_face(t) ? cv_map_get(t->others->links, &link) : NULL;
}

static void far_link_up(struct tunnel *t, const struct tun_event *ev, const uint8_t *hash) {
    struct tun_far_link *l = cv_map_get(t->others->links, &ev->link_up.link);
    if (!l) {
        l = calloc(1, sizeof *l);
        if (l && cv_map_put(t->others->links, &ev->link_up.link, l)) {
            free(l);
            l = NULL;
        }
    }
    if (!l)
        return;
    l->addr = ev->link_up.addr;
    l->role = ev->link_up.role;
    memcpy(l->identity, ev->link_up.identity, sizeof l->identity);
    memcpy(l->hash, hash, sizeof l->hash);
}

/* Where the other end was when it said something. */
static void far_link_spoke(struct tunnel *t, cv_handle link, const struct tun_message *m) {
    struct tun_far_link *l = cv_map_get(t->others->links, &link);
    if (!l)
        return;
    l->addr = m->addr;
    l->moving = m->code != 0;
}

static void on_event(struct tunnel *t, const struct tun_message *m) {
    struct tun_event ev;
    memcpy(&ev, m->octets, sizeof ev);
    const uint8_t *more = m->octets + sizeof ev;
    size_t len;
    const uint8_t **at = tun_event_payload(&ev, &len);
    if (at)
        *at = more;
    if (ev.kind == TUN_EVENT_LINK_UP)
        far_link_up(t, &ev, more);
    else if (ev.kind == TUN_EVENT_LINK_DOWN)
        free(cv_map_del(t->others->links, &ev.link_down.link));
    else if (ev.kind == TUN_EVENT_LINK_MESSAGE)
        far_link_spoke(t, ev.link_message.link, m);
    if (!tun_event_to(t, (enum tun_user)m->number, &ev) && ev.kind == TUN_EVENT_REQUEST)
        tun_crossing_unasked(t, ev.request.hop, ev.request.transaction, false);
}

void tun_worker_counters(struct tunnel *t) {
    if (!t->others || tun_is_face(t))
        return;
    struct tun_message m = {.kind = TUN_MESSAGE_COUNTERS, .counted = true};
    if (!tun_crossing_has_room(t, m.to, m.kind))
        return; /* what they are when there is room is enough */
    t->others->told_links = t->count.links;
    t->others->told_hops = t->count.hops;
    tun_tell(t, &m, &t->count, sizeof t->count);
}

void tun_others_finish(struct tunnel *t, const struct cv_now *now) {
    if (!t->others)
        return;
    tun_crossings_finish(t, now);
    if (t->others->told_links != t->count.links || t->others->told_hops != t->count.hops)
        tun_worker_counters(t);
}

static void add(struct tun_counters *to, const struct tun_counters *c) {
    enum { FIRST = offsetof(struct tun_counters, links) / sizeof(uint64_t) };
    static_assert(FIRST * sizeof(uint64_t) == offsetof(struct tun_counters, links),
                  "all before it have 64 bits");
    uint64_t sum[FIRST], more[FIRST];
    memcpy(sum, to, sizeof sum);
    memcpy(more, c, sizeof more);
    for (unsigned i = 0; i < FIRST; i++)
        sum[i] += more[i];
    memcpy(to, sum, sizeof sum);
    to->links += c->links;
    to->hops += c->hops;
    to->circuits += c->circuits;
    to->queued_cells += c->queued_cells;
}

const struct tun_counters *tun_counters(const struct tunnel *t) {
    if (!t->others || !tun_is_face(t))
        return &t->count;
    t->others->sum = t->count;
    for (unsigned i = 1; i < t->cfg.workers; i++)
        add(&t->others->sum, &t->others->count[i]);
    return &t->others->sum;
}

/* ---- the face looks a relay up for somebody's EXTEND ---- */

static void on_find(struct tunnel *t, const struct tun_message *m) {
    struct cv_rd r = cv_rd_init(m->octets, m->len);
    struct tun_extend e;
    if (tun_extend_read(&r, &e))
        return;
    uint8_t all[sizeof(struct tun_relay_ref) + TUN_FORWARD_MAX + TUN_DESCRIPTOR_MAX];
    struct tun_relay_ref ref = {.day = 0};
    const struct tun_user_ops *ops = t->ops[TUN_USER_CLIENT];
    const uint8_t *descriptor = NULL;
    size_t len = 0;
    bool found = ops && ops->find_relay &&
                 ops->find_relay(t->user[TUN_USER_CLIENT], e.identity, e.day, &ref, &descriptor,
                                 &len) == CV_ERR_OK;
    struct cv_wr w = cv_wr_init(all, sizeof all);
    cv_wr_bytes(&w, &ref, sizeof ref);
    cv_wr_bytes(&w, m->octets, m->len);
    if (found && descriptor)
        cv_wr_bytes(&w, descriptor, len);
    assert(!w.err);
    struct tun_message answer = {
        .to = m->from, .kind = TUN_MESSAGE_RELAY, .at = m->other, .code = found, .number = m->len};
    if (!tun_tell(t, &answer, all, cv_wr_len(&w)))
        tun_crossing_unasked(t, m->other, e.transaction, true);
}

static void on_relay(struct tunnel *t, const struct cv_now *now, const struct tun_message *m) {
    struct tun_hop *h = tun_hop_get(t, m->at);
    struct tun_relay_ref ref;
    memcpy(&ref, m->octets, sizeof ref);
    const uint8_t *body = m->octets + sizeof ref;
    struct cv_rd r = cv_rd_init(body, m->number);
    struct tun_extend e;
    if (!h || tun_extend_read(&r, &e))
        return;
    tun_hop_found(t, now, h, &e, m->code ? &ref : NULL, body + m->number,
                  m->len - sizeof ref - m->number);
}

/* ---- what comes ---- */

static void on_send(struct tunnel *t, const struct cv_now *now, const struct tun_message *m) {
    struct cv_endpoint to = cv_endpoint_circuit(m->at, (uint16_t)m->number);
    struct cv_now since = {.mono = cv_usec_min(m->since, now->mono), .wall = now->wall};
    /* a full circuit loses it, as any path may */
    (void)tun_send(t, &since, &to, m->octets, m->len);
}

static void on_answer(struct tunnel *t, const struct cv_now *now, const struct tun_message *m) {
    if (tun_answer(t, now, m->at, m->transaction, m->command, m->octets, m->len) != CV_ERR_DENIED)
        return;
    /* What the node does itself with a circuit of the face: it refuses, and keeps nothing of
     * it. The owner asked for two roles at once. */
    struct tun_event ev = {.kind = TUN_EVENT_HOP_DOWN, .hop_down = {.hop = m->at}};
    (void)tun_event_to(t, TUN_USER_NODE, &ev);
    tun_hop_error(t, now, tun_hop_get(t, m->at), m->transaction, TUN_ERROR_REFUSED, NULL, 0);
}

void tun_worker_on_message(struct tunnel *t, const struct cv_now *now,
                           const struct tun_message *m) {
    switch ((enum tun_message_kind)m->kind) {
    case TUN_MESSAGE_DATAGRAM:
    case TUN_MESSAGE_FLIGHT:
    case TUN_MESSAGE_STRANGER:
    case TUN_MESSAGE_FOREIGN:
        break; /* the engine's own, or the caller's */
    case TUN_MESSAGE_ADDRESS:
        on_address(t, m);
        break;
    case TUN_MESSAGE_TAKEN:
        tun_crossing_on_taken(t, now, m);
        break;
    case TUN_MESSAGE_UNASKED:
        tun_hop_unasked(t, tun_hop_get(t, m->at), m->transaction, m->code != 0);
        break;
    case TUN_MESSAGE_KEYRING:
        on_keyring(t, m);
        break;
    case TUN_MESSAGE_ANSWER:
        on_answer(t, now, m);
        break;
    case TUN_MESSAGE_SEND:
        on_send(t, now, m);
        break;
    case TUN_MESSAGE_LINK_SEND:
        (void)tun_link_send(t, now, m->at, m->command, m->octets, m->len);
        break;
    case TUN_MESSAGE_LINK_CLASS:
        tun_link_class(t, m->at, (unsigned)m->number);
        break;
    case TUN_MESSAGE_LINK_WEIGHT:
        tun_link_weight(t, m->at, (unsigned)m->number);
        break;
    case TUN_MESSAGE_LINK_END:
        tun_link_end(t, now, m->at);
        break;
    case TUN_MESSAGE_DRAIN:
        tun_drain(t, m->code);
        break;
    case TUN_MESSAGE_HOPS_END:
        tun_hops_end(t, now, m->number);
        break;
    case TUN_MESSAGE_RELAY:
        on_relay(t, now, m);
        break;
    case TUN_MESSAGE_EVENT:
    case TUN_MESSAGE_REQUEST:
        on_event(t, m);
        break;
    case TUN_MESSAGE_COUNTERS:
        memcpy(&t->others->count[m->from], m->octets, sizeof t->others->count[0]);
        break;
    case TUN_MESSAGE_FIND:
        on_find(t, m);
        break;
    case TUN_MESSAGE_POINT:
        tun_hop_on_point(t, m);
        break;
    case TUN_MESSAGE_POINT_MOVED:
        tun_hop_on_point_moved(t, m);
        break;
    case TUN_MESSAGE_INTRODUCE:
        tun_hop_on_introduce(t, now, m);
        break;
    case TUN_MESSAGE_INTRODUCED:
        tun_hop_on_introduced(t, now, m);
        break;
    case TUN_MESSAGE_COOKIE:
        tun_hop_on_cookie(t, m);
        break;
    case TUN_MESSAGE_JOIN:
        tun_hop_on_join(t, now, m);
        break;
    case TUN_MESSAGE_MEET:
        tun_hop_on_meet(t, now, m);
        break;
    case TUN_MESSAGE_MET:
        tun_hop_on_met(t, now, m);
        break;
    case TUN_MESSAGE_JOINED:
        tun_hop_on_joined(t, now, m);
        break;
    case TUN_MESSAGE_PARTED:
        tun_hop_on_parted(t, m);
        break;
    }
}
