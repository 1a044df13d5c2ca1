/* RFC 7748 and RFC 8032 vectors; labels separate purposes; bad points are refused. */
#include "crypto/keys.h"

#include "crypto/hash.h"
#include "support/hex.h"
#include "support/suite.h"

CV_SUITE(keys, .init = cv_crypto_init);

/* RFC 7748 6.1: Bob's key, and what he shares with Alice. */
Test(keys, x25519_rfc_7748) {
    uint8_t seed[32], want[32], alice[32], got[32];
    struct cv_x25519_secret bob;
    cv_test_unhex("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb", seed, 32);
    cv_x25519_from_seed(&bob, seed);
    cr_expect_arr_eq(bob.scalar, seed, 32);
    cv_test_unhex("de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f", want, 32);
    cr_expect_arr_eq(bob.public_key, want, 32);
    cv_test_unhex("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a", alice, 32);
    cv_test_unhex("4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742", want, 32);
    cr_expect(cv_x25519(got, bob.scalar, alice));
    cr_expect_arr_eq(got, want, 32);
}

Test(keys, x25519_refuses_small_order) {
    static const char *const points[] = {
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    };
    static const uint8_t zero[32], scalar[32] = {1, 2, 3};
    for (size_t i = 0; i < sizeof points / sizeof *points; i++) {
        uint8_t point[32], out[32];
        memset(out, 0xee, 32);
        cv_test_unhex(points[i], point, 32);
        cr_expect_not(cv_x25519(out, scalar, point), "%s", points[i]);
        cr_expect_arr_eq(out, zero, 32);
    }
}

/* RFC 8032 7.1, tests 1 to 3 */
Test(keys, ed25519_rfc_8032) {
    static const struct {
        const char *seed, *public_key, *msg, *sig;
    } rows[] = {
        {"9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
         "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "",
         "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155"
         "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"},
        {"4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
         "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", "72",
         "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
         "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"},
        {"c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
         "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025", "af82",
         "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
         "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint8_t seed[32], want[64], msg[2], sig[64];
        struct cv_ed25519_secret key;
        size_t len = cv_test_unhex(rows[i].msg, msg, sizeof msg);
        cv_test_unhex(rows[i].seed, seed, 32);
        cv_ed25519_from_seed(&key, seed);
        cv_test_unhex(rows[i].public_key, want, 32);
        cr_expect_arr_eq(key.public_key, want, 32);
        cv_ed25519_sign(sig, &key, "", len ? msg : NULL, len);
        cv_test_unhex(rows[i].sig, want, 64);
        cr_expect_arr_eq(sig, want, 64);
        cr_expect(cv_ed25519_verify(sig, key.public_key, "", len ? msg : NULL, len));
    }
}

Test(keys, labels_are_part_of_the_message) {
    static const size_t lengths[] = {0, 1, 168, 2000, 2033, 2034, 5000};
    static uint8_t msg[5000];
    uint8_t seed[32] = {1}, sig[64];
    struct cv_ed25519_secret key;
    cv_ed25519_from_seed(&key, seed);
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        size_t len = lengths[i];
        memset(msg, 'm', sizeof msg);
        cv_ed25519_sign(sig, &key, "culvert test 1", msg, len);
        cr_expect(cv_ed25519_verify(sig, key.public_key, "culvert test 1", msg, len));
        cr_expect_not(cv_ed25519_verify(sig, key.public_key, "culvert test 2", msg, len));
        cr_expect_not(cv_ed25519_verify(sig, key.public_key, "", msg, len));
        if (len) {
            msg[len - 1] ^= 1;
            cr_expect_not(cv_ed25519_verify(sig, key.public_key, "culvert test 1", msg, len));
            msg[len - 1] ^= 1;
        }
        for (unsigned bit = 0; bit < 512; bit += 37) {
            sig[bit / 8] ^= (uint8_t)(1 << bit % 8);
            cr_expect_not(cv_ed25519_verify(sig, key.public_key, "culvert test 1", msg, len));
            sig[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
    }
    /* exactly concatenation: what other formats see */
    cv_ed25519_sign(sig, &key, "ab", "cd", 2);
    cr_expect(cv_ed25519_verify(sig, key.public_key, "", "abcd", 4));
}

Test(keys, identities_share_a_secret) {
    uint8_t seed_a[32] = {1}, seed_b[32] = {2}, ab[32], ba[32], ac[32];
    struct cv_ed25519_secret a, b;
    cv_ed25519_from_seed(&a, seed_a);
    cv_ed25519_from_seed(&b, seed_b);
    cr_expect(cv_ed25519_shared(ab, &a, b.public_key));
    cr_expect(cv_ed25519_shared(ba, &b, a.public_key));
    cr_expect_arr_eq(ab, ba, 32);
    cr_expect(cv_ed25519_shared(ac, &a, a.public_key));
    cr_expect(memcmp(ab, ac, 32) != 0);

    static const uint8_t zero[32], identity_point[32] = {1};
    uint8_t no_point[32];
    memset(no_point, 2, 32);
    cr_expect_not(cv_ed25519_shared(ab, &a, identity_point));
    cr_expect_arr_eq(ab, zero, 32);
    memset(ab, 9, 32);
    cr_expect_not(cv_ed25519_shared(ab, &a, zero));
    cr_expect_arr_eq(ab, zero, 32);
}

Test(keys, wipe_and_equal) {
    uint8_t a[40], b[40] = {0};
    memset(a, 7, sizeof a);
    cv_wipe(a, sizeof a);
    cr_expect(cv_equal(a, b, sizeof a));
    a[39] = 1;
    cr_expect_not(cv_equal(a, b, 40));
    cr_expect(cv_equal(a, b, 39));
    cr_expect(cv_equal(a, b, 0));
}
