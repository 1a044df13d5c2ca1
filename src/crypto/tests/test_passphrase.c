/* Argon2id against the reference implementation (Debian's argon2, version 13:
 * argon2 0123456789abcdef -id -t PASSES -k KIB -p 1 -l 32 -r). */
#include "crypto/passphrase.h"

#include <string.h>

#include "crypto/hash.h"
#include "support/hex.h"
#include "support/suite.h"

CV_SUITE(passphrase, .init = cv_crypto_init);

static const uint8_t salt[CV_PASSPHRASE_SALT] = {'0', '1', '2', '3', '4', '5', '6', '7',
                                                 '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'};

Test(passphrase, is_argon2id) {
    static const struct {
        const char *text, *key;
        struct cv_passphrase_cost cost;
    } rows[] = {
        {"correct-horse",
         "cab4a27d7def90018ebd5c72506d43c6776724736438750bf6ade677c3f86125",
         {3, 8192}},
        {"x", "2792fda9fdc683447f4831826b7013dd8b42a92b3cda9bc2dda4d9477e8153c3", {1, 8}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint8_t want[CV_PASSPHRASE_KEY], got[CV_PASSPHRASE_KEY];
        cv_test_unhex(rows[i].key, want, sizeof want);
        cr_assert(cv_passphrase_key(got, rows[i].text, strlen(rows[i].text), salt, &rows[i].cost));
        cr_expect_arr_eq(got, want, sizeof want, "%s", rows[i].text);
    }
}

Test(passphrase, its_cost_has_limits) {
    static const struct cv_passphrase_cost bad[] = {
        {0, 8192}, {17, 8192}, {1, 7}, {1, 1024 * 1024 + 1}, {UINT32_MAX, UINT32_MAX}};
    uint8_t key[CV_PASSPHRASE_KEY];
    static const char text[CV_PASSPHRASE_MAX + 1];
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        cr_expect(!cv_passphrase_cost_ok(&bad[i]), "%zu", i);
        cr_expect(!cv_passphrase_key(key, "x", 1, salt, &bad[i]), "%zu", i);
    }
    struct cv_passphrase_cost least = {1, 8};
    cr_expect(cv_passphrase_key(key, text, sizeof text - 1, salt, &least));
    cr_expect(!cv_passphrase_key(key, text, sizeof text, salt, &least), "too long");
    cr_expect(cv_passphrase_cost_ok(&CV_PASSPHRASE_COST));
}
