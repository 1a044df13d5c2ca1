/* NIST's vectors; a wrong tag leaves the output untouched, also in place. */
#include "crypto/aes.h"

#include "crypto/hash.h"
#include "support/hex.h"
#include "support/suite.h"

CV_SUITE(aes, .init = cv_crypto_init);

/* "The Galois/Counter Mode of Operation", test cases 13 to 15 */
/* clang-format off */
static const struct {
    const char *name, *key, *nonce, *plain, *cipher, *tag;
} cases[] = {
    { "13: nothing", "0000000000000000000000000000000000000000000000000000000000000000",
      "000000000000000000000000", "", "", "530f8afbc74536b9a963b4f1c4cb738b" },
    { "14: zeros", "0000000000000000000000000000000000000000000000000000000000000000",
      "000000000000000000000000", "00000000000000000000000000000000",
      "cea7403d4d606b6e074ec5d3baf39d18", "d0d1c8a799996bf0265b98b5d48ab919" },
    { "15: four blocks", "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308",
      "cafebabefacedbaddecaf888",
      "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
      "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b391aafd255",
      "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa"
      "8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662898015ad",
      "b094dac5d93471bdec1a502270e3cc6c" },
};
/* clang-format on */

Test(aes, nist_gcm) {
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint8_t key[32], nonce[12], m[64], c[64], want[64], tag[16], want_tag[16];
        size_t len = strlen(cases[i].plain) / 2;
        cv_test_unhex(cases[i].key, key, sizeof key);
        cv_test_unhex(cases[i].nonce, nonce, sizeof nonce);
        cv_test_unhex(cases[i].plain, m, sizeof m);
        cv_test_unhex(cases[i].cipher, want, sizeof want);
        cv_test_unhex(cases[i].tag, want_tag, sizeof want_tag);
        cv_gcm_seal(c, tag, m, len, nonce, key);
        cr_expect_arr_eq(c, want, len, "%s", cases[i].name);
        cr_expect_arr_eq(tag, want_tag, 16, "%s", cases[i].name);
        cr_expect(cv_gcm_open(c, c, len, tag, nonce, key), "%s", cases[i].name);
        cr_expect_arr_eq(c, m, len, "%s", cases[i].name);
    }
}

/* Case 14 again: GCM enciphers from counter 2 on. */
Test(aes, stream_is_that_of_gcm_from_its_second_block) {
    uint8_t key[32] = {0}, nonce[12] = {0}, data[48] = {0}, want[16];
    cv_aes_xor(data, sizeof data, nonce, key);
    cv_test_unhex("cea7403d4d606b6e074ec5d3baf39d18", want, 16);
    cr_expect_arr_eq(data + 32, want, 16);
    cv_aes_xor(data, sizeof data, nonce, key);
    cr_expect_arr_eq(data, ((uint8_t[48]){0}), 48, "twice is nothing");
}

Test(aes, open_refuses_and_leaves_alone) {
    uint8_t m[1184], c[1184], out[1184], before[1184], key[32] = {7}, nonce[12] = {9}, tag[16];
    memset(m, 0x5a, sizeof m);
    cv_gcm_seal(c, tag, m, sizeof m, nonce, key);
    memset(out, 0x11, sizeof out);
    memcpy(before, out, sizeof before);
    for (unsigned bit = 0; bit < 128; bit += 7) {
        tag[bit / 8] ^= (uint8_t)(1 << (bit % 8));
        cr_expect_not(cv_gcm_open(out, c, sizeof c, tag, nonce, key));
        cr_expect_arr_eq(out, before, sizeof out);
        tag[bit / 8] ^= (uint8_t)(1 << (bit % 8));
    }
    for (size_t at = 0; at < sizeof c; at += 97) {
        c[at] ^= 4;
        memcpy(before, c, sizeof c);
        cr_expect_not(cv_gcm_open(c, c, sizeof c, tag, nonce, key), "in place");
        cr_expect_arr_eq(c, before, sizeof c);
        c[at] ^= 4;
    }
    nonce[0] ^= 1;
    cr_expect_not(cv_gcm_open(out, c, sizeof c, tag, nonce, key));
    nonce[0] ^= 1;
    cv_aead_forget(); /* also of these contexts */
    cr_expect(cv_gcm_open(out, c, sizeof c, tag, nonce, key));
    cr_expect_arr_eq(out, m, sizeof m);
}
