/*
 * What costs nothing to send: junk, handshakes, CREATEs, introductions, and circuits
 * that say just enough to be kept. Each of them at a relay with a stream going
 * through it; what the relay holds afterwards is counted, piece by piece, and the
 * stream is still there.
 */
#include "crypto/rng_seeded.h"
#include "support/suite.h"
#include "tunnel/tests/world.h"

CV_SUITE(tun_floods);

enum { RELAY, FAR, STREAM, FLOODER, HOPS_MAX = 300, LINKS_MAX = 64, QUEUE = 2 << 20 };

struct scene {
    struct world *w;
    cv_handle stream;
    unsigned sent;
    struct cv_rng_seeded seed;
    struct cv_rng rng;
};

static void begin_with(struct scene *s, const struct tun_config *relay) {
    *s = (struct scene){.w = world_new(&(struct sim_config){.seed = 1})};
    world_relay(s->w, relay);
    world_relay(s->w, NULL);
    world_client(s->w, NULL);
    world_client(s->w, NULL);
    sim_path_default(s->w->sim, &(struct sim_path){.delay = CV_MSEC(5)});
    s->w->node[FAR].on_event = world_echo;
    s->stream = world_circuit(s->w, STREAM, (const unsigned[]){RELAY, FAR}, 2);
    cr_assert_neq(s->stream, 0);
    world_request(s->w, STREAM, s->stream, TUN_CMD_OPEN, "\x01\0a", 3);
    world_run(s->w, CV_SEC(1));
    cv_rng_seeded_init(&s->seed, 3);
    s->rng = cv_rng_seeded(&s->seed);
}

static void begin(struct scene *s) {
    struct tun_config tight = {
        .gate = true, .hops_max = HOPS_MAX, .links_max = LINKS_MAX, .queue_octets_max = QUEUE};
    begin_with(s, &tight);
}

static void stream(struct scene *s) {
    cr_assert_eq(world_send(s->w, STREAM, s->stream, "x", 1), CV_ERR_OK);
    s->sent++;
}

static void is_sound(const struct tun_crowd *c, const char *what) {
    cr_expect(c->count <= c->cap && (c->count ? c->cap <= 4 || c->cap < 4 * c->count : !c->v),
              "%s: %u of %u", what, c->count, c->cap);
    for (uint32_t i = 0; i < c->count; i++)
        cr_expect_eq(c->v[i]->at, i + 1, "%s: %u of %u", what, i, c->count);
    cr_expect_eq(cv_timer_queued(&c->rank), c->count > 0, "%s", what);
}

/* What places are given by (places.c), counted anew. */
static void are_counted(struct tunnel *t, const char *what) {
    struct tun_netgroup *g;
    void *of_groups = NULL;
    uint32_t all = 0, all_halves = 0;
    while ((g = cv_map_next(t->netgroups, &of_groups, NULL)) != NULL) {
        uint32_t links = 0, guests = 0, hops = 0, halves = 0, listed = 0, cursor = 0;
        struct tun_link *l;
        struct tun_hop *h;
        while ((l = tun_handles_next(&t->links, &cursor)) != NULL) {
            links += (l->netgroup == g) + (l->counted == g);
            guests += l->counted == g && !l->ours && l->state != TUN_STATE_ANSWERED;
            halves += l->netgroup == g && l->state == TUN_STATE_ANSWERED;
        }
        TAILQ_FOREACH(l, &g->halves, place_entry)
        listed++;
        cr_expect(g->half_count == halves && listed == halves &&
                      cv_timer_queued(&g->fullness) == (halves > 0),
                  "%s: %u half-open are counted as %u, %u", what, halves, g->half_count, listed);
        cursor = 0;
        while ((h = tun_handles_next(&t->hops, &cursor)) != NULL)
            hops += h->prev.link->counted == g;
        cr_expect(g->refs == links && g->guests.count == guests && g->hops.count == hops,
                  "%s: %u, %u, %u are counted as %u, %u, %u", what, links, guests, hops, g->refs,
                  g->guests.count, g->hops.count);
        is_sound(&g->guests, what);
        is_sound(&g->hops, what);
        all += guests;
        all_halves += halves;
    }
    cr_expect(t->guests == all && t->halves == all_halves, "%s", what);
    cr_expect_leq(cv_map_count(t->guest_addrs), all, "%s", what);
}

/* Everything at the relay that a stranger can make grow. */
static void is_bounded(struct scene *s, const char *what) {
    struct tunnel *t = s->w->node[RELAY].t;
    cr_expect_leq(t->links.count - t->halves, LINKS_MAX, "%s", what);
    cr_expect_leq(t->hops.count, HOPS_MAX, "%s", what);
    cr_expect_leq(t->halves, TUN_HALF_OPEN_MAX, "%s", what);
    cr_expect_leq(tun_rxindex_count(t->rx), LINKS_MAX * (TUN_SPARES + 4) + t->halves, "%s", what);
    cr_expect_leq((uint64_t)t->sched.blocks_used * 64 * sizeof(struct tun_cell), QUEUE, "%s", what);
    cr_expect_leq(t->memo_octets, (uint64_t)HOPS_MAX * TUN_MEMOS_MAX * TUN_DATAGRAM, "%s", what);
    cr_expect_leq(cv_map_count(t->intros) + cv_map_count(t->cookies), HOPS_MAX, "%s", what);
    are_counted(t, what);
}

static void end(struct scene *s, const char *what) {
    is_bounded(s, what);
    world_run(s->w, CV_SEC(2));
    cr_expect_eq(s->w->node[STREAM].datagrams, s->sent, "%s: %lu of %u came back", what,
                 s->w->node[STREAM].datagrams, s->sent);
    world_free(s->w);
}

Test(tun_floods, junk) {
    static struct scene s;
    begin(&s);
    struct tunnel *t = s.w->node[RELAY].t;
    uint32_t links = t->links.count;
    size_t indexes = tun_rxindex_count(t->rx);
    for (unsigned i = 0; i < 20000; i++) {
        uint8_t buf[1400];
        cv_rng_fill(&s.rng, buf, sizeof buf);
        struct cv_addr from = sim_addr(1000 + i % 5000, (uint16_t)(1 + i % 60000));
        if (i % 3 == 0) { /* with an index that exists */
            uint32_t cursor = 0;
            struct cv_wr wr = cv_wr_init(buf, 4);
            cv_wr_le32(&wr,
                       ((struct tun_link *)tun_handles_next(&t->links, &cursor))->now.local_index);
        }
        sim_inject(s.w->sim, &from, &s.w->node[RELAY].addr, buf,
                   i % 7 ? (size_t)TUN_DATAGRAM : i % 1400);
        if (i % 50 == 0) {
            stream(&s);
            world_run(s.w, CV_MSEC(1));
        }
    }
    cr_expect_eq(t->links.count, links);
    cr_expect_eq(tun_rxindex_count(t->rx), indexes);
    end(&s, "junk");
}

Test(tun_floods, handshakes_of_forged_addresses) {
    static struct scene s;
    begin(&s);
    struct tun_relay_ref ref;
    struct tun_linkhs_peer peer;
    world_ref(s.w, RELAY, &ref);
    tun_linkhs_peer_init(&peer, ref.link_key, s.w->node[RELAY].cfg.network_id);
    for (unsigned i = 0; i < 3000; i++) {
        struct tun_linkhs hs;
        uint8_t flight[TUN_DATAGRAM];
        cr_assert_eq(tun_linkhs_create_1(&hs, &peer, i, NULL, &s.rng, flight), CV_ERR_OK);
        tun_linkhs_done(&hs);
        struct cv_addr from = sim_addr(1000 + i, 5000);
        sim_inject(s.w->sim, &from, &s.w->node[RELAY].addr, flight, sizeof flight);
        if (i % 20 == 0) {
            stream(&s);
            is_bounded(&s, "handshakes");
            world_run(s.w, CV_MSEC(1));
        }
    }
    world_run(s.w, CV_SEC(15)); /* half-open ones time out */
    cr_expect_leq(s.w->node[RELAY].t->links.count, 3);
    end(&s, "handshakes");
}

/* CREATE after CREATE over one link, more than there is room for. */
Test(tun_floods, creates) {
    static struct scene s;
    begin(&s);
    unsigned opened = 0;
    for (unsigned round = 0; round < 30; round++) {
        for (unsigned i = 0; i < 60; i++)
            opened += world_open(s.w, FLOODER, (const unsigned[]){RELAY}, 1) != 0;
        stream(&s);
        world_run(s.w, CV_MSEC(500));
        is_bounded(&s, "creates");
    }
    cr_expect_gt(opened, HOPS_MAX);
    cr_expect_gt(tun_counters(s.w->node[RELAY].t)->rate_limited, 0);
    cr_expect_geq(s.w->node[RELAY].t->hops.count, HOPS_MAX - 10, "the table was never full: %u",
                  s.w->node[RELAY].t->hops.count);
    end(&s, "creates");
}

/* ---- handshakes that are never finished ---- */

enum { ATTACKERS_MAX = 50 };

/* Each in a network of its own, where nothing is said beyond the first flight. */
struct attack {
    struct scene s;
    unsigned n, turn, newcomer, slow, framed;
    struct cv_addr from[ATTACKERS_MAX];
    uint8_t flight[ATTACKERS_MAX][TUN_DATAGRAM]; /* it need not be another one each time */
    uint64_t in[ATTACKERS_MAX], out[ATTACKERS_MAX], most;
};

static enum sim_verdict to_attackers(void *ctx, const struct sim_datagram *d) {
    struct attack *a = ctx;
    for (unsigned i = 0; i < a->n; i++) {
        if (!cv_addr_equal(d->to, &a->from[i]))
            continue;
        a->out[i] += d->len;
        if (a->out[i] > a->in[i] && a->out[i] - a->in[i] > a->most)
            a->most = a->out[i] - a->in[i];
    }
    return SIM_PASS;
}

static void first_flight(struct scene *s, const struct cv_addr *from, bool proved, uint8_t *ret) {
    struct tun_relay_ref ref;
    struct tun_linkhs_peer peer;
    struct tun_linkhs hs;
    uint8_t cookie[TUN_COOKIE];
    world_ref(s->w, RELAY, &ref);
    tun_linkhs_peer_init(&peer, ref.link_key, s->w->node[RELAY].cfg.network_id);
    tun_cookie_make(&s->w->node[RELAY].t->jar, from, cookie);
    cr_assert_eq(tun_linkhs_create_1(&hs, &peer, 1, proved ? cookie : NULL, &s->rng, ret),
                 CV_ERR_OK);
    tun_linkhs_done(&hs);
}

/* From addresses that nobody proves. */
static void forge(struct scene *s, struct cv_addr from) {
    uint8_t flight[TUN_DATAGRAM];
    first_flight(s, &from, /* proved= */ false, flight);
    sim_inject(s->w->sim, &from, &s->w->node[RELAY].addr, flight, sizeof flight);
}

static void attack_begin(struct attack *a, unsigned networks) {
    *a = (struct attack){.n = networks};
    struct scene *s = &a->s;
    begin_with(s, &(struct tun_config){.gate = true});
    a->newcomer = world_client(s->w, NULL);
    a->slow = world_client(s->w, NULL);
    a->framed = world_client(s->w, NULL);
    sim_link(s->w->sim, RELAY, a->slow, &(struct sim_path){.delay = CV_MSEC(500)});
    sim_hook(s->w->sim, to_attackers, a);
    for (unsigned i = 0; i < networks; i++) {
        a->from[i] = sim_addr(1000 + i, 5000);
        first_flight(s, &a->from[i], /* proved= */ true, a->flight[i]);
    }
    for (unsigned i = 0; i < TUN_ADMIT_NETWORK_BURST; i++) {
        struct cv_addr claimed = s->w->node[a->framed].addr;
        claimed.ip[3] = (uint8_t)(100 + i);
        forge(s, claimed);
    }
    world_run(s->w, CV_MSEC(100));
    cr_assert_eq(s->w->node[RELAY].t->halves, TUN_ADMIT_NETWORK_BURST);
}

/* Twice what is let in from each. */
static void attack(struct attack *a, cv_usec for_so_long) {
    struct world *w = a->s.w;
    for (cv_usec end = sim_now(w->sim) + for_so_long; sim_now(w->sim) < end;) {
        unsigned i = a->turn++ % a->n;
        a->in[i] += TUN_DATAGRAM;
        sim_inject(w->sim, &a->from[i], &w->node[RELAY].addr, a->flight[i], TUN_DATAGRAM);
        world_run(w, CV_SEC(1) / (2 * TUN_ADMIT_NETWORK_S * a->n));
        cr_assert_leq(w->node[RELAY].t->halves, TUN_HALF_OPEN_MAX);
    }
}

static bool is_ready(struct attack *a, unsigned node, cv_handle circuit) {
    struct tun_circuit_info info;
    return tun_circuit_info(a->s.w->node[node].t, circuit, &info) == CV_ERR_OK && info.ready;
}

/* Places of the attackers' network that has most. */
static unsigned most_of_one(struct attack *a) {
    unsigned most = 0;
    for (unsigned i = 0; i < a->n; i++) {
        struct tun_link *l;
        uint32_t cursor = 0;
        unsigned has = 0;
        while ((l = tun_handles_next(&a->s.w->node[RELAY].t->links, &cursor)) != NULL)
            has += l->state == TUN_STATE_ANSWERED && cv_addr_equal(&l->addr, &a->from[i]);
        most = has > most ? has : most;
    }
    return most;
}

/* Whoever proves an address in each of so many networks has all places of half-open links taken,
 * and of one more network he forges addresses: everybody else has his link nevertheless. */
static void half_open(unsigned networks) {
    static struct attack a;
    attack_begin(&a, networks);
    struct world *w = a.s.w;
    struct tunnel *t = w->node[RELAY].t;
    static const unsigned relay = RELAY;
    attack(&a, CV_SEC(6));
    cr_assert_eq(t->halves, TUN_HALF_OPEN_MAX, "places were left");
    cr_expect_leq(most_of_one(&a), TUN_HALF_OPEN_MAX / networks + 1, "more than a share");
    stream(&a.s);
    cv_handle c = world_open(w, a.newcomer, &relay, 1), slow = world_open(w, a.slow, &relay, 1),
              framed = world_open(w, a.framed, &relay, 1);
    attack(&a, CV_SEC(3));
    cr_assert_eq(t->halves, TUN_HALF_OPEN_MAX, "places were left");
    cr_expect(is_ready(&a, a.newcomer, c), "nothing after 3 s");
    cr_expect(is_ready(&a, a.framed, framed),
              "nothing after 3 s, as others used his network's name");
    are_counted(t, "half-open links");

    /* When there is nothing else to do, either, none is taken by who does not prove his. */
    enum { FORGED = 20 };
    world_run(w, CV_MSEC(300));
    uint64_t displaced = tun_counters(t)->halves_displaced, cookies = tun_counters(t)->cookies_sent;
    for (unsigned i = 0; i < FORGED; i++)
        forge(&a.s, sim_addr(2000 + i, 5000));
    cr_assert_eq(t->halves, TUN_HALF_OPEN_MAX, "places were left");
    world_run(w, CV_MSEC(100));
    cr_expect_eq(tun_counters(t)->cookies_sent, cookies + FORGED);
    cr_expect_eq(tun_counters(t)->halves_displaced, displaced, "forged addresses took places");

    attack(&a, CV_SEC(3));
    cr_expect(is_ready(&a, a.slow, slow), "nothing after 6 s, over a line of a second");
    cr_expect_eq(a.most, 0, "an attacker was sent %lu octets more than came", a.most);
    world_run(w, CV_SEC(15));
    cr_expect_eq(t->halves, 0);
    cr_expect_leq(t->links.count, 5);
    are_counted(t, "half-open links, later");
    cr_expect_eq(w->node[STREAM].datagrams, a.s.sent);
    world_free(w);
}

Test(tun_floods, half_open_links_of_eleven_networks) {
    half_open(11);
}

Test(tun_floods, half_open_links_of_fifty_networks) {
    half_open(ATTACKERS_MAX);
}

/* Takes all the places of links that are left, from one address, or each from a network of its
 * own. */
static void fill_links(struct scene *s, struct cv_addr addr, bool apart) {
    struct tunnel *t = s->w->node[RELAY].t;
    struct cv_now now = world_now(s->w, RELAY);
    for (addr.port = 1; t->guests < LINKS_MAX - LINKS_MAX / TUN_PLACES_OWN_PART; addr.port++) {
        addr.ip[2] = (uint8_t)(addr.ip[2] + apart);
        struct tun_link *l = tun_link_alloc(t, &now, &addr, false);
        cr_assert_not_null(l);
        l->state = TUN_STATE_OPEN;
    }
}

/* One household has all the places of links that there are, a link each. */
Test(tun_floods, links_of_one_network) {
    static struct scene s;
    begin(&s);
    struct world *w = s.w;
    struct tunnel *t = w->node[RELAY].t;
    fill_links(&s, (struct cv_addr){.family = 4, .ip = {203, 0, 113, 1}}, /* apart= */ false);
    uint32_t links = t->links.count;
    unsigned newcomer = world_client(w, NULL);
    stream(&s);
    cr_expect_neq(world_circuit(w, newcomer, (const unsigned[]){RELAY}, 1), 0);
    cr_expect_eq(tun_counters(t)->cookies_sent, 1, "who takes a place proves his address");
    cr_expect_eq(tun_counters(t)->links_displaced, 1);
    cr_expect_eq(t->places_looked_at, TUN_PLACES_DRAWN);
    cr_expect_eq(t->links.count, links);

    /* The relay itself still reaches others, and forged addresses take nothing. */
    unsigned far = world_relay(w, NULL);
    cr_expect_neq(world_circuit(w, STREAM, (const unsigned[]){RELAY, far}, 2), 0);
    uint64_t ended = tun_counters(t)->links_displaced;
    for (unsigned i = 0; i < 40; i++) {
        forge(&s, sim_addr(1000 + 300 * i, 5000));
        world_run(w, CV_MSEC(100));
    }
    cr_expect_eq(tun_counters(t)->links_displaced, ended);
    end(&s, "links");
}

/* Who has a link keeps it by new keys, though its network has most places, or all have one: that
 * takes no place. A link of its own from the same address does. */
static void new_keys(bool apart) {
    static struct scene s;
    begin(&s);
    struct world *w = s.w;
    struct tunnel *t = w->node[RELAY].t;
    struct cv_addr his = w->node[STREAM].addr;
    his.ip[3] = 77;
    fill_links(&s, apart ? (struct cv_addr){.family = 4, .ip = {203, 0, 0, 1}} : his, apart);
    uint32_t guests = t->guests;
    uint64_t before = tun_counters(t)->handshakes_in;
    for (unsigned second = 0; second < 400; second++) {
        stream(&s);
        world_run(w, CV_SEC(1));
        cr_assert_eq(t->guests, guests);
    }
    cr_expect_geq(tun_counters(t)->handshakes_in, before + 3, "no new keys in 400 s");

    struct cv_now now = world_now(w, STREAM);
    struct tun_link *l = world_link(w, STREAM);
    tun_link_fail(w->node[STREAM].t, &now, l, CV_ERR_CLOSED); /* as after a crash */
    before = tun_counters(t)->handshakes_in;
    cr_expect_eq(world_circuit(w, STREAM, (const unsigned[]){RELAY}, 1), 0);
    cr_expect_gt(tun_counters(t)->handshakes_in, before, "it might have been new keys");
    cr_expect_eq(t->guests, guests);
    cr_expect_eq(tun_counters(t)->links_displaced, 0);
    cr_expect_neq(world_circuit(w, STREAM, (const unsigned[]){RELAY}, 1), 0,
                  "the link that the crash left behind was asked in vain");
    cr_expect_eq(t->guests, guests);
    cr_expect_eq(tun_counters(t)->links_displaced, 1);
    is_bounded(&s, "new keys");
    world_free(w);
}

Test(tun_floods, new_keys_need_no_place_of_the_network_with_most) {
    new_keys(/* apart= */ false);
}

Test(tun_floods, new_keys_need_no_place_where_all_have_one) {
    new_keys(/* apart= */ true);
}

/* Nobody has a place more than others. Whoever shares an address with somebody who is there,
 * however quiet, cannot have his place; that of somebody who left, in a moment. */
Test(tun_floods, a_place_that_was_left_is_for_who_comes_from_there) {
    static struct scene s;
    begin(&s);
    struct world *w = s.w;
    struct tunnel *t = w->node[RELAY].t;
    static const unsigned relay = RELAY;
    w->one_machine = true;
    unsigned neighbour = world_client(w, NULL), newcomer = world_client(w, NULL);
    w->one_machine = false;
    unsigned elsewhere = world_client(w, NULL);
    cr_assert_neq(world_circuit(w, neighbour, &relay, 1), 0);
    fill_links(&s, (struct cv_addr){.family = 4, .ip = {203, 0, 0, 1}}, /* apart= */ true);
    uint32_t guests = t->guests;
    for (unsigned i = 0; i < 10; i++) {
        world_run(w, CV_SEC(15));
        cr_expect_eq(world_circuit(w, newcomer, &relay, 1), 0);
        stream(&s);
        if (i == 5) { /* five seconds of bad reception: asked again, it is there */
            (void)world_open(w, newcomer, &relay, 1);
            world_run(w, CV_SEC(2));
            sim_link(w->sim, RELAY, neighbour, &(struct sim_path){.cut = true});
            world_run(w, CV_SEC(5));
            sim_link(w->sim, RELAY, neighbour, &(struct sim_path){.delay = CV_MSEC(5)});
            cr_expect_eq(world_circuit(w, newcomer, &relay, 1), 0);
        }
    }
    cr_expect_eq(world_count(w, neighbour, TUN_EVENT_CIRCUIT_DOWN), 0);
    cr_expect_eq(tun_counters(t)->links_displaced, 0);
    cr_expect_eq(t->guests, guests);
    are_counted(t, "a neighbour");

    world_run(w, CV_SEC(40)); /* he has given up what was not answered */
    sim_crash(w->sim, neighbour);
    cv_usec left = sim_now(w->sim);
    cr_expect_eq(world_circuit(w, elsewhere, &relay, 1), 0);
    cv_handle c = world_circuit(w, newcomer, &relay, 1);
    if (!c)
        c = world_circuit(w, newcomer, &relay, 1);
    cr_expect_neq(c, 0);
    cr_expect_leq(sim_now(w->sim) - left, CV_SEC(25));
    cr_expect_eq(tun_counters(t)->links_displaced, 1);
    cr_expect_eq(t->guests, guests);
    end(&s, "a place that was left");
}

/* Nobody helps a newcomer but he himself: one circuit, and no other after it. Who has a name says
 * it until somebody hears it: a relay that stayed nameless would be nobody's, and a client would
 * have nothing of what it paid for. */
static void waits(bool named) {
    static struct scene s;
    begin(&s);
    struct world *w = s.w;
    struct tunnel *t = w->node[RELAY].t;
    static const unsigned relay = RELAY;
    static struct cv_ed25519_secret account_secret;
    cv_ed25519_from_seed(&account_secret, (const uint8_t[CV_KEY]){9});
    w->one_machine = true;
    unsigned neighbour = world_client(w, NULL),
             newcomer =
                 world_client(w, &(struct tun_config){.identity = named ? &account_secret : NULL});
    w->one_machine = false;
    cr_assert_neq(world_circuit(w, neighbour, &relay, 1), 0);
    fill_links(&s, (struct cv_addr){.family = 4, .ip = {203, 0, 0, 1}}, /* apart= */ true);
    sim_crash(w->sim, neighbour);
    world_run(w, CV_SEC(2));
    (void)world_open(w, newcomer, &relay, 1);
    world_run(w, CV_SEC(16));
    cr_expect_eq(tun_counters(t)->links_displaced, 1);
    unsigned places = 0;
    uint32_t cursor = 0;
    const struct tun_link *l;
    while ((l = tun_handles_next(&t->links, &cursor)) != NULL)
        places += l->state == TUN_STATE_OPEN && cv_addr_equal(&l->addr, &w->node[newcomer].addr) &&
                  l->role == (named ? TUN_ROLE_CLIENT : TUN_ROLE_NAMELESS);
    cr_expect_eq(places, 1, "it has no place, or no name");
    cr_expect_eq(t->halves, 0);
    cr_expect_eq(world_link(w, newcomer)->auth_tries, 0, "and says it for ever");
    end(&s, "who waited");
}

Test(tun_floods, who_waited_for_a_place_has_it) {
    waits(/* named= */ false);
}

Test(tun_floods, who_waited_for_a_place_is_known_by_name) {
    waits(/* named= */ true);
}

/* Whose neighbour is there waits in vain, and not for ever, whatever he says meanwhile. */
Test(tun_floods, who_waits_in_vain_is_gone_soon) {
    static struct scene s;
    begin(&s);
    struct world *w = s.w;
    struct tunnel *t = w->node[RELAY].t;
    static const unsigned relay = RELAY;
    w->one_machine = true;
    unsigned neighbour = world_client(w, NULL), newcomer = world_client(w, NULL);
    w->one_machine = false;
    cr_assert_neq(world_circuit(w, neighbour, &relay, 1), 0);
    fill_links(&s, (struct cv_addr){.family = 4, .ip = {203, 0, 0, 1}}, /* apart= */ true);
    world_run(w, CV_SEC(2));
    (void)world_open(w, newcomer, &relay, 1);
    for (unsigned second = 0; second < 17; second++) {
        struct tun_link *l = world_link(w, newcomer);
        if (l->state == TUN_STATE_OPEN)
            tun_link_ask(w->node[newcomer].t, l);
        sim_touch(w->sim, newcomer);
        world_run(w, CV_SEC(1));
        if (second < 13)
            cr_expect_eq(t->halves, 1, "second %u", second);
    }
    cr_expect_eq(t->halves, 0);
    cr_expect_eq(tun_counters(t)->links_displaced, 0);
    end(&s, "in vain");
}

/* All the places of circuits are one client's: others still get some, of those on which
 * nothing goes on, and not more than it has left. */
Test(tun_floods, circuits_of_one_network) {
    static struct scene s;
    begin(&s);
    static cv_handle held[HOPS_MAX];
    struct tunnel *t = s.w->node[RELAY].t;
    unsigned n = 0, other = world_client(s.w, NULL);
    for (unsigned i = 0; i < 2 * HOPS_MAX && t->hops.count < HOPS_MAX; i++) {
        if (n < HOPS_MAX)
            n += (held[n] = world_open(s.w, FLOODER, (const unsigned[]){RELAY}, 1)) != 0;
        world_run(s.w, CV_MSEC(30));
    }
    cr_assert_eq(t->hops.count, HOPS_MAX);
    for (unsigned i = 0; i < 30 * n; i++) /* all of it is in use: who comes late has to wait */
        (void)world_send(s.w, FLOODER, held[i % n], "x", 1);
    world_run(s.w, CV_SEC(5));
    cr_expect_eq(world_open(s.w, other, (const unsigned[]){RELAY}, 1) != 0, true);
    world_run(s.w, CV_SEC(2));
    cr_expect_eq(tun_counters(t)->hops_displaced, 0);
    cr_expect_eq(t->places_looked_at, TUN_PLACES_DRAWN, "not at all of them");

    world_run(s.w, CV_SEC(10));
    unsigned got = 0;
    for (unsigned i = 0; i < HOPS_MAX; i++) {
        stream(&s);
        world_run(s.w, CV_MSEC(30));
        got += world_circuit(s.w, other, (const unsigned[]){RELAY}, 1) != 0;
        if (got < i + 1)
            break;
    }
    is_bounded(&s, "circuits of one");
    uint32_t cursor = 0;
    for (struct tun_link *l; (l = tun_handles_next(&t->links, &cursor)) != NULL;) {
        tun_link_class(t, l->handle, l->class == 0); /* the gate moves them elsewhere, */
        are_counted(t, "another class");
        l->role = l->role == TUN_ROLE_RELAY ? TUN_ROLE_CLIENT : TUN_ROLE_RELAY;
        tun_link_regroup(t, l); /* and so does what they say they are */
        are_counted(t, "another role");
    }
    cr_expect_eq(got, (HOPS_MAX - 1) / 2, "%u: as many as the other is left with", got);
    cr_expect_eq(tun_counters(t)->hops_displaced, got);
    end(&s, "circuits of one");
}

/* Says CREATE over the link of `node` to the relay, for a circuit of its own making. */
static void create(struct scene *s, unsigned node, uint32_t id, const struct tun_create *m) {
    uint8_t body[TUN_CONTROL_MAX];
    struct cv_wr wr = cv_wr_init(body, sizeof body);
    tun_create_write(&wr, m);
    cr_assert_eq(tun_link_control(s->w->node[node].t, world_link(s->w, node), TUN_LINKCMD_CREATE,
                                  id | TUN_CIRCUIT_INITIATOR, body, cv_wr_len(&wr)),
                 CV_ERR_OK);
    sim_touch(s->w->sim, node);
    world_run(s->w, CV_MSEC(30));
}

/* A CREATE has to be a good one before somebody's circuit ends for it. */
Test(tun_floods, creates_that_are_junk_take_no_place) {
    static struct scene s;
    begin(&s);
    struct tunnel *t = s.w->node[RELAY].t;
    unsigned other = world_client(s.w, NULL);
    cr_assert_neq(world_circuit(s.w, other, (const unsigned[]){RELAY}, 1), 0);
    for (unsigned i = 0; i < 2 * HOPS_MAX && t->hops.count < HOPS_MAX; i++) {
        (void)world_open(s.w, FLOODER, (const unsigned[]){RELAY}, 1);
        world_run(s.w, CV_MSEC(30));
    }
    cr_assert_eq(t->hops.count, HOPS_MAX);
    world_run(s.w, CV_SEC(15));
    struct tun_relay_ref ref;
    world_ref(s.w, RELAY, &ref);
    for (unsigned kind = 0; kind < 6; kind++) {
        struct tun_params params = {.suite = TUN_SUITE_CHACHA, .version = TUN_VERSION};
        struct tun_handshake hs;
        uint8_t flight[TUN_FLIGHT1];
        if (kind == 1)
            params.version = 77;
        cr_assert_eq(
            tun_handshake_create_1(&hs, flight, ref.identity, ref.onion_key, &params, &s.rng),
            CV_ERR_OK);
        if (kind == 2) /* a key that nobody has */
            flight[CV_KEY] ^= 1;
        if (kind == 3) /* another point, */
            flight[0] ^= 1;
        if (kind == 4) /* or none */
            memset(flight, 0, CV_KEY);
        struct tun_create m = {.params = {.ttl = kind == 5 ? TUN_TTL_MAX + 1 : TUN_TTL_MIN},
                               .flight = flight,
                               .flight_len = sizeof flight};
        create(&s, other, 100 + kind, &m);
        cr_expect_eq(tun_counters(t)->hops_displaced, 1, "kind %u", kind); /* by the first */
        cr_expect_eq(t->hops.count, HOPS_MAX, "kind %u", kind);
        tun_handshake_done(&hs);
    }
    end(&s, "junk CREATEs");
}

/* All the places are one client's, who says just enough on each circuit to be heard. Others get
 * theirs all the same, and what he really uses is his. */
Test(tun_floods, circuits_that_drip) {
    static struct scene s;
    begin(&s);
    static cv_handle drip[2 * HOPS_MAX];
    enum { USED = 10 };
    struct tunnel *t = s.w->node[RELAY].t;
    unsigned n = 0, got = 0, other = world_client(s.w, NULL);
    for (unsigned i = 0; i < 2 * HOPS_MAX && t->hops.count < HOPS_MAX; i++) {
        drip[n] = world_circuit(s.w, FLOODER, (const unsigned[]){RELAY}, 1);
        n += drip[n] != 0;
    }
    cr_assert_eq(t->hops.count, HOPS_MAX);
    /* it goes on for as long as counting does, several times over */
    for (unsigned half = 0; half < 820; half++) {
        for (unsigned i = 0; i < n; i++)
            if (i < USED || half % 10 == i % 10)
                (void)world_send(s.w, FLOODER, drip[i], "x", 1);
        stream(&s);
        if (half > 500 && half % 2)
            got += world_circuit(s.w, other, (const unsigned[]){RELAY}, 1) != 0;
        world_run(s.w, CV_MSEC(500));
    }
    cr_expect_eq(got, (HOPS_MAX - 1) / 2, "%u: as many as the other is left with", got);
    cr_expect_eq(tun_counters(t)->hops_displaced, got);
    for (unsigned i = 0; i < USED; i++) {
        struct tun_circuit_info info;
        cr_expect_eq(tun_circuit_info(s.w->node[FLOODER].t, drip[i], &info), CV_ERR_OK,
                     "%u was in use", i);
    }
    end(&s, "circuits that drip");
}

/* How many of the flooder's circuits were last heard so long ago, at `since` or before. */
static unsigned silent_since(struct scene *s, cv_usec since) {
    struct tunnel *t = s->w->node[RELAY].t;
    unsigned n = 0;
    uint32_t cursor = 0;
    for (struct tun_hop *h; (h = tun_handles_next(&t->hops, &cursor)) != NULL;)
        n += !h->extended && h->heard_at <= since;
    return n;
}

/* Among all that came over one link, who says something now and then keeps no more than who
 * waits; first go those that no owner holds any more. */
Test(tun_floods, circuits_that_wait_to_be_called) {
    static struct scene s;
    begin(&s);
    struct tunnel *t = s.w->node[RELAY].t;
    unsigned other = world_client(s.w, NULL);
    world_run(s.w, CV_SEC(100));
    for (unsigned i = 0; i < 2 * HOPS_MAX && t->hops.count < HOPS_MAX; i++) {
        (void)world_open(s.w, FLOODER, (const unsigned[]){RELAY}, 1);
        world_run(s.w, CV_MSEC(30));
    }
    cr_assert_eq(t->hops.count, HOPS_MAX);
    cv_usec now = world_now(s.w, RELAY).mono, waits = now - CV_SEC(50), left = now - TUN_PLACE_LEFT;
    unsigned n = 0;
    uint32_t cursor = 0;
    for (struct tun_hop *h; (h = tun_handles_next(&t->hops, &cursor)) != NULL; n += !h->extended)
        if (!h->extended)
            h->heard_at = n < 20 ? left : n % 2 ? waits : now - CV_SEC(15);
    for (unsigned i = 0; i < 20; i++)
        cr_assert_neq(world_circuit(s.w, other, (const unsigned[]){RELAY}, 1), 0);
    cr_expect_leq(silent_since(&s, left), 5, "%u of 20 without an owner", silent_since(&s, left));
    unsigned before = silent_since(&s, waits);
    for (unsigned i = 0; i < 80; i++)
        cr_assert_neq(world_circuit(s.w, other, (const unsigned[]){RELAY}, 1), 0);
    unsigned went = before - silent_since(&s, waits);
    cr_expect(went > 25 && went < 55, "%u of 80 were such that wait", went);
    cr_expect_eq(tun_counters(t)->hops_displaced, 100);
    cr_expect_leq(t->places_looked_at, 100 * TUN_PLACES_DRAWN);
    end(&s, "circuits that wait");
}

/* One authentication key, introduced to as fast as circuits carry. */
Test(tun_floods, introductions) {
    static struct scene s;
    begin(&s);
    struct cv_ed25519_secret auth;
    uint8_t binding[32], body[256] = {0};
    cv_ed25519_from_seed(&auth, (const uint8_t[CV_KEY]){42});
    cv_handle seeder = world_circuit(s.w, STREAM, (const unsigned[]){RELAY}, 1);
    cr_assert_eq(tun_circuit_binding(s.w->node[STREAM].t, seeder, 0, binding), CV_ERR_OK);
    struct tun_establish_intro establish;
    tun_establish_intro_sign(&establish, &auth, binding);
    struct cv_wr wr = cv_wr_init(body, sizeof body);
    tun_establish_intro_write(&wr, &establish);
    world_request(s.w, STREAM, seeder, TUN_CMD_ESTABLISH_INTRO, body + 4, cv_wr_len(&wr) - 4);
    world_run(s.w, CV_SEC(1));
    cr_assert_eq(cv_map_count(s.w->node[RELAY].t->intros), 1);

    cv_handle flooder[4];
    for (unsigned i = 0; i < 4; i++)
        flooder[i] = world_circuit(s.w, FLOODER, (const unsigned[]){RELAY}, 1);
    struct tun_introduce m = {.flight = body + 200, .flight_len = 50};
    memcpy(m.auth_key, auth.public_key, CV_KEY);
    cv_handle other = world_circuit(s.w, STREAM, (const unsigned[]){RELAY}, 1);
    unsigned before = world_count(s.w, STREAM, TUN_EVENT_REPLY), asked = 0;
    enum { SECONDS = 20 };
    for (unsigned ms = 0; ms < SECONDS * 1000; ms += 2) {
        m.transaction = ms;
        wr = cv_wr_init(body, 200);
        tun_introduce_write(&wr, &m);
        struct cv_now now = world_now(s.w, FLOODER);
        (void)tun_circuit_send(s.w->node[FLOODER].t, &now, flooder[ms / 2 % 4], TUN_CMD_INTRODUCE,
                               body, cv_wr_len(&wr));
        sim_touch(s.w->sim, FLOODER);
        if (ms % 200 == 0) {
            stream(&s);
            is_bounded(&s, "introductions");
        }
        if (cv_rng_below(&s.rng, 175) == 0) { /* somebody else, three a second */
            m.transaction = ms + 1;
            body[249] = 1; /* the flight's last octet */
            wr = cv_wr_init(body, 200);
            tun_introduce_write(&wr, &m);
            now = world_now(s.w, STREAM);
            (void)tun_circuit_send(s.w->node[STREAM].t, &now, other, TUN_CMD_INTRODUCE, body,
                                   cv_wr_len(&wr));
            asked++;
            sim_touch(s.w->sim, STREAM);
            body[249] = 0;
        }
        world_run(s.w, CV_MSEC(2));
    }
    unsigned passed = 0, of_other = 0;
    struct world_event *e;
    for (unsigned i = before; (e = world_find(s.w, STREAM, TUN_EVENT_REPLY, i)) != NULL; i++) {
        if (e->ev.reply.command != TUN_CMD_INTRODUCTION)
            continue;
        passed++;
        of_other += e->octets[e->ev.reply.len - 1] == 1;
    }
    cr_expect_geq(passed, SECONDS * TUN_INTRODUCTIONS_S);
    cr_expect_leq(passed, (SECONDS + 1) * TUN_INTRODUCTIONS_S + TUN_INTRODUCTIONS_BURST, "%u",
                  passed);
    /* a hundred times as many do not take it all */
    cr_expect_geq(of_other * 4, asked, "%u of %u", of_other, asked);
    end(&s, "introductions");
}

/* As many circuits as there is room for, each kept by a cell every 120 s: they hold
 * what a circuit at rest holds and nothing else, for as long as somebody pays for
 * it, and the stream that was there stays. */
Test(tun_floods, slow_drip) {
    static struct scene s;
    begin(&s);
    static cv_handle drip[HOPS_MAX];
    unsigned n = 0;
    for (unsigned round = 0; round < 12; round++) {
        for (unsigned i = 0; i < 40 && n < HOPS_MAX; i++)
            drip[n] = world_open(s.w, FLOODER, (const unsigned[]){RELAY}, 1), n += drip[n] != 0;
        world_run(s.w, CV_SEC(1));
    }
    struct tunnel *t = s.w->node[RELAY].t;
    cr_expect_geq(t->hops.count, HOPS_MAX - 2);
    for (unsigned minute = 0; minute < 30; minute += 2) {
        for (unsigned i = 0; i < n; i++)
            (void)world_send(s.w, FLOODER, drip[i], "x", 1);
        stream(&s);
        is_bounded(&s, "slow drip");
        world_run(s.w, CV_SEC(120));
        cr_expect_eq(t->sched.cells_queued, 0);
        cr_expect_eq(t->memo_octets, 0);
    }
    /* nobody pays any more: nothing is left but the stream */
    sim_crash(s.w->sim, FLOODER);
    world_run(s.w, CV_SEC(120));
    cr_expect_eq(t->hops.count, 1);
    cr_expect_eq(t->links.count, 2);
    end(&s, "slow drip");
}
