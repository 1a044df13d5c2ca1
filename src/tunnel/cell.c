#include "tunnel/cell.h"

#include <assert.h>
#include <string.h>

#include "base/err.h"
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

/* Fixed offsets into arrays of fixed size; a cursor has nothing to check here. */
static void put_le(uint8_t *to, uint64_t v, unsigned n) {
    for (unsigned i = 0; i < n; i++, v >>= 8)
        to[i] = (uint8_t)v;
}

static uint64_t get_le(const uint8_t *from, unsigned n) {
    uint64_t v = 0;
    for (unsigned i = n; i-- > 0;)
        v = v << 8 | from[i];
    return v;
}

uint32_t tun_cell_index(const uint8_t datagram[TUN_DATAGRAM]) {
    return (uint32_t)get_le(datagram, INDEX);
}

enum { AT_SEQUENCE = 4, AT_CIRCUIT = 10, AT_COMMAND = 14, AT_ZERO = 15, AT_LAYER = 16 };

static void write_plain(uint8_t plain[PLAIN], const struct tun_header *header) {
    put_le(plain, header->index, 4);
    put_le(plain + AT_SEQUENCE, header->sequence, 6);
    put_le(plain + AT_CIRCUIT, header->circuit, 4);
    plain[AT_COMMAND] = header->command;
    plain[AT_ZERO] = 0;
    put_le(plain + AT_LAYER, header->layer, 4);
}

/* `plain` is followed by room for the octets of the cell. */
static void make_tag(uint8_t tag[8], uint8_t plain[PLAIN + COVERED], const uint8_t *cell,
                     const struct tun_link_secret *key) {
    memcpy(plain + PLAIN, cell, COVERED);
    put_le(tag, cv_siphash(key->mac_key, plain, PLAIN + COVERED), 8);
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

    if (plain[AT_ZERO] != 0)
        return false;
    *ret = (struct tun_header){
        .index = (uint32_t)get_le(plain, 4),
        .sequence = get_le(plain + AT_SEQUENCE, 6),
        .circuit = (uint32_t)get_le(plain + AT_CIRCUIT, 4),
        .command = plain[AT_COMMAND],
        .layer = (uint32_t)get_le(plain + AT_LAYER, 4),
    };
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
