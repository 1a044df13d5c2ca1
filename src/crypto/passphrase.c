#include "crypto/passphrase.h"

#include <assert.h>
#include <sodium.h>

static_assert(CV_PASSPHRASE_SALT == crypto_pwhash_argon2id_SALTBYTES, "salt");

bool cv_passphrase_cost_ok(const struct cv_passphrase_cost *c) {
    return c->passes >= crypto_pwhash_argon2id_OPSLIMIT_MIN && c->passes <= 16 &&
           c->memory_kib >= 8 && c->memory_kib <= 1024 * 1024;
}

bool cv_passphrase_key(uint8_t ret[CV_PASSPHRASE_KEY], const char *text, size_t len,
                       const uint8_t salt[CV_PASSPHRASE_SALT], const struct cv_passphrase_cost *c) {
    if (!cv_passphrase_cost_ok(c) || len > CV_PASSPHRASE_MAX)
        return false;
    return crypto_pwhash_argon2id(ret, CV_PASSPHRASE_KEY, text, len, salt, c->passes,
                                  (size_t)c->memory_kib * 1024,
                                  crypto_pwhash_argon2id_ALG_ARGON2ID13) == 0;
}
