#include "dht/lookup.h"

#include <assert.h>
#include <string.h>

void dht_lookup_init(struct dht_lookup *l, const struct dht_id *target, struct dht_size size) {
    l->target = *target;
    l->size = size;
    l->count = l->asked = l->answered = 0;
    l->starts = l->dealt = 0;
    memset(l->asked_on, 0, sizeof l->asked_on);
    l->shun_share = 0;
}

/* Half of K nodes stand together where a quarter of one is expected: by chance
 * that happens once in 50 look-ups. They do not count where half of one is. */
#define CROWD       (DHT_K / 2)
#define CROWD_NODES 0.25
#define SHUN_NODES  0.5

void dht_lookup_shun(struct dht_lookup *l, const struct dht_id *crowd) {
    l->shunned = *crowd;
    l->shun_share = l->size.low > 0 ? SHUN_NODES / l->size.low : 0;
}

static bool was_asked(const struct dht_candidate *c) {
    return c->state == DHT_CANDIDATE_ASKED || c->state == DHT_CANDIDATE_STALLED;
}

struct dht_candidate *dht_lookup_find(struct dht_lookup *l, const struct cv_addr *addr) {
    struct dht_candidate *best = NULL;
    for (unsigned i = 0; i < l->count; i++) {
        struct dht_candidate *c = &l->v[i];
        if (!cv_addr_equal(&c->addr, addr))
            continue;
        if (was_asked(c) || c->state == DHT_CANDIDATE_ANSWERED)
            return c;
        best = best ? best : c;
    }
    return best;
}

/* --- the list ----------------------------------------------------------- */

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

/* Makes a place free at the far end of its path, for something closer than what
 * goes: no path can crowd out another. */
static bool make_room(struct dht_lookup *l, const struct dht_candidate *c) {
    unsigned held = 0;
    for (unsigned i = 0; i < l->count; i++)
        held += l->v[i].owner == c->owner;
    if (held < DHT_PATH_CANDIDATES)
        return true;
    for (unsigned i = l->count; i-- > 0 && before(l, c, &l->v[i]);)
        if (l->v[i].owner == c->owner &&
            (l->v[i].state == DHT_CANDIDATE_NEW || l->v[i].state == DHT_CANDIDATE_FAILED)) {
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

/* Its first 64 bits as a fraction of the whole space. */
static double distance(const struct dht_id *a, const struct dht_id *b) {
    uint64_t v = 0;
    for (unsigned i = 0; i < 8; i++)
        v = v << 8 | (uint8_t)(a->b[i] ^ b->b[i]);
    return (double)v / 18446744073709551616.0;
}

static void identify(const struct dht_lookup *l, struct dht_candidate *c, const struct dht_id *id) {
    c->id = *id;
    c->contact = false;
    c->fits = dht_id_fits_address(id, &c->addr) &&
              (l->shun_share <= 0 || distance(id, &l->shunned) > l->shun_share);
    c->share = (float)distance(id, &l->target);
}

/* Known already: one more path knows it. true also when it may not enter,
 * because its id has been seen elsewhere: first come, but for one whose id
 * fits where the other's did not. */
static bool is_known(struct dht_lookup *l, const struct dht_candidate *c) {
    for (unsigned i = 0; i < l->count; i++) {
        struct dht_candidate *o = &l->v[i];
        bool same_addr = cv_addr_equal(&o->addr, &c->addr);
        if (c->contact || o->contact) {
            if (same_addr)
                return true;
            continue;
        }
        if (!dht_id_equal(&o->id, &c->id))
            continue;
        if (same_addr) {
            o->paths |= c->paths;
            return true;
        }
        if (o->state != DHT_CANDIDATE_NEW || o->fits || !c->fits)
            return true;
        take_out(l, i--);
    }
    return false;
}

static bool add(struct dht_lookup *l, struct dht_namer by, const struct dht_id *id,
                const struct cv_addr *addr) {
    struct dht_candidate c = {.addr = *addr, .contact = !id, .step = by.step};
    if (by.path == DHT_PATH_DEAL)
        by.path = (uint8_t)(l->dealt % DHT_PATHS);
    c.owner = by.path;
    c.paths = (uint8_t)(1u << by.path);
    if (id)
        identify(l, &c, id);
    if (is_known(l, &c) || !make_room(l, &c))
        return false;
    l->dealt++;
    insert(l, &c);
    return true;
}

bool dht_lookup_start(struct dht_lookup *l, const struct dht_id *id, const struct cv_addr *addr) {
    bool added = add(l, (struct dht_namer){DHT_PATH_DEAL, 1}, id, addr);
    l->starts += added;
    return added;
}

struct dht_namer dht_lookup_namer(const struct dht_lookup *l, const struct dht_candidate *c) {
    /* With fewer to begin with than there are paths, whom those name are what
     * the paths begin with. */
    bool deal = l->starts < DHT_PATHS && c->step == 1;
    return (struct dht_namer){deal ? DHT_PATH_DEAL : c->path,
                              (uint8_t)(c->step < UINT8_MAX ? c->step + 1 : UINT8_MAX)};
}

bool dht_lookup_add(struct dht_lookup *l, struct dht_namer by, const struct dht_id *id,
                    const struct cv_addr *addr) {
    return add(l, by, id, addr);
}

/* --- whom to ask -------------------------------------------------------- */

/* Another candidate of the same network was asked and has not failed. */
static bool network_taken(const struct dht_lookup *l, const struct dht_candidate *c) {
    unsigned bits = c->addr.family == 4 ? 24 : 64;
    for (unsigned i = 0; i < l->count; i++) {
        const struct dht_candidate *o = &l->v[i];
        bool used = was_asked(o) || o->state == DHT_CANDIDATE_ANSWERED;
        if (o != c && used && cv_addr_common_bits(&o->addr, &c->addr) >= bits)
            return true;
    }
    return false;
}

/* Where the i-th closest of a network is once in some hundred look-ups at most,
 * in nodes that should be closer. */
static const double gaps[DHT_K] = {6, 8, 10, 12, 13, 14, 15, 16};

/* The i-th closest that answered is farther away than that: whoever lives in
 * between is kept from us. */
static bool is_gap(const struct dht_lookup *l, unsigned i, const struct dht_candidate *c) {
    return l->size.high * (double)c->share > gaps[i];
}

/* The first candidate to ask on this path before enough have answered;
 * *ret_waiting: somebody in that range still owes an answer. */
static struct dht_candidate *frontier(struct dht_lookup *l, unsigned path, bool *ret_waiting) {
    unsigned answered = 0;
    bool may_ask = l->asked_on[path] < DHT_PATH_QUERIES, gap = path == DHT_PATH_SWEEP;
    *ret_waiting = false;
    for (unsigned i = 0; i < l->count && (answered < DHT_K || gap); i++) {
        struct dht_candidate *c = &l->v[i];
        if (!(c->paths >> path & 1))
            continue;
        if (c->state == DHT_CANDIDATE_NEW && may_ask && !network_taken(l, c))
            return c;
        *ret_waiting |= was_asked(c);
        if (c->state != DHT_CANDIDATE_ANSWERED || !c->fits)
            continue;
        gap |= answered < DHT_K && is_gap(l, answered, c);
        answered++;
    }
    return NULL;
}

struct dht_candidate *dht_lookup_next(struct dht_lookup *l) {
    unsigned active[DHT_PATHS + 1] = {0}, all = 0;
    for (unsigned i = 0; i < l->count; i++)
        if (l->v[i].state == DHT_CANDIDATE_ASKED) {
            active[l->v[i].path]++;
            all++;
        }
    /* Contacts first, then the path with the fewest queries under way. */
    struct dht_candidate *best = NULL;
    unsigned best_path = 0;
    for (unsigned p = 0; all < DHT_ALPHA && p <= DHT_PATH_SWEEP; p++) {
        bool waiting;
        struct dht_candidate *c = frontier(l, p, &waiting);
        if (!c || (best && best->contact && !c->contact))
            continue;
        if (!best || (c->contact && !best->contact) || active[p] < active[best_path]) {
            best = c;
            best_path = p;
        }
    }
    if (best) {
        best->state = DHT_CANDIDATE_ASKED;
        best->path = (uint8_t)best_path;
        l->asked++;
        l->asked_on[best_path]++;
    }
    return best;
}

bool dht_lookup_over(const struct dht_lookup *l) {
    for (unsigned p = 0; p <= DHT_PATH_SWEEP; p++) {
        bool waiting;
        /* frontier() changes nothing; it is not const for the sake of its result */
        if (frontier((struct dht_lookup *)(uintptr_t)l, p, &waiting) || waiting)
            return false;
    }
    return true;
}

/* --- what became of it -------------------------------------------------- */

void dht_lookup_stalled(struct dht_lookup *l, const struct cv_addr *addr) {
    struct dht_candidate *c = dht_lookup_find(l, addr);
    if (c && c->state == DHT_CANDIDATE_ASKED)
        c->state = DHT_CANDIDATE_STALLED;
}

void dht_lookup_failed(struct dht_lookup *l, const struct cv_addr *addr) {
    struct dht_candidate *c = dht_lookup_find(l, addr);
    if (c && was_asked(c))
        c->state = DHT_CANDIDATE_FAILED;
}

/* One that failed and was given up may still answer. */
static struct dht_candidate *find_asked(struct dht_lookup *l, const struct cv_addr *addr,
                                        const struct dht_id *id) {
    struct dht_candidate *c = dht_lookup_find(l, addr);
    if (!c || was_asked(c) || c->state == DHT_CANDIDATE_ANSWERED)
        return c;
    for (unsigned i = 0; i < l->count; i++)
        if (l->v[i].state == DHT_CANDIDATE_FAILED && cv_addr_equal(&l->v[i].addr, addr) &&
            (l->v[i].contact || dht_id_equal(&l->v[i].id, id)))
            return &l->v[i];
    return NULL;
}

struct dht_candidate *dht_lookup_answered(struct dht_lookup *l, const struct cv_addr *addr,
                                          const struct dht_id *id) {
    struct dht_candidate *c = find_asked(l, addr, id);
    if (!c || c->state == DHT_CANDIDATE_ANSWERED)
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
    identify(l, &moved, id);
    take_out(l, (unsigned)(c - l->v));
    for (unsigned i = 0; i < l->count; i++)
        if (!l->v[i].contact && dht_id_equal(&l->v[i].id, id)) {
            moved.paths |= l->v[i].paths;
            take_out(l, i);
            break;
        }
    return insert(l, &moved);
}

/* --- results ------------------------------------------------------------ */

static bool is_result(const struct dht_candidate *c, bool with_token) {
    return c->state == DHT_CANDIDATE_ANSWERED && (!with_token || c->token_len);
}

size_t dht_lookup_closest(struct dht_lookup *l, bool with_token, struct dht_candidate **ret,
                          size_t cap) {
    size_t n = 0;
    for (int fits = 1; fits >= 0; fits--)
        for (unsigned i = 0; i < l->count && n < cap; i++)
            if (is_result(&l->v[i], with_token) && l->v[i].fits == (fits == 1))
                ret[n++] = &l->v[i];
    return n;
}

static size_t add_once(struct dht_candidate **ret, size_t n, struct dht_candidate *c) {
    for (size_t i = 0; i < n; i++)
        if (ret[i] == c)
            return n;
    ret[n] = c;
    return n + 1;
}

/* The `most` closest of a path that gave a token. */
static size_t add_path(struct dht_lookup *l, unsigned path, unsigned most,
                       struct dht_candidate **ret, size_t n) {
    for (unsigned i = 0; i < l->count && most > 0; i++)
        if ((l->v[i].paths >> path & 1) && is_result(&l->v[i], true) && l->v[i].fits) {
            n = add_once(ret, n, &l->v[i]);
            most--;
        }
    return n;
}

size_t dht_lookup_stores(struct dht_lookup *l, struct dht_candidate *ret[DHT_STORES_MAX]) {
    static_assert(DHT_STORES_MAX >= DHT_K + DHT_PATHS * DHT_K / 2 + DHT_PATH_QUERIES,
                  "all of them fit");
    size_t n = dht_lookup_closest(l, true, ret, DHT_K);
    for (unsigned p = 0; p < DHT_PATHS; p++)
        n = add_path(l, p, DHT_K / 2, ret, n);
    return add_path(l, DHT_PATH_SWEEP, DHT_PATH_QUERIES, ret, n);
}

bool dht_lookup_crowded(struct dht_lookup *l, struct dht_id *ret_crowd) {
    struct dht_candidate *c[DHT_K];
    size_t n = dht_lookup_closest(l, false, c, DHT_K);
    for (size_t i = 0; i + CROWD <= n && l->size.low > 0; i++)
        if (distance(&c[i]->id, &c[i + CROWD - 1]->id) * l->size.low < CROWD_NODES) {
            *ret_crowd = c[i]->id;
            return true;
        }
    return false;
}

double dht_lookup_size(const struct dht_lookup *l) {
    unsigned n = 0;
    for (unsigned i = 0; i < l->count; i++)
        if (is_result(&l->v[i], false) && ++n == DHT_K) {
            double d = distance(&l->v[i].id, &l->target);
            return d > 0 ? (DHT_K - 1) / d : 0;
        }
    return 0;
}

unsigned dht_lookup_steps(struct dht_lookup *l) {
    struct dht_candidate *c[DHT_K];
    size_t n = dht_lookup_closest(l, false, c, DHT_K);
    unsigned steps = 0;
    for (size_t i = 0; i < n; i++)
        steps = c[i]->step > steps ? c[i]->step : steps;
    return steps;
}
