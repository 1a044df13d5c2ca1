/* Vectors of the SipHash paper's reference implementation: key 0..15, data 0..n-1. */
#include "crypto/siphash.h"

#include "crypto/hash.h"
#include "support/suite.h"

CV_SUITE(siphash, .init = cv_crypto_init);

Test(siphash, reference) {
    static const struct {
        size_t len;
        uint64_t hash;
    } rows[] = {{0, 0x726fdb47dd0e0e31},
                {1, 0x74f839c593dc67fd},
                {8, 0x93f5f5799a932462},
                {15, 0xa129ca6149be45e5}};
    uint8_t octets[16];
    for (int i = 0; i < 16; i++)
        octets[i] = (uint8_t)i;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        cr_expect_eq(cv_siphash(octets, octets, rows[i].len), rows[i].hash, "%zu", rows[i].len);
        cr_expect_eq(cv_siphash_map(octets, octets, rows[i].len), rows[i].hash);
    }
}
