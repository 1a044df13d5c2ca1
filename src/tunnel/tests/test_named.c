/*
 * Contacts that peers name (named.c), in a village of eight relays whose DHT keeps nothing
 * from some moment on. What message 14 carries is handed over by the test.
 */
#include "support/suite.h"
#include "tunnel/hiddenstate.h"
#include "tunnel/tests/village.h"

CV_SUITE(tun_named);

static const struct sim_path near = {.delay = CV_MSEC(1)};

static struct village *eight(uint64_t seed) {
    struct village *v = village_new(&(struct sim_config){.seed = seed}, 8);
    sim_path_default(v->w->sim, &near);
    world_run(v->w, CV_SEC(3));
    return v;
}

/* Nothing is found any more, and nothing is kept that is said to be. */
static void censor(struct village *v) {
    for (unsigned i = 0; i < 8; i++)
        v->manner[i] = VILLAGE_CENSOR;
}

static struct tun_hidden_info info(struct village *v, unsigned node, cv_handle handle) {
    struct tun_hidden_info i;
    cr_assert_eq(tun_hidden_info(v->w->node[node].t, handle, &i), CV_ERR_OK);
    return i;
}

/* One end of a way between two nodes, as each of them sees it. */
struct way {
    unsigned near, far;
    struct cv_endpoint here, there;
};

/* The i-th way of a swarm at `node`; the other end is at `far`. */
static struct way way(struct village *v, unsigned node, cv_handle handle, unsigned i,
                      unsigned far) {
    static uint8_t mark;
    struct way w = {.near = node, .far = far};
    const uint8_t text[3] = {'w', 'x', ++mark};
    unsigned k = i;
    for (unsigned p = 0; p < v->peers; p++)
        if (v->peer[p].up && v->peer[p].node == node && v->peer[p].hidden == handle && k-- == 0)
            w.here = v->peer[p].endpoint;
    cr_assert_eq(village_say(v, node, handle, i, text, sizeof text), CV_ERR_OK);
    world_run(v->w, CV_SEC(1));
    struct world_event *e;
    for (unsigned n = 0; (e = world_find(v->w, far, TUN_EVENT_DATAGRAM, n)) != NULL; n++)
        if (e->ev.datagram.len == sizeof text && memcmp(e->octets, text, sizeof text) == 0)
            w.there = e->ev.datagram.from;
    cr_assert_eq(w.there.kind, CV_ENDPOINT_CIRCUIT, "nothing arrived");
    return w;
}

static struct way turned(struct way w) {
    return (struct way){.near = w.far, .far = w.near, .here = w.there, .there = w.here};
}

/* What the near end tells. */
static unsigned asked(struct village *v, struct way w, struct tun_named ret[TUN_TELL_CONTACTS]) {
    struct cv_now now = world_now(v->w, w.near);
    return tun_hidden_tell(v->w->node[w.near].t, &now, &w.here, ret);
}

static void say(struct village *v, struct way w, uint32_t period, const uint8_t *contact,
                size_t len) {
    struct cv_now now = world_now(v->w, w.far);
    tun_hidden_told(v->w->node[w.far].t, &now, &w.there, period, contact, len);
    sim_touch(v->w->sim, w.far);
}

/* The far end asks, the near end answers: so many contacts. */
static unsigned exchange(struct village *v, struct way w) {
    struct tun_named named[TUN_TELL_CONTACTS];
    unsigned n = asked(v, w, named);
    for (unsigned i = 0; i < n; i++)
        say(v, w, named[i].period, named[i].contact, TUN_CONTACT);
    return n;
}

static unsigned of_service(const struct tun_named *named, unsigned n,
                           const struct tun_hidden *seeder) {
    unsigned k = 0;
    for (unsigned i = 0; i < n; i++) {
        struct tun_contact c;
        tun_contact_read(&c, named[i].contact);
        k += memcmp(c.service, seeder->seeder->now.service_secret.public_key, CV_KEY) == 0;
    }
    return k;
}

/* A seeder, and viewers that met it both ways before the DHT forgot. */
struct film {
    struct village *v;
    unsigned seeder, viewer[3];
    cv_handle share, view[3], also[3];
};

static struct film film(uint64_t seed, unsigned viewers) {
    struct film f = {.v = eight(seed)};
    f.seeder = village_client(f.v);
    f.share = village_share(f.v, f.seeder, "film", false);
    world_run(f.v->w, CV_SEC(4));
    for (unsigned i = 0; i < viewers; i++) {
        f.viewer[i] = village_client(f.v);
        f.view[i] = village_view(f.v, f.viewer[i], "film");
        cr_assert(village_meet(f.v, f.viewer[i], f.view[i], 2, CV_SEC(30)), "seed %lu", seed);
    }
    censor(f.v);
    return f;
}

static void shares(struct film *f, unsigned i) {
    f->also[i] = village_share(f->v, f->viewer[i], "film", true);
    world_run(f->v->w, CV_SEC(4));
    cr_assert_geq(info(f->v, f->viewer[i], f->also[i]).points, 1);
}

/* ---- what it is for ---- */

Test(tun_named, viewers_whom_no_slot_shows_find_each_other_and_outlive_the_seeder) {
    for (uint64_t seed = 1; seed <= 3; seed++) {
        struct film f = film(seed, 2);
        unsigned items = f.v->items;
        shares(&f, 0);
        cr_expect_eq(f.v->items, items, "no slot shows it");
        cr_expect_geq(exchange(f.v, way(f.v, f.viewer[0], f.view[0], 0, f.seeder)), 1);
        cr_expect_geq(exchange(f.v, turned(way(f.v, f.viewer[1], f.view[1], 0, f.seeder))), 2);
        cr_expect(village_meet(f.v, f.viewer[1], f.view[1], 3, CV_SEC(20)), "seed %lu: %u", seed,
                  village_up(f.v, f.viewer[1], f.view[1]));
        world_run(f.v->w, CV_SEC(1));
        cr_expect_geq(village_up(f.v, f.viewer[0], f.also[0]), 1);
        sim_crash(f.v->w->sim, f.seeder);
        for (unsigned i = 0; i < 300; i++) {
            for (unsigned k = 0; k < 4; k++)
                (void)village_say(f.v, f.viewer[1], f.view[1], k, "more", 4);
            world_run(f.v->w, CV_MSEC(100));
        }
        cr_expect_eq(village_up(f.v, f.viewer[1], f.view[1]), 1, "seed %lu: the other viewer",
                     seed);
        village_free(f.v);
    }
}

/* ---- what is told ---- */

Test(tun_named, who_visits_says_where_it_is_itself_and_nothing_else) {
    struct film f = film(11, 2);
    struct tun_named named[TUN_TELL_CONTACTS];
    struct way w = way(f.v, f.viewer[0], f.view[0], 0, f.seeder);
    cr_expect_eq(asked(f.v, w, named), 0, "it does not share");
    shares(&f, 0);
    w = way(f.v, f.viewer[0], f.view[0], 0, f.seeder);
    unsigned n = asked(f.v, w, named);
    cr_expect_eq(n, TUN_INTRO_POINTS);
    cr_expect_eq(of_service(named, n, village_hidden(f.v, f.viewer[0], f.also[0])), n);
    village_free(f.v);
}

Test(tun_named, who_is_visited_names_others_but_nobody_to_himself_and_nobody_who_was_silent) {
    struct film f = film(12, 3);
    struct tun_named named[TUN_TELL_CONTACTS];
    struct way ways[3];
    for (unsigned i = 0; i < 2; i++) {
        shares(&f, i);
        for (unsigned k = 0; k < 2; k++) /* each of its ways says it */
            cr_expect_geq(exchange(f.v, way(f.v, f.viewer[i], f.view[i], k, f.seeder)), 1);
    }
    const struct tun_hidden *seeder = village_hidden(f.v, f.seeder, f.share);
    for (unsigned i = 0; i < 3; i++) {
        ways[i] = turned(way(f.v, f.viewer[i], f.view[i], 0, f.seeder));
        unsigned n = asked(f.v, ways[i], named);
        cr_expect_eq(of_service(named, n, seeder), TUN_INTRO_POINTS);
        for (unsigned k = 0; k < 2; k++) {
            unsigned of = of_service(named, n, village_hidden(f.v, f.viewer[k], f.also[k]));
            cr_expect(k == i ? of == 0 : of >= 1, "viewer %u hears %u of viewer %u", i, of, k);
        }
    }
    for (unsigned i = 0; i < 61; i++) {
        world_run(f.v->w, CV_SEC(1));
        for (unsigned k = 0; k < 2; k++)
            (void)village_say(f.v, f.viewer[0], f.view[0], k, "more", 4);
    }
    unsigned n = asked(f.v, ways[2], named);
    cr_expect_geq(of_service(named, n, village_hidden(f.v, f.viewer[0], f.also[0])), 1);
    cr_expect_eq(of_service(named, n, village_hidden(f.v, f.viewer[1], f.also[1])), 0,
                 "silent for a minute");
    for (unsigned i = 0; i < seeder->seeder->joins_max; i++)
        for (unsigned k = 0; k < seeder->seeder->join[i].saids; k++)
            seeder->seeder->join[i].said[k].expiry = (uint32_t)world_now(f.v->w, f.seeder).wall;
    n = asked(f.v, ways[2], named);
    cr_expect_eq(of_service(named, n, village_hidden(f.v, f.viewer[0], f.also[0])), 0, "over");
    village_free(f.v);
}

/* A viewer that shares names the seeder that it met, for as long as it hears of it. */
Test(tun_named, who_views_and_shares_names_whom_it_met) {
    struct film f = film(13, 2);
    struct tun_named named[TUN_TELL_CONTACTS];
    shares(&f, 0);
    (void)exchange(f.v, way(f.v, f.viewer[0], f.view[0], 0, f.seeder));
    (void)exchange(f.v, turned(way(f.v, f.viewer[1], f.view[1], 0, f.seeder)));
    cr_assert(village_meet(f.v, f.viewer[1], f.view[1], 3, CV_SEC(20)));
    cr_assert_eq(village_say(f.v, f.seeder, f.share, 0, "a", 1), CV_ERR_OK);
    cr_assert_eq(village_say(f.v, f.seeder, f.share, 1, "b", 1), CV_ERR_OK);
    struct way w = turned(way(f.v, f.viewer[1], f.view[1], 2, f.viewer[0]));
    unsigned n = asked(f.v, w, named);
    cr_expect_eq(of_service(named, n, village_hidden(f.v, f.viewer[0], f.also[0])),
                 TUN_INTRO_POINTS);
    cr_expect_geq(of_service(named, n, village_hidden(f.v, f.seeder, f.share)), 1);
    /* They stay together for longer than the point through which they met is there. */
    for (unsigned i = 0; i < TUN_MEETINGS_MAX; i++)
        village_hidden(f.v, f.viewer[0], f.view[0])->viewer->meet[i].contact.expiry =
            (uint32_t)world_now(f.v->w, f.viewer[0]).wall;
    n = asked(f.v, w, named);
    cr_expect_eq(of_service(named, n, village_hidden(f.v, f.seeder, f.share)), 0, "over");
    village_free(f.v);
}

/* ---- what may be said ---- */

static struct tun_contact nonsense(struct village *v, unsigned node, uint8_t k) {
    struct tun_contact c = {.expiry = (uint32_t)world_now(v->w, node).wall + 3600};
    struct tun_relay *r = tun_directory_find_now(tun_client_directory(v->w->node[node].t),
                                                 v->w->node[k % 8].identity_secret.public_key,
                                                 world_now(v->w, node).wall);
    cr_assert_not_null(r);
    memcpy(c.ip, r->desc.identity, CV_KEY);
    memcpy(c.d, r->desc.digest, sizeof c.d);
    memset(c.auth, k, CV_KEY);
    memset(c.service, k, CV_KEY);
    return c;
}

Test(tun_named, what_cannot_be_is_counted_and_nothing_else) {
    struct film f = film(21, 1);
    struct way w = turned(way(f.v, f.viewer[0], f.view[0], 0, f.seeder));
    shares(&f, 0);
    const struct tun_hidden *h = village_hidden(f.v, f.viewer[0], f.view[0]);
    int64_t wall = world_now(f.v->w, f.viewer[0]).wall;
    uint32_t period = tun_swarm_period(&h->swarm_secret, wall);
    struct tun_contact good = nonsense(f.v, f.viewer[0], 3), own[TUN_INTRO_POINTS];
    cr_assert_geq(
        tun_seeder_contacts(village_hidden(f.v, f.viewer[0], f.also[0]), own, TUN_INTRO_POINTS), 1);
    const struct row {
        const char *name;
        struct tun_contact c;
        uint32_t period;
        size_t len;
        int64_t expiry;
        bool believed;
    } rows[] = {
        {"too short", good, period, TUN_CONTACT - 1, 0, false},
        {"nothing", good, period, 0, 0, false},
        {"a slot value's length", good, period, 128, 0, false},
        {"yesterday's", good, period - 1, TUN_CONTACT, 0, false},
        {"tomorrow's", good, period + 1, TUN_CONTACT, 0, false},
        {"expired", good, period, TUN_CONTACT, wall - 2 * TUN_CLOCK_OFF_S, false},
        {"too long a life", good, period, TUN_CONTACT, wall + TUN_CONTACT_LIFE_MAX_S + 5, false},
        {"ourselves", own[0], period, TUN_CONTACT, 0, false},
        {"right", good, period, TUN_CONTACT, 0, true},
    };
    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint8_t octets[128] = {0};
        struct tun_contact c = rows[i].c;
        if (rows[i].expiry)
            c.expiry = (uint32_t)rows[i].expiry;
        tun_contact_write(octets, &c);
        unsigned knowns = h->viewer->knowns, misnamed = h->info.misnamed;
        say(f.v, w, rows[i].period, octets, rows[i].len);
        cr_expect_eq(h->viewer->knowns - knowns, rows[i].believed, "%s", rows[i].name);
        cr_expect_eq(h->info.misnamed - misnamed, !rows[i].believed, "%s", rows[i].name);
    }
    /* nor does it matter from where */
    struct cv_now now = world_now(f.v->w, f.viewer[0]);
    struct cv_endpoint nobody = cv_endpoint_circuit(12345, 0);
    uint8_t octets[TUN_CONTACT];
    struct tun_named named[TUN_TELL_CONTACTS];
    tun_contact_write(octets, &good);
    tun_hidden_told(f.v->w->node[f.viewer[0]].t, &now, &nobody, period, octets, TUN_CONTACT);
    cr_expect_eq(tun_hidden_tell(f.v->w->node[f.viewer[0]].t, &now, &nobody, named), 0);
    village_free(f.v);
}

/* A visitor says it of one self at a time; older words of the same one make room. */
Test(tun_named, a_visitor_has_one_self) {
    struct film f = film(22, 1);
    struct way w = way(f.v, f.viewer[0], f.view[0], 0, f.seeder);
    const struct tun_hidden *h = village_hidden(f.v, f.seeder, f.share);
    uint32_t period = h->seeder->now.keys.period;
    const struct tun_join *j = NULL;
    static const uint8_t service[] = {3, 3, 3, 3, 4, 5, 5};
    static const unsigned kept[] = {1, 2, 2, 2, 1, 1, 2};
    for (unsigned i = 0; i < sizeof service; i++) {
        struct tun_contact c = nonsense(f.v, f.seeder, (uint8_t)(10 + i % 3));
        uint8_t octets[TUN_CONTACT];
        memset(c.service, service[i], CV_KEY);
        tun_contact_write(octets, &c);
        say(f.v, w, period, octets, sizeof octets);
        for (unsigned k = 0; k < h->seeder->joins_max; k++)
            if (h->seeder->join[k].saids)
                j = &h->seeder->join[k];
        cr_assert_not_null(j);
        cr_expect_eq(j->saids, kept[i], "word %u", i);
        cr_expect_eq(j->said[j->saids - 1].service[0], service[i], "the newest");
    }
    village_free(f.v);
}

/* ---- hostile namers ---- */

static unsigned meetings(const struct tun_hidden *h, bool named) {
    unsigned n = 0;
    for (unsigned i = 0; i < TUN_MEETINGS_MAX; i++) {
        const struct tun_meet *m = &h->viewer->meet[i];
        n += m->state != TUN_MEET_IDLE && m->named == named;
    }
    return n;
}

static unsigned from_slots(const struct tun_hidden *h) {
    return h->viewer->knowns - h->viewer->named;
}

/* The only peer, the seeder itself, names nonsense at existing relays as fast as it can:
 * the ways to it stay, what the slots said stays, few meetings are tried in vain. */
Test(tun_named, who_names_nonsense_costs_a_few_meetings_in_vain) {
    struct film f = film(31, 1);
    struct way w = turned(way(f.v, f.viewer[0], f.view[0], 0, f.seeder));
    const struct tun_hidden *h = village_hidden(f.v, f.viewer[0], f.view[0]);
    uint32_t period = h->viewer->meet[0].period;
    unsigned slots = from_slots(h), begun = 0, was = 0;
    cr_assert_geq(slots, 1);
    for (unsigned i = 0; i < 240; i++) {
        uint8_t octets[TUN_CONTACT];
        struct tun_contact c = nonsense(f.v, f.viewer[0], (uint8_t)(100 + i % 150));
        tun_contact_write(octets, &c);
        say(f.v, w, period, octets, sizeof octets);
        for (unsigned k = 0; k < 2; k++)
            (void)village_say(f.v, f.viewer[0], f.view[0], k, "more", 4);
        world_run(f.v->w, CV_SEC(1));
        unsigned named = meetings(h, true);
        begun += named > was ? named - was : 0;
        was = named;
        cr_expect_leq(named, TUN_NAMED_MEETINGS);
        cr_expect_leq(h->viewer->named, TUN_NAMED_OF_ONE);
        cr_assert_geq(village_up(f.v, f.viewer[0], f.view[0]), 2, "after %u s", i);
    }
    cr_expect_eq(from_slots(h), slots);
    uint8_t misled = 0;
    for (unsigned i = 0; i < TUN_MEETINGS_MAX; i++)
        misled = h->viewer->meet[i].misled > misled ? h->viewer->meet[i].misled : misled;
    cr_expect_eq(misled, TUN_MISLED_MAX);
    cr_expect_geq(h->info.misnamed, 100, "most of it was not listened to");
    unsigned misnamed = h->info.misnamed;
    uint8_t octets[TUN_CONTACT];
    struct tun_contact c = nonsense(f.v, f.viewer[0], 255);
    tun_contact_write(octets, &c);
    say(f.v, w, period, octets, sizeof octets);
    cr_expect_eq(h->info.misnamed, misnamed + 1, "nobody listens any more");
    cr_expect_leq(begun, TUN_MISLED_MAX + TUN_NAMED_OF_ONE * TUN_NAMED_FAILS, "%u meetings begun",
                  begun);
    village_free(f.v);
}

/* Made-up names of made-up peers, in a viewer that knows contacts from slots. */
Test(tun_named, places_are_shared_and_slots_have_their_own) {
    struct film f = film(32, 1);
    struct tun_hidden *h = village_hidden(f.v, f.viewer[0], f.view[0]);
    struct tun_viewer *v = h->viewer;
    uint32_t period = v->meet[0].period;
    unsigned slots = from_slots(h);
    uint8_t k = 50;
    for (cv_handle namer = 1; namer <= 4; namer++) {
        for (unsigned i = 0; i < TUN_NAMED_OF_ONE; i++) {
            struct tun_contact c = nonsense(f.v, f.viewer[0], k++);
            cr_expect(tun_search_named(h, &c, period, 0, namer));
        }
        /* there is room, but not for more of one peer */
        struct tun_contact more = nonsense(f.v, f.viewer[0], k++);
        (void)tun_search_named(h, &more, period, 0, namer);
        cr_expect_eq(v->named, namer * TUN_NAMED_OF_ONE);
    }
    cr_expect_eq(v->named, TUN_NAMED_CONTACTS_MAX);
    /* a fifth peer gets places, at the cost of those that have most; never more than they */
    for (unsigned i = 0; i < 20; i++) {
        struct tun_contact c = nonsense(f.v, f.viewer[0], k++);
        (void)tun_search_named(h, &c, period, 0, 5);
    }
    unsigned count[6] = {0};
    for (unsigned i = 0; i < v->knowns; i++)
        count[v->known[i].namer]++;
    cr_expect_eq(v->named, TUN_NAMED_CONTACTS_MAX);
    cr_expect_eq(count[0], slots, "slots keep theirs");
    cr_expect_eq(count[5], TUN_NAMED_OF_ONE);
    for (unsigned i = 1; i < 5; i++)
        cr_expect_geq(count[i], 2, "peer %u has %u", i, count[i]);
    /* one place each: whoever comes then is not heard at somebody else's cost */
    for (cv_handle namer = 6; namer <= 40; namer++) {
        struct tun_contact c = nonsense(f.v, f.viewer[0], k++);
        (void)tun_search_named(h, &c, period, 0, namer);
    }
    for (unsigned i = 0; i < v->knowns; i++)
        for (unsigned j = 0; v->known[i].namer && j < i; j++)
            cr_expect_neq(v->known[i].namer, v->known[j].namer);
    cr_expect_eq(v->named, TUN_NAMED_CONTACTS_MAX);
    /* nor a second one of theirs at the cost of what the slots said */
    for (unsigned i = 0; i < v->knowns; i++)
        if (v->known[i].namer) {
            struct tun_contact c = nonsense(f.v, f.viewer[0], k++);
            cr_expect_not(tun_search_named(h, &c, period, 0, v->known[i].namer));
        }
    cr_expect_eq(from_slots(h), slots);
    unsigned slots_now = 0;
    for (unsigned i = 0; i < v->knowns; i++)
        slots_now += v->known[i].namer == 0;
    cr_expect_eq(slots_now, slots);
    village_free(f.v);
}

/* What a seeder does not say any more is not learnt from others, and what a slot says is
 * not a peer's word any more. */
Test(tun_named, the_slots_and_the_seeder_itself_know_better) {
    struct film f = film(33, 1);
    struct tun_hidden *h = village_hidden(f.v, f.viewer[0], f.view[0]);
    struct tun_viewer *v = h->viewer;
    struct tun_contact c = v->known[0].contact;
    unsigned knowns = v->knowns;
    cr_expect(tun_search_named(h, &c, v->known[0].period, 0, 7), "known");
    cr_expect_eq(v->knowns, knowns);
    memset(c.auth, 9, CV_KEY);
    cr_expect_not(tun_search_named(h, &c, v->known[0].period, 0, 7), "others, of an old time");
    cr_expect(tun_search_named(h, &c, v->known[0].period, h->all->now.wall, 7), "it says so");
    cr_expect_eq(v->named, 1);
    village_free(f.v);
}

/* Near a turn a seeder speaks of itself under its key of the other period. */
Test(tun_named, a_seeder_that_names_its_next_key_is_nobody_new) {
    struct film f = film(35, 1);
    struct tun_hidden *h = village_hidden(f.v, f.viewer[0], f.view[0]);
    struct tun_viewer *v = h->viewer;
    struct tun_contact c = v->known[0].contact;
    uint32_t next = v->known[0].period + 1;
    for (uint8_t others = 0; others < 2; others++) {
        memset(c.service, 9 + others, CV_KEY);
        cr_assert(tun_search_named(h, &c, next, 0, 7));
        world_run(f.v->w, CV_SEC(20));
        unsigned tried = 0;
        for (unsigned i = 0; i < v->knowns; i++)
            tried += v->known[i].namer == 7 && v->known[i].fails > 0;
        cr_expect_eq(tried > 0, others > 0, "%u of %u are tried", tried, others + 1u);
    }
    village_free(f.v);
}

/* Five sharers are named, and the seeder has two ways: the named get half of the places. */
Test(tun_named, no_more_than_half_of_the_meetings_are_with_the_named) {
    struct film f = film(34, 1);
    struct tun_hidden *h = village_hidden(f.v, f.viewer[0], f.view[0]);
    unsigned sharer[5];
    cv_handle share[5];
    for (unsigned i = 0; i < 5; i++) {
        sharer[i] = village_client(f.v);
        share[i] = village_share(f.v, sharer[i], "film", true);
    }
    world_run(f.v->w, CV_SEC(5));
    struct way w = turned(way(f.v, f.viewer[0], f.view[0], 0, f.seeder));
    unsigned most = 0;
    for (unsigned i = 0; i < 60; i++) {
        struct tun_contact c[TUN_INTRO_POINTS];
        uint8_t octets[TUN_CONTACT];
        if (tun_seeder_contacts(village_hidden(f.v, sharer[i % 5], share[i % 5]), c, 1) == 1) {
            tun_contact_write(octets, &c[0]);
            say(f.v, w, h->viewer->meet[0].period, octets, sizeof octets);
        }
        for (unsigned k = 0; k < 4; k++)
            (void)village_say(f.v, f.viewer[0], f.view[0], k, "more", 4);
        world_run(f.v->w, CV_SEC(1));
        cr_expect_leq(meetings(h, true), TUN_NAMED_MEETINGS);
        unsigned up = village_up(f.v, f.viewer[0], f.view[0]);
        most = up > most ? up : most;
    }
    cr_expect_eq(most, 2 + TUN_NAMED_MEETINGS);
    cr_expect_eq(meetings(h, false), 2);
    /* nor when nobody else is left: the other places go on looking for whom the slots show */
    sim_crash(f.v->w->sim, f.seeder);
    for (unsigned i = 0; i < 60; i++) {
        for (unsigned k = 0; k < 4; k++)
            (void)village_say(f.v, f.viewer[0], f.view[0], k, "more", 4);
        world_run(f.v->w, CV_SEC(1));
        cr_expect_leq(meetings(h, true), TUN_NAMED_MEETINGS);
    }
    cr_expect_geq(village_up(f.v, f.viewer[0], f.view[0]), 1);
    village_free(f.v);
}
