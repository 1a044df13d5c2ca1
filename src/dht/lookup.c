#include "dht/lookup.h"

#include <assert.h>
#include <string.h>

void dht_lookup_init(struct dht_lookup *l, const struct dht_id *target) {
    l->target = *target;
    l->count = 0;
    l->asked = 0;
    l->answered = 0;
}

struct dht_candidate *dht_lookup_find(struct dht_lookup *l, const struct cv_addr *addr) {
    for (unsigned i = 0; i < l->count; i++)
        if (cv_addr_equal(&l->v[i].addr, addr))
            return &l->v[i];
    return NULL;
}

/* Contacts come first, then by distance. */
static bool before(const struct dht_lookup *l, const struct dht_candidate *a,
                   const struct dht_candidate *b) {
    if (a->contact != b->contact)
        return a->contact;
    return !a->contact && dht_id_closer(&l->target, &a->id, &b->id) < 0;
}

static void take_out(struct dht_lookup *l, unsigned i) {
    memmove(&l->v[i], &l->v[i + 1], (l->count - i - 1) * sizeof *l->v);
    l->count--;
}

/* Makes a place free at the far end, for something closer than what goes. */
static bool make_room(struct dht_lookup *l, const struct dht_candidate *c) {
    if (l->count < DHT_CANDIDATES)
        return true;
    for (unsigned i = l->count; i-- > 0 && before(l, c, &l->v[i]);)
        if (l->v[i].state == DHT_CANDIDATE_NEW || l->v[i].state == DHT_CANDIDATE_FAILED) {
            take_out(l, i);
            return true;
        }
    return false;
}

static struct dht_candidate *insert(struct dht_lookup *l, const struct dht_candidate *c) {
    assert(l->count < DHT_CANDIDATES);
    unsigned i = l->count++;
    for (; i > 0 && before(l, c, &l->v[i - 1]); i--)
        l->v[i] = l->v[i - 1];
    l->v[i] = *c;
    return &l->v[i];
}

bool dht_lookup_add(struct dht_lookup *l, const struct dht_id *id, const struct cv_addr *addr) {
    struct dht_candidate c = {.addr = *addr, .contact = !id};
    if (dht_lookup_find(l, addr))
        return false;
    if (id) {
        c.id = *id;
        c.fits = dht_id_fits_address(id, addr);
        for (unsigned i = 0; i < l->count; i++)
            if (!l->v[i].contact && dht_id_equal(&l->v[i].id, id))
                return false; /* the same id at two addresses: first come */
    }
    if (!make_room(l, &c))
        return false;
    insert(l, &c);
    return true;
}

/* Another candidate of the same network was asked and has not failed. */
static bool network_taken(const struct dht_lookup *l, const struct dht_candidate *c) {
    unsigned bits = c->addr.family == 4 ? 24 : 64;
    for (unsigned i = 0; i < l->count; i++) {
        const struct dht_candidate *o = &l->v[i];
        bool used = o->state == DHT_CANDIDATE_ASKED || o->state == DHT_CANDIDATE_STALLED ||
                    o->state == DHT_CANDIDATE_ANSWERED;
        if (o != c && used && cv_addr_common_bits(&o->addr, &c->addr) >= bits)
            return true;
    }
    return false;
}

static bool may_ask(const struct dht_lookup *l, const struct dht_candidate *c) {
    return c->state == DHT_CANDIDATE_NEW && l->asked < DHT_LOOKUP_QUERIES && !network_taken(l, c);
}

/* The first candidate to ask before K fitting ones have answered; *ret_waiting:
 * somebody in that range still owes an answer. */
static struct dht_candidate *frontier(struct dht_lookup *l, bool *ret_waiting) {
    unsigned answered = 0;
    *ret_waiting = false;
    for (unsigned i = 0; i < l->count && answered < DHT_K; i++) {
        struct dht_candidate *c = &l->v[i];
        if (may_ask(l, c))
            return c;
        if (c->state == DHT_CANDIDATE_ASKED || c->state == DHT_CANDIDATE_STALLED)
            *ret_waiting = true;
        answered += c->state == DHT_CANDIDATE_ANSWERED && c->fits;
    }
    return NULL;
}

struct dht_candidate *dht_lookup_next(struct dht_lookup *l) {
    unsigned active = 0;
    for (unsigned i = 0; i < l->count; i++)
        active += l->v[i].state == DHT_CANDIDATE_ASKED;
    bool waiting;
    struct dht_candidate *c = active < DHT_ALPHA ? frontier(l, &waiting) : NULL;
    if (c) {
        c->state = DHT_CANDIDATE_ASKED;
        l->asked++;
    }
    return c;
}

bool dht_lookup_over(const struct dht_lookup *l) {
    bool waiting;
    /* frontier() changes nothing; it is not const for the sake of its result */
    return !frontier((struct dht_lookup *)(uintptr_t)l, &waiting) && !waiting;
}

void dht_lookup_stalled(struct dht_lookup *l, const struct cv_addr *addr) {
    struct dht_candidate *c = dht_lookup_find(l, addr);
    if (c && c->state == DHT_CANDIDATE_ASKED)
        c->state = DHT_CANDIDATE_STALLED;
}

void dht_lookup_failed(struct dht_lookup *l, const struct cv_addr *addr) {
    struct dht_candidate *c = dht_lookup_find(l, addr);
    if (c && (c->state == DHT_CANDIDATE_ASKED || c->state == DHT_CANDIDATE_STALLED))
        c->state = DHT_CANDIDATE_FAILED;
}

struct dht_candidate *dht_lookup_answered(struct dht_lookup *l, const struct cv_addr *addr,
                                          const struct dht_id *id) {
    struct dht_candidate *c = dht_lookup_find(l, addr);
    if (!c || c->state == DHT_CANDIDATE_NEW || c->state == DHT_CANDIDATE_ANSWERED)
        return NULL;
    if (!c->contact && !dht_id_equal(&c->id, id)) {
        c->state = DHT_CANDIDATE_FAILED;
        return NULL;
    }
    c->state = DHT_CANDIDATE_ANSWERED;
    l->answered++;
    if (!c->contact)
        return c;

    /* Now that its id is known it takes its place; a double of it goes. */
    struct dht_candidate moved = *c;
    moved.contact = false;
    moved.id = *id;
    moved.fits = dht_id_fits_address(id, addr);
    take_out(l, (unsigned)(c - l->v));
    for (unsigned i = 0; i < l->count; i++)
        if (!l->v[i].contact && dht_id_equal(&l->v[i].id, id)) {
            take_out(l, i);
            break;
        }
    return insert(l, &moved);
}

size_t dht_lookup_closest(struct dht_lookup *l, bool with_token, struct dht_candidate **ret,
                          size_t cap) {
    size_t n = 0;
    for (int fits = 1; fits >= 0; fits--)
        for (unsigned i = 0; i < l->count && n < cap; i++) {
            struct dht_candidate *c = &l->v[i];
            if (c->state == DHT_CANDIDATE_ANSWERED && c->fits == (fits == 1) &&
                (!with_token || c->token_len))
                ret[n++] = c;
        }
    return n;
}
