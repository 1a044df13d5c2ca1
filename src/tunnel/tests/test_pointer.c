/*
 * Pointers: octets that whoever knows a swarm finds, while nobody shares it. In a
 * village of relays (tests/village.h).
 */
#include "support/suite.h"
#include "tunnel/hiddenstate.h"
#include "tunnel/tests/village.h"

CV_SUITE(tun_pointer);

static const char channel[] = "channel";

static struct village *six_at(uint64_t seed, int64_t wall) {
    struct village *v = village_new(&(struct sim_config){.seed = seed, .wall = wall}, 6);
    sim_path_default(v->w->sim, &(struct sim_path){.delay = CV_MSEC(1)});
    world_run(v->w, CV_SEC(3));
    return v;
}

static struct village *six(uint64_t seed) {
    return six_at(seed, 0);
}

/* Writes octets of this value; 0: reads. */
static cv_handle point(struct village *v, unsigned node, const char *swarm, const uint8_t *secret,
                       uint8_t value) {
    struct cv_now now = world_now(v->w, node);
    uint8_t octets[TUN_POINTER];
    cv_handle h;
    memset(octets, value, sizeof octets);
    cr_assert_eq(tun_hidden_point(v->w->node[node].t, &now, swarm, strlen(swarm), secret,
                                  value ? octets : NULL, &h),
                 CV_ERR_OK);
    sim_touch(v->w->sim, node);
    return h;
}

static enum tun_hidden_state state(struct village *v, unsigned node, cv_handle h) {
    struct tun_hidden_info info;
    cr_assert_eq(tun_hidden_info(v->w->node[node].t, h, &info), CV_ERR_OK);
    return info.state;
}

/* How often this was read. */
static unsigned read_of(struct village *v, unsigned node, uint8_t value) {
    unsigned n = 0;
    struct world_event *e;
    for (unsigned i = 0; (e = world_find(v->w, node, TUN_EVENT_POINTER, i)) != NULL; i++) {
        bool all = true;
        for (size_t k = 0; k < TUN_POINTER; k++)
            all &= e->octets[k] == value;
        n += all;
    }
    return n;
}

static struct tun_swarm_secret secret_of(struct village *v) {
    struct tun_swarm_secret s;
    tun_swarm_derive(&s, v->w->node[0].cfg.network_id, channel, strlen(channel), NULL);
    return s;
}

static uint32_t period_now(struct village *v) {
    struct tun_swarm_secret s = secret_of(v);
    return tun_swarm_period(&s, world_now(v->w, 0).wall);
}

static void key_of(struct village *v, uint32_t period, struct cv_ed25519_secret *ret) {
    struct tun_swarm_secret s = secret_of(v);
    tun_slot_key(ret, &s, period, TUN_SLOT_POINTER);
}

/* What somebody who knows the swarm puts there. */
static struct tun_item item_of(struct village *v, int64_t seq, uint8_t value) {
    struct tun_item item = {.seq = seq};
    struct tun_swarm_secret s = secret_of(v);
    struct tun_period_secret keys;
    struct cv_ed25519_secret key;
    uint8_t octets[TUN_POINTER];
    memset(octets, value, sizeof octets);
    tun_period_derive(&keys, &s, period_now(v));
    tun_pointer_seal(item.value, octets, &keys, tun_rng(v->w->node[0].t));
    key_of(v, period_now(v), &key);
    tun_item_sign(&item, &key);
    return item;
}

Test(tun_pointer, is_found_by_who_knows_the_swarm_and_nobody_else) {
    static const uint8_t secret[32] = {7};
    struct village *v = six(1);
    unsigned writer = village_client(v), reader = village_client(v), other = village_client(v);
    cv_handle w = point(v, writer, channel, NULL, 5);
    world_run(v->w, CV_SEC(5));
    cr_expect_eq(state(v, writer, w), TUN_HIDDEN_SHARED);

    (void)point(v, reader, channel, NULL, 0);
    (void)point(v, other, channel, secret, 0);
    world_run(v->w, CV_SEC(5));
    cr_expect_gt(read_of(v, reader, 5), 0);
    cr_expect_eq(world_count(v->w, other, TUN_EVENT_POINTER), 0);
    cr_expect_eq(world_count(v->w, writer, TUN_EVENT_POINTER), 0);

    /* Always by two last hops, and written through two. */
    struct cv_ed25519_secret key;
    key_of(v, period_now(v), &key);
    cr_expect(village_asked_twice(v, key.public_key));
    cr_expect_geq(village_relays_stored(v, key.public_key), 2);
    village_free(v);
}

Test(tun_pointer, that_comes_later_is_found_soon) {
    struct village *v = six(2);
    unsigned writer = village_client(v), reader = village_client(v);
    (void)point(v, reader, channel, NULL, 0);
    world_run(v->w, CV_SEC(10));
    cr_expect_eq(world_count(v->w, reader, TUN_EVENT_POINTER), 0);
    cv_handle w = point(v, writer, channel, NULL, 5);
    world_run(v->w, CV_SEC(12));
    cr_expect_gt(read_of(v, reader, 5), 0);

    /* Another one, with the first one's writer gone. */
    struct cv_now now = world_now(v->w, writer);
    tun_hidden_close(v->w->node[writer].t, &now, w);
    (void)point(v, writer, channel, NULL, 6);
    world_run(v->w, CV_SEC(20));
    cr_expect_gt(read_of(v, reader, 6), 0);
    village_free(v);
}

Test(tun_pointer, is_written_again_before_the_dht_forgets_it_and_when_the_period_turns) {
    struct village *v = six(3);
    struct tun_swarm_secret s = secret_of(v);
    int64_t turn = tun_swarm_period_begins(&s, period_now(v) + 1);
    village_free(v);
    v = six_at(3, turn - 4500);
    unsigned writer = village_client(v);
    (void)point(v, writer, channel, NULL, 5);
    world_run(v->w, CV_SEC(10));
    struct cv_ed25519_secret key;
    key_of(v, period_now(v), &key);
    const struct tun_item *item = village_item(v, key.public_key);
    cr_assert_not_null(item);
    int64_t first = item->seq;
    world_run(v->w, CV_SEC(3700));
    key_of(v, period_now(v), &key);
    item = village_item(v, key.public_key);
    cr_assert_not_null(item);
    cr_expect_gt(item->seq, first);

    village_free(v);

    /* Later than half an hour before the turn nothing else makes it write. */
    v = six_at(3, turn - 1500);
    writer = village_client(v);
    (void)point(v, writer, channel, NULL, 5);
    world_run(v->w, CV_SEC(10));
    uint32_t period = period_now(v);
    int64_t left = turn - world_now(v->w, writer).wall;
    cr_assert_gt(left, 0);
    world_run(v->w, CV_SEC(left + 90));
    key_of(v, period + 1, &key);
    cr_expect_not_null(village_item(v, key.public_key), "not within 90 s of the turn");
    village_free(v);
}

/* Whose clock is past the turn looks under the keys of its writer's day, too, and at once. */
Test(tun_pointer, is_found_as_soon_across_a_turn) {
    struct village *v = six(3);
    struct tun_swarm_secret s = secret_of(v);
    int64_t turn = tun_swarm_period_begins(&s, period_now(v) + 1);
    village_free(v);
    for (int ahead = -1; ahead <= 1; ahead += 2) {
        v = six_at(3, turn - 60);
        unsigned writer = village_client(v), reader = village_client(v);
        sim_wall_skew(v->w->sim, writer, -ahead * TUN_CLOCK_OFF_S);
        sim_wall_skew(v->w->sim, reader, ahead * TUN_CLOCK_OFF_S);
        cv_handle w = point(v, writer, channel, NULL, 5);
        world_run(v->w, CV_SEC(5));
        cr_assert_eq(state(v, writer, w), TUN_HIDDEN_SHARED);
        (void)point(v, reader, channel, NULL, 0);
        world_run(v->w, CV_MSEC(400)); /* less than what a miss waits in a hurry */
        cr_expect_gt(read_of(v, reader, 5), 0, "reader %+d", ahead);
        village_free(v);
    }
}

Test(tun_pointer, of_somebody_else_is_told_and_written_over) {
    struct village *v = six(4);
    unsigned writer = village_client(v), reader = village_client(v);
    int64_t wall = world_now(v->w, 0).wall;
    v->item[v->items++] = item_of(v, wall + 600, 9);
    (void)point(v, reader, channel, NULL, 0);
    world_run(v->w, CV_SEC(5));
    cr_expect_gt(read_of(v, reader, 9), 0);
    cv_handle w = point(v, writer, channel, NULL, 5);
    world_run(v->w, CV_SEC(20));
    cr_expect_eq(state(v, writer, w), TUN_HIDDEN_SHARED);
    cr_expect_gt(read_of(v, reader, 5), 0);
    village_free(v);
}

/* Signed far ahead, nobody writes there any more in this period: it is tried no more often
 * than with any other failure. */
Test(tun_pointer, that_was_locked_costs_few_questions) {
    struct village *v = six(5);
    unsigned writer = village_client(v);
    v->item[v->items++] = item_of(v, world_now(v->w, 0).wall + 100000, 9);
    cv_handle w = point(v, writer, channel, NULL, 5);
    world_run(v->w, CV_SEC(60));
    cr_expect_neq(state(v, writer, w), TUN_HIDDEN_SHARED);
    unsigned before = v->lookups;
    world_run(v->w, CV_SEC(60));
    cr_expect_leq(v->lookups - before, 2 * 60 / 5 + 2);
    cr_expect_gt(v->lookups, before);
    cr_expect_eq(v->puts, 0);
    village_free(v);
}

Test(tun_pointer, one_last_hop_that_lies_hides_nothing) {
    static const enum village_manner manners[] = {VILLAGE_CENSOR, VILLAGE_STALE, VILLAGE_SILENT};
    for (size_t i = 0; i < sizeof manners / sizeof *manners; i++) {
        struct village *v = six(6 + i);
        unsigned writer = village_client(v), reader = village_client(v);
        v->stale = item_of(v, world_now(v->w, 0).wall - 100, 4);
        (void)point(v, writer, channel, NULL, 5);
        world_run(v->w, CV_SEC(10));
        v->manner[1] = manners[i];
        (void)point(v, reader, channel, NULL, 0);
        world_run(v->w, CV_SEC(60));
        cr_expect_gt(read_of(v, reader, 5), 0, "manner %u", manners[i]);
        village_free(v);
    }
}

/* Third hops of the circuits that a node has now for hidden swarms, added to those seen. */
static unsigned add_thirds(struct village *v, unsigned node, uint8_t seen[][CV_KEY], unsigned n) {
    cv_handle circuit[TUN_CIRCUITS_MAX];
    size_t count = tun_circuit_list(v->w->node[node].t, TUN_USER_HIDDEN, circuit, TUN_CIRCUITS_MAX);
    for (size_t i = 0; i < count; i++) {
        const struct tun_relay_ref *third = tun_circuit_hop(v->w->node[node].t, circuit[i], 2);
        bool known = tun_circuit_hop(v->w->node[node].t, circuit[i], 3) == NULL; /* of three */
        for (unsigned k = 0; k < n; k++)
            known |= memcmp(seen[k], third->identity, CV_KEY) == 0;
        if (!known && n < WORLD_NODES)
            memcpy(seen[n++], third->identity, CV_KEY);
    }
    return n;
}

static unsigned watch_thirds(struct village *v, unsigned node, uint8_t seen[][CV_KEY], unsigned n) {
    for (unsigned i = 0; i < 150; i++) {
        world_run(v->w, CV_MSEC(2));
        n = add_thirds(v, node, seen, n);
    }
    world_run(v->w, CV_SEC(2));
    return n;
}

/* Who writes shows the DHT where the ways end: what stands before that is not another relay each
 * time, nor when something else is written, or the same swarm is shared. */
Test(tun_pointer, whose_writer_keeps_its_third_hops_shows_few_relays_its_second_layer) {
    for (uint64_t seed = 11; seed < 14; seed++) {
        struct village *v = village_new(&(struct sim_config){.seed = seed}, 14);
        sim_path_default(v->w->sim, &(struct sim_path){.delay = CV_MSEC(1)});
        world_run(v->w, CV_SEC(4));
        unsigned writer = village_client(v), n = 0;
        uint8_t seen[WORLD_NODES][CV_KEY];
        cv_handle h = 0;
        world_run(v->w, CV_SEC(4));
        for (uint8_t i = 1; i <= 20; i++) {
            cv_handle before = h;
            struct cv_now now = world_now(v->w, writer);
            h = point(v, writer, channel, NULL, i); /* as node_point() does: first the new one */
            tun_hidden_close(v->w->node[writer].t, &now, before);
            n = watch_thirds(v, writer, seen, n);
        }
        cr_expect_eq(state(v, writer, h), TUN_HIDDEN_SHARED, "seed %lu", seed);
        cr_expect(n >= 2 && n <= 2 * TUN_THIRDS, "seed %lu: %u third hops", seed, n);
        (void)village_share(v, writer, channel, /* viewer= */ false);
        n = watch_thirds(v, writer, seen, n);
        cr_expect_leq(n, 2 * TUN_THIRDS, "seed %lu: %u with those of a seeder", seed, n);
        village_free(v);
    }
}

Test(tun_pointer, ends_with_its_circuits) {
    struct village *v = six(9);
    unsigned reader = village_client(v);
    struct cv_now now = world_now(v->w, reader);
    cv_handle h = point(v, reader, channel, NULL, 0);
    world_run(v->w, CV_MSEC(300));
    now = world_now(v->w, reader);
    tun_hidden_close(v->w->node[reader].t, &now, h);
    struct tun_hiddens *all = v->w->node[reader].t->user[TUN_USER_HIDDEN];
    cr_expect_eq(all->roads.count, 0);
    struct tun_hidden_info info;
    cr_expect_eq(tun_hidden_info(v->w->node[reader].t, h, &info), CV_ERR_NOENT);
    village_free(v);
}
