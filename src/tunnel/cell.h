/*
 * The datagram between nodes (tunnel.md section 3), always 1232 octets:
 *
 *      0..3    receiver index   given by the receiver; in clear
 *      4..9    link sequence    48 bit  \
 *     10..13   circuit id       u32      |  masked
 *        14    command          u8       |
 *        15    zero             u8       |
 *     16..19   layer sequence   u32     /   (backward cells; 0 otherwise)
 *     20..27   tag = SipHash-2-4(mac key, octets 0..19 in plain | cell[0..15])
 *     28..1231 cell
 *
 * mask = HChaCha20(header key, tag | cell[0..7])[0..15]. The tag is in the mask
 * because a circuit's owner can choose a cell's first octets, but not the tag.
 *
 * The tag covers the header and the first octets of the cell: a RELAY cell
 * carries its own authentication inside. Every other link command is a sealed
 * control cell: tag 16 | ciphertext of (length u16 | body | zeros).
 *
 * Nothing is ever copied from an incoming header to an outgoing one except the
 * cell of a relayed circuit. All functions work in place, allocate nothing and
 * keep no state; numbers and windows are the caller's (window.h).
 */
#ifndef CULVERT_TUNNEL_CELL_H
#define CULVERT_TUNNEL_CELL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "tunnel/limits.h"

/* Keys of one direction of one link epoch. Fresh for every handshake. */
struct tun_link_secret {
    uint8_t mac_key[16];
    uint8_t header_key[32];
    uint8_t control_key[32];
};

/* `direction`: one of the two outputs of cv_noise_split. */
void tun_link_secret_derive(struct tun_link_secret *ret, const uint8_t direction[64]);

struct tun_header {
    uint64_t sequence; /* below 2^48; each value once for one key */
    uint32_t index;    /* the receiver's */
    uint32_t circuit;
    uint32_t layer;  /* layer sequence of a backward cell, else 0 */
    uint8_t command; /* enum tun_link_command */
};

/* The first thing to look at: whose datagram is this? */
uint32_t tun_cell_index(const uint8_t datagram[TUN_DATAGRAM]);

/* Writes octets 0..27. The cell at datagram + TUN_HEADER must be final: its
 * first 16 octets are covered. */
void tun_cell_seal(uint8_t datagram[TUN_DATAGRAM], const struct tun_header *header,
                   const struct tun_link_secret *key);

/* Unmasks and checks, changing nothing in the datagram. false: not from the
 * holder of this key (or its reserved octet is not zero); *ret is untouched.
 * Then check `sequence` against the link's window before anything else. */
bool tun_cell_open(const uint8_t datagram[TUN_DATAGRAM], const struct tun_link_secret *key,
                   struct tun_header *ret);

/* Where to write the body of a control cell before tun_cell_seal_control. */
static inline uint8_t *tun_cell_control_body(uint8_t *datagram) {
    return datagram + TUN_HEADER + TUN_TAG + 2;
}

/* Seals the `len` (<= TUN_CONTROL_MAX) octets at tun_cell_control_body() and
 * then the header. header->command must not be RELAY. */
void tun_cell_seal_control(uint8_t datagram[TUN_DATAGRAM], const struct tun_header *header,
                           const struct tun_link_secret *key, size_t len);

/* Opens in place what tun_cell_open() accepted; returns the length of the body
 * at tun_cell_control_body(). CV_ERR_AUTH: forged, the datagram is unchanged.
 * Set the link's window only after this succeeded. CV_ERR_MALFORMED: the peer
 * itself wrote nonsense. */
ssize_t tun_cell_open_control(uint8_t datagram[TUN_DATAGRAM], const struct tun_header *header,
                              const struct tun_link_secret *key);

#endif
