#include "tunnel/cell.h"

#include <assert.h>
#include <string.h>

#include "base/cursor.h"
#include "crypto/aead.h"
#include "crypto/hash.h"
#include "crypto/keys.h"
#include "crypto/siphash.h"

/* Octets of the header as the tag covers them: index 4 | H 16. */
enum {
    INDEX = 4,
    H = 16,
    PLAIN = INDEX + H,
    COVERED = 16, /* of the cell, by the tag */
    MASKED_BY = 8 /* of the cell, in the mask, after the tag */
};
static_assert(PLAIN + 8 == TUN_HEADER, "index, H, tag");

/* Additional data of a control cell: index | circuit .. layer (not the sequence,
 * which is the nonce). */
enum { AD = 14 };

void tun_link_secret_derive(struct tun_link_secret *ret, const uint8_t direction[64]) {
    CV_BLAKE2B(ret->mac_key, sizeof ret->mac_key, direction, 64, {"link mac", 8});
    CV_BLAKE2B(ret->header_key, sizeof ret->header_key, direction, 64, {"link header", 11});
    CV_BLAKE2B(ret->control_key, sizeof ret->control_key, direction, 64, {"link control", 12});
}

uint32_t tun_cell_index(const uint8_t datagram[TUN_DATAGRAM]) {
    struct cv_rd r = cv_rd_init(datagram, INDEX);
    return cv_rd_le32(&r);
}

static void write_plain(uint8_t plain[PLAIN], const struct tun_header *header) {
    struct cv_wr w = cv_wr_init(plain, PLAIN);
    cv_wr_le32(&w, header->index);
    cv_wr_le(&w, header->sequence, 6);
    cv_wr_le32(&w, header->circuit);
    cv_wr_u8(&w, header->command);
    cv_wr_u8(&w, 0);
    cv_wr_le32(&w, header->layer);
    assert(cv_wr_done(&w) == PLAIN);
}

/* `plain` is followed by room for the octets of the cell. */
static void make_tag(uint8_t tag[8], uint8_t plain[PLAIN + COVERED], const uint8_t *cell,
                     const struct tun_link_secret *key) {
    memcpy(plain + PLAIN, cell, COVERED);
    uint64_t t = cv_siphash(key->mac_key, plain, PLAIN + COVERED);
    for (unsigned i = 0; i < 8; i++, t >>= 8)
        tag[i] = (uint8_t)t;
}

static void mask(uint8_t to[H], const uint8_t from[H], const uint8_t tag[8], const uint8_t *cell,
                 const struct tun_link_secret *key) {
    uint8_t in[16], stream[32];
    memcpy(in, tag, 8);
    memcpy(in + 8, cell, MASKED_BY);
    cv_hchacha20(stream, in, key->header_key);
    for (unsigned i = 0; i < H; i++)
        to[i] = from[i] ^ stream[i];
}

void tun_cell_seal(uint8_t datagram[TUN_DATAGRAM], const struct tun_header *header,
                   const struct tun_link_secret *key) {
    assert(header->sequence < UINT64_C(1) << 48);
    const uint8_t *cell = datagram + TUN_HEADER;
    uint8_t plain[PLAIN + COVERED];
    write_plain(plain, header);
    make_tag(datagram + PLAIN, plain, cell, key);
    memcpy(datagram, plain, INDEX);
    mask(datagram + INDEX, plain + INDEX, datagram + PLAIN, cell, key);
}

bool tun_cell_open(const uint8_t datagram[TUN_DATAGRAM], const struct tun_link_secret *key,
                   struct tun_header *ret) {
    const uint8_t *cell = datagram + TUN_HEADER;
    uint8_t plain[PLAIN + COVERED], tag[8];
    memcpy(plain, datagram, INDEX);
    mask(plain + INDEX, datagram + INDEX, datagram + PLAIN, cell, key);
    make_tag(tag, plain, cell, key);
    if (!cv_equal(tag, datagram + PLAIN, sizeof tag))
        return false;

    struct cv_rd r = cv_rd_init(plain, PLAIN);
    struct tun_header header = {.index = cv_rd_le32(&r)};
    header.sequence = cv_rd_le(&r, 6);
    header.circuit = cv_rd_le32(&r);
    header.command = cv_rd_u8(&r);
    uint8_t zero = cv_rd_u8(&r);
    header.layer = cv_rd_le32(&r);
    assert(r.err == CV_ERR_OK);
    if (zero != 0)
        return false;
    *ret = header;
    return true;
}

static void control_ad(uint8_t ad[AD], uint8_t nonce[CV_AEAD_NONCE],
                       const struct tun_header *header) {
    uint8_t plain[PLAIN];
    write_plain(plain, header);
    memcpy(ad, plain, INDEX);
    memcpy(ad + INDEX, plain + INDEX + 6, AD - INDEX);
    memset(nonce, 0, 6);
    memcpy(nonce + 6, plain + INDEX, 6);
}

void tun_cell_seal_control(uint8_t datagram[TUN_DATAGRAM], const struct tun_header *header,
                           const struct tun_link_secret *key, size_t len) {
    assert(len <= TUN_CONTROL_MAX);
    uint8_t *tag = datagram + TUN_HEADER, *plain = tag + TUN_TAG;
    plain[0] = (uint8_t)len;
    plain[1] = (uint8_t)(len >> 8);
    memset(plain + 2 + len, 0, TUN_CONTROL_MAX - len);

    uint8_t ad[AD], nonce[CV_AEAD_NONCE];
    control_ad(ad, nonce, header);
    cv_aead_seal(plain, tag, plain, TUN_CONTROL_PLAIN, ad, sizeof ad, nonce, key->control_key);
    tun_cell_seal(datagram, header, key);
}

ssize_t tun_cell_open_control(uint8_t datagram[TUN_DATAGRAM], const struct tun_header *header,
                              const struct tun_link_secret *key) {
    uint8_t *tag = datagram + TUN_HEADER, *plain = tag + TUN_TAG;
    uint8_t ad[AD], nonce[CV_AEAD_NONCE];
    control_ad(ad, nonce, header);
    if (!cv_aead_open(plain, plain, TUN_CONTROL_PLAIN, tag, ad, sizeof ad, nonce, key->control_key))
        return CV_ERR_AUTH;
    size_t len = (size_t)(plain[0] | plain[1] << 8);
    return len <= TUN_CONTROL_MAX ? (ssize_t)len : CV_ERR_MALFORMED;
}
