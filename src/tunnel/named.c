/*
 * Contacts that peers name: so one honest peer is enough to find the others, whatever
 * became of the slots. A contact has no address in it, and whoever answers there proves the
 * service key; so the worst that a name can be is a meeting in vain, and of these a peer
 * causes a few (search.c, meet.c: places and blame). See hiddenstate.h.
 */
#include <string.h>

#include "tunnel/hiddenstate.h"

static struct tun_hiddens *of(struct tunnel *t, const struct cv_now *now) {
    struct tun_hiddens *all = tun_attached(t, TUN_USER_HIDDEN);
    if (all)
        all->now = *now;
    return all;
}

/* The same swarm's other half at this node: its viewer or its seeder; NULL: none. */
static struct tun_hidden *other_half(const struct tun_hidden *h, bool seeder) {
    uint32_t cursor = 0;
    struct tun_hidden *o;
    while ((o = tun_handles_next(&h->all->swarms, &cursor)))
        if ((seeder ? o->seeder != NULL : o->viewer != NULL) &&
            memcmp(&o->swarm_secret, &h->swarm_secret, sizeof o->swarm_secret) == 0)
            return o;
    return NULL;
}

static bool heard_lately(const struct tun_hidden *h, const struct tun_road *r) {
    return r->e2e && r->told && cv_usec_since(tun_hidden_now(h), r->told_at) <= TUN_NAMED_HEARD;
}

/* ---- what is told ---- */

static void name(struct tun_named *ret, const struct tun_contact *c, uint32_t period) {
    ret->period = period;
    tun_contact_write(ret->contact, c);
}

static unsigned own(const struct tun_hidden *seeder, struct tun_named *ret) {
    struct tun_contact c[TUN_INTRO_POINTS];
    unsigned n = tun_seeder_contacts(seeder, c, TUN_INTRO_POINTS);
    for (unsigned i = 0; i < n; i++)
        name(&ret[i], &c[i], seeder->seeder->now.keys.period);
    return n;
}

/* Places by lot: `n` so far of `seen` that wanted one. */
struct lot {
    struct tun_named *ret;
    unsigned n, cap, seen;
    const struct cv_rng *rng;
};

static void draw(struct lot *l, const struct tun_contact *c, uint32_t period) {
    unsigned at = l->n < l->cap ? l->n++ : (unsigned)cv_rng_below(l->rng, l->seen + 1);
    l->seen++;
    if (at < l->cap)
        name(&l->ret[at], c, period);
}

/* A way outlives the point through which it was made. What is over by our own clock may not be by
 * its seeder's, but in the mouths of all who met him it would be one dead point after another. */
static bool may_be_told(const struct tun_hidden *h, const struct tun_contact *c) {
    int64_t wall = h->all->now.wall;
    return (int64_t)c->expiry > wall && tun_contact_current(c, wall);
}

/* Seeders that this node visits itself: met, so they are what they say. */
static void draw_met(const struct tun_hidden *h, struct lot *l) {
    for (unsigned i = 0; i < TUN_MEETINGS_MAX; i++) {
        const struct tun_meet *m = &h->viewer->meet[i];
        if (m->state == TUN_MEET_UP && !m->leaving && heard_lately(h, &m->rp) &&
            may_be_told(h, &m->contact))
            draw(l, &m->contact, m->period);
    }
}

/* The other visitors, one contact each. Nobody is told of itself, though it came twice. */
static void draw_visitors(const struct tun_hidden *h, const struct tun_join *asker, struct lot *l) {
    for (unsigned i = 0; i < h->seeder->joins_max; i++) {
        const struct tun_join *j = &h->seeder->join[i];
        if (j == asker || j->state != TUN_JOIN_UP || j->saids == 0 || !heard_lately(h, &j->road))
            continue;
        const struct tun_contact *c = &j->said[cv_rng_below(l->rng, j->saids)];
        bool itself = asker->saids && memcmp(c->service, asker->said[0].service, CV_KEY) == 0;
        if (!itself && may_be_told(h, c))
            draw(l, c, j->said_period);
    }
}

unsigned tun_hidden_tell(struct tunnel *t, const struct cv_now *now, const struct cv_endpoint *peer,
                         struct tun_named ret[TUN_TELL_CONTACTS]) {
    static_assert(TUN_INTRO_POINTS < TUN_TELL_CONTACTS, "others are told, too");
    struct tun_hiddens *all = of(t, now);
    const struct tun_road *r = all ? tun_hidden_road(all, peer) : NULL;
    if (!r)
        return 0;
    const struct tun_hidden *h = r->owner;
    const struct tun_hidden *seeder = h->seeder ? h : other_half(h, true);
    unsigned n = seeder ? own(seeder, ret) : 0;
    if (r->kind != TUN_ROAD_JOIN)
        return n;
    struct lot l = {.ret = ret + n, .cap = TUN_TELL_CONTACTS - n, .rng = tun_hidden_rng(h)};
    const struct tun_hidden *viewer = other_half(h, false);
    if (viewer)
        draw_met(viewer, &l);
    draw_visitors(h, r->part, &l);
    return n + l.n;
}

/* ---- what is heard ---- */

/* A visitor says it of itself: one service key at a time, the newest contacts. */
static void said(struct tun_join *j, const struct tun_contact *c, uint32_t period) {
    for (unsigned i = 0; i < j->saids; i++)
        if (memcmp(&j->said[i], c, sizeof *c) == 0)
            return;
    if (j->saids && memcmp(j->said[0].service, c->service, CV_KEY) != 0)
        j->saids = 0;
    if (j->saids == TUN_SAID_CONTACTS) {
        memmove(&j->said[0], &j->said[1], (TUN_SAID_CONTACTS - 1) * sizeof *c);
        j->saids--;
    }
    j->said[j->saids++] = *c;
    j->said_period = period;
}

static bool of_this_time(const struct tun_hidden *h, uint32_t period) {
    uint32_t now[2];
    unsigned n = tun_hidden_periods(h, now);
    for (unsigned i = 0; i < n; i++)
        if (now[i] == period)
            return true;
    return false;
}

static bool believe(struct tun_hidden *h, struct tun_road *r, const struct tun_contact *c,
                    uint32_t period) {
    if (!of_this_time(h, period) || !tun_contact_current(c, h->all->now.wall) ||
        tun_hidden_is_ours(h, c))
        return false;
    if (r->kind == TUN_ROAD_JOIN) {
        said(r->part, c, period);
        return true;
    }
    const struct tun_meet *m = r->part;
    if (m->misled >= TUN_MISLED_MAX)
        return false;
    /* Who answered under a service key says where it is now. */
    bool itself = memcmp(c->service, m->contact.service, CV_KEY) == 0;
    return tun_search_named(h, c, period, itself ? h->all->now.wall : 0, r->circuit);
}

void tun_hidden_told(struct tunnel *t, const struct cv_now *now, const struct cv_endpoint *peer,
                     uint32_t period, const uint8_t *contact, size_t len) {
    struct tun_hiddens *all = of(t, now);
    struct tun_road *r = all ? tun_hidden_road(all, peer) : NULL;
    if (!r)
        return;
    struct tun_contact c = {0};
    if (len == TUN_CONTACT)
        tun_contact_read(&c, contact);
    if (len != TUN_CONTACT || !believe(r->owner, r, &c, period))
        r->owner->info.misnamed++;
}
