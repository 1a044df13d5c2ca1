/*
 * Cipher suites of a layer (docs/protocol/tunnel.md section 2). Suite 2 is agreed
 * with the first hop only, by owners and relays whose processors have AES: further
 * on it would tell every relay which kind of machine asks. Number masks and fillers
 * are the same in both. Private to layer.c and onion.c.
 */
#ifndef CULVERT_TUNNEL_SUITE_H
#define CULVERT_TUNNEL_SUITE_H

#include "crypto/aead.h"
#include "crypto/aes.h"
#include "tunnel/params.h"

static inline void tun_suite_seal(uint8_t suite, uint8_t *c, uint8_t *tag, const uint8_t *m,
                                  size_t len, const uint8_t nonce[CV_AEAD_NONCE],
                                  const uint8_t key[32]) {
    if (suite == TUN_SUITE_AES)
        cv_gcm_seal(c, tag, m, len, nonce, key);
    else
        cv_aead_seal(c, tag, m, len, NULL, 0, nonce, key);
}

static inline bool tun_suite_open(uint8_t suite, uint8_t *m, const uint8_t *c, size_t len,
                                  const uint8_t *tag, const uint8_t nonce[CV_AEAD_NONCE],
                                  const uint8_t key[32]) {
    if (suite == TUN_SUITE_AES)
        return cv_gcm_open(m, c, len, tag, nonce, key);
    return cv_aead_open(m, c, len, tag, NULL, 0, nonce, key);
}

/* The transit stream, from its first octet. */
static inline void tun_suite_xor(uint8_t suite, uint8_t *data, size_t len,
                                 const uint8_t nonce[CV_AEAD_NONCE], const uint8_t key[32]) {
    if (suite == TUN_SUITE_AES)
        cv_aes_xor(data, len, nonce, key);
    else
        cv_chacha20_xor(data, len, nonce, key);
}

#endif
