/*
 * A relay is passed on when others reach it who were not called by it (reach.c): in
 * small networks and large ones, behind a filter, among relays that lie about it, and
 * what it costs an address that never asked. The table of states is below.
 */
#include <stdlib.h>

#include "support/suite.h"
#include "tunnel/clientstate.h"
#include "tunnel/directory.h"
#include "tunnel/link.h"
#include "tunnel/tests/village.h"

CV_SUITE(tun_reach);

static const struct sim_path near = {.delay = CV_MSEC(1)};

static struct village *village(uint64_t seed, unsigned relays) {
    struct village *v = village_new(&(struct sim_config){.seed = seed}, relays);
    sim_path_default(v->w->sim, &near);
    world_run(v->w, CV_SEC(12)); /* nobody is young any more */
    return v;
}

static struct tun_client *client(struct village *v, unsigned node) {
    return tun_attached(v->w->node[node].t, TUN_USER_CLIENT);
}

static const uint8_t *name(struct village *v, unsigned node) {
    return v->w->node[node].identity_secret.public_key;
}

static struct tun_relay *known(struct village *v, unsigned node, unsigned relay) {
    struct cv_now now = world_now(v->w, node);
    return tun_directory_find_now(tun_client_directory(v->w->node[node].t), name(v, relay),
                                  now.wall);
}

/* How many of the first n relays tell others of this one. */
static unsigned passed_by(struct village *v, unsigned n, unsigned relay) {
    unsigned by = 0;
    for (unsigned i = 0; i < n; i++) {
        const struct tun_relay *r = i == relay ? NULL : known(v, i, relay);
        by += r && tun_relay_is_passed(r);
    }
    return by;
}

/* ---- networks of every size begin ---- */

Test(tun_reach, small_networks_begin) {
    for (unsigned relays = 2; relays <= 7; relays++) {
        struct village *v = village(40 + relays, relays);
        for (unsigned i = 0; i < relays; i++)
            cr_expect_eq(passed_by(v, relays, i), relays - 1, "relay %u of %u: passed on by %u", i,
                         relays, passed_by(v, relays, i));
        struct tun_client_status s;
        struct cv_now now = world_now(v->w, 0);
        tun_client_status(v->w->node[0].t, &now, &s);
        cr_expect_gt(s.reach[0].by, 0, "%u relays", relays);
        village_free(v);
    }
}

/* All at one address, so that nobody is in another network: each tries for itself. */
Test(tun_reach, relays_of_one_machine_begin) {
    struct village *v = village_new(&(struct sim_config){.seed = 50}, 0);
    v->w->one_machine = true;
    for (unsigned i = 0; i < 6; i++)
        village_relay(v);
    sim_path_default(v->w->sim, &near);
    world_run(v->w, CV_SEC(20));
    for (unsigned i = 0; i < 6; i++)
        cr_expect_eq(passed_by(v, 6, i), 5, "relay %u: %u", i, passed_by(v, 6, i));
    village_free(v);
}

/* Relays of three workers each: whichever has the link over which it is asked, it answers. */
Test(tun_reach, links_of_all_workers_serve) {
    enum { RELAYS = 7 };
    setenv("WORLD_WORKERS", "3", 1);
    struct village *v = village(51, RELAYS);
    world_run(v->w, CV_SEC(60));
    unsigned far = 0;
    for (unsigned i = 0; i < RELAYS; i++) {
        unsigned asked = 0;
        for (unsigned k = 0; k < TUN_REACH_ASKS; k++) {
            const struct tun_reach_ask *a = &client(v, i)->reach.ask[k];
            if (!a->set || !a->link)
                continue;
            asked++;
            far += tun_handle_worker(a->link) != 0;
            cr_expect_eq(a->kind, TUN_REACH_REACHED, "relay %u: said %u", i, a->kind);
        }
        cr_expect_geq(asked, 2, "relay %u asked %u", i, asked);
        cr_expect_eq(passed_by(v, RELAYS, i), RELAYS - 1, "relay %u", i);
    }
    cr_expect_gt(far, 0, "all were asked over links of worker 0");
    village_free(v);
}

/* One that comes later, and one of three that comes back with nothing but its keys. */
Test(tun_reach, who_comes_later_is_passed_on_too) {
    for (unsigned relays = 3; relays <= 12; relays += 9) {
        struct village *v = village(60 + relays, relays);
        unsigned late = village_relay(v);
        world_run(v->w, CV_SEC(60));
        cr_expect_geq(passed_by(v, relays, late), 2, "%u relays: %u", relays,
                      passed_by(v, relays, late));
        unsigned viewer = village_client(v);
        world_run(v->w, CV_SEC(10));
        cr_expect_not_null(known(v, viewer, late));
        village_free(v);
    }
}

/* ---- behind a filter ---- */

enum { OTHERS = 7 };

/* What a router does that lets in answers only, to one port: whoever was not called
 * by `inner` does not reach it. `all`: it lets nobody but relay 0 in, called or not. */
struct filter {
    unsigned inner;
    bool on, only_first;
    bool called[WORLD_NODES];
    unsigned tried[WORLD_NODES]; /* datagrams that it kept out */
};

static enum sim_verdict pass(void *ctx, const struct sim_datagram *d) {
    struct filter *f = ctx;
    if (!f->on)
        return SIM_PASS;
    if (d->from_node == f->inner)
        f->called[d->to_node] = true;
    if (d->to_node != f->inner || (f->only_first ? d->from_node == 0 : f->called[d->from_node]))
        return SIM_PASS;
    f->tried[d->from_node]++;
    return SIM_DROP;
}

static void filtered(struct village *v, struct filter *f) {
    f->inner = v->w->nodes;
    f->on = true;
    sim_hook(v->w->sim, pass, f);
    cr_assert_eq(village_relay(v), f->inner);
}

/* Relay 0 is answered by it and others are not: nobody hears of it, it is told why, and
 * when the filter goes it is passed on. */
Test(tun_reach, who_lets_only_one_in_is_not_passed_on) {
    for (uint64_t seed = 1; seed <= 3; seed++) {
        struct village *v = village(70 + seed, OTHERS);
        struct filter f = {.only_first = true};
        filtered(v, &f);
        world_run(v->w, CV_SEC(60));
        const struct tun_relay *r = known(v, 0, f.inner);
        cr_assert(r && r->reached, "seed %lu: nobody reached it: the test tests nothing", seed);
        cr_expect_eq(passed_by(v, OTHERS, f.inner), 0, "seed %lu", seed);
        unsigned asked = 0;
        for (unsigned i = 1; i < OTHERS; i++) {
            asked += f.tried[i] > 0;
            cr_expect_null(known(v, i, f.inner), "seed %lu: relay %u was told of it", seed, i);
        }
        cr_expect_geq(asked, 2, "seed %lu: %u tried", seed, asked);
        struct tun_client_status s;
        struct cv_now now = world_now(v->w, f.inner);
        tun_client_status(v->w->node[f.inner].t, &now, &s);
        cr_expect_gt(s.reach[0].not_by, 0, "seed %lu", seed);
        cr_expect_eq(s.reach[0].by, 0, "seed %lu", seed);

        f.on = false;
        world_run(v->w, CV_SEC(180));
        cr_expect_geq(passed_by(v, OTHERS, f.inner), 2, "seed %lu", seed);
        tun_client_status(v->w->node[f.inner].t, &now, &s);
        cr_expect_gt(s.reach[0].by, 0, "seed %lu", seed);
        village_free(v);
    }
}

/* ---- two addresses ---- */

static struct village *mixed_village(uint64_t seed, unsigned both, unsigned four, unsigned six) {
    struct village *v = village_new(&(struct sim_config){.seed = seed}, 0);
    v->w->mixed = true;
    for (unsigned i = 0; i < both + four + six; i++) {
        v->w->family = i < both ? 0 : i < both + four ? 4 : 6;
        village_relay(v);
    }
    v->w->family = 0;
    sim_path_default(v->w->sim, &near);
    world_run(v->w, CV_SEC(12)); /* nobody is young any more */
    return v;
}

static void reach_of(struct village *v, unsigned node, struct tun_client_status *ret) {
    struct cv_now now = world_now(v->w, node);
    tun_client_status(v->w->node[node].t, &now, ret);
}

static unsigned family_of(const struct village *v, unsigned node) {
    return v->w->node[node].cfg.family;
}

/* Everybody tells of everybody whom it can reach, at each address; who has one family knows of
 * the others by those who have both. */
Test(tun_reach, both_addresses_are_reached) {
    enum { BOTH = 5, FOUR = 2, SIX = 2, ALL = BOTH + FOUR + SIX };
    struct village *v = mixed_village(140, BOTH, FOUR, SIX);
    world_run(v->w, CV_SEC(120));
    for (unsigned i = 0; i < ALL; i++) {
        struct tun_client_status s;
        reach_of(v, i, &s);
        for (unsigned k = 0; k < 2; k++)
            cr_expect_eq(s.reach[k].by > 0, k == 0 || i < BOTH, "relay %u, address %u", i, k);
        cr_expect_eq(s.reach[0].not_by + s.reach[1].not_by, 0, "relay %u", i);
        for (unsigned k = 0; k < ALL; k++) {
            const struct tun_relay *r = known(v, k, i);
            bool can = !family_of(v, i) || !family_of(v, k) || family_of(v, i) == family_of(v, k);
            if (i == k)
                continue;
            cr_assert_not_null(r, "relay %u does not know %u", k, i);
            cr_expect_eq(tun_relay_is_passed(r), can, "relay %u of %u", k, i);
            cr_expect_eq(r->reached, r->tried, "relay %u of %u: all that it can try", k, i);
        }
    }
    village_free(v);
}

/* What comes to one address is kept out, whoever sends it. */
static enum sim_verdict keep_out(void *ctx, const struct sim_datagram *d) {
    return cv_addr_equal(d->to, ctx) ? SIM_DROP : SIM_PASS;
}

/* A relay of which one address is not there is told of by those only who have no such address;
 * it knows which it is; and when it is there, everybody tells of it. */
Test(tun_reach, an_address_that_is_not_there_is_vouched_for_by_nobody) {
    enum { BOTH = 5, FOUR = 2, ALL = BOTH + FOUR };
    for (unsigned closed = 0; closed < 2; closed++) {
        struct village *v = mixed_village(150 + closed, BOTH, FOUR, 0);
        struct cv_addr out = closed ? sim_addr6(ALL, 4000) : sim_addr(ALL, 4000);
        sim_hook(v->w->sim, keep_out, &out);
        cr_assert_eq(village_relay(v), ALL);
        world_run(v->w, CV_SEC(120));
        struct tun_client_status s;
        reach_of(v, ALL, &s);
        cr_expect_eq(s.reach[closed].by, 0, "closed %u", closed);
        cr_expect_gt(s.reach[closed].not_by, 0, "closed %u", closed);
        cr_expect_gt(s.reach[!closed].by, 0, "closed %u", closed);
        for (unsigned i = 0; i < ALL; i++) {
            const struct tun_relay *r = known(v, i, ALL);
            if (r && i >= BOTH)
                cr_expect_eq(tun_relay_is_passed(r), closed == 1, "closed %u: relay %u", closed, i);
            else if (r)
                cr_expect_not(tun_relay_is_passed(r), "closed %u: relay %u", closed, i);
        }
        sim_hook(v->w->sim, NULL, NULL);
        world_run(v->w, CV_SEC(1500));
        cr_expect_geq(passed_by(v, BOTH, ALL), 2, "closed %u", closed);
        village_free(v);
    }
}

/* A neighbour whose address of one family is cut off is reached at the other, by a new link. */
Test(tun_reach, a_link_is_made_to_the_address_that_is_there) {
    for (unsigned cut = 0; cut < 2; cut++) {
        struct village *v = mixed_village(160 + cut, 5, 0, 0);
        struct cv_addr out = cut ? v->w->node[1].addr_too : v->w->node[1].addr;
        const struct tun_relay *r = known(v, 0, 1);
        cr_assert(r && r->reached == r->tried);
        struct tun_relay_ref ref;
        struct cv_now now = world_now(v->w, 0);
        tun_relay_ref_fill(&ref, r, now.wall);
        ref.addr[0] = out; /* the one that answered first, say */
        ref.addr[1] = cut ? v->w->node[1].addr : v->w->node[1].addr_too;
        sim_hook(v->w->sim, keep_out, &out);
        struct tun_link *l;
        struct tunnel *t = v->w->node[0].t;
        struct tun_link *before = cv_map_get(t->links_by_identity, ref.identity);
        if (before)
            tun_link_fail(t, &now, before, CV_ERR_CLOSED);
        cr_assert_eq(tun_link_open(t, &now, &ref, &l), CV_ERR_OK);
        sim_touch(v->w->sim, 0);
        world_run(v->w, CV_SEC(1));
        l = cv_map_get(t->links_by_identity, ref.identity);
        cr_assert(l && tun_link_is_up(l), "cut %u", cut);
        struct cv_addr at = tun_link_addr(l);
        cr_expect(cv_addr_equal(&at, &ref.addr[1]), "cut %u", cut);
        village_free(v);
    }
}

/* A neighbour with two addresses that is flooded wants a cookie, which holds for the address
 * that it was asked from alone: the way to it is no matter, however long it is. */
Test(tun_reach, a_link_is_made_to_who_wants_a_cookie) {
    for (unsigned ms = 1; ms <= 300; ms = ms == 1 ? 50 : ms + 50) {
        struct village *v = mixed_village(170, 5, 0, 0);
        const struct tun_relay *r = known(v, 0, 1);
        struct tun_relay_ref ref;
        struct cv_now now = world_now(v->w, 0);
        tun_relay_ref_fill(&ref, r, now.wall);
        cr_assert(ref.addr[0].family && ref.addr[1].family);
        sim_path_default(v->w->sim, &(struct sim_path){.delay = CV_MSEC(ms)});
        struct tun_link *l;
        struct tunnel *t = v->w->node[0].t, *flooded = v->w->node[1].t;
        struct tun_link *before = cv_map_get(t->links_by_identity, ref.identity);
        if (before)
            tun_link_fail(t, &now, before, CV_ERR_CLOSED);
        world_run(v->w, CV_SEC(1));
        flooded->halves += TUN_HALF_OPEN_MAX / 2;
        uint64_t cookies = flooded->count.cookies_sent;
        now = world_now(v->w, 0);
        cr_assert_eq(tun_link_open(t, &now, &ref, &l), CV_ERR_OK);
        sim_touch(v->w->sim, 0);
        world_run(v->w, CV_SEC(8));
        cr_expect_gt(flooded->count.cookies_sent, cookies, "%u ms: the test tests nothing", ms);
        l = cv_map_get(t->links_by_identity, ref.identity);
        cr_expect(l && tun_link_is_up(l), "%u ms", ms);
        flooded->halves -= TUN_HALF_OPEN_MAX / 2;
        village_free(v);
    }
}

/* There was no room for a question to its second address when it was heard of: that is asked
 * when there is, and not in ten minutes, until which nobody would be told of it. */
Test(tun_reach, an_address_that_found_no_room_is_asked_soon) {
    struct village *v = mixed_village(180, 5, 0, 0);
    struct tun_client *c = client(v, 0);
    struct tun_relay *r = known(v, 0, 1);
    cr_assert(r && tun_relay_is_passed(r));
    c->now = world_now(v->w, 0);
    c->need_at = cv_usec_add(c->now.mono, CV_SEC(1000)); /* the DHT does not name it just now */
    tun_contact_done(c);
    r->reached = 0;
    r->again_at = 0;
    unsigned empty = 0;
    for (unsigned i = 0; i < TUN_ADDRESSES_MAX; i++) {
        struct tun_address *a = &c->address[i];
        if (!a->addr.family && empty++ > 0) /* as who was asked a moment ago */
            *a = (struct tun_address){
                .addr = sim_addr(20 + i, 4000), .tries = UINT8_MAX, .at = c->now.mono + CV_SEC(5)};
    }
    tun_contact_reach(c, r);
    sim_touch(v->w->sim, 0);
    world_run(v->w, CV_SEC(3));
    cr_assert_neq(r->reached, 0);
    cr_assert_neq(r->reached, r->tried, "there was room: the test tests nothing");
    world_run(v->w, CV_SEC(90));
    cr_expect_eq(r->reached, r->tried);
    cr_expect(tun_relay_is_passed(r));
    village_free(v);
}

/* ---- relays that lie about it ---- */

/* Whoever is a liar says `kind` to all that it is asked to try, and tries nothing. */
static void lie(struct village *v, const unsigned *liars, unsigned n, enum tun_reach_kind kind,
                cv_usec for_so_long) {
    for (cv_usec t = 0; t < for_so_long; t += CV_MSEC(2)) {
        world_run(v->w, CV_MSEC(2));
        for (unsigned i = 0; i < n; i++) {
            struct tunnel *t_liar = v->w->node[liars[i]].t;
            struct tun_client *c = client(v, liars[i]);
            for (unsigned k = 0; k < TUN_REACH_TRIES; k++) {
                struct tun_reach_try *y = &c->reach.attempt[k];
                if (!y->set || y->kind == kind || y->link == 0)
                    continue;
                uint8_t body[64];
                struct cv_wr w = cv_wr_init(body, sizeof body);
                struct tun_reach m = {.kind = (uint8_t)kind, .addr = y->addr};
                memcpy(m.token, y->token, sizeof m.token);
                tun_reach_write(&w, &m);
                struct cv_now now = world_now(v->w, liars[i]);
                cr_assert_eq(
                    tun_link_send(t_liar, &now, y->link, TUN_LINKCMD_REACH, body, cv_wr_len(&w)),
                    CV_ERR_OK);
                y->kind = (uint8_t)kind;
                sim_touch(v->w->sim, liars[i]);
            }
        }
    }
}

/* One of seven vouches for whom nobody reaches; two of seven deny whom everybody does. */
Test(tun_reach, one_liar_vouches_for_nobody) {
    for (uint64_t seed = 1; seed <= 3; seed++) {
        struct village *v = village(80 + seed, OTHERS);
        struct filter f = {.only_first = true};
        const unsigned liar = 3;
        filtered(v, &f);
        lie(v, &liar, 1, TUN_REACH_REACHED, CV_SEC(40));
        cr_expect_eq(passed_by(v, OTHERS, f.inner), 0, "seed %lu", seed);
        village_free(v);
    }
}

Test(tun_reach, who_denies_it_keeps_nobody_out) {
    for (uint64_t seed = 1; seed <= 3; seed++) {
        struct village *v = village(90 + seed, OTHERS);
        const unsigned liars[] = {2, 5};
        unsigned late = village_relay(v);
        lie(v, liars, 2, TUN_REACH_SILENT, CV_SEC(40));
        cr_expect_geq(passed_by(v, OTHERS, late), OTHERS - 2, "seed %lu: %u", seed,
                      passed_by(v, OTHERS, late));
        village_free(v);
    }
}

/* What a newcomer's own friends say of it counts for nothing, while there are others. */
Test(tun_reach, witnesses_are_drawn_from_those_that_are_passed_on) {
    struct village *v = village(100, OTHERS);
    struct tun_client *c = client(v, 0);
    unsigned strange = 0;
    struct cv_now now = world_now(v->w, 0);
    for (unsigned i = 4; i < OTHERS; i++) { /* three whom nobody else reached */
        struct tun_relay *r = known(v, 0, i);
        r->outside = r->confirmed = false;
    }
    struct tun_relay *r = known(v, 0, 1);
    r->outside = r->confirmed = false;
    c->now = now;
    for (unsigned round = 0; round < 40; round++) {
        struct tun_reach_job *j = &c->reach.job[0];
        *j = (struct tun_reach_job){.phase = TUN_REACH_WAITING, .at = now.mono + CV_SEC(9)};
        memcpy(j->identity, name(v, 1), CV_KEY);
        j->addr = v->w->node[1].addr;
        tun_reach_work(c);
        cr_assert_eq(j->phase, TUN_REACH_ASKING);
        cr_assert_eq(j->witnesses, 1);
        for (unsigned i = 4; i < OTHERS; i++)
            strange += memcmp(j->witness[0], name(v, i), CV_KEY) == 0;
    }
    cr_expect_eq(strange, 0, "%u of 40", strange);
    memset(c->reach.job, 0, sizeof c->reach.job);
    village_free(v);
}

/* As many were asked as may be, and they are dead: we try it ourselves, and that decides
 * with what one of them may have said. Two words decide alone. */
Test(tun_reach, the_dead_keep_nobody_out) {
    static const struct {
        unsigned said;
        uint8_t kind;
        bool own, reached;
    } cases[] = {
        {0, 0, true, true},
        {1, TUN_REACH_REACHED, true, true},
        {1, TUN_REACH_SILENT, true, true},
        {2, TUN_REACH_SILENT, false, false},
        {2, TUN_REACH_REACHED, false, true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct village *v = village(101, OTHERS);
        struct tun_client *c = client(v, 0);
        struct tun_relay *r = known(v, 0, 1);
        r->outside = r->confirmed = false;
        c->now = world_now(v->w, 0);
        struct tun_reach_job *j = &c->reach.job[0];
        *j = (struct tun_reach_job){.phase = TUN_REACH_ASKING, .at = c->now.mono};
        memcpy(j->identity, name(v, 1), CV_KEY);
        j->addr = v->w->node[1].addr;
        j->witnesses = TUN_REACH_WITNESSES;
        for (unsigned k = 0; k < cases[i].said; k++)
            j->verdict[k] = cases[i].kind;
        tun_reach_work(c);
        cr_expect_eq(j->phase == TUN_REACH_ASKING && j->own, cases[i].own, "case %zu", i);
        sim_touch(v->w->sim, 0);
        world_run(v->w, CV_SEC(2));
        cr_expect_eq(r->outside, cases[i].reached, "case %zu", i);
        memset(c->reach.job, 0, sizeof c->reach.job);
        village_free(v);
    }
}

/* Over midnight with a new address: yesterday's descriptor says nothing of today. */
Test(tun_reach, it_is_told_of_the_address_that_it_asks_about) {
    struct village *v = village(102, OTHERS);
    struct tun_client *c = client(v, 0);
    struct tun_relay *r = known(v, 0, 1);
    c->now = world_now(v->w, 0);
    for (unsigned i = 0; i < 3; i++) {
        struct tun_reach_job *j = &c->reach.job[0];
        *j = (struct tun_reach_job){.phase = TUN_REACH_WAITING, .at = c->now.mono + CV_SEC(9)};
        memcpy(j->identity, name(v, 1), CV_KEY);
        j->addr = v->w->node[1].addr;
        if (i == 1)
            j->addr.port++;
        if (i == 2)
            c->now.wall += 24 * 3600; /* of today there is none yet */
        cr_assert(tun_relay_is_passed(r));
        tun_reach_work(c);
        cr_expect_eq(j->phase, i ? TUN_REACH_WAITING : 0, "case %u", i);
    }
    memset(c->reach.job, 0, sizeof c->reach.job);
    village_free(v);
}

/* ---- what it costs somebody else ---- */

struct victim {
    struct cv_addr ip;
    unsigned datagrams;
};

static enum sim_verdict count(void *ctx, const struct sim_datagram *d) {
    struct victim *x = ctx;
    x->datagrams += memcmp(d->to->ip, x->ip.ip, 4) == 0;
    return SIM_PASS;
}

static cv_handle link_to(struct village *v, unsigned from, unsigned to) {
    struct tun_client *c = client(v, from);
    struct tun_relay_ref ref;
    struct tun_link *l;
    c->now = world_now(v->w, from);
    tun_relay_ref_fill(&ref, known(v, from, to), c->now.wall);
    cr_assert_eq(tun_link_open(c->t, &c->now, &ref, &l), CV_ERR_OK);
    cv_handle h = tun_link_handle(l);
    sim_touch(v->w->sim, from);
    world_run(v->w, CV_SEC(1));
    cr_assert(tun_link_get(c->t, h) && tun_link_is_up(tun_link_get(c->t, h)));
    return h;
}

static void say(struct village *v, unsigned from, cv_handle link, enum tun_reach_kind kind,
                unsigned token, const struct cv_addr *addr) {
    uint8_t body[64];
    struct cv_wr w = cv_wr_init(body, sizeof body);
    struct tun_reach m = {.kind = (uint8_t)kind, .addr = *addr};
    memcpy(m.token, &token, sizeof token);
    tun_reach_write(&w, &m);
    struct cv_now now = world_now(v->w, from);
    cr_assert_eq(
        tun_link_send(v->w->node[from].t, &now, link, TUN_LINKCMD_REACH, body, cv_wr_len(&w)),
        CV_ERR_OK);
    sim_touch(v->w->sim, from);
}

/* A relay has others try addresses of somebody who is none: what he is sent is less than
 * was said, what is said again brings nothing, and it goes on slowly. */
Test(tun_reach, a_victim_is_sent_less_than_was_asked_for) {
    struct village *v = village(110, OTHERS);
    struct victim x = {.ip = sim_addr(500, 0)};
    cv_handle link = link_to(v, 0, 1);
    sim_hook(v->w->sim, count, &x);
    struct cv_addr there = sim_addr(500, 77);
    for (unsigned i = 0; i < 5; i++) {
        say(v, 0, link, TUN_REACH_TRY, 1, &there);
        world_run(v->w, CV_MSEC(200));
    }
    cr_expect_eq(x.datagrams, 1, "the same five times: %u", x.datagrams);
    enum { SECONDS = 120 };
    for (unsigned i = 0; i < SECONDS; i++) {
        there.port++;
        say(v, 0, link, TUN_REACH_TRY, 100 + i, &there);
        world_run(v->w, CV_SEC(1));
    }
    cr_expect_gt(x.datagrams, 1);
    cr_expect_leq(x.datagrams, TUN_QUESTIONS_BURST + SECONDS * 1000 / TUN_QUESTIONS_EVERY_MS + 2,
                  "%u", x.datagrams);
    village_free(v);
}

/* A relay asks to be tried at somebody else's address: it is tried at its own. */
Test(tun_reach, nobody_is_tried_where_he_did_not_answer) {
    struct village *v = village(111, OTHERS);
    struct victim x = {.ip = sim_addr(500, 0)};
    cv_handle link = link_to(v, 0, 1);
    sim_hook(v->w->sim, count, &x);
    struct cv_addr there = sim_addr(500, 77);
    struct tun_descriptor *d = &known(v, 1, 0)->desc;
    cr_assert_lt(d->addrs, TUN_ADDRS_MAX);
    d->addr[d->addrs++] = there; /* signed by it, for all that this says */
    for (unsigned i = 0; i < 50; i++) {
        struct tun_relay *r = known(v, 1, 0);
        r->outside = r->confirmed = false; /* else there is nothing to try */
        say(v, 0, link, TUN_REACH_ASK, 100 + i, &there);
        world_run(v->w, CV_MSEC(500));
    }
    cr_expect_eq(x.datagrams, 0, "%u", x.datagrams);
    village_free(v);
}

/* A relay keeps a witness busy: others, and the witness itself, are served all the same. */
Test(tun_reach, one_network_does_not_keep_all_rows) {
    struct village *v = village(113, OTHERS);
    struct tun_client *c = client(v, 1);
    cv_handle link = link_to(v, 0, 1), honest = link_to(v, 2, 1);
    tun_reach_done(c);
    memset(c->reach.attempt, 0, sizeof c->reach.attempt);
    for (unsigned i = 0; i < 3 * TUN_REACH_TRIES; i++) {
        struct cv_addr there = sim_addr(500 + i, 77);
        say(v, 0, link, TUN_REACH_TRY, 100 + i, &there);
        if (i % 8 == 7)
            world_run(v->w, CV_MSEC(20));
    }
    unsigned taken = 0;
    for (unsigned i = 0; i < TUN_REACH_TRIES; i++)
        taken += c->reach.attempt[i].set;
    cr_expect_eq(taken, TUN_REACH_TRIES_NETWORK, "%u", taken);
    struct cv_addr there = sim_addr(700, 77);
    say(v, 2, honest, TUN_REACH_TRY, 1, &there);
    world_run(v->w, CV_MSEC(20));
    taken = 0;
    for (unsigned i = 0; i < TUN_REACH_TRIES; i++)
        taken += c->reach.attempt[i].set && cv_addr_equal(&c->reach.attempt[i].addr, &there);
    cr_expect_eq(taken, 1);
    village_free(v);
}

/* Who did not prove that it is a relay, or is none that answered, has nobody tried. */
Test(tun_reach, strangers_have_nobody_tried) {
    struct village *v = village(112, OTHERS);
    struct victim x = {.ip = sim_addr(500, 0)};
    cv_handle link = link_to(v, 0, 1);
    unsigned viewer = village_client(v);
    world_run(v->w, CV_SEC(5));
    sim_hook(v->w->sim, count, &x);
    struct cv_addr there = sim_addr(500, 77);
    struct tun_link *l = world_link(v->w, viewer);
    cr_assert_not_null(l);
    say(v, viewer, tun_link_handle(l), TUN_REACH_TRY, 5, &there);
    world_run(v->w, CV_SEC(1));
    cr_expect_eq(x.datagrams, 0, "for a client");
    known(v, 1, 0)->reached = false;
    say(v, 0, link, TUN_REACH_TRY, 6, &there);
    world_run(v->w, CV_SEC(1));
    cr_expect_eq(x.datagrams, 0, "for a relay that never answered");
    known(v, 1, 0)->reached = true;
    say(v, 0, link, TUN_REACH_TRY, 7, &there);
    world_run(v->w, CV_SEC(1));
    cr_expect_eq(x.datagrams, 1, "the test tests nothing");
    village_free(v);
}

/* ---- by another port ---- */

Test(tun_reach, a_try_leaves_by_the_other_port_and_is_answered_there) {
    struct village *v = village(120, 4);
    struct tun_client *c = client(v, 1);
    cv_handle link = link_to(v, 0, 1);
    /* as if the node had one: relay 1's questions are taken out by hand */
    ((struct tun_config *)(uintptr_t)tun_config(c->t))->elsewhere = true;
    say(v, 0, link, TUN_REACH_TRY, 9, &v->w->node[2].addr);
    world_run(v->w, CV_MSEC(100));
    struct cv_now now = world_now(v->w, 1);
    struct cv_addr to;
    uint8_t buf[TUN_DATAGRAM], answer[TUN_DATAGRAM];
    cr_assert(tun_poll_elsewhere(c->t, &now, &to, buf));
    cr_expect(cv_addr_equal(&to, &v->w->node[2].addr));
    cr_expect_not(tun_poll_elsewhere(c->t, &now, &to, answer), "once");
    size_t len;
    const uint8_t *raw = tun_own_descriptor(v->w->node[2].t, now.wall, &len);
    cr_assert_eq(tun_describe_answer(&c->net, buf, raw, len, sim_rng(v->w->sim), answer),
                 CV_ERR_OK);
    cr_expect_not(tun_on_elsewhere(c->t, &now, &v->w->node[3].addr, answer, sizeof answer),
                  "from somebody else");
    cr_expect_not(tun_on_elsewhere(c->t, &now, &to, answer, sizeof answer - 1));
    cr_expect(tun_on_elsewhere(c->t, &now, &to, answer, sizeof answer));
    unsigned reached = 0;
    for (unsigned i = 0; i < TUN_REACH_TRIES; i++)
        reached += c->reach.attempt[i].set && c->reach.attempt[i].kind == TUN_REACH_REACHED;
    cr_expect_geq(reached, 1);
    village_free(v);
}

/* ---- every state and every message ---- */

enum { JUDGE, NEWCOMER, WITNESS, STRANGER, NODES = 4 };

struct scene {
    struct village *v;
    struct tun_client *c;
    struct tun_reach_job *j;
    cv_handle link[NODES]; /* at the judge */
};

static void set_out(struct scene *s) {
    s->v = village(130, NODES);
    s->c = client(s->v, JUDGE);
    for (unsigned i = 1; i < NODES; i++)
        s->link[i] = link_to(s->v, JUDGE, i);
    memset(&s->c->reach, 0, sizeof s->c->reach);
    tun_questions_init(&s->c->reach.questions, tun_client_rng(s->c));
    s->c->now = world_now(s->v->w, JUDGE);
    struct tun_relay *r = known(s->v, JUDGE, NEWCOMER);
    r->outside = r->confirmed = false;
    s->j = &s->c->reach.job[0];
}

static void job(struct scene *s, unsigned phase) {
    *s->j = (struct tun_reach_job){.phase = phase, .at = s->c->now.mono + CV_SEC(3)};
    s->j->say_at = CV_USEC_NEVER;
    s->j->link = s->link[NEWCOMER];
    s->j->addr = s->v->w->node[NEWCOMER].addr;
    memcpy(s->j->identity, name(s->v, NEWCOMER), CV_KEY);
    memset(s->j->try_token, 7, sizeof s->j->try_token);
}

static void nothing(struct scene *s) {
    (void)s;
}

static void waiting(struct scene *s) {
    job(s, TUN_REACH_WAITING);
}

static void asking(struct scene *s) {
    job(s, TUN_REACH_ASKING);
    s->j->witnesses = 1;
    memcpy(s->j->witness[0], name(s->v, WITNESS), CV_KEY);
}

static void trying(struct scene *s) {
    job(s, TUN_REACH_ASKING);
    s->j->own = true;
}

static void resting(struct scene *s) {
    job(s, TUN_REACH_RESTING);
}

static void asked(struct scene *s) { /* we are the newcomer, and asked the witness */
    struct tun_reach_ask *a = &s->c->reach.ask[0];
    *a = (struct tun_reach_ask){.set = true, .link = s->link[WITNESS]};
    memset(a->token, 7, sizeof a->token);
    a->at = CV_USEC_NEVER;
}

/* clang-format off */
static const struct {
    const char *name;
    unsigned from;
    uint8_t kind, token;
} messages[] = {
    { "ASK of the newcomer",          NEWCOMER, TUN_REACH_ASK,     1 },
    { "ASK of somebody else",         STRANGER, TUN_REACH_ASK,     1 },
    { "TRY",                          WITNESS,  TUN_REACH_TRY,     1 },
    { "REACHED",                      WITNESS,  TUN_REACH_REACHED, 7 },
    { "REACHED, another token",       WITNESS,  TUN_REACH_REACHED, 8 },
    { "REACHED, of somebody else",    STRANGER, TUN_REACH_REACHED, 7 },
    { "REACHED, of the newcomer",     NEWCOMER, TUN_REACH_REACHED, 7 },
    { "SILENT",                       WITNESS,  TUN_REACH_SILENT,  7 },
    { "SILENT, of somebody else",     STRANGER, TUN_REACH_SILENT,  7 },
};

/*
 * What becomes of it:  .  nothing   n  a new job   l  the job's newcomer is told by this
 * link   t  something is tried   y, s  the witness's word is taken: yes, silent
 * Y, S  the same as a word about ourselves
 */
static const struct {
    const char *name;
    void (*begin)(struct scene *);
    const char *answers;
} states[] = {
    { "nothing",         nothing, "nnt......" },
    { "waiting",         waiting, "lnt......" },
    { "asking",          asking,  "lnty...s." },
    { "trying ourselves", trying, "lnt......" },
    { "resting",         resting, "lnt......" },
    { "asked",           asked,   "nntY...S." },
};
/* clang-format on */

static char what_became(struct scene *s, const struct tun_reach_job *before, unsigned m) {
    unsigned jobs = 0, tries = 0;
    for (unsigned i = 0; i < TUN_REACH_JOBS; i++)
        jobs += s->c->reach.job[i].phase != 0;
    for (unsigned i = 0; i < TUN_REACH_TRIES; i++)
        tries += s->c->reach.attempt[i].set;
    const struct tun_reach_ask *a = &s->c->reach.ask[0];
    if (tries > 0)
        return 't';
    if (a->set && a->kind)
        return a->kind == TUN_REACH_REACHED ? 'Y' : 'S';
    if (jobs > (before->phase ? 1u : 0u))
        return 'n';
    if (s->j->verdict[0] || s->j->own_verdict)
        return s->j->verdict[0] == TUN_REACH_REACHED ? 'y' : 's';
    if (before->phase && s->j->token[0] == messages[m].token && messages[m].kind == TUN_REACH_ASK)
        return 'l';
    return memcmp(before, s->j, sizeof *before) == 0 ? '.' : '?';
}

Test(tun_reach, every_state_and_every_message) {
    enum { MESSAGES = sizeof messages / sizeof *messages };
    static struct scene s;
    set_out(&s);
    for (size_t i = 0; i < sizeof states / sizeof *states; i++) {
        char got[MESSAGES + 1] = {0};
        for (unsigned m = 0; m < MESSAGES; m++) {
            memset(&s.c->reach, 0, sizeof s.c->reach);
            tun_questions_init(&s.c->reach.questions, tun_client_rng(s.c));
            states[i].begin(&s);
            struct tun_reach_job before = *s.j;
            uint8_t body[64];
            struct cv_wr w = cv_wr_init(body, sizeof body);
            struct tun_reach msg = {.kind = messages[m].kind, .addr = s.v->w->node[NEWCOMER].addr};
            memset(msg.token, messages[m].token, sizeof msg.token);
            tun_reach_write(&w, &msg);
            struct tun_event ev = {.kind = TUN_EVENT_LINK_MESSAGE,
                                   .link_message = {.link = s.link[messages[m].from],
                                                    .command = TUN_LINKCMD_REACH,
                                                    .body = body,
                                                    .len = cv_wr_len(&w)}};
            tun_reach_on_message(s.c, &ev);
            got[m] = what_became(&s, &before, m);
            for (size_t cut = 0; cut < cv_wr_len(&w); cut++) { /* what is cut changes nothing */
                struct tun_reach_state kept = s.c->reach;
                ev.link_message.len = cut;
                tun_reach_on_message(s.c, &ev);
                cr_assert_arr_eq(&kept, &s.c->reach, sizeof kept, "%s, %s cut at %zu",
                                 states[i].name, messages[m].name, cut);
            }
            tun_reach_done(s.c);
        }
        cr_expect_str_eq(got, states[i].answers, "%s:\n got %s\nwant %s", states[i].name, got,
                         states[i].answers);
    }
    memset(&s.c->reach, 0, sizeof s.c->reach);
    village_free(s.v);
}
