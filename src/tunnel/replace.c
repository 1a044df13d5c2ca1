/*
 * A viewer's way that lags behind its siblings (lag.h) is replaced. Another is met first, by
 * the rules of every meeting (meet.c). When the ways that would stay bring more without the
 * old one than all did before, it ends; when they do not, the line of one of the two ends is
 * full, the seeder gives no more, or the other way is a lucky one: then no relay is at fault,
 * the new one ends, and this is not tried again for long.
 *
 * Only ways to one seeder are compared: what two of them give says nothing of relays. Nobody
 * is blamed or avoided for it, and it happens ever more rarely, since whoever slows
 * others' relays down makes us draw again (docs/decisions/0039). See hiddenstate.h.
 */
#include <string.h>

#include "base/trace.h"
#include "tunnel/hiddenstate.h"

/* Looks at all ways together once the new one is there: in the first it gets going. Where
 * there are none in this time, nobody asks for that much any more. */
enum { LOOKS = 3 };
#define LOOKS_TIME CV_SEC(40)

static bool same_seeder(const struct tun_meet *a, const struct tun_meet *b) {
    return memcmp(a->contact.service, b->contact.service, CV_KEY) == 0;
}

/* Ways that are counted on. */
static unsigned steady(const struct tun_hidden *h) {
    unsigned n = 0;
    for (unsigned i = 0; i < TUN_MEETINGS_MAX; i++)
        n += tun_meet_steady(h, &h->viewer->meet[i]);
    return n;
}

/* Of these to the seeder of this one. */
static unsigned to_seeder(const struct tun_hidden *h, const struct tun_meet *m) {
    unsigned n = 0;
    for (unsigned i = 0; i < TUN_MEETINGS_MAX; i++) {
        const struct tun_meet *o = &h->viewer->meet[i];
        n += tun_meet_steady(h, o) && same_seeder(o, m);
    }
    return n;
}

static void look(struct tun_hidden *h, const struct tun_brought *ways, unsigned count) {
    for (unsigned i = 0; i < TUN_MEETINGS_MAX; i++) {
        struct tun_meet *m = &h->viewer->meet[i];
        m->lag.counts = false;
        for (unsigned k = 0; k < count; k++)
            if (m->state == TUN_MEET_UP && ways[k].peer.kind == CV_ENDPOINT_CIRCUIT &&
                ways[k].peer.handle == m->rp.circuit)
                tun_lag_look(&m->lag, tun_hidden_now(h), ways[k].octets, ways[k].asked_since);
    }
}

static void judge(struct tun_hidden *h, struct tun_meet *m) {
    uint64_t octets = 0;
    unsigned count = 0;
    for (unsigned i = 0; i < TUN_MEETINGS_MAX; i++) {
        const struct tun_meet *o = &h->viewer->meet[i];
        if (o == m || !o->lag.counts || !same_seeder(o, m))
            continue;
        octets += o->lag.brought;
        count++;
    }
    tun_lag_judge(&m->lag, octets, count);
}

/* What came since the last look by all ways whose look counts. */
static uint64_t together(const struct tun_hidden *h) {
    uint64_t octets = 0;
    for (unsigned i = 0; i < TUN_MEETINGS_MAX; i++)
        if (h->viewer->meet[i].lag.counts)
            octets += h->viewer->meet[i].lag.brought;
    return octets;
}

/* And by those of them that stay without this one. Not by a way to another seeder that was not
 * there before: it takes nobody's place. */
static uint64_t without(const struct tun_hidden *h, const struct tun_meet *old) {
    uint64_t octets = 0;
    for (unsigned i = 0; i < TUN_MEETINGS_MAX; i++) {
        const struct tun_meet *m = &h->viewer->meet[i];
        bool beside = m->begun_at >= h->viewer->replace.begun_at && !same_seeder(m, old);
        if (m->lag.counts && m != old && !beside)
            octets += m->lag.brought;
    }
    return octets;
}

/* Of those that lag the one that brings least; NULL: none does. */
static struct tun_meet *slowest(struct tun_hidden *h) {
    struct tun_meet *worst = NULL;
    for (unsigned i = 0; i < TUN_MEETINGS_MAX; i++) {
        struct tun_meet *m = &h->viewer->meet[i];
        if (tun_lag_is(&m->lag) && tun_meet_steady(h, m) &&
            (!worst || m->lag.brought < worst->lag.brought))
            worst = m;
    }
    return worst;
}

static bool has_room(const struct tun_hidden *h) {
    for (unsigned i = 0; i < TUN_MEETINGS_MAX; i++)
        if (h->viewer->meet[i].state == TUN_MEET_IDLE)
            return true;
    return false;
}

static struct tun_meet *lagging(struct tun_hidden *h) {
    for (unsigned i = 0; i < TUN_MEETINGS_MAX; i++)
        if (h->viewer->meet[i].lags)
            return &h->viewer->meet[i];
    return NULL;
}

/* The newest way to the same seeder, met since this one lags. */
static struct tun_meet *newest(struct tun_hidden *h, const struct tun_meet *old) {
    struct tun_meet *n = NULL;
    for (unsigned i = 0; i < TUN_MEETINGS_MAX; i++) {
        struct tun_meet *m = &h->viewer->meet[i];
        if (tun_meet_steady(h, m) && m->begun_at >= h->viewer->replace.begun_at &&
            same_seeder(m, old) && (!n || m->begun_at > n->begun_at))
            n = m;
    }
    return n;
}

static void let_go(struct tun_hidden *h, struct tun_meet *m, bool lags) {
    h->info.replaced += lags;
    CV_TRACE(TUNNEL, way_let_go, tun_hidden_now(h), "hidden=%u lags=%d of=%llu",
             (unsigned)h->handle, lags, (unsigned long long)h->viewer->replace.after);
    struct tun_replace *r = &h->viewer->replace;
    cv_usec soonest = cv_usec_add(tun_hidden_now(h), TUN_REPLACE_FIRST);
    r->at = r->at > soonest ? r->at : soonest;
    tun_meet_let_go(h, m);
    tun_hidden_by(h, tun_hidden_now(h));
}

/* One too many, from a time when it was silent and thought to be cut off: nothing is met for
 * it. Else another is. With no more than two to its seeder, what is too many leads to others,
 * and nothing is done. Either was drawn: the next waits longer. */
static void begin(struct tun_hidden *h, struct tun_meet *m) {
    struct tun_replace *r = &h->viewer->replace;
    bool many = steady(h) > tun_meet_wanted(h);
    if (many ? to_seeder(h, m) <= 2 : !has_room(h))
        return;
    r->wait = r->wait ? cv_usec_min(r->wait * 4, TUN_REPLACE_LAST) : TUN_REPLACE_FIRST;
    r->begun_at = tun_hidden_now(h);
    r->at = cv_usec_add(r->begun_at, r->wait);
    if (many) {
        let_go(h, m, /* lags= */ true);
        return;
    }
    r->needs = steady(h);
    r->before = together(h);
    r->after = r->there_at = 0;
    r->looks = 0;
    m->lags = true;
    CV_TRACE(TUNNEL, way_lags, r->begun_at, "hidden=%u brought=%llu of=%llu", (unsigned)h->handle,
             (unsigned long long)m->lag.brought, (unsigned long long)r->before);
    tun_hidden_by(h, r->begun_at);
}

/* Is the other worth more than this one? What stays must bring a quarter more than all did
 * before, or nobody asks for what it could bring. */
static void decide(struct tun_hidden *h, struct tun_meet *old) {
    struct tun_replace *r = &h->viewer->replace;
    struct tun_meet *new = newest(h, old);
    if (!new || steady(h) < r->needs) {
        if (cv_usec_since(tun_hidden_now(h), r->begun_at) >= LOOKS_TIME)
            old->lags = false; /* nobody can be met just now */
        r->there_at = 0;
        return;
    }
    if (r->there_at == 0) {
        r->there_at = tun_hidden_now(h);
        r->after = 0;
        r->looks = 0;
    }
    if (old->lag.counts && new->lag.counts && ++r->looks > 1) {
        uint64_t stays = without(h, old);
        r->after = stays > r->after ? stays : r->after;
    }
    if (r->after * 4 >= r->before * 5 ||
        cv_usec_since(tun_hidden_now(h), r->there_at) >= LOOKS_TIME) {
        let_go(h, old, /* lags= */ true);
    } else if (r->looks >= LOOKS) {
        old->lags = false;
        if (new->lag.looks < LOOKS - 1) { /* else it leads through the same relay, perhaps */
            r->wait = TUN_REPLACE_LAST;
            r->at = cv_usec_add(tun_hidden_now(h), r->wait);
        }
        let_go(h, new, /* lags= */ false);
    }
}

void tun_replace_look(struct tun_hidden *h, const struct tun_brought *ways, unsigned count) {
    look(h, ways, count);
    for (unsigned i = 0; i < TUN_MEETINGS_MAX; i++)
        judge(h, &h->viewer->meet[i]);
    struct tun_meet *m = lagging(h);
    if (m) {
        decide(h, m);
        return;
    }
    m = tun_hidden_now(h) >= h->viewer->replace.at ? slowest(h) : NULL;
    if (m)
        begin(h, m);
}
