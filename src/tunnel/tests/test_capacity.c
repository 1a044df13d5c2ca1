/*
 * Capacities: the octet that says one, medians, trains; and what is believed of them:
 * the median of reporters that have nothing to do with each other, never more than a
 * relay says of itself, whatever liars and cliques report.
 */
#include "tunnel/capacity.h"
#include "tunnel/tests/population.h"

CV_SUITE(tun_capacity, .init = cv_crypto_init);

Test(tun_capacity, an_octet_says_it_within_a_tenth) {
    cr_expect_eq(tun_capacity_code(0), 0);
    cr_expect_eq(tun_capacity_kib(0), 0);
    cr_expect_eq(tun_capacity_kib(1), 1);
    for (uint32_t kib = 16; kib <= TUN_CAPACITY_MAX; kib += 1 + kib / 50) {
        uint32_t back = tun_capacity_kib(tun_capacity_code(kib));
        cr_expect(back <= kib && (uint64_t)back * 10 >= (uint64_t)kib * 9, "%u became %u", kib,
                  back);
    }
    for (unsigned code = 0; code < 255; code++)
        cr_expect_leq(tun_capacity_kib((uint8_t)code), tun_capacity_kib((uint8_t)(code + 1)));
    cr_expect_eq(tun_capacity_kib(tun_capacity_code(UINT32_MAX)), TUN_CAPACITY_MAX);
    cr_expect_eq(tun_capacity_kib(255), TUN_CAPACITY_MAX, "more is not told apart");
}

Test(tun_capacity, medians_and_trains) {
    static const struct {
        uint32_t values[5];
        size_t n;
        uint32_t want;
    } rows[] = {
        {{7}, 1, 7},
        {{9, 2}, 2, 2}, /* of two in the middle the lower */
        {{5, 1, 3}, 3, 3},
        {{4, 1, 3, 2}, 4, 2},
        {{1, 1, 16384, 16384, 16384}, 5, 16384},
        {{1, 1, 1, 16384, 16384}, 5, 1},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint32_t values[5];
        memcpy(values, rows[i].values, sizeof values);
        cr_expect_eq(tun_capacity_median(values, rows[i].n), rows[i].want, "row %zu", i);
    }
    cr_expect_eq(tun_capacity_of_train(21, 1000000), 20 * TUN_DATAGRAM / 1024);
    cr_expect_eq(tun_capacity_of_train(21, 0), TUN_CAPACITY_MAX, "all at once");
    cr_expect_eq(tun_capacity_of_train(21, 1), TUN_CAPACITY_MAX);
    cr_expect_eq(tun_capacity_of_train(1, 1000), 0);
}

/* 0..9 in networks of their own, 10 and 11 in that of 0, 12 and 13 a family with 1. */
static void village(struct population *p) {
    population_init(p, 5);
    for (unsigned i = 0; i < 14; i++)
        population_identity(p, i);
    for (unsigned i = 0; i < 14; i++) {
        struct tun_descriptor d = {
            .flags = 0x1f, .suites = 1, .addrs = 1, .bandwidth = i == 2 ? 3000 : UINT32_MAX};
        static const unsigned family[] = {1, 12, 13};
        d.addr[0] = population_addr4(i == 10 || i == 11 ? 0x1000 : 0x1000 + 0x100 * i, i + 1);
        for (unsigned k = 0; k < 3 && (i == 1 || i > 11); k++) {
            if (family[k] != i)
                memcpy(d.family[d.families++], p->identity[family[k]].public_key, CV_KEY);
        }
        population_add(p, &d);
    }
}

static void says(struct population *p, unsigned by, unsigned of, uint32_t kib) {
    tun_directory_report(p->dir, POPULATION_DAY, p->relay[of]->desc.identity,
                         tun_capacity_code(kib), p->relay[by]->desc.identity);
}

Test(tun_capacity, who_reports_and_what_is_believed) {
    enum { SLOW = 256, FAST = 8192, MOST = TUN_CAPACITY_MAX, NONE = 0 };
    static const struct {
        const char *name;
        unsigned of, by[9];
        uint32_t kib[9];
        unsigned n;
        uint32_t want, weight;
    } rows[] = {
        {"nobody", 3, {0}, {0}, 0, NONE, TUN_UNMEASURED},
        {"four", 3, {0, 1, 2, 4}, {FAST, FAST, FAST, FAST}, 4, NONE, TUN_UNMEASURED},
        {"five", 3, {0, 1, 2, 4, 5}, {FAST, FAST, FAST, FAST, FAST}, 5, FAST, FAST},
        {"one of them five times", 3, {0, 0, 0, 0, 0}, {FAST}, 5, NONE, TUN_UNMEASURED},
        {"itself among five", 3, {3, 0, 1, 2, 4}, {MOST, 1, 1, 1, 1}, 5, NONE, TUN_UNMEASURED},
        {"three of one network among five",
         3,
         {0, 10, 11, 1, 2},
         {FAST, FAST, FAST, FAST, FAST},
         5,
         NONE,
         TUN_UNMEASURED},
        {"its own network",
         0,
         {10, 11, 1, 2, 3},
         {MOST, MOST, SLOW, SLOW, SLOW},
         5,
         NONE,
         TUN_UNMEASURED},
        {"its own family",
         1,
         {12, 13, 0, 2, 3},
         {MOST, MOST, SLOW, SLOW, SLOW},
         5,
         NONE,
         TUN_UNMEASURED},
        {"two liars of five", 3, {0, 1, 2, 4, 5}, {MOST, MOST, SLOW, SLOW, SLOW}, 5, SLOW, SLOW},
        {"two slanderers of five", 3, {0, 1, 2, 4, 5}, {1, 1, FAST, FAST, FAST}, 5, FAST, FAST},
        {"four liars of nine",
         3,
         {0, 1, 2, 4, 5, 6, 7, 8, 9},
         {MOST, MOST, MOST, MOST, SLOW, SLOW, SLOW, SLOW, SLOW},
         9,
         SLOW,
         SLOW},
        {"not more than it says",
         2,
         {0, 1, 3, 4, 5},
         {FAST, FAST, FAST, FAST, FAST},
         5,
         FAST,
         3000},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct population p;
        village(&p);
        for (unsigned k = 0; k < rows[i].n; k++)
            says(&p, rows[i].by[k], rows[i].of, rows[i].kib[k]);
        const struct tun_relay *r = p.relay[rows[i].of];
        cr_expect_eq(r->capacity, rows[i].want, "%s: %u", rows[i].name, r->capacity);
        cr_expect_eq(tun_relay_weight(r), rows[i].weight, "%s: weighs %u", rows[i].name,
                     tun_relay_weight(r));
        population_done(&p);
    }
}

/* Whatever it said before. */
Test(tun_capacity, who_was_seen_to_lie_measures_nobody) {
    struct population p;
    uint8_t raw[TUN_DESCRIPTOR_MAX];
    static const unsigned by[] = {0, 1, 2, 4, 5};
    village(&p);
    for (unsigned i = 0; i < 5; i++)
        says(&p, by[i], 3, 8192);
    cr_expect_eq(p.relay[3]->capacity, 8192);
    struct tun_descriptor d = p.relay[0]->desc;
    size_t len = population_sign(&p, 0, POPULATION_DAY, &d, raw);
    cr_assert_eq(tun_directory_add(p.dir, POPULATION_WALL, raw, len, NULL, NULL), CV_ERR_DIFFERS);
    says(&p, 1, 3, 8192);
    cr_expect_eq(p.relay[3]->capacity, 0, "four are too few");
    says(&p, 6, 3, 8192);
    cr_expect_eq(p.relay[3]->capacity, 8192);
    population_done(&p);
}

Test(tun_capacity, a_later_word_replaces_the_earlier_and_the_oldest_reporter_goes) {
    struct population p;
    village(&p);
    for (unsigned by = 0; by < 5; by++)
        says(&p, by, 9, 8192);
    cr_expect_eq(p.relay[9]->capacity, 8192);
    for (unsigned by = 0; by < 3; by++)
        says(&p, by, 9, 512);
    cr_expect_eq(p.relay[9]->capacity, 512);
    for (unsigned by = 5; by < 9; by++)
        says(&p, by, 9, 512);
    cr_expect_eq(p.relay[9]->reports, TUN_REPORTS_MAX);
    says(&p, 12, 9, 512);
    cr_expect_eq(p.relay[9]->reports, TUN_REPORTS_MAX);
    population_done(&p);
}

Test(tun_capacity, what_was_measured_outlives_the_day) {
    struct population p;
    village(&p);
    for (unsigned by = 0; by < 5; by++)
        says(&p, by, 9, 8192);
    p.relay[9]->measured = 77;
    struct tun_descriptor d = p.relay[9]->desc;
    uint8_t raw[TUN_DESCRIPTOR_MAX];
    size_t len = population_sign(&p, 9, POPULATION_DAY + 1, &d, raw);
    struct tun_relay *r;
    cr_assert_eq(tun_directory_add(p.dir, POPULATION_WALL + 43200, raw, len, &r, NULL), CV_ERR_OK);
    cr_expect_eq(r->capacity, 8192);
    cr_expect_eq(r->reports, 5);
    cr_expect_eq(r->measured, 77);
    population_done(&p);
}

/* In a large network last hops are drawn by it: 100 slow ones, of which thirty claim
 * the world and vouch for each other, and ten that were measured to be fast. */
Test(tun_capacity, a_clique_that_vouches_for_itself_gets_nothing) {
    enum { SLOW = 100, CLIQUE = 30, FAST = 10, DRAWS = 20000 };
    struct population p;
    unsigned clique = 0, fast = 0;
    population_init(&p, 6);
    for (unsigned i = 0; i < SLOW + FAST; i++) {
        struct tun_descriptor d = {.flags = 0x1f, .suites = 1, .addrs = 1};
        d.bandwidth = i < CLIQUE ? UINT32_MAX : 4000;
        d.addr[0] = population_addr4(0x1000 + i, 1);
        population_add(&p, &d);
    }
    for (unsigned of = 0; of < p.n; of++) {
        for (unsigned k = 0; k < TUN_REPORTS_MAX; k++) {
            /* of nine reporters four are of the clique, and say what suits it */
            bool liar = k % 2 == 1;
            unsigned by = liar ? (of + k) % CLIQUE : CLIQUE + (of + 7 * k + 1) % (p.n - CLIQUE);
            says(&p, by, of, liar ? (of < CLIQUE ? UINT32_MAX : 1) : of < SLOW ? 400 : 4000);
        }
    }
    for (unsigned i = 0; i < DRAWS; i++) {
        const struct tun_relay *r = tun_path_pick(p.relay, p.n, &p.rng);
        for (unsigned at = 0; at < p.n; at++) {
            clique += at < CLIQUE && p.relay[at] == r;
            fast += at >= SLOW && p.relay[at] == r;
        }
    }
    /* 30 of 100 slow ones beside ten with ten times as much, a twentieth each at most:
     * the fast have half of it, the clique 30 % of the other half. */
    cr_expect(clique > DRAWS * 13 / 100 && clique < DRAWS * 17 / 100, "the clique has %u of %u",
              clique, DRAWS);
    cr_expect(fast > DRAWS * 46 / 100 && fast < DRAWS * 53 / 100, "the fast have %u of %u", fast,
              DRAWS);
    population_done(&p);
}
