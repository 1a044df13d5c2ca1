/* HMAC-BLAKE2b and Noise's HKDF against Python's hashlib and hmac (tests/vectors/noise.py). */
#include "crypto/kdf.h"

#include "crypto/hash.h"
#include "support/suite.h"
#include "support/vectors.h"

CV_SUITE(kdf, .init = cv_crypto_init);

static const char path[] = CV_VECTORS "/noise.txt";

Test(kdf, hmac) {
    static const struct {
        const char *label;
        size_t key, data;
    } rows[] = {{"hmac 0 0", 0, 0},     {"hmac 1 0", 1, 0},          {"hmac 32 64", 32, 64},
                {"hmac 64 1", 64, 1},   {"hmac 64 128", 64, 128},    {"hmac 128 200", 128, 200},
                {"hmac 129 3", 129, 3}, {"hmac 300 1000", 300, 1000}};
    uint8_t octets[1000], want[CV_HMAC_LEN], got[CV_HMAC_LEN];
    for (size_t i = 0; i < sizeof octets; i++)
        octets[i] = (uint8_t)i;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        cv_test_vector(path, "HMAC", rows[i].label, 0, want, sizeof want);
        cv_hmac_blake2b(got, octets, rows[i].key, octets, rows[i].data);
        cr_expect_arr_eq(got, want, CV_HMAC_LEN, "%s", rows[i].label);
    }
}

Test(kdf, hkdf) {
    uint8_t ck[64], out[3][CV_HMAC_LEN], want[CV_HMAC_LEN];
    for (int i = 0; i < 64; i++)
        ck[i] = (uint8_t)i;
    for (size_t n = 1; n <= 3; n++) {
        memset(out, 0xee, sizeof out);
        cv_noise_hkdf(out, n, ck, ck, 32);
        for (unsigned i = 0; i < 3; i++) {
            cv_test_vector(path, "HKDF", "hkdf", i, want, sizeof want);
            cr_expect_eq(memcmp(out[i], want, CV_HMAC_LEN) == 0, i < n);
        }
    }
    memcpy(out[0], ck, 64); /* the chaining key may be the first output */
    cv_noise_hkdf(out, 2, out[0], ck, 32);
    cv_test_vector(path, "HKDF", "hkdf", 1, want, sizeof want);
    cr_expect_arr_eq(out[1], want, CV_HMAC_LEN);
}
