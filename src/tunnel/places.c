/*
 * Who has a place when all of them are taken. Links that others opened and circuits that they
 * made are counted by networks (struct tun_netgroup): whoever comes from one that has fewer than
 * the one that has most takes a place of that one's. Else a single household, which pays for an
 * octet now and then, would keep everybody out (decision 0098).
 *
 * Whose place it is, is drawn: a few of those who have most are looked at, however many they
 * are. What is drawn cannot be prepared for, and an order could.
 */
#include <stdlib.h>

#include "base/trace.h"
#include "tunnel/core.h"

/* ---- counting ---- */

/* Without memory for one more it is as it was. */
static bool make_room(struct tun_crowd *c, uint32_t cap) {
    struct tun_placed **v = reallocarray(c->v, cap, sizeof(struct tun_placed *));
    if (!v)
        return false;
    c->v = v;
    c->cap = cap;
    return true;
}

static void enter(struct tun_crowd *c, struct tun_placed *p) {
    if (c->count == c->cap && !make_room(c, c->cap ? c->cap * 2 : 4))
        return;
    c->v[c->count++] = p;
    p->at = c->count;
}

static void leave(struct tun_crowd *c, struct tun_placed *p) {
    struct tun_placed *last = c->v[--c->count];
    c->v[p->at - 1] = last;
    last->at = p->at;
    p->at = 0;
    if (!c->count) {
        free(c->v);
        c->v = NULL;
        c->cap = 0;
    } else if (c->count <= c->cap / 4) {
        (void)make_room(c, c->cap / 2);
    }
}

static struct tun_placed *drawn(struct tunnel *t, const struct tun_crowd *c) {
    t->places_looked_at++;
    return c->v[cv_rng_below(&t->fast, c->count)];
}

/* What a relay brings, if anything is known of it, is of many people. */
static uint32_t weighed(const struct tun_netgroup *g) {
    return g->key.class == TUN_SCHED_RELAYS ? g->hops.count / TUN_PLACES_RELAY : g->hops.count;
}

static void rank(struct cv_heap *h, struct tun_crowd *c, uint32_t weight) {
    /* Without memory it is not among them, and nothing of it ends. */
    (void)cv_heap_set(h, &c->rank, c->count ? CV_USEC_NEVER - 1 - weight : CV_USEC_NEVER);
}

static struct tun_crowd *fullest(const struct cv_heap *h) {
    struct cv_timer *first = cv_heap_first(h);
    return first ? CV_CONTAINER_OF(first, struct tun_crowd, rank) : NULL;
}

/* A household, or whoever shares its address; who starts anew comes by another port. */
static struct cv_addr host_of(const struct cv_addr *addr) {
    return cv_addr_network(addr, 32, 64);
}

static struct tun_guest_addr *guests_from(const struct tunnel *t, const struct cv_addr *addr) {
    struct cv_addr host = host_of(addr);
    return cv_map_get(t->guest_addrs, &host);
}

/* Without memory the link is not found by where it comes from. */
static void addr_hold(struct tunnel *t, struct tun_link *l) {
    struct tun_guest_addr *a = guests_from(t, &l->addr);
    if (!a) {
        a = calloc(1, sizeof *a);
        if (!a)
            return;
        a->host = host_of(&l->addr);
        TAILQ_INIT(&a->links);
        if (cv_map_put(t->guest_addrs, &a->host, a)) {
            free(a);
            return;
        }
    }
    TAILQ_INSERT_TAIL(&a->links, l, place_entry);
    l->from = a;
}

static void addr_release(struct tunnel *t, struct tun_link *l) {
    struct tun_guest_addr *a = l->from;
    l->from = NULL;
    if (!a)
        return;
    TAILQ_REMOVE(&a->links, l, place_entry);
    if (!TAILQ_EMPTY(&a->links))
        return;
    cv_map_del(t->guest_addrs, &a->host);
    free(a);
}

void tun_places_link_enters(struct tunnel *t, struct tun_link *l) {
    struct tun_netgroup *g = l->counted;
    if (!g || l->ours || l->state == TUN_STATE_ANSWERED)
        return;
    enter(&g->guests, &l->placed);
    if (!l->placed.at)
        return;
    t->guests++;
    rank(&t->by_guests, &g->guests, g->guests.count);
    if (l->state != TUN_STATE_OPEN)
        return; /* a moment before it is known to be a handshake only */
    addr_hold(t, l);
}

void tun_places_link_leaves(struct tunnel *t, struct tun_link *l) {
    struct tun_netgroup *g = l->counted;
    if (!l->placed.at)
        return;
    leave(&g->guests, &l->placed);
    t->guests--;
    rank(&t->by_guests, &g->guests, g->guests.count);
    addr_release(t, l);
}

void tun_places_hop_enters(struct tunnel *t, struct tun_hop *h, struct tun_netgroup *g) {
    if (!g)
        return;
    enter(&g->hops, &h->placed);
    rank(&t->by_hops, &g->hops, weighed(g));
}

void tun_places_hop_leaves(struct tunnel *t, struct tun_hop *h, struct tun_netgroup *g) {
    if (!h->placed.at)
        return;
    leave(&g->hops, &h->placed);
    rank(&t->by_hops, &g->hops, weighed(g));
}

/* ---- links ---- */

bool tun_places_are_taken(const struct tunnel *t) {
    uint32_t own = t->cfg.links_max / TUN_PLACES_OWN_PART;
    return t->guests >= t->cfg.links_max - (own ? own : 1) ||
           t->links.count >= t->cfg.links_max + t->halves;
}

/* Those who have most, if that is more than `his` would be then; NULL: it is not. */
static struct tun_crowd *who_gives_a_link(const struct tunnel *t, const struct tun_netgroup *his) {
    struct tun_crowd *c = fullest(&t->by_guests);
    return c && c->count > (his ? his->guests.count : 0) + 1 ? c : NULL;
}

/* A renewal is as anonymous as a first handshake, and seen only from where it comes: what is
 * answered for that has still no place, and needs none unless it becomes a link of its own. */
bool tun_places_may_come(const struct tunnel *t, const struct cv_addr *from) {
    return !tun_places_are_taken(t) || who_gives_a_link(t, tun_netgroup_of(t, from)) ||
           guests_from(t, from);
}

/* Asked for each first flight, before that costs its sender anything: not all are looked at. */
bool tun_places_has(struct tunnel *t, const struct cv_addr *from) {
    const struct tun_guest_addr *a = guests_from(t, from);
    const struct tun_link *l = a ? TAILQ_FIRST(&a->links) : NULL;
    for (unsigned i = 0; l && i < TUN_PLACES_SEEN; i++, l = TAILQ_NEXT(l, place_entry)) {
        t->places_looked_at++;
        if (cv_addr_equal(&l->addr, from))
            return true;
    }
    return false;
}

/*
 * Who starts anew, or woke up, leaves a link behind that nobody knows to be dead for up to
 * TUN_LINK_SILENCE. Whoever comes from the same address may have its place, but it may as well
 * be a neighbour's behind that address: so it is asked, again and again (tun_link_on_timeout),
 * and who is there answers. An owner gives a circuit up after less than this.
 */
static bool is_lost(const struct tun_link *l, cv_usec now) {
    return l->asked_at > l->heard_at && now >= l->asked_at + TUN_PLACE_LOST;
}

/* Some at a time, in turn: one address may have as many as its network. */
static struct tun_link *lost_one(struct tunnel *t, const struct tun_link *newcomer, cv_usec now) {
    const struct tun_guest_addr *a = guests_from(t, &newcomer->addr);
    struct tun_link *l = a ? TAILQ_FIRST(&a->links) : NULL;
    for (unsigned i = 0; l && i < TUN_PLACES_ASKED; i++, l = TAILQ_NEXT(l, place_entry)) {
        t->places_looked_at++;
        if (is_lost(l, now))
            return l;
    }
    return NULL;
}

static void ask(struct tunnel *t, const struct cv_now *now, struct tun_link *l) {
    tun_link_ask(t, l);
    l->asked_at = now->mono;
    if (!l->waiting_at)
        l->waiting_at = now->mono ? now->mono : 1;
    l->probe_at = now->mono + TUN_LINK_PROBE_AGAIN;
    tun_link_schedule(t, l);
}

bool tun_places_ask(struct tunnel *t, const struct cv_now *now, const struct tun_link *newcomer) {
    struct tun_guest_addr *a = guests_from(t, &newcomer->addr);
    if (!a)
        return false;
    if (now->mono < a->looked_at + TUN_PLACE_ASK)
        return true;
    a->looked_at = now->mono;
    for (unsigned i = 0; i < TUN_PLACES_ASKED; i++) {
        struct tun_link *l = TAILQ_FIRST(&a->links);
        if (now->mono >= l->heard_at + TUN_PLACE_DOUBT && l->asked_at <= l->heard_at)
            ask(t, now, l);
        TAILQ_REMOVE(&a->links, l, place_entry);
        TAILQ_INSERT_TAIL(&a->links, l, place_entry);
    }
    return true;
}

bool tun_places_take_link(struct tunnel *t, const struct cv_now *now, const struct tun_link *l) {
    struct tun_link *found = lost_one(t, l, now->mono);
    struct tun_crowd *c = found ? NULL : who_gives_a_link(t, l->counted);
    if (!found && !c)
        return false;
    for (unsigned i = 0; c && i < TUN_PLACES_DRAWN; i++) {
        struct tun_link *one = CV_CONTAINER_OF(drawn(t, c), struct tun_link, placed);
        if (!found || one->circuits.count < found->circuits.count ||
            (one->circuits.count == found->circuits.count && one->heard_at < found->heard_at))
            found = one;
    }
    t->count.links_displaced++;
    tun_link_fail(t, now, found, CV_ERR_LIMIT);
    return true;
}

/* ---- circuits ---- */

/* A cell now and then is not use: who has most could keep all he has by it. What somebody watches
 * has several in a second, a new one some time for the first. */
static bool is_in_use(const struct tun_hop *h, cv_usec now) {
    return now < h->heard_at + TUN_PLACE_SILENT &&
           now < h->counted_at + TUN_PLACE_SILENT + h->cells * TUN_PLACE_USED;
}

/* One whose owner has left it, or any on which nothing goes on: an owner says something every
 * TUN_CIRCUIT_PING, and one that says more must not outlive those that wait to be called. */
static struct tun_hop *idle_one(struct tunnel *t, const struct cv_now *now,
                                const struct tun_crowd *c) {
    struct tun_hop *found = NULL;
    for (unsigned i = 0; i < TUN_PLACES_DRAWN; i++) {
        struct tun_hop *h = CV_CONTAINER_OF(drawn(t, c), struct tun_hop, placed);
        if (now->mono >= h->heard_at + TUN_PLACE_LEFT)
            return h;
        if (!found && !is_in_use(h, now->mono))
            found = h;
    }
    return found;
}

static struct tun_crowd *who_gives_a_hop(const struct tunnel *t, const struct tun_link *to) {
    struct tun_crowd *c = fullest(&t->by_hops);
    return c && to->counted &&
                   weighed(CV_CONTAINER_OF(c, struct tun_netgroup, hops)) > weighed(to->counted) + 1
               ? c
               : NULL;
}

bool tun_places_may_hop(const struct tunnel *t, const struct tun_link *to) {
    return t->hops.count < t->hops.max || who_gives_a_hop(t, to);
}

bool tun_places_take_hop(struct tunnel *t, const struct cv_now *now, const struct tun_link *to) {
    struct tun_crowd *c = who_gives_a_hop(t, to);
    struct tun_hop *found = c ? idle_one(t, now, c) : NULL;
    if (!found)
        return false; /* none does, or all that were drawn are in use */
    CV_TRACE(TUNNEL, circuit_displaced, now->mono, "hop=%llx", (unsigned long long)found->handle);
    t->count.hops_displaced++;
    tun_hop_destroy(t, found, NULL);
    return true;
}
