/*
 * Relay descriptors (tunnel.md section 5, details.md section 3): what a relay
 * says of itself for one UTC day, signed. At most 900 octets, little-endian:
 *
 *     ver u8 | network id 8 | identity 32 | day u32 | link key 32 |
 *     5 x onion key 32 | token key 32 | flags u16 | suites u8 | bandwidth u32 |
 *     n u8 | n x (4 | 6 u8, address 4 | 16, port u16) |
 *     n u8 | n x family identity 32 |
 *     n u8 | n x (first port u16, last port u16) |
 *     later fields, ignored | signature 64
 *
 * The signature is Ed25519 over "culvert descriptor 1" | everything before it.
 * Two different ones of one identity and day prove equivocation.
 */
#ifndef CULVERT_TUNNEL_DESCRIPTOR_H
#define CULVERT_TUNNEL_DESCRIPTOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/endpoint.h"
#include "base/err.h"
#include "crypto/keys.h"
#include "tunnel/limits.h"
#include "tunnel/relayref.h"
#include "tunnel/version.h"

enum {
    TUN_DESCRIPTOR_HEAD = 1 + TUN_NETWORK_ID + CV_KEY + 4, /* through the day */
};

/* What a relay offers. */
enum tun_relay_flag {
    TUN_RELAY_RELAY = 1 << 0,
    TUN_RELAY_INTRO = 1 << 1,
    TUN_RELAY_RENDEZVOUS = 1 << 2,
    TUN_RELAY_EXIT = 1 << 3,
    TUN_RELAY_DHT = 1 << 4,
};

struct tun_port_range {
    uint16_t first, last; /* inclusive, first <= last */
};

struct tun_descriptor {
    uint8_t version; /* the highest that the relay speaks (version.h); sign: 0 is TUN_VERSION */
    uint8_t network_id[TUN_NETWORK_ID];
    uint8_t identity[CV_KEY];
    uint32_t day; /* cv_day() */
    uint8_t link_key[CV_KEY];
    uint8_t onion_key[TUN_ONION_KEYS][CV_KEY];
    uint8_t token_key[CV_KEY]; /* of the week; zeros when it issues none */
    uint16_t flags;            /* enum tun_relay_flag; unknown bits are kept */
    uint8_t suites;            /* bit 0 = suite 1, bit 1 = suite 2 */
    uint32_t bandwidth;        /* KiB/s */
    struct cv_addr addr[TUN_ADDRS_MAX];
    uint8_t family[TUN_FAMILY_MAX][CV_KEY];
    struct tun_port_range exit_port[TUN_EXIT_PORTS_MAX];
    uint8_t addrs, families, exit_ports;
    uint8_t digest[TUN_DIGEST]; /* D, over all octets with the signature; set by open */
};

/* Signs with `identity` (d->identity is taken from it) and returns the length.
 * CV_ERR_NOBUFS when `cap` is too small; TUN_DESCRIPTOR_MAX always suffices. */
ssize_t tun_descriptor_sign(const struct tun_descriptor *d,
                            const struct cv_ed25519_secret *identity, uint8_t *buf, size_t cap);

/*
 * Reads and verifies. CV_ERR_TRUNCATED, CV_ERR_MALFORMED (counts beyond the
 * limits, an address family that does not exist, no address, length over 900),
 * CV_ERR_VERSION (more than one off from ours), CV_ERR_DIFFERS (another network), CV_ERR_AUTH
 * (signature). Says nothing about whether the day is right or anyone confirmed it.
 */
enum cv_err tun_descriptor_open(const void *buf, size_t len,
                                const uint8_t network_id[TUN_NETWORK_ID],
                                struct tun_descriptor *ret);

/* D = BLAKE2b-128 of all octets. */
void tun_descriptor_digest(const void *buf, size_t len, uint8_t ret[TUN_DIGEST]);

/* Which of its addresses this is; -1: none of them. */
int tun_descriptor_addr(const struct tun_descriptor *d, const struct cv_addr *addr);
/* Must hold for the address a descriptor was fetched from. */
bool tun_descriptor_has_addr(const struct tun_descriptor *d, const struct cv_addr *addr);

bool tun_descriptor_has_family(const struct tun_descriptor *d, uint8_t family);

/* The fields that it takes to make this relay the next hop: its newest onion key at `wall`,
 * and the first of its addresses. */
void tun_descriptor_ref(const struct tun_descriptor *d, int64_t wall, struct tun_relay_ref *ret);

/* Both verify, same identity, same day, not the same octets. */
bool tun_descriptor_is_proof(const void *a, size_t a_len, const void *b, size_t b_len,
                             const uint8_t network_id[TUN_NETWORK_ID]);

/* ---- the calendar ---- */

/* Whose descriptors everybody uses now: yesterday's until 03:00 UTC. */
uint32_t tun_descriptor_day(int64_t wall);
/* From when on a day's are: Unix seconds. */
int64_t tun_descriptor_day_begins(uint32_t day);

/* The day that another clock may see in use: the one before or after, within TUN_TURN_S of
 * 03:00; else the day in use itself. */
uint32_t tun_descriptor_other_day(int64_t wall);

/* Bounds within which a descriptor may be shown and kept: 21:00 of the day
 * before to 08:00 of the day after. */
bool tun_descriptor_is_current(uint32_t day, int64_t wall);

/* The newest onion key of that day's descriptor, 0..4: number i from 6i h on,
 * the fifth in the first three hours of the next day. Clamped outside. */
unsigned tun_onion_key_newest(uint32_t day, int64_t wall);

/* May a relay still (or, for clients whose clock is ahead, already) accept it?
 * From 2 h before it is newest to 2 h after. */
bool tun_onion_key_accepted(uint32_t day, unsigned i, int64_t wall);

/* ---- where relays are found ---- */

/* network id = BLAKE2b of 8 octets over the configured name. */
void tun_network_id(const char *name, uint8_t ret[TUN_NETWORK_ID]);

/* First `level` (0, 4, 8) bits of BLAKE2b-256(identity | day u32). */
uint16_t tun_relay_bucket(const uint8_t identity[CV_KEY], uint32_t day, unsigned level);

/* The key under which relays of a bucket announce in the DHT. */
void tun_relay_dht_key(const uint8_t network_id[TUN_NETWORK_ID], uint32_t day, unsigned level,
                       uint16_t bucket, uint8_t ret[20]);

#endif
