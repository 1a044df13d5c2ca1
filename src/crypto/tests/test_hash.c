/* FIPS 180 and RFC 7693 vectors; contexts reused across algorithms and threads. */
#include "crypto/hash.h"

#include <threads.h>

#include "support/hex.h"
#include "support/suite.h"

CV_SUITE(hash, .init = cv_crypto_init);

static const struct {
    enum cv_sha alg;
    size_t len;
    const char *abc, *empty;
} rows[] = {
    {CV_SHA1, 20, "a9993e364706816aba3e25717850c26c9cd0d89d",
     "da39a3ee5e6b4b0d3255bfef95601890afd80709"},
    {CV_SHA224, 28, "23097d223405d8228642a477bda255b32aadbce4bda0b3f7e36c9da7",
     "d14a028c2a3a2bc9476102bb288234c415a2b01f828ea62ac5b3e42f"},
    {CV_SHA256, 32, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
     "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
    {CV_SHA384, 48,
     "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed"
     "8086072ba1e7cc2358baeca134c825a7",
     "38b060a751ac96384cd9327eb1b1e36a21fdb71114be07434c0cc7bf63f6e1da"
     "274edebfe76f65fbd51ad2f14898b95b"},
    {CV_SHA512, 64,
     "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
     "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
     "cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce"
     "47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e"},
};
enum { ROWS = sizeof rows / sizeof *rows };

static void check_all(void) {
    uint8_t want[CV_SHA_MAX], got[CV_SHA_MAX + 1];
    for (int i = 0; i < 3 * ROWS; i++) {
        int r = i * 2 % ROWS; /* interleaved: contexts do not disturb each other */
        cr_assert_eq(cv_sha_len(rows[r].alg), rows[r].len);
        cv_test_unhex(rows[r].abc, want, sizeof want);
        got[rows[r].len] = 0xee;
        cv_sha(rows[r].alg, got, "abc", 3);
        cr_expect_arr_eq(got, want, rows[r].len);
        cr_expect_eq(got[rows[r].len], 0xee, "wrote behind the hash");
        cv_sha2(rows[r].alg, got, "a", 1, "bc", 2);
        cr_expect_arr_eq(got, want, rows[r].len);
        cv_sha2(rows[r].alg, got, "abc", 3, NULL, 0);
        cr_expect_arr_eq(got, want, rows[r].len);
        cv_test_unhex(rows[r].empty, want, sizeof want);
        cv_sha(rows[r].alg, got, NULL, 0);
        cr_expect_arr_eq(got, want, rows[r].len);
    }
}

Test(hash, sha) {
    check_all();
    cr_expect_eq(cv_sha_len((enum cv_sha)5), 0);
    cr_expect_eq(cv_sha_len((enum cv_sha)200), 0);
}

static int in_thread(void *arg) {
    (void)arg;
    check_all();
    cv_crypto_thread_done();
    check_all(); /* allowed again */
    cv_crypto_thread_done();
    return 0;
}

/* The suite's leak check also sees to it that nothing stays of a thread. */
Test(hash, threads_have_their_own_contexts) {
    thrd_t t[4];
    for (int i = 0; i < 4; i++)
        cr_assert_eq(thrd_create(&t[i], in_thread, NULL), thrd_success);
    check_all();
    for (int i = 0; i < 4; i++)
        thrd_join(t[i], NULL);
}

Test(hash, running) {
    for (int i = 0; i < ROWS; i++) {
        uint8_t data[1000], want[CV_SHA_MAX], got[CV_SHA_MAX];
        memset(data, 'x', sizeof data);
        cv_sha(rows[i].alg, want, data, sizeof data);
        struct cv_sha_run *r = cv_sha_run_new(rows[i].alg);
        for (int again = 0; again < 2; again++) {
            for (size_t at = 0, n = 1; at < sizeof data; at += n, n = n * 2 + 1)
                cv_sha_run_add(r, data + at, n < sizeof data - at ? n : sizeof data - at);
            cv_sha_run_end(r, got);
            cr_expect_arr_eq(got, want, rows[i].len);
        }
        cr_expect_null(cv_sha_run_free(r));
    }
    cr_expect_null(cv_sha_run_free(NULL));
}

Test(hash, blake2b) {
    uint8_t want[64], got[64], key[64], data[255];
    /* RFC 7693 appendix A */
    cv_test_unhex("ba80a53f981c4d0d6a2797b69f12f6e94c212f14685ac4b74b12bb6fdbffa2d1"
                  "7d87c5392aab792dc252d5de4533cc9518d38aa8dbf1925ab92386edd4009923",
                  want, 64);
    CV_BLAKE2B(got, 64, NULL, 0, {"abc", 3});
    cr_expect_arr_eq(got, want, 64);
    CV_BLAKE2B(got, 64, NULL, 0, {"a", 1}, {NULL, 0}, {"bc", 2});
    cr_expect_arr_eq(got, want, 64);
    /* BLAKE2 reference set, keyed: key 0..63, data 0..254 */
    for (int i = 0; i < 255; i++)
        data[i] = (uint8_t)i;
    memcpy(key, data, 64);
    cv_test_unhex("142709d62e28fcccd0af97fad0f8465b971e82201dc51070faa0372aa43e9248"
                  "4be1c1e73ba10906d5d1853db6a4106e0a7bf9800d373d6dee2d46d62ef2a461",
                  want, 64);
    CV_BLAKE2B(got, 64, key, 64, {data, 100}, {data + 100, 155});
    cr_expect_arr_eq(got, want, 64);
    /* every length, also those below libsodium's recommended minimum */
    uint8_t last[64] = {0};
    for (size_t n = 1; n <= 64; n++) {
        memset(got, 0xee, 64);
        CV_BLAKE2B(got, n, key, n, {"abc", 3});
        cr_expect(n == 64 || got[n] == 0xee);
        cr_expect(n == 1 || memcmp(got, last, n - 1) != 0 || n < 3, "length is part of the hash");
        memcpy(last, got, 64);
    }
}
