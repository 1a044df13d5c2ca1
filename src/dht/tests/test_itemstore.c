#include "support/hex.h"
#include "support/suite.h"

#include <string.h>

#include "crypto/hash.h"
#include "crypto/keys.h"
#include "crypto/rng_seeded.h"
#include "dht/itemstore.h"
#include "dht/limits.h"

CV_SUITE(dht_itemstore);

static struct cv_rng_seeded seeded;
static struct cv_rng rng;
static struct dht_itemstore store;
static const struct dht_id own = {{0}};

static void setup(void) {
    cv_crypto_init();
    cv_rng_seeded_init(&seeded, 1);
    rng = cv_rng_seeded(&seeded);
    cr_assert_eq(dht_itemstore_init(&store, &rng), CV_ERR_OK);
}

static void teardown(void) {
    dht_itemstore_done(&store);
}

/* --- vectors of BEP 44 and 46 --- */

#define VECTOR_KEY "77ff84905a91936367c01360803104f92432fcd904a43511876df5cdf3e7e548"

/* clang-format off */
static const struct {
    const char *name, *salt, *target, *sig, *covered;
} vectors[] = {
    { "mutable", "", "4a533d47ec9c7d95b1ad75f576cffc641853b750",
      "305ac8aeb6c9c151fa120f120ea2cfb923564e11552d06a5d856091e5e853cff"
      "1260d3f39e4999684aa92eb73ffd136e6f4f3ecbfda0ce53a1608ecd7ae21f01",
      "3:seqi1e1:v12:Hello World!" },
    { "mutable with salt", "foobar", "411eba73b6f087ca51a3795d9c8c938d365e32c1",
      "6834284b6b24c3204eb2fea824d82f88883a3d95e8b4a21b8c0ded553d17d17d"
      "df9a8a7104b1258f30bed3787e6cb896fca78c58f8e03b5f18f14951a87d9a08",
      "4:salt6:foobar3:seqi1e1:v12:Hello World!" },
};
/* clang-format on */

static struct dht_item vector_item(size_t i) {
    struct dht_item item = {.mutable_item = true, .seq = 1};
    cv_test_unhex(VECTOR_KEY, item.k, sizeof item.k);
    cv_test_unhex(vectors[i].sig, item.sig, sizeof item.sig);
    item.salt_len = (uint8_t)strlen(vectors[i].salt);
    memcpy(item.salt, vectors[i].salt, item.salt_len);
    cr_assert_eq(dht_item_set_bytes(&item, "Hello World!", 12), CV_ERR_OK);
    return item;
}

Test(dht_itemstore, bep44_vectors) {
    cv_crypto_init();
    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++) {
        struct dht_item item = vector_item(i);
        uint8_t target[DHT_ID], covered[DHT_SIGNED_MAX];
        cv_test_unhex(vectors[i].target, target, sizeof target);
        struct dht_id got = dht_item_target(&item);
        cr_expect_arr_eq(got.b, target, DHT_ID, "%s", vectors[i].name);
        ssize_t n = dht_item_signed(&item, covered);
        cr_expect_eq(n, (ssize_t)strlen(vectors[i].covered), "%s", vectors[i].name);
        cr_expect_arr_eq(covered, vectors[i].covered, (size_t)n, "%s", vectors[i].name);
        cr_expect_eq(dht_item_check(&item), CV_ERR_OK, "%s", vectors[i].name);

        struct dht_item bad = item;
        bad.seq = 2;
        cr_expect_eq(dht_item_check(&bad), CV_ERR_AUTH, "%s", vectors[i].name);
        bad = item;
        bad.v[4] ^= 1;
        cr_expect_eq(dht_item_check(&bad), CV_ERR_AUTH, "%s", vectors[i].name);
        bad = item;
        bad.sig[0] ^= 1;
        cr_expect_eq(dht_item_check(&bad), CV_ERR_AUTH, "%s", vectors[i].name);
    }
    struct dht_item plain = {0};
    uint8_t target[DHT_ID];
    cr_assert_eq(dht_item_set_bytes(&plain, "Hello World!", 12), CV_ERR_OK);
    cv_test_unhex("e5f96f6f38320f0f33959cb4d3d656452117aadb", target, sizeof target);
    struct dht_id got = dht_item_target(&plain);
    cr_expect_arr_eq(got.b, target, DHT_ID);
}

Test(dht_itemstore, bep46_vectors) {
    cv_crypto_init();
    uint8_t k[DHT_KEY], want[DHT_ID];
    cv_test_unhex("8543d3e6115f0f98c944077a4493dcd543e49c739fd998550a1f614ab36ed63e", k, sizeof k);
    cv_test_unhex("cc3f9d90b572172053626f9980ce261a850d050b", want, sizeof want);
    struct dht_id got = dht_key_target(k, NULL, 0);
    cr_expect_arr_eq(got.b, want, DHT_ID);
    cv_test_unhex("59ee7c2cb9b4f7eb1986ee2d18fd2fdb8a56554f", want, sizeof want);
    got = dht_key_target(k, "\x6e", 1);
    cr_expect_arr_eq(got.b, want, DHT_ID);
}

Test(dht_itemstore, item_check_table) {
    /* clang-format off */
    static const struct { const char *v; enum cv_err want; } plain[] = {
        { "5:hello",            CV_ERR_OK },
        { "d1:ai1e1:bi2ee",     CV_ERR_OK },
        { "d1:bi1e1:ai2ee",     CV_ERR_MALFORMED },
        { "5:hello5:hello",     CV_ERR_MALFORMED },
        { "",                   CV_ERR_MALFORMED },
        { "i01e",               CV_ERR_MALFORMED },
    };
    /* clang-format on */
    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++) {
        struct dht_item item = {.v_len = (uint16_t)strlen(plain[i].v)};
        memcpy(item.v, plain[i].v, item.v_len);
        cr_expect_eq(dht_item_check(&item), plain[i].want, "%s", plain[i].v);
    }
    struct dht_item big = {0};
    uint8_t data[DHT_VALUE_MAX] = {0};
    cr_expect_eq(dht_item_set_bytes(&big, data, 996), CV_ERR_OK);
    cr_expect_eq(dht_item_set_bytes(&big, data, 997), CV_ERR_LIMIT);
    cr_expect_eq(big.v_len, 1000, "untouched on failure");
    size_t len;
    cr_expect(dht_item_bytes(&big, &len) && len == 996);
    big.v_len = DHT_VALUE_MAX + 1;
    cr_expect_eq(dht_item_check(&big), CV_ERR_LIMIT);
    memcpy(big.v, "i1e", 3);
    big.v_len = 3;
    cr_expect_not(dht_item_bytes(&big, &len));
}

Test(dht_itemstore, pointers) {
    static const struct {
        const char *v;
        bool is_pointer;
    } rows[] = {
        {"d2:ih20:abcdefghijklmnopqrste", true},
        {"d1:a1:b2:ih20:abcdefghijklmnopqrst2:zzi1ee", true},
        {"d2:ih19:abcdefghijklmnopqrse", false},
        {"d2:ih21:abcdefghijklmnopqrstue", false},
        {"d2:ihi20ee", false},
        {"d2:ig20:abcdefghijklmnopqrste", false},
        {"d3:iha20:abcdefghijklmnopqrste", false},
        {"de", false},
        {"l2:ih20:abcdefghijklmnopqrste", false},
        {"20:abcdefghijklmnopqrst", false},
    };
    struct dht_id want, got;
    memcpy(want.b, "abcdefghijklmnopqrst", DHT_ID);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct dht_item item = {.v_len = (uint16_t)strlen(rows[i].v)};
        memcpy(item.v, rows[i].v, item.v_len);
        cr_assert_eq(dht_item_check(&item), CV_ERR_OK, "%s", rows[i].v);
        cr_expect_eq(dht_item_pointer(&item, &got), rows[i].is_pointer, "%s", rows[i].v);
        if (rows[i].is_pointer)
            cr_expect(dht_id_equal(&got, &want), "%s", rows[i].v);
    }
    struct dht_item item = {0};
    dht_item_set_pointer(&item, &want);
    cr_expect_eq(item.v_len, strlen(rows[0].v));
    cr_expect_arr_eq(item.v, rows[0].v, item.v_len);
}

/* --- rules of the store --- */

static struct dht_item mutable_item(uint8_t seed_octet, int64_t seq, const char *text) {
    uint8_t seed[CV_KEY], msg[DHT_SIGNED_MAX];
    struct cv_ed25519_secret secret;
    memset(seed, seed_octet, sizeof seed);
    cv_ed25519_from_seed(&secret, seed);
    struct dht_item item = {.mutable_item = true, .seq = seq};
    memcpy(item.k, secret.public_key, sizeof item.k);
    cr_assert_eq(dht_item_set_bytes(&item, text, strlen(text)), CV_ERR_OK);
    ssize_t n = dht_item_signed(&item, msg);
    cv_ed25519_sign(item.sig, &secret, "", msg, (size_t)n);
    return item;
}

#define NO_CAS INT64_MIN

Test(dht_itemstore, seq_and_cas_rules, .init = setup, .fini = teardown) {
    /* One key, one put after the other; what is stored then. */
    /* clang-format off */
    static const struct {
        const char *name, *text;
        int64_t seq, cas;
        int want;
        int64_t stored;
    } steps[] = {
        { "cas without anything stored is ignored", "a", 5, 99,     0,             5 },
        { "older",                                  "b", 4, NO_CAS, DHT_CODE_SEQ,  5 },
        { "same seq, other value",                  "b", 5, NO_CAS, DHT_CODE_SEQ,  5 },
        { "same again refreshes",                   "a", 5, NO_CAS, 0,             5 },
        { "same again, whatever cas",               "a", 5, 1,      0,             5 },
        { "wrong cas",                              "c", 6, 4,      DHT_CODE_CAS,  5 },
        { "wrong cas wins over old seq",            "c", 3, 4,      DHT_CODE_CAS,  5 },
        { "right cas",                              "c", 6, 5,      0,             6 },
        { "right cas, older seq",                   "d", 2, 6,      DHT_CODE_SEQ,  6 },
        { "newer without cas",                      "e", 9, NO_CAS, 0,             9 },
    };
    /* clang-format on */
    struct cv_addr from = {.ip = {11, 1, 1, 1}, .family = 4, .port = 1};
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        struct dht_item item = mutable_item(1, steps[i].seq, steps[i].text);
        struct dht_id target = dht_item_target(&item);
        int code = dht_itemstore_put(&store, 0, &own, &from, &item,
                                     steps[i].cas == NO_CAS ? NULL : &steps[i].cas);
        cr_expect_eq(code, steps[i].want, "%s: %d", steps[i].name, code);
        const struct dht_stored *e = dht_itemstore_get(&store, 0, &target);
        cr_assert(e);
        cr_expect_eq(e->seq, steps[i].stored, "%s", steps[i].name);
    }
    cr_expect_eq(dht_itemstore_count(&store), 1);
}

Test(dht_itemstore, expires_after_two_hours_unless_put_again, .init = setup, .fini = teardown) {
    struct cv_addr from = {.ip = {11, 1, 1, 1}, .family = 4, .port = 1};
    struct dht_item item = mutable_item(1, 1, "x");
    struct dht_id target = dht_item_target(&item);
    cr_assert_eq(dht_itemstore_put(&store, 0, &own, &from, &item, NULL), 0);
    cr_assert_eq(dht_itemstore_put(&store, CV_SEC(3600), &own, &from, &item, NULL), 0);
    cr_expect(dht_itemstore_get(&store, CV_SEC(10799), &target));
    cr_expect_not(dht_itemstore_get(&store, CV_SEC(10800), &target));
    cr_expect_eq(dht_itemstore_count(&store), 1);
    dht_itemstore_expire(&store, CV_SEC(10800));
    cr_expect_eq(dht_itemstore_count(&store), 0);
    struct dht_item older = mutable_item(1, 0, "y");
    cr_expect_eq(dht_itemstore_put(&store, CV_SEC(10800), &own, &from, &older, NULL), 0);
}

static struct dht_item numbered(unsigned i) {
    struct dht_item item = {0};
    cr_assert_eq(dht_item_set_bytes(&item, &i, sizeof i), CV_ERR_OK);
    return item;
}

Test(dht_itemstore, one_network_gets_its_share, .init = setup, .fini = teardown) {
    struct cv_addr from = {.ip = {11, 1, 1, 1}, .family = 4, .port = 1};
    unsigned stored = 0;
    for (unsigned i = 0; i < 1000; i++) {
        struct dht_item item = numbered(i);
        from.ip[3] = (uint8_t)i;
        stored += dht_itemstore_put(&store, 0, &own, &from, &item, NULL) == 0;
    }
    cr_expect_eq(stored, DHT_ITEMS_PER_SOURCE);
    /* ... but may renew what it has. */
    struct dht_item again = numbered(5);
    cr_expect_eq(dht_itemstore_put(&store, 9, &own, &from, &again, NULL), 0);
}

Test(dht_itemstore, farthest_goes_when_full, .init = setup, .fini = teardown) {
    struct dht_id closest = {{0xff}};
    for (unsigned i = 0; i < 3 * DHT_ITEMS; i++) {
        struct dht_item item = numbered(i);
        struct cv_addr from = {
            .ip = {11, (uint8_t)(i >> 8), (uint8_t)i, 1}, .family = 4, .port = 1};
        struct dht_id target = dht_item_target(&item);
        if (dht_id_closer(&own, &target, &closest) < 0)
            closest = target;
        (void)dht_itemstore_put(&store, 0, &own, &from, &item, NULL);
        cr_assert_leq(dht_itemstore_count(&store), DHT_ITEMS);
    }
    cr_expect_eq(dht_itemstore_count(&store), DHT_ITEMS);
    cr_expect(dht_itemstore_get(&store, 0, &closest));
}

/* --- reading an item out of a message --- */

Test(dht_itemstore, from_message_table) {
    static uint8_t octets[2000] = "1:x";
    struct dht_span v = {octets, 3}, k = {octets, 32}, sig = {octets, 64}, none = {0};
    struct dht_int seq = {1, true}, negative = {-1, true}, absent = {0};
    /* clang-format off */
    const struct {
        const char *name;
        struct dht_msg m;
        int want;
    } rows[] = {
        { "immutable",         { .value = v }, 0 },
        { "mutable",           { .value = v, .k = k, .sig = sig, .seq = seq }, 0 },
        { "salt of 64",        { .value = v, .k = k, .sig = sig, .seq = seq, .salt = { octets, 64 } }, 0 },
        { "salt of 65",        { .value = v, .k = k, .sig = sig, .seq = seq, .salt = { octets, 65 } }, DHT_CODE_SALT_BIG },
        { "value of 1000",     { .value = { octets, 1000 } }, 0 },
        { "value of 1001",     { .value = { octets, 1001 } }, DHT_CODE_VALUE_BIG },
        { "no value",          { .value = none, .k = k, .sig = sig, .seq = seq }, DHT_CODE_PROTOCOL },
        { "k only",            { .value = v, .k = k }, DHT_CODE_PROTOCOL },
        { "sig only",          { .value = v, .sig = sig }, DHT_CODE_PROTOCOL },
        { "seq only",          { .value = v, .seq = seq }, DHT_CODE_PROTOCOL },
        { "salt only",         { .value = v, .salt = v }, DHT_CODE_PROTOCOL },
        { "cas only",          { .value = v, .cas = seq }, DHT_CODE_PROTOCOL },
        { "no signature",      { .value = v, .k = k, .seq = seq }, DHT_CODE_PROTOCOL },
        { "no seq",            { .value = v, .k = k, .sig = sig, .seq = absent }, DHT_CODE_PROTOCOL },
        { "negative seq",      { .value = v, .k = k, .sig = sig, .seq = negative }, DHT_CODE_PROTOCOL },
    };
    /* clang-format on */
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct dht_item item = {0};
        cr_expect_eq(dht_item_from_msg(&rows[i].m, &item), rows[i].want, "%s", rows[i].name);
    }
}
