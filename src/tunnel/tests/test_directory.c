/*
 * The directory: what is believed about a relay and when, equivocation, and the
 * buckets by which two nodes compare what they know.
 */
#include "support/vectors.h"
#include "tunnel/tests/population.h"

CV_SUITE(tun_directory, .init = cv_crypto_init);

static enum cv_err claim(struct population *p, unsigned of, unsigned by, const uint8_t *d) {
    return tun_directory_claim(p->dir, POPULATION_WALL, p->relay[of]->desc.identity, POPULATION_DAY,
                               d ? d : p->relay[of]->desc.digest, p->relay[by]->desc.identity, NULL,
                               0);
}

static size_t missing(const struct population *p, unsigned source) {
    struct tun_relay *all[2 * TUN_BARE_OF_ONE];
    return tun_directory_missing(p->dir, POPULATION_DAY, p->relay[source]->desc.identity, all,
                                 sizeof all / sizeof *all);
}

/* 0..5 in networks of their own, 6 in the network of 0, 7 and 8 a family with 1. */
static void village(struct population *p) {
    population_init(p, 7);
    for (unsigned i = 0; i < 9; i++)
        population_identity(p, i);
    for (unsigned i = 0; i < 9; i++) {
        struct tun_descriptor d = {.flags = 0x1f, .suites = 1, .addrs = 1};
        d.addr[0] = population_addr4(i == 6 ? 0x1000 : 0x1000 + 0x100 * i, i + 1);
        static const unsigned family[] = {1, 7, 8};
        for (unsigned k = 0; k < 3 && (i == 1 || i > 6); k++) {
            if (family[k] != i)
                memcpy(d.family[d.families++], p->identity[family[k]].public_key, CV_KEY);
        }
        population_add(p, &d);
    }
}

Test(tun_directory, two_relays_of_other_networks_and_families_confirm) {
    static const struct {
        const char *name;
        unsigned of, by[3], n;
        bool want;
    } rows[] = {
        {"nobody", 2, {0}, 0, false},
        {"one", 2, {0}, 1, false},
        {"one, twice", 2, {0, 0}, 2, false},
        {"two", 2, {0, 1}, 2, true},
        {"two of one network", 2, {0, 6}, 2, false},
        {"two of one family", 2, {1, 7}, 2, false},
        {"two of one network and another", 2, {0, 6, 3}, 3, true},
        {"itself and another", 2, {2, 3}, 2, false},
        {"one of its own network", 0, {6, 3}, 2, false},
        {"one of its own family", 1, {7, 3}, 2, false},
        {"its family twice, and two others", 1, {8, 3, 4}, 3, true},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct population p;
        village(&p);
        for (unsigned k = 0; k < rows[i].n; k++)
            cr_assert_eq(claim(&p, rows[i].of, rows[i].by[k], NULL), CV_ERR_OK);
        cr_expect_eq(p.relay[rows[i].of]->confirmed, rows[i].want, "%s", rows[i].name);
        population_done(&p);
    }
}

Test(tun_directory, a_claim_through_the_relay_itself_does_not_count) {
    struct population p;
    village(&p);
    uint8_t path[3][CV_KEY];
    static const unsigned through[] = {3, 2, 4};
    for (unsigned i = 0; i < 3; i++)
        memcpy(path[i], p.relay[through[i]]->desc.identity, CV_KEY);
    cr_assert_eq(claim(&p, 2, 0, NULL), CV_ERR_OK);
    cr_expect_eq(tun_directory_claim(p.dir, POPULATION_WALL, p.relay[2]->desc.identity,
                                     POPULATION_DAY, p.relay[2]->desc.digest,
                                     p.relay[4]->desc.identity, (const uint8_t(*)[CV_KEY])path, 3),
                 CV_ERR_OK);
    cr_expect_not(p.relay[2]->confirmed);
    population_done(&p);
}

Test(tun_directory, claims_before_the_descriptor_count_when_it_comes) {
    struct population p;
    village(&p);
    population_identity(&p, 9);
    struct tun_descriptor d = {.flags = 1, .suites = 1, .addrs = 1};
    d.addr[0] = population_addr4(0x7000, 1);
    uint8_t raw[TUN_DESCRIPTOR_MAX], digest[TUN_DIGEST];
    size_t len = population_sign(&p, 9, POPULATION_DAY, &d, raw);
    tun_descriptor_digest(raw, len, digest);
    for (unsigned by = 0; by < 2; by++)
        cr_assert_eq(tun_directory_claim(p.dir, POPULATION_WALL, p.identity[9].public_key,
                                         POPULATION_DAY, digest, p.relay[by]->desc.identity, NULL,
                                         0),
                     CV_ERR_OK);
    cr_expect_eq(missing(&p, 0), 1);
    struct tun_relay *r;
    cr_assert_eq(tun_directory_add(p.dir, POPULATION_WALL, raw, len, &r, NULL), CV_ERR_OK);
    cr_expect(r->confirmed);
    cr_expect_eq(missing(&p, 0), 0);
    cr_expect_eq(tun_directory_add(p.dir, POPULATION_WALL, raw, len, &r, NULL), CV_ERR_EXIST);
    population_done(&p);
}

Test(tun_directory, two_descriptors_of_a_day_are_a_proof) {
    struct population p;
    village(&p);
    population_confirm(&p);
    struct tun_descriptor d = p.relay[3]->desc;
    uint8_t raw[TUN_DESCRIPTOR_MAX];
    size_t len = population_sign(&p, 3, POPULATION_DAY, &d, raw);
    struct tun_relay *r = NULL;
    cr_assert_eq(tun_directory_add(p.dir, POPULATION_WALL, raw, len, &r, NULL), CV_ERR_DIFFERS);
    cr_expect_eq(r, p.relay[3]);
    cr_expect(r->liar);
    cr_expect(
        tun_descriptor_is_proof(r->raw, r->raw_len, r->other, r->other_len, population_network));
    /* not used, and told of once */
    cr_expect_eq(tun_directory_count(p.dir, POPULATION_DAY, TUN_DIRECTORY_KNOWN), 8);
    cr_expect_eq(tun_directory_add(p.dir, POPULATION_WALL, raw, len, &r, NULL), CV_ERR_EXIST);

    /* in buckets it stands with zeros, so that others ask for both */
    struct tun_pair pairs[TUN_BUCKET_PAIRS_MAX];
    uint8_t hash[16];
    uint16_t total;
    ssize_t n = tun_directory_bucket(p.dir, POPULATION_DAY, 0, 0, TUN_DIRECTORY_KNOWN, 0, hash,
                                     &total, pairs, TUN_BUCKET_PAIRS_MAX);
    unsigned zeros = 0;
    cr_assert_eq(n, 9);
    for (unsigned i = 0; i < 9; i++)
        if (memcmp(pairs[i].identity, r->desc.identity, CV_KEY) == 0)
            zeros += tun_digest_is_proof(pairs[i].d);
    cr_expect_eq(zeros, 1);

    /* nor is what it signs the day after, which proves nothing by itself */
    const int64_t next = POPULATION_WALL + 43200;
    len = population_sign(&p, 3, POPULATION_DAY + 1, &d, raw);
    cr_assert_eq(tun_directory_add(p.dir, next, raw, len, &r, NULL), CV_ERR_OK);
    cr_expect(r->liar);
    cr_expect_null(r->other);
    cr_expect_not(tun_relay_is_shown(r));
    cr_expect_eq(tun_directory_count(p.dir, POPULATION_DAY + 1, TUN_DIRECTORY_KNOWN), 0);
    population_done(&p);
}

/* What somebody invents does not have a liar forgotten that was in use. */
Test(tun_directory, invented_liars_take_nobodys_place) {
    struct population p;
    village(&p);
    population_confirm(&p);
    struct tun_descriptor d = p.relay[3]->desc;
    uint8_t raw[TUN_DESCRIPTOR_MAX];
    struct tun_relay *r = NULL;
    size_t len = population_sign(&p, 3, POPULATION_DAY, &d, raw);
    cr_assert_eq(tun_directory_add(p.dir, POPULATION_WALL, raw, len, &r, NULL), CV_ERR_DIFFERS);
    for (unsigned i = 0; i < TUN_LIARS_MAX + 8; i++) {
        population_identity(&p, 10 + i);
        for (uint16_t which = 1; which <= 2; which++) {
            d.addr[0] = population_addr4(0x7000 + i, which);
            len = population_sign(&p, 10 + i, POPULATION_DAY, &d, raw);
            (void)tun_directory_add(p.dir, POPULATION_WALL + 1, raw, len, &r, NULL);
        }
        cr_assert(r->liar);
    }
    len = population_sign(&p, 3, POPULATION_DAY + 1, &d, raw);
    cr_assert_eq(tun_directory_add(p.dir, POPULATION_WALL + 43200, raw, len, &r, NULL), CV_ERR_OK);
    cr_expect(r->liar);
    population_done(&p);
}

Test(tun_directory, a_claim_that_differs_is_looked_into_and_proves_nothing) {
    struct population p;
    village(&p);
    uint8_t d[TUN_DIGEST] = {1, 2, 3};
    population_confirm(&p);
    cr_expect_eq(claim(&p, 4, 0, d), CV_ERR_DIFFERS);
    cr_expect(p.relay[4]->disputed);
    cr_expect_arr_eq(p.relay[4]->disputed_by, p.relay[0]->desc.identity, CV_KEY);
    cr_expect_not(p.relay[4]->liar, "a word is no signature");
    cr_expect_not(p.relay[4]->accused);
    static const uint8_t zeros[TUN_DIGEST];
    cr_expect_eq(claim(&p, 4, 1, zeros), CV_ERR_DIFFERS);
    cr_expect(p.relay[4]->accused, "it has to be shown both");
    cr_expect_not(p.relay[4]->liar);
    cr_expect(p.relay[4]->confirmed);
    population_done(&p);
}

Test(tun_directory, only_the_signed_and_current_comes_in) {
    struct population p;
    village(&p);
    struct tun_descriptor d = p.relay[0]->desc;
    uint8_t raw[TUN_DESCRIPTOR_MAX];
    static const int days[] = {-2, -1, 1, 2, 300};
    for (size_t i = 0; i < 5; i++) {
        uint32_t day = POPULATION_DAY + (uint32_t)days[i], said = 0;
        size_t len = population_sign(&p, 0, day, &d, raw);
        /* noon: yesterday's are over at 08:00, tomorrow's begin at 21:00 */
        cr_expect_eq(tun_directory_add(p.dir, POPULATION_WALL, raw, len, NULL, &said), CV_ERR_STALE,
                     "%d days", days[i]);
        cr_expect_eq(said, day);
    }
    size_t len = population_sign(&p, 0, POPULATION_DAY, &d, raw);
    raw[50] ^= 1;
    cr_expect_neq(tun_directory_add(p.dir, POPULATION_WALL, raw, len, NULL, NULL), CV_ERR_OK);
    cr_expect_eq(tun_directory_count(p.dir, POPULATION_DAY, TUN_DIRECTORY_KNOWN), 9);
    population_done(&p);
}

Test(tun_directory, days_that_are_over_are_forgotten) {
    struct population p;
    village(&p);
    tun_directory_expire(p.dir, POPULATION_WALL + 86400 - 43200 + 7 * 3600);
    cr_expect_eq(tun_directory_count(p.dir, POPULATION_DAY, TUN_DIRECTORY_KNOWN), 9,
                 "yesterday's serve until 08:00");
    tun_directory_expire(p.dir, POPULATION_WALL + 86400 - 43200 + 9 * 3600);
    cr_expect_eq(tun_directory_count(p.dir, POPULATION_DAY, TUN_DIRECTORY_KNOWN), 0);
    population_done(&p);
}

/* ---- buckets ---- */

Test(tun_directory, buckets_of_a_level_hold_everybody_once) {
    struct population p;
    population_init(&p, 3);
    for (unsigned i = 0; i < 60; i++)
        population_simple(&p, 0x1000 + i);
    static const unsigned levels[] = {0, 4, 8};
    for (size_t l = 0; l < 3; l++) {
        unsigned total = 0;
        for (unsigned b = 0; b < 1u << levels[l]; b++) {
            uint8_t hash[16];
            uint16_t count;
            struct tun_pair pairs[64];
            ssize_t n = tun_directory_bucket(p.dir, POPULATION_DAY, levels[l], (uint16_t)b,
                                             TUN_DIRECTORY_KNOWN, 0, hash, &count, pairs, 64);
            cr_assert_eq(n, count);
            for (ssize_t i = 0; i < n; i++) {
                cr_expect_eq(tun_relay_bucket(pairs[i].identity, POPULATION_DAY, levels[l]), b);
                if (i > 0)
                    cr_expect_lt(memcmp(pairs[i - 1].identity, pairs[i].identity, CV_KEY), 0);
            }
            total += count;
        }
        cr_expect_eq(total, 60, "level %u", levels[l]);
    }
    population_done(&p);
}

Test(tun_directory, the_hash_of_a_bucket_says_whether_two_know_the_same) {
    struct population a, b;
    uint8_t ha[16], hb[16];
    uint16_t na, nb;
    struct tun_pair page[TUN_BUCKET_PAIRS_MAX];
    population_init(&a, 3);
    population_init(&b, 4);
    for (unsigned i = 0; i < 30; i++)
        population_simple(&a, 0x1000 + i);
    for (unsigned i = 30; i-- > 1;) /* in another order, and one is missing */
        (void)tun_directory_add(b.dir, POPULATION_WALL, a.relay[i]->raw, a.relay[i]->raw_len, NULL,
                                NULL);
    cr_assert_eq(tun_directory_bucket(a.dir, POPULATION_DAY, 0, 0, TUN_DIRECTORY_KNOWN, 20, ha, &na,
                                      page, TUN_BUCKET_PAIRS_MAX),
                 10, "the second page");
    (void)tun_directory_bucket(b.dir, POPULATION_DAY, 0, 0, TUN_DIRECTORY_KNOWN, 0, hb, &nb, NULL,
                               0);
    cr_expect_eq(na, 30);
    cr_expect_eq(nb, 29);
    cr_expect_neq(memcmp(ha, hb, 16), 0);
    (void)tun_directory_add(b.dir, POPULATION_WALL, a.relay[0]->raw, a.relay[0]->raw_len, NULL,
                            NULL);
    (void)tun_directory_bucket(b.dir, POPULATION_DAY, 0, 0, TUN_DIRECTORY_KNOWN, 0, hb, &nb, NULL,
                               0);
    cr_expect_arr_eq(ha, hb, 16);
    population_done(&a);
    population_done(&b);
}

/* Over all pairs, sorted by identity; the same as a second implementation says. */
Test(tun_directory, the_hash_of_a_bucket_is_over_its_sorted_pairs) {
    struct population p;
    struct tun_pair pairs[TUN_BUCKET_PAIRS_MAX];
    uint8_t hash[16], want[16], raw[3 * sizeof *pairs];
    uint16_t total;
    population_init(&p, 3);
    for (unsigned i = 0; i < 9; i++)
        population_simple(&p, 0x1000 + i);
    cr_assert_eq(tun_directory_bucket(p.dir, POPULATION_DAY, 0, 0, TUN_DIRECTORY_KNOWN, 0, hash,
                                      &total, pairs, TUN_BUCKET_PAIRS_MAX),
                 9);
    CV_BLAKE2B(want, sizeof want, NULL, 0, {pairs, 9 * sizeof *pairs});
    cr_expect_arr_eq(hash, want, sizeof want);
    population_done(&p);

    cr_assert_eq(
        cv_test_vector(CV_VECTORS "/tunnel.hex", "derivations", "pairs", 0, raw, sizeof raw),
        sizeof raw);
    cr_expect_lt(memcmp(raw, raw + sizeof *pairs, CV_KEY), 0);
    CV_BLAKE2B(hash, sizeof hash, NULL, 0, {raw, sizeof raw});
    cr_assert_eq(
        cv_test_vector(CV_VECTORS "/tunnel.hex", "derivations", "bucket", 0, want, sizeof want),
        16);
    cr_expect_arr_eq(hash, want, sizeof want);
}

Test(tun_directory, it_does_not_grow_without_end) {
    struct population p;
    village(&p);
    uint8_t identity[CV_KEY] = {0}, d[TUN_DIGEST] = {0};
    enum cv_err err = CV_ERR_OK;
    for (unsigned i = 0; i < TUN_DIRECTORY_MAX + 10; i++) {
        memcpy(identity, &i, sizeof i);
        err = tun_directory_claim(p.dir, POPULATION_WALL, identity, POPULATION_DAY, d,
                                  p.relay[0]->desc.identity, NULL, 0);
    }
    cr_expect_eq(err, CV_ERR_LIMIT);
    population_done(&p);
}

/* ---- what is invented ---- */

static const uint8_t some_d[TUN_DIGEST] = {9};

static enum cv_err invent(struct population *p, unsigned by, unsigned number) {
    uint8_t identity[CV_KEY] = {(uint8_t)(by + 1), 0xee};
    memcpy(identity + 4, &number, sizeof number);
    return tun_directory_claim(p->dir, POPULATION_WALL, identity, POPULATION_DAY, some_d,
                               p->relay[by]->desc.identity, NULL, 0);
}

Test(tun_directory, one_relay_names_only_so_many_without_showing_their_descriptors) {
    struct population p;
    village(&p);
    for (unsigned i = 0; i < TUN_BARE_OF_ONE; i++)
        cr_assert_eq(invent(&p, 0, i), CV_ERR_OK);
    cr_expect_eq(invent(&p, 0, TUN_BARE_OF_ONE), CV_ERR_LIMIT);
    cr_expect_eq(invent(&p, 0, 3), CV_ERR_OK, "said again is nothing new");
    cr_expect_eq(invent(&p, 1, 0), CV_ERR_OK, "another has a quota of its own");
    cr_expect_eq(missing(&p, 0), TUN_BARE_OF_ONE);

    tun_directory_expire(p.dir, POPULATION_WALL + TUN_BARE_S);
    cr_expect_eq(missing(&p, 0), TUN_BARE_OF_ONE);
    tun_directory_expire(p.dir, POPULATION_WALL + TUN_BARE_S + 1);
    cr_expect_eq(missing(&p, 0), 0, "nobody showed a descriptor");
    cr_expect_eq(tun_directory_count(p.dir, POPULATION_DAY, TUN_DIRECTORY_KNOWN), 9);
    cr_expect_eq(invent(&p, 0, TUN_BARE_OF_ONE), CV_ERR_OK, "and names again");
    population_done(&p);
}

Test(tun_directory, however_many_invent_names_an_honest_one_is_heard) {
    struct population p;
    village(&p);
    for (unsigned by = 0; by < 8; by++) {
        for (unsigned i = 0; i < TUN_BARE_OF_ONE; i++)
            cr_assert_eq(invent(&p, by, i), CV_ERR_OK);
    }
    size_t bare = 0;
    for (unsigned by = 0; by < 8; by++)
        bare += missing(&p, by);
    cr_expect_eq(bare, TUN_BARE_MAX, "the oldest went");
    cr_expect_eq(invent(&p, 8, 0), CV_ERR_OK);
    cr_expect_eq(missing(&p, 8), 1);
    struct tun_descriptor d = {.flags = 1, .suites = 1, .addrs = 1};
    d.addr[0] = population_addr4(0x7000, 1);
    population_add(&p, &d);
    cr_expect_eq(tun_directory_count(p.dir, POPULATION_DAY, TUN_DIRECTORY_KNOWN), 10);
    population_done(&p);
}

/* A descriptor of a relay that nobody else knows of. */
static enum cv_err stranger(struct population *p, unsigned number, struct tun_relay **ret) {
    struct cv_ed25519_secret secret;
    uint8_t seed[CV_KEY] = {0xdd}, raw[TUN_DESCRIPTOR_MAX];
    struct tun_descriptor d = {.flags = 1, .suites = 1, .addrs = 1, .day = POPULATION_DAY};
    memcpy(seed + 4, &number, sizeof number);
    memcpy(d.network_id, population_network, TUN_NETWORK_ID);
    d.addr[0] = population_addr4(0x8000 + number % 0x4000, 1);
    cv_ed25519_from_seed(&secret, seed);
    ssize_t len = tun_descriptor_sign(&d, &secret, raw, sizeof raw);
    return tun_directory_add(p->dir, POPULATION_WALL, raw, (size_t)len, ret, NULL);
}

/* clang-format off */
static const struct {
    bool descriptor, reached, outside, confirmed, want;
} passing[] = {
    { true,  true,  true,  false, true },
    { true,  true,  false, true,  true },
    { true,  true,  false, false, false },
    { true,  false, true,  true,  false },
    { false, true,  true,  true,  false },
};
/* clang-format on */

/* Whom we reached ourselves, and two others as well. */
Test(tun_directory, what_relays_pass_on) {
    for (size_t i = 0; i < sizeof passing / sizeof *passing; i++) {
        struct population p;
        village(&p);
        struct tun_relay *r = p.relay[3];
        uint16_t len = r->raw_len;
        r->raw_len = passing[i].descriptor ? len : 0;
        r->reached = passing[i].reached;
        r->outside = passing[i].outside;
        r->confirmed = passing[i].confirmed;
        cr_expect_eq(tun_relay_is_passed(r), passing[i].want, "row %zu", i);
        cr_expect_eq(tun_relay_is_shown(r), passing[i].want, "row %zu", i);
        cr_expect_eq(tun_directory_count(p.dir, POPULATION_DAY, TUN_DIRECTORY_PASSED),
                     passing[i].want ? 1 : 0, "row %zu", i);
        r->raw_len = len;
        population_done(&p);
    }
}

/* Relay 6, which is returned, has two addresses; 0 to 2 have IPv4 only, 3 and 4 both, 5 IPv6 only.
 */
static struct tun_relay *two_addresses(struct population *p, uint8_t family) {
    population_init(p, 11);
    tun_directory_speaks(p->dir, family);
    for (unsigned i = 0; i < 7; i++) {
        struct tun_descriptor d = {.flags = 0x1f, .suites = 1};
        if (i != 5)
            d.addr[d.addrs++] = population_addr4(0x1000 + 0x100 * i, i + 1);
        if (i >= 3)
            d.addr[d.addrs++] = population_addr6(0x20010000 + i, i + 1);
        population_add(p, &d);
    }
    return p->relay[6];
}

/* We tell of a relay when it is there at each address of a family that we have; others vouch
 * for those only that they could try. */
Test(tun_directory, each_address_is_vouched_for) {
    static const struct {
        const char *name;
        uint8_t family; /* of ours; 0: both */
        unsigned reached, outside, by[3], n;
        bool want;
    } rows[] = {
        {"both, by us and by others", 0, 3, 3, {0}, 0, true},
        {"one of two by us", 0, 1, 3, {0}, 0, false},
        {"one of two by others", 0, 3, 1, {0}, 0, false},
        {"IPv4 by others, and two of both confirm", 0, 3, 1, {3, 4}, 2, true},
        {"IPv4 by others, and two of IPv4 confirm", 0, 3, 1, {0, 1}, 2, false},
        {"two of IPv4 confirm, then one more of both, then another", 0, 3, 0, {0, 3, 4}, 3, true},
        {"one of IPv6 and one of both confirm what is of IPv4", 0, 3, 2, {5, 3}, 2, false},
        {"we have IPv4, and it is there", 4, 1, 1, {0}, 0, true},
        {"we have IPv6, and it is there at the other", 6, 1, 1, {0}, 0, false},
        {"we have IPv6, and two of IPv4 confirm", 6, 2, 0, {0, 1}, 2, false},
        {"we have IPv4, and two of both confirm", 4, 1, 0, {3, 4}, 2, true},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct population p;
        struct tun_relay *r = two_addresses(&p, rows[i].family);
        r->reached = (uint8_t)rows[i].reached;
        r->outside = (uint8_t)rows[i].outside;
        for (unsigned k = 0; k < rows[i].n; k++)
            cr_assert_eq(claim(&p, 6, rows[i].by[k], NULL), CV_ERR_OK);
        cr_expect_eq(tun_relay_is_passed(r), rows[i].want, "%s", rows[i].name);
        population_done(&p);
    }
    struct population p; /* and of whom we can reach nowhere we do not tell */
    two_addresses(&p, 6);
    p.relay[0]->outside = p.relay[0]->confirmed = true;
    cr_expect_not(tun_relay_is_passed(p.relay[0]));
    population_done(&p);
}

/* Two relays are one network when any address of one and any of the other are. */
Test(tun_directory, both_addresses_count_for_who_stands_beside_whom) {
    struct population p;
    two_addresses(&p, 0);
    struct tun_descriptor a = p.relay[3]->desc, b = p.relay[4]->desc;
    cr_expect_not(tun_relay_conflict(&a, &b));
    b.addr[0] = population_addr4(0x1300, 77);
    cr_expect(tun_relay_conflict(&a, &b), "IPv4");
    b = p.relay[4]->desc;
    b.addr[1] = population_addr6(0x20010003, 77);
    cr_expect(tun_relay_conflict(&a, &b), "IPv6");
    cr_expect(tun_relay_conflict(&b, &a), "the other way round");
    cr_expect(tun_relay_meets(&a, &b));
    cr_expect(tun_relay_meets(&a, &p.relay[0]->desc));
    cr_expect(tun_relay_meets(&p.relay[5]->desc, &a));
    cr_expect_not(tun_relay_meets(&p.relay[5]->desc, &p.relay[0]->desc));
    population_done(&p);
}

/* What a circuit needs to know: where it answered first, then where else it answered. */
Test(tun_directory, a_link_goes_where_it_answered) {
    struct population p;
    struct tun_relay *r = two_addresses(&p, 0);
    struct tun_relay_ref ref;
    r->reached = 2;
    r->reached_at = r->desc.addr[1];
    tun_relay_ref_fill(&ref, r, POPULATION_WALL);
    cr_expect(cv_addr_equal(&ref.addr[0], &r->desc.addr[1]));
    cr_expect_eq(ref.addr[1].family, 0);
    r->reached = 3;
    tun_relay_ref_fill(&ref, r, POPULATION_WALL);
    cr_expect(cv_addr_equal(&ref.addr[0], &r->desc.addr[1]));
    cr_expect(cv_addr_equal(&ref.addr[1], &r->desc.addr[0]));
    population_done(&p);
}

/* Tomorrow's descriptor is passed on as today's was, if the relay stays where it is. */
Test(tun_directory, where_it_was_reached_it_counts_tomorrow) {
    for (unsigned moved = 0; moved < 2; moved++) {
        struct population p;
        village(&p);
        struct tun_relay *r = p.relay[3], *next;
        r->reached = r->outside = true;
        r->reached_at = r->desc.addr[0];
        struct tun_descriptor what = r->desc;
        what.addr[0].port = (uint16_t)(what.addr[0].port + moved);
        uint8_t raw[TUN_DESCRIPTOR_MAX];
        size_t len = population_sign(&p, 3, POPULATION_DAY + 1, &what, raw);
        cr_assert_eq(tun_directory_add(p.dir, POPULATION_WALL + 12 * 3600, raw, len, &next, NULL),
                     CV_ERR_OK);
        cr_expect_eq(next->outside, !moved);
        cr_expect_eq(next->reached, !moved);
        cr_expect_eq(next->kept, !moved, "that we see ourselves, every day");
        cr_expect_eq(tun_relay_is_passed(next), !moved);

        /* who was not asked that day is not taken to be there for another one */
        struct tun_relay *after;
        len = population_sign(&p, 3, POPULATION_DAY + 2, &what, raw);
        cr_assert_eq(tun_directory_add(p.dir, POPULATION_WALL + 36 * 3600, raw, len, &after, NULL),
                     CV_ERR_OK);
        cr_expect_not(after->reached);
        cr_expect_not(tun_relay_is_passed(after));
        next->reached = true; /* and there it answered */
        next->kept = false;
        tun_directory_keep(p.dir, POPULATION_DAY + 2);
        cr_expect(after->reached && after->kept);
        cr_expect_eq(tun_relay_is_passed(after), !moved, "nobody reached it at the new one");
        population_done(&p);
    }
}

/* He who names a relay by the D of his day means the relay: near the turn it is taken for ours of
 * our day, as long as that D may be of the other day. */
Test(tun_directory, near_the_turn_another_days_d_means_the_same_relay) {
    const int64_t turn = tun_descriptor_day_begins(POPULATION_DAY + 1);
    static const uint8_t unknown[TUN_DIGEST] = {1, 2, 3};
    struct population p;
    village(&p);
    population_confirm(&p);
    struct tun_relay *today = p.relay[3], *next;
    const uint8_t *who = today->desc.identity;
    const struct {
        int64_t wall;
        const struct tun_relay *want;
    } rows[] = {{turn - TUN_TURN_S - 1, NULL},
                {turn - TUN_TURN_S, today},
                {turn - 1, today},
                {turn, NULL}}; /* of the day in use there is none */
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        cr_expect_eq(tun_directory_find_meant(p.dir, who, unknown, rows[i].wall), rows[i].want,
                     "%ld s", rows[i].wall - turn);
        cr_expect_eq(tun_directory_find_meant(p.dir, who, today->desc.digest, rows[i].wall), today);
        cr_expect_null(
            tun_directory_find_meant(p.dir, p.identity[9].public_key, unknown, rows[i].wall));
    }

    uint8_t raw[TUN_DESCRIPTOR_MAX];
    struct tun_descriptor what = today->desc;
    size_t len = population_sign(&p, 3, POPULATION_DAY + 1, &what, raw);
    cr_assert_eq(tun_directory_add(p.dir, turn - 60, raw, len, &next, NULL), CV_ERR_OK);
    const uint8_t *d = next->desc.digest;
    cr_expect_eq(tun_directory_find_meant(p.dir, who, d, turn - 60), today, "nobody confirms it");
    cr_expect_eq(tun_directory_find_meant(p.dir, who, d, turn + 60), next, "the one in use");
    next->liar = true;
    cr_expect_eq(tun_directory_find_meant(p.dir, who, d, turn - 60), next, "and he is seen to lie");
    next->liar = false;
    next->confirmed = true;
    cr_expect_eq(tun_directory_find_meant(p.dir, who, d, turn - 60), next);
    for (int64_t at = -60; at <= 60; at += 120)
        cr_expect_null(tun_directory_find_meant(p.dir, who, unknown, turn + at),
                       "neither of the two days'");
    population_done(&p);
}

/* Of two addresses the one at which it was not heard today is not handed on, nor is it where
 * links go first; the other one may have answered late in the evening. */
Test(tun_directory, each_address_counts_tomorrow_for_itself) {
    struct population p;
    struct tun_relay *r = two_addresses(&p, 0), *next;
    uint8_t raw[TUN_DESCRIPTOR_MAX];
    r->reached = 3;
    r->kept = 1; /* it answered there yesterday, first */
    r->reached_at = r->desc.addr[0];
    struct tun_descriptor what = r->desc;
    size_t len = population_sign(&p, 6, POPULATION_DAY + 1, &what, raw);
    cr_assert_eq(tun_directory_add(p.dir, POPULATION_WALL + 12 * 3600, raw, len, &next, NULL),
                 CV_ERR_OK);
    cr_expect_eq(next->reached, 2);
    cr_expect_eq(next->kept, 2);
    cr_expect(cv_addr_equal(&next->reached_at, &r->desc.addr[1]), "links go where it is");
    r->kept = 0;
    tun_directory_keep(p.dir, POPULATION_DAY + 1);
    cr_expect_eq(next->reached, 3);
    cr_expect_eq(next->kept, 3);
    cr_expect(cv_addr_equal(&next->reached_at, &r->desc.addr[1]));
    population_done(&p);
}

/* The descriptor of who names himself is asked of himself: of tomorrow's nobody else has it. */
Test(tun_directory, a_relay_is_asked_for_its_own) {
    struct population p;
    village(&p);
    struct tun_relay *all[8];
    cr_assert_eq(tun_directory_claim(p.dir, POPULATION_WALL + 12 * 3600, p.relay[3]->desc.identity,
                                     POPULATION_DAY + 1, p.relay[3]->desc.digest,
                                     p.relay[3]->desc.identity, NULL, 0),
                 CV_ERR_OK);
    for (unsigned by = 3; by < 5; by++)
        cr_expect_eq(
            tun_directory_missing(p.dir, POPULATION_DAY + 1, p.relay[by]->desc.identity, all, 8),
            by == 3);
    population_done(&p);
}

Test(tun_directory, a_full_one_forgets_what_nobody_vouches_for) {
    struct population p;
    village(&p);
    population_confirm(&p);
    struct tun_relay *r, *reached;
    cr_assert_eq(stranger(&p, 0, &reached), CV_ERR_OK);
    reached->reached = true;
    for (unsigned i = 1; i < TUN_DIRECTORY_MAX - 9; i++)
        cr_assert_eq(stranger(&p, i, &r), CV_ERR_OK, "%u", i);
    cr_assert_eq(tun_directory_count(p.dir, POPULATION_DAY, TUN_DIRECTORY_KNOWN),
                 TUN_DIRECTORY_MAX);
    cr_expect_eq(invent(&p, 0, 0), CV_ERR_OK);
    cr_expect_eq(stranger(&p, TUN_DIRECTORY_MAX, &r), CV_ERR_OK);
    cr_expect_eq(missing(&p, 0), 0, "the bare one goes first");
    for (unsigned i = 0; i < 20; i++)
        cr_expect_eq(stranger(&p, TUN_DIRECTORY_MAX + 1 + i, &r), CV_ERR_OK);
    cr_expect_eq(tun_directory_count(p.dir, POPULATION_DAY, TUN_DIRECTORY_CONFIRMED), 9);
    cr_expect_eq(tun_directory_count(p.dir, POPULATION_DAY, TUN_DIRECTORY_REACHED), 1);
    cr_expect_eq(tun_directory_count(p.dir, POPULATION_DAY, TUN_DIRECTORY_KNOWN),
                 TUN_DIRECTORY_MAX);
    population_done(&p);
}
