/*
 * A relay of two or three engines, a relay of one, and five owners of circuits through
 * them, as a script: owners say anything with any transaction, circuits of different
 * workers join and part, the node answers and sends, datagrams come to the wrong worker,
 * and any worker may have no time for a while. What workers tell each other is carried
 * as between threads: in order between two of them, whenever it likes otherwise, and lost
 * where it may be.
 *
 * Property, after every step: no crash, no assertion, no leak; what was told and counted
 * lies on the way, was taken, or was given back, one for one; a circuit has one role and
 * its queue one master; two that are joined name each other, or the message that makes
 * it so is on its way; the face knows no cookie, no key and no link that its owner does
 * not have; no link carries anything before its other end confirmed the keys; a worker
 * shows no day's keys before the face had stored them. When all have closed, nothing of
 * any of it is left.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/hash.h"
#include "crypto/rng_seeded.h"
#include "fuzz/network.h"
#include "tunnel/core.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
    WORKERS = 3, /* parties 0 to 2; there may be two only */
    FAR = WORKERS,
    OWNER,
    OWNERS = 5,
    PARTIES = OWNER + OWNERS,
    CIRCUITS = 8,
    ASKED = 16,
    KEYS = 2,
    COOKIES = 4,
    STEPS = 150,
    SERVED = 1500, /* times that all engines are served, in one input */
};

#define NETWORK ((const uint8_t *)"fuzz-net")

/* Messages from one worker to another, in order. */
struct way {
    struct tun_message *first, **end;
    unsigned lose; /* so many of the next that may be lost are */
};

struct world {
    struct network net;
    struct tunnel *t[PARTIES];
    struct cv_addr addr[PARTIES];
    struct cv_ed25519_secret identity_secret[2], auth_secret[KEYS];
    struct cv_rng_seeded seed[PARTIES];
    struct cv_rng rng[PARTIES];
    unsigned workers;
    struct way way[WORKERS][WORKERS];
    unsigned stalled; /* bit i: worker i takes nothing */
    bool scatters, saves;
    unsigned scattered;
    struct {
        unsigned owner;
        cv_handle handle;
    } circuit[CIRCUITS];
    struct {
        cv_handle hop;
        uint32_t transaction;
        uint8_t command;
    } asked[ASKED];
    unsigned asked_count;
    cv_handle open;               /* the node sends there */
    uint8_t shown[8][TUN_DIGEST]; /* of the face's days */
    unsigned shown_count;
};

/* ---- between workers ---- */

static bool may_be_lost(const struct tun_message *m) {
    return m->may_be_lost || m->counted;
}

/* What they have to tell, to where it waits. */
static bool collect(struct world *w) {
    bool any = false;
    for (unsigned i = 0; i < w->workers; i++) {
        struct tun_message *m;
        while ((m = tun_poll_message(w->t[i])) != NULL) {
            struct way *way = &w->way[i][m->to];
            any = true;
            assert(m->from == i && m->to != i && m->to < w->workers);
            if (way->lose && may_be_lost(m)) {
                way->lose--;
                tun_on_lost(w->t[i], m);
                continue;
            }
            m->next = NULL;
            *way->end = m;
            way->end = &m->next;
        }
    }
    return any;
}

/* So many of one way; true when there was one. */
static bool carry(struct world *w, unsigned from, unsigned to, unsigned count) {
    struct way *way = &w->way[from][to];
    bool any = false;
    while (count-- && way->first) {
        struct tun_message *m = way->first;
        way->first = m->next;
        if (!way->first)
            way->end = &way->first;
        tun_on_message(w->t[to], &w->net.now, m);
        any = true;
    }
    return any;
}

static bool node_events(struct world *w) {
    struct tun_event ev;
    bool any = false;
    while (tun_poll_event(w->t[0], &ev)) {
        any = true;
        if (ev.kind == TUN_EVENT_SAVE && w->saves)
            tun_saved(w->t[0], &w->net.now, ev.save.which);
        if (ev.kind == TUN_EVENT_REQUEST && w->asked_count < ASKED) {
            w->asked[w->asked_count].hop = ev.request.hop;
            w->asked[w->asked_count].transaction = ev.request.transaction;
            w->asked[w->asked_count++].command = ev.request.command;
        }
    }
    return any;
}

/* Until nobody with time has anything more to take. */
static void exchange(struct world *w) {
    for (bool any = true; any;) {
        any = collect(w);
        for (unsigned i = 0; i < w->workers; i++)
            for (unsigned k = 0; k < w->workers; k++)
                any |= !(w->stalled >> k & 1) && carry(w, i, k, 1);
        any |= node_events(w);
    }
}

/* Ends of the network are parties, without those workers that are not. */
static unsigned end_of(const struct world *w, unsigned party) {
    return party < WORKERS ? party : party - (WORKERS - w->workers);
}

static void events(void *ctx, unsigned end) {
    struct world *w = ctx;
    struct tun_event ev;
    if (end < w->workers) {
        exchange(w);
        return;
    }
    unsigned i = end + (WORKERS - w->workers);
    while (tun_poll_event(w->t[i], &ev)) {
        if (ev.kind == TUN_EVENT_SAVE)
            tun_saved(w->t[i], &w->net.now, ev.save.which);
        if (ev.kind == TUN_EVENT_REQUEST && ev.request.command == TUN_CMD_OPEN)
            (void)tun_answer(w->t[i], &w->net.now, ev.request.hop, ev.request.transaction,
                             TUN_CMD_OPENED, NULL, 0);
        for (unsigned k = 0; ev.kind == TUN_EVENT_CIRCUIT_DOWN && k < CIRCUITS; k++)
            if (w->circuit[k].owner == i && w->circuit[k].handle == ev.circuit_down.circuit)
                w->circuit[k].handle = 0;
    }
}

static unsigned whose(void *ctx, unsigned i, const uint8_t *buf) {
    struct world *w = ctx;
    if (i >= w->workers)
        return i;
    return w->scatters ? w->scattered++ % w->workers : tun_worker_of(buf, w->workers);
}

/* ---- the properties ---- */

/* Is one like this on its way? */
static bool is_told(const struct world *w, unsigned from, unsigned to, uint8_t kind, cv_handle at,
                    cv_handle other) {
    for (const struct tun_message *m = w->way[from][to].first; m; m = m->next)
        if (m->kind == kind && (!at || m->at == at) && m->other == other)
            return true;
    return false;
}

static void check_room(const struct world *w, unsigned i, unsigned k) {
    const struct tun_crossing *there = &w->t[i]->others->to[k], *here = &w->t[k]->others->to[i];
    uint64_t counted = here->taken, sends = here->taken_sends;
    for (const struct tun_message *m = w->way[i][k].first; m; m = m->next) {
        counted += m->counted;
        sends += m->kind == TUN_MESSAGE_SEND;
    }
    for (const struct tun_message *m = w->way[k][i].first; m; m = m->next) {
        counted += m->kind == TUN_MESSAGE_TAKEN ? m->number : 0;
        sends += m->kind == TUN_MESSAGE_TAKEN ? m->transaction : 0;
    }
    assert(there->untaken == counted);
    assert(there->untaken_sends == sends);
    assert(there->untaken <= w->t[i]->others->room);
}

static void check_joined(const struct world *w, unsigned i, const struct tun_hop *h) {
    unsigned k = tun_handle_worker(h->spliced_away);
    assert(k != i && k < w->workers);
    const struct tun_hop *other = tun_hop_get(w->t[k], h->spliced_away);
    if (other && other->spliced_away == h->handle)
        return;
    assert(is_told(w, i, k, TUN_MESSAGE_MET, h->spliced_away, h->handle) ||
           is_told(w, k, i, TUN_MESSAGE_PARTED, h->handle, h->spliced_away));
}

static void check_hops(const struct world *w, unsigned i) {
    const struct tunnel *t = w->t[i];
    uint32_t cursor = 0, waiting = 0;
    uint64_t memos = 0;
    const struct tun_hop *h;
    while ((h = tun_handles_next(&t->hops, &cursor)) != NULL) {
        bool joined = h->is_rendezvous || h->spliced || h->spliced_away;
        unsigned roles =
            (h->next.link != NULL) + h->is_intro + joined + (h->open || h->opening) + h->exit;
        assert(roles <= 1);
        assert(h->next.flow.held == (h->crossing != NULL));
        assert(!h->crossing || (!h->next.link && h->next.flow.head));
        assert(h->prev.link && h->prev.link->state == TUN_STATE_OPEN);
        assert(!h->is_intro || cv_map_get(t->intros, h->intro_key) == h);
        assert(!h->spliced || h->spliced->spliced == h);
        if (h->spliced_away)
            check_joined(w, i, h);
        waiting += h->crossing ? h->next.flow.count : 0;
        for (const struct tun_memo *m = h->memos; m; m = m->next)
            memos += sizeof *m + m->len;
    }
    assert(memos == t->memo_octets);
    for (unsigned k = 0; k < w->workers; k++)
        waiting -= t->others->to[k].waiting;
    assert(waiting == 0);
}

/* The face says where something is: there it is, or that it is no more is on its way. */
static void check_places(const struct world *w) {
    const struct tun_others *face = w->t[0]->others;
    uint32_t cursor = 0;
    for (unsigned i = 1; i < w->workers; i++) {
        const struct tun_hop *h;
        cursor = 0;
        while ((h = tun_handles_next(&w->t[i]->hops, &cursor)) != NULL) {
            const struct tun_place *p = tun_place_find(face->cookies, h->cookie);
            if (p && p->handle == h->handle)
                assert((h->is_rendezvous && !h->spliced && !h->spliced_away) ||
                       is_told(w, i, 0, TUN_MESSAGE_COOKIE, 0, h->handle));
            p = tun_place_find(face->points, h->intro_key);
            if (p && p->handle == h->handle)
                assert(h->is_intro || is_told(w, i, 0, TUN_MESSAGE_POINT, 0, h->handle));
            /* a key has one holder, or who had it will hear that */
            if (h->is_intro && !(p && p->handle == h->handle))
                assert(is_told(w, i, 0, TUN_MESSAGE_POINT, 0, h->handle) ||
                       is_told(w, 0, i, TUN_MESSAGE_POINT_MOVED, h->handle, 0));
        }
        const struct tun_link *l;
        cursor = 0;
        while ((l = tun_handles_next(&w->t[i]->links, &cursor)) != NULL) {
            uint8_t hash[CV_NOISE_HASH];
            if (tun_link_hash(w->t[0], l->handle, hash) == CV_ERR_OK)
                assert(l->state == TUN_STATE_OPEN && memcmp(hash, l->first_hash, sizeof hash) == 0);
        }
    }
}

static void check_links(const struct world *w, unsigned i) {
    uint32_t cursor = 0, halves = 0, counted = 0;
    const struct tun_link *l;
    while ((l = tun_handles_next(&w->t[i]->links, &cursor)) != NULL) {
        if (l->state == TUN_STATE_ANSWERED)
            assert(!l->ours && l->now.sent == 0 && l->circuits.count == 0);
        halves += l->state == TUN_STATE_ANSWERED;
        assert(tun_handle_worker(l->handle) == i);
    }
    const struct tun_netgroup *g;
    void *of_groups = NULL;
    while ((g = cv_map_next(w->t[i]->netgroups, &of_groups, NULL)) != NULL)
        counted += g->half_count;
    assert(halves == w->t[i]->halves && halves == counted);
}

static void check_keys(struct world *w, unsigned i) {
    uint32_t today = cv_day(w->net.now.wall);
    for (uint32_t day = today - 2; day <= today + 2; day++) {
        const struct tun_keyring_day *d = tun_keyring_find(w->t[i]->keyring, day);
        bool known = false;
        for (unsigned k = 0; d && k < w->shown_count && k < 8; k++)
            known |= memcmp(w->shown[k], d->digest, TUN_DIGEST) == 0;
        assert(!d || known || i == 0);
        if (d && !known)
            memcpy(w->shown[w->shown_count++ % 8], d->digest, TUN_DIGEST);
    }
}

static void check(void *ctx) {
    struct world *w = ctx;
    for (unsigned i = 0; i < w->workers; i++) {
        check_hops(w, i);
        check_links(w, i);
        check_keys(w, i);
        assert(w->t[i]->told_count == 0);
        for (unsigned k = 0; k < w->workers; k++)
            if (i != k)
                check_room(w, i, k);
    }
    check_places(w);
}

static void check_empty(const struct world *w) {
    const struct tun_others *face = w->t[0]->others;
    uint32_t links = 0, all = 0;
    for (unsigned i = 0; i < w->workers; i++) {
        const struct tunnel *t = w->t[i];
        assert(t->hops.count == 0);
        assert(t->sched.cells_used == 0);
        assert(t->memo_octets == 0);
        assert(cv_map_count(t->intros) + cv_map_count(t->cookies) == 0);
        assert(TAILQ_EMPTY(&t->paces));
        for (unsigned k = 0; k < w->workers; k++) {
            assert(t->others->to[k].waiting == 0 && TAILQ_EMPTY(&t->others->to[k].circuits));
            assert(i == k || t->others->to[k].untaken == w->t[k]->others->to[i].taken);
        }
        uint32_t cursor = 0;
        const struct tun_link *l;
        while (i && (l = tun_handles_next(&t->links, &cursor)) != NULL)
            links += l->state == TUN_STATE_OPEN;
        all += t->links.count;
    }
    assert(tun_counters(w->t[0])->hops == 0 && tun_counters(w->t[0])->links == all);
    assert(cv_map_count(face->points) == 0);
    assert(cv_map_count(face->cookies) == 0);
    assert(cv_map_count(face->links) == links);
}

/* ---- owners ---- */

static bool ref(const struct world *w, unsigned end, struct tun_relay_ref *ret) {
    return network_ref(w->t[end], w->net.now.wall, ret);
}

static enum cv_err find_relay(void *ctx, const uint8_t identity[CV_KEY], uint32_t day,
                              struct tun_relay_ref *ret, const uint8_t **ret_descriptor,
                              size_t *ret_len) {
    struct world *w = ctx;
    (void)day;
    for (unsigned i = 0; i <= FAR; i += FAR) {
        if (memcmp(w->identity_secret[i == FAR].public_key, identity, CV_KEY) != 0 ||
            !ref(w, i, ret))
            continue;
        *ret_descriptor = tun_own_descriptor(w->t[i], w->net.now.wall, ret_len);
        return CV_ERR_OK;
    }
    return CV_ERR_NOENT;
}

static const struct tun_user_ops ops = {.find_relay = find_relay};

static struct tun_circuit *circuit(struct world *w, unsigned which) {
    which %= CIRCUITS;
    cv_handle c = w->circuit[which].handle;
    return c ? tun_handles_get(&w->t[w->circuit[which].owner]->circuits, c) : NULL;
}

static void open_circuit(struct world *w, unsigned at, uint8_t how) {
    struct tun_circuit_plan plan = {.hops = how & 64 ? 2 : 1};
    unsigned owner = OWNER + how % OWNERS, first = how & 32 && plan.hops == 2 ? FAR : 0;
    if (circuit(w, at) || !ref(w, first, &plan.hop[0]) || !ref(w, FAR - first, &plan.hop[1]))
        return;
    w->circuit[at % CIRCUITS].owner = owner;
    if (tun_circuit_build(w->t[owner], &w->net.now, &plan, &w->circuit[at % CIRCUITS].handle))
        w->circuit[at % CIRCUITS].handle = 0;
    events(w, end_of(w, owner));
}

static void close_circuit(struct world *w, unsigned at) {
    at %= CIRCUITS;
    if (w->circuit[at].handle)
        tun_circuit_close(w->t[w->circuit[at].owner], &w->net.now, w->circuit[at].handle);
    w->circuit[at].handle = 0;
}

/* One cell for a hop, with the transaction that the owner likes, never repeated. */
static void cell(struct world *w, struct tun_circuit *c, unsigned owner, unsigned hop,
                 uint8_t command, const uint8_t *data, size_t len) {
    struct tunnel *t = w->t[owner];
    struct tun_cell *cell = tun_cell_take(t);
    if (!cell)
        return;
    memcpy(tun_onion_data(cell->octets, hop), data, len);
    if (tun_onion_wrap(&c->onion, &t->fast, cell->octets, hop, command, len)) {
        tun_sched_release(&t->sched, cell);
        return;
    }
    cell->layer = 0;
    tun_put(t, &c->leg, cell, w->net.now.mono);
}

/* A body that is as it should be. */
static void body(struct world *w, const uint8_t binding[32], uint8_t command, uint32_t id,
                 uint8_t what, struct cv_wr *wr) {
    struct tun_relay_ref to;
    struct tun_rendezvous rendezvous = {.transaction = id,
                                        .cookie = {what % COOKIES},
                                        .flight = (const uint8_t *)"flight",
                                        .flight_len = command == TUN_CMD_JOIN ? 6 : 0};
    struct tun_introduce introduce = {
        .transaction = id, .flight = (const uint8_t *)"flight", .flight_len = 6};
    struct tun_establish_intro point = {.transaction = id};
    const struct cv_ed25519_secret *auth = &w->auth_secret[what % KEYS];
    switch (command) {
    case TUN_CMD_OPEN:
        tun_open_write(
            wr, &(struct tun_open){.transaction = id, .swarm_id = (const uint8_t *)"x", .len = 1});
        break;
    case TUN_CMD_EXTEND:
        if (ref(w, what & 1 ? FAR : 0, &to)) {
            struct tun_extend m = {
                .transaction = id, .day = to.day, .flight = to.identity, .flight_len = CV_KEY};
            memcpy(m.identity, to.identity, sizeof m.identity);
            memcpy(m.digest, to.d, sizeof m.digest);
            m.digest[0] ^= what >> 7;
            tun_extend_write(wr, &m);
        }
        break;
    case TUN_CMD_ESTABLISH_RENDEZVOUS:
    case TUN_CMD_JOIN:
        tun_rendezvous_write(wr, &rendezvous);
        break;
    case TUN_CMD_ESTABLISH_INTRO:
        tun_establish_intro_sign(&point, auth, binding);
        tun_establish_intro_write(wr, &point);
        break;
    case TUN_CMD_INTRODUCE:
        memcpy(introduce.auth_key, auth->public_key, CV_KEY);
        tun_introduce_write(wr, &introduce);
        break;
    case TUN_CMD_PACE:
        tun_pace_write(wr, &(struct tun_pace){.transaction = id, .rate = (uint8_t)(1 << what % 4)});
        break;
    default:
        cv_wr_le32(wr, id);
        cv_wr_u8(wr, what);
        break;
    }
}

/* To the last hop of circuit `which`, or from CIRCUITS on to the first. */
static void say(struct world *w, unsigned which, uint8_t what, uint8_t more) {
    static const uint8_t commands[] = {TUN_CMD_OPEN,
                                       TUN_CMD_EXTEND,
                                       TUN_CMD_ESTABLISH_RENDEZVOUS,
                                       TUN_CMD_JOIN,
                                       TUN_CMD_CONNECT,
                                       TUN_CMD_LOOKUP,
                                       TUN_CMD_ESTABLISH_INTRO,
                                       TUN_CMD_INTRODUCE,
                                       TUN_CMD_DATAGRAM,
                                       TUN_CMD_DATAGRAM,
                                       TUN_CMD_EXIT,
                                       TUN_CMD_EXIT,
                                       TUN_CMD_INTRODUCE,
                                       TUN_CMD_PACE,
                                       TUN_CMD_BUCKET,
                                       TUN_CMD_DATAGRAM};
    struct tun_circuit *c = circuit(w, which);
    uint8_t command = commands[what % 16], buf[TUN_FORWARD_MAX];
    if (!c || !c->onion.hops)
        return;
    struct cv_wr wr = cv_wr_init(buf, sizeof buf);
    bool many = command == TUN_CMD_DATAGRAM || command == TUN_CMD_EXIT;
    unsigned hop = which & CIRCUITS ? 0 : c->onion.hops - 1;
    body(w, c->binding[hop], command, many ? 1 : what >> 4, more, &wr);
    size_t len = cv_wr_len(&wr);
    if (more >= 224 && !many) /* cut short */
        len = more % 32 < len ? more % 32 : len;
    for (unsigned i = 0; i <= (many ? what >> 2 & ~3U : 0) && !wr.err; i++)
        cell(w, c, w->circuit[which % CIRCUITS].owner, hop, command, buf, len);
}

/* Two that want each other, so that it comes to something more often than by chance. */
static void pair(struct world *w, uint8_t both, uint8_t cookie) {
    say(w, both % CIRCUITS, 2, cookie);
    network_settle(&w->net);
    say(w, both / CIRCUITS, 3, cookie);
}

/* ---- the node ---- */

static void node_answers(struct world *w, uint8_t which, uint8_t how) {
    uint8_t code = TUN_ERROR_NOENT;
    if (!w->asked_count)
        return;
    unsigned i = which % w->asked_count;
    cv_handle hop = w->asked[i].hop;
    uint32_t transaction = w->asked[i].transaction ^ (how & 64 ? how : 0);
    uint8_t command = w->asked[i].command == TUN_CMD_OPEN      ? TUN_CMD_OPENED
                      : w->asked[i].command == TUN_CMD_CONNECT ? TUN_CMD_CONNECTED
                                                               : TUN_CMD_RESULT;
    if (how & 32) /* to another question */
        command = how & 1 ? TUN_CMD_OPENED : TUN_CMD_CONNECTED;
    bool refuses = how & 16;
    if (!(how & 128)) /* else once more later */
        w->asked[i] = w->asked[--w->asked_count];
    w->open = hop;
    (void)tun_answer(w->t[0], &w->net.now, hop, transaction, refuses ? TUN_CMD_ERROR : command,
                     &code, refuses);
}

static cv_handle some_link(struct world *w, uint8_t which) {
    uint32_t cursor = 0;
    const struct tun_link *l;
    while ((l = tun_handles_next(&w->t[which % w->workers]->links, &cursor)) != NULL)
        if (which < 64 || l->state == TUN_STATE_OPEN)
            return l->handle;
    return 0;
}

/* What is the node's business, to whichever worker has the link. */
static void neighbour_says(struct world *w, uint8_t which) {
    struct tunnel *t = w->t[OWNER + which % OWNERS];
    uint32_t cursor = 0;
    const struct tun_link *l;
    while ((l = tun_handles_next(&t->links, &cursor)) != NULL)
        (void)tun_link_send(t, &w->net.now, l->handle, TUN_LINKCMD_LEDGER, "other", 5);
}

static void node(struct world *w, uint8_t what, uint8_t which) {
    struct cv_endpoint to = cv_endpoint_circuit(w->open, which & 1);
    struct tunnel *face = w->t[0];
    cv_handle link = some_link(w, which);
    switch (what % 8) {
    case 0:
        for (unsigned i = 0; w->open && i <= which; i++)
            if (tun_has_room(face) || which & 2)
                (void)tun_send(face, &w->net.now, &to, "from the node", 13);
        break;
    case 1:
        if (link)
            (void)tun_link_send(face, &w->net.now, link, TUN_LINKCMD_LEDGER, "half", 4);
        if (what & 8)
            neighbour_says(w, which);
        break;
    case 2:
        if (link)
            tun_link_class(face, link, what >> 6);
        break;
    case 3:
        if (link)
            tun_link_weight(face, link, what);
        break;
    case 4:
        tun_drain(face, which & 1);
        break;
    case 5:
        tun_hops_end(face, &w->net.now, which & 1 ? CV_SEC(10) : 0);
        break;
    case 6: /* stored, or not yet */
        w->saves = which & 1;
        if (w->saves)
            tun_saved(face, &w->net.now, TUN_BLOB_KEYRING);
        break;
    default:
        node_answers(w, which, what);
        break;
    }
    exchange(w);
}

/* ---- datagrams ---- */

static void junk(struct world *w, uint8_t what, uint8_t from) {
    uint8_t buf[TUN_DATAGRAM] = {what, 2, 3, (uint8_t)(from << 2)};
    unsigned at = what % w->workers;
    for (unsigned i = 0; i <= from; i++) {
        buf[1] = (uint8_t)i;
        (void)tun_on_datagram(w->t[at], &w->net.now, &w->addr[OWNER + from % OWNERS], buf,
                              sizeof buf);
    }
    exchange(w);
}

/* One of the DHT's that came to a worker, as its thread gives it to the node's. */
static void foreign(struct world *w, uint8_t what) {
    const uint8_t buf[256] = {'d', what}, *octets;
    struct tun_message *m = tun_message_foreign(1, &w->addr[OWNER], buf, what);
    const struct cv_addr *from;
    size_t len;
    assert(m && m->to == 0);
    assert(tun_message_datagram(m, &from, &octets, &len) && len == what);
    tun_on_message(w->t[0], &w->net.now, m);
}

/* The same engine from another network, which another worker may answer for. */
static void moves(struct world *w, uint8_t who, uint8_t where) {
    unsigned end = OWNER + who % OWNERS;
    w->addr[end].ip[2] = where;
    w->net.end[end_of(w, end)].addr = w->addr[end];
    tun_on_rebind(w->t[end], &w->net.now);
}

/* ---- the script ---- */

static void engine(struct world *w, unsigned i) {
    bool relay = i <= FAR;
    struct tun_config cfg = {.relay = relay,
                             .relay_flags = TUN_RELAY_RELAY | TUN_RELAY_INTRO |
                                            TUN_RELAY_RENDEZVOUS | TUN_RELAY_EXIT,
                             .address_class = TUN_ADDRESS_LOOPBACK,
                             .gate = true,
                             .links_max = 24,
                             .hops_max = 24,
                             .circuits_max = 16,
                             .queue_octets_max = 3 * 512 * 1024};
    w->addr[i] = (struct cv_addr){
        .ip = {127, (uint8_t)(10 + (i < WORKERS ? 0 : i)), 0, 1}, .port = 4000, .family = 4};
    cv_rng_seeded_init(&w->seed[i], i);
    w->rng[i] = cv_rng_seeded(&w->seed[i]);
    memcpy(cfg.network_id, NETWORK, sizeof cfg.network_id);
    if (relay) {
        cfg.identity = &w->identity_secret[i == FAR];
        cfg.addr[0] = w->addr[i];
    }
    if (i < WORKERS) {
        cfg.workers = (uint8_t)w->workers;
        cfg.worker = (uint8_t)i;
        memcpy(cfg.worker_key, "sixteen", 7);
    }
    w->t[i] = tun_bare_new(&cfg, &w->rng[i], &w->net.now);
    assert(w->t[i]);
    if (i == 0 || i == FAR)
        tun_attach(w->t[i], TUN_USER_CLIENT, &ops, w);
}

static void step(void *ctx, struct cv_rd *r) {
    struct world *w = ctx;
    uint8_t op = cv_rd_u8(r), a = cv_rd_u8(r), b = cv_rd_u8(r);
    unsigned from = a % w->workers, to = (from + 1 + (a >> 2) % (w->workers - 1)) % w->workers;
    switch (op % 16) {
    case 0:
        open_circuit(w, a, b);
        break;
    case 1:
        close_circuit(w, a);
        break;
    case 2:
    case 3:
    case 4:
        say(w, op >> 4, a, b);
        break;
    case 5:
        pair(w, a, b);
        break;
    case 6:
        node(w, a, b);
        break;
    case 7:
        node_answers(w, a, b);
        break;
    case 8: /* some of what waits, whoever has time */
        (void)carry(w, from, to, b);
        exchange(w);
        break;
    case 9:
        w->way[from][to].lose = b % 32;
        break;
    case 10:
        w->stalled = a & 7;
        break;
    case 11:
        w->scatters = a & 1;
        if (a & 2)
            moves(w, a >> 2, b);
        break;
    case 12:
        if (b == UINT8_MAX)
            foreign(w, a);
        else
            junk(w, a, b);
        break;
    case 13:
        network_run(&w->net, CV_MSEC(4) * (1 + a), NULL);
        break;
    case 14: /* nobody was served for so long */
        w->net.now.mono += CV_SEC(a);
        w->net.now.wall += a + (b & 15) * 3600;
        break;
    default:
        w->net.drop = a | (unsigned)b << 8;
        break;
    }
    if (op < 128) /* else as it lies */
        network_settle(&w->net);
    exchange(w);
}

static void begin(struct world *w, uint8_t how) {
    *w = (struct world){.workers = how & 1 ? 2 : WORKERS, .saves = true};
    network_begin(&w->net, SERVED, w, events);
    w->net.whose = whose;
    for (unsigned i = 0; i < 2; i++)
        cv_ed25519_from_seed(&w->identity_secret[i], (const uint8_t[CV_KEY]){(uint8_t)(i + 1)});
    for (unsigned i = 0; i < KEYS; i++)
        cv_ed25519_from_seed(&w->auth_secret[i], (const uint8_t[CV_KEY]){(uint8_t)(i + 9)});
    for (unsigned i = 0; i < WORKERS; i++)
        for (unsigned k = 0; k < WORKERS; k++)
            w->way[i][k].end = &w->way[i][k].first;
    for (unsigned i = 0; i < PARTIES; i++)
        if (i < w->workers || i >= WORKERS)
            engine(w, i);
    for (unsigned i = 0; i < w->workers; i++) {
        if (how & 2) /* little, so that it is full now and then */
            w->t[i]->others->room = 24;
        network_add(&w->net, w->t[i], &w->addr[i], NULL);
    }
    for (unsigned i = FAR; i < PARTIES; i++)
        network_add(&w->net, w->t[i], &w->addr[i], NULL);
    exchange(w);
}

/* Everybody has time, nothing is lost, all circuits end; those whose end was not heard of
 * when they have been silent for long enough. */
static void end(struct world *w) {
    w->stalled = 0;
    w->net.drop = 0;
    for (unsigned i = 0; i < WORKERS * WORKERS; i++)
        w->way[i / WORKERS][i % WORKERS].lose = 0;
    w->net.served = 0;
    network_settle(&w->net);
    for (unsigned i = 0; i < CIRCUITS; i++)
        close_circuit(w, i);
    for (cv_usec at = 0; at <= TUN_HOP_IDLE + CV_SEC(10); at += CV_SEC(2)) {
        w->net.served = 0;
        network_settle(&w->net);
        w->net.now.mono += CV_SEC(2);
    }
    exchange(w);
    check(w);
    check_empty(w);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct world world;
    struct world *w = &world;
    cv_crypto_init();
    struct cv_rd r = cv_rd_init(data, size);
    begin(w, size ? cv_rd_u8(&r) : 0);
    network_script(&w->net, &r, STEPS, step, check);
    end(w);
    network_end(&w->net);
    return 0;
}
