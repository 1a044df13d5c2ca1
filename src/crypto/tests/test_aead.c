/* RFC 8439 vectors; a wrong tag leaves the output untouched, also in place. */
#include "crypto/aead.h"

#include <sodium.h>

#include "crypto/hash.h"
#include "support/hex.h"
#include "support/suite.h"

CV_SUITE(aead, .init = cv_crypto_init);

static const char sunscreen[] = "Ladies and Gentlemen of the class of '99: If I could offer you "
                                "only one tip for the future, sunscreen would be it.";

Test(aead, rfc_8439_2_8_2) {
    uint8_t key[32], nonce[12], ad[12], c[114], want[114], tag[16], want_tag[16];
    for (int i = 0; i < 32; i++)
        key[i] = (uint8_t)(0x80 + i);
    cv_test_unhex("070000004041424344454647", nonce, 12);
    cv_test_unhex("50515253c0c1c2c3c4c5c6c7", ad, 12);
    cv_test_unhex("d31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5a736ee62d6"
                  "3dbea45e8ca9671282fafb69da92728b1a71de0a9e060b2905d6a5b67ecd3b36"
                  "92ddbd7f2d778b8c9803aee328091b58fab324e4fad675945585808b4831d7bc"
                  "3ff4def08e4b7a9de576d26586cec64b6116",
                  want, sizeof want);
    cv_test_unhex("1ae10b594f09e26a7e902ecbd0600691", want_tag, 16);
    cv_aead_seal(c, tag, (const uint8_t *)sunscreen, sizeof c, ad, 12, nonce, key);
    cr_expect_arr_eq(c, want, sizeof want);
    cr_expect_arr_eq(tag, want_tag, 16);
}

Test(aead, rfc_8439_2_4_2_stream) {
    uint8_t key[32], nonce[12], data[64 + 114] = {0}, want[16];
    for (int i = 0; i < 32; i++)
        key[i] = (uint8_t)i;
    cv_test_unhex("000000000000004a00000000", nonce, 12);
    /* The RFC begins at block 1, we at 0. */
    memcpy(data + 64, sunscreen, 114);
    cv_chacha20_xor(data, sizeof data, nonce, key);
    cv_test_unhex("6e2e359a2568f98041ba0728dd0d6981", want, 16);
    cr_expect_arr_eq(data + 64, want, 16);
}

/* draft-irtf-cfrg-xchacha 2.2.1 */
Test(aead, hchacha20) {
    uint8_t key[32], in[16], out[32], want[32];
    for (int i = 0; i < 32; i++)
        key[i] = (uint8_t)i;
    cv_test_unhex("000000090000004a0000000031415927", in, 16);
    cv_test_unhex("82413b4227b27bfed30e42508a877d73a0f9e4d58a74a853c12ec41326d3ecdc", want, 32);
    cv_hchacha20(out, in, key);
    cr_expect_arr_eq(out, want, 32);
}

/* draft-irtf-cfrg-xchacha A.3.1: the tag and the first octets. */
Test(aead, xchacha_draft) {
    uint8_t key[32], nonce[24], ad[12], c[114], tag[16], want[16];
    for (int i = 0; i < 32; i++)
        key[i] = (uint8_t)(0x80 + i);
    for (int i = 0; i < 24; i++)
        nonce[i] = (uint8_t)(0x40 + i);
    cv_test_unhex("50515253c0c1c2c3c4c5c6c7", ad, 12);
    cv_xaead_seal(c, tag, (const uint8_t *)sunscreen, sizeof c, ad, 12, nonce, key);
    cv_test_unhex("bd6d179d3e83d43b9576579493c0e939", want, 16);
    cr_expect_arr_eq(c, want, 16);
    cv_test_unhex("c0875924c1c7987947deafd8780acf49", want, 16);
    cr_expect_arr_eq(tag, want, 16);
}

typedef void seal_fn(uint8_t *, uint8_t *, const uint8_t *, size_t, const void *, size_t,
                     const uint8_t *, const uint8_t *);
typedef bool open_fn(uint8_t *, const uint8_t *, size_t, const uint8_t *, const void *, size_t,
                     const uint8_t *, const uint8_t *);

static void check_open(seal_fn *seal, open_fn *open) {
    static const size_t lengths[] = {0, 1, 15, 16, 17, 63, 64, 65, 1000, 1204};
    uint8_t m[1204], c[1204], out[1204], key[32] = {7}, nonce[24] = {9}, tag[16], ad[5] = "head";
    for (size_t i = 0; i < sizeof m; i++)
        m[i] = (uint8_t)(i * 7);
    for (size_t l = 0; l < sizeof lengths / sizeof *lengths; l++) {
        size_t len = lengths[l];
        seal(c, tag, m, len, ad, 5, nonce, key);
        memset(out, 0xee, sizeof out);
        cr_assert(open(out, c, len, tag, ad, 5, nonce, key));
        cr_assert_arr_eq(out, m, len);

        memcpy(out, m, len); /* in place, both ways */
        seal(out, tag, out, len, ad, 5, nonce, key);
        cr_assert_arr_eq(out, c, len);
        tag[3] ^= 4;
        cr_assert_not(open(out, out, len, tag, ad, 5, nonce, key));
        cr_assert_arr_eq(out, c, len, "the ciphertext must survive a wrong tag");
        tag[3] ^= 4;
        ad[0] ^= 1;
        cr_assert_not(open(out, out, len, tag, ad, 5, nonce, key));
        ad[0] ^= 1;
        if (len) {
            out[len / 2] ^= 1;
            cr_assert_not(open(out, out, len, tag, ad, 5, nonce, key));
            out[len / 2] ^= 1;
        }
        cr_assert(open(out, out, len, tag, ad, 5, nonce, key));
        cr_assert_arr_eq(out, m, len);
    }
}

Test(aead, open_verifies_before_it_writes) {
    check_open(cv_aead_seal, cv_aead_open);
    check_open(cv_xaead_seal, cv_xaead_open);
}

/* Every length by whichever way it takes, against libsodium alone. */
Test(aead, equals_libsodium_at_every_length) {
    enum { MOST = CV_AEAD_COPIED + 100 };
    static uint8_t m[MOST], got[MOST], want[MOST];
    uint8_t key[32], nonce[12], ad[40], tag[16], want_tag[16];
    for (size_t i = 0; i < sizeof m; i++)
        m[i] = (uint8_t)(i * 13 + i / 251);
    for (size_t i = 0; i < sizeof ad; i++)
        ad[i] = (uint8_t)(i * 5 + 1);
    for (size_t len = 0; len <= MOST; len++) {
        memset(key, (int)len, sizeof key);
        memset(nonce, (int)(len * 3), sizeof nonce);
        size_t ad_len = len % (sizeof ad + 1);
        crypto_aead_chacha20poly1305_ietf_encrypt_detached(want, want_tag, NULL, m, len, ad, ad_len,
                                                           NULL, nonce, key);
        cv_aead_seal(got, tag, m, len, ad, ad_len, nonce, key);
        cr_assert_arr_eq(got, want, len, "length %zu", len);
        cr_assert_arr_eq(tag, want_tag, 16, "length %zu", len);
        cr_assert(cv_aead_open(got, got, len, tag, ad, ad_len, nonce, key));
        cr_assert_arr_eq(got, m, len, "length %zu", len);

        uint32_t block = (uint32_t)(len % 5);
        crypto_stream_chacha20_ietf_xor_ic(want, m, len, nonce, block, key);
        memcpy(got, m, len);
        cv_chacha20_xor_at(got, len, block, nonce, key);
        cr_assert_arr_eq(got, want, len, "length %zu from block %u", len, block);
    }
}

/* A key set anew after another one, after none, and in a new context. */
Test(aead, contexts_come_and_go) {
    uint8_t key[2][32] = {{1}, {2}}, nonce[12] = {3};
    uint8_t first[1024] = {0}, again[1024];
    cv_chacha20_xor(first, sizeof first, nonce, key[0]);
    for (int i = 0; i < 3; i++) {
        uint8_t other[1024] = {0};
        cv_chacha20_xor(other, sizeof other, nonce, key[1]);
        cr_assert_neq(memcmp(first, other, sizeof first), 0);
        if (i == 1)
            cv_aead_forget();
        if (i == 2)
            cv_crypto_thread_done();
        memset(again, 0, sizeof again);
        cv_chacha20_xor(again, sizeof again, nonce, key[0]);
        cr_assert_arr_eq(again, first, sizeof first);
    }
}
