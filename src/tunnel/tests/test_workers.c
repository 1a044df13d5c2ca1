/*
 * A relay of several engines: to its neighbours one, whichever of them has a link or a
 * circuit; to its node one, too. The other tests of relays run with three workers as
 * well (meson.build); here is what only these have.
 */
#include "support/suite.h"
#include "tunnel/tests/world.h"

CV_SUITE(tun_workers);

enum { RP = 6, WORKERS = 3, OWNERS = 24, FIRST = 7 };

static const uint8_t worker_key[16] = "sixteen octets!";

/* Relays 0 to 5 of one engine, RP of three, and owners of circuits in networks of their own. */
static struct world *many(uint64_t seed) {
    struct world *w = world_new(&(struct sim_config){.seed = seed});
    struct tun_config shared = {.gate = true, .workers = WORKERS};
    memcpy(shared.worker_key, worker_key, sizeof worker_key);
    for (unsigned i = 0; i < RP; i++)
        world_relay(w, NULL);
    world_relay(w, &shared);
    for (unsigned i = 0; i < OWNERS; i++)
        world_client(w, NULL);
    sim_path_default(w->sim, &(struct sim_path){.delay = CV_MSEC(5)});
    return w;
}

static unsigned hops_of(const struct world *w, unsigned worker) {
    return w->node[RP].worker[worker]->hops.count;
}

/* The worker that answers for the network of a node. */
static unsigned answers_for(const struct world *w, unsigned node) {
    for (unsigned i = 0; i < WORKERS; i++)
        if (tun_worker_by_address(w->node[RP].worker[i], &w->node[node].addr) == i)
            return i;
    return WORKERS;
}

/* An owner whose circuits straight to RP belong to this worker. */
static unsigned owner_at(const struct world *w, unsigned worker, unsigned skip) {
    for (unsigned i = FIRST; i < FIRST + OWNERS; i++)
        if (answers_for(w, i) == worker && skip-- == 0)
            return i;
    cr_assert_fail("no owner for worker %u", worker);
    return 0;
}

static cv_handle straight(struct world *w, unsigned owner) {
    cv_handle c = world_circuit(w, owner, (const unsigned[]){RP}, 1);
    cr_assert_neq(c, 0);
    return c;
}

Test(tun_workers, each_network_has_its_worker_and_all_have_some) {
    struct world *w = many(1);
    for (unsigned i = FIRST; i < FIRST + OWNERS; i++) {
        unsigned before = hops_of(w, answers_for(w, i));
        straight(w, i);
        cr_expect_eq(hops_of(w, answers_for(w, i)), before + 1, "owner %u", i);
    }
    world_run(w, CV_SEC(2));
    for (unsigned i = 0; i < WORKERS; i++)
        cr_expect_gt(hops_of(w, i), 2, "worker %u", i);
    cr_expect_eq(tun_counters(w->node[RP].t)->hops, OWNERS);
    cr_expect_eq(tun_counters(w->node[RP].t)->links, OWNERS);
    world_free(w);
}

/* What their index says, whatever the socket: 1000 of 1000. */
Test(tun_workers, indexes_name_their_worker) {
    struct world *w = many(2);
    for (unsigned i = 0; i < WORKERS; i++) {
        struct tunnel *t = w->node[RP].worker[i];
        for (unsigned k = 0; k < 1000; k++) {
            uint32_t index;
            cr_assert_eq(tun_rxindex_take(t->rx, t, &index), CV_ERR_OK);
            uint8_t first[4] = {(uint8_t)index, (uint8_t)(index >> 8), (uint8_t)(index >> 16),
                                (uint8_t)(index >> 24)};
            cr_assert_eq(tun_worker_of(first, WORKERS), i);
            tun_rxindex_drop(t->rx, index);
        }
    }
    world_free(w);
}

/* ---- rendezvous ---- */

static const uint8_t cookie[TUN_RENDEZVOUS_COOKIE] = "twenty octets of it";

static uint32_t join(struct world *w, unsigned owner, cv_handle c) {
    struct tun_rendezvous m = {.flight = (const uint8_t *)"flight", .flight_len = 6};
    memcpy(m.cookie, cookie, sizeof cookie);
    uint8_t body[256];
    struct cv_wr wr = cv_wr_init(body, sizeof body);
    tun_rendezvous_write(&wr, &m);
    return world_request(w, owner, c, TUN_CMD_JOIN, body + 4, cv_wr_len(&wr) - 4);
}

struct pair {
    struct world *w;
    unsigned viewer, seeder;
    cv_handle a, b; /* their circuits */
    uint32_t joined;
};

static void meet(struct pair *p, unsigned at_viewer, unsigned at_seeder) {
    p->w = many(3);
    p->viewer = owner_at(p->w, at_viewer, 0);
    p->seeder = owner_at(p->w, at_seeder, at_viewer == at_seeder);
    p->a = straight(p->w, p->viewer);
    p->b = straight(p->w, p->seeder);
    world_request(p->w, p->viewer, p->a, TUN_CMD_ESTABLISH_RENDEZVOUS, cookie, sizeof cookie);
    world_run(p->w, CV_SEC(1));
    p->joined = join(p->w, p->seeder, p->b);
    world_run(p->w, CV_SEC(1));
}

/* Every pair of workers, the face among them. */
Test(tun_workers, circuits_of_any_two_workers_join) {
    for (unsigned k = 0; k < WORKERS * WORKERS; k++) {
        struct pair p;
        meet(&p, k / WORKERS, k % WORKERS);
        p.w->node[p.viewer].keep_datagrams = p.w->node[p.seeder].keep_datagrams = true;
        struct world_event *e = world_reply(p.w, p.seeder, p.joined);
        cr_assert_not_null(e, "%u", k);
        cr_assert_eq(e->ev.reply.command, TUN_CMD_JOINED, "%u", k);
        uint8_t big[TUN_MTU_FORWARD] = {7};
        for (unsigned i = 0; i < 20; i++) {
            big[1] = (uint8_t)i;
            cr_expect_eq(world_send(p.w, p.viewer, p.a, big, sizeof big), CV_ERR_OK);
            cr_expect_eq(world_send(p.w, p.seeder, p.b, big, 2 + i), CV_ERR_OK);
        }
        world_run(p.w, CV_SEC(1));
        cr_assert_eq(p.w->node[p.seeder].datagrams, 20, "%u", k);
        cr_assert_eq(p.w->node[p.viewer].datagrams, 20, "%u", k);
        for (unsigned i = 0; i < 20; i++) {
            e = world_find(p.w, p.seeder, TUN_EVENT_DATAGRAM, i);
            big[1] = (uint8_t)i;
            cr_expect_arr_eq(e->ev.datagram.buf, big, sizeof big, "%u", k);
        }
        /* one that leaves takes the other along */
        struct cv_now now = world_now(p.w, p.seeder);
        tun_circuit_close(p.w->node[p.seeder].t, &now, p.b);
        sim_touch(p.w->sim, p.seeder);
        world_run(p.w, CV_SEC(1));
        cr_expect_eq(world_count(p.w, p.viewer, TUN_EVENT_CIRCUIT_DOWN), 1, "%u", k);
        cr_expect_eq(tun_counters(p.w->node[RP].t)->hops, 0, "%u", k);
        world_free(p.w);
    }
}

Test(tun_workers, a_cookie_is_good_once_in_all_of_them) {
    struct pair p;
    meet(&p, 1, 2);
    for (unsigned i = 0; i < WORKERS; i++) {
        unsigned third = owner_at(p.w, i, 2);
        uint32_t again = join(p.w, third, straight(p.w, third));
        world_run(p.w, CV_SEC(1));
        struct world_event *e = world_reply(p.w, third, again);
        cr_assert_not_null(e);
        cr_expect_eq(e->ev.reply.code, TUN_ERROR_NOENT, "worker %u", i);
    }
    cr_expect_eq(cv_map_count(p.w->node[RP].t->others->cookies), 0);
    world_free(p.w);
}

/* The seeder's circuit ends between its JOIN and the answer of the cookie's worker. */
Test(tun_workers, who_is_gone_when_he_is_met_leaves_nobody_joined) {
    struct pair p = {.w = many(4)};
    p.viewer = owner_at(p.w, 1, 0);
    p.seeder = owner_at(p.w, 2, 0);
    p.a = straight(p.w, p.viewer);
    p.b = straight(p.w, p.seeder);
    world_request(p.w, p.viewer, p.a, TUN_CMD_ESTABLISH_RENDEZVOUS, cookie, sizeof cookie);
    world_run(p.w, CV_SEC(1));
    struct world_node *rp = &p.w->node[RP];
    uint32_t cursor = 0;
    struct tun_hop *h = tun_handles_next(&rp->worker[2]->hops, &cursor);
    struct cv_now now = world_now(p.w, RP);
    struct tun_rendezvous m = {.flight = (const uint8_t *)"flight", .flight_len = 6};
    memcpy(m.cookie, cookie, sizeof cookie);
    uint8_t body[256];
    struct cv_wr wr = cv_wr_init(body, sizeof body);
    tun_rendezvous_write(&wr, &m);
    struct tun_inner in = {.command = TUN_CMD_JOIN, .data = body, .len = (uint16_t)cv_wr_len(&wr)};
    tun_hop_join(rp->worker[2], &now, h, &in);
    tun_hop_destroy(rp->worker[2], h, NULL);
    sim_touch(p.w->sim, RP);
    world_run(p.w, CV_SEC(1));
    cr_expect_eq(world_count(p.w, p.viewer, TUN_EVENT_CIRCUIT_DOWN), 1);
    cr_expect_eq(tun_counters(rp->t)->hops, 0);
    world_free(p.w);
}

/* ---- introduction ---- */

static uint8_t establish(struct world *w, unsigned owner, cv_handle c,
                         const struct cv_ed25519_secret *auth) {
    struct tun_establish_intro m;
    uint8_t binding[32], body[256];
    cr_assert_eq(tun_circuit_binding(w->node[owner].t, c, 0, binding), CV_ERR_OK);
    tun_establish_intro_sign(&m, auth, binding);
    struct cv_wr wr = cv_wr_init(body, sizeof body);
    tun_establish_intro_write(&wr, &m);
    uint32_t transaction =
        world_request(w, owner, c, TUN_CMD_ESTABLISH_INTRO, body + 4, cv_wr_len(&wr) - 4);
    world_run(w, CV_SEC(1));
    struct world_event *e = world_reply(w, owner, transaction);
    return e ? e->ev.reply.command : 0;
}

/* The status, or 255. */
static uint8_t introduce(struct world *w, unsigned owner, cv_handle c, const uint8_t key[CV_KEY]) {
    struct tun_introduce m = {.flight = (const uint8_t *)"flight", .flight_len = 6};
    memcpy(m.auth_key, key, CV_KEY);
    uint8_t body[256];
    struct cv_wr wr = cv_wr_init(body, sizeof body);
    tun_introduce_write(&wr, &m);
    uint32_t transaction =
        world_request(w, owner, c, TUN_CMD_INTRODUCE, body + 4, cv_wr_len(&wr) - 4);
    world_run(w, CV_SEC(1));
    struct world_event *e = world_reply(w, owner, transaction);
    return e && e->ev.reply.len == 1 ? e->ev.reply.body[0] : UINT8_MAX;
}

static unsigned introduced(struct world *w, unsigned owner) {
    unsigned n = 0;
    struct world_event *e;
    for (unsigned i = 0; (e = world_find(w, owner, TUN_EVENT_REPLY, i)) != NULL; i++)
        n += e->ev.reply.command == TUN_CMD_INTRODUCTION;
    return n;
}

/* From every worker, to the circuit that holds the key last, at whichever worker. */
Test(tun_workers, introductions_find_the_key_wherever_it_goes) {
    struct world *w = many(5);
    struct cv_ed25519_secret auth;
    cv_ed25519_from_seed(&auth, (const uint8_t[CV_KEY]){1});
    cv_handle asks[WORKERS];
    unsigned asker[WORKERS];
    for (unsigned i = 0; i < WORKERS; i++) {
        asker[i] = owner_at(w, i, 0);
        asks[i] = straight(w, asker[i]);
        cr_expect_eq(introduce(w, asker[i], asks[i], auth.public_key), TUN_ERROR_NOENT);
    }
    static const unsigned moves[] = {1, 2, 0, 2, 1, 1, 0};
    unsigned last = 0;
    cv_handle last_circuit = 0;
    for (unsigned k = 0; k < sizeof moves / sizeof *moves; k++) {
        last = owner_at(w, moves[k], 1 + k % 2);
        last_circuit = straight(w, last);
        cr_assert_eq(establish(w, last, last_circuit, &auth), TUN_CMD_INTRO_ESTABLISHED);
        for (unsigned i = 0; i < WORKERS; i++) {
            unsigned before = introduced(w, last);
            cr_expect_eq(introduce(w, asker[i], asks[i], auth.public_key), 0, "%u of %u", i, k);
            cr_expect_eq(introduced(w, last), before + 1, "%u of %u", i, k);
        }
    }
    struct cv_now now = world_now(w, last);
    tun_circuit_close(w->node[last].t, &now, last_circuit);
    sim_touch(w->sim, last);
    world_run(w, CV_SEC(1));
    for (unsigned i = 0; i < WORKERS; i++)
        cr_expect_eq(introduce(w, asker[i], asks[i], auth.public_key), TUN_ERROR_NOENT, "%u", i);
    cr_expect_eq(cv_map_count(w->node[RP].t->others->points), 0);
    world_free(w);
}

/* ---- what the node sees ---- */

static struct cv_now rp_now(struct world *w) {
    return world_now(w, RP);
}

/* OPEN, datagrams both ways and the end of it, at every worker. */
Test(tun_workers, the_node_shares_with_circuits_of_all) {
    struct world *w = many(6);
    w->node[RP].on_event = world_echo;
    for (unsigned i = 0; i < WORKERS; i++) {
        unsigned owner = owner_at(w, i, 0);
        cv_handle c = straight(w, owner);
        uint8_t body[] = {1, 0, 'x'};
        uint32_t transaction = world_request(w, owner, c, TUN_CMD_OPEN, body, sizeof body);
        world_run(w, CV_SEC(1));
        struct world_event *e = world_reply(w, owner, transaction);
        cr_assert_not_null(e);
        cr_assert_eq(e->ev.reply.command, TUN_CMD_OPENED);
        for (unsigned k = 0; k < 50; k++)
            cr_assert_eq(world_send(w, owner, c, body, sizeof body), CV_ERR_OK);
        world_run(w, CV_SEC(1));
        cr_expect_eq(w->node[owner].datagrams, 50, "worker %u", i);
        struct cv_now now = world_now(w, owner);
        tun_circuit_close(w->node[owner].t, &now, c);
        sim_touch(w->sim, owner);
        world_run(w, CV_SEC(1));
        cr_expect_eq(world_count(w, RP, TUN_EVENT_HOP_DOWN), i + 1);
    }
    cr_expect_eq(w->node[RP].datagrams, 50 * WORKERS);
    world_free(w);
}

/* Each link is told of once, by one handle, and all of its octets, by the face. */
Test(tun_workers, links_of_all_are_accounted_for_at_one_place) {
    struct world *w = many(7);
    uint64_t out = 0, in = 0;
    for (unsigned i = FIRST; i < FIRST + OWNERS; i++) {
        cv_handle c = world_circuit(w, i, (const unsigned[]){RP, i % RP}, 2);
        cr_assert_neq(c, 0);
        for (unsigned k = 0; k < 100; k++)
            cr_assert_eq(world_send(w, i, c, "x", 1), CV_ERR_OK);
    }
    world_run(w, CV_SEC(5));
    for (unsigned i = 0; i < w->nodes; i++) {
        out += i == RP ? 0 : w->node[i].carried_out;
        in += i == RP ? 0 : w->node[i].carried_in;
    }
    cr_expect_gt(out, 100 * OWNERS * TUN_DATAGRAM);
    cr_expect_eq(w->node[RP].carried_in, out);
    cr_expect_eq(w->node[RP].carried_out, in);
    struct world_event *e, *other;
    unsigned ups = 0;
    for (unsigned i = 0; (e = world_find(w, RP, TUN_EVENT_LINK_UP, i)) != NULL; i++, ups++)
        for (unsigned k = 0; k < i; k++) {
            other = world_find(w, RP, TUN_EVENT_LINK_UP, k);
            cr_assert_neq(e->ev.link_up.link, other->ev.link_up.link);
        }
    cr_expect_eq(ups, tun_counters(w->node[RP].t)->links);
    world_free(w);
}

/* Classes, messages and the hash that tokens are bound to, by handles of other workers. */
Test(tun_workers, the_node_speaks_to_links_of_all) {
    struct world *w = many(8);
    struct tunnel *face = w->node[RP].t;
    for (unsigned i = 0; i < WORKERS; i++) {
        unsigned owner = owner_at(w, i, 0);
        straight(w, owner);
        world_run(w, CV_SEC(1));
        uint32_t cursor = 0;
        struct tun_link *at = tun_handles_next(&w->node[RP].worker[i]->links, &cursor);
        struct tun_link *theirs = world_link(w, owner);
        struct cv_now now = rp_now(w);
        uint8_t hash[64];
        cr_assert_not_null(at);
        cr_assert_eq(tun_link_hash(face, at->handle, hash), CV_ERR_OK);
        cr_expect_arr_eq(hash, theirs->first_hash, sizeof hash);
        tun_link_class(face, at->handle, 1);
        cr_expect_eq(tun_link_send(face, &now, at->handle, TUN_LINKCMD_LEDGER, "half", 4),
                     CV_ERR_OK);
        sim_touch(w->sim, RP);
        world_run(w, CV_SEC(1));
        cr_expect_eq(at->class, 1);
        struct world_event *e = world_find(w, owner, TUN_EVENT_LINK_MESSAGE, 0);
        cr_assert_not_null(e, "worker %u", i);
        cr_expect_arr_eq(e->ev.link_message.body, "half", 4);
        /* ... and the other way */
        now = world_now(w, owner);
        unsigned before = world_count(w, RP, TUN_EVENT_LINK_MESSAGE);
        tun_link_send(w->node[owner].t, &now, theirs->handle, TUN_LINKCMD_LEDGER, "back", 4);
        sim_touch(w->sim, owner);
        world_run(w, CV_SEC(1));
        e = world_find(w, RP, TUN_EVENT_LINK_MESSAGE, before);
        cr_assert_not_null(e, "worker %u", i);
        cr_expect_eq(e->ev.link_message.link, at->handle);
    }
    world_free(w);
}

Test(tun_workers, all_drain_and_all_end) {
    struct world *w = many(9);
    struct tunnel *face = w->node[RP].t;
    for (unsigned i = 0; i < WORKERS; i++)
        straight(w, owner_at(w, i, 0));
    world_run(w, CV_SEC(1));
    tun_drain(face, true);
    sim_touch(w->sim, RP);
    world_run(w, CV_SEC(1));
    for (unsigned i = 0; i < WORKERS; i++)
        cr_expect_eq(world_circuit(w, owner_at(w, i, 1), (const unsigned[]){RP}, 1), 0);
    cr_expect_eq(tun_counters(face)->hops, WORKERS);
    struct cv_now now = rp_now(w);
    tun_hops_end(face, &now, 0);
    sim_touch(w->sim, RP);
    world_run(w, CV_SEC(1));
    cr_expect_eq(tun_counters(face)->hops, 0);
    tun_drain(face, false);
    sim_touch(w->sim, RP);
    world_run(w, CV_SEC(1));
    for (unsigned i = 0; i < WORKERS; i++)
        straight(w, owner_at(w, i, 2));
    world_free(w);
}

/* ---- keys ---- */

/* A day later nobody was asked for anything, and every worker has that day's keys; never
 * any that are not on disk. */
Test(tun_workers, all_have_the_keys_of_the_day_and_none_before_they_are_saved) {
    struct world *w = many(10);
    struct world_node *rp = &w->node[RP];
    size_t len, other;
    for (unsigned hour = 0; hour < 30; hour++) {
        world_run(w, CV_SEC(3600));
        int64_t wall = rp_now(w).wall;
        const uint8_t *face = tun_own_descriptor(rp->t, wall, &len);
        cr_assert_not_null(face);
        for (unsigned i = 1; i < WORKERS; i++) {
            const uint8_t *raw = tun_own_descriptor(rp->worker[i], wall, &other);
            cr_assert_not_null(raw, "hour %u", hour);
            cr_assert_eq(len, other);
            cr_expect_arr_eq(raw, face, len);
        }
    }
    /* a ring with a day that was signed and not stored is copied without it */
    struct tun_keyring_config cfg = {
        .identity = &rp->identity_secret, .addr = {rp->addr}, .addrs = 1};
    enum cv_err err;
    struct tun_keyring *k = tun_keyring_new(&cfg, &rp->t->rng, NULL, 0, &err), *copy;
    struct cv_now now = rp_now(w);
    uint8_t blob[TUN_KEYRING_MAX];
    cr_assert(tun_keyring_tick(k, &now));
    for (unsigned saved = 0; saved < 2; saved++) {
        copy = tun_keyring_new(&cfg, &rp->t->rng, blob, tun_keyring_copy(k, blob), &err);
        cr_expect_eq(err, CV_ERR_OK);
        cr_expect_eq(tun_keyring_current(copy, now.wall) != NULL, saved == 1);
        tun_keyring_free(copy);
        (void)tun_keyring_blob(k, &len);
        tun_keyring_saved(k);
    }
    tun_keyring_free(k);
    world_free(w);
}

/* ---- datagrams that come to the wrong one ---- */

Test(tun_workers, whichever_socket_a_datagram_comes_to_it_finds_its_worker) {
    struct world *w = many(11);
    w->node[RP].scatters = true;
    for (unsigned i = 0; i < OWNERS; i++) {
        cv_handle c = world_circuit(w, FIRST + i, (const unsigned[]){RP, i % RP}, 2);
        cr_assert_neq(c, 0);
        w->node[i % RP].on_event = world_echo;
        world_request(w, FIRST + i, c, TUN_CMD_OPEN, (const uint8_t[]){1, 0, 'x'}, 3);
        world_run(w, CV_SEC(1));
        for (unsigned k = 0; k < 20; k++)
            world_send(w, FIRST + i, c, "x", 1);
        world_run(w, CV_SEC(1));
        cr_expect_eq(w->node[FIRST + i].datagrams, 20, "owner %u", i);
    }
    world_free(w);
}

/* One that lasts: keys are renewed again and again, each time by a handshake like a
 * stranger's, and the circuits stay. */
Test(tun_workers, renewals_meet_the_link_they_renew) {
    struct world *w = many(12);
    cv_handle c[WORKERS];
    unsigned owner[WORKERS];
    for (unsigned i = 0; i < WORKERS; i++) {
        owner[i] = owner_at(w, i, 0);
        c[i] = straight(w, owner[i]);
    }
    for (unsigned minute = 0; minute < 15; minute++)
        for (unsigned s = 0; s < 12; s++) {
            for (unsigned i = 0; i < WORKERS; i++)
                cr_assert_eq(world_send(w, owner[i], c[i], "x", 1), CV_ERR_OK, "minute %u", minute);
            world_run(w, CV_SEC(5));
        }
    cr_expect_eq(tun_counters(w->node[RP].t)->links, WORKERS);
    cr_expect_geq(tun_counters(w->node[RP].t)->handshakes_in, WORKERS * 7);
    world_free(w);
}

/* ---- a link whose other end moves to a network that another worker answers for ---- */

struct mover {
    struct world *w;
    struct tunnel *client, *relay[WORKERS];
    struct tunnel
        *beside; /* another one at the same address, as workers of a relay are; NULL: none */
    struct cv_addr at, relay_addr;
    struct cv_now now, beside_now, relay_now; /* clocks differ */
};

static void tell_all(struct mover *m) {
    for (unsigned i = 0, quiet = 0; quiet < WORKERS; i = (i + 1) % WORKERS, quiet++) {
        struct tun_message *msg;
        while ((msg = tun_poll_message(m->relay[i])) != NULL) {
            quiet = 0;
            tun_on_message(m->relay[msg->to], &m->relay_now, msg);
        }
    }
}

static struct cv_now time_at(const struct mover *m, const struct tunnel *t) {
    return t == m->client ? m->now : t == m->beside ? m->beside_now : m->relay_now;
}

static bool carry(struct mover *m, struct tunnel *from, bool to_relay) {
    static uint8_t arena[64 * TUN_DATAGRAM];
    static struct cv_run runs[64];
    struct cv_batch b = cv_batch_init(arena, 64, TUN_DATAGRAM, 0, runs, 64);
    struct cv_now now = time_at(m, from);
    (void)tun_poll_transmit(from, &now, &b);
    for (uint32_t r = 0; r < b.runs_used; r++)
        for (uint16_t k = 0; k < runs[r].count; k++) {
            uint8_t *d = cv_batch_at(&b, &runs[r], k);
            if (to_relay)
                tun_on_datagram(m->relay[tun_worker_of(d, WORKERS)], &m->relay_now, &m->at, d,
                                TUN_DATAGRAM);
            else if (cv_addr_equal(&runs[r].to.addr, &m->at))
                for (unsigned i = 0; i < 2; i++) { /* the other one does not know it */
                    struct tunnel *t = i ? m->beside : m->client;
                    now = time_at(m, t);
                    if (t)
                        tun_on_datagram(t, &now, &m->relay_addr, d, TUN_DATAGRAM);
                }
            tell_all(m);
        }
    return b.runs_used > 0;
}

static void pump(struct mover *m, cv_usec for_so_long) {
    struct tun_event ev;
    for (cv_usec at = 0; at < for_so_long; at += CV_MSEC(50)) {
        m->now.mono += CV_MSEC(50);
        m->beside_now.mono += CV_MSEC(50);
        m->relay_now.mono += CV_MSEC(50);
        tun_on_timeout(m->client, &m->now);
        if (m->beside)
            tun_on_timeout(m->beside, &m->beside_now);
        for (unsigned i = 0; i < WORKERS; i++)
            tun_on_timeout(m->relay[i], &m->relay_now);
        tell_all(m);
        for (bool any = true; any;) {
            any = carry(m, m->client, true);
            if (m->beside)
                any |= carry(m, m->beside, true);
            for (unsigned i = 0; i < WORKERS; i++)
                any |= carry(m, m->relay[i], false);
        }
        while (tun_poll_event(m->client, &ev))
            cr_assert_neq(ev.kind, TUN_EVENT_CIRCUIT_DOWN);
        while (m->beside && tun_poll_event(m->beside, &ev))
            cr_assert_neq(ev.kind, TUN_EVENT_CIRCUIT_DOWN, "beside");
        while (tun_poll_event(m->relay[0], &ev)) {}
    }
}

Test(tun_workers, a_link_that_moves_is_renewed_by_the_worker_that_has_it) {
    static struct mover m;
    m.w = many(13);
    unsigned owner = owner_at(m.w, 1, 0);
    cv_handle c = straight(m.w, owner);
    m.client = m.w->node[owner].t;
    for (unsigned i = 0; i < WORKERS; i++)
        m.relay[i] = m.w->node[RP].worker[i];
    m.relay_addr = m.w->node[RP].addr;
    m.now = world_now(m.w, owner);
    m.relay_now = rp_now(m.w);
    for (unsigned move = 0; move < WORKERS; move++) {
        /* at home, elsewhere, and at the face's */
        m.at = m.w->node[owner_at(m.w, (move + 1) % WORKERS, 3)].addr;
        tun_on_rebind(m.client, &m.now);
        for (unsigned s = 0; s < 400; s += 4) {
            struct cv_endpoint to = cv_endpoint_circuit(c, 0);
            cr_assert_eq(tun_send(m.client, &m.now, &to, "x", 1), CV_ERR_OK, "move %u, %u s", move,
                         s);
            pump(&m, CV_SEC(4));
        }
    }
    cr_expect_eq(m.relay[1]->links.count, 1);
    cr_expect_eq(m.relay[0]->links.count + m.relay[2]->links.count, 0);
    unsigned moved = 0;
    for (unsigned i = 0; i < WORKERS; i++)
        moved += (unsigned)cv_map_count(m.relay[i]->others->moved);
    cr_expect_eq(moved, 1, "where it is, and not where it was: %u", moved);
    world_free(m.w);
}

static void pair_begin(struct mover *m, uint64_t seed, unsigned owner, unsigned beside,
                       cv_handle ret[2]) {
    m->w = many(seed);
    for (unsigned i = 0; i < WORKERS; i++)
        m->relay[i] = m->w->node[RP].worker[i];
    owner = owner_at(m->w, owner, 0);
    beside = owner_at(m->w, beside, 1);
    ret[0] = straight(m->w, owner);
    ret[1] = straight(m->w, beside);
    m->client = m->w->node[owner].t;
    m->beside = m->w->node[beside].t;
    m->relay_addr = m->w->node[RP].addr;
    m->now = world_now(m->w, owner);
    m->beside_now = world_now(m->w, beside);
    m->relay_now = rp_now(m->w);
    m->at = m->w->node[beside].addr;
}

/* Both say something every four seconds, who is there. */
static void pair_runs(struct mover *m, const cv_handle c[2], unsigned seconds) {
    for (unsigned s = 0; s < seconds; s += 4) {
        struct cv_endpoint to = cv_endpoint_circuit(c[0], 0), too = cv_endpoint_circuit(c[1], 0);
        cr_assert_eq(tun_send(m->client, &m->now, &to, "x", 1), CV_ERR_OK, "%u s", s);
        if (m->beside)
            cr_assert_eq(tun_send(m->beside, &m->beside_now, &too, "x", 1), CV_ERR_OK, "%u s", s);
        pump(m, CV_SEC(4));
    }
}

static unsigned addresses_known(const struct mover *m) {
    unsigned n = 0;
    for (unsigned i = 0; i < WORKERS; i++)
        n += (unsigned)cv_map_count(m->relay[i]->others->moved);
    return n;
}

/* A relay of several workers has a link for each, from one address, and takes all along. When
 * one of them ends, the other is still found there, whichever came first. */
Test(tun_workers, links_that_move_together_are_renewed) {
    for (unsigned second = 0; second < 2; second++) {
        static struct mover m;
        cv_handle c[2];
        pair_begin(&m, 14, 1, 1, c);
        m.at = m.w->node[owner_at(m.w, 2, 2)].addr;
        tun_on_rebind(second ? m.beside : m.client, &m.now);
        pump(&m, CV_SEC(1));
        pair_runs(&m, c, 400);
        cr_expect_eq(m.relay[1]->links.count, 2);
        struct tunnel *gone = m.beside;
        m.beside = NULL;
        pair_runs(&m, c, 600);
        cr_expect_eq(m.relay[1]->links.count, 1);
        cr_expect_eq(addresses_known(&m), 1);
        (void)gone;
        world_free(m.w);
    }
}

/* One came along, the other was there already: two workers have links from one address. */
Test(tun_workers, links_of_two_workers_from_one_address_are_renewed) {
    static struct mover m;
    cv_handle c[2];
    pair_begin(&m, 15, 1, 2, c);
    tun_on_rebind(m.client, &m.now);
    pair_runs(&m, c, 1500);
    cr_expect_eq(m.relay[1]->links.count, 1);
    cr_expect_eq(m.relay[2]->links.count, 1);
    cr_expect_eq(addresses_known(&m), 1);
    world_free(m.w);
}

/* Where somebody moved to, a household may have any number of links: a handshake from there, which
 * has cost its sender nothing yet, looks at some of them only. */
Test(tun_workers, a_handshake_from_where_many_are_looks_at_few) {
    static struct mover m;
    cv_handle c[2];
    pair_begin(&m, 14, 1, 1, c);
    m.at = m.w->node[owner_at(m.w, 2, 2)].addr;
    tun_on_rebind(m.client, &m.now);
    pair_runs(&m, c, 40);
    struct tunnel *t = m.relay[2];
    cr_assert_not_null(cv_map_get(t->others->moved, &m.at));
    struct cv_addr from = m.at;
    for (unsigned i = 0; i < 1000; i++) {
        from.port = (uint16_t)(10000 + i);
        struct tun_link *l = tun_link_alloc(t, &m.relay_now, &from, false);
        cr_assert_not_null(l);
        l->state = TUN_STATE_OPEN;
        tun_link_regroup(t, l);
    }
    t->places_looked_at = 0;
    cr_expect_eq(tun_worker_by_address(t, &m.at), 1);
    cr_expect_leq(t->places_looked_at, TUN_PLACES_SEEN);
    cr_expect_gt(t->places_looked_at, 0);
    world_free(m.w);
}

/* ---- what may be lost ---- */

/* Junk that comes to a worker is shown the face at a rate, and no more is told. */
Test(tun_workers, junk_tells_little) {
    struct world *w = many(14);
    struct world_node *rp = &w->node[RP];
    struct cv_now now = rp_now(w);
    uint8_t junk[TUN_DATAGRAM] = {1, 2, 3, 1 << 2};
    struct cv_addr from = sim_addr(99, 9);
    unsigned told = 0;
    for (unsigned i = 0; i < 10000; i++) {
        junk[0] = (uint8_t)(i % 90);
        (void)tun_on_datagram(rp->worker[1], &now, &from, junk, sizeof junk);
        struct tun_message *m;
        while ((m = tun_poll_message(rp->worker[1])) != NULL) {
            told++;
            tun_message_free(m);
        }
    }
    cr_expect_leq(told, 2 * TUN_STRANGERS_S);
    world_free(w);
}

/* So many counted messages of one worker wait for another when this part of its room is full. */
static uint32_t room_of(const struct tunnel *t, unsigned eighths) {
    return (t->others->room * eighths + 7) / 8;
}

/* When nobody carries them, messages do not grow for ever. */
Test(tun_workers, messages_that_nobody_takes_are_bounded) {
    struct world *w = many(15);
    struct world_node *rp = &w->node[RP];
    struct cv_now now = rp_now(w);
    uint8_t other[TUN_DATAGRAM] = {1, 2, 3, 2 << 2};
    for (unsigned i = 0; i < 3 * TUN_MESSAGES_MAX; i++)
        (void)tun_on_datagram(rp->worker[1], &now, &w->node[FIRST].addr, other, sizeof other);
    cr_expect_eq(rp->worker[1]->told_count, room_of(rp->worker[1], 6));
    world_free(w);
}

/* Datagrams that come to the wrong worker leave room for cells, these for questions, and
 * all for what must arrive. */
Test(tun_workers, questions_of_strangers_do_not_push_out_what_must_arrive) {
    struct world *w = many(16);
    struct world_node *rp = &w->node[RP];
    struct tunnel *t = rp->worker[1];
    uint8_t other[TUN_DATAGRAM] = {1, 2, 3, 2 << 2};
    struct cv_now now = rp_now(w);
    for (unsigned i = 0; i < TUN_MESSAGES_MAX; i++)
        (void)tun_on_datagram(t, &now, &w->node[FIRST].addr, other, sizeof other);
    struct tun_message cell = {.to = 2, .kind = TUN_MESSAGE_SEND, .counted = true};
    struct tun_message question = {.to = 2, .kind = TUN_MESSAGE_INTRODUCE};
    uint32_t cells = 0, questions = 0;
    while (tun_tell(t, &cell, NULL, 0))
        cells++;
    while (tun_tell_question(t, &question, NULL, 0))
        questions++;
    cr_expect_eq(cells, room_of(t, 7) - room_of(t, 6), "%u", cells);
    cr_expect_eq(questions, room_of(t, 8) - room_of(t, 7), "%u", questions);
    cr_expect(tun_tell(t, &(struct tun_message){.to = 2, .kind = TUN_MESSAGE_ADDRESS}, NULL, 0));
    /* another worker's room is its own */
    question = (struct tun_message){.to = 0, .kind = TUN_MESSAGE_FIND};
    cr_expect(tun_tell_question(t, &question, NULL, 0));
    world_free(w);
}

/* ---- a worker that has no time ---- */

enum { LATE = 2 }; /* the one */

static void send_some(struct pair *p, unsigned from, unsigned count) {
    for (unsigned i = from; i < from + count; i++) {
        uint8_t number[] = {(uint8_t)i, (uint8_t)(i >> 8)};
        cr_assert_eq(world_send(p->w, p->viewer, p->a, number, sizeof number), CV_ERR_OK);
        if (i % 100 == 99)
            world_run(p->w, CV_MSEC(1));
    }
}

/* A burst that is longer than all the room: what has none waits at the worker where it came
 * in, as for a link, and all of it arrives, in order. */
Test(tun_workers, a_burst_waits_for_a_worker_without_time) {
    struct pair p;
    meet(&p, 1, LATE);
    struct world_node *rp = &p.w->node[RP];
    const struct tun_crossing *x = &rp->worker[1]->others->to[LATE];
    unsigned count = room_of(rp->worker[1], 7) + TUN_FLOW_CELLS - 100;
    p.w->node[p.seeder].keep_datagrams = true;
    rp->stalled = LATE;
    send_some(&p, 0, count);
    world_run(p.w, CV_MSEC(20));
    cr_expect_gt(x->waiting, TUN_FLOW_CELLS / 2, "%u wait: the test tests nothing", x->waiting);
    cr_expect_eq(p.w->node[p.seeder].datagrams, 0);
    world_resume(p.w, RP);
    world_run(p.w, CV_SEC(1));
    cr_expect_eq(p.w->node[p.seeder].datagrams, count, "%lu of %u arrived",
                 (unsigned long)p.w->node[p.seeder].datagrams, count);
    for (unsigned i = 0; i < count; i++) {
        const struct world_event *e = world_find(p.w, p.seeder, TUN_EVENT_DATAGRAM, i);
        unsigned number = e ? e->octets[0] + 256U * e->octets[1] : count;
        cr_assert_eq(number, i);
    }
    cr_expect_eq(x->waiting, 0);
    cr_expect_lt(x->untaken, room_of(rp->worker[1], 1), "%u", x->untaken);
    /* ... and the way is as it was */
    send_some(&p, 0, 1000);
    world_run(p.w, CV_SEC(1));
    cr_expect_eq(p.w->node[p.seeder].datagrams, count + 1000);
    cr_expect_eq(rp->worker[1]->sched.cells_used + rp->worker[LATE]->sched.cells_used, 0);
    world_free(p.w);
}

/* Longer: what waits is bounded, others at that worker go on, and what waited too long is
 * thrown away as on any path: the oldest first, and the more the longer. */
Test(tun_workers, what_waits_for_a_worker_is_bounded_and_does_not_get_old) {
    struct pair p;
    meet(&p, 1, LATE);
    struct world_node *rp = &p.w->node[RP];
    struct tunnel *t = rp->worker[1];
    unsigned beside = owner_at(p.w, 1, 1);
    cv_handle c = world_circuit(p.w, beside, (const unsigned[]){RP, 0}, 2);
    cr_assert_neq(c, 0);
    p.w->node[0].on_event = world_echo;
    world_request(p.w, beside, c, TUN_CMD_OPEN, (const uint8_t[]){1, 0, 'x'}, 3);
    world_run(p.w, CV_SEC(1));
    rp->stalled = LATE;
    uint32_t most = 0;
    for (unsigned i = 0; i < 80; i++) {
        send_some(&p, 0, 100);
        cr_assert_eq(world_send(p.w, beside, c, "x", 1), CV_ERR_OK);
        world_run(p.w, CV_MSEC(50));
        most = t->sched.cells_used > most ? t->sched.cells_used : most;
    }
    world_run(p.w, CV_SEC(1));
    cr_expect_leq(most, TUN_FLOW_CELLS + 1, "%u", most);
    cr_expect_eq(t->others->to[LATE].untaken, room_of(t, 7));
    cr_expect_eq(p.w->node[beside].datagrams, 80);
    world_resume(p.w, RP);
    world_run(p.w, CV_SEC(1));
    cr_expect_gt(t->sched.dropped_cap, 0);
    /* and is over: what is sent now arrives */
    uint64_t before = p.w->node[p.seeder].datagrams;
    send_some(&p, 0, 1000);
    world_run(p.w, CV_SEC(1));
    cr_expect_eq(p.w->node[p.seeder].datagrams, before + 1000);
    world_free(p.w);
}

/* What a circuit carries is as old as its wait between workers has made it. */
Test(tun_workers, delay_between_workers_is_delay) {
    struct pair p;
    meet(&p, 1, LATE);
    struct world_node *rp = &p.w->node[RP];
    cv_usec since[2];
    rp->stalled = LATE;
    send_some(&p, 0, 10);
    world_run(p.w, CV_SEC(2));
    const struct tun_message *m = rp->waits;
    while (m && m->kind != TUN_MESSAGE_JOINED)
        m = m->next;
    cr_assert_not_null(m);
    since[0] = m->since;
    cr_expect_geq(rp_now(p.w).mono - since[0], CV_SEC(1));
    uint32_t cursor = 0;
    const struct tun_hop *h = tun_handles_next(&rp->worker[LATE]->hops, &cursor);
    struct cv_now now = rp_now(p.w);
    tun_hop_on_joined(rp->worker[LATE], &now, m);
    cr_assert_not_null(h->prev.flow.head);
    since[1] = h->prev.flow.head->queued_at;
    cr_expect_eq(since[0], since[1]);
    world_resume(p.w, RP);
    world_free(p.w);
}

/* The pool of a worker is full of what waits for another: circuits of that die, not those
 * whose links are free. */
Test(tun_workers, what_waits_for_a_worker_is_not_paid_by_others) {
    struct pair p;
    meet(&p, 1, LATE);
    struct world_node *rp = &p.w->node[RP];
    struct tunnel *t = rp->worker[1];
    unsigned beside = owner_at(p.w, 1, 1);
    straight(p.w, beside);
    t->link_cells_max = 200; /* as if it had little memory */
    rp->stalled = LATE;
    unsigned count = room_of(t, 7) + 300;
    send_some(&p, 0, count);
    world_run(p.w, CV_MSEC(500));
    cr_expect_eq(t->count.circuits_killed, 1);
    cr_expect_eq(t->sched.cells_used, 0);
    cr_expect_eq(world_count(p.w, beside, TUN_EVENT_CIRCUIT_DOWN), 0);
    world_resume(p.w, RP);
    world_run(p.w, CV_SEC(1));
    cr_expect_eq(world_count(p.w, p.seeder, TUN_EVENT_CIRCUIT_DOWN), 1, "the other half goes, too");
    world_free(p.w);
}

/* The node is told when to wait: nothing that it was let send is lost. */
Test(tun_workers, the_node_waits_for_a_worker_without_time) {
    struct world *w = many(17);
    struct world_node *rp = &w->node[RP];
    rp->on_event = world_echo;
    unsigned owner = owner_at(w, LATE, 0);
    cv_handle c = straight(w, owner);
    world_request(w, owner, c, TUN_CMD_OPEN, (const uint8_t[]){1, 0, 'x'}, 3);
    world_run(w, CV_SEC(1));
    uint32_t cursor = 0;
    const struct tun_hop *h = tun_handles_next(&rp->worker[LATE]->hops, &cursor);
    struct cv_endpoint to = cv_endpoint_circuit(h->handle, 0);
    struct cv_now now = rp_now(w);
    unsigned sent = 0, asked = 0;
    rp->stalled = LATE;
    while (tun_has_room(rp->t)) {
        for (unsigned i = 0; i < 128; i++, sent++) /* as many as a node has in its hand */
            cr_assert_eq(tun_send(rp->t, &now, &to, "x", 1), CV_ERR_OK);
        cr_assert_lt(asked++, TUN_MESSAGES_MAX / 128);
    }
    while (tun_send(rp->t, &now, &to, "x", 1) == CV_ERR_OK)
        sent++;
    cr_expect_eq(sent, room_of(rp->t, 7), "%u", sent);
    sim_touch(w->sim, RP);
    world_run(w, CV_SEC(1));
    cr_expect_not(tun_has_room(rp->t));
    world_resume(w, RP);
    cr_expect(tun_has_room(rp->t));
    world_run(w, CV_SEC(1));
    cr_expect_eq(w->node[owner].datagrams, sent);
    world_free(w);
}

/* ... and what comes for the node waits for a node without time. */
Test(tun_workers, what_comes_for_the_node_waits_for_it) {
    struct world *w = many(18);
    struct world_node *rp = &w->node[RP];
    rp->on_event = world_echo;
    unsigned owner = owner_at(w, 1, 0);
    cv_handle c = straight(w, owner);
    world_request(w, owner, c, TUN_CMD_OPEN, (const uint8_t[]){1, 0, 'x'}, 3);
    world_run(w, CV_SEC(1));
    struct tunnel *t = rp->worker[1];
    t->others->to[0].untaken = t->others->room; /* it has taken nothing */
    for (unsigned i = 0; i < 100; i++)
        cr_assert_eq(world_send(w, owner, c, "x", 1), CV_ERR_OK);
    world_run(w, CV_MSEC(50));
    cr_expect_eq(t->others->to[0].waiting, 100);
    cr_expect_eq(rp->datagrams, 0);
    struct tun_message said = {.kind = TUN_MESSAGE_TAKEN, .number = t->others->room};
    struct cv_now now = rp_now(w);
    tun_crossing_on_taken(t, &now, &said);
    sim_touch(w->sim, RP);
    world_run(w, CV_SEC(1));
    cr_expect_eq(rp->datagrams, 100);
    cr_expect_eq(w->node[owner].datagrams, 100);
    world_free(w);
}

/* ---- questions that are lost ---- */

/* The first message of each kind is lost on its way. */
static bool loses_first(struct world_node *n, const struct tun_message *m) {
    unsigned *seen = n->ctx;
    return (*seen & 1u << m->kind) == 0 && (*seen |= 1u << m->kind) != 0 &&
           (m->kind == TUN_MESSAGE_INTRODUCE || m->kind == TUN_MESSAGE_JOIN ||
            m->kind == TUN_MESSAGE_MEET || m->kind == TUN_MESSAGE_FIND);
}

/* Repeated as always, after a quarter of a second, they are asked: between any two workers,
 * also where the face stands between. */
Test(tun_workers, a_lost_question_is_asked_again) {
    for (unsigned k = 0; k < WORKERS * WORKERS; k++) {
        if (k / WORKERS == k % WORKERS)
            continue;
        struct pair p = {.w = many(19)};
        struct world_node *rp = &p.w->node[RP];
        unsigned seen = 0;
        p.viewer = owner_at(p.w, k / WORKERS, 0);
        p.seeder = owner_at(p.w, k % WORKERS, 0);
        p.a = straight(p.w, p.viewer);
        p.b = straight(p.w, p.seeder);
        world_request(p.w, p.viewer, p.a, TUN_CMD_ESTABLISH_RENDEZVOUS, cookie, sizeof cookie);
        world_run(p.w, CV_SEC(1));
        rp->ctx = &seen;
        rp->loses = loses_first;
        p.joined = join(p.w, p.seeder, p.b);
        world_run(p.w, CV_SEC(2));
        unsigned asked = 1u << TUN_MESSAGE_JOIN | 1u << TUN_MESSAGE_MEET;
        cr_assert_neq(seen & asked, 0, "%u: nothing was lost: the test tests nothing", k);
        struct world_event *e = world_reply(p.w, p.seeder, p.joined);
        cr_assert_not_null(e, "%u", k);
        cr_expect_eq(e->ev.reply.command, TUN_CMD_JOINED, "%u: code %u", k, e->ev.reply.code);
        world_free(p.w);
    }
}

Test(tun_workers, a_lost_introduction_is_asked_again) {
    for (unsigned k = 0; k < WORKERS * WORKERS; k++) {
        if (k / WORKERS == k % WORKERS)
            continue;
        struct world *w = many(20);
        struct world_node *rp = &w->node[RP];
        struct cv_ed25519_secret auth;
        unsigned seen = 0;
        cv_ed25519_from_seed(&auth, (const uint8_t[CV_KEY]){1});
        unsigned asker = owner_at(w, k / WORKERS, 0), point = owner_at(w, k % WORKERS, 0);
        cv_handle asks = straight(w, asker), is = straight(w, point);
        cr_assert_eq(establish(w, point, is, &auth), TUN_CMD_INTRO_ESTABLISHED);
        rp->ctx = &seen;
        rp->loses = loses_first;
        cr_expect_eq(introduce(w, asker, asks, auth.public_key), 0, "%u", k);
        cr_expect_neq(seen & 1u << TUN_MESSAGE_INTRODUCE, 0, "%u: nothing was lost", k);
        cr_expect_eq(introduced(w, point), 1, "%u", k);
        world_free(w);
    }
}

/* As often as an EXTEND may be repeated, and it counts as one. */
Test(tun_workers, a_lost_extend_is_asked_again) {
    struct world *w = many(21);
    struct world_node *rp = &w->node[RP];
    unsigned seen = 0;
    rp->ctx = &seen;
    rp->loses = loses_first;
    cr_expect_neq(world_circuit(w, owner_at(w, 1, 0), (const unsigned[]){RP, 3}, 2), 0);
    cr_expect_neq(seen & 1u << TUN_MESSAGE_FIND, 0, "nothing was lost");
    uint32_t cursor = 0;
    const struct tun_hop *h = tun_handles_next(&rp->worker[1]->hops, &cursor);
    cr_expect_eq(h->extends, 1);
    world_free(w);
}
