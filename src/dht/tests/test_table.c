#include "support/suite.h"

#include <stdlib.h>

#include "crypto/rng_seeded.h"
#include "dht/table.h"

CV_SUITE(dht_table);

static struct cv_rng_seeded seeded;
static struct cv_rng rng;
static struct dht_table table;
static const cv_usec T = CV_SEC(1000);

static void setup(void) {
    cv_rng_seeded_init(&seeded, 3);
    rng = cv_rng_seeded(&seeded);
    struct dht_id own = dht_id_random(&rng);
    cr_assert_eq(dht_table_init(&table, &own, T), CV_ERR_OK);
}

static void teardown(void) {
    dht_table_done(&table);
}

/* Exempt from BEP 42, each i another /24. */
static struct cv_addr addr(unsigned i) {
    return (struct cv_addr){
        .ip = {10, (uint8_t)(i >> 8), (uint8_t)i, 1}, .family = 4, .port = 6881};
}

/* Shares exactly `bits` with us. */
static struct dht_id near(unsigned bits) {
    return dht_id_random_at(&table.own, bits, &rng);
}

static enum cv_err enter(cv_usec now, const struct dht_id *id, const struct cv_addr *a) {
    return dht_table_answered(&table, now, id, a, 10);
}

static void fail(const struct cv_addr *a, unsigned times) {
    for (unsigned i = 0; i < times; i++)
        dht_table_failed(&table, T, a);
}

Test(dht_table, only_the_own_bucket_splits, .init = setup, .fini = teardown) {
    for (unsigned i = 0; i < 40; i++) {
        struct dht_id id = near(0);
        struct cv_addr a = addr(i);
        enum cv_err err = enter(T, &id, &a);
        cr_expect_eq(err, i < DHT_K ? CV_ERR_OK : CV_ERR_AGAIN, "node %u", i);
    }
    cr_expect_eq(dht_table_count(&table), DHT_K);
    for (unsigned i = 100; i < 100 + DHT_K; i++) {
        struct dht_id id = near(5);
        struct cv_addr a = addr(i);
        cr_expect_eq(enter(T, &id, &a), CV_ERR_OK);
    }
    cr_expect_eq(dht_table_count(&table), 2 * DHT_K);
}

Test(dht_table, ourselves_never, .init = setup, .fini = teardown) {
    struct cv_addr a = addr(1);
    cr_expect_eq(enter(T, &table.own, &a), CV_ERR_INVAL);
    cr_expect_not(dht_table_wants(&table, T, &table.own, &a));
}

Test(dht_table, one_entry_per_ip, .init = setup, .fini = teardown) {
    struct dht_id first = near(0), second = near(1);
    struct cv_addr a = addr(1), port = a;
    port.port = 7000;
    cr_assert_eq(enter(T, &first, &a), CV_ERR_OK);
    cr_expect_eq(enter(T, &second, &port), CV_ERR_LIMIT, "who was first stays");
    cr_expect_not(dht_table_wants(&table, T, &second, &port));
    fail(&a, DHT_BAD_AFTER);
    cr_expect_eq(enter(T, &second, &port), CV_ERR_OK, "the first is dead");
    cr_expect_eq(dht_table_count(&table), 1);
}

Test(dht_table, fifty_identities_behind_one_ip_are_one, .init = setup, .fini = teardown) {
    for (unsigned i = 0; i < 50; i++) {
        struct dht_id id = dht_id_random(&rng);
        struct cv_addr a = addr(1);
        a.port = (uint16_t)(1000 + i);
        (void)enter(T, &id, &a);
    }
    cr_expect_eq(dht_table_count(&table), 1);
}

Test(dht_table, one_per_24_in_a_bucket, .init = setup, .fini = teardown) {
    for (unsigned i = 0; i < 50; i++) {
        struct dht_id id = near(0);
        struct cv_addr a = {.ip = {10, 1, 1, (uint8_t)(i + 1)}, .family = 4, .port = 1};
        (void)enter(T, &id, &a);
    }
    cr_expect_eq(dht_table_count(&table), 1);
}

Test(dht_table, a_changed_id_throws_out, .init = setup, .fini = teardown) {
    struct dht_id id = near(0), other = near(0);
    struct cv_addr a = addr(1);
    cr_assert_eq(enter(T, &id, &a), CV_ERR_OK);
    cr_expect_eq(enter(T, &other, &a), CV_ERR_DIFFERS);
    cr_expect_eq(dht_table_count(&table), 0);
}

Test(dht_table, an_id_cannot_be_taken_from_the_living, .init = setup, .fini = teardown) {
    struct dht_id id = near(0);
    struct cv_addr a = addr(1), thief = addr(2);
    cr_assert_eq(enter(T, &id, &a), CV_ERR_OK);
    cr_expect_eq(enter(T, &id, &thief), CV_ERR_LIMIT);
    fail(&a, DHT_BAD_AFTER);
    cr_expect_eq(enter(T, &id, &thief), CV_ERR_OK);
}

Test(dht_table, replacement_takes_the_place_of_the_dead, .init = setup, .fini = teardown) {
    struct cv_addr a[DHT_K + 1];
    for (unsigned i = 0; i <= DHT_K; i++) {
        struct dht_id id = near(0);
        a[i] = addr(i);
        (void)enter(T, &id, &a[i]);
    }
    struct dht_id other_side = near(3);
    struct cv_addr b = addr(99);
    (void)enter(T, &other_side, &b); /* so that the first bucket cannot split */
    cr_assert(dht_table_find(&table, &a[DHT_K]));
    fail(&a[0], DHT_BAD_AFTER - 1);
    cr_expect(dht_table_find(&table, &a[0]));
    fail(&a[0], 1);
    cr_expect_not(dht_table_find(&table, &a[0]));
    const struct dht_entry *e[16];
    size_t n = dht_table_closest(&table, T, &table.own, DHT_PICK_ASK, e, 16);
    cr_expect_eq(n, DHT_K + 1);
}

Test(dht_table, good_questionable_bad, .init = setup, .fini = teardown) {
    struct dht_id id = near(0);
    struct cv_addr a = addr(1);
    cr_assert_eq(enter(T, &id, &a), CV_ERR_OK);
    struct dht_entry *e = dht_table_find(&table, &a);
    cr_expect(dht_entry_good(e, T + CV_SEC(899)));
    cr_expect_not(dht_entry_good(e, T + CV_SEC(900)));
    cr_expect_not(dht_table_questionable(&table, T + CV_SEC(899)));
    cr_expect_eq(dht_table_questionable(&table, T + CV_SEC(901)), e);
    cr_expect_eq(dht_table_asked_us(&table, T + CV_SEC(800), &id, &a), e);
    cr_expect(dht_entry_good(e, T + CV_SEC(1600)), "it has asked us since");
    struct cv_addr forged = addr(2);
    cr_expect_not(dht_table_asked_us(&table, T, &id, &forged));
    fail(&a, DHT_BAD_AFTER);
    cr_expect(dht_entry_bad(e));
    cr_expect_not(dht_entry_good(e, T));
    const struct dht_entry *out[8];
    cr_expect_eq(dht_table_closest(&table, T, &id, DHT_PICK_HAND_OUT, out, 8), 0);
    cr_expect_eq(dht_table_closest(&table, T, &id, DHT_PICK_ASK, out, 8), 0);
    cr_expect_eq(dht_table_closest(&table, T, &id, DHT_PICK_ALL, out, 8), 1);
}

Test(dht_table, fitting_id_replaces_one_that_does_not, .init = setup, .fini = teardown) {
    struct dht_id unfit[DHT_K];
    for (unsigned i = 0; i < DHT_K; i++) {
        struct cv_addr a = {.ip = {11, (uint8_t)i, 1, 1}, .family = 4, .port = 1};
        do
            unfit[i] = near(0);
        while (dht_id_fits_address(&unfit[i], &a));
        cr_assert_eq(enter(T, &unfit[i], &a), CV_ERR_OK);
    }
    struct dht_id id = near(2);
    struct cv_addr b = addr(1);
    cr_assert_eq(enter(T, &id, &b), CV_ERR_OK); /* splits: bucket 0 is not ours any more */
    struct cv_addr fit_addr = {.ip = {12, 1, 1, 1}, .family = 4, .port = 1};
    struct dht_id fit;
    do
        fit = dht_id_for_address(&fit_addr, &rng);
    while (dht_id_common_bits(&fit, &table.own) != 0);
    cr_expect_eq(enter(T, &fit, &fit_addr), CV_ERR_OK);
    cr_expect_eq(dht_table_count(&table), DHT_K + 1);
}

Test(dht_table, stale_and_fresh_buckets, .init = setup, .fini = teardown) {
    cr_expect_eq(dht_table_stale(&table, T + CV_SEC(899)), -1);
    cr_expect_eq(dht_table_stale(&table, T + CV_SEC(900)), 0);
    cr_expect_eq(dht_table_fresh(&table), 0, "never looked up");
    dht_table_refreshed(&table, T + CV_SEC(900), 0);
    cr_expect_eq(dht_table_stale(&table, T + CV_SEC(901)), -1);
    cr_expect_eq(dht_table_fresh(&table), -1);
}

/* --- against a reference that keeps everything in one sorted list --- */

static struct dht_id by_target;
static int by_distance(const void *a, const void *b) {
    return dht_id_closer(&by_target, &(*(const struct dht_entry *const *)a)->id,
                         &(*(const struct dht_entry *const *)b)->id);
}

static void check_invariants(void) {
    for (unsigned i = 0; i < table.bucket_count; i++) {
        const struct dht_bucket *b = table.buckets[i];
        cr_assert_leq(b->count, DHT_K);
        cr_assert_leq(b->spare_count, DHT_REPLACEMENTS);
        for (unsigned j = 0; j < b->count; j++) {
            unsigned bits = dht_id_common_bits(&table.own, &b->entries[j].id);
            cr_assert(i + 1 == table.bucket_count ? bits >= i : bits == i);
            for (unsigned k = 0; k < j; k++)
                cr_assert_lt(cv_addr_common_bits(&b->entries[j].addr, &b->entries[k].addr), 24);
        }
    }
}

Test(dht_table, random_life_keeps_invariants_and_finds_the_closest, .init = setup,
     .fini = teardown) {
    struct dht_id ids[3000];
    struct cv_addr addrs[3000];
    for (unsigned i = 0; i < 3000; i++) {
        ids[i] = dht_id_random_at(&table.own, (unsigned)cv_rng_below(&rng, 20), &rng);
        addrs[i] = addr((unsigned)cv_rng_below(&rng, 2500)); /* some share an IP */
        addrs[i].port = (uint16_t)(1 + cv_rng_below(&rng, 3));
        addrs[i].ip[3] = (uint8_t)(1 + cv_rng_below(&rng, 3));
    }
    cv_usec now = T;
    for (unsigned step = 0; step < 30000; step++) {
        unsigned i = (unsigned)cv_rng_below(&rng, 3000);
        now += cv_rng_below(&rng, CV_MSEC(200));
        switch (cv_rng_below(&rng, 8)) {
        default:
            (void)enter(now, &ids[i], &addrs[i]);
            break;
        case 5:
            dht_table_failed(&table, now, &addrs[i]);
            break;
        case 6:
            (void)dht_table_asked_us(&table, now, &ids[i], &addrs[i]);
            (void)dht_table_questionable(&table, now);
            break;
        case 7:
            dht_table_evict(&table, now, &addrs[i]);
        }
        if (step % 100)
            continue;
        check_invariants();
        const struct dht_entry *all[DHT_TABLE_BUCKETS * DHT_K], *got[DHT_K];
        size_t n = 0;
        for (unsigned b = 0; b < table.bucket_count; b++)
            for (unsigned j = 0; j < table.buckets[b]->count; j++)
                if (!dht_entry_bad(&table.buckets[b]->entries[j]))
                    all[n++] = &table.buckets[b]->entries[j];
        by_target = dht_id_random_at(&table.own, (unsigned)cv_rng_below(&rng, 20), &rng);
        qsort(all, n, sizeof *all, by_distance);
        size_t got_n = dht_table_closest(&table, now, &by_target, DHT_PICK_ASK, got, DHT_K);
        cr_assert_eq(got_n, n < DHT_K ? n : DHT_K);
        for (size_t j = 0; j < got_n; j++)
            cr_assert_eq(got[j], all[j], "step %u place %zu", step, j);
    }
}
