/*
 * Relays that lie, in a village of honest ones (tests/village.h): they invent
 * names, name other people's addresses, and refuse to extend. What they say may
 * cost a little, never an honest relay its place, nor somebody else his peace.
 */
#include "support/suite.h"
#include "tunnel/directory.h"
#include "tunnel/tests/village.h"

CV_SUITE(tun_strangers);

static const struct sim_path near = {.delay = CV_MSEC(1)};

static struct village *village(uint64_t seed, unsigned relays) {
    struct village *v = village_new(&(struct sim_config){.seed = seed}, relays);
    sim_path_default(v->w->sim, &near);
    world_run(v->w, CV_SEC(3));
    return v;
}

static struct tun_relay *known(struct village *v, unsigned node, unsigned relay) {
    struct cv_now now = world_now(v->w, node);
    return tun_directory_find_now(tun_client_directory(v->w->node[node].t),
                                  v->w->node[relay].identity_secret.public_key, now.wall);
}

/* A relay that exists only in what `node` tells the others: it says it reached it. */
static struct tun_relay *pretend(struct village *v, unsigned node, unsigned number,
                                 const struct cv_addr *addr, unsigned addrs) {
    struct cv_now now = world_now(v->w, node);
    struct cv_ed25519_secret secret;
    uint8_t seed[CV_KEY] = {0xcc, (uint8_t)node}, raw[TUN_DESCRIPTOR_MAX];
    struct tun_descriptor d = {.flags = TUN_RELAY_RELAY, .suites = 1};
    memcpy(seed + 4, &number, sizeof number);
    memcpy(d.network_id, tun_config(v->w->node[node].t)->network_id, TUN_NETWORK_ID);
    d.day = tun_descriptor_day(now.wall);
    memset(d.link_key, 9, sizeof d.link_key);
    d.addrs = (uint8_t)addrs;
    memcpy(d.addr, addr, addrs * sizeof *addr);
    cv_ed25519_from_seed(&secret, seed);
    ssize_t len = tun_descriptor_sign(&d, &secret, raw, sizeof raw);
    cr_assert_gt(len, 0);
    struct tun_relay *r;
    cr_assert_eq(tun_directory_add(tun_client_directory(v->w->node[node].t), now.wall, raw,
                                   (size_t)len, &r, NULL),
                 CV_ERR_OK);
    r->reached = r->outside = r->tried;
    return r;
}

/* ---- names ---- */

enum { HONEST = 4, INVENTORS = 2, INVENTED = 2100 };

/* Two relays of six name two thousand others each and show no descriptor: what
 * an honest one holds stays small, and a newcomer is known everywhere. */
Test(tun_strangers, invented_names_keep_no_newcomer_out) {
    struct village *v = village(1, HONEST + INVENTORS);
    for (unsigned i = 0; i < INVENTORS; i++) {
        for (unsigned k = 0; k < INVENTED; k++) {
            struct cv_addr nowhere = sim_addr(1000 + k, 9);
            struct tun_relay *r = pretend(v, HONEST + i, k, &nowhere, 1);
            r->desc.digest[0] ^= 1; /* nothing that it could show has this digest */
            r->raw[0] ^= 1;
        }
    }
    world_run(v->w, CV_SEC(90));
    unsigned late = village_relay(v), client = village_client(v);
    world_run(v->w, CV_SEC(20));
    for (unsigned i = 0; i < HONEST; i++) {
        struct cv_now now = world_now(v->w, i);
        struct tun_relay *r = known(v, i, late);
        cr_expect(r && r->reached, "relay %u", i);
        cr_expect_leq(tun_directory_count(tun_client_directory(v->w->node[i].t),
                                          tun_descriptor_day(now.wall), TUN_DIRECTORY_KNOWN),
                      HONEST + INVENTORS + 1);
    }
    struct tun_relay *r = known(v, client, late);
    cr_expect(r && r->confirmed, "a new client knows it too");
    village_free(v);
}

/* ---- addresses ---- */

struct victim {
    struct cv_addr ip;                                      /* whatever the port */
    unsigned datagrams[WORLD_NODES], together[WORLD_NODES]; /* within 250 ms */
    cv_usec last[WORLD_NODES];
};

static enum sim_verdict count(void *ctx, const struct sim_datagram *d) {
    struct victim *x = ctx;
    if (memcmp(d->to->ip, x->ip.ip, 4) != 0)
        return SIM_PASS;
    unsigned n = d->from_node;
    x->together[n] += x->datagrams[n] > 0 && d->at - x->last[n] < CV_MSEC(250);
    x->last[n] = d->at;
    x->datagrams[n]++;
    return SIM_PASS;
}

/* Sixty descriptors name three ports each of somebody who is no relay. */
Test(tun_strangers, somebody_elses_address_gets_few_questions) {
    struct village *v = village(2, HONEST + 1);
    struct victim x = {.ip = sim_addr(500, 0)};
    for (unsigned i = 0; i < 60; i++) {
        struct cv_addr addr[3];
        for (unsigned k = 0; k < 3; k++)
            addr[k] = sim_addr(500, (uint16_t)(1 + 3 * i + k));
        pretend(v, HONEST, i, addr, 3);
    }
    sim_hook(v->w->sim, count, &x);
    enum { SECONDS = 300 };
    world_run(v->w, CV_SEC(SECONDS));
    unsigned all = 0;
    for (unsigned i = 0; i < HONEST; i++) {
        all += x.datagrams[i];
        cr_expect_leq(x.datagrams[i],
                      TUN_QUESTIONS_BURST + SECONDS * 1000 / TUN_QUESTIONS_EVERY_MS + 1,
                      "relay %u: %u datagrams", i, x.datagrams[i]);
        cr_expect_eq(x.together[i], 0, "relay %u: %u of %u while another was in flight", i,
                     x.together[i], x.datagrams[i]);
    }
    cr_expect_gt(all, 0, "nobody asked: the test tests nothing");
    village_free(v);
}

static cv_handle circuit_to(struct village *v, unsigned node, unsigned *ret_last) {
    struct cv_now now = world_now(v->w, node);
    cv_handle c;
    if (tun_circuit_open(v->w->node[node].t, &now, TUN_PURPOSE_GENERAL, NULL, &c))
        return 0;
    sim_touch(v->w->sim, node);
    world_run(v->w, CV_SEC(1));
    struct tun_circuit_info info;
    if (tun_circuit_info(v->w->node[node].t, c, &info) || !info.ready)
        return 0;
    const uint8_t *last = tun_circuit_hop(v->w->node[node].t, c, info.hops - 1)->identity;
    for (*ret_last = 0; *ret_last < v->w->nodes; ++*ret_last)
        if (memcmp(v->w->node[*ret_last].identity_secret.public_key, last, CV_KEY) == 0)
            return c;
    return 0;
}

/* A client asks last hops to extend to relays of its own invention. */
Test(tun_strangers, extend_sends_no_handshake_to_who_never_answered) {
    struct village *v = village(3, 6);
    struct victim x = {.ip = sim_addr(500, 0)};
    unsigned client = village_client(v), asked = 0, last;
    world_run(v->w, CV_SEC(4));
    sim_hook(v->w->sim, count, &x);
    for (unsigned i = 0; i < 40; i++) {
        cv_handle c = circuit_to(v, client, &last);
        if (!c)
            continue;
        struct cv_addr addr = sim_addr(500, (uint16_t)(1 + i));
        struct tun_relay *r = pretend(v, last, i, &addr, 1);
        struct tun_extend m = {.day = r->desc.day, .flight = (const uint8_t *)"junk"};
        m.flight_len = 4;
        r->reached = false;
        memcpy(m.identity, r->desc.identity, sizeof m.identity);
        memcpy(m.digest, r->desc.digest, sizeof m.digest);
        uint8_t body[512];
        struct cv_wr wr = cv_wr_init(body, sizeof body);
        tun_extend_write(&wr, &m);
        (void)world_request(v->w, client, c, TUN_CMD_EXTEND, body + 4, cv_wr_len(&wr) - 4);
        world_run(v->w, CV_SEC(1));
        asked++;
    }
    world_run(v->w, CV_SEC(10));
    unsigned all = 0;
    for (unsigned i = 0; i < 6; i++)
        all += x.datagrams[i];
    cr_expect_gt(asked, 20, "%u circuits", asked);
    /* DESCRIBE, now and then, by relays that look for whom they did not reach */
    cr_expect_leq(all, 2 * asked, "%u datagrams for %u EXTENDs", all, asked);
    village_free(v);
}

/* A relay that exists says that it lives at somebody else's address too. */
Test(tun_strangers, who_answered_at_one_address_is_not_asked_at_the_others) {
    for (uint64_t seed = 10; seed < 14; seed++) {
        struct village *v = village(seed, HONEST);
        struct victim x = {.ip = sim_addr(500, 0)};
        sim_hook(v->w->sim, count, &x);
        struct tun_config cfg = {.gate = true, .hurry = true};
        cfg.addr[1] = sim_addr(500, 7);
        unsigned liar = world_relay(v->w, &cfg);
        /* It is heard of from the others only, never by coming itself: they learn
         * both addresses at once. */
        size_t len;
        struct cv_now now = world_now(v->w, liar);
        const uint8_t *raw = tun_own_descriptor(v->w->node[liar].t, now.wall, &len);
        cr_assert_not_null(raw);
        struct tun_relay *r;
        cr_assert_eq(
            tun_directory_add(tun_client_directory(v->w->node[0].t), now.wall, raw, len, &r, NULL),
            CV_ERR_OK);
        r->reached = r->outside = true;
        r->reached_at = v->w->node[liar].addr;
        world_run(v->w, CV_SEC(120));
        for (unsigned i = 1; i < HONEST; i++) {
            r = known(v, i, liar);
            cr_expect(r && r->reached, "relay %u", i);
            cr_expect_leq(x.datagrams[i], 1, "seed %lu, relay %u: %u datagrams", seed, i,
                          x.datagrams[i]);
        }
        village_free(v);
    }
}

/* Twenty relays at one IP address, as in a test network on one machine. */
Test(tun_strangers, many_relays_of_one_machine_are_found_at_once) {
    struct village *v = village_new(&(struct sim_config){.seed = 20}, 0);
    sim_path_default(v->w->sim, &near);
    v->w->one_machine = true;
    for (unsigned i = 0; i < 20; i++)
        village_relay(v);
    world_run(v->w, CV_SEC(3));
    for (unsigned i = 0; i < 20; i++) {
        struct cv_now now = world_now(v->w, i);
        size_t n = tun_directory_count(tun_client_directory(v->w->node[i].t),
                                       tun_descriptor_day(now.wall), TUN_DIRECTORY_REACHED);
        cr_expect_eq(n, 20, "relay %u reached %zu", i, n);
    }
    village_free(v);
}

/* ---- refusals ---- */

/* One of a seeder's second-layer guards extends to nobody any more. */
Test(tun_strangers, who_refuses_to_extend_costs_no_honest_relay_its_place) {
    unsigned refused = 0;
    for (uint64_t seed = 30; seed < 34; seed++) {
        struct village *v = village(seed, 8);
        unsigned seeder = village_client(v), liar;
        cv_handle share = village_share(v, seeder, "film", false);
        world_run(v->w, CV_SEC(10));
        const struct tun_guards *g = tun_client_guards(v->w->node[seeder].t);
        struct tun_hidden_info info;
        cr_assert_eq(tun_hidden_info(v->w->node[seeder].t, share, &info), CV_ERR_OK);
        cr_assert_eq(info.points, 3);
        for (liar = 0; liar < 8; liar++)
            if (tun_guards_is_second(g, v->w->node[liar].identity_secret.public_key))
                break;
        for (unsigned i = 0; i < 8; i++) {
            struct tun_relay *r = i == liar ? NULL : known(v, liar, i);
            if (r)
                r->raw_len = 0;
        }
        unsigned fewest = 3, avoided = 0;
        for (unsigned ms = 0; ms < 25000; ms += 100) {
            cv_handle circuit;
            struct cv_now now = world_now(v->w, seeder);
            if (tun_circuit_open(v->w->node[seeder].t, &now, TUN_PURPOSE_PUBLISH, NULL, &circuit) ==
                CV_ERR_OK)
                sim_touch(v->w->sim, seeder);
            world_run(v->w, CV_MSEC(100));
            (void)tun_hidden_info(v->w->node[seeder].t, share, &info);
            fewest = info.points < fewest ? info.points : fewest;
            for (unsigned i = 0; i < 8; i++) {
                const struct tun_relay *r = known(v, seeder, i);
                now = world_now(v->w, seeder);
                avoided +=
                    r && i != liar && (r->gone_until > now.mono || r->shunned_until > now.mono);
            }
        }
        refused += world_count(v->w, seeder, TUN_EVENT_CIRCUIT_DOWN);
        cr_expect_eq(avoided, 0, "seed %lu: an honest relay was avoided for what a liar said",
                     seed);
        cr_expect_eq(fewest, 3, "seed %lu: %u working introduction points", seed, fewest);
        village_free(v);
    }
    cr_expect_gt(refused, 0, "nothing was refused: the test tests nothing");
}
