/*
 * The pieces that both sides of a layer are made of: numbers, nonces, fillers
 * and the inner header. Private to layer.c and onion.c.
 */
#ifndef CULVERT_TUNNEL_LAYERBITS_H
#define CULVERT_TUNNEL_LAYERBITS_H

#include <stdint.h>
#include <string.h>

#include "base/err.h"
#include "crypto/aead.h"
#include "crypto/siphash.h"
#include "tunnel/layer.h"
#include "tunnel/limits.h"

#define TUN_FOR_YOU  UINT32_C(0x80000000) /* bit 31 of a forward number */
#define TUN_WROTE_IT UINT32_C(0x80000000) /* bit 31 of a backward slot */

static inline uint32_t tun_le32(const uint8_t *p) {
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static inline void tun_put_le32(uint8_t *p, uint32_t v) {
    for (unsigned i = 0; i < 4; i++, v >>= 8)
        p[i] = (uint8_t)v;
}

/* nonce = salt 8 | number u32 */
static inline void tun_layer_nonce(uint8_t nonce[CV_AEAD_NONCE], const uint8_t salt[8],
                                   uint32_t number) {
    memcpy(nonce, salt, 8);
    tun_put_le32(nonce + 8, number);
}

static inline uint32_t tun_number_mask(const uint8_t key[CV_SIPHASH_KEY],
                                       const uint8_t tag[TUN_TAG]) {
    return (uint32_t)cv_siphash(key, tag, TUN_TAG);
}

static inline void tun_filler(uint8_t out[TUN_FILLER], const uint8_t key[32], uint32_t number) {
    uint8_t in[16] = {0}, stream[32];
    tun_put_le32(in, number);
    cv_hchacha20(stream, in, key);
    memcpy(out, stream, TUN_FILLER);
}

/* command u8 | length u16 | data (in place already) | zeros up to `end`. */
static inline void tun_inner_write(uint8_t *plain, uint8_t command, size_t len, size_t end) {
    plain[0] = command;
    plain[1] = (uint8_t)len;
    plain[2] = (uint8_t)(len >> 8);
    memset(plain + TUN_INNER + len, 0, end - TUN_INNER - len);
}

static inline enum cv_err tun_inner_parse(const uint8_t *plain, size_t max, struct tun_inner *ret) {
    uint16_t len = (uint16_t)(plain[1] | plain[2] << 8);
    if (plain[0] == 0 || len > max)
        return CV_ERR_MALFORMED;
    *ret = (struct tun_inner){.data = plain + TUN_INNER, .len = len, .command = plain[0]};
    return CV_ERR_OK;
}

#endif
