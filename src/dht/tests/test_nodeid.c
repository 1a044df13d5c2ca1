#include "support/hex.h"
#include "support/suite.h"

#include "crypto/rng_seeded.h"
#include "dht/nodeid.h"

CV_SUITE(dht_nodeid);

static struct cv_rng_seeded seeded;

static struct cv_rng dice(void) {
    cv_rng_seeded_init(&seeded, 42);
    return cv_rng_seeded(&seeded);
}

static struct dht_id id_of(const char *hex) {
    struct dht_id id;
    cr_assert_eq(cv_test_unhex(hex, id.b, sizeof id.b), sizeof id.b);
    return id;
}

static struct cv_addr addr_of(const char *text) {
    struct cv_addr a;
    cr_assert_eq(cv_addr_parse(text, &a), CV_ERR_OK);
    return a;
}

Test(dht_nodeid, crc32c_check_value) {
    cr_expect_eq(dht_crc32c("123456789", 9), 0xe3069283); /* the polynomial's check value */
}

/* The five vectors of BEP 42, and what must not fit. */
/* clang-format off */
static const struct {
    const char *addr, *id;
    bool fits;
} vectors[] = {
    { "124.31.75.21:1",    "5fbfbf f10c5d6a4ec8a88e4c6ab4c28b95eee4 01", true },
    { "21.75.31.124:1",    "5a3ce9 c14e7a08645677bbd1cfe7d8f956d532 56", true },
    { "65.23.51.170:1",    "a5d432 20bc8f112a3d426c84764f8c2a1150e6 16", true },
    { "84.124.73.14:1",    "1b0321 dd1bb1fe518101ceef99462b947a01ff 41", true },
    { "43.213.53.83:1",    "e56f6c bf5b7c4be0237986d5243b87aa6d5130 5a", true },
    { "124.31.75.22:1",    "5fbfbf f10c5d6a4ec8a88e4c6ab4c28b95eee4 01", false },
    { "124.31.75.21:1",    "5fbfbf f10c5d6a4ec8a88e4c6ab4c28b95eee4 02", false },
    { "124.31.75.21:1",    "5fbfb7 f10c5d6a4ec8a88e4c6ab4c28b95eee4 01", false },
    { "124.31.75.21:1",    "5fbfb8 f10c5d6a4ec8a88e4c6ab4c28b95eee4 01", true },  /* 21 bits only */
    { "127.0.0.1:1",       "000000 0000000000000000000000000000000000", true },   /* exempt */
    { "10.1.2.3:1",        "000000 0000000000000000000000000000000000", true },
    { "172.31.0.1:1",      "000000 0000000000000000000000000000000000", true },
    { "172.32.0.1:1",      "000000 0000000000000000000000000000000000", false },
    { "192.168.1.1:1",     "000000 0000000000000000000000000000000000", true },
    { "169.254.1.1:1",     "000000 0000000000000000000000000000000000", true },
    { "[::1]:1",           "000000 0000000000000000000000000000000000", true },
    { "[fe80::1]:1",       "000000 0000000000000000000000000000000000", true },
    { "[fd00::1]:1",       "000000 0000000000000000000000000000000000", true },
    { "[2a01::1]:1",       "000000 0000000000000000000000000000000000", false },
};
/* clang-format on */

Test(dht_nodeid, bep42_vectors) {
    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++) {
        struct cv_addr a = addr_of(vectors[i].addr);
        struct dht_id id = id_of(vectors[i].id);
        cr_expect_eq(dht_id_fits_address(&id, &a), vectors[i].fits, "row %zu: %s", i,
                     vectors[i].addr);
    }
}

Test(dht_nodeid, drawn_ids_fit) {
    struct cv_rng rng = dice();
    struct cv_addr v4 = addr_of("84.124.73.14:6881"), v6 = addr_of("[2a01:4f8::7]:6881");
    struct dht_id first = dht_id_for_address(&v4, &rng);
    for (unsigned i = 0; i < 100; i++) {
        struct dht_id a = dht_id_for_address(&v4, &rng), b = dht_id_for_address(&v6, &rng);
        cr_expect(dht_id_fits_address(&a, &v4));
        cr_expect(dht_id_fits_address(&b, &v6));
        cr_expect_not(dht_id_fits_address(&a, &v6));
        cr_expect_not(dht_id_equal(&a, &first));
    }
}

Test(dht_nodeid, distance) {
    struct dht_id t = id_of("0000000000000000000000000000000000000000");
    struct dht_id a = id_of("0000000000000000000000000000000000000001");
    struct dht_id b = id_of("8000000000000000000000000000000000000000");
    cr_expect_lt(dht_id_closer(&t, &a, &b), 0);
    cr_expect_gt(dht_id_closer(&t, &b, &a), 0);
    cr_expect_eq(dht_id_closer(&t, &a, &a), 0);
    cr_expect_eq(dht_id_common_bits(&t, &a), 159);
    cr_expect_eq(dht_id_common_bits(&t, &b), 0);
    cr_expect_eq(dht_id_common_bits(&t, &t), 160);
}

Test(dht_nodeid, random_at_shares_exactly_so_many_bits) {
    struct cv_rng rng = dice();
    struct dht_id near = dht_id_random(&rng);
    for (unsigned bits = 0; bits <= 160; bits++) {
        struct dht_id id = dht_id_random_at(&near, bits, &rng);
        cr_expect_eq(dht_id_common_bits(&id, &near), bits, "%u bits", bits);
    }
}
