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

bool tun_path_shown(enum tun_purpose purpose) {
    return purpose != TUN_PURPOSE_GENERAL && purpose != TUN_PURPOSE_EXIT;
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
        if (above >= TUN_SHARE_PARTS || (cap != UINT64_MAX && above == before))
            return cap;
        before = above;
        cap = rest / (TUN_SHARE_PARTS - above) + (rest < TUN_SHARE_PARTS - above);
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

void tun_path_apart_add(struct tun_path_apart *a, size_t at, const uint8_t identity[CV_KEY]) {
    size_t *n = at < 2 ? &a->fronts : &a->showns;
    if (*n < sizeof a->front / sizeof *a->front)
        memcpy((at < 2 ? a->front : a->shown)[(*n)++], identity, CV_KEY);
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
    bool few;            /* so few relays that two ways share none only if both are chosen for it */
    bool first_of_two;   /* then: it must leave relays for a second one that shares none with it */
    uint8_t dht_family;  /* as tun_directory_dht_family() */
    bool held;           /* somebody was left out who refused a moment ago */
    cv_usec now;
    enum pick {
        ANY,
        NOT_SHUNNED
    } pick; /* how picky this round is: what failed lately is left out as long as something remains
             */
    struct tun_path path;
};

static bool is_without(const struct search *s, const struct tun_relay *r) {
    return s->req->without && memcmp(r->desc.identity, s->req->without, CV_KEY) == 0;
}

static bool excluded(const struct search *s, const struct tun_relay *r) {
    return (r->ours && r != s->req->named) || is_without(s, r);
}

/* Not for a hop behind L. */
static bool excluded_behind(const struct search *s, const struct tun_relay *r) {
    if (tun_path_shown(s->req->purpose))
        return is_without(s, r);
    return excluded(s, r) ||
           (s->relays >= TUN_GUARDS_APART && tun_guards_is_first(s->guards, r->desc.identity));
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

/* Did `by` (NULL: we ourselves) fail to reach `to` lately, or can it not, having no address
 * of the same family? */
static bool refused(struct search *s, const struct tun_relay *by, const struct tun_relay *to) {
    if (by && !tun_relay_meets(&by->desc, &to->desc))
        return true;
    const struct tun_refusal *f =
        tun_refusals_find(s->req->refusals, by ? by->desc.identity : NULL, to->desc.identity);
    if (!f)
        return false;
    if (s->pick == NOT_SHUNNED)
        return f->avoided_until > s->now;
    s->held |= f->held_until > s->now;
    return f->held_until > s->now;
}

/* What this path should outlive was shown this relay. Which guards and L that has must
 * not decide about what others are shown. */
static bool was_shown(const struct search *s, const struct tun_relay *r) {
    const struct tun_path_apart *a = s->req->apart;
    return a && listed(a->shown, a->showns, r);
}

static bool is_apart(const struct search *s, const struct tun_relay *r) {
    const struct tun_path_apart *a = s->req->apart;
    return a && (listed(a->front, a->fronts, r) || listed(a->shown, a->showns, r));
}

/* Those that should be kept apart come last, else the order stays. */
static void put_last(const struct search *s, struct tun_relay **v, size_t n) {
    size_t kept = 0;
    for (size_t i = 0; i < n; i++) {
        struct tun_relay *r = v[i];
        if (was_shown(s, r))
            continue;
        memmove(v + kept + 1, v + kept, (i - kept) * sizeof *v);
        v[kept++] = r;
    }
}

/* Fits before the hops behind L? */
static bool fits(const struct tun_path *p, const struct tun_relay *r) {
    for (size_t i = 2; i < p->n; i++) {
        if (tun_relay_conflict(&p->hop[i]->desc, &r->desc))
            return false;
    }
    return true;
}

static bool search_path(struct search *s);

/* The path is the first of two where a relay's end must not be that of both: is there
 * another that shares no relay with it? */
static bool leaves_second(const struct search *s) {
    struct tun_path_apart hops = {.fronts = 0};
    if (!s->first_of_two)
        return true;
    for (unsigned i = 0; i < tun_path_chosen(&s->path); i++)
        tun_path_apart_add(&hops, i, s->path.hop[i]->desc.identity);
    struct tun_path_request req = *s->req;
    req.apart = &hops;
    struct search second = *s;
    second.req = &req;
    second.shared_max = 0;
    second.first_of_two = false;
    return search_path(&second);
}

/* Guard and L before the hops that stand, of which `shared` are shared already; with no
 * more than this round allows. */
static bool search_front(struct search *s, unsigned shared) {
    struct tun_path *p = &s->path;
    for (size_t g = 0; g < s->firsts; g++) {
        if (!fits(p, s->first[g]))
            continue;
        for (size_t l = 0; l < s->seconds; l++) {
            struct tun_relay *second = s->second[l];
            if (shared + is_apart(s, s->first[g]) + is_apart(s, second) > s->shared_max ||
                !fits(p, second) || tun_relay_conflict(&s->first[g]->desc, &second->desc) ||
                refused(s, s->first[g], second) || refused(s, second, p->hop[2]))
                continue;
            p->hop[0] = s->first[g];
            p->hop[1] = second;
            if (leaves_second(s))
                return true;
        }
    }
    return false;
}

/* The rest of a path of which stands what others are shown: that has been drawn, and does
 * not depend on what there is to share. Among few relays it must. */
static bool search_rest(struct search *s) {
    if (s->few) {
        unsigned shared = 0;
        for (size_t i = 2; i < tun_path_chosen(&s->path); i++)
            shared += is_apart(s, s->path.hop[i]);
        return search_front(s, shared);
    }
    for (s->shared_max = 0; s->shared_max <= (s->req->apart ? 2 : 0); s->shared_max++) {
        if (search_front(s, 0))
            return true;
    }
    return false;
}

/* May any guard and L stand together? If not, nothing is searched behind them. */
static bool front_exists(struct search *s) {
    for (size_t g = 0; g < s->firsts; g++) {
        for (size_t l = 0; l < s->seconds; l++) {
            if (!tun_relay_conflict(&s->first[g]->desc, &s->second[l]->desc) &&
                !refused(s, s->first[g], s->second[l]))
                return true;
        }
    }
    return false;
}

/* What others are shown comes first and does not depend on the rest, but for the few
 * that no guard and L of ours fit beside. */
static bool search_path(struct search *s) {
    struct tun_path *p = &s->path;
    if (!front_exists(s))
        return false;
    for (size_t i = 0; i < s->lasts; i++) {
        p->hop[p->n - 1] = s->last[i];
        if (p->n == 3 && search_rest(s))
            return true;
        for (size_t k = 0; p->n == 4 && k < s->middles; k++) {
            if (tun_relay_conflict(&s->middle[k]->desc, &s->last[i]->desc) ||
                refused(s, s->middle[k], s->last[i]))
                continue;
            p->hop[2] = s->middle[k];
            if (search_rest(s))
                return true;
        }
    }
    return false;
}

/* Do ways of this purpose come in twos, of which the first is chosen with the second in
 * mind? Where L are three and there is a spare guard, that is not needed, and would show
 * by who never is a last hop whom we have for guards. */
static bool is_of_two(const struct search *s) {
    return s->few && !s->req->apart &&
           (s->req->purpose == TUN_PURPOSE_MEET || s->req->purpose == TUN_PURPOSE_JOIN);
}

/* The path that shares the fewest relays with those it should outlive; among few, the first
 * of two leaves the second what it needs, if there is enough. */
static bool search_shared(struct search *s) {
    s->first_of_two = is_of_two(s);
    s->shared_max = 0;
    if (s->first_of_two && search_path(s))
        return true;
    s->first_of_two = false;
    unsigned most = s->few && s->req->apart ? tun_path_length(s->req->purpose) : 0;
    for (unsigned shared = 0; shared <= most; shared++) {
        s->shared_max = shared;
        if (search_path(s))
            return true;
    }
    return false;
}

/* A swarm's circuits keep to few of our L, also when that means to share one with those they
 * should outlive. */
static bool search_apart(struct search *s) {
    size_t all = s->seconds;
    if (s->req->third && all > TUN_THIRD_SECONDS) {
        s->seconds = TUN_THIRD_SECONDS;
        if (search_shared(s))
            return true;
        s->seconds = all;
    }
    return search_shared(s);
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
    unsigned place[TUN_SECOND_MAX];
    for (unsigned i = 0; i < TUN_SECOND_MAX; i++)
        place[i] = i;
    if (s->req->third)
        tun_third_places(s->req->third, place);
    s->seconds = 0;
    for (unsigned i = 0; i < TUN_SECOND_MAX; i++) {
        const struct tun_guard *g = &s->guards->second[place[i]];
        if (!g->set)
            continue;
        struct tun_relay *r = tun_directory_find_now(dir, g->identity, now->wall);
        if (!r || r->liar || !r->confirmed || excluded(s, r))
            continue;
        if (!unwanted(s, r))
            s->second[s->seconds++] = r;
    }
    bool keeps = s->req->third && s->seconds > TUN_THIRD_SECONDS;
    shuffle(s->second, keeps ? TUN_THIRD_SECONDS : s->seconds, rng);
}

static enum cv_err order_middles(struct search *s, int64_t wall, const struct cv_rng *rng) {
    if (s->req->third) {
        uint64_t cap = s->middles < TUN_WEIGHTS_FROM ? 1 : weight_cap(s->middle, s->middles);
        enum cv_err err = tun_third_order(s->req->third, wall, s->middle, s->middles, cap, rng);
        if (err)
            return err;
        s->middles = s->middles < TUN_PATH_DRAWS ? s->middles : TUN_PATH_DRAWS;
    } else {
        s->middles = in_order(s->middle, s->middles, rng);
    }
    if (s->req->apart)
        put_last(s, s->middle, s->middles);
    return CV_ERR_OK;
}

/* Whoever is asked for what is in the DHT is asked for that of the family where others look,
 * if anybody with it fits. */
static void put_dht_first(const struct search *s, struct tun_relay **v, size_t n) {
    for (size_t i = 0, kept = 0; i < n; i++) {
        struct tun_relay *r = v[i];
        if (!tun_descriptor_has_family(&r->desc, s->dht_family))
            continue;
        memmove(v + kept + 1, v + kept, (i - kept) * sizeof *v);
        v[kept++] = r;
    }
}

static enum cv_err gather_rest(struct search *s, struct tun_relay *const *all, size_t n,
                               int64_t wall, const struct cv_rng *rng) {
    unsigned flag = tun_path_flag(s->req->purpose);
    s->lasts = s->middles = 0;
    for (size_t i = 0; i < n; i++) {
        struct tun_relay *r = all[i];
        if (excluded_behind(s, r) || unwanted(s, r))
            continue;
        s->middle[s->middles++] = r;
        if (!s->req->named && (r->desc.flags & flag) && !listed(s->req->avoid, s->req->avoids, r))
            s->last[s->lasts++] = r;
    }
    if (s->req->named)
        s->last[s->lasts++] = s->req->named;
    else
        s->lasts = in_order(s->last, s->lasts, rng);
    if (s->req->apart)
        put_last(s, s->last, s->req->named ? 0 : s->lasts);
    if (flag == TUN_RELAY_DHT)
        put_dht_first(s, s->last, s->lasts);
    return s->path.n == 4 ? order_middles(s, wall, rng) : CV_ERR_OK;
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

/* Everything that may stand somewhere, as picky as s->pick; NOMEM. */
static enum cv_err gather(struct search *s, const struct tun_directory *dir,
                          const struct cv_now *now, const struct cv_rng *rng) {
    uint32_t day = tun_descriptor_day(now->wall);
    size_t n = s->relays;
    struct tun_relay **all = s->all ? s->all : calloc(3 * (n + 1), sizeof(struct tun_relay *));
    if (!all)
        return CV_ERR_NOMEM;
    n = tun_directory_list(dir, day, TUN_DIRECTORY_CONFIRMED, all, n);
    s->all = all;
    s->last = all + s->relays;
    s->middle = all + 2 * s->relays + 1;
    gather_firsts(s, dir, now, rng);
    gather_seconds(s, dir, now, rng);
    return gather_rest(s, all, n, now->wall, rng);
}

static struct search begin(const struct tun_directory *dir, const struct tun_guards *guards,
                           const struct tun_path_request *req, const struct cv_now *now) {
    size_t n = tun_directory_count(dir, tun_descriptor_day(now->wall), TUN_DIRECTORY_CONFIRMED);
    return (struct search){.req = req,
                           .guards = guards,
                           .relays = n,
                           .few = tun_guards_seconds(n) < 3,
                           .dht_family =
                               tun_directory_dht_family(dir, tun_descriptor_day(now->wall)),
                           .now = now->mono,
                           .path = {.purpose = req->purpose,
                                    .named = req->named,
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
        enum cv_err bad = gather(&s, dir, now, rng);
        if (bad)
            err = bad;
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
    if (!is_of_two(&s))
        return true;
    s.pick = NOT_SHUNNED;
    s.path = *path;
    s.first_of_two = true;
    bool leaves = gather(&s, dir, now, rng) == CV_ERR_OK && leaves_second(&s);
    free(s.all);
    return leaves;
}

bool tun_path_extend(struct tun_path *path, struct tun_relay *last, bool named,
                     enum tun_purpose purpose, const struct tun_guards *guards, size_t relays) {
    struct tun_path p = *path;
    if (p.n != 3 || tun_path_length(purpose) != 4)
        return false;
    p.hop[p.n++] = last;
    p.named = named ? last : NULL;
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
        if (i > 0 && !tun_relay_meets(&p->hop[i - 1]->desc, &r->desc))
            return false;
        if (i == 0 && !tun_guards_is_first(guards, id))
            return false;
        if (i == 1 && (!tun_guards_is_second(guards, id) || tun_guards_is_first(guards, id)))
            return false;
        bool chosen = i < tun_path_chosen(p);
        bool shown = i > 1 && tun_path_shown(p->purpose);
        if (chosen && r->ours && !shown)
            return false;
        if (i > 1 && chosen && !shown && relays >= TUN_GUARDS_APART &&
            tun_guards_is_first(guards, id))
            return false;
        /* Whom somebody else named stands last, and never beside our guard. */
        if (p->named && same(p->hop[i], p->named) != (i + 1 == p->n && i > 1))
            return false;
    }
    return true;
}
