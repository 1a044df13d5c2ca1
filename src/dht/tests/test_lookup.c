#include "support/suite.h"

#include <stdlib.h>

#include "crypto/rng_seeded.h"
#include "dht/lookup.h"

CV_SUITE(dht_lookup);

static struct dht_lookup *l;
static const struct dht_id target = {{0}};

static void setup(void) {
    l = malloc(sizeof *l);
    dht_lookup_init(l, &target, (struct dht_size){0});
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

static struct dht_namer on(unsigned path) {
    return (struct dht_namer){.path = (uint8_t)path, .step = 1};
}

static bool add_on(unsigned path, unsigned i) {
    struct dht_id v = id(i);
    struct cv_addr a = addr(i);
    return dht_lookup_add(l, on(path), &v, &a);
}

static bool add(unsigned i) {
    return add_on(0, i);
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
    /* 20 hostile ones in one /24, all closer than five honest ones. */
    for (unsigned i = 1; i <= 20; i++) {
        struct dht_id v = id(i);
        struct cv_addr a = {.ip = {10, 200, 200, (uint8_t)i}, .family = 4, .port = 1};
        cr_assert(dht_lookup_add(l, on(0), &v, &a));
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
    dht_lookup_add(l, on(0), &a, &x);
    dht_lookup_add(l, on(0), &b, &y);
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
        cr_assert(dht_lookup_add(l, on(0), &v, &a));
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
    cr_assert(dht_lookup_start(l, NULL, &contact));
    cr_expect_not(dht_lookup_start(l, NULL, &contact));
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
        cr_assert_leq(++asked, DHT_PATH_QUERIES);
        struct dht_id v = c->id;
        struct cv_addr a = c->addr;
        dht_lookup_failed(l, &a);
        for (unsigned i = 0; i < 16; i++)
            add(--from);
        cr_assert_leq(l->count, DHT_PATH_CANDIDATES);
        (void)v;
    }
    cr_expect_eq(asked, DHT_PATH_QUERIES);
    cr_expect(dht_lookup_over(l));
}

/* --- paths -------------------------------------------------------------- */

Test(dht_lookup, starts_are_dealt_out_and_every_path_begins_with_its_closest, .init = setup,
     .fini = teardown) {
    for (unsigned i = 1; i <= 8; i++) {
        struct dht_id v = id(i);
        struct cv_addr a = addr(i);
        cr_assert(dht_lookup_start(l, &v, &a));
    }
    for (unsigned i = 1; i <= DHT_PATHS; i++) {
        struct dht_candidate *c = dht_lookup_next(l);
        cr_assert(c);
        cr_expect_eq(c->addr.ip[2], i);
        cr_expect_eq(c->path, i - 1);
        cr_expect_eq(c->step, 1);
    }
    cr_expect_eq(next(), NOBODY);
}

Test(dht_lookup, named_nodes_stay_on_the_path_and_nobody_is_asked_twice, .init = setup,
     .fini = teardown) {
    add_on(0, 50);
    add_on(1, 60);
    l->starts = DHT_PATHS;
    cr_expect_eq(next(), 50);
    cr_expect_eq(next(), 60);
    struct dht_id v = id(50);
    struct cv_addr a = addr(50);
    struct dht_candidate *c = dht_lookup_answered(l, &a, &v);
    struct dht_namer by = dht_lookup_namer(l, c);
    cr_expect_eq(by.path, 0);
    cr_expect_eq(by.step, 2);
    v = id(10);
    a = addr(10);
    cr_expect(dht_lookup_add(l, by, &v, &a));
    cr_expect_not(dht_lookup_add(l, on(1), &v, &a), "known already");
    cr_expect_eq(dht_lookup_find(l, &a)->paths, 3, "but both paths know it now");
    cr_expect_eq(next(), 10);
    cr_expect_eq(dht_lookup_find(l, &a)->path, 0, "the first that asks has it");
    cr_expect_eq(next(), NOBODY);
    answer(60);
    cr_expect_not(dht_lookup_over(l));
    answer(10);
    cr_expect(dht_lookup_over(l));
}

Test(dht_lookup, few_to_begin_with_leave_it_to_those_they_name, .init = setup, .fini = teardown) {
    struct dht_id v = id(100);
    struct cv_addr a = addr(100);
    dht_lookup_start(l, &v, &a);
    (void)next();
    struct dht_namer by = dht_lookup_namer(l, dht_lookup_answered(l, &a, &v));
    for (unsigned i = 1; i <= 8; i++) {
        v = id(i);
        a = addr(i);
        dht_lookup_add(l, by, &v, &a);
    }
    unsigned paths = 0;
    for (unsigned i = 0; i < l->count; i++)
        paths |= l->v[i].paths;
    cr_expect_eq(paths, (1u << DHT_PATHS) - 1);
}

/* One path is told of nothing but liars next to the target. It cannot push out
 * what the others know, nor keep their closest from being stored on. */
Test(dht_lookup, a_spoiled_path_spoils_no_other, .init = setup, .fini = teardown) {
    for (unsigned i = 1000; i < 1040; i++) {
        add_on(1, i);
        add_on(2, i);
    }
    for (unsigned i = 1; i <= 200; i++)
        add_on(0, i);
    unsigned hostile = 0, honest = 0;
    struct dht_candidate *c;
    while ((c = dht_lookup_next(l))) {
        bool liar = c->id.b[1] == 0 && c->id.b[2] <= 200;
        hostile += liar;
        honest += !liar;
        struct dht_id v = c->id;
        struct cv_addr a = c->addr;
        c = dht_lookup_answered(l, &a, &v);
        cr_assert(c);
        c->token_len = 1;
    }
    cr_expect(dht_lookup_over(l));
    cr_expect_leq(hostile, DHT_PATH_QUERIES);
    cr_expect_eq(honest, DHT_K);
    struct dht_candidate *got[DHT_STORES_MAX];
    size_t n = dht_lookup_stores(l, got), on_honest = 0;
    for (size_t i = 0; i < n; i++)
        on_honest += got[i]->id.b[1] != 0;
    cr_expect_eq(on_honest, DHT_K / 2);
    cr_expect_leq(n, DHT_STORES_MAX);
}

/* --- crowds and gaps ---------------------------------------------------- */

static void ask_all(void) {
    struct dht_candidate *c;
    while ((c = dht_lookup_next(l))) {
        struct dht_id v = c->id;
        struct cv_addr a = c->addr;
        dht_lookup_answered(l, &a, &v)->token_len = 1;
    }
    cr_assert(dht_lookup_over(l));
}

/* Honest nodes of a network of 16384: one in every 4/65536 of the ids. */
static struct dht_id spaced(unsigned i) {
    return (struct dht_id){{(uint8_t)(i * 4 >> 8), (uint8_t)(i * 4)}};
}

static void begin_around(double size, unsigned liars) {
    dht_lookup_init(l, &target, (struct dht_size){size, size});
    for (unsigned i = 1; i <= liars; i++) {
        struct dht_id v = {{0, 0, 1, (uint8_t)i}};
        struct cv_addr a = addr(i);
        dht_lookup_add(l, on(0), &v, &a);
    }
    for (unsigned i = 1; i <= 16; i++) {
        struct dht_id v = spaced(i);
        struct cv_addr a = addr(1000 + i);
        dht_lookup_add(l, on(0), &v, &a);
    }
    ask_all();
}

Test(dht_lookup, a_crowd_around_the_target_is_seen, .init = setup, .fini = teardown) {
    struct dht_id crowd;
    begin_around(16384, 0);
    cr_expect_not(dht_lookup_crowded(l, &crowd), "an ordinary neighbourhood");
    begin_around(16384, 4);
    cr_expect(dht_lookup_crowded(l, &crowd));
    cr_expect_eq(crowd.b[2], 1);
    begin_around(0, 8);
    cr_expect_not(dht_lookup_crowded(l, &crowd), "nothing is known about the size");
}

Test(dht_lookup, what_a_sweep_brings_is_all_asked_and_stored_on, .init = setup, .fini = teardown) {
    begin_around(16384, 16);
    struct dht_candidate *got[DHT_STORES_MAX];
    unsigned before = l->asked;
    for (unsigned i = 20; i < 40; i++) {
        struct dht_id v = spaced(i);
        struct cv_addr a = addr(2000 + i);
        cr_expect(dht_lookup_add(l, on(DHT_PATH_SWEEP), &v, &a));
    }
    ask_all();
    cr_expect_eq(l->asked - before, 20);
    size_t n = dht_lookup_stores(l, got), swept = 0;
    for (size_t i = 0; i < n; i++)
        swept += got[i]->addr.ip[1] == 2020 >> 8;
    cr_expect_eq(swept, 20, "%zu", swept);
}

Test(dht_lookup, a_sweep_does_not_count_the_crowd, .init = setup, .fini = teardown) {
    struct dht_id beside = spaced(4);
    dht_lookup_init(l, &beside, (struct dht_size){16384, 16384});
    struct dht_id crowd = {{0, 0, 1}};
    dht_lookup_shun(l, &crowd);
    for (unsigned i = 1; i <= 16; i++) {
        struct dht_id v = {{0, 0, 1, (uint8_t)i}};
        struct cv_addr a = addr(i);
        dht_lookup_add(l, on(0), &v, &a);
    }
    for (unsigned i = 3; i <= 12; i++) {
        struct dht_id v = spaced(i);
        struct cv_addr a = addr(1000 + i);
        dht_lookup_add(l, on(0), &v, &a);
    }
    ask_all();
    struct dht_candidate *got[DHT_K];
    cr_assert_eq(dht_lookup_closest(l, false, got, DHT_K), DHT_K);
    for (unsigned i = 0; i < DHT_K; i++)
        cr_expect_neq(got[i]->id.b[1], 0, "none of the crowd");
}

/* Eight answered, but far from where the eighth ought to be: somebody names
 * friends only. The path goes on with what it began with. */
Test(dht_lookup, a_gap_before_the_closest_makes_it_go_on, .init = setup, .fini = teardown) {
    for (unsigned known = 0; known < 2; known++) {
        double size = known ? 16384 : 0;
        dht_lookup_init(l, &target, (struct dht_size){size, size});
        for (unsigned i = 1; i <= DHT_K; i++) {
            struct dht_id v = spaced(i * 10);
            struct cv_addr a = addr(i);
            dht_lookup_add(l, on(0), &v, &a);
        }
        struct dht_id honest = spaced(1000);
        struct cv_addr a = addr(3000);
        dht_lookup_add(l, on(0), &honest, &a);
        ask_all();
        cr_expect_eq(dht_lookup_find(l, &a)->state,
                     known ? DHT_CANDIDATE_ANSWERED : DHT_CANDIDATE_NEW);
    }
}

Test(dht_lookup, paths_keep_to_their_places_whoever_else_names_their_nodes, .init = setup,
     .fini = teardown) {
    for (unsigned p = DHT_PATHS; p-- > 0;) {
        for (unsigned i = 0; i < 2 * DHT_PATH_CANDIDATES; i++)
            add_on(p, 5000 + p * 1000 - i);
        for (unsigned i = 0; i < l->count; i++) { /* path 0 names everybody */
            struct dht_id v = l->v[i].id;
            struct cv_addr a = l->v[i].addr;
            dht_lookup_add(l, on(0), &v, &a);
        }
        cr_assert_leq(l->count, DHT_CANDIDATES);
    }
    for (unsigned i = 0; i < 100; i++)
        add_on(i % DHT_PATHS, 1000 - i);
    cr_expect_eq(l->count, DHT_PATHS * DHT_PATH_CANDIDATES);
}

Test(dht_lookup, same_address_under_another_id_is_no_excuse, .init = setup, .fini = teardown) {
    struct dht_id lie = id(1), truth = id(2);
    struct cv_addr a = addr(2);
    add_on(0, 500);
    cr_expect(dht_lookup_add(l, on(0), &lie, &a));
    cr_expect(dht_lookup_add(l, on(1), &truth, &a));
    struct dht_candidate *c = dht_lookup_next(l);
    cr_assert(c);
    cr_expect(dht_id_equal(&c->id, &lie));
    cr_expect_not(dht_lookup_answered(l, &a, &truth), "not who was asked for");
    unsigned more = 0;
    while ((c = dht_lookup_next(l)))
        more += dht_id_equal(&c->id, &truth);
    cr_expect_eq(more, 1, "asked under its own name afterwards");
    cr_expect(answer(2));
}

Test(dht_lookup, size_and_steps, .init = setup, .fini = teardown) {
    for (unsigned i = 1; i <= DHT_K; i++) {
        struct dht_id v = {{0, (uint8_t)(i * 16)}};
        struct cv_addr a = addr(i);
        dht_lookup_add(l, (struct dht_namer){0, (uint8_t)i}, &v, &a);
    }
    cr_expect_eq(dht_lookup_size(l), 0);
    struct dht_candidate *c;
    while ((c = dht_lookup_next(l))) {
        struct dht_id v = c->id;
        struct cv_addr a = c->addr;
        dht_lookup_answered(l, &a, &v);
    }
    cr_expect_float_eq(dht_lookup_size(l), 7 * 65536.0 / 128, 1);
    cr_expect_eq(dht_lookup_steps(l), DHT_K);
}
