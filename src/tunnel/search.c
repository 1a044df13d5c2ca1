/*
 * A viewer reads slots: slot 0 and two at random; when that finds nobody, all
 * sixteen, in two halves. Each slot is asked for through the last hops of two
 * circuits that end apart, so that neither of them alone decides what we see.
 * Everything is verified here (slot.h): what a last hop may do is to withhold, or
 * to show what was there before; the newer answer wins. See hiddenstate.h.
 */
#include <assert.h>
#include <string.h>

#include "tunnel/bodies.h"
#include "tunnel/hiddenstate.h"

#define RESULTS CV_SEC(12) /* for all results of one circuit */
#define LOST    CV_SEC(10) /* so long after the last peer went pauses do not grow */
/* Who has met somebody looks for others: rarely, or where one seeder is all there is soon,
 * then after pauses that double; while its reader waits for octets they are no longer than
 * the last of these. */
#define OTHERS_RARELY CV_SEC(300)
#define OTHERS_SOON   CV_SEC(10)
#define OTHERS_WANTED CV_SEC(60)

static cv_usec now(const struct tun_hidden *h) {
    return tun_hidden_now(h);
}

/* ---- what is known ---- */

static void known_drop(struct tun_viewer *v, unsigned i) {
    v->named -= v->known[i].namer != 0;
    v->known[i] = v->known[--v->knowns];
}

/* Named ones do not count: who names nonsense must not keep us from looking. */
unsigned tun_search_current(struct tun_hidden *h) {
    struct tun_viewer *v = h->viewer;
    unsigned n = 0;
    for (unsigned i = 0; i < v->knowns;) {
        const struct tun_known *k = &v->known[i];
        if (!tun_contact_current(&k->contact, h->all->now.wall)) {
            known_drop(v, i);
            continue;
        }
        n += !k->namer && k->not_before <= now(h) && !tun_hidden_is_ours(h, &k->contact) &&
             !tun_known_given_up(k, h->all->now.wall);
        i++;
    }
    h->info.contacts = v->knowns;
    h->info.named = v->named;
    return n;
}

/* There was room in it for all that this seeder said. */
static bool had_room(const struct tun_slot *slot, const uint8_t service[CV_KEY]) {
    unsigned n = 0;
    for (unsigned i = 0; i < slot->count; i++)
        n += memcmp(slot->contact[i].service, service, CV_KEY) == 0;
    return slot->count < TUN_SLOT_CONTACTS || n >= TUN_INTRO_POINTS;
}

/* A slot's seq is when its writer wrote it. He put his own contacts last. Those of others he
 * copied, stale or not: they say nothing of other slots, and nor does what had no room. */
static bool is_word_of(const struct tun_slot *slot, const uint8_t service[CV_KEY]) {
    return slot->count && had_room(slot, service) &&
           memcmp(slot->contact[slot->count - 1].service, service, CV_KEY) == 0;
}

/* Its seeder said something else later. */
static bool says_newer(const struct tun_viewer *v, const struct tun_contact *c, int64_t seq,
                       uint8_t slot) {
    for (unsigned i = 0; i < v->knowns; i++) {
        const struct tun_known *k = &v->known[i];
        if (k->seq > seq && (!k->copied || k->slot == slot) &&
            memcmp(k->contact.service, c->service, CV_KEY) == 0)
            return true;
    }
    return false;
}

/* This very contact. The same key said differently is another: both are kept, or whoever
 * copies a contact with nonsense in it would make the true one unreachable. */
static struct tun_known *known_as(struct tun_viewer *v, const struct tun_contact *c) {
    for (unsigned i = 0; i < v->knowns; i++)
        if (memcmp(&v->known[i].contact, c, sizeof *c) == 0)
            return &v->known[i];
    return NULL;
}

/* Of those from slots (namer 0) or of one peer: the one that failed most, among these a
 * random one. There is one. */
static unsigned worst(const struct tun_hidden *h, cv_handle namer) {
    const struct tun_viewer *v = h->viewer;
    unsigned at = 0, ties = 0, rank = 0;
    for (unsigned i = 0; i < v->knowns; i++) {
        const struct tun_known *k = &v->known[i];
        unsigned of_this = tun_known_rank(k, h->all->now.wall);
        if (k->namer != namer || (ties && of_this < rank))
            continue;
        ties = !ties || of_this > rank ? 1 : ties + 1;
        rank = of_this;
        if (cv_rng_below(tun_hidden_rng(h), ties) == 0)
            at = i;
    }
    return at;
}

/* Said once more. A copy does not make its seeder's own word newer than it is. Who says it
 * himself, and later, is there: his point is asked again. */
static void said_again(const struct tun_viewer *v, struct tun_known *k, int64_t seq, uint8_t slot,
                       bool copied) {
    if (copied ? !k->copied || k->seq >= seq : !k->copied && k->seq >= seq)
        return;
    k->strange = copied ? k->strange : 0;
    k->seq = seq;
    k->slot = slot;
    k->copied = copied;
    k->outdated = says_newer(v, &k->contact, seq, slot);
}

static void learn(struct tun_hidden *h, const struct tun_contact *c,
                  const struct tun_search_key *key, int64_t seq, bool copied) {
    struct tun_viewer *v = h->viewer;
    if (!tun_contact_current(c, h->all->now.wall) || tun_hidden_is_ours(h, c))
        return;
    struct tun_known *k = known_as(v, c);
    if (k && !k->namer) {
        said_again(v, k, seq, key->slot, copied);
        return;
    }
    struct tun_known fresh = {.contact = *c,
                              .period = key->period,
                              .seq = seq,
                              .slot = key->slot,
                              .copied = copied,
                              .outdated = says_newer(v, c, seq, key->slot)};
    if (k) { /* what was only named stands in a slot, too */
        fresh.fails = k->fails;
        fresh.strange = k->strange;
        fresh.not_before = k->not_before;
        known_drop(v, (unsigned)(k - v->known));
    }
    unsigned at = v->knowns - v->named < TUN_KNOWN_CONTACTS_MAX ? v->knowns++ : worst(h, 0);
    v->known[at] = fresh;
}

static unsigned named_by(const struct tun_viewer *v, cv_handle namer) {
    unsigned n = 0;
    for (unsigned i = 0; i < v->knowns; i++)
        n += v->known[i].namer == namer;
    return n;
}

/* A place for what this peer names, at the cost of nobody but itself or of a peer that named
 * more than it did. knowns: there is none. */
static unsigned place_of_named(struct tun_hidden *h, cv_handle namer) {
    struct tun_viewer *v = h->viewer;
    unsigned of_this = named_by(v, namer), most = of_this;
    cv_handle who = 0;
    if (of_this >= TUN_NAMED_OF_ONE)
        return worst(h, namer);
    if (v->named < TUN_NAMED_CONTACTS_MAX) {
        v->named++;
        return v->knowns++;
    }
    for (unsigned i = 0; i < v->knowns; i++) {
        unsigned n = v->known[i].namer ? named_by(v, v->known[i].namer) : 0;
        if (n > most) {
            most = n;
            who = v->known[i].namer;
        }
    }
    return who ? worst(h, who) : v->knowns;
}

bool tun_search_named(struct tun_hidden *h, const struct tun_contact *c, uint32_t period,
                      int64_t seq, cv_handle namer) {
    struct tun_viewer *v = h->viewer;
    struct tun_known *k = known_as(v, c);
    if (k) {
        if (seq)
            said_again(v, k, seq, UINT8_MAX, /* copied= */ false);
        return true;
    }
    if (says_newer(v, c, seq, UINT8_MAX))
        return false;
    unsigned at = place_of_named(h, namer);
    if (at == v->knowns)
        return false;
    v->known[at] = (struct tun_known){
        .contact = *c, .period = period, .seq = seq, .slot = UINT8_MAX, .namer = namer};
    tun_hidden_by(h, now(h));
    return true;
}

/* What a seeder once said and does not say any more is tried last, in whichever
 * order the two come. */
static void outdate(struct tun_viewer *v, const struct tun_slot *slot, uint8_t number,
                    int64_t seq) {
    for (unsigned i = 0; i < v->knowns; i++) {
        struct tun_known *k = &v->known[i];
        const uint8_t *service = k->contact.service;
        bool same = false, there = false;
        for (unsigned s = 0; s < slot->count; s++) {
            const struct tun_contact *c = &slot->contact[s];
            same |= memcmp(c->service, service, CV_KEY) == 0;
            there |= memcmp(c, &k->contact, sizeof *c) == 0;
        }
        bool counts = is_word_of(slot, service) || (k->slot == number && had_room(slot, service));
        k->outdated |= same && !there && counts && k->seq < seq;
    }
}

/* ---- what comes back ---- */

static void learn_item(struct tun_hidden *h, const struct tun_result *r,
                       const struct tun_search_key *key) {
    static const char prefix[] = "900:";
    struct cv_ed25519_secret slot_secret;
    struct tun_period_secret period_secret;
    struct tun_item item = {.seq = (int64_t)r->seq};
    struct tun_slot slot;
    if (r->value_len != 4 + TUN_SLOT_VALUE || memcmp(r->value, prefix, 4) != 0 ||
        r->seq > INT64_MAX)
        return;
    tun_slot_key(&slot_secret, &h->swarm_secret, key->period, key->slot);
    memcpy(item.key, slot_secret.public_key, CV_KEY);
    memcpy(item.sig, r->signature, CV_SIGNATURE);
    memcpy(item.value, r->value + 4, TUN_SLOT_VALUE);
    cv_wipe(&slot_secret, sizeof slot_secret);
    tun_period_derive(&period_secret, &h->swarm_secret, key->period);
    if (tun_item_verify(&item) &&
        tun_slot_open(&slot, item.value, TUN_SLOT_VALUE, &period_secret) == CV_ERR_OK) {
        for (unsigned i = 0; i < slot.count; i++) {
            const struct tun_contact *c = &slot.contact[i];
            learn(h, c, key, item.seq, /* copied= */ !is_word_of(&slot, c->service));
        }
        outdate(h->viewer, &slot, key->slot, item.seq);
    }
    cv_wipe(&period_secret, sizeof period_secret);
}

/* A circuit may be lost after some answers: only the rest is asked for again. */
static void drop_answered(struct tun_search *s, unsigned lookup) {
    struct tun_search_key *key = s->key[lookup];
    unsigned left = 0;
    for (unsigned k = 0; k < s->keys[lookup]; k++)
        if (key[k].slot != UINT8_MAX)
            key[left++] = key[k];
    for (unsigned k = left; k < s->keys[lookup]; k++)
        key[k].slot = UINT8_MAX;
    s->keys[lookup] = (uint8_t)left;
}

void tun_search_on_reply(struct tun_hidden *h, struct tun_search *s, const struct tun_event *ev) {
    for (unsigned i = 0; i < s->sent; i++) {
        if (ev->reply.transaction != s->transaction[i] || s->keys[i] == 0)
            continue;
        if (ev->reply.err || ev->reply.command != TUN_CMD_RESULT) {
            drop_answered(s, i); /* those are not missing any more */
            s->missing = (uint8_t)(s->missing - s->keys[i]);
            s->keys[i] = 0;
            return;
        }
        struct tun_body b;
        struct cv_rd rd = tun_body_rd(&b, ev->reply.transaction, ev->reply.body, ev->reply.len);
        struct tun_result r;
        if (tun_result_read(&rd, &r) || r.kind != TUN_LOOKUP_ITEMS || r.key >= TUN_LOOKUP_KEYS_MAX)
            return;
        struct tun_search_key *key = &s->key[i][r.key];
        if (key->slot == UINT8_MAX)
            return; /* not asked, or answered already */
        if (r.found)
            learn_item(h, &r, key);
        key->slot = UINT8_MAX;
        s->missing--;
        return;
    }
}

/* ---- asking ---- */

static void keys_clear(struct tun_search *s) {
    for (unsigned i = 0; i < 2; i++) {
        s->keys[i] = 0;
        for (unsigned k = 0; k < TUN_LOOKUP_KEYS_MAX; k++)
            s->key[i][k].slot = UINT8_MAX;
    }
    s->lookups = s->sent = s->missing = 0;
}

static void key_add(struct tun_search *s, unsigned lookup, uint32_t period, unsigned slot) {
    s->key[lookup][s->keys[lookup]++] =
        (struct tun_search_key){.period = period, .slot = (uint8_t)slot};
    s->missing++;
    if (s->lookups <= lookup)
        s->lookups = (uint8_t)(lookup + 1);
}

/* Slot 0 and the same two others for both circuits, and the neighbouring
 * period's near a turn. */
static void plan_few(struct tun_hidden *h, const uint32_t *period, unsigned periods) {
    const struct cv_rng *rng = tun_hidden_rng(h);
    for (unsigned p = 0; p < periods; p++) {
        unsigned a = (unsigned)cv_rng_between(rng, 1, TUN_SLOTS - 1);
        unsigned b = (unsigned)cv_rng_between(rng, 1, TUN_SLOTS - 2);
        if (b >= a)
            b++;
        for (unsigned i = 0; i < 2; i++) {
            key_add(&h->viewer->search[i], p, period[p], 0);
            key_add(&h->viewer->search[i], p, period[p], a);
            key_add(&h->viewer->search[i], p, period[p], b);
        }
    }
}

/* One half of all sixteen, for both circuits. */
static void plan_half(struct tun_hidden *h, uint32_t period, unsigned half) {
    static_assert(TUN_SLOTS == 2 * 2 * TUN_LOOKUP_KEYS_MAX, "a half is two LOOKUPs");
    for (unsigned k = 0; k < TUN_SLOTS / 2; k++)
        for (unsigned i = 0; i < 2; i++)
            key_add(&h->viewer->search[i], k / TUN_LOOKUP_KEYS_MAX, period, 2 * k + half);
}

/* A film has just stopped. That is worth a few look-ups more: slots say where the seeder is now
 * as soon as it has noticed, too. */
static bool lost(const struct tun_hidden *h) {
    const struct tun_viewer *v = h->viewer;
    return v->lost_at && cv_usec_since(now(h), v->lost_at) < LOST;
}

static void round_begin(struct tun_hidden *h) {
    struct tun_viewer *v = h->viewer;
    uint32_t period[2];
    unsigned periods = tun_hidden_periods(h, period);
    if (periods == 0)
        return;
    for (unsigned i = 0; i < 2; i++) {
        keys_clear(&v->search[i]);
        v->search[i].active = true;
        v->search[i].tries = 0;
        memset(v->search[i].last, 0, sizeof v->search[i].last);
        v->search[i].until = cv_usec_add(now(h), RESULTS + CV_SEC(8));
    }
    /* Whoever is lost takes no round for three slots: slot 0 is in every half that is even, and
     * what stands there may be what another seeder copied. */
    v->rounds += v->rounds % 3 == 0 && lost(h);
    if (v->rounds % 3 == 0)
        plan_few(h, period, periods);
    else
        plan_half(h, period[v->rounds / 3 % periods], v->rounds % 3 - 1);
    v->rounds++;
    v->searching = true;
}

/* Where the other circuit ends, or ended, this one does not. */
static enum cv_err search_open(struct tun_hidden *h, struct tun_search *s) {
    const struct tun_search *other = &h->viewer->search[s == h->viewer->search];
    struct tun_path_request req = {
        .purpose = TUN_PURPOSE_GENERAL, .avoid = &other->last, .avoids = 1};
    enum cv_err err = tun_road_open(h, &s->road, TUN_ROAD_SEARCH, s, &req);
    if (!err) {
        tun_road_last(&s->road, s->last);
        s->tries++;
    }
    return err;
}

static void search_ask(struct tun_hidden *h, struct tun_search *s) {
    while (s->sent < s->lookups) {
        unsigned i = s->sent;
        drop_answered(s, i);
        if (s->keys[i] == 0) {
            s->sent++;
            continue;
        }
        uint8_t keys[TUN_LOOKUP_KEYS_MAX * CV_KEY];
        for (unsigned k = 0; k < s->keys[i]; k++) {
            struct cv_ed25519_secret slot_secret;
            tun_slot_key(&slot_secret, &h->swarm_secret, s->key[i][k].period, s->key[i][k].slot);
            memcpy(keys + k * CV_KEY, slot_secret.public_key, CV_KEY);
            cv_wipe(&slot_secret, sizeof slot_secret);
        }
        struct tun_body b;
        tun_body_init(&b);
        tun_lookup_write(
            &b.w, &(struct tun_lookup){.kind = TUN_LOOKUP_ITEMS, .n = s->keys[i], .keys = keys});
        if (tun_road_request(&s->road, TUN_CMD_LOOKUP, tun_body_data(&b), tun_body_len(&b),
                             &s->transaction[i]))
            return;
        s->sent++;
        s->asked_at = now(h);
        s->until = cv_usec_add(now(h), RESULTS);
    }
}

static void search_end(struct tun_search *s) {
    tun_road_close(&s->road);
    s->active = false;
    keys_clear(s);
}

static void search_step(struct tun_hidden *h, struct tun_search *s) {
    if (!s->active)
        return;
    if (s->missing > 0 && now(h) >= s->until)
        tun_road_suspect(&s->road);
    if (s->missing == 0 || now(h) >= s->until) {
        search_end(s);
        return;
    }
    tun_hidden_by(h, s->until);
    if (tun_road_stuck(&s->road))
        (void)tun_road_give_up(&s->road);
    if (s->road.kind && s->sent && tun_road_dead(&s->road, s->asked_at))
        tun_road_close(&s->road);
    if (s->road.kind == TUN_ROAD_NONE) {
        /* Lost on the way, before or after asking: ask again on another. */
        s->sent = 0;
        if (s->tries >= 3) {
            search_end(s);
            return;
        }
        if (search_open(h, s)) {
            tun_hidden_by(h, cv_usec_add(now(h), CV_MSEC(200)));
            return;
        }
    }
    if (s->road.ready)
        search_ask(h, s);
}

/* ---- when ---- */

static unsigned peers_up(const struct tun_viewer *v) {
    unsigned n = 0;
    for (unsigned i = 0; i < TUN_MEETINGS_MAX; i++)
        n += v->meet[i].state == TUN_MEET_UP && !v->meet[i].leaving;
    return n;
}

/* So many at least: by the keys of one period (meet.c). */
static unsigned seeders_up(const struct tun_viewer *v) {
    bool counted[TUN_MEETINGS_MAX] = {false};
    unsigned most = 0;
    for (unsigned i = 0; i < TUN_MEETINGS_MAX; i++) {
        const struct tun_meet *m = &v->meet[i];
        unsigned n = 1;
        counted[i] = m->state == TUN_MEET_UP && !m->leaving;
        for (unsigned k = 0; k < i && counted[i]; k++) {
            const struct tun_meet *o = &v->meet[k];
            n += counted[k] && o->period == m->period;
            counted[i] = !counted[k] || memcmp(o->contact.service, m->contact.service, CV_KEY) != 0;
        }
        most = counted[i] && n > most ? n : most;
    }
    return most;
}

static bool meeting(const struct tun_viewer *v) {
    for (unsigned i = 0; i < TUN_MEETINGS_MAX; i++) {
        if (v->meet[i].state == TUN_MEET_BUILDING || v->meet[i].state == TUN_MEET_WAITING)
            return true;
    }
    return false;
}

static void round_end(struct tun_hidden *h) {
    struct tun_viewer *v = h->viewer;
    v->searching = false;
    v->round_ended_at = now(h);
    cv_usec max = lost(h) ? tun_hidden_pause(h, CV_SEC(2), CV_MSEC(500))
                          : tun_hidden_pause(h, CV_SEC(60), CV_SEC(5));
    bool found = tun_search_current(h) > 0 && !v->missed;
    if (found || v->rounds <= 2)
        v->search_pause = 0; /* or all sixteen at once */
    else if (v->search_pause == 0)
        v->search_pause = tun_hidden_pause(h, CV_SEC(2), CV_MSEC(500));
    else
        v->search_pause = v->search_pause * 2 < max ? v->search_pause * 2 : max;
    v->others_pause = peers_up(v) > 0 && v->others_pause
                          ? cv_usec_min(2 * v->others_pause, OTHERS_RARELY)
                          : OTHERS_SOON;
    v->starves = false;
}

/* With somebody to talk to, or to try: new seeders come. */
static cv_usec others_pause(const struct tun_hidden *h) {
    const struct tun_viewer *v = h->viewer;
    unsigned n = seeders_up(v);
    cv_usec pause = n == 1 ? v->others_pause : OTHERS_RARELY;
    if (v->starves && n > 0 && n < TUN_MEETINGS_MAX)
        pause = cv_usec_min(v->others_pause, OTHERS_WANTED);
    return cv_usec_min(pause, tun_hidden_pause(h, OTHERS_RARELY, OTHERS_SOON));
}

static cv_usec round_due(struct tun_hidden *h) {
    struct tun_viewer *v = h->viewer;
    if (v->rounds == 0)
        return now(h);
    bool calm = peers_up(v) > 0 || (!v->missed && (meeting(v) || tun_search_current(h) > 0));
    return cv_usec_add(v->round_ended_at, calm ? others_pause(h) : v->search_pause);
}

static void settle_state(struct tun_hidden *h) {
    struct tun_viewer *v = h->viewer;
    enum tun_hidden_state state;
    if (peers_up(v) > 0)
        state = TUN_HIDDEN_MET;
    else if (meeting(v))
        state = TUN_HIDDEN_MEETING;
    else if (v->searching)
        state = v->search[0].sent || v->search[1].sent || v->rounds > 1 ? TUN_HIDDEN_SEARCHING
                                                                        : TUN_HIDDEN_WAITING;
    else
        state = TUN_HIDDEN_NOBODY;
    /* Searching again and again for somebody is one state to the node. */
    if (state == TUN_HIDDEN_SEARCHING && h->info.state == TUN_HIDDEN_NOBODY)
        return;
    tun_hidden_set_state(h, state);
}

void tun_search_work(struct tun_hidden *h) {
    struct tun_viewer *v = h->viewer;
    if (v->searching) {
        search_step(h, &v->search[0]);
        search_step(h, &v->search[1]);
        if (!v->search[0].active && !v->search[1].active)
            round_end(h);
    }
    settle_state(h);
    if (v->searching)
        return;

    cv_usec due = round_due(h);
    if (due <= now(h))
        round_begin(h);
    tun_hidden_by(h, v->searching ? now(h) : due > now(h) ? due : cv_usec_add(now(h), CV_SEC(1)));
}

void tun_search_done(struct tun_hidden *h) {
    search_end(&h->viewer->search[0]);
    search_end(&h->viewer->search[1]);
}
