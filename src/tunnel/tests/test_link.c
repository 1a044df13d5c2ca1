/*
 * Links: handshakes under loss and load, names, new keys in time, new
 * addresses, silence and death, and junk.
 */
#include "crypto/rng_seeded.h"
#include "support/suite.h"
#include "tunnel/tests/tape.h"
#include "tunnel/tests/world.h"

CV_SUITE(tun_link);

/* Opens a link by opening a circuit of one hop. */
static cv_handle linked(struct world *w, unsigned client, unsigned relay) {
    cv_handle c = world_circuit(w, client, &relay, 1);
    cr_assert_neq(c, 0);
    return c;
}

Test(tun_link, is_up_or_down_whatever_the_network_does) {
    unsigned up = 0;
    for (uint64_t seed = 0; seed < 200; seed++) {
        struct world *w = world_new(&(struct sim_config){.seed = seed});
        unsigned relay = world_relay(w, NULL), client = world_client(w, NULL);
        sim_path_default(w->sim, &(struct sim_path){.delay = CV_MSEC(30),
                                                    .jitter = CV_MSEC(400),
                                                    .loss_ppm = 300000,
                                                    .duplicate_ppm = 100000});
        world_open(w, client, &relay, 1);
        world_run(w, CV_SEC(20));
        unsigned ups = world_count(w, client, TUN_EVENT_LINK_UP);
        unsigned downs = world_count(w, client, TUN_EVENT_LINK_DOWN);
        cr_assert(ups + downs >= 1, "stuck; seed %lu", seed);
        up += ups > 0;
        /* nothing half-made stays behind */
        world_run(w, CV_SEC(20));
        cr_expect_eq(w->node[relay].t->halves, 0, "seed %lu", seed);
        world_free(w);
    }
    /* P(five tries lost) = (1 - .7 * .7)^5 = 3.5 % */
    cr_expect_gt(up, 180, "%u of 200", up);
}

Test(tun_link, names_are_proved_and_a_clients_differ_from_guard_to_guard) {
    struct world *w = world_new(&(struct sim_config){.seed = 1});
    unsigned a = world_relay(w, NULL), b = world_relay(w, NULL);
    struct cv_ed25519_secret account_secret;
    cv_ed25519_from_seed(&account_secret, (const uint8_t[CV_KEY]){9});
    unsigned named = world_client(w, &(struct tun_config){.identity = &account_secret});
    unsigned nameless = world_client(w, NULL);
    linked(w, named, a);
    linked(w, named, b);
    linked(w, nameless, a);
    world_circuit(w, nameless, (const unsigned[]){a, b}, 2);
    world_run(w, CV_SEC(1));

    uint8_t seen[2][CV_KEY];
    unsigned found[2] = {0, 0}, relays = 0;
    for (unsigned relay = 0; relay < 2; relay++) {
        struct world_event *e;
        for (unsigned i = 0; (e = world_find(w, relay, TUN_EVENT_LINK_UP, i)); i++) {
            if (e->ev.link_up.ours)
                continue;
            if (e->ev.link_up.role == TUN_ROLE_CLIENT) {
                memcpy(seen[relay], e->ev.link_up.identity, CV_KEY);
                found[relay]++;
            }
            if (e->ev.link_up.role == TUN_ROLE_RELAY) {
                cr_expect_arr_eq(e->ev.link_up.identity, w->node[a].identity_secret.public_key,
                                 CV_KEY);
                relays++;
            }
        }
    }
    cr_expect_eq(found[0], 1, "said three times, told once");
    cr_expect_eq(found[1], 1);
    cr_expect_eq(relays, 1);
    cr_expect(memcmp(seen[0], seen[1], CV_KEY) != 0);
    cr_expect(memcmp(seen[0], account_secret.public_key, CV_KEY) != 0);
    expect_vector("derivations", "account", seen[0], CV_KEY);
    world_free(w);
}

static struct tun_link *says_it_is_a_relay(struct tunnel *t, const struct cv_now *now,
                                           const uint8_t ip[4]) {
    struct cv_addr addr = {.family = 4, .port = 4000};
    memcpy(addr.ip, ip, 4);
    struct tun_link *l = tun_link_alloc(t, now, &addr, false);
    cr_assert_not_null(l);
    l->role = TUN_ROLE_RELAY;
    tun_link_regroup(t, l);
    return l;
}

/* A thousand names of relays in one network are served as one until some have standing. */
Test(tun_link, relays_without_standing_share_what_one_has) {
    struct world *w = world_new(&(struct sim_config){.seed = 1});
    unsigned relay = world_relay(w, NULL);
    struct tunnel *t = w->node[relay].t;
    struct cv_now now = sim_node_now(w->sim, relay);
    struct tun_link *a = says_it_is_a_relay(t, &now, (const uint8_t[]){203, 0, 113, 1});
    struct tun_link *b = says_it_is_a_relay(t, &now, (const uint8_t[]){203, 0, 113, 2});
    struct tun_link *c = says_it_is_a_relay(t, &now, (const uint8_t[]){198, 51, 100, 1});
    cr_expect_eq(a->group, b->group);
    cr_expect_neq(a->group, c->group);
    cr_expect_eq(a->group->class, TUN_SCHED_RELAYS);
    cr_expect_eq(a->group->weight, TUN_WEIGHT_UNKNOWN);

    tun_link_weight(t, a->handle, 12); /* it carried something */
    cr_expect_neq(a->group, b->group);
    cr_expect_eq(a->group->weight, 12);
    cr_expect_eq(b->group->weight, TUN_WEIGHT_UNKNOWN);
    tun_link_weight(t, a->handle, TUN_WEIGHT_UNKNOWN); /* that was long ago */
    cr_expect_eq(a->group, b->group);
    world_free(w);
}

/* Who hosts at one place has 256 /56s of IPv6, or as many /24s. Relays of one /32 or /16 never
 * follow each other in a path, and wait in one place here. */
Test(tun_link, relays_without_standing_of_one_provider_share_it_too) {
    struct world *w = world_new(&(struct sim_config){.seed = 1});
    unsigned relay = world_relay(w, NULL);
    struct tunnel *t = w->node[relay].t;
    struct cv_now now = sim_node_now(w->sim, relay);
    for (unsigned family = 4; family <= 6; family += 2) {
        struct tun_link *first = NULL, *client[2];
        for (unsigned i = 0; i < 256 + 2; i++) {
            struct cv_addr addr = {.family = (uint8_t)family, .port = 4000};
            if (family == 4)
                memcpy(addr.ip, (const uint8_t[]){203, 0, (uint8_t)i, 1}, 4);
            else
                memcpy(addr.ip, (const uint8_t[]){0x20, 1, 0xd, 0xb8, 0, 7, (uint8_t)i, 1}, 8);
            struct tun_link *l = tun_link_alloc(t, &now, &addr, false);
            cr_assert_not_null(l);
            if (i >= 256) {
                client[i - 256] = l;
                continue;
            }
            l->role = TUN_ROLE_RELAY;
            tun_link_regroup(t, l);
            if (!first)
                first = l;
            cr_expect_eq(l->group, first->group, "family %u, network %u", family, i);
            cr_expect_eq(l->group->weight, TUN_WEIGHT_UNKNOWN);
        }
        cr_expect_neq(client[0]->group, client[1]->group, "clients: each household for itself");
        cr_expect_neq(client[0]->group, first->group);
    }
    cr_expect_eq(cv_map_count(t->netgroups), 2 + 2 * 256, "places: by households");
    world_free(w);
}

/* So many circuits come over the link, all of them in use, or so many less. */
static void brings(struct tunnel *t, const struct cv_now *now, struct tun_link *l, int n) {
    static struct tun_hop hop[2 * TUN_PLACES_RELAY];
    static unsigned count;
    for (; n > 0; n--) {
        hop[count].heard_at = hop[count].counted_at = now->mono;
        tun_places_hop_enters(t, &hop[count++], l->counted);
    }
    for (; n < 0; n++)
        tun_places_hop_leaves(t, &hop[--count], l->counted);
}

/* What a relay brings is of many people: it makes place for a client when it has as many more.
 * Of one that says it is a relay and did nothing yet, it is one's, as of all others there. */
Test(tun_link, a_relay_has_places_for_its_clients) {
    struct world *w = world_new(&(struct sim_config){.seed = 1});
    unsigned relay = world_relay(w, NULL);
    struct tunnel *t = w->node[relay].t;
    struct cv_now now = sim_node_now(w->sim, relay);
    struct cv_addr addr = {.family = 4, .ip = {198, 51, 100, 1}, .port = 4000};
    struct tun_link *full = says_it_is_a_relay(t, &now, (const uint8_t[]){203, 0, 113, 1});
    struct tun_link *client = tun_link_alloc(t, &now, &addr, false);
    brings(t, &now, full, 1);
    cr_expect_not(tun_places_take_hop(t, &now, client));
    cr_expect_eq(t->places_looked_at, 0, "nobody was looked for");
    brings(t, &now, full, 1);
    cr_expect_not(tun_places_take_hop(t, &now, client), "they are in use");
    cr_expect_neq(t->places_looked_at, 0);
    brings(t, &now, full, -2);

    addr = full->addr;
    addr.ip[3]++;
    struct tun_link *beside = tun_link_alloc(t, &now, &addr, false);
    cr_expect_eq(full->counted, beside->counted, "of one network");
    cr_expect_eq(full->counted->guests.count, 2);
    cr_expect_neq(full->netgroup, beside->netgroup, "though served apart");

    tun_link_weight(t, full->handle, TUN_WEIGHT_NEW);
    cr_expect_neq(full->counted, beside->counted);
    t->places_looked_at = 0;
    brings(t, &now, full, 2 * TUN_PLACES_RELAY - 1);
    cr_expect_not(tun_places_take_hop(t, &now, client));
    cr_expect_eq(t->places_looked_at, 0, "nobody was looked for");
    brings(t, &now, full, 1);
    cr_expect_not(tun_places_take_hop(t, &now, client), "they are in use");
    cr_expect_neq(t->places_looked_at, 0);
    brings(t, &now, full, 1 - 2 * TUN_PLACES_RELAY);
    cr_expect_leq(full->counted->hops.cap, 4, "memory of those that left");
    brings(t, &now, full, -1);
    world_free(w);
}

/* Neither by many links under its name, nor as strangers' circuits led us to it, has a relay
 * more than its weight. */
Test(tun_link, a_relay_has_its_weight_once) {
    struct world *w = world_new(&(struct sim_config){.seed = 1});
    unsigned relay = world_relay(w, NULL);
    struct tunnel *t = w->node[relay].t;
    struct cv_now now = sim_node_now(w->sim, relay);
    struct tun_link *l[4];
    for (unsigned i = 0; i < 4; i++) {
        l[i] = says_it_is_a_relay(t, &now, (const uint8_t[]){203, (uint8_t)i, 113, 1});
        l[i]->identity[0] = i == 3 ? 2 : 1;
        tun_link_weight(t, l[i]->handle, 12);
        cr_expect_eq(l[i]->group == l[0]->group, i < 3, "link %u", i);
    }
    cr_expect_eq(l[0]->group->weight, 12);
    tun_link_weight(t, l[1]->handle, 20); /* as it is told of one after the other */
    cr_expect_eq(l[1]->group, l[0]->group);
    cr_expect_eq(l[0]->group->weight, 20);
    tun_link_weight(t, l[2]->handle, TUN_WEIGHT_UNKNOWN);
    cr_expect_neq(l[2]->group, l[0]->group);
    cr_expect_eq(l[0]->group->weight, 20);

    struct cv_addr addr = {.ip = {203, 2, 0, 9}, .family = 4, .port = 4000};
    struct tun_link *called = tun_link_alloc(t, &now, &addr, true);
    cr_assert_not_null(called);
    cr_expect_eq(called->group, l[2]->group, "of the same provider");
    cr_expect_eq(called->group->weight, TUN_WEIGHT_UNKNOWN);
    world_free(w);
}

/* Sends handshakes of other people's addresses: `n` from networks of their own
 * each, or from the network of `victim`. */
struct forger {
    struct world *w;
    struct tun_linkhs_peer peer;
    unsigned relay, count;
    const struct cv_addr *victim;
};

static void forger_init(struct forger *f, struct world *w, unsigned relay) {
    struct tun_relay_ref ref;
    *f = (struct forger){.w = w, .relay = relay};
    world_ref(w, relay, &ref);
    tun_linkhs_peer_init(&f->peer, ref.link_key, w->node[relay].cfg.network_id);
}

static void forge(struct forger *f, unsigned n) {
    for (unsigned i = 0; i < n; i++, f->count++) {
        struct tun_linkhs hs = {.local_index = 0};
        uint8_t flight[TUN_DATAGRAM];
        tun_linkhs_create_1(&hs, &f->peer, 0x01020304 + f->count, NULL, sim_rng(f->w->sim), flight);
        tun_linkhs_done(&hs);
        struct cv_addr from = f->victim ? *f->victim : sim_addr(1000 + f->count, 5000);
        from.port = (uint16_t)(5000 + f->count % 50000);
        sim_inject(f->w->sim, &from, &f->w->node[f->relay].addr, flight, sizeof flight);
    }
}

/* How long a client's link takes while `n` forged handshakes come in a time. */
static cv_usec link_under(struct forger *f, unsigned client, unsigned n, cv_usec every) {
    cv_usec began = sim_now(f->w->sim);
    world_open(f->w, client, &f->relay, 1);
    while (!world_find(f->w, client, TUN_EVENT_LINK_UP, 0)) {
        cr_assert_lt(sim_now(f->w->sim), began + CV_SEC(5), "locked out");
        forge(f, n);
        world_run(f->w, every);
    }
    return sim_now(f->w->sim) - began;
}

Test(tun_link, under_load_strangers_get_cookies_and_no_memory) {
    struct world *w = world_new(&(struct sim_config){.seed = 1});
    unsigned relay = world_relay(w, NULL), client = world_client(w, NULL);
    sim_path_default(w->sim, &(struct sim_path){.delay = CV_MSEC(10)});
    struct forger f;
    forger_init(&f, w, relay);
    forge(&f, 2000);
    world_run(w, CV_MSEC(1));
    const struct tun_counters *n = tun_counters(w->node[relay].t);
    cr_expect_gt(n->cookies_sent, 1500, "%lu", n->cookies_sent);
    cr_expect_lt(n->links, 300, "%u links for forged addresses", n->links);
    cr_expect_leq(n->datagrams_out, n->datagrams_in);
    /* somebody real pays one more round trip */
    cv_usec took = link_under(&f, client, 5, CV_MSEC(1));
    cr_expect_leq(took, CV_MSEC(42), "%lu", took);
    cr_expect_lt(n->links, 300);
    world_run(w, CV_SEC(15));
    cr_expect_eq(n->links, 1);
    world_free(w);
}

/* Slowly enough that the relay is not loaded, from the client's own network. */
Test(tun_link, forged_handshakes_do_not_lock_their_network_out) {
    struct world *w = world_new(&(struct sim_config){.seed = 1});
    unsigned relay = world_relay(w, NULL), client = world_client(w, NULL);
    sim_path_default(w->sim, &(struct sim_path){.delay = CV_MSEC(10)});
    struct forger f;
    forger_init(&f, w, relay);
    f.victim = &w->node[client].addr;
    for (unsigned i = 0; i < 200; i++) {
        forge(&f, 1);
        world_run(w, CV_MSEC(20));
    }
    cv_usec took = link_under(&f, client, 1, CV_MSEC(20));
    cr_expect_leq(took, CV_MSEC(60), "%lu", took);
    world_free(w);
}

Test(tun_link, nobody_continues_a_link_whose_keys_it_does_not_hold) {
    struct world *w = world_new(&(struct sim_config){.seed = 1});
    unsigned relay = world_relay(w, NULL), client = world_client(w, NULL),
             thief = world_client(w, NULL);
    cv_handle c = linked(w, client, relay);
    struct tun_link *victim = world_link(w, relay);
    /* the thief's own handshake, answered but not used yet */
    sim_path(w->sim, relay, thief, &(struct sim_path){.cut = true});
    world_open(w, thief, &relay, 1);
    world_run(w, CV_MSEC(100));
    uint32_t cursor = 0;
    struct tun_link *half = tun_handles_next(&w->node[relay].t->links, &cursor);
    if (half == victim)
        half = tun_handles_next(&w->node[relay].t->links, &cursor);
    cr_assert_not_null(half);
    cr_assert_eq(half->state, TUN_STATE_ANSWERED);
    uint8_t body[TUN_CONTINUE] = {0};
    struct cv_wr wr = cv_wr_init(body, 4);
    cv_wr_le32(&wr, victim->now.local_index); /* seen on the wire */
    struct cv_now now = world_now(w, relay);
    struct tun_link *into;
    cr_expect_not(tun_epoch_continue(w->node[relay].t, &now, half, body, sizeof body, &into));
    cr_expect_not(tun_epoch_continue(w->node[relay].t, &now, victim, body, sizeof body, &into));
    uint32_t transaction = world_request(w, client, c, TUN_CMD_PING, NULL, 0);
    world_run(w, CV_MSEC(100));
    cr_expect_not_null(world_reply(w, client, transaction));

    /* and whoever does, does: the proof of the vectors */
    octets(victim->now.hash, 5, sizeof victim->now.hash);
    octets(half->now.hash, 9, sizeof half->now.hash);
    cr_assert_eq(cv_test_vector(TUNNEL_VECTORS, "derivations", "continue", 0, body + 4, 32), 32);
    /* from another network: it counts as one of those there, from now on */
    half->addr = sim_addr(700, 4000);
    struct cv_addr network = cv_addr_network(&half->addr, 24, 56);
    cr_expect(tun_epoch_continue(w->node[relay].t, &now, half, body, sizeof body, &into));
    cr_expect_eq(into, victim);
    cr_assert_not_null(into->netgroup);
    cr_expect(cv_addr_equal(&into->netgroup->key.network, &network));
    world_free(w);
}

Test(tun_link, nobody_gets_more_octets_than_it_sent) {
    struct world *w = world_new(&(struct sim_config){.seed = 1});
    unsigned relay = world_relay(w, NULL);
    struct cv_rng_seeded seed;
    cv_rng_seeded_init(&seed, 3);
    struct cv_rng rng = cv_rng_seeded(&seed);
    struct tun_describe_net net;
    tun_describe_net_init(&net, w->node[relay].cfg.network_id);
    for (unsigned i = 0; i < 3000; i++) {
        uint8_t buf[TUN_DATAGRAM];
        struct tun_describe d;
        if (i % 3)
            cv_rng_fill(&rng, buf, sizeof buf);
        else
            tun_describe_ask(&d, &net, &rng, buf);
        struct cv_addr from = sim_addr(1000 + i % 700, 5000);
        sim_inject(w->sim, &from, &w->node[relay].addr, buf, i % 3 == 1 ? 1200 : sizeof buf);
        world_run(w, CV_MSEC(1));
    }
    const struct tun_counters *n = tun_counters(w->node[relay].t);
    cr_expect_gt(n->datagrams_out, 900, "descriptions: %lu", n->datagrams_out);
    cr_expect_leq(n->datagrams_out, 1000);
    cr_expect_eq(n->bad_length, 1000);
    cr_expect_eq(n->bad_index, 1000);
    cr_expect_eq(n->links, 0);
    world_free(w);
}

Test(tun_link, keys_are_renewed_and_nothing_is_lost_over_it) {
    struct world *w = world_new(&(struct sim_config){.seed = 1});
    unsigned relay = world_relay(w, NULL), client = world_client(w, NULL);
    sim_path_default(w->sim, &(struct sim_path){.delay = CV_MSEC(20)});
    w->node[relay].on_event = world_echo;
    cv_handle c = linked(w, client, relay);
    world_request(w, client, c, TUN_CMD_OPEN, "\x01\0a", 3);
    world_run(w, CV_SEC(1));
    for (unsigned i = 0; i < 6000; i++) { /* ten minutes */
        cr_assert_eq(world_send(w, client, c, "x", 1), CV_ERR_OK);
        world_run(w, CV_MSEC(100));
    }
    world_run(w, CV_SEC(1));
    cr_expect_eq(w->node[client].datagrams, 6000, "%lu", w->node[client].datagrams);
    const struct tun_counters *n = tun_counters(w->node[relay].t);
    cr_expect_geq(n->handshakes_in, 5);
    cr_expect_leq(n->handshakes_in, 7, "%lu", n->handshakes_in);
    cr_expect_eq(n->links, 1);
    cr_expect_eq(world_count(w, relay, TUN_EVENT_LINK_UP), 1);
    cr_expect_eq(world_count(w, relay, TUN_EVENT_LINK_DOWN), 0);
    cr_expect_lt(tun_rxindex_count(w->node[relay].t->rx), 8);
    cr_expect_lt(tun_rxindex_count(w->node[client].t->rx), 8);
    world_free(w);
}

Test(tun_link, keys_are_renewed_on_a_lossy_network_too) {
    for (uint64_t seed = 0; seed < 20; seed++) {
        struct world *w = world_new(&(struct sim_config){.seed = seed});
        unsigned relay = world_relay(w, NULL), client = world_client(w, NULL);
        sim_path_default(w->sim, &(struct sim_path){.delay = CV_MSEC(20)});
        cv_handle c = linked(w, client, relay);
        sim_path_default(w->sim, &(struct sim_path){.delay = CV_MSEC(20),
                                                    .jitter = CV_MSEC(50),
                                                    .loss_ppm = 100000,
                                                    .duplicate_ppm = 50000});
        world_run(w, CV_SEC(1200));
        cr_expect_eq(world_count(w, client, TUN_EVENT_LINK_DOWN), 0, "seed %lu", seed);
        struct tun_circuit_info info;
        cr_expect_eq(tun_circuit_info(w->node[client].t, c, &info), CV_ERR_OK, "seed %lu", seed);
        cr_expect_geq(tun_counters(w->node[relay].t)->handshakes_in, 8);
        world_free(w);
    }
}

Test(tun_link, keys_are_renewed_after_2_20_cells_of_either_side) {
    for (unsigned side = 0; side < 2; side++) {
        struct world *w = world_new(&(struct sim_config){.seed = 1});
        unsigned relay = world_relay(w, NULL), client = world_client(w, NULL);
        w->node[relay].on_event = world_echo;
        cv_handle c = linked(w, client, relay);
        world_request(w, client, c, TUN_CMD_OPEN, "\x01\0a", 3);
        world_run(w, CV_SEC(1));
        struct tun_link *l = world_link(w, side ? client : relay);
        l->now.sent = TUN_REKEY_CELLS - 20;
        for (unsigned i = 0; i < 60; i++) {
            cr_assert_eq(world_send(w, client, c, "x", 1), CV_ERR_OK);
            world_run(w, CV_MSEC(10));
        }
        cr_expect_eq(w->node[client].datagrams, 60, "%lu", w->node[client].datagrams);
        cr_expect_eq(tun_counters(w->node[relay].t)->handshakes_in, 2);
        cr_expect_lt(l->now.sent, 100);
        world_free(w);
    }
}

Test(tun_link, an_idle_link_says_little_and_lives) {
    struct world *w = world_new(&(struct sim_config){.seed = 1});
    unsigned relay = world_relay(w, NULL), client = world_client(w, NULL);
    cv_handle c = linked(w, client, relay);
    struct cv_now now = world_now(w, client);
    tun_circuit_close(w->node[client].t, &now, c);
    sim_touch(w->sim, client);
    world_run(w, CV_SEC(10));
    uint64_t before = sim_counters(w->sim)->sent;
    world_run(w, CV_SEC(3600));
    cr_expect_eq(tun_counters(w->node[relay].t)->links, 1);
    uint64_t sent = sim_counters(w->sim)->sent - before;
    /* two sides, one in 25 s each; renewed after what made it, and after an hour */
    cr_expect_leq(sent, 2 * 144 + 2 * 6, "%lu", sent);
    cr_expect_leq(tun_counters(w->node[relay].t)->handshakes_in, 3);
    world_free(w);
}

/* What the responder alone sent begins no time: were it lost, the initiator would
 * renew later than the responder gives up, or not at all. */
Test(tun_link, a_lost_word_of_the_responder_ends_no_link) {
    struct world *w = world_new(&(struct sim_config){.seed = 1});
    unsigned relay = world_relay(w, NULL), client = world_client(w, NULL);
    cv_handle c = linked(w, client, relay);
    struct cv_now now = world_now(w, client);
    tun_circuit_close(w->node[client].t, &now, c);
    sim_touch(w->sim, client);
    world_run(w, CV_SEC(200)); /* renewed once, and nothing since */
    sim_path(w->sim, relay, client, &(struct sim_path){.cut = true});
    tun_link_control(w->node[relay].t, world_link(w, relay), TUN_LINKCMD_LEDGER, 0, "x", 1);
    sim_touch(w->sim, relay);
    world_run(w, CV_MSEC(50));
    sim_path(w->sim, relay, client, &(struct sim_path){.delay = CV_MSEC(5)});
    /* looks like an answer: the relay does not ask again */
    tun_link_control(w->node[client].t, world_link(w, client), TUN_LINKCMD_KEEPALIVE, 0, NULL, 0);
    sim_touch(w->sim, client);
    world_run(w, TUN_REJECT_AFTER + CV_SEC(30));
    cr_expect_eq(world_count(w, relay, TUN_EVENT_LINK_DOWN), 0);
    cr_expect_eq(tun_counters(w->node[relay].t)->links, 1);
    world_free(w);
}

/* Handshakes that the relay answered while time passes. */
static uint64_t renewals(struct world *w, unsigned relay, cv_usec in) {
    uint64_t before = tun_counters(w->node[relay].t)->handshakes_in;
    world_run(w, in);
    return tun_counters(w->node[relay].t)->handshakes_in - before;
}

Test(tun_link, the_time_of_keys_begins_when_they_carry_something) {
    struct world *w = world_new(&(struct sim_config){.seed = 1});
    unsigned relay = world_relay(w, NULL), client = world_client(w, NULL);
    cv_handle c = linked(w, client, relay);
    struct cv_now now = world_now(w, client);
    tun_circuit_close(w->node[client].t, &now, c);
    sim_touch(w->sim, client);
    world_run(w, CV_SEC(200));
    for (unsigned side = 0; side < 2; side++) { /* whoever says something */
        struct tun_link *l = world_link(w, side ? relay : client);
        cr_expect_eq(renewals(w, relay, CV_SEC(600)), 0, "keys that carried nothing");
        cr_expect(!world_link(w, client)->now.used && !world_link(w, relay)->now.used);
        now = world_now(w, side ? relay : client);
        tun_link_control(side ? w->node[relay].t : w->node[client].t, l, TUN_LINKCMD_LEDGER, 0, "x",
                         1);
        sim_touch(w->sim, side ? relay : client);
        cr_expect_eq(renewals(w, relay, CV_MSEC(TUN_REKEY_MS) - CV_SEC(12)), 0, "not at once");
        cr_expect_eq(renewals(w, relay, CV_SEC(14)), 1, "side %u", side);
        cr_expect_eq(renewals(w, relay, CV_SEC(60)), 0, "once");
    }
    /* and when they cannot be renewed, they end as keys in use do */
    now = world_now(w, client);
    tun_link_control(w->node[client].t, world_link(w, client), TUN_LINKCMD_LEDGER, 0, "x", 1);
    sim_touch(w->sim, client);
    world_run(w, CV_SEC(1));
    cr_expect_leq(world_link(w, client)->give_up_at, now.mono + CV_SEC(1) + TUN_REJECT_AFTER);
    cr_expect_leq(world_link(w, relay)->give_up_at, now.mono + CV_SEC(1) + TUN_REJECT_AFTER);
    world_free(w);
}

Test(tun_link, both_sides_notice_when_the_other_is_gone) {
    struct world *w = world_new(&(struct sim_config){.seed = 1});
    unsigned relay = world_relay(w, NULL), client = world_client(w, NULL);
    linked(w, client, relay);
    sim_path_default(w->sim, &(struct sim_path){.cut = true});
    world_run(w, CV_SEC(120));
    cr_expect_eq(world_count(w, client, TUN_EVENT_LINK_DOWN), 1);
    cr_expect_eq(world_count(w, relay, TUN_EVENT_LINK_DOWN), 1);
    cr_expect_eq(tun_counters(w->node[relay].t)->hops, 0);
    cr_expect_eq(tun_rxindex_count(w->node[relay].t->rx), 0);
    world_free(w);
}

Test(tun_link, counters_of_both_ends_agree_and_count_cells_only) {
    struct world *w = world_new(&(struct sim_config){.seed = 1});
    unsigned a = world_relay(w, NULL), b = world_relay(w, NULL), client = world_client(w, NULL);
    w->node[b].on_event = world_echo;
    cv_handle c = world_circuit(w, client, (const unsigned[]){a, b}, 2);
    world_request(w, client, c, TUN_CMD_OPEN, "\x01\0a", 3);
    for (unsigned i = 0; i < 500; i++) {
        world_send(w, client, c, "x", 1);
        world_run(w, CV_MSEC(5));
    }
    world_run(w, CV_SEC(3));
    cr_expect_geq(w->node[client].carried_out, 501 * TUN_DATAGRAM);
    cr_expect_eq(w->node[a].carried_in, w->node[b].carried_out + w->node[client].carried_out);
    cr_expect_eq(w->node[a].carried_out, w->node[b].carried_in + w->node[client].carried_in);
    /* EXTEND and EXTENDED stayed between those two */
    cr_expect_eq(w->node[client].carried_out, w->node[b].carried_in + TUN_DATAGRAM);
    cr_expect_eq(w->node[client].carried_out % TUN_DATAGRAM, 0);
    world_free(w);
}

/* ---- addresses: two engines, no network between them ---- */

struct duo {
    struct world *w; /* for making engines; its clock does not run */
    struct tunnel *client, *relay;
    struct cv_addr client_addr, relay_addr, sent_to; /* sent_to: the relay's last */
    struct cv_now now;
    bool deaf;          /* what the relay sends to any address but client_addr is lost */
    unsigned elsewhere; /* datagrams that the relay sent there */
};

static void carry(struct duo *d, struct tunnel *from, struct tunnel *to,
                  const struct cv_addr *source) {
    uint8_t arena[32 * TUN_DATAGRAM];
    struct cv_run runs[32];
    struct cv_batch b = cv_batch_init(arena, 32, TUN_DATAGRAM, 0, runs, 32);
    bool more = true;
    while (more) {
        cv_batch_clear(&b);
        more = tun_poll_transmit(from, &d->now, &b);
        for (uint32_t r = 0; r < b.runs_used; r++) {
            bool lost = from == d->relay && !cv_addr_equal(&runs[r].to.addr, &d->client_addr);
            if (from == d->relay)
                d->sent_to = runs[r].to.addr;
            d->elsewhere += lost ? runs[r].count : 0;
            for (uint16_t i = 0; !lost && i < runs[r].count; i++)
                (void)tun_on_datagram(to, &d->now, source, cv_batch_at(&b, &runs[r], i),
                                      TUN_DATAGRAM);
        }
    }
}

static void pump(struct duo *d, cv_usec for_so_long) {
    for (cv_usec t = 0; t < for_so_long; t += CV_MSEC(50)) {
        for (unsigned i = 0; i < 4; i++) {
            carry(d, d->client, d->relay, &d->client_addr);
            carry(d, d->relay, d->client, &d->relay_addr);
        }
        d->now.mono += CV_MSEC(50);
        tun_on_timeout(d->client, &d->now);
        tun_on_timeout(d->relay, &d->now);
    }
}

static cv_handle duo(struct duo *d) {
    d->w = world_new(&(struct sim_config){.seed = 1});
    world_relay(d->w, NULL);
    world_client(d->w, NULL);
    d->relay = d->w->node[0].t;
    d->client = d->w->node[1].t;
    d->relay_addr = d->w->node[0].addr;
    d->client_addr = d->w->node[1].addr;
    struct tun_circuit_plan plan = {.hops = 1};
    world_ref(d->w, 0, &plan.hop[0]);
    /* one clock for both; later than either's */
    d->now = world_now(d->w, 0);
    struct cv_now other = world_now(d->w, 1);
    if (other.mono > d->now.mono)
        d->now.mono = other.mono;
    cv_handle c;
    cr_assert_eq(tun_circuit_build(d->client, &d->now, &plan, &c), CV_ERR_OK);
    pump(d, CV_SEC(1));
    struct tun_circuit_info info;
    cr_assert_eq(tun_circuit_info(d->client, c, &info), CV_ERR_OK);
    cr_assert(info.ready);
    return c;
}

static uint64_t cells_in(struct duo *d, cv_handle c) {
    struct tun_circuit_info info = {0};
    cr_assert_eq(tun_circuit_info(d->client, c, &info), CV_ERR_OK);
    return info.cells_in;
}

static void ask(struct duo *d, cv_handle c) {
    uint32_t transaction;
    cr_assert_eq(tun_request(d->client, &d->now, c, TUN_CMD_PING, NULL, 0, &transaction),
                 CV_ERR_OK);
}

Test(tun_link, follows_to_a_new_address_under_a_new_index) {
    struct duo d = {0};
    cv_handle c = duo(&d);
    uint32_t cursor = 0;
    struct tun_link *at_client = tun_handles_next(&d.client->links, &cursor);
    uint32_t index = at_client->now.local_index, remote = at_client->now.remote_index;
    d.client_addr = sim_addr(77, 7000);
    tun_on_rebind(d.client, &d.now);
    ask(&d, c);
    uint64_t before = cells_in(&d, c);
    pump(&d, CV_SEC(1));
    cr_expect_gt(cells_in(&d, c), before);
    cr_expect(cv_addr_equal(&d.sent_to, &d.client_addr));
    cr_expect_neq(at_client->now.remote_index, remote, "we use another one of theirs");
    cr_expect_neq(at_client->now.local_index, index, "and they another one of ours");
    /* again and again */
    for (unsigned i = 0; i < 20; i++) {
        d.client_addr = sim_addr(100 + i, 7000);
        tun_on_rebind(d.client, &d.now);
        ask(&d, c);
        before = cells_in(&d, c);
        pump(&d, CV_SEC(2));
        cr_expect_gt(cells_in(&d, c), before, "move %u", i);
    }
    cr_expect_leq(tun_rxindex_count(d.relay->rx), 8);
    world_free(d.w);
}

/* Both ends have another address, and the first ones are gone: the one who asks there is heard
 * there, and the other end is told by a datagram that nobody had to send. */
Test(tun_link, goes_where_the_other_end_answers) {
    struct duo d = {0};
    duo(&d);
    uint32_t at[2] = {0};
    struct tun_link *ours = tun_handles_next(&d.client->links, &at[0]);
    struct tun_link *theirs = tun_handles_next(&d.relay->links, &at[1]);
    uint32_t remote = ours->now.remote_index;
    struct cv_addr before = ours->addr;
    d.relay_addr = sim_addr(78, 7000);
    d.client_addr = sim_addr(77, 7000);
    tun_link_try(d.client, &d.now, ours, &d.relay_addr);
    cr_expect(cv_addr_equal(&ours->addr, &before), "not before it is answered");
    pump(&d, CV_MSEC(100));
    cr_expect(cv_addr_equal(&ours->addr, &d.relay_addr));
    cr_expect(cv_addr_equal(&theirs->addr, &d.client_addr));
    cr_expect_neq(ours->now.remote_index, remote);
    world_free(d.w);
}

/* At a relay that has no place left for anybody, the link is known at its new address. */
Test(tun_link, keys_are_renewed_from_a_new_address_at_a_full_relay) {
    struct duo d = {0};
    cv_handle c = duo(&d);
    d.relay->cfg.links_max = 2; /* one of them for its own */
    cr_assert(tun_places_are_taken(d.relay));
    uint32_t cursor = 0;
    struct tun_link *at_client = tun_handles_next(&d.client->links, &cursor);
    d.client_addr = sim_addr(77, 7000);
    cr_expect_not(tun_places_may_come(d.relay, &d.client_addr));
    for (unsigned second = 0; second < 2 * TUN_REKEY_MS / 1000; second++) {
        ask(&d, c);
        pump(&d, CV_SEC(1));
    }
    cr_expect(tun_places_may_come(d.relay, &d.client_addr));
    cr_expect_neq(memcmp(at_client->now.hash, at_client->first_hash, CV_NOISE_HASH), 0);
    cr_expect_eq(d.relay->guests, 1);
    cr_expect_eq(tun_counters(d.relay)->links_displaced, 0);
    world_free(d.w);
}

/* A relay has a link for each of its workers, all from one address: when one ends, the others still
 * get new keys at a relay that is full. */
Test(tun_link, an_address_is_known_as_long_as_one_of_its_links_is_there) {
    struct world *w = world_new(&(struct sim_config){.seed = 1});
    unsigned relay = world_relay(w, &(struct tun_config){.links_max = 5});
    struct tunnel *t = w->node[relay].t;
    struct cv_now now = world_now(w, relay);
    struct cv_addr addr = {.family = 4, .ip = {203, 0, 113, 1}, .port = 4000};
    struct tun_link *l[4];
    for (unsigned i = 0; i < 4; i++) {
        l[i] = tun_link_alloc(t, &now, &addr, false);
        l[i]->state = TUN_STATE_OPEN;
        tun_link_regroup(t, l[i]);
    }
    t->cfg.links_max = 2; /* one of them for its own */
    static const unsigned ends[] = {3, 0, 2, 1};
    for (unsigned i = 0; i < 4; i++) {
        cr_expect(tun_places_are_taken(t));
        cr_expect(tun_places_may_come(t, &addr), "%u of 4 ended", i);
        tun_link_fail(t, &now, l[ends[i]], CV_ERR_CLOSED);
    }
    cr_expect_eq(cv_map_count(t->guest_addrs), 0);
    world_free(w);
}

Test(tun_link, is_not_moved_by_who_cannot_answer_a_challenge) {
    struct duo d = {0};
    cv_handle c = duo(&d);
    struct cv_addr home = d.client_addr;
    /* a valid cell, seen first by somebody who sends it from elsewhere */
    ask(&d, c);
    struct cv_addr thief = sim_addr(88, 8000);
    carry(&d, d.client, d.relay, &thief);
    pump(&d, CV_SEC(2));
    ask(&d, c);
    uint64_t before = cells_in(&d, c);
    pump(&d, CV_SEC(1));
    cr_expect_gt(cells_in(&d, c), before);
    cr_expect(cv_addr_equal(&d.sent_to, &home));
    world_free(d.w);
}

/* Somebody on the way puts a victim's address on what he carries: the victim gets one
 * datagram for each of them at most, whatever is in it. */
Test(tun_link, a_spoofed_address_gets_no_more_than_it_seems_to_have_sent) {
    static const uint8_t commands[] = {TUN_LINKCMD_KEEPALIVE,     TUN_LINKCMD_PATH_CHALLENGE,
                                       TUN_LINKCMD_PATH_RESPONSE, TUN_LINKCMD_CONTINUE,
                                       TUN_LINKCMD_NEW_INDEX,     TUN_LINKCMD_DESTROY};
    for (size_t i = 0; i < sizeof commands; i++) {
        struct duo d = {0};
        duo(&d);
        uint32_t cursor = 0;
        struct tun_link *l = tun_handles_next(&d.client->links, &cursor);
        struct cv_addr victim = sim_addr(88, 8000);
        for (unsigned n = 1; n <= 5; n++) {
            uint8_t body[8] = {(uint8_t)n};
            tun_link_control(d.client, l, commands[i], 0, body, sizeof body);
            carry(&d, d.client, d.relay, &victim);
            carry(&d, d.relay, d.client, &d.relay_addr);
            cr_expect_leq(d.elsewhere, n, "command %u", commands[i]);
            d.now.mono += CV_SEC(2);
        }
        world_free(d.w);
    }
}

Test(tun_link, takes_no_junk) {
    struct duo d = {0};
    cv_handle c = duo(&d);
    uint32_t cursor = 0;
    struct tun_link *l = tun_handles_next(&d.relay->links, &cursor);
    struct cv_rng_seeded seed;
    cv_rng_seeded_init(&seed, 3);
    struct cv_rng rng = cv_rng_seeded(&seed);
    uint64_t out = tun_counters(d.relay)->datagrams_out;
    for (unsigned i = 0; i < 5000; i++) {
        uint8_t buf[TUN_DATAGRAM];
        cv_rng_fill(&rng, buf, sizeof buf);
        struct cv_wr w = cv_wr_init(buf, 4);
        cv_wr_le32(&w, l->now.local_index); /* seen on the wire */
        cr_assert_neq(tun_on_datagram(d.relay, &d.now, &d.client_addr, buf, sizeof buf), CV_ERR_OK);
    }
    cr_expect_eq(tun_counters(d.relay)->bad_tag, 5000);
    carry(&d, d.relay, d.client, &d.relay_addr);
    cr_expect_eq(tun_counters(d.relay)->datagrams_out, out);
    ask(&d, c);
    uint64_t before = cells_in(&d, c);
    pump(&d, CV_SEC(1));
    cr_expect_gt(cells_in(&d, c), before);
    world_free(d.w);
}

Test(tun_link, tells_its_datagrams_from_those_of_the_dht) {
    struct duo d = {0};
    duo(&d);
    uint8_t buf[TUN_DATAGRAM] = {'d'};
    buf[TUN_DATAGRAM - 1] = 'e';
    cr_expect_not(tun_is_ours(d.relay, buf, sizeof buf));
    cr_expect_not(tun_is_ours(d.relay, buf, 100));
    buf[0] = 'x';
    cr_expect(tun_is_ours(d.relay, buf, sizeof buf));
    cr_expect_not(tun_is_ours(d.relay, buf, sizeof buf - 1));
    world_free(d.w);
}
