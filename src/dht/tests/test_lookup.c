#include "support/suite.h"

#include <stdlib.h>

#include "crypto/rng_seeded.h"
#include "dht/lookup.h"

CV_SUITE(dht_lookup);

static struct dht_lookup *l;
static const struct dht_id target = {{0}};

static void setup(void) {
    l = malloc(sizeof *l);
    dht_lookup_init(l, &target);
}

static void teardown(void) {
    free(l);
}

/* Distance grows with i. */
static struct dht_id id(unsigned i) {
    return (struct dht_id){{0, (uint8_t)(i >> 8), (uint8_t)i, 1}};
}

/* Each another /24, exempt from BEP 42. */
static struct cv_addr addr(unsigned i) {
    return (struct cv_addr){.ip = {10, (uint8_t)(i >> 8), (uint8_t)i, 1}, .family = 4, .port = 1};
}

static bool add(unsigned i) {
    struct dht_id v = id(i);
    struct cv_addr a = addr(i);
    return dht_lookup_add(l, &v, &a);
}

static bool answer(unsigned i) {
    struct dht_id v = id(i);
    struct cv_addr a = addr(i);
    return dht_lookup_answered(l, &a, &v);
}

static unsigned next(void) {
    struct dht_candidate *c = dht_lookup_next(l);
    return c ? c->addr.ip[1] * 256u + c->addr.ip[2] : 99999;
}

#define NOBODY 99999

Test(dht_lookup, closest_first_alpha_at_a_time, .init = setup, .fini = teardown) {
    for (unsigned i = 20; i-- > 1;)
        cr_assert(add(i));
    for (unsigned i = 1; i <= DHT_ALPHA; i++)
        cr_expect_eq(next(), i);
    cr_expect_eq(next(), NOBODY);
    cr_expect_not(dht_lookup_over(l));
    cr_expect(answer(2));
    cr_expect_eq(next(), DHT_ALPHA + 1);
    struct cv_addr slow = addr(1);
    dht_lookup_stalled(l, &slow);
    cr_expect_eq(next(), DHT_ALPHA + 2, "a slow one frees its place");
    cr_expect(answer(1), "and may still answer");
    cr_expect_not(answer(1), "but once only");
}

Test(dht_lookup, over_when_the_k_closest_left_have_answered, .init = setup, .fini = teardown) {
    for (unsigned i = 1; i < 30; i++)
        add(i);
    unsigned asked = 0, who;
    while ((who = next()) != NOBODY) {
        asked++;
        if (who == 3) {
            struct cv_addr dead = addr(3);
            dht_lookup_failed(l, &dead);
        } else {
            cr_assert(answer(who));
        }
    }
    cr_expect(dht_lookup_over(l));
    cr_expect_eq(asked, DHT_K + 1);
    struct dht_candidate *c[DHT_K];
    cr_assert_eq(dht_lookup_closest(l, false, c, DHT_K), DHT_K);
    cr_expect_eq(c[0]->addr.ip[2], 1);
    cr_expect_eq(c[2]->addr.ip[2], 4);
    cr_expect_eq(dht_lookup_closest(l, true, c, DHT_K), 0, "nobody gave a token");
}

Test(dht_lookup, waits_for_the_closer_ones_only, .init = setup, .fini = teardown) {
    for (unsigned i = 1; i <= 12; i++)
        add(i);
    for (unsigned i = 1; i <= DHT_ALPHA; i++)
        (void)next();
    for (unsigned i = 2; i <= DHT_ALPHA; i++)
        answer(i);
    unsigned who;
    while ((who = next()) != NOBODY)
        answer(who);
    cr_expect_not(dht_lookup_over(l), "the closest owes its answer");
    struct cv_addr first = addr(1);
    dht_lookup_failed(l, &first);
    while ((who = next()) != NOBODY)
        answer(who);
    cr_expect(dht_lookup_over(l));
}

Test(dht_lookup, empty_is_over, .init = setup, .fini = teardown) {
    cr_expect(dht_lookup_over(l));
    cr_expect_eq(next(), NOBODY);
}

Test(dht_lookup, liars_are_dropped, .init = setup, .fini = teardown) {
    add(1);
    (void)next();
    struct dht_id other = id(7);
    struct cv_addr a = addr(1);
    cr_expect_not(dht_lookup_answered(l, &a, &other));
    cr_expect(dht_lookup_over(l));
    struct cv_addr unasked = addr(9);
    cr_expect_not(dht_lookup_answered(l, &unasked, &other));
}

Test(dht_lookup, one_of_a_network, .init = setup, .fini = teardown) {
    /* 40 hostile ones in one /24, all closer than five honest ones. */
    for (unsigned i = 1; i <= 40; i++) {
        struct dht_id v = id(i);
        struct cv_addr a = {.ip = {10, 200, 200, (uint8_t)i}, .family = 4, .port = 1};
        cr_assert(dht_lookup_add(l, &v, &a));
    }
    for (unsigned i = 100; i < 105; i++)
        cr_assert(add(i));
    unsigned hostile = 0, honest = 0;
    struct dht_candidate *c;
    while ((c = dht_lookup_next(l))) {
        hostile += c->addr.ip[1] == 200;
        honest += c->addr.ip[1] != 200;
        struct dht_id v = c->id;
        struct cv_addr a = c->addr;
        cr_assert(dht_lookup_answered(l, &a, &v));
    }
    cr_expect(dht_lookup_over(l));
    cr_expect_eq(hostile, 1);
    cr_expect_eq(honest, 5);
}

Test(dht_lookup, a_dead_one_does_not_block_its_network, .init = setup, .fini = teardown) {
    struct dht_id a = id(1), b = id(2);
    struct cv_addr x = {.ip = {10, 1, 1, 1}, .family = 4, .port = 1}, y = x;
    y.ip[3] = 2;
    dht_lookup_add(l, &a, &x);
    dht_lookup_add(l, &b, &y);
    cr_expect(dht_lookup_next(l));
    cr_expect_not(dht_lookup_next(l));
    dht_lookup_failed(l, &x);
    struct dht_candidate *c = dht_lookup_next(l);
    cr_assert(c);
    cr_expect(cv_addr_equal(&c->addr, &y));
}

Test(dht_lookup, unfit_ids_do_not_end_it_and_are_last_to_store, .init = setup, .fini = teardown) {
    /* Public addresses: random ids do not fit them. */
    for (unsigned i = 1; i <= DHT_K; i++) {
        struct dht_id v = id(i);
        struct cv_addr a = {.ip = {11, (uint8_t)i, 1, 1}, .family = 4, .port = 1};
        cr_assert(dht_lookup_add(l, &v, &a));
    }
    for (unsigned i = 100; i < 105; i++)
        add(i);
    struct dht_candidate *c;
    unsigned asked = 0;
    while ((c = dht_lookup_next(l))) {
        asked++;
        struct dht_id v = c->id;
        struct cv_addr a = c->addr;
        c = dht_lookup_answered(l, &a, &v);
        cr_assert(c);
        c->token_len = 1;
    }
    cr_expect_eq(asked, DHT_K + 5);
    struct dht_candidate *got[DHT_K];
    cr_assert_eq(dht_lookup_closest(l, true, got, DHT_K), DHT_K);
    for (unsigned i = 0; i < 5; i++)
        cr_expect(got[i]->fits);
    for (unsigned i = 5; i < DHT_K; i++)
        cr_expect_not(got[i]->fits);
}

Test(dht_lookup, contact_takes_its_place_when_it_is_known, .init = setup, .fini = teardown) {
    struct cv_addr contact = addr(500);
    add(1);
    cr_assert(dht_lookup_add(l, NULL, &contact));
    cr_expect_not(dht_lookup_add(l, NULL, &contact));
    cr_expect_eq(next(), 500, "asked before all others");
    struct dht_id its = id(50);
    struct dht_candidate *c = dht_lookup_answered(l, &contact, &its);
    cr_assert(c);
    cr_expect_eq(c, &l->v[1]);
    cr_expect_not(c->contact);
}

Test(dht_lookup, bounded_in_memory_and_queries, .init = setup, .fini = teardown) {
    /* Each answer names closer ones: it still ends. */
    unsigned asked = 0, from = 60000;
    add(from);
    struct dht_candidate *c;
    while ((c = dht_lookup_next(l))) {
        cr_assert_leq(++asked, DHT_LOOKUP_QUERIES);
        struct dht_id v = c->id;
        struct cv_addr a = c->addr;
        dht_lookup_failed(l, &a);
        for (unsigned i = 0; i < 16; i++)
            add(--from);
        cr_assert_leq(l->count, DHT_CANDIDATES);
        (void)v;
    }
    cr_expect_eq(asked, DHT_LOOKUP_QUERIES);
    cr_expect(dht_lookup_over(l));
}
