/*
 * Guards and the second layer: how many, who never, how long, and what of it
 * survives a restart.
 */
#include "tunnel/tests/population.h"

CV_SUITE(tun_guard, .init = cv_crypto_init);

static unsigned firsts(const struct tun_guards *g) {
    return (unsigned)g->first[0].set + g->first[1].set + g->first[2].set;
}

static unsigned seconds(const struct tun_guards *g) {
    unsigned n = 0;
    for (unsigned i = 0; i < TUN_SECOND_MAX; i++)
        n += g->second[i].set;
    return n;
}

Test(tun_guard, how_many_by_the_size_of_the_network) {
    static const struct {
        unsigned relays, firsts, seconds;
    } rows[] = {{4, 2, 2},  {6, 2, 2},  {7, 2, 2},  {8, 3, 2},
                {11, 3, 2}, {12, 3, 3}, {16, 3, 4}, {40, 3, 4}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct population p;
        struct tun_guards g;
        population_init(&p, i);
        for (unsigned k = 0; k < rows[i].relays; k++)
            population_simple(&p, 0x1000 + 0x100 * k);
        population_confirm(&p);
        population_guards(&p, &g);
        cr_expect_eq(firsts(&g), rows[i].firsts, "%u relays: %u first hops", rows[i].relays,
                     firsts(&g));
        cr_expect_eq(seconds(&g), rows[i].seconds, "%u relays: %u seconds", rows[i].relays,
                     seconds(&g));
        population_done(&p);
    }
}

Test(tun_guard, never_two_in_a_network_and_never_both_layers) {
    for (uint64_t seed = 0; seed < 40; seed++) {
        struct population p;
        struct tun_guards g;
        population_init(&p, 50 + seed);
        for (unsigned k = 0; k < 12; k++)
            population_simple(&p, 0x1000 + (unsigned)cv_rng_below(&p.rng, 6));
        population_confirm(&p);
        population_guards(&p, &g);
        for (unsigned i = 0; i < TUN_GUARD_FIRSTS; i++) {
            if (!g.first[i].set)
                continue;
            struct tun_relay *a = tun_directory_find(p.dir, g.first[i].identity, POPULATION_DAY);
            cr_expect_not(tun_guards_is_second(&g, g.first[i].identity));
            for (unsigned k = 0; k < i; k++) {
                struct tun_relay *b =
                    tun_directory_find(p.dir, g.first[k].identity, POPULATION_DAY);
                cr_expect_not(tun_relay_conflict(&a->desc, &b->desc), "seed %lu", seed);
            }
            int64_t days = (g.first[i].until - POPULATION_WALL) / 86400;
            cr_expect(days >= 60 && days <= 120, "%ld days", days);
        }
        for (unsigned i = 0; i < TUN_SECOND_MAX; i++) {
            int64_t days = (g.second[i].until - POPULATION_WALL) / 86400;
            if (g.second[i].set)
                cr_expect(days >= 1 && days <= 22, "%ld days", days);
        }
        population_done(&p);
    }
}

Test(tun_guard, a_choice_stays_until_its_time_is_over) {
    struct population p;
    struct tun_guards g, before;
    population_init(&p, 1);
    for (unsigned k = 0; k < 10; k++)
        population_simple(&p, 0x1000 + 0x100 * k);
    population_confirm(&p);
    population_guards(&p, &g);
    before = g;
    cr_expect_not(tun_guards_retire(&g, p.dir, true, POPULATION_WALL + 10));
    cr_expect_not(tun_guards_choose_second(&g, p.dir, POPULATION_WALL, &p.rng));
    cr_expect_eq(memcmp(&g, &before, sizeof g), 0);
    g.second[0].until = POPULATION_WALL;
    g.first[1].until = POPULATION_WALL;
    cr_expect(tun_guards_retire(&g, p.dir, true, POPULATION_WALL));
    cr_expect_not(g.second[0].set);
    cr_expect_not(g.first[1].set);
    cr_expect(g.first[0].set);
    population_done(&p);
}

Test(tun_guard, a_silent_guard_is_given_up_after_a_day_and_one_a_week) {
    struct population p;
    struct tun_guards g;
    population_init(&p, 2);
    for (unsigned k = 0; k < 6; k++)
        population_simple(&p, 0x1000 + 0x100 * k);
    population_confirm(&p);
    population_guards(&p, &g);
    tun_guard_silent(&g.first[0], POPULATION_WALL - 3600);
    tun_guard_silent(&g.first[1], POPULATION_WALL - 90000);
    tun_guard_silent(&g.first[1], POPULATION_WALL); /* since when counts */
    cr_expect(tun_guards_retire(&g, p.dir, true, POPULATION_WALL));
    cr_expect(g.first[0].set);
    cr_expect_not(g.first[1].set);
    tun_guard_silent(&g.first[0], POPULATION_WALL - 3600);
    cr_expect_not(tun_guards_retire(&g, p.dir, true, POPULATION_WALL + 2 * 86400 - 86400),
                  "one a week");
    cr_expect(g.first[0].set);
    tun_guard_heard(&g.first[0]);
    cr_expect_eq(g.first[0].silent_since, 0);
    population_done(&p);
}

/* ---- which let too little through ---- */

static void counted(struct tun_guard *g, unsigned begun, unsigned through) {
    for (unsigned i = 0; i < begun; i++)
        tun_guard_counted(g, (i + 1) * through / begun > i * through / begun);
}

/* clang-format off */
static const struct {
    const char *name;
    unsigned begun[3], percent[3];
    int poor; /* which one; -1: none */
} shares[] = {
    { "both all",                          { 64, 64, 0 },  { 100, 100, 0 },  -1 },
    { "both a third",                      { 64, 64, 0 },  { 33, 33, 0 },    -1 },
    { "one 60, one 100",                   { 100, 100, 0 }, { 60, 100, 0 },  -1 },
    { "one 50, one 100",                   { 100, 100, 0 }, { 50, 100, 0 },   0 },
    { "one nothing, one all",              { 64, 64, 0 },  { 100, 0, 0 },     1 },
    { "one too little tried",              { 63, 64, 0 },  { 0, 100, 0 },    -1 },
    { "nobody to compare with",            { 64, 63, 10 }, { 0, 100, 100 },  -1 },
    { "the spare",                         { 64, 64, 64 }, { 100, 90, 60 },   2 },
    { "69 of 100",                         { 100, 100, 100 }, { 69, 100, 100 }, 0 },
    { "70 of 100",                         { 100, 100, 100 }, { 70, 100, 100 }, -1 },
    { "what was long ago is halved away",  { 800, 64, 0 }, { 100, 100, 0 },  -1 },
};
/* clang-format on */

Test(tun_guard, a_poor_one_is_below_70_percent_of_the_median) {
    for (size_t i = 0; i < sizeof shares / sizeof *shares; i++) {
        struct tun_guards g = {0};
        for (unsigned k = 0; k < 3; k++) {
            g.first[k].set = shares[i].begun[k] > 0;
            counted(&g.first[k], shares[i].begun[k],
                    shares[i].begun[k] * shares[i].percent[k] / 100);
            cr_expect_leq(g.first[k].through, g.first[k].begun);
            cr_expect_leq(g.first[k].begun, TUN_GUARD_CIRCUITS_MAX);
        }
        for (int k = 0; k < 3; k++)
            cr_expect_eq(tun_guards_is_poor(&g, (unsigned)k), k == shares[i].poor, "%s: guard %d",
                         shares[i].name, k);
    }
}

Test(tun_guard, a_poor_one_is_replaced_once_a_week_and_does_not_come_back) {
    struct population p;
    struct tun_guards g;
    population_init(&p, 8);
    for (unsigned k = 0; k < 6; k++)
        population_simple(&p, 0x1000 + 0x100 * k);
    population_confirm(&p);
    population_guards(&p, &g);
    uint8_t first[CV_KEY], second[CV_KEY];
    memcpy(first, g.first[0].identity, CV_KEY);
    memcpy(second, g.first[1].identity, CV_KEY);
    counted(&g.first[0], 64, 10);
    counted(&g.first[1], 64, 60);
    int64_t wall = POPULATION_WALL;
    cr_expect(tun_guards_retire(&g, p.dir, true, wall));
    cr_expect_not(g.first[0].set);
    cr_expect(g.first[1].set);

    struct tun_guard_contact contacts[6];
    bool changed = false;
    for (unsigned k = 0; k < 6; k++) {
        contacts[k] =
            (struct tun_guard_contact){.relay = p.relay[k], .addr = p.relay[k]->desc.addr[0]};
        if (memcmp(p.relay[k]->desc.identity, first, CV_KEY) == 0)
            cr_expect_not(tun_guards_sample(&g, p.relay[k], &contacts[k].addr, p.dir, wall, &p.rng,
                                            &changed));
    }
    for (unsigned round = 0; round < 20; round++) {
        memset(&g.first[0], 0, sizeof g.first[0]);
        cr_assert(tun_guards_choose_first(&g, contacts, 6, 6, p.dir, wall, &p.rng));
        cr_expect_neq(memcmp(g.first[0].identity, first, CV_KEY), 0, "the same again");
    }
    /* The other one is poor two days later: not in this week. */
    counted(&g.first[0], 64, 64);
    counted(&g.first[1], 128, 5);
    cr_expect(tun_guards_is_poor(&g, 1));
    cr_expect_not(tun_guards_retire(&g, p.dir, false, wall + 2 * 86400));
    cr_expect_arr_eq(g.first[1].identity, second, CV_KEY);
    population_done(&p);
}

Test(tun_guard, what_is_saved_is_loaded) {
    struct population p;
    struct tun_guards g, back;
    uint8_t blob[TUN_GUARDS_BLOB_MAX];
    population_init(&p, 3);
    for (unsigned k = 0; k < 20; k++)
        population_simple(&p, 0x1000 + 0x100 * k);
    population_confirm(&p);
    population_guards(&p, &g);
    g.replaced_at = 12345;
    g.first[1].silent_since = 777;
    counted(&g.first[0], 64, 10);
    counted(&g.first[1], 40, 30);
    memset(g.dismissed, 5, sizeof g.dismissed);
    g.dismissed_until = 54321;
    size_t len = tun_guards_save(&g, blob);
    cr_assert_eq(tun_guards_load(&back, blob, len), CV_ERR_OK);
    for (unsigned i = 0; i < TUN_GUARD_FIRSTS; i++) {
        cr_expect_arr_eq(back.first[i].identity, g.first[i].identity, CV_KEY);
        cr_expect_eq(back.first[i].until, g.first[i].until);
        cr_expect_eq(back.first[i].silent_since, g.first[i].silent_since);
        cr_expect(cv_addr_equal(&back.first[i].addr, &g.first[i].addr));
        cr_expect_eq(back.first[i].begun, g.first[i].begun);
        cr_expect_eq(back.first[i].through, g.first[i].through);
        cr_expect_not(back.first[i].up, "a link is not kept");
    }
    for (unsigned i = 0; i < TUN_SECOND_MAX; i++)
        cr_expect_arr_eq(back.second[i].identity, g.second[i].identity, CV_KEY);
    cr_expect_eq(back.replaced_at, 12345);
    cr_expect_arr_eq(back.dismissed, g.dismissed, CV_KEY);
    cr_expect_eq(back.dismissed_until, 54321);
    population_done(&p);
}

/* Other addresses were not kept before CVG4, what was counted and whom we gave up not before
 * CVG3. */
static void older_version(char version) {
    const size_t address = 1 + 16 + 2, counts = 4;
    const size_t entry = TUN_GUARD_ENTRY - address - (version < '3' ? counts : 0);
    struct population p;
    struct tun_guards g, back;
    uint8_t blob[TUN_GUARDS_BLOB_MAX], old[TUN_GUARDS_BLOB_MAX];
    population_init(&p, 3);
    for (unsigned k = 0; k < 20; k++)
        population_simple(&p, 0x1000 + 0x100 * k);
    population_confirm(&p);
    population_guards(&p, &g);
    g.replaced_at = 12345;
    counted(&g.first[0], 64, 10);
    g.dismissed_until = 54321;
    g.first[0].addr_too = population_addr6(0x20010db8, 1);
    size_t len = tun_guards_save(&g, blob);
    const uint8_t *from = blob + 12 + CV_KEY + 8;
    struct cv_wr w = cv_wr_init(old, sizeof old);
    cv_wr_bytes(&w, "CVG", 3);
    cv_wr_u8(&w, (uint8_t)version);
    cv_wr_bytes(&w, blob + 4, 8); /* replaced at */
    if (version >= '3')
        cv_wr_bytes(&w, blob + 12, CV_KEY + 8);
    unsigned count = *from++;
    cv_wr_u8(&w, (uint8_t)count);
    cr_assert_gt(count, 2);
    for (unsigned i = 0; i < count; i++, from += TUN_GUARD_ENTRY)
        cv_wr_bytes(&w, from, entry);
    cr_assert_eq(from + 16, blob + len);
    uint8_t hash[16];
    CV_BLAKE2B(hash, sizeof hash, NULL, 0, {old, cv_wr_len(&w)});
    cv_wr_bytes(&w, hash, sizeof hash);
    cr_assert_not(w.err);
    cr_assert_eq(tun_guards_load(&back, old, cv_wr_len(&w)), CV_ERR_OK);
    cr_expect_eq(back.replaced_at, 12345);
    cr_expect_eq(back.dismissed_until, version < '3' ? 0 : 54321);
    for (unsigned i = 0; i < TUN_GUARD_FIRSTS; i++) {
        cr_expect_arr_eq(back.first[i].identity, g.first[i].identity, CV_KEY);
        cr_expect_eq(back.first[i].until, g.first[i].until);
        cr_expect(cv_addr_equal(&back.first[i].addr, &g.first[i].addr));
        cr_expect_eq(back.first[i].addr_too.family, 0);
        cr_expect_eq(back.first[i].begun, version < '3' ? 0 : g.first[i].begun);
    }
    population_done(&p);
}

Test(tun_guard, what_an_older_version_saved_is_loaded) {
    older_version('2');
    older_version('3');
}

/* ---- two addresses ---- */

/* The one that answered is where it is asked for; the other is kept, too. */
Test(tun_guard, both_addresses_are_kept) {
    struct population p;
    struct tun_guards g = {.replaced_at = 0}, back;
    uint8_t blob[TUN_GUARDS_BLOB_MAX];
    population_init(&p, 5);
    struct tun_descriptor d = {.flags = 0x1f, .suites = 1, .addrs = 2};
    d.addr[0] = population_addr4(0x1000, 1);
    d.addr[1] = population_addr6(0x20010db8, 1);
    struct tun_relay *r = population_add(&p, &d);
    bool changed;
    cr_assert(tun_guards_sample(&g, r, &d.addr[1], p.dir, POPULATION_WALL, &p.rng, &changed));
    cr_assert_eq(tun_guards_load(&back, blob, tun_guards_save(&g, blob)), CV_ERR_OK);
    cr_expect(cv_addr_equal(&back.contact[0].addr, &d.addr[1]));
    cr_expect(cv_addr_equal(&back.contact[0].addr_too, &d.addr[0]));

    /* it answers at the other one, then moves and has one only */
    tun_guard_answered_at(&g.contact[0], &d.addr[0], &r->desc);
    cr_expect(cv_addr_equal(&g.contact[0].addr, &d.addr[0]));
    cr_expect(cv_addr_equal(&g.contact[0].addr_too, &d.addr[1]));
    d.addrs = 1;
    tun_guard_answered_at(&g.contact[0], &d.addr[0], &d);
    cr_expect_eq(g.contact[0].addr_too.family, 0);

    /* two of one family are not what is written */
    g.contact[0].addr_too = d.addr[0];
    cr_expect_eq(tun_guards_load(&back, blob, tun_guards_save(&g, blob)), CV_ERR_CORRUPT);
    population_done(&p);
}

/* An L to which no first hop can have a link is none. */
Test(tun_guard, the_second_layer_can_be_reached_from_the_first) {
    for (uint64_t seed = 0; seed < 20; seed++) {
        struct population p;
        struct tun_guards g = {.replaced_at = 0};
        struct tun_guard_contact contacts[2];
        population_init(&p, 300 + seed);
        for (unsigned i = 0; i < 8; i++) { /* 0 to 3 have IPv4, 2 to 7 IPv6 */
            struct tun_descriptor d = {.flags = 0x1f, .suites = 1, .bandwidth = 1000};
            if (i < 4)
                d.addr[d.addrs++] = population_addr4(0x1000 + 0x100 * i, i + 1);
            if (i >= 2)
                d.addr[d.addrs++] = population_addr6(0x20010000 + i, i + 1);
            population_add(&p, &d);
        }
        population_confirm(&p);
        for (unsigned i = 0; i < 2; i++)
            contacts[i] =
                (struct tun_guard_contact){.relay = p.relay[i], .addr = p.relay[i]->desc.addr[0]};
        cr_assert(tun_guards_choose_first(&g, contacts, 2, 2, p.dir, POPULATION_WALL, &p.rng));
        cr_assert(tun_guards_choose_second(&g, p.dir, POPULATION_WALL, &p.rng));
        for (unsigned i = 0; i < TUN_SECOND_MAX; i++)
            for (unsigned k = 0; k < 8; k++)
                if (g.second[i].set &&
                    !memcmp(g.second[i].identity, p.relay[k]->desc.identity, CV_KEY))
                    cr_expect(k == 2 || k == 3, "seed %lu: relay %u is an L", seed, k);
        population_done(&p);
    }
}

Test(tun_guard, a_damaged_blob_is_refused_whole) {
    struct population p;
    struct tun_guards g, back = {.replaced_at = 99};
    uint8_t blob[TUN_GUARDS_BLOB_MAX];
    population_init(&p, 4);
    for (unsigned k = 0; k < 8; k++)
        population_simple(&p, 0x1000 + 0x100 * k);
    population_confirm(&p);
    population_guards(&p, &g);
    size_t len = tun_guards_save(&g, blob);
    for (size_t i = 0; i < len; i++) {
        blob[i] ^= 4;
        enum cv_err err = tun_guards_load(&back, blob, len);
        cr_assert_eq(err, i == 3 ? CV_ERR_VERSION : CV_ERR_CORRUPT, "octet %zu: %s", i,
                     cv_strerror(err));
        blob[i] ^= 4;
        cr_assert_eq(tun_guards_load(&back, blob, i), CV_ERR_CORRUPT, "cut at %zu", i);
    }
    cr_expect_eq(back.replaced_at, 99, "result clobbered on failure");
    population_done(&p);
}

/* ---- known for a week ---- */

/* Four relays of one day after the other, for eight days; then two more. Whoever
 * came with them is a guard only when nobody else fits. */
Test(tun_guard, whoever_is_known_for_a_week_comes_first) {
    for (uint64_t seed = 0; seed < 20; seed++) {
        struct population p;
        struct tun_guards g = {.replaced_at = 0};
        struct tun_guard_contact contacts[6];
        const int64_t day = 86400, late = POPULATION_WALL + 8 * day;
        population_init(&p, 60 + seed);
        for (unsigned i = 0; i < 4; i++)
            population_simple(&p, 0x1000 + 0x100 * i);
        struct tun_descriptor what[6];
        for (unsigned i = 0; i < 6; i++) {
            what[i] = p.relay[0]->desc;
            what[i].addr[0] = population_addr4(0x1000 + 0x100 * i, i + 1);
        }
        population_identity(&p, 4);
        population_identity(&p, 5);
        for (uint32_t d = 1; d <= 8; d++) {
            for (unsigned i = 0; i < (d < 8 ? 4u : 6u); i++) {
                uint8_t raw[TUN_DESCRIPTOR_MAX];
                size_t len = population_sign(&p, i, POPULATION_DAY + d, &what[i], raw);
                cr_assert_eq(tun_directory_add(p.dir, POPULATION_WALL + d * day - 10800 - 32400 + 1,
                                               raw, len, &p.relay[i], NULL),
                             CV_ERR_OK);
            }
            tun_directory_expire(p.dir, POPULATION_WALL + d * day);
        }
        for (unsigned i = 0; i < 6; i++)
            contacts[i] =
                (struct tun_guard_contact){.relay = p.relay[i], .addr = p.relay[i]->desc.addr[0]};
        /* newcomers stand in front */
        struct tun_guard_contact swap = contacts[0];
        contacts[0] = contacts[4];
        contacts[4] = swap;
        cr_assert(tun_guards_choose_first(&g, contacts, 6, 6, p.dir, late, &p.rng));
        for (unsigned i = 0; i < 2; i++)
            for (unsigned k = 4; k < 6; k++)
                cr_expect_neq(memcmp(g.first[i].identity, p.relay[k]->desc.identity, CV_KEY), 0,
                              "seed %lu: relay %u of today is a guard", seed, k);
        population_done(&p);
    }
}

/* After a restart everything is seen for the first time; the sample was kept. */
Test(tun_guard, whoever_was_drawn_a_week_ago_is_known_for_a_week) {
    for (uint64_t seed = 0; seed < 20; seed++) {
        struct population p;
        struct tun_guards g = {.replaced_at = 0};
        struct tun_guard_contact contacts[4];
        population_init(&p, 90 + seed);
        for (unsigned i = 0; i < 4; i++) {
            struct tun_relay *r = population_simple(&p, 0x1000 + 0x100 * i);
            contacts[i] = (struct tun_guard_contact){.relay = r, .addr = r->desc.addr[0]};
        }
        bool changed;
        for (unsigned i = 2; i < 4; i++)
            cr_assert(tun_guards_sample(&g, p.relay[i], &contacts[i].addr, p.dir,
                                        POPULATION_WALL - 8 * 86400, &p.rng, &changed));
        cr_assert(tun_guards_choose_first(&g, contacts, 4, 4, p.dir, POPULATION_WALL, &p.rng));
        for (unsigned i = 0; i < 2; i++)
            for (unsigned k = 0; k < 2; k++)
                cr_expect_neq(memcmp(g.first[i].identity, p.relay[k]->desc.identity, CV_KEY), 0,
                              "seed %lu: a relay of today is a guard", seed);
        population_done(&p);
    }
}

/* ---- the sample ---- */

static bool sample(struct population *p, struct tun_guards *g, unsigned i, int64_t wall) {
    bool changed = false, had = tun_guards_find_sampled(g, p->relay[i]->desc.identity);
    bool is = tun_guards_sample(g, p->relay[i], &p->relay[i]->desc.addr[0], p->dir, wall, &p->rng,
                                &changed);
    cr_expect_eq(changed, is && !had);
    return is;
}

Test(tun_guard, a_sample_is_drawn_once) {
    struct population p;
    struct tun_guards g = {.replaced_at = 0};
    population_init(&p, 20);
    for (unsigned k = 0; k < 10; k++)
        population_simple(&p, 0x1000 + 0x100 * (k == 1 ? 0 : k)); /* 0 and 1 in one network */
    population_confirm(&p);
    cr_expect(sample(&p, &g, 0, POPULATION_WALL));
    cr_expect_not(sample(&p, &g, 1, POPULATION_WALL), "the network of 0");
    for (unsigned k = 2; k < 5; k++)
        cr_expect(sample(&p, &g, k, POPULATION_WALL));
    for (unsigned k = 5; k < 10; k++)
        cr_expect_not(sample(&p, &g, k, POPULATION_WALL), "no room");
    cr_expect(sample(&p, &g, 3, POPULATION_WALL), "again the same");

    /* First hops come out of it and stay in it. */
    struct tun_guard_contact two[2] = {{.relay = p.relay[2]}, {.relay = p.relay[4]}};
    two[0].addr = two[1].addr = p.relay[2]->desc.addr[0];
    cr_expect(tun_guards_choose_first(&g, two, 2, 6, p.dir, POPULATION_WALL, &p.rng));
    cr_expect_eq(firsts(&g), 2);
    cr_expect_eq(tun_guards_sampled(&g), 4);
    cr_expect_not(sample(&p, &g, 7, POPULATION_WALL));

    /* and all of it is there after a restart */
    uint8_t blob[TUN_GUARDS_BLOB_MAX];
    struct tun_guards back;
    cr_assert_eq(tun_guards_load(&back, blob, tun_guards_save(&g, blob)), CV_ERR_OK);
    cr_expect_eq(tun_guards_sampled(&back), 4);
    for (unsigned k = 0; k < 10; k++)
        cr_expect_eq(sample(&p, &back, k, POPULATION_WALL), k == 0 || (k > 1 && k < 5), "%u", k);
    population_done(&p);
}

Test(tun_guard, a_contact_is_replaced_after_a_day_of_silence_and_one_a_day) {
    struct population p;
    struct tun_guards g = {.replaced_at = 0};
    const int64_t day = 86400;
    population_init(&p, 21);
    for (unsigned k = 0; k < 8; k++)
        population_simple(&p, 0x1000 + 0x100 * k);
    population_confirm(&p);
    for (unsigned k = 0; k < 4; k++)
        cr_assert(sample(&p, &g, k, POPULATION_WALL));
    for (unsigned k = 0; k < 4; k++)
        tun_guard_silent(&g.contact[k], POPULATION_WALL + day);
    cr_expect_not(tun_guards_retire(&g, p.dir, true, POPULATION_WALL + 2 * day), "not a day yet");
    cr_expect(tun_guards_retire(&g, p.dir, true, POPULATION_WALL + 2 * day + 1));
    cr_expect_eq(tun_guards_sampled(&g), 3);
    cr_expect(sample(&p, &g, 5, POPULATION_WALL + 2 * day + 1));
    cr_expect_not(tun_guards_retire(&g, p.dir, true, POPULATION_WALL + 3 * day), "one a day");
    cr_expect(tun_guards_retire(&g, p.dir, true, POPULATION_WALL + 3 * day + 2));
    for (unsigned k = 0; k < 4; k++)
        tun_guard_heard(&g.contact[k]);
    cr_expect_not(tun_guards_retire(&g, p.dir, true, POPULATION_WALL + 9 * day), "back again");
    population_done(&p);
}
