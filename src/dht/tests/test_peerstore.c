#include "support/hex.h"
#include "support/suite.h"

#include <math.h>

#include "crypto/hash.h"
#include "crypto/rng_seeded.h"
#include "dht/peerstore.h"

CV_SUITE(dht_peerstore);

static struct cv_rng_seeded seeded;
static struct cv_rng rng;
static struct dht_peerstore store;
static const struct dht_id own = {{0}};

static void setup(void) {
    cv_crypto_init();
    cv_rng_seeded_init(&seeded, 1);
    rng = cv_rng_seeded(&seeded);
    cr_assert_eq(dht_peerstore_init(&store, &rng), CV_ERR_OK);
}

static void teardown(void) {
    dht_peerstore_done(&store);
}

/* Each i another /24. */
static struct cv_addr peer(unsigned i) {
    return (struct cv_addr){.ip = {(uint8_t)(11 + (i >> 16)), (uint8_t)(i >> 8), (uint8_t)i, 1},
                            .family = 4,
                            .port = 1000};
}

static enum cv_err add(cv_usec now, const struct dht_id *key, const struct cv_addr *a, bool seed) {
    return dht_peerstore_add(&store, now, &own, key, a, seed);
}

static size_t sample(cv_usec now, const struct dht_id *key, uint8_t family, bool noseed,
                     struct cv_addr *v, size_t cap) {
    return dht_peerstore_sample(&store, now, &rng, key, family, noseed, v, cap);
}

Test(dht_peerstore, one_entry_per_ip, .init = setup, .fini = teardown) {
    struct dht_id key = {{1}};
    struct cv_addr a = peer(1), v[8];
    cr_expect_eq(add(0, &key, &a, false), CV_ERR_OK);
    a.port = 2000;
    cr_expect_eq(add(0, &key, &a, true), CV_ERR_OK);
    cr_assert_eq(sample(0, &key, 4, false, v, 8), 1);
    cr_expect_eq(v[0].port, 2000, "the newer port counts");
    cr_expect_eq(store.peers, 1);
    cr_expect_eq(sample(0, &key, 6, false, v, 8), 0);
    struct dht_id other = {{2}};
    cr_expect_eq(sample(0, &other, 4, false, v, 8), 0);
}

Test(dht_peerstore, expires_after_45_minutes, .init = setup, .fini = teardown) {
    struct dht_id key = {{1}};
    struct cv_addr a = peer(1), b = peer(2), v[8];
    cr_assert_eq(add(0, &key, &a, false), CV_ERR_OK);
    cr_assert_eq(add(CV_SEC(1000), &key, &b, false), CV_ERR_OK);
    cr_expect_eq(sample(CV_SEC(2699), &key, 4, false, v, 8), 2);
    cr_assert_eq(sample(CV_SEC(2700), &key, 4, false, v, 8), 1);
    cr_expect(cv_addr_equal(&v[0], &b));
    dht_peerstore_expire(&store, CV_SEC(4000));
    cr_expect_eq(dht_peerstore_count(&store), 0);
    cr_expect_eq(store.peers, 0);
}

Test(dht_peerstore, sample_is_random_and_prefers_those_without_the_whole, .init = setup,
     .fini = teardown) {
    struct dht_id key = {{1}};
    for (unsigned i = 0; i < 100; i++) {
        struct cv_addr a = peer(i);
        cr_assert_eq(add(0, &key, &a, i < 95), CV_ERR_OK);
    }
    struct cv_addr v[10];
    unsigned seen[100] = {0};
    for (unsigned round = 0; round < 1000; round++) {
        cr_assert_eq(sample(0, &key, 4, false, v, 10), 10);
        for (unsigned i = 0; i < 10; i++)
            seen[v[i].ip[2]]++;
    }
    for (unsigned i = 0; i < 100; i++) /* expected 100, deviation 9.5 */
        cr_expect(seen[i] > 50 && seen[i] < 150, "peer %u: %u of 1000", i, seen[i]);
    cr_assert_eq(sample(0, &key, 4, true, v, 10), 10);
    unsigned leechers = 0;
    for (unsigned i = 0; i < 10; i++) {
        leechers += v[i].ip[2] >= 95;
        for (unsigned j = 0; j < i; j++)
            cr_expect_not(cv_addr_equal(&v[i], &v[j]));
    }
    cr_expect_eq(leechers, 5);
}

Test(dht_peerstore, key_is_capped_and_tells_before, .init = setup, .fini = teardown) {
    struct dht_id key = {{1}};
    for (unsigned i = 0; i < DHT_PEERS_PER_HASH; i++) {
        struct cv_addr a = peer(i);
        cr_assert(dht_peerstore_accepts(&store, &key));
        cr_assert_eq(add(0, &key, &a, false), CV_ERR_OK);
    }
    struct cv_addr late = peer(9999);
    cr_expect_not(dht_peerstore_accepts(&store, &key));
    cr_expect_eq(add(0, &key, &late, false), CV_ERR_LIMIT);
    cr_expect_eq(add(CV_SEC(2700), &key, &late, false), CV_ERR_OK, "expired ones make room");
}

/* 10^5 announcements of one host: it gets its share and no more. */
Test(dht_peerstore, one_network_cannot_flood, .init = setup, .fini = teardown) {
    unsigned stored = 0;
    for (unsigned i = 0; i < 100000; i++) {
        struct dht_id key = dht_id_random(&rng);
        struct cv_addr a = {.ip = {11, 1, 1, (uint8_t)i}, .family = 4, .port = 1};
        stored += add(0, &key, &a, false) == CV_ERR_OK;
    }
    cr_expect_eq(stored, DHT_PEERS_PER_SOURCE);
    cr_expect_eq(store.peers, DHT_PEERS_PER_SOURCE);
    dht_peerstore_expire(&store, CV_SEC(2700));
    struct dht_id key = {{1}};
    struct cv_addr a = {.ip = {11, 1, 1, 1}, .family = 4, .port = 1};
    cr_expect_eq(add(CV_SEC(2700), &key, &a, false), CV_ERR_OK, "the share comes back");
}

Test(dht_peerstore, far_and_small_goes_first, .init = setup, .fini = teardown) {
    struct dht_id near = {{0, 0, 0, 1}}; /* shares 31 bits with us */
    struct cv_addr a = peer(0);
    cr_assert_eq(add(0, &near, &a, false), CV_ERR_OK);
    for (unsigned i = 1; i < 3 * DHT_HASHES; i++) {
        struct dht_id key = dht_id_random(&rng);
        a = peer(i);
        (void)add(0, &key, &a, false);
    }
    cr_expect_eq(dht_peerstore_count(&store), DHT_HASHES);
    cr_expect_eq(store.peers, DHT_HASHES);
    struct cv_addr v[2];
    cr_expect_eq(sample(0, &near, 4, false, v, 2), 1, "our neighbourhood stays");
    struct dht_id far = {{0x80}};
    a = peer(70000);
    cr_expect_eq(add(0, &far, &a, false), CV_ERR_LIMIT);
}

/* The vector of BEP 33. */
Test(dht_peerstore, filter_vector) {
    uint8_t want[DHT_FILTER], got[DHT_FILTER] = {0};
    cv_crypto_init();
    cv_test_unhex("F6C3F5EA A07FFD91 BDE89F77 7F26FB2B FF37BDB8 FB2BBAA2 FD3DDDE7 BACFFF75 EE7CCBAE"
                  "FE5EEDB1 FBFAFF67 F6ABFF5E 43DDBCA3 FD9B9FFD F4FFD3E9 DFF12D1B DF59DB53 DBE9FA5B"
                  "7FF3B8FD FCDE1AFB 8BEDD7BE 2F3EE71E BBBFE93B CDEEFE14 8246C2BC 5DBFF7E7 EFDCF24F"
                  "D8DC7ADF FD8FFFDF DDFFF7A4 BBEEDF5C B95CE81F C7FCFF1F F4FFFFDF E5F7FDCB B7FD79B3"
                  "FA1FC77B FE07FFF9 05B7B7FF C7FEFEFF E0B8370B B0CD3F5B 7F2BD93F EB4386CF DD6F7FD5"
                  "BFAF2E9E BFFFFEEC D67ADBF7 C67F17EF D5D75EBA 6FFEBA7F FF47A91E B1BFBB53 E8ABFB57"
                  "62ABE8FF 237279BF EFBFEEF5 FFC5FEBF DFE5ADFF ADFEE1FB 737FFFFB FD9F6AEF FEEE76B6"
                  "FD8F72EF",
                  want, sizeof want);
    for (unsigned i = 0; i < 256; i++) {
        struct cv_addr a = {.ip = {192, 0, 2, (uint8_t)i}, .family = 4};
        dht_filter_add(got, &a);
    }
    for (unsigned i = 0; i <= 0x3e7; i++) {
        struct cv_addr a = {.ip = {0x20, 0x01, 0x0d, 0xb8, [14] = (uint8_t)(i >> 8), (uint8_t)i},
                            .family = 6};
        dht_filter_add(got, &a);
    }
    cr_expect_arr_eq(got, want, sizeof want);
    cr_expect(fabs(dht_filter_count(got) - 1224.9308) < 0.0001, "%f", dht_filter_count(got));
    memset(got, 0, sizeof got);
    cr_expect(dht_filter_count(got) < 1);
    memset(got, 0xff, sizeof got);
    cr_expect(isfinite(dht_filter_count(got)));
}

Test(dht_peerstore, filters_and_keys, .init = setup, .fini = teardown) {
    uint8_t seeds[DHT_FILTER], peers[DHT_FILTER];
    struct dht_id key = {{1}}, keys[30];
    cr_expect_not(dht_peerstore_filters(&store, 0, &key, seeds, peers));
    for (unsigned i = 0; i < 40; i++) {
        struct cv_addr a = peer(i);
        struct dht_id k = {{(uint8_t)(i + 1)}};
        cr_assert_eq(add(0, &k, &a, false), CV_ERR_OK);
        cr_assert_eq(add(0, &key, &a, i < 10), CV_ERR_OK);
    }
    cr_assert(dht_peerstore_filters(&store, 0, &key, seeds, peers));
    cr_expect(fabs(dht_filter_count(seeds) - 10) < 3, "%f", dht_filter_count(seeds));
    cr_expect(fabs(dht_filter_count(peers) - 30) < 3, "%f", dht_filter_count(peers));
    cr_expect_eq(dht_peerstore_keys(&store, &rng, keys, 30), 30);
    for (unsigned i = 0; i < 30; i++)
        for (unsigned j = 0; j < i; j++)
            cr_expect_not(dht_id_equal(&keys[i], &keys[j]));
}
