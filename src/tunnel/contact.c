/* Addresses become descriptors, descriptors become neighbours (clientstate.h). */
#include <string.h>

#include "tunnel/clientstate.h"
#include "tunnel/link.h"

/* How long an address that answered, or never did, is not asked again. */
#define REST CV_SEC(60)
/* How often a relay that answered at one of its addresses is asked at the others. */
#define AGAIN CV_SEC(600)
/* So much earlier than at its other address a first hop is asked where it answered last. */
#define HEAD_START CV_SEC(1)
/* For so long a question keeps others from the same IP address. */
#define FLIGHT CV_MSEC(500)
/* How long who answered but cannot be linked to is tried: a relay's neighbour, and
 * a client's contact while it has no first hops. */
#define HOPE        CV_SEC(4)
#define HOPE_CLIENT CV_SEC(10)
/* So long without a word from anybody all are asked; when nobody answers for so long, our own
 * network is away. */
#define HUSH   CV_SEC(3)
#define ANSWER CV_MSEC(500)
/* So long without a word from one that has both families it is asked whether it is there, and
 * without an answer at its other address. */
#define SILENT CV_SEC(2)
/* How often first hops and contacts are called, at most, as long as none has a link. */
#define CUT_RETRY CV_SEC(3)

static cv_usec now(const struct tun_client *c) {
    return c->now.mono;
}

/* ---- neighbours ---- */

struct tun_neighbour *tun_contact_neighbour(struct tun_client *c, const uint8_t identity[CV_KEY]) {
    for (unsigned i = 0; i < TUN_CONTACTS_MAX; i++) {
        if (c->neighbour[i].set && memcmp(c->neighbour[i].identity, identity, CV_KEY) == 0)
            return &c->neighbour[i];
    }
    return NULL;
}

unsigned tun_contact_linked(const struct tun_client *c) {
    unsigned n = 0;
    for (unsigned i = 0; i < TUN_CONTACTS_MAX; i++)
        n += c->neighbour[i].set && c->neighbour[i].up;
    return n;
}

/* Opens the link, or finds the one there is. */
static struct tun_link *open_link(struct tun_client *c, const struct tun_neighbour *n) {
    const struct tun_relay *r = tun_directory_find_now(c->dir, n->identity, c->now.wall);
    if (!r)
        return NULL;
    struct tun_relay_ref ref;
    struct tun_link *l;
    tun_relay_ref_fill(&ref, r, c->now.wall);
    /* The address that answered us, not another that the relay may have. */
    if (!cv_addr_equal(&ref.addr[0], &n->addr) || !c->relay) {
        memset(ref.addr, 0, sizeof ref.addr);
        ref.addr[0] = n->addr;
    }
    return tun_link_open(c->t, &c->now, &ref, &l) ? NULL : l;
}

struct tun_link *tun_contact_link(struct tun_client *c, const struct tun_neighbour *n) {
    struct tun_link *l = n->up ? open_link(c, n) : NULL;
    return l && tun_link_is_up(l) ? l : NULL;
}

/* Did any of those that have a link say something lately? A link is found dead up to a minute
 * after the others, and until then it has been as silent as they. */
static bool heard_since(struct tun_client *c, cv_usec since) {
    for (unsigned i = 0; i < TUN_CONTACTS_MAX; i++) {
        const struct tun_neighbour *n = &c->neighbour[i];
        struct tun_link *l = n->set && n->up ? tun_contact_link(c, n) : NULL;
        if (l && tun_link_heard_at(l) > since)
            return true;
    }
    return false;
}

/* Nobody is avoided for what our own network did, and who is being called has it as new. */
static void forgive_all(struct tun_client *c) {
    struct tun_relay *all[TUN_DIRECTORY_MAX / 2];
    size_t count = tun_directory_list(c->dir, tun_descriptor_day(c->now.wall), TUN_DIRECTORY_KNOWN,
                                      all, sizeof all / sizeof *all);
    for (size_t i = 0; i < count; i++)
        all[i]->shunned_until = all[i]->gone_until = 0;
    for (unsigned i = 0; i < TUN_GUARD_FIRSTS; i++)
        c->guards.first[i].shunned_until = 0;
    memset(&c->refusals, 0, sizeof c->refusals);
    for (unsigned i = 0; i < TUN_CONTACTS_MAX; i++) {
        struct tun_neighbour *n = &c->neighbour[i];
        struct tun_link *l = n->set && !n->up ? open_link(c, n) : NULL;
        if (l)
            tun_link_hurry(c->t, &c->now, l);
    }
    c->back_at = now(c);
}

/* While nobody could be heard nobody was silent: our own network is not held against guards. */
static void back_again(struct tun_client *c) {
    if (c->cut_at)
        forgive_all(c);
    for (unsigned i = 0; c->cut_at && i < TUN_GUARD_FIRSTS + TUN_CONTACTS_WANTED; i++) {
        struct tun_guard *g =
            i < TUN_GUARD_FIRSTS ? &c->guards.first[i] : &c->guards.contact[i - TUN_GUARD_FIRSTS];
        int64_t from = g->silent_since > c->cut_at ? g->silent_since : c->cut_at;
        if (g->silent_since && c->now.wall > from)
            g->silent_since += c->now.wall - from;
    }
    c->cut_at = 0;
}

static void neighbour_up(struct tun_client *c, struct tun_neighbour *n) {
    back_again(c);
    n->up = true;
    n->retry_wait = 0;
    if (c->first_link_at == 0)
        c->first_link_at = now(c);
    struct tun_guard *g = tun_guards_find_sampled(&c->guards, n->identity);
    if (g) {
        g->up = true;
        tun_guard_heard(g);
    }
    n->sync.pause = 0;
    n->sync.next_at = now(c);
}

static void neighbour_down(struct tun_client *c, struct tun_neighbour *n) {
    bool was_up = n->up;
    n->up = false;
    cv_usec silent = TUN_KEEPALIVE + CV_SEC(3);
    if (was_up && !heard_since(c, now(c) > silent ? now(c) - silent : 0)) {
        c->cut_at = c->now.wall;
        c->cut_since = now(c);
    }
    n->link = 0;
    n->sync.phase = TUN_SYNC_IDLE;
    n->sync.complete = false;
    n->retry_wait = n->retry_wait ? n->retry_wait * 2 : CV_MSEC(500);
    if (n->retry_wait > CV_SEC(60))
        n->retry_wait = CV_SEC(60);
    /* When our own network is away, all there is to do is to see whether it is back. */
    if (c->cut_at && !c->relay && n->retry_wait > CUT_RETRY)
        n->retry_wait = CUT_RETRY;
    n->retry_at = cv_usec_add(now(c), n->retry_wait);
    struct tun_guard *g = tun_guards_find_sampled(&c->guards, n->identity);
    if (g) {
        g->up = false;
        tun_guard_silent(g, c->now.wall);
    }
}

static void lives_at(struct tun_client *c, struct tun_neighbour *n, const struct tun_relay *r,
                     const struct cv_addr *addr) {
    n->addr = *addr;
    struct tun_guard *g = tun_guards_find_sampled(&c->guards, n->identity);
    if (g && !cv_addr_equal(&g->addr, addr)) {
        tun_guard_answered_at(g, addr, &r->desc);
        c->guards_change = true;
    }
}

void tun_contact_neighbour_add(struct tun_client *c, const struct tun_relay *r,
                               const struct cv_addr *addr) {
    struct tun_neighbour *n = tun_contact_neighbour(c, r->desc.identity);
    for (unsigned i = 0; !n && i < TUN_CONTACTS_MAX; i++) {
        if (!c->neighbour[i].set)
            n = &c->neighbour[i];
    }
    if (!n)
        return;
    if (!n->set) {
        memset(n, 0, sizeof *n);
        n->set = true;
        n->since = now(c);
        memcpy(n->identity, r->desc.identity, CV_KEY);
    }
    if (n->up)
        return; /* where it answered first; its link goes elsewhere only when it is silent there */
    lives_at(c, n, r, addr);
    struct tun_link *l = open_link(c, n);
    n->retry_at = cv_usec_add(now(c), CV_SEC(2));
    if (l && tun_link_is_up(l))
        neighbour_up(c, n);
}

/* A relay came to us before the DHT told us of it: it is asked now, or those who
 * were told to look for it would find nobody who knows it. */
static void newcomer(struct tun_client *c, const struct tun_event *ev) {
    unsigned held = 0;
    for (unsigned i = 0; i < TUN_ADDRESSES_MAX; i++)
        held += c->address[i].addr.family != 0;
    if (held >= TUN_ADDRESSES_MAX / 2)
        return; /* callers may be anybody: the other half is for whom the DHT names */
    if (c->relay && !tun_directory_find_now(c->dir, ev->link_up.identity, c->now.wall))
        (void)tun_contact_add(c, &ev->link_up.addr, /* guard= */ false);
}

void tun_contact_on_link(struct tun_client *c, const struct tun_event *ev) {
    if (ev->kind == TUN_EVENT_LINK_UP && !ev->link_up.ours) {
        newcomer(c, ev);
        return;
    }
    if (ev->kind == TUN_EVENT_LINK_UP) {
        struct tun_neighbour *n = tun_contact_neighbour(c, ev->link_up.identity);
        if (n) {
            n->link = ev->link_up.link;
            if (!n->up)
                neighbour_up(c, n);
        }
        return;
    }
    /* LINK_DOWN names a link that is gone: see whose is not there any more. */
    for (unsigned i = 0; i < TUN_CONTACTS_MAX; i++) {
        struct tun_neighbour *n = &c->neighbour[i];
        if (!n->set || !n->up)
            continue;
        struct tun_link *l = n->link ? NULL : open_link(c, n);
        if (n->link == ev->link_down.link || (!n->link && !(l && tun_link_is_up(l))))
            neighbour_down(c, n);
    }
}

/* ---- which relays become neighbours ---- */

static unsigned neighbours(const struct tun_client *c) {
    unsigned n = 0;
    for (unsigned i = 0; i < TUN_CONTACTS_MAX; i++)
        n += c->neighbour[i].set;
    return n;
}

/* A client lets few relays see its address, and the same for months; a relay
 * speaks to as many as there is room for, and takes turns. */
static bool neighbour_wanted(struct tun_client *c, const struct tun_relay *r,
                             const struct cv_addr *addr) {
    if (c->relay)
        return neighbours(c) < TUN_CONTACTS_WANTED;
    return tun_guards_sample(&c->guards, r, addr, c->dir, c->now.wall, tun_client_rng(c),
                             &c->guards_change);
}

static unsigned guards_up(const struct tun_client *c) {
    unsigned n = 0;
    for (unsigned i = 0; i < TUN_GUARD_SPARE; i++)
        n += c->guards.first[i].set && c->guards.first[i].up;
    return n;
}

static bool has_guards(const struct tun_client *c) {
    return c->guards.first[0].set && c->guards.first[1].set;
}

static cv_usec strangers_patience(const struct tun_client *c) {
    return tun_client_pause(c, CV_SEC(3), CV_SEC(1));
}

/* Did those of an earlier run have the time to answer, and two first hops did not? */
static bool sample_due(const struct tun_client *c) {
    return !c->guards_saved ||
           (guards_up(c) < TUN_GUARD_SPARE &&
            (!has_guards(c) ||
             tun_due(cv_usec_add(c->attached_at, strangers_patience(c)), now(c))));
}

/* Those whose time was over while we were away, and who do not answer, keep nobody out: unless
 * others' descriptors say that it is our clock that is wrong. */
static unsigned sampled(const struct tun_client *c) {
    unsigned n = tun_guards_sampled(&c->guards);
    return tun_calendar_off(&c->calendar) ? n : n - tun_guards_over(&c->guards, c->now.wall);
}

/* May addresses of the DHT be asked? Only as long as the sample is not full:
 * whoever of it is dead is asked again, so that few relays ever see us. */
static bool strangers_wanted(const struct tun_client *c) {
    if (c->relay)
        return true;
    return sampled(c) < TUN_CONTACTS_WANTED && sample_due(c);
}

/* ---- addresses ---- */

static struct tun_address *address_find(struct tun_client *c, const struct cv_addr *addr) {
    for (unsigned i = 0; i < TUN_ADDRESSES_MAX; i++) {
        if (c->address[i].addr.family && cv_addr_equal(&c->address[i].addr, addr))
            return &c->address[i];
    }
    return NULL;
}

static void address_drop(struct tun_address *a) {
    if (a->asked)
        tun_describe_done(&a->question);
    memset(a, 0, sizeof *a);
}

void tun_contact_done(struct tun_client *c) {
    for (unsigned i = 0; i < TUN_ADDRESSES_MAX; i++)
        address_drop(&c->address[i]);
}

/* A new one in the first free place from `start` on, or NULL when there is no room. */
static struct tun_address *address_new(struct tun_client *c, const struct cv_addr *addr,
                                       unsigned start) {
    for (unsigned i = 0; i < TUN_ADDRESSES_MAX; i++) {
        struct tun_address *a = &c->address[(start + i) % TUN_ADDRESSES_MAX];
        if (a->addr.family)
            continue;
        *a = (struct tun_address){.addr = *addr, .at = now(c)};
        tun_client_by(c, now(c));
        return a;
    }
    return NULL;
}

enum cv_err tun_contact_add(struct tun_client *c, const struct cv_addr *addr, bool guard) {
    if (!tun_address_ok(c->t, addr))
        return CV_ERR_DENIED;
    struct tun_address *a = address_find(c, addr);
    if (!a) /* anywhere: who is asked first must not be who was listed first */
        a = address_new(c, addr, (unsigned)cv_rng_below(tun_client_rng(c), TUN_ADDRESSES_MAX));
    else if (guard && a->tries == UINT8_MAX) /* it answered a moment ago, under another day's */
        *a = (struct tun_address){.addr = *addr, .at = now(c)};
    if (!a)
        return CV_ERR_LIMIT;
    a->guard |= guard;
    if (c->relay)
        a->named = false; /* somebody else says so too */
    return CV_ERR_OK;
}

bool tun_contact_reach_at(struct tun_client *c, const uint8_t whose[CV_KEY],
                          const struct cv_addr *addr) {
    struct tun_address *a = tun_address_ok(c->t, addr) ? address_find(c, addr) : NULL;
    if (!tun_address_ok(c->t, addr) || (a && (c->relay || a->guard || a->named || a->asked)))
        return true;
    if (a) /* of the DHT, where a client asks no strangers any more */
        *a = (struct tun_address){.addr = *addr, .at = now(c)};
    else
        a = address_new(c, addr, 0);
    if (!a)
        return false;
    tun_client_by(c, a->at);
    a->named = true;
    memcpy(a->whose, whose, CV_KEY);
    return true;
}

/* What a relay names besides an address at which it answered may be anybody's, and all relays
 * read it: there is asked now and then. */
void tun_contact_reach(struct tun_client *c, struct tun_relay *r) {
    if (r->reached && !tun_due(r->again_at, now(c)))
        return;
    bool room = true;
    for (unsigned i = 0; i < r->desc.addrs; i++) {
        if (!((r->reached & ~r->kept) >> i & 1))
            room &= tun_contact_reach_at(c, r->desc.identity, &r->desc.addr[i]);
    }
    if (room)
        r->again_at = cv_usec_add(now(c), AGAIN);
}

/* A first hop or contact of ours is silent where it answered last: is it there at another
 * address of its own? */
static void look_elsewhere(struct tun_client *c, const struct tun_guard *g) {
    const struct tun_relay *r = tun_directory_find_now(c->dir, g->identity, c->now.wall);
    (void)tun_contact_reach_at(c, g->identity, &g->addr_too);
    for (unsigned i = 0; r && i < r->desc.addrs; i++) {
        if (!cv_addr_equal(&r->desc.addr[i], &g->addr))
            (void)tun_contact_reach_at(c, g->identity, &r->desc.addr[i]);
    }
}

void tun_contact_guard(struct tun_client *c, const struct tun_guard *g) {
    if (tun_contact_add(c, &g->addr, /* guard= */ true) == CV_ERR_DENIED) {
        (void)tun_contact_add(c, &g->addr_too, /* guard= */ true);
        return;
    }
    (void)tun_contact_reach_at(c, g->identity, &g->addr_too);
    struct tun_address *a = address_find(c, &g->addr_too);
    if (a && a->named && a->tries == 0)
        a->at = cv_usec_add(now(c), HEAD_START);
}

/* Where a first hop or contact is asked for as long as it is one: at the address where it
 * answered last, or the other one when we have no sockets of that family. */
static bool is_of_guard(const struct tun_client *c, const struct cv_addr *addr) {
    for (unsigned i = 0; i < TUN_GUARD_FIRSTS + TUN_CONTACTS_WANTED; i++) {
        const struct tun_guard *g =
            i < TUN_GUARD_FIRSTS ? &c->guards.first[i] : &c->guards.contact[i - TUN_GUARD_FIRSTS];
        if (g->set && (cv_addr_equal(addr, &g->addr) ||
                       (cv_addr_equal(addr, &g->addr_too) && !tun_address_ok(c->t, &g->addr))))
            return true;
    }
    return false;
}

static bool spent(const struct tun_address *a) {
    return a->tries == UINT8_MAX;
}

/* Not asked any more, but remembered, so that the DHT's next answer does not
 * begin it all again. What only a descriptor names must not take the DHT's room. */
static void address_rest(struct tun_client *c, struct tun_address *a) {
    if (a->named) {
        address_drop(a);
        return;
    }
    if (a->asked)
        tun_describe_done(&a->question);
    a->asked = false;
    a->tries = UINT8_MAX;
    a->at = cv_usec_add(now(c), REST);
}

static void ask(struct tun_client *c, struct tun_address *a) {
    uint8_t datagram[TUN_DATAGRAM];
    if (a->asked)
        tun_describe_done(&a->question);
    tun_describe_ask(&a->question, &c->net, tun_client_rng(c), datagram);
    a->asked = true;
    a->sent_at = now(c);
    /* 250 ms, doubling; a guard is asked for as long as it is one. */
    unsigned shift = a->tries < 6 ? a->tries : 6;
    a->at = cv_usec_add(now(c), CV_MSEC(250) << shift);
    a->tries++;
    if (a->guard && a->tries > 6)
        a->tries = 6;
    if (!tun_raw_send(c->t, &a->addr, datagram))
        a->at = cv_usec_add(now(c), CV_MSEC(20));
}

/* Another address of that network is being asked already. */
static bool network_busy(const struct tun_client *c, const struct tun_address *a) {
    unsigned bits = a->addr.family == 4 ? 16 : 32;
    for (unsigned i = 0; i < TUN_ADDRESSES_MAX; i++) {
        const struct tun_address *b = &c->address[i];
        if (b != a && b->asked && b->addr.family == a->addr.family &&
            cv_addr_common_bits(&a->addr, &b->addr) >= bits)
            return true;
    }
    for (unsigned i = 0; i < TUN_CONTACTS_MAX; i++) {
        const struct tun_neighbour *n = &c->neighbour[i];
        if (n->set && n->addr.family == a->addr.family &&
            cv_addr_common_bits(&a->addr, &n->addr) >= bits)
            return true;
    }
    return false;
}

static unsigned asking(const struct tun_client *c) {
    unsigned n = 0;
    /* Who did not answer twice is hardly there, and must not keep others out. */
    for (unsigned i = 0; i < TUN_ADDRESSES_MAX; i++)
        n += c->address[i].asked && c->address[i].tries <= 2;
    return n;
}

/* Another address of this IP address, or of this descriptor, was asked a moment
 * ago. Nobody may aim more than one question at a time. Until when, or 0. */
static cv_usec flying(const struct tun_client *c, const struct tun_address *a) {
    for (unsigned i = 0; i < TUN_ADDRESSES_MAX; i++) {
        const struct tun_address *b = &c->address[i];
        unsigned bits = a->addr.family == 4 ? 32 : 128;
        bool same_ip =
            b->addr.family == a->addr.family && cv_addr_common_bits(&a->addr, &b->addr) >= bits;
        bool same_relay = a->named && b->named && memcmp(a->whose, b->whose, CV_KEY) == 0;
        cv_usec until = cv_usec_add(b->sent_at, FLIGHT);
        if (b != a && b->asked && (same_ip || same_relay) && !tun_due(until, now(c)))
            return until;
    }
    return 0;
}

/* Only its descriptor names this address, and the relay answered there, or is not there today;
 * or we look for somebody whom we found meanwhile. */
static bool is_needless(struct tun_client *c, const struct tun_address *a) {
    const struct tun_neighbour *n =
        a->named && !c->relay ? tun_contact_neighbour(c, a->whose) : NULL;
    if (n && n->up)
        return true;
    uint32_t day = tun_descriptor_day(c->now.wall); /* what it had yesterday is no matter */
    const struct tun_relay *r = a->named ? tun_directory_find(c->dir, a->whose, day) : NULL;
    if (!r || r->raw_len == 0 || !c->relay)
        return false;
    int i = tun_descriptor_addr(&r->desc, &a->addr);
    return r->reached && (i < 0 || (r->reached & ~r->kept) >> i & 1);
}

/* A first question now? */
static bool wanted(const struct tun_client *c, const struct tun_address *a) {
    if (a->guard || (a->named && !c->relay))
        return true;
    unsigned busy = asking(c);
    if (c->relay)
        return busy < TUN_CONTACTS_MAX;
    return strangers_wanted(c) && sampled(c) + busy < TUN_CONTACTS_WANTED && !network_busy(c, a);
}

static void address_work(struct tun_client *c, struct tun_address *a) {
    if (!tun_due(a->at, now(c))) {
        tun_client_by(c, a->at);
        return;
    }
    if (spent(a)) {
        address_drop(a);
        return;
    }
    a->guard &= is_of_guard(c, &a->addr);
    if (a->tries == 0 && !wanted(c, a))
        return; /* looked at again whenever something changes */
    if (!a->guard && (a->tries >= (a->named ? TUN_NAMED_TRIES : TUN_TRIES) || is_needless(c, a))) {
        address_rest(c, a);
        return;
    }
    cv_usec until = a->guard ? 0 : flying(c, a);
    if (until) {
        tun_client_by(c, until);
        return;
    }
    if (!a->guard && !tun_questions_take(&c->questions, &a->addr, now(c))) {
        address_rest(c, a);
        return;
    }
    ask(c, a);
    tun_client_by(c, a->at);
}

/* In random order: which of the addresses that came together become contacts
 * must not depend on the order in which somebody listed them. */
static void addresses_work(struct tun_client *c) {
    unsigned start = (unsigned)cv_rng_below(tun_client_rng(c), TUN_ADDRESSES_MAX);
    for (unsigned i = 0; i < TUN_ADDRESSES_MAX; i++) {
        struct tun_address *a = &c->address[(start + i) % TUN_ADDRESSES_MAX];
        if (a->addr.family)
            address_work(c, a);
    }
}

static void ask_all(struct tun_client *c) {
    for (unsigned i = 0; i < TUN_CONTACTS_MAX; i++) {
        const struct tun_neighbour *n = &c->neighbour[i];
        struct tun_link *l = n->set && n->up ? tun_contact_link(c, n) : NULL;
        if (l)
            tun_link_ask(c->t, l);
    }
}

/* Somebody has had something to answer for a while, and nobody says anything: a short outage,
 * over before any link is found dead, puts blame on everybody, too. Unless the others only had
 * nothing to answer: a first hop would be forgiven whenever it likes. */
static void note_hush(struct tun_client *c) {
    cv_usec sure = cv_usec_add(c->hush_at, ANSWER);
    if (c->hush_at && heard_since(c, c->hush_at)) {
        c->hush_at = 0;
        if (heard_since(c, sure)) /* and nobody before: it is looked at then */
            forgive_all(c);
    }
    for (unsigned i = 0; !c->relay && !c->hush_at && i < TUN_CONTACTS_MAX; i++) {
        const struct tun_neighbour *n = &c->neighbour[i];
        struct tun_link *l = n->set && n->up ? tun_contact_link(c, n) : NULL;
        cv_usec from = l ? tun_link_waits_since(l) : 0;
        if (!from || !tun_due(cv_usec_add(from, HUSH), now(c)) || heard_since(c, from))
            continue;
        c->hush_at = now(c);
        sure = cv_usec_add(c->hush_at, ANSWER);
        ask_all(c);
    }
    if (c->hush_at && !tun_due(sure, now(c)))
        tun_client_by(c, sure);
}

/* Its first address of the other family than the link's, of those that we have. */
static bool other_family(const struct tun_client *c, const struct tun_relay *r,
                         const struct cv_addr *at, struct cv_addr *ret) {
    for (unsigned i = 0; i < r->desc.addrs; i++) {
        *ret = r->desc.addr[i];
        if (ret->family != at->family && tun_address_ok(c->t, ret))
            return true;
    }
    return false;
}

/* What is away may be our line of one family alone: a first hop that is silent, and does not even
 * say that it is there, is asked over the same link at its address of the other family. Link and
 * circuits move when the answer comes from there: only who has the link's keys can give it. */
static void look_beside(struct tun_client *c, struct tun_neighbour *n) {
    struct tun_link *l = n->link ? tun_link_get(c->t, n->link) : tun_contact_link(c, n);
    const struct tun_relay *r = tun_directory_find_now(c->dir, n->identity, c->now.wall);
    cv_usec from = l ? tun_link_waits_since(l) : 0;
    if (from != n->silent_since) {
        n->silent_since = from;
        n->asks = 0;
        n->ask_at = cv_usec_add(from, SILENT);
    }
    if (!l || !r)
        return;
    struct cv_addr at = tun_link_addr(l), too;
    if (!cv_addr_equal(&at, &n->addr) && tun_descriptor_addr(&r->desc, &at) >= 0) {
        lives_at(c, n, r, &at);
        tun_questions_answered(&c->questions, &at, now(c));
    }
    if (!from || n->asks > TUN_NAMED_TRIES || !other_family(c, r, &at, &too))
        return;
    if (tun_due(n->ask_at, now(c))) {
        if (n->asks == 0) /* it may have had nothing to say */
            tun_link_ask(c->t, l);
        else if (tun_questions_take(&c->questions, &too, now(c)))
            tun_link_try(c->t, &c->now, l, &too);
        n->ask_at = cv_usec_add(now(c), ANSWER << n->asks++);
    }
    tun_client_by(c, n->ask_at);
}

/* Nobody tells us that something was sent: a silence begins while we have nothing to do. */
cv_usec tun_contact_silent_at(const struct tun_client *c) {
    cv_usec at = CV_USEC_NEVER;
    for (unsigned i = 0; !c->relay && i < TUN_CONTACTS_MAX; i++) {
        const struct tun_neighbour *n = &c->neighbour[i];
        const struct tun_link *l = n->set && n->up ? tun_link_get(c->t, n->link) : NULL;
        cv_usec from = l ? tun_link_waits_since(l) : 0;
        if (from && from != n->silent_since)
            at = cv_usec_min(at, cv_usec_add(from, SILENT));
    }
    return at;
}

static void neighbours_work(struct tun_client *c) {
    if (c->cut_at && heard_since(c, c->cut_since))
        back_again(c);
    note_hush(c);
    for (unsigned i = 0; i < TUN_CONTACTS_MAX; i++) {
        struct tun_neighbour *n = &c->neighbour[i];
        if (n->set && n->up && !c->relay)
            look_beside(c, n);
        if (!n->set || n->up)
            continue;
        if (!tun_due(n->retry_at, now(c))) {
            tun_client_by(c, n->retry_at);
            continue;
        }
        struct tun_link *l = open_link(c, n);
        if (l && tun_link_is_up(l)) {
            neighbour_up(c, n);
            continue;
        }
        /* Whoever cannot be linked to makes room for another; at a client only as
         * long as it has no first hops. */
        bool hopeless = cv_usec_since(now(c), n->since) > (c->relay ? HOPE : HOPE_CLIENT);
        if (hopeless && (c->relay || !has_guards(c)) &&
            !tun_guards_is_first(&c->guards, n->identity)) {
            c->guards_change |= tun_guards_drop_contact(&c->guards, n->identity);
            memset(n, 0, sizeof *n);
            continue;
        }
        neighbour_down(c, n);
        const struct tun_guard *g = tun_guards_find_sampled(&c->guards, n->identity);
        if (g)
            look_elsewhere(c, g);
        tun_client_by(c, n->retry_at);
    }
}

/* Contacts of an earlier run are asked when first hops are silent, for as long as
 * that takes; without first hops, only for a moment. */
static void sample_work(struct tun_client *c) {
    bool over = !has_guards(c) && tun_due(cv_usec_add(c->attached_at, HOPE_CLIENT), now(c));
    for (unsigned i = 0; i < TUN_CONTACTS_WANTED; i++) {
        struct tun_guard *g = &c->guards.contact[i];
        if (!g->set || tun_contact_neighbour(c, g->identity))
            continue;
        if (over) {
            memset(g, 0, sizeof *g);
            c->guards_change = true;
        } else if (!address_find(c, &g->addr) && !address_find(c, &g->addr_too)) {
            tun_contact_guard(c, g);
        }
    }
}

void tun_contact_work(struct tun_client *c) {
    if (!c->relay && c->guards_saved && sample_due(c))
        sample_work(c);
    cv_usec patience = cv_usec_add(c->attached_at, strangers_patience(c));
    if (c->guards_saved && !tun_due(patience, now(c)))
        tun_client_by(c, patience);
    addresses_work(c);
    neighbours_work(c);
}

/* ---- answers ---- */

bool tun_contact_on_raw(struct tun_client *c, const struct cv_addr *from, const uint8_t *buf) {
    struct tun_address *a = address_find(c, from);
    if (!a || !a->asked || !tun_describe_is_answer(&a->question, buf))
        return false;
    uint8_t raw[TUN_DESCRIPTOR_MAX];
    size_t len;
    if (tun_describe_consume(&a->question, &c->net, buf, raw, &len))
        return true;

    struct tun_relay *r = NULL;
    struct tun_descriptor desc;
    enum cv_err err = tun_descriptor_open(raw, len, tun_config(c->t)->network_id, &desc);
    int at = err ? -1 : tun_descriptor_addr(&desc, from);
    /* of a first hop that we look for we want no other's word */
    bool good =
        at >= 0 && (c->relay || !a->named || memcmp(a->whose, desc.identity, sizeof a->whose) == 0);
    if (good) {
        r = tun_directory_find(c->dir, desc.identity, desc.day);
        if (!r || !r->reached || cv_addr_equal(&r->reached_at, from))
            tun_client_day(c, from, desc.day); /* who has two addresses has one voice */
        err = tun_client_learn(c, raw, len, &r);
        good = err == CV_ERR_OK || err == CV_ERR_EXIST;
    }
    struct cv_addr addr = a->addr;
    if (!a->guard)
        tun_questions_answered(&c->questions, &addr, now(c));
    address_rest(c, a);
    if (!good)
        return true;
    if (!(r->reached & ~r->kept)) /* where it answered yesterday, it may not be any more */
        r->reached_at = addr;
    r->reached |= (uint8_t)(1u << at);
    r->kept &= (uint8_t) ~(1u << at);
    if (tun_reach_is_young(c))
        r->outside |= (uint8_t)(1u << at);
    /* Nobody's path goes through a liar: it has no use for our address. */
    if (!r->liar && neighbour_wanted(c, r, &addr))
        tun_contact_neighbour_add(c, r, &addr);
    return true;
}
