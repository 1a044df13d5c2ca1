#include "tunnel/path.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

unsigned tun_path_length(enum tun_purpose purpose) {
    switch (purpose) {
    case TUN_PURPOSE_GENERAL:
    case TUN_PURPOSE_MEET:
    case TUN_PURPOSE_EXIT:
        return 3;
    case TUN_PURPOSE_INTRODUCE:
    case TUN_PURPOSE_WAIT:
    case TUN_PURPOSE_JOIN:
    case TUN_PURPOSE_PUBLISH:
    case TUN_PURPOSE_COUNT:
        break;
    }
    return 4;
}

unsigned tun_path_flag(enum tun_purpose purpose) {
    switch (purpose) {
    case TUN_PURPOSE_MEET:
    case TUN_PURPOSE_JOIN:
        return TUN_RELAY_RENDEZVOUS;
    case TUN_PURPOSE_INTRODUCE:
    case TUN_PURPOSE_WAIT:
        return TUN_RELAY_INTRO;
    case TUN_PURPOSE_EXIT:
        return TUN_RELAY_EXIT;
    case TUN_PURPOSE_GENERAL:
    case TUN_PURPOSE_PUBLISH:
    case TUN_PURPOSE_COUNT:
        break;
    }
    return TUN_RELAY_DHT;
}

/* One part in so many is the most that one relay gets of all choices. */
#define SHARE_MAX 20

static uint64_t weight(const struct tun_relay *r) {
    return UINT64_C(1) + tun_relay_weight(r);
}

/* The weight that nobody exceeds, so that nobody has more than a twentieth of
 * all: neither speed nor what is said of it buys a relay our circuits. Whoever is above a
 * twentieth is cut to it, which makes others stand out, who are cut with it; once
 * twenty have the same, that is a twentieth at most. */
static uint64_t weight_cap(struct tun_relay *const *relays, size_t n) {
    uint64_t cap = UINT64_MAX;
    for (size_t before = 0;;) {
        uint64_t rest = 0;
        size_t above = 0;
        for (size_t i = 0; i < n; i++) {
            if (weight(relays[i]) > cap)
                above++;
            else
                rest += weight(relays[i]);
        }
        if (above >= SHARE_MAX || (cap != UINT64_MAX && above == before))
            return cap;
        before = above;
        cap = rest / (SHARE_MAX - above) + (rest < SHARE_MAX - above);
    }
}

static struct tun_relay *pick_below(struct tun_relay *const *relays, size_t n, uint64_t cap,
                                    const struct cv_rng *rng) {
    uint64_t total = 0;
    for (size_t i = 0; i < n; i++)
        total += weight(relays[i]) < cap ? weight(relays[i]) : cap;
    uint64_t at = cv_rng_below(rng, total);
    for (size_t i = 0; i < n; i++) {
        uint64_t w = weight(relays[i]) < cap ? weight(relays[i]) : cap;
        if (at < w)
            return relays[i];
        at -= w;
    }
    return relays[n - 1];
}

struct tun_relay *tun_path_pick(struct tun_relay *const *relays, size_t n,
                                const struct cv_rng *rng) {
    assert(n > 0);
    if (n < TUN_WEIGHTS_FROM)
        return relays[cv_rng_below(rng, n)];
    return pick_below(relays, n, weight_cap(relays, n), rng);
}

static bool same(const struct tun_relay *a, const struct tun_relay *b) {
    return memcmp(a->desc.identity, b->desc.identity, CV_KEY) == 0;
}

static void shuffle(struct tun_relay **v, size_t n, const struct cv_rng *rng) {
    for (size_t i = n; i > 1; i--) {
        size_t k = cv_rng_below(rng, i);
        struct tun_relay *t = v[i - 1];
        v[i - 1] = v[k];
        v[k] = t;
    }
}

/* The order in which candidates are tried: all of them at random in a small
 * network, so that a path is found whenever there is one; weighted draws in a
 * large one, where dozens of failures in a row mean that there is none. */
static size_t in_order(struct tun_relay **v, size_t n, const struct cv_rng *rng) {
    if (n < TUN_WEIGHTS_FROM) {
        shuffle(v, n, rng);
        return n;
    }
    uint64_t cap = weight_cap(v, n);
    for (size_t i = 0; i < TUN_PATH_DRAWS; i++) {
        struct tun_relay *r = pick_below(v + i, n - i, cap, rng);
        for (size_t k = i; k < n; k++) {
            if (v[k] == r) {
                v[k] = v[i];
                v[i] = r;
                break;
            }
        }
    }
    return TUN_PATH_DRAWS;
}

/* Everything a choice is made from. */
struct search {
    const struct tun_path_request *req;
    const struct tun_guards *guards;
    size_t relays; /* confirmed ones: the size of the network */
    struct tun_relay *first[TUN_GUARD_FIRSTS];
    size_t firsts;
    struct tun_relay *second[TUN_SECOND_MAX];
    size_t seconds;
    struct tun_relay **all, **last, **middle; /* `all` owns what the others point into */
    size_t lasts, middles;
    unsigned shared_max; /* relays of `apart` that the path may have */
    bool first_of_two;   /* it must leave relays for a second one that shares none with it */
    bool held;           /* somebody was left out who refused a moment ago */
    cv_usec now;
    enum pick {
        ANY,
        NOT_SHUNNED
    } pick; /* how picky this round is: what failed lately is left out as long as something remains
             */
    struct tun_path path;
};

static bool excluded(const struct search *s, const struct tun_relay *r) {
    if (r->ours && r != s->req->named)
        return true;
    return s->req->without && memcmp(r->desc.identity, s->req->without, CV_KEY) == 0;
}

static bool listed(const uint8_t (*list)[CV_KEY], size_t n, const struct tun_relay *r) {
    for (size_t i = 0; i < n; i++) {
        if (memcmp(r->desc.identity, list[i], CV_KEY) == 0)
            return true;
    }
    return false;
}

static bool unwanted(const struct search *s, const struct tun_relay *r) {
    return s->pick == NOT_SHUNNED && (r->shunned_until > s->now || r->gone_until > s->now);
}

/* Did `by` (NULL: we ourselves) fail to reach `to` lately? */
static bool refused(struct search *s, const struct tun_relay *by, const struct tun_relay *to) {
    const struct tun_refusal *f =
        tun_refusals_find(s->req->refusals, by ? by->desc.identity : NULL, to->desc.identity);
    if (!f)
        return false;
    if (s->pick == NOT_SHUNNED)
        return f->avoided_until > s->now;
    s->held |= f->held_until > s->now;
    return f->held_until > s->now;
}

/* No more of what should be kept apart, among the hops 0..at-1 and `last`, than
 * this round allows. */
static bool apart(const struct search *s, size_t at, const struct tun_relay *last) {
    unsigned shared = last && listed(s->req->apart, s->req->aparts, last);
    for (size_t i = 0; i < at; i++)
        shared += listed(s->req->apart, s->req->aparts, s->path.hop[i]);
    return shared <= s->shared_max;
}

/* Fits beside the hops 0..at-1? */
static bool fits(const struct tun_path *p, size_t at, const struct tun_relay *r) {
    for (size_t i = 0; i < at; i++) {
        if (tun_relay_conflict(&p->hop[i]->desc, &r->desc))
            return false;
    }
    return true;
}

static bool search_path(struct search *s);

/* The path is the first of two where a relay's end must not be that of both: is there
 * another that shares no relay with it? */
static bool leaves_second(const struct search *s) {
    uint8_t hops[TUN_HOPS_MAX][CV_KEY];
    if (!s->first_of_two)
        return true;
    for (unsigned i = 0; i < s->path.n; i++)
        memcpy(hops[i], s->path.hop[i]->desc.identity, CV_KEY);
    struct tun_path_request req = *s->req;
    req.apart = (const uint8_t(*)[CV_KEY])hops;
    req.aparts = s->path.n - s->path.named;
    struct search second = *s;
    second.req = &req;
    second.shared_max = 0;
    second.first_of_two = false;
    return search_path(&second);
}

static bool finish_path(struct search *s) {
    struct tun_path *p = &s->path;
    unsigned n = tun_path_length(s->req->purpose);
    for (size_t i = 0; i < s->lasts; i++) {
        if (!fits(p, 2, s->last[i]) || (n == 3 && refused(s, p->hop[1], s->last[i])) ||
            !apart(s, 2, s->req->named ? NULL : s->last[i]))
            continue;
        p->hop[n - 1] = s->last[i];
        if (n == 3 && leaves_second(s))
            return true;
        for (size_t k = 0; n > 3 && k < s->middles; k++) {
            if (fits(p, 2, s->middle[k]) && !refused(s, p->hop[1], s->middle[k]) &&
                !refused(s, s->middle[k], s->last[i]) &&
                !tun_relay_conflict(&s->middle[k]->desc, &s->last[i]->desc)) {
                p->hop[2] = s->middle[k];
                if (apart(s, 3, s->req->named ? NULL : s->last[i]) && leaves_second(s))
                    return true;
            }
        }
    }
    return false;
}

static bool search_path(struct search *s) {
    for (size_t g = 0; g < s->firsts; g++) {
        s->path.hop[0] = s->first[g];
        for (size_t l = 0; l < s->seconds; l++) {
            s->path.hop[1] = s->second[l];
            if (fits(&s->path, 1, s->second[l]) && !refused(s, s->first[g], s->second[l]) &&
                apart(s, 2, NULL) && finish_path(s))
                return true;
        }
    }
    return false;
}

/* Do ways of this purpose come in twos? */
static bool is_of_two(const struct tun_path_request *req) {
    return req->aparts == 0 &&
           (req->purpose == TUN_PURPOSE_MEET || req->purpose == TUN_PURPOSE_JOIN);
}

/* The path that shares the fewest relays with those it should outlive; the first of two
 * leaves the second what it needs, if there is enough. */
static bool search_apart(struct search *s) {
    s->first_of_two = is_of_two(s->req);
    if (s->first_of_two && search_path(s))
        return true;
    s->first_of_two = false;
    unsigned most = s->req->aparts ? tun_path_length(s->req->purpose) : 0;
    for (s->shared_max = 0; s->shared_max <= most; s->shared_max++) {
        if (search_path(s))
            return true;
    }
    return false;
}

/* Guards that are up, then the others, then the spare: it is there for when the
 * two are of no use, not to see us as often as they do. */
static void gather_firsts(struct search *s, const struct tun_directory *dir,
                          const struct cv_now *now, const struct cv_rng *rng) {
    unsigned order[2] = {0, 1};
    if (cv_rng_below(rng, 2)) {
        order[0] = 1;
        order[1] = 0;
    }
    s->firsts = 0;
    for (int pass = 0; pass < 3; pass++) {
        for (unsigned k = 0; k < (pass < 2 ? 2 : 1); k++) {
            unsigned i = pass < 2 ? order[k] : TUN_GUARD_SPARE;
            const struct tun_guard *g = &s->guards->first[i];
            if (!g->set || (pass < 2 && g->up != (pass == 0)))
                continue;
            struct tun_relay *r = tun_directory_find_now(dir, g->identity, now->wall);
            if (r && !r->liar && !excluded(s, r) &&
                !(s->pick == NOT_SHUNNED && g->shunned_until > s->now) && !refused(s, NULL, r))
                s->first[s->firsts++] = r;
        }
    }
}

static void gather_seconds(struct search *s, const struct tun_directory *dir,
                           const struct cv_now *now, const struct cv_rng *rng) {
    s->seconds = 0;
    for (unsigned i = 0; i < TUN_SECOND_MAX; i++) {
        const struct tun_guard *g = &s->guards->second[i];
        if (!g->set)
            continue;
        struct tun_relay *r = tun_directory_find_now(dir, g->identity, now->wall);
        if (!r || r->liar || !r->confirmed || excluded(s, r))
            continue;
        if (!unwanted(s, r))
            s->second[s->seconds++] = r;
    }
    shuffle(s->second, s->seconds, rng);
}

static void gather_rest(struct search *s, struct tun_relay *const *all, size_t n,
                        const struct cv_rng *rng) {
    unsigned flag = tun_path_flag(s->req->purpose);
    s->lasts = s->middles = 0;
    for (size_t i = 0; i < n; i++) {
        struct tun_relay *r = all[i];
        if (excluded(s, r) || unwanted(s, r))
            continue;
        if (s->relays >= TUN_GUARDS_APART && tun_guards_is_first(s->guards, r->desc.identity))
            continue;
        s->middle[s->middles++] = r;
        if (!s->req->named && (r->desc.flags & flag) && !listed(s->req->avoid, s->req->avoids, r))
            s->last[s->lasts++] = r;
    }
    if (s->req->named)
        s->last[s->lasts++] = s->req->named;
    else
        s->lasts = in_order(s->last, s->lasts, rng);
    s->middles = in_order(s->middle, s->middles, rng);
}

static enum cv_err check_named(const struct search *s) {
    const struct tun_relay *r = s->req->named;
    if (!r)
        return CV_ERR_OK;
    /* What shares openly is a relay like any other: GENERAL needs no flag then. */
    unsigned flag = s->req->purpose == TUN_PURPOSE_GENERAL ? 0 : tun_path_flag(s->req->purpose);
    bool usable = r->raw_len > 0 && r->confirmed && !r->liar && !excluded(s, r);
    return usable && (r->desc.flags & flag) == flag ? CV_ERR_OK : CV_ERR_DENIED;
}

/* Everything that may stand somewhere, as picky as s->pick; false: out of memory. */
static bool gather(struct search *s, const struct tun_directory *dir, const struct cv_now *now,
                   const struct cv_rng *rng) {
    uint32_t day = tun_descriptor_day(now->wall);
    size_t n = s->relays;
    struct tun_relay **all = s->all ? s->all : calloc(3 * (n + 1), sizeof(struct tun_relay *));
    if (!all)
        return false;
    n = tun_directory_list(dir, day, TUN_DIRECTORY_CONFIRMED, all, n);
    s->all = all;
    s->last = all + s->relays;
    s->middle = all + 2 * s->relays + 1;
    gather_firsts(s, dir, now, rng);
    gather_seconds(s, dir, now, rng);
    gather_rest(s, all, n, rng);
    return true;
}

static struct search begin(const struct tun_directory *dir, const struct tun_guards *guards,
                           const struct tun_path_request *req, const struct cv_now *now) {
    return (struct search){
        .req = req,
        .guards = guards,
        .relays = tun_directory_count(dir, tun_descriptor_day(now->wall), TUN_DIRECTORY_CONFIRMED),
        .now = now->mono,
        .path = {.purpose = req->purpose,
                 .named = req->named != NULL,
                 .n = (uint8_t)tun_path_length(req->purpose)}};
}

enum cv_err tun_path_choose(struct tun_path *ret, const struct tun_directory *dir,
                            const struct tun_guards *guards, const struct tun_path_request *req,
                            const struct cv_now *now, const struct cv_rng *rng) {
    struct search s = begin(dir, guards, req, now);
    enum cv_err err = check_named(&s);
    if (err)
        return err;

    err = CV_ERR_UNREACHABLE;
    /* To be avoided is a wish, the rules are not. */
    for (int pick = NOT_SHUNNED; pick >= ANY && err == CV_ERR_UNREACHABLE; pick--) {
        if (pick == ANY && req->alive)
            break;
        s.pick = (enum pick)pick;
        if (!gather(&s, dir, now, rng))
            err = CV_ERR_NOMEM;
        else if (pick == ANY && (s.firsts == 0 || s.seconds == 0))
            err = CV_ERR_AGAIN;
        else if (search_apart(&s))
            err = CV_ERR_OK;
    }
    free(s.all);
    if (err == CV_ERR_UNREACHABLE && s.held)
        err = CV_ERR_AGAIN;
    if (!err)
        *ret = s.path;
    return err;
}

bool tun_path_leaves_second(const struct tun_path *path, const struct tun_directory *dir,
                            const struct tun_guards *guards, const struct tun_path_request *req,
                            const struct cv_now *now, const struct cv_rng *rng) {
    struct search s = begin(dir, guards, req, now);
    if (!is_of_two(req))
        return true;
    s.pick = NOT_SHUNNED;
    s.path = *path;
    s.first_of_two = true;
    bool leaves = gather(&s, dir, now, rng) && leaves_second(&s);
    free(s.all);
    return leaves;
}

bool tun_path_extend(struct tun_path *path, struct tun_relay *last, bool named,
                     enum tun_purpose purpose, const struct tun_guards *guards, size_t relays) {
    struct tun_path p = *path;
    if (p.n != 3 || tun_path_length(purpose) != 4)
        return false;
    p.hop[p.n++] = last;
    p.named = named;
    p.purpose = purpose;
    if (!(last->desc.flags & tun_path_flag(purpose)) || !tun_path_ok(&p, guards, relays))
        return false;
    *path = p;
    return true;
}

bool tun_path_ok(const struct tun_path *p, const struct tun_guards *guards, size_t relays) {
    if (p->n != tun_path_length(p->purpose) || p->n < 3)
        return false;
    for (size_t i = 0; i < p->n; i++) {
        const struct tun_relay *r = p->hop[i];
        const uint8_t *id = r->desc.identity;
        if (r->raw_len == 0 || r->liar || (i > 0 && !r->confirmed))
            return false;
        for (size_t k = 0; k < i; k++) {
            if (same(p->hop[k], r) || tun_relay_conflict(&p->hop[k]->desc, &r->desc))
                return false;
        }
        if (i == 0 && !tun_guards_is_first(guards, id))
            return false;
        if (i == 1 && (!tun_guards_is_second(guards, id) || tun_guards_is_first(guards, id)))
            return false;
        bool chosen = i < (size_t)(p->n - p->named); /* by us, not named */
        if (chosen && r->ours)
            return false;
        if (i > 1 && chosen && relays >= TUN_GUARDS_APART && tun_guards_is_first(guards, id))
            return false;
    }
    /* Nor is a named relay next to our guard: it stands last of at least three. */
    return true;
}
