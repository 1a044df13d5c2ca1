/*
 * A client among relays (tests/village.h): what it does when its own rules would
 * be broken, how a proof against a relay reaches everybody, and how often what was
 * confirmed is compared again.
 */
#include "support/suite.h"
#include "tunnel/clientstate.h"
#include "tunnel/directory.h"
#include "tunnel/link.h"
#include "tunnel/tests/village.h"

CV_SUITE(tun_client);

static const struct sim_path near = {.delay = CV_MSEC(1)};

static struct village *village(uint64_t seed, unsigned relays) {
    struct village *v = village_new(&(struct sim_config){.seed = seed}, relays);
    sim_path_default(v->w->sim, &near);
    world_run(v->w, CV_SEC(3));
    return v;
}

/* Guards as no choice of ours ever leaves them: the second layer is the other first
 * hop. Whatever is asked for, nothing is built, and somebody can see it. */
Test(tun_client, a_path_that_breaks_a_rule_is_not_built) {
    struct village *v = village(1, 8);
    unsigned client = village_client(v);
    world_run(v->w, CV_SEC(5));
    struct tunnel *t = v->w->node[client].t;
    struct tun_guards *g = (struct tun_guards *)(uintptr_t)tun_client_guards(t);
    struct cv_now now = world_now(v->w, client);
    cv_handle circuit;
    cr_assert_eq(tun_circuit_open(t, &now, TUN_PURPOSE_GENERAL, NULL, &circuit), CV_ERR_OK);
    cr_expect_eq(tun_counters(t)->paths_refused, 0);

    for (unsigned i = 0; i < TUN_SECOND_MAX; i++)
        if (g->second[i].set)
            memcpy(g->second[i].identity, g->first[1].identity, CV_KEY);
    static const enum tun_purpose purposes[] = {TUN_PURPOSE_GENERAL, TUN_PURPOSE_MEET,
                                                TUN_PURPOSE_WAIT, TUN_PURPOSE_PUBLISH};
    uint32_t before = tun_counters(t)->circuits;
    for (size_t i = 0; i < sizeof purposes / sizeof *purposes; i++) {
        uint64_t refused = tun_counters(t)->paths_refused;
        cr_expect_eq(tun_circuit_open(t, &now, purposes[i], NULL, &circuit), CV_ERR_UNREACHABLE,
                     "purpose %u", purposes[i]);
        cr_expect_eq(tun_counters(t)->paths_refused, refused + 1, "purpose %u", purposes[i]);
    }
    cr_expect_eq(tun_counters(t)->circuits, before);
    village_free(v);
}

enum { NAMED = 12, CLIENTS = 24 };

/* Everybody is named the same relays in the same order, as the first node of a DHT does. Were the
 * first of them asked first, whoever comes first in such a list would be everybody's guard. */
Test(tun_client, who_is_named_first_is_no_sooner_a_guard) {
    struct village *v = village(1, NAMED);
    unsigned guards = 0, of_first = 0;
    for (unsigned i = 0; i < CLIENTS; i++)
        village_client(v);
    world_run(v->w, CV_SEC(8));
    for (unsigned i = NAMED; i < NAMED + CLIENTS; i++) {
        const struct tun_guards *g = tun_client_guards(v->w->node[i].t);
        for (unsigned k = 0; k < TUN_GUARD_SPARE; k++) {
            guards += g->first[k].set;
            for (unsigned r = 0; r < NAMED / 3; r++)
                of_first += g->first[k].set &&
                            memcmp(g->first[k].identity, v->w->node[r].identity_secret.public_key,
                                   CV_KEY) == 0;
        }
    }
    cr_expect_eq(guards, CLIENTS * TUN_GUARD_SPARE);
    /* A third; half is more than three deviations away. */
    cr_expect_lt(2 * of_first, guards, "%u of %u", of_first, guards);
    village_free(v);
}

/* ---- proofs ---- */

enum { RELAYS = 8 };

static struct tun_relay *known(struct village *v, unsigned node, unsigned relay) {
    struct cv_now now = world_now(v->w, node);
    return tun_directory_find_now(tun_client_directory(v->w->node[node].t),
                                  v->w->node[relay].identity_secret.public_key, now.wall);
}

/* Whoever asks by circuits for all that a relay may say takes nothing from the other relays, who
 * ask by links: they confirm each other all the same. */
Test(tun_client, what_circuits_ask_for_is_not_at_the_cost_of_relays) {
    struct village *v = village_new(&(struct sim_config){.seed = 1}, RELAYS);
    sim_path_default(v->w->sim, &near);
    for (unsigned i = 0; i < RELAYS; i++) {
        struct tun_client *c = v->w->node[i].t->user[TUN_USER_CLIENT];
        cv_tokenbucket_init(&c->answers, 0, 0, 0);
    }
    world_run(v->w, CV_SEC(60));
    for (unsigned i = 0; i < RELAYS * RELAYS; i++) {
        const struct tun_relay *r = known(v, i / RELAYS, i % RELAYS);
        cr_expect(i / RELAYS == i % RELAYS || (r && r->confirmed), "%u of %u", i / RELAYS,
                  i % RELAYS);
    }
    village_free(v);
}

/* Another descriptor of `liar` for the same day, as it would have signed it. */
static size_t second_descriptor(struct village *v, unsigned holder, unsigned liar,
                                uint8_t raw[TUN_DESCRIPTOR_MAX]) {
    struct tun_descriptor d = known(v, holder, liar)->desc;
    d.bandwidth++;
    ssize_t len =
        tun_descriptor_sign(&d, &v->w->node[liar].identity_secret, raw, TUN_DESCRIPTOR_MAX);
    cr_assert_gt(len, 0);
    return (size_t)len;
}

/* How many of the nodes but `liar` hold both. */
static unsigned convinced(struct village *v, unsigned liar) {
    unsigned n = 0;
    for (unsigned i = 0; i < v->w->nodes; i++) {
        struct tun_relay *r = i == liar ? NULL : known(v, i, liar);
        n += r && r->liar && r->other &&
             tun_descriptor_is_proof(r->raw, r->raw_len, r->other, r->other_len,
                                     tun_config(v->w->node[i].t)->network_id);
    }
    return n;
}

/* One relay sees the second descriptor: all others, and clients, have both soon. */
Test(tun_client, a_proof_at_one_relay_comes_to_everybody) {
    for (uint64_t seed = 1; seed <= 3; seed++) {
        struct village *v = village(20 + seed, RELAYS);
        unsigned client = village_client(v);
        world_run(v->w, CV_SEC(5));
        uint8_t raw[TUN_DESCRIPTOR_MAX];
        size_t len = second_descriptor(v, 0, 3, raw);
        struct cv_now now = world_now(v->w, 0);
        cr_assert_eq(tun_directory_add(tun_client_directory(v->w->node[0].t), now.wall, raw, len,
                                       NULL, NULL),
                     CV_ERR_DIFFERS);
        cr_assert_eq(convinced(v, 3), 1);
        world_run(v->w, CV_SEC(300));
        unsigned late = village_client(v);
        world_run(v->w, CV_SEC(10));
        for (unsigned i = 0; i < RELAYS; i++)
            if (i != 3)
                cr_expect(known(v, i, 3)->liar, "seed %lu, relay %u", seed, i);
        cr_expect_geq(convinced(v, 3), RELAYS - 1, "seed %lu: %u", seed, convinced(v, 3));
        /* Who comes later never uses it, whether anybody told him of it or not. */
        struct tun_relay *r = known(v, late, 3);
        cr_expect(!r || r->liar, "seed %lu", seed);
        cr_expect_eq(world_count(v->w, client, TUN_EVENT_PROOF) > 0, known(v, client, 3)->liar);
        village_free(v);
    }
}

/* A client was given its own descriptor, and meets the others' when a circuit is
 * refused: it shows both to relays, which pass them on. */
Test(tun_client, a_client_shows_its_proof_to_relays) {
    for (uint64_t seed = 1; seed <= 3; seed++) {
        struct village *v = village(30 + seed, RELAYS);
        unsigned client = village_client(v), target = RELAYS;
        world_run(v->w, CV_SEC(5));
        const struct tun_guards *g = tun_client_guards(v->w->node[client].t);
        while (target > 0 &&
               tun_guards_find_sampled((struct tun_guards *)(uintptr_t)g,
                                       v->w->node[target - 1].identity_secret.public_key))
            target--;
        cr_assert_gt(target, 0);
        target--;
        uint8_t raw[TUN_DESCRIPTOR_MAX];
        size_t len = second_descriptor(v, client, target, raw);
        struct cv_now now = world_now(v->w, client);
        cr_assert_eq(convinced(v, target), 0);
        /* as if an EXTEND had brought it */
        cr_assert_eq(tun_client_show(v->w->node[client].t, &now, raw, len), CV_ERR_DIFFERS);
        sim_touch(v->w->sim, client);
        cr_assert_eq(world_count(v->w, client, TUN_EVENT_PROOF), 0);
        world_run(v->w, CV_SEC(1));
        cr_expect_eq(world_count(v->w, client, TUN_EVENT_PROOF), 1);
        world_run(v->w, CV_SEC(300));
        for (unsigned i = 0; i < RELAYS; i++)
            if (i != target)
                cr_expect(known(v, i, target)->liar, "seed %lu, relay %u", seed, i);
        village_free(v);
    }
}

/* What a stranger shows is looked at when it proves something, and never keeps an
 * honest relay out. */
Test(tun_client, what_proves_nothing_changes_nothing) {
    struct village *v = village(40, RELAYS);
    unsigned client = village_client(v);
    world_run(v->w, CV_SEC(5));
    struct tun_relay *r = known(v, client, 2);
    struct cv_now now = world_now(v->w, client);
    uint8_t raw[TUN_DESCRIPTOR_MAX];
    size_t len = second_descriptor(v, client, 2, raw);
    raw[len - 1] ^= 1; /* the signature */
    cr_expect_neq(tun_client_show(v->w->node[client].t, &now, raw, len), CV_ERR_DIFFERS);
    cr_expect_eq(tun_client_show(v->w->node[client].t, &now, r->raw, r->raw_len), CV_ERR_EXIST);
    cr_expect_not(r->liar);
    world_run(v->w, CV_SEC(60));
    cr_expect_eq(convinced(v, 2), 0);
    village_free(v);
}

/* ---- compared again ---- */

/* Whoever confirmed `target` for this client showed it a descriptor that nobody else has.
 * The client does not build through it, where an EXTEND would find that out. */
static void confirmed_by_accomplices(struct village *v, unsigned node, unsigned target) {
    struct tun_relay *r = known(v, node, target);
    cr_assert(r && r->confirmed);
    uint8_t raw[TUN_DESCRIPTOR_MAX];
    size_t len = second_descriptor(v, node, target, raw);
    cr_assert_eq(
        tun_descriptor_open(raw, len, tun_config(v->w->node[node].t)->network_id, &r->desc),
        CV_ERR_OK);
    memcpy(r->raw, raw, len);
    r->raw_len = (uint16_t)len;
    r->shunned_until = cv_usec_add(sim_now(v->w->sim), CV_SEC(86400));
}

/* The last relay that is neither a first hop nor a second. */
static unsigned outsider(struct village *v, unsigned node) {
    struct tun_guards *g = (struct tun_guards *)(uintptr_t)tun_client_guards(v->w->node[node].t);
    for (unsigned i = RELAYS; i-- > 0;) {
        const uint8_t *name = v->w->node[i].identity_secret.public_key;
        bool ours = tun_guards_find_sampled(g, name) != NULL;
        for (unsigned k = 0; k < TUN_SECOND_MAX; k++)
            ours |= g->second[k].set && memcmp(g->second[k].identity, name, CV_KEY) == 0;
        if (!ours)
            return i;
    }
    cr_assert_fail("all relays are ours");
    return 0;
}

/* At first start two links may have confirmed a relay. A last hop is asked within the hour,
 * also when nothing is missing, and a descriptor that we alone were shown is found out. */
Test(tun_client, what_was_confirmed_is_compared_again_within_the_hour) {
    struct village *v = village(50, RELAYS);
    unsigned client = village_client(v);
    world_run(v->w, CV_SEC(600)); /* who begins asks more often */
    const struct tun_client *c = tun_attached(v->w->node[client].t, TUN_USER_CLIENT);
    unsigned target = outsider(v, client), rounds = c->far.rounds;
    confirmed_by_accomplices(v, client, target);
    world_run(v->w, CV_SEC(300));
    cr_assert_eq(c->far.rounds, rounds, "asked so soon, it is not what this tests");
    cr_expect_eq(world_count(v->w, client, TUN_EVENT_PROOF), 0);
    world_run(v->w, CV_SEC(3600 - 300));
    cr_expect_gt(c->far.rounds, rounds);
    cr_expect_eq(world_count(v->w, client, TUN_EVENT_PROOF), 1);
    cr_expect(known(v, client, target)->liar);
    village_free(v);
}

/* ---- relays with two addresses ---- */

enum { FOUR_CUT = 1, SIX_CUT = 2 };

/* Every datagram of these families to a relay with two addresses is lost. */
static enum sim_verdict cut(void *ctx, const struct sim_datagram *d) {
    unsigned families = *(const unsigned *)ctx;
    return families & (d->to->family == 4 ? FOUR_CUT : SIX_CUT) ? SIM_DROP : SIM_PASS;
}

static bool is_first_hop(const struct village *v, unsigned node, const struct tun_guards *of) {
    const struct tun_guards *g = tun_client_guards(v->w->node[node].t);
    unsigned same = 0, up = 0;
    for (unsigned i = 0; i < TUN_GUARD_SPARE; i++) {
        same += tun_guards_is_first(of, g->first[i].identity);
        up += g->first[i].up;
    }
    return same == TUN_GUARD_SPARE && up == TUN_GUARD_SPARE;
}

/* A viewer that has one family today and the other tomorrow keeps its first hops, and one that
 * has both speaks to them where they answered first, until they are silent there. */
Test(tun_client, first_hops_stay_where_the_other_family_is) {
    static const struct {
        uint8_t family; /* of the second run; 0: both */
        unsigned cut;   /* in it */
        uint8_t want;   /* of the addresses that first hops have then */
    } rows[] = {{4, 0, 4}, {6, 0, 6}, {0, 0, 4}, {0, FOUR_CUT, 6}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct village *v = village_new(&(struct sim_config){.seed = 300 + i}, 0);
        v->w->mixed = true;
        for (unsigned k = 0; k < 8; k++)
            village_relay(v);
        sim_path_default(v->w->sim, &(struct sim_path){.delay = CV_MSEC(5)});
        world_run(v->w, CV_SEC(15));
        v->w->family = 4;
        unsigned viewer = village_client(v);
        world_run(v->w, CV_SEC(20));
        struct tun_guards before;
        cr_assert_eq(tun_guards_load(&before, v->guards[viewer], v->guards_len[viewer]), CV_ERR_OK);
        for (unsigned k = 0; k < TUN_GUARD_SPARE; k++) {
            cr_assert_eq(before.first[k].addr.family, 4);
            cr_assert_eq(before.first[k].addr_too.family, 6);
        }
        sim_crash(v->w->sim, viewer);
        unsigned lost = rows[i].cut;
        sim_hook(v->w->sim, cut, &lost);
        v->w->family = rows[i].family;
        unsigned again = village_client_with(v, v->guards[viewer], v->guards_len[viewer]);
        world_run(v->w, CV_SEC(10));
        cr_expect(is_first_hop(v, again, &before), "row %zu: other first hops, or none", i);
        const struct tun_guards *g = tun_client_guards(v->w->node[again].t);
        for (unsigned k = 0; k < TUN_GUARD_SPARE; k++)
            cr_expect_eq(g->first[k].addr.family, rows[i].want, "row %zu: IPv%u", i,
                         g->first[k].addr.family);
        village_free(v);
    }
}

struct line {
    unsigned node, lost; /* whose datagrams, of which families */
    unsigned six;        /* of IPv6 that it sent */
};

static enum sim_verdict lossy(void *ctx, const struct sim_datagram *d) {
    struct line *l = ctx;
    if (d->from_node != l->node && d->to_node != l->node)
        return SIM_PASS;
    l->six += d->from_node == l->node && d->to->family == 6;
    return l->lost & (d->to->family == 4 ? FOUR_CUT : SIX_CUT) ? SIM_DROP : SIM_PASS;
}

/* The link of the i-th first hop. */
static struct tun_link *first_link(const struct village *v, unsigned node, unsigned i) {
    struct tun_client *c = tun_attached(v->w->node[node].t, TUN_USER_CLIENT);
    return tun_contact_link(c, tun_contact_neighbour(c, c->guards.first[i].identity));
}

/* Who loses one family goes on, as soon as something waits there, over the same links at the
 * other addresses; while nothing is lost nobody is asked there, and while all is, not for ever. */
Test(tun_client, links_go_where_the_other_family_is) {
    static const struct {
        unsigned cut;      /* for five seconds, at somebody whose links are of IPv4 */
        unsigned want;     /* the family of its links then */
        unsigned min, max; /* datagrams of IPv6 to two first hops meanwhile */
    } rows[] = {{0, 4, 0, 0}, {FOUR_CUT, 6, 8, 1000}, {FOUR_CUT | SIX_CUT, 4, 2, 6}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct village *v = village_new(&(struct sim_config){.seed = 310 + i}, 0);
        v->w->mixed = true;
        for (unsigned k = 0; k < 8; k++)
            village_relay(v);
        sim_path_default(v->w->sim, &(struct sim_path){.delay = CV_MSEC(5)});
        world_run(v->w, CV_SEC(15));
        unsigned viewer = village_client(v);
        struct line line = {.node = viewer, .lost = SIX_CUT}; /* so that its links are of IPv4 */
        sim_hook(v->w->sim, lossy, &line);
        world_run(v->w, CV_SEC(30));
        cv_handle before[TUN_GUARD_SPARE];
        line = (struct line){.node = viewer, .lost = rows[i].cut};
        for (unsigned k = 0; k < TUN_GUARD_SPARE; k++) {
            struct tun_link *l = first_link(v, viewer, k);
            cr_assert(l && l->addr.family == 4);
            before[k] = l->handle;
            tun_link_ask(v->w->node[viewer].t, l);
        }
        sim_touch(v->w->sim, viewer);
        world_run(v->w, CV_SEC(5));
        cr_expect(line.six >= rows[i].min && line.six <= rows[i].max, "row %zu: %u", i, line.six);
        const struct tun_guards *g = tun_client_guards(v->w->node[viewer].t);
        for (unsigned k = 0; k < TUN_GUARD_SPARE; k++) {
            struct tun_link *l = first_link(v, viewer, k);
            cr_assert(l && l->handle == before[k], "row %zu: another link", i);
            cr_expect_eq(l->addr.family, rows[i].want, "row %zu: IPv%u", i, l->addr.family);
            cr_expect(cv_addr_equal(&g->first[k].addr, &l->addr), "row %zu: not told", i);
            cv_usec at = world_now(v->w, viewer).mono; /* and that is where it is heard */
            tun_link_ask(v->w->node[viewer].t, l);
            sim_touch(v->w->sim, viewer);
            world_run(v->w, CV_SEC(1));
            l = first_link(v, viewer, k);
            cr_expect(l && (rows[i].cut & SIX_CUT || tun_link_heard_at(l) >= at), "row %zu", i);
        }
        line.lost = 0;
        world_run(v->w, CV_SEC(10)); /* it was short, and the links are there still */
        for (unsigned k = 0; k < TUN_GUARD_SPARE; k++)
            cr_expect(first_link(v, viewer, k) && first_link(v, viewer, k)->handle == before[k],
                      "row %zu: it did not last", i);
        village_free(v);
    }
}
