/*
 * The one-datagram descriptor exchange (details.md section 3, DESCRIBE): asks a
 * relay, known by address only, for its descriptor. Both datagrams have 1232
 * octets and are enciphered under the network id, against wires that look for
 * patterns; what makes the descriptor true is its signature.
 *
 * question:  0..3   random
 *            4..35  ephemeral X, masked, top bit random
 *           36..51  mac = BLAKE2b-128(network mac key, octets 0..35 | 52..127)
 *           52..1231 random
 * answer:    0..3   random
 *            4..35  ephemeral Y, masked, top bit random
 *           36..51  mac = BLAKE2b-128(BLAKE2b-256(network id | mac of the question),
 *                                     octets 0..35 | 52..67)
 *           52..1231 ChaCha20-Poly1305 of (length u16 | descriptor | zeros) to
 *                   1164 octets, tag 16
 *
 * Masks: HChaCha20(network mask key, octets 0..3 | 52..63). The relay keeps
 * no state; the caller limits the rate by network.
 */
#ifndef CULVERT_TUNNEL_DESCRIBE_H
#define CULVERT_TUNNEL_DESCRIBE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/rng.h"
#include "crypto/keys.h"
#include "tunnel/limits.h"

/* Keys of a network, computed once. */
struct tun_describe_net {
    uint8_t network_id[TUN_NETWORK_ID];
    uint8_t mac_key[32], mask_key[32];
};

void tun_describe_net_init(struct tun_describe_net *n, const uint8_t network_id[TUN_NETWORK_ID]);

/* A question under way. Wipe with tun_describe_done. */
struct tun_describe {
    struct cv_x25519_secret x_secret;
    uint8_t answer_key[32];
};

void tun_describe_ask(struct tun_describe *d, const struct tun_describe_net *net,
                      const struct cv_rng *rng, uint8_t datagram[TUN_DATAGRAM]);

/* Relay: is this a question? One short hash. */
bool tun_describe_is_question(const struct tun_describe_net *net,
                              const uint8_t datagram[TUN_DATAGRAM]);

/* Relay: writes the answer. Two scalar multiplications; `len` <=
 * TUN_DESCRIPTOR_MAX. CV_ERR_AUTH: the question's point is of small order. */
enum cv_err tun_describe_answer(const struct tun_describe_net *net,
                                const uint8_t question[TUN_DATAGRAM], const void *descriptor,
                                size_t len, const struct cv_rng *rng,
                                uint8_t datagram[TUN_DATAGRAM]);

/* Asker: is this the answer to that question? One short hash. */
bool tun_describe_is_answer(const struct tun_describe *d, const uint8_t datagram[TUN_DATAGRAM]);

/* Asker: the descriptor's octets, to be given to tun_descriptor_open and
 * tun_descriptor_has_addr. CV_ERR_AUTH: forged; *ret_len untouched. */
enum cv_err tun_describe_consume(const struct tun_describe *d, const struct tun_describe_net *net,
                                 const uint8_t datagram[TUN_DATAGRAM],
                                 uint8_t ret[TUN_DESCRIPTOR_MAX], size_t *ret_len);

void tun_describe_done(struct tun_describe *d);

#endif
